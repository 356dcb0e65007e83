"""Validation of the arguments of `BackpropRegressor`, with its error messages.

Every error names the argument, what was given and what is allowed. The functions
return checked arrays and change nothing.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, column_or_1d

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.threads import no_forks
from sk_backprop._coordinates.row_order import row_order
from sk_backprop._coordinates.scales import means_of_rows
from sk_backprop._estimator.parameters import is_integer, rules
from sk_backprop._estimator.sparse import check_structure
from sk_backprop._estimator.state import Columns, means_of
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network, own_features
from sk_backprop._tables.kinds import readable
from sk_backprop._tables.refusals import require_numeric
from sk_backprop._training.problem import Data, groups_of_rows

# scikit-learn's `assume_finite` applies to `predict` alone: the time of a search for nan is
# negligible compared with that of training.
always_check_finite = config_context(assume_finite=False)


class Checked(NamedTuple):
    """Checked arguments of `fit` or `partial_fit`.

    data : Data, without the rows of zero weight; numbers : of its rows, among those given
    columns : Columns of X; messages : list of str, warnings to issue
    """

    data: Data
    numbers: Array
    columns: Columns
    messages: list[str]


@always_check_finite
def check_rows(
    estimator: Any, X: Any, y: Any, sample_weight: Any, *, streaming: bool, before: Columns | None
) -> Checked:
    """Checked X, y and weights for training.

    Parameters
    ----------
    estimator : gets `n_features_in_` and `feature_names_in_`, unless X must match `before`
    X, y, sample_weight : as passed to `fit`
    streaming : whether they are a batch of a stream
    before : Columns of an earlier call that this one continues, or None
    """
    if y is None:
        raise ValueError("BackpropRegressor requires y to be passed, but the target y is None.")
    if before is not None:
        inputs = _later_inputs(estimator, X, before)
    elif _is_plain_input(X) and isinstance(estimator.categorical_features, str | None):
        estimator.n_features_in_ = X.shape[1]
        vars(estimator).pop("feature_names_in_", None)
        inputs = X, None, []
    else:
        read = partial(
            inputs_module().training_inputs, estimator, X, sample_weight, streaming=streaming
        )
        inputs = _checked_inputs(X, "X", read)
    X, encoding, messages = inputs
    columns = Columns.known(estimator, encoding)
    return Checked(*_rows(X, _target(y, "y"), sample_weight, ""), columns, messages)


def check_new_rows(estimator: Any, X: Any) -> tuple[Any, list[str]]:
    """X of `predict`, dense or CSR, and warnings to issue."""
    # A row of plain numbers takes no longer than it must: reading the columns takes 6 us.
    attributes = vars(estimator)
    kept = attributes.get("_fit_state")
    encoded = not isinstance(kept, dict) or kept.get("encoding", kept) is not None
    as_in_training = not encoded and "feature_names_in_" not in attributes and _is_plain_input(X)
    if as_in_training and X.shape[1] == attributes.get("n_features_in_"):
        return X, []
    X, _, messages = _later_inputs(estimator, X, Columns.of(estimator))
    return X, messages


def check_scored(y: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Checked y and weights of `score`: numbers."""
    with checking("y"):
        y = _numeric(y, "y")
    with checking("sample_weight"):
        sample_weight = _numeric(sample_weight, "sample_weight")
    return y, sample_weight


def inputs_module() -> Any:
    """The module `inputs`, which few arrays need."""
    with no_forks():
        from sk_backprop._estimator import inputs
    return inputs


def _later_inputs(estimator: Any, X: Any, columns: Columns, training: Data | None = None) -> Any:
    """X of rows that follow the first.

    Parameters
    ----------
    estimator : with `n_features_in_` and `feature_names_in_`
    X : as given; columns : Columns of the first rows
    training : Data of the first rows, to which X_val belongs; None if the estimator is fitted
    """
    name, means = "X", partial(means_of, estimator)
    if training is not None:
        name, means = "X_val", partial(means_of_rows, training.X, training.sample_weight)
    plain = _is_plain_input(X) and columns.encoding is None
    if plain and X.shape[1] == columns.n_features and columns.names is None:
        return X, None, []
    read = partial(inputs_module().new_inputs, estimator, X, name, columns.encoding, means)
    return _checked_inputs(X, name, read)


