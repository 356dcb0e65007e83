"""Wrong calls: each is refused with a message that says what is wrong, and changes nothing."""

import re

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.exceptions import NotFittedError

from sk_backprop import BackpropRegressor

REFUSED = (ValueError, TypeError)
NAN, INF = np.nan, np.inf
BEYOND_FLOAT = 10**400

X = np.random.RandomState(0).uniform(size=(20, 3))
Y = X.sum(axis=1)
Y2 = np.column_stack([Y, 2 * Y])
W = np.ones(20)
X_VAL, Y_VAL = X[:5], Y[:5]
COEFS, INTERCEPTS = [np.ones((3, 3)), np.ones((3, 1))], [np.ones(3), np.ones(1)]

LBFGS = {
    "hidden_layer_sizes": (3,),
    "activation": "logistic",
    "solver": "lbfgs",
    "alpha": 1.0,
    "max_iter": 1000,
    "tol": 1e-4,
    "random_state": 0,
}
STREAM = {**LBFGS, "solver": "adam"}
EVIDENCE = {
    **LBFGS,
    **{"solver": "lm", "alpha": "auto", "n_networks": 2},
    **{"tol": 0.5, "n_iter_no_change": 1},  # a few steps
}


def all_of(*patterns):
    """A regular expression that matches a text in which every pattern occurs."""
    return "(?s)^" + "".join(f"(?=.*(?:{pattern}))" for pattern in patterns)


def frame(names, n_rows=20):
    return pd.DataFrame(X[:n_rows], columns=list(names))


def with_value(array, value):
    """`array` with its first value replaced."""
    array = np.array(array, dtype=np.result_type(array, type(value)))
    array.flat[0] = value
    return array


def snapshot(estimator):
    """A hash of every attribute, down to the bits of the arrays."""
    return {name: joblib.hash(value) for name, value in vars(estimator).items()}


# --- constructor parameters ---

NOT_REAL = ["0.1", None, True, np.True_, NAN, INF, -INF, 1j, [0.1], np.array([0.1])]
NOT_INT = ["10", None, True, np.True_, NAN, 2.5, 10.0, np.float64(10), [10], 0, -1]
NOT_FLAG = ["True", None, 0, 1, 1.0, np.int64(1), [True]]
NOT_NAME = ["nope", "", "Identity", "ADAM", None, 1, True, ["adam"], b"adam"]
NOT_AUTO = ["Auto", "AUTO", " auto", b"auto", ["auto"], np.array("auto")]
NOT_LAYERS = [
    *[0, -1, 2.5, NAN, INF, True, None, "10", b"10", object],
    *[(10, 0), (10, -1), (10, 2.5), (10, NAN), (10, None), (10, "10"), (10, True), [(10,)]],
    *[np.array([2.5]), np.array([[10]]), np.array(10), np.array([0])],
    # Without an order, or gone after one look.
    *[{10}, frozenset({10}), {10: 1}, iter([10])],
    *[*NOT_AUTO, ("auto",), (10, "auto"), np.array(["auto"])],
]

