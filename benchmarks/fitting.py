"""A fit with its time, its predictions and its warnings."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from benchmarks.problems import Problem

# How a warning begins that says a limit on iterations has ended a fit: of ours, of MLPRegressor.
OURS_CUT_SHORT = "Training stopped at max_iter"
MLP_CUT_SHORT = "Stochastic Optimizer: Maximum iterations|lbfgs failed to converge"


@contextmanager
def expecting(*beginnings: str) -> Iterator[None]:
    """Show no ConvergenceWarning that begins so; any other is shown."""
    with warnings.catch_warnings():
        # By text and category: the caller has set that limit, or takes a peer with its own.
        for beginning in beginnings:
            warnings.filterwarnings("ignore", beginning, ConvergenceWarning)
        yield


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
