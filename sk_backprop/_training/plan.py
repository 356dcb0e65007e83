"""What 'auto' stands for: solver, penalty, hidden layers, and number of networks.

Levenberg-Marquardt with evidence is used where its steps, of n P^2 + P^3 operations for P
parameters, are affordable (`_training.budget`). What the evidence cannot decide is selected on
held-out rows (`_training.selection`): the architecture, the number of plain steps, and the
penalty of lbfgs, which serves tables too wide for lm. As many networks are trained as the budget
allows.

Three kinds of tables need other networks, which are tried as well where everything is 'auto': those
of rough functions, in which the evidence mistakes steps for noise (`_wide`); those of functions
that oscillate, for which small initial weights end at the mean or a line; and those with values far
from all others, next to which the others look like a constant (`_special`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sk_backprop._network.network import Network
from sk_backprop._solvers import SOLVERS
from sk_backprop._solvers.stochastic import MANY_ROWS, usual_epochs
from sk_backprop._training.budget import budget
from sk_backprop._training.problem import Settings

# n_samples * n_params up to which lbfgs is used where lm is not affordable: a run of 4 s on the
# UCI protein set with 50 units (2.3e7, one thread). Mini-batches gain from many rows, not from
# many columns: up to `_FEW_ROWS` rows lbfgs is used in any case.
_LBFGS_LIMIT, _FEW_ROWS = 2.5e7, 10_000

# Hidden layers tried in turn. Two layers of ten units have about as many parameters as
# one of twenty, and a higher likelihood on eight of the nine UCI sets; but one layer has the
# smaller error on the smoothest of them (yacht: RMSE 0.29, with two layers 0.38).
_SHAPES = ((5, 5), (20,), (10, 10), (15, 15), (20, 20), (30, 30))

# Sizes of the two hidden layers after units for each feature, by whether there are many rows, and
# the number of rows from which on such networks of 'muon' are tried.
_WIDTHS, _LEAST_FOR_MUON = {False: 64, True: 256}, 200

# Units for each feature: twice as many between `_MORE_UNITS_FROM` rows and many rows, where the
# error of networks of 'muon' was .98 times as large on average (ten tables, .95 to 1.05). With
# fewer rows it was .98 to 1.27 times as large (three tables), and with layers of 256 units 1.00 and
# 1.01 times. Of many features they would take too long.
_UNITS, _MORE_UNITS, _MORE_UNITS_FROM, _FEW_FEATURES = 16, 32, 500, 64

# Units that start as steep steps at training rows, plain steps from there, and inputs up to which
# they are tried: they would have to be too many for more.
_LOCAL_SHAPE, _LOCAL_STEPS, _MOST_FOR_LOCAL = (96,), 50, 3

# Units for each feature, and the layers after them, where values lie far from all others. With six
# units for each, one value of 1e4 among 300 rows was fitted, and not the other rows.
_UNITS_FOR_FAR_VALUES, _SHAPES_FOR_FAR_VALUES = 3, ((5, 5), (10, 10))

# Number of networks of 'muon' by whether there are more than `_MANY_FOR_FOLDS` rows; each leaves
# out other rows. Two networks without half of the rows, or three without a third, had larger
# errors than five (concrete, ten splits: .271, .255 and .241 standard deviations). With more rows
# each leaves out 4,000.
_MANY_FOR_FOLDS, _N_FOLDS = 20_000, {False: 5, True: 2}

# Parameters per row, at most: no more than a trial has rows, which are four fifths of all.
_PER_ROW = 0.8

# Plain steps of lm, with weak precisions, before the evidence sets them: after few, a wiggly
# target may be taken for noise; after many, noise for a wiggly target.
_COLD, _WARM = 2, 10

_LEAST_NETWORKS, MOST_NETWORKS = 2, 12

# What 'auto' stands for with the other solvers where there are no trials: one hidden layer, and
# the penalty that did best over 20 data sets.
_PLAIN_SHAPE = (20,)

# Penalties tried in turn for lbfgs: noisy tables need strong ones, noiseless functions weak ones.
_ALPHAS: tuple[float, ...] = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)

# Penalties tried before those where strong ones are preferred. The dispersion of counts, in units
# of their mean, is 100 for a mean of 0.01: a penalty of 100 then acts like one of 1, and one of
# two counts above 0 among 250 rows was predicted exactly.
_STRONGEST_ALPHAS = (10_000.0, 1000.0)

# Largest `tol` of a linear candidate, by whether its solver uses mini-batches, whose noise hides
# smaller gains.
_LINEAR_TOL = {False: 1e-8, True: 1e-5}

# Part of the budget that the final networks may take.
_FINAL_SHARE = 0.6


class Plan(NamedTuple):
    """What to train.

    families : candidates to select from on held-out rows; see `_training.selection.choose`
    n_networks : int, or None for as many as are affordable
    untried : Settings, used where there are too few rows to hold some out
    finds_outliers : bool, whether outliers are looked for, and left out
    """

    families: list[list[Settings]]
    n_networks: int | None
    untried: Settings
    finds_outliers: bool = False

    @property
    def settings(self) -> Settings:
        """The first candidate, for the settings that all candidates share."""
        return self.families[0][0]

    @property
    def candidates(self) -> list[Settings]:
        """The candidates of all families."""
        return [settings for family in self.families for settings in family]

    def n_networks_of(self, n_samples: int, candidate: Settings, n_steps: float | None) -> int:
        """Number of networks to average if a candidate is selected.

        Parameters
        ----------
        n_samples : int
        candidate : Settings
        n_steps : float or None, mean steps of its runs in the trials
        """
        if self.n_networks or candidate.network.is_linear:
            return self.n_networks or 1  # all linear models end in one optimum
        if candidate.n_folds:
            return candidate.n_folds
        affordable = _FINAL_SHARE * budget(n_samples, candidate.network.layer_sizes[0])
        return int(np.clip(affordable / candidate.cost(n_samples, n_steps), 1, MOST_NETWORKS))

    @property
    def most_tasks(self) -> int:
        """Upper bound on the tasks of a fit: the trials together are one, and so is each run."""
        n_networks = self.n_networks or MOST_NETWORKS
        if self.n_networks and any(settings.alpha is None for settings in self.candidates):
            n_networks = 2 * n_networks - 1  # networks that failed are replaced
        n_runs = max(len(settings.plain_steps) for settings in self.candidates)
        n_on_folds = max(settings.n_folds for settings in self.candidates)
        return int(len(self.candidates) > 1) + n_networks * max(n_runs, 1) + n_on_folds


def units_for_each_feature(n_samples: int, n_features: int) -> int:
    """Units for each feature in the first layer of networks of 'muon'."""
    more = _MORE_UNITS_FROM <= n_samples < MANY_ROWS and n_features <= _FEW_FEATURES
    return _MORE_UNITS if more else _UNITS


def choose_solver(network: Network, n_samples: int, *, mini_batches: bool = True) -> str:
    """What solver='auto' stands for, for a network of given shape.

    mini_batches : bool, whether they can be drawn from the rows
    """
    n_features = network.layer_sizes[0]
    affordable = _FINAL_SHARE * budget(n_samples, n_features)
    if SOLVERS["lm"].cost(network, n_samples) <= affordable:
        return "lm"
    few = n_samples * network.n_params <= _LBFGS_LIMIT or n_samples <= _FEW_ROWS
    return "lbfgs" if few or not mini_batches else "adam"


def make_plan(
    settings: Settings,
    hidden: tuple[int, ...] | None,
    n_networks: int | None,
    n_samples: int,
    mean_weight: float = 1.0,
    *,
    streaming: bool = False,
    mini_batches: bool = True,
    muon: Settings | None = None,
    far_values: bool = False,
) -> Plan:
    """Resolve solver='auto', alpha='auto' (None), and hidden layers 'auto' (None).

    Parameters
    ----------
    settings : Settings, whose `network` may lack the hidden layers
    hidden : tuple of int, or None for 'auto'
    n_networks : int, or None for 'auto'
    n_samples : int, distinct rows where that matters
    mean_weight : float, of distinct rows; penalties that are chosen here are multiples of it
    streaming : bool, whether the rows are one batch of a stream, of which none are held out
    mini_batches : bool, whether they can be drawn from the rows
    muon : Settings of that solver, if networks for special tables may be selected
    far_values : bool, whether values of a feature lie far from all others
    """
    everything_auto = hidden is None and settings.solver == "auto" and settings.alpha is None
    if everything_auto:
        families = _automatic(settings, n_samples, mini_batches=mini_batches)
    else:
        families = _families(settings, hidden, n_samples, mini_batches=mini_batches)
    last = families[-1]
    untried = families[0][0] if families[0][0].alpha is None else last[0]
    if len({one.alpha for one in last}) > 1 and not settings.likelihood.prefers_strong_penalty:
        # Counts keep the strongest penalty, as too few of them are above 0 for trials.
        untried = _plainly_penalised(last[0])
    if streaming:
        families = [[untried]]
    by_evidence = [[one for one in family if one.alpha is None] for family in families]
    by_evidence = [family for family in by_evidence if family]
    if len(families) > 1 and mean_weight >= _LARGE_WEIGHT:
        families = families + [
            [one._replace(weight_unit=mean_weight) for one in family] for family in by_evidence
        ]
    if settings.alpha is None:
        families = [[_times(one, mean_weight) for one in family] for family in families]
        untried = _times(untried, mean_weight)
    finds_outliers = False
    if everything_auto and muon is not None and not streaming:
        if mini_batches and n_samples >= _LEAST_FOR_MUON:
            families.append([_wide(muon, n_networks, n_samples)])
        families += _special(settings, n_samples, far_values=far_values)
        likelihood = settings.likelihood
        finds_outliers = likelihood.sensitive_to_outliers and not likelihood.max_target_is_unit
    averaged = untried.solver_class.all_rows if everything_auto else bool(by_evidence)
    return Plan(families, n_networks or (None if averaged else 1), untried, finds_outliers)


# Mean weight of distinct rows from which on held-out rows decide whether the evidence takes
# weights as counts, or only as relative ones. As counts, 300 rows of weight 5 pass for 1,500,
# whose noise would be well known: the error was 7 % larger, with weights of 100 57 %.
_LARGE_WEIGHT = 2.0


def _times(settings: Settings, mean_weight: float) -> Settings:
    """The settings, with any penalty scaled so that it acts as on rows of weight 1."""
    alpha = settings.alpha
    return settings if alpha is None else settings._replace(alpha=alpha * mean_weight)


def _families(
    settings: Settings, hidden: tuple[int, ...] | None, n_samples: int, *, mini_batches: bool
) -> list[list[Settings]]:
    """The candidates of `make_plan`, with penalties for weights of 1.

    settings, hidden, n_samples, mini_batches : as in `make_plan`
    """
    shapes = [
        settings.network if hidden is not None else settings.network.with_hidden(_PLAIN_SHAPE)
    ]
    if hidden is None and settings.solver == "auto":
        shapes = _affordable(settings._replace(solver="lm"), n_samples) or shapes
    elif hidden is None and settings.solver_class.evidence:
        # Where no architecture is affordable, the smallest one.
        least = settings.network.with_hidden(_SHAPES[0])
        shapes = _affordable(settings, n_samples) or [least]
    solver = settings.solver
    if solver == "auto":
        solver = choose_solver(shapes[0], n_samples, mini_batches=mini_batches)
    settings = settings._replace(solver=solver, network=shapes[0])
    if settings.solver_class.evidence and settings.alpha is None:
        if hidden is None:
            return [_linear(settings), _nonlinear(settings, shapes)]
        by_evidence = settings._replace(plain_steps=(_COLD, _WARM))
        return [[by_evidence] if hidden else _linear(settings)]
    if hidden is not None:
        return [_penalised(settings)]
    nonlinear = [settings._replace(network=shape) for shape in shapes]
    return [_linear_penalised(settings), [one for net in nonlinear for one in _penalised(net)]]


def _linear_penalised(settings: Settings) -> list[Settings]:
    """Linear models with the given penalty, or with each penalty to choose from.

    A penalty shrinks slopes towards zero. Far from the data the error that results grows, and the
    standard deviation does not account for it: with 150 rows, the slope 2 and a penalty of 2,
    95 % intervals covered 86 % at ten times the range. The weakest penalty is therefore first.
    (A rate is different: the exponential of a steep slope is worse than that of a flat one.)
    """
    linear = settings._replace(network=_linear_network(settings))
    # At the usual tolerance slopes end 2 % from their optimum.
    by_batches = not settings.solver_class.all_rows
    linear = linear._replace(tol=min(linear.tol, _LINEAR_TOL[by_batches]))
    if by_batches and settings.alpha is None and not settings.likelihood.prefers_strong_penalty:
        return [
            linear._replace(alpha=alpha)
            for alpha in (_ALPHAS[-1], linear.solver_class.usual["alpha"])
        ]
    family = _penalised(linear)
    return family if settings.likelihood.prefers_strong_penalty else family[::-1]


def _penalised(settings: Settings) -> list[Settings]:
    """One architecture with the given penalty, or with each penalty to choose from."""
    if settings.alpha is not None:
        return [settings]
    if settings.solver_class.all_rows and not settings.early_stopping:
        return _penalties(settings)
    return [_plainly_penalised(settings)]


def _plainly_penalised(settings: Settings) -> Settings:
    """The settings with the penalty that is used without trials."""
    return settings._replace(alpha=settings.solver_class.usual["alpha"])


def _automatic(settings: Settings, n_samples: int, *, mini_batches: bool) -> list[list[Settings]]:
    """Candidates where solver, penalty and architecture are all to be selected."""
    network = settings.network
    plain = settings._replace(network=network.with_hidden(_PLAIN_SHAPE))
    lm = settings._replace(solver="lm")
    shapes = _affordable(lm, n_samples)
    otherwise = choose_solver(plain.network, n_samples, mini_batches=mini_batches)
    if not shapes and otherwise == "adam":
        adam = settings._replace(solver="adam")
        return _families(adam, None, n_samples, mini_batches=mini_batches)
    families = []
    affordable = _FINAL_SHARE * budget(n_samples, network.layer_sizes[0])
    if lm._replace(network=_linear_network(lm)).cost(n_samples) <= affordable:
        families.append(_linear(lm))
    if shapes:
        families.append(_nonlinear(lm, shapes))
    wide = not shapes or shapes[0].n_params > n_samples
    lbfgs = plain._replace(solver="lbfgs")
    if wide and otherwise == "lbfgs" and not settings.early_stopping:
        families.append(_penalties(lbfgs))
    return families or [[_plainly_penalised(lbfgs)]]


def _linear_network(settings: Settings) -> Network:
    return replace(settings.network, units_per_feature=0).with_hidden(())


def _linear(settings: Settings) -> list[Settings]:
    """Linear models, with precisions from the evidence."""
    network = _linear_network(settings)
    linear = settings._replace(network=network, plain_steps=(_COLD,))
    if settings.weight_groups != "auto":
        return [linear]
    # One precision for each single weight overfits where columns are many: 95 % intervals
    # covered 59 % with 975 rows of 1,000 columns.
    return [linear._replace(weight_groups=groups) for groups in ("layer", "input")]


def _nonlinear(settings: Settings, shapes: Sequence[Network]) -> list[Settings]:
    """Networks with hidden layers, with precisions from the evidence."""
    warm = [settings._replace(network=shape, plain_steps=(_WARM,)) for shape in shapes]
    return [settings._replace(network=shapes[0], plain_steps=(_COLD,)), *warm]


def _special(settings: Settings, n_samples: int, *, far_values: bool) -> list[list[Settings]]:
    """Families for far values, and for functions that oscillate.

    settings, n_samples, far_values : as in `make_plan`
    """
    families = []
    if far_values and (bounded := _bounded(settings, n_samples)):
        families.append(bounded)
    network = replace(settings.network, units_per_feature=0).with_hidden(_LOCAL_SHAPE)
    local = settings._replace(
        solver="lm", network=network, plain_steps=(_LOCAL_STEPS,), local_units=True
    )
    limit = _FINAL_SHARE * budget(n_samples, network.layer_sizes[0])
    if network.layer_sizes[0] <= _MOST_FOR_LOCAL and local.cost(n_samples) <= limit:
        families.append([local])
    return families


def _bounded(settings: Settings, n_samples: int) -> list[Settings]:
    """Networks over a few units for each feature, which bound what a far value can do.

    settings, n_samples : as in `make_plan`
    """
    network = replace(settings.network, units_per_feature=_UNITS_FOR_FAR_VALUES)
    lm = settings._replace(solver="lm", network=network, plain_steps=(_WARM,))
    shapes = _affordable(lm, n_samples, _SHAPES_FOR_FAR_VALUES)
    return [lm._replace(network=shape) for shape in shapes]


def _wide(settings: Settings, n_networks: int | None, n_samples: int) -> Settings:
    """Wide networks over units for single features: for rough functions and many rows.

    settings : Settings of 'muon'; n_networks, n_samples : as in `make_plan`
    """
    width = _WIDTHS[n_samples >= MANY_ROWS]
    return settings._replace(
        network=settings.network.with_hidden((width, width)),
        alpha=settings.solver_class.usual["alpha"],
        max_iter=min(settings.max_iter, usual_epochs(n_samples)),
        n_folds=0 if n_networks else _N_FOLDS[n_samples > _MANY_FOR_FOLDS],
    )


def _penalties(settings: Settings) -> list[Settings]:
    """One architecture under several penalties."""
    alphas = _ALPHAS
    if settings.likelihood.prefers_strong_penalty:
        alphas = (*_STRONGEST_ALPHAS, *_ALPHAS)
    return [settings._replace(alpha=alpha) for alpha in alphas]


def _affordable(
    settings: Settings, n_samples: int, shapes: Sequence[tuple[int, ...]] = _SHAPES
) -> list[Network]:
    """The architectures that are affordable with the solver, smallest first.

    All but the smallest have no more parameters than a trial has rows.
    """
    limit = _FINAL_SHARE * budget(n_samples, settings.network.layer_sizes[0]) / _LEAST_NETWORKS
    networks = [settings.network.with_hidden(hidden) for hidden in shapes]
    return [
        one
        for one in networks
        if settings._replace(network=one).cost(n_samples) <= limit
        and (one.n_params <= _PER_ROW * n_samples or one == networks[0])
    ]
