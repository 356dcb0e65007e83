"""Streams: what partial_fit keeps, from one batch to the next."""

import copy
import pickle
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from cases import by_turns, slow
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPRegressor

from sk_backprop import BackpropRegressor
from sk_backprop._inference.objective import Objective
from sk_backprop._solvers import stochastic


def small(**params):
    defaults = {"hidden_layer_sizes": (5,), "random_state": 0, "tol": 1e-3}
    return BackpropRegressor(**defaults | params)


@pytest.fixture(scope="module")
def friedman():
    return make_friedman1(300, n_features=5, noise=0.5, random_state=0)


def batches(X, y, size=50):
    return [(X[i : i + size], y[i : i + size]) for i in range(0, len(y), size)]


@pytest.mark.parametrize("params", [{}, {"loss": "poisson"}, {"precondition": False}])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_scales_grow_without_changing_the_function_learned_so_far(friedman, solver, params):
    X, y = friedman
    model = small(solver=solver, random_state=1, **params)
    for rows in batches(X, y):
        model.partial_fit(*rows)
    before, old_scale = model.predict(X), model.y_scale_
    # A step of no length: all that the next batch can change is the scales.
    model.set_params(learning_rate_init=1e-300, momentum=0, beta_1=0)
    model.partial_fit(X * 100, y * 30)
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-7)
    assert np.all(model.y_scale_ > 3 * old_scale)
    np.testing.assert_array_equal(model.scaler_.scale_, 100 * np.abs(X).max(axis=0))


def test_scales_of_a_stream_are_those_of_all_its_rows(friedman):
    X, y = friedman
    w = np.random.RandomState(0).uniform(0.1, 3, len(y))
    stream = small(solver="adam")
    for i in range(0, len(y), 50):
        stream.partial_fit(X[i : i + 50], y[i : i + 50], w[i : i + 50])
    whole = small(solver="adam").fit(X, y, w)
    np.testing.assert_array_equal(stream.scaler_.scale_, whole.scaler_.scale_)
    np.testing.assert_allclose(stream.y_location_, whole.y_location_, rtol=1e-10)
    np.testing.assert_allclose(stream.y_scale_, whole.y_scale_, rtol=1e-10)
    assert stream.t_ == len(y)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_stream_learns(solver):
    X, y = make_friedman1(5000, n_features=5, random_state=0)
    rate = {"adam": 0.01, "sgd": 0.03}[solver]
    model = small(hidden_layer_sizes=(20,), solver=solver, learning_rate_init=rate)
    for _ in range(3):
        for i in range(0, 4000, 100):
            model.partial_fit(X[i : i + 100], y[i : i + 100])
    assert model.score(X[4000:], y[4000:]) > 0.8
    assert model.n_iter_ == len(model.loss_curve_) == 120
    assert model.t_ == 12_000


@pytest.mark.parametrize(("alpha", "rtol"), [(0, 1e-9), (3.0, 1e-8)])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_one_batch_of_all_rows_again_and_again_is_fit(friedman, solver, alpha, rtol):
    X, y = friedman
    options = {"solver": solver, "shuffle": False, "batch_size": 100, "tol": 0}
    stream, whole = small(**options, alpha=alpha), small(**options, alpha=alpha, max_iter=5)
    for _ in range(5):
        stream.partial_fit(X, y)
    with pytest.warns(ConvergenceWarning):
        whole.fit(X, y)
    np.testing.assert_allclose(stream.predict(X), whole.predict(X), rtol=rtol)
    np.testing.assert_allclose(stream.loss_curve_, whole.loss_curve_, rtol=rtol)


