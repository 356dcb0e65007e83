"""Outliers: rows whose target is a gross error, to which a fit by squared errors would bend.

A network with a t likelihood (`_network.likelihood.StudentT`) gives such rows next to no weight,
and a gap separates their residuals from those of all other rows. A distribution with heavy or
skewed tails has no such gap: it keeps all its rows, as the mean of y is asked for. Rows beyond the
gap are left out if it is wide, or networks that are trained without them predict the other rows
better, and if networks that are trained with them do not predict them any better: what can be
predicted is no error, but a part of the function.
"""

from typing import NamedTuple, Self

import numpy as np
from scipy.linalg import lstsq

from sk_backprop._blocks.arrays import Array, row_blocks, weighted_median
from sk_backprop._blocks.threads import one_blas_thread
from sk_backprop._coordinates.scales import Scales, divide_columns
from sk_backprop._network.families import LIKELIHOODS
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network, Parameters, evaluate
from sk_backprop._training.budget import budget
from sk_backprop._training.ensemble import Group, train_networks
from sk_backprop._training.events import Events
from sk_backprop._training.folds import evenly_spread, left_out, part_of
from sk_backprop._training.plan import Plan
from sk_backprop._training.problem import Data, Problem, Settings, prepare
from sk_backprop._training.run import Blend, Trained

# Rows below which there is no search, and most rows to train on; the part of the budget that a run
# of the robust fit may take, and its tolerance.
_LEAST_ROWS, _MOST_ROWS, _SHARE, _TOL = 20, 4000, 0.05, 1e-2

# Plain steps of the two runs of the robust fit; the one with the higher evidence is kept.
# After ten steps it may have memorised outliers, after two it may take the function for noise.
_PLAIN_STEPS = (2, 10)

# Residual of an outlier in units of the robust standard deviation of all residuals, at least; the
# largest fraction of rows that may be outliers; and how many times the quantile of all residuals
# that twice as many rows exceed the median of the outliers must be. Where a tail falls with the
# power a, it is about 4^(1/a) times: 4 for a Cauchy distribution, which has no mean.
_LEAST_Z, _MOST_OUTLIERS, _GAP = 8.0, 0.1, 6.0

# Width of a gap beyond which rows need not harm the fit of networks to be left out, and number of
# different values of y up to which no row is an outlier.
_WIDE_GAP, _MOST_GRADES = 12.0, 20

# Squared error of the other rows with the outliers among the training rows, relative to that
# without: at least, as geometric mean over the kinds of networks. The same ratio of the absolute
# error of the outliers: at least, for every kind. Where y jumps in a corner, or has a spike, in 1
# to 3 % of 200 rows, the second was .01 to .7 (in one of 18 tables 1); with errors of 0 to 120
# times the noise in 1 to 5 % of 100 to 1,000 rows it was .7 to 1.1.
_HARM, _UNPREDICTED = 1.25, 0.65

# Rows for each column that the scale of the residuals is regressed on, at least; the largest value
# of a column that counts, in its standard deviations; the smallest residual that does, relative to
# their mean; and the ridge.
_ROWS_PER_COLUMN, _FARTHEST, _LEAST_SIZE, _RIDGE = 8, 3.0, 0.1, 0.03

# Weight of a row, relative to that of one without an error, below which it has next to none: at
# errors of 8.7 times the scale of a t distribution with 4 degrees of freedom.
_LEAST_WEIGHT = 0.05

# Searches: the first may leave some of many outliers in the noise.
MOST_SEARCHES = 3

# Rows up to which all of five folds are used; suspects that are enough to use no more than two of
# them; rows above which there are two folds; and steps.
_FEW_ROWS, _ENOUGH, _MANY_ROWS, _MOST_STEPS = 200, 5, 3000, 100


def outlying_rows(plan: Plan, data: Data, problem: Problem) -> Array:
    """Which rows to leave out, (n_samples,) bool; none for most data.

    Parameters
    ----------
    plan : Plan, the candidates of the fit
    data : Data, raw, dense
    problem : Problem of all these rows
    """
    kept = np.arange(data.n_samples)
    with one_blas_thread():
        for number in range(MOST_SEARCHES):
            if number:
                problem = prepare(plan.settings, data.take(kept), None)
            found = gap_of(plan, problem.sample)
            if found is None:
                break
            kept = kept[~found.beyond_raw(data.select(kept), problem.scales)]
    outlying = np.ones(data.n_samples, dtype=bool)
    outlying[kept] = False
    return outlying


