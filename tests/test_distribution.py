"""The predictive distribution: closed forms of scipy, calibration by errors that were left out."""

import pickle
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_diabetes, make_friedman1

from sk_backprop import BackpropRegressor
from sk_backprop._estimator.start import tasks_of
from sk_backprop._estimator.state import fitted_function, predictive_of
from sk_backprop._inference.calibration import LEAST_DOF, Calibration, TailFit, VaryingScale
from sk_backprop._network.network import Network, evaluate
from sk_backprop._training.calibrating import _errors_left_out
from sk_backprop._training.events import Events
from sk_backprop._training.fitting import fit_networks
from sk_backprop._training.problem import Data, prepare

LEVELS = np.array([0.5, 0.8, 0.95])


def coverage(model, X, y):
    """Fractions of y inside the central intervals of `LEVELS`."""
    inside = np.abs(model.predict_dist(X).cdf(y) - 0.5) * 2
    return np.array([np.mean(inside <= level) for level in LEVELS])


# --- the distribution, given its parameters ---


@pytest.fixture(scope="module")
def fitted():
    X, y = load_diabetes(return_X_y=True, scaled=False)
    Y = np.column_stack([y, X[:, 0] - 2 * y])
    return BackpropRegressor((3,), solver="lm", n_networks=2, random_state=0).fit(X, Y), X[:20]


def test_it_is_a_t_distribution_with_the_mean_and_std_of_predict(fitted):
    model, X = fitted
    mean, std = model.predict(X, return_std=True)
    nu, distribution = model.degrees_of_freedom_, model.predict_dist(X)
    expected = stats.t(nu, mean, std * np.sqrt((nu - 2) / nu))
    np.testing.assert_allclose(distribution.mean(), mean)
    np.testing.assert_allclose(distribution.std(), std)
    np.testing.assert_allclose(distribution.logpdf(mean + std), expected.logpdf(mean + std))
    interval = np.moveaxis(model.predict_interval(X, 0.8), -1, 0)
    np.testing.assert_allclose(interval, expected.interval(0.8))
    np.testing.assert_allclose(model.predict_quantiles(X, 0.3), expected.ppf(0.3))
    values = model.predict_quantiles(X, [0.1, 0.5])
    assert values.shape == (20, 2, 2)
    np.testing.assert_allclose(values[..., 1], mean)


def test_draws_have_its_moments_and_are_functions(fitted):
    model, X = fitted
    X = np.vstack([X, X[:1]])
    mean, std = model.predict(X, return_std=True)
    drawn = model.sample_y(X, 4000, random_state=0)
    assert drawn.shape == (21, 2, 4000)
    np.testing.assert_allclose(drawn.mean(axis=-1), mean, atol=5 * std.max(axis=0).max() / 60)
    np.testing.assert_allclose(drawn.std(axis=-1), std, rtol=0.12)
    # Equal rows share the function, and not the noise.
    covariance = np.cov(drawn[0, 0], drawn[20, 0])[0, 1]
    calibration = predictive_of(model, fitted_function(model)).calibration
    assert calibration.varying[0] is None
    factor = calibration.factor[0] * calibration.std_of_unit_scale[0]
    of_mean = std[0, 0] ** 2 - factor**2 / model.noise_precision_[0]
    assert covariance == pytest.approx(of_mean, abs=0.06 * std[0, 0] ** 2)


def test_draws_depend_on_the_seed_alone(fitted):
    model, X = fitted
    first = model.sample_y(X, 3, random_state=1)
    np.testing.assert_array_equal(first, model.sample_y(X, 3, random_state=1))
    assert (first != model.sample_y(X, 3, random_state=2)).all()


