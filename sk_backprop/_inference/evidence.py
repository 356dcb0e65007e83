"""Evidence: the precisions of weights and noise under which the data are most probable.

The model has Gaussian noise of precision beta_k at output k and a Gaussian prior of
precision alpha_g on the weights theta_g of each group g. At weights that minimise

    M = sum_k beta_k L_k + 1/2 sum_g alpha_g ||theta_g||^2,   L_k = 1/2 sum_i w_i rho_ik^2

the Laplace approximation of the log evidence, with A = sum_k beta_k J_k^T J_k + Lambda, is

    ln p(y) = -M - 1/2 ln|A| + 1/2 sum_g N_g ln alpha_g + sum_k n_k/2 ln(beta_k / 2 pi)

and it is stationary where

    gamma_g = N_g - alpha_g tr_g(A^-1)        effective number of parameters of a group
    alpha_g = gamma_g / ||theta_g||^2
    beta_k  = (n - gamma_k) / X^2_k,          gamma_k = beta_k tr(A^-1 J_k^T J_k)

(MacKay 1992, Neural Computation 4, 415-447, eq. 4.3-4.7 of "Bayesian interpolation",
doi:10.1162/neco.1992.4.3.415; for Gauss-Newton networks, Foresee & Hagan 1997,
doi:10.1109/ICNN.1997.614194.) n is the total weight, since weights count repetitions. One
group for each input's weights is automatic relevance determination (MacKay 1994; Neal 1996).
Pearson's statistic X^2 (`_network.dispersion`) is 2 L for squared errors, and n_k = n.

For the Poisson loss 2 L is the deviance and 1 / beta the dispersion. Counts of 0 have no
density that grows with beta, so n_k is the weight of the positive counts. With n_k = n, and
the dispersion estimated from the deviance, a few counts among many zeros were fitted
exactly, and new rows were predicted as 1e16.
"""

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.linalg import factorise, invert_triangle
from sk_backprop._inference.row_sums import NormalEquations
from sk_backprop._network.dispersion import LEAST_NOISE
from sk_backprop._network.network import Network

# Shape and rate of the Gamma priors that keep the precisions finite, as in BayesianRidge
# but with a lower rate: the precision of an unused group may grow until the group has no
# effect.
_SHAPE, _RATE = 1e-6, 1e-12

# Lower bound on the residual degrees of freedom, as a fraction of n. Where small weights make
# many rows count as few, the network at first uses more than n parameters; with no degrees of
# freedom left, all of y was taken for noise: from 300 rows of weight 0.1 nothing was learned (R2
# of new rows 0, now 0.69; with 30 rows of weight 1: 0.6).
_LEAST_FREE = 1e-3

# Smallest multiple of the identity that is added to a singular A: where A is zero (no data and no
# prior), its inverse and the trace of that stay within the range of float64.
_LEAST_NUDGE = 1e-290


class WeightGroups:
    """Which weights share one precision.

    names : of the groups, e.g. 'coefs_[0]', 'coefs_[0][3]' (of input 3), 'intercepts_[1]'
    index : (n_params,) int, the group of each parameter
    """

    def __init__(self, names: tuple[str, ...], index: Array) -> None:
        self.names, self.index = names, index

    @classmethod
    def of(cls, network: Network, *, per_input: bool) -> Self:
        """A group for each layer's weights and one for its biases.

        per_input : bool, whether the first layer has one group for each input instead
        """
        names: list[str] = []
        groups = network.parameters(np.empty(network.n_params, dtype=np.intp))
        for layer, (W, b) in enumerate(zip(groups.coefs, groups.intercepts)):
            if layer == 0 and per_input:
                W[...] = len(names) + np.arange(W.shape[0])[:, None]
                names += [f"coefs_[0][{i}]" for i in range(W.shape[0])]
            else:
                W[...] = len(names)
                names.append(f"coefs_[{layer}]")
            b[...] = len(names)
            names.append(f"intercepts_[{layer}]")
        return cls(tuple(names), groups.flat)

    def sums(self, values: Array) -> Array:
        """Sum of values, (n_params,), in each group: (n_groups,)."""
        return np.bincount(self.index, values, minlength=len(self.names))


class Precisions(NamedTuple):
    """Precisions, 1 / variance, of weights and noise.

    weight : (n_groups,), alpha, of the weights of each group
    noise : (n_outputs,), beta, of the noise of each output
    """

    weight: Array
    noise: Array


def fixed_precisions(groups: WeightGroups, alpha: float, n_outputs: int) -> Precisions:
    """The textbook's penalty: `alpha` on all weights, none on biases, noise of variance 1.

    Parameters
    ----------
    groups : WeightGroups
    alpha : float
    n_outputs : int
    """
    penalised = [name.startswith("coefs_") for name in groups.names]
    return Precisions(np.where(penalised, float(alpha), 0.0), np.ones(n_outputs))


def weak_precisions(
    groups: WeightGroups, network: Network, n_inputs: int, noise: Array
) -> Precisions:
    """Initial precisions: 0.01 on all weights and biases, and all of y is noise.

    In preconditioned coordinates the weights of a useful network are of order one; those
    of many inputs are smaller, and start from 0.01 (n_inputs / 10)^2. With 0.01 on 500
    inputs and 300 rows, a fit was exact before the first re-estimate, and stayed so.

    Parameters
    ----------
    groups : WeightGroups
    network : Network
    n_inputs : int, number of inputs that vary
    noise : (n_outputs,), variance, or dispersion, of y around a constant
    """
    weak = network.parameters(np.full(network.n_params, 0.01))
    weak.coefs[0][...] *= max(1.0, n_inputs / 10) ** 2
    weight = groups.sums(weak.flat) / groups.sums(np.ones_like(weak.flat))
    return Precisions(weight, 1 / noise)


