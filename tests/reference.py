"""Naive implementations that the fast ones are held against.

They are written from the equations, one neuron at a time, and share no code with
the package.
"""

from __future__ import annotations

import math

import numpy as np

FUNCTIONS = {
    "identity": lambda z: z,
    "logistic": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
    "relu": lambda z: max(z, 0.0),
    "exp": math.exp,
}
SLOPES = {  # g'(z)
    "identity": lambda z: 1.0,
    "logistic": lambda z: FUNCTIONS["logistic"](z) * (1 - FUNCTIONS["logistic"](z)),
    "tanh": lambda z: 1 - math.tanh(z) ** 2,
    "relu": lambda z: 1.0 if z > 0 else 0.0,
    "exp": math.exp,
}


def forward_row(coefs, intercepts, activation, output_activation, x):
    """Sums z[layer][neuron] and values h[layer][neuron] for one row; h[0] is x."""
    h, z = [list(x)], []
    for layer, (W, b) in enumerate(zip(coefs, intercepts, strict=True)):
        name = output_activation if layer == len(coefs) - 1 else activation
        sums = []
        for j in range(W.shape[1]):
            total = b[j]
            for i in range(W.shape[0]):
                total += h[-1][i] * W[i, j]
            sums.append(total)
        z.append(sums)
        h.append([FUNCTIONS[name](s) for s in sums])
    return z, h


def row_loss(loss, f, y):
    """Loss of one row, summed over its outputs, and its derivative by each output."""
    if loss == "squared_error":
        return sum(0.5 * (a - b) ** 2 for a, b in zip(f, y)), [a - b for a, b in zip(f, y)]
    value = sum((b * math.log(b / a) if b > 0 else 0.0) - b + a for a, b in zip(f, y))
    return value, [1 - b / a for a, b in zip(f, y)]


def loss_gradient(coefs, intercepts, activation, output_activation, loss, X, y, w, alpha):
    """E = 1/sum(w) [sum w loss + alpha/2 ||W||^2] and its gradient."""
    gW = [np.zeros_like(W) for W in coefs]
    gb = [np.zeros_like(b) for b in intercepts]
    total, weight = 0.0, sum(w)
    for x, target, wi in zip(X, y, w, strict=True):
        z, h = forward_row(coefs, intercepts, activation, output_activation, x)
        value, slope_f = row_loss(loss, h[-1], target)
        total += wi * value
        delta = [wi * s * SLOPES[output_activation](zj) for s, zj in zip(slope_f, z[-1])]
        for layer in range(len(coefs) - 1, -1, -1):
            W = coefs[layer]
            for j in range(W.shape[1]):
                gb[layer][j] += delta[j]
                for i in range(W.shape[0]):
                    gW[layer][i, j] += h[layer][i] * delta[j]
            if layer > 0:
                delta = [
                    sum(W[i, j] * delta[j] for j in range(W.shape[1]))
                    * SLOPES[activation](z[layer - 1][i])
                    for i in range(W.shape[0])
                ]
    for layer, W in enumerate(coefs):
        total += alpha / 2 * float((W**2).sum())
        gW[layer] += alpha * W
    return total / weight, [g / weight for g in gW], [g / weight for g in gb]


def tutorial_epochs(X, y, W1, b1, W2, b2, learning_rate, n_epochs):
    """The tutorial's loop: one sigmoid hidden layer, sigmoid output, full batch.

    X and y already divided by their column maxima. Gradients are summed over the
    rows, and every bias is updated, as the tutorial's prose says (its snippet leaves
    the hidden bias out).
    """

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    W1, b1, W2, b2 = (np.array(a, dtype=float) for a in (W1, b1, W2, b2))
    for _ in range(n_epochs):
        hidden = sigmoid(X @ W1 + b1)
        output = sigmoid(hidden @ W2 + b2)
        error = y - output
        d_output = error * output * (1 - output)
        d_hidden = (d_output @ W2.T) * hidden * (1 - hidden)
        W2 += learning_rate * hidden.T @ d_output
        b2 += learning_rate * d_output.sum(axis=0)
        W1 += learning_rate * X.T @ d_hidden
        b1 += learning_rate * d_hidden.sum(axis=0)
    return W1, b1, W2, b2


def jacobian_row(coefs, intercepts, activation, x, seed):
    """Gradient of sum_k seed[k] z_k at one row, z the sums of the output units, as
    [W_1.ravel(), b_1, W_2.ravel(), b_2, ...]."""
    z, h = forward_row(coefs, intercepts, activation, "identity", x)
    delta, layers = list(seed), []
    for layer in range(len(coefs) - 1, -1, -1):
        W = coefs[layer]
        weights = [h[layer][i] * delta[j] for i in range(W.shape[0]) for j in range(W.shape[1])]
        layers.insert(0, weights + delta)
        if layer > 0:
            delta = [
                sum(W[i, j] * delta[j] for j in range(W.shape[1]))
                * SLOPES[activation](z[layer - 1][i])
                for i in range(W.shape[0])
            ]
    return np.array([value for layer in layers for value in layer])


def normal_equations(coefs, intercepts, activation, output_activation, loss, X, y, w):
    """Loss, gradient and Gauss-Newton (for Poisson: Fisher's) curvature of each output.

    Squared error: J = df/dtheta, J^T (f - y) and J^T J; Poisson: df/dtheta (1 - y / f)
    and the curvature of Fisher's information of a count of mean f, 1 / f.
    """
    n_outputs = y.shape[1]
    n_params = sum(W.size + W.shape[1] for W in coefs)
    losses = np.zeros(n_outputs)
    gradient = np.zeros((n_outputs, n_params))
    curvature = np.zeros((n_outputs, n_params, n_params))
    for x, target, wi in zip(X, y, w, strict=True):
        z, h = forward_row(coefs, intercepts, activation, output_activation, x)
        for k in range(n_outputs):
            value, slope = row_loss(loss, [h[-1][k]], [target[k]])
            seed = [SLOPES[output_activation](z[-1][k]) * (j == k) for j in range(n_outputs)]
            df = jacobian_row(coefs, intercepts, activation, x, seed)
            losses[k] += wi * value
            gradient[k] += wi * slope[0] * df
            information = 1.0 if loss == "squared_error" else 1 / h[-1][k]
            curvature[k] += wi * information * np.outer(df, df)
    return losses, gradient, curvature


def input_gradient_row(coefs, intercepts, activation, output_activation, x):
    """df_k/dx_j at one row as [k][j]: the chain rule forwards, from each input to the output."""
    z, _ = forward_row(coefs, intercepts, activation, output_activation, x)
    columns = []
    for j in range(len(x)):
        slope = [float(i == j) for i in range(len(x))]  # dh/dx_j, layer by layer
        for layer, W in enumerate(coefs):
            name = output_activation if layer == len(coefs) - 1 else activation
            slope = [
                SLOPES[name](z[layer][unit]) * sum(W[i, unit] * s for i, s in enumerate(slope))
                for unit in range(W.shape[1])
            ]
        columns.append(slope)
    return np.array(columns).T
