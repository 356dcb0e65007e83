"""Several networks in one, and the plan: what is trained where nothing is said."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.linear_model import BayesianRidge

from sk_backprop import BackpropRegressor
from sk_backprop._estimator.state import fitted_function, predictive_of
from sk_backprop._inference.objective import Objective
from sk_backprop._network.averaging import Member, merged, separated
from sk_backprop._network.families import SquaredError
from sk_backprop._network.network import Network, evaluate, lecun_bound
from sk_backprop._training import ensemble as _ensemble
from sk_backprop._training.plan import make_plan
from sk_backprop._training.problem import Settings
from sk_backprop._training.run import TrainingRun


def regressor(**params):
    defaults = {"hidden_layer_sizes": (4,), "solver": "lm", "random_state": 0}
    return BackpropRegressor(**{**defaults, **params})


@pytest.fixture(scope="module")
def friedman():
    return make_friedman1(150, n_features=5, noise=1.0, random_state=0)


def alone(model, k):
    """The k-th network of a fitted ensemble as an estimator of its own."""
    one = copy.deepcopy(model).set_params(n_networks=1)
    one.coefs_, one.intercepts_ = fitted_function(model).networks()[0][k]
    one.n_networks_ = 1
    one.members_ = [{**model.members_[0], "n_networks": 1}]
    one.weight_precision_ = model.weight_precision_ and {
        name: values[[k]] for name, values in model.weight_precision_.items()
    }
    state = one._fit_state
    for name in ("output_intercepts", "posteriors"):
        state[name] = [state[name][k]]
    state["optimizers"] = {name: [each[k]] for name, each in state["optimizers"].items()}
    return one


# --- the network that is the average ---


def random_networks(hidden, dtype=float, n_networks=3):
    network = Network((5, *hidden, 2), "tanh", "identity")
    rng = np.random.RandomState(0)
    params = [network.initial_parameters(rng, dtype, lecun_bound) for _ in range(n_networks)]
    return network, [(one.coefs, one.intercepts) for one in params]


@pytest.mark.parametrize("n_networks", [1, 3])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3), (3, 4, 2)], ids=str)
def test_merged_network_gives_the_mean_of_the_outputs(hidden, n_networks):
    network, networks = random_networks(hidden, n_networks=n_networks)
    coefs, intercepts = merged([Member(network, n_networks)], [networks])
    X = np.random.RandomState(1).randn(10, 5)
    expected = np.mean([evaluate(network, *one, X) for one in networks], axis=0)
    sizes = [*(n_networks * size for size in hidden), 2]
    assert [W.shape[1] for W in coefs] == sizes
    wide = Network((5, *sizes), "tanh", "identity")
    np.testing.assert_allclose(evaluate(wide, coefs, intercepts, X), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_networks", [1, 2, 3])
@pytest.mark.parametrize("hidden", [(4,), (4, 3), (3, 4, 2)], ids=str)
def test_separated_networks_are_those_that_were_merged(hidden, n_networks, dtype):
    network, networks = random_networks(hidden, dtype, n_networks)
    output_intercepts = [intercepts[-1] for _, intercepts in networks]
    members = [Member(network, n_networks)]
    (found,) = separated(members, *merged(members, [networks]), output_intercepts)
    for ours, theirs in zip(found, networks, strict=True):
        for a, b in zip(ours[0] + ours[1], theirs[0] + theirs[1], strict=True):
            assert a.dtype == dtype
            np.testing.assert_allclose(a, b, rtol=3 * np.finfo(dtype).eps)


@pytest.mark.parametrize("n_networks", [1, 2, 3])
def test_linear_models_once_merged_are_all_their_mean(n_networks):
    # Which was which is lost; they all have the same optimum.
    network, networks = random_networks((), n_networks=n_networks)
    members = [Member(network, n_networks)]
    coefs, intercepts = merged(members, [networks])
    (found,) = separated(members, coefs, intercepts, [b[-1] for _, b in networks])
    for W, _ in found:
        np.testing.assert_allclose(W[0], coefs[0], rtol=1e-12)


def test_fitted_attributes_of_an_ensemble_are_those_of_one_network(friedman):
    X, y = friedman
    model = regressor(n_networks=3).fit(X, y)
    assert model.n_networks_ == 3
    assert model.hidden_layer_sizes_ == (4,)
    assert [W.shape for W in model.coefs_] == [(5, 12), (12, 1)]
    assert [b.shape for b in model.intercepts_] == [(12,), (1,)]
    assert model.n_effective_params_.shape == model.log_evidence_.shape == (3,)
    assert {value.shape for value in model.weight_precision_.values()} == {(3,)}
    hidden = 1 / (1 + np.exp(-(X @ model.raw_coefs_[0] + model.raw_intercepts_[0])))
    np.testing.assert_allclose(
        hidden @ model.raw_coefs_[1][:, 0] + model.raw_intercepts_[1], model.predict(X), rtol=1e-9
    )


@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)], ids=str)
def test_an_ensemble_predicts_the_mean_of_its_networks(friedman, hidden):
    X, y = friedman
    model = regressor(hidden_layer_sizes=hidden, n_networks=3).fit(X, y)
    means = [alone(model, k).predict(X) for k in range(3)]
    np.testing.assert_allclose(model.predict(X), np.mean(means, axis=0), rtol=1e-9)


@pytest.mark.parametrize("target", [{}, {"loss": "poisson"}, {"output_activation": "logistic"}])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)], ids=str)
def test_variance_of_an_ensemble_is_that_of_the_mixture(friedman, hidden, target):
    X, y = friedman
    model = regressor(hidden_layer_sizes=hidden, n_networks=3, **target).fit(X, np.maximum(y, 0))
    means, stds = zip(*(alone(model, k).predict(X, return_std=True) for k in range(3)))
    calibration = predictive_of(model, fitted_function(model)).calibration
    factor = (calibration.factor * calibration.std_of_unit_scale) ** 2
    variance = np.mean(np.square(stds), axis=0) + factor * np.var(means, axis=0)
    np.testing.assert_allclose(model.predict(X, return_std=True)[1], np.sqrt(variance), rtol=1e-9)


@pytest.mark.parametrize("target", [{}, {"loss": "poisson"}, {"output_activation": "logistic"}])
def test_an_ensemble_of_linear_models_is_the_linear_model(friedman, target):
    # All of them end in the one optimum that there is.
    X, y = friedman
    params = {"hidden_layer_sizes": (), "alpha": 1.0, "tol": 0, "n_iter_no_change": np.inf}
    one, three = (
        regressor(n_networks=k, **params, **target).fit(X, np.maximum(y, 0)) for k in (1, 3)
    )
    for ours, theirs in zip(*(m.predict(X, return_std=True) for m in (three, one)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_noise_of_an_ensemble_is_the_mean_of_its_networks(friedman):
    model = regressor(n_networks=3).fit(*friedman)
    noise = [posterior["noise"] for posterior in model._fit_state["posteriors"]]
    expected = 1 / (np.mean(noise, axis=0) * model.y_scale_**2)
    np.testing.assert_allclose(model.noise_precision_, expected)


# --- how the networks are trained ---


def test_networks_are_those_of_smaller_ensembles_of_the_same_seed(friedman):
    three = fitted_function(regressor(n_networks=3, alpha=1.0).fit(*friedman)).networks()[0]
    for smaller in (1, 2):
        fewer = regressor(n_networks=smaller, alpha=1.0).fit(*friedman)
        fewer = fitted_function(fewer).networks()[0]
        for ours, theirs in zip(fewer, three):
            for a, b in zip(ours[0] + ours[1], theirs[0] + theirs[1], strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-14)


def runs_of_evidence(*evidence):
    return [SimpleNamespace(log_evidence=found) for found in evidence]


def test_networks_far_below_the_best_evidence_have_failed():
    networks = runs_of_evidence(-10.0, -29.0, -31.0, -500.0)
    assert _ensemble.credible(networks, 100.0) == networks[:2]
    # What is near is told by the best quarter, and all count where there is no evidence.
    wide = runs_of_evidence(*(-100.0 * k for k in range(8)))
    assert _ensemble.credible(wide, 100.0) == wide[:2]
    assert _ensemble.credible(wide, 500.0) == wide[:3]
    fixed = runs_of_evidence(None, None)
    assert _ensemble.credible(fixed, 100.0) == fixed


def test_the_networks_of_highest_evidence_stay_in_their_order():
    networks = runs_of_evidence(-3.0, -9.0, -1.0, -2.0)
    assert _ensemble.best(networks, 3) == [networks[0], networks[2], networks[3]]


def test_failed_networks_are_replaced_where_a_number_is_given(friedman, monkeypatch):
    # Of these eight, two end in a poor optimum.
    X, y = friedman
    with monkeypatch.context() as patch:
        patch.setattr(_ensemble, "_LARGEST_GAP", np.inf)
        kept = regressor(n_networks=8).fit(X, y)
    replaced = regressor(n_networks=8).fit(X, y)
    assert replaced.n_networks_ == 8

    def n_failed(model):
        return np.sum(model.log_evidence_ < model.log_evidence_.max() - 0.2 * len(y))

    assert n_failed(replaced) < n_failed(kept)


def test_networks_of_an_ensemble_differ(friedman):
    X, y = friedman
    model = regressor(n_networks=3).fit(X, y)
    starts = np.array([W[0] for W, _ in (one[0] for one in fitted_function(model).networks()[0])])
    assert np.unique(starts.round(9), axis=0).shape[0] == 3


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"hidden_layer_sizes": "auto", "n_networks": "auto"},
        {"solver": "adam", "max_iter": 2000},
        {"solver": "lbfgs", "max_iter": 3000},
        {"early_stopping": True},
    ],
    ids=str,
)
def test_the_result_does_not_depend_on_n_jobs(friedman, params):
    X, y = friedman
    params = {"n_networks": 3, **params}
    one, two = (regressor(n_jobs=n_jobs, **params).fit(X, y) for n_jobs in (None, 2))
    for ours, theirs in zip(*(m.predict(X, return_std=True) for m in (one, two)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert one.loss_curve_ == two.loss_curve_


@pytest.mark.filterwarnings("ignore:Training stopped at max_iter")
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)], ids=str)
@pytest.mark.parametrize(
    "params", [{}, {"alpha": 1.0}, {"solver": "lbfgs"}, {"solver": "adam", "shuffle": False}]
)
def test_a_warm_start_goes_on_with_every_network(friedman, hidden, params):
    X, y = friedman
    model = regressor(hidden_layer_sizes=hidden, n_networks=3, warm_start=True, **params)
    model.set_params(max_iter=5).fit(X, y)
    singles = [alone(model, k) for k in range(3)]
    for one in (model, *singles):
        one.set_params(max_iter=10).fit(X, y)
    assert model.n_networks_ == 3
    expected = np.mean([one.predict(X) for one in singles], axis=0)
    np.testing.assert_allclose(model.predict(X), expected, atol=1e-6 * y.std())


def test_a_warm_start_takes_the_number_of_networks_from_the_last_fit(friedman):
    model = regressor(n_networks=3, alpha=1.0, warm_start=True).fit(*friedman)
    model.set_params(n_networks="auto").fit(*friedman)
    assert model.n_networks_ == 3
    model.set_params(n_networks=2)
    with pytest.raises(ValueError, match=r"n_networks is 3; now it would be 2"):
        model.fit(*friedman)


def test_a_stream_trains_every_network(friedman):
    X, y = friedman
    model = regressor(solver="adam", n_networks=2, shuffle=False, learning_rate_init=0.02)
    batches = np.split(np.arange(150), 5)
    model.partial_fit(X[batches[0]], y[batches[0]])
    singles = [alone(model, k) for k in range(2)]
    for rows in batches[1:]:
        for one in (model, *singles):
            one.partial_fit(X[rows], y[rows])
    assert model.n_networks_ == 2
    assert model.t_ == 150
    means, stds = zip(*(one.predict(X, return_std=True) for one in singles))
    assert np.std(means[0] - means[1]) > 0.01 * y.std()
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean, np.mean(means, axis=0), rtol=1e-9)
    variance = np.mean(np.square(stds), axis=0) + np.var(means, axis=0)
    np.testing.assert_allclose(std, np.sqrt(variance), rtol=1e-9)


def test_initial_weights_are_of_one_network(friedman):
    X, y = friedman
    init = [np.random.RandomState(0).randn(5, 4), np.zeros((4, 1))]
    assert regressor().fit(X, y, coefs_init=init).n_networks_ == 1
    with pytest.raises(ValueError, match=r"n_networks must be 1 or 'auto'. Got n_networks=3"):
        regressor(n_networks=3).fit(X, y, coefs_init=init)


# --- Ctrl-C ---


def interrupt_run(monkeypatch, number):
    """Let the run of the given number be met by Ctrl-C in its fourth step."""
    real_train, real_losses = TrainingRun.train, Objective.losses
    runs, calls = [], []

    def train(*args, **kwargs):
        runs.append(1)
        return real_train(*args, **kwargs)

    def losses(self, params):
        if len(runs) == number:
            calls.append(1)
            if len(calls) == 4:
                raise KeyboardInterrupt
        return real_losses(self, params)

    monkeypatch.setattr(TrainingRun, "train", train)
    monkeypatch.setattr(Objective, "losses", losses)
    return runs


# With evidence every network is trained twice, from a cold and a warm start.
@pytest.mark.parametrize(
    ("alpha", "number", "kept", "says"),
    [
        (1.0, 1, 1, r"the weights of iteration 3 are kept \(solver='lm'\)"),
        (1.0, 2, 1, "1 complete network is kept"),
        (1.0, 3, 2, "2 complete networks are kept"),
        ("auto", 3, 1, "1 complete network is kept"),
    ],
)
def test_ctrl_c_keeps_the_whole_networks_or_the_first_and_warns(
    friedman, monkeypatch, capsys, alpha, number, kept, says
):
    model = regressor(n_networks=4, alpha=alpha, verbose=1)
    runs = interrupt_run(monkeypatch, number)
    with pytest.warns(UserWarning, match=f"^Training interrupted; {says}.$") as told:
        model.fit(*friedman)
    assert len(told) == 1
    assert len(runs) == number
    assert model.n_networks_ == kept
    end = capsys.readouterr().out.splitlines()[-1].partition(" s  ")[2]
    assert end.startswith("interrupted after 3 iterations" if number == 1 else "interrupted; ")


@pytest.mark.parametrize("place", ["losses", "finish"])
def test_ctrl_c_in_a_replacement_keeps_the_networks_that_are_whole(friedman, monkeypatch, place):
    X, y = friedman
    real = TrainingRun.finish
    runs = interrupt_run(monkeypatch, 17 if place == "losses" else None)  # eight have had two each

    def finish(*args):
        if len(runs) == 17:
            raise KeyboardInterrupt
        return real(*args)

    if place == "finish":
        monkeypatch.setattr(TrainingRun, "finish", finish)
    with pytest.warns(UserWarning, match="^Training interrupted; 8 complete networks are kept.$"):
        model = regressor(n_networks=8).fit(X, y)
    assert len(runs) == 17
    assert model.n_networks_ == 8


@pytest.mark.parametrize("name", ["_initial_parameters", "finish"])
def test_ctrl_c_before_or_after_the_steps_of_a_network_keeps_those_before(
    friedman, monkeypatch, name
):
    real, calls = getattr(TrainingRun, name), []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(TrainingRun, name, interrupted)
    model = regressor(n_networks=4, alpha=1.0)
    with pytest.warns(UserWarning, match="^Training interrupted; 2 complete networks are kept.$"):
        model.fit(*friedman)
    assert model.n_networks_ == 2
    calls[:] = [1, 1]  # the first network this time
    expected = model.predict(friedman[0])
    with pytest.raises(KeyboardInterrupt):
        model.fit(*friedman)
    np.testing.assert_array_equal(model.predict(friedman[0]), expected)


def test_ctrl_c_in_the_second_start_of_a_network_ends_the_fit(friedman, monkeypatch):
    model = regressor(n_networks=4)
    runs = interrupt_run(monkeypatch, 2)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(*friedman)
    assert len(runs) == 2
    assert model.n_networks_ == 1


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_ctrl_c_trains_no_other_networks_for_the_noise(friedman, monkeypatch, solver):
    # So many weights that the residuals would not show the noise.
    model = BackpropRegressor((60,), solver=solver, alpha=0.01, random_state=0)
    name = {"adam": "batch_loss_gradient", "lbfgs": "loss_gradient"}[solver]
    real_train, real = TrainingRun.train, getattr(Objective, name)
    runs, calls = [], []

    def train(*args, **kwargs):
        runs.append(1)
        return real_train(*args, **kwargs)

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(TrainingRun, "train", train)
    monkeypatch.setattr(Objective, name, interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(*friedman)
    assert len(runs) == 1
    assert (model.predict(friedman[0], return_std=True)[1] > 0).all()


def test_ctrl_c_while_shapes_are_tried_leaves_the_estimator_as_it_was(friedman, monkeypatch):
    model = regressor(hidden_layer_sizes="auto")
    interrupt_run(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*friedman)
    assert not hasattr(model, "coefs_")


# --- the plan ---


def plan_of(
    n_samples,
    n_features,
    *,
    hidden=None,
    n_outputs=1,
    n_networks=None,
    mean_weight=1.0,
    streaming=False,
    **settings,
):
    """The plan for settings that leave everything open but what is given."""
    taken = dict.fromkeys(Settings._fields)
    taken |= {"solver": "auto", "alpha": None, "plain_steps": (), "weight_groups": "auto"}
    taken["likelihood"] = SquaredError()
    taken |= {"weight_unit": 1.0, "tol": 1e-3}
    network = Network((n_features, *(hidden or ()), n_outputs), "logistic", "identity")
    wanted = Settings(**{**taken, "network": network, **settings})
    return make_plan(wanted, hidden, n_networks, n_samples, mean_weight, streaming=streaming)


@pytest.mark.parametrize(
    ("n_samples", "n_features", "given", "solvers"),
    [
        (20, 3, {}, {"lm"}),
        (1000, 10, {}, {"lm"}),
        (10_000, 8, {}, {"lm"}),
        (300, 100, {}, {"lm", "lbfgs"}),
        (2000, 1000, {}, {"lm", "lbfgs"}),
        (100, 5000, {}, {"lbfgs"}),
        (1_000_000, 50, {}, {"adam"}),
        (1_000_000, 500, {}, {"adam"}),
        (500, 10, {"hidden": ()}, {"lm"}),
        (500, 10, {"hidden": (10,)}, {"lm"}),
        (500, 10, {"hidden": (10,), "alpha": 1.0}, {"lm"}),
        (500, 10, {"hidden": (1000,)}, {"lbfgs"}),
        (50_000, 10, {"hidden": (1000,)}, {"adam"}),
    ],
)
def test_solvers_that_auto_stands_for(n_samples, n_features, given, solvers):
    plan = plan_of(n_samples, n_features, **given)
    assert {one.solver for one in plan.candidates} == solvers


@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam", "sgd"])
@pytest.mark.parametrize(("n_samples", "n_features"), [(100, 5), (1_000_000, 50)])
def test_a_solver_that_is_given_is_taken(solver, n_samples, n_features):
    plan = plan_of(n_samples, n_features, solver=solver)
    assert {one.solver for one in plan.candidates} == {solver}
    if solver != "lm":
        shapes = [{one.network.layer_sizes[1:-1] for one in family} for family in plan.families]
        assert shapes == [{()}, {(20,)}]


def test_a_stream_has_one_candidate():
    for solver in ("lbfgs", "adam", "sgd"):
        (family,) = plan_of(100, 5, solver=solver, streaming=True).families
        assert [one.network.layer_sizes for one in family] == [(5, 20, 1)]


@pytest.mark.parametrize("solver", ["lbfgs", "adam", "sgd"])
def test_penalties_are_multiples_of_the_mean_weight(solver):
    alphas = [
        [one.alpha for one in plan_of(100, 5, solver=solver, mean_weight=weight).candidates]
        for weight in (1.0, 7.0)
    ]
    np.testing.assert_allclose(alphas[1], 7 * np.array(alphas[0]))
    untried = [plan_of(100, 5, solver=solver, mean_weight=w).untried.alpha for w in (1.0, 7.0)]
    assert untried == [2, 14]
    (given,) = {one.alpha for one in plan_of(100, 5, mean_weight=7.0, alpha=0.5).candidates}
    assert given == 0.5


def test_large_weights_are_tried_as_counts_and_as_relative_ones():
    units = [[one.weight_unit for one in plan_of(100, 5, mean_weight=w).candidates] for w in (1, 7)]
    n = len(units[0])
    assert units == [[1.0] * n, [1.0] * n + [7.0] * n]
    assert {one.weight_unit for one in plan_of(100, 5, hidden=(5,), mean_weight=7).candidates} == {
        1
    }


def test_the_evidence_is_for_lm_alone_and_only_where_no_penalty_is_given():
    assert {one.alpha for one in plan_of(100, 5).candidates} == {None}
    assert plan_of(100, 5, hidden=(5,)).settings.plain_steps == (2, 10)
    adam = plan_of(100, 5, solver="adam")
    assert [[one.alpha for one in family] for family in adam.families] == [[0.01, 2.0], [2.0]]
    assert plan_of(100, 5, solver="lbfgs", early_stopping=True).settings.alpha == 2.0
    for given in (0.0, 0.5):
        for solver in ("auto", "lm", "lbfgs", "adam"):
            plan = plan_of(100, 5, solver=solver, alpha=given)
            assert {one.alpha for one in plan.candidates} == {given}


def test_penalties_of_lbfgs_are_tried_from_strong_to_weak():
    for plan in (plan_of(100, 5, solver="lbfgs"), plan_of(50, 3000)):
        tried = [one.alpha for one in plan.families[-1]]
        assert tried[0] == 100
        assert tried[-1] == 0.01
        assert tried == sorted(tried, reverse=True)


def test_one_network_unless_the_evidence_makes_several_worth_their_time():
    assert plan_of(100, 5).n_networks is None
    for given in ({"alpha": 1.0}, {"solver": "adam"}, {"solver": "lbfgs"}):
        assert plan_of(100, 5, **given).n_networks == 1
    for solver in ("auto", "adam"):
        assert plan_of(100, 5, solver=solver, n_networks=3).n_networks == 3


@pytest.mark.parametrize("n_samples", [300, 600, 5000])
def test_shapes_have_no_more_parameters_than_rows_in_a_trial_but_the_first(n_samples):
    linear, (cold, *warm) = plan_of(n_samples, 10).families
    assert {one.network.layer_sizes for one in linear} == {(10, 1)}
    assert cold.network == warm[0].network
    assert cold.plain_steps < warm[0].plain_steps
    shapes = [one.network.layer_sizes for one in warm]
    assert len(set(shapes)) == len(shapes) > 1
    assert all(one.network.n_params <= 0.8 * n_samples for one in warm)
    assert min(one.network.n_params for one in warm) == cold.network.n_params


def test_a_linear_model_is_tried_with_both_groups_unless_one_is_given():
    for hidden in (None, ()):
        groups = [one.weight_groups for one in plan_of(100, 5, hidden=hidden).families[0]]
        assert groups == ["layer", "input"]
        (given,) = plan_of(100, 5, hidden=hidden, weight_groups="input").families[0]
        assert given.weight_groups == "input"


def test_more_rows_of_the_same_table_never_take_a_solver_for_smaller_problems():
    order = ["lm", "lbfgs", "adam"]
    chosen = [
        order.index(plan_of(n, 20, hidden=(20,)).settings.solver)
        for n in (50, 500, 5000, 50_000, 500_000, 5_000_000)
    ]
    assert chosen == sorted(chosen)


# --- the defaults ---


@pytest.fixture(scope="module")
def default_fit(friedman):
    return BackpropRegressor(random_state=0).fit(*friedman)


def test_defaults_choose_lm_a_shape_and_several_networks(friedman, default_fit):
    assert default_fit.solver_ == "lm"
    assert len(default_fit.hidden_layer_sizes_) in (1, 2)
    assert 2 <= default_fit.n_networks_ <= 12
    Xt, truth = make_friedman1(500, n_features=5, random_state=1)
    assert default_fit.score(Xt, truth) > 0.95


def test_the_order_of_the_rows_does_not_matter(friedman, default_fit):
    X, y = friedman
    order = np.random.RandomState(1).permutation(len(y))
    other = clone(default_fit).fit(X[order], y[order])
    assert other.hidden_layer_sizes_ == default_fit.hidden_layer_sizes_
    for ours, theirs in zip(
        other.predict(X, return_std=True), default_fit.predict(X, return_std=True), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_units_do_not_matter(friedman, default_fit):
    X, y = friedman
    scale = 2.0 ** np.arange(-4, 6, 2)
    other = clone(default_fit).fit(X * scale, 1024 * y)
    for ours, theirs in zip(
        other.predict(X * scale, True), default_fit.predict(X, True), strict=True
    ):
        np.testing.assert_allclose(ours, 1024 * theirs, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("n_samples", [60, 150])
def test_random_state_does_not_decide_the_shape(n_samples):
    X, y = make_friedman1(n_samples, n_features=5, noise=1.0, random_state=0)
    shapes = {
        BackpropRegressor(random_state=seed, n_networks=1).fit(X, y).hidden_layer_sizes_
        for seed in range(4)
    }
    assert len(shapes) == 1


@pytest.mark.slow
def test_ensembles_agree_more_than_twice_as_well_as_single_networks(friedman):
    X, y = friedman
    Xt, _ = make_friedman1(500, n_features=5, random_state=1)

    def disagreement(n_networks):
        pairs = [
            [regressor(n_networks=n_networks, random_state=s).fit(X, y).predict(Xt) for s in pair]
            for pair in ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
        ]
        return np.mean([np.std(a - b) for a, b in pairs])

    assert disagreement(8) < disagreement(1) / 2


# --- wide tables ---


@pytest.mark.slow
def test_a_wide_linear_target_is_found_as_well_as_by_bayesian_ridge():
    for seed, n_features in ((0, 60), (1, 250)):
        rng = np.random.RandomState(seed)
        X, Xt, coef = rng.randn(200, n_features), rng.randn(2000, n_features), rng.randn(n_features)
        y = X @ coef + 3 * rng.randn(200)
        model = BackpropRegressor(random_state=0).fit(X, y)
        peer = BayesianRidge().fit(X, y)
        ours, theirs = (np.mean((m.predict(Xt) - Xt @ coef) ** 2) for m in (model, peer))
        assert ours < 1.1 * theirs
        mean, std = model.predict(Xt, return_std=True)
        covered = np.abs(Xt @ coef + 3 * rng.randn(2000) - mean) < 1.96 * std
        assert 0.88 < covered.mean() < 0.99


@pytest.mark.slow
def test_a_smooth_function_of_few_factors_behind_many_columns_is_found_and_its_bars_cover():
    rng = np.random.RandomState(0)
    factors = rng.randn(1150, 4)
    X = factors @ rng.randn(4, 300) + 0.3 * rng.randn(1150, 300)
    y = np.sin(factors[:, 0]) + 0.5 * factors[:, 1] * factors[:, 2] + 0.1 * rng.randn(1150)
    model = BackpropRegressor(random_state=0).fit(X[:150], y[:150])
    linear = BayesianRidge().fit(X[:150], y[:150])
    assert model.solver_ == "lbfgs"
    assert model.score(X[150:], y[150:]) > 0.8 > linear.score(X[150:], y[150:])
    mean, std = model.predict(X[150:], return_std=True)
    assert 0.85 < np.mean(np.abs(y[150:] - mean) < 1.96 * std) <= 0.995
