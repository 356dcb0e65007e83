"""Fewer cases than all combinations: every two values of different parameters meet in one."""

from itertools import combinations, cycle, product


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
