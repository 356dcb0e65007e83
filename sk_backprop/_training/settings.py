"""From the estimator's parameters to the settings of a run: what 'auto' stands for, by solver.

What has to be tried (`_training.plan`) is left open here: hidden layers, the penalty where it is
'auto', and the solver.
"""

from __future__ import annotations

import math
from typing import Any, get_type_hints

import numpy as np

from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network
from sk_backprop._solvers import SOLVERS
from sk_backprop._solvers._base import Solver
from sk_backprop._training.problem import Settings

# Largest and smallest mini-batch, and steps of an epoch where there are few rows. An epoch of one
# step gains so little that ten of them count as a stall: with all 150 rows of friedman1 in one
# batch the R2 of 'adam' ended .034 and that of 'sgd' .19 below that of lbfgs, with batches of 25
# .016 and .06 (`test_solvers`). Below 50 rows, a single batch did as well.
_BATCH, _LEAST_BATCH, _STEPS = 200, 25, 8

# The same for 'muon', and the rows from which on its batches are the largest.
_MUON_BATCHES, _LEAST_MUON_BATCH, _MUON_STEPS = (128, 256), 16, 30
MANY_ROWS = 10_000

# Epochs where the learning rate has an end, by whether there are many rows; and elsewhere.
_EPOCHS, _MOST_EPOCHS = {False: 20, True: 15}, 1000

# Settings that are not copied from the estimator's parameters, and those that may be 'auto', by
# type; {name: type} of all others.
_DERIVED = {"network", "likelihood", "solver", "alpha", "batch_size"}
_DERIVED |= {"plain_steps", "memory", "weight_unit"}
_BY_SOLVER: dict[str, type] = {"learning_rate": str, "learning_rate_init": float}
_BY_SOLVER |= {"weight_decay": float, "max_iter": int}
_PLAIN = {
    name: kind
    for name, kind in get_type_hints(Settings).items()
    if name not in _DERIVED and name not in _BY_SOLVER
}


def settings_of(
    estimator: Any,
    network: Network,
    likelihood: Likelihood,
    n_samples: int,
    *,
    streaming: bool = False,
) -> Settings:
    """The settings of an estimator; the solver may still be 'auto'.

    Parameters
    ----------
    estimator : BackpropRegressor; network : Network; likelihood : Likelihood; n_samples : int
    streaming : bool, whether the rows are one batch of a stream; 'auto' is then 'adam',
        because the solvers that use all rows at once would forget earlier batches
    """
    solver = str(estimator.solver)
    if solver == "auto" and streaming:
        solver = "adam"
    # Numpy scalars become Python numbers: a float32 would make the arithmetic less precise.
    plain = {name: kind(getattr(estimator, name)) for name, kind in _PLAIN.items()}
    usual = dict(SOLVERS.get(solver, Solver).usual)
    if streaming:  # which has no end
        usual["learning_rate"] = "constant"
    has_end = "cosine" in (estimator.learning_rate, usual["learning_rate"])
    usual["max_iter"] = _EPOCHS[n_samples >= MANY_ROWS] if has_end else _MOST_EPOCHS
    for name, kind in _BY_SOLVER.items():
        given = getattr(estimator, name)
        plain[name] = usual[name] if _is_auto(given) else kind(given)
    batch_size = estimator.batch_size
    if _is_auto(batch_size):
        batch_size = usual_batch_size(n_samples, solver, streaming=streaming)
    return Settings(
        network=network,
        likelihood=likelihood,
        solver=solver,
        alpha=None if _is_auto(estimator.alpha) else float(estimator.alpha),
        batch_size=int(batch_size),
        plain_steps=(),
        **plain,
    )


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def usual_batch_size(n_samples: int, solver: str, *, streaming: bool = False) -> int:
    """What batch_size='auto' stands for: batches of equal size, as nearly as possible."""
    if solver == "muon":
        few, many = _MUON_BATCHES
        if streaming or n_samples >= MANY_ROWS:
            return many
        return int(np.clip(n_samples // _MUON_STEPS, _LEAST_MUON_BATCH, few))
    if streaming:
        return _BATCH
    n_steps = max(1, min(_STEPS, n_samples // _LEAST_BATCH))
    return min(_BATCH, math.ceil(n_samples / n_steps))
