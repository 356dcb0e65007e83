"""`report`: one HTML page on a table, the model and its errors on held-out rows."""

from __future__ import annotations

import io
import shlex
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import KFold

from sk_backprop import (
    BackpropRegressor,
    IntervalDisplay,
    LossCurveDisplay,
    PredictionDisplay,
    __version__,
)
from sk_backprop._command import page
from sk_backprop._command._reading.tables import Table
from sk_backprop._command.advice import code_for
from sk_backprop._command.contenders import OURS, contenders, inputs_of
from sk_backprop._command.description import column_rows, heading
from sk_backprop._command.evaluation import (
    Scores,
    best_of,
    cross_validate,
    intervals_text,
    out_of_fold,
    rival_name,
    shown_error,
    shown_r2,
    verdict,
)
from sk_backprop._command.fit import check_frames, fit_table
from sk_backprop._command.terminal import CommandError, Progress, counted, say

_MOST_EFFECTS = 6
_MOST_BARS = 30


class _Findings(NamedTuple):
    """What a report shows.

    X : inputs of our estimator
    scores : {name: Scores}, by cross-validation
    held_out : mean, standard deviation and distribution of each row, without it
    model : fitted to all rows
    messages : its warnings
    """

    table: Table
    X: Any
    scores: dict[str, Scores]
    held_out: tuple[Any, ...]
    model: BackpropRegressor
    messages: list[str]


def write_report(table: Table, path: str, out: str, settings: tuple[int, int]) -> None:
    """Cross-validate, fit to all rows, and write the page.

    table : Table; path : of its file; out : of the page; settings : number of folds, and seed
    """
    check_frames(table)
    n_folds, seed = settings
    progress = Progress()
    folds = KFold(n_folds, shuffle=True, random_state=seed)
    scores = cross_validate(contenders(table, seed), table.y, folds, table.name, progress)
    if len(scores[OURS].fitted) < n_folds:
        progress.clear()
        raise CommandError(f"{OURS} cannot be fitted: {'; '.join(scores[OURS].notes)}")
    progress.update(f"{table.name}: fit to all rows")
    model, messages = fit_table(table, seed)
    X, test = inputs_of(table), [rows for _, rows in folds.split(table.y)]
    with warnings.catch_warnings():
        # The notes on the folds say so already.
        warnings.filterwarnings("ignore", "X has missing values in column", UserWarning)
        held_out = out_of_fold(scores[OURS].fitted, test, X)
    findings = _Findings(table, X, scores, held_out, model, messages)
    progress.update(f"{table.name}: pictures")
    command = shlex.join(
        ["python", "-m", "sk_backprop", "report", path, "--target", table.targets[0]]
        + (["--folds", str(n_folds)] if n_folds != 5 else [])
        + (["--seed", str(seed)] if seed else [])
        + ["-o", out]
    )
    code = code_for(table, path, seed)
    text = page.page(f"{table.targets[0]} in {table.name}", _parts(findings, command, code))
    progress.clear()
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {out}: {error.strerror}") from error
    say(f"{verdict(scores, 0)}\nThe report is in {out} ({len(text) / 1000:.0f} kB).")


def _parts(findings: _Findings, command: str, code: str) -> list[str]:
    """The page from top to bottom.

    findings : _Findings; command : that writes this page; code : that makes the model
    """
    table, scores = findings.table, findings.scores
    n_folds = len(scores[OURS].rmse)
    return [
        page.heading(f"{table.targets[0]} in {table.name}", 1),
        page.paragraph(f"{heading(table)}. sk_backprop {__version__}.", small=True),
        page.paragraph(f"{verdict(scores, 0)} {intervals_text(scores, 0)}"),
        page.heading("Errors on held-out rows"),
        *_results(scores),
        page.paragraph(
            f"{n_folds}-fold cross-validation. RMSE: mean over folds, with its standard error, in "
            "units of the target. The others are given codes, dates as numbers, and, where they "
            "need it, filled gaps.",
            small=True,
        ),
        page.heading("Predictions and error bars"),
        page.pictures(_prediction_pictures(findings)),
        page.heading("Importance of the columns"),
        *_importances(findings),
        page.heading("Effects of single columns"),
        *_effects(findings),
        page.heading("How the columns were read"),
        *(page.paragraph(remark, small=True) for remark in table.remarks),
        page.table(
            ("column", "taken for", "notes"),
            [("out" if row[1] == "left out" else "", row) for row in column_rows(table)],
        ),
        page.heading("Training"),
        *(
            page.paragraph(f"The fit to all rows warned: {m}", small=True)
            for m in findings.messages
        ),
        page.pictures([_loss_picture(findings.model)]),
        page.heading("To reproduce"),
        page.paragraph("This page:"),
        page.code(command),
        page.paragraph("The model, in Python:"),
        page.code(code),
    ]