def _checked_inputs(X: Any, name: str, read: Callable[[], Any]) -> Any:
    """What `read` makes of X, called `name`, as `_estimator.inputs.Inputs`."""
    check_structure(X, name)
    with checking(name):
        inputs, encoding, messages = read()
    return summed(inputs), encoding, messages


def _numeric(values: Any, name: str) -> Any:
    """`values` in a form that numpy reads, all of them numbers; otherwise an error names them."""
    values = readable(values)
    require_numeric(values, name)
    return values


def _is_plain_input(X: Any) -> bool:
    """Whether X needs no conversion, see `_is_plain`."""
    return _is_plain(X, 2, (np.float64, np.float32))


def _is_plain(values: Any, ndim: int, dtypes: tuple[Any, ...]) -> bool:
    """Whether `values` are a few finite numbers in an array of `ndim` axes and one of `dtypes`.

    They need no conversion: scikit-learn's checks take 60 us a call, six times as long as
    the prediction of a row, and four calls were a tenth of a fit of 50 rows.
    """
    return bool(
        type(values) is np.ndarray
        and values.ndim == ndim
        and 0 < values.size <= _FEW_VALUES
        and values.dtype in dtypes
        and values.dtype.isnative
        and np.isfinite(values).all()
    )


# Total weight up to which sums over the rows stay finite, even divided by a noise of 1e-20.
_MOST_WEIGHT = 1e280

# Number of values up to which `_is_plain` checks them.
_FEW_VALUES = 2**12


def summed(X: Any) -> Any:
    """X, with duplicate entries of a sparse X added up."""
    if not sp.issparse(X):
        return X
    # scipy caches whether there are duplicates, even if the indices have changed since.
    X = type(X)((X.data, X.indices, X.indptr), shape=X.shape)
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


@contextmanager
def checking(name: str) -> Iterator[None]:
    """Put the argument's name before scikit-learn's messages where they lack it.

    A warning of the sum with which its search for nan begins is suppressed: it may be inf - inf
    for finite values near the ends of the range.
    """
    try:
        with np.errstate(invalid="ignore"):
            yield
    except (ValueError, TypeError, OverflowError) as error:
        if re.search(rf"\b{name}\b", str(error)):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {error}") from error


def _target(y: Any, name: str) -> Array:
    """Y as float64, dense and finite, of one or two dimensions."""
    if _is_plain(y, 1, (np.float64,)):
        return np.asarray(y)
    y = check_numbers(y, name)
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    return np.asarray(y)


def check_numbers(values: Any, name: str, least: int = 1) -> Array:
    """`values` as float64, dense and finite, of one or two dimensions, of `least` rows or more."""
    if sp.issparse(values):
        raise TypeError(f"{name} is a sparse matrix; it must be dense. Pass {name}.toarray().")
    with checking(name):
        values = _numeric(values, name)
        values = check_array(
            values,
            ensure_2d=False,
            dtype=np.float64,
            ensure_min_samples=least,
            input_name=name,
        )
    return np.asarray(values)


@always_check_finite
def check_validation_rows(
    estimator: BaseEstimator, validation_rows: tuple[Any, Any, Any], training: Checked
) -> tuple[Data | None, list[str]]:
    """Checked validation data, or None where none is given, and warnings to issue.

    validation_rows : X_val, y_val and sample_weight_val as passed to `fit`
    training : Checked, to be matched
    """
    X_val, y_val, sample_weight_val = validation_rows
    check_both_given(X_val, y_val, sample_weight_val)
    if X_val is None:
        return None, []
    data = training.data
    checked, _, messages = _later_inputs(estimator, X_val, training.columns, data)
    _check_range(checked, "X_val", data.X.dtype)
    checked = checked.astype(data.X.dtype, copy=False)
    rows, _ = _rows(checked, _target(y_val, "y_val"), sample_weight_val, "_val")
    if rows.y.shape[1] != data.y.shape[1]:
        raise ValueError(
            f"y_val has {rows.y.shape[1]} outputs; y has {data.y.shape[1]} and they must agree."
        )
    return rows, messages