# name: (what the message says is allowed, wrong values)
PARAMETERS = {
    "hidden_layer_sizes": (r"auto.*int.* >= 1", NOT_LAYERS),
    "activation": ("identity.*logistic.*tanh.*relu", NOT_NAME),
    "output_activation": ("identity.*logistic", [*NOT_NAME, "relu", "exp"]),
    "loss": ("squared_error.*poisson", [*NOT_NAME, "log_loss"]),
    "solver": ("auto.*lm.*lbfgs.*adam.*muon.*sgd", [*NOT_NAME, "newton", "LM", b"lm"]),
    "precondition": ("True or False", NOT_FLAG),
    "alpha": (r"auto.*\[0, inf\)", [*NOT_REAL, *NOT_AUTO, -1e-9, BEYOND_FLOAT]),
    "weight_groups": (
        "input.*layer",
        [*NOT_NAME, "automatic", "inputs", "Layer", b"input", ["layer"]],
    ),
    "n_networks": ("auto.* >= 1", [*NOT_INT, *NOT_AUTO, INF, (2,)]),
    "n_jobs": (
        "None.*int.*other than 0",
        ["2", "auto", True, np.True_, NAN, INF, 2.5, 2.0, np.float64(2), [2], 0, np.int64(0)],
    ),
    "batch_size": ("auto.* >= 1", [*NOT_INT, *NOT_AUTO, "all"]),
    "units_per_feature": ("auto.* >= 0", [*[v for v in NOT_INT if v != 0], *NOT_AUTO]),
    "learning_rate": ("auto.*constant.*invscaling.*adaptive.*cosine", [*NOT_NAME, 0.1]),
    "learning_rate_init": (r"auto.*\(0, inf\)", [*NOT_REAL, *NOT_AUTO, 0, -0.1, BEYOND_FLOAT]),
    "power_t": (r"\[0, inf\)", [*NOT_REAL, -0.5, BEYOND_FLOAT]),
    "max_iter": ("auto.* >= 1", [*NOT_INT, *NOT_AUTO, INF]),
    "max_fun": (">= 1", [*NOT_INT, INF]),
    "shuffle": ("True or False", NOT_FLAG),
    "random_state": (
        "int|seed",
        ["0", -1, 0.5, NAN, 2**32, [-1], (3, 0), np.random.default_rng(0)],
    ),
    "tol": (r"\[0, inf\)", [*NOT_REAL, -1e-9, BEYOND_FLOAT]),
    "n_iter_no_change": (">= 1 or inf", [*NOT_INT, -INF, BEYOND_FLOAT]),
    "early_stopping": ("True or False", NOT_FLAG),
    "validation_fraction": (r"\[0, 1\)", [*NOT_REAL, 1, -0.1, 1.1]),
    "warm_start": ("True or False", [*NOT_FLAG, np.array([True, False])]),
    "momentum": (r"\[0, 1\]", [*NOT_REAL, -0.1, 1.1]),
    "nesterovs_momentum": ("True or False", NOT_FLAG),
    "beta_1": (r"\[0, 1\)", [*NOT_REAL, -0.1, 1, 1.1]),
    "beta_2": (r"\[0, 1\)", [*NOT_REAL, -0.1, 1, 1.1]),
    "epsilon": (r"\(0, inf\)", [*NOT_REAL, 0, -1e-8, BEYOND_FLOAT]),
    "weight_decay": (r"auto.*\[0, inf\)", [*NOT_REAL, *NOT_AUTO, -1e-9, BEYOND_FLOAT]),
    "noise": ("'auto', 'constant', 'varying'", ["Varying", None, True, 0.5, ["constant"]]),
    "categorical_features": (
        "from_dtype.*None.*bool, int or str",
        ["auto", 0, 0.5, True, [0.5], [[0]], np.array(0), [object()], [0, "a", None], {0}],
    ),
    "verbose": ("True, False.* >= 0", ["yes", None, -1, 0.5, NAN, INF, [1]]),
}
WRONG_PARAMETERS = [
    pytest.param(name, value, allowed, id=f"{name}={value!r}".split(" at 0x")[0][:50])
    for name, (allowed, values) in PARAMETERS.items()
    for value in values
]


def test_every_parameter_is_in_the_table():
    assert set(PARAMETERS) == set(BackpropRegressor().get_params())


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG_PARAMETERS)
def test_wrong_parameter(name, value, allowed):
    estimator = BackpropRegressor(**{**LBFGS, name: value})
    before = snapshot(estimator) if name != "hidden_layer_sizes" else None
    with pytest.raises(
        REFUSED, match=all_of(rf"\b{name}\b", re.escape(repr(value)), allowed)
    ) as caught:
        estimator.fit(X, Y)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError)
    assert set(vars(estimator)) == set(PARAMETERS)
    assert before is None or snapshot(estimator) == before


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - {"solver", "early_stopping"}))
def test_wrong_parameter_in_partial_fit(name):
    allowed, values = PARAMETERS[name]
    estimator = BackpropRegressor(**{**STREAM, name: values[0]})
    with pytest.raises(REFUSED, match=all_of(rf"\b{name}\b", re.escape(repr(values[0])), allowed)):
        estimator.partial_fit(X, Y)
    assert set(vars(estimator)) == set(PARAMETERS)


def test_parameters_are_checked_when_fitting_only():
    # scikit-learn's clone and set_params must be able to carry anything.
    estimator = BackpropRegressor().set_params(alpha=-1, solver="nope")
    assert estimator.get_params()["alpha"] == -1
    with pytest.raises(REFUSED, match=all_of("colour", "alpha")):
        estimator.set_params(colour="red")


