"""The fitted function, one network or the average of several, and its predictive distribution.

`coefs_` and `intercepts_` belong to the single network that equals the average
(`_network.averaging`); those of each network are parts of them.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from operator import gt
from typing import Any, NamedTuple

import numpy as np

from sk_backprop._blocks.arrays import Array, beyond_range_is_inf, row_blocks
from sk_backprop._blocks.threads import Team, allowed_threads, one_blas_thread
from sk_backprop._coordinates.affine import (
    TANH_FOR_SIGMOID,
    AffineMap,
    Coordinates,
    with_hidden_units,
)
from sk_backprop._coordinates.scales import Scales, divide_columns
from sk_backprop._inference.calibration import Calibration
from sk_backprop._inference.consistency import (
    check_average,
    check_finite,
    check_float,
    check_output_biases,
    check_range,
    check_weights,
    inconsistent,
)
from sk_backprop._inference.laplace import Posterior, outputs_and_variances
from sk_backprop._network.averaging import Member, flattened, separated, sizes_of_merged, stacked
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import (
    ACTIVATIONS,
    Network,
    NetworkWeights,
    Parameters,
    Workspace,
    evaluate,
    forward,
    input_gradient,
    rows_per_block,
    workspaces,
)


class _Summand(NamedTuple):
    """Networks of one shape, and the weight of their mean in a sum."""

    network: Network
    networks: list[Parameters]
    weight: float

    def output(self, X: Any, work: Callable[[int], Workspace]) -> Array:
        """The weighted mean of their outputs, (n_outputs, n_rows), an array that may be changed.

        X : scaled; work : `workspaces` of the networks
        """
        own = work(X.shape[0])
        f = forward(self.network, self.networks[0], X, own)
        if len(self.networks) > 1:
            f = f.copy()
            for one in self.networks[1:]:
                f += forward(self.network, one, X, own)
            f /= len(self.networks)
        if self.weight != 1:
            f *= self.weight
        return f


def _largest(summands: Sequence[_Summand]) -> Network:
    """The network with most parameters, which decides how rows are divided."""
    return max((one.network for one in summands), key=lambda network: network.n_params)


class FittedFunction(NamedTuple):
    """Raw X in, mean and its gradient in the units of y out.

    Attributes
    ----------
    members : list of Member, networks of one shape each, and their weight in the mean
    likelihood : Likelihood
    coefs, intercepts : of the mean of the networks, for MaxAbs-scaled inputs
    output_intercepts : list of (n_outputs,), the output biases of each network
    scaler : MaxAbsScaler
    y_location, y_scale : (n_outputs,), in units of y
    sound : bool, whether all numbers were in range after the fit; they may not be at the limits
        of float64
    """

    members: list[Member]
    likelihood: Likelihood
    coefs: list[Array]
    intercepts: list[Array]
    output_intercepts: list[Array]
    scaler: Any
    y_location: Array
    y_scale: Array
    sound: bool = True

    @property
    def network(self) -> Network:
        """The shape of the first member's networks; all have its inputs, outputs, activations."""
        return self.members[0].network

    def check(self, n_networks: int) -> None:
        """Raise ValueError unless weights and scales can come from one fit."""
        network = self.network
        for activation in (network.activation, network.output_activation):
            if activation not in ACTIVATIONS:
                raise inconsistent(f"there is no activation {activation!r}")
        if network.output_activation != self.likelihood.output_activation:
            raise inconsistent(
                f"out_activation_ is {network.output_activation!r}, and that of the loss is "
                f"{self.likelihood.output_activation!r}"
            )
        sizes, scale = network.layer_sizes, self.scaler.scale_
        n_of_members = sum(member.n_networks for member in self.members)
        weights = [member.weight for member in self.members]
        if n_of_members != n_networks:
            raise inconsistent(
                f"members_ has {n_of_members} networks, and n_networks_ is {n_networks}"
            )
        if not (min(weights) > 0 and abs(sum(weights) - 1) < _ROUNDING):
            raise inconsistent(
                f"the weights of members_ are {weights}; all must be > 0, and their sum 1"
            )
        check_weights(sizes_of_merged(self.members), self.coefs, self.intercepts)
        check_output_biases(sizes[-1], n_networks, self.output_intercepts)
        check_float("scaler_.scale_", scale, sizes[:1])
        check_float("y_location_", self.y_location, sizes[-1:])
        check_float("y_scale_", self.y_scale, sizes[-1:])
        if not np.minimum.reduce(scale) > 0:
            raise inconsistent("scaler_.scale_ has values that are not > 0")
        if self.sound:
            check_range("y_scale_", self.y_scale, gt, "> 0")

    def check_finite(self) -> None:
        """Raise ValueError if weights or scales contain nan; called if a result is not finite."""
        if not self.sound:
            return
        arrays: list[tuple[str, Any]] = [
            *((f"coefs_[{layer}]", W) for layer, W in enumerate(self.coefs)),
            *((f"intercepts_[{layer}]", b) for layer, b in enumerate(self.intercepts)),
            *(("the output bias of a network", b) for b in self.output_intercepts),
            ("scaler_.scale_", self.scaler.scale_),
            ("y_location_", self.y_location),
        ]
        check_finite(arrays)

    def networks(self) -> list[list[NetworkWeights]]:
        """Weights and biases of each network, by member."""
        return separated(self.members, self.coefs, self.intercepts, self.output_intercepts)

    @property
    def dtype(self) -> Any:
        """The dtype of the weights of each network."""
        parts = self.coefs if len(self.members) == 1 else self.output_intercepts
        return parts[0].dtype

    @beyond_range_is_inf
    def _summands(self, X: Any) -> list[_Summand]:
        """The networks that average to the input of the output units, by member.

        Their dtype is the result type of X and the weights.
        """
        # Deep networks run one by one: most weights of the merged network are zeros.
        deep, found = len(self.coefs) > 2, []
        dtype = np.result_type(X.dtype, self.dtype)
        by_member = self.networks() if deep else [[(self.coefs, self.intercepts)]]
        for member, networks in zip(self.members, by_member, strict=True):
            activation, stack = member.network.activation, stacked(networks)
            sizes = (self.network.layer_sizes[0], *(W.shape[1] for W in networks[0][0]))
            if activation == "logistic":
                # This saves two passes over the hidden units: a quarter of the time for many rows.
                activation, stack = "tanh", with_hidden_units(*stack, TANH_FOR_SIGMOID)
            network = Network(sizes, activation, "identity")
            flat = flattened(*stack, dtype)
            found.append(_Summand(network, list(map(network.parameters, flat)), member.weight))
        return found

    def predict(self, X: Any) -> Array:
        """Mean in units of y, (n_samples, n_outputs), in the result type of X and weights."""
        summands = self._summands(X)
        largest, dtype = _largest(summands), summands[0].networks[0].flat.dtype
        output = np.empty((X.shape[0], largest.layer_sizes[-1]), dtype)
        products = X.shape[0] * largest.n_params
        shared = products >= _LEAST_SHARED
        block_rows = rows_per_block(largest, dtype, shared_by_threads=shared)
        blocks = row_blocks(X.shape[0], block_rows)
        if products < _LEAST_THREADED:
            self._predict_blocks(X, summands, blocks, output)
            return output
        with one_blas_thread():
            team = Team(allowed_threads() if shared else 1)
            team.run(
                lambda thread: self._predict_blocks(
                    X, summands, blocks[thread :: team.n_threads], output
                )
            )
        return output

    @beyond_range_is_inf
    def _predict_blocks(
        self, X: Any, summands: Sequence[_Summand], blocks: Sequence[slice], output: Array
    ) -> None:
        """Write the predictions for some blocks of rows to `output`.

        Parameters
        ----------
        X : (n_samples, n_features), raw
        summands : as returned by `_summands`
        blocks : slices of rows
        output : (n_samples, n_outputs)
        """
        spaces = [workspaces(one.network, output.dtype) for one in summands]
        apply_output = ACTIVATIONS[self.network.output_activation].apply
        for rows in blocks:
            scaled = self._scaled(X[rows], output.dtype)
            f = summands[0].output(scaled, spaces[0])
            for one, work in zip(summands[1:], spaces[1:]):
                f += one.output(scaled, work)
            apply_output(f)
            output[rows] = self.y_location + self.y_scale * f.T

    def _scaled(self, X: Any, dtype: Any) -> Any:
        """X / x_scale, with a column of ones if it is dense."""
        scale = self.scaler.scale_
        if not isinstance(X, np.ndarray):
            return divide_columns(X.astype(dtype, copy=False), scale)
        scaled = np.ones((X.shape[0], X.shape[1] + 1), dtype)
        np.divide(X, scale, out=scaled[:, :-1], dtype=dtype)
        return scaled

    @one_blas_thread()
    @beyond_range_is_inf
    def gradient(self, X: Any) -> Array:
        """Derivatives of `predict` with respect to raw X, (n_samples, n_outputs, n_features)."""
        summands = self._summands(X)
        largest, dtype = _largest(summands), summands[0].networks[0].flat.dtype
        sizes = self.network.layer_sizes
        gradient = np.empty((X.shape[0], sizes[-1], sizes[0]), dtype)
        output = ACTIVATIONS[self.network.output_activation]
        x_scale, y_scale = self.scaler.scale_, self.y_scale[:, None]
        spaces = [workspaces(one.network, dtype) for one in summands]
        for rows in row_blocks(X.shape[0], rows_per_block(largest, dtype)):
            scaled = self._scaled(X[rows], dtype)
            f, df_dx = np.zeros((len(gradient[rows]), sizes[-1]), dtype), gradient[rows]
            df_dx[...] = 0
            for (network, networks, weight), work in zip(summands, spaces):
                share = weight / len(networks)
                for one in networks:
                    f += share * forward(network, one, scaled, work(len(f))).T
                    df_dx += share * input_gradient(network, one, work(len(f)))
            slope = np.ones_like(f)
            output.apply(f)
            output.times_slope(slope, f, np.empty_like(f))
            df_dx *= slope[:, :, None]
            df_dx *= y_scale
            df_dx /= x_scale
        return gradient

    @beyond_range_is_inf
    def raw_weights(self) -> NetworkWeights:
        """Weights that act on raw X and, unless the output is logistic, give raw y."""
        fitted = Coordinates(
            x_unit=self.scaler.scale_,
            y_location=self.y_location,
            y_scale=self.y_scale,
            likelihood=self.likelihood,
        )
        return AffineMap.to_raw(fitted).weights(self.coefs, self.intercepts)


