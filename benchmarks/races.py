"""The rows of `python -m benchmarks speed`: what is run, against whom, and the bar.

A bar is the least ratio, the peer's time over ours, that is asked for.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg.blas import dgemm
from sklearn.neural_network import MLPRegressor

from benchmarks import searches
from benchmarks.laps import Pair, Setup, stopwatch, surface, timed
from benchmarks.peers import MINI_BATCH, PEERS
from benchmarks.peers.work import Work
from benchmarks.problems import Array
from sk_backprop import BackpropRegressor


@dataclass(frozen=True)
class Race:
    """A line of the CSV: whom we race, in what precision, and the bar (NaN: none).

    threads : int, of BLAS, for both; most of these matrices are too small for more than one
    """

    row: str
    peer: str
    dtype: str
    bar: float
    prepare: Callable[[Setup], Pair]
    threads: int = 1

    @property
    def group(self) -> str:
        """What --rows calls it."""
        return self.row.split()[0]

    def obstacle(self, setup: Setup) -> str:
        """Why it cannot be run, or ''."""
        if (os.cpu_count() or 1) < self.threads:
            return f"{self.row} with {self.threads} threads skipped: there are not so many cores"
        if self.group == "uci":
            name = self.row.split()[1]
            if setup.data is None:
                return "uci skipped: it needs --data"
            if not Path(setup.data, f"{name}.npz").is_file():
                return f"{self.row} skipped: {setup.data} has no {name}.npz"
        why = PEERS[self.peer].obstacle()
        return f"{self.peer} skipped: {why}" if why else ""


# --- mini-batches ---

# n_samples, n_features, and the rest of the work. Epochs for a lap of some 0.1 to 2 s.
WORKS: dict[str, tuple[int, int, dict[str, Any]]] = {
    "100": (20_000, 10, {"hidden": (100,), "batch_size": 200, "n_epochs": 20}),
    "50": (20_000, 10, {"hidden": (50,), "batch_size": 32, "n_epochs": 10}),
    "wide": (20_000, 50, {"hidden": (256, 256), "batch_size": 256, "n_epochs": 5}),
    "small": (500, 8, {"hidden": (50,), "batch_size": 32, "n_epochs": 200}),
}


def _mini_batch(solver: str, name: str, dtype: str, peer: str, setup: Setup) -> Pair:
    n_samples, n_features, rest = WORKS[name]
    work = Work(*surface(n_samples, n_features, dtype), solver=solver, **rest)
    n_steps = work.n_epochs * -(-n_samples // work.batch_size)
    return Pair(*(stopwatch(MINI_BATCH[who](work)) for who in ("ours", peer)), n_steps)


def _stochastic() -> Iterator[Race]:
    mlp_bars = {"100": 4.0, "50": 5.0, "wide": 2.0, "small": 5.5}
    torch_bars = {"torch": 3.0, "torch_fused": 2.0}
    for solver in ("adam", "sgd"):
        for name, bar in mlp_bars.items():
            for dtype in ("float64", "float32") if name == "small" else ("float64",):
                start = partial(_mini_batch, solver, name, dtype, "mlp")
                yield Race(f"{solver}-{name}", "mlp", dtype, bar, start)
            if solver == "sgd":
                continue
            others = {p: 1.3 if name == "wide" else bar for p, bar in torch_bars.items()}
            others |= {"skorch": math.nan} | ({"jax": math.nan} if name == "50" else {})
            for peer, other_bar in others.items():
                start = partial(_mini_batch, solver, name, "float32", peer)
                yield Race(f"{solver}-{name}", peer, "float32", other_bar, start)


# --- all rows at once ---

_ALL_ITERATIONS: dict[str, Any] = {"tol": 0.0, "n_iter_no_change": np.inf}


def _lbfgs(setup: Setup) -> Pair:
    X, y = surface(50_000, 10)
    shared: dict[str, Any] = {"solver": "lbfgs", "alpha": 1e-4, "max_iter": 30, "random_state": 0}
    ours = BackpropRegressor((50,), **_ALL_ITERATIONS, **shared)
    mlp = MLPRegressor(hidden_layer_sizes=(50,), activation="logistic", tol=0.0, **shared)

    def note() -> str:
        return f"{ours.n_iter_} iterations, the peer {mlp.n_iter_}"

    laps = [stopwatch(partial(model.fit, X, y)) for model in (ours, mlp)]
    return Pair(*laps, note=note)


def _lm_step(product: Callable[[Array], Array], setup: Setup) -> Pair:
    X, y = surface(40_000, 9)
    J = np.asfortranarray(np.random.default_rng(0).normal(size=(40_000, 551)))

    def fit(max_iter: int) -> float:
        # 551 parameters: 9 * 50 + 50 weights into the hidden units, 50 + 1 out of them.
        model = BackpropRegressor(
            (50,), solver="lm", alpha=1.0, max_iter=max_iter, random_state=0, **_ALL_ITERATIONS
        )
        return timed(lambda: model.fit(X, y))

    fit(1)
    return Pair(lambda _repeat: (fit(7) - fit(2)) / 5, stopwatch(lambda: product(J)))


def _dgemm(J: Array) -> Array:
    return np.asarray(dgemm(1.0, J, J, trans_a=True))


def _dsyrk(J: Array) -> Array:
    return np.asarray(J.T @ J)  # numpy sees the symmetry, and computes one half


# --- prediction, overhead, search ---


def _fitted(n_features: int, hidden: tuple[int, ...]) -> list[Any]:
    """Ours and MLPRegressor, fitted to a few rows."""
    shared: dict[str, Any] = {"solver": "lbfgs", "max_iter": 5, "random_state": 0}
    models = [
        BackpropRegressor(hidden, **shared),
        MLPRegressor(hidden_layer_sizes=hidden, activation="logistic", **shared),
    ]
    return [model.fit(*surface(500, n_features)) for model in models]


def _predict(n_rows: int, times: int, setup: Setup) -> Pair:
    X = np.random.default_rng(1).normal(size=(n_rows, 20))
    models = _fitted(20, (100,))
    return Pair(*(stopwatch(partial(model.predict, X), times) for model in models))


def _overhead(solver: str, setup: Setup) -> Pair:
    # With alpha="auto" ours would be several fits.
    shared: dict[str, Any] = {"solver": solver, "alpha": 1e-4, "max_iter": 1, "random_state": 0}
    if solver == "adam":
        shared["batch_size"] = 50  # an iteration of one step, as theirs
    X, y = surface(50, 4)
    models = [
        BackpropRegressor((20,), **shared),
        MLPRegressor(hidden_layer_sizes=(20,), activation="logistic", **shared),
    ]
    return Pair(*(stopwatch(partial(model.fit, X, y), 50) for model in models))


def races() -> list[Race]:
    """All of them, in the order of the table."""
    double = "float64"
    found = list(_stochastic())
    found += [Race("lbfgs-50000", "mlp", double, 6.0, _lbfgs, threads) for threads in (1, 2)]
    for peer, bar in {"nnet": 2.0, "mlp": 4.0}.items():
        start = partial(searches.same_loss, "lbfgs", peer, surface(2000, 8), 20)
        found += [Race("lbfgs-2000", peer, double, bar, start)]
    start = partial(searches.same_loss, "lm", "pyrenn", surface(1000, 8), 10)
    found += [Race("lm-1000", "pyrenn", double, 10.0, start)]
    # No more than 1.6 times the time of the product alone.
    found += [Race("lm-step", "dgemm", double, 1 / 1.6, partial(_lm_step, _dgemm))]
    found += [Race("lm-step", "dsyrk", double, math.nan, partial(_lm_step, _dsyrk))]
    for name in UCI:
        start = partial(searches.same_error, name)
        found += [Race(f"uci {name}", "mlp_scaled", double, math.nan, start)]
    million = partial(_predict, 1_000_000, 1)
    found += [Race("predict-million", "mlp", double, 3.0, million, threads) for threads in (1, 2)]
    found += [Race("predict-one", "mlp", double, 1.2, partial(_predict, 1, 500))]
    found += [Race("overhead-adam", "mlp", double, 1.0, partial(_overhead, "adam"))]
    found += [Race("overhead-lbfgs", "mlp", double, 1.0, partial(_overhead, "lbfgs"))]
    return [*found, Race("grid-search", "mlp", double, 3.0, searches.grid_search)]


UCI = "yacht", "bostonHousing", "energy", "concrete", "wine-quality-red", "kin8nm"
UCI_BAR = 5.0  # of the median over the sets
