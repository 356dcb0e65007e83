"""Rows in an order of their own: it changes no digit under lm and lbfgs how a table lists them."""

import numpy as np
import pytest
import scipy.sparse as sp

from sk_backprop import BackpropRegressor
from sk_backprop._coordinates import row_order as rows_module
from sk_backprop._coordinates.row_order import canonical_rows


@pytest.fixture
def table():
    rng = np.random.RandomState(0)
    X = rng.randint(0, 3, (200, 4)).astype(float)  # many equal rows
    return X, rng.randint(0, 2, (200, 1)).astype(float), rng.randint(1, 5, 200).astype(float)


def naive(X, y, w):
    """{row: weight}, by comparing values one by one."""
    weights = {}
    for *row, weight in np.column_stack([X, y, w]):
        weights[tuple(row)] = weights.get(tuple(row), 0.0) + weight
    return weights


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array, sp.csr_matrix])
@pytest.mark.parametrize("weighted", [False, True])
def test_equal_rows_become_one_with_the_weight_of_all(table, weighted, kind):
    X, y, w = table
    w = w if weighted else None
    rows, weights = canonical_rows(kind(X), np.ones(X.shape[1]), y, w)
    found = naive(X[rows], y[rows], weights)
    assert found == naive(X, y, np.ones(200) if w is None else w)
    assert len(rows) == len(found)


def test_order_depends_on_the_values_alone(table):
    X, y, w = table
    rows, weights = canonical_rows(X, np.ones(X.shape[1]), y, w)
    shuffled = np.random.RandomState(1).permutation(200)
    again, weights_again = canonical_rows(
        X[shuffled], np.ones(X.shape[1]), y[shuffled], w[shuffled]
    )
    np.testing.assert_array_equal(X[rows], X[shuffled][again])
    np.testing.assert_array_equal(weights, weights_again)


def test_order_is_the_same_for_dense_and_sparse(table):
    X, y, w = table
    rows, _ = canonical_rows(X, np.ones(X.shape[1]), y, w)
    np.testing.assert_array_equal(
        canonical_rows(sp.csr_array(X), np.ones(X.shape[1]), y, w)[0], rows
    )
    np.testing.assert_array_equal(canonical_rows(X * -0.0 + X, np.ones(X.shape[1]), y, w)[0], rows)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_order_does_not_depend_on_the_rows_beside(kind):
    rng = np.random.RandomState(0)
    X, y = rng.randn(150_000, 4), rng.randn(150_000, 1)  # 65,536 in a block
    rows, _ = canonical_rows(kind(X), np.ones(4), y, None)
    assert sorted(rows) == list(range(150_000))
    for part in (slice(0, 200), slice(65_500, 65_600), slice(149_900, 150_000)):
        alone, _ = canonical_rows(kind(X[part]), np.ones(4), y[part], None)
        beside = rows[(rows >= part.start) & (rows < part.stop)]
        np.testing.assert_array_equal(alone + part.start, beside)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_order_is_that_of_scaled_values(table, kind):
    X, y, w = table
    rows, _ = canonical_rows(kind(X), np.ones(4), y, w)
    scale = np.array([3.0, 0.1, 1e5, 7.0])
    np.testing.assert_array_equal(canonical_rows(kind(X * scale), scale, y, w)[0], rows)


def test_distinct_rows_of_weight_one_need_no_weights():
    X = np.random.RandomState(0).randn(50, 3)
    rows, weights = canonical_rows(X, np.ones(X.shape[1]), X[:, :1], None)
    assert weights is None
    assert sorted(rows) == list(range(50))


def test_rows_of_one_key_are_compared_before_they_are_merged(monkeypatch):
    # All keys equal: only the values can tell the rows apart.
    monkeypatch.setattr(
        rows_module, "_row_keys", lambda X, scale, first_column=0: np.zeros(len(X), np.uint64)
    )
    X = np.array([[1.0], [1.0], [2.0], [2.0], [3.0]])
    y = np.array([[5.0], [5.0], [5.0], [6.0], [7.0]])
    rows, weights = canonical_rows(X, np.ones(X.shape[1]), y, None)
    np.testing.assert_array_equal(rows, [0, 2, 3, 4])
    np.testing.assert_array_equal(weights, [2, 1, 1, 1])


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"precondition": False},
        {"hidden_layer_sizes": (10, 5)},
        {"loss": "poisson"},
        {"n_networks": 2},
        {"solver": "lm"},
        {"solver": "lm", "n_networks": 2},
        {"solver": "lm", "alpha": "auto"},
        {"solver": "lm", "alpha": "auto", "loss": "poisson"},
    ],
    ids=str,
)
def test_weights_repetition_and_order_change_no_digit(diabetes, params, container):
    X, y = diabetes
    rng = np.random.RandomState(0)
    w = rng.randint(0, 4, len(y))
    named = {"hidden_layer_sizes": (5,), "solver": "lbfgs", "alpha": 2.0, "n_networks": 1}
    model = BackpropRegressor(**{**named, **params}, random_state=0)
    expected = model.fit(container(X), y, w).predict(X)
    repeated = rng.permutation(np.repeat(np.arange(len(y)), w))
    model.fit(container(X[repeated]), y[repeated])
    np.testing.assert_array_equal(model.predict(X), expected)
    assert model.scaler_.n_samples_seen_ == w.sum()


def test_weights_repetition_and_order_change_no_digit_of_the_defaults(diabetes):
    # 171 parameters, of two layers of ten, are fewer than the rows or more than the distinct ones.
    X, y = diabetes[0][:200, :4], diabetes[1][:200]
    rng = np.random.RandomState(0)
    w = rng.randint(0, 4, len(y))
    model = BackpropRegressor(random_state=0)
    expected = model.fit(X, y, w).predict(X)
    repeated = rng.permutation(np.repeat(np.arange(len(y)), w))
    np.testing.assert_array_equal(model.fit(X[repeated], y[repeated]).predict(X), expected)
