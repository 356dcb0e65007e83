"""Arguments of the command, and its exit status."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from sk_backprop import __version__
from sk_backprop._command.checks import check_arguments, check_folds
from sk_backprop._command.terminal import CommandError, Progress, printable

# Size in megabytes above which a message says that the file is being read.
_LARGE = 5
DESCRIPTION = """\
BackpropRegressor on a table in a file. The jobs:

  compare  cross-validate it and other regressors (also the default)
  fit      fit it to all rows and store the model
  predict  add mean, std, low and high to the rows of another table
  formula  print a stored model as a formula
  report   one HTML page on the table, the model and its errors

FILE is delimited text (any usual separator, encoding and way to write numbers; also
.gz and .zip), or .xlsx or .parquet where pandas can read them, or - for standard
input. What each column was taken for is printed. Without FILE, compare takes three
tables that come with scikit-learn; this takes half a minute and works offline."""
EXAMPLES = """\
examples:
  python -m sk_backprop
  python -m sk_backprop houses.csv --target price
  python -m sk_backprop fit houses.csv --target price -o houses.joblib
  python -m sk_backprop predict houses.joblib new.csv -o predicted.csv
  python -m sk_backprop fit houses.csv --target price --units 3 -o small.joblib
  python -m sk_backprop formula small.joblib --syntax excel
  python -m sk_backprop report houses.csv --target price -o houses.html

python -m sk_backprop JOB --help describes the options of a job."""
ABOUT = {
    "compare": "Cross-validate BackpropRegressor, the mean, RidgeCV, boosted trees and "
    "scikit-learn's network, on the same folds.",
    "fit": "Fit BackpropRegressor to all rows of a table, and store it with what it takes to "
    "read other rows.",
    "predict": "Add the predicted mean, its standard deviation and the ends of an interval to "
    "the rows of a table.",
    "formula": "Print a stored model as a formula, for models of few units (fit --units 3).",
    "report": "Write one HTML page: what each column was taken for, held-out errors compared with "
    "other regressors, calibration, importances, effects, and code that reproduces it.",
}
JOBS = tuple(ABOUT)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # Arguments, file and column names are quoted in it.
        self.exit(2, f"{self.prog}: {printable(message)}\n")


def _reading(parser: argparse.ArgumentParser) -> None:
    """Options that say how a file is written."""
    add = parser.add_argument_group("how the file is written, where it does not show").add_argument
    names = ["comma", "semicolon", "tab", "bar", "space"]
    text = f"separator of the columns: {', '.join(names)}"
    add("--delimiter", metavar="NAME", choices=names, help=text)
    text = "decimal separator of all numbers: . or ,"
    add("--decimal", metavar="CHARACTER", choices=[".", ","], help=text)
    text = "separator of thousands in all numbers: . or ,"
    add("--thousands", metavar="CHARACTER", choices=[".", ","], help=text)
    add("--encoding", metavar="NAME", help="such as utf-8, cp1252 or utf-16")
    text = "of dates such as 1/2/2020: dmy if days come first, mdy if months do"
    add("--dates", metavar="ORDER", choices=["dmy", "mdy"], help=text)


def _table(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Arguments that name a table and its target.

    parser : to be extended; optional : whether a table is needed
    """
    add = parser.add_argument
    add("file", metavar="FILE", nargs="?" if optional else None, help="table; - is standard input")
    text = "name of the column to predict; repeat it to predict several at once"
    add("--target", metavar="COLUMN", action="append", default=[], help=text)
    text = "name of a column to leave out; may be repeated"
    add("--drop", metavar="COLUMN", action="append", default=[], help=text)
    text = "random state (default: %(default)s)"
    add("--seed", metavar="N", type=int, default=0, help=text)


def _folds(parser: argparse.ArgumentParser) -> None:
    text = "number of folds (default: %(default)s)"
    parser.add_argument("--folds", metavar="N", type=int, default=5, help=text)


