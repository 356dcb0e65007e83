"""Plot of the loss during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sk_backprop._display._shared import GREY, axes_for, most_letters, regressor_of, user_text

# Ratio of the largest to the smallest loss from which the axis is logarithmic.
_LOG_FROM = 10.0


class LossCurveDisplay:
    """Training and validation loss at each iteration, for one or several estimators.

    Use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    names : sequence of str of shape (n_estimators,)
        Names of the estimators; '' for a single one.
    loss_curves : sequence of array-like of shape (n_iter,)
        Training loss at each iteration.
    validation_loss_curves : sequence of array-like of shape (n_iter,) or None
        Validation loss at each iteration, or None for an estimator without validation data.
    best_iters : sequence of int or None
        Iteration whose weights were kept, counted from 1; for 0 and None nothing is marked.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        Training curve and, if there is one, validation curve of each estimator.
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sk_backprop import BackpropRegressor, LossCurveDisplay
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> model = BackpropRegressor(
    ...     (20,), solver="lbfgs", alpha=0, early_stopping=True, random_state=0
    ... )
    >>> LossCurveDisplay.from_estimator(model.fit(X, y))
    <...LossCurveDisplay object at ...>
    """

    def __init__(
        self,
        *,
        names: Sequence[str],
        loss_curves: Sequence[Any],
        validation_loss_curves: Sequence[Any],
        best_iters: Sequence[int | None],
    ) -> None:
        self.names = names
        self.loss_curves = loss_curves
        self.validation_loss_curves = validation_loss_curves
        self.best_iters = best_iters

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> LossCurveDisplay:
        """Draw the loss curves of one estimator, or of several in one figure.

        Parameters
        ----------
        estimator : estimator, or dict of str: estimator
            Fitted estimator with a `loss_curve_`: BackpropRegressor, MLPRegressor, or a
            Pipeline that ends with one. With several networks, it is that of the first one.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If an estimator is not fitted.
        AttributeError
            If an estimator has no `loss_curve_`.
        ImportError
            If matplotlib is not installed.
        """
        named = dict(estimator) if isinstance(estimator, Mapping) else {"": estimator}
        fitted = [regressor_of(each) for each in named.values()]
        display = cls(
            names=list(named),
            loss_curves=[each.loss_curve_ for each in fitted],
            validation_loss_curves=[
                getattr(each, "validation_loss_curve_", None) for each in fitted
            ],
            best_iters=[getattr(each, "best_iter_", None) for each in fitted],
        )
        return display.plot(ax)

    def plot(self, ax: Any = None) -> LossCurveDisplay:
        """Draw the curves; a dot marks the iteration whose weights were kept.

        The loss axis is logarithmic if the curves span a factor of ten.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        display : LossCurveDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = axes_for(ax)
        self.lines_, most = [], most_letters(ax, width=0.4)
        for number, (name, loss, validation, best) in enumerate(
            zip(
                self.names,
                self.loss_curves,
                self.validation_loss_curves,
                self.best_iters,
                strict=True,
            )
        ):
            prefix = f"{user_text(name, most)}, " if name else ""
            curves = [(loss, f"C{number}-", "training")]
            if validation is not None:
                # Another colour, unless colours distinguish the estimators.
                color = f"C{number}" if len(self.names) > 1 else "C1"
                curves.append((validation, f"{color}--", "validation"))
            for curve, style, label in curves:
                iterations = np.arange(1, len(curve) + 1)
                (line,) = ax.plot(iterations, curve, style, label=prefix + label)
                self.lines_.append(line)
            if best:
                ax.plot(best, curves[-1][0][best - 1], "o", color=line.get_color(), ms=6, zorder=3)
        handles = list(self.lines_)
        if any(self.best_iters):
            handles += ax.plot([], [], "o", color=GREY, ms=6, label="iteration that was kept")
        values = np.concatenate([line.get_ydata() for line in self.lines_])
        if values.size and values.min() > 0 and values.max() > _LOG_FROM * values.min():
            ax.set_yscale("log")
        ax.set(xlabel="iteration", ylabel="loss")
        ax.xaxis.get_major_locator().set_params(integer=True)
        # From a legend made by matplotlib, labels that begin with an underscore would be missing.
        legend = ax.legend(handles, [""] * len(handles), fontsize="small")
        for text, handle in zip(legend.get_texts(), handles, strict=True):
            text.set_text(handle.get_label())
        self.ax_, self.figure_ = ax, ax.figure
        return self
