"""What watches a run: patience, divergence, validation, Ctrl-C and requests to stop."""

import numpy as np
import pytest
from unit_problem import objective_of, unit_rows

from sk_backprop import BackpropRegressor
from sk_backprop._inference.evidence import WeightGroups, fixed_precisions
from sk_backprop._inference.objective import Objective
from sk_backprop._network.families import SquaredError
from sk_backprop._network.network import Network
from sk_backprop._solvers import LBFGS, SOLVERS
from sk_backprop._solvers._base import Prior, RunContext
from sk_backprop._solvers._result import IterationObserver, Monitor


@pytest.fixture(scope="module")
def unit_problem():
    return unit_rows()


def watch(losses, *, watched=None, validation=None, **options):
    """Feed a monitor with losses; the weights of iteration k are all k."""
    network = Network((1, 1), "identity", "identity")
    params = network.parameters(np.zeros(2))
    options = {"tol": 0.1, "n_iter_no_change": 2, **options}
    monitor = Monitor(params, validation=validation, **options)
    answers = []
    for k, loss in enumerate(losses, start=1):
        params.flat[...] = k
        instead = None if watched is None else watched[k - 1]
        answers.append(monitor.record(params, loss, watched=instead))
    return answers, monitor, params


def test_patience_is_relative_to_the_loss():
    going, stalled = "going", "stalled"
    assert watch([1.0, 0.5, 0.46, 0.46])[0] == [going, going, going, stalled]
    for unit in (1e-30, 1e30):
        assert watch([unit, 0.5 * unit, 0.46 * unit, 0.46 * unit])[0][-1] == stalled
    assert watch([1.0, 0.5, 0.46, 0.4, 0.39])[0] == [going] * 5
    assert watch([1.0, 1.0, 1.0], n_iter_no_change=np.inf)[0] == [going] * 3


def test_a_loss_that_stays_is_no_progress_even_without_tolerance():
    # A curve of 0 too, of which no part can be gained.
    for loss in (1.0, 0.0):
        answers, _, _ = watch([loss, loss, loss], tol=0)
        assert answers == ["going", "going", "stalled"]


@pytest.mark.parametrize(
    ("losses", "worse"),
    [([1.0], False), ([1.0, 1.9], False), ([3.0, 1.0, 2.1], True), ([3.0, 1.0, 2.1, 1.5], False)],
)
def test_a_run_is_worse_than_before_at_twice_its_lowest_loss(losses, worse):
    _, monitor, _ = watch(losses)
    assert monitor.worse_than_before == worse


def test_patience_can_start_anew():
    _, monitor, params = watch([1.0, 1.0, 1.0])
    monitor.be_patient_again()
    assert monitor.record(params, 1.0) == "going"
    assert monitor.record(params, 1.0) == "stalled"


def test_what_is_watched_may_be_another_number_than_the_loss():
    falling, rising = [4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]
    going, stalled = "going", "stalled"
    assert watch(falling, watched=rising)[0] == [going, going, stalled, stalled]
    answers, monitor, params = watch(rising, watched=falling)
    assert answers == [going] * 4
    assert monitor.result(params, "converged").loss_curve == rising
    assert watch([1.0], watched=[np.nan])[0] == ["diverged"]


def test_early_stopping_goes_by_validation_whatever_else_is_watched():
    answers, monitor, params = watch(
        [4.0, 3.0, 2.0],
        watched=[3.0, 2.0, 1.0],
        validation=Scripted([1.0, 2.0, 3.0]),
        early_stopping=True,
    )
    assert answers == ["going", "going", "stalled"]
    assert monitor.result(params, "converged").best_iter == 1


