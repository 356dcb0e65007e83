"""Dispersion: what the residuals say of the noise.

Noise of variance phi V(f), with V = 1 for squared errors and V = f for counts, is told by
Pearson's statistic, of mean (n - gamma) phi, with Fletcher's correction for sparse counts:

    X^2 = sum_i w_i (y_i - f_i)^2 / V_i  /  mean_i [1 + V'_i (y_i - f_i) / V_i]

which is the sum of squares for squared errors; for counts the mean is that of y / f
(McCullagh & Nelder 1989, "Generalized Linear Models", section 4.5.2; Fletcher 2012,
Biometrika 99, 230-237, doi:10.1093/biomet/asr083). The deviance does not tell phi where
counts are rare: it is 0.3 a row for a mean of 0.05 and phi = 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sk_backprop._network import Array

# Least f of a count, and least mean of y / f: a row of y = 1 whose rate has underflown tells
# phi = y, and rows of y = 0 alone no more than twice their rates.
_LEAST_RATE, _LEAST_RATIO = 1e-150, 0.5


# Each takes (f, y), both (n_outputs, n_rows), and returns the terms (y - f)^2 / V and
# V' (y - f) / V of that shape.


def _squared_error_terms(f: Array, y: Array) -> tuple[Array, Array]:
    return np.square(f - y), np.zeros(f.shape)


def _poisson_terms(f: Array, y: Array) -> tuple[Array, Array]:
    f = np.maximum(f.astype(float, copy=False), _LEAST_RATE)
    return np.square(f - y) / f, y / f - 1


_TERMS: dict[str, Callable[[Array, Array], tuple[Array, Array]]] = {
    "squared_error": _squared_error_terms,
    "poisson": _poisson_terms,
}


@dataclass(frozen=True, eq=False, repr=False)
class PearsonSums:
    """What Pearson's statistic is made of: sums over rows, which may be added up.

    squares, ratio : (n_outputs,), of w (y - f)^2 / V and of w V' (y - f) / V
    weight : float, of the rows
    """

    squares: Array
    ratio: Array
    weight: float

    @classmethod
    def of(
        cls, loss: str, f: Array, y: Array, w: Array | None, inflation: Array | float = 0.0
    ) -> PearsonSums:
        """Of rows f and y, (n_outputs, n_rows), with weights (1, n_rows) or None for ones.

        inflation : (n_outputs, n_rows), variance of f relative to that of the noise, where the
            rows were not trained on: their squared errors are larger by this.
        """
        squares, ratio = _TERMS[loss](f, y)
        squares = squares / (1 + inflation)
        if w is not None:
            squares, ratio = squares * w, ratio * w
        weight = float(f.shape[1] if w is None else w.sum())
        return cls(squares.sum(axis=1), ratio.sum(axis=1), weight)

    def __add__(self, other: PearsonSums) -> PearsonSums:
        """The sums over both."""
        return PearsonSums(
            self.squares + other.squares, self.ratio + other.ratio, self.weight + other.weight
        )

    def __mul__(self, factor: float) -> PearsonSums:
        """The sums over so many times the rows."""
        return PearsonSums(self.squares * factor, self.ratio * factor, self.weight * factor)

    def __getitem__(self, outputs: slice) -> PearsonSums:
        """Of some outputs."""
        return PearsonSums(self.squares[outputs], self.ratio[outputs], self.weight)

    @property
    def value(self) -> Array:
        """Pearson's statistic X^2, (n_outputs,).

        The correction is by all rows: ten rows without a count would tell next to no noise.
        """
        return np.asarray(self.squares / np.maximum(1 + self.ratio / self.weight, _LEAST_RATIO))


class HeldOutNoise(NamedTuple):
    """Noise estimated from rows that the networks were not trained on.

    variance : (n_outputs,), in the solver's coordinates; for counts the dispersion
    weight : float, the total weight of these rows
    """

    variance: Array
    weight: float


def density_share(loss: str, y: Array, sample_weight: Array | None) -> Array:
    """Part of the rows' weight whose y has a density, of each output: (n_outputs,).

    A count of 0 has a probability, exp(-f / phi), which no small phi makes any larger.
    """
    if loss != "poisson":
        return np.ones(y.shape[1])
    w = np.ones(len(y)) if sample_weight is None else sample_weight / sample_weight.max()
    return np.asarray(w @ (y > 0) / w.sum(), dtype=float)
