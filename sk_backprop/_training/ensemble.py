"""Several networks from different initial weights, one after the other or side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from sk_backprop._blocks.threads import one_blas_thread
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
    n_jobs: int | None = None,
) -> TrainingResult:
    """A network for each seed, trained by `n_jobs` processes; `events` are told.

    Processes, because scipy's LAPACK holds the interpreter while it computes: two
    threads took as long as one. An interrupt leaves the networks that were whole, or
    the one that was not; with several processes it leaves none, and is raised.
    Once a callback wants no more runs the rest is left out, unless in other processes.

    starts : of each network, or None to draw all initial weights
    """
    events.begin_networks(settings, len(seeds))
    starts = [Start()] * len(seeds) if starts is None else starts
    tasks = (
        (start, seed, events.begin_network(len(_plain_steps(settings, start))))
        for seed, start in zip(seeds, starts, strict=True)
    )
    jobs = effective_n_jobs(n_jobs)
    if jobs > 1 and len(seeds) > 1:
        run = Parallel(n_jobs=jobs)
        trained = run(delayed(_train_one)(settings, problem, *task) for task in tasks)
        return TrainingResult(settings, problem, [network for network, _ in trained])
    networks: list[Trained] = []
    interrupted = False
    for task in tasks:
        try:
            network, interrupted = _train_one(settings, problem, *task)
        except KeyboardInterrupt:  # outside the solver, which keeps what it has
            if not networks:
                raise
            interrupted = True
        if not (interrupted and networks):
            networks.append(network)
        if interrupted or events.stopped:
            break
    return TrainingResult(settings, problem, networks, interrupted)


# Parameters of a network trained by mini-batches from which on the threads are left as they are.
# BLAS then decides the order of some sums: with two threads for one, predictions in float32
# differed by 1e-7 of the target's spread.
_LARGE_NETWORK = 1_000_000


def _pays_threads(settings: Settings) -> bool:
    """Whether more than one BLAS thread is likely to be worth having."""
    # Where all rows are used at once, threads share the rows instead.
    return settings.solver_class.blas_threads and settings.network.n_params >= _LARGE_NETWORK


def _train_one(
    settings: Settings,
    problem: Problem,
    start: Start,
    seed: int,
    observers: Sequence[RunObserver],
) -> tuple[Trained, bool]:
    """The best of the runs of one network, and whether the last of them was interrupted."""
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


def _plain_steps(settings: Settings, start: Start) -> tuple[int, ...]:
    """Plain steps of each run of a network: what goes on from weights has had them."""
    return settings.starts if start.weights is None and settings.alpha is None else (0,)


# Log evidence a unit of weight by which a network may fall short of the best quarter and
# still count as fitted. Runs that had missed something essential fell short by 0.5
# (friedman1, 30 columns: RMSE 0.246 with them and 0.217 without), others on 15 data sets by
# up to 0.3. Of a quarter, not of the best alone: on scikit-learn's digits one network in six
# is 0.8 above the rest, and their average errs 10 % less than any.
_LARGEST_GAP, _BEST_SHARE = 0.2, 0.25


def credible(networks: list[Trained], total_weight: float) -> list[Trained]:
    """The networks whose log evidence comes near the best."""
    evidence = [_log_evidence(one) for one in networks]
    good = sorted(evidence, reverse=True)[math.ceil(_BEST_SHARE * len(evidence)) - 1]
    least = good - _LARGEST_GAP * total_weight
    return [one for one, found in zip(networks, evidence) if found >= least]


def best(networks: list[Trained], n_networks: int) -> list[Trained]:
    """Those of highest log evidence, in the order in which they came."""
    order = sorted(range(len(networks)), key=lambda k: -_log_evidence(networks[k]))
    return [networks[k] for k in sorted(order[:n_networks])]


def _log_evidence(run: Trained) -> float:
    return -np.inf if run.log_evidence is None else run.log_evidence
