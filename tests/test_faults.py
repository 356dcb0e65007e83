"""Faults from outside: what the user keeps when a fit is met by one.

A fit that is ended by an exception leaves the estimator as it was before, or as it is
when the fit is complete; nothing between. What belongs to the whole process is
left as it was found.
"""

import _thread
import functools
import hashlib
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from inspect import CO_GENERATOR
from pathlib import Path

import numpy as np
import pytest
import sklearn
from cases import every_pair, slow
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController, threadpool_limits

import sk_backprop
from sk_backprop import BackpropRegressor

PACKAGE = str(Path(sk_backprop.__file__).parent)

LIBRARIES = ThreadpoolController()

RNG = np.random.RandomState(0)


def rows(n, low):
    X = RNG.uniform(low, 1, (n, 3))
    return X, np.sin(3 * X[:, 0]) + X[:, 1] + 0.1 * RNG.randn(n)


FIRST, SECOND = rows(60, -1), rows(50, -2)

SMALL = {"hidden_layer_sizes": (3,), "max_iter": 4, "batch_size": 20, "random_state": 0}
CASES = {
    "lm, evidence": ("fit", {"solver": "lm", "n_networks": 2}),
    "lm, alpha": ("fit", {"solver": "lm", "alpha": 1.0, "warm_start": True}),
    "lbfgs": ("fit", {"solver": "lbfgs", "alpha": 1.0}),
    "adam": ("fit", {"solver": "adam"}),
    "sgd": ("fit", {"solver": "sgd", "early_stopping": True}),
    "muon": ("fit", {"solver": "muon", "hidden_layer_sizes": (3, 2), "units_per_feature": 2}),
    "adam, stream": ("partial_fit", {"solver": "adam"}),
    "sgd, stream": ("partial_fit", {"solver": "sgd"}),
    "lm, warm start of two": ("fit", {"solver": "lm", "n_networks": 2, "warm_start": True}),
    "adam, stream of two": ("partial_fit", {"solver": "adam", "n_networks": 2}),
    "sgd, unfitted": ("fit", {"solver": "sgd", "early_stopping": True}),
    "adam, unfitted stream": ("partial_fit", {"solver": "adam"}),
    "lbfgs, trials": ("fit", {"solver": "lbfgs", "max_iter": 1}),
}
# The files whose places are met, where they are not all: what the other cases do not pass.
ONLY_IN = {
    "lbfgs, trials": {"budget.py", "plan.py", "selection.py", "trials.py"},
    "muon": {"muon.py", "initial.py"},
}


@functools.cache
def stored(case):
    """An estimator that has been fitted, quietly, if it is to be, as a pickle."""
    method, params = CASES[case]
    model = BackpropRegressor(**{**SMALL, **params})
    if "unfitted" in case:
        return pickle.dumps(model)
    with warnings.catch_warnings():
        # max_iter ends the fit after a few iterations, so that each of its places can be tried.
        warnings.simplefilter("ignore", ConvergenceWarning)
        getattr(model, method)(*FIRST)
    return pickle.dumps(model)


def prepared(case):
    """An estimator, and the method to call next."""
    model = pickle.loads(stored(case))
    return model, getattr(model, CASES[case][0])


def state(model):
    """A hash of all that the estimator holds."""
    return hashlib.sha256(pickle.dumps(vars(model))).hexdigest()


def process_state():
    """What every part of the process shares."""
    random = pickle.dumps(np.random.get_state())  # noqa: NPY002 - it is what must stay
    blas = LIBRARIES.select(user_api="blas").info()
    return {
        "numpy's random state": random,
        "floating-point errors": (np.geterr(), np.geterrcall()),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "environment": dict(os.environ),
        "scikit-learn's configuration": sklearn.get_config(),
        "signal handler": signal.getsignal(signal.SIGINT),
        "folder": Path.cwd(),
        "BLAS threads": [(one["filepath"], one["num_threads"]) for one in blas],
    }


# --- an exception at any place of the package ---


