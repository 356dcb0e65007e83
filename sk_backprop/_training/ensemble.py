"""Several networks, one after the other or side by side."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from itertools import zip_longest
from typing import NamedTuple, Self

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from sk_backprop._blocks.threads import allowed_threads, one_blas_thread, side_by_side
from sk_backprop._network.network import Parameters
from sk_backprop._solvers._result import Monitor
from sk_backprop._training.events import Events, RunObserver
from sk_backprop._training.problem import Problem, Settings, Start
from sk_backprop._training.run import Trained, TrainingResult, TrainingRun


class _Task(NamedTuple):
    """A network to train: the rows, the start, and the seed of its weights and mini-batches."""

    problem: Problem
    start: Start
    seed: int


class Group(NamedTuple):
    """Networks to train that have the same settings.

    settings : Settings; problem : Problem, with all rows; tasks : list of _Task
    """

    settings: Settings
    problem: Problem
    tasks: list[_Task]

    @classmethod
    def of(
        cls,
        settings: Settings,
        problem: Problem,
        seeds: Sequence[int],
        *,
        starts: Sequence[Start] | None = None,
        parts: Sequence[Problem] | None = None,
    ) -> Self:
        """A network for each seed.

        Parameters
        ----------
        settings : Settings; problem : Problem
        seeds : int for each network, of its initial weights and mini-batches
        starts : Start for each network, or None to draw all initial weights
        parts : Problem of the rows that each network is trained on, or None for all rows
        """
        starts = [Start()] * len(seeds) if starts is None else starts
        parts = [problem] * len(seeds) if parts is None else parts
        return cls(
            settings, problem, [_Task(*one) for one in zip(parts, starts, seeds, strict=True)]
        )

    def result(self, networks: Sequence[Trained], *, interrupted: bool = False) -> TrainingResult:
        """The result where these networks were trained."""
        return TrainingResult(self.settings, self.problem, list(networks), interrupted)


def train_networks(group: Group, events: Events, n_jobs: int | None = None) -> TrainingResult:
    """Train the networks of one group; see `train_groups`."""
    (result,) = train_groups([group], events, n_jobs)
    return result


def train_groups(
    groups: Sequence[Group], events: Events, n_jobs: int | None = None
) -> list[TrainingResult]:
    """Train networks in `n_jobs` processes, or in threads.

    An interrupt keeps the networks that are complete, or else the incomplete one; with several
    processes it keeps none, and is raised. Once a callback asks for no more runs, the remaining
    networks are skipped, unless in other processes. The result is the same in all cases.

    Parameters
    ----------
    groups : list of Group
    events : Events, notified of each network and run
    n_jobs : int or None, as in joblib

    Returns
    -------
    results : TrainingResult of each group that was begun, in their order; after an interrupt, some
        may have no networks
    """
    n_networks = sum(len(group.tasks) for group in groups)
    n_threads = min(allowed_threads(), n_networks)
    in_processes = effective_n_jobs(n_jobs) > 1 and n_networks > 1
    # An observer may expect one network after the other, and to be called in the user's thread.
    in_threads = n_threads > 1 and not (in_processes or events.observed)
    if in_threads and _pays_side_by_side(groups):
        return _train_in_threads(groups, n_threads)
    results: list[TrainingResult] = []
    for group in groups:
        events.begin_networks(group.settings, len(group.tasks))
        try:
            if in_processes and len(group.tasks) > 1 and group.problem.engine_rows is None:
                results.append(_train_in_processes(group, events, n_jobs))
            else:
                results.append(_train_in_turn(group, events))
        except KeyboardInterrupt:
            if not results:
                raise
            results[-1] = results[-1]._replace(interrupted=True)
        if results[-1].interrupted or events.stopped:
            break
    return results


def _train_in_processes(group: Group, events: Events, n_jobs: int | None) -> TrainingResult:
    run = Parallel(n_jobs=n_jobs)
    trained = run(
        delayed(_train_one)(
            group.settings, task, events.begin_network(_n_runs(group.settings, task))
        )
        for task in group.tasks
    )
    return group.result([network for network, _ in trained])


def _train_in_turn(group: Group, events: Events) -> TrainingResult:
    settings, networks, interrupted = group.settings, list[Trained](), False
    for task in group.tasks:
        observers = events.begin_network(_n_runs(settings, task))
        try:
            network, interrupted = _train_one(settings, task, observers)
        except KeyboardInterrupt:  # outside the solver, which keeps what it has
            if not networks:
                raise
            interrupted = True
        if not (interrupted and networks):
            networks.append(network)
        if interrupted or events.stopped:
            break
    return group.result(networks, interrupted=interrupted)


# Minimum multiply-adds of a run for networks to be trained side by side in threads. Time for two
# networks in two threads, divided by that for one after the other: 1.5 for runs of 1e9, 1 for 3e9,
# .75 for 1e10 and .58 for 1e11 (lm and lbfgs on friedman1, OpenBLAS 0.3.31).
_LEAST_SIDE_BY_SIDE = 5e9

# The same for mini-batches, in parameters: the ratio was .55 with two layers of 256 units, and .99
# with layers of 64.
_LEAST_BY_MINI_BATCHES = 50_000


def _pays_side_by_side(groups: Sequence[Group]) -> bool:
    """Whether threads are likely to save more time than they lose waiting for the interpreter."""
    # All workers of an engine share the rows of one network, and all BLAS threads a large network.
    if any(one.problem.engine_rows is not None for one in groups):
        return False
    if any(one.settings.uses_blas_threads for one in groups):
        return False
    return any(
        settings.cost(problem.n_samples) >= _LEAST_SIDE_BY_SIDE
        if settings.solver_class.all_rows
        else settings.network.n_params >= _LEAST_BY_MINI_BATCHES
        for settings, problem, _ in groups
    )


class _Stop(RunObserver):
    """Asks all runs that it observes to stop."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self) -> None:
        self.asked = True

    def end_iteration(self, monitor: Monitor, params: Parameters) -> bool:
        return self.asked

    def end_run(self, trained: Trained) -> bool:
        return self.asked


