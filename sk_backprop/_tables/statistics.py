"""Statistics of the columns of some rows, from which their encoding is decided.

They are plain data of bounded size, and merge exactly: those of a table are the same, but for the
order of levels, whatever parts its rows come in and in whatever order. Sums are fractions; levels
and dates are kept up to `MOST_DISTINCT` different ones.
"""

from fractions import Fraction
from functools import reduce
from operator import add
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.exact import Weights
from sk_backprop._tables.distinct import Repeats, keys_of_names, keys_of_numbers
from sk_backprop._tables.kinds import Kind, common_kind
from sk_backprop._tables.reading import MISSING, levels_of, numbers_of
from sk_backprop._tables.refusals import several_kinds
from sk_backprop._tables.table import (
    DATES,
    LEVELS,
    READERS,
    TAKEN_FOR,
    Table,
    TableColumn,
    dtype_of,
)

# Different levels or dates of a column that are kept, at most.
MOST_DISTINCT = 100_000

# Days of a period, and days that dates must span for it.
PERIODS = {"year": (365.2425, 548.0), "week": (7.0, 21.0), "day": (1.0, 2.0)}

# Kinds whose values may be integers that number the rows.
_MAY_NUMBER_ROWS = (Kind.NUMBER, Kind.NUMBER_CATEGORY)

# So many of the first values show in most columns that they are not integers.
_FEW = 256


class NumberStatistics(NamedTuple):
    """Numbers, days of dates or seconds of durations.

    total, weight : Fraction, sums of weighted values, and of weights, over finite values
    n_present, n_missing : int, rows, of any weight, with and without a value
    missing_weight : Fraction, of the rows without a value
    """

    total: Fraction
    weight: Fraction
    n_present: int
    n_missing: int
    missing_weight: Fraction

    @classmethod
    def of(cls, values: Array, weights: Weights) -> Self:
        """From values, (n_rows,), nan where missing, and their weights."""
        missing, finite = np.isnan(values), np.isfinite(values)
        n_missing = int(missing.sum())
        return cls(
            weights.dot(np.where(finite, values, 0.0)),
            weights.total if finite.all() else weights.of(finite),
            len(values) - n_missing,
            n_missing,
            weights.of(missing) if n_missing else Fraction(0),
        )

    def merge(self, other: Self) -> Self:
        """Those of the rows of both."""
        return type(self)(*map(add, self, other))  # all are sums

    @property
    def mean(self) -> float:
        """The weighted mean, rounded once; 0 if there is no value."""
        return float(self.total / self.weight) if self.weight else 0.0

    @property
    def lacks_values(self) -> bool:
        """Whether a value is missing where the weight is positive, or everywhere."""
        return self.missing_weight > 0 if self.weight else self.n_missing > 0


class DateStatistics(NamedTuple):
    """Finite days of rows of positive weight.

    distinct : (n_distinct,) ascending, or None if there are more than `MOST_DISTINCT`
    low, high : (1 + n_periods,), extremes of the days, and of the days modulo each period
    """

    distinct: Array | None
    low: Array
    high: Array

    @classmethod
    def of(cls, days: Array, weights: Weights) -> Self:
        """From days, (n_rows,), nan where missing, and their weights."""
        distinct = np.unique(days[np.isfinite(days) & weights.positive])
        phases = np.array([distinct, *(distinct % period for period, _ in PERIODS.values())])
        low, high = phases.min(axis=1, initial=np.inf), phases.max(axis=1, initial=-np.inf)
        return cls(_if_few(distinct), low, high)

    def merge(self, other: Self) -> Self:
        """Those of the rows of both."""
        distinct = None
        if self.distinct is not None and other.distinct is not None:
            distinct = _if_few(np.union1d(self.distinct, other.distinct))
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return type(self)(distinct, low, high)

    @property
    def gap(self) -> float:
        """The median gap between different dates; of too many to keep, an upper bound."""
        if self.distinct is None:  # half of the gaps are at least the median
            return float(2 * (self.high[0] - self.low[0]) / MOST_DISTINCT)
        return float(np.median(np.diff(self.distinct)))


