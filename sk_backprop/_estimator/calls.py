"""Calls of `fit` and `partial_fit`: from their arguments to fitted attributes and warnings.

Nothing is set on the estimator until training has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sk_backprop._blocks.arrays import Array
from sk_backprop._coordinates.seen_rows import SeenRows
from sk_backprop._estimator.callbacks import all_or_nothing, callback_observers
from sk_backprop._estimator.checks import (
    Checked,
    check_rows,
    check_target_range,
    check_validation_rows,
    set_aside,
)
from sk_backprop._estimator.diagnostics import (
    NOTHING_KEPT,
    Call,
    attributes_if_ended,
    fit_warnings,
    fitted_state,
)
from sk_backprop._estimator.parameters import check_parameters
from sk_backprop._estimator.predictor import shallow_copy
from sk_backprop._estimator.progress import printers
from sk_backprop._estimator.start import Task, in_stream, likelihood_of, rows_so_far, tasks_of
from sk_backprop._estimator.state import FittedState, store
from sk_backprop._training.calibrating import calibrated
from sk_backprop._training.events import Events
from sk_backprop._training.fitting import fit_networks
from sk_backprop._training.outliers import WeightsOfRows, outlying_rows
from sk_backprop._training.problem import Problem, prepare
from sk_backprop._training.run import Blend

_NOT_VARYING = (
    "noise='varying' has no effect: it takes 50 distinct rows, a target that varies and is no "
    "count, and penalties determined by the evidence, as by default or with solver='lm' and "
    "alpha='auto'."
)

# Warnings to issue; a string is a UserWarning.
Messages = list[str | Warning]


def fit_rows(
    estimator: Any,
    rows: tuple[Any, Any, Any],
    validation_rows: tuple[Any, Any, Any],
    init: tuple[Any, Any],
) -> Messages:
    """`BackpropRegressor.fit`.

    Parameters
    ----------
    estimator : BackpropRegressor
    rows, validation_rows : X, y and sample_weight as given
    init : `coefs_init` and `intercepts_init`
    """
    check_parameters(estimator)
    continued = estimator.warm_start and hasattr(estimator, "coefs_") and init[0] is None
    last = FittedState.of(estimator) if continued else None
    estimator_checked, checked = _checked(estimator, rows, last)
    data = checked.data
    validation, of_validation = check_validation_rows(estimator_checked, validation_rows, checked)
    if validation is not None:
        check_target_range(validation.y, likelihood_of(estimator), "y_val")
    tasks = tasks_of(estimator, data, last, init)
    rng = check_random_state(estimator.random_state)
    all_rows, numbers = data, checked.numbers
    if estimator.early_stopping and validation is None:
        data, validation = set_aside(data, estimator.validation_fraction, rng)
    problem = prepare(tasks[0].plan.settings, data, validation)
    # A warm start would memorise what the first fit has left out.
    plan = tasks_of(estimator, data, None)[0].plan if continued else tasks[0].plan
    outlying = np.zeros(len(numbers), dtype=bool)
    if plan.finds_outliers:
        searched = prepare(plan.settings, data, None) if continued else problem
        outlying = outlying_rows(plan, data, searched)
    if outlying.any():
        data = data.take(np.flatnonzero(~outlying))
        problem = prepare(tasks[0].plan.settings, data, validation)
    call = Call(checked.columns, data.n_samples, SeenRows.of(*data), last, numbers[outlying])

    def without_weight(weights: WeightsOfRows) -> Array:
        return np.asarray(numbers[weights.without(all_rows)])

    messages: Messages = train(estimator, call, tasks, problem, rng, rows, without_weight)
    return [*checked.messages, *of_validation, *messages]


def fit_next_batch(estimator: Any, rows: tuple[Any, Any, Any]) -> Messages:
    """`BackpropRegressor.partial_fit`.

    Parameters
    ----------
    estimator : BackpropRegressor
    rows : X, y and sample_weight as given
    """
    check_parameters(estimator)
    last = FittedState.of(estimator) if hasattr(estimator, "coefs_") else None
    _, checked = _checked(estimator, rows, last, streaming=True)
    data = checked.data
    tasks = tasks_of(estimator, data, last, streaming=True)
    rng = check_random_state(estimator.random_state if last is None else last.continuation.seed)
    seen = None if last is None else last.predictive.scales
    problem = prepare(tasks[0].plan.settings, data, None, seen, streaming=True)
    rows_of_batch = SeenRows.of(*data)
    tasks = [task._replace(starts=in_stream(task, problem, rows_of_batch)) for task in tasks]
    curve = [] if last is None else last.history.loss_curve
    events = Events(*printers(estimator.verbose, len(curve)))
    trained = _train_tasks(tasks, last, problem, rng, estimator.n_jobs, events)
    if trained.interrupted:
        return [NOTHING_KEPT]
    call = Call(checked.columns, data.n_samples, rows_so_far(tasks), last, streaming=True)
    store(estimator, fitted_state(call, trained, rng), curve)
    found = fit_warnings(call, trained, alpha_given=estimator.alpha != "auto")
    messages = [*checked.messages, *found]
    if problem.scales.likelihood.max_target_is_unit and np.any(data.y > estimator.y_scale_):
        messages.append(
            f"y has values up to {data.y.max():g}, above the largest of the first batch, "
            f"{estimator.y_scale_}, which a logistic output cannot exceed."
        )
    return messages


def _checked(
    estimator: Any,
    rows: tuple[Any, Any, Any],
    last: FittedState | None,
    *,
    streaming: bool = False,
) -> tuple[Any, Checked]:
    """A copy with n_features_in_ and feature_names_in_, and what `check_rows` returns.

    Parameters
    ----------
    estimator : BackpropRegressor
    rows : X, y and sample_weight as given
    last : FittedState that the call continues, or None
    streaming : whether the rows are a batch of a stream
    """
    copied, before = shallow_copy(estimator), None if last is None else last.columns
    checked = check_rows(copied, *rows, streaming=streaming, before=before)
    check_target_range(checked.data.y, likelihood_of(estimator), "y")
    return copied, checked


@all_or_nothing
def train(
    estimator: Any,
    call: Call,
    tasks: list[Task],
    problem: Problem,
    rng: np.random.RandomState,
    rows: tuple[Any, Any, Any],
    without_weight: Callable[[WeightsOfRows], Array],
) -> Messages:
    """Train, notify callbacks, and set the fitted attributes.

    Parameters
    ----------
    estimator : BackpropRegressor; call : Call; tasks : list of Task; problem : Problem
    rng : RandomState
    rows : X, y and sample_weight as given, for callbacks
    without_weight : callable, WeightsOfRows -> numbers of the rows that have none
    """
    attributes = partial(attributes_if_ended, call, rng)
    n_tasks = sum(task.plan.most_tasks for task in tasks)
    callbacks = callback_observers(estimator, rows, attributes, n_tasks)
    events = Events(*printers(estimator.verbose), *callbacks)
    trained = _train_tasks(tasks, call.before, problem, rng, estimator.n_jobs, events)
    n_starts = sum(len(task.starts or ()) for task in tasks)
    trained = _calibrated(trained, estimator.noise, goes_on=n_starts > 1)
    events.end_fit(trained)
    if len(trained.networks) < n_starts:  # interrupted, or stopped by a callback
        return [NOTHING_KEPT]
    if np.isfinite(problem.scales.likelihood.dof):
        call = call._replace(outliers=without_weight(WeightsOfRows.of(trained)))
    store(estimator, fitted_state(call, trained, rng))
    messages = list(fit_warnings(call, trained, alpha_given=estimator.alpha != "auto"))
    if estimator.noise == "varying" and estimator.noise_ == "constant" and not trained.interrupted:
        messages.append(_NOT_VARYING)
    return messages


def _calibrated(trained: Blend, noise: str, *, goes_on: bool) -> Blend:
    """`trained` with its calibration; after an interrupt without, or without its networks.

    trained : Blend; noise : as the parameter; goes_on : bool, whether it continues several networks
    """
    if not trained.networks:
        return trained
    try:
        return calibrated(trained, noise)
    except KeyboardInterrupt:  # the networks are complete
        kept = 0 if goes_on else None
        results = [
            one._replace(networks=one.networks[:kept], interrupted=True) for one in trained.results
        ]
        return trained._replace(results=results)


def _train_tasks(
    tasks: list[Task],
    last: FittedState | None,
    problem: Problem,
    rng: np.random.RandomState,
    n_jobs: int | None,
    events: Events,
) -> Blend:
    """The result of all tasks, with the weights that the networks had before.

    Parameters
    ----------
    tasks : list of Task; problem : Problem
    last : FittedState that they continue from, or None
    rng, n_jobs, events : as for `fit_networks`
    """
    blends = [fit_networks(task.plan, problem, task.starts, rng, n_jobs, events) for task in tasks]
    if last is None or len(tasks) == 1:
        return blends[0]
    results = [result for blend in blends for result in blend.results]
    return Blend(results, [member.weight for member in last.function.members])
