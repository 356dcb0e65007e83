"""Result of a fit: `FittedState`, and how an estimator stores it.

An estimator stores plain data: arrays, numbers, strings, lists and dicts, so that a saved one
needs no class but its own (and that of `scaler_`). Public attributes hold what users need, and one
private dict, `_fit_state`, what only this package reads. Only this module depends on its keys.

Predictions read and check no more than they need at each call: `fitted_function` for the mean,
`predictive_of` for standard deviations. Warm starts and streams read everything
(`FittedState.of`).
"""

import warnings
from operator import ge, gt
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.threads import no_forks
from sk_backprop._coordinates.scales import Scales, as_units
from sk_backprop._coordinates.seen_rows import SeenRows
from sk_backprop._inference.calibration import Calibration
from sk_backprop._inference.consistency import (
    READING_ERRORS,
    check_float,
    check_range,
    inconsistent,
)
from sk_backprop._inference.evidence import Precisions
from sk_backprop._inference.laplace import Posterior
from sk_backprop._inference.predictive import FittedFunction, Predictive
from sk_backprop._network.averaging import Member, merged
from sk_backprop._network.families import LIKELIHOODS
from sk_backprop._network.network import Network
from sk_backprop._training.problem import Weights

if TYPE_CHECKING:
    from sk_backprop._tables.encoding import Encoding


class Columns(NamedTuple):
    """The columns of the training X.

    n_features : int
    names : (n_features,) object, or None where they have none
    encoding : Encoding, or None where the columns are the inputs of the network
    """

    n_features: int
    names: Array | None
    encoding: "Encoding | None"

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """The columns of a fitted estimator."""
        try:
            kept = estimator._fit_state
            if kept["encoding"] is None:
                return cls.known(estimator, None)
            with no_forks():  # plain arrays do not need it
                from sk_backprop._tables.encoding import Encoding
            encoding = Encoding.from_state(kept["encoding"])
            if len(encoding.labels) != estimator.n_features_in_:
                raise inconsistent(f"the encoding has {len(encoding.labels)} columns")
        except READING_ERRORS as error:
            raise inconsistent(error) from error
        return cls.known(estimator, encoding)

    @classmethod
    def known(cls, estimator: Any, encoding: "Encoding | None") -> Self:
        """The columns whose number and names an estimator has, with their encoding."""
        names = getattr(estimator, "feature_names_in_", None)
        return cls(estimator.n_features_in_, names, encoding)

    @property
    def n_inputs(self) -> int:
        """Number of inputs of the network."""
        return self.n_features if self.encoding is None else sum(self.encoding.widths)

    @property
    def input_names(self) -> Array | None:
        """Names of the inputs, or None where the columns have none and are the inputs."""
        if self.encoding is None:
            return self.names
        return np.array(self.encoding.names, dtype=object)


class History(NamedTuple):
    """History of training, of the first network: the fitted attributes of these names.

    In a stream, `loss_curve` is that of this batch alone, as `store` appends it.
    """

    loss: float
    loss_curve: list[float]
    best_loss: float
    n_iter: int
    best_iter: int
    t: int
    validation_loss_curve: list[float] | None
    validation_scores: list[float] | None
    best_validation_score: float | None


class Evidence(NamedTuple):
    """Results of the evidence, None with a fixed penalty: the fitted attributes of these names."""

    weight_precision: dict[str, Array] | None
    log_evidence: Array | None
    input_relevance: Array | None
    log_evidence_curve: list[float] | None = None  # missing in files of an early version


NO_EVIDENCE = Evidence(None, None, None)

R = TypeVar("R", History, Evidence)


class Trainer(NamedTuple):
    """What trained the networks of a member, as the keys of `members_` of these names."""

    solver: str
    alpha: float | None


class Continuation(NamedTuple):
    """What streams and warm starts continue from, in addition to the function.

    seed : int, of the random numbers of the next batch
    optimizers : {solver: `_solvers._result.OptimizerState` of each network}; empty after `fit`
    rows : SeenRows, of this fit, or of the stream
    weight_groups : {'input', 'layer', 'auto'}, weights of the first member that share one precision
    """

    seed: int
    optimizers: dict[str, list[dict[str, Any]]]
    rows: SeenRows
    weight_groups: str


