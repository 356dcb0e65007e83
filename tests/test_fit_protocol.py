"""fit, partial_fit, warm start, early stopping, interruption: what a call does and keeps."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from cases import by_turns
from sklearn.base import clone
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.linear_model import PoissonRegressor
from sklearn.preprocessing import MaxAbsScaler

from sk_backprop import BackpropRegressor
from sk_backprop._inference.objective import Objective
from sk_backprop._network.network import Network

SOLVERS = ["lm", "lbfgs", "adam", "sgd"]


def small(**params):
    defaults = {"hidden_layer_sizes": (5,), "solver": "lbfgs", "n_networks": 1}
    return BackpropRegressor(**{**defaults, "random_state": 0, "tol": 1e-3, **params})


@pytest.fixture(scope="module")
def friedman():
    return make_friedman1(300, n_features=5, noise=0.5, random_state=0)


# --- fitted attributes ---


@pytest.mark.parametrize("solver", SOLVERS)
def test_fitted_attributes_agree_with_each_other(diabetes, solver):
    X, y = diabetes
    model = small(hidden_layer_sizes=(4, 3), solver=solver).fit(X, np.column_stack([y, -y]))
    assert [W.shape for W in model.coefs_] == [(10, 4), (4, 3), (3, 2)]
    assert [b.shape for b in model.intercepts_] == [(4,), (3,), (2,)]
    assert (model.n_layers_, model.n_outputs_, model.n_features_in_) == (4, 2, 10)
    assert (model.out_activation_, model.solver_) == ("identity", solver)
    assert model.n_iter_ == len(model.loss_curve_) == model.best_iter_
    assert model.loss_ == model.loss_curve_[model.best_iter_ - 1]
    assert model.best_loss_ == min(model.loss_curve_)
    assert model.t_ == model.n_iter_ * len(X)
    assert model.validation_scores_ is None
    assert model.validation_loss_curve_ is None
    assert model.best_validation_score_ is None
    assert type(model.scaler_) is MaxAbsScaler
    assert model.y_location_.shape == model.y_scale_.shape == (2,)
    np.testing.assert_allclose(model.y_location_, [y.mean(), -y.mean()])
    np.testing.assert_allclose(model.y_scale_, y.std())


@pytest.mark.parametrize(
    ("params", "location", "scale"),
    [
        ({"precondition": False}, 0, 346),
        ({"output_activation": "logistic"}, 0, 346),
        ({"loss": "poisson"}, 0, "mean"),
        ({"loss": "poisson", "precondition": False}, 0, 346),
    ],
)
@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_location_and_scale_of_other_targets(diabetes, solver, params, location, scale):
    X, y = diabetes
    model = small(solver=solver, **params).fit(X, y)
    assert model.y_location_ == location
    assert model.y_scale_ == pytest.approx(y.mean() if scale == "mean" else scale)


# --- what 'auto' stands for, and other spellings ---


@pytest.mark.parametrize(("n_units", "solver"), [(3, "lm"), (1000, "lbfgs"), (3000, "adam")])
def test_the_larger_the_problem_the_cheaper_the_solver(friedman, n_units, solver):
    X, y = friedman if solver != "adam" else (np.linspace(0, 1, 10_001)[:, None],) * 2
    model = BackpropRegressor((n_units,), alpha=1.0, max_iter=1)
    y = np.ravel(y)
    with pytest.warns(ConvergenceWarning, match=f"solver='{solver}'"):
        model.fit(X, y)
    assert model.solver_ == solver
    assert model.solver == "auto"


@pytest.mark.parametrize(
    ("solver", "params"), [("lbfgs", {"early_stopping": True}), ("adam", {}), ("sgd", {})]
)
def test_other_solvers_than_lm_take_one_layer_of_twenty_and_alpha_2(friedman, solver, params):
    X, y = friedman
    y = np.abs(X[:, 0] - 0.5)  # no linear model predicts it
    auto = BackpropRegressor(solver=solver, random_state=0, **params).fit(X, y)
    assert (auto.hidden_layer_sizes_, auto.n_networks_, auto.alpha_) == ((20,), 1, 2.0)
    named = BackpropRegressor((20,), solver=solver, alpha=2.0, n_networks=1, **params)
    expected = named.set_params(random_state=0).fit(X, y).predict(X)
    np.testing.assert_array_equal(auto.predict(X), expected)


def test_lbfgs_takes_a_stronger_penalty_for_noise_than_for_a_smooth_function(friedman):
    X, y = friedman
    noise = np.random.RandomState(0).randn(len(y))
    smooth = np.sin(3 * X[:, 0]) + X[:, 1] * X[:, 2]
    chosen = [
        BackpropRegressor((20,), solver="lbfgs", random_state=0).fit(X, target).alpha_
        for target in (noise, smooth)
    ]
    assert chosen[0] == 100
    assert chosen[1] <= 0.3


def test_a_penalty_that_was_chosen_is_as_good_as_given_and_kept_by_a_warm_start(friedman):
    X, y = friedman
    auto = BackpropRegressor(solver="lbfgs", random_state=0).fit(X, y)
    given = clone(auto).set_params(alpha=auto.alpha_).fit(X, y)
    np.testing.assert_array_equal(given.predict(X), auto.predict(X))
    again = auto.set_params(warm_start=True).fit(X, y)
    assert again.alpha_ == given.alpha_


def test_a_fixed_alpha_means_one_network(friedman):
    model = BackpropRegressor((3,), solver="lm", alpha=1.0, random_state=0).fit(*friedman)
    assert model.n_networks_ == 1
    assert model.weight_precision_ is model.log_evidence_ is model.input_relevance_ is None


def test_layers_by_their_initial_weights(friedman):
    X, y = friedman
    rng = np.random.RandomState(0)
    coefs = [rng.randn(5, 4), rng.randn(4, 3), rng.randn(3, 1)]
    auto = small(hidden_layer_sizes="auto", n_networks="auto").fit(X, y, coefs_init=coefs)
    assert (auto.hidden_layer_sizes_, auto.n_networks_) == ((4, 3), 1)
    named = small(hidden_layer_sizes=(4, 3)).fit(X, y, coefs_init=coefs)
    np.testing.assert_array_equal(auto.predict(X), named.predict(X))


def test_rows_too_few_to_try_penalties_on_take_the_usual_one():
    # The first that is tried, 100, made a constant of them.
    x = np.linspace(0, 1, 8)[:, None]
    model = BackpropRegressor(solver="lbfgs", random_state=0)
    for weight in (1.0, 0.05, 20.0):
        model.fit(x, 2 * x[:, 0] + 1, np.full(8, weight))
        assert model.alpha_ == pytest.approx(2 * weight)
        assert model.score(x, 2 * x[:, 0] + 1) > 0.9


def test_a_warm_start_keeps_layers_and_networks(friedman):
    X, y = friedman
    model = small(hidden_layer_sizes=(4, 3), n_networks=2).fit(X, y)
    model.set_params(hidden_layer_sizes="auto", n_networks="auto", solver="lm", warm_start=True)
    model.fit(X, y)
    assert (model.hidden_layer_sizes_, model.n_networks_) == ((4, 3), 2)


def test_an_int_stands_for_one_hidden_layer(friedman):
    X, y = friedman
    one = small(hidden_layer_sizes=4).fit(X, y).predict(X)
    for other in ((4,), [4], np.array([4]), (np.int64(4),)):
        np.testing.assert_array_equal(small(hidden_layer_sizes=other).fit(X, y).predict(X), one)


def test_numpy_scalars_are_numbers(friedman):
    X, y = friedman
    plain = small(alpha=0.5, max_iter=300).fit(X, y).predict(X)
    scalars = small(alpha=np.float32(0.5), max_iter=np.int16(300), shuffle=np.bool_(True))
    np.testing.assert_array_equal(scalars.fit(X, y).predict(X), plain)


# --- shapes and precision ---


def test_column_target_warns_as_scikit_learn_does_and_gives_a_flat_prediction(diabetes):
    X, y = diabetes
    with pytest.warns(DataConversionWarning):
        model = small().fit(X, y[:, None])
    np.testing.assert_array_equal(model.predict(X), small().fit(X, y).predict(X))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("sparse", [False, True])
def test_float32_in_float32_out(diabetes, solver, sparse):
    X, y = diabetes
    X32 = X.astype(np.float32)
    X32 = sp.csr_array(X32) if sparse else X32
    model = small(solver=solver, alpha=3.0).fit(X32, y.astype(np.float32))
    assert {a.dtype for a in model.coefs_ + model.intercepts_} == {np.dtype(np.float32)}
    assert model.predict(X32).dtype == np.float32
    assert model.predict(X).dtype == np.float64
    double = small(solver=solver, alpha=3.0).fit(X, y)
    assert double.predict(X).dtype == np.float64
    assert model.score(X, y) == pytest.approx(double.score(X, y), abs=0.02)


def test_integer_and_boolean_data(diabetes):
    X, y = diabetes
    X = np.round(X).astype(int)
    expected = small().fit(X.astype(float), y).predict(X)
    np.testing.assert_array_equal(small().fit(X, y.astype(int)).predict(X), expected)
    flags = np.greater(X, X.mean(axis=0))
    np.testing.assert_array_equal(
        small().fit(flags, y).predict(flags), small().fit(flags * 1.0, y).predict(flags * 1.0)
    )


def test_prediction_in_blocks_is_prediction_by_row(diabetes):
    X, y = diabetes
    model = small(hidden_layer_sizes=(200,), max_iter=3000).fit(X, y)
    many = np.tile(X, (10, 1))
    np.testing.assert_allclose(
        model.predict(many)[::700], [model.predict(row[None])[0] for row in many[::700]], rtol=1e-12
    )
    assert model.predict(sp.csr_array(many)) == pytest.approx(model.predict(many), rel=1e-10)


@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_poisson_regression_without_hidden_layer_is_scikit_learns(diabetes, solver):
    X, y = diabetes
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    ours = small(hidden_layer_sizes=(), loss="poisson", alpha=0, tol=0, n_iter_no_change=50)
    ours.set_params(solver=solver)
    expected = PoissonRegressor(alpha=0, tol=1e-10, max_iter=10_000).fit(X, y).predict(X)
    np.testing.assert_allclose(ours.fit(X, y).predict(X), expected, rtol=1e-4)


# --- repeatability ---


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_random_state_makes_everything_repeatable(friedman, solver, early_stopping):
    X, y = friedman
    model = small(solver=solver, early_stopping=early_stopping)
    first = model.fit(X, y).predict(X)
    np.testing.assert_array_equal(model.fit(X, y).predict(X), first)
    np.testing.assert_array_equal(clone(model).fit(X, y).predict(X), first)
    seeded = clone(model).set_params(random_state=np.random.RandomState(0))
    np.testing.assert_array_equal(seeded.fit(X, y).predict(X), first)
    assert np.any(seeded.fit(X, y).predict(X) != first)
    assert np.any(clone(model).set_params(random_state=1).fit(X, y).predict(X) != first)


def test_fit_leaves_its_arguments_as_they_are(friedman):
    X, y = friedman
    arrays = X.copy(), y.copy(), np.linspace(0, 1, len(y))
    init = [np.ones((5, 5)), np.ones((5, 1))], [np.ones(5), np.ones(1)]
    before = pickle.dumps((arrays, init))
    model = small(solver="adam")
    model.fit(*arrays, coefs_init=init[0], intercepts_init=init[1])
    model.predict(arrays[0])
    assert pickle.dumps((arrays, init)) == before
    csr = sp.csr_array(X)
    small().fit(csr, y).predict(csr)
    np.testing.assert_array_equal(csr.toarray(), X)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_initial_weights_do_not_depend_on_the_number_of_rows(friedman, early_stopping):
    # They depend on which column counts most: the same for each number of rows here.
    X, y = friedman
    X = X**3.0 ** np.arange(X.shape[1])
    y = 10 + X[:, 0]
    # A step of no length, and coordinates that do not depend on the rows either.
    model = small(
        solver="sgd",
        precondition=False,
        learning_rate_init=1e-300,
        max_iter=1,
        early_stopping=early_stopping,
    )
    coefs = []
    for n in (50, 51, 300):
        with pytest.warns(ConvergenceWarning):
            coefs.append(model.fit(X[:n], y[:n]).coefs_)
    for other in coefs[1:]:
        for a, b in zip(coefs[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("solver", SOLVERS)
def test_preconditioned_initial_weights_do_not_depend_on_the_rows_either(
    friedman, solver, monkeypatch
):
    # In the solver's coordinates; folded back they follow the scales of the rows.
    X, y = friedman
    drawn = []
    original = Network.initial_parameters

    def spy(self, *args):
        params = original(self, *args)
        drawn.append(params.flat.copy())
        return params

    monkeypatch.setattr(Network, "initial_parameters", spy)
    for n in (50, 300):
        small(solver=solver, alpha=1.0).fit(X[:n], y[:n])
    # The others are those of networks trained on parts of the rows, with seeds of their own.
    assert any(np.array_equal(drawn[0], other) for other in drawn[1:])


# --- initial weights and warm start ---


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("solver", SOLVERS)
def test_coefs_init_of_a_fit_is_that_fit(friedman, solver, precondition):
    X, y = friedman
    options = {"precondition": precondition, "alpha": 2.0}
    # Near an optimum, so that lm's one step cannot go far; not at it, so that there is one.
    first = small(tol=1e-6, max_iter=5000, **options).fit(X, y)
    again = small(solver=solver, max_iter=1, learning_rate_init=1e-300, **options)
    with pytest.warns(ConvergenceWarning):
        again.fit(X, y, coefs_init=first.coefs_, intercepts_init=first.intercepts_)
    assert again.loss_curve_[0] == pytest.approx(first.loss_, rel=1e-3)
    np.testing.assert_allclose(again.predict(X), first.predict(X), rtol=0.02)


def test_intercepts_default_to_zero(friedman):
    X, y = friedman
    rng = np.random.RandomState(0)
    coefs = [rng.randn(5, 5), rng.randn(5, 1)]
    zeros = [np.zeros(5), np.zeros(1)]
    np.testing.assert_array_equal(
        small().fit(X, y, coefs_init=coefs).predict(X),
        small().fit(X, y, coefs_init=coefs, intercepts_init=zeros).predict(X),
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_warm_start_continues(friedman, solver):
    X, y = friedman
    n_iter = 5 if solver == "lm" else 20
    model = small(solver=solver, alpha=2.0, max_iter=n_iter, tol=0, warm_start=True)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    first, t = model.loss_, model.t_
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    assert model.loss_curve_[0] < first * 1.05
    assert model.loss_ < first
    assert model.n_iter_ == n_iter
    assert model.t_ == 2 * t
    cold = clone(model).set_params(warm_start=False)
    for _ in range(2):
        with pytest.warns(ConvergenceWarning):
            cold.fit(X, y)
    assert cold.loss_ == first


@pytest.mark.parametrize("solver", SOLVERS)
def test_warm_start_on_other_rows_starts_from_the_same_function(friedman, solver):
    X, y = friedman
    model = small(solver=solver, warm_start=True).fit(X, y)
    before = model.predict(X)
    model.set_params(solver="sgd", learning_rate_init=1e-300, max_iter=1)
    with pytest.warns(ConvergenceWarning):
        model.fit(X[:50] * 2, y[:50] * 3)
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-9)


def test_warm_start_at_a_function_beyond_the_range_is_reported_as_diverged(friedman):
    # In units of the new y the weights are 1e310, and their sums inf - inf.
    X, y = friedman
    model = small(solver="lm", warm_start=True).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="no longer finite after iteration 0"):
        model.fit(X, np.random.RandomState(0).standard_normal(len(y)) * 1e-310)
    with pytest.warns(RuntimeWarning, match="beyond the range of float64"):
        assert not np.isfinite(model.predict(X)).any()
    assert np.isfinite(model.set_params(warm_start=False).fit(X, y).predict(X)).all()


def test_warm_start_does_not_corrupt_the_saved_best_weights(friedman):
    # MLPRegressor 1.9.1 lets a warm-started fit write into them.
    X, y = friedman
    model = small(solver="adam", early_stopping=True, warm_start=True).fit(X, y)
    kept = [W.copy() for W in model.coefs_]
    held = model.coefs_
    model.fit(X, y)
    for a, b in zip(kept, held, strict=True):
        np.testing.assert_array_equal(a, b)


def test_patience_is_not_carried_over_a_warm_start(friedman):
    X, y = friedman
    model = small(solver="adam", warm_start=True, n_iter_no_change=5).fit(X, y)
    model.fit(X, y)
    assert model.n_iter_ >= 5


# --- early stopping and validation data ---


@pytest.mark.parametrize("solver", SOLVERS)
def test_early_stopping_keeps_the_best_weights_and_all_that_goes_with_them(solver):
    X, y = load_diabetes(return_X_y=True, scaled=False)
    X, y, X_val, y_val = X[:200], y[:200], X[200:], y[200:]
    model = small(
        hidden_layer_sizes=(50,),
        solver=solver,
        alpha=0,
        early_stopping=True,
        learning_rate_init=0.03,
        n_iter_no_change=20,
    ).fit(X, y, X_val=X_val, y_val=y_val)
    scores = model.validation_scores_
    assert len(scores) == len(model.validation_loss_curve_) == model.n_iter_
    assert model.best_iter_ == np.argmax(scores) + 1 < model.n_iter_
    assert model.best_validation_score_ == max(scores)
    # Mini-batches round to float32.
    rel = 1e-9 if solver in ("lm", "lbfgs") else float(np.finfo(np.float32).eps)
    assert model.score(X_val, y_val) == pytest.approx(max(scores), rel=rel)
    assert model.loss_ == model.loss_curve_[model.best_iter_ - 1]
    assert model.n_iter_ - model.best_iter_ >= 20


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_random_fraction_is_set_aside(friedman, solver):
    X, y = friedman
    model = small(solver=solver, early_stopping=True, validation_fraction=0.25).fit(X, y)
    assert model.t_ == model.n_iter_ * 225
    assert model.scaler_.n_samples_seen_ == 225
    assert len(model.validation_scores_) == model.n_iter_


@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_validation_data_without_early_stopping_is_recorded_only(friedman, solver):
    X, y = friedman
    plain = small(solver=solver).fit(X, y)
    watched = small(solver=solver).fit(X, y, X_val=X[:40] + 1, y_val=y[:40])
    np.testing.assert_array_equal(plain.predict(X), watched.predict(X))
    assert len(watched.validation_scores_) == watched.n_iter_
    assert watched.best_validation_score_ == watched.validation_scores_[-1]


def test_validation_weights_count(friedman):
    X, y = friedman
    w = np.r_[np.ones(20), np.zeros(20)]
    weighted = small().fit(X, y, X_val=X[:40], y_val=y[:40], sample_weight_val=w)
    subset = small().fit(X, y, X_val=X[:20], y_val=y[:20])
    assert weighted.validation_scores_ == subset.validation_scores_


@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_a_single_validation_row_stops_by_its_loss(friedman, solver):
    X, y = friedman
    model = small(solver=solver, early_stopping=True).fit(X, y, X_val=X[:1], y_val=y[:1])
    assert np.isnan(model.validation_scores_).all()
    assert model.best_iter_ == np.argmin(model.validation_loss_curve_) + 1


# --- bad days ---


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("after", [0, 1, 7])
def test_interruption_keeps_a_usable_model(friedman, solver, after, monkeypatch):
    X, y = friedman
    calls = iter(range(10_000))
    names = {"lm": "normal_equations", "lbfgs": "loss_gradient"}
    name = names.get(solver, "batch_loss_gradient")
    original = getattr(Objective, name)

    def interrupted(self, *args, **kwargs):
        if next(calls) == after:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Objective, name, interrupted)
    # A penalty of its own: while lbfgs tries several, Ctrl-C is raised.
    model = small(solver=solver, batch_size=100, alpha=1.0)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    assert np.isfinite(model.loss_)
    assert model.n_iter_ == len(model.loss_curve_)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_divergence_stops_at_once_and_says_what_to_change(friedman, early_stopping):
    X, y = friedman
    model = small(
        solver="sgd", learning_rate_init=1e6, activation="relu", early_stopping=early_stopping
    )
    with pytest.warns(ConvergenceWarning, match="diverged.*Decrease learning_rate_init"):
        model.fit(X, y)
    assert model.n_iter_ < 20
    assert np.isfinite(model.predict(X)).all()
    assert all(np.isfinite(W).all() for W in model.coefs_)


def test_a_run_that_blew_up_and_stayed_finite_is_called_diverged(friedman):
    X, y = friedman
    model = small(solver="sgd", learning_rate_init=30.0, tol=0)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.fit(X, y)
    # Every epoch was worse than the start, which is kept.
    assert model.best_iter_ == 0
    assert model.loss_ < 1 < min(model.loss_curve_)


def test_a_fit_that_blew_up_goes_back_to_where_it_started_if_all_else_was_worse(diabetes):
    X, y = diabetes
    model = small(solver="adam", activation="relu", learning_rate_init=1e5, max_iter=50)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.fit(X, y)
    np.testing.assert_allclose(model.predict(X), y.mean())
    assert model.best_iter_ == 0


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_interruption_goes_back_to_the_last_whole_epoch(friedman, solver, monkeypatch):
    X, y = friedman
    options = {"solver": solver, "batch_size": 100, "max_iter": 2, "tol": 0}
    with pytest.warns(ConvergenceWarning):
        expected = small(**options).fit(X, y)
    original, calls = Objective.batch_loss_gradient, iter(range(100))

    def interrupted(self, *args):
        if next(calls) == 8:  # one before training, three in each of two epochs, and one
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(Objective, "batch_loss_gradient", interrupted)
    with pytest.warns(UserWarning, match="interrupted; the weights of iteration 2"):
        model = small(**{**options, "max_iter": 50}).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "early_stopping"), by_turns(range(4), [False, True]))
def test_the_default_learns_a_wave(seed, early_stopping):
    # From Glorot's bound it stopped on a first plateau, at R^2 = 0.14.
    x = np.random.RandomState(0).uniform(size=(500, 1))
    y = np.sin(4 * np.pi * x[:, 0])
    model = BackpropRegressor(early_stopping=early_stopping, random_state=seed).fit(x, y)
    assert model.score(x, y) > 0.9


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_poisson_survives_rates_that_underflow(dtype):
    X, _ = make_friedman1(300, n_features=5, random_state=0)
    y = (X[:, 0] > 0.5) * 100.0
    model = small(loss="poisson", alpha=0).fit(X.astype(dtype), y)
    assert model.score(X, y) > 0.95
    coefs = [np.zeros((5, 5)), np.full((5, 1), -1e3)]
    far = small(loss="poisson", solver="adam", learning_rate_init=1e-300, max_iter=1)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        far.fit(X.astype(dtype), y, coefs_init=coefs)
    assert np.isfinite(far.loss_)


def test_sparse_entries_given_twice_are_added_up(friedman):
    X, y = friedman
    indptr = np.arange(0, 2 * len(X) + 1, 2)
    twice = sp.csr_array(
        (np.repeat(X[:, 0], 2), np.zeros(2 * len(X), dtype=int), indptr), shape=(len(X), 2)
    )
    summed = np.column_stack([2 * X[:, 0], np.zeros(len(X))])
    model = small().fit(twice, y)
    assert twice.nnz == 2 * len(X)
    np.testing.assert_allclose(model.predict(twice), small().fit(summed, y).predict(summed))


def test_a_subclass_with_fewer_parameters(friedman):
    class Five(BackpropRegressor):
        def __init__(self, alpha=1.0):
            super().__init__((5,), alpha=alpha, solver="lbfgs", random_state=0)

    X, y = friedman
    whole = BackpropRegressor((5,), alpha=1.0, solver="lbfgs", random_state=0)
    expected = whole.fit(X, y).predict(X)
    np.testing.assert_array_equal(clone(Five()).fit(X, y).predict(X), expected)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_scaler_knows_the_names_of_the_features(solver):
    X, y = load_diabetes(return_X_y=True, scaled=False, as_frame=True)
    model = small(solver=solver, warm_start=True).fit(X, y)
    model.fit(X, y)
    if solver in ("adam", "sgd"):
        model.partial_fit(X, y).partial_fit(X, y)
    np.testing.assert_array_equal(model.scaler_.transform(X).max(axis=0), 1)


@pytest.mark.parametrize(
    ("param", "solver"), [("max_iter", "sgd"), ("max_iter", "lm"), ("max_fun", "lbfgs")]
)
def test_limits_warn_and_name_themselves(friedman, param, solver):
    with pytest.warns(ConvergenceWarning, match=f"{param}=2 .*Increase {param}"):
        small(solver=solver, **{param: 2}).fit(*friedman)


def test_a_batch_of_zero_weights_is_no_trouble(friedman):
    # MLPRegressor 1.9.1 divides by the weight of a mini-batch.
    X, y = friedman
    w = np.r_[np.zeros(100), np.ones(200)]
    model = small(solver="adam", batch_size=50, shuffle=False)
    assert np.isfinite(model.fit(X, y, w).predict(X)).all()


def test_raw_weights_of_an_unfitted_estimator():
    with pytest.raises(NotFittedError):
        len(BackpropRegressor().raw_coefs_)
    assert not hasattr(BackpropRegressor(), "raw_intercepts_")


def test_feature_names_come_and_go(diabetes):
    X, y = load_diabetes(return_X_y=True, scaled=False, as_frame=True)
    model = small().fit(X, y)
    assert list(model.feature_names_in_) == list(X.columns)
    model.fit(X.to_numpy(), y)
    assert not hasattr(model, "feature_names_in_")
