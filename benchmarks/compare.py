"""Two versions of the package, by the same fits: ratio of times, and whether bits are the same.

With one version and two numbers of threads, it measures what further threads gain.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import BenchmarkError, problems
from benchmarks.problems import Problem
from benchmarks.timing import timed
from sk_backprop import BackpropRegressor

# {name of --settings: parameters}
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    **{
        solver: {"solver": solver, "hidden_layer_sizes": (20,), "alpha": 1.0, "n_networks": 1}
        for solver in ("lm", "lbfgs", "adam", "sgd")
    },
}


@dataclass(frozen=True)
class Row:
    """One setting on one split.

    `ratio` is the median time of the new version over that of the old one: lower is better.
    `bits` says whether means and standard deviations of test rows are 'same' in all fits,
    and `difference` by how much they differ, in standard deviations of the test target.
    """

    problem: str
    split: int
    setting: str
    old_median_s: float
    new_median_s: float
    ratio: float
    bits: str
    difference: float
    repeats: int


def _answer() -> None:
    """Make the fits that standard input asks for; all this in a process of one version."""
    for line in sys.stdin:
        path, setting, seed = json.loads(line)
        with np.load(path) as file:
            X, y, X_test = (file[name] for name in ("X_train", "y_train", "X_test"))
        model = BackpropRegressor(**SETTINGS[setting], random_state=seed)
        seconds = timed(partial(model.fit, X, y))
        predicted = np.array(model.predict(X_test, return_std=True), dtype=float)
        print(json.dumps([seconds, predicted.tolist()]), flush=True)  # all bits of a float


def _started(folder: str, n_threads: int, work: Path, stack: ExitStack) -> subprocess.Popen[str]:
    """A process that imports the package of a folder, and these benchmarks.

    Parameters
    ----------
    folder : str
    n_threads : int, that BLAS may use
    work : Path, a new folder
    stack : ExitStack, which ends the process
    """
    work.mkdir()
    # The package alone: a checkout has benchmarks of its own.
    (work / "sk_backprop").symlink_to(Path(folder, "sk_backprop").resolve())
    path = os.pathsep.join([str(work), str(Path(__file__).parents[1])])
    names = "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "benchmarks.compare"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | dict.fromkeys(names, str(n_threads)) | {"PYTHONPATH": path},
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def _asked(process: Any, *fit: Any) -> tuple[float, Any]:
    """The seconds of a fit, and its predictions."""
    print(json.dumps(fit), file=process.stdin, flush=True)
    if not (line := process.stdout.readline()):
        raise BenchmarkError("a process has ended; its last words are above")
    seconds, predicted = json.loads(line)
    return seconds, np.array(predicted)


def measure(problem: Problem, setting: str, path: Path, processes: Any, repeats: int) -> Row:
    """Fit by old, new, new, old, old, ...: neither is always the first."""
    arrays = {name: getattr(problem, name) for name in ("X_train", "y_train", "X_test")}
    np.savez(path, **arrays)
    fits: tuple[list[Any], list[Any]] = ([], [])
    for which in ([0, 1, 1, 0] * repeats)[: 2 * repeats]:
        fits[which].append(_asked(processes[which], str(path), setting, problem.split))
    old, new = (float(np.median([seconds for seconds, _ in part])) for part in fits)
    predicted = [values for part in fits for _, values in part]
    same = all(values.tobytes() == predicted[0].tobytes() for values in predicted)
    difference = float(np.ptp(predicted, axis=0).max() / problem.y_test.std())
    bits = "same" if same else "differ"
    of_fit = problem.name, problem.split, setting
    return Row(*of_fit, old, new, new / old, bits, difference, repeats)


def _version(text: str) -> str:
    if not Path(text, "sk_backprop").is_dir():
        raise argparse.ArgumentTypeError(f"{text} holds no folder sk_backprop")
    return text


def add_options(parser: argparse.ArgumentParser) -> None:
    for name in ("old", "new"):
        text = "a folder that holds sk_backprop: a checkout, or the site-packages of an environment"
        parser.add_argument(name, metavar=name.upper(), type=_version, help=text)
    problems.add_options(parser, 1)
    text = f"any of {', '.join(SETTINGS)} (default: all)"
    parser.add_argument("--settings", metavar="NAME", nargs="+", choices=SETTINGS, help=text)
    text = "threads that each version may use (default: 1 1)"
    parser.add_argument(
        "--threads", metavar="N", nargs=2, type=problems.positive, default=[1, 1], help=text
    )
    text = "fits of each version, by turns (default: 5)"
    parser.add_argument("--repeats", metavar="N", type=problems.positive, default=5, help=text)


def run(args: argparse.Namespace) -> Iterator[Row]:
    """Each version has one process, whose first fit warms up."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        work = Path(folder)
        versions = zip(("old", "new"), (args.old, args.new), args.threads)
        processes = [_started(at, n, work / name, stack) for name, at, n in versions]
        warm_up = problems.load(None, ["diabetes"], 1)[0]
        measure(warm_up, "lbfgs", work / "data.npz", processes, 1)
        for problem in args.chosen:
            print(problem, file=sys.stderr, flush=True)
            for setting in args.settings or SETTINGS:
                yield measure(problem, setting, work / "data.npz", processes, args.repeats)


_LINE = "{:<28} {:>5}  {:<10} {:>10} {:>10} {:>7}  {}"


def summarize(rows: Sequence[Row]) -> str:
    """A line for each row, and all of them together."""
    lines = ["Median time of a fit, and that of the new version over the old: lower is better.", ""]
    lines.append(_LINE.format("", "split", "setting", "old", "new", "ratio", "bits"))
    for row in rows:
        times = [f"{row.old_median_s:.3g} s", f"{row.new_median_s:.3g} s", f"{row.ratio:.3f}"]
        bits = row.bits if row.bits == "same" else f"differ, by {row.difference:.1g}"
        lines.append(_LINE.format(row.problem, row.split, row.setting, *times, bits))
    mean = math.exp(np.mean(np.log([row.ratio for row in rows]))) if rows else math.nan
    n_same = sum(row.bits == "same" for row in rows)
    lines += ["", f"ratio, geometric mean: {mean:.3f}; same bits: {n_same} of {len(rows)}"]
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    _answer()
