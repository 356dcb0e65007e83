"""What the tests of the displays share: a table, a fit, and what a legend says."""

from functools import cache

import numpy as np
import pandas as pd

from sk_backprop import BackpropRegressor

NAMES = ["age", "weight", "dose"]


def rough(hidden, **params):
    """A network after a few iterations: these tests need a function, not a good one."""
    quick = {"solver": "lbfgs", "tol": 0.5, "n_iter_no_change": 1, "random_state": 0}
    return BackpropRegressor(hidden, **{**quick, **params})


@cache
def table():
    """60 rows of three features and a target, not to be changed."""
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 2, (60, 3))
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.randn(60)
    return pd.DataFrame(X, columns=NAMES), pd.Series(y, name="yield")


@cache
def fitted():
    """A network fitted to the table."""
    return rough((4,), tol=1e-3, n_iter_no_change=10).fit(*table())


def legend(display):
    """The texts of the legend."""
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def note(display):
    """What is written above the axes."""
    return display.ax_.get_title(loc="left")
