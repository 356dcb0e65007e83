"""Upper bound on the cost of a fit, in multiply-adds; `Solver.cost` estimates that of a run.

Operations are counted and no clock is read, so that the same rows give the same fit on every
machine.
"""

from __future__ import annotations

# Multiply-adds (two flops each) in a second, overhead included, on a core that multiplies
# matrices at 45 Gflop/s.
_SECOND = 7e10

# A fit may take most of a second, plus one second per 1,000 rows of 20 columns, up to a minute.
_LEAST_SECONDS, _ROWS_PER_SECOND, _COLUMNS, _MOST_SECONDS = 0.8, 1000, 20, 60.0


def budget(n_samples: int, n_features: int) -> float:
    """Multiply-adds that a fit may take."""
    rows = n_samples * max(1.0, n_features / _COLUMNS)
    return _SECOND * min(_LEAST_SECONDS + rows / _ROWS_PER_SECOND, _MOST_SECONDS)
