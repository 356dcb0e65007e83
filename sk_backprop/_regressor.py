"""`BackpropRegressor`: the estimator. Parameters, fitted attributes, and the order of
events in `fit`, `partial_fit` and `predict`; the work is done in the other rooms.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any, get_type_hints

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_backprop._network import Array, Network, evaluate
from sk_backprop._objective import row_blocks, rows_per_block
from sk_backprop._scaling import Scales, divide_columns, raw_weights
from sk_backprop._training import (
    Data,
    Settings,
    StreamState,
    Trained,
    Weights,
    choose_solver,
    train,
)
from sk_backprop._validation import (
    OnlyIfStreaming,
    check_initial_weights,
    check_parameters,
    check_rows,
    check_same_network,
    check_target_range,
    check_validation_rows,
    hidden_layers,
    summed,
)

# {name: type} of the settings that are parameters as they stand.
_PLAIN_SETTINGS = {
    name: kind
    for name, kind in get_type_hints(Settings).items()
    if name not in ("network", "solver", "batch_size")
}

_ADVICE = {
    "max_iter": "Increase max_iter or tol, or pass early_stopping=True.",
    "max_fun": "Increase max_fun.",
    "diverged": "Decrease learning_rate_init, or choose solver='lbfgs'.",
    "diverged lbfgs": "Look for extreme values in alpha and coefs_init.",
}


class BackpropRegressor(RegressorMixin, BaseEstimator):
    r"""A sigmoid network trained by backpropagation, for raw data.

    Feature and target scaling is part of the fit: X is divided by each feature's
    largest absolute value, y is scaled too, and (`precondition`) the solvers work
    in centred coordinates of unit spread, so that units and shifts of the data do
    not matter. Predictions are in the units of y.

    Every keyword of :class:`sklearn.neural_network.MLPRegressor` exists here under
    the same name and meaning; defaults are our own.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(20,)
        Units in each hidden layer; an int is one layer, () a linear model.
    activation : {'logistic', 'tanh', 'relu', 'identity'}, default='logistic'
        Function of the hidden units. With `precondition=True` the logistic sigmoid
        and tanh are the same family of functions and train alike.
    output_activation : {'identity', 'logistic'}, default='identity'
        Function of the output units. 'logistic' is the textbook's: it needs y >= 0
        and predicts between 0 and the largest y of the training rows.
    loss : {'squared_error', 'poisson'}, default='squared_error'
        'poisson' is half the Poisson deviance, with an exponential output; y >= 0.
    solver : {'auto', 'lbfgs', 'adam', 'sgd'}, default='auto'
        'lbfgs' uses all rows at once, 'adam' and 'sgd' mini-batches. 'auto' is
        'lbfgs' up to n_samples * n_params = 2.5e7 and 'adam' beyond; `solver_`
        says which it was.
    precondition : bool, default=True
        Train in coordinates in which features, hidden sigmoids and target are
        centred and of unit spread. False is the textbook: X / max, y / max, nothing
        else.
    alpha : float, default=2.0
        Strength of the penalty on squared weights, divided by the total weight of
        the rows. It applies in the solver's coordinates. The default is a
        compromise (`python -m benchmarks defaults`): small noisy tables want 3 to
        10, noiseless functions 0.01 to 0.1.
    batch_size : int or 'auto', default='auto'
        Rows in a mini-batch of 'sgd' and 'adam', at most n_samples; 'auto' is 200.
    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        Schedule of 'sgd': constant; divided by (1 + samples seen) ** `power_t`; or
        divided by 5 at each stall (see `tol`) until it is below 1e-6, which a
        stream, one pass a batch, never meets.
    learning_rate_init : float, default=0.003
        Initial learning rate of 'sgd' and 'adam'.
    power_t : float, default=0.5
        Exponent of `learning_rate='invscaling'`.
    max_iter : int, default=1000
        Largest number of iterations; for 'sgd' and 'adam', of epochs.
    max_fun : int, default=15000
        Largest number of evaluations of the loss by 'lbfgs'.
    shuffle : bool, default=True
        Draw the rows of mini-batches in a new order in each epoch.
    random_state : int, RandomState or None, default=None
        Of initial weights, validation split and shuffling. The initial weights do
        not depend on the number of rows.
    tol : float, default=1e-3
        Training has stalled when in `n_iter_no_change` iterations on end the loss
        (with early stopping, the validation loss) never comes below ``1 - tol``
        times the lowest before. Relative, so that units do not matter.
    n_iter_no_change : int or inf, default=10
        Patience, see `tol`.
    early_stopping : bool, default=False
        Stop by, and keep the weights of, the best loss on validation data: those
        given to `fit`, or a random `validation_fraction` of the rows.
    validation_fraction : float, default=0.1
        Part of the rows set aside by `early_stopping`, in (0, 1).
    warm_start : bool, default=False
        Let `fit` go on from the last fit. If the scales of the data have changed,
        it starts from the same function of raw X nevertheless (with a logistic
        output, from one stretched to the new largest y).
    momentum : float, default=0.9
        Of 'sgd', in [0, 1].
    nesterovs_momentum : bool, default=True
        Use Nesterov's form of the momentum.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay rates of the moments of 'adam', in [0, 1).
    epsilon : float, default=1e-8
        Summand in the denominator of 'adam'.
    verbose : bool or int, default=False
        1 or True prints a line a second, 2 a line an iteration.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer, for features that
        `scaler_` has scaled; they give (y - `y_location_`) / `y_scale_`.
    raw_coefs_, raw_intercepts_ : list of ndarray
        The same function with all scales folded in: for raw X, giving y.
    scaler_ : MaxAbsScaler
        Fitted to the training rows.
    y_location_, y_scale_ : ndarray of shape (n_outputs,)
        In units of y: mean and standard deviation; without preconditioning, and
        with a logistic output, 0 and the largest \|y\|; for 'poisson' 0 and the mean.
    solver_ : str
        The solver that was used.
    loss_ : float
        Training loss, with penalty and in scaled units, of the iteration whose
        weights are kept; for 'sgd' and 'adam' the mean over its mini-batches.
    loss_curve_ : list of float
        Training loss of each iteration, for every solver.
    best_loss_ : float
        Smallest value of `loss_curve_`.
    n_iter_, best_iter_ : int
        Iterations made, and the one whose weights were kept; 0 is the start.
    t_ : int
        Samples seen, also over warm starts and batches.
    validation_scores_, validation_loss_curve_ : list of float or None
        R^2 (nan where the validation targets do not vary) and loss (without
        penalty) at each iteration; early stopping goes by the loss.
    best_validation_score_ : float or None
        R^2 at `best_iter_`.
    n_layers_, n_outputs_ : int
        Layers, counting input and output, and output units.
    out_activation_ : {'identity', 'logistic', 'exp'}
        Function of the output units.
    n_features_in_, feature_names_in_ : int, ndarray of str
        Of the training X; names only if it had string names.

    See Also
    --------
    sklearn.neural_network.MLPRegressor : The same network without the scaling.

    Notes
    -----
    The loss is, with weights w_i and the sum of squares over all outputs,

    .. math:: \frac{1}{2\sum_i w_i} \Big[\sum_i w_i \|f(x_i) - y_i\|^2
              + \alpha \sum_l \|W_l\|^2\Big]

    A run that diverges keeps the weights of its lowest loss and warns. Mini-batches
    see the whole penalty divided by the weight of all rows, so `alpha` means the
    same for every solver; MLPRegressor divides it by that of the batch.

    References
    ----------
    .. [1] Rumelhart, Hinton & Williams (1986). Learning representations by
       back-propagating errors. Nature 323, 533-536. doi:10.1038/323533a0
    .. [2] LeCun, Bottou, Orr & Mueller (1998). Efficient BackProp.
       doi:10.1007/3-540-49430-8_2

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from sk_backprop import BackpropRegressor
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> model = BackpropRegressor(alpha=5.0, random_state=0).fit(X_train, y_train)
    >>> model.predict(X_test[:3]).round(-1)
    array([260., 250., 160.])
    >>> round(model.score(X_test, y_test), 2)
    0.35
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (20,),
        *,
        activation: str = "logistic",
        output_activation: str = "identity",
        loss: str = "squared_error",
        solver: str = "auto",
        precondition: bool = True,
        alpha: float = 2.0,
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
        tags.target_tags.positive_only = (
            self.loss == "poisson" or self.output_activation == "logistic"
        )
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

        Nothing of the estimator changes until training has ended: a call that is
        refused leaves an earlier fit as it was. Ctrl-C during training ends it with
        a warning and keeps the weights of the last whole iteration. Warnings come
        last, when the fit is in place.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Inputs in any units. float32 stays float32; all else becomes float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets in any units.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Non-negative weights, to be read as counts: a row of weight 2 is as good
            as two rows, one of weight 0 as if absent. Weights that sum to 1, not
            to n_samples, multiply the effect of `alpha` by n_samples.
        X_val, y_val : array-like, default=None
            Validation data of the shapes of X and y. Their loss and score are
            recorded; with `early_stopping=True` they decide when to stop, in place
            of a random part of X.
        sample_weight_val : array-like, default=None
            Weights of the validation rows.
        coefs_init, intercepts_init : list of arrays, default=None
            Initial weights and biases, of the shapes and in the coordinates of
            `coefs_` and `intercepts_`; biases default to zeros. They take
            precedence over `warm_start`.

        Returns
        -------
        self : BackpropRegressor

        Raises
        ------
        ValueError, TypeError
            For an argument or parameter that is not allowed; the message says
            which, what was given and what is allowed.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` or `max_fun` ended the training, or it diverged.
        """
        continued = self.warm_start and hasattr(self, "coefs_") and coefs_init is None
        checked, data, network = self._check(X, y, sample_weight, reset=not continued)
        validation = check_validation_rows(checked, X_val, y_val, sample_weight_val, data)
        if validation is not None:
            check_target_range(validation.y, network.output_activation, "y_val")
        start = self._last_weights(network) if continued else None
        init = check_initial_weights(coefs_init, intercepts_init, network.layer_sizes, data.X.dtype)
        if init is not None:
            start = Weights(*init)
        rng = check_random_state(self.random_state)
        if self.early_stopping and validation is None:
            data, validation = self._split(data, rng)
        settings = self._settings(network, data)
        trained = train(settings, data, validation, start, rng)
        t = data.n_samples * trained.result.n_iter + (self.t_ if continued else 0)
        self._store(checked, trained, rng, t_=t, earlier=[], optimizer={})
        self._warn(trained.result.status)
        return self

    @OnlyIfStreaming
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> BackpropRegressor:
        """Make one pass over the next batch of a stream.

        The largest absolute values, means and spreads that scale X and y are those
        of all batches so far. They move as data arrives; the weights move with
        them, so that the function learned so far stays the same. (A logistic
        output keeps the target scale of the first batch, with a warning where y
        exceeds it: its range cannot grow.) The penalty `alpha` is divided by the
        total weight of all batches so far. A batch in which training diverges, or
        is interrupted, leaves the function and makes the optimizer start anew.

        Scales only grow: an outlier, or another unit, in one batch is remembered.
        A first batch that shows the usual range of every column is worth having.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : BackpropRegressor

        Raises
        ------
        ValueError, TypeError
            As `fit`. A refused batch leaves the estimator as it was.
        PartialFitError
            An AttributeError and ValueError: if the solver is not 'sgd' or 'adam', or
            `early_stopping` is True.
        """
        fitted = hasattr(self, "coefs_")
        checked, data, network = self._check(X, y, sample_weight, reset=not fitted)
        start = self._last_weights(network) if fitted else None
        rng = check_random_state(self._fit_state["seed"] if fitted else self.random_state)
        optimizer_state = self._fit_state["optimizer"].get(self.solver) if fitted else None
        t = self.t_ if fitted else 0
        trained = train(
            self._settings(network, data),
            data,
            None,
            start,
            rng,
            stream=StreamState(n_seen=t, optimizer=optimizer_state),
        )
        result = trained.result
        state = result.optimizer_state
        self._store(
            checked,
            trained,
            rng,
            t_=t + data.n_samples * result.n_iter,
            earlier=self.loss_curve_ if fitted else [],
            optimizer={} if state is None else {self.solver: state},
        )
        if result.status != "max_iter":
            self._warn(result.status)
        if network.output_activation == "logistic" and np.any(data.y > self.y_scale_):
            warnings.warn(
                f"y has values up to {data.y.max():g}, above the largest of the first batch, "
                f"{self.y_scale_}, which a logistic output cannot exceed.",
                UserWarning,
                stacklevel=2,
            )
        return self

    def predict(self, X: Any) -> Array:
        """Predict targets in the units of the training y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            float32 if both the training X and this one are float32.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=(np.float64, np.float32))
        X = summed(X)
        network = self._fitted_network()
        output = np.empty(
            (X.shape[0], self.n_outputs_), np.result_type(X.dtype, self.coefs_[0].dtype)
        )
        for rows in row_blocks(X.shape[0], rows_per_block(network, output.dtype)):
            scaled = divide_columns(X[rows], self.scaler_.scale_)
            f = evaluate(network, self.coefs_, self.intercepts_, scaled)
            output[rows] = self.y_location_ + self.y_scale_ * f
        return output.ravel() if self.n_outputs_ == 1 else output

    @property
    def raw_coefs_(self) -> list[Array]:
        """Weights that act on raw X; see `raw_intercepts_`. Float64."""
        return self._raw_weights()[0]

    @property
    def raw_intercepts_(self) -> list[Array]:
        """Biases that go with `raw_coefs_`. Float64.

        With one sigmoid layer, ``sigmoid(X @ W1 + b1) @ W2 + b2`` equals
        ``predict(X)``. A Poisson fit has ``exp`` around it; a logistic output has
        ``y_scale_ * sigmoid(...)``, whose scale no weight can hold.
        """
        return self._raw_weights()[1]

    def _raw_weights(self) -> tuple[list[Array], list[Array]]:
        check_is_fitted(self)
        return raw_weights(
            self.coefs_,
            self.intercepts_,
            self.scaler_.scale_,
            self.y_location_,
            self.y_scale_,
            self.out_activation_,
        )

    # --- steps of fit and partial_fit ---

    def _check(
        self, X: Any, y: Any, sample_weight: Any, *, reset: bool
    ) -> tuple[BackpropRegressor, Data, Network]:
        """Checked parameters and data, on a copy that holds n_features_in_ and names."""
        check_parameters(self)
        checked = copy.copy(self)
        data = check_rows(checked, X, y, sample_weight, reset=reset)
        network = self._network(data)
        check_target_range(data.y, network.output_activation, "y")
        return checked, data, network

    def _network(self, data: Data) -> Network:
        layers = hidden_layers(self.hidden_layer_sizes)
        output = "exp" if self.loss == "poisson" else self.output_activation
        return Network(
            (data.X.shape[1], *layers, data.y.shape[1]), str(self.activation), str(output)
        )

    def _fitted_network(self) -> Network:
        sizes = [self.n_features_in_, *(W.shape[1] for W in self.coefs_)]
        return Network(tuple(sizes), self._fit_state["activation"], self.out_activation_)

    def _last_weights(self, network: Network) -> Weights:
        """The fitted weights, if they are of the network that the parameters ask for."""
        last = self._fitted_network()
        check_same_network(last, network)
        scales = Scales.from_state(self.scaler_, self.out_activation_, self._fit_state["scales"])
        return Weights(self.coefs_, self.intercepts_, scales)

    def _settings(self, network: Network, data: Data) -> Settings:
        # numpy scalars are numbers here: a float32 would spoil the arithmetic.
        taken = {name: kind(getattr(self, name)) for name, kind in _PLAIN_SETTINGS.items()}
        solver = str(self.solver)
        if solver == "auto":
            solver = choose_solver(data.n_samples, network.n_params)
        batch_size = 200 if self.batch_size == "auto" else int(self.batch_size)
        return Settings(network=network, solver=solver, batch_size=batch_size, **taken)

    def _split(self, data: Data, rng: np.random.RandomState) -> tuple[Data, Data]:
        """Training and validation part, at random."""
        n_validation = int(np.ceil(self.validation_fraction * data.n_samples))
        if n_validation >= data.n_samples:
            raise ValueError(
                f"early_stopping=True sets {n_validation} rows aside for validation, by "
                f"validation_fraction={self.validation_fraction}; with n_samples={data.n_samples} "
                "none would be left to train on."
            )
        # One draw, however many rows there are: the initial weights come after it.
        train_rows, validation_rows = train_test_split(
            np.arange(data.n_samples),
            test_size=n_validation,
            random_state=rng.randint(2**31 - 1),
        )
        return data.take(train_rows), data.take(validation_rows)

    def _store(
        self,
        checked: BackpropRegressor,
        trained: Trained,
        rng: np.random.RandomState,
        *,
        t_: int,
        earlier: list[float],
        optimizer: dict[str, Any],
    ) -> None:
        """Set all fitted attributes at once; the curve goes on from `earlier`, in place."""
        result, scales = trained.result, trained.scales
        scores, best = result.validation_scores, result.best_iter
        lowest = min(result.loss_curve, default=result.loss)
        n_earlier = len(earlier)
        fitted = {
            "coefs_": trained.coefs,
            "intercepts_": trained.intercepts,
            "scaler_": scales.scaler,
            "y_location_": scales.y_location,
            "y_scale_": scales.y_scale,
            "loss_": result.loss,
            "loss_curve_": earlier,
            "best_loss_": min(lowest, self.best_loss_) if n_earlier else lowest,
            "n_iter_": n_earlier + result.n_iter,
            "best_iter_": n_earlier + best,
            "t_": t_,
            "validation_loss_curve_": result.validation_loss_curve,
            "validation_scores_": scores,
            "best_validation_score_": scores[best - 1] if scores and best else None,
            "n_layers_": len(trained.coefs) + 1,
            "n_outputs_": trained.coefs[-1].shape[1],
            "out_activation_": scales.out_activation,
            "solver_": trained.solver,
            "n_features_in_": checked.n_features_in_,
            "_fit_state": {
                "activation": str(self.activation),
                "scales": scales.state(),
                "seed": int(rng.randint(2**31 - 1)),
                "optimizer": optimizer,
            },
        }
        if hasattr(checked, "feature_names_in_"):
            fitted["feature_names_in_"] = checked.feature_names_in_
            scales.scaler.feature_names_in_ = checked.feature_names_in_
        else:
            self.__dict__.pop("feature_names_in_", None)
        earlier.extend(result.loss_curve)
        self.__dict__.update(fitted)

    def _warn(self, status: str) -> None:
        """Say how training ended, unless it converged."""
        solver, best = f"solver={self.solver_!r}", self.best_iter_
        advice = _ADVICE.get(f"{status} {self.solver_}", _ADVICE.get(status))
        if status == "interrupted":
            message = f"Training interrupted; the weights of iteration {best} are kept ({solver})."
            category: type[Warning] = UserWarning
        elif status == "diverged":
            message = (
                f"Training diverged: the loss grew or was no longer finite after iteration "
                f"{len(self.loss_curve_)} ({solver}). The weights of iteration {best}, of lowest "
                f"loss, are kept. "
                f"{advice}"
            )
            category = ConvergenceWarning
        elif status in ("max_iter", "max_fun"):
            message = (
                f"Training stopped at {status}={getattr(self, status)} before it converged "
                f"({solver}, loss {self.loss_:.3g}). {advice}"
            )
            category = ConvergenceWarning
        else:
            return
        warnings.warn(message, category, stacklevel=3)
