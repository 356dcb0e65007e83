"""One training run: raw arrays in, fitted weights and scales out.

raw X, y, weights -> scales -> an objective in the solver's coordinates -> a solver
-> weights folded back. Nothing here knows of an estimator, draws a warning, or
changes what it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sk_backprop._network import Array, Network, Parameters, glorot_bound, lecun_bound
from sk_backprop._objective import Objective, ValidationSet
from sk_backprop._rows import canonical_rows
from sk_backprop._scaling import Scales, carry_over, divide_columns, fit_max_abs
from sk_backprop._solvers import lbfgs, stochastic
from sk_backprop._solvers._result import Monitor, SolverResult


@dataclass(frozen=True)
class Data:
    """Rows to learn from or to validate on.

    X : (n_samples, n_features), float32 or float64, dense or CSR
    y : (n_samples, n_outputs), float64
    sample_weight : (n_samples,), positive, float64, or None for ones
    """

    X: Any
    y: Array
    sample_weight: Array | None = None

    @property
    def n_samples(self) -> int:
        return int(self.y.shape[0])

    def take(self, rows: Array) -> Data:
        """The given rows."""
        w = self.sample_weight
        return Data(self.X[rows], self.y[rows], None if w is None else w[rows])


@dataclass(frozen=True)
class Settings:
    """The constructor's parameters that a run depends on, resolved.

    `solver` is 'sgd', 'adam' or 'lbfgs', `batch_size` and `verbose` are ints; the
    others are as `BackpropRegressor` documents them.
    """

    network: Network
    loss: str
    solver: str
    precondition: bool
    alpha: float
    batch_size: int
    learning_rate: str
    learning_rate_init: float
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
    verbose: int


@dataclass(frozen=True)
class Weights:
    """Weights of MaxAbs-scaled inputs, and the scales they belong to.

    scales is None for weights that the user gives: they belong to the scales of
    whatever they are trained on.
    """

    coefs: Sequence[Array]
    intercepts: Sequence[Array]
    scales: Scales | None = None


@dataclass(frozen=True)
class StreamState:
    """What a batch of a stream goes on from, beside weights and scales.

    n_seen : int, samples seen before
    optimizer : dict or None, what the optimizer's `state` gave after the last batch
    """

    n_seen: int
    optimizer: dict[str, Any] | None


@dataclass(frozen=True)
class Trained:
    """The end of a run: the fitted function, and the solver's account of it."""

    coefs: list[Array]
    intercepts: list[Array]
    scales: Scales
    solver: str
    result: SolverResult


# n_samples * n_params up to which solver='auto' takes all rows at once: a run of 4 s on
# the UCI protein set with 50 units (2.3e7, one thread). Which solver errs less below it
# depends on the data (benchmarks/defaults.csv): RMSE in standard deviations of y is
# 0.044 by lbfgs and 0.070 by adam on naval, 0.763 and 0.746 on protein.
_LBFGS_LIMIT = 2.5e7


