"""Rows in partitions on an engine: their order by values, their scales, and the problem of a fit.

The same functions as for rows in memory (`_training.problem`) run on partitions, so that a fit
gives the same bits: rows are put in the order of `_coordinates.row_order`, whatever the partitions,
and cut into parts that are nodes of the tree by which all sums are added (`_blocks.blocks`).

raw partitions -> pieces by ranges of keys -> sorted ranges -> parts -> parts in the solver's
coordinates. Of up to `MOST_IN_SAMPLE` rows all come to the client as well, of more every m-th: what
is selected on held-out rows, and how the noise is distributed, is found there.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import reduce
from itertools import chain, pairwise
from operator import add
from typing import Any, NamedTuple

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.blocks import STATISTICS_ROWS, Batch, Node, joined, sum_nodes, total_of
from sk_backprop._blocks.engine import Engine, reduced
from sk_backprop._blocks.exact import Weights, rounded
from sk_backprop._blocks.threads import one_blas_thread
from sk_backprop._coordinates.row_order import (
    canonical_rows,
    products_with_y,
    range_of_rows,
    ranks_of,
)
from sk_backprop._coordinates.scales import (
    MOST_IN_SAMPLE,
    Moments,
    Scales,
    as_units,
    divide_columns,
    largest_values,
    moments_for,
    sampling_step,
)
from sk_backprop._coordinates.seen_rows import SeenRows
from sk_backprop._inference.engine_sums import EngineSums, Part, WeightUnit, stacked
from sk_backprop._inference.objective import Objective
from sk_backprop._inference.row_sums import EQUATION_ROWS, rows_of_block
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network
from sk_backprop._training.problem import Data, Problem, Settings, unless_ones, working_dtype

# Bytes of X in a part, at most: a worker holds a few parts, and may have to send one.
_PART_BYTES = 2**29


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

    n_samples : int; total_weight : Fraction
    x_max : (n_features,); y_max : (n_outputs,), largest absolute values
    y_min : (n_outputs,), smallest values
    """

    n_samples: int
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
        y = data.y
        x_max, y_max = largest_values(data.X), np.abs(y).max(axis=0)
        weight = Weights(data.sample_weight, data.n_samples).total
        return cls(data.n_samples, weight, x_max, y_max, y.min(axis=0))

    @staticmethod
    def merged(found: "list[PartitionFacts | None]") -> "PartitionFacts | None":
        """Facts of all rows."""
        some = [one for one in found if one is not None]
        if not some:
            return None
        n_samples, weight, x_max, y_max, y_min = zip(*some, strict=True)
        ends = [np.max(x_max, axis=0), np.max(y_max, axis=0), np.min(y_min, axis=0)]
        return PartitionFacts(sum(n_samples), sum(weight, Fraction(0)), *ends)


class Units(NamedTuple):
    """x : (n_features,) and y : (n_outputs,), largest absolute values as units."""

    x: Array
    y: Array


class SortedRows(NamedTuple):
    """Distinct rows, raw, in the order of their values.

    data : Data, with weights unless all are one; seen : SeenRows; n_samples : int, with repetitions
    """

    data: Data
    seen: SeenRows
    n_samples: int


class Partitions:
    """All rows of a problem, in the solver's coordinates, on an engine.

    Parameters
    ----------
    engine : Engine
    parts : list of Part
    total_weight : float, of the rows
    unit : WeightUnit, or None where the rows have no weights
    """

    def __init__(
        self, engine: Engine, parts: Sequence[Part], total_weight: float, unit: WeightUnit | None
    ) -> None:
        self.engine, self.parts, self.total_weight, self.unit = engine, parts, total_weight, unit
        self.n_samples = sum(part.n_rows for part in parts)

    def objective(
        self, network: Network, likelihood: Likelihood, sample: Data, alpha: float
    ) -> Objective:
        """The objective of all rows.

        Parameters
        ----------
        network : Network, in the solver's coordinates; likelihood : Likelihood
        sample : Data, those of the rows that are in memory; alpha : float, the penalty
        """
        batch = Batch(sample.X, sample.y, None)
        sums = EngineSums(self.engine, self.parts, network, batch, self.unit)
        density = likelihood.density_fraction(sample.y, sample.sample_weight)
        total = float(self.n_samples)
        if self.unit is not None:
            total = self.unit.largest * self.unit.total
        return Objective.over(network, likelihood, sums, total, density, alpha)

    def _mapped(self, function: Callable[..., Batch], *args: Any) -> list[Part]:
        """The results of a function of each part, a Batch of as many rows."""
        submit = self.engine.submit
        return [part._replace(rows=submit(function, part.rows, *args)) for part in self.parts]

    def astype(self, dtype: Any) -> "Partitions":
        """The same rows in another precision."""
        parts = self._mapped(_in_precision, dtype)
        return Partitions(self.engine, parts, self.total_weight, self.unit)

    def in_unit(self, unit: float) -> "Partitions":
        """The same rows, with their weights divided by `unit`, and none if all are then 1."""
        engine = self.engine
        ones = [engine.submit(_all_ones, part.rows, unit) for part in self.parts]
        weighted = not all(engine.gather(ones))
        return with_weights(engine, self._mapped(_divided, unit, weighted), weighted=weighted)


