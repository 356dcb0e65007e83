"""Safe keeping: a stored and loaded model predicts the same bits, and a file holds plain data."""

import copy
import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cases import every_pair
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning

from sk_backprop import BackpropRegressor
from sk_backprop._estimator.state import FittedState

OURS = "sk_backprop._estimator.regressor.BackpropRegressor"


def by_pickle(model):
    return pickle.loads(pickle.dumps(model))


def by_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


def by_compressed_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file, compress=3)
    file.seek(0)
    return joblib.load(file)


def by_skops(model):
    skops = pytest.importorskip("skops.io")
    file = skops.dumps(model)
    trusted = skops.get_untrusted_types(data=file)
    assert trusted == [OURS]  # nothing to trust but the estimator's own class
    return skops.loads(file, trusted=trusted)


COPIES = [by_pickle, by_joblib, by_compressed_joblib, by_skops]


def rough(hidden=(3,), **params):
    """A network after a few iterations: these tests need a function, not a good one."""
    quick = {"solver": "lbfgs", "tol": 0.5, "n_iter_no_change": 1, "random_state": 0}
    return BackpropRegressor(hidden, **{**quick, **params})


@pytest.fixture(scope="module")
def rows():
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 2, (60, 3))
    y = np.column_stack([np.sin(X[:, 0]) + X[:, 1] * X[:, 2], X[:, 1] ** 2])
    y += 0.3 * rng.randn(60, 2)
    return X, y - y.min(axis=0)


def stream(X, y, **params):
    model = rough(**{"solver": "adam", **params})
    return model.partial_fit(X[:30], y[:30]).partial_fit(X[30:], y[30:])


EVIDENCE = {"solver": "lm", "tol": 1e-3}
MODELS = {
    "lbfgs": lambda X, y: rough().fit(X, y),
    "linear": lambda X, y: rough(()).fit(X, y),
    "numbers of numpy": lambda X, y: rough(
        (np.int64(3),),
        alpha=np.float32(1),
        random_state=np.int64(3),
        max_iter=np.int32(100),
    ).fit(X, y),
    "defaults": lambda X, y: BackpropRegressor(random_state=0, n_networks=2).fit(X, y),
    "evidence": lambda X, y: rough(**EVIDENCE, n_networks=2).fit(X, y),
    "groups by layer": lambda X, y: rough(**EVIDENCE, weight_groups="layer").fit(X, y),
    "penalty given": lambda X, y: rough(**EVIDENCE, alpha=1.0).fit(X, y),
    "poisson": lambda X, y: rough(**EVIDENCE, loss="poisson").fit(X, y),
    "logistic output": lambda X, y: rough(output_activation="logistic").fit(X, y),
    "deep networks": lambda X, y: rough((3, 2), n_networks=2, activation="tanh").fit(X, y),
    "three networks": lambda X, y: rough(n_networks=3).fit(X, y),
    "not preconditioned": lambda X, y: rough(precondition=False, alpha=0.1).fit(X, y),
    "float32": lambda X, y: rough().fit(X.astype(np.float32), y),
    "sparse": lambda X, y: rough().fit(sp.csr_matrix(X), y),
    "named": lambda X, y: rough().fit(pd.DataFrame(X, columns=list("abc")), y),
    "validated": lambda X, y: rough(early_stopping=True).fit(X, y, X_val=X, y_val=y),
    "generator": lambda X, y: rough(random_state=np.random.RandomState(3)).fit(X, y),
    "patient": lambda X, y: rough(n_iter_no_change=np.inf, solver="lm", alpha=1.0).fit(X, y),
    "adam": lambda X, y: rough(solver="adam").fit(X, y),
    "stream of adam": lambda X, y: stream(X, y),
    "stream of sgd": lambda X, y: stream(X, y, solver="sgd", n_networks=2),
    "adaptive stream": lambda X, y: stream(X, y, solver="sgd", learning_rate="adaptive"),
}


@pytest.fixture(scope="module")
def fitted(rows):
    """Each model is trained once."""
    trained = {}

    def model(kind, n_outputs):
        if (kind, n_outputs) not in trained:
            X, y = rows
            trained[kind, n_outputs] = MODELS[kind](X, y[:, :n_outputs].squeeze())
        return trained[kind, n_outputs]

    return model


