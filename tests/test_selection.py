"""Which candidate is selected, and on how many folds: where it is close, on all that there are."""

from collections import Counter
from functools import cache

import numpy as np
import pytest
from cases import slow

from sk_backprop import BackpropRegressor
from sk_backprop._estimator.start import tasks_of
from sk_backprop._training.events import Events
from sk_backprop._training.folds import Folds
from sk_backprop._training.problem import Data, prepare
from sk_backprop._training.selection import _Search, choose, extent, trial_rows
from sk_backprop._training.trials import Trial, run_trials

# The strength of a curvature beside linear terms, and a seed: whether two candidates are close.
CLOSE = [(0.05, 0), *slow([(0.15, 0), (0.2, 0)])]
CLEAR = [(0.0, 1), *slow([(1.0, 0)])]


@cache
def selected(curvature, seed, affordable=1e15, n_samples=300):
    """The choice, the folds that each candidate was scored on, and the problem."""
    rng = np.random.RandomState(seed)
    X = rng.randn(n_samples, 3)
    y = X @ [1, -1, 0.5] + curvature * X[:, 0] ** 2 + 0.5 * rng.randn(n_samples)
    data = Data(X, y[:, None])
    plan = tasks_of(BackpropRegressor(), data, None)[0].plan
    problem = prepare(plan.settings, data, None)
    n_folds = Counter()

    def n_networks(candidate, n_steps):
        n_folds[candidate] += 1  # asked once for each fold
        return 4

    found = choose(plan.families, n_networks, problem, affordable, Events(), None)
    return found[0].settings, n_folds, problem


@pytest.mark.slow
@pytest.mark.parametrize(("curvature", "seed"), CLOSE)
def test_close_candidates_are_scored_on_all_folds(curvature, seed):
    settings, n_folds, problem = selected(curvature, seed)
    assert set(n_folds.values()) == {2, 5}
    close = [candidate for candidate, n in n_folds.items() if n == 5]
    assert len(close) == 2
    # The same by hand: both on five folds, the first found unless the other beats it.
    folds, trials = Folds(problem, 0), []
    for candidate in close:
        trials.append(Trial.of(candidate, folds[0][0]))
        n_each = 1 if len(candidate.network.layer_sizes) == 2 else 2
        for number in range(5):
            run_trials([(trials[-1], folds[number], n_each)], lambda *_: 4, None)
    on_two = [trial.mean_score(2) for trial in trials]
    simpler, better = sorted(trials, key=lambda trial: -trial.mean_score(2))
    assert on_two[0] != on_two[1]
    expected = better if better.beats(simpler) else simpler
    assert settings == expected.settings


@pytest.mark.slow
@pytest.mark.parametrize(("curvature", "seed"), CLEAR)
def test_what_is_clear_on_two_folds_is_not_asked_again(curvature, seed):
    _, n_folds, _ = selected(curvature, seed)
    assert set(n_folds.values()) == {2}


@pytest.mark.slow
def test_more_folds_are_made_only_as_far_as_they_are_affordable():
    _, n_folds, problem = selected(*CLOSE[0])
    cost = {one: one.cost(Folds(problem, 0)[0][0].rows.n_samples) for one in n_folds}
    n_each = {one: extent(one, 2, np.inf)[1] for one in n_folds}
    first = sum(2 * n_each[one] * cost[one] for one in n_folds)
    third = sum(n_each[one] * cost[one] for one, n in n_folds.items() if n == 5)
    assert set(selected(*CLOSE[0], affordable=first + 0.5 * third)[1].values()) == {2}
    assert set(selected(*CLOSE[0], affordable=first + 1.5 * third)[1].values()) == {2, 3}


@pytest.mark.parametrize("seed", range(20))
def test_what_is_trained_together_is_tried_whatever_the_scores(seed):
    rng = np.random.RandomState(seed)
    families = [list(range(rng.randint(1, 6))) for _ in range(4)]
    search = _Search(families, None, 0.0, None, None, ahead=True)
    tried, certain = [], set()
    for place, family in enumerate(families):
        n_worse = 0
        for number in family:
            tried.append((place, number))
            found = list(search._certain(place, number, n_worse))
            assert found[0] == (place, number)
            certain.update(found)
            n_worse = rng.choice([0, n_worse, n_worse + 1])  # better, alike, worse
            if n_worse == 2:
                break
    assert certain == set(tried)


def test_folds_are_made_when_they_are_asked_for():
    _, _, problem = selected(*CLEAR[0])
    folds = Folds(problem, 0)
    assert folds[1] is folds[1]
    assert set(folds._made) == {1}
    with pytest.raises(IndexError):
        folds[5]


# --- how much of the budget ---


@pytest.mark.parametrize(
    ("solver", "hidden", "affordable", "expected"),
    [
        ("lm", (3,), 10, (5, 2)),
        ("lm", (3,), 9, (2, 2)),
        ("lm", (3,), 3, (1, 2)),
        ("lm", (3,), 1, (1, 1)),
        ("lm", (3,), 0.9, (1, 0)),
        ("lm", (), 5, (5, 1)),  # linear models have one optimum
        ("adam", (3,), 4.9, (2, 1)),
    ],
)
def test_folds_and_networks_are_as_many_as_are_affordable(solver, hidden, affordable, expected):
    data = Data(np.ones((99, 2)), np.ones((99, 1)))
    (task,) = tasks_of(BackpropRegressor(hidden, solver=solver), data, None)
    assert extent(task.plan.settings, 5, affordable) == expected


def test_rows_of_trials_grow_with_the_budget_up_to_a_share_of_all():
    rng = np.random.RandomState(0)
    data = Data(rng.randn(99, 2), rng.randn(99, 1))
    plan = tasks_of(BackpropRegressor(), data, None)[0].plan

    def cost(n):
        return sum(settings.cost(n) for family in plan.families for settings in family)

    found = []
    for affordable in 10.0 ** np.arange(8, 15, 0.5):
        n = trial_rows(plan.families, 100_000, affordable)
        assert n == 4000 or cost(n) <= affordable / 2
        assert n == 70_000 or cost(min(int(1.5 * n), 70_000)) > affordable / 2
        found.append(n)
    assert found == sorted(found)
    assert len(set(found)) > 3
    assert trial_rows(plan.families, 1000, 1e8) == 700


def test_trials_of_mini_batches_train_on_fewer_rows():
    X, y = np.random.RandomState(0).randn(2, 99, 2)
    plan = tasks_of(BackpropRegressor(solver="adam"), Data(X, y[:, :1]), None)[0].plan
    found = [trial_rows(plan.families, n, 1e20) for n in (1000, 50_000, 60_000, 10**6)]
    assert found == [700, 20_000, 15_000, 15_000]
