"""One training run: a problem in, fitted weights and a posterior out.

rows in the solver's coordinates (`_training.problem`) -> an objective -> a solver -> the posterior
at its end -> weights for MaxAbs-scaled inputs (`TrainingRun`). Nothing here depends on an
estimator, raises a warning, or changes its arguments.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from sk_backprop._blocks.arrays import Array, beyond_range_is_inf
from sk_backprop._blocks.threads import cached_property
from sk_backprop._coordinates.affine import AffineMap
from sk_backprop._inference.calibration import Calibration
from sk_backprop._inference.evidence import (
    Precisions,
    WeightGroups,
    fixed_precisions,
    weak_precisions,
)
from sk_backprop._inference.laplace import Posterior, Uncertain, evident, laplace, residuals_suffice
from sk_backprop._inference.objective import Objective
from sk_backprop._inference.online import PassErrors, of_stream
from sk_backprop._inference.validation import RowsInMemory, ValidationSet
from sk_backprop._network.dispersion import HeldOutNoise, PearsonSums
from sk_backprop._network.network import Network, Parameters, evaluate
from sk_backprop._solvers._base import Prior, RunContext, StreamPass
from sk_backprop._solvers._result import IterationObserver, Monitor, SolverResult
from sk_backprop._training.initial import (
    LOCAL_ALPHA,
    LOCAL_ALPHA_OF_BIASES,
    local_start,
    random_start,
)
from sk_backprop._training.problem import Data, Problem, SampledRows, Settings, Start


class Trained(NamedTuple):
    """Result of a run: the fitted function, and how it was found.

    params : Parameters, in the solver's coordinates
    coefs, intercepts : the same weights, for MaxAbs-scaled inputs
    precisions, log_evidence : found with evidence, or None with a fixed penalty
    """

    params: Parameters
    coefs: list[Array]
    intercepts: list[Array]
    result: SolverResult
    posterior: Posterior
    precisions: Precisions | None
    log_evidence: float | None


class TrainingResult(NamedTuple):
    """Result of training: one network or several, and the problem that they solve.

    interrupted : bool, whether Ctrl-C ended it; `networks` are then those that were complete, or
        else the incomplete one
    left_out : (rows, errors), (n_rows,) int in ascending order and (n_rows, n_outputs), errors
        y - f on rows that a network was not trained on; None if all were trained on all rows
    """

    settings: Settings
    problem: Problem
    networks: list[Trained]
    interrupted: bool = False
    left_out: tuple[Array, Array] | None = None


class Blend(NamedTuple):
    """Results of training whose weighted mean is the fitted function; most fits have one.

    results : list of TrainingResult, of one problem; the first has evidence, if any has
    weights : list of float, which sum to 1
    calibration : Calibration, or None before it is known
    """

    results: list[TrainingResult]
    weights: list[float]
    calibration: Calibration | None = None

    @property
    def networks(self) -> list[Trained]:
        """The networks of all results."""
        return [network for result in self.results for network in result.networks]

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the training."""
        return any(result.interrupted for result in self.results)


