"""Values of columns, from any library of data frames, as arrays and lists without its types.

Missing values (NaN, NA, None, NaT) are nan among numbers and `MISSING` among levels. Numbers of
dates count days since 1970, in UTC, and those of durations seconds, whatever the unit in which they
are stored.
"""

import datetime
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._tables.kinds import Kind

# The level of a missing value. Levels are strings, so that none is equal to it.
MISSING = None

_SECONDS_PER_DAY = 86_400.0
_MICROSECOND = 1e-6


def as_frame(data: Any) -> Any:
    """A data frame as one of narwhals, whose columns have the same methods in all libraries.

    Raises ImportError, which says what to install, if narwhals is missing.
    """
    try:
        import narwhals as nw
    except ImportError as error:
        raise ImportError(
            "Data frames with missing values, or with columns that are not numeric, need narwhals, "
            "which comes with scikit-learn 1.9: pip install 'sk-backprop[frames]'."
        ) from error
    return nw.from_native(data, eager_only=True)


def is_missing(value: Any) -> bool:
    """Whether a value stands for a missing one: None, NA, NaT or nan."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating, np.datetime64, np.timedelta64)) and bool(
        value != value
    )


def numbers_of(column: Any) -> Array:
    """Numbers or booleans: (n_rows,) float64.

    column : ndarray of one dimension, or series of narwhals
    """
    values = column if isinstance(column, np.ndarray) else column.to_numpy()
    if values.dtype.kind in "fiub":
        return np.asarray(values, dtype=float)
    return _each(values.tolist(), float)


def days_of(column: Any) -> Array:
    """Dates: (n_rows,) float64, days since 1970-01-01 00:00 UTC.

    column : series of narwhals, or ndarray of one dimension without any date
    """
    if isinstance(column, np.ndarray):
        return _each(column.tolist(), _day)
    if column.dtype.is_temporal():
        stamps = column.dt.timestamp("us")
        return numbers_of(stamps) * (_MICROSECOND / _SECONDS_PER_DAY)
    return _each(column.to_list(), _day)


def seconds_of(column: Any) -> Array:
    """Durations: (n_rows,) float64, in seconds.

    column : series of narwhals, or ndarray of one dimension without any duration
    """
    if isinstance(column, np.ndarray):
        return _each(column.tolist(), _seconds)
    if column.dtype.is_temporal():
        with suppress(AttributeError):  # durations of Arrow have no such method in pandas 2.1
            return numbers_of(column.dt.total_microseconds()) * _MICROSECOND
    return _each(column.to_list(), _seconds)


def levels_of(column: Any) -> tuple[Array, list[str | None]]:
    """Codes of the rows, (n_rows,) int, and the level of each code.

    Levels are the same whatever the library: the number 1 and the string '1' are one level.

    column : ndarray of one dimension, or series of narwhals
    """
    values = column.tolist() if isinstance(column, np.ndarray) else column.to_list()
    # Values of several types may be equal that have different names: True == 1.
    mixed = len(set(map(type, values)) - {str, type(None)}) > 1
    keys = [(type(value), value) for value in values] if mixed else values
    found: dict[Any, int] = {}
    codes = np.fromiter((found.setdefault(key, len(found)) for key in keys), np.intp, len(keys))
    distinct = [key[1] for key in found] if mixed else list(found)
    names = [MISSING if is_missing(value) else _level(value) for value in distinct]
    levels = list(dict.fromkeys(names))  # several values may have one name
    code_of = {level: code for code, level in enumerate(levels)}
    return np.array([code_of[name] for name in names], dtype=np.intp)[codes], levels


def declared_levels(column: Any, kind: Kind) -> list[str | None]:
    """The categories of a categorical dtype, whether or not they occur; [] for other columns."""
    if kind not in (Kind.CATEGORY, Kind.NUMBER_CATEGORY) or isinstance(column, np.ndarray):
        return []
    categories: Any = getattr(column.to_native().dtype, "categories", None)
    return [_level(value) for value in categories] if hasattr(categories, "__len__") else []


def _level(value: Any) -> str:
    """The name of a level; a number without a fraction is written as an integer."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _each(values: Iterable[Any], convert: Callable[[Any], float]) -> Array:
    """Convert each value, nan for a missing one: (n_rows,) float64."""
    return np.array([np.nan if is_missing(value) else convert(value) for value in values], float)


def _day(value: Any) -> float:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    since = np.datetime64(value, "us") - np.datetime64(0, "us")
    return float(since / np.timedelta64(1, "us")) * (_MICROSECOND / _SECONDS_PER_DAY)


def _seconds(value: Any) -> float:
    return float(np.timedelta64(value) / np.timedelta64(1, "us")) * _MICROSECOND


def object_numbers(rows: Any) -> Array:
    """An array of objects, some of them missing, as float64 of the same shape."""
    return _each(rows.ravel().tolist(), float).reshape(rows.shape)