# name, a plain value, the same in other types
SAME_IN_OTHER_TYPES = [
    ("hidden_layer_sizes", (4,), [4, [4], np.int64(4), np.uint8(4), np.array([4]), (np.int32(4),)]),
    ("hidden_layer_sizes", (3, 4), [[3, 4], np.array([3, 4]), range(3, 5), pd.Series([3, 4])]),
    ("hidden_layer_sizes", "auto", [np.str_("auto")]),
    ("activation", "tanh", [np.str_("tanh")]),
    ("output_activation", "logistic", [np.str_("logistic")]),
    ("loss", "poisson", [np.str_("poisson")]),
    ("solver", "adam", [np.str_("adam")]),
    ("solver", "lm", [np.str_("lm")]),
    ("precondition", False, [np.False_]),
    ("alpha", 0.5, [np.float64(0.5), np.float32(0.5), np.float16(0.5)]),
    ("alpha", 1.0, [1, np.int64(1)]),
    ("alpha", "auto", [np.str_("auto")]),
    ("weight_groups", "layer", [np.str_("layer")]),
    ("n_networks", 2, [np.int64(2), np.uint8(2)]),
    ("n_networks", "auto", [np.str_("auto")]),
    ("n_jobs", 2, [np.int64(2), np.int8(2)]),
    ("batch_size", 7, [np.int64(7), np.uint8(7)]),
    ("batch_size", "auto", [np.str_("auto")]),
    ("learning_rate", "invscaling", [np.str_("invscaling")]),
    ("learning_rate", "cosine", [np.str_("cosine")]),
    ("learning_rate", "auto", [np.str_("auto")]),
    ("learning_rate_init", 0.25, [np.float64(0.25), np.float32(0.25)]),
    ("learning_rate_init", "auto", [np.str_("auto")]),
    ("weight_decay", 0.25, [np.float64(0.25), np.float32(0.25)]),
    ("weight_decay", "auto", [np.str_("auto")]),
    ("noise", "constant", [np.str_("constant")]),
    (
        "categorical_features",
        [1],
        [(1,), np.array([1]), [False, True, False], np.array([0, 1, 0]) > 0],
    ),
    ("units_per_feature", 2, [np.int64(2), np.uint8(2)]),
    ("units_per_feature", "auto", [np.str_("auto")]),
    ("power_t", 0.25, [np.float64(0.25), np.float32(0.25)]),
    ("max_iter", 60, [np.int64(60), np.int8(60)]),
    ("max_iter", "auto", [np.str_("auto")]),
    ("max_fun", 60, [np.int64(60), np.int8(60)]),
    ("shuffle", False, [np.False_]),
    ("random_state", 3, [np.int64(3), np.uint8(3), np.random.RandomState(3)]),
    ("tol", 0.75, [np.float64(0.75), np.float32(0.75)]),
    ("n_iter_no_change", 2, [np.int64(2), np.uint8(2)]),
    ("early_stopping", True, [np.True_]),
    ("validation_fraction", 0.25, [np.float64(0.25), np.float32(0.25)]),
    ("warm_start", True, [np.True_]),
    ("momentum", 0.5, [np.float64(0.5), np.float32(0.5)]),
    ("nesterovs_momentum", False, [np.False_]),
    ("beta_1", 0.5, [np.float64(0.5), np.float32(0.5)]),
    ("beta_2", 0.5, [np.float64(0.5), np.float32(0.5)]),
    ("epsilon", 0.5, [np.float64(0.5), np.float32(0.5)]),
    ("verbose", 0, [False, np.False_, np.int64(0)]),
]


def test_every_parameter_has_other_types():
    assert {name for name, *_ in SAME_IN_OTHER_TYPES} == set(PARAMETERS)


