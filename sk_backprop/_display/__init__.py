"""Plots that follow scikit-learn's convention of displays, one display per file.

A display stores numbers. `from_estimator` or `from_predictions` computes them through the
public API of an estimator, and `plot` draws them; only then is matplotlib imported.
"""

from sk_backprop._display._interval import IntervalDisplay
from sk_backprop._display._loss_curve import LossCurveDisplay
from sk_backprop._display._network import NetworkDisplay
from sk_backprop._display._prediction import PredictionDisplay
from sk_backprop._display._relevance import RelevanceDisplay

__all__ = [
    "IntervalDisplay",
    "LossCurveDisplay",
    "NetworkDisplay",
    "PredictionDisplay",
    "RelevanceDisplay",
]
