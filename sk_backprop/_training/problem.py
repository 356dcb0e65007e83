"""The problem of a run: checked rows, settings and starts, in the coordinates of the solver.

raw X, y, weights -> scales -> rows in the solver's coordinates (`prepare`, once for all networks).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array, SelectedRows, weighted_median
from sk_backprop._blocks.blocks import block_sum
from sk_backprop._blocks.exact import Weights as ExactWeights
from sk_backprop._blocks.exact import rounded
from sk_backprop._blocks.threads import one_blas_thread
from sk_backprop._coordinates.row_order import canonical_rows, column_ranks, row_groups
from sk_backprop._coordinates.scales import (
    MOST_IN_SAMPLE,
    Scales,
    as_units,
    divide_columns,
    largest_values,
    sampling_step,
)
from sk_backprop._inference.evidence import Precisions
from sk_backprop._inference.objective import Objective
from sk_backprop._inference.online import StreamState
from sk_backprop._network.dispersion import HeldOutNoise
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network
from sk_backprop._solvers import SOLVERS, lbfgs
from sk_backprop._solvers._base import Solver


class Data(NamedTuple):
    """Rows to learn from or to validate on.

    X : (n_samples, n_features), float32 or float64, dense, CSR or `SelectedRows`
    y : (n_samples, n_outputs), float64
    sample_weight : (n_samples,), positive, float64, or None for ones
    """

    X: Any
    y: Array
    sample_weight: Array | None = None

    @property
    def sample(self) -> "Data":
        """These rows, or every m-th of very many."""
        step = sampling_step(self.n_samples)
        return self if step == 1 else self.take(np.arange(0, self.n_samples, step))

    @property
    def in_memory(self) -> bool:
        """Whether mini-batches can be drawn."""
        return True

    @property
    def n_samples(self) -> int:
        return int(self.y.shape[0])

    @property
    def weights(self) -> Array:
        """Weights of the rows, (n_samples,)."""
        return np.ones(self.n_samples) if self.sample_weight is None else self.sample_weight

    @property
    def total_weight(self) -> float:
        return (
            float(self.n_samples) if self.sample_weight is None else block_sum(self.sample_weight)
        )

    def mean_weight(self, n_rows: int) -> float:
        """The total weight divided by `n_rows`, whatever the order of the rows."""
        if self.sample_weight is None:
            return self.n_samples / n_rows
        return rounded(ExactWeights(self.sample_weight, self.n_samples).total) / n_rows

    @property
    def n_distinct(self) -> int:
        """Number of distinct rows, on which the cost of solvers on all rows depends."""
        if self.n_samples > MOST_IN_SAMPLE:  # all are taken to be distinct
            return self.n_samples
        return int(groups_of_rows(self).max()) + 1

    def take(self, rows: Array) -> "Data":
        """The given rows."""
        w = self.sample_weight
        return Data(self.X[rows], self.y[rows], None if w is None else w[rows])

    def select(self, rows: Array) -> "Data":
        """The given rows, without a copy of a dense X."""
        w = self.sample_weight
        X = SelectedRows(self.X, rows) if isinstance(self.X, np.ndarray) else self.X[rows]
        return Data(X, self.y[rows], None if w is None else w[rows])


class SampledRows(NamedTuple):
    """Rows on an engine, in the solver's coordinates.

    sample : Data, every m-th of them, in memory
    rows : EngineRows, all of them
    """

    sample: Data
    rows: Any

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return int(self.rows.n_samples)


class Settings(NamedTuple):
    """The constructor's parameters that a run depends on, resolved.

    `solver` is a name in `SOLVERS`; `alpha` is None where the evidence
    sets the precisions; the others are as `BackpropRegressor` documents them.

    plain_steps : tuple of int, steps of lm with weak precisions before the evidence sets them; a
        network is trained with each, and the run of highest log evidence is kept
    memory : int, correction pairs that lbfgs keeps
    weight_unit : float, what the weights of the rows are divided by
    n_folds : int, number of networks, each trained without another fold; 0 to train on all rows
    local_units : bool, whether the hidden units start as steep steps at training rows, and the
        plain steps have a weak penalty instead of weak precisions
    in_trials : pairs of a name and a value, which replaces the setting of that name in trials:
        they have fewer rows, which suit smaller mini-batches and more epochs
    """

    network: Network
    likelihood: Likelihood
    solver: str
    precondition: bool
    alpha: float | None
    weight_groups: str
    plain_steps: tuple[int, ...]
    batch_size: int
    learning_rate: str
    learning_rate_init: float
    weight_decay: float
    power_t: float
    momentum: float
    nesterovs_momentum: bool
    beta_1: float
    beta_2: float
    epsilon: float
    max_iter: int
    max_fun: int
    tol: float
    n_iter_no_change: float
    shuffle: bool
    early_stopping: bool
    memory: int = lbfgs.MEMORY
    weight_unit: float = 1.0
    n_folds: int = 0
    local_units: bool = False
    in_trials: tuple[tuple[str, Any], ...] = ()

    @property
    def solver_class(self) -> type[Solver]:
        """The class of the solver, which declares its needs, abilities and cost."""
        return SOLVERS[self.solver]

    def cost(self, n_samples: int, n_iter: float | None = None) -> float:
        """Multiply-adds of training one network; see `Solver.cost`."""
        return self.solver_class.cost(self.network, n_samples, n_iter)

    @property
    def uses_blas_threads(self) -> bool:
        """As `Solver.uses_blas_threads`, for the network."""
        return self.solver_class.uses_blas_threads(self.network)


class Weights(NamedTuple):
    """Weights of MaxAbs-scaled inputs, and the scales they belong to.

    `scales` is None for weights that the user gives: they belong to the scales of the rows
    that they are trained on. `precisions` are those that the evidence found for them.
    """

    coefs: Sequence[Array]
    intercepts: Sequence[Array]
    scales: Scales | None = None
    precisions: Precisions | None = None


class Start(NamedTuple):
    """Where the run of a network starts.

    weights : Weights, or None to draw them
    stream : StreamState, statistics of the earlier batches of a stream; None in a fit
    """

    weights: Weights | None = None
    stream: StreamState | None = None


class Problem(NamedTuple):
    """Rows in the solver's coordinates, and the scales that led there.

    rows : Data
    validation : Data or SampledRows, or None
    dtype : of the fitted weights: that of the user's X, or float64 where needed
    groups : (n_samples,) int, the distinct row that each row equals, or None where all differ
    column_ranks : (n_features,) int, see `row_order.column_ranks`
    noise : HeldOutNoise, or None where it was not estimated on held-out rows
    by_value : bool, whether the rows are in the order of `row_order.canonical_rows`
    engine_rows : EngineRows, all rows on an engine, `rows` being every m-th of them; None
        where `rows` are all
    """

    scales: Scales
    rows: Data
    validation: Data | SampledRows | None
    dtype: Any
    groups: Array | None
    column_ranks: Array
    noise: HeldOutNoise | None = None
    by_value: bool = False
    engine_rows: Any = None

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return int((self.engine_rows or self.rows).n_samples)

    @property
    def total_weight(self) -> float:
        """Total weight of the rows."""
        return float((self.engine_rows or self.rows).total_weight)

    @property
    def n_distinct(self) -> int:
        """Number of distinct rows."""
        return self.n_samples if self.groups is None else int(self.groups.max()) + 1

    @property
    def sample(self) -> Self:
        """These rows, or every m-th of very many, in memory."""
        if self.engine_rows is not None:
            return self._replace(engine_rows=None)
        return self._replace(rows=self.rows.sample) if self.by_value else self

    def objective(
        self,
        network: Network,
        likelihood: Likelihood,
        alpha: float,
        penalty_weight: float | None = None,
    ) -> Objective:
        """The objective of all rows.

        Parameters
        ----------
        network : Network, in the solver's coordinates; likelihood : Likelihood
        alpha, penalty_weight : as for `Objective`
        """
        if self.engine_rows is not None:
            assert penalty_weight is None  # streams are in memory
            found: Objective
            found = self.engine_rows.objective(network, likelihood, self.rows, alpha)
            return found
        return Objective(network, likelihood, *self.rows, alpha, penalty_weight)

    @property
    def has_density(self) -> bool:
        """Whether no target has one value in most of the rows.

        Otherwise no bound keeps the likelihood of a network that predicts it from growing.
        """
        y, w = self.rows.y, self.rows.weights
        middle = [weighted_median(column, w) for column in y.T]
        return bool(np.all(w @ (y == middle) <= 0.5 * w.sum()))

    def in_unit(self, weight_unit: float) -> Self:
        """The same rows, with their weights divided by `weight_unit`."""
        weights, engine_rows = self.rows.sample_weight, self.engine_rows
        if weight_unit == 1 or weights is None:
            return self
        rows = self.rows._replace(sample_weight=unless_ones(weights / weight_unit))
        if engine_rows is not None:
            engine_rows = engine_rows.in_unit(weight_unit)
        return self._replace(rows=rows, engine_rows=engine_rows)

    def in_precision_of(self, settings: Settings) -> Self:
        """The same rows, in the precision in which a solver computes."""
        rows = self.rows
        within = _precision(settings, rows.n_samples, rows.X.dtype)
        if rows.X.dtype == within:
            return self
        engine_rows = None if self.engine_rows is None else self.engine_rows.astype(within)
        rows = rows._replace(X=rows.X.astype(within), y=rows.y.astype(within))
        return self._replace(rows=rows, engine_rows=engine_rows)

    @property
    def n_counted(self) -> float:
        """Number of distinct rows, or their total weight where that is less."""
        return min(float(self.n_distinct), self.total_weight)


def unless_ones(weights: Array) -> Array | None:
    """The weights, or None if all are 1 but for rounding."""
    return None if np.allclose(weights, 1, rtol=1e-12, atol=0) else weights


@one_blas_thread()  # with two, BLAS adds up in another order
def prepare(
    settings: Settings,
    data: Data,
    validation: Data | None,
    seen: Scales | None = None,
    *,
    streaming: bool = False,
) -> Problem:
    """Fit the scales, and put the rows into the solver's coordinates.

    Parameters
    ----------
    settings : Settings
    data, validation : Data, raw; validation may be None
    seen : Scales of earlier batches, which those of `data` extend, or None
    streaming : bool, whether `data` are a batch of a stream
    """
    x_max, order, y, w = None, None, data.y, data.sample_weight
    if settings.solver_class.all_rows:
        x_max = largest_values(data.X)
        order, w = canonical_rows(data.X, as_units(x_max), _scaled_target(data), w)
        y = y[order]
    scales = Scales.fit(
        data.X,
        y,
        w,
        precondition=settings.precondition,
        likelihood=settings.likelihood,
        x_max=x_max,
        seen=seen,
        order=order,
    )
    dtype, within = working_dtype(settings, scales, data.X, len(y))
    y = scales.target(y, within)  # before X is copied, as it may take much memory
    rows = Data(scales.input(data.X, within, order), y, w)
    if validation is not None:
        X_val, y_val = scales.input(validation.X, dtype), scales.target(validation.y, dtype)
        validation = Data(X_val, y_val, validation.sample_weight)
    n_features, groups = len(scales.x.mean), None
    ranks = np.arange(n_features)
    if seen is None:  # initial weights will be drawn
        ranks = column_ranks(rows.X, rows.y, w, n_features)
    if order is None and not streaming:
        groups = groups_of_rows(data)
        groups = None if len(groups) == groups.max() + 1 else groups
    return Problem(scales, rows, validation, dtype, groups, ranks, by_value=order is not None)


def working_dtype(settings: Settings, scales: Scales, X: Any, n_samples: int) -> tuple[Any, Any]:
    """The dtypes of the fitted weights, and of the rows in the solver's coordinates.

    settings : Settings; scales : Scales; X : some of the rows, raw; n_samples : int
    """
    dtype = np.result_type(X.dtype, np.float64) if scales.far_from_zero else X.dtype
    within = _precision(settings, n_samples, dtype)
    if scales.far_from_zero and not isinstance(X, np.ndarray):
        within = np.dtype(np.float64)  # the mean is subtracted from products, not from X
    return dtype, within


def _precision(settings: Settings, n_samples: int, dtype: Any) -> Any:
    """The dtype that a solver computes in.

    The noise of mini-batches is many times the rounding error of float32, which is twice as fast;
    only the initial weights keep the precision of X (`Monitor.rounded_from`). All rows at once
    have no such noise, and the textbook's steps (precondition=False) keep that of X throughout.

    settings : Settings; n_samples : int; dtype : of X
    """
    solver = settings.solver_class
    if solver.float64:
        return np.dtype(np.float64)
    mini_batches = not solver.all_rows and settings.batch_size < n_samples
    if mini_batches and settings.precondition:
        return np.dtype(np.float32)
    return dtype


def groups_of_rows(data: Data) -> Array:
    """Index of the distinct row that each row equals, ordered by values: (n_samples,)."""
    return row_groups(data.X, as_units(largest_values(data.X)), _scaled_target(data))


def _scaled_target(data: Data) -> Array:
    return np.asarray(divide_columns(data.y, as_units(np.abs(data.y).max(axis=0))))
