"""``python -m sk_backprop``: cross-validate `BackpropRegressor` and scikit-learn's network,
on tables that come with scikit-learn or on the user's own table.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import os
import sys
import textwrap
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_linnerud, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_backprop import BackpropRegressor, __version__

Array = NDArray[np.float64]

MIN_ROWS = 10
MISSING = {"", "na", "n/a", "nan", "null", "none"}
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}
DESCRIPTION = """\
Cross-validate BackpropRegressor on raw data, with default parameters and with early
stopping, and compare it with scikit-learn's MLPRegressor, with default parameters
and with X and y standardised. All models use the same folds. The tables show the
error in units of the target, R2, and the time per fit.

Without FILE, the data are four tables that come with scikit-learn; this takes about
a minute and works offline. With FILE, the data are your own table, whose numeric
columns predict the target. Columns that are not numeric and rows with a missing value
are left out, and the report says which and how many."""
EXAMPLES = """\
examples:
  python -m sk_backprop
  python -m sk_backprop houses.csv --target price
  python -m sk_backprop plant.csv --target yield --target purity --folds 10"""
LEGEND = """\
  BackpropRegressor    default parameters; X and y raw
    early stopping     early_stopping=True; X and y raw
  MLPRegressor         default parameters; X and y raw
    scaled             max_iter=2000; X and y standardised by StandardScaler, in a
                       pipeline inside TransformedTargetRegressor

  RMSE  mean over folds +/- its standard error, in units of the target
  R2    mean over folds; 1 is perfect, below 0 is worse than the mean of y; erratic
        if a fold has few rows"""
CLOSING = """\
To use the estimator in your own code, give it X and y as they are:

  from sk_backprop import BackpropRegressor
  model = BackpropRegressor().fit(X, y)
  mean, std = model.predict(X_new, return_std=True)"""


class TableError(ValueError):
    """The data do not allow the requested comparison; the message says why, in one line."""


@dataclass(frozen=True)
class Table:
    """X of shape (rows, columns), y of shape (rows, targets), and what was left out."""

    name: str
    X: Array
    y: Array
    targets: Sequence[str]
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Scores:
    """One model's results: arrays of shape (folds, targets), NaN where a fit failed."""

    rmse: Array
    r2: Array
    seconds: float
    notes: Sequence[str]


def bundled_tables() -> list[Table]:
    """Four regression tasks in raw units, from the data that come with scikit-learn."""
    diabetes, exercise = load_diabetes(scaled=False), load_linnerud()
    wine, cancer = load_wine().data, load_breast_cancer()
    # The other "worst" columns describe the same few nuclei, so they would give the
    # target away; the means over all nuclei, which come first, do not.
    worst_area = cancer.data[:, cancer.feature_names == "worst area"]
    return [
        Table("diabetes", diabetes.data, diabetes.target[:, None], ["disease progression"]),
        Table("wine", wine[:, :12], wine[:, 12:], ["proline"]),
        Table("breast cancer", cancer.data[:, :10], worst_area, ["worst area"]),
        Table("linnerud", exercise.data, exercise.target, exercise.target_names),
    ]


def read_cells(path: str, delimiter: str | None) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a delimited text file, as text."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        if delimiter is None:
            # The one that splits the header into the most columns; the comma wins a tie.
            firsts = {d: next(_records(text, d), (0, []))[1] for d in DELIMITERS.values()}
            delimiter = max(firsts, key=lambda d: len(firsts[d]))
        records = list(_records(text, delimiter))
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TableError(f"cannot read {path}: it is not text in UTF-8") from error
    except csv.Error as error:
        raise TableError(f"cannot read {path}: {error}") from error
    if not records:
        raise TableError(f"{path} is empty")
    header = [name.strip() for name in records[0][1]]
    for line, row in records[1:]:
        if len(row) != len(header):
            raise TableError(f"{path}, line {line}: {len(row)} values for {len(header)} columns")
    return header, [row for _, row in records[1:]]


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    return ((reader.line_num, row) for row in reader if len(row) > 1 or "".join(row).strip())


def parse_column(cells: Sequence[str]) -> Array | str:
    """The numbers of a column, NaN where missing or infinite; or why it is not numeric."""
    column = np.full(len(cells), math.nan)
    for i, cell in enumerate(cells):
        if cell.strip().lower() in MISSING:
            continue
        try:
            # Python reads 1_000 as a number; in a table it is more likely a label.
            number = float(cell.replace("_", "?"))
        except ValueError:
            return f"{textwrap.shorten(cell, 30, placeholder='...')!r} is not a number"
        column[i] = number if math.isfinite(number) else math.nan
    return "it has no values" if np.isnan(column).all() else column