class Places:
    """Watch, by `sys.setprofile`, where the package's functions begin, end and call.

    These are the places at which CPython looks for signals, and so where Ctrl-C
    is raised; and memory may run out in any call.

    Parameters
    ----------
    at : int, number of the place to raise `error` at; 0 only counts
    """

    def __init__(self, at=0, error=KeyboardInterrupt):
        self._at, self._error = at, error
        self.seen = []  # (file, line, event)

    def _watch(self, frame, event, arg):
        code = frame.f_code
        # What a generator raises that is thrown away unfinished, Python ignores.
        events = ("c_return",) if code.co_flags & CO_GENERATOR else ("call", "return", "c_return")
        if event in events and code.co_filename.startswith(PACKAGE):
            self.seen.append((code.co_filename, frame.f_lineno, event))
            if len(self.seen) == self._at:
                raise self._error("injected")

    def __enter__(self):
        self._before = sys.getprofile()
        sys.setprofile(self._watch)
        return self

    def __exit__(self, *exception):
        sys.setprofile(self._before)


@functools.cache
def complete(case):
    """The state after the call that nothing has met, and the places that it passes."""
    for _ in range(2):  # some things are done once in a process
        model, call = prepared(case)
        with Places() as places, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter ends it, as in `stored`
            call(*SECOND)
    return state(model), places.seen


def numbers_of_places(case):
    """The first or, at every second place, the last time that it is passed."""
    seen = complete(case)[1]
    last = {place: number for number, place in enumerate(seen, start=1)}
    first = {place: number for number, place in reversed(list(enumerate(seen, start=1)))}
    only = ONLY_IN.get(case)
    return [
        (last if k % 2 else first)[place]
        for k, place in enumerate(last)
        if only is None or Path(place[0]).name in only
    ]


def inconsistencies(model, X=SECOND[0]):
    """What does not fit together in an estimator whose fit was interrupted."""
    mean, std = model.predict(X, return_std=True)
    loaded = pickle.loads(pickle.dumps(model))
    claims = {
        "curve": len(model.loss_curve_) == model.n_iter_,
        "loss": np.isfinite(model.loss_),
        "mean": np.isfinite(mean).all(),
        "std": (std > 0).all() and np.isfinite(std).all(),
        "pickle": np.array_equal(loaded.predict(X), mean),
    }
    return [name for name, holds in claims.items() if not holds]


def meet(case, number, error):
    """Let the call be met by `error` at the place of that number; say what is wrong then."""
    model, call = prepared(case)
    earlier, around = state(model), process_state()
    raised = False
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        with Places(number, error):
            try:
                call(*SECOND)
            except error:
                raised = True
        wrong = [] if warnings.filters == filters else ["warnings"]
    now = process_state()
    wrong += [name for name in around if now[name] != around[name]]
    if raised:
        if state(model) not in (earlier, complete(case)[0]):
            wrong.append("neither the earlier fit nor the new one")
    elif error is not KeyboardInterrupt:
        wrong.append("not raised")
    else:
        if sum("interrupted" in str(one.message) for one in told) != 1:
            wrong.append("no warning, or several")
        goes_on = call.__name__ == "partial_fit" or "two" in case
        if goes_on and state(model) != earlier:
            wrong.append("what it went on from has changed")
        if hasattr(model, "coefs_"):
            wrong += inconsistencies(model)
        elif not goes_on:
            wrong.append("nothing kept")
    return wrong


def harm(case, error, numbers):
    """{what is wrong: places of these numbers at which the error led to it}."""
    found = {}
    seen = complete(case)[1]
    for number in numbers:
        with threadpool_limits(2, user_api="blas"):  # with one there would be nothing to leave
            met = meet(case, number, error)
        for wrong in met:
            file, *place = seen[number - 1]
            found.setdefault(wrong, []).append((Path(file).name, *place))
    return found


# Of these, which take as long as all others together, only every fourth place is tried.
LONG_CASES = {"lm, warm start of two", "lm, evidence"}


@pytest.mark.parametrize("case", CASES)
def test_ctrl_c_or_no_memory_at_one_place_in_thirty_two(case):
    numbers = numbers_of_places(case)[:: 1 + 3 * (case in LONG_CASES)]
    assert harm(case, KeyboardInterrupt, numbers[::32]) == {}
    assert harm(case, MemoryError, numbers[16::32]) == {}


