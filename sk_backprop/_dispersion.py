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


class PearsonSums:
    """Pearson's statistic of each output, added up over blocks of rows."""

    def __init__(self, loss: str, n_outputs: int) -> None:
        self._terms = _TERMS[loss]
        self._squares, self._ratio, self._weight = np.zeros(n_outputs), np.zeros(n_outputs), 0.0

    def add(self, f: Array, y: Array, w: Array | None) -> None:
        """Add rows: f and y, (n_outputs, n_rows), and weights (1, n_rows) or None for ones."""
        squares, ratio = self._terms(f, y)
        if w is not None:
            squares, ratio = squares * w, ratio * w
        self._squares += squares.sum(axis=1)
        self._ratio += ratio.sum(axis=1)
        self._weight += float(f.shape[1] if w is None else w.sum())

    @property
    def value(self) -> Array:
        """X^2 of the rows so far, (n_outputs,)."""
        ratio = np.maximum(1 + self._ratio / self._weight, _LEAST_RATIO)
        return np.asarray(self._squares / ratio)


def density_share(loss: str, y: Array, sample_weight: Array | None) -> Array:
    """Part of the rows' weight whose y has a density, of each output: (n_outputs,).

    A count of 0 has a probability, exp(-f / phi), which no small phi makes any larger.
    """
    if loss != "poisson":
        return np.ones(y.shape[1])
    w = np.ones(len(y)) if sample_weight is None else sample_weight / sample_weight.max()
    return np.asarray(w @ (y > 0) / w.sum(), dtype=float)
