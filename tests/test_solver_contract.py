"""A solver is one class and one line in the registry: shown by two that only this file has."""

import warnings
from typing import ClassVar

import numpy as np
import pytest
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning

from sk_backprop import BackpropRegressor
from sk_backprop._inference.evidence import WeightGroups, fixed_precisions
from sk_backprop._inference.objective import Objective
from sk_backprop._network.families import SquaredError
from sk_backprop._network.network import Network, lecun_bound
from sk_backprop._solvers import SOLVERS
from sk_backprop._solvers._base import Prior, RunContext, Solver, StreamPass
from sk_backprop._solvers._result import ENDINGS, Monitor
from sk_backprop._training.problem import Settings


class SteepestDescent(Solver):
    """Gradient descent on all rows, each step halved until the loss falls."""

    max_iter: int

    advice: ClassVar = {"max_iter": "Be patient."}

    @staticmethod
    def cost(network, n_samples, n_iter=None):
        return 1000.0 * network.n_params * n_samples

    def minimize(self, objective, theta, monitor):
        params, grad, ahead = (objective.parameters(theta) for _ in range(3))
        loss, rate, status = objective.loss_gradient(params, grad), 1.0, "max_iter"
        try:
            for _ in range(self.max_iter):
                monitor.begin_iteration(params)
                step, rate = grad.flat.copy(), 2 * rate
                trial = objective.parameters(params.flat - rate * step)
                while not (lower := objective.loss_gradient(trial, ahead)) < loss and rate > 1e-12:
                    rate /= 2
                    trial = objective.parameters(params.flat - rate * step)
                if lower < loss:
                    params, loss, grad.flat[...] = trial, lower, ahead.flat
                progress = monitor.record(params, loss)
                if progress != "going":
                    status = "converged" if progress == "stalled" else progress
                    break
        except KeyboardInterrupt:
            status = "interrupted"
        return monitor.result(params, status)


class PlainSteps(Solver):
    """Steps of one length by mini-batches; it counts them, over all batches of a stream."""

    batch_size: int
    learning_rate_init: float
    max_iter: int
    stream: StreamPass

    all_rows = False
    streams = True

    @staticmethod
    def cost(network, n_samples, n_iter=None):
        return 1000.0 * network.n_params * n_samples

    def minimize(self, objective, theta, monitor):
        params, grad = objective.parameters(theta), objective.parameters(theta)
        state = self.stream.optimizer_state or {"n_steps": 0}
        n_steps, status = state["n_steps"], "max_iter"
        for _ in range(self.max_iter):
            monitor.begin_iteration(params)
            losses = []
            for batch in objective.batches(min(self.batch_size, objective.n_samples)):
                if self.stream.before_step is not None:
                    self.stream.before_step(params, batch)
                losses.append(objective.batch_loss_gradient(params, batch, grad))
                for k in range(len(objective.network.layer_sizes) - 1):
                    layer = slice(*objective.network.layer_slice(k))
                    params.flat[layer] -= self.learning_rate_init * grad.flat[layer]
                n_steps += 1
            progress = monitor.record(params, float(np.mean(losses)))
            if progress != "going":
                status = "converged" if progress == "stalled" else progress
                break
        return monitor.result(params, status, {"n_steps": n_steps})


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(SOLVERS, "descent", SteepestDescent)
    monkeypatch.setitem(SOLVERS, "plain", PlainSteps)


@pytest.fixture(scope="module")
def tables():
    X, y = make_friedman1(600, 5, noise=1.0, random_state=0)
    return X[:300], y[:300], X[300:], y[300:]


OURS = {"n_networks": 1, "tol": 1e-4, "max_iter": 2000, "random_state": 0}


class Unregistered(PlainSteps):
    """With a parameter of its own, which the estimator does not have."""

    n_repeats: int = 3


def test_a_parameter_that_the_estimator_lacks_has_the_solvers_default():
    solver = Unregistered.of(BackpropRegressor(max_iter=7), RunContext())
    assert (solver.n_repeats, solver.max_iter) == (3, 7)


# --- solvers that only a test has ---