def with_weights(engine: Engine, parts: Sequence[Part], *, weighted: bool) -> Partitions:
    """Rows on an engine, with the sums of their weights.

    engine : Engine; parts : list of Part; weighted : bool, whether the rows have weights
    """
    n_samples = sum(part.n_rows for part in parts)
    if not weighted:
        return Partitions(engine, parts, float(n_samples), None)
    largest = max(engine.gather([engine.submit(_largest_weight, part.rows) for part in parts]))

    def total(unit: float) -> float:
        return float(_total(engine, parts, _weights, unit, merge=add))

    relative = total(largest)
    unit = WeightUnit(largest, relative, relative / n_samples)
    return Partitions(engine, parts, total(1.0), unit)


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


class SortedRanges(NamedTuple):
    """Distinct rows in the order of their values, raw, in ranges of their keys.

    engine : Engine; ranges : list of handles of SortedRows; sizes : list of int, their rows
    facts : PartitionFacts, of the rows before equal ones were merged; units : Units
    weighted, dense : bool, whether the rows have weights, and X is dense
    row_bytes : float, of X; seen : SeenRows; sample : Data, every m-th row
    """

    engine: Engine
    ranges: list[Any]
    sizes: list[int]
    facts: PartitionFacts
    units: Units
    weighted: bool
    dense: bool
    row_bytes: float
    seen: SeenRows
    sample: Data

    @property
    def n_distinct(self) -> int:
        """Number of distinct rows."""
        return sum(self.sizes)

    @property
    def overview(self) -> Overview:
        """What a plan depends on."""
        n_samples, many = self.facts.n_samples, self.facts.n_samples > MOST_IN_SAMPLE
        n_distinct = n_samples if many else self.n_distinct
        return Overview(*self.sample, n_samples, n_distinct, rounded(self.facts.total_weight))

    def parts(self, networks: Sequence[Network]) -> list[Part]:
        """The rows, as Data, in parts that are nodes of the tree of all sums.

        networks : those that may be trained
        """
        dtype, ends = self.sample.X.dtype, np.cumsum([0, *self.sizes])
        unit = alignment(networks, dtype, self.n_distinct, dense=self.dense)
        parts = []
        starts = _starts(self.n_distinct, self.engine.n_threads, self.row_bytes, unit)
        for start, stop in pairwise(starts):
            inside = [k for k in range(len(self.ranges)) if ends[k] < stop and ends[k + 1] > start]
            slices = [(max(start - ends[k], 0), min(stop, ends[k + 1]) - ends[k]) for k in inside]
            ranges = [self.ranges[k] for k in inside]
            rows = self.engine.submit(_between, ranges, slices, self.weighted)
            parts.append(Part(rows, start, stop - start))
        return parts


def sorted_ranges(engine: Engine, partitions: Sequence[Any], facts: PartitionFacts) -> SortedRanges:
    """Raw partitions in the order of the values of their rows, equal rows merged.

    Parameters
    ----------
    engine : Engine
    partitions : list of handles of RawPartition, in the order of the user's rows
    facts : PartitionFacts, of all of them
    """
    units = Units(as_units(facts.x_max), as_units(facts.y_max))
    n_ranges = max(1, min(len(partitions), 2 * engine.n_threads))
    pieces = [engine.submit(_pieces, one, units, n_ranges) for one in partitions]
    ranges = [
        engine.submit(_sorted, [engine.submit(_item, one, number) for one in pieces], units)
        for number in range(n_ranges)
    ]
    about = engine.gather([engine.submit(_about, one) for one in ranges])
    seen = reduce(SeenRows.joined_with, (one.seen for one in about if one.seen is not None))
    weighted, sizes = any(one.weighted for one in about), [one.n_rows for one in about]
    step, ends = sampling_step(sum(sizes)), np.cumsum([0, *sizes])
    samples = [
        engine.submit(_every, one, int(-start % step), step, weighted)
        for one, start, size in zip(ranges, ends, sizes)
        if size
    ]
    return SortedRanges(
        engine,
        ranges,
        sizes,
        facts,
        units,
        weighted,
        all(one.dense for one in about),
        sum(one.n_bytes for one in about) / sum(sizes),
        seen,
        _concatenated(engine.gather(samples)),
    )