@functools.cache
def cases_of_places():
    """{place: {case that passes it: the number at which it does}}."""
    found = {}
    for case in CASES:
        seen = complete(case)[1]
        for number in numbers_of_places(case)[:: 1 + 3 * (case in LONG_CASES)]:
            found.setdefault(seen[number - 1], {})[case] = number
    return found


def turns(case, turn):
    """Numbers of the places that an error meets in this case, if it meets them by turns.

    A place that up to three cases pass meets in each of them Ctrl-C, at turn 0, or MemoryError, at
    turn 1. One that more cases pass meets both, in every fourth case each.
    """
    found = []
    for k, cases in enumerate(cases_of_places().values()):
        step = 2 if len(cases) < 4 else 4
        if case in cases and (k + list(cases).index(case)) % step == turn * step // 2:
            found.append(cases[case])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_ctrl_c_anywhere(case):
    assert harm(case, KeyboardInterrupt, turns(case, 0)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_no_memory_anywhere(case):
    assert harm(case, MemoryError, turns(case, 1)) == {}


def test_every_place_meets_an_error_and_those_of_many_cases_both():
    met = [{(case, n) for case in CASES for n in turns(case, turn)} for turn in (0, 1)]
    for cases in cases_of_places().values():
        by_error = [any(pair in one for pair in cases.items()) for one in met]
        assert all(by_error) if len(cases) > 1 else any(by_error)


# --- Ctrl-C as it comes, from another thread, in the middle of a long run ---

LONG = {"max_iter": 10**6, "n_iter_no_change": np.inf, "tol": 0.0, "random_state": 0}


@pytest.mark.parametrize(
    "params",
    [
        {"solver": "lm", "hidden_layer_sizes": (30,), "n_networks": 1},
        {"solver": "lm", "hidden_layer_sizes": (30,), "alpha": 1e-6},
        {"solver": "lbfgs", "hidden_layer_sizes": (30,), "alpha": 1e-6},
        {"solver": "adam", "hidden_layer_sizes": (30,), "verbose": 1},
        {"solver": "sgd", "hidden_layer_sizes": (30,), "early_stopping": True},
    ],
    ids=str,
)
@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_in_a_long_run(params, capsys):
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (8000, 5))
    y = np.sin(7 * X).sum(axis=1) + rng.randn(8000)
    model = BackpropRegressor(**{**LONG, **params})
    timer = threading.Timer(0.4, _thread.interrupt_main)
    timer.start()
    try:
        with pytest.warns(UserWarning, match="Training interrupted") as told:
            model.fit(X, y)
    finally:
        timer.cancel()
    capsys.readouterr()
    assert len(told) == 1
    assert model.n_iter_ < LONG["max_iter"]
    assert inconsistencies(model, X[:50]) == []


# --- other processes ---


def run_script(script, timeout=120, **environment):
    """Run a script in a process of its own: (exit code, lines printed, errors)."""
    head = "import warnings\nimport numpy as np\nfrom sk_backprop import BackpropRegressor\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", head + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout.split(), done.stderr


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="finds its worker processes in Linux's /proc"
)


