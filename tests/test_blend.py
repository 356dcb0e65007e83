"""Blends: the weighted mean of networks of two kinds, which is one network."""

import copy
import pickle
import threading
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from sk_backprop import BackpropRegressor, NetworkDisplay
from sk_backprop._estimator.state import FittedState
from sk_backprop._network.averaging import Member, merged, separated
from sk_backprop._network.network import Network, evaluate
from sk_backprop._training import fitting
from sk_backprop._training.blending import HeldOutErrors, stacking_weight
from sk_backprop._training.problem import Settings
from sk_backprop._training.run import TrainingResult, TrainingRun
from sk_backprop.export import to_mlp_regressor

# --- networks of several shapes as one ---

SHAPES = [((4, 3, 6), 2, 0.3), ((7,), 3, 0.5), ((4, 5), 1, 0.2)]


def random_members(activation, dtype=float):
    rng = np.random.RandomState(0)
    members, networks = [], []
    for hidden, n_networks, weight in SHAPES:
        network = Network((5, *hidden, 2), activation, "identity")
        members.append(Member(network, n_networks, weight))
        sizes = network.layer_sizes
        networks.append(
            [
                (
                    [rng.randn(*shape).astype(dtype) for shape in pairwise(sizes)],
                    [rng.randn(size).astype(dtype) for size in sizes[1:]],
                )
                for _ in range(n_networks)
            ]
        )
    return members, networks


def weighted_mean(members, networks, X):
    return sum(
        member.weight * np.mean([evaluate(member.network, *one, X) for one in own], axis=0)
        for member, own in zip(members, networks, strict=True)
    )


