"""Rows that a network has not seen: they judge candidates, stop training, and show the noise."""

import functools
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from cases import every_pair, slow
from likelihoods import likelihood
from sklearn.datasets import make_friedman1

from sk_backprop import BackpropRegressor
from sk_backprop._coordinates.row_order import column_ranks, row_groups, row_order
from sk_backprop._estimator.checks import set_aside
from sk_backprop._network.network import Network
from sk_backprop._training.folds import Folds
from sk_backprop._training.problem import Data, prepare
from sk_backprop._training.settings import settings_of

# --- folds ---


def problem_of(X, y, solver="adam", sample_weight=None):
    """The problem of a fit with all of its rows."""
    estimator = BackpropRegressor((3,), solver=solver, alpha=1.0)
    network = Network((X.shape[1], 3, 1), "logistic", "identity")
    data = Data(X, y[:, None], sample_weight)
    settings = settings_of(estimator, network, likelihood("squared_error", network), len(y))
    return prepare(settings, data, None)


def as_rows(data):
    """The rows as a set of tuples."""
    X = data.X.toarray() if hasattr(data.X, "toarray") else data.X
    return {tuple(row) for row in np.column_stack([X, data.y])}


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam", "sgd"])
@pytest.mark.parametrize("n", [60, 400, 3500])
def test_copies_of_a_row_are_in_one_fold(solver, n, sparse):
    rng = np.random.RandomState(0)
    X, y = rng.randn(n, 3), rng.randn(n)
    rows = rng.permutation(np.repeat(np.arange(n), rng.randint(1, 4, n)))
    X = sp.csr_array(X[rows]) if sparse else X[rows]
    folds = Folds(problem_of(X, y[rows], solver), int(0.8 * n))
    assert len(folds) == {60: 5, 400: 5, 3500: 1}[n]
    assert folds.n_first == {60: 5, 400: 2, 3500: 1}[n]
    for part, held_out in folds:
        kept, judged = as_rows(part.rows), as_rows(held_out)
        assert not kept & judged
        assert part.n_distinct == len(kept)
        assert len(judged) == pytest.approx(n / 5, abs=1)
        assert part.rows.total_weight + held_out.total_weight == len(rows)
    if len(folds) == 5:
        assert len(set.union(*(as_rows(held_out) for _, held_out in folds))) == n


@pytest.mark.parametrize("n", [150, 400, 3100])
def test_rows_held_out_are_taken_evenly_from_all(n):
    X = np.arange(2.0 * n).reshape(n, 2)
    for part, held_out in Folds(problem_of(X, np.arange(float(n)), "lm"), int(0.7 * n)):
        # In units of the spread, as y is here: half the standard error of as many random rows.
        bound = 0.5 * np.sqrt(1 / held_out.n_samples - 1 / n)
        assert abs(held_out.y.mean()) < bound
        assert abs(part.rows.y.mean()) < bound
        if n > 3000:
            kept = part.rows.n_samples, held_out.n_samples
            assert kept == (int(0.7 * n), n - int(0.7 * n))