def test_first_partial_fit_starts_from_the_weights_that_fit_starts_from(friedman):
    X, y = friedman
    options = {"solver": "sgd", "learning_rate_init": 1e-300, "max_iter": 1}
    with pytest.warns(ConvergenceWarning):
        fitted = small(**options).fit(X, y)
    streamed = small(**options).partial_fit(X, y)
    for a, b in zip(fitted.coefs_, streamed.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_successive_batches_are_shuffled_differently(friedman, monkeypatch):
    X, y = friedman
    orders = []
    original = Objective._take
    monkeypatch.setattr(
        Objective, "_take", lambda self, rows: (orders.append(rows.copy()), original(self, rows))[1]
    )
    model = small(solver="adam", batch_size=300)
    for _ in range(3):
        model.partial_fit(X, y)
    model.fit(X, y)
    model.partial_fit(X, y)
    model.partial_fit(X, y)
    chosen = [orders[0], orders[1], orders[2], orders[-2], orders[-1]]
    assert len({tuple(order) for order in chosen}) == 5


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_stream_goes_on_after_unpickling(friedman, solver):
    X, y = friedman
    model = small(solver=solver)
    for rows in batches(X, y)[:3]:
        model.partial_fit(*rows)
    copy = pickle.loads(pickle.dumps(model))
    for rows in batches(X, y)[3:]:
        model.partial_fit(*rows)
        copy.partial_fit(*rows)
    np.testing.assert_array_equal(model.predict(X), copy.predict(X))


def test_partial_fit_goes_on_from_fit(friedman):
    X, y = friedman
    model = small(solver="adam", alpha=0, max_iter=5000).fit(X, y)
    before, t = model.loss_, model.t_
    model.partial_fit(X, y)
    assert model.loss_curve_[-1] < 1.2 * before
    assert model.t_ == t + len(y)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_stream_after_a_fit_starts_its_optimizer(friedman, solver):
    # The steps of an adaptive rate that has ended a fit are of no length.
    X, y = friedman
    options = {"solver": solver, "learning_rate": "adaptive", "learning_rate_init": 0.1}
    model = small(**options, tol=1e-2).fit(X, y)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(20):
            model.partial_fit(X, -y)
    assert model.score(X, -y) > 0.3
    # Errors on a target unlike all before are larger than a constant's: no batch is left out.
    assert told == []


@pytest.fixture(scope="module")
def fitted_by_evidence():
    """Two layers that the evidence has fitted, the rows to come, and rows to judge by."""
    X, y = make_friedman1(8000, 6, noise=0.5, random_state=0)
    model = BackpropRegressor((5, 5), n_networks=1, random_state=1).fit(X[:1000], y[:1000])
    assert model.solver_ == "lm"
    return model, batches(X[1000:6000], y[1000:6000], 100), (X[6000:], y[6000:])


def test_a_stream_keeps_what_evidence_has_learned(fitted_by_evidence):
    # Adam's first steps have one length for all weights: one batch made an R2 of .87 of .99.
    model, stream, new = copy.deepcopy(fitted_by_evidence)
    before = model.score(*new)
    model.set_params(solver="adam")
    for X, y in stream:
        assert model.partial_fit(X, y).score(*new) > before - 0.02


def test_a_stream_after_a_fit_by_all_rows_learns(fitted_by_evidence):
    model, stream, (Xt, yt) = copy.deepcopy(fitted_by_evidence)
    model.set_params(solver="adam", learning_rate_init=0.03)
    for X, y in 3 * stream:
        model.partial_fit(X, -y)
    assert model.score(Xt, -yt) > 0.5  # of -3 before


@pytest.mark.parametrize("size", [10, 100])
def test_steps_of_sgd_from_an_optimum_have_a_bound(fitted_by_evidence, size):
    # Without it 499 of 500 batches of 10 rows were left out, and 49 of 50 of 100.
    model, stream, new = copy.deepcopy(fitted_by_evidence)
    model.set_params(solver="sgd")
    X, y = np.concatenate([X for X, _ in stream]), np.concatenate([y for _, y in stream])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for rows in batches(X, y, size):
            model.partial_fit(*rows)
    assert len(told) < 0.4 * len(X) / size
    assert model.score(*new) > 0.975  # of .988
    mean, std = model.predict(new[0], return_std=True)
    assert 0.8 < np.std((new[1] - mean) / std) < 1.25


def test_batches_that_make_the_function_far_worse_are_left_out_with_a_warning(fitted_by_evidence):
    # Steps too long by little: 30 batches had made an R2 of -30, in losses below 10.
    model, stream, new = copy.deepcopy(fitted_by_evidence)
    model.set_params(solver="sgd")
    n_told, worst = 0, 1.0
    for X, y in stream:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            model.partial_fit(X, y)
        assert [one.category for one in told] in ([], [ConvergenceWarning])
        n_told += len(told)
        worst = min(worst, model.score(*new))
    assert n_told > 5
    assert worst > 0.9


def test_the_warning_says_how_many_networks_diverged(friedman):
    X, y = friedman
    model = small(solver="adam", n_networks=3).partial_fit(X, y)
    model.set_params(learning_rate_init=1e30)
    with pytest.warns(ConvergenceWarning, match=r"solver='adam', 3 of 3 networks\)"):
        model.partial_fit(X, y)


def test_a_network_whose_batch_is_left_out_leaves_the_others_optimizers_alone(
    friedman, monkeypatch
):
    X, y = friedman
    model = small(solver="adam", n_networks=3)
    for rows in batches(X, y)[:3]:
        model.partial_fit(*rows)
    worst = iter([np.inf, -np.inf, np.inf])
    monkeypatch.setattr(stochastic, "_worst_loss", lambda *_: next(worst))
    before = copy.deepcopy(model._fit_state["optimizers"]["adam"])
    with pytest.warns(ConvergenceWarning, match="1 of 3 networks"):
        model.partial_fit(*batches(X, y)[3])
    after = model._fit_state["optimizers"]["adam"]
    assert [state["t"] for state in before] == [3, 3, 3]
    assert [state["t"] for state in after] == [4, 0, 4]
    assert [state["m"].any() for state in after] == [True, False, True]


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_what_noise_and_long_steps_do_to_a_batch_is_no_divergence(noise):
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (15_000, 2))
    y = np.sin(2 * X[:, 0]) + X[:, 1] + noise * rng.randn(len(X))
    for size in (1, 50):
        model = small(solver="adam", learning_rate_init=0.03, hidden_layer_sizes=(20,))
        for k in range(0, 300 * size, size):
            model.partial_fit(X[k : k + size], y[k : k + size])  # a warning is an error
        assert model.score(X, y) > 0.5