class TrainingRun:
    """One run of a solver, from a start to a trained network.

    Floating-point warnings are off: an overflow shows in the loss and ends the run.

    Parameters
    ----------
    settings : Settings
    problem : Problem
        In a stream, the next batch, in scales that include it; one pass is made over it.
    start : Start
    n_plain_steps : int
        Steps of lm before the evidence sets the precisions.
    """

    def __init__(
        self, settings: Settings, problem: Problem, start: Start, n_plain_steps: int = 0
    ) -> None:
        self.settings, self.problem, self.start = settings, problem, start
        self.n_plain_steps = n_plain_steps

    @cached_property
    def objective(self) -> Objective:
        """The objective of the rows; in a stream its penalty is divided by the weight so far."""
        settings, stream = self.settings, self.start.stream
        return self.problem.objective(
            self.problem.scales.solver_network(settings.network),
            settings.likelihood,
            0.0 if settings.alpha is None else settings.alpha,
            penalty_weight=None if stream is None else stream.weight,
        )

    @cached_property
    def _errors(self) -> PassErrors | None:
        """The errors of this pass, in a stream."""
        return None if self.start.stream is None else PassErrors(self.objective)

    @beyond_range_is_inf
    def train(
        self, rng: np.random.RandomState, observer: IterationObserver | None = None
    ) -> Trained:
        """Train the network.

        Parameters
        ----------
        rng : RandomState
            Draws the initial weights before anything else.
        observer : IterationObserver or None
            Notified of each iteration.
        """
        settings, problem = self.settings, self.problem
        params = self._initial_parameters(rng)
        validation = problem.validation
        monitor = Monitor(
            self.objective.parameters(params.flat),
            tol=settings.tol,
            n_iter_no_change=settings.n_iter_no_change,
            validation=None if validation is None else self._validation_set(validation),
            early_stopping=settings.early_stopping,
            observer=observer,
        )
        return self.finish(self._solve(params, monitor, rng))

    def _validation_set(self, validation: Data | SampledRows) -> ValidationSet:
        if isinstance(validation, SampledRows):
            return ValidationSet(self.objective, validation.rows)
        return ValidationSet(self.objective, RowsInMemory(*validation))

    def _initial_parameters(self, rng: np.random.RandomState) -> Parameters:
        network, scales = self.settings.network, self.problem.scales
        dtype = np.result_type(self.problem.rows.y.dtype, self.problem.dtype)
        weights, stream = self.start
        if weights is not None:
            before = scales if weights.scales is None else weights.scales
            to_solver = AffineMap(before.max_abs_coordinates, scales.solver_coordinates(network))
            return network.pack(*to_solver.weights(weights.coefs, weights.intercepts), dtype)
        if self.settings.local_units:
            return local_start(scales.solver_network(network), self.problem, rng, dtype)
        known = scales.x.constant if stream is None and scales.precondition else None
        params = random_start(scales.solver_network(network), self.problem, rng, dtype, known)
        scales.zero_output_layer(params)
        return params

    def _solve(
        self, params: Parameters, monitor: Monitor, rng: np.random.RandomState
    ) -> SolverResult:
        """Run the solver from the initial weights `params`; `rng` shuffles the rows."""
        settings, stream = self.settings, self.start.stream
        context = RunContext(
            prior=self._prior() if settings.solver_class.evidence else None,
            permutation=rng.permutation if settings.shuffle else None,
        )
        if stream is not None and self._errors is not None:
            settings = settings._replace(max_iter=1)
            context = context._replace(
                stream=StreamPass(
                    stream.optimizer,
                    stream.n_seen,
                    stream.from_optimum,
                    stream.noise_to_keep(self.problem.scales.dispersion),
                    self._errors.before_step,
                )
            )
        solver = settings.solver_class.of(settings, context)
        return solver.minimize(self.objective, params.flat, monitor)

    def _prior(self) -> Prior:
        """The groups and the initial precisions of the weights in a run with evidence."""
        settings, objective, scales = self.settings, self.objective, self.problem.scales
        groups = groups_of(settings, objective.network)
        if settings.alpha is not None:
            fixed = fixed_precisions(groups, settings.alpha, objective.n_outputs)
            return Prior(groups, fixed)
        if settings.local_units:
            weak = fixed_precisions(groups, LOCAL_ALPHA, objective.n_outputs)
            proper = np.maximum(weak.weight, LOCAL_ALPHA_OF_BIASES)
            return Prior(groups, weak._replace(weight=proper), self.n_plain_steps)
        weights = self.start.weights
        found_before = None if weights is None else weights.precisions
        if found_before is not None and len(found_before.weight) == len(groups.names):
            return Prior(groups, found_before, self.n_plain_steps)
        n_inputs = max(1, int((~scales.x.constant).sum()))
        weak = weak_precisions(groups, objective.network, n_inputs, scales.dispersion)
        return Prior(groups, weak, self.n_plain_steps)

    @beyond_range_is_inf
    def finish(self, result: SolverResult) -> Trained:
        """The trained network at a result: its posterior, and its weights in both coordinates."""
        settings, scales, objective = self.settings, self.problem.scales, self.objective
        kept = objective.network.parameters(result.theta)
        at = objective.parameters(result.theta)
        if result.best_iter == 0:  # ended before any iteration computed a loss
            start_loss = objective.loss_gradient(at, objective.parameters(result.theta))
            result = result._replace(loss=start_loss)
        found = result.precisions if settings.alpha is None else None
        if found is not None or self.start.stream is None:
            objective.follow_noise(at, None if found is None else 1 / found.noise)
        network = settings.network
        to_fitted = AffineMap(scales.solver_coordinates(network), scales.max_abs_coordinates)
        fitted = network.pack(*to_fitted.weights(kept.coefs, kept.intercepts), self.problem.dtype)
        log_evidence = None
        if found is not None:
            groups = groups_of(settings, objective.network)
            posterior, log_evidence = evident(objective, at, groups, found)
        else:
            if self._errors is not None and result.status in ("diverged", "interrupted"):
                self._errors.left_out(at)
            posterior = self._laplace(at)
        constant = scales.y.constant
        if self.start.stream is None and constant.any():
            sums = objective.pearson(at)
            posterior = posterior.of_constants(constant, sums.value / sums.weight)
        return Trained(
            kept,
            fitted.coefs,
            fitted.intercepts,
            result,
            posterior,
            None if log_evidence is None else result.precisions,
            log_evidence,
        )

    def _laplace(self, params: Parameters) -> Posterior:
        """The posterior under a fixed penalty."""
        settings, problem, objective = self.settings, self.problem, self.objective
        weights, alpha = _uncertain(objective.network, objective.n_samples), settings.alpha or 0.0
        stream, errors = self.start.stream, self._errors
        if stream is not None and errors is not None:
            return of_stream(stream, weights, objective, params, alpha, errors.sums)
        of_noise = partial(
            laplace, weights, objective, params, alpha, n_distinct=problem.n_distinct
        )
        posterior, validation = of_noise(problem.noise), None
        if settings.early_stopping and problem.noise is None:
            validation = problem.validation and problem.validation.sample
        if validation is None:
            return posterior
        noise = _noise_at(settings, objective.network, params, posterior, validation)
        if residuals_suffice(posterior, objective.network, problem.n_distinct):
            noise = _pooled(posterior, noise)
        elif validation.n_samples < LEAST_HELD_OUT:
            return posterior
        return of_noise(noise)