class Moments(NamedTuple):
    """Moments of a new observation, (n_samples, n_outputs) each, in the solver's coordinates.

    mean : of f
    of_noise, of_weights, of_networks : its variance: the noise, the uncertainty of the weights, and
        the differences between networks
    """

    mean: Array
    of_noise: Array
    of_weights: Array
    of_networks: Array

    @property
    def of_mean(self) -> Array:
        """Variance of f."""
        return np.asarray(self.of_weights + self.of_networks)


class FittedNetworks(NamedTuple):
    """Networks of one shape in the coordinates of the solver, and their posteriors.

    network : Network, the shape of each; weight : float, of their mean
    """

    network: Network
    networks: list[Parameters]
    posteriors: list[Posterior]
    weight: float

    def moments(self, X: Any, scales: Scales, likelihood: Likelihood) -> Moments:
        """The moments of their mixture.

        X : in the solver's coordinates; scales : Scales; likelihood : Likelihood
        """
        network, n = self.network, len(self.networks)
        fitted = list(zip(self.networks, self.posteriors, strict=True))
        means, variances = outputs_and_variances(network, fitted, X)
        of_weights, of_noise = np.zeros_like(means[0]), np.zeros_like(means[0])
        for posterior, mean, variance in zip(self.posteriors, means, variances):
            of_weights += variance / n
            of_noise += likelihood.noise_variance(posterior.noise, mean) / n
        of_weights[:, scales.y.constant] = 0
        return Moments(means.mean(axis=0), of_noise, of_weights, means.var(axis=0))