def check_both_given(X_val: Any, y_val: Any, sample_weight_val: Any) -> None:
    """Raise ValueError if validation rows are given in part; parameters as those of `fit`."""
    given = {"X_val": X_val, "y_val": y_val}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == 2 and sample_weight_val is not None:
        raise ValueError("sample_weight_val was given without X_val and y_val.")
    if len(missing) == 1:
        there = "y_val" if missing[0] == "X_val" else "X_val"
        raise ValueError(f"{there} was given without {missing[0]}; pass both or neither.")


def _rows(X: Any, y: Array, sample_weight: Any, suffix: str) -> tuple[Data, Array]:
    """All rows of a fit; parameters and result as of `check_part`."""
    data, numbers = check_part(X, y, sample_weight, suffix)
    if data.sample_weight is not None:
        with np.errstate(over="ignore"):
            check_total_weight(float(data.sample_weight.sum()), f"sample_weight{suffix}")
    return data, numbers


def check_part(X: Any, y: Array, sample_weight: Any, suffix: str = "") -> tuple[Data, Array]:
    """Rows that may be a part of those of a fit, and the numbers of those that have a weight.

    Parameters
    ----------
    X, y : checked; X are the inputs of the network
    sample_weight : as given
    suffix : completes the names of the arguments in errors
    """
    n_samples = X.shape[0]
    if n_samples != y.shape[0]:
        raise ValueError(
            f"X{suffix} has {n_samples} rows and y{suffix} has {y.shape[0]}; they must agree."
        )
    y = y.reshape(-1, 1) if y.ndim == 1 else y
    _check_range(y, f"y{suffix}", X.dtype)
    numbers = np.arange(n_samples)
    if sample_weight is None or not n_samples:
        return Data(X, y), numbers
    weights = _weights(sample_weight, n_samples, f"sample_weight{suffix}")
    kept = weights > 0
    if not kept.all():
        X, y, weights, numbers = X[kept], y[kept], weights[kept], numbers[kept]
    return Data(X, y, weights), numbers


def _check_range(values: Any, name: str, dtype: Any) -> None:
    """Raise ValueError if `values`, called `name`, do not fit into the `dtype` of X."""
    if dtype == np.float32 and values.dtype != np.float32 and values.shape[0]:
        largest = max(values.max(), -values.min())
        if largest > np.finfo(np.float32).max:
            raise ValueError(
                f"{name} has values up to {largest:g}, too large for float32, the precision of X "
                f"and so of the fit. Pass X as float64 or rescale {name}."
            )


def _weights(sample_weight: Any, n_samples: int, name: str) -> Array:
    """Checked weights, called `name`: (n_samples,) float64."""
    if isinstance(sample_weight, Real) and not isinstance(sample_weight, bool):
        sample_weight = np.full(n_samples, sample_weight)
    with checking(name):
        sample_weight = _numeric(sample_weight, name)
        weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name=name)
    if weights.shape != (n_samples,):
        raise ValueError(f"{name} has shape {weights.shape}; expected ({n_samples},), one per row.")
    if weights.min() < 0:
        raise ValueError(
            f"{name} has negative values, down to {weights.min():g}; allowed are >= 0."
        )
    return np.asarray(weights)


def check_total_weight(total: float, name: str) -> None:
    """Raise ValueError if the weights, called `name`, sum to too little or too much."""
    if total == 0:
        raise ValueError(f"{name} is zero for every row; at least one weight must be positive.")
    if not np.finfo(np.float64).tiny <= total <= _MOST_WEIGHT:
        raise ValueError(
            f"{name} sums to {total:g}; allowed are {np.finfo(np.float64).tiny:.1g} to "
            f"{_MOST_WEIGHT:g}, so that sums of weighted losses are within the range of float64. "
            f"Rescale it."
        )


