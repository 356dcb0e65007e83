"""Likelihoods: the distribution of y, given the outputs of the network.

A `Likelihood` owns everything in which losses differ: the output units, the loss and its
derivatives, the variance function of the noise, the range of y and how it may be scaled, the
estimate of the dispersion, and the score of held-out rows. No other code depends on the loss.

Notation: z is the input of an output unit and f = g(z) its output, with g the output
activation. The noise has the variance phi V(f).

To add a likelihood, write a class and enter an instance of it in `LIKELIHOODS`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import xlogy

from sk_backprop._blocks.arrays import Array
from sk_backprop._network.dispersion import LEAST_VARIANCE, PearsonSums
from sk_backprop._network.network import ACTIVATIONS

# Upper bound on the squared error of a held-out row, in units of its variance. Without it, one
# image in a thousand, with ink where there was none in training, selected the linear model on
# scikit-learn's digits (RMSE 1.8; networks have 0.8).
_MAX_SQUARED_Z = 36.0

# Lower bound on the noise, as a fraction of the mean squared error of held-out rows.
_MIN_NOISE_FRACTION = 0.1

# Upper bound on |ln f| in a held-out score, so that f^2 stays within the range of float64.
_MAX_LOG_RATE = 300.0

# Lower bound on the rate of a count in Pearson's statistic: a row with y = 1 whose rate has
# underflowed gives phi = y.
_MIN_RATE = 1e-150

# Smallest excess of the variance of a negative binomial distribution over its mean, relative to the
# mean: below it, rounding errors decide.
_LEAST_EXCESS = 1e-6


class HeldOutScore(NamedTuple):
    """How well held-out rows are predicted: sums over these rows.

    weight : float, total weight of the rows
    n_equivalent : float, number of rows with Gaussian noise and equal weights whose mean squared
        error would be as certain
    neg_log_likelihood : float or None, under the predictive distributions of the networks
    errors : (n_outputs,), squared errors, or the deviance
    pearson : PearsonSums, from which the noise is estimated
    """

    weight: float
    n_equivalent: float
    neg_log_likelihood: float | None
    errors: Array
    pearson: PearsonSums


class Likelihood(ABC):
    """Base class of likelihoods; its defaults are those of y = f + noise, with V = 1.

    A subclass must define `loss_gradient` and `residual_root`.

    Attributes
    ----------
    loss, output_parameter : str, values of the estimator's parameters `loss` and
        `output_activation` that select it
    output_activation : str, of the output units, a name in `_network.network.ACTIVATIONS`
    min_target : float, smallest y that f can reach
    max_target_is_unit : bool, whether the largest y that f can reach is the unit of y, which
        then cannot grow without changing the function
    noise_power : int, phi has the unit of y to this power
    counts : bool, whether y counts events, so that rows with y = 0 carry little information
    sensitive_to_outliers : bool, whether one row may account for nearly all of the loss
    prefers_strong_penalty : bool, whether too weak a penalty does more harm than too strong a
        penalty: an exponential output with steep slopes has no bound
    needs_bounded_steps : bool, whether a single row may have a gradient many times the usual one
    noise_rows : (float, float), in a stream, minimum and maximum window of the running mean of
        the noise, in rows
    error_rows : float, in a stream, minimum window of the running mean of the loss, in rows
    """

    loss: str
    output_parameter: str = "identity"
    output_activation: str = "identity"
    min_target: float = -math.inf
    max_target_is_unit: bool = False
    noise_power: int = 2
    counts: bool = False
    sensitive_to_outliers: bool = False
    prefers_strong_penalty: bool = False
    needs_bounded_steps: bool = False
    # Errors fall fast at first; 300 rows give the standard deviation to 3 %.
    noise_rows: tuple[float, float] = (50.0, 300.0)
    error_rows: float = 100.0

    @property
    def key(self) -> tuple[str, str]:
        """Values of the estimator's parameters `loss` and `output_activation`."""
        return self.loss, self.output_parameter

    # --- the loss ---

    @abstractmethod
    def loss_gradient(
        self, f: Array, y: Array, w: Array | None, delta: Array, scratch: Array
    ) -> float:
        """Sum of the weighted losses; their derivatives with respect to z go to `delta`.

        Parameters
        ----------
        f, y : (n_outputs, n_rows), outputs and targets
        w : (1, n_rows), weights, or None for ones
        delta, scratch : (n_outputs, n_rows), overwritten
        """

    @abstractmethod
    def residual_root(self, f: Array, y: Array) -> tuple[Array, Array, Array]:
        """Loss, residual rho and root s of each row, for Gauss-Newton: (n_outputs, n_rows).

        dloss/dz = s rho, and the second derivative is approximated by s^2.
        """

    # --- the noise ---

    def pearson_terms(self, f: Array, y: Array) -> tuple[Array, Array]:
        """(y - f)^2 / V and V' (y - f) / V of each row, (n_outputs, n_rows)."""
        return np.square(f - y), np.zeros(f.shape)

    def noise_variance(self, noise: Array, f: Array) -> Array:
        """Variance phi V(f) of an observation, (n_rows, n_outputs).

        noise : (n_outputs,), phi
        """
        return np.asarray(noise * np.ones_like(f))

    def distribution(self, mean: Array, std: Array, dof: Array) -> Any:
        """The distribution of new observations, a frozen one of `scipy.stats`.

        The default is a t distribution, which is normal in the limit.

        Parameters
        ----------
        mean, std : (n_rows, n_outputs) or (n_rows,)
        dof : (n_outputs,) or (), degrees of freedom above 2; all inf for a normal distribution
        """
        from scipy import stats  # not needed for training, and slow to import

        if np.isinf(dof).all():
            return stats.norm(mean, std)
        return stats.t(dof, mean, std * np.sqrt((dof - 2) / dof))

    def draw(
        self, f: Array, mean: Array, std: Array, dof: Array, rng: np.random.RandomState
    ) -> Array:
        """Draw observations around outputs f, (n_rows, n_outputs, n_draws).

        Parameters
        ----------
        f : (n_rows, n_outputs, n_draws)
        mean, std : (n_rows, n_outputs, 1), mean of f, and standard deviation of the noise there
        dof : (n_outputs, 1), degrees of freedom above 2 of the noise
        rng : RandomState
        """
        noise = self.distribution(np.zeros_like(f), std, dof)
        return np.asarray(f + noise.rvs(f.shape, random_state=rng))

    def inflation(self, variance: Array, noise: Array, f: Array) -> Array:
        """Variance of f relative to that of the noise, (n_rows, n_outputs).

        Parameters
        ----------
        variance : (n_rows, n_outputs), of f
        noise : (n_outputs,), phi
        f : (n_rows, n_outputs)
        """
        return np.asarray(variance / np.maximum(self.noise_variance(noise, f), LEAST_VARIANCE))

    def density_fraction(self, y: Array, sample_weight: Array | None) -> Array:
        """Fraction of the total weight in rows whose y has a density: (n_outputs,)."""
        return np.ones(y.shape[1])

    # --- the coordinates of y ---

    def location_scale(self, mean: Array, spread: Array) -> tuple[Array | float, Array | float]:
        """Location and scale of y for a solver, given its mean and spread, (n_outputs,)."""
        return mean, spread

    def rescaled_output(self, factor: Array, shift: Array) -> tuple[Array, Array]:
        """The factor and the shift of z if y becomes factor * y + shift: (n_outputs,) each."""
        return factor, shift

    def constant_dispersion(
        self, mean: Array, variance: Array, varies: Array, unit: Array
    ) -> Array:
        """Dispersion phi of y around a constant, in the solver's coordinates: (n_outputs,).

        The default, 1, holds where the solver's scale is the spread of y.

        Parameters
        ----------
        mean, variance : (n_outputs,), of y in some unit
        varies : (n_outputs,) bool, whether y varies
        unit : (n_outputs,), that unit in the solver's scale
        """
        return np.ones(len(mean))

    # --- model selection ---

    def score_held_out(
        self,
        z: Sequence[Array],
        variances: Sequence[Array],
        noises: Sequence[Array],
        y: Array,
        sample_weight: Array | None,
        n_networks: int,
    ) -> HeldOutScore:
        """How well the average of `n_networks` networks would predict rows they have not seen.

        If the predictions of networks have variance s^2, the average of m has a squared error
        that is on average larger by (1/m - 1/K) s^2 than that of K. Architectures are compared
        as averages of K = `n_networks`, which favours larger ones than m = 2 does.

        Parameters
        ----------
        z : for each of m networks, (n_rows, n_outputs), which may be overwritten
        variances : for each, (n_rows, n_outputs), of f due to the uncertainty of the weights
        noises : for each, (n_outputs,), phi
        y : (n_rows, n_outputs)
        sample_weight : (n_rows,) or None for ones
        n_networks : int, K
        """
        apply = ACTIVATIONS[self.output_activation].apply
        means, totals, inflation = [], [], []
        for f, variance, noise in zip(z, variances, noises):
            apply(f)
            means.append(f)
            inflation.append(self.inflation(variance, noise, f))
            totals.append(self.noise_variance(noise, f) * (1 + inflation[-1]))
        m, share = len(means), 1 - 1 / n_networks
        spread = np.var(means, axis=0, ddof=1) if m > 1 else np.zeros_like(y)
        total = np.mean(totals, axis=0) + share * spread
        squares = (y - np.mean(means, axis=0)) ** 2 - (1 / m - 1 / n_networks) * spread
        w = np.ones(len(squares)) if sample_weight is None else sample_weight
        z2 = np.minimum(squares / total, _MAX_SQUARED_Z)
        neg_log_likelihood = 0.5 * (np.log(total) + z2).sum(axis=1)
        # The correction may exceed a sum that is close to zero.
        errors, weight = np.maximum(w @ squares, 1e-12 * w.sum()), float(w.sum())
        # What the networks' uncertainty and their spread do not account for is noise.
        unexplained = w @ ((squares - share * spread) / (1 + np.mean(inflation, axis=0)))
        unexplained = np.maximum(unexplained, _MIN_NOISE_FRACTION * errors)
        pearson = PearsonSums(unexplained, np.zeros_like(errors), weight)
        return HeldOutScore(
            weight, effective_size(w), float(w @ neg_log_likelihood), errors, pearson
        )


