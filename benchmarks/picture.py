"""The picture of `python -m benchmarks accuracy --plot`; needs matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks import drawing, published
from benchmarks.accuracy import MEASURES, PROBABILITIES, Row, mean_and_error
from benchmarks.problems import Array, ProblemError

LABELS = {
    "ours": "BackpropRegressor",
    "gp": "Gaussian process",
    "realmlp": "RealMLP",
    "hgb": "HistGradientBoosting",
    "mlp_scaled": "MLPRegressor, scaled",
    "mlp": "MLPRegressor",
}
# Two signs for each, shape and colour. What is published is grey and hollow.
PUBLISHED = dict(zip(published.METHODS, "+xosD^v*", strict=True))
STYLES: dict[str, dict[str, Any]] = {
    name: {"marker": marker, "color": color, "mfc": color}
    for name, marker, color in zip(LABELS, "oDs^vX", drawing.COLORS, strict=True)
} | {name: {"marker": m, "color": "#555555", "mfc": "white"} for name, m in PUBLISHED.items()}
MARKER: dict[str, Any] = {"ms": 5.5, "mew": 1.0, "zorder": 3, "clip_on": False}
BAND = drawing.LIGHT
COVERAGE = MEASURES[2:]

Group: TypeAlias = dict[str, dict[int, Row]]  # {competitor: {split: row}} of a problem
Values: TypeAlias = dict[str, tuple[float, float]]  # {competitor: (value, standard error)}


def grouped(rows: Sequence[Row]) -> dict[str, Group]:
    """{problem: its rows} of the problems that ours was measured on, without failed fits."""
    groups: dict[str, Group] = {}
    for row in rows:
        if math.isnan(row.rmse):
            continue
        groups.setdefault(row.problem, {}).setdefault(row.competitor, {})[row.split] = row
    groups = {problem: group for problem, group in groups.items() if "ours" in group}
    if not groups:
        raise ProblemError("--plot draws results in relation to ours, and there are none of ours")
    return groups


def _paired(group: Group, name: str, measure: str) -> tuple[Array, Array]:
    """A measure of a competitor and of ours, on the splits on which both have it."""
    ours = group["ours"]
    pairs = [
        (getattr(row, measure), getattr(ours[split], measure))
        for split, row in group[name].items()
        if split in ours
    ]
    values = np.array(pairs, dtype=float).reshape(-1, 2)
    values = values[~np.isnan(values).any(axis=1)]
    return values[:, 0], values[:, 1]


def errors(problem: str, group: Group) -> Values:
    """RMSE over that of ours, as a ratio of means, whose error is that of paired residuals.

    Ours is 1, with the error of its own mean; what is published has none.
    """
    found: Values = {}
    for name in group:
        theirs, ours = _paired(group, name, "rmse")
        if len(ours):
            ratio = theirs.mean() / ours.mean()
            spread = ours if name == "ours" else theirs - ratio * ours
            found[name] = float(ratio), mean_and_error(spread / ours.mean())[1]
    _, ours = _paired(group, "ours", "rmse")
    for method, value in published.with_digits(published.RMSE.get(problem, {})).items():
        found[method] = float(value) / float(ours.mean()), math.nan
    return found


def log_likelihoods(problem: str, group: Group) -> Values:
    """Log likelihood minus that of ours, with the error of paired differences."""
    found: Values = {}
    for name in group:
        theirs, ours = _paired(group, name, "log_likelihood")
        if len(ours):
            spread = ours if name == "ours" else theirs - ours
            found[name] = float(np.mean(theirs - ours)), mean_and_error(spread)[1]
    _, ours = _paired(group, "ours", "log_likelihood")
    for method, value in published.LOG_LIKELIHOOD.get(problem, {}).items():
        found[method] = float(value) - float(ours.mean()), math.nan
    return found


def coverages(group: Group, measure: str) -> Values:
    """Percentage of test rows inside an interval."""
    found: Values = {}
    for name, by_split in group.items():
        values = 100 * np.array([getattr(row, measure) for row in by_split.values()])
        if len(values := values[~np.isnan(values)]):
            found[name] = mean_and_error(values)
    return found


def draw(rows: Sequence[Row], path: str) -> None:
    """Draw RMSE and log likelihood in relation to ours, and coverage; a line a problem.

    Error bars, and the band of ours, are two standard errors to either side.
    """
    groups = grouped(rows)
    known = {name for group in groups.values() for name in group}
    measured = [name for name in LABELS if name in known and name != "ours"]
    methods = list(PUBLISHED) if published.RMSE.keys() & groups.keys() else []
    lanes = {name: k for k, name in enumerate(measured)}
    lanes |= {name: len(measured) + k % 2 for k, name in enumerate(methods)}  # they share two
    n_lanes = max(lanes.values(), default=0) + 1
    covering = {name for group in groups.values() for name in coverages(group, COVERAGE[0])}
    with_std = [name for name in LABELS if name in covering]

    figure = drawing.figure(9, 1.9 + len(groups) * max(0.35, 0.12 * n_lanes))
    panels = figure.subplots(1, 3, sharey=True, width_ratios=(4, 3.2, 2.8))
    _set_axes(panels, list(groups))
    for line, (problem, group) in enumerate(groups.items()):
        for axes, values in zip(panels, (errors(problem, group), log_likelihoods(problem, group))):
            if (band := values.pop("ours", None)) and band[1] > 0:
                x = band[0] - 2 * band[1], band[0] + 2 * band[1]
                axes.fill_between(x, line - 0.5, line + 0.5, color=BAND, lw=0, zorder=0)
            for name, value in values.items():
                _point(axes, _position(line, lanes[name], n_lanes), *value, STYLES[name])
        for measure in COVERAGE:
            for name, value in coverages(group, measure).items():
                y = _position(line, with_std.index(name), len(with_std))
                _point(panels[2], y, *value, STYLES[name])
    _legend(figure, measured, methods)
    drawing.save(figure, path)


def _position(line: int, lane: int, n_lanes: int) -> float:
    return line - 0.5 + (lane + 1) / (n_lanes + 1)


def _point(axes: Any, y: float, x: float, error: float, style: dict[str, Any]) -> None:
    """A marker and its error bar; off the axis a marker at its end, an arrow and the value."""
    low, high = axes.get_xlim()
    if low <= x <= high:
        axes.plot(x, y, **style, **MARKER)
        if error > 0:
            axes.plot([x - 2 * error, x + 2 * error], [y, y], color=style["color"], lw=1.3)
        return
    side, out, arrow = ("left", -1, "<") if x < low else ("right", 1, ">")
    end = 0.5 + 0.5 * out
    place = {"transform": axes.get_yaxis_transform()}  # x as a part of the axis
    axes.plot(end - 0.035 * out, y, **style, **MARKER, **place)
    axes.plot(end - 0.012 * out, y, arrow, color=style["color"], ms=2.5, **place)
    text = {"ha": side, "va": "center_baseline", "fontsize": 7.5, "color": "#333333"}
    axes.text(end - 0.06 * out, y, f"{x:,.3g}" if abs(x) < 100 else f"{x:,.0f}", **text, **place)


def _set_axes(panels: Any, problems: Sequence[str]) -> None:
    """Scales, ticks and titles."""
    error, likelihood, coverage = panels
    error.set(xscale="log", xlim=(0.4, 8), title="RMSE (BackpropRegressor: 1)")
    ticks: tuple[float, ...] = (0.5, 0.7, 1, 1.5, 2, 3, 5)
    error.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    error.set_xlabel("\u2190 better       worse \u2192")
    likelihood.set_xscale("symlog", linthresh=0.2, linscale=0.8)
    likelihood.set(xlim=(-8, 3), title="log likelihood (BackpropRegressor: 0)")
    ticks = (-5, -2, -0.5, -0.1, 0, 0.1, 0.5, 2)
    likelihood.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    likelihood.set_xlabel("\u2190 worse       better \u2192")
    nominal = [100 * p for p in PROBABILITIES]
    coverage.set(
        xlim=(30, 102), title="test rows inside intervals", xlabel="% (dashed: as it should be)"
    )
    coverage.set_xticks(nominal)
    for axes, lines in zip(panels, ([1.0], [0.0], nominal), strict=True):
        for x in lines:
            axes.axvline(x, color="black", lw=0.9, ls="--" if axes is coverage else "-", zorder=1)
        for y in range(1, len(problems)):
            axes.axhline(y - 0.5, color="#AAAAAA", lw=0.6)
        axes.minorticks_off()
        axes.title.set_fontsize(9.5)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(labelsize=9)
    error.set_yticks(range(len(problems)), [published.SHORT.get(name, name) for name in problems])
    error.set_ylim(len(problems) - 0.5, -0.5)


def _legend(figure: Figure, measured: Sequence[str], methods: Sequence[str]) -> None:
    """Below the panels: who was measured at the left, what is published at the right."""
    ours = [
        Patch(color=BAND, label="BackpropRegressor \u00b1 2 standard errors"),
        Line2D([], [], ls="", **STYLES["ours"], **MARKER, label="BackpropRegressor (coverage)"),
    ]
    ours += [
        Line2D([], [], ls="-", **STYLES[name], **MARKER, label=LABELS[name]) for name in measured
    ]
    theirs = [Line2D([], [], ls="", **STYLES[name], **MARKER, label=name) for name in methods]
    options = drawing.LEGEND
    figure.legend(handles=ours, loc="outside lower left", ncols=2, title="measured", **options)
    if theirs:
        figure.legend(
            handles=theirs, loc="outside lower right", ncols=3, title="published", **options
        )
