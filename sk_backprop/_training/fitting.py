"""Select candidates of a plan, and train their networks."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.threads import one_blas_thread, single_thread
from sk_backprop._network.dispersion import HeldOutNoise
from sk_backprop._network.network import evaluate
from sk_backprop._training.budget import budget
from sk_backprop._training.ensemble import (
    Group,
    best,
    credible,
    train_groups,
    train_networks,
)
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
from sk_backprop._training.selection import choose
from sk_backprop._training.trials import Choice, held_out_noise, noise_left_out

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
        kinds: list[_OnAllRows | _OnFolds] = [
            _OnFolds.of(choice, problem, seeds)
            if choice.settings.n_folds
            else _OnAllRows.of(plan, choice, problem, starts, seeds)
            for choice in choices
        ]
        results = train_groups([kind.group for kind in kinds], events, n_jobs)
        interrupted = any(result.interrupted for result in results)
        kept = _to_blend(results)
        weights = [choices[k].weight for k in kept] if len(kept) > 1 else [1.0]
        finished = [
            kinds[k].finished(results[k]._replace(interrupted=interrupted), events, n_jobs)
            for k in kept
        ]
        return Blend(finished, weights)


def _to_blend(results: Sequence[TrainingResult]) -> list[int]:
    """Numbers of the results that can be blended.

    After an interrupt, or once a callback has asked for no more runs, one may have no networks, and
    the second of two is left out unless all its networks are trained: without some of them its
    folds would not cover the rows.
    """
    kept = [number for number, result in enumerate(results) if result.networks]
    last = results[kept[-1]]
    if len(kept) == 2 and len(last.networks) < last.settings.n_folds:
        kept.pop()
    return kept


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


class _OnAllRows(NamedTuple):
    """Networks that are trained on all rows.

    plan : Plan; choice : Choice
    group : Group
    starts : Start for each network, or None to draw all initial weights
    more_seeds : of further networks for those that fail
    """

    plan: Plan
    choice: Choice
    group: Group
    starts: Sequence[Start] | None
    more_seeds: Sequence[int]

    @classmethod
    def of(
        cls,
        plan: Plan,
        choice: Choice,
        problem: Problem,
        starts: Sequence[Start] | None,
        seeds: Sequence[int],
    ) -> Self:
        """The networks of a choice; parameters as above, and seeds for all networks."""
        settings = choice.settings
        rows = problem.in_unit(settings.weight_unit).in_precision_of(settings)
        n_networks = plan.n_networks_of(rows.n_samples, settings, choice.n_steps)
        # In a blend, the luck of each network counts for less.
        n_networks = max(math.ceil(choice.weight * n_networks), min(n_networks, _LEAST_IN_BLEND))
        group = Group.of(settings, rows, seeds[:n_networks], starts=starts)
        return cls(plan, choice, group, starts, seeds[n_networks:])

    def finished(
        self, result: TrainingResult, events: Events, n_jobs: int | None
    ) -> TrainingResult:
        """The result without networks that failed, and with their noise.

        result : TrainingResult of `group`; events, n_jobs : as for `fit_networks`
        """
        choice, problem, networks = self.choice, self.group.problem, result.networks
        good = credible(networks, problem.total_weight)
        n_failed = len(networks) - len(good)
        if self.plan.n_networks is None:
            result = result._replace(networks=good)
        elif n_failed and self.starts is None and not (events.stopped or result.interrupted):
            result = _with_replacements(result, self.more_seeds[:n_failed], events, n_jobs)
        streaming = self.starts is not None and self.starts[0].stream is not None
        if streaming or not _can_hold_out(choice.settings, problem):
            return result
        return _with_held_out_noise(result, choice.noise, n_jobs)


class _OnFolds(NamedTuple):
    """Networks that each leave out other rows, whose errors show the noise.

    group : Group
    folds : (Problem, Data, numbers of the rows left out) of each network
    """

    group: Group
    folds: list[tuple[Problem, Data, Array]]

    @classmethod
    def of(cls, choice: Choice, problem: Problem, seeds: Sequence[int]) -> Self:
        """The networks of a choice with `n_folds`."""
        settings = choice.settings
        rows = problem.in_unit(settings.weight_unit)
        folds = [
            (part.in_precision_of(settings), held_out, numbers)
            for part, held_out, numbers in left_out(rows, settings.n_folds)
        ]
        parts = [part for part, *_ in folds]
        return cls(Group.of(settings, rows, seeds[: len(parts)], parts=parts), folds)

    def finished(
        self, result: TrainingResult, events: Events, n_jobs: int | None
    ) -> TrainingResult:
        """The result with the errors of each network on the rows that it left out.

        result, events, n_jobs : as for `_OnAllRows.finished`
        """
        if len(result.networks) < len(self.folds):  # after an interrupt the user is waiting
            return result
        parts = [(part, held_out) for part, held_out, _ in self.folds]
        noise = noise_left_out(result.settings, parts, result.networks)
        result = result._replace(left_out=_left_out(result, self.folds))
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
        others = train_networks(Group.of(settings, problem, seeds), events, n_jobs)
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
