"""Plot of the relevance of the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sk_backprop._display._shared import (
    axes_for,
    input_names,
    most_letters,
    regressor_of,
    user_text,
)


class RelevanceDisplay:
    """Relevance of each input as a bar, with the largest on top.

    Use :meth:`from_estimator` to create a display. All parameters are stored as attributes.

    Parameters
    ----------
    relevance : array-like of shape (n_features,)
        Relevance of each input, see `input_relevance_`.
    names : sequence of str of shape (n_features,)
        Names of the inputs.

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

    def __init__(self, *, relevance: Any, names: Sequence[str]) -> None:
        self.relevance = relevance
        self.names = names

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> RelevanceDisplay:
        """Draw the `input_relevance_` of a fitted regressor.

        Parameters
        ----------
        estimator : BackpropRegressor, or a Pipeline that ends with one
            Fitted estimator with ``weight_groups='input'``, ``alpha='auto'``, and solver 'lm'
            (or 'auto', if it selects 'lm').
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
        ValueError
            If `input_relevance_` is None.
        ImportError
            If matplotlib is not installed.
        """
        regressor = regressor_of(estimator)
        relevance = getattr(regressor, "input_relevance_", None)
        if relevance is None:
            raise ValueError(
                "The fit has found no input_relevance_: it needs solver='lm', alpha='auto' and "
                "weight_groups='input'."
            )
        names = input_names(regressor, regressor.n_features_in_)
        return cls(relevance=relevance, names=names).plot(ax)

    def plot(self, ax: Any = None) -> RelevanceDisplay:
        """Draw the bars.

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
        order = np.argsort(relevance, kind="stable")
        self.bars_ = ax.barh(range(len(order)), relevance[order], color="C0")
        most = most_letters(ax, width=0.4)
        ax.set_yticks(range(len(order)), [user_text(self.names[j], most) for j in order])
        ax.set_xlabel("input relevance")
        ax.margins(y=0.01)
        self.ax_, self.figure_ = ax, ax.figure
        return self