class FittedState(NamedTuple):
    """The complete result of a fit.

    Attributes
    ----------
    columns : Columns
    predictive : Predictive, the fitted function and its uncertainty
    noise_precision : (n_outputs,), in units of 1 / y^2, or for counts of 1 / y
    trainers : list of Trainer, one for each member
    evidence : Evidence, of the first member
    history : History
    continuation : Continuation
    outliers : (n_outliers,) int, rows of X that are left out, or that the loss gives no weight
    importances : (n_features,), of the columns
    """

    columns: Columns
    predictive: Predictive
    noise_precision: Array
    trainers: list[Trainer]
    evidence: Evidence
    history: History
    continuation: Continuation
    outliers: Array
    importances: Array

    @property
    def function(self) -> FittedFunction:
        """The mean, in the units of y."""
        return self.predictive.function

    def attributes(self) -> dict[str, Any]:
        """The fitted attributes by name: plain data."""
        function, calibration = self.function, self.predictive.calibration
        encoding, posteriors = self.columns.encoding, self.predictive.posteriors
        columns: dict[str, Any] = {"n_features_in_": self.columns.n_features}
        if self.columns.names is not None:
            columns["feature_names_in_"] = self.columns.names
        dof = [one.dof for one in posteriors if one.dof is not None]
        return {
            **columns,
            **_attributes_of(self.history),
            **_attributes_of(self.evidence),
            "coefs_": function.coefs,
            "intercepts_": function.intercepts,
            "scaler_": function.scaler,
            "y_location_": function.y_location,
            "y_scale_": function.y_scale,
            "hidden_layer_sizes_": function.network.layer_sizes[1:-1],
            "units_per_feature_": function.network.units_per_feature,
            "n_networks_": len(function.output_intercepts),
            "members_": self._members(),
            "n_layers_": len(function.coefs) + 1,
            "n_outputs_": function.network.layer_sizes[-1],
            "out_activation_": function.network.output_activation,
            "solver_": self.trainers[0].solver,
            "alpha_": self.trainers[0].alpha,
            "n_effective_params_": np.array([one.n_effective.sum() for one in posteriors]),
            "noise_precision_": self.noise_precision,
            "residual_dof_": np.mean(dof, axis=0) if dof else None,
            "noise_": calibration.noise,
            "degrees_of_freedom_": calibration.dof,
            "outliers_": self.outliers,
            "feature_importances_": self.importances,
            "uncertain_weights_": posteriors[0].weights,
            "_fit_state": {
                **self.continuation._asdict(),
                "rows": self.continuation.rows._asdict(),
                "activation": function.network.activation,
                "likelihood": function.likelihood.key,
                "two_valued": [list(one.network.two_valued) for one in function.members],
                "encoding": None if encoding is None else encoding.state(),
                "scales": self.predictive.scales.state(),
                "output_intercepts": function.output_intercepts,
                "posteriors": [one.state() for one in posteriors],
                "largest_leverage": self.predictive.largest_leverage,
                "calibration": calibration.state(),
                "sound": function.sound,
            },
        }

    def _members(self) -> list[dict[str, Any]]:
        """The attribute `members_`."""
        return [
            {
                "solver": trainer.solver,
                "hidden_layer_sizes": member.network.layer_sizes[1:-1],
                "units_per_feature": member.network.units_per_feature,
                "alpha": trainer.alpha,
                "n_networks": member.n_networks,
                "weight": member.weight,
            }
            for member, trainer in zip(self.function.members, self.trainers, strict=True)
        ]

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """The inverse of `attributes`; ValueError if they do not fit together."""
        function = fitted_function(estimator)
        predictive = predictive_of(estimator, function)
        try:
            kept = estimator._fit_state
            return cls(
                Columns.of(estimator),
                predictive,
                estimator.noise_precision_,
                [Trainer(one["solver"], one["alpha"]) for one in estimator.members_],
                _from_attributes(Evidence, estimator),
                _from_attributes(History, estimator),
                Continuation(
                    kept["seed"],
                    kept["optimizers"],
                    SeenRows(**kept["rows"]),
                    kept["weight_groups"],
                ),
                estimator.outliers_,
                estimator.feature_importances_,
            )
        except READING_ERRORS as error:
            raise inconsistent(error) from error

    def by_member(self) -> list[Self]:
        """The state of each member, as if it had been fitted alone."""
        if len(self.trainers) == 1:
            return [self]
        function, states, first = self.function, [], 0
        for member, trainer, networks in zip(
            function.members, self.trainers, function.networks(), strict=True
        ):
            own = slice(first, first + member.n_networks)
            alone = member._replace(weight=1.0)
            coefs, intercepts = merged([alone], [networks])
            predictive = self.predictive._replace(
                function=function._replace(
                    members=[alone],
                    coefs=coefs,
                    intercepts=intercepts,
                    output_intercepts=function.output_intercepts[own],
                ),
                posteriors=self.predictive.posteriors[own],
            )
            optimizers = self.continuation.optimizers
            state = self._replace(
                predictive=predictive,
                trainers=[trainer],
                continuation=self.continuation._replace(
                    optimizers={name: each[own] for name, each in optimizers.items()}
                ),
                evidence=NO_EVIDENCE if first else self.evidence,
            )
            first += member.n_networks
            states.append(state)
        return states

    def weights(self) -> list[Weights]:
        """Initial weights of each network of the only member, for a warm start."""
        (networks,), scales = self.function.networks(), self.predictive.scales
        if self.evidence.weight_precision is None:
            return [Weights(*one, scales) for one in networks]
        by_network = np.array(list(self.evidence.weight_precision.values())).T
        return [
            Weights(*one, scales, Precisions(weight, 1 / posterior.noise))
            for one, weight, posterior in zip(networks, by_network, self.predictive.posteriors)
        ]


