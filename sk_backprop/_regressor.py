"""`BackpropRegressor`: parameters, fitted attributes, and the order of events in training.

The work is done in the other rooms.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sk_backprop._callbacks import CallbackSupport, all_or_nothing, callback_observers
from sk_backprop._events import Events
from sk_backprop._likelihood import LIKELIHOODS
from sk_backprop._plan import Plan, carry_out
from sk_backprop._predictor import Predictor, shallow_copy
from sk_backprop._progress import printers
from sk_backprop._report import NOTHING_KEPT, Call, attributes_if_ended, complaints, fitted_state
from sk_backprop._seen_rows import SeenRows
from sk_backprop._start import in_stream, likelihood_of, plan_and_starts, rows_so_far
from sk_backprop._state import Columns, FittedState, store
from sk_backprop._training import Data, Problem, Start, prepare
from sk_backprop._validation import (
    OnlyIfStreaming,
    check_parameters,
    check_rows,
    check_target_range,
    check_validation_rows,
    set_aside,
)


class BackpropRegressor(CallbackSupport, Predictor):
    r"""A sigmoid network trained by backpropagation, for raw data.

    Scaling is part of the fit: X is divided by each feature's largest absolute value, y
    is scaled too, and (`precondition`) the solvers work in centred coordinates of unit
    spread: units and shifts do not matter. Predictions are in the units of y, with a
    standard deviation.

    With the defaults linear models and networks are trained by Levenberg-Marquardt; the
    evidence holds their weights, rows held out choose the shape, and several networks are
    averaged. Every keyword of
    :class:`sklearn.neural_network.MLPRegressor` exists under the same name and meaning.

    Parameters
    ----------
    hidden_layer_sizes : int, sequence of int or 'auto', default='auto'
        Units in each hidden layer; an int is one layer, () a linear model. 'auto' is the
        shape that predicts held-out rows best: with 'lm' none, one layer of 20 units or two
        of 5 to 30 (while affordable), with the other solvers none or (20,). It is (20,) in
        `partial_fit` and with fewer than 10 rows under these solvers.
    activation : {'logistic', 'tanh', 'relu', 'identity'}, default='logistic'
        Function of the hidden units. With `precondition=True` the logistic sigmoid
        and tanh are the same family of functions and train alike.
    output_activation : {'identity', 'logistic'}, default='identity'
        Function of the output units. 'logistic' is the textbook's: it needs y >= 0
        and predicts between 0 and the largest y of the training rows.
    loss : {'squared_error', 'poisson'}, default='squared_error'
        'poisson' is half the Poisson deviance, with an exponential output; y >= 0.
    solver : {'auto', 'lm', 'lbfgs', 'adam', 'sgd'}, default='auto'
        'lm' (Levenberg-Marquardt) and 'lbfgs' use all rows at once, 'adam' and
        'sgd' mini-batches. 'auto' is 'lm' while that is affordable, 'lbfgs' up to 10,000
        rows or n_samples * n_params = 2.5e7, and 'adam' beyond; with more weights than
        rows, rows held out decide; in `partial_fit` it is 'adam'. See `solver_`.
    precondition : bool, default=True
        Train in coordinates in which features, hidden sigmoids and target are
        centred and of unit spread. False is the textbook: X / max, y / max, nothing
        else.
    alpha : float or 'auto', default='auto'
        Strength of the penalty on squared weights, divided by the total weight of
        the rows. It applies in the solver's coordinates. With 'lm', 'auto' finds
        one for each of `weight_groups` by the evidence [3]_; with 'lbfgs' the one of
        100, 30, 10, ..., 0.01 (for 'poisson' from 10,000 on) with which held-out rows are
        predicted best, 2 with `early_stopping` or fewer than 10 rows, and with fewer than 10
        counts above 0 the strongest; with 'sgd' and 'adam' 2, or, for a linear model that
        'auto' layers try, 0.01. These are multiplied by the mean weight of distinct rows.
        See `alpha_`.
    weight_groups : {'auto', 'input', 'layer'}, default='auto'
        Weights that share one penalty found by the evidence: each layer's weights, its
        biases, and with 'input' each input's first weights (automatic relevance
        determination, see `input_relevance_`). 'auto' is 'input', and for a linear
        model what foretells rows held out best.
    n_networks : int or 'auto', default='auto'
        Networks of one shape, from different initial weights, whose outputs are
        averaged. 'auto' is, with alpha='auto' and 'lm', as many of up to 12 as are
        affordable, without those whose log evidence shows that they have failed, and 1
        otherwise.
    n_jobs : int or None, default=None
        Processes that train networks side by side, by joblib; None is 1, or what
        `joblib.parallel_config` says. The result does not depend on it.
    batch_size : int or 'auto', default='auto'
        Rows in a mini-batch of 'sgd' and 'adam', at most n_samples. 'auto' is 200; in `fit`
        an eighth of the rows if that is less, but 25 at least, and below 50 rows all: ten
        epochs of a step or two gain so little that they count as a stall (see `tol`).
    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        Schedule of 'sgd': constant; divided by (1 + samples seen) ** `power_t`; or
        divided by 5 at each stall (see `tol`) until it is below 1e-6, which a
        stream, one pass a batch, never meets.
    learning_rate_init : float, default=0.003
        Initial learning rate of 'sgd' and 'adam' [6]_. With `loss='poisson'` that of 'sgd'
        is at most Polyak's, loss / |gradient|^2 [9]_.
    power_t : float, default=0.5
        Exponent of `learning_rate='invscaling'`.
    max_iter : int, default=1000
        Largest number of iterations; for 'sgd' and 'adam', of epochs.
    max_fun : int, default=15000
        Largest number of evaluations of the loss by 'lbfgs'.
    shuffle : bool, default=True
        Draw the rows of mini-batches in a new order in each epoch.
    random_state : int, RandomState or None, default=None
        Of initial weights, validation split and shuffling. The initial weights of the
        columns are drawn in an order by their values (how strongly they vary with y), so
        that the order of the columns does not matter. Apart from that order, they do not
        depend on the rows.
    tol : float, default=1e-3
        Training has stalled when in `n_iter_no_change` iterations on end the loss
        (with early stopping, the validation loss) never comes below ``1 - tol``
        times the lowest before. Relative, so that units do not matter. It bounds what is
        gained, not the gradient: with 0 and ``n_iter_no_change=inf`` 'lm' and 'lbfgs' go on
        to where rounding hides the rest, in the coordinates of `precondition` a gradient of
        the mean loss of 1e-8.
    n_iter_no_change : int or inf, default=10
        Patience, see `tol`.
    early_stopping : bool, default=False
        Stop by, and keep the weights of, the best loss on validation data: those
        given to `fit`, or a random `validation_fraction` of the distinct rows.
    validation_fraction : float, default=0.1
        Part of the distinct rows set aside by `early_stopping`, in [0, 1), and then above 0.
        A row and its copies are set aside together.
    warm_start : bool, default=False
        Let `fit` go on from the last fit. If the scales of the data have changed,
        it starts from the same function of raw X nevertheless (with a logistic
        output, from one stretched to the new largest y).
    momentum : float, default=0.9
        Of 'sgd', in [0, 1].
    nesterovs_momentum : bool, default=True
        Use Nesterov's form of the momentum.
    beta_1 : float, default=0.9
        Decay rate of the first moment of 'adam', in [0, 1).
    beta_2 : float, default=0.999
        Decay rate of the second moment of 'adam', in [0, 1).
    epsilon : float, default=1e-8
        Summand in the denominator of 'adam'.
    verbose : bool or int, default=False
        1 or True prints a line a second: time, network, iteration, loss, loss and R^2 of
        validation data, and with 'lm' what the evidence takes for the effective number of
        parameters, gamma. The first iteration, what the trials chose and how the fit ended
        are always there. 2 prints all trials, iterations and ends of runs. A batch of
        `partial_fit` has a line.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of each layer, for features that `scaler_` has scaled; they give
        (y - `y_location_`) / `y_scale_`. Several networks are one here, with the
        hidden units of all of them.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of each layer that go with `coefs_`.
    hidden_layer_sizes_ : tuple of int
        Of one network.
    n_networks_ : int
        Networks that were averaged.
    alpha_ : float or None
        The penalty, given or chosen; None where the evidence has found several.
    n_effective_params_ : ndarray of shape (n_networks_,)
        Effective number of parameters of each network [3]_, among `uncertain_weights_`.
    noise_precision_ : ndarray of shape (n_outputs,)
        1 / variance of the noise, in units of 1 / y^2; for 'poisson' 1 / dispersion,
        in units of 1 / y. With a fixed penalty and more effective parameters than a quarter
        of the rows (or, for a large network, weights than a tenth), it is estimated from the
        errors of further networks at rows that these were not trained on.
    residual_dof_ : ndarray of shape (n_outputs,), or None
        Residual degrees of freedom that the noise was estimated with: the total weight of the
        rows less the effective number of parameters, mean over the networks; where the noise
        was estimated from rows that the networks were not trained on, the weight of those.
        None for a stream.
    weight_precision_ : dict of str: ndarray of shape (n_networks_,), or None
        The penalty of each group of weights that the evidence has found, as
        1 / variance, in the solver's coordinates. None with a fixed `alpha`.
    log_evidence_ : ndarray of shape (n_networks_,), or None
        Log evidence of each network, for y in its units.
    input_relevance_ : ndarray of shape (n_features_in_,), or None
        Prior standard deviation of the weights from each input of unit spread, mean
        over the networks; 0 for an input that does not matter. None unless the
        evidence had a group for each input.
    uncertain_weights_ : {'all', 'last_layer', 'none'}
        The weights whose uncertainty is part of `predict(return_std=True)`: all, or
        where they are too many those of the last layer.
    raw_coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of the same function with all scales folded in: for raw X, giving y.
    raw_intercepts_ : list of ndarray of shape (n_out,)
        Biases that go with `raw_coefs_`.
    scaler_ : MaxAbsScaler
        Fitted to the training rows.
    y_location_ : ndarray of shape (n_outputs,)
        Mean of y, in its units; 0 without preconditioning, with a logistic output and
        for 'poisson'.
    y_scale_ : ndarray of shape (n_outputs,)
        Standard deviation of y, in its units; without preconditioning, and with a
        logistic output, the largest \|y\|; for 'poisson' the mean.
    solver_ : str
        The solver that was used. What follows is, of several networks, the first's.
    loss_ : float
        Training loss, with penalty and in scaled units, of the iteration whose
        weights are kept; for 'sgd' and 'adam' the mean over its mini-batches.
    loss_curve_ : list of float
        Training loss of each iteration, for every solver.
    best_loss_ : float
        Smallest value of `loss_curve_`. (The evidence may raise the loss.)
    n_iter_ : int
        Iterations made.
    best_iter_ : int
        The iteration whose weights were kept; 0 is the start.
    t_ : int
        Samples seen, also over warm starts and batches.
    validation_scores_ : list of float or None
        R^2 of the validation data at each iteration; nan where their targets do not vary.
    validation_loss_curve_ : list of float or None
        Loss of the validation data, without penalty, at each iteration; early stopping
        goes by it.
    best_validation_score_ : float or None
        R^2 at `best_iter_`.
    n_layers_ : int
        Layers, counting input and output.
    n_outputs_ : int
        Output units.
    out_activation_ : {'identity', 'logistic', 'exp'}
        Function of the output units.
    n_features_in_ : int
        Columns of the training X.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of its columns; only if all were strings.

    See Also
    --------
    sklearn.neural_network.MLPRegressor : The same network without the scaling.

    Notes
    -----
    The loss is, with weights w_i and the sum of squares over all outputs,

    .. math:: \frac{1}{2\sum_i w_i} \Big[\sum_i w_i \|f(x_i) - y_i\|^2
              + \alpha \sum_l \|W_l\|^2\Big]

    with :math:`2 (e^f - y - y f + y \ln y)` in place of the square for 'poisson'.

    'lm' solves :math:`(J^T J + \Lambda + \mu I) \delta = -(J^T r + \Lambda \theta)` for
    each step, with residuals r, their derivatives J and penalties :math:`\Lambda`; the
    decrease of the loss, by that which was foretold, decides :math:`\mu` [4]_. The evidence
    sets, for each group g of N_g weights and with :math:`H = \beta J^T J + \Lambda`,

    .. math:: \gamma_g = N_g - \alpha_g \, \mathrm{tr}_g H^{-1}, \quad
              \alpha_g = \gamma_g / \|\theta_g\|^2, \quad
              \beta = \Big(\sum_i w_i - \sum_g \gamma_g\Big) / \sum_i w_i r_i^2

    until they agree [3]_, [5]_. For 'poisson' the noise is told by Pearson's statistic, with
    Fletcher's correction for sparse counts, in place of the sum of squares [7]_.

    A run that diverges keeps the weights of its lowest loss and warns. Mini-batches
    see the whole penalty over the weight of all rows; MLPRegressor's, of the batch. With
    `precondition` they are computed in float32.

    scikit-learn's callbacks, of its version 1.9 and newer, work by ``set_callbacks(...)``.
    The tasks of `fit` are the trials, each run of a network, and each iteration; at a task's
    end ``fitted_estimator`` is the network of that run alone. A callback that asks to stop at
    an iteration ends that run, whose weights of then are kept (with `early_stopping` the
    best); at a trial, the trials; at the end of the trials or of a run, training once there
    is a network. X, y and weights are as given to `fit`. `partial_fit` calls none.

    References
    ----------
    .. [1] Rumelhart, Hinton & Williams (1986). Learning representations by
       back-propagating errors. Nature 323, 533-536. doi:10.1038/323533a0
    .. [2] LeCun, Bottou, Orr & Mueller (1998). Efficient BackProp.
       doi:10.1007/3-540-49430-8_2
    .. [3] MacKay (1992). A practical Bayesian framework for backpropagation networks.
       Neural Computation 4, 448-472. doi:10.1162/neco.1992.4.3.448
    .. [4] Marquardt (1963). An algorithm for least-squares estimation of nonlinear
       parameters. Journal of SIAM 11, 431-441. doi:10.1137/0111030
    .. [5] Foresee & Hagan (1997). Gauss-Newton approximation to Bayesian learning.
       ICNN 3, 1930-1935. doi:10.1109/ICNN.1997.614194
    .. [6] Kingma & Ba (2015). Adam: a method for stochastic optimization.
       doi:10.48550/arXiv.1412.6980
    .. [7] Fletcher (2012). Estimating overdispersion when fitting a generalized linear
       model to sparse data. Biometrika 99, 230-237. doi:10.1093/biomet/asr083
    .. [8] Liu et al. (2020). On the variance of the adaptive learning rate and beyond.
       doi:10.48550/arXiv.1908.03265
    .. [9] Loizou, Vaswani, Laradji & Lacoste-Julien (2021). Stochastic Polyak step-size for
       SGD. doi:10.48550/arXiv.2002.10542

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from sk_backprop import BackpropRegressor
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> model = BackpropRegressor(random_state=0).fit(X_train, y_train)
    >>> mean, std = model.predict(X_test[:3], return_std=True)
    >>> mean.shape, std.shape
    ((3,), (3,))
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = "auto",
        *,
        activation: str = "logistic",
        output_activation: str = "identity",
        loss: str = "squared_error",
        solver: str = "auto",
        precondition: bool = True,
        alpha: float | str = "auto",
        weight_groups: str = "auto",
        n_networks: int | str = "auto",
        n_jobs: int | None = None,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.003,
        power_t: float = 0.5,
        max_iter: int = 1000,
        max_fun: int = 15000,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-3,
        n_iter_no_change: float = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        verbose: int = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.output_activation = output_activation
        self.loss = loss
        self.solver = solver
        self.precondition = precondition
        self.alpha = alpha
        self.weight_groups = weight_groups
        self.n_networks = n_networks
        self.n_jobs = n_jobs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.max_fun = max_fun
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        likelihood = LIKELIHOODS.get((self.loss, self.output_activation))
        tags.target_tags.positive_only = likelihood is not None and likelihood.min_target >= 0
        return tags

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        coefs_init: Any = None,
        intercepts_init: Any = None,
    ) -> BackpropRegressor:
        """Fit the network to raw X and y.

        Nothing of the estimator changes until training has ended: a refused call leaves
        an earlier fit as it was. Ctrl-C ends training with a warning and keeps the
        networks that were whole, or the last whole iteration; where it went on from several
        networks, their earlier fit; during trials, or with `n_jobs`, it is raised.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs in any units; the columns of a table (pandas, polars, pyarrow) must hold
            numbers or booleans. float32 stays float32, but where the mean of a column or of y
            is 100 times its spread; all else becomes float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets in any units.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Non-negative counts: weight 2 equals repeating the row, weight 0 leaving it out.
            Copies of a row stay together wherever rows are held out. For the evidence, weights
            that sum to 1 say as little as one row: divide weights that are relative, such as
            the exposures of rates, or precisions (1 / variance of each target), by their mean.
        X_val, y_val : array-like, default=None
            Validation data. Their loss and score are recorded; with
            `early_stopping=True` they, not a random part of X, decide when to stop.
        sample_weight_val : array-like, default=None
            Weights of the validation rows.
        coefs_init, intercepts_init : list of arrays, default=None
            Initial weights and biases, as `coefs_` and `intercepts_`; biases default to
            zeros. They take precedence over `warm_start`.

        Returns
        -------
        self : BackpropRegressor
            Fitted.

        Raises
        ------
        ValueError, TypeError
            For an argument or parameter that is not allowed; the message says
            which, what was given and what is allowed.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` or `max_fun` ended the training, or it diverged.
        UserWarning
            If it was interrupted, fewer than 10 rows (for 'poisson', 3 counts above 0) are left
            after the effective parameters to estimate the noise from, the weights make many
            rows count as less than three, or a single row has most of the squared error.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_backprop import BackpropRegressor
        >>> X = np.linspace(0, 3000, 100).reshape(-1, 1)
        >>> model = BackpropRegressor(random_state=0).fit(X, np.sin(X.ravel() / 1000))
        >>> float(model.predict([[1570.8]])[0])
        1.000
        """
        check_parameters(self)
        continued = self.warm_start and hasattr(self, "coefs_") and coefs_init is None
        checked, data = self._check(X, y, sample_weight, reset=not continued)
        last = FittedState.of(self) if continued else None
        validation = check_validation_rows(checked, X_val, y_val, sample_weight_val, data)
        if validation is not None:
            check_target_range(validation.y, likelihood_of(self), "y_val")
        plan, starts = plan_and_starts(self, data, last, (coefs_init, intercepts_init))
        rng = check_random_state(self.random_state)
        if self.early_stopping and validation is None:
            data, validation = set_aside(data, self.validation_fraction, rng)
        problem = prepare(plan.settings, data, validation)
        call = Call(Columns.of(checked), data.n_samples, SeenRows.of(*data), last)
        told = self._train(call, plan, problem, starts, rng, (X, y, sample_weight))
        for message, category in told:
            warnings.warn(message, category, stacklevel=2)
        return self

    @OnlyIfStreaming
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> BackpropRegressor:
        """Make one pass over the next batch of a stream.

        What scales X and y is of all batches so far; the weights move with it, so that
        the function learned so far stays the same. (A logistic output keeps the target
        scale of the first batch, with a warning where y exceeds it.) The penalty `alpha`
        is divided by the total weight of all distinct rows so far. A batch in which training
        diverges (the loss is twice that before, and beyond what noise does) leaves the
        function and makes the optimizer start anew. One that is interrupted is left out, with
        a warning. `solver='auto'` is 'adam' here, also after a fit by another solver. After a fit
        by 'lm' or 'lbfgs', 'adam' begins with short steps [8]_, and the
        rate of 'sgd' has a bound [9]_, but for the textbook's steps (`precondition=False`).

        The noise is estimated from the errors of each mini-batch before the step on it, in a
        running mean over the last tenth of the rows, at least 30 and at most 300 of them (of
        counts 300 and 1,000). The uncertainty of the weights is of all rows at first, then of
        ten batches, or at least 1,000 rows. So the standard deviations are those of rows that
        come as the last ones did: in a stream sorted by y, or that drifts, those of the next
        rows, and not of all. Pass rows in random order where there is a choice.

        Rows that come again, in whatever order and batches, are known by a sketch of fixed size,
        and add nothing to the weight of the distinct rows; their errors count as those of rows
        that were trained on. Rows are the same where X and y are equal; of equal rows within a
        batch each counts, as `sample_weight` does, and the largest total weight in one batch is
        kept. Where X and y have few distinct values, pass batches of some hundred rows.

        Scales only grow: an outlier, or another unit, in one batch is remembered, and an
        outlier of y is told by a warning. A first batch that shows the usual range of every
        column is worth having.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows of the batch, in the units of the first.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Non-negative counts of the rows, as in `fit`.

        Returns
        -------
        self : BackpropRegressor
            Fitted to all batches so far.

        Raises
        ------
        ValueError, TypeError
            As `fit`. A refused batch leaves the estimator as it was.
        PartialFitError
            An AttributeError and ValueError: if the solver is 'lm' or 'lbfgs', or
            `early_stopping` is True.

        Warns
        -----
        ConvergenceWarning
            If training diverged.
        UserWarning
            If it was interrupted, a single row has most of the variance of y so far, rows come
            again that cannot show the noise, or y exceeds what a logistic output reaches.

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
        check_parameters(self)
        fitted = hasattr(self, "coefs_")
        checked, data = self._check(X, y, sample_weight, reset=not fitted)
        last = FittedState.of(self) if fitted else None
        plan, starts = plan_and_starts(self, data, last, streaming=True)
        rng = check_random_state(self.random_state if last is None else last.continuation.seed)
        seen = None if last is None else last.predictive.scales
        problem = prepare(plan.settings, data, None, seen, streaming=True)
        starts = in_stream(starts, last, plan, problem, SeenRows.of(*data))
        curve = [] if last is None else last.history.loss_curve
        events = Events(*printers(self.verbose, len(curve)))
        trained = carry_out(plan, problem, starts, rng, self.n_jobs, events)
        if trained.interrupted:
            warnings.warn(NOTHING_KEPT, UserWarning, stacklevel=2)
            return self
        rows = rows_so_far(starts, trained.settings.network)
        call = Call(Columns.of(checked), data.n_samples, rows, last, streaming=True)
        store(self, fitted_state(call, trained, rng), curve)
        for message, category in complaints(call, trained, alpha_given=self.alpha != "auto"):
            warnings.warn(message, category, stacklevel=2)
        if trained.settings.likelihood.max_target_is_unit and np.any(data.y > self.y_scale_):
            warnings.warn(
                f"y has values up to {data.y.max():g}, above the largest of the first batch, "
                f"{self.y_scale_}, which a logistic output cannot exceed.",
                UserWarning,
                stacklevel=2,
            )
        return self

    def _check(
        self, X: Any, y: Any, sample_weight: Any, *, reset: bool
    ) -> tuple[BackpropRegressor, Data]:
        """Checked data, on a copy that holds n_features_in_ and names."""
        checked = shallow_copy(self)
        data = check_rows(checked, X, y, sample_weight, reset=reset)
        check_target_range(data.y, likelihood_of(self), "y")
        return checked, data

    @all_or_nothing
    def _train(
        self,
        call: Call,
        plan: Plan,
        problem: Problem,
        starts: list[Start] | None,
        rng: np.random.RandomState,
        rows: tuple[Any, Any, Any],
    ) -> list[tuple[str, type[Warning]]]:
        """Train, tell callbacks of it, set the fitted attributes; the warnings to draw."""
        attributes = partial(attributes_if_ended, call, rng)
        callbacks = callback_observers(self, rows, attributes, plan.most_tasks)
        events = Events(*printers(self.verbose), *callbacks)
        trained = carry_out(plan, problem, starts, rng, self.n_jobs, events)
        events.end_fit(trained)
        if len(trained.networks) < len(starts or ()):  # interrupted
            return [(NOTHING_KEPT, UserWarning)]
        store(self, fitted_state(call, trained, rng))
        return list(complaints(call, trained, alpha_given=self.alpha != "auto"))
