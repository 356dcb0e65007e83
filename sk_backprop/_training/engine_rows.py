"""The problem of rows on an engine: scales, rows in the solver's coordinates, and a sample.

Parts of the rows are nodes of the tree by which all sums are added (`_blocks.blocks`). Of up to
`MOST_IN_SAMPLE` rows all come to the client as well, of more every m-th: what is selected on
held-out rows, and how the noise is distributed, is found there.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from operator import add
from typing import Any

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.blocks import STATISTICS_ROWS, Batch, Node, joined, sum_nodes, total_of
from sk_backprop._blocks.engine import Engine
from sk_backprop._blocks.threads import one_blas_thread
from sk_backprop._coordinates.row_order import products_with_y, ranks_of
from sk_backprop._coordinates.scales import Moments, Scales, moments_for
from sk_backprop._inference.engine_sums import EngineSums, Part, WeightUnit
from sk_backprop._inference.objective import Objective
from sk_backprop._inference.row_sums import Arrays, added
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network
from sk_backprop._training.partitions import Holders, SortedRanges
from sk_backprop._training.problem import (
    Data,
    Problem,
    SampledRows,
    Settings,
    unless_ones,
    working_dtype,
)


class EngineRows:
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

    def total(self, function: Callable[..., list[Node[Arrays]]], *args: Any) -> Arrays:
        """As `_inference.validation.ValidationRows.total`."""
        given = self.n_samples, self.unit, function, args
        found: Arrays = _total(self.engine, self.parts, _with_shares, *given, merge=added)
        return found

    def _mapped(self, function: Callable[..., Batch], *args: Any) -> list[Part]:
        """The results of a function of each part, a Batch of as many rows."""
        submit = self.engine.submit
        return [part._replace(rows=submit(function, part.rows, *args)) for part in self.parts]

    def astype(self, dtype: Any) -> "EngineRows":
        """The same rows in another precision."""
        parts = self._mapped(_in_precision, dtype)
        return EngineRows(self.engine, parts, self.total_weight, self.unit)

    def in_unit(self, unit: float) -> "EngineRows":
        """The same rows, with their weights divided by `unit`, and none if all are then 1."""
        engine = self.engine
        ones = [engine.submit(_all_ones, part.rows, unit) for part in self.parts]
        weighted = not all(engine.gather(ones))
        return with_weights(engine, self._mapped(_divided, unit, weighted), weighted=weighted)


def with_weights(engine: Engine, parts: Sequence[Part], *, weighted: bool) -> EngineRows:
    """Rows on an engine, with the sums of their weights.

    engine : Engine; parts : list of Part; weighted : bool, whether the rows have weights
    """
    n_samples = sum(part.n_rows for part in parts)
    if not weighted:
        return EngineRows(engine, parts, float(n_samples), None)
    largest = max(engine.gather([engine.submit(_largest_weight, part.rows) for part in parts]))

    def total(unit: float) -> float:
        return float(_total(engine, parts, _weights, unit, merge=add))

    relative = total(largest)
    unit = WeightUnit(largest, relative, relative / n_samples)
    return EngineRows(engine, parts, total(1.0), unit)


@one_blas_thread()
def problem_of(
    settings: Settings,
    rows: SortedRanges,
    networks: Sequence[Network],
    validation: Data | Holders | None,
) -> Problem:
    """As `_training.problem.prepare`, for rows on an engine.

    Parameters
    ----------
    settings : Settings, of a solver that uses all rows
    rows : SortedRanges
    networks : those that may be trained
    validation : Data or Holders, raw, or None
    """
    engine, sample, parts = rows.engine, rows.sample, rows.parts(networks)
    scales = _scales(settings, rows, parts)
    dtype, within = working_dtype(settings, scales, sample.X, rows.n_distinct)
    parts = [
        part._replace(rows=engine.submit(_scaled, part.rows, scales, within)) for part in parts
    ]
    engine_rows = with_weights(engine, parts, weighted=rows.rows.weighted)
    of_all = rows.n_distinct, engine_rows.unit
    products = _total(engine, parts, _products, *of_all, merge=add)
    inputs = _in_coordinates(sample, scales, within)
    of_validation: Data | SampledRows | None = None
    if isinstance(validation, Holders):
        of_validation = _sampled(validation, scales, dtype)
    elif validation is not None:
        of_validation = _in_coordinates(validation, scales, dtype)
    ranks = ranks_of(products, len(scales.x.mean))
    return Problem(scales, inputs, of_validation, dtype, None, ranks, engine_rows=engine_rows)


def _in_coordinates(rows: Data, scales: Scales, dtype: Any) -> Data:
    """Rows in memory, in the solver's coordinates; scales : Scales; dtype : of the result."""
    return Data(scales.input(rows.X, dtype), scales.target(rows.y, dtype), rows.sample_weight)


def _sampled(rows: Holders, scales: Scales, dtype: Any) -> SampledRows:
    """Rows on an engine, in the solver's coordinates; scales : Scales; dtype : of the result."""
    submit, parts = rows.engine.submit, rows.parts(STATISTICS_ROWS)
    parts = [part._replace(rows=submit(_scaled, part.rows, scales, dtype)) for part in parts]
    partitions = with_weights(rows.engine, parts, weighted=rows.weighted)
    return SampledRows(_in_coordinates(rows.sample(), scales, dtype), partitions)


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


# --- tasks: pure functions of parts ---


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


def _with_shares(
    rows: Batch,
    first_row: int,
    n_samples: int,
    unit: WeightUnit | None,
    function: Callable[..., list[Node[Arrays]]],
    args: tuple[Any, ...],
) -> list[Node[Arrays]]:
    """What a function returns for rows whose weights are shares of the total of all rows.

    Parameters
    ----------
    rows : Batch; first_row : int
    n_samples : int, number of all rows; unit : WeightUnit or None
    function, args : as for `_inference.validation.ValidationRows.total`
    """
    relative = np.ones((len(rows.y), 1))
    if unit is not None:
        relative = _weights_of(rows)[:, None] / unit.largest / unit.mean
    with one_blas_thread():
        return function(rows._replace(w=relative / n_samples), first_row, *args)


def _scaled(rows: Data, scales: Scales, within: Any) -> Batch:
    """The rows in the solver's coordinates; scales : Scales; within : their dtype."""
    w = rows.sample_weight
    X, y = scales.input(rows.X, within), scales.target(rows.y, within)
    return Batch(X, y, None if w is None else w[:, None])


def _products(
    rows: Batch, first_row: int, n_samples: int, unit: WeightUnit | None
) -> list[Node[Array]]:
    """As `products_with_y`.

    rows : Batch; first_row : int; n_samples, unit : as for `_with_shares`
    """
    share: Array | float = 1 / n_samples
    if unit is not None:
        share = _weights_of(rows)[:, None] / unit.largest / unit.total
    with one_blas_thread():
        return products_with_y(rows.X, rows.y, share, first_row)


def _in_precision(rows: Batch, dtype: Any) -> Batch:
    X: Any = rows.X
    return rows._replace(X=X.astype(dtype), y=rows.y.astype(dtype))
