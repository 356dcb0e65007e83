"""Exact sums, which depend neither on the order of the rows nor on their partition.

Numbers are cut into slices: integers of few bits times powers of two, the same for all rows. Sums
of such integers, and of their products, are exact in float64 up to 2^53, in any order; the
slices are put together as fractions (compare Ozaki, Ogita, Oishi & Rump 2012, "Error-free
transformations of matrix multiplication", doi:10.1007/s11075-011-9478-1).
"""

import math
from fractions import Fraction

import numpy as np

from sk_backprop._blocks.arrays import Array, beyond_range_is_inf, row_blocks

# Exponent of the smallest number above 0, and the bits of the integers that float64 holds.
_LEAST_EXPONENT, _ALL_BITS = -1074, 53

# Log2 of the numbers in a sum, few enough for one BLAS thread, and the bits of a slice of a weight.
# A slice of a value has the remaining bits.
_BLOCK_BITS, _WEIGHT_BITS = 13, 14


class Weights:
    """Weights of rows, and exact sums with them.

    `total` is their sum, and `positive`, (n_rows,) bool, where they are above 0.

    Parameters
    ----------
    weights : (n_rows,), finite, none negative; or None for ones
    n_rows : int
    """

    def __init__(self, weights: Array | None, n_rows: int) -> None:
        self._n_rows = n_rows
        self._slices = None if weights is None else _sliced(weights, _WEIGHT_BITS)
        self.positive = np.ones(n_rows, dtype=bool) if weights is None else weights > 0
        self.total = self.of(np.ones(n_rows, dtype=bool))

    def of(self, selected: Array) -> Fraction:
        """The sum of the weights of some rows.

        selected : (n_rows,) bool
        """
        if self._slices is None:
            return Fraction(int(selected.sum()))
        return self.dot(selected.astype(float))

    def dot(self, values: Array) -> Fraction:
        """The sum of finite values times weights.

        values : (n_rows,)
        """
        sums: dict[int, int] = {}
        bits = _ALL_BITS - _BLOCK_BITS - (0 if self._slices is None else _WEIGHT_BITS)
        for rows in row_blocks(self._n_rows, 1 << _BLOCK_BITS):
            for exponent, whole in _sliced(values[rows], bits):
                if self._slices is None:
                    sums[exponent] = sums.get(exponent, 0) + int(whole.sum())
                    continue
                for other, weights in self._slices:
                    place = exponent + other
                    sums[place] = sums.get(place, 0) + int(whole @ weights[rows])
        return sum((_scaled(number, place) for place, number in sums.items()), Fraction(0))

    def by_group(self, groups: Array, n_groups: int) -> list[int | Fraction]:
        """The sum of the weights of each group.

        groups : (n_rows,) int, from 0 to n_groups - 1; n_groups : int
        """
        if self._slices is None:
            return list(map(int, np.bincount(groups, minlength=n_groups)))
        lowest, totals = min((e for e, _ in self._slices), default=0), [0] * n_groups
        for exponent, weights in self._slices:
            sums = np.bincount(groups, weights, minlength=n_groups).astype(np.int64).tolist()
            totals = [a + (b << (exponent - lowest)) for a, b in zip(totals, sums, strict=True)]
        return [_scaled(total, lowest) for total in totals]


def rounded(number: int | Fraction) -> float:
    """The nearest float; inf beyond the range."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _scaled(number: int, exponent: int) -> Fraction:
    if exponent < 0:
        return Fraction(number, 1 << -exponent)
    return Fraction(number << exponent)


@beyond_range_is_inf  # numpy 1.26 warns of an overflow where small numbers are divided by a smaller
def _sliced(values: Array, bits: int) -> list[tuple[int, Array]]:
    """Exponents e, and integers k below 2^bits, so that the values are the sum of all k 2^e.

    values : (n,), finite; bits : int
    """
    rest, found = np.array(values, dtype=float), []
    while largest := max(rest.max(initial=0.0), -rest.min(initial=0.0)):
        exponent = max(math.frexp(largest)[1] - bits, _LEAST_EXPONENT)
        unit = math.ldexp(1.0, exponent)
        whole = np.trunc(rest / unit)  # rounded to nearest, the largest could overflow below
        rest -= whole * unit
        found.append((exponent, whole))
    return found
