"""Sequences of calls with anything at all as parameters and tables.

Whatever is called, one of two things happens: the call does what it says, or it is refused by
an error of the documented kinds that leaves the estimator as it was.
``python tests/test_fuzz.py --minutes 30`` goes on with other calls than the tests', and
counts them.
"""

import argparse
import collections
import contextlib
import io
import pickle
import time
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from test_bad_input import snapshot

from sk_backprop import BackpropRegressor
from sk_backprop.export import to_mlp_regressor

REFUSED = (ValueError, TypeError)
NAN, INF = np.nan, np.inf

# --- parameters ---

seldom = st.sampled_from([False] * 9 + [True])
often = st.sampled_from([False, False, True])

NUMBERS = [0, 1, 2, 7, -1, 0.0, 1e-300, 1e-8, 0.5, 1.0, 1e6, 1e300, NAN, INF, -INF, True]
THINGS = [None, "", "auto", "adam", b"x", [], (), {}, [1], (3,), (2, 2), np.array([3]), object()]
GOOD = {
    "hidden_layer_sizes": [(), 3, (3,), (2, 2), [2], np.array([3]), "auto"],
    "activation": ["logistic", "tanh", "relu", "identity"],
    "output_activation": ["identity", "logistic"],
    "loss": ["squared_error", "poisson", "gamma", "lognormal", "student_t"],
    "solver": ["auto", "lm", "lbfgs", "adam", "sgd", "muon"],
    "precondition": [True, False],
    "alpha": ["auto", 0.0, 1e-300, 1e-3, 1.0, 1e6, 1e300],
    "weight_groups": ["auto", "input", "layer"],
    "n_networks": ["auto", 1, 3],
    "n_jobs": [None, 1],
    "batch_size": ["auto", 1, 7, 10**6],
    "units_per_feature": ["auto", 0, 1, 3],
    "learning_rate": ["auto", "constant", "invscaling", "adaptive", "cosine"],
    "learning_rate_init": ["auto", 1e-300, 1e-3, 1.0, 1e6, 1e300],
    "weight_decay": ["auto", 0.0, 0.02, 1e6, 1e300],
    "power_t": [0.0, 0.5, 300.0],
    "max_iter": [1, 2, 5],
    "max_fun": [1, 2, 100],
    "shuffle": [True, False],
    "tol": [0.0, 1e-3, 0.5],
    "n_iter_no_change": [1, 3, INF],
    "early_stopping": [True, False],
    "validation_fraction": [0.0, 0.1, 0.9],
    "warm_start": [True, False],
    "momentum": [0.0, 0.9, 1.0],
    "nesterovs_momentum": [True, False],
    "beta_1": [0.0, 0.9],
    "beta_2": [0.0, 0.999],
    "epsilon": [1e-300, 1e-8, 1.0],
    "verbose": [False],
}
# What is not drawn: few iterations, and one result.
QUICK = {"max_iter": 3, "n_networks": 1, "hidden_layer_sizes": (3,), "random_state": 0}


@st.composite
def parameters(draw):
    """Some parameters; seldom one of them is wrong."""
    names = draw(st.lists(st.sampled_from(sorted(GOOD)), max_size=6, unique=True))
    chosen = {name: draw(st.sampled_from(GOOD[name])) for name in names}
    if names and draw(seldom):
        chosen[names[0]] = draw(st.sampled_from(NUMBERS + THINGS))
    return chosen


# --- tables ---

SCALES = [0.0, 1e-310, 1e-160, 1e-30, 1e-3, 1.0, 1e3, 1e30, 1e160, 1.7e308]
SHIFTS = [0.0, 1.0, -1e6, 1e15, 1e300]
SPECIAL = [0.0, -0.0, 1.0, 5e-324, 1.7e308, -1.7e308, 1e-200, NAN, INF]
TYPES = [np.float64] * 6 + [np.float32] * 2 + [np.float16, np.int64, np.int8, np.uint64, bool]
TYPES += [object, complex, np.longdouble, "U8", "S8", ">f8", "M8[s]"]


@st.composite
def arrays(draw, shape):
    """An array of one shape; most are plain, some of odd values, types and containers."""
    rng = np.random.RandomState(draw(st.integers(0, 10**6)))
    table = rng.standard_normal(shape)
    if draw(often):
        table = np.abs(table)
    if draw(often):
        with np.errstate(over="ignore"):
            table = table * draw(st.sampled_from(SCALES)) + draw(st.sampled_from(SHIFTS))
    if draw(seldom):
        where = rng.uniform(size=shape) < draw(st.sampled_from([0.05, 0.5, 1.0]))
        table = np.where(where, draw(st.sampled_from(SPECIAL)), table)
    if draw(often):
        with np.errstate(all="ignore"):  # a float that is no int8, nan as a date
            table = np.asarray(table).astype(draw(st.sampled_from(TYPES)))
    return draw(st.sampled_from(CONTAINERS))(table) if draw(often) else table


