"""Calibration of the predictive distribution: a scale that may vary, and the weight of the tails.

A new observation at x is f(x) + s(x) T, where T has a t distribution of nu degrees of freedom and

    s(x)^2 = c^2 (exp(2 g(x)) noise(x) + v(x))

with v the variance of f (`_inference.laplace`, and the spread of the networks). c, nu and the
strength of g, a small network, maximise the likelihood of errors on rows that were left out (Lange,
Little & Taylor 1989, "Robust statistical modeling using the t distribution", JASA 84, 881-896,
doi:10.1080/01621459.1989.10478852). Without enough rows for that, c is 1, g is 0, and nu are the
residual degrees of freedom, as for a linear model.
"""

import math
from operator import gt
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, digamma

from sk_backprop._blocks.arrays import Array, weighted_median
from sk_backprop._inference.consistency import check_float, check_range, check_weights, inconsistent
from sk_backprop._network.network import Network, evaluate

# Smallest degrees of freedom: the standard deviation of t is 1.7 times its scale there, and
# infinite at 2. Above the largest, t is normal.
LEAST_DOF, _NORMAL_DOF = 3.0, 1e4

# Bounds on ln c and on the strength of g.
_LOG_SCALE, _STRENGTH = (-4.0, 4.0), (0.0, 1.5)


class VaryingScale(NamedTuple):
    """g(x): a network whose output is limited to its range over the rows that it was fitted to.

    coefs, intercepts : of each layer, for inputs in the solver's coordinates; one output
    least, largest : float
    """

    coefs: list[Array]
    intercepts: list[Array]
    least: float
    largest: float

    def times(self, strength: float) -> Self:
        """The same function, multiplied by a number >= 0."""
        coefs = [*self.coefs[:-1], strength * self.coefs[-1]]
        intercepts = [*self.intercepts[:-1], strength * self.intercepts[-1]]
        return type(self)(coefs, intercepts, strength * self.least, strength * self.largest)

    def __call__(self, X: Any) -> Array:
        """Logarithm of the factor of the noise's standard deviation, (n_rows,).

        X : (n_rows, n_features), in the solver's coordinates
        """
        sizes = (len(self.coefs[0]), *(W.shape[1] for W in self.coefs))
        network = Network(sizes, "logistic", "identity")
        outputs = evaluate(network, self.coefs, self.intercepts, X)[:, 0]
        return np.asarray(np.clip(outputs, self.least, self.largest))