def test_what_was_watched_before_can_be_forgotten():
    _, monitor, params = watch([1.0, 1.0])
    monitor.watch_anew()
    answers = [monitor.record(params, 1.0, watched=value) for value in (50.0, 40.0, 40.0, 40.0)]
    assert answers == ["going", "going", "going", "stalled"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_divergence_keeps_the_weights_of_lowest_loss(bad):
    answers, monitor, params = watch([3.0, 1.0, 2.0, bad])
    assert answers[-1] == "diverged"
    result = monitor.result(params, "diverged")
    np.testing.assert_array_equal(result.theta, [2, 2])
    assert (result.best_iter, result.loss, result.loss_curve) == (2, 1.0, [3.0, 1.0, 2.0])


@pytest.mark.parametrize(("loss", "best_iter", "theta"), [(3.0, 0, 0), (1.0, 1, 1)])
def test_divergence_goes_back_no_higher_than_the_start(loss, best_iter, theta):
    network = Network((1, 1), "tanh", "identity")
    monitor = Monitor(network.parameters(np.zeros(2)), tol=0, n_iter_no_change=9)
    monitor.note_start(2.0)
    moved = network.parameters(np.ones(2))
    monitor.record(moved, loss)
    monitor.record(moved, np.inf)
    result = monitor.result(moved, "diverged")
    assert result.best_iter == best_iter
    np.testing.assert_array_equal(result.theta, theta)


def test_weights_that_are_not_finite_are_divergence_whatever_the_loss():
    _, monitor, params = watch([3.0])
    params.flat[0] = np.inf
    assert monitor.record(params, 1.0) == "diverged"


class Scripted:
    """A validation set whose losses are given."""

    def __init__(self, losses, scores=None):
        self.losses = iter(losses)
        self.scores = iter(scores or losses)

    def evaluate(self, params):
        return next(self.losses), next(self.scores)


def test_early_stopping_watches_and_keeps_by_validation_loss():
    validation = Scripted([5.0, 2.0, 3.0, 4.0])
    answers, monitor, params = watch(
        [4.0, 3.0, 2.0, 1.0], validation=validation, early_stopping=True
    )
    assert answers == ["going", "going", "going", "stalled"]
    result = monitor.result(params, "converged")
    np.testing.assert_array_equal(result.theta, [2, 2])
    assert (result.best_iter, result.loss) == (2, 3.0)
    assert result.validation_loss_curve == [5.0, 2.0, 3.0, 4.0]


def test_validation_without_early_stopping_is_only_recorded():
    validation = Scripted([5.0, 2.0, 3.0, 4.0])
    answers, monitor, params = watch([4.0, 3.0, 2.0, 1.0], validation=validation)
    assert answers == ["going"] * 4
    result = monitor.result(params, "max_iter")
    assert result.best_iter == 4
    assert result.validation_loss_curve == [5.0, 2.0, 3.0, 4.0]


def test_scores_that_are_nan_do_not_reset_the_patience():
    validation = Scripted([1.0, 1.0, 1.0], [np.nan] * 3)
    answers, _, _ = watch([3.0, 2.0, 1.0], validation=validation, early_stopping=True)
    assert answers == ["going", "going", "stalled"]


def test_a_loss_measured_before_the_step_keeps_the_weights_it_belongs_to():
    network = Network((1, 1), "identity", "identity")
    params = network.parameters(np.array([7.0, 7.0]))
    monitor = Monitor(params, tol=0, n_iter_no_change=10)
    monitor.record(params, 1.0, measured_at=np.array([3.0, 3.0]))
    np.testing.assert_array_equal(monitor.result(params, "diverged").theta, [3, 3])


def test_the_result_so_far_stays_while_the_run_goes_on():
    validation = Scripted([5.0, 2.0, 3.0])
    _, monitor, params = watch([3.0, 2.0], validation=validation, n_iter_no_change=np.inf)
    so_far = monitor.so_far(params)
    params.flat[...] = 3
    monitor.record(params, 1.0)
    np.testing.assert_array_equal(so_far.theta, [2, 2])
    assert (so_far.status, so_far.n_iter, so_far.loss) == ("stopped", 2, 2.0)
    assert (so_far.loss_curve, so_far.validation_loss_curve) == ([3.0, 2.0], [5.0, 2.0])


def test_a_run_that_diverges_keeps_the_best_of_what_is_watched_now():
    # As lm does once the evidence decides; losses of before are no measure for it.
    params = Network((1, 1), "identity", "identity").parameters(np.array([7.0, 7.0]))
    monitor = Monitor(params, tol=0, n_iter_no_change=10)
    monitor.note_start(0.5)
    monitor.record(params, 0.1)
    monitor.watch_anew()
    for k, watched in enumerate([9.0, 8.0, 10.0]):
        params.flat[...] = k
        monitor.record(params, 0.2, watched=watched)
    result = monitor.result(params, "diverged")
    np.testing.assert_array_equal(result.theta, [1, 1])
    assert result.best_iter == 3


class Interrupting(IterationObserver):
    """Notes the weights at the end of each iteration, and is interrupted in the fourth."""

    def __init__(self):
        self.seen = []

    def end_iteration(self, monitor, params):
        self.seen.append(params.flat.copy())
        if len(self.seen) == 4:
            raise KeyboardInterrupt
        return False


@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_ctrl_c_in_an_observer_leaves_the_weights_of_the_iteration_on_the_curves(
    unit_problem, solver
):
    objective, start = objective_of(unit_problem)
    observer = Interrupting()
    monitor = Monitor(start, tol=0, n_iter_no_change=np.inf, observer=observer)
    groups = WeightGroups.of(objective.network, per_input=False)
    context = RunContext(prior=Prior(groups, fixed_precisions(groups, 0.1, 1)))
    estimator = BackpropRegressor(
        max_iter=10,
        batch_size=50,
        learning_rate="constant",
        learning_rate_init=0.003,
        weight_decay=0.0,
    )
    run = SOLVERS[solver].of(estimator, context)
    result = run.minimize(objective, start.flat, monitor)
    assert (result.status, result.n_iter, result.best_iter) == ("interrupted", 4, 4)
    np.testing.assert_array_equal(result.theta, observer.seen[3])


@pytest.mark.parametrize(("last", "worse"), [(0.19, False), (0.21, True)])
def test_a_loss_is_worse_than_before_if_it_is_twice_the_lowest(last, worse):
    start = Network((1, 1), "tanh", "identity").parameters(np.zeros(2))
    monitor = Monitor(start, tol=0, n_iter_no_change=np.inf)
    for loss in (0.3, 0.1, last):
        monitor.record(start, loss)
    assert monitor.worse_than_before == worse


class Stopping(IterationObserver):
    """Asks a run to stop at its iteration `at`, and notes the iterations that began."""

    def __init__(self, at):
        self.at, self.began = at, []

    def begin_iteration(self, monitor, params):
        self.began.append(monitor.n_iter)

    def end_iteration(self, monitor, params):
        return monitor.n_iter == self.at


def test_a_run_may_be_asked_to_stop(unit_problem):
    objective, start = objective_of(unit_problem)
    observer = Stopping(at=3)
    monitor = Monitor(start, tol=0, n_iter_no_change=np.inf, observer=observer)
    result = LBFGS(max_iter=100, max_fun=100).minimize(objective, start.flat, monitor)
    assert (result.status, result.n_iter, result.best_iter) == ("stopped", 3, 3)
    assert sorted(set(observer.began)) == [0, 1, 2]
    kept = objective.parameters(result.theta)
    assert objective.loss_gradient(kept, objective.parameters(start.flat)) == result.loss


def test_a_stop_is_heard_where_nothing_could_be_gained():
    network = Network((1, 1), "identity", "identity")
    X = np.array([[-1.0], [1.0]])
    objective = Objective(network, SquaredError(), X, 2 * X)
    start = network.pack([np.array([[2.0]])], [np.zeros(1)], float)
    monitor = Monitor(start, tol=0, n_iter_no_change=10, observer=Stopping(at=1))
    assert (
        LBFGS(max_iter=10, max_fun=10).minimize(objective, start.flat, monitor).status == "stopped"
    )


def test_a_run_stopped_before_its_first_iteration_keeps_the_start():
    _, monitor, params = watch([])
    params.flat[...] = 9
    result = monitor.result(params, "interrupted")
    np.testing.assert_array_equal(result.theta, [0, 0])
    assert (result.n_iter, result.best_iter) == (0, 0)
    assert np.isnan(result.loss)