@pytest.mark.parametrize("dispersion", [1, 4])
def test_counts_are_negative_binomial_or_poisson(dispersion):
    rng = np.random.RandomState(0)
    X = rng.uniform(size=(400, 2))
    rate = np.exp(1 + X[:, 0])
    y = rng.poisson(rate)
    if dispersion > 1:
        y = rng.negative_binomial(rate / (dispersion - 1), 1 / dispersion)
    model = BackpropRegressor((3,), loss="poisson", solver="lm", random_state=0).fit(X, y)
    mean, std = model.predict(X, return_std=True)
    distribution = model.predict_dist(X)
    np.testing.assert_allclose(distribution.mean(), mean, rtol=1e-6)
    np.testing.assert_allclose(distribution.std(), np.maximum(std, np.sqrt(mean)), rtol=1e-5)
    drawn = model.sample_y(X, 500)
    assert (drawn == np.round(drawn)).all()
    assert (drawn >= 0).all()
    np.testing.assert_allclose(drawn.var(axis=1).mean(), distribution.var().mean(), rtol=0.05)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_dtype_is_that_of_predict(kind):
    X, y = make_friedman1(60, random_state=0)
    model = BackpropRegressor((3,), solver="lm", random_state=0).fit(X.astype(kind), y)
    assert model.predict_interval(X.astype(kind)).dtype == kind


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, X: m.predict_interval(X, 1.0), "coverage must be a number between 0 and 1"),
        (lambda m, X: m.predict_interval(X, [0.5]), r"coverage must be .* got \[0.5\]"),
        (lambda m, X: m.predict_quantiles(X, [0.5, 0]), "quantiles must be a number or a list"),
        (lambda m, X: m.predict_quantiles(X, "median"), "got 'median'"),
        (lambda m, X: m.predict_quantiles(X, []), r"got \[\]"),
        (lambda m, X: m.sample_y(X, 0), "n_samples must be an int >= 1, got 0"),
        (lambda m, X: m.sample_y(X, True), "n_samples must be an int >= 1, got True"),
    ],
)
def test_wrong_arguments(fitted, call, message):
    with pytest.raises(ValueError, match=message):
        call(*fitted)


# --- the fit of scale and tails ---


@pytest.mark.parametrize("nu", [3.5, 8, np.inf])
def test_scale_and_degrees_of_freedom_are_found(nu):
    rng = np.random.default_rng(0)
    of_noise, of_mean, w = rng.uniform(1, 2, 20_000), rng.uniform(0, 1, 20_000), np.ones(20_000)
    tails = stats.norm() if np.isinf(nu) else stats.t(nu)
    errors = 0.4 * np.sqrt(of_noise + of_mean) * tails.rvs(20_000, random_state=1)
    fit = TailFit.of(errors, of_noise, of_mean, w, None)
    assert np.exp(fit.log_factor) == pytest.approx(0.4, rel=0.02)
    assert 1 / fit.dof == pytest.approx(1 / nu, abs=0.015)
    scale = np.exp(fit.log_factor) * np.sqrt(of_noise + of_mean)
    expected = stats.t(fit.dof, scale=scale).logpdf(errors)
    found = fit.log_density(errors, of_noise, of_mean, None)
    # scipy's t is a difference of two large numbers where it is normal.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("with_g", [False, True])
def test_slopes_are_those_of_finite_differences(with_g):
    rng = np.random.default_rng(0)
    errors, g = rng.standard_t(4, 200), rng.normal(size=200) if with_g else None
    rows = errors, rng.uniform(1, 2, 200), rng.uniform(0, 1, 200), g
    at = np.array([-0.3, 0.15, 0.7])  # ln c, 1 / nu, strength

    def log_density(free):
        return TailFit(free[0], free[2], 1 / free[1]).log_density(*rows)

    slopes = TailFit(at[0], at[2], 1 / at[1])._slopes(*rows)
    assert len(slopes) == 2 + with_g
    for slope, unit in zip(slopes, np.eye(3)):
        difference = (log_density(at + 1e-6 * unit) - log_density(at - 1e-6 * unit)) / 2e-6
        np.testing.assert_allclose(slope, difference, rtol=1e-5, atol=1e-7)


def test_errors_of_a_linear_model_are_those_without_the_row():
    # By a naive loop: the optimum without each row, under the same penalty and noise.
    X, y = make_friedman1(60, n_features=5, noise=1.0, random_state=0)
    data = Data(X, y[:, None])
    estimator = BackpropRegressor((), solver="lm", random_state=0)
    (task,) = tasks_of(estimator, data, None)
    problem = prepare(task.plan.settings, data, None)
    blend = fit_networks(task.plan, problem, None, np.random.RandomState(0), None, Events())
    rows = np.arange(60)
    errors, moments = _errors_left_out(blend, rows)
    (network,) = blend.networks
    design, target = problem.rows.X, problem.rows.y[:, 0]  # the last column is that of ones
    prior, noise = network.posterior.prior[0], network.posterior.noise[0]
    for i in rows:
        others = rows != i
        A = design[others].T @ design[others] / noise + np.diag(prior)
        theta = np.linalg.solve(A, design[others].T @ target[others] / noise)
        assert errors[i, 0] == pytest.approx(target[i] - design[i] @ theta, rel=1e-4, abs=1e-6)
        variance = design[i] @ np.linalg.solve(A, design[i])
        assert moments.of_mean[i, 0] == pytest.approx(variance, rel=1e-6)


