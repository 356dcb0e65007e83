"""The structure that the package's docstring promises, read from its imports."""

import ast
import dataclasses
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sk_backprop

PACKAGE = Path(sk_backprop.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

ALLOWED = {
    "_sparse": set(),
    "_display": {"_display", "_sparse"},
    "_network": set(),
    "_threads": {"_network"},
    "_blocks": {"_network", "_threads"},
    "_dispersion": {"_network"},
    "_likelihood": {"_dispersion", "_network"},
    "_objective": {"_blocks", "_dispersion", "_likelihood", "_network"},
    "_evidence": {"_network", "_objective"},
    "_solvers": {"_blocks", "_evidence", "_network", "_objective", "_solvers"},
    "_consistency": set(),
    "_posterior": {"_consistency", "_dispersion", "_evidence", "_network", "_objective"},
    "_scaling": {"_blocks", "_likelihood", "_network"},
    "_rows": {"_blocks", "_network", "_scaling"},
    "_seen_rows": {"_network", "_rows"},
    "_stream": {
        *("_blocks", "_dispersion", "_evidence", "_network", "_objective", "_posterior"),
        *("_scaling", "_seen_rows"),
    },
    "_training": {
        *("_dispersion", "_evidence", "_likelihood", "_network", "_objective", "_posterior"),
        *("_rows", "_scaling", "_solvers", "_stream", "_threads"),
    },
    "_events": {"_network", "_solvers", "_training"},
    "_callbacks": {"_events", "_network", "_solvers", "_training"},
    "_cost": set(),
    "_ensemble": {"_events", "_threads", "_training"},
    "_folds": {"_network", "_training"},
    "_trials": {
        *("_cost", "_dispersion", "_ensemble", "_events", "_folds", "_likelihood"),
        *("_network", "_threads", "_training"),
    },
    "_plan": {
        *("_cost", "_dispersion", "_ensemble", "_events", "_likelihood", "_network"),
        *("_solvers", "_threads", "_training", "_trials"),
    },
    "_fitted": {"_consistency", "_likelihood", "_network", "_posterior", "_scaling", "_threads"},
    "_notebook": set(),
    "_state": {
        *("_consistency", "_evidence", "_fitted", "_likelihood", "_network", "_posterior"),
        *("_scaling", "_seen_rows", "_training"),
    },
    "_columns": set(),
    "_validation": {
        "_columns",
        "_likelihood",
        "_network",
        "_rows",
        "_solvers",
        "_sparse",
        "_training",
    },
    "_predictor": {"_fitted", "_network", "_notebook", "_state", "_validation"},
    "_progress": {"_events", "_network", "_solvers", "_training"},
    "_report": {
        *("_consistency", "_fitted", "_network", "_posterior", "_scaling", "_seen_rows"),
        *("_solvers", "_state", "_threads", "_training"),
    },
    "_start": {
        *("_likelihood", "_network", "_plan", "_seen_rows", "_solvers", "_state", "_stream"),
        *("_training", "_validation"),
    },
    "_regressor": {
        *("_callbacks", "_events", "_likelihood", "_plan", "_predictor", "_progress"),
        *("_report", "_seen_rows", "_start", "_state", "_training", "_validation"),
    },
    "__init__": {"_display", "_regressor"},
    "__main__": {"__init__"},
    "_operands": set(),
    "export": {"_fitted", "_network", "_operands", "_regressor", "_state"},
    "textbook": {"_likelihood", "_network", "_objective", "_validation"},
}
OTHERS = {
    "_threads": {"threadpoolctl"},  # this and joblib come with scikit-learn
    "_ensemble": {"joblib"},
    "_display": {"matplotlib"},  # an extra
}
SCIKIT_LEARN = {
    "_callbacks",
    "_scaling",
    "_ensemble",
    "_validation",
    "_report",
    "_notebook",
    "_predictor",
    "_regressor",
    "_display",
    "export",
    "__main__",
}


def room(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imported(path):
    """Every module that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "sk_backprop":
                names = (alias.name for alias in node.names)
                yield from (f"sk_backprop.{name}" for name in names)
            else:
                yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    for name in imported(path):
        first, *rest = name.split(".")
        if first == "sk_backprop":
            inner = rest[0] if rest and rest[0] in ALLOWED else "__init__"
            assert inner in ALLOWED[room(path)], f"{room(path)} imports {name}"
        elif first == "sklearn":
            assert room(path) in SCIKIT_LEARN, f"{room(path)} imports {name}"
            assert not any(part.startswith("_") for part in rest), f"private: {name}"
        else:
            known = first in sys.stdlib_module_names
            known |= first in OTHERS.get(room(path), set())
            assert known or first in {"numpy", "scipy"}, f"{room(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_extras_are_imported_where_they_are_used(path):
    core = {"sk_backprop", "sklearn", "numpy", "scipy", "joblib", "threadpoolctl"}
    statements = ast.Module(ast.parse(path.read_text(encoding="utf-8")).body, [])
    functions = [node for node in ast.walk(statements) if isinstance(node, ast.FunctionDef)]
    late = {node for function in functions for node in ast.walk(function)}
    for node in ast.walk(statements):
        if isinstance(node, ast.Import | ast.ImportFrom) and node not in late:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
            roots = {name.split(".")[0] for name in names}
            assert roots <= core | sys.stdlib_module_names, roots


def test_every_room_is_on_the_map():
    rooms = {room(path) for path in MODULES}
    assert rooms == set(ALLOWED)
    named = set(re.findall(r"^    (\w+?)/? +[A-Za-z`]", sk_backprop.__doc__, flags=re.MULTILINE))
    assert rooms - {"__init__"} <= named


def test_no_file_is_longer_than_600_lines():
    lengths = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES}
    assert max(lengths.values()) <= 600, lengths


def test_import_is_silent_and_brings_nothing_but_scikit_learn():
    code = (
        "import sys, sklearn.neural_network, sklearn.model_selection; before = set(sys.modules);"
        "import sk_backprop;"
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before}"
        "      - {'numpy', 'scipy', 'sklearn'} - sys.stdlib_module_names))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert (run.stdout.strip(), run.stderr) == ("['sk_backprop']", "")


def test_typed_and_versioned():
    assert (PACKAGE / "py.typed").exists()
    assert re.fullmatch(r"\d+\.\d+\.\d+", sk_backprop.__version__)
    displays = [name for name in sk_backprop.__all__ if name.endswith("Display")]
    assert sorted(["BackpropRegressor", *displays]) == sk_backprop.__all__


def test_docstring_names_every_parameter_and_its_default():
    cls = sk_backprop.BackpropRegressor
    text = inspect.getdoc(cls)
    parameters = text[: text.index("Attributes\n---")]
    for name, parameter in inspect.signature(cls).parameters.items():
        entry = re.search(rf"^[\w, ]*\b{name}\b[\w, ]* : (.*)$", parameters, re.MULTILINE)
        assert entry, name
        defaults = entry[1].split("default=")[1].split(", ")
        assert parameter.default in [ast.literal_eval(value) for value in defaults], name


def test_docstring_names_every_fitted_attribute():
    X, y = np.arange(40.0).reshape(20, 2), np.arange(20.0)
    model = sk_backprop.BackpropRegressor((2,), solver="lbfgs", max_iter=2000).fit(X, y)
    text = inspect.getdoc(model)
    attributes = text[text.index("Attributes\n---") : text.index("See Also\n---")]
    fitted = {name for name in vars(model) if re.fullmatch(r"[a-z]\w*_", name)}
    missing = {name for name in fitted if not re.search(rf"\b{name}\b", attributes)}
    assert not missing


def test_every_method_of_the_estimator_has_an_example_that_is_run():
    cls = sk_backprop.BackpropRegressor
    own = [
        method
        for name, method in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_") and method.__module__.startswith("sk_backprop")
    ]
    assert {method.__name__ for method in own} == {
        *("fit", "partial_fit", "predict", "gradient", "leverage", "score")
    }
    for method in own:
        sections = re.findall(r"^(\w+)\n-+$", inspect.getdoc(method), re.MULTILINE)
        assert {"Parameters", "Returns", "Raises", "Examples"} <= set(sections), method
        assert doctest.DocTestFinder().find(method)[0].examples, method


def test_what_describes_cannot_be_changed():
    # Networks, scales, posteriors and plans are shared by runs, threads and estimators.
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in MODULES]
    kinds = [
        kind
        for name in names
        if not name.endswith("__main__")
        for kind in vars(importlib.import_module(name)).values()
        if isinstance(kind, type) and kind.__module__ == name
    ]
    tuples = [kind for kind in kinds if issubclass(kind, tuple)]
    described = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    assert len(tuples + described) > 25
    assert not any("__dict__" in dir(one) for one in tuples)
    assert all(one.__dataclass_params__.frozen for one in described)
