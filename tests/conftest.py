"""Fixtures that several files use."""

import signal

import pytest
from sklearn.datasets import load_diabetes


@pytest.fixture(scope="session")
def diabetes():
    """442 patients, ten features in their raw units, and a score from 25 to 346."""
    return load_diabetes(return_X_y=True, scaled=False)


@pytest.fixture
def ctrl_c_is_heard():
    """Python's own handler of SIGINT: what a shell starts in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