@pytest.mark.parametrize(
    ("name", "plain", "other"),
    [(name, plain, other) for name, plain, others in SAME_IN_OTHER_TYPES for other in others],
)
def test_numpy_scalars_do_what_plain_values_do(name, plain, other):
    solver = {"beta_1": "adam", "beta_2": "adam", "epsilon": "adam", "weight_groups": "lm"}
    params = {
        **LBFGS,
        "solver": solver.get(name, "lm" if (name, plain) == ("alpha", "auto") else "sgd"),
        "alpha": "auto" if name == "weight_groups" else 1.0,
        "n_networks": 2 if name == "n_jobs" else 1,
        "learning_rate": "invscaling" if name == "power_t" else "constant",
        "early_stopping": name == "validation_fraction",
        "batch_size": 10,
        "learning_rate_init": 0.001,
        "tol": 0.5,  # stops as soon as an epoch does not halve the loss
        "n_iter_no_change": 1,
    }
    rows = np.round(3 * X) if name == "categorical_features" else X
    expected = BackpropRegressor(**{**params, name: plain}).fit(rows, Y)
    got = BackpropRegressor(**{**params, name: other}).fit(rows, Y)
    np.testing.assert_array_equal(got.predict(rows), expected.predict(rows))
    assert got.loss_curve_ == expected.loss_curve_


# --- arguments of fit and partial_fit ---

# (arguments, parameters, what the message says), by the names of the tests
WRONG_DATA = {}


def wrong(name, *says, params=None, **arguments):
    WRONG_DATA[name] = (arguments, params or {}, all_of(*says))


def strings(like):
    return np.full(np.shape(like), "a")


def objects(like):
    return np.full(np.shape(like), object())


for argument, good in {"X": X, "X_val": X_VAL}.items():
    other = {} if argument == "X" else {"y_val": Y_VAL}
    for name, value, *says in [
        ("inf", with_value(good, INF), "infinity"),
        ("-inf", with_value(good, -INF), "infinity"),
        ("NaN and inf", with_value(with_value(good, NAN)[:, ::-1], INF), "infinity"),
        ("data frame with inf", pd.DataFrame(with_value(good, INF)), "infinity"),
        ("sparse NaN", sp.csr_matrix(with_value(good, NAN)), "NaN"),
        ("sparse array with inf", sp.csr_array(with_value(good, INF)), "infinity"),
        ("float32 inf", with_value(good, INF).astype(np.float32), "infinity"),
        ("1-D", good[:, 0], "1D", "2D"),
        ("3-D", good[:, :, None], "dim 3", "<= 2"),
        ("a number", 3.0, "scalar|0D", "2D"),
        ("zero rows", good[:0], "0 sample", "minimum of 1"),
        ("zero features", good[:, :0], "0 feature", "minimum of 1"),
        ("strings", strings(good), "'a'", "float"),
        ("data frame of lists", pd.DataFrame({"a": [[1]] * len(good)}), "lists", r"\[1\]"),
        ("complex", good + 1j, "[Cc]omplex"),
        ("objects", objects(good), "object", "real number"),
        ("ragged", [[1.0, 2.0], [3.0]], "inhomogeneous"),
        ("columns of mixed names", pd.DataFrame(good, columns=["a", 1, "c"]), "str.*int|int.*str"),
    ]:
        wrong(f"{argument}: {name}", rf"\b{argument}\b", *says, **{argument: value}, **other)
wrong("X: None", r"\bX\b", "None|scalar", X=None)

DATES = np.full((20, 2), "2026-01-01", "datetime64[s]")
wrong("X: dates", "^X has", "datetime64", "numeric", X=DATES)
wrong("X: a list of dates", "^X has", "datetime64", "numeric", X=[list(row) for row in DATES])
wrong("X: durations", "^X has", "timedelta64", "numeric", X=DATES - DATES[0])
wrong("X_val: dates", "^X_val has", "datetime64", "numeric", X_val=DATES, y_val=np.ones(20))
wrong("y: dates", "^y has", "datetime64", "numeric", y=np.full(20, "2026-01-01", "datetime64[s]"))
wrong("sample_weight: dates", "^sample_weight has", "datetime64", sample_weight=DATES[:, 0])
wrong(
    "sample_weight: durations",
    "^sample_weight has",
    "m8|timedelta",
    sample_weight=DATES[:, 0] - DATES[0, 0],
)
wrong("sample_weight: True", "sample_weight", "scalar|shape", sample_weight=True)
wrong("X: masked", "^X is a masked array", r"\b6\b", "filled", X=np.ma.masked_array(X, X > 0.9))
wrong("y: masked", "^y is a masked array", r"\b1\b", y=np.ma.masked_array(Y, np.isin(Y, Y.max())))
wrong(
    "sample_weight: masked", "^sample_weight is", "mask", sample_weight=np.ma.masked_array(W, Y > 1)
)
wrong("sample_weight: huge", "sample_weight", "inf", "float64", sample_weight=1e308 * W)
wrong("sample_weight: far beyond", "sample_weight", "2e\\+281", "1e\\+280", sample_weight=1e280 * W)
wrong("sample_weight: subnormal", "sample_weight", "float64", sample_weight=1e-320 * W)

