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
from benchmarks import defaults, units
from benchmarks.problems import ProblemError, load

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


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    add = shared.add_argument
    text = "a folder of NAME.npz files with X, y, train_idx, test_idx (default: $SK_BACKPROP_DATA)"
    add("--data", metavar="FOLDER", default=os.environ.get("SK_BACKPROP_DATA"), help=text)
    text = "data sets to measure on (default: those of the folder, and all built-in ones)"
    add("--problems", metavar="NAME", nargs="+", help=text)
    add("--splits", metavar="N", type=_positive, help="splits of each data set (default: 3)")
    text = f"one split of {', '.join(QUICK)}, unless other options say more"
    add("--quick", action="store_true", help=text)
    add("--out", metavar="FILE.csv", default=os.devnull, help="write a row for each fit at once")
    parser = argparse.ArgumentParser("python -m benchmarks", description=benchmarks.__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (defaults, units):
        name, about = module.__name__.rpartition(".")[2], module.__doc__
        command = commands.add_parser(name, parents=[shared], help=about, description=about)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    names = args.problems or (QUICK if args.quick else ())
    try:
        problems = load(args.data, names, args.splits or (1 if args.quick else 3))
        with open(args.out, "w", newline="", encoding="utf-8") as out:
            print(environment())
            args.run(problems, out)
    except (ProblemError, OSError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
