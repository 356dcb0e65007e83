"""scikit-learn's callbacks: what they receive, and how they stop a fit."""

import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cases import every_pair, slow
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_backprop import BackpropRegressor
from sk_backprop._estimator import callbacks as _callbacks
from sk_backprop._estimator import compat
from sk_backprop._training import run as _training

try:
    from sklearn.callback import ProgressBar, ScoringMonitor

    SUPPORTED = True
except ImportError:
    SUPPORTED = False

needs_callbacks = pytest.mark.skipif(
    not SUPPORTED, reason="scikit-learn has callbacks from version 1.9 on"
)

SOLVERS = ["lm", "lbfgs", "adam", "sgd"]

# One run each, so that `max_iter` ends it where a callback may stop it.
SINGLE_RUNS = {
    **{solver: {"solver": solver, "alpha": 1.0} for solver in SOLVERS},
    "evidence": {"hidden_layer_sizes": (), "solver": "lm", "weight_groups": "layer"},
    "mini-batches": {"solver": "adam", "alpha": 1.0, "batch_size": 20},
    "adaptive": {"solver": "sgd", "alpha": 1.0, "learning_rate": "adaptive", "tol": 0.1},
    "poisson": {"solver": "lm", "alpha": 1.0, "loss": "poisson"},
    "textbook": {"solver": "sgd", "alpha": 0.0, "precondition": False, "batch_size": 200},
    **{
        f"{solver}, early stopping": {"solver": solver, "alpha": 1.0, "early_stopping": True}
        for solver in SOLVERS
    },
}
SEVERAL_RUNS = {
    "default": {"hidden_layer_sizes": "auto"},
    "networks": {"solver": "lm", "n_networks": 3},  # of which one fails, and is replaced
    "penalties": {"solver": "lbfgs"},
}


@pytest.fixture(scope="module")
def friedman():
    # Rows enough for their own residuals to show the noise: with fewer, further networks do.
    X, y = make_friedman1(200, n_features=5, noise=0.5, random_state=0)
    return X, np.abs(y)


def regressor(**params):
    """A small network; of mini-batches some thirty epochs in place of hundreds."""
    rough = {"tol": 0.01} if params.get("solver") in ("adam", "sgd") else {}
    small = {"hidden_layer_sizes": (4,), "random_state": 0}
    return BackpropRegressor(**{**small, **rough, **params})


class Recorder:
    """Notes the calls it receives; `stop` and `at` are called with (event, context)."""

    def __init__(self, stop=None, at=None):
        self.events, self._stop, self._at = [], stop, at

    def _note(self, event, context, fitted=None):
        self.events.append((event, context.task_name, context.task_id, fitted))
        if self._at is not None:
            self._at(event, context)

    def setup(self, estimator, context):
        self._note("setup", context)

    def teardown(self, estimator, context):
        self._note("teardown", context)

    def on_fit_task_begin(self, estimator, context, *, fitted_estimator=None):
        self._note("begin", context, fitted_estimator)

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self._note("end", context, fitted_estimator)
        return self._stop is not None and self._stop("end", context)

    def fitted(self, event, task_name):
        return [e[3] for e in self.events if e[:2] == (event, task_name)]


def at_iteration(k):
    """True at the end of iteration k, counted from 1."""
    return lambda event, context: context.task_name == "iteration" and context.task_id == k - 1


def fit_of(estimator, *, calibrated=True):
    """All that a fit has left, without parameters and callbacks, or also without calibration."""
    left = {
        name: vars(value) if name == "scaler_" else value
        for name, value in vars(estimator).items()
        if name.endswith("_") or name == "_fit_state"
    }
    # By pickle: a later change of the arrays must not show.
    left = pickle.loads(pickle.dumps(left))
    if not calibrated:
        left.pop("noise_", None)
        left.pop("degrees_of_freedom_", None)
        left.get("_fit_state", {}).pop("calibration", None)
    return left


def assert_same_fit(one, other):
    np.testing.assert_equal(one, other)


# --- with older versions ---


