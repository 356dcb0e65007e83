"""Sums over rows: the loss of a network, its gradient, its curvature, and Pearson's statistic.

Each is a sum over blocks of rows, by one binary tree (`_blocks.blocks`). `RowSums` computes them
where the rows are: all of them, or a part, whose sums are nodes of the tree of all rows. They are
without penalty.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array, row_blocks
from sk_backprop._blocks.blocks import (
    Batch,
    Node,
    RowBlocks,
    Sums,
    joined,
    leaves,
    power_of_two,
    total_of,
)
from sk_backprop._blocks.linalg import gram
from sk_backprop._blocks.threads import cached_property
from sk_backprop._network.dispersion import PearsonSums
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import (
    Network,
    Parameters,
    Workspace,
    backward,
    forward,
    jacobian,
    rows_per_block,
    workspaces,
)

# Bytes of the part of the Jacobian that is formed at once, and its smallest number of rows. Between
# calls, threads wait for the interpreter's lock: with 141 parameters, 16,384 rows took 14.6, 14.1,
# 12.6 and 11.3 ms in one thread, and 24, 12, 8.4 and 6.0 ms for each of two threads, in parts of
# 256, 512, 1,024 and 2,048 rows. With 571 parameters, more than 1,024 rows (4.7 MB) gained nothing.
_JACOBIAN_BYTES, _LEAST_ROWS = 2**22, 128

# Minimum n_samples * n_params for threads to share the blocks: about 1 ms of work, and handing it
# over takes 0.05 ms. For the normal equations, n_samples * n_params^2.
_LEAST_SHARED, _LEAST_SHARED_EQUATIONS = 1e6, 5e7

# Rows of a block of normal equations, a leaf of the tree of sums. With 551 parameters, adding two
# nodes takes 1 ms and the products of 2,048 rows 15.
EQUATION_ROWS = 2**11


class NormalEquations(NamedTuple):
    """Sums over all rows, for each output k separately, without penalty.

    loss : (n_outputs,), sum_i w_i loss(y_ik, f_k(x_i))
    pearson : (n_outputs,), Pearson's statistic
    density_weight : (n_outputs,), total weight of the rows whose y has a density
    gradient : (n_outputs, n_params), J_k^T rho_k
    curvature : (n_outputs, n_params, n_params), J_k^T J_k; only the lower triangles are set, and
        each is Fortran-contiguous
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


# The arrays of a sum; sums are added up array by array.
Arrays = tuple[Array, ...]


def add_arrays(first: Arrays, second: Arrays) -> Arrays:
    """Add each array of `second` to that of `first`, in place, and return `first`."""
    for total, array in zip(first, second):
        total += array
    return first


def added(first: Arrays, second: Arrays) -> Arrays:
    """The same as new arrays: the result of a task may be used again."""
    return tuple(a + b for a, b in zip(first, second, strict=True))


