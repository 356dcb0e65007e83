"""Plot of the loss during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sk_backprop._display._shared import (
    BLUE,
    GREY,
    ORANGE,
    axes_for,
    font_size,
    most_letters,
    regressor_of,
    user_text,
    write_note,
)

# Ratio of the largest to the smallest loss from which the axis is logarithmic.
_LOG_FROM = 10.0


class LossCurveDisplay:
    """What is minimised at each iteration, for one or several estimators.

    Where the evidence determines the penalty, this is the negative log evidence: the loss itself
    may rise, as the penalty that it includes is estimated again before each step. Otherwise it is
    the training loss and, with validation data, the validation loss.

    Use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    names : sequence of str of shape (n_estimators,)
        Names of the estimators; '' for a single one.
    loss_curves : sequence of array-like of shape (n_iter,)
        Training loss, or negative log evidence, at each iteration.
    validation_loss_curves : sequence of array-like of shape (n_iter,) or None
        Validation loss at each iteration, or None for an estimator without validation data.
    best_iters : sequence of int or None
        Iteration whose weights were kept, counted from 1; for 0 and None nothing is marked.
    quantity : {'loss', 'negative log evidence'}, default='loss'
        What the curves show.
    note : str, default=''
        What else should be known, written above the axes.

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
        quantity: str = "loss",
        note: str = "",
    ) -> None:
        self.names = names
        self.loss_curves = loss_curves
        self.validation_loss_curves = validation_loss_curves
        self.best_iters = best_iters
        self.quantity = quantity
        self.note = note

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> LossCurveDisplay:
        """Draw the loss curves of one estimator, or of several in one figure.

        Parameters
        ----------
        estimator : estimator, or dict of str: estimator
            Fitted estimator with a `loss_curve_`: BackpropRegressor, MLPRegressor, or a
            Pipeline that ends with one. With several networks, it is that of the first one. The
            negative log evidence is drawn if all have a `log_evidence_curve_` and none has
            validation data.
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
        validation = [getattr(each, "validation_loss_curve_", None) for each in fitted]
        evidence = [getattr(each, "log_evidence_curve_", None) for each in fitted]
        by_evidence = None not in evidence and all(curve is None for curve in validation)
        n_networks = max(getattr(each, "n_networks_", 1) for each in fitted)
        each = "" if len(named) == 1 else "the first network of each"
        return cls(
            names=list(named),
            loss_curves=[-np.asarray(curve) for curve in evidence]
            if by_evidence
            else [each.loss_curve_ for each in fitted],
            validation_loss_curves=validation,
            best_iters=[getattr(each, "best_iter_", None) for each in fitted],
            quantity="negative log evidence" if by_evidence else "loss",
            note=(each or f"network 1 of {n_networks}") if n_networks > 1 else "",
        ).plot(ax)

    def plot(self, ax: Any = None) -> LossCurveDisplay:
        """Draw the curves; a dot marks the iteration whose weights were kept.

        The axis of a loss is logarithmic if the curves span a factor of ten.

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
        self.lines_: list[Any] = []
        most = most_letters(ax, width=0.4)
        training = "training, with penalty" if self.quantity == "loss" else self.quantity
        curves = zip(
            self.names,
            self.loss_curves,
            self.validation_loss_curves,
            self.best_iters,
            strict=True,
        )
        for number, (name, loss, validation, best) in enumerate(curves):
            prefix = f"{user_text(name, most)}, " if name else ""
            several = len(self.names) > 1
            color = f"C{number}" if several else BLUE
            last = self._draw(ax, loss, prefix + training, color=color)
            if validation is not None:
                # Another colour, unless colours distinguish the estimators.
                style = {"color": color if several else ORANGE, "ls": "--"}
                last = self._draw(ax, validation, f"{prefix}validation", **style)
            if best:
                kept = best, last.get_ydata()[best - 1]
                ax.plot(*kept, "o", color=last.get_color(), ms=6, zorder=3)
        handles = list(self.lines_)
        if any(self.best_iters):
            handles += ax.plot([], [], "o", color=GREY, ms=6, label="iteration that was kept")
        values = np.concatenate([line.get_ydata() for line in self.lines_])
        if values.size and self.quantity == "loss" and 0 < values.min() < values.max() / _LOG_FROM:
            ax.set_yscale("log")
        ax.set(xlabel="iteration", ylabel=self.quantity)
        ax.xaxis.get_major_locator().set_params(integer=True)
        write_note(ax, self.note)
        # From a legend made by matplotlib, labels that begin with an underscore would be missing.
        legend = ax.legend(handles, [""] * len(handles), fontsize=font_size(ax))
        for text, handle in zip(legend.get_texts(), handles, strict=True):
            text.set_text(handle.get_label())
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw(self, ax: Any, curve: Any, label: str, **style: Any) -> Any:
        (line,) = ax.plot(np.arange(1, len(curve) + 1), curve, label=label, **style)
        self.lines_.append(line)
        return line
