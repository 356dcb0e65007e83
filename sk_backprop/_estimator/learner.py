"""Methods that train: `fit` and `partial_fit`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Self

from numpy.typing import ArrayLike

from sk_backprop._blocks.arrays import TableLike
from sk_backprop._blocks.threads import no_forks
from sk_backprop._estimator.continued import OnlyIfStreaming
from sk_backprop._estimator.lazy import is_collection, refuse_collection
from sk_backprop._estimator.notebook import shown_in_regressor
from sk_backprop._estimator.predictor import Predictor


def _calls() -> Any:
    """The module of calls; a process that only predicts takes less to start without it."""
    with no_forks():
        from sk_backprop._estimator import calls
    return calls


@shown_in_regressor
class Learner(Predictor):
    """A predictor that learns its fitted attributes from rows."""

    def fit(
        self,
        X: TableLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: TableLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        coefs_init: Sequence[ArrayLike] | None = None,
        intercepts_init: Sequence[ArrayLike] | None = None,
    ) -> Self:
        """Fit the network to raw X and y.

        The estimator does not change until training has ended, so that a call that raises an
        error leaves an earlier fit as it was. Ctrl-C ends training with a warning and keeps
        the networks that were completed or, if there are none, the last complete iteration; a
        fit that continued several networks keeps the earlier fit. No more networks are trained
        for the noise, so that standard deviations may be too small. During trials, or with
        `n_jobs`, KeyboardInterrupt is raised.

        Dask arrays and data frames are fitted by 'lm' or 'lbfgs' on the workers of the current
        dask client. The result matches that in memory bit for bit, with the same solver and
        parameters; a default fit in memory may also select networks of 'muon'. At most 200,000
        rows come to the client: models are selected, and the noise is calibrated, on these.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame, dask collection} of shape \
                (n_samples, n_features)
            Inputs in any units. The columns of a data frame (pandas, polars, pyarrow) may be
            numbers, booleans, categories, strings (see `categorical_features`), durations, and
            dates, which become days since the first, and the sine and cosine of the phase in each
            year, week and day where the dates cover several of them. Missing values (nan, NA, None,
            NaT) are replaced by the mean of the column, and a further input shows where; among
            categories, they are one. float32 stays float32, unless the mean of a column or of y is
            100 times its standard deviation; everything else becomes float64. The blocks of a dask
            collection are arrays, CSR matrices or pandas data frames.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets in any units. If X is a dask collection, y must be one too, partitioned like X
            unless all chunk sizes are known.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Non-negative counts: weight 2 equals repeating the row, weight 0 leaving it out. If X is
            a dask collection, it must be one too, or a number for all rows. Copies of a row stay
            together wherever rows are held out. For the evidence, weights that sum to 1 carry no
            more information than one row: divide relative weights (such as exposures of rates, or
            precisions, 1 / variance of each target) by their mean.
        X_val, y_val : array-like, default=None
            Validation data. Their loss and score are recorded; with `early_stopping=True`,
            they are used instead of a random part of X to decide when to stop. If X is a dask
            collection, they must be too, and with more than 200,000 different rows
            `early_stopping=True` requires them.
        sample_weight_val : array-like, default=None
            Weights of the validation rows.
        coefs_init, intercepts_init : list of arrays, default=None
            Initial weights and biases, in the form of `coefs_` and `intercepts_`; biases
            default to zeros. They take precedence over `warm_start`.

        Returns
        -------
        self : BackpropRegressor
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If an argument or parameter is not allowed; the message says which one, what was
            given and what is allowed. This includes dask collections with solvers that use
            mini-batches, with other data in memory, or without a dask client.
        ImportError
            If X is a dask collection and dask.distributed is not installed.

        Warns
        -----
        ConvergenceWarning
            If training reached `max_iter` or `max_fun`, or diverged.
        UserWarning
            If training was interrupted, fewer than 10 rows (for 'poisson', 3 counts above 0)
            remain after subtracting the effective number of parameters, the weights make many
            rows count as less than three, a single row has most of the squared error, or of the
            variance of a column, a column of a data frame seems to number the rows, rows are
            outliers (see `outliers_`), `noise='varying'` has no effect, or the workers of dask
            differ in versions or BLAS kernels, on which the last digits depend.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_backprop import BackpropRegressor
        >>> X = np.linspace(0, 3000, 100).reshape(-1, 1)
        >>> model = BackpropRegressor(random_state=0).fit(X, np.sin(X.ravel() / 1000))
        >>> float(model.predict([[1570.8]])[0])
        1.000
        """
        rows, validation_rows = (X, y, sample_weight), (X_val, y_val, sample_weight_val)
        if any(map(is_collection, (*rows, *validation_rows))):
            with no_forks():
                from sk_backprop._estimator.dask_engine import fit_on_workers as fit
        else:
            fit = _calls().fit_rows
        messages = fit(self, rows, validation_rows, (coefs_init, intercepts_init))
        for message in messages:
            warnings.warn(message, stacklevel=2)
        return self

    @OnlyIfStreaming
    def partial_fit(
        self, X: TableLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Make one pass over the next batch of a stream.

        The scales of X and y are those of all batches so far; the weights are adjusted so that
        the function learned so far stays the same. (A logistic output keeps the target scale
        of the first batch, with a warning if y exceeds it.) The penalty `alpha` is divided by
        the total weight of all distinct rows so far. If training diverges in a batch (the loss
        is twice that before, and more than noise explains), the function stays as it was and
        the optimizer is reset. A batch that is interrupted is left out, with a warning.
        `solver='auto'` is 'adam' here, even after a fit by another solver. After a fit by 'lm',
        'lbfgs' or 'muon', 'adam' and 'muon' begin with short steps [8]_, and the learning rate of
        'sgd' is bounded [9]_, except for the textbook's steps (`precondition=False`).

        The noise is estimated from the errors of each mini-batch before the step on it, as a
        running mean over the last tenth of the rows, at least 30 and at most 300 of them (300
        and 1,000 for counts). The uncertainty of the weights is based on all rows at first, then
        on ten batches or at least 1,000 rows. The standard deviations are thus valid for rows
        like the most recent ones: in a stream that is sorted by y or drifts, for the next rows,
        but not for all. Pass rows in random order if you have the choice.

        Rows that are passed again, in any order and any batches, are recognised by a sketch of
        fixed size and add nothing to the weight of the distinct rows; their errors count as
        errors on training rows. Rows are the same if X and y are equal. Equal rows within one
        batch all count, as with `sample_weight`, and the largest total weight in one batch is
        kept. If X and y have few distinct values, pass batches of a few hundred rows.

        Scales only grow: an outlier or a change of units in one batch has a lasting effect, and
        an outlier of y causes a warning. It helps if the first batch shows the usual range of
        every column.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs of the batch, in the units of the first batch.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets of the batch.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Non-negative counts of the rows, as in `fit`.

        Returns
        -------
        self : BackpropRegressor
            The estimator, fitted to all batches so far.

        Raises
        ------
        ValueError, TypeError
            As for `fit`, or if an argument is a dask collection. A batch that raises an error
            leaves the estimator as it was.
        PartialFitError
            If the solver is 'lm' or 'lbfgs', `early_stopping` is True, or `learning_rate` is
            'cosine'. It is both an AttributeError and a ValueError.

        Warns
        -----
        ConvergenceWarning
            If training diverged.
        UserWarning
            If training was interrupted, a single row has most of the variance of y so far, rows
            are passed again that cannot show the noise, or y exceeds the range of a logistic
            output.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sk_backprop import BackpropRegressor
        >>> X, y = load_diabetes(return_X_y=True, scaled=False)
        >>> model = BackpropRegressor(random_state=0)
        >>> for rows in (slice(0, 200), slice(200, 442)):
        ...     model = model.partial_fit(X[rows], y[rows])
        >>> model.solver_, model.t_
        ('adam', 442)
        """
        for name, given in {"X": X, "y": y, "sample_weight": sample_weight}.items():
            refuse_collection(given, "partial_fit", "Pass", name)
        for message in _calls().fit_next_batch(self, (X, y, sample_weight)):
            warnings.warn(message, stacklevel=2)
        return self