class RowSums:
    """Sums over rows that are in memory: all rows, or a part of them.

    Parameters
    ----------
    network : Network
    rows : Batch, in the solver's coordinates; the weights of all rows have the mean 1
    n_samples : int or None, number of all rows, if these are a part of them
    block_rows, equation_rows : int, powers of two
        Rows per block, for all sums but the normal equations, and for these; by default
        `block_rows` depends on the size of the network.
    first_row : int, as for `RowBlocks`, a multiple of both
    n_threads : int or None, as for `RowBlocks`
    """

    def __init__(
        self,
        network: Network,
        rows: Batch,
        n_samples: int | None = None,
        *,
        block_rows: int | None = None,
        equation_rows: int = EQUATION_ROWS,
        first_row: int = 0,
        n_threads: int | None = None,
    ) -> None:
        self.network, self._rows = network, rows
        self._place: dict[str, Any] = {"first_row": first_row, "n_threads": n_threads}
        self.n_samples = len(rows.y) if n_samples is None else n_samples
        self.dtype, self.n_outputs = rows.y.dtype, rows.y.shape[1]
        if block_rows is None:
            dense = isinstance(rows.X, np.ndarray)
            block_rows = rows_of_block(network, self.dtype, self.n_samples, dense=dense)
        shared = self.n_samples * network.n_params >= _LEAST_SHARED
        self._blocks = RowBlocks(rows, block_rows, shared=shared, **self._place)
        # One for each thread.
        self._workspaces = [workspaces(network, self.dtype) for _ in range(self._blocks.n_threads)]
        # Not a method: in a circle of references, the arrays would outlive their last use.
        self._gradients = Sums(partial(_new_gradient, network, self.dtype), _add_gradient)
        self._equation_rows = equation_rows

    # --- loss and gradient ---

    def gradient(self, likelihood: Likelihood, params: Parameters, grad: Parameters) -> float:
        """The sum of the losses divided by `n_samples`; its gradient is written to `grad`."""
        if len(self._blocks.blocks) == 1:
            work = self._workspaces[0](len(self._rows.y))
            return mean_loss_gradient(likelihood, params, self._rows, self.n_samples, grad, work)
        found = total_of(self._gradient(likelihood, params), self._gradients.add)
        grad.flat[...] = found.grad.flat
        loss = float(found.loss[0])
        self._gradients.release(found)
        return loss

    def gradient_nodes(self, likelihood: Likelihood, params: Parameters) -> list[Node[Arrays]]:
        """Loss, (1,), and gradient, (n_params,), as nodes of the tree of all rows."""
        nodes = self._gradient(likelihood, params)
        return [one.holding((one.total.loss, one.total.grad.flat)) for one in nodes]

    def _gradient(self, likelihood: Likelihood, params: Parameters) -> "list[Node[_GradientSum]]":
        def write(block: Batch, thread: int, total: _GradientSum) -> None:
            work, n_rows = self._workspaces[thread](len(block.y)), self.n_samples
            total.loss[0] = mean_loss_gradient(likelihood, params, block, n_rows, total.grad, work)

        return self._blocks.nodes(write, self._gradients)

    # --- statistics of the outputs ---

    def losses(self, likelihood: Likelihood, params: Parameters) -> Arrays:
        """Sum of the losses of each output, ((n_outputs,),)."""
        return total_of(self.losses_nodes(likelihood, params), add_arrays)

    def losses_nodes(self, likelihood: Likelihood, params: Parameters) -> list[Node[Arrays]]:
        """As `losses`, as nodes of the tree of all rows."""

        def of_block(f: Array, y: Array, w: Array | None) -> Arrays:
            loss, _, _ = likelihood.residual_root(f, y)
            return (np.asarray((loss if w is None else loss * w).sum(axis=1)),)

        return self._nodes_of_outputs(of_block, params)

    def pearson(self, likelihood: Likelihood, params: Parameters) -> Arrays:
        """Squares, ratio and weight, (1,), of `PearsonSums`."""
        return total_of(self.pearson_nodes(likelihood, params), add_arrays)

    def pearson_nodes(self, likelihood: Likelihood, params: Parameters) -> list[Node[Arrays]]:
        """As `pearson`, as nodes of the tree of all rows."""

        def of_block(f: Array, y: Array, w: Array | None) -> Arrays:
            sums = PearsonSums.of(*likelihood.pearson_terms(f, y), w)
            return sums.squares, sums.ratio, np.array([sums.weight])

        return self._nodes_of_outputs(of_block, params)

    def _nodes_of_outputs(
        self, of_block: Callable[[Array, Array, Array | None], Arrays], params: Parameters
    ) -> list[Node[Arrays]]:
        """Sums over rows of what depends on the outputs alone, as nodes.

        of_block : callable of outputs, targets, (n_outputs, n_rows), and weights, (1, n_rows)
        params : Parameters
        """

        def part(block: slice) -> Arrays:
            X, y, w = self._rows.take(block)
            f = forward(self.network, params, X, self._workspaces[0](len(y)))
            return of_block(f, y.T, None if w is None else w.T)

        parts = map(part, self._blocks.blocks)
        return joined(leaves(parts, self._blocks.first), add_arrays)

    # --- normal equations ---

    def equations(self, likelihood: Likelihood, params: Parameters) -> NormalEquations:
        """The normal equations, where `pearson` holds `PearsonSums.squares`.

        Pass them to `release` when they are no longer needed.
        """
        return total_of(self._equations.nodes(likelihood, params), self._equations.sums.add)

    def equations_nodes(self, likelihood: Likelihood, params: Parameters) -> list[Node[Arrays]]:
        """As `equations`, as nodes of the tree of all rows."""
        nodes = self._equations.nodes(likelihood, params)
        return [one.holding(tuple(one.total)) for one in nodes]

    def release(self, found: NormalEquations) -> None:
        """Release the arrays of normal equations for reuse."""
        self._equations.sums.release(found)

    @cached_property
    def _equations(self) -> "_Equations":
        shared = self.n_samples * self.network.n_params**2 >= _LEAST_SHARED_EQUATIONS
        blocks = RowBlocks(self._rows, self._equation_rows, shared=shared, **self._place)
        return _Equations(self.network, blocks, self.n_samples)

    # --- some of the rows ---

    def sample(self, step: int) -> Batch:
        """Views of every `step`-th row."""
        return self._rows.take(slice(0, len(self._rows.y), step))