def test_a_feature_that_wakes_up_late(friedman):
    X, y = friedman
    asleep = X.copy()
    asleep[:, 2] = 0
    model = small(solver="adam").partial_fit(asleep, y)
    before = model.predict(asleep)
    model.set_params(learning_rate_init=1e-300, beta_1=0).partial_fit(X * 1e6, y)
    np.testing.assert_allclose(model.predict(asleep), before, rtol=1e-6)


def test_a_logistic_output_keeps_its_range_and_says_so(friedman):
    X, y = friedman
    model = small(solver="adam", output_activation="logistic")
    y = np.abs(y)
    model.partial_fit(X, y)
    with pytest.warns(UserWarning, match="above the largest of the first batch"):
        model.partial_fit(X, 2 * y)
    assert model.y_scale_ == y.max()


def test_switching_the_solver_within_a_stream_starts_its_optimizer(friedman):
    X, y = friedman
    model = small(solver="adam").partial_fit(X, y)
    model.set_params(solver="sgd").partial_fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    assert model.solver_ == "sgd"


@pytest.mark.parametrize("solver", ["lm", "lbfgs"])
def test_partial_fit_is_absent_where_it_cannot_work(solver):
    assert not hasattr(BackpropRegressor(solver=solver), "partial_fit")
    with pytest.raises(AttributeError, match="solver='adam', 'muon' or 'sgd'"):
        BackpropRegressor(solver=solver).partial_fit([[1]], [1])


