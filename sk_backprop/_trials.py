"""Trials: the candidate that predicts rows best that it has not seen.

The log evidence ranks runs of one shape well on small problems, and misleads between
shapes: it prefers the smaller network on the UCI sets concrete, energy and kin8nm, whose
error is 5 to 15 % larger there. Of a penalty that is fixed it says nothing at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np

from sk_backprop._cost import MINI_BATCHES, run_cost
from sk_backprop._dispersion import HeldOutNoise, PearsonSums
from sk_backprop._ensemble import credible, train_networks
from sk_backprop._events import Events
from sk_backprop._folds import MOST_HELD_OUT, make_folds
from sk_backprop._network import Array, evaluate
from sk_backprop._objective import poisson_deviance
from sk_backprop._threads import one_blas_thread
from sk_backprop._training import Data, Problem, Settings, Trained

# Of many rows (`_folds`) the trials train on at least `_LEAST_ROWS` and at most a share
# `_SHARE`: as many as part of what all trials may take, `_MANY_ROWS_SHARE`, can pay for.
# Two networks are averaged, if affordable: single ones are a matter of luck.
_LEAST_ROWS, _SHARE, _MANY_ROWS_SHARE = 4000, 0.7, 0.5

# Rows that trials by mini-batches train on, at most: they choose between a linear model and a
# network alone.
_MOST_FOR_BATCHES = 20_000

# Steps after which a trial ends, and the steps to expect of a run that had not converged
# then: up to 700 were seen where there is next to no noise.
_TRIAL_STEPS, _MANY_STEPS = 100, 200

# Correction pairs of a trial by lbfgs. With 60, as in the fit that follows, 40 of 43 fits to six
# tables took the same penalty, with R^2 equal to 3e-4, in 1.1 to 2.1 times the time.
_TRIAL_MEMORY = 20

# By how much a candidate must be better than a simpler one, times the root of the number
# of rows that judge: half of what chance makes of two equal ones. Without it small noisy
# tables got the warm start by luck (diabetes: R^2 0.25 instead of 0.35). A network has to
# be better than a linear model, which is the safer of the two, by all that chance makes.
_MARGIN, _MARGIN_OVER_LINEAR = 0.5, 1.0

# Most that a row held out may count, as the square of its error in standard deviations: one
# image of a thousand with ink where there was none in training decided for the linear model
# on scikit-learn's digits (RMSE 1.8, of the networks 0.8).
_MOST_Z2 = 36.0

# Largest logarithm of a count foretold, or of its inverse: squares stay within the range.
_MOST_LOG = 300.0

# Candidates of a family in a row that are no better than those before them, and end it; and
# the least difference in nats that counts: under several strong penalties every network is the
# same constant.
_PATIENCE, _SAME = 2, 0.01


class Choice(NamedTuple):
    """What the trials found.

    settings : Settings, the best candidate
    n_steps : float, the steps that its runs took
    noise : HeldOutNoise or None, where the penalty was fixed and the networks were trained on
        most of the rows
    """

    settings: Settings
    n_steps: float
    noise: HeldOutNoise | None


def choose(
    families: Sequence[Sequence[Settings]],
    n_networks: Callable[[Settings, float], int],
    problem: Problem,
    affordable: float,
    events: Events,
    n_jobs: int | None,
) -> Choice:
    """The candidate of the best score.

    Parameters
    ----------
    families : candidates of one kind, in order of complexity: a search along each ends
        when nothing is gained any more
    n_networks : tells how many networks of a candidate, whose runs take so many steps,
        would be averaged in the end
    problem : Problem, with all rows
    affordable : float, multiply-adds that all trials together may take, but for the first
    events : Events, told of each trial; an observer may end them

    The trials' initial weights are always the same: what is chosen depends on the data
    alone.
    """
    n_kept = _trial_rows(families, problem.n_distinct, affordable)
    folds = make_folds(problem, n_kept)
    best: _Trial | None = None
    best_of_family: _Trial | None
    for family in families:
        n_worse, best_of_family = 0, None
        for candidate in family:
            cost = run_cost(candidate.network, folds[0][0].rows.n_samples, candidate.solver)
            n_folds, n_each = _extent(candidate, len(folds), affordable / cost)
            if n_each == 0 and best is not None:
                continue
            affordable -= n_folds * n_each * cost
            events.begin_trial()
            trial = _Trial(candidate, folds[0][0].n_distinct, [], [])
            for part, held_out in folds[:n_folds]:
                trial.run(part, held_out, max(n_each, 1), n_networks, n_jobs)
            # Its own best decides whether a family is worth going on with: under the first and
            # strongest of several penalties any network may be worse than a linear model.
            if best_of_family is None or trial.beats(best_of_family):
                best_of_family, n_worse = trial, 0
            elif not trial.resembles(best_of_family):
                n_worse += 1
            if best is None or trial.beats(best):
                best = trial
            if events.end_trial(best.settings):
                return best.choice(problem)
            if n_worse == _PATIENCE:
                break
    assert best is not None
    return best.choice(problem)


def held_out_noise(
    settings: Settings, problem: Problem, n_networks: int, n_iter: int, n_jobs: int | None
) -> HeldOutNoise:
    """Noise by the errors, at rows held out, of networks trained on the others as in `settings`.

    Parameters
    ----------
    settings : Settings, with a fixed penalty
    problem : Problem, with all rows
    n_networks : int, networks that are averaged
    n_iter : int, iterations of a run on all rows
    """
    n_distinct = problem.n_distinct
    folds = make_folds(problem, max(int(_MOST_KEPT * n_distinct), n_distinct - MOST_HELD_OUT))
    if settings.solver in MINI_BATCHES:  # as many steps, with fewer of them in an epoch
        n_iter = math.ceil(n_iter * problem.rows.n_samples / folds[0][0].rows.n_samples)
    settings = settings._replace(max_iter=n_iter)
    trial = _Trial(settings, folds[0][0].n_distinct, [], [])
    for part, held_out in folds:
        trial.run(part, held_out, min(n_networks, 2), lambda *_: n_networks, n_jobs)
        if sum(one.n_equivalent for one in trial.judgements) >= _ENOUGH_HELD_OUT:
            break
    return trial.noise


# Of many rows, the share that networks are trained on for the errors at the others. A hundred
# errors show the standard deviation of the noise to 7 %: each further fold costs as much as
# most of the fit.
_MOST_KEPT, _ENOUGH_HELD_OUT = 0.8, 100


class _Judgement(NamedTuple):
    """Sums over rows held out.

    weight : float, of the rows
    n_equivalent : float, rows of Gaussian noise, of one weight, whose mean squared error would
        be as certain
    surprise : float or None, minus their log likelihood under the networks' own variance
    errors : (n_outputs,), their squares, or the deviance
    pearson : PearsonSums, which tell the noise
    """

    weight: float
    n_equivalent: float
    surprise: float | None
    errors: Array
    pearson: PearsonSums


class _Trial(NamedTuple):
    """A candidate, and how it did on each fold: judgements, and steps of each run.

    n_kept : int, distinct rows that it was trained on in each fold
    """

    settings: Settings
    n_kept: int
    judgements: list[_Judgement]
    n_steps: list[int]

    def run(
        self,
        part: Problem,
        held_out: Data,
        n_each: int,
        n_networks: Callable[[Settings, float], int],
        n_jobs: int | None,
    ) -> None:
        """Train on the rows of `part` and judge by `held_out`."""
        limit = _TRIAL_STEPS if self.settings.solver == "lm" else self.settings.max_iter
        # The evidence needs no early stopping; for a fixed penalty it is part of what is tried.
        early_stopping = self.settings.early_stopping and not self._by_evidence
        trial = self.settings._replace(
            early_stopping=early_stopping,
            max_iter=min(self.settings.max_iter, limit),
            memory=_TRIAL_MEMORY,
        )
        part = part._replace(validation=part.validation if early_stopping else None)
        part = part.in_unit(trial.weight_unit)
        result = train_networks(trial, part, range(n_each), Events(), n_jobs=n_jobs)
        if result.interrupted:
            raise KeyboardInterrupt
        fitted = result.networks
        self.n_steps.extend(
            one.result.n_iter if one.result.status == "converged" else _MANY_STEPS for one in fitted
        )
        n_final = n_networks(self.settings, float(np.mean(self.n_steps)))
        kept = credible(fitted, part.rows.total_weight)
        judge = _judge_counts if self.settings.loss == "poisson" else _judge
        with one_blas_thread():
            self.judgements.append(judge(self.settings, part, kept, held_out, n_final))

    @property
    def _is_linear(self) -> bool:
        return len(self.settings.network.layer_sizes) == 2

    @property
    def _by_evidence(self) -> bool:
        """Whether the evidence estimates the noise, by the rows that were trained on."""
        return self.settings.alpha is None

    def _score(self, n_folds: int) -> float:
        """Minus the log likelihood of a row, under the networks' own standard deviation and
        under the one that the errors turned out to have. The smaller the better.

        The first rewards error bars, the second the mean: ln RMSE but for constants. Where
        a fixed penalty does not tell the noise, and for counts, the second stands for both.
        """
        judgements = self.judgements[:n_folds]
        weight = self._weight(n_folds)
        errors = np.sum([one.errors for one in judgements], axis=0) / weight
        with np.errstate(divide="ignore"):
            spread = 0.5 * float(np.log(errors).sum())
        surprises = [one.surprise for one in judgements if one.surprise is not None]
        if not self._by_evidence or not surprises:
            return 2 * spread + 0.5 * len(errors)
        return spread + sum(surprises) / weight

    def _weight(self, n_folds: int) -> float:
        return sum(one.weight for one in self.judgements[:n_folds])

    def beats(self, other: _Trial) -> bool:
        """Whether this is better by more than chance, on the folds that both have seen."""
        n_folds = min(len(self.judgements), len(other.judgements))
        beyond_linear = other._is_linear and not self._is_linear
        margin = _MARGIN_OVER_LINEAR if beyond_linear else _MARGIN
        margin /= np.sqrt(sum(one.n_equivalent for one in self.judgements[:n_folds]))
        return bool(self._score(n_folds) < other._score(n_folds) - margin)

    def resembles(self, other: _Trial) -> bool:
        """Whether there is no difference worth the name, as between two constants."""
        n_folds = min(len(self.judgements), len(other.judgements))
        return bool(abs(self._score(n_folds) - other._score(n_folds)) < _SAME)

    @property
    def noise(self) -> HeldOutNoise:
        """Noise by the errors at the rows that were held out."""
        pearson = reduce(add, (one.pearson for one in self.judgements))
        return HeldOutNoise(pearson.value / pearson.weight, pearson.weight)

    def choice(self, problem: Problem) -> Choice:
        """The choice of this candidate for all rows of `problem`."""
        # Networks trained on fewer rows err more than those that will be trained on all.
        few = self.n_kept < _LEAST_KEPT * problem.n_distinct
        noise = None if self._by_evidence or few else self.noise
        return Choice(self.settings, float(np.mean(self.n_steps)), noise)


# Least share of the rows on which networks must be trained for their errors at others to show
# the noise of a network trained on all.
_LEAST_KEPT = 0.65


def _extent(settings: Settings, n_folds: int, n_affordable: float) -> tuple[int, int]:
    """Folds and networks in each that are affordable; (1, 0) if nothing is."""
    is_linear = len(settings.network.layer_sizes) == 2
    # Linear models from all starts end in one optimum.
    most = 1 if is_linear or settings.solver in MINI_BATCHES else 2
    if most == 1 and n_affordable >= n_folds:
        return n_folds, 1
    for folds in (n_folds, min(n_folds, 2), 1):
        if n_affordable >= most * folds:
            return folds, most
    return 1, int(n_affordable >= 1)


def _trial_rows(families: Sequence[Sequence[Settings]], n_samples: int, affordable: float) -> int:
    """Of many rows, those to train on: as many as let all candidates be tried."""
    most = int(_SHARE * n_samples)
    if any(c.solver in MINI_BATCHES for family in families for c in family):
        most = min(most, _MOST_FOR_BATCHES)
    n_rows = min(_LEAST_ROWS, most)
    while n_rows < most:
        more = min(int(1.5 * n_rows), most)
        costs = [run_cost(c.network, more, c.solver) for family in families for c in family]
        if sum(costs) > _MANY_ROWS_SHARE * affordable:
            break
        n_rows = more
    return n_rows


def _judge(
    settings: Settings,
    problem: Problem,
    fitted: Sequence[Trained],
    rows: Data,
    n_networks: int,
) -> _Judgement:
    """How well rows that the networks have not seen would be foretold by more of them.

    Of m networks with variance s^2 among their means, the mean has a squared error that
    is larger by (1/m - 1/K) s^2 than that of K, on average. Shapes are to be compared
    as averages of K = `n_networks`, which favours larger ones than m = 2 does.
    """
    network = problem.scales.solver_network(settings.network)
    means, variances, inflation = [], [], []
    for one in fitted:
        f = evaluate(network, one.params.coefs, one.params.intercepts, rows.X)
        means.append(f)
        inflation.append(one.posterior.inflation(network, one.params, rows.X, f))
        noise = one.posterior.noise_variance(f, network.output_activation)
        variances.append(noise * (1 + inflation[-1]))
    m, share = len(fitted), 1 - 1 / n_networks
    spread = np.var(means, axis=0, ddof=1) if m > 1 else np.zeros_like(rows.y)
    variance = np.mean(variances, axis=0) + share * spread
    squares = (rows.y - np.mean(means, axis=0)) ** 2 - (1 / m - 1 / n_networks) * spread
    w = np.ones(len(squares)) if rows.sample_weight is None else rows.sample_weight
    surprise = 0.5 * (np.log(variance) + np.minimum(squares / variance, _MOST_Z2)).sum(axis=1)
    # The correction may exceed a sum of next to nothing.
    total, weight = np.maximum(w @ squares, 1e-12 * w.sum()), float(w.sum())
    # What the networks' uncertainty and their spread do not account for is noise.
    unexplained = w @ ((squares - share * spread) / (1 + np.mean(inflation, axis=0)))
    unexplained = np.maximum(unexplained, _LEAST_NOISE * total)
    pearson = PearsonSums(unexplained, np.zeros_like(total), weight)
    return _Judgement(weight, _n_equal(w), float(w @ surprise), total, pearson)


# Least part of the squared errors at rows held out that is noise.
_LEAST_NOISE = 0.1


def _n_equal(w: Array) -> float:
    """Rows of one weight whose mean is as certain as with weights w (Kish 1965)."""
    relative = w / w.max()
    return float(relative.sum() ** 2 / np.dot(relative, relative))


def _judge_counts(
    settings: Settings,
    problem: Problem,
    fitted: Sequence[Trained],
    rows: Data,
    n_networks: int,
) -> _Judgement:
    """As `_judge`, for the Poisson loss, by the deviance.

    A Gaussian likelihood of variance proportional to the mean f pays without bound for f
    near 0: with a mean of 0.05 it chose networks that foretold 1e16.

    The output is the exponential of the networks' mean, and of the variance s^2 of their
    logarithms a deviance is the larger by f s^2, to second order: at most half of it.
    """
    network = problem.scales.solver_network(settings.network)
    log_network = replace(network, output_activation="identity")
    logs = np.array(
        [evaluate(log_network, o.params.coefs, o.params.intercepts, rows.X) for o in fitted]
    )
    logs = np.clip(logs, -_MOST_LOG, _MOST_LOG)
    f, m = np.exp(logs.mean(axis=0)), len(fitted)
    deviance = poisson_deviance(f, rows.y)
    if m > 1:
        gained = (1 / m - 1 / n_networks) * f * np.var(logs, axis=0, ddof=1)
        deviance -= np.minimum(gained, deviance / 2)
    w = np.ones(len(f)) if rows.sample_weight is None else rows.sample_weight
    inflation = [o.posterior.inflation(network, o.params, rows.X, f) for o in fitted]
    mean_inflation = np.mean(inflation, axis=0).T
    pearson = PearsonSums.of(settings.loss, f.T, rows.y.T, w[None], mean_inflation)
    share, weight = w / w.sum(), float(w.sum())
    mean = np.maximum(share @ deviance, 1e-12)
    # The squares of Gaussian errors have a mean square of 3; deviances of rare counts more.
    kurtosis = float((share @ deviance**2 / mean**2).max())
    n_equivalent = _n_equal(w) * 3 / max(3.0, kurtosis)
    return _Judgement(weight, n_equivalent, None, weight * mean, pearson)
