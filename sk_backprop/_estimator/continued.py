"""Checks of fits that continue another: warm starts and `partial_fit`."""

from collections.abc import Callable
from types import MethodType
from typing import Any

from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network
from sk_backprop._solvers import SOLVERS


class PartialFitError(AttributeError, ValueError):
    """The parameters do not allow `partial_fit`."""


class OnlyIfStreaming:
    """Makes a method an attribute only of estimators that can learn from a stream.

    scikit-learn's `available_if` hides the reason behind "has no attribute"; here
    the error says what to change. As an AttributeError it makes `hasattr` False.
    """

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method

    def __get__(self, estimator: Any, owner: Any = None) -> Any:
        if estimator is None:
            return self.method
        streaming = [name for name, solver in SOLVERS.items() if solver.streams]
        if estimator.solver not in ("auto", *streaming):
            *others, last = map(repr, streaming)
            raise PartialFitError(
                f"partial_fit needs solver={', '.join(others)} or {last} (or 'auto', which is "
                f"'adam' there); this estimator has solver={estimator.solver!r}."
            )
        if estimator.early_stopping:
            raise PartialFitError(
                "partial_fit does not support early_stopping=True: a batch has no validation "
                "part. Pass early_stopping=False."
            )
        if estimator.learning_rate == "cosine":
            raise PartialFitError(
                "partial_fit does not support learning_rate='cosine': a stream has no end. Pass "
                "learning_rate='constant'."
            )
        return MethodType(self.method, estimator)


def check_same_network(
    last: Network, network: Network, n_last: int, n_networks: int | None
) -> None:
    """Raise ValueError unless `n_last` networks like `last` can be continued as requested."""
    for what, has, asked in (
        ("n_features", last.layer_sizes[0], network.layer_sizes[0]),
        ("units_per_feature", last.units_per_feature, network.units_per_feature),
        ("hidden_layer_sizes", last.layer_sizes[1:-1], network.layer_sizes[1:-1]),
        ("the number of outputs of y", last.layer_sizes[-1], network.layer_sizes[-1]),
        ("n_networks", n_last, n_networks),
        ("activation", last.activation, network.activation),
    ):
        _check_same(what, has, asked)


def check_same_likelihood(last: Likelihood, likelihood: Likelihood) -> None:
    """Raise ValueError if the last fit had another likelihood."""
    _check_same("loss", last.loss, likelihood.loss)
    _check_same("output_activation", last.output_parameter, likelihood.output_parameter)


def _check_same(what: str, has: Any, asked: Any) -> None:
    """Raise ValueError if `what` differs between the last fit (`has`) and this call (`asked`)."""
    if has != asked:
        raise ValueError(
            f"warm_start=True and partial_fit continue the network fitted before, in which "
            f"{what} is {has!r}; now it would be {asked!r}. Keep it, or start anew with "
            "clone(estimator)."
        )
