"""Events of a fit, and the observers that receive them.

`Events` passes each event on to its observers: one prints progress lines, another
calls the hooks of scikit-learn's callbacks. For each run every observer supplies a `RunObserver`,
which is notified of its begin and end; to the solver it is an `IterationObserver`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sk_backprop._network.network import Parameters
from sk_backprop._solvers._result import IterationObserver, Monitor
from sk_backprop._training.problem import Settings
from sk_backprop._training.run import Blend, Trained, TrainingRun


class RunObserver(IterationObserver):
    """Base observer of one run; ignores every event."""

    def begin_run(self, run: TrainingRun) -> None:
        """The run begins; `run.finish` turns a result into a trained network."""

    def end_run(self, trained: Trained) -> bool:
        """The run has ended. True asks for no further run."""
        return False


class FitObserver:
    """Base observer of a fit; ignores every event."""

    def begin_trials(self, n_candidates: int) -> None:
        """The trials begin, of at most `n_candidates` candidates."""

    def begin_trial(self) -> None:
        """The trial of a candidate begins."""

    def end_trial(self, best: Settings) -> bool:
        """The trial has ended; `best` is the best so far. True asks for no further trial."""
        return False

    def end_trials(self) -> bool:
        """The trials are over. True asks for no more than one run."""
        return False

    def begin_networks(self, settings: Settings, n_networks: int) -> None:
        """`n_networks` (more) networks will be trained."""

    def begin_network(self, number: int, n_runs: int) -> Sequence[RunObserver]:
        """Network `number` (from 1) is next. Returns an observer for each of its runs."""
        return [RunObserver()] * n_runs

    def end_fit(self, blend: Blend) -> None:
        """All networks are trained."""


class Events:
    """Passes the events of a fit on to its observers, in their order.

    Attributes
    ----------
    stopped : bool, whether an observer wants no more runs
    """

    def __init__(self, *observers: FitObserver) -> None:
        self._observers = observers
        self._n_networks = 0
        self.stopped = False

    @property
    def observed(self) -> bool:
        """Whether there is an observer, so that the order of events matters."""
        return bool(self._observers)

    def begin_trials(self, n_candidates: int) -> None:
        for one in self._observers:
            one.begin_trials(n_candidates)

    def begin_trial(self) -> None:
        for one in self._observers:
            one.begin_trial()

    def end_trial(self, best: Settings) -> bool:
        """True if an observer asks for no further trial."""
        return _one_asks(one.end_trial(best) for one in self._observers)

    def end_trials(self) -> None:
        self.stop_if(_one_asks(one.end_trials() for one in self._observers))

    def begin_networks(self, settings: Settings, n_networks: int) -> None:
        for one in self._observers:
            one.begin_networks(settings, n_networks)

    def begin_network(self, n_runs: int) -> list[RunObserver]:
        """An observer for each run of the next network."""
        self._n_networks += 1
        by_observer = [one.begin_network(self._n_networks, n_runs) for one in self._observers]
        return [_RunEvents(self, [runs[k] for runs in by_observer]) for k in range(n_runs)]

    def end_fit(self, blend: Blend) -> None:
        for one in self._observers:
            one.end_fit(blend)

    def stop_if(self, asked: bool) -> None:
        """Begin no more runs if an observer has asked for that."""
        self.stopped = self.stopped or asked


class _RunEvents(RunObserver):
    """Passes the events of one run on to its observers."""

    def __init__(self, events: Events, observers: Sequence[RunObserver]) -> None:
        self._events, self._observers = events, observers

    def begin_run(self, run: TrainingRun) -> None:
        for one in self._observers:
            one.begin_run(run)

    def begin_iteration(self, monitor: Monitor, params: Parameters) -> None:
        for one in self._observers:
            one.begin_iteration(monitor, params)

    def end_iteration(self, monitor: Monitor, params: Parameters) -> bool:
        return _one_asks(one.end_iteration(monitor, params) for one in self._observers)

    def end_run(self, trained: Trained) -> bool:
        self._events.stop_if(_one_asks(one.end_run(trained) for one in self._observers))
        return self._events.stopped


def _one_asks(answers: Iterable[bool]) -> bool:
    """Whether any answer is True; all are evaluated, so that every observer is notified."""
    return any(list(answers))