def test_weights_are_counts():
    rng = np.random.default_rng(0)
    errors, w = rng.standard_t(4, 500), rng.integers(1, 4, 500)
    rows = np.repeat(np.arange(500), w)
    ones = np.ones(len(rows))
    weighted = TailFit.of(errors, ones[:500], 0 * errors, w.astype(float), None)
    repeated = TailFit.of(errors[rows], ones, 0 * ones, ones, None)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-4)


def test_the_strength_of_a_varying_scale_is_found():
    rng = np.random.default_rng(0)
    g, ones = rng.normal(size=20_000), np.ones(20_000)
    errors = np.exp(0.6 * g) * rng.normal(size=20_000)
    assert TailFit.of(errors, ones, 0 * ones, ones, g).strength == pytest.approx(0.6, rel=0.03)
    assert TailFit.of(errors, ones, 0 * ones, ones, -g).strength == 0


def test_a_varying_scale_is_a_network_within_its_limits():
    rng = np.random.default_rng(0)
    coefs, intercepts = [rng.normal(size=(2, 3)), rng.normal(size=(3, 1))], [np.zeros(3), [0.1]]
    g = VaryingScale(coefs, [np.asarray(b) for b in intercepts], -0.5, 0.5)
    X = np.column_stack([rng.normal(size=(50, 2)), np.ones(50)])
    outputs = evaluate(Network((2, 3, 1), "logistic", "identity"), coefs, g.intercepts, X)[:, 0]
    np.testing.assert_allclose(g(X), np.clip(outputs, -0.5, 0.5))
    np.testing.assert_allclose(g.times(2.0)(X), 2 * g(X))
    calibration = Calibration(np.array([3.0]), np.array([5.0]), [g])
    found = calibration.variance(X, np.full((50, 1), 4.0), np.full((50, 1), 2.0))
    np.testing.assert_allclose(found[:, 0], 9 * (4 * np.exp(2 * g(X)) + 2))


# --- what a fit finds ---


