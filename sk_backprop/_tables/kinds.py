"""Kinds of columns.

`columns_of` finds the kind of each column of an array or a table. Kinds are read from dtypes, by
name, so that no library of tables is imported: pandas, polars, pyarrow and narwhals give their
dtypes much the same names. Values are inspected only where the dtype says nothing about them
(object).
"""

import datetime
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from numbers import Complex, Real
from typing import Any, NamedTuple

import numpy as np


class Kind(Enum):
    """The kind of a column; the value names its elements in messages."""

    NUMBER = "numbers"
    BOOLEAN = "booleans"
    NUMBER_CATEGORY = "categories that are numbers"
    CATEGORY = "categories"
    STRING = "strings"
    DATE = "dates"
    DURATION = "durations"
    TIME = "times of day"
    PERIOD = "periods"
    INTERVAL = "intervals"
    COMPLEX = "complex numbers"
    NESTED = "lists or structures"
    RECORD = "records"
    MISSING = "missing values"
    OTHER = "objects"


# Kinds by `numpy.dtype.kind`; for one that is not listed the values are inspected.
_OF_NUMPY = {
    **dict.fromkeys("iuf", Kind.NUMBER),
    **dict.fromkeys("SUT", Kind.STRING),
    **{"b": Kind.BOOLEAN, "c": Kind.COMPLEX, "M": Kind.DATE, "m": Kind.DURATION},
}

# Kinds by the first word of a dtype's name, in lower case; for one that is not listed the values
# are inspected.
_OF_NAMES = {
    **dict.fromkeys(("int", "uint", "float", "halffloat", "double", "decimal"), Kind.NUMBER),
    **dict.fromkeys(("bool", "boolean"), Kind.BOOLEAN),
    **dict.fromkeys(("category", "categorical", "dictionary", "enum"), Kind.CATEGORY),
    **dict.fromkeys(("str", "string", "large_string", "string_view", "utf"), Kind.STRING),
    **dict.fromkeys(("binary", "large_binary", "binary_view"), Kind.STRING),
    **dict.fromkeys(("fixed_size_binary",), Kind.STRING),
    **dict.fromkeys(("date", "datetime", "timestamp"), Kind.DATE),
    **dict.fromkeys(("duration", "timedelta", "month_day_nano_interval"), Kind.DURATION),
    **{"time": Kind.TIME, "period": Kind.PERIOD, "interval": Kind.INTERVAL, "null": Kind.MISSING},
    **dict.fromkeys(("list", "large_list", "list_view", "large_list_view"), Kind.NESTED),
    **dict.fromkeys(("fixed_size_list", "array", "struct", "map"), Kind.NESTED),
}

# Kinds by the type of a value; the first match counts, as numpy's durations are integers too.
_OF_VALUES: tuple[tuple[Kind, tuple[type, ...]], ...] = (
    (Kind.MISSING, (type(None),)),
    (Kind.BOOLEAN, (bool, np.bool_)),
    (Kind.DURATION, (datetime.timedelta, np.timedelta64)),
    (Kind.DATE, (datetime.date, np.datetime64)),
    (Kind.TIME, (datetime.time,)),
    (Kind.NUMBER, (Real, Decimal)),
    (Kind.COMPLEX, (Complex,)),
    (Kind.STRING, (str, bytes, bytearray)),
    (Kind.RECORD, (np.void,)),
    (Kind.NESTED, (list, tuple, set, frozenset, np.ndarray)),
)

# Types of pandas, which is not imported for them. (NaT is a datetime, and a missing duration too.)
_OF_PANDAS = {
    "NAType": Kind.MISSING,
    "NaTType": Kind.MISSING,
    "Period": Kind.PERIOD,
    "Interval": Kind.INTERVAL,
}

# Kinds that give way to any other in a column of mixed values, in order of precedence.
_UNSPECIFIC = {Kind.MISSING: 1, Kind.NUMBER: 2, Kind.BOOLEAN: 3}

# A column whose rows are of several of these kinds is of the last of them.
_BY_PRECEDENCE = (
    *(Kind.BOOLEAN, Kind.NUMBER, Kind.MISSING, Kind.NUMBER_CATEGORY),
    *(Kind.DURATION, Kind.DATE, Kind.STRING, Kind.CATEGORY),
)


class Column(NamedTuple):
    """A column, or all of an array whose columns are of one dtype.

    label : its name, its index if it has none, or None for all columns
    place : its index, also if it has a name; 0 for all columns
    examples : a value that shows the kind, or none if only the dtype was looked at
    """

    label: Any
    place: int
    kind: Kind
    dtype: Any
    examples: tuple[Any, ...] = ()


