"""Plot of how much each input matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sk_backprop._display._shared import (
    BLUE,
    axes_for,
    feature_names,
    input_names,
    most_letters,
    regressor_of,
    user_text,
    write_note,
)

# Height of a bar with its name, in points.
_BAR = 14.0


class RelevanceDisplay:
    """Relevance of each input as a bar, with the largest on top.

    Use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    relevance : array-like of shape (n_features,)
        Relevance of each input.
    names : sequence of str of shape (n_features,)
        Names of the inputs.
    quantity : str, default='input relevance'
        What the bars show, for the axis.

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        Bars, from the bottom to the top.
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure that contains the axes.

    See Also
    --------
    sklearn.inspection.permutation_importance : Effect of a feature on the score.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sk_backprop import BackpropRegressor, RelevanceDisplay
    >>> X, y = load_diabetes(return_X_y=True, scaled=False, as_frame=True)
    >>> model = BackpropRegressor((5,), solver="lm", n_networks=3, random_state=0).fit(X, y)
    >>> display = RelevanceDisplay.from_estimator(model)
    >>> display.ax_.get_yticklabels()[-1].get_text()
    's5'
    """

    def __init__(
        self, *, relevance: Any, names: Sequence[str], quantity: str = "input relevance"
    ) -> None:
        self.relevance = relevance
        self.names = names
        self.quantity = quantity

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> RelevanceDisplay:
        """Draw how much each input of a fitted regressor matters.

        Bars show `input_relevance_`, the prior standard deviations of the weights from each input,
        where there is one (of ``weight_groups='input'`` with the evidence), and otherwise
        `feature_importances_`.

        Parameters
        ----------
        estimator : BackpropRegressor, or a Pipeline that ends with one
            Fitted estimator.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure.

        Returns
        -------
        display : RelevanceDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        regressor = regressor_of(estimator)
        relevance, quantity = regressor.input_relevance_, "input relevance"
        if relevance is None:
            relevance, quantity = regressor.feature_importances_, "feature importance"
            names = feature_names(estimator, len(relevance))
        else:
            names = input_names(estimator, len(relevance))
        return cls(relevance=relevance, names=names, quantity=quantity).plot(ax)

    def plot(self, ax: Any = None) -> RelevanceDisplay:
        """Draw the bars: of many inputs, the largest that have room.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a new figure, higher for more inputs.

        Returns
        -------
        display : RelevanceDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        relevance = np.asarray(self.relevance)
        ax = axes_for(ax, figsize=(6.4, float(np.clip(1 + 0.3 * len(relevance), 2.5, 12))))
        height = 72 * ax.get_position().height * ax.figure.bbox.height / ax.figure.dpi
        most_bars = max(1, int(height / _BAR))
        order = np.argsort(relevance, kind="stable")[-most_bars:]
        self.bars_ = ax.barh(range(len(order)), relevance[order], color=BLUE)
        most = most_letters(ax, width=0.4)
        ax.set_yticks(range(len(order)), [user_text(self.names[j], most) for j in order])
        ax.set_xlabel(self.quantity)
        ax.margins(y=0.01)
        if len(order) < len(relevance):
            write_note(ax, f"the {len(order)} largest of {len(relevance)}")
        self.ax_, self.figure_ = ax, ax.figure
        return self
