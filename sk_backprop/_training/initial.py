"""Initial weights of the solver's network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sk_backprop._blocks.arrays import Array, as_dense, weighted_quantiles
from sk_backprop._network.network import (
    Network,
    Parameters,
    glorot_bound,
    lecun_bound,
    own_features,
)
from sk_backprop._training.problem import Data, Problem


def random_start(
    network: Network,
    problem: Problem,
    rng: np.random.RandomState,
    dtype: Any,
    constant: Array | None,
) -> Parameters:
    """Initial weights of the solver's network.

    The weights of each column are drawn in the order of the columns' ranks, so that they move
    with the columns when a table lists them in another order.

    Parameters
    ----------
    network : Network in the solver's coordinates; problem : Problem; rng : RandomState
    dtype : of the weights
    constant : (n_features,) bool, inputs that are known to be constant, or None. Their weights
        are zero, and all other weights are as without them.
    """
    # Glorot's bound leaves tanh units almost linear where there are few inputs:
    # with it, a fit to a sine of one input ended on its first plateau.
    preconditioned = problem.scales.precondition
    bound = lecun_bound if preconditioned else glorot_bound(network.activation)
    by_rank = np.argsort(problem.column_ranks)
    if constant is not None:
        by_rank = by_rank[~constant[by_rank]]
    first, per_feature = network.layer_sizes[1:], network.units_per_feature
    if per_feature:
        units = np.nonzero(own_features(network)[by_rank])[1]
        first = (len(units), *first[1:])
    narrow = replace(network, layer_sizes=(len(by_rank), *first))
    drawn = narrow.initial_parameters(rng, dtype, lambda i, o: bound(max(i, 1), o))
    coefs, intercepts = drawn.coefs, drawn.intercepts
    if per_feature:
        coefs[1] = _in_rows(coefs[1], units, network.layer_sizes[1])
        coefs[0], intercepts[0] = soft_bins(network, problem.rows)
    else:
        coefs[0] = _in_rows(coefs[0], by_rank, network.layer_sizes[0])
    return network.pack(coefs, intercepts, dtype)


# Penalty of the first steps from a local start: with precisions of .01 instead, a trend with a
# season ended at an R^2 of .83, now .99.
LOCAL_ALPHA = 1e-3

# That of the biases: next to none, but the evidence of none at all is not finite.
LOCAL_ALPHA_OF_BIASES = 1e-12


def local_start(
    network: Network, problem: Problem, rng: np.random.RandomState, dtype: Any
) -> Parameters:
    """Initial weights for functions that oscillate: steep units at random training rows.

    A unit is u (x - x_i) H^(1/d) / 2 with H units of d inputs that vary, where u is a random unit
    vector and x_i a random row, so that units lie as densely as waves that H units can follow. The
    output layer is zero. From small weights at the origin, all solvers ended near a constant or
    a line for sines of seven periods and more.

    Parameters
    ----------
    network : Network with one hidden layer, in the solver's coordinates
    problem, rng, dtype : as for `random_start`
    """
    n_features, n_units = network.layer_sizes[:2]
    rows: Any = problem.rows.X[rng.randint(problem.rows.n_samples, size=n_units)]
    at = rows[:, :n_features].astype(float)
    by_rank = np.argsort(problem.column_ranks)
    by_rank = by_rank[~problem.scales.x.constant[by_rank]]
    u = rng.standard_normal((len(by_rank), n_units))
    u /= np.maximum(np.linalg.norm(u, axis=0), np.finfo(float).tiny)
    params = network.parameters(np.zeros(network.n_params, dtype))
    params.coefs[0][by_rank] = 0.5 * n_units ** (1 / max(1, len(by_rank))) * u
    params.intercepts[0][...] = -(params.coefs[0] * at.T).sum(axis=0)
    return params


def _in_rows(W: Array, rows: Array, n_rows: int) -> Array:
    """Zeros, (n_rows, n_out), but for the given rows, which are those of W."""
    found = np.zeros((n_rows, W.shape[1]), W.dtype)
    found[rows] = W
    return found


# Steepest unit, and shortest distance of two centres, by the spread of the feature.
_STEEPEST, _CLOSEST = 20.0, 1e-3

# Values, of evenly spaced rows, from which the quantiles are taken where there are more.
_MOST_VALUES = 2**20


def soft_bins(network: Network, rows: Data) -> tuple[Array, Array]:
    """Weights and biases of the units for single features, which divide its range.

    The units are steps at the quantiles (k + 1/2) / `units_per_feature` of the feature, as steep
    as the quantiles are close: the slope is 1 over the distance between neighbours, within limits.
    Those of a constant feature are zero.

    Parameters
    ----------
    network : Network, with `units_per_feature`
    rows : Data, in the solver's coordinates

    Returns
    -------
    W : (n_features, n_units)
    b : (n_units,)
    """
    n_features = network.layer_sizes[0]
    step = -(-rows.n_samples * n_features // _MOST_VALUES)
    X = as_dense(rows.X[::step])
    w = rows.weights[::step]
    W = np.zeros(network.layer_sizes[:2])
    b = np.zeros(network.layer_sizes[1])
    for j, own in enumerate(own_features(network)):
        n_units = np.count_nonzero(own)
        x = X[:, j].astype(float)
        spread = _spread(x, w)
        if spread > 0:
            centres = weighted_quantiles(x, w, (np.arange(n_units) + 0.5) / n_units)
            gaps = np.gradient(centres) if n_units > 1 else spread
            W[j, own] = np.minimum(1 / np.maximum(gaps, _CLOSEST * spread), _STEEPEST / spread)
            b[own] = -W[j, own] * centres
    return W, b


def _spread(x: Array, w: Array) -> float:
    """Standard deviation of most values, by the interquartile range; or of all, if that is 0.

    A single value far away, or a number that stands for a missing one, would make the steps of all
    others flat: with one 1e4 among 300 rows of friedman1 the units saw a constant.
    """
    first, third = _quartiles(x, w)
    if third > first:
        return (third - first) / _QUARTILES
    mean = np.average(x, weights=w)
    return float(np.sqrt(np.average((x - mean) ** 2, weights=w)))


def _quartiles(x: Array, w: Array) -> tuple[float, float]:
    """The first and the third quartile of values with weights w."""
    first, third = weighted_quantiles(x, w, np.array([0.25, 0.75]))
    return float(first), float(third)


# Distance of the quartiles of a normal distribution, in standard deviations.
_QUARTILES = 1.349


def two_valued(X: Array) -> tuple[int, ...]:
    """The columns of a dense X that have two different values."""
    lowest, highest = X.min(axis=0), X.max(axis=0)
    return tuple(
        j
        for j, (x, low, high) in enumerate(zip(X.T, lowest, highest))
        if low < high and np.all((x == low) | (x == high))
    )


# Interquartile ranges beyond the quartiles from which on a value is far from all others.
_FAR = 100.0


def has_far_values(rows: Any) -> bool:
    """Whether some value of a feature is far from all others, as -999 for a missing one is.

    rows : Data, dense, or an Overview
    """
    X: Any = rows.X
    w = rows.weights
    for x in X.T:  # one at a time, for a few columns' worth of memory
        first, third = _quartiles(x, w)
        far = _FAR * (third - first)
        if far > 0 and max(float(x.max()) - third, first - float(x.min())) > far:
            return True
    return False