def gap_of(plan: Plan, problem: Problem) -> "Gap | None":
    """The gap beyond which rows are errors, or None if there is none.

    plan : Plan, the candidates of the fit; problem : Problem, in memory
    """
    with one_blas_thread():
        found = _set_apart(plan, problem)
        return found if found is not None and _are_errors(plan, problem, found) else None


class Gap(NamedTuple):
    """A robust fit, and the residual above which rows are set apart from the others.

    network, params : Network and Parameters, of f in the solver's coordinates
    log_scale : (n_columns + 1, n_outputs), of a linear model of ln |y - f|, given X and f
    limit : (n_outputs,), of |y - f|, relative to that scale
    width : float, the largest width of a gap, as returned by `gap_in`
    """

    network: Network
    params: Parameters
    log_scale: Array
    limit: Array
    width: float

    def sizes(self, rows: Data) -> Array:
        """|y - f| relative to its scale, (n_samples, n_outputs).

        rows : Data, in the solver's coordinates
        """
        found = np.empty(rows.y.shape)
        for block in row_blocks(rows.n_samples, _MOST_ROWS):
            X, y = rows.X[block], rows.y[block]
            f = evaluate(self.network, self.params.coefs, self.params.intercepts, X)
            found[block] = np.abs(y - f) / np.exp(_regressors(X, f) @ self.log_scale)
        return found

    def beyond(self, rows: Data) -> Array:
        """Rows beyond the gap, (n_samples,) bool; rows : Data, in the solver's coordinates."""
        return np.asarray((self.sizes(rows) > self.limit).any(axis=1))

    def beyond_raw(self, data: Data, scales: Scales) -> Array:
        """As `beyond`, for raw rows; scales : Scales, of the coordinates of the robust fit."""
        found = np.zeros(data.n_samples, dtype=bool)
        for rows in row_blocks(data.n_samples, _MOST_ROWS):
            X = scales.input(data.X[rows], float)
            found[rows] = self.beyond(Data(X, scales.target(data.y[rows], float)))
        return found


def _set_apart(plan: Plan, problem: Problem) -> Gap | None:
    """The gap in the residuals of a robust fit; None if there is none.

    plan, problem : as for `outlying_rows`
    """
    settings, rows = _robust_settings(plan, problem), problem.rows
    # One of few values, such as a grade, may be rare, but is no error.
    grades = any(len(np.unique(y[:_MOST_ROWS])) <= _MOST_GRADES for y in rows.y.T)
    if problem.n_distinct < _LEAST_ROWS or settings is None or grades or not problem.has_density:
        return None
    part = _at_most(problem, _MOST_ROWS)
    params = _trained(settings, part).params
    network = problem.scales.solver_network(settings.network)
    f = evaluate(network, params.coefs, params.intercepts, part.rows.X)
    log_scale = _log_scale(np.abs(part.rows.y - f), _regressors(part.rows.X, f), part.rows.weights)
    gap = Gap(network, params, log_scale, np.full(f.shape[1], np.inf), 0.0)
    found = [gap_in(column, rows.weights) for column in gap.sizes(rows).T]
    limit, width = np.transpose(found)
    return None if np.isinf(limit).all() else gap._replace(limit=limit, width=float(width.max()))


def _regressors(X: Array, f: Array) -> Array:
    """What the scale of the noise may depend on: (n_rows, n_columns), the last of ones.

    X : (n_rows, n_features + 1), in the solver's coordinates; f : (n_rows, n_outputs), of the fit
    """
    return np.asarray(np.clip(np.column_stack([f, X]), -_FARTHEST, _FARTHEST))


