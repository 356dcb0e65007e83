"""How far apart fits with different seeds are: beside a single network and MLPRegressor."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import numpy as np
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from benchmarks.accuracy import COMPETITORS
from benchmarks.fitting import MLP_CUT_SHORT, expecting
from benchmarks.problems import Array, Problem
from sk_backprop import BackpropRegressor

N_SEEDS = 10
MODELS: dict[str, Callable[[Problem], Any]] = {
    "BackpropRegressor": COMPETITORS["ours"].make,
    "  n_networks=1": lambda problem: BackpropRegressor(n_networks=1),
    "MLPRegressor, scaled": COMPETITORS["mlp_scaled"].make,
}


def with_seed(model: Any, seed: int) -> Any:
    """A clone whose every `random_state` is `seed`."""
    names = [name for name in model.get_params() if name.split("__")[-1] == "random_state"]
    return clone(model).set_params(**dict.fromkeys(names, seed))


def disagreement(predictions: Array, y: Array) -> tuple[float, float]:
    """Of predictions (n_seeds, n_rows): the root mean variance over the seeds, in relation
    to the root mean squared error of a single fit; and that error.
    """
    rmse = float(np.sqrt(np.mean((predictions - y) ** 2)))
    return float(np.sqrt(np.mean(predictions.var(axis=0, ddof=1)))) / rmse, rmse


def measure(model: Any, problem: Problem) -> tuple[float, float]:
    """`disagreement` of fits to the training rows that differ in the seed alone."""
    predictions = []
    with expecting(MLP_CUT_SHORT), threadpool_limits(1):  # it is taken as it comes
        for seed in range(N_SEEDS):
            fitted = with_seed(model, seed).fit(problem.X_train, problem.y_train)
            predictions.append(np.ravel(fitted.predict(problem.X_test)))
    return disagreement(np.array(predictions), problem.y_test)


def run(problems: Sequence[Problem], out: TextIO) -> None:
    """The subcommand: a table, printed and written to `out`."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["problem", "split", "model", "disagreement", "rmse"])
    print(f"\nStandard deviation of test predictions over {N_SEEDS} seeds, as a part of the RMSE")
    for k, name in enumerate(MODELS):
        print(f"  ({k + 1}) {name}")
    for problem in problems:
        print(f"{problem.name:<28}{problem.split:3}", end="", flush=True)
        for name, make in MODELS.items():
            apart, rmse = measure(make(problem), problem)
            writer.writerow([problem.name, problem.split, name.strip(), f"{apart:.4g}", rmse])
            out.flush()
            print(f"{apart:10.3f}", end="", flush=True)
        print()
