"""Rows in an order of their own, each once, with its weight.

A quasi-Newton run amplifies rounding: on the diabetes data, with alpha=1, rows repeated
instead of weighted moved single predictions by 0.3 standard deviations of y. Here rows
are put in an order that depends on their values alone, and equal
rows become one, so that the solver is given the same numbers, bit for bit, however the
user's table was arranged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from sk_backprop._network import Array
from sk_backprop._scaling import divide_columns

# Values whose keys are held at a time.
_BLOCK_VALUES = 2**18


def canonical_rows(
    X: Any, x_scale: Array, y: Array, sample_weight: Array | None
) -> tuple[Array, Array | None]:
    """Which rows to take, in which order, and the weights that they then have.

    Parameters
    ----------
    X : (n_samples, n_features), dense or CSR; x_scale : (n_features,)
        The order is that of X / x_scale: it must not depend on the user's units.
    y : (n_samples, n_outputs), in scaled units
    sample_weight : (n_samples,) or None for ones

    Returns
    -------
    rows : (n_distinct,) int, and weights : (n_distinct,) or None for ones
    """
    keys = _row_keys(X, x_scale)
    keys += _row_keys(y, np.ones(y.shape[1]), first_column=X.shape[1])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    same_key = np.flatnonzero(keys[1:] == keys[:-1])
    a, b = order[same_key], order[same_key + 1]
    again = same_key[_equal_rows(X, a, b) & np.all(y[a] == y[b], axis=1)] + 1
    if not again.size:
        return order, None if sample_weight is None else _unless_ones(sample_weight[order])
    starts = np.delete(np.arange(len(order)), again)
    weights = np.ones(len(order)) if sample_weight is None else sample_weight[order]
    return order[starts], _unless_ones(np.add.reduceat(weights, starts))


def _unless_ones(weights: Array) -> Array | None:
    return None if np.all(weights == 1) else weights


def _mixed(bits: Array) -> Array:
    # The finaliser of splitmix64 (Steele, Lea & Flood 2014,
    # doi:10.1145/2660193.2660195): every bit of a value reaches every bit of its key.
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))


def _value_keys(values: Array, columns: Array) -> Array:
    """Keys of values in their columns; 0 for a zero, so that sparse rows agree."""
    bits = (values.astype(np.float64) + 0.0).view(np.uint64)  # + 0.0 turns -0.0 into 0.0
    salt = _mixed(columns.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    return np.asarray(np.where(bits == 0, np.uint64(0), _mixed(bits + salt)))


def _row_keys(X: Any, scale: Array, first_column: int = 0) -> Array:
    """Sum of the keys of the values of X / scale in each row, modulo 2^64: (n_samples,)."""
    if sp.issparse(X):
        values = X.data / scale[X.indices]
        keys = np.append(_value_keys(values, X.indices), np.uint64(0))
        sums = np.concatenate([[np.uint64(0)], np.cumsum(keys, dtype=np.uint64)])
        return np.asarray(sums[X.indptr[1:]] - sums[X.indptr[:-1]])
    columns = np.arange(first_column, first_column + X.shape[1])
    step = max(1, _BLOCK_VALUES // max(1, X.shape[1]))
    keys = np.empty(X.shape[0], dtype=np.uint64)
    for start in range(0, X.shape[0], step):
        block = _value_keys(divide_columns(X[start : start + step], scale), columns)
        keys[start : start + step] = block.sum(axis=1, dtype=np.uint64)
    return keys


def _equal_rows(X: Any, a: Array, b: Array) -> Array:
    if sp.issparse(X):
        different = (X[a] != X[b]).tocsr()
        different.eliminate_zeros()
        return np.asarray(np.diff(different.indptr) == 0)
    return np.asarray(np.all(X[a] == X[b], axis=1))


def hashed_rows(X: Any, y: Array) -> Array:
    """A hash of each row of X and y together, in the units of the user: (n_samples,) uint64."""
    n_columns = X.shape[1] + y.shape[1]
    columns, ones = np.arange(n_columns), np.ones(n_columns)
    per_row = n_columns if not sp.issparse(X) else 1 + y.shape[1] + X.nnz // X.shape[0]
    step = max(1, _BLOCK_VALUES // per_row)
    keys = np.empty(len(y), dtype=np.uint64)
    for start in range(0, len(y), step):
        rows = slice(start, start + step)
        if sp.issparse(X):
            keys[rows] = _row_keys(X[rows], ones)
            keys[rows] += _row_keys(y[rows], ones[: y.shape[1]], first_column=X.shape[1])
        else:
            block = _value_keys(np.concatenate([X[rows], y[rows]], axis=1), columns)
            keys[rows] = block.sum(axis=1, dtype=np.uint64)
    return _mixed(keys)