def _attributes_of(record: History | Evidence) -> dict[str, Any]:
    return {f"{name}_": value for name, value in record._asdict().items()}


def _from_attributes(kind: type[R], estimator: Any) -> R:
    """The inverse of `_attributes_of`; TypeError for a missing attribute without a default."""
    kept = vars(estimator)
    return kind(**{name: kept[f"{name}_"] for name in kind._fields if f"{name}_" in kept})


def fitted_function(estimator: Any) -> FittedFunction:
    """The mean, from the fitted attributes; ValueError if they do not fit together."""
    try:
        kept = estimator._fit_state
        members = [
            Member(
                Network(
                    (
                        estimator.scaler_.n_features_in_,
                        *one["hidden_layer_sizes"],
                        estimator.n_outputs_,
                    ),
                    kept["activation"],
                    estimator.out_activation_,
                    one["units_per_feature"],
                    tuple(two_valued),
                ),
                one["n_networks"],
                one["weight"],
            )
            for one, two_valued in zip(estimator.members_, kept["two_valued"], strict=True)
        ]
        function = FittedFunction(
            members,
            LIKELIHOODS[tuple(kept["likelihood"])],
            estimator.coefs_,
            estimator.intercepts_,
            kept["output_intercepts"],
            estimator.scaler_,
            estimator.y_location_,
            estimator.y_scale_,
            kept["sound"],
        )
        function.check(estimator.n_networks_)
    except READING_ERRORS as error:
        raise inconsistent(error) from error
    return function


def means_of(estimator: Any) -> Array:
    """Means of the columns of the training X, where they are the inputs: (n_features,)."""
    try:
        scales = _scales_of(fitted_function(estimator), estimator._fit_state["scales"])
        return np.asarray(scales.x_unit * scales.x.mean)
    except READING_ERRORS as error:
        raise inconsistent(error) from error


def predictive_of(estimator: Any, function: FittedFunction) -> Predictive:
    """`function` with its uncertainty; ValueError if they do not fit together.

    function : as `fitted_function` returns it for the estimator
    """
    try:
        kept = estimator._fit_state
        predictive = Predictive(
            function,
            _scales_of(function, kept["scales"]),
            [Posterior.from_state(one) for one in kept["posteriors"]],
            kept["largest_leverage"],
            Calibration.from_state(kept["calibration"]),
        )
        predictive.check()
    except READING_ERRORS as error:
        raise inconsistent(error) from error
    return predictive


def _scales_of(function: FittedFunction, state: dict[str, Any]) -> Scales:
    n_features, n_outputs = function.network.layer_sizes[:1], function.network.layer_sizes[-1:]
    x_max = function.scaler.max_abs_
    check_float("scaler_.max_abs_", x_max, n_features)
    if not np.array_equal(function.scaler.scale_, as_units(x_max)):
        raise inconsistent("scaler_.scale_ is not that of scaler_.max_abs_")
    for name, shape in (
        *(("x_mean", n_features), ("x_var", n_features)),
        *(("y_mean", n_outputs), ("y_var", n_outputs), ("y_unit", n_outputs)),
    ):
        check_float(f"the scale {name}", state[name], shape)
    if function.sound:
        for name in ("x_var", "y_var"):
            check_range(f"the scale {name}", state[name], ge, ">= 0")
        for name in ("y_unit", "weight"):
            check_range(f"the scale {name}", np.ravel(state[name]), gt, "> 0")
    n_rows = function.scaler.n_samples_seen_
    return Scales.from_state(x_max, n_rows, function.likelihood, state)


def store(estimator: Any, state: FittedState, earlier: list[float] | None = None) -> None:
    """Set all fitted attributes at once.

    estimator : BackpropRegressor; state : FittedState
    earlier : loss curve of the earlier batches of a stream, extended in place, or None
    """
    fitted, attributes = state.attributes(), vars(estimator)
    before, n_earlier = attributes.get("coefs_"), len(earlier or ())
    try:
        if earlier is not None:
            # In place: concatenation would copy n^2 / 2 values in a stream of n batches.
            earlier.extend(state.history.loss_curve)
            fitted["loss_curve_"] = earlier
        if "feature_names_in_" not in fitted:
            attributes.pop("feature_names_in_", None)
        attributes.update(fitted)
    except BaseException:  # Ctrl-C
        if earlier is not None and attributes.get("coefs_") is before:
            del earlier[n_earlier:]
        raise


def warn_of_overflow(source: FittedFunction | Predictive, what: str, *results: Array) -> None:
    """Warn of results that are inf or nan; ValueError if the fitted state is at fault.

    source : what the results were computed from; what : their name
    """
    n_beyond = sum(result.size - np.count_nonzero(np.isfinite(result)) for result in results)
    if n_beyond:
        source.check_finite()
        dtype = results[0].dtype
        warnings.warn(
            f"{n_beyond} values of {what} are beyond the range of {dtype}, inf or nan: X is too "
            f"many times that of the training rows, or its values or those of y are near the "
            f"ends of {dtype}.",
            RuntimeWarning,
            stacklevel=3,
        )
