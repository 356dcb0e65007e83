"""Candidates of the defaults for rough functions, for those that oscillate, and for far values."""

import copy
import functools
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cases import slow
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.ensemble import HistGradientBoostingRegressor

from sk_backprop import BackpropRegressor
from sk_backprop._blocks.arrays import SelectedRows
from sk_backprop._estimator.start import tasks_of
from sk_backprop._network.network import Network
from sk_backprop._training.ensemble import Group, train_networks
from sk_backprop._training.events import Events
from sk_backprop._training.folds import left_out
from sk_backprop._training.initial import local_start
from sk_backprop._training.problem import Data, prepare


def plan_of(X, y, **params):
    data = Data(X, y.reshape(len(y), -1))
    return tasks_of(BackpropRegressor(**params), data, None)[0].plan


def candidates_of(n_samples=500, n_features=4, **params):
    X, y = make_friedman1(n_samples, n_features=max(5, n_features), random_state=0)
    return plan_of(X[:, :n_features], y, **params).candidates


def wide(candidates):
    return [one for one in candidates if one.solver == "muon"]


def local(candidates):
    return [one for one in candidates if one.local_units]


# --- which there are ---


@pytest.mark.parametrize(
    ("n_samples", "hidden", "n_folds", "batch_size"),
    [
        (499, (64, 64, 64), 5, 16),
        (500, (128, 64, 64), 5, 16),
        (12_000, (64, 256, 256), 5, 256),
        (30_000, (64, 256, 256), 2, 256),
    ],
)
def test_wide_networks_over_units_for_single_features(n_samples, hidden, n_folds, batch_size):
    (candidate,) = wide(candidates_of(n_samples))
    assert candidate.network.layer_sizes == (4, *hidden, 1)
    assert candidate.network.units_per_feature == hidden[0] // 4
    assert (candidate.n_folds, candidate.batch_size) == (n_folds, batch_size)
    assert candidate.max_iter == (20 if n_samples < 10_000 else 15)
    assert (candidate.learning_rate, candidate.alpha) == ("cosine", 0.0)


def test_what_is_given_holds_for_them():
    (candidate,) = wide(
        candidates_of(
            units_per_feature=5, n_networks=3, max_iter=7, batch_size=9, learning_rate_init=0.01
        )
    )
    assert candidate.network.units_per_feature == 5
    assert (candidate.n_folds, candidate.max_iter, candidate.batch_size) == (0, 7, 9)
    assert candidate.learning_rate_init == 0.01
    (candidate,) = wide(candidates_of(max_iter=1000, units_per_feature=0))
    assert candidate.max_iter == 20
    assert candidate.network.layer_sizes == (4, 64, 64, 1)


@pytest.mark.parametrize(
    "params",
    [
        {"hidden_layer_sizes": (5,)},
        {"solver": "lm"},
        {"alpha": 1.0},
        {"early_stopping": True},
        {"precondition": False},
        {"activation": "relu"},
        {"loss": "poisson"},
    ],
    ids=str,
)
def test_there_are_none_where_more_is_given(params):
    found = candidates_of(n_features=3, **params)
    assert not wide(found)
    assert not local(found)


def test_there_are_none_for_few_rows_sparse_rows_or_many_features():
    assert not wide(candidates_of(199))
    rng = np.random.RandomState(0)
    X, y = rng.randn(400, 300), rng.randn(400)
    assert not wide(plan_of(X, y).candidates)
    assert not wide(plan_of(sp.csr_matrix(X[:, :3]), y).candidates)
    assert wide(plan_of(X[:, :200], y).candidates)


def test_many_features_have_fewer_units_each():
    rng = np.random.RandomState(0)
    X, y = rng.randn(600, 65), rng.randn(600)
    for n_features, units in ((64, 32), (65, 16)):
        (candidate,) = wide(plan_of(X[:, :n_features], y).candidates)
        assert candidate.network.units_per_feature == units


@pytest.mark.parametrize(("n_features", "n"), [(1, 1), (3, 1), (4, 0)])
def test_local_units_of_few_features(n_features, n):
    found = local(candidates_of(300, n_features))
    assert len(found) == n
    assert all(one.network.layer_sizes == (n_features, 96, 1) for one in found)


# --- where local units start ---


def test_local_units_are_steep_at_training_rows():
    rng = np.random.RandomState(0)
    X = np.column_stack([rng.randn(50), np.full(50, 2.0), rng.randn(50)])
    y = rng.randn(50)
    problem = prepare(plan_of(X, y).settings, Data(X, y[:, None]), None)
    network = Network((3, 64, 1), "tanh", "identity")
    params = local_start(network, problem, np.random.RandomState(1), float)
    W, b = params.coefs[0], params.intercepts[0]
    np.testing.assert_allclose(np.linalg.norm(W, axis=0), 0.5 * np.sqrt(64))  # two inputs vary
    assert not W[1].any()
    at_rows = problem.rows.X[:, :3] @ W + b
    np.testing.assert_allclose(np.abs(at_rows).min(axis=0), 0, atol=1e-12)
    assert not params.layers[1].any()


