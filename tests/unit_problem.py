"""A small problem whose scales are 1, for tests of solvers by themselves."""

import numpy as np
from sklearn.datasets import make_friedman1

from sk_backprop._inference.objective import Objective
from sk_backprop._network.families import SquaredError
from sk_backprop._network.network import Network, lecun_bound


def unit_rows():
    """X and y whose largest absolute values are 1: what MLPRegressor sees is what we see."""
    X, y = make_friedman1(120, n_features=5, random_state=0)
    return X / np.abs(X).max(axis=0), y / np.abs(y).max()


def objective_of(rows, dtype=float, alpha=0.1):
    """The objective of a network of four units on rows, and where it starts."""
    X, y = rows
    network = Network((5, 4, 1), "logistic", "identity")
    objective = Objective(
        network, SquaredError(), X.astype(dtype), y[:, None].astype(dtype), None, alpha
    )
    return objective, network.initial_parameters(np.random.RandomState(0), dtype, lecun_bound)
