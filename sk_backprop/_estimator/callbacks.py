"""scikit-learn's callbacks: a fit as a tree of tasks. They need scikit-learn 1.9 or newer.

    fit
    |-- trials              several candidates are scored on held-out rows
    |   `-- trial           one candidate
    |-- network 1           a run, of max_iter iterations at most
    |   `-- iteration       an epoch for sgd and adam
    `-- network 2 ...       with several starts, "network 2, start 1" and so on

Each task has a begin and an end; an iteration that its run did not complete ends without a
fitted estimator. The callbacks of one estimator are called in the order of the events, and a
worker process (`n_jobs`) calls its own copies of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from sk_backprop._estimator.compat import with_callbacks
from sk_backprop._network.network import Parameters
from sk_backprop._solvers._result import Monitor
from sk_backprop._training.events import FitObserver, RunObserver
from sk_backprop._training.problem import Settings
from sk_backprop._training.run import Blend, Trained, TrainingResult, TrainingRun

Attributes = Callable[[Blend], dict[str, Any]]


def all_or_nothing(method: Callable[..., Any]) -> Callable[..., Any]:
    """Tear callbacks down after `method`, and undo it where one of them raises."""
    if with_callbacks is None:
        return method
    torn_down = with_callbacks(method)

    @functools.wraps(method)
    def undone(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        if not _callbacks_of(estimator):
            return method(estimator, *args, **kwargs)
        before = vars(estimator).copy()
        try:
            return torn_down(estimator, *args, **kwargs)
        except BaseException:
            vars(estimator).clear()
            vars(estimator).update(before)
            raise

    return undone


def callback_observers(
    estimator: Any, rows: tuple[Any, Any, Any], attributes: Attributes, n_tasks: int
) -> list[FitObserver]:
    """The observer that calls the callbacks of `estimator`, if it has any.

    Parameters
    ----------
    estimator : BackpropRegressor
    rows : X, y and sample_weight, as they were given
    attributes : Blend -> fitted attributes of a fit that ends with it
    n_tasks : int, upper bound on the trials and runs
    """
    if not _callbacks_of(estimator):
        return []
    return [_Tasks(estimator, _Hooks(estimator, rows, attributes), n_tasks)]


def _callbacks_of(estimator: Any) -> Any:
    # set_callbacks and clone set it; without callbacks it does not exist.
    return getattr(estimator, "_skl_callbacks", None)


class _Hooks:
    """Calls the hooks, with all that they may request; parameters: see `callback_observers`."""

    def __init__(self, estimator: Any, rows: tuple[Any, Any, Any], attributes: Attributes) -> None:
        self.estimator, self._rows, self._attributes = estimator, rows, attributes
        self._errors = np.geterr()

    def begin(self, context: Any, fitted: Callable[[], Blend] | None = None) -> None:
        """A task begins; `fitted` returns the result so far."""
        self._call(context.call_on_fit_task_begin, fitted)

    def end(self, context: Any, fitted: Callable[[], Blend] | None = None) -> bool:
        """A task has ended. True if a callback asks to end the tasks of its level."""
        return bool(self._call(context.call_on_fit_task_end, fitted))

    def _call(self, call: Callable[..., Any], fitted: Callable[[], Blend] | None) -> Any:
        # Callbacks run with the user's floating-point settings, not with those of training.
        with np.errstate(**self._errors):
            try:
                return call(
                    estimator=self.estimator,
                    X=self._inputs,
                    y=self._targets,
                    metadata=self._metadata,
                    reconstruction_attributes=None
                    if fitted is None
                    else lambda: self._reconstruct(fitted()),
                )
            except StopIteration as error:  # scipy would take it as the end of the run
                raise RuntimeError("A callback raised StopIteration.") from error

    def _reconstruct(self, blend: Blend) -> dict[str, Any]:
        attributes = self._attributes(blend)
        # The names of an earlier fit would stay.
        stale = "feature_names_in_" not in attributes and hasattr(
            self.estimator, "feature_names_in_"
        )
        return attributes | ({"feature_names_in_": None} if stale else {})

    def _inputs(self) -> Any:
        X = self._rows[0]
        return X if hasattr(X, "shape") else np.asarray(X)

    def _targets(self) -> Any:
        y = np.asarray(self._rows[1])
        return y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y

    def _metadata(self) -> dict[str, Any] | None:
        weight = self._rows[2]
        if weight is None:
            return None
        if isinstance(weight, Real):
            weight = np.full(len(self._targets()), float(weight))
        return {"sample_weight": np.asarray(weight)}


class _Tasks(FitObserver):
    """Notifies callbacks of a fit; parameters: see `callback_observers`."""

    def __init__(self, estimator: Any, hooks: _Hooks, n_tasks: int) -> None:
        self._hooks, self._n_tasks = hooks, 0
        # Networks may be trained in parallel.
        self._fit = estimator._init_callback_context(
            max_subtasks=n_tasks, sequential_subtasks=False
        )
        self._trials: Any = None
        self._trial: Any = None
        self._max_iter = 0
        hooks.begin(self._fit)

    def _task(self, name: str, max_subtasks: int) -> Any:
        self._n_tasks += 1
        return self._fit.subcontext(
            task_name=name, task_id=self._n_tasks - 1, max_subtasks=max_subtasks
        )

    def begin_trials(self, n_candidates: int) -> None:
        self._trials = self._task("trials", n_candidates)
        self._hooks.begin(self._trials)

    def begin_trial(self) -> None:
        self._trial = self._trials.subcontext(task_name="trial")
        self._hooks.begin(self._trial)

    def end_trial(self, best: Settings) -> bool:
        return self._hooks.end(self._trial)

    def end_trials(self) -> bool:
        return self._hooks.end(self._trials)

    def begin_networks(self, settings: Settings, n_networks: int) -> None:
        self._max_iter = settings.max_iter

    def begin_network(self, number: int, n_runs: int) -> list[RunObserver]:
        names = [f"network {number}"]
        if n_runs > 1:
            names = [f"network {number}, start {k}" for k in range(1, n_runs + 1)]
        return [_RunTask(self._hooks, self._task(name, self._max_iter)) for name in names]

    def end_fit(self, blend: Blend) -> None:
        self._hooks.end(self._fit, lambda: blend)


class _RunTask(RunObserver):
    """Notifies callbacks of one run and its iterations."""

    def __init__(self, hooks: _Hooks, context: Any) -> None:
        self._hooks, self._context = hooks, context
        self._iteration: Any = None

    def begin_run(self, run: TrainingRun) -> None:
        self._run = run
        self._hooks.begin(self._context)

    def begin_iteration(self, monitor: Monitor, params: Parameters) -> None:
        if self._iteration is None:
            self._iteration = self._context.subcontext(task_name="iteration")
            self._hooks.begin(self._iteration, lambda: self._so_far(monitor, params))

    def end_iteration(self, monitor: Monitor, params: Parameters) -> bool:
        task, self._iteration = self._iteration, None
        return self._hooks.end(task, lambda: self._so_far(monitor, params))

    def end_run(self, trained: Trained) -> bool:
        if self._iteration is not None:
            self._hooks.end(self._iteration)
            self._iteration = None
        return self._hooks.end(self._context, lambda: self._alone(trained))

    def _so_far(self, monitor: Monitor, params: Parameters) -> Blend:
        """The result of a fit of this network alone, if it ended here."""
        return self._alone(self._run.finish(monitor.so_far(params)))

    def _alone(self, trained: Trained) -> Blend:
        result = TrainingResult(self._run.settings, self._run.problem, [trained])
        return Blend([result], [1.0])
