"""What a fit may cost, in multiply-adds; what a run costs, its solver says (`Solver.cost`).

Counted operations, never the clock, decide what is affordable, so that the same rows give
the same fit on every machine.
"""

from __future__ import annotations

# `_SECOND` multiply-adds take a second on a core of 45 Gflop/s (two to a multiply-add) in
# products of matrices, overhead included.
_SECOND = 7e10

# A fit may take most of a second and one more for each 1,000 rows of 20 columns.
_LEAST_SECONDS, _ROWS_PER_SECOND, _COLUMNS, _MOST_SECONDS = 0.8, 1000, 20, 60.0


def budget(n_samples: int, n_features: int) -> float:
    """Multiply-adds that a fit may take."""
    rows = n_samples * max(1.0, n_features / _COLUMNS)
    return _SECOND * min(_LEAST_SECONDS + rows / _ROWS_PER_SECOND, _MOST_SECONDS)
