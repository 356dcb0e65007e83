"""Time and memory of a fit against rows, columns of sparse X, and hidden units; rows on workers.

Each fit is made in a process of its own: `python -m benchmarks.scaling JSON` fits once and
prints seconds and memory as JSON. Rows on workers of dask: see `benchmarks.distributed`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from benchmarks import BenchmarkError, drawing
from benchmarks.distributed import EVALUATIONS
from benchmarks.problems import Array
from benchmarks.timing import timed
from sk_backprop import BackpropRegressor

ITERATIONS = {"lm": 2, "lbfgs": 5, "adam": 1, "sgd": 1}
DENSITY = 0.01
N_ROWS, N_COLUMNS, N_HIDDEN = 10_000, 20, 20  # where they do not vary
ROWS = (1_000, 10_000, 100_000, 1_000_000)
N_QUICK = 2  # values of each with --quick

# {series: (what varies, its values, the kind of X, the label of its panel)}
_LABEL = f"rows (of {N_COLUMNS} columns, {N_HIDDEN} units)"
SERIES = {
    "rows": ("n_samples", ROWS, "dense", _LABEL),
    "rows, mapped": ("n_samples", ROWS, "mapped", _LABEL),
    "columns": (
        "n_features",
        (10, 100, 1_000, 10_000),
        "sparse",
        f"columns (sparse, {DENSITY:.0%}; {N_ROWS:,} rows)",
    ),
    "hidden": (
        "n_hidden",
        (10, 30, 100, 300, 1_000),
        "dense",
        f"hidden units ({N_ROWS:,} x {N_COLUMNS})",
    ),
}

# The series of rows on workers, one evaluation each.
DISTRIBUTED = "workers"
N_WORKERS, N_HIDDEN_DISTRIBUTED = 2, 25
N_DISTRIBUTED = {False: 1_000_000, True: 50_000}  # rows, by --quick

# Beyond these, a step of lm is not affordable: multiply-adds, and parameters.
_LM_STEP, _LM_PARAMS = 5e11, 3000

# What a fit may hold beyond X.
MOST_MB = 200.0


@dataclass(frozen=True)
class Row:
    """One fit of `ITERATIONS`, or one evaluation on workers and in one thread.

    `peak_mb` is what was held beyond X at the most: by the resident set of the process, or
    for a mapped file by tracemalloc, in a second fit. `local_seconds` are those of one thread
    where `seconds` are those of `workers`, which are 0 for a fit.
    """

    series: str
    solver: str
    n_samples: int
    n_features: int
    n_hidden: int
    iterations: int
    seconds: float = math.nan
    x_mb: float = math.nan
    peak_mb: float = math.nan
    memory_by: str = ""
    workers: int = 0
    local_seconds: float = math.nan
    note: str = ""

    @property
    def x(self) -> int:
        """What varies in the series."""
        return self.workers or int(getattr(self, SERIES[self.series][0]))


# --- one fit ---

_MB = 2**20
_BLOCK = 2**18  # values that are made at a time, so that X alone is what they leave behind


def _fill(X: Array) -> Array:
    """Fill X with random numbers, in place; a target of them."""
    rng = np.random.default_rng(0)
    y = np.empty(len(X))
    step = max(1, _BLOCK // X.shape[1])
    for start in range(0, len(X), step):
        block = rng.normal(size=X[start : start + step].shape)
        X[start : start + step] = block
        y[start : start + step] = np.sin(block[:, 0]) + block[:, 1] + 0.1 * block[:, 2]
    return y


def data(kind: str, n_samples: int, n_features: int, folder: str) -> tuple[Any, Array]:
    """X, of a kind that is 'dense', 'sparse' or 'mapped', and y; `folder` holds its file."""
    if kind == "sparse":
        rng = np.random.default_rng(0)
        X = sp.csr_array(sp.random(n_samples, n_features, DENSITY, format="csr", random_state=rng))
        return X, X @ rng.normal(size=n_features) + 0.1 * rng.normal(size=n_samples)
    if kind == "dense":
        X = np.empty((n_samples, n_features))
        return X, _fill(X)
    path = Path(folder, "X.npy")
    mapped = np.lib.format.open_memmap(path, "w+", shape=(n_samples, n_features))
    y = _fill(mapped)
    mapped.flush()
    return np.load(path, mmap_mode="r"), y


def _status(name: str) -> float:
    """A size that Linux tells of this process, in MB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return float(text.partition(f"{name}:")[2].split()[0]) / 1024


def peak_resident(work: Callable[[], Any]) -> float:
    """MB by which the largest resident set during a call exceeds the one before it.

    Not getrusage's: a new process inherits in it what the one that started it held.
    """
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget earlier peaks
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def peak_traced(work: Callable[[], Any]) -> float:
    """MB that Python and numpy held at the most in a call, beyond what there was before.

    The pages of a mapped file count as resident, and here they do not.
    """
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / _MB
    finally:
        tracemalloc.stop()