def facts_of(engine: Engine, partitions: Sequence[Any]) -> PartitionFacts | None:
    """Facts of all rows of raw partitions, or None if there are none."""
    handles = [engine.submit(PartitionFacts.of, one) for one in partitions]
    return reduced(engine, handles, PartitionFacts.merged)


def alignment(networks: Sequence[Network], dtype: Any, n_samples: int, *, dense: bool) -> int:
    """Number of rows of which a multiple may precede a part: no block of any sum is cut.

    networks : those that may be trained; dtype : of X; n_samples : int
    dense : bool, whether X is dense
    """
    blocks = [
        rows_of_block(network, within, n_samples, dense=dense)
        for network in networks
        for within in (np.dtype(dtype), np.dtype(np.float64))
    ]
    return max(STATISTICS_ROWS, EQUATION_ROWS, *blocks)


def _starts(n_rows: int, n_threads: int, row_bytes: float, unit: int) -> list[int]:
    """First rows of parts of about equal size, multiples of `unit`, and the number of rows.

    Parameters
    ----------
    n_rows : int
    n_threads : int, number of parts, unless they would be too large
    row_bytes : float; unit : int
    """
    n_parts = max(n_threads, int(np.ceil(n_rows * row_bytes / _PART_BYTES)))
    cuts = np.round(np.arange(1, n_parts) * n_rows / n_parts / unit).astype(int) * unit
    return [0, *sorted({int(cut) for cut in cuts if 0 < cut < n_rows}), n_rows]


@one_blas_thread()
def problem_of(
    settings: Settings,
    rows: SortedRanges,
    networks: Sequence[Network],
    validation: Data | None,
) -> Problem:
    """As `_training.problem.prepare`, for rows on an engine.

    Parameters
    ----------
    settings : Settings, of a solver that uses all rows
    rows : SortedRanges
    networks : those that may be trained
    validation : Data, raw, in memory; or None
    """
    engine, sample, parts = rows.engine, rows.sample, rows.parts(networks)
    scales = _scales(settings, rows, parts)
    dtype, within = working_dtype(settings, scales, sample.X, rows.n_distinct)
    parts = [
        part._replace(rows=engine.submit(_scaled, part.rows, scales, within)) for part in parts
    ]
    elsewhere = with_weights(engine, parts, weighted=rows.weighted)
    unit = elsewhere.unit
    share = 1 / rows.n_distinct if unit is None else (unit.largest, unit.total)
    products = _total(engine, parts, _products, share, merge=add)
    X, y = scales.input(sample.X, within), scales.target(sample.y, within)
    inputs = Data(X, y, sample.sample_weight)
    if validation is not None:
        X_val, y_val = scales.input(validation.X, dtype), scales.target(validation.y, dtype)
        validation = Data(X_val, y_val, validation.sample_weight)
    ranks = ranks_of(products, len(scales.x.mean))
    return Problem(scales, inputs, validation, dtype, None, ranks, elsewhere=elsewhere)


def _scales(settings: Settings, rows: SortedRanges, parts: Sequence[Part]) -> Scales:
    """The scales of all rows; parts : list of Part, raw."""
    likelihood, units, sample = settings.likelihood, rows.units, rows.sample
    x = _total(rows.engine, parts, _moments_of_x, units.x, merge=Moments.merged)
    y = _total(rows.engine, parts, _moments_of_y, units.y, merge=Moments.merged)
    y = moments_for(likelihood, sample.y, units.y, sample.sample_weight, y)
    x_max, n_samples, precondition = rows.facts.x_max, rows.facts.n_samples, settings.precondition
    return Scales(x_max, n_samples, x, units.y, y, precondition, likelihood)


def _total(
    engine: Engine,
    parts: Sequence[Part],
    function: Callable[..., Any],
    *args: Any,
    merge: Callable[[Any, Any], Any],
) -> Any:
    """The sum over all rows of what a function returns for each part, nodes of one tree.

    Parameters
    ----------
    engine : Engine; parts : list of Part
    function : callable of the rows of a part, the number of its first row, and `args`
    merge : callable of two neighbouring sums
    """
    handles = [engine.submit(function, part.rows, part.first_row, *args) for part in parts]
    return total_of(joined(chain.from_iterable(engine.gather(handles)), merge), merge)


# --- tasks: pure functions of partitions ---


class _About(NamedTuple):
    """seen : SeenRows or None; n_rows, n_bytes : int; weighted, dense : bool."""

    seen: SeenRows | None
    n_rows: int
    n_bytes: int
    weighted: bool
    dense: bool


