"""Levenberg-Marquardt on all rows at once, with fixed precisions or with evidence.

With A the Gauss-Newton curvature of M (`_inference.evidence`) and g its gradient, a step is

    (A + mu b I) delta = -g,       b = mean noise precision
    gain ratio = (M(theta) - M(theta + delta)) / (1/2 delta^T (mu b delta - g))

and is accepted if the gain ratio is positive. mu acts as a trust region: Nielsen's rule
lets it follow the gain ratio smoothly (Madsen, Nielsen & Tingleff 2004, "Methods
for non-linear least squares problems", algorithm 3.16 and eq. 2.21; Marquardt 1963,
doi:10.1137/0111030). It multiplies b because the precisions, and with them A, change
by orders of magnitude while the shape of J^T J does not.

With evidence, the precisions are re-estimated before each step (Foresee & Hagan 1997),
after some steps with weak ones.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from sk_backprop._blocks.arrays import Array, beyond_range_is_inf
from sk_backprop._inference.evidence import Precisions, WeightGroups, factor, reestimate
from sk_backprop._inference.objective import Objective
from sk_backprop._inference.row_sums import NormalEquations
from sk_backprop._network.dispersion import LEAST_NOISE
from sk_backprop._network.network import Network, Parameters
from sk_backprop._solvers._base import Prior, Solver
from sk_backprop._solvers._result import Monitor, SolverResult, Status

# Initial mu, as a fraction of the largest diagonal element of J^T J.
_FIRST_DAMPING = 1e-3

# A predicted reduction of no more than this fraction of M is within rounding error.
_NO_GAIN = 4 * np.finfo(float).eps

# Steps of a run (20 to 80 were seen), and the overhead of a step in addition to its arithmetic.
_STEPS, _STEP_OVERHEAD = 40, 2e7


class LevenbergMarquardt(Solver):
    """Levenberg-Marquardt, as described above.

    max_iter : int, limit on steps
    prior : Prior
    """

    evidence = True
    # J^T J squares the condition number of the problem: float32 is not enough.
    float64 = True

    max_iter: int
    prior: Prior

    @staticmethod
    def cost(network: Network, n_samples: int, n_iter: float | None = None) -> float:
        """Cost of J^T J and a factorisation in each step."""
        n_params, n_outputs = network.n_params, network.layer_sizes[-1]
        step = n_outputs * n_samples * n_params**2 + 3.0 * n_params**3 + _STEP_OVERHEAD
        return float((_STEPS if n_iter is None else n_iter) * step)

    @beyond_range_is_inf
    def minimize(self, objective: Objective, theta: Array, monitor: Monitor) -> SolverResult:
        """Minimise until `monitor` sees a stall, or no step reduces M.

        What is watched is the penalised loss; with evidence, exp(-log evidence / n), so that
        `tol` is in nats per row.
        """
        params, total = objective.network.parameters(theta.copy()), objective.total_weight
        prior = self.prior
        groups, precisions = prior.groups, prior.precisions
        n_plain_steps = np.inf if prior.n_plain_steps is None else prior.n_plain_steps
        region, work = _Region(), np.empty((objective.network.n_params,) * 2, order="F")
        status: Status = "max_iter"
        try:
            objective.follow_noise(params)
            normal = objective.normal_equations(params)
            monitor.note_start(
                _penalised_mean(params, normal, groups, precisions, total), precisions
            )
            for iteration in range(self.max_iter):
                monitor.begin_iteration(params)
                watched = evidence = None
                if iteration == n_plain_steps:
                    monitor.watch_anew()
                if iteration >= n_plain_steps and np.isfinite(_size(normal)):
                    evidence = reestimate(params.flat, normal, groups, precisions, total, work)
                    precisions = evidence.next
                    watched = float(np.exp(-evidence.log_evidence / total))
                moved = _step(objective, params, normal, groups, precisions, region, work)
                # After plain steps, which have fitted some of the noise, residuals are too small.
                if prior.n_plain_steps is None:
                    moved |= objective.follow_noise(params)
                elif iteration >= n_plain_steps:
                    moved |= objective.follow_noise(params, 1 / precisions.noise)
                if moved:
                    normal = objective.normal_equations(params, out=normal)
                loss = _penalised_mean(params, normal, groups, precisions, total)
                progress = monitor.record(
                    params, loss, watched=watched, precisions=precisions, evidence=evidence
                )
                if progress in ("diverged", "stopped"):
                    status = progress
                    break
                exact = normal.loss.sum() <= 0.5 * LEAST_NOISE**2 * total
                if progress == "stalled" or (not moved if prior.n_plain_steps is None else exact):
                    status = "converged"
                    break
        except KeyboardInterrupt:
            params.flat[...] = monitor.last_theta
            status = "interrupted"
        return monitor.result(params, status)


class _Region:
    """The damping mu, by Nielsen's rule."""

    def __init__(self) -> None:
        self.mu = 0.0
        self._factor = 2.0

    def start(self, largest_curvature: float) -> None:
        """Choose the first mu, once."""
        if self.mu == 0.0:
            self.mu = _FIRST_DAMPING * max(largest_curvature, np.finfo(float).tiny)

    def widen(self, gain_ratio: float) -> None:
        """A step was taken: the better it was predicted, the less damping."""
        self.mu *= max(1 / 3, 1 - (2 * min(gain_ratio, 1.0) - 1) ** 3)
        self._factor = 2.0

    def narrow(self) -> None:
        """A step was rejected: more damping."""
        self.mu *= self._factor
        self._factor *= 2


