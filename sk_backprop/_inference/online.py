"""Streams: statistics of earlier batches, in the coordinates of the next batch.

Scales grow with every batch. The weights are transformed with them so that the function stays
the same, and so are the noise and the posterior of the weights (`AffineMap`).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import blas

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.blocks import Batch
from sk_backprop._blocks.linalg import invert_triangle
from sk_backprop._coordinates.affine import AffineMap
from sk_backprop._coordinates.seen_rows import SeenRows
from sk_backprop._inference.evidence import cholesky
from sk_backprop._inference.factors import CholeskyFactor, Factor
from sk_backprop._inference.laplace import Posterior, Uncertain, penalties, uncertain_objectives
from sk_backprop._inference.objective import Objective
from sk_backprop._network.dispersion import LEAST_VARIANCE, PearsonSums
from sk_backprop._network.network import Network, Parameters

# Window of the running mean of the noise, as a fraction of all rows, within
# `Likelihood.noise_rows`. A falling mean lags behind the noise, and is multiplied by its ratio to
# its own running mean, though by no less than one half: without this correction, errors of 'sgd'
# on a linear function were .8 standard deviations after 20 to 60 batches of one row.
_NOISE_PART = 0.125
_MOST_BEHIND = 0.5

# Minimum share of the newest rows in the running means of the curvature and of the error by which
# divergence is detected, and the minimum window of the mean of the curvature, in rows.
_NEWEST_SHARE, _CURVATURE_ROWS = 0.1, 1000.0

# Minimum residual degrees of freedom, as a fraction of the distinct rows, for which the errors of
# repeated rows measure the noise. With fewer, these errors do not change the estimate.
LEAST_FREE = 0.1

# Lower bound on the part of a new row's squared error that counts as noise. The rest is due to
# the uncertainty of the weights, which is overestimated after few rows and steps.
LEAST_NOISE_PART = 0.5


class Earlier(NamedTuple):
    """Statistics of the earlier batches.

    posterior : Posterior, in the solver's coordinates of these batches
    weight : float, total weight of the distinct rows
    n_seen : float, total weight of all rows, repetitions included
    move : AffineMap, to the solver's coordinates of the next batch
    """

    posterior: Posterior
    weight: float
    n_seen: float
    move: AffineMap

    @property
    def noise(self) -> Array:
        """Variance of the noise, in the coordinates of the next batch: (n_outputs,)."""
        return np.asarray(np.maximum(self.posterior.noise * self.move.noise_factor, LEAST_VARIANCE))

    def _sums(self, variance: Array | None) -> PearsonSums:
        """Means over rows whose `value` is the given variance, or the noise if there is none.

        variance : (n_outputs,) or None, in the coordinates of the earlier batches
        """
        value = self.noise if variance is None else variance * self.move.noise_factor
        ratio = self.posterior.ratio
        ratio = np.zeros_like(value) if ratio is None else ratio
        one = PearsonSums(np.ones_like(ratio), ratio, 1.0)
        return one.with_squares(value / one.value)

    def noise_part(self, weight: float) -> Array:
        """Part of the squared error of a new row that is noise, (n_outputs,).

        weight : float, total weight of the distinct rows, including the newest
        """
        return np.maximum(1 - self.posterior.n_effective / weight, LEAST_NOISE_PART)

    def free_part(self, network: Network) -> Array:
        """Residual degrees of freedom, as a fraction of the distinct rows: (n_outputs,).

        Unless all weights are uncertain, each counts as one effective parameter.
        """
        if self.posterior.weights == "all":
            return np.asarray(1 - self.posterior.n_effective / self.weight)
        return np.full(len(self.noise), 1 - network.n_params / self.weight)

    @property
    def mean(self) -> PearsonSums:
        """The running mean from which the noise is computed."""
        return self._sums(self.posterior.mean)

    @property
    def slow_mean(self) -> PearsonSums:
        """The running mean of `mean`."""
        return self._sums(self.posterior.slow_mean)

    @property
    def variance_of_new(self) -> Array:
        """Mean squared error of rows seen for the first time, (n_outputs,)."""
        variance = self.posterior.variance_of_new
        if variance is None:
            return np.asarray(self.noise / self.noise_part(self.weight))
        return np.asarray(variance * self.move.noise_factor)

    @property
    def usual(self) -> PearsonSums:
        """Running mean over the rows of about ten batches."""
        return self._sums(self.posterior.usual)

    @property
    def least_noise(self) -> Array:
        """The minimum of `usual` so far, (n_outputs,)."""
        least = self.posterior.least_noise
        if least is None:
            return self.usual.value
        return np.asarray(np.maximum(least * self.move.noise_factor, LEAST_VARIANCE))

    def has_precision_of(self, weights: Uncertain) -> bool:
        """Whether the posterior has a precision of these weights, from rows that still count."""
        return (
            self.posterior.weights == weights
            and self.weight > 0  # it rounds to 0 next to rows of weight 1e17
        )

    def data_precision(
        self, number: int, network: Network, outputs: slice, *, at_inputs: bool
    ) -> Array:
        """The part of the precision that comes from data, without the prior: lower triangle.

        Parameters
        ----------
        number : int, index of the factor
        network, outputs, at_inputs : as for `AffineMap.precision`
        """
        L = self.posterior.factors[number].cholesky()
        A = np.asarray(np.tril(blas.dtrmm(1.0, L, L.T, lower=1)))
        np.einsum("ii->i", A)[...] -= self.posterior.prior[number]
        A += np.tril(A, -1).T
        return np.tril(self.move.precision(A, network, outputs, at_inputs=at_inputs))


class StreamState(NamedTuple):
    """What a batch of a stream continues from, besides weights and scales.

    n_seen : int, samples seen before
    optimizer : `_solvers._result.OptimizerState` after the last batch; None after a fit, or
        after another solver
    earlier : Earlier or None, statistics of the earlier batches
    from_optimum : bool, whether the weights come from a fit that ended close to an optimum
    rows : SeenRows, all rows seen, including the newest
    weight : float, total weight of the distinct rows
    """

    n_seen: int
    optimizer: dict[str, Any] | None
    earlier: Earlier | None
    from_optimum: bool
    rows: SeenRows
    weight: float

    def noise_to_keep(self, of_constant: Array) -> Array | None:
        """Lowest mean squared error so far; None if the function is no better than a constant.

        of_constant : (n_outputs,), mean squared error of a constant
        """
        if self.earlier is None or np.mean(self.earlier.usual.value / of_constant) >= 1:
            return None
        return self.earlier.least_noise

    def repeats_hide_noise(self, network: Network) -> bool:
        """Whether most of the newest rows are repeated, and their errors do not show the noise."""
        if self.earlier is None or self.rows.repeated < 0.5:
            return False
        return bool(np.any(self.earlier.free_part(network) < LEAST_FREE))


class PassErrors:
    """Errors of the mini-batches of one pass, each before the step on it.

    For new rows, on which the weights do not depend yet, these are the prequential errors of
    Dawid (1984), "Statistical theory: the prequential approach", doi:10.2307/2981683.

    sums : list of PearsonSums, of the last mini-batches of the pass
    """

    def __init__(self, objective: Objective) -> None:
        self._objective, self._n_rows = objective, 0
        # Earlier rows have hardly any share in the running mean.
        self._first = objective.n_samples - 3 * objective.likelihood.noise_rows[1]
        self.sums: list[PearsonSums] = []

    def before_step(self, params: Parameters, batch: Batch) -> None:
        """Add the errors of the next mini-batch."""
        self._n_rows += len(batch.y)
        if self._n_rows > self._first:
            self.sums.append(self._objective.batch_pearson(params, batch))

    def left_out(self, params: Parameters) -> None:
        """Use the errors of all rows instead, since the pass left the weights unchanged."""
        self.sums = [self._objective.pearson(params)]


def of_stream(
    stream: StreamState,
    weights: Uncertain,
    objective: Objective,
    params: Parameters,
    alpha: float,
    errors: Sequence[PearsonSums],
) -> Posterior:
    """Posterior after the newest rows of a stream: running means of noise and curvature.

    The newest rows alone are too few: with batches of 10 after a fit to 1,000 rows the
    standard deviations were three to eight times too wide.

    Parameters
    ----------
    stream : StreamState that the newest rows continued from
    weights, params, alpha : as for `laplace`
    objective : Objective of the newest rows
    errors : of the mini-batches of these rows, as in `PassErrors.sums`
    """
    earlier, weight, total = stream.earlier, objective.total_weight, stream.weight
    found = _noise_of_stream(stream, objective, errors)
    if weights == "none":
        return found
    noise, n_effective = found.noise, np.zeros_like(found.noise)
    factors: list[Factor] = []
    prior: list[Array] = []
    at_inputs = weights == "all" or objective.network.is_linear
    newest_share = min(max(weight / total, min(_NEWEST_SHARE, weight / _CURVATURE_ROWS)), 1.0)
    for outputs, part, part_params in uncertain_objectives(weights, objective, params):
        groups, fixed = penalties(part, alpha)
        held = fixed.weight[groups.index] * np.mean(1 / noise[outputs])
        curvature = part.normal_equations(part_params).curvature
        newest = np.einsum("k,kij->ij", 1 / noise[outputs], curvature) * (total / weight)
        before = None
        if earlier is not None and earlier.has_precision_of(weights):
            before = earlier.data_precision(
                len(factors), part.network, outputs, at_inputs=at_inputs
            )
            ratio = float(np.mean(earlier.noise[outputs] / noise[outputs]))
            before *= total / earlier.weight * ratio
        precision = _running_precision(before, newest, newest_share)
        A = np.empty_like(precision, order="F")
        L = cholesky(partial(np.copyto, A, precision), held, A)
        factors.append(CholeskyFactor.of(L))
        prior.append(held)
        invert_triangle(L)
        unknown = held * np.einsum("ij,ij->j", L, L)
        n_effective[outputs] = np.clip(1 - unknown, 0, 1).sum() / part.n_outputs
    n_effective = np.minimum(n_effective, total)  # without a penalty all parameters count
    return found._replace(weights=weights, factors=factors, n_effective=n_effective, prior=prior)


def _noise_of_stream(
    stream: StreamState, objective: Objective, errors: Sequence[PearsonSums]
) -> Posterior:
    """The posterior of `of_stream` where no weights are uncertain: the noise, by running means.

    Parameters
    ----------
    stream, objective, errors : as for `of_stream`
    """
    earlier = stream.earlier
    mean, slow_mean, noise_part = _noise_means(stream, objective, errors)
    behind, falls = np.ones_like(mean.squares), mean.squares < slow_mean.squares
    np.divide(mean.squares, slow_mean.squares, out=behind, where=falls)
    noise = np.maximum(mean.value * np.maximum(behind, _MOST_BEHIND), LEAST_VARIANCE)
    usual = least_noise = _usual_error(earlier, objective, errors, mean.ratio)
    if earlier is not None and earlier.n_seen >= objective.likelihood.error_rows:
        least_noise = np.minimum(usual, earlier.least_noise)
    means = mean.ratio, mean.value, slow_mean.value
    running = *means, usual, least_noise, noise / noise_part
    return Posterior("none", [], noise, np.zeros_like(noise), [], *running)


def _running_precision(before: Array | None, newest: Array, share: float) -> Array:
    """Running mean of the precision that comes from data, (n_params, n_params).

    Parameters
    ----------
    before, newest : of the earlier rows, if there are any, and of the newest, both overwritten
    share : float, weight of `newest` in the result, unless training diverged on these rows
    """
    if not np.isfinite(newest).all():
        newest[...], share = 0, 0.0
    if before is not None and np.isfinite(before).all():  # not if units are beyond float64
        newest *= share
        before *= 1 - share
        newest += before
    return newest


def _noise_means(
    stream: StreamState, objective: Objective, errors: Sequence[PearsonSums]
) -> tuple[PearsonSums, PearsonSums, Array]:
    """`mean` and `slow_mean` of a `Posterior`, and the noise's part of errors of new rows.

    With gamma effective parameters fitted to n rows, squared errors are (1 - gamma / n) times
    the noise for rows among the n, as in `laplace`, and 1 / (1 - gamma / n) times the noise for
    new rows, to which the uncertainty of the weights contributes. With too few residual degrees
    of freedom, repeated rows are uninformative, and the variance of new rows is kept.

    Parameters
    ----------
    stream, objective, errors : as for `of_stream`
    """
    earlier = stream.earlier
    before_errors = objective.total_weight - sum(sums.weight for sums in errors)
    if earlier is None:
        # The first rows define their own scales, so their mean is a fitted parameter.
        so_far, informative = errors[0].weight, 1.0
        mean = errors[0] * (1 / so_far)
        mean = mean.with_squares(mean.squares * so_far / max(so_far - 1, so_far / 2))
        slow_mean, errors = mean, errors[1:]
        expected = noise_part = np.ones_like(mean.squares)
    else:
        mean, slow_mean, so_far = earlier.mean, earlier.slow_mean, earlier.n_seen
        repeated, informative = stream.rows.repeated, 1.0
        noise_part = earlier.noise_part(stream.weight)
        free = earlier.free_part(objective.network)
        if np.any(free < LEAST_FREE):
            kept = earlier.variance_of_new * noise_part / earlier.noise
            kept = repeated * kept + 1 - repeated
            mean = mean.with_squares(mean.squares * kept)
            slow_mean = slow_mean.with_squares(slow_mean.squares * kept)
            repeated, informative = 0.0, 1 - repeated
        expected = (1 - repeated) / noise_part + repeated * free
    least, most = objective.likelihood.noise_rows
    so_far += before_errors
    for sums in errors:
        so_far += sums.weight
        rows = min(max(_NOISE_PART * so_far, least), most)
        share = max(sums.weight / max(so_far - 1, so_far / 2), sums.weight / rows)
        share = informative * min(share, 1.0)
        newest = sums.with_squares(sums.squares / expected) * (1 / sums.weight)
        mean = _towards(mean, newest, share)
        slow_mean = _towards(slow_mean, mean, share)
    return mean, slow_mean, noise_part


def _towards(mean: PearsonSums, newest: PearsonSums, share: float) -> PearsonSums:
    """Running mean after the newest rows, unchanged where training diverged on them.

    Parameters
    ----------
    mean, newest : PearsonSums of weight 1, the running mean and the mean over the newest rows
    share : float, weight of `newest` in the result
    """
    updated = mean * (1 - share) + newest * share
    finite = np.isfinite(updated.squares + updated.ratio)
    squares = np.where(finite, updated.squares, mean.squares)
    return PearsonSums(squares, np.where(finite, updated.ratio, mean.ratio), 1.0)


def _usual_error(
    earlier: Earlier | None, objective: Objective, errors: Sequence[PearsonSums], ratio: Array
) -> Array:
    """Running mean of squared errors over about ten batches, with which a batch is compared.

    Parameters
    ----------
    earlier : Earlier or None, statistics of the earlier batches
    objective, errors : as for `of_stream`
    ratio : (n_outputs,), `PearsonSums.ratio` of the running mean of the noise
    """
    squares = np.sum([one.squares for one in errors], axis=0)
    newest = PearsonSums(squares / sum(one.weight for one in errors), ratio, 1.0)
    if earlier is None:
        return np.maximum(newest.value, LEAST_VARIANCE)
    weight = objective.total_weight
    least_share = min(_NEWEST_SHARE, weight / objective.likelihood.error_rows)
    share = max(weight / (earlier.n_seen + weight), least_share)
    before = earlier.usual
    squares = before.squares * (1 - share) + newest.squares * share
    mean = newest.with_squares(np.where(np.isfinite(squares), squares, before.squares))
    return np.maximum(mean.value, LEAST_VARIANCE)
