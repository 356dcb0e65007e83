"""A fitted estimator in a file, with what it takes to read other rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import joblib

from sk_backprop import __version__
from sk_backprop._command._reading.columns import Recipe
from sk_backprop._command.terminal import CommandError, listed

_KEY = "sk_backprop command, version 1"
_OUR_TYPE = "sk_backprop._estimator.regressor.BackpropRegressor"


class StoredModel(NamedTuple):
    """A fitted estimator and how to read the columns that it was fitted to.

    decimal : of the numbers in the file that it was fitted to
    levels : {name of a column of categories: its levels}
    """

    model: Any
    columns: tuple[Recipe, ...]
    targets: tuple[str, ...]
    decimal: str
    levels: dict[str, list[str]]


def store(stored: StoredModel, path: str) -> None:
    """Write a model to a file.

    stored : StoredModel; path : of the file
    """
    content = {"format": _KEY, "sk_backprop": __version__, **stored._asdict()}
    content["columns"] = [list(recipe) for recipe in stored.columns]
    content["targets"] = list(stored.targets)
    try:
        if path.endswith(".skops"):
            _skops().dump(content, path)
        else:
            joblib.dump(content, path, compress=3)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


def load(path: str) -> StoredModel:
    """Read a model from a file that `store` has written.

    A .joblib file can run any code when it is read; a .skops file cannot.
    """
    unknown = f"{path} is not a model that this command has stored"
    try:
        content = _load_skops(path) if path.endswith(".skops") else joblib.load(path)
    except CommandError:
        raise
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:
        # Unpickling a file of another program calls what the file names: any error may come of it.
        raise CommandError(unknown) from error
    if not isinstance(content, dict) or content.get("format") != _KEY:
        raise CommandError(unknown)
    recipes = tuple(Recipe(*fields) for fields in content["columns"])
    targets = tuple(content["targets"])
    return StoredModel(content["model"], recipes, targets, content["decimal"], content["levels"])


def _load_skops(path: str) -> Any:
    skops = _skops()
    unknown = set(skops.get_untrusted_types(file=path)) - {_OUR_TYPE}
    if unknown:
        raise CommandError(f"{path} holds objects of other kinds: {listed(sorted(unknown), 3)}")
    return skops.load(path, trusted=[_OUR_TYPE])


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise CommandError("a .skops file needs: python -m pip install skops") from error
    return skops.io
