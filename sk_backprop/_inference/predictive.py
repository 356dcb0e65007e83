"""The fitted function, one network or the average of several, and its predictive distribution.

`coefs_` and `intercepts_` belong to the single network that equals the average
(`_network.averaging`); those of each network are parts of them.
"""

from collections.abc import Sequence
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
from sk_backprop._inference.consistency import (
    check_average,
    check_finite,
    check_float,
    check_range,
    check_weights,
    inconsistent,
)
from sk_backprop._inference.laplace import Posterior, mean_variance
from sk_backprop._network.averaging import separated
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import (
    ACTIVATIONS,
    Network,
    NetworkWeights,
    Parameters,
    Workspaces,
    evaluate,
    forward,
    input_gradient,
    rows_per_block,
)


class FittedFunction(NamedTuple):
    """Raw X in, mean and its gradient in the units of y out.

    Attributes
    ----------
    network : Network, the shape of each network
    likelihood : Likelihood
    coefs, intercepts : of the average of the networks, for MaxAbs-scaled inputs
    output_intercepts : list of (n_outputs,), the output biases of each network
    scaler : MaxAbsScaler
    y_location, y_scale : (n_outputs,), in units of y
    sound : bool, whether all numbers were in range after the fit; they may not be at the limits
        of float64
    """

    network: Network
    likelihood: Likelihood
    coefs: list[Array]
    intercepts: list[Array]
    output_intercepts: list[Array]
    scaler: Any
    y_location: Array
    y_scale: Array
    sound: bool = True

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
        check_weights(sizes, n_networks, self.coefs, self.intercepts, self.output_intercepts)
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

    def networks(self) -> list[NetworkWeights]:
        """Weights and biases of each network."""
        return separated(self.coefs, self.intercepts, self.output_intercepts)

    @beyond_range_is_inf
    def _summands(self, X: Any) -> tuple[Network, list[Parameters]]:
        """Shape and weights of the networks that average to the input of the output units.

        Their dtype is the result type of X and the weights.
        """
        # Deep networks run one by one: most weights of the merged network are zeros.
        deep, activation = len(self.coefs) > 2, self.network.activation
        networks = self.networks() if deep else [(self.coefs, self.intercepts)]
        sizes = (self.network.layer_sizes[0], *(W.shape[1] for W in networks[0][0]))
        if activation == "logistic":
            # This saves two passes over the hidden units: a quarter of the time for many rows.
            activation = "tanh"
            networks = [with_hidden_units(*one, TANH_FOR_SIGMOID) for one in networks]
        network = Network(sizes, activation, "identity")
        dtype = np.result_type(X.dtype, self.coefs[0].dtype)
        return network, [network.pack(*one, dtype) for one in networks]

    def predict(self, X: Any) -> Array:
        """Mean in units of y, (n_samples, n_outputs), in the result type of X and weights."""
        network, networks = self._summands(X)
        dtype = networks[0].flat.dtype
        output = np.empty((X.shape[0], network.layer_sizes[-1]), dtype)
        products = X.shape[0] * network.n_params
        shared = products >= _LEAST_SHARED
        block_rows = rows_per_block(network, dtype, shared_by_threads=shared)
        blocks = row_blocks(X.shape[0], block_rows)
        if products < _LEAST_THREADED:
            self._predict_blocks(X, network, networks, blocks, output)
            return output
        with one_blas_thread():
            team = Team(allowed_threads() if shared else 1)
            team.run(
                lambda thread: self._predict_blocks(
                    X, network, networks, blocks[thread :: team.n_threads], output
                )
            )
        return output

    @beyond_range_is_inf
    def _predict_blocks(
        self,
        X: Any,
        network: Network,
        networks: Sequence[Parameters],
        blocks: Sequence[slice],
        output: Array,
    ) -> None:
        """Write the predictions for some blocks of rows to `output`.

        Parameters
        ----------
        X : (n_samples, n_features), raw
        network, networks : as returned by `_summands`
        blocks : slices of rows
        output : (n_samples, n_outputs)
        """
        work = Workspaces(network, output.dtype)
        apply_output = ACTIVATIONS[self.network.output_activation].apply
        for rows in blocks:
            scaled = self._scaled(X[rows], output.dtype)
            own = work.of(scaled.shape[0])
            f = forward(network, networks[0], scaled, own)
            if len(networks) > 1:
                f = f.copy()
                for one in networks[1:]:
                    f += forward(network, one, scaled, own)
                f /= len(networks)
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
        network, networks = self._summands(X)
        dtype = networks[0].flat.dtype
        sizes = network.layer_sizes
        gradient = np.empty((X.shape[0], sizes[-1], sizes[0]), dtype)
        output = ACTIVATIONS[self.network.output_activation]
        x_scale, y_scale = self.scaler.scale_, self.y_scale[:, None]
        work = Workspaces(network, dtype)
        for rows in row_blocks(X.shape[0], rows_per_block(network, dtype)):
            scaled = self._scaled(X[rows], dtype)
            f, df_dx = np.zeros((len(gradient[rows]), sizes[-1]), dtype), gradient[rows]
            df_dx[...] = 0
            for one in networks:
                f += forward(network, one, scaled, work.of(len(f))).T
                df_dx += input_gradient(network, one, work.of(len(f)))
            f /= len(networks)
            slope = np.ones_like(f)
            output.apply(f)
            output.times_slope(slope, f, np.empty_like(f))
            df_dx *= slope[:, :, None] / len(networks)
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


