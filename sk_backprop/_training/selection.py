"""Trials: architecture and penalty are selected on held-out rows.

The log evidence ranks runs of one architecture well on small problems, but misleads between
architectures: on the UCI sets concrete, energy and kin8nm it prefers the smaller network, whose
error is 5 to 15 % larger. It says nothing about a fixed penalty.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import NamedTuple, Self

import numpy as np

from sk_backprop._blocks.threads import one_blas_thread
from sk_backprop._network.dispersion import HeldOutNoise
from sk_backprop._network.likelihood import HeldOutPredictions, HeldOutScore
from sk_backprop._network.network import evaluate
from sk_backprop._solvers.stochastic import VERY_MANY_ROWS
from sk_backprop._training.blending import HeldOutErrors, stacking_weight
from sk_backprop._training.ensemble import Group, credible, train_networks
from sk_backprop._training.events import Events
from sk_backprop._training.folds import MOST_HELD_OUT, Folds
from sk_backprop._training.problem import Data, Problem, Settings
from sk_backprop._training.run import Trained

# Of many rows (`_training.folds`) the trials train on at least `_LEAST_ROWS` and at most the
# fraction `_SHARE`: as many as the fraction `_MANY_ROWS_SHARE` of the trials' budget can pay for.
# Two networks are averaged, if affordable: a single one is a matter of luck.
_LEAST_ROWS, _SHARE, _MANY_ROWS_SHARE = 4000, 0.7, 0.5

# Rows that trials train on, at most, where a candidate uses mini-batches, by whether there are very
# many: with 20,000 of 100,000 rows of 10 columns the trials took 35 of 70 s (one thread).
_MOST_FOR_BATCHES = {False: 20_000, True: 15_000}

# Steps after which a trial ends, and the steps expected of a run that has not converged by then:
# up to 700 were seen where there is next to no noise.
_TRIAL_STEPS, _MANY_STEPS = 100, 200

# Correction pairs of a trial by lbfgs. With 60, as in the fit that follows, 40 of 43 fits to six
# tables selected the same penalty, with R^2 equal within 3e-4, in 1.1 to 2.1 times the time.
_TRIAL_MEMORY = 20

# Margin by which a candidate must beat a simpler one, times the root of the number of held-out
# rows: half of the difference that chance makes between two equal ones. Without it, small noisy
# tables selected ten plain steps by luck (diabetes: R^2 0.25 instead of 0.35). A network must
# beat a linear model, which is the safer of the two, by all of that difference.
_MARGIN, _MARGIN_OVER_LINEAR = 0.5, 1.0

# The same for networks that start from steep local units, in nats: a tenth of the error. Where the
# function does not oscillate they fit worse than their held-out score may say by luck.
_MARGIN_OF_LOCAL = -2 * math.log(0.9)

# Successive candidates without improvement that end a family; and the smallest difference in nats
# that counts: under several strong penalties every network is the same constant.
_PATIENCE, _SAME = 2, 0.01


# Weight below which a kind of networks is left out of a blend, and distinct rows up to which there
# are blends: with more, both would take too long.
_LEAST_WEIGHT, _MOST_TO_BLEND = 0.1, 10_000


class Choice(NamedTuple):
    """What the trials select; of two that are to be blended, the first is that with evidence.

    settings : Settings, of a candidate
    n_steps : float or None, mean number of steps of its runs, if there were any
    noise : HeldOutNoise or None, where the penalty was fixed and the networks were trained on
        most of the rows
    weight : float, of its networks in the mean; those of all choices sum to 1
    """

    settings: Settings
    n_steps: float | None = None
    noise: HeldOutNoise | None = None
    weight: float = 1.0


def choose(
    families: Sequence[Sequence[Settings]],
    n_networks: Callable[[Settings, float | None], int],
    problem: Problem,
    affordable: float,
    events: Events,
    n_jobs: int | None,
) -> list[Choice]:
    """The candidate with the best score on held-out rows, or two that are to be blended.

    Parameters
    ----------
    families : lists of candidates of one kind, in order of complexity: the search along a list
        ends when it gains nothing more
    n_networks : callable, (settings, mean steps of a run) -> number of networks that would be
        averaged in the end
    problem : Problem, with all rows
    affordable : float, multiply-adds of all trials together; the first of each family always
        takes place
    events : Events, notified of each trial; an observer may end them
    n_jobs : int or None, as in joblib

    The trials' initial weights are always the same: the choice depends on the data alone.
    """
    n_kept = _trial_rows(families, problem.n_distinct, affordable)
    folds = Folds(problem, n_kept)
    best: _Trial | None = None
    on_folds: _Trial | None = None
    tried: list[_Trial] = []
    best_of_family: _Trial | None
    for family in families:
        n_worse, best_of_family = 0, None
        for candidate in family:
            cost = candidate.cost(folds[0][0].rows.n_samples)
            n_folds, n_each = _extent(candidate, folds.n_first, affordable / cost)
            if n_each == 0 and best_of_family is not None:
                continue
            affordable -= n_folds * n_each * cost
            events.begin_trial()
            trial = _Trial(candidate, folds[0][0].n_distinct, [], [], [], problem.has_density)
            for number in range(n_folds):
                trial.run(*folds[number], max(n_each, 1), n_networks, n_jobs)
            # Candidates are compared with the best of their family, not of all: under the first
            # and strongest of several penalties any network may be worse than a linear model.
            if best_of_family is None or trial.beats(best_of_family):
                best_of_family, n_worse = trial, 0
            elif not trial.resembles(best_of_family):
                n_worse += 1
            if _may_be_blended(candidate, problem.n_distinct):
                on_folds = trial
            else:
                tried.append(trial)
                if best is None or trial.beats(best):
                    best = trial
            if events.end_trial((best or trial).settings):
                return (best or trial).alone(problem)
            if n_worse == _PATIENCE:
                break
    if best is None:
        assert on_folds is not None
        return on_folds.alone(problem)
    rival = best.rival(tried)
    if rival is not None:
        best = _decided(best, rival, folds, n_networks, affordable, n_jobs)
    if on_folds is None:
        return best.alone(problem)
    return _blended(best, on_folds, problem)


def _may_be_blended(settings: Settings, n_distinct: int) -> bool:
    """Whether the networks of a candidate may be averaged with those of another kind."""
    return settings.n_folds > 0 and n_distinct <= _MOST_TO_BLEND


def _blended(best: "_Trial", on_folds: "_Trial", problem: Problem) -> list[Choice]:
    """The better of two candidates, or both with their weights.

    Parameters
    ----------
    best : _Trial, of the best other candidate
    on_folds : _Trial, of networks that each leave out other rows
    problem : Problem, with all rows
    """
    if best._is_linear:  # with it, a mean would extrapolate as half a line
        return (on_folds if on_folds.beats(best) else best).alone(problem)
    n_folds = min(len(best.errors), len(on_folds.errors))
    errors = HeldOutErrors.joined(best.errors[:n_folds])
    others = HeldOutErrors.joined(on_folds.errors[:n_folds])
    middle = (errors.error + others.error) / 2
    by_row = problem.scales.likelihood.row_weights(middle**2, errors.weight[:, 0])
    if by_row is not None:
        errors, others = errors.weighted(by_row), others.weighted(by_row)
    weight = stacking_weight(errors, others)
    if weight < _LEAST_WEIGHT:
        return best.alone(problem)
    if weight > 1 - _LEAST_WEIGHT:
        return on_folds.alone(problem)
    return [
        best.choice(problem)._replace(weight=1 - weight),
        on_folds.choice(problem)._replace(weight=weight),
    ]


def _decided(
    best: "_Trial",
    rival: "_Trial",
    folds: Folds,
    n_networks: Callable[[Settings, float | None], int],
    affordable: float,
    n_jobs: int | None,
) -> "_Trial":
    """The better of two candidates, of which the simpler one is ahead only by the margin.

    Both are scored on the remaining folds, as far as the budget allows.

    Parameters
    ----------
    best, rival : _Trial, the simpler candidate and the one with the better score
    folds : Folds
    n_networks, affordable, n_jobs : as in `choose`; what is left of `affordable`
    """
    for number in range(len(best.scores), len(folds)):
        part, held_out = folds[number]
        for one in (best, rival):
            affordable -= one.n_each * one.settings.cost(part.rows.n_samples)
        if affordable < 0:
            break
        for one in (best, rival):
            one.run(part, held_out, one.n_each, n_networks, n_jobs)
    return rival if rival.beats(best) else best


def held_out_noise(
    settings: Settings, problem: Problem, n_networks: int, n_iter: int, n_jobs: int | None
) -> HeldOutNoise:
    """Noise estimated from the held-out errors of networks trained with `settings`.

    Parameters
    ----------
    settings : Settings, with a fixed penalty
    problem : Problem, with all rows
    n_networks : int, networks that are averaged
    n_iter : int, iterations of a run on all rows
    n_jobs : int or None, as in joblib
    """
    n_distinct = problem.n_distinct
    folds = Folds(problem, max(int(_MOST_KEPT * n_distinct), n_distinct - MOST_HELD_OUT))
    if not settings.solver_class.all_rows:  # as many steps, of which an epoch now has fewer
        n_iter = math.ceil(n_iter * problem.rows.n_samples / folds[0][0].rows.n_samples)
    settings = settings._replace(max_iter=n_iter, in_trials=())
    trial = _Trial(settings, folds[0][0].n_distinct, [], [], [])
    for number in range(folds.n_first):
        trial.run(*folds[number], min(n_networks, 2), lambda *_: n_networks, n_jobs)
        if sum(one.n_equivalent for one in trial.scores) >= _ENOUGH_HELD_OUT:
            break
    return trial.noise


def noise_left_out(
    settings: Settings, parts: Sequence[tuple[Problem, Data]], networks: Sequence[Trained]
) -> HeldOutNoise:
    """Noise estimated from the errors of each network on the rows that it was not trained on.

    As in cross-validation; see also Barber, Candes, Ramdas & Tibshirani (2021), "Predictive
    inference with the jackknife+", doi:10.1214/20-AOS1965, section 3.

    Parameters
    ----------
    settings : Settings
    parts : (Problem, Data) of each network, the rows that it was trained on and those left out
    networks : Trained, of each part
    """
    with one_blas_thread():
        scores = [
            _score(settings, part, [network], rows, 1)
            for (part, rows), network in zip(parts, networks, strict=True)
        ]
    pearson = reduce(add, (one.pearson for one in scores))
    return HeldOutNoise(pearson.value / pearson.weight, pearson.weight)


# Of many rows, the fraction to train on, for errors on the others; and how many errors are enough:
# 200 give the standard deviation of the noise to 5 %, and each further fold costs as much as most
# of the fit.
_MOST_KEPT, _ENOUGH_HELD_OUT = 0.8, 200


class _Trial(NamedTuple):
    """A candidate, the score of each fold, and the steps of each run.

    n_kept : int, distinct rows that it was trained on in each fold
    errors : list of HeldOutErrors, of each fold
    has_density : bool, as `Problem.has_density`
    """

    settings: Settings
    n_kept: int
    scores: list[HeldOutScore]
    n_steps: list[int]
    errors: list[HeldOutErrors]
    has_density: bool = True

    def run(
        self,
        part: Problem,
        held_out: Data,
        n_each: int,
        n_networks: Callable[[Settings, float | None], int],
        n_jobs: int | None,
    ) -> None:
        """Train on `part`, and score on `held_out`.

        Parameters
        ----------
        part : Problem; held_out : Data
        n_each : int, networks to train
        n_networks, n_jobs : as in `choose`
        """
        trial = self.settings._replace(**dict(self.settings.in_trials))
        limit = _TRIAL_STEPS if trial.solver_class.evidence else trial.max_iter
        # The evidence needs no early stopping; with a fixed penalty it is part of the candidate.
        early_stopping = self.settings.early_stopping and not self._by_evidence
        trial = trial._replace(
            early_stopping=early_stopping,
            max_iter=min(trial.max_iter, limit),
            memory=_TRIAL_MEMORY,
        )
        part = part._replace(validation=part.validation if early_stopping else None)
        part = part.in_unit(trial.weight_unit).in_precision_of(trial)
        result = train_networks(Group.of(trial, part, range(n_each)), Events(), n_jobs)
        if result.interrupted:
            raise KeyboardInterrupt
        fitted = result.networks
        self.n_steps.extend(
            one.result.n_iter if one.result.status == "converged" else _MANY_STEPS for one in fitted
        )
        n_final = n_networks(self.settings, float(np.mean(self.n_steps)))
        kept = credible(fitted, part.rows.total_weight)
        with one_blas_thread():
            self.scores.append(_score(self.settings, part, kept, held_out, n_final))
            network = part.scales.solver_network(self.settings.network)
            outputs = np.array(
                [
                    evaluate(network, one.params.coefs, one.params.intercepts, held_out.X)
                    for one in kept
                ]
            )
        self.errors.append(HeldOutErrors.of(outputs, held_out.y, held_out.sample_weight, n_final))

    @property
    def _is_linear(self) -> bool:
        return self.settings.network.is_linear

    @property
    def _by_evidence(self) -> bool:
        """Whether the evidence estimates the noise, from the training rows."""
        return self.settings.alpha is None

    def _score(self, n_folds: int) -> float:
        """Held-out negative log likelihood per row; smaller is better.

        The sum of two: under the predicted standard deviation, which rewards good error bars,
        and under that of the held-out errors, which rewards a good mean: ln RMSE but for
        constants. The second counts twice for counts, where a fixed penalty gives no noise or the
        target no density, and for local units: the evidence has not found their noise when their
        trial ends.
        """
        scores = self.scores[:n_folds]
        weight = self._weight(n_folds)
        errors = np.sum([one.errors for one in scores], axis=0) / weight
        with np.errstate(divide="ignore"):
            spread = 0.5 * float(np.log(errors).sum())
        terms = [one.neg_log_likelihood for one in scores]
        likelihoods = [term for term in terms if term is not None]
        by_errors = not self._by_evidence or not likelihoods or not self.has_density
        if by_errors or self.settings.local_units:
            return 2 * spread + 0.5 * len(errors)
        return spread + sum(likelihoods) / weight

    def _weight(self, n_folds: int) -> float:
        return sum(one.weight for one in self.scores[:n_folds])

    def beats(self, other: Self) -> bool:
        """Whether this is better by more than chance, on the folds that both were scored on."""
        n_folds = min(len(self.scores), len(other.scores))
        beyond_linear = other._is_linear and not self._is_linear
        margin = _MARGIN_OVER_LINEAR if beyond_linear else _MARGIN
        margin /= np.sqrt(sum(one.n_equivalent for one in self.scores[:n_folds]))
        if self.settings.local_units:
            margin = max(margin, _MARGIN_OF_LOCAL)
        return bool(self._score(n_folds) < other._score(n_folds) - margin)

    @property
    def n_each(self) -> int:
        """Networks that were trained in each fold."""
        return len(self.n_steps) // len(self.scores)

    def rival(self, tried: Sequence[Self]) -> Self | None:
        """The trial with the best score on as many folds, if that is better than this one's."""
        n_folds = len(self.scores)
        better = [
            one
            for one in tried
            if len(one.scores) == n_folds and one._score(n_folds) < self._score(n_folds)
        ]
        return min(better, key=lambda one: one._score(n_folds), default=None)

    def resembles(self, other: Self) -> bool:
        """Whether the scores are practically equal, as those of two constants."""
        n_folds = min(len(self.scores), len(other.scores))
        return bool(abs(self._score(n_folds) - other._score(n_folds)) < _SAME)

    def alone(self, problem: Problem) -> list[Choice]:
        """The result if this candidate alone is selected, for all rows of `problem`."""
        return [self.choice(problem)]

    @property
    def noise(self) -> HeldOutNoise:
        """Noise estimated from the held-out errors."""
        pearson = reduce(add, (one.pearson for one in self.scores))
        return HeldOutNoise(pearson.value / pearson.weight, pearson.weight)

    def choice(self, problem: Problem) -> Choice:
        """The result of the trials if this candidate is selected, for all rows of `problem`."""
        # Networks trained on fewer rows have larger errors than those trained on all.
        few = self.n_kept < _LEAST_KEPT * problem.n_distinct
        noise = None if self._by_evidence or few else self.noise
        return Choice(self.settings, float(np.mean(self.n_steps)), noise)