for argument, good in {"y": Y, "y_val": Y_VAL}.items():
    other = {} if argument == "y" else {"X_val": X_VAL}
    missing, infinite = "NaN|None|missing", "inf"
    for name, value, *says in [
        ("NaN", with_value(good, NAN), missing),
        ("inf", with_value(good, INF), infinite),
        ("-inf", with_value(good, -INF), infinite),
        ("series with NA", pd.Series(good, dtype="Float64").shift(), missing),
        ("objects with None", with_value(good.astype(object), None), missing),
        ("objects with NaN", with_value(good.astype(object), NAN), missing),
        ("objects with inf", with_value(good.astype(object), INF), infinite),
        ("list of None", [None] * len(good), missing),
        ("3-D", good[:, None, None], "dim 3", "<= 2"),
        ("a number", 3.0, "scalar|0D", "1 dim|1D"),
        ("one row short", good[:-1], str(len(good)), str(len(good) - 1)),
        ("empty", [], r"\b0\b"),
        ("no outputs", np.zeros((len(good), 0)), r"\b0\b", "1|one"),
        ("strings", strings(good), "string", "numeric|float"),
        ("digits", good.astype(str), "string", "numeric|float"),
        ("objects", objects(good), "object", "real number"),
        ("one string", with_value(good.astype(object), "a"), "string", "float"),
        ("complex", good + 1j, "[Cc]omplex"),
        ("sparse", sp.csr_matrix(good[:, None]), "[Ss]parse", "dense"),
        ("sparse array", sp.csr_array(good[:, None]), "[Ss]parse", "dense"),
    ]:
        wrong(f"{argument}: {name}", rf"\b{argument}\b", *says, **{argument: value}, **other)
wrong("y: None", r"\by\b", "None", y=None)

for argument, good in {"sample_weight": W, "sample_weight_val": W[:5]}.items():
    other = {} if argument == "sample_weight" else {"X_val": X_VAL, "y_val": Y_VAL}
    n_rows = str(len(good))
    for name, value, *says in [
        ("negative", with_value(good, -1.0), "-1", ">= 0"),
        ("negative number", -1.0, "-1", ">= 0"),
        ("NaN", with_value(good, NAN), "NaN"),
        ("inf", with_value(good, INF), "infinity"),
        ("None", [None] * len(good), "NaN|None"),
        ("all zero", 0 * good, "zero", "positive"),
        ("zero", 0.0, "zero", "positive"),
        ("one row short", good[:-1], str(len(good) - 1), n_rows),
        ("column", good[:, None], rf"\({n_rows}, 1\)", rf"\({n_rows},\)"),
        ("2-D", np.column_stack([good, good]), rf"\({n_rows}, 2\)", rf"\({n_rows},\)"),
        ("empty", [], r"\b0\b|\(0,\)"),
        ("strings", strings(good), "'a'", "float"),
        ("a string", "balanced", "'balanced'", "float"),
        ("objects", objects(good), "object", "real number"),
        ("complex", good + 1j, "[Cc]omplex"),
        ("sparse", sp.csr_matrix(good[:, None]), "[Ss]parse", "dense"),
    ]:
        wrong(f"{argument}: {name}", rf"\b{argument}\b", *says, **{argument: value}, **other)

