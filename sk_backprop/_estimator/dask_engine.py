"""dask's engine: the tasks of a fit on the workers of the current client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakSet

import numpy as np

from sk_backprop._blocks.threads import versions
from sk_backprop._estimator.calls import Messages
from sk_backprop._estimator.checks import check_both_given
from sk_backprop._estimator.collection_fit import Collection, fit_collection
from sk_backprop._estimator.lazy import (
    check_both_or_neither,
    in_blocks_of,
    is_collection,
    name_of_type,
    without_rows,
)


class DaskEngine:
    """The workers of a client, as an `_blocks.engine.Engine`.

    The scheduler decides which worker runs a task, and runs it again if the worker is lost before
    its result was used.

    client : distributed.Client
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        by_worker: list[int] = list(client.nthreads().values())
        if not sum(by_worker):
            raise ValueError(
                "The dask client has no workers. Start one, or wait for it: "
                "client.wait_for_workers(1)."
            )
        self.n_threads, self._of_worker = sum(by_worker), max(by_worker)
        self._futures: WeakSet[Any] = WeakSet()

    def threads_of_task(self, n_tasks: int) -> int:
        """As for `Engine`."""
        return max(1, min(self._of_worker, self.n_threads // n_tasks))

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """As for `Engine`: a distributed.Future."""
        future = self._client.submit(function, *args, pure=False)
        self._futures.add(future)
        return future

    def blocks(self, collections: Sequence[Any]) -> list[list[Any]]:
        """Handles for the blocks of collections along their rows, as many for each.

        The collections are not optimized one by one: dask would merge partitions of a file where
        few of its columns are used, and would load a block twice that X and y have in common.
        """
        blocks = [np.ravel(one.to_delayed(optimize_graph=False)) for one in collections]
        futures = list(self._client.compute([one for row in blocks for one in row]))
        self._futures.update(futures)
        ends = np.cumsum([len(row) for row in blocks])
        return [futures[end - len(row) : end] for row, end in zip(blocks, ends, strict=True)]

    def release(self) -> None:
        """Release all results, also those to which a kept traceback refers, as a notebook's."""
        for future in list(self._futures):
            future.release()

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        """As for `Engine`; after Ctrl-C the tasks are cancelled."""
        try:
            return list(self._client.gather(list(handles)))
        except KeyboardInterrupt:
            self._client.cancel(list(handles))
            raise

    def kernels(self) -> set[tuple[str, ...]]:
        """Versions and BLAS kernels of all workers, on which the last digits of sums depend."""
        # Workers that are lost meanwhile are ignored.
        return set(self._client.run(versions, on_error="ignore").values())


def fit_on_workers(
    estimator: Any,
    rows: tuple[Any, Any, Any],
    validation_rows: tuple[Any, Any, Any],
    init: tuple[Any, Any],
) -> Messages:
    """`BackpropRegressor.fit` for dask collections.

    Parameters
    ----------
    estimator, rows, validation_rows, init : as for `_estimator.calls.fit_rows`
    """
    _check_collections(*rows, "")
    check_both_given(*validation_rows)
    X_val = validation_rows[0]
    if X_val is not None:
        check_both_or_neither(rows[0], X_val, "X_val")
        _check_collections(*validation_rows, "_val")
    with _current_client() as client:
        engine = DaskEngine(client)
        collection = partial(_collection, engine)
        try:
            validation = None if X_val is None else collection(validation_rows, "_val")
            messages = fit_collection(estimator, collection(rows, ""), validation, init, rows)
        finally:
            engine.release()
        kernels = engine.kernels()
    if len(kernels | {versions()}) > 1:
        messages.append(_mixed(kernels))
    return messages


def _check_collections(X: Any, y: Any, sample_weight: Any, suffix: str) -> None:
    """Raise an error unless X and y are collections, and the weights, if there is one for each row.

    X, y, sample_weight : as given; suffix : of their names
    """
    if y is None:
        raise ValueError("BackpropRegressor requires y to be passed, but the target y is None.")
    name_of_x = f"X{suffix}"
    check_both_or_neither(X, y, f"y{suffix}", name_of_x)
    if sample_weight is not None and np.ndim(sample_weight):
        check_both_or_neither(X, sample_weight, f"sample_weight{suffix}", name_of_x)
    for name, given in {name_of_x: X, f"y{suffix}": y}.items():
        allowed = (2,) if name == name_of_x else (1, 2)
        if given.ndim not in allowed:
            raise ValueError(
                f"{name} is a {name_of_type(given)} with {given.ndim} axes; expected "
                f"{' or '.join(map(str, allowed))}."
            )


@contextmanager
def _current_client() -> Iterator[Any]:
    """The client of this process, or of the task that this is called in."""
    try:
        from dask.distributed import default_client, get_worker, worker_client
    except ImportError as error:
        raise ImportError(
            "X is a dask collection: its fit runs on the workers of dask.distributed, which is not "
            "installed. Install 'dask[array,dataframe,distributed]', or pass X.compute()."
        ) from error
    try:
        get_worker()
    except ValueError:
        yield _client_of_process(default_client)
    else:
        with worker_client() as client:
            yield client


def _client_of_process(default_client: Callable[[], Any]) -> Any:
    """The current client of this process, by distributed's function."""
    try:
        client = default_client()
    except ValueError as error:
        raise ValueError(
            "X is a dask collection, and there is no dask client whose workers could fit it. "
            "Create one first, client = dask.distributed.Client(), or pass X.compute() and "
            "y.compute() to fit in this process."
        ) from error
    if client.asynchronous:
        raise ValueError(
            "The current dask client is asynchronous, and fit waits for its tasks. Call fit in a "
            "thread: await asyncio.to_thread(model.fit, X, y)."
        )
    return client


def _collection(engine: DaskEngine, rows: tuple[Any, Any, Any], suffix: str) -> Collection:
    """The rows on their workers, in blocks.

    engine : DaskEngine; rows : X, y and sample_weight, collections; suffix : of their names
    """
    X, y, sample_weight = rows
    meta = without_rows(X)
    if hasattr(X, "chunks"):
        X = X.rechunk({1: -1})
    others = [
        in_blocks_of(X, one, (f"{name}{suffix}", f"X{suffix}")) if is_collection(one) else one
        for name, one in {"y": y, "sample_weight": sample_weight}.items()
    ]
    handles = iter(engine.blocks([X, *filter(is_collection, others)]))
    # One weight for all rows, or none, is that of each block.
    columns = [
        next(handles) if is_collection(one) else [one] * X.npartitions for one in (X, *others)
    ]
    y_shape = (np.nan, *y.shape[1:])
    return Collection(engine, list(zip(*columns, strict=True)), meta, y_shape)


def _mixed(kernels: set[tuple[str, ...]]) -> str:
    """Warning of workers whose sums may differ."""
    found = "; ".join(sorted({", ".join(one) for one in kernels | {versions()}}))
    return (
        f"The workers and this process differ in numpy, scipy or the kernels of BLAS ({found}), "
        "which may change the last digits of sums: the fit is sound, but another one need not "
        "give the same digits. Use one environment and one kind of processor, or set "
        "OPENBLAS_CORETYPE alike for all."
    )
