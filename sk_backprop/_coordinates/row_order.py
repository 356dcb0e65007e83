"""Rows and columns in an order that depends on their values alone.

A quasi-Newton run amplifies rounding: on the diabetes data, with alpha=1, repeating rows
instead of weighting them moved single predictions by 0.3 standard deviations of y. Here
rows are put in an order that depends on their values alone, and equal rows are merged, so
that the solver is given the same numbers, bit for bit, however the user's table was arranged.

Columns stay where they are, but are ranked by their values. Whatever treats columns
differently, such as initial weights, uses these ranks and not the positions in the table.
"""

from __future__ import annotations

from operator import add
from typing import Any

import numpy as np
import scipy.sparse as sp

from sk_backprop._blocks.arrays import Array, Rows, row_blocks
from sk_backprop._blocks.blocks import Node, block_sum, joined, leaves, total_of
from sk_backprop._coordinates.scales import divide_columns, statistics_rows

# Values whose keys are held at a time.
_BLOCK_VALUES = 2**18

# Decimals, in units of the spreads, to which the sums that order rows and rank columns are
# rounded: those of a symmetric design differ by rounding alone.
_DIGITS = 10


def canonical_rows(
    X: Any, x_scale: Array, y: Array, sample_weight: Array | None
) -> tuple[Array, Array | None]:
    """Which rows to take, in which order, and their weights once equal rows are merged.

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
    order, repeated = _sorted_rows(X, x_scale, y)
    if not repeated.any():
        return order, None if sample_weight is None else _unless_ones(sample_weight[order])
    starts = np.flatnonzero(~repeated)
    weights = np.ones(len(order)) if sample_weight is None else sample_weight[order]
    return order[starts], _unless_ones(np.add.reduceat(weights, starts))


def range_of_rows(X: Any, x_scale: Array, y: Array, n_ranges: int) -> Array:
    """Number of the range of keys that each row is in, (n_samples,) int.

    The ranges are equal parts of all keys. In the order of `canonical_rows`, rows of an earlier
    range come first, and equal rows are in one range.

    Parameters
    ----------
    X, x_scale, y : as for `canonical_rows`
    n_ranges : int, below 2^32
    """
    high = row_keys(X, x_scale, y) >> np.uint64(32)
    return np.asarray((high * np.uint64(n_ranges)) >> np.uint64(32)).astype(np.intp)


def row_groups(X: Any, x_scale: Array, y: Array) -> Array:
    """Index of the distinct row that each row equals, (n_samples,) int.

    Distinct rows are numbered in the order of `canonical_rows`.

    Parameters
    ----------
    X, x_scale, y : as for `canonical_rows`
    """
    order, repeated = _sorted_rows(X, x_scale, y)
    groups = np.empty(len(order), dtype=np.intp)
    groups[order] = np.cumsum(~repeated) - 1
    return groups


def row_order(X: Any, y: Array) -> Array:
    """An order of rows that no unit, shift or order of columns changes: (n_samples,) int.

    Rows are sorted by sums over the columns, each scaled to [0, 1], and over the targets, whose
    signs do not matter. Rows with equal sums stay in the order of the table.

    X : (n_samples, n_features), dense or CSR; y : (n_samples, n_outputs)
    """
    low, span = _low_and_span(X)
    sums = np.empty((2, X.shape[0]))
    if sp.issparse(X):
        # A zero of a column is scaled to `at_zero`; other entries are added as differences from it.
        # A column whose values are all above or all below zero has no zeros.
        at_zero = np.where((low <= 0) & (low + span >= 0), -low / span, 0.0)
        place = (X.data - low[X.indices]) / span[X.indices]
        for k, power in enumerate((1, 2)):
            more = place**power - at_zero[X.indices] ** power
            entries = sp.csr_array((more, X.indices, X.indptr), shape=X.shape)
            sums[k] = entries.sum(axis=1) + np.sum(at_zero**power)
    else:
        for rows in row_blocks(X.shape[0], max(1, _BLOCK_VALUES // max(1, X.shape[1]))):
            place = (X[rows].astype(np.float64) - low) / span
            sums[:, rows] = place.sum(axis=1), np.square(place, out=place).sum(axis=1)
    low, span = _low_and_span(y)
    sums += np.abs((y - low) / span - 0.5).sum(axis=1)
    # Rounded, since other units or another order of columns change the last digits.
    return np.lexsort(np.round(sums[::-1], _DIGITS))


def _low_and_span(values: Any) -> tuple[Array, Array]:
    """Smallest value of each column, and its range, 1 where that is zero: float64."""
    ends = [end(axis=0) for end in (values.min, values.max)]
    low, high = (
        np.asarray(end.toarray() if sp.issparse(end) else end, dtype=np.float64).ravel()
        for end in ends
    )
    with np.errstate(over="ignore"):
        span = high - low
    return low, np.where((span > 0) & np.isfinite(span), span, 1.0)


def column_ranks(X: Rows, y: Array, sample_weight: Array | None, n_features: int) -> Array:
    """Rank of each column by its products with y: (n_features,) int.

    Ranks move with the columns when a table lists them in another order. They do not depend
    on the order of rows or targets, the units, or the signs of columns and targets. Columns
    of zeros come last, and equal columns keep the order of the table.

    Parameters
    ----------
    X : (n_samples, n_features or more), y : (n_samples, n_outputs), in the solver's coordinates
    sample_weight : (n_samples,) or None for ones
    n_features : int, number of columns to rank, the first ones
    """
    share = 1 / len(y)
    if sample_weight is not None:
        relative = sample_weight / sample_weight.max()
        share = (relative / block_sum(relative))[:, None]
    return ranks_of(total_of(products_with_y(X, y, share), add), n_features)


def products_with_y(
    X: Rows, y: Array, share: Array | float, first_row: int = 0
) -> list[Node[Array]]:
    """Products of the columns with y, |y| and y^2, (n_columns, 3 n_outputs), as nodes of a tree.

    Parameters
    ----------
    X, y : as for `column_ranks`
    share : (n_samples, 1) or float, of each row in the total weight of all rows
    first_row : int, number of the first row where these are a part of others, a multiple of
        `statistics_rows`
    """
    targets = y.astype(np.float64)
    factors = np.concatenate([targets, np.abs(targets), targets**2], axis=1) * share
    block_rows = statistics_rows(X)
    blocks = row_blocks(X.shape[0], block_rows)
    parts = (X[rows].astype(np.float64).T @ factors[rows] for rows in blocks)
    return joined(leaves(parts, first_row // block_rows), add)


def ranks_of(products: Array, n_features: int) -> Array:
    """Rank of each column, (n_features,) int.

    products : as returned by `products_with_y`, over all rows; n_features : int
    """
    sizes = np.abs(products[:n_features]).reshape(n_features, 3, -1).sum(axis=2)
    # Another order of columns may change the last digits of the sums.
    rounded = np.round(sizes, _DIGITS)
    return np.argsort(np.lexsort(-rounded.T[::-1]))


def _sorted_rows(X: Any, x_scale: Array, y: Array) -> tuple[Array, Array]:
    """The order of `canonical_rows`, and which rows in it equal the row before: (n_samples,).

    Parameters
    ----------
    X, x_scale, y : as for `canonical_rows`
    """
    keys = row_keys(X, x_scale, y)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    same_key = np.flatnonzero(keys[1:] == keys[:-1])
    a, b = order[same_key], order[same_key + 1]
    repeated = np.zeros(len(order), dtype=bool)
    repeated[1 + same_key] = _equal_rows(X, a, b) & np.all(y[a] == y[b], axis=1)
    return order, repeated


def row_keys(X: Any, x_scale: Array, y: Array) -> Array:
    """The keys by which rows are sorted, (n_samples,) uint64; parameters as `canonical_rows`."""
    (n_rows, n_columns), n_outputs = X.shape, y.shape[1]
    per_row = n_outputs + (X.nnz // max(1, n_rows) if sp.issparse(X) else n_columns)
    keys = np.empty(n_rows, dtype=np.uint64)
    for rows in row_blocks(n_rows, max(1, _BLOCK_VALUES // per_row)):
        keys[rows] = _row_keys(X[rows], x_scale)
        keys[rows] += _row_keys(y[rows], np.ones(n_outputs), first_column=n_columns)
    return keys


def _unless_ones(weights: Array) -> Array | None:
    return None if np.all(weights == 1) else weights


def _mixed(bits: Array) -> Array:
    # The finaliser of splitmix64 (Steele, Lea & Flood 2014,
    # doi:10.1145/2660193.2660195): every bit of a value reaches every bit of its key.
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))


def _value_keys(values: Array, columns: Array) -> Array:
    """Keys of values in their columns; 0 for a zero, so that sparse and dense rows agree."""
    bits = (values.astype(np.float64) + 0.0).view(np.uint64)  # + 0.0 turns -0.0 into 0.0
    salt = _mixed(columns.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    return np.asarray(np.where(bits == 0, np.uint64(0), _mixed(bits + salt)))


def _row_keys(X: Any, scale: Array, first_column: int = 0) -> Array:
    """Sum of the keys of the values of X / scale in each row, modulo 2^64: (n_samples,).

    Parameters
    ----------
    X : (n_samples, n_columns), dense or CSR
    scale : (n_columns,)
    first_column : int, number of the first column of a dense X
    """
    if sp.issparse(X):
        values = X.data / scale[X.indices]
        keys = np.append(_value_keys(values, X.indices), np.uint64(0))
        sums = np.concatenate([[np.uint64(0)], np.cumsum(keys, dtype=np.uint64)])
        return np.asarray(sums[X.indptr[1:]] - sums[X.indptr[:-1]])
    columns = np.arange(first_column, first_column + X.shape[1])
    keys = _value_keys(divide_columns(X, scale), columns)
    return np.asarray(keys.sum(axis=1, dtype=np.uint64))


def _equal_rows(X: Any, a: Array, b: Array) -> Array:
    """Which rows `a` of X equal the rows `b`: (n_pairs,) bool.

    Parameters
    ----------
    X : (n_samples, n_features), dense or CSR
    a, b : (n_pairs,) int
    """
    if sp.issparse(X):
        different = (X[a] != X[b]).tocsr()
        different.eliminate_zeros()
        return np.asarray(np.diff(different.indptr) == 0)
    return np.asarray(np.all(X[a] == X[b], axis=1))


def hashed_rows(X: Any, y: Array) -> Array:
    """A hash of each row of X and y together, in the units of the user: (n_samples,) uint64."""
    return _mixed(row_keys(X, np.ones(X.shape[1]), y))
