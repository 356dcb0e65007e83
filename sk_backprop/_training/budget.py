"""What a run costs, in multiply-adds, and what a fit may cost.

Counted operations, never the clock, decide what is affordable, so that the same rows give
the same fit on every machine.
"""

from __future__ import annotations

from sk_backprop._network.network import Network

# `_SECOND` multiply-adds take a second on a core of 45 Gflop/s (two to a multiply-add) in
# products of matrices, overhead included.
_SECOND = 7e10

# A fit may take most of a second and one more for each 1,000 rows of 20 columns.
_LEAST_SECONDS, _ROWS_PER_SECOND, _COLUMNS, _MOST_SECONDS = 0.8, 1000, 20, 60.0

# Steps of a run by lm: 20 to 80 were seen; and what a step costs beside its arithmetic.
LM_STEPS, _LM_OVERHEAD = 40, 2e7

# Iterations of a run by lbfgs (50 to 500 were seen under a sensible penalty), and what one
# costs for each row and parameter: three products of matrices, and passes over memory that
# take three times as long. What is done with the parameters alone costs as much as some rows.
_LBFGS_ITERATIONS, _LBFGS_PASSES, _LBFGS_ROWS = 300, 12, 200

# Solvers by mini-batches; their epochs (20 to 200 were seen), passes over the rows in an epoch,
# usual rows of a batch, and what a step costs beside its arithmetic.
MINI_BATCHES = ("sgd", "adam")
_EPOCHS, _BATCH_PASSES, _BATCH_ROWS, _STEP_OVERHEAD = 60, 12, 200, 1.4e6


def budget(n_samples: int, n_features: int) -> float:
    """Multiply-adds that a fit may take."""
    rows = n_samples * max(1.0, n_features / _COLUMNS)
    return _SECOND * min(_LEAST_SECONDS + rows / _ROWS_PER_SECOND, _MOST_SECONDS)


def lm_cost(network: Network, n_samples: int, n_steps: float = LM_STEPS) -> float:
    """Multiply-adds of training one network by lm."""
    n_params, n_outputs = network.n_params, network.layer_sizes[-1]
    step = n_outputs * n_samples * n_params**2 + 3.0 * n_params**3 + _LM_OVERHEAD
    return float(n_steps * step)


def lbfgs_cost(network: Network, n_samples: int) -> float:
    """Multiply-adds of training one network by lbfgs."""
    rows = n_samples + _LBFGS_ROWS
    return float(_LBFGS_ITERATIONS * _LBFGS_PASSES * rows * network.n_params)


def mini_batch_cost(network: Network, n_samples: int) -> float:
    """Multiply-adds of training one network by 'sgd' or 'adam'."""
    steps = n_samples / _BATCH_ROWS + 1
    return float(_EPOCHS * (_BATCH_PASSES * n_samples * network.n_params + steps * _STEP_OVERHEAD))


def run_cost(network: Network, n_samples: int, solver: str, n_steps: float = LM_STEPS) -> float:
    """Multiply-adds of training one network by a solver."""
    if solver == "lm":
        return lm_cost(network, n_samples, n_steps)
    if solver in MINI_BATCHES:
        return mini_batch_cost(network, n_samples)
    return lbfgs_cost(network, n_samples)
