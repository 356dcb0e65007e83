"""R2 on the diabetes data when only a unit or an origin changes, beside MLPRegressor."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPRegressor

from benchmarks.problems import Array
from sk_backprop import BackpropRegressor

MODELS = {
    "BackpropRegressor": BackpropRegressor(random_state=0),
    "early_stopping=True": BackpropRegressor(early_stopping=True, random_state=0),
    "MLPRegressor": MLPRegressor(random_state=0),
    "solver='lbfgs'": MLPRegressor(solver="lbfgs", max_iter=1000, random_state=0),
}


@dataclass(frozen=True)
class Row:
    """Mean R2 over five folds."""

    change: str
    model: str
    r2: float


def changes(X: Array, y: Array) -> dict[str, tuple[Array, Array]]:
    """The same table in other units."""
    microyears = np.r_[1e6, np.ones(X.shape[1] - 1)]  # age is the first column
    return {
        "as they are": (X, y),
        "y in thousandths": (X, y * 1e-3),
        "y in thousands": (X, y * 1e3),
        "y + 10,000": (X, y + 1e4),
        "age in microyears": (X * microyears, y),
        "every feature + 1000": (X + 1000, y),
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """There are none of its own."""


def run(args: argparse.Namespace) -> Iterator[Row]:
    folds = KFold(5, shuffle=True, random_state=0)
    for change, (X, y) in changes(*load_diabetes(return_X_y=True, scaled=False)).items():
        for name, model in MODELS.items():
            with warnings.catch_warnings():
                # The peer does not converge on raw data, which is what this shows; ours must.
                if isinstance(model, MLPRegressor):
                    warnings.simplefilter("ignore", ConvergenceWarning)
                scores = cross_val_score(model, X, y, cv=folds, error_score="raise")
            yield Row(change, name, float(scores.mean()))


def summarize(rows: Sequence[Row]) -> str:
    """A line for each change, with a column for each model."""
    names = list(dict.fromkeys(row.model for row in rows))
    lines = ["R2, mean of five folds, diabetes", " " * 20 + "".join(f"{n:>21}" for n in names)]
    for change in dict.fromkeys(row.change for row in rows):
        cells = [f"{row.r2:21.2f}" for row in rows if row.change == change]
        lines.append(f"{change:<20}" + "".join(cells))
    return "\n".join(lines)
