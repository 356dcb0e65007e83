"""Where training ends: at optima, which lm and lbfgs find alike."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import special
from sklearn.linear_model import PoissonRegressor, Ridge
from sklearn.preprocessing import StandardScaler

from sk_backprop import BackpropRegressor
from sk_backprop.textbook import backprop_pass

TO_THE_END = {"tol": 0.0, "n_iter_no_change": np.inf, "max_iter": 20_000, "max_fun": 10**6}
SOLVERS = ["lm", "lbfgs"]


@pytest.fixture
def table():
    """Rows of units from 1e-3 to 1e3, two targets of y >= 0, and weights."""
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 2, (80, 4)) * [1, 1e3, 1e-3, 20] + [0, 5e3, 0, 7]
    Z = StandardScaler().fit_transform(X)
    y = np.exp(0.3 * Z @ rng.randn(4, 2)) * rng.uniform(0.5, 2, (80, 2))
    return X, y, rng.randint(1, 4, 80).astype(float)


def fitted(X, y, weights=None, **params):
    params = {"hidden_layer_sizes": (), "random_state": 0, **TO_THE_END, **params}
    return BackpropRegressor(**params).fit(X, y, sample_weight=weights)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_a_linear_model_is_ridge_regression(table, solver, weighted, container):
    X, y, weights = table
    weights = weights if weighted else None
    ours = fitted(container(X), y, weights, solver=solver, alpha=3.0).predict(X)
    scaler = StandardScaler().fit(X, sample_weight=weights)
    Z = scaler.transform(X)
    spread = np.sqrt(np.cov(y.T, aweights=weights, bias=True).diagonal())
    theirs = Ridge(alpha=3.0, solver="cholesky").fit(Z, y / spread, sample_weight=weights)
    np.testing.assert_allclose(ours / spread, theirs.predict(Z), rtol=0, atol=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_linear_poisson_model_is_that_of_the_generalized_linear_model(table, solver):
    X, y, weights = table
    y = y[:, 0]
    ours = fitted(X, y, weights, solver=solver, alpha=3.0, loss="poisson").predict(X)
    Z = StandardScaler().fit(X, sample_weight=weights).transform(X)
    mean = np.average(y, weights=weights)
    theirs = PoissonRegressor(
        # Theirs is half the deviance and half the penalty, of means.
        alpha=3.0 / weights.sum(),
        solver="newton-cholesky",
        tol=1e-12,
    ).fit(Z, y / mean, sample_weight=weights)
    np.testing.assert_allclose(ours / mean, theirs.predict(Z), rtol=1e-8)


@pytest.mark.parametrize("precondition", [True, False])
def test_both_solvers_find_the_one_optimum_of_least_squares(table, precondition):
    # Little is left unexplained. lbfgs sees no step below sqrt(2 eps E) of a loss E: with
    # E of 0.2, on the targets of `table`, it ended up to 2e-8 from lm.
    X, _, weights = table
    Z, rng = StandardScaler().fit_transform(X), np.random.RandomState(1)
    y = Z @ rng.randn(4, 2) + 0.01 * rng.randn(80, 2)
    assert_both_solvers_end_at_one_place(X, y, weights, alpha=0.01, precondition=precondition)


@pytest.mark.parametrize("precondition", [True, False])
def test_both_solvers_find_the_one_optimum_of_a_poisson_model(table, precondition):
    assert_both_solvers_end_at_one_place(
        *table, alpha=1.0, precondition=precondition, loss="poisson"
    )


def assert_both_solvers_end_at_one_place(X, y, weights, **options):
    lm, lbfgs = (fitted(X, y, weights, solver=solver, **options) for solver in SOLVERS)
    assert lm.loss_ == pytest.approx(lbfgs.loss_, rel=1e-12)
    spread = y.std(axis=0)
    np.testing.assert_allclose(lm.predict(X) / spread, lbfgs.predict(X) / spread, rtol=0, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("activation", ["logistic", "tanh"])
def test_from_one_start_both_solvers_find_one_optimum(table, activation, seed):
    options = {"hidden_layer_sizes": (2,), "activation": activation, "alpha": 1.0}
    lm, lbfgs = (fitted(*table, solver=s, random_state=seed, **options) for s in SOLVERS)
    assert lm.loss_ == pytest.approx(lbfgs.loss_, rel=1e-12)


@pytest.mark.parametrize(("solver", "other"), [("lm", "lbfgs"), ("lbfgs", "lm")])
@pytest.mark.parametrize("hidden", [(4,), (3, 2)])
def test_where_one_solver_ends_the_other_gains_nothing(table, hidden, solver, other):
    # With more units, from one start, they may go into different valleys.
    for seed in range(3):
        options = {"hidden_layer_sizes": hidden, "alpha": 1.0, "random_state": seed}
        model = fitted(*table, solver=solver, **options)
        at_end = model.loss_
        model.set_params(solver=other, warm_start=True)
        X, y, weights = table
        assert model.fit(X, y, sample_weight=weights).loss_ == pytest.approx(at_end, rel=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("hidden", [(), (3,), (3, 2)])
@pytest.mark.parametrize("activation", ["logistic", "tanh"])
@pytest.mark.parametrize("output", ["identity", "logistic"])
def test_the_gradient_is_zero_where_training_ends(table, solver, hidden, activation, output):
    # In the textbook's units, whose chain rule is that of `textbook`, row by row.
    X, y, _ = table
    alpha = 1.0
    model = fitted(
        *(X, y),
        hidden_layer_sizes=hidden,
        activation=activation,
        output_activation=output,
        precondition=False,
        solver=solver,
        alpha=alpha,
    )
    at_end = backprop_pass(
        *(X / np.abs(X).max(axis=0), y / y.max(axis=0)),
        *(model.coefs_, model.intercepts_),
        activation=activation,
        output_activation=output,
    )
    assert model.loss_ == pytest.approx(
        (at_end.error + alpha / 2 * sum((W**2).sum() for W in model.coefs_)) / len(X), rel=1e-12
    )
    gradient = [
        *(G + alpha * W for G, W in zip(at_end.coef_gradients, model.coefs_, strict=True)),
        *at_end.intercept_gradients,
    ]
    # The loss has the size of 1 there, and rounding lets it see gradients of 1e-8.
    assert max(np.abs(part).max() for part in gradient) / len(X) < 5e-9


def in_standard_coordinates(model, X, y, weights):
    """Standardised inputs and targets, and the layers [V; c] of the fitted network there.

    Its hidden units are tanh units: sigma(a) = (1 + tanh(a / 2)) / 2.
    """
    x = X / model.scaler_.scale_
    center = np.average(x, axis=0, weights=weights)
    spread = np.sqrt(np.average((x - center) ** 2, axis=0, weights=weights))
    mean = np.average(y, axis=0, weights=weights)
    Ws, bs = [W.copy() for W in model.coefs_], [b.copy() for b in model.intercepts_]
    bs[0] += center @ Ws[0]
    Ws[0] *= spread[:, None]
    if model.loss == "poisson":
        bs[-1] += np.log(model.y_scale_ / mean)
        target = y / mean
    else:
        deviation = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weights))
        Ws[-1] *= model.y_scale_ / deviation
        bs[-1] = (model.y_location_ + model.y_scale_ * bs[-1] - mean) / deviation
        target = (y - mean) / deviation
    if model.activation == "logistic":
        for layer in range(len(Ws) - 1):
            Ws[layer], bs[layer] = Ws[layer] / 2, bs[layer] / 2
            bs[layer + 1] = bs[layer + 1] + Ws[layer + 1].sum(axis=0) / 2
            Ws[layer + 1] = Ws[layer + 1] / 2
    return (x - center) / spread, target, [np.vstack(both) for both in zip(Ws, bs, strict=True)]


def penalised_loss(layers, Z, target, weights, alpha, loss):
    """Mean over rows, of a network of tanh units with real or complex weights."""
    h = Z
    for V in layers[:-1]:
        h = np.tanh(h @ V[:-1] + V[-1])
    f = h @ layers[-1][:-1] + layers[-1][-1]
    if loss == "poisson":
        each = np.exp(f) - target * f + special.xlogy(target, target) - target
    else:
        each = (f - target) ** 2 / 2
    penalty = alpha / 2 * sum((V[:-1] ** 2).sum() for V in layers)
    return (weights @ each.sum(axis=1) + penalty) / weights.sum()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("hidden", [(), (3,), (3, 2)])
@pytest.mark.parametrize("activation", ["logistic", "tanh"])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_the_gradient_is_zero_in_the_coordinates_of_the_solvers(
    table, solver, hidden, activation, loss
):
    # Weighted rows; the derivatives by complex steps.
    X, y, weights = table
    options = {"hidden_layer_sizes": hidden, "activation": activation, "loss": loss}
    model = fitted(X, y, weights, solver=solver, alpha=1.0, **options)
    Z, target, layers = in_standard_coordinates(model, X, y, weights)
    rest = Z, target, weights, 1.0, loss
    assert model.loss_ == pytest.approx(penalised_loss(layers, *rest), rel=1e-12)
    derivatives = []
    layers = [V.astype(complex) for V in layers]
    for V in layers:
        for at in np.ndindex(V.shape):
            V[at] += 1e-30j
            derivatives.append(penalised_loss(layers, *rest).imag / 1e-30)
            V[at] = V[at].real
    # Below a gradient of sqrt(2 eps E c), where c is the curvature, some 1, no step is seen in a
    # loss E, here .1 to .4. Largest: 7e-9.
    assert np.abs(derivatives).max() < np.sqrt(np.finfo(float).eps)