def _train_in_threads(groups: Sequence[Group], n_threads: int) -> list[TrainingResult]:
    """Train `n_threads` networks at a time.

    Of networks that take equally long, those that remain in the end share the threads.
    """
    complete: list[list[Trained]] = [[] for _ in groups]
    incomplete: list[list[Trained]] = [[] for _ in groups]
    stop = _Stop()

    def train(number: int, task: _Task) -> Trained | None:
        """The network, or None where the fit was interrupted meanwhile."""
        if stop.asked:
            return None
        settings = groups[number].settings
        try:
            network, interrupted = _train_one(settings, task, [stop] * _n_runs(settings, task))
        except KeyboardInterrupt:  # outside the solver, which keeps what it has
            stop.ask()
            return None
        if interrupted or stop.asked:
            stop.ask()
            incomplete[number].append(network)
            return None
        return network

    todo = _ordered(groups)
    n_first = len(todo) if len(groups) > 1 else len(todo) // n_threads * n_threads
    for part in filter(None, (todo[:n_first], todo[n_first:])):
        work = [partial(train, *one) for one in part]
        networks = side_by_side(work, stop.ask, min(n_threads, len(work)))
        for (number, _), network in zip(part, networks):
            if network is not None:
                complete[number].append(network)
        if stop.asked:
            break
    if not any(complete):
        if not any(incomplete):
            raise KeyboardInterrupt
        number = next(k for k, networks in enumerate(incomplete) if networks)
        network = incomplete[number][0]
        interrupted = network.result._replace(status="interrupted")
        complete[number] = [network._replace(result=interrupted)]
    return [
        group.result(networks, interrupted=stop.asked) for group, networks in zip(groups, complete)
    ]


def _ordered(groups: Sequence[Group]) -> list[tuple[int, _Task]]:
    """The tasks of all groups, each with the number of its group, the most costly first.

    Those by mini-batches alternate with the others: threads that wait for the interpreter often
    lose less time next to one that rarely does.
    """
    by_batches: list[tuple[int, _Task]] = []
    others: list[tuple[int, _Task]] = []
    costs = [group.settings.cost(group.problem.n_samples) for group in groups]
    for number in sorted(range(len(groups)), key=lambda number: -costs[number]):
        all_rows = groups[number].settings.solver_class.all_rows
        (others if all_rows else by_batches).extend((number, task) for task in groups[number].tasks)
    pairs = zip_longest(others, by_batches)
    return [one for pair in pairs for one in pair if one is not None]


def _train_one(
    settings: Settings, task: _Task, observers: Sequence[RunObserver]
) -> tuple[Trained, bool]:
    """The best of the runs of one network, and whether the last of them was interrupted.

    Parameters
    ----------
    settings : Settings; task : _Task
    observers : RunObserver for each run
    """
    problem, start, seed = task
    trained: list[Trained] = []
    for n_plain_steps, observer in zip(_plain_steps(settings, start), observers, strict=True):
        run = TrainingRun(settings, problem, start, n_plain_steps)
        with nullcontext() if settings.uses_blas_threads else one_blas_thread():
            observer.begin_run(run)
            trained.append(run.train(np.random.RandomState(seed), observer))
            is_last = observer.end_run(trained[-1])
        if trained[-1].result.status == "interrupted" or is_last:
            break
    return max(trained, key=_log_evidence), trained[-1].result.status == "interrupted"


def _n_runs(settings: Settings, task: _Task) -> int:
    return len(_plain_steps(settings, task.start))


def _plain_steps(settings: Settings, start: Start) -> tuple[int, ...]:
    """Number of plain steps of each run of a network; a warm start needs none."""
    return settings.plain_steps if start.weights is None and settings.alpha is None else (0,)


# How far the log evidence of a network, per unit of weight, may fall short of that of the best
# quarter. Runs that had missed an essential part of the function fell short by 0.5 (friedman1,
# 30 columns: RMSE 0.246 with them and 0.217 without), others on 15 data sets by up to 0.3. Not
# of the single best: on scikit-learn's digits one network in six is 0.8 above the others, yet
# the error of their average is 10 % smaller than that of any of them.
_LARGEST_GAP, _BEST_SHARE = 0.2, 0.25


def credible(networks: list[Trained], total_weight: float) -> list[Trained]:
    """The networks whose log evidence is close to that of the best."""
    evidence = [_log_evidence(one) for one in networks]
    good = sorted(evidence, reverse=True)[math.ceil(_BEST_SHARE * len(evidence)) - 1]
    least = good - _LARGEST_GAP * total_weight
    return [one for one, found in zip(networks, evidence) if found >= least]


def best(networks: list[Trained], n_networks: int) -> list[Trained]:
    """The `n_networks` networks of highest log evidence, in their original order."""
    order = sorted(range(len(networks)), key=lambda k: -_log_evidence(networks[k]))
    return [networks[k] for k in sorted(order[:n_networks])]


def _log_evidence(run: Trained) -> float:
    return -np.inf if run.log_evidence is None else run.log_evidence