def load_table(path: str, targets: Sequence[str], delimiter: str | None = None) -> Table:
    """The numeric columns and complete rows of the user's table.

    path : str; targets : names of columns; delimiter : str, or None to detect it
    """
    header, rows = read_cells(path, delimiter)
    names = Counter(name for name in header if name)
    known = f"the columns are: {', '.join(names)}"
    if repeated := [name for name, times in names.items() if times > 1]:
        raise TableError(f"{path} has more than one column named {', '.join(repeated)}")
    if not targets:
        raise TableError(f"name the column to predict with --target; {known}")
    if unknown := [target for target in targets if target not in names]:
        raise TableError(f"{path} has no column {', '.join(unknown)}; {known}")
    if len(rows) < MIN_ROWS:
        raise TableError(f"{path} has {len(rows)} rows; at least {MIN_ROWS} are needed")

    columns: dict[str, Array] = {}
    left_out: dict[str, str] = {}
    for i, (name, cells) in enumerate(zip(header, zip(*rows)), start=1):
        column = parse_column(cells)
        if not name:  # pandas and R put row numbers into such a column
            left_out[f"column {i}"] = "it has no name"
        elif isinstance(column, str):
            left_out[name] = column
        else:
            columns[name] = column
    for target in targets:
        if target in left_out:
            raise TableError(f"the target {target} is not numeric: {left_out[target]}")
    features = [columns[name] for name in columns if name not in targets]
    if not features:
        raise TableError(f"{path} has no numeric column besides the target")

    X, y = np.column_stack(features), np.column_stack([columns[name] for name in targets])
    complete = ~np.isnan(np.hstack([X, y])).any(axis=1)
    n_missing = len(rows) - int(complete.sum())
    X, y = X[complete], y[complete]
    if len(X) < MIN_ROWS:
        raise TableError(
            f"{path} has {len(X)} complete rows, of {len(rows)}; at least {MIN_ROWS} are needed"
        )
    for target, values in zip(targets, y.T):
        if np.all(values == values[0]):
            raise TableError(f"the target {target} is {values[0]:g} in every row")
    remarks = []
    if left_out:
        reasons = "; ".join(
            f"{printable(name)}, because {reason}" for name, reason in left_out.items()
        )
        remarks.append(f"Columns left out: {reasons}.")
    if n_missing:
        remarks.append(
            f"Rows left out: {n_missing} of {len(rows)}, for a missing or infinite value."
        )
    return Table(printable(Path(path).name), X, y, [*map(printable, targets)], remarks)


def competing_models(seed: int) -> dict[str, Any]:
    """The estimators to compare, under the names that `LEGEND` explains."""
    network = MLPRegressor(max_iter=2000, random_state=seed)
    return {
        "BackpropRegressor": BackpropRegressor(random_state=seed),
        "  early stopping": BackpropRegressor(early_stopping=True, random_state=seed),
        "MLPRegressor": MLPRegressor(random_state=seed),
        "  scaled": TransformedTargetRegressor(
            make_pipeline(StandardScaler(), network), transformer=StandardScaler()
        ),
    }


def cross_validate(model: Any, table: Table, folds: KFold) -> Scores:
    """Fit and score a clone of the model on every fold.

    scikit-learn's function of this name reports neither its progress nor which fits warned.

    model : estimator; table : Table; folds : KFold
    """
    n_folds, y = folds.get_n_splits(), table.y.squeeze()
    rmse, r2 = np.full((2, n_folds, len(table.targets)), math.nan)
    seconds, mishaps = np.full(n_folds, math.nan), Counter[str]()
    for i, (train, test) in enumerate(folds.split(table.X)):
        show_progress(f"{table.name}: {type(model).__name__}, fold {i + 1} of {n_folds}")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            start = time.perf_counter()
            try:
                fitted = clone(model).fit(table.X[train], y[train])
                seconds[i] = time.perf_counter() - start
                predicted = fitted.predict(table.X[test])
                rmse[i] = root_mean_squared_error(y[test], predicted, multioutput="raw_values")
                r2[i] = r2_score(y[test], predicted, multioutput="raw_values")
            except ValueError as error:  # such as that of MLPRegressor if its weights overflow
                mishaps[f"failed: {error}"] += 1
        mishaps.update(dict.fromkeys(map(_describe, caught), 1))
    notes = [f"{times} of {n_folds} fits {mishap}" for mishap, times in mishaps.items()]
    return Scores(rmse, r2, float(seconds.mean()), notes)


def _describe(warning: warnings.WarningMessage) -> str:
    if str(warning.message).startswith("Training interrupted"):
        # Both networks take Ctrl-C to mean "keep the weights reached"; here it means "stop".
        raise KeyboardInterrupt
    if issubclass(warning.category, ConvergenceWarning):
        return "ended with a ConvergenceWarning"
    return f"warned: {warning.message}"


