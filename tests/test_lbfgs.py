"""L-BFGS against scipy's BFGS: optima, limits, curves and precision."""

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize
from sklearn.exceptions import ConvergenceWarning
from unit_problem import objective_of, unit_rows

from sk_backprop import BackpropRegressor
from sk_backprop._inference.objective import Objective
from sk_backprop._network.families import Poisson, SquaredError
from sk_backprop._network.network import Network
from sk_backprop._solvers import LBFGS, lbfgs
from sk_backprop._solvers._result import Monitor


@pytest.fixture(scope="module")
def unit_problem():
    return unit_rows()


def test_lbfgs_reaches_an_optimum_of_scipys_bfgs(unit_problem):
    objective, start = objective_of(unit_problem)
    grad = objective.parameters(start.flat)

    def fun(theta):
        loss = objective.loss_gradient(objective.parameters(theta), grad)
        return loss, grad.flat.copy()

    found = scipy_minimize(fun, start.flat.copy(), jac=True, method="BFGS", options={"gtol": 1e-10})
    monitor = Monitor(start, tol=0, n_iter_no_change=np.inf)
    ours = LBFGS(max_iter=5000, max_fun=10000).minimize(objective, start.flat, monitor)
    assert ours.status == "converged"
    assert ours.loss == pytest.approx(found.fun, rel=1e-9)
    objective.loss_gradient(objective.parameters(ours.theta), grad)
    assert np.abs(grad.flat).max() < 1e-8


def test_scipy_asks_for_the_gradient_where_it_has_asked_for_the_loss_last(
    unit_problem, monkeypatch
):
    # Ours gives that of its last loss, wherever it is asked.
    asked = []

    def spied(loss, start, *, jac, **options):
        def noted(name, function):
            return lambda theta: asked.append((name, theta.copy())) or function(theta)

        return scipy_minimize(noted("loss", loss), start, jac=noted("gradient", jac), **options)

    monkeypatch.setattr(lbfgs, "scipy_minimize", spied)
    objective, start = objective_of(unit_problem)
    monitor = Monitor(start, tol=0, n_iter_no_change=np.inf)
    LBFGS(max_iter=200, max_fun=1000).minimize(objective, start.flat, monitor)
    assert [name for name, _ in asked] == ["loss", "gradient"] * (len(asked) // 2)
    assert len(asked) > 200
    for (_, at_loss), (_, at_gradient) in zip(asked[::2], asked[1::2], strict=True):
        np.testing.assert_array_equal(at_gradient, at_loss)


def test_lbfgs_curve_falls_and_ends_with_the_loss_of_the_result(unit_problem):
    objective, start = objective_of(unit_problem)
    monitor = Monitor(start, tol=1e-4, n_iter_no_change=10)
    result = LBFGS(max_iter=1000, max_fun=10000).minimize(objective, start.flat, monitor)
    assert np.all(np.diff(result.loss_curve) <= 0)
    assert len(result.loss_curve) == result.n_iter == result.best_iter
    kept = objective.parameters(result.theta)
    assert objective.loss_gradient(kept, objective.parameters(kept.flat)) == result.loss


@pytest.mark.parametrize(
    ("limits", "status"),
    [({"max_iter": 3, "max_fun": 100}, "max_iter"), ({"max_iter": 100, "max_fun": 4}, "max_fun")],
)
def test_lbfgs_limits(unit_problem, limits, status):
    objective, start = objective_of(unit_problem)
    monitor = Monitor(start, tol=0, n_iter_no_change=np.inf)
    assert LBFGS(**limits).minimize(objective, start.flat, monitor).status == status


def test_lbfgs_keeps_fewer_pairs_of_many_weights_and_in_trials(monkeypatch):
    kept = []

    def watched(*args, options, **kwargs):
        kept.append(options["maxcor"])
        return scipy_minimize(*args, options=options, **kwargs)

    monkeypatch.setattr(lbfgs, "scipy_minimize", watched)
    rng = np.random.RandomState(0)
    for n_features in (3, 3000, 30_000):  # 4 units: 21, 12,009 and 120,009 weights
        X = rng.uniform(size=(30, n_features))
        model = BackpropRegressor((4,), solver="lbfgs", alpha=1.0, max_iter=1)
        with pytest.warns(ConvergenceWarning, match="max_iter"):
            model.fit(X, X[:, 0])
    # 60, but at most 600,000 numbers, and at least 20; those of two networks trained on parts of
    # the rows, for the noise, are as many as in trials.
    assert [pairs for pairs in kept if pairs != 20] == [60, 24]
    kept.clear()
    BackpropRegressor((4,), solver="lbfgs", max_iter=500).fit(X[:, :3], X[:, 0])
    assert kept[-1] == 60
    assert set(kept[:-1]) == {20}


def test_lbfgs_tells_by_which_limit_it_ended(unit_problem, monkeypatch):
    objective, start = objective_of(unit_problem)
    first, counted, loss_gradient = start.flat.copy(), [], objective.loss_gradient
    monkeypatch.setattr(
        objective, "loss_gradient", lambda *args: counted.append(1) or loss_gradient(*args)
    )

    def status(max_fun):
        monitor = Monitor(start, tol=0, n_iter_no_change=np.inf)
        begin = objective.parameters(first.copy())
        return LBFGS(max_iter=3, max_fun=max_fun).minimize(objective, begin.flat, monitor).status

    assert status(1000) == "max_iter"
    needed = len(counted)
    assert status(needed + 1) == "max_iter"
    assert status(needed - 1) == "max_fun"


def test_lbfgs_at_a_stationary_start_reports_one_iteration():
    network = Network((1, 1), "identity", "identity")
    X = np.array([[-1.0], [1.0]])
    objective = Objective(network, SquaredError(), X, 2 * X)
    start = network.pack([np.array([[2.0]])], [np.zeros(1)], float)
    monitor = Monitor(start, tol=0, n_iter_no_change=10)
    result = LBFGS(max_iter=10, max_fun=10).minimize(objective, start.flat, monitor)
    assert (result.status, result.n_iter, result.loss) == ("converged", 1, 0.0)


def test_lbfgs_from_weights_of_no_finite_loss_diverges():
    network = Network((1, 1), "identity", "exp")
    objective = Objective(network, Poisson(), np.ones((2, 1)), np.ones((2, 1)))
    start = network.pack([np.array([[1e4]])], [np.zeros(1)], float)
    monitor = Monitor(start, tol=0, n_iter_no_change=10)
    result = LBFGS(max_iter=10, max_fun=10).minimize(objective, start.flat, monitor)
    assert result.status == "diverged"
    np.testing.assert_array_equal(result.theta, [1e4, 0])


def test_lbfgs_in_float32_nearly_reaches_the_float64_loss(unit_problem):
    losses = []
    for dtype in (np.float32, np.float64):
        objective, start = objective_of(unit_problem, dtype)
        monitor = Monitor(start, tol=1e-4, n_iter_no_change=10)
        result = LBFGS(max_iter=1000, max_fun=10000).minimize(objective, start.flat, monitor)
        assert result.theta.dtype == dtype
        losses.append(result.loss)
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
