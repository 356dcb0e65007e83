"""Settings and fixtures that several files use."""

import os

# Read by scipy at its import; without it scikit-learn skips its array API check.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
# Read by matplotlib: pictures without windows, in the examples of the docstrings too.
os.environ.setdefault("MPLBACKEND", "agg")

import pytest
from sklearn.datasets import load_diabetes


@pytest.fixture(scope="session")
def diabetes():
    """442 patients, ten features in their raw units, and a score from 25 to 346."""
    return load_diabetes(return_X_y=True, scaled=False)
