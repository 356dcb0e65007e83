"""Error, log likelihood and coverage on test rows, beside other regressors."""

from __future__ import annotations

import argparse
import logging
import math
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
from scipy import stats
from scipy.special import betaln
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import BenchmarkError, drawing, problems, published
from benchmarks.problems import Array, Problem
from benchmarks.timing import timed
from sk_backprop import BackpropRegressor

PROBABILITIES = (0.5, 0.8, 0.95)
COVERAGES = ("coverage_50", "coverage_80", "coverage_95")
INTERVAL_SCORES = ("interval_score_80", "interval_score_95")
MEASURES = ("rmse", "log_likelihood", *COVERAGES, "crps", *INTERVAL_SCORES)


@dataclass(frozen=True)
class Row:
    """One fit.

    `rmse` is in units of y, `log_likelihood` the mean natural logarithm of the predicted
    density of a test row, `coverage_50` the part of the test rows in the central 50 %
    interval, `crps` the continuous ranked probability score and `interval_score_80` that of the
    central 80 % interval, both in units of y, and `seconds` the wall-clock time of the fit alone,
    in one thread. Only a distribution or intervals of the method's own are scored: for others
    those cells stay empty (NaN).
    """

    problem: str
    split: int
    competitor: str
    rmse: float = math.nan
    log_likelihood: float = math.nan
    coverage_50: float = math.nan
    coverage_80: float = math.nan
    coverage_95: float = math.nan
    crps: float = math.nan
    interval_score_80: float = math.nan
    interval_score_95: float = math.nan
    seconds: float = math.nan
    note: str = ""


def scores(y: Array, mean: Array, distribution: Any = None) -> dict[str, float]:
    """The measures of predictions; without a frozen distribution of scipy, the error alone."""
    found = [math.sqrt(np.mean((y - mean) ** 2))]
    if distribution is not None:
        found.append(float(np.mean(distribution.logpdf(y))))
        inside = np.abs(2 * distribution.cdf(y) - 1)
        found += [float(np.mean(inside <= p)) for p in PROBABILITIES]
        found.append(float(np.mean(crps(y, distribution))))
        intervals = [np.transpose(distribution.interval(p)) for p in PROBABILITIES[1:]]
        found += [interval_score(y, *one) for one in zip(intervals, PROBABILITIES[1:])]
    return dict(zip(MEASURES, found))


def interval_score(y: Array, interval: Array, probability: float) -> float:
    """Mean width of intervals, (n_rows, 2), and penalty for each y outside, in units of y.

    Gneiting & Raftery (2007), "Strictly proper scoring rules, prediction, and estimation",
    doi:10.1198/016214506000001437, eq. 43; smaller is better.
    """
    low, high = np.transpose(interval)
    outside = np.maximum(low - y, 0) + np.maximum(y - high, 0)
    return float(np.mean(high - low + 2 / (1 - probability) * outside))


def crps(y: Array, distribution: Any) -> Array:
    """Continuous ranked probability score of normal and t distributions, in units of y.

    Closed forms of Jordan, Krueger & Lerch (2019), "Evaluating probabilistic forecasts with
    scoringRules", doi:10.18637/jss.v090.i12, appendix A.
    """
    *dof, mean, scale = distribution.args
    z = (y - mean) / scale
    if not dof:
        unit = stats.norm.cdf(z), stats.norm.pdf(z), 1.0, 1 / math.sqrt(math.pi)
    else:
        (nu,) = dof
        ratio = np.exp(betaln(0.5, nu - 0.5) - 2 * betaln(0.5, nu / 2))
        tail, constant = (nu + z**2) / (nu - 1), 2 * np.sqrt(nu) / (nu - 1) * ratio
        unit = stats.t.cdf(z, nu), stats.t.pdf(z, nu), tail, constant
    cdf, pdf, tail, constant = unit
    return np.asarray(scale * (z * (2 * cdf - 1) + 2 * pdf * tail - constant))


# --- who competes ---


def mlp_scaled(problem: Problem) -> Any:
    """MLPRegressor in the pipeline that an expert would write."""
    scaled_X = make_pipeline(StandardScaler(), MLPRegressor(random_state=problem.split))
    return TransformedTargetRegressor(scaled_X, transformer=StandardScaler())


