"""Training on all rows at once, by those who stop on their own: the loss is theirs to set.

None has a penalty here: nnet would also hold the biases, and MLPRegressor the weights of
sigmoids where ours holds those of tanh. Without it, all minimise one objective, the mean
squared error of the training rows, in whatever coordinates they work.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from sklearn.neural_network import MLPRegressor

from benchmarks.problems import Array

# (X, y, units of the hidden layer, seed) -> seconds, mean squared error
FullBatch: TypeAlias = Callable[[Array, Array, int, int], tuple[float, float]]


def mlp_lbfgs(X: Array, y: Array, n_hidden: int, seed: int) -> tuple[float, float]:
    """MLPRegressor, with its own max_iter and tol."""
    model = MLPRegressor(
        hidden_layer_sizes=(n_hidden,),
        activation="logistic",
        solver="lbfgs",
        alpha=0.0,
        random_state=seed,
    )
    start = time.perf_counter()
    model.fit(X, y)
    return time.perf_counter() - start, mean_squared_error(y, model.predict(X))


# Reads X column by column, and then y. The value of the fit is a sum of squares.
_NNET = """
library(nnet)
args <- commandArgs(TRUE)
given <- as.integer(args[-1])
n <- given[1]; d <- given[2]
values <- readBin(args[1], "double", n * (d + 1))
X <- matrix(values[1:(n * d)], n, d)
y <- values[(n * d + 1):(n * (d + 1))]
set.seed(given[4])
start <- proc.time()[["elapsed"]]
fit <- nnet(X, y, size=given[3], linout=TRUE, decay=0, maxit=100, trace=FALSE, MaxNWts=1e6)
cat(proc.time()[["elapsed"]] - start, fit$value / n)
"""


def nnet(X: Array, y: Array, n_hidden: int, seed: int) -> tuple[float, float]:
    """R's nnet, timed within R, with its own `maxit` and `reltol`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data")
        np.concatenate([X.T.ravel(), y]).astype(float).tofile(path)
        numbers = [str(number) for number in (*X.shape, n_hidden, seed)]
        command = ["Rscript", "-e", _NNET, str(path), *numbers]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, loss = map(float, told.split())
    return seconds, loss


# Steps of pyrenn. It has no other end, and where no step gains anything it never ends.
_PYRENN_STEPS = 20


def pyrenn(X: Array, y: Array, n_hidden: int, seed: int) -> tuple[float, float]:
    """Pyrenn's Levenberg-Marquardt for a feed-forward network of tanh units."""
    import pyrenn as program

    # It draws from numpy's global generator, and prints; both are put right again.
    before: Any = np.random.get_state()  # noqa: NPY002 - pyrenn takes no other generator
    np.random.seed(seed)  # noqa: NPY002 - pyrenn's
    try:
        network = program.CreateNN([X.shape[1], n_hidden, 1])
    finally:
        np.random.set_state(before)  # noqa: NPY002 - pyrenn's
    inputs, targets = np.array(X.T, dtype=float), np.array(y[None], dtype=float)
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        network = program.train_LM(inputs, targets, network, k_max=_PYRENN_STEPS, E_stop=0.0)
    seconds = time.perf_counter() - start
    return seconds, mean_squared_error(y, program.NNOut(inputs, network))


def mean_squared_error(y: Array, prediction: Array) -> float:
    return float(np.mean((np.ravel(prediction) - y) ** 2))
