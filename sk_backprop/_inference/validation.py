"""Loss and R^2 on rows that are not trained on, as sums by the tree of `_blocks.blocks`."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from sk_backprop._blocks.arrays import Array, Rows, row_blocks
from sk_backprop._blocks.blocks import STATISTICS_ROWS, Batch, Node, joined, leaves, total_of
from sk_backprop._inference.objective import Objective, relative_weights
from sk_backprop._inference.row_sums import Arrays, added
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network, Parameters, evaluate


class ValidationRows(Protocol):
    """Rows in the solver's coordinates, wherever they are."""

    def total(self, function: Callable[..., list[Node[Arrays]]], *args: Any) -> Arrays:
        """The sum over all rows of what a function returns for some of them.

        function : callable of a Batch, whose weights sum to 1 over all rows, of the number of its
            first row, and of `args`; it returns nodes of one tree
        """


class RowsInMemory:
    """As `ValidationRows`.

    X, y, sample_weight : as for `Objective`
    """

    def __init__(self, X: Rows, y: Array, sample_weight: Array | None) -> None:
        relative, _ = relative_weights(sample_weight, len(y))
        share = np.ones(len(y)) if relative is None else relative
        self._rows = Batch(X, y, (share / len(y))[:, None])

    def total(self, function: Callable[..., list[Node[Arrays]]], *args: Any) -> Arrays:
        """As for `ValidationRows`."""
        return total_of(function(self._rows, 0, *args), added)


class ValidationSet:
    """Loss without penalty, and R^2, on rows that are not trained on.

    objective : Objective of the training rows, whose likelihood may follow the noise
    rows : ValidationRows
    """

    def __init__(self, objective: Objective, rows: ValidationRows) -> None:
        self._objective, self._rows = objective, rows
        (mean,) = rows.total(_means)
        (self._spread,) = rows.total(_squares, mean)

    def evaluate(self, params: Parameters) -> tuple[float, float]:
        """Mean loss, and R^2 averaged over the outputs.

        R^2 is nan where the validation targets of an output do not vary, as with
        a single row. Both are computed in float64.
        """
        network, likelihood = self._objective.network, self._objective.likelihood.of_validation
        loss, squares = self._rows.total(_losses, network, likelihood, params.flat)
        with np.errstate(invalid="ignore", divide="ignore"):
            score = np.mean(np.where(self._spread > 0, 1 - squares / self._spread, np.nan))
        return float(loss[0]), float(score)


def _nodes(
    rows: Batch, first_row: int, of_block: Callable[[Rows, Array, Array], Arrays]
) -> list[Node[Arrays]]:
    """Sums over blocks as nodes.

    Parameters
    ----------
    rows : Batch; first_row : int, number of its first row
    of_block : callable of X, y and w, (n_outputs, n_rows) and (1, n_rows), in float64
    """

    def part(block: slice) -> Arrays:
        X, y, w = rows.take(block)
        assert w is not None
        return of_block(X, y.T.astype(np.float64, copy=False), w.T)

    parts = map(part, row_blocks(len(rows.y), STATISTICS_ROWS))
    return joined(leaves(parts, first_row // STATISTICS_ROWS), added)


def _means(rows: Batch, first_row: int) -> list[Node[Arrays]]:
    return _nodes(rows, first_row, lambda X, y, w: (np.sum(w * y, axis=1),))


def _squares(rows: Batch, first_row: int, mean: Array) -> list[Node[Arrays]]:
    """Squares around the mean, (n_outputs,)."""
    return _nodes(rows, first_row, lambda X, y, w: (np.sum(w * (y - mean[:, None]) ** 2, axis=1),))


def _losses(
    rows: Batch, first_row: int, network: Network, likelihood: Likelihood, theta: Array
) -> list[Node[Arrays]]:
    """Losses, (1,), and squared errors, (n_outputs,).

    Parameters
    ----------
    rows : Batch; first_row : int
    network : Network; likelihood : Likelihood; theta : (n_params,)
    """
    params = network.parameters(theta)

    def of_block(X: Rows, y: Array, w: Array) -> Arrays:
        f = evaluate(network, params.coefs, params.intercepts, X).astype(np.float64, copy=False).T
        delta, scratch = np.empty_like(f), np.empty_like(f)
        squares = np.sum(w * (f - y) ** 2, axis=1)
        return np.array([likelihood.loss_gradient(f, y, w, delta, scratch)]), squares

    return _nodes(rows, first_row, of_block)
