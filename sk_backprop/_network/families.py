"""The likelihoods, each a class and an entry in `LIKELIHOODS`; see `_network.likelihood`."""

from typing import Any

import numpy as np
from scipy.special import xlogy

from sk_backprop._blocks.arrays import Array
from sk_backprop._network.dispersion import LEAST_VARIANCE, PearsonSums
from sk_backprop._network.likelihood import (
    HeldOutPredictions,
    HeldOutScore,
    Likelihood,
    effective_size,
    scipy_stats,
)
from sk_backprop._network.network import ACTIVATIONS

# Upper bound on |ln f| in a held-out score, so that f^2 stays within the range of float64.
_MAX_LOG_RATE = 300.0

# Steps of the EM algorithm for the scale of a t distribution: half of the errors at 1, half at 1e6,
# take 30.
_EM_STEPS = 40

# Variance of a t distribution of y, relative to that of y, below which most values of y are equal.
_LEAST_SHARE_OF_VARIANCE = 1e-8

# Relative difference of two values of phi below which the loss stays as it is, so that a run can
# converge: 0.5 % of the scale.
_SAME_NOISE = 0.01

# Difference of two values of phi below which a lognormal loss stays as it is: 0.05 % of the mean.
_SAME_LOG_NOISE = 0.001

# Lower bound on the rate of a count in Pearson's statistic: a row with y = 1 whose rate has
# underflowed gives phi = y.
_MIN_RATE = 1e-150

# Smallest excess of the variance of a negative binomial distribution over its mean, relative to the
# mean: below it, rounding errors decide.
_LEAST_EXCESS = 1e-6


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


class StudentT(Likelihood):
    """Noise with a t distribution of nu = 4 degrees of freedom around an identity output.

    With its scale s, whose square is the noise phi,

    loss = (nu + 1) / 2 s^2 log(1 + r^2 / (nu s^2)),    r = f - y
    rho = sqrt(w) r,    root = sqrt(w),    w = (nu + 1) / (nu + r^2 / s^2)

    Gauss-Newton steps are thus those of the EM algorithm, by weighted squares, and the mean of
    w r^2 is its estimate of s^2. An error of many s has next to no weight (Lange, Little & Taylor
    1989, "Robust statistical modeling using the t distribution", section 3; nu = 4 is theirs,
    doi:10.1080/01621459.1989.10478852).

    scale : (n_outputs,) or float, s, in the solver's coordinates
    """

    loss = "student_t"
    follows_noise = True
    dof = 4.0

    def __init__(self, scale: Array | float = 1.0) -> None:
        self.scale = scale

    def at_noise(self, noise: Array) -> "StudentT":
        """As `Likelihood.at_noise`."""
        if np.allclose(noise, np.square(self.scale), rtol=_SAME_NOISE, atol=0):
            return self
        return StudentT(np.sqrt(noise)) if np.isfinite(noise).all() else self

    def of_output(self, k: int) -> "StudentT":
        """As `Likelihood.of_output`."""
        return StudentT(np.broadcast_to(self.scale, k + 1)[k])

    def _squares(self, dtype: Any) -> Array:
        """Product of nu and s^2, (n_outputs, 1)."""
        return np.asarray(self.dof * np.square(self.scale), dtype).reshape(-1, 1)

    def loss_gradient(
        self, f: Array, y: Array, w: Array | None, delta: Array, scratch: Array
    ) -> float:
        """As `Likelihood.loss_gradient`."""
        unit = self._squares(f.dtype)
        np.subtract(f, y, out=delta)
        np.square(delta, out=scratch)
        scratch /= unit
        delta /= 1 + scratch
        delta *= (self.dof + 1) / self.dof
        np.log1p(scratch, out=scratch)
        scratch *= (self.dof + 1) / (2 * self.dof) * unit
        if w is not None:
            delta *= w
            scratch *= w
        return float(scratch.sum())

    def residual_root(self, f: Array, y: Array) -> tuple[Array, Array, Array]:
        """As `Likelihood.residual_root`."""
        r, unit = f - y, self._squares(f.dtype)
        square = r**2 / unit
        root = np.sqrt((self.dof + 1) / self.dof / (1 + square))
        loss = (self.dof + 1) / (2 * self.dof) * unit * np.log1p(square)
        return loss, root * r, root

    def mean_and_variance(
        self, y: Array, unit: Array, sample_weight: Array | None, mean: Array, var: Array
    ) -> tuple[Array, Array]:
        """As `Likelihood.mean_and_variance`, those of a t distribution of y.

        Outliers do not change the unit, in which penalties and learning rates act. Where most
        values are equal, the unit is as for squared errors.
        """
        scaled = (y / unit).astype(float)
        w = np.ones(len(y)) if sample_weight is None else sample_weight
        centre, square = mean, var
        for _ in range(_EM_STEPS):
            squares = (scaled - centre) ** 2
            by_row = (self.dof + 1) / (self.dof + squares / np.maximum(square, LEAST_VARIANCE))
            square = w @ (by_row * squares) / w.sum()
            centre = w @ (by_row * scaled) / (w @ by_row)
        spread = self.dof / (self.dof - 2) * square
        varies = spread > _LEAST_SHARE_OF_VARIANCE * var
        return np.where(varies, centre, mean), np.where(varies, np.minimum(spread, var), var)

    def pearson_terms(self, f: Array, y: Array) -> tuple[Array, Array]:
        """As `Likelihood.pearson_terms`, by w (y - f)^2."""
        return np.square(self.residual_root(f, y)[1]), np.zeros(f.shape)

    def row_weights(self, squares: Array, w: Array) -> Array:
        """As `Likelihood.row_weights`, by the most likely scale of the errors."""
        squares = np.maximum(squares, 0)
        unit = np.maximum(self._noise_of_squares(squares, w), LEAST_VARIANCE)
        return np.asarray((self.dof + 1) / (self.dof + squares / unit))

    @property
    def of_validation(self) -> Likelihood:
        """As `Likelihood.of_validation`: of unit scale."""
        return StudentT()

    def noise_of(self, f: Array, y: Array, w: Array) -> Array:
        """As `Likelihood.noise_of`, by the EM algorithm."""
        return self._noise_of_squares(np.square(f - y).T, w)

    def _noise_of_squares(self, squares: Array, w: Array) -> Array:
        share = w / w.sum()
        noise = share @ squares
        for _ in range(_EM_STEPS):
            unit = np.maximum(noise, LEAST_VARIANCE)
            noise = share @ ((self.dof + 1) * squares / (self.dof + squares / unit))
        return np.asarray(noise)

    def _minus_log_density(self, z2: Array) -> Array:
        return np.asarray((self.dof + 1) / 2 * np.log1p(np.maximum(z2, 0) / self.dof))