def test_older_versions_of_scikit_learn_have_no_callbacks_and_miss_nothing_else(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)  # an ImportError
    without = _executed(compat)
    assert not hasattr(without.CallbackSupport(), "set_callbacks")
    monkeypatch.setitem(sys.modules, compat.__name__, without)
    without = _executed(_callbacks)

    def method(self):
        pass

    assert without.all_or_nothing(method) is method
    assert hasattr(BackpropRegressor(), "set_callbacks") == SUPPORTED


def _executed(module):
    """The module, executed once more under another name."""
    spec = importlib.util.spec_from_file_location("without", Path(module.__file__))
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


# --- what they receive ---


@needs_callbacks
@pytest.mark.parametrize("name", [*SINGLE_RUNS, "networks", "penalties", *slow(["default"])])
def test_a_fit_that_is_watched_is_the_same_to_the_last_bit(friedman, name):
    params = {**SINGLE_RUNS, **SEVERAL_RUNS}[name]
    alone = regressor(**params).fit(*friedman)
    watched = regressor(**params).set_callbacks(Recorder()).fit(*friedman)
    assert_same_fit(fit_of(watched), fit_of(alone))


@needs_callbacks
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", SINGLE_RUNS)
def test_the_fitted_estimator_of_an_iteration_is_the_fit_that_ends_there(friedman, name):
    recorder, params = Recorder(), SINGLE_RUNS[name]
    model = regressor(**params).set_callbacks(recorder).fit(*friedman)
    at_ends = recorder.fitted("end", "iteration")
    assert len(at_ends) == model.n_iter_
    for k in {1, 2, 5, model.n_iter_ // 2, model.n_iter_}:
        ended = regressor(**params, max_iter=k).fit(*friedman)
        assert ended.n_iter_ == k
        assert_same_fit(*(fit_of(one, calibrated=False) for one in (at_ends[k - 1], ended)))
        np.testing.assert_array_equal(*(m.predict(friedman[0]) for m in (at_ends[k - 1], ended)))


@needs_callbacks
def test_the_noise_by_rows_held_out_is_not_computed_at_each_iteration(friedman):
    X, y = friedman
    recorder = Recorder()
    model = regressor(hidden_layer_sizes=(20,), solver="lbfgs", alpha=0.1).set_callbacks(recorder)
    model.fit(X[:80], y[:80])
    last = recorder.fitted("end", "iteration")[-1]
    np.testing.assert_array_equal(last.predict(X), model.predict(X))
    assert model.residual_dof_ == 80  # the weight of the rows held out
    assert last.residual_dof_ < 80
    assert model.noise_precision_ < last.noise_precision_


@needs_callbacks
@pytest.mark.parametrize("name", SINGLE_RUNS)
def test_an_iteration_begins_where_the_last_one_ended(friedman, name):
    recorder = Recorder()
    model = regressor(**SINGLE_RUNS[name]).set_callbacks(recorder).fit(*friedman)
    begins = recorder.fitted("begin", "iteration")
    ends = recorder.fitted("end", "iteration")
    for begin, end in list(zip(begins[1:], ends))[:20]:
        assert_same_fit(fit_of(begin), fit_of(end))
    start = begins[0]
    assert (start.n_iter_, start.best_iter_, start.loss_curve_) == (0, 0, [])
    assert np.isfinite(start.predict(friedman[0])).all()
    if not model.early_stopping:
        assert start.loss_ > model.loss_


@needs_callbacks
@pytest.mark.parametrize(
    "name",
    [*SINGLE_RUNS, *(name for name in SEVERAL_RUNS if name != "default"), *slow(["default"])],
)
def test_every_task_begins_and_ends_within_its_parent(friedman, name):
    paths = []

    def note(event, context):
        path, depth = [], context
        while depth is not None:
            path.append((depth.task_name, depth.task_id))
            depth = depth.parent
        siblings = context.parent.max_subtasks if context.parent else None
        assert siblings is None or context.task_id < siblings
        paths.append((event, tuple(path[::-1])))

    params = {**SINGLE_RUNS, **SEVERAL_RUNS}[name]
    recorder = Recorder(at=note)
    model = regressor(**params).set_callbacks(recorder).fit(*friedman)
    assert [event for event, _ in paths].count("setup") == 1
    assert paths[0][0] == "setup"
    assert paths[-1] == ("teardown", (("fit", 0),))
    ended = {path: None for event, path in paths if event == "end"}
    open_tasks = []
    for event, path in paths[1:-1]:
        if event == "begin":
            assert list(path[:-1]) == open_tasks
            open_tasks.append(path[-1])
        else:
            assert list(path) == open_tasks
            open_tasks.pop()
    assert open_tasks == []
    assert len(ended) == [event for event, _ in paths].count("begin")
    names = {path[1][0] for path in ended if len(path) == 2}
    if name in SINGLE_RUNS:
        assert names == {"network 1"}
        iterations = [path[2][1] for path in ended if len(path) == 3]
        # Of lbfgs one may have begun that found nothing to gain.
        assert iterations in (list(range(model.n_iter_)), list(range(model.n_iter_ + 1)))
        assert len(iterations) == model.n_iter_ or model.solver == "lbfgs"
    elif name == "networks":
        # Networks that failed are replaced.
        numbers = range(1, len(names) // 2 + 1)
        assert names == {f"network {k}, start {start}" for k in numbers for start in (1, 2)}
        assert model.n_networks_ <= len(numbers) < 2 * model.n_networks_
    else:
        assert {"trials", "network 1"} <= names


@needs_callbacks
def test_networks_are_shown_alone_and_the_fit_as_a_whole(friedman):
    recorder = Recorder()
    model = regressor(solver="lm", alpha=1.0, n_networks=3).set_callbacks(recorder)
    model.fit(*friedman)
    singles = [recorder.fitted("end", f"network {k}")[0] for k in (1, 2, 3)]
    assert [one.n_networks_ for one in singles] == [1, 1, 1]
    means = [one.predict(friedman[0]) for one in singles]
    np.testing.assert_allclose(np.mean(means, axis=0), model.predict(friedman[0]), rtol=1e-9)
    (whole,) = recorder.fitted("end", "fit")
    assert_same_fit(fit_of(whole), fit_of(model))


@needs_callbacks
def test_a_fitted_estimator_can_be_kept_and_go_on(friedman):
    # A checkpoint: what was fitted stays as it was while training goes on.
    kept = []

    class Checkpoint(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if context.task_name == "iteration" and context.task_id == 4:
                kept.append((fitted_estimator, fitted_estimator.predict(friedman[0])))

    params = {"solver": "adam", "alpha": 1.0}
    regressor(**params).set_callbacks(Checkpoint()).fit(*friedman)
    ((checkpoint, then),) = kept
    np.testing.assert_array_equal(checkpoint.predict(friedman[0]), then)
    with pytest.warns(ConvergenceWarning):
        ended = regressor(**params, max_iter=5).fit(*friedman)
    for model in (checkpoint, ended):
        model.set_callbacks().set_params(max_iter=1000).partial_fit(*friedman)
    np.testing.assert_array_equal(checkpoint.predict(friedman[0]), ended.predict(friedman[0]))


@needs_callbacks
@pytest.mark.parametrize("solver", SOLVERS)
def test_scores_are_those_of_fits_that_end_there(friedman, solver):
    X, y = friedman
    weight = np.random.RandomState(0).uniform(0.5, 2, len(y))
    monitor = ScoringMonitor(scoring="r2")
    model = regressor(solver=solver, alpha=1.0).set_callbacks(monitor)
    model.fit(X, y, weight)
    scores = {row["task_id_path"]: row["r2"] for row in monitor.get_logs().data}
    assert scores[(0,)] == model.score(X, y, weight)
    with pytest.warns(ConvergenceWarning):
        third = regressor(solver=solver, alpha=1.0, max_iter=3).fit(X, y, weight)
    assert scores[0, 0, 2] == third.score(X, y, weight)
    assert len(scores) == model.n_iter_ + 2


@needs_callbacks
@pytest.mark.parametrize(
    "given",
    [
        lambda X, y: (X.tolist(), y.tolist(), None),
        lambda X, y: (X.astype(np.float32), y, 1.0),
        lambda X, y: (sp.csc_matrix(X), y, np.r_[np.zeros(100), np.ones(100)]),
        lambda X, y: (pd.DataFrame(X).add_prefix("x"), pd.Series(y), None),
        lambda X, y: (X, np.c_[y, -y], None),
    ],
    ids=["lists", "float32, one weight", "sparse, zero weights", "pandas", "two targets"],
)
def test_data_of_all_kinds_come_as_they_were_given(friedman, given):
    X, y, weight = given(*friedman)
    monitor = ScoringMonitor(scoring="r2")
    params = {"solver": "lbfgs", "alpha": 1.0, "early_stopping": True}
    model = regressor(**params).set_callbacks(monitor).fit(X, y, weight)
    weight = np.ones(len(y)) * weight if isinstance(weight, float) else weight
    (row,) = [row for row in monitor.get_logs().data if row["task_id_path"] == (0,)]
    assert row["r2"] == model.score(X, y, weight)


@needs_callbacks
def test_column_names_of_an_earlier_fit_are_forgotten(friedman):
    X, y = friedman
    model = regressor(solver="lbfgs", alpha=1.0).fit(pd.DataFrame(X).add_prefix("x"), y)
    monitor = ScoringMonitor(scoring="r2")
    model.set_callbacks(monitor).fit(X, y)  # a warning would be an error
    assert not hasattr(model, "feature_names_in_")
    assert len(monitor.get_logs().data) > 2


@needs_callbacks
def test_a_target_column_comes_in_the_shape_of_predictions(friedman):
    shapes = set()

    class Shapes(Recorder):
        def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None):
            shapes.add((X.shape, y.shape, metadata))

    model = regressor(solver="lbfgs", alpha=1.0).set_callbacks(Shapes())
    with pytest.warns(UserWarning, match="column-vector"):
        model.fit(friedman[0], friedman[1][:, None])
    assert shapes == {((200, 5), (200,), None)}


@needs_callbacks
def test_what_no_callback_asks_for_is_not_computed(friedman, monkeypatch):
    calls = []
    laplace = _training.laplace
    monkeypatch.setattr(_training, "laplace", lambda *a, **k: calls.append(1) or laplace(*a, **k))

    class Incurious(Recorder):
        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            pass

    regressor(solver="lbfgs", alpha=1.0).set_callbacks(Incurious()).fit(*friedman)
    assert len(calls) == 1  # the fit's own
    model = regressor(solver="lbfgs", alpha=1.0).set_callbacks(Recorder()).fit(*friedman)
    assert len(calls) > 2 * model.n_iter_


@needs_callbacks
@pytest.mark.parametrize("solver", SOLVERS)
def test_callbacks_meet_the_users_floating_point_settings(friedman, solver):
    seen = set()

    def note(event, context):
        seen.add(tuple(np.geterr().items()))

    with np.errstate(over="raise", divide="warn", invalid="print"):
        outside = tuple(np.geterr().items())
        regressor(solver=solver, alpha=1.0).set_callbacks(Recorder(at=note)).fit(*friedman)
    assert seen == {outside}


@needs_callbacks
def test_a_refused_call_and_partial_fit_tell_nothing(friedman):
    X, y = friedman
    recorder = Recorder()
    model = regressor(solver="adam").set_callbacks(recorder)
    with pytest.raises(ValueError, match="infinity"):
        model.fit(np.full_like(X, np.inf), y)
    model.partial_fit(X, y).partial_fit(X, y)
    assert recorder.events == []


# --- stopping ---


@needs_callbacks
@pytest.mark.parametrize("name", SINGLE_RUNS)
def test_a_stop_keeps_the_weights_of_that_iteration_and_does_not_warn(friedman, name):
    recorder, params = Recorder(stop=at_iteration(3)), SINGLE_RUNS[name]
    model = regressor(**params).set_callbacks(recorder).fit(*friedman)
    assert model.n_iter_ == 3
    with pytest.warns(ConvergenceWarning):
        ended = regressor(**params, max_iter=3).fit(*friedman)
    assert_same_fit(fit_of(model), fit_of(ended))
    shown = recorder.fitted("end", "iteration")
    assert len(shown) == 3
    assert_same_fit(*(fit_of(one, calibrated=False) for one in (model, shown[-1])))


@needs_callbacks
def test_a_stop_at_an_iteration_ends_that_run_alone(friedman):
    recorder = Recorder(stop=at_iteration(2))
    model = regressor(solver="lbfgs", alpha=1.0, n_networks=3).set_callbacks(recorder)
    model.fit(*friedman)
    assert model.n_networks_ == 3
    assert len(recorder.fitted("end", "iteration")) == 6


@needs_callbacks
@pytest.mark.parametrize("alpha", [1.0, "auto"])
def test_a_stop_at_a_network_keeps_those_that_are_whole(friedman, alpha):
    def second(event, context):
        return context.task_name in ("network 2", "network 2, start 2")

    params = {"solver": "lm", "alpha": alpha, "n_networks": 4}
    model = regressor(**params).set_callbacks(Recorder(stop=second)).fit(*friedman)
    assert model.n_networks_ == 2
    all_four = regressor(**params).fit(*friedman)
    np.testing.assert_array_equal(model.coefs_[0], all_four.coefs_[0][:, :8])


@needs_callbacks
def test_a_stop_at_the_first_start_leaves_out_the_second(friedman):
    recorder = Recorder(stop=lambda event, context: context.task_name == "network 1, start 1")
    model = regressor(solver="lm", n_networks=4).set_callbacks(recorder).fit(*friedman)
    assert model.n_networks_ == 1
    assert recorder.fitted("begin", "network 1, start 2") == []


@needs_callbacks
def test_a_stop_of_a_warm_start_before_its_last_network_keeps_the_earlier_fit(friedman):
    model = regressor(solver="lm", alpha=1.0, n_networks=3, warm_start=True).fit(*friedman)
    expected = model.predict(friedman[0])
    model.set_callbacks(Recorder(stop=lambda event, context: context.task_name == "network 2"))
    with pytest.warns(UserWarning, match="by Ctrl-C or a callback, before all networks") as told:
        model.fit(*friedman)
    assert len(told) == 1
    np.testing.assert_array_equal(model.predict(friedman[0]), expected)


@pytest.mark.slow
@needs_callbacks
def test_after_a_stop_no_network_that_failed_is_replaced(friedman):
    recorder = Recorder(stop=lambda event, context: context.task_name == "network 3, start 2")
    model = regressor(**SEVERAL_RUNS["networks"]).set_callbacks(recorder).fit(*friedman)
    assert recorder.fitted("begin", "network 4, start 1") == []
    assert model.n_networks_ == 3


@needs_callbacks
def test_a_stop_keeps_weights_that_a_fit_would_give_up(friedman):
    params = {"solver": "sgd", "alpha": 1.0, "learning_rate_init": 30.0}
    with pytest.warns(ConvergenceWarning, match="diverged"):
        assert regressor(**params, max_iter=1).fit(*friedman).best_iter_ == 0
    recorder = Recorder(stop=at_iteration(1))
    model = regressor(**params).set_callbacks(recorder).fit(*friedman)
    assert (model.n_iter_, model.best_iter_) == (1, 1)
    assert_same_fit(fit_of(model), fit_of(recorder.fitted("end", "iteration")[0]))


@needs_callbacks
def test_a_stop_at_a_trial_takes_the_best_so_far(friedman):
    recorder = Recorder(stop=lambda event, context: context.task_name == "trial")
    model = regressor(solver="lbfgs").set_callbacks(recorder).fit(*friedman)
    assert len(recorder.fitted("end", "trial")) == 1
    assert model.alpha_ == 100.0  # the first that is tried
    assert model.n_iter_ > 3


@needs_callbacks
def test_a_callback_that_always_stops_leaves_a_fit_of_one_iteration(friedman):
    recorder = Recorder(stop=lambda event, context: True)
    model = BackpropRegressor(random_state=0).set_callbacks(recorder).fit(*friedman)
    assert (model.n_networks_, model.n_iter_) == (1, 1)
    assert len(recorder.fitted("end", "trial")) == 1
    assert np.isfinite(model.predict(friedman[0], return_std=True)).all()


@needs_callbacks
def test_a_stopped_run_says_so(friedman, capsys):
    model = regressor(solver="lm", alpha=1.0, verbose=2)
    model.set_callbacks(Recorder(stop=at_iteration(3))).fit(*friedman)
    *iterations, end = capsys.readouterr().out.splitlines()
    assert len(iterations) == 3
    assert "stopped by a callback after 3 iterations" in end


# --- raising ---


def raise_at(wanted, error):
    def at(event, context):
        if wanted(event, context):
            raise error

    return Recorder(at=at)


MOMENTS = {
    "setup": lambda event, context: event == "setup",
    "first begin": lambda event, context: event == "begin",
    "an iteration": lambda event, context: event == "end" and at_iteration(2)(event, context),
    "begin of the second": lambda event, context: at_iteration(2)(event, context),
    "a network": lambda event, context: (event, context.task_name) == ("end", "network 1"),
    "the end": lambda event, context: (event, context.task_name) == ("end", "fit"),
    "teardown": lambda event, context: event == "teardown",
}


@needs_callbacks
@pytest.mark.parametrize(
    ("moment", "solver", "earlier"), every_pair(MOMENTS, SOLVERS, ["new", "fitted"])
)
def test_what_a_callback_raises_reaches_the_user_and_the_fit_stays(
    friedman, solver, earlier, moment
):
    model = regressor(solver=solver, alpha=1.0)
    if earlier == "fitted":
        model.fit(friedman[0][:, :3], friedman[1])
    assert_stays_when_raising(model, MOMENTS[moment], *friedman)
    # And nothing is in the way of another fit.
    model.set_callbacks().fit(*friedman).predict(friedman[0])


@needs_callbacks
@pytest.mark.parametrize("name", ["trials", "trial"])
def test_what_a_callback_raises_in_trials_reaches_the_user(friedman, name):
    model = regressor(solver="lbfgs").fit(*friedman)
    assert_stays_when_raising(model, lambda event, context: context.task_name == name, *friedman)


def assert_stays_when_raising(model, moment, X, y):
    recorder = raise_at(moment, ZeroDivisionError("of the callback"))
    model.set_callbacks(recorder)
    before, names = fit_of(model), set(vars(model))
    with pytest.raises(ZeroDivisionError, match="of the callback"):
        model.fit(X, y)
    assert set(vars(model)) == names
    assert_same_fit(fit_of(model), before)
    assert [event for event, *_ in recorder.events].count("teardown") == 1


@needs_callbacks
@pytest.mark.parametrize("solver", SOLVERS)
def test_stop_iteration_is_an_error_like_others(friedman, solver):
    # To scipy's L-BFGS it would be an order to stop.
    recorder = raise_at(MOMENTS["an iteration"], StopIteration())
    model = regressor(solver=solver, alpha=1.0).set_callbacks(recorder)
    with pytest.raises(RuntimeError, match="A callback raised StopIteration"):
        model.fit(*friedman)
    assert not hasattr(model, "coefs_")


@needs_callbacks
@pytest.mark.parametrize("solver", SOLVERS)
def test_ctrl_c_in_a_callback_is_ctrl_c(friedman, solver):
    recorder = raise_at(MOMENTS["an iteration"], KeyboardInterrupt())
    model = regressor(solver=solver, alpha=1.0).set_callbacks(recorder)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(*friedman)
    assert [event for event, *_ in recorder.events].count("teardown") == 1
    assert np.isfinite(model.predict(friedman[0])).all()


# --- with scikit-learn's tools ---


@needs_callbacks
@pytest.mark.parametrize("solver", [*SOLVERS, "auto"])
def test_progress_bars(friedman, capsys, solver):
    hidden = "auto" if solver == "auto" else (4,)
    model = regressor(solver=solver, hidden_layer_sizes=hidden).set_callbacks(ProgressBar())
    model.fit(*friedman)
    out = capsys.readouterr().out
    assert "BackpropRegressor - fit" in out
    assert "BackpropRegressor - network 1" in out
    assert ("BackpropRegressor - trials" in out) == (solver in ("auto", "lbfgs"))
    assert "100%" in out


@needs_callbacks
def test_in_a_pipeline(friedman, capsys):
    X, y = friedman
    monitor = ScoringMonitor(scoring="r2")
    model = regressor(solver="lbfgs", alpha=1.0).set_callbacks(monitor)
    pipeline = make_pipeline(StandardScaler(), model).set_callbacks(ProgressBar())
    pipeline.fit(X, y)
    rows = monitor.get_logs().data
    # The regressor's fit is the second step of the pipeline's.
    scores = {row["task_id_path"]: row["r2"] for row in rows}
    assert scores[0, 1] == pipeline.score(X, y)
    assert len(scores) == model.n_iter_ + 2
    out = capsys.readouterr().out
    assert "fit-final-estimator | BackpropRegressor - fit" in out
    assert "BackpropRegressor" in out


@needs_callbacks
def test_in_a_grid_search_with_a_stop(friedman, capsys):
    monitor, recorder = ScoringMonitor(scoring="r2"), Recorder(stop=at_iteration(4))
    model = regressor(solver="lm", alpha=1.0).set_callbacks(monitor, recorder)
    search = GridSearchCV(model, {"alpha": [0.1, 10.0]}, cv=2).set_callbacks(ProgressBar())
    search.fit(*friedman)
    assert search.best_estimator_.n_iter_ == 4
    n_fits = 2 * 2 + 1
    assert len(recorder.fitted("end", "iteration")) == 4 * n_fits
    assert len(monitor.get_logs().data) == (4 + 2) * n_fits
    assert "BackpropRegressor - fit" in capsys.readouterr().out
    # The bars of the search are the search's.
    assert search.best_estimator_._skl_callbacks == [monitor, recorder]


@pytest.mark.slow
@needs_callbacks
def test_networks_trained_side_by_side_are_scored_alike(friedman):
    params = {"solver": "lm", "n_networks": 2, "weight_groups": "layer"}
    logs = []
    for n_jobs in (1, 2):
        monitor = ScoringMonitor(scoring="r2")
        regressor(**params, n_jobs=n_jobs).set_callbacks(monitor).fit(*friedman)
        logs.append({row["task_id_path"]: row["r2"] for row in monitor.get_logs().data})
    assert logs[0] == logs[1]


@needs_callbacks
def test_what_a_callback_raises_in_another_process_reaches_the_user(friedman):
    recorder = raise_at(MOMENTS["an iteration"], ZeroDivisionError("of the callback"))
    model = regressor(solver="lbfgs", alpha=1.0, n_networks=2, n_jobs=2)
    with pytest.raises(ZeroDivisionError, match="of the callback"):
        model.set_callbacks(recorder).fit(*friedman)
    assert not hasattr(model, "coefs_")


@needs_callbacks
def test_clones_are_watched_until_callbacks_are_taken_off(friedman):
    recorder = Recorder()
    model = clone(regressor(solver="lbfgs", alpha=1.0).set_callbacks(recorder)).fit(*friedman)
    n_events = len(recorder.events)
    assert n_events > model.n_iter_
    model.set_callbacks().fit(*friedman)
    assert len(recorder.events) == n_events
    alone = regressor(solver="lbfgs", alpha=1.0).fit(*friedman)
    assert set(vars(model)) == set(vars(alone))


@needs_callbacks
def test_only_callbacks_are_taken():
    with pytest.raises(TypeError, match="FitCallback protocol"):
        BackpropRegressor().set_callbacks(print)
