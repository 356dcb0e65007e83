"""Plot of the fitted function along one feature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_backprop._blocks.arrays import TableLike
from sk_backprop._display._partial import (
    Feature,
    Spread,
    as_table,
    average,
    feature_of,
    is_categorical,
    key_of,
    names_by_key,
    partial_residuals,
    rows_of,
    spread_of,
)
from sk_backprop._display._shared import (
    BLUE,
    MOST_ROWS,
    Array,
    axes_for,
    check_columns,
    check_targets,
    font_size,
    most_letters,
    one_target,
    rows_shown,
    some_rows,
    target_name,
    user_text,
    write_note,
)
from sk_backprop._estimator.sparse import check_structure

# Opacity of the widest band, and of each further one, which lies on it.
_OPACITIES = (0.3, 0.45)


class IntervalDisplay:
    """Predicted mean with 50 % and 95 % bands along one feature, averaged over the others.

    As in a partial dependence plot, mean and bands are averages over rows of X whose value of the
    feature is replaced. The points are partial residuals: the residual of a row is added to the
    averaged mean instead of its own, scaled by the width of the averaged band over that of its own.
    A point therefore lies in a band if the row lies in its own interval of that probability,
    and about 95 % of held-out points are to be expected in the 95 % band.

    Use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    x : array-like of shape (n_points,)
        Values of the feature in ascending order: numbers or dates, or else categories.
    mean : array-like of shape (n_points,)
        Predicted mean.
    bands : dict of {float: array-like of shape (n_points, 2)}
        Lower and upper ends of a central interval of new observations for each probability.
    x_data, y_data : array-like of shape (n_shown,), default=None
        Points to draw in addition.
    x_name, y_name : str, default='x', 'y'
        Names of the feature and of the target.
    data_label : str, default='data'
        What the points are.
    note : str, default=''
        What is assumed about the other features, written above the axes.

    Attributes
    ----------
    line_ : matplotlib Line2D
        Curve of the mean, or its markers for categories.
    bands_ : list of matplotlib PolyCollection or BarContainer
        The bands in the order of `bands`; bars for categories.
    points_ : matplotlib PathCollection or None
        The points.
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.

    See Also
    --------
    sklearn.inspection.PartialDependenceDisplay : The mean alone, for any estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sk_backprop import BackpropRegressor, IntervalDisplay
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> model = BackpropRegressor((5,), solver="lbfgs", random_state=0).fit(X, y)
    >>> IntervalDisplay.from_estimator(model, X, feature=2, y=y)
    <...IntervalDisplay object at ...>
    """

    def __init__(
        self,
        *,
        x: Any,
        mean: Any,
        bands: Mapping[float, Any],
        x_data: Any = None,
        y_data: Any = None,
        x_name: str = "x",
        y_name: str = "y",
        data_label: str = "data",
        note: str = "",
    ) -> None:
        self.x = x
        self.mean = mean
        self.bands = bands
        self.x_data = x_data
        self.y_data = y_data
        self.x_name = x_name
        self.y_name = y_name
        self.data_label = data_label
        self.note = note

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: TableLike,
        feature: int | str,
        *,
        y: ArrayLike | None = None,
        fixed: Mapping[Any, Any] | None = None,
        target: int = 0,
        grid_resolution: int = 100,
        ax: Any = None,
    ) -> IntervalDisplay:
        """Predict along the range of a feature in X, and draw the result.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with ``predict(X, return_std=True)``, such as BackpropRegressor
            or a Pipeline that ends with one.
        X : {array-like, sparse matrix, table} of shape (n_samples, n_features)
            Rows that determine the range of the feature, and of which up to 300, drawn at random,
            are averaged over. Where the feature is missing (nan), no point is drawn. polars and
            pyarrow tables are converted to pandas, which must be installed.
        feature : int or str
            Index of the feature, or its name in a table. Of a feature that is neither numeric nor
            a date, the 20 most frequent categories are drawn.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets of X, to be drawn as points; of more than 500 rows, 500 drawn at random.
        fixed : dict of {int or str: value}, default=None
            Values of other features, which are not averaged over.
        target : int, default=0
            Index of the target, if there are several.
        grid_resolution : int, default=100
            Number of points of the curve.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        display : IntervalDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the feature or target does not exist, the feature has no finite value, or y does
            not have one finite number for each row of X and each target that is predicted.
        ImportError
            If matplotlib is not installed.
        """
        check_structure(X, "X")
        rows: Any = as_table(X)
        names = names_by_key(estimator, rows)
        along = feature_of(rows, key_of(rows, feature), grid_resolution)
        held = {key_of(rows, key): value for key, value in (fixed or {}).items()}
        held.pop(along.key, None)
        averaged = average(estimator, rows, along, held, target)
        points = {}
        if y is not None:
            check_targets(y, estimator.predict(rows_of(rows, np.arange(1))))
            points = _points(estimator, rows, one_target(y, target), along, averaged, target)
        n_averaged = rows.shape[1] - 1 - len(held)
        return cls(
            x=along.at,
            mean=averaged.mean,
            bands=averaged.ends(),
            x_name=names[along.key],
            y_name=target_name(y, target),
            note=_note({names[key]: value for key, value in held.items()}, n_averaged),
            **points,
        ).plot(ax)

    def plot(self, ax: Any = None) -> IntervalDisplay:
        """Draw the mean, the bands and the points.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        display : IntervalDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = axes_for(ax)
        draw = self._draw_categories if is_categorical(self.x) else self._draw_curve
        at, at_data = draw(ax)
        self.points_ = None
        if at_data is not None:
            style = {"s": np.clip(3000 / len(at_data), 6, 20), "lw": 0, "alpha": 0.6, "zorder": 2.5}
            color = ax.xaxis.label.get_color()  # black, or white on black
            self.points_ = ax.scatter(
                at_data, self.y_data, color=color, label=self.data_label, **style
            )
            self._label_coverage(at, at_data)
        most = most_letters(ax, width=0.8, height=0.8)
        ax.set(xlabel=user_text(self.x_name, most), ylabel=user_text(self.y_name, most))
        write_note(ax, self.note)
        ax.legend(fontsize=font_size(ax))
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_curve(self, ax: Any) -> tuple[Array, Any]:
        """Draw mean and bands along numbers or dates; positions of `x` and `x_data`."""
        (self.line_,) = ax.plot(self.x, self.mean, color=BLUE, lw=2, label="mean", zorder=3)
        self._draw_bands(partial(ax.fill_between, self.x, lw=0))
        ax.margins(x=0.02)
        if np.asarray(self.x).dtype.kind == "M":
            _set_date_ticks(ax)
        if self.x_data is None:
            return np.asarray(self.x), None
        at, where = (np.asarray(ax.convert_xunits(x), dtype=float) for x in (self.x, self.x_data))
        return at, where

    def _draw_categories(self, ax: Any) -> tuple[Array, Any]:
        """Draw a marker and bars for each category; positions of `x` and `x_data`."""
        at = np.arange(len(self.x))
        edge = {"mec": ax.get_facecolor(), "mew": 1.5}
        style = {"color": BLUE, "ms": 11, "label": "mean", "zorder": 3, **edge}
        (self.line_,) = ax.plot(at, self.mean, "o", **style)
        self._draw_bands(
            lambda low, high, **look: ax.bar(at, high - low, bottom=low, width=0.7, **look)
        )
        _set_category_ticks(ax, self.x)
        if self.x_data is None:
            return at, None
        place = {value: k for k, value in enumerate(np.asarray(self.x).tolist())}
        where = np.array([place[value] for value in np.asarray(self.x_data).tolist()])
        jitter = np.random.RandomState(0).uniform(-0.25, 0.25, len(where))
        return at, where + jitter

    def _draw_bands(self, draw: Callable[..., Any]) -> None:
        """Draw each band by `draw(low, high, **style)`."""
        self.bands_ = []
        for k, (probability, ends) in enumerate(self.bands.items()):
            style = {"color": BLUE, "alpha": _OPACITIES[k > 0], "label": _band_label(probability)}
            self.bands_.append(draw(*np.transpose(ends), **style))

    def _label_coverage(self, at: Array, at_data: Array) -> None:
        """Say in the legend what part of the points each band holds.

        at : (n_points,), positions of `x`; at_data : (n_shown,), of the points
        """
        where = np.rint(at_data) if is_categorical(self.x) else at_data
        for drawn, (probability, ends) in zip(self.bands_, self.bands.items()):
            low, high = (np.interp(where, at, end) for end in np.transpose(ends))
            inside = np.mean((low <= self.y_data) & (self.y_data <= high))
            drawn.set_label(f"{_band_label(probability)}: {100 * inside:.0f} % of points")


