"""`fit`, `predict` and `formula`: a model in a file, with what it takes to read other rows."""

from __future__ import annotations

import csv
import io
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sk_backprop import BackpropRegressor, __version__
from sk_backprop._command._reading.columns import (
    CATEGORY,
    DATE,
    NUMBER,
    YES_NO,
    Array,
    Recipe,
    as_datetimes,
    read_by_recipe,
)
from sk_backprop._command._reading.frames import booleans, has_pandas
from sk_backprop._command._reading.numerals import MISSING_NUMBERS
from sk_backprop._command._reading.records import Sheet
from sk_backprop._command._reading.tables import Options, Table, open_sheet, sheet_context
from sk_backprop._command.contenders import inputs_of, our_model
from sk_backprop._command.description import columns_text, heading
from sk_backprop._command.terminal import (
    CommandError,
    Progress,
    counted,
    listed,
    quoted,
    say,
    wrapped,
)
from sk_backprop.export import to_expression

_KEY = "sk_backprop command, version 1"
_OUR_TYPE = "sk_backprop._estimator.regressor.BackpropRegressor"


class StoredModel(NamedTuple):
    """A fitted estimator and how to read the columns that it was fitted to.

    decimal : of the numbers in the file that it was fitted to
    levels : {name of a column of categories: its levels}
    """

    model: Any
    columns: tuple[Recipe, ...]
    targets: tuple[str, ...]
    decimal: str
    levels: dict[str, list[str]]


def check_frames(table: Table) -> None:
    """CommandError if the table needs pandas, which is missing."""
    if not table.is_numeric and not has_pandas():
        names = [c.recipe.name for c in table.columns if c.recipe.kind in (CATEGORY, DATE)]
        raise CommandError(
            f"columns of text and dates ({listed(names, 3)}) need: python -m pip install pandas; "
            "or leave them out with --drop"
        )


def fit_table(table: Table, seed: int, units: int | None = None) -> BackpropRegressor:
    """The estimator, fitted to all rows.

    table : Table; seed : of the estimator; units : of a single small network, or None
    """
    model = our_model(table, seed)
    if units is not None:
        model.set_params(hidden_layer_sizes=(units,) if units else (), n_networks=1, solver="lm")
    try:
        return model.fit(inputs_of(table), table.y.squeeze())
    except ValueError as error:
        raise CommandError(f"the fit failed: {' '.join(str(error).split())}") from error


def fit(table: Table, path: str, seed: int, units: int | None) -> None:
    """Fit to all rows and store the model.

    table : Table; path : of the model; seed : of the estimator; units : see `fit_table`
    """
    check_frames(table)
    say(f"{heading(table)}\n\n{columns_text(table)}\n")
    progress = Progress()
    progress.note("fitting ...")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fit_table(table, seed, units)
    progress.clear()
    for warning in caught:
        say(wrapped(f"Warning: {warning.message}"))
    numbers = [c.recipe.form for c in table.columns if c.recipe.kind == NUMBER]
    decimal = "," if numbers.count(",") > len(numbers) / 2 else "."
    recipes = tuple(column.recipe for column in table.columns)
    levels = {c.recipe.name: list(c.levels) for c in table.columns if c.levels}
    store(StoredModel(model, recipes, table.targets, decimal, levels), path)
    say(f"{_summary(model)}\nStored in {path}. For other rows of these columns:\n")
    say(f"  python -m sk_backprop predict {shlex.quote(path)} NEW.csv -o OUT.csv")


def _summary(model: BackpropRegressor) -> str:
    layers = ", ".join(map(str, model.hidden_layer_sizes_)) or "none, a linear model"
    return f"{counted(model.n_networks_, 'network')} by {model.solver_}, hidden units: {layers}."


def store(stored: StoredModel, path: str) -> None:
    """Write a model to a file.

    stored : StoredModel; path : of the file
    """
    content = {
        "format": _KEY,
        "sk_backprop": __version__,
        "model": stored.model,
        "columns": [list(recipe) for recipe in stored.columns],
        "targets": list(stored.targets),
        "decimal": stored.decimal,
        "levels": stored.levels,
    }
    try:
        if path.endswith(".skops"):
            _skops().dump(content, path)
        else:
            import joblib

            joblib.dump(content, path, compress=3)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


def load(path: str) -> StoredModel:
    """Read a model from a file that `store` has written.

    A .joblib file can run any code when it is read; a .skops file cannot.
    """
    try:
        content = _load_skops(path) if path.endswith(".skops") else _load_joblib(path)
    except CommandError:
        raise
    except Exception as error:  # of any kind, by whatever a file holds
        raise CommandError(f"{path} is not a model that this command has stored") from error
    if not isinstance(content, dict) or content.get("format") != _KEY:
        raise CommandError(f"{path} is not a model that this command has stored")
    recipes = tuple(Recipe(*fields) for fields in content["columns"])
    return StoredModel(
        content["model"],
        recipes,
        tuple(content["targets"]),
        content["decimal"],
        content["levels"],
    )


