"""Laplace approximation of the posterior of the weights, and the variance that it predicts.

The posterior of the weights is Gaussian with precision A (`_inference.evidence`). With
g_k = df_k/dtheta at an input, a new observation has the variance

    noise_k + g_k^T A^-1 g_k,    noise_k = 1 / beta_k,  or f_k / beta_k for Poisson

(MacKay 1992, "A practical Bayesian framework for backpropagation networks", eq. 2.31,
doi:10.1162/neco.1992.4.3.448.) Where the network is too large for A, only the weights of
the last layer are uncertain, those of a linear model of the last hidden units (Snoek et al.
2015, "Scalable Bayesian optimization using deep neural networks", arXiv:1502.05700).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array, Rows, row_blocks
from sk_backprop._inference.consistency import check_float, inconsistent
from sk_backprop._inference.evidence import Precisions, WeightGroups, effective, factor, reestimate
from sk_backprop._inference.factors import CholeskyFactor, Factor, factor_from_state, rounded
from sk_backprop._inference.objective import Objective
from sk_backprop._network.dispersion import LEAST_VARIANCE, HeldOutNoise
from sk_backprop._network.network import (
    ACTIVATIONS,
    Network,
    Parameters,
    Workspace,
    evaluate,
    forward,
    jacobian,
    jacobians,
    last_layer,
)

Uncertain = Literal["all", "last_layer", "none"]

# Bytes of gradients held at a time.
_BLOCK_BYTES = 2**22

# Lower bound on the residual degrees of freedom, as a fraction of n. An estimate of the noise
# that rests on it means little.
_LEAST_FREE = 0.01

# Lower bound on the noise variance of a constant target: a standard deviation of 1e-8 of its
# size, positive so that the predictive distribution is proper.
_NOISE_OF_CONSTANT = 1e-16


class Posterior(NamedTuple):
    """Laplace approximation of the posterior, and the noise, in the solver's coordinates.

    Attributes
    ----------
    weights : {'all', 'last_layer', 'none'}, those that are uncertain
    factors : list of Factor, of A: one for all weights, or one for each output's last-layer
        weights
    noise : (n_outputs,), variance 1 / beta
    n_effective : (n_outputs,), gamma
    prior : list of (n_params,), the prior's part of the diagonal of A, for each factor
    ratio : (n_outputs,) or None; in a stream, running mean of `PearsonSums.ratio` / weight
    mean, slow_mean : (n_outputs,) or None; in a stream, the running mean from which the noise
        is computed, and the running mean of `mean`, which shows whether `mean` is falling
    usual, least_noise : (n_outputs,) or None; in a stream, mean squared error over about ten
        batches, and its minimum so far
    variance_of_new : (n_outputs,) or None; in a stream, mean squared error of rows seen for
        the first time
    dof : (n_outputs,) or None, residual degrees of freedom: total weight of the rows that the
        noise was estimated from, less the effective number of parameters fitted to them
    """

    weights: Uncertain
    factors: list[Factor]
    noise: Array
    n_effective: Array
    prior: list[Array]
    ratio: Array | None = None
    mean: Array | None = None
    slow_mean: Array | None = None
    usual: Array | None = None
    least_noise: Array | None = None
    variance_of_new: Array | None = None
    dof: Array | None = None

    def check_shapes(self, network: Network) -> None:
        """Raise ValueError unless the arrays have the shapes of a posterior for `network`."""
        *below, n_outputs = network.layer_sizes
        n_params = {
            "all": [network.n_params],
            "last_layer": n_outputs * [below[-1] + 1],
            "none": [],
        }
        if self.weights not in n_params:
            raise inconsistent(f"a posterior's uncertain weights cannot be {self.weights!r}")
        expected = n_params[self.weights]
        if len(self.factors) != len(expected):
            raise inconsistent(
                f"a posterior has {len(self.factors)} factors; expected {len(expected)}"
            )
        for one, order in zip(self.factors, expected):
            one.check_shapes(order)
        check_float("a posterior's noise", self.noise, (n_outputs,))

    def fault(self) -> str:
        """What is wrong with the numbers; "" unless a fit reached the limits of float64."""
        if not (self.noise > 0).all():
            return f"a posterior's noise is {self.noise}; all values must be > 0"
        if not np.isfinite(self.noise).all():
            return "a posterior has values that are not finite"
        return next(filter(None, (one.fault() for one in self.factors)), "")

    def variance(self, network: Network, params: Parameters, X: Rows) -> Array:
        """Variance of f due to the uncertainty of the weights, (n_samples, n_outputs).

        Parameters
        ----------
        network, params : Network and Parameters, the mode of the posterior
        X : (n_samples, n_features), in the solver's coordinates
        """
        variance = np.zeros((X.shape[0], network.layer_sizes[-1]))
        variance_of = [one.variance() for one in self.factors]
        for rows, k, number, gradient in self._gradients(network, params, X):
            variance[rows, k] = variance_of[number](gradient)
        return variance

    def draw(self, network: Network, params: Parameters, X: Rows, normal: Array) -> Array:
        """Deviations of f from its mode, drawn jointly for all rows: (n_rows, n_outputs, n_draws).

        Parameters
        ----------
        network, params, X : as for `variance`
        normal : (n_uncertain, n_draws), standard normal; `n_uncertain` rows are used
        """
        found = np.zeros((X.shape[0], network.layer_sizes[-1], normal.shape[1]))
        first, deltas = 0, []
        for one in self.factors:
            deltas.append(one.draw(normal[first : first + one.order]))
            first += one.order
        for rows, k, number, gradient in self._gradients(network, params, X):
            found[rows, k] = gradient.T @ deltas[number]
        return found

    def _gradients(
        self, network: Network, params: Parameters, X: Rows
    ) -> Iterator[tuple[slice, int, int, Array]]:
        """Gradients of each output by the uncertain weights, (order, n_rows), by blocks of rows.

        With each gradient come its rows, the number of the output, and that of the factor.

        network, params, X : as for `variance`
        """
        if self.weights == "none":
            return
        last_layer_only = self.weights == "last_layer"
        step = max(16, _BLOCK_BYTES // (8 * self.factors[0].order))
        for rows in row_blocks(X.shape[0], step):
            whole = (network, params, X[rows])
            parts = last_layer(*whole) if last_layer_only else [whole]
            gradients = [gradient for part in parts for gradient in _output_gradients(*part)]
            for k, gradient in enumerate(gradients):
                yield rows, k, k if last_layer_only else 0, gradient

    @property
    def n_uncertain(self) -> int:
        """Number of weights that are uncertain."""
        return sum(one.order for one in self.factors)

    @property
    def n_multiplications(self) -> int:
        """Number of multiplications for the variance of one row, but for its gradient."""
        return sum(one.order * (one.order + 1) // 2 for one in self.factors)

    def rounded(self) -> Self:
        """The posterior in less memory, with the same variances but for about a thousandth."""
        return self._replace(factors=list(map(rounded, self.factors, self.prior)))

    def state(self) -> dict[str, Any]:
        """Plain data."""
        return {**self._asdict(), "factors": [one.state() for one in self.factors]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The inverse of `state`."""
        return cls(**{**state, "factors": [factor_from_state(one) for one in state["factors"]]})

    def of_constants(self, constant: Array, errors: Array) -> Self:
        """The posterior with the noise of constant targets replaced by their squared errors.

        The estimate by evidence and prior, the whole range of y, is of no use for a constant.

        constant : (n_outputs,) bool, targets that do not vary
        errors : (n_outputs,), mean squared errors
        """
        noise = np.where(constant, np.maximum(errors, _NOISE_OF_CONSTANT), self.noise)
        return self._replace(noise=noise)