@pytest.mark.slow
@needs_proc
def test_a_killed_worker_is_reported_and_the_earlier_fit_stays():
    code, printed, errors = run_script(
        """
        import os, pickle, signal, threading, time
        from contextlib import suppress
        from pathlib import Path
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        def children():
            for task in Path("/proc/self/task").iterdir():
                yield from (task / "children").read_text().split()

        def seconds(child):
            times = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]
            return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")

        def kill_a_worker():
            while not killed:
                time.sleep(0.02)
                with suppress(OSError):  # one that has ended meanwhile
                    for child in children():
                        # At work: after the imports, when it holds none of the queue's locks.
                        loky = "popen_loky" in Path(f"/proc/{child}/cmdline").read_text()
                        if loky and seconds(child) > 3:
                            os.kill(int(child), signal.SIGKILL)
                            killed.append(child)
                            break

        rng = np.random.RandomState(0)
        X = rng.uniform(-1, 1, (200, 5))
        y = np.sin(7 * X).sum(axis=1) + rng.randn(200)
        short = {"tol": 0.5, "n_iter_no_change": 1}
        model = BackpropRegressor((5,), solver="adam", n_networks=2, random_state=0, **short)
        before = pickle.dumps(vars(model.fit(X[:50], y[:50])))
        model.set_params(n_jobs=2, tol=0.0, n_iter_no_change=np.inf, max_iter=200_000)
        killed = []
        killer = threading.Thread(target=kill_a_worker)
        killer.start()
        try:
            model.fit(X, y)
        except TerminatedWorkerError:
            model.set_params(n_jobs=None, max_iter="auto", **short)
            print("told", pickle.dumps(vars(model)) == before)
        killer.join()
        model.set_params(n_jobs=2)
        parallel = model.fit(X[:50], y[:50]).predict(X)
        serial = model.set_params(n_jobs=1).fit(X[:50], y[:50]).predict(X)
        print(np.array_equal(parallel, serial))
        """
    )
    assert (code, printed) == (0, ["told", "True", "True"]), errors


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems report a page of a truncated file differently"
)
@pytest.mark.parametrize("solver", ["lm", *slow(["lbfgs", "adam", "sgd"])])
def test_a_file_cut_short_during_training_does_no_harm(solver, tmp_path):
    # Training works on a copy in its own coordinates. (Before it has been made, or in predict,
    # reading the lost rows ends the process by SIGBUS, as with any memory-mapped array.)
    code, printed, errors = run_script(
        f"""
        import os, sys
        from sklearn.exceptions import ConvergenceWarning

        class Truncating:
            def write(self, text):
                for path in paths:
                    os.truncate(path, 0)
            def flush(self):
                pass

        paths = {[str(tmp_path / name) for name in ("X.npy", "X_val.npy")]!r}
        rng = np.random.RandomState(0)
        X = rng.uniform(-1, 1, (3000, 4))
        y = X[:, 0] * X[:, 1] + 0.1 * rng.randn(3000)
        model = BackpropRegressor((4,), solver={solver!r}, alpha=1.0, max_iter=4, verbose=2,
                                  early_stopping=True, random_state=0)
        for path in paths:
            np.save(path, X)
        mapped, mapped_val = (np.load(path, mmap_mode="r") for path in paths)
        warnings.simplefilter("ignore", ConvergenceWarning)  # four iterations are too few
        terminal, sys.stdout = sys.stdout, Truncating()
        cut = model.fit(mapped, y, X_val=mapped_val, y_val=y).predict(X)
        sys.stdout = open(os.devnull, "w")
        whole = model.fit(X, y, X_val=X, y_val=y).predict(X)
        sys.stdout = terminal
        print(*map(os.path.getsize, paths), np.array_equal(cut, whole))
        """
    )
    assert (code, printed) == (0, ["0", "0", "True"]), errors


# --- several threads ---


@pytest.mark.slow
def test_fits_in_several_threads_are_those_one_after_the_other():
    models = {
        (solver, alpha, seed): BackpropRegressor(
            (5,), solver=solver, alpha=alpha, n_networks=2, tol=0.01, random_state=seed
        )
        for solver, alpha in [
            ("lm", "auto"),
            ("lm", 1.0),
            ("lbfgs", 1.0),
            ("adam", 1.0),
            ("sgd", 1.0),
        ]
        for seed in range(3)
    }
    models["auto"] = BackpropRegressor(random_state=0)

    with warnings.catch_warnings(), threadpool_limits(2, user_api="blas"):
        warnings.simplefilter("ignore", ConvergenceWarning)  # some end at max_iter; bits count
        around = process_state()
        serial = [clone(model).fit(*FIRST).predict(SECOND[0]) for model in models.values()]
        with ThreadPoolExecutor(4) as pool:
            parallel = pool.map(lambda m: clone(m).fit(*FIRST).predict(SECOND[0]), models.values())
            for (name, one), other in zip(zip(models, serial), parallel, strict=True):
                np.testing.assert_array_equal(one, other, err_msg=str(name))
        assert process_state() == around