def _load_joblib(path: str) -> Any:
    import joblib

    return joblib.load(path)


def _load_skops(path: str) -> Any:
    skops = _skops()
    unknown = set(skops.get_untrusted_types(file=path)) - {_OUR_TYPE}
    if unknown:
        raise CommandError(f"{path} holds objects of other kinds: {listed(sorted(unknown), 3)}")
    return skops.load(path, trusted=[_OUR_TYPE])


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise CommandError("a .skops file needs: python -m pip install skops") from error
    return skops.io


def predict(stored: StoredModel, path: str, out: str, coverage: float, options: Options) -> None:
    """Write a table with predictions beside its cells.

    stored : StoredModel
    path, out : of the table and of the file to write; - is a standard stream
    coverage : of the intervals
    options : for reading the table
    """
    sheet = open_sheet(path, options, [recipe.name for recipe in stored.columns])
    if not sheet.rows:
        raise CommandError(f"{sheet.name} has no rows")
    columns, notes = _columns(stored, sheet, options)
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
    text = _with_predictions(sheet, stored.targets, added, columns[1])
    _write(text, out)
    for note in (*sheet.remarks, *notes):
        print(wrapped(note, "", "  "), file=sys.stderr)
    if out != "-":
        what = "mean, std, low and high"
        print(f"{counted(n_rows, 'row')} with {what} written to {out}", file=sys.stderr)


def _columns(
    stored: StoredModel, sheet: Sheet, options: Options
) -> tuple[tuple[list[Any], str], list[str]]:
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
    return (values, decimal), notes


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


def _inputs(stored: StoredModel, columns: tuple[list[Any], str]) -> Any:
    """What the model predicts from.

    stored : StoredModel; columns : values of each, and the decimal separator
    """
    kinds = [recipe.kind for recipe in stored.columns]
    if not has_pandas():
        if CATEGORY in kinds or DATE in kinds:
            raise CommandError("columns of text and dates need: python -m pip install pandas")
        return np.column_stack(columns[0])
    import pandas as pd

    data: dict[str, Any] = {}
    for (name, kind, _), values in zip(stored.columns, columns[0]):
        if kind == CATEGORY:
            data[name] = pd.Categorical(values)
        elif kind == DATE:
            data[name] = as_datetimes(values)
        else:
            data[name] = booleans(values) if kind == YES_NO else values
    return pd.DataFrame(data)


def _with_predictions(sheet: Sheet, targets: tuple[str, ...], added: Array, decimal: str) -> str:
    """The text of a table with the predictions beside its cells.

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
    delimiter = sheet.layout.delimiter if sheet.layout.kind == "text" else ","
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
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


def formula(stored: StoredModel, syntax: str) -> None:
    """Print the fitted function as a formula; what its inputs are goes to stderr.

    stored : StoredModel; syntax : 'python', 'c' or 'excel'
    """
    inputs, names = _formula_inputs(stored), None
    if syntax != "excel" and not hasattr(stored.model, "feature_names_in_"):
        names = _numbered(inputs)
    try:
        try:
            written = to_expression(stored.model, syntax, input_names=names)
        except ValueError as error:
            if "Pass input_names" not in str(error):
                raise
            names = _numbered(inputs)
            written = to_expression(stored.model, syntax, input_names=names)
    except ValueError as error:
        message = " ".join(str(error).split())
        if "longer than" in message:
            message = "the model is too large for a formula; fit again with --units 3, say"
        raise CommandError(message) from error
    if names is not None:
        pairs = [f"{name} is {one}" for name, one in zip(names, inputs)]
        print(wrapped("; ".join(pairs), "", "  "), file=sys.stderr)
    if syntax == "excel":
        order = f"A2, B2 and so on are, in this order: {', '.join(inputs)}"
        print(wrapped(order, "", "  "), file=sys.stderr)
    for text in [written] if isinstance(written, str) else written:
        say(text)


def _numbered(inputs: list[str]) -> list[str]:
    return [f"x{j}" for j in range(len(inputs))]


def _formula_inputs(stored: StoredModel) -> list[str]:
    """Names of the inputs of a formula: of columns, or of what is made of columns."""
    columns = [recipe.name for recipe in stored.columns]
    encoded = [str(name) for name in getattr(stored.model, "encoded_feature_names_", ())]
    return encoded if len(encoded) > len(columns) else columns
