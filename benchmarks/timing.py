"""The clock, and what a measurement of time depends on: versions, BLAS, and its settings."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy
import scipy
import sklearn
from threadpoolctl import threadpool_info

import sk_backprop

Lap: TypeAlias = Callable[[int], float]  # number of the repeat -> seconds


def timed(work: Callable[[], Any]) -> float:
    """Wall-clock seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def stopwatch(work: Callable[[], Any], times: int = 1) -> Lap:
    """A lap of so many calls, which takes the seconds of one; a call beforehand warms up."""
    work()
    return lambda _repeat: timed(lambda: [work() for _ in range(times)]) / times


def environment() -> str:
    """Versions of Python and the packages, and each BLAS that is loaded, a line each."""
    modules = (sk_backprop, numpy, scipy, sklearn)
    named = ", ".join(f"{module.__name__} {module.__version__}" for module in modules)
    blas = {
        f"{lib['internal_api']} {lib['version']}, "
        f"kernel {lib.get('architecture', 'unknown')}, threads: {lib['num_threads']}"
        for lib in threadpool_info()
        if lib["user_api"] == "blas"
    }
    return "\n".join([f"python {sys.version.split()[0]}, {named}", *sorted(blas)])


def slowed() -> str:
    """A note about settings of OpenBLAS that spoil a measurement of time, or ''."""
    found = [name for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if name in os.environ]
    return f"Note: {' and '.join(found)} slow numpy down; unset to measure time." if found else ""
