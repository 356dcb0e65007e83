"""Error, log likelihood and coverage on test rows, beside other regressors."""

from __future__ import annotations

import csv
import logging
import math
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, TextIO

import numpy as np
from scipy.special import ndtri
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks import files, published
from benchmarks.defaults import spell
from benchmarks.fitting import fit_predict, show
from benchmarks.problems import Array, Problem
from sk_backprop import BackpropRegressor

PROBABILITIES = (0.5, 0.8, 0.95)
MEASURES = ("rmse", "log_likelihood", "coverage_50", "coverage_80", "coverage_95")


# --- what is measured ---


@dataclass(frozen=True)
class Row:
    """One fit; the fields are the columns of the CSV, where NaN is an empty cell.

    `rmse` is in units of y, `log_likelihood` the mean natural logarithm of the Gaussian
    density of a test row, `coverage_50` the part of the test rows in the central 50 %
    interval of that Gaussian, `seconds` the wall-clock time of the fit alone, in one thread.
    """

    problem: str
    split: int
    competitor: str
    rmse: float = math.nan
    log_likelihood: float = math.nan
    coverage_50: float = math.nan
    coverage_80: float = math.nan
    coverage_95: float = math.nan
    seconds: float = math.nan
    note: str = ""

    @property
    def key(self) -> tuple[str, int, str]:
        """What the row is of."""
        return self.problem, self.split, self.competitor


def scores(y: Array, mean: Array, std: Array | None = None) -> dict[str, float]:
    """The measures of Gaussian predictions; without `std`, the error alone."""
    residuals = y - mean
    found = [math.sqrt(np.mean(residuals**2))]
    if std is not None:
        z = residuals / std
        found.append(float(np.mean(-0.5 * z**2 - np.log(math.sqrt(2 * math.pi) * std))))
        found += [float(np.mean(np.abs(z) <= ndtri((1 + p) / 2))) for p in PROBABILITIES]
    return dict(zip(MEASURES, found))


# --- who competes ---


@dataclass(frozen=True)
class Competitor:
    """A regressor: how it is made for a problem, and what it can do.

    Only a std of the method's own is scored: for the others, log likelihood and coverage
    stay empty.
    """

    make: Callable[[Problem], Any]
    has_std: bool = False
    max_samples: float = math.inf
    package: str = ""  # that it needs beside scikit-learn
    silenced: tuple[type[Warning], ...] = (ConvergenceWarning,)

    def obstacle(self, problem: Problem) -> str:
        """Why it does not run, or ''."""
        if self.package and find_spec(self.package) is None:
            return f"{self.package} is not installed"
        if len(problem.y_train) > self.max_samples:
            return f"{problem.name} has more than {self.max_samples:,} training rows"
        return ""


def _ours(problem: Problem) -> Any:
    return BackpropRegressor(random_state=problem.split)


def _mlp(problem: Problem) -> Any:
    return MLPRegressor(random_state=problem.split)


def _mlp_scaled(problem: Problem) -> Any:
    scaled_X = make_pipeline(StandardScaler(), _mlp(problem))
    return TransformedTargetRegressor(scaled_X, transformer=StandardScaler())


def _hgb(problem: Problem) -> Any:
    return HistGradientBoostingRegressor(random_state=problem.split)


def _gp(problem: Problem) -> Any:
    scales = np.ones(problem.X_train.shape[1])
    kernel = ConstantKernel() * RBF(scales) + WhiteKernel()
    process = GaussianProcessRegressor(
        kernel, normalize_y=True, n_restarts_optimizer=1, random_state=problem.split
    )
    return make_pipeline(StandardScaler(), process)


def _realmlp(problem: Problem) -> Any:
    from pytabkit import RealMLP_TD_Regressor

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    return RealMLP_TD_Regressor(device="cpu", n_threads=1, random_state=problem.split)


COMPETITORS = {
    "ours": Competitor(_ours, has_std=True, silenced=()),
    "mlp": Competitor(_mlp),
    "mlp_scaled": Competitor(_mlp_scaled),
    "hgb": Competitor(_hgb),
    "gp": Competitor(_gp, has_std=True, max_samples=2000),
    "realmlp": Competitor(_realmlp, package="pytabkit", silenced=(Warning,)),
}
QUICK = ("ours", "mlp_scaled")


def measure(name: str, problem: Problem) -> Row:
    """Fit on the training rows and score the test rows.

    A fit that fails with ValueError leaves its measures empty; the note has its message.
    """
    competitor = COMPETITORS[name]
    row = Row(problem.name, problem.split, name)
    model = competitor.make(problem)
    options = {"return_std": True} if competitor.has_std else {}
    try:
        with threadpool_limits(1):
            seconds, prediction, caught = fit_predict(model, problem, **options)
    except ValueError as error:
        return replace(row, note=f"failed: {error}")
    show(caught, competitor.silenced)
    mean, std = prediction if competitor.has_std else (prediction, None)
    found: dict[str, Any] = scores(problem.y_test, np.ravel(mean), std)
    return replace(row, **found, seconds=seconds, note=_note(competitor, model))