def set_aside(data: Data, fraction: float, rng: np.random.RandomState) -> tuple[Data, Data]:
    """Training and validation part, at random, for early stopping.

    A `fraction` of the distinct rows is drawn by `rng`: all copies of a row are on one side.
    """
    groups = groups_of_rows(data)
    # Numbered in an order that does not depend on units or on the order of rows and columns.
    _, first = np.unique(groups[row_order(data.X, data.y)], return_index=True)
    drawn = drawn_for_validation(np.argsort(first), data.n_samples, fraction, rng)
    is_set_aside = np.isin(groups, drawn)
    return data.take(np.flatnonzero(~is_set_aside)), data.take(np.flatnonzero(is_set_aside))


def drawn_for_validation(
    in_order: Array, n_samples: int, fraction: float, rng: np.random.RandomState
) -> Array:
    """Numbers of the distinct rows that are set aside.

    Parameters
    ----------
    in_order : (n_distinct,) int, numbers of the distinct rows, in an order that depends neither on
        units nor on the order of rows and columns
    n_samples : int, rows with repetitions, for the error
    fraction : float, of the distinct rows; rng : RandomState
    """
    n_distinct = len(in_order)
    n_validation = int(np.ceil(fraction * n_distinct))
    if not 0 < n_validation < n_distinct:
        raise ValueError(
            f"early_stopping=True sets {n_validation} rows aside for validation, by "
            f"validation_fraction={fraction}; with n_samples={n_samples} "
            f"({n_distinct} distinct), at least one must be set aside and one left to train on."
        )
    # A single draw from `rng`, however many rows there are: initial weights are drawn after it.
    _, drawn = train_test_split(
        np.arange(n_distinct),
        test_size=n_validation,
        random_state=rng.randint(2**31 - 1),
    )
    return np.asarray(in_order[drawn])


def check_target_range(y: Array, likelihood: Likelihood, name: str) -> None:
    """Raise ValueError if y, called `name`, is below what the output units can reach."""
    least = likelihood.min_target
    if y.min() > least or (y.min() == least and not likelihood.positive):
        return
    relation = ">" if likelihood.positive else ">="
    default = likelihood.output_parameter == "identity"
    cause = f"loss={likelihood.loss!r}"
    cause = cause if default else f"output_activation={likelihood.output_parameter!r}"
    raise ValueError(
        f"{cause} requires {name} {relation} {least:g}; got values down to {y.min():g}."
    )


def check_initial_weights(
    coefs_init: Any,
    intercepts_init: Any,
    network: Network,
    hidden: tuple[int, ...] | None,
    dtype: Any,
) -> tuple[list[Array], list[Array]]:
    """Checked initial weights; biases default to zeros.

    Parameters
    ----------
    coefs_init, intercepts_init : as passed to `fit`
    network : Network, whose inputs, outputs and `units_per_feature` are used
    hidden : `hidden_layer_sizes`, or None to take all hidden layers from `coefs_init`
    dtype : of X
    """
    if coefs_init is None:
        raise ValueError("intercepts_init was given without coefs_init; pass both.")
    if hidden is None:
        hidden = _hidden_units(coefs_init, "coefs_init", "hidden_layer_sizes='auto' is taken")
        hidden = hidden[network.units_per_feature > 0 :]
    network = network.with_hidden(hidden)
    shapes = list(pairwise(network.layer_sizes))
    coefs = _arrays(coefs_init, shapes, "coefs_init", dtype)
    if network.units_per_feature and np.any(coefs[0][~own_features(network)]):
        raise ValueError(
            "coefs_init[0] has weights from one feature to units of another. With "
            f"units_per_feature={network.units_per_feature}, row j may differ from zero only in "
            "the columns from units_per_feature * j to units_per_feature * (j + 1) - 1."
        )
    bias_shapes = [(n_out,) for _, n_out in shapes]
    if intercepts_init is None:
        return coefs, [np.zeros(shape) for shape in bias_shapes]
    return coefs, _arrays(intercepts_init, bias_shapes, "intercepts_init", dtype)


