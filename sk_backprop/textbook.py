"""Backpropagation with every intermediate number, for learners.

A network learns by backpropagation: a forward pass computes the error, a backward pass computes its
derivative with respect to each weight by the chain rule, and each weight takes a small step
against its derivative. Here is one such step with every number, to check your own program. There
are three rows, two inputs and three hidden units; all units are sigmoid; X and y are divided by
their largest values:

>>> import numpy as np
>>> from sklearn.preprocessing import MaxAbsScaler
>>> from sk_backprop import BackpropRegressor
>>> from sk_backprop.textbook import backprop_pass
>>> raw_X, raw_y = np.array([[2, 9], [1, 5], [3, 6]]), np.array([[92], [86], [89]])
>>> X3, y3 = MaxAbsScaler().fit_transform(raw_X), MaxAbsScaler().fit_transform(raw_y)
>>> W1, b1 = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]), np.array([0.1, 0.2, 0.3])
>>> W2, b2 = np.array([[0.7], [0.8], [0.9]]), np.array([0.1])
>>> trace = backprop_pass(X3, y3, coefs=[W1, W2], intercepts=[b1, b2])
>>> print(trace)
FORWARD, a line for each row of X, a column for each unit
X
  row 0          0.666666667   1.000000000
  row 1          0.333333333   0.555555556
  row 2          1.000000000   0.666666667
z[0] = X @ coefs[0] + intercepts[0]
  row 0          0.566666667   0.833333333   1.100000000
  row 1          0.355555556   0.544444444   0.733333333
  row 2          0.466666667   0.733333333   1.000000000
h[0] = 1 / (1 + exp(-z[0]))
  row 0          0.637993671   0.697059284   0.750260106
  row 1          0.587964135   0.632845702   0.675536323
  row 2          0.614594498   0.675536323   0.731058579
z[1] = h[0] @ coefs[1] + intercepts[1]
  row 0          1.779477092
  row 1          1.625834147
  row 2          1.728597928
h[1] = 1 / (1 + exp(-z[1]))
  row 0          0.855632285
  row 1          0.835598159
  row 2          0.849232992
y
  row 0          1.000000000
  row 1          0.934782609
  row 2          0.967391304
error = 1/2 * ((h[1] - y)**2).sum()
                 0.022320489
BACKWARD, deltas = derivatives of the error with respect to z
deltas[1] = (h[1] - y) * h[1] * (1 - h[1])
  row 0         -0.017833120
  row 1         -0.013625352
  row 2         -0.015128555
coef_gradients[1] = h[0].T @ deltas[1]
  from unit 0   -0.028686563
  from unit 1   -0.031273376
  from unit 2   -0.033643759
intercept_gradients[1] = deltas[1].sum(axis=0)
                -0.046587027
deltas[0] = (deltas[1] @ coefs[1].T) * h[0] * (1 - h[0])
  row 0         -0.002883088  -0.003012622  -0.003007251
  row 1         -0.002310637  -0.002532702  -0.002687850
  row 2         -0.002508430  -0.002652786  -0.002677009
coef_gradients[0] = X.T @ deltas[0]
  from input 0  -0.005200701  -0.005505435  -0.005577793
  from input 1  -0.005839062  -0.006188203  -0.006285173
intercept_gradients[0] = deltas[0].sum(axis=0)
                -0.007702155  -0.008198111  -0.008372110

`trace.h[0]`, `trace.deltas[1]` and so on are arrays. This is the same computation in numpy, with
the chain rule in comments:

>>> def sigmoid(z):
...     return 1 / (1 + np.exp(-z))
>>> h1 = sigmoid(X3 @ W1 + b1)
>>> h2 = sigmoid(h1 @ W2 + b2)
>>> error = ((h2 - y3) ** 2).sum() / 2
>>> delta2 = (h2 - y3) * h2 * (1 - h2)                 # dE/dz2 = dE/dh2 * dh2/dz2
>>> delta1 = (delta2 @ W2.T) * h1 * (1 - h1)           # dE/dz1 = dE/dz2 * dz2/dh1 * dh1/dz1
>>> by_W2, by_b2 = h1.T @ delta2, delta2.sum(axis=0)   # dE/dW2 = dE/dz2 * dz2/dW2
>>> by_W1, by_b1 = X3.T @ delta1, delta1.sum(axis=0)   # dE/dW1 = dE/dz1 * dz1/dW1
>>> bool(np.allclose(by_W1, trace.coef_gradients[0], rtol=1e-12))
True

One step of gradient descent with a learning rate of 0.5 lowers the error:

>>> rate = 0.5
>>> new_W1, new_b1, new_W2, new_b2 = (
...     W1 - rate * by_W1, b1 - rate * by_b1, W2 - rate * by_W2, b2 - rate * by_b2
... )
>>> new_W2.ravel()
array([0.71434328, 0.81563669, 0.91682188])
>>> backprop_pass(X3, y3, [new_W1, new_W2], [new_b1, new_b2]).error
0.019707057

With everything else turned off, `BackpropRegressor` is exactly this network. It divides X and y by
their largest values itself, and takes the mean over the rows where textbooks take the sum, so three
rows need three times the rate:

>>> textbook = BackpropRegressor(
...     hidden_layer_sizes=(3,), solver="sgd", output_activation="logistic", precondition=False,
...     momentum=0, alpha=0, shuffle=False, batch_size=3, learning_rate_init=3 * rate,
...     max_iter=1, n_iter_no_change=1, tol=1,         # one step is enough
... ).fit(raw_X, raw_y.ravel(), coefs_init=[W1, W2], intercepts_init=[b1, b2])
>>> bool(np.allclose(textbook.coefs_[0], new_W1, rtol=1e-12))
True
>>> textbook.coefs_[1].ravel()
array([0.71434328, 0.81563669, 0.91682188])

After many such steps from random initial weights, the predictions equal y:

>>> textbook.set_params(
...     learning_rate_init=20.0, max_iter=20_000, n_iter_no_change=10, tol=1e-4, random_state=0
... ).fit(raw_X, raw_y.ravel()).predict(raw_X).round()
array([92., 86., 89.])

The worked example that many courses use has one row, two inputs, two hidden units and two outputs
(https://mattmazur.com/2015/03/17/a-step-by-step-backpropagation-example/). Its error, the
derivative with respect to w5 and the weights after one step are reproduced to the last digit (but
the error after that step, which changes only the weights, is 0.291027774, not 0.291027924 as
stated there):

>>> W1, b1 = np.array([[0.15, 0.25], [0.20, 0.30]]), np.array([0.35, 0.35])
>>> W2, b2 = np.array([[0.40, 0.50], [0.45, 0.55]]), np.array([0.60, 0.60])
>>> trace = backprop_pass([[0.05, 0.10]], [[0.01, 0.99]], [W1, W2], [b1, b2])
>>> trace.error
0.298371109
>>> float(trace.coef_gradients[1][0, 0])               # dE/dw5
0.082167041
>>> new_W1, new_W2 = W1 - 0.5 * trace.coef_gradients[0], W2 - 0.5 * trace.coef_gradients[1]
>>> new_W2.T.ravel().tolist()                          # w5, w6, w7, w8
[0.35891648, 0.408666186, 0.511301270, 0.561370121]
>>> new_W1.T.ravel().tolist()                          # w1, w2, w3, w4
[0.149780716, 0.19956143, 0.24975114, 0.29950229]
>>> backprop_pass([[0.05, 0.10]], [[0.01, 0.99]], [new_W1, new_W2], [b1, b2]).error
0.291027774

The numbers of `backprop_pass` are those that training uses: z and h come from the network's forward
pass, and errors and derivatives from the objective, for one row of X at a time. For a single row,
the derivative of the error with respect to a unit's bias is the unit's delta.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

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
    X: ArrayLike,
    y: ArrayLike,
    coefs: Sequence[ArrayLike],
    intercepts: Sequence[ArrayLike],
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
