"""Laplace's approximation: closed forms, shapes and units, and how often intervals cover."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from cases import slow
from likelihoods import likelihood
from scipy import stats
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import BayesianRidge

from sk_backprop import BackpropRegressor
from sk_backprop._coordinates.scales import CentredSparse
from sk_backprop._estimator.checks import _MOST_WEIGHT
from sk_backprop._inference import evidence as _evidence
from sk_backprop._inference.evidence import Precisions, WeightGroups, factor
from sk_backprop._inference.factors import CholeskyFactor
from sk_backprop._inference.laplace import (
    Posterior,
    laplace,
    outputs_and_variances,
    residuals_suffice,
)
from sk_backprop._inference.objective import Objective
from sk_backprop._network.dispersion import HeldOutNoise
from sk_backprop._network.families import Poisson, SquaredError
from sk_backprop._network.network import Network, evaluate, lecun_bound, own_features

SOLVERS = ["lm", "lbfgs", "adam", "sgd"]


def regressor(**params):
    defaults = {"hidden_layer_sizes": (5,), "n_networks": 1, "max_iter": 3000, "random_state": 0}
    return BackpropRegressor(**{**defaults, **params})


@pytest.fixture(scope="module")
def friedman():
    return make_friedman1(150, n_features=5, noise=1.0, random_state=0)


def scale(model, X):
    """Scale of the t distribution: that of normal noise of known variance."""
    dof = model.degrees_of_freedom_
    return model.predict(X, return_std=True)[1] * np.sqrt((dof - 2) / dof)


# --- linear models ---


@pytest.fixture(scope="module")
def linear():
    rng = np.random.RandomState(0)
    X = 5 + rng.randn(40, 3) * [1, 10, 0.1]
    return X, X @ [1, 0.3, -5] + 2 * rng.randn(40) + 30, 5 + 3 * rng.randn(20, 3) * [1, 10, 0.1]


def converged(X, y, **params):
    return regressor(hidden_layer_sizes=(), tol=0, n_iter_no_change=50, **params).fit(X, y)


def test_std_of_a_linear_model_is_that_of_bayesian_ridge(linear):
    X, y, Xt = linear
    center, spread = X.mean(axis=0), X.std(axis=0)
    shape, rate = _evidence._SHAPE, _evidence._RATE
    theirs = BayesianRidge(
        alpha_1=shape,
        alpha_2=len(y) * _evidence.LEAST_NOISE**2 / 2,
        lambda_1=shape,
        lambda_2=rate,
        tol=1e-14,
        max_iter=10_000,
    ).fit((X - center) / spread, (y - y.mean()) / y.std())
    mean, std = theirs.predict((Xt - center) / spread, return_std=True)
    ours = converged(X, y, solver="lm", weight_groups="layer")
    np.testing.assert_allclose(ours.predict(Xt), y.mean() + y.std() * mean, rtol=1e-7)
    # Theirs knows the intercept exactly; ours is held at zero by a precision of 1e7. Our t
    # distribution takes one degree of freedom off for the mean of y.
    dof = ours.residual_dof_[0]
    assert ours.degrees_of_freedom_ == pytest.approx([dof - 1])
    std *= np.sqrt(dof / (dof - 1))
    np.testing.assert_allclose(scale(ours, Xt), y.std() * std, rtol=1e-6)


@pytest.mark.parametrize("solver", ["lm", "lbfgs"])
def test_std_of_ordinary_least_squares(linear, solver):
    X, y, Xt = linear
    model = converged(X, y, solver=solver, alpha=0)
    design, at = (np.column_stack([np.ones(len(Z)), Z]) for Z in (X, Xt))
    coef, squares, *_ = np.linalg.lstsq(design, y, rcond=None)
    variance = squares[0] / (40 - 4)
    leverage = np.einsum("ij,jk,ik->i", at, np.linalg.inv(design.T @ design), at)
    std = np.sqrt(variance * (1 + leverage))
    np.testing.assert_allclose(model.predict(Xt), at @ coef, rtol=1e-7)
    np.testing.assert_allclose(scale(model, Xt), std, rtol=1e-6)
    # With the noise unknown, new observations have a t distribution.
    theirs = stats.t(40 - 4, at @ coef, std).interval(0.9)
    np.testing.assert_allclose(model.predict_interval(Xt, 0.9).T, theirs, rtol=1e-5)
    assert model.noise_precision_[0] == pytest.approx(1 / variance, rel=1e-7)
    assert model.n_effective_params_ == pytest.approx([4])


def test_std_of_ridge_regression(linear):
    # With the penalty in the solver's coordinates, and the intercept free.
    X, y, Xt = linear
    alpha = 7.0
    model = converged(X, y, solver="lm", alpha=alpha)
    center, spread = X.mean(axis=0), X.std(axis=0)
    Z, at, t = (X - center) / spread, (Xt - center) / spread, y - y.mean()
    A = Z.T @ Z + alpha * np.eye(3)
    coef = np.linalg.solve(A, Z.T @ t)
    gamma = 1 + np.trace(np.linalg.solve(A, Z.T @ Z))
    variance = np.sum((t - Z @ coef) ** 2) / (40 - gamma)
    leverage = 1 / 40 + np.einsum("ij,jk,ik->i", at, np.linalg.inv(A), at)
    np.testing.assert_allclose(model.predict(Xt), y.mean() + at @ coef, rtol=1e-9)
    np.testing.assert_allclose(scale(model, Xt), np.sqrt(variance * (1 + leverage)), rtol=1e-9)
    assert model.n_effective_params_ == pytest.approx([gamma])


def test_weights_are_counts(linear):
    X, y, Xt = linear
    counts = np.arange(40) % 3
    weighted = regressor(solver="adam", shuffle=False, batch_size=1000, max_iter=100, tol=0)
    with pytest.warns(ConvergenceWarning):
        weighted.fit(X, y, sample_weight=counts)
    rows = np.repeat(np.arange(40), counts)
    repeated = regressor(solver="adam", shuffle=False, batch_size=1000, max_iter=100, tol=0)
    with pytest.warns(ConvergenceWarning):
        repeated.fit(X[rows], y[rows])
    ours, theirs = (m.predict(Xt, return_std=True)[1] for m in (weighted, repeated))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


# --- networks ---


def network_problem(hidden, activation, output="identity", n_outputs=2):
    rng = np.random.RandomState(0)
    network = Network((3, *hidden, n_outputs), activation, output)
    params = network.initial_parameters(rng, float, lecun_bound)
    X, y = rng.randn(60, 3), rng.uniform(0.1, 1, (60, n_outputs))
    loss = "poisson" if output == "exp" else "squared_error"
    return (
        network,
        params,
        Objective(network, likelihood(loss, network), X, y),
        rng.randn(5, 3),
    )


def gradients(network, params, X, which=slice(None)):
    """df/dtheta by central differences, (n_rows, n_outputs, n_params)."""
    columns = []
    for unit in 1e-6 * np.eye(network.n_params)[which]:
        ahead, behind = (network.parameters(params.flat + d) for d in (unit, -unit))
        change = evaluate(network, ahead.coefs, ahead.intercepts, X) - evaluate(
            network, behind.coefs, behind.intercepts, X
        )
        columns.append(change / 2e-6)
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("output", ["identity", "logistic", "exp"])
@pytest.mark.parametrize("activation", ["tanh", "logistic"])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)], ids=str)
def test_variance_is_the_gradients_quadratic_form(hidden, activation, output):
    network, params, objective, Xt = network_problem(hidden, activation, output)
    normal = objective.normal_equations(params)
    groups = WeightGroups.of(network, per_input=False)
    precisions = Precisions(np.linspace(0.5, 2, len(groups.names)), np.array([3.0, 0.7]))
    A = sum(
        beta * (np.tril(H) + np.tril(H, -1).T)
        for beta, H in zip(precisions.noise, normal.curvature, strict=True)
    ) + np.diag(precisions.weight[groups.index])
    L = factor(normal, groups, precisions)
    posterior = Posterior("all", [CholeskyFactor.of(L)], 1 / precisions.noise, np.zeros(2), [])
    g = gradients(network, params, Xt)
    expected = np.einsum("ikp,pq,ikq->ik", g, np.linalg.inv(A), g)
    np.testing.assert_allclose(posterior.variance(network, params, Xt), expected, rtol=1e-6)


@pytest.mark.parametrize("output", ["identity", "logistic", "exp"])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)], ids=str)
def test_variance_of_the_last_layer_is_that_of_a_linear_model_of_its_units(hidden, output):
    network, params, objective, Xt = network_problem(hidden, "tanh", output)
    alpha = 0.8
    posterior = laplace("last_layer", objective, params, alpha)
    found = posterior.variance(network, params, Xt)
    number = network.parameters(np.arange(network.n_params))
    for k in range(2):
        own = np.append(number.coefs[-1][:, k], number.intercepts[-1][k])
        X, y = objective._rows.X, objective._rows.y[:, k]
        g = gradients(network, params, X, own)[:, k]
        f = evaluate(network, params.coefs, params.intercepts, X)[:, k]
        # Squared error: (f - y)^2. Poisson: Fletcher's X^2, and Fisher's information 1 / f.
        if output == "exp":
            H = (g / f[:, None]).T @ g
            pearson = np.sum((f - y) ** 2 / f) / max(np.mean(y / f), 0.5)
        else:
            H = g.T @ g
            pearson = np.sum((f - y) ** 2)
        penalty = alpha * np.diag(np.append(np.ones(len(own) - 1), 0))
        gamma = np.trace(np.linalg.solve(H + penalty, H))
        # What is hidden behind the last layer has from none to all of the other parameters.
        most = network.n_params / 2
        variance = pearson / (60 - (gamma + max(most, gamma)) / 2)
        at = gradients(network, params, Xt, own)[:, k]
        expected = variance * np.einsum("ip,pq,iq->i", at, np.linalg.inv(H + penalty), at)
        np.testing.assert_allclose(found[:, k], expected, rtol=1e-5)
        assert posterior.noise[k] == pytest.approx(variance, rel=1e-6)
        assert posterior.n_effective[k] == pytest.approx(gamma, rel=1e-6)


def test_one_penalty_holds_the_weights_to_outputs_of_different_noise():
    network, params, objective, Xt = network_problem((4,), "tanh")
    objective._rows.y[:, 1] *= 30
    posterior = laplace("all", objective, params, 5.0)
    beta = 1 / posterior.noise
    assert beta[0] > 100 * beta[1]
    H = [np.tril(H) + np.tril(H, -1).T for H in objective.normal_equations(params).curvature]
    # Of squared weights in units of the noise, whose mean precision it is; output biases are free.
    penalty = np.full(network.n_params, 5.0 * beta.mean())
    penalty[-2:] = 0
    A = beta[0] * H[0] + beta[1] * H[1] + np.diag(penalty)
    g = gradients(network, params, Xt)
    expected = np.einsum("ikp,pq,ikq->ik", g, np.linalg.inv(A), g)
    np.testing.assert_allclose(posterior.variance(network, params, Xt), expected, rtol=1e-6)


@pytest.mark.parametrize("weights", ["all", "last_layer", "none"])
def test_noise_that_is_known_is_not_estimated(weights):
    network, params, objective, Xt = network_problem((4,), "tanh")
    known = HeldOutNoise(np.array([0.5, 2.0]), 30.0)
    posterior = laplace(weights, objective, params, 1.0, known)
    np.testing.assert_array_equal(posterior.noise, known.variance)
    np.testing.assert_array_equal(posterior.dof, [30, 30])
    estimated = laplace(weights, objective, params, 1.0)
    if weights == "last_layer":  # each output has a factor of its own
        variance, at_known = (p.variance(network, params, Xt) for p in (estimated, posterior))
        np.testing.assert_allclose(at_known, variance * (known.variance / estimated.noise))


def test_residual_degrees_of_freedom_are_rows_less_effective_parameters():
    _, params, objective, _ = network_problem((4,), "tanh")
    posterior = laplace("all", objective, params, 1.0)
    np.testing.assert_allclose(posterior.dof, 60 - posterior.n_effective)
    sums = 2 * objective.losses(params)
    np.testing.assert_allclose(posterior.noise, sums / posterior.dof)


@pytest.mark.parametrize("weights", ["all", "last_layer"])
def test_copies_of_a_row_do_not_make_the_weights_more_certain(weights):
    network, params, once, Xt = network_problem((4,), "tanh")
    thrice = Objective(network, SquaredError(), once._rows.X, once._rows.y, np.full(60, 3.0))
    one, many = laplace(weights, once, params, 1.0), laplace(weights, thrice, params, 3.0)
    np.testing.assert_allclose(many.noise, one.noise)
    np.testing.assert_allclose(many.dof, 3 * one.dof)
    np.testing.assert_allclose(
        many.variance(network, params, Xt), one.variance(network, params, Xt)
    )


# Batches of five sizes; from the start on, and after a fit by each solver, small ones and large.
QUICK_SIZES = [(2, 800, "lm"), (30, 2000, None), (1000, 2000, "lbfgs")]
OTHER_SIZES = [(1, 1200, None), (1, 1200, "lbfgs"), (10, 1600, "lm"), (10, 1600, None)]


@pytest.mark.parametrize(
    ("size", "n_samples", "first"),
    [*QUICK_SIZES, *slow(OTHER_SIZES)],
)
def test_error_bars_of_a_stream_are_right_however_small_its_batches_are(size, n_samples, first):
    # From the start on (`first` is None), 400 rows one by one are too few: errors are then 0.74
    # standard deviations, as they have fallen by a quarter since the rows that told the noise.
    X, y = make_friedman1(5000, 6, noise=2, random_state=0)
    model = regressor(solver="adam", random_state=0)
    if first:  # a standard deviation of 8 to 28 times the right one
        model.set_params(solver=first).fit(X[:500], y[:500]).set_params(solver="adam")
    for k in range(500, 500 + n_samples, size):
        model.partial_fit(X[k : k + size], y[k : k + size])
    mean, std = model.predict(X[3000:], return_std=True)
    assert np.std((y[3000:] - mean) / std) == pytest.approx(1, abs=0.15)
    assert np.ptp(std) > 0


def test_rows_that_count_as_nothing_beside_the_next_are_forgotten(friedman):
    X, y = friedman
    model = regressor(solver="adam").partial_fit(X[:20], y[:20])
    model.partial_fit(X, y, np.full(len(y), 1e20))
    alone = regressor(solver="adam").partial_fit(X[:20], y[:20], np.full(20, 1e-20))
    alone.partial_fit(X, y)
    for one in (model, alone):
        mean, std = one.predict(X, return_std=True)
        assert np.std((y - mean) / std) == pytest.approx(1, abs=0.2)


def test_noise_of_counts_is_proportional_to_their_mean():
    noise = np.array([0.5, 2.0])
    f = np.array([[1.0, 10.0], [3.0, 0.0]])
    np.testing.assert_array_equal(Poisson().noise_variance(noise, f), [[0.5, 20], [1.5, 0]])
    np.testing.assert_array_equal(SquaredError().noise_variance(noise, f), [[0.5, 2], [0.5, 2]])


def test_variance_does_not_depend_on_the_rows_beside():
    network, params, objective, _ = network_problem((4,), "tanh")
    posterior = laplace("all", objective, params, 1.0)
    Xt = np.random.RandomState(1).randn(60_000, 3)  # 24,966 in a block
    whole = posterior.variance(network, params, Xt)
    parts = [posterior.variance(network, params, part) for part in np.split(Xt, [1, 100, 40_000])]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-12)


@pytest.mark.parametrize(
    ("hidden", "activation", "output", "units_per_feature", "n_outputs"),
    [
        ((), "tanh", "identity", 0, 1),
        ((4,), "logistic", "identity", 0, 1),
        ((4, 3), "tanh", "exp", 0, 2),
        ((5, 4, 3), "relu", "logistic", 0, 3),
        ((6, 4), "tanh", "identity", 2, 1),
    ],
)
@pytest.mark.parametrize("sparse", [False, True])
def test_several_networks_at_few_rows_are_those_one_by_one(
    hidden, activation, output, units_per_feature, n_outputs, sparse
):
    rng = np.random.RandomState(0)
    network = Network((3, *hidden, n_outputs), activation, output, units_per_feature)
    fitted = []
    for _ in range(3):
        params = network.initial_parameters(rng, float, lecun_bound)
        if units_per_feature:
            params.coefs[0][...] *= own_features(network)
        L = np.tril(rng.randn(network.n_params, network.n_params)) / network.n_params
        np.fill_diagonal(L, rng.uniform(1, 2, network.n_params))
        factors = [CholeskyFactor.of(np.asfortranarray(L))]
        fitted.append((params, Posterior("all", factors, np.ones(n_outputs), np.ones(1), [])))
    X = rng.randn(20, 3)
    with_ones = np.column_stack([X, np.ones(20)])
    rows = CentredSparse(sp.csr_matrix(X), np.zeros(3)) if sparse else with_ones
    for n_rows in (1, 8, 9):
        f, variances = outputs_and_variances(network, fitted, rows[:n_rows])
        assert f.shape == variances.shape == (3, n_rows, n_outputs)
        for k, (params, posterior) in enumerate(fitted):
            expected = evaluate(network, params.coefs, params.intercepts, X[:n_rows])
            np.testing.assert_allclose(f[k], expected, rtol=1e-12)
            expected = posterior.variance(network, params, X[:n_rows])
            np.testing.assert_allclose(variances[k], expected, rtol=1e-12)


def posterior_of(weights, n_effective):
    return Posterior(weights, [], np.ones(1), np.array([n_effective]), [])


@pytest.mark.parametrize(("n_outputs", "n_params"), [(1, 13), (2, 17)])
def test_residuals_show_the_noise_of_ten_rows_for_a_parameter_or_four_for_an_effective_one(
    n_outputs, n_params
):
    network = Network((2, 3, n_outputs), "tanh", "identity")
    assert network.n_params == n_params
    unknown = posterior_of("last_layer", 1.0)
    limit = 10 * n_params / n_outputs
    assert residuals_suffice(unknown, network, int(np.ceil(limit)))
    assert not residuals_suffice(unknown, network, int(np.ceil(limit)) - 1)
    assert residuals_suffice(posterior_of("all", 5.0), network, 20)
    assert not residuals_suffice(posterior_of("all", 5.0), network, 19)


# --- predict(return_std=True) ---


TARGETS = [{}, {"loss": "poisson"}, {"output_activation": "logistic"}]


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_fit_has_a_std(friedman, solver, target, n_outputs):
    X, y = friedman
    y = np.maximum(y, 0)[:, None] * [1.0, 100.0, 0.01][:n_outputs]
    y = y[:, 0] if n_outputs == 1 else y
    # Under a penalty that lbfgs has chosen the noise is that of rows held out.
    model = regressor(solver=solver, alpha=2.0 if solver == "lbfgs" else "auto", **target)
    model.fit(X, y)
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(X))
    assert mean.shape == std.shape == y.shape
    assert std.dtype == float
    # Most of the spread of y is explained; of the residuals' size is what is left.
    residual = np.sqrt(np.mean((mean - y) ** 2, axis=0))
    assert np.all(std.min(axis=0) > 0.2 * residual)
    assert np.all(np.median(std, axis=0) > 0.8 * residual)
    assert np.all(np.median(std, axis=0) < 1.5 * residual)


@pytest.mark.parametrize("solver", SOLVERS)
def test_std_is_in_units_of_y(friedman, solver):
    X, y = friedman
    std, scaled = (regressor(solver=solver).fit(X, t).predict(X, True)[1] for t in (y, 8 * y))
    np.testing.assert_allclose(scaled, 8 * std, rtol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
def test_std_is_of_the_precision_of_the_rows(friedman, solver):
    X, y = friedman
    model = regressor(solver=solver).fit(X.astype(np.float32), y)
    mean, std = model.predict(X.astype(np.float32), return_std=True)
    assert mean.dtype == std.dtype == np.float32
    assert model.predict(X, return_std=True)[1].dtype == np.float64
    np.testing.assert_allclose(std, model.predict(X, return_std=True)[1], rtol=1e-4)


@pytest.mark.parametrize("n_networks", [1, 3])
def test_std_at_sparse_rows_is_that_at_dense_ones(friedman, n_networks):
    X, y = friedman
    X = np.where(X < 0.4, 0, X)
    model = regressor(solver="lm", n_networks=n_networks).fit(X, y)
    dense, sparse = (model.predict(Z, return_std=True)[1] for Z in (X, sp.csr_array(X)))
    np.testing.assert_allclose(sparse, dense, rtol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_early_stopping_has_a_std(friedman, solver):
    X, y = friedman
    model = regressor(solver=solver, early_stopping=True).fit(X, y)
    mean, std = model.predict(X, return_std=True)
    assert np.median(std) == pytest.approx(np.sqrt(np.mean((mean - y) ** 2)), rel=0.5)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_stream_has_a_std_after_every_batch(solver):
    X, y = make_friedman1(3000, n_features=5, noise=1.0, random_state=0)
    model = regressor(solver=solver, learning_rate_init=0.02, random_state=1)
    stds = []
    for rows in np.split(np.arange(3000), 30):
        model.partial_fit(X[rows], y[rows])
        mean, std = model.predict(X, return_std=True)
        assert np.isfinite(std).all()
        stds.append(np.median(std))
    residual = np.sqrt(np.mean((mean - y) ** 2))
    assert residual < 0.6 * y.std()
    assert stds[-1] == pytest.approx(residual, rel=0.1)
    assert stds[-1] < stds[0]


@pytest.mark.parametrize("solver", ["lm", "lbfgs"])
def test_an_exact_fit_has_a_tiny_std(solver):
    X = np.linspace(-1, 1, 30)[:, None]
    model = regressor(hidden_layer_sizes=(), solver=solver, alpha=0, tol=0).fit(X, 3 * X[:, 0])
    _, std = model.predict(X, return_std=True)
    assert np.all(std > 0)
    assert std.max() < 1e-6


def test_where_nothing_is_known_of_the_weights_the_rows_have_the_std_of_the_noise():
    # A step of 1e6 has saturated the output: no weight matters at the row, none is penalised.
    thrown = {"solver": "adam", "learning_rate_init": 1e6, "alpha": 0.0, "beta_1": 0.0}
    model = regressor(hidden_layer_sizes=(3,), output_activation="logistic", max_iter=3, **thrown)
    X, y = np.array([[2.0, 0.5]]), np.array([2.0])
    with pytest.warns() as told:
        model.fit(X, y)
    assert [one.category for one in told] == [ConvergenceWarning, UserWarning]
    assert "effective parameters on 1 rows" in str(told[1].message)
    np.testing.assert_array_equal(model.gradient(X), np.zeros((1, 2)))
    assert model.predict(X) == y
    std = scale(model, X)
    np.testing.assert_allclose(std, model.noise_precision_**-0.5)
    np.testing.assert_allclose(std, 2e-8)  # that of a constant, by the unit of y


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("weight", [1e-280, _MOST_WEIGHT])
def test_std_of_an_exact_fit_at_the_ends_of_the_total_weight(solver, weight):
    # Curvature by weight and noise of an exact fit, for two outputs whose noises are apart.
    X, Y = np.array([[2.0, 0.5]]), np.array([[2.0, 0.5]])
    model = regressor(hidden_layer_sizes=(20,), solver=solver, max_iter=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # too few to tell the noise
        model.fit(X, Y, [weight])
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean, Y)
    assert np.isfinite(std).all()


# --- what is uncertain ---


@pytest.mark.parametrize(
    ("hidden", "expected"), [((8,), "all"), ((300,), "last_layer"), ((2100,), "none")]
)
def test_which_weights_are_uncertain_depends_on_their_number(hidden, expected):
    X, y = make_friedman1(500, n_features=5, noise=1.0, random_state=0)
    model = regressor(hidden_layer_sizes=hidden, solver="adam", max_iter=60)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    assert model.uncertain_weights_ == expected
    std = scale(model, X)
    noise = model.noise_precision_[0] ** -0.5
    new, targets = make_friedman1(3500, n_features=5, noise=1.0, random_state=1)
    assert noise == pytest.approx(np.sqrt(np.mean((model.predict(new) - targets) ** 2)), rel=0.25)
    if expected == "none":
        np.testing.assert_allclose(std, noise)
    else:
        assert np.all(std > noise)
        assert std.max() > 1.001 * std.min()


GAP_CONFIGURATIONS = [
    {"hidden_layer_sizes": "auto", "n_networks": "auto"},
    {"hidden_layer_sizes": (10,), "solver": "lm"},
    {"hidden_layer_sizes": (10,), "solver": "lm", "n_networks": 5},
    {"hidden_layer_sizes": (10,), "solver": "lm", "alpha": 0.1},
    # With a fixed penalty it depends on the minimum: 1.3 to 3.4 times by 20 starts of lbfgs, by
    # this one as much as by lm.
    {"hidden_layer_sizes": (10,), "solver": "lbfgs", "alpha": 0.1, "random_state": 2},
    {"hidden_layer_sizes": (10,), "solver": "lbfgs", "alpha": 0.1, "n_networks": 5},
]


@pytest.mark.parametrize("params", GAP_CONFIGURATIONS, ids=str)
def test_std_grows_where_there_are_no_data(params):
    rng = np.random.RandomState(0)
    x = np.concatenate([rng.uniform(-3, -1, 40), rng.uniform(1, 3, 40)])
    model = regressor(**params).fit(x[:, None], np.sin(2 * x) + 0.1 * rng.randn(80))
    at = np.array([0.0, 2.0, -2.0, 6.0, -1e2, 1e2, 1e6, -1e6])[:, None]
    std = model.predict(at, return_std=True)[1]
    assert std[0] > 1.5 * max(std[1], std[2])
    assert std.min() >= model.noise_precision_[0] ** -0.5
    assert std[3:].min() > max(std[1], std[2])


# --- coverage ---


def truth(X):
    return np.sin(2 * X[:, 0]) + 0.5 * X[:, 1] ** 2


def coverage(n, seed, **params):
    """Part of new values in their 95 % intervals, and the mean width by the noise's."""
    rng = np.random.RandomState(seed)
    X, Xt = rng.uniform(-2, 2, (n, 2)), rng.uniform(-2, 2, (400, 2))
    model = regressor(random_state=seed, **params).fit(X, truth(X) + 0.3 * rng.randn(n))
    mean, std = model.predict(Xt, return_std=True)
    inside = np.abs(truth(Xt) + 0.3 * rng.randn(400) - mean) < stats.norm.ppf(0.975) * std
    return inside.mean(), np.mean(std) / 0.3


