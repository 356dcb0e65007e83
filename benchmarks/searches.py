"""Rows of the speed table in which something is looked for: the shortest run, or a grid.

The shortest run is found beforehand, by fits of more and more iterations. What is timed
are fits that stop there. A network that ends above what is asked for is followed by one
from other weights, and the time of both counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import scale

from benchmarks.accuracy import COMPETITORS
from benchmarks.laps import Pair, Setup, stopwatch, timed
from benchmarks.peers import FULL_BATCH
from benchmarks.peers.programs import mean_squared_error
from benchmarks.problems import Array, Problem, load
from sk_backprop import BackpropRegressor

Fit = Callable[[int, int], BackpropRegressor]  # (seed, max_iter) -> a fitted estimator

MOST_ITERATIONS, MOST_NETWORKS = 1000, 5


def numbers_of_iterations(most: int = MOST_ITERATIONS) -> Iterator[int]:
    """1, 2, 3, ..., 19, 20, 22, 24, ...: the fewest is found to a tenth."""
    n = 1
    while n <= most:
        yield n
        n += max(1, n // 10)


def shortest(
    fit: Fit, good: Callable[[BackpropRegressor], bool], seed: int
) -> tuple[list[tuple[int, int]], bool]:
    """(seed, max_iter) of the fits that it takes, and whether the last one is good."""
    fits: list[tuple[int, int]] = []
    for number in range(MOST_NETWORKS):
        for max_iter in numbers_of_iterations():
            model = fit(seed + 1000 * number, max_iter)
            if good(model):
                return [*fits, (seed + 1000 * number, max_iter)], True
            if model.n_iter_ < max_iter:
                break
        fits.append((seed + 1000 * number, max_iter))
    return fits, False


def _by_turns(
    fit: Fit,
    good: Callable[[int, BackpropRegressor], bool],
    theirs: Callable[[int], float],
    repeats: int,
) -> Pair:
    """The shortest runs of ours, with a seed for each repeat, beside a peer's."""
    plans, missed = [], 0
    for repeat in range(repeats):
        fits, found = shortest(fit, partial(good, repeat), repeat)
        plans.append(fits)
        missed += not found

    def ours(repeat: int) -> float:
        return timed(lambda: [fit(*one) for one in plans[repeat]])

    iterations = ", ".join("+".join(str(n) for _, n in fits) for fits in plans)
    told = f"iterations: {iterations}" + (f"; {missed} not reached" if missed else "")
    return Pair(ours, theirs, note=lambda: told)


def same_loss(
    solver: str, peer: str, rows: tuple[Array, Array], n_hidden: int, setup: Setup
) -> Pair:
    """Ours until its training loss is at or below the one that a peer ended at."""
    X, y = rows
    targets = [FULL_BATCH[peer](X, y, n_hidden, seed)[1] for seed in range(setup.repeats)]

    def fit(seed: int, max_iter: int) -> BackpropRegressor:
        return BackpropRegressor(
            (n_hidden,),
            solver=solver,
            alpha=0.0,
            max_iter=max_iter,
            tol=0.0,
            n_iter_no_change=np.inf,
            random_state=seed,
        ).fit(X, y)

    def good(repeat: int, model: BackpropRegressor) -> bool:
        return mean_squared_error(y, model.predict(X)) <= targets[repeat]

    def theirs(repeat: int) -> float:
        return FULL_BATCH[peer](X, y, n_hidden, repeat)[0]

    return _by_turns(fit, good, theirs, setup.repeats)


def same_error(name: str, setup: Setup) -> Pair:
    """One network of ours until it foretells test rows as well as MLPRegressor's default.

    A split for each repeat.
    """
    problems = load(setup.data, [name], setup.repeats)

    def peer(problem: Problem) -> Any:
        return COMPETITORS["mlp_scaled"].make(problem).fit(problem.X_train, problem.y_train)

    def error(model: Any, problem: Problem) -> float:
        return float(root_mean_squared_error(problem.y_test, model.predict(problem.X_test)))

    targets = [error(peer(problem), problem) for problem in problems]

    def fit(seed: int, max_iter: int) -> BackpropRegressor:
        problem = problems[seed % 1000 % len(problems)]
        model = BackpropRegressor(
            (20,), solver="lm", n_networks=1, max_iter=max_iter, random_state=seed
        )
        return model.fit(problem.X_train, problem.y_train)

    def good(repeat: int, model: BackpropRegressor) -> bool:
        split = repeat % len(problems)
        return error(model, problems[split]) <= targets[split]

    def theirs(repeat: int) -> float:
        return timed(lambda: peer(problems[repeat % len(problems)]))

    return _by_turns(fit, good, theirs, setup.repeats)


GRID = {
    "hidden_layer_sizes": [(5,), (10,), (20,)],
    "alpha": [0.01, 0.1, 1.0, 10.0],
    "activation": ["logistic", "tanh"],
}


def grid_search(setup: Setup) -> Pair:
    """A grid on the diabetes data by two processes; each stops by its own `tol`."""
    X, y = load_diabetes(return_X_y=True)
    X, y = scale(X), scale(y)
    shared: dict[str, Any] = {"solver": "lbfgs", "max_iter": 200, "random_state": 0}
    searches = [
        GridSearchCV(model(**shared), GRID, cv=5, n_jobs=2)
        for model in (BackpropRegressor, MLPRegressor)
    ]

    def note() -> str:
        ours, theirs = (search.best_score_ for search in searches)
        return f"best R2 {ours:.3f}, of the peer {theirs:.3f}"

    return Pair(*(stopwatch(partial(search.fit, X, y)) for search in searches), note=note)
