"""The precision of the weights in little memory, compared with the formulas written out."""

import io
import pickle
import time

import joblib
import numpy as np
import pytest
import skops.io
from likelihoods import likelihood
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning

from sk_backprop import BackpropRegressor
from sk_backprop._inference import factors as _factors
from sk_backprop._inference.factors import CholeskyFactor, RoundedInverse, rounded
from sk_backprop._inference.laplace import Posterior, _output_gradients, laplace
from sk_backprop._inference.objective import Objective
from sk_backprop._network.network import Network, last_layer, lecun_bound


@pytest.mark.parametrize("order", [1, 2, 3, 7, 40, 99, 100, 101])
def test_factors_are_packed_and_unpacked_whole(order):
    L = np.tril(np.random.RandomState(0).randn(order, order))
    packed = CholeskyFactor.of(np.asfortranarray(L))
    assert packed.packed.shape == (order * (order + 1) // 2,)
    assert packed.order == order
    np.testing.assert_array_equal(packed.cholesky(), L)
    zero = np.diag(L).copy()
    for k in range(order):  # a zero anywhere on the diagonal, and nowhere else, is a fault
        np.fill_diagonal(L, np.where(np.arange(order) == k, 0.0, zero))
        broken = [CholeskyFactor.of(np.asfortranarray(L))]
        assert "factor" in Posterior("all", broken, np.ones(1), np.ones(1), []).fault()


# {name: layer sizes, activation, output activation, uncertain weights}
NETWORKS = {
    "one layer": ((6, 40, 1), "logistic", "identity", "all"),
    "two layers": ((8, 30, 30, 1), "logistic", "identity", "all"),
    "two outputs": ((5, 12, 14, 2), "tanh", "identity", "all"),
    "relu": ((4, 20, 12, 1), "relu", "identity", "all"),
    "counts": ((6, 20, 10, 1), "logistic", "exp", "all"),
    "last layer": ((5, 300, 2), "tanh", "identity", "last_layer"),
}


def fitted_posterior(name, alpha=0.1, n=800):
    """A network, its parameters, their posterior, and the training rows."""
    sizes, activation, output, weights = NETWORKS[name]
    rng = np.random.RandomState(0)
    network = Network(sizes, activation, output)
    params = network.initial_parameters(rng, float, lecun_bound)
    params.flat[...] *= 2
    X, y = rng.randn(n, sizes[0]), rng.uniform(0.1, 1, (n, sizes[-1]))
    loss = "poisson" if output == "exp" else "squared_error"
    objective = Objective(network, likelihood(loss, network), X, y)
    return network, params, laplace(weights, objective, params, alpha), X


def matrices_and_gradients(posterior, network, params, X):
    """A, and the gradients at X, of each output."""
    parts = [(network, params, X)]
    if posterior.weights == "last_layer":
        parts = last_layer(network, params, X)
    gradients = [gradient for part in parts for gradient in _output_gradients(*part)]
    matrices = [L @ L.T for L in (one.cholesky() for one in posterior.factors)]
    return [(matrices[min(k, len(matrices) - 1)], g) for k, g in enumerate(gradients)]


@pytest.mark.parametrize("name", NETWORKS)
def test_standard_deviations_are_those_of_the_quadratic_form(name):
    network, params, posterior, X = fitted_posterior(name)
    small = posterior.rounded()
    assert all(isinstance(one, RoundedInverse) for one in small.factors)
    new = np.random.RandomState(1).randn(300, X.shape[1])
    for rows in (X[:300], new, 5 * new, 100 * new, 1e4 * new):
        found = np.sqrt(small.variance(network, params, rows))
        for k, (A, g) in enumerate(matrices_and_gradients(posterior, network, params, rows)):
            expected = np.sqrt(np.einsum("ij,ij->j", g, np.linalg.solve(A, g)))
            np.testing.assert_allclose(found[:, k], expected, rtol=5e-3)


def precision(of_data, order=400, rank=300):
    """A prior of 1, and data that determine `rank` directions, the first ones `of_data` times."""
    rng = np.random.RandomState(0)
    J = rng.randn(rank, order) * np.sqrt(of_data) * np.geomspace(1, 1e-2, rank)[:, None]
    return J, J.T @ J + np.eye(order)


def factor_of(A):
    return CholeskyFactor.of(np.asfortranarray(np.linalg.cholesky(A)))


@pytest.mark.parametrize(
    ("of_data", "dtype"), [(1e0, np.int16), (1e4, np.int16), (1e8, np.int32), (1e13, None)]
)
def test_integers_are_as_long_as_the_data_require(of_data, dtype):
    J, A = precision(of_data)
    exact = factor_of(A)
    found = rounded(exact, np.ones(400))
    if dtype is None:
        assert found is exact
        return
    assert found.codes.dtype == dtype
    g = np.column_stack([J.T @ np.random.RandomState(1).randn(300, 100), np.eye(400)])
    std = np.sqrt(found.variance()(g))
    np.testing.assert_allclose(std, np.sqrt(exact.variance()(g)), rtol=1e-2)


def test_only_large_factors_are_rounded():
    _, A = precision(10.0)
    for order in (256, 257):
        exact = factor_of(A[:order, :order])
        found = rounded(exact, np.ones(order))
        assert (found is exact) == (order == 256)
    assert rounded(found, np.ones(order)) is found


@pytest.mark.parametrize("broken", [np.nan, np.inf, 0.0])
def test_a_factor_at_the_limits_of_float64_stays_as_it_is(broken):
    L = np.asfortranarray(np.eye(300))
    L[150, 150] = broken
    exact = CholeskyFactor.of(L)
    assert rounded(exact, np.zeros(300)) is exact


def test_a_posterior_without_data_is_that_of_the_prior():
    prior = np.geomspace(1e-6, 1e6, 300)
    found = rounded(CholeskyFactor.of(np.asfortranarray(np.diag(np.sqrt(prior)))), prior)
    assert isinstance(found, RoundedInverse)
    np.testing.assert_allclose(found.variance()(np.eye(300)), 1 / prior, rtol=1e-6)


@pytest.mark.parametrize("name", ["two layers", "last layer"])
def test_draws_have_the_covariance_and_the_precision_is_restored(name):
    _, _, posterior, _ = fitted_posterior(name)
    for exact, small in zip(posterior.factors, posterior.rounded().factors, strict=True):
        L, unit = exact.cholesky(), np.eye(exact.order)
        # With draws D = A^-1/2 of unit vectors: L^T D D^T L = I.
        np.testing.assert_allclose(L.T @ exact.draw(unit), unit, atol=1e-9)
        np.testing.assert_allclose(L.T @ small.draw(unit), unit, atol=5e-3)
        # L^-1 A L^-T = I.
        np.testing.assert_allclose(np.linalg.solve(L, small.cholesky()), unit, atol=5e-3)


@pytest.mark.parametrize("order", [288, 300])
def test_the_format_of_stored_codes_is_blocks_of_96_rows(order):
    # Models that users have stored are read in this format.
    _, A = precision(10.0)
    exact = factor_of(A[:order, :order])
    state = rounded(exact, np.ones(order)).state()
    W, codes = np.zeros((order, order)), iter(state["codes"].tolist())
    for first in range(0, order, 96):
        last = min(first + 96, order)
        for row in range(first, last):
            W[row, :last] = [next(codes) for _ in range(last)]
    assert next(codes, None) is None
    inverse = np.linalg.inv(exact.cholesky())
    largest = np.abs(inverse).max(axis=0)
    np.testing.assert_allclose(state["units"], largest / (2**15 - 1), rtol=1e-9)
    assert np.all(np.abs(W * state["units"] - inverse) <= 0.5001 * state["units"])


def test_rows_beside_do_not_matter_and_gradients_may_be_beyond_the_range_of_float32():
    J, A = precision(100.0)
    found = rounded(factor_of(A), np.ones(400))
    g = J[:40].T.copy()
    variance = found.variance()(g)
    g[:, :10] *= 1e100
    g[:, 10:20] *= 1e-100
    g[:, 20:25] = 0
    expected = variance * np.repeat([1e200, 1e-200, 0, 1], [10, 10, 5, 15])
    np.testing.assert_allclose(found.variance()(g), expected, rtol=1e-4)
    for k in (0, 15, 22, 39):
        np.testing.assert_allclose(found.variance()(g[:, [k]]), expected[k], rtol=1e-4)


# --- fitted estimators ---


def fit_quickly(hidden, n=300, n_features=8, **params):
    X, y = make_friedman1(n, n_features=n_features, noise=0.3, random_state=0)
    params = {"solver": "lbfgs", "alpha": 1.0, "max_iter": 3, "random_state": 0, **params}
    with pytest.warns(ConvergenceWarning):
        return BackpropRegressor(hidden, **params).fit(X, y), X, y


def test_the_largest_fit_by_default_takes_less_than_25_megabytes():
    # Twelve such networks, whose factors would take 80 MB.
    model, _, _ = fit_quickly((30, 30), n=100, n_features=10, n_networks=1, max_iter=1)
    assert model.uncertain_weights_ == "all"
    assert 12 * len(pickle.dumps(model)) < 25e6


def test_a_stored_model_gives_the_same_digits():
    model, X, _ = fit_quickly((30,))
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    stored = skops.io.dumps(model)
    trusted = skops.io.get_untrusted_types(data=stored)
    assert trusted == ["sk_backprop._estimator.regressor.BackpropRegressor"]
    for loaded in (joblib.load(file), skops.io.loads(stored, trusted=trusted)):
        for found, expected in zip(loaded.predict(X, True), model.predict(X, True)):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(loaded.sample_y(X, 2), model.sample_y(X, 2))


@pytest.fixture
def exact_and_rounded(monkeypatch):
    """The same fit with exact factors, and as it is by default."""
    with monkeypatch.context() as patch:
        patch.setattr(_factors, "_LARGEST_EXACT", 10**6)
        exact, X, y = fit_quickly((20, 10), n_networks=2)
    found, _, _ = fit_quickly((20, 10), n_networks=2)
    assert len(pickle.dumps(found)) < 0.4 * len(pickle.dumps(exact))
    return exact, found, X, y


def test_all_that_depends_on_the_posterior_hardly_changes(exact_and_rounded):
    exact, found, X, _ = exact_and_rounded
    new = np.random.RandomState(0).uniform(-3, 4, X.shape)
    for rows in (X, new):
        (mean, std), (as_before, expected) = found.predict(rows, True), exact.predict(rows, True)
        np.testing.assert_array_equal(mean, as_before)
        np.testing.assert_allclose(std, expected, rtol=2e-3)
        np.testing.assert_allclose(found.leverage(rows), exact.leverage(rows), rtol=1e-2)
        drawn, before = found.sample_y(rows, 3), exact.sample_y(rows, 3)
        assert np.abs(drawn - before).max() < 0.02 * expected.max()
    assert found.leverage(X).max() == pytest.approx(1, abs=3e-6)
    for n_rows in (1, 7, 300):
        assert max(found.leverage(X[k : k + n_rows]).max() for k in range(0, 300, n_rows)) <= 1


def test_a_stream_goes_on_from_the_rounded_posterior_of_a_fit(exact_and_rounded):
    exact, found, X, y = exact_and_rounded
    for model in (exact, found):
        model.set_params(solver="adam")
        for rows in (slice(0, 20), slice(20, 40)):
            model.partial_fit(X[rows], y[rows])
        assert isinstance(model._fit_state["posteriors"][0]["factors"][0], np.ndarray)
    for W, expected in zip(found.coefs_, exact.coefs_):
        np.testing.assert_allclose(W, expected, rtol=1e-10)
    for rows in (X, 3 * X):
        found_std, expected = found.predict(rows, True)[1], exact.predict(rows, True)[1]
        np.testing.assert_allclose(found_std, expected, rtol=5e-3)


def test_the_variance_of_one_row_takes_less_time_than_by_the_exact_factor(timing):
    L = np.asfortranarray(np.tril(np.random.RandomState(0).uniform(-1e-3, 1e-3, (1231, 1231))))
    np.fill_diagonal(L, 1.0)
    exact = CholeskyFactor.of(L)
    small, g = rounded(exact, np.zeros(1231)), np.ones((1231, 1))
    assert isinstance(small, RoundedInverse)

    def seconds(factor):
        start = time.perf_counter()
        factor.variance()(g)
        return time.perf_counter() - start

    # Seven times as fast when it was measured.
    least = np.min([(seconds(exact), seconds(small)) for _ in range(10)], axis=0)
    assert least[0] > 1.5 * least[1]
