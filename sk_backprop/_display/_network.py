"""Drawing of a network: units, and the weights between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from sk_backprop._blocks.arrays import TableLike
from sk_backprop._display._shared import (
    BLUE,
    GREY,
    ORANGE,
    Array,
    axes_for,
    font_size,
    input_names,
    inputs_of_regressor,
    regressor_of,
    shortened,
    user_text,
    write_note,
)
from sk_backprop._estimator.sparse import check_structure
from sk_backprop._network.averaging import Member, separated
from sk_backprop._network.network import Network

# Number of weights up to which each is labelled with its value; the sizes of these numbers that are
# tried, and the places, as parts of the line. In the middle, lines cross.
_MOST_NUMBERS = 24
_NUMBERS = (8.0, 7.0, 6.0)
_PLACES = (0.35, 0.28, 0.42, 0.22, 0.48, 0.16, 0.55, 0.62, 0.7, 0.78)

# In points: the largest unit, the widest space between units, the thickest line, the
# largest letters, the height of the legend, and the gap between names and units.
_UNIT, _SPACE, _LINE, _FONT, _LEGEND, _GAP = 30.0, 100.0, 5.0, 10.0, 24.0, 22.0

# Width of a letter relative to its height, an upper estimate; and the fraction of the width of
# the axes that the names on one side may take.
_LETTER, _NAMES = 0.62, 0.28

# Letters of a name that are kept before the layout; there is room for fewer.
_MOST_LETTERS = 200


class NetworkDisplay:
    """Network with units as circles and weights as lines, blue if positive, orange if negative.

    The width and opacity of a line show the magnitude of the weight relative to the largest
    of its layer; a weight of zero has no line. The lines of the biases start at the small circles
    on top. The units for single features (`units_per_feature`) are drawn as a square for each
    feature. Its line to a unit shows the root of the sum of their squared weights, in the colour of
    the total effect as the feature rises from the lowest to the highest of their steps.

    Use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    coefs : sequence of ndarray of shape (n_in, n_out)
        Weights of each layer.
    intercepts : sequence of ndarray of shape (n_out,)
        Biases of each layer.
    input_names, output_names : sequence of str
        Names of the units of the first and of the last layer.
    units_per_feature : int, default=0
        Number of units of the first hidden layer that belong to each feature; 0 if it is dense.
    note : str, default=''
        What should be known in addition, written above the axes.

    Attributes
    ----------
    lines_ : list of matplotlib LineCollection
        Weights and biases of each layer, in ascending order of magnitude.
    numbers_ : list of matplotlib Text
        Weights of a small network as numbers, of the layers in which all of them have room.
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
        units_per_feature: int = 0,
        note: str = "",
    ) -> None:
        self.coefs = coefs
        self.intercepts = intercepts
        self.input_names = input_names
        self.output_names = output_names
        self.units_per_feature = units_per_feature
        self.note = note

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        X: TableLike | None = None,
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
        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Numeric inputs. If given, the first layer is drawn for standardised inputs of the
            network, with the means and standard deviations of X (after the other steps of a
            Pipeline), so that its weights can be compared; otherwise as in `coefs_`.
        network : int, default=0
            Index of the network, if there are several; a note above the axes says so. The output
            bias is their mean.
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
            If the network does not exist, or X does not have one number for each of its inputs.
        ImportError
            If matplotlib is not installed.
        """
        regressor = regressor_of(estimator)
        coefs, intercepts, units_per_feature = _one_of(regressor, network)
        if X is not None:
            check_structure(X, "X")
            X = _scaled_inputs(regressor, inputs_of_regressor(estimator, X), len(coefs[0]))
            intercepts[0] = intercepts[0] + X.mean(axis=0) @ coefs[0]
            coefs[0] = coefs[0] * X.std(axis=0)[:, None]
        n_networks = getattr(regressor, "n_networks_", 1)
        n_outputs = coefs[-1].shape[1]
        if output_names is None:
            output_names = [f"y{k}" for k in range(n_outputs)] if n_outputs > 1 else ["y"]
        display = cls(
            coefs=coefs,
            intercepts=intercepts,
            input_names=input_names(estimator, len(coefs[0])),
            output_names=output_names,
            units_per_feature=units_per_feature,
            note=f"network {network + 1} of {n_networks}" if n_networks > 1 else "",
        )
        return display.plot(ax)

    def plot(self, ax: Any = None) -> NetworkDisplay:
        """Draw the network; if it is small, with the weights as numbers where they have room.

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
        coefs, intercepts = list(self.coefs), list(self.intercepts)
        if self.units_per_feature:
            coefs, intercepts = _in_blocks(coefs, intercepts)
        sizes = [len(coefs[0]), *(np.shape(W)[1] for W in coefs)]
        inches = max(6.4, 2.2 * len(sizes)), float(np.clip(0.2 * max(sizes), 4.8, 12))
        ax = axes_for(ax, inches)
        ax.set_axis_off()
        write_note(ax, self.note)
        names = [
            [shortened(name, _MOST_LETTERS) for name in one]
            for one in (self.input_names, self.output_names)
        ]
        layers = _placed(ax, sizes, names)
        n_weights = sum(np.size(W) + len(b) for W, b in zip(self.coefs, self.intercepts))
        self.lines_, self.numbers_ = [], []
        for number, (W, b, below, above) in enumerate(zip(coefs, intercepts, layers, layers[1:])):
            weights = np.vstack([W, b])  # the bias is the weight of the last unit below
            self.lines_.append(_draw_weights(ax, weights, below, above))
            if n_weights <= _MOST_NUMBERS:
                self.numbers_ += _draw_numbers(ax, weights, below, above)
            in_block = self.units_per_feature if number == 1 else 0
            _draw_units(ax, below, in_block=in_block, with_bias=bool(np.any(b)))
        _draw_units(ax, layers[-1])
        _draw_names(ax, layers[0], names[0], side=-1)
        _draw_names(ax, layers[-1], names[1], side=1)
        for color, label in ((BLUE, "positive"), (ORANGE, "negative")):
            ax.plot([], [], color=color, lw=3, label=label)
        if self.units_per_feature:
            square = {"mfc": "none", "mec": ax.xaxis.label.get_color(), "ls": ""}
            # A feature of two values has one unit.
            ragged = np.shape(self.coefs[0])[1] < self.units_per_feature * sizes[0]
            label = f"{'up to ' * ragged}{self.units_per_feature} units of a feature"
            ax.plot([], [], "s", label=label, **square)
        ax.legend(
            loc="lower center", ncols=3, frameon=False, borderaxespad=0, fontsize=font_size(ax)
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self


@dataclass(frozen=True, eq=False, repr=False)
class _Layer:
    """Position of a layer, in points.

    x : float; y : (n_units,), from the top
    bias : (x, y) of the unit that has the biases of the layer above, None for the last
    unit : diameter of a unit
    font : size of the names
    """

    x: float
    y: Array
    bias: tuple[float, float] | None
    unit: float
    font: float

    def points(self) -> Array:
        """Positions of all units, that of the biases last: (n_units or n_units + 1, 2)."""
        units = np.column_stack([np.full(len(self.y), self.x), self.y])
        return units if self.bias is None else np.vstack([units, self.bias])


def _one_of(regressor: Any, network: int) -> tuple[list[Array], list[Array], int]:
    """Weights, biases and `units_per_feature` of one of the networks of a regressor."""
    n_networks = getattr(regressor, "n_networks_", 1)
    if not 0 <= network < n_networks:
        raise ValueError(f"network must be from 0 to {n_networks - 1}, got {network}.")
    coefs, intercepts = list(regressor.coefs_), list(regressor.intercepts_)
    if n_networks == 1:
        return coefs, intercepts, getattr(regressor, "units_per_feature_", 0)
    members, per_feature = [], []
    for one in regressor.members_:
        sizes = (len(coefs[0]), *one["hidden_layer_sizes"], len(intercepts[-1]))
        shape = Network(sizes, regressor.activation, regressor.out_activation_)
        members.append(Member(shape, one["n_networks"], one["weight"]))
        per_feature += [one["units_per_feature"]] * one["n_networks"]
    by_member = separated(members, coefs, intercepts, [intercepts[-1]] * n_networks)
    weights, biases = list(chain(*by_member))[network]
    return weights, biases, per_feature[network]


def _scaled_inputs(regressor: Any, X: Any, n_inputs: int) -> Array:
    """Inputs of the network, as `coefs_` takes them.

    regressor : fitted; X : its inputs; n_inputs : int, of the network
    """
    try:
        X = X.toarray() if hasattr(X, "toarray") else np.asarray(X, dtype=float)
    except (ValueError, TypeError) as error:
        raise ValueError(f"X must be numbers; leave it out to draw `coefs_`: {error}") from error
    if X.ndim != 2 or X.shape[1] != n_inputs:
        raise ValueError(f"X has shape {X.shape}; the network has {n_inputs} inputs.")
    scaler = getattr(regressor, "scaler_", None)
    return np.asarray(X if scaler is None else X / scaler.scale_)


def _in_blocks(
    coefs: Sequence[Array], intercepts: Sequence[Array]
) -> tuple[list[Array], list[Array]]:
    """Weights and biases with the units for each feature as one unit.

    coefs, intercepts : of a network with units for single features, which depend on no other
    """
    first, second, *further = (np.asarray(W) for W in coefs)
    rise = np.sign(first) @ second
    sizes = np.sqrt((first != 0) @ second**2)
    blocks = np.diag(np.linalg.norm(first, axis=1) * np.where(first.sum(axis=1) < 0, -1, 1))
    return (
        [blocks, np.where(rise < 0, -sizes, sizes), *further],
        [np.zeros(len(first)), *map(np.asarray, intercepts[1:])],
    )


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
        has_bias = number < len(sizes) - 1
        bias = (x + 0.15 * between, y[0]) if has_bias else None
        layers.append(_Layer(x, y[has_bias:], bias, unit, fonts[number > 0]))
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
    order = order[relative[order] > 0]
    # In a large network, only the large weights are more than a faint veil.
    thickest = min(_LINE, 0.25 * above.unit)
    veil = float(np.clip(10 / max(1, len(order)), 0.03, 0.3))
    lines = LineCollection(
        list(segments[order]),
        colors=[BLUE if weight > 0 else ORANGE for weight in weights.ravel()[order]],
        linewidths=0.3 + (thickest - 0.3) * relative[order],
        alpha=veil + (1 - veil) * relative[order] ** 1.5,
        zorder=1,
    )
    ax.add_collection(lines, autolim=False)
    return lines


def _draw_numbers(ax: Any, weights: Array, below: _Layer, above: _Layer) -> list[Any]:
    """Write each weight on its line where nothing is written yet; none if one has no room.

    weights : (n_below + 1, n_above), those of the biases last; below, above : layers
    """
    largest = np.abs(weights).max()
    pairs = [
        (start, end, _number(weight, largest))
        for start, row in zip(below.points(), weights)
        for end, weight in zip(above.points(), row)
        if weight
    ]
    units = [_box_of_unit(ax, x, y, below.unit) for x, y in below.points()]
    for size in _NUMBERS:
        taken, texts = [*units, *(text.get_window_extent() for text in ax.texts)], []
        for start, end, number in pairs:
            text = _written(ax, start, end, number, size, taken)
            if text is None:
                break
            texts.append(text)
            taken.append(text.get_window_extent())
        else:
            return texts
        for text in texts:
            text.remove()
    return []


def _written(
    ax: Any, start: Array, end: Array, number: str, size: float, taken: Sequence[Any]
) -> Any:
    """A number at the first free place of the line from `start` to `end`, or None.

    size : of its letters; taken : boxes, in pixels, that it must not touch
    """
    background = {"facecolor": ax.figure.get_facecolor(), "lw": 0, "pad": 0.5}
    place = {"ha": "center", "va": "center", "fontsize": size, "zorder": 2}
    text = ax.text(*start, number, bbox=background, **place)
    for part in _PLACES:
        text.set_position(start + part * (end - start))
        box = text.get_window_extent().padded(1)
        if not any(box.overlaps(other) for other in taken):
            return text
    text.remove()
    return None


def _number(weight: float, largest: float) -> str:
    """A weight in three digits; 0 if it is no more than the rounding error of the largest."""
    return f"{weight:.3g}" if abs(weight) > 1e-9 * largest else "0"


def _box_of_unit(ax: Any, x: float, y: float, diameter: float) -> Any:
    """The box around a unit, in pixels, from its position in points."""
    from matplotlib.transforms import Bbox

    corners = [(x - diameter / 2, y - diameter / 2), (x + diameter / 2, y + diameter / 2)]
    return Bbox(ax.transData.transform(corners))


def _draw_units(ax: Any, layer: _Layer, *, in_block: int = 0, with_bias: bool = True) -> None:
    """Draw the units of a layer as circles, or squares of `in_block` units, and that of biases."""
    color = ax.xaxis.label.get_color()  # black, or white on black
    style = {"facecolor": ax.figure.get_facecolor(), "edgecolor": color, "zorder": 3}
    marker = "s" if in_block else "o"
    inside = {"ha": "center", "va": "center_baseline", "zorder": 4}
    x = np.full(len(layer.y), layer.x)
    ax.scatter(x, layer.y, s=layer.unit**2, marker=marker, **style)
    if in_block and layer.unit > 10:
        for y in layer.y:
            ax.text(layer.x, y, str(in_block), fontsize=0.5 * layer.unit, **inside)
    if layer.bias is not None and with_bias:
        small = 0.7 * layer.unit
        ax.scatter(*layer.bias, s=small**2, **style | {"edgecolor": GREY})
        if small > 8:  # room for a letter that can be read
            ax.text(*layer.bias, "1", fontsize=0.6 * small, **inside)


def _draw_names(ax: Any, layer: _Layer, names: Sequence[str], *, side: int) -> None:
    """Write names next to the units of a layer, on the left (`side` -1) or the right (1)."""
    most = int(_NAMES * ax.get_xlim()[1] / (_LETTER * layer.font))
    for y, name in zip(layer.y, names, strict=True):
        ha = "right" if side < 0 else "left"
        x = layer.x + side * (0.5 * layer.unit + 5)
        ax.text(x, y, user_text(name, most), ha=ha, va="center_baseline", fontsize=layer.font)
