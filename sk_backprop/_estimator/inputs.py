"""X as the numbers that the network sees: of arrays and tables, in training and afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from sk_backprop._blocks.arrays import Array
from sk_backprop._estimator.parameters import InvalidParameterError
from sk_backprop._tables.encoding import Encoding, Levels
from sk_backprop._tables.kinds import Kind, columns_of, is_table, readable
from sk_backprop._tables.reading import MISSING, levels_of, numbers_of, object_numbers
from sk_backprop._tables.refusals import other_kind, quoted, require_kinds
from sk_backprop._tables.table import ENCODED, LEVELS, NUMBERS, Table, TableColumn

# Checked X, the inputs of the network, (n_samples, n_inputs), dense or CSR, float64 or float32,
# finite; the Encoding, or None where the columns of X are the inputs; warnings to issue.
Inputs = tuple[Any, Encoding | None, list[str]]

# Kinds that scikit-learn's own checks read as numbers.
_PLAIN = frozenset({Kind.NUMBER, Kind.BOOLEAN})

# Kinds of an array, and of the columns of a table without categories.
_OF_ARRAY = _PLAIN | {Kind.NUMBER_CATEGORY, Kind.MISSING}
_WITHOUT_CATEGORIES = ENCODED - {Kind.CATEGORY, Kind.STRING}

# Fewest rows with which a column that numbers them can be distinguished from a measurement.
_ROWS_TO_IDENTIFY = 30


def training_inputs(estimator: Any, X: Any, sample_weight: Any, *, streaming: bool) -> Inputs:
    """X of the first rows, which decide how columns are encoded.

    Parameters
    ----------
    estimator : gets `n_features_in_` and `feature_names_in_`
    X, sample_weight : as given
    streaming : whether these are the first batch of a stream
    """
    given, data = estimator.categorical_features, readable(X)
    table = _read(estimator, data, "X", categories=given is not None, reset=True)
    if sp.issparse(table):
        if _lists_columns(given):
            raise ValueError(
                "categorical_features lists columns of X, and X is sparse, which may not have "
                "categories. Pass X.toarray(), or categorical_features='from_dtype'."
            )
        return table, None, []
    categorical = _categorical(given, table, getattr(estimator, "feature_names_in_", None))
    if isinstance(table, np.ndarray):
        named = is_table(data)
        if not (categorical.any() or _has_nan(table)):
            messages = _identifiers(_table_of(estimator, table)) if named else []
            return table, None, messages
        table = _table_of(estimator, table)._replace(named=named)
    weights = _usable(sample_weight, table.n_rows)
    encoding = Encoding.fit(table, categorical, weights, streaming=streaming)
    encoded, _ = encoding.transform(table, "X")
    return encoded, encoding, [*_identifiers(table), *_unused(encoding)]


def new_inputs(
    estimator: Any, X: Any, name: str, encoding: Encoding | None, means: Callable[[], Array]
) -> Inputs:
    """X of rows that follow the first: of later batches, validation data, and predictions.

    Parameters
    ----------
    estimator : with `n_features_in_` and `feature_names_in_`
    X : as given
    name : of the argument
    encoding : of the training rows, or None
    means : returns the means of the columns, (n_features,), where there is no encoding
    """
    table = new_table(estimator, X, name, encoding)
    if encoding is not None:
        encoded, lacking = encoding.transform(table, name)
        return encoded, encoding, [_lacking_message(lacking)] if lacking else []
    if sp.issparse(table) or not _has_nan(table):
        return table, None, []
    missing = np.asarray(np.isnan(table))
    labels = _labels(estimator, table.shape[1])
    lacking = [labels[j] for j in np.flatnonzero(missing.any(axis=0))]
    filled = np.array(table)
    filled[missing] = np.broadcast_to(means(), table.shape)[missing]
    return filled, None, [_lacking_message(lacking)]


def new_table(estimator: Any, X: Any, name: str, encoding: Encoding | None) -> Any:
    """X, checked but not encoded: a Table where there is an encoding, else an array or CSR.

    estimator, X, name, encoding : as for `new_inputs`
    """
    data, encoded = readable(X), encoding is not None
    if not encoded and not sp.issparse(data) and is_table(data):
        for column in columns_of(data):
            if column.kind in ENCODED - _OF_ARRAY:
                raise other_kind(name, column.kind, column.label, NUMBERS)
    table = _read(estimator, data, name, categories=encoded, reset=False)
    if isinstance(table, Table) and not encoded:  # a column has missing values alone
        numbers = np.column_stack([numbers_of(column.values) for column in table.columns])
        numbers = numbers.astype(table.dtype, copy=False)
        return check_array(numbers, ensure_all_finite="allow-nan", input_name=name)
    if encoding is None or isinstance(table, Table):
        return table
    if sp.issparse(table):
        raise ValueError(
            f"{name} is sparse, and X of the fit had missing values or categories in its columns. "
            f"Pass {name}.toarray(), or the table that it was made of."
        )
    return _table_of(estimator, table)


def _usable(sample_weight: Any, n_rows: int) -> Array | None:
    """Weights by which to count levels; None for ones. What is not allowed is refused later."""
    try:
        weights = np.asarray(sample_weight, dtype=float)
    except (TypeError, ValueError):
        return None
    return np.maximum(np.nan_to_num(weights), 0.0) if weights.shape == (n_rows,) else None


def _read(estimator: Any, data: Any, name: str, *, categories: bool, reset: bool) -> Any:
    """Checked X: a Table if some columns are not plain numbers, otherwise an array or CSR.

    Parameters
    ----------
    estimator : gets `n_features_in_` and `feature_names_in_` if `reset`, else X must match them
    data : as `readable` returns it; name : of the argument
    categories : whether a table may have columns of categories
    """
    if not sp.issparse(data):
        of_table = ENCODED if categories else _WITHOUT_CATEGORIES
        columns = require_kinds(data, name, of_table if is_table(data) else _OF_ARRAY)
        kinds = {column.kind for column in columns}
        # Categories that are numbers are numbers where there are to be no categories.
        plain = _PLAIN if categories else _PLAIN | {Kind.NUMBER_CATEGORY}
        if is_table(data) and kinds - plain:
            validate_data(estimator, data, reset=reset, skip_check_array=True)
            table = Table.of_frame(data, columns)
            if not table.n_rows:
                check_array(np.empty((0, len(table.columns))), input_name=name)  # its error
            return table
        if Kind.MISSING in kinds:
            data = object_numbers(np.asarray(data, dtype=object))
    allowed = {
        "accept_sparse": "csr",
        "dtype": (np.float64, np.float32),
        "ensure_all_finite": True if sp.issparse(data) else "allow-nan",
    }
    if name == "X":
        return validate_data(estimator, data, reset=reset, **allowed)
    checked = check_array(data, input_name=name, **allowed)
    if checked.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"{name} has {checked.shape[1]} features; X has {estimator.n_features_in_} and they "
            "must agree."
        )
    validate_data(estimator, data, reset=False, skip_check_array=True)
    return checked


def _categorical(given: Any, table: Any, names: Sequence[str] | None) -> Array:
    """The columns of categories: (n_columns,) bool.

    Parameters
    ----------
    given : the parameter `categorical_features`
    table : Table, or array of shape (n_samples, n_columns)
    names : of the columns, or None
    """
    if isinstance(table, Table):
        of_dtype = {Kind.NUMBER_CATEGORY} if isinstance(given, str) else set()
        found = np.array(
            [one.taken_for == LEVELS or one.kind in of_dtype for one in table.columns], dtype=bool
        )
    else:
        found = np.zeros(table.shape[1], dtype=bool)
    return found | _listed(given, len(found), names) if _lists_columns(given) else found


def _lists_columns(given: Any) -> bool:
    return given is not None and not isinstance(given, str)


def _listed(given: Any, n_columns: int, names: Sequence[str] | None) -> Array:
    """The columns that a mask, indices or names select: (n_columns,) bool.

    Parameters
    ----------
    given : array-like of bool, int or str
    n_columns : int
    names : of the columns, or None
    """
    listed, found = np.asarray(given), np.zeros(n_columns, dtype=bool)
    if listed.size == 0:
        return found
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


def _has_nan(X: Array) -> bool:
    """Whether a value is nan; quick where none is."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isnan(np.sum(X)) and np.isnan(X).any())