# Number of rows up to which several networks are computed at once.
_FEW_ROWS = 8


def outputs_and_variances(
    network: Network, fitted: Sequence[tuple[Parameters, Posterior]], X: Rows
) -> tuple[Array, Array]:
    """Outputs of several networks, and their variances by `Posterior.variance`.

    Parameters
    ----------
    network : Network, the shape of each
    fitted : Parameters and Posterior of each
    X : (n_samples, n_features), in the solver's coordinates

    Returns
    -------
    outputs, variances : (n_networks, n_samples, n_outputs) each
    """
    all_weights = all(posterior.weights == "all" for _, posterior in fitted)
    if not (all_weights and len(fitted) > 1 and X.shape[0] <= _FEW_ROWS):
        f = [evaluate(network, params.coefs, params.intercepts, X) for params, _ in fitted]
        of_each = [posterior.variance(network, params, X) for params, posterior in fitted]
        return np.array(f), np.array(of_each)
    flat = np.array([params.flat for params, _ in fitted])
    outputs, gradients = jacobians(network, flat, X)
    variances = np.empty_like(outputs)
    for (_, posterior), of_network, found in zip(fitted, gradients, variances):
        variance_of = posterior.factors[0].variance()
        for k, gradient in enumerate(of_network):
            found[k] = variance_of(gradient)
    return outputs.transpose(0, 2, 1), variances.transpose(0, 2, 1)