def test_partial_fit_with_early_stopping_raises(friedman):
    model = small(solver="adam", early_stopping=True)
    with pytest.raises(ValueError, match="early_stopping"):
        model.partial_fit(*friedman)
    with pytest.raises(NotFittedError):
        model.predict(friedman[0])


# --- batches in which training diverges ---


def test_a_diverging_batch_of_a_stream_leaves_finite_weights(friedman):
    X, y = friedman
    model = small(solver="sgd", activation="relu").partial_fit(X, y)
    model.set_params(learning_rate_init=1e200, batch_size=10)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.partial_fit(X, y)
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_stream_learns_again_after_a_batch_in_which_it_diverged(friedman, solver):
    X, y = friedman
    model = small(solver=solver, activation="relu", batch_size=10)
    twin = small(solver=solver, activation="relu", batch_size=10)
    for stream in (model, twin):
        stream.partial_fit(X, y)
    before = model.predict(X)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.set_params(learning_rate_init=1e30).partial_fit(X, y)
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-9)
    model.set_params(learning_rate_init=twin.learning_rate_init)
    for _ in range(20):
        model.partial_fit(X, y)
        twin.partial_fit(X, y)
    assert model.score(X, y) > twin.score(X, y) - 0.05


def test_a_stream_that_blew_up_but_stayed_finite_says_so(diabetes):
    X, y = diabetes
    model = small(solver="adam", learning_rate_init=30.0)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.partial_fit(X, y)
    assert model.score(X, y) > -1


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_a_column_or_target_of_zeros_may_get_any_unit_later(container):
    rng = np.random.RandomState(0)
    X, y = rng.uniform(1, 2, (20, 2)), rng.uniform(1, 2, 20)
    zeros = small(solver="adam", max_iter=1)
    for unit in (1.0, 1e-310, 1e300):
        model = clone(zeros).partial_fit(container(0 * X), 0 * y)
        model.partial_fit(container(X * unit), y * unit)
        mean, std = model.predict(X * unit, return_std=True)
        if unit == 1.0:
            expected = mean, std
        np.testing.assert_allclose(mean / unit, expected[0], rtol=1e-6)
        np.testing.assert_allclose(std / unit, expected[1], rtol=1e-6)


@pytest.mark.parametrize("factor", [2.0, 1e160, 1e300])
def test_targets_above_what_a_logistic_output_reaches_cause_a_warning(friedman, factor):
    X, y = friedman
    model = small(solver="adam", output_activation="logistic").partial_fit(X, abs(y))
    before = model.predict(X)
    with pytest.warns() as told:
        model.partial_fit(X, abs(y) * factor)
    diverged = [] if factor == 2 else [ConvergenceWarning]
    assert [one.category for one in told] == [*diverged, UserWarning]
    assert "which a logistic output cannot exceed" in str(told[-1].message)
    np.testing.assert_array_equal(model.y_scale_, abs(y).max())
    if diverged:
        np.testing.assert_allclose(model.predict(X), before, rtol=1e-9)
    model.partial_fit(X, abs(y))
    assert np.isfinite(model.predict(X, return_std=True)).all()


# --- outliers ---


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_an_outlier_in_a_stream_causes_one_warning(friedman, solver, precondition):
    X, y = friedman
    wrong = y.copy()
    wrong[120] *= 1000
    model = small(solver=solver, precondition=precondition)
    for k, (rows, targets) in enumerate(batches(X, wrong)):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            model.partial_fit(rows, targets)
        assert [one.category for one in told] == [UserWarning] * (k == 2)
        if told:
            assert f"single row, of y = {wrong[120]:.6g}, makes up 100%" in str(told[0].message)


