"""Methods of a fitted regressor: predictions, score, slopes, leverage, weights for raw X."""

from __future__ import annotations

import warnings
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sk_backprop._blocks.arrays import Array, TableLike
from sk_backprop._estimator.checks import (
    check_count,
    check_new_rows,
    check_probabilities,
    check_scored,
    inputs_module,
)
from sk_backprop._estimator.lazy import by_blocks, is_collection, refuse_collection, score_blocks
from sk_backprop._estimator.notebook import ParameterTooltips, shown_in_regressor
from sk_backprop._estimator.state import (
    Columns,
    fitted_function,
    predictive_of,
    warn_of_overflow,
)
from sk_backprop._inference.predictive import FittedFunction


def shallow_copy(estimator: Any) -> Any:
    """Make a new estimator with the same attributes, none of them copied.

    A stream of n batches would copy n^2 / 2 values of its loss curve otherwise.

    Parameters
    ----------
    estimator : object
        An estimator, fitted or not.

    Returns
    -------
    copied : object
        Of the same class.
    """
    cls: Any = type(estimator)
    new = cls.__new__(cls)
    vars(new).update(vars(estimator))
    return new


@shown_in_regressor
class Predictor(RegressorMixin, ParameterTooltips):
    """An estimator that predicts from its fitted attributes."""

    def __copy__(self) -> Any:
        # `partial_fit` extends the curve in place; it replaces all other fitted attributes.
        copied = shallow_copy(self)
        if hasattr(copied, "loss_curve_"):
            copied.loss_curve_ = list(copied.loss_curve_)
        return copied

    @overload
    def predict(  # numpydoc ignore=GL08
        self, X: TableLike, return_std: Literal[False] = False
    ) -> Array: ...
    @overload
    def predict(  # numpydoc ignore=GL08
        self, X: TableLike, return_std: Literal[True]
    ) -> tuple[Array, Array]: ...
    @overload
    def predict(  # numpydoc ignore=GL08
        self, X: TableLike, return_std: bool
    ) -> Array | tuple[Array, Array]: ...
    def predict(self, X: TableLike, return_std: bool = False) -> Array | tuple[Array, Array]:
        r"""Predict targets in the units of the training y.

        Parameters
        ----------
        X : {array-like, sparse matrix, dask collection} of shape (n_samples, n_features)
            Inputs in the units of the training X; results for a dask collection are lazy.
        return_std : bool, default=False
            Whether to return the predictive standard deviation as well.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predicted mean; float32 if the weights (see `fit`) and this X are float32.
        std : ndarray of the same shape, if `return_std`
            Standard deviation of `predict_dist`, that of a new observation at X, in units of y.
            It combines the noise, the uncertainty of the weights (`uncertain_weights_`), and
            the spread of the networks' means. For 'poisson', the variance of the noise is
            proportional to the mean; for 'gamma' and 'lognormal', to its square.

        Raises
        ------
        NotFittedError
            Before the first fit.
        ValueError
            If X has other features than the training X, or values that are not finite; or if
            the fitted state was changed or damaged after the fit.

        Warns
        -----
        RuntimeWarning
            If a result is beyond the range of the dtype, and therefore inf or nan.
        UserWarning
            If values are missing in columns that lacked none in training.

        Notes
        -----
        The squared scale of one network is :math:`1 / \beta + g^T H^{-1} g` with
        :math:`g = \partial f / \partial \theta`: the noise variance plus the variance due
        to the weights (Laplace approximation). For several networks it is the mean of their
        squared scales plus the variance of their means. In `fit`, from 50 distinct rows on,
        errors on rows that were left out show by what factor the scale is to be multiplied, and
        the degrees of freedom :math:`\nu` of the t distribution; see `noise`. The standard
        deviation is the scale times :math:`\sqrt{\nu / (\nu - 2)}`.

        For a dask array or data frame, results are dask arrays with the rows of X in the same
        blocks. Columns are checked at once; values, and whether they are missing, when a block is
        computed, by any scheduler. Later fits do not change them.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sk_backprop import BackpropRegressor
        >>> X, y = load_diabetes(return_X_y=True, scaled=False)
        >>> model = BackpropRegressor((5,), solver="lbfgs", random_state=0).fit(X, y)
        >>> mean, std = model.predict(X, return_std=True)
        >>> bool(40 < std.mean() < 70)
        True
        """
        if not isinstance(return_std, (bool, np.bool_)):
            raise ValueError(f"return_std must be True or False, got {return_std!r}.")
        if is_collection(X):
            return by_blocks(self.predict, X, return_std=return_std)
        X, function = self._to_evaluate(X)
        if return_std:
            return self._moments(X, function)[:2]
        mean = function.predict(X)
        mean = mean.ravel() if self.n_outputs_ == 1 else mean
        warn_of_overflow(function, "predict(X)", mean)
        return mean

    def predict_dist(self, X: TableLike) -> Any:
        """Predict the distribution of a new observation at each row.

        For 'squared_error' and 'student_t' it is a t distribution, which is normal in the limit of
        many degrees of freedom (`degrees_of_freedom_`); for 'poisson' a negative binomial one, or
        Poisson's if the counts do not vary more; for 'gamma' and 'lognormal' that of this name. Its
        mean is that of `predict`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs in the units of the training X.

        Returns
        -------
        distribution : frozen distribution of :mod:`scipy.stats`
            For arrays of shape (n_samples,) or (n_samples, n_outputs), with the methods `pdf` (or
            `pmf`), `cdf`, `ppf`, `interval`, `mean`, `std` and `rvs`, in units of y.

        Raises
        ------
        NotFittedError, ValueError
            As for `predict`.

        Warns
        -----
        RuntimeWarning
            As for `predict`.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sk_backprop import BackpropRegressor
        >>> X, y = load_diabetes(return_X_y=True, scaled=False)
        >>> distribution = BackpropRegressor(random_state=0).fit(X, y).predict_dist(X[:3])
        >>> (distribution.cdf(200) - distribution.cdf(100)).shape       # probability of 100 to 200
        (3,)
        """
        refuse_collection(X, "predict_dist", "Call predict_interval or predict_quantiles, or pass")
        X, function = self._to_evaluate(X)
        mean, std, dof = self._moments(X, function)
        return function.likelihood.distribution(mean, std, dof)

    def predict_interval(self, X: TableLike, coverage: float = 0.95) -> Array:
        """Predict the central interval that holds a new observation with a given probability.

        Parameters
        ----------
        X : {array-like, sparse matrix, dask collection} of shape (n_samples, n_features)
            Inputs in the units of the training X; results for a dask collection are lazy.
        coverage : float, default=0.95
            Probability, between 0 and 1, both excluded.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2) or (n_samples, n_outputs, 2)
            Lower and upper end, in units of y.

        Raises
        ------
        NotFittedError, ValueError
            As for `predict`, or if `coverage` is not between 0 and 1.

        Warns
        -----
        RuntimeWarning
            As for `predict`.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sk_backprop import BackpropRegressor
        >>> X, y = load_diabetes(return_X_y=True, scaled=False)
        >>> model = BackpropRegressor(random_state=0).fit(X, y)
        >>> low, high = model.predict_interval(X, coverage=0.8).T
        >>> bool(0.75 < ((low < y) & (y < high)).mean() < 0.85)
        True
        """
        check_probabilities("coverage", coverage, single=True)
        return self.predict_quantiles(X, [(1 - coverage) / 2, (1 + coverage) / 2])

    def predict_quantiles(self, X: TableLike, quantiles: ArrayLike) -> Array:
        """Predict quantiles of a new observation.

        Parameters
        ----------
        X : {array-like, sparse matrix, dask collection} of shape (n_samples, n_features)
            Inputs in the units of the training X; results for a dask collection are lazy.
        quantiles : float or array-like of shape (n_quantiles,)
            Probabilities, between 0 and 1, both excluded. The median is 0.5.

        Returns
        -------
        values : ndarray of shape (n_samples, n_quantiles) or (n_samples, n_outputs, n_quantiles)
            In units of y. For a single float the last axis is left out.

        Raises
        ------
        NotFittedError, ValueError
            As for `predict`, or if a quantile is not between 0 and 1.

        Warns
        -----
        RuntimeWarning
            As for `predict`.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sk_backprop import BackpropRegressor
        >>> X, y = load_diabetes(return_X_y=True, scaled=False)
        >>> model = BackpropRegressor(random_state=0).fit(X, y)
        >>> model.predict_quantiles(X[:3], [0.1, 0.5, 0.9]).shape
        (3, 3)
        """
        levels = check_probabilities("quantiles", quantiles)
        if is_collection(X):
            return by_blocks(self.predict_quantiles, X, quantiles=quantiles)
        X, function = self._to_evaluate(X)
        mean, std, dof = self._moments(X, function)
        distribution = function.likelihood.distribution(mean, std, dof)
        found = np.stack([distribution.ppf(level) for level in np.ravel(levels)], axis=-1)
        values = np.asarray(found, dtype=mean.dtype)
        return values if np.ndim(levels) else np.asarray(values[..., 0])

    def sample_y(self, X: TableLike, n_samples: int = 1, random_state: Any = 0) -> Array:
        """Draw new observations at all rows jointly.

        Each draw is one function, from the posterior of the weights of one network, plus noise
        that is independent between rows. At each row, mean and standard deviation are those of
        `predict_dist`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_rows, n_features)
            Inputs in the units of the training X.
        n_samples : int, default=1
            Number of draws.
        random_state : int, RandomState or None, default=0
            As for :meth:`sklearn.gaussian_process.GaussianProcessRegressor.sample_y`.

        Returns
        -------
        y : ndarray of shape (n_rows, n_samples) or (n_rows, n_outputs, n_samples)
            Draws, in units of y.

        Raises
        ------
        NotFittedError, ValueError
            As for `predict`, or if `n_samples` is not a positive integer.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sk_backprop import BackpropRegressor
        >>> X, y = load_diabetes(return_X_y=True, scaled=False)
        >>> BackpropRegressor(random_state=0).fit(X, y).sample_y(X[:3], n_samples=5).shape
        (3, 5)
        """
        refuse_collection(X, "sample_y", "A draw is one function at all rows. Pass")
        check_count("n_samples", n_samples)
        X, function = self._to_evaluate(X)
        predictive = predictive_of(self, function)
        drawn = predictive.sample(X, int(n_samples), check_random_state(random_state))
        warn_of_overflow(predictive, "sample_y(X)", drawn)
        return drawn[:, 0] if self.n_outputs_ == 1 else drawn

    def _moments(self, X: Any, function: FittedFunction) -> tuple[Array, Array, Array]:
        """Mean and standard deviation of `predict`, and the degrees of freedom.

        X : checked; function : FittedFunction
        """
        predictive, mean = predictive_of(self, function), function.predict(X)
        std, dof = predictive.std(X), predictive.calibration.dof
        if self.n_outputs_ == 1:
            mean, std, dof = mean[:, 0], std[:, 0], dof[0]
        warn_of_overflow(predictive, "predict(X)", mean, std)
        return mean, std, dof

    def score(self, X: TableLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the coefficient of determination, R^2, of the predictions.

        Parameters
        ----------
        X : {array-like, sparse matrix, dask collection} of shape (n_samples, n_features)
            Inputs in the units of the training X.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Observed targets; the scores of several outputs are averaged. Dask collections, if X is
            one: sums over their blocks are computed at once, and nothing else leaves the blocks.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            R^2: 1 for perfect predictions, 0 for predictions no better than the mean of y.

        Raises
        ------
        NotFittedError
            Before the first fit.
        ValueError, TypeError
            If X has other features than the training X, or an argument is not numeric, has
            masked values, or has values that are not finite.

        Warns
        -----
        RuntimeWarning
            As for `predict`.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_backprop import BackpropRegressor
        >>> X = np.linspace(0, 3000, 100).reshape(-1, 1)
        >>> y = np.sin(X.ravel() / 1000)
        >>> BackpropRegressor(random_state=0).fit(X, y).score(X, y)
        1.000
        """
        check_is_fitted(self, "coefs_")
        if any(map(is_collection, (X, y, sample_weight))):
            return score_blocks(self, X, y, sample_weight)
        y, sample_weight = check_scored(y, sample_weight)
        return float(super().score(X, y, sample_weight=sample_weight))

    def gradient(self, X: TableLike) -> Array:
        """Compute the derivative of the prediction with respect to each feature, in raw units.

        The derivative is exact, by one more step of backpropagation. (At the kink of a
        'relu' unit, the left derivative of that unit is used.)

        Parameters
        ----------
        X : {array-like, sparse matrix, dask collection} of shape (n_samples, n_features)
            Inputs in the units of the training X; results for a dask collection are lazy.

        Returns
        -------
        gradient : ndarray of shape (n_samples, n_features) or \
                (n_samples, n_outputs, n_features)
            Derivative at each row, in units of y per unit of the feature; float32 if the
            weights (see `fit`) and this X are float32.

        Raises
        ------
        NotFittedError, ValueError
            As for `predict`.

        Warns
        -----
        RuntimeWarning
            As for `predict`.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_backprop import BackpropRegressor
        >>> X = np.linspace(0, 3000, 100).reshape(-1, 1)
        >>> model = BackpropRegressor(random_state=0).fit(X, np.sin(X.ravel() / 1000))
        >>> float(1000 * model.gradient([[0.0]])[0, 0])
        1.000
        """
        if is_collection(X):
            return by_blocks(self.gradient, X)
        given = X
        X, function = self._to_evaluate(X)
        gradient = function.gradient(X)
        warn_of_overflow(function, "gradient(X)", gradient)
        encoding = Columns.of(self).encoding
        if encoding is not None:
            gradient = encoding.gradient(
                inputs_module().new_table(self, given, "X", encoding), gradient
            )
        return gradient[:, 0] if self.n_outputs_ == 1 else gradient

    def leverage(self, X: TableLike) -> Array:
        r"""Compute how far rows lie outside the training data, in terms of the fitted weights.

        The leverage is the variance of the prediction due to the uncertainty of the weights,
        :math:`g^T H^{-1} g` with :math:`g = \partial f / \partial \theta`, relative to its
        largest value over the training rows. Where it is above 1, the prediction is an
        extrapolation and its standard deviation is likely to be too small: a network of
        sigmoid units cannot know how the function continues.

        Parameters
        ----------
        X : {array-like, sparse matrix, dask collection} of shape (n_samples, n_features)
            Inputs in the units of the training X; results for a dask collection are lazy.

        Returns
        -------
        leverage : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Leverage of each row, at most 1 for a training row; of more than 2,048 training rows,
            those farthest from their mean are used. 0 for an output whose target did not vary.

        Raises
        ------
        NotFittedError
            Before the first fit.
        ValueError
            If X has other features than the training X, or values that are not finite; if
            `uncertain_weights_` is 'none'; or after `partial_fit`, because a stream does not
            keep its rows.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_backprop import BackpropRegressor
        >>> X = np.linspace(0, 3, 50).reshape(-1, 1)
        >>> y = X.ravel() + np.random.RandomState(0).normal(scale=0.1, size=50)
        >>> model = BackpropRegressor(random_state=0).fit(X, y)
        >>> model.leverage([[1.5], [3.0], [30.0]]) > 1
        array([False, False,  True])
        """
        if is_collection(X):
            return by_blocks(self.leverage, X)
        X, function = self._to_evaluate(X)
        predictive = predictive_of(self, function)
        if predictive.largest_leverage is None:
            if predictive.posteriors[0].weights == "none":
                raise ValueError(
                    "leverage(X) needs the uncertainty of the weights, and this network has too "
                    "many units for it: uncertain_weights_ is 'none'. Fit fewer hidden units."
                )
            raise ValueError(
                "leverage(X) compares rows with the training rows, which are not known after "
                "partial_fit. Call fit on the rows to compare with."
            )
        leverage = predictive.leverage(X)
        warn_of_overflow(predictive, "leverage(X)", leverage)
        return leverage[:, 0] if self.n_outputs_ == 1 else leverage

    @property
    def encoded_feature_names_(self) -> Array:
        """The names of the inputs of the network, in the order of the rows of ``coefs_[0]``.

        An input that is a column of X has its name, or x0, x1, ... The others are named after the
        column they stand for: 'city=Ulm', 'city=(other)', 'age=(missing)', 'sold (sin of year)'.

        Returns
        -------
        names : ndarray of str objects of shape (n_inputs,)
            The names.
        """
        check_is_fitted(self)
        columns = Columns.of(self)
        if columns.input_names is not None:
            return columns.input_names
        return np.array([f"x{j}" for j in range(columns.n_features)], dtype=object)

    def encode(self, X: TableLike) -> Any:
        """Compute the inputs of the network that stand for the columns of X.

        Parameters
        ----------
        X : {array-like, sparse matrix, dask collection} of shape (n_samples, n_features)
            Inputs as in `fit`; results for a dask collection are lazy.

        Returns
        -------
        inputs : {ndarray, sparse matrix} of shape (n_samples, n_inputs)
            Values of `encoded_feature_names_`, before `scaler_`.

        Raises
        ------
        NotFittedError, ValueError
            As for `predict`.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_backprop import BackpropRegressor
        >>> X = np.arange(20.0).reshape(-1, 1)
        >>> X[3] = np.nan
        >>> model = BackpropRegressor((), solver="lbfgs", alpha=0).fit(X, np.arange(20.0))
        >>> list(model.encoded_feature_names_)
        ['x0', 'x0=(missing)']
        >>> model.encode([[7.0], [np.nan]])
        array([[7.        , 0.        ],
               [9.84210526, 1.        ]])
        """
        if is_collection(X):
            return by_blocks(self.encode, X)
        return self._to_evaluate(X)[0]

    @property
    def raw_coefs_(self) -> list[Array]:
        """The weights that act on raw X; see `raw_intercepts_`.

        Returns
        -------
        coefs : list of ndarray of shape (n_in, n_out)
            Weights of each layer, in float64.

        Raises
        ------
        NotFittedError
            Before the first fit.

        Warns
        -----
        RuntimeWarning
            As for `predict`, if X was near the limits of float64.
        """
        check_is_fitted(self)
        function = fitted_function(self)
        coefs = function.raw_weights()[0]
        warn_of_overflow(function, "raw_coefs_", *coefs)
        return coefs

    @property
    def raw_intercepts_(self) -> list[Array]:
        """The biases corresponding to `raw_coefs_`.

        With one sigmoid layer, ``sigmoid(X @ W1 + b1) @ W2 + b2`` equals ``predict(X)``.
        For a Poisson fit, apply ``exp`` to it; for a logistic output, the prediction is
        ``y_scale_ * sigmoid(...)``, as no weight can absorb that scale.

        Returns
        -------
        intercepts : list of ndarray of shape (n_out,)
            Biases of each layer, in float64.

        Raises
        ------
        NotFittedError
            Before the first fit.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_backprop import BackpropRegressor
        >>> X = np.linspace(0, 3000, 100).reshape(-1, 1)
        >>> model = BackpropRegressor((3,), random_state=0).fit(X, np.sin(X.ravel() / 1000))
        >>> (W1, W2), (b1, b2) = model.raw_coefs_, model.raw_intercepts_
        >>> by_hand = 1 / (1 + np.exp(-(X @ W1 + b1))) @ W2 + b2
        >>> bool(np.allclose(by_hand.ravel(), model.predict(X)))
        True
        """
        check_is_fitted(self)
        function = fitted_function(self)
        intercepts = function.raw_weights()[1]
        warn_of_overflow(function, "raw_intercepts_", *intercepts)
        return intercepts

    def _to_evaluate(self, X: TableLike) -> tuple[Any, FittedFunction]:
        """Checked X, and the fitted function."""
        if not hasattr(self, "coefs_"):  # tested first, as the check takes 2 us
            check_is_fitted(self, "coefs_")
        checked, messages = check_new_rows(self, X)
        for message in messages:
            warnings.warn(message, stacklevel=3)
        return checked, fitted_function(self)
