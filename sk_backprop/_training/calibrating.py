"""Calibrate the predictive distribution of a fit by errors on rows that were left out.

Networks that each leave out other rows have such errors; of those trained on all rows, errors on
rows left out follow from the residuals and the variance v of the mean, as in linear regression:
(y - f) / (1 - h) with h = v / noise, and without the row the variance of the mean is v / (1 - h).
Where the scale of the errors varies with X, a small network of the logarithm of their squares is
trained (Harvey 1976, "Estimating regression models with multiplicative heteroscedasticity",
doi:10.2307/1913974), and kept if cross-validation shows a gain.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.linalg import lstsq
from scipy.special import chdtrc

from sk_backprop._blocks.arrays import Array, beyond_range_is_inf
from sk_backprop._blocks.threads import one_blas_thread
from sk_backprop._coordinates.affine import AffineMap
from sk_backprop._inference.calibration import Calibration, TailFit, VaryingScale
from sk_backprop._inference.predictive import FittedNetworks, Moments, mixed
from sk_backprop._network.families import LIKELIHOODS
from sk_backprop._network.network import Network
from sk_backprop._training.budget import budget
from sk_backprop._training.ensemble import Group, train_networks
from sk_backprop._training.events import Events
from sk_backprop._training.folds import evenly_spread
from sk_backprop._training.problem import Data, Problem, Settings, prepare
from sk_backprop._training.run import Blend

# Minimum number of distinct rows for a calibration: the errors of fewer say less of the tails than
# the degrees of freedom do. And maximum number of rows used.
_LEAST_ROWS, _MOST_ROWS = 50, 4000

# Parts of the budget that the variances of these rows, and the networks of g, may take.
_SHARE_OF_ROWS, _SHARE_OF_SCALE = 0.03, 0.3

# Largest leverage of a training row, v / noise, and smallest squared error of the mean of networks,
# relative to that of one, that are believed.
_LARGEST_LEVERAGE, _LEAST_OF_MEAN = 0.9, 0.5

# Hidden units of g, folds of its cross-validation, and the smallest gain, in standard errors, for
# which the scale varies.
_UNITS_OF_SCALE, _N_PARTS, _LEAST_GAIN = 5, 5, 1.0

# Plain steps, all steps and tolerance of the runs for g, which need not be exact.
_PLAIN_STEPS, _MOST_STEPS, _TOL = 10, 50, 1e-3

# Squares of errors, in units of their variance, below which they are all alike: the logarithm of
# the smallest ones is noise alone.
_LEAST_SQUARE = 1e-2

# Level of the score test above which the scale is constant, and largest square of a value of X,
# in units of its variance, that counts in it.
_LEVEL, _LARGEST_SQUARE = 0.1, 25.0


@one_blas_thread()
@beyond_range_is_inf
def calibrated(blend: Blend, noise: str) -> Blend:
    """The blend, with the calibration of its predictive distribution.

    Parameters
    ----------
    blend : Blend, not of a stream
    noise : {'auto', 'constant', 'varying'}, as the parameter of that name
    """
    # Of very many rows, a sample shows the errors.
    results = [one._replace(problem=one.problem.sample) for one in blend.results]
    found = _of_errors(blend._replace(results=results), uncalibrated(blend), noise)
    return blend._replace(calibration=found)


def _of_errors(blend: Blend, found: Calibration, noise: str) -> Calibration:
    """The calibration by errors on rows that were left out, or `found` where there are none.

    blend : Blend; found : Calibration; noise : as for `calibrated`
    """
    problem = blend.results[0].problem
    rows = _rows_with_errors(blend)
    shown = rows is not None and problem.has_density and not blend.interrupted
    if not blend.results[0].settings.likelihood.additive or rows is None or not shown:
        return found
    errors, moments = _errors_left_out(blend, rows)
    always = noise == "varying"
    candidates: list[Settings] = []
    if noise != "constant":
        candidates = _affordable(blend.results[0].settings, problem, len(rows), always=always)
    # Without candidates only the errors are needed: sparse rows stay sparse.
    X = _dense(problem.rows.X[rows]) if candidates else np.empty((len(rows), 0))
    w = problem.rows.weights[rows]
    factor, dof, varying = found.factor.copy(), found.dof.copy(), list(found.varying)
    residual = _residual_dof(blend)
    for k in np.flatnonzero(~problem.scales.y.constant):
        sample = _Sample(X, errors[:, k], moments.of_noise[:, k], moments.of_mean[:, k], w)
        if not all(np.isfinite(one).all() for one in sample[1:]):  # at the limits of float64
            continue
        fit = TailFit.of(*sample[1:], g=None)
        if candidates and (always or _may_vary(sample)):
            best = _best(sample, candidates, always=always)
            if best is not None:
                g = _scale_network(sample, best)
                fit = TailFit.of(*sample[1:], g=g(X))
                varying[k] = g.times(fit.strength)
        factor[k], dof[k] = np.exp(fit.log_factor), min(residual[k], fit.dof)
    return Calibration(factor, dof, varying)


def members_of(blend: Blend) -> list[FittedNetworks]:
    """The networks of a blend, in float64 and in the solver's coordinates."""
    members = []
    for result, weight in zip(blend.results, blend.weights, strict=True):
        network = result.problem.scales.solver_network(result.settings.network)
        posteriors = [one.posterior for one in result.networks]
        params = [network.parameters(one.params.flat.astype(float)) for one in result.networks]
        members.append(FittedNetworks(network, params, posteriors, weight))
    return members