def readable(data: Any) -> Any:
    """`data` in a container whose values and names numpy and scikit-learn can read.

    Dask's collections are computed: numpy would do so too, but lose the names of the
    columns; and scikit-learn does not look for names in a record batch of pyarrow.
    """
    if isinstance(data, np.ndarray):
        return data
    if hasattr(type(data), "__dask_graph__") and hasattr(data, "compute"):
        return data.compute()
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(data, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([data])
    return data


def columns_of(data: Any) -> list[Column]:
    """The columns of an array or a table with their kinds.

    An array of one dtype counts as a single column.
    """
    names_and_dtypes = _names_and_dtypes(data)
    if names_and_dtypes is None:
        of_arrow = type(data).__module__.partition(".")[0] == "pyarrow"
        dtype = getattr(data, "type" if of_arrow else "dtype", None)
        kind = _kind_of_dtype(dtype)
        return [Column(None, 0, kind, dtype)] if kind else _columns_of_array(_as_array(data))
    columns = []
    for i, (label, dtype) in enumerate(zip(*names_and_dtypes, strict=True)):
        kind = _kind_of_dtype(dtype)
        if kind:
            columns.append(Column(label, i, kind, dtype))
        else:
            values = np.asarray(values_of(data, i))
            columns.append(_column_of_values(values, label, i, dtype))
    return columns


def is_table(data: Any) -> bool:
    """Whether these are columns with names and dtypes of their own: a data frame."""
    return _names_and_dtypes(data) is not None


def column_labels(data: Any) -> list[str] | None:
    """The names of the columns of a table, as strings; None for what is not a table."""
    found = _names_and_dtypes(data)
    return None if found is None else [str(name) for name in found[0]]


def common_kind(first: Kind, second: Kind) -> Kind:
    """The kind of a column whose rows are of two kinds.

    first, second : kinds that are accepted in a table
    """
    return max(first, second, key=_BY_PRECEDENCE.index)


def _names_and_dtypes(data: Any) -> tuple[Sequence[Any], Sequence[Any]] | None:
    """Names and dtypes of the columns of a table; None for what is not a table."""
    # Without that method, it is lazy or not readable by numpy.
    if isinstance(data, np.ndarray) or not hasattr(data, "__array__"):
        return None
    names: Any = getattr(data, "columns", None)
    dtypes: Any = getattr(data, "dtypes", None)
    schema: Any = getattr(data, "schema", None)
    if isinstance(schema, Mapping):  # narwhals
        names, dtypes = list(schema), list(schema.values())
    elif hasattr(schema, "names") and hasattr(schema, "types"):  # pyarrow
        names, dtypes = schema.names, schema.types
    # A field, a method or the dtype of a series may have such a name too.
    if not (_is_sequence(names) and _is_sequence(dtypes) and len(names) == len(dtypes)):
        return None
    return list(names), list(dtypes)


def values_of(data: Any, i: int) -> Any:
    """A column of a table, by its index, in the table's own library."""
    if hasattr(data, "iloc"):  # pandas, and libraries with its interface
        return data.iloc[:, i]
    return data.column(i) if hasattr(data, "column") else data[:, i]


def _is_sequence(values: Any) -> bool:
    """Whether these are several values, as in a list, an index or a series."""
    return isinstance(values, Collection) and not isinstance(values, (str, Mapping))


def _kind_of_dtype(dtype: Any) -> Kind | None:
    """The kind of a column of this dtype; None if that depends on its values."""
    if isinstance(dtype, np.dtype):
        return Kind.RECORD if dtype.names else _OF_NUMPY.get(dtype.kind)
    if dtype is None or isinstance(dtype, str):  # no library has strings as dtypes
        return None
    if hasattr(dtype, "subtype") and str(dtype).startswith("Sparse"):
        return _kind_of_dtype(dtype.subtype)
    kind = _kind_of_name(str(dtype))
    if kind is Kind.CATEGORY and _kind_of_categories(dtype) in (Kind.NUMBER, Kind.BOOLEAN):
        return Kind.NUMBER_CATEGORY
    return kind


def _kind_of_name(name: str) -> Kind | None:
    word = re.match("[a-z_]*", name.lower())
    return _OF_NAMES.get(word[0]) if word else None


def _kind_of_categories(dtype: Any) -> Kind | None:
    """The kind of the values that are the categories of a categorical dtype."""
    of_arrow = re.match(r"dictionary<values=(.*)", str(dtype))
    if of_arrow:
        return _kind_of_name(of_arrow[1])
    categories = getattr(dtype, "categories", None)
    if categories is None:
        return None
    kind = _kind_of_dtype(getattr(categories, "dtype", None))
    return kind or _column_of_values(np.asarray(categories), None, 0, dtype).kind


def _as_array(data: Any) -> np.ndarray:
    """Convert to an array; lists that mix numbers and strings become objects, not strings."""
    try:
        array = np.asarray(data)
    except TypeError:  # dates and numbers have no common type
        return np.asarray(data, dtype=object)
    if array.dtype.kind in "SU" and isinstance(data, (list, tuple)):
        return np.asarray(data, dtype=object)
    return array


def _columns_of_array(array: np.ndarray) -> list[Column]:
    kind = _kind_of_dtype(array.dtype)
    if kind:
        return [Column(None, 0, kind, array.dtype)]
    if array.ndim != 2:
        return [_column_of_values(array, None, 0, array.dtype)]
    return [_column_of_values(values, i, i, array.dtype) for i, values in enumerate(array.T)]


def _column_of_values(values: np.ndarray, label: Any, place: int, dtype: Any) -> Column:
    """A column of objects: its kind is that of the first value that is not a number.

    values : (n_samples,); label, place, dtype : as in `Column`
    """
    kinds = {of: _kind_of_type(of) for of in dict.fromkeys(map(type, values.flat))}
    found = sorted(kinds, key=lambda of: _UNSPECIFIC.get(kinds[of], 0))
    if not found:
        return Column(label, place, Kind.NUMBER, dtype)
    example = next(value for value in values.flat if type(value) is found[0])
    return Column(label, place, kinds[found[0]], dtype, (example,))


def _kind_of_type(of: type) -> Kind:
    if of.__module__.partition(".")[0] == "pandas" and of.__name__ in _OF_PANDAS:
        return _OF_PANDAS[of.__name__]
    for kind, types in _OF_VALUES:
        if issubclass(of, types):
            return kind
    is_number = hasattr(of, "__float__") or hasattr(of, "__index__")
    return Kind.NUMBER if is_number else Kind.OTHER