def test_what_is_no_outlier_of_a_stream_causes_no_warning(friedman):
    X, y = friedman
    twice = np.column_stack([y, -y])
    for targets, weight in (
        (np.where(np.arange(300) < 250, 0.0, 1.0), None),  # the first that is not zero
        (np.where(np.arange(300) == 100, 1.0, 0.0), None),
        (np.where(np.arange(300) < 150, y, 1000 * y), None),  # another unit
        (twice * np.where(np.arange(300) == 20, 1000, 1)[:, None], None),  # too few rows before
        (np.where(np.arange(300) == 120, 1000 * y, y), np.where(np.arange(300) == 120, 50.0, 1)),
    ):
        model = small(solver="adam")
        for k in range(0, 300, 30):
            rows = slice(k, k + 30)
            model.partial_fit(X[rows], targets[rows], None if weight is None else weight[rows])


# --- error bars ---


def errors_of(model, X, y):
    """Root mean square error on rows, in units of the standard deviations."""
    mean, std = model.predict(X, return_std=True)
    return np.sqrt(np.mean(((y - mean) / std) ** 2))


def coverage_of(model, X, y):
    """Part of rows in their intervals of 95 %."""
    mean, std = model.predict(X, return_std=True)
    return np.mean(np.abs(y - mean) < 1.96 * std)


def rows_of(function, n_rows, seed):
    """Rows of a function, with noise."""
    if function == "friedman":
        return make_friedman1(n_rows, 6, noise=1.0, random_state=seed)
    rng = np.random.RandomState(seed)
    X = rng.randn(n_rows, 5)
    return X, X @ [2.0, -1.0, 0.5, 0.0, 0.3] + 0.5 * rng.randn(n_rows)


QUICK_STREAMS = [("linear", "adam", 10), ("friedman", "sgd", 50)]
SIZES = [1, 10, 50, 200, 1000, 5000]
# Every function with every solver and every size, and every solver with every size.
STREAMS = [
    *(("linear", solver, size) for size, solver in by_turns(SIZES, ["sgd", "adam"])),
    *(("friedman", solver, size) for size, solver in by_turns(SIZES, ["adam", "sgd"])),
]


@pytest.mark.parametrize(
    ("function", "solver", "size"),
    [*QUICK_STREAMS, *slow(case for case in STREAMS if case not in QUICK_STREAMS)],
)
def test_error_bars_in_the_first_pass_are_right_for_batches_of_any_size(solver, size, function):
    # While the function still learns: a mean over the errors of ten batches is too wide.
    n_calls = max(20, 100 // size)
    errors = []
    for seed in range(10):
        X, y = rows_of(function, n_calls * size + 1000, seed)
        model = small(hidden_layer_sizes=(20,), solver=solver, random_state=seed)
        for rows in batches(X[:-1000], y[:-1000], size):
            model.partial_fit(*rows)
        errors.append(errors_of(model, X[-1000:], y[-1000:]))
    assert np.mean(errors) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("hidden", "n_passes"), [((20,), 150), ((50,), 80)])
def test_error_bars_after_many_passes(hidden, n_passes):
    covered = []
    for seed in range(2):
        X, y = rows_of("friedman", 1200, seed)
        model = small(hidden_layer_sizes=hidden, solver="adam", random_state=seed)
        for _ in range(n_passes):
            for rows in batches(X[:200], y[:200]):
                model.partial_fit(*rows)
        covered.append(coverage_of(model, X[200:], y[200:]))
    assert 0.9 <= np.mean(covered) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("params", [{"alpha": 0}, {}], ids=str)
def test_ten_rows_again_and_again_do_not_make_the_error_bars_small(params):
    # Intervals of 95 % had covered 8 %.
    covered, n_told = [], 0
    for seed in range(2):
        X, y = rows_of("friedman", 1000, seed)
        model = small(hidden_layer_sizes=(20,), solver="adam", random_state=seed, **params)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(300):
                model.partial_fit(X[:10], y[:10])
        n_told += len(told)
        assert all("passed before" in str(one.message) for one in told)
        covered.append(coverage_of(model, X[10:], y[10:]))
    assert np.mean(covered) > 0.9
    # Without a penalty the network fits the rows exactly, which draws one warning.
    assert n_told == (2 if params else 0)


