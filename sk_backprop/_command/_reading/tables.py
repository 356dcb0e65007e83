"""A table in a file: inputs and targets, and what was done with every column and row."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_backprop._command._reading import frames
from sk_backprop._command._reading.columns import (
    CATEGORY,
    DATE,
    NUMBER,
    TIME,
    YES_NO,
    Array,
    Column,
    Context,
    LeftOut,
    file_context,
    is_numbering,
    read_column,
)
from sk_backprop._command._reading.records import Layout, Sheet, read_sheet
from sk_backprop._command._reading.sources import open_source
from sk_backprop._command.terminal import CommandError, counted, listed, quoted, shortened

MIN_ROWS = 10


class Options(NamedTuple):
    """What the user says about the file; None where the file shows it."""

    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    day_first: bool | None = None
    drop: tuple[str, ...] = ()


class Table(NamedTuple):
    """A table that has been read.

    columns : the inputs
    y : (n_rows, n_targets)
    left_out : columns that are not used
    remarks : sentences on the file and its rows
    target_columns : the targets, as columns
    """

    name: str
    columns: tuple[Column, ...]
    y: Array
    targets: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()
    layout: Layout | None = None
    header: tuple[str, ...] = ()
    target_columns: tuple[Column, ...] = ()

    @property
    def matrix(self) -> Array:
        """The inputs as numbers: codes of levels, days since 1970; nan where missing."""
        return np.column_stack([column.values for column in self.columns])

    @property
    def categorical(self) -> list[int]:
        """Columns of the matrix that hold codes of levels."""
        kinds = [column.recipe.kind for column in self.columns]
        return [j for j, kind in enumerate(kinds) if kind == CATEGORY]


def open_sheet(path: str, options: Options, wanted: Sequence[str] = ()) -> Sheet:
    """The cells of a file, under names that are distinct.

    path : str; options : Options; wanted : names that a line of column names would contain
    """
    source = open_source(path)
    if source.kind == "text":
        sheet = read_sheet(
            source, encoding=options.encoding, delimiter=options.delimiter, wanted=wanted
        )
    else:
        sheet = frames.read_sheet(source, wanted)
    return _with_names(sheet, wanted)


def _with_names(sheet: Sheet, wanted: Sequence[str]) -> Sheet:
    """The sheet with a name for every column, and no name twice."""
    names: list[str] = []
    said = list(sheet.remarks)
    for i, name in enumerate(sheet.header):
        if name in names:
            if name in wanted:
                raise CommandError(f"{sheet.name} has more than one column named {name}")
            number = next(k for k in range(2, 10**6) if f"{name} ({k})" not in names)
            said.append(f"Column {i + 1} is called {name} ({number}), as another is called {name}.")
            name = f"{name} ({number})"
        names.append(name or f"column {i + 1}")
    layout = sheet.layout
    if names != sheet.header:
        layout = layout._replace(named=False)
    return sheet._replace(header=names, layout=layout, remarks=tuple(said))


def sheet_context(sheet: Sheet, columns: Sequence[Sequence[str]], options: Options) -> Context:
    """What a sheet, and the user, say of numbers and dates.

    sheet : Sheet; columns : cells of each column; options : Options
    """
    context = file_context(columns, sheet.layout.delimiter, options.day_first)
    decimal = options.decimal or {".": ",", ",": "."}.get(options.thousands or "")
    return context if decimal is None else context._replace(decimal=decimal, forced=True)


_DEFAULTS = Options()


def load_table(path: str, targets: Sequence[str], options: Options = _DEFAULTS) -> Table:
    """Inputs and targets of a file; CommandError if they cannot be had.

    path : str; targets : names of columns; options : Options
    """
    sheet = open_sheet(path, options, targets)
    if not targets:
        raise CommandError(
            f"name the column to predict with --target; the columns of {sheet.name} are: "
            f"{listed(sheet.header)}"
        )
    for name in (*targets, *options.drop):
        _check_name(sheet, name)
    if len(sheet.rows) < MIN_ROWS:
        raise CommandError(
            f"{sheet.name} has {counted(len(sheet.rows), 'row')}; at least {MIN_ROWS} are needed"
        )
    cells = dict(zip(sheet.header, map(list, zip(*sheet.rows))))
    context = sheet_context(sheet, list(cells.values()), options)
    outputs = [_target(name, cells[name], context) for name in targets]
    y, kept = _complete_rows(sheet, outputs)
    columns, left_out = _inputs(sheet, cells, kept, context, {*targets, *options.drop})
    left_out = [*left_out, *(LeftOut(name, "by --drop") for name in options.drop)]
    if not columns:
        reasons = "; ".join(f"{shortened(c.name)}: {c.reason}" for c in left_out[:3])
        raise CommandError(f"{sheet.name} has no column to predict from{reasons and ': '}{reasons}")
    return Table(
        name=sheet.name,
        columns=tuple(columns),
        y=y,
        targets=tuple(targets),
        left_out=tuple(left_out),
        remarks=(*sheet.remarks, *_remarks(context, kept)),
        layout=sheet.layout,
        header=tuple(sheet.header),
        target_columns=tuple(outputs),
    )


def _complete_rows(sheet: Sheet, outputs: list[Column]) -> tuple[Array, NDArray[np.bool_]]:
    """The targets of rows that have them all, and which rows these are."""
    y = np.column_stack([column.values for column in outputs])
    kept: NDArray[np.bool_] = np.asarray(~np.isnan(y).any(axis=1))
    if kept.sum() < MIN_ROWS:
        raise CommandError(
            f"{sheet.name} has {counted(int(kept.sum()), 'row')} with a target, of {len(kept)}; "
            f"at least {MIN_ROWS} are needed"
        )
    return y[kept], kept


def _check_name(sheet: Sheet, name: str) -> None:
    if name not in sheet.header:
        lower = {one.lower(): one for one in reversed(sheet.header)}
        near = difflib.get_close_matches(name.lower(), lower, n=1)
        hint = f"do you mean {lower[near[0]]}?" if near else f"it has: {listed(sheet.header)}"
        raise CommandError(f"{sheet.name} has no column {name}; {hint}")


def _target(name: str, cells: list[str], context: Context) -> Column:
    """The column of a target, which must hold numbers.

    name : of the column; cells : (n_rows,) str; context : Context
    """
    read = read_column(name, cells, context)
    if isinstance(read, LeftOut):
        raise CommandError(f"the target {name} cannot be predicted: {read.reason}")
    kind = read.recipe.kind
    if kind not in (NUMBER, TIME):
        examples = [cell.strip() for cell in dict.fromkeys(cells) if cell.strip()]
        held = {YES_NO: "yes or no", CATEGORY: "text", DATE: "dates"}[kind]
        raise CommandError(
            f"the target {name} holds {held}, such as {' and '.join(map(quoted, examples[:2]))}; "
            "this command predicts numbers"
        )
    return read


def _remarks(context: Context, kept: NDArray[np.bool_]) -> list[str]:
    """What to say about the decimal separator, and about rows without a target."""
    said = []
    if context.decimal == "," and not context.forced:
        why = "" if context.shown else ", as semicolons separate the columns"
        said.append(f"Numbers are read with a decimal comma{why} (--decimal . if not).")
    if n_lost := int((~kept).sum()):
        lost = f"{counted(n_lost, 'row')} of {len(kept):,} left out"
        said.append(f"{lost}, without a value of the target.")
    return said


def _inputs(
    sheet: Sheet,
    cells: dict[str, list[str]],
    kept: NDArray[np.bool_],
    context: Context,
    others: set[str],
) -> tuple[list[Column], list[LeftOut]]:
    """Columns that can be used, and those that cannot.

    sheet : Sheet
    cells : {name: cells}
    kept : (n_rows,) rows with a target
    context : Context
    others : names of columns that are not inputs
    """
    columns, left_out = [], []
    for i, (name, column) in enumerate(cells.items()):
        if name in others:
            continue
        nameless = name == "Unnamed: 0" or (name == f"column {i + 1}" and sheet.layout.has_header)
        rows = column if kept.all() else list(compress(column, kept))
        read = read_column(name, rows, context)
        if nameless and isinstance(read, LeftOut) and read.reason == "it is empty":
            continue
        if nameless and isinstance(read, Column):
            whole = read_column(name, column, context)
            if i == 0 and isinstance(whole, Column) and is_numbering(whole.values):
                read = LeftOut(name, "it has no name and numbers the rows")
            elif name != "Unnamed: 0":
                read = read._replace(notes=("it has no name", *read.notes))
        if isinstance(read, Column):
            columns.append(read)
        else:
            left_out.append(read)
    return columns, left_out


def as_frame(table: Table) -> Any:
    """The inputs as a data frame of pandas, which must be installed."""
    return frames.frame_of((column.recipe, column.cells()) for column in table.columns)
