"""The columns of X: how they are read, and what they are encoded as, from their statistics."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.utils import check_array

from sk_backprop._blocks.arrays import Array
from sk_backprop._estimator.parameters import InvalidParameterError
from sk_backprop._tables.encoding import Encoding, Levels
from sk_backprop._tables.kinds import Kind, column_labels
from sk_backprop._tables.refusals import quoted
from sk_backprop._tables.statistics import MOST_DISTINCT, ColumnStatistics, TableStatistics
from sk_backprop._tables.table import LEVELS, TAKEN_FOR

# Kinds that scikit-learn's own checks read as numbers.
PLAIN = frozenset({Kind.NUMBER, Kind.BOOLEAN})

# Fewest rows with which a column that numbers them can be distinguished from a measurement.
_ROWS_TO_IDENTIFY = 30


class Reading(NamedTuple):
    """How training rows are read, all at once or in parts: what there is to know before.

    given : the parameter `categorical_features`
    listed : (n_columns,) bool, columns that it lists
    names : list of str, of the columns, or None, as scikit-learn has them
    labels : list of str, of the columns of a data frame, also if their names are not strings; None
        for arrays
    """

    given: Any
    listed: Array
    names: list[str] | None
    labels: list[str] | None

    @classmethod
    def of(cls, estimator: Any, data: Any) -> Self:
        """How to read `data`, as `readable` returns it; `estimator` has the column names."""
        given, names = estimator.categorical_features, names_of(estimator)
        listed = _listed(given, estimator.n_features_in_, names)
        return cls(given, listed, names, column_labels(data))

    @property
    def plain(self) -> frozenset[Kind]:
        """Kinds of columns that are read as numbers, without their labels."""
        return plain_kinds(self.given)

    def categorical(self, kinds: Sequence[Kind]) -> Array:
        """The columns of categories, (n_columns,) bool, among columns of these kinds."""
        of_dtype = {Kind.NUMBER_CATEGORY} if isinstance(self.given, str) else set()
        by_kind = [TAKEN_FOR[kind] == LEVELS or kind in of_dtype for kind in kinds]
        return np.logical_or(self.listed, by_kind)


class Decided(NamedTuple):
    """How X is read and encoded.

    reading : Reading
    encoding : Encoding, or None where the columns of X are the inputs
    kinds : list of Kind, of the columns
    dtype : of the inputs
    messages : list of str, warnings to issue
    """

    reading: Reading
    encoding: Encoding | None
    kinds: Sequence[Kind] = ()
    dtype: Any = None
    messages: Sequence[str] = ()


def decided(
    reading: Reading,
    statistics: TableStatistics,
    declared: Sequence[Sequence[str | None]] | None = None,
) -> Decided:
    """How X is encoded.

    Parameters
    ----------
    reading : Reading
    statistics : TableStatistics of all rows
    declared : as for `Encoding.of`
    """
    columns = statistics.columns
    if not statistics.n_rows:
        check_array(np.empty((0, len(columns))), input_name="X")  # its error
    kinds = [column.kind for column in columns]
    categorical, plain = reading.categorical(kinds), reading.plain.issuperset(kinds)
    if plain:  # as an array, whose columns have other labels if their names are not strings
        labels = labels_of(reading.names, len(columns))
        columns = [
            column._replace(label=label, kind=Kind.NUMBER)
            for column, label in zip(columns, labels, strict=True)
        ]
        statistics = statistics._replace(columns=columns)
    if plain and not (categorical.any() or statistics.lacks_values):
        messages = identifiers(statistics.n_rows, columns) if reading.labels is not None else []
        return Decided(reading, None, kinds, statistics.dtype, messages)
    encoding = Encoding.of(statistics, categorical, declared)
    messages = [*identifiers(statistics.n_rows, columns), *_unused(columns, encoding)]
    return Decided(reading, encoding, kinds, statistics.dtype, messages)


def plain_kinds(given: Any) -> frozenset[Kind]:
    """Kinds of the columns of a data frame that is read as an array if it has no others.

    given : as the parameter `categorical_features`
    """
    if given is None:  # categories that are numbers are numbers
        return PLAIN | {Kind.NUMBER_CATEGORY}
    # As categories, booleans have names that numbers do not have.
    return PLAIN - {Kind.BOOLEAN} if lists_columns(given) and len(given) else PLAIN


def lists_columns(given: Any) -> bool:
    """Whether the parameter `categorical_features` is a list of columns."""
    return given is not None and not isinstance(given, str)


def _listed(given: Any, n_columns: int, names: Sequence[str] | None) -> Array:
    """The columns that a mask, indices or names select: (n_columns,) bool.

    Parameters
    ----------
    given : array-like of bool, int or str; None or a string lists none
    n_columns : int
    names : of the columns, or None
    """
    found = np.zeros(n_columns, dtype=bool)
    if not lists_columns(given) or len(given) == 0:
        return found
    listed = np.asarray(given)
    if listed.dtype.kind == "b":
        if listed.shape != (n_columns,):
            raise InvalidParameterError(
                f"categorical_features is a mask of shape {listed.shape}; X has {n_columns} "
                f"columns, so that it must have shape ({n_columns},)."
            )
        return listed
    if listed.dtype.kind in "iu":
        if listed.min() < 0 or listed.max() >= n_columns:
            raise InvalidParameterError(
                f"categorical_features has the indices {listed.tolist()}; X has {n_columns} "
                f"columns, so that they must be from 0 to {n_columns - 1}."
            )
        found[listed] = True
        return found
    known = [] if names is None else list(names)
    unknown = [name for name in listed.tolist() if name not in known]
    if unknown:
        there = f"the columns of X are {known}" if known else "the columns of X have no names"
        raise InvalidParameterError(
            f"categorical_features has {', '.join(map(repr, unknown))}; {there}."
        )
    found[[known.index(name) for name in listed.tolist()]] = True
    return found


def names_of(estimator: Any) -> list[str] | None:
    """The names of the columns that an estimator knows, or None."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else list(names)