@pytest.mark.parametrize(("kind", "copied", "n_outputs"), every_pair(MODELS, COPIES, [1, 2]))
def test_the_same_bits(rows, fitted, kind, n_outputs, copied):
    X, model = rows[0], fitted(kind, n_outputs)
    X = pd.DataFrame(X, columns=list("abc")) if kind == "named" else X
    loaded = copied(model)
    for ours, theirs in zip(
        (*loaded.predict(X, return_std=True), loaded.gradient(X), *loaded.raw_coefs_),
        (*model.predict(X, return_std=True), model.gradient(X), *model.raw_coefs_),
        strict=True,
    ):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(loaded.raw_intercepts_, model.raw_intercepts_, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert vars(loaded).keys() == vars(model).keys()
    assert loaded.loss_curve_ == model.loss_curve_
    assert loaded.hidden_layer_sizes_ == model.hidden_layer_sizes_


@pytest.mark.parametrize("copied", [*COPIES, copy.deepcopy])
@pytest.mark.parametrize("kind", ["stream of adam", "stream of sgd", "adaptive stream"])
def test_a_stream_goes_on_as_if_it_had_not_been_stored(rows, kind, copied):
    X, y = rows
    one = MODELS[kind](X, y)
    other = copied(one)
    for each in (one, other):
        each.partial_fit(X[::-1], 2 * y)
    assert not np.array_equal(one.predict(X), MODELS[kind](X, y).predict(X))
    assert other.loss_curve_ == one.loss_curve_
    np.testing.assert_array_equal(other.predict(X), one.predict(X))
    assert other.t_ == one.t_ == 120


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("params", [{}, {**EVIDENCE, "n_networks": 2}], ids=["lbfgs", "evidence"])
def test_a_warm_start_goes_on_as_if_it_had_not_been_stored(rows, params, copied):
    X, y = rows
    one = rough(**params, warm_start=True).fit(X, y)
    other = copied(one)
    for each in (one, other):
        each.fit(X + 0.1, y)
    np.testing.assert_array_equal(other.predict(X), one.predict(X))
    assert other.loss_curve_ == one.loss_curve_


def plain(value):
    """Whether a value is built of arrays, numbers, strings, lists, tuples and dicts."""
    if isinstance(value, dict):
        return all(map(plain, value)) and all(map(plain, value.values()))
    if isinstance(value, (list, tuple)):
        return type(value) in (list, tuple) and all(map(plain, value))
    return value is None or type(value) in (bool, int, float, str, np.ndarray)


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_fitted_is_plain_data(fitted, kind):
    model = fitted(kind, 2)
    state = {k: v for k, v in vars(model).items() if k not in model.get_params()}
    assert type(state.pop("scaler_")).__module__.startswith("sklearn.preprocessing")
    assert [name for name, value in state.items() if not plain(value)] == []


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("kind", MODELS)
def test_what_is_fitted_is_read_as_it_was_written(fitted, kind, n_outputs):
    model = fitted(kind, n_outputs)
    written = {k: v for k, v in vars(model).items() if k not in model.get_params()}
    read = FittedState.of(by_pickle(model)).attributes()
    assert read.keys() == written.keys()
    assert vars(read.pop("scaler_")).keys() == vars(written.pop("scaler_")).keys()
    np.testing.assert_equal(read, written)


@pytest.mark.parametrize("kind", MODELS)
def test_only_streams_hold_the_state_of_an_optimizer(fitted, kind):
    state = fitted(kind, 1)._fit_state
    assert bool(state["optimizers"]) == ("stream" in kind)


def test_a_file_is_not_larger_for_more_rows():
    rng = np.random.RandomState(0)
    X = rng.randn(2000, 3)
    sizes = [
        len(pickle.dumps(rough(max_iter=3, tol=1.0).fit(X[:n], X[:n, 0]))) for n in (600, 2000)
    ]
    assert sizes[1] < sizes[0] + 500


@pytest.mark.parametrize("params", [{"solver": "adam"}, {}, {"early_stopping": True}], ids=str)
def test_a_pickle_holds_little_but_the_weights_and_their_uncertainty(params):
    X, y = make_friedman1(200, n_features=50, random_state=0)
    model = rough((300, 100), max_iter=2, tol=0.0, n_iter_no_change=10, **params)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    kept = model.coefs_ + model.intercepts_
    kept += [A for posterior in model._fit_state["posteriors"] for A in posterior["factors"]]
    assert len(pickle.dumps(model)) < 1.1 * sum(a.nbytes for a in kept)


# --- copies ---

GOING_ON = {
    "a stream goes on": lambda model, X, y: model.partial_fit(X, y),
    "another optimizer goes on": lambda model, X, y: model.set_params(solver="sgd").partial_fit(
        X, y
    ),
    "a warm start": lambda model, X, y: model.set_params(warm_start=True).fit(X, y),
    "a new fit": lambda model, X, y: model.fit(X, y),
    "a new fit to named columns": lambda model, X, y: model.fit(
        pd.DataFrame(X, columns=["a", "b", "c"]), y
    ),
}


@pytest.mark.filterwarnings("ignore:Training (stopped|diverged)")  # these go on, and that counts
@pytest.mark.parametrize(
    ("fitted", "go_on", "kept"),
    every_pair(
        ["adam", "sgd", "adam of two", "lbfgs", "lm"], GOING_ON, ["the copy", "the original"]
    ),
)
def test_what_goes_on_leaves_its_copy_as_it_was(rows, fitted, go_on, kept):
    X, y = rows
    if fitted in ("lbfgs", "lm"):
        model = rough(solver=fitted).fit(X, y).set_params(solver="adam")
    else:
        n_networks = 2 if "two" in fitted else 1
        model = stream(X, y, solver=fitted.split()[0], n_networks=n_networks)
    other = copy.copy(model)
    kept, goes_on = (other, model) if kept == "the copy" else (model, other)
    before = pickle.dumps(vars(copy.deepcopy(kept)))
    alone = GOING_ON[go_on](copy.deepcopy(goes_on), X, y)
    GOING_ON[go_on](goes_on, X, y)
    assert pickle.dumps(vars(copy.deepcopy(kept))) == before
    for ours, others in zip(goes_on.coefs_, alone.coefs_, strict=True):
        np.testing.assert_array_equal(ours, others)
    assert goes_on.loss_curve_ == alone.loss_curve_


def test_a_copy_is_shallow_and_of_the_same_class():
    class Own(BackpropRegressor):
        pass

    unfitted = Own((3,), solver="adam")
    unfitted.extra = ["kept"]
    copied = copy.copy(unfitted)
    assert type(copied) is Own
    assert copied.get_params() == unfitted.get_params()
    assert copied.extra is unfitted.extra
    assert not hasattr(copied, "coefs_")
