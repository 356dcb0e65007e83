"""Trials: the candidate that predicts rows best that it has not seen.

The log evidence ranks runs of one shape well on small problems, and misleads between
shapes: it prefers the smaller network on the UCI sets concrete, energy and kin8nm, whose
error is 5 to 15 % larger there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sk_backprop._ensemble import train_networks
from sk_backprop._network import Array, evaluate
from sk_backprop._training import Data, Problem, Settings, Trained

# Up to so many rows there are two trials, each without another fifth of the rows, by the
# average of two networks; above it one network on 70 % of the rows, at most 4,000, is
# enough.
_MANY_ROWS, _LARGEST_TRIAL = 3000, 4000

# Steps after which a trial ends, and the steps to expect of a run that had not converged
# then: 250 to 700 were seen where there is next to no noise.
_TRIAL_STEPS, _MANY_STEPS = 100, 400

_GOLDEN = (np.sqrt(5.0) - 1) / 2

# By how much a candidate must be better than a simpler one, times the root of the number
# of rows that judge: half of what chance makes of two equal ones. Without it small noisy
# tables got the warm start by luck (diabetes: R^2 0.25 instead of 0.35).
_MARGIN = 0.5

# Candidates in a row that are no better than what came before, and end the search.
_PATIENCE = 2


def choose(
    candidates: Sequence[Settings],
    n_networks: Sequence[int],
    problem: Problem,
    n_jobs: int | None,
) -> tuple[Settings, float]:
    """The candidate of the best `Score`, and the steps that its runs took.

    Parameters
    ----------
    candidates : in order of cost
    n_networks : how many networks of each candidate would be averaged in the end
    problem : Problem, with all rows

    The trials' initial weights are always the same: what is chosen depends on the data
    alone.
    """
    best, best_score, best_steps, n_worse = candidates[0], np.inf, 0.0, 0
    folds = _folds(problem.rows)
    for candidate, n_final in zip(candidates, n_networks, strict=True):
        max_iter = min(candidate.max_iter, _TRIAL_STEPS)
        trial = replace(candidate, early_stopping=False, verbose=0, max_iter=max_iter)
        judgements, steps = [], []
        for kept, held_out in folds:
            part = replace(problem, rows=kept, validation=None)
            fitted = train_networks(trial, part, range(len(folds)), n_jobs=n_jobs)
            if fitted[0].result.status == "interrupted":
                raise KeyboardInterrupt
            judgements.append(_judge(candidate, problem, fitted, held_out, n_final))
            steps += [
                one.result.n_iter if one.result.status == "converged" else _MANY_STEPS
                for one in fitted
            ]
        score = _score(judgements)
        if score < best_score - _MARGIN / np.sqrt(sum(one.weight for one in judgements)):
            best, best_score, best_steps = candidate, score, float(np.mean(steps))
            n_worse = 0
        else:
            n_worse += 1
            if n_worse == _PATIENCE:
                break
    return best, best_steps


@dataclass(frozen=True)
class _Judgement:
    """Sums over rows held out.

    weight : float, of the rows
    surprise : float, minus their log likelihood
    squares : (n_outputs,), of the errors
    """

    weight: float
    surprise: float
    squares: Array


def _score(judgements: Sequence[_Judgement]) -> float:
    """Minus the log likelihood of a row, under the network's own standard deviation and
    under the one that the errors turned out to have. The smaller the better.

    The first rewards error bars, the second the mean: ln RMSE but for constants.
    """
    weight = sum(one.weight for one in judgements)
    surprise = sum(one.surprise for one in judgements) / weight
    squares = sum(one.squares for one in judgements) / weight
    with np.errstate(divide="ignore"):
        return float(surprise + 0.5 * np.log(squares).sum())


def _folds(rows: Data) -> list[tuple[Data, Data]]:
    """Rows to train on and rows to judge by, for each trial.

    Of rows that count more than once some counts may be on either side, as they would
    be if the table repeated them.
    """
    n_samples = rows.n_samples
    order = _order(rows)
    if n_samples > _MANY_ROWS:
        n_kept = min(int(0.7 * n_samples), _LARGEST_TRIAL)
        n_held_out = min(n_samples - n_kept, _LARGEST_TRIAL)
        # Multiples of the golden ratio fill the unit interval evenly.
        place = np.argsort((np.arange(n_samples) * _GOLDEN) % 1.0)
        kept, held_out = order[place[:n_kept]], order[place[n_kept : n_kept + n_held_out]]
        return [(rows.take(np.sort(kept)), rows.take(np.sort(held_out)))]
    w = np.ones(n_samples) if rows.sample_weight is None else rows.sample_weight
    counts = w[order] * max(1.0, n_samples / w.sum())
    folds = []
    for k in (0, 1):
        share = np.empty(n_samples)
        share[order] = _every_fifth(counts, k)
        folds.append((_weighted(rows, w * (1 - share)), _weighted(rows, w * share)))
    return folds


def _order(rows: Data) -> Array:
    """An order of the rows that no change of units changes.

    By a sum over all columns, in the solver's coordinates, with fixed coefficients; of
    the target the size, as its sign is arbitrary. The order that `_rows` gives depends on
    the units, and then the choice would: R^2 on the diabetes data moved by 0.05.
    """
    coefficients = 0.5 + (np.arange(1, rows.X.shape[1] + 1) * _GOLDEN) % 1.0
    place = (rows.X @ coefficients[:, None]).ravel() + np.abs(rows.y).sum(axis=1)
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
    return replace(rows.take(kept), sample_weight=weights[kept])


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
    surprise = 0.5 * (np.log(variance) + squares / variance).sum(axis=1)
    total = w @ squares
    # The correction may exceed a sum of next to nothing.
    return _Judgement(float(w.sum()), float(w @ surprise), np.maximum(total, 1e-12 * w.sum()))
