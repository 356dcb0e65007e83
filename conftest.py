"""Settings of the examples in README.md and the docstrings, and of the tests."""

import doctest
import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import pytest

# Read by scipy at its import; without it scikit-learn skips its array API check.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
# Read by matplotlib: pictures without windows.
os.environ.setdefault("MPLBACKEND", "agg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave README.md's block about callbacks out where scikit-learn, before 1.9, has none."""
    if importlib.util.find_spec("sklearn.callback") is None:
        for item in items:
            if item.path.name == "README.md":
                test: Any = item
                text = item.path.read_text(encoding="utf-8")
                test.dtest.examples = without_callbacks(text, test.dtest.examples)


def without_callbacks(text: str, examples: Sequence[doctest.Example]) -> list[doctest.Example]:
    """The examples of a text but for those in the block that imports the callbacks."""
    lines = text.splitlines()
    start = lines.index(">>> from sklearn.callback import ProgressBar, ScoringMonitor")
    stop = lines.index("```", start)
    return [example for example in examples if not start <= example.lineno < stop]
