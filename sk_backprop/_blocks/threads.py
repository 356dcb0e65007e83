"""Threads: one for BLAS where matrices are small, and several that share blocks of rows.

Below some size, a second BLAS thread costs more than it saves: a Cholesky factorisation of
order 551 took 2 ms with one thread and 6 ms with two, and with another process on the
same two cores a whole fit took 20 times as long (OpenBLAS 0.3.31). Blocks of rows share
nothing until their sums are added, and numpy lets other threads run meanwhile.

As many threads are used as BLAS was allowed: a limit that joblib (in its workers), a user or
the environment has set for BLAS holds here too.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Generic, TypeVar, overload

import numpy as np
import scipy
from threadpoolctl import ThreadpoolController

S = TypeVar("S")
T = TypeVar("T")


class _Limit:
    """A limit of one thread for some BLAS libraries, while there is at least one holder."""

    def __init__(self, libraries: list[Any]) -> None:
        self._libraries = libraries
        self._holders: set[object] = set()
        self._before: list[int] | None = None

    def hold(self, holder: object) -> None:
        self._holders.add(holder)
        if self._before is None:
            self._before = self._threads()
            for library in self._libraries:
                _set_threads(library, 1)

    def release(self, holder: object) -> None:
        self._holders.discard(holder)
        if not self._holders and self._before is not None:
            for library, n_threads in zip(self._libraries, self._before, strict=True):
                if library.num_threads == 1:  # otherwise somebody else has set it meanwhile
                    _set_threads(library, n_threads)
            self._before = None

    def forget_holders(self) -> None:
        """Restore the number of threads, whoever holds the limit."""
        self._holders.clear()
        self.release(None)

    def share(self, n_siblings: int) -> int:
        """Threads that each holder may use, out of those before the limit.

        n_siblings : int, holders that there are about to be, at least
        """
        before = self._threads() if self._before is None else self._before
        return max(before, default=1) // max(n_siblings, len(self._holders))

    def _threads(self) -> list[int]:
        return [int(library.num_threads) for library in self._libraries]


def _set_threads(library: Any, n_threads: int) -> None:
    # threadpoolctl 3.8 silently keeps a thread from setting what another has set before:
    # the last fit to end could not lift the limit of the first.
    free = getattr(library, "clear_controlling_thread", lambda force: None)
    free(force=True)
    library.set_num_threads(n_threads)
    free(force=True)


@cache
def _libraries() -> tuple[list[Any], list[Any]]:
    """BLAS libraries with one number of threads per process, and those with one per thread."""
    # Cached, since searching all loaded libraries takes some ms. `ThreadpoolController.limit`
    # takes 0.2 ms each time, to record their state; getting and setting a number takes 2 us.
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    own = [one for one in found if one.internal_api == "mkl" or _layer(one) == "openmp"]
    return [one for one in found if one not in own], own


def versions() -> tuple[str, ...]:
    """Versions of numpy and scipy, and the kernels of BLAS, on which last digits depend."""
    blas = ThreadpoolController().select(user_api="blas").info()
    kernels = {f"{one['internal_api']} {one.get('architecture', '')}".strip() for one in blas}
    return f"numpy {np.__version__}", f"scipy {scipy.__version__}", *sorted(kernels)


def _layer(library: Any) -> str | None:
    return getattr(library, "threading_layer", None)


@cache
def _limit_of_process() -> _Limit:
    return _Limit(_libraries()[0])


# Held while the limits are in use, and while the process forks.
_lock = threading.RLock()
_of_thread = threading.local()


def _limits() -> list[_Limit]:
    """Limits that a fit in this thread holds; to be called under the lock.

    Without it, the first two threads could create two limits of the process at once, and
    the second would restore the one thread that the first had set.
    """
    if not hasattr(_of_thread, "limit"):
        _of_thread.limit = _Limit(_libraries()[1])
    return [_limit_of_process(), _of_thread.limit]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread.

    Fits in several Python threads share the limit: the first sets it, and the last
    restores the previous number.
    """
    holder = object()
    with _lock:
        limits = _limits()

    def release() -> None:
        with _lock:
            for limit in limits:
                limit.release(holder)

    try:
        with _lock:
            for limit in limits:
                limit.hold(holder)
        yield
    finally:
        try:
            release()
        except BaseException:  # Ctrl-C during the release
            release()
            raise