wrong("X_val alone", "X_val", "y_val", "without", X_val=X_VAL)
wrong("y_val alone", "X_val", "y_val", "without", y_val=Y_VAL)
wrong("X_val and its weights alone", "X_val", "without y_val", X_val=X_VAL, sample_weight_val=W[:5])
wrong("sample_weight_val alone", "sample_weight_val", "without X_val", sample_weight_val=W[:5])
wrong("X_val: two features", "X_val has 2 features", r"\b3\b", X_val=X_VAL[:, :2], y_val=Y_VAL)
wrong("X_val: six features", "X_val has 6 features", r"\b3\b", X_val=X.reshape(10, 6), y_val=Y[:10])
wrong("y_val: two outputs", "y_val has 2 outputs", r"\by has 1\b", X_val=X_VAL, y_val=Y2[:5])
wrong("y_val: one output", "y_val has 1 output", r"\by has 2\b", y=Y2, X_val=X_VAL, y_val=Y_VAL)
wrong("X_val: other name", "X_val", r"\bd\b", X=frame("abc"), X_val=frame("abd", 5), y_val=Y_VAL)
wrong("X_val: order", "X_val", "order", X=frame("abc"), X_val=frame("acb", 5), y_val=Y_VAL)
wrong("X: an int beyond float64", r"\bX\b", "large", X=with_value(X.astype(object), 10**400))
wrong("y: an int beyond float64", r"\by\b", "large", y=with_value(Y.astype(object), 10**400))

SINGLE = X.astype(np.float32)
wrong("y: beyond float32", r"\by\b", r"e\+39", "float32", X=SINGLE, y=Y * 1e39)
wrong("y: negative beyond float32", r"\by\b", r"e\+39", "float32", X=SINGLE, y=Y * -1e39)
wrong("y: one beyond float32", r"\by\b", r"1e\+39", "float32", X=SINGLE, y=with_value(Y2, 1e39))
wrong(
    "y_val: beyond float32",
    *("y_val", r"e\+39", "float32"),
    **{"X": SINGLE, "X_val": SINGLE[:5], "y_val": Y_VAL * 1e39},
)
wrong(
    "X_val: beyond float32",
    *("X_val", "float32"),
    **{"X": SINGLE, "X_val": with_value(X_VAL, 1e39), "y_val": Y_VAL},
)
wrong(
    "coefs_init: beyond float32",
    *("coefs_init", "float32"),
    X=SINGLE,
    coefs_init=[1e39 * COEFS[0], COEFS[1]],
)

for params in ({"output_activation": "logistic"}, {"loss": "poisson"}):
    [(name, value)] = params.items()
    needs = f"{name}='{value}'.*"
    wrong(f"{value}: y", needs + r"\by >= 0", "-2", y=-Y, params=params)
    wrong(f"{value}: one y", needs + r"\by >= 0", "-0.5", y=with_value(Y, -0.5), params=params)
    wrong(f"{value}: an output", needs + r"\by >= 0", "-5", y=Y2 * [1, -1], params=params)
    wrong(
        f"{value}: y_val",
        *(needs + "y_val >= 0", "-2"),
        **{"X_val": X_VAL, "y_val": -Y_VAL, "params": params},
    )
wrong(
    "poisson with logistic",
    *("loss='poisson'", "output_activation", "'identity'", "'logistic'"),
    params={"loss": "poisson", "output_activation": "logistic"},
)

STOP = {"early_stopping": True}
wrong("one row to split", "early_stopping", "n_samples=1", "train", X=X[:1], y=Y[:1], params=STOP)
wrong(
    "one row of weight to split",
    *("early_stopping", "n_samples=1", "train"),
    sample_weight=np.eye(20)[0],
    params=STOP,
)
wrong(
    "no row to stop by",
    *("validation_fraction=0;", "sets 0 rows aside", "n_samples=20"),
    params={**STOP, "validation_fraction": 0},
)
wrong(
    "no row left to train on",
    *("validation_fraction=0.99", "n_samples=20", "train"),
    params={**STOP, "validation_fraction": 0.99},
)

for name, coefs, *says in [
    ("one of two", COEFS[:1], "2 arrays"),
    ("three of two", [*COEFS, COEFS[1]], "2 arrays"),
    ("none", [], "2 arrays"),
    ("wrong rows", [COEFS[0][:2], COEFS[1]], r"\(2, 3\)", r"\(3, 3\)"),
    ("1-D", [COEFS[0], COEFS[1].ravel()], r"\(3,\)", r"\(3, 1\)"),
    ("NaN", [COEFS[0], with_value(COEFS[1], NAN)], r"\[1\]|NaN", "finite"),
    ("inf", [with_value(COEFS[0], INF), COEFS[1]], r"\[0\]|inf", "finite"),
    ("complex", [COEFS[0] + 1j, COEFS[1]], r"[Cc]omplex|1j|1\.j"),
    ("strings", [strings(COEFS[0]), COEFS[1]], "'a'"),
    ("a string", "random", "random", r"\(3, 3\)"),
    ("a number", 3, "3", r"\(3, 3\)"),
    ("ragged", [[[1.0, 2.0], [3.0]], COEFS[1]], r"\(3, 3\)"),
]:
    wrong(f"coefs_init: {name}", "coefs_init", *says, coefs_init=coefs, intercepts_init=INTERCEPTS)
