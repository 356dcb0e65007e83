"""Test error of the estimator's defaults, and of the same with a parameter changed."""

from __future__ import annotations

import csv
import inspect
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TextIO

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import root_mean_squared_error

from benchmarks.fitting import fit_predict, show
from benchmarks.problems import Problem
from sk_backprop import BackpropRegressor

DEFAULTS = {p.name: p.default for p in inspect.signature(BackpropRegressor).parameters.values()}

# Values tried one at a time; whichever is the default is left out.
GRID: dict[str, tuple[Any, ...]] = {
    "alpha": ("auto", 0.01, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0),
    "tol": (1e-4, 1e-3, 1e-2),
    "hidden_layer_sizes": ("auto", (10,), (20,), (50,), (100,), (20, 20)),
    "precondition": (True, False),
}
COMBINATIONS: list[dict[str, Any]] = [
    *({"solver": "lbfgs", "alpha": alpha} for alpha in (0.1, 1.0, 2.0, 3.0, 10.0)),
    *({"solver": "adam", "learning_rate_init": rate} for rate in (0.001, 0.003, 0.01)),
    *({"early_stopping": True, "n_iter_no_change": patience} for patience in (10, 40)),
]


@dataclass(frozen=True)
class Row:
    """One fit. `rmse` is in standard deviations of the test target; fields are CSV columns."""

    setting: str
    problem: str
    split: int
    rmse: float
    seconds: float
    iterations: int
    solver: str
    converged: bool


def spell(params: dict[str, Any]) -> str:
    """Parameters as in a call."""
    return ", ".join(f"{name}={value!r}" for name, value in params.items())


def settings() -> dict[str, dict[str, Any]]:
    """{name: what it changes of the defaults}; 'defaults' changes nothing."""
    single = [{name: value} for name, values in GRID.items() for value in values]
    changes = [c for c in [*single, *COMBINATIONS] if any(DEFAULTS[k] != c[k] for k in c)]
    return {"defaults": {}} | {spell(change): change for change in changes}


def measure(setting: str, params: dict[str, Any], problem: Problem) -> Row:
    """Fit on the training rows and score the test rows."""
    model = BackpropRegressor(random_state=problem.split, **params)
    seconds, mean, caught = fit_predict(model, problem)
    converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
    show(caught, silenced=(ConvergenceWarning,))
    error = root_mean_squared_error(problem.y_test, mean)
    rmse, n_iter, solver = float(error / problem.y_test.std()), model.n_iter_, model.solver_
    return Row(setting, problem.name, problem.split, rmse, seconds, n_iter, solver, converged)


def summarize(rows: Sequence[Row]) -> str:
    """A table, best setting first: means over splits, compared on each problem, then joined."""
    names = list(dict.fromkeys(row.setting for row in rows))
    problems = list(dict.fromkeys(row.problem for row in rows))
    n_fits, rmse, seconds, failed = np.zeros((4, len(names), len(problems)))
    for row in rows:
        cell = names.index(row.setting), problems.index(row.problem)
        n_fits[cell] += 1
        rmse[cell] += row.rmse
        seconds[cell] += row.seconds
        failed[cell] += not row.converged
    ratios = rmse / rmse.min(axis=0)
    means = np.exp(np.log(ratios).mean(axis=1))
    typical = np.median(seconds / n_fits, axis=1)
    wide = max(map(len, names))
    lines = [f"{'setting':<{wide}}   mean  worst  {'on':<26}  seconds  not converged"]
    for i in np.argsort(means, kind="stable"):
        worst = ratios[i].argmax()
        lines.append(
            f"{names[i]:<{wide}}  {means[i]:5.3f}  {ratios[i, worst]:5.2f}  {problems[worst]:<26}"
            f"  {typical[i]:7.3f}  {failed[i].sum():6.0f} of {n_fits[i].sum():.0f}"
        )
    return "\n".join(lines)


def run(problems: Sequence[Problem], out: TextIO) -> None:
    """The subcommand: each row goes to `out` once it is measured; a summary is printed."""
    varied = dict.fromkeys(name for change in [GRID, *COMBINATIONS] for name in change)
    print("defaults:", spell({name: DEFAULTS[name] for name in varied}), flush=True)
    writer = csv.DictWriter(out, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    rows = []
    for problem in problems:
        shape = "{} x {}".format(*problem.X_train.shape)
        print(f"{problem.name}, split {problem.split}: {shape}", file=sys.stderr, flush=True)
        for setting, params in settings().items():
            rows.append(measure(setting, params, problem))
            writer.writerow(asdict(rows[-1]))
            out.flush()
    print("\nRMSE over that of the best setting on a problem: geometric mean, worst, and where.")
    print(f"Seconds a fit: median over {len({row.problem for row in rows})} problems.\n")
    print(summarize(rows))