def _gp(problem: Problem) -> Any:
    kernel = ConstantKernel() * RBF(np.ones(problem.X_train.shape[1])) + WhiteKernel()
    options = {"n_restarts_optimizer": 1, "random_state": problem.split}
    process = GaussianProcessRegressor(kernel, normalize_y=True, **options)
    return make_pipeline(StandardScaler(), process)


def _realmlp(problem: Problem) -> Any:
    from pytabkit import RealMLP_TD_Regressor

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    return RealMLP_TD_Regressor(device="cpu", n_threads=1, random_state=problem.split)


def _catboost(problem: Problem) -> Any:
    from catboost import CatBoostRegressor

    return CatBoostRegressor(
        random_seed=problem.split, thread_count=1, verbose=False, allow_writing_files=False
    )


class NGBoost:
    """NGBoost with normal distributions, its default."""

    def __init__(self, random_state: int) -> None:
        self._random_state = random_state

    def fit(self, X: Array, y: Array) -> NGBoost:
        """Fit with the defaults."""
        from ngboost import NGBRegressor

        self._model = NGBRegressor(random_state=self._random_state, verbose=False).fit(X, y)
        return self

    def predict(self, X: Array) -> Array:
        """The mean."""
        return np.asarray(self._model.predict(X))

    def predict_dist(self, X: Array) -> Any:
        """A frozen distribution of scipy."""
        found = self._model.pred_dist(X).params
        return stats.norm(found["loc"], found["scale"])


class Conformal:
    """MAPIE's split conformal intervals around HistGradientBoosting, with a fifth set aside."""

    def __init__(self, random_state: int) -> None:
        self._random_state = random_state

    def fit(self, X: Array, y: Array) -> Conformal:
        """Fit to four fifths of the rows, and calibrate on the others."""
        from mapie.regression import SplitConformalRegressor

        model = HistGradientBoostingRegressor(random_state=self._random_state)
        levels = list(PROBABILITIES[1:])
        self._model = SplitConformalRegressor(model, confidence_level=levels, prefit=False)
        parts = train_test_split(X, y, test_size=0.2, random_state=self._random_state)
        self._model.fit(parts[0], parts[2]).conformalize(parts[1], parts[3])
        return self

    def predict(self, X: Array) -> Array:
        """The prediction of the model."""
        return np.asarray(self._model.predict(X))

    def predict_intervals(self, X: Array) -> Array:
        """Intervals of 80 and 95 %, (n_rows, 2, 2)."""
        return np.asarray(self._model.predict_interval(X)[1])


COMPETITORS = {
    "ours": lambda problem: BackpropRegressor(random_state=problem.split),
    "mlp": lambda problem: MLPRegressor(random_state=problem.split),
    "mlp_scaled": mlp_scaled,
    "hgb": lambda problem: HistGradientBoostingRegressor(random_state=problem.split),
    "gp": _gp,
    "realmlp": _realmlp,
    "catboost": _catboost,
    "ngboost": lambda problem: NGBoost(problem.split),
    "conformal": lambda problem: Conformal(problem.split),
}
# Those that are not scikit-learn's: the package that each needs.
PACKAGES = {"realmlp": "pytabkit", "catboost": "catboost", "ngboost": "ngboost"}
PACKAGES |= {"conformal": "mapie"}
QUICK = ("ours", "mlp_scaled")
WITH_STD = ("ours", "gp")
MOST_ROWS_OF_GP = 2000


def obstacle(name: str, problem: Problem) -> str:
    """Why a competitor does not run, or ''."""
    if name in PACKAGES and find_spec(PACKAGES[name]) is None:
        return f"{PACKAGES[name]} is not installed"
    if name == "gp" and len(problem.y_train) > MOST_ROWS_OF_GP:
        return f"{problem.name} has more than {MOST_ROWS_OF_GP:,} training rows"
    return ""


# --- the measurement ---