def noisy(kind, n_samples=1000, seed=0):
    """X, y with noise of the kind, and its scale at X."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 1, (n_samples, 3))
    f = 3 * X[:, 0] + np.sin(4 * X[:, 1])
    scale = {
        "constant": np.full(n_samples, 0.5),
        "heavy": np.full(n_samples, 0.3),
        "rising": 0.05 + X[:, 0],
        "step": np.where(X[:, 2] > 0.5, 0.8, 0.2),
    }[kind]
    noise = rng.standard_t(3, n_samples) if kind == "heavy" else rng.normal(size=n_samples)
    return X, f + scale * noise, scale


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rising", "step"])
def test_noise_that_varies_is_found(kind):
    X, y, _ = noisy(kind)
    X_new, y_new, scale = noisy(kind, 4000, seed=1)
    model = BackpropRegressor(random_state=0).fit(X, y)
    assert model.noise_ == "varying"
    std = model.predict(X_new, return_std=True)[1]
    assert np.corrcoef(np.log(std), np.log(scale))[0, 1] > 0.9
    quartile = np.digitize(std, np.quantile(std, [0.25, 0.5, 0.75]))
    for number in range(4):
        own = quartile == number
        assert 0.91 < coverage(model, X_new[own], y_new[own])[2] < 0.98
    plain = BackpropRegressor(random_state=0, noise="constant").fit(X, y)
    assert plain.noise_ == "constant"
    gain = model.predict_dist(X_new).logpdf(y_new) - plain.predict_dist(X_new).logpdf(y_new)
    assert gain.mean() > 0.1
    np.testing.assert_array_equal(model.predict(X_new), plain.predict(X_new))


@pytest.mark.slow
def test_noise_that_does_not_vary_is_left_constant():
    X, y, _ = noisy("constant")
    X_new, y_new, _ = noisy("constant", 4000, seed=1)
    model = BackpropRegressor(random_state=0).fit(X, y)
    assert model.noise_ == "constant"
    assert model.degrees_of_freedom_[0] > 20
    np.testing.assert_allclose(coverage(model, X_new, y_new), LEVELS, atol=0.03)
    assert model.noise_precision_[0] == pytest.approx(1 / 0.5**2, rel=0.15)


@pytest.mark.slow
def test_heavy_tails_are_found():
    X, y, _ = noisy("heavy")
    X_new, y_new, _ = noisy("heavy", 4000, seed=1)
    model = BackpropRegressor(random_state=0).fit(X, y)
    assert LEAST_DOF <= model.degrees_of_freedom_[0] < 6
    np.testing.assert_allclose(coverage(model, X_new, y_new), LEVELS, atol=0.03)


def test_each_target_has_its_own_noise():
    X, y, _ = noisy("rising")
    other = noisy("heavy")[1]
    model = BackpropRegressor((5,), solver="lm", random_state=0).fit(X, np.column_stack([y, other]))
    calibration = model._fit_state["calibration"]
    assert [g is None for g in calibration["varying"]] == [False, True]
    assert model.degrees_of_freedom_[1] < 6 < model.degrees_of_freedom_[0]


@pytest.mark.parametrize("n_samples", [8, 10, 25])
def test_few_rows_have_the_t_distribution_of_their_degrees_of_freedom(n_samples):
    covered = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, x_new = rng.normal(size=(n_samples, 1)), rng.normal(size=(100, 1))
        model = BackpropRegressor((), solver="lm", alpha=0, random_state=0)
        model.fit(x, 2 * x[:, 0] + rng.normal(size=n_samples))
        np.testing.assert_allclose(model.degrees_of_freedom_, n_samples - 2)
        low, high = model.predict_interval(x_new).T
        y_new = 2 * x_new[:, 0] + rng.normal(size=100)
        covered.append(np.mean((low < y_new) & (y_new < high)))
    assert 0.92 < np.mean(covered) < 0.98


@pytest.mark.slow
def test_a_unit_of_y_and_its_sign_change_nothing_but_the_unit():
    X, y, _ = noisy("rising", 300)
    first, second = (BackpropRegressor(random_state=0).fit(X, s * y) for s in (1, -8))
    np.testing.assert_allclose(second.degrees_of_freedom_, first.degrees_of_freedom_, rtol=1e-3)
    for one, other in zip(first.predict(X, True), second.predict(X, True)):
        np.testing.assert_allclose(np.abs(other), 8 * np.abs(one), rtol=1e-4)


def test_it_is_kept_in_a_pickle_and_calibrated_anew_by_a_warm_start():
    X, y, _ = noisy("rising", 600)
    model = BackpropRegressor((5,), solver="lm", random_state=0, warm_start=True).fit(X, y)
    assert model.noise_ == "varying"
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict_interval(X), model.predict_interval(X))
    model.set_params(noise="constant").fit(X, y)
    assert model.noise_ == "constant"
    model.set_params(warm_start=False, noise="varying").fit(X, noisy("constant", 600)[1])
    assert model.noise_ == "varying"


def test_varying_is_taken_where_it_can_be_and_said_where_it_cannot():
    X, y = make_friedman1(100, n_features=40, random_state=0)
    lm = BackpropRegressor((), solver="lm", noise="varying", random_state=0)
    assert lm.fit(X, y).noise_ == "varying"  # whatever it costs
    for model, rows in ((lm, 49), (clone(lm).set_params(alpha=1.0), 100)):
        with pytest.warns(UserWarning, match="noise='varying' has no effect: it takes 50 distinct"):
            model.fit(X[:rows, :3], y[:rows])
        assert model.noise_ == "constant"


@pytest.mark.parametrize("unit", [1e-300, 1e300])
def test_at_the_limits_of_float64_predictions_keep_their_shape(unit):
    X, y, _ = noisy("rising", 100)
    expected = BackpropRegressor((3,), solver="lm", n_networks=1, random_state=0).fit(X, y)
    model = clone(expected).fit(unit * X, unit * y)
    interval = model.predict_interval(unit * X)
    np.testing.assert_allclose(interval / unit, expected.predict_interval(X), rtol=1e-3)


def test_a_stream_is_normal():
    X, y, _ = noisy("rising", 300)
    model = BackpropRegressor((5,), random_state=0).partial_fit(X, y)
    assert model.noise_ == "constant"
    assert np.isinf(model.degrees_of_freedom_).all()
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(model.predict_dist(X).pdf(y), stats.norm(mean, std).pdf(y))


@pytest.mark.slow
@pytest.mark.parametrize("n_samples", [8, 10, 25])
def test_few_rows_are_covered_by_default(n_samples):
    covered = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, X_new = rng.normal(size=(n_samples, 2)), rng.normal(size=(50, 2))
        function = [np.sum, lambda X, axis: np.sin(2 * X[:, 0]) + X[:, 1]][seed % 2]
        y = function(X, axis=1) + 0.3 * rng.normal(size=n_samples)
        y_new = function(X_new, axis=1) + 0.3 * rng.normal(size=50)
        with warnings.catch_warnings():
            # For some of these tables, fit warns that few rows are left for the noise; the
            # intervals must cover even so.
            warnings.filterwarnings("ignore", "The networks use", UserWarning)
            model = BackpropRegressor(random_state=0).fit(X, y)
        low, high = model.predict_interval(X_new, 0.95).T
        covered.append(np.mean((low < y_new) & (y_new < high)))
    assert 0.9 <= np.mean(covered) <= 0.98
