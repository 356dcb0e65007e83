"""Rows in partitions on an engine, and their order by values.

The same functions as for rows in memory (`_training.problem`) run on partitions, so that a fit
gives the same bits: rows are put in the order of `_coordinates.row_order`, whatever the partitions,
and cut into parts that are nodes of the tree by which all sums are added (`_blocks.blocks`).

raw partitions -> pieces by ranges of keys -> sorted ranges -> parts
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.blocks import STATISTICS_ROWS
from sk_backprop._blocks.engine import MOST_TASKS, Engine, reduced
from sk_backprop._blocks.exact import Weights, rounded
from sk_backprop._coordinates.row_order import (
    canonical_rows,
    hashed_rows,
    range_of_rows,
    row_keys,
    row_order,
)
from sk_backprop._coordinates.scales import (
    MOST_IN_SAMPLE,
    as_units,
    divide_columns,
    largest_values,
    sampling_step,
)
from sk_backprop._coordinates.seen_rows import SeenRows
from sk_backprop._inference.engine_sums import Part, concatenated
from sk_backprop._inference.row_sums import EQUATION_ROWS, rows_of_block
from sk_backprop._network.network import Network
from sk_backprop._training.problem import Data

# Pieces of partitions that are exchanged at once, at most: each is a task, of about a millisecond.
_MOST_PIECES = 2**12


class RawPartition(NamedTuple):
    """Checked rows of a partition.

    data : Data, raw; numbers : (n_samples,) int, of the rows among those of the user
    """

    data: Data
    numbers: Array

    def take(self, rows: Array) -> "RawPartition":
        """The given rows."""
        return RawPartition(self.data.take(rows), self.numbers[rows])


class PartitionFacts(NamedTuple):
    """What is known of raw partitions before they are sorted.

    n_samples, checksum : int, of the rows
    total_weight : Fraction
    x_max : (n_features,); y_max : (n_outputs,), largest absolute values
    y_min : (n_outputs,), smallest values
    """

    n_samples: int
    checksum: int
    total_weight: Fraction
    x_max: Array
    y_max: Array
    y_min: Array

    @classmethod
    def of(cls, partition: RawPartition) -> "PartitionFacts | None":
        """Facts of one partition; None if it has no rows."""
        data = partition.data
        if not data.n_samples:
            return None
        y, n_samples = data.y, data.n_samples
        x_max, y_max = largest_values(data.X), np.abs(y).max(axis=0)
        weight = Weights(data.sample_weight, n_samples).total
        checksum = _checksum(hashed_rows(data.X, y))
        return cls(n_samples, checksum, weight, x_max, y_max, y.min(axis=0))

    @staticmethod
    def merged(found: "list[PartitionFacts | None]") -> "PartitionFacts | None":
        """Facts of all rows."""
        some = [one for one in found if one is not None]
        if not some:
            return None
        n_samples, checksums, weight, x_max, y_max, y_min = zip(*some, strict=True)
        ends = [np.max(x_max, axis=0), np.max(y_max, axis=0), np.min(y_min, axis=0)]
        of_rows = sum(n_samples), sum(checksums) % 2**64, sum(weight, Fraction(0))
        return PartitionFacts(*of_rows, *ends)


class Units(NamedTuple):
    """x : (n_features,) and y : (n_outputs,), largest absolute values as units."""

    x: Array
    y: Array


class SortedRows(NamedTuple):
    """Distinct rows, raw, in the order of their values.

    data : Data, with weights unless all are one
    numbers : (n_rows,) int, of the first of equal rows; seen : SeenRows
    checksum : int, of the rows with repetitions
    """

    data: Data
    numbers: Array
    seen: SeenRows
    checksum: int


class Overview(NamedTuple):
    """What a plan depends on, of rows on an engine; with attributes of Data.

    X, y, sample_weight : of a sample of the rows, raw
    n_samples : int, with repetitions; n_distinct : int; total_weight : float, of all rows
    """

    X: Any
    y: Array
    sample_weight: Array | None
    n_samples: int
    n_distinct: int
    total_weight: float

    @property
    def in_memory(self) -> bool:
        """Whether mini-batches can be drawn."""
        return False

    def mean_weight(self, n_rows: int) -> float:
        """The total weight divided by `n_rows`."""
        return self.total_weight / n_rows

    @property
    def weights(self) -> Array:
        """Weights of the sample, (n_rows,)."""
        return Data(*self[:3]).weights


class Holders(NamedTuple):
    """Neighbouring rows on an engine, in pieces of any size.

    engine : Engine
    handles : list of handles of RawPartition or SortedRows, which have `data`
    sizes : list of int, their rows
    weighted : bool, whether the rows have weights
    """

    engine: Engine
    handles: list[Any]
    sizes: list[int]
    weighted: bool

    @classmethod
    def of(cls, engine: Engine, handles: Sequence[Any], about: "Sequence[_About]") -> Self:
        """Rows on the workers; `about` describes those of each handle."""
        sizes, weighted = [one.n_rows for one in about], any(one.weighted for one in about)
        return cls(engine, list(handles), sizes, weighted)

    def parts(self, unit: int) -> list[Part]:
        """The rows, as Data, in parts of about equal size that begin at multiples of `unit`."""
        ends, parts = np.cumsum([0, *self.sizes]), []
        for start, stop in pairwise(self._starts(unit)):
            inside = [k for k in range(len(self.sizes)) if ends[k] < stop and ends[k + 1] > start]
            slices = [(max(start - ends[k], 0), min(stop, ends[k + 1]) - ends[k]) for k in inside]
            handles = [self.handles[k] for k in inside]
            rows = self.engine.submit(_between, handles, slices, self.weighted)
            parts.append(Part(rows, start, stop - start))
        return parts

    def _starts(self, unit: int) -> list[int]:
        """First rows of the parts, and the number of rows: a part for each thread, if not more."""
        n_rows, n_parts = sum(self.sizes), min(self.engine.n_threads, MOST_TASKS)
        cuts = np.round(np.arange(1, n_parts) * n_rows / n_parts / unit).astype(int) * unit
        return [0, *sorted({int(cut) for cut in cuts if 0 < cut < n_rows}), n_rows]

    def sample(self) -> Data:
        """Every m-th row, in memory."""
        step, ends = sampling_step(sum(self.sizes)), np.cumsum([0, *self.sizes])
        chosen = [
            self.engine.submit(_every, one, int(-start % step), step, self.weighted)
            for one, start, size in zip(self.handles, ends, self.sizes)
            if size
        ]
        return Data(*concatenated(self.engine.gather(chosen)))


class SortedRanges(NamedTuple):
    """Distinct rows in the order of their values, raw, in ranges of their keys.

    rows : Holders, of SortedRows
    facts : PartitionFacts, of the rows before equal ones were merged; units : Units
    dense : bool, whether X is dense
    seen : SeenRows; sample : Data, every m-th row
    """

    rows: Holders
    facts: PartitionFacts
    units: Units
    dense: bool
    seen: SeenRows
    sample: Data

    @property
    def engine(self) -> Engine:
        """The engine that holds the rows."""
        return self.rows.engine

    @property
    def n_distinct(self) -> int:
        """Number of distinct rows."""
        return sum(self.rows.sizes)

    @property
    def overview(self) -> Overview:
        """What a plan depends on."""
        n_samples, many = self.facts.n_samples, self.facts.n_samples > MOST_IN_SAMPLE
        n_distinct = n_samples if many else self.n_distinct
        return Overview(*self.sample, n_samples, n_distinct, rounded(self.facts.total_weight))

    def in_order(self) -> Array:
        """Numbers of the distinct rows, which are all in the sample, in the order of `row_order`.

        As there, rows whose sums are equal are in the order of the user.
        """
        numbers = [self.engine.submit(_numbers, one) for one in self.rows.handles]
        by_user = np.argsort(np.concatenate(self.engine.gather(numbers)))
        in_order = row_order(self.sample.X[by_user], self.sample.y[by_user])
        return np.asarray(by_user[in_order])

    def split(self, partitions: Sequence[Any], distinct: Array) -> tuple[list[Any], list[Any]]:
        """Handles of the rows of raw partitions without some distinct rows, and of these alone.

        partitions : list of handles of RawPartition
        distinct : (n_chosen,) int, numbers of rows of the sample, in which all are
        """
        rows, units = self.sample.take(distinct), self.units
        keys = np.sort(row_keys(rows.X, units.x, divide_columns(rows.y, units.y)))
        both = [self.engine.submit(_split_by_keys, one, units, keys) for one in partitions]
        kept, taken = ([self.engine.submit(_item, one, k) for one in both] for k in (0, 1))
        return kept, taken

    def parts(self, networks: Sequence[Network]) -> list[Part]:
        """The rows, as Data, in parts that are nodes of the tree of all sums.

        networks : those that may be trained
        """
        unit = alignment(networks, self.sample.X.dtype, self.n_distinct, dense=self.dense)
        return self.rows.parts(unit)


def sorted_ranges(
    engine: Engine,
    partitions: Sequence[Any],
    facts: PartitionFacts,
    most_pieces: int = _MOST_PIECES,
) -> SortedRanges:
    """Raw partitions in the order of the values of their rows, equal rows merged.

    Parameters
    ----------
    engine : Engine
    partitions : list of handles of RawPartition, in the order of the user's rows
    facts : PartitionFacts, of all of them
    most_pieces : int, as for `_exchanged`
    """
    units = Units(as_units(facts.x_max), as_units(facts.y_max))
    n_ranges = max(1, min(len(partitions), 2 * engine.n_threads, 2 * MOST_TASKS))
    pieces = _exchanged(engine, partitions, units, n_ranges, most_pieces)
    ranges = [engine.submit(_sorted, of_range, units) for of_range in pieces]
    about = engine.gather([engine.submit(_about, one) for one in ranges])
    if sum(one.checksum for one in about) % 2**64 != facts.checksum:
        raise ValueError(
            "The rows of X and y have changed while they were read: blocks that were computed more "
            "than once had other values. Seed what is drawn at random, or persist X and y first, "
            "X, y = dask.persist(X, y)."
        )
    seen = reduce(SeenRows.joined_with, (one.seen for one in about if one.seen is not None))
    rows = Holders.of(engine, ranges, about)
    dense = all(one.dense for one in about)
    return SortedRanges(rows, facts, units, dense, seen, rows.sample())


def _exchanged(
    engine: Engine, partitions: Sequence[Any], units: Units, n_ranges: int, most_pieces: int
) -> list[list[Any]]:
    """The rows of each range of keys, as handles of RawPartition, in the order of the user.

    Each piece of a partition is a task. If there were too many, groups of neighbouring partitions
    exchange groups of ranges first: for n of each, 2 n^1.5 pieces in place of n^2.

    Parameters
    ----------
    engine, partitions, units : as for `sorted_ranges`
    n_ranges : int; most_pieces : int, in a single exchange
    """

    def split(handles: Sequence[Any], edges: Array) -> list[list[Any]]:
        pieces = [engine.submit(_pieces, one, units, n_ranges, edges) for one in handles]
        return [[engine.submit(_item, one, k) for one in pieces] for k in range(len(edges) - 1)]

    if len(partitions) * n_ranges <= most_pieces:
        return split(partitions, np.arange(n_ranges + 1))
    size, step = (math.isqrt(n - 1) + 1 for n in (len(partitions), n_ranges))
    edges = np.append(np.arange(0, n_ranges, step), n_ranges)
    by_group = [split(partitions[k : k + size], edges) for k in range(0, len(partitions), size)]
    found = []
    for k, (first, stop) in enumerate(pairwise(edges)):
        joined_groups = [engine.submit(_joined_pieces, group[k]) for group in by_group]
        found += split(joined_groups, np.arange(first, stop + 1))
    return found


def holders_of(engine: Engine, partitions: Sequence[Any]) -> Holders:
    """Raw partitions, in the order of the user's rows.

    engine : Engine; partitions : list of handles of RawPartition
    """
    about = engine.gather([engine.submit(_about, one) for one in partitions])
    return Holders.of(engine, partitions, about)


def facts_of(engine: Engine, partitions: Sequence[Any]) -> PartitionFacts | None:
    """Facts of all rows of raw partitions, or None if there are none."""
    handles = [engine.submit(PartitionFacts.of, one) for one in partitions]
    return reduced(engine, handles, PartitionFacts.merged)


def alignment(networks: Sequence[Network], dtype: Any, n_samples: int, *, dense: bool) -> int:
    """Parts must start at multiples of this number of rows, so that no block of a sum is cut.

    networks : those that may be trained; dtype : of X; n_samples : int
    dense : bool, whether X is dense
    """
    blocks = [
        rows_of_block(network, within, n_samples, dense=dense)
        for network in networks
        for within in (np.dtype(dtype), np.dtype(np.float64))
    ]
    return max(STATISTICS_ROWS, EQUATION_ROWS, *blocks)


# --- tasks: pure functions of partitions ---


class _About(NamedTuple):
    """n_rows, checksum : int; weighted, dense : bool; seen : SeenRows or None."""

    n_rows: int
    weighted: bool
    dense: bool
    seen: SeenRows | None
    checksum: int


def _item(values: Sequence[Any], number: int) -> Any:
    return values[number]


def _pieces(
    partition: RawPartition, units: Units, n_ranges: int, edges: Array
) -> list[RawPartition]:
    """The rows of a partition by ranges of their keys, each in the order of the user.

    Parameters
    ----------
    partition : RawPartition; units : Units
    n_ranges : int; edges : (n_pieces + 1,) int, ranges at which pieces begin and end
    """
    data = partition.data
    if not data.n_samples:
        return [partition] * (len(edges) - 1)
    number = range_of_rows(data.X, units.x, divide_columns(data.y, units.y), n_ranges)
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], edges)
    return [partition.take(order[start:stop]) for start, stop in pairwise(ends)]


def _joined_pieces(pieces: list[RawPartition]) -> RawPartition:
    numbers = np.concatenate([one.numbers for one in pieces])
    return RawPartition(Data(*concatenated([one.data for one in pieces])), numbers)


def _sorted(pieces: list[RawPartition], units: Units) -> SortedRows | None:
    """The rows of a range, in order and without repetitions; None if there are none."""
    some = [one for one in pieces if one.data.n_samples]
    if not some:
        return None
    data, numbers = _joined_pieces(some)
    X, y, w = data
    order, weights = canonical_rows(X, units.x, divide_columns(y, units.y), w)
    hashes, distinct = hashed_rows(X, y), Data(X[order], y[order], weights)
    seen = SeenRows.of_hashes(hashes, w)
    return SortedRows(distinct, numbers[order], seen, _checksum(hashes))


def _numbers(rows: SortedRows | None) -> Array:
    return np.empty(0, dtype=np.intp) if rows is None else rows.numbers


def _split_by_keys(
    partition: RawPartition, units: Units, keys: Array
) -> tuple[RawPartition, RawPartition]:
    """The rows without those of some keys, in ascending order, and these alone."""
    data = partition.data
    chosen = np.zeros(data.n_samples, dtype=bool)
    if data.n_samples:
        chosen = np.isin(row_keys(data.X, units.x, divide_columns(data.y, units.y)), keys)
    return partition.take(np.flatnonzero(~chosen)), partition.take(np.flatnonzero(chosen))


def _checksum(hashes: Array) -> int:
    """The sum of hashes modulo 2^64, whatever their order."""
    return int(hashes.sum(dtype=np.uint64))


def _about(rows: SortedRows | RawPartition | None) -> _About:
    if rows is None:
        return _About(0, False, True, None, 0)
    data, seen, checksum = rows.data, None, 0
    if isinstance(rows, SortedRows):
        seen, checksum = rows.seen, rows.checksum
    dense = isinstance(data.X, np.ndarray)
    return _About(data.n_samples, data.sample_weight is not None, dense, seen, checksum)


def _between(holders: list[Any], slices: list[tuple[int, int]], weighted: bool) -> Data:
    """Neighbouring rows.

    holders : list of RawPartition or SortedRows; slices : first row and end of each
    weighted : bool, whether the rows are to have weights
    """
    parts = []
    for one, (start, stop) in zip(holders, slices, strict=True):
        X, y, _ = one.data
        w = one.data.weights[start:stop] if weighted else None
        parts.append(Data(X[start:stop], y[start:stop], w))
    return Data(*concatenated(parts))


def _every(rows: RawPartition | SortedRows, first: int, step: int, weighted: bool) -> Data:
    """Every `step`-th row, from `first` on; weighted : bool, whether with weights."""
    chosen = np.arange(first, rows.data.n_samples, step)
    data = rows.data.take(chosen)
    return data._replace(sample_weight=data.weights if weighted else None)
