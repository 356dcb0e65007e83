"""The precision matrix A of a posterior, as a triangular factor in one of two forms.

A = L L^T (Cholesky), and with W = L^-1 a gradient g has the variance

    g^T A^-1 g = |W g|^2

`CholeskyFactor` holds L in float64. `RoundedInverse` holds W in integers, in a quarter of the
memory: a fitted estimator keeps the factors of its large networks in this form (`rounded`), for
which the variance of one row takes a product instead of the solution of a triangular system.

Rounding replaces W_ij by the nearest multiple of a unit u_j, one for each column, and so changes
(W g)_i by an error of variance sum_{j <= i} u_j^2 g_j^2 / 12. Over the gradients of training rows,
weighted by their precision, the sum of |W g|^2 is the effective number of parameters, and that of
g_j^2 is A_jj without the prior.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.linalg import lapack

from sk_backprop._blocks.arrays import Array, row_blocks
from sk_backprop._blocks.linalg import invert_triangle
from sk_backprop._inference.consistency import check_float, inconsistent

# Largest order of a factor that is never rounded: it takes 0.26 MB.
_LARGEST_EXACT = 256

# Largest root mean square of the rounding errors of W g, relative to W g. They have no direction in
# common, and change |W g| by less: at 0.02 by 0.07 % (root mean square), and by up to 0.25 %.
_LARGEST_ERROR = 0.02

# Dtypes of the codes, from the one that is tried first.
_DTYPES = (np.int16, np.int32)

# Rows of W in a block of `RoundedInverse.codes`; models that are stored depend on it.
_BLOCK_ROWS = 96


class CholeskyFactor(NamedTuple):
    """The lower Cholesky factor L.

    packed : (order * (order + 1) / 2,), its lower triangle by columns
    """

    packed: Array

    @classmethod
    def of(cls, L: Array) -> Self:
        """The factor whose lower triangle is that of L, (order, order)."""
        return cls(np.asarray(lapack.dtrttp(L, uplo="L")[0]))

    @property
    def order(self) -> int:
        """Number of rows of A."""
        return int(np.sqrt(2 * self.packed.size))  # floor: order^2 < 2 size < (order + 1)^2

    def cholesky(self) -> Array:
        """L, zero above the diagonal."""
        return np.asarray(lapack.dtpttr(self.order, self.packed, uplo="L")[0])

    def variance(self) -> Callable[[Array], Array]:
        """The function of gradients, (order, n_rows), that gives their variances, (n_rows,)."""
        L = self.cholesky()

        def variance_of(gradients: Array) -> Array:
            whitened, _ = lapack.dtrtrs(L, gradients, lower=1)
            return np.asarray(np.einsum("ij,ij->j", whitened, whitened))

        return variance_of

    def draw(self, normal: Array) -> Array:
        """Deviations of the weights from their mode, W^T normal.

        normal : (order, n_draws), standard normal
        """
        return np.asarray(lapack.dtrtrs(self.cholesky(), normal, lower=1, trans=1)[0])

    def state(self) -> Any:
        """Plain data, from which `factor_from_state` makes it again."""
        return self.packed

    def check_shapes(self, order: int) -> None:
        """Raise ValueError unless it has the order."""
        check_float("a posterior's factor", self.packed, (order * (order + 1) // 2,))

    def fault(self) -> str:
        """What is wrong with the numbers, or ""."""
        if not np.isfinite(self.packed).all():
            return "a posterior has values that are not finite"
        columns = np.arange(self.order)
        if not self.packed[columns * self.order - columns * (columns - 1) // 2].all():
            return "a posterior's factor has a zero on its diagonal"
        return ""


class RoundedInverse(NamedTuple):
    """The inverse of the Cholesky factor, W_ij = codes_ij * units_j.

    codes : (n_codes,) of int16 or int32, blocks of 96 rows of W, one after the other. A block has
        the columns up to the last one that is not zero in it.
    units : (order,)
    """

    codes: Array
    units: Array

    @classmethod
    def of(cls, W: Array, units: Array, dtype: Any) -> Self:
        """W rounded to multiples of the units.

        Parameters
        ----------
        W : (order, order), lower triangular
        units : (order,), of the columns, positive
        dtype : of the codes
        """
        codes = np.empty(_n_codes(len(W)), dtype)
        for rows, place in _blocks(len(W)):
            block = W[rows, : rows.stop] / units[: rows.stop]
            codes[place] = np.rint(block, out=block).ravel()
        return cls(codes, units)

    @property
    def order(self) -> int:
        """Number of rows of A."""
        return len(self.units)

    def cholesky(self) -> Array:
        """L, zero above the diagonal, but for the rounding of its inverse."""
        L = np.zeros((self.order, self.order), order="F")
        for rows, block in self._decoded(float):
            np.multiply(block, self.units[: rows.stop], out=L[rows, : rows.stop])
        invert_triangle(L)
        return L

    def variance(self) -> Callable[[Array], Array]:
        """As for `CholeskyFactor`."""
        return self._variance_of

    def _variance_of(self, gradients: Array) -> Array:
        scaled = gradients * self.units[:, None]
        largest = np.maximum(scaled.max(axis=0), -scaled.min(axis=0))
        scaled /= np.where(largest > 0, largest, 1.0)  # into the range of float32
        of_units = scaled.astype(np.float32)
        whitened = np.empty_like(of_units)
        for rows, block in self._decoded(np.float32):
            np.dot(block, of_units[: rows.stop], out=whitened[rows])
        return np.asarray(largest**2 * np.einsum("ij,ij->j", whitened, whitened))

    def draw(self, normal: Array) -> Array:
        """As for `CholeskyFactor`."""
        deviations = np.zeros((self.order, normal.shape[1]))
        for rows, block in self._decoded(float):
            deviations[: rows.stop] += block.T @ normal[rows]
        deviations *= self.units[:, None]
        return deviations

    def _decoded(self, dtype: Any) -> Iterator[tuple[slice, Array]]:
        """Each block of codes as numbers of the dtype, in memory that is used again."""
        memory = np.empty(_BLOCK_ROWS * self.order, dtype)
        for rows, place in _blocks(self.order):
            block = memory[: place.stop - place.start]
            block[...] = self.codes[place]
            yield rows, block.reshape(-1, rows.stop)

    def state(self) -> Any:
        """As for `CholeskyFactor`."""
        return self._asdict()

    def check_shapes(self, order: int) -> None:
        """Raise ValueError unless it has the order."""
        check_float("a posterior's units", self.units, (order,))
        if self.codes.shape != (_n_codes(order),) or self.codes.dtype not in _DTYPES:
            raise inconsistent(
                f"a posterior's codes have shape {self.codes.shape} and dtype {self.codes.dtype}; "
                f"expected {(_n_codes(order),)} and int16 or int32"
            )

    def fault(self) -> str:
        """What is wrong with the numbers, or ""."""
        if not np.isfinite(self.units).all():
            return "a posterior has values that are not finite"
        if not (self.units > 0).all():
            return "a posterior has units that are not > 0"
        return ""


Factor = CholeskyFactor | RoundedInverse


@lru_cache(maxsize=32)
def _blocks(order: int) -> list[tuple[slice, slice]]:
    """The rows of each block, and its place among the codes."""
    start, found = 0, []
    for rows in row_blocks(order, _BLOCK_ROWS):
        stop = start + (rows.stop - rows.start) * rows.stop
        found.append((rows, slice(start, stop)))
        start = stop
    return found


def _n_codes(order: int) -> int:
    whole, rest = divmod(order, _BLOCK_ROWS)
    return _BLOCK_ROWS**2 * whole * (whole + 1) // 2 + rest * order


def factor_from_state(state: Any) -> Factor:
    """The inverse of the method `state` of a factor."""
    return CholeskyFactor(state) if isinstance(state, np.ndarray) else RoundedInverse(**state)


def rounded(factor: Factor, prior: Array) -> Factor:
    """The factor for a fitted state: rounded if it is large, and if standard deviations allow it.

    They do unless the data determine the function to about a millionth of its variance. Then
    integers of 32 bits are tried.

    factor : Factor; prior : (order,), the prior's part of the diagonal of A
    """
    if isinstance(factor, RoundedInverse) or factor.order <= _LARGEST_EXACT or factor.fault():
        return factor
    W = factor.cholesky()
    of_data = np.maximum(np.einsum("ij,ij->i", W, W) - prior, 0.0)
    invert_triangle(W)
    n_effective = max(1.0, len(W) - prior @ np.einsum("ij,ij->j", W, W))
    largest, n_below = np.maximum(W.max(axis=0), -W.min(axis=0)), np.arange(len(W), 0, -1)
    for dtype in _DTYPES:
        units = largest / np.iinfo(dtype).max
        invertible = (np.diag(W) > units) & (units > np.finfo(float).tiny)
        step = np.maximum(units, largest * np.finfo(np.float32).epsneg)  # in products of float32
        error = (n_below * step**2 / 12) @ of_data
        if invertible.all() and error <= _LARGEST_ERROR**2 * n_effective:
            return RoundedInverse.of(W, units, dtype)
    return factor
