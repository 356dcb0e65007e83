"""Validation of the parameters of `BackpropRegressor`, with its error messages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sk_backprop._network.families import LIKELIHOODS
from sk_backprop._solvers import SOLVERS


class InvalidParameterError(ValueError, TypeError):
    """A constructor parameter has a value or type that is not allowed."""


def is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def _integer(low: int) -> tuple[Callable[[Any], bool], str]:
    return lambda v: is_integer(v) and v >= low, f"an int >= {low}"


def _real(interval: str) -> tuple[Callable[[Any], bool], str]:
    """A finite real number in an interval written as '[0, 1)' or '(0, inf)'."""
    low, high = (float(end) for end in interval[1:-1].split(","))

    def inside(value: Any) -> bool:
        try:
            # float first: asking the abstract class takes ten times as long.
            if not (type(value) is float or _is_real(value)) or not math.isfinite(value):
                return False
        except OverflowError:  # an int beyond float64
            return False
        above = value > low or (interval[0] == "[" and value == low)
        return above and (value < high or (interval[-1] == "]" and value == high))

    return inside, f"a real number in {interval}"


def _choice(*names: str) -> tuple[Callable[[Any], bool], str]:
    return (
        lambda v: isinstance(v, str) and v in names,
        "one of " + ", ".join(repr(name) for name in names),
    )


def _or_auto(rule: tuple[Callable[[Any], bool], str]) -> tuple[Callable[[Any], bool], str]:
    allowed, description = rule
    return lambda v: (isinstance(v, str) and v == "auto") or allowed(v), f"'auto' or {description}"


def _is_seed(value: Any) -> bool:
    if is_integer(value):
        return bool(0 <= value < 2**32)  # a RandomState takes 70 us to make
    try:
        check_random_state(value)
    except (ValueError, TypeError):  # scikit-learn 1.7 fails to format a tuple
        return False
    return not isinstance(value, (bool, np.bool_))


def _are_columns(value: Any) -> bool:
    if value is None or isinstance(value, str):
        return value is None or value == "from_dtype"
    try:
        listed = np.asarray(value)
    except (TypeError, ValueError):
        return False
    strings = listed.dtype.kind == "O" and all(isinstance(one, str) for one in listed.flat)
    return listed.ndim == 1 and (listed.size == 0 or listed.dtype.kind in "biuUT" or strings)


_FLAG = (lambda v: isinstance(v, (bool, np.bool_)), "True or False")

_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "activation": _choice("identity", "logistic", "tanh", "relu"),
    "noise": _choice("auto", "constant", "varying"),
    "categorical_features": (
        _are_columns,
        "'from_dtype', None or an array-like of bool, int or str, of one dimension",
    ),
    "precondition": _FLAG,
    "alpha": _or_auto(_real("[0, inf)")),
    "weight_groups": _choice("auto", "input", "layer"),
    "units_per_feature": _or_auto(_integer(0)),
    "n_networks": _or_auto(_integer(1)),
    "n_jobs": (
        lambda v: v is None or (is_integer(v) and v != 0),
        "None or an int other than 0",
    ),
    "batch_size": _or_auto(_integer(1)),
    "learning_rate": _choice("auto", "constant", "invscaling", "adaptive", "cosine"),
    "learning_rate_init": _or_auto(_real("(0, inf)")),
    "weight_decay": _or_auto(_real("[0, inf)")),
    "power_t": _real("[0, inf)"),
    "max_iter": _or_auto(_integer(1)),
    "shuffle": _FLAG,
    "random_state": (_is_seed, "None, a RandomState or an int in [0, 2**32)"),
    "tol": _real("[0, inf)"),
    "verbose": (
        lambda v: isinstance(v, (bool, np.bool_)) or (is_integer(v) and v >= 0),
        "True, False or an int >= 0",
    ),
    "warm_start": _FLAG,
    "momentum": _real("[0, 1]"),
    "nesterovs_momentum": _FLAG,
    "early_stopping": _FLAG,
    "validation_fraction": _real("[0, 1)"),
    "beta_1": _real("[0, 1)"),
    "beta_2": _real("[0, 1)"),
    "epsilon": _real("(0, inf)"),
    "n_iter_no_change": (
        lambda v: (is_integer(v) and _real("[1, inf)")[0](v)) or (_is_real(v) and v == np.inf),
        "an int >= 1 or inf",
    ),
    "max_fun": _integer(1),
}


def rules() -> dict[str, tuple[Callable[[Any], bool], str]]:
    """For each parameter, whether a value is allowed, and a description of those that are."""
    losses, outputs = zip(*LIKELIHOODS)
    return {
        "loss": _choice(*dict.fromkeys(losses)),
        "output_activation": _choice(*dict.fromkeys(outputs)),
        "solver": _choice("auto", *SOLVERS),
        **_RULES,
    }


def check_parameters(estimator: Any) -> None:
    """Raise InvalidParameterError unless every constructor parameter is allowed."""
    for name, (allowed, description) in rules().items():
        value = getattr(estimator, name)
        if not allowed(value):
            raise InvalidParameterError(
                f"The {name!r} parameter of BackpropRegressor must be {description}. "
                f"Got {value!r} instead."
            )
    hidden_layers(estimator.hidden_layer_sizes)
    asked = (estimator.loss, estimator.output_activation)
    if asked not in LIKELIHOODS:
        outputs = [output for loss, output in LIKELIHOODS if loss == estimator.loss]
        raise InvalidParameterError(
            f"loss={estimator.loss!r} allows only output_activation="
            f"{' or '.join(map(repr, outputs))}. Got {estimator.output_activation!r} instead."
        )


def hidden_layers(sizes: Any) -> tuple[int, ...] | None:
    """`hidden_layer_sizes` as a tuple of ints; an int stands for one layer, None for 'auto'."""
    if isinstance(sizes, str) and sizes == "auto":
        return None
    layers: Sequence[Any] | None = None
    if is_integer(sizes):
        layers = [sizes]
    elif hasattr(sizes, "__array__") and np.ndim(sizes) == 1:
        layers = list(np.ma.asarray(sizes))  # a masked entry is not an int
    elif isinstance(sizes, Sequence) and not isinstance(sizes, (str, bytes, bytearray)):
        layers = sizes
    if layers is None or not all(is_integer(size) and size >= 1 for size in layers):
        raise InvalidParameterError(
            "The 'hidden_layer_sizes' parameter of BackpropRegressor must be 'auto', an int >= "
            f"1 or a sequence of ints >= 1, one for each hidden layer. Got {sizes!r} instead."
        )
    return tuple(int(size) for size in layers)
