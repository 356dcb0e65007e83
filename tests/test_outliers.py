"""Gross errors in y: a t likelihood, and rows that the defaults leave out."""

import pickle
import warnings

import numpy as np
import pytest
from cases import every_pair, slow
from scipy import stats
from scipy.optimize import minimize
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV

from sk_backprop import BackpropRegressor
from sk_backprop._network.families import StudentT
from sk_backprop._training.outliers import _GAP, gap_in

# --- the t likelihood ---


@pytest.mark.parametrize("scale", [1.0, np.array([0.3, 2.0])])
def test_loss_is_the_log_density_of_a_t_distribution(scale):
    rng = np.random.RandomState(0)
    f, y, w = rng.randn(2, 7), 3 * rng.randn(2, 7), rng.uniform(1, 2, (1, 7))
    unit = np.broadcast_to(scale, 2)[:, None]
    at = stats.t(4, scale=unit)
    expected = unit**2 * (at.logpdf(0) - at.logpdf(f - y))
    losses, rho, root = StudentT(scale).residual_root(f, y)
    np.testing.assert_allclose(losses, expected)
    np.testing.assert_allclose(root**2, 5 / (4 + ((f - y) / unit) ** 2))
    np.testing.assert_allclose(rho, root * (f - y))
    total = StudentT(scale).loss_gradient(f, y, w, np.empty((2, 7)), np.empty((2, 7)))
    assert total == pytest.approx((w * expected).sum())
    alone = StudentT(scale).of_output(1).residual_root(f[1:], y[1:])[0]
    np.testing.assert_allclose(alone, expected[1:])


@pytest.mark.parametrize("gross", [0, 20])
def test_scale_is_the_most_likely_one(gross):
    rng = np.random.RandomState(0)
    errors, w = rng.standard_t(4, (300, 1)) * 0.2, rng.uniform(0.5, 2, 300)
    errors[:gross] += 1e6
    found = StudentT().noise_of(errors.T, np.zeros_like(errors.T), w)

    def loss(log_scale):
        return -w @ stats.t(4, scale=np.exp(log_scale[0])).logpdf(errors[:, 0])

    scale = np.exp(minimize(loss, [0.0], method="Nelder-Mead", options={"xatol": 1e-8}).x[0])
    np.testing.assert_allclose(np.sqrt(found), scale, rtol=1e-4)
    weights = StudentT().row_weights(errors**2, w)[:, 0]
    np.testing.assert_allclose(weights, 5 / (4 + (errors[:, 0] / scale) ** 2), rtol=1e-3)


def test_coordinates_of_y_are_those_of_a_t_distribution_fitted_to_it():
    rng = np.random.RandomState(0)
    y = np.column_stack([5 + rng.standard_t(4, 500), np.zeros(500)])
    y[:3], y[:3, 1] = 1e5, 1.0
    unit, w = np.array([100.0, 1.0]), np.ones(500)
    mean, var = (y / unit).mean(axis=0), (y / unit).var(axis=0)
    found_mean, found_var = StudentT().mean_and_variance(y, unit, w, mean, var)
    _, centre, scale = stats.t.fit(y[:, 0], fdf=4)
    assert found_mean[0] * 100 == pytest.approx(centre, rel=1e-3)
    assert np.sqrt(found_var[0] / 2) * 100 == pytest.approx(scale, rel=1e-3)
    # Most values are equal: the coordinates of squared errors.
    assert (found_mean[1], found_var[1]) == (mean[1], var[1])


def test_the_loss_changes_with_the_noise_only_if_that_differs():
    likelihood = StudentT(np.array([1.0, 2.0]))
    assert likelihood.at_noise(np.array([1.001, 4.001])) is likelihood
    assert likelihood.at_noise(np.array([np.nan, 4.0])) is likelihood
    np.testing.assert_allclose(likelihood.at_noise(np.array([1.0, 9.0])).scale, [1.0, 3.0])


@pytest.fixture(scope="module")
def line():
    """A line with gross errors, and its most likely coefficients under a t distribution."""
    rng = np.random.RandomState(0)
    X = rng.randn(200, 2) * [3, 0.1]
    y = 10 + X @ [2, -50] + 0.5 * rng.standard_t(4, 200)
    y[::20] += 100

    def loss(free):
        return -stats.t(4, free[:1] + X @ free[1:3], np.exp(free[3])).logpdf(y).sum()

    start = [np.median(y), 0, 0, 1]
    options = {"xatol": 1e-9, "fatol": 1e-9, "maxiter": 10_000, "maxfev": 10_000}
    return X, y, minimize(loss, start, method="Nelder-Mead", options=options).x


