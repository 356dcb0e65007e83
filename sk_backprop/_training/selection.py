"""The search: architecture and penalty are selected on held-out rows."""

from collections.abc import Iterable, Iterator, Sequence

from sk_backprop._solvers.stochastic import VERY_MANY_ROWS
from sk_backprop._training.blending import HeldOutErrors, stacking_weight
from sk_backprop._training.events import Events
from sk_backprop._training.folds import Folds
from sk_backprop._training.problem import Problem, Settings
from sk_backprop._training.trials import Choice, NetworksOf, Trial, run_trials

# Of many rows (`_training.folds`) the trials train on at least `_LEAST_ROWS` and at most the
# fraction `_SHARE`: as many as the fraction `_MANY_ROWS_SHARE` of the trials' budget can pay for.
# Two networks are averaged, if affordable: a single one is a matter of luck.
_LEAST_ROWS, _SHARE, _MANY_ROWS_SHARE = 4000, 0.7, 0.5

# Rows that trials train on, at most, where a candidate uses mini-batches, by whether there are very
# many: with 20,000 of 100,000 rows of 10 columns the trials took 35 of 70 s (one thread).
_MOST_FOR_BATCHES = {False: 20_000, True: 15_000}

# Successive candidates without improvement that end a family.
_PATIENCE = 2

# Weight below which a kind of networks is left out of a blend, and distinct rows up to which there
# are blends: with more, both would take too long.
_LEAST_WEIGHT, _MOST_TO_BLEND = 0.1, 10_000


def choose(
    families: Sequence[Sequence[Settings]],
    n_networks: NetworksOf,
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
    folds = Folds(problem, trial_rows(families, problem.n_distinct, affordable))
    # An observer may end the trials after any of them.
    search = _Search(families, folds, affordable, n_networks, n_jobs, ahead=not events.observed)
    best: Trial | None = None
    on_folds: Trial | None = None
    tried: list[Trial] = []
    best_of_family: Trial | None
    for place, family in enumerate(families):
        n_worse, best_of_family = 0, None
        for number, candidate in enumerate(family):
            if not search.affords(place, number):
                continue
            events.begin_trial()
            trial = search.trial(place, number, n_worse)
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
        best = search.decided(best, rival)
    if on_folds is None:
        return best.alone(problem)
    return _blended(best, on_folds, problem)


def _may_be_blended(settings: Settings, n_distinct: int) -> bool:
    """Whether the networks of a candidate may be averaged with those of another kind."""
    return settings.n_folds > 0 and n_distinct <= _MOST_TO_BLEND


def _blended(best: Trial, on_folds: Trial, problem: Problem) -> list[Choice]:
    """The better of two candidates, or both with their weights.

    Parameters
    ----------
    best : Trial, of the best other candidate
    on_folds : Trial, of networks that each leave out other rows
    problem : Problem, with all rows
    """
    if best.is_linear:  # with it, a mean would extrapolate as half a line
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


class _Search:
    """Trials of the candidates, as far as they are affordable.

    Where nobody watches, candidates that are certain to be tried are trained together, so that
    threads always have work.

    Parameters
    ----------
    families, affordable, n_networks, n_jobs : as in `choose`
    folds : Folds
    ahead : bool, whether candidates may be trained together
    """

    def __init__(
        self,
        families: Sequence[Sequence[Settings]],
        folds: Folds,
        affordable: float,
        n_networks: NetworksOf,
        n_jobs: int | None,
        *,
        ahead: bool,
    ) -> None:
        self._families, self._folds, self._affordable = families, folds, affordable
        self._n_networks, self._n_jobs, self._ahead = n_networks, n_jobs, ahead
        self._trials: dict[tuple[int, int], Trial] = {}

    def affords(self, place: int, number: int) -> bool:
        """Whether candidate `number` of the family at `place` can be tried; the first always is."""
        tried = (place, number) in self._trials
        return number == 0 or tried or self._extent(self._families[place][number])[1] > 0

    def trial(self, place: int, number: int, n_worse: int) -> Trial:
        """The trial of candidate `number` of the family at `place`.

        n_worse : int, candidates without improvement directly before it
        """
        if (place, number) not in self._trials:
            certain = self._certain(place, number, n_worse) if self._ahead else [(place, number)]
            self._run(certain)
        return self._trials[place, number]

    def _certain(self, place: int, number: int, n_worse: int) -> Iterator[tuple[int, int]]:
        """Places and numbers of this candidate, and of the next ones, whatever their scores."""
        for family in self._families[place:]:
            end = min(number + _PATIENCE - n_worse, len(family))
            yield from ((place, one) for one in range(number, end))
            if end < len(family):
                return
            place, number, n_worse = place + 1, 0, 0

    def _extent(self, candidate: Settings) -> tuple[int, int]:
        """Affordable folds, and networks in each; (1, 0) if nothing is affordable."""
        affordable = self._affordable / candidate.cost(self._folds[0][0].rows.n_samples)
        return extent(candidate, self._folds.n_first, affordable)

    def _run(self, candidates: Iterable[tuple[int, int]]) -> None:
        """Train and score candidates, given by place and number, that are affordable."""
        todo = []
        part, _ = self._folds[0]
        for place, number in candidates:
            if not self.affords(place, number):
                continue
            candidate = self._families[place][number]
            n_folds, n_each = self._extent(candidate)
            self._affordable -= n_folds * n_each * candidate.cost(part.rows.n_samples)
            trial = self._trials[place, number] = Trial.of(candidate, part)
            todo += [(trial, self._folds[fold], max(n_each, 1)) for fold in range(n_folds)]
        run_trials(todo, self._n_networks, self._n_jobs)

    def decided(self, best: Trial, rival: Trial) -> Trial:
        """The better of two candidates, where only the margin favours the simpler one.

        Both are scored on the remaining folds, as far as the budget allows.

        best, rival : Trial, the simpler candidate and the one with the better score
        """
        for number in range(len(best.scores), len(self._folds)):
            fold = self._folds[number]
            n_rows = fold[0].rows.n_samples
            self._affordable -= sum(one.n_each * one.settings.cost(n_rows) for one in (best, rival))
            if self._affordable < 0:
                break
            both = [(one, fold, one.n_each) for one in (best, rival)]
            run_trials(both, self._n_networks, self._n_jobs)
        return rival if rival.beats(best) else best


def extent(settings: Settings, n_folds: int, n_affordable: float) -> tuple[int, int]:
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


def trial_rows(families: Sequence[Sequence[Settings]], n_samples: int, affordable: float) -> int:
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