# --- which is selected ---


def sines(periods, n_samples, noise=0.0, seed=0):
    rng = np.random.RandomState(seed)
    x = rng.uniform(size=(2 * n_samples, 1))
    y = np.sin(2 * np.pi * periods * x.ravel()) + noise * rng.randn(2 * n_samples)
    return x[:n_samples], y[:n_samples], x[n_samples:], y[n_samples:]


def trend_and_season(n_samples, seed=0):
    rng = np.random.RandomState(seed)
    t = rng.permutation(3 * n_samples // 2)[:, None].astype(float)
    y = 0.05 * t.ravel() + 2 * np.sin(2 * np.pi * t.ravel() / 12) + 0.2 * rng.randn(len(t))
    return t[:n_samples], y[:n_samples], t[n_samples:], y[n_samples:]


@pytest.mark.parametrize(
    ("problem", "args", "seed"),
    [
        (sines, (8, 100), 0),
        (trend_and_season, (120,), 0),
        *slow((sines, (8, 100), seed) for seed in (1, 2)),
        *slow((trend_and_season, (120,), seed) for seed in (1, 2)),
        *slow((sines, (7, 150), seed) for seed in range(3)),
        *slow((sines, (10, 150), seed) for seed in range(3)),
    ],
)
def test_oscillations_are_found(problem, args, seed):
    X, y, X_new, y_new = problem(*args, seed=seed)
    model = BackpropRegressor(random_state=seed).fit(X, y)
    assert model.score(X_new, y_new) > 0.95
    assert model.hidden_layer_sizes_ == (96,)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_an_oscillation_is_found_in_noise_and_its_noise_is_known(seed):
    X, y, X_new, y_new = sines(12, 1000, 0.1, seed=seed)
    model = BackpropRegressor(random_state=seed).fit(X, y)
    mean, std = model.predict(X_new, return_std=True)
    assert model.score(X_new, y_new) > 0.95
    assert model.hidden_layer_sizes_ == (96,)
    assert 0.9 < np.mean(((y_new - mean) / std) ** 2) ** 0.5 < 1.15


def rough(n_samples, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.uniform(-1, 1, (2 * n_samples, 3))
    y = np.floor(3 * X).sum(axis=1) + 0.1 * rng.randn(2 * n_samples)
    return X[:n_samples], y[:n_samples], X[n_samples:], y[n_samples:]


@functools.cache
def fitted_to_steps():
    X, y, *_ = rough(600)
    model = BackpropRegressor(random_state=0).fit(X, y)
    assert model.solver_ == "muon"
    return model


@pytest.mark.slow
def test_steps_are_learned_with_their_noise():
    X, y, X_new, y_new = rough(1000)
    model = BackpropRegressor(random_state=0).fit(X, y)
    assert model.solver_ == "muon"
    assert model.units_per_feature_ == 32
    assert model.n_networks_ == 5
    assert model.score(X_new, y_new) > 0.97
    for coverage in (0.5, 0.8, 0.95):
        low, high = model.predict_interval(X_new, coverage).T
        assert np.mean((low < y_new) & (y_new < high)) == pytest.approx(coverage, abs=0.05)
    # All rows have been left out by one network.
    np.testing.assert_allclose(model.residual_dof_, 1000)


@pytest.mark.slow
def test_wide_networks_that_were_selected_go_on_in_a_warm_start_and_a_stream():
    X, y, X_new, y_new = rough(600)
    model = copy.deepcopy(fitted_to_steps())
    score = model.score(X_new, y_new)
    stream = copy.deepcopy(model)
    for k in range(0, 600, 100):
        stream.partial_fit(X_new[k : k + 100], y_new[k : k + 100])
    again = model.set_params(warm_start=True).fit(X, y)
    for one, solver in ((stream, "adam"), (again, "muon")):
        assert one.solver_ == solver
        assert one.hidden_layer_sizes_ == (96, 64, 64)
        assert one.units_per_feature_ == 32
        assert one.n_networks_ == 5
        own = np.tile(np.kron(np.eye(3, dtype=bool), np.ones((1, 32), bool)), 5)
        assert not one.coefs_[0][~own].any()
        assert one.score(X_new, y_new) > score - 0.002


@pytest.mark.slow
def test_a_feature_of_two_values_keeps_its_one_unit_in_a_warm_start():
    X, y, X_new, y_new = rough(600)
    X, X_new = (np.column_stack([rows, rows[:, 0] > 0]) for rows in (X, X_new))
    model = BackpropRegressor(random_state=0, warm_start=True).fit(X, y)
    sizes = [one["hidden_layer_sizes"] for one in model.members_]
    assert (97, 64, 64) in sizes  # 32 units for each of three features
    score = model.score(X_new, y_new)
    model.fit(X, y)
    assert [one["hidden_layer_sizes"] for one in model.members_] == sizes
    assert model.score(X_new, y_new) > score - 0.002


@pytest.mark.slow
def test_networks_that_were_selected_are_the_same_in_processes():
    X, y, X_new, _ = rough(600)
    expected = fitted_to_steps()
    found = BackpropRegressor(random_state=0, n_jobs=2).fit(X, y)
    for one, other in zip(expected.predict(X_new, True), found.predict(X_new, True)):
        np.testing.assert_array_equal(one, other)


def test_tables_that_are_linear_but_for_noise_stay_linear():
    X, y = load_diabetes(return_X_y=True, scaled=False)
    model = BackpropRegressor(random_state=0).fit(X, y)
    assert model.solver_ == "lm"


# --- folds that are left out ---


@pytest.mark.parametrize(("n_samples", "n_folds", "size"), [(103, 5, 21), (9000, 2, 4000)])
def test_each_network_leaves_out_other_rows(n_samples, n_folds, size):
    rng = np.random.RandomState(0)
    X, y = rng.randn(n_samples, 2), rng.randn(n_samples)
    problem = prepare(plan_of(X, y).settings, Data(X, y[:, None]), None)
    folds = left_out(problem, n_folds)
    assert len(folds) == n_folds
    seen = set()
    for part, rows, numbers in folds:
        np.testing.assert_array_equal(rows.X, problem.rows.X[numbers])
        assert part.scales is problem.scales
        assert part.rows.n_samples + rows.n_samples == n_samples
        assert rows.n_samples <= size
        held_out = set(map(tuple, rows.X[:, :2]))
        assert not held_out & set(map(tuple, part.rows.X[:][:, :2]))
        assert not held_out & seen
        seen |= held_out
    assert len(seen) == min(n_samples, n_folds * size)


def selected_by_hand(problem, n_folds):
    """The rows that each part trains on, as sorted arrays, by the rows that it leaves out."""
    X, y = problem.rows.X, problem.rows.y
    for _, rows, _ in left_out(problem, n_folds):
        out = set(map(tuple, rows.X))
        kept = [tuple(row) not in out for row in X]
        yield in_order(X[kept], y[kept])


def in_order(X, y):
    order = np.lexsort(X.T)
    return X[order], y[order]


def test_parts_share_the_rows_and_copy_blocks_of_them():
    rng = np.random.RandomState(0)
    X, y = rng.randn(211, 2), rng.randn(211)
    problem = prepare(plan_of(X, y).settings, Data(X, y[:, None]), None)
    (muon,) = wide(candidates_of(500))
    for (part, *_), by_hand in zip(left_out(problem, 5), selected_by_hand(problem, 5), strict=True):
        X, y = part.rows.X[:], part.rows.y
        for one, other in zip(in_order(X, y), by_hand, strict=True):
            np.testing.assert_array_equal(one, other)
        cast = part.in_precision_of(muon).rows
        for rows, dtype in ((part.rows, X.dtype), (cast, np.float32)):
            assert isinstance(rows.X, SelectedRows)
            assert rows.X.shape == X.shape
            assert rows.X.dtype == rows.X[:5].dtype == dtype
            np.testing.assert_array_equal(rows.y, y.astype(dtype))
            for some in (slice(None), slice(3, 40), slice(0, None, 7), rng.permutation(len(X))):
                np.testing.assert_array_equal(rows.X[some], X[some].astype(dtype))


def test_a_network_of_selected_rows_is_that_of_a_copy():
    X, y, *_ = rough(600)
    problem = prepare(plan_of(X, y).settings, Data(X, y[:, None]), None)
    (muon,) = wide(candidates_of(600, n_features=X.shape[1]))
    muon = muon._replace(max_iter=2)
    part = left_out(problem, 5)[0][0].in_precision_of(muon)
    copied = part._replace(rows=part.rows._replace(X=part.rows.X[:]))
    found, expected = (
        train_networks(Group.of(muon, one, [0]), Events()).networks[0].params.flat
        for one in (part, copied)
    )
    np.testing.assert_array_equal(found, expected)


def traced(work):
    """Bytes that `work` had in use at most, in addition to those before."""
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_parts_take_little_memory():
    rng = np.random.RandomState(0)
    X, y = rng.randn(200_000, 20), rng.randn(200_000)
    problem = prepare(plan_of(X, y).settings, Data(X, y[:, None]), None)
    of_numbers = 8 * len(X)
    # Places, ranks and masks are made meanwhile; a copy of X has the size of 21 of them.
    assert traced(lambda: left_out(problem, 2)) < 10 * of_numbers


@pytest.mark.slow
def test_a_fit_of_many_rows_takes_the_memory_of_a_copy_of_them():
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (100_000, 20))
    y = np.sign(X[:, 0] * X[:, 1] * X[:, 2]) + np.floor(3 * X[:, 3]) % 2
    fits = []
    model = BackpropRegressor(random_state=0, n_jobs=1, max_iter=1)
    peak = traced(lambda: fits.append(model.fit(X, y)))
    assert fits[0].solver_ == "muon"
    # Above the scaled copy, 17 MB, 35 are for mini-batches of 1,000 rows and for row numbers; a
    # copy in float32 for each of two networks would take 17 more.
    assert peak < 1.05 * X.nbytes + 4.3e7


# --- outliers of X ---


def friedman_with(value):
    X, y = make_friedman1(300, n_features=6, noise=1.0, random_state=0)
    X[7, 0] = value
    return X, y


def table_with_tails(kind, n_samples, seed):
    """X, y, and rows to predict with their expectations."""
    rng = np.random.default_rng(seed)
    U, U_new = rng.random((2, n_samples, 6))
    (y, y_new), X, X_new = (friedman1(U), friedman1(U_new)), U.copy(), U_new.copy()
    if kind == "one":
        X[7, 0] = 1e4
    elif kind == "missing":
        X[rng.random(n_samples) < 0.05, 0] = -999
        X_new[rng.random(n_samples) < 0.05, 0] = -999
    else:
        X, X_new = np.exp(3 * U - 1.5), np.exp(3 * U_new - 1.5)
    return X, y + rng.normal(size=n_samples), X_new, y_new


def friedman1(U):
    return 10 * np.sin(np.pi * U[:, 0] * U[:, 1]) + 20 * (U[:, 2] - 0.5) ** 2 + U[:, 3:5] @ [10, 5]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Column 0 of X has 100%:UserWarning")
@pytest.mark.parametrize(
    ("kind", "n_samples"),
    [("missing", 1000), ("one", 300), ("skewed", 1000)],
)
def test_values_far_away_harm_no_more_than_they_harm_trees(kind, n_samples):
    seeds = range(2 if kind == "one" else 1)
    errors = []
    for seed in seeds:
        X, y, X_new, y_new = table_with_tails(kind, n_samples, seed)
        models = (BackpropRegressor(random_state=0), HistGradientBoostingRegressor(random_state=0))
        errors.append([rmse(model.fit(X, y).predict(X_new), y_new) for model in models])
    ours, trees = np.mean(errors, axis=0)
    assert ours < 1.1 * trees


def rmse(predicted, y):
    return np.sqrt(np.mean((predicted - y) ** 2))


def test_far_values_are_told_from_heavy_tails():
    def bounded(X):
        return [
            one
            for one in plan_of(X, X[:, 1]).candidates
            if one.solver == "lm" and one.network.units_per_feature
        ]

    X = np.random.default_rng(0).standard_t(3, size=(300, 4))
    X[:, 3] = np.arange(300) == 5  # rare, of no interquartile range
    assert not bounded(X)
    X[9, 2] = 120 * np.subtract(*np.quantile(X[:, 2], [0.75, 0.25]))
    assert [one.network.layer_sizes for one in bounded(X)] == [(4, 12, 5, 5, 1)]


def test_the_warning_names_the_column_and_the_value():
    X, y = friedman_with(-1e4)
    table = pd.DataFrame(X, columns=list("abcdef"))
    quick = BackpropRegressor((3,), solver="lm", n_networks=1)
    with pytest.warns(UserWarning, match=r"Column 0 \('a'\) of X .* of value -10000;") as told:
        quick.fit(table, y)
    assert len(told) == 1
    for harmless in (3.0, 5.0):  # 17 standard deviations
        quick.fit(*friedman_with(harmless))
    rare = np.column_stack([X[:, 1:], np.arange(300) == 5])  # of one row alone
    quick.fit(rare, y)
    quick.set_params(solver="adam", max_iter=1000).fit(rare.astype(np.float32), y)
    with pytest.warns(UserWarning, match="Column 0"):  # weights are counts, or relative
        quick.set_params(solver="lm").fit(X, y, np.where(np.arange(300) == 7, 1.0, 2.0))