def read_only(table):
    table.flags.writeable = False
    return table


def where_it_can_be(container):
    """The container's form of a table, or the table itself where the container refuses it."""
    refusals = ValueError, TypeError, NotImplementedError
    # polars 1.0 panics for an array of objects or complex numbers with two dimensions.
    refusals += (pl.exceptions.PanicException,)

    def contained(table):
        with warnings.catch_warnings(), contextlib.suppress(*refusals):
            warnings.simplefilter("ignore", PendingDeprecationWarning)  # np.matrix
            # pandas casts what it has to integers, and looks whether it is the same.
            warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            return container(table)
        return table

    return contained


CONTAINERS = [
    where_it_can_be(one)
    for one in [
        *[list, np.ndarray.tolist, tuple, np.asfortranarray, read_only, np.matrix],
        *[sp.csr_matrix, sp.csr_array, sp.csc_array, sp.coo_array, sp.dok_array],
        *[pd.DataFrame, pd.Series, lambda table: pd.DataFrame(table).convert_dtypes()],
        *[pl.DataFrame, pl.Series, lambda table: pa.Table.from_pandas(pd.DataFrame(table))],
        *[np.ma.masked_invalid, lambda table: np.repeat(table, 2, axis=0)[::2], iter],
    ]
]


@st.composite
def data(draw):
    """X, y and weights; most of them go together."""
    n, p = draw(st.sampled_from([1, 2, 5, 12, 20, 20, 20])), 2
    if draw(seldom):
        n, p = draw(st.sampled_from([0, 1, 20])), draw(st.integers(0, 4))
    shapes = {"X": (n, p), "y": draw(st.sampled_from([(n,), (n,), (n, 1), (n, 2)])), "w": (n,)}
    if draw(seldom):
        odd = st.lists(st.integers(0, 4), max_size=3).map(tuple)
        shapes[draw(st.sampled_from(sorted(shapes)))] = draw(odd)
    X, y = draw(arrays(shapes["X"])), draw(arrays(shapes["y"]))
    weights = st.one_of(st.just(np.ones(n)), st.just(np.arange(n)), arrays(shapes["w"]))
    return X, y, draw(weights) if draw(often) else None


PLAIN = (np.arange(24.0).reshape(12, 2), np.arange(12.0) ** 2, None)


@st.composite
def beside(draw):
    """What else `fit` takes: rows to validate on, weights to start from."""
    arguments = {}
    if draw(often):
        X, y, weights = draw(data()) if draw(seldom) else PLAIN
        if draw(often):
            weights = draw(arrays((len(PLAIN[0]),)))
        arguments |= {"X_val": X, "y_val": y, "sample_weight_val": weights}
    if draw(often):
        sizes = draw(st.sampled_from([(2, 3, 1), (2, 3, 1), (2, 3, 2), (2, 2, 2, 1), (2, 1), ()]))
        pairs = list(pairwise(sizes))
        arguments["coefs_init"] = [draw(arrays(pair)) for pair in pairs]
        if not draw(seldom):
            arguments["intercepts_init"] = [draw(arrays(pair[1:])) for pair in pairs]
    if arguments and draw(seldom):
        changed = draw(st.sampled_from(sorted(arguments)))
        arguments[changed] = draw(st.sampled_from([None, *THINGS, *NUMBERS]))
    return arguments


# --- calls ---

TOLD = (ConvergenceWarning, DataConversionWarning, UserWarning)
counted = collections.Counter()


@st.composite
def calls(draw):
    """Calls of one estimator, (name, arguments), the first of them its parameters."""
    params = draw(parameters())
    kinds = ["fit", "fit", "use", "score", "set_params"]
    if draw(often):
        params = {"solver": draw(st.sampled_from(["adam", "sgd", "muon", "auto"])), **params}
        kinds.extend(3 * ["partial_fit"])
    sequence = [("set_params", params)]
    if draw(often):
        sequence.append(("fit", (*PLAIN, {})))
    for name in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4)):
        arguments = draw(parameters() if name == "set_params" else data())
        if name == "fit":
            arguments = (*arguments, draw(beside()) if draw(often) else {})
        sequence.append((name, arguments))
    return sequence