def uncalibrated(blend: Blend) -> Calibration:
    """The calibration without errors on rows that were left out.

    It is a t distribution of the residual degrees of freedom, or of those of the noise where they
    are fewer; where the noise is not additive, they are inf. The evidence counts no degree of
    freedom for the mean of y, by which it was centred; here it does count.
    """
    first, dof = blend.results[0], _residual_dof(blend)
    of_mean = np.zeros(len(dof))
    if any(one.precisions is not None for one in blend.networks):
        of_mean[first.problem.scales.y_location != 0] = 1.0
    left = dof - np.minimum(of_mean, dof / 2)
    known = np.isfinite(dof) & (dof > 0)
    factor = np.sqrt(np.divide(dof, left, out=np.ones(len(dof)), where=known))
    return Calibration.by_dof(np.minimum(left, first.settings.likelihood.dof), factor)


def _residual_dof(blend: Blend) -> Array:
    """Mean residual degrees of freedom of the networks, (n_outputs,), inf if not known."""
    known = [one.posterior.dof for one in blend.networks if one.posterior.dof is not None]
    if not blend.results[0].settings.likelihood.additive or not known:
        known = [np.full(len(blend.networks[0].posterior.noise), np.inf)]
    return np.asarray(np.mean(known, axis=0))


def _rows_with_errors(blend: Blend) -> Array | None:
    """Numbers of the rows whose errors are used, or None where none show the distribution."""
    problem = blend.results[0].problem
    if problem.n_distinct < _LEAST_ROWS or not problem.scales.precondition:
        return None
    rows = np.arange(problem.rows.n_samples)
    for result in blend.results:
        if result.left_out is not None:
            rows = np.intersect1d(rows, result.left_out[0])
        elif result.networks[0].precisions is None:  # residuals of a penalty need not show it
            return None
    cost = sum(one.posterior.n_multiplications for one in blend.networks)
    n_features = len(problem.scales.x.mean)
    affordable = _SHARE_OF_ROWS * budget(problem.rows.n_samples, n_features) / max(cost, 1)
    most = int(np.clip(affordable, 10 * _LEAST_ROWS, _MOST_ROWS))
    return evenly_spread(problem, rows, most)


def _dense(X: Any) -> Array:
    """Some rows in the solver's coordinates as a dense array with a last column of ones."""
    if isinstance(X, np.ndarray):
        return X
    X = X.toarray()
    return np.column_stack([X, np.ones(len(X), X.dtype)])


def _errors_left_out(blend: Blend, rows: Array) -> tuple[Array, Moments]:
    """Errors of rows as if they had been left out, (n_rows, n_outputs), and their moments.

    blend : Blend; rows : (n_rows,) int, as returned by `_rows_with_errors`
    """
    problem, members = blend.results[0].problem, members_of(blend)
    X, y = problem.rows.X[rows].astype(float), problem.rows.y[rows].astype(float)
    likelihood, w = blend.results[0].settings.likelihood, problem.rows.weights[rows]
    errors, of_members = np.zeros_like(y), []
    for result, member in zip(blend.results, members, strict=True):
        moments = member.moments(X, problem.scales, likelihood)
        if result.left_out is not None:
            numbers, of_networks = result.left_out
            own = of_networks[np.searchsorted(numbers, rows)]
            # Errors of single networks: those of their mean are smaller by what they differ.
            square, differences = w @ own**2, w @ moments.of_networks
            reduced = np.maximum(square - differences, _LEAST_OF_MEAN * square)
            own = own * np.sqrt(reduced / np.where(square > 0, square, 1.0))
        else:
            leverage = w[:, None] * moments.of_weights / moments.of_noise
            by_row = likelihood.row_weights((y - moments.mean) ** 2, w)
            if by_row is not None:
                leverage *= by_row
            left = 1 - np.minimum(leverage, _LARGEST_LEVERAGE)
            own = (y - moments.mean) / left
            moments = moments._replace(of_weights=moments.of_weights / left)
        of_members.append(moments)
        errors += member.weight * own
    return errors, mixed(of_members, blend.weights)


class _Sample(NamedTuple):
    """Errors of one output on rows that were left out.

    X : (n_rows, n_columns), in the solver's coordinates, with a last column of ones
    errors, of_noise, of_mean, w : (n_rows,), as for `TailFit.of`
    """

    X: Array
    errors: Array
    of_noise: Array
    of_mean: Array
    w: Array

    def take(self, rows: Array) -> Self:
        return type(self)(*(one[rows] for one in self))


