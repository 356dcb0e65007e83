"""Events of a fit: each observer receives every event, and may ask to stop."""

import inspect

import numpy as np
import pytest
from sklearn.datasets import make_friedman1

from sk_backprop import BackpropRegressor
from sk_backprop._estimator import calls as _calls
from sk_backprop._solvers._result import IterationObserver
from sk_backprop._training.events import Events, FitObserver, RunObserver


class Recorder(FitObserver):
    """Notes the names of the events of a fit, and asks to stop at those named in `stop`."""

    def __init__(self, *stop):
        self.events, self.stop = [], stop
        for name, _ in inspect.getmembers(FitObserver, inspect.isfunction):
            if name != "begin_network":
                setattr(self, name, self.noting(name))

    def noting(self, name):
        def note(*args):
            self.events.append(name)
            return name in self.stop

        return note

    def begin_network(self, number, n_runs):
        self.events.append(f"begin_network {number}")
        return [RecordedRun(self) for _ in range(n_runs)]


class RecordedRun(RunObserver):
    def __init__(self, recorder):
        for name, _ in inspect.getmembers(RunObserver, inspect.isfunction):
            setattr(self, name, recorder.noting(name))


@pytest.fixture
def fit(monkeypatch):
    """Fit with some observers instead of the printer."""

    def fit_with(*observers, **params):
        monkeypatch.setattr(_calls, "printers", lambda *_: list(observers))
        defaults = {"hidden_layer_sizes": (3,), "solver": "lm", "random_state": 0}
        return BackpropRegressor(**{**defaults, **params}).fit(
            *make_friedman1(100, n_features=5, random_state=0)
        )

    return fit_with


@pytest.mark.parametrize("base", [IterationObserver, RunObserver, FitObserver])
def test_a_base_observer_ignores_every_event(base):
    for name, method in inspect.getmembers(base(), inspect.ismethod):
        arguments = [2] * len(inspect.signature(method).parameters)
        if name != "begin_network":
            assert not method(*arguments), name
    assert all(type(run) is RunObserver for run in FitObserver().begin_network(1, 2))


def test_events_come_in_order_and_to_every_observer(fit):
    one, other = Recorder(), Recorder()
    model = fit(one, FitObserver(), other, alpha=1.0, n_networks=2)
    assert one.events == other.events
    runs = [name for name in one.events if "iteration" not in name]
    assert runs == [
        "begin_networks",
        *("begin_network 1", "begin_run", "end_run"),
        *("begin_network 2", "begin_run", "end_run"),
        "end_fit",
    ]
    first = one.events[: one.events.index("end_run")]
    assert first.count("end_iteration") == first.count("begin_iteration") == model.n_iter_


@pytest.mark.parametrize(
    ("stop", "expected"),
    [("end_trial", 1), ("end_trials", 1), ("end_run", 1), ("end_iteration", 1)],
)
def test_what_one_observer_stops_the_others_hear_of(fit, stop, expected):
    stops, others = Recorder(stop), Recorder()
    fit(stops, others, hidden_layer_sizes="auto", n_networks=3)
    assert stops.events == others.events
    n_networks = sum(name.startswith("begin_network ") for name in others.events)
    if stop == "end_trial":
        assert others.events.count("begin_trial") == expected
    elif stop in ("end_trials", "end_run"):
        assert n_networks == expected
    else:  # a run each, of one iteration
        assert others.events.count("end_iteration") == others.events.count("begin_run")
        assert n_networks >= 3


def test_observers_change_nothing(fit):
    quiet, watched = fit(n_networks=2), fit(Recorder(), n_networks=2)
    for ours, theirs in zip(watched.coefs_, quiet.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_observers_nothing_stops():
    events = Events()
    (run,) = events.begin_network(1)
    events.end_trials()
    assert not run.end_run(None)
    assert not events.stopped
