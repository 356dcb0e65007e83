"""Scales: MaxAbs for X, location and scale for y, and coordinates that train well.

Each column is divided by its largest absolute value. That is all that the
textbook does (``precondition=False``), and X divided so is what the fitted
weights `coefs_`, `intercepts_` belong to.

With ``precondition=True`` the solvers work in other coordinates of the same
function, and the result is folded back:

- inputs centred and of unit spread, u = (x - center) / spread. Of a first layer
  u V + c in these coordinates the MaxAbs-scaled input x sees

      W = V / spread[:, None],    b = c - (center / spread) V

- sigmoid hidden units as tanh units, t = 2 sigma(2a) - 1, whose mean is 0 and not
  1/2. Of a layer with incoming weights V and biases c,

      W = out * in * V,    b = out * (c - shift * 1^T V)

  where out = 2 if the layer is hidden, and in = 2, shift = 1 if its input is;
  otherwise 1, and 1, 0.

- the target centred and of unit spread; this one is left visible as the fitted
  location and scale of y.

All of it is linear in the parameters, so a sparse X is never densified for it
(`CentredSparse`), and multiplying a column by a power of two changes no digit.
(On centring inputs and units: LeCun, Bottou, Orr & Mueller 1998, "Efficient
BackProp", sections 4.3 and 4.4, doi:10.1007/3-540-49430-8_2.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import MaxAbsScaler
from sklearn.utils.sparsefuncs import mean_variance_axis

from sk_backprop._blocks import power_of_two, tree_sum
from sk_backprop._likelihood import Likelihood
from sk_backprop._network import Array, Network, Parameters, row_blocks

# Values of X that the statistics hold in float64 at a time.
_BLOCK_VALUES = 2**18

# Distance from zero, in spreads, from which on a column or a target needs float64: float32 has
# 1 / 170,000 of a spread at 100. Years, times and pressures are such columns. At 1e5 an error of
# float32 was 200 times that of float64 (a sine without noise: RMSE .0045 for 2e-5).
_FAR = 100.0


def _row_blocks(X: Array) -> list[slice]:
    return row_blocks(X.shape[0], power_of_two(_BLOCK_VALUES // max(1, X.shape[1])))


def fit_max_abs(X: Any, seen: MaxAbsScaler | None = None) -> MaxAbsScaler:
    """A MaxAbsScaler fitted to X and to what `seen`, left as it is, was fitted to.

    Its `scale_` is the largest absolute value of every column that has one.
    scikit-learn leaves columns below 10 eps unscaled (in float32 that is 1.2e-6,
    a millionth of a unit), and the result would depend on the units.
    """
    scaler = MaxAbsScaler()
    if sp.issparse(X):
        largest = scaler.fit(X).max_abs_
    else:
        # As `fit`, which checks X once more: 0.2 ms, a fifth of a fit of 50 rows.
        largest = np.zeros(X.shape[1], X.dtype)
        for rows in _row_blocks(X):
            block = X[rows]
            np.maximum(largest, np.maximum(block.max(axis=0), -block.min(axis=0)), out=largest)
        scaler.n_features_in_, scaler.n_samples_seen_ = X.shape[1], X.shape[0]
    if seen is not None:
        largest = np.maximum(largest, seen.max_abs_)
        scaler.n_samples_seen_ += seen.n_samples_seen_
    scaler.max_abs_ = largest
    scaler.scale_ = np.where(largest > 0, largest, largest.dtype.type(1))
    return scaler


def divide_columns(X: Any, scale: Array) -> Any:
    """X / scale as a new dense array, C-contiguous, or CSR matrix.

    MaxAbsScaler.transform multiplies a sparse X by 1 / scale, which is infinite
    for subnormal scales and differs from the dense quotient in the last digit. A quotient
    beyond the range is inf, without numpy's warning.
    """
    if not sp.issparse(X):
        # numpy 1 warns of one subnormal scale whatever X is: it fills its registers with ones.
        with np.errstate(over="ignore"):
            return np.divide(X, scale, order="C")
    X = X.tocsr()
    data = X.data / scale[X.indices]
    return type(X)((data, X.indices, X.indptr), shape=X.shape)


@dataclass(frozen=True, eq=False, repr=False)
class Moments:
    """Mean and variance of columns with the total weight of their rows.

    weight : float; mean, var : (n_columns,), float64.
    """

    weight: float
    mean: Array
    var: Array

    @classmethod
    def of(
        cls,
        X: Any,
        scale: Array,
        sample_weight: Array | None = None,
        order: Array | None = None,
    ) -> Moments:
        """Moments of dense or sparse X / scale, of all rows or those that `order` names.

        sample_weight : (n_rows,), in that order, or None for ones
        """
        n_rows = X.shape[0] if order is None else len(order)
        w = np.ones(n_rows) if sample_weight is None else sample_weight
        if sp.issparse(X):
            scaled = divide_columns(X if order is None else X[order], scale).astype(float)
            # Near 1, by a power of two that changes no digit: squares of the weights stay in range.
            near_one = np.ldexp(w, -np.frexp(w.max())[1])
            mean, var = mean_variance_axis(scaled, axis=0, weights=near_one)
            var = np.maximum(var, 0.0)  # a constant column may have -1e-45
            return cls(float(np.sum(w)), mean, var)

        def of_block(rows: slice) -> Moments:
            # In C order whatever X has: BLAS would add up otherwise.
            scaled = divide_columns(X[rows if order is None else order[rows]], scale)
            # From the first row, so that a constant column has variance 0.0.
            origin = scaled[0].astype(float)
            deviation = scaled - origin
            relative = w[rows] / w[rows].max()
            relative /= relative.sum()
            mean = relative @ deviation
            deviation -= mean
            var = relative @ np.square(deviation, out=deviation)
            return cls(float(np.sum(w[rows])), origin + mean, var)

        return tree_sum(map(of_block, _row_blocks(X[:n_rows])), cls.merged)

    def merged(self, other: Moments) -> Moments:
        """Moments of both sets of rows together (Chan, Golub & LeVeque 1983, eq. 1.5).

        doi:10.1080/00031305.1983.10483115.
        """
        weight = self.weight + other.weight
        share = other.weight / weight if np.isfinite(weight) else 0.5
        shift = other.mean - self.mean
        mean = self.mean + share * shift
        var = (1 - share) * self.var + share * other.var + share * (1 - share) * shift**2
        return Moments(weight, mean, var)

    def rescaled(self, factor: Array) -> Moments:
        """Moments of the columns multiplied by `factor`."""
        return Moments(self.weight, self.mean * factor, self.var * factor**2)

    @property
    def constant(self) -> Array:
        """Columns that do not vary, or by no more than rounding: (n_columns,) bool."""
        return np.sqrt(self.var) <= 10 * np.finfo(float).eps * np.abs(self.mean)

    @property
    def spread(self) -> Array:
        """Standard deviation, 1 where the column is constant."""
        return np.where(self.constant, 1.0, np.sqrt(self.var))


def _shrinking(old: Array, new: Array) -> Array:
    """Old / new: units grow, but for the 1 of a column of zeros, to which no factor matters."""
    return np.asarray(np.minimum(old, new) / new)


class CentredSparse:
    """(X - center) / spread for sparse X, without forming it.

    It does what `_network.Rows` asks: row selection, and products from both
    sides, `self @ V` and `self.T @ delta`, with dense arrays.
    """

    def __init__(self, X: Any, offset: Array) -> None:
        # X : CSR, already divided by the spread; offset : center / spread.
        self._X, self._offset = X, offset
        self.shape, self.dtype = X.shape, X.dtype

    @classmethod
    def of(cls, X: Any, center: Array, spread: Array) -> CentredSparse:
        """From MaxAbs-scaled CSR X; center, spread : (n_features,)."""
        spread = spread.astype(X.dtype)
        return cls(divide_columns(X, spread), (center / spread).astype(X.dtype))

    @property
    def csr(self) -> Any:
        """The sparse part: the rows before they are centred."""
        return self._X

    def __getitem__(self, rows: Any) -> CentredSparse:
        return CentredSparse(self._X[rows], self._offset)

    def astype(self, dtype: Any) -> CentredSparse:
        """The same rows in another precision."""
        return CentredSparse(self._X.astype(dtype, copy=False), self._offset.astype(dtype))

    def toarray(self) -> Array:
        """The rows as a dense array."""
        return np.asarray(self._X.toarray() - self._offset)

    def __matmul__(self, V: Array) -> Array:
        return np.asarray(self._X @ V - self._offset @ V)

    @property
    def T(self) -> _CentredSparseTransposed:  # noqa: N802 - as of an array
        return _CentredSparseTransposed(self._X, self._offset)


class _CentredSparseTransposed:
    def __init__(self, X: Any, offset: Array) -> None:
        self._X, self._offset = X, offset

    def __matmul__(self, delta: Array) -> Array:
        return np.asarray(self._X.T @ delta - np.outer(self._offset, delta.sum(axis=0)))


@dataclass(frozen=True, eq=False, repr=False)
class Scales:
    """What is known of the columns of X and y, and the maps that follow from it.

    Attributes
    ----------
    scaler : fitted MaxAbsScaler of X
    x : Moments of X / scaler.scale_
    y_unit : (n_outputs,), largest |y|, 1 where all are zero
    y : Moments of y / y_unit
    precondition : bool
    likelihood : Likelihood, which decides how the target may be shifted and scaled
    """

    scaler: MaxAbsScaler
    x: Moments
    y_unit: Array
    y: Moments
    precondition: bool
    likelihood: Likelihood

    @classmethod
    def fit(
        cls,
        X: Any,
        y: Array,
        sample_weight: Array | None,
        *,
        precondition: bool,
        likelihood: Likelihood,
        scaler: MaxAbsScaler | None = None,
        seen: Scales | None = None,
        order: Array | None = None,
    ) -> Scales:
        """Scales of rows X, y, and of those that `seen` was made from.

        `scaler` is a MaxAbsScaler already fitted to all of them, if there is one. `order`
        are the rows of X that belong to y and the weights, None for all as they are.
        With a logistic output, y_unit stays that of `seen`: the range of a
        sigmoid cannot grow without changing the function that it has learned.
        """
        if scaler is None:
            scaler = fit_max_abs(X, None if seen is None else seen.scaler)
        x = Moments.of(X, scaler.scale_, sample_weight, order)
        y_unit = np.abs(y).max(axis=0)
        if seen is not None:
            x = seen.x.rescaled(_shrinking(seen.scaler.scale_, scaler.scale_)).merged(x)
            fixed = likelihood.max_target_is_unit
            y_unit = seen.y_unit if fixed else np.maximum(y_unit, seen._largest_y())
        y_unit = np.where(y_unit > 0, y_unit, 1.0)
        # Nothing is above the unit but in a stream with a logistic output, which has no use
        # for these moments.
        moments = Moments.of(np.minimum(y, y_unit), y_unit, sample_weight)
        if seen is not None:
            moments = seen.y.rescaled(_shrinking(seen.y_unit, y_unit)).merged(moments)
        return cls(scaler, x, y_unit, moments, precondition, likelihood)

    def state(self) -> dict[str, Any]:
        """Plain arrays and numbers; with `scaler` and `likelihood` they are all."""
        return {
            "weight": self.x.weight,
            "x_mean": self.x.mean,
            "x_var": self.x.var,
            "y_unit": self.y_unit,
            "y_mean": self.y.mean,
            "y_var": self.y.var,
            "precondition": self.precondition,
        }

    @classmethod
    def from_state(
        cls, scaler: MaxAbsScaler, likelihood: Likelihood, state: dict[str, Any]
    ) -> Scales:
        """The inverse of `state`."""
        x = Moments(state["weight"], state["x_mean"], state["x_var"])
        y = Moments(state["weight"], state["y_mean"], state["y_var"])
        return cls(scaler, x, state["y_unit"], y, state["precondition"], likelihood)

    @property
    def far_from_zero(self) -> bool:
        """Whether float32 would lose the spread of a column or a target beside its mean."""
        if not self.precondition:
            return False
        center, spread = self._y_center_spread
        far_x = np.abs(self.x.mean) > _FAR * self.x.spread
        return bool(np.any(far_x) or np.any(np.abs(center) > _FAR * np.asarray(spread)))

    def _largest_y(self) -> Array:
        all_zero = (self.y.mean == 0) & (self.y.var == 0)
        return np.where(all_zero, 0.0, self.y_unit)

    # --- the target: y = y_location + y_scale * output ---

    @property
    def _y_center_spread(self) -> tuple[Array | float, Array | float]:
        # In units of y_unit, where squares and sums cannot overflow.
        if not self.precondition:
            return 0.0, 1.0
        return self.likelihood.location_scale(self.y.mean, self.y.spread)

    @property
    def y_location(self) -> Array:
        """(n_outputs,), in units of y."""
        return self.y_unit * self._y_center_spread[0]

    @property
    def y_scale(self) -> Array:
        """(n_outputs,), in units of y; never zero."""
        scale = self.y_unit * self._y_center_spread[1]
        return np.where(scale > 0, scale, self.y_unit)  # a subnormal may underflow

    @property
    def dispersion(self) -> Array:
        """Of y around a constant, in the solver's coordinates: (n_outputs,)."""
        unit = self.y_unit / self.y_scale
        return self.likelihood.constant_dispersion(self.y.mean, self.y.var, ~self.y.constant, unit)

    def target(self, y: Array, dtype: Any) -> Array:
        """Raw y, (n_samples, n_outputs), in the solver's coordinates."""
        center, spread = self._y_center_spread
        with np.errstate(over="ignore"):  # of validation rows, beside a y of 1e-308
            return ((y / self.y_unit - center) / spread).astype(dtype)

    # --- the input ---

    def input(self, X: Any, dtype: Any, order: Array | None = None) -> Any:
        """Raw X in the solver's coordinates, all rows or those that `order` names.

        A new dense array in C order with a last column of ones (see `_network.forward`),
        or sparse rows, of the given precision. What is computed has the higher precision of
        X and `dtype`, or float64 where a mean is many times the spread around it. X is read
        by blocks.
        """
        with np.errstate(over="ignore"):  # of rows far from those of the scales: inf
            if sp.issparse(X):
                return self._sparse_input(X if order is None else X[order], dtype)
            return self._dense_input(X, dtype, order)

    def _computed_in(self, *dtypes: Any) -> Any:
        return np.float64 if self.far_from_zero else np.result_type(*dtypes)

    def _sparse_input(self, X: Any, dtype: Any) -> Any:
        within = self._computed_in(X.dtype, dtype)
        X = divide_columns(X.astype(within, copy=False), self.scaler.scale_)
        if self.precondition:
            return CentredSparse.of(X, self.x.mean, self.x.spread).astype(dtype)
        return X.astype(dtype, copy=False)

    def _dense_input(self, X: Array, dtype: Any, order: Array | None) -> Array:
        within = self._computed_in(X.dtype, dtype)
        n_rows = X.shape[0] if order is None else len(order)
        scaled = np.ones((n_rows, X.shape[1] + 1), dtype)
        for rows in _row_blocks(X[:n_rows]):
            block = X[rows if order is None else order[rows]].astype(within, copy=False)
            block = block / self.scaler.scale_
            if self.precondition:
                block -= self.x.mean
                block /= self.x.spread
            scaled[rows, :-1] = block
        return scaled

    # --- the network ---

    def solver_network(self, network: Network) -> Network:
        """The network that the solver trains: tanh in place of sigmoid hidden units."""
        if self.precondition and network.activation == "logistic":
            return Network(network.layer_sizes, "tanh", network.output_activation)
        return network

    def _unit_factors(self, network: Network, layer: int) -> tuple[float, float, float]:
        """out, in, shift of the module's docstring."""
        if network.activation != "logistic":
            return 1.0, 1.0, 0.0
        last = layer == len(network.layer_sizes) - 2
        return (1.0 if last else 2.0), (2.0 if layer else 1.0), (1.0 if layer else 0.0)

    def fold(
        self, network: Network, params: Parameters, dtype: Any
    ) -> tuple[list[Array], list[Array]]:
        """Weights for MaxAbs-scaled inputs, of `network`, from the solver's.

        Views of one new flat vector of the given precision.
        """
        if not self.precondition:
            folded = network.pack(params.coefs, params.intercepts, dtype)
            return folded.coefs, folded.intercepts
        coefs, intercepts = [], []
        for layer, (V, c) in enumerate(zip(params.coefs, params.intercepts)):
            V, c = V.astype(float), c.astype(float)
            if layer == 0:
                c -= (self.x.mean / self.x.spread) @ V
                V /= self.x.spread[:, None]
            out, into, shift = self._unit_factors(network, layer)
            coefs.append(out * into * V)
            intercepts.append(out * (c - shift * V.sum(axis=0)))
        folded = network.pack(coefs, intercepts, dtype)
        return folded.coefs, folded.intercepts

    def unfold(
        self,
        network: Network,
        coefs: Sequence[Array],
        intercepts: Sequence[Array],
        dtype: Any,
    ) -> Parameters:
        """The inverse of `fold`."""
        if not self.precondition:
            return network.pack(coefs, intercepts, dtype)
        solver_coefs, solver_intercepts = [], []
        for layer, (W, b) in enumerate(zip(coefs, intercepts)):
            out, into, shift = self._unit_factors(network, layer)
            V = W.astype(float) / (out * into)
            c = b.astype(float) / out + shift * V.sum(axis=0)
            if layer == 0:
                V *= self.x.spread[:, None]
                c += (self.x.mean / self.x.spread) @ V
            solver_coefs.append(V)
            solver_intercepts.append(c)
        return network.pack(solver_coefs, solver_intercepts, dtype)

    def settle(self, params: Parameters) -> None:
        """Zero the initial weights of the output layer, in place, if preconditioned.

        The function starts as the mean of y, a target of the other sign gives the mirrored
        run, and rounding is amplified less: over shifts and affine maps of the diabetes
        data (50 units, alpha=1) the held-out R^2 moved by 0.12 with random output weights,
        and by 0.006 with zeros.
        """
        if self.precondition:
            params.coefs[-1][...] = 0
            params.intercepts[-1][...] = 0


