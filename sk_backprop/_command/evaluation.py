"""Cross-validation of several estimators on the same folds, one fold after the other."""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

from sk_backprop._command._reading.columns import Array
from sk_backprop._command.contenders import OURS, Contender
from sk_backprop._command.terminal import Progress

COVERAGE = 0.95
ERROR_WIDTH = 22
_ROWS_FOR_THREADS = 20_000
# A t distribution of as many degrees of freedom is normal to all digits that a picture shows.
_NORMAL = 1e9


class Scores(NamedTuple):
    """One estimator's results: arrays of shape (folds, targets), nan where a fit failed.

    seconds : mean time of a fit
    notes : sentences on fits that failed or warned
    intervals : (2, folds, targets), part of the held-out rows in their 95 % intervals, and mean
        width of these; None where there are no intervals
    fitted : estimators without each fold, of those that have intervals
    """

    rmse: Array
    r2: Array
    seconds: float
    notes: tuple[str, ...] = ()
    intervals: Array | None = None
    fitted: tuple[Any, ...] = ()


class _Fold(NamedTuple):
    """Results of one fit: arrays of shape (targets,); `intervals` has that of `_intervals`."""

    rmse: Array
    r2: Array
    seconds: float
    mishaps: tuple[str, ...]
    intervals: Array | None = None
    fitted: Any = None