class _Exponential(Likelihood):
    """Targets around an exponential output: y is divided by its mean, and never shifted."""

    output_activation = "exp"
    min_target = 0.0
    additive = False
    prefers_strong_penalty = True
    needs_bounded_steps = True

    def draw(
        self, f: Array, mean: Array, std: Array, dof: Array, rng: np.random.RandomState
    ) -> Array:
        """As `Likelihood.draw`, with a standard deviation proportional to f."""
        f = np.maximum(f, _MIN_RATE)
        noise = self.distribution(f, std * (f / np.maximum(mean, _MIN_RATE)), dof)
        return np.asarray(noise.rvs(f.shape, random_state=rng))

    def location_scale(self, mean: Array, spread: Array) -> tuple[Array | float, Array | float]:
        """As `Likelihood.location_scale`."""
        return 0.0, np.where(mean > 0, mean, 1.0)

    def rescaled_output(self, factor: Array, shift: Array) -> tuple[Array, Array]:
        """As `Likelihood.rescaled_output`: the factor of y is a shift of ln(f)."""
        return np.ones_like(factor), np.log(factor)

    def information(self, f: Array) -> Array:
        """Second derivative of the mean loss by ln f, of the shape of f."""
        return np.ones_like(f)

    def score_held_out(self, rows: HeldOutPredictions) -> HeldOutScore:
        """As `Likelihood.score_held_out`, by the deviance, twice the loss.

        A Gaussian likelihood with variance proportional to the mean f is unbounded for f near
        0: with a mean of 0.05 it selected networks that predicted 1e16.

        f is the exponential of the networks' mean ln f. If ln f has variance s^2, the deviance
        is larger by `information` times s^2, to second order; at most half of it is attributed to
        this.
        """
        y, w = rows.y, rows.w
        logs = np.clip(np.array(rows.z), -_MAX_LOG_RATE, _MAX_LOG_RATE)
        f, m = np.exp(logs.mean(axis=0)), len(logs)
        deviances = 2 * self.residual_root(f, y)[0]
        if m > 1:
            fewer = 1 / m - 1 / rows.n_networks
            excess = fewer * self.information(f) * np.var(logs, axis=0, ddof=1)
            deviances -= np.minimum(excess, deviances / 2)
        inflation = [
            self.inflation(variance, noise, f)
            for variance, noise in zip(rows.variances, rows.noises)
        ]
        terms = self.pearson_terms(f.T, y.T)
        pearson = PearsonSums.of(*terms, w[None], np.mean(inflation, axis=0).T)
        share, weight = w / w.sum(), float(w.sum())
        mean = np.maximum(share @ deviances, 1e-12)
        # E[x^2] / E[x]^2 is 3 for squared Gaussian errors, and more for deviances of rare counts.
        kurtosis = float((share @ deviances**2 / mean**2).max())
        n_equivalent = effective_size(w) * 3 / max(3.0, kurtosis)
        return HeldOutScore(weight, n_equivalent, None, weight * mean, pearson)