def labels_of(names: Sequence[str] | None, n_columns: int) -> list[str]:
    """What to call the columns: their names, or x0, x1, ... as in scikit-learn."""
    return [f"x{j}" for j in range(n_columns)] if names is None else list(names)


# --- warnings ---


def identifiers(n_rows: int, columns: Sequence[ColumnStatistics]) -> list[str]:
    """Warn of columns that number or name the rows.

    Their integers are all different, and few between the smallest and the largest are missing, as
    in a random part of the rows.
    """
    if n_rows < _ROWS_TO_IDENTIFY or len(columns) < 2:
        return []
    found = [column.label for column in columns if column.number_the_rows]
    if not found:
        return []
    return [
        f"X has a different value in each row of {quoted(found)}, like a number or name of the "
        f"row. If that is all it is, leave it out: it shows nothing of new rows."
    ]


def _unused(columns: Sequence[ColumnStatistics], encoding: Encoding) -> list[str]:
    """Warn of columns in which no category has an input of its own.

    columns : list of ColumnStatistics; encoding : Encoding
    """
    few: list[str] = []
    many: list[str] = []
    for column, block in zip(columns, encoding.blocks, strict=True):
        if isinstance(block, Levels) and not block.levels:
            too_many = column.levels is not None and column.levels.levels is None
            (many if too_many else few).append(column.label)
    reasons = {
        "too few rows of each category": few,
        f"more than {MOST_DISTINCT:,} categories": many,
    }
    return [
        f"X has {reason} in {quoted(labels)}: the fit takes all of them for one, and so does not "
        "use the column. Merge categories, or pass what they have in common."
        for reason, labels in reasons.items()
        if labels
    ]


def lacking_message(labels: Sequence[str]) -> str:
    """The warning of columns that newly lack values."""
    return (
        f"X has missing values in {quoted(labels)}, and had none there in fit. They are replaced "
        "by the mean of the training rows (a category by none), and the standard deviations do not "
        "show it."
    )
