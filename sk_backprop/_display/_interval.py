"""Plot of the fitted function along one feature."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np

from sk_backprop._display._shared import (
    Array,
    axes_for,
    check_targets,
    distribution_of,
    input_names,
    most_letters,
    normal_unless,
    one_target,
    target_name,
    user_text,
)
from sk_backprop._estimator.sparse import check_structure

# {probability: opacity}; the inner band lies on the outer one.
_BANDS = {0.95: 0.25, 0.5: 0.4}


class IntervalDisplay:
    """Predicted mean with 50 % and 95 % bands along one feature, with the others fixed.

    Use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    x : array-like of shape (n_points,)
        Values of the feature, in ascending order.
    mean, std : array-like of shape (n_points,)
        Predicted mean and standard deviation of a new observation.
    x_data, y_data : array-like of shape (n_samples,), default=None
        Data points to draw in addition.
    x_name, y_name : str, default='x', 'y'
        Names of the feature and of the target.
    distribution : frozen distribution of scipy.stats, default=None
        Distribution of new observations at the points, whose central intervals are the bands; None
        for normal ones.

    Attributes
    ----------
    line_ : matplotlib Line2D
        Curve of the mean.
    bands_ : list of matplotlib PolyCollection
        The 95 % band and the 50 % band.
    points_ : matplotlib PathCollection or None
        Data points.
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.

    See Also
    --------
    sklearn.inspection.PartialDependenceDisplay : The average over the other features.

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
        std: Any,
        x_data: Any = None,
        y_data: Any = None,
        x_name: str = "x",
        y_name: str = "y",
        distribution: Any = None,
    ) -> None:
        self.x = x
        self.mean = mean
        self.std = std
        self.x_data = x_data
        self.y_data = y_data
        self.x_name = x_name
        self.y_name = y_name
        self.distribution = distribution

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        feature: int | str,
        *,
        y: Any = None,
        fixed: Mapping[Any, Any] | None = None,
        target: int = 0,
        grid_resolution: int = 200,
        ax: Any = None,
    ) -> IntervalDisplay:
        """Predict along the range of a feature in X, and draw the result.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with ``predict(X, return_std=True)``, such as BackpropRegressor
            or a Pipeline that ends with one.
        X : {array-like, sparse matrix, table} of shape (n_samples, n_features)
            Rows that determine the range of the feature and the medians of the others.
            Missing values (nan), which a pipeline may handle, are ignored. polars and
            pyarrow tables are converted to pandas, which must be installed.
        feature : int or str
            Index of the feature, or its name in a table.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets of X, to be drawn as points. The other features of these points differ
            from those of the curve.
        fixed : dict of {int or str: value}, default=None
            Values of the other features. Features that are not given have their median in X
            or, if they are not numeric, their most frequent value.
        target : int, default=0
            Index of the target, if there are several.
        grid_resolution : int, default=200
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
            not have as many rows as X and as many targets as are predicted.
        ImportError
            If matplotlib is not installed.
        """
        check_structure(X, "X")
        X = _as_frame(X)
        name = _name(X, feature)
        values = np.asarray(X[name] if hasattr(X, "columns") else X[:, name], dtype=float)
        if not np.isfinite(values).any():
            raise ValueError(f"feature {feature!r} has no finite value in X.")
        x = np.linspace(np.nanmin(values), np.nanmax(values), grid_resolution)
        grid = _grid(X, {**(fixed or {}), name: x}, grid_resolution)
        mean, std = estimator.predict(grid, return_std=True)
        display = cls(
            x=x,
            mean=one_target(mean, target),
            std=one_target(std, target),
            x_data=None if y is None else values,
            y_data=None if y is None else one_target(y, target),
            x_name=str(name) if hasattr(X, "columns") else input_names(estimator, X.shape[1])[name],
            y_name=target_name(y, target),
            distribution=distribution_of(estimator, grid, target),
        )
        if y is not None:
            check_targets(y, mean)
            if len(display.y_data) != len(values):
                raise ValueError(
                    f"X has {len(values)} rows and y has {len(display.y_data)}; they must agree."
                )
        return display.plot(ax)

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
        x, mean = np.asarray(self.x), np.asarray(self.mean)
        distribution = normal_unless(self.distribution, mean, self.std)
        (self.line_,) = ax.plot(x, mean, color="C0", lw=2, label="mean", zorder=3)
        self.bands_ = []
        for probability, alpha in _BANDS.items():
            low, high = distribution.interval(probability)
            band = ax.fill_between(x, low, high, color="C0", alpha=alpha, lw=0)
            band.set_label(f"{100 * probability:.0f} %")
            self.bands_.append(band)
        self.points_ = None
        if self.x_data is not None:
            size = np.clip(3000 / len(self.x_data), 4, 20)
            style = {"s": size, "lw": 0, "alpha": 0.6, "zorder": 2}
            color = ax.xaxis.label.get_color()  # black, or white on black
            self.points_ = ax.scatter(self.x_data, self.y_data, color=color, label="data", **style)
        most = most_letters(ax, width=0.8, height=0.8)
        ax.set(xlabel=user_text(self.x_name, most), ylabel=user_text(self.y_name, most))
        ax.margins(x=0.02)
        ax.legend(fontsize="small")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _as_frame(X: Any) -> Any:
    """A table of any library as a pandas data frame; all else as an array."""
    if hasattr(X, "toarray"):
        return X.toarray()
    if isinstance(X, np.ndarray) or not hasattr(X, "columns"):
        return np.asarray(X)
    X = X.compute() if hasattr(X, "compute") else X
    return X if hasattr(X, "iloc") else X.to_pandas()


def _name(X: Any, feature: Any) -> Any:
    """The key of a feature: its name in a data frame, its index in an array."""
    names = list(X.columns) if hasattr(X, "columns") else []
    if isinstance(feature, Integral) and -X.shape[1] <= feature < X.shape[1]:
        return names[feature] if names else feature
    if feature in names:
        return feature
    known = f"one of {names} or a number" if names else "a number"
    raise ValueError(f"A feature is {known} below {X.shape[1]}, got {feature!r}.")


def _grid(X: Any, given: Mapping[Any, Any], n_points: int) -> Any:
    """Rows like those of X with given values, and typical ones for the other features.

    X : data frame or array; given : {feature: value or (n_points,)}; n_points : int
    """
    if not hasattr(X, "columns"):
        grid: Array = np.tile(np.nanmedian(X, axis=0), (n_points, 1))
        for feature, value in given.items():
            grid[:, _name(X, feature)] = value
        return grid
    typical = {
        name: X[name].median() if X[name].dtype.kind in "fiu" else X[name].mode().iloc[0]
        for name in X.columns
    }
    frame = X.iloc[np.zeros(n_points, dtype=int)].reset_index(drop=True)
    for name, value in (typical | {_name(X, key): value for key, value in given.items()}).items():
        frame[name] = value
    return frame
