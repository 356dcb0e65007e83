"""The network: layers of units over one flat vector of parameters.

Notation, with layers l = 1..L, the last one the output layer::

    theta = [W_1.ravel(), b_1, W_2.ravel(), b_2, ..., W_L.ravel(), b_L]
    W_l   : (n_in, n_out), C order       b_l : (n_out,)

    forward    h_0 = X^T,   z_l = W_l^T h_{l-1} + b_l,   h_l = g_l(z_l)
    backward   d_L = dLoss/dz_L
               dLoss/dW_l = h_{l-1} d_l^T     dLoss/db_l = d_l 1
               d_{l-1} = (W_l d_l) * g'_{l-1}(z_{l-1})

(Rumelhart, Hinton & Williams 1986, Nature 323, 533-536, doi:10.1038/323533a0.)

h_l, z_l and d_l have a row for each unit and a column for each row of X. W_l with b_l
below it is one matrix V_l of theta, and with a row of ones below h_{l-1} one product
handles both: z_l = V_l^T [h_{l-1}; 1], dLoss/dV_l = [h_{l-1}; 1] d_l^T. A step of adam on 32
rows with a 10-50-1 network takes 19 us this way, and took 30 with separate biases and arrays
of shape (n_rows, n_units) (float32, one thread).

Weights and gradients are views of flat vectors, so that an optimiser is a few
vector operations and packing costs nothing. A training pass writes into the arrays
of a `Workspace`: for dense X no array of the size of a batch is allocated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from itertools import pairwise, repeat
from typing import Any, NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array, Rows, as_dense, row_blocks

# Coefs and intercepts, one of each for every layer.
NetworkWeights = tuple[list[Array], list[Array]]

# Bytes of activations per row block: a block and its deltas stay in a core's
# second-level cache.
_BLOCK_BYTES = 2**18

# How many times larger blocks are if threads share them. With two threads (50,000 rows, 50
# units) loss and gradient took 9.6 ms for blocks of 2^18 bytes, 8.0 for 2^19 and 8.1 for 2^20,
# with one thread 9.6, 10.1 and 11.2; `predict` took 262, 189 and 159 ms, with one thread 281,
# 264 and 280 (a million rows, 100 units).
_SHARED = 2


# --- activations: in place on z, and the derivative from the value h = g(z) ---


def _logistic(z: Array) -> None:
    # sigma(z) = tanh(z/2)/2 + 1/2: np.tanh is vectorised and is 4 (float64) to
    # 10 (float32) times faster than scipy.special.expit; it never overflows.
    z *= 0.5
    np.tanh(z, out=z)
    z *= 0.5
    z += 0.5


def _tanh(z: Array) -> None:
    np.tanh(z, out=z)


def _relu(z: Array) -> None:
    np.maximum(z, 0, out=z)


def _identity(z: Array) -> None:
    pass


def _exp(z: Array) -> None:
    np.exp(z, out=z)


def _times_logistic_slope(delta: Array, h: Array, scratch: Array) -> None:
    np.subtract(1, h, out=scratch)
    scratch *= h
    delta *= scratch


def _times_tanh_slope(delta: Array, h: Array, scratch: Array) -> None:
    np.square(h, out=scratch)  # half the time of h * h
    np.subtract(1, scratch, out=scratch)
    delta *= scratch


def _times_relu_slope(delta: Array, h: Array, scratch: Array) -> None:
    np.greater(h, 0, out=scratch)
    delta *= scratch


def _times_identity_slope(delta: Array, h: Array, scratch: Array) -> None:
    pass


def _times_exp_slope(delta: Array, h: Array, scratch: Array) -> None:
    delta *= h


class Activation(NamedTuple):
    """An activation function and its derivative, both in place.

    apply(z) turns z into h = g(z); times_slope(delta, h, scratch) multiplies
    delta by g'(z), written in terms of h. All arrays have one shape.
    """

    apply: Callable[[Array], None]
    times_slope: Callable[[Array, Array, Array], None]


ACTIVATIONS = {
    "identity": Activation(_identity, _times_identity_slope),
    "logistic": Activation(_logistic, _times_logistic_slope),
    "tanh": Activation(_tanh, _times_tanh_slope),
    "relu": Activation(_relu, _times_relu_slope),
    "exp": Activation(_exp, _times_exp_slope),
}


# Units for a feature of two values where others have several.
UNITS_FOR_TWO_VALUES = 1


class Parameters(NamedTuple):
    """One flat vector and the views of it that the layers use.

    flat : (n_params,); coefs[l] : (n_in, n_out); intercepts[l] : (n_out,);
    layers[l] : (n_in + 1, n_out), both, the intercepts last.
    Writing to any of them writes to all.
    """

    flat: Array
    coefs: list[Array]
    intercepts: list[Array]
    layers: list[Array]


@dataclass(frozen=True)
class Network:
    """The shape of a network; it holds no weights.

    Attributes
    ----------
    layer_sizes : (n_features, hidden..., n_outputs)
    activation, output_activation : names in `ACTIVATIONS`
    units_per_feature : int
        Number of units for each feature in the first hidden layer, whose weights from all other
        features are zero; 0 if the first layer is like the others.
    two_valued : tuple of int
        Features of two values, which have `UNITS_FOR_TWO_VALUES` there.
    """

    layer_sizes: tuple[int, ...]
    activation: str
    output_activation: str
    units_per_feature: int = 0
    two_valued: tuple[int, ...] = ()
    n_params: int = field(init=False)

    def __post_init__(self) -> None:
        sizes = self.layer_sizes
        n_params = sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))
        object.__setattr__(self, "n_params", n_params)

    @property
    def is_linear(self) -> bool:
        """Whether there are no hidden layers: one optimum, whatever the initial weights."""
        return len(self.layer_sizes) == 2

    def with_hidden(self, hidden: Sequence[int]) -> Self:
        """The same inputs and outputs, with the given hidden layers after `units_per_feature`."""
        n_features, n_outputs = self.layer_sizes[0], self.layer_sizes[-1]
        first = [sum(self.units_of_features)] if self.units_per_feature else []
        return replace(self, layer_sizes=(n_features, *first, *hidden, n_outputs))

    @property
    def units_of_features(self) -> list[int]:
        """Number of units of the first layer for each feature, if there are such units."""
        units = [self.units_per_feature] * self.layer_sizes[0]
        for feature in self.two_valued:
            units[feature] = min(units[feature], UNITS_FOR_TWO_VALUES)
        return units

    def parameters(self, flat: Array) -> Parameters:
        """The layers' views of a flat vector of shape (n_params,)."""
        layers, start = [], 0
        for n_in, n_out in pairwise(self.layer_sizes):
            stop = start + (n_in + 1) * n_out
            layers.append(flat[start:stop].reshape(n_in + 1, n_out))
            start = stop
        return Parameters(flat, [V[:-1] for V in layers], [V[-1] for V in layers], layers)

    def layer_slice(self, layer: int) -> tuple[int, int]:
        """Start and stop of a layer's weights and, after them, biases in the flat vector."""
        sizes = [(n_in + 1) * n_out for n_in, n_out in pairwise(self.layer_sizes)]
        return sum(sizes[:layer]), sum(sizes[: layer + 1])

    def pack(self, coefs: Sequence[Array], intercepts: Sequence[Array], dtype: Any) -> Parameters:
        """A copy of the given weights as one flat vector with views.

        Parameters
        ----------
        coefs, intercepts : of each layer, (n_in, n_out) and (n_out,)
        dtype : of the copy
        """
        packed = self.parameters(np.empty(self.n_params, dtype))
        for view, array in zip(
            packed.coefs + packed.intercepts, [*coefs, *intercepts], strict=True
        ):
            view[...] = array
        return packed

    def initial_parameters(
        self, rng: np.random.RandomState, dtype: Any, bound: Callable[[int, int], float]
    ) -> Parameters:
        """Random weights and biases, uniform in +-bound(n_in, n_out) of each layer.

        They depend on the layer sizes, `bound` and `rng` alone: they are drawn in float64,
        layer by layer, W before b, whatever `dtype` and the data are.

        Parameters
        ----------
        rng : RandomState
        dtype : of the parameters
        bound : callable of (n_in, n_out)
        """
        drawn = self.parameters(np.empty(self.n_params, dtype))
        for W, b in zip(drawn.coefs, drawn.intercepts):
            limit = bound(*W.shape)
            W[...] = rng.uniform(-limit, limit, W.shape)
            b[...] = rng.uniform(-limit, limit, b.shape)
        return drawn


