"""Which rows a stream has seen: a sketch of fixed size.

Passes over the same batches bring no new rows, whatever the order of the rows and the size
of the batches. The sketch keeps the smallest k of the hashes of all rows, X and y together
("k minimum values"): a repeated row has the same hash, and if the k-th smallest of uniform
hashes is u, there are about (k - 1) / u distinct rows (Bar-Yossef et al. 2002, "Counting
distinct elements in a data stream", doi:10.1007/3-540-45726-7_1; Beyer et al. 2007, "On
synopses for distinct-value estimation under multiset operations",
doi:10.1145/1247480.1247504). The rows kept are a uniform sample of the distinct rows, from
which the mean weight is estimated.
"""

from typing import Any, NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._coordinates.row_order import hashed_rows

# Number of hashes kept: up to as many distinct rows the count is exact, and beyond that it has
# a relative standard deviation of 4 %. (8 kB of each fitted model.)
_N_KEPT = 512

# Minimum window, in rows, of the running share of repeated rows, if only some can be looked up.
_LOOKED_UP = 10.0


class SeenRows(NamedTuple):
    """A sketch of the rows of a stream.

    hashes : (n_kept,) uint64, ascending
    weights : (n_kept,), the largest total weight that the row has had within one batch: as in
        `fit`, equal rows of one batch count as one row of their total weight
    repeated : float, share of the newest rows that had been seen before
    warned : bool, whether the warning was issued that repeated rows do not show the noise
    """

    hashes: Array
    weights: Array
    repeated: float = 0.0
    warned: bool = False

    @classmethod
    def of(cls, X: Any, y: Array, sample_weight: Array | None) -> Self:
        """The rows of one batch or fit, in the units of the user.

        Parameters
        ----------
        X : (n_samples, n_features), dense or CSR
        y : (n_samples, n_outputs)
        sample_weight : (n_samples,) or None for ones
        """
        return cls.of_hashes(hashed_rows(X, y), sample_weight)

    @classmethod
    def of_hashes(cls, hashes: Array, sample_weight: Array | None) -> Self:
        """As `of`, from what `hashed_rows` returned."""
        weights = np.ones(len(hashes)) if sample_weight is None else sample_weight
        return cls(hashes, weights)._distinct(np.add)

    def joined_with(self, other: Self) -> Self:
        """The sketch of both sets of rows; a row of both has the larger of its weights."""
        hashes = np.concatenate([self.hashes, other.hashes])
        weights = np.concatenate([self.weights, other.weights])
        return self._replace(hashes=hashes, weights=weights)._distinct(np.maximum)

    def _distinct(self, merge: np.ufunc) -> Self:
        """The distinct rows with the smallest hashes; `merge` combines weights of equal ones."""
        order = np.argsort(self.hashes, kind="stable")
        hashes = self.hashes[order]
        starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1]))
        weights = merge.reduceat(self.weights[order], starts)
        # Copies, since views would keep those of all rows.
        hashes, weights = hashes[starts[:_N_KEPT]], weights[:_N_KEPT].copy()
        return self._replace(hashes=hashes, weights=weights)

    @property
    def _is_sample(self) -> bool:
        return len(self.hashes) == _N_KEPT

    @property
    def weight(self) -> float:
        """Total weight of the distinct rows."""
        if not self._is_sample:
            return float(self.weights.sum())
        n_distinct = (_N_KEPT - 1) / ((float(self.hashes[-1]) + 1) / 2.0**64)
        return n_distinct * float(self.weights.mean())

    def with_batch(self, batch: Self) -> Self:
        """The sketch of all earlier rows and those of a batch."""
        if self._is_sample and batch.hashes[0] > self.hashes[-1]:
            return self  # as for most small batches
        return self.joined_with(batch)._replace(repeated=self._repeated_with(batch))

    def _repeated_with(self, batch: Self) -> float:
        """`repeated` after a batch."""
        # Rows beyond the largest hash of a sample may or may not have been seen.
        weights = batch.weights
        if self._is_sample:
            weights = weights * (batch.hashes <= self.hashes[-1])
        total = float(weights.sum())
        if total == 0:
            return self.repeated
        known = np.isin(batch.hashes, self.hashes, assume_unique=True)
        share = float(weights[known].sum()) / total
        if not self._is_sample:
            return share
        newest = min(1.0, float(np.count_nonzero(weights)) / _LOOKED_UP)
        return self.repeated + newest * (share - self.repeated)