class Calibration(NamedTuple):
    """How the predictive distribution differs from the Gaussian of the posterior.

    factor : (n_outputs,), c
    dof : (n_outputs,), nu; inf for a normal distribution
    varying : VaryingScale of each output, or None where g is 0
    """

    factor: Array
    dof: Array
    varying: list[VaryingScale | None]

    @classmethod
    def by_dof(cls, dof: Array, factor: Array) -> Self:
        """That of given residual degrees of freedom and factors c, (n_outputs,) each."""
        # Beyond the range of float64 they are not known.
        return cls(factor, np.fmax(dof, LEAST_DOF), [None] * len(dof))

    @property
    def noise(self) -> str:
        """'varying' if the noise of an output varies with X, else 'constant'."""
        return "constant" if all(g is None for g in self.varying) else "varying"

    def state(self) -> dict[str, Any]:
        """Plain data that `from_state` reads."""
        varying = [None if g is None else g._asdict() for g in self.varying]
        return {"factor": self.factor, "dof": self.dof, "varying": varying}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The inverse of `state`."""
        varying = [None if g is None else VaryingScale(**g) for g in state["varying"]]
        return cls(state["factor"], state["dof"], varying)

    def check(self, n_features: int, n_outputs: int) -> None:
        """Raise ValueError unless the numbers can be those of a fit."""
        for name, values in (("factor", self.factor), ("degrees of freedom", self.dof)):
            check_float(f"the calibration's {name}", values, (n_outputs,))
        check_range("the calibration's factor", self.factor, gt, "> 0")
        check_range("degrees_of_freedom_ - 2", self.dof - 2, gt, "> 0")
        if len(self.varying) != n_outputs:
            raise inconsistent(f"{len(self.varying)} scales vary; expected {n_outputs}")
        for g in self.varying:
            if g is not None:
                sizes = (n_features, *(W.shape[1] for W in g.coefs[:-1]), 1)
                check_weights(sizes, g.coefs, g.intercepts)

    def variance(self, X: Any, of_noise: Array, of_mean: Array) -> Array:
        """s^2, (n_rows, n_outputs).

        Parameters
        ----------
        X : (n_rows, n_features), in the solver's coordinates
        of_noise, of_mean : (n_rows, n_outputs), variance of the noise and of f
        """
        of_noise = of_noise.copy()
        for k, g in enumerate(self.varying):
            if g is not None:
                of_noise[:, k] *= np.exp(2 * g(X))
        return np.asarray(self.factor**2 * (of_noise + of_mean))

    @property
    def std_of_unit_scale(self) -> Array:
        """Standard deviation of T, (n_outputs,)."""
        return np.asarray(1 / np.sqrt(1 - 2 / self.dof))


class TailFit(NamedTuple):
    """c, the strength of g and nu of one output, by maximum likelihood.

    log_factor, strength, dof : float
    """

    log_factor: float
    strength: float
    dof: float

    @classmethod
    def of(cls, errors: Array, of_noise: Array, of_mean: Array, w: Array, g: Array | None) -> Self:
        """Fit to errors on rows that were left out.

        Parameters
        ----------
        errors, of_noise, of_mean : (n_rows,), errors, and variances of the noise and of f
        w : (n_rows,), weights; g : (n_rows,) or None for 0
        """
        total, with_g = float(w.sum()), g is not None

        def loss(free: Array) -> tuple[float, Array]:
            fit = cls(free[0], free[2] if with_g else 0.0, 1 / max(free[1], 1 / _NORMAL_DOF))
            value = float(w @ fit.log_density(errors, of_noise, of_mean, g)) / total
            slopes = [w @ one for one in fit._slopes(errors, of_noise, of_mean, g)]
            return -value, -np.array(slopes[: 2 + with_g]) / total

        z = np.abs(errors) / np.sqrt(of_noise + of_mean)
        at = math.log(max(1.4826 * weighted_median(z, w), 1e-3))
        start = [min(max(at, _LOG_SCALE[0]), _LOG_SCALE[1]), 0.1, 1.0][: 2 + with_g]
        bounds = [_LOG_SCALE, (0.0, 1 / LEAST_DOF), _STRENGTH][: 2 + with_g]
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x.tolist()
        return cls(found[0], found[2] if with_g else 0.0, 1 / max(found[1], 1 / _NORMAL_DOF))

    def log_density(self, errors: Array, of_noise: Array, of_mean: Array, g: Array | None) -> Array:
        """Logarithm of the density of errors, (n_rows,); arguments as for `of`."""
        nu, variance = self.dof, self._variance(of_noise, of_mean, g)[0]
        constant = -betaln(0.5, nu / 2) - 0.5 * math.log(nu)
        tails = (nu + 1) / 2 * np.log1p(errors**2 / (nu * variance))
        return np.asarray(constant - 0.5 * np.log(variance) - tails)

    def _variance(self, of_noise: Array, of_mean: Array, g: Array | None) -> tuple[Array, Array]:
        """Variance, and the part of it that varies; arguments as for `of`."""
        factor = math.exp(2 * self.log_factor)
        noise = of_noise if g is None else of_noise * np.exp(2 * self.strength * g)
        return factor * (noise + of_mean), factor * noise

    def _slopes(
        self, errors: Array, of_noise: Array, of_mean: Array, g: Array | None
    ) -> list[Array]:
        """Derivatives of `log_density` by ln c, by 1 / nu and, with g, by its strength."""
        nu, (variance, varies) = self.dof, self._variance(of_noise, of_mean, g)
        square = errors**2 / (nu * variance)
        tail = square / (1 + square)
        by_log_variance = (nu + 1) / 2 * tail - 0.5
        constant = 0.5 * float(digamma((nu + 1) / 2) - digamma(nu / 2)) - 0.5 / nu
        by_nu = constant - 0.5 * np.log1p(square) + (nu + 1) / (2 * nu) * tail
        slopes = [2 * by_log_variance, -(nu**2) * by_nu]
        return slopes if g is None else [*slopes, 2 * by_log_variance * g * varies / variance]
