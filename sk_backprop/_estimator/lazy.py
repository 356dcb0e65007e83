"""Methods of dask collections: lazy results, block by block.

The blocks of a dask array are arrays, those of a dask data frame are pandas data frames. A method
whose results belong to single rows is applied to each of them when its result is computed, by
any scheduler. dask is imported only where a collection is given.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils.validation import check_is_fitted

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.blocks import tree_sum
from sk_backprop._estimator.checks import check_new_rows, check_numbers

R = TypeVar("R")


def is_collection(data: Any) -> bool:
    """Whether `data` is an array, a data frame or a series of dask, which is not imported."""
    of = type(data)
    if of is np.ndarray or not hasattr(of, "__dask_graph__"):
        return False
    of_dask = any(base.__module__.startswith("dask.") for base in of.__mro__)
    # A bag or a delayed object has no `_meta`, and a scalar no axis.
    return of_dask and hasattr(data, "_meta") and data.ndim > 0


def refuse_collection(given: Any, method: str, advice: str, name: str = "X") -> None:
    """TypeError if an argument is a collection, which `method` does not take.

    given : the argument; method, name : of the method and the argument
    advice : str, before the name of a block
    """
    if is_collection(given):
        blocks = f"{name}.partitions" if hasattr(given, "map_partitions") else f"{name}.blocks"
        raise TypeError(
            f"{method} takes no dask collection, and {name} is a {name_of_type(given)}. {advice} a "
            f"block at a time, {blocks}[i].compute(), or {name}.compute()."
        )


def by_blocks(method: Callable[..., R], X: Any, **arguments: Any) -> R:
    """The result of a method of an estimator for a collection: lazy, one block at a time.

    A single row with the dtypes of X is evaluated at once: it checks the arguments and the columns,
    and shows the shape and dtype of the results.

    Parameters
    ----------
    method : of a BackpropRegressor, whose later fits do not change the results
    X : collection
    arguments : of the method, in addition to X

    Returns
    -------
    results : dask array, or a tuple of them, computed together, if the method returns a tuple
    """
    name, evaluate, example = _on_example(method, X, arguments)
    results: Any
    if isinstance(example, tuple):
        # One array: all of them are computed at once.
        evaluate = partial(_stacked, evaluate)
        stacked = _map_blocks(evaluate, X, np.stack(example, axis=-1)[:0], name)
        results = tuple(stacked[..., i] for i in range(len(example)))
    else:
        results = _map_blocks(evaluate, X, example[:0], name)
    return cast(R, results)


def _on_example(
    method: Any, X: Any, arguments: dict[str, Any]
) -> tuple[str, Callable[[Any], Any], Any]:
    """The name of a method, the method of a copy of its estimator, and its result for one row.

    method, X, arguments : as for `by_blocks`
    """
    estimator, row = copy.copy(method.__self__), _example_row(X)
    check_is_fitted(estimator, "coefs_")
    check_new_rows(estimator, row)
    evaluate = partial(getattr(estimator, method.__name__), **arguments)
    with warnings.catch_warnings():
        # They are about values (too large, or missing where none was), and these were made up.
        for category in (RuntimeWarning, UserWarning):
            warnings.simplefilter("ignore", category)
        return method.__name__, evaluate, evaluate(row)


def _stacked(evaluate: Callable[[Any], tuple[Array, ...]], X: Any) -> Array:
    return np.stack(evaluate(X), axis=-1)


def _example_row(X: Any) -> Any:
    """A row in the container of the blocks of a collection, with its dtypes and columns.

    Values are missing where the dtype does not determine their kind.
    """
    if hasattr(X, "map_partitions"):
        from dask.dataframe.utils import has_known_categories, meta_nonempty

        row = meta_nonempty(X._meta)[:1].copy()
        for name in row.columns if row.ndim == 2 else ():
            of = X._meta[name]
            if of.dtype == object or (of.dtype == "category" and not has_known_categories(of)):
                row[name] = None
        return row
    return _zeros(X, 1)


def without_rows(X: Any) -> Any:
    """No rows, in the container of the blocks of a collection, with its dtypes and columns."""
    return X._meta if hasattr(X, "map_partitions") else _zeros(X, 0)


def _zeros(X: Any, n_rows: int) -> Any:
    """Rows of zeros, in the container of the blocks of a dask array."""
    if np.isnan(X.shape[1:]).any():
        raise ValueError(
            f"X has an unknown number of columns (shape {X.shape}). Call X.compute_chunk_sizes()."
        )
    shape = (n_rows, *X.shape[1:])
    return type(X._meta)(shape, dtype=X.dtype) if sp.issparse(X._meta) else np.zeros(shape, X.dtype)


def _map_blocks(function: Callable[[Any], Any], collection: Any, empty: Any, name: str) -> Any:
    """A dask array of the results of each block, in the rows of the collection.

    Parameters
    ----------
    function : of a block that has rows
    collection : dask array or data frame
    empty : the result for no rows
    name : of the tasks, as on dask's dashboard
    """
    from dask import delayed

    # One task of the graph, on which the tasks of all blocks depend.
    of_block = delayed(partial(_of_block, function, empty), traverse=False)
    if hasattr(collection, "map_partitions"):
        return collection.map_partitions(
            _call, of_block, meta=empty, enforce_metadata=False, token=name
        )
    from dask.array import blockwise

    axes = range(1, collection.ndim)
    columns, results = [-axis for axis in axes], range(1, empty.ndim)
    return blockwise(
        _call,
        (0, *results),
        collection.rechunk(dict.fromkeys(axes, -1)),
        (0, *columns),
        of_block=of_block,
        new_axes=dict(zip(results, empty.shape[1:], strict=True)),
        align_arrays=False,
        dtype=empty.dtype,
        meta=empty,
        token=name,
    )


def _call(block: Any, of_block: Callable[[Any], Any]) -> Any:
    return of_block(_single(block))


def _of_block(function: Callable[[Any], Any], empty: Any, block: Any) -> Any:
    """The result of a block, which may have no rows; parameters as in `_map_blocks`."""
    return function(block).astype(empty.dtype, copy=False) if block.shape[0] else empty


def _single(block: Any) -> Any:
    """The block itself, where dask passes the list of all blocks along its other axes."""
    while isinstance(block, list):
        (block,) = block
    return block


# --- score ---


class _Argument(NamedTuple):
    """A collection that `score` takes.

    name : of the argument
    numbers : callable, a block that has rows -> predictions, or targets, or weights
    empty : ndarray, the result of `numbers` for no rows
    """

    name: str
    collection: Any
    numbers: Callable[[Any], Any]
    empty: Array


def score_blocks(estimator: Any, X: Any, y: Any, sample_weight: Any) -> float:
    """R^2 of a collection, from sums over its blocks.

    estimator : BackpropRegressor; X, y, sample_weight : collections; sample_weight may be None
    """
    targets = {"y": y} if sample_weight is None else {"y": y, "sample_weight": sample_weight}
    for name, given in targets.items():
        check_both_or_neither(X, given, name)
    _, predict, example = _on_example(estimator.predict, X, {})
    arguments = [_Argument("X", X, predict, example[:0])]
    for name, given in targets.items():
        columns = given.columns if hasattr(given, "columns") else range(*given.shape[1:] or [0])
        empty = np.empty((0, *[len(columns)] * (given.ndim - 1)))
        arguments.append(_Argument(name, given, partial(check_numbers, name=name), empty))
    n_outputs, n_targets = (int(np.prod(one.empty.shape[1:])) for one in arguments[:2])
    if n_targets != n_outputs:
        raise ValueError(
            f"y has {n_targets} outputs; the y of the fit had {n_outputs} and they must agree."
        )
    if arguments[-1].name == "sample_weight" and arguments[-1].collection.ndim != 1:
        raise ValueError(
            f"sample_weight has {sample_weight.ndim} axes; expected one weight per row."
        )
    collections = [in_blocks_of(X, one.collection, (one.name, "X")) for one in arguments]
    of_blocks = [partial(_of_block, one.numbers, one.empty) for one in arguments]
    return _r2(tree_sum(_sums(collections, of_blocks, n_outputs), _merged))


def _sums(collections: list[Any], of_blocks: Sequence[Callable[[Any], Any]], n_outputs: int) -> Any:
    """`_block_sums` of the blocks of collections: (n_blocks, 5, n_outputs).

    Parameters
    ----------
    collections : X, y and perhaps sample_weight, in the same blocks
    of_blocks : for each, a callable, a block -> predictions, or targets, or weights
    n_outputs : int
    """
    from dask import compute, delayed

    numbers = delayed(of_blocks, traverse=False)
    if all(hasattr(one, "map_partitions") for one in collections):
        # One expression, as dask may merge the partitions of a file, by how many columns are used.
        X, *others = collections
        return X.map_partitions(
            _sums_of_block,
            *others,
            of_blocks=numbers,
            meta=np.empty((0, 5, n_outputs)),
            enforce_metadata=False,
            token="score",
        ).compute()
    # Not optimized one by one: a block that X and y have in common is loaded once.
    blocks = [np.ravel(one.to_delayed(optimize_graph=False)) for one in collections]
    tasks = [delayed(_sums_of_block)(*row, of_blocks=numbers) for row in zip(*blocks, strict=True)]
    return np.concatenate(compute(*tasks))


def _sums_of_block(*blocks: Any, of_blocks: Sequence[Callable[[Any], Any]]) -> Array:
    return _block_sums(*(of(block) for of, block in zip(of_blocks, blocks, strict=True)))


def check_both_or_neither(X: Any, other: Any, name: str, name_of_x: str = "X") -> None:
    """ValueError unless X and another argument are collections, or neither is.

    X, other : as given; name, name_of_x : their names
    """
    if is_collection(X) == is_collection(other):
        return
    if is_collection(X):
        lengths = f"tuple({name_of_x}.map_partitions(len).compute())"
        chunks = lengths if hasattr(X, "map_partitions") else f"{name_of_x}.chunks[0]"
        advice = (
            f"dask.array.from_array({name}, chunks={chunks}) as {name}, or {name_of_x}.compute() "
            f"as {name_of_x}"
        )
    else:
        advice = f"{name}.compute() as {name}"
    raise ValueError(
        f"{name_of_x} is a {name_of_type(X)} and {name} is a {name_of_type(other)}: both must be "
        f"dask collections, or neither. Pass {advice}."
    )


def name_of_type(data: Any) -> str:
    return f"{type(data).__module__.partition('.')[0]} {type(data).__qualname__}"


def in_blocks_of(X: Any, given: Any, names: tuple[str, str]) -> Any:
    """A collection in the blocks of X; ValueError unless they have the same number of rows.

    X, given : collections; names : of the argument, and of X
    """
    (name, name_of_x), sizes, like = names, _block_sizes(given), _block_sizes(X)
    if hasattr(given, "chunks"):
        given = given.rechunk(dict.fromkeys(range(1, given.ndim), -1))
    if not np.isnan([*sizes, *like]).any():
        if sum(sizes) != sum(like):
            raise ValueError(
                f"{name_of_x} has {sum(like)} rows and {name} has {sum(sizes)}; they must agree."
            )
        return given.rechunk({0: like})
    if len(sizes) != len(like):
        raise ValueError(
            f"{name_of_x} has {len(like)} partitions and {name} has {len(sizes)}, whose numbers of "
            f"rows are not all known; they must agree. Take {name} from the collection that "
            f"{name_of_x} comes from, or call compute_chunk_sizes() on dask arrays."
        )
    return given


def _block_sizes(collection: Any) -> tuple[float, ...]:
    """Numbers of rows of the blocks, nan where they are not known."""
    is_array = hasattr(collection, "chunks")
    return tuple(collection.chunks[0] if is_array else [np.nan] * collection.npartitions)


def _block_sums(predicted: Any, y: Any, sample_weight: Any = None) -> Array:
    """Number of rows, weight, mean of y, squares around it, and squared errors: sums of a block.

    predicted, y : (n_rows,) or (n_rows, n_outputs); sample_weight : (n_rows,) or None

    Returns
    -------
    sums : (1, 5, n_outputs), rows in the order of the first line
    """
    n_rows = predicted.shape[0]
    for name, values in {"y": y, "sample_weight": sample_weight}.items():
        if values is not None and values.shape[0] != n_rows:
            raise ValueError(
                f"A block of X has {n_rows} rows and that of {name} has {values.shape[0]}; they "
                "must agree."
            )
    if not n_rows:
        return np.zeros((1, 5, int(np.prod(predicted.shape[1:]))))
    predicted = check_numbers(predicted, "predict(X)").reshape(n_rows, -1)
    y = y.reshape(predicted.shape)
    w = np.ones(n_rows) if sample_weight is None else sample_weight
    weight = w.sum()
    mean = w @ y / weight if weight else np.zeros(y.shape[1])
    ones = np.ones_like(mean)
    errors = [w @ (y - mean) ** 2, w @ (y - predicted) ** 2]
    return np.stack([n_rows * ones, weight * ones, mean, *errors])[None]


def _merged(first: Array, second: Array) -> Array:
    """The sums over two sets of rows (Chan, Golub & LeVeque 1983); arrays of `_block_sums`."""
    total = first + second
    weight, of_first, of_second = total[1], first[1], second[1]
    share = np.divide(of_second, weight, out=np.zeros_like(weight), where=weight != 0)
    apart = second[2] - first[2]
    total[2] = first[2] + share * apart
    total[3] += of_first * share * apart**2
    return total


def _r2(sums: Array) -> float:
    """R^2, the mean over the outputs, as scikit-learn's `r2_score`; `sums` as of `_block_sums`."""
    n_rows, weight, _, spread, error = sums
    if not n_rows[0] or not weight[0]:
        what = "X has no rows" if not n_rows[0] else "sample_weight is zero for every row"
        raise ValueError(f"{what}: the score is not defined.")
    if n_rows[0] < 2:
        message = "R^2 score is not well-defined with less than two samples."
        warnings.warn(message, UndefinedMetricWarning, stacklevel=4)
        return float("nan")
    ratio = np.divide(error, spread, out=np.ones_like(error), where=spread != 0)
    return float(np.mean(np.where(error == 0, 1.0, 1 - ratio)))
