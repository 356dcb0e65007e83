"""Laplace's approximation at fitted weights: how sure the network is of what it says.

The posterior of the weights is Gaussian with precision A (`_inference.evidence`), and with
g_k = df_k/dtheta at an input the prediction has the variance

    noise_k + g_k^T A^-1 g_k,    noise_k = 1 / beta_k,  for Poisson f_k / beta_k

(MacKay 1992, "A practical Bayesian framework for backpropagation networks", eq. 2.31,
doi:10.1162/neco.1992.4.3.448.) Where the network is too large for A, the last layer
alone is uncertain: a linear model of the last hidden units (Snoek et al. 2015,
"Scalable Bayesian optimization using deep neural networks", arXiv:1502.05700).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.linalg import lapack

from sk_backprop._blocks.arrays import Array, Rows, row_blocks
from sk_backprop._inference.consistency import all_finite, check_float, inconsistent
from sk_backprop._inference.evidence import Precisions, WeightGroups, effective, factor, reestimate
from sk_backprop._inference.objective import Objective
from sk_backprop._network.dispersion import LEAST_VARIANCE, HeldOutNoise
from sk_backprop._network.network import (
    ACTIVATIONS,
    Network,
    Parameters,
    Workspace,
    forward,
    jacobian,
    last_layer,
)

Uncertain = Literal["all", "last_layer", "none"]

# Bytes of the gradients that are held at a time.
_BLOCK_BYTES = 2**22

# Least part of the rows that counts as free to tell the noise, however many parameters
# the network uses. Where it is reached the estimate means little.
_LEAST_FREE = 0.01

# Noise around a target that does not vary: a standard deviation of 1e-8 of its size, which is
# positive, so that a distribution can be made of it.
_NOISE_OF_CONSTANT = 1e-16


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
    prior : for each factor the part of the diagonal of A that no row has told, (n_params,)
    ratio : (n_outputs,) or None, of a stream: `PearsonSums.ratio` by the weight, running mean
    mean, slow_mean : (n_outputs,) or None, of a stream: the running mean that the noise is made
        of, and the running mean of this one, behind which it falls
    usual, least_noise : (n_outputs,) or None, of a stream: mean squared error over ten batches,
        and the least that it has been
    variance_of_new : (n_outputs,) or None, of a stream: mean squared error of rows that came
        for the first time
    dof : (n_outputs,) or None, residual degrees of freedom: total weight of the rows that the
        noise was estimated from, less the effective parameters fitted to them
    """

    weights: Uncertain
    factors: list[Array]
    noise: Array
    n_effective: Array
    prior: list[Array]
    ratio: Array | None = None
    mean: Array | None = None
    slow_mean: Array | None = None
    usual: Array | None = None
    least_noise: Array | None = None
    variance_of_new: Array | None = None
    dof: Array | None = None

    def check_shapes(self, network: Network) -> None:
        """Raise ValueError unless this may be the posterior of the weights of `network`."""
        *below, n_outputs = network.layer_sizes
        n_params = {
            "all": [network.n_params],
            "last_layer": n_outputs * [below[-1] + 1],
            "none": [],
        }
        if self.weights not in n_params:
            raise inconsistent(f"there are no uncertain weights {self.weights!r}")
        expected = n_params[self.weights]
        if len(self.factors) != len(expected):
            raise inconsistent(
                f"a posterior has {len(self.factors)} factors; expected {len(expected)}"
            )
        for packed, order in zip(self.factors, expected):
            check_float("a posterior's factor", packed, (order * (order + 1) // 2,))
        check_float("a posterior's noise", self.noise, (n_outputs,))

    def fault(self) -> str:
        """What is wrong with its numbers: nothing, unless a fit was at the ends of float64."""
        if not (self.noise > 0).all():
            return f"a posterior's noise is {self.noise}; allowed are values > 0"
        if not all_finite([self.noise], self.factors):
            return "a posterior has values that are not finite"
        if not all(_diagonal(packed).all() for packed in self.factors):
            return "a posterior's factor has a zero on its diagonal"
        return ""

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

    def of_constants(self, constant: Array, errors: Array) -> Posterior:
        """The same, where the targets of some outputs do not vary.

        There is no noise around a constant but what the network errs by; what the evidence and
        the prior make of it, the whole range of y, is of no use.

        constant : (n_outputs,) bool, and errors : (n_outputs,), their mean squares
        """
        noise = np.where(constant, np.maximum(errors, _NOISE_OF_CONSTANT), self.noise)
        return replace(self, noise=noise)


def mean_variance(
    network: Network, fitted: Sequence[tuple[Parameters, Posterior]], X: Rows
) -> Array:
    """Variance of f by the weights' uncertainty, mean over the networks: (n_samples, n_outputs)."""
    variances = [posterior.variance(network, params, X) for params, posterior in fitted]
    return np.asarray(np.mean(variances, axis=0))


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


def _diagonal(packed: Array) -> Array:
    """Of the triangle that `pack_factor` has packed."""
    order = int(np.sqrt(2 * packed.size))
    columns = np.arange(order)
    return np.asarray(packed[columns * order - columns * (columns - 1) // 2])


def laplace(
    weights: Uncertain,
    objective: Objective,
    params: Parameters,
    alpha: float,
    known: HeldOutNoise | None = None,
    n_distinct: int | None = None,
) -> Posterior:
    """Posterior of weights that a fixed penalty `alpha` holds, and the noise.

    noise_k = X^2_k / dof_k,    dof_k = n (1 - gamma_k / m)

    with n the total weight of the rows and m their number. Copies of a row have one and the same
    noise: they make it neither harder to fit, nor the weights of the network more certain than
    rows of weight 1 would.

    Parameters
    ----------
    params : Parameters, where a solver ended
    known : HeldOutNoise or None, the noise where it need not be estimated
    n_distinct : int or None, m, by default that of the rows of `objective`
    """
    n_outputs, total = objective.n_outputs, objective.total_weight
    n_rows = objective.n_samples if n_distinct is None else n_distinct
    if weights == "none":
        sums = objective.pearson(params)
        dof = _residual_dof(weights, np.zeros(n_outputs), objective.network, n_rows) * sums.weight
        noise = sums.value / dof
        if known is not None:
            noise, dof = known.variance, np.full(n_outputs, known.weight)
        noise = np.maximum(noise, LEAST_VARIANCE)
        return Posterior(weights, [], noise, np.zeros(n_outputs), [], dof=dof)
    factors: list[Array] = []
    prior: list[Array] = []
    noise, n_effective, dof = np.empty((3, n_outputs))
    for outputs, part, part_params in uncertain_objectives(weights, objective, params):
        normal = part.normal_equations(part_params)
        groups, fixed = penalties(part, alpha)
        L = factor(normal, groups, fixed)
        packed = pack_factor(L)
        _, gamma = effective(L, normal, groups, fixed)
        dof[outputs] = total * _residual_dof(weights, gamma, objective.network, n_rows)
        variance = normal.pearson / dof[outputs]
        if known is not None:
            variance, dof[outputs] = known.variance[outputs], known.weight
        variance = np.maximum(variance, LEAST_VARIANCE)
        precision = min(1.0, n_rows / total) / variance
        precisions = Precisions(fixed.weight * np.mean(precision), precision)
        if part.n_outputs == 1:
            packed *= np.sqrt(precision)  # one factor for both
        else:
            packed = pack_factor(factor(normal, groups, precisions))
        factors.append(packed)
        prior.append(precisions.weight[groups.index])
        noise[outputs], n_effective[outputs] = variance, gamma
    return Posterior(weights, factors, noise, n_effective, prior, dof=dof)


# Effective parameters for each row up to which the residuals of the rows trained on show the
# noise. Of those that early stopping leaves unused, or that are hidden behind the last layer,
# there may be any number up to that of all parameters: with a tenth of the rows at most, the
# middle is within 3 % of the standard deviation.
_MOST_EFFECTIVE, _MOST_UNKNOWN = 0.25, 0.1


def residuals_suffice(posterior: Posterior, network: Network, n_rows: int) -> bool:
    """Whether the residuals of the rows that were trained on show the noise.

    Parameters
    ----------
    posterior : Posterior, by `laplace`
    n_rows : int, distinct rows
    """
    if posterior.weights == "all":
        return bool(posterior.n_effective.max() <= _MOST_EFFECTIVE * n_rows)
    return network.n_params / network.layer_sizes[-1] <= _MOST_UNKNOWN * n_rows


def _residual_dof(weights: Uncertain, gamma: Array, network: Network, n_rows: int) -> Array:
    """Residual degrees of freedom of each output, as a fraction of the weight of the rows.

    gamma : effective parameters, of the uncertain weights
    """
    if weights != "all":
        most = min(network.n_params / network.layer_sizes[-1], n_rows)
        gamma = (gamma + np.maximum(gamma, most)) / 2
    return np.asarray(np.maximum(1 - gamma / n_rows, _LEAST_FREE))


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
    n, gamma = objective.total_weight, evidence.n_effective
    dof = n * np.maximum(1 - gamma / n, _LEAST_FREE)
    posterior = Posterior("all", [pack_factor(L)], 1 / precisions.noise, gamma, prior, dof=dof)
    return posterior, evidence.log_evidence
