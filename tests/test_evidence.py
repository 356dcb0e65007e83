"""Evidence: against exact marginal likelihoods, scikit-learn's fixed points, and wild data."""

import re
import warnings

import numpy as np
import pytest
from scipy.linalg import lapack
from scipy.stats import multivariate_normal
from sklearn.datasets import make_friedman1
from sklearn.linear_model import ARDRegression, BayesianRidge, LinearRegression

from sk_backprop import BackpropRegressor
from sk_backprop._inference import evidence as _evidence
from sk_backprop._inference.evidence import (
    Precisions,
    WeightGroups,
    cholesky,
    effective,
    factor,
    fixed_precisions,
    reestimate,
    weak_precisions,
)
from sk_backprop._inference.objective import Objective
from sk_backprop._inference.row_sums import NormalEquations
from sk_backprop._network.families import SquaredError
from sk_backprop._network.network import Network, lecun_bound


def symmetric(lower):
    return np.array([np.tril(H) + np.tril(H, -1).T for H in lower])


# --- groups of weights ---


def test_groups_by_layer():
    groups = WeightGroups.of(Network((2, 3, 1), "tanh", "identity"), per_input=False)
    assert groups.names == ("coefs_[0]", "intercepts_[0]", "coefs_[1]", "intercepts_[1]")
    np.testing.assert_array_equal(groups.index, [0] * 6 + [1] * 3 + [2] * 3 + [3])
    np.testing.assert_array_equal(groups.sums(np.arange(13.0)), [15, 21, 30, 12])


def test_groups_by_input_divide_the_first_layer_alone():
    groups = WeightGroups.of(Network((2, 3, 1), "tanh", "identity"), per_input=True)
    assert groups.names == (
        "coefs_[0][0]",
        "coefs_[0][1]",
        "intercepts_[0]",
        "coefs_[1]",
        "intercepts_[1]",
    )
    np.testing.assert_array_equal(groups.index, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4])


def test_a_fixed_penalty_is_on_weights_and_not_on_biases():
    groups = WeightGroups.of(Network((2, 3, 2), "tanh", "identity"), per_input=True)
    fixed = fixed_precisions(groups, 0.5, 2)
    np.testing.assert_array_equal(fixed.weight, [0.5, 0.5, 0, 0.5, 0])
    np.testing.assert_array_equal(fixed.noise, [1, 1])


# --- the factor of A ---


def small_problem(hidden=(3,), n_outputs=2, n=30):
    rng = np.random.RandomState(0)
    network = Network((3, *hidden, n_outputs), "tanh", "identity")
    params = network.initial_parameters(rng, float, lecun_bound)
    objective = Objective(network, SquaredError(), rng.randn(n, 3), rng.randn(n, n_outputs))
    groups = WeightGroups.of(network, per_input=True)
    precisions = Precisions(rng.uniform(0.5, 2, len(groups.names)), rng.uniform(0.5, 2, n_outputs))
    return objective, params, groups, precisions


def test_factorisation_of_what_is_no_number_ends(monkeypatch):
    # As reference LAPACK does; OpenBLAS reports success.
    monkeypatch.setattr(lapack, "dpotrf", lambda A, **_: (A, 1))
    A = np.full((2, 2), np.nan, order="F")
    assert np.isnan(cholesky(lambda: None, np.ones(2), A)).all()


def test_factor_is_the_cholesky_factor_of_the_weighted_sum():
    objective, params, groups, precisions = small_problem()
    normal = objective.normal_equations(params)
    A = np.einsum("k,kij->ij", precisions.noise, symmetric(normal.curvature))
    A += np.diag(precisions.weight[groups.index] + 0.3)
    L = factor(normal, groups, precisions, damping=0.3)
    np.testing.assert_allclose(L, np.linalg.cholesky(A), rtol=1e-10, atol=1e-12)


