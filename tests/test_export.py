"""What is exported gives what `predict` gives: MLPRegressor, ONNX, and formulas read again."""

import math
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_backprop import BackpropRegressor
from sk_backprop.export import register_onnx_converter, to_expression, to_mlp_regressor

NAMES = ["Age (years)", "long", "2nd"]


def rough(hidden, **params):
    """A network after a few iterations: these tests need a function, not a good one."""
    quick = {"solver": "lbfgs", "tol": 0.5, "n_iter_no_change": 1, "random_state": 0}
    return BackpropRegressor(hidden, **{**quick, **params})


@pytest.fixture(scope="module")
def rows():
    """Three features in units of 1000, 1 and 1/1000, and two targets that are not negative."""
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 2, (40, 3))
    y = np.column_stack([np.sin(X[:, 0]) + X[:, 1] * X[:, 2], X[:, 1] ** 2]) * [50, 0.1]
    return X * [1e3, 1, 1e-3], y - y.min(axis=0)


def assert_same(values, predicted):
    """Equal to 12 digits of the largest value of each output."""
    assert np.shape(values) == predicted.shape
    error = np.abs(values - predicted) / np.abs(predicted).max(axis=0)
    assert error.max() < 1e-12


FUNCTIONS = {
    "linear": ((), {}),
    "logistic": ((4,), {}),
    "tanh": ((4,), {"activation": "tanh"}),
    "relu": ((4,), {"activation": "relu"}),
    "identity": ((4,), {"activation": "identity"}),
    "deep": ((3, 3, 2), {}),
    "three networks": ((2,), {"n_networks": 3}),
    "deep networks": ((2, 2), {"n_networks": 2}),
    "deep relu networks": ((3, 3), {"n_networks": 2, "activation": "relu"}),
    "poisson": ((3,), {"loss": "poisson"}),
    "poisson networks": ((3,), {"loss": "poisson", "n_networks": 2}),
    "not preconditioned": ((3,), {"precondition": False}),
}
LOGISTIC = {
    "logistic output": ((3,), {"output_activation": "logistic"}),
    "logistic output networks": ((2,), {"output_activation": "logistic", "n_networks": 2}),
}


# --- scikit-learn's MLPRegressor ---


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_mlp_regressor_predicts_the_same_on_raw_data(rows, kind, n_outputs):
    X, y = rows
    hidden, params = FUNCTIONS[kind]
    model = rough(hidden, **params).fit(X, y[:, :n_outputs].squeeze())
    mlp = to_mlp_regressor(model)
    assert type(mlp) is MLPRegressor
    assert_same(mlp.predict(X), model.predict(X))
    assert mlp.score(X, y[:, :n_outputs]) == pytest.approx(model.score(X, y[:, :n_outputs]))


def test_mlp_regressor_of_the_defaults(diabetes):
    X, y = diabetes
    model = BackpropRegressor(random_state=0, n_networks=2).fit(X[:60], y[:60])
    assert_same(to_mlp_regressor(model).predict(X), model.predict(X))


def test_mlp_regressor_is_what_the_fit_was_and_a_copy(rows):
    X, y = rows
    frame = pd.DataFrame(X, columns=NAMES)
    model = rough((4,), activation="tanh", n_networks=2).fit(frame, y)
    before = model.predict(frame)
    model.set_params(activation="relu", loss="poisson")  # of a fit that is to come
    mlp = to_mlp_regressor(model)
    assert mlp.activation == "tanh"
    assert mlp.loss == "squared_error"
    assert mlp.hidden_layer_sizes == (8,)
    assert mlp.feature_names_in_.tolist() == NAMES
    for W in mlp.coefs_ + mlp.intercepts_:
        W *= 2
    np.testing.assert_array_equal(model.predict(frame), before)
    with pytest.raises(NotFittedError):
        clone(mlp).predict(X)


def test_mlp_regressor_goes_on_learning(rows):
    # It has all that scikit-learn needs to continue, with its own scaling or none.
    X, y = rows
    X, y = X / X.max(axis=0), y[:, 0] / y[:, 0].max()
    mlp = to_mlp_regressor(rough((4,)).fit(X, y))
    before = mlp.predict(X)
    mlp.set_params(warm_start=True, solver="lbfgs", alpha=0.0, max_iter=2000).fit(X, y)
    assert np.mean((mlp.predict(X) - y) ** 2) < np.mean((before - y) ** 2)


