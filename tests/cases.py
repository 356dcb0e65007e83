"""Parameters of tests: fewer cases than all combinations, and those that are slow."""

from itertools import combinations, cycle, product

import pytest


def every_pair(*choices):
    """Combinations of one value of each of the choices that hold every pair of values.

    A fault that takes two settings to show is found by these as by the whole product, which
    is many times as long. Always the same, in the order of the product.

    Parameters
    ----------
    *choices : iterables of the values of each parameter

    Returns
    -------
    rows : list of tuples, in each a value of every choice
    """
    choices = [list(values) for values in choices]
    rows = list(product(*(range(len(values)) for values in choices)))
    pairs = {row: set(combinations(enumerate(row), 2)) for row in rows}
    missing, taken = set().union(*pairs.values()), set()
    while missing:
        best = max(rows, key=lambda row: len(pairs[row] & missing))
        missing -= pairs[best]
        taken.add(best)
    return [tuple(values[k] for values, k in zip(choices, row)) for row in sorted(taken)]


def by_turns(many, few):
    """A case for each of the first, with the second's values in turn."""
    return list(zip(many, cycle(few)))


def slow(cases):
    """The same cases, marked as slow: tuples of the values, or values of one parameter."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in cases
    ]


def slow_but(names, cases):
    """The values of a dict with their names as ids, slow but for those that are named."""
    return [
        pytest.param(value, id=name, marks=() if name in names else pytest.mark.slow)
        for name, value in cases.items()
    ]