def format_table(table: Table, scores: dict[str, Scores]) -> str:
    """The report on one table: what it is, and a block of results for each target."""
    n_rows, n_columns = table.X.shape
    shared = f", {len(table.targets)} targets in one fit" if len(table.targets) > 1 else ""
    columns = "1 column" if n_columns == 1 else f"{n_columns} columns"
    lines = [f"{table.name}: {n_rows} rows, {columns}{shared}"]
    lines += [_wrap(remark) for remark in table.remarks]
    width = max(map(len, [*scores, *table.targets]))
    for k, target in enumerate(table.targets):
        means = {name: s.rmse[:, k].mean() for name, s in scores.items()}
        positive = [mean for mean in means.values() if 0 < mean < math.inf]
        # Four digits of the best model, and as many decimals for the others, to line up.
        decimals = max(0, 3 - math.floor(math.log10(min(positive)))) if positive else 0
        lines += ["", f"  {target:<{width}}  {'RMSE':>23}  {'R2':>9}  {'s per fit':>10}"]
        for name, s in scores.items():
            with np.errstate(invalid="ignore"):  # an RMSE that overflowed
                error = s.rmse[:, k].std(ddof=1) / math.sqrt(len(s.rmse))
            rmse = f"{means[name]:.{decimals}f} +/- {error:.{decimals}f}"
            if len(rmse) > 23:
                rmse = f"{means[name]:.3e} +/- {error:.2e}"
            mean_r2 = s.r2[:, k].mean()
            r2 = f"{mean_r2:.3f}" if mean_r2 > -1000 else f"{mean_r2:.1e}"
            lines.append(f"  {name:<{width}}  {rmse:>23}  {r2:>9}  {s.seconds:>10.2f}")
    notes = [
        f"{name.strip()}: {note.rstrip('.')}." for name, s in scores.items() for note in s.notes
    ]
    return "\n".join([*lines, *([""] if notes else []), *map(_wrap, notes)])


def printable(text: str) -> str:
    """The text in one line, with control characters, which a terminal would obey, as in a repr."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _wrap(text: str) -> str:
    text = printable(" ".join(text.split()))
    return textwrap.fill(text, 86, initial_indent="  ", subsequent_indent="    ")


def show_progress(text: str, *, plain: bool = False) -> None:
    """A line on the terminal that the next one overwrites; elsewhere shown only if `plain`."""
    text = printable(text)
    if sys.stderr.isatty():
        print(f"\r{text:<79.79}\r", end="", file=sys.stderr, flush=True)
    elif plain:
        print(text, file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Print, with escapes for characters that the terminal lacks or would obey."""
    text = "\n".join(map(printable, text.split("\n")))
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def compare(tables: Sequence[Table], n_folds: int, seed: int) -> None:
    """Cross-validate all models on the tables and print the report.

    tables : sequence of Table; n_folds : int; seed : int, of folds and models
    """
    models = competing_models(seed)
    folds = KFold(n_folds, shuffle=True, random_state=seed)
    say(f"sk_backprop {__version__}: {n_folds}-fold cross-validation\n\n{LEGEND}\n")
    for table in tables:
        show_progress(f"{table.name}: {n_folds * len(models)} fits", plain=True)
        scores = {name: cross_validate(model, table, folds) for name, model in models.items()}
        show_progress("")
        say(f"{format_table(table, scores)}\n")
    say(CLOSING)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(printable(message))  # it quotes arguments, file and column names


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m sk_backprop",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("file", metavar="FILE", nargs="?", help="table as UTF-8 text, with column names in line 1")
    text = "name of the column to predict; repeat it to predict several at once"
    add("--target", metavar="COLUMN", action="append", default=[], help=text)
    text = "column separator (default: detected from the first line)"
    add("--delimiter", choices=list(DELIMITERS), help=text)
    text = "number of folds (default: %(default)s)"
    add("--folds", metavar="N", type=int, default=5, help=text)
    text = "random state of the folds and models (default: %(default)s)"
    add("--seed", metavar="N", type=int, default=0, help=text)
    add("--version", action="version", version=f"sk_backprop {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        if args.file is not None:
            targets = list(dict.fromkeys(args.target))
            tables = [load_table(args.file, targets, DELIMITERS.get(args.delimiter))]
        elif args.target or args.delimiter:
            raise TableError("--target and --delimiter need a FILE")
        else:
            tables = bundled_tables()
        most = min(len(table.X) for table in tables) // 2  # R2 needs two rows in a fold
        if not 2 <= args.folds <= most:
            raise TableError(f"--folds must be from 2 to {most} for these data, not {args.folds}")
        if not 0 <= args.seed < 2**32:
            raise TableError(f"--seed must be from 0 to {2**32 - 1}, not {args.seed}")
        compare(tables, args.folds, args.seed)
    except TableError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as by `| head`: nobody reads, and flushing at exit would fail too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
