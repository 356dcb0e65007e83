"""What the pictures have in common. matplotlib is imported when something is drawn."""

from __future__ import annotations

from typing import Any

# Okabe and Ito's, made for the colour-blind.
COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY, LIGHT = "#777777", "#D8D8D8"


def figure(width: float, height: float) -> Any:
    """An empty one, in inches."""
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def legend(figure: Any, entries: list[dict[str, Any]], **options: Any) -> None:
    """Below the panels.

    entries : the styles of lines and markers, or the colours alone of rectangles
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Patch(**e) if e.keys() == {"color", "label"} else Line2D([], [], **e) for e in entries
    ]
    style = {"fontsize": 10, "title_fontsize": 10, "alignment": "left", "frameon": False}
    figure.legend(handles=handles, loc="outside lower center", **style, **options)


def number_ticks(axes: Any, ticks: tuple[float, ...]) -> None:
    """Ticks of x at these numbers alone, as they are and not as powers."""
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
