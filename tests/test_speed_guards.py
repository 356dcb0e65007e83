"""A slowdown by an order of magnitude is seen on any machine: beside peers that it slows too."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor

# The checkout, which holds `benchmarks`; last, so that an installed sk_backprop comes first.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.peers import MINI_BATCH, Work
from benchmarks.problems import surface
from benchmarks.speed import product
from benchmarks.timing import stopwatch
from sk_backprop import BackpropRegressor

pytestmark = [
    pytest.mark.usefixtures("timing"),
    # Runs are cut short here.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

# Ratios that were seen. Each may fall to a fifth, on a busy machine or an old one.
SEEN = {"adam": 5.2, "sgd": 5.1, "lbfgs": 1.8, "predict": 2.2, "lm": 1.0}


def fastest(ours, theirs, n_laps=4):
    """The peer's least seconds over ours, by turns: noise only adds."""
    least, of_peer = np.min([(ours(lap), theirs(lap)) for lap in range(n_laps)], axis=0)
    return of_peer / least


@pytest.mark.parametrize("what", ["adam", "sgd", "lbfgs", "predict"])
def test_a_slowdown_by_an_order_of_magnitude_is_seen(what):
    X, y = surface(400 if what in ("adam", "sgd") else 5000, 8)
    if what in ("adam", "sgd"):
        # So few units that the residuals show the noise: the fit trains no other network.
        work = Work(X, y, (8,), n_epochs=50, batch_size=32, solver=what)
        runs = [MINI_BATCH[name](work) for name in ("ours", "mlp")]
    else:
        options = {"solver": "lbfgs", "alpha": 1.0, "max_iter": 20, "random_state": 0}
        models = [
            BackpropRegressor((50,), **options).fit(X, y),
            MLPRegressor(hidden_layer_sizes=(50,), activation="logistic", **options).fit(X, y),
        ]
        given = (np.tile(X, (10, 1)),) if what == "predict" else (X, y)
        runs = [
            partial(model.predict if what == "predict" else model.fit, *given) for model in models
        ]
    assert fastest(*(stopwatch(one) for one in runs)) > SEEN[what] / 5


def test_slowdown_of_levenberg_marquardt_is_seen():
    """Its steps, beside the product of matrices of which they are made."""
    X, y = surface(4000, 8)
    options = {"alpha": 1.0, "tol": 0.0, "n_iter_no_change": np.inf, "random_state": 0}

    def steps(number):
        model = BackpropRegressor((20,), solver="lm", max_iter=number, **options)
        return stopwatch(lambda: model.fit(X, y))

    # The least of each, before they are subtracted: of differences it would be below zero.
    laps = [steps(8), steps(2), product(4000, 201)]
    eight, two, of_product = np.min([[lap(k) for lap in laps] for k in range(4)], axis=0)
    assert of_product / ((eight - two) / 6) > SEEN["lm"] / 5
