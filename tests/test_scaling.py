"""Scales: units never matter, nothing overflows, sparse stays sparse, the function stays."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from cases import every_pair
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import MaxAbsScaler
from sklearn.utils.sparsefuncs import mean_variance_axis

from sk_backprop import BackpropRegressor
from sk_backprop._coordinates.affine import AffineMap
from sk_backprop._coordinates.scales import (
    CentredSparse,
    Moments,
    Scales,
    divide_columns,
    largest_values,
)
from sk_backprop._network.families import Poisson, SquaredError
from sk_backprop._network.network import Network, evaluate, lecun_bound


def small(**params):
    """An estimator that converges within a few iterations."""
    defaults = {"hidden_layer_sizes": (5,), "solver": "lbfgs", "n_networks": 1}
    return BackpropRegressor(**{**defaults, "random_state": 0, "tol": 1e-3, **params})


# --- units ---


@pytest.mark.parametrize(
    ("solver", "k", "precondition", "dtype"),
    every_pair(
        ["lbfgs", "lm", "lm, auto", "adam", "sgd"],
        [-40, -7, 1, 40],
        [True, False],
        [np.float64, np.float32],
    ),
)
def test_powers_of_two_change_no_digit(diabetes, solver, precondition, dtype, k):
    solver, alpha = ("lm", "auto") if solver == "lm, auto" else (solver, 0.01)
    X, y = (a.astype(dtype) for a in diabetes)
    model = small(solver=solver, precondition=precondition, alpha=alpha)
    expected = model.fit(X, y).predict(X)
    for column in range(X.shape[1]):
        scaled = X.copy()
        scaled[:, column] *= dtype(2.0) ** k
        np.testing.assert_array_equal(model.fit(scaled, y).predict(scaled), expected)
        if solver in ("adam", "sgd"):
            break
    in_other_units = model.fit(X, y * dtype(2.0) ** k).predict(X)
    np.testing.assert_array_equal(in_other_units, expected * dtype(2.0) ** k)


@pytest.mark.parametrize("k", [-40, 40])
@pytest.mark.parametrize(
    "params", [{"loss": "poisson"}, {"output_activation": "logistic"}, {"early_stopping": True}]
)
@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_powers_of_two_with_every_kind_of_output(diabetes, solver, params, k):
    X, y = diabetes
    model = small(solver=solver, **params)
    expected = model.fit(X, y).predict(X)
    np.testing.assert_array_equal(model.fit(X * 2.0**k, y).predict(X * 2.0**k), expected)
    np.testing.assert_allclose(
        model.fit(X, y * 2.0**k).predict(X),
        expected * 2.0**k,
        rtol=1e-15 if "loss" in params else 0,
    )


def held_out_r2(X, y, **params):
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    return small(**{"alpha": 3.0, **params}).fit(X_train, y_train).score(X_test, y_test)


@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam", "sgd"])
@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e3, 1e6])
def test_other_units_change_held_out_r2_by_less_than_a_hundredth(diabetes, solver, unit):
    X, y = diabetes
    expected = held_out_r2(X, y, solver=solver)
    assert expected > 0.3
    for column in (0, 4):
        scaled = X.copy()
        scaled[:, column] *= unit
        assert held_out_r2(scaled, y, solver=solver) == pytest.approx(expected, abs=0.01)
    assert held_out_r2(X, y * unit, solver=solver) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam", "sgd"])
def test_shifts_change_held_out_r2_by_less_than_a_hundredth(diabetes, solver):
    X, y = diabetes
    expected = held_out_r2(X, y, solver=solver)
    for column in (0, 2, 8):
        shifted = X.copy()
        shifted[:, column] += 1e3 * np.ptp(X[:, column])
        assert held_out_r2(shifted, y, solver=solver) == pytest.approx(expected, abs=0.01)
    for a, b in ((-3.0, 7.0), (1e-4, 1e3), (1.0, 1e5)):
        assert held_out_r2(X, a * y + b, solver=solver) == pytest.approx(expected, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 3])
def test_units_and_shifts_do_not_matter_to_the_defaults(diabetes, seed):
    # A longer run than those above: with alpha=1 rounding moved R^2 by up to 0.06.
    X, y = diabetes
    rows, others = train_test_split(np.arange(len(y)), random_state=seed)

    def r2(X, y):
        model = BackpropRegressor(random_state=seed).fit(X[rows], y[rows])
        return model.score(X[others], y[others])

    expected = r2(X, y)
    for a, b in ((-3.0, 7.0), (1e-4, 1e3), (1.0, 1e7)):
        assert r2(X, a * y + b) == pytest.approx(expected, abs=0.01)
    for column in (0, 2, 8):
        shifted, scaled = X.copy(), X.copy()
        shifted[:, column] += 1e3 * np.ptp(X[:, column])
        scaled[:, column] *= 1e3
        assert r2(shifted, y) == pytest.approx(expected, abs=0.01)
        assert r2(scaled, y) == pytest.approx(expected, abs=0.01)


def test_units_matter_to_mlpregressor_and_not_to_us():
    # The reason for this package: y * 1e-3 ruins one and leaves the other alone.
    X, y = make_friedman1(400, random_state=0)
    mlp = MLPRegressor(early_stopping=True, max_iter=1000, random_state=0)
    assert mlp.fit(X, y * 1e-3).score(X, y * 1e-3) < 0
    assert small().fit(X, y * 1e-3).score(X, y * 1e-3) > 0.8


# --- extremes ---


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam"])
@pytest.mark.parametrize(
    ("case", "X", "y"),
    [
        ("constant column", [[1, 5.5], [2, 5.5], [3, 5.5], [4, 5.5]], [1, 2, 3, 4]),
        ("zero column", [[1, 0], [2, 0], [3, 0], [4, 0]], [1, 2, 3, 4]),
        ("all zero X", [[0, 0], [0, 0], [0, 0]], [1, 2, 3]),
        ("one row", [[1, 2, 3]], [4]),
        ("one column", [[1], [2], [3]], [1, 4, 9]),
        ("one value", [[3]], [7]),
        ("constant y", [[1], [2], [3]], [5.5, 5.5, 5.5]),
        ("zero y", [[1], [2], [3]], [0, 0, 0]),
        ("huge X", [[1e300], [-1.7e308], [3e299]], [1, 2, 3]),
        ("huge y", [[1], [2], [3]], [1e300, -1.7e308, 1.7e308]),
        ("subnormal X", [[5e-324], [1e-310], [3e-320]], [1, 2, 3]),
        ("subnormal y", [[1], [2], [3]], [5e-324, 1e-310, 3e-320]),
        # 11 rows: numpy 1 divides a register of which some is empty.
        ("one subnormal value", [[0]] * 10 + [[5e-324]], [0] * 10 + [5e-324]),
        ("all at once", [[1e300, 5e-324, 0, 1], [-1e300, 1e-310, 0, 1]], [1e300, 2e-310]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:The networks use:UserWarning")
def test_predictions_are_finite(case, X, y, solver, precondition):
    X, y = np.array(X, dtype=float), np.array(y, dtype=float)
    for rows in (X, sp.csr_array(X)):
        model = small(solver=solver, precondition=precondition, max_iter=50).fit(rows, y)
        assert np.isfinite(model.predict(rows)).all()


@pytest.mark.filterwarnings("ignore:The networks use:UserWarning")  # of two rows
def test_sums_that_are_inf_in_both_directions_alarm_nobody():
    # A list is looked at by scikit-learn, which sums it: here inf - inf.
    ends = np.tile([1.7e308, -1.7e308], 8)
    with np.errstate(over="ignore"), pytest.warns(RuntimeWarning, match="invalid value"):
        ends.sum()
    X, y = ends[:, None].tolist(), ends.tolist()
    model = small(solver="lbfgs", alpha=1e-3, early_stopping=True)
    model.fit(X, y, X_val=X, y_val=y)
    np.testing.assert_allclose(model.predict(X), y, rtol=0.1)


@pytest.mark.parametrize("solver", ["lm", "lbfgs"])
def test_constant_target_is_predicted_exactly(diabetes, solver):
    X, _ = diabetes
    y = np.column_stack([np.full(len(X), 5.1), X[:, 0], np.zeros(len(X))])
    prediction = small(solver=solver, alpha=2.0).fit(X, y).predict(X + 1.0)
    np.testing.assert_array_equal(prediction[:, 0], 5.1)
    np.testing.assert_array_equal(prediction[:, 2], 0)


@pytest.mark.parametrize("solver", ["lm", "lbfgs"])
def test_constant_features_do_not_matter_at_prediction(diabetes, solver):
    X, y = diabetes
    with_constant = np.column_stack([X, np.full(len(X), 0.1)])
    model = small(solver=solver).fit(with_constant, y)
    expected = model.predict(with_constant)
    with_constant[:, -1] = 17
    np.testing.assert_array_equal(model.predict(with_constant), expected)


# --- sparse ---


@pytest.fixture
def sparse_problem():
    rng = np.random.RandomState(0)
    X = sp.csr_array(sp.random(300, 40, density=0.1, random_state=rng))
    y = np.tanh(X @ rng.randn(40)) + 0.1 * rng.randn(300)
    return X, y


@pytest.mark.parametrize(
    ("solver", "container", "precondition"),
    every_pair(
        ["lm", "lbfgs", "adam", "sgd"],
        [sp.csr_array, sp.csc_array, sp.csr_matrix, sp.csc_matrix],
        [True, False],
    ),
)
def test_sparse_is_dense_to_rounding(sparse_problem, solver, precondition, container):
    X, y = sparse_problem
    model = small(solver=solver, precondition=precondition, alpha=10.0, batch_size=300)
    dense = model.fit(X.toarray(), y).predict(X.toarray())
    sparse = model.fit(container(X), y).predict(container(X))
    np.testing.assert_allclose(sparse, dense, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("unit", [2.0**-900, 1.0, 2.0**900])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_constant_columns_have_no_variance_whatever_the_weights(container, unit):
    # Sums of rounded products: scikit-learn's variance of a sparse one is then -1e-45.
    for seed in range(20):
        rng = np.random.RandomState(seed)
        X = np.column_stack([np.full(50, 0.1), np.full(50, 3.0), rng.rand(50)])
        w = rng.rand(50)
        one, other = (Moments.of(container(X), np.ones(3), k * w) for k in (1.0, unit))
        assert one.constant.tolist() == [True, True, False]
        np.testing.assert_array_equal(one.spread[:2], 1)
        mean = np.average(X, axis=0, weights=w)
        np.testing.assert_allclose(one.mean, mean, rtol=1e-14)
        variance = np.average((X - mean) ** 2, axis=0, weights=w)
        np.testing.assert_allclose(one.var, variance, rtol=1e-12, atol=1e-29)
        np.testing.assert_array_equal(other.mean, one.mean)
        np.testing.assert_array_equal(other.var, one.var)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_sparse_mini_batches_are_dense_ones_to_the_rounding_of_float32(sparse_problem, solver):
    X, y = sparse_problem
    model = small(solver=solver, alpha=10.0, batch_size=100)
    dense = model.fit(X.toarray(), y).predict(X.toarray())
    sparse = model.fit(X, y).predict(X)
    np.testing.assert_allclose(sparse, dense, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("solver", "n"), [("adam", 20_000), ("lbfgs", 100_000)])
def test_sparse_is_never_densified(solver, n):
    # 20,000 x 20,000 dense would be 3.2 GB.
    rng = np.random.RandomState(0)
    rows, columns = np.repeat(np.arange(n), 3), rng.randint(20_000, size=3 * n)
    X = sp.csr_array((np.ones(3 * n), (rows, columns)), shape=(n, 20_000))
    y = np.asarray(X.sum(axis=1)) * rng.uniform(0.9, 1.1, n)
    model = small(hidden_layer_sizes=(2,), solver=solver, batch_size=10_000, max_iter=2)
    tracemalloc.start()
    with pytest.warns(Warning, match="max_iter"):
        model.fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A mini-batch alone would be 1.6 GB; the data are 4 MB.
    assert peak < 1e8


@pytest.mark.parametrize("kind", [np.asarray, np.asfortranarray, sp.csr_array])
@pytest.mark.parametrize("given", [np.float32, np.float64])
def test_input_has_the_precision_asked_for_and_is_computed_in_the_higher_one(given, kind):
    rng = np.random.RandomState(0)
    X = (1e4 + rng.randn(500, 3)).astype(given)
    scales = Scales.fit(X, rng.randn(500, 1), None, precondition=True, likelihood=SquaredError())
    expected = (X.astype(float) / scales.x_unit - scales.x.mean) / scales.x.spread
    for asked in (np.float32, np.float64):
        found = scales.input(kind(X), asked)
        dense = found[:, :-1] if isinstance(found, np.ndarray) else found.toarray()
        assert dense.dtype == asked
        if asked == np.float32 and given == np.float64 and isinstance(found, np.ndarray):
            np.testing.assert_allclose(dense, expected, rtol=1e-6, atol=1e-6)
        elif asked == np.float64:
            np.testing.assert_allclose(dense, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", [np.asarray, np.asfortranarray, sp.csr_array])
def test_input_and_moments_of_rows_that_are_named_are_those_of_a_copy_of_them(kind):
    rng = np.random.RandomState(0)
    X, y, order, w = rng.randn(50, 3), rng.randn(30, 1), rng.permutation(50)[:30], rng.rand(30)
    options = {"precondition": True, "likelihood": SquaredError()}
    copied, named = kind(X[order]), kind(X)
    expected = Scales.fit(copied, y, w, **options, x_max=largest_values(X))
    found = Scales.fit(named, y, w, **options, x_max=largest_values(X), order=order)
    np.testing.assert_array_equal(found.x.mean, expected.x.mean)
    np.testing.assert_array_equal(found.x.var, expected.x.var)
    dense = [
        rows if isinstance(rows, np.ndarray) else rows.toarray()
        for rows in (found.input(named, float, order), expected.input(copied, float))
    ]
    np.testing.assert_array_equal(*dense)
    if kind is not sp.csr_array:
        np.testing.assert_array_equal(dense[0][:, -1], 1)


def test_centred_sparse_is_the_centred_array():
    rng = np.random.RandomState(0)
    X = sp.csr_array(sp.random(20, 5, density=0.4, random_state=rng))
    center, spread = rng.randn(5), rng.uniform(1, 2, 5)
    dense = (X.toarray() - center) / spread
    ours = CentredSparse.of(X, center, spread)
    V, delta, rows = rng.randn(5, 3), rng.randn(20, 3), np.array([3, 1, 7])
    np.testing.assert_allclose(ours @ V, dense @ V, rtol=1e-12)
    np.testing.assert_allclose(ours.T @ delta, dense.T @ delta, rtol=1e-12)
    np.testing.assert_allclose(ours[rows] @ V, dense[rows] @ V, rtol=1e-12)
    assert ours.shape == (20, 5)


# --- weights ---


def test_rows_of_zero_weight_are_as_if_removed(diabetes):
    X, y = diabetes
    rng = np.random.RandomState(0)
    w = rng.randint(0, 3, len(y)).astype(float)
    spoiled, y_spoiled = X.copy(), y.copy()
    spoiled[w == 0] *= 1e6  # would change every scale
    y_spoiled[w == 0] = -1e9
    for params in ({}, {"solver": "lm"}, {"solver": "adam"}, {"early_stopping": True}):
        model = small(**params)
        expected = model.fit(X[w > 0], y[w > 0], w[w > 0]).predict(X)
        np.testing.assert_array_equal(model.fit(spoiled, y_spoiled, w).predict(X), expected)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("solver", ["lm", "lbfgs"])
def test_integer_weights_are_as_repeated_rows(diabetes, solver, precondition, loss):
    X, y = diabetes
    w = np.random.RandomState(0).randint(0, 4, len(y))
    model = small(solver=solver, precondition=precondition, loss=loss)
    weighted = model.fit(X, y, w).predict(X)
    repeated = model.fit(X.repeat(w, axis=0), y.repeat(w)).predict(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-6)


# --- the pieces ---


@pytest.mark.parametrize("kind", [np.asarray, np.asfortranarray, sp.csr_array, sp.csr_matrix])
def test_scaler_is_a_max_abs_scaler_that_leaves_no_feature_unscaled(kind):
    X = np.array([[1e-30, 2.0, 0.0], [-3e-30, 1.0, 0.0]])
    model = small(solver="adam").partial_fit(kind(X), [0.0, 1.0])
    scaler = model.scaler_
    assert type(scaler) is MaxAbsScaler
    np.testing.assert_array_equal(scaler.scale_, [3e-30, 2, 1])
    np.testing.assert_array_equal(scaler.transform(X), X / [3e-30, 2, 1])
    grown = model.partial_fit(kind(np.array([[1.0, 1.0, 4.0]])), [0.5]).scaler_
    np.testing.assert_array_equal(grown.scale_, [1, 2, 4])
    np.testing.assert_array_equal(scaler.scale_, [3e-30, 2, 1])
    assert grown.n_samples_seen_ == 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [np.asarray, np.asfortranarray, sp.csr_array])
def test_fitted_scaler_has_what_scikit_learn_gives_it(kind, dtype):
    X = kind(np.random.RandomState(0).randn(20, 3).astype(dtype) * np.array([1, 0, 5], dtype))
    found = vars(small().fit(X, np.arange(20.0)).scaler_)
    expected = vars(MaxAbsScaler().fit(X))
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, strict=True)


def test_fitted_scaler_gives_the_features_that_coefs_belong_to(diabetes):
    X, y = diabetes
    model = small().fit(X, y)
    Z = model.scaler_.transform(X)
    np.testing.assert_allclose(np.abs(Z).max(axis=0), 1, rtol=1e-15)
    hidden = 1 / (1 + np.exp(-(Z @ model.coefs_[0] + model.intercepts_[0])))
    output = hidden @ model.coefs_[1] + model.intercepts_[1]
    np.testing.assert_allclose(
        model.y_location_ + model.y_scale_ * output.ravel(), model.predict(X), rtol=1e-12
    )


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
def test_raw_weights_act_on_raw_data(diabetes, hidden, precondition):
    X, y = diabetes
    model = small(hidden_layer_sizes=hidden, precondition=precondition).fit(X, y)
    h = X
    for W, b in zip(model.raw_coefs_[:-1], model.raw_intercepts_[:-1], strict=True):
        h = 1 / (1 + np.exp(-(h @ W + b)))
    prediction = h @ model.raw_coefs_[-1] + model.raw_intercepts_[-1]
    np.testing.assert_allclose(prediction.ravel(), model.predict(X), rtol=1e-10)


def test_raw_weights_of_other_outputs(diabetes):
    X, y = diabetes
    for params, link in (
        ({"loss": "poisson"}, lambda model, z: np.exp(z)),
        ({"output_activation": "logistic"}, lambda model, z: model.y_scale_ / (1 + np.exp(-z))),
    ):
        model = small(**params).fit(X, y)
        (W1, W2), (b1, b2) = model.raw_coefs_, model.raw_intercepts_
        z = 1 / (1 + np.exp(-(X @ W1 + b1))) @ W2 + b2
        np.testing.assert_allclose(link(model, z).ravel(), model.predict(X), rtol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_moments_of_batches_merge_to_those_of_all(weighted, sparse):
    rng = np.random.RandomState(0)
    X = rng.randn(90, 4) * [1, 10, 0, 0.01] + [0, 5, 3, 1e3]
    w = rng.uniform(0.1, 5, 90) if weighted else None
    kind = sp.csr_array if sparse else np.asarray
    parts = [
        Moments.of(kind(X[rows]), np.ones(X.shape[1]), None if w is None else w[rows])
        for rows in (slice(0, 1), slice(1, 40), slice(40, 90))
    ]
    merged = parts[0].merged(parts[1]).merged(parts[2])
    mean = np.average(X, axis=0, weights=w)
    np.testing.assert_allclose(merged.mean, mean, rtol=1e-12)
    var = np.average((X - mean) ** 2, axis=0, weights=w)
    np.testing.assert_allclose(merged.var, var, rtol=1e-8, atol=1e-15)
    assert merged.weight == pytest.approx(90 if w is None else w.sum())
    np.testing.assert_array_equal(merged.constant, [False, False, True, False])
    assert merged.spread[2] == 1
    doubled = merged.rescaled(np.full(4, 2.0))
    np.testing.assert_allclose(doubled.mean, 2 * merged.mean)
    np.testing.assert_allclose(doubled.var, 4 * merged.var)


@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("kind", [sp.csr_array, sp.csr_matrix])
def test_sparse_moments_are_those_of_scikit_learn(kind, density):
    rng = np.random.RandomState(0)
    X = kind(sp.random(200, 5, density=density, format="csr", random_state=rng))
    X.data += 100.0
    w = rng.uniform(0.1, 5, 200)
    found = Moments.of(X, np.ones(5), w)
    mean, var = mean_variance_axis(X, axis=0, weights=w)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.var, var, rtol=1e-12)


def test_variance_around_a_mean_that_is_no_float():
    X = 2.0**53 + np.tile([0.0, 2.0], 50)[:, None]  # the mean, 2^53 + 1, lies between two floats
    assert Moments.of(X, np.ones(1)).var == 1


def test_moments_of_several_blocks_are_those_of_all_rows():
    X = np.random.RandomState(0).randn(200_000, 3).astype(np.float32)  # 65,536 in a block
    found = Moments.of(X, np.full(3, 3.0))
    np.testing.assert_allclose(found.mean, X.mean(axis=0, dtype=float) / 3, rtol=1e-10)
    np.testing.assert_allclose(found.var, X.var(axis=0, dtype=float) / 9, rtol=1e-10)
    np.testing.assert_array_equal(largest_values(X), np.abs(X).max(axis=0))


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
@pytest.mark.parametrize("hidden", [(), (3,), (3, 2), (4, 3, 2)], ids=str)
def test_solver_coordinates_give_the_same_function(hidden, activation):
    rng = np.random.RandomState(0)
    X, y = rng.randn(30, 3) * [1, 100, 1e-3] + [5, 0, 1], rng.randn(30, 2)
    scales = Scales.fit(X, y, None, precondition=True, likelihood=SquaredError())
    network = Network((3, *hidden, 2), activation, "identity")
    solver_network = scales.solver_network(network)
    params = solver_network.initial_parameters(rng, float, lecun_bound)
    ends = scales.solver_coordinates(network), scales.max_abs_coordinates
    coefs, intercepts = AffineMap(*ends).weights(params.coefs, params.intercepts)
    Z = divide_columns(X, scales.x_unit)
    np.testing.assert_allclose(
        evaluate(network, coefs, intercepts, Z),
        evaluate(solver_network, params.coefs, params.intercepts, scales.input(X, float)),
        rtol=1e-10,
    )
    back = AffineMap(*reversed(ends)).weights(coefs, intercepts)
    np.testing.assert_allclose(network.pack(*back, float).flat, params.flat, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("likelihood", [SquaredError(), Poisson()], ids=lambda one: one.loss)
def test_the_function_stays_where_scales_grow(likelihood, precondition):
    rng = np.random.RandomState(0)
    X, y = rng.uniform(1, 2, (20, 3)), rng.uniform(1, 2, (20, 2))
    options = {"precondition": precondition, "likelihood": likelihood}
    old = Scales.fit(X, y, None, **options)
    new = Scales.fit(X * [1, 7, 0.1], y * 30, None, **options, seen=old)
    network = Network((3, 4, 2), "logistic", likelihood.output_activation)
    params = network.initial_parameters(rng, float, lecun_bound)

    def function(scales, coefs, intercepts):
        Z = divide_columns(X, scales.x_unit)
        return scales.y_location + scales.y_scale * evaluate(network, coefs, intercepts, Z)

    to_new = AffineMap(old.max_abs_coordinates, new.max_abs_coordinates)
    carried = to_new.weights(params.coefs, params.intercepts)
    np.testing.assert_allclose(
        function(new, *carried), function(old, params.coefs, params.intercepts), rtol=1e-12
    )


def test_a_warm_start_stretches_a_logistic_output_to_the_new_largest_y():
    # The sigmoid has no other range: what it has learned stays, but for steps of 1e-300.
    rng = np.random.RandomState(0)
    X, y = rng.randn(60, 2), rng.uniform(1, 2, (60, 2))
    model = small(output_activation="logistic", solver="adam", max_iter=50, warm_start=True)
    with pytest.warns(ConvergenceWarning):
        before = model.fit(X, y).predict(X)
    assert (before.std(axis=0) > 0.01).all()
    model.set_params(learning_rate_init=1e-300, max_iter=1)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y * [3, 0.5])
    np.testing.assert_allclose(model.predict(X), before * [3, 0.5], rtol=1e-12)


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_weights_of_what_was_zero_so_far_stay(unit, precondition):
    rng = np.random.RandomState(0)
    X, y = rng.uniform(1, 2, (20, 3)), unit * rng.uniform(1, 2, (20, 2))
    options = {"precondition": precondition, "likelihood": SquaredError()}
    old = Scales.fit(X * [1, 0, 1], y * [1, 0], None, **options)
    new = Scales.fit(X * 7, y * 30, None, **options, seen=old)
    network = Network((3, 4, 2), "logistic", "identity")
    params = network.initial_parameters(rng, float, lecun_bound)
    to_new = AffineMap(old.max_abs_coordinates, new.max_abs_coordinates)
    coefs, _ = to_new.weights(params.coefs, params.intercepts)
    growth = new.x_unit[[0, 2]] / old.x_unit[[0, 2]]
    np.testing.assert_allclose(coefs[0][[0, 2]], params.coefs[0][[0, 2]] * growth[:, None])
    np.testing.assert_array_equal(coefs[0][1], params.coefs[0][1])
    ratio = old.y_scale[0] / new.y_scale[0]
    np.testing.assert_allclose(coefs[1][:, 0], params.coefs[1][:, 0] * ratio)
    np.testing.assert_array_equal(coefs[1][:, 1], params.coefs[1][:, 1])


def test_state_of_scales_is_all_there_is(diabetes):
    X, y = diabetes
    scales = Scales.fit(X, y[:, None], None, precondition=True, likelihood=SquaredError())
    again = Scales.from_state(scales.x_max, scales.n_rows, scales.likelihood, scales.state())
    np.testing.assert_array_equal(again.input(X, float), scales.input(X, float))
    np.testing.assert_array_equal(again.target(y[:, None], float), scales.target(y[:, None], float))
    inputs = scales.input(X, float)[:, :-1]
    assert np.abs(inputs.mean(axis=0)).max() < 1e-12
    np.testing.assert_allclose(inputs.std(axis=0), 1)
    np.testing.assert_allclose(scales.target(y[:, None], float).std(), 1)


def test_bundled_data_is_as_the_tests_assume():
    X, y = load_diabetes(return_X_y=True, scaled=False)
    assert X.shape == (442, 10)
    assert (y.min(), y.max()) == (25, 346)


# --- columns and targets far from zero ---


def far_table(x_offset, y_offset):
    """A sine, of X exact in float32."""
    rng = np.random.RandomState(0)
    X = (x_offset + rng.randint(-1000, 1000, (400, 2))).astype(np.float32)
    place = (X.astype(float) - x_offset) / 500
    return X, y_offset + np.sin(place[:, 0]) + place[:, 1]


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize(("x_offset", "y_offset"), [(1e6, 0.0), (0.0, 1e7)])
@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"solver": "lm"}, 0.003),
        ({"solver": "lbfgs", "alpha": 1e-3, "max_iter": 3000}, 0.03),
        ({"solver": "adam", "alpha": 0.01, "learning_rate_init": 0.02}, 0.1),
    ],
    ids=str,
)
def test_float32_loses_nothing_of_columns_and_targets_far_from_zero(
    params, error, x_offset, y_offset, container
):
    X, y = far_table(x_offset, y_offset)
    model = BackpropRegressor((8,), n_networks=1, random_state=0, **params)
    for dtype in (np.float64, np.float32):  # with float32 weights the errors were .1 to 1
        mean, std = model.fit(container(X.astype(dtype)), y).predict(container(X), return_std=True)
        assert mean.dtype == std.dtype == model.coefs_[0].dtype == np.float64
        assert np.sqrt(np.mean((mean - y) ** 2)) < error
    np.testing.assert_allclose(
        model.predict(container(X)), model.predict(container(X.astype(float))), rtol=1e-13
    )


def test_mini_batches_of_sparse_columns_far_from_zero_are_as_those_of_dense_ones():
    # X and the means were taken from products in float32: an error of .19 for .14.
    X, y = far_table(1e6, 0.0)
    X = X.astype(float)
    model = BackpropRegressor((8,), solver="adam", alpha=0.1, random_state=0)
    dense = model.fit(X, y).predict(X)
    np.testing.assert_allclose(model.fit(sp.csr_array(X), y).predict(X), dense, atol=1e-3)


def test_a_stream_takes_to_float64_when_it_is_seen_to_be_far_from_zero():
    X, y = far_table(1e6, 0.0)
    model = BackpropRegressor((8,), solver="adam", random_state=0)
    model.partial_fit(X[:200] - np.float32(1e6), y[:200])
    assert model.coefs_[0].dtype == np.float32
    model = BackpropRegressor((8,), solver="adam", random_state=0).partial_fit(X, y)
    assert model.coefs_[0].dtype == np.float64


@pytest.mark.parametrize(("spreads", "far"), [(99.5, False), (100.5, True)])
def test_far_from_zero_is_a_hundred_spreads(spreads, far):
    sides = np.resize([-1.0, 1.0], 20)[:, None]  # of mean 0 and spread 1
    options = {"precondition": True, "likelihood": SquaredError()}
    for X, y in ((spreads + sides, sides), (sides, spreads + sides)):
        assert Scales.fit(X, y, None, **options).far_from_zero == far


def test_float32_stays_where_it_is_enough():
    X, y = far_table(30_000, 0.0)  # 52 standard deviations
    model = BackpropRegressor((3,), solver="lbfgs", alpha=1, random_state=0).fit(X, y)
    assert model.predict(X).dtype == np.float32
    scales = Scales.fit(X, y[:, None], None, precondition=True, likelihood=SquaredError())
    assert not scales.far_from_zero
    # The textbook's steps have no centre, and a target that is not moved is not far.
    for changes in ({"precondition": False}, {"likelihood": Poisson()}):
        options = {"precondition": True, "likelihood": SquaredError(), **changes}
        near = X - np.float32(30_000)
        assert not Scales.fit(near, 1e6 + y[:, None], None, **options).far_from_zero
