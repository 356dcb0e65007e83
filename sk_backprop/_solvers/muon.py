"""Muon: steps of hidden layers with orthogonal columns or rows, and Adam for the other weights.

The gradient of a hidden layer's matrix has few large singular values; a step in its direction
moves few directions of the layer. Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers
in neural networks") replaces all singular values of the step by about 1. On 10,000 rows of the UCI
protein set (two layers of 256 units after 16 for each feature) 15 epochs left an error of .644
standard deviations; 15 of Adam left .714, and 60 left .665.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.threads import Team, allowed_threads
from sk_backprop._inference.objective import Objective
from sk_backprop._network.network import Network, Parameters
from sk_backprop._solvers._result import OptimizerState
from sk_backprop._solvers.stochastic import (
    MANY_ROWS,
    VERY_MANY_ROWS,
    Adam,
    MiniBatchSolver,
    Optimizer,
    Pace,
    decay_weights,
    rectification,
    usual_epochs,
)

# Of the learning rate: the step of a hidden matrix whose singular values are 1 and whose size is
# that of its initial weights, and the steps of biases.
_MATRIX_STEP, _BIAS_STEP = 0.3, 0.1

# Coefficients of the odd polynomial that moves singular values of at most 1 towards 1, and how
# often it is applied; see Jordan et al.
_POLYNOMIAL, _ITERATIONS = (3.4445, -4.775, 2.0315), 4


# Smallest and largest mini-batch up to `VERY_MANY_ROWS`, and steps of an epoch where rows are few.
_LEAST_ROWS, _MOST_ROWS, _STEPS = 16, 256, 30

# Steps of an epoch where rows are very many, and the largest mini-batch. Of a step of 256 rows four
# fifths are orthogonalisation, of 2,048 a third. On 100,000 rows of products of sawtooth waves (10
# columns, one thread) 15 epochs took 46 s with 256 rows and left an error of .450, with 1,024 rows
# 21 s and .422, if the rate was .2; at a rate of .1 it was .433.
_MANY_STEPS, _LARGEST_BATCH = 100, 2048

# Number of rows above which the weight decay of a run, rate times `weight_decay` times steps, would
# grow: it is 6 there. With 9 and 3 the error on 400,000 of these rows was .398 and .360.
_WEAKER_DECAY = 200_000

# Cost of a multiply-add of matrices of this size, and the overhead of a step (see
# `_training.budget`): steps of 0.9 ms (128 units, batches of 32 rows) to 41 ms.
_PRODUCT, _STEP_OVERHEAD = 1.6, 1e7

# Minimum number of multiply-adds of a product for threads to share the matrices: for two matrices
# of order 96, 128, 192 and 256, two threads took 1.33, .77, .65 and .6 times as long as one.
_LARGE = 2e6


def orthogonalised(matrix: Array) -> Array:
    """A matrix with the singular vectors of `matrix`, and singular values of about 1.

    By iterations that use matrix products alone: U <- a U + (b U U^T + c (U U^T)^2) U, from
    the matrix divided by its Frobenius norm. Singular values of at least .01 of that norm end
    between .68 and 1.21; smaller ones are multiplied by 3.44^4 = 141.
    """
    a, b, c = _POLYNOMIAL
    wide = matrix.shape[0] <= matrix.shape[1]
    U: Array = matrix if wide else matrix.T
    U = U / (np.linalg.norm(U) + np.finfo(U.dtype).tiny)
    for _ in range(_ITERATIONS):
        squares = U @ U.T
        by = c * (squares @ squares)
        by += b * squares
        np.einsum("ii->i", by)[...] += a
        U = by @ U
    return U if wide else U.T


class Muon(Optimizer):
    """Muon for the matrices between hidden layers, Adam for all other weights and for biases.

    For a matrix W of n_in rows and n_out columns, with its gradient G:

    M <- beta_1 M + (1 - beta_1) G;  U = (1 - beta_1) G + beta_1 M, orthogonalised;
    W <- W - .3 rate sqrt(max(n_in, n_out) / n_in) U

    so that steps are as large for all widths, relative to initial weights of variance
    1 / n_in. Adam's steps are multiplied by 1 / sqrt(n_in) for weights, and by .1 for biases.

    params : Parameters, the initial weights; rate, beta_1, beta_2, epsilon : float
    network : Network
    weight_decay, rectified : as for `stochastic.Adam`
    team : Team, whose threads share the matrices
    """

    def __init__(
        self,
        network: Network,
        params: Parameters,
        *,
        rate: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        weight_decay: float = 0.0,
        rectified: bool = False,
        team: Team | None = None,
    ) -> None:
        self._team = team or Team(1)
        self._rate, self._beta_1, self._beta_2 = rate, beta_1, beta_2
        self._weight_decay, self._rectified = weight_decay, rectified
        rates = {"rate": rate, "beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
        dtype = params.flat.dtype
        # M is Adam's m. It also finds the steps of the matrices, which are not used: they take a
        # fiftieth of the time of orthogonalisation.
        self._adam = Adam(len(params.flat), dtype, **rates, rectified=rectified)
        self.gradient = self._adam.gradient
        self._gradients = network.parameters(self.gradient)
        self._means = network.parameters(self._adam.mean)
        self._sizes = step_sizes(network, params)

    def step(self, params: Parameters, loss: float, pace: Pace) -> None:
        beta, rate = self._beta_1, self._rate * pace.rate
        hidden = slice(1, len(params.coefs) - 1)
        # Adam stores m / (1 - beta_1), and the length of a direction does not matter.
        directions = [
            (1 + beta) * G + beta**2 * M
            for G, M in zip(self._gradients.coefs[hidden], self._means.coefs[hidden])
        ]
        steps = self._team.map(orthogonalised, directions)
        others = self._adam.find_step(pace)
        others *= self._sizes
        if self._rectified:
            rate *= rectification(self._adam.t, self._beta_2)
        decay_weights(params, rate * pace.decay * self._weight_decay)
        theta = params.flat
        theta -= others
        for W, U in zip(params.coefs[hidden], steps, strict=True):
            W -= _MATRIX_STEP * rate * math.sqrt(max(1.0, W.shape[1] / W.shape[0])) * U

    def state(self) -> OptimizerState:
        return self._adam.state()

    def restore(self, state: OptimizerState) -> None:
        self._adam.restore(state)
        self._rectified = state["rectified"]

    def forget(self) -> None:
        self._adam.forget()


def step_sizes(network: Network, params: Parameters) -> Array:
    """Factors of Adam's steps, (n_params,); 0 for the matrices between hidden layers.

    network : Network; params : Parameters, the initial weights
    """
    sizes = network.parameters(np.empty_like(params.flat))
    for W, b in zip(sizes.coefs, sizes.intercepts, strict=True):
        W[...] = 1 / math.sqrt(len(W))
        b[...] = _BIAS_STEP
    for W in sizes.coefs[1:-1]:
        W[...] = 0
    if network.units_per_feature:
        sizes.coefs[0][...] = _BIAS_STEP * np.abs(params.coefs[0])
    return sizes.flat


class MuonSolver(MiniBatchSolver):
    """`Muon`, with the estimator's parameters."""

    settles = True  # as its learning rate falls to 0
    usual: ClassVar[Mapping[str, Any]] = {
        "learning_rate": "cosine",
        "learning_rate_init": 0.1,
        "weight_decay": 0.02,
        "alpha": 0.0,
    }

    beta_1: float
    beta_2: float
    epsilon: float
    weight_decay: float

    @staticmethod
    def usual_batch_size(n_samples: int, *, streaming: bool = False) -> int:
        """A thirtieth of few rows, 256 of many, and a hundredth of very many, within limits."""
        if streaming or MANY_ROWS <= n_samples <= VERY_MANY_ROWS:
            return _MOST_ROWS
        if n_samples > VERY_MANY_ROWS:
            return min(n_samples // _MANY_STEPS, _LARGEST_BATCH)
        return int(np.clip(n_samples // _STEPS, _LEAST_ROWS, _MOST_ROWS // 2))

    @classmethod
    def usual_for(cls, n_samples: int, batch_size: int) -> Mapping[str, Any]:
        """`usual`, with a larger rate for large mini-batches, whose gradients have less noise.

        The variance of the noise falls with the size of a mini-batch, and the rate may rise with
        the root of it (Malladi, Lyu, Panigrahi & Arora 2022, arXiv:2205.10287).
        """
        larger = min(max(1.0, batch_size / _MOST_ROWS), _LARGEST_BATCH / _MOST_ROWS)
        weaker = min(1.0, _WEAKER_DECAY / n_samples)
        return {
            **cls.usual,
            "learning_rate_init": cls.usual["learning_rate_init"] * math.sqrt(larger),
            "weight_decay": cls.usual["weight_decay"] * weaker,
        }

    @staticmethod
    def cost(network: Network, n_samples: int, n_iter: float | None = None) -> float:
        """Cost of the usual number of epochs, in which most is orthogonalisation."""
        rows = min(n_samples, MuonSolver.usual_batch_size(n_samples))
        products = 3.0 * rows * network.n_params
        for n_in, n_out in pairwise(network.layer_sizes[1:-1]):
            short, long = sorted((n_in, n_out))
            products += _ITERATIONS * (2 * short**2 * long + short**3)
        steps = usual_epochs(n_samples) * math.ceil(n_samples / rows)
        return float(steps * (_PRODUCT * products + _STEP_OVERHEAD))

    def _optimizer(self, objective: Objective, params: Parameters) -> Muon:
        network = objective.network
        return Muon(
            network,
            params,
            rate=self.learning_rate_init,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            weight_decay=self.weight_decay,
            rectified=self.stream.from_optimum,
            team=Team(1 if self.uses_blas_threads(network) else _n_threads(network)),
        )


def _n_threads(network: Network) -> int:
    """Threads that share the matrices between hidden layers, of those that are allowed."""
    large = [
        one for one in pairwise(network.layer_sizes[1:-1]) if min(one) * math.prod(one) >= _LARGE
    ]
    return min(allowed_threads(), len(large)) if len(large) > 1 else 1