def effective_size(w: Array) -> float:
    """Effective sample size of rows with weights w, (n_rows,) (Kish 1965)."""
    relative = w / w.max()
    return float(relative.sum() ** 2 / np.dot(relative, relative))


class SquaredError(Likelihood):
    """Gaussian noise of constant variance around an identity output.

    loss = 1/2 (f - y)^2;    rho = f - y,    s = 1
    """

    loss = "squared_error"
    sensitive_to_outliers = True

    def loss_gradient(
        self, f: Array, y: Array, w: Array | None, delta: Array, scratch: Array
    ) -> float:
        """As `Likelihood.loss_gradient`."""
        residual = np.subtract(f, y, out=delta if w is None else scratch)
        if w is not None:
            np.multiply(residual, w, out=delta)
        return 0.5 * float(np.vdot(residual, delta))

    def residual_root(self, f: Array, y: Array) -> tuple[Array, Array, Array]:
        """As `Likelihood.residual_root`."""
        rho = f - y
        return 0.5 * rho * rho, rho, np.ones_like(rho)


class LogisticSquaredError(SquaredError):
    """Gaussian noise of constant variance around a logistic output: 0 < f < 1, in the unit of y.

    loss = 1/2 (f - y)^2;    rho = f - y,    s = f (1 - f)
    """

    output_parameter = output_activation = "logistic"
    min_target = 0.0
    max_target_is_unit = True

    def loss_gradient(
        self, f: Array, y: Array, w: Array | None, delta: Array, scratch: Array
    ) -> float:
        """As `Likelihood.loss_gradient`."""
        loss = super().loss_gradient(f, y, w, delta, scratch)
        ACTIVATIONS["logistic"].times_slope(delta, f, scratch)
        return loss

    def residual_root(self, f: Array, y: Array) -> tuple[Array, Array, Array]:
        """As `Likelihood.residual_root`."""
        rho = f - y
        return 0.5 * rho * rho, rho, f * (1 - f)

    def location_scale(self, mean: Array, spread: Array) -> tuple[Array | float, Array | float]:
        """As `Likelihood.location_scale`: y stays as it is, in [0, 1]."""
        return 0.0, 1.0

    def rescaled_output(self, factor: Array, shift: Array) -> tuple[Array, Array]:
        """As `Likelihood.rescaled_output`: no weights change the range of the output."""
        return np.ones_like(factor), np.zeros_like(factor)