def _loss_picture(model: BackpropRegressor) -> tuple[bytes, str]:
    picture = _png(lambda ax: LossCurveDisplay.from_estimator(model, ax=ax))
    return picture, (
        "Loss of the first network, fitted to all rows. It may rise where the evidence determines "
        "the penalties, as these change."
    )


def _results(scores: dict[str, Scores]) -> list[str]:
    best = best_of(scores, 0)
    rows = []
    for name, s in scores.items():
        covered = "" if s.intervals is None else f"{100 * s.intervals[0].mean():.1f} %"
        error = shown_error(scores, name, 0).replace("+/-", "\u00b1")
        kind = "best" if name == best else ""
        cells = (rival_name(name), error, shown_r2(s, 0), covered, f"{s.seconds:.2f}")
        rows.append((kind, cells))
    header = ("", "RMSE", "R\u00b2", "in 95 % intervals", "s per fit")
    notes = [f"{rival_name(n)}: {note.rstrip('.')}." for n, s in scores.items() for note in s.notes]
    return [page.table(header, rows, numbers=4), *(page.paragraph(n, small=True) for n in notes)]


def _png(draw: Callable[[Any], object], size: tuple[float, float] = (4.8, 3.6)) -> bytes:
    """A picture.

    draw : called with the axes to draw on; size : in inches
    """
    from matplotlib.figure import Figure

    figure, file = Figure(figsize=size, layout="constrained"), io.BytesIO()
    draw(figure.subplots())
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def _prediction_pictures(findings: _Findings) -> list[tuple[bytes, str]]:
    y, (mean, std, distribution) = _named_target(findings.table), findings.held_out
    draw = partial(PredictionDisplay.from_predictions, y, mean, std, distribution=distribution)
    return [
        (
            _png(lambda ax: draw(ax=ax)),
            "Every row, with its 95 % interval, predicted by the model of the fold without it.",
        ),
        (
            _png(lambda ax: draw(kind="calibration", ax=ax)),
            "Which part of these rows lies in intervals of any probability: above the diagonal, "
            "intervals are wider than they need be, and below it too narrow.",
        ),
    ]


def _named_target(table: Table) -> Any:
    """The target, with its name where pandas is installed."""
    from sk_backprop._command._reading.frames import has_pandas

    y = table.y[:, 0]
    if not has_pandas():
        return y
    import pandas as pd

    return pd.Series(y, name=table.targets[0])


def _by_importance(findings: _Findings) -> list[int]:
    importances = np.asarray(findings.model.feature_importances_)
    return [int(j) for j in np.argsort(-importances, kind="stable")]


def _importances(findings: _Findings) -> list[str]:
    columns, importances = findings.table.columns, findings.model.feature_importances_
    order = _by_importance(findings)
    named = [(columns[j].recipe.name, float(importances[j])) for j in order[:_MOST_BARS]]
    rest = len(order) - len(named)
    more = f" {counted(rest, 'column')} of less importance not shown." if rest else ""
    note = f"How much predictions depend on each column; the sum is 1.{more}"
    return [page.bars(named), page.paragraph(note, small=True)]


def _effects(findings: _Findings) -> list[str]:
    model, X, y = findings.model, findings.X, _named_target(findings.table)

    def draw(j: int, ax: Any) -> None:
        IntervalDisplay.from_estimator(model, X, j, y=y, ax=ax)

    chosen = _by_importance(findings)[:_MOST_EFFECTS]
    shown = [(_png(partial(draw, j), (5.0, 3.8)), "") for j in chosen]
    note = "Predictions along one column, for the most important ones, by the fit to all rows."
    return [page.paragraph(note, small=True), page.pictures(shown)]