def choose_solver(n_samples: int, n_params: int) -> str:
    """What solver='auto' stands for."""
    return "lbfgs" if n_samples * n_params <= _LBFGS_LIMIT else "adam"


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def train(
    settings: Settings,
    data: Data,
    validation: Data | None,
    start: Weights | None,
    rng: np.random.RandomState,
    *,
    stream: StreamState | None = None,
) -> Trained:
    """Train a network on `data`.

    Floating-point warnings are off: what overflows shows in the loss and ends the run.

    Parameters
    ----------
    start : Weights or None
        What to go on from; None draws initial weights from `rng`, before
        anything else is drawn.
    stream : StreamState or None
        If given, `data` is the next batch of a stream: the scales of `start` grow
        with it, and one pass is made.
    """
    network = settings.network
    scaler = None
    if settings.solver == "lbfgs":
        scaler = fit_max_abs(data.X)
        data = _canonical(data, scaler.scale_)
    scales = Scales.fit(
        data.X,
        data.y,
        data.sample_weight,
        precondition=settings.precondition,
        out_activation=network.output_activation,
        scaler=scaler,
        seen=None if stream is None or start is None else start.scales,
    )
    solver_network = scales.solver_network(network)
    dtype = data.X.dtype
    if start is None:
        params = _random_start(network, scales, rng, dtype)
        scales.settle(params, more_to_come=stream is not None)
    else:
        params = _continued_start(network, scales, start, dtype)
    objective = Objective(
        solver_network,
        settings.loss,
        scales.input(data.X),
        scales.target(data.y, dtype),
        data.sample_weight,
        settings.alpha,
        penalty_weight=None if stream is None else scales.x.weight,
    )
    monitor = Monitor(
        params,
        tol=settings.tol,
        n_iter_no_change=settings.n_iter_no_change,
        validation=None
        if validation is None
        else ValidationSet(
            solver_network,
            settings.loss,
            scales.input(validation.X),
            scales.target(validation.y, dtype),
            validation.sample_weight,
        ),
        early_stopping=settings.early_stopping,
        verbose=settings.verbose,
    )
    result = _solve(settings, objective, params, monitor, rng, stream)
    coefs, intercepts = scales.fold(network, solver_network.parameters(result.theta))
    if result.best_iter == 0:  # ended before any iteration had told the loss
        kept = objective.parameters(result.theta)
        result.loss = objective.loss_gradient(kept, objective.parameters(result.theta))
    return Trained(coefs, intercepts, scales, settings.solver, result)


def _canonical(data: Data, x_scale: Array) -> Data:
    """The same rows, equal ones merged, in an order that is theirs and not the table's."""
    y_scale = np.abs(data.y).max(axis=0)
    rows, weights = canonical_rows(
        divide_columns(data.X, x_scale),
        data.y / np.where(y_scale > 0, y_scale, 1.0),
        data.sample_weight,
    )
    return Data(data.X[rows], data.y[rows], weights)


def _random_start(
    network: Network, scales: Scales, rng: np.random.RandomState, dtype: Any
) -> Parameters:
    # Glorot's bound leaves tanh units almost linear where there are few inputs:
    # from it, a fit to a sine of one input ended on its first plateau.
    bound = lecun_bound if scales.precondition else glorot_bound(network.activation)
    return scales.solver_network(network).initial_parameters(rng, dtype, bound)


def _continued_start(network: Network, scales: Scales, start: Weights, dtype: Any) -> Parameters:
    coefs, intercepts = start.coefs, start.intercepts
    if start.scales is not None:
        coefs, intercepts = carry_over(coefs, intercepts, start.scales, scales)
    return scales.unfold(network, coefs, intercepts, dtype)


def _solve(
    settings: Settings,
    objective: Objective,
    params: Parameters,
    monitor: Monitor,
    rng: np.random.RandomState,
    stream: StreamState | None,
) -> SolverResult:
    if settings.solver == "lbfgs":
        return lbfgs.minimize(
            objective, params, monitor, max_iter=settings.max_iter, max_fun=settings.max_fun
        )
    optimizer = _optimizer(settings, objective.network.n_params, objective.dtype)
    if stream is not None and stream.optimizer is not None:
        optimizer.restore(stream.optimizer)
    return stochastic.minimize(
        objective,
        params,
        optimizer,
        monitor,
        batch_size=min(settings.batch_size, objective.n_samples),
        max_iter=1 if stream is not None else settings.max_iter,
        permutation=rng.permutation if settings.shuffle else None,
        n_seen=0 if stream is None else stream.n_seen,
    )


def _optimizer(settings: Settings, n_params: int, dtype: Any) -> stochastic.Optimizer:
    if settings.solver == "adam":
        return stochastic.Adam(
            n_params,
            dtype,
            rate=settings.learning_rate_init,
            beta_1=settings.beta_1,
            beta_2=settings.beta_2,
            epsilon=settings.epsilon,
        )
    return stochastic.SGD(
        n_params,
        dtype,
        rate=settings.learning_rate_init,
        schedule=settings.learning_rate,
        power_t=settings.power_t,
        momentum=settings.momentum,
        nesterov=settings.nesterovs_momentum,
    )