@pytest.mark.slow
def test_a_network_too_large_for_its_rows_keeps_the_error_bars_of_new_rows():
    rng = np.random.RandomState(0)
    X = rng.randn(1200, 30)
    y = X[:, 0] + np.tanh(X[:, 1] * X[:, 2]) + rng.randn(1200)
    model = small(hidden_layer_sizes=(300,), solver="adam")
    for rows in batches(X[:200], y[:200]):
        model.partial_fit(*rows)
    assert model.uncertain_weights_ == "last_layer"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(40):
            for rows in batches(X[:200], y[:200]):
                model.partial_fit(*rows)
    assert ["passed before" in str(one.message) for one in told] == [True]
    assert coverage_of(model, X[200:], y[200:]) > 0.93
    assert model.score(X[:200], y[:200]) > 0.65  # the function is .57 of y: noise is fitted


@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam"])
def test_rows_of_a_fit_are_known_to_the_stream_after_it(solver):
    X, y = rows_of("friedman", 300, 0)
    model = small(solver=solver, alpha=1.0, max_iter=2000).fit(X, y, np.full(300, 2.0))
    model.set_params(solver="adam")
    for rows in batches(X[:, :], y, 30):
        model.partial_fit(*rows)
    state = model._fit_state["rows"]
    assert state["repeated"] == 1
    assert state["weights"].sum() == 600
    model.partial_fit(X + 1, y)
    assert model._fit_state["rows"]["repeated"] == 0


def test_weights_are_repeated_rows_to_a_stream(friedman):
    X, y = friedman
    w = np.random.RandomState(0).randint(1, 4, len(y))
    rows = np.repeat(np.arange(len(y)), w)
    # One step from all rows, so that their order does not matter.
    options = {"solver": "sgd", "batch_size": 10_000, "alpha": 5.0}
    weighted, repeated = small(**options), small(**options)
    for _ in range(5):
        weighted.partial_fit(X, y, w)
        repeated.partial_fit(X[rows], y[rows])
    for one, other in zip(weighted.predict(X, True), repeated.predict(X, True), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["sgd", *slow(["adam"])])
def test_the_last_rows_of_a_sorted_stream_give_the_error_bars_of_the_next(solver):
    errors = []
    for seed in range(3):
        X, y = rows_of("linear", 3000, seed)
        order = np.argsort(y)
        X, y = X[order], y[order]
        model = small(hidden_layer_sizes=(20,), solver=solver, random_state=seed)
        for k in range(0, 2900, 20):
            if k > 1000 and k % 200 == 0:
                errors.append(errors_of(model, X[k : k + 50], y[k : k + 50]))
            model.partial_fit(X[k : k + 20], y[k : k + 20])
    assert np.mean(errors) == pytest.approx(1, abs=0.2)


if __name__ == "__main__":  # how many batches some network of a fit's leaves out
    X, y = make_friedman1(8000, n_features=5, noise=1.0, random_state=0)
    fitted = BackpropRegressor(random_state=0).fit(X[:1000], y[:1000])
    for solver, size in (("adam", 10), ("adam", 100), ("sgd", 10), ("sgd", 100)):
        model = copy.deepcopy(fitted).set_params(solver=solver)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for rows in batches(X[1000:5000], y[1000:5000], size):
                model.partial_fit(*rows)
        mean, std = model.predict(X[5000:], return_std=True)
        print(
            f"{solver} {size:3}: {len(told)} of {4000 // size} batches; R2 "
            f"{model.score(X[5000:], y[5000:]):.3f} of {fitted.score(X[5000:], y[5000:]):.3f}; "
            f"errors of {np.std((y[5000:] - mean) / std):.2f} standard deviations"
        )


# --- solver="auto" ---


def fitted_state(model):
    """All fitted attributes, hashed."""
    names = set(vars(model)) - set(model.get_params())
    return {name: joblib.hash(vars(model)[name]) for name in names}


