"""Several networks of one shape as the one network that is their average.

K networks, averaged before the output activation, are one network: their first layers stand
side by side, each following layer is a block-diagonal matrix, and the output weights are
stacked and divided by K.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from sk_backprop._blocks.arrays import Array
from sk_backprop._network.network import NetworkWeights


def merged(networks: Sequence[NetworkWeights]) -> NetworkWeights:
    """Coefs and intercepts of the one network that is the average of several."""
    if len(networks) == 1:
        return networks[0]
    coefs: list[Array] = []
    intercepts: list[Array] = []
    for Ws in zip(*(network[0] for network in networks)):
        if len(coefs) == len(networks[0][0]) - 1:
            average = np.concatenate if coefs else np.add.reduce
            coefs.append(average(Ws) / len(networks))
        else:
            coefs.append(block_diag(*Ws) if coefs else np.concatenate(Ws, axis=1))
    for bs in zip(*(network[1] for network in networks)):
        last = len(intercepts) == len(coefs) - 1
        intercepts.append(np.mean(bs, axis=0) if last else np.concatenate(bs))
    return coefs, intercepts


def separated(
    coefs: Sequence[Array], intercepts: Sequence[Array], output_intercepts: Sequence[Array]
) -> list[NetworkWeights]:
    """The inverse of `merged`: the networks in the average.

    Parameters
    ----------
    coefs, intercepts : lists of (n_in, n_out) and (n_out,), as returned by `merged`
    output_intercepts : list of (n_outputs,), the output biases of each network, of which
        `intercepts` holds the mean
    """
    n_networks, n_hidden = len(output_intercepts), len(coefs) - 1
    if n_networks == 1:
        return [(list(coefs), list(intercepts))]
    networks = []
    for k, output_intercept in enumerate(output_intercepts):
        rows: Any = slice(None)
        one: NetworkWeights = ([], [])
        for W, b in zip(coefs[:-1], intercepts):
            size = len(b) // n_networks
            columns = slice(k * size, (k + 1) * size)
            one[0].append(W[rows, columns])
            one[1].append(b[columns])
            rows = columns
        one[0].append(coefs[-1][rows] * (n_networks if n_hidden else 1))
        one[1].append(output_intercept)
        networks.append(one)
    return networks
