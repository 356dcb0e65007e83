"""Whether values repeat, from parts of the rows and in bounded memory.

Each value has a key of 64 bits, by a fixed hash, and a depth: the zeros at the end of its key.
Of all values, 2^-d are at least d deep. Of more than `_MOST_KEYS` rows only values that are deep
enough are looked at, about as many as that, so that the answer depends on the rows alone, not on
their order or partition. Up to `_MOST_KEYS` rows it is exact.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array

_MOST_KEYS = 2**14


class Repeats(NamedTuple):
    """Whether values repeat.

    n_rows : int
    deepest : int, the largest depth of a value that is known to repeat; -1 if none does
    keys : (n_kept,) uint64, of values seen once that are deeper, and deep enough to be looked at
    """

    n_rows: int
    deepest: int
    keys: Array

    @classmethod
    def of(cls, keys: Array, counts: Array | None = None) -> Self:
        """From keys, (n_keys,) uint64, of so many rows each, (n_keys,) int; None for one."""
        if counts is None:
            return cls(len(keys), -1, keys)._reduced()
        return cls(int(counts.sum()), -1, np.repeat(keys, np.minimum(counts, 2)))._reduced()

    def merge(self, other: Self) -> Self:
        """Those of the rows of both."""
        deepest = max(self.deepest, other.deepest)
        keys = np.concatenate([self.keys, other.keys])
        return self._replace(
            n_rows=self.n_rows + other.n_rows, deepest=deepest, keys=keys
        )._reduced()

    @property
    def found(self) -> bool:
        """Whether a value repeats, among those that are looked at."""
        return self.deepest >= self._least_depth

    @property
    def _least_depth(self) -> int:
        """The depth of the values that are looked at. It grows with the rows."""
        return max(0, (self.n_rows - 1).bit_length() - (_MOST_KEYS.bit_length() - 1))

    def _reduced(self) -> Self:
        """Without keys that are not needed any more."""
        # Values as deep as one that repeats, or less, cannot change the answer.
        keys = np.sort(self.keys[_at_least(self.keys, max(self._least_depth, self.deepest + 1))])
        again = keys[1:][keys[1:] == keys[:-1]]
        if not again.size:
            return self._replace(keys=keys)
        deepest = max(self.deepest, _largest_depth(again))
        return self._replace(deepest=deepest, keys=keys[_at_least(keys, deepest + 1)])


def keys_of_numbers(values: Array) -> Array:
    """Keys of numbers, (n_rows,) uint64, different for different numbers."""
    keys = (np.asarray(values, dtype=float) + 0.0).view(np.uint64)  # -0.0 is 0.0
    # The last step of MurmurHash3 (public domain, by Austin Appleby).
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        keys = (keys ^ (keys >> np.uint64(33))) * np.uint64(factor)
    return keys ^ (keys >> np.uint64(33))


def keys_of_names(names: Iterable[str]) -> Array:
    """Keys of strings, (n_names,) uint64, different but with a probability of 2^-64 a pair."""
    digests = (
        hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
        for name in names
    )
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _at_least(keys: Array, depth: int) -> Array:
    """Which keys are at least so deep: (n_keys,) bool."""
    if depth >= 64:
        return np.zeros(len(keys), dtype=bool)
    return np.asarray(keys & np.uint64((1 << depth) - 1) == 0)


def _largest_depth(keys: Array) -> int:
    """The largest depth of keys, at least one of them."""
    last = keys & (~keys + np.uint64(1))  # the last bit alone; 0 for the key 0
    return max((int(bit) or 1 << 63).bit_length() - 1 for bit in np.unique(last))
