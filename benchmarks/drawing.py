"""What the pictures have in common. matplotlib is imported when something is drawn."""

from __future__ import annotations

from typing import Any

# Okabe and Ito's, made for the colour-blind.
COLORS = "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
GREY, LIGHT = "#777777", "#D8D8D8"


def figure(width: float, height: float) -> Any:
    """An empty one, in inches."""
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def patch(color: str, label: str) -> Any:
    """A coloured rectangle for a legend."""
    from matplotlib.patches import Patch

    return Patch(color=color, label=label)


def line(**style: Any) -> Any:
    """A line or a marker for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **style)


def legend(figure: Any, place: str, handles: list[Any], **options: Any) -> None:
    """Outside the panels, at a `place` such as 'lower center'."""
    options |= {"fontsize": 9, "title_fontsize": 9, "alignment": "left", "frameon": False}
    figure.legend(handles=handles, loc=f"outside {place}", **options)


def number_ticks(axes: Any, ticks: tuple[float, ...]) -> None:
    """Ticks of x at these numbers alone, as they are and not as powers."""
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
