"""What the solvers minimise: the weighted, penalised loss of the network.

::

    E(theta) = 1/(sum_i w_i) [ sum_i w_i loss(y_i, f(x_i))  +  alpha/2 sum_l ||W_l||^2 ]

with the losses of `_network.likelihood`, summed over the outputs. `alpha` means the same as in
scikit-learn's MLP; biases carry no penalty. A mini-batch B gives an unbiased estimate of E,

    1/|B| sum_{i in B} (w_i / mean w) loss_i  +  the penalty of E, unchanged

so `alpha` means the same for every solver and batch size.

Gauss-Newton writes the derivatives of each row's loss with respect to z, the input of its
output unit, in terms of a residual rho and a root s (`Likelihood.residual_root`),

    dloss/dz = s rho        d2loss/dz2 ~ s^2

so that J = s dz/dtheta gives the gradient J^T rho and the curvature J^T J.

Every quantity over all rows is a sum over blocks of rows (`row_sums`). A solver sees parameter
vectors; mini-batches it passes on unread.
"""

from collections.abc import Iterable, Iterator
from functools import cache, partial
from typing import Self

import numpy as np

from sk_backprop._blocks.arrays import Array, Rows, row_blocks
from sk_backprop._blocks.blocks import Batch, block_sum
from sk_backprop._coordinates.scales import sampling_step
from sk_backprop._inference.engine_sums import EngineSums
from sk_backprop._inference.row_sums import (
    EQUATION_ROWS,
    NormalEquations,
    RowSums,
    mean_loss_gradient,
)
from sk_backprop._network.dispersion import LEAST_NOISE, PearsonSums
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network, Parameters, forward, last_layer, workspaces

# Rows from which the last layer's noise and curvature are estimated: they give the standard
# deviation to 1 %. (Four times as many took as long as an epoch of 20,000 rows, with two layers
# of 256 units.)
_LAST_LAYER_ROWS = 2**12

# Bytes of rows that are reordered by one call: several mini-batches, which are still in the
# second-level cache when they are used.
_CHUNK_BYTES = 2**19


