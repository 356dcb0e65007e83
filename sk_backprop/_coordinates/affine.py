"""Affine changes of coordinates: the weights of the same function, and their precision.

The inputs of a network, the values of its hidden units and its outputs can each be replaced by
an affine function of themselves. The network computes the same function if its weights are
changed as follows.

- Inputs with a unit, an offset and a spread: x = unit * spread * (u + offset), where offset =
  center / spread. A first layer x W + b becomes u V + c with

      V = unit * spread * W,    c = b + offset V

- Hidden units with another activation t, where h(z) = shift + scale * t(factor * z). A sigmoid
  becomes a tanh, whose mean is 0 and not 1/2:

      sigma(z) = 1/2 + 1/2 tanh(z / 2)

  A layer with weights W and biases b becomes

      V = factor * scale * W,    c = factor * (b + shift * 1^T W)

  where factor = 1 in the output layer, and scale = 1, shift = 0 in the first layer.

- Outputs with a location and a scale: y = location + scale * z. If the output is exp(z), the
  scale adds log(scale) to the bias. The range of a logistic output cannot be changed by
  weights.

`Coordinates` hold one choice of all three, relative to raw X and y and to the activation of the
network. An `AffineMap` leads from one choice to another; this is the only place where weights
change coordinates. A map is given by its two ends: ``AffineMap(b, a)`` is the inverse of
``AffineMap(a, b)``, and ``AffineMap(a, c)`` is ``AffineMap(a, b)`` followed by
``AffineMap(b, c)``. (A column or target that has been zero throughout has no unit or scale yet, and
takes that of the new end.)

A map is affine in the parameters, theta -> M theta + const, so the precision matrix A of theta
becomes M^-T A M^-1.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np

from sk_backprop._blocks.arrays import Array, beyond_range_is_inf
from sk_backprop._blocks.threads import cached_property
from sk_backprop._network.likelihood import Likelihood
from sk_backprop._network.network import Network, NetworkWeights


class HiddenUnits(NamedTuple):
    """Units with activation t in place of h, where h(z) = shift + scale * t(factor * z)."""

    factor: float
    scale: float
    shift: float

    def seen_from(self, old: "HiddenUnits") -> "HiddenUnits":
        """These units relative to `old` ones that stand for the same h."""
        shift = (self.shift - old.shift) / old.scale
        return HiddenUnits(self.factor / old.factor, self.scale / old.scale, shift)


SAME_UNITS = HiddenUnits(1.0, 1.0, 0.0)
# Powers of two, which change no digit.
TANH_FOR_SIGMOID = HiddenUnits(0.5, 0.5, 0.5)


def with_hidden_units(
    coefs: Sequence[Array], intercepts: Sequence[Array], units: HiddenUnits
) -> NetworkWeights:
    """The weights of the same function with other hidden units; the dtype stays.

    coefs, intercepts : of each layer, (n_in, n_out) and (n_out,), or of several networks
    units : HiddenUnits, in place of those that the weights belong to
    """
    new_coefs, new_intercepts = [], []
    for layer, (W, b) in enumerate(zip(coefs, intercepts)):
        out = 1.0 if layer == len(coefs) - 1 else units.factor
        if layer == 0:
            new_coefs.append(out * W)
            new_intercepts.append(out * b)
        else:
            new_coefs.append(out * units.scale * W)
            new_intercepts.append(out * (b + units.shift * W.sum(axis=-2)))
    return new_coefs, new_intercepts


class Coordinates(NamedTuple):
    """The coordinates that the weights of a network belong to (see the module's docstring).

    Attributes
    ----------
    x_unit : (n_features,), unit of the inputs
    y_location, y_scale : (n_outputs,), of the outputs
    likelihood : Likelihood, which determines how z changes with location and scale
    x_known : (n_features,) bool, False for a column of zeros, which has no unit yet; or True
    y_known : (n_outputs,) bool, False for a target of zeros, which has no scale yet; or True
    x_offset, x_spread : (n_features,), of the inputs in their unit; None stands for 0 and 1
    hidden : HiddenUnits, in place of those of the network's activation
    """

    x_unit: Array
    y_location: Array
    y_scale: Array
    likelihood: Likelihood
    x_known: Array | bool = True
    y_known: Array | bool = True
    x_offset: Array | None = None
    x_spread: Array | None = None
    hidden: HiddenUnits = SAME_UNITS


class AffineMap:
    """The map from weights in `old` coordinates to weights of the same function in `new` ones.

    Weights from a column, or to an output, that was always zero in the old coordinates do not
    change: its unit and its effect are not known yet.

    Weights are multiplied by the ratio of the units, so that equal units change no digit.

    old, new : Coordinates
    """

    def __init__(self, old: Coordinates, new: Coordinates) -> None:
        self.old, self.new = old, new

    @classmethod
    def to_raw(cls, old: Coordinates) -> Self:
        """The map to weights that act on raw X and, unless the output is logistic, give raw y.

        Here the unit is treated as part of the spread, and weights are divided by it: division
        rounds once, whereas multiplication by the ratio 1 / unit would round twice.
        """
        raw = Coordinates(
            x_unit=np.ones_like(old.x_unit),
            y_location=np.zeros_like(old.y_scale),
            y_scale=np.ones_like(old.y_scale),
            likelihood=old.likelihood,
        )
        spread = old.x_unit if old.x_spread is None else old.x_unit * old.x_spread
        return cls(old._replace(x_unit=raw.x_unit, x_spread=spread, y_known=True), raw)

    @beyond_range_is_inf
    def weights(self, coefs: Sequence[Array], intercepts: Sequence[Array]) -> NetworkWeights:
        """Coefs and intercepts in the new coordinates, as new arrays of float64.

        coefs, intercepts : of each layer, (n_in, n_out) and (n_out,), in the old coordinates; for
            several networks at once, with a first axis more
        """
        old, new = self.old, self.new
        coefs = [np.array(W, dtype=float) for W in coefs]
        intercepts = [np.array(b, dtype=float) for b in intercepts]
        if old.x_offset is not None:
            intercepts[0] -= old.x_offset @ coefs[0]
        if old.x_spread is not None:
            coefs[0] /= old.x_spread[:, None]
        coefs[0] *= self._x_factor[:, None]
        factor, shift = self._outputs
        coefs[-1] *= factor
        intercepts[-1] = factor * intercepts[-1] + shift
        if old.hidden != new.hidden:
            units = new.hidden.seen_from(old.hidden)
            coefs, intercepts = with_hidden_units(coefs, intercepts, units)
        if new.x_spread is not None:
            coefs[0] *= new.x_spread[:, None]
        if new.x_offset is not None:
            intercepts[0] += new.x_offset @ coefs[0]
        return coefs, intercepts

    @beyond_range_is_inf
    def precision(self, A: Array, network: Network, outputs: slice, *, at_inputs: bool) -> Array:
        """The precision matrix M^-T A M^-1 in the new coordinates.

        A : (n_params, n_params), symmetric, precision of the parameters of `network`
        network : Network, the whole one, or its last layer for some outputs
        outputs : slice, the outputs of `network` among all
        at_inputs : bool, whether the inputs of `network` are columns of X, not hidden units
        """
        scale, shift = (part[:, None, None] for part in self._inputs)
        factor = self._outputs[0][outputs, None]
        units = self.new.hidden.seen_from(self.old.hidden)
        layers = list(pairwise(network.layer_sizes))
        for _ in range(2):  # M^-T A, then the same from the other side
            A = np.array(A.T, order="C")
            for number, (n_in, n_out) in enumerate(layers):
                layer = A[slice(*network.layer_slice(number))].reshape(n_in + 1, n_out, -1)
                if number == 0 and at_inputs:
                    layer[:-1] -= shift * layer[-1]
                    layer[:-1] /= scale
                elif units != SAME_UNITS:
                    layer[:-1] -= units.shift * layer[-1]
                    layer[:-1] /= units.scale
                if number == len(layers) - 1:
                    layer /= factor
                elif units != SAME_UNITS:
                    layer /= units.factor
        return A

    @cached_property
    @beyond_range_is_inf
    def noise_factor(self) -> Array:
        """Factor of the noise variance, or of the dispersion of counts: (n_outputs,)."""
        return np.asarray(self._y_factor**self.new.likelihood.noise_power)

    @cached_property
    def _x_factor(self) -> Array:
        """New unit of X / old unit, which multiplies first-layer weights: (n_features,)."""
        return np.where(self.old.x_known, self.new.x_unit / self.old.x_unit, 1.0)

    @cached_property
    def _y_factor(self) -> Array:
        """Old scale of y / new scale, which multiplies the outputs: (n_outputs,)."""
        old, new = self.old, self.new
        return np.asarray(np.where(old.y_known, old.y_scale, new.y_scale) / new.y_scale)

    @cached_property
    def _inputs(self) -> tuple[Array, Array]:
        """scale, shift in old inputs = scale * new inputs + shift: (n_features,) each."""
        (old_offset, old_spread), (new_offset, new_spread) = (
            (
                np.zeros_like(one.x_unit) if one.x_offset is None else one.x_offset,
                np.ones_like(one.x_unit) if one.x_spread is None else one.x_spread,
            )
            for one in (self.old, self.new)
        )
        scale = self._x_factor * (new_spread / old_spread)
        return scale, scale * new_offset - old_offset

    @cached_property
    def _outputs(self) -> tuple[Array, Array]:
        """factor, shift in new z = factor * old z + shift: (n_outputs,) each."""
        old, new = self.old, self.new
        shift = (old.y_location - new.y_location) / new.y_scale
        return new.likelihood.rescaled_output(self._y_factor, shift)
