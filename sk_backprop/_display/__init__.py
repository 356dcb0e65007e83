"""Pictures, by scikit-learn's convention of displays: one of them per file.

A display holds numbers. `from_estimator` or `from_predictions` gathers them by the public
API of an estimator, and `plot` draws them: there, and nowhere else, matplotlib is
imported.
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