COVERAGE = [
    {"solver": "lm", "hidden_layer_sizes": (8,)},
    {"solver": "lm", "hidden_layer_sizes": (8,), "n_networks": 4},
    {"solver": "lm", "hidden_layer_sizes": (5, 5)},
    {"solver": "lm", "hidden_layer_sizes": (8,), "alpha": 1.0},
    {"solver": "lbfgs", "hidden_layer_sizes": (8,)},
    {"solver": "adam", "hidden_layer_sizes": (8,), "learning_rate_init": 0.02},
]


@pytest.mark.parametrize("params", COVERAGE, ids=str)
def test_intervals_cover_what_they_say(params):
    inside, width = np.mean([coverage(200, seed, **params) for seed in range(6)], axis=0)
    assert 0.90 < inside < 0.985
    # adam and a fixed penalty leave part of the function in the noise: wide, and right.
    assert 0.95 < width < (1.3 if params["solver"] == "lm" else 1.8)


@pytest.mark.parametrize(
    "params",
    [
        {"solver": "adam", "hidden_layer_sizes": (300,)},
        {"solver": "adam", "hidden_layer_sizes": (500,)},
        *slow(
            [
                {"solver": "lbfgs", "hidden_layer_sizes": (100,)},
                {"solver": "lbfgs", "hidden_layer_sizes": (300,)},
            ]
        ),
    ],
    ids=str,
)
def test_intervals_of_networks_with_many_units_are_not_absurdly_wide(params):
    inside, width = np.mean([coverage(200, seed, **params) for seed in range(2)], axis=0)
    assert 0.90 < inside < 0.995
    assert width < 2