class Predictive(NamedTuple):
    """The distribution of a new observation: the fitted function and its uncertainty.

    Attributes
    ----------
    function : FittedFunction, its mean
    scales : Scales, including those of the solver's coordinates
    posteriors : list of Posterior, one for each network
    largest_leverage : (n_outputs,), the largest variance due to the uncertainty of the weights
        over the training rows; None in a stream, or if no weight is uncertain
    """

    function: FittedFunction
    scales: Scales
    posteriors: list[Posterior]
    largest_leverage: Array | None

    def check(self) -> None:
        """Raise ValueError unless the posteriors can be those of the function."""
        function = self.function
        if len(self.posteriors) != len(function.output_intercepts):
            raise inconsistent(
                f"there are posteriors of {len(self.posteriors)} networks, and biases of "
                f"{len(function.output_intercepts)}"
            )
        for posterior in self.posteriors:
            posterior.check_shapes(function.network)
            if function.sound and (fault := posterior.fault()):
                raise inconsistent(fault)

    def check_finite(self) -> None:
        """As `FittedFunction.check_finite`, for all scales."""
        self.function.check_finite()
        if self.function.sound:
            check_finite((f"the scale {name}", one) for name, one in self.scales.state().items())

    def _solver_networks(self) -> list[Parameters]:
        """The weights of each network in the coordinates of the posteriors, those of the solver."""
        network, scales = self.function.network, self.scales
        to_solver = AffineMap(scales.max_abs_coordinates, scales.solver_coordinates(network))
        weights = [to_solver.weights(*one) for one in self.function.networks()]
        return [network.pack(*one, float) for one in weights]

    @one_blas_thread()
    @beyond_range_is_inf
    def std(self, X: Any) -> Array:
        """Standard deviation of a new observation, with shape, units and dtype of `predict`.

        It is that of the mixture of the networks, whose variance is the mean of their variances,
        of weights and noise, plus the variance of their means.
        """
        function, scales = self.function, self.scales
        network = scales.solver_network(function.network)
        std = np.empty(
            (X.shape[0], network.layer_sizes[-1]), np.result_type(X.dtype, function.coefs[0].dtype)
        )
        if function.sound:
            biases = function.output_intercepts
            check_average("intercepts_[-1]", function.intercepts[-1], biases)
        networks = self._solver_networks()
        for rows in row_blocks(X.shape[0], _STD_ROWS):
            inputs = scales.input(X[rows], float)
            means = np.array([evaluate(network, p.coefs, p.intercepts, inputs) for p in networks])
            variance = means.var(axis=0)
            for params, posterior, mean in zip(networks, self.posteriors, means, strict=True):
                of_weights = posterior.variance(network, params, inputs)
                of_weights[:, scales.y.constant] = 0
                variance += of_weights / len(networks)
                noise = function.likelihood.noise_variance(posterior.noise, mean)
                variance += noise / len(networks)
            std[rows] = scales.y_scale * np.sqrt(variance)
        # Around a constant target of 1e-320 it would underflow to zero.
        np.maximum(std, np.finfo(std.dtype).smallest_subnormal, out=std)
        return std

    @one_blas_thread()
    @beyond_range_is_inf
    def leverage(self, X: Any) -> Array:
        """Variance due to the weights' uncertainty, relative to its maximum over training rows.

        Returns
        -------
        leverage : (n_samples, n_outputs), 0 for an output whose target did not vary
        """
        scales, network = self.scales, self.scales.solver_network(self.function.network)
        fitted = list(zip(self._solver_networks(), self.posteriors, strict=True))
        leverage = np.empty((X.shape[0], network.layer_sizes[-1]))
        for rows in row_blocks(X.shape[0], _STD_ROWS):
            inputs = scales.input(X[rows], float)
            leverage[rows] = mean_variance(network, fitted, inputs)
        relative, largest = np.zeros_like(leverage), self.largest_leverage
        assert largest is not None
        np.divide(leverage, largest, out=relative, where=largest > 0)
        return relative


# Minimum n_samples * n_params for threads to share the rows of `predict` (a few ms of work), and
# for BLAS to divide a product among threads of its own (preventing that takes 10 us).
_LEAST_SHARED, _LEAST_THREADED = 1e7, 1e5

# Rows held in the solver's coordinates at a time by `std` and `leverage`.
_STD_ROWS = 2**13