def _labels(estimator: Any, n_columns: int) -> list[str]:
    """What to call the columns: their names, or x0, x1, ... as in scikit-learn."""
    names = getattr(estimator, "feature_names_in_", None)
    return [f"x{j}" for j in range(n_columns)] if names is None else list(names)


def _table_of(estimator: Any, X: Array) -> Table:
    """An array of numbers as a Table, for an estimator that knows its columns."""
    labels = _labels(estimator, X.shape[1])
    columns = [TableColumn(label, Kind.NUMBER, x) for label, x in zip(labels, X.T, strict=True)]
    return Table(columns)


# --- warnings ---


def _identifiers(table: Table) -> list[str]:
    """Warn of columns of a data frame that number the rows.

    Their integers are all different, and few between the smallest and the largest are missing, as
    in a random part of the rows.
    """
    n_rows, found = table.n_rows, []
    if n_rows < _ROWS_TO_IDENTIFY or len(table.columns) < 2:
        return []
    for column in table.columns:
        if column.kind is Kind.NUMBER:
            values = numbers_of(column.values)
            if np.ptp(values) < 2 * n_rows and np.array_equal(values, np.floor(values)):
                found += [column.label] * (np.unique(values).size == n_rows)
        elif column.taken_for == LEVELS:
            levels = levels_of(column.values)[1]
            found += [column.label] * (len(levels) == n_rows and MISSING not in levels)
    if not found:
        return []
    return [
        f"X has a different value in each row of {quoted(found)}, like a number or name of the "
        f"row. If that is all it is, leave it out: it shows nothing of new rows."
    ]


def _unused(encoding: Encoding) -> list[str]:
    """Warn of columns in which no category has enough rows for an input of its own."""
    pairs = zip(encoding.labels, encoding.blocks, strict=True)
    labels = [label for label, block in pairs if isinstance(block, Levels) and not block.levels]
    if not labels:
        return []
    return [
        f"X has too few rows of each category in {quoted(labels)}: the fit takes all of them for "
        "one, and so does not use the column. Merge categories, or pass what they have in common."
    ]


def _lacking_message(labels: Sequence[str]) -> str:
    return (
        f"X has missing values in {quoted(labels)}, and had none there in fit. They are replaced "
        "by the mean of the training rows (a category by none), and the standard deviations do not "
        "show it."
    )
