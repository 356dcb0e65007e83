"""Numbers that stand for the columns of a table: the inputs of the network.

Each column becomes a block of inputs. A column of numbers or booleans is one input, a duration its
seconds. Categories and strings are one-hot: an input for each level, and one for all levels that
are rare or unknown. A date is the days since the first of the training rows, and a sine and a
cosine for each period that the dates cover. A missing number or date is replaced by the mean, which
is the origin of the coordinates in which the network is trained; a further input shows where that
was done, if the training rows lack values in that column.

Nothing here depends on the target. How a column is encoded is decided from its statistics alone,
so that rows may come in parts.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.exact import rounded
from sk_backprop._tables.reading import MISSING, levels_of
from sk_backprop._tables.refusals import other_kind
from sk_backprop._tables.statistics import (
    PERIODS,
    ColumnStatistics,
    DateStatistics,
    LevelStatistics,
    TableStatistics,
)
from sk_backprop._tables.table import (
    DATES,
    LEVELS,
    NUMBERS,
    READERS,
    TAKEN_FOR,
    Table,
    TableColumn,
)

# A level has an input of its own if its rows weigh at least so much: 5, in a table of fewer than
# 500 rows 1 % of all, but 2. Weights that sum to less than 20 are not counts: then it is 1 %.
_LEAST_ROWS, _LEAST_OF_FEW, _LEAST_SHARE, _NO_COUNTS = 5.0, 2.0, 0.01, 20.0

# Maximum number of levels of a column that have an input, those with the largest weights: the first
# with which a table has at most `_MOST_INPUTS` inputs, or else the last. More levels are
# better: with 16, 32 and all of 46 cities, the errors of the median prices of houses in Texas were
# 1, .80 and .61 (2,000 rows).
_MOST_LEVELS = (128, 64, 32, 16)
_MOST_INPUTS = 256

# Largest median gap between different dates, as a fraction of a period, and smallest range of
# phases: dates that are a month apart do not show a day of the week.
_LARGEST_GAP, _LEAST_RANGE = 0.5, 0.01


class Quantity(NamedTuple):
    """Numbers, booleans, durations or dates: the value, and perhaps phases and an indicator.

    taken_for : NUMBERS, DURATIONS or DATES
    fill : float, what replaces a missing value
    indicator : bool, whether there is an input for missing values
    origin : float, the value at which the first input is 0; periods : list of names in `PERIODS`
    """

    taken_for: str
    fill: float
    indicator: bool
    origin: float = 0.0
    periods: Sequence[str] = ()

    @classmethod
    def of(cls, column: ColumnStatistics) -> Self:
        """From statistics of training rows."""
        numbers, dates = column.numbers, column.dates
        assert numbers is not None
        block = cls(TAKEN_FOR[column.kind], numbers.mean, numbers.lacks_values)
        if dates is None:
            return block
        origin = float(np.floor(dates.low[0])) if numbers.weight else 0.0
        return block._replace(origin=origin, periods=_periods(dates))

    def parts(self) -> list[str]:
        """What each input is, to be added to the name of the column."""
        value = " (days)" if self.taken_for == DATES else ""
        phases = [f" ({wave} of {period})" for period in self.periods for wave in ("sin", "cos")]
        return [value, *phases, *["=(missing)"] * self.indicator]

    def encode(self, read: Array) -> Array:
        """Inputs of rows that were read, (n_rows, n_inputs); inf stays."""
        missing = np.isnan(read)
        waves = [wave(angle) for angle in self._angles(read) for wave in (np.sin, np.cos)]
        found = np.column_stack([read - self.origin, *waves, *[missing] * self.indicator])
        found[missing, 0] = self.fill - self.origin
        found[missing, 1 : 1 + len(waves)] = 0.0  # no phase rather than that of the mean
        return found

    def newly_missing(self, read: Array) -> bool:
        """Whether values are missing, as none was in training."""
        return not self.indicator and bool(np.isnan(read).any())

    def slope(self, read: Array, gradient: Array) -> Array:
        """Derivatives by the column, 0 where its value is missing.

        read : (n_rows,); gradient : (n_rows, n_outputs, n_inputs), by the inputs
        """
        found = gradient[..., 0].copy()
        for number, (angle, period) in enumerate(zip(self._angles(read), self.periods)):
            by_sin, by_cos = gradient[..., 1 + 2 * number], gradient[..., 2 + 2 * number]
            sin, cos = np.sin(angle)[:, None], np.cos(angle)[:, None]
            found += 2 * np.pi / PERIODS[period][0] * (by_sin * cos - by_cos * sin)
        return np.where(np.isnan(read)[:, None], 0.0, found)

    def _angles(self, days: Array) -> list[Array]:
        return [2 * np.pi * (days / PERIODS[period][0]) for period in self.periods]


class Levels(NamedTuple):
    """Categories: an input for each level, and one for all others.

    levels : list of str or None, which stands for a missing value
    other : bool, whether there is an input for levels that are rare or unknown
    of_numbers : bool, whether the levels were numbers; taken_for : LEVELS
    """

    levels: list[str | None]
    other: bool
    of_numbers: bool
    taken_for: str = LEVELS

    @classmethod
    def of(
        cls, found: LevelStatistics, weight: float, declared: Sequence[str | None] | None
    ) -> Self:
        """All levels that have enough training rows, by weight.

        Parameters
        ----------
        found : LevelStatistics; of more levels than it keeps, none has an input
        weight : of all rows
        declared : categories that have an input even if no row of the first batch of a stream
            belongs to them; None if no other levels can follow
        """
        least = _LEAST_SHARE * weight
        if weight >= _NO_COUNTS:
            least = min(_LEAST_ROWS, max(_LEAST_OF_FEW, least))
        if found.levels is None:
            return cls([], True, False)
        weights = {level: rounded(total) for level, (_, total) in found.levels.items()}
        # By weight, equal ones by name, so that the order of the rows does not matter.
        order = sorted(weights, key=lambda o: (-weights[o], str(o), o is MISSING))
        frequent = [level for level in order if weights[level] >= least]
        some_are_rare = any(0 < one < least for one in weights.values())
        if declared is not None:
            frequent += [level for level in declared if level not in weights]
        return cls(frequent, declared is not None or some_are_rare, False)

    def limited(self, most: int) -> Self:
        """The first levels, `most` of them at most, sorted by name."""
        kept = sorted(self.levels[:most], key=lambda level: (level is MISSING, str(level)))
        return self._replace(levels=kept, other=self.other or len(self.levels) > most)

    def parts(self) -> list[str]:
        """What each input is, to be added to the name of the column."""
        names = ["(missing)" if level is MISSING else level for level in self.levels]
        return [f"={name}" for name in [*names, *["(other)"] * self.other]]

    def encode(self, read: tuple[Array, list[str | None]]) -> Array:
        """Inputs of rows that were read; all 0 for an unknown level without an input."""
        codes, levels = read
        places = {level: place for place, level in enumerate(self.levels)}
        rest = len(self.levels) if self.other else -1
        place = np.array([places.get(level, rest) for level in levels], dtype=np.intp)[codes]
        found = np.zeros((len(codes), len(self.levels) + self.other))
        known = np.flatnonzero(place >= 0)
        found[known, place[known]] = 1.0
        return found

    def newly_missing(self, read: tuple[Array, list[str | None]]) -> bool:
        """Whether values are missing, which have no input."""
        return not self.other and MISSING not in self.levels and MISSING in read[1]

    def slope(self, read: Any, gradient: Array) -> Array:
        """The function has no derivative by a category: nan; as for `Quantity`."""
        return np.full(gradient.shape[:2], np.nan)


Block = Quantity | Levels


def _periods(dates: DateStatistics) -> list[str]:
    """The periods that dates cover, and are close enough to show."""
    if dates.distinct is not None and len(dates.distinct) < 3:
        return []
    gap, (days, *ranges) = dates.gap, dates.high - dates.low
    return [
        name
        for (name, (period, least)), phases in zip(PERIODS.items(), ranges, strict=True)
        if days >= least and gap <= _LARGEST_GAP * period and phases > _LEAST_RANGE * period
    ]


class Encoding(NamedTuple):
    """The blocks of inputs that stand for the columns of X.

    labels : names of the columns; blocks : one for each column
    """

    labels: list[str]
    blocks: list[Block]

    @classmethod
    def of(
        cls,
        statistics: TableStatistics,
        categorical: Array,
        declared: Sequence[Sequence[str | None]] | None = None,
    ) -> Self:
        """The encoding of training rows, from their statistics.

        Parameters
        ----------
        statistics : TableStatistics
        categorical : (n_columns,) bool, columns of categories, with statistics of their levels
        declared : categories of each column that have an input even if no row belongs to them, if
            the rows are the first batch of a stream; None if all rows are there
        """
        weight, blocks = rounded(statistics.weight), list[Block]()
        for j, column in enumerate(statistics.columns):
            if categorical[j]:
                assert column.levels is not None
                levels = Levels.of(column.levels, weight, None if declared is None else declared[j])
                blocks.append(levels._replace(of_numbers=TAKEN_FOR[column.kind] == NUMBERS))
            else:
                blocks.append(Quantity.of(column))
        labels = [column.label for column in statistics.columns]
        for most in _MOST_LEVELS:
            limited = [one.limited(most) if isinstance(one, Levels) else one for one in blocks]
            encoding = cls(labels, limited)
            if sum(encoding.widths) <= _MOST_INPUTS:
                break
        return encoding

    @property
    def widths(self) -> list[int]:
        """The number of inputs of each column."""
        return [len(block.parts()) for block in self.blocks]

    @property
    def names(self) -> list[str]:
        """A name for each input."""
        pairs = zip(self.labels, self.blocks, strict=True)
        return [f"{label}{part}" for label, block in pairs for part in block.parts()]

    @property
    def _slices(self) -> list[slice]:
        ends = np.cumsum([0, *self.widths])
        return [slice(int(first), int(end)) for first, end in pairwise(ends)]

    def transform(self, table: Table, name: str, dtype: Any = None) -> tuple[Array, list[str]]:
        """The inputs of rows, (n_rows, n_inputs), and the columns that newly lack values.

        Raises ValueError for a column that is not what it was in training, and for infinity.

        Parameters
        ----------
        table : Table
        name : str, of the argument
        dtype : of the inputs, or None for that of the numbers in `table`
        """
        dtype = table.dtype if dtype is None else dtype
        found, lacking = np.empty((table.n_rows, sum(self.widths)), dtype), []
        for column, block, inputs in zip(table.columns, self.blocks, self._slices, strict=True):
            _check_same_kind(column, block, name)
            read: Any = READERS[block.taken_for](column.values)
            found[:, inputs] = encoded = block.encode(read)
            if not np.isfinite(encoded).all():
                raise ValueError(
                    f"Input {name} contains infinity or a value too large for dtype('float64'), "
                    f"in column {column.label!r}. Missing values are nan or None."
                )
            if block.newly_missing(read):
                lacking.append(column.label)
        return found, lacking

    def gradient(self, table: Table, gradient: Array) -> Array:
        """Derivatives by the columns of X, (n_rows, n_outputs, n_columns); nan for categories.

        table : Table; gradient : (n_rows, n_outputs, n_inputs)
        """
        slopes = []
        for column, block, own in zip(table.columns, self.blocks, self._slices, strict=True):
            read: Any = READERS[block.taken_for](column.values)
            slopes.append(block.slope(read, gradient[..., own]))
        return np.stack(slopes, axis=-1)

    def by_column(self, of_inputs: Array) -> Array:
        """Sums over the inputs of each column: (n_columns,)."""
        return np.array([np.sum(of_inputs[own]) for own in self._slices])

    def state(self) -> list[dict[str, Any]]:
        """Plain data that `from_state` restores."""
        pairs = zip(self.labels, self.blocks, strict=True)
        return [{"label": label, **block._asdict()} for label, block in pairs]

    @classmethod
    def from_state(cls, state: list[dict[str, Any]]) -> Self:
        """The inverse of `state`, also for that of an earlier version."""
        blocks: list[Block] = []
        for one in state:
            kind = Levels if one["taken_for"] == LEVELS else Quantity
            blocks.append(kind(**{name: one[name] for name in kind._fields if name in one}))
        return cls([one["label"] for one in state], blocks)


def _check_same_kind(column: TableColumn, block: Block, name: str) -> None:
    """Raise ValueError if a column is not what it was in training.

    column : TableColumn; block : Block; name : str, of the argument
    """
    numbers_as_levels = isinstance(block, Levels) and block.of_numbers
    allowed = {block.taken_for, *[NUMBERS] * numbers_as_levels}
    # Where no value is known, the kind is not known either.
    if column.taken_for not in allowed and levels_of(column.values)[1] not in ([MISSING], []):
        raise other_kind(name, column.kind, column.label, block.taken_for)