def _step(
    objective: Objective,
    params: Parameters,
    normal: NormalEquations,
    groups: WeightGroups,
    precisions: Precisions,
    region: _Region,
    work: Array,
) -> bool:
    """Move `params` to where M is lower; False if no step reduces it.

    Parameters
    ----------
    objective : Objective
    params : Parameters, changed in place
    normal : NormalEquations at `params`
    groups : WeightGroups; precisions : Precisions
    region : _Region, widened or narrowed
    work : (n_params, n_params), overwritten
    """
    theta, beta, decay = params.flat, precisions.noise, precisions.weight[groups.index]
    if not np.isfinite(_size(normal)):
        return False
    gradient = beta @ normal.gradient + decay * theta
    cost = beta @ normal.loss + 0.5 * np.dot(decay * theta, theta)
    unit = beta.mean()
    region.start((beta @ np.einsum("kii->ki", normal.curvature)).max() / unit)
    while np.isfinite(region.mu):
        L = factor(normal, groups, precisions, region.mu * unit, work)
        delta, _ = lapack.dpotrs(L, -gradient, lower=1)
        predicted_reduction = 0.5 * np.dot(delta, region.mu * unit * delta - gradient)
        if not predicted_reduction > _NO_GAIN * cost:
            return False
        trial = objective.parameters(theta + delta)
        decayed = decay * trial.flat
        actual_reduction = cost - (
            beta @ objective.losses(trial) + 0.5 * np.dot(decayed, trial.flat)
        )
        if actual_reduction > 0:
            theta[...] = trial.flat
            region.widen(actual_reduction / predicted_reduction)
            return True
        region.narrow()
    return False


def _size(normal: NormalEquations) -> float:
    """Finite if all of `normal` is: no element of J^T J exceeds its diagonal."""
    sums = normal.loss.sum() + normal.pearson.sum() + normal.gradient.sum()
    return float(sums + np.einsum("kii->", normal.curvature))


def _penalised_mean(
    params: Parameters,
    normal: NormalEquations,
    groups: WeightGroups,
    precisions: Precisions,
    total_weight: float,
) -> float:
    """E of `_inference.objective`, with alpha / beta of each group for its alpha.

    params : Parameters; normal : NormalEquations at `params`; groups : WeightGroups
    precisions : Precisions; total_weight : float, of the rows
    """
    decay = precisions.weight[groups.index] / precisions.noise.mean()
    penalty = 0.5 * np.dot(decay * params.flat, params.flat)
    return float((normal.loss.sum() + penalty) / total_weight)
