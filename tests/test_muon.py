"""`solver="muon"`: its steps, the cosine schedule and decoupled weight decay."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import make_friedman1

from sk_backprop import BackpropRegressor
from sk_backprop._inference.objective import Objective
from sk_backprop._network.families import SquaredError
from sk_backprop._network.network import Network, lecun_bound
from sk_backprop._solvers import stochastic
from sk_backprop._solvers.muon import Muon, MuonSolver, orthogonalised
from sk_backprop._solvers.stochastic import Pace, cosine_pace
from sk_backprop._training.settings import settings_of


def regressor(hidden=(8, 8), **params):
    defaults = {"solver": "muon", "random_state": 0}
    return BackpropRegressor(hidden, **{**defaults, **params})


# --- orthogonalised steps ---


@pytest.mark.parametrize("shape", [(5, 5), (3, 12), (12, 3), (1, 4), (4, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_orthogonalised_keeps_singular_vectors_and_levels_singular_values(shape, dtype):
    rng = np.random.RandomState(0)
    rank = min(shape)
    P, _ = np.linalg.qr(rng.randn(shape[0], rank))
    Q, _ = np.linalg.qr(rng.randn(shape[1], rank))
    found = orthogonalised((P * np.geomspace(1e-7, 4e-6, rank) @ Q.T).astype(dtype))
    assert found.dtype == dtype
    assert found.shape == shape
    among = P.T @ found @ Q
    np.testing.assert_allclose(among, np.diag(np.diag(among)), atol=1e-5)
    assert (np.diag(among) > 0.67).all()
    assert (np.diag(among) < 1.21).all()


def test_orthogonalised_leaves_zeros_and_does_not_overflow():
    np.testing.assert_array_equal(orthogonalised(np.zeros((3, 2), np.float32)), 0)
    largest = orthogonalised(np.full((2, 2), 1e18, np.float32))
    np.testing.assert_allclose(largest, np.full((2, 2), largest[0, 0]), rtol=1e-6)
    assert 0.33 < largest[0, 0] < 0.61


def naive_muon(params, gradients, *, rate, beta_1, beta_2, epsilon, decay, paces):
    """Weights and biases of each layer after the steps, from the formulas."""
    names = [(kind, k) for k in range(len(params.coefs)) for kind in ("W", "b")]
    theta = {n: np.array((params.coefs if n[0] == "W" else params.intercepts)[n[1]]) for n in names}
    m, v = ({n: np.zeros_like(theta[n]) for n in names} for _ in range(2))
    for t, (gradient, pace) in enumerate(zip(gradients, paces), 1):
        for kind, k in names:
            x, g = theta[kind, k], (gradient.coefs if kind == "W" else gradient.intercepts)[k]
            m[kind, k] = beta_1 * m[kind, k] + (1 - beta_1) * g
            v[kind, k] = beta_2 * v[kind, k] + (1 - beta_2) * g**2
            if kind == "W":
                x -= rate * pace.rate * pace.decay * decay * x
            if kind == "W" and 0 < k < len(params.coefs) - 1:
                n_in, n_out = x.shape
                U = orthogonalised((1 - beta_1) * g + beta_1 * m[kind, k])
                x -= 0.3 * rate * pace.rate * np.sqrt(max(n_in, n_out) / n_in) * U
                continue
            size = 0.1 if kind == "b" else 1 / np.sqrt(len(x))
            size *= np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
            x -= rate * pace.rate * size * m[kind, k] / (np.sqrt(v[kind, k]) + epsilon)
    return [theta["W", k] for k in range(len(params.coefs))], [
        theta["b", k] for k in range(len(params.coefs))
    ]


@pytest.mark.parametrize("hidden", [(), (4,), (4, 6), (6, 4, 3)], ids=str)
def test_steps_are_those_of_the_formulas(hidden):
    rng = np.random.RandomState(0)
    network = Network((3, *hidden, 2), "tanh", "identity")
    params = network.initial_parameters(rng, float, lecun_bound)
    gradients = [network.parameters(rng.randn(network.n_params)) for _ in range(5)]
    paces = [Pace(0.2 * k, 1 / k) for k in range(1, 6)]
    rates = {"rate": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}
    expected = naive_muon(params, gradients, **rates, decay=0.5, paces=paces)
    muon = Muon(network, params, **rates, weight_decay=0.5)
    for gradient, pace in zip(gradients, paces):
        muon.gradient[...] = gradient.flat
        muon.step(params, np.nan, pace)
    for found, wanted in zip([params.coefs, params.intercepts], expected):
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("rectified", [False, True])
def test_it_forgets_and_restores_its_moments(rectified):
    rng = np.random.RandomState(0)
    network = Network((3, 4, 5, 1), "tanh", "identity")
    start = network.initial_parameters(rng, float, lecun_bound)
    gradients = rng.randn(4, network.n_params)

    def steps(muon, params, of):
        for gradient in of:
            muon.gradient[...] = gradient
            muon.step(params, np.nan, Pace())
        return params.flat.copy()

    def new():
        rates = {"rate": 0.1, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-8}
        return Muon(network, start, **rates, rectified=rectified)

    def copied():
        return network.parameters(start.flat.copy())

    whole = steps(new(), copied(), gradients)
    first, params = new(), copied()
    steps(first, params, gradients[:2])
    second = Muon(network, start, rate=0.1, beta_1=0.9, beta_2=0.99, epsilon=1e-8)
    second.restore(first.state())
    np.testing.assert_array_equal(steps(second, params, gradients[2:]), whole)
    second.forget()
    np.testing.assert_array_equal(steps(second, copied(), gradients), whole)


# --- schedule and weight decay ---


def test_the_cosine_rises_falls_and_ends():
    assert cosine_pace(0.0).rate == 0
    assert cosine_pace(0.015).rate == pytest.approx(0.5, rel=1e-3)
    assert cosine_pace(0.5) == pytest.approx((0.5, 1.0))
    assert cosine_pace(0.75) == pytest.approx(((1 - np.sqrt(0.5)) / 2, 0.5))
    assert cosine_pace(1.0) == pytest.approx((0.0, 0.0), abs=1e-15)
    rates = [cosine_pace(p).rate for p in np.linspace(0.03, 1, 50)]
    assert (np.diff(rates) < 0).all()


def optimizers(network, params, **decay):
    yield stochastic.SGD(network.n_params, float, rate=0.1, **decay)
    yield stochastic.Adam(network.n_params, float, rate=0.1, **decay)
    rates = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
    yield Muon(network, params, rate=0.1, **rates, **decay)


def test_weight_decay_multiplies_the_weights_and_not_the_biases():
    rng = np.random.RandomState(0)
    network = Network((2, 3, 3, 1), "tanh", "identity")
    start = network.initial_parameters(rng, float, lecun_bound)
    gradient = rng.randn(network.n_params)
    plain, decayed = optimizers(network, start), optimizers(network, start, weight_decay=0.4)
    for without, with_decay in zip(plain, decayed):
        ends = []
        for optimizer in (without, with_decay):
            params = network.parameters(start.flat.copy())
            optimizer.gradient[...] = gradient
            optimizer.step(params, np.nan, Pace(0.5, 0.25))
            ends.append(params)
        for W, shorter, before in zip(ends[0].coefs, ends[1].coefs, start.coefs):
            np.testing.assert_allclose(W - shorter, 0.1 * 0.5 * 0.25 * 0.4 * before, atol=1e-15)
        for b, same in zip(ends[0].intercepts, ends[1].intercepts):
            np.testing.assert_array_equal(b, same)


@pytest.mark.parametrize("solver", ["sgd", "adam", "muon"])
def test_a_cosine_ends_after_max_iter_epochs_and_not_at_a_stall(solver):
    X, y = make_friedman1(100, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = regressor(solver=solver, learning_rate="cosine", max_iter=30, tol=1.0).fit(X, y)
    assert model.n_iter_ == 30


@pytest.mark.parametrize(
    ("params", "n_rows", "n_iter"),
    [
        ({}, 300, 20),
        ({}, 10_000, 15),
        ({}, 100_000, 13),
        ({"solver": "adam", "learning_rate": "cosine"}, 300, 20),
        ({"max_iter": 7}, 300, 7),
    ],
)
def test_epochs_by_default(params, n_rows, n_iter):
    rng = np.random.RandomState(0)
    X = rng.randn(n_rows, 2)
    assert regressor((4,), **params).fit(X, X.sum(axis=1)).n_iter_ == n_iter


# --- what suits the number of rows ---

SQUARED_ERROR = SquaredError()


def settings(n_rows, *, streaming=False, **params):
    model = regressor((4,), **params)
    network = Network((2, 4, 1), "tanh", "identity")
    return settings_of(model, network, SQUARED_ERROR, n_rows, streaming=streaming)


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "max_iter", "rate", "weight_decay"),
    [
        (100, 16, 20, 0.1, 0.02),
        (3000, 100, 20, 0.1, 0.02),
        (9999, 128, 20, 0.1, 0.02),
        (10_000, 256, 15, 0.1, 0.02),
        (50_000, 256, 15, 0.1, 0.02),
        (102_400, 1024, 13, 0.2, 0.02),
        (200_000, 2000, 11, 0.1 * np.sqrt(2000 / 256), 0.02),
        (3_200_000, 2048, 5, 0.1 * np.sqrt(8), 0.02 / 16),
    ],
)
def test_settings_by_default(n_rows, batch_size, max_iter, rate, weight_decay):
    found = settings(n_rows)
    assert (found.batch_size, found.max_iter) == (batch_size, max_iter)
    assert found.learning_rate_init == pytest.approx(rate, rel=1e-12)
    assert found.weight_decay == pytest.approx(weight_decay, rel=1e-12)


def test_the_weights_decay_no_more_in_a_run_of_more_rows():
    n_rows = [75_000, 100_000, 200_000, 400_000, 1_000_000, 3_000_000, 10_000_000]
    decays = []
    for n, found in zip(n_rows, map(settings, n_rows)):
        n_steps = found.max_iter * n / found.batch_size
        decays.append(found.learning_rate_init * found.weight_decay * n_steps)
    assert min(decays) > 2
    assert max(decays) < 7


def test_trials_of_very_many_rows_have_the_settings_of_fewer():
    assert settings(50_000).in_trials == ()
    assert settings(10**6, streaming=True).in_trials == ()
    found = settings(10**6)
    names = ["batch_size", "max_iter", "learning_rate_init", "weight_decay"]
    assert found._replace(**dict(found.in_trials), in_trials=()) == settings(50_000)
    assert sorted(dict(found.in_trials)) == sorted(names)
    given = {"batch_size": 512, "max_iter": 7, "learning_rate_init": 0.3, "weight_decay": 0.1}
    found = settings(10**6, **given)
    assert found.in_trials == ()
    assert {name: getattr(found, name) for name in names} == given


def test_the_rate_grows_with_the_mini_batch_that_is_given():
    rates = [settings(300, batch_size=size).learning_rate_init for size in (16, 256, 1024, 10**5)]
    assert rates == pytest.approx([0.1, 0.1, 0.2, 0.1 * np.sqrt(8)])
    assert settings(300, batch_size=1024, streaming=True).learning_rate_init == 0.1


def test_the_gradient_of_a_mini_batch_is_the_mean_of_those_of_its_parts():
    rng = np.random.RandomState(0)
    network = Network((3, 5, 4, 1), "tanh", "identity")
    X, y = rng.randn(2048, 3), rng.randn(2048, 1)
    objective = Objective(network, SQUARED_ERROR, X, y)
    params = network.initial_parameters(rng, float, lecun_bound)

    def mean_gradient(batch_size):
        grad, found = network.parameters(np.empty(network.n_params)), []
        for batch in objective.batches(batch_size):
            objective.batch_loss_gradient(params, batch, grad)
            found.append(grad.flat.copy())
        return np.mean(found, axis=0)

    np.testing.assert_allclose(mean_gradient(2048), mean_gradient(256), rtol=1e-10, atol=1e-14)


def test_very_many_rows_take_less_time_each():
    network = Network((10, 160, 256, 256, 1), "tanh", "identity", 16)
    each = [MuonSolver.cost(network, n) / n for n in (50_000, 100_000, 1_000_000)]
    assert each[1] < 0.5 * each[0]
    assert each[2] < 0.5 * each[1]


# --- fits ---


def test_it_learns_a_rough_function_in_twenty_epochs():
    rng = np.random.RandomState(0)
    X, Z = rng.uniform(-1, 1, (2, 2000, 3))
    steps = [np.floor(3 * V).sum(axis=1) for V in (X, Z)]
    model = regressor((64, 64), units_per_feature=16).fit(X, steps[0])
    assert model.score(Z, steps[1]) > 0.97


def test_the_units_of_inputs_and_target_do_not_matter():
    X, y = make_friedman1(200, n_features=5, random_state=0)
    expected = regressor().fit(X, y).predict(X)
    units, shift = np.array([1e-3, 1, 1e3, 7, 0.1]), np.array([0, 1, -1e3, 0, 3])
    found = regressor().fit(X * units + shift, 1e4 * y + 5).predict(X * units + shift)
    np.testing.assert_allclose((found - 5) / 1e4, expected, atol=2e-3 * y.std())


def test_a_stream_learns_at_a_constant_rate():
    X, y = make_friedman1(3000, n_features=5, random_state=0)
    model = regressor((20, 20))
    for k in range(0, 3000, 50):
        model.partial_fit(X[k : k + 50], y[k : k + 50])
    assert model.solver_ == "muon"
    assert model.score(*make_friedman1(500, n_features=5, random_state=1)) > 0.9


def test_a_stream_does_not_leave_the_optimum_of_a_fit():
    X, y = make_friedman1(1000, n_features=5, random_state=0)
    model = regressor((10, 10), solver="lm", n_networks=1).fit(X[:500], y[:500])
    before = model.score(X[500:], y[500:])
    model.set_params(solver="muon")
    for k in range(500, 1000, 50):
        model.partial_fit(X[k : k + 50], y[k : k + 50])
    assert model.score(X[500:], y[500:]) > before - 0.01


@pytest.mark.parametrize("solver", ["sgd", "adam", "muon"])
def test_a_stream_has_no_end_to_fall_to(solver):
    X, y = make_friedman1(50, random_state=0)
    with pytest.raises(AttributeError, match="learning_rate='cosine': a stream has no end"):
        regressor(solver=solver, learning_rate="cosine").partial_fit(X, y)


def test_early_stopping_keeps_the_best_epoch():
    X, y = make_friedman1(200, noise=3, random_state=0)
    model = regressor((50, 50), early_stopping=True, max_iter=60, validation_fraction=0.3)
    model.fit(X, y)
    assert model.n_iter_ == 60
    assert model.best_iter_ == 1 + np.argmin(model.validation_loss_curve_)
