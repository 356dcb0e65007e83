"""Trials: candidates trained on some rows and scored on others.

The log evidence ranks runs of one architecture well on small problems, but misleads between
architectures: on the UCI sets concrete, energy and kin8nm it prefers the smaller network, whose
error is 5 to 15 % larger. It says nothing about a fixed penalty.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import NamedTuple, Self, TypeAlias

import numpy as np

from sk_backprop._blocks.threads import one_blas_thread
from sk_backprop._network.dispersion import HeldOutNoise
from sk_backprop._network.likelihood import HeldOutPredictions, HeldOutScore
from sk_backprop._network.network import evaluate
from sk_backprop._training.blending import HeldOutErrors
from sk_backprop._training.ensemble import Group, credible, train_groups
from sk_backprop._training.events import Events
from sk_backprop._training.folds import MOST_HELD_OUT, Folds
from sk_backprop._training.problem import Data, Problem, Settings
from sk_backprop._training.run import Trained, TrainingResult

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

# Smallest difference in nats that counts: under several strong penalties every network is the same
# constant.
_SAME = 0.01

# (settings, mean steps of a run) -> number of networks that would be averaged in the end.
NetworksOf: TypeAlias = Callable[[Settings, float | None], int]


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


class Trial(NamedTuple):
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
    has_density: bool

    @classmethod
    def of(cls, settings: Settings, part: Problem) -> Self:
        """A candidate that has no score yet; `part` is the problem of a fold's training rows."""
        return cls(settings, part.n_distinct, [], [], [], part.has_density)

    def group(self, part: Problem, n_each: int) -> Group:
        """The networks to train in a fold.

        part : Problem, of the fold's training rows; n_each : int, number of networks
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
        return Group.of(trial, part, range(n_each))

    def score(self, result: TrainingResult, held_out: Data, n_networks: NetworksOf) -> None:
        """Score trained networks on the rows of their fold that are held out.

        result : TrainingResult of `group`; held_out : Data; n_networks : as in `run_trials`
        """
        fitted, part = result.networks, result.problem
        self.n_steps.extend(
            one.result.n_iter if one.result.status == "converged" else _MANY_STEPS for one in fitted
        )
        n_final = n_networks(self.settings, float(np.mean(self.n_steps)))
        kept = credible(fitted, part.rows.total_weight)
        self.scores.append(_score(self.settings, part, kept, held_out, n_final))
        network = part.scales.solver_network(self.settings.network)
        outputs = np.array(
            [evaluate(network, one.params.coefs, one.params.intercepts, held_out.X) for one in kept]
        )
        self.errors.append(HeldOutErrors.of(outputs, held_out.y, held_out.sample_weight, n_final))

    @property
    def is_linear(self) -> bool:
        """As `Network.is_linear`."""
        return self.settings.network.is_linear

    @property
    def _by_evidence(self) -> bool:
        """Whether the evidence estimates the noise, from the training rows."""
        return self.settings.alpha is None

    def mean_score(self, n_folds: int) -> float:
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
        beyond_linear = other.is_linear and not self.is_linear
        margin = _MARGIN_OVER_LINEAR if beyond_linear else _MARGIN
        margin /= np.sqrt(sum(one.n_equivalent for one in self.scores[:n_folds]))
        if self.settings.local_units:
            margin = max(margin, _MARGIN_OF_LOCAL)
        return bool(self.mean_score(n_folds) < other.mean_score(n_folds) - margin)

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
            if len(one.scores) == n_folds and one.mean_score(n_folds) < self.mean_score(n_folds)
        ]
        return min(better, key=lambda one: one.mean_score(n_folds), default=None)

    def resembles(self, other: Self) -> bool:
        """Whether the scores are practically equal, as those of two constants."""
        n_folds = min(len(self.scores), len(other.scores))
        return bool(abs(self.mean_score(n_folds) - other.mean_score(n_folds)) < _SAME)

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


def run_trials(
    todo: Sequence[tuple[Trial, tuple[Problem, Data], int]],
    n_networks: NetworksOf,
    n_jobs: int | None,
) -> None:
    """Train the networks of several candidates, and score them.

    Parameters
    ----------
    todo : (Trial, fold, number of networks to train); a fold is the problem of its training rows,
        and the rows that are held out
    n_networks : callable, (settings, mean steps of a run) -> number of networks that would be
        averaged in the end
    n_jobs : int or None, as in joblib
    """
    groups = [trial.group(part, n_each) for trial, (part, _), n_each in todo]
    results = train_groups(groups, Events(), n_jobs)
    if any(result.interrupted for result in results):
        raise KeyboardInterrupt
    with one_blas_thread():
        for (trial, (_, held_out), _), result in zip(todo, results, strict=True):
            trial.score(result, held_out, n_networks)


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
    if not settings.solver_class.all_rows:  # the same number of steps: an epoch has fewer now
        n_iter = math.ceil(n_iter * problem.rows.n_samples / folds[0][0].rows.n_samples)
    settings = settings._replace(max_iter=n_iter, in_trials=())
    trial = Trial.of(settings, folds[0][0])
    for number in range(folds.n_first):
        run_trials([(trial, folds[number], min(n_networks, 2))], lambda *_: n_networks, n_jobs)
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