@lru_cache(maxsize=8)
def own_features(network: Network) -> Array:
    """Whether a unit of the first layer has its own feature as input: (n_features, n_units)."""
    features = np.arange(network.layer_sizes[0])
    return np.asarray(features[:, None] == np.repeat(features, network.units_of_features))


def glorot_bound(activation: str) -> Callable[[int, int], float]:
    """sqrt(factor / (n_in + n_out)), with factor 6, or 2 for the sigmoid.

    Glorot & Bengio 2010, eq. 16; the 2 as in scikit-learn's MLP.
    """
    factor = 2.0 if activation == "logistic" else 6.0
    return lambda n_in, n_out: float(np.sqrt(factor / (n_in + n_out)))


def lecun_bound(n_in: int, n_out: int) -> float:
    """sqrt(3 / n_in): sums of unit variance from inputs of unit variance.

    LeCun, Bottou, Orr & Mueller 1998, section 4.6, doi:10.1007/3-540-49430-8_2.
    """
    return float(np.sqrt(3.0 / n_in))


class Workspace:
    """The arrays of one forward and backward pass over exactly `n_rows` rows.

    h[l], delta[l], scratch[l] : (size of layer l+1, n_rows), for the hidden layers and the
    output layer, where all scratch arrays share memory; h_ones[l] : h[l] of a hidden layer with
    a row of ones below it.

    Parameters
    ----------
    network : Network
    n_rows : int
    dtype : of the arrays
    """

    def __init__(self, network: Network, n_rows: int, dtype: Any) -> None:
        self.network, sizes = network, network.layer_sizes[1:]
        *hidden, n_outputs = sizes
        self.h_ones = [np.empty((size + 1, n_rows), dtype) for size in hidden]
        for values in self.h_ones:
            values[-1] = 1
        self.h = [*(values[:-1] for values in self.h_ones), np.empty((n_outputs, n_rows), dtype)]
        self.delta = [np.empty((size, n_rows), dtype) for size in sizes]
        scratch = np.empty((max(sizes), n_rows), dtype)
        self.scratch = [scratch[:size] for size in sizes]
        self.ones = np.ones(n_rows, dtype)


