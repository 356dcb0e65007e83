"""Code for scikit-learn's MLPRegressor runs with BackpropRegressor in its place.

What MLPRegressor has is read from the installed one, and what it does is tried: a release
that adds a parameter, an attribute or a method, or takes another value, shows up here.
"""

import ast
import collections
import inspect
import re
import warnings
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPRegressor

from sk_backprop import BackpropRegressor

GUIDE = Path(__file__).parents[1] / "sk_backprop" / "guide.md"
VERDICTS = {"same", "better", "different"}


# --- what there is: the installed MLPRegressor, and the guide's tables ---


def documented(cls, section):
    """Names in a section of a numpydoc docstring."""
    _, _, text = inspect.getdoc(cls).partition(f"\n{section}\n{'-' * len(section)}\n")
    text = re.split(r"\n\w[\w ]*\n---", text)[0]
    names = re.findall(r"^(\w[\w, ]*) : ", text, re.MULTILINE)
    return [name for entry in names for name in entry.split(", ")]


def parameters(cls):
    return inspect.signature(cls).parameters


def public(cls):
    return {name for name in dir(cls) if not name.startswith("_")}


def table(first_cell):
    """{name: cells after the first} of a table of the guide, by its first column's head."""
    _, _, text = GUIDE.read_text(encoding="utf-8").partition(f"\n| {first_cell} |")
    rows = re.split(r"\n(?!\|)", text)[0].splitlines()[2:]
    split = [[cell.strip() for cell in row.strip()[1:-1].split("|")] for row in rows]
    return {name: cells for first, *cells in split for name in re.findall(r"`(\w+)`", first)}


def lacking(theirs):
    """What `theirs` has and BackpropRegressor or the guide's tables lack."""
    keywords, attributes = set(parameters(theirs)), set(documented(theirs, "Attributes"))
    return {
        "parameters": keywords - set(parameters(BackpropRegressor)),
        "parameters documented": keywords - set(documented(BackpropRegressor, "Parameters")),
        "parameters in the table": keywords - set(table("parameter")),
        "attributes": attributes - set(documented(BackpropRegressor, "Attributes")),
        "attributes in the table": attributes - set(table("attribute")),
        "methods": public(theirs) - public(BackpropRegressor),
        "methods in the table": public(theirs) - set(table("method")),
    }


def test_nothing_of_mlpregressor_is_lacking():
    assert {what: names for what, names in lacking(MLPRegressor).items() if names} == {}


def test_a_release_with_more_would_be_noticed():
    class NextRelease(MLPRegressor):
        __doc__ = MLPRegressor.__doc__.replace(
            "    Parameters\n    ----------\n",
            "    Parameters\n    ----------\n    dropout : float, default=0\n        New.\n\n",
        ).replace(
            "    Attributes\n    ----------\n",
            "    Attributes\n    ----------\n    gates_ : list\n        New.\n\n",
        )

        def __init__(self, hidden_layer_sizes=(100,), *, dropout=0, max_iter=200):
            pass

        def prune(self):
            pass

    assert lacking(NextRelease) == {
        "parameters": {"dropout"},
        "parameters documented": {"dropout"},
        "parameters in the table": {"dropout"},
        "attributes": {"gates_"},
        "attributes in the table": {"gates_"},
        "methods": {"prune"},
        "methods in the table": {"prune"},
    }


def test_the_docstring_of_mlpregressor_is_read_whole():
    assert set(documented(MLPRegressor, "Parameters")) == set(parameters(MLPRegressor))
    mlp = MLPRegressor(hidden_layer_sizes=(4,))
    fitted = {name for name in vars(mlp.partial_fit(X, Y)) if re.fullmatch("[a-z].*_", name)}
    assert fitted <= set(documented(MLPRegressor, "Attributes"))


def test_the_tables_hold_nothing_else():
    assert set(table("parameter")) == set(parameters(MLPRegressor))
    assert set(table("attribute")) == set(documented(MLPRegressor, "Attributes"))
    assert set(table("method")) == public(MLPRegressor)
    verdicts = [cells[-2] for name in ("attribute", "method") for cells in table(name).values()]
    verdicts += [cells[2] for cells in table("parameter").values()]
    assert set(verdicts) == VERDICTS


