"""`predict`: adds predictions to the rows of another table."""

from __future__ import annotations

import csv
import io
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from sk_backprop._command._reading.columns import CATEGORY, DATE, Array, Recipe, read_by_recipe
from sk_backprop._command._reading.frames import frame_of, has_pandas
from sk_backprop._command._reading.numerals import MISSING_NUMBERS
from sk_backprop._command._reading.records import Sheet
from sk_backprop._command._reading.tables import Options, open_sheet, sheet_context
from sk_backprop._command.stored import StoredModel
from sk_backprop._command.terminal import CommandError, counted, listed, quoted, say, wrapped


def predict(stored: StoredModel, path: str, out: str, coverage: float, options: Options) -> None:
    """Write a table with columns of predictions added.

    stored : StoredModel
    path, out : of the table and of the file to write; - is a standard stream
    coverage : of the intervals
    options : for reading the table
    """
    sheet = open_sheet(path, options, [recipe.name for recipe in stored.columns])
    if not sheet.rows:
        raise CommandError(f"{sheet.name} has no rows")
    columns, decimal, notes = _columns(stored, sheet, options)
    X = _inputs(stored, columns)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            mean, std = stored.model.predict(X, return_std=True)
            interval = stored.model.predict_interval(X, coverage)
        except ValueError as error:
            raise CommandError(f"cannot predict: {' '.join(str(error).split())}") from error
    notes += [str(w.message) for w in caught if "valid feature names" not in str(w.message)]
    n_rows, n_targets = len(sheet.rows), len(stored.targets)
    added = np.stack([mean, std, *np.moveaxis(interval, -1, 0)], axis=-1)
    added = added.reshape(n_rows, n_targets, 4)
    text = _with_predictions(sheet, stored.targets, added, decimal)
    _write(text, out)
    for note in dict.fromkeys([*sheet.remarks, *notes]):
        print(wrapped(note, "", "  "), file=sys.stderr)
    if out != "-":
        what = "mean, std, low and high"
        print(f"{counted(n_rows, 'row')} with {what} written to {out}", file=sys.stderr)


def _columns(
    stored: StoredModel, sheet: Sheet, options: Options
) -> tuple[list[Any], str, list[str]]:
    """Values of the model's columns in a sheet, its decimal separator, and remarks.

    stored : StoredModel; sheet : Sheet; options : Options
    """
    lacking = [r.name for r in stored.columns if r.name not in sheet.header]
    if lacking:
        raise CommandError(
            f"{sheet.name} has no column {listed(lacking, 5)}; it has: {listed(sheet.header)}"
        )
    cells = dict(zip(sheet.header, map(list, zip(*sheet.rows))))
    used = [cells[recipe.name] for recipe in stored.columns]
    context = sheet_context(sheet, used, options)
    decimal = context.decimal if context.shown or context.forced else stored.decimal
    values, notes = [], []
    for recipe, texts in zip(stored.columns, used):
        read = read_by_recipe(recipe, texts, decimal)
        values.append(read)
        notes += _cell_notes(stored, recipe, texts, read)
    return values, decimal, notes


def _cell_notes(
    stored: StoredModel, recipe: Recipe, texts: list[str], values: Array | list[str | None]
) -> list[str]:
    """What to say about cells that the model can make nothing of.

    stored : StoredModel
    recipe : of the column
    texts : (n_rows,) cells
    values : what was read
    """
    if recipe.kind == CATEGORY:
        known = {*stored.levels[recipe.name], None}
        odd = [text for text, value in zip(texts, values) if value not in known]
        what = "with a level that the fit has not seen"
    else:
        lost = np.isnan(np.asarray(values, dtype=float))
        odd = [
            t for t, gone in zip(texts, lost) if gone and t.strip().lower() not in MISSING_NUMBERS
        ]
        what = "unreadable and taken as missing"
    if not odd:
        return []
    return [f"{recipe.name}: {counted(len(odd), 'cell')} {what}, such as {quoted(odd[0])}."]


def _inputs(stored: StoredModel, columns: list[Any]) -> Any:
    """What the model predicts from, of the values of its columns."""
    kinds = [recipe.kind for recipe in stored.columns]
    if not has_pandas():
        if CATEGORY in kinds or DATE in kinds:
            raise CommandError("columns of text and dates need: python -m pip install pandas")
        return np.column_stack(columns)
    return frame_of(zip(stored.columns, columns))


def _with_predictions(sheet: Sheet, targets: tuple[str, ...], added: Array, decimal: str) -> str:
    """The text of a table with the predictions added.

    sheet : Sheet
    targets : names
    added : (n_rows, n_targets, 4), mean, std, low and high
    decimal : separator of the numbers
    """
    names = list(sheet.header)
    for target in targets:
        for name in ("mean", "std", "low", "high"):
            name = f"{name} of {target}" if len(targets) > 1 else name
            while name in names:
                name = f"predicted {name}"
            names.append(name)
    file = io.StringIO()
    writer = csv.writer(file, delimiter=sheet.layout.delimiter, lineterminator="\n")
    writer.writerow(names)
    for row, numbers in zip(sheet.rows, added):
        shown = [f"{number:.7g}" for number in numbers.ravel()]
        writer.writerow([*row, *(text.replace(".", decimal) for text in shown)])
    return file.getvalue()


def _write(text: str, out: str) -> None:
    if out == "-":
        if sys.stdout.isatty():
            say(text.rstrip("\n"))
        else:
            sys.stdout.write(text)
            sys.stdout.flush()
        return
    try:
        Path(out).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise CommandError(f"cannot write {out}: {error.strerror}") from error
