"""Several networks as the one network that is their mean.

K networks of one shape, averaged before the output activation, are one network: their first layers
stand side by side, each following layer is a block-diagonal matrix, and the output weights are
stacked and divided by K.

In a weighted mean of networks of several shapes, those with fewer layers are first made as deep as
the deepest. Each of their last hidden units h passes through a sigmoid unit whose input is so small
that it is linear to the last digits: tanh(s h) / s.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import block_diag

from sk_backprop._blocks.arrays import Array
from sk_backprop._network.network import Network, NetworkWeights


class Member(NamedTuple):
    """Networks of one shape in a mean.

    network : Network
    n_networks : int
    weight : float, of their mean in the mean of all; those of all members sum to 1
    """

    network: Network
    n_networks: int
    weight: float = 1.0


# A sigmoid phi near 0, where phi(z) = value + slope z, and how it passes units h on, as
# phi(scale (h - centre)): (value, slope, centre of the range of h, scale), by activation. The scale
# is a power of two, so that multiplying and dividing by it is exact. For tanh, the cubic term
# scale^2 / 3 is below the rounding error of float64, and values near 0 keep all digits. The values
# of logistic units are near 1/2, so that differences of this size are rounded: the rounding error
# and that of the cubic term, scale^2 / 96, are both about 1e-11.
_NEAR_ZERO = {
    "tanh": (0.0, 1.0, 0.0, 2.0**-27),
    "logistic": (0.5, 0.25, 0.5, 2.0**-15),
}


def merged(
    members: Sequence[Member], networks: Sequence[Sequence[NetworkWeights]]
) -> NetworkWeights:
    """Coefs and intercepts of the one network that is the mean of all.

    They are float64 where logistic units pass others on, which float32 would do to two digits.

    Parameters
    ----------
    members : Member, all with hidden layers if there are several
    networks : the weights of each network, for each member
    """
    means = [_mean(own) for own in networks]
    if len(members) == 1:
        return means[0]
    n_layers = max(len(coefs) for coefs, _ in means)
    weighted = []
    for member, (coefs, intercepts) in zip(members, means, strict=True):
        if len(coefs) < n_layers:
            more = n_layers - len(coefs)
            coefs, intercepts = _deepened(coefs, intercepts, more, member.network.activation)
        coefs, intercepts = list(coefs), list(intercepts)
        coefs[-1], intercepts[-1] = member.weight * coefs[-1], member.weight * intercepts[-1]
        weighted.append((coefs, intercepts))
    return _sum(weighted)


def sizes_of_merged(members: Sequence[Member]) -> list[int]:
    """Layer sizes of the network that `merged` returns."""
    shapes = [member.network.layer_sizes for member in members]
    depth = max(len(sizes) for sizes in shapes)
    hidden = [0] * (depth - 2)
    for member, sizes in zip(members, shapes):
        for layer in range(depth - 2):
            hidden[layer] += member.n_networks * sizes[1:-1][min(layer, len(sizes) - 3)]
    return [shapes[0][0], *hidden, shapes[0][-1]]


def _mean(networks: Sequence[NetworkWeights]) -> NetworkWeights:
    """The network that is the mean of networks of one depth."""
    if len(networks) == 1:
        return networks[0]
    coefs, intercepts = _sum(networks)
    coefs[-1], intercepts[-1] = coefs[-1] / len(networks), intercepts[-1] / len(networks)
    return coefs, intercepts


def _sum(networks: Sequence[NetworkWeights]) -> NetworkWeights:
    """The network that is the sum of networks of one depth."""
    *hidden, outputs = zip(*(coefs for coefs, _ in networks))
    *biases, output_biases = zip(*(intercepts for _, intercepts in networks))
    coefs: list[Array] = []
    for Ws in hidden:
        coefs.append(block_diag(*Ws) if coefs else np.concatenate(Ws, axis=1))
    coefs.append(np.concatenate(outputs) if hidden else np.add.reduce(outputs))
    return coefs, [*map(np.concatenate, biases), np.add.reduce(output_biases)]


def _deepened(
    coefs: Sequence[Array], intercepts: Sequence[Array], n_layers: int, activation: str
) -> NetworkWeights:
    """The same function with more hidden layers, which pass the last one on.

    coefs, intercepts, activation : of the network; n_layers : int, hidden layers to add
    """
    value, slope, centre, scale = _NEAR_ZERO[activation]
    # Logistic units would keep two digits of float32.
    dtype = np.result_type(coefs[-1], np.float64 if value else coefs[-1])
    W, bias = coefs[-1].astype(dtype), intercepts[-1].astype(dtype)
    same = np.eye(len(W), dtype=dtype)
    passing = [scale * same, *[same / slope] * (n_layers - 1)]
    offsets = [-scale * centre, *[-value / slope] * (n_layers - 1)]
    unit = 1 / (slope * scale)
    return (
        [*coefs[:-1], *passing, unit * W],
        [
            *intercepts[:-1],
            *(np.full(len(W), offset, dtype) for offset in offsets),
            bias + (centre - unit * value) * W.sum(axis=0),
        ],
    )


def separated(
    members: Sequence[Member],
    coefs: Sequence[Array],
    intercepts: Sequence[Array],
    output_intercepts: Sequence[Array],
) -> list[list[NetworkWeights]]:
    """The inverse of `merged`: the networks of each member.

    Parameters
    ----------
    members : Member
    coefs, intercepts : lists of (n_in, n_out) and (n_out,), as returned by `merged`
    output_intercepts : list of (n_outputs,), the output biases of all networks
    """
    if len(output_intercepts) == 1:
        return [[(list(coefs), list(intercepts))]]
    biases = iter(output_intercepts)
    dtype = output_intercepts[0].dtype
    first = [0] * (len(coefs) - 1)  # unit of each hidden layer that belongs to the next network
    found: list[list[NetworkWeights]] = []
    for member in members:
        found.append([])
        hidden = member.network.layer_sizes[1:-1]
        sizes = [*hidden, *hidden[-1:] * (len(first) - len(hidden))]
        factor = member.n_networks / member.weight if hidden else 1
        if len(hidden) < len(first):
            _, slope, _, scale = _NEAR_ZERO[member.network.activation]
            factor *= slope * scale
        for _ in range(member.n_networks):
            rows: Any = slice(None)
            one: NetworkWeights = ([], [])
            for layer, size in enumerate(sizes):
                columns = slice(first[layer], first[layer] + size)
                first[layer] += size
                if layer < len(hidden):
                    one[0].append(coefs[layer][rows, columns].astype(dtype, copy=False))
                    one[1].append(intercepts[layer][columns].astype(dtype, copy=False))
                rows = columns
            one[0].append((coefs[-1][rows] * factor).astype(dtype, copy=False))
            one[1].append(next(biases))
            found[-1].append(one)
    return found


def stacked(networks: Sequence[NetworkWeights]) -> NetworkWeights:
    """Weights of several networks of one shape, with a first axis for the networks."""
    if len(networks) == 1:  # no copy
        return [W[None] for W in networks[0][0]], [b[None] for b in networks[0][1]]
    coefs, intercepts = zip(*networks)
    return [np.array(W) for W in zip(*coefs)], [np.array(b) for b in zip(*intercepts)]


def flattened(coefs: Sequence[Array], intercepts: Sequence[Array], dtype: Any) -> Array:
    """The vectors of parameters of several networks, (n_networks, n_params).

    Parameters
    ----------
    coefs, intercepts : of each layer, as returned by `stacked`
    dtype : of the result
    """
    arrays = [array for pair in zip(coefs, intercepts) for array in pair]
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1, dtype=dtype)
