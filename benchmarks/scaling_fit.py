"""One measurement of `python -m benchmarks scaling`, in a process of its own.

`python -m benchmarks.scaling_fit JSON` fits once and prints seconds and memory as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from benchmarks.fitting import OURS_CUT_SHORT, expecting
from benchmarks.problems import Array
from sk_backprop import BackpropRegressor

ITERATIONS = {"lm": 2, "lbfgs": 5, "adam": 1, "sgd": 1}
DENSITY = 0.01
_MB = 2**20
_BLOCK = 2**18  # values that are made at a time, so that X alone is what they leave behind


def _fill(X: Array) -> Array:
    """Fill X with random numbers, in place; a target of them."""
    rng = np.random.default_rng(0)
    y = np.empty(len(X))
    step = max(1, _BLOCK // X.shape[1])
    for start in range(0, len(X), step):
        block = rng.normal(size=X[start : start + step].shape)
        X[start : start + step] = block
        y[start : start + step] = np.sin(block[:, 0]) + block[:, 1] + 0.1 * block[:, 2]
    return y


def _sparse(n_samples: int, n_features: int) -> tuple[Any, Array]:
    rng = np.random.default_rng(0)
    X = sp.csr_array(sp.random(n_samples, n_features, DENSITY, format="csr", random_state=rng))
    return X, X @ rng.normal(size=n_features) + 0.1 * rng.normal(size=n_samples)


def data(kind: str, n_samples: int, n_features: int, folder: str) -> tuple[Any, Array]:
    """X, of a kind that is 'dense', 'sparse' or 'mapped', and y; `folder` holds its file."""
    if kind == "sparse":
        return _sparse(n_samples, n_features)
    if kind == "dense":
        X = np.empty((n_samples, n_features))
        return X, _fill(X)
    path = Path(folder, "X.npy")
    mapped = np.lib.format.open_memmap(path, "w+", shape=(n_samples, n_features))
    y = _fill(mapped)
    mapped.flush()
    del mapped
    return np.load(path, mmap_mode="r"), y


def _status(name: str) -> float:
    """A size that Linux tells of this process, in MB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return float(text.partition(f"{name}:")[2].split()[0]) / 1024


def peak_resident(work: Callable[[], Any]) -> float:
    """MB by which the largest resident set during a call exceeds the one before it.

    Not getrusage's: a new process inherits in it what the one that started it held.
    """
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget earlier peaks
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def peak_traced(work: Callable[[], Any]) -> float:
    """MB that Python and numpy held at the most in a call, beyond what there was before.

    The pages of a mapped file count as resident, and here they do not.
    """
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / _MB
    finally:
        tracemalloc.stop()


def measure(kind: str, solver: str, n_samples: int, n_features: int, n_hidden: int) -> Any:
    """Fit once: {'seconds', 'x_mb', 'peak_mb', 'memory_by'}."""
    model = BackpropRegressor(
        (n_hidden,),
        solver=solver,
        alpha=1.0,
        max_iter=ITERATIONS[solver],
        tol=0.0,
        n_iter_no_change=np.inf,
        random_state=0,
    )
    seconds = float("nan")
    with (
        expecting(OURS_CUT_SHORT),  # after a few iterations
        threadpool_limits(1),
        tempfile.TemporaryDirectory() as folder,
    ):
        # What is loaded at the first fit, and the buffers of BLAS at the first large product.
        small = np.random.default_rng(0).normal(size=(1000, 20))
        model.fit(small, small[:, 0])
        X, y = data(kind, n_samples, n_features, folder)

        def fit() -> None:
            nonlocal seconds
            start = time.perf_counter()
            model.fit(X, y)
            seconds = time.perf_counter() - start

        traced = kind == "mapped" or not Path("/proc/self/clear_refs").exists()
        if traced:
            fit()
            peak = peak_traced(lambda: model.fit(X, y))
        else:
            peak = peak_resident(fit)
        held = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes if sp.issparse(X) else X.nbytes
    by = "tracemalloc" if traced else "resident set"
    return {"seconds": seconds, "x_mb": held / _MB, "peak_mb": peak, "memory_by": by}


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