@pytest.mark.parametrize("solver", ["descent", "plain"])
@pytest.mark.parametrize("hidden", [(), (8,), "auto"], ids=str)
def test_a_solver_of_a_test_fits_and_predicts_standard_deviations(tables, solver, hidden):
    X, y, X_new, y_new = tables
    params = {**OURS, "learning_rate_init": 0.1, "alpha": 1.0, "tol": 1e-3}
    model = BackpropRegressor(hidden, solver=solver, **params).fit(X, y)
    assert model.solver_ == solver
    mean, std = model.predict(X_new, return_std=True)
    assert model.score(X_new, y_new) > 0.6
    inside = np.abs(y_new - mean) < 1.96 * std
    assert 0.9 < inside.mean() < 0.99


def test_it_finds_the_optimum_of_another_solver(tables):
    X, y, X_new, _ = tables
    params = {**OURS, "alpha": 1.0, "tol": 0, "n_iter_no_change": 20}
    ours = BackpropRegressor((), solver="descent", **params).fit(X, y)
    theirs = BackpropRegressor((), solver="lbfgs", **params).fit(X, y)
    np.testing.assert_allclose(ours.predict(X_new), theirs.predict(X_new), rtol=1e-6)


def test_its_fit_does_not_depend_on_the_order_of_the_rows(tables):
    X, y, X_new, _ = tables
    model = BackpropRegressor((4,), solver="descent", alpha=1.0, **OURS)
    expected = model.fit(X, y).predict(X_new)
    np.testing.assert_array_equal(model.fit(X[::-1], y[::-1]).predict(X_new), expected)


def test_alpha_auto_is_chosen_among_penalties_by_rows_held_out(tables):
    X, y, X_new, y_new = tables
    model = BackpropRegressor((4,), solver="descent", **{**OURS, "tol": 1e-2}).fit(X, y)
    assert model.alpha_ in (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
    assert model.score(X_new, y_new) > 0.6


def test_it_continues_in_a_warm_start_and_its_own_advice_is_given(tables):
    X, y, _, _ = tables
    params = {**OURS, "max_iter": 5, "alpha": 1.0, "warm_start": True}
    model = BackpropRegressor((4,), solver="descent", **params)
    losses = []
    for _ in range(3):
        with pytest.warns(ConvergenceWarning, match=r"max_iter=5 .*'descent'.* Be patient\."):
            losses.append(model.fit(X, y).loss_)
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == 3


def test_partial_fit_refuses_a_solver_that_is_not_for_streams(tables):
    model = BackpropRegressor((4,), solver="descent")
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError, match=r"'adam', 'muon', 'sgd' or 'plain'.*'descent'"):
        model.partial_fit(*tables[:2])


def test_one_for_streams_carries_its_own_state_from_batch_to_batch(tables):
    X, y, X_new, y_new = tables
    params = {"learning_rate_init": 0.05, "batch_size": 10, "alpha": 1.0, "random_state": 0}
    model = BackpropRegressor((8,), solver="plain", **params)
    for n_passes in range(1, 21):
        for rows in np.split(np.arange(300), 6):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                model.partial_fit(X[rows], y[rows])
        assert model._fit_state["optimizers"] == {"plain": [{"n_steps": 30 * n_passes}]}
    mean, std = model.predict(X_new, return_std=True)
    assert model.score(X_new, y_new) > 0.6
    assert 0.85 < np.mean(np.abs(y_new - mean) < 1.96 * std) < 0.99
    # Another solver begins with a state of its own.
    model.set_params(solver="sgd").partial_fit(X, y)
    assert list(model._fit_state["optimizers"]) == ["sgd"]


def test_names_of_solvers_that_are_allowed_are_those_registered(tables, monkeypatch):
    with pytest.raises(ValueError, match=r"'sgd', 'descent', 'plain'\. Got 'newton'"):
        BackpropRegressor(solver="newton").fit(*tables[:2])
    monkeypatch.delitem(SOLVERS, "descent")
    with pytest.raises(ValueError, match=r"'sgd', 'plain'\. Got 'descent'"):
        BackpropRegressor(solver="descent").fit(*tables[:2])


# --- what holds for every solver ---

ALL = {**SOLVERS, "descent": SteepestDescent, "plain": PlainSteps}