def moments_of_mixture(
    members: Sequence[FittedNetworks], X: Any, scales: Scales, likelihood: Likelihood
) -> Moments:
    """The moments of a weighted mixture of members.

    Parameters
    ----------
    members : list of FittedNetworks
    X, scales, likelihood : as for `FittedNetworks.moments`
    """
    moments = [one.moments(X, scales, likelihood) for one in members]
    return mixed(moments, [one.weight for one in members])


def mixed(moments: Sequence[Moments], weights: Sequence[float]) -> Moments:
    """The moments of a mixture, by the law of total variance.

    moments, weights : Moments and float, of each part
    """
    found, weight = moments[0], weights[0]
    for other, own in zip(moments[1:], weights[1:]):
        share = own / (weight + own)
        weight += own
        between = share * (1 - share) * (other.mean - found.mean) ** 2
        found = Moments(*(a + share * (b - a) for a, b in zip(found, other)))
        found = found._replace(of_networks=found.of_networks + between)
    return found


class Predictive(NamedTuple):
    """The distribution of a new observation: the fitted function and its uncertainty.

    Attributes
    ----------
    function : FittedFunction, its mean
    scales : Scales, including those of the solver's coordinates
    posteriors : list of Posterior, one for each network
    largest_leverage : (n_outputs,), the largest variance due to the uncertainty of the first
        member's weights over the training rows; None in a stream, or if none is uncertain
    calibration : Calibration
    """

    function: FittedFunction
    scales: Scales
    posteriors: list[Posterior]
    largest_leverage: Array | None
    calibration: Calibration

    def check(self) -> None:
        """Raise ValueError unless the posteriors can be those of the function."""
        function = self.function
        if len(self.posteriors) != len(function.output_intercepts):
            raise inconsistent(
                f"there are posteriors of {len(self.posteriors)} networks, and biases of "
                f"{len(function.output_intercepts)}"
            )
        for member, posteriors in zip(function.members, self._by_member(), strict=True):
            for posterior in posteriors:
                posterior.check_shapes(member.network)
                if function.sound and (fault := posterior.fault()):
                    raise inconsistent(fault)
        sizes = function.network.layer_sizes
        self.calibration.check(sizes[0], sizes[-1])

    def check_finite(self) -> None:
        """As `FittedFunction.check_finite`, for all scales."""
        self.function.check_finite()
        if self.function.sound:
            check_finite((f"the scale {name}", one) for name, one in self.scales.state().items())

    def _by_member(self) -> list[list[Posterior]]:
        """The posteriors of each member's networks."""
        posteriors = iter(self.posteriors)
        return [list(islice(posteriors, one.n_networks)) for one in self.function.members]

    def _fitted(self) -> list[FittedNetworks]:
        """The members in the coordinates of the posteriors, those of the solver."""
        function, scales, found = self.function, self.scales, []
        for member, networks, posteriors in zip(
            function.members, function.networks(), self._by_member(), strict=True
        ):
            network = member.network
            to_solver = AffineMap(scales.max_abs_coordinates, scales.solver_coordinates(network))
            flat = flattened(*to_solver.weights(*stacked(networks)), float)
            params = list(map(network.parameters, flat))
            found.append(
                FittedNetworks(scales.solver_network(network), params, posteriors, member.weight)
            )
        return found

    @one_blas_thread()
    @beyond_range_is_inf
    def scale(self, X: Any) -> Array:
        """Scale of the t distribution of a new observation, in the shape and units of `predict`.

        For a normal distribution it is the standard deviation of the mixture of the networks,
        whose variance is the mean of their variances, of weights and noise, plus the variance of
        their means; see `_inference.calibration`.
        """
        function, scales = self.function, self.scales
        found = np.empty(
            (X.shape[0], function.network.layer_sizes[-1]),
            np.result_type(X.dtype, function.dtype),
        )
        if function.sound and len(function.members) == 1:
            biases = function.output_intercepts
            check_average("intercepts_[-1]", function.intercepts[-1], biases)
        fitted = self._fitted()
        for rows in row_blocks(X.shape[0], _STD_ROWS):
            inputs = scales.input(X[rows], float)
            moments = moments_of_mixture(fitted, inputs, scales, function.likelihood)
            variance = self.calibration.variance(inputs, moments.of_noise, moments.of_mean)
            found[rows] = scales.y_scale * np.sqrt(variance)
        # Around a constant target of 1e-320 it would underflow to zero.
        np.maximum(found, np.finfo(found.dtype).smallest_subnormal, out=found)
        return found

    def std(self, X: Any) -> Array:
        """Standard deviation of a new observation, in the shape, units and dtype of `predict`."""
        scale = self.scale(X)
        return np.asarray(scale * self.calibration.std_of_unit_scale.astype(scale.dtype))

    @one_blas_thread()
    @beyond_range_is_inf
    def sample(self, X: Any, n_draws: int, rng: np.random.RandomState) -> Array:
        """Draws of new observations, (n_samples, n_outputs, n_draws), in units of y.

        Each draw is one function at all rows, from the posterior of one of the networks, plus noise
        that is independent between rows. The moments are those of the distribution at each row.

        Parameters
        ----------
        X : raw; n_draws : int; rng : RandomState
        """
        function, scales, calibration = self.function, self.scales, self.calibration
        likelihood, fitted = function.likelihood, self._fitted()
        chances = [one.weight / len(one.networks) for one in fitted for _ in one.networks]
        chosen = rng.choice(len(chances), size=n_draws, p=np.array(chances) / np.sum(chances))
        inputs = scales.input(X, float)
        moments = moments_of_mixture(fitted, inputs, scales, likelihood)
        mean = moments.mean[:, :, None]
        functions, number = np.empty((*moments.mean.shape, n_draws)), 0
        for member in fitted:
            for params, posterior in zip(member.networks, member.posteriors, strict=True):
                own = np.flatnonzero(chosen == number)
                number += 1
                if not len(own):
                    continue
                f = evaluate(member.network, params.coefs, params.intercepts, inputs)
                normal = rng.standard_normal((posterior.n_uncertain, len(own)))
                drawn = posterior.draw(member.network, params, inputs, normal)
                drawn[:, scales.y.constant] = 0
                functions[:, :, own] = f[:, :, None] + drawn
        spread = calibration.factor * calibration.std_of_unit_scale
        functions = mean + spread[:, None] * (functions - mean)
        of_noise = calibration.variance(inputs, moments.of_noise, np.zeros_like(moments.of_noise))
        std = np.sqrt(of_noise) * calibration.std_of_unit_scale
        location, scale = scales.y_location[:, None], scales.y_scale[:, None]
        return likelihood.draw(
            location + scale * functions,
            location + scale * mean,
            scale * std[:, :, None],
            calibration.dof[:, None],
            rng,
        )

    @one_blas_thread()
    @beyond_range_is_inf
    def leverage(self, X: Any) -> Array:
        """Variance due to the uncertainty of the first member's weights, relative to its maximum.

        The maximum is that over the training rows.

        Returns
        -------
        leverage : (n_samples, n_outputs), 0 for an output whose target did not vary
        """
        scales = self.scales
        network, params, posteriors, _ = self._fitted()[0]
        fitted = list(zip(params, posteriors, strict=True))
        leverage = np.empty((X.shape[0], network.layer_sizes[-1]))
        for rows in row_blocks(X.shape[0], _STD_ROWS):
            inputs = scales.input(X[rows], float)
            leverage[rows] = outputs_and_variances(network, fitted, inputs)[1].mean(axis=0)
        relative, largest = np.zeros_like(leverage), self.largest_leverage
        assert largest is not None
        np.divide(leverage, largest, out=relative, where=largest > 0)
        return relative


# How far the sum of the members' weights may be from 1.
_ROUNDING = 1e-12

# Minimum n_samples * n_params for threads to share the rows of `predict` (a few ms of work), and
# for BLAS to divide a product among threads of its own (preventing that takes 10 us).
_LEAST_SHARED, _LEAST_THREADED = 1e7, 1e5

# Rows held in the solver's coordinates at a time by `std` and `leverage`.
_STD_ROWS = 2**13
