"""Helpers that displays share: axes, names, and one target of several."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

Array = NDArray[Any]

# Okabe and Ito's blue and vermilion, made for the colour-blind, a little lighter: they
# stand out from white and from black.
BLUE, ORANGE = "#3B8FD0", "#E0692F"
GREY = "#888888"

# Rows that are drawn as points: more would be a blob.
MOST_ROWS = 500

# Width of a letter of a label, in points; an upper estimate.
_LETTER_WIDTH = 6.5

_TEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "{}$&#_%"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)


def axes_for(ax: Any, figsize: tuple[float, float] | None = None) -> Any:
    """The given axes, or those of a new figure."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib: python -m pip install 'sk-backprop[plot]'"
        ) from error
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
    return ax


def regressor_of(estimator: Any) -> Any:
    """The estimator, or the last step of a Pipeline; it must be fitted."""
    check_is_fitted(estimator)
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def column_names(estimator: Any, n_columns: int) -> list[str]:
    """Names of the columns of X, of an estimator or a Pipeline; x0, x1, ... if there are none."""
    return _first_names([getattr(estimator, "feature_names_in_", None)], n_columns)


def feature_names(estimator: Any, n_features: int) -> list[str]:
    """Names of the columns that a regressor saw, as the last step of a Pipeline or alone.

    Without names of its own, those that the steps before it give to their output.
    """
    known = [getattr(regressor_of(estimator), "feature_names_in_", None)]
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        with suppress(AttributeError, ValueError):  # of a step that gives no names
            known.append(estimator[:-1].get_feature_names_out())
    return _first_names(known, n_features)


def input_names(estimator: Any, n_inputs: int) -> list[str]:
    """Names of the inputs of a network: encoded columns, if there are any, or `feature_names`."""
    if n_inputs == regressor_of(estimator).n_features_in_:
        return feature_names(estimator, n_inputs)
    return [str(name) for name in regressor_of(estimator).encoded_feature_names_]


def _first_names(known: list[Any], n: int) -> list[str]:
    """The first of several lists of names, or None, that has n names."""
    for names in known:
        if names is not None and len(names) == n:
            return [str(name) for name in names]
    return [f"x{j}" for j in range(n)]


def inputs_of_regressor(estimator: Any, X: Any) -> Any:
    """X after the steps of a Pipeline before the last one; otherwise X."""
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        return estimator[:-1].transform(X)
    return X


def distribution_of(estimator: Any, X: Any, target: int) -> Any:
    """Frozen distribution of one target at rows of X, or None if the estimator has none.

    estimator : with or without `predict_dist`, or a Pipeline that ends with one; X; target : int
    """
    regressor = regressor_of(estimator)
    if not hasattr(regressor, "predict_dist"):
        return None
    frozen = regressor.predict_dist(inputs_of_regressor(estimator, X))
    shape = np.shape(frozen.mean())
    if len(shape) == 1:
        return frozen
    args = [np.broadcast_to(value, shape)[:, target] for value in frozen.args]
    named = {key: np.broadcast_to(value, shape)[:, target] for key, value in frozen.kwds.items()}
    return frozen.dist(*args, **named)


def normal_unless(distribution: Any, mean: Any, std: Any) -> Any:
    """The frozen distribution, or a normal one of this mean and deviation if it is None."""
    if distribution is not None:
        return distribution
    from scipy.stats import norm  # slow to import

    return norm(np.asarray(mean), np.asarray(std))


def probability_inside(distribution: Any, y: Array) -> Array:
    """Probability of the smallest central interval that holds each y; of counts, on average."""
    below = distribution.cdf(y)
    if hasattr(distribution, "pmf"):
        below = below - 0.5 * distribution.pmf(y)
    return np.asarray(np.abs(2 * below - 1))


def shortened(name: Any, most: int) -> str:
    """A name in one line of at most `most` characters, with its middle left out if needed."""
    text = " ".join(str(name).split())
    # As in a repr: fonts have no glyph for control characters.
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    if len(text) <= most:
        return text
    head, tail = most - 1 - (most - 1) // 2, (most - 1) // 2
    return f"{text[:head]}\u2026{text[len(text) - tail :]}"