def run_of(name, dtype=float, **params):
    """An objective, a start, and a solver with its settings."""
    rng = np.random.RandomState(0)
    X = rng.randn(40, 3).astype(dtype)
    network = Network((3, 4, 1), "tanh", "identity")
    objective = Objective(network, SquaredError(), X, np.sin(X[:, :1]), alpha=0.1)
    theta = network.initial_parameters(rng, dtype, lecun_bound).flat
    groups = WeightGroups.of(network, per_input=False)
    context = RunContext(Prior(groups, fixed_precisions(groups, 0.1, 1)))
    estimator = BackpropRegressor(
        batch_size=10,
        learning_rate="constant",
        learning_rate_init=0.01,
        weight_decay=0.01,
        max_iter=20,
    )
    settings = Settings(
        **{
            field: getattr(estimator, field, None)
            for field in Settings._fields
            if field not in Settings._field_defaults
        }
    )
    settings = settings._replace(**params)
    return objective, theta, ALL[name].of(settings, context), settings


@pytest.mark.parametrize("name", ALL)
def test_the_start_stays_as_it_is_and_the_loss_falls(name):
    objective, theta, solver, _ = run_of(name)
    before, start = theta.copy(), objective.parameters(theta)
    monitor = Monitor(start, tol=0, n_iter_no_change=np.inf)
    result = solver.minimize(objective, theta, monitor)
    np.testing.assert_array_equal(theta, before)
    assert result.theta.shape == theta.shape
    at = (objective.parameters(result.theta), objective.parameters(theta))
    assert objective.loss_gradient(*at) < objective.loss_gradient(start, at[1])
    assert result.status in ENDINGS
    assert len(result.loss_curve) == result.n_iter


@pytest.mark.parametrize("name", ALL)
def test_a_solver_is_for_one_run_after_another(name):
    # It holds parameters, and no state: runs of one object are alike.
    objective, theta, solver, _ = run_of(name)
    results = [
        solver.minimize(
            objective, theta, Monitor(objective.parameters(theta), tol=0, n_iter_no_change=np.inf)
        )
        for _ in range(2)
    ]
    np.testing.assert_array_equal(results[0].theta, results[1].theta)
    assert results[0].loss_curve == results[1].loss_curve


@pytest.mark.parametrize("name", ALL)
def test_what_a_solver_declares_fits_together(name):
    solver = ALL[name]
    assert issubclass(solver, Solver)
    assert set(solver._parameters()) <= {*Settings._fields, *RunContext._fields}
    assert not (solver.streams and solver.all_rows)
    huge = Network((9, 2000, 2000, 1), "tanh", "identity")
    assert not (solver.uses_blas_threads(huge) and solver.all_rows)
    assert set(solver.advice) <= set(ENDINGS)
    small, large = Network((2, 3, 1), "tanh", "identity"), Network((9, 20, 1), "tanh", "identity")
    assert 0 < solver.cost(small, 100) < solver.cost(small, 1000) < solver.cost(large, 1000)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_run_costs_something_whatever_the_number_of_rows(name):
    network = Network((9, 20, 20, 1), "tanh", "identity")
    assert SOLVERS[name].cost(network, 100) < 1.9 * SOLVERS[name].cost(network, 50)


@pytest.mark.parametrize("name", [name for name, solver in SOLVERS.items() if solver.streams])
def test_a_stream_goes_on_from_the_state_of_the_result(name):
    objective, theta, solver, settings = run_of(name, max_iter=2)

    def run(one, start):
        start = objective.parameters(start)
        return one.minimize(objective, start.flat, Monitor(start, tol=0, n_iter_no_change=np.inf))

    whole = run(solver, theta)
    objective, theta, solver, _ = run_of(name, max_iter=1)
    first = run(solver, theta)
    n_seen = objective.n_samples
    context = RunContext(stream=StreamPass(first.optimizer_state, n_seen))
    second = run(ALL[name].of(settings._replace(max_iter=1), context), first.theta)
    np.testing.assert_array_equal(second.theta, whole.theta)


def test_every_status_says_what_has_happened():
    assert {one for one, ending in ENDINGS.items() if ending.warning is None} == {
        *("converged", "stopped")
    }
    for status, ending in ENDINGS.items():
        assert ending.summary
        needs_advice = ending.warning is not None and "{advice}" in ending.warning
        assert bool(ending.advice) == needs_advice, status
