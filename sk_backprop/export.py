"""Export of a fitted regressor: to scikit-learn's MLPRegressor, to ONNX, or to a formula."""

import itertools
from collections.abc import Iterable, Sequence
from numbers import Integral
from string import ascii_uppercase
from typing import Any, NamedTuple

import numpy as np
from sklearn.neural_network import MLPRegressor
from sklearn.utils.validation import check_is_fitted

from sk_backprop._blocks.arrays import Array
from sk_backprop._coordinates.affine import TANH_FOR_SIGMOID, with_hidden_units
from sk_backprop._estimator.operands import default_name, is_reserved, operand
from sk_backprop._estimator.regressor import BackpropRegressor
from sk_backprop._estimator.state import Columns, fitted_function
from sk_backprop._inference.predictive import FittedFunction
from sk_backprop._network.network import NetworkWeights

__all__ = ["register_onnx_converter", "to_expression", "to_mlp_regressor"]


def _function(reg: Any) -> FittedFunction:
    # Not from the parameters of `reg`, which may have changed since the fit.
    if not isinstance(reg, BackpropRegressor):
        raise TypeError(
            f"reg must be a fitted BackpropRegressor, got {type(reg).__name__}. (Of a fitted "
            "Pipeline, pass the last step.)"
        )
    check_is_fitted(reg)
    return fitted_function(reg)


def _raw_weights(function: FittedFunction) -> NetworkWeights:
    """The weights that act on raw X; ValueError unless they are finite."""
    weights = function.raw_weights()
    if not all(np.isfinite(part).all() for part in itertools.chain(*weights)):
        raise ValueError(
            "The weights for raw X and y are beyond the range of float64: reg was fitted to X "
            "or y near its ends. Fit in other units."
        )
    return weights


def to_mlp_regressor(reg: BackpropRegressor) -> MLPRegressor:
    """Convert to a fitted scikit-learn MLPRegressor that computes the same function of raw X.

    All scaling is absorbed into its weights, and several networks are combined into one with
    the hidden units of all of them. Use it with tools that support only scikit-learn's own
    classes. Standard deviations are not exported, and neither is the encoding of categories, dates
    and missing values: then X is that of ``reg.encode(X)``.

    Parameters
    ----------
    reg : BackpropRegressor
        The fitted regressor.

    Returns
    -------
    mlp : sklearn.neural_network.MLPRegressor
        Its ``mlp.predict(reg.encode(X))`` equals ``reg.predict(X)`` up to rounding, in float64;
        without categories, dates and missing values, ``reg.encode(X)`` is X.

    Raises
    ------
    TypeError
        If `reg` is not a BackpropRegressor.
    NotFittedError
        If `reg` is not fitted.
    ValueError
        If `reg` has a logistic output, which MLPRegressor does not support.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from sk_backprop import BackpropRegressor
    >>> from sk_backprop.export import to_mlp_regressor
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> model = BackpropRegressor((5,), solver="lbfgs", n_networks=3, random_state=0).fit(X, y)
    >>> mlp = to_mlp_regressor(model)
    >>> mlp.hidden_layer_sizes
    (15,)
    >>> bool(np.allclose(mlp.predict(X), model.predict(X)))
    True
    """
    function = _function(reg)
    out_activation = function.network.output_activation
    if out_activation == "logistic":
        raise ValueError(
            "MLPRegressor has no logistic output. Fit with output_activation='identity', or "
            "write the function as a formula, by to_expression."
        )
    coefs, intercepts = _raw_weights(function)
    mlp = MLPRegressor(
        hidden_layer_sizes=tuple(W.shape[1] for W in coefs[:-1]),
        activation=function.network.activation,
        loss="poisson" if out_activation == "exp" else "squared_error",
        solver="lbfgs",
    )
    fitted = {
        "coefs_": coefs,
        "intercepts_": intercepts,
        "n_layers_": reg.n_layers_,
        "n_outputs_": reg.n_outputs_,
        "out_activation_": out_activation,
        "n_features_in_": reg.scaler_.n_features_in_,
        "n_iter_": reg.n_iter_,
        "t_": reg.t_,
    }
    if hasattr(reg, "feature_names_in_") and not _is_encoded(reg):
        fitted["feature_names_in_"] = reg.feature_names_in_
    vars(mlp).update(fitted)
    return mlp


def _is_encoded(reg: BackpropRegressor) -> bool:
    """Whether the columns of X are encoded: some are not plain numbers."""
    return Columns.of(reg).encoding is not None


def register_onnx_converter() -> None:
    """Register BackpropRegressor with skl2onnx, for pipelines that end with one.

    Call it once before ``skl2onnx.to_onnx``. The ONNX model computes the mean of `predict`, of any
    loss, in the precision of its input. It takes numbers without missing values: a regressor that
    encodes categories, dates or missing values is refused with a ValueError by ``to_onnx``.

    Raises
    ------
    ImportError
        If skl2onnx is not installed: ``pip install 'sk-backprop[export]'``.

    Examples
    --------
    >>> from sk_backprop.export import register_onnx_converter
    >>> register_onnx_converter()
    """
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes

    update_registered_converter(
        BackpropRegressor,
        "SkBackpropBackpropRegressor",
        calculate_linear_regressor_output_shapes,
        _convert_to_onnx,
        overwrite=True,
    )


