"""Select candidates of a plan, and train their networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.threads import one_blas_thread, single_thread
from sk_backprop._network.dispersion import HeldOutNoise
from sk_backprop._network.network import evaluate
from sk_backprop._training.budget import budget
from sk_backprop._training.ensemble import best, credible, train_networks
from sk_backprop._training.events import Events
from sk_backprop._training.folds import left_out
from sk_backprop._training.plan import MOST_NETWORKS, Plan
from sk_backprop._training.problem import Data, Problem, Settings, Start
from sk_backprop._training.run import (
    Blend,
    TrainingResult,
    TrainingRun,
    shows_noise,
)
from sk_backprop._training.selection import (
    Choice,
    choose,
    held_out_noise,
    noise_left_out,
)

# Rows, or counts above 0, below which there are no trials: a fifth of them is too few to score on.
_LEAST_ROWS = 10

# Networks of the kind that is trained on all rows, in a blend, unless there are fewer alone.
_LEAST_IN_BLEND = 2

# Part of the budget that the trials may take.
_TRIALS_SHARE = 0.85


def fit_networks(
    plan: Plan,
    problem: Problem,
    starts: Sequence[Start] | None,
    rng: np.random.RandomState,
    n_jobs: int | None,
    events: Events,
) -> Blend:
    """Select one of the candidates, or two to be blended, and train their networks.

    Parameters
    ----------
    plan : Plan
    problem : Problem, with all rows
    starts : Start for each network, or None to draw all initial weights
    rng : RandomState, which draws the seeds of the networks
    n_jobs : int or None, as in joblib; 1 allows a single thread, too
    events : Events, notified of trials, networks and runs
    """
    n_seeds = 2 * max(plan.n_networks or 0, MOST_NETWORKS)
    seeds = [int(seed) for seed in rng.randint(2**31 - 1, size=n_seeds)]
    with single_thread() if n_jobs == 1 else nullcontext():
        choices = _select(plan, problem.sample, n_jobs, events)

        def train(choice: Choice) -> TrainingResult:
            settings = choice.settings
            rows = problem.in_unit(settings.weight_unit)
            if settings.n_folds:
                return _train_on_folds(settings, rows, seeds[: settings.n_folds], events, n_jobs)
            rows = rows.in_precision_of(settings)
            return _train_on_all(plan, choice, rows, starts, seeds, n_jobs, events)

        return _train_choices(choices, train, events)


def _train_choices(
    choices: Sequence[Choice], train: Callable[[Choice], TrainingResult], events: Events
) -> Blend:
    """Train the networks of each choice.

    After an interrupt, or once a callback asks for no more runs, the second choice is left out
    unless all its networks are trained: without some of them its folds would not cover the rows.

    Parameters
    ----------
    choices : list of Choice, one or two
    train : callable, which trains the networks of a choice
    events : Events
    """
    first = train(choices[0])
    if len(choices) == 1 or first.interrupted or events.stopped:
        return Blend([first], [1.0])
    try:
        second = train(choices[1])
    except KeyboardInterrupt:
        return Blend([first._replace(interrupted=True)], [1.0])
    if len(second.networks) < choices[1].settings.n_folds:
        return Blend([first._replace(interrupted=second.interrupted)], [1.0])
    return Blend([first, second], [choice.weight for choice in choices])


def _select(plan: Plan, problem: Problem, n_jobs: int | None, events: Events) -> list[Choice]:
    """Score the candidates on held-out rows, unless there is only one or the rows are few.

    Parameters
    ----------
    plan, problem, n_jobs, events : as for `fit_networks`
    """
    if len(plan.candidates) == 1 or not _can_hold_out(plan.settings, problem):
        return [Choice(plan.untried)]
    n_samples = problem.rows.n_samples
    affordable = _TRIALS_SHARE * budget(n_samples, plan.settings.network.layer_sizes[0])
    n_networks_of = partial(plan.n_networks_of, n_samples)
    events.begin_trials(len(plan.candidates))
    choices = choose(plan.families, n_networks_of, problem, affordable, events, n_jobs)
    events.end_trials()
    return choices


def _train_on_all(
    plan: Plan,
    choice: Choice,
    problem: Problem,
    starts: Sequence[Start] | None,
    seeds: Sequence[int],
    n_jobs: int | None,
    events: Events,
) -> TrainingResult:
    """Train the networks of a choice on all rows, without those that fail, and find their noise.

    Parameters
    ----------
    plan, problem, starts, n_jobs, events : as for `fit_networks`
    choice : Choice
    seeds : of the networks, and of further ones for those that fail
    """
    n_networks = plan.n_networks_of(problem.n_samples, choice.settings, choice.n_steps)
    # In a blend, the luck of each network counts for less.
    n_networks = max(math.ceil(choice.weight * n_networks), min(n_networks, _LEAST_IN_BLEND))
    result = train_networks(
        choice.settings, problem, seeds[:n_networks], events, starts=starts, n_jobs=n_jobs
    )
    networks = result.networks
    good = credible(networks, problem.total_weight)
    n_failed = len(networks) - len(good)
    if plan.n_networks is None:
        result = result._replace(networks=good)
    elif n_failed and starts is None and not (events.stopped or result.interrupted):
        more = seeds[n_networks : n_networks + n_failed]
        result = _with_replacements(result, more, events, n_jobs)
    streaming = starts is not None and starts[0].stream is not None
    if streaming or not _can_hold_out(choice.settings, problem):
        return result
    return _with_held_out_noise(result, choice.noise, n_jobs)


def _train_on_folds(
    settings: Settings, problem: Problem, seeds: Sequence[int], events: Events, n_jobs: int | None
) -> TrainingResult:
    """Train networks that each leave out other rows, whose errors show the noise.

    Parameters
    ----------
    settings : Settings, with `n_folds`
    problem : Problem, with all rows
    seeds : of the networks
    events : Events, which are notified
    n_jobs : int or None, processes
    """
    folds = left_out(problem, settings.n_folds)
    parts = [(part.in_precision_of(settings), rows) for part, rows, _ in folds]
    problems = [part for part, _ in parts]
    result = train_networks(settings, problem, seeds, events, parts=problems, n_jobs=n_jobs)
    if len(result.networks) < len(parts):  # after an interrupt the user is waiting
        return result
    noise = noise_left_out(settings, parts, result.networks)
    result = result._replace(left_out=_left_out(result, folds))
    return _with_held_out_noise(result, noise, n_jobs)


@one_blas_thread()
def _left_out(
    result: TrainingResult, folds: Sequence[tuple[Problem, Data, Array]]
) -> tuple[Array, Array]:
    """The rows that networks left out, and their errors there.

    result : TrainingResult; folds : as returned by `_training.folds.left_out`
    """
    network = result.problem.scales.solver_network(result.settings.network)
    errors = [
        rows.y - evaluate(network, one.params.coefs, one.params.intercepts, rows.X)
        for one, (_, rows, _) in zip(result.networks, folds, strict=True)
    ]
    numbers = np.concatenate([rows for *_, rows in folds])
    order = np.argsort(numbers, kind="stable")
    return numbers[order], np.concatenate(errors)[order]


def _with_replacements(
    result: TrainingResult, seeds: Sequence[int], events: Events, n_jobs: int | None
) -> TrainingResult:
    """Train further networks, and keep the best, as many as there were.

    After an interrupt, only complete networks are kept.

    Parameters
    ----------
    result : TrainingResult, some of whose networks have failed
    seeds : of the further networks
    events : Events, which are notified
    n_jobs : int or None, processes
    """
    settings, problem, networks = result[:3]
    try:
        others = train_networks(settings, problem, seeds, events, n_jobs=n_jobs)
    except KeyboardInterrupt:
        return result._replace(interrupted=True)
    complete = [one for one in others.networks if one.result.status != "interrupted"]
    return others._replace(networks=best(networks + complete, len(networks)))


def _can_hold_out(settings: Settings, problem: Problem) -> bool:
    """Whether there are enough distinct rows, or counts above 0 among them, to hold some out."""
    rows = problem.rows
    share = settings.likelihood.density_fraction(rows.y, rows.sample_weight).min()
    return bool(problem.n_distinct * share >= _LEAST_ROWS)


def _with_held_out_noise(
    result: TrainingResult, noise: HeldOutNoise | None, n_jobs: int | None
) -> TrainingResult:
    """The result, with noise from held-out rows where the training residuals are too small.

    After an interrupt no further networks are trained for this: the user is waiting.

    result : TrainingResult; noise : HeldOutNoise of the trials, or None; n_jobs : int or None
    """
    settings, problem, networks, interrupted = result[:4]
    if all(shows_noise(settings, problem, one) for one in networks):
        return result
    if noise is None and interrupted:
        return result
    if noise is None:
        n_iter = max(1, *(one.result.n_iter for one in networks))
        try:
            noise = held_out_noise(settings, problem.sample, len(networks), n_iter, n_jobs)
        except KeyboardInterrupt:  # the networks are complete
            return result._replace(interrupted=True)
    problem = problem._replace(noise=noise)
    with one_blas_thread():
        networks = [TrainingRun(settings, problem, Start()).finish(one.result) for one in networks]
    return result._replace(problem=problem, networks=networks)