def _note(competitor: Competitor, model: Any) -> str:
    """The shape of our own networks, or the version of the package it needs."""
    if isinstance(model, BackpropRegressor):
        names = "hidden_layer_sizes", "n_networks"
        return spell({name: getattr(model, f"{name}_") for name in names})
    return f"{competitor.package} {version(competitor.package)}" if competitor.package else ""


# --- the CSV ---


def read(path: str) -> list[Row]:
    """The rows of a CSV that this command has written."""
    return files.read(path, Row)


def select(
    rows: Iterable[Row], problems: Collection[str] | None, competitors: Collection[str] | None
) -> list[Row]:
    """The rows of these problems and competitors; None is all."""
    return [
        row
        for row in rows
        if (not problems or row.problem in problems)
        and (not competitors or row.competitor in competitors)
    ]


def run(
    problems: Iterable[Problem], out: TextIO, names: Iterable[str], done: Sequence[Row] = ()
) -> list[Row]:
    """The subcommand: measure what is not done, in order; each row goes to `out` at once.

    Parameters
    ----------
    problems : iterable of Problem
    out : text file
        A header comes first unless there are rows already.
    names : iterable of str
        Keys of `COMPETITORS`. Whoever cannot run is left out, and standard error says why.
    done : sequence of Row
        Rows that the file has already.

    Returns
    -------
    rows : list of Row
        The done ones and then the new.
    """
    writer = csv.writer(out, lineterminator="\n")
    if not done:
        writer.writerow(files.columns(Row))
    rows, known, told = list(done), {row.key for row in done}, set()
    for problem in problems:
        shape = "{} x {}".format(*problem.X_train.shape)
        print(f"{problem.name}, split {problem.split}: {shape}", file=sys.stderr, flush=True)
        for name in names:
            if (problem.name, problem.split, name) in known:
                continue
            if why := COMPETITORS[name].obstacle(problem):
                if (name, why) not in told:
                    print(f"{name} skipped: {why}", file=sys.stderr, flush=True)
                told.add((name, why))
                continue
            rows.append(measure(name, problem))
            writer.writerow(files.cells(rows[-1]))
            out.flush()
    return rows


# --- the table ---

LEGEND = """\
Mean over splits +/- its standard error; seconds: median of a fit in one thread. RMSE in
units of y; log likelihood: mean natural logarithm of the Gaussian density of a test row;
50 %, 80 %, 95 %: the percentage of test rows inside those central intervals.
published: the best of the literature (benchmarks/published.py), and whose."""


def mean_and_error(values: Array) -> tuple[float, float]:
    """The mean, and its standard error (NaN for one value)."""
    n = len(values)
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan


def summarize(rows: Sequence[Row]) -> str:
    """A table: for each problem, a line a competitor and the best published results."""
    lines = [
        _LINE.format("", "splits", "RMSE", "log likelihood", "50 %", "80 %", "95 %", "seconds")
    ]
    for problem in dict.fromkeys(row.problem for row in rows):
        lines.append(problem)
        here = [row for row in rows if row.problem == problem]
        for name in dict.fromkeys(row.competitor for row in here):
            lines.append(_line(name, [row for row in here if row.competitor == name]))
        if problem in published.RMSE:
            (rmse, first), (likelihood, second) = published.best(problem)
            lines.append(_LINE.format("published", "", str(rmse), str(likelihood), *[""] * 4))
            lines[-1] = f"{lines[-1].rstrip()}  ({first}; {second})"
    return "\n".join(line.rstrip() for line in lines)


_LINE = "  {:<11} {:>6}  {:<20} {:<18} {:<12} {:<12} {:<12} {:>8}"


def _line(name: str, rows: Sequence[Row]) -> str:
    columns = {measure: np.array([getattr(row, measure) for row in rows]) for measure in MEASURES}
    cells = [_cell(columns["rmse"], "{:#.4g}", "{:.2g}")]
    cells += [_cell(columns["log_likelihood"], "{:.3f}", "{:.3f}")]
    cells += [_cell(100 * columns[m], "{:.1f}", "{:.1f}") for m in MEASURES[2:]]
    seconds = [row.seconds for row in rows if not math.isnan(row.rmse)]
    cells += [f"{np.median(seconds):.2f}" if seconds else ""]
    failed = len(rows) - len(seconds)
    return _LINE.format(name, len(rows), *cells) + (f"  ({failed} failed)" if failed else "")


def _cell(values: Array, mean_format: str, error_format: str) -> str:
    """Mean +/- standard error, or nothing where nothing was measured."""
    values = values[~np.isnan(values)]
    if not len(values):
        return ""
    mean, error = mean_and_error(values)
    text = mean_format.format(mean)
    return text if math.isnan(error) else f"{text} +/- {error_format.format(error)}"
