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

Every quantity over all rows is a sum over blocks of rows (`_blocks.blocks`). A
solver sees parameter vectors, never X.
"""

from collections.abc import Iterator
from functools import partial
from operator import add
from typing import Any, NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array, Rows, beyond_range_is_inf, row_blocks
from sk_backprop._blocks.blocks import Batch, RowBlocks, Sums, power_of_two, tree_sum
from sk_backprop._blocks.linalg import gram
from sk_backprop._network.dispersion import LEAST_NOISE, PearsonSums
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import (
    Network,
    Parameters,
    Workspace,
    Workspaces,
    backward,
    evaluate,
    forward,
    jacobian,
    last_layer,
    rows_per_block,
)

# Bytes of a block's Jacobian. With 551 parameters J^T J runs at 45 Gflop/s on blocks of
# 256 to 512 rows and at 42 on 1,024 (one thread, OpenBLAS, SkylakeX).
_JACOBIAN_BYTES = 2**21

# Minimum n_samples * n_params for threads to share the blocks: about 1 ms of work, and handing it
# over takes 0.05 ms. For the normal equations, n_samples * n_params^2.
_LEAST_SHARED, _LEAST_SHARED_EQUATIONS = 1e6, 5e7

# Rows of a block of normal equations, a leaf of the tree of sums. With 551 parameters, adding two
# nodes takes 1 ms and the products of 2,048 rows 15.
EQUATION_ROWS = 2**11

# Rows from which the last layer's noise and curvature are estimated: they give the standard
# deviation to 1 %. (Four times as many took as long as an epoch of 20,000 rows, with two layers
# of 256 units.)
_LAST_LAYER_ROWS = 2**12

# Bytes of rows that are reordered by one call: several mini-batches, which are still in the
# second-level cache when they are used.
_CHUNK_BYTES = 2**19


class NormalEquations(NamedTuple):
    """Sums over all rows, for each output k separately, without penalty.

    loss : (n_outputs,), sum_i w_i loss(y_ik, f_k(x_i))
    pearson : (n_outputs,), Pearson's statistic
    density_weight : (n_outputs,), total weight of the rows whose y has a density
    gradient : (n_outputs, n_params), J_k^T rho_k
    curvature : (n_outputs, n_params, n_params), J_k^T J_k, of which only the lower
        triangles are set; each is Fortran-contiguous
    ratio : (n_outputs,), and weight : (1,), as in `PearsonSums`
    """

    loss: Array
    pearson: Array
    density_weight: Array
    gradient: Array
    curvature: Array
    ratio: Array
    weight: Array

    @classmethod
    def zeros(cls, n_outputs: int, n_params: int) -> Self:
        """The sums over no rows."""
        loss, pearson, density_weight, ratio = np.zeros((4, n_outputs))
        # Transposed, so that each curvature is in Fortran order.
        curvature = np.zeros((n_outputs, n_params, n_params)).transpose(0, 2, 1)
        gradient = np.zeros((n_outputs, n_params))
        return cls(loss, pearson, density_weight, gradient, curvature, ratio, np.zeros(1))


class _GradientSum(NamedTuple):
    """Loss, (1,), and its gradient over some rows."""

    loss: Array
    grad: Parameters


def _add_equations(first: NormalEquations, second: NormalEquations) -> None:
    for total, array in zip(first, second):
        total += array


def _add_gradient(first: _GradientSum, second: _GradientSum) -> None:
    loss, gradient = first.loss, first.grad.flat
    loss += second.loss
    gradient += second.grad.flat


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
    block_rows, equation_rows : int, powers of two
        Rows per block, for loss and gradient and for the normal equations; by default
        `block_rows` depends on the size of the network.
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
        self.network = network
        self.n_samples, self.n_outputs = y.shape
        self.dtype = y.dtype
        self.likelihood = likelihood
        self._X, self._y = X, y
        if sample_weight is None:
            total, self._w = float(self.n_samples), None
        else:
            # Divided by the largest first, since a sum of huge weights may overflow.
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
        self._blocks = self._make_blocks(block_rows)
        self._equation_rows = equation_rows
        self._equations: _Equations | None = None
        self._gradients: Sums[_GradientSum] | None = None
        # One for each thread; all that runs in one thread uses the first.
        self._of_thread = [Workspaces(network, self.dtype) for _ in range(self._blocks.n_threads)]
        self._workspaces = self._of_thread[0]
        self._taken: dict[int, tuple[Array | None, Array, Array | None]] = {}
        self._penalty_grad = np.empty(network.n_params, self.dtype)

    def parameters(self, flat: Array) -> Parameters:
        """Parameters over a copy of `flat`, in the precision of the data."""
        return self.network.parameters(np.array(flat, dtype=self.dtype))

    def loss_gradient(self, params: Parameters, grad: Parameters) -> float:
        """E at `params` over all rows; its gradient is written to `grad`."""
        if len(self._blocks.blocks) == 1:
            return self.batch_loss_gradient(params, self._blocks.rows, grad)
        if self._gradients is None:
            self._gradients = self._make_gradients()
        found = self._blocks.sum(partial(self._block_gradient, params), self._gradients)
        grad.flat[...] = found.grad.flat
        loss = float(found.loss[0])
        self._gradients.release(found)
        return loss + self._add_penalty(params, grad)

    def _make_blocks(self, block_rows: int | None) -> RowBlocks:
        shared = self.n_samples * self.network.n_params >= _LEAST_SHARED
        if block_rows is None:
            dense = isinstance(self._X, np.ndarray)
            fits = rows_per_block(self.network, self.dtype, dense=dense, shared_by_threads=shared)
            block_rows = power_of_two(int(1.4 * fits))  # the nearest one, by ratio
        return RowBlocks(Batch(self._X, self._y, self._w), block_rows, shared=shared)

    def _make_gradients(self) -> Sums[_GradientSum]:
        network, dtype = self.network, self.dtype

        def make() -> _GradientSum:
            return _GradientSum(np.zeros(1), network.parameters(np.empty(network.n_params, dtype)))

        return Sums(make, _add_gradient)

    @beyond_range_is_inf
    def _block_gradient(
        self, params: Parameters, batch: Batch, thread: int, total: _GradientSum
    ) -> None:
        """Write the loss of a block of rows and its gradient to `total`.

        Parameters
        ----------
        params : Parameters
        batch : Batch, the rows of the block
        thread : int, number of the calling thread
        total : _GradientSum, overwritten
        """
        work = self._of_thread[thread].of(len(batch.y))
        total.loss[0] = self.mean_loss_gradient(params, batch, self.n_samples, total.grad, work)

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
            step = -(-self.n_samples // _LAST_LAYER_ROWS)
            _, y, w = batch = self.rows(slice(0, self.n_samples, step))
            f = self._outputs(params, batch).astype(float)
            w = np.ones(len(y)) if w is None else w[:, 0]
            noise = self.likelihood.noise_of(f, y.T.astype(float), w)
        before = self.likelihood
        self.likelihood = before.at_noise(np.maximum(noise, LEAST_NOISE**2))
        return self.likelihood is not before

    def rows(self, rows: slice) -> Batch:
        """Views of some rows."""
        return self._blocks.rows.take(rows)

    def losses(self, params: Parameters) -> Array:
        """Sum of the weighted losses of each output, without penalty: (n_outputs,)."""

        def of_block(block: slice) -> Array:
            _, y, w = batch = self.rows(block)
            loss, _, _ = self.likelihood.residual_root(self._outputs(params, batch), y.T)
            return np.asarray((loss if w is None else loss * w.T).sum(axis=1))

        total = tree_sum(map(of_block, self._blocks.blocks), add)
        return np.asarray(total * (self.total_weight / self.n_samples))

    def pearson(self, params: Parameters) -> PearsonSums:
        """Sums over all rows from which Pearson's statistic of each output is computed."""
        blocks = self._blocks.blocks
        return tree_sum((self.batch_pearson(params, self.rows(one)) for one in blocks), add)

    def _outputs(self, params: Parameters, batch: Batch) -> Array:
        return forward(self.network, params, batch.X, self._workspaces.of(len(batch.y)))

    def batch_pearson(self, params: Parameters, batch: Batch) -> PearsonSums:
        """As `pearson`, over the rows of a mini-batch."""
        _, y, w = batch
        terms = self.likelihood.pearson_terms(self._outputs(params, batch), y.T)
        sums = PearsonSums.of(*terms, None if w is None else w.T)
        whole: PearsonSums = sums * (self.total_weight / self.n_samples)
        return whole

    def normal_equations(
        self, params: Parameters, out: NormalEquations | None = None
    ) -> NormalEquations:
        """Loss, gradient and Gauss-Newton curvature of each output, in float64.

        `out` is an earlier result, which is overwritten.
        """
        if self._equations is None:
            self._equations = _Equations(self, self._equation_rows)
        if out is not None:
            self._equations.sums.release(out)
        found = self._equations.of(self, params)
        pearson = PearsonSums(found.pearson, found.ratio, float(found.weight[0])).value
        found.pearson[...] = pearson
        if self.total_weight != self.n_samples:
            for array in found:
                array *= self.total_weight / self.n_samples
        found.density_weight[...] = self._density_weight
        return found

    def last_layers(self, params: Parameters) -> "list[tuple[Objective, Parameters]]":
        """Each output as a linear model of the last hidden units, with its weights.

        Of many rows, every m-th is used, with m times its weight.
        """
        step = -(-self.n_samples // _LAST_LAYER_ROWS)
        rows = slice(0, self.n_samples, step)
        y = self._y[rows].astype(float)
        w = np.ones(len(y)) if self._w is None else self._w[rows, 0].astype(float)
        w *= self.total_weight / w.sum()
        return [
            (Objective(head, self.likelihood.of_output(k), units, y[:, [k]], w), head_params)
            for k, (head, head_params, units) in enumerate(
                last_layer(self.network, params, self._X[rows])
            )
        ]

    def batches(
        self, batch_size: int, order: Array | None = None, chunk_bytes: int = _CHUNK_BYTES
    ) -> Iterator[Batch]:
        """Mini-batches of the rows, in the given order or as they are.

        They are views of buffers of about `chunk_bytes`, which later mini-batches overwrite.
        """
        if order is None:
            yield from self._cut(self._blocks.rows, batch_size)
            return
        row_bytes = self.dtype.itemsize * (self._X.shape[1] + 1)
        chunk_rows = max(1, chunk_bytes // (row_bytes * batch_size)) * batch_size
        for rows in row_blocks(self.n_samples, chunk_rows):
            yield from self._cut(self._take(order[rows]), batch_size)

    def _cut(self, rows: Batch, batch_size: int) -> Iterator[Batch]:
        X, y, w = rows
        for part in row_blocks(y.shape[0], batch_size):
            yield Batch(X[part], y[part], None if w is None else w[part])

    def batch_loss_gradient(self, params: Parameters, batch: Batch, grad: Parameters) -> float:
        """Estimate of E at `params` from a mini-batch; its gradient is written to `grad`.

        Parameters
        ----------
        params : Parameters
        batch : Batch
        grad : Parameters, overwritten
        """
        n_rows = batch.y.shape[0]
        loss = self.mean_loss_gradient(params, batch, n_rows, grad, self._workspaces.of(n_rows))
        return loss + self._add_penalty(params, grad)

    def mean_loss_gradient(
        self, params: Parameters, batch: Batch, n_rows: int, grad: Parameters, work: Workspace
    ) -> float:
        """Loss of the batch divided by `n_rows`, without penalty, and its gradient.

        Parameters
        ----------
        params : Parameters
        batch : Batch
        n_rows : int
        grad : Parameters, overwritten with the gradient
        work : Workspace, for the number of rows of the batch
        """
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
        # Buffers are kept for each number of rows: one number for all chunks, and one for the
        # last, which may be smaller. mode="clip" lets take write to `out` directly.
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


class _Equations:
    """The normal equations, as a sum over blocks of rows."""

    def __init__(self, objective: Objective, equation_rows: int) -> None:
        network, n_outputs = objective.network, objective.n_outputs
        shared = objective.n_samples * network.n_params**2 >= _LEAST_SHARED_EQUATIONS
        everything = objective.rows(slice(None))
        self._blocks = RowBlocks(everything, equation_rows, shared=shared)
        self.sums: Sums[NormalEquations] = Sums(
            lambda: NormalEquations.zeros(n_outputs, network.n_params), _add_equations
        )
        # J is formed for some rows at a time.
        rows = int(np.clip(_JACOBIAN_BYTES // (8 * network.n_params) // 64 * 64, 128, 1024))
        self._jacobian_rows = min(rows, objective.n_samples)
        self._of_thread = [
            (
                np.empty(network.n_params * self._jacobian_rows),
                Workspaces(network, objective.dtype),
            )
            for _ in range(self._blocks.n_threads)
        ]

    def of(self, objective: Objective, params: Parameters) -> NormalEquations:
        """The sum over all rows, where `pearson` holds `PearsonSums.squares`."""
        return self._blocks.sum(partial(self._write, objective, params), self.sums)

    @beyond_range_is_inf
    def _write(
        self,
        objective: Objective,
        params: Parameters,
        block: Batch,
        thread: int,
        total: NormalEquations,
    ) -> None:
        """Write the normal equations of a block of rows to `total`.

        Parameters
        ----------
        objective : Objective
        params : Parameters
        block : Batch, the rows of the block
        thread : int, number of the calling thread
        total : NormalEquations, overwritten
        """
        network, likelihood = objective.network, objective.likelihood
        buffer, workspaces = self._of_thread[thread]
        for array in (total.loss, total.pearson, total.ratio, total.weight, total.gradient):
            array[...] = 0
        for rows in row_blocks(len(block.y), self._jacobian_rows):
            X, y, w = block.take(rows)
            n_rows, work = len(y), workspaces.of(len(y))
            f, y = forward(network, params, X, work), y.T
            w = None if w is None else w.T
            pearson = PearsonSums.of(*likelihood.pearson_terms(f, y), w)
            loss, rho, root = likelihood.residual_root(f, y)
            if w is not None:
                loss = loss * w
                rho, root = rho * np.sqrt(w), root * np.sqrt(w)
            total.loss[...] += loss.sum(axis=1)
            total.pearson[...] += pearson.squares
            total.ratio[...] += pearson.ratio
            total.weight[...] += pearson.weight
            jac_t = buffer[: network.n_params * n_rows].reshape(network.n_params, n_rows)
            for k in range(objective.n_outputs):
                seed = np.zeros_like(root)
                seed[k] = root[k]
                jacobian(network, params, X, work, seed, jac_t)
                total.gradient[k] += jac_t @ rho[k]
                # The first rows overwrite what was there.
                gram(jac_t, total.curvature[k], add=rows.start > 0)


class ValidationSet:
    """Loss without penalty, and R^2, on rows that are not trained on.

    Parameters
    ----------
    objective : Objective of the training rows, whose likelihood may follow the noise
    X, y, sample_weight : as for `Objective`, in the same coordinates
    """

    def __init__(
        self,
        objective: Objective,
        X: Rows,
        y: Array,
        sample_weight: Array | None,
    ) -> None:
        self._objective, self._X, self._y = objective, X, y
        relative = np.ones(len(y)) if sample_weight is None else sample_weight / sample_weight.max()
        self._w = (relative / relative.sum())[:, None]
        self._spread = np.sum(self._w * (y - np.sum(self._w * y, axis=0)) ** 2, axis=0)
        self._blocks = row_blocks(len(y), rows_per_block(objective.network, y.dtype))

    def evaluate(self, params: Parameters) -> tuple[float, float]:
        """Mean loss, and R^2 averaged over the outputs.

        R^2 is nan where the validation targets of an output do not vary, as with
        a single row. Both are computed in float64.
        """
        loss, squares = 0.0, np.zeros(self._y.shape[1])
        network, likelihood = self._objective.network, self._objective.likelihood.of_validation
        outputs = evaluate(network, params.coefs, params.intercepts, self._X)
        for block in self._blocks:
            f = outputs[block].astype(np.float64, copy=False).T
            y, w = self._y[block].astype(np.float64, copy=False).T, self._w[block].T
            squares += np.sum(w * (f - y) ** 2, axis=1)
            delta, scratch = np.empty_like(f), np.empty_like(f)
            loss += likelihood.loss_gradient(f, y, w, delta, scratch)
        with np.errstate(invalid="ignore", divide="ignore"):
            score = np.mean(np.where(self._spread > 0, 1 - squares / self._spread, np.nan))
        return loss, float(score)