def _output_gradients(network: Network, params: Parameters, X: Rows) -> list[Array]:
    """df_k/dtheta for each output k: (n_params, n_rows).

    Parameters
    ----------
    network, params : Network and Parameters
    X : (n_rows, n_features)
    """
    work = Workspace(network, X.shape[0], params.flat.dtype)
    f = forward(network, params, X, work)
    slope = np.ones_like(f)
    ACTIVATIONS[network.output_activation].times_slope(slope, f, np.empty_like(f))
    gradients = []
    for k in range(f.shape[0]):
        seed = np.zeros_like(f)
        seed[k] = slope[k]
        jac = np.empty((network.n_params, X.shape[0]))
        jacobian(network, params, X, work, seed, jac)
        gradients.append(jac)
    return gradients


def laplace(
    weights: Uncertain,
    objective: Objective,
    params: Parameters,
    alpha: float,
    known: HeldOutNoise | None = None,
    n_distinct: int | None = None,
) -> Posterior:
    """Posterior of the weights under a fixed penalty `alpha`, and the noise.

    noise_k = X^2_k / dof_k,    dof_k = n (1 - gamma_k / m)

    with n the total weight of the rows and m their number. Copies of a row share one error term:
    they make the row no harder to fit, and the weights no more certain, than a single row of
    weight 1 does.

    Parameters
    ----------
    weights : {'all', 'last_layer', 'none'}, those that are uncertain
    objective : Objective of the training rows
    params : Parameters, where a solver ended
    alpha : float
    known : HeldOutNoise or None, the noise if it need not be estimated
    n_distinct : int or None, m, by default the number of rows of `objective`
    """
    n_outputs, total = objective.n_outputs, objective.total_weight
    n_rows = objective.n_samples if n_distinct is None else n_distinct
    if weights == "none":
        sums = objective.pearson(params)
        dof = _residual_dof(weights, np.zeros(n_outputs), objective.network, n_rows) * sums.weight
        noise = sums.value / dof
        if known is not None:
            noise, dof = known.variance, np.full(n_outputs, known.weight)
        noise = np.maximum(noise, LEAST_VARIANCE)
        return Posterior(weights, [], noise, np.zeros(n_outputs), [], dof=dof)
    factors: list[Factor] = []
    prior: list[Array] = []
    noise, n_effective, dof = np.empty((3, n_outputs))
    for outputs, part, part_params in uncertain_objectives(weights, objective, params):
        normal = part.normal_equations(part_params)
        groups, fixed = penalties(part, alpha)
        L = factor(normal, groups, fixed)
        packed = CholeskyFactor.of(L).packed
        _, gamma = effective(L, normal, groups, fixed)
        dof[outputs] = total * _residual_dof(weights, gamma, objective.network, n_rows)
        variance = normal.pearson / dof[outputs]
        if known is not None:
            variance, dof[outputs] = known.variance[outputs], known.weight
        variance = np.maximum(variance, LEAST_VARIANCE)
        precision = min(1.0, n_rows / total) / variance
        precisions = Precisions(fixed.weight * np.mean(precision), precision)
        if part.n_outputs == 1:
            packed *= np.sqrt(precision)  # A is a multiple of the matrix factored already
            factors.append(CholeskyFactor(packed))
        else:
            factors.append(CholeskyFactor.of(factor(normal, groups, precisions)))
        prior.append(precisions.weight[groups.index])
        noise[outputs], n_effective[outputs] = variance, gamma
    return Posterior(weights, factors, noise, n_effective, prior, dof=dof)


