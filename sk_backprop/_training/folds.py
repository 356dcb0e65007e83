"""Folds: training and held-out rows, drawn over distinct rows.

All copies of a row, repeated in the table or implied by a weight above 1, are in the same fold.
Otherwise a network would be scored on rows that it was trained on.
"""

from __future__ import annotations

import numpy as np

from sk_backprop._blocks.arrays import Array, row_blocks
from sk_backprop._training.problem import Data, Problem

# Up to `_MANY_ROWS` distinct rows there are five folds, which hold out a fifth of the rows each, so
# that all rows can be scored. With more there is one, which holds out at most `MOST_HELD_OUT`.
# Many are worth holding out: even 4,000 of the 41,000 rows of the UCI set protein selected a
# network whose error was 6 % larger than that of the best one.
_MANY_ROWS, MOST_HELD_OUT = 3000, 4000
_N_PARTS = 5

# Rows up to which all five folds are used from the beginning; above, two are.
_FEW_ROWS, _N_FIRST = 200, 2

_GOLDEN = (np.sqrt(5.0) - 1) / 2


class Folds:
    """Training and held-out rows; a fold is made when it is first requested.

    Parameters
    ----------
    problem : Problem, with all rows
    n_kept : int, distinct rows to train on where there are more than 3,000

    Attributes
    ----------
    n_first : int, number of folds that are used at first
    """

    def __init__(self, problem: Problem, n_kept: int) -> None:
        n_distinct = problem.n_distinct
        self._problem, self._n_kept, self._place = problem, n_kept, _places(problem)
        self._made: dict[int, tuple[Problem, Data]] = {}
        self._single = n_distinct > _MANY_ROWS
        self.n_first = min(len(self), _N_PARTS if n_distinct <= _FEW_ROWS else _N_FIRST)

    def __len__(self) -> int:
        return 1 if self._single else _N_PARTS

    def __getitem__(self, number: int) -> tuple[Problem, Data]:
        """The problem of the training rows, and the held-out rows."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        if number not in self._made:
            kept, held_out = self._masks(number)
            part = part_of(self._problem, _in_places(kept, self._place))
            self._made[number] = part, self._problem.rows.take(np.flatnonzero(held_out))
        return self._made[number]

    def _masks(self, number: int) -> tuple[Array, Array]:
        """Which rows are kept and which are held out, (n_samples,) bool each."""
        place, n_distinct = self._place, self._problem.n_distinct
        if self._single:
            n_held_out = min(n_distinct - self._n_kept, MOST_HELD_OUT)
            kept = place < self._n_kept
            return kept, ~kept & (place < self._n_kept + n_held_out)
        held_out = place * _N_PARTS // n_distinct == number
        return ~held_out, held_out


def left_out(problem: Problem, n_folds: int) -> list[tuple[Problem, Data, Array]]:
    """Problems that each leave out other rows, these rows, and their numbers.

    Together they leave out all rows, or of many rows `MOST_HELD_OUT` each. The problems share X.

    Parameters
    ----------
    problem : Problem, with all rows
    n_folds : int
    """
    size, place = min(-(-problem.n_distinct // n_folds), MOST_HELD_OUT), _places(problem)
    found = []
    for number in range(n_folds):
        held_out = place // size == number
        kept, rows = _in_places(~held_out, place), np.flatnonzero(held_out)
        part = part_of(problem, kept, problem.rows.select(kept))
        found.append((part, problem.rows.take(rows), rows))
    return found


def evenly_spread(problem: Problem, rows: Array, most: int) -> Array:
    """The numbers of at most `most` of the given rows, so ordered that each slice covers X evenly.

    problem : Problem, with all rows; rows : (n_chosen,) int; most : int
    """
    place = _places(problem)[rows]
    return np.asarray(rows[np.argsort(place, kind="stable")][:most])


def _places(problem: Problem) -> Array:
    """The place of each row's distinct row in an order that any fold is spread over evenly."""
    rank = _ranks(problem)
    if problem.groups is not None:
        rank = _ranks_of_groups(rank, problem.groups)
    # Multiples of the golden ratio fill the unit interval evenly, without a period. Every
    # fifth row has one, which may be that of a full factorial design.
    place = np.argsort(np.argsort((np.arange(problem.n_distinct) * _GOLDEN) % 1.0))
    return np.asarray(place[rank])


def _in_places(chosen: Array, place: Array) -> Array:
    """Numbers of the rows that are chosen, in the order of their places.

    The order of the rows themselves is that of their bits: another unit, or another processor,
    would shuffle them, and mini-batches would be others.

    chosen : (n_samples,) bool; place : (n_samples,), as returned by `_places`
    """
    rows = np.flatnonzero(chosen)
    return np.asarray(rows[np.argsort(place[rows], kind="stable")])


def part_of(problem: Problem, kept: Array, rows: Data | None = None) -> Problem:
    """The problem of the rows with the numbers `kept`, which are `rows` if these are known."""
    rows = problem.rows.take(kept) if rows is None else rows
    groups = problem.groups
    if groups is not None:
        groups = np.unique(groups[kept], return_inverse=True)[1]
    return problem._replace(rows=rows, groups=groups)


def _ranks(problem: Problem) -> Array:
    """Rank of each row in an order that depends neither on units nor on the order of the columns.

    The key is a sum over all columns, in the solver's coordinates, with a fixed coefficient for
    each rank of a column, plus the absolute value of the target, whose sign is arbitrary. The
    order of `_coordinates.row_order` depends on the units, and so would the selection: R^2 on
    the diabetes data moved by 0.05.
    """
    rows, n_features = problem.rows, len(problem.scales.x.mean)
    coefficients = 0.5 + ((1 + problem.column_ranks) * _GOLDEN) % 1.0
    inputs = rows.X[:, :n_features] if isinstance(rows.X, np.ndarray) else rows.X
    blocks = row_blocks(rows.n_samples, max(1, _BLOCK_VALUES // max(1, n_features)))
    products = [inputs[block] @ coefficients[:, None] for block in blocks]
    place = np.concatenate(products).ravel() + np.abs(rows.y).sum(axis=1)
    # The order of the columns changes the last digits of the sums.
    return np.argsort(np.argsort(np.round(place, _DIGITS), kind="stable"))


# Decimals of the sums that order the rows, in the solver's coordinates; and values of X that are
# converted to float64 at a time.
_DIGITS, _BLOCK_VALUES = 9, 2**18


def _ranks_of_groups(rank: Array, groups: Array) -> Array:
    """Rank, among the distinct rows, of the one that each row equals."""
    first = np.full(groups.max() + 1, len(rank))
    np.minimum.at(first, groups, rank)
    return np.asarray(np.argsort(np.argsort(first))[groups])