def literal(text: str) -> str:
    """The text, escaped for matplotlib: it takes a pair of dollar signs as a formula.

    With ``parse_math=False`` instead, a label would not show formulas that are set later.
    """
    from matplotlib import rcParams

    if rcParams["text.usetex"]:
        return text.translate(_TEX)
    return text.replace("$", r"\$") if rcParams["text.parse_math"] else text


def user_text(name: Any, most: int) -> str:
    """A name given by the user, for matplotlib: `shortened`, and escaped by `literal`."""
    return literal(shortened(name, most))


def most_letters(ax: Any, *, width: float = np.inf, height: float = np.inf) -> int:
    """Letters of a label within fractions `width`, `height` of those of the figure of `ax`."""
    box, points = ax.figure.bbox, 72 / ax.figure.dpi
    return int(points * min(width * box.width, height * box.height) / _LETTER_WIDTH)


def some_rows(n: int, most: int) -> Array:
    """Indices of all of n rows, or of at most `most` of them, drawn at random."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.RandomState(0).choice(n, most, replace=False))


def rows_shown(n_shown: int, n_rows: int) -> str:
    """How many rows are drawn, for a legend; nothing if all are."""
    return "" if n_shown == n_rows else f", {n_shown:,} of {n_rows:,} rows drawn"


def font_size(ax: Any) -> float:
    """Size of the letters of a legend or a note: that of 'small', less in small axes."""
    from matplotlib import rcParams

    width = ax.get_position().width * ax.figure.bbox.width / ax.figure.dpi
    return 0.833 * float(rcParams["font.size"]) * float(np.clip(width / 4, 0.8, 1))


def write_note(ax: Any, text: str) -> None:
    """Write what the reader should know above the axes, in small letters."""
    size = font_size(ax)
    points = 72 * ax.get_position(original=True).width * ax.figure.bbox.width / ax.figure.dpi
    ax.set_title(user_text(text, int(points / (0.6 * size))), loc="left", fontsize=size)


def one_target(values: Any, target: int) -> Array:
    """The column `target` of values of shape (n_samples,) or (n_samples, n_outputs)."""
    values = np.asarray(values)
    n_outputs = 1 if values.ndim == 1 else values.shape[1]
    if not -n_outputs <= target < n_outputs:
        raise ValueError(f"target must be less than {n_outputs}, the number of targets: {target}.")
    return values if values.ndim == 1 else np.asarray(values[:, target])


def check_columns(**columns: Any) -> None:
    """Raise ValueError unless all that are given are finite numbers, of one shape (n_samples,)."""
    first = None
    for name, column in columns.items():
        if column is None:
            continue
        try:
            if np.asarray(column).dtype.kind in "mM":  # which numpy would count from 1970
                raise TypeError("dates and durations are not")
            values = np.asarray(column, dtype=float)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name} must be numbers: {error}") from error
        if values.ndim != 1:
            raise ValueError(f"{name} has shape {values.shape}; expected (n_samples,).")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} has {(~np.isfinite(values)).sum()} values of nan or inf.")
        first = first or (name, len(values))
        if len(values) != first[1]:
            raise ValueError(
                f"{first[0]} has {first[1]} values and {name} has {len(values)}; they must agree."
            )


def check_targets(y: Any, mean: Array) -> None:
    """Raise ValueError unless y has as many targets as were predicted."""
    n_given, n_predicted = (1 if np.ndim(a) == 1 else np.shape(a)[1] for a in (y, mean))
    if n_given != n_predicted:
        raise ValueError(f"y has {n_given} targets and the estimator predicts {n_predicted}.")


def target_name(y: Any, target: int) -> str:
    """The name of a Series, or of a column of a data frame; otherwise y."""
    if hasattr(y, "columns"):
        return str(y.columns[target])
    name = getattr(y, "name", None)
    return "y" if name is None else str(name)
