"""`BackpropRegressor`: parameters and fitted attributes."""

from __future__ import annotations

from typing import Any

from sk_backprop._estimator.compat import CallbackSupport
from sk_backprop._estimator.learner import Learner
from sk_backprop._network.families import LIKELIHOODS


class BackpropRegressor(CallbackSupport, Learner):
    r"""Sigmoid network for regression on raw data, trained by backpropagation.

    Scaling is part of the fit: X is divided by each feature's largest absolute value, y is
    scaled as well, and (with `precondition`) the solvers work in centred coordinates with
    unit standard deviation, so that units and shifts do not matter. Predictions are in the
    units of y and come with a standard deviation.

    With the defaults, linear models and networks are trained by Levenberg-Marquardt with
    penalties determined by the evidence, and wide networks for rough functions by mini-batches.
    One of them is selected on held-out rows, and several such networks are averaged. Every
    keyword of :class:`sklearn.neural_network.MLPRegressor` exists with the same name and meaning.

    Parameters
    ----------
    hidden_layer_sizes : int, sequence of int or 'auto', default='auto'
        Number of units in each hidden layer; an int is a single layer, and () a linear model.
        'auto' selects the architecture that predicts held-out rows best: with 'lm' no hidden
        layer, one of 20 units or two of 5 to 30 (while affordable); with the other solvers none or
        (20,). If `solver` and `alpha` are 'auto' too, more are tried: with 'muon', from 200
        dense rows of at most 256 features on (or, if all have two values, 1,000), two layers of 64
        units (256 from 10,000 rows on)
        after `units_per_feature`; for up to 3 features, one layer of 96 units whose initial
        weights suit a function that oscillates; and with 'lm', where a value of a feature is 100
        interquartile ranges from the quartiles, two layers of 5 or 10 units after 3 units for each
        feature. Up to 10,000 distinct rows, the networks of 'muon' and the best others are blended,
        with weights by their held-out errors of at least 0.1; see `members_`. 'auto' is (20,) in
        `partial_fit`, and with 'lbfgs', 'sgd' and 'adam' for fewer than 10 rows.
    activation : {'logistic', 'tanh', 'relu', 'identity'}, default='logistic'
        Activation function of the hidden units. With `precondition=True`, the logistic
        sigmoid and tanh give the same family of functions and train alike.
    output_activation : {'identity', 'logistic'}, default='identity'
        Activation function of the output units. 'logistic', as in textbooks, requires
        y >= 0 and predicts values between 0 and the largest y of the training rows.
    loss : {'squared_error', 'poisson', 'gamma', 'lognormal', 'student_t'}, default='squared_error'
        'poisson' (y >= 0) and 'gamma' (y > 0) are half the deviances of these distributions, with
        an exponential output: the variance of y is proportional to its mean, or to the square of
        it. 'lognormal' (y > 0) is the squared error of log(y); predictions are still the mean of y.
        'student_t' is for outliers in y: minus the log likelihood of a t distribution with 4
        degrees of freedom, whose scale is estimated along with the weights [13]_. Rows with large
        errors have little weight, and predictions are the center of the noise, which is not its
        mean if it is skewed. For 'squared_error', see `outliers_`.
    solver : {'auto', 'lm', 'lbfgs', 'adam', 'sgd', 'muon'}, default='auto'
        'lm' (Levenberg-Marquardt) and 'lbfgs' use all rows at once, 'adam', 'sgd' and 'muon'
        mini-batches. 'muon' is 'adam' with orthogonalised steps for the matrices between hidden
        layers [10]_, which learns rough functions in fewer epochs. 'auto' is 'lm' while that is
        affordable, otherwise 'lbfgs' up to 10,000 rows or n_samples * n_params = 2.5e7, and 'adam'
        beyond. With more weights than rows, held-out rows decide. In `partial_fit` it is 'adam'.
        Dask collections do not support mini-batches: 'auto' is 'lm' or 'lbfgs', and the networks
        of 'muon' are not tried.
    precondition : bool, default=True
        Whether to train in coordinates in which features, hidden sigmoids and target are
        centred and have unit standard deviation. False scales as textbooks do: X / max,
        y / max, and nothing else.
    alpha : float or 'auto', default='auto'
        Strength of the L2 penalty, divided by the total weight of the rows. It applies in the
        solver's coordinates. With 'lm', 'auto' determines one penalty for each of `weight_groups`
        by the evidence [3]_. With 'lbfgs', 'auto' selects the one of 100, 30, 10, ..., 0.01 (for
        'poisson' from 10,000 on) that predicts held-out rows best; it is 2 with `early_stopping`
        or fewer than 10 rows, and the strongest with fewer than 10 counts above 0. With 'sgd' and
        'adam' it is 2, or 0.01 for a linear model that 'auto' layers try; with 'muon' it is 0 (see
        `weight_decay`). These values are multiplied by the mean weight of distinct rows.
    weight_groups : {'auto', 'input', 'layer'}, default='auto'
        Groups of weights that share one penalty determined by the evidence: each layer's
        weights, its biases, and with 'input' the first-layer weights of each input (automatic
        relevance determination, see `input_relevance_`). 'auto' is 'input' or, for a linear
        model, whichever predicts held-out rows best.
    n_networks : int or 'auto', default='auto'
        Number of networks of the same architecture, with different initial weights, whose outputs
        are averaged. 'auto' is 1, or as many of up to 12 as are affordable if the evidence sets
        the penalty or if solver, alpha and hidden layers are all 'auto' (not with 'adam'), without
        those whose log evidence shows that they have failed. Of the candidate with 'muon' there
        are 5, and each network is trained without another fifth of the rows; with more than 20,000
        rows there are 2, each trained without 4,000 rows. The errors on these rows show the noise.
    n_jobs : int or None, default=None
        Number of joblib processes that train networks in parallel. None means one process with
        as many threads as BLAS may use, unless `joblib.parallel_config` sets a number; 1 means
        one thread. The result does not depend on it.
    units_per_feature : int or 'auto', default='auto'
        Number of units for each feature in an additional first layer, before those of
        `hidden_layer_sizes`; 0 for no such layer. Each of these units depends on its feature
        alone. They start as steps at quantiles of the feature, so that the layers that follow see
        in which part of its range a feature lies: rough functions and features with outliers are
        learned more easily. Without further layers the model is additive. 'auto' is 0, but 16 (32
        from 500 to 10,000 rows of up to 64 features; 1 for a feature of two values) for the
        networks of 'muon' that are tried if `hidden_layer_sizes`, `solver` and `alpha` are 'auto'
        too, and 3 for those of 'lm' that are
        tried where values are far from all others.
    batch_size : int or 'auto', default='auto'
        Number of rows in a mini-batch of 'sgd' and 'adam', at most n_samples. 'auto' is 200
        or, in `fit`, an eighth of the rows if that is less, but at least 25, and all rows below
        50: ten epochs of one or two steps gain so little that they count as a stall (see `tol`).
        For 'muon' it is 256 or, in `fit` with fewer than 10,000 rows, a thirtieth of them within
        16 and 128; with more than 50,000, a hundredth up to 2048.
    learning_rate : {'auto', 'constant', 'invscaling', 'adaptive', 'cosine'}, default='auto'
        Learning rate schedule. 'auto' is 'cosine' for 'muon' in `fit`, and 'constant' otherwise.
        With 'cosine' the rate rises from 0 in the first 3 % of the steps of `max_iter` epochs, and
        then falls to 0 as a cosine does; training does not end before, whatever `tol` is.
        `partial_fit` has no end, and does not allow 'cosine'. The others apply to 'sgd', as in
        MLPRegressor: 'invscaling' divides the rate by (1 + samples seen) ** `power_t`; 'adaptive'
        divides it by 5 each time `fit` stalls (see `tol`) until it is below 1e-6.
    learning_rate_init : float or 'auto', default='auto'
        Initial learning rate of 'sgd', 'adam' [6]_ and 'muon'. 'auto' is 0.003, and 0.1 for
        'muon', whose steps are relative to the size of initial weights. In `fit` by mini-batches of
        more than 256 rows it is 0.1 * sqrt(`batch_size` / 256) for 'muon', up to 0.28, as their
        gradients have less noise. With `loss='poisson'`, the rate of 'sgd' is at most the Polyak
        step size, loss / |gradient|^2 [9]_.
    power_t : float, default=0.5
        Exponent of `learning_rate='invscaling'`.
    max_iter : int or 'auto', default='auto'
        Maximum number of iterations; of 'sgd', 'adam' and 'muon', of epochs. 'auto' is 1000, but
        with `learning_rate='cosine'` 20, 15 from 10,000 rows on, and above 50,000 fewer: 13 for
        100,000 and 7 for a million.
    max_fun : int, default=15000
        Maximum number of loss evaluations by 'lbfgs'.
    shuffle : bool, default=True
        Whether to shuffle the rows in each epoch of 'sgd', 'adam' and 'muon'.
    random_state : int, RandomState or None, default=None
        Determines the initial weights, the validation split and shuffling. The columns get
        their initial weights in an order given by their values (how strongly they vary with y),
        so that their own order does not matter. Otherwise, the weights do not depend on the rows.
    tol : float, default=1e-3
        Training has stalled when, for `n_iter_no_change` consecutive iterations, the loss
        (with early stopping, the validation loss) does not fall below ``1 - tol`` times the
        lowest value before. The tolerance is relative, so that units do not matter, and bounds
        the decrease of the loss, not the gradient. With 0 and ``n_iter_no_change=inf``,
        'lm' and 'lbfgs' continue until rounding hides any further progress: with `precondition`,
        to a gradient of the mean loss of 1e-8.
    n_iter_no_change : int or inf, default=10
        Number of iterations without progress after which training stops, see `tol`.
    early_stopping : bool, default=False
        Whether to stop by the validation loss, and keep the weights with the lowest one. The
        validation data are those given to `fit`, or a random `validation_fraction` of the rows.
    validation_fraction : float, default=0.1
        Fraction of the distinct rows set aside by `early_stopping`, in [0, 1), and above 0 if
        it is used. A row and its copies are set aside together.
    warm_start : bool, default=False
        Whether `fit` continues from the last fit. It starts from the same function of raw X
        even if the scales of the data have changed (with a logistic output, from that function
        stretched to the new largest y).
    momentum : float, default=0.9
        Momentum of 'sgd', in [0, 1].
    nesterovs_momentum : bool, default=True
        Whether to use Nesterov's momentum.
    beta_1 : float, default=0.9
        Decay rate of the first moment estimate of 'adam' and 'muon', in [0, 1).
    beta_2 : float, default=0.999
        Decay rate of the second moment estimate of 'adam' and 'muon', in [0, 1).
    epsilon : float, default=1e-8
        Value added to the denominator of 'adam' and 'muon' for numerical stability.
    weight_decay : float or 'auto', default='auto'
        Decoupled weight decay of 'sgd', 'adam' and 'muon' [11]_: each step also multiplies the
        weights, but not the biases, by 1 - learning rate * `weight_decay`. Unlike `alpha`, it is
        not part of the loss. 'auto' is 0 for 'sgd' and 'adam' and 0.02 for 'muon', but less in
        `fit` with more than 200,000 rows, so that weights decay no more in all steps together:
        0.004 for a million. With a 'cosine' rate, it falls to 0 in the second half of the steps.
    noise : {'auto', 'constant', 'varying'}, default='auto'
        Whether the scale of the noise varies with X. 'auto' lets it vary where that improves the
        likelihood of errors on rows that were left out, by more than one standard error in
        cross-validation; see `noise_`. It takes at least 50 distinct rows, and networks that have
        such errors: those of the defaults, and with 'lm' all with penalties determined by the
        evidence. 'varying' always takes the better of a linear model and a small network of
        the logarithm of the errors; a warning says where it has no effect. With an exponential
        output the noise varies with the mean alone, and in a stream it is constant.
    categorical_features : 'from_dtype', None or array-like, default='from_dtype'
        Columns of X that are categories: each level is an input of its own. Only those beyond the
        128 most frequent ones (16 to 64 where there would be more than 256 inputs), and those in
        fewer than 5 rows (of fewer than 500, 1 %, but 2), share one with unknown levels; in a
        stream, also those that come later. Columns of more than 100,000 levels are not used, with
        a warning. 'from_dtype' takes the columns of a data frame that have a categorical dtype or
        are strings. A mask, indices or names add others to strings and to categories that are not
        numbers. None allows neither.
    verbose : bool or int, default=False
        1 or True prints one line per second: time, network, iteration, loss, loss and R^2 on
        the validation data, and with 'lm' gamma, the effective number of parameters according
        to the evidence. The first iteration, the candidate selected by the trials and the end
        of the fit are always printed. 2 prints all trials, iterations and ends of runs.
        `partial_fit` prints one line per batch.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of each layer. Inputs are features scaled by `scaler_`, and outputs are
        (y - `y_location_`) / `y_scale_`. Several networks are combined into one with the
        hidden units of all of them.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of each layer, corresponding to `coefs_`.
    members_ : list of dict
        The kinds of networks in the mean: one, or two that are blended [12]_. Each has the keys
        'solver', 'hidden_layer_sizes', 'units_per_feature' and 'alpha', with the values of the
        attributes of these names, 'n_networks', and 'weight', of the mean of these networks. The
        weights sum to 1. In `coefs_`, the networks with fewer layers are as deep as the others:
        logistic units whose inputs are close to 0 pass their last layer on, to 11 digits.
    hidden_layer_sizes_ : tuple of int
        Hidden layer sizes of each network, including the layer of `units_per_feature`. With two
        members, this and all attributes that differ between them are those of the first.
    units_per_feature_ : int
        Units for each feature in the first hidden layer; 0 if there is no such layer.
    n_networks_ : int
        Number of networks that were averaged, of all members.
    alpha_ : float or None
        Penalty given or selected; None if the evidence determined several.
    n_effective_params_ : ndarray of shape (n_networks_,)
        Effective number of parameters of each network [3]_, within `uncertain_weights_`.
    noise_precision_ : ndarray of shape (n_outputs,)
        Inverse variance of the noise, in units of 1 / y^2, before the distribution of new
        observations is calibrated (see `noise`); for 'poisson' (in units of 1 / y) and 'gamma',
        1 / dispersion; for 'lognormal', that of log(y); for 'student_t', 1 / scale^2. With a fixed
        penalty and more effective parameters than a quarter of the rows (for a large network, more
        weights than a tenth), it is estimated on rows that these or additional networks left out.
    residual_dof_ : ndarray of shape (n_outputs,), or None
        Residual degrees of freedom used to estimate the noise: the total weight of the rows
        minus the effective number of parameters, averaged over the networks. If the noise was
        estimated from rows that the networks were not trained on, the weight of those rows.
        None for a stream.
    noise_ : {'constant', 'varying'}
        Whether the scale of the noise varies with X, for any output; see `noise`.
    degrees_of_freedom_ : ndarray of shape (n_outputs,)
        Degrees of freedom of the t distribution of new observations (`predict_dist`), at least 3;
        inf for a normal one. From 50 distinct rows on, they are estimated from errors on rows that
        were left out, where there are such errors (see `noise`), and are at most `residual_dof_`;
        otherwise they are `residual_dof_` (with evidence, less 1 for the mean of y), and at most 4
        for 'student_t'. In a stream, and with an exponential output, they are inf.
    outliers_ : ndarray of shape (n_outliers,)
        Rows of X whose y is a gross error. With the defaults, an X for which networks of 'muon' are
        tried (see `hidden_layer_sizes`) and more than 20 values of y, `fit` leaves out rows whose
        errors in a robust fit lie beyond a gap, which heavy or skewed tails do not have, if the gap
        is wide or they harm networks that are trained with them, and these networks cannot predict
        them; there is a warning. With 'student_t', rows with less than 0.05 of the weight of a row
        without an error.
    weight_precision_ : dict of str: ndarray of shape (n_networks_,), or None
        Penalty of each group of weights determined by the evidence: a prior precision,
        1 / variance, in the solver's coordinates. None with a fixed `alpha`.
    log_evidence_ : ndarray of shape (n_networks_,), or None
        Log evidence of each network, for y in its own units.
    log_evidence_curve_ : list of float or None
        Log evidence at the start of each iteration; nan where the penalty was not yet estimated.
    input_relevance_ : ndarray of shape (n_inputs,), or None
        Prior standard deviation of the weights from each input, scaled to unit standard
        deviation, averaged over the networks; 0 for an input that does not matter. None
        unless the evidence used one group per input.
    uncertain_weights_ : {'all', 'last_layer', 'none'}
        Weights whose uncertainty `predict(return_std=True)` includes: all of them or, if
        they are too many, those of the last layer.
    raw_coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of the same function from raw X to y, with all scaling absorbed.
    raw_intercepts_ : list of ndarray of shape (n_out,)
        Biases corresponding to `raw_coefs_`.
    scaler_ : MaxAbsScaler
        Scaler fitted to the training X.
    y_location_ : ndarray of shape (n_outputs,)
        Mean of y, in its units; 0 without preconditioning and with an output that is logistic
        or exponential; for 'student_t', the center of a t distribution fitted to y.
    y_scale_ : ndarray of shape (n_outputs,)
        Standard deviation of y, in its units; without preconditioning and with a logistic
        output, the largest \|y\|; with an exponential output, the mean; for 'student_t', the
        standard deviation of a t distribution fitted to y.
    solver_ : str
        Solver that was used. The attributes below are those of the first network.
    loss_ : float
        Training loss, including the penalty and in scaled units, at the iteration whose
        weights are kept; for 'sgd' and 'adam', its mean over the mini-batches.
    loss_curve_ : list of float
        Training loss at each iteration, for every solver.
    best_loss_ : float
        Lowest value of `loss_curve_`. (With the evidence, the loss may increase.)
    n_iter_ : int
        Number of iterations.
    best_iter_ : int
        Iteration whose weights were kept; 0 means the initial weights.
    t_ : int
        Number of samples seen, including those of earlier warm starts and batches.
    validation_scores_ : list of float or None
        R^2 on the validation data at each iteration; nan if their targets do not vary.
    validation_loss_curve_ : list of float or None
        Loss on the validation data, without penalty, at each iteration; see `early_stopping`.
    best_validation_score_ : float or None
        R^2 on the validation data at `best_iter_`.
    n_layers_ : int
        Number of layers, including input and output.
    n_outputs_ : int
        Number of output units.
    out_activation_ : {'identity', 'logistic', 'exp'}
        Activation function of the output units.
    feature_importances_ : ndarray of shape (n_features_in_,)
        Mean of the absolute derivative by each column of X, times the standard deviation of the
        column, over up to 512 training rows (of a stream, rows of the last batch), as shares that
        sum to 1. For a column that several inputs stand for, their sum.
    encoded_feature_names_ : ndarray of str objects of shape (n_inputs,)
        Names of the inputs of the network: columns of X, or what stands for them.
    n_features_in_ : int
        Number of columns of the training X.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of these columns; only defined if all are strings.

    See Also
    --------
    sklearn.neural_network.MLPRegressor : The same network without scaling.

    Notes
    -----
    With sample weights w_i, and squares summed over all outputs, the loss is

    .. math:: \frac{1}{2\sum_i w_i} \Big[\sum_i w_i \|f(x_i) - y_i\|^2
              + \alpha \sum_l \|W_l\|^2\Big]

    with :math:`2 (e^f - y - y f + y \ln y)` in place of the square for 'poisson',
    :math:`2 (y e^{-f} - 1 - \ln y + f)` for 'gamma', :math:`(f - s^2 / 2 - \ln y)^2` for
    'lognormal', and :math:`5 s^2 \ln(1 + (f - y)^2 / 4 s^2)` for 'student_t', with the scale s.

    Each step of 'lm' solves :math:`(J^T J + \Lambda + \mu I) \delta = -(J^T r + \Lambda
    \theta)`, with residuals r, their Jacobian J and penalties :math:`\Lambda`; the ratio of
    actual to predicted reduction of the loss determines :math:`\mu` [4]_. For each group g of
    N_g weights, and with :math:`H = \beta J^T J + \Lambda`, the evidence updates

    .. math:: \gamma_g = N_g - \alpha_g \, \mathrm{tr}_g H^{-1}, \quad
              \alpha_g = \gamma_g / \|\theta_g\|^2, \quad
              \beta = \Big(\sum_i w_i - \sum_g \gamma_g\Big) / \sum_i w_i r_i^2

    until they converge [3]_, [5]_. For 'poisson' and 'gamma', the noise is estimated by Pearson's
    statistic, with Fletcher's correction for sparse counts, instead of the sum of squares [7]_. A
    run that diverges keeps the weights with the lowest loss and warns. Each mini-batch adds the
    whole penalty divided by the weight of all rows (in MLPRegressor, of the batch), in float32 with
    `precondition`.

    Callbacks of scikit-learn 1.9 and newer are supported by ``set_callbacks(...)``. The tasks
    of `fit` are the trials, each run of a network, and each iteration; at the end of a task,
    ``fitted_estimator`` is the network of that run alone. A callback that asks to stop at an
    iteration ends that run, which keeps its current weights (with `early_stopping`, the best).
    At a trial it ends the trials; at the end of the trials or of a run, it ends training as
    soon as there is a network. Callbacks receive X, y and weights as given; `partial_fit` has none.

    References
    ----------
    .. [1] Rumelhart, Hinton & Williams (1986). Learning representations by
       back-propagating errors. Nature 323, 533-536. doi:10.1038/323533a0
    .. [2] LeCun, Bottou, Orr & Mueller (1998). Efficient BackProp. doi:10.1007/3-540-49430-8_2
    .. [3] MacKay (1992). A practical Bayesian framework for backpropagation networks.
       Neural Computation 4, 448-472. doi:10.1162/neco.1992.4.3.448
    .. [4] Marquardt (1963). An algorithm for least-squares estimation of nonlinear
       parameters. Journal of SIAM 11, 431-441. doi:10.1137/0111030
    .. [5] Foresee & Hagan (1997). Gauss-Newton approximation to Bayesian learning.
       ICNN 3, 1930-1935. doi:10.1109/ICNN.1997.614194
    .. [6] Kingma & Ba (2015). Adam: a method for stochastic optimization. arXiv:1412.6980
    .. [7] Fletcher (2012). Estimating overdispersion when fitting a generalized linear
       model to sparse data. Biometrika 99, 230-237. doi:10.1093/biomet/asr083
    .. [8] Liu et al. (2020). On the variance of the adaptive learning rate and beyond.
       arXiv:1908.03265
    .. [9] Loizou et al. (2021). Stochastic Polyak step-size for SGD. arXiv:2002.10542
    .. [10] Jordan et al. (2024). Muon: an optimizer for hidden layers in neural networks.
       https://kellerjordan.github.io/posts/muon/
    .. [11] Loshchilov & Hutter (2019). Decoupled weight decay regularization. arXiv:1711.05101
    .. [12] Wolpert (1992). Stacked generalization. doi:10.1016/S0893-6080(05)80023-1
    .. [13] Lange, Little & Taylor (1989). Robust statistical modeling using the t distribution.
       JASA 84, 881-896. doi:10.1080/01621459.1989.10478852

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
        units_per_feature: int | str = "auto",
        batch_size: int | str = "auto",
        learning_rate: str = "auto",
        learning_rate_init: float | str = "auto",
        power_t: float = 0.5,
        max_iter: int | str = "auto",
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
        weight_decay: float | str = "auto",
        noise: str = "auto",
        categorical_features: Any = "from_dtype",
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
        self.units_per_feature = units_per_feature
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
        self.weight_decay = weight_decay
        self.noise = noise
        self.categorical_features = categorical_features
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.target_tags.multi_output = True
        likelihood = LIKELIHOODS.get((self.loss, self.output_activation))
        tags.target_tags.positive_only = likelihood is not None and likelihood.min_target >= 0
        return tags
