"""Threads: results do not depend on their number, limits hold and are given back."""

import functools
import os
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from sk_backprop import BackpropRegressor
from sk_backprop._blocks import threads as _threads
from sk_backprop._blocks.arrays import beyond_range_is_inf
from sk_backprop._blocks.threads import (
    Team,
    allowed_threads,
    cached_property,
    one_blas_thread,
    side_by_side,
)
from sk_backprop._inference import predictive
from sk_backprop._inference.objective import Objective
from sk_backprop._network.families import Poisson, SquaredError
from sk_backprop._network.network import Network, lecun_bound


def blas_threads():
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


def surface(n_samples, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.randn(n_samples, 6)
    return X, np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.randn(n_samples)


# --- what may be used ---


@pytest.mark.parametrize("limit", [1, 2])
def test_allowed_are_the_threads_that_blas_has(limit):
    with threadpool_limits(limit, user_api="blas"):
        assert allowed_threads() == limit
        with one_blas_thread():
            assert blas_threads() == [1] * len(blas_threads())
            assert allowed_threads() == limit
        assert blas_threads() == [limit] * len(blas_threads())


def test_fits_side_by_side_share_what_is_allowed_and_the_last_gives_it_back():
    with threadpool_limits(2, user_api="blas"):
        with one_blas_thread(), one_blas_thread():
            assert allowed_threads() == 1
            assert blas_threads() == [1] * len(blas_threads())
        assert blas_threads() == [2] * len(blas_threads())


@pytest.mark.parametrize(("limit", "n_siblings", "share"), [(4, 2, 2), (2, 2, 1), (5, 2, 2)])
def test_siblings_share_what_is_allowed_before_all_have_begun(limit, n_siblings, share):
    turns = [threading.Event() for _ in range(n_siblings + 1)]
    turns[0].set()

    def ask(number):
        turns[number].wait()
        with one_blas_thread():
            found = allowed_threads()
        turns[number + 1].set()
        return found

    with threadpool_limits(limit, user_api="blas"):
        work = [functools.partial(ask, number) for number in range(n_siblings)]
        assert side_by_side(work, pytest.fail, n_siblings) == [share] * n_siblings
        assert allowed_threads() == limit


def test_an_error_in_one_thread_stops_its_siblings_before_others_begin_and_is_raised():
    stopped, later = threading.Event(), []

    def fail():
        raise ZeroDivisionError

    work = [lambda: stopped.wait(60), fail, lambda: later.append(stopped.is_set())]
    with pytest.raises(ZeroDivisionError):
        side_by_side(work, stopped.set, 2)
    assert later == [True]


def test_a_limit_that_somebody_sets_meanwhile_stays():
    with threadpool_limits(2, user_api="blas"):
        with one_blas_thread():
            for library in ThreadpoolController().select(user_api="blas").lib_controllers:
                library.set_num_threads(3)
        assert blas_threads() == [3] * len(blas_threads())


def test_the_limit_is_given_back_after_an_error():
    def fail():
        with one_blas_thread():
            raise ZeroDivisionError

    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(ZeroDivisionError):
            fail()
        assert blas_threads() == [2] * len(blas_threads())


# --- a team ---


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_a_team_calls_each_number_once_in_a_thread_of_its_own(n_threads):
    team, seen = Team(n_threads), []
    barrier = threading.Barrier(n_threads, timeout=30)

    def work(number):
        barrier.wait()  # passes only if all are at work at once
        seen.append((number, threading.get_ident()))

    for _ in range(2):
        seen.clear()
        team.run(work)
        assert sorted(number for number, _ in seen) == list(range(n_threads))
        assert len({thread for _, thread in seen}) == n_threads


@pytest.mark.parametrize("culprit", [0, 1])
def test_a_team_raises_what_a_member_raises_once_all_have_ended(culprit):
    ended = []

    def work(number):
        if number == culprit:
            raise ZeroDivisionError
        ended.append(number)

    with pytest.raises(ZeroDivisionError):
        Team(2).run(work)
    assert ended == [1 - culprit]


# --- values that are computed once ---


class Once:
    def __init__(self, meet=lambda: None):
        self.meet, self.calls = meet, 0

    @cached_property
    def value(self):
        """What it is."""
        self.calls += 1
        self.meet()
        return [self]


def test_a_cached_property_is_computed_once_for_each_object():
    one, other = Once(), Once()
    assert one.value is one.value == [one]
    assert other.value == [other]
    assert one.calls == other.calls == 1
    assert Once.value.__doc__ == "What it is."


def test_two_threads_compute_a_cached_property_at_once():
    meet = threading.Barrier(2, timeout=30).wait  # returns only if both are at work at once
    objects = [Once(meet), Once(meet)]
    Team(2).run(lambda number: objects[number].value)
    assert [one.calls for one in objects] == [1, 1]


# --- processes that are forked meanwhile ---

_FORK = """
import os, signal, threading, time, warnings
import numpy as np
from threadpoolctl import threadpool_info
from sk_backprop import BackpropRegressor
from sk_backprop._blocks import threads as _threads
from sk_backprop._blocks.threads import Team, allowed_threads, one_blas_thread

# Python 3.12 and newer warn of every fork of a process that has several threads.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

rng = np.random.RandomState(0)
X = rng.randn(40, 3)
y = X[:, 0] + 0.1 * rng.randn(40)


def blas_threads():
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def fit():
    BackpropRegressor((3,), solver="lm", alpha=1.0, random_state=0).fit(X, y)


def in_child(work):
    # What became of work() in a forked child; SIGALRM ends a child that waits for ever.
    child = os.fork()
    if not child:
        signal.alarm(20)
        code = 3
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {0: "well", 1: "wrong", -signal.SIGALRM: "hangs"}.get(status, "failed")


before = blas_threads()


def fits_with_the_threads_of_before():
    fit()
    return blas_threads() == before
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")


def forked(script):
    """Run a script after `_FORK`, with two BLAS threads: the words that it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _FORK + script],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
