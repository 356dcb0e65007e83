"""Checks that the fitted state is consistent, before anything is computed from it.

A file may be damaged, and attributes may be set by hand. numpy would broadcast a wrong shape, and
a negative variance added to a larger one would still give a standard deviation. The checks made
at every call take a few us; finiteness is checked only if a result is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np

from sk_backprop._blocks.arrays import Array

# Tolerance for the rounding of a mean in float32, relative to the largest value.
_ROUNDING = 1e-5


def inconsistent(reason: object) -> ValueError:
    """The error for a fitted state that no fit can have produced.

    reason : str, or one of `READING_ERRORS`
    """
    if isinstance(reason, Exception):
        reason = f"{type(reason).__name__}: {reason}"
    return ValueError(
        f"The fitted state of the estimator is inconsistent: {reason}. It has been changed or "
        "damaged since the fit: fit again, or load the model again."
    )


# Raised when attributes or keys are missing or have the wrong type.
READING_ERRORS = (AttributeError, LookupError, TypeError)


def check_float(name: str, array: Any, shape: tuple[int, ...], number: int | None = None) -> None:
    """Raise ValueError unless an array has the given shape and dtype float32 or float64.

    Parameters
    ----------
    name : str, for the message
    array : the array to check
    shape : tuple of int, the expected shape
    number : int or None, index of the array in the list `name`
    """
    if array.shape == shape and array.dtype.char in "fd":
        return
    name = name if number is None else f"{name}[{number}]"
    if array.shape != shape:
        raise inconsistent(f"{name} has shape {array.shape}; expected {shape}")
    raise inconsistent(f"{name} has dtype {array.dtype}; expected float32 or float64")


def check_range(name: str, array: Array, allowed: Callable[[Any, float], Any], what: str) -> None:
    """Raise ValueError unless ``allowed(value, 0)`` for each value; nan is never allowed.

    Parameters
    ----------
    name : str, for the message
    array : (n,), the values to check
    allowed : comparison, e.g. `operator.gt`
    what : str, the same comparison in the message, e.g. "> 0"
    """
    if not all(allowed(value, 0.0) for value in array.tolist()):
        raise inconsistent(f"{name} has the values {array}; all values must be {what}")


def check_weights(sizes: Sequence[int], coefs: list[Array], intercepts: list[Array]) -> None:
    """Raise ValueError unless the arrays can be the weights of a network.

    Parameters
    ----------
    sizes : (n_features, hidden..., n_outputs)
    coefs, intercepts : lists of (n_in, n_out) and (n_out,)
    """
    if not len(coefs) == len(intercepts) == len(sizes) - 1:
        raise inconsistent(
            f"there are {len(coefs)} arrays in coefs_ and {len(intercepts)} in intercepts_, for "
            f"{len(sizes) - 1} layers of weights"
        )
    for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
        check_float("coefs_", coefs[layer], (n_in, n_out), layer)
        check_float("intercepts_", intercepts[layer], (n_out,), layer)


def check_output_biases(n_outputs: int, n_networks: int, biases: list[Array]) -> None:
    """Raise ValueError unless there is a bias of each output for each network."""
    if len(biases) != n_networks:
        raise inconsistent(
            f"there are output biases of {len(biases)} networks, and n_networks_ is {n_networks}"
        )
    if n_networks > 1:  # never read for a single network
        for bias in biases:
            check_float("the output bias of a network", bias, (n_outputs,))


def check_average(name: str, average: Array, parts: list[Array]) -> None:
    """Raise ValueError unless `average` is the mean of `parts`, up to rounding.

    Parameters
    ----------
    name : str, for the message
    average : (n,)
    parts : list of (n,), one for each network
    """
    if len(parts) > 1:
        close = _ROUNDING * np.max(np.abs(parts), axis=0)
        if not np.all(np.abs(np.mean(parts, axis=0) - average) <= close):
            raise inconsistent(f"{name} is not the average over the networks")


def all_finite(*arrays: Iterable[Array]) -> bool:
    """Whether no array in any of the lists contains nan or inf."""
    return all(bool(np.isfinite(array).all()) for array in chain(*arrays))


def check_finite(arrays: Iterable[tuple[str, Any]]) -> None:
    """Raise ValueError if one of the named arrays contains nan."""
    for name, array in arrays:
        if np.isnan(array).any():
            raise inconsistent(f"{name} has values that are nan")
