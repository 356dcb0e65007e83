"""Seconds of one evaluation over rows on workers of dask, and over the same rows in one thread.

Workers are processes of this machine, of one thread each. `python -m benchmarks.distributed JSON`
measures once and prints the seconds as JSON; `python -m benchmarks scaling` starts it.
`on_paper` computes what cannot be measured here: the seconds of a large cluster.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.problems import Array
from benchmarks.timing import timed
from sk_backprop import BackpropRegressor
from sk_backprop._blocks.engine import MOST_TASKS, Engine
from sk_backprop._estimator.dask_engine import DaskEngine
from sk_backprop._inference.engine_sums import _FAN_IN
from sk_backprop._network.families import LIKELIHOODS
from sk_backprop._network.network import Network
from sk_backprop._training.engine_rows import problem_of
from sk_backprop._training.partitions import (
    _MOST_PIECES,
    RawPartition,
    facts_of,
    sorted_ranges,
)
from sk_backprop._training.problem import Data, Problem, prepare
from sk_backprop._training.settings import settings_of

# {solver: (what it evaluates, repeats)}
EVALUATIONS = {"lbfgs": ("gradient", 9), "lm": ("normal equations", 3)}
N_PARTITIONS = 8  # as given, before the rows are sorted


def partition(number: int, n_samples: int, n_features: int) -> RawPartition:
    """Random rows, which every worker can make."""
    rng = np.random.default_rng(number)
    X = rng.normal(size=(n_samples, n_features))
    y = np.sin(X[:, :1]) + X[:, 1:2] + 0.1 * rng.normal(size=(n_samples, 1))
    return RawPartition(Data(X, y), np.arange(n_samples) + number * n_samples)


def problems(engine: Engine, solver: str, shape: Sequence[int]) -> tuple[Problem, Problem, Any]:
    """The problem of rows in memory, that of the same rows on an engine, and their settings.

    shape : number of rows, columns, and hidden units
    """
    n_samples, n_features, n_hidden = shape
    sizes = (n_samples // N_PARTITIONS, n_features)
    network = Network((n_features, n_hidden, 1), "logistic", "identity")
    settings = settings_of(
        BackpropRegressor(solver=solver),
        network,
        LIKELIHOODS["squared_error", "identity"],
        n_samples,
    )
    partitions = [engine.submit(partition, k, *sizes) for k in range(N_PARTITIONS)]
    ranges = sorted_ranges(engine, partitions, facts_of(engine, partitions))
    far = problem_of(settings, ranges, [network], None)
    parts = [partition(k, *sizes).data for k in range(N_PARTITIONS)]
    data = Data(np.concatenate([one.X for one in parts]), np.concatenate([one.y for one in parts]))
    del parts
    return prepare(settings, data, None), far, settings


def evaluation(problem: Problem, settings: Any) -> Callable[[], tuple[Array, ...]]:
    """What the solver evaluates at every step, at a fixed point: arrays, for a comparison."""
    network = problem.scales.solver_network(settings.network)
    objective = problem.objective(network, settings.likelihood, 1.0)
    theta = np.random.default_rng(0).normal(size=network.n_params) * 0.1
    params, grad = objective.parameters(theta), objective.parameters(np.empty_like(theta))

    def gradient() -> tuple[Array, ...]:
        loss = objective.loss_gradient(params, grad)
        return np.array(loss), grad.flat.copy()

    def equations() -> tuple[Array, ...]:
        found = objective.normal_equations(params)
        return (np.tril(found.curvature[0]),)

    return equations if settings.solver == "lm" else gradient


def seconds(engine: Engine, solver: str, shape: Sequence[int]) -> dict[str, Any]:
    """Medians of interleaved evaluations: {'seconds', 'local_seconds', 'note'}.

    engine, solver, shape : as for `problems`
    """
    with threadpool_limits(1):  # and threads that share rows are as many as those of BLAS
        near, far, settings = problems(engine, solver, shape)
        local, remote = evaluation(near, settings), evaluation(far, settings)
        same = all(map(np.array_equal, local(), remote()))
        times = [(timed(remote), timed(local)) for _ in range(EVALUATIONS[solver][1])]
    of_remote, of_local = np.median(times, axis=0)
    note = "" if same else "the sums differ"
    return {"seconds": of_remote, "local_seconds": of_local, "note": note}


def measure(workers: int, solver: str, n_samples: int, n_features: int, n_hidden: int) -> Any:
    """`seconds` on new workers of one thread."""
    from dask.distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0")
    with cluster, Client(cluster) as client:
        return seconds(DaskEngine(client), solver, (n_samples, n_features, n_hidden))


# --- on paper ---

# Seconds for a million rows of 20 columns in one thread of an idle machine: an evaluation with 25
# hidden units, and keys, sorting and scales.
GRADIENT, EQUATIONS, SORTING = 0.2, 7.0, 0.44
# Seconds of dask's scheduler for a task, the most that its documentation states ("Best Practices").
TASK = 1e-3
# Bytes that a worker sends in a second, of a partition, and of a row.
NETWORK, PARTITION, ROW = 1e9, 1e9, 160


def on_paper(n_samples: float, workers: int = 1000, threads: int = 8) -> dict[str, float]:
    """Computed seconds: {'sorting', 'gradient', 'equations'}.

    n_samples : float, rows; workers : int, with `threads` each
    """
    n_bytes, n_threads = n_samples * ROW, workers * threads
    partitions = max(1, n_bytes / PARTITION)
    tasks = min(n_threads, MOST_TASKS)
    ranges = min(partitions, 2 * tasks)
    pieces = partitions * ranges
    if pieces > _MOST_PIECES:  # in two steps
        pieces = partitions * ranges**0.5 + partitions**0.5 * ranges
    millions = n_samples / 1e6
    of_thread = millions / n_threads  # several threads share the rows of a task
    transfer = n_bytes / NETWORK / workers
    return {
        "sorting": millions / min(partitions, n_threads) * SORTING + transfer + pieces * TASK,
        "gradient": of_thread * GRADIENT + tasks * TASK,
        "equations": of_thread * EQUATIONS + tasks * (1 + 1 / (_FAN_IN - 1)) * TASK,
    }


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