@needs_fork
def test_children_forked_during_a_fit_can_fit_with_all_blas_threads():
    found = forked(
        """
over = threading.Event()


def keep_fitting():
    while not over.is_set():
        fit()


thread = threading.Thread(target=keep_fitting)
thread.start()
found = []
for _ in range(40):
    time.sleep(0.003)  # another place of the fit
    found.append(in_child(fits_with_the_threads_of_before))
    if found[-1] == "hangs":
        break
over.set()
thread.join()
print(*found, blas_threads() == before)
"""
    )
    assert found == ["well"] * 40 + ["True"]


@pytest.mark.parametrize("solver", ["auto", "lm", "lbfgs", "adam"])
def test_no_process_is_forked_while_a_fit_or_a_prediction_imports(solver):
    # A child that is forked while another thread imports a module waits for ever to import it.
    script = """
import sys
import warnings
import numpy as np
from sk_backprop import BackpropRegressor
from sk_backprop._blocks import threads

warnings.simplefilter("ignore")
X = np.random.RandomState(0).randn(40, 3)
X[0, 0] = np.nan



class Imports:
    # Asked before each import of a module that is not there yet.
    held = {}

    def find_spec(self, name, path, target=None):
        self.held[name] = threads._lock._is_owned()


sys.meta_path.insert(0, Imports())
model = BackpropRegressor(solver=SOLVER, max_iter=3, random_state=0).fit(X, X[:, 1])
model.predict(X[1:])
model.predict_dist(X[1:])
print(len(Imports.held), *{name for name, held in Imports.held.items() if not held})
"""
    done = subprocess.run(
        [sys.executable, "-c", script.replace("SOLVER", repr(solver))],
        capture_output=True,
        text=True,
        check=True,
    )
    n_imports, *without_lock = done.stdout.split()
    assert int(n_imports) > 5
    assert without_lock == []


@needs_fork
def test_a_fork_waits_until_no_thread_changes_a_limit():
    found = forked(
        """
changing = threading.Event()


def change():
    with _threads._lock:
        changing.set()
        time.sleep(0.5)


thread = threading.Thread(target=change)
thread.start()
changing.wait()
print(in_child(fits_with_the_threads_of_before))
thread.join()
"""
    )
    assert found == ["well"]


