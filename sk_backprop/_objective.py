"""What the solvers minimise: the weighted, penalised loss of the network.

::

    E(theta) = 1/(sum_i w_i) [ sum_i w_i loss(y_i, f(x_i))  +  alpha/2 sum_l ||W_l||^2 ]

with the losses of `_likelihood`, summed over the outputs, as in scikit-learn's MLP, so that
`alpha` means the same; biases carry no penalty.
A mini-batch B gives the unbiased estimate of the same E: mean weight one,

    1/|B| sum_{i in B} (w_i / mean w) loss_i  +  the penalty of E, unchanged

so `alpha` means the same for every solver and batch size.

Gauss-Newton splits the derivatives of each row's loss by z, the input of its output
unit, into a residual rho and a root s (`Likelihood.residual_root`) with

    dloss/dz = s rho        d2loss/dz2 ~ s^2

so that J = s dz/dtheta gives the gradient J^T rho and the curvature J^T J.

Every quantity over all rows is a sum over blocks of rows in a fixed order. A
solver sees parameter vectors, never X.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.blas import dsyrk

from sk_backprop._dispersion import PearsonSums
from sk_backprop._likelihood import Likelihood
from sk_backprop._network import (
    Array,
    Network,
    Parameters,
    Rows,
    Workspace,
    Workspaces,
    backward,
    beyond_range_is_inf,
    evaluate,
    forward,
    jacobian,
    last_layer,
    row_blocks,
    rows_per_block,
)
from sk_backprop._threads import Team, allowed_threads

# Bytes of a block's Jacobian. With 551 parameters J^T J runs at 45 Gflop/s on blocks of
# 256 to 512 rows and at 42 on 1,024 (one thread, OpenBLAS, SkylakeX).
_JACOBIAN_BYTES = 2**21

# Parts that the blocks of all rows are dealt out to, and n_samples * n_params from which on
# threads share them: 1 ms or so, of which handing the work over takes 0.05.
_N_PARTS, _LEAST_SHARED = 4, 1e6

# Rows whose last hidden units tell noise and curvature: the standard deviation to 1 %. (With
# four times as many, and two layers of 256 units, they took as long as an epoch of 20,000.)
_LAST_LAYER_ROWS = 2**12

# Bytes of the rows that are brought into a new order at a time: one call for several
# mini-batches, which are still in the second-level cache when they are used.
_CHUNK_BYTES = 2**19


class Batch(NamedTuple):
    """Some rows: X, y and weights (n_rows, 1), or None for ones."""

    X: Rows
    y: Array
    w: Array | None


class NormalEquations(NamedTuple):
    """Sums over all rows, for each output k by itself, without penalty.

    loss : (n_outputs,), sum_i w_i loss(y_ik, f_k(x_i))
    pearson : (n_outputs,), Pearson's statistic
    density_weight : (n_outputs,), of the rows whose y has a density
    gradient : (n_outputs, n_params), J_k^T rho_k
    curvature : (n_outputs, n_params, n_params), J_k^T J_k, of which the lower
        triangles are set; each is Fortran-contiguous
    """

    loss: Array
    pearson: Array
    density_weight: Array
    gradient: Array
    curvature: Array


class Objective:
    """E(theta) and its gradient on one set of rows, whole or by mini-batches.

    Parameters
    ----------
    network : Network
    likelihood : Likelihood, whose output activation is that of the network
    X : (n_samples, n_features), dense or `Rows` that stay sparse, as `_network.forward`
        takes them
    y : (n_samples, n_outputs) array of the dtype of X
    sample_weight : (n_samples,) positive, or None for ones
    alpha : float, the penalty; it is divided by `penalty_weight`
    penalty_weight : float or None
        Total weight of the data that the penalty is spread over; by default that
        of these rows. A stream gives all that has been seen.
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
    ) -> None:
        self.network = network
        self.n_samples, self.n_outputs = y.shape
        self.dtype = y.dtype
        self.likelihood = likelihood
        self._X, self._y = X, y
        if sample_weight is None:
            total, self._w = float(self.n_samples), None
        else:
            # Dividing by the largest first: a sum of huge weights may overflow.
            largest = float(sample_weight.max())
            relative = sample_weight / largest
            total = largest * float(relative.sum())
            self._w = (relative / relative.mean()).astype(self.dtype)[:, None]
        self.total_weight = total
        self._density_weight = total * likelihood.density_fraction(y, sample_weight)
        decay = network.parameters(np.zeros(network.n_params, self.dtype))
        for W in decay.coefs:
            W[...] = alpha / (total if penalty_weight is None else penalty_weight)
        self._decay = decay.flat if alpha > 0 else None
        self._shared = self.n_samples * network.n_params >= _LEAST_SHARED
        block_rows = rows_per_block(
            network,
            self.dtype,
            dense=isinstance(X, np.ndarray),
            shared_by_threads=self._shared,
        )
        self._blocks = row_blocks(self.n_samples, block_rows)
        self._jacobian: Array | None = None
        self._workspaces = Workspaces(network, self.dtype)
        self._taken: dict[int, tuple[Array | None, Array, Array | None]] = {}
        self._sums: _BlockSums | None = None
        self._penalty_grad = np.empty(network.n_params, self.dtype)

    def parameters(self, flat: Array) -> Parameters:
        """Parameters over a copy of `flat`, in the precision of the data."""
        return self.network.parameters(np.array(flat, dtype=self.dtype))

    def loss_gradient(self, params: Parameters, grad: Parameters) -> float:
        """E at `params` over all rows; its gradient is written to `grad`."""
        if len(self._blocks) == 1:
            return self.batch_loss_gradient(params, Batch(self._X, self._y, self._w), grad)
        if self._sums is None:
            self._sums = _BlockSums(self, self._blocks, shared=self._shared)
        loss = self._sums.loss_gradient(self, params, grad)
        return loss + self._add_penalty(params, grad)

    def rows(self, rows: slice) -> Batch:
        """Views of some rows."""
        return Batch(self._X[rows], self._y[rows], None if self._w is None else self._w[rows])

    def losses(self, params: Parameters) -> Array:
        """Sum of the weighted losses of each output, without penalty: (n_outputs,)."""
        total: Array = np.zeros(self.n_outputs)
        for block in self._blocks:
            work = self._workspaces.of(block.stop - block.start)
            f = forward(self.network, params, self._X[block], work)
            loss, _, _ = self.likelihood.residual_root(f, self._y[block].T)
            total += (loss if self._w is None else loss * self._w[block].T).sum(axis=1)
        return np.asarray(total * (self.total_weight / self.n_samples))

    def pearson(self, params: Parameters) -> PearsonSums:
        """What Pearson's statistic of each output is made of."""
        sums = self._no_rows()
        for block in self._blocks:
            work = self._workspaces.of(block.stop - block.start)
            f = forward(self.network, params, self._X[block], work)
            w = None if self._w is None else self._w[block].T
            sums += PearsonSums.of(*self.likelihood.pearson_terms(f, self._y[block].T), w)
        whole: PearsonSums = sums * (self.total_weight / self.n_samples)
        return whole

    def batch_pearson(self, params: Parameters, batch: Batch) -> PearsonSums:
        """What Pearson's statistic of a mini-batch is made of."""
        X, y, w = batch
        f = forward(self.network, params, X, self._workspaces.of(y.shape[0]))
        terms = self.likelihood.pearson_terms(f, y.T)
        sums = PearsonSums.of(*terms, None if w is None else w.T)
        whole: PearsonSums = sums * (self.total_weight / self.n_samples)
        return whole

    def _no_rows(self) -> PearsonSums:
        return PearsonSums(np.zeros(self.n_outputs), np.zeros(self.n_outputs), 0.0)

    def normal_equations(
        self, params: Parameters, out: NormalEquations | None = None
    ) -> NormalEquations:
        """Loss, gradient and Gauss-Newton curvature of each output, in float64.

        J is formed for one block of rows at a time. `out` is an earlier result, which
        is overwritten.
        """
        n_params, n_outputs = self.network.n_params, self.n_outputs
        block_rows = int(np.clip(_JACOBIAN_BYTES // (8 * n_params) // 64 * 64, 128, 1024))
        if out is None:
            # Transposed, so that each curvature is in Fortran's order.
            curvature = np.empty((n_outputs, n_params, n_params)).transpose(0, 2, 1)
            loss, pearson, density_weight = np.empty((3, n_outputs))
            gradient = np.empty((n_outputs, n_params))
            out = NormalEquations(loss, pearson, density_weight, gradient, curvature)
        for array in out:
            array[...] = 0
        sums = self._no_rows()
        if self._jacobian is None:
            self._jacobian = np.empty(n_params * min(block_rows, self.n_samples))
        for block in row_blocks(self.n_samples, block_rows):
            n_rows = block.stop - block.start
            X, work = self._X[block], self._workspaces.of(n_rows)
            f = forward(self.network, params, X, work)
            y, w = self._y[block].T, None if self._w is None else self._w[block].T
            sums += PearsonSums.of(*self.likelihood.pearson_terms(f, y), w)
            block_loss, rho, root = self.likelihood.residual_root(f, y)
            if w is not None:
                block_loss = block_loss * w
                rho, root = rho * np.sqrt(w), root * np.sqrt(w)
            out.loss[...] += block_loss.sum(axis=1)
            jac_t = self._jacobian[: n_params * n_rows].reshape(n_params, n_rows)
            for k in range(n_outputs):
                seed = np.zeros_like(root)
                seed[k] = root[k]
                jacobian(self.network, params, X, work, seed, jac_t)
                out.gradient[k] += jac_t @ rho[k]
                dsyrk(1.0, jac_t.T, 1.0, out.curvature[k], trans=1, lower=1, overwrite_c=1)
        out.pearson[...] = sums.value
        if self.total_weight != self.n_samples:
            for array in out:
                array *= self.total_weight / self.n_samples
        out.density_weight[...] = self._density_weight
        return out

    def last_layers(self, params: Parameters) -> list[tuple[Objective, Parameters]]:
        """Each output as a linear model of the last hidden units, with its weights.

        Of many rows, every m-th stands for m.
        """
        step = -(-self.n_samples // _LAST_LAYER_ROWS)
        rows = slice(0, self.n_samples, step)
        y = self._y[rows].astype(float)
        w = np.ones(len(y)) if self._w is None else self._w[rows, 0].astype(float)
        w *= self.total_weight / w.sum()
        return [
            (Objective(head, self.likelihood, units, y[:, [k]], w), head_params)
            for k, (head, head_params, units) in enumerate(
                last_layer(self.network, params, self._X[rows])
            )
        ]

    def batches(self, batch_size: int, order: Array | None = None) -> Iterator[Batch]:
        """Mini-batches of the rows, in the given order or their own.

        They are views of arrays that are used again.
        """
        if order is None:
            yield from self._cut(Batch(self._X, self._y, self._w), batch_size)
            return
        row_bytes = self.dtype.itemsize * (self._X.shape[1] + 1)
        chunk_rows = max(1, _CHUNK_BYTES // (row_bytes * batch_size)) * batch_size
        for rows in row_blocks(self.n_samples, chunk_rows):
            yield from self._cut(self._take(order[rows]), batch_size)

    def _cut(self, rows: Batch, batch_size: int) -> Iterator[Batch]:
        X, y, w = rows
        for part in row_blocks(y.shape[0], batch_size):
            yield Batch(X[part], y[part], None if w is None else w[part])

    def batch_loss_gradient(self, params: Parameters, batch: Batch, grad: Parameters) -> float:
        """E at `params` as a mini-batch estimates it, and its gradient."""
        n_rows = batch.y.shape[0]
        loss = self.mean_loss_gradient(params, batch, n_rows, grad, self._workspaces.of(n_rows))
        return loss + self._add_penalty(params, grad)

    def mean_loss_gradient(
        self, params: Parameters, batch: Batch, n_rows: int, grad: Parameters, work: Workspace
    ) -> float:
        """Loss of the batch divided by `n_rows`, without penalty, and its gradient."""
        X, y, w = batch
        delta = work.delta[-1]
        f = forward(self.network, params, X, work)
        w_t = None if w is None else w.T
        loss = self.likelihood.loss_gradient(f, y.T, w_t, delta, work.scratch[-1])
        delta /= n_rows
        backward(self.network, params, X, work, grad)
        return loss / n_rows

    def _add_penalty(self, params: Parameters, grad: Parameters) -> float:
        """Penalty of E; its gradient is added to `grad`."""
        if self._decay is None:
            return 0.0
        gradient, penalty_grad = grad.flat, self._penalty_grad
        np.multiply(self._decay, params.flat, out=penalty_grad)
        gradient += penalty_grad
        return 0.5 * float(np.dot(penalty_grad, params.flat))

    def _take(self, rows: Array) -> Batch:
        # Into arrays kept for each number of rows (there are two: the last ones may be
        # fewer). mode="clip" lets take write to `out` directly.
        n_rows, n_columns = len(rows), self._X.shape[1]
        dense = isinstance(self._X, np.ndarray)
        if n_rows not in self._taken:
            self._taken[n_rows] = (
                np.empty((n_rows, n_columns), self.dtype) if dense else None,
                np.empty((n_rows, self.n_outputs), self.dtype),
                None if self._w is None else np.empty((n_rows, 1), self.dtype),
            )
        X_out, y_out, w_out = self._taken[n_rows]
        X: Any = self._X
        X = X[rows] if X_out is None else X.take(rows, axis=0, out=X_out, mode="clip")
        self._y.take(rows, axis=0, out=y_out, mode="clip")
        if self._w is not None:
            self._w.take(rows, axis=0, out=w_out, mode="clip")
        return Batch(X, y_out, w_out)


class _BlockSums:
    """Loss and gradient of all rows, without penalty: the sum over blocks of rows.

    The blocks are dealt out to a fixed number of parts, whose sums are added in order, so
    that the result does not depend on how many threads there are.
    """

    def __init__(self, objective: Objective, blocks: list[slice], *, shared: bool) -> None:
        network, n_params = objective.network, objective.network.n_params
        self._team = Team(min(allowed_threads(), _N_PARTS) if shared else 1)
        self._parts = [blocks[part::_N_PARTS] for part in range(min(_N_PARTS, len(blocks)))]
        self._losses = [0.0] * len(self._parts)
        self._grads = np.empty((len(self._parts), n_params), objective.dtype)
        # Of each thread: a block's gradient, and what it is computed in.
        self._own = [
            (
                network.parameters(np.empty(n_params, objective.dtype)),
                Workspaces(network, objective.dtype),
            )
            for _ in range(self._team.n_threads)
        ]

    def loss_gradient(self, objective: Objective, params: Parameters, grad: Parameters) -> float:
        """Mean loss; its gradient is written to `grad`."""
        self._team.run(partial(self._add_up, objective, params))
        self._grads.sum(axis=0, out=grad.flat)
        return sum(self._losses)

    @beyond_range_is_inf
    def _add_up(self, objective: Objective, params: Parameters, thread: int) -> None:
        block_grad, workspaces = self._own[thread]
        for part in range(thread, len(self._parts), self._team.n_threads):
            loss, total = 0.0, self._grads[part]
            total[...] = 0
            for block in self._parts[part]:
                batch, work = objective.rows(block), workspaces.of(block.stop - block.start)
                loss += objective.mean_loss_gradient(
                    params, batch, objective.n_samples, block_grad, work
                )
                total += block_grad.flat
            self._losses[part] = loss


class ValidationSet:
    """Loss without penalty and R^2 on rows that are not trained on.

    Parameters as for `Objective`, in the same coordinates as the training rows.
    """

    def __init__(
        self,
        network: Network,
        likelihood: Likelihood,
        X: Rows,
        y: Array,
        sample_weight: Array | None,
    ) -> None:
        self._network, self._likelihood = network, likelihood
        self._X, self._y = X, y
        relative = np.ones(len(y)) if sample_weight is None else sample_weight / sample_weight.max()
        self._w = (relative / relative.sum())[:, None]
        self._spread = np.sum(self._w * (y - np.sum(self._w * y, axis=0)) ** 2, axis=0)
        self._blocks = row_blocks(len(y), rows_per_block(network, y.dtype))

    def evaluate(self, params: Parameters) -> tuple[float, float]:
        """Mean loss, and R^2 averaged over the outputs.

        R^2 is nan where the validation targets of an output do not vary, as with
        a single row. Both are computed in float64.
        """
        loss, squares = 0.0, np.zeros(self._y.shape[1])
        for block in self._blocks:
            f = evaluate(self._network, params.coefs, params.intercepts, self._X[block])
            f = f.astype(np.float64, copy=False).T
            y, w = self._y[block].astype(np.float64, copy=False).T, self._w[block].T
            squares += np.sum(w * (f - y) ** 2, axis=1)
            delta, scratch = np.empty_like(f), np.empty_like(f)
            loss += self._likelihood.loss_gradient(f, y, w, delta, scratch)
        with np.errstate(invalid="ignore", divide="ignore"):
            score = np.mean(np.where(self._spread > 0, 1 - squares / self._spread, np.nan))
        return loss, float(score)