@pytest.mark.parametrize(
    ("solver", "rtol"),
    [("lm", 2e-3), ("lbfgs", 2e-3), ("adam", 0.03), ("sgd", 0.03), ("muon", 0.03)],
)
def test_every_solver_finds_the_most_likely_line(line, solver, rtol):
    X, y, (intercept, *slopes, log_scale) = line
    given = {"tol": 1e-6, "max_iter": 1000, "weight_decay": 0, "random_state": 0}
    if solver == "sgd":
        given["learning_rate_init"] = 0.02
    model = BackpropRegressor((), solver=solver, alpha=0, loss="student_t", **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # at a tol of 1e-6, max_iter may end it
        model.fit(X, y)
    np.testing.assert_allclose(model.raw_coefs_[0][:, 0], slopes, rtol=rtol)
    np.testing.assert_allclose(model.raw_intercepts_[0], intercept, rtol=rtol)
    # 200 rows, less three parameters.
    scale = np.exp(log_scale) * np.sqrt(200 / 197)
    assert 1 / np.sqrt(model.noise_precision_[0]) == pytest.approx(scale, rel=max(rtol, 0.01))
    assert set(np.arange(0, 200, 20)) <= set(model.outliers_)


def test_few_rows_have_the_degrees_of_freedom_of_the_noise():
    X, y = np.arange(30.0)[:, None], np.arange(30.0) % 7
    model = BackpropRegressor((), solver="lm", loss="student_t", random_state=0).fit(X, y)
    assert model.degrees_of_freedom_ == pytest.approx([4])
    scale = model.predict(X[:1], return_std=True)[1] / np.sqrt(2)
    half = np.diff(model.predict_interval(X[:1], 0.9))[0, 0] / 2
    assert half == pytest.approx(scale[0] * stats.t(4).ppf(0.95))


@pytest.mark.parametrize("solver", ["muon", "sgd"])
def test_a_stream_keeps_the_scale_of_its_noise(line, solver):
    X, y, _ = line
    model = BackpropRegressor((), solver=solver, loss="student_t", random_state=0)
    rng = np.random.RandomState(1)
    for _ in range(120):
        X_new = rng.randn(100, 2) * [3, 0.1]
        y_new = 10 + X_new @ [2, -50] + 0.5 * rng.standard_t(4, 100)
        y_new[:3] += 1000 * rng.randn(3)
        model.partial_fit(X_new, y_new)
    error = model.predict(X) - 10 - X @ [2, -50]
    assert np.sqrt(np.mean(error**2)) < 0.1  # 9 with squared errors
    assert 1 / np.sqrt(model.noise_precision_[0]) == pytest.approx(0.5, rel=0.3)
    assert len(model.outliers_) == 0
    again = pickle.loads(pickle.dumps(model)).partial_fit(X, y)
    np.testing.assert_array_equal(again.predict(X), model.partial_fit(X, y).predict(X))


def test_two_targets_have_scales_of_their_own():
    X, y = make_friedman1(200, random_state=0)
    Y = np.column_stack([y, 1000 * y + 5000 * np.random.RandomState(0).standard_t(4, 200)])
    Y[3, 0] += 1e6
    model = BackpropRegressor((5,), solver="lm", loss="student_t", random_state=0)
    model.fit(X, Y)
    assert list(model.outliers_) == [3]
    np.testing.assert_allclose(1 / np.sqrt(model.noise_precision_[1]), 5000, rtol=0.3)


# --- the gap ---


def naive_limit(residuals):
    """As `gap_in`, of rows of weight 1."""
    n, sizes = len(residuals), np.sort(residuals)[::-1]
    unit, limit = 1.4826 * np.sort(residuals)[(n - 1) // 2], np.inf
    for j in range(1, n // 10 + 1):
        apart = sizes[(j + 1) // 2 - 1] > _GAP * sizes[2 * j]
        if sizes[j - 1] > 8 * unit and apart:
            limit = (sizes[j - 1] + sizes[j]) / 2
    return limit


@pytest.mark.parametrize("n_outliers", [0, 1, 2, 5, 12])
@pytest.mark.parametrize("n_rows", [40, 100, 333])
def test_the_gap_is_where_a_loop_finds_it(n_rows, n_outliers):
    rng = np.random.RandomState(n_rows + n_outliers)
    residuals = np.abs(rng.randn(n_rows))
    residuals[:n_outliers] *= 100
    w = np.ones(n_rows)
    assert gap_in(residuals, w)[0] == pytest.approx(naive_limit(residuals))
    # Weight 2 equals repeating the row.
    assert gap_in(residuals, 2 * w)[0] == pytest.approx(naive_limit(residuals))


@pytest.mark.parametrize(
    "distribution",
    [stats.t(1.5), stats.lognorm(1.5), stats.expon, stats.gamma(0.3), stats.pareto(1.5)],
    ids=["t", "lognormal", "exponential", "gamma", "Pareto"],
)
def test_tails_have_no_gap(distribution):
    # The quantiles of a large sample.
    sizes = distribution.ppf(1 - (np.arange(4000) + 0.5) / 4000)
    assert gap_in(np.abs(sizes - np.median(sizes)), np.ones(4000)) == (np.inf, 0.0)


# --- rows that are left out ---


def linear_table(n_rows, share, *, two_sided=False, seed=2):
    """A line, gross errors of up to 120 standard deviations, and new rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 4)) * [3, 10, 1, 6]
    f = 2.5 + 2.5 * X[:, 0] + 0.4 * X[:, 1]
    bad = rng.random(n_rows) < share
    sign = rng.choice([-1, 1], n_rows) if two_sided else 1
    y = f + 0.5 * rng.normal(size=n_rows) + np.where(bad, sign * 60 * rng.random(n_rows), 0)
    X_new = rng.normal(size=(1000, 4)) * [3, 10, 1, 6]
    return X, y, bad, X_new, 2.5 + 2.5 * X_new[:, 0] + 0.4 * X_new[:, 1]


def rmse(model, X, f):
    return np.sqrt(np.mean((model.predict(X) - f) ** 2))


def fitted(X, y, **parameters):
    with warnings.catch_warnings():
        # These tests are about rows that are left out, or that harm a fit which keeps them.
        warnings.filterwarnings("ignore", "y is far|A single row", UserWarning)
        return BackpropRegressor(random_state=0, **parameters).fit(X, y)


def test_gross_errors_are_left_out_and_listed():
    X, y, bad, X_new, f_new = linear_table(1000, 0.005)
    model = BackpropRegressor(random_state=0)
    with pytest.warns(UserWarning, match="leaves them out, and `outliers_` lists them") as caught:
        model.fit(X, y)
    assert len(caught) == 1
    assert f"in {len(model.outliers_)} of 1000 rows" in str(caught[0].message)
    assert rmse(model, X_new, f_new) < 0.1  # 3.9 with them, .16 by RidgeCV
    assert 3 <= len(model.outliers_) == bad[model.outliers_].sum()
    robust = BackpropRegressor(loss="student_t", random_state=0).fit(X, y)  # without a warning
    assert rmse(robust, X_new, f_new) < 0.1
    assert set(model.outliers_) <= set(robust.outliers_)


@pytest.mark.slow
def test_a_typing_error_is_left_out():
    X, y = make_friedman1(200, noise=1.0, random_state=0)
    X_new, f_new = make_friedman1(1000, noise=0.0, random_state=1)
    y[7] += 1000
    model = fitted(X, y)
    assert list(model.outliers_) == [7]
    assert rmse(model, X_new, f_new) < 1.25


@pytest.mark.slow
def test_numbers_of_outliers_are_those_of_the_rows_given():
    X, y = make_friedman1(200, noise=1.0, random_state=0)
    y[7] += 1000
    weights = np.ones(200)
    weights[:5] = 0
    with pytest.warns(UserWarning, match="1 of 195 rows"):
        model = BackpropRegressor(random_state=0).fit(X, y, sample_weight=weights)
    assert list(model.outliers_) == [7]
    np.testing.assert_array_equal(fitted(X[::-1], y[::-1]).outliers_, [192])
    assert len(fitted(X, np.where(np.arange(200) == 7, y - 1000, y)).outliers_) == 0


@pytest.mark.slow
def test_a_warm_start_leaves_out_what_the_first_fit_did():
    X, y, _, X_new, f_new = linear_table(300, 0.02)
    model = fitted(X, y, warm_start=True)
    first = model.outliers_
    assert len(first) > 0
    with pytest.warns(UserWarning, match="leaves them out"):
        model.fit(X, y)
    np.testing.assert_array_equal(model.outliers_, first)
    assert rmse(model, X_new, f_new) < 0.15


def test_rare_events_are_no_errors():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 4)), np.zeros(200)
    y[[3, 77]] = 1
    model = fitted(X, y)
    assert len(model.outliers_) == 0
    mean, std = model.predict(rng.normal(size=(500, 4)), return_std=True)
    assert np.abs(mean - 0.01).max() < 0.1
    np.testing.assert_allclose(std, 0.0995, rtol=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["corner", *slow(["spike", "rare category"])])
def test_a_part_of_the_function_is_no_error(case):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 4))
    if case == "corner":
        y = X[:, 0] + 20.0 * ((X[:, 0] > 1) & (X[:, 1] > 1))
    elif case == "spike":
        X = rng.uniform(-3, 3, size=(1000, 1))
        y = np.sin(X[:, 0]) + 5 * np.exp(-(((X[:, 0] - 1) / 0.05) ** 2))
    else:
        X[:, 3] = rng.random(1000) < 0.02
        y = X[:, 0] + 30 * X[:, 3]
    model = fitted(X, y + 0.1 * rng.normal(size=1000))
    assert len(model.outliers_) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "seed"), [("lognormal", 0), ("lognormal", 1), ("gamma", 2)])
def test_the_mean_of_skewed_noise_is_kept(noise, seed):
    rng = np.random.default_rng(seed)
    X, X_new = rng.uniform(1, 2, size=(2, 2000, 3))
    factor = {"lognormal": rng.lognormal(-0.5, 1, 2000), "gamma": rng.gamma(0.5, 2, 2000)}[noise]
    model = fitted(X, 10 * X[:, 0] * factor)
    assert len(model.outliers_) == 0
    given = fitted(X, 10 * X[:, 0] * factor, solver="lm")  # which never leaves rows out
    assert np.mean(model.predict(X_new)) == pytest.approx(np.mean(given.predict(X_new)), rel=0.02)


@pytest.mark.slow
def test_one_of_few_values_is_no_error():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = np.round(X[:, 0])
    y[5] = 40.0
    assert len(fitted(X, y).outliers_) == 0


def test_tables_for_which_no_rows_are_left_out():
    X, y, *_ = linear_table(300, 0.01)
    for parameters in ({"solver": "lm"}, {"hidden_layer_sizes": (3,)}, {"alpha": 1.0}):
        assert len(fitted(X, y, **parameters).outliers_) == 0
    assert len(BackpropRegressor(random_state=0).partial_fit(X, y).outliers_) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_rows", "share", "two_sided"),
    [
        *every_pair([100, 300], [0.002, 0.01, 0.05], [False, True]),
        # More than the rows that the robust fit looks at.
        *[(5000, 0.002, False), (5000, 0.05, True)],
    ],
)
def test_a_contaminated_line_is_found_as_well_as_a_clean_one(n_rows, share, two_sided):
    X, y, bad, X_new, f_new = linear_table(n_rows, share, two_sided=two_sided, seed=n_rows)
    if not bad.any():
        bad[0], y[0] = True, y[0] + 50
    clean = fitted(X[~bad], y[~bad])
    assert rmse(fitted(X, y), X_new, f_new) <= 1.5 * rmse(clean, X_new, f_new)


def fares(seed, n_rows=1200):
    """Fares by distance, minutes, passengers and hour, with rare tips and typing errors."""
    rng = np.random.default_rng(seed)
    distance, speed = rng.lognormal(1, 0.8, n_rows), rng.uniform(10, 30, n_rows)
    hour = rng.integers(0, 24, n_rows)
    X = np.column_stack([distance, 60 * distance / speed, rng.integers(1, 5, n_rows), hour])
    fare = 2.5 + 1.56 * X[:, 0] + 0.5 * X[:, 1] + 1.0 * ((hour >= 20) | (hour < 6))
    fare[distance > 15] = 52.0  # to the airport
    fare = np.round(fare + 0.5 * rng.normal(size=n_rows), 2)
    fare += np.where(rng.random(n_rows) < 0.01, rng.choice([10, 20, 50], n_rows), 0)
    fare *= np.where(rng.random(n_rows) < 0.003, 10, 1)
    return X, fare


@pytest.mark.slow
def test_fares_with_tips_and_typing_errors():
    X, y = fares(0)
    part, ours, ridge = np.random.default_rng(1).permutation(len(y)) % 5, [], []
    for number in range(3):
        kept, new = part != number, part == number
        ours.append(fitted(X[kept], y[kept]).score(X[new], y[new]))
        ridge.append(RidgeCV(np.logspace(-3, 3, 7)).fit(X[kept], y[kept]).score(X[new], y[new]))
    assert np.mean(ours) >= np.mean(ridge)
