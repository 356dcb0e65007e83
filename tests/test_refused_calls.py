"""What refused calls leave as it was; what is refused for what an estimator has learned."""

import re

import numpy as np
import pytest
import scipy.sparse as sp
from cases import by_turns, every_pair
from sklearn import config_context, get_config
from sklearn.exceptions import NotFittedError
from test_bad_input import (
    EVIDENCE,
    INF,
    LBFGS,
    NAN,
    PARAMETERS,
    REFUSED,
    STREAM,
    WRONG_BATCHES,
    WRONG_DATA,
    X_VAL,
    Y2,
    Y_VAL,
    X,
    Y,
    all_of,
    frame,
    objects,
    snapshot,
    strings,
    with_value,
)

from sk_backprop import BackpropRegressor

# --- a refused call leaves an earlier fit as it was ---


@pytest.mark.parametrize(("name", "earlier"), by_turns(WRONG_DATA, ["lbfgs", "evidence"]))
def test_refused_fit_keeps_the_earlier_one(earlier, name):
    arguments, params, _ = WRONG_DATA[name]
    earlier = {"lbfgs": LBFGS, "evidence": EVIDENCE}[earlier]
    estimator = BackpropRegressor(**{**earlier, "random_state": np.random.RandomState(0)})
    estimator.fit(frame("pqr"), Y2, X_val=frame("pqr", 5), y_val=Y2[:5])
    estimator.set_params(**params)
    before, prediction = snapshot(estimator), estimator.predict(frame("pqr"))
    with pytest.raises(REFUSED):
        estimator.fit(**{"X": X, "y": Y, **arguments})
    assert snapshot(estimator) == before
    np.testing.assert_array_equal(estimator.predict(frame("pqr")), prediction)


@pytest.mark.parametrize(("name", "value"), [(name, v[0]) for name, (_, v) in PARAMETERS.items()])
@pytest.mark.parametrize("earlier", [LBFGS, EVIDENCE], ids=["lbfgs", "evidence"])
def test_refused_parameter_keeps_the_earlier_fit(earlier, name, value):
    estimator = BackpropRegressor(**earlier).fit(X, Y).set_params(**{name: value})
    before, prediction = snapshot(estimator), estimator.predict(X)
    with pytest.raises(REFUSED):
        estimator.fit(2 * X, 3 * Y)
    assert snapshot(estimator) == before
    np.testing.assert_array_equal(estimator.predict(X), prediction)


@pytest.mark.parametrize(
    ("method", "solver"), [("fit", "lm"), ("fit", "adam"), ("partial_fit", "adam")]
)
def test_training_that_fails_changes_nothing(method, solver):
    # Nothing is wrong with this call but that no machine has the memory.
    huge = BackpropRegressor(**{**STREAM, "solver": solver, "hidden_layer_sizes": 10**13})
    before = snapshot(huge)
    with pytest.raises((MemoryError, *REFUSED)):
        getattr(huge, method)(X, Y)
    assert snapshot(huge) == before
    fitted = BackpropRegressor(**LBFGS).fit(X, Y)
    fitted.set_params(hidden_layer_sizes=10**13, solver=solver)
    before = snapshot(fitted)
    with pytest.raises((MemoryError, *REFUSED)):
        getattr(fitted, method)(2 * X, 3 * Y)
    assert snapshot(fitted) == before


@pytest.mark.parametrize(("name", "solver"), by_turns(WRONG_BATCHES, ["sgd", "adam", "auto"]))
def test_refused_batch_keeps_the_stream(solver, name):
    arguments, params, _ = WRONG_DATA[name]
    given = arguments.get("X")
    dtype = np.float32 if getattr(given, "dtype", None) == np.float32 else np.float64
    first = {**STREAM, "solver": solver, **params}
    if name == "poisson with logistic":
        first["loss"] = "squared_error"
    streams = [BackpropRegressor(**first).partial_fit(X.astype(dtype), Y) for _ in range(2)]
    refused, undisturbed = (stream.set_params(**params) for stream in streams)
    before, prediction = snapshot(refused), refused.predict(X)
    with pytest.raises(REFUSED):
        refused.partial_fit(**{"X": X, "y": Y, **arguments})
    assert snapshot(refused) == before
    np.testing.assert_array_equal(refused.predict(X), prediction)
    # And goes on as if nothing had been.
    for stream in (refused, undisturbed):
        stream.set_params(**first).partial_fit(2 * X.astype(dtype), Y / 3)
    np.testing.assert_array_equal(refused.predict(X), undisturbed.predict(X))


