"""Drawing of a network: units, and the weights between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sk_backprop._display._shared import (
    BLUE,
    GREY,
    ORANGE,
    Array,
    axes_for,
    input_names,
    regressor_of,
    shortened,
    user_text,
)
from sk_backprop._estimator.sparse import check_structure
from sk_backprop._network.averaging import Member, separated
from sk_backprop._network.network import Network

# Number of weights up to which each is labelled with its value.
_MOST_NUMBERS = 24

# In points: the largest unit, the widest space between units, the thickest line, the
# largest letters, the height of the legend, and the gap between names and units.
_UNIT, _SPACE, _LINE, _FONT, _LEGEND, _GAP = 30.0, 100.0, 5.0, 10.0, 24.0, 22.0

# Width of a letter relative to its height, an upper estimate; and the fraction of the width of
# the axes that the names on one side may take.
_LETTER, _NAMES = 0.62, 0.28

# Letters of a name that are kept before the layout; there is room for fewer.
_MOST_LETTERS = 200


class NetworkDisplay:
    """Network with units as circles and weights as lines, blue if positive and red if negative.

    The width and opacity of a line show the magnitude of the weight relative to the largest
    of its layer. The lines of the biases start at the small circles on top. Use
    :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    coefs : sequence of ndarray of shape (n_in, n_out)
        Weights of each layer.
    intercepts : sequence of ndarray of shape (n_out,)
        Biases of each layer.
    input_names, output_names : sequence of str
        Names of the units of the first and of the last layer.

    Attributes
    ----------
    lines_ : list of matplotlib LineCollection
        Weights and biases of each layer, in ascending order of magnitude.
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sk_backprop import BackpropRegressor, NetworkDisplay
    >>> X, y = load_diabetes(return_X_y=True, scaled=False, as_frame=True)
    >>> model = BackpropRegressor((4,), solver="lbfgs", random_state=0).fit(X, y)
    >>> NetworkDisplay.from_estimator(model, X=X, output_names=["progression"])
    <...NetworkDisplay object at ...>
    """

    def __init__(
        self,
        *,
        coefs: Sequence[Any],
        intercepts: Sequence[Any],
        input_names: Sequence[str],
        output_names: Sequence[str],
    ) -> None:
        self.coefs = coefs
        self.intercepts = intercepts
        self.input_names = input_names
        self.output_names = output_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        X: Any = None,
        network: int = 0,
        output_names: Sequence[str] | None = None,
        ax: Any = None,
    ) -> NetworkDisplay:
        """Draw a fitted network.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with `coefs_` and `intercepts_`: BackpropRegressor, MLPRegressor,
            or a Pipeline that ends with one.
        X : array-like of shape (n_samples, n_features), default=None
            Inputs of the regressor (after the other steps of a Pipeline). If given, the first
            layer is drawn for standardised inputs, with the means and standard deviations of
            X, so that its weights can be compared; otherwise as in `coefs_`.
        network : int, default=0
            Index of the network, if there are several; the output bias is their mean.
        output_names : sequence of str of shape (n_outputs_,), default=None
            Names of the outputs; None means y, or y0, y1, ...
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        display : NetworkDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the network does not exist.
        ImportError
            If matplotlib is not installed.
        """
        regressor = regressor_of(estimator)
        coefs, intercepts = _one_of(regressor, network)
        if X is not None:
            scaler = getattr(regressor, "scaler_", None)
            check_structure(X, "X")
            X = X.toarray() if hasattr(X, "toarray") else np.asarray(X, dtype=float)
            X = X if scaler is None else X / scaler.scale_
            intercepts[0] = intercepts[0] + X.mean(axis=0) @ coefs[0]
            coefs[0] = coefs[0] * X.std(axis=0)[:, None]
        n_outputs = coefs[-1].shape[1]
        if output_names is None:
            output_names = [f"y{k}" for k in range(n_outputs)] if n_outputs > 1 else ["y"]
        display = cls(
            coefs=coefs,
            intercepts=intercepts,
            input_names=input_names(regressor, regressor.n_features_in_),
            output_names=output_names,
        )
        return display.plot(ax)

    def plot(self, ax: Any = None) -> NetworkDisplay:
        """Draw the network; if it is small, with the weights as numbers.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure, larger for a larger network.

        Returns
        -------
        display : NetworkDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        sizes = [len(self.coefs[0]), *(np.shape(W)[1] for W in self.coefs)]
        inches = max(6.4, 2.2 * len(sizes)), float(np.clip(0.2 * max(sizes), 4.8, 12))
        ax = axes_for(ax, inches)
        ax.set_axis_off()
        inputs, outputs = (
            [shortened(name, _MOST_LETTERS) for name in names]
            for names in (self.input_names, self.output_names)
        )
        layers = _placed(ax, sizes, [inputs, outputs])
        n_weights = sum(np.size(W) + len(b) for W, b in zip(self.coefs, self.intercepts))
        self.lines_ = []
        for W, b, below, above in zip(self.coefs, self.intercepts, layers, layers[1:]):
            weights = np.vstack([W, b])  # the bias is the weight of the last unit below
            self.lines_.append(_draw_weights(ax, weights, below, above))
            if n_weights <= _MOST_NUMBERS:
                _draw_numbers(ax, weights, below, above)
        for layer in layers:
            _draw_units(ax, layer)
        _draw_names(ax, layers[0], inputs, side=-1)
        _draw_names(ax, layers[-1], outputs, side=1)
        for color, label in ((BLUE, "positive"), (ORANGE, "negative")):
            ax.plot([], [], color=color, lw=3, label=label)
        ax.legend(loc="lower center", ncols=2, frameon=False, borderaxespad=0, fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self


@dataclass(frozen=True, eq=False, repr=False)
class _Layer:
    """Position of a layer, in points.

    x : float; y : (n_units,), from the top
    bias : (x, y) of the unit that has the biases of the layer above, None for the last
    space : between units; unit : diameter of a unit
    font : size of the names
    """

    x: float
    y: Array
    bias: tuple[float, float] | None
    space: float
    unit: float
    font: float

    def points(self) -> Array:
        """Positions of all units, that of the biases last: (n_units or n_units + 1, 2)."""
        units = np.column_stack([np.full(len(self.y), self.x), self.y])
        return units if self.bias is None else np.vstack([units, self.bias])


def _one_of(regressor: Any, network: int) -> tuple[list[Array], list[Array]]:
    """Weights and biases of one of the networks that a regressor averages."""
    n_networks = getattr(regressor, "n_networks_", 1)
    if not 0 <= network < n_networks:
        raise ValueError(f"network must be from 0 to {n_networks - 1}, got {network}.")
    coefs, intercepts = regressor.coefs_, regressor.intercepts_
    members = []
    if n_networks > 1:
        ends = len(coefs[0]), len(intercepts[-1])
        for one in regressor.members_:
            sizes = (ends[0], *one["hidden_layer_sizes"], ends[1])
            shape = Network(sizes, regressor.activation, regressor.out_activation_)
            members.append(Member(shape, one["n_networks"], one["weight"]))
    by_member = separated(members, coefs, intercepts, [intercepts[-1]] * n_networks)
    return [one for networks in by_member for one in networks][network]


def _placed(ax: Any, sizes: Sequence[int], names: Sequence[Sequence[str]]) -> list[_Layer]:
    """Measure the axes, in points from here on, and place the layers from left to right.

    sizes : number of units of each layer; names : of the first and the last layer
    """
    ax.figure.canvas.figure.draw_without_rendering()  # the layout may move them
    box = ax.get_window_extent()
    width, height = 72 * box.width / ax.figure.dpi, 72 * box.height / ax.figure.dpi
    ax.set(xlim=(0, width), ylim=(0, height))
    places = [size + 1 for size in sizes[:-1]] + [sizes[-1]]
    spaces = [min(_SPACE, (height - _LEGEND) / n_places) for n_places in places]
    fonts = [_font(some, space, width) for some, space in zip(names, (spaces[0], spaces[-1]))]
    left, right = (_GAP + _room(some, font, width) for some, font in zip(names, fonts))
    between = (width - left - right) / (len(sizes) - 1)
    unit = min(_UNIT, 0.75 * min(spaces), 0.4 * between)
    layers = []
    for number, (n_places, space) in enumerate(zip(places, spaces)):
        x, middle = left + number * between, (height + _LEGEND) / 2
        y = middle + space * (np.arange(n_places)[::-1] - (n_places - 1) / 2)
        font = fonts[number > 0]
        if number < len(sizes) - 1:
            bias = x + 0.15 * between, y[0]
            layers.append(_Layer(x, y[1:], bias, space, unit, font))
        else:
            layers.append(_Layer(x, y, None, space, unit, font))
    return layers


def _font(names: Sequence[str], space: float, width: float) -> float:
    """Size of names that fit between the units, smaller for long names.

    names : of the units; space : between units; width : of the axes; in points
    """
    largest = float(np.clip(0.75 * space, 4, _FONT))
    fitting = _NAMES * width / (_LETTER * max(1, *(len(name) for name in names)))
    return max(min(largest, fitting), 0.7 * largest)


def _room(names: Sequence[str], font: float, width: float) -> float:
    """Width in points of the longest name next to a layer, limited by the `width` of the axes."""
    return min(_NAMES * width, _LETTER * font * max(len(name) for name in names))


def _draw_weights(ax: Any, weights: Array, below: _Layer, above: _Layer) -> Any:
    """Draw the weights, (n_below + 1, n_above), those of the biases last, as lines."""
    from matplotlib.collections import LineCollection

    starts, ends = below.points(), above.points()[: weights.shape[1]]
    segments = np.array([(start, end) for start in starts for end in ends])
    sizes = np.abs(weights).ravel()
    relative = sizes / (sizes.max() or 1.0)
    order = np.argsort(relative, kind="stable")  # the large ones on top
    # In a large network, only the large weights are more than a faint veil.
    thickest = min(_LINE, 0.25 * above.unit)
    veil = float(np.clip(10 / len(order), 0.03, 0.3))
    lines = LineCollection(
        list(segments[order]),
        colors=[BLUE if weight > 0 else ORANGE for weight in weights.ravel()[order]],
        linewidths=0.3 + (thickest - 0.3) * relative[order],
        alpha=veil + (1 - veil) * relative[order] ** 1.5,
        zorder=1,
    )
    ax.add_collection(lines, autolim=False)
    return lines


def _draw_numbers(ax: Any, weights: Array, below: _Layer, above: _Layer) -> None:
    """Write each weight on its line, near its start: in the middle, lines cross."""
    background = {"facecolor": ax.figure.get_facecolor(), "lw": 0, "pad": 1}
    for start, row in zip(below.points(), weights):
        for end, weight in zip(above.points(), row):
            (x, y), (run, rise) = start + 0.35 * (end - start), end - start
            text = ax.text(x, y, f"{weight:.3g}", ha="center", va="center", bbox=background)
            text.set(rotation=np.degrees(np.arctan2(rise, run)), fontsize=8, zorder=2)


def _draw_units(ax: Any, layer: _Layer) -> None:
    color = ax.xaxis.label.get_color()  # black, or white on black
    style = {"facecolor": ax.figure.get_facecolor(), "edgecolor": color, "zorder": 3}
    ax.scatter(np.full(len(layer.y), layer.x), layer.y, s=layer.unit**2, **style)
    if layer.bias is not None:
        small = 0.7 * layer.unit
        ax.scatter(*layer.bias, s=small**2, **style | {"edgecolor": GREY})
        if small > 8:  # room for a letter that can be read
            place = {"ha": "center", "va": "center_baseline", "zorder": 4}
            ax.text(*layer.bias, "1", fontsize=0.6 * small, **place)


def _draw_names(ax: Any, layer: _Layer, names: Sequence[str], *, side: int) -> None:
    """Write names next to the units of a layer, on the left (`side` -1) or the right (1)."""
    most = int(_NAMES * ax.get_xlim()[1] / (_LETTER * layer.font))
    for y, name in zip(layer.y, names, strict=True):
        ha = "right" if side < 0 else "left"
        x = layer.x + side * (0.5 * layer.unit + 5)
        ax.text(x, y, user_text(name, most), ha=ha, va="center_baseline", fontsize=layer.font)