def fit_once(kind: str, solver: str, n_samples: int, n_features: int, n_hidden: int) -> Any:
    """Fit once: {'seconds', 'x_mb', 'peak_mb', 'memory_by'}."""
    limits = {"max_iter": ITERATIONS[solver], "tol": 0.0, "n_iter_no_change": np.inf}
    model = BackpropRegressor((n_hidden,), solver=solver, alpha=1.0, random_state=0, **limits)
    seconds = []
    limited = threadpool_limits(1)
    with warnings.catch_warnings(), limited, tempfile.TemporaryDirectory() as folder:
        # Each fit ends at max_iter, so that the times are those of the same number of iterations.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # What is loaded at the first fit, and the buffers of BLAS at the first large product.
        small = np.random.default_rng(0).normal(size=(1000, 20))
        model.fit(small, small[:, 0])
        X, y = data(kind, n_samples, n_features, folder)

        def fit() -> None:
            seconds.append(timed(lambda: model.fit(X, y)))

        traced = kind == "mapped" or not Path("/proc/self/clear_refs").exists()
        if traced:
            fit()  # in the second one tracemalloc takes its time
        peak = peak_traced(fit) if traced else peak_resident(fit)
        held = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes if sp.issparse(X) else X.nbytes
    by = "tracemalloc" if traced else "resident set"
    return {"seconds": seconds[0], "x_mb": held / _MB, "peak_mb": peak, "memory_by": by}


# --- all fits ---


def cases(quick: bool = False) -> Iterator[Row]:
    """All that is to be measured, still empty."""
    for series, (varied, values, _, _) in SERIES.items():
        for value in values[: N_QUICK if quick else None]:
            for solver, iterations in ITERATIONS.items():
                row = Row(series, solver, N_ROWS, N_COLUMNS, N_HIDDEN, iterations)
                row = replace(row, **{varied: value})
                n_params = (row.n_features + 2) * row.n_hidden + 1
                affordable = n_params <= _LM_PARAMS and row.n_samples * n_params**2 <= _LM_STEP
                if solver != "lm" or affordable:
                    yield row
    shape = N_DISTRIBUTED[quick], N_COLUMNS, N_HIDDEN_DISTRIBUTED
    for solver in EVALUATIONS:
        yield Row(DISTRIBUTED, solver, *shape, iterations=1, workers=N_WORKERS)


def measure(row: Row) -> Row:
    """Fill a row, in a new process; the note has the last word of one that fails."""
    names = "solver", "n_samples", "n_features", "n_hidden"
    what: dict[str, Any] = {name: getattr(row, name) for name in names}
    module = "benchmarks.distributed" if row.workers else "benchmarks.scaling"
    what |= {"workers": row.workers} if row.workers else {"kind": SERIES[row.series][2]}
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", module, json.dumps(what)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    if told.returncode != 0:
        last = told.stderr.strip().splitlines()[-1:] or [f"exit status {told.returncode}"]
        return replace(row, note=f"failed: {last[0]}")
    return replace(row, **json.loads(told.stdout))


def add_options(parser: argparse.ArgumentParser) -> None:
    text = f"the first {N_QUICK} sizes of each series"
    parser.add_argument("--quick", action="store_true", help=text)
    text = "what to measure; by default everything"
    parser.add_argument("--series", nargs="+", choices=[*SERIES, DISTRIBUTED], help=text)
    text = "keep the rows of --out, and measure those that it lacks"
    parser.add_argument("--resume", action="store_true", help=text)


def run(args: argparse.Namespace) -> Iterator[Row]:
    done = {(row.series, row.solver, row.x) for row in args.done}
    for case in cases(args.quick):
        wanted = not args.series or case.series in args.series
        if not wanted or (case.series, case.solver, case.x) in done:
            continue
        print(f"{case.series}, {case.x:,}, {case.solver}", file=sys.stderr, flush=True)
        yield measure(case)


# --- the table and the picture ---


def growth(rows: Sequence[Row]) -> float:
    """P where seconds grow as x^p, between the last two values; NaN if there are not two."""
    found = sorted((row.x, row.seconds) for row in rows if row.seconds > 0)[-2:]
    if len(found) < 2:
        return math.nan
    (x0, t0), (x1, t1) = found
    return float(np.log(t1 / t0) / np.log(x1 / x0))


LEGEND = f"""\
Fits of {", ".join(f"{n} iterations ({solver})" for solver, n in ITERATIONS.items())}, one thread.
Seconds, and the most memory beyond X; p: seconds grow as x^p at the right end.
"""


