"""Plots of predictions against observations, and of the calibration of the error bars."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from sk_backprop._blocks.arrays import TableLike
from sk_backprop._display._shared import (
    BLUE,
    GREY,
    MOST_ROWS,
    ORANGE,
    Array,
    axes_for,
    check_columns,
    check_targets,
    distribution_of,
    font_size,
    most_letters,
    normal_unless,
    one_target,
    probability_inside,
    rows_shown,
    some_rows,
    target_name,
    user_text,
    write_note,
)

_KINDS = ("predicted_vs_actual", "calibration")


class PredictionDisplay:
    """Predicted against actual values with error bars, or the calibration of the error bars.

    Use :meth:`from_estimator` or :meth:`from_predictions` to create a display, preferably
    for held-out rows. All parameters are stored as attributes.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Observed values.
    y_pred : array-like of shape (n_samples,)
        Predicted means.
    y_std : array-like of shape (n_samples,), default=None
        Predicted standard deviations; None draws no error bars.
    name : str, default='y'
        Name of the target.
    distribution : frozen distribution of scipy.stats, default=None
        Distribution of the observations, whose central intervals are drawn; None for normal ones.

    Attributes
    ----------
    points_ : list of matplotlib Line2D
        Points of the rows inside and outside their intervals, or of all; empty for calibration.
    bars_ : list of matplotlib LineCollection
        Intervals of the rows inside and outside; empty without them.
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.

    See Also
    --------
    sklearn.metrics.PredictionErrorDisplay : Plot of residuals, without error bars.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from sk_backprop import BackpropRegressor, PredictionDisplay
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> model = BackpropRegressor((5,), solver="lbfgs", random_state=0).fit(X_train, y_train)
    >>> display = PredictionDisplay.from_estimator(model, X_test, y_test)
    >>> display.plot(kind="calibration")
    <...PredictionDisplay object at ...>
    """

    def __init__(
        self,
        *,
        y_true: Any,
        y_pred: Any,
        y_std: Any = None,
        name: str = "y",
        distribution: Any = None,
    ) -> None:
        self.y_true = y_true
        self.y_pred = y_pred
        self.y_std = y_std
        self.name = name
        self.distribution = distribution

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: TableLike,
        y: ArrayLike,
        *,
        target: int = 0,
        kind: str = "predicted_vs_actual",
        ax: Any = None,
    ) -> PredictionDisplay:
        """Predict X and draw the result.

        Parameters
        ----------
        estimator : estimator
            Fitted estimator with ``predict(X, return_std=True)``, such as BackpropRegressor
            or a Pipeline that ends with one.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs of held-out rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Observed targets of these rows.
        target : int, default=0
            Index of the target, if there are several.
        kind : {'predicted_vs_actual', 'calibration'}, default='predicted_vs_actual'
            Kind of plot, see :meth:`plot`.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        display : PredictionDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the target or kind does not exist, or y does not have one finite number for each
            row and target.
        ImportError
            If matplotlib is not installed.
        """
        X = X.compute() if hasattr(X, "compute") else X  # of dask: all of it is drawn
        mean, std = estimator.predict(X, return_std=True)
        check_targets(y, mean)
        display = cls(
            y_true=one_target(y, target),
            y_pred=one_target(mean, target),
            y_std=one_target(std, target),
            name=target_name(y, target),
            distribution=distribution_of(estimator, X, target),
        )
        check_columns(y_pred=display.y_pred, y=display.y_true)
        return display.plot(ax, kind=kind)

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        y_std: Any = None,
        *,
        distribution: Any = None,
        kind: str = "predicted_vs_actual",
        ax: Any = None,
    ) -> PredictionDisplay:
        """Draw given predictions of one target.

        Parameters
        ----------
        y_true, y_pred : array-like of shape (n_samples,)
            Observed values and predicted means.
        y_std : array-like of shape (n_samples,), default=None
            Predicted standard deviations; None draws no error bars.
        distribution : frozen distribution of scipy.stats, default=None
            Distribution of the observations, if it is not normal.
        kind : {'predicted_vs_actual', 'calibration'}, default='predicted_vs_actual'
            Kind of plot, see :meth:`plot`.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        display : PredictionDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the kind does not exist, `y_std` is missing for calibration, or the arrays are
            not finite numbers of equal length.
        ImportError
            If matplotlib is not installed.
        """
        check_columns(y_true=y_true, y_pred=y_pred, y_std=y_std)
        name = target_name(y_true, 0)
        display = cls(
            y_true=y_true, y_pred=y_pred, y_std=y_std, name=name, distribution=distribution
        )
        return display.plot(ax, kind=kind)

    def coverage(self, probability: Any) -> Array:
        """Compute the fraction of rows inside their central intervals of given probability.

        Parameters
        ----------
        probability : float or array-like, in [0, 1]
            Nominal coverage of the intervals.

        Returns
        -------
        coverage : ndarray of the same shape
            Fraction of the rows, from 0 to 1.

        Raises
        ------
        ValueError
            If `y_std` is None, or a probability is not in [0, 1].
        """
        needed, nominal = np.sort(self._least_probability()), np.asarray(probability, dtype=float)
        if not np.all((nominal >= 0) & (nominal <= 1)):
            raise ValueError(f"probability must be in [0, 1], such as 0.95: {probability!r}.")
        inside = np.searchsorted(needed, nominal, side="right")
        return np.asarray(inside / len(needed))

    def plot(self, ax: Any = None, *, kind: str = "predicted_vs_actual") -> PredictionDisplay:
        """Draw one of the two kinds.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.
        kind : {'predicted_vs_actual', 'calibration'}, default='predicted_vs_actual'
            'predicted_vs_actual' draws a 95 % interval around each prediction, in another
            colour if it does not contain the observed value, with RMSE and R^2 above; of more
            than 500 rows, 500 that are drawn at random. 'calibration' draws the
            fraction of rows inside central intervals against the nominal probability of
            these intervals. At each probability, the curve of correct error bars lies within
            the grey band with probability 95 %.

        Returns
        -------
        display : PredictionDisplay
            This display.

        Raises
        ------
        ValueError
            If the kind does not exist, or `y_std` is missing for calibration.
        ImportError
            If matplotlib is not installed.
        """
        if kind not in _KINDS:
            raise ValueError(f"kind must be one of {list(_KINDS)}, got {kind!r}.")
        ax = axes_for(ax)
        self.points_: list[Any] = []
        self.bars_: list[Any] = []
        if kind == "calibration":
            self._draw_calibration(ax)
        else:
            self._draw_predictions(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _least_probability(self) -> Array:
        """Probability of the smallest central interval that holds each observation."""
        if self.y_std is None:
            raise ValueError("Calibration needs y_std, the predicted standard deviations.")
        distribution = normal_unless(self.distribution, self.y_pred, self.y_std)
        return probability_inside(distribution, np.asarray(self.y_true))

    def _draw_predictions(self, ax: Any) -> None:
        y_true, y_pred = np.asarray(self.y_true, float), np.asarray(self.y_pred, float)
        shown = some_rows(len(y_true), MOST_ROWS)
        drawn = [y_true[shown], y_pred[shown]]
        # Many points are drawn small and their bars faint, so that overlaps are visible.
        size = float(np.clip(60 / np.sqrt(len(shown)), 3, 5))
        opacity = float(np.clip(30 / len(shown), 0.2, 0.6))
        style: dict[str, Any] = {"ms": size, "mew": 0, "zorder": 3}
        if self.y_std is None:
            self.points_ = ax.plot(y_true[shown], y_pred[shown], "o", color=BLUE, **style)
        else:
            outside = self._least_probability() > 0.95
            low, high = normal_unless(self.distribution, y_pred, self.y_std).interval(0.95)
            low, high = np.minimum(low, y_pred), np.maximum(high, y_pred)
            drawn += [low[shown], high[shown]]
            for kind, color, where in (
                (~outside, BLUE, "in the 95 % interval"),
                (outside, ORANGE, "outside"),
            ):
                rows = shown[kind[shown]]
                ends = y_true[rows], low[rows], high[rows]
                self.bars_.append(ax.vlines(*ends, color=color, lw=0.8, alpha=opacity))
                label = f"{where}: {100 * kind.mean():.0f} %"
                self.points_ += ax.plot(
                    y_true[rows], y_pred[rows], "o", color=color, label=label, **style
                )
            ax.legend(loc="upper left", fontsize=font_size(ax), markerscale=5 / size)
        first, last = float(min(map(np.min, drawn))), float(max(map(np.max, drawn)))
        ax.axline((first, first), slope=1, ls="--", color=GREY, lw=1, zorder=2)
        room = 0.03 * (last - first) or 1.0
        limits = first - room, last + room
        ax.set(xlim=limits, ylim=limits, aspect="equal")
        write_note(ax, _accuracy(y_true, y_pred) + rows_shown(len(shown), len(y_true)))
        name = user_text(self.name, most_letters(ax, width=0.6, height=0.6))  # more words follow
        ax.set(xlabel=f"{name}, actual", ylabel=f"{name}, predicted")

    def _draw_calibration(self, ax: Any) -> None:
        nominal = np.linspace(0, 1, 201)
        n_rows = len(self._least_probability())
        band = ndtri(0.975) * np.sqrt(nominal * (1 - nominal) / n_rows)
        low, high = np.maximum(nominal - band, 0), np.minimum(nominal + band, 1)
        ax.fill_between(
            nominal, low, high, color=GREY, alpha=0.4, lw=0, label=f"as claimed, {n_rows} rows"
        )
        ax.plot([0, 1], [0, 1], "--", color=GREY, lw=1)
        ax.plot(nominal, self.coverage(nominal), color=BLUE, lw=2, label="observed")
        ax.set(xlabel="probability of the interval", ylabel="part of the rows inside")
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        ax.legend(loc="upper left", fontsize=font_size(ax))


def _accuracy(y_true: Array, y_pred: Array) -> str:
    """Root mean squared error, and R^2 where the targets vary."""
    error, variance = np.mean((y_true - y_pred) ** 2), np.var(y_true)
    rmse = f"RMSE {np.sqrt(error):.3g}"
    return f"{rmse}, R\u00b2 {1 - error / variance:.2f}" if variance > 0 else rmse
