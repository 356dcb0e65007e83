"""`units_per_feature`: a first layer whose units see one feature each."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning

from sk_backprop import BackpropRegressor
from sk_backprop._inference.objective import Objective
from sk_backprop._network.families import SquaredError
from sk_backprop._network.network import Network, lecun_bound, own_features
from sk_backprop._training.initial import soft_bins, two_valued
from sk_backprop._training.problem import Data

FIXED = {"lm": {"alpha": 0.1}, "lbfgs": {"alpha": 0.1}, "sgd": {"max_iter": 20}}
SOLVERS = ["lm", "lbfgs", "adam", "sgd", "muon"]


def regressor(hidden=(5,), per_feature=4, **params):
    defaults = {"solver": "muon", "n_networks": 1, "random_state": 0}
    return BackpropRegressor(hidden, units_per_feature=per_feature, **{**defaults, **params})


@pytest.fixture(scope="module")
def friedman():
    return make_friedman1(120, n_features=5, noise=0.5, random_state=0)


def network_of(n_features=3, per_feature=4, hidden=(5,), n_outputs=1):
    return Network((n_features, n_outputs), "tanh", "identity", per_feature).with_hidden(hidden)


# --- the network ---


def test_own_features_are_blocks():
    expected = np.kron(np.eye(3, dtype=bool), np.ones((1, 4), bool))
    np.testing.assert_array_equal(own_features(network_of()), expected)


def test_a_feature_of_two_values_has_one_unit():
    network = Network((4, 1), "tanh", "identity", 3, (1, 3)).with_hidden((5,))
    assert network.layer_sizes == (4, 8, 5, 1)
    expected = np.zeros((4, 8), bool)
    for feature, units in enumerate(([0, 1, 2], [3], [4, 5, 6], [7])):
        expected[feature, units] = True
    np.testing.assert_array_equal(own_features(network), expected)
    X = np.random.RandomState(0).randn(60, 4)
    X[:, 1], X[:, 3] = np.sign(X[:, 1]), 3.0 * (X[:, 3] > 1)
    assert two_valued(X) == two_valued(X - 7) == (1, 3)
    assert two_valued(np.column_stack([X[:, 0], np.ones(60)])) == ()
    W, b = soft_bins(network, Data(X, np.zeros((60, 1))))
    assert not W[~expected].any()
    # The unit tells the values apart, and the others are as if each feature had as many.
    for feature, unit in ((1, 3), (3, 7)):
        at = [np.tanh(W[feature, unit] * x + b[unit]) for x in np.unique(X[:, feature])]
        assert at[1] - at[0] > 0.7
    alike, centres = soft_bins(network_of(4, 3), Data(X, np.zeros((60, 1))))
    np.testing.assert_array_equal(
        W[[0, 2]][:, [0, 1, 2, 4, 5, 6]], alike[[0, 2]][:, [0, 1, 2, 6, 7, 8]]
    )
    np.testing.assert_array_equal(b[[0, 1, 2, 4, 5, 6]], centres[[0, 1, 2, 6, 7, 8]])


@pytest.mark.parametrize("kind", ["dense", "with ones", "sparse"])
@pytest.mark.parametrize("hidden", [(), (5,)], ids=str)
def test_the_gradient_is_that_of_the_weights_that_there_are(hidden, kind):
    rng = np.random.RandomState(0)
    network = network_of(hidden=hidden, n_outputs=2)
    X, y = rng.randn(30, 3), rng.randn(30, 2)
    rows = {"dense": X, "with ones": np.column_stack([X, np.ones(30)]), "sparse": sp.csr_matrix(X)}
    objective = Objective(network, SquaredError(), rows[kind], y, alpha=0.1)
    theta = network.initial_parameters(rng, float, lecun_bound)
    theta.coefs[0][...] *= own_features(network)
    grad = objective.parameters(theta.flat)
    objective.loss_gradient(theta, grad)
    assert not grad.coefs[0][~own_features(network)].any()
    scratch = objective.parameters(theta.flat)
    free = np.ones(network.n_params, bool)
    network.parameters(free).coefs[0][...] = own_features(network)
    for direction in np.eye(network.n_params)[free]:
        ends = [network.parameters(theta.flat + h * direction) for h in (1e-5, -1e-5)]
        up, down = (objective.loss_gradient(end, scratch) for end in ends)
        assert grad.flat @ direction == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-8)
    unpenalised = Objective(network, SquaredError(), rows[kind], y)
    unpenalised.loss_gradient(theta, grad)
    normal = unpenalised.normal_equations(theta)
    np.testing.assert_allclose(normal.gradient.sum(axis=0) / 30, grad.flat, atol=1e-12)
    assert not normal.curvature[:, ~free].any()
    assert not normal.curvature[:, :, ~free].any()


# --- where they start ---


def test_they_start_at_quantiles_as_steep_as_these_are_close():
    rng = np.random.RandomState(0)
    X = np.column_stack([rng.randn(1001), rng.exponential(size=1001) ** 3])
    W, b = soft_bins(network_of(2, 8), Data(X, np.zeros((1001, 1))))
    for j, x in enumerate(X.T):
        slopes = W[j, 8 * j : 8 * j + 8]
        centres = -b[8 * j : 8 * j + 8] / slopes
        expected = np.quantile(x, (np.arange(8) + 0.5) / 8, method="inverted_cdf")
        np.testing.assert_allclose(centres, expected, rtol=1e-12)
        inner = 2 / (expected[2:] - expected[:-2])
        first, third = np.quantile(x, [0.25, 0.75], method="inverted_cdf")
        np.testing.assert_allclose(slopes[1:-1], np.minimum(inner, 20 * 1.349 / (third - first)))
    assert not W[0, 8:].any()
    assert not W[1, :8].any()


def test_their_steepness_has_limits_and_constants_have_none():
    X = np.column_stack([np.tile([0.0, 1.0], 50), np.full(100, 3.0)])
    W, b = soft_bins(network_of(2, 4), Data(X, np.zeros((100, 1))))
    np.testing.assert_allclose(W[0, [0, 3]], 20 * 1.349)
    np.testing.assert_allclose(W[0, [1, 2]], 2.0)  # half of the distance from 0 to 1
    assert not W[1].any()
    assert not b[4:].any()


def test_a_value_far_away_leaves_the_steps_of_the_others_as_they_are():
    x = np.random.RandomState(0).uniform(size=(200, 1))
    outlier = np.append(x, [[1e4]], axis=0)
    steps = [soft_bins(network_of(1, 8), Data(X, np.zeros((len(X), 1)))) for X in (x, outlier)]
    np.testing.assert_allclose(steps[1][0], steps[0][0], rtol=0.15)
    # Nearly all values are the same: the standard deviation is what there is.
    rare = np.where(np.arange(200) < 20, 1.0, 0.0)[:, None]
    W, _ = soft_bins(network_of(1, 8), Data(rare, np.zeros((200, 1))))
    assert W.max() == pytest.approx(20 / 0.3)


def test_weights_of_rows_are_repetitions():
    rng = np.random.RandomState(0)
    X, w = rng.randn(50, 2), rng.randint(1, 5, 50)
    found = soft_bins(network_of(2), Data(X, np.zeros((50, 1)), w.astype(float)))
    repeated = np.repeat(X, w, axis=0)
    expected = soft_bins(network_of(2), Data(repeated, np.zeros((len(repeated), 1))))
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-12)


# --- fits ---


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.filterwarnings("ignore:Training stopped at max_iter")  # no step leaves the blocks
def test_every_solver_keeps_the_blocks(friedman, solver, precondition):
    model = regressor(solver=solver, precondition=precondition, **FIXED.get(solver, {}))
    model.fit(*friedman)
    assert model.units_per_feature_ == 4
    assert model.hidden_layer_sizes_ == (20, 5)
    own = np.kron(np.eye(5, dtype=bool), np.ones((1, 4), bool))
    for W in (model.coefs_[0], model.raw_coefs_[0]):
        assert W.shape == (5, 20)
        assert not W[~own].any()
        assert W[own].all()


def test_the_evidence_of_lm_is_that_of_the_weights_that_there_are(friedman):
    model = regressor(solver="lm", weight_groups="layer").fit(*friedman)
    assert model.score(*friedman) > 0.9
    assert 5 < model.n_effective_params_[0] < 60


def test_without_further_layers_the_model_is_additive(friedman):
    model = regressor((), 6, activation="tanh").fit(*friedman)
    a, b = np.random.RandomState(0).uniform(size=(2, 5))
    both = np.where(np.arange(5) < 2, a, b)
    other = np.where(np.arange(5) < 2, b, a)
    f = model.predict(np.array([a, b, both, other]))
    assert f[0] + f[1] == pytest.approx(f[2] + f[3])


# Later steps of a minimiser multiply differences in the last digits.
FEW_STEPS = [{"max_iter": 2, "batch_size": 120}, {"solver": "lbfgs", "alpha": 0.1, "max_iter": 4}]


@pytest.mark.parametrize("params", FEW_STEPS, ids=["muon", "lbfgs"])
@pytest.mark.filterwarnings("ignore:Training stopped at max_iter")  # after few steps, on purpose
def test_columns_in_another_order_give_the_same_predictions(friedman, params):
    X, y = friedman
    order = [3, 0, 4, 1, 2]
    model = regressor(**params)
    expected = model.fit(X, y).predict(X)
    found = model.fit(X[:, order], y).predict(X[:, order])
    assert np.ptp(expected) > 0.03 * np.ptp(y)
    np.testing.assert_allclose(found, expected, atol=1e-4 * y.std())


@pytest.mark.parametrize("params", FEW_STEPS, ids=["muon", "lbfgs"])
@pytest.mark.filterwarnings("ignore:Training stopped at max_iter")  # after few steps, on purpose
def test_sparse_rows_give_what_dense_rows_do(friedman, params):
    X, y = friedman
    X = np.where(X < 0.4, 0, X)
    dense = regressor(**params).fit(X, y).predict(X)
    sparse = regressor(**params).fit(sp.csr_matrix(X), y).predict(X)
    np.testing.assert_allclose(sparse, dense, atol=1e-4 * y.std())


def test_networks_are_averaged_and_continued(friedman):
    X, y = friedman
    model = regressor(n_networks=2, warm_start=True).fit(X, y)
    assert model.hidden_layer_sizes_ == (20, 5)
    assert model.coefs_[0].shape == (5, 40)
    assert not (model.coefs_[0] != 0).sum(axis=0).max() > 1
    loss = model.loss_
    model.set_params(hidden_layer_sizes="auto").fit(X, y)
    assert model.hidden_layer_sizes_ == (20, 5)
    assert model.loss_ < loss
    with pytest.raises(ValueError, match="units_per_feature is 4; now it would be 3"):
        model.set_params(units_per_feature=3).fit(X, y)


@pytest.mark.parametrize("hidden", [(5,), "auto"], ids=str)
def test_initial_weights_may_be_given(friedman, hidden):
    X, y = friedman
    model = regressor().fit(X, y)
    again = regressor(hidden, solver="lbfgs", alpha=0.1, max_iter=3)
    with pytest.warns(ConvergenceWarning):
        again.fit(X, y, coefs_init=model.coefs_, intercepts_init=model.intercepts_)
    assert again.hidden_layer_sizes_ == (20, 5)
    # The slopes as they were, up to three steps.
    assert np.corrcoef(again.coefs_[0].ravel(), model.coefs_[0].ravel())[0, 1] > 0.99
    model.coefs_[0][1, 2] = 0.1
    with pytest.raises(ValueError, match=r"coefs_init\[0\] has weights from one feature to units"):
        again.fit(X, y, coefs_init=model.coefs_)
