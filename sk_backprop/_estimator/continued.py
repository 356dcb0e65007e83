"""Checks of fits that continue another: warm starts and `partial_fit`."""

from collections.abc import Callable
from types import MethodType
from typing import Any

from sk_backprop._inference.predictive import FittedFunction
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


def check_same_function(
    last: FittedFunction, network: Network, likelihood: Likelihood, n_networks: int | None
) -> None:
    """Raise ValueError unless the networks of `last` can be continued as requested.

    Parameters
    ----------
    last : FittedFunction of the last fit
    network : Network, likelihood : Likelihood and n_networks : int, as requested now
    """
    before = last.network
    for what, has, asked in (
        ("n_features", before.layer_sizes[0], network.layer_sizes[0]),
        ("units_per_feature", before.units_per_feature, network.units_per_feature),
        ("hidden_layer_sizes", before.layer_sizes[1:-1], network.layer_sizes[1:-1]),
        ("the number of outputs of y", before.layer_sizes[-1], network.layer_sizes[-1]),
        ("n_networks", len(last.output_intercepts), n_networks),
        ("activation", before.activation, network.activation),
        ("loss", last.likelihood.loss, likelihood.loss),
        ("output_activation", last.likelihood.output_parameter, likelihood.output_parameter),
    ):
        if has != asked:
            raise ValueError(
                f"warm_start=True and partial_fit continue the network fitted before, in which "
                f"{what} is {has!r}; now it would be {asked!r}. Keep it, or start anew with "
                "clone(estimator)."
            )
