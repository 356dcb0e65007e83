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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.linalg import lapack

from sk_backprop._dispersion import PearsonSums
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
# the network uses. Where it is reached the estimate means little.
_LEAST_FREE = 0.01

# Least noise of a perfect fit: 1 / noise stays within the range of float64.
LEAST_VARIANCE = 1e-20


@dataclass(frozen=True, eq=False, repr=False)
class Posterior:
    """How uncertain the weights and a new observation are, in the solver's coordinates.

    Attributes
    ----------
    weights : {'all', 'last_layer', 'none'}, those that are uncertain
    factors : lower Cholesky factors of A, packed by columns: one for all weights, one
        for each output for the last layer
    noise : (n_outputs,), 1 / beta
    n_effective : (n_outputs,), gamma
    prior : for each factor the part of the diagonal of A that no row has told, (n_params,);
        None in models of before
    ratio : (n_outputs,) or None, of a stream: `PearsonSums.ratio` by the weight, running mean
    mean, slow_mean : (n_outputs,) or None, of a stream: the running mean that the noise is made
        of, and the running mean of this one, behind which it falls
    usual, least_noise : (n_outputs,) or None, of a stream: mean squared error over ten batches,
        and the least that it has been
    variance_of_new : (n_outputs,) or None, of a stream: mean squared error of rows that came
        for the first time
    """

    weights: Uncertain
    factors: list[Array]
    noise: Array
    n_effective: Array
    prior: list[Array] | None = None
    ratio: Array | None = None
    mean: Array | None = None
    slow_mean: Array | None = None
    usual: Array | None = None
    least_noise: Array | None = None
    variance_of_new: Array | None = None

    def variance(self, network: Network, params: Parameters, X: Rows) -> Array:
        """Variance of f that the weights' uncertainty makes, (n_samples, n_outputs)."""
        variance = np.zeros((X.shape[0], network.layer_sizes[-1]))
        if self.weights == "none":
            return variance
        factors = [unpack_factor(packed) for packed in self.factors]
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


def pack_factor(L: Array) -> Array:
    """A lower triangle by columns, in half the memory."""
    return np.asarray(lapack.dtrttp(L, uplo="L")[0])


def unpack_factor(packed: Array) -> Array:
    """The inverse of `pack_factor`, zero above the diagonal."""
    order = int(np.sqrt(2 * packed.size))  # floor: order^2 < 2 size < (order + 1)^2
    return np.asarray(lapack.dtpttr(order, packed, uplo="L")[0])


def laplace(
    weights: Uncertain,
    objective: Objective,
    params: Parameters,
    alpha: float,
    held_out: PearsonSums | None = None,
    known_noise: Array | None = None,
) -> Posterior:
    """Posterior of weights that a fixed penalty `alpha` holds, and the noise.

    noise_k = X^2_k / (n - gamma_k + n')

    where n' is the total weight of rows held out, if any, which X^2 is of too.

    Parameters
    ----------
    params : Parameters, where a solver ended
    held_out : PearsonSums or None, of rows that were not trained on
    known_noise : (n_outputs,) or None
        The noise, where it need not be estimated.
    """
    n_outputs = objective.n_outputs
    if weights == "none":
        sums = objective.pearson(params)
        sums = sums if held_out is None else sums + held_out
        noise = sums.value / sums.weight
        noise = noise if known_noise is None else known_noise
        return Posterior(weights, [], np.maximum(noise, LEAST_VARIANCE), np.zeros(n_outputs), [])
    factors: list[Array] = []
    prior: list[Array] = []
    noise, n_effective = np.empty(n_outputs), np.empty(n_outputs)
    for outputs, part, part_params in uncertain_objectives(weights, objective, params):
        normal, n = part.normal_equations(part_params), part.total_weight
        groups, fixed = penalties(part, alpha)
        L = factor(normal, groups, fixed)
        packed = pack_factor(L)
        _, gamma = effective(L, normal, groups, fixed)
        free, pearson = np.maximum(n - gamma, _LEAST_FREE * n), normal.pearson
        if held_out is not None:
            free += held_out.weight
            pearson = (part.pearson(part_params) + held_out[outputs]).value
        variance = pearson / free
        if known_noise is not None:
            variance = known_noise[outputs]
        variance = np.maximum(variance, LEAST_VARIANCE)
        precisions = Precisions(fixed.weight * np.mean(1 / variance), 1 / variance)
        if part.n_outputs == 1:
            packed /= np.sqrt(variance)  # one factor for both
        else:
            packed = pack_factor(factor(normal, groups, precisions))
        factors.append(packed)
        prior.append(precisions.weight[groups.index])
        noise[outputs], n_effective[outputs] = variance, gamma
    return Posterior(weights, factors, noise, n_effective, prior)


def uncertain_objectives(
    weights: Uncertain, objective: Objective, params: Parameters
) -> Iterator[tuple[slice, Objective, Parameters]]:
    """For each factor its outputs, and the objective of the weights that are uncertain."""
    parts = [(objective, params)] if weights == "all" else objective.last_layers(params)
    for number, (part, part_params) in enumerate(parts):
        yield slice(number, number + part.n_outputs), part, part_params


def penalties(objective: Objective, alpha: float) -> tuple[WeightGroups, Precisions]:
    """A penalty on all but the output's biases, with noise of one.

    Hidden biases are not penalised, yet nothing that the fit could not do without: free,
    each of 300 would count as an effective parameter (noise 3.3 for 0.34).
    """
    groups = WeightGroups.of(objective.network, per_input=False)
    weight = np.full(len(groups.names), float(alpha))
    weight[-1] = 0.0
    return groups, Precisions(weight, np.ones(objective.n_outputs))


def evident(
    objective: Objective, params: Parameters, groups: WeightGroups, precisions: Precisions
) -> tuple[Posterior, float]:
    """Posterior of all weights under precisions that evidence has chosen, and ln p(y)."""
    normal = objective.normal_equations(params)
    evidence = reestimate(params.flat, normal, groups, precisions, objective.total_weight)
    L = factor(normal, groups, precisions)
    prior = [precisions.weight[groups.index]]
    posterior = Posterior(
        "all", [pack_factor(L)], 1 / precisions.noise, evidence.n_effective, prior
    )
    return posterior, evidence.log_evidence
