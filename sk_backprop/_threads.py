"""BLAS threads: one where the matrices are small.

A second thread costs more than it gives below some size: a Cholesky factorisation of
order 551 took 2 ms with one thread and 6 ms with two, and with another process on the
same two cores a whole fit took 20 times as long (OpenBLAS 0.3.31).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from sk_backprop._network import Network

# Multiply-adds of a step of lm, and parameters of a network trained by the other solvers,
# from which on the threads are left as they are.
_LARGE_STEP, _LARGE_NETWORK = 4e9, 50_000


def pays_threads(network: Network, n_samples: int, solver: str) -> bool:
    """Whether more than one BLAS thread is likely to be worth having."""
    if solver == "lm":
        return n_samples * network.n_params**2 >= _LARGE_STEP
    return network.n_params >= _LARGE_NETWORK


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