class Objective:
    """E(theta) and its gradient on one set of rows, over all of them or by mini-batches.

    Parameters
    ----------
    network : Network
    likelihood : Likelihood, whose output activation is that of the network
    X : (n_samples, n_features), dense or other `Rows`, as for `_network.network.forward`
    y : (n_samples, n_outputs) array of the dtype of X
    sample_weight : (n_samples,) positive, or None for ones
    alpha : float, the penalty; it is divided by `penalty_weight`
    penalty_weight : float or None
        Total weight of the data that the penalty is spread over; by default that
        of these rows. In a stream, it is that of all rows seen so far.
    block_rows, equation_rows : as for `RowSums`
    """

    def __init__(
        self,
        network: Network,
        likelihood: Likelihood,
        X: Rows,
        y: Array,
        sample_weight: Array | None = None,
        alpha: float = 0.0,
        penalty_weight: float | None = None,
        *,
        block_rows: int | None = None,
        equation_rows: int = EQUATION_ROWS,
    ) -> None:
        relative, total = relative_weights(sample_weight, len(y))
        w = None if relative is None else relative.astype(y.dtype)[:, None]
        rows = Batch(X, y, w)
        sums = RowSums(network, rows, block_rows=block_rows, equation_rows=equation_rows)
        every = slice(0, len(y), sampling_step(len(y)))
        chosen = None if sample_weight is None else sample_weight[every]
        density = likelihood.density_fraction(y[every], chosen)
        decay = alpha / (total if penalty_weight is None else penalty_weight)
        self._set(network, likelihood, sums, total, density, decay)
        self._rows = rows
        # One number of rows for all chunks, and one for the last, which may be smaller.
        self._buffers = cache(partial(_empty_like, rows))

    @classmethod
    def over(
        cls,
        network: Network,
        likelihood: Likelihood,
        sums: RowSums | EngineSums,
        total_weight: float,
        density: Array,
        alpha: float,
    ) -> Self:
        """E(theta) over rows that are elsewhere; there are no mini-batches.

        Parameters
        ----------
        network, likelihood, alpha : as for the class
        sums : RowSums or EngineSums
        total_weight : float, of the rows
        density : (n_outputs,), fraction of the total weight in rows whose y has a density
        """
        self = cls.__new__(cls)
        self._set(network, likelihood, sums, total_weight, density, alpha / total_weight)
        return self

    def _set(
        self,
        network: Network,
        likelihood: Likelihood,
        sums: RowSums | EngineSums,
        total_weight: float,
        density: Array,
        decay: float,
    ) -> None:
        """Set what does not depend on where the rows are.

        Parameters
        ----------
        network, likelihood, sums, total_weight, density : as for `over`
        decay : float, derivative of the penalty, divided by the weight
        """
        self.network, self.likelihood, self._sums = network, likelihood, sums
        self.n_samples, self.n_outputs, self.dtype = sums.n_samples, sums.n_outputs, sums.dtype
        self.total_weight, self._mean_weight = total_weight, total_weight / sums.n_samples
        self._density_weight = total_weight * density
        self._workspace = workspaces(network, self.dtype)
        self._penalty_grad = np.empty(network.n_params, self.dtype)
        of_params = network.parameters(np.zeros(network.n_params, self.dtype))
        for W in of_params.coefs:
            W[...] = decay
        self._decay = of_params.flat if decay > 0 else None

    def parameters(self, flat: Array) -> Parameters:
        """Parameters over a copy of `flat`, in the precision of the data."""
        return self.network.parameters(np.array(flat, dtype=self.dtype))

    def loss_gradient(self, params: Parameters, grad: Parameters) -> float:
        """E at `params` over all rows; its gradient is written to `grad`."""
        loss = self._sums.gradient(self.likelihood, params, grad)
        return float(loss + self._add_penalty(params, grad))

    def follow_noise(self, params: Parameters, noise: Array | None = None) -> bool:
        """Adapt the loss to the noise where it depends on it; whether that changed the loss.

        Parameters
        ----------
        params : Parameters
        noise : (n_outputs,), or None to estimate it from the residuals of up to 4,096 rows
        """
        if not self.likelihood.follows_noise:
            return False
        if noise is None:
            _, y, w = batch = self._some_rows()
            f = self._outputs(params, batch).astype(float)
            w = np.ones(len(y)) if w is None else w[:, 0]
            noise = self.likelihood.noise_of(f, y.T.astype(float), w)
        before = self.likelihood
        self.likelihood = before.at_noise(np.maximum(noise, LEAST_NOISE**2))
        return self.likelihood is not before

    def _some_rows(self) -> Batch:
        """Every m-th row, at most `_LAST_LAYER_ROWS`."""
        return self._sums.sample(-(-self.n_samples // _LAST_LAYER_ROWS))

    def losses(self, params: Parameters) -> Array:
        """Sum of the weighted losses of each output, without penalty: (n_outputs,)."""
        (total,) = self._sums.losses(self.likelihood, params)
        return np.asarray(total * self._mean_weight)

    def pearson(self, params: Parameters) -> PearsonSums:
        """Sums over all rows from which Pearson's statistic of each output is computed."""
        squares, ratio, weight = self._sums.pearson(self.likelihood, params)
        return PearsonSums(squares, ratio, float(weight[0])) * self._mean_weight

    def _outputs(self, params: Parameters, batch: Batch) -> Array:
        return forward(self.network, params, batch.X, self._workspace(len(batch.y)))

    def batch_pearson(self, params: Parameters, batch: Batch) -> PearsonSums:
        """As `pearson`, over the rows of a mini-batch."""
        _, y, w = batch
        terms = self.likelihood.pearson_terms(self._outputs(params, batch), y.T)
        return PearsonSums.of(*terms, None if w is None else w.T) * self._mean_weight

    def normal_equations(
        self, params: Parameters, out: NormalEquations | None = None
    ) -> NormalEquations:
        """Loss, gradient and Gauss-Newton curvature of each output, in float64.

        `out` is an earlier result, which is overwritten.
        """
        if out is not None:
            self._sums.release(out)
        found = self._sums.equations(self.likelihood, params)
        pearson = PearsonSums(found.pearson, found.ratio, float(found.weight[0])).value
        found.pearson[...] = pearson
        if self.total_weight != self.n_samples:
            for array in found:
                array *= self._mean_weight
        found.density_weight[...] = self._density_weight
        return found

    def last_layers(self, params: Parameters) -> "list[tuple[Objective, Parameters]]":
        """Each output as a linear model of the last hidden units, with its weights.

        Of many rows, every m-th is used, with m times its weight.
        """
        X, y, weights = self._some_rows()
        y = y.astype(float)
        w = np.ones(len(y)) if weights is None else weights[:, 0].astype(float)
        w *= self.total_weight / w.sum()
        return [
            (Objective(head, self.likelihood.of_output(k), units, y[:, [k]], w), head_params)
            for k, (head, head_params, units) in enumerate(last_layer(self.network, params, X))
        ]

    def batches(
        self, batch_size: int, order: Array | None = None, chunk_bytes: int = _CHUNK_BYTES
    ) -> Iterator[Batch]:
        """Mini-batches of the rows, in the given order or as they are.

        They are views of buffers of about `chunk_bytes`, which later mini-batches overwrite.
        """
        chunks: Iterable[Batch] = [self._rows]
        if order is not None:
            row_bytes = self.dtype.itemsize * (self._rows.X.shape[1] + 1)
            chunk_rows = max(1, chunk_bytes // (row_bytes * batch_size)) * batch_size
            chunks = (self._take(order[rows]) for rows in row_blocks(self.n_samples, chunk_rows))
        for chunk in chunks:
            yield from map(chunk.take, row_blocks(len(chunk.y), batch_size))

    def batch_loss_gradient(self, params: Parameters, batch: Batch, grad: Parameters) -> float:
        """Estimate of E at `params` from a mini-batch; its gradient is written to `grad`.

        Parameters
        ----------
        params : Parameters
        batch : Batch
        grad : Parameters, overwritten
        """
        n_rows = batch.y.shape[0]
        work = self._workspace(n_rows)
        loss = mean_loss_gradient(self.likelihood, params, batch, n_rows, grad, work)
        return loss + self._add_penalty(params, grad)

    def _add_penalty(self, params: Parameters, grad: Parameters) -> float:
        """Penalty of E; its gradient is added to `grad`."""
        if self._decay is None:
            return 0.0
        gradient, penalty_grad = grad.flat, self._penalty_grad
        np.multiply(self._decay, params.flat, out=penalty_grad)
        gradient += penalty_grad
        return 0.5 * float(np.dot(penalty_grad, params.flat))

    def _take(self, rows: Array) -> Batch:
        """A copy of rows, in memory that is used again; mode="clip" lets `take` write there."""
        X, y, w = self._rows
        X_out, y_out, w_out = self._buffers(len(rows))
        X = X.take(rows, axis=0, out=X_out, mode="clip") if isinstance(X, np.ndarray) else X[rows]
        return Batch(
            X,
            y.take(rows, axis=0, out=y_out, mode="clip"),
            None if w is None else w.take(rows, axis=0, out=w_out, mode="clip"),
        )


def _empty_like(rows: Batch, n_rows: int) -> list[Array | None]:
    """Arrays for some of the rows; None for those that are no dense array."""
    return [
        np.empty((n_rows, one.shape[1]), one.dtype) if isinstance(one, np.ndarray) else None
        for one in rows
    ]


def relative_weights(sample_weight: Array | None, n_samples: int) -> tuple[Array | None, float]:
    """Weights divided by their mean, (n_samples,), or None for ones, and their sum."""
    if sample_weight is None:
        return None, float(n_samples)
    # Divided by the largest first, since a sum of huge weights may overflow.
    largest = float(sample_weight.max())
    relative = sample_weight / largest
    total = block_sum(relative)
    return relative / (total / n_samples), largest * total