class LevelStatistics(NamedTuple):
    """Categories.

    levels : dict of level: (rows, weight), or None if there are more than `MOST_DISTINCT`
    repeats : Repeats of the levels if there are more, else None
    lacks_values : bool, whether a value is missing
    """

    levels: dict[str | None, tuple[int, int | Fraction]] | None
    repeats: Repeats | None
    lacks_values: bool

    @classmethod
    def of(cls, codes: Array, names: list[str | None], weights: Weights) -> Self:
        """From the codes of the rows, (n_rows,), the level of each code, and weights."""
        rows = map(int, np.bincount(codes, minlength=len(names)))
        totals = weights.by_group(codes, len(names))
        levels = dict(zip(names, zip(rows, totals), strict=True))
        return cls(levels, None, MISSING in levels)._bounded()

    @classmethod
    def without_values(cls, numbers: NumberStatistics) -> Self:
        """Of a column without any value that may have had categories."""
        n_rows, weight = numbers.n_missing, numbers.missing_weight
        return cls({MISSING: (n_rows, weight)} if n_rows else {}, None, n_rows > 0)

    def merge(self, other: Self) -> Self:
        """Those of the rows of both."""
        lack = self.lacks_values or other.lacks_values
        if self.levels is None or other.levels is None:
            return type(self)(None, self._all_repeats().merge(other._all_repeats()), lack)
        merged = dict(self.levels)
        for level, (rows, weight) in other.levels.items():
            before = merged.get(level, (0, 0))
            merged[level] = before[0] + rows, before[1] + weight
        return type(self)(merged, None, lack)._bounded()

    @property
    def all_differ(self) -> bool:
        """Whether each row has a level of its own."""
        if self.lacks_values:
            return False
        if self.levels is None:
            return not self._all_repeats().found
        return all(rows == 1 for rows, _ in self.levels.values())

    def _bounded(self) -> Self:
        if self.levels is None or len(self.levels) <= MOST_DISTINCT:
            return self
        return self._replace(levels=None, repeats=self._all_repeats())

    def _all_repeats(self) -> Repeats:
        if self.levels is None:
            assert self.repeats is not None
            return self.repeats
        names = [name for name in self.levels if name is not MISSING]
        return Repeats.of(keys_of_names(names), np.array([self.levels[name][0] for name in names]))


class IntegerStatistics(NamedTuple):
    """Numbers that are integers in all rows.

    low, high : float, the smallest and the largest; repeats : Repeats of the numbers
    """

    low: float
    high: float
    repeats: Repeats

    @classmethod
    def of(cls, values: Array) -> Self | None:
        """From numbers, (n_rows,); None if not all are integers."""
        for some in (values[:_FEW], values):
            if not np.array_equal(some, np.floor(some)):
                return None
        low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
        return cls(float(low), float(high), Repeats.of(keys_of_numbers(values)))

    def merge(self, other: Self) -> Self:
        """Those of the rows of both."""
        low, high = min(self.low, other.low), max(self.high, other.high)
        return type(self)(low, high, self.repeats.merge(other.repeats))

    @property
    def number_the_rows(self) -> bool:
        """Whether all differ, and few between the smallest and the largest are missing."""
        return self.high - self.low < 2 * self.repeats.n_rows and not self.repeats.found


