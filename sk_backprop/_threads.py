"""Threads: one for BLAS where the matrices are small, and blocks of rows side by side.

A second BLAS thread costs more than it gives below some size: a Cholesky factorisation of
order 551 took 2 ms with one thread and 6 ms with two, and with another process on the
same two cores a whole fit took 20 times as long (OpenBLAS 0.3.31). Blocks of rows share
nothing until their sums are added, and numpy lets other threads run meanwhile.

As many threads as BLAS was allowed: where joblib, a user or the environment has limited
it, as in joblib's workers, that is the limit here too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from sk_backprop._network import Network

# Multiply-adds of a step of lm, and parameters of a network trained by mini-batches,
# from which on the threads are left as they are.
_LARGE_STEP, _LARGE_NETWORK = 4e9, 50_000


def pays_threads(network: Network, n_samples: int, solver: str) -> bool:
    """Whether more than one BLAS thread is likely to be worth having."""
    if solver == "lm":
        return n_samples * network.n_params**2 >= _LARGE_STEP
    # lbfgs has a thread for each half of its rows instead.
    return solver != "lbfgs" and network.n_params >= _LARGE_NETWORK


@cache
def _blas_libraries() -> list[Any]:
    # Some ms: it looks through all loaded libraries. Its `limit` takes 0.2 ms each time, for
    # all that it notes of them; asking and setting the number of threads takes 2 us.
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


_lock = threading.Lock()
_users = 0
_before: list[int] = []


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread for the whole process.

    Fits in several Python threads share the limit: the first sets it, and the last
    restores what was there.
    """
    global _users, _before  # the setting is the process's
    libraries = _blas_libraries()
    with _lock:
        if _users == 0:
            _before = [library.num_threads for library in libraries]
            for library in libraries:
                library.set_num_threads(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                for library, n_threads in zip(libraries, _before, strict=True):
                    library.set_num_threads(n_threads)


def allowed_threads() -> int:
    """Threads that a fit may use: what BLAS had before `one_blas_thread`, or has now.

    Shared among the fits that run in other Python threads.
    """
    with _lock:
        before = _before if _users else [library.num_threads for library in _blas_libraries()]
        return max(1, max(before, default=1) // max(1, _users))


class Team:
    """Threads that share a piece of work, this one among them."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._others = ThreadPoolExecutor(n_threads - 1) if n_threads > 1 else None

    def run(self, work: Callable[[int], None]) -> None:
        """Call work(0), ..., work(n_threads - 1), one in each thread; all end, or raise."""
        if self._others is None:
            work(0)
            return
        futures = [self._others.submit(work, number) for number in range(1, self.n_threads)]
        try:
            work(0)
        finally:
            wait(futures)  # an interrupt here must not leave them writing
        for future in futures:
            future.result()