def workspaces(network: Network, dtype: Any) -> Callable[[int], Workspace]:
    """A function that returns a `Workspace` for a number of rows, always the same one."""
    return cache(partial(Workspace, network, dtype=dtype))


def rows_per_block(
    network: Network, dtype: Any, *, dense: bool = True, shared_by_threads: bool = False
) -> int:
    """Rows whose activations fit the cache: at least 64, a multiple of 64.

    For a large network a block has as many activations as there are weights, since each
    block adds to the whole gradient.

    Parameters
    ----------
    network : Network
    dtype : of the activations
    dense : bool, whether X is dense; the inputs of sparse rows hardly count
    shared_by_threads : bool, whether threads may share the blocks, which are then larger: each
        call on a block ends with a wait for the interpreter's lock
    """
    sizes, itemsize = network.layer_sizes, np.dtype(dtype).itemsize
    row_bytes = itemsize * sum(sizes if dense else sizes[1:])
    block_bytes = max(_BLOCK_BYTES, itemsize * network.n_params)
    block_bytes *= _SHARED if shared_by_threads else 1
    return max(64, int(block_bytes // row_bytes // 64 * 64))


# Minimum number of rows for the shortcut in `backward`: 32 rows lost 3 %, 200 gained 4 %.
_MANY_ROWS = 128


def forward(network: Network, params: Parameters, X: Rows, work: Workspace) -> Array:
    """Output of the network, (n_outputs, n_rows): a view of `work`, `work.h[-1]`.

    Parameters
    ----------
    network, params : Network and Parameters
    X : (n_rows, n_features); a dense X may have an additional last column of ones, which
        saves adding the biases, here and in all functions below that take X
    work : Workspace for n_rows rows, overwritten
    """
    hidden = ACTIVATIONS[network.activation].apply
    h = work.h[0]
    # np.dot, not np.matmul: the latter leaves BLAS when the inner dimension is
    # 1 (7 times slower for one output) and costs 0.5 us more on small batches.
    if isinstance(X, np.ndarray) and X.shape[1] > network.layer_sizes[0]:
        np.dot(params.layers[0].T, X.T, out=h)
    else:
        if isinstance(X, np.ndarray):
            np.dot(params.coefs[0].T, X.T, out=h)
        else:
            h[...] = (X @ params.coefs[0]).T
        h += params.intercepts[0][:, None]
    for layer in range(1, len(work.h)):
        hidden(h)
        h = work.h[layer]
        np.dot(params.layers[layer].T, work.h_ones[layer - 1], out=h)
    ACTIVATIONS[network.output_activation].apply(h)
    return h


def backward(
    network: Network, params: Parameters, X: Rows, work: Workspace, grad: Parameters
) -> None:
    """Write dLoss/dtheta to `grad`, given dLoss/dz of the output in work.delta[-1].

    Parameters
    ----------
    network, params, X : as for `forward`
    work : Workspace, with the activations that `forward` left for the same X
    grad : Parameters, overwritten
    """
    times_slope = ACTIVATIONS[network.activation].times_slope
    # With one output, its weights are common factors of the sums over rows and are applied last:
    # their product with delta takes 39 us of a block's 250, a copy 7 (1,024 x 50, float64).
    waits = network.layer_sizes[2:] == (1,) and len(work.ones) >= _MANY_ROWS
    for layer in range(len(work.h) - 1, 0, -1):
        delta, below = work.delta[layer], work.delta[layer - 1]
        np.dot(work.h_ones[layer - 1], delta.T, out=grad.layers[layer])
        if waits:
            below[...] = delta
        else:
            np.dot(params.coefs[layer], delta, out=below)
        times_slope(below, work.h[layer - 1], work.scratch[layer - 1])
    delta = work.delta[0]
    if isinstance(X, np.ndarray) and X.shape[1] > network.layer_sizes[0]:
        np.dot(X.T, delta.T, out=grad.layers[0])
    else:
        if isinstance(X, np.ndarray):
            np.dot(X.T, delta.T, out=grad.coefs[0])
        else:
            grad.coefs[0][...] = X.T @ delta.T
        # A product with ones is 2 to 4 times faster than a sum.
        np.dot(delta, work.ones, out=grad.intercepts[0])
    if waits:
        grad.layers[0][...] *= params.coefs[1].T
    if network.units_per_feature:
        grad.coefs[0][...] *= own_features(network)


def jacobian(
    network: Network, params: Parameters, X: Rows, work: Workspace, seed: Array, jac: Array
) -> None:
    """Write the gradient of one linear combination of z for each row to `jac`.

    Parameters
    ----------
    network, params, X : as for `forward`
    work : Workspace, with the activations that `forward` left for the same X
    seed : (n_outputs, n_rows)
        The combination: jac[:, i] is the gradient of sum_k seed[k, i] z_ki with respect to
        theta, with z the inputs of the output units.
    jac : (n_params, n_rows), C order
        Transposed, so that the products run over rows: 3 times faster to fill.
    """
    times_slope = ACTIVATIONS[network.activation].times_slope
    work.delta[-1][...] = seed
    for layer in range(len(work.h) - 1, -1, -1):
        delta = work.delta[layer]
        start, stop = network.layer_slice(layer)
        by_weight = jac[start:stop].reshape(-1, *delta.shape)
        if layer > 0:
            np.multiply(work.h_ones[layer - 1][:, None, :], delta, out=by_weight)
            np.dot(params.coefs[layer], delta, out=work.delta[layer - 1])
            times_slope(work.delta[layer - 1], work.h[layer - 1], work.scratch[layer - 1])
        else:
            inputs = np.ascontiguousarray(as_dense(X)[:, : network.layer_sizes[0]].T)
            np.multiply(inputs[:, None, :], delta, out=by_weight[:-1])
            by_weight[-1] = delta
            if network.units_per_feature:
                by_weight[:-1] *= own_features(network)[:, :, None]


def jacobians(network: Network, flat: Array, X: Rows) -> tuple[Array, Array]:
    """Outputs of several networks, and their gradients with respect to theta, for few rows.

    The networks are computed at once: one by one, their calls would take most of the time.

    Parameters
    ----------
    network : Network, the shape of each
    flat : (n_networks, n_params)
    X : (n_rows, n_features), which may have an additional last column of ones

    Returns
    -------
    f : (n_networks, n_outputs, n_rows)
    jac : (n_networks, n_outputs, n_params, n_rows)
    """
    hidden, output = ACTIVATIONS[network.activation], ACTIVATIONS[network.output_activation]
    n_networks, n_rows = len(flat), X.shape[0]
    n_features, n_outputs = network.layer_sizes[0], network.layer_sizes[-1]
    layers = [
        flat[:, slice(*network.layer_slice(layer))].reshape(n_networks, n_in + 1, n_out)
        for layer, (n_in, n_out) in enumerate(pairwise(network.layer_sizes))
    ]
    below = np.ones((1, n_features + 1, n_rows))
    below[0, :-1] = as_dense(X).T[:n_features]
    inputs, activations = [below], [*repeat(hidden, len(layers) - 1), output]
    for V, activation in zip(layers, activations):
        h = np.ones((n_networks, V.shape[2] + 1, n_rows))
        h[:, :-1] = V.transpose(0, 2, 1) @ inputs[-1]
        activation.apply(h[:, :-1])
        inputs.append(h)
    f = inputs.pop()[:, :-1]
    slope = np.ones_like(f)
    output.times_slope(slope, f, np.empty_like(f))
    delta = slope[:, :, None, :] * np.eye(n_outputs)[:, :, None]
    jac = np.empty((n_networks, n_outputs, network.n_params, n_rows))
    for layer in range(len(inputs) - 1, -1, -1):
        part = jac[:, :, slice(*network.layer_slice(layer))]
        by_weight = part.reshape(*part.shape[:2], *layers[layer].shape[1:], n_rows)
        np.multiply(inputs[layer][:, None, :, None], delta[:, :, None], out=by_weight)
        if layer:
            h = inputs[layer][:, None, :-1]
            delta = layers[layer][:, None, :-1] @ delta
            hidden.times_slope(delta, np.broadcast_to(h, delta.shape), np.empty_like(delta))
    if network.units_per_feature:
        by_weight[:, :, :-1] *= own_features(network)[:, :, None]
    return f, jac


def evaluate(
    network: Network, coefs: Sequence[Array], intercepts: Sequence[Array], X: Rows
) -> Array:
    """Output of the network for X, (n_rows, n_outputs), by blocks of rows.

    Its dtype is the result type of X and the weights.

    Parameters
    ----------
    network : Network
    coefs, intercepts : of each layer, (n_in, n_out) and (n_out,)
    X : (n_rows, n_features)
    """
    dtype = np.result_type(X.dtype, *coefs, *intercepts)
    params = network.pack(coefs, intercepts, dtype)
    output = np.empty((X.shape[0], network.layer_sizes[-1]), dtype)
    work = workspaces(network, dtype)
    for rows in row_blocks(X.shape[0], rows_per_block(network, dtype)):
        block = X[rows] if X.dtype == dtype else X[rows].astype(dtype)
        output[rows] = forward(network, params, block, work(rows.stop - rows.start)).T
    return output


def input_gradient(network: Network, params: Parameters, work: Workspace) -> Array:
    """Derivatives of the outputs with respect to the inputs, (n_rows, n_outputs, n_features).

    Each output takes one backward pass, continued to the inputs.

    Parameters
    ----------
    network, params : Network and Parameters
    work : Workspace, with the activations that `forward` left for the rows
    """
    times_slope = ACTIVATIONS[network.activation].times_slope
    f, slope = work.h[-1], work.delta[-1]
    slope[...] = 1
    ACTIVATIONS[network.output_activation].times_slope(slope, f, work.scratch[-1])
    gradient = np.empty((f.shape[1], f.shape[0], network.layer_sizes[0]), f.dtype)
    for k, slope_k in enumerate(slope):
        delta = np.outer(params.coefs[-1][:, k], slope_k)
        for layer in range(len(work.h) - 2, -1, -1):
            times_slope(delta, work.h[layer], work.scratch[layer])
            delta = np.dot(params.coefs[layer], delta)
        gradient[:, k] = delta.T
    return gradient


def last_layer(
    network: Network, params: Parameters, X: Rows
) -> list[tuple[Network, Parameters, Any]]:
    """The output units as linear models of the last hidden units (or the inputs).

    Returns, for each output, a network without hidden layers, its weights, and the hidden
    units' values, (n_rows, n_units), which all outputs share.

    Parameters
    ----------
    network, params : Network and Parameters
    X : (n_rows, n_features)
    """
    units: Any = X
    if len(params.coefs) > 1:
        below = Network(network.layer_sizes[:-1], network.activation, network.activation)
        units = evaluate(below, params.coefs[:-1], params.intercepts[:-1], X)
    head = Network((network.layer_sizes[-2], 1), network.activation, network.output_activation)
    columns = range(network.layer_sizes[-1])
    W, b = params.coefs[-1], params.intercepts[-1]
    return [(head, head.pack([W[:, [k]]], [b[[k]]], float), units) for k in columns]
