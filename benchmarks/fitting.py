"""A fit with its time, its predictions and its warnings."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable
from typing import Any

from benchmarks.problems import Problem


def fit_predict(
    model: Any, problem: Problem, **options: Any
) -> tuple[float, Any, list[warnings.WarningMessage]]:
    """Fit on the training rows and predict the test rows.

    Returns the wall-clock seconds of the fit alone, what `predict` gave for `options`, and
    all warnings, of which none was shown. Ctrl-C ends it also where the model takes it to
    mean "keep the weights reached".
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        model.fit(problem.X_train, problem.y_train)
        seconds = time.perf_counter() - start
        prediction = model.predict(problem.X_test, **options)
    if any(str(w.message).startswith("Training interrupted") for w in caught):
        raise KeyboardInterrupt
    return round(seconds, 4), prediction, caught


def show(caught: Iterable[warnings.WarningMessage], silenced: tuple[type[Warning], ...]) -> None:
    """Give these warnings after all, but for some categories."""
    for w in caught:
        if not issubclass(w.category, silenced):
            warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
