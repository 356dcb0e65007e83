"""Made-up tables on which fits fail: oscillations, steps, far values, many columns, few rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Table: TypeAlias = tuple[Array, Array, Array, Array]  # X_train, y_train, X_test, y_test

N_TEST = 1000


def _friedman1(X: Array) -> Array:
    bowl = 20 * (X[:, 2] - 0.5) ** 2
    return np.asarray(10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + bowl + 10 * X[:, 3] + 5 * X[:, 4])


def _hours(X: Array) -> Array:
    """Temperature at an hour: a day, a week of weather, and a warmer month."""
    t = X[:, 0]
    day, weather = np.sin(2 * np.pi * t / 24), np.sin(2 * np.pi * t / 150)
    return np.asarray(10 + 5 * day + 4 * weather + t / 200)


def _curve(
    f: Callable[[Array], Array], n_train: int, noise: float = 0.0, n_features: int = 1
) -> Callable[[np.random.Generator], Table]:
    """Rows in the unit cube, with noise for those to train on; the expectation of the others."""

    def table(rng: np.random.Generator) -> Table:
        X, X_test = rng.random((n_train, n_features)), rng.random((N_TEST, n_features))
        return X, f(X) + noise * rng.normal(size=n_train), X_test, f(X_test)

    return table


def _scaled(table: Callable[[np.random.Generator], Table], scale: float, shift: float = 0.0) -> Any:
    """The same table with inputs in other units."""
    return lambda rng: tuple(
        one * scale + shift if k in (0, 2) else one for k, one in enumerate(table(rng))
    )


def _missing(rng: np.random.Generator) -> Table:
    """-999 for 5 % of the values of a column, in rows to train on and in those to predict."""
    X, y, X_test, y_test = _curve(_friedman1, 1000, 1.0, 6)(rng)
    for one in (X, X_test):
        one[rng.random(len(one)) < 0.05, 0] = -999
    return X, y, X_test, y_test


def _one_far(rng: np.random.Generator) -> Table:
    X, y, X_test, y_test = _curve(_friedman1, 300, 1.0, 6)(rng)
    X[7, 0] = 1e4
    return X, y, X_test, y_test


def _skewed(rng: np.random.Generator) -> Table:
    """Lognormal columns of standard deviation 1.5, whose ranks the target depends on."""
    from scipy.special import ndtri

    X, y, X_test, y_test = _curve(_friedman1, 1000, 1.0, 6)(rng)
    return np.exp(1.5 * ndtri(X)), y, np.exp(1.5 * ndtri(X_test)), y_test


def _gap(rng: np.random.Generator) -> Table:
    """A smooth curve without rows in a fifth of its range."""
    x, y, x_test, y_test = _curve(lambda X: np.sin(6 * X[:, 0]), 100, 0.1)(rng)
    outside = np.abs(x[:, 0] - 0.5) > 0.1
    return x[outside], y[outside], x_test, y_test


TABLES: dict[str, Callable[[np.random.Generator], Table]] = {
    "sine, 8 periods": _curve(lambda X: np.sin(16 * np.pi * X[:, 0]), 100),
    "sine, 7 periods": _curve(lambda X: np.sin(14 * np.pi * X[:, 0]), 150),
    "sine, 10 periods": _curve(lambda X: np.sin(20 * np.pi * X[:, 0]), 150),
    "sine, 12 noisy periods": _curve(lambda X: np.sin(24 * np.pi * X[:, 0]), 1000, 0.1),
    "x sin x": _scaled(
        _curve(lambda X: 30 * X[:, 0] * np.sin(30 * X[:, 0]) + 60 * X[:, 0], 70), 30.0
    ),
    "trend and season": _scaled(
        _curve(lambda X: 9 * X[:, 0] + 2 * np.sin(30 * np.pi * X[:, 0]), 120, 0.2), 180.0
    ),
    "hourly temperature": _scaled(_curve(lambda X: _hours(720 * X), 500, 0.5), 720.0),
    "ripple": _scaled(
        _curve(lambda X: np.sin(20 * np.hypot(*(2 * X - 1).T)), 400, n_features=2), 2.0, -1.0
    ),
    "sawtooth": _curve(lambda X: 2 * ((10 * X[:, 0]) % 1) - 1, 200),
    "spikes": _curve(lambda X: np.exp(-0.5 * ((X[:, 0] * 5 % 1 - 0.5) / 0.05) ** 2), 300),
    "-999 for missing": _missing,
    "one value of 1e4": _one_far,
    "lognormal columns": _skewed,
    "friedman1, 30 rows": _curve(_friedman1, 30, 1.0, 5),
    "friedman1, 50 columns": _curve(_friedman1, 150, 1.0, 50),
    "friedman1, 1000 columns": _curve(_friedman1, 200, 1.0, 1000),
    "a gap": _gap,
}
