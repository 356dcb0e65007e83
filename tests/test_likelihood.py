"""A likelihood is one class and one line in the registry: shown by one that only this file has."""

import pickle
import warnings

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import norm
from sklearn.datasets import make_friedman1

from sk_backprop import BackpropRegressor
from sk_backprop._network.dispersion import LEAST_VARIANCE
from sk_backprop._network.likelihood import (
    LIKELIHOODS,
    Likelihood,
    Poisson,
    SquaredError,
    effective_size,
)
from sk_backprop._network.network import ACTIVATIONS


class PseudoHuber(Likelihood):
    """loss = sqrt(1 + r^2) - 1, of r = f - y in the solver's units: quadratic, then linear."""

    loss = "pseudo_huber"

    def loss_gradient(self, f, y, w, delta, scratch):
        np.subtract(f, y, out=delta)
        root = np.sqrt(1 + delta**2)
        delta /= root
        weights = np.ones_like(f) if w is None else np.broadcast_to(w, f.shape)
        delta *= weights
        return float(np.sum(weights * (root - 1)))

    def residual_root(self, f, y):
        r = f - y
        root = np.sqrt(1 + r**2)
        s = root**-0.5
        return root - 1, r / root / s, s


@pytest.fixture
def huber(monkeypatch):
    monkeypatch.setitem(LIKELIHOODS, PseudoHuber().key, PseudoHuber())
    return {"loss": "pseudo_huber", "random_state": 0}


@pytest.fixture(scope="module")
def with_outliers():
    X, y = make_friedman1(500, 5, noise=0.5, random_state=0)
    y[::25] += 60
    X_new, f_new = make_friedman1(500, 5, noise=0.0, random_state=1)
    return X, y, X_new, f_new


def error(model, X, f):
    return np.sqrt(np.mean((model.predict(X) - f) ** 2))


# --- one that only a test has ---


@pytest.mark.parametrize("solver", ["auto", "lm", "lbfgs", "adam", "sgd"])
def test_a_likelihood_of_a_test_fits_with_every_solver(huber, with_outliers, solver):
    X, y, X_new, f_new = with_outliers
    given = {"hidden_layer_sizes": (8,), "solver": solver, "alpha": 1.0, "n_networks": 1}
    robust = BackpropRegressor(**given, **huber).fit(X, y)
    plain = BackpropRegressor(**given, random_state=0).fit(X, y)
    assert error(robust, X_new, f_new) < 0.9 * error(plain, X_new, f_new)
    mean, std = robust.predict(X_new, return_std=True)
    assert (std > 0).all()
    again = pickle.loads(pickle.dumps(robust))
    np.testing.assert_array_equal(again.predict(X_new, return_std=True), (mean, std))


def test_a_likelihood_of_a_test_goes_through_trials_and_evidence(huber, with_outliers):
    X, y, X_new, f_new = with_outliers
    model = BackpropRegressor(**huber).fit(X, y)
    plain = BackpropRegressor(random_state=0).fit(X, y)
    assert model.solver_ == "lm"
    assert np.isfinite(model.log_evidence_).all()
    assert error(model, X_new, f_new) < 0.9 * error(plain, X_new, f_new)


def test_a_likelihood_of_a_test_streams_and_starts_warm(huber, with_outliers):
    X, y, X_new, f_new = with_outliers
    model = BackpropRegressor((8,), **huber)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # rows that come again
        for _ in range(30):
            for rows in np.array_split(np.arange(len(y)), 5):
                model.partial_fit(X[rows], y[rows])
    assert error(model, X_new, f_new) < 0.6 * f_new.std()
    assert (model.predict(X_new, return_std=True)[1] > 0).all()
    model.set_params(solver="lbfgs", warm_start=True, n_networks=1).fit(X, y)
    assert error(model, X_new, f_new) < 0.6 * f_new.std()
    before = model.predict(X_new)
    for call in (model.fit, model.set_params(solver="adam").partial_fit):
        model.set_params(loss="squared_error")
        with pytest.raises(ValueError, match=r"loss is 'pseudo_huber'; now .* 'squared_error'"):
            call(X, y)
    np.testing.assert_array_equal(model.predict(X_new), before)


