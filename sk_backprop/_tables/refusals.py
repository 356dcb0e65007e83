"""Columns that are refused, with errors that name them and say what to do.

`REMEDIES` says what happens to each kind of column where numbers are required, and in an array:
None accepts it as numbers, a text refuses it and is the advice in the error. Of a table, the kinds
in `ENCODED` are accepted too (see `_tables.encoding`).
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from sk_backprop._tables.kinds import Column, Kind, columns_of, values_of

_IN_FRAMES = "X may have them if it is a data frame, of pandas, polars or pyarrow"

# What to do about each kind: None if its values are numbers as they are.
REMEDIES: dict[Kind, str | None] = {
    Kind.NUMBER: None,
    Kind.BOOLEAN: None,
    Kind.NUMBER_CATEGORY: None,
    Kind.CATEGORY: f"{_IN_FRAMES}, and categorical_features is 'from_dtype' or names their "
    "columns.",
    Kind.STRING: f"{_IN_FRAMES}, and categorical_features is 'from_dtype' or names their "
    "columns. Convert numbers that are stored as strings to float.",
    Kind.DATE: f"{_IN_FRAMES}. Otherwise pass numbers, for example the seconds since the first: "
    "(column - column.min()).dt.total_seconds() in pandas.",
    Kind.DURATION: f"{_IN_FRAMES}. Otherwise pass numbers, for example in seconds: "
    "column.dt.total_seconds() in pandas.",
    Kind.TIME: "Pass times of day as numbers, for example the seconds since midnight.",
    Kind.PERIOD: "Pass periods as numbers, for example column.dt.year + column.dt.month / 12 in "
    "pandas.",
    Kind.INTERVAL: "Pass their midpoints, or their ends as two columns: column.array.mid, "
    "column.array.left and column.array.right in pandas.",
    Kind.COMPLEX: "Complex data not supported: pass real and imaginary parts as two columns.",
    Kind.NESTED: "Give each element a column of its own.",
    Kind.RECORD: "Pass a table instead, pandas.DataFrame(array), or an array of two dimensions, "
    "numpy.lib.recfunctions.structured_to_unstructured(array).",
    Kind.MISSING: "Leave out their rows; only X may have missing values.",
    Kind.OTHER: "Convert them to numbers.",
}

_NUMERIC = frozenset(kind for kind, remedy in REMEDIES.items() if remedy is None)

# Names of columns in a message, at most.
_MOST_NAMES = 5

# Characters of an example in a message, at most.
_MOST_CHARACTERS = 60


def require_numeric(data: Any, name: str) -> None:
    """Raise an error unless every column can be taken as numbers, and no value is masked.

    data : array-like or table, as returned by `readable`
    name : the argument's name
    """
    require_kinds(data, name, _NUMERIC)


def require_kinds(data: Any, name: str, allowed: Collection[Kind]) -> list[Column]:
    """The columns; an error unless each is of an allowed kind, and no value is masked.

    data : array-like or table, as returned by `readable`
    name : the argument's name
    allowed : kinds, which include those of numbers
    """
    if data is None or sp.issparse(data):
        return []
    _refuse_masked(data, name)
    columns = columns_of(data)
    refused = [column for column in columns if column.kind not in allowed]
    if refused:
        _refuse(data, name, refused)
    return columns


def quoted(labels: Sequence[Any]) -> str:
    """Columns by their labels, but not all of many."""
    shown = ", ".join(map(repr, labels[:_MOST_NAMES]))
    n_more = len(labels) - _MOST_NAMES
    return f"column{'s' if len(labels) > 1 else ''} {shown}" + f" and {n_more} more" * (n_more > 0)


def other_kind(name: str, kind: Kind, label: Any, had: str) -> ValueError:
    """The error for a column that is not what it was in training.

    name : of the argument; kind, label : of the column; had : what it had in training
    """
    return ValueError(
        f"{name} has {kind.value} in column {label!r}, which had {had} in fit. Pass the same kind "
        "of values."
    )


def several_kinds(label: str, *kinds: Kind) -> ValueError:
    """The error for a column whose kind is not the same in all parts of the rows."""
    first, second = sorted(kind.value for kind in kinds)
    return ValueError(
        f"X has {first} in some rows of column {label!r}, and {second} in others. Pass the same "
        "kind of values in all rows."
    )


def _refuse(data: Any, name: str, refused: list[Column]) -> None:
    """Raise the error for columns that cannot be taken as numbers.

    data, name : as in `require_numeric`; refused : these columns, at least one
    """
    column = refused[0]
    kind = column.kind
    if kind is Kind.OTHER and column.label is None and np.ndim(np.asarray(data)) == 0:
        raise TypeError(_unreadable(data, name))
    alike = [other.label for other in refused if other.kind is kind]
    where = "" if column.label is None else f" in {quoted(alike)}"
    examples = column.examples
    if not examples and kind in (Kind.STRING, Kind.CATEGORY):
        examples = _a_string(data if column.label is None else values_of(data, column.place))
    shown = f", such as {_short(examples[0])}" if examples else ""
    must = "it" if column.label is None else "every column"
    text = f"{name} has {kind.value}{where} (dtype {column.dtype}{shown}); {must} must be numeric."
    if kind is not Kind.OTHER:
        raise ValueError(f"{text} {REMEDIES[kind]}")
    try:
        float(examples[0])
    except TypeError as error:
        raise TypeError(f"{text} {REMEDIES[kind]} ({error})") from error


def _a_string(values: Any) -> tuple[Any, ...]:
    """The first string among the values, or none."""
    if isinstance(values, (str, bytes, np.ndarray)) or not isinstance(values, Iterable):
        values = np.asarray(values).flat
    # One by one: numpy may be unable to read a column of pyarrow whole.
    plain = (value.as_py() if hasattr(value, "as_py") else value for value in values)
    return next(((value,) for value in plain if isinstance(value, (str, bytes))), ())


def _short(value: Any) -> str:
    """The repr of `value`, without the name of a numpy type, and cut if it is long."""
    text = repr(value.item() if isinstance(value, (np.str_, np.bytes_)) else value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


def _unreadable(data: Any, name: str) -> str:
    """The message for an object that is neither an array nor a table that numpy can read."""
    kind = type(data)
    if kind.__name__ == "LazyFrame":
        return f"{name} is a LazyFrame, whose rows are not computed yet. Pass {name}.collect()."
    advice = "Pass an array, or a table of pandas, polars or pyarrow"
    if hasattr(data, "__arrow_c_stream__"):
        advice += f", for example pyarrow.table({name})"
    elif hasattr(data, "__dataframe__"):
        advice += f", for example pyarrow.interchange.from_dataframe({name})"
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return (
        f"{name} is of type {module}{kind.__qualname__}, which numpy cannot read as an array. "
        f"{advice}."
    )


def _refuse_masked(data: Any, name: str) -> None:
    """Raise ValueError for masked values: what the mask hides would be taken for data."""
    parts = data if isinstance(data, (list, tuple)) else [data]
    masked = [part for part in parts if isinstance(part, np.ma.MaskedArray)]
    masks = [np.ma.getmaskarray(part) for part in masked if part.dtype.names is None]
    n_masked = sum(int(np.sum(mask)) for mask in masks)
    if n_masked:
        what = "is a masked array" if masked[0] is data else "has masked arrays in it"
        raise ValueError(
            f"{name} {what}, with {n_masked} values masked. Leave out their rows; in X, missing "
            "values may also be nan: array.filled(numpy.nan)."
        )
