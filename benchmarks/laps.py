"""Two who do the same work by turns: the clock, and the data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from benchmarks.problems import Array

Lap: TypeAlias = Callable[[int], float]  # number of the repeat -> seconds


class Pair(NamedTuple):
    """Two who do the same work, ready to start.

    n_steps : steps of mini-batches in it, if there are such
    note : what is to be told when all laps are run
    """

    ours: Lap
    theirs: Lap
    n_steps: int = 0
    note: Callable[[], str] = lambda: ""


class Setup(NamedTuple):
    """What a measurement is given: laps to come, and the folder of data sets, or None."""

    repeats: int
    data: str | None = None


def surface(n_samples: int, n_features: int, dtype: str = "float64") -> tuple[Array, Array]:
    """A wave and a product, with noise; columns and target of mean 0 and spread 1."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, n_features))
    wave = np.sin(2 * X @ rng.normal(size=n_features) / math.sqrt(n_features))
    y = wave + 0.5 * X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=n_samples)
    X, y = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
    return X.astype(dtype), y.astype(dtype)


def timed(work: Callable[[], Any]) -> float:
    """Wall-clock seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def stopwatch(work: Callable[[], Any], times: int = 1) -> Lap:
    """Laps of so many calls, and the seconds of one; a call beforehand warms up."""

    def many() -> None:
        for _ in range(times):
            work()

    work()
    return lambda _repeat: timed(many) / times
