"""From the estimator's parameters to the settings of a run: what 'auto' stands for, by solver.

What has to be tried (`_training.plan`) is left open here: hidden layers, the penalty where it is
'auto', and the solver.
"""

from __future__ import annotations

from functools import cache
from typing import Any, get_type_hints

from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network
from sk_backprop._solvers import SOLVERS
from sk_backprop._solvers._base import Solver
from sk_backprop._solvers.stochastic import VERY_MANY_ROWS, usual_epochs
from sk_backprop._training.problem import Settings

# Iterations of solvers that stop when they have converged.
_MOST_ITERATIONS = 1000

# Settings that are not parameters of the estimator, or are converted by hand; and those that may be
# 'auto', with their types.
_DERIVED = {"network", "likelihood", "solver", "alpha", "batch_size", "plain_steps", "memory"}
_DERIVED |= {"weight_unit", "n_folds", "local_units", "in_trials"}
_BY_SOLVER: dict[str, type] = {"learning_rate": str, "learning_rate_init": float}
_BY_SOLVER |= {"weight_decay": float, "max_iter": int}


@cache
def _plain() -> dict[str, type]:
    """All other settings, with their types; cached, as finding the types takes 0.14 ms."""
    return {
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
    solver: str | None = None,
) -> Settings:
    """The settings of an estimator; the solver may still be 'auto'.

    Parameters
    ----------
    estimator : BackpropRegressor; network : Network; likelihood : Likelihood; n_samples : int
    streaming : bool, whether the rows are one batch of a stream; 'auto' is then 'adam',
        because the solvers that use all rows at once would forget earlier batches
    solver : str, or None for that of the estimator
    """
    if solver is None:
        solver = "adam" if estimator.solver == "auto" and streaming else str(estimator.solver)
    kind_of_solver = SOLVERS.get(solver, Solver)
    # Numpy scalars become Python numbers: a float32 would make the arithmetic less precise.
    plain = {name: kind(getattr(estimator, name)) for name, kind in _plain().items()}
    plain |= _by_rows(estimator, kind_of_solver, n_samples, streaming=streaming)
    in_trials: dict[str, Any] = {}
    if n_samples > VERY_MANY_ROWS and not streaming:
        fewer = _by_rows(estimator, kind_of_solver, VERY_MANY_ROWS)
        in_trials = {name: value for name, value in fewer.items() if value != plain[name]}
    return Settings(
        network=network,
        likelihood=likelihood,
        solver=solver,
        alpha=None if _is_auto(estimator.alpha) else float(estimator.alpha),
        plain_steps=(),
        in_trials=tuple(in_trials.items()),
        **plain,
    )


def _by_rows(
    estimator: Any, solver: type[Solver], n_samples: int, *, streaming: bool = False
) -> dict[str, Any]:
    """The settings that may depend on the number of rows.

    estimator, n_samples, streaming : as for `settings_of`; solver : class of the solver
    """
    batch_size = estimator.batch_size
    if _is_auto(batch_size):
        batch_size = solver.usual_batch_size(n_samples, streaming=streaming)
    usual = dict(solver.usual if streaming else solver.usual_for(n_samples, int(batch_size)))
    if streaming:  # which has no end
        usual["learning_rate"] = "constant"
    has_end = "cosine" in (estimator.learning_rate, usual["learning_rate"])
    usual["max_iter"] = usual_epochs(n_samples) if has_end else _MOST_ITERATIONS
    found: dict[str, Any] = {"batch_size": int(batch_size)}
    for name, kind in _BY_SOLVER.items():
        given = getattr(estimator, name)
        found[name] = usual[name] if _is_auto(given) else kind(given)
    return found


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"