def test_intervals_of_counts_cover_what_they_say():
    covered = []
    for seed in range(4):
        rng = np.random.RandomState(seed)
        X, Xt = rng.uniform(-1, 1, (2, 300, 2))
        means = [20 * np.exp(Z[:, 0] * Z[:, 1] + Z[:, 0]) for Z in (X, Xt)]
        y, yt = (rng.poisson(m).astype(float) for m in means)
        model = regressor(loss="poisson", solver="lm", random_state=seed).fit(X, y)
        mean, std = model.predict(Xt, return_std=True)
        covered.append(np.mean(np.abs(yt - mean) < stats.norm.ppf(0.975) * std))
        assert model.noise_precision_[0] == pytest.approx(1, rel=0.25)  # 1 / dispersion
        # The variance of a count is its mean.
        assert np.corrcoef(std**2, mean)[0, 1] > 0.9
    assert 0.90 < np.mean(covered) < 0.985


def test_rows_far_outside_have_a_std_and_no_warning(friedman):
    model = regressor(solver="lm", activation="relu").fit(*friedman)
    mean, std = model.predict(np.array([[1e150] * 5, [-1e150] * 5]), return_std=True)
    assert np.isfinite(mean).all()
    assert not np.isnan(std).any()
    assert std.max() > 1e100