def make_parser(job: str | None) -> argparse.ArgumentParser:
    """The parser of a job; of `compare` with the description of all jobs if it is not named."""
    shown = job or "compare"
    parser = _Parser(
        prog=f"python -m sk_backprop {job}" if job else "python -m sk_backprop",
        description=ABOUT[shown] if job else DESCRIPTION,
        epilog=None if job else EXAMPLES,
        formatter_class=argparse.HelpFormatter if job else argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    if shown == "compare":
        _table(parser, optional=True)
        _folds(parser)
    elif shown == "fit":
        _table(parser)
        text = "file of the model to write: .joblib, or .skops, which is safe to read"
        add("-o", "--output", metavar="MODEL", required=True, help=text)
        text = "one network of N hidden units (0: a linear model) instead of what 'auto' selects"
        add("--units", metavar="N", type=int, help=text)
    elif shown == "report":
        _table(parser)
        _folds(parser)
        add("-o", "--output", metavar="REPORT.html", required=True, help="page to write")
    else:
        text = "stored by fit; a .joblib file of a stranger may run any code"
        add("model", metavar="MODEL", help=text)
    if shown == "predict":
        add("file", metavar="FILE", help="table with the columns of the model; - is standard input")
        text = "table to write (default: standard output)"
        add("-o", "--output", metavar="OUT.csv", default="-", help=text)
        text = "probability of the interval from low to high (default: %(default)s)"
        add("--coverage", metavar="P", type=float, default=0.95, help=text)
    if shown == "formula":
        add("--syntax", choices=["python", "c", "excel"], default="python", help="language")
    else:
        _reading(parser)
    add("--version", action="version", version=f"sk_backprop {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    job = arguments.pop(0) if arguments and arguments[0] in JOBS else None
    parser = make_parser(job)
    args = parser.parse_args(arguments)
    try:
        check_arguments(job or "compare", args)
        _run(job or "compare", args)
    except CommandError as error:
        parser.error(str(error))
    except MemoryError:
        parser.error("the table is too large for the memory of this machine")
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as by `| head`: nobody reads, and flushing at exit would fail too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


# Below, modules are imported when they are needed: those that import scikit-learn take a second,
# and a table that cannot be read is refused before.


def _run(job: str, args: argparse.Namespace) -> None:
    """Do a job.

    job : one of `JOBS`; args : its arguments
    """
    if job == "compare" and args.file is None:
        if args.target or args.drop or any(_reading_options(args)):
            raise CommandError("--target and the options about files need a FILE")
        from sk_backprop._command.compare import compare_bundled

        compare_bundled(args.folds, args.seed)
    elif job in ("predict", "formula"):
        from sk_backprop._command.formula import formula
        from sk_backprop._command.predict import predict
        from sk_backprop._command.stored import load

        model = load(args.model)
        if job == "formula":
            formula(model, args.syntax)
        else:
            predict(model, args.file, args.output, args.coverage, _options(args))
    else:
        _run_on_table(job, args)


def _run_on_table(job: str, args: argparse.Namespace) -> None:
    """Do a job that begins with a table and its target.

    job : 'compare', 'fit' or 'report'; args : its arguments
    """
    from sk_backprop._command._reading.tables import load_table

    targets = list(dict.fromkeys(args.target))
    size = os.path.getsize(args.file) / 1e6 if os.path.isfile(args.file) else 0
    if size > _LARGE:
        Progress().note(f"reading {os.path.basename(args.file)} ({size:.0f} MB)")
    gc.disable()  # it would look through millions of cells again and again
    try:
        table = load_table(args.file, targets, _options(args))
    finally:
        gc.enable()
    if job != "fit":
        check_folds(args.folds, len(table.y))
    if job == "compare":
        from sk_backprop._command.compare import compare_file

        compare_file(table, args.file, args.folds, args.seed)
    elif job == "fit":
        from sk_backprop._command.fit import fit

        fit(table, args.output, args.seed, args.units)
    else:
        from sk_backprop._command.report import write_report

        write_report(table, args.file, args.output, (args.folds, args.seed))


def _reading_options(args: argparse.Namespace) -> list[Any]:
    return [args.delimiter, args.decimal, args.thousands, args.encoding, args.dates]


def _options(args: argparse.Namespace) -> Any:
    from sk_backprop._command._reading.records import DELIMITERS
    from sk_backprop._command._reading.tables import Options

    delimiter, decimal, thousands, encoding, order = _reading_options(args)
    return Options(
        encoding,
        DELIMITERS.get(delimiter),
        decimal,
        thousands,
        None if order is None else order == "dmy",
        tuple(dict.fromkeys(getattr(args, "drop", []))),
    )
