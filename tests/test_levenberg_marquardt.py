"""Levenberg-Marquardt: Jacobian, normal equations, optima, and what a run promises."""

import tracemalloc

import numpy as np
import pytest
import reference
import scipy.sparse as sp
from cases import every_pair
from likelihoods import likelihood
from scipy.optimize import least_squares
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning

from sk_backprop import BackpropRegressor
from sk_backprop._coordinates.scales import CentredSparse
from sk_backprop._inference.evidence import (
    Precisions,
    WeightGroups,
    fixed_precisions,
    weak_precisions,
)
from sk_backprop._inference.objective import Objective
from sk_backprop._network.families import Poisson, SquaredError
from sk_backprop._network.network import (
    Network,
    Workspace,
    evaluate,
    forward,
    jacobian,
    lecun_bound,
)
from sk_backprop._solvers import LevenbergMarquardt, levenberg_marquardt
from sk_backprop._solvers._base import Prior
from sk_backprop._solvers._result import Monitor

LOSSES = [("squared_error", "identity"), ("squared_error", "logistic"), ("poisson", "exp")]
HIDDEN = [(), (4,), (4, 3), (3, 4, 2)]
ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]


def problem(hidden, activation, loss, output, n_outputs, *, weighted, n=7, seed=0):
    rng = np.random.RandomState(seed)
    network = Network((3, *hidden, n_outputs), activation, output)
    params = network.initial_parameters(rng, float, lecun_bound)
    X, y = rng.randn(n, 3), rng.uniform(0, 2, (n, n_outputs))
    if loss == "poisson":
        y[0] = 0  # y log y at zero
    w = rng.uniform(0.5, 3, n) if weighted else None
    return network, params, X, y, w


def centred_sparse(X):
    return CentredSparse.of(sp.csr_array(X), X.mean(axis=0), X.std(axis=0))


def jacobian_of(network, params, X, seed):
    work, jac = Workspace(network, len(seed), float), np.empty((network.n_params, len(seed)))
    forward(network, params, X, work)
    jacobian(network, params, X, work, seed.T, jac)
    return jac.T


def symmetric(lower):
    """Matrices of which the lower triangles are given, whole."""
    return np.array([np.tril(H) + np.tril(H, -1).T for H in lower])


