"""Arrays: their type, rows that stay sparse, and blocks of rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
P = ParamSpec("P")
R = TypeVar("R")


class Sparse(Protocol):
    """Sparse matrices and arrays of scipy, in any format."""

    @property
    def shape(self) -> Any: ...
    def tocsr(self, copy: bool = ...) -> Any: ...


# X as users pass it: data frames are array-like, as numpy can read them.
TableLike: TypeAlias = ArrayLike | Sparse


def beyond_range_is_inf(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: inf and nan without numpy's warnings; the caller checks for them.

    In numpy 1, `np.errstate` itself as a decorator keeps one state for all threads. (After
    some LAPACK calls there are false warnings, for a product of finite float32.)
    """

    @wraps(function)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> R:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return function(*args, **kwargs)

    return quiet


class Rows(Protocol):
    """Protocol of the network's input: an ndarray, or rows that stay sparse."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def T(self) -> Any: ...  # noqa: N802 - as in ndarray
    def astype(self, dtype: Any, /) -> Any: ...
    def __matmul__(self, other: Any, /) -> Any: ...
    def __getitem__(self, rows: Any, /) -> Any: ...


class SelectedRows:
    """Some rows of a dense array, which are copied when they are asked for, block by block.

    Parameters
    ----------
    X : (n_all, n_columns)
    selected : (n_rows,) int
    dtype : of the copies, or None for that of X
    """

    def __init__(self, X: Array, selected: Array, dtype: Any = None) -> None:
        # Half the memory, where it suffices.
        small = len(X) <= np.iinfo(np.int32).max
        self._X, self._selected = X, selected.astype(np.int32) if small else selected
        self.shape = (len(selected), X.shape[1])
        self.dtype = X.dtype if dtype is None else np.dtype(dtype)

    def __getitem__(self, rows: Any) -> Array:
        return np.asarray(self._X[self._selected[rows]], dtype=self.dtype)

    def astype(self, dtype: Any) -> SelectedRows:
        """The same rows in another precision."""
        return SelectedRows(self._X, self._selected, dtype)


def as_dense(X: Any) -> Array:
    """Dense rows as they are, sparse ones as an array."""
    return np.asarray(X if isinstance(X, np.ndarray) else X.toarray())


def row_blocks(n_rows: int, block_rows: int) -> list[slice]:
    """Consecutive slices of at most `block_rows` rows."""
    return [slice(start, min(start + block_rows, n_rows)) for start in range(0, n_rows, block_rows)]


def weighted_quantiles(values: Array, w: Array, p: Any) -> Array:
    """The smallest values up to which there is at least the fraction `p` of the weight.

    values, w : (n_rows,); p : array or float
    """
    order = np.argsort(values, kind="stable")
    up_to = np.cumsum(w[order])
    return np.asarray(values[order[np.searchsorted(up_to, p * up_to[-1])]])


def weighted_median(values: Array, w: Array) -> float:
    """Median of values, (n_rows,), with weights w: the smallest that half of the weight reaches."""
    return float(weighted_quantiles(values, w, 0.5))
