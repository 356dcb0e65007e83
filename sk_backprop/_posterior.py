"""Laplace's approximation at fitted weights: how sure the network is of what it says.

The posterior of the weights is Gaussian with precision A (`_evidence`), and with
g_k = df_k/dtheta at an input the prediction has the variance

    noise_k + g_k^T A^-1 g_k,    noise_k = 1 / beta_k,  for Poisson f_k / beta_k

(MacKay 1992, "A practical Bayesian framework for backpropagation networks", eq. 2.31,
doi:10.1162/neco.1992.4.3.448.) Where the network is too large for A, the last layer
alone is uncertain: a linear model of the last hidden units (Snoek et al. 2015,
"Scalable Bayesian optimization using deep neural networks", arXiv:1502.05700).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.linalg import lapack

from sk_backprop._evidence import (
    Precisions,
    WeightGroups,
    effective,
    factor,
    reestimate,
)
from sk_backprop._network import (
    ACTIVATIONS,
    Array,
    Network,
    Parameters,
    Rows,
    Workspace,
    forward,
    jacobian,
    last_layer,
    row_blocks,
)
from sk_backprop._objective import Objective

Uncertain = Literal["all", "last_layer", "none"]

# Bytes of the gradients that are held at a time.
_BLOCK_BYTES = 2**22

# Least part of the rows that counts as free to tell the noise, however many parameters
# the network uses. Where it is reached the estimate means little, and the user is warned.
_LEAST_FREE = 0.01

# Least noise of a perfect fit: 1 / noise stays within the range of float64.
_LEAST_VARIANCE = 1e-20


@dataclass(frozen=True)
class Posterior:
    """How uncertain the weights and a new observation are, in the solver's coordinates.

    Attributes
    ----------
    weights : {'all', 'last_layer', 'none'}, those that are uncertain
    factors : lower Cholesky factors of A, packed by columns: one for all weights, one
        for each output for the last layer
    noise : (n_outputs,), 1 / beta
    n_effective : (n_outputs,), gamma
    """

    weights: Uncertain
    factors: list[Array]
    noise: Array
    n_effective: Array

    def variance(self, network: Network, params: Parameters, X: Rows) -> Array:
        """Variance of f that the weights' uncertainty makes, (n_samples, n_outputs)."""
        variance = np.zeros((X.shape[0], network.layer_sizes[-1]))
        if self.weights == "none":
            return variance
        factors = [_unpacked(packed) for packed in self.factors]
        step = max(16, _BLOCK_BYTES // (8 * factors[0].shape[0]))
        for rows in row_blocks(X.shape[0], step):
            parts = _uncertain_parts(self.weights, network, params, X[rows])
            gradients = [gradient for part in parts for gradient in _output_gradients(*part)]
            for k, gradient in enumerate(gradients):
                L = factors[k if self.weights == "last_layer" else 0]
                whitened, _ = lapack.dtrtrs(L, gradient, lower=1)
                variance[rows, k] = np.einsum("ij,ij->j", whitened, whitened)
        return variance

    def noise_variance(self, f: Array, out_activation: str) -> Array:
        """Variance of an observation around f, (n_samples, n_outputs)."""
        return self.noise * (f if out_activation == "exp" else np.ones_like(f))


def _uncertain_parts(
    weights: Uncertain, network: Network, params: Parameters, X: Rows
) -> Sequence[tuple[Network, Parameters, Any]]:
    """The networks whose weights are uncertain, with their inputs."""
    return [(network, params, X)] if weights == "all" else last_layer(network, params, X)


def _output_gradients(network: Network, params: Parameters, X: Rows) -> list[Array]:
    """df_k/dtheta for each output k: (n_params, n_rows)."""
    work = Workspace(network, X.shape[0], params.flat.dtype)
    f = forward(network, params, X, work)
    slope = np.ones_like(f)
    ACTIVATIONS[network.output_activation].times_slope(slope, f, np.empty_like(f))
    gradients = []
    for k in range(f.shape[0]):
        seed = np.zeros_like(f)
        seed[k] = slope[k]
        jac = np.empty((network.n_params, X.shape[0]))
        jacobian(network, params, X, work, seed, jac)
        gradients.append(jac)
    return gradients


def _packed(L: Array) -> Array:
    return np.asarray(lapack.dtrttp(L, uplo="L")[0])


def _unpacked(packed: Array) -> Array:
    order = int(np.sqrt(2 * packed.size))  # floor: order^2 < 2 size < (order + 1)^2
    return np.asarray(lapack.dtpttr(order, packed, uplo="L")[0])


@dataclass(frozen=True)
class Unseen:
    """Rows that a network was not trained on, or earlier batches of a stream.

    pearson : (n_outputs,), their statistic; weight : float, of them
    """

    pearson: Array
    weight: float


def laplace(
    weights: Uncertain,
    objective: Objective,
    params: Parameters,
    alpha: float,
    represents: float | None = None,
    held_out: Unseen | None = None,
    known_noise: Array | None = None,
) -> Posterior:
    """Posterior of weights that a fixed penalty `alpha` holds, and the noise.

    noise_k = (X^2_k + X'^2_k) / (n - gamma_k + n')

    where X'^2, n' are Pearson's statistic and total weight of rows held out, if any.

    Parameters
    ----------
    params : Parameters, where a solver ended
    represents : float or None
        Total weight of the rows that those of `objective` stand for: of a stream.
    known_noise : (n_outputs,) or None
        The noise, where it need not be estimated.
    """
    n_outputs = objective.n_outputs
    share = 1.0 if represents is None else represents / objective.total_weight
    unseen = Unseen(np.zeros(n_outputs), 0.0) if held_out is None else held_out
    if weights == "none":
        pearson = objective.pearson(params) + unseen.pearson
        noise = pearson / (objective.total_weight + unseen.weight)
        noise = noise if known_noise is None else known_noise
        return Posterior(weights, [], np.maximum(noise, _LEAST_VARIANCE), np.zeros(n_outputs))
    parts = [(objective, params)] if weights == "all" else objective.last_layers(params)
    factors: list[Array] = []
    noise, n_effective = np.empty(n_outputs), np.empty(n_outputs)
    for number, (part, part_params) in enumerate(parts):
        outputs = slice(number, number + part.n_outputs)
        groups = WeightGroups.of(part.network, per_input=False)
        normal = part.normal_equations(part_params)
        for sums in normal:
            sums *= share
        n = part.total_weight * share
        # Hidden biases are not penalised, yet nothing that the fit could not do without:
        # free, each of 300 would count as an effective parameter (noise 3.3 for 0.34).
        weight = np.full(len(groups.names), float(alpha))
        weight[-1] = 0.0
        fixed = Precisions(weight, np.ones(part.n_outputs))
        L = factor(normal, groups, fixed)
        packed = _packed(L)
        _, gamma = effective(L, normal, groups, fixed)
        free = np.maximum(n - gamma, _LEAST_FREE * n) + unseen.weight
        variance = (normal.pearson + unseen.pearson[outputs]) / free
        if known_noise is not None:
            variance = known_noise[outputs]
        variance = np.maximum(variance, _LEAST_VARIANCE)
        if part.n_outputs == 1:
            packed /= np.sqrt(variance)  # one factor for both
        else:
            precisions = Precisions(fixed.weight * np.mean(1 / variance), 1 / variance)
            packed = _packed(factor(normal, groups, precisions))
        factors.append(packed)
        noise[outputs], n_effective[outputs] = variance, gamma
    return Posterior(weights, factors, noise, n_effective)


def evident(
    objective: Objective, params: Parameters, groups: WeightGroups, precisions: Precisions
) -> tuple[Posterior, float]:
    """Posterior of all weights under precisions that evidence has chosen, and ln p(y)."""
    normal = objective.normal_equations(params)
    evidence = reestimate(params.flat, normal, groups, precisions, objective.total_weight)
    L = factor(normal, groups, precisions)
    posterior = Posterior("all", [_packed(L)], 1 / precisions.noise, evidence.n_effective)
    return posterior, evidence.log_evidence
