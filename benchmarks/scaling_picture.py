"""The picture of `python -m benchmarks scaling --plot`; needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.lines import Line2D

from benchmarks import drawing
from benchmarks.problems import ProblemError
from benchmarks.scaling import DENSITY, MOST_MB, N_COLUMNS, N_HIDDEN, N_ROWS, SOLVERS, Row

# {label of a column of panels: series drawn in it}
PANELS = {
    f"rows (of {N_COLUMNS} columns, {N_HIDDEN} units)": ("rows", "rows, mapped"),
    f"columns (sparse, {DENSITY:.0%}; {N_ROWS:,} rows)": ("columns",),
    f"hidden units ({N_ROWS:,} x {N_COLUMNS})": ("hidden",),
}
STYLES: dict[str, dict[str, Any]] = {
    solver: {"color": color, "marker": marker, "ms": 4.5, "lw": 1.4}
    for solver, color, marker in zip(SOLVERS, drawing.COLORS, "oDs^")
}
MAPPED: dict[str, Any] = {"ls": "--", "mfc": "white"}
_LEAST_MB = 0.1  # less is lost in the noise of pages


def draw(rows: Sequence[Row], path: str) -> None:
    """Seconds above and memory below, against what varies; a line for each solver."""
    if not (rows := [row for row in rows if row.seconds > 0]):
        raise ProblemError("--plot draws fits, and there are none")
    figure = drawing.figure(9, 5.6)
    panels = figure.subplots(2, 3, sharex="col", sharey="row")
    for column, (label, drawn) in zip(panels.T, PANELS.items(), strict=True):
        for series in drawn:
            for solver, style in STYLES.items():
                found = sorted(
                    (row.x, row.seconds, max(row.peak_mb, _LEAST_MB))
                    for row in rows
                    if (row.series, row.solver) == (series, solver)
                )
                look = style | (MAPPED if series.endswith("mapped") else {})
                for axes, values in zip(column, list(zip(*found))[1:]):
                    axes.plot([x for x, *_ in found], values, **look)
        column[1].set_xlabel(label, fontsize=9)
    _set_axes(panels)
    handles = [Line2D([], [], **style, label=solver) for solver, style in STYLES.items()]
    grey: dict[str, Any] = {"color": drawing.GREY}
    handles.append(Line2D([], [], **grey, marker="o", ms=4.5, **MAPPED, label="X in a mapped file"))
    handles.append(Line2D([], [], **grey, ls=":", label="in proportion; 200 MB"))
    figure.legend(handles=handles, loc="outside lower center", ncols=6, **drawing.LEGEND)
    drawing.save(figure, path)


def _set_axes(panels: Any) -> None:
    for axes in panels.flat:
        axes.set(xscale="log", yscale="log")
        axes.grid(color=drawing.LIGHT, lw=0.6)
        axes.tick_params(labelsize=8)
    panels[0, 0].set_ylabel("seconds", fontsize=9)
    panels[1, 0].set_ylabel("peak memory beyond X, MB", fontsize=9)
    for axes in panels[1]:
        axes.axhline(MOST_MB, color=drawing.GREY, ls=":")
    for axes in panels[0]:  # of slope 1, through the middle of what is drawn
        points = [line.get_xydata() for line in axes.get_lines() if len(line.get_xydata())]
        if points:
            x = sorted({value for line in points for value in line[:, 0]})
            middle = sorted(value for line in points for value in line[:, 1])[len(points) // 2]
            axes.plot(x, [middle * value / x[0] for value in x], color=drawing.GREY, ls=":")
