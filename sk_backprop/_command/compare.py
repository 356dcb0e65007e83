"""`compare`: cross-validation on the user's table, or on those that come with scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from sklearn.model_selection import KFold

from sk_backprop import __version__
from sk_backprop._command._reading.tables import Table
from sk_backprop._command.advice import BUNDLED, code_for
from sk_backprop._command.checks import check_folds
from sk_backprop._command.contenders import LEGEND, bundled_tables, contenders
from sk_backprop._command.description import columns_text, heading
from sk_backprop._command.evaluation import (
    ERROR_WIDTH,
    Scores,
    best_of,
    cross_validate,
    intervals_text,
    shown_error,
    shown_r2,
    verdict,
)
from sk_backprop._command.terminal import Progress, say, shortened, wrapped

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
    say(indent(code_for(table, path, seed), "  "))


def compare_bundled(n_folds: int, seed: int) -> None:
    """Compare on tables that come with scikit-learn.

    n_folds : int; seed : of folds and estimators
    """
    tables = bundled_tables()
    check_folds(n_folds, min(len(table.y) for table in tables))
    compare(tables, n_folds, seed)
    say("On your own table:  python -m sk_backprop FILE --target COLUMN")
    say("In your own code, with X and y as they are:\n")
    say(indent(BUNDLED, "  "))


def results_text(table: Table, scores: dict[str, Scores]) -> str:
    """A block of results for each target.

    table : Table; scores : {name: Scores}
    """
    blocks = [_block(table.targets[k], k, scores) for k in range(len(table.targets))]
    notes = [(name.strip(), note.rstrip(".")) for name, s in scores.items() for note in s.notes]
    lines = [wrapped(f"{name}: {note}.") for name, note in notes]
    return "\n\n".join([*blocks, *(["\n".join(lines)] if lines else [])])


def _block(target: str, k: int, scores: dict[str, Scores]) -> str:
    """The results for one target.

    target : its name; k : its index; scores : {name: Scores}
    """
    target, best = shortened(target, 40), best_of(scores, k)
    width = max(map(len, [*scores, target]))
    lines = [f"  {target:<{width}}  {'RMSE':>{ERROR_WIDTH}}  {'R2':>8}  {'s per fit':>9}"]
    for name, s in scores.items():
        rmse, r2 = shown_error(scores, name, k), shown_r2(s, k)
        mark = "*" if name == best else " "
        lines.append(f"{mark} {name:<{width}}  {rmse:>{ERROR_WIDTH}}  {r2:>8}  {s.seconds:>9.2f}")
    after = [text for text in (verdict(scores, k), intervals_text(scores, k)) if text]
    return "\n".join([*lines, *([""] if after else []), *(wrapped(t, hanging="  ") for t in after)])
