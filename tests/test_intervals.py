"""Error bars against a known truth: data drawn from a sigmoid network with known noise.

`python tests/test_intervals.py` prints the figures of 200 fits of every setting, the
defaults and the other solvers among them.
"""

import functools
import warnings

import numpy as np
import pytest
from cases import slow_but
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning

from sk_backprop import BackpropRegressor

N_FITS, N_NEW = 200, 200
LEVELS = np.array([0.5, 0.8, 0.95])

ONE = {"hidden_layer_sizes": (3,), "solver": "lm", "n_networks": 1}
SETTINGS = {
    "the units of the truth": ONE,
    "twice as many": {**ONE, "hidden_layer_sizes": (6,)},
    "three networks": {**ONE, "n_networks": 3},
    "two layers": {**ONE, "hidden_layer_sizes": (4, 4)},
    "a fixed penalty": {**ONE, "alpha": 0.1},
}
ADAM = {"hidden_layer_sizes": (6,), "solver": "adam", "learning_rate_init": 0.02}
BY_HAND = {
    "lbfgs": {"hidden_layer_sizes": (6,), "solver": "lbfgs"},
    "sgd": {"hidden_layer_sizes": (6,), "solver": "sgd"},
    "adam": ADAM,
    "adam, as it comes": {"solver": "adam"},
    "adam, to its end": {**ADAM, "max_iter": 2000, "tol": 1e-5, "n_iter_no_change": 50},
    "defaults": {},
}


def draw(seed, n_samples=150):
    """A sigmoid network of three units, rows with noise of 0.3 of its spread, and new rows."""
    rng = np.random.RandomState(seed)
    W, b, v = rng.normal(0, 2, (2, 3)), rng.normal(0, 1, 3), rng.normal(0, 1, 3)
    X, X_new = rng.uniform(-1, 1, (n_samples, 2)), rng.uniform(-1, 1, (N_NEW, 2))
    f, f_new = (1 / (1 + np.exp(-(x @ W + b))) @ v for x in (X, X_new))
    noise = 0.3 * f.std()
    return X, f + noise * rng.randn(n_samples), X_new, f_new + noise * rng.randn(N_NEW), noise


def figures(params, n_fits=N_FITS):
    """Of each fit: the part of new rows in the intervals of `LEVELS`, and the noise precision
    by the true one: (n_fits, 4)."""
    found = []
    for seed in range(n_fits):
        X, y, X_new, y_new, noise = draw(seed)
        model = BackpropRegressor(random_state=seed, **params).fit(X, y)
        mean, std = model.predict(X_new, return_std=True)
        inside = np.abs(y_new - mean)[:, None] < norm.ppf((1 + LEVELS) / 2) * std[:, None]
        found.append([*inside.mean(axis=0), model.noise_precision_[0] * noise**2])
    return np.array(found)


@functools.cache
def of_the_units_of_the_truth():
    return figures(ONE)


@pytest.mark.parametrize("name", slow_but(["the units of the truth"], {n: n for n in SETTINGS}))
def test_intervals_cover_and_noise_is_found(name):
    found = of_the_units_of_the_truth() if SETTINGS[name] is ONE else figures(SETTINGS[name], 80)
    covered, precision = found[:, :3].mean(axis=0), found[:, 3].mean()
    # Standard errors over 80 fits: 0.005, 0.005, 0.003 of what is covered, 0.015 of the precision.
    assert np.all(np.abs(covered - LEVELS) < [0.03, 0.03, 0.02]), covered
    assert 0.9 < precision < 1.1


@pytest.mark.slow
@pytest.mark.parametrize("params", [{}, {"solver": "lbfgs"}], ids=["defaults", "lbfgs"])
def test_intervals_cover_where_shapes_or_penalties_are_tried(params):
    # Fewer of these longer fits: standard errors of 0.012, 0.012, 0.007, and 0.03.
    found = figures(params, 12)
    covered, precision = found[:, :3].mean(axis=0), found[:, 3].mean()
    assert np.all(np.abs(covered - LEVELS) < [0.05, 0.05, 0.03]), covered
    assert 0.85 < precision < 1.15


def test_a_single_fit_is_off_by_what_150_rows_leave_unknown():
    # The noise is known to sqrt(2 / 150) of itself, and the rest is chance: no fit is far off.
    found = of_the_units_of_the_truth()
    assert 0.8 < np.std(found[:, 3]) / np.sqrt(2 / 150) < 1.3
    assert found[:, 2].min() > 0.82


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)  # a script: where `max_iter` ends, it ends
    for name, params in {**SETTINGS, **BY_HAND}.items():
        found = figures(params)
        error = found.std(axis=0) / np.sqrt(len(found))
        inside = ", ".join(
            f"{100 * m:.1f} +- {100 * e:.1f} %" for m, e in zip(found.mean(0), error[:3])
        )
        print(f"{name:24s} {inside}   noise precision {found[:, 3].mean():.3f} +- {error[3]:.3f}")
