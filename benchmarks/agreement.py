"""How far apart fits with different seeds are: beside a single network and MLPRegressor."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from benchmarks import accuracy, problems
from benchmarks.problems import Array, Problem
from sk_backprop import BackpropRegressor

N_SEEDS = 10
MODELS = {
    "BackpropRegressor": lambda problem: BackpropRegressor(),
    "n_networks=1": lambda problem: BackpropRegressor(n_networks=1),
    "MLPRegressor, scaled": accuracy.mlp_scaled,
}


@dataclass(frozen=True)
class Row:
    """`N_SEEDS` fits to one split."""

    problem: str
    split: int
    model: str
    disagreement: float
    rmse: float


def disagreement(predictions: Array, y: Array) -> tuple[float, float]:
    """Of predictions (n_seeds, n_rows): the root mean variance over the seeds, in relation
    to the root mean squared error of a single fit; and that error.
    """
    rmse = float(np.sqrt(np.mean((predictions - y) ** 2)))
    return float(np.sqrt(np.mean(predictions.var(axis=0, ddof=1)))) / rmse, rmse


def with_seed(model: Any, seed: int) -> Any:
    """A clone whose every `random_state` is `seed`."""
    names = [name for name in model.get_params() if name.split("__")[-1] == "random_state"]
    return clone(model).set_params(**dict.fromkeys(names, seed))


def measure(name: str, problem: Problem) -> Row:
    predictions = []
    with warnings.catch_warnings():
        # Our fits must converge. MLPRegressor is compared with its defaults, even where they end
        # at max_iter.
        if not isinstance(model := MODELS[name](problem), BackpropRegressor):
            warnings.simplefilter("ignore", ConvergenceWarning)
        for seed in range(N_SEEDS):
            fitted = with_seed(model, seed).fit(problem.X_train, problem.y_train)
            predictions.append(np.ravel(fitted.predict(problem.X_test)))
    found = disagreement(np.array(predictions), problem.y_test)
    return Row(problem.name, problem.split, name, *found)


def add_options(parser: argparse.ArgumentParser) -> None:
    problems.add_options(parser, 1)


def run(args: argparse.Namespace) -> Iterator[Row]:
    for problem in args.chosen:
        print(problem, file=sys.stderr, flush=True)
        for name in MODELS:
            yield measure(name, problem)


def summarize(rows: Sequence[Row]) -> str:
    lines = [f"Standard deviation of test predictions over {N_SEEDS} seeds, by the RMSE", ""]
    for row in rows:
        lines.append(f"{row.problem:<28}{row.split:3}  {row.model:<22}{row.disagreement:8.3f}")
    return "\n".join(lines)