def _points(
    estimator: Any, X: Any, y: Array, along: Feature, averaged: Spread, target: int
) -> dict[str, Any]:
    """The arguments for the points of a display.

    estimator : fitted; X : table, see `as_table`; y : (n_samples,), observations
    along : Feature; averaged : Spread at its values; target : int
    """
    n_samples = X.shape[0]
    if len(y) != n_samples:
        raise ValueError(f"X has {n_samples} rows and y has {len(y)}; they must agree.")
    check_columns(y=y)
    at_rows, at = along.positions()
    shown = some_rows(n_samples, MOST_ROWS)
    shown = shown[np.isfinite(at_rows[shown])]
    of_rows = spread_of(estimator, rows_of(X, shown), target)
    y_shown = np.asarray(y, dtype=float)[shown]
    what = "data" if X.shape[1] == 1 else "partial residuals"
    return {
        "x_data": along.values[shown],
        "y_data": partial_residuals(y_shown, of_rows, at_rows[shown], averaged, at),
        "data_label": what + rows_shown(len(shown), n_samples),
    }


def _note(fixed: Mapping[Any, Any], n_averaged: int) -> str:
    """What is assumed about the other features.

    fixed : {name: value}; n_averaged : int, number of features that are averaged over
    """
    given = ", ".join(
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in fixed.items()
    )
    rest = f"{'others' if given else 'other features'} averaged" if n_averaged else ""
    return "; ".join(filter(None, [given, rest]))


def _band_label(probability: float) -> str:
    return f"{100 * probability:g} % band"


def _set_date_ticks(ax: Any) -> None:
    import matplotlib.dates

    dates: Any = matplotlib.dates  # without types
    # With more ticks required, no interval fits some ranges, and a warning says so.
    locator = dates.AutoDateLocator(minticks=2, maxticks=6)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))


def _set_category_ticks(ax: Any, categories: Any) -> None:
    """Names of categories below their bars, turned where they would not have room."""
    n = len(categories)
    most = most_letters(ax, width=0.8 / n)
    turned = max(len(str(category)) for category in categories) > most
    if turned:
        most = most_letters(ax, height=0.3)
    labels = [user_text(category, most) for category in categories]
    ax.set_xticks(range(n), labels, rotation=90 if turned else 0)
    ax.set_xlim(-0.5, n - 0.5)