def _log_scale(sizes: Array, regressors: Array, w: Array) -> Array:
    """Coefficients of ln |y - f| given X and f, (n_columns, n_outputs); 0 if rows are few.

    sizes : (n_rows, n_outputs), |y - f|; regressors : as returned by `_regressors`
    w : (n_rows,), weights
    """
    n_rows, n_columns = regressors.shape
    if n_rows < _ROWS_PER_COLUMN * n_columns:
        return np.zeros((n_columns, sizes.shape[1]))
    least = _LEAST_SIZE * (w @ np.minimum(sizes, 1.0)) / w.sum()
    logs = np.log(np.maximum(sizes, np.maximum(least, np.finfo(float).tiny)))
    # A ridge: the columns may depend on each other.
    root = np.sqrt(w / w.mean())[:, None]
    design = np.vstack([root * regressors, _RIDGE * np.sqrt(n_rows) * np.eye(n_columns)])
    target = np.vstack([root * logs, np.zeros((n_columns, sizes.shape[1]))])
    return np.asarray(lstsq(design, target, lapack_driver="gelsy", check_finite=False)[0])


def _robust_settings(plan: Plan, problem: Problem) -> Settings | None:
    """Settings of the robust fit: the smallest network, or else a linear model, if affordable."""
    n_samples = min(problem.rows.n_samples, _MOST_ROWS)
    linear = [one for one in plan.candidates if one.alpha is None and one.network.is_linear]
    networks = [one._replace(plain_steps=_PLAIN_STEPS) for one in _smallest_network(plan)]
    for one in [*networks, *linear]:
        affordable = _SHARE * budget(problem.rows.n_samples, one.network.layer_sizes[0])
        if one.cost(n_samples) <= affordable:
            likelihood = LIKELIHOODS["student_t", "identity"]
            return one._replace(likelihood=likelihood, tol=max(one.tol, _TOL))
    return None


def _smallest_network(plan: Plan) -> list[Settings]:
    """The smallest network with evidence among the candidates, if there is one."""
    networks = [one for one in plan.candidates if one.alpha is None and one.plain_steps]
    networks = [one for one in networks if not (one.network.is_linear or one.local_units)]
    least = min((one.network.n_params for one in networks), default=0)
    return [one for one in networks if one.network.n_params == least][-1:]


def _trained(settings: Settings, problem: Problem) -> Trained:
    """One network, as in a trial.

    settings : Settings; problem : Problem of the rows to train on
    """
    settings = settings._replace(**dict(settings.in_trials), n_folds=0)
    if settings.solver_class.evidence:
        settings = settings._replace(max_iter=min(settings.max_iter, _MOST_STEPS))
    problem = problem.in_unit(settings.weight_unit).in_precision_of(settings)
    result = train_networks(Group.of(settings, problem, [0]), Events())
    if result.interrupted:
        raise KeyboardInterrupt
    return result.networks[0]


def _at_most(problem: Problem, n_rows: int) -> Problem:
    """The problem of at most `n_rows` of its rows, which cover X evenly."""
    if problem.rows.n_samples <= n_rows:
        return problem
    rows = np.arange(problem.rows.n_samples)
    return part_of(problem, evenly_spread(problem, rows, n_rows))


def gap_in(residuals: Array, w: Array) -> tuple[float, float]:
    """The middle of the gap between the residuals of outliers and all others, inf without one.

    The second number is its width: how many times the quantile of all residuals that twice as many
    rows exceed the median residual of the outliers is.

    residuals : (n_rows,), absolute; w : (n_rows,), weights
    """
    order = np.argsort(-residuals, kind="stable")
    sizes, beyond = residuals[order], np.cumsum(w[order]) / w.sum()
    unit = max(1.4826 * weighted_median(residuals, w), np.finfo(float).tiny)
    is_large = (sizes > _LEAST_Z * unit) & (beyond <= _MOST_OUTLIERS)
    share = beyond[is_large]
    rounding = 1e-9 * beyond[0]
    median = sizes[np.searchsorted(beyond, share / 2 - rounding)]
    usual = sizes[np.searchsorted(beyond, 2 * share + rounding)]
    ends = np.flatnonzero(median > _GAP * usual)
    if not len(ends):
        return np.inf, 0.0
    last = ends[-1]
    width = median[last] / max(usual[last], np.finfo(float).tiny)
    return float(sizes[last : last + 2].mean()), float(width)