# Most parameters per row for which training residuals give the noise: effective ones, or all
# where the effective number is unknown (early stopping, or only the last layer is uncertain). It
# may then be as large as the number of all parameters; if that is at most a tenth of the rows,
# the midpoint of its range gives the standard deviation to 3 %.
_MOST_EFFECTIVE, _MOST_UNKNOWN = 0.25, 0.1


def residuals_suffice(posterior: Posterior, network: Network, n_rows: int) -> bool:
    """Whether the noise can be estimated from the residuals of the training rows.

    Parameters
    ----------
    posterior : Posterior, by `laplace`
    network : Network
    n_rows : int, number of distinct rows
    """
    if posterior.weights == "all":
        return bool(posterior.n_effective.max() <= _MOST_EFFECTIVE * n_rows)
    return network.n_params / network.layer_sizes[-1] <= _MOST_UNKNOWN * n_rows


def _residual_dof(weights: Uncertain, gamma: Array, network: Network, n_rows: int) -> Array:
    """Residual degrees of freedom of each output, as a fraction of the weight of the rows.

    Parameters
    ----------
    weights : {'all', 'last_layer', 'none'}, those that are uncertain
    gamma : (n_outputs,), effective number of parameters among the uncertain weights
    network : Network
    n_rows : int, number of distinct rows
    """
    if weights != "all":
        most = min(network.n_params / network.layer_sizes[-1], n_rows)
        gamma = (gamma + np.maximum(gamma, most)) / 2
    return np.asarray(np.maximum(1 - gamma / n_rows, _LEAST_FREE))


def uncertain_objectives(
    weights: Uncertain, objective: Objective, params: Parameters
) -> Iterator[tuple[slice, Objective, Parameters]]:
    """For each factor, its outputs, and the objective and values of its weights.

    Parameters
    ----------
    weights : {'all', 'last_layer'}, those that are uncertain
    objective : Objective of the whole network
    params : Parameters of the whole network
    """
    parts = [(objective, params)] if weights == "all" else objective.last_layers(params)
    for number, (part, part_params) in enumerate(parts):
        yield slice(number, number + part.n_outputs), part, part_params


def penalties(objective: Objective, alpha: float) -> tuple[WeightGroups, Precisions]:
    """A penalty on all parameters but the output biases, with noise of variance 1.

    A fit does not penalise hidden biases, but it hardly needs them: without a penalty here,
    each of 300 would count as an effective parameter (noise 3.3 instead of 0.34).
    """
    groups = WeightGroups.of(objective.network, per_input=False)
    weight = np.full(len(groups.names), float(alpha))
    weight[-1] = 0.0
    return groups, Precisions(weight, np.ones(objective.n_outputs))


def evident(
    objective: Objective, params: Parameters, groups: WeightGroups, precisions: Precisions
) -> tuple[Posterior, float]:
    """Posterior of all weights under precisions chosen by evidence, and ln p(y).

    Parameters
    ----------
    objective : Objective of the training rows
    params : Parameters, where a solver ended
    groups : WeightGroups
    precisions : Precisions
    """
    normal = objective.normal_equations(params)
    evidence = reestimate(params.flat, normal, groups, precisions, objective.total_weight)
    L = factor(normal, groups, precisions)
    prior = [precisions.weight[groups.index]]
    n, gamma = objective.total_weight, evidence.n_effective
    dof = n * np.maximum(1 - gamma / n, _LEAST_FREE)
    noise: Array = 1 / precisions.noise
    factors: list[Factor] = [CholeskyFactor.of(L)]
    posterior = Posterior("all", factors, noise, gamma, prior, dof=dof)
    return posterior, evidence.log_evidence
