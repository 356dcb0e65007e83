"""The models of a cross-validation as one estimator, which predicts every row without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

from sk_backprop._command._reading.columns import Array
from sk_backprop._command.evaluation import rows_of

# A t distribution of as many degrees of freedom is normal to all digits that a picture shows.
_NORMAL = 1e9


class OutOfFold(RegressorMixin, BaseEstimator):
    """Predictions of the rows of a cross-validation, each by the model fitted without it.

    It has what displays ask of an estimator, for one target with squared error; X must be the
    rows of the cross-validation, in their order.

    models : fitted, one for each fold
    test : (n_test,) indices of the held-out rows of each fold
    """

    def __init__(self, models: Sequence[Any], test: Sequence[NDArray[np.intp]]) -> None:
        self.models = models
        self.test = test

    def fit(self, X: Any, y: Any) -> OutOfFold:
        """Return itself: the models are fitted."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Mean, and standard deviation if asked for, of every row."""
        mean, std = np.empty(len(X)), np.empty(len(X))
        for model, rows in zip(self.models, self.test):
            mean[rows], std[rows] = model.predict(rows_of(X, rows), return_std=True)
        return (mean, std) if return_std else mean

    def predict_dist(self, X: Any) -> Any:
        """Distribution of every row, a frozen t distribution of `scipy.stats`."""
        from scipy import stats

        mean, std = self.predict(X, return_std=True)
        dof: Array = np.empty(len(X))
        for model, rows in zip(self.models, self.test):
            frozen = model.predict_dist(rows_of(X, rows))
            dof[rows] = frozen.args[0] if frozen.dist.name == "t" else _NORMAL
        return stats.t(dof, mean, std * np.sqrt((dof - 2) / dof))