def test_factor_into_given_memory_is_the_same():
    objective, params, groups, precisions = small_problem()
    normal = objective.normal_equations(params)
    expected = factor(normal, groups, precisions)
    out = np.full(expected.shape, np.nan, order="F")
    found = factor(normal, groups, precisions, out=out)
    assert np.shares_memory(found, out)
    np.testing.assert_array_equal(found, expected)
    assert reestimate(params.flat, normal, groups, precisions, 30.0, out).next.noise.shape == (2,)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize("short", [0.0, 1e-15, 1e-6])
def test_an_indefinite_matrix_is_nudged_as_little_as_it_takes(scale, short):
    # Eigenvalues 2 and -short: what rounding leaves of a singular J^T J, and worse.
    H = np.array([[1 - short / 2, 1 + short / 2], [1 + short / 2, 1 - short / 2]])
    one, curvature = np.ones(1), np.asfortranarray(scale * H)[None]
    normal = NormalEquations(one, one, one, np.zeros((1, 2)), curvature, one, one)
    groups = WeightGroups(("coefs_[0]",), np.zeros(2, dtype=int))
    L = np.tril(factor(normal, groups, Precisions(np.zeros(1), np.ones(1))))
    assert np.isfinite(L).all()
    assert np.diag(L).min() > 0
    np.testing.assert_allclose(L @ L.T, scale * H, atol=scale * (11 * short + 1e-14))


