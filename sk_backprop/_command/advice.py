"""Python code that does on a file what the command has done."""

from __future__ import annotations

from sk_backprop._command._reading.columns import DATE, NUMBER, TIME, Column
from sk_backprop._command._reading.records import Layout
from sk_backprop._command._reading.tables import Table

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
    lines = [_read_call(table.layout, table, name, [c.recipe.name for c in rough])]
    lines += [line for column in rough for line in _cleaning_lines(column)]
    targets = list(table.targets)
    target = repr(targets[0]) if len(targets) == 1 else repr(targets)
    lines.append(f"table = table.dropna(subset={targets!r})")
    names = [column.recipe.name for column in table.columns]
    dropped = [one for one in table.header if one not in names]
    chosen = f"table[{names!r}]"
    if len(dropped) < len(names):
        chosen = f"table.drop(columns={dropped!r})"
    return [*lines, f"X, y = {chosen}, table[{target}]"]


def _needs_cleaning(column: Column, layout: Layout) -> bool:
    kind = column.recipe.kind
    if kind in (DATE, TIME):
        return True
    return kind == NUMBER and not (column.plain and layout.regular)


def _read_call(layout: Layout, table: Table, path: str, rough: list[str]) -> str:
    """The call of pandas that reads the file.

    layout : Layout; table : Table; path : of the file; rough : columns to be read as text
    """
    if layout.kind == "parquet":
        return f"table = pd.read_parquet({path!r})"
    options = []
    if layout.kind == "text":
        if layout.delimiter != ",":
            sep = r"\s+" if layout.delimiter == " " else layout.delimiter
            options.append(f"sep={sep!r}")
        if any(c.recipe.form == "," for c in table.columns if c.recipe.kind == NUMBER and c.plain):
            options.append("decimal=','")
        if layout.encoding not in ("utf-8", "utf-8-sig"):
            options.append(f"encoding={layout.encoding!r}")
        if layout.comments:
            options.append("comment='#'")
    if layout.n_skipped:
        options.append(f"skiprows={layout.n_skipped}")
    if not layout.named:
        options.append(f"header={0 if layout.has_header else None}, names={list(table.header)!r}")
    if rough:
        options.append(f"dtype={dict.fromkeys(rough, 'str')!r}".replace("'str'", "str"))
    function = "read_csv" if layout.kind == "text" else "read_excel"
    return f"table = pd.{function}({', '.join([repr(path), *options])})"


def _cleaning_lines(column: Column) -> list[str]:
    """Lines that make numbers or dates of a column of text."""
    name, kind, form = column.recipe
    if kind == DATE:
        how = {
            "yyyymmdd": "format='%Y%m%d'",
            "day/month/year": "format='mixed', dayfirst=True",
        }.get(form, "format='mixed'")
        return [f"table[{name!r}] = pd.to_datetime(table[{name!r}], {how}, errors='coerce')"]
    if kind == TIME:
        return [
            f"time = pd.to_datetime(table[{name!r}], format='mixed', errors='coerce').dt",
            f"table[{name!r}] = time.hour + time.minute / 60 + time.second / 3600",
        ]
    groups = "." if form == "," else ","
    text = f"table[{name!r}].str.replace(r'\\((.*)\\)', r'-\\1', regex=True)"
    lines = [f"text = {text}.str.replace('\u2212', '-')"]
    text = f"text.str.replace(r\"[$€£¥₹%\\s'\u2019{groups}]\", '', regex=True)"
    if form == ",":
        text += ".str.replace(',', '.')"
    number = r"'([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)[^\d.]*\d?$'"
    lines.append(f"text = {text}.str.extract(r'^[A-Z]*' r{number})[0]")
    return [*lines, f"table[{name!r}] = pd.to_numeric(text, errors='coerce')"]