# --- going on with another network ---

# parameters of the first fit; those set after; arguments; what the message says
ANOTHER_NETWORK = {
    "fewer features": ({}, {}, {"X": X[:, :2]}, (r"\bX\b", "2 features", "3 features")),
    "more features": ({}, {}, {"X": X.reshape(10, 6), "y": Y[:10]}, ("6 features", "3 features")),
    "more outputs": ({}, {}, {"y": Y2}, (r"\by\b|outputs", r"\b2\b", r"\b1\b")),
    "layer size": (
        {},
        {"hidden_layer_sizes": 4},
        {},
        ("hidden_layer_sizes", r"\b4\b", r"\b3\b"),
    ),
    "number of layers": (
        {},
        {"hidden_layer_sizes": (3, 4)},
        {},
        ("hidden_layer_sizes", r"\b3, 4\b"),
    ),
    "more networks": ({"n_networks": 2}, {"n_networks": 3}, {}, ("n_networks", r"\b2\b", r"\b3\b")),
    "one network": ({"n_networks": 2}, {"n_networks": 1}, {}, ("n_networks", r"\b2\b", r"\b1\b")),
    "activation": ({}, {"activation": "tanh"}, {}, ("activation", "tanh", "logistic")),
    "output_activation": (
        {},
        {"output_activation": "logistic"},
        {},
        ("output.activation", "logistic", "identity"),
    ),
    "to poisson": ({}, {"loss": "poisson"}, {}, ("loss", "poisson", "squared_error")),
    "from poisson": (
        {"loss": "poisson"},
        {"loss": "squared_error"},
        {},
        ("loss", "poisson", "squared_error"),
    ),
}


@pytest.mark.parametrize("case", ANOTHER_NETWORK)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_going_on_with_another_network(method, case):
    first, later, arguments, says = ANOTHER_NETWORK[case]
    base = {**LBFGS, "warm_start": True} if method == "fit" else STREAM
    estimator = BackpropRegressor(**{**base, **first})
    getattr(estimator, method)(X, Y)
    estimator.set_params(**later)
    before, prediction = snapshot(estimator), estimator.predict(X)
    with pytest.raises(REFUSED, match=all_of(*says)):
        getattr(estimator, method)(**{"X": X, "y": Y, **arguments})
    assert snapshot(estimator) == before
    np.testing.assert_array_equal(estimator.predict(X), prediction)


@pytest.mark.parametrize(
    ("names", "says"), [("abd", ("names", r"\bd\b", r"\bc\b")), ("acb", ("names", "order"))]
)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict"])
def test_other_feature_names(method, names, says):
    base = {**LBFGS, "warm_start": True} if method == "fit" else STREAM
    estimator = BackpropRegressor(**base)
    getattr(estimator, "fit" if method == "fit" else "partial_fit")(frame("abc"), Y)
    before = snapshot(estimator)
    arguments = [frame(names)] if method == "predict" else [frame(names), Y]
    with pytest.raises(REFUSED, match=all_of(*says)):
        getattr(estimator, method)(*arguments)
    assert snapshot(estimator) == before


# --- partial_fit where it has no place ---


@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_no_partial_fit_without_a_stream_solver(solver):
    estimator = BackpropRegressor(solver=solver)
    assert not hasattr(estimator, "partial_fit")
    with pytest.raises(
        AttributeError, match=all_of("partial_fit", "sgd", "adam", f"solver='{solver}'")
    ) as caught:
        estimator.partial_fit(X, Y)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("solver", ["sgd", "adam", "auto"])
def test_no_partial_fit_with_early_stopping(solver):
    estimator = BackpropRegressor(solver=solver, early_stopping=True)
    assert not hasattr(estimator, "partial_fit")
    with pytest.raises(ValueError, match=all_of("partial_fit", "early_stopping=True", "=False")):
        estimator.partial_fit(X, Y)
    assert hasattr(estimator.set_params(early_stopping=False), "partial_fit")


def test_partial_fit_has_no_validation_data():
    estimator = BackpropRegressor(**STREAM).partial_fit(X, Y)
    before = snapshot(estimator)
    with pytest.raises(TypeError, match="X_val"):
        estimator.partial_fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert snapshot(estimator) == before


