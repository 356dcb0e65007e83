"""The sums of `row_sums` over rows on an engine: tasks return nodes of one tree."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.linalg.lapack import dtpttr, dtrttp

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.blocks import Batch, Node, joined, total_of
from sk_backprop._blocks.engine import Engine, reduced
from sk_backprop._blocks.threads import one_blas_thread
from sk_backprop._inference.row_sums import EQUATION_ROWS, Arrays, NormalEquations, RowSums, added
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network, Parameters

# Normal equations that one task adds up: they are large. All other sums go to the client at once.
_FAN_IN = 8


class Part(NamedTuple):
    """Neighbouring rows on an engine.

    rows : handle of a Batch in the solver's coordinates, or of raw rows, with weights as given
    first_row : int; n_rows : int
    """

    rows: Any
    first_row: int
    n_rows: int


class WeightUnit(NamedTuple):
    """What weights are divided by for a mean of 1: the largest, and then the mean of these.

    largest : float; total, mean : float, of the weights divided by the largest
    """

    largest: float
    total: float
    mean: float


class EngineSums:
    """Sums over rows on an engine, with the methods and attributes of `RowSums`.

    Parameters
    ----------
    engine : Engine
    parts : list of Part, in the order of the rows; all but the last end at a multiple of the rows
        of any block
    network : Network
    sample : Batch, one row or more, for their types and the number of outputs
    unit : WeightUnit, or None where the rows have no weights
    block_rows : (int or None, int), `block_rows` and `equation_rows` of `RowSums`
    """

    def __init__(
        self,
        engine: Engine,
        parts: Sequence[Part],
        network: Network,
        sample: Batch,
        unit: WeightUnit | None,
        block_rows: tuple[int | None, int] = (None, EQUATION_ROWS),
    ) -> None:
        self._engine, self._parts, self._network, self._unit = engine, parts, network, unit
        self._block_rows = block_rows
        self.n_samples = sum(part.n_rows for part in parts)
        self.n_outputs, self.dtype = sample.y.shape[1], sample.y.dtype
        self._samples: dict[int, Batch] = {}

    def gradient(self, likelihood: Likelihood, params: Parameters, grad: Parameters) -> float:
        """As for `RowSums`."""
        loss, gradient = self._sum("gradient", likelihood, params)
        grad.flat[...] = gradient
        return float(loss[0])

    def losses(self, likelihood: Likelihood, params: Parameters) -> Arrays:
        """As for `RowSums`."""
        return self._sum("losses", likelihood, params)

    def pearson(self, likelihood: Likelihood, params: Parameters) -> Arrays:
        """As for `RowSums`."""
        return self._sum("pearson", likelihood, params)

    def equations(self, likelihood: Likelihood, params: Parameters) -> NormalEquations:
        """As for `RowSums`."""
        found = NormalEquations(*self._sum("equations", likelihood, params, _FAN_IN))
        n_params = self._network.n_params
        curvature = np.empty((self.n_outputs, n_params, n_params)).transpose(0, 2, 1)
        for k, packed in enumerate(found.curvature):
            curvature[k] = dtpttr(n_params, packed, uplo="L")[0]
        return found._replace(curvature=curvature)

    def release(self, found: NormalEquations) -> None:
        """As for `RowSums`: nothing is kept for reuse."""

    def sample(self, step: int) -> Batch:
        """Every `step`-th row, weights as for `RowSums`."""
        if step not in self._samples:
            handles = [
                self._engine.submit(_sample, part.rows, self._unit, -part.first_row % step, step)
                for part in self._parts
            ]
            self._samples[step] = Batch(*concatenated(self._engine.gather(handles)))
        return self._samples[step]

    def _sum(
        self, kind: str, likelihood: Likelihood, params: Parameters, fan_in: int | None = None
    ) -> Arrays:
        """The sum over all rows.

        Parameters
        ----------
        kind : str, `RowSums` has a method ``{kind}_nodes``
        likelihood : Likelihood; params : Parameters
        fan_in : int or None, as for `reduced`
        """
        block_rows, equation_rows = self._block_rows
        sums_of = partial(
            RowSums,
            self._network,
            n_samples=self.n_samples,
            block_rows=block_rows,
            equation_rows=equation_rows,
            n_threads=self._engine.threads_of_task(len(self._parts)),
        )
        handles = [
            self._engine.submit(
                _nodes,
                kind,
                part.rows,
                self._unit,
                partial(sums_of, first_row=part.first_row),
                likelihood,
                params.flat,
            )
            for part in self._parts
        ]
        return total_of(reduced(self._engine, handles, merged_nodes, fan_in), added)


def concatenated(
    parts: Sequence[tuple[Any, Array, Array | None]],
) -> tuple[Any, Array, Array | None]:
    """X, y and weights of parts below each other; their X are dense, CSR or centred CSR."""
    X, y, w = zip(*parts, strict=True)
    return stacked(X), np.concatenate(y), None if w[0] is None else np.concatenate(w)


def stacked(rows: Sequence[Any]) -> Any:
    """Rows below each other: dense, CSR or `CentredSparse`."""
    if isinstance(rows[0], np.ndarray):
        return np.concatenate(rows)
    return sp.vstack(rows, format="csr") if sp.issparse(rows[0]) else type(rows[0]).vstack(rows)


def merged_nodes(lists: list[list[Node[Arrays]]]) -> list[Node[Arrays]]:
    """Nodes of neighbouring parts, with siblings added up."""
    return joined(chain.from_iterable(lists), added)


def weighted(rows: Batch, unit: WeightUnit | None) -> Batch:
    """The rows with weights that have a mean of 1 over all rows."""
    if unit is None or rows.w is None:
        return rows
    w = rows.w.astype(float) / unit.largest / unit.mean
    return rows._replace(w=w.astype(rows.y.dtype))


# --- tasks ---


def _sample(rows: Batch, unit: WeightUnit | None, first: int, step: int) -> Batch:
    X, y, w = weighted(rows.take(slice(first, len(rows.y), step)), unit)
    # Copies, since views would keep, and send, all rows.
    dense = isinstance(X, np.ndarray)
    return Batch(np.array(X) if dense else X, y.copy(), None if w is None else w.copy())


def _nodes(
    kind: str,
    rows: Batch,
    unit: WeightUnit | None,
    sums_of: Callable[[Batch], RowSums],
    likelihood: Likelihood,
    theta: Array,
) -> list[Node[Arrays]]:
    """Sums over the rows of a part.

    Parameters
    ----------
    kind : str, as for `EngineSums._sum`
    rows : Batch; unit : WeightUnit or None
    sums_of : callable that makes the sums over rows with weights in this unit
    likelihood : Likelihood
    theta : (n_params,)
    """
    with one_blas_thread():  # with two, BLAS adds up in another order
        sums = sums_of(weighted(rows, unit))
        nodes = getattr(sums, f"{kind}_nodes")(likelihood, sums.network.parameters(theta.copy()))
    if kind != "equations":
        return list(nodes)
    return [one.holding(tuple(_packed(NormalEquations(*one.total)))) for one in nodes]


def _packed(found: NormalEquations) -> NormalEquations:
    """The same sums with the lower triangles of the curvatures alone."""
    triangles = [dtrttp(one, uplo="L")[0] for one in found.curvature]
    return found._replace(curvature=np.array(triangles))
