"""Every derivative, against JAX's automatic differentiation of the formulas in the docstrings.

The networks, losses, weights and penalties are drawn; nothing here calls the package for what it
is compared with.
"""

import numpy as np
import pytest
from likelihoods import likelihood

from sk_backprop import BackpropRegressor
from sk_backprop._inference.evidence import Precisions, WeightGroups, reestimate
from sk_backprop._inference.laplace import evident
from sk_backprop._inference.objective import Objective
from sk_backprop._network.network import Network, lecun_bound

jax = pytest.importorskip("jax")
jnp = jax.numpy

FUNCTIONS = {
    "identity": lambda z: z,
    "logistic": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": lambda z: jnp.maximum(z, 0.0),
    "exp": jnp.exp,
}
LOSSES = [("squared_error", "identity"), ("squared_error", "logistic"), ("poisson", "exp")]
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
CASES = range(12)  # each loss with each number of hidden layers


@pytest.fixture(autouse=True, scope="module")
def double_precision():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


class Case:
    """A network, its weights, rows, weights of the rows and a penalty, all drawn."""

    def __init__(self, number):
        rng = np.random.RandomState(number)
        self.loss, output = LOSSES[number % len(LOSSES)]
        hidden = tuple(rng.randint(1, 6, size=number % 4))
        n_features, self.n_outputs = rng.randint(1, 5), rng.randint(1, 4)
        activation = ACTIVATIONS[rng.randint(len(ACTIVATIONS))]
        self.network = Network((n_features, *hidden, self.n_outputs), activation, output)
        self.params = self.network.initial_parameters(rng, float, lecun_bound)
        self.n = rng.randint(2, 200)
        self.X, self.y = rng.randn(self.n, n_features), rng.uniform(0, 2, (self.n, self.n_outputs))
        if self.loss == "poisson":
            self.y[self.y < 0.5] = 0
        self.w = rng.uniform(0.2, 3, self.n) if rng.rand() < 0.5 else None
        self.alpha = rng.uniform(0, 3)
        self.objective = Objective(
            self.network, likelihood(self.loss, self.network), self.X, self.y, self.w, self.alpha
        )

    @property
    def weights(self):
        return np.ones(self.n) if self.w is None else self.w

    def layers(self, theta):
        """[(W, b), ...] of a flat vector: W_1.ravel(), b_1, W_2.ravel(), b_2, ..."""
        start, layers = 0, []
        for n_in, n_out in zip(self.network.layer_sizes, self.network.layer_sizes[1:]):
            W = theta[start : start + n_in * n_out].reshape(n_in, n_out)
            start += n_in * n_out
            layers.append((W, theta[start : start + n_out]))
            start += n_out
        return layers

    def output(self, theta, X):
        h, layers = X, self.layers(theta)
        for W, b in layers[:-1]:
            h = FUNCTIONS[self.network.activation](h @ W + b)
        W, b = layers[-1]
        return FUNCTIONS[self.network.output_activation](h @ W + b)

    def row_losses(self, f):
        if self.loss == "squared_error":
            return 0.5 * (f - self.y) ** 2
        return (
            jnp.where(self.y > 0, self.y * jnp.log(np.where(self.y > 0, self.y, 1) / f), 0)
            - self.y
            + f
        )

    def information(self, f):
        """Second derivative of the loss by f, in the mean over y: 1, or 1 / f."""
        return np.ones_like(self.y) if self.loss == "squared_error" else np.asarray(1 / f)

    def objective_value(self, theta):
        losses = self.weights @ self.row_losses(self.output(theta, self.X)).sum(axis=1)
        penalty = 0.5 * self.alpha * sum((W**2).sum() for W, _ in self.layers(theta))
        return (losses + penalty) / self.weights.sum()


def assert_close(found, expected, rtol=1e-11):
    expected = np.asarray(expected)
    scale = np.abs(expected).max() if expected.size else 0.0
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("number", CASES)
def test_loss_and_gradient(number):
    case = Case(number)
    value, gradient = jax.value_and_grad(case.objective_value)(case.params.flat)
    grad = case.objective.parameters(case.params.flat)
    assert case.objective.loss_gradient(case.params, grad) == pytest.approx(float(value), rel=1e-12)
    assert_close(grad.flat, gradient)