class Poisson(_Exponential):
    """Counts of variance phi f around an exponential output.

    loss = y log(y / f) - y + f, half the deviance;    rho = (f - y) / sqrt(f),    s = sqrt(f),
    the square root of the Fisher information.
    """

    loss = "poisson"
    noise_power = 1
    counts = True
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
        return xlogy(y, y / _positive(f)) - y + f, (f - y) / root, root

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
        stats = scipy_stats()
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

    def constant_dispersion(
        self, mean: Array, variance: Array, varies: Array, unit: Array
    ) -> Array:
        """As `Likelihood.constant_dispersion`: variance / mean."""
        varies = varies & (mean > 0)
        ratio = np.divide(variance, mean, out=np.ones(len(varies)), where=varies)
        return np.asarray(np.where(varies, ratio * unit, 1.0))

    def information(self, f: Array) -> Array:
        """As `_Exponential.information`."""
        return f


class _Positive(_Exponential):
    """Targets above 0 whose standard deviation is proportional to their mean."""

    positive = True
    noise_power = 0

    def log_jacobian(self, y: Array, w: Array) -> float:
        """As `Likelihood.log_jacobian`."""
        return float(np.sum(w @ np.log(_positive(y))))

    def constant_dispersion(
        self, mean: Array, variance: Array, varies: Array, unit: Array
    ) -> Array:
        """As `Likelihood.constant_dispersion`: variance / mean^2."""
        varies = varies & (mean > 0)
        return np.asarray(np.divide(variance, mean**2, out=np.ones(len(varies)), where=varies))


class Gamma(_Positive):
    """Positive targets of variance phi f^2 around an exponential output.

    loss = y / f - 1 - log(y / f), half the deviance;    rho = 1 - y / f,    s = 1,
    the square root of the Fisher information.
    """

    loss = "gamma"

    def loss_gradient(
        self, f: Array, y: Array, w: Array | None, delta: Array, scratch: Array
    ) -> float:
        """As `Likelihood.loss_gradient`."""
        np.divide(y, _positive(f), out=scratch)
        np.subtract(1, scratch, out=delta)
        scratch -= 1 + np.log(_positive(scratch))
        if w is not None:
            delta *= w
            scratch *= w
        return float(scratch.sum())

    def residual_root(self, f: Array, y: Array) -> tuple[Array, Array, Array]:
        """As `Likelihood.residual_root`."""
        ratio = y / _positive(f)
        return ratio - 1 - np.log(_positive(ratio)), 1 - ratio, np.ones_like(f)

    def pearson_terms(self, f: Array, y: Array) -> tuple[Array, Array]:
        """As `Likelihood.pearson_terms`, with V = f^2, and without a correction for rare counts."""
        ratio = y / np.maximum(f.astype(float, copy=False), _MIN_RATE)
        return np.square(ratio - 1), np.zeros(f.shape)

    def noise_variance(self, noise: Array, f: Array) -> Array:
        """As `Likelihood.noise_variance`, with V = f^2."""
        return np.asarray(noise * f**2)

    def distribution(self, mean: Array, std: Array, dof: Array) -> Any:
        """As `Likelihood.distribution`: a gamma distribution with these moments."""
        stats = scipy_stats()
        return stats.gamma((mean / std) ** 2, scale=std**2 / mean)