def fit(model, X, y, weights, others):
    return model.fit(X, y, sample_weight=weights, **others)


def partial_fit(model, X, y, weights):
    return model.partial_fit(X, y, sample_weight=weights)


def use(model, X, y, weights):
    mean, std = model.predict(X, return_std=True)
    slopes = model.gradient(X)
    assert mean.shape == std.shape == slopes.shape[:-1]
    assert mean.ndim == (1 if model.n_outputs_ == 1 else 2)
    if model.out_activation_ == "identity":
        exported = to_mlp_regressor(model)
        assert all(np.isfinite(W).all() for W in [*exported.coefs_, *exported.intercepts_])


def score(model, X, y, weights):
    with contextlib.suppress(ZeroDivisionError):  # numpy's, of weights that sum to zero
        model.score(X, y, sample_weight=weights)


def attempt(name, call, model, *arguments):
    """Make a call: whether it was done. If it was not, nothing has changed."""
    before = snapshot(model)
    printed = contextlib.redirect_stdout(io.StringIO())
    with warnings.catch_warnings(record=True) as told, printed:
        warnings.simplefilter("always")
        try:
            call(model, *arguments)
            message = None
        except REFUSED as error:
            message = str(error)
    if message is not None:
        assert message, "an error without a message"
        assert snapshot(model) == before, f"{name} was refused and changed the estimator"
        counted[name, "refused"] += 1
        return False
    untold = [str(one) for one in told if not issubclass(one.category, TOLD)]
    # scikit-learn's r2_score sums squares of what it is given, and so does its numpy.
    assert name == "score" or all("beyond the range" in one for one in untold), untold
    counted[name, "done"] += 1
    return True


def assert_whole(model, goes_on, X, y, weights):
    """What a fitted estimator is to give for the rows it was fitted to."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        # scikit-learn's, where only one of the tables has names.
        warnings.filterwarnings("ignore", "X (has|does not have valid) feature names")
        mean, std = model.predict(X, return_std=True)
    assert np.isfinite([mean, std]).all() != bool(told)
    assert (std[np.isfinite(std)] >= 0).all()
    # Predictions may be beyond the range of the type where y nearly is, where a row is set
    # aside or counts for nothing or all rows do, where it is an exp and the steps of adam were
    # of 1e6, or where training goes on from rows of other size or from weights that are given.
    largest = np.finfo(std.dtype).max
    counts = np.ones(1) if weights is None else np.asarray(weights, float)
    few = min(counts.sum(), 1.0)  # the std of what so few rows tell is that of y by its root
    extreme = max(model.y_scale_) > 1e-8 * largest * np.sqrt(few) or 1e-8 * largest * few < 1
    extreme |= model.early_stopping or counts.min() == 0
    thrown = model.out_activation_ == "exp" and model.solver_ == "adam"
    assert not told or extreme or thrown or goes_on, told[0]
    assert len(model.loss_curve_) == model.n_iter_
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.coefs_[0], model.coefs_[0])


def assert_done_or_refused(sequence):
    model = BackpropRegressor(**QUICK)
    for name, arguments in sequence:
        fitted = hasattr(model, "coefs_")
        if name == "set_params":
            model.set_params(**arguments)
        elif name in ("use", "score"):
            attempt(name, {"use": use, "score": score}[name], model, *arguments)
        elif name == "fit":
            if attempt(name, fit, model, *arguments):
                X, y, weights, others = arguments
                goes_on = others.get("coefs_init") is not None or (fitted and model.warm_start)
                assert_whole(model, goes_on, X, y, weights)
        elif hasattr(model, "partial_fit") and attempt(name, partial_fit, model, *arguments):
            assert_whole(model, fitted, *arguments)


any_calls = given(sequence=calls())
many = settings(
    max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@any_calls
@settings(many, max_examples=100, derandomize=True)
def test_any_calls(sequence):
    assert_done_or_refused(sequence)


@pytest.mark.slow
@any_calls
@settings(many, derandomize=True)
def test_any_more_calls(sequence):
    assert_done_or_refused(sequence)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    end = time.monotonic() + 60 * parser.parse_args().minutes
    examples = 0
    warnings.simplefilter("error")
    while time.monotonic() < end:
        many(any_calls(assert_done_or_refused))()
        examples += many.max_examples
        print(examples, "sequences;", dict(counted), flush=True)


if __name__ == "__main__":
    main()