def test_defaults_in_the_table_are_those_of_the_signatures():
    for name, (theirs, here, verdict, why) in table("parameter").items():
        defaults = [parameters(cls)[name].default for cls in (MLPRegressor, BackpropRegressor)]
        if theirs or here:
            assert [ast.literal_eval(cell.strip("`")) for cell in (theirs, here)] == defaults, name
            assert verdict != "same", name
        else:
            assert defaults[0] == defaults[1], name
        assert why, name


def test_methods_take_what_mlpregressors_take():
    for name in ("fit", "partial_fit", "predict", "score"):
        theirs, ours = (
            list(parameters(getattr(cls, name))) for cls in (MLPRegressor, BackpropRegressor)
        )
        assert ours[: len(theirs)] == theirs, name


# --- which values are taken ---

RNG = np.random.RandomState(0)
X = RNG.uniform(size=(40, 2))
Y = X.sum(axis=1)
FRAME = pd.DataFrame(X, columns=["a", "b"])
PEERS = [MLPRegressor, BackpropRegressor]
SMALL = {"hidden_layer_sizes": (2,), "solver": "adam", "alpha": 1e-4, "max_iter": 2}

NUMBERS = [0, 1, 2, -1, 0.0, 0.5, 0.999, 1.0, 2.5, -0.5, np.nan, np.inf, 1j, np.int64(2)]
NUMBERS += [np.float32(0.5), "3", b"3"]
NAMES = ["auto", "nope", "", "squared_error", "poisson", "identity", "logistic", "tanh", "relu"]
NAMES += ["lbfgs", "adam", "sgd", "constant", "invscaling", "adaptive", "Adam", b"adam"]
LAYERS = [(), (3,), [3], [3, 2], (3, 0), (3, -1), (3, 2.0), [2.5], [[3]], ["3"], range(2, 4)]
LAYERS += [np.array([3, 2]), np.array(3), pd.Series([3, 2]), pd.Index([2])]
LAYERS += [collections.deque([3]), {3}, {3: 1}]
OTHER = [None, True, False, np.True_, object, np.random.RandomState(0), np.random.default_rng(0)]
VALUES = [*NUMBERS, *NAMES, *LAYERS, *OTHER]

# A bool is not a number here, and what has no order is no list of layers.
NUMERIC = {
    name for name, p in parameters(MLPRegressor).items() if type(p.default) in (int, float)
} | {"batch_size", "random_state"}
NOT_TAKEN = {("hidden_layer_sizes", "{3}"), ("hidden_layer_sizes", "{3: 1}")}
NOT_TAKEN |= {(name, repr(value)) for name in NUMERIC for value in (True, False, np.True_)}
MAY_BE_AUTO = {"hidden_layer_sizes", "solver", "alpha"}
MAY_BE_AUTO |= {"learning_rate", "learning_rate_init", "max_iter"}
TAKEN_HERE = {(name, "'auto'") for name in MAY_BE_AUTO}


KINDS = (ValueError, TypeError, AttributeError, NotFittedError)


