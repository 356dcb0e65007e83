"""`fit`: the estimator, fitted to all rows of a table, and stored."""

from __future__ import annotations

import shlex
import warnings

from sk_backprop import BackpropRegressor
from sk_backprop._command._reading.columns import CATEGORY, DATE, NUMBER
from sk_backprop._command._reading.frames import has_pandas
from sk_backprop._command._reading.tables import Table
from sk_backprop._command.contenders import inputs_of, our_model
from sk_backprop._command.description import columns_text, heading
from sk_backprop._command.stored import StoredModel, store
from sk_backprop._command.terminal import CommandError, Progress, counted, listed, say, wrapped


def check_frames(table: Table) -> None:
    """CommandError if the table needs pandas, which is missing."""
    names = [c.recipe.name for c in table.columns if c.recipe.kind in (CATEGORY, DATE)]
    if names and not has_pandas():
        raise CommandError(
            f"columns of text and dates ({listed(names, 3)}) need: python -m pip install pandas; "
            "or leave them out with --drop"
        )


def fit_table(
    table: Table, seed: int, units: int | None = None
) -> tuple[BackpropRegressor, list[str]]:
    """The estimator, fitted to all rows, and its warnings.

    table : Table; seed : of the estimator; units : of a single small network, or None
    """
    model = our_model(table, seed)
    if units is not None:
        model.set_params(hidden_layer_sizes=(units,) if units else (), n_networks=1, solver="lm")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(inputs_of(table), table.y.squeeze())
        except ValueError as error:
            raise CommandError(f"the fit failed: {' '.join(str(error).split())}") from error
    return model, [str(warning.message) for warning in caught]


def fit(table: Table, path: str, seed: int, units: int | None) -> None:
    """Fit to all rows and store the model.

    table : Table; path : of the model; seed : of the estimator; units : see `fit_table`
    """
    check_frames(table)
    say(f"{heading(table)}\n\n{columns_text(table)}\n")
    progress = Progress()
    progress.note("fitting ...")
    model, messages = fit_table(table, seed, units)
    progress.clear()
    for message in messages:
        say(wrapped(f"Warning: {message}"))
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
