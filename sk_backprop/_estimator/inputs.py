"""X as the numbers that the network sees: of arrays and tables, in training and afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from sk_backprop._blocks.arrays import Array
from sk_backprop._estimator.columns import (
    PLAIN,
    Decided,
    Reading,
    decided,
    identifiers,
    labels_of,
    lacking_message,
    lists_columns,
    names_of,
    plain_kinds,
)
from sk_backprop._tables.encoding import Encoding, Levels
from sk_backprop._tables.kinds import Kind, columns_of, is_table, readable
from sk_backprop._tables.reading import declared_levels, numbers_of, object_numbers
from sk_backprop._tables.refusals import other_kind, require_kinds
from sk_backprop._tables.statistics import ColumnStatistics, TableStatistics
from sk_backprop._tables.table import ENCODED, NUMBERS, Table, TableColumn

# Checked X, the inputs of the network, (n_samples, n_inputs), dense or CSR, float64 or float32,
# finite; the Encoding, or None where the columns of X are the inputs; warnings to issue.
Inputs = tuple[Any, Encoding | None, list[str]]

# Kinds of an array, and of the columns of a table without categories.
_OF_ARRAY = PLAIN | {Kind.NUMBER_CATEGORY, Kind.MISSING}
_WITHOUT_CATEGORIES = ENCODED - {Kind.CATEGORY, Kind.STRING}

_DTYPES = (np.float64, np.float32)

# Options of scikit-learn's check of a part of X, which may have no rows.
_ANY_ROWS = {"dtype": _DTYPES, "ensure_min_samples": 0, "input_name": "X"}


def training_inputs(estimator: Any, X: Any, sample_weight: Any, *, streaming: bool) -> Inputs:
    """X of the first rows, which decide how columns are encoded.

    Parameters
    ----------
    estimator : gets `n_features_in_` and `feature_names_in_`
    X, sample_weight : as given
    streaming : whether these are the first batch of a stream
    """
    given, data = estimator.categorical_features, readable(X)
    rows = _read(estimator, data, "X", plain_kinds(given), reset=True)
    if sp.issparse(rows):
        if lists_columns(given):
            raise ValueError(
                "categorical_features lists columns of X, and X is sparse, which may not have "
                "categories. Pass X.toarray(), or categorical_features='from_dtype'."
            )
        return rows, None, []
    reading = Reading.of(estimator, data)
    table = rows if isinstance(rows, Table) else _table_of(reading.names, rows)
    if isinstance(rows, np.ndarray) and not (reading.listed.any() or _has_nan(rows)):
        if reading.labels is None:
            return rows, None, []
        columns = [ColumnStatistics.of_integers(column) for column in table.columns]
        return rows, None, identifiers(table.n_rows, columns)
    declared = None
    if streaming:
        declared = [declared_levels(column.values, column.kind) for column in table.columns]
    categorical = reading.categorical([column.kind for column in table.columns])
    weights = _usable(sample_weight, table.n_rows)
    decision = decided(reading, TableStatistics.of(table, categorical, weights), declared)
    assert decision.encoding is not None
    encoded, _ = decision.encoding.transform(table, "X")
    return encoded, decision.encoding, list(decision.messages)


# --- training rows in parts ---


def reading_of_parts(estimator: Any, meta: Any) -> Reading:
    """How rows that come in parts are read.

    Parameters
    ----------
    estimator : gets `n_features_in_` and `feature_names_in_`
    meta : no rows, in a container as that of each part: a data frame with its names and dtypes, or
        an array of shape (0, n_columns)
    """
    data, plain = readable(meta), plain_kinds(estimator.categorical_features)
    require_kinds(data, "X", _allowed_kinds(data, plain))
    validate_data(estimator, data, reset=True, skip_check_array=True)
    return Reading.of(estimator, data)


def statistics_of(reading: Reading, part: Any, sample_weight: Any = None) -> TableStatistics:
    """Statistics of some rows, which `TableStatistics.merge` merges, in any order.

    Parameters
    ----------
    reading : Reading
    part : data frame or array; it may have no rows
    sample_weight : (n_rows,), or None for ones
    """
    table = _table_of_part(reading, _read_part(reading, part))
    with_levels = reading.categorical([column.kind for column in table.columns])
    if reading.given is not None:  # objects are categories if some in other rows are strings
        of_objects = [one.taken_for == NUMBERS and one.is_of_objects for one in table.columns]
        with_levels = np.logical_or(with_levels, of_objects)
    return TableStatistics.of(table, with_levels, _usable(sample_weight, table.n_rows))


def encoded_part(decision: Decided, part: Any) -> Any:
    """The inputs of some of the rows whose statistics led to `decision`: (n_rows, n_inputs).

    decision : Decided; part : as for `statistics_of`, or sparse
    """
    if sp.issparse(part):
        return check_array(part, accept_sparse="csr", **_ANY_ROWS)
    rows = _read_part(decision.reading, part)
    if decision.encoding is None:
        if isinstance(rows, Table):
            rows = np.column_stack([numbers_of(column.values) for column in rows.columns])
        checked = check_array(rows, input_name="X", ensure_min_samples=0)
        return np.asarray(checked, dtype=decision.dtype)
    table = _table_of_part(decision.reading, rows)
    # Objects of a part may all be numbers, or missing, and be strings elsewhere.
    columns = [
        column._replace(kind=kind)
        for column, kind in zip(table.columns, decision.kinds, strict=True)
    ]
    encoded, _ = decision.encoding.transform(Table(columns), "X", decision.dtype)
    return encoded


def _read_part(reading: Reading, part: Any) -> Any:
    """Checked rows: a Table if some columns are not plain numbers, or not in all parts."""
    data = readable(part)
    columns = require_kinds(data, "X", _allowed_kinds(data, reading.plain))
    kinds = {column.kind for column in columns}
    if is_table(data):
        labels = [str(column.label) for column in columns]
        if labels != reading.labels:
            raise ValueError(
                f"X has the columns {labels} in some rows, and {reading.labels} in others. Pass "
                "the same columns, in the same order, in all rows."
            )
        of_objects = any(str(column.dtype) == "object" for column in columns)
        if of_objects or kinds - reading.plain:
            return Table.of_frame(data, columns)
    if Kind.MISSING in kinds:
        data = object_numbers(np.asarray(data, dtype=object))
    return check_array(data, ensure_all_finite="allow-nan", **_ANY_ROWS)


def _table_of_part(reading: Reading, rows: Any) -> Table:
    """Rows as `_read_part` returns them."""
    return rows if isinstance(rows, Table) else _table_of(reading.labels or reading.names, rows)


# --- rows that follow ---


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
        return encoded, encoding, [lacking_message(lacking)] if lacking else []
    if sp.issparse(table) or not _has_nan(table):
        return table, None, []
    missing = np.asarray(np.isnan(table))
    labels = labels_of(names_of(estimator), table.shape[1])
    lacking = [labels[j] for j in np.flatnonzero(missing.any(axis=0))]
    filled = np.array(table)
    filled[missing] = np.broadcast_to(means(), table.shape)[missing]
    return filled, None, [lacking_message(lacking)]


def new_table(estimator: Any, X: Any, name: str, encoding: Encoding | None) -> Any:
    """X, checked but not encoded: a Table where there is an encoding, else an array or CSR.

    estimator, X, name, encoding : as for `new_inputs`
    """
    data, encoded = readable(X), encoding is not None
    if not encoded and not sp.issparse(data) and is_table(data):
        for column in columns_of(data):
            if column.kind in ENCODED - _OF_ARRAY:
                raise other_kind(name, column.kind, column.label, NUMBERS)
    plain = plain_kinds(None)
    if encoding is not None:
        with_levels = any(isinstance(block, Levels) for block in encoding.blocks)
        plain = plain_kinds([True] if with_levels else "from_dtype")
    table = _read(estimator, data, name, plain, reset=False)
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
    return _table_of(names_of(estimator), table)


def _usable(sample_weight: Any, n_rows: int) -> Array | None:
    """Weights by which to count levels; None for ones. What is not allowed is refused later."""
    try:
        weights = np.asarray(sample_weight, dtype=float)
    except (TypeError, ValueError):
        return None
    return np.maximum(np.nan_to_num(weights), 0.0) if weights.shape == (n_rows,) else None


def _allowed_kinds(data: Any, plain: frozenset[Kind]) -> frozenset[Kind]:
    """Kinds that columns of `data` may have, if those in `plain` are read as numbers."""
    if not is_table(data):
        return _OF_ARRAY
    return _WITHOUT_CATEGORIES if Kind.NUMBER_CATEGORY in plain else ENCODED


def _read(estimator: Any, data: Any, name: str, plain: frozenset[Kind], *, reset: bool) -> Any:
    """Checked X: a Table if some columns are not plain numbers, otherwise an array or CSR.

    Parameters
    ----------
    estimator : gets `n_features_in_` and `feature_names_in_` if `reset`, else X must match them
    data : as `readable` returns it; name : of the argument
    plain : kinds of plain numbers, by `plain_kinds`
    """
    if not sp.issparse(data):
        columns = require_kinds(data, name, _allowed_kinds(data, plain))
        kinds = {column.kind for column in columns}
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
        "dtype": _DTYPES,
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


def _has_nan(X: Array) -> bool:
    """Whether a value is nan; quick where none is."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isnan(np.sum(X)) and np.isnan(X).any())


def _table_of(names: Sequence[str] | None, X: Array) -> Table:
    """An array of numbers as a Table, whose columns have these names, or none."""
    labels = labels_of(names, X.shape[1])
    columns = [TableColumn(label, Kind.NUMBER, x) for label, x in zip(labels, X.T, strict=True)]
    return Table(columns)