def outcome(call):
    """The error of `KINDS` that a call raises or None, and the kinds of warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except KINDS as error:
            return error, {warning.category for warning in caught}
    return None, {warning.category for warning in caught}


def caught_alike(theirs, ours):
    """Whether what catches the error `theirs` catches the error `ours`."""
    return all(isinstance(ours, kind) for kind in KINDS if isinstance(theirs, kind))


@pytest.mark.parametrize("name", parameters(MLPRegressor))
def test_every_value_that_mlpregressor_takes_is_taken(name):
    for value in VALUES:
        given = SMALL | ({"solver": "lbfgs"} if name == "max_fun" else {}) | {name: value}
        (theirs, _), (ours, _) = (
            outcome(lambda cls=cls, given=given: cls(**given).fit(X, Y)) for cls in PEERS
        )
        at = (name, repr(value))
        if theirs is None:
            assert ours is None or at in NOT_TAKEN, (value, ours)
        elif ours is None:
            assert at in TAKEN_HERE, (value, theirs)
        else:
            assert caught_alike(theirs, ours), (value, theirs, ours)
        if ours is not None and f"The {name!r} parameter of MLPRegressor must be" in str(theirs):
            assert f"The {name!r} parameter of BackpropRegressor must be" in str(ours)
            assert f"Got {value!r} instead" in str(ours)


# --- calls that work, warn or fail ---


def weird(array, value):
    array = array.copy()
    array.flat[0] = value
    return array


def make(cls, **params):
    return cls(**{**SMALL, "random_state": 0, **params})


def then(fitted, **params):
    return fitted.set_params(**params)


CALLS = {
    "inf in y": lambda c: make(c).fit(X, weird(Y, np.inf)),
    "y too short": lambda c: make(c).fit(X, Y[1:]),
    "X of one dimension": lambda c: make(c).fit(X[:, 0], Y),
    "X of three": lambda c: make(c).fit(X[None], Y),
    "y of three": lambda c: make(c).fit(X, Y[:, None, None]),
    "strings in X": lambda c: make(c).fit([["a", "b"]] * 40, Y),
    "complex X": lambda c: make(c).fit(X * 1j, Y),
    "complex y": lambda c: make(c).fit(X, Y * 1j),
    "no y": lambda c: make(c).fit(X, None),
    "sparse y": lambda c: make(c).fit(X, sp.csr_matrix(Y[:, None])),
    "no rows": lambda c: make(c).fit(X[:0], Y[:0]),
    "objects": lambda c: make(c).fit(X.astype(object), Y),
    "ints": lambda c: make(c).fit((10 * X).astype(int), (10 * Y).astype(int)),
    "bools in y": lambda c: make(c).fit(X, Y > 1),
    "lists": lambda c: make(c).fit(X.tolist(), Y.tolist()),
    "y of one column": lambda c: make(c).fit(X, Y[:, None]),
    "y of two": lambda c: make(c).fit(X, np.column_stack([Y, Y])),
    "frame": lambda c: make(c).fit(FRAME, pd.Series(Y)),
    "csr": lambda c: make(c).fit(sp.csr_matrix(X), Y),
    "coo": lambda c: make(c).fit(sp.coo_matrix(X), Y),
    "weights": lambda c: make(c).fit(X, Y, sample_weight=Y),
    "weights by place": lambda c: make(c).fit(X, Y, Y),
    "weight for all": lambda c: make(c).fit(X, Y, 2.0),
    "weights too short": lambda c: make(c).fit(X, Y, Y[1:]),
    "nan in weights": lambda c: make(c).fit(X, Y, weird(Y, np.nan)),
    "predict before fit": lambda c: make(c).predict(X),
    "score before fit": lambda c: make(c).score(X, Y),
    "score": lambda c: make(c).fit(X, Y).score(X, Y),
    "fewer features": lambda c: make(c).fit(X, Y).predict(X[:, :1]),
    "one row of one dimension": lambda c: make(c).fit(X, Y).predict(X[0]),
    "names in another order": lambda c: make(c).fit(FRAME, Y).predict(FRAME[["b", "a"]]),
    "names missing": lambda c: make(c).fit(FRAME, Y).predict(X),
    "names that are new": lambda c: make(c).fit(X, Y).predict(FRAME),
    "unknown keyword": lambda c: c(colour="red"),
    "unknown parameter": lambda c: make(c).set_params(colour="red"),
    "stream": lambda c: make(c).partial_fit(X, Y).partial_fit(X, Y),
    "stream of sgd": lambda c: make(c, solver="sgd").partial_fit(X, Y, Y),
    "stream of other features": lambda c: make(c).partial_fit(X, Y).partial_fit(X[:, :1], Y),
    "stream of other outputs": lambda c: make(c).partial_fit(X, Y).partial_fit(X, X),
    "stream with early stopping": lambda c: make(c, early_stopping=True).partial_fit(X, Y),
    "warm start": lambda c: make(c, warm_start=True).fit(X, Y).fit(X, Y),
    "warm start, other features": lambda c: make(c, warm_start=True).fit(X, Y).fit(X[:, :1], Y),
    "warm start, other outputs": lambda c: make(c, warm_start=True).fit(X, Y).fit(X, X),
    "other layers": lambda c: then(make(c).fit(X, Y), hidden_layer_sizes=(3,)).fit(X, Y),
    "max_iter of adam": lambda c: make(c).fit(X, Y),
    "max_iter of sgd": lambda c: make(c, solver="sgd").fit(X, Y),
    "max_iter of lbfgs": lambda c: make(c, solver="lbfgs").fit(X, Y),
    "max_iter of early stopping": lambda c: make(c, early_stopping=True).fit(X, Y),
    "max_fun": lambda c: make(c, solver="lbfgs", max_fun=2, max_iter=99).fit(X, Y),
    "converges": lambda c: make(c, max_iter=5000, tol=1e-2).fit(X, Y),
    "converges, sgd": lambda c: make(c, solver="sgd", max_iter=5000, tol=1e-2).fit(X, Y),
    "converges, lbfgs": lambda c: make(c, solver="lbfgs", max_iter=5000).fit(X, Y),
    "stops early": lambda c: make(c, early_stopping=True, max_iter=5000, tol=1e-2).fit(X, Y),
    "no row left": lambda c: make(c, early_stopping=True).fit(X[:1], Y[:1]),
    "no row set aside": lambda c: make(c, early_stopping=True, validation_fraction=0).fit(X, Y),
    "none is needed": lambda c: make(c, validation_fraction=0).fit(X, Y),
    "poisson": lambda c: make(c, loss="poisson").fit(X, Y),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_works_warns_or_fails_as_with_mlpregressor(call):
    (theirs, their_warnings), (ours, our_warnings) = (
        outcome(lambda cls=cls: call(cls)) for cls in PEERS
    )
    assert (ours is None) == (theirs is None), (theirs, ours)
    assert caught_alike(theirs, ours), (theirs, ours)
    assert our_warnings == their_warnings


# What the tables call different or better: an error, or an end, that is clearer than theirs.
CLEARER = {
    "weights below 0": (lambda c: make(c).fit(X, Y, -Y), None, ValueError),
    "y below 0": (lambda c: make(c, loss="poisson").fit(X, -Y), None, ValueError),
    "strings in y": (lambda c: make(c).fit(X, ["a"] * 40), TypeError, ValueError),
    "warm start, other layers": (
        lambda c: then(make(c, warm_start=True).fit(X, Y), hidden_layer_sizes=(3,)).fit(X, Y),
        *(None, ValueError),
    ),
    "stream of lbfgs": (lambda c: make(c, solver="lbfgs").partial_fit(X, Y), None, AttributeError),
    "divergence": (
        lambda c: make(c, solver="sgd", learning_rate_init=1e300, activation="relu").fit(X, Y),
        *(ValueError, None),
    ),
    "nan in X": (lambda c: make(c).fit(weird(X, np.nan), Y), ValueError, None),
    "by place": (lambda c: c("squared_error", (2,), "relu"), None, TypeError),
}


@pytest.mark.parametrize(("call", "theirs", "ours"), CLEARER.values(), ids=CLEARER)
def test_a_call_that_ends_otherwise(call, theirs, ours):
    for cls, expected in zip(PEERS, (theirs, ours), strict=True):
        error, _ = outcome(lambda cls=cls: call(cls))
        assert error is None if expected is None else isinstance(error, expected), (cls, error)


# --- fitted attributes ---


def kind(value):
    """What a value is, down to the shapes of arrays."""
    if isinstance(value, np.ndarray):
        return value.shape, "number" if value.dtype.kind in "fi" else "name"
    if isinstance(value, list):
        kinds = [kind(element) for element in value]
        return ["number"] if set(kinds) <= {"float", "int"} else kinds
    if value is None or isinstance(value, str):
        return value
    return "int" if isinstance(value, Integral) else "float" if isinstance(value, Real) else None


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("hidden", [(), (3,), (4, 3), 5])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_fitted_attributes_are_of_the_same_kind(solver, loss, hidden, n_outputs):
    y = np.column_stack([Y, Y**2])[:, :n_outputs].squeeze()
    for stop in (False, True) if solver != "lbfgs" else (False,):
        params = {"solver": solver, "loss": loss, "hidden_layer_sizes": hidden}
        theirs, ours = (
            make(cls, **params, early_stopping=stop, max_iter=9).fit(FRAME, y) for cls in PEERS
        )
        names = documented(MLPRegressor, "Attributes")
        assert [name for name in names if not hasattr(ours, name)] == []
        names = [name for name in names if hasattr(theirs, name)]
        if stop:
            names.remove("best_loss_")
            assert (theirs.best_loss_, ours.best_loss_) == (None, min(ours.loss_curve_))
        for name in names:
            assert kind(getattr(ours, name)) == kind(getattr(theirs, name)), name
        for name, (verdict, _) in table("attribute").items():
            if verdict == "same":
                a, b = getattr(ours, name), getattr(theirs, name)
                np.testing.assert_array_equal(a, b, err_msg=name)
        assert len(ours.loss_curve_) == ours.n_iter_
        assert ours.t_ == ours.n_iter_ * (36 if stop else 40)
        if solver != "lbfgs":
            assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
            assert len(theirs.loss_curve_) == theirs.n_iter_


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_counts_of_streams_and_warm_starts(solver):
    theirs, ours = (make(cls, solver=solver).partial_fit(X, Y).partial_fit(X, Y) for cls in PEERS)
    assert ours.t_ == theirs.t_ == 80
    assert len(ours.loss_curve_) == len(theirs.loss_curve_) == 2
    assert (ours.n_iter_, theirs.n_iter_) == (2, 1)
    theirs, ours = (make(cls, solver=solver, warm_start=True).fit(X, Y).fit(X, Y) for cls in PEERS)
    assert ours.t_ == theirs.t_ == 160
    assert ours.n_iter_ == theirs.n_iter_ == 2
    assert (len(ours.loss_curve_), len(theirs.loss_curve_)) == (2, 4)


@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_alpha_stands_in_the_same_formula(alpha):
    # X and y whose largest values are 1 are to both what they are.
    unit, y = X / X.max(axis=0), Y / Y.max()
    params = {"solver": "lbfgs", "alpha": alpha, "max_iter": 3000, "tol": 1e-8}
    theirs = make(MLPRegressor, activation="logistic", **params).fit(unit, y)
    ours = make(BackpropRegressor, precondition=False, **params).fit(unit, y)
    for model in (theirs, ours):
        penalty = alpha * sum((W**2).sum() for W in model.coefs_)
        squares = ((model.predict(unit) - y) ** 2).sum()
        np.testing.assert_allclose(model.loss_, (squares + penalty) / 80, rtol=1e-9)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-4)


def test_one_positional_argument():
    positional = [
        p.name for p in parameters(BackpropRegressor).values() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    assert positional == ["hidden_layer_sizes"]


# --- what the guide sets beside calls in MATLAB and R ---

CALLS_HERE = re.findall(r"`(BackpropRegressor\(.*?\))` \|", GUIDE.read_text(encoding="utf-8"))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:The networks use:UserWarning")  # forty rows
@pytest.mark.parametrize("call", CALLS_HERE)
def test_a_call_set_beside_another_language_can_be_made(call):
    model = eval(call, {"BackpropRegressor": BackpropRegressor})
    fitted = model.set_params(max_iter=5, random_state=0).fit(X, Y)
    assert fitted.hidden_layer_sizes_ in {(10,), (5, 3)}
    assert fitted.n_networks_ in {1, 10}


def test_every_language_is_there():
    assert len(CALLS_HERE) == 7