def test_the_registry_decides_what_is_allowed(huber):
    X, y = np.ones((4, 1)), np.ones(4)
    with pytest.raises(ValueError, match="'squared_error', 'poisson', 'pseudo_huber'"):
        BackpropRegressor(loss="huber").fit(X, y)
    with pytest.raises(ValueError, match=r"allows only output_activation='identity'"):
        BackpropRegressor(output_activation="logistic", **huber).fit(X, y)


# --- what every likelihood promises ---

ALL = [*LIKELIHOODS.values(), PseudoHuber()]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("likelihood", ALL, ids=lambda one: "-".join(one.key))
def test_derivatives_are_those_of_the_loss(likelihood, weighted):
    rng = np.random.RandomState(0)
    z, y = rng.randn(2, 5), rng.uniform(0, 1, (2, 5))
    w = rng.uniform(0.5, 2, (1, 5)) if weighted else None

    def output(z):
        f = np.array(z, dtype=float).reshape(2, 5)
        ACTIVATIONS[likelihood.output_activation].apply(f)
        return f

    def loss(z):
        return likelihood.loss_gradient(output(z), y, w, np.empty((2, 5)), np.empty((2, 5)))

    delta = np.empty((2, 5))
    total = likelihood.loss_gradient(output(z), y, w, delta, np.empty((2, 5)))
    numeric = approx_fprime(z.ravel(), loss, 1e-7)
    np.testing.assert_allclose(delta.ravel(), numeric, rtol=1e-4, atol=1e-5)
    # The same by residual and root.
    losses, rho, s = likelihood.residual_root(output(z), y)
    weights = 1.0 if w is None else w
    assert np.sum(weights * losses) == pytest.approx(total)
    np.testing.assert_allclose(weights * s * rho, delta, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("likelihood", ALL, ids=lambda one: "-".join(one.key))
def test_inflation_is_variance_relative_to_noise(likelihood):
    f, noise = np.array([[0.2, 0.5], [0.9, 0.4]]), np.array([0.3, 2.0])
    of_noise = likelihood.noise_variance(noise, f)
    np.testing.assert_allclose(likelihood.inflation(3 * of_noise, noise, f), 3)
    zero = likelihood.inflation(np.ones((2, 2)), np.zeros(2), f)
    np.testing.assert_allclose(zero, 1 / LEAST_VARIANCE)


def test_held_out_score_is_the_gaussian_likelihood():
    rng = np.random.RandomState(0)
    z, y, w = rng.randn(50, 1), rng.randn(50, 1), rng.uniform(1, 2, 50)
    variance, noise = rng.uniform(0.1, 1, (50, 1)), np.array([0.7])
    score = SquaredError().score_held_out([z.copy()], [variance], [noise], y, w, 1)
    std = np.sqrt(noise + variance)
    expected = w @ (-norm.logpdf(y, z, std) - 0.5 * np.log(2 * np.pi))
    assert score.neg_log_likelihood == pytest.approx(expected.item())
    np.testing.assert_allclose(score.errors, w @ (y - z) ** 2)
    assert score.weight == pytest.approx(w.sum())
    assert score.n_equivalent == pytest.approx(effective_size(w))


def test_the_average_of_many_is_scored_by_two():
    # Squared errors of the mean of K networks, expected from two of them.
    rng = np.random.RandomState(0)
    found, expected = [], []
    y = rng.randn(30, 1)
    for _ in range(3000):
        z = y + 0.5 + rng.randn(12, 30, 1)
        many = np.sum((y - z.mean(axis=0)) ** 2)
        variances, noises = [np.zeros((30, 1))] * 2, [np.ones(1)] * 2
        two = SquaredError().score_held_out(list(z[:2]), variances, noises, y, None, 12)
        found.append(two.errors[0])
        expected.append(many)
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.02)


def test_counts_keep_their_unit():
    poisson = Poisson()
    assert poisson.location_scale(np.array([2.0, 0.0]), np.array([5.0, 1.0]))[0] == 0
    np.testing.assert_array_equal(
        poisson.location_scale(np.array([2.0, 0.0]), np.array([5.0, 1.0]))[1], [2.0, 1.0]
    )
    phi = poisson.constant_dispersion(
        np.array([2.0, 0.0]), np.array([6.0, 0.0]), np.array([True, False]), np.array([0.5, 1.0])
    )
    np.testing.assert_allclose(phi, [1.5, 1.0])
    y = np.array([[0.0], [0.0], [3.0], [1.0]])
    np.testing.assert_allclose(poisson.density_fraction(y, np.array([1, 1, 1, 3.0])), [4 / 6])