@contextmanager
def _share_of(n_siblings: int) -> Iterator[None]:
    """In this thread, `allowed_threads` is one of at least `n_siblings` equal shares."""
    before = _siblings()
    _of_thread.n_siblings = n_siblings
    try:
        yield
    finally:
        _of_thread.n_siblings = before


def _siblings() -> int:
    return int(getattr(_of_thread, "n_siblings", 1))


def single_thread() -> AbstractContextManager[None]:
    """In this thread, `allowed_threads` is 1."""
    return _share_of(sys.maxsize)


def allowed_threads() -> int:
    """Threads that a fit may use: what BLAS had before `one_blas_thread`, or has now.

    Fits that run at once in several Python threads share them, and so do the networks of a fit
    that `side_by_side` trains.
    """
    n_siblings = _siblings()
    with _lock:
        return max(1, *(limit.share(n_siblings) for limit in _limits()))


# Seconds after which a waiting thread looks for Ctrl-C, which does not wake it on Windows.
_POLL = 0.05


def side_by_side(
    work: Sequence[Callable[[], T]], stop: Callable[[], None], n_threads: int
) -> list[T]:
    """Call each of `work` in one of several threads; then raise, or return the results.

    The calling thread only waits, so that Ctrl-C reaches it at once; what it had not handed over by
    then has no result.

    Parameters
    ----------
    work : callables
    stop : callable that makes all of `work` end soon; called after Ctrl-C, or if one raises
    n_threads : int
    """

    def call(one: Callable[[], T]) -> T:
        try:
            with _share_of(n_threads):
                return one()
        except BaseException:
            stop()  # before this thread begins with the next
            raise

    futures: list[Future[T]] = []
    with ThreadPoolExecutor(n_threads) as threads:
        try:
            futures.extend(threads.submit(call, one) for one in work)
            while not all(future.done() for future in futures):
                wait(futures, _POLL)
        except KeyboardInterrupt:
            stop()
    return [future.result() for future in futures]


@contextmanager
def no_forks() -> Iterator[None]:
    """Within it, other threads cannot fork the process.

    For imports at a first call: a child that is forked while another thread imports a module waits
    for ever to import it.
    """
    with _lock:
        yield


def _after_fork_in_child() -> None:
    # Only the thread that forked exists in the child; fits that other threads were running
    # never release their limits here.
    try:
        for limit in _limits():
            limit.forget_holders()
    finally:
        _lock.release()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_lock.acquire,  # so that no thread is in the middle of a change
        after_in_parent=_lock.release,
        after_in_child=_after_fork_in_child,
    )


class cached_property(Generic[T]):  # noqa: N801 - as in functools
    """`functools.cached_property` without a lock.

    Python 3.11 holds one lock for the property of all objects while it is computed: fits in
    other threads wait for it, and in a child forked meanwhile it is never released.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> cached_property[T]: ...

    @overload
    def __get__(self, owner: object, kind: type) -> T: ...

    def __get__(self, owner: Any, kind: type) -> cached_property[T] | T:
        if owner is None:
            return self
        value = owner.__dict__[self._compute.__name__] = self._compute(owner)
        return value


class Team:
    """Threads that share work, including the calling thread."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._others = ThreadPoolExecutor(self.n_threads - 1) if self.n_threads > 1 else None

    def run(self, work: Callable[[int], None]) -> None:
        """Call work(0), ..., work(n_threads - 1), one in each thread; wait for all, then raise."""
        if self._others is None:
            work(0)
            return
        if self._process != os.getpid():  # a forked child has none of its parent's threads
            self._start()
        futures = [self._others.submit(work, number) for number in range(1, self.n_threads)]
        try:
            work(0)
        finally:
            wait(futures)  # an interrupt here must not leave them writing
        for future in futures:
            future.result()

    def map(self, compute: Callable[[S], T], arguments: Sequence[S]) -> list[T]:
        """The results of `compute` for each argument; each thread takes every n-th."""
        found: dict[int, T] = {}

        def work(thread: int) -> None:
            for number in range(thread, len(arguments), self.n_threads):
                found[number] = compute(arguments[number])

        self.run(work)
        return [found[number] for number in range(len(arguments))]