def _convert_to_onnx(scope: Any, operator: Any, container: Any) -> None:
    """The converter of `register_onnx_converter`.

    scope, operator, container : as skl2onnx passes them
    """
    from skl2onnx.algebra import onnx_ops
    from skl2onnx.common.data_types import guess_numpy_type

    reg: BackpropRegressor = operator.raw_operator
    function = _function(reg)
    if _is_encoded(reg):
        raise ValueError(
            "This BackpropRegressor encodes categories, dates or missing values, which ONNX has "
            "no place for. Convert to_mlp_regressor(model), and pass model.encode(X) to it."
        )
    operator_set, dtype = container.target_opset, guess_numpy_type(operator.inputs[0].type)
    dtype = np.float64 if dtype == np.float64 else np.float32

    def node(name: str, *inputs: Any, **options: Any) -> Any:
        arrays = [np.asarray(i, dtype) if isinstance(i, np.ndarray) else i for i in inputs]
        return getattr(onnx_ops, f"Onnx{name}")(*arrays, op_version=operator_set, **options)

    units = operator.inputs[0]
    if type(units.type).__name__ not in ("FloatTensorType", "DoubleTensorType"):
        units = node("Cast", units, to=1)  # to float32
    activation, out_activation = function.network.activation, function.network.output_activation
    applied = {"logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "exp": "Exp"}
    layers = list(zip(*_raw_weights(function), strict=True))
    for W, b in layers:
        units = node("Add", node("MatMul", units, W), b)
        kind = applied.get(activation if W is not layers[-1][0] else out_activation)
        units = units if kind is None else node(kind, units)
    if out_activation == "logistic":
        units = node("Mul", units, reg.y_scale_)
    node("Identity", units, output_names=operator.outputs[:1]).add_to(scope, container)


class _Syntax(NamedTuple):
    """How a language writes the functions of a network; {} stands for the argument.

    start : of a formula
    space : around operators
    longest : default of `max_length`; Python's own parser fails at some thousand terms of
        one sum
    """

    relu: str
    tanh: str = "tanh({})"
    exp: str = "exp({})"
    start: str = ""
    space: str = " "
    longest: int = 50_000


_SYNTAXES = {
    "python": _Syntax(relu="maximum(0.0, {})"),
    "c": _Syntax(relu="fmax(0.0, {})"),
    "excel": _Syntax(
        relu="MAX(0,{})",
        tanh="TANH({})",
        exp="EXP({})",
        start="=",
        space="",
        longest=8192,  # the limit of a cell
    ),
}


def to_expression(
    reg: BackpropRegressor,
    syntax: str = "python",
    *,
    input_names: Sequence[str] | None = None,
    max_length: int | None = None,
) -> str | list[str]:
    """Write the fitted function of raw inputs as a formula, for small networks.

    Sigmoid units are written as hyperbolic tangents, as ``1 / (1 + exp(-z))`` equals
    ``tanh(z / 2) / 2 + 1 / 2``, which is shorter and cannot overflow. For deep networks,
    formulas get long because every unit is written out wherever it is used.

    Parameters
    ----------
    reg : BackpropRegressor
        The fitted regressor.
    syntax : {'python', 'c', 'excel'}, default='python'
        'python' needs ``from numpy import exp, tanh, maximum``, and accepts numbers or
        arrays; 'c' needs ``<math.h>``, and inputs that are parameters or local variables of
        type double; 'excel' begins with ``=`` and uses TANH, MAX and EXP. (Excel itself
        reads only 15 digits of a number.)
    input_names : sequence of str of shape (n_inputs,), default=None
        What to write for the inputs: names, ``x[0]``, ``row->age``, or cells such as
        ``Sheet1!$B$4``. Other expressions, such as ``a + b``, are put in parentheses. A name
        that the language, its headers or the formula use for something else is an error (in
        'c' also names of macros; in 'excel' a name like X1 is a cell). None means the cells
        A2, B2, C2, ... in 'excel'; otherwise `encoded_feature_names_`, with underscores in place of
        characters that a name cannot contain.
    max_length : int, default=None
        Maximum number of characters of a formula. None means 8192 in 'excel', which is its
        limit, and 50,000 in the other languages.

    Returns
    -------
    formula : str, or list of str of shape (n_outputs_,)
        One formula for each output; a list if there are several outputs.

    Raises
    ------
    TypeError
        If `reg` is not a BackpropRegressor.
    NotFittedError
        If `reg` is not fitted.
    ValueError
        If a parameter is not allowed, a name cannot stand for an input, or a formula
        would be longer than `max_length`.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_backprop import BackpropRegressor
    >>> from sk_backprop.export import to_expression
    >>> x = np.linspace(0.0, 1.0, 20)
    >>> line = BackpropRegressor((), solver="lbfgs", alpha=0).fit(x[:, None], 3 * x + 1)
    >>> to_expression(line)
    '1.0 + 3.0 * x0'
    >>> to_expression(line, "excel", input_names=["B7"])
    '=1.0+3.0*B7'
    """
    fitted = _function(reg)
    if not isinstance(syntax, str) or syntax not in _SYNTAXES:
        raise ValueError(f"syntax must be one of {list(_SYNTAXES)}, got {syntax!r}.")
    language = _SYNTAXES[syntax]
    if input_names is None:
        names = _default_names(reg, syntax)
    else:
        names = _given_names(reg, input_names, syntax)
    if max_length is not None:
        if not isinstance(max_length, Integral) or max_length < 1:
            raise ValueError(f"max_length must be an int >= 1 or None, got {max_length!r}.")
        language = language._replace(longest=int(max_length))
    formulas = [language.start + formula for formula in _formulas(fitted, language, names)]
    for formula in formulas:
        _check_length(len(formula), language)
    return formulas if len(formulas) > 1 else formulas[0]


def _formulas(fitted: FittedFunction, language: _Syntax, names: Sequence[str]) -> list[str]:
    """One formula for each output.

    fitted : FittedFunction; language : _Syntax; names : (n_features,) str, for the inputs
    """
    coefs, intercepts = _raw_weights(fitted)
    activation, out_activation = fitted.network.activation, fitted.network.output_activation
    hidden = {"identity": "({})", "relu": language.relu}.get(activation, language.tanh)
    if activation == "logistic":
        coefs, intercepts = with_hidden_units(coefs, intercepts, TANH_FOR_SIGMOID)
    units = names
    for W, b in zip(coefs[:-1], intercepts[:-1]):
        units = [hidden.format(_sum(c, w, units, language)) for c, w in zip(b, W.T)]
    sums = [_sum(c, w, units, language) for c, w in zip(intercepts[-1], coefs[-1].T)]
    if out_activation == "exp":
        return [language.exp.format(z) for z in sums]
    if out_activation == "logistic":
        sigmoids = [language.tanh.format(f"({z})/2") for z in sums]
        halves = fitted.y_scale / 2
        return [
            _sum(half, np.array([half]), [unit], language) for half, unit in zip(halves, sigmoids)
        ]
    return sums


def _given_names(reg: BackpropRegressor, input_names: Any, syntax: str) -> list[str]:
    """Checked `input_names` of `to_expression`, in parentheses where necessary."""
    n = reg.scaler_.n_features_in_
    names = list(input_names) if isinstance(input_names, Iterable) else []
    if isinstance(input_names, str) or not all(isinstance(name, str) for name in names):
        names = []
    if len(names) != n:
        raise ValueError(
            f"input_names must be a sequence of {n} str, one for each of encoded_feature_names_, "
            f"got {input_names!r}."
        )
    operands = []
    for j, name in enumerate(names):
        try:
            operands.append(operand(name, syntax))
        except ValueError as error:
            raise ValueError(
                f"input_names[{j}] is {name!r}, which cannot stand for an input in {syntax}: "
                f"{error}. Pass another name, or an expression of one value."
            ) from error
    return operands


def _default_names(reg: BackpropRegressor, syntax: str) -> list[str]:
    if syntax == "excel":
        return [f"{_column(j)}2" for j in range(reg.scaler_.n_features_in_)]
    if not (hasattr(reg, "feature_names_in_") or _is_encoded(reg)):
        return [f"x{j}" for j in range(reg.n_features_in_)]
    names = [default_name(name, syntax) for name in reg.encoded_feature_names_]
    bad = sorted({name for name in names if names.count(name) > 1})
    bad += [name for name in names if not name or is_reserved(name, syntax)]
    if bad:
        raise ValueError(
            f"The features' names give inputs called {bad}, which are not distinct or not "
            f"allowed in {syntax}. Pass input_names."
        )
    return names


def _column(j: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    return (_column(j // 26 - 1) if j >= 26 else "") + ascii_uppercase[j % 26]


def _number(value: float) -> str:
    return repr(float(value)).upper()  # 1E-05: as Excel writes it


def _sum(bias: float, weights: Array, units: Sequence[str], language: _Syntax) -> str:
    """The text of bias + weight * unit + ..., without the weights that are zero.

    bias : float; weights : (n_units,); units : (n_units,) str; language : _Syntax
    """
    text, space = _number(bias), language.space
    for weight, unit in zip(weights, units):
        if weight != 0:
            sign = "-" if weight < 0 else "+"
            text += f"{space}{sign}{space}{_number(abs(weight))}{space}*{space}{unit}"
            _check_length(len(text), language)  # here, as deep networks would fill the memory
    return text


def _check_length(length: int, language: _Syntax) -> None:
    if length > language.longest:
        raise ValueError(
            f"The formula is longer than {language.longest:,} characters: the network is too "
            "large. Fit a smaller one (fewer hidden units, one layer, n_networks=1), or raise "
            "max_length."
        )