def cross_validate(
    named: dict[str, Contender], y: Array, folds: KFold, title: str, progress: Progress
) -> dict[str, Scores]:
    """Fit and score clones of all estimators on every fold.

    scikit-learn's function of this name reports neither its progress nor which fits warned. The
    folds are the outer loop, so that the first of them shows how long all will take.

    named : {name: Contender}
    y : (n_rows, n_targets)
    folds : KFold
    title : of the table, for messages
    progress : Progress
    """
    n_folds, found = folds.get_n_splits(), {name: list[_Fold]() for name in named}
    n_fits, done, start = n_folds * len(named), 0, time.perf_counter()
    for i, (train, test) in enumerate(folds.split(y)):
        for name, (model, X) in named.items():
            left = ""
            if i:
                each = (time.perf_counter() - start) / done
                left = f"; about {duration(each * (n_fits - done))} left"
            progress.update(f"{title}: fold {i + 1} of {n_folds}, {name.strip()}{left}")
            found[name].append(_score(model, X, y.squeeze(), (train, test)))
            done += 1
            if done == 1:
                seconds = time.perf_counter() - start
                # The others together take about as long; after the first fold it is known.
                progress.note(
                    f"{title}: first fit {duration(seconds)}; about "
                    f"{duration(2 * n_folds * seconds)} for all {n_fits}"
                )
    return {name: _joined(results) for name, results in found.items()}


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 10:
        return f"{max(seconds, 0.1):.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def rows_of(X: Any, rows: NDArray[np.intp]) -> Any:
    """Rows of a data frame or an array."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def _score(model: Any, X: Any, y: Array, split: tuple[NDArray[np.intp], NDArray[np.intp]]) -> _Fold:
    """One fit and its errors on held-out rows.

    model : estimator; X, y : all rows; split : training and held-out rows
    """
    train, test = split
    # Few rows leave nothing to share: threads of the boosted trees would only wait for each other,
    # on a busy machine for many times as long as they compute.
    threads = threadpool_limits(1 if len(y) < _ROWS_FOR_THREADS else None, user_api="openmp")
    with threads, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        try:
            fitted = clone(model).fit(rows_of(X, train), y[train])
            seconds = time.perf_counter() - start
            predicted = fitted.predict(rows_of(X, test))
            rmse = root_mean_squared_error(y[test], predicted, multioutput="raw_values")
            r2 = r2_score(y[test], predicted, multioutput="raw_values")
            intervals = _intervals(fitted, rows_of(X, test), y[test])
        except ValueError as error:  # such as that of MLPRegressor if its weights overflow
            nothing = np.full(y[0].size, math.nan)
            return _Fold(nothing, nothing, math.nan, (f"failed: {error}",))
    mishaps = tuple(dict.fromkeys(map(_describe, caught)))
    return _Fold(rmse, r2, seconds, mishaps, intervals, None if intervals is None else fitted)


def _intervals(fitted: Any, X: Any, y: Array) -> Array | None:
    """Coverage and mean width of the intervals of held-out rows, (2, targets).

    fitted : estimator; X, y : held-out rows
    """
    if not hasattr(fitted, "predict_interval"):
        return None
    low, high = np.moveaxis(fitted.predict_interval(X, COVERAGE), -1, 0)
    inside = (low <= y) & (y <= high)
    return np.reshape([inside.mean(axis=0), (high - low).mean(axis=0)], (2, -1))


def _describe(warning: warnings.WarningMessage) -> str:
    if str(warning.message).startswith("Training interrupted"):
        # Both networks take Ctrl-C to mean "keep the weights reached"; here it means "stop".
        raise KeyboardInterrupt
    if issubclass(warning.category, ConvergenceWarning):
        return "ended with a ConvergenceWarning"
    return f"warned: {warning.message}"


def _joined(results: list[_Fold]) -> Scores:
    mishaps = Counter(mishap for fold in results for mishap in fold.mishaps)
    notes = [f"{times} of {len(results)} fits {mishap}" for mishap, times in mishaps.items()]
    intervals = [fold.intervals for fold in results if fold.intervals is not None]
    return Scores(
        np.array([fold.rmse for fold in results]),
        np.array([fold.r2 for fold in results]),
        float(np.mean([fold.seconds for fold in results])),
        tuple(notes),
        np.stack(intervals, axis=1) if intervals else None,
        tuple(fold.fitted for fold in results if fold.fitted is not None),
    )


def out_of_fold(fitted: Sequence[Any], test: Sequence[NDArray[np.intp]], X: Any) -> tuple[Any, ...]:
    """Mean, standard deviation and distribution of every row, by the estimator fitted without it.

    fitted : estimators; test : held-out rows of each; X : all rows
    """
    mean, std, dof = np.empty((3, len(X)))
    for model, rows in zip(fitted, test):
        part = rows_of(X, rows)
        mean[rows], std[rows] = model.predict(part, return_std=True)
        frozen = model.predict_dist(part)
        dof[rows] = frozen.args[0] if frozen.dist.name == "t" else _NORMAL
    return mean, std, stats.t(dof, mean, std * np.sqrt((dof - 2) / dof))


def shown_error(scores: dict[str, Scores], name: str, target: int) -> str:
    """Mean RMSE and its standard error, with four digits of the best and decimals that line up.

    scores : {name: Scores}; name : which one to show; target : int
    """
    means = [s.rmse[:, target].mean() for s in scores.values()]
    positive = [mean for mean in means if 0 < mean < math.inf]
    decimals = max(0, 3 - math.floor(math.log10(min(positive)))) if positive else 0
    rmse = scores[name].rmse[:, target]
    with np.errstate(invalid="ignore"):  # an RMSE that overflowed
        mean, error = rmse.mean(), rmse.std(ddof=1) / math.sqrt(len(rmse))
    text = f"{mean:.{decimals}f} +/- {error:.{decimals}f}"
    return text if len(text) <= ERROR_WIDTH else f"{mean:.3e} +/- {error:.2e}"


def shown_number(value: float) -> str:
    """A positive number with four digits, as a power of ten only where it is huge or tiny."""
    if not 1e-4 <= value < 1e12:
        return f"{value:.4g}"
    return f"{value:,.{max(0, 3 - math.floor(math.log10(value)))}f}"


def shown_r2(scores: Scores, target: int) -> str:
    """Mean R2.

    scores : Scores; target : int
    """
    mean = scores.r2[:, target].mean()
    return f"{mean:.3f}" if mean > -1000 else f"{mean:.1e}"


def intervals_text(scores: dict[str, Scores], target: int) -> str:
    """A sentence on the 95 % intervals of ours; empty if there are none.

    scores : {name: Scores}; target : int
    """
    ours = scores.get(OURS)
    if ours is None or ours.intervals is None:
        return ""
    covered, width = ours.intervals[:, :, target].mean(axis=1)
    return (
        f"{OURS}'s {100 * COVERAGE:.0f} % intervals hold {100 * covered:.1f} % of the held-out "
        f"values; their mean width is {shown_number(width)}."
    )


def best_of(scores: dict[str, Scores], target: int) -> str | None:
    """The name of the estimator with the lowest mean error; None if all have failed.

    scores : {name: Scores}; target : int
    """
    means = {name: s.rmse[:, target].mean() for name, s in scores.items()}
    means = {name: mean for name, mean in means.items() if math.isfinite(mean)}
    return min(means, key=lambda name: means[name]) if means else None


def verdict(scores: dict[str, Scores], target: int) -> str:
    """A sentence on how ours compares with the best of the others.

    scores : {name: Scores}; target : int
    """
    others = {name: s for name, s in scores.items() if name != OURS}
    rival = best_of(others, target)
    if OURS not in scores or rival is None or best_of({OURS: scores[OURS]}, target) is None:
        return ""
    ours, theirs = scores[OURS].rmse[:, target], others[rival].rmse[:, target]
    difference, name = theirs - ours, rival_name(rival)
    lead = abs(difference.mean()) / max(ours.mean(), theirs.mean(), np.finfo(float).tiny)
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    if ours.mean() <= theirs.mean():
        text = f"{OURS} has the lowest error, {100 * lead:.2g} % below {name}"
    else:
        text = f"{name} has the lowest error, {100 * lead:.2g} % below {OURS}"
    within = abs(difference.mean()) < error
    return text + (", which is less than the standard error of this difference." if within else ".")


def rival_name(name: str) -> str:
    """The name of an estimator in a sentence."""
    return f"MLPRegressor, {name.strip()}" if name.startswith(" ") else name