@needs_fork
@pytest.mark.parametrize("inside", ["another thread", "this thread"])
def test_a_child_starts_without_the_limits_of_its_parent(inside):
    script = """
held, over = threading.Event(), threading.Event()


def hold():
    with one_blas_thread():
        held.set()
        over.wait()


thread = threading.Thread(target=hold)
thread.start()
held.wait()
print(in_child(lambda: blas_threads() == before and allowed_threads() == max(before)))
print(blas_threads() == {1})
over.set()
thread.join()
print(blas_threads() == before)
"""
    if inside == "this thread":
        script = """
with one_blas_thread():
    print(in_child(lambda: blas_threads() == before and allowed_threads() == max(before)))
    print(blas_threads() == {1})
print(blas_threads() == before)
"""
    assert forked(script) == ["well", "True", "True"]


@needs_fork
def test_a_team_has_threads_in_a_forked_child_too():
    found = forked(
        """
team = Team(2)
team.run(lambda number: None)  # starts the parent's threads


def numbers():
    seen = []
    team.run(seen.append)
    return sorted(seen) == [0, 1]


print(in_child(numbers), numbers())
"""
    )
    assert found == ["well", "True"]


def test_the_first_fits_in_several_threads_share_one_limit(monkeypatch):
    # With a limit of its own each, the first to leave would lift that of the others.
    n_threads, order, seen = 4, [], []
    with threadpool_limits(2, user_api="blas"):
        found = ThreadpoolController().select(user_api="blas").lib_controllers

        def slow_search():
            time.sleep(0.05)
            return _threads._Limit(found)

        monkeypatch.setattr(_threads, "_limit_of_process", functools.cache(slow_search))
        barrier = threading.Barrier(n_threads, timeout=30)

        def hold(number):
            barrier.wait()
            with one_blas_thread():
                order.append(number)
                time.sleep(0.2 + 0.1 * len(order))  # the first to come is the first to leave
                seen.append(blas_threads())

        Team(n_threads).run(hold)
        assert seen == [[1] * len(blas_threads())] * n_threads
        assert blas_threads() == [2] * len(blas_threads())


# --- the same numbers ---


@pytest.mark.parametrize("n_samples", [900, 5000, 20_000])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_gradient_do_not_depend_on_the_threads(n_samples, weighted):
    X, y = surface(n_samples)
    w = np.random.RandomState(1).uniform(0.5, 2, n_samples) if weighted else None
    network = Network((6, 150, 1), "tanh", "identity")
    params = network.initial_parameters(np.random.RandomState(0), float, lecun_bound)
    found = []
    for limit in (1, 2, 3):
        with threadpool_limits(limit, user_api="blas"), one_blas_thread():
            objective = Objective(network, SquaredError(), X, y[:, None], w, alpha=0.5)
            grad = objective.parameters(params.flat)
            found.append(np.append(grad.flat, objective.loss_gradient(params, grad)))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.parametrize("equation_rows", [64, 512])