@pytest.mark.parametrize("number", CASES)
def test_normal_equations(number):
    case = Case(number)
    theta = jnp.array(case.params.flat)
    f, J = case.output(theta, case.X), jax.jacrev(case.output)(theta, case.X)
    losses = case.row_losses(f)
    slope = jax.grad(lambda f: case.row_losses(f).sum())(f)
    information = case.information(f)
    normal = case.objective.normal_equations(case.params)
    assert_close(normal.loss, case.weights @ losses)
    for k in range(case.n_outputs):
        assert_close(normal.gradient[k], (case.weights * slope[:, k]) @ J[:, k])
        curvature = J[:, k].T @ ((case.weights * information[:, k])[:, None] * J[:, k])
        assert_close(np.tril(normal.curvature[k]), np.tril(curvature))


def of_evidence(number):
    """A case, groups of its weights, their precisions, and those of the noise.

    And the slopes by the weights, by the root of what a row tells of them, and A.
    """
    case = Case(number)
    rng = np.random.RandomState(1000 + number)
    groups = WeightGroups.of(case.network, per_input=bool(number % 2))
    precisions = Precisions(
        rng.uniform(0.1, 3, len(groups.names)), rng.uniform(0.5, 5, case.n_outputs)
    )
    theta = jnp.array(case.params.flat)
    J = np.asarray(jax.jacrev(case.output)(theta, case.X))
    J = J * np.sqrt(case.information(case.output(theta, case.X)))[:, :, None]
    data = np.einsum("k,n,nki,nkj->ij", precisions.noise, case.weights, J, J)
    A = data + np.diag(precisions.weight[groups.index])
    return case, groups, precisions, J, A


@pytest.mark.parametrize("number", CASES)
def test_evidence_and_effective_parameters(number):
    case, groups, precisions, J, A = of_evidence(number)
    theta, prior = case.params.flat, precisions.weight[groups.index]
    losses = case.weights @ np.asarray(case.row_losses(case.output(theta, case.X)))
    # A count of 0 has a probability, and no density that grows as the noise falls.
    n = case.weights @ (np.ones_like(case.y) if case.loss == "squared_error" else case.y > 0)
    expected = (
        -precisions.noise @ losses
        - 0.5 * prior @ theta**2
        - 0.5 * jnp.linalg.slogdet(A)[1]
        + 0.5 * np.log(prior).sum()
        + 0.5 * n @ np.log(precisions.noise / (2 * np.pi))
    )
    normal = case.objective.normal_equations(case.params)
    found = reestimate(theta, normal, groups, precisions, case.weights.sum())
    assert found.log_evidence == pytest.approx(float(expected), rel=1e-10)
    inverse = np.linalg.inv(A)
    by_output = [
        beta * np.einsum("ij,n,ni,nj", inverse, case.weights, J[:, k], J[:, k])
        for k, beta in enumerate(precisions.noise)
    ]
    np.testing.assert_allclose(found.n_effective, by_output, rtol=1e-8)


@pytest.mark.parametrize("number", CASES)
def test_predictive_variance(number):
    case, groups, precisions, _, A = of_evidence(number)
    posterior, _ = evident(case.objective, case.params, groups, precisions)
    new = np.random.RandomState(number).randn(7, case.X.shape[1])
    g = np.asarray(jax.jacrev(case.output)(jnp.array(case.params.flat), new))
    expected = np.einsum("nki,ij,nkj->nk", g, np.linalg.inv(A), g)
    found = posterior.variance(case.network, case.params, new)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("n_networks", [1, 2])
def test_slopes_of_a_fitted_function(loss, n_networks):
    rng = np.random.RandomState(0)
    X = rng.uniform(1, 3, (60, 3)) * [1, 100, 0.01]
    y = np.exp(np.sin(X[:, 0]) + X[:, 1] / 300)
    model = BackpropRegressor(
        (4,), loss=loss, solver="lm", alpha=0.1, n_networks=n_networks, random_state=0
    ).fit(X, y)
    (W1, W2), (b1, b2) = model.raw_coefs_, model.raw_intercepts_

    def predict(x):
        f = jax.nn.sigmoid(x @ W1 + b1) @ W2 + b2
        return (jnp.exp(f) if loss == "poisson" else f)[0]

    np.testing.assert_allclose(jax.vmap(predict)(X), model.predict(X), rtol=1e-10)
    slopes = jax.vmap(jax.grad(predict))(X)
    assert_close(model.gradient(X), slopes, rtol=1e-9)