@pytest.mark.slow
@pytest.mark.skipif(
    not LIBRARIES.select(internal_api="openblas"), reason="sets the threads of OpenBLAS"
)
def test_fits_in_several_threads_leave_the_blas_threads():
    # In a process of its own: threadpoolctl lets only the thread that was first set a limit.
    code, printed, errors = run_script(
        """
        from concurrent.futures import ThreadPoolExecutor
        from threadpoolctl import threadpool_info

        def blas_threads():
            return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

        rng = np.random.RandomState(0)
        X = rng.uniform(-1, 1, (200, 3))
        y = np.sin(3 * X[:, 0]) + 0.1 * rng.randn(200)
        before, after = blas_threads(), []
        for _ in range(10):
            with ThreadPoolExecutor(3) as pool:
                for seed in range(6):
                    model = BackpropRegressor((5,), solver="lm", n_networks=1, random_state=seed)
                    pool.submit(model.fit, X, y)
            after.append(blas_threads())
        print(before == {2}, all(threads == before for threads in after))
        """,
        OPENBLAS_NUM_THREADS="2",
    )
    assert (code, printed) == (0, ["True", "True"]), errors


def test_one_estimator_predicts_in_several_threads():
    model = BackpropRegressor((5,), solver="lm", n_networks=2, random_state=0).fit(*FIRST)
    mean, std = clone(model).fit(*FIRST).predict(SECOND[0], return_std=True)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(model.predict, SECOND[0], return_std=True) for _ in range(40)]
    for call in calls:
        np.testing.assert_array_equal(call.result()[0], mean)
        np.testing.assert_array_equal(call.result()[1], std)


@pytest.mark.parametrize(("n_samples", "n_units"), [(60, 8), *slow([(1000, 60)])])
@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam", "sgd"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # large: five steps
def test_blas_threads_that_others_change_meanwhile_change_no_more_than_rounding(
    solver, n_samples, n_units
):
    # Small matrices are computed by one thread in any case (OpenBLAS), if the limit comes late.
    model = BackpropRegressor((n_units,), solver=solver, alpha=3.0, random_state=0)
    table = FIRST
    if n_samples > len(FIRST[0]):
        table = rows(n_samples, -1)
        model.set_params(max_iter=5)
    undisturbed = model.fit(*table).predict(SECOND[0])
    stop = threading.Event()

    def change():
        while not stop.is_set():
            for number in (1, 2):
                for library in LIBRARIES.select(user_api="blas").lib_controllers:
                    library.set_num_threads(number)

    with threadpool_limits(2, user_api="blas"):
        changer = threading.Thread(target=change)
        changer.start()
        try:
            disturbed = [model.fit(*table).predict(SECOND[0]) for _ in range(5)]
        finally:
            stop.set()
            changer.join()
    for mean in disturbed:
        np.testing.assert_allclose(mean, undisturbed, rtol=1e-9, atol=1e-9)


# --- what belongs to the process ---

