"""One training by mini-batches, and how BackpropRegressor and MLPRegressor do it.

What is minimised, for a batch of b rows and without biases in the penalty::

    1 / (2 b) sum_i (f(x_i) - y_i)^2  +  penalty / 2 sum_l ||W_l||^2

Ours divides `alpha` by the weight of all rows, MLPRegressor by the rows of the batch:
alpha is penalty n for the one and penalty b for the other. (A last batch that is shorter
sees a little more penalty in MLPRegressor.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from sklearn.neural_network import MLPRegressor

from benchmarks.problems import Array
from sk_backprop import BackpropRegressor

Weights: TypeAlias = tuple[list[Array], list[Array]]  # coefs (n_in, n_out), intercepts
Train: TypeAlias = Callable[[], Weights]  # trains from the start at every call


@dataclass(frozen=True)
class Work:
    """What is to be done.

    Attributes
    ----------
    X, y : (n_samples, n_features), (n_samples,), of one dtype
        Columns and target of mean 0 and spread 1, as whoever does not scale them wants.
    hidden : tuple of int
    n_epochs : int, all of which are made
    activation : {'logistic', 'tanh'}
    precondition : bool, of BackpropRegressor
        True is what its users have: a network of sigmoids is trained as one of tanh,
        which is the same family of functions. It goes another way through it.
    start : coefs and intercepts to start from, for raw X; None draws them from `seed`
    """

    X: Array
    y: Array
    hidden: tuple[int, ...]
    n_epochs: int
    solver: str = "adam"
    batch_size: int = 200
    rate: float = 1e-3
    penalty: float = 1e-6
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    activation: str = "logistic"
    shuffle: bool = True
    seed: int = 0
    precondition: bool = True
    start: Weights | None = None

    @property
    def n_samples(self) -> int:
        """Rows."""
        return len(self.y)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of each layer, counting inputs and output."""
        return self.X.shape[1], *self.hidden, 1


def ours(work: Work) -> Train:
    """BackpropRegressor."""
    model = BackpropRegressor(
        work.hidden,
        activation=work.activation,
        solver=work.solver,
        precondition=work.precondition,
        alpha=work.penalty * work.n_samples,
        batch_size=work.batch_size,
        learning_rate_init=work.rate,
        momentum=work.momentum,
        beta_1=work.betas[0],
        beta_2=work.betas[1],
        epsilon=work.epsilon,
        max_iter=work.n_epochs,
        tol=0.0,
        n_iter_no_change=np.inf,
        shuffle=work.shuffle,
        random_state=work.seed,
    )
    start = {}
    if work.start is not None:
        (first, *rest), intercepts = work.start  # coefs_ are for X / max
        largest = np.abs(work.X).max(axis=0)[:, None]
        start = {"coefs_init": [first * largest, *rest], "intercepts_init": intercepts}

    def train() -> Weights:
        model.fit(work.X, work.y, **start)
        return model.raw_coefs_, model.raw_intercepts_

    return train


def mlp(work: Work) -> Train:
    """MLPRegressor."""
    model = MLPRegressor(
        hidden_layer_sizes=work.hidden,
        activation=work.activation,
        solver=work.solver,
        alpha=work.penalty * work.batch_size,
        batch_size=work.batch_size,
        learning_rate_init=work.rate,
        momentum=work.momentum,
        beta_1=work.betas[0],
        beta_2=work.betas[1],
        epsilon=work.epsilon,
        max_iter=work.n_epochs,
        tol=0.0,
        n_iter_no_change=sys.maxsize,
        shuffle=work.shuffle,
        random_state=work.seed,
        warm_start=work.start is not None,
    )
    if work.start is not None:  # it takes weights only as those of a fit before
        model.set_params(max_iter=1).fit(work.X, work.y).set_params(max_iter=work.n_epochs)

    def train() -> Weights:
        if work.start is not None:
            model.coefs_, model.intercepts_ = ([a.copy() for a in part] for part in work.start)
        model.fit(work.X, work.y)
        return model.coefs_, model.intercepts_

    return train