def check_pass(
    X: Any, y: Any, coefs: Any, intercepts: Any, activation: Any, output_activation: Any
) -> tuple[Array, Array, list[Array], list[Array]]:
    """Checked arguments of `textbook.backprop_pass`: copies in float64, y of two dimensions."""
    for name, value in {"activation": activation, "output_activation": output_activation}.items():
        allowed, description = rules()[name]
        if not allowed(value):
            raise ValueError(f"{name} must be {description}; got {value!r}.")
    X = np.array(check_numbers(X, "X"))
    if X.ndim != 2:
        raise ValueError(f"X must have two dimensions, a row for each sample; got shape {X.shape}.")
    rows, _ = _rows(X, np.array(check_numbers(y, "y")), None, "")
    hidden = _hidden_units(coefs, "coefs", "the hidden layers are taken")
    shapes = list(pairwise((X.shape[1], *hidden, rows.y.shape[1])))
    coefs = _arrays(coefs, shapes, "coefs", np.float64)
    intercepts = _arrays(intercepts, [(n_out,) for _, n_out in shapes], "intercepts", np.float64)
    return X, rows.y, coefs, intercepts


def _hidden_units(coefs: Any, name: str, what: str) -> tuple[int, ...]:
    """Units of the hidden layers, from the shapes of `coefs`; `name` and `what` are for errors."""
    expected = f"{name} must be a list of 2-d arrays, from whose shapes {what}"
    try:
        hidden = tuple(int(np.shape(W)[1]) for W in coefs[:-1])
    except (TypeError, ValueError, LookupError) as error:
        raise ValueError(f"{expected}; got {coefs!r:.200}.") from error
    if 0 in hidden:
        raise ValueError(f"{expected}, with at least one unit each; got {hidden} hidden units.")
    return hidden


def check_one_network(n_networks: int | None) -> None:
    """Raise ValueError unless `n_networks` is 1 or 'auto' (None), as initial weights require."""
    if n_networks not in (None, 1):
        raise ValueError(
            "coefs_init sets the initial weights of one network; with it n_networks must be 1 or "
            f"'auto'. Got n_networks={n_networks}."
        )


def _arrays(given: Any, shapes: Sequence[tuple[int, ...]], name: str, dtype: Any) -> list[Array]:
    """`given`, called `name`, as float64 arrays of these `shapes`, finite also in `dtype`."""
    expected = (
        f"{name} must be a list of {len(shapes)} arrays of real numbers, of shapes {list(shapes)}"
    )
    try:
        arrays = list(given)
        for layer, array in enumerate(arrays):
            _numeric(array, f"{name}[{layer}]")
        arrays = [np.asarray(array).astype(np.float64) for array in arrays]
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{expected}; got {given!r:.200}. ({error})") from error
    if [array.shape for array in arrays] != list(shapes):
        raise ValueError(f"{expected}; got shapes {[array.shape for array in arrays]}.")
    for layer, array in enumerate(arrays):
        # Not ">": a nan compares false.
        if not np.abs(array).max() <= np.finfo(dtype).max:
            raise ValueError(f"{name}[{layer}] has values that are not finite in {dtype}.")
    return arrays


def check_probabilities(name: str, values: Any, *, single: bool = False) -> Any:
    """Probabilities as a float or an array of one dimension; ValueError unless all are in (0, 1).

    name : str, of the argument; values : as given; single : bool, whether only one is allowed
    """
    allowed = "a number" if single else "a number or a list of numbers"
    try:
        found = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        found = np.asarray(np.nan)
    fits = found.ndim == 0 or (found.ndim == 1 and found.size > 0 and not single)
    if not (fits and np.all((found > 0) & (found < 1))):
        raise ValueError(
            f"{name} must be {allowed} between 0 and 1, both excluded, got {values!r}."
        )
    return found


def check_count(name: str, value: Any) -> None:
    """ValueError unless `value`, the argument `name`, is a positive integer."""
    if not is_integer(value) or value < 1:
        raise ValueError(f"{name} must be an int >= 1, got {value!r}.")