# Units of tanh pass values on exactly, logistic units to 11 digits.
@pytest.mark.parametrize(("activation", "atol"), [("tanh", 1e-14), ("logistic", 1e-9)])
def test_networks_of_several_shapes_are_one_network(activation, atol):
    members, networks = random_members(activation)
    coefs, intercepts = merged(members, networks)
    assert [W.shape for W in coefs] == [(5, 33), (33, 32), (32, 38), (38, 2)]
    X = 3 * np.random.RandomState(1).randn(200, 5)
    wide = Network((5, 33, 32, 38, 2), activation, "identity")
    np.testing.assert_allclose(
        evaluate(wide, coefs, intercepts, X), weighted_mean(members, networks, X), atol=atol
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("activation", ["tanh", "logistic"])
def test_networks_of_several_shapes_are_found_again(activation, dtype):
    members, networks = random_members(activation, dtype)
    biases = [one[1][-1] for own in networks for one in own]
    found = separated(members, *merged(members, networks), biases)
    for ours, theirs in zip(found, networks, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            for a, b in zip([*one[0], *one[1]], [*other[0], *other[1]], strict=True):
                assert a.dtype == dtype
                np.testing.assert_allclose(a, b, rtol=3 * np.finfo(dtype).eps)


# --- weights ---


def errors_of(outputs, y, weight=None, n_networks=2):
    return HeldOutErrors.of(np.asarray(outputs), y, weight, n_networks)


@pytest.mark.parametrize("n_rows", [50, 100_000])
def test_the_weight_minimises_the_penalised_squared_error(n_rows):
    rng = np.random.RandomState(0)
    y, w = rng.randn(n_rows, 2), rng.randint(1, 4, n_rows).astype(float)
    f = y + 0.3 * rng.randn(n_rows, 2)
    g = y + 0.4 * rng.randn(n_rows, 2)
    # As many networks as will be trained: all errors count as they are.
    first, second = (errors_of([one, one], y, w) for one in (f, g))
    squares = [np.average(((y - one) ** 2).sum(axis=1), weights=w) for one in (f, g)]
    expected = 1 / (1 + (squares[1] / squares[0]) ** 2)

    def objective(weight):
        error = y - (1 - weight) * f - weight * g
        penalty = 100 / n_rows * min(squares) * (weight - expected) ** 2
        return np.average((error**2).sum(axis=1), weights=w) + penalty

    best = minimize_scalar(objective, bounds=(0, 1), method="bounded", options={"xatol": 1e-10})
    assert 0.1 < best.x < 0.9
    np.testing.assert_allclose(stacking_weight(first, second), best.x, atol=1e-6)


def test_functions_without_error_have_all_the_weight():
    y = np.arange(20.0)[:, None]
    exact, wrong = errors_of([y, y], y), errors_of([y + 1, y + 1], y)
    assert stacking_weight(exact, wrong) == 0.0
    assert stacking_weight(wrong, exact) == 1.0
    assert stacking_weight(exact, exact) == 0.0


def test_the_error_of_many_networks_is_known_from_two():
    # Networks with a common error and independent ones, of standard deviations .5 and 1.
    rng = np.random.RandomState(0)
    y = rng.randn(200_000, 1)
    common = 0.5 * rng.randn(*y.shape)
    outputs = y + common + rng.randn(2, *y.shape)
    found = errors_of(outputs, y, n_networks=8).square
    np.testing.assert_allclose(found, 0.5**2 + 1 / 8, rtol=0.01)
    np.testing.assert_allclose(errors_of(outputs, y).square, 0.5**2 + 1 / 2, rtol=0.01)
    # A single network says nothing of it: nine tenths of the error are assumed.
    np.testing.assert_allclose(
        errors_of(outputs[:1], y, n_networks=8).square, 0.81 * (0.5**2 + 1), rtol=0.01
    )


# --- a fit by default ---


def partly_rough(n_samples, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.uniform(-1, 1, (n_samples, 3))
    y = np.sin(3 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.3 * np.floor(2 * X[:, 0])
    return X, 10 * y + rng.randn(n_samples)


@pytest.fixture(scope="module")
def fitted():
    return BackpropRegressor(random_state=0).fit(*partly_rough(300))


@pytest.fixture
def model(fitted):
    return copy.deepcopy(fitted)


X_NEW, Y_NEW = partly_rough(400, seed=1)


def test_members_say_what_is_in_the_mean(model):
    lm, muon = model.members_
    assert (lm["solver"], muon["solver"]) == ("lm", "muon")
    assert lm["alpha"] is None
    assert (muon["hidden_layer_sizes"], muon["units_per_feature"]) == ((48, 64, 64), 16)
    assert muon["n_networks"] == 5
    assert model.n_networks_ == lm["n_networks"] + 5
    assert lm["weight"] + muon["weight"] == pytest.approx(1)
    assert 0.1 <= muon["weight"] <= 0.9
    # The other attributes are those of the first member.
    assert (model.solver_, model.hidden_layer_sizes_) == ("lm", lm["hidden_layer_sizes"])
    assert model.log_evidence_.shape == (lm["n_networks"],)
    assert model.n_effective_params_.shape == (model.n_networks_,)
    assert model.score(X_NEW, Y_NEW) > 0.97


def test_the_mean_is_one_network(model):
    expected = model.predict(X_NEW)
    sizes = (3, *(W.shape[1] for W in model.coefs_))
    by_hand = Network(sizes, "logistic", "identity")
    scaled = model.scaler_.transform(X_NEW)
    output = evaluate(by_hand, model.coefs_, model.intercepts_, scaled)
    np.testing.assert_allclose(
        model.y_location_ + model.y_scale_ * output.ravel(), expected, rtol=1e-7, atol=1e-7
    )
    np.testing.assert_allclose(
        to_mlp_regressor(model).predict(X_NEW), expected, rtol=1e-7, atol=1e-7
    )


def test_slopes_are_those_of_the_mean(model):
    X, step = X_NEW[:5], 1e-5
    by_differences = np.column_stack(
        [
            (model.predict(X + step * unit) - model.predict(X - step * unit)) / (2 * step)
            for unit in np.eye(3)
        ]
    )
    np.testing.assert_allclose(model.gradient(X), by_differences, rtol=1e-6, atol=1e-5)


def test_variance_is_that_of_the_mixture(model):
    # By hand: the mean of the variances of the members, plus the variance of their means.
    state = FittedState.of(model)
    parts = [one.predictive for one in state.by_member()]
    weights = [member.weight for member in state.function.members]
    means = [part.function.predict(X_NEW) for part in parts]
    variances = [part.scale(X_NEW) ** 2 for part in parts]
    mean, std = model.predict(X_NEW, return_std=True)
    expected = sum(w * f for w, f in zip(weights, means, strict=True))
    np.testing.assert_allclose(mean, expected[:, 0], rtol=1e-12, atol=1e-12)
    factor = state.predictive.calibration.factor
    variance = sum(
        w * (v + (factor * (f - expected)) ** 2)
        for w, v, f in zip(weights, variances, means, strict=True)
    )
    factor = state.predictive.calibration.std_of_unit_scale
    np.testing.assert_allclose(std**2, factor**2 * variance[:, 0], rtol=1e-9)


def test_bars_hold(model):
    mean, std = model.predict(X_NEW, return_std=True)
    assert 0.8 < np.mean(((Y_NEW - mean) / std) ** 2) ** 0.5 < 1.15


def test_saved_and_loaded_it_is_the_same(model):
    loaded = pickle.loads(pickle.dumps(model))
    for one, other in zip(loaded.predict(X_NEW, True), model.predict(X_NEW, True), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not hasattr(clone(model), "members_")


def test_each_network_can_be_drawn(model):
    n_lm = model.members_[0]["n_networks"]
    first = NetworkDisplay.from_estimator(model)
    assert len(first.coefs) == len(model.hidden_layer_sizes_) + 1
    other = NetworkDisplay.from_estimator(model, network=n_lm)
    assert [W.shape for W in other.coefs] == [(3, 48), (48, 64), (64, 64), (64, 1)]


@pytest.mark.parametrize("n_jobs", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_a_warm_start_goes_on_with_both(model, n_jobs):
    before, members = model.score(X_NEW, Y_NEW), copy.deepcopy(model.members_)
    model.set_params(warm_start=True, n_jobs=n_jobs).fit(*partly_rough(300))
    assert model.members_ == members
    assert model.score(X_NEW, Y_NEW) > before - 0.005


def test_a_stream_goes_on_with_both(model):
    before, weights = model.predict(X_NEW), [one["weight"] for one in model.members_]
    X, y = partly_rough(1000, seed=2)
    for rows in np.array_split(np.arange(1000), 10):
        model.partial_fit(X[rows], y[rows])
    assert [one["weight"] for one in model.members_] == weights
    assert {one["solver"] for one in model.members_} == {"adam"}
    after = model.predict(X_NEW)
    assert np.std(after - before) > 0
    assert np.mean((after - Y_NEW) ** 2) < 1.1 * np.mean((before - Y_NEW) ** 2)
    loaded = pickle.loads(pickle.dumps(model))
    more = partly_rough(100, seed=3)
    np.testing.assert_array_equal(
        loaded.partial_fit(*more).predict(X_NEW), model.partial_fit(*more).predict(X_NEW)
    )


@pytest.mark.slow
def test_rows_in_float32_give_predictions_in_float32():
    X, y = partly_rough(300)
    model = BackpropRegressor(random_state=0).fit(X.astype(np.float32), y)
    assert len(model.members_) == 2
    assert model.predict(X_NEW.astype(np.float32)).dtype == np.float32
    mean, std = model.predict(X_NEW, return_std=True)
    # The merged network is float64, as logistic units that pass others on would lose digits.
    assert model.coefs_[-1].dtype == np.float64
    np.testing.assert_allclose(
        to_mlp_regressor(model).predict(X_NEW), mean, rtol=1e-5, atol=1e-5 * np.std(Y_NEW)
    )
    assert 0.8 < np.mean(((Y_NEW - mean) / std) ** 2) ** 0.5 < 1.15


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("network", [0, 3])
def test_an_interrupt_of_the_second_keeps_the_first(monkeypatch, network, n_threads):
    real_choose, real_start = fitting.choose, TrainingRun._initial_parameters
    trials_are_over, runs = threading.Event(), []

    def choose(*args):
        choices = real_choose(*args)
        trials_are_over.set()
        return choices

    def initial_parameters(run, *args):
        if run.settings.solver == "muon" and trials_are_over.is_set():
            runs.append(run)
            if len(runs) == network + 1:
                raise KeyboardInterrupt
        return real_start(run, *args)

    monkeypatch.setattr(fitting, "choose", choose)
    monkeypatch.setattr(TrainingRun, "_initial_parameters", initial_parameters)
    says = "Training interrupted; .* complete networks are kept"
    with threadpool_limits(n_threads, user_api="blas"), pytest.warns(UserWarning, match=says):
        model = BackpropRegressor(random_state=0).fit(*partly_rough(300))
    (member,) = model.members_
    assert (member["solver"], member["weight"]) == ("lm", 1.0)
    assert model.score(X_NEW, Y_NEW) > 0.95


@pytest.mark.parametrize(
    ("n_trained", "kept"),
    [((3,), [0]), ((3, 0), [0]), ((3, 2), [0]), ((3, 5), [0, 1]), ((0, 2), [1]), ((0, 5), [1])],
)
def test_the_second_kind_is_left_out_unless_it_is_complete_or_alone(n_trained, kept):
    settings = Settings(*[None] * len(Settings._fields))
    results = [
        TrainingResult(settings._replace(n_folds=n_folds), None, [None] * n)
        for n_folds, n in zip((0, 5), n_trained)
    ]
    assert fitting._to_blend(results) == kept


def test_both_kinds_are_told(capsys):
    BackpropRegressor(random_state=0, verbose=1).fit(*partly_rough(300))
    chosen = [line for line in capsys.readouterr().out.splitlines() if "chosen" in line]
    assert ["'lm'" in chosen[0], "'muon'" in chosen[1]] == [True, True]
    assert len(chosen) == 2


@pytest.mark.slow
def test_the_unit_of_a_column_and_the_sign_of_y_change_rounding_alone():
    # Mini-batches, too, are the same rows.
    X, y = partly_rough(300)
    expected = BackpropRegressor(random_state=0).fit(X, y)
    unit = np.array([0.001, 7.0, 1e5])
    model = BackpropRegressor(random_state=0).fit(X * unit, -3 * y)
    assert len(model.members_) == 2
    np.testing.assert_allclose(model.predict(X_NEW * unit), -3 * expected.predict(X_NEW), atol=1e-6)
