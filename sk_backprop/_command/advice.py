"""Python code that does on a file what the command has done."""

from __future__ import annotations

from collections.abc import Iterable

from sk_backprop._command._reading.columns import DATE, NUMBER, TIME, Column
from sk_backprop._command._reading.records import Layout
from sk_backprop._command._reading.tables import Table
from sk_backprop._command.terminal import WIDTH

# For columns in which some cells are not plain numbers.
NUMBERS = r'''

def numbers(text, decimal):
    """Numbers without symbols and thousands separators, or nan."""
    text = text.str.replace(r"\((.*)\)", r"-\1", regex=True)
    text = text.str.replace("\u2212", "-")
    text = text.str.replace(r"[$€£¥₹%\s'\u2019]", "", regex=True)
    text = text.str.replace("," if decimal == "." else ".", "").str.replace(",", ".")
    number = r"^[A-Z]*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)[^\d.]*\d?$"
    return pd.to_numeric(text.str.extract(number)[0], errors="coerce")
'''

BUNDLED = """\
from sklearn.datasets import load_diabetes
from sk_backprop import BackpropRegressor

X, y = load_diabetes(return_X_y=True, scaled=False)
model = BackpropRegressor(random_state=0).fit(X, y)
mean, std = model.predict(X[:5], return_std=True)"""


def code_for(table: Table, path: str, seed: int) -> str:
    """Code that reads the file by pandas, fits the estimator to all rows, and predicts.

    table : Table; path : of the file; seed : int
    """
    return "\n".join(
        [
            "import pandas as pd",
            "from sk_backprop import BackpropRegressor",
            "",
            *reading_lines(table, path),
            "",
            f"model = BackpropRegressor(random_state={seed}).fit(X, y)",
            "mean, std = model.predict(X.head(), return_std=True)",
        ]
    )


def reading_lines(table: Table, path: str) -> list[str]:
    """Lines that make X and y of a file.

    table : Table; path : of the file
    """
    assert table.layout is not None
    name = "table.csv" if path == "-" else path
    rough = [c for c in (*table.columns, *table.target_columns) if _needs_cleaning(c, table.layout)]
    lines = _read_call(table.layout, table, name, [c.recipe.name for c in rough])
    numbers = [c.recipe for c in rough if c.recipe.kind == NUMBER]
    if numbers:
        lines += [*NUMBERS.split("\n"), ""]
    for form in sorted({recipe.form for recipe in numbers}):
        names = [repr(recipe.name) for recipe in numbers if recipe.form == form]
        lines += _filled("for name in [", names, "]:")
        lines.append(f"    table[name] = numbers(table[name], {form!r})")
    lines += [line for column in rough for line in _date_lines(column)]
    targets = list(table.targets)
    target = repr(targets[0] if len(targets) == 1 else targets)
    lines.append(f"table = table.dropna(subset={targets!r})")
    names = [column.recipe.name for column in table.columns]
    dropped = [one for one in table.header if one not in names]
    if len(dropped) < len(names):
        lines += _filled("X = table.drop(columns=[", map(repr, dropped), "])")
    else:
        lines += _filled("X = table[[", map(repr, names), "]]")
    return [*lines, f"y = table[{target}]"]


def _filled(start: str, items: Iterable[str], end: str) -> list[str]:
    """A call or list in one line, or in several where it is long.

    start : up to an opening bracket; items : between the brackets; end : from the closing one on
    """
    parts = list(items)
    line = f"{start}{', '.join(parts)}{end}"
    if len(line) <= WIDTH - 2:
        return [line]
    lines, row = [start], "   "
    for part in parts:
        if len(row) + len(part) + 2 > WIDTH - 2 and row.strip():
            lines.append(row)
            row = "   "
        row += f" {part},"
    return [*lines, row, end]


def _pieces(start: str, items: Iterable[str], end: str) -> list[str]:
    """A list or dict as items between which a line may break.

    start : up to the opening bracket; items : between the brackets; end : the closing one
    """
    first, *others = items
    pieces = [start + first, *others]
    return [*pieces[:-1], pieces[-1] + end]


def _needs_cleaning(column: Column, layout: Layout) -> bool:
    kind = column.recipe.kind
    if kind in (DATE, TIME):
        return True
    return kind == NUMBER and not (column.plain and layout.regular)


def _read_call(layout: Layout, table: Table, path: str, rough: list[str]) -> list[str]:
    """The call of pandas that reads the file.

    layout : Layout; table : Table; path : of the file; rough : columns to be read as text
    """
    if layout.kind == "parquet":
        return [f"table = pd.read_parquet({path!r})"]
    options = []
    if layout.delimiter != ",":
        sep = r"\s+" if layout.delimiter == " " else layout.delimiter
        options.append(f"sep={sep!r}")
    if layout.encoding not in ("utf-8", "utf-8-sig"):
        options.append(f"encoding={layout.encoding!r}")
    if layout.comments:
        options.append("comment='#'")
    columns = (*table.columns, *table.target_columns)
    if any(c.recipe.kind == NUMBER and c.recipe.form == "," and c.plain for c in columns):
        options.append("decimal=','")
    if layout.n_skipped:
        options.append(f"skiprows={layout.n_skipped}")
    if not layout.named:
        options.append(f"header={0 if layout.has_header else None}")
        options += _pieces("names=[", map(repr, table.header), "]")
    if rough:
        options += _pieces("dtype={", (f"{name!r}: 'str'" for name in rough), "}")
    function = "read_csv" if layout.kind == "text" else "read_excel"
    return _filled(f"table = pd.{function}(", [repr(path), *options], ")")


def _date_lines(column: Column) -> list[str]:
    """Lines that make dates, or hours since midnight, of a column of text."""
    name, kind, form = column.recipe
    if kind == DATE:
        how = {
            "yyyymmdd": "format='%Y%m%d'",
            "day/month/year": "format='mixed', dayfirst=True",
        }.get(form, "format='mixed'")
        arguments = [f"table[{name!r}]", how, "errors='coerce'"]
        if not column.plain:  # of several time zones, perhaps
            arguments.append("utc=True")
        end = ")" if column.plain else ").dt.tz_localize(None)"
        return _filled(f"table[{name!r}] = pd.to_datetime(", arguments, end)
    if kind == TIME:
        return [
            *_filled("time = pd.to_datetime(", [f"table[{name!r}]", "format='mixed'"], ").dt"),
            f"table[{name!r}] = time.hour + time.minute / 60 + time.second / 3600",
        ]
    return []