USES = {
    "fit": lambda model: model.fit(*SECOND),
    "predict": lambda model: model.predict(SECOND[0], return_std=True),
    "gradient": lambda model: model.gradient(SECOND[0]),
    "fit of nan": lambda model: model.fit(SECOND[0], SECOND[1] * np.nan),
    "partial_fit": lambda model: model.partial_fit(*SECOND),
    "partial_fit of inf": lambda model: model.partial_fit(SECOND[0] * np.inf, SECOND[1]),
    "predict at inf": lambda model: model.predict(SECOND[0] * np.inf),
    "fit in two processes": lambda model: model.set_params(n_networks=2, n_jobs=2).fit(*SECOND),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("solver", ["auto", "lm", "lbfgs", "adam", "sgd"])
def test_the_process_is_left_as_it_was(solver, use):
    if use.startswith("partial_fit") and solver in ("lm", "lbfgs"):
        use = "fit"  # there is no such method
    quick = {"auto": {}, "lm": {"tol": 0.01}}.get(solver, {"alpha": 1.0, "tol": 0.01})
    model = BackpropRegressor((3,), solver=solver, random_state=0, **quick).fit(*FIRST)
    np.random.seed(7)  # noqa: NPY002 - it is what must stay
    with threadpool_limits(2, user_api="blas"), np.errstate(under="raise", divide="print"):
        around = process_state()
        try:
            USES[use](model)
        except ValueError:
            assert use.endswith(("nan", "inf"))
        else:
            assert not use.endswith(("nan", "inf"))
        assert process_state() == around


@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam", "sgd"])
def test_without_random_state_numpys_own_is_used(solver):
    model = BackpropRegressor((3,), solver=solver, alpha=1.0, tol=0.01)
    predictions = []
    for seed in (3, 4, 3):
        np.random.seed(seed)  # noqa: NPY002 - what random_state=None stands for
        predictions.append(model.fit(*FIRST).predict(SECOND[0]))
    np.testing.assert_array_equal(predictions[0], predictions[2])
    assert not np.array_equal(predictions[0], predictions[1])


# --- overflow ---


@pytest.mark.parametrize(
    ("activation", "rate", "solver", "early_stopping"),
    every_pair(
        ["logistic", "tanh", "relu", "identity"],
        [1e6, 1e30, 1e300],
        ["sgd", "adam"],
        [False, True],
    ),
)
def test_steps_that_overflow_end_the_fit_with_one_warning(solver, activation, rate, early_stopping):
    options = {"activation": activation, "early_stopping": early_stopping, "random_state": 0}
    model = BackpropRegressor((5, 5), solver=solver, learning_rate_init=rate, **options)
    with pytest.warns(ConvergenceWarning, match="diverged.*Decrease learning_rate_init") as told:
        model.fit(*FIRST)
    assert len(told) == 1
    mean, std = model.predict(SECOND[0], return_std=True)
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()
    # What is kept is no worse than a constant by more than a start of random weights is.
    assert model.score(*FIRST) > -10


@pytest.mark.parametrize("rate", [1e6, 1e300])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_batch_that_overflows_leaves_the_function(solver, rate):
    model = BackpropRegressor((5,), solver=solver, batch_size=10, random_state=0)
    for _ in range(5):
        model.partial_fit(*FIRST)
    before = model.predict(SECOND[0])
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.set_params(learning_rate_init=rate).partial_fit(*SECOND)
    np.testing.assert_allclose(model.predict(SECOND[0]), before, rtol=1e-9, atol=1e-9)
    model.set_params(learning_rate_init=0.003).partial_fit(*FIRST)
    assert np.isfinite(model.loss_)


# --- a singular J^T J ---


def least_squares(X, y, X_new):
    A, B = (np.column_stack([X, np.ones(len(X))]) for X in (X, X_new))
    return B @ np.linalg.lstsq(A, y, rcond=None)[0]


@pytest.mark.parametrize("solver", ["lm", "lbfgs"])
@pytest.mark.parametrize(
    "widen",
    [
        lambda X: np.column_stack([X, X]),
        lambda X: np.column_stack([X, X.sum(axis=1), 1e-6 * X[:, :1]]),
        lambda X: np.column_stack([X, np.zeros(len(X)), np.full(len(X), 7.0)]),
    ],
    ids=["twice", "dependent", "constant"],
)
def test_a_linear_model_without_penalty_is_that_of_least_squares(widen, solver):
    model = BackpropRegressor((), solver=solver, alpha=0.0, tol=0.0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # with tol=0 only max_iter ends it
        model.fit(widen(FIRST[0]), FIRST[1])
    expected = least_squares(*FIRST, SECOND[0])
    np.testing.assert_allclose(model.predict(widen(SECOND[0])), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("hidden", [(), (4,)])
def test_without_penalty_more_parameters_than_rows_reach_every_row(hidden):
    rng = np.random.RandomState(0)
    X, y = rng.randn(12, 30), 100 + rng.randn(12)
    model = BackpropRegressor(hidden, solver="lm", alpha=0.0, tol=0.0, random_state=0)
    model.fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-6)
    # Nothing is left of the residuals: the noise is that of rows held out.
    mean, std = model.predict(rng.randn(5, 30), return_std=True)
    assert np.isfinite(mean).all()
    assert np.all(std > 0.5)
    with pytest.warns(UserWarning, match="effective parameters on 9 rows") as caught:
        model.fit(X[:9], y[:9])  # too few to hold any out
    assert len(caught) == 1


if __name__ == "__main__":
    numbers = {case: len(numbers_of_places(case)) for case in CASES}
    for case, number in numbers.items():
        print(f"{number:6d} places  {case}")
    faults = sum(len(turns(case, turn)) for case in CASES for turn in (0, 1))
    print(f"{faults:6d} faults, of two kinds, at {len(cases_of_places())} places of the code")
