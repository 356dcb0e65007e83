"""Fitted state and warnings, from the trained networks."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import MaxAbsScaler

from sk_backprop._blocks.arrays import Array, beyond_range_is_inf
from sk_backprop._blocks.threads import one_blas_thread
from sk_backprop._coordinates.scales import CentredSparse, Scales
from sk_backprop._coordinates.seen_rows import SeenRows
from sk_backprop._estimator.importance import feature_importances
from sk_backprop._estimator.state import (
    NO_EVIDENCE,
    Columns,
    Continuation,
    Evidence,
    FittedState,
    History,
    Trainer,
)
from sk_backprop._inference.consistency import all_finite
from sk_backprop._inference.factors import RoundedInverse
from sk_backprop._inference.laplace import Posterior, outputs_and_variances
from sk_backprop._inference.predictive import FittedFunction, Predictive
from sk_backprop._network.averaging import Member, merged
from sk_backprop._network.network import evaluate
from sk_backprop._solvers._result import ENDINGS, SolverResult
from sk_backprop._training.calibrating import uncalibrated
from sk_backprop._training.problem import Problem, Settings
from sk_backprop._training.run import Blend, Trained, groups_of

NOTHING_KEPT = (
    "Training was interrupted, by Ctrl-C or a callback, before all networks were trained further; "
    "nothing of this call is kept, and the estimator is as it was."
)

_REPEATED_ROWS = (
    "The rows of X and y have been passed before, and the network has too many parameters for "
    "errors on training rows to show the noise. The standard deviations that predict returns are "
    "based on the rows when they were new, and may be too wide. Pass new rows, use fewer hidden "
    "units, or use fit. If equal rows are different observations, pass them in larger "
    "batches, or as one row with their number as sample_weight."
)

# Fraction of the squared error that makes a single row an outlier: among 20 rows, 13 standard
# deviations of the others; 60 % was seen without any (linnerud, 20 rows). Rows, and mean squared
# error in units of the variance of y, from which on outliers are looked for.
_GROSS, _ROWS_TO_COMPARE, _SMALL_ERROR, _NO_OUTLIER = 0.9, 40, 1e-6, 0.05

# Fraction of the variance of y that rounding may leave where all rows are equal.
_ROUNDING = 1e-12

# Largest effective number of parameters, as a fraction of the rows, and smallest number of rows in
# excess of it, for reliable estimates of the noise and error bars. Over 864 tables of 6 to 25 rows
# and 1 to 8 columns, linear or not, 95 % intervals covered 81 % with 6 rows and 78 % with 10 rows
# of 4 columns; with 10 rows in excess, 88 % and more for each size. A fixed penalty needs fewer, as
# nothing is selected and held-out rows show the noise where a network could fit it.
_MOST_EFFECTIVE, _LEAST_FREE_ROWS, _LEAST_FREE_COUNTS = 0.9, 10.0, 3.0
_LEAST_FREE_OF_PENALTY = 5.0

# Noise, in units of the variance of y, of a fit that goes through every row. The textbook's network
# (precondition=False, with a fixed penalty) causes the warning only then, and only for lack of
# rows: the fit may be intended. (Counts always may: a few of them above 0 are soon all predicted
# exactly, under the usual penalties.)
_EXACT = 1e-12

# Total weight below which the weights of many rows were probably not meant as counts.
_FEW_ROWS = 3.0


class Call(NamedTuple):
    """Properties of a call of `fit` or `partial_fit` that are known before training.

    columns : Columns
    n_samples : int, rows of this call
    rows : SeenRows, those of this call and, in a stream, of earlier calls
    before : FittedState that the call continues from, or None
    outliers : (n_outliers,) int, rows of X that are left out, or that the loss gives no weight
    streaming : bool, whether the rows are one batch of a stream
    """

    columns: Columns
    n_samples: int
    rows: SeenRows
    before: FittedState | None
    outliers: Array = np.empty(0, dtype=np.intp)
    streaming: bool = False


def fitted_state(call: Call, blend: Blend, rng: np.random.RandomState) -> FittedState:
    """The fitted state of a call whose training ended with a result.

    call : Call; blend : Blend
    rng : RandomState, which draws the seed of later batches
    """
    settings, problem, networks = blend.results[0][:3]
    posteriors, leverage = [one.posterior for one in blend.networks], None
    if not call.streaming:  # the next batch updates the exact factors
        posteriors = [one.rounded() for one in posteriors]
        leverage = _largest_leverage(settings, problem.sample, networks, posteriors)
    history = _history(call, networks[0].result)
    optimizers = [one.result.optimizer_state for one in blend.networks]
    goes_on = call.streaming and None not in optimizers
    return FittedState(
        call.columns,
        Predictive(
            _fitted_function(blend, call.columns),
            problem.scales,
            posteriors,
            leverage,
            uncalibrated(blend) if blend.calibration is None else blend.calibration,
        ),
        _noise_precision(blend),
        [Trainer(one.settings.solver, one.settings.alpha) for one in blend.results],
        _evidence(settings, problem, networks),
        history,
        Continuation(
            # Plus the samples seen, so that a stream after a fit is shuffled in another way.
            (int(rng.randint(2**31 - 1)) + history.t) % 2**31,
            {settings.solver: [one for one in optimizers if one is not None]} if goes_on else {},
            call.rows,
            settings.weight_groups,
        ),
        call.outliers,
        feature_importances(blend, call.columns),
    )


def attributes_if_ended(call: Call, rng: np.random.RandomState, blend: Blend) -> dict[str, Any]:
    """The attributes of `fitted_state`, whose parameters these are; `rng` is not changed.

    The distribution is not calibrated: for each of many iterations that would take too long.
    """
    return fitted_state(call, blend, copy.deepcopy(rng)).attributes()


def _scaler(scales: Scales, columns: Columns) -> MaxAbsScaler:
    """Like `MaxAbsScaler.fit`, which would leave columns below 10 eps unscaled (`as_units`)."""
    scaler = MaxAbsScaler()
    scaler.max_abs_, scaler.scale_ = scales.x_max, scales.x_unit
    scaler.n_samples_seen_, scaler.n_features_in_ = scales.n_rows, columns.n_inputs
    if columns.input_names is not None:
        scaler.feature_names_in_ = columns.input_names
    return scaler


def _fitted_function(blend: Blend, columns: Columns) -> FittedFunction:
    """The mean of the networks, as a function of raw X with these `columns`."""
    first = blend.results[0]
    members = [
        Member(one.settings.network, len(one.networks), weight)
        for one, weight in zip(blend.results, blend.weights, strict=True)
    ]
    coefs, intercepts = merged(
        members, [[(net.coefs, net.intercepts) for net in one.networks] for one in blend.results]
    )
    networks, scales = blend.networks, first.problem.scales
    y_location, y_scale = scales.y_location, scales.y_scale
    sound = all_finite(coefs, intercepts, [y_location, y_scale])
    return FittedFunction(
        members,
        first.settings.likelihood,
        coefs,
        intercepts,
        [one.intercepts[-1] for one in networks],
        _scaler(scales, columns),
        y_location,
        y_scale,
        sound and not any(one.posterior.fault() for one in networks),
    )


def _history(call: Call, result: SolverResult) -> History:
    """History of training of the first network; in a stream, counts include earlier batches."""
    scores, best_iter = result.validation_scores, result.best_iter
    best_loss = min(result.loss_curve, default=result.loss)
    n_seen, n_before = call.n_samples * result.n_iter, 0
    if call.before is not None:
        n_seen += call.before.history.t
        if call.streaming:
            n_before = len(call.before.history.loss_curve)
            best_loss = min(best_loss, call.before.history.best_loss)
    return History(
        result.loss,
        result.loss_curve,
        best_loss,
        n_before + result.n_iter,
        n_before + best_iter,
        n_seen,
        result.validation_loss_curve,
        scores,
        scores[best_iter - 1] if scores and best_iter else None,
    )


@one_blas_thread()
@beyond_range_is_inf
def _largest_leverage(
    settings: Settings,
    problem: Problem,
    networks: Sequence[Trained],
    posteriors: Sequence[Posterior],
) -> Array | None:
    """The largest variance due to the weights, over the training rows: (n_outputs,).

    0 for an output whose target did not vary; None where no weight is uncertain.

    Parameters
    ----------
    settings : Settings
    problem : Problem
    networks : Trained for each network
    posteriors : Posterior for each network, and for others that follow, as in the fitted state
    """
    if posteriors[0].weights == "none":
        return None
    network, X = problem.scales.solver_network(settings.network), problem.rows.X
    if X.shape[0] > _FARTHEST_ROWS:
        inputs = X.csr if isinstance(X, CentredSparse) else X
        if sp.issparse(inputs):
            squares = np.asarray(inputs.multiply(inputs).sum(axis=1)).ravel()
        else:  # without an array of the size of X
            squares = np.einsum("ij,ij->i", inputs, inputs)
        farthest = np.argsort(-squares, kind="stable")
        X = X[np.sort(farthest[:_FARTHEST_ROWS])]
    X = X.astype(float)
    params = [network.parameters(one.params.flat.astype(float)) for one in networks]
    fitted = list(zip(params, posteriors))
    variance = outputs_and_variances(network, fitted, X)[1].mean(axis=0)
    largest = variance.max(axis=0)
    if any(isinstance(factor, RoundedInverse) for one in posteriors for factor in one.factors):
        largest *= 1 + _ROUNDING_OF_FLOAT32
    return np.asarray(np.where(problem.scales.y.constant, 0.0, largest))


# Largest relative difference between variances of a row by products in float32, which depend on how
# many rows there are.
_ROUNDING_OF_FLOAT32 = 1e-6

# Number of training rows, those farthest from their mean, whose leverage is computed: it takes as
# long as a step of lm on as many.
_FARTHEST_ROWS = 2048


def _noise_precision(blend: Blend) -> Array:
    noises = [
        np.mean([one.posterior.noise for one in result.networks], axis=0)
        for result in blend.results
    ]
    noise = sum(weight * one for weight, one in zip(blend.weights, noises, strict=True))
    scales = blend.results[0].problem.scales
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        precision = 1 / noise
        for _ in range(scales.likelihood.noise_power):
            precision = precision / scales.y_scale
        return np.asarray(precision)


def _evidence(settings: Settings, problem: Problem, networks: Sequence[Trained]) -> Evidence:
    """The precisions and the log evidence of the networks, if the evidence was used."""
    if networks[0].precisions is None:
        return NO_EVIDENCE
    groups = groups_of(settings, settings.network)
    precision = np.array([one.precisions.weight for one in networks if one.precisions])
    # As a density in units of y: a factor of the scale for each row and output that has a density.
    rows, total = problem.sample.rows, problem.total_weight
    n = total * settings.likelihood.density_fraction(rows.y, rows.sample_weight)
    unit = float(np.dot(n, np.log(problem.scales.y_scale)))
    of_sample = settings.likelihood.log_jacobian(rows.y, rows.weights)
    unit += of_sample * (total / rows.total_weight)
    with np.errstate(over="ignore"):  # of rows with a total weight of 1e306
        log_evidence = np.array([one.log_evidence for one in networks]) - unit
    by_group = dict(zip(groups.names, precision.T.copy(), strict=True))
    relevance = None
    if settings.weight_groups != "layer":
        n_features = settings.network.layer_sizes[0]
        with np.errstate(divide="ignore"):  # a warm start from an X 1e200 times as small
            relevance = np.mean(1 / np.sqrt(precision[:, :n_features]), axis=0)
        relevance = np.where(problem.scales.x.constant, 0.0, relevance)
    curve = networks[0].result.log_evidence_curve
    curve = None if curve is None else [float(value - unit) for value in curve]
    return Evidence(by_group, log_evidence, relevance, curve)


def fit_warnings(call: Call, blend: Blend, *, alpha_given: bool) -> Iterator[str | Warning]:
    """Warnings to issue, each kind at most once for all networks; a string is a UserWarning.

    call : Call; blend : Blend; alpha_given : bool, whether the user set `alpha`
    """
    settings, problem, networks = blend.results[0][:3]
    streaming = call.streaming
    yield from _ends_of_runs(blend, streaming=streaming)
    if len(call.outliers) and settings.likelihood.sensitive_to_outliers:
        yield _left_out(call)
    likelihood = settings.likelihood
    if likelihood.sensitive_to_outliers and not streaming:
        yield from _outliers(settings, problem, networks)
    elif likelihood.sensitive_to_outliers and not likelihood.max_target_is_unit:
        yield from _outliers_of_stream(problem)
    if not streaming:
        yield from _outliers_of_columns(call.columns, problem)
    n, n_samples = problem.total_weight, problem.n_samples
    # A selected penalty is a multiple of the mean weight.
    fixed = alpha_given or settings.alpha is None
    if fixed and not streaming and n < min(_FEW_ROWS, n_samples / 2):
        yield (
            f"sample_weight sums to {n:.3g} for {n_samples} rows. Weights are counts: so few rows "
            "matter little compared with the penalty. If they are relative, divide them by their "
            "mean."
        )
        return
    yield from _few_rows_for_noise(settings, problem, networks, streaming=streaming)
    warned_before = call.before is not None and call.before.continuation.rows.warned
    if call.rows.warned and not warned_before:
        yield _REPEATED_ROWS


def _left_out(call: Call) -> str:
    """Warning of outliers that are left out."""
    n_outliers, n_samples = len(call.outliers), call.n_samples
    them = "it" if n_outliers == 1 else "them"
    return (
        f"y is far from what any network predicts in {n_outliers} of {n_samples + n_outliers} "
        f"rows. The fit leaves {them} out, and `outliers_` lists {them}: check {them}. "
        "loss='student_t' uses all rows, with less weight for large errors; solver='lm' uses all."
    )


def _ends_of_runs(blend: Blend, *, streaming: bool) -> Iterator[str | Warning]:
    """Warn of an interrupt, and once of each way to end without an optimum.

    blend : Blend; streaming : bool, whether the rows are one batch of a stream
    """
    n_networks, statuses = len(blend.networks), [one.result.status for one in blend.networks]
    if blend.interrupted and "interrupted" not in statuses:
        whole = "network is" if n_networks == 1 else "networks are"
        yield f"Training interrupted; {n_networks} complete {whole} kept."
    seen = {"max_iter"} if streaming else set()
    for result in blend.results:
        for one in result.networks:
            status = one.result.status
            if status not in seen:
                seen.add(status)
                count = statuses.count(status)
                yield from _end_of_run(result.settings, one.result, count, n_networks)


def _few_rows_for_noise(
    settings: Settings, problem: Problem, networks: Sequence[Trained], *, streaming: bool
) -> Iterator[str]:
    """Warn where too few rows are left to estimate the noise from.

    settings : Settings; problem : Problem; networks : Trained for each network
    streaming : bool, whether the rows are one batch of a stream
    """
    exact = np.max([one.posterior.noise for one in networks]) < _EXACT
    by_evidence, counts = networks[0].precisions is not None, settings.likelihood.counts
    if streaming and not by_evidence:
        return
    # The textbook's network may be meant to go through every row.
    if not (settings.precondition or by_evidence or counts or exact):
        return
    # Where counts are rare, only those above 0 carry information, and only one of equal rows.
    share = settings.likelihood.density_fraction(problem.rows.y, problem.rows.sample_weight)
    n_rows = (problem.n_counted if by_evidence else problem.n_distinct) * share
    used = np.median([one.posterior.n_effective for one in networks], axis=0)
    if problem.noise is not None:  # from held-out rows
        mean_weight = problem.total_weight / problem.n_distinct
        used = n_rows - problem.noise.weight / mean_weight
    elif not by_evidence and not counts:
        dof = np.median([one.posterior.dof for one in networks], axis=0)
        used = n_rows * (1 - dof / problem.total_weight)
    least = _LEAST_FREE_ROWS if by_evidence else _LEAST_FREE_OF_PENALTY
    least = _LEAST_FREE_COUNTS if counts else least
    most = np.minimum(_MOST_EFFECTIVE * n_rows, n_rows - least)
    used = np.where(problem.scales.y.constant, 1.0, used)  # a constant has only a mean
    lacking = used - (most if problem.noise is None else n_rows - least)
    worst = int(lacking.argmax())
    if lacking[worst] > 0:
        rows = "counts above 0" if counts else "rows"
        yield (
            f"The networks use {used[worst]:.0f} effective parameters on {n_rows[worst]:.0f} "
            f"{rows}, which leaves too few to estimate the noise from: the standard deviations "
            "that predict returns are unreliable, and so may be the fit. Use more rows or fewer "
            "hidden units."
        )


def _outliers(settings: Settings, problem: Problem, networks: Sequence[Trained]) -> Iterator[str]:
    """Warn of a single row that has nearly all of the squared error.

    settings : Settings; problem : Problem; networks : Trained for each network
    """
    rows, scales = problem.rows, problem.scales
    if rows.total_weight < _ROWS_TO_COMPARE:
        return
    # The error of such a row is about sqrt(n) times the noise. Where every y is within a fifth of
    # that from the centre, only the function could be so far off: no pass over the rows is needed.
    noise = np.mean([one.posterior.noise for one in networks], axis=0)
    if np.all((rows.y**2).max(axis=0) < _NO_OUTLIER * rows.total_weight * noise):
        return
    network = scales.solver_network(settings.network)
    w = rows.weights
    # After a warm start from a y 1e200 times as large that did not improve.
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = [evaluate(network, o.params.coefs, o.params.intercepts, rows.X) for o in networks]
        squares = (rows.y - np.mean(outputs, axis=0)) ** 2
        total = w @ squares
        # As a single row, whatever its weight, unless that is below 1.
        squares *= np.minimum(w, 1.0)[:, None]
    for k, worst in enumerate(squares.argmax(axis=0)):
        if squares[worst, k] > _GROSS * total[k] and total[k] > _SMALL_ERROR * w.sum():
            value = scales.y_location[k] + scales.y_scale[k] * rows.y[worst, k]
            share = squares[worst, k] / total[k]
            yield (
                f"A single row, of y = {value:.6g}, makes up {share:.0%} of the squared error. If "
                "it is an outlier, it bends the fit and widens the standard deviations: check it."
            )
            return


def _outliers_of_columns(columns: Columns, problem: Problem) -> Iterator[str]:
    """Warn of a column with nearly all of its variance in a single row.

    columns : Columns; problem : Problem
    """
    (X, _, w), scales = problem.rows, problem.scales
    n_samples = problem.rows.n_samples
    if not (scales.precondition and isinstance(X, np.ndarray)) or n_samples < _ROWS_TO_COMPARE:
        return
    X = X[:, : columns.n_inputs]
    furthest = np.maximum(X.max(axis=0), -X.min(axis=0)).astype(float)
    w = np.ones(n_samples) if w is None else w
    weight = w / w.sum()
    # The variance is 1, so that no weight may be above 1 / furthest^2.
    for j in np.flatnonzero(furthest**2 * weight.max() > _GROSS):
        x = X[:, j].astype(float)
        worst = int(np.abs(x).argmax())
        share = x[worst] ** 2 * weight[worst]
        # The only row that differs may be that of a rare category.
        if not share > _GROSS or np.ptp(np.delete(x, worst)) == 0:
            continue
        value = scales.x_unit[j] * (x[worst] * scales.x.spread[j] + scales.x.mean[j])
        names = columns.input_names
        name = f"{j}" if names is None else f"{j} ({names[j]!r})"
        yield (
            f"Column {name} of X has {share:.0%} of its variance in a single row, of value "
            f"{value:.6g}; in comparison, the others hardly differ. Check it: replace an outlier, "
            "or a number that stands for a missing value; take the logarithm of a skewed column."
        )
        return


def _outliers_of_stream(problem: Problem) -> Iterator[str]:
    """Warn of a single row that has nearly all of the variance of y so far."""
    rows, scales = problem.rows, problem.scales
    so_far = scales.y
    if so_far.weight < _ROWS_TO_COMPARE:
        return
    unit = scales.y_unit
    y = scales.y_location / unit + scales.y_scale / unit * rows.y.astype(float)
    # By how much the sum of squares would fall without the row, divided by the weight.
    squares = (y - so_far.mean) ** 2 / (so_far.weight - 1)
    if rows.sample_weight is not None:
        squares *= np.minimum(rows.sample_weight, 1.0)[:, None]
    for k, worst in enumerate(squares.argmax(axis=0)):
        others = so_far.var[k] - squares[worst, k]
        # Not for the first row that differs from all before.
        if _ROUNDING * so_far.var[k] < others < (1 - _GROSS) * so_far.var[k]:
            yield (
                f"A single row, of y = {unit[k] * y[worst, k]:.6g}, makes up "
                f"{1 - others / so_far.var[k]:.0%} of the variance of y so far. If it is an "
                "outlier, it bends the function, and stays in the scale of y and the standard "
                "deviations: continue from the estimator before this batch."
            )
            return


def _end_of_run(
    settings: Settings, result: SolverResult, n_ended_so: int, n_networks: int
) -> Iterator[str | Warning]:
    """Warn of how training ended, unless it converged or was stopped by a callback.

    settings : Settings; result : SolverResult of one network
    n_ended_so, n_networks : int, networks that ended in the same way, and all
    """
    ending, solver = ENDINGS[result.status], f"solver={settings.solver!r}"
    if ending.warning is None:
        return
    if n_networks > 1:
        solver += f", {n_ended_so} of {n_networks} networks"
    advice = settings.solver_class.advice.get(result.status, ending.advice)
    message = ending.warning.format(result=result, settings=settings, solver=solver, advice=advice)
    yield message if result.status == "interrupted" else ConvergenceWarning(message)
