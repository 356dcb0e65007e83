"""Trials: the candidate that predicts rows best that it has not seen.

The log evidence ranks runs of one shape well on small problems, and misleads between
shapes: it prefers the smaller network on the UCI sets concrete, energy and kin8nm, whose
error is 5 to 15 % larger there. Of a penalty that is fixed it says nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np

from sk_backprop._cost import run_cost
from sk_backprop._dispersion import PearsonSums
from sk_backprop._ensemble import credible, train_networks
from sk_backprop._network import Array, evaluate
from sk_backprop._objective import poisson_deviance
from sk_backprop._progress import Progress
from sk_backprop._training import Data, Problem, Settings, Trained

# Up to `_FEW_ROWS` there are five trials, each without another fifth of the rows, so that
# all of them judge; up to `_MANY_ROWS` there are two, and above it one, on at most 70 % of
# the rows. It is worth having many of them: by 4,000 of the 41,000 rows of the UCI set
# protein a network came out best whose error was 6 % larger than that of the right one.
# Two networks are averaged, if affordable: single ones are a matter of luck.
_FEW_ROWS, _MANY_ROWS, _LEAST_ROWS, _MOST_JUDGES = 200, 3000, 4000, 4000
_SHARE = 0.7

# Part of what all trials may take that decides how many of many rows they train on.
_MANY_ROWS_SHARE = 0.5

# Steps after which a trial ends, and the steps to expect of a run that had not converged
# then: up to 700 were seen where there is next to no noise.
_TRIAL_STEPS, _MANY_STEPS = 100, 200

# Correction pairs of a trial by lbfgs. With 60, as in the fit that follows, 40 of 43 fits to six
# tables took the same penalty, with R^2 equal to 3e-4, in 1.1 to 2.1 times the time.
_TRIAL_MEMORY = 20

_GOLDEN = (np.sqrt(5.0) - 1) / 2

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

# Candidates of a family in a row that are no better than what came before, and end it; and
# the difference in nats that two must have to tell anything: under several strong penalties
# every network is the same constant.
_PATIENCE, _SAME = 2, 0.01


class Choice(NamedTuple):
    """What the trials found.

    settings : Settings, the best candidate
    n_steps : float, the steps that its runs took
    noise : (n_outputs,) or None, by the errors of rows held out, in the solver's
        coordinates, where the penalty was fixed: a network with more weights than rows
        leaves no residuals of its own to tell the noise by
    """

    settings: Settings
    n_steps: float
    noise: Array | None


def choose(
    families: Sequence[Sequence[Settings]],
    n_networks: Callable[[Settings, float], int],
    problem: Problem,
    affordable: float,
    progress: Progress,
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
    progress : Progress, told of each trial; it may end them

    The trials' initial weights are always the same: what is chosen depends on the data
    alone.
    """
    folds = _folds(problem, _trial_rows(families, problem.rows.n_samples, affordable))
    best: _Trial | None = None
    for family in families:
        n_worse = 0
        for candidate in family:
            cost = run_cost(candidate.network, folds[0][0].n_samples, candidate.solver)
            n_folds, n_each = _extent(candidate, len(folds), affordable / cost)
            if n_each == 0 and best is not None:
                continue
            affordable -= n_folds * n_each * cost
            progress.begin_trial()
            trial = _Trial(candidate, [], [])
            for kept, held_out in folds[:n_folds]:
                part = problem._replace(rows=kept, validation=None)
                trial.run(part, held_out, max(n_each, 1), n_networks, n_jobs)
            if best is None or trial.beats(best):
                best, n_worse = trial, 0
            elif not trial.resembles(best):
                n_worse += 1
            if progress.end_trial(best.settings):
                return best.choice
            if n_worse == _PATIENCE:
                break
    assert best is not None
    return best.choice


