"""`fit` for rows on an engine: each step that looks at rows is a task, or a sum of tasks.

The result has the same bits as a fit of these rows in memory. Only candidates that use all rows at
once are tried: mini-batches would have to be drawn from all workers at every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial, reduce
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import check_random_state

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.engine import Engine, reduced
from sk_backprop._blocks.exact import rounded
from sk_backprop._coordinates.scales import MOST_IN_SAMPLE
from sk_backprop._estimator.calls import Messages, train
from sk_backprop._estimator.checks import (
    always_check_finite,
    check_numbers,
    check_part,
    check_target_range,
    check_total_weight,
    checking,
    drawn_for_validation,
    summed,
)
from sk_backprop._estimator.columns import Decided, Reading, decided
from sk_backprop._estimator.diagnostics import Call
from sk_backprop._estimator.inputs import encoded_part, reading_of_parts, statistics_of
from sk_backprop._estimator.parameters import InvalidParameterError, check_parameters
from sk_backprop._estimator.predictor import shallow_copy
from sk_backprop._estimator.sparse import check_structure
from sk_backprop._estimator.start import likelihood_of, tasks_of
from sk_backprop._estimator.state import Columns, FittedState
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network
from sk_backprop._solvers import SOLVERS
from sk_backprop._tables.statistics import TableStatistics
from sk_backprop._training.engine_rows import problem_of
from sk_backprop._training.outliers import MOST_SEARCHES, Gap, WeightsOfRows, gap_of
from sk_backprop._training.partitions import (
    Holders,
    PartitionFacts,
    RawPartition,
    SortedRanges,
    facts_of,
    holders_of,
    sorted_ranges,
)
from sk_backprop._training.plan import Plan
from sk_backprop._training.problem import Problem

# Statistics of partitions that one task merges: those of columns with many levels are large.
_FAN_IN = 8


class Collection(NamedTuple):
    """Rows on an engine, as given.

    engine : Engine
    blocks : list of (X, y, sample_weight), handles of some rows each; the last may be None
    meta : X without rows
    y_shape : tuple, of y
    """

    engine: Engine
    blocks: list[tuple[Any, Any, Any]]
    meta: Any
    y_shape: tuple[Any, ...]


def fit_collection(
    estimator: Any,
    rows: Collection,
    validation_rows: Collection | None,
    init: tuple[Any, Any],
    given: tuple[Any, Any, Any],
) -> Messages:
    """`BackpropRegressor.fit` for rows on an engine.

    Parameters
    ----------
    estimator : BackpropRegressor
    rows, validation_rows : Collection; the second may be None
    init : `coefs_init` and `intercepts_init`
    given : X, y and sample_weight as passed to `fit`
    """
    check_parameters(estimator)
    _check_supported(estimator)
    continued = estimator.warm_start and hasattr(estimator, "coefs_") and init[0] is None
    last = FittedState.of(estimator) if continued else None
    copied = shallow_copy(estimator)
    read = _read(copied, rows, None if last is None else last.columns)
    engine, likelihood, validation = rows.engine, likelihood_of(estimator), None
    if validation_rows is not None:
        validation = _validation(validation_rows, rows, read, likelihood)
    messages = _messages(rows, read.decision)
    del rows, validation_rows  # and with them the handles of their blocks
    ranges = _sorted(engine, read.partitions, likelihood)
    tasks = tasks_of(estimator, ranges.overview, last, init)
    plan = tasks_of(estimator, ranges.overview, None)[0].plan if continued else tasks[0].plan
    networks = _networks([plan, *(task.plan for task in tasks)])
    rng = check_random_state(estimator.random_state)
    if estimator.early_stopping and validation is None:
        kept, validation = _set_aside(estimator, read.partitions, ranges, rng)
        ranges = _sorted(engine, kept, likelihood)
    first = tasks[0].plan.settings
    problem = problem_of(first, ranges, networks, validation)
    outlying = np.empty(0, dtype=np.intp)
    if plan.finds_outliers:
        searched = problem_of(plan.settings, ranges, networks, None) if continued else problem
        kept, outlying = _without_outliers(plan, engine, read.partitions, searched, networks)
    if len(outlying):
        ranges = _sorted(engine, kept, likelihood)
        problem = problem_of(first, ranges, networks, validation)
    call = Call(read.columns, ranges.facts.n_samples, ranges.seen, last, outlying)
    # The problem has the rows in the coordinates of the solver; raw ones are kept only where they
    # will be looked up by their errors.
    raw = read.partitions if np.isfinite(likelihood.dof) else []
    kept = []
    del ranges, read

    def without_weight(weights: WeightsOfRows) -> Array:
        handles = [engine.submit(_numbers_without_weight, one, weights) for one in raw]
        return np.sort(np.concatenate(engine.gather(handles)))

    found: Messages = train(estimator, call, tasks, problem, rng, given, without_weight)
    return [*messages, *found]


def _check_supported(estimator: Any) -> None:
    """Raise an error if the parameters need all rows in one place."""
    if estimator.solver != "auto" and not SOLVERS[estimator.solver].all_rows:
        others = [repr(name) for name, one in SOLVERS.items() if one.all_rows]
        raise InvalidParameterError(
            f"solver={estimator.solver!r} draws mini-batches, which a dask collection does not "
            f"support: every step uses all rows. Pass solver={', '.join(others)} or 'auto', or "
            "rows in memory: X.compute(), or a part of X."
        )


def _set_aside(
    estimator: Any, partitions: Sequence[Any], ranges: SortedRanges, rng: np.random.RandomState
) -> tuple[list[Any], Holders]:
    """Raw partitions of the training rows, and validation rows, for early stopping.

    Parameters
    ----------
    estimator : BackpropRegressor
    partitions : list of handles of RawPartition; ranges : SortedRanges, of their rows
    rng : RandomState
    """
    if ranges.n_distinct > MOST_IN_SAMPLE:
        raise InvalidParameterError(
            f"early_stopping=True sets rows of X aside at random, of at most {MOST_IN_SAMPLE:,} "
            f"different rows of a dask collection; X has {ranges.n_distinct:,}. Pass X_val and "
            "y_val, or early_stopping=False."
        )
    fraction, n_samples = estimator.validation_fraction, ranges.facts.n_samples
    drawn = drawn_for_validation(ranges.in_order(), n_samples, fraction, rng)
    kept, aside = ranges.split(partitions, drawn)
    return kept, holders_of(ranges.engine, aside)


class _Read(NamedTuple):
    """Rows as they were read.

    columns : Columns of X; partitions : list of handles of RawPartition
    decision : Decided, by which each block is read
    """

    columns: Columns
    partitions: list[Any]
    decision: Decided


@always_check_finite
def _read(estimator: Any, rows: Collection, before: Columns | None) -> _Read:
    """The rows of each block, checked.

    Parameters
    ----------
    estimator : gets `n_features_in_` and `feature_names_in_`
    rows : Collection
    before : Columns of the fit that this one continues, or None
    """
    engine = rows.engine
    starts = _starts(rows, rows.meta.shape[1], "")
    with checking("X"):
        reading = reading_of_parts(estimator, rows.meta)
    decision = Decided(reading, None)
    if not sp.issparse(rows.meta):
        handles = [
            engine.submit(_statistics, k, reading, X, w) for k, (X, _, w) in enumerate(rows.blocks)
        ]
        merge = partial(reduce, TableStatistics.merge)
        statistics = reduced(engine, handles, merge, _FAN_IN)
        with checking("X"):
            decision = decided(reading, statistics)
    if before is not None and before.encoding is not None:
        decision = decision._replace(encoding=before.encoding)
    columns = Columns.known(estimator, decision.encoding)
    return _Read(columns, _partitions(rows, starts, decision, "X"), decision)


def _starts(rows: Collection, n_columns: int, suffix: str) -> Array:
    """Numbers of the first row of each block, whose shapes are checked.

    rows : Collection; n_columns : int, of X; suffix : of the names of the arguments
    """
    engine, expected = rows.engine, (suffix, n_columns, rows.y_shape[1:])
    sizes = [engine.submit(_n_rows, k, expected, *block) for k, block in enumerate(rows.blocks)]
    return np.cumsum([0, *engine.gather(sizes)])


def _partitions(rows: Collection, starts: Array, decision: Decided, name: str) -> list[Any]:
    """Handles of RawPartition.

    Parameters
    ----------
    rows : Collection; starts : numbers of the first row of each block
    decision : Decided; name : of X in errors
    """
    return [
        rows.engine.submit(_partition, (name, k, int(starts[k])), decision, block)
        for k, block in enumerate(rows.blocks)
    ]


def _validation(
    rows: Collection, training: Collection, read: _Read, likelihood: Likelihood
) -> Holders:
    """Checked validation rows.

    Parameters
    ----------
    rows, training : Collection; read : _Read, of the training rows; likelihood : Likelihood
    """
    of_training, given = training.y_shape[1:], rows.y_shape[1:]
    if np.prod(given) != np.prod(of_training):
        raise ValueError(
            f"y_val has {np.prod(given):.0f} outputs; y has {np.prod(of_training):.0f} and they "
            "must agree."
        )
    starts = _starts(rows, training.meta.shape[1], "_val")
    partitions = _partitions(rows, starts, read.decision, "X_val")
    facts = _checked_facts(rows.engine, partitions, "sample_weight_val")
    check_target_range(facts.y_min, likelihood, "y_val")
    return holders_of(rows.engine, partitions)


def _messages(rows: Collection, decision: Decided) -> Messages:
    """Warnings about the columns of X and the shape of y."""
    messages: Messages = [*decision.messages]
    if len(rows.y_shape) == 2 and rows.y_shape[1] == 1:
        message = (
            "A column-vector y was passed when a 1d array was expected. Please change the shape of "
            "y to (n_samples,)."
        )
        messages.append(DataConversionWarning(message))
    return messages


def _checked_facts(engine: Engine, partitions: Sequence[Any], name: str) -> PartitionFacts:
    """Facts of all rows; an error if none is left, or their weights are too small or large.

    engine : Engine; partitions : list of handles of RawPartition; name : of the weights
    """
    facts = facts_of(engine, partitions)
    check_total_weight(0.0 if facts is None else rounded(facts.total_weight), name)
    assert facts is not None
    return facts


def _sorted(engine: Engine, partitions: Sequence[Any], likelihood: Likelihood) -> SortedRanges:
    """Checked rows in the order of their values.

    engine : Engine; partitions : list of handles of RawPartition; likelihood : Likelihood
    """
    facts = _checked_facts(engine, partitions, "sample_weight")
    check_target_range(facts.y_min, likelihood, "y")
    return sorted_ranges(engine, partitions, facts)


def _networks(plans: Sequence[Plan]) -> list[Network]:
    """The networks that may be trained."""
    return list({one.network for plan in plans for one in (*plan.candidates, plan.untried)})


def _without_outliers(
    plan: Plan,
    engine: Engine,
    partitions: Sequence[Any],
    problem: Problem,
    networks: Sequence[Network],
) -> tuple[list[Any], Array]:
    """Partitions without outliers, and their numbers, as `_training.outliers.outlying_rows`.

    Parameters
    ----------
    plan : Plan; engine : Engine
    partitions : list of handles of RawPartition
    problem : Problem, of all their rows; networks : those that may be trained
    """
    kept, numbers = list(partitions), [np.empty(0, dtype=np.intp)]
    for number in range(MOST_SEARCHES):
        if number:
            ranges = _sorted(engine, kept, plan.settings.likelihood)
            problem = problem_of(plan.settings, ranges, networks, None)
        gap = gap_of(plan, problem.sample)
        if gap is None:
            break
        split = [engine.submit(_split, one, gap, problem.scales) for one in kept]
        kept = [engine.submit(itemgetter(0), one) for one in split]
        numbers += engine.gather([engine.submit(itemgetter(1), one) for one in split])
    return kept, np.sort(np.concatenate(numbers))


# --- tasks ---


def _n_rows(number: int, expected: tuple[str, int, tuple[int, ...]], X: Any, y: Any, w: Any) -> int:
    """Number of rows of a block, if X, y and w agree in it.

    Parameters
    ----------
    number : int, of the block, for errors
    expected : suffix of the names of the arguments, number of columns of X, shape of a row of y
    X, y, w : of the block; w may be None or one number
    """
    suffix, n_columns, of_y = expected
    n_rows = X.shape[0]
    for name, values, shape in ((f"X{suffix}", X, (n_columns,)), (f"y{suffix}", y, of_y)):
        # The columns of data frames are compared by name.
        if not hasattr(values, "columns") and tuple(values.shape[1:]) != shape:
            raise ValueError(
                f"Partition {number} of {name} has the shape {values.shape}; expected "
                f"({', '.join(map(str, ('n_rows', *shape)))}). Pass the same columns in all rows."
            )
    for name, values in (("y", y), ("sample_weight", w)):
        if np.ndim(values) and len(values) != n_rows:
            raise ValueError(
                f"Partition {number}: X{suffix} has {n_rows} rows and {name}{suffix} has "
                f"{len(values)}; they must agree. Pass collections with the same partitions."
            )
    return int(n_rows)


def _statistics(number: int, reading: Reading, X: Any, w: Any) -> TableStatistics:
    """Statistics of the columns of a block.

    Parameters
    ----------
    number : int, of the block; reading : Reading; X, w : of the block
    """
    with _in_partition(number), checking("X"):
        return statistics_of(reading, X, w)


@always_check_finite
def _partition(
    place: tuple[str, int, int], decision: Decided, block: tuple[Any, Any, Any]
) -> RawPartition:
    """Checked rows of a block.

    Parameters
    ----------
    place : name of X, number of the block, and of its first row
    decision : Decided; block : X, y and sample_weight
    """
    X, y, w = block
    name, number, first_row = place
    with _in_partition(number, name):
        check_structure(X, "X")
        with checking("X"):
            X = encoded_part(decision, X)
        data, numbers = check_part(summed(X), check_numbers(y, "y", least=0), w)
    return RawPartition(data, first_row + numbers)


@contextmanager
def _in_partition(number: int, name: str = "X") -> Iterator[None]:
    """Errors within it name the partition: its number, and the argument."""
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"Partition {number} of {name}: {error}") from error


def _split(partition: RawPartition, gap: Gap, scales: Any) -> tuple[RawPartition, Array]:
    """The rows within a gap, and the numbers of those beyond; scales : Scales."""
    beyond = gap.beyond_raw(partition.data, scales)
    return partition.take(np.flatnonzero(~beyond)), partition.numbers[beyond]


def _numbers_without_weight(partition: RawPartition, weights: WeightsOfRows) -> Array:
    return np.asarray(partition.numbers[weights.without(partition.data)])
