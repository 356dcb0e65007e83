"""How much the fitted function changes with each column of X."""

import numpy as np

from sk_backprop._blocks.arrays import Array, beyond_range_is_inf
from sk_backprop._blocks.threads import one_blas_thread
from sk_backprop._estimator.state import Columns
from sk_backprop._network.network import Workspace, forward, input_gradient
from sk_backprop._training.run import Blend

# Rows over which derivatives are averaged, and the number of derivatives held at a time.
_MOST_ROWS, _MOST_VALUES = 512, 2**20


@one_blas_thread()
@beyond_range_is_inf
def feature_importances(blend: Blend, columns: Columns) -> Array:
    """Mean |derivative| times standard deviation of each column, as shares: (n_features,).

    The derivatives are those of the mean of the networks, in units of y's standard deviation, at
    training rows: all, or every m-th in their order by values. Those of the inputs that stand for
    one column are added.

    blend : Blend; columns : Columns
    """
    problem = blend.results[0].problem.sample
    (X, _, weights), scales = problem.rows, problem.scales
    n_rows = X.shape[0]
    n_inputs, n_outputs = columns.n_inputs, problem.rows.y.shape[1]
    most = max(16, min(_MOST_ROWS, _MOST_VALUES // (n_inputs * n_outputs)))
    if n_rows > most:
        chosen = np.linspace(0, n_rows - 1, most).astype(np.intp)
        X, weights = X[chosen], None if weights is None else weights[chosen]
    X = X.astype(float)
    slopes = np.zeros((X.shape[0], n_outputs, n_inputs))
    for result, weight in zip(blend.results, blend.weights, strict=True):
        network = scales.solver_network(result.settings.network)
        work = Workspace(network, X.shape[0], float)
        for one in result.networks:
            params = network.parameters(one.params.flat.astype(float))
            forward(network, params, X, work)
            slopes += weight / len(result.networks) * input_gradient(network, params, work)
    np.abs(slopes, out=slopes)
    mean = np.average(slopes.mean(axis=1), axis=0, weights=weights)
    # In the centred coordinates of the solver, columns have unit standard deviation.
    spread = 1.0 if scales.precondition else scales.x.spread
    mean = np.where(scales.x.constant, 0.0, mean * spread)
    mean = mean if columns.encoding is None else columns.encoding.by_column(mean)
    total = mean.sum()
    return np.asarray(mean / total) if 0 < total < np.inf else np.zeros(columns.n_features)
