"""R2 on the diabetes data when only a unit or an origin changes, beside MLPRegressor."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any, TextIO

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPRegressor

from benchmarks.fitting import MLP_CUT_SHORT, expecting
from benchmarks.problems import Array, Problem
from sk_backprop import BackpropRegressor

MODELS = {
    "BackpropRegressor": BackpropRegressor(random_state=0),
    "  early_stopping=True": BackpropRegressor(early_stopping=True, random_state=0),
    "MLPRegressor": MLPRegressor(random_state=0),
    "  solver='lbfgs'": MLPRegressor(solver="lbfgs", max_iter=1000, random_state=0),
}


def changes(X: Array, y: Array) -> dict[str, tuple[Array, Array]]:
    """The same table, told differently."""
    microyears = np.r_[1e6, np.ones(X.shape[1] - 1)]  # age is the first column
    return {
        "as they are": (X, y),
        "y in thousandths": (X, y * 1e-3),
        "y in thousands": (X, y * 1e3),
        "y + 10,000": (X, y + 1e4),
        "age in microyears": (X * microyears, y),
        "every feature + 1000": (X + 1000, y),
    }


def score(model: Any, X: Array, y: Array) -> float:
    """Mean R2 over five folds."""
    # That the peer does not converge on raw data is what the table shows; ours must.
    with expecting(MLP_CUT_SHORT):
        folds = KFold(5, shuffle=True, random_state=0)
        return float(cross_val_score(model, X, y, cv=folds).mean())


def run(problems: Sequence[Problem], out: TextIO) -> None:
    """The subcommand: a table of R2, printed and written to `out`."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["change", *MODELS])
    print("\nR2, mean of five folds, diabetes")
    for k, name in enumerate(MODELS):
        print(f"  ({k + 1}) {name}")
    for change, (X, y) in changes(*load_diabetes(return_X_y=True, scaled=False)).items():
        scores = [score(model, X, y) for model in MODELS.values()]
        writer.writerow([change, *scores])
        print(f"{change:<22}" + "".join(f"{value:12.2f}" for value in scores), flush=True)