def summarize(rows: Sequence[Row]) -> str:
    """A table for each series, with a line for each solver."""
    fits = [row for row in rows if not row.workers]
    lines = [LEGEND] if fits else []
    for series in dict.fromkeys(row.series for row in fits):
        here = [row for row in rows if row.series == series]
        values = sorted({row.x for row in here})
        mapped = " in a memory-mapped file" if series == "rows, mapped" else ""
        lines += [SERIES[series][3] + mapped, _line("", [f"{value:,}" for value in values], "p")]
        for solver in dict.fromkeys(row.solver for row in here):
            found = {row.x: row for row in here if row.solver == solver}
            cells = [_cell(found[value]) if value in found else "" for value in values]
            p = growth(list(found.values()))
            lines.append(_line(solver, cells, f"{p:.2f}".replace("nan", "")))
        lines.append("")
    if on_workers := [row for row in rows if row.workers]:
        lines += [*_table_of_workers(on_workers), ""]
    return "\n".join(line.rstrip() for line in lines[:-1])


def _table_of_workers(rows: Sequence[Row]) -> list[str]:
    """Seconds of an evaluation on workers and in one thread, and their ratio."""
    lines = [
        "one evaluation of rows on workers of one thread, of the same rows in one thread; ratio"
    ]
    for row in rows:
        size = f"{row.n_samples:,} x {row.n_features}, {row.n_hidden} units, {row.workers} workers"
        times = f"{row.seconds:.3g} s, {row.local_seconds:.3g} s"
        cells = f"{times}; {row.seconds / row.local_seconds:.2f}" if row.seconds > 0 else "failed"
        note = f" ({row.note})" if row.note else ""
        lines.append(f"  {EVALUATIONS[row.solver][0]:<16}  {size}: {cells}{note}")
    return lines


def _line(name: str, cells: Sequence[str], p: str) -> str:
    return f"  {name:<6}" + "".join(f"{cell:>20}" for cell in cells) + f"{p:>8}"


def _cell(row: Row) -> str:
    return f"{row.seconds:.3g} s {row.peak_mb:6.0f} MB" if row.seconds > 0 else "failed"


MAPPED: dict[str, Any] = {"ls": "--", "mfc": "white"}
_LEAST_MB = 0.1  # less is lost in the noise of pages


def draw(rows: Sequence[Row]) -> Any:
    """Seconds above and memory below, against what varies; a line for each solver."""
    if not (rows := [row for row in rows if row.seconds > 0 and not row.workers]):
        raise BenchmarkError("--plot draws fits, and there are none")
    styles: dict[str, dict[str, Any]] = {
        solver: {"color": color, "marker": marker, "ms": 4.5, "lw": 1.4}
        for solver, color, marker in zip(ITERATIONS, drawing.COLORS, "oDs^")
    }
    figure = drawing.figure(9, 5.6)
    panels = figure.subplots(2, 3, sharex="col", sharey="row")
    columns = dict(zip(dict.fromkeys(label for *_, label in SERIES.values()), panels.T))
    for series, (*_, label) in SERIES.items():
        column = columns[label]
        column[1].set_xlabel(label, fontsize=9)
        for solver, style in styles.items():
            here = [row for row in rows if (row.series, row.solver) == (series, solver)]
            if here:
                here.sort(key=lambda row: row.x)
                look, x = style | (MAPPED if series == "rows, mapped" else {}), [r.x for r in here]
                column[0].plot(x, [row.seconds for row in here], **look)
                column[1].plot(x, [max(row.peak_mb, _LEAST_MB) for row in here], **look)
    for axes in panels.flat:
        axes.set(xscale="log", yscale="log")
        axes.grid(color=drawing.LIGHT, lw=0.6)
        axes.tick_params(labelsize=8)
    panels[0, 0].set_ylabel("seconds", fontsize=9)
    panels[1, 0].set_ylabel("peak memory beyond X, MB", fontsize=9)
    for seconds, memory in panels.T:
        memory.axhline(MOST_MB, color=drawing.GREY, ls=":")
        # Of slope 1, through the middle of what is drawn.
        if lines := seconds.get_lines():
            points = np.concatenate([line.get_xydata() for line in lines])
            x, (middle, typical) = np.unique(points[:, 0]), np.exp(np.log(points).mean(axis=0))
            seconds.plot(x, typical * x / middle, color=drawing.GREY, ls=":")
    grey = {"color": drawing.GREY}
    entries = [style | {"label": solver} for solver, style in styles.items()]
    entries.append(grey | MAPPED | {"marker": "o", "ms": 4.5, "label": "X in a mapped file"})
    entries.append(grey | {"ls": ":", "label": "in proportion; 200 MB"})
    drawing.legend(figure, entries, ncols=6)
    return figure


if __name__ == "__main__":
    print(json.dumps(fit_once(**json.loads(sys.argv[1]))))