class Poisson(Likelihood):
    """Counts of variance phi f around an exponential output.

    loss = y log(y / f) - y + f, half the deviance;    rho = (f - y) / sqrt(f),    s = sqrt(f),
    the square root of the Fisher information.
    """

    loss = "poisson"
    output_activation = "exp"
    min_target = 0.0
    noise_power = 1
    counts = True
    prefers_strong_penalty = True
    needs_bounded_steps = True
    noise_rows = (300.0, 1000.0)  # enough for a few rare counts above 0
    error_rows = 1000.0

    def loss_gradient(
        self, f: Array, y: Array, w: Array | None, delta: Array, scratch: Array
    ) -> float:
        """As `Likelihood.loss_gradient`."""
        # With f = exp(z), dLoss/dz = f - y: no division, whatever f is.
        # Where f has underflowed to 0, y / f is 0 / 0 or infinite: use the smallest f instead.
        np.maximum(f, np.finfo(f.dtype).tiny, out=scratch)
        np.divide(y, scratch, out=scratch)
        xlogy(y, scratch, out=scratch)
        np.subtract(f, y, out=delta)
        scratch += delta
        if w is None:
            return float(scratch.sum())
        delta *= w
        scratch *= w
        return float(scratch.sum())

    def residual_root(self, f: Array, y: Array) -> tuple[Array, Array, Array]:
        """As `Likelihood.residual_root`."""
        root = np.sqrt(_positive(f))
        return 0.5 * _poisson_deviance(f, y), (f - y) / root, root

    def pearson_terms(self, f: Array, y: Array) -> tuple[Array, Array]:
        """As `Likelihood.pearson_terms`, with V = f."""
        f = np.maximum(f.astype(float, copy=False), _MIN_RATE)
        return np.square(f - y) / f, y / f - 1

    def noise_variance(self, noise: Array, f: Array) -> Array:
        """As `Likelihood.noise_variance`, with V = f."""
        return np.asarray(noise * f)

    def distribution(self, mean: Array, std: Array, dof: Array) -> Any:
        """As `Likelihood.distribution`: negative binomial, or Poisson where that is not wider.

        The variance of a negative binomial is larger than its mean. Counts that vary less are
        taken for Poisson's, and values of y that are not whole numbers have a mean, a variance and
        quantiles, but no probability.
        """
        from scipy import stats

        excess = std**2 - mean
        p = np.where(excess > _LEAST_EXCESS * mean, mean / std**2, 1.0)
        if (p == 1.0).all():
            return stats.poisson(mean)
        p = np.minimum(p, 1 / (1 + _LEAST_EXCESS))
        return stats.nbinom(mean * p / (1 - p), p)

    def draw(
        self, f: Array, mean: Array, std: Array, dof: Array, rng: np.random.RandomState
    ) -> Array:
        """As `Likelihood.draw`: counts, of variance proportional to f."""
        f = np.maximum(f, _MIN_RATE)
        std = std * np.sqrt(f / np.maximum(mean, _MIN_RATE))
        return np.asarray(self.distribution(f, std, dof).rvs(f.shape, random_state=rng), float)

    def density_fraction(self, y: Array, sample_weight: Array | None) -> Array:
        """As `Likelihood.density_fraction`.

        A count of 0 has a probability, exp(-f / phi), which does not grow as phi shrinks.
        """
        w = np.ones(len(y)) if sample_weight is None else sample_weight / sample_weight.max()
        return np.asarray(w @ (y > 0) / w.sum(), dtype=float)

    def location_scale(self, mean: Array, spread: Array) -> tuple[Array | float, Array | float]:
        """As `Likelihood.location_scale`: counts are divided by their mean, and never shifted."""
        return 0.0, np.where(mean > 0, mean, 1.0)

    def rescaled_output(self, factor: Array, shift: Array) -> tuple[Array, Array]:
        """As `Likelihood.rescaled_output`: the factor of y is a shift of ln(f)."""
        return np.ones_like(factor), np.log(factor)

    def constant_dispersion(
        self, mean: Array, variance: Array, varies: Array, unit: Array
    ) -> Array:
        """As `Likelihood.constant_dispersion`: variance / mean."""
        varies = varies & (mean > 0)
        ratio = np.divide(variance, mean, out=np.ones(len(varies)), where=varies)
        return np.asarray(np.where(varies, ratio * unit, 1.0))

    def score_held_out(
        self,
        z: Sequence[Array],
        variances: Sequence[Array],
        noises: Sequence[Array],
        y: Array,
        sample_weight: Array | None,
        n_networks: int,
    ) -> HeldOutScore:
        """As `Likelihood.score_held_out`, by the deviance.

        A Gaussian likelihood with variance proportional to the mean f is unbounded for f near
        0: with a mean of 0.05 it selected networks that predicted 1e16.

        f is the exponential of the networks' mean ln f. If ln f has variance s^2, the deviance
        is larger by f s^2, to second order; at most half of it is attributed to this.
        """
        logs = np.clip(np.array(z), -_MAX_LOG_RATE, _MAX_LOG_RATE)
        f, m = np.exp(logs.mean(axis=0)), len(logs)
        deviance = _poisson_deviance(f, y)
        if m > 1:
            excess = (1 / m - 1 / n_networks) * f * np.var(logs, axis=0, ddof=1)
            deviance -= np.minimum(excess, deviance / 2)
        w = np.ones(len(f)) if sample_weight is None else sample_weight
        inflation = [
            self.inflation(variance, noise, f) for variance, noise in zip(variances, noises)
        ]
        terms = self.pearson_terms(f.T, y.T)
        pearson = PearsonSums.of(*terms, w[None], np.mean(inflation, axis=0).T)
        share, weight = w / w.sum(), float(w.sum())
        mean = np.maximum(share @ deviance, 1e-12)
        # E[x^2] / E[x]^2 is 3 for squared Gaussian errors, and more for deviances of rare counts.
        kurtosis = float((share @ deviance**2 / mean**2).max())
        n_equivalent = effective_size(w) * 3 / max(3.0, kurtosis)
        return HeldOutScore(weight, n_equivalent, None, weight * mean, pearson)


def _poisson_deviance(f: Array, y: Array) -> Array:
    """Deviance of each count y from its mean f, arrays of one shape."""
    return np.asarray(2 * (xlogy(y, y / _positive(f)) - y + f))


def _positive(f: Array) -> Array:
    """f, or the smallest positive normal number where f has underflowed to 0."""
    return np.asarray(np.maximum(f, np.finfo(f.dtype).tiny))


# By the parameters `loss` and `output_activation` of the estimator.
LIKELIHOODS: dict[tuple[str, str], Likelihood] = {
    likelihood.key: likelihood for likelihood in (SquaredError(), LogisticSquaredError(), Poisson())
}