class LogNormal(_Positive):
    """Positive targets whose logarithm has Gaussian noise of variance phi; f is the mean of y.

    loss = rho^2 / 2,    rho = ln f - phi / 2 - ln y,    s = 1

    noise : (n_outputs,) or float, phi
    """

    loss = "lognormal"
    follows_noise = True

    def __init__(self, noise: Array | float = 0.0) -> None:
        self.noise = noise

    def at_noise(self, noise: Array) -> "LogNormal":
        """As `Likelihood.at_noise`."""
        close = np.allclose(noise, self.noise, rtol=0, atol=_SAME_LOG_NOISE)
        return self if close or not np.isfinite(noise).all() else LogNormal(noise)

    def of_output(self, k: int) -> "LogNormal":
        """As `Likelihood.of_output`."""
        return LogNormal(np.broadcast_to(self.noise, k + 1)[k])

    def noise_of(self, f: Array, y: Array, w: Array) -> Array:
        """As `Likelihood.noise_of`."""
        ratio, share = np.log(_positive(f) / _positive(y)), w / w.sum()
        return np.asarray(np.square(ratio - (ratio @ share)[:, None]) @ share)

    def loss_gradient(
        self, f: Array, y: Array, w: Array | None, delta: Array, scratch: Array
    ) -> float:
        """As `Likelihood.loss_gradient`."""
        losses, delta[...], _ = self.residual_root(f, y)
        if w is not None:
            delta *= w
            losses *= w
        return float(losses.sum())

    def residual_root(self, f: Array, y: Array) -> tuple[Array, Array, Array]:
        """As `Likelihood.residual_root`."""
        shift = np.asarray(0.5 * np.asarray(self.noise), f.dtype).reshape(-1, 1)
        rho = np.log(_positive(f)) - np.log(_positive(y)) - shift
        return 0.5 * rho**2, rho, np.ones_like(f)

    def pearson_terms(self, f: Array, y: Array) -> tuple[Array, Array]:
        """As `Likelihood.pearson_terms`, by rho^2."""
        return np.square(self.residual_root(f, y)[1]), np.zeros(f.shape)

    def noise_variance(self, noise: Array, f: Array) -> Array:
        """As `Likelihood.noise_variance`: f^2 (exp(phi) - 1)."""
        return np.asarray(np.expm1(noise) * f**2)

    def inflation(self, variance: Array, noise: Array, f: Array) -> Array:
        """As `Likelihood.inflation`, of ln f relative to ln y."""
        return np.asarray(variance / np.maximum(f**2 * noise, LEAST_VARIANCE))

    def distribution(self, mean: Array, std: Array, dof: Array) -> Any:
        """As `Likelihood.distribution`: a lognormal one with these moments."""
        stats = scipy_stats()
        variance = np.log1p((std / mean) ** 2)
        return stats.lognorm(np.sqrt(variance), scale=mean * np.exp(-variance / 2))

    def constant_dispersion(
        self, mean: Array, variance: Array, varies: Array, unit: Array
    ) -> Array:
        """As `Likelihood.constant_dispersion`: log(1 + variance / mean^2)."""
        ratio = super().constant_dispersion(mean, variance, varies, unit)
        return np.where(varies & (mean > 0), np.log1p(ratio), 1.0)

    def score_held_out(self, rows: HeldOutPredictions) -> HeldOutScore:
        """As `Likelihood.score_held_out`, that of Gaussian noise around ln f."""
        logs = [np.clip(one, -_MAX_LOG_RATE, _MAX_LOG_RATE) for one in rows.z]
        relative = [variance * np.exp(-2 * one) for variance, one in zip(rows.variances, logs)]
        target = np.log(_positive(rows.y)) + np.mean(rows.noises, axis=0) / 2
        return SquaredError().score_held_out(rows._replace(z=logs, variances=relative, y=target))


def _positive(f: Array) -> Array:
    """f, or the smallest positive normal number where f has underflowed to 0."""
    return np.asarray(np.maximum(f, np.finfo(f.dtype).tiny))


# By the parameters `loss` and `output_activation` of the estimator.
LIKELIHOODS: dict[tuple[str, str], Likelihood] = {
    likelihood.key: likelihood
    for likelihood in (
        SquaredError(),
        LogisticSquaredError(),
        Poisson(),
        Gamma(),
        LogNormal(),
        StudentT(),
    )
}