def _may_vary(sample: _Sample) -> bool:
    """Whether a score test does not exclude that the scale of the errors varies with X.

    n R^2 of a regression of the logarithm of their squares on X and its squares has a chi-squared
    distribution where the scale is constant (Koenker 1981, "A note on studentizing a test for
    heteroscedasticity", doi:10.1016/0304-4076(81)90062-2).
    """
    X = sample.X[:, :-1].astype(float)
    root = np.sqrt(sample.w / sample.w.mean())[:, None]
    y = _log_squares(sample)[:, None]
    design = np.hstack([np.ones((len(X), 1)), X, np.minimum(X**2, _LARGEST_SQUARE)])
    centred = root * (y - np.average(y[:, 0], weights=sample.w))
    coef, _, rank, _ = lstsq(root * design, centred, lapack_driver="gelsy", check_finite=False)
    fitted = root * design @ coef
    explained = float((fitted**2).sum() / max(float((centred**2).sum()), np.finfo(float).tiny))
    return bool(chdtrc(max(rank - 1, 1), len(X) * explained) < _LEVEL)


def _affordable(
    settings: Settings, problem: Problem, n_rows: int, *, always: bool
) -> list[Settings]:
    """Settings of the networks of g that are affordable, the simplest first.

    settings : Settings of the fit; problem : Problem; n_rows : int
    always : bool, whether the simplest is taken even if it is not affordable
    """
    n_features = len(problem.scales.x.mean)
    likelihood = LIKELIHOODS["squared_error", "identity"]
    found = []
    for hidden in ((), (_UNITS_OF_SCALE,)):
        network = Network((n_features, *hidden, 1), "logistic", "identity")
        one = settings._replace(
            network=network,
            likelihood=likelihood,
            solver="lm",
            alpha=None,
            weight_groups="auto",
            plain_steps=(_PLAIN_STEPS,),
            max_iter=_MOST_STEPS,
            tol=_TOL,
            early_stopping=False,
            weight_unit=1.0,
            n_folds=0,
            local_units=False,
            in_trials=(),
        )
        cost = (_N_PARTS + 1) * one.cost(n_rows, _MOST_STEPS)
        if (always and not hidden) or cost <= _SHARE_OF_SCALE * budget(
            problem.rows.n_samples, n_features
        ):
            found.append(one)
    return found


def _best(sample: _Sample, candidates: Sequence[Settings], *, always: bool) -> Settings | None:
    """The network of g with the largest gain in cross-validation; None if none gains enough.

    sample : _Sample; candidates : list of Settings; always : bool, whether the best is taken anyway
    """
    n_rows, n_parts = len(sample.w), _N_PARTS
    part = np.arange(n_rows) * n_parts // n_rows  # the rows are in an order that spreads evenly
    gains = np.zeros((len(candidates), n_rows))
    for number in range(n_parts):
        kept, held_out = sample.take(part != number), sample.take(part == number)
        constant = TailFit.of(*kept[1:], g=None)
        without = constant.log_density(*held_out[1:4], g=None)
        for gain, settings in zip(gains, candidates):
            g = _scale_network(kept, settings)
            fit = TailFit.of(*kept[1:], g=g(kept.X))
            gain[part == number] = fit.log_density(*held_out[1:4], g=g(held_out.X)) - without
    best, largest = None, 0.0
    for gain, settings in zip(gains, candidates):
        mean = float(np.average(gain, weights=sample.w))
        variance = float(np.average((gain - mean) ** 2, weights=sample.w)) / n_rows
        if (always and best is None) or mean > max(largest, _LEAST_GAIN * np.sqrt(variance)):
            best, largest = settings, mean
    return best


def _log_squares(sample: _Sample) -> Array:
    """Half the logarithm of the squared errors, in units of their variance: (n_rows,)."""
    squares = sample.errors**2 / (sample.of_noise + sample.of_mean)
    least = _LEAST_SQUARE * np.average(squares, weights=sample.w) + np.finfo(float).tiny
    return np.asarray(0.5 * np.log(squares + least))


def _scale_network(sample: _Sample, settings: Settings) -> VaryingScale:
    """g, trained on the logarithm of the squared errors.

    sample : _Sample; settings : Settings of the network
    """
    X = sample.X[:, : settings.network.layer_sizes[0]].astype(float)
    problem = prepare(settings, Data(X, _log_squares(sample)[:, None], sample.w), None)
    result = train_networks(Group.of(settings, problem, [0]), Events())
    if result.interrupted:
        raise KeyboardInterrupt
    (trained,) = result.networks
    to_raw = AffineMap.to_raw(problem.scales.max_abs_coordinates)
    coefs, intercepts = to_raw.weights(trained.coefs, trained.intercepts)
    g = VaryingScale(coefs, intercepts, -np.inf, np.inf)
    outputs = g(sample.X)
    mean = float(np.average(outputs, weights=sample.w))
    intercepts[-1] -= mean
    return g._replace(least=float(outputs.min()) - mean, largest=float(outputs.max()) - mean)
