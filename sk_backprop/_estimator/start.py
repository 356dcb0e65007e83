"""Where a fit starts: the requested network, and weights given or from the last fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from sk_backprop._coordinates.affine import AffineMap
from sk_backprop._coordinates.seen_rows import SeenRows
from sk_backprop._estimator.checks import (
    check_initial_weights,
    check_one_network,
)
from sk_backprop._estimator.continued import check_same_function
from sk_backprop._estimator.parameters import hidden_layers
from sk_backprop._estimator.state import FittedState
from sk_backprop._inference.online import Earlier, StreamState
from sk_backprop._network.families import LIKELIHOODS
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network
from sk_backprop._solvers import SOLVERS
from sk_backprop._training.initial import has_far_values, two_valued
from sk_backprop._training.partitions import Overview
from sk_backprop._training.plan import Plan, make_plan, units_for_each_feature
from sk_backprop._training.problem import (
    Data,
    Problem,
    Settings,
    Start,
    Weights,
)
from sk_backprop._training.settings import settings_of


def likelihood_of(estimator: Any) -> Likelihood:
    """The likelihood that the parameters select."""
    return LIKELIHOODS[estimator.loss, estimator.output_activation]


class Task(NamedTuple):
    """Networks to train, all of one kind if there are starts.

    plan : Plan
    starts : Start of each network, or None to draw all initial weights
    last : FittedState to continue from, of the networks alone, or None
    """

    plan: Plan
    starts: list[Start] | None
    last: FittedState | None


def tasks_of(
    estimator: Any,
    data: Data | Overview,
    last: FittedState | None,
    init: tuple[Any, Any] = (None, None),
    *,
    streaming: bool = False,
) -> list[Task]:
    """What to train: a task for each member to continue from, or a single one.

    Parameters
    ----------
    estimator, data, init, streaming : as for `_task`
    last : FittedState to continue from, or None
    """
    members = [None] if last is None else last.by_member()
    return [_task(estimator, data, one, init, streaming=streaming) for one in members]


def _task(
    estimator: Any,
    data: Data | Overview,
    last: FittedState | None,
    init: tuple[Any, Any],
    *,
    streaming: bool,
) -> Task:
    """What to train, and from where.

    Parameters
    ----------
    estimator : BackpropRegressor; data : Data, checked, or an Overview
    last : FittedState of one member to continue from, unless initial weights are given, or None
    init : `coefs_init` and `intercepts_init`, or None for each
    streaming : whether the data are one batch of a stream
    """
    likelihood = likelihood_of(estimator)
    network = _before_hidden_layers(estimator, likelihood, data, last)
    first = 1 + (network.units_per_feature > 0)  # of the layers that `hidden_layer_sizes` lists
    hidden = hidden_layers(estimator.hidden_layer_sizes)
    n_networks = None if estimator.n_networks == "auto" else int(estimator.n_networks)
    starts = None
    if any(one is not None for one in init):
        coefs, intercepts = check_initial_weights(*init, network, hidden, data.X.dtype)
        check_one_network(n_networks)
        hidden, n_networks = tuple(len(W) for W in coefs[first:]), 1
        last, starts = None, [Start(Weights(coefs, intercepts))]
    elif last is not None:
        if hidden is None:
            hidden = last.function.network.layer_sizes[first:-1]
        starts = [Start(weights) for weights in last.weights()]
        n_networks = n_networks or len(starts)
    network = network.with_hidden(hidden or ())
    if last is not None:
        check_same_function(last.function, network, likelihood, n_networks)
    settings = _settings(estimator, network, likelihood, data.n_samples, last, streaming=streaming)
    n_rows = data.n_samples if streaming else data.n_distinct
    mean_weight = data.total_weight / n_rows if streaming else data.mean_weight(n_rows)
    muon = None if starts else _settings_of_muon(estimator, network, likelihood, data, n_rows)
    plan = make_plan(
        settings,
        hidden,
        n_networks,
        n_rows,
        mean_weight,
        streaming=streaming,
        mini_batches=data.in_memory,
        muon=muon,
        far_values=muon is not None and has_far_values(data),
    )
    return Task(plan, starts, last)


def _settings(
    estimator: Any,
    network: Network,
    likelihood: Likelihood,
    n_samples: int,
    last: FittedState | None,
    *,
    streaming: bool,
) -> Settings:
    """The settings, which continue those of the last fit.

    Parameters
    ----------
    estimator, last, streaming : as for `_task`
    network : Network; likelihood : Likelihood; n_samples : int
    """
    if last is None:
        return settings_of(estimator, network, likelihood, n_samples, streaming=streaming)
    solver = None
    if not streaming and estimator.solver == "auto":
        # Networks of 'muon' have no penalty, without which 'lbfgs' would fit the noise.
        solver = "muon" if last.trainers[0].solver == "muon" else None
    settings = settings_of(
        estimator, network, likelihood, n_samples, streaming=streaming, solver=solver
    )
    alpha = last.trainers[0].alpha if settings.alpha is None else settings.alpha
    groups = estimator.weight_groups
    groups = last.continuation.weight_groups if groups == "auto" else groups
    return settings._replace(alpha=alpha, weight_groups=groups)


def _before_hidden_layers(
    estimator: Any, likelihood: Likelihood, data: Data | Overview, last: FittedState | None
) -> Network:
    """The requested network, without the layers of `hidden_layer_sizes`.

    estimator, data, last : as for `_task`; likelihood : Likelihood
    """
    given = estimator.units_per_feature
    two_values: tuple[int, ...] = ()
    units = 0 if given == "auto" else int(given)
    if given == "auto" and last is not None:
        before = last.function.network
        units, two_values = before.units_per_feature, before.two_valued
    sizes, activation = (data.X.shape[1], data.y.shape[1]), str(estimator.activation)
    return Network(sizes, activation, likelihood.output_activation, units, two_values)


def _settings_of_muon(
    estimator: Any, network: Network, likelihood: Likelihood, data: Data | Overview, n_rows: int
) -> Settings | None:
    """Settings of wide networks over units for single features, or None where there are none.

    Parameters
    ----------
    estimator : BackpropRegressor
    network : Network, as requested
    likelihood : Likelihood
    data : Data, checked
    n_rows : int, distinct rows
    """
    X, given = data.X, estimator.units_per_feature
    if not (
        estimator.precondition
        and estimator.activation in ("logistic", "tanh")
        and not estimator.early_stopping
        and not likelihood.needs_bounded_steps
        and isinstance(X, np.ndarray)
        and X.shape[1] <= _MOST_FEATURES
    ):
        return None
    if given == "auto":
        units = units_for_each_feature(n_rows, X.shape[1])
        network = replace(network, units_per_feature=units, two_valued=two_valued(X))
    if X.shape[1] * sum(network.units_of_features) > _MOST_WEIGHTS:
        return None
    return settings_of(estimator, network, likelihood, n_rows, solver="muon")


# Features, and weights of the first layer, above which there are no units for single features: as
# many as 256 features have with 16 units each, or 1,000 of two values with one.
_MOST_FEATURES, _MOST_WEIGHTS = 1024, 2**20


def in_stream(task: Task, problem: Problem, rows: SeenRows) -> list[Start]:
    """The starts of a stream's networks, with the statistics of earlier batches.

    task : Task; problem : Problem, the next batch; rows : SeenRows of the batch
    """
    plan, starts, last = task
    if starts is None or last is None:
        first = StreamState(0, None, None, False, rows, rows.weight)
        return [Start(None, first)] * (plan.n_networks or 1)
    seen, posteriors = last.continuation.rows, last.predictive.posteriors
    optimizers = last.continuation.optimizers.get(plan.settings.solver)
    states: Sequence[dict[str, Any] | None]
    states = len(starts) * [None] if optimizers is None else optimizers
    n_seen = problem.scales.x.weight - problem.rows.total_weight
    rows = seen.with_batch(rows)
    network = last.function.network
    move = AffineMap(
        last.predictive.scales.solver_coordinates(network),
        problem.scales.solver_coordinates(network),
    )
    was_fit = not last.continuation.optimizers
    from_optimum = was_fit and SOLVERS[last.trainers[0].solver].settles
    seen_weight, weight = seen.weight, rows.weight
    return [
        start._replace(
            stream=StreamState(
                last.history.t,
                state,
                Earlier(posterior, seen_weight, n_seen, move),
                from_optimum,
                rows,
                weight,
            )
        )
        for start, state, posterior in zip(starts, states, posteriors, strict=True)
    ]


def rows_so_far(tasks: Sequence[Task]) -> SeenRows:
    """The rows of a stream, marked once they are repeated and cannot show the noise.

    tasks : list of Task, with starts as returned by `in_stream`
    """
    streams = [
        (start.stream, task.plan.settings.network)
        for task in tasks
        for start in task.starts or ()
        if start.stream is not None
    ]
    rows = streams[0][0].rows
    warned = rows.warned or any(one.repeats_hide_noise(network) for one, network in streams)
    return rows._replace(warned=warned)
