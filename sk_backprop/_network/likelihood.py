"""Likelihoods: the distribution of y, given the outputs of the network.

A `Likelihood` owns everything in which losses differ: the output units, the loss and its
derivatives, the variance function of the noise, the range of y and how it may be scaled, the
estimate of the dispersion, and the score of held-out rows. No other code depends on the loss.

Notation: z is the input of an output unit and f = g(z) its output, with g the output
activation. The noise has the variance phi V(f).

To add a likelihood, write a class and enter an instance of it in `_network.families.LIKELIHOODS`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.threads import no_forks
from sk_backprop._network.dispersion import LEAST_VARIANCE, PearsonSums
from sk_backprop._network.network import ACTIVATIONS

# Upper bound on the squared error of a held-out row, in units of its variance. Without it, one
# image in a thousand, with ink where there was none in training, selected the linear model on
# scikit-learn's digits (RMSE 1.8; networks have 0.8).
_MAX_SQUARED_Z = 36.0

# Lower bound on the noise, as a fraction of the mean squared error of held-out rows.
_MIN_NOISE_FRACTION = 0.1


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


class HeldOutPredictions(NamedTuple):
    """Predictions of rows that networks have not seen.

    z : for each of m networks, (n_rows, n_outputs), which may be overwritten
    variances : for each, (n_rows, n_outputs), of f due to the uncertainty of the weights
    noises : for each, (n_outputs,), phi
    y : (n_rows, n_outputs)
    sample_weight : (n_rows,) or None for ones
    n_networks : int, K, number of networks that would be averaged in the end
    """

    z: Sequence[Array]
    variances: Sequence[Array]
    noises: Sequence[Array]
    y: Array
    sample_weight: Array | None
    n_networks: int

    @property
    def w(self) -> Array:
        """Weights of the rows, (n_rows,)."""
        return np.ones(len(self.y)) if self.sample_weight is None else self.sample_weight


class Likelihood(ABC):
    """Base class of likelihoods; its defaults are those of y = f + noise, with V = 1.

    A subclass must define `loss_gradient` and `residual_root`.

    Attributes
    ----------
    loss, output_parameter : str, values of the estimator's parameters `loss` and
        `output_activation` that select it
    output_activation : str, of the output units, a name in `_network.network.ACTIVATIONS`
    min_target : float, smallest y that f can reach
    positive : bool, whether y must be above 0
    max_target_is_unit : bool, whether the largest y that f can reach is the unit of y, which
        then cannot grow without changing the function
    noise_power : int, phi has the unit of y to this power
    additive : bool, whether y is f plus noise whose distribution does not depend on f, so that
        errors on rows that were left out can calibrate it
    counts : bool, whether y counts events, so that rows with y = 0 carry little information
    sensitive_to_outliers : bool, whether one row may account for nearly all of the loss
    prefers_strong_penalty : bool, whether too weak a penalty does more harm than too strong a
        penalty: an exponential output with steep slopes has no bound
    needs_bounded_steps : bool, whether a single row may have a gradient many times the usual one
    follows_noise : bool, whether the loss depends on the noise, as `at_noise` sets it
    dof : float, degrees of freedom of the noise, a t distribution; inf if it is normal
    noise_rows : (float, float), in a stream, minimum and maximum window of the running mean of
        the noise, in rows
    error_rows : float, in a stream, minimum window of the running mean of the loss, in rows
    """

    loss: str
    output_parameter: str = "identity"
    output_activation: str = "identity"
    min_target: float = -math.inf
    positive: bool = False
    max_target_is_unit: bool = False
    noise_power: int = 2
    additive: bool = True
    counts: bool = False
    sensitive_to_outliers: bool = False
    prefers_strong_penalty: bool = False
    needs_bounded_steps: bool = False
    follows_noise: bool = False
    dof: float = math.inf
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

    def at_noise(self, noise: Array) -> "Likelihood":
        """The likelihood with the noise phi, (n_outputs,), where the loss depends on it.

        It is this one where the loss does not depend on the noise, or the noise hardly differs.
        """
        return self

    @property
    def of_validation(self) -> "Likelihood":
        """The likelihood whose losses are comparable between iterations with different noise."""
        return self

    def noise_of(self, f: Array, y: Array, w: Array) -> Array:
        """Most likely phi, given the outputs, (n_outputs,); by default Pearson's estimate.

        Parameters
        ----------
        f, y : (n_outputs, n_rows), outputs and targets
        w : (n_rows,), weights
        """
        sums = PearsonSums.of(*self.pearson_terms(f, y), w[None])
        return np.asarray(sums.value / sums.weight)

    def of_output(self, k: int) -> "Likelihood":
        """The likelihood of output k alone."""
        return self

    def row_weights(self, squares: Array, w: Array) -> Array | None:
        """Weight of each row by its squared error, (n_rows, n_outputs), or None for ones.

        Parameters
        ----------
        squares : (n_rows, n_outputs), squared errors
        w : (n_rows,), weights
        """
        return None

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
        stats = scipy_stats()
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

    def log_jacobian(self, y: Array, w: Array) -> float:
        """Sum over rows of the logarithm of V(y)^(1/2), for the density of y in the evidence.

        y : (n_rows, n_outputs); w : (n_rows,), weights
        """
        return 0.0

    def density_fraction(self, y: Array, sample_weight: Array | None) -> Array:
        """Fraction of the total weight in rows whose y has a density: (n_outputs,)."""
        return np.ones(y.shape[1])

    # --- the coordinates of y ---

    def mean_and_variance(
        self, y: Array, unit: Array, sample_weight: Array | None, mean: Array, var: Array
    ) -> tuple[Array, Array]:
        """The mean and the variance of y / unit that its coordinates depend on.

        Parameters
        ----------
        y : (n_rows, n_outputs); unit : (n_outputs,)
        sample_weight : (n_rows,) or None for ones
        mean, var : (n_outputs,), of y / unit
        """
        return mean, var

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

    def score_held_out(self, rows: HeldOutPredictions) -> HeldOutScore:
        """How well the average of K networks would predict rows they have not seen.

        If the predictions of networks have variance s^2, the average of m has a squared error
        that is on average larger by (1/m - 1/K) s^2 than that of K. Architectures are compared
        as averages of K, which favours larger ones than m = 2 does.
        """
        y, w, n_networks = rows.y, rows.w, rows.n_networks
        apply = ACTIVATIONS[self.output_activation].apply
        means, totals, inflation = [], [], []
        for f, variance, noise in zip(rows.z, rows.variances, rows.noises):
            apply(f)
            means.append(f)
            inflation.append(self.inflation(variance, noise, f))
            totals.append(self.noise_variance(noise, f) * (1 + inflation[-1]))
        m, share = len(means), 1 - 1 / n_networks
        spread = np.var(means, axis=0, ddof=1) if m > 1 else np.zeros_like(y)
        total = np.mean(totals, axis=0) + share * spread
        squares = (y - np.mean(means, axis=0)) ** 2 - (1 / m - 1 / n_networks) * spread
        neg_log_likelihood = (0.5 * np.log(total) + self._minus_log_density(squares / total)).sum(1)
        # What the networks' uncertainty and their spread do not account for is noise.
        noisy = (squares - share * spread) / (1 + np.mean(inflation, axis=0))
        weight, by_row = float(w.sum()), self.row_weights(squares, w)
        if by_row is not None:
            squares, noisy = by_row * squares, by_row * noisy
        # The correction may exceed a sum that is close to zero.
        errors = np.maximum(w @ squares, 1e-12 * weight)
        unexplained = np.maximum(w @ noisy, _MIN_NOISE_FRACTION * errors)
        pearson = PearsonSums(unexplained, np.zeros_like(errors), weight)
        return HeldOutScore(
            weight, effective_size(w), float(w @ neg_log_likelihood), errors, pearson
        )

    def _minus_log_density(self, z2: Array) -> Array:
        """Minus the log density of errors whose squares, in units of their variance, are `z2`."""
        return np.asarray(0.5 * np.minimum(z2, _MAX_SQUARED_Z))


def scipy_stats() -> Any:
    """The module `scipy.stats`, which training does not need, and which is slow to import."""
    with no_forks():
        from scipy import stats
    return stats


def effective_size(w: Array) -> float:
    """Effective sample size of rows with weights w, (n_rows,) (Kish 1965)."""
    relative = w / w.max()
    return float(relative.sum() ** 2 / np.dot(relative, relative))