class _Judgement(NamedTuple):
    """Sums over rows held out.

    weight : float, of the rows
    n_equivalent : float, rows of Gaussian noise whose mean squared error would be as sure
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
    """A candidate, and how it did on each fold: judgements, and steps of each run."""

    settings: Settings
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
        trial = self.settings._replace(
            early_stopping=False,
            max_iter=min(self.settings.max_iter, limit),
            memory=_TRIAL_MEMORY,
        )
        fitted = train_networks(trial, part, range(n_each), Progress(), n_jobs=n_jobs)
        if fitted[0].result.status == "interrupted":
            raise KeyboardInterrupt
        self.n_steps.extend(
            one.result.n_iter if one.result.status == "converged" else _MANY_STEPS for one in fitted
        )
        n_final = n_networks(self.settings, float(np.mean(self.n_steps)))
        kept = credible(fitted, part.rows.total_weight)
        judge = _judge_counts if self.settings.loss == "poisson" else _judge
        self.judgements.append(judge(self.settings, part, kept, held_out, n_final))

    @property
    def _is_linear(self) -> bool:
        return len(self.settings.network.layer_sizes) == 2

    @property
    def _tells_noise(self) -> bool:
        """Whether the rows trained on tell the noise, as they do for lm."""
        return self.settings.solver == "lm"

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
        if not self._tells_noise or not surprises:
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
    def choice(self) -> Choice:
        noise = None
        if not self._tells_noise:
            pearson = reduce(add, (one.pearson for one in self.judgements))
            noise = pearson.value / pearson.weight
        return Choice(self.settings, float(np.mean(self.n_steps)), noise)


def _extent(settings: Settings, n_folds: int, n_affordable: float) -> tuple[int, int]:
    """Folds and networks in each that are affordable; (1, 0) if nothing is."""
    if len(settings.network.layer_sizes) == 2 and n_affordable >= n_folds:
        return n_folds, 1  # linear models from all starts end in one optimum
    for folds in (n_folds, min(n_folds, 2), 1):
        if n_affordable >= 2 * folds:
            return folds, 2
    return 1, int(n_affordable >= 1)


def _trial_rows(families: Sequence[Sequence[Settings]], n_samples: int, affordable: float) -> int:
    """Of many rows, those to train on: as many as let all candidates be tried."""
    most = int(_SHARE * n_samples)
    n_rows = min(_LEAST_ROWS, most)
    while n_rows < most:
        more = min(int(1.5 * n_rows), most)
        costs = [run_cost(c.network, more, c.solver) for family in families for c in family]
        if sum(costs) > _MANY_ROWS_SHARE * affordable:
            break
        n_rows = more
    return n_rows


def _folds(problem: Problem, n_kept: int) -> list[tuple[Data, Data]]:
    """Rows to train on and rows to judge by, for each trial.

    n_kept : int, rows to train on where there are many

    Of rows that count more than once some counts may be on either side, as they would
    be if the table repeated them.
    """
    rows, n_samples = problem.rows, problem.rows.n_samples
    order = _order(problem)
    if n_samples > _MANY_ROWS:
        n_held_out = min(n_samples - n_kept, _MOST_JUDGES)
        # Multiples of the golden ratio fill the unit interval evenly.
        place = np.argsort((np.arange(n_samples) * _GOLDEN) % 1.0)
        kept, held_out = order[place[:n_kept]], order[place[n_kept : n_kept + n_held_out]]
        return [(rows.take(np.sort(kept)), rows.take(np.sort(held_out)))]
    w = np.ones(n_samples) if rows.sample_weight is None else rows.sample_weight
    counts = w[order] * max(1.0, n_samples / w.sum())
    folds = []
    for k in range(5 if n_samples <= _FEW_ROWS else 2):
        share = np.empty(n_samples)
        share[order] = _every_fifth(counts, k)
        folds.append((_weighted(rows, w * (1 - share)), _weighted(rows, w * share)))
    return folds


def _order(problem: Problem) -> Array:
    """An order of the rows that no change of units changes.

    By a sum over all columns, in the solver's coordinates, with fixed coefficients; of
    the target the size, as its sign is arbitrary. The order that `_rows` gives depends on
    the units, and then the choice would: R^2 on the diabetes data moved by 0.05.
    """
    rows, n_features = problem.rows, len(problem.scales.x.mean)
    coefficients = 0.5 + (np.arange(1, n_features + 1) * _GOLDEN) % 1.0
    inputs = rows.X[:, :n_features] if isinstance(rows.X, np.ndarray) else rows.X
    place = (inputs @ coefficients[:, None]).ravel() + np.abs(rows.y).sum(axis=1)
    return np.asarray(np.argsort(place, kind="stable"))


def _every_fifth(counts: Array, k: int) -> Array:
    """The share of each row's counts that falls on numbers k, k + 5, k + 10 ...

    The counts of all rows are numbered through: those of row i from the sum of the
    earlier ones on.
    """

    def fifths_below(position: Array) -> Array:
        whole, rest = np.divmod(position - k, 5.0)
        return np.asarray(whole + np.minimum(rest, 1.0))

    ends = np.cumsum(counts)
    starts = np.concatenate([[0.0], ends[:-1]])
    return np.asarray((fifths_below(ends) - fifths_below(starts)) / counts)


def _weighted(rows: Data, weights: Array) -> Data:
    kept = np.flatnonzero(weights > 1e-9 * weights.max())
    return rows.take(kept)._replace(sample_weight=weights[kept])


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
    means, variances = [], []
    for one in fitted:
        f = evaluate(network, one.params.coefs, one.params.intercepts, rows.X)
        means.append(f)
        variances.append(
            one.posterior.variance(network, one.params, rows.X)
            + one.posterior.noise_variance(f, network.output_activation)
        )
    m = len(fitted)
    spread = np.var(means, axis=0, ddof=1) if m > 1 else np.zeros_like(rows.y)
    variance = np.mean(variances, axis=0) + (1 - 1 / n_networks) * spread
    squares = (rows.y - np.mean(means, axis=0)) ** 2 - (1 / m - 1 / n_networks) * spread
    w = np.ones(len(squares)) if rows.sample_weight is None else rows.sample_weight
    surprise = 0.5 * (np.log(variance) + np.minimum(squares / variance, _MOST_Z2)).sum(axis=1)
    # The correction may exceed a sum of next to nothing.
    total, weight = np.maximum(w @ squares, 1e-12 * w.sum()), float(w.sum())
    pearson = PearsonSums(total, np.zeros_like(total), weight)
    return _Judgement(weight, weight, float(w @ surprise), total, pearson)


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
    pearson = PearsonSums.of(settings.loss, f.T, rows.y.T, w[None])
    share, weight = w / w.sum(), float(w.sum())
    mean = np.maximum(share @ deviance, 1e-12)
    # The squares of Gaussian errors have a mean square of 3; deviances of rare counts more.
    kurtosis = float((share @ deviance**2 / mean**2).max())
    n_equivalent = weight * 3 / max(3.0, kurtosis)
    return _Judgement(weight, n_equivalent, None, weight * mean, pearson)