for name, intercepts, *says in [
    ("one of two", INTERCEPTS[:1], "2 arrays"),
    ("three of two", [*INTERCEPTS, INTERCEPTS[1]], "2 arrays"),
    ("none", [], "2 arrays"),
    ("wrong size", [INTERCEPTS[0], INTERCEPTS[0]], r"\(3,\)", r"\(1,\)"),
    ("2-D", [INTERCEPTS[0][None], INTERCEPTS[1]], r"\(1, 3\)", r"\(3,\)"),
    ("NaN", [with_value(INTERCEPTS[0], NAN), INTERCEPTS[1]], r"\[0\]|NaN", "finite"),
    ("inf", [INTERCEPTS[0], INTERCEPTS[1] * INF], r"\[1\]|inf", "finite"),
    ("complex", [INTERCEPTS[0] + 1j, INTERCEPTS[1]], r"[Cc]omplex|1j|1\.j"),
    ("strings", [strings(INTERCEPTS[0]), INTERCEPTS[1]], "'a'"),
    ("a number", 0, "0", r"\(1,\)"),
]:
    wrong(
        f"intercepts_init: {name}",
        *("intercepts_init", *says),
        coefs_init=COEFS,
        intercepts_init=intercepts,
    )
wrong("intercepts_init alone", "intercepts_init", "without coefs_init", intercepts_init=INTERCEPTS)
wrong(
    "coefs_init: for one network of two",
    *("coefs_init", "one network", "n_networks=2", "'auto'"),
    **{"coefs_init": COEFS, "intercepts_init": INTERCEPTS, "params": {"n_networks": 2}},
)
AUTO_LAYERS = {"hidden_layer_sizes": "auto"}
for name, coefs, *says in [
    ("none", [], "1 array"),
    ("a number", 3, "3", "hidden_layer_sizes='auto'"),
    ("a string", "random", "random", "hidden_layer_sizes='auto'"),
    ("1-D", [COEFS[0].ravel(), COEFS[1]], "2-d", "hidden_layer_sizes='auto'"),
    ("ragged", [[[1.0, 2.0], [3.0]], COEFS[1]], "2-d", "hidden_layer_sizes='auto'"),
    ("no unit", [np.ones((3, 0)), np.ones((0, 1))], "at least one unit", r"\(0,\)"),
    ("that do not fit together", [COEFS[0], COEFS[1][:2]], r"\(3, 1\)", r"\(2, 1\)"),
    ("wrong rows", [COEFS[0][:2], COEFS[1]], r"\(2, 3\)", r"\(3, 3\)"),
]:
    wrong(f"coefs_init, layers unknown: {name}", *says, coefs_init=coefs, params=AUTO_LAYERS)
wrong("an argument that fit does not have", "colour", colour="red")

# Those that partial_fit takes too.
WRONG_BATCHES = [
    name
    for name, (arguments, params, _) in WRONG_DATA.items()
    if set(arguments) <= {"X", "y", "sample_weight"} and "early_stopping" not in params
]


@pytest.mark.parametrize("name", WRONG_DATA)
def test_wrong_data_in_fit(name):
    arguments, params, message = WRONG_DATA[name]
    estimator = BackpropRegressor(**{**LBFGS, **params})
    before = snapshot(estimator)
    with pytest.raises(REFUSED, match=message):
        estimator.fit(**{"X": X, "y": Y, **arguments})
    assert snapshot(estimator) == before
    with pytest.raises(NotFittedError):
        estimator.predict(X)


@pytest.mark.parametrize("name", WRONG_BATCHES)
def test_wrong_first_batch(name):
    arguments, params, message = WRONG_DATA[name]
    estimator = BackpropRegressor(**{**STREAM, **params})
    before = snapshot(estimator)
    with pytest.raises(REFUSED, match=message):
        estimator.partial_fit(**{"X": X, "y": Y, **arguments})
    assert snapshot(estimator) == before
    with pytest.raises(NotFittedError):
        estimator.predict(X)