# --- predict ---


@pytest.mark.parametrize("given", ["yes", None, 2, [True]])
def test_return_std_is_true_or_false(given):
    model = BackpropRegressor(**LBFGS).fit(X, Y)
    with pytest.raises(
        ValueError, match=re.escape(f"return_std must be True or False, got {given!r}")
    ):
        model.predict(X, return_std=given)


def test_an_array_in_which_nothing_is_masked_is_an_array():
    plain, masked = (
        BackpropRegressor(**LBFGS).fit(*rows) for rows in ((X, Y), (np.ma.array(X), np.ma.array(Y)))
    )
    np.testing.assert_array_equal(plain.predict(X), masked.predict(np.ma.array(X)))


@pytest.mark.parametrize(
    "use",
    [
        lambda estimator: estimator.predict(X),
        lambda estimator: estimator.predict(X, return_std=True),
        lambda estimator: estimator.score(X, Y),
        lambda estimator: estimator.raw_coefs_,
        lambda estimator: estimator.raw_intercepts_,
    ],
    ids=["predict", "predict_std", "score", "raw_coefs_", "raw_intercepts_"],
)
def test_not_fitted(use):
    with pytest.raises(NotFittedError, match=all_of("BackpropRegressor", "not fitted", "fit")):
        use(BackpropRegressor())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (X[:, :2], ("X has 2 features", "expecting 3")),
        (X.reshape(10, 6), ("X has 6 features", "expecting 3")),
        (sp.csr_matrix(X[:, :2]), ("X has 2 features", "expecting 3")),
        (with_value(X, INF), ("X contains infinity",)),
        (sp.csr_matrix(with_value(X, NAN)), ("X contains NaN",)),
        (X[0], ("^X: ", "1D", "2D", "reshape")),
        (X[None], ("^X: ", "dim 3", "<= 2")),
        (X[:0], ("^X: ", "0 sample", "minimum of 1")),
        (strings(X), ("^X has", "'a'", "float")),
        (objects(X), ("^X has", "object", "real number")),
        (X + 1j, ("^X has", "[Cc]omplex")),
        (None, ("^X: ", "None|scalar", "2D")),
    ],
    ids=[
        *("two features", "six features", "sparse, two features", "inf", "sparse NaN"),
        *("1-D", "3-D", "no rows", "strings", "objects", "complex", "None"),
    ],
)
@pytest.mark.parametrize(
    "use",
    [
        lambda estimator, X: estimator.predict(X),
        lambda estimator, X: estimator.predict(X, return_std=True),
        lambda estimator, X: estimator.gradient(X),
        lambda estimator, X: estimator.score(X, Y),
    ],
    ids=["predict", "predict_std", "gradient", "score"],
)
def test_wrong_data_in_predict(use, given, says):
    estimator = BackpropRegressor(**LBFGS).fit(X, Y)
    before = snapshot(estimator)
    with pytest.raises(REFUSED, match=all_of(*says)):
        use(estimator, given)
    assert snapshot(estimator) == before


@pytest.mark.parametrize(
    ("params", "value", "container"),
    [
        *every_pair([{}, LBFGS, STREAM, EVIDENCE], [INF, -INF], [np.asarray, sp.csr_array]),
        *[(params, NAN, sp.csr_array) for params in ({}, STREAM)],
    ],
)
def test_training_checks_its_rows_whatever_assume_finite_is(params, value, container):
    bad = container(with_value(X, value)), with_value(Y, value)
    with config_context(assume_finite=True):
        model = BackpropRegressor(**params).fit(X, Y)
        before = snapshot(model)
        for call in (model.fit, *([model.partial_fit] if params is STREAM else [])):
            with pytest.raises(ValueError, match=r"^Input X contains (NaN|infinity)"):
                call(bad[0], Y)
            with pytest.raises(ValueError, match=r"^Input y contains (NaN|infinity)"):
                call(container(X), bad[1])
        with pytest.raises(ValueError, match=r"^Input X_val contains (NaN|infinity)"):
            model.fit(X, Y, X_val=bad[0], y_val=Y)
        with pytest.raises(ValueError, match=r"^Input y_val contains (NaN|infinity)"):
            model.fit(X, Y, X_val=X, y_val=bad[1])
        assert get_config()["assume_finite"]
        assert snapshot(model) == before