class ColumnStatistics(NamedTuple):
    """A column; None where it is not taken for that.

    label : str; kind : Kind; is_float32 : bool, whether all values are in single precision
    numbers : NumberStatistics, of any column but of levels; dates : DateStatistics
    levels : LevelStatistics; integers : IntegerStatistics
    """

    label: str
    kind: Kind
    is_float32: bool
    numbers: NumberStatistics | None
    dates: DateStatistics | None
    levels: LevelStatistics | None
    integers: IntegerStatistics | None

    @classmethod
    def of(cls, column: TableColumn, weights: Weights, *, with_levels: bool) -> Self:
        """From rows of these weights.

        column : TableColumn; weights : Weights
        with_levels : whether its values may be categories
        """
        numbers = dates = levels = integers = None
        if column.taken_for != LEVELS:
            values = np.ascontiguousarray(READERS[column.taken_for](column.values))
            numbers = NumberStatistics.of(values, weights)
            if column.taken_for == DATES:
                dates = DateStatistics.of(values, weights)
            if column.kind in _MAY_NUMBER_ROWS:
                integers = IntegerStatistics.of(values)
        if with_levels:
            levels = LevelStatistics.of(*levels_of(column.values), weights)
        single = column.is_float32 or not len(column.values)
        return cls(column.label, column.kind, single, numbers, dates, levels, integers)

    @classmethod
    def of_integers(cls, column: TableColumn) -> Self:
        """Of a column of numbers, only what shows whether they number the rows."""
        integers = IntegerStatistics.of(numbers_of(column.values))
        return cls(column.label, column.kind, column.is_float32, None, None, None, integers)

    @property
    def number_the_rows(self) -> bool:
        """Whether the values are numbers or names of the rows, different in each."""
        if self.kind is Kind.NUMBER:
            return self.integers is not None and self.integers.number_the_rows
        return TAKEN_FOR[self.kind] == LEVELS and self.levels is not None and self.levels.all_differ

    def merge(self, other: Self) -> Self:
        """Those of the rows of both; raises ValueError if their kinds have nothing in common."""
        kind = common_kind(self.kind, other.kind)
        levels = _both(self._levels, other._levels)
        for one in (self, other):
            lost = one.kind is Kind.NUMBER_CATEGORY and one.levels is not None and levels is None
            if lost or not one._may_be(kind):
                raise several_kinds(self.label, self.kind, other.kind)
        return self._replace(
            kind=kind,
            is_float32=self.is_float32 and other.is_float32,
            numbers=None if TAKEN_FOR[kind] == LEVELS else _both(self.numbers, other.numbers),
            dates=_either(self.dates, other.dates),
            levels=levels,
            integers=_both(self.integers, other.integers),
        )

    def _may_be(self, kind: Kind) -> bool:
        """Whether the values may be of a column of this kind."""
        if TAKEN_FOR[kind] == TAKEN_FOR[self.kind]:
            return True
        return self._has_no_values or (TAKEN_FOR[kind] == LEVELS and self.levels is not None)

    @property
    def _has_no_values(self) -> bool:
        return self.numbers is not None and not self.numbers.n_present

    @property
    def _levels(self) -> LevelStatistics | None:
        if self.levels is None and self.numbers is not None and self._has_no_values:
            return LevelStatistics.without_values(self.numbers)
        return self.levels


class TableStatistics(NamedTuple):
    """The columns of some rows.

    n_rows : int; weight : Fraction, of all rows
    columns : list of ColumnStatistics
    """

    n_rows: int
    weight: Fraction
    columns: list[ColumnStatistics]

    @classmethod
    def of(cls, table: Table, with_levels: Array, weights: Array | None) -> Self:
        """From some rows.

        Parameters
        ----------
        table : Table
        with_levels : (n_columns,) bool, columns whose values may be categories
        weights : (n_rows,), finite, none negative; or None for ones
        """
        exact = Weights(weights, table.n_rows)
        columns = [
            ColumnStatistics.of(column, exact, with_levels=bool(one))
            for column, one in zip(table.columns, with_levels, strict=True)
        ]
        return cls(table.n_rows, exact.total, columns)

    def merge(self, other: Self) -> Self:
        """Those of the rows of both."""
        pairs = zip(self.columns, other.columns, strict=True)
        return type(self)(
            self.n_rows + other.n_rows,
            self.weight + other.weight,
            [mine.merge(its) for mine, its in pairs],
        )

    @property
    def dtype(self) -> Any:
        """The precision of the numbers, as of a `Table`."""
        return dtype_of(self.columns)

    @property
    def lacks_values(self) -> bool:
        """Whether a value is missing, in rows of any weight."""
        return any(one.numbers is not None and one.numbers.n_missing > 0 for one in self.columns)


S = TypeVar("S", NumberStatistics, LevelStatistics, IntegerStatistics, DateStatistics)


def _both(first: S | None, second: S | None) -> S | None:
    """What merges to None if either is None."""
    return None if first is None or second is None else first.merge(second)


def _either(first: S | None, second: S | None) -> S | None:
    """What merges to the other if either is None."""
    found = [one for one in (first, second) if one is not None]
    return reduce(lambda a, b: a.merge(b), found) if found else None


def _if_few(distinct: Array) -> Array | None:
    return distinct if len(distinct) <= MOST_DISTINCT else None