def test_all_parameters_count_where_neither_data_nor_prior_say_anything():
    n = 300
    one = np.ones(1)
    normal = NormalEquations(one, one, one, np.zeros((1, n)), np.zeros((1, n, n)), one, one)
    groups = WeightGroups(("coefs_[0]", "intercepts_[0]"), np.repeat([0, 1], n // 2))
    precisions = Precisions(np.zeros(2), np.ones(1))
    _, gamma = effective(factor(normal, groups, precisions), normal, groups, precisions)
    np.testing.assert_allclose(gamma, n)


# --- one re-estimation, at a linear model ---


def linear_problem(n_outputs, weights=None, noise=(4.0, 0.5)):
    """A linear model at the weights that minimise M, and the design with its column of ones."""
    rng = np.random.RandomState(3)
    X = rng.randn(25, 3)
    y = X @ rng.randn(3, n_outputs) + rng.randn(25, n_outputs)
    network = Network((3, n_outputs), "identity", "identity")
    groups = WeightGroups.of(network, per_input=True)
    alpha = np.array([0.5, 2.0, 7.0, 0.3])
    precisions = Precisions(alpha if weights is None else weights, np.array(noise[:n_outputs]))
    return X, y, network, groups, precisions


def at_minimum(X, y, network, groups, precisions):
    """theta, and the normal equations there."""
    design = np.column_stack([X, np.ones(len(X))])
    params = network.parameters(np.empty(network.n_params))
    for k, beta in enumerate(precisions.noise):
        A = beta * design.T @ design + np.diag(precisions.weight)
        solution = np.linalg.solve(A, beta * design.T @ y[:, k])
        params.coefs[0][:, k], params.intercepts[0][k] = solution[:-1], solution[-1]
    objective = Objective(network, SquaredError(), X, y)
    return params.flat, objective.normal_equations(params)


def log_marginal_likelihood(X, y, precisions):
    """ln N(y | 0, X Lambda^-1 X^T + 1 / beta), summed over the outputs."""
    design = np.column_stack([X, np.ones(len(X))])
    prior = design @ np.diag(1 / precisions.weight) @ design.T
    return sum(
        multivariate_normal.logpdf(y[:, k], cov=prior + np.eye(len(X)) / beta)
        for k, beta in enumerate(precisions.noise)
    )


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_log_evidence_of_a_linear_model_is_its_marginal_likelihood(n_outputs):
    X, y, network, groups, precisions = linear_problem(n_outputs)
    theta, normal = at_minimum(X, y, network, groups, precisions)
    found = reestimate(theta, normal, groups, precisions, len(y))
    assert found.log_evidence == pytest.approx(log_marginal_likelihood(X, y, precisions), rel=1e-12)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_new_precisions_are_where_the_marginal_likelihoods_derivatives_point(n_outputs):
    # d ln p / d ln alpha_g = (gamma_g - alpha_g ||theta_g||^2) / 2 is zero where the
    # new alpha_g = gamma_g / ||theta_g||^2 is the old one; so for the noise.
    X, y, network, groups, precisions = linear_problem(n_outputs)
    theta, normal = at_minimum(X, y, network, groups, precisions)
    found = reestimate(theta, normal, groups, precisions, len(y))
    step = 1e-5

    def derivative(shifted):
        ahead, behind = (log_marginal_likelihood(X, y, shifted(s)) for s in (step, -step))
        return (ahead - behind) / (2 * step)

    for g, square in enumerate(groups.sums(theta**2)):
        unit = np.eye(len(groups.names))[g]
        slope = derivative(
            lambda s, unit=unit: Precisions(precisions.weight * np.exp(s * unit), precisions.noise)
        )
        change = found.next.weight[g] - precisions.weight[g]
        assert change * square / 2 == pytest.approx(slope, abs=2e-6)
    for k, loss in enumerate(normal.loss):
        unit = np.eye(n_outputs)[k]
        slope = derivative(
            lambda s, unit=unit: Precisions(precisions.weight, precisions.noise * np.exp(s * unit))
        )
        change = found.next.noise[k] - precisions.noise[k]
        assert change * loss == pytest.approx(slope, abs=2e-6)


def test_effective_parameters_under_one_precision_are_mackays_sum_over_eigenvalues():
    X, y, network, groups, precisions = linear_problem(1, weights=np.full(4, 3.0))
    theta, normal = at_minimum(X, y, network, groups, precisions)
    found = reestimate(theta, normal, groups, precisions, len(y))
    eigenvalues = np.linalg.eigvalsh(4.0 * symmetric(normal.curvature)[0])
    expected = np.sum(eigenvalues / (eigenvalues + 3.0))
    assert found.n_effective == pytest.approx([expected], rel=1e-12)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_effective_parameters_of_groups_and_outputs_are_traces(n_outputs):
    objective, params, groups, precisions = small_problem(n_outputs=n_outputs)
    normal = objective.normal_equations(params)
    found = reestimate(params.flat, normal, groups, precisions, 30.0)
    curvature = symmetric(normal.curvature)
    A = np.einsum("k,kij->ij", precisions.noise, curvature)
    inverse = np.linalg.inv(A + np.diag(precisions.weight[groups.index]))
    by_output = [
        beta * np.trace(inverse @ H) for beta, H in zip(precisions.noise, curvature, strict=True)
    ]
    np.testing.assert_allclose(found.n_effective, by_output, rtol=1e-10)
    by_group = [
        np.sum(1 - alpha * np.diag(inverse)[groups.index == g])
        for g, alpha in enumerate(precisions.weight)
    ]
    assert np.sum(by_group) == pytest.approx(np.sum(by_output), rel=1e-10)
    np.testing.assert_allclose(found.next.weight, by_group / groups.sums(params.flat**2), rtol=1e-5)
    np.testing.assert_allclose(found.next.noise, (30 - np.array(by_output)) / (2 * normal.loss))


def test_a_group_without_effect_has_no_effective_parameters():
    rng = np.random.RandomState(0)
    X = np.column_stack([rng.randn(20), np.zeros(20)])
    network = Network((2, 1), "identity", "identity")
    groups = WeightGroups.of(network, per_input=True)
    objective = Objective(network, SquaredError(), X, rng.randn(20, 1))
    theta = np.array([0.5, 0.0, 0.1])
    normal = objective.normal_equations(network.parameters(theta))
    found = reestimate(theta, normal, groups, weak_precisions(groups, network, 2, np.ones(1)), 20.0)
    assert found.n_effective[0] == pytest.approx(2, abs=0.01)
    assert found.next.weight[1] == pytest.approx(1e6)  # 2 _SHAPE / 2 _RATE


def test_noise_without_residuals_is_the_least_of_each_row():
    X, _, network, groups, precisions = linear_problem(1)
    params = network.parameters(np.arange(4.0))
    exact = np.column_stack([X, np.ones(len(X))]) @ np.arange(4.0)[:, None]
    normal = Objective(network, SquaredError(), X, exact).normal_equations(params)
    found = reestimate(params.flat, normal, groups, precisions, len(X))
    (free,) = len(X) - found.n_effective
    assert found.next.noise == pytest.approx([free / len(X) / _evidence.LEAST_NOISE**2], rel=1e-6)


@pytest.mark.parametrize(("n_inputs", "first"), [(2, 0.01), (10, 0.01), (15, 0.0225), (60, 0.36)])
def test_evidence_starts_from_smaller_weights_of_many_inputs(n_inputs, first):
    network = Network((n_inputs, 3, 1), "tanh", "identity")
    for per_input in (False, True):
        groups = WeightGroups.of(network, per_input=per_input)
        weak = weak_precisions(groups, network, n_inputs, np.array([4.0]))
        expected = [first if n.startswith("coefs_[0]") else 0.01 for n in groups.names]
        np.testing.assert_allclose(weak.weight, expected, rtol=1e-12)
        np.testing.assert_array_equal(weak.noise, [0.25])


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_rows_that_count_less_than_the_parameters_do_not_become_all_noise(n_outputs):
    # As counts the 25 rows are 1.5, fewer than the parameters that they tell.
    X, Y, network, groups, _ = linear_problem(n_outputs)
    weights = np.full(len(X), 1.5 / len(X))
    weak = Precisions(np.full(len(groups.names), 1e-9), np.ones(n_outputs))
    params = network.parameters(np.zeros(network.n_params))
    objective = Objective(network, SquaredError(), X, Y, weights)
    normal = objective.normal_equations(params)
    found = reestimate(params.flat, normal, groups, weak, 1.5)
    assert (found.n_effective > 1.5).all()
    least = 1e-3 * 1.5 / (2 * objective.losses(params))
    np.testing.assert_allclose(found.next.noise, least, rtol=2e-3)


# --- the fixed point ---


def linear_data(n, seed):
    rng = np.random.RandomState(seed)
    X = 5 + rng.randn(n, 6) * [1, 10, 0.1, 3, 1, 1]
    return X, X @ [1, 0.3, -5, 0, 0.2, 0] + 2 * rng.randn(n) + 30


def converged(X, y, **params):
    return BackpropRegressor(
        (), solver="lm", n_networks=1, tol=0, max_iter=10_000, n_iter_no_change=50, **params
    ).fit(X, y)


def standardised(X, y):
    return (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()


def priors(n):
    """scikit-learn's names of ours; the rate of the noise is n times the least noise."""
    shape, rate = _evidence._SHAPE, _evidence._RATE
    noise_rate = n * _evidence.LEAST_NOISE**2 / 2
    return {"alpha_1": shape, "alpha_2": noise_rate, "lambda_1": shape, "lambda_2": rate}


@pytest.mark.parametrize(("n", "seed"), [(30, 0), (60, 1), (200, 2)])
def test_fixed_point_of_a_linear_model_is_bayesian_ridge(n, seed):
    X, y = linear_data(n, seed)
    ours = converged(X, y, weight_groups="layer")
    theirs = BayesianRidge(**priors(n), tol=1e-14, max_iter=10_000).fit(*standardised(X, y))
    coef = ours.raw_coefs_[0][:, 0] * X.std(axis=0) / y.std()
    np.testing.assert_allclose(coef, theirs.coef_, rtol=1e-6, atol=1e-8)
    assert ours.noise_precision_[0] * y.var() == pytest.approx(theirs.alpha_, rel=1e-6)
    assert ours.weight_precision_["coefs_[0]"][0] == pytest.approx(theirs.lambda_, rel=1e-6)


@pytest.mark.parametrize(("n", "seed"), [(60, 0), (200, 1)])
def test_fixed_point_with_a_precision_for_each_input_is_ard_regression(n, seed):
    X, y = linear_data(n, seed)
    ours = converged(X, y, weight_groups="input")
    theirs = ARDRegression(**priors(n), tol=1e-12, max_iter=20_000, threshold_lambda=1e300).fit(
        *standardised(X, y)
    )
    coef = ours.raw_coefs_[0][:, 0] * X.std(axis=0) / y.std()
    np.testing.assert_allclose(coef, theirs.coef_, rtol=1e-6, atol=1e-8)
    assert ours.noise_precision_[0] * y.var() == pytest.approx(theirs.alpha_, rel=1e-5)
    used = theirs.lambda_ < 1e4
    assert 1 < used.sum() < 6
    precision = np.array([ours.weight_precision_[f"coefs_[0][{i}]"][0] for i in range(6)])
    np.testing.assert_allclose(precision[used], theirs.lambda_[used], rtol=1e-5)
    assert precision[~used].min() > 1e4
    np.testing.assert_allclose(ours.input_relevance_, precision**-0.5, rtol=1e-12)


def test_log_evidence_at_the_fixed_point_is_the_marginal_likelihood_in_units_of_y():
    X, y = linear_data(60, 0)
    ours = converged(X, y, weight_groups="layer")
    Z, t = standardised(X, y)
    alpha = ours.weight_precision_["coefs_[0]"][0]
    weight = np.append(np.full(6, alpha), ours.weight_precision_["intercepts_[0]"][0])
    exact = log_marginal_likelihood(
        Z, t[:, None], Precisions(weight, ours.noise_precision_ * y.var())
    )
    assert ours.log_evidence_[0] == pytest.approx(exact - 60 * np.log(y.std()), rel=1e-6)


# --- units ---


@pytest.fixture(scope="module")
def friedman():
    return make_friedman1(150, n_features=5, noise=1.0, random_state=0)


def one_network(X, y, sample_weight=None, **params):
    defaults = {"hidden_layer_sizes": (6,), "solver": "lm", "n_networks": 1, "random_state": 0}
    return BackpropRegressor(**{**defaults, **params}).fit(X, y, sample_weight)


def test_precision_and_evidence_are_in_units_of_y(friedman):
    X, y = friedman
    plain, scaled = one_network(X, y), one_network(X, 1024 * y)
    np.testing.assert_allclose(scaled.noise_precision_, plain.noise_precision_ / 1024**2)
    shift = len(y) * np.log(1024)
    np.testing.assert_allclose(scaled.log_evidence_, plain.log_evidence_ - shift)


def test_precision_and_evidence_by_a_factor_that_rounds(friedman):
    X, y = friedman
    plain, scaled = one_network(X, y, tol=1e-9), one_network(X, 1000 * y, tol=1e-9)
    np.testing.assert_allclose(scaled.noise_precision_, plain.noise_precision_ / 1e6, rtol=1e-3)
    shift = len(y) * np.log(1000)
    np.testing.assert_allclose(scaled.log_evidence_, plain.log_evidence_ - shift, atol=0.05)


def test_units_of_the_inputs_do_not_matter(friedman):
    X, y = friedman
    plain, scaled = one_network(X, y), one_network(X * [2.0**k for k in (-30, -3, 0, 9, 40)], y)
    np.testing.assert_array_equal(scaled.noise_precision_, plain.noise_precision_)
    np.testing.assert_array_equal(scaled.log_evidence_, plain.log_evidence_)
    np.testing.assert_array_equal(scaled.input_relevance_, plain.input_relevance_)


@pytest.mark.parametrize("seed", range(3))
def test_each_output_has_its_own_noise(seed):
    rng = np.random.RandomState(seed)
    X = rng.randn(400, 4)
    f = np.column_stack([np.sin(X[:, 0]) + X[:, 1], X[:, 2] - 0.5 * X[:, 0]])
    model = one_network(X, f + rng.randn(400, 2) * [0.1, 1.0])
    # Standard error of a variance from 400 values: 7 %.
    np.testing.assert_allclose(model.noise_precision_, [100, 1], rtol=0.2)
    linear = one_network(X, 10 * f[:, 1:] + rng.randn(400, 3) * [0.1, 1, 10], hidden_layer_sizes=())
    np.testing.assert_allclose(linear.noise_precision_, [100, 1, 0.01], rtol=0.2)


# --- relevance of inputs ---


def test_relevant_inputs_stand_above_irrelevant_ones():
    X, y = make_friedman1(200, n_features=10, noise=1.0, random_state=0)
    relevance = one_network(X, y, n_networks=3).input_relevance_
    assert relevance.shape == (10,)
    assert relevance[:5].min() > relevance[5:].max()
    assert np.median(relevance[:5]) > 20 * np.median(relevance[5:])


def test_a_constant_input_has_no_relevance(friedman):
    X, y = friedman
    relevance = one_network(np.column_stack([X, np.full(150, 7.0)]), y).input_relevance_
    assert relevance[5] < 0.002
    assert relevance[5] < relevance[:4].min() / 20


def test_there_is_no_relevance_by_layer_or_under_a_fixed_penalty(friedman):
    by_layer = one_network(*friedman, weight_groups="layer")
    assert by_layer.input_relevance_ is None
    assert list(by_layer.weight_precision_) == [
        "coefs_[0]",
        "intercepts_[0]",
        "coefs_[1]",
        "intercepts_[1]",
    ]
    fixed = one_network(*friedman, alpha=1.0)
    for name in ("input_relevance_", "weight_precision_", "log_evidence_", "log_evidence_curve_"):
        assert getattr(fixed, name) is None


# --- data that mislead ---

CONFIGURATIONS = [{}, {"hidden_layer_sizes": (10,), "solver": "lm"}]


def fitted(X, y, params):
    return BackpropRegressor(random_state=0, **params).fit(X, y)


@pytest.mark.parametrize("params", CONFIGURATIONS, ids=str)
def test_a_wiggly_function_is_not_taken_for_noise(params):
    rng = np.random.RandomState(0)
    X, grid = rng.uniform(size=(100, 1)), np.linspace(0, 1, 300)[:, None]
    model = fitted(X, 10 * np.sin(6 * X[:, 0]) + 0.5 * rng.randn(100), params)
    assert model.score(grid, 10 * np.sin(6 * grid[:, 0])) > 0.998
    assert model.noise_precision_[0] == pytest.approx(4, rel=0.3)


@pytest.mark.parametrize("params", CONFIGURATIONS, ids=str)
def test_noise_is_not_taken_for_a_wiggly_function(params):
    rng = np.random.RandomState(0)
    X, y = rng.randn(100, 5), rng.randn(100)
    assert fitted(X, y, params).predict(rng.randn(1000, 5)).std() < 0.35


@pytest.mark.slow
def test_a_linear_target_is_found_almost_as_well_as_by_bayesian_ridge():
    errors = []
    for seed in range(20, 30):
        rng = np.random.RandomState(seed)
        X, Xt, coef = rng.randn(100, 5), rng.randn(1000, 5), np.array([1, 2, -1, 0, 0.5])
        y = X @ coef + rng.randn(100)
        models = fitted(X, y, {}), BayesianRidge().fit(X, y)
        errors.append([np.sqrt(np.mean((m.predict(Xt) - Xt @ coef) ** 2)) for m in models])
    ours, theirs = np.mean(errors, axis=0)
    assert ours < 1.3 * theirs + 0.05


@pytest.mark.filterwarnings("ignore:The networks use:UserWarning")
def test_fewer_rows_than_inputs():
    for seed in (30, 31, 32):
        rng = np.random.RandomState(seed)
        X, Xt, coef = rng.randn(25, 30), rng.randn(500, 30), np.append(rng.randn(3), np.zeros(27))
        y = X @ coef + 0.3 * rng.randn(25)
        model = one_network(X, y, hidden_layer_sizes=(10,))
        assert model.score(Xt, Xt @ coef) > BayesianRidge().fit(X, y).score(Xt, Xt @ coef)


@pytest.mark.slow
@pytest.mark.parametrize("params", CONFIGURATIONS, ids=str)
def test_duplicated_columns_change_little(friedman, params):
    X, y = friedman
    Xt, _ = make_friedman1(500, n_features=5, random_state=9)
    once, twice = fitted(X, y, params), fitted(np.hstack([X, X]), y, params)
    change = twice.predict(np.hstack([Xt, Xt])) - once.predict(Xt)
    assert np.sqrt(np.mean(change**2)) < 0.1 * y.std()


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_column_changes_nothing_from_the_same_start(friedman, value):
    X, y = friedman
    network = Network((5, 6, 1), "logistic", "identity")
    start = network.initial_parameters(np.random.RandomState(0), float, lecun_bound)
    W1, W2 = start.coefs
    without = BackpropRegressor(solver="lm").fit(
        X, y, coefs_init=[W1, W2], intercepts_init=start.intercepts
    )
    column = np.full((150, 1), value)
    with_it = BackpropRegressor(solver="lm").fit(
        np.hstack([X, column]),
        y,
        coefs_init=[np.vstack([W1, np.zeros(6)]), W2],
        intercepts_init=start.intercepts,
    )
    np.testing.assert_allclose(
        with_it.predict(np.hstack([X, column])), without.predict(X), atol=1e-6 * y.std()
    )
    np.testing.assert_allclose(with_it.log_evidence_, without.log_evidence_, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("params", CONFIGURATIONS, ids=str)
def test_constant_columns_change_no_more_than_other_initial_weights_would(friedman, params):
    X, y = friedman
    constant = np.column_stack([X, np.zeros(150), np.full(150, 7.0)])
    without, with_them = fitted(X, y, params), fitted(constant, y, params)
    assert np.std(with_them.predict(constant) - without.predict(X)) < 0.1 * y.std()


@pytest.mark.slow
@pytest.mark.parametrize("params", CONFIGURATIONS, ids=str)
def test_one_gross_outlier_is_warned_of_or_left_out(params):
    for seed in (40, 41, 42) if params else (40,):  # the defaults take 2 s
        rng = np.random.RandomState(seed)
        X, grid = rng.uniform(-2, 2, (100, 1)), np.linspace(-2, 2, 300)[:, None]
        y = np.sin(2 * X[:, 0]) + 0.1 * rng.randn(100)
        y[50] += 50
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = fitted(X, y, params)
        predicted, std = model.predict(grid, return_std=True)
        error = np.abs(predicted - np.sin(2 * grid[:, 0]))
        # An outlier of 500 noise standard deviations: some tilt, no collapse, wide bars.
        assert np.median(error) < 1.0
        assert np.mean(error < 1.96 * std) > 0.9
        (warning,) = caught
        if params:
            assert re.match(
                rf"A single row, of y = {y[50]:.6g}, makes up 9\d%", str(warning.message)
            )
        else:
            assert list(model.outliers_) == [50]
            assert np.median(error) < 0.1


def test_a_row_that_has_been_given_little_weight_is_no_outlier():
    rng = np.random.RandomState(0)
    X, bad = rng.uniform(-1, 1, (200, 2)), np.arange(200) < 20
    y = X[:, 0] + np.where(bad, 10.0, 0.1) * rng.randn(200)
    weights = np.where(bad, 1e-4, 1.0)
    for sample_weight in (weights, weights / weights.mean()):
        model = one_network(X, y, sample_weight, hidden_layer_sizes=())  # a warning is an error
        assert model.score(X[~bad], y[~bad]) > 0.9
    y[0], weights[0] = 1e3, 0.5
    with pytest.warns(UserWarning, match=r"A single row, of y = 1000, makes up (9\d|100)%"):
        one_network(X, y, weights, hidden_layer_sizes=())


def test_rows_of_little_weight_are_learned_from_as_few_rows_are():
    X, y = make_friedman1(1300, n_features=5, noise=1.0, random_state=0)
    tenth = one_network(X[:300], y[:300], hidden_layer_sizes=(8,), sample_weight=0.1)
    linear = LinearRegression().fit(X[:30], y[:30])
    assert tenth.score(X[300:], y[300:]) > linear.score(X[300:], y[300:])


# --- the warning ---


def test_few_rows_for_the_effective_parameters_cause_one_warning():
    # Each input stands for one row: without noise there is nothing to tell noise by.
    X, y = np.eye(12), np.arange(12.0)
    model = BackpropRegressor((), solver="lm", n_networks=3, weight_groups="input")
    with pytest.warns(UserWarning, match="use 11 effective parameters on 12 rows") as told:
        model.fit(X, y)
    assert len(told) == 1
    assert model.n_effective_params_.min() > 0.9 * 12
    assert "Use more rows or fewer hidden units" in str(told[0].message)


def test_one_row_in_excess_is_too_few_to_estimate_the_noise():
    # Four columns and a constant leave next to none of five rows, fifteen of twenty.
    rng = np.random.RandomState(0)
    X, noise = rng.randn(20, 4), rng.randn(20)
    y = X @ [1, -0.5, 0.3, 0.2] + 0.1 * noise
    with pytest.warns(UserWarning, match=r"use \d effective parameters on 5 rows"):
        one_network(X[:5], y[:5], hidden_layer_sizes=())
    one_network(X, y, hidden_layer_sizes=())


@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam", "sgd"])
def test_a_std_of_0_for_lack_of_rows_causes_a_warning_under_a_penalty_too(friedman, solver):
    X, y = friedman
    fixed = {"solver": solver, "alpha": 1.0, "max_iter": 1000}
    with pytest.warns(UserWarning, match="use 1 effective parameters on 1 rows") as told:
        one_network(X[:1], y[:1], **fixed)
    assert len(told) == 1
    one_network(X[:20], y[:20], **fixed)


def test_a_fit_through_every_row_causes_a_warning_where_it_may_be_for_lack_of_rows(friedman):
    X, y = friedman
    with pytest.warns(UserWarning, match="effective parameters on 5 rows"):
        one_network(X[:5], y[:5], solver="lbfgs", alpha=0, tol=0)
    linear = one_network(X, X @ np.arange(1.0, 6.0), hidden_layer_sizes=(), solver="lm", alpha=0)
    assert linear.noise_precision_ > 1e12  # what was asked for


@pytest.mark.parametrize("alpha", ["auto", 1.0])
@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam", "sgd"])
def test_weights_that_make_many_rows_few_are_warned_of(friedman, solver, alpha):
    X, y = friedman
    params = {"solver": solver, "alpha": alpha, "max_iter": 1000}
    if alpha == "auto" and solver != "lm":  # a multiple of the mean weight is chosen
        light = one_network(X, y, np.full(150, 1 / 128), **params)
        plain = one_network(X, y, **params)
        np.testing.assert_allclose(light.predict(X), plain.predict(X), atol=1e-3 * y.std())
        assert light.alpha_ == plain.alpha_ / 128
        return
    with pytest.warns(UserWarning, match="sums to 1 for 150 rows. Weights are counts") as caught:
        one_network(X, y, np.full(150, 1 / 150), **params)
    assert len(caught) == 1
    one_network(X, y, 60 / 150, **params)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_batch_of_little_weight_causes_no_warning(friedman, solver):
    X, y = friedman
    model = BackpropRegressor((6,), solver=solver, random_state=0)
    model.partial_fit(X, y, np.full(150, 1 / 150))
    assert model.t_ == 150


def test_a_usual_fit_warns_of_nothing(friedman):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = one_network(*friedman)
    assert told == []
    assert 10 < model.n_effective_params_[0] < 0.5 * 150


def test_residual_degrees_of_freedom_are_what_the_parameters_leave(friedman):
    X, y = friedman
    model = BackpropRegressor((3,), solver="lm", n_networks=2, random_state=0).fit(X, y)
    expected = len(X) - model.n_effective_params_.mean()
    np.testing.assert_allclose(model.residual_dof_, [expected], rtol=1e-12)
