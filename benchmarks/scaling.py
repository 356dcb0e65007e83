"""Time and memory of a fit against rows, columns of sparse X, and hidden units."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TextIO

import numpy as np

from benchmarks import files
from benchmarks.scaling_fit import DENSITY, ITERATIONS

SOLVERS = tuple(ITERATIONS)
N_ROWS, N_COLUMNS, N_HIDDEN = 10_000, 20, 20  # where they do not vary
ROWS = 1_000, 10_000, 100_000, 1_000_000
COLUMNS = 10, 100, 1_000, 10_000
HIDDEN = 10, 30, 100, 300, 1_000
N_QUICK = 2  # values of each with --quick

# {series: what varies, and of what kind X is}
SERIES = {
    "rows": ("n_samples", "dense"),
    "rows, mapped": ("n_samples", "mapped"),
    "columns": ("n_features", "sparse"),
    "hidden": ("n_hidden", "dense"),
}
ABOUT = {
    "rows": f"rows of {N_COLUMNS} columns, ({N_HIDDEN},)",
    "rows, mapped": f"rows of {N_COLUMNS} columns in a memory-mapped file, ({N_HIDDEN},)",
    "columns": f"columns of sparse X, {DENSITY:.0%} dense, {N_ROWS:,} rows, ({N_HIDDEN},)",
    "hidden": f"hidden units, {N_ROWS:,} x {N_COLUMNS}",
}
_VALUES = {"n_samples": ROWS, "n_features": COLUMNS, "n_hidden": HIDDEN}

# Beyond these, a step of lm is not affordable: multiply-adds, and parameters.
_LM_STEP, _LM_PARAMS = 5e11, 3000

# What a fit may hold beyond X.
MOST_MB = 200.0


@dataclass(frozen=True)
class Row:
    """One fit of `ITERATIONS`; the fields are the columns of the CSV.

    `peak_mb` is what was held beyond X at the most: by the resident set of the process, or
    for a mapped file by tracemalloc, in a second fit.
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
    note: str = ""

    @property
    def x(self) -> int:
        """What varies in the series."""
        return int(getattr(self, SERIES[self.series][0]))


def cases(quick: bool = False) -> Iterator[Row]:
    """All that is to be measured, still empty."""
    for series, (varied, _) in SERIES.items():
        for value in _VALUES[varied][: N_QUICK if quick else None]:
            for solver in SOLVERS:
                row = Row(series, solver, N_ROWS, N_COLUMNS, N_HIDDEN, ITERATIONS[solver])
                row = replace(row, **{varied: value})
                if _affordable(row):
                    yield row


def _affordable(row: Row) -> bool:
    n_params = (row.n_features + 2) * row.n_hidden + 1
    if row.solver != "lm":
        return True
    return n_params <= _LM_PARAMS and row.n_samples * n_params**2 <= _LM_STEP


def measure(row: Row) -> Row:
    """Fill a row, by a fit in a new process; the note has the last word of one that fails."""
    names = "solver", "n_samples", "n_features", "n_hidden"
    what = {"kind": SERIES[row.series][1]} | {name: asdict(row)[name] for name in names}
    command = [sys.executable, "-m", "benchmarks.scaling_fit", json.dumps(what)]
    path = os.pathsep.join(filter(None, sys.path))  # the same modules as here
    told = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path}
    )
    if told.returncode != 0:
        last = told.stderr.strip().splitlines()[-1:] or [f"exit status {told.returncode}"]
        return replace(row, note=f"failed: {last[0]}")
    return replace(row, **json.loads(told.stdout))


def run(out: TextIO, quick: bool) -> list[Row]:
    """The subcommand: each row goes to `out` once it is measured."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(files.columns(Row))
    rows: list[Row] = []
    for case in cases(quick):
        print(f"{case.series}, {case.x:,}, {case.solver}", file=sys.stderr, flush=True)
        rows.append(measure(case))
        writer.writerow(files.cells(rows[-1]))
        out.flush()
    return rows


def growth(rows: Sequence[Row]) -> float:
    """P where seconds grow as x^p, between the last two values; NaN if there are not two."""
    found = sorted((row.x, row.seconds) for row in rows if row.seconds > 0)[-2:]
    if len(found) < 2:
        return math.nan
    (x0, t0), (x1, t1) = found
    return float(np.log(t1 / t0) / np.log(x1 / x0))


LEGEND = f"""\
Fits of {", ".join(f"{n} iterations ({solver})" for solver, n in ITERATIONS.items())}, one thread.
Seconds, and the most memory beyond X; p: seconds grow as x^p at the right end."""


def summarize(rows: Sequence[Row]) -> str:
    """A table for each series, with a line for each solver."""
    lines = []
    for series in dict.fromkeys(row.series for row in rows):
        here = [row for row in rows if row.series == series]
        values = sorted({row.x for row in here})
        lines += ["", ABOUT[series], _line("", [f"{value:,}" for value in values], "p")]
        for solver in dict.fromkeys(row.solver for row in here):
            found = {row.x: row for row in here if row.solver == solver}
            cells = [_cell(found[value]) if value in found else "" for value in values]
            p = growth(list(found.values()))
            lines.append(_line(solver, cells, f"{p:.2f}".replace("nan", "")))
    return "\n".join(line.rstrip() for line in lines[1:])


def _line(name: str, cells: Sequence[str], p: str) -> str:
    return f"  {name:<6}" + "".join(f"{cell:>20}" for cell in cells) + f"{p:>8}"


def _cell(row: Row) -> str:
    if math.isnan(row.seconds):
        return "failed"
    return f"{row.seconds:.3g} s {row.peak_mb:6.0f} MB"