def _are_errors(plan: Plan, problem: Problem, gap: Gap) -> bool:
    """Whether the rows beyond a gap harm the fit, or are far away, and no network predicts them.

    plan, problem : as for `outlying_rows`; gap : Gap
    """
    suspects = gap.beyond(problem.rows)
    n_distinct, numbers = problem.n_distinct, np.arange(problem.rows.n_samples)
    if n_distinct > _MANY_ROWS:
        numbers = evenly_spread(problem, numbers, 2 * _MOST_ROWS)
        problem, suspects = part_of(problem, numbers), suspects[numbers]
    folds = left_out(problem, 2 if n_distinct > _MANY_ROWS else 5)
    linear = [one for one in plan.candidates if one.alpha is None and one.network.is_linear]
    kinds = [*linear[:1], *_smallest_network(plan)]
    kinds += [one for one in plan.candidates if one.n_folds or one.local_units]
    errors = np.zeros((len(kinds), 2, 2))
    n_seen = 0
    for number, (part, rows, held_out) in enumerate(folds):
        if number >= 2 and n_distinct > _FEW_ROWS and n_seen >= _ENOUGH:
            break
        n_seen += int(np.count_nonzero(suspects[held_out]))
        kept = np.setdiff1d(np.flatnonzero(~suspects), held_out)
        without, is_suspect = part_of(problem, kept), suspects[held_out]
        for found, settings in zip(errors, kinds):
            network = problem.scales.solver_network(settings.network)
            for sums, training in zip(found, (part, without)):
                params = _trained(settings, training).params
                f = evaluate(network, params.coefs, params.intercepts, rows.X)
                w, error = rows.weights, rows.y - f
                sums += (
                    (w[~is_suspect] @ error[~is_suspect] ** 2).sum(),
                    (w[is_suspect] @ np.abs(error[is_suspect])).sum(),
                )
    with_suspects, without_them = errors[:, 0], np.maximum(errors[:, 1], np.finfo(float).tiny)
    harm = np.exp(np.mean(np.log(with_suspects[:, 0] / without_them[:, 0])))
    ratio = with_suspects[:, 1] / without_them[:, 1]
    harmful = harm >= _HARM or gap.width >= _WIDE_GAP
    return bool(harmful and np.all(ratio[with_suspects[:, 1] > 0] >= _UNPREDICTED))


class WeightsOfRows(NamedTuple):
    """The weight that the loss of a fit gives to rows, by their errors.

    likelihood : Likelihood, at the noise of the fit; scales : Scales
    networks : (network, coefs, intercepts, weight in the mean) of each, for MaxAbs-scaled inputs
    """

    likelihood: Likelihood
    scales: Scales
    networks: list[tuple[Network, list[Array], list[Array], float]]

    @classmethod
    def of(cls, blend: Blend) -> Self:
        """Those of a fit."""
        problem, likelihood = blend.results[0].problem, blend.results[0].settings.likelihood
        noise = np.mean([one.posterior.noise for one in blend.networks], axis=0)
        networks = [
            (result.settings.network, one.coefs, one.intercepts, weight / len(result.networks))
            for result, weight in zip(blend.results, blend.weights, strict=True)
            for one in result.networks
        ]
        return cls(likelihood.at_noise(noise), problem.scales, networks)

    def without(self, data: Data) -> Array:
        """Which rows have next to no weight, (n_samples,) bool; data : Data, raw."""
        found = np.zeros(data.n_samples, dtype=bool)
        for rows in row_blocks(data.n_samples, _MOST_ROWS):
            X = divide_columns(data.X[rows], self.scales.x_unit)
            y = self.scales.target(data.y[rows], float)
            f = np.zeros_like(y)
            for network, coefs, intercepts, weight in self.networks:
                f += weight * evaluate(network, coefs, intercepts, X)
            exact, root = (self.likelihood.residual_root(f.T, at.T)[2] for at in (f, y))
            found[rows] = ((root / exact) ** 2 < _LEAST_WEIGHT).any(axis=0)
        return found