def measure(name: str, problem: Problem) -> Row:
    """Fit on the training rows and score the test rows.

    A fit that fails with ValueError leaves its measures empty; the note has its message.
    """
    row = Row(problem.name, problem.split, name)
    model = COMPETITORS[name](problem)
    distribution, intervals = None, None
    with warnings.catch_warnings():
        # Our fits must converge, so that a warning is an error. The defaults of competitors are
        # compared as they are, even where they end at max_iter, and RealMLP's dependencies issue
        # warnings of many categories.
        if name != "ours":
            category = Warning if name == "realmlp" else ConvergenceWarning
            warnings.simplefilter("ignore", category)
        try:
            seconds = timed(lambda: model.fit(problem.X_train, problem.y_train))
            mean = model.predict(problem.X_test)
            if hasattr(model, "predict_dist"):
                distribution = model.predict_dist(problem.X_test)
            elif name in WITH_STD:
                distribution = stats.norm(*model.predict(problem.X_test, return_std=True))
            if hasattr(model, "predict_intervals"):
                intervals = model.predict_intervals(problem.X_test)
        except ValueError as error:
            return replace(row, note=f"failed: {error}")
    note = f"{PACKAGES[name]} {version(PACKAGES[name])}" if name in PACKAGES else ""
    if isinstance(model, BackpropRegressor):
        note = "; ".join(
            f"{one['n_networks']} of {one['solver']} {one['hidden_layer_sizes']}, "
            f"weight {one['weight']:.2f}"
            for one in model.members_
        )
    found = scores(problem.y_test, np.ravel(mean), distribution)
    if intervals is not None:
        y = problem.y_test
        for k, (measure, probability) in enumerate(zip(INTERVAL_SCORES, PROBABILITIES[1:])):
            found[measure] = interval_score(y, intervals[..., k], probability)
        inside = (y >= intervals[:, 0].T) & (y <= intervals[:, 1].T)
        found |= dict(zip(COVERAGES[1:], inside.mean(axis=1).tolist()))
    return replace(row, **found, seconds=seconds, note=note)


def add_options(parser: argparse.ArgumentParser) -> None:
    problems.add_options(parser, None)
    names = ", ".join(COMPETITORS)
    text = f"any of {names} (default: all; with --quick: {', '.join(QUICK)})"
    parser.add_argument("--competitors", metavar="NAME", nargs="+", choices=COMPETITORS, help=text)
    text = "keep the rows that the file of --out has, and measure the others"
    parser.add_argument("--resume", action="store_true", help=text)


def run(args: argparse.Namespace) -> Iterator[Row]:
    """Measure the rows that are missing; name competitors that cannot run on standard error."""
    names = args.competitors or (QUICK if args.quick else COMPETITORS)
    done = {(row.problem, row.split, row.competitor) for row in args.done}
    named = set()
    for problem in args.chosen:
        print(problem, file=sys.stderr, flush=True)
        for name in names:
            if (problem.name, problem.split, name) in done:
                continue
            if not (why := obstacle(name, problem)):
                yield measure(name, problem)
            elif (name, why) not in named:
                print(f"{name} skipped: {why}", file=sys.stderr, flush=True)
                named.add((name, why))


# --- the table ---

LEGEND = """\
Mean over splits +/- its standard error; seconds: median of a fit in one thread. RMSE in
units of y; log likelihood: mean natural logarithm of the predicted density of a test row; CRPS:
continuous ranked probability score, in units of y; 50 %, 80 %, 95 %: the percentage of test
rows inside those central intervals; interval 80, 95: the score of the central 80 and 95 %
intervals, in units of y.
published: the best of the literature (benchmarks/published.py), and whose.

"""
_LINE = "  {:<11} {:>6}  {:<20} {:<18} {:<20} {:<12} {:<12} {:<12} {:<20} {:<20} {:>8}"


def by_split(rows: Sequence[Row], problem: str, name: str, measure: str) -> dict[int, float]:
    """{split: value} of a competitor on a problem, without NaN."""
    return {
        row.split: value
        for row in rows
        if (row.problem, row.competitor) == (problem, name)
        and not math.isnan(value := getattr(row, measure))
    }


def mean_and_error(values: Array) -> tuple[float, float]:
    """The mean, and its standard error (NaN for one value)."""
    n = len(values)
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan


def summarize(rows: Sequence[Row]) -> str:
    """For each problem, a line a competitor and the best published results."""
    heads: tuple[str, ...] = ("splits", "RMSE", "log likelihood", "CRPS", "50 %", "80 %", "95 %")
    heads += ("interval 80", "interval 95", "seconds")
    lines = [_LINE.format("", *heads)]
    for problem in dict.fromkeys(row.problem for row in rows):
        lines.append(problem)
        for name, n_rows in Counter(r.competitor for r in rows if r.problem == problem).items():
            found = {m: by_split(rows, problem, name, m) for m in (*MEASURES, "seconds")}
            cells = [_cell(found["rmse"], "{:#.4g}", "{:.2g}")]
            cells += [_cell(found["log_likelihood"], "{:.3f}", "{:.3f}")]
            cells += [_cell(found["crps"], "{:#.4g}", "{:.2g}")]
            cells += [_cell(found[m], "{:.1f}", "{:.1f}", 100) for m in COVERAGES]
            cells += [_cell(found[m], "{:#.4g}", "{:.2g}") for m in INTERVAL_SCORES]
            seconds = list(found["seconds"].values())
            cells += [f"{np.median(seconds):.2f}" if seconds else ""]
            failed = f"  ({n_rows - len(seconds)} failed)" if len(seconds) < n_rows else ""
            lines.append(_LINE.format(name, n_rows, *cells) + failed)
        if problem in published.RMSE:
            (rmse, first), (likelihood, second) = published.best(problem)
            line = _LINE.format("published", "", str(rmse), str(likelihood), *[""] * 7)
            lines.append(f"{line.rstrip()}  ({first}; {second})")
    return LEGEND + "\n".join(line.rstrip() for line in lines)


def _cell(values: dict[int, float], mean_format: str, error_format: str, factor: int = 1) -> str:
    """Mean +/- standard error, or nothing where nothing was measured."""
    if not values:
        return ""
    mean, error = mean_and_error(factor * np.array(list(values.values())))
    text = mean_format.format(mean)
    return text if math.isnan(error) else f"{text} +/- {error_format.format(error)}"


# --- the picture ---

# Labels of the picture, each with competitors or published methods; it shows their best result.
DRAWN: dict[str, tuple[str, ...]] = {
    "HistGradientBoosting": ("hgb",),
    "MLPRegressor, scaled X and y": ("mlp_scaled",),
    "Gaussian process": ("gp",),
    "probabilistic backpropagation*": ("PBP",),
    "Monte Carlo dropout*, best of four": ("MCD", "MCD 10x", "MCD grid", "MCD 2 layers"),
    "deep ensembles*": ("DE",),
}
STYLES: dict[str, dict[str, Any]] = {
    name: {"marker": marker, "color": color, "mfc": color if "*" not in name else "white"}
    for name, marker, color in zip(DRAWN, "sD^ovP", drawing.COLORS[1:], strict=False)
}
MARKER: dict[str, Any] = {"ls": "", "ms": 7, "mew": 1.5, "zorder": 3, "clip_on": False}

Values: TypeAlias = dict[str, tuple[float, float]]  # {competitor: (value, standard error)}


def beside_ours(rows: Sequence[Row], problem: str, measure: str) -> Values:
    """RMSE over that of ours, or log likelihood minus that of ours, on the same splits.

    The standard errors are those of paired differences; for the ratio, a ratio of means, of
    paired residuals. Ours has the error of its own mean; published results have none.
    """
    found: Values = {}
    of_ours = by_split(rows, problem, "ours", measure)
    for name in dict.fromkeys(row.competitor for row in rows):
        values = by_split(rows, problem, name, measure)
        if splits := [split for split in values if split in of_ours]:
            theirs, ours = (np.array([v[split] for split in splits]) for v in (values, of_ours))
            if measure == "rmse":
                value, unit = float(theirs.mean() / ours.mean()), ours.mean()
                differences = theirs - value * ours
            else:
                value, unit = float(np.mean(theirs - ours)), 1.0
                differences = theirs - ours
            values_of_error = ours if name == "ours" else differences
            found[name] = value, mean_and_error(values_of_error / unit)[1]
    mean = float(np.mean(list(of_ours.values()) or [math.nan]))
    if measure == "rmse":
        printed = published.with_digits(published.RMSE.get(problem, {}))
        return found | {method: (float(v) / mean, math.nan) for method, v in printed.items()}
    printed = published.LOG_LIKELIHOOD.get(problem, {})
    return found | {method: (float(v) - mean, math.nan) for method, v in printed.items()}


