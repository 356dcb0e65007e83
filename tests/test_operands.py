"""What may stand for an input in a formula: what Python and a C compiler make of it."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from sk_backprop import BackpropRegressor
from sk_backprop._estimator.operands import default_name, is_reserved, operand
from sk_backprop.export import to_expression

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="asks a C compiler")
HEADERS = "#include <math.h>\n#include <stddef.h>\n#include <errno.h>\n"


@pytest.fixture(scope="module")
def model():
    X = np.random.RandomState(0).uniform(1, 2, (40, 2))
    y = 3 * X[:, 0] - 2 * X[:, 1] + 1
    return BackpropRegressor((), solver="lbfgs", alpha=0.0, tol=0.0, max_iter=50).fit(X, y)


def value(model, a, b):
    return float(model.predict([[a, b]])[0])


# --- names ---


@needs_cc
@pytest.mark.parametrize("standard", ["", "-std=c11", "-std=gnu2x", "-D_GNU_SOURCE"])
def test_no_macro_of_the_headers_can_be_an_input(standard):
    command = ["cc", *standard.split(), "-dM", "-E", "-x", "c", "-"]
    defined = subprocess.run(command, input=HEADERS, capture_output=True, text=True, check=True)
    names = re.findall(r"^#define (\w+)(?!\()\b", defined.stdout, re.MULTILINE)
    assert "errno" in names
    assert [name for name in names if not is_reserved(name, "c")] == []


ACCEPTED = [
    *("a", "x1", "y1", "j0", "gamma", "E1", "EUR", "ENERGY", "I", "M", "FP", "HUG", "_a", "_2nd"),
    *("M2", "sin", "log", "age__years", "isnan", "signgam", "nullp", "Bool", "ASM", "infinity"),
]


@needs_cc
@pytest.mark.parametrize("language", ["c", "c++"])
def test_names_that_are_accepted_compile(language):
    assert not [name for name in ACCEPTED if is_reserved(name, "c")]
    functions = "".join(
        f"double f{k}(double {name}) {{ return tanh(1.0 - 2.0 * {name}) + exp({name}); }}\n"
        for k, name in enumerate(ACCEPTED)
    )
    command = ["cc", "-x", language, "-Wall", "-Werror", "-fsyntax-only", "-"]
    subprocess.run(command, input=HEADERS + functions, text=True, check=True)


# What a compiler of C11 refuses, and those of later standards and of C++.
KEYWORDS = (
    "auto break case char const continue default do double else enum extern float for goto if "
    "inline int long register restrict return short signed sizeof static struct switch typedef "
    "union unsigned void volatile while asm bool true false nullptr typeof constexpr alignas "
    "thread_local static_assert class new delete this template namespace and or not xor private "
    "_Bool _Complex _Generic __func__ __x _Ax tanh exp fmax NULL INFINITY NAN M_PI M_PI_2 "
    "M_ANYTHING HUGE_VAL HUGE_VALF FP_NAN MATH_ERRNO math_errhandling errno EDOM ERANGE EPERM "
    "size_t double_t linux unix offsetof"
)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        *[("c", name) for name in KEYWORDS.split()],
        *[("python", n) for n in ("tanh", "exp", "maximum", "lambda", "None", "True", "__debug__")],
        *[("excel", n) for n in ("TRUE", "false", "R", "c", "Tanh", "EXP", "MAX")],
    ],
)
def test_reserved_names_are_refused(model, syntax, name):
    assert is_reserved(name, syntax)
    with pytest.raises(ValueError, match=rf"^input_names\[1\] is '{name}', which .* in {syntax}: "):
        to_expression(model, syntax, input_names=["a", name])


@pytest.mark.parametrize(
    ("syntax", "feature", "name"),
    [
        ("c", "Age (years)", "Age__years_"),
        ("c", "2nd", "_2nd"),
        ("c", " Age", "x_Age"),
        ("c", "(age)", "_age_"),
        ("c", "# rooms", "x__rooms"),
        ("python", " Age", "_Age"),
    ],
)
def test_default_names(syntax, feature, name):
    assert default_name(feature, syntax) == name
    assert not is_reserved(name, syntax)


@pytest.mark.parametrize("name", ["INFINITY", "errno", "bool", "M_PI"])
def test_features_with_reserved_names_are_refused(name):
    X = pd.DataFrame(np.random.RandomState(0).randn(20, 2), columns=[name, "b"])
    model = BackpropRegressor((), solver="lbfgs", alpha=1.0).fit(X, X["b"])
    with pytest.raises(ValueError, match=rf"\['{name}'\].*not allowed in c.*Pass input_names"):
        to_expression(model, "c")
    assert name in to_expression(model)


# --- expressions ---

PRIMARY = {
    "python": [
        *("a", "x[0]", "x[:, 0]", "row.age", 'df["a - b"]', "f(a, b)", "f()", "2.5", "größe"),
        *("data[i + 1].x(3)[0]",),
    ],
    "c": [
        *("a", "x[0]", "x[i + 1]", "row.age", "p->age", "p->x[2].y", "f(a, b)", "f()", "(a + b)"),
        *("2.5", "1e-3f", "größe", "x[y[0]]"),
    ],
    "excel": [
        *("A2", "$A$2", "Sheet1!$B$4", "'My - sheet'!A1", "'It''s'!A1", "[Book1.xlsx]Sheet1!A1"),
        *("rate", "Table1[Column one]", "Table1[[#This Row],[a b]]", "[@Column]", "[@[a - b]]"),
        *("SUM(A1:A3)", "INDEX(A1:B9,2,1)", "A1:A3", "2.5", "(A1+B1)", "PI()"),
    ],
}
EXPRESSIONS = {
    "python": ["a + b", "-a", "a - b", "a / b", "a ** 2", "a if b else 1", "not a", "a < b"],
    "c": [
        *("a + b", "a+b", "-a", "!a", "*q", "a / b", "a ? b : 1", "a << 2", "a - (b)", "&x[0] - q"),
        *("(a) + (b)", "a == b", "-x[0]", "M_PI * r"),
    ],
    "excel": [
        "A1+B1",
        "-A1",
        "A1^2",
        "A1%",
        "A1/B1",
        "A1&B1",
        "(A1)+(B1)",
        "A1<>B1",
        "@A1",
        "2*A1",
    ],
}
REFUSED = {
    "python": [
        *(
            "",
            " ",
            "a b",
            "a +",
            "a)+(b",
            "(a",
            "a # of the year",
            "a, b",
            "a = b",
            "'a'",
            "lambda: a",
        ),
        *("a\nb", "a\x1b[0m", "1j", "[a, b]", "weight kg", "2nd", "a;b", "(yield)", "*a"),
    ],
    "c": [
        *(
            "",
            " ",
            "a b",
            "a +",
            "a)+(b",
            "(a",
            "a]",
            "x[",
            "a, b",
            "a = b",
            "a += b",
            "a++",
            "--a",
        ),
        *(
            "a; b",
            "a // b",
            "a /* b",
            "a # b",
            "{a}",
            "a\nb",
            "a\\",
            "weight kg",
            "2nd",
            "x[]",
            '"a',
        ),
        *("a.", "->a", "[0]", "f(a,)", "a @ b", "1.5.2", "()", "x y[0]"),
    ],
    "excel": [
        *("", " ", "A1 +", "=A1", "A1)+(B1", "(A1", "A1,B1", "A1;B1", "weight kg", "2nd", "A1\nB1"),
        *("A1==B1", "'open!A1", '"a', "A1 B1", "{1,2"),
    ],
}


def cases(table):
    return [(syntax, text) for syntax, texts in table.items() for text in texts]


@pytest.mark.parametrize(("syntax", "text"), cases(PRIMARY))
def test_what_is_one_operand_stays_as_it_is(model, syntax, text):
    assert operand(text, syntax) == text
    formula = to_expression(model, syntax, input_names=[text, "b"])
    assert f"*{text}" in formula or f"* {text}" in formula


@pytest.mark.parametrize(("syntax", "text"), cases(EXPRESSIONS))
def test_expressions_are_put_in_parentheses(model, syntax, text):
    assert operand(f" {text} ", syntax) == f"({text})"
    formula = to_expression(model, syntax, input_names=[text, "b"])
    assert f"*({text})" in formula or f"* ({text})" in formula


@pytest.mark.parametrize(("syntax", "text"), cases(REFUSED))
def test_what_is_no_operand_is_refused(model, syntax, text):
    with pytest.raises(ValueError, match=r"^input_names\[0\] is .* cannot stand for an input in"):
        to_expression(model, syntax, input_names=[text, "b"])


@pytest.mark.parametrize("text", ["a + b", "-a", "a - b", "x[0]", "a if b else 1", "f(a, b)"])
def test_expressions_in_python_give_predict(model, text):
    names = {"a": 1.25, "b": 1.5, "x": [2.0], "f": lambda a, b: a * b, "tanh": np.tanh}
    formula = to_expression(model, input_names=[text, "b"])
    assert eval(formula, dict(names)) == pytest.approx(value(model, eval(text, names), 1.5))


@needs_cc
def test_expressions_in_c_give_predict(model, tmp_path):
    given = {"a + b": 2.75, "-a": -1.25, "x[1]": 2.0, "p->v": 1.75, "a ? b : 1": 1.5, "f(a)": 2.5}
    given |= {"*x": 3.0, "a < b": 1.0, "(a - b)": -0.25, "a / b": 1.25 / 1.5}
    prints = "".join(
        f'printf("%.17g\\n", {to_expression(model, "c", input_names=[text, "b"])});\n'
        for text in given
    )
    source = tmp_path / "formulas.c"
    source.write_text(
        f"{HEADERS}#include <stdio.h>\nstruct row {{ double v; }};\n"
        "static double f(double a) { return 2 * a; }\nint main(void) {\n"
        "double a = 1.25, b = 1.5, x[] = {3, 2};\nstruct row r = {1.75}, *p = &r;\n"
        f"{prints}return 0; }}\n"
    )
    program = tmp_path / "formulas"
    subprocess.run(["cc", "-Wall", "-Werror", "-o", program, source, "-lm"], check=True)
    run = subprocess.run([program], capture_output=True, text=True, check=True)
    expected = [value(model, a, 1.5) for a in given.values()]
    np.testing.assert_allclose([float(line) for line in run.stdout.split()], expected, rtol=1e-12)


@needs_cc
def test_operands_that_are_accepted_in_c_compile():
    texts = [*PRIMARY["c"], *EXPRESSIONS["c"]]
    uses = "\n".join(f"s += 2.0 * {operand(text, 'c')};" for text in texts)
    source = (
        f"{HEADERS}struct record {{ double age, y; struct record *x; }};\ndouble f();\n"
        "double g(int a, int b, int i, int *y, double r, double größe, double *x, double *q,\n"
        f"struct record row, struct record *p) {{ double s = 0;\n{uses}\nreturn s; }}\n"
    )
    command = ["cc", "-x", "c", "-std=gnu11", "-fsyntax-only", "-"]
    subprocess.run(command, input=source, text=True, check=True)
