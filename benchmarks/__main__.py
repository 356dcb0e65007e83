"""`python -m benchmarks COMMAND`: the options that all measurements share, and errors."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import numpy
import scipy
import sklearn
from threadpoolctl import threadpool_info

import benchmarks
import sk_backprop
from benchmarks import accuracy, defaults, units
from benchmarks.problems import Problem, ProblemError, load

QUICK = ("diabetes", "friedman1-150", "sine", "noise")


def environment() -> str:
    """What computes: versions, and each BLAS with its kernel and threads."""
    modules = (sk_backprop, numpy, scipy, sklearn)
    blas = {
        f"{lib['internal_api']} {lib['version']}, kernel {lib.get('architecture', 'unknown')}, "
        f"threads: {lib['num_threads']}"
        for lib in threadpool_info()
        if lib["user_api"] == "blas"
    }
    versions = ", ".join(f"{module.__name__} {module.__version__}" for module in modules)
    return "\n".join([f"python {sys.version.split()[0]}, {versions}", *sorted(blas)])


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _picture_file(text: str) -> str:
    if not text.lower().endswith((".png", ".svg")):
        raise argparse.ArgumentTypeError(f"{text!r} ends in neither .png nor .svg")
    return text


def _shared_options(parser: argparse.ArgumentParser, splits: str) -> None:
    add = parser.add_argument
    text = "a folder of NAME.npz files with X, y, train_idx, test_idx (default: $SK_BACKPROP_DATA)"
    add("--data", metavar="FOLDER", default=os.environ.get("SK_BACKPROP_DATA"), help=text)
    text = "data sets to measure on (default: those of the folder, and all built-in ones)"
    add("--problems", metavar="NAME", nargs="+", help=text)
    text = f"splits of each data set (default: {splits})"
    add("--splits", metavar="N", type=_positive, help=text)
    text = f"one split of {', '.join(QUICK)}, unless other options say more"
    add("--quick", action="store_true", help=text)
    add("--out", metavar="FILE.csv", default=os.devnull, help="write a row for each fit at once")


def _accuracy_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    names = ", ".join(accuracy.COMPETITORS)
    text = f"any of {names} (default: all; with --quick: {', '.join(accuracy.QUICK)})"
    add("--competitors", metavar="NAME", nargs="+", choices=accuracy.COMPETITORS, help=text)
    text = "draw each result in relation to ours (needs matplotlib); .png or .svg"
    add("--plot", metavar="FILE", type=_picture_file, help=text)
    either = parser.add_mutually_exclusive_group()
    text = "keep the rows that the file of --out has, and measure the others"
    either.add_argument("--resume", action="store_true", help=text)
    text = "measure nothing: tabulate and draw these rows (of --problems and --competitors)"
    either.add_argument("--from-csv", metavar="FILE.csv", help=text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=benchmarks.__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (defaults, units, accuracy):
        name, about = module.__name__.rpartition(".")[2], module.__doc__
        command = commands.add_parser(name, help=about, description=about)
        _shared_options(command, "all, and 3 of a built-in set" if module is accuracy else "3")
        command.set_defaults(module=module)
    _accuracy_options(command)
    return parser


def _load(args: argparse.Namespace, n_splits: int | None) -> list[Problem]:
    names = args.problems or (QUICK if args.quick else ())
    return load(args.data, names, args.splits or (1 if args.quick else n_splits))


def _measure(args: argparse.Namespace) -> None:
    problems = _load(args, 3)
    with open(args.out, "w", newline="", encoding="utf-8") as out:
        print(environment())
        args.module.run(problems, out)


def _accuracy(args: argparse.Namespace) -> None:
    if args.plot:  # before an hour of measurements
        try:
            from benchmarks import picture
        except ImportError as error:
            raise ProblemError("--plot needs matplotlib, which is not installed") from error
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
    if args.plot:
        picture.draw(rows, args.plot)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        (_accuracy if args.module is accuracy else _measure)(args)
    except (ProblemError, OSError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