def draw(rows: Sequence[Row]) -> Any:
    """RMSE and log likelihood in relation to ours, a line a problem; better is on the left.

    Error bars, and the band of ours, are two standard errors to either side.
    """
    rows = [row for row in rows if not math.isnan(row.rmse)]
    names = list(dict.fromkeys(row.problem for row in rows if row.competitor == "ours"))
    if not names:
        raise BenchmarkError("--plot draws results in relation to ours: there are none")
    figure = drawing.figure(8, 1.9 + 0.6 * len(names))
    panels = figure.subplots(1, 2, sharey=True)
    _set_axes(panels, names)
    present = set()
    for line, problem in enumerate(names):
        for axes, measure in zip(panels, MEASURES[:2]):
            values = beside_ours(rows, problem, measure)
            if (band := values.get("ours")) and band[1] > 0:
                x = band[0] - 2 * band[1], band[0] + 2 * band[1]
                axes.fill_between(x, line - 0.5, line + 0.5, color=drawing.LIGHT, lw=0, zorder=0)
            drawn = _best(values, min if measure == "rmse" else max)
            present |= drawn.keys()
            for k, (name, value) in enumerate(drawn.items(), 1):
                _point(axes, line - 0.5 + k / (len(drawn) + 1), *value, STYLES[name])
    ours = {"color": drawing.LIGHT, "label": "BackpropRegressor \u00b1 2 standard errors"}
    entries = [STYLES[name] | MARKER | {"label": name} for name in DRAWN if name in present]
    drawing.legend(figure, [ours, *entries], ncols=2, title="* as published")
    return figure


def _best(values: Values, best: Any) -> Values:
    """The best result for each label of `DRAWN` that has results; `best` is min or max."""
    found = {name: [values[one] for one in keys if one in values] for name, keys in DRAWN.items()}
    return {name: best(results) for name, results in found.items() if results}


def _point(axes: Any, y: float, x: float, error: float, style: dict[str, Any]) -> None:
    """A marker and its error bar; off the axis a marker at its end, an arrow and the value."""
    low, high = axes.get_xlim()
    if min(low, high) <= x <= max(low, high):
        axes.plot(x, y, **style, **MARKER)
        if error > 0:
            axes.plot([x - 2 * error, x + 2 * error], [y, y], color=style["color"], lw=1.5)
        return
    before = (x < low) == (low < high)
    side, out, arrow = ("left", -1, "<") if before else ("right", 1, ">")
    end = 0.5 + 0.5 * out
    place = {"transform": axes.get_yaxis_transform()}  # x as a part of the axis
    axes.plot(end - 0.05 * out, y, **style, **MARKER, **place)
    axes.plot(end - 0.012 * out, y, arrow, color=style["color"], ms=3, **place)
    text = {"ha": side, "va": "center_baseline", "fontsize": 9, "color": "#333333"}
    axes.text(end - 0.09 * out, y, f"{x:,.3g}" if abs(x) < 100 else f"{x:,.0f}", **text, **place)


def _set_axes(panels: Any, names: Sequence[str]) -> None:
    """Scales, ticks and titles."""
    error, likelihood = panels
    error.set(xscale="log", xlim=(0.75, 7), title="Error of the predictions")
    error.set_xlabel("RMSE, BackpropRegressor = 1\n\u2190 better       worse \u2192")
    drawing.number_ticks(error, (1, 1.5, 2, 3, 5))
    likelihood.set_xscale("symlog", linthresh=0.2, linscale=0.8)
    likelihood.set(xlim=(3, -8), title="Fit of the predicted distributions")
    text = "log likelihood, BackpropRegressor = 0\n\u2190 better       worse \u2192"
    likelihood.set_xlabel(text)
    drawing.number_ticks(likelihood, (2, 0.5, 0, -0.5, -2, -5))
    for axes, x in zip(panels, (1.0, 0.0), strict=True):
        axes.axvline(x, color="black", lw=1.2, zorder=1)
        for y in range(1, len(names)):
            axes.axhline(y - 0.5, color="#AAAAAA", lw=0.6)
        axes.title.set_fontsize(12)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(labelsize=11)
        axes.xaxis.label.set_fontsize(11)
    error.set_yticks(range(len(names)), [published.SHORT.get(name, name) for name in names])
    error.set_ylim(len(names) - 0.5, -0.5)
