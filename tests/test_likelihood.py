"""A likelihood is one class and one line in the registry: shown by one that only this file has."""

import pickle
import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import approx_fprime
from scipy.stats import norm
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import GammaRegressor
from sklearn.metrics import mean_gamma_deviance

from sk_backprop import BackpropRegressor
from sk_backprop._network.dispersion import LEAST_VARIANCE
from sk_backprop._network.families import LIKELIHOODS, Gamma, LogNormal, Poisson, SquaredError
from sk_backprop._network.likelihood import HeldOutPredictions, Likelihood, effective_size
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
    plain = BackpropRegressor(solver="lm", random_state=0).fit(X, y)  # with the outliers
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
    with pytest.raises(ValueError, match="'lognormal', 'student_t', 'pseudo_huber'"):
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
    if likelihood.loss == "lognormal":  # of ln f, relative to the noise of ln y
        of_noise = noise * f**2
    np.testing.assert_allclose(likelihood.inflation(3 * of_noise, noise, f), 3)
    zero = likelihood.inflation(np.ones((2, 2)), np.zeros(2), f)
    np.testing.assert_allclose(zero, 1 / LEAST_VARIANCE)


@pytest.mark.parametrize("likelihood", [SquaredError(), Poisson(), PseudoHuber()])
def test_noise_is_estimated_by_pearsons_statistic_unless_a_likelihood_knows_better(likelihood):
    rng = np.random.RandomState(0)
    f, y, w = rng.uniform(1, 2, (2, 50)), rng.uniform(1, 2, (2, 50)), rng.uniform(1, 2, 50)
    squares = (f - y) ** 2 / (f if likelihood.counts else 1)
    ratio = np.average(y / f, axis=1, weights=w) if likelihood.counts else 1
    expected = np.average(squares, axis=1, weights=w) / ratio
    np.testing.assert_allclose(likelihood.noise_of(f, y, w), expected)


def test_held_out_score_is_the_gaussian_likelihood():
    rng = np.random.RandomState(0)
    z, y, w = rng.randn(50, 1), rng.randn(50, 1), rng.uniform(1, 2, 50)
    variance, noise = rng.uniform(0.1, 1, (50, 1)), np.array([0.7])
    rows = HeldOutPredictions([z.copy()], [variance], [noise], y, w, 1)
    score = SquaredError().score_held_out(rows)
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
        rows = HeldOutPredictions(list(z[:2]), variances, noises, y, None, 12)
        two = SquaredError().score_held_out(rows)
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


# --- positive targets ---