def _item(values: Sequence[Any], number: int) -> Any:
    return values[number]


def _pieces(partition: RawPartition, units: Units, n_ranges: int) -> list[RawPartition]:
    """The rows of a partition by ranges of their keys, each in the order of the user."""
    data = partition.data
    if not data.n_samples:
        return [partition] * n_ranges
    number = range_of_rows(data.X, units.x, divide_columns(data.y, units.y), n_ranges)
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], np.arange(n_ranges + 1))
    return [partition.take(order[start:stop]) for start, stop in pairwise(ends)]


def _sorted(pieces: list[RawPartition], units: Units) -> SortedRows | None:
    """The rows of a range, in order and without repetitions; None if there are none."""
    some = [one.data for one in pieces if one.data.n_samples]
    if not some:
        return None
    data = _concatenated(some)
    X, y, w = data
    order, weights = canonical_rows(X, units.x, divide_columns(y, units.y), w)
    return SortedRows(Data(X[order], y[order], weights), SeenRows.of(X, y, w), len(y))


def _about(rows: SortedRows | None) -> _About:
    if rows is None:
        return _About(None, 0, 0, False, True)
    X, _, w = rows.data
    dense = isinstance(X, np.ndarray)
    n_bytes = X.nbytes if dense else X.data.nbytes + X.indices.nbytes
    return _About(rows.seen, rows.data.n_samples, n_bytes, w is not None, dense)


def _between(ranges: list[SortedRows], slices: list[tuple[int, int]], weighted: bool) -> Data:
    """Neighbouring rows of some ranges.

    ranges : list of SortedRows; slices : first row and end of each
    weighted : bool, whether any row has a weight other than one
    """
    parts = []
    for one, (start, stop) in zip(ranges, slices, strict=True):
        X, y, _ = one.data
        w = one.data.weights[start:stop] if weighted else None
        parts.append(Data(X[start:stop], y[start:stop], w))
    return _concatenated(parts)


def _concatenated(parts: Sequence[Data]) -> Data:
    X, y, w = zip(*parts, strict=True)
    return Data(stacked(X), np.concatenate(y), None if w[0] is None else np.concatenate(w))


def _every(rows: SortedRows, first: int, step: int, weighted: bool) -> Data:
    """Every `step`-th row, from `first` on; weighted : bool, whether with weights."""
    chosen = np.arange(first, rows.data.n_samples, step)
    data = rows.data.take(chosen)
    return data._replace(sample_weight=data.weights if weighted else None)


def _moments_of_x(rows: Data, first_row: int, unit: Array) -> list[Node[Moments]]:
    with one_blas_thread():
        return Moments.nodes(rows.X, unit, rows.sample_weight, first_row=first_row)


def _moments_of_y(rows: Data, first_row: int, unit: Array) -> list[Node[Moments]]:
    with one_blas_thread():
        y = np.minimum(rows.y, unit)
        return Moments.nodes(y, unit, rows.sample_weight, first_row=first_row)


def _weights_of(rows: Batch) -> Array:
    assert rows.w is not None
    return rows.w[:, 0]


def _largest_weight(rows: Batch) -> float:
    return float(_weights_of(rows).max())


def _weights(rows: Batch, first_row: int, unit: float) -> list[Node[float]]:
    """Sums of the weights divided by `unit`, as nodes."""
    return sum_nodes(_weights_of(rows) / unit, first_row)


def _all_ones(rows: Batch, unit: float) -> bool:
    return unless_ones(_weights_of(rows) / unit) is None


def _divided(rows: Batch, unit: float, weighted: bool) -> Batch:
    return rows._replace(w=None if rows.w is None or not weighted else rows.w / unit)


def _scaled(rows: Data, scales: Scales, within: Any) -> Batch:
    """The rows in the solver's coordinates; scales : Scales; within : their dtype."""
    w = rows.sample_weight
    X, y = scales.input(rows.X, within), scales.target(rows.y, within)
    return Batch(X, y, None if w is None else w[:, None])


def _products(rows: Batch, first_row: int, share: float | tuple[float, float]) -> list[Node[Array]]:
    """As `products_with_y`; share : of each row, or what its weight is divided by."""
    with one_blas_thread():
        of_rows: Array | float
        if isinstance(share, tuple):
            assert rows.w is not None
            of_rows = rows.w / share[0] / share[1]
        else:
            of_rows = share
        return products_with_y(rows.X, rows.y, of_rows, first_row)


def _in_precision(rows: Batch, dtype: Any) -> Batch:
    X: Any = rows.X
    return rows._replace(X=X.astype(dtype), y=rows.y.astype(dtype))