@pytest.mark.parametrize("kind", LOGISTIC)
def test_mlp_regressor_has_no_logistic_output(rows, kind):
    hidden, params = LOGISTIC[kind]
    with pytest.raises(ValueError, match="no logistic output"):
        to_mlp_regressor(rough(hidden, **params).fit(*rows))


@pytest.mark.parametrize("export", [to_mlp_regressor, to_expression])
def test_only_fitted_regressors_are_exported(rows, export):
    with pytest.raises(NotFittedError):
        export(rough((2,)))
    pipeline = make_pipeline(StandardScaler(), rough((2,))).fit(*rows)
    with pytest.raises(TypeError, match=r"got Pipeline.*last step"):
        export(pipeline)


# --- ONNX ---


@pytest.mark.parametrize("kind", ["logistic", "deep relu networks", "three networks", "linear"])
@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_onnx_predicts_the_same(rows, kind, precision, n_outputs):
    skl2onnx = pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    X, y = rows
    hidden, params = FUNCTIONS[kind]
    model = rough(hidden, **params).fit(X, y[:, :n_outputs].squeeze())
    onnx = skl2onnx.to_onnx(to_mlp_regressor(model), X[:1].astype(precision))
    session = onnxruntime.InferenceSession(
        onnx.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    (values,) = session.run(None, {given.name: X.astype(precision)})
    predicted = model.predict(X).reshape(40, n_outputs)
    error = np.abs(values.reshape(40, n_outputs) - predicted) / np.abs(predicted).max(axis=0)
    assert error.max() < (1e-5 if precision is np.float32 else 1e-12)


def run_onnx(converted, X):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(
        converted.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    (values,) = session.run(None, {given.name: X})
    return values


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_the_registered_converter_converts_pipelines(rows, kind, precision):
    skl2onnx = pytest.importorskip("skl2onnx")
    register_onnx_converter()
    X, y = rows
    hidden, params = FUNCTIONS[kind]
    model = make_pipeline(StandardScaler(), rough(hidden, **params)).fit(X, y)
    converted = skl2onnx.to_onnx(model, X[:1].astype(precision))
    error = np.abs(run_onnx(converted, X.astype(precision)) - model.predict(X))
    scale = np.abs(model.predict(X)).max(axis=0)
    assert (error / scale).max() < (1e-5 if precision is np.float32 else 1e-12)


def test_the_registered_converter_refuses_what_onnx_cannot_encode():
    skl2onnx = pytest.importorskip("skl2onnx")
    register_onnx_converter()
    X = np.arange(40.0).reshape(20, 2)
    X[3, 0] = np.nan
    model = rough((2,)).fit(X, X[:, 1])
    with pytest.raises(ValueError, match=r"missing values.*to_mlp_regressor.*encode"):
        skl2onnx.to_onnx(model, X[:1])
    converted = skl2onnx.to_onnx(to_mlp_regressor(model), model.encode(X)[:1])
    np.testing.assert_allclose(
        run_onnx(converted, model.encode(X)).ravel(), model.predict(X), rtol=1e-12
    )


def test_exports_of_a_table_take_its_encoding():
    frame = pd.DataFrame({"size": np.arange(20.0), "place": ["a b", "c"] * 10})
    y = frame["size"] + 5 * (frame["place"] == "c")
    model = rough(()).fit(frame, y)
    encoded = model.encode(frame)
    assert_same(to_mlp_regressor(model).predict(encoded), model.predict(frame))
    names = ["size", "place_a_b", "place_c"]
    assert_same(by_python([to_expression(model)], encoded, names).ravel(), model.predict(frame))
    with pytest.raises(ValueError, match=r"sequence of 3 str.*encoded_feature_names_"):
        to_expression(model, input_names=["a", "b"])


# --- formulas ---


def by_python(formulas, X, names):
    namespace = {"exp": np.exp, "tanh": np.tanh, "maximum": np.maximum, "__builtins__": {}}
    namespace |= dict(zip(names, X.T, strict=True))
    return np.column_stack([np.broadcast_to(eval(f, namespace), len(X)) for f in formulas])


def by_c(formulas, X, names, folder):
    """Compiled into a program that reads rows and writes outputs."""
    if shutil.which("gcc") is None:
        pytest.skip("compiling the formula for C needs gcc")
    reads = "".join(f'if (scanf("%lf", &{name}) != 1) return 0;' for name in names)
    prints = "".join(f'printf("%.17g\\n", {formula});' for formula in formulas)
    source = folder / "formula.c"
    source.write_text(
        "#include <math.h>\n#include <stdio.h>\nint main(void) {\n"
        f"double {', '.join(names)};\nfor (;;) {{ {reads} {prints} }}\n}}\n"
    )
    command = ["gcc", "-Wall", "-Werror", "-O0", "-o", folder / "formula", source, "-lm"]
    subprocess.run(command, check=True)
    text = "\n".join(" ".join(map(repr, row)) for row in X.tolist())
    run = subprocess.run(
        [folder / "formula"], input=text, capture_output=True, text=True, check=True
    )
    return np.array(run.stdout.split(), dtype=float).reshape(len(X), -1)


CALLS = {"TANH": np.tanh, "EXP": np.exp, "MAX": np.maximum}


class Spreadsheet:
    """As much of a spreadsheet as a formula here uses, by recursive descent.

    cells : {'A2': array}
    """

    def __init__(self, cells):
        self.cells = cells

    def __call__(self, formula):
        assert formula.startswith("=")
        assert len(formula) <= 8192
        token = r"\d+\.?\d*(?:E[+-]?\d+)?|[A-Z]+\d+|[A-Z]+|[-+*/(),]"
        assert re.fullmatch(f"(?:{token})+", formula[1:])
        self.tokens = [*re.findall(token, formula[1:]), ""]
        value = self.sum()
        assert self.tokens == [""]
        return value

    def sum(self):
        value = self.product()
        while self.tokens[0] in ("+", "-"):
            sign = 1 if self.tokens.pop(0) == "+" else -1
            value = value + sign * self.product()
        return value

    def product(self):
        value = self.atom()
        while self.tokens[0] in ("*", "/"):
            divide = self.tokens.pop(0) == "/"
            other = self.atom()
            value = value / other if divide else value * other
        return value

    def atom(self):
        token = self.tokens.pop(0)
        if token == "-":
            return -self.atom()
        if token == "(":
            return self.arguments()[0]
        if token in CALLS:
            assert self.tokens.pop(0) == "("
            return CALLS[token](*self.arguments())
        return self.cells[token] if token in self.cells else float(token)

    def arguments(self):
        values = [self.sum()]
        while (token := self.tokens.pop(0)) == ",":
            values.append(self.sum())
        assert token == ")"
        return values


def evaluated(model, X, syntax, folder):
    """The values of a model's formulas, of shape (n_samples, n_outputs)."""
    formulas = to_expression(model, syntax)
    formulas = formulas if isinstance(formulas, list) else [formulas]
    if syntax == "excel":
        sheet = Spreadsheet({"A2": X[:, 0], "B2": X[:, 1], "C2": X[:, 2]})
        return np.column_stack([np.broadcast_to(sheet(f), len(X)) for f in formulas])
    names = ["x0", "x1", "x2"]
    return by_python(formulas, X, names) if syntax == "python" else by_c(formulas, X, names, folder)


@pytest.mark.parametrize("syntax", ["python", "c", "excel"])
@pytest.mark.parametrize("kind", [*FUNCTIONS, *LOGISTIC])
def test_formulas_read_again_give_predict(rows, kind, syntax, tmp_path):
    X, y = rows
    hidden, params = (FUNCTIONS | LOGISTIC)[kind]
    model = rough(hidden, **params).fit(X, y)
    assert_same(evaluated(model, X, syntax, tmp_path), model.predict(X))


def test_one_output_is_one_formula(rows):
    X, y = rows
    model = rough((2,)).fit(X, y[:, 0])
    assert isinstance(to_expression(model), str)
    assert_same(by_python([to_expression(model)], X, ["x0", "x1", "x2"])[:, 0], model.predict(X))
    assert len(to_expression(rough((2,)).fit(X, y))) == 2


def test_formulas_stand_in_units_far_away(rows):
    # Sums of a million: 1 / (1 + exp(-z)) would overflow.
    X, y = rows
    model = rough((4,)).fit(X, y)
    far = 1e6 * X
    assert_same(evaluated(model, far, "python", None), model.predict(far))


def test_a_single_number_will_do(rows):
    X, y = rows
    model = rough((3,)).fit(X, y[:, 0])
    inputs = dict(zip(["x0", "x1", "x2"], X[0].tolist()))
    value = eval(to_expression(model), {"tanh": math.tanh}, inputs)
    assert value == pytest.approx(model.predict(X[:1])[0], rel=1e-12)


def test_names_of_inputs(rows):
    X, y = rows
    frame = pd.DataFrame(X, columns=NAMES)
    model = rough((3,)).fit(frame, y[:, 0])
    predicted = model.predict(frame)
    names = ["Age__years_", "long", "_2nd"]
    assert_same(by_python([to_expression(model)], X, names)[:, 0], predicted)
    with pytest.raises(ValueError, match=r"\['long'\].*not allowed in c"):
        to_expression(model, "c")
    indexed = to_expression(model, input_names=["x[0]", "x[1]", "x[2]"])
    value = eval(indexed, {"tanh": np.tanh, "x": X.T})
    assert_same(value, predicted)
    cells = to_expression(model, "excel", input_names=["'My - sheet'!A1", "B7", "$C$3"])
    for cell in ("*'My - sheet'!A1", "*B7", "*$C$3"):
        assert cells.count(cell) == 3


@pytest.mark.parametrize(
    ("columns", "named"), [(["a b", "a_b", "c"], "a_b"), (["lambda", "b", "c"], "lambda")]
)
def test_names_that_are_not_distinct_or_not_allowed(rows, columns, named):
    model = rough((2,)).fit(pd.DataFrame(rows[0], columns=columns), rows[1])
    with pytest.raises(ValueError, match=rf"\['{named}'\].*Pass input_names"):
        to_expression(model)


def test_cells_of_many_columns():
    X = np.random.RandomState(0).randn(40, 60)
    formula = to_expression(rough(()).fit(X, X[:, 0] + X[:, 59]), "excel")
    columns = re.findall(r"\*([A-Z]+)2\b", formula)
    assert [columns[i] for i in (0, 25, 26, 51, 52, 59)] == ["A", "Z", "AA", "AZ", "BA", "BH"]


def test_large_networks_are_refused_at_once(diabetes):
    X, y = diabetes
    model = rough((40, 40, 40)).fit(X, y)  # 640,000 first sums
    with pytest.raises(ValueError, match="longer than 50,000 characters"):
        to_expression(model)
    wide = rough((40,)).fit(X, y)
    with pytest.raises(ValueError, match="longer than 8,192 characters"):
        to_expression(wide, "excel")
    length = len(to_expression(wide))
    assert len(to_expression(wide, max_length=length)) == length
    with pytest.raises(ValueError, match="raise max_length"):
        to_expression(wide, max_length=length - 1)


@pytest.mark.slow
def test_the_longest_sum_can_be_evaluated():
    rng = np.random.RandomState(0)
    X = rng.randn(30, 2000)
    model = rough(()).fit(X, X[:, 0])
    names = [f"x{j}" for j in range(2000)]
    formula = to_expression(model, max_length=100_000)
    assert 1800 < formula.count("*") <= 2000
    assert_same(by_python([formula], X, names)[:, 0], model.predict(X))


def test_what_is_not_allowed(rows):
    model = rough((2,)).fit(*rows)
    with pytest.raises(ValueError, match=r"\['python', 'c', 'excel'\], got 'fortran'"):
        to_expression(model, "fortran")
    with pytest.raises(ValueError, match=r"syntax must be one of .*got \['c'\]"):
        to_expression(model, ["c"])
    for names in (["a", "b"], "abc", 5, [1, 2, 3]):
        with pytest.raises(
            ValueError, match=f"input_names must be .* 3 str.*{re.escape(repr(names))}"
        ):
            to_expression(model, input_names=names)
    for length in ("a", -1, 0, 1e3):
        with pytest.raises(ValueError, match=f"max_length must be an int >= 1.*got {length!r}"):
            to_expression(model, max_length=length)


@pytest.mark.parametrize("export", [to_mlp_regressor, to_expression])
def test_weights_beyond_the_range_are_refused(export):
    X = np.linspace(1, 2, 20).reshape(-1, 1) * 1e-310
    model = BackpropRegressor((3,), n_networks=1, random_state=0).fit(X, np.arange(20.0))
    assert np.isfinite(model.predict(X)).all()
    with pytest.raises(ValueError, match="for raw X and y are beyond the range of float64"):
        export(model)
