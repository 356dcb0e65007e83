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

# Each may import from those before it, and from itself: the one place that lists this.
ROOMS = (
    *("_blocks", "_tables", "_network", "_coordinates", "_inference", "_solvers", "_training"),
    *("_estimator", "export", "textbook", "_display", "__init__", "_command", "__main__"),
)
# Up to here numpy and scipy alone, but for what is named.
LAST_OF_NUMERICS = "_solvers"
OTHERS = {
    "_blocks": {"threadpoolctl"},  # this and joblib come with scikit-learn
    "_tables": {"narwhals"},  # comes with scikit-learn 1.9; an extra before
    "_training": {"joblib"},
    "_estimator": {"dask"},  # an extra
    "export": {"skl2onnx"},  # an extra
    "_display": {"matplotlib"},  # an extra
    "_command": {"joblib", "threadpoolctl", "pandas", "matplotlib", "skops"},  # most are extras
}
# By the public API alone, but for what draws a network and reads sparse rows, and the type of X.
FROM_DISPLAY = {
    *("sk_backprop._network.averaging", "sk_backprop._network.network"),
    *("sk_backprop._estimator.sparse", "sk_backprop._blocks.arrays"),
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


def module(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    numerics = ROOMS.index(room(path)) <= ROOMS.index(LAST_OF_NUMERICS)
    for name in imported(path):
        first, *rest = name.split(".")
        if first == "sk_backprop":
            inner = rest[0] if rest and rest[0] in ROOMS else "__init__"
            assert ROOMS.index(inner) <= ROOMS.index(room(path)), f"{module(path)} imports {name}"
            if room(path) == "_display" and inner != "_display":
                assert name in FROM_DISPLAY
        elif first == "sklearn":
            assert not numerics, f"{module(path)} imports {name}"
            assert not any(part.startswith("_") for part in rest), f"private: {name}"
        else:
            known = first in sys.stdlib_module_names
            known |= first in OTHERS.get(room(path), set())
            assert known or first in {"numpy", "scipy"}, f"{module(path)} imports {name}"


def test_imports_go_in_no_circle():
    imports = {module(path): set(imported(path)) for path in MODULES}
    imports = {name: {one for one in found if one in imports} for name, found in imports.items()}
    while imports:
        free = [name for name, found in imports.items() if not found - {name}]
        assert free, f"a circle among {sorted(imports)}"
        imports = {name: found - set(free) for name, found in imports.items() if name not in free}


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


def test_every_file_is_on_the_map():
    assert {room(path) for path in MODULES} == set(ROOMS)
    listed = re.findall(r"^ {4,8}([a-z_]+(?:, [a-z_]+)*) {2,}", sk_backprop.__doc__, re.MULTILINE)
    named = {name for line in listed for name in line.split(", ")}
    on_disk = {path.stem for path in MODULES if room(path) not in ("_solvers", "_display")}
    assert named == on_disk - {"__init__"} | set(ROOMS) - {"__init__"}


def test_what_is_mutated_and_its_tests_are_there():
    tests = Path(__file__).parent
    script = ast.parse((tests.parent / ".ci" / "mutate.py").read_text(encoding="utf-8"))
    tables = {
        ast.unparse(node.targets[0]): node.value
        for node in script.body
        if isinstance(node, ast.Assign)
    }
    mutated = ast.literal_eval(tables["MUTATED"])
    assert {name for name in mutated if not (PACKAGE / f"{name}.py").exists()} == set()
    named = {node.value for node in ast.walk(tables["TESTS"]) if isinstance(node, ast.Constant)}
    named.update(mutated.values())
    assert {name for name in named if not (tests / f"test_{name}.py").exists()} == set()


def test_no_file_is_longer_than_600_lines():
    lengths = {str(p): len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES}
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
        *("fit", "partial_fit", "predict", "gradient", "leverage", "score"),
        *("predict_dist", "predict_interval", "predict_quantiles", "sample_y", "encode"),
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