# --- beyond the range of the type ---


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_beyond_the_range_cause_one_warning_per_call(friedman, dtype):
    X, y = friedman
    tiny = (X * (1e-30 if dtype is np.float32 else 1e-300)).astype(dtype)
    model = regressor(solver="lm", activation="identity").fit(tiny, y)
    inside = np.isfinite(model.predict(tiny))
    rows = np.concatenate([tiny[:2], np.full((3, 5), np.finfo(dtype).max)])
    message = rf"of predict\(X\) are beyond the range of {np.dtype(dtype).name}, inf or nan"
    with pytest.warns(RuntimeWarning, match=f"^3 values {message}") as told:
        mean = model.predict(rows)
    assert len(told) == 1
    with pytest.warns(RuntimeWarning, match=f"^6 values {message}") as told:
        _, std = model.predict(rows, return_std=True)
    assert len(told) == 1
    for result in (inside, np.isfinite(mean[:2]), np.isfinite(std[:2]), ~np.isfinite(mean[2:])):
        assert result.all()


def test_slopes_and_raw_weights_beyond_the_range_cause_a_warning(friedman):
    X, y = friedman
    model = regressor(solver="lm").fit(X * 1e-310, y)
    with pytest.warns(RuntimeWarning, match=r"of gradient\(X\) are beyond the range of float64"):
        model.gradient(X * 1e-310)
    with pytest.warns(RuntimeWarning, match="of raw_coefs_ are beyond the range of float64"):
        coefs = model.raw_coefs_
    assert np.isinf(coefs[0]).sum() > 20
    assert not np.isnan(coefs[0]).any()
    assert np.isfinite(np.concatenate([coefs[1].ravel(), *model.raw_intercepts_])).all()


def test_a_deviation_may_be_beyond_the_range_of_the_mean():
    model = regressor(solver="lbfgs", alpha=0.1)
    with pytest.warns(UserWarning, match="on 2 rows"):
        model.fit([[1.0, 2.0], [1.0, 2.0]], [1.7e308, -1.7e308])
    with pytest.warns(RuntimeWarning, match=r"^1 values of predict\(X\)"):
        mean, std = model.predict([[1.0, 2.0]], return_std=True)
    assert np.abs(mean) < 1e300
    assert std == np.inf
