"""Networks of a fit side by side in threads: the same networks, and Ctrl-C."""

import _thread
import signal
import threading

import numpy as np
import pytest
from cases import slow
from threadpoolctl import threadpool_limits

from sk_backprop import BackpropRegressor
from sk_backprop._estimator.start import tasks_of
from sk_backprop._inference.objective import Objective
from sk_backprop._training import ensemble
from sk_backprop._training.ensemble import Group, _ordered, _pays_side_by_side
from sk_backprop._training.problem import Data, prepare
from sk_backprop._training.run import TrainingRun


@pytest.fixture(scope="module")
def surface():
    rng = np.random.RandomState(0)
    X = rng.randn(3000, 4)
    return X, np.sin(2 * X[:, 0]) * X[:, 1] + 0.1 * rng.randn(3000)


@pytest.fixture(autouse=True)
def ctrl_c():
    """SIGINT raises KeyboardInterrupt, even where tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def regressor(**params):
    """Four networks, of some 20 steps each."""
    defaults = {"hidden_layer_sizes": (30,), "solver": "lm", "alpha": 1.0, "n_networks": 4}
    return BackpropRegressor(**{**defaults, "random_state": 0, **params})


def watch_runs(monkeypatch, at=None, act=None):
    """The thread of each run, in the order in which they begin.

    at : number of the run, from 0, that calls `act` when it evaluates its fifth step
    """
    threads, evaluations = [], {}
    real_train, real_losses = TrainingRun.train, Objective.losses

    def train(*args, **kwargs):
        threads.append(threading.get_ident())
        evaluations[threading.get_ident()] = 0
        return real_train(*args, **kwargs)

    def losses(self, params):
        thread = threading.get_ident()
        evaluations[thread] += 1
        newest = len(threads) - 1 - threads[::-1].index(thread)
        if newest == at and evaluations[thread] == 5:
            act()
        return real_losses(self, params)

    monkeypatch.setattr(TrainingRun, "train", train)
    monkeypatch.setattr(Objective, "losses", losses)
    return threads


@pytest.mark.parametrize(
    ("params", "in_threads"),
    [
        ({"n_networks": 2}, True),
        ({"solver": "lbfgs", "hidden_layer_sizes": (200,), "max_iter": 20}, True),
        ({"n_networks": 2, "verbose": 1}, False),  # prints one network after the other
        ({"hidden_layer_sizes": (2,)}, False),  # too short
        ({"solver": "adam", "max_iter": 3}, False),
        *slow([({"n_networks": 3}, True), ({"n_jobs": 1}, False)]),
        *slow([({"alpha": "auto", "n_networks": 2, "noise": "constant"}, True)]),
        *slow([({"solver": "muon", "hidden_layer_sizes": (230, 230), "max_iter": 2}, True)]),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Training stopped at max_iter")  # a few iterations show it
def test_networks_are_the_same_side_by_side(surface, monkeypatch, params, in_threads):
    def fit(n_threads):
        with threadpool_limits(n_threads, user_api="blas"):
            return regressor(**params).fit(*surface)

    expected = fit(1)
    threads = watch_runs(monkeypatch)
    model = fit(2)
    np.testing.assert_equal(model.coefs_, expected.coefs_)
    for found, other in zip(model.predict(surface[0], True), expected.predict(surface[0], True)):
        np.testing.assert_array_equal(found, other)
    assert (threading.get_ident() not in threads) == in_threads
    assert (len(set(threads)) > 1) == in_threads


def raise_interrupt():
    raise KeyboardInterrupt


# Ctrl-C reaches the main thread, which waits. A solver may also meet one by itself.
@pytest.mark.parametrize("act", [_thread.interrupt_main, raise_interrupt])
@pytest.mark.parametrize(
    ("number", "kept", "says"),
    [
        (0, {1}, r"the weights of iteration \d+ are kept \(solver='lm'\)"),
        # The third network may be complete by then, as each thread goes on when it has finished.
        (3, {2, 3}, "[23] complete networks are kept"),
    ],
)
def test_ctrl_c_keeps_the_complete_networks_or_an_incomplete_one(
    surface, monkeypatch, act, number, kept, says
):
    threads = watch_runs(monkeypatch, number, act)
    says = f"^Training interrupted; {says}.$"
    with threadpool_limits(2, user_api="blas"), pytest.warns(UserWarning, match=says) as told:
        model = regressor().fit(*surface)
    assert len(told) == 1
    assert len(threads) == number + 1 + (number == 0)
    assert model.n_networks_ in kept
    assert np.isfinite(model.predict(surface[0])).all()


@pytest.mark.parametrize(("numbers", "kept"), [((0,), 1), ((0, 1), 0), ((2,), 2)])
def test_ctrl_c_before_the_steps_of_networks(surface, monkeypatch, numbers, kept):
    real_start, real_train = TrainingRun._initial_parameters, TrainingRun.train
    begun, ended = [], []
    two_begun, two_ended = threading.Event(), threading.Event()

    def interrupted(*args):
        begun.append(1)
        number = len(begun) - 1
        if number == 1:
            two_begun.set()
        if number in numbers:
            (two_begun if number < 2 else two_ended).wait(60)
            raise KeyboardInterrupt
        return real_start(*args)

    def train(*args):
        trained = real_train(*args)
        ended.append(1)
        if len(ended) == 2:
            two_ended.set()
        return trained

    monkeypatch.setattr(TrainingRun, "_initial_parameters", interrupted)
    monkeypatch.setattr(TrainingRun, "train", train)
    model = regressor()
    with threadpool_limits(2, user_api="blas"):
        if kept:
            with pytest.warns(UserWarning, match="^Training interrupted; "):
                model.fit(*surface)
            assert model.n_networks_ == kept
        else:
            with pytest.raises(KeyboardInterrupt):
                model.fit(*surface)
            assert not hasattr(model, "coefs_")


def test_an_error_in_one_network_ends_the_fit_soon(surface, monkeypatch):
    def fail():
        raise MemoryError

    threads = watch_runs(monkeypatch, 1, fail)
    model = regressor()
    with threadpool_limits(2, user_api="blas"), pytest.raises(MemoryError):
        model.fit(*surface)
    assert len(threads) == 2
    assert not hasattr(model, "coefs_")


def group(surface, n_networks, hidden, **params):
    data = Data(surface[0], surface[1][:, None])
    model = BackpropRegressor(hidden, alpha=1.0, **params)
    settings = tasks_of(model, data, None)[0].plan.settings
    return Group.of(settings, prepare(settings, data, None), range(n_networks))


def test_networks_of_another_group_are_kept_where_one_group_has_none(surface, monkeypatch):
    slow, quick = group(surface, 1, (5,), solver="lm"), group(surface, 1, (3,), solver="lm")
    ended = threading.Event()

    def train_one(settings, *_):
        if settings.network == quick.settings.network:
            ended.set()
            return "trained", False
        ended.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(ensemble, "_train_one", train_one)
    # One thread is free for the second network while the first one waits for it.
    results = ensemble._train_in_threads([slow, quick], 2)
    assert [(one.networks, one.interrupted) for one in results] == [([], True), (["trained"], True)]


def test_next_to_a_network_that_uses_all_blas_threads_there_is_no_other(surface):
    wide, huge = (
        group(surface, 1, (units, units), solver="muon", max_iter=1) for units in (250, 1000)
    )
    assert huge.settings.uses_blas_threads
    assert not wide.settings.uses_blas_threads
    assert _pays_side_by_side([wide, wide])
    assert not _pays_side_by_side([wide, huge])


def test_the_most_costly_networks_are_first_and_those_by_mini_batches_between_the_others(surface):
    small, large = (group(surface, 2, (units,), solver="lm") for units in (3, 9))
    batches = group(surface, 5, (64, 64), solver="muon")
    numbers = [number for number, _ in _ordered([small, batches, large])]
    assert numbers == [2, 1, 2, 1, 0, 1, 0, 1, 1]
