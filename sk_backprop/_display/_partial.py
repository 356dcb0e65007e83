"""Averages of a fitted function over rows, with one feature set to each of its values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from numbers import Integral, Number
from typing import Any, NamedTuple

import numpy as np

from sk_backprop._display._shared import (
    Array,
    column_names,
    distribution_of,
    normal_unless,
    one_target,
    some_rows,
)

# Central intervals that are drawn, and the probabilities of their ends and of the median.
BANDS = (0.95, 0.5)
_LEVELS = np.array([0.025, 0.25, 0.5, 0.75, 0.975])

# Rows that are averaged over (the standard error of the average is a seventeenth of the spread of
# the predictions), values in a call of `predict`, and categories that are drawn.
_MOST_AVERAGED, _VALUES_AT_ONCE, _MOST_CATEGORIES = 300, 400_000, 20


class Spread(NamedTuple):
    """Distributions of observations.

    mean : (n,), of each
    quantiles : (n, n_levels), at `_LEVELS`
    least : float, the smallest value that is possible
    """

    mean: Array
    quantiles: Array
    least: float

    def ends(self) -> dict[float, Array]:
        """The ends of the bands, (n, 2) each."""
        q = np.maximum(self.quantiles, self.least)
        return {p: q[:, [k, -1 - k]] for k, p in enumerate(BANDS)}


def spread_of(estimator: Any, X: Any, target: int) -> Spread:
    """Predictive distributions of one target at rows of X.

    The probability of a count k is spread evenly from k - 1/2 to k + 1/2, so that no two quantiles
    are equal, and a central interval holds the counts that `probability_inside` says it does.

    estimator : with `predict(X, return_std=True)`; X : rows; target : int
    """
    mean, std = (one_target(a, target) for a in estimator.predict(X, return_std=True))
    distribution = normal_unless(distribution_of(estimator, X, target), mean, std)
    quantiles = np.column_stack([distribution.ppf(p) for p in _LEVELS])
    if hasattr(distribution, "pmf"):
        below, here = distribution.cdf(quantiles.T - 1).T, distribution.pmf(quantiles.T).T
        return Spread(mean, quantiles - 0.5 + (_LEVELS - below) / here, 0.0)
    return Spread(mean, quantiles, -np.inf)


class Feature(NamedTuple):
    """One column of a table.

    key : its name in a data frame, its index in an array
    values : (n_samples,), of the rows: numbers, dates, or categories
    at : (n_points,), values at which to predict, in order
    column : `at` with the dtype of the column, to be written into a table
    """

    key: Any
    values: Any
    at: Array
    column: Any

    def positions(self) -> tuple[Array, Array]:
        """Numbers that stand for `values` and for `at`; nan for missing ones."""
        if is_categorical(self.at):
            place = {value: k for k, value in enumerate(self.at.tolist())}
            found = [place.get(value, np.nan) for value in self.values]
            return np.array(found, dtype=float), np.arange(len(self.at), dtype=float)
        if self.at.dtype.kind == "M":
            start, unit = self.at[0], np.timedelta64(1, "s")
            return np.asarray((self.values - start) / unit), (self.at - start) / unit
        return np.asarray(self.values), self.at


def is_categorical(x: Any) -> bool:
    """Whether values are neither numbers nor dates."""
    return np.asarray(x).dtype.kind not in "fiuM"


def feature_of(X: Any, key: Any, n_points: int) -> Feature:
    """A feature and the values at which to predict: evenly spaced ones, or the categories.

    X : data frame, array or sparse matrix; key : from `key_of`; n_points : int
    """
    column = column_of(X, key)
    if getattr(column.dtype, "kind", "O") == "M":
        return _dates(key, column, n_points)
    if (numbers := _numbers(column)) is not None:
        if not np.isfinite(numbers).any():
            raise ValueError(f"feature {key!r} has no finite value in X.")
        at = np.linspace(np.nanmin(numbers), np.nanmax(numbers), n_points)
        return Feature(key, numbers, at, at)
    values = np.array([_plain(value) for value in column], dtype=object)
    known = [value for value in values.tolist() if value is not None]
    if not known:
        raise ValueError(f"feature {key!r} has no value in X.")
    shown = [value for value, _ in Counter(known).most_common(_MOST_CATEGORIES)]
    order = list(column.cat.categories) if hasattr(column, "cat") else sorted(shown, key=str)
    at = np.empty(len(shown), dtype=object)
    at[:] = [value for value in order if value in set(shown)]
    first = [values.tolist().index(value) for value in at]
    return Feature(key, values, at, _rows(column, first))


def average(
    estimator: Any, X: Any, feature: Feature, fixed: Mapping[Any, Any], target: int
) -> Spread:
    """The mean over rows of mean and quantiles, with the feature set to each value of `at`.

    estimator : with `predict(X, return_std=True)`; X : data frame, array or sparse matrix
    feature : Feature; fixed : {key: value} of other features; target : int
    """
    chosen = some_rows(len(feature.values), _MOST_AVERAGED)
    if X.shape[1] == 1 + len(fixed):
        chosen = chosen[:1]  # nothing else varies
    X, n_rows = _with(rows_of(X, chosen), fixed), len(chosen)
    found = []
    n_at = len(feature.at)
    n_parts = min(n_at, 1 + n_at * n_rows * X.shape[1] // _VALUES_AT_ONCE)
    for part in np.array_split(np.arange(n_at), n_parts):
        repeated = rows_of(X, np.tile(np.arange(n_rows), len(part)))
        column = _rows(feature.column, np.repeat(part, n_rows))
        spread = spread_of(estimator, _set(repeated, feature.key, column), target)
        shape = len(part), n_rows
        found.append(
            Spread(
                spread.mean.reshape(shape).mean(axis=1),
                spread.quantiles.reshape(*shape, -1).mean(axis=1),
                spread.least,
            )
        )
    means, quantiles, least = zip(*found)
    return Spread(np.concatenate(means), np.concatenate(quantiles), least[0])


def partial_residuals(y: Array, of_rows: Spread, at_rows: Array, along: Spread, at: Array) -> Array:
    """Where observations lie in the averaged distributions: an end of a band stays an end of it.

    Between quantiles, and beyond the outer ones, the map is linear. Where only the mean differs
    from row to row, the result is the averaged mean plus the residual.

    Parameters
    ----------
    y : (n_rows,), observations
    of_rows : Spread of these rows
    at_rows : (n_rows,), positions of the feature
    along : Spread of the averages
    at : (n_points,), their positions
    """
    where = np.clip(at_rows, at[0], at[-1])
    there = np.column_stack([np.interp(where, at, q) for q in along.quantiles.T])
    here, rows = of_rows.quantiles, np.arange(len(y))
    k = np.clip((y[:, None] >= here).sum(axis=1) - 1, 0, len(_LEVELS) - 2)
    start, width = here[rows, k], here[rows, k + 1] - here[rows, k]
    with np.errstate(divide="ignore", invalid="ignore"):  # constant targets
        part = np.where(width > 0, (y - start) / width, 0.0)
    residuals = there[rows, k] + part * (there[rows, k + 1] - there[rows, k])
    return np.asarray(np.maximum(residuals, along.least))


# --- tables ---


def as_table(X: Any) -> Any:
    """A table of any library as a pandas data frame; sparse rows as CSR; all else as an array."""
    if hasattr(X, "tocsr"):
        return X.tocsr()
    if isinstance(X, np.ndarray) or not hasattr(X, "columns"):
        return np.asarray(X)
    X = X.compute() if hasattr(X, "compute") else X
    return X if hasattr(X, "iloc") else X.to_pandas()


def key_of(X: Any, feature: Any) -> Any:
    """The key of a feature: its name in a data frame, its index in an array."""
    names = list(X.columns) if hasattr(X, "columns") else []
    if isinstance(feature, Integral) and -X.shape[1] <= feature < X.shape[1]:
        return names[feature] if names else int(feature) % X.shape[1]
    if feature in names:
        return feature
    known = f"one of {names} or a number" if names else "a number"
    raise ValueError(f"A feature is {known} below {X.shape[1]}, got {feature!r}.")


def names_by_key(estimator: Any, X: Any) -> dict[Any, str]:
    """The name of each column, those of an array from the estimator or a Pipeline, by its key."""
    if hasattr(X, "columns"):
        return {name: str(name) for name in X.columns}
    return dict(enumerate(column_names(estimator, X.shape[1])))


def column_of(X: Any, key: Any) -> Any:
    """A column of a data frame, an array or a sparse matrix."""
    if hasattr(X, "columns"):
        return X[key]
    return X[:, [key]].toarray().ravel() if hasattr(X, "toarray") else X[:, key]


def rows_of(X: Any, chosen: Array) -> Any:
    """Rows of a data frame (with a new index), or of an array; those of a sparse matrix dense."""
    if hasattr(X, "iloc"):
        return X.iloc[chosen].reset_index(drop=True)
    return X[chosen].toarray() if hasattr(X, "toarray") else X[chosen]


def _rows(column: Any, chosen: Any) -> Any:
    """Elements of a column, with its dtype."""
    return column.iloc[chosen].reset_index(drop=True) if hasattr(column, "iloc") else column[chosen]


def _set(X: Any, key: Any, values: Any) -> Any:
    """X, which is changed, with new values of a feature."""
    if hasattr(X, "columns"):
        X[key] = values
        return X
    if X.dtype.kind in "iub":
        X = X.astype(float)
    X[:, key] = values
    return X


def _with(X: Any, fixed: Mapping[Any, Any]) -> Any:
    """X, which is changed, with values of features that are the same in all rows."""
    for key, value in fixed.items():
        column = column_of(X, key)
        alike = [k for k, one in enumerate(column) if _plain(one) is not None and one == value]
        given = value
        if hasattr(column, "iloc") and alike:  # keeps the dtype, such as categories
            given = _rows(column, np.full(len(column), alike[0]))
        X = _set(X, key, given)
    return X


def _dates(key: Any, column: Any, n_points: int) -> Feature:
    """A feature of dates, in UTC if it has a time zone; see `feature_of`."""
    zone = getattr(column.dtype, "tz", None)
    utc = column if zone is None else column.dt.tz_convert("UTC").dt.tz_localize(None)
    values = np.asarray(utc)
    if np.isnat(values).all():
        raise ValueError(f"feature {key!r} has no date in X.")
    low, high = np.nanmin(values), np.nanmax(values)
    at = low + (high - low) * np.linspace(0, 1, n_points)
    if not hasattr(column, "dt"):
        return Feature(key, values, at, at)
    written = type(column)(at)
    if zone is not None:
        written = written.dt.tz_localize("UTC").dt.tz_convert(zone)
    return Feature(key, values, at, written.astype(column.dtype))


def _numbers(column: Any) -> Array | None:
    """A column as floats, None if it is none of numbers."""
    kind = getattr(column.dtype, "kind", "O")
    known = column.dropna() if hasattr(column, "dropna") else column
    if kind not in "fiu" and not (
        kind == "O"
        and len(known)
        and all(isinstance(value, Number) and not isinstance(value, bool) for value in known)
    ):
        return None
    if hasattr(column, "to_numpy"):
        return np.asarray(column.to_numpy(dtype=float, na_value=np.nan))
    return np.asarray(column, dtype=float)


def _plain(value: Any) -> Any:
    """A category; None if it is missing."""
    try:
        return value if value == value else None
    except TypeError:  # pandas.NA is neither equal nor unequal
        return None
