"""The picture of `python -m benchmarks speed --plot`; needs matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks import drawing
from benchmarks.peers import PEERS
from benchmarks.problems import ProblemError
from benchmarks.speed import ABOUT, Row, in_order

_BLACK, _BLUE, _RED = drawing.COLORS[:3]
AT_BAR, MISSED, REFERENCE = _BLUE, _RED, "#AAAAAA"


def color(row: Row) -> str:
    """Whether it is at its bar, below it, or has none."""
    if math.isnan(row.bar):
        return REFERENCE
    return MISSED if row.missed else AT_BAR


def draw(rows: Sequence[Row], path: str) -> None:
    """A bar for each row and peer, from 1 to the ratio, with a mark where it is to end."""
    groups = in_order([row for row in rows if row.ratio > 0])
    if not groups:
        raise ProblemError("--plot draws ratios, and there are none")
    n_lines = sum(len(found) + 1 for _, found in groups)
    figure = drawing.figure(9, 1.5 + 0.2 * n_lines)
    axes = figure.subplots()
    _set_axes(axes, [row for _, found in groups for row in found], n_lines)
    labels: dict[int, str] = {}
    line = 0
    for name, found in groups:
        axes.text(0.0, line, f" {ABOUT[name]}", **_HEADING, transform=axes.get_yaxis_transform())
        for row in found:
            line += 1
            labels[line] = _label(row)
            _bar(axes, line, row)
        line += 1
    axes.set_yticks(list(labels), list(labels.values()))
    handles = [
        Patch(color=AT_BAR, label="at the bar or past it"),
        Patch(color=MISSED, label="below the bar"),
        Patch(color=REFERENCE, label="no bar"),
        Line2D([], [], ls="", marker="|", color=_BLACK, ms=9, mew=2, label="the bar"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, **drawing.LEGEND)
    drawing.save(figure, path)


_WHITE: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1}
_HEADING: dict[str, Any] = {"fontsize": 8.5, "va": "center", "weight": "bold", "bbox": _WHITE}


def _label(row: Row) -> str:
    """The peer, and what tells this line from the others of its row."""
    which = row.which or ("median" if row.row == "uci" else row.dtype)
    return f"{PEERS[row.peer].label}, {which}"


def _bar(axes: Any, line: int, row: Row) -> None:
    axes.barh(line, row.ratio - 1, left=1, height=0.72, color=color(row), zorder=2)
    if not math.isnan(row.bar):
        axes.plot([row.bar, row.bar], [line - 0.46, line + 0.46], color=_BLACK, lw=2, zorder=3)
    # Beyond both the bar's end and the mark.
    end = max(row.ratio, 1.0, 0.0 if math.isnan(row.bar) else row.bar)
    axes.annotate(
        f"{row.ratio:.3g}",
        (end, line),
        xytext=(4, 0),
        textcoords="offset points",
        va="center_baseline",
        fontsize=8,
    )


def _set_axes(axes: Any, rows: Sequence[Row], n_lines: int) -> None:
    """A log axis on which all ratios and bars, and the numbers beside them, have room."""
    values = [row.ratio for row in rows] + [row.bar for row in rows if not math.isnan(row.bar)]
    low, high = min(0.5, *values) / 1.2, max(2.0, *values) * 1.5
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("times as fast as the peer (ratio of medians, log scale)")
    axes.axvline(1.0, color=_BLACK, lw=0.9, zorder=1)
    axes.grid(axis="x", color=drawing.LIGHT, lw=0.6, zorder=0)
    axes.set_ylim(n_lines - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(labelsize=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
