"""Several networks from different initial weights, one after the other or side by side."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from sk_backprop._blocks.threads import allowed_threads, one_blas_thread, side_by_side
from sk_backprop._network.network import Parameters
from sk_backprop._solvers._result import Monitor
from sk_backprop._training.events import Events, RunObserver
from sk_backprop._training.problem import Problem, Settings, Start
from sk_backprop._training.run import Trained, TrainingResult, TrainingRun


def train_networks(
    settings: Settings,
    problem: Problem,
    seeds: Sequence[int],
    events: Events,
    *,
    starts: Sequence[Start] | None = None,
    parts: Sequence[Problem] | None = None,
    n_jobs: int | None = None,
) -> TrainingResult:
    """Train a network for each seed, in `n_jobs` processes, or in threads.

    An interrupt keeps the networks that are complete, or else the incomplete one; with several
    processes it keeps none, and is raised. Once a callback asks for no more runs, the remaining
    networks are skipped, unless in other processes. The result is the same in all cases.

    Parameters
    ----------
    settings : Settings; problem : Problem
    seeds : int for each network, of its initial weights and mini-batches
    events : Events, notified of each network and run
    starts : Start for each network, or None to draw all initial weights
    parts : Problem of the rows that each network is trained on, or None for all rows
    n_jobs : int or None, as in joblib
    """
    events.begin_networks(settings, len(seeds))
    starts = [Start()] * len(seeds) if starts is None else starts
    parts = [problem] * len(seeds) if parts is None else parts
    todo = [_Task(*one) for one in zip(parts, starts, seeds, strict=True)]
    jobs, n_threads = effective_n_jobs(n_jobs), min(allowed_threads(), len(seeds))
    if jobs > 1 and len(seeds) > 1 and problem.engine_rows is None:
        return _train_in_processes(settings, problem, todo, events, jobs)
    # An observer may expect one network after the other, and to be called in the user's thread.
    if n_threads > 1 and not events.observed and _pays_side_by_side(settings, problem):
        return _train_in_threads(settings, problem, todo, n_threads)
    return _train_in_turn(settings, problem, todo, events)


class _Task(NamedTuple):
    """A network to train: the rows, the start, and the seed of its weights and mini-batches."""

    problem: Problem
    start: Start
    seed: int


def _train_in_processes(
    settings: Settings, problem: Problem, todo: Sequence[_Task], events: Events, n_jobs: int
) -> TrainingResult:
    run = Parallel(n_jobs=n_jobs)
    trained = run(
        delayed(_train_one)(settings, task, events.begin_network(_n_runs(settings, task)))
        for task in todo
    )
    return TrainingResult(settings, problem, [network for network, _ in trained])


def _train_in_turn(
    settings: Settings, problem: Problem, todo: Sequence[_Task], events: Events
) -> TrainingResult:
    networks: list[Trained] = []
    interrupted = False
    for task in todo:
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
    return TrainingResult(settings, problem, networks, interrupted)


# Minimum multiply-adds of a run for networks to be trained side by side in threads. Time for two
# networks in two threads, divided by that for one after the other: 1.5 for runs of 1e9, 1 for 3e9,
# .75 for 1e10 and .58 for 1e11 (lm and lbfgs on friedman1, OpenBLAS 0.3.31).
_LEAST_SIDE_BY_SIDE = 5e9

# The same for mini-batches, in parameters: the ratio was .55 with two layers of 256 units, and .99
# with layers of 64.
_LEAST_BY_MINI_BATCHES = 50_000


def _pays_side_by_side(settings: Settings, problem: Problem) -> bool:
    """Whether threads are likely to save more time than they lose waiting for the interpreter."""
    if problem.engine_rows is not None:  # all workers share the rows of one network
        return False
    if settings.solver_class.all_rows:
        return settings.cost(problem.n_samples) >= _LEAST_SIDE_BY_SIDE
    large = settings.network.n_params >= _LEAST_BY_MINI_BATCHES
    return large and not _pays_threads(settings)


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


def _train_in_threads(
    settings: Settings, problem: Problem, todo: Sequence[_Task], n_threads: int
) -> TrainingResult:
    """Train `n_threads` networks at a time; those that remain in the end share the threads."""
    complete: list[Trained] = []
    incomplete: list[Trained] = []
    stop = _Stop()

    def train(task: _Task) -> Trained | None:
        """The network, or None where the fit was interrupted meanwhile."""
        if stop.asked:
            return None
        try:
            network, interrupted = _train_one(settings, task, [stop] * _n_runs(settings, task))
        except KeyboardInterrupt:  # outside the solver, which keeps what it has
            stop.ask()
            return None
        if interrupted or stop.asked:
            stop.ask()
            incomplete.append(network)
            return None
        return network

    n_even = len(todo) // n_threads * n_threads
    for tasks in filter(None, (todo[:n_even], todo[n_even:])):
        work = [partial(train, task) for task in tasks]
        networks = side_by_side(work, stop.ask, min(n_threads, len(work)))
        complete += [network for network in networks if network is not None]
        if stop.asked:
            break
    if not complete:
        if not incomplete:
            raise KeyboardInterrupt
        result = incomplete[0].result._replace(status="interrupted")
        complete = [incomplete[0]._replace(result=result)]
    return TrainingResult(settings, problem, complete, interrupted=stop.asked)


# Parameters from which on a network trained by mini-batches uses all BLAS threads. Their number
# changes the order of some sums: between one and two, predictions in float32 differed by 1e-7 of
# the target's spread.
_LARGE_NETWORK = 1_000_000


def _pays_threads(settings: Settings) -> bool:
    """Whether more than one BLAS thread is likely to pay."""
    # Where all rows are used at once, threads share the rows instead.
    return settings.solver_class.blas_threads and settings.network.n_params >= _LARGE_NETWORK


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
    threads = _pays_threads(settings)
    trained: list[Trained] = []
    for n_plain_steps, observer in zip(_plain_steps(settings, start), observers, strict=True):
        run = TrainingRun(settings, problem, start, n_plain_steps)
        with nullcontext() if threads else one_blas_thread():
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
