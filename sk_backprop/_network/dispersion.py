"""Dispersion: the noise estimated from residuals.

The noise has variance phi V(f), with V = 1 for squared errors and V = f for counts. phi is
estimated from Pearson's statistic, whose mean is (n - gamma) phi, with Fletcher's correction for
sparse counts:

    X^2 = sum_i w_i (y_i - f_i)^2 / V_i  /  mean_i [1 + V'_i (y_i - f_i) / V_i]

which is the sum of squares for squared errors; for counts the mean is that of y / f
(McCullagh & Nelder 1989, "Generalized Linear Models", section 4.5.2; Fletcher 2012,
Biometrika 99, 230-237, doi:10.1093/biomet/asr083). The deviance does not estimate phi where
counts are rare: it is 0.3 per row for a mean of 0.05 and phi = 1.
"""

from typing import NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array

# Lower bound on the mean of y / f: if all counts are 0, X^2 is no more than twice their rates.
_LEAST_RATIO = 0.5

# Lower bound on the variance of the noise, for perfect fits: its inverse stays within the range
# of float64.
LEAST_VARIANCE = 1e-20

# Lower bound on the standard deviation of the noise, in the solver's coordinates (in which y has
# unit spread if preconditioned). A run ends once it fits all rows this closely: without noise the
# evidence grows without bound as the errors shrink (700 steps to an error of 1e-5).
LEAST_NOISE = 1e-4


class PearsonSums:
    """Sums over rows from which Pearson's statistic is computed; they may be added up.

    squares, ratio : (n_outputs,), sums of w (y - f)^2 / V and of w V' (y - f) / V
    weight : float, total weight of the rows
    """

    def __init__(self, squares: Array, ratio: Array, weight: float) -> None:
        self.squares, self.ratio, self.weight = squares, ratio, weight

    @classmethod
    def of(
        cls, squares: Array, ratio: Array, w: Array | None, inflation: Array | float = 0.0
    ) -> Self:
        """Sums over rows.

        Parameters
        ----------
        squares, ratio : (n_outputs, n_rows), the terms of `Likelihood.pearson_terms`
        w : (1, n_rows), weights, or None for ones
        inflation : (n_outputs, n_rows), variance of f relative to that of the noise, for rows
            that were not trained on: their squared errors are 1 + inflation times the noise
        """
        squares = squares / (1 + inflation)
        if w is not None:
            squares, ratio = squares * w, ratio * w
        weight = float(squares.shape[1] if w is None else w.sum())
        return cls(squares.sum(axis=1), ratio.sum(axis=1), weight)

    def with_squares(self, squares: Array) -> "PearsonSums":
        """The same sums with other squares."""
        return PearsonSums(squares, self.ratio, self.weight)

    def __add__(self, other: "PearsonSums") -> "PearsonSums":
        """The sums over both sets of rows."""
        return PearsonSums(
            self.squares + other.squares, self.ratio + other.ratio, self.weight + other.weight
        )

    def __mul__(self, factor: float) -> "PearsonSums":
        """The sums over `factor` times the rows."""
        return PearsonSums(self.squares * factor, self.ratio * factor, self.weight * factor)

    @property
    def value(self) -> Array:
        """Pearson's statistic X^2, (n_outputs,).

        The correction is computed from all rows: by that of ten rows whose counts are all 0
        alone, there would be hardly any noise.
        """
        return np.asarray(self.squares / np.maximum(1 + self.ratio / self.weight, _LEAST_RATIO))


class HeldOutNoise(NamedTuple):
    """Noise estimated from rows that the networks were not trained on.

    variance : (n_outputs,), in the solver's coordinates; for counts the dispersion
    weight : float, the total weight of these rows
    """

    variance: Array
    weight: float