def test_normal_equations_do_not_depend_on_the_threads(equation_rows):
    X, y = surface(5000)
    network = Network((6, 15, 1), "tanh", "identity")
    params = network.initial_parameters(np.random.RandomState(0), float, lecun_bound)
    found = []
    for limit in (1, 2, 3):
        with threadpool_limits(limit, user_api="blas"), one_blas_thread():
            objective = Objective(
                network, SquaredError(), X, y[:, None], equation_rows=equation_rows
            )
            normal = objective.normal_equations(params)
            normal = objective.normal_equations(params, normal)  # into what is there
            found.append(np.concatenate([array.ravel() for array in normal]))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.parametrize(
    ("solver", "hidden"),
    [("lm", (30,)), *((solver, (256, 256)) for solver in ("lbfgs", "adam", "sgd"))],
)
def test_a_fit_does_not_depend_on_the_threads(solver, hidden):
    X, y = surface(5000)
    found = []
    for limit in (1, 2):
        with threadpool_limits(limit, user_api="blas"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = BackpropRegressor(
                hidden, solver=solver, alpha=1.0, max_iter=4, random_state=0
            ).fit(X, y)
            # Threads share the rows of many means.
            many = model.predict(np.tile(X, (60_000 // len(X), 1)))
            found.append(np.concatenate([*model.predict(X, return_std=True), many]))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("n_rows", "n_threads"), [(1000, 1), (100_000, 2)])
def test_threads_share_the_means_of_many_rows_alone(n_rows, n_threads, monkeypatch):
    X, y = surface(500)
    model = BackpropRegressor((30,), solver="lbfgs", alpha=1.0, tol=0.1, random_state=0).fit(X, y)
    made = []
    monkeypatch.setattr(predictive, "Team", lambda n: made.append(n) or Team(n))
    with threadpool_limits(2, user_api="blas"):
        model.predict(np.tile(X, (n_rows // 500, 1)))
    assert made == [n_threads]


@pytest.mark.slow
def test_the_defaults_do_not_depend_on_the_threads():
    X, y = surface(200)
    found = []
    for limit in (1, 2):
        with threadpool_limits(limit, user_api="blas"):
            model = BackpropRegressor(random_state=0).fit(X, y)
            # Threads share the rows of many means.
            many = model.predict(np.tile(X, (60_000 // len(X), 1)))
            found.append(np.concatenate([*model.predict(X, return_std=True), many]))
    np.testing.assert_array_equal(*found)


@pytest.mark.slow
def test_large_steps_of_lm_do_not_depend_on_the_threads():
    X, y = surface(4000)
    found = []
    for limit in (1, 2):
        model = BackpropRegressor((150,), solver="lm", alpha=1.0, max_iter=2, random_state=0)
        with threadpool_limits(limit, user_api="blas"), pytest.warns(ConvergenceWarning):
            model.fit(X, y)
        found.append(model.predict(X))
    np.testing.assert_array_equal(*found)


def test_threads_write_no_warnings_of_an_overflow():
    # What numpy ignores is a setting of each thread.
    X, y = surface(5000)
    with threadpool_limits(2, user_api="blas"), one_blas_thread():
        network = Network((6, 300, 1), "tanh", "exp")
        params = network.initial_parameters(np.random.RandomState(0), float, lecun_bound)
        params.coefs[-1][...] *= 1e300
        objective = Objective(network, Poisson(), X, np.abs(y)[:, None])
        grad = objective.parameters(params.flat)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            assert not np.isfinite(objective.loss_gradient(params, grad))


def test_the_alarms_of_one_thread_are_not_turned_off_or_on_by_another():
    # A fit in a thread of its own settings enters and leaves while another is at its work.
    inside, over = threading.Event(), threading.Event()
    seen = {}

    @beyond_range_is_inf
    def work(name):
        if name == "long":
            inside.set()
            assert over.wait(60)
        seen[name] = np.geterr()["over"]

    def within_own_settings():
        with np.errstate(over="raise"):
            work("long")
            seen["after"] = np.geterr()["over"]

    thread = threading.Thread(target=within_own_settings)
    thread.start()
    assert inside.wait(60)
    with np.errstate(over="print"):
        work("short")
    over.set()
    thread.join()
    assert seen == {"short": "ignore", "long": "ignore", "after": "raise"}


# --- memory ---

_STREAM = """
import resource, sys, warnings
import numpy as np
from sk_backprop import BackpropRegressor

path, n_rows, n_columns, cap = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
rows = 20_000
model = BackpropRegressor((20,), solver="adam", random_state=0)


def batch(start):
    # Read, not mapped: a map would count as address space.
    offset = 8 * start * (n_columns + 1)
    table = np.fromfile(path, count=rows * (n_columns + 1), offset=offset)
    return np.hsplit(table.reshape(rows, n_columns + 1), [n_columns])


X, y = batch(0)
model.partial_fit(X, y.ravel())  # loads what is loaded late
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + cap, used + cap))
try:
    np.ones(cap // 8 + 2**20)
except MemoryError:
    print("capped")
for _ in range(2):
    for start in range(0, n_rows, rows):
        X, y = batch(start)
        model.partial_fit(X, y.ravel())
print(model.score(X, y.ravel()))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space of a process")
def test_a_file_larger_than_the_memory_allowed_is_streamed(tmp_path):
    n_rows, n_columns, cap = 400_000, 40, 2**26
    path, rng = tmp_path / "table.bin", np.random.RandomState(0)
    with path.open("wb") as file:
        for _ in range(20):
            X = rng.randn(n_rows // 20, n_columns)
            np.column_stack([X, np.sin(X[:, 0]) + X[:, 1]]).tofile(file)
    assert path.stat().st_size > 1.9 * cap
    told = subprocess.run(
        [sys.executable, "-c", _STREAM, str(path), str(n_rows), str(n_columns), str(cap)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    first, score = told.stdout.split()
    assert first == "capped"
    assert float(score) > 0.9