def test_folds_do_not_depend_on_the_unit_of_the_weights():
    X, y = make_friedman1(150, 5, random_state=0)
    w = np.random.RandomState(0).lognormal(size=150)
    light, heavy = (
        [held_out.sample_weight / unit for _, held_out in Folds(problem, 0)]
        for unit in (1.0, 64.0)
        for problem in [problem_of(X, y, "lm", unit * w)]
    )
    for a, b in zip(light, heavy, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("sparse", [False, True])
def test_groups_number_the_distinct_rows(sparse):
    rng = np.random.RandomState(0)
    X, y = rng.randint(0, 3, (200, 2)).astype(float), rng.randint(0, 2, (200, 1)).astype(float)
    _, expected = np.unique(np.column_stack([X, y]), axis=0, return_inverse=True)
    found = row_groups(sp.csr_array(X) if sparse else X, np.ones(2), y)
    pairs = set(zip(found.tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len(set(found.tolist())) == expected.max() + 1
    assert found.max() == expected.max()


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_copies_of_a_row_are_on_one_side_of_the_validation_split(fraction):
    rng = np.random.RandomState(0)
    X, y = rng.randn(50, 3), rng.randn(50, 1)
    rows = rng.permutation(np.repeat(np.arange(50), 3))
    kept, aside = set_aside(Data(X[rows], y[rows]), fraction, np.random.RandomState(1))
    assert not as_rows(kept) & as_rows(aside)
    assert len(as_rows(aside)) == 50 * fraction
    assert kept.n_samples + aside.n_samples == 150
    # The same rows are drawn from a table with weights in place of copies.
    weighted = set_aside(Data(X, y, np.full(50, 3.0)), fraction, np.random.RandomState(1))
    assert [as_rows(part) for part in weighted] == [as_rows(kept), as_rows(aside)]


@pytest.mark.parametrize("sparse", [False, True])
def test_the_order_of_rows_has_no_units_and_no_order_of_columns(sparse):
    rng = np.random.RandomState(0)
    X, y = rng.randn(300, 4) * (rng.uniform(size=(300, 4)) > 0.3), rng.randn(300, 2)
    table = sp.csr_array if sparse else np.asarray
    expected = row_order(table(X), y)
    units, columns = np.array([3.0, 1e-7, 1e9, 0.7]), [2, 0, 3, 1]
    np.testing.assert_array_equal(row_order(table(X * units), y * [7, -0.3]), expected)
    np.testing.assert_array_equal(row_order(table(X[:, columns]), y), expected)
    shuffled = rng.permutation(300)
    np.testing.assert_array_equal(shuffled[row_order(table(X[shuffled]), y[shuffled])], expected)
    if not sparse:
        shift = np.array([5, -1e6, 0, 2])
        np.testing.assert_array_equal(row_order(X + shift, y + 9), expected)


@pytest.mark.parametrize("shift", [-1e6, 0, 1e6, 1e12])
def test_the_order_of_sparse_rows_is_that_of_dense_ones(shift):
    rng = np.random.RandomState(0)
    X, y = rng.randn(300, 4) * (rng.uniform(size=(300, 4)) > 0.3), rng.randn(300, 1)
    X[:, 0] = shift + X[:, 0].round(3)
    X[:, 1] = np.abs(X[:, 1]) * 1e200  # its square is beyond float64
    X[:, 2] = 5.0
    np.testing.assert_array_equal(row_order(sp.csr_array(X), y), row_order(X, y))


# --- columns ---


def test_ranks_of_columns_move_with_them():
    rng = np.random.RandomState(0)
    X, y, w = rng.randn(100, 6), rng.randn(100, 2), rng.uniform(1, 3, 100)
    ranks, columns = column_ranks(X, y, w, 6), rng.permutation(6)
    assert sorted(ranks) == list(range(6))
    np.testing.assert_array_equal(column_ranks(X[:, columns], y, w, 6), ranks[columns])
    np.testing.assert_array_equal(column_ranks(-X, -y, 5 * w, 6), ranks)
    rows = rng.permutation(np.repeat(np.arange(100), 2))
    np.testing.assert_array_equal(column_ranks(X[rows], y[rows], w[rows], 6), ranks)
    with_constant = np.insert(X, 2, 0, axis=1)
    np.testing.assert_array_equal(np.delete(column_ranks(with_constant, y, w, 7), 2), ranks)


ORDERED = [
    {},
    {"solver": "lbfgs", "alpha": 1.0},
    {"solver": "adam"},
    {"solver": "sgd"},
    {"solver": "lm", "hidden_layer_sizes": (5,), "n_networks": 2},
    {"solver": "adam", "hidden_layer_sizes": (5,), "precondition": False, "alpha": 0.1},
    {"solver": "lm", "hidden_layer_sizes": (5,), "early_stopping": True},
]


@pytest.mark.parametrize(
    ("params", "n"),
    [*((params, 40) for params in ORDERED), *slow((params, 150) for params in ORDERED)],
    ids=str,
)
def test_predictions_do_not_depend_on_the_order_of_the_columns(params, n):
    # With 40 rows and the defaults other shapes were chosen: RMSE 1.92 to 3.01 by five orders.
    X, y = make_friedman1(n + 50, 8, noise=1.0, random_state=0)
    model = BackpropRegressor(random_state=0, **params)
    mean = model.fit(X[:n], y[:n]).predict(X)
    shape = model.hidden_layer_sizes_
    for seed in range(3):
        columns = np.random.RandomState(seed).permutation(8)
        again = model.fit(X[:n, columns], y[:n]).predict(X[:, columns])
        assert model.hidden_layer_sizes_ == shape
        # What rounding leaves: of lm and lbfgs to their stop, of mini-batches in float32.
        np.testing.assert_allclose(again, mean, atol=1e-5 * y.std())


# --- the noise of networks that could fit it ---


def linear_table(n, n_features, seed):
    """Rows of a linear function of spread 1 with noise of .5, and 1,000 new ones."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n + 1000, n_features))
    y = X @ rng.normal(size=n_features) / np.sqrt(n_features) + 0.5 * rng.normal(size=len(X))
    return X[:n], y[:n], X[n:], y[n:]


def friedman(n, n_features, seed):
    X, y = make_friedman1(n + 1000, n_features, noise=1.0, random_state=seed)
    return X[:n], y[:n], X[n:], y[n:]


def one_hot(n, n_features, seed):
    rng = np.random.RandomState(seed)
    level, effect = rng.randint(n_features - 1, size=n + 1000), rng.normal(size=n_features - 1)
    X = np.zeros((n + 1000, n_features))
    X[np.arange(n + 1000), level] = 1
    X[:, -1] = rng.normal(size=n + 1000)
    y = effect[level] + X[:, -1] + 0.5 * rng.normal(size=n + 1000)
    return X[:n], y[:n], X[n:], y[n:]


def coverage(table, n_draws=5, **params):
    """Of 95 % intervals at new rows, mean over draws of the data."""
    covered = []
    for seed in range(n_draws):
        X, y, new, targets = table(seed)
        model = BackpropRegressor(random_state=seed, **params).fit(X, y)
        mean, std = model.predict(new, return_std=True)
        covered.append(np.mean(np.abs(targets - mean) < 1.96 * std))
    return np.mean(covered)


TWENTY = {"hidden_layer_sizes": (20,)}
# As it was: .24, .07, .00, .60 to .86 with early stopping, .09, .76, .47 to .85, .5.
QUICK = [
    (linear_table, 300, 100, {**TWENTY, "solver": "lbfgs", "alpha": 0.01}),
    (linear_table, 300, 100, {**TWENTY, "solver": "adam", "early_stopping": True}),
    (one_hot, 600, 101, {**TWENTY, "solver": "adam"}),
]
OTHERS = [
    (linear_table, 2000, 100, {"solver": "adam"}),
    (linear_table, 2000, 100, {**TWENTY, "solver": "adam"}),
    (linear_table, 300, 100, {"solver": "lbfgs", "alpha": 1}),
    (linear_table, 300, 100, {**TWENTY, "solver": "lbfgs"}),
    (linear_table, 300, 100, {**TWENTY, "solver": "lbfgs", "alpha": 1.0}),
    (linear_table, 300, 100, {"solver": "adam", "early_stopping": True}),
    *(
        (linear_table, 300, 100, {**shape, "solver": solver, "early_stopping": True})
        for solver, shape in (("sgd", {}), ("lbfgs", TWENTY))
    ),
    (friedman, 4000, 100, {"hidden_layer_sizes": (100,), "solver": "adam"}),
    (one_hot, 600, 101, {"solver": "adam"}),
    (friedman, 300, 10, {**TWENTY, "solver": "lbfgs", "alpha": 0.001}),
    (friedman, 500, 10, {"hidden_layer_sizes": (64, 64), "solver": "adam", "n_networks": 3}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("table", "n", "n_features", "params"), [*QUICK, *slow(OTHERS)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_intervals_cover_where_the_network_could_fit_the_noise(table, n, n_features, params):
    assert 0.90 <= coverage(lambda seed: table(n, n_features, seed), **params) <= 0.98


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_intervals_cover_with_more_columns_than_a_fifth_of_the_rows():
    # It was .09.
    assert 0.90 <= coverage(lambda s: linear_table(1000, 250, s), 2, solver="sgd") <= 0.98


def test_residual_degrees_of_freedom_are_a_fitted_attribute():
    X, y, *_ = linear_table(200, 3, 0)
    model = BackpropRegressor((), solver="lbfgs", alpha=0, tol=0).fit(X, y)
    np.testing.assert_allclose(model.residual_dof_, [200 - 4])
    squares = np.sum((y - model.predict(X)) ** 2)
    np.testing.assert_allclose(model.noise_precision_, 196 / squares, rtol=1e-6)
    evidence = BackpropRegressor((4,), n_networks=3, random_state=0).fit(X, y)
    np.testing.assert_allclose(evidence.residual_dof_, 200 - evidence.n_effective_params_.mean())
    # Where rows held out show the noise, their weight: two fifths of 300.
    X, y, *_ = linear_table(300, 100, 0)
    held_out = BackpropRegressor((20,), solver="lbfgs", alpha=1.0, random_state=0).fit(X, y)
    np.testing.assert_allclose(held_out.residual_dof_, [120])
    stream = BackpropRegressor((4,), solver="adam").partial_fit(X, y)
    assert stream.residual_dof_ is None


SMALL = {
    "linear": lambda X: X.sum(axis=1),
    "square": lambda X: X[:, 0] ** 2 + X[:, -1],
    "sine": lambda X: np.sin(3 * X[:, 0]) + 0.3 * X.sum(axis=1),
}


@pytest.mark.parametrize(("n", "n_features"), [(8, 1), *slow([(10, 4), (12, 2), (15, 3), (25, 4)])])
def test_intervals_of_small_tables_cover_or_are_warned_of(n, n_features):
    # 8 x 1 covered .72, 10 x 4 .75, 25 x 4 .84, without a warning.
    covered = []
    for function in SMALL.values():
        # Where no interval is to be judged, one table shows it; of others, the mean over nine.
        for seed in range(1 if n <= 10 else 3):
            rng = np.random.RandomState(seed)
            X = rng.uniform(-1.7, 1.7, (n + 300, n_features))
            f = function(X)
            y = f / f.std() + 0.5 * rng.normal(size=n + 300)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                model = BackpropRegressor(random_state=seed).fit(X[:n], y[:n])
            if not any("too few to estimate the noise" in str(one.message) for one in caught):
                mean, std = model.predict(X[n:], return_std=True)
                covered.append(np.mean(np.abs(y[n:] - mean) < 1.96 * std))
                assert model.residual_dof_[0] >= 10
    if n <= 10:
        assert not covered
    else:
        assert np.mean(covered) > 0.85


# --- weights ---


def errors_by_weight(make_weight, n_draws=3, copies=1, **params):
    """RMSE at new rows of friedman1, mean over draws, and what was chosen."""
    errors, chosen = [], []
    for seed in range(n_draws):
        X, y, new, _ = friedman(300, 10, seed)
        truth = make_friedman1(1300, 10, noise=0.0, random_state=seed)[1][300:]
        weight = make_weight(np.random.RandomState(seed))
        rows = np.repeat(np.arange(300), copies)
        weight = None if weight is None else weight[rows]
        model = BackpropRegressor(random_state=seed, **params).fit(X[rows], y[rows], weight)
        errors.append(np.sqrt(np.mean((model.predict(new) - truth) ** 2 + 1)))
        unit = 1.0 if weight is None else weight.mean()
        alpha = None if model.alpha_ is None else model.alpha_ / unit / copies
        chosen.append((model.hidden_layer_sizes_, alpha))
    return np.mean(errors), chosen


@functools.cache
def without_weights(solver):
    return errors_by_weight(lambda rng: None, solver=solver)


@pytest.mark.parametrize(
    ("solver", "bar"),
    [("adam", 1.05), *slow([("lbfgs", 1.05), ("auto", 1.1), ("sgd", 1.05)])],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_constant_weights_do_not_change_what_is_learned(solver, bar):
    # With weights of 1, 5 and 100 it was, by lbfgs, 1.33, 2.25, 2.60, by default 1.09, 1.57, 2.23.
    expected, chosen = without_weights(solver)
    for weight in (2.0, 100.0):
        found, alike = errors_by_weight(lambda rng, w=weight: np.full(300, w), solver=solver)
        assert found < bar * expected
        if solver != "auto":
            assert [shape for shape, _ in alike] == [shape for shape, _ in chosen]
            np.testing.assert_allclose([a for _, a in alike], [a for _, a in chosen])


@pytest.mark.parametrize(("solver", "bar"), [("lbfgs", 1.05), *slow([("auto", 1.1)])])
def test_copies_of_all_rows_do_not_change_what_is_learned(solver, bar):
    expected, _ = without_weights(solver)
    found, _ = errors_by_weight(lambda rng: None, copies=5, solver=solver)
    assert found < bar * expected


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["lbfgs", *slow(["auto"])])
def test_survey_weights_choose_alike_whatever_their_mean(solver):
    def weights(mean):
        def draw(rng):
            w = np.exp(0.7 * rng.normal(size=300))
            return mean * w / w.mean()

        return draw

    (low, first), (high, second) = (
        errors_by_weight(weights(m), n_draws=2, solver=solver) for m in (1, 100)
    )
    assert low == pytest.approx(high, rel=0.02)
    assert [shape for shape, _ in first] == [shape for shape, _ in second]
    if solver == "lbfgs":
        np.testing.assert_allclose([a for _, a in first], [a for _, a in second])


# --- targets that do not vary ---


CONSTANT = [1000.0, -3.5, 0.0, 1e-300, 1e300]
AROUND = [
    {},
    {"solver": "lm", "hidden_layer_sizes": (5,)},
    {"solver": "lbfgs"},
    {"solver": "lbfgs", "early_stopping": True},
    {"solver": "adam"},
    {"solver": "sgd"},
    {"solver": "lbfgs", "hidden_layer_sizes": (100, 100), "alpha": 1.0},
]


@pytest.mark.parametrize(
    ("params", "constant"),
    [
        *every_pair(AROUND, CONSTANT),
        # Without centred coordinates it takes a second each.
        ({"solver": "lbfgs", "precondition": False}, 1000.0),
        *slow(({"solver": "lbfgs", "precondition": False}, other) for other in (0.0, 1e300)),
    ],
    ids=str,
)
def test_around_a_constant_there_is_next_to_no_noise(params, constant):
    # It was 1.005 |y| with lm, 1e-6 |y| with lbfgs and 0 with adam.
    X = np.random.RandomState(0).normal(size=(60, 3))
    model = BackpropRegressor(random_state=0, **params).fit(X, np.full(60, constant))
    mean, std = model.predict(3 * X, return_std=True)
    np.testing.assert_allclose(mean, constant, rtol=1e-6, atol=1e-6 if constant == 0 else 0)
    assert np.all(std > 0)
    assert np.all(std <= 1e-6 * (abs(constant) or 1))


@pytest.mark.parametrize("solver", ["auto", "lm", "lbfgs", "adam", "sgd"])
def test_one_of_several_targets_may_be_constant(solver):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 3))
    Y = np.column_stack([X[:, 0] + 0.3 * rng.normal(size=60), np.full(60, 7.0)])
    model = BackpropRegressor(solver=solver, random_state=0).fit(X, Y)
    mean, std = model.predict(2 * X, return_std=True)
    np.testing.assert_allclose(mean[:, 1], 7)
    assert np.all((std[:, 1] > 0) & (std[:, 1] <= 7e-6))
    assert np.all(std[:, 0] > 0.2)
    np.testing.assert_array_equal(model.leverage(X)[:, 1], 0)


# --- outside the data ---


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["adam", "auto", "lbfgs", "sgd"])
def test_a_linear_function_is_covered_far_outside_the_data(solver):
    # At 1.5, 2, 4 and 10 times the range: lbfgs .78 .54 .18 .00, adam .86 .65 .26 .00.
    distances, covered = (1.5, 2, 4, 10), []
    for seed in range(12):
        rng = np.random.RandomState(seed)
        X = rng.uniform(-1, 1, (150, 3))
        y = 2 * X[:, 0] - X[:, 1] + 0.2 * rng.normal(size=150)
        model = BackpropRegressor(solver=solver, random_state=seed).fit(X, y)
        assert model.hidden_layer_sizes_ == ()
        for distance in distances:
            new = rng.uniform(-1, 1, (200, 3))
            new[:, 0] = distance * rng.choice([-1, 1], 200)
            targets = 2 * new[:, 0] - new[:, 1] + 0.2 * rng.normal(size=200)
            mean, std = model.predict(new, return_std=True)
            covered.append(np.mean(np.abs(targets - mean) < 1.96 * std))
    assert np.all(np.reshape(covered, (12, 4)).mean(axis=0) >= 0.90)


@pytest.mark.parametrize("sparse", [False, True])
def test_leverage_of_a_linear_model_is_that_of_ridge_regression(sparse):
    rng = np.random.RandomState(0)
    X, new = rng.normal(size=(40, 3)), 3 * rng.normal(size=(20, 3))
    X[rng.uniform(size=X.shape) < 0.3] = 0
    y = X @ [1.0, -2.0, 3.0] + rng.normal(size=40)
    table = sp.csr_array if sparse else np.asarray
    model = BackpropRegressor((), solver="lbfgs", alpha=7.0).fit(table(X), y)
    center, spread = X.mean(axis=0), X.std(axis=0)
    Z, at = (X - center) / spread, (new - center) / spread
    inverse = np.linalg.inv(Z.T @ Z + 7 * np.eye(3))
    of_rows, expected = (1 / 40 + np.einsum("ij,jk,ik->i", A, inverse, A) for A in (Z, at))
    np.testing.assert_allclose(model.leverage(table(new)), expected / of_rows.max(), rtol=1e-6)
    assert model.leverage(table(X)).max() == pytest.approx(1)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"hidden_layer_sizes": (10,), "solver": "lbfgs", "alpha": 1.0},
        {"hidden_layer_sizes": (200,), "solver": "adam"},
    ],
    ids=str,
)
def test_leverage_is_above_one_outside_the_data(params):
    X, y = make_friedman1(300, 5, noise=0.5, random_state=0)
    model = BackpropRegressor(random_state=0, **params).fit(X, y)
    inside = model.leverage(X)
    assert inside.shape == (300,)
    assert inside.max() == pytest.approx(1, abs=1e-6)
    assert np.median(inside) < 0.7
    assert np.all(model.leverage(X[:20] + 3) > 1)


def test_leverage_has_a_column_for_each_target():
    X, y = make_friedman1(100, 5, noise=0.5, random_state=0)
    model = BackpropRegressor((5,), solver="lm", n_networks=2, random_state=0)
    leverage = model.fit(X, np.column_stack([y, -y])).leverage(X)
    assert leverage.shape == (100, 2)
    np.testing.assert_allclose(leverage.max(axis=0), 1, rtol=1e-6)


def test_leverage_is_refused_where_nothing_is_known_of_the_rows():
    X, y = make_friedman1(100, 5, noise=0.5, random_state=0)
    stream = BackpropRegressor((5,), solver="adam", random_state=0).partial_fit(X, y)
    with pytest.raises(ValueError, match="not known after partial_fit"):
        stream.leverage(X)
    large = BackpropRegressor((2100,), solver="adam", max_iter=500, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="uncertain_weights_ is 'none'"):
        large.leverage(X)
