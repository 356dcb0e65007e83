"""What the pictures have in common; needs matplotlib."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

# Okabe and Ito's, made for the colour-blind.
COLORS = "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
GREY, LIGHT = "#777777", "#D8D8D8"
LEGEND: dict[str, Any] = {
    "fontsize": 9,
    "title_fontsize": 9,
    "alignment": "left",
    "frameon": False,
}


def figure(width: float, height: float) -> Figure:
    """An empty one, in inches."""
    return Figure((width, height), layout="constrained")


def save(figure: Figure, path: str) -> None:
    figure.savefig(path, dpi=200)
