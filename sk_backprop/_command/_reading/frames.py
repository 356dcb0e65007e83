"""Excel and Parquet files, by pandas where it is installed, as cells of text."""

from __future__ import annotations

import datetime
import io
import math
import re
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import numpy as np

from sk_backprop._command._reading import records
from sk_backprop._command._reading.columns import (
    CATEGORY,
    DATE,
    YES_NO,
    Array,
    Recipe,
    as_datetimes,
)
from sk_backprop._command._reading.records import Layout, Sheet
from sk_backprop._command._reading.sources import Source
from sk_backprop._command.terminal import CommandError

# What it is, and what pandas reads it by.
_KINDS = {"xlsx": ("an Excel file", "openpyxl"), "parquet": ("a Parquet file", "pyarrow")}


def has_pandas() -> bool:
    """Whether pandas is installed."""
    return find_spec("pandas") is not None


def read_sheet(source: Source, wanted: Iterable[str]) -> Sheet:
    """The first sheet of an Excel file, or the table of a Parquet file.

    source : Source; wanted : names that a line of column names would contain
    """
    kind, reader = _KINDS[source.kind]
    if missing := [name for name in ("pandas", reader) if find_spec(name) is None]:
        raise CommandError(
            f"{source.name} is {kind}, which needs: python -m pip install {' '.join(missing)}"
        )
    import pandas as pd

    layout, data, remarks = Layout(source.kind), io.BytesIO(source.data), source.remarks
    try:
        if source.kind == "parquet":
            frame = pd.read_parquet(data)
        else:
            book = pd.ExcelFile(data)
            frame = book.parse(0, header=None, dtype=object)
    except Exception as error:
        # A damaged file makes openpyxl and pyarrow raise errors of many kinds (KeyError,
        # BadZipFile, ArrowInvalid, ...), which they do not document.
        raise CommandError(f"cannot read {source.name}: {error}") from error
    if source.kind == "parquet":
        if frame.index.name is not None:
            frame = frame.reset_index()
        return Sheet(source.name, [*map(str, frame.columns)], _cells(frame), layout, remarks)
    if len(book.sheet_names) > 1:
        remarks += (f"The table is the first of {len(book.sheet_names)} sheets.",)
    rows = _cells(frame)
    lines = [i + 1 for i, row in enumerate(rows) if any(row)]
    found = records.Records([row for row in rows if any(row)], lines, [])
    if not found.rows:
        raise CommandError(f"{source.name} is empty")
    return records.arranged(source.name, found, layout, remarks, wanted)


def _cells(frame: Any) -> list[list[str]]:
    """The values of a frame as text."""
    columns = [[_text(value) for value in frame.iloc[:, j]] for j in range(frame.shape[1])]
    return [list(row) for row in zip(*columns)]


def _text(value: Any) -> str:
    """A value as a cell that has one meaning, whatever the decimal separator of others."""
    import pandas as pd

    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, datetime.timedelta):
        return repr(value.total_seconds())
    if hasattr(value, "is_integer") and not math.isnan(value):
        number = float(value)
        if number.is_integer() and abs(number) < 1e15:
            return str(int(number))
        # 1.234 could be read as 1234 among decimal commas; 1.2340 cannot.
        return f"{number!r}0" if re.fullmatch(r"-?\d{1,3}\.\d{3}", repr(number)) else repr(number)
    return str(value)


def frame_of(columns: Iterable[tuple[Recipe, Any]]) -> Any:
    """A data frame of columns as `read_by_recipe` gives them."""
    import pandas as pd

    made = {CATEGORY: pd.Categorical, DATE: as_datetimes, YES_NO: _booleans}
    return pd.DataFrame(
        {name: made.get(kind, np.asarray)(values) for (name, kind, _), values in columns}
    )


def _booleans(values: Array) -> Any:
    """0, 1 and nan as an array of pandas that may hold missing values."""
    import pandas as pd

    missing = np.isnan(values)
    if not missing.any():
        return values.astype(bool)
    return pd.array([None if gone else bool(v) for v, gone in zip(values, missing)], "boolean")