class _GradientSum(NamedTuple):
    """Loss, (1,), and its gradient over some rows."""

    loss: Array
    grad: Parameters


def _new_gradient(network: Network, dtype: Any) -> _GradientSum:
    flat = np.empty(network.n_params, dtype)
    return _GradientSum(np.zeros(1), network.parameters(flat))


def _add_gradient(first: _GradientSum, second: _GradientSum) -> None:
    add_arrays((first.loss, first.grad.flat), (second.loss, second.grad.flat))


def rows_of_block(network: Network, dtype: Any, n_samples: int, *, dense: bool) -> int:
    """Rows per block of all sums but the normal equations: a power of two.

    network : Network; dtype : of the rows; n_samples : int, of all rows
    dense : bool, whether X is dense
    """
    shared = n_samples * network.n_params >= _LEAST_SHARED
    fits = rows_per_block(network, dtype, dense=dense, shared_by_threads=shared)
    return _nearest_power_of_two(fits)


def _nearest_power_of_two(n_rows: float) -> int:
    """The nearest one by ratio."""
    return power_of_two(int(1.4 * n_rows))


def mean_loss_gradient(
    likelihood: Likelihood,
    params: Parameters,
    batch: Batch,
    n_rows: int,
    grad: Parameters,
    work: Workspace,
) -> float:
    """Loss of the batch divided by `n_rows`, without penalty, and its gradient.

    Parameters
    ----------
    likelihood : Likelihood
    params : Parameters
    batch : Batch
    n_rows : int
    grad : Parameters, overwritten with the gradient
    work : Workspace, for the number of rows of the batch
    """
    X, y, w = batch
    delta = work.delta[-1]
    f = forward(work.network, params, X, work)
    w_t = None if w is None else w.T
    loss = likelihood.loss_gradient(f, y.T, w_t, delta, work.scratch[-1])
    delta /= n_rows
    backward(work.network, params, X, work, grad)
    return loss / n_rows


class _Equations:
    """The normal equations, as a sum over blocks of rows."""

    def __init__(self, network: Network, blocks: RowBlocks, n_samples: int) -> None:
        self._blocks, y = blocks, blocks.rows.y
        n_outputs = y.shape[1]
        self.sums: Sums[NormalEquations] = Sums(
            lambda: NormalEquations.zeros(n_outputs, network.n_params), add_arrays
        )
        # J is formed for some rows at a time.
        rows_at_once = _nearest_power_of_two(_JACOBIAN_BYTES / (8 * network.n_params))
        self._network = network
        self._jacobian_rows = min(max(rows_at_once, _LEAST_ROWS), EQUATION_ROWS, n_samples)
        self._of_thread = [
            (np.empty(network.n_params * self._jacobian_rows), workspaces(network, y.dtype))
            for _ in range(blocks.n_threads)
        ]

    def nodes(self, likelihood: Likelihood, params: Parameters) -> list[Node[NormalEquations]]:
        """The sums as nodes of the tree of all rows."""
        network = self._network

        def write(block: Batch, thread: int, total: NormalEquations) -> None:
            buffer, workspace = self._of_thread[thread]
            for array in (total.loss, total.pearson, total.ratio, total.weight, total.gradient):
                array[...] = 0
            for rows in row_blocks(len(block.y), self._jacobian_rows):
                X, y, w = block.take(rows)
                n_rows, work = len(y), workspace(len(y))
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
                for k in range(len(total.loss)):
                    seed = np.zeros_like(root)
                    seed[k] = root[k]
                    jacobian(network, params, X, work, seed, jac_t)
                    total.gradient[k] += jac_t @ rho[k]
                    # The first rows overwrite what was there.
                    gram(jac_t, total.curvature[k], add=rows.start > 0)

        return self._blocks.nodes(write, self.sums)
