"""One forward and one backward pass with every intermediate number, for learners.

The numbers are those that training uses: z and h come from the network's forward pass, and
errors and derivatives from the objective, for one row of X at a time. For a single row, the
derivative of the error with respect to a unit's bias is the unit's delta.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._estimator.checks import check_pass
from sk_backprop._inference.objective import Objective
from sk_backprop._network.families import LIKELIHOODS
from sk_backprop._network.network import Network, evaluate

__all__ = ["BackpropPass", "backprop_pass"]

# In numpy's notation: h = g(z), and the factor g'(z) of a delta in terms of h.
_FORMULAS = {
    "identity": ("{z}", ""),
    "logistic": ("1 / (1 + exp(-{z}))", " * {h} * (1 - {h})"),
    "tanh": ("tanh({z})", " * (1 - {h}**2)"),
    "relu": ("maximum({z}, 0)", " * ({h} > 0)"),
}

# Rows and columns of an array that the table shows: six columns fit into 100 characters.
_SHOWN_ROWS, _SHOWN_COLUMNS = 8, 6


@dataclass(frozen=True, eq=False, repr=False)
class BackpropPass:
    """Result of one forward and one backward pass; `print` shows it as a table.

    `backprop_pass` returns it. Lists have one entry for each layer with weights: ``[0]`` is the
    first hidden layer, as in ``coefs[0]``, and ``[-1]`` the output layer.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        The inputs.
    y : ndarray of shape (n_samples, n_outputs)
        The targets.
    coefs : list of ndarray of shape (n_in, n_out)
        The weights; ``coefs[l][i, j]`` connects unit i of the layer below to unit j of layer l.
    intercepts : list of ndarray of shape (n_out,)
        The biases.
    activation, output_activation : str
        Activation functions of the hidden units and of the output units.
    z : list of ndarray of shape (n_samples, n_out)
        The weighted sums that enter the units of each layer.
    h : list of ndarray of shape (n_samples, n_out)
        The activations of the units in each layer; ``h[-1]`` is the output of the network.
    error : float
        Half the sum of squares of ``h[-1] - y``, over all rows and outputs.
    deltas : list of ndarray of shape (n_samples, n_out)
        The derivatives of the error with respect to z.
    coef_gradients : list of ndarray of shape (n_in, n_out)
        The derivatives of the error with respect to the weights, summed over the rows.
    intercept_gradients : list of ndarray of shape (n_out,)
        The derivatives of the error with respect to the biases, summed over the rows.
    """

    X: Array
    y: Array
    coefs: list[Array]
    intercepts: list[Array]
    activation: str
    output_activation: str
    z: list[Array]
    h: list[Array]
    error: float
    deltas: list[Array]
    coef_gradients: list[Array]
    intercept_gradients: list[Array]

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        """The pass in the order in which it is computed, each array below its formula."""
        last = len(self.coefs) - 1
        names = [self.activation] * last + [self.output_activation]
        yield "FORWARD, a line for each row of X, a column for each unit"
        yield from _table("X", self.X, "row")
        for layer, name in enumerate(names):
            below = f"h[{layer - 1}]" if layer else "X"
            z, h = f"z[{layer}]", f"h[{layer}]"
            formula = f"{z} = {below} @ coefs[{layer}] + intercepts[{layer}]"
            yield from _table(formula, self.z[layer], "row")
            yield from _table(f"{h} = {_FORMULAS[name][0].format(z=z)}", self.h[layer], "row")
        yield from _table("y", self.y, "row")
        formula = f"error = 1/2 * ((h[{last}] - y)**2).sum()"
        yield from _table(formula, np.array([[self.error]]), "")
        yield "BACKWARD, deltas = derivatives of the error with respect to z"
        for layer in range(last, -1, -1):
            above = f"deltas[{layer + 1}] @ coefs[{layer + 1}].T"
            slope = _FORMULAS[names[layer]][1].format(h=f"h[{layer}]")
            delta = f"deltas[{layer}]"
            formula = f"{delta} = ({above if layer < last else f'h[{last}] - y'}){slope}"
            yield from _table(formula, self.deltas[layer], "row")
            below, source = (f"h[{layer - 1}]", "from unit") if layer else ("X", "from input")
            formula = f"coef_gradients[{layer}] = {below}.T @ {delta}"
            yield from _table(formula, self.coef_gradients[layer], source)
            formula = f"intercept_gradients[{layer}] = {delta}.sum(axis=0)"
            yield from _table(formula, self.intercept_gradients[layer][None], "")


def _table(formula: str, values: Array, row_name: str) -> Iterator[str]:
    """The formula, and below it a line for each row of the array.

    formula : str; values : (n_rows, n_columns); row_name : str, to be followed by the index
    """
    yield formula
    largest = np.abs(values).max()
    form = ">14.9f" if largest == 0 or 1e-3 <= largest < 1e4 else ">14.6e"
    for i, row in enumerate(values[:_SHOWN_ROWS]):
        label = f"{row_name} {i}" if row_name else ""
        more = " ..." if len(row) > _SHOWN_COLUMNS else ""
        numbers = "".join(f"{value + 0.0:{form}}" for value in row[:_SHOWN_COLUMNS])
        yield f"  {label:<12}{numbers}{more}"
    if len(values) > _SHOWN_ROWS:
        yield f"  ... and {len(values) - _SHOWN_ROWS} more"


def backprop_pass(
    X: Any,
    y: Any,
    coefs: Sequence[Any],
    intercepts: Sequence[Any],
    *,
    activation: str = "logistic",
    output_activation: str = "logistic",
) -> BackpropPass:
    """Run one forward and one backward pass through a network, with every intermediate number.

    For each layer l, with h_0 = X and activation function g::

        z_l = h_{l-1} W_l + b_l          h_l = g(z_l)
        E = 1/2 sum (h_L - y)^2          the sum is over rows and outputs
        delta_L = (h_L - y) g'(z_L)      delta_{l-1} = (delta_l W_l^T) g'(z_{l-1})
        dE/dW_l = h_{l-1}^T delta_l      dE/db_l = the sum of delta_l over the rows

    (Rumelhart, Hinton & Williams 1986, Nature 323, 533-536, doi:10.1038/323533a0.) Nothing
    is scaled: a logistic output lies between 0 and 1, and so should y.

    E is the sum over the rows, as in textbooks. `BackpropRegressor` and scikit-learn's
    MLPRegressor minimise the mean, whose derivatives are these divided by n_samples: a step
    with learning rate r here is one with ``learning_rate_init=n_samples * r`` there.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The inputs, one row for each sample. All computations are in float64.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The targets.
    coefs : list of array-like of shape (n_in, n_out)
        The weights of each layer, like `BackpropRegressor.coefs_`. Their shapes determine the
        number of hidden layers and the number of units in each.
    intercepts : list of array-like of shape (n_out,)
        The biases of each layer, like `BackpropRegressor.intercepts_`.
    activation : {'identity', 'logistic', 'tanh', 'relu'}, default='logistic'
        Activation function of the hidden units.
    output_activation : {'identity', 'logistic'}, default='logistic'
        Activation function of the output units.

    Returns
    -------
    trace : BackpropPass
        The sums z, activations h, error, deltas and gradients; ``print(trace)`` shows them in
        the order in which they are computed, each below its formula.

    Raises
    ------
    ValueError, TypeError
        If an argument is not allowed; the message says which one, what was given and what is
        allowed.

    Examples
    --------
    Two inputs, two hidden units, two outputs, and one step of gradient descent:

    >>> import numpy as np
    >>> from sk_backprop.textbook import backprop_pass
    >>> W1, b1 = np.array([[0.15, 0.25], [0.20, 0.30]]), np.array([0.35, 0.35])
    >>> W2, b2 = np.array([[0.40, 0.50], [0.45, 0.55]]), np.array([0.60, 0.60])
    >>> trace = backprop_pass([[0.05, 0.10]], [[0.01, 0.99]], [W1, W2], [b1, b2])
    >>> trace.error
    0.298371109
    >>> trace.h[-1]
    array([[0.75136507, 0.77292847]])
    >>> W2 - 0.5 * trace.coef_gradients[1]
    array([[0.35891648, 0.51130127],
           [0.40866619, 0.56137012]])
    """
    X, y, coefs, intercepts = check_pass(X, y, coefs, intercepts, activation, output_activation)
    sizes = (X.shape[1], *(W.shape[1] for W in coefs))
    network = Network(sizes, activation, output_activation)
    z: list[Array] = []
    h: list[Array] = []
    for depth in range(1, len(sizes)):
        out = activation if depth < len(sizes) - 1 else output_activation
        for values, name in ((z, "identity"), (h, out)):
            so_far = Network(sizes[: depth + 1], activation, name)
            values.append(evaluate(so_far, coefs[:depth], intercepts[:depth], X))
    params = network.pack(coefs, intercepts, float)
    total, of_row = (network.parameters(np.zeros(network.n_params)) for _ in range(2))
    likelihood = LIKELIHOODS["squared_error", output_activation]
    error, deltas = 0.0, [np.empty_like(sums) for sums in z]
    for row in range(len(X)):
        objective = Objective(network, likelihood, X[[row]], y[[row]])
        error += objective.loss_gradient(params, of_row)
        total.flat[...] += of_row.flat
        for delta, by_bias in zip(deltas, of_row.intercepts):
            delta[row] = by_bias
    return BackpropPass(
        X=X,
        y=y,
        coefs=params.coefs,
        intercepts=params.intercepts,
        activation=activation,
        output_activation=output_activation,
        z=z,
        h=h,
        error=error,
        deltas=deltas,
        coef_gradients=total.coefs,
        intercept_gradients=total.intercepts,
    )
