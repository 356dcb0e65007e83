"""`python -m benchmarks COMMAND`: measure, write each row at once, then tabulate and draw.

Each command is a module with

- `Row`, a dataclass whose fields are the columns of its CSV,
- `add_options(parser)`, for the options that it does not share with the others,
- `run(args)`, an iterator that measures and yields rows,
- `summarize(rows)`, the table that is printed at the end,
- and, where it has a picture, `draw(rows)`, a matplotlib figure.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from threadpoolctl import threadpool_limits

import benchmarks
from benchmarks import accuracy, agreement, compare, mixed, problems, scaling, speed, table, units
from benchmarks.timing import environment, slowed

COMMANDS = (accuracy, mixed, units, agreement, speed, scaling, compare)

# {option: the attribute of a row that it selects}
SELECTED_BY = {"problems": "problem", "competitors": "competitor", "rows": "name"}


def _picture_file(text: str) -> str:
    if not text.lower().endswith((".png", ".svg")):
        raise argparse.ArgumentTypeError(f"{text!r} ends in neither .png nor .svg")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=benchmarks.__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        name, about = command.__name__.rpartition(".")[2], str(command.__doc__).partition("\n")[0]
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(command=command, plot=None, resume=False)
        command.add_options(added)
        text = "write each row here as soon as it is measured"
        added.add_argument("--out", metavar="FILE.csv", default=os.devnull, help=text)
        text = "measure nothing: take these rows, or those of them that other options name"
        added.add_argument("--from-csv", metavar="FILE.csv", help=text)
        if hasattr(command, "draw"):
            text = "draw a picture (needs matplotlib); .png or .svg"
            added.add_argument("--plot", metavar="FILE", type=_picture_file, help=text)
    return parser


def _measured(args: argparse.Namespace) -> list[Any]:
    """Rows that are measured now, after those that --resume keeps."""
    if "n_splits" in args:  # before the file is opened, which empties it
        args.chosen = problems.chosen(args)
    args.done = []
    if args.resume and os.path.exists(args.out):
        args.done = table.read(args.out, args.command.Row)
    if note := slowed():
        print(note, file=sys.stderr)
    rows = list(args.done)
    with table.writing(args.out, args.command.Row, append=bool(rows)) as write:
        print(environment(), flush=True)
        for row in args.command.run(args):
            write(row)
            rows.append(row)
    return rows


def _selected(args: argparse.Namespace) -> list[Any]:
    """The rows of --from-csv that the options name; without names, all."""
    rows = table.read(args.from_csv, args.command.Row)
    for option, attribute in SELECTED_BY.items():
        if names := getattr(args, option, None):
            rows = [row for row in rows if getattr(row, attribute) in names]
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        if args.plot and find_spec("matplotlib") is None:
            raise benchmarks.BenchmarkError("--plot needs matplotlib, which is not installed")
        if args.resume and (args.from_csv or args.out == os.devnull):
            raise benchmarks.BenchmarkError("--resume needs the file to go on with, as --out")
        with warnings.catch_warnings(), threadpool_limits(1):
            # Ctrl-C ends the command also where a fit takes it to mean "keep the weights reached".
            warnings.filterwarnings("error", "Training interrupted", UserWarning)
            rows = _selected(args) if args.from_csv else _measured(args)
        print(f"\n{args.command.summarize(rows)}")
        if args.plot:
            args.command.draw(rows).savefig(args.plot, dpi=200)
    except (benchmarks.BenchmarkError, OSError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, UserWarning) as stop:
        if isinstance(stop, UserWarning) and not str(stop).startswith("Training interrupted"):
            raise
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
