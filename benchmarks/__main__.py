"""`python -m benchmarks COMMAND`: the options that all measurements share, and errors."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeAlias

from threadpoolctl import threadpool_limits

import benchmarks
from benchmarks import accuracy, agreement, defaults, files, scaling, speed, units
from benchmarks.environment import environment, slowed
from benchmarks.laps import Setup
from benchmarks.problems import Problem, ProblemError, load

Command: TypeAlias = Callable[[argparse.Namespace], None]
Drawer: TypeAlias = Callable[[Sequence[Any]], None]

QUICK = ("diabetes", "friedman1-150", "sine", "noise")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _repeats(text: str) -> int:
    if (number := _positive(text)) < speed.LEAST_REPEATS:
        raise argparse.ArgumentTypeError(f"{text} is less than {speed.LEAST_REPEATS}")
    return number


def _picture_file(text: str) -> str:
    if not text.lower().endswith((".png", ".svg")):
        raise argparse.ArgumentTypeError(f"{text!r} ends in neither .png nor .svg")
    return text


def _data_option(parser: argparse.ArgumentParser) -> None:
    text = "a folder of NAME.npz files with X, y, train_idx, test_idx (default: $SK_BACKPROP_DATA)"
    folder = os.environ.get("SK_BACKPROP_DATA")
    parser.add_argument("--data", metavar="FOLDER", default=folder, help=text)


def _out_option(parser: argparse.ArgumentParser, row: str) -> None:
    text = f"write a row for each {row} at once"
    parser.add_argument("--out", metavar="FILE.csv", default=os.devnull, help=text)


def _plot_option(parser: argparse.ArgumentParser, what: str) -> None:
    text = f"draw {what} (needs matplotlib); .png or .svg"
    parser.add_argument("--plot", metavar="FILE", type=_picture_file, help=text)


def _problem_options(parser: argparse.ArgumentParser, splits: str) -> None:
    _data_option(parser)
    add = parser.add_argument
    text = "data sets to measure on (default: those of the folder, and all built-in ones)"
    add("--problems", metavar="NAME", nargs="+", help=text)
    text = f"splits of each data set (default: {splits})"
    add("--splits", metavar="N", type=_positive, help=text)
    text = f"one split of {', '.join(QUICK)}, unless other options say more"
    add("--quick", action="store_true", help=text)
    _out_option(parser, "fit")


def _accuracy_options(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(accuracy.COMPETITORS)
    text = f"any of {names} (default: all; with --quick: {', '.join(accuracy.QUICK)})"
    parser.add_argument(
        "--competitors", metavar="NAME", nargs="+", choices=accuracy.COMPETITORS, help=text
    )
    _plot_option(parser, "each result in relation to ours")
    either = parser.add_mutually_exclusive_group()
    text = "keep the rows that the file of --out has, and measure the others"
    either.add_argument("--resume", action="store_true", help=text)
    text = "measure nothing: tabulate and draw these rows (of --problems and --competitors)"
    either.add_argument("--from-csv", metavar="FILE.csv", help=text)


def _speed_options(parser: argparse.ArgumentParser) -> None:
    _data_option(parser)
    add = parser.add_argument
    text = f"any of {', '.join(speed.ABOUT)} (default: all)"
    add("--rows", metavar="NAME", nargs="+", choices=speed.ABOUT, help=text)
    text = f"runs of ours and of a peer, by turns; {speed.LEAST_REPEATS} or more (default: 7)"
    add("--repeats", metavar="N", type=_repeats, help=text)
    text = (
        f"{speed.LEAST_REPEATS} repeats of {', '.join(speed.QUICK)}, unless other options say more"
    )
    add("--quick", action="store_true", help=text)
    _out_option(parser, "peer")
    _plot_option(parser, "each ratio beside its bar")
    text = "measure nothing: tabulate and draw these rows (of --rows)"
    add("--from-csv", metavar="FILE.csv", help=text)


def _scaling_options(parser: argparse.ArgumentParser) -> None:
    text = f"the first {scaling.N_QUICK} sizes of each series"
    parser.add_argument("--quick", action="store_true", help=text)
    _out_option(parser, "fit")
    _plot_option(parser, "time and memory against size")
    text = "measure nothing: tabulate and draw these rows"
    parser.add_argument("--from-csv", metavar="FILE.csv", help=text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=benchmarks.__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(module: ModuleType, carry_out: Command) -> argparse.ArgumentParser:
        name, about = module.__name__.rpartition(".")[2], module.__doc__
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(carry_out=carry_out)
        return added

    for module, n_splits in ((defaults, 3), (units, 3), (agreement, 1)):
        _problem_options(command(module, _on_problems(module.run, n_splits)), str(n_splits))
    accurate = command(accuracy, _accuracy)
    _problem_options(accurate, "all, and 3 of a built-in set")
    _accuracy_options(accurate)
    _speed_options(command(speed, _speed))
    _scaling_options(command(scaling, _scaling))
    return parser


def _load(args: argparse.Namespace, n_splits: int | None) -> list[Problem]:
    names = args.problems or (QUICK if args.quick else ())
    return load(args.data, names, args.splits or (1 if args.quick else n_splits))


def _drawn_by(module: str, args: argparse.Namespace) -> Drawer:
    """What draws the picture that --plot asks for; to be called before any measurement."""
    if not args.plot:
        return lambda _rows: None
    try:
        picture = importlib.import_module(f"benchmarks.{module}")
    except ImportError as error:
        raise ProblemError("--plot needs matplotlib, which is not installed") from error
    return lambda rows: picture.draw(rows, args.plot)


def _on_problems(run: Callable[..., None], n_splits: int) -> Command:
    """A command that measures on so many splits, unless an option says otherwise."""

    def carry_out(args: argparse.Namespace) -> None:
        problems = _load(args, n_splits)
        with open(args.out, "w", newline="", encoding="utf-8") as out:
            print(environment())
            run(problems, out)

    return carry_out


def _accuracy(args: argparse.Namespace) -> None:
    draw = _drawn_by("picture", args)
    if args.resume and args.out == os.devnull:
        raise ProblemError("--resume needs the file to go on with, as --out")
    if args.from_csv:
        rows = accuracy.select(accuracy.read(args.from_csv), args.problems, args.competitors)
    else:
        problems = _load(args, None)
        names = args.competitors or (accuracy.QUICK if args.quick else accuracy.COMPETITORS)
        done = accuracy.read(args.out) if args.resume and os.path.exists(args.out) else []
        with open(args.out, "a" if done else "w", newline="", encoding="utf-8") as out:
            print(environment())
            rows = accuracy.run(problems, out, names, done)
    print(f"\n{accuracy.LEGEND}\n\n{accuracy.summarize(rows)}")
    draw(rows)


def _note_what_slows() -> None:
    if note := slowed():
        print(note, file=sys.stderr)


def _speed(args: argparse.Namespace) -> None:
    draw = _drawn_by("speed_picture", args)
    if args.from_csv:
        names = args.rows or speed.ABOUT
        rows = speed.select(files.read(args.from_csv, speed.Row), names)
    else:
        names = args.rows or (speed.QUICK if args.quick else speed.ABOUT)
        repeats = args.repeats or (speed.LEAST_REPEATS if args.quick else 7)
        _note_what_slows()
        with open(args.out, "w", newline="", encoding="utf-8") as out:
            with threadpool_limits(1):
                print(environment(), flush=True)
            rows = speed.run(out, Setup(repeats, args.data), names)
    print(f"\n{speed.LEGEND}\n\n{speed.summarize(rows)}")
    draw(rows)


def _scaling(args: argparse.Namespace) -> None:
    draw = _drawn_by("scaling_picture", args)
    if args.from_csv:
        rows = files.read(args.from_csv, scaling.Row)
    else:
        _note_what_slows()
        with open(args.out, "w", newline="", encoding="utf-8") as out:
            print(environment(), flush=True)
            rows = scaling.run(out, args.quick)
    print(f"\n{scaling.LEGEND}\n\n{scaling.summarize(rows)}")
    draw(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        args.carry_out(args)
    except (ProblemError, OSError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
