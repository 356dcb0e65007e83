"""`compare`: cross-validation on the user's table, or on those that come with scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import KFold

from sk_backprop import __version__
from sk_backprop._command._reading.tables import Table
from sk_backprop._command.advice import BUNDLED, code_for
from sk_backprop._command.checks import check_folds
from sk_backprop._command.contenders import LEGEND, OURS, bundled_tables, contenders
from sk_backprop._command.description import columns_text, heading
from sk_backprop._command.evaluation import Scores, best_of, cross_validate, verdict
from sk_backprop._command.terminal import Progress, say, wrapped

_NOTES = """\
  *     the lowest RMSE
  RMSE  mean over folds +/- its standard error, in units of the target
  R2    mean over folds; 1 is perfect, below 0 is worse than the mean of y; erratic
        if a fold has few rows"""


def compare(tables: Sequence[Table], n_folds: int, seed: int) -> None:
    """Cross-validate all estimators on the tables and print the results.

    tables : Table of each; n_folds : int; seed : of folds and estimators
    """
    say(f"sk_backprop {__version__}: {n_folds}-fold cross-validation\n\n{LEGEND}\n\n{_NOTES}\n")
    folds, progress = KFold(n_folds, shuffle=True, random_state=seed), Progress()
    for table in tables:
        say(f"{heading(table)}\n")
        if table.layout is not None:  # from a file
            say(f"{columns_text(table)}\n")
        named = contenders(table, seed)
        progress.note(f"{table.name}: {n_folds * len(named)} fits")
        scores = cross_validate(named, table.y, folds, table.name, progress)
        progress.clear()
        say(f"{results_text(table, scores)}\n")


def compare_file(table: Table, path: str, n_folds: int, seed: int) -> None:
    """Compare on one table, and show the code that goes on from there.

    table : Table; path : of its file; n_folds : int; seed : of folds and estimators
    """
    compare([table], n_folds, seed)
    say("The same model in Python:\n")
    say(indented(code_for(table, path, seed)))


def compare_bundled(n_folds: int, seed: int) -> None:
    """Compare on tables that come with scikit-learn.

    n_folds : int; seed : of folds and estimators
    """
    tables = bundled_tables()
    check_folds(n_folds, min(len(table.y) for table in tables))
    compare(tables, n_folds, seed)
    say("On your own table:  python -m sk_backprop FILE --target COLUMN")
    say("In your own code, with X and y as they are:\n")
    say(indented(BUNDLED))


def indented(code: str) -> str:
    """Code as a block of a message."""
    return "\n".join(f"  {line}".rstrip() for line in code.split("\n"))


def results_text(table: Table, scores: dict[str, Scores]) -> str:
    """A block of results for each target.

    table : Table; scores : {name: Scores}
    """
    blocks = [_block(table.targets[k], k, scores) for k in range(len(table.targets))]
    notes = [
        wrapped(f"{name.strip()}: {note.rstrip('.')}.") for name, s in scores.items() for note in s.notes
    ]
    return "\n\n".join([*blocks, *(["\n".join(notes)] if notes else [])])


def _block(target: str, k: int, scores: dict[str, Scores]) -> str:
    """The results for one target.

    target : its name; k : its index; scores : {name: Scores}
    """
    width = max(map(len, [*scores, target]))
    means = {name: s.rmse[:, k].mean() for name, s in scores.items()}
    positive = [mean for mean in means.values() if 0 < mean < math.inf]
    # Four digits of the best model, and as many decimals for the others, to line up.
    decimals = max(0, 3 - math.floor(math.log10(min(positive)))) if positive else 0
    best = best_of(scores, k)
    lines = [f"  {target:<{width}}  {'RMSE':>21}  {'R2':>8}  {'s per fit':>9}"]
    for name, s in scores.items():
        with np.errstate(invalid="ignore"):  # an RMSE that overflowed
            error = s.rmse[:, k].std(ddof=1) / math.sqrt(len(s.rmse))
        rmse = f"{means[name]:.{decimals}f} +/- {error:.{decimals}f}"
        if len(rmse) > 21:
            rmse = f"{means[name]:.3e} +/- {error:.2e}"
        mean_r2 = s.r2[:, k].mean()
        r2 = f"{mean_r2:.3f}" if mean_r2 > -1000 else f"{mean_r2:.1e}"
        mark = "*" if name == best else " "
        lines.append(f"{mark} {name:<{width}}  {rmse:>21}  {r2:>8}  {s.seconds:>9.2f}")
    after = [wrapped(text, hanging="  ") for text in (verdict(scores, k), _intervals(scores, k)) if text]
    return "\n".join([*lines, *([""] if after else []), *after])


def _intervals(scores: dict[str, Scores], k: int) -> str:
    """A sentence on the 95 % intervals of ours.

    scores : {name: Scores}; k : index of the target
    """
    ours = scores.get(OURS)
    if ours is None or ours.covered is None or ours.width is None:
        return ""
    covered, width = ours.covered[:, k].mean(), ours.width[:, k].mean()
    return (
        f"Its 95 % intervals hold {100 * covered:.1f} % of the held-out values; their mean width "
        f"is {width:.4g}."
    ).replace("Its", f"{OURS}'s" if not verdict(scores, k).startswith(OURS) else "Its")
