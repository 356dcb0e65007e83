"""The textbook inside, and other answers that are known for certain."""

import numpy as np
import pytest
from reference import tutorial_epochs
from sklearn.datasets import load_diabetes, load_linnerud
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, Ridge

from sk_backprop import BackpropRegressor
from sk_backprop._network import Network
from sk_backprop._objective import Objective

TUTORIAL_X = np.array([[2, 9], [1, 5], [3, 6]], dtype=float)
TUTORIAL_Y = np.array([[92], [86], [89]], dtype=float)


@pytest.mark.parametrize("n_epochs", [1, 100])
def test_tutorial_network_step_for_step(n_epochs):
    rng = np.random.RandomState(7)
    W1, b1 = rng.uniform(size=(2, 3)), rng.uniform(size=3)
    W2, b2 = rng.uniform(size=(3, 1)), rng.uniform(size=1)
    rate_of_sums = 0.1
    textbook = BackpropRegressor(
        hidden_layer_sizes=(3,),
        solver="sgd",
        output_activation="logistic",
        precondition=False,
        momentum=0,
        alpha=0,
        shuffle=False,
        batch_size=3,
        learning_rate_init=3 * rate_of_sums,  # we average over the three rows
        max_iter=n_epochs,
        tol=0,
        n_iter_no_change=np.inf,
    )
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        textbook.fit(TUTORIAL_X, TUTORIAL_Y.ravel(), coefs_init=[W1, W2], intercepts_init=[b1, b2])
    expected = tutorial_epochs(
        TUTORIAL_X / TUTORIAL_X.max(axis=0),
        TUTORIAL_Y / TUTORIAL_Y.max(axis=0),
        W1,
        b1,
        W2,
        b2,
        rate_of_sums,
        n_epochs,
    )
    got = [
        textbook.coefs_[0],
        textbook.intercepts_[0],
        textbook.coefs_[1],
        textbook.intercepts_[1],
    ]
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    W1, b1, W2, b2 = expected
    hidden = 1 / (1 + np.exp(-(TUTORIAL_X / [3, 9] @ W1 + b1)))
    prediction = 92 / (1 + np.exp(-(hidden @ W2 + b2)))
    np.testing.assert_allclose(textbook.predict(TUTORIAL_X), prediction.ravel(), rtol=1e-12)


def test_classic_worked_example():
    # Two inputs, two hidden, two outputs, sigmoid everywhere, E = sum (t - o)^2 / 2:
    # the figures of the worked example that the tutorial's section on w5 follows.
    network = Network((2, 2, 2), "logistic", "logistic")
    start = network.pack(
        [np.array([[0.15, 0.25], [0.20, 0.30]]), np.array([[0.40, 0.50], [0.45, 0.55]])],
        [np.array([0.35, 0.35]), np.array([0.60, 0.60])],
        float,
    )
    objective = Objective(
        network, "squared_error", np.array([[0.05, 0.10]]), np.array([[0.01, 0.99]])
    )
    grad = objective.parameters(start.flat)
    error = objective.loss_gradient(start, grad)
    assert error == pytest.approx(0.298371109, abs=5e-10)
    assert grad.coefs[1][0, 0] == pytest.approx(0.082167041, abs=5e-10)
    after = network.parameters(start.flat - 0.5 * grad.flat)
    w5_to_w8 = after.coefs[1].T.ravel()
    np.testing.assert_allclose(
        w5_to_w8, [0.35891648, 0.408666186, 0.511301270, 0.561370121], rtol=0, atol=5e-9
    )
    w1_to_w4 = after.coefs[0].T.ravel()
    np.testing.assert_allclose(
        w1_to_w4, [0.149780716, 0.19956143, 0.24975114, 0.29950229], rtol=0, atol=5e-9
    )


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("hidden", [(), (4,), (5, 6)])
@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_identity_network_fits_what_linear_regression_fits(solver, hidden, precondition):
    X, y = load_diabetes(return_X_y=True, scaled=False)
    linear = BackpropRegressor(
        hidden_layer_sizes=hidden,
        activation="identity",
        solver=solver,
        alpha=0,
        precondition=precondition,
        max_iter=20_000,
        max_fun=50_000,
        tol=0,
        n_iter_no_change=200,
        random_state=0,
    ).fit(X, y)
    expected = LinearRegression().fit(X, y).predict(X)
    np.testing.assert_allclose(linear.predict(X), expected, rtol=0, atol=1e-4 * np.std(y))


@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_no_hidden_layer_with_penalty_is_ridge(solver):
    # In the solver's coordinates: inputs and targets standardised.
    X, y = load_linnerud(return_X_y=True)
    alpha = 3.0
    ours = BackpropRegressor(
        hidden_layer_sizes=(), solver=solver, alpha=alpha, tol=0, max_iter=1000
    ).fit(X, y)
    Z, T = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean(axis=0)) / y.std(axis=0)
    expected = Ridge(alpha=alpha).fit(Z, T).predict(Z) * y.std(axis=0) + y.mean(axis=0)
    np.testing.assert_allclose(ours.predict(X), expected, rtol=1e-8)


@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_nist_rat42_reaches_the_certified_sum_of_squares(solver):
    # NIST StRD, Ratkowsky 1983: y = b1 / (1 + exp(b2 - b3 x)), one logistic neuron.
    # https://www.itl.nist.gov/div898/strd/nls/data/ratkowsky2.shtml
    x = np.array([9.0, 14, 21, 28, 42, 57, 63, 70, 79])[:, None]
    y = np.array([8.930, 10.800, 18.590, 22.330, 39.350, 56.110, 61.730, 64.620, 67.080])
    neuron = BackpropRegressor(
        hidden_layer_sizes=(1,),
        solver=solver,
        alpha=0,
        max_iter=5000,
        tol=0,
        n_iter_no_change=100,
        random_state=0,
    ).fit(x, y)
    # The network has an output bias beside the model's three parameters, so it may
    # go below the certified 8.0565229338.
    assert np.sum((neuron.predict(x) - y) ** 2) <= 8.0565229338