def factor(
    normal: NormalEquations,
    groups: WeightGroups,
    precisions: Precisions,
    damping: float = 0.0,
    out: Array | None = None,
) -> Array:
    """Lower Cholesky factor of A = sum_k beta_k J_k^T J_k + Lambda + damping I.

    Parameters
    ----------
    normal : NormalEquations, finite
    groups : WeightGroups
    precisions : Precisions, Lambda and beta
    damping : float
    out : (n_params, n_params), Fortran order, or None
        Where the factor is written, with zeros above its diagonal. Allocating an array of
        this size at every step costs as much as the factorisation (n_params = 361).
    """
    A = np.empty(normal.curvature[0].shape, order="F") if out is None else out

    def fill() -> None:
        np.multiply(normal.curvature[0], precisions.noise[0], out=A)
        for beta, JtJ in zip(precisions.noise[1:], normal.curvature[1:]):
            A[...] += beta * JtJ

    return cholesky(fill, precisions.weight[groups.index] + damping, A)


def cholesky(fill: Callable[[], None], diagonal: Array, A: Array) -> Array:
    """Lower Cholesky factor of A + diag(diagonal).

    If rounding has left the sum indefinite, growing multiples of the identity are added,
    from 1e-15 times its largest diagonal element on.

    Parameters
    ----------
    fill : callable that writes the lower triangle of A; called before each attempt
    diagonal : (n,)
    A : (n, n), Fortran order, overwritten
    """
    nudge = 0.0
    while True:
        fill()
        on_diagonal = np.einsum("ii->i", A)
        on_diagonal += diagonal + nudge
        nudge = max(10 * nudge, 1e-15 * float(on_diagonal.max()), _LEAST_NUDGE)
        if factorise(A) or nudge == np.inf:  # some LAPACKs fail wherever a value is nan
            return A


def effective(
    L: Array, normal: NormalEquations, groups: WeightGroups, precisions: Precisions
) -> tuple[Array, Array]:
    """Effective number of parameters, gamma, of each group and of each output.

    Parameters
    ----------
    L : (n_params, n_params), `factor` of the other arguments, without damping; overwritten
    normal : NormalEquations
    groups : WeightGroups
    precisions : Precisions
    """
    alpha, beta = precisions.weight, precisions.noise
    invert_triangle(L)
    inverse_diagonal = np.einsum("ij,ij->j", L, L)
    sizes = groups.sums(np.ones(len(L)))
    # Rounding may leave a small negative number where a group has no effect.
    gamma = np.clip(sizes - alpha * groups.sums(inverse_diagonal), 0.0, sizes)
    if len(beta) == 1:
        return gamma, gamma.sum(keepdims=True)
    inverse = L.T @ L
    # tr(inverse S) for symmetric S, of which H holds the lower triangle.
    return gamma, beta * np.array(
        [2 * np.vdot(inverse, H) - np.dot(np.diag(inverse), np.diag(H)) for H in normal.curvature]
    )


class Evidence(NamedTuple):
    """Log evidence of the current precisions, and their re-estimates.

    log_evidence : float, of the target in the solver's coordinates
    n_effective : (n_outputs,), gamma of each output
    next : Precisions, re-estimated
    """

    log_evidence: float
    n_effective: Array
    next: Precisions


def reestimate(
    theta: Array,
    normal: NormalEquations,
    groups: WeightGroups,
    precisions: Precisions,
    total_weight: float,
    out: Array | None = None,
) -> Evidence:
    """Log evidence at `theta`, and one fixed-point step of the precisions.

    Parameters
    ----------
    theta : (n_params,)
    normal : NormalEquations at `theta`
    groups : WeightGroups
    precisions : Precisions, the current ones
    total_weight : float, n
    out : (n_params, n_params) or None, as for `factor`, overwritten
    """
    alpha, beta, loss = precisions.weight, precisions.noise, normal.loss
    L = factor(normal, groups, precisions, out=out)
    squares = groups.sums(theta * theta)
    sizes = groups.sums(np.ones_like(theta))
    with np.errstate(divide="ignore"):  # a precision of zero: an improper prior
        log_prior = 0.5 * float(np.dot(sizes, np.log(alpha)))
    log_evidence = (
        -float(np.dot(beta, loss))
        - 0.5 * float(np.dot(alpha, squares))
        - float(np.log(np.diag(L)).sum())
        + log_prior
        + 0.5 * float(np.dot(normal.density_weight, np.log(beta / (2 * np.pi))))
    )
    gamma, n_effective = effective(L, normal, groups, precisions)
    weight = (gamma + 2 * _SHAPE) / (squares + 2 * _RATE)
    free = np.maximum(total_weight - n_effective, _LEAST_FREE * total_weight)
    noise = (free + 2 * _SHAPE) / (normal.pearson + total_weight * LEAST_NOISE**2)
    return Evidence(log_evidence, n_effective, Precisions(weight, noise))
