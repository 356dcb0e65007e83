"""Settings of the tests and of the examples on pages and in docstrings; fixtures."""

import doctest
import importlib.util
import os
import signal
from collections.abc import Sequence
from typing import Any

# Read by scipy at its import; without it scikit-learn skips its array API check.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
# Read by matplotlib: pictures without windows.
os.environ.setdefault("MPLBACKEND", "agg")
# Read by numpy's BLAS at its import, and by OpenMP: where the suite runs in several processes, each
# takes one thread, unless something else is asked for. Tests of threads set the number they need.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from sklearn.datasets import load_diabetes

try:
    import fcntl
except ImportError:  # on Windows, where timings may meet
    fcntl = None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the guide's block about callbacks out where scikit-learn, before 1.9, has none."""
    if importlib.util.find_spec("sklearn.callback") is None:
        for item in items:
            if item.path.name == "guide.md":
                test: Any = item
                text = item.path.read_text(encoding="utf-8")
                test.dtest.examples = without_callbacks(text, test.dtest.examples)


def without_callbacks(text: str, examples: Sequence[doctest.Example]) -> list[doctest.Example]:
    """The examples of a text but for those in the block that imports the callbacks."""
    lines = text.splitlines()
    start = lines.index(">>> from sklearn.callback import ProgressBar, ScoringMonitor")
    stop = lines.index("```", start)
    return [example for example in examples if not start <= example.lineno < stop]


@pytest.fixture(scope="session")
def diabetes():
    """442 patients, ten features in their raw units, and a score from 25 to 346."""
    return load_diabetes(return_X_y=True, scaled=False)


@pytest.fixture
def timing(tmp_path_factory):
    """Tests that compare times run one after the other, whichever workers they are in."""
    # Not in a group of xdist: xdist 3.8 loses its groups with pytest 9.2. The parent of a worker's
    # folder is that of all workers.
    with (tmp_path_factory.getbasetemp().parent / "timing.lock").open("w") as lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def ctrl_c_is_heard():
    """Python's own handler of SIGINT: what a shell starts in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def figures_closed():
    """Figures are closed after the test."""
    yield
    import matplotlib.pyplot as plt  # late: most tests draw nothing

    plt.close("all")