# Smallest fraction of the rows to train on for the held-out errors to show the noise of a network
# trained on all.
_LEAST_KEPT = 0.65


def _extent(settings: Settings, n_folds: int, n_affordable: float) -> tuple[int, int]:
    """Affordable folds, and networks in each; (1, 0) if nothing is affordable.

    settings : Settings; n_folds : int, at most; n_affordable : float, runs
    """
    is_linear = settings.network.is_linear
    # Linear models from all initial weights end in one optimum.
    most = 1 if is_linear or not settings.solver_class.all_rows else 2
    if most == 1 and n_affordable >= n_folds:
        return n_folds, 1
    for folds in (n_folds, min(n_folds, 2), 1):
        if n_affordable >= most * folds:
            return folds, most
    return 1, int(n_affordable >= 1)


def _trial_rows(families: Sequence[Sequence[Settings]], n_samples: int, affordable: float) -> int:
    """Where there are many rows, how many to train on, so that all candidates can be tried.

    families, affordable : as in `choose`; n_samples : int, distinct rows
    """
    most = int(_SHARE * n_samples)
    if not all(c.solver_class.all_rows for family in families for c in family):
        most = min(most, _MOST_FOR_BATCHES[n_samples > VERY_MANY_ROWS])
    n_rows = min(_LEAST_ROWS, most)
    while n_rows < most:
        more = min(int(1.5 * n_rows), most)
        costs = [c.cost(more) for family in families for c in family]
        if sum(costs) > _MANY_ROWS_SHARE * affordable:
            break
        n_rows = more
    return n_rows


def _score(
    settings: Settings,
    problem: Problem,
    fitted: Sequence[Trained],
    rows: Data,
    n_networks: int,
) -> HeldOutScore:
    """Held-out score of the average of `n_networks` networks such as `fitted`.

    settings : Settings; problem : Problem of the training rows; fitted : Trained for each network
    rows : Data, held out; n_networks : int
    """
    network = problem.scales.solver_network(settings.network)
    before_output = replace(network, output_activation="identity")
    predictions = HeldOutPredictions(
        [evaluate(before_output, o.params.coefs, o.params.intercepts, rows.X) for o in fitted],
        [one.posterior.variance(network, one.params, rows.X) for one in fitted],
        [one.posterior.noise for one in fitted],
        rows.y,
        rows.sample_weight,
        n_networks,
    )
    return settings.likelihood.score_held_out(predictions)