def assert_goes_on_as_adam(model, rows):
    """The next batches leave what they leave with solver='adam', bit for bit."""
    by_adam = copy.deepcopy(model).set_params(solver="adam")
    for batch in rows:
        assert model.partial_fit(*batch) is model
        by_adam.partial_fit(*batch)
        assert fitted_state(model) == fitted_state(by_adam)
    assert model.solver_ == "adam"
    assert model.solver == "auto"


@pytest.mark.parametrize(
    "params",
    [
        *[{}, {"hidden_layer_sizes": (5,)}, {"hidden_layer_sizes": (), "alpha": 0.5}],
        *[{"n_networks": 2}, {"loss": "poisson"}, {"output_activation": "logistic"}],
        *[{"precondition": False}, {"batch_size": 10, "learning_rate_init": 0.01}],
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:y has values up to:UserWarning")  # the logistic output
def test_a_stream_is_by_adam_by_default(friedman, params):
    X, y = friedman
    model = BackpropRegressor(random_state=0, **params)
    assert hasattr(model, "partial_fit")
    assert_goes_on_as_adam(model, batches(X, y / y.max()))
    assert model.hidden_layer_sizes_ == params.get("hidden_layer_sizes", (20,))
    assert model.n_networks_ == params.get("n_networks", 1)
    assert model.alpha_ == params.get("alpha", 2.0)
    assert model.t_ == len(y)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_stream_by_default_goes_on_after_storing(friedman, copied):
    X, y = friedman
    stream = BackpropRegressor(random_state=0).partial_fit(X[:100], y[:100])
    loaded = copied(stream)
    for batch in batches(X[100:], y[100:]):
        stream.partial_fit(*batch)
        loaded.partial_fit(*batch)
    assert fitted_state(loaded) == fitted_state(stream)
    assert not hasattr(clone(stream), "coefs_")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solver", "n_samples", "params"),
    [
        ("lm", 300, {"max_iter": 1000}),
        ("lm", 300, {"hidden_layer_sizes": (3,), "n_networks": 2}),
        ("lm", 300, {"hidden_layer_sizes": ()}),
        ("lbfgs", 300, {"hidden_layer_sizes": (1000,)}),
        ("adam", 11_000, {"hidden_layer_sizes": (400,)}),
    ],
    ids=["lm", "lm of one shape", "linear", "lbfgs", "adam"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_after_a_fit_by_default_a_stream_goes_on_by_adam(solver, n_samples, params):
    X, y = make_friedman1(n_samples, n_features=5, noise=0.5, random_state=0)
    model = BackpropRegressor(**{"random_state": 0, "max_iter": 2} | params).fit(X, y)
    assert model.solver_ == solver
    shape, n_networks = model.hidden_layer_sizes_, model.n_networks_
    score = model.score(X, y)
    # Rows that the fit has not seen.
    assert_goes_on_as_adam(model, batches(X[:100] + 1e-9, y[:100]))
    assert (model.hidden_layer_sizes_, model.n_networks_) == (shape, n_networks)
    assert model.score(X, y) > score - 0.05


def test_a_fit_by_default_after_a_stream_is_a_fit(friedman):
    X, y = friedman
    model = BackpropRegressor((3,), random_state=0).partial_fit(X[:100], y[:100])
    fresh = BackpropRegressor((3,), random_state=0).fit(X, y)
    assert model.fit(X, y).solver_ == fresh.solver_ == "lm"
    np.testing.assert_array_equal(model.predict(X), fresh.predict(X))
    going_on = BackpropRegressor((3,), random_state=0, warm_start=True, max_iter=1)
    going_on.partial_fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert going_on.fit(X, y).solver_ == "lm"
    assert going_on.n_networks_ == 1


def test_the_default_has_partial_fit_where_mlpregressor_has():
    for early_stopping in (False, True):
        ours, theirs = (
            cls(early_stopping=early_stopping) for cls in (BackpropRegressor, MLPRegressor)
        )
        assert hasattr(ours, "partial_fit") is not early_stopping
        assert hasattr(theirs, "partial_fit")