def carry_over(
    coefs: Sequence[Array],
    intercepts: Sequence[Array],
    old: Scales,
    new: Scales,
) -> tuple[list[Array], list[Array]]:
    """Weights that with scales `new` give the function that they gave with `old`.

    The weights of a feature, or to an output, that was zero in all of `old` stay as they
    are: what it does, and its unit, are not known yet. Float64.
    """
    coefs = [np.array(W, dtype=float) for W in coefs]
    intercepts = [np.array(b, dtype=float) for b in intercepts]
    coefs[0] *= input_growth(old, new)[:, None]
    ratio = output_growth(old, new)
    if new.likelihood.output_activation == "identity":
        coefs[-1] *= ratio
        shift = (old.y_location - new.y_location) / new.y_scale
        intercepts[-1][...] = ratio * intercepts[-1] + shift
    elif new.likelihood.output_activation == "exp":
        intercepts[-1] += np.log(ratio)
    return coefs, intercepts


def input_growth(old: Scales, new: Scales) -> Array:
    """New units of X by the old: (n_features,)."""
    known = old.scaler.max_abs_ > 0
    return np.where(known, new.scaler.scale_ / old.scaler.scale_.astype(float), 1.0)


def output_growth(old: Scales, new: Scales) -> Array:
    """Old `y_scale` by the new: (n_outputs,)."""
    known = old._largest_y() > 0
    return np.asarray(np.where(known, old.y_scale, new.y_scale) / new.y_scale)


def raw_weights(
    coefs: Sequence[Array],
    intercepts: Sequence[Array],
    x_scale: Array,
    y_location: Array,
    y_scale: Array,
    out_activation: str,
) -> tuple[list[Array], list[Array]]:
    """Weights that act on raw X and, but for a logistic output, give raw y. Float64."""
    coefs = [np.array(W, dtype=float) for W in coefs]
    intercepts = [np.array(b, dtype=float) for b in intercepts]
    coefs[0] /= x_scale[:, None]
    if out_activation == "identity":
        coefs[-1] *= y_scale
        intercepts[-1] = y_location + y_scale * intercepts[-1]
    elif out_activation == "exp":
        intercepts[-1] += np.log(y_scale)
    return coefs, intercepts
