"""Where a fit starts: the network asked for, and weights given or left by the last fit."""

from __future__ import annotations

from typing import Any

from sk_backprop._fitted import FittedFunction
from sk_backprop._likelihood import LIKELIHOODS, Likelihood
from sk_backprop._network import Network
from sk_backprop._plan import Plan, make_plan, settings_of
from sk_backprop._seen_rows import SeenRows
from sk_backprop._stream import Earlier, Move, StreamState
from sk_backprop._training import Data, Problem, Weights, n_distinct_rows
from sk_backprop._validation import (
    check_initial_weights,
    check_one_network,
    check_same_likelihood,
    check_same_network,
    hidden_layers,
)


def likelihood_of(estimator: Any) -> Likelihood:
    """The likelihood that the parameters ask for."""
    return LIKELIHOODS[estimator.loss, estimator.output_activation]


def plan_and_starts(
    estimator: Any,
    data: Data,
    coefs_init: Any,
    intercepts_init: Any,
    *,
    continued: bool,
    streaming: bool = False,
) -> tuple[Plan, list[Weights] | None]:
    """What to train, and the weights to start from, if there are any.

    continued : whether to go on from the last fit, where no initial weights are given
    streaming : whether the data are one batch of a stream
    """
    n_features, n_outputs = data.X.shape[1], data.y.shape[1]
    hidden = hidden_layers(estimator.hidden_layer_sizes)
    n_networks = None if estimator.n_networks == "auto" else int(estimator.n_networks)
    last, starts = None, None
    if coefs_init is not None or intercepts_init is not None:
        init = check_initial_weights(
            coefs_init, intercepts_init, n_features, hidden, n_outputs, data.X.dtype
        )
        check_one_network(n_networks)
        hidden, n_networks = tuple(W.shape[1] for W in init[0][:-1]), 1
        starts = [Weights(*init)]
    elif continued:
        last = FittedFunction.of(estimator)
        hidden = last.network.layer_sizes[1:-1] if hidden is None else hidden
        starts = last.starts(estimator.weight_precision_)
        n_networks = n_networks or len(starts)
    likelihood = likelihood_of(estimator)
    network = Network(
        (n_features, *(hidden or ()), n_outputs),
        str(estimator.activation),
        likelihood.output_activation,
    )
    if last is not None:
        check_same_network(last.network, network, len(starts or ()), n_networks)
        check_same_likelihood(last.likelihood, likelihood)
    settings = settings_of(estimator, network, likelihood, data.n_samples, streaming=streaming)
    if last is not None:  # what was chosen before
        alpha = estimator.alpha_ if settings.alpha is None else settings.alpha
        groups = estimator.weight_groups
        groups = estimator._fit_state["weight_groups"] if groups == "auto" else groups
        settings = settings._replace(alpha=alpha, weight_groups=groups)
    n_rows = data.n_samples if streaming else n_distinct_rows(data)
    mean_weight = data.total_weight / n_rows
    plan = make_plan(settings, hidden, n_networks, n_rows, mean_weight, streaming=streaming)
    return plan, starts


def stream_states(
    estimator: Any, plan: Plan, problem: Problem, rows: SeenRows, *, fitted: bool
) -> list[StreamState]:
    """What each network of a stream goes on from, beside its weights.

    problem : Problem, the next batch
    rows : SeenRows, those of the batch
    fitted : whether there is anything before it
    """
    if not fitted:
        return [StreamState(0, None, None, False, rows, rows.weight)] * (plan.n_networks or 1)
    last = FittedFunction.of(estimator)
    states = estimator._fit_state["optimizers"].get(plan.settings.solver)
    n_seen = problem.scales.x.weight - problem.rows.total_weight
    kept = estimator._fit_state.get("rows")  # not in models of before
    seen = SeenRows.unknown(n_seen) if kept is None else SeenRows(**kept)
    rows = seen.with_batch(rows)
    move = Move.between(last.scales, problem.scales)
    from_optimum = estimator.solver_ in ("lm", "lbfgs")
    seen_weight, weight = seen.weight, rows.weight
    return [
        StreamState(
            estimator.t_,
            state,
            Earlier(posterior, seen_weight, n_seen, move),
            from_optimum,
            rows,
            weight,
        )
        for state, posterior in zip(
            states or [None] * len(last.posteriors), last.posteriors, strict=True
        )
    ]
