"""Plots of predictions against observations, and of the calibration of the error bars."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri

from sk_backprop._display._shared import (
    BLUE,
    GREY,
    RED,
    Array,
    axes_for,
    check_columns,
    check_targets,
    distribution_of,
    most_letters,
    normal_unless,
    one_target,
    probability_inside,
    target_name,
    user_text,
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
        X: Any,
        y: Any,
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
            colour if it does not contain the observed value. 'calibration' draws the
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
        y_true, y_pred = np.asarray(self.y_true), np.asarray(self.y_pred)
        diagonal = min(y_true.min(), y_pred.min()), max(y_true.max(), y_pred.max())
        ax.plot(diagonal, diagonal, "--", color=GREY, lw=1, zorder=1)
        # Many points are drawn small, so that overlaps are visible.
        size = np.clip(60 / np.sqrt(len(y_true)), 2, 5)
        style = {"fmt": "o", "ms": size, "mew": 0, "elinewidth": 0.25 * size}
        if self.y_std is None:
            ax.errorbar(y_true, y_pred, color=BLUE, **style)
        else:
            outside = self._least_probability() > 0.95
            low, high = normal_unless(self.distribution, y_pred, self.y_std).interval(0.95)
            ends = np.maximum([y_pred - low, high - y_pred], 0)
            for rows, color, where in (
                (~outside, BLUE, "in the 95 % interval"),
                (outside, RED, "outside"),
            ):
                bars = ax.errorbar(y_true[rows], y_pred[rows], ends[:, rows], color=color, **style)
                bars.set_label(f"{where}: {100 * rows.mean():.0f} % of rows")
                for lines in bars[2]:
                    lines.set_alpha(0.5)
            low, high = ax.get_ylim()
            ax.set_ylim(low, high + 0.2 * (high - low))  # room above the points for the legend
            ax.legend(loc="upper left", fontsize="small")
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
        ax.legend(loc="upper left", fontsize="small")
