"""Input gradients: the chain rule done by hand, central differences, and known functions."""

import numpy as np
import pytest
import scipy.sparse as sp
from reference import input_gradient_row
from sklearn.exceptions import NotFittedError

from sk_backprop import BackpropRegressor
from sk_backprop._network.network import Network, Workspace, forward, input_gradient, lecun_bound

ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]


def rough(hidden, **params):
    """A network after a few iterations: these tests need a function, not a good one."""
    quick = {"solver": "lbfgs", "alpha": 1.0, "tol": 0.5, "n_iter_no_change": 1, "random_state": 0}
    return BackpropRegressor(hidden, **{**quick, **params})


@pytest.fixture(scope="module")
def rows():
    """Three features in units of 1000, 1 and 1/1000, and two targets that are not negative."""
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 2, (60, 3))
    y = np.column_stack([np.sin(X[:, 0]) + X[:, 1] * X[:, 2], X[:, 1] ** 2]) * [50, 0.1]
    return X * [1e3, 1, 1e-3], y - y.min(axis=0)


def central_differences(model, X):
    """(n_samples, n_outputs, n_features), each step a part of the feature's spread."""
    slopes = []
    for j, step in enumerate(1e-5 * X.std(axis=0)):
        above, below = X.copy(), X.copy()
        above[:, j] += step
        below[:, j] -= step
        change = (model.predict(above) - model.predict(below)).reshape(len(X), -1)
        slopes.append(change / (above - below)[:, [j]])
    return np.stack(slopes, axis=2)


@pytest.mark.parametrize("hidden", [(), (4,), (3, 4, 2)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output_activation", ["identity", "logistic", "exp"])
def test_the_chain_rule_by_hand(hidden, activation, output_activation):
    rng = np.random.RandomState(1)
    network = Network((3, *hidden, 2), activation, output_activation)
    params = network.initial_parameters(rng, float, lecun_bound)
    X = rng.randn(7, 3)
    expected = [
        input_gradient_row(params.coefs, params.intercepts, activation, output_activation, x)
        for x in X
    ]
    work = Workspace(network, len(X), float)
    forward(network, params, X, work)
    gradient = input_gradient(network, params, work)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "params",
    [
        *({"activation": name} for name in ACTIVATIONS),
        {"output_activation": "logistic"},
        {"loss": "poisson"},
        {"n_networks": 3},
        {"n_networks": 3, "loss": "poisson"},
        {"n_networks": 2, "output_activation": "logistic", "activation": "tanh"},
        {"precondition": False},
        {"solver": "adam", "max_iter": 50, "tol": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("hidden", [(), (5,), (4, 3)], ids=str)
def test_central_differences_of_predict(rows, hidden, params):
    X, y = rows
    model = rough(hidden, **params).fit(X, y)
    gradient = model.gradient(X)
    assert gradient.shape == (60, 2, 3)
    scale = np.abs(gradient).max(axis=0)
    error = np.abs(gradient - central_differences(model, X)) / scale
    assert error.max() < 1e-6


def test_one_target_has_one_axis_less(rows):
    X, y = rows
    model = rough((4,)).fit(X, y[:, 0])
    assert model.gradient(X[:5]).shape == (5, 3)
    np.testing.assert_allclose(
        model.gradient(X), central_differences(model, X)[:, 0], rtol=1e-5, atol=1e-4
    )


def test_a_linear_model_has_its_coefficients_everywhere(rows):
    X, y = rows
    model = rough((), tol=1e-9).fit(X, y)
    (W,) = model.raw_coefs_
    np.testing.assert_allclose(model.gradient(X), np.tile(W.T, (60, 1, 1)), rtol=1e-12)


def test_sparse_rows_give_the_same(rows):
    X, y = rows
    X = np.maximum(X, 0)
    model = rough((5,), n_networks=2).fit(sp.csr_matrix(X), y)
    np.testing.assert_allclose(
        model.gradient(sp.csc_matrix(X)), model.gradient(X), rtol=1e-9, atol=1e-12
    )
    assert isinstance(model.gradient(sp.csr_array(X)), np.ndarray)


def test_float32_as_predict(rows):
    X, y = rows
    single, double = X.astype(np.float32), X
    model = rough((5,)).fit(single, y)
    for given in (single, double):
        assert model.gradient(given).dtype == model.predict(given).dtype
    assert model.gradient(single).dtype == np.float32
    scale = np.abs(model.gradient(double)).max(axis=0)
    assert np.max(np.abs(model.gradient(single) - model.gradient(double)) / scale) < 1e-5


@pytest.mark.slow
def test_many_rows_are_taken_in_blocks(rows):
    X, y = rows
    model = rough((200, 3), n_networks=2).fit(X, y)
    many = np.tile(X, (50, 1))
    np.testing.assert_allclose(
        model.gradient(many), np.tile(model.gradient(X), (50, 1, 1)), rtol=1e-9, atol=1e-12
    )


def test_units_carry_over_to_a_digit(rows):
    X, y = rows
    unit = np.array([2.0**7, 2.0**-20, 1.0])
    plain = rough((5,)).fit(X, y).gradient(X)
    other = rough((5,)).fit(X * unit, y * 4).gradient(X * unit)
    np.testing.assert_array_equal(other, plain * 4 / unit)


@pytest.mark.slow
def test_the_slope_of_a_known_function():
    x = np.linspace(-3, 3, 200)[:, None]
    model = BackpropRegressor(random_state=0).fit(x, np.sin(x).ravel())
    inner = x[20:-20]
    np.testing.assert_allclose(model.gradient(inner), np.cos(inner), atol=0.01)


def test_refused_as_by_predict(rows):
    X, y = rows
    with pytest.raises(NotFittedError):
        rough((2,)).gradient(X)
    model = rough((2,)).fit(X, y)
    with pytest.raises(ValueError, match="expecting 3 features"):
        model.gradient(X[:, :2])
    with pytest.raises(ValueError, match="infinity"):
        model.gradient(np.full((1, 3), np.inf))