# Validation rows from which on they suffice to estimate the noise: its standard deviation to 13 %.
LEAST_HELD_OUT = 30


def _noise_at(
    settings: Settings, network: Network, params: Parameters, posterior: Posterior, rows: Data
) -> HeldOutNoise:
    """Noise estimated from the errors of one network on held-out rows.

    settings : Settings; network, params : in the solver's coordinates
    posterior : Posterior of `params`; rows : Data, held out
    """
    X, params = rows.X.astype(float), network.parameters(params.flat.astype(float))
    f = evaluate(network, params.coefs, params.intercepts, X)
    variance = posterior.variance(network, params, X)
    likelihood = settings.likelihood.at_noise(posterior.noise)
    inflation = likelihood.inflation(variance, posterior.noise, f)
    w = None if rows.sample_weight is None else rows.sample_weight[None]
    sums = PearsonSums.of(*likelihood.pearson_terms(f.T, rows.y.T), w, inflation.T)
    return HeldOutNoise(sums.value / sums.weight, sums.weight)


def _pooled(posterior: Posterior, held_out: HeldOutNoise) -> HeldOutNoise:
    """Noise estimated from the training rows and the held-out rows together."""
    assert posterior.dof is not None
    dof = posterior.dof + held_out.weight
    squares = posterior.noise * posterior.dof + held_out.variance * held_out.weight
    return HeldOutNoise(squares / dof, float(dof.min()))


def shows_noise(settings: Settings, problem: Problem, trained: Trained) -> bool:
    """Whether the noise estimate of a trained network can be trusted.

    The evidence has its own estimate. With a fixed penalty the training residuals are too small
    where the network could fit the noise of each row, and held-out rows are needed.

    settings : Settings; problem : Problem; trained : Trained
    """
    if trained.precisions is not None or problem.noise is not None:
        return True
    validation = problem.validation if settings.early_stopping else None
    if validation is not None and validation.n_samples >= LEAST_HELD_OUT:
        return True
    return residuals_suffice(trained.posterior, settings.network, problem.n_distinct)


# n_samples * n_params^2 * n_outputs and n_params up to which all weights count as uncertain, and
# units of the last hidden layer up to which the weights that follow it do.
_ALL_WEIGHTS_FLOPS, _ALL_WEIGHTS_PARAMS, _LAST_LAYER_UNITS = 2e9, 1500, 2000


def _uncertain(network: Network, n_samples: int) -> Uncertain:
    n_params = network.n_params
    work = n_samples * n_params**2 * network.layer_sizes[-1]
    if n_params <= _ALL_WEIGHTS_PARAMS and work <= _ALL_WEIGHTS_FLOPS:
        return "all"
    return "last_layer" if network.layer_sizes[-2] <= _LAST_LAYER_UNITS else "none"


def groups_of(settings: Settings, network: Network) -> WeightGroups:
    """The groups of weights that share a precision."""
    return WeightGroups.of(network, per_input=settings.weight_groups != "layer")