# --- the Jacobian ---


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_jacobian_equals_a_loop_over_neurons(hidden, activation, n_outputs):
    network, params, X, y, _ = problem(
        hidden, activation, "squared_error", "identity", n_outputs, weighted=False
    )
    seed = np.random.RandomState(1).randn(*y.shape)
    expected = [
        reference.jacobian_row(params.coefs, params.intercepts, activation, x, s)
        for x, s in zip(X, seed, strict=True)
    ]
    found = jacobian_of(network, params, X, seed)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_jacobian_equals_central_differences(hidden, activation, n_outputs):
    network, params, X, y, _ = problem(
        hidden, activation, "squared_error", "identity", n_outputs, weighted=False
    )
    seed = np.random.RandomState(1).randn(*y.shape)
    found = jacobian_of(network, params, X, seed)
    step = 1e-6
    for column, unit in zip(found.T, step * np.eye(network.n_params), strict=True):
        ahead, behind = (network.parameters(params.flat + d) for d in (unit, -unit))
        change = evaluate(network, ahead.coefs, ahead.intercepts, X) - evaluate(
            network, behind.coefs, behind.intercepts, X
        )
        np.testing.assert_allclose(column, (seed * change).sum(axis=1) / (2 * step), atol=2e-8)


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_jacobian_of_rows_that_stay_sparse_is_that_of_dense_ones(hidden):
    network, params, X, y, _ = problem(
        hidden, "tanh", "squared_error", "identity", 2, weighted=False
    )
    X[np.abs(X) < 0.3] = 0
    seed = np.random.RandomState(1).randn(*y.shape)
    dense = (X - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(
        jacobian_of(network, params, centred_sparse(X), seed),
        jacobian_of(network, params, dense, seed),
        rtol=1e-12,
        atol=1e-14,
    )


# --- normal equations ---


@pytest.mark.parametrize(
    ("hidden", "activation", "losses", "n_outputs", "weighted"),
    every_pair(HIDDEN, ACTIVATIONS, LOSSES, [1, 3], [False, True]),
)
def test_normal_equations_equal_a_loop_over_rows(hidden, activation, losses, n_outputs, weighted):
    loss, output = losses
    network, params, X, y, w = problem(
        hidden, activation, loss, output, n_outputs, weighted=weighted
    )
    normal = Objective(network, likelihood(loss, network), X, y, w).normal_equations(params)
    weights = np.ones(len(y)) if w is None else w
    sums, gradient, curvature = reference.normal_equations(
        params.coefs, params.intercepts, activation, output, loss, X, y, weights
    )
    np.testing.assert_allclose(normal.loss, sums, rtol=1e-12)
    np.testing.assert_allclose(normal.gradient, gradient, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(symmetric(normal.curvature), curvature, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("hidden", "activation", "losses", "weighted"),
    every_pair(HIDDEN, ACTIVATIONS, LOSSES, [False, True]),
)
def test_jt_rho_is_the_gradient_that_the_other_solvers_follow(hidden, activation, losses, weighted):
    loss, output = losses
    network, params, X, y, w = problem(hidden, activation, loss, output, 3, weighted=weighted)
    objective = Objective(network, likelihood(loss, network), X, y, w)
    grad = objective.parameters(params.flat)
    value = objective.loss_gradient(params, grad)
    normal, total = objective.normal_equations(params), objective.total_weight
    assert normal.loss.sum() / total == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(
        normal.gradient.sum(axis=0) / total, grad.flat, rtol=1e-10, atol=1e-13
    )


@pytest.mark.parametrize("unit", [2.0**-30, 0.5, 2.0**30])
def test_normal_equations_and_losses_are_sums_over_the_weights(unit):
    network, params, X, y, w = problem(
        (4,), "tanh", "squared_error", "identity", 2, weighted=True, n=40
    )
    one, other = (Objective(network, SquaredError(), X, y, k * w) for k in (1.0, unit))
    np.testing.assert_array_equal(other.losses(params), unit * one.losses(params))
    for scaled, array in zip(other.normal_equations(params), one.normal_equations(params)):
        np.testing.assert_array_equal(scaled, unit * array)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("loss", "output"), LOSSES)
def test_losses_alone_are_those_of_the_normal_equations(loss, output, weighted):
    network, params, X, y, w = problem((4,), "tanh", loss, output, 3, weighted=weighted, n=150)
    objective = Objective(network, likelihood(loss, network), X, y, w)
    expected = objective.normal_equations(params).loss
    np.testing.assert_allclose(objective.losses(params), expected, rtol=1e-13)
    blocked = Objective(network, likelihood(loss, network), X, y, w, block_rows=64)
    np.testing.assert_allclose(blocked.losses(params), expected, rtol=1e-13)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_row_blocks_add_up_to_the_whole(weighted, sparse):
    network, params, X, y, w = problem(
        (5,), "tanh", "squared_error", "identity", 2, weighted=weighted, n=300
    )
    objective = Objective(network, SquaredError(), centred_sparse(X) if sparse else X, y, w)
    whole = objective.normal_equations(params)
    blocked = Objective(
        network, SquaredError(), centred_sparse(X) if sparse else X, y, w, equation_rows=64
    ).normal_equations(params)
    assert not np.array_equal(blocked.curvature, whole.curvature)  # other sums, other rounding
    for ours, theirs in zip(blocked, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)


def test_normal_equations_into_an_earlier_result_are_the_same_numbers():
    network, params, X, y, w = problem(
        (4,), "tanh", "squared_error", "identity", 2, weighted=True, n=50
    )
    objective = Objective(network, SquaredError(), X, y, w)
    elsewhere = objective.parameters(params.flat + 1)
    expected = objective.normal_equations(params)
    reused = objective.normal_equations(elsewhere)
    again = objective.normal_equations(params, out=reused)
    assert again.curvature is reused.curvature
    for ours, theirs in zip(again, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_whole_jacobian_is_never_held():
    n_samples, network = 20_000, Network((10, 50, 1), "tanh", "identity")
    rng = np.random.RandomState(0)
    params = network.initial_parameters(rng, float, lecun_bound)
    objective = Objective(
        network, SquaredError(), rng.randn(n_samples, 10), rng.randn(n_samples, 1)
    )
    tracemalloc.start()
    objective.normal_equations(params)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 8 * n_samples * network.n_params > 96e6
    # Four nodes of the tree, of 2.9 MB each, the Jacobian of 1,024 rows, and little else.
    assert peak < 8 * network.n_params * (4 * network.n_params + 1024) + 3e6


# --- optima ---


def lm(objective, start, precisions, *, max_iter=1000, n_plain_steps=None):
    groups = WeightGroups.of(objective.network, per_input=False)
    monitor = Monitor(start, tol=0, n_iter_no_change=np.inf)
    prior = Prior(groups, precisions, n_plain_steps)
    return LevenbergMarquardt(max_iter=max_iter, prior=prior).minimize(
        objective, start.flat, monitor
    )


def penalty_of(objective, alpha):
    groups = WeightGroups.of(objective.network, per_input=False)
    return fixed_precisions(groups, alpha, objective.n_outputs)


def against_scipy(hidden, n_outputs, seed):
    """An objective, a start, and what least_squares finds from given weights."""
    X, y = make_friedman1(60, n_features=5, noise=1.0, random_state=0)
    X = 3 * (X - 0.5)
    y = np.column_stack([(y - y.mean()) / y.std(), np.sin(3 * X[:, 0])])[:, :n_outputs]
    alpha, network = 0.5, Network((5, *hidden, n_outputs), "tanh", "identity")
    start = network.initial_parameters(np.random.RandomState(seed), float, lecun_bound)
    root = network.parameters(np.zeros(network.n_params))
    for W in root.coefs:
        W[...] = np.sqrt(alpha)

    def residuals(theta):
        params = network.parameters(theta)
        f = evaluate(network, params.coefs, params.intercepts, X)
        return np.concatenate([(f - y).ravel(), root.flat * theta])

    def theirs(theta):
        found = least_squares(
            residuals, theta.copy(), method="lm", xtol=1e-12, ftol=1e-12, max_nfev=20_000
        )
        return found.cost / len(y)

    objective = Objective(network, SquaredError(), X, y, alpha=alpha)
    return objective, start, penalty_of(objective, alpha), theirs


@pytest.mark.parametrize(("hidden", "n_outputs"), [((3,), 1), ((2, 2), 2)])
def test_lm_reaches_the_optimum_of_scipys_least_squares(hidden, n_outputs):
    objective, start, penalty, theirs = against_scipy(hidden, n_outputs, seed=0)
    # From afar the two may go into different valleys, with the version of scipy.
    near = lm(objective, start, penalty).theta
    start = objective.parameters(near + 0.02 * np.random.RandomState(0).randn(near.size))
    expected = theirs(start.flat)
    ours = lm(objective, start, penalty)
    assert ours.status == "converged"
    assert ours.loss == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("hidden", "n_outputs"), [((3,), 1), ((2, 2), 2)])
def test_lm_ends_where_scipys_least_squares_gains_no_more(hidden, n_outputs, seed):
    # From the same start the two may go into different valleys.
    objective, start, penalty, theirs = against_scipy(hidden, n_outputs, seed)
    ours = lm(objective, start, penalty)
    kept = objective.parameters(ours.theta)
    grad = objective.parameters(ours.theta)
    assert objective.loss_gradient(kept, grad) == pytest.approx(ours.loss, rel=1e-12)
    assert np.abs(grad.flat).max() < 1e-8
    assert theirs(ours.theta) == pytest.approx(ours.loss, rel=1e-12)


def test_all_of_the_normal_equations_are_looked_at():
    network, params, X, y, _ = problem(
        (2,), "tanh", "squared_error", "identity", 2, weighted=False, n=20
    )
    objective = Objective(network, SquaredError(), X, y)
    size = levenberg_marquardt._size
    for bad in (np.nan, np.inf, -np.inf):
        for part in ("loss", "pearson", "gradient", "curvature"):
            normal = objective.normal_equations(params)
            assert np.isfinite(size(normal))
            sums = getattr(normal, part)
            sums[tuple(np.zeros(sums.ndim, int))] = bad
            assert not np.isfinite(size(normal))
    # Nothing is gained at an optimum, where the gradient is zero.
    normal = objective.normal_equations(params)
    normal.gradient[...] = 0
    assert np.isfinite(size(normal))


def test_damping_follows_the_gain_ratio_by_nielsens_rule():
    # Madsen, Nielsen & Tingleff (2004), eq. 2.21.
    region = levenberg_marquardt._Region()
    region.start(5.0)
    assert region.mu == pytest.approx(5e-3)
    for gain_ratio, factor in [(1.0, 1 / 3), (7.0, 1 / 3), (0.5, 1.0), (0.25, 1.125), (0.0, 2.0)]:
        before = region.mu
        region.widen(gain_ratio)
        assert region.mu == pytest.approx(factor * before, rel=1e-15)
    before = region.mu
    for factor in (2.0, 8.0, 64.0):  # each refusal doubles the factor
        region.narrow()
        assert region.mu == pytest.approx(factor * before, rel=1e-15)
    region.widen(0.5)
    region.narrow()
    assert region.mu == pytest.approx(128.0 * before, rel=1e-15)


def test_the_unit_of_all_precisions_does_not_matter():
    # Powers of two: bit for bit. The first damping is a part of the curvature of M.
    network, params, X, y, w = problem(
        (3,), "tanh", "squared_error", "identity", 2, weighted=True, n=40
    )
    objective = Objective(network, SquaredError(), X, y, w)
    groups = WeightGroups.of(network, per_input=False)
    ends = []
    for unit in (1.0, 4.0, 2.0**-20, 2.0**-60):
        precisions = Precisions(unit * np.full(len(groups.names), 0.5), unit * np.array([1.0, 2.0]))
        start = network.parameters(params.flat.copy())
        ends.append(lm(objective, start, precisions, max_iter=4).theta)
    for end in ends[1:]:
        np.testing.assert_array_equal(end, ends[0])


# Ratkowsky's pasture regrowth, y = b1 / (1 + exp(b2 - b3 x)): NIST Statistical Reference
# Datasets, Rat42 (https://www.itl.nist.gov/div898/strd/nls/data/ratkowsky2.shtml).
RAT42_X = np.array([[9.0, 14.0, 21.0, 28.0, 42.0, 57.0, 63.0, 70.0, 79.0]]).T
RAT42_Y = np.array([8.93, 10.80, 18.59, 22.33, 39.35, 56.11, 61.73, 64.62, 67.08])


@pytest.mark.parametrize("b", [(100, 1, 0.1), (75, 2.5, 0.07)])
def test_rat42_from_nists_starts_to_nine_digits(b):
    # Their model is one logistic unit without output bias. A precision of 1e12 holds
    # ours at zero; the data determine the others to some 1e2.
    network = Network((1, 1, 1), "logistic", "identity")
    objective = Objective(network, SquaredError(), RAT42_X, RAT42_Y[:, None])
    start = network.parameters(np.array([b[2], -b[1], b[0], 0.0]))
    found = lm(objective, start, Precisions(np.array([0, 0, 0, 1e12]), np.ones(1)))
    squares = 2 * objective.losses(objective.parameters(found.theta))[0]
    assert squares == pytest.approx(8.0565229338, rel=1e-10)
    certified = [6.7359200066e-02, -2.6180768402, 7.2462237576e01]
    np.testing.assert_allclose(found.theta[:3], certified, rtol=3e-8)
    # Certified standard deviations: the residual one times sqrt(diag (J^T J)^-1).
    normal = objective.normal_equations(objective.parameters(found.theta))
    inverse = np.linalg.inv(symmetric(normal.curvature)[0, :3, :3])
    deviation = np.sqrt(np.diag(inverse) * squares / 6)
    certified = [3.4465663377e-03, 8.8295217536e-02, 1.7340283401]
    np.testing.assert_allclose(deviation, certified, rtol=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_rat42_with_an_output_bias_reaches_the_optimum_of_four_parameters(seed):
    def residuals(b):
        return b[3] + b[0] / (1 + np.exp(b[1] - b[2] * RAT42_X[:, 0])) - RAT42_Y

    theirs = least_squares(residuals, [75, 2.5, 0.07, 0], method="lm", xtol=1e-14, ftol=1e-14)
    assert 2 * theirs.cost < 8.0565229338  # NIST's model is the one with b[3] = 0
    model = BackpropRegressor(
        (1,), solver="lm", alpha=0, tol=0, n_iter_no_change=np.inf, random_state=seed
    ).fit(RAT42_X, RAT42_Y)
    squares = ((model.predict(RAT42_X) - RAT42_Y) ** 2).sum()
    assert squares == pytest.approx(2 * theirs.cost, rel=1e-9)


@pytest.mark.parametrize("params", [{"loss": "poisson"}, {"output_activation": "logistic"}])
def test_other_outputs_reach_the_optimum_that_lbfgs_finds(params):
    X, y = make_friedman1(80, n_features=5, noise=1.0, random_state=0)
    y = np.random.RandomState(0).poisson(np.maximum(y, 0) / 2).astype(float)
    common = {
        "hidden_layer_sizes": (2,),
        "alpha": 1.0,
        "tol": 0,
        "n_iter_no_change": np.inf,
        "random_state": 0,
        "max_iter": 5000,
        **params,
    }
    lbfgs = BackpropRegressor(solver="lbfgs", **common).fit(X, y)
    ours = BackpropRegressor(solver="lm", **common).fit(X, y)
    assert ours.loss_ == pytest.approx(lbfgs.loss_, rel=1e-6)


# --- what a run promises ---


@pytest.fixture(scope="module")
def friedman():
    return make_friedman1(150, n_features=5, noise=1.0, random_state=0)


@pytest.mark.parametrize("alpha", [0, 0.01, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_with_a_fixed_penalty_no_iteration_raises_the_loss(friedman, alpha, seed):
    model = BackpropRegressor((5,), solver="lm", alpha=alpha, random_state=seed).fit(*friedman)
    assert np.all(np.diff(model.loss_curve_) <= 0)
    assert model.best_iter_ == model.n_iter_ > 5


def awkward(case):
    rng = np.random.RandomState(0)
    X = rng.randn(40, 3)
    y = X[:, 0] + np.sin(3 * X[:, 1]) + 0.1 * rng.randn(40)
    if case == "duplicated columns":
        return np.hstack([X, X, X]), y
    if case == "constant columns":
        return np.column_stack([X, np.zeros(40), np.full(40, 1e6)]), y
    if case == "only constant columns":
        return np.ones((40, 2)), y
    if case == "nearly equal columns":
        return np.column_stack([X, X[:, 0] + 1e-9 * rng.randn(40)]), y
    if case == "more parameters than rows":
        return X[:8], y[:8]
    if case == "one row":
        return X[:1], y[:1]
    if case == "two rows":
        return X[:2], y[:2]
    if case == "constant target":
        return X, np.full(40, 7.0)
    if case == "zero target":
        return X, np.zeros(40)
    if case == "exactly linear":
        return X, X @ [1.0, 2.0, 3.0]
    if case == "two values of y":
        return X, (y > 0).astype(float)
    return X * [1e-150, 1.0, 1e150], y * 1e150


AWKWARD = [
    "duplicated columns",
    "constant columns",
    "only constant columns",
    "nearly equal columns",
    "more parameters than rows",
    "one row",
    "two rows",
    "constant target",
    "zero target",
    "exactly linear",
    "two values of y",
    "extreme units",
]


@pytest.mark.filterwarnings("ignore:The networks use:UserWarning")
@pytest.mark.filterwarnings("ignore:Training stopped at max_iter")
@pytest.mark.parametrize(
    ("case", "hidden", "alpha"), every_pair(AWKWARD, [(), (6,), (4, 4)], [0, "auto"])
)
def test_what_is_nearly_singular_still_gives_a_finite_fit(case, hidden, alpha):
    X, y = awkward(case)
    model = BackpropRegressor(
        hidden, solver="lm", alpha=alpha, n_networks=1, max_iter=200, random_state=0
    ).fit(X, y)
    mean, std = model.predict(X, return_std=True)
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()
    assert np.isfinite(model.loss_curve_).all()
    assert np.abs(mean - y).max() <= 3 * max(np.ptp(y), 1e-9 * np.abs(y).max())


@pytest.mark.parametrize("case", ["constant target", "zero target"])
def test_a_constant_target_is_predicted_exactly_everywhere(case):
    X, y = awkward(case)
    model = BackpropRegressor((6,), solver="lm", random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict(100 * X), y)


def test_weights_are_counts_to_the_solver():
    network, start, X, y, _ = problem(
        (3,), "tanh", "squared_error", "identity", 2, weighted=False, n=30
    )
    counts = np.arange(30) % 4 + 1
    weighted = Objective(network, SquaredError(), X, y, counts.astype(float), 0.1)
    repeated = Objective(
        network,
        SquaredError(),
        np.repeat(X, counts, axis=0),
        np.repeat(y, counts, axis=0),
        None,
        0.1,
    )
    for ours, theirs in zip(
        weighted.normal_equations(start), repeated.normal_equations(start), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)
    ends = [
        lm(objective, objective.parameters(start.flat), penalty_of(objective, 0.1), max_iter=20)
        for objective in (weighted, repeated)
    ]
    assert ends[0].loss == pytest.approx(ends[1].loss, rel=1e-9)


@pytest.mark.parametrize("alpha", [1.0, "auto"])
def test_weights_are_counts_to_all_that_a_fit_tells(friedman, alpha):
    X, y = friedman
    counts = np.arange(len(y)) % 3
    models = [
        BackpropRegressor((4,), solver="lm", alpha=alpha, n_networks=2, random_state=0)
        for _ in range(2)
    ]
    models[0].fit(X, y, sample_weight=counts)
    models[1].fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    for ours, theirs in zip(*(m.predict(X, return_std=True) for m in models), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    for name in ("noise_precision_", "n_effective_params_", "loss_"):
        np.testing.assert_allclose(getattr(models[0], name), getattr(models[1], name), rtol=1e-9)
    if alpha == "auto":
        np.testing.assert_allclose(models[0].log_evidence_, models[1].log_evidence_, rtol=1e-9)


def test_a_warm_start_goes_on_where_the_fit_ended(friedman):
    model = BackpropRegressor(
        (4,), solver="lm", alpha=1.0, tol=1e-9, warm_start=True, random_state=0
    ).fit(*friedman)
    first, n_iter = model.loss_, model.n_iter_
    before = model.predict(friedman[0])
    model.fit(*friedman)
    assert model.n_iter_ <= model.n_iter_no_change + 1 < n_iter
    assert model.loss_ <= first * (1 + 1e-12)
    np.testing.assert_allclose(model.predict(friedman[0]), before, atol=1e-3 * np.std(before))


def test_a_run_in_two_halves_ends_as_low_as_one(friedman):
    common = {"hidden_layer_sizes": (4,), "solver": "lm", "alpha": 1.0, "tol": 1e-9}
    halves = BackpropRegressor(**common, warm_start=True, max_iter=5, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=5"):
        halves.fit(*friedman)
    early = halves.loss_
    halves.set_params(max_iter=1000).fit(*friedman)
    assert halves.loss_curve_[0] < early
    whole = BackpropRegressor(**common, random_state=0).fit(*friedman)
    assert halves.loss_ == pytest.approx(whole.loss_, rel=1e-6)


def test_a_warm_start_with_evidence_stays_where_it_was(friedman):
    X, y = friedman
    model = BackpropRegressor(
        (4,), solver="lm", n_networks=1, tol=1e-8, warm_start=True, random_state=0
    ).fit(X, y)
    first, n_iter, before = model.log_evidence_[0], model.n_iter_, model.predict(X)
    model.fit(X, y)
    assert model.log_evidence_[0] > first - 1  # a nat is "not worth a mention" (Jeffreys)
    assert model.n_iter_ < n_iter
    np.testing.assert_allclose(model.predict(X), before, atol=0.1 * y.std())


@pytest.mark.parametrize("alpha", [0, "auto"])
def test_early_stopping_keeps_the_weights_of_the_best_validation_loss(alpha):
    X, y = make_friedman1(80, n_features=8, noise=3.0, random_state=0)
    X_val, y_val = make_friedman1(200, n_features=8, noise=3.0, random_state=1)
    model = BackpropRegressor(
        (8,), solver="lm", alpha=alpha, n_networks=1, early_stopping=True, random_state=0
    ).fit(X, y, X_val=X_val, y_val=y_val)
    curve = model.validation_loss_curve_
    assert model.best_iter_ == np.argmin(curve) + 1 < model.n_iter_
    assert model.score(X_val, y_val) == pytest.approx(model.best_validation_score_, abs=1e-9)
    scaled = (model.predict(X_val) - y_val) / model.y_scale_
    assert 0.5 * np.mean(scaled**2) == pytest.approx(min(curve), rel=1e-9)


def interrupt(monkeypatch, method, call):
    """Let the given call of a method of Objective be met by Ctrl-C."""
    real, calls = getattr(Objective, method), []

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Objective, method, interrupted)


@pytest.mark.parametrize("call", [3, 6, 9])
@pytest.mark.parametrize("method", ["losses", "normal_equations"])
@pytest.mark.parametrize("n_plain_steps", [None, 0, 2])
def test_ctrl_c_keeps_the_last_whole_iteration(monkeypatch, n_plain_steps, method, call):
    network, start, X, y, _ = problem(
        (4,), "tanh", "squared_error", "identity", 1, weighted=False, n=50
    )
    objective = Objective(network, SquaredError(), X, y)
    groups = WeightGroups.of(network, per_input=False)
    precisions = weak_precisions(groups, network, 3, np.ones(1))

    def run(max_iter):
        return lm(
            objective,
            objective.parameters(start.flat),
            precisions,
            max_iter=max_iter,
            n_plain_steps=n_plain_steps,
        )

    with monkeypatch.context() as patch:
        interrupt(patch, method, call)
        stopped = run(max_iter=100)
    assert stopped.status == "interrupted"
    assert 0 < stopped.n_iter == stopped.best_iter < call
    shorter = run(max_iter=stopped.n_iter)
    assert stopped.loss_curve == shorter.loss_curve
    np.testing.assert_array_equal(stopped.theta, shorter.theta)


def test_ctrl_c_ends_a_fit_with_one_warning(friedman, monkeypatch):
    X, y = friedman
    model = BackpropRegressor((4,), solver="lm", n_networks=3, random_state=0)
    interrupt(monkeypatch, "losses", 6)
    with pytest.warns(UserWarning, match="interrupted; the weights of iteration") as told:
        model.fit(X, y)
    assert len(told) == 1
    assert model.n_networks_ == 1
    assert model.score(X, y) > 0.3


def test_ctrl_c_before_the_first_step_keeps_the_start(friedman, monkeypatch):
    X, y = friedman
    interrupt(monkeypatch, "normal_equations", 1)
    with pytest.warns(UserWarning, match="iteration 0 are kept"):
        model = BackpropRegressor((4,), solver="lm", alpha=1.0, random_state=0).fit(X, y)
    assert (model.n_iter_, model.best_iter_) == (0, 0)
    np.testing.assert_allclose(model.predict(X), y.mean())


def test_weights_of_no_finite_loss_diverge_and_are_kept():
    network = Network((1, 1), "identity", "exp")
    objective = Objective(network, Poisson(), np.ones((2, 1)), np.ones((2, 1)))
    start = network.pack([np.array([[1e4]])], [np.zeros(1)], float)
    result = lm(objective, start, penalty_of(objective, 0.0), max_iter=10)
    assert result.status == "diverged"
    np.testing.assert_array_equal(result.theta, [1e4, 0])


def test_a_curvature_beyond_the_range_ends_a_run_where_it_is():
    network = Network((1, 1), "identity", "identity")
    objective = Objective(network, SquaredError(), np.full((2, 1), 1e200), np.ones((2, 1)))
    start = network.parameters(np.zeros(2))
    result = lm(objective, start, penalty_of(objective, 0.0), max_iter=10)
    assert (result.status, result.n_iter, result.loss) == ("converged", 1, 0.5)
    np.testing.assert_array_equal(result.theta, 0)


def test_max_iter_ends_a_run_with_a_warning(friedman):
    model = BackpropRegressor((4,), solver="lm", alpha=1.0, max_iter=3, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"max_iter=3.*solver='lm'"):
        model.fit(*friedman)
    assert model.n_iter_ == 3


def test_float32_rows_are_fitted_in_double_precision(friedman):
    X, y = friedman
    double = BackpropRegressor((4,), solver="lm", alpha=1.0, random_state=0)
    single = BackpropRegressor((4,), solver="lm", alpha=1.0, random_state=0)
    rounded = X.astype(np.float32)
    double.fit(rounded.astype(float), y)
    single.fit(rounded, y)
    assert single.coefs_[0].dtype == single.predict(rounded).dtype == np.float32
    assert single.loss_ == pytest.approx(double.loss_, rel=1e-6)


@pytest.mark.parametrize("alpha", [1.0, "auto"])
def test_sparse_rows_give_the_fit_of_dense_ones(friedman, alpha):
    X, y = friedman
    X = np.where(X < 0.4, 0, X)
    dense, sparse = (
        BackpropRegressor((4,), solver="lm", alpha=alpha, n_networks=1, random_state=0)
        for _ in range(2)
    )
    expected = dense.fit(X, y).predict(X, return_std=True)
    found = sparse.fit(sp.csr_array(X), y).predict(sp.csr_array(X), return_std=True)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * y.std())