@pytest.fixture(scope="module")
def positive():
    """A log-linear mean, and targets that vary in proportion to it."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (400, 2)) * [1, 1000]
    mean = 50 * np.exp(X[:, 0] - X[:, 1] / 500)
    gamma, normal = rng.gamma(4, 0.25, 400), rng.normal(size=400)
    return X, mean, {"gamma": mean * gamma, "lognormal": mean * np.exp(0.8 * normal - 0.32)}


def test_gamma_loss_is_half_the_deviance():
    rng = np.random.RandomState(0)
    f, y, w = rng.gamma(2, size=(3, 1, 20))
    loss = Gamma().loss_gradient(f, y, w, np.empty((1, 20)), np.empty((1, 20)))
    expected = mean_gamma_deviance(y[0], f[0], sample_weight=w[0]) * w.sum() / 2
    assert loss == pytest.approx(expected)
    assert (w * Gamma().residual_root(f, y)[0]).sum() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("likelihood", "variance"),
    [
        (Gamma(), lambda phi, f: stats.gamma(1 / phi, scale=f * phi).var()),
        (LogNormal(), lambda phi, f: stats.lognorm(np.sqrt(phi), scale=f * np.exp(-phi / 2)).var()),
    ],
)
def test_variance_of_positive_targets_is_that_of_scipy(likelihood, variance):
    f, phi = np.array([[0.5, 20.0], [3.0, 1.0]]), np.array([0.3, 1.2])
    found = likelihood.noise_variance(phi, f)
    np.testing.assert_allclose(found, variance(phi, f))
    distribution = likelihood.distribution(f, np.sqrt(found), np.full(2, np.inf))
    np.testing.assert_allclose(distribution.mean(), f)
    np.testing.assert_allclose(distribution.var(), found)
    draws = likelihood.draw(
        np.repeat(f[..., None], 40_000, axis=2),
        f[..., None],
        np.sqrt(found)[..., None],
        np.full((2, 1), np.inf),
        np.random.RandomState(0),
    )
    np.testing.assert_allclose(draws.mean(axis=2), f, rtol=0.03)
    np.testing.assert_allclose(draws.std(axis=2), np.sqrt(found), rtol=0.1)


@pytest.mark.parametrize("solver", ["lm", "lbfgs"])
def test_gamma_regression_without_hidden_layer_is_scikit_learns(positive, solver):
    X, _, targets = positive
    given = {"solver": solver, "alpha": 0, "tol": 0, "n_iter_no_change": 50}
    model = BackpropRegressor((), loss="gamma", **given).fit(X, targets["gamma"])
    peer = GammaRegressor(alpha=0, tol=1e-10, max_iter=1000)
    expected = peer.fit(X / [1, 1000], targets["gamma"]).predict(X / [1, 1000])
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-5)


@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam"])
def test_lognormal_regression_is_least_squares_of_the_logarithm(positive, solver):
    X, _, targets = positive
    y = targets["lognormal"]
    design = np.column_stack([np.ones(400), X])
    coef, squares, *_ = np.linalg.lstsq(design, np.log(y), rcond=None)
    given = {"solver": solver, "alpha": 0, "tol": 1e-7, "max_iter": 2000, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # at this tol, max_iter may end it
        model = BackpropRegressor((), loss="lognormal", **given).fit(X, y)
    # The mean of y is larger than its median.
    expected = np.exp(design @ coef + squares[0] / 400 / 2)
    rtol = 0.05 if solver == "adam" else 1e-3
    np.testing.assert_allclose(model.predict(X), expected, rtol=rtol)
    noise = squares[0] / 397
    assert 1 / model.noise_precision_[0] == pytest.approx(noise, rel=0.02)
    leverage = np.einsum("ij,ji->i", design, np.linalg.pinv(design))
    if solver == "lm":
        mean, std = model.predict(X, return_std=True)
        variance = mean**2 * (np.expm1(noise) + noise * leverage)
        np.testing.assert_allclose(std, np.sqrt(variance), rtol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["gamma", "lognormal"])
def test_positive_targets_by_default(positive, loss):
    X, mean, targets = positive
    model = BackpropRegressor(loss=loss, random_state=0).fit(X, targets[loss])
    assert np.sqrt(np.mean((model.predict(X) / mean - 1) ** 2)) < 0.15
    low, high = model.predict_interval(X, 0.9).T
    assert 0.86 < np.mean((low < targets[loss]) & (targets[loss] < high)) < 0.95
    assert np.isinf(model.degrees_of_freedom_).all()
    assert (model.predict_quantiles(X, 0.001) > 0).all()
    # In other units nothing changes but the unit, and the density of the log evidence.
    other = BackpropRegressor(loss=loss, random_state=0).fit(X, 1000 * targets[loss])
    np.testing.assert_allclose(other.predict(X), 1000 * model.predict(X), rtol=1e-6)
    np.testing.assert_allclose(other.noise_precision_, model.noise_precision_, rtol=1e-6)
    shift = 400 * np.log(1000)
    np.testing.assert_allclose(other.log_evidence_, model.log_evidence_ - shift, atol=1e-3)
    # A stream and a warm start go on from there.
    before = model.predict(X)
    model.set_params(warm_start=True).fit(X, targets[loss])
    np.testing.assert_allclose(model.predict(X), before, rtol=0.05)
    for _ in range(5):
        model.partial_fit(X, targets[loss])
    assert np.sqrt(np.mean((model.predict(X) / mean - 1) ** 2)) < 0.2


@pytest.mark.parametrize("loss", ["gamma", "lognormal"])
def test_positive_targets_must_be_above_0(positive, loss):
    X, _, targets = positive
    y = targets[loss].copy()
    y[3] = 0
    with pytest.raises(ValueError, match=f"loss='{loss}' requires y > 0; got values down to 0"):
        BackpropRegressor(loss=loss).fit(X, y)


def test_log_evidence_of_lognormal_targets_is_that_of_their_logarithm(positive):
    X, _, targets = positive
    y = targets["lognormal"]
    given = {"hidden_layer_sizes": (), "solver": "lm", "n_networks": 1, "tol": 1e-6}
    model = BackpropRegressor(loss="lognormal", **given).fit(X, y)
    of_log = BackpropRegressor(**given).fit(X, np.log(y))
    # The density of y is that of ln y divided by y; the priors of the biases differ.
    expected = of_log.log_evidence_ - np.log(y).sum()
    np.testing.assert_allclose(model.log_evidence_, expected, atol=6)
