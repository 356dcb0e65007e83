"""Streams: what the rows before have told, as the scales of the next batch have it.

Scales grow with every batch, and the weights move with them so that the function stays
(`carry_over`). So does what is known of the noise and of the weights' uncertainty: of a first
layer u V + c and a last one h W + b in the solver's coordinates

    V -> diag(inputs) V,    c -> c + shift^T V,    W -> W diag(outputs)

is linear, theta -> M theta + const, and a precision A of theta becomes M^-T A M^-1.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import blas, lapack

from sk_backprop._dispersion import PearsonSums
from sk_backprop._evidence import cholesky
from sk_backprop._network import Array, Network, Parameters, beyond_range_is_inf
from sk_backprop._objective import Objective
from sk_backprop._posterior import (
    LEAST_VARIANCE,
    Posterior,
    Uncertain,
    pack_factor,
    penalties,
    uncertain_objectives,
    unpack_factor,
)
from sk_backprop._scaling import Scales, input_growth, output_growth

# Running means: share of the newest rows, beside many before, and rows that the mean of the
# noise, or of the curvature, is over at least.
_NEWEST_SHARE, _CURVATURE_ROWS = 0.1, 1000.0
_NOISE_ROWS = {"squared_error": 100.0, "poisson": 1000.0}  # of rare counts a few are above 0


class Move(NamedTuple):
    """How the solver's weights and the noise change where the scales do and the function not.

    inputs, shift : (n_features,); outputs : (n_outputs,), as above
    noise : (n_outputs,), factor of the noise
    """

    inputs: Array
    shift: Array
    outputs: Array
    noise: Array

    @classmethod
    @beyond_range_is_inf
    def between(cls, old: Scales, new: Scales) -> Move:
        """From the coordinates of the old scales to those of the new."""
        inputs = input_growth(old, new)
        shift = np.zeros_like(inputs)
        if new.precondition:
            inputs = inputs * (new.x.spread / old.x.spread)
            shift = inputs * (new.x.mean / new.x.spread) - old.x.mean / old.x.spread
        growth = output_growth(old, new)
        if new.out_activation == "identity":
            return cls(inputs, shift, growth, growth**2)
        # Units are another bias of ln(f), and of counts the variance is f times the noise.
        return cls(inputs, shift, np.ones_like(growth), growth)

    @beyond_range_is_inf
    def precision(self, A: Array, network: Network, outputs: slice, *, at_inputs: bool) -> Array:
        """M^-T A M^-1 of a symmetric A, (n_params, n_params), of weights of `network`.

        outputs : those of all that `network` has
        at_inputs : bool, whether its inputs are the columns of X, or hidden units
        """
        for _ in range(2):  # M^-T A, and as much from the other side
            A = np.array(A.T, order="C")
            if at_inputs:
                layer = A[slice(*network.layer_slice(0))]
                layer = layer.reshape(network.layer_sizes[0] + 1, network.layer_sizes[1], -1)
                layer[:-1] -= self.shift[:, None, None] * layer[-1]
                layer[:-1] /= self.inputs[:, None, None]
            layer = A[slice(*network.layer_slice(len(network.layer_sizes) - 2))]
            layer = layer.reshape(-1, network.layer_sizes[-1], A.shape[1])
            layer /= self.outputs[outputs, None]
        return A


class Earlier(NamedTuple):
    """What the rows before have told.

    posterior : Posterior, in the coordinates of their own scales
    weight : float, their total
    move : Move, to the scales of the next batch
    """

    posterior: Posterior
    weight: float
    move: Move

    @property
    def noise(self) -> Array:
        """(n_outputs,)."""
        return np.asarray(np.maximum(self.posterior.noise * self.move.noise, LEAST_VARIANCE))

    @property
    def least_noise(self) -> Array:
        """The least that it has been, (n_outputs,)."""
        least = self.posterior.least_noise
        known = self.posterior.noise if least is None else least
        return np.asarray(np.maximum(known * self.move.noise, LEAST_VARIANCE))

    def knows_curvature_of(self, weights: Uncertain) -> bool:
        """Whether there is a precision of these weights, of rows that still count."""
        return (
            self.posterior.weights == weights
            and self.posterior.prior is not None
            and self.weight > 0  # 0 beside rows of weight 1e17
        )

    def told(self, number: int, network: Network, outputs: slice, *, at_inputs: bool) -> Array:
        """The part of the precision that rows have told: its lower triangle.

        number : int, of the factor
        network, outputs, at_inputs : as of `Move.precision`
        """
        assert self.posterior.prior is not None
        L = np.tril(unpack_factor(self.posterior.factors[number]))
        A = np.asarray(np.tril(blas.dtrmm(1.0, L, L.T, lower=1)))
        np.einsum("ii->i", A)[...] -= self.posterior.prior[number]
        A += np.tril(A, -1).T
        return np.tril(self.move.precision(A, network, outputs, at_inputs=at_inputs))


class StreamState(NamedTuple):
    """What a batch of a stream goes on from, beside weights and scales.

    n_seen : int, samples seen before
    optimizer : dict or None, what the optimizer's `state` gave after the last batch; None
        where that was a fit, or of another solver
    earlier : Earlier or None, what the batches before have told
    from_optimum : bool, whether the weights were fitted to all rows at once before
    """

    n_seen: int
    optimizer: dict[str, Any] | None
    earlier: Earlier | None
    from_optimum: bool

    def noise_to_keep(self, of_constant: Array) -> Array | None:
        """The noise at its best; None where the function is no better than a constant.

        of_constant : (n_outputs,), the noise around one
        """
        if self.earlier is None or np.mean(self.earlier.noise / of_constant) >= 1:
            return None
        return self.earlier.least_noise


def of_stream(
    earlier: Earlier | None,
    weights: Uncertain,
    objective: Objective,
    params: Parameters,
    alpha: float,
) -> Posterior:
    """Posterior after the next rows of a stream: running means of noise and curvature.

    The newest rows alone tell little: with batches of 10 after a fit to 1,000 rows the
    standard deviations were three to eight times too wide.

    Parameters
    ----------
    earlier : Earlier or None, what the rows before have told
    objective : Objective of the newest rows, and the others as of `laplace`
    """
    weight = objective.total_weight
    before = 0.0 if earlier is None else earlier.weight
    total = before + weight

    def share(n_rows: float) -> float:
        """Part of the newest rows in a mean over all, or ten batches, or so many rows."""
        return max(weight / total, min(_NEWEST_SHARE, weight / n_rows))

    # Rows that a step or two has seen are nearly unseen: no effective parameters to deduct.
    newest = objective.pearson(params) * (1 / weight)
    if earlier is not None:
        newest = _running_mean(earlier, newest, share(_NOISE_ROWS[objective.loss]))
    noise, ratio = np.maximum(newest.value, LEAST_VARIANCE), newest.ratio
    least_noise = noise
    if earlier is not None and before >= _NOISE_ROWS[objective.loss]:
        least_noise = np.minimum(noise, earlier.least_noise)
    if weights == "none":
        return Posterior(weights, [], noise, np.zeros_like(noise), [], ratio, least_noise)
    factors: list[Array] = []
    prior: list[Array] = []
    n_effective = np.empty_like(noise)
    at_inputs = weights == "all" or len(objective.network.layer_sizes) == 2
    for outputs, part, part_params in uncertain_objectives(weights, objective, params):
        groups, fixed = penalties(part, alpha)
        held = fixed.weight[groups.index] * np.mean(1 / noise[outputs])
        curvature = part.normal_equations(part_params).curvature
        told = np.einsum("k,kij->ij", 1 / noise[outputs], curvature) * (total / weight)
        diverged = not np.isfinite(told).all()
        if diverged:
            told[...] = 0
        if earlier is not None and earlier.knows_curvature_of(weights):
            others = earlier.told(len(factors), part.network, outputs, at_inputs=at_inputs)
            others *= total / before * float(np.mean(earlier.noise[outputs] / noise[outputs]))
            if np.isfinite(others).all():  # not of units beyond all before
                part_of_newest = 0.0 if diverged else share(_CURVATURE_ROWS)
                told *= part_of_newest
                others *= 1 - part_of_newest
                told += others
        A = np.empty_like(told, order="F")
        L = cholesky(partial(np.copyto, A, told), held, A)
        factors.append(pack_factor(L))
        prior.append(held)
        inverse_factor, _ = lapack.dtrtri(L, lower=1, overwrite_c=1)
        unknown = held * np.einsum("ij,ij->j", inverse_factor, inverse_factor)
        n_effective[outputs] = np.clip(1 - unknown, 0, 1).sum() / part.n_outputs
    return Posterior(weights, factors, noise, n_effective, prior, ratio, least_noise)


def _running_mean(earlier: Earlier, newest: PearsonSums, share: float) -> PearsonSums:
    """The mean over rows of what tells the noise; rows at which training diverged say nothing."""
    ratio = earlier.posterior.ratio
    ratio = np.zeros_like(earlier.noise) if ratio is None else ratio
    before = PearsonSums(np.ones_like(ratio), ratio, 1.0)
    before = replace(before, squares=earlier.noise / before.value)
    mean = before * (1 - share) + newest * share
    known = np.isfinite(mean.squares + mean.ratio)
    squares = np.where(known, mean.squares, before.squares)
    return PearsonSums(squares, np.where(known, mean.ratio, ratio), 1.0)
