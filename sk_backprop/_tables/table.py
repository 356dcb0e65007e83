"""A table: columns of known kinds, whatever holds them."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from sk_backprop._tables.kinds import Column, Kind
from sk_backprop._tables.reading import as_frame, days_of, levels_of, numbers_of, seconds_of

# What a column is taken for, by its kind.
NUMBERS, LEVELS, DATES, DURATIONS = "numbers", "categories", "dates", "durations"
TAKEN_FOR = {
    **dict.fromkeys((Kind.NUMBER, Kind.BOOLEAN, Kind.NUMBER_CATEGORY, Kind.MISSING), NUMBERS),
    **dict.fromkeys((Kind.CATEGORY, Kind.STRING), LEVELS),
    **{Kind.DATE: DATES, Kind.DURATION: DURATIONS},
}

# What reads a column that is taken for that.
READERS = {NUMBERS: numbers_of, LEVELS: levels_of, DATES: days_of, DURATIONS: seconds_of}

# The kinds that are taken from a table.
ENCODED = frozenset(TAKEN_FOR)


class TableColumn(NamedTuple):
    """A column of a table.

    label : str; kind : Kind
    values : (n_rows,), ndarray of numbers or series of narwhals
    """

    label: str
    kind: Kind
    values: Any

    @property
    def taken_for(self) -> str:
        """What the column is taken for if nothing else is asked for."""
        return TAKEN_FOR[self.kind]

    @property
    def is_of_objects(self) -> bool:
        """Whether the kind was read from the values, and those of other rows may be of another."""
        native = self.values if isinstance(self.values, np.ndarray) else self.values.to_native()
        return str(native.dtype).lower() == "object"

    @property
    def is_float32(self) -> bool:
        """Whether these are numbers in single precision."""
        return str(self.values.dtype).lower() == "float32"


class Table(NamedTuple):
    """The columns of X.

    columns : list of TableColumn
    """

    columns: list[TableColumn]

    @classmethod
    def of_frame(cls, data: Any, kinds: Sequence[Column]) -> Self:
        """The columns of a data frame; `kinds` as `columns_of` finds them.

        Raises ImportError if narwhals is missing.
        """
        frame = as_frame(data)
        return cls([TableColumn(str(of.label), of.kind, frame[:, of.place]) for of in kinds])

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0].values) if self.columns else 0

    @property
    def dtype(self) -> Any:
        """The precision of the numbers: float32 if no column needs more."""
        return dtype_of(self.columns)


def dtype_of(columns: Iterable[Any]) -> Any:
    """The precision of the numbers in columns that have a `kind`, and `is_float32`."""
    single = [column.is_float32 for column in columns if column.kind is Kind.NUMBER]
    return np.float32 if single and all(single) else np.float64
