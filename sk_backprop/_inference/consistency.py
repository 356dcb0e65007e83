"""Whether the fitted state fits together, before anything is computed from it.

A file may be damaged, and attributes may be set by hand. numpy would broadcast a wrong shape, and
a negative variance beside a larger one would pass for another standard deviation. What is looked
at at each call takes a few us; whether all numbers are finite is asked only of a result that is
not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Of a mean in float32, in units of the largest value.
_ROUNDING = 1e-5


def inconsistent(reason: object) -> ValueError:
    """The error for a fitted state that cannot be what a fit has left.

    reason : str, or one of `READING_ERRORS`
    """
    if isinstance(reason, Exception):
        reason = f"{type(reason).__name__}: {reason}"
    return ValueError(
        f"The fitted state of the estimator is inconsistent: {reason}. It has been changed or "
        "damaged since the fit: fit again, or load the model again."
    )


# What reading attributes and keys that are missing, or of another type, raises.
READING_ERRORS = (AttributeError, LookupError, TypeError)


def check_float(name: str, array: Any, shape: tuple[int, ...], number: int | None = None) -> None:
    """Raise ValueError unless it is an array of float32 or float64 of that shape.

    number : int or None, of the array in a list of that name
    """
    if array.shape == shape and array.dtype.char in "fd":
        return
    name = name if number is None else f"{name}[{number}]"
    if array.shape != shape:
        raise inconsistent(f"{name} has shape {array.shape}; expected {shape}")
    raise inconsistent(f"{name} has dtype {array.dtype}; expected float32 or float64")


def check_range(name: str, array: Array, allowed: Callable[[Any, float], Any], what: str) -> None:
    """Raise ValueError unless ``allowed(value, 0)`` for each value; nan is never allowed."""
    if not all(allowed(value, 0.0) for value in array.tolist()):
        raise inconsistent(f"{name} has the values {array}; allowed are values {what}")


def check_weights(
    sizes: tuple[int, ...],
    n_networks: int,
    coefs: list[Array],
    intercepts: list[Array],
    output_intercepts: list[Array],
) -> None:
    """Raise ValueError unless these are weights of so many networks, side by side.

    sizes : (n_features, hidden..., n_outputs), of one network
    """
    if not len(coefs) == len(intercepts) == len(sizes) - 1:
        raise inconsistent(
            f"there are {len(coefs)} arrays in coefs_ and {len(intercepts)} in intercepts_, for "
            f"{len(sizes) - 1} layers of weights"
        )
    if len(output_intercepts) != n_networks:
        raise inconsistent(
            f"there are output biases of {len(output_intercepts)} networks, and n_networks_ is "
            f"{n_networks}"
        )
    n_in = sizes[0]
    for layer, size in enumerate(sizes[1:]):
        n_out = size if layer == len(coefs) - 1 else n_networks * size
        check_float("coefs_", coefs[layer], (n_in, n_out), layer)
        check_float("intercepts_", intercepts[layer], (n_out,), layer)
        n_in = n_out
    if n_networks > 1:  # of one network nobody reads them
        for bias in output_intercepts:
            check_float("the output bias of a network", bias, (sizes[-1],))


def check_average(name: str, average: Array, parts: list[Array]) -> None:
    """Raise ValueError unless it is the mean of the parts, one for each network, to rounding."""
    if len(parts) > 1:
        close = _ROUNDING * np.max(np.abs(parts), axis=0)
        if not np.all(np.abs(np.mean(parts, axis=0) - average) <= close):
            raise inconsistent(f"{name} is not the average of those of the networks")


def all_finite(*arrays: Iterable[Array]) -> bool:
    """Whether there is neither nan nor inf in any array of several lists."""
    return all(bool(np.isfinite(array).all()) for array in chain(*arrays))


def check_finite(arrays: Iterable[tuple[str, Any]]) -> None:
    """Raise ValueError if one of the named arrays has nan."""
    for name, array in arrays:
        if np.isnan(array).any():
            raise inconsistent(f"{name} has values that are nan")
