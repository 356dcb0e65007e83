"""Weights of two kinds of networks in a blend, from their errors on held-out rows.

By least squares ("stacking": Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1; Breiman 1996,
doi:10.1007/BF00117832), with a penalty on the distance from weights that the size of the errors
suggests: few held-out rows leave least squares much to chance.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array

# Power of the errors that the weights are expected to be proportional to, and how many rows that
# expectation counts as. On 13 tables the errors were .996 times those of the better kind (least
# squares alone .996, the powers alone 1.001, equal weights 1.023).
_POWER, _POWER_ROWS = -4, 100

# Squared error of the mean of several networks that each leave out other rows, divided by that of a
# single one, which says nothing of it; and the smallest such ratio that is believed.
_OF_MEAN, _LEAST_OF_MEAN = 0.81, 0.2


class HeldOutErrors(NamedTuple):
    """Errors of the mean of some networks on held-out rows.

    weight : (n_rows, 1), of the rows
    error : (n_rows, n_outputs), y - prediction
    excess : (n_rows, n_outputs), expected square of the error, less that of the mean of as many
        networks as will be trained
    """

    weight: Array
    error: Array
    excess: Array

    @classmethod
    def of(cls, outputs: Array, y: Array, weight: Array | None, n_networks: int) -> Self:
        """The errors of the mean of trained networks.

        Parameters
        ----------
        outputs : (n_trained, n_rows, n_outputs)
        y : (n_rows, n_outputs); weight : (n_rows,) or None for ones
        n_networks : int, number of networks that will be trained
        """
        n_trained = len(outputs)
        weight = np.ones(len(y)) if weight is None else weight
        error, excess = y - outputs.mean(axis=0), np.zeros(y.shape)
        if 1 < n_trained < n_networks:
            excess = (1 / n_trained - 1 / n_networks) * outputs.var(axis=0, ddof=1)
        elif n_trained < n_networks:
            excess = (1 - _OF_MEAN) * error**2
        return cls(weight[:, None], error, excess)

    @classmethod
    def joined(cls, folds: Sequence[Self]) -> Self:
        """The errors of all folds."""
        return cls(*(np.concatenate(parts) for parts in zip(*folds)))

    def weighted(self, by_row: Array) -> Self:
        """The errors with squares multiplied by `by_row`, (n_rows, n_outputs)."""
        return self._replace(error=np.sqrt(by_row) * self.error, excess=by_row * self.excess)

    @property
    def square(self) -> Array:
        """Mean squared error of as many networks as will be trained, (n_outputs,)."""
        square = _mean(self.error**2, self.weight)
        reduced = square - _mean(self.excess, self.weight)
        return np.asarray(np.maximum(reduced, _LEAST_OF_MEAN * square))


def stacking_weight(first: HeldOutErrors, second: HeldOutErrors) -> float:
    """Weight of the second kind of networks in a blend of two.

    first, second : HeldOutErrors of the same rows, of more networks for the first than the second
    """
    e, other, w = first.error, second.error, first.weight
    square, least = _mean(e**2, w).sum(), min(_mean(one**2, w).sum() for one in (e, other))
    if least <= 0:
        return float(square > 0)
    expected = 1 / (1 + (second.square.sum() / square) ** (-_POWER / 2))
    strength = _POWER_ROWS / len(e) * least
    # The squared error is smallest where its derivative, distance * weight - gain, is 0.
    gain, distance = _mean(e * (e - other), w).sum(), _mean((e - other) ** 2, w).sum()
    return float(np.clip((gain + strength * expected) / (distance + strength), 0, 1))


def _mean(values: Array, weight: Array) -> Array:
    """The weighted mean over rows, (n_outputs,)."""
    return np.asarray((weight * values).sum(axis=0) / weight.sum())
