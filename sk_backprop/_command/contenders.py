"""The estimators that are compared, and bundled tables to compare them on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sk_backprop import BackpropRegressor
from sk_backprop._command._reading.columns import NUMBER, Array, Column, Recipe
from sk_backprop._command._reading.frames import has_pandas
from sk_backprop._command._reading.tables import Table, as_frame

OURS = "BackpropRegressor"
LEGEND = """\
  BackpropRegressor              default parameters; X and y as they are
  mean                           the mean of y, which a model must beat
  RidgeCV                        linear; columns standardised
  HistGradientBoostingRegressor  boosted trees, default parameters
  MLPRegressor                   scikit-learn's network, default parameters
    scaled                       the same with max_iter=2000; X and y standardised"""
# Largest number of levels that scikit-learn's boosted trees accept in a column.
_MOST_BINS = 255


class Contender(NamedTuple):
    """An estimator, and the inputs that it is fitted to."""

    model: Any
    X: Any


def inputs_of(table: Table) -> Any:
    """What our estimator is fitted to: a data frame, or numbers where pandas is missing."""
    return as_frame(table) if has_pandas() else table.matrix


def our_model(table: Table, seed: int) -> BackpropRegressor:
    """Our estimator with its defaults, for `inputs_of` the table."""
    model = BackpropRegressor(random_state=seed)
    if table.categorical and not has_pandas():
        model.set_params(categorical_features=table.categorical)
    return model


def contenders(table: Table, seed: int) -> dict[str, Contender]:
    """The estimators to compare, under the names that `LEGEND` explains; ours comes first.

    The others are given codes of levels and do what their users would do with them.
    """
    trees = _boosted_trees(table, seed)
    network = MLPRegressor(max_iter=2000, random_state=seed)
    models = {
        "mean": DummyRegressor(),
        "RidgeCV": _after_encoding(table, StandardScaler(), RidgeCV(np.logspace(-3, 3, 13))),
        "HistGradientBoostingRegressor": trees,
        "MLPRegressor": _after_encoding(table, MLPRegressor(random_state=seed)),
        "  scaled": TransformedTargetRegressor(
            _after_encoding(table, StandardScaler(), network), transformer=StandardScaler()
        ),
    }
    X = table.matrix
    ours = Contender(our_model(table, seed), inputs_of(table))
    return {OURS: ours, **{name: Contender(model, X) for name, model in models.items()}}


def _boosted_trees(table: Table, seed: int) -> Any:
    few = [j for j in table.categorical if len(table.columns[j].levels) <= _MOST_BINS]
    trees = HistGradientBoostingRegressor(categorical_features=few or None, random_state=seed)
    return MultiOutputRegressor(trees) if len(table.targets) > 1 else trees


def _after_encoding(table: Table, *steps: Any) -> Any:
    """A pipeline that first encodes levels and fills gaps, where the table has any."""
    X, coded = table.matrix, table.categorical
    numbers = [j for j in range(X.shape[1]) if j not in coded]
    if coded or np.isnan(X).any():
        encoder = ColumnTransformer(
            [
                ("levels", OneHotEncoder(handle_unknown="ignore"), coded),
                ("gaps", SimpleImputer(add_indicator=True, keep_empty_features=True), numbers),
            ],
            sparse_threshold=0,
        )
        return make_pipeline(encoder, *steps)
    return make_pipeline(*steps) if len(steps) > 1 else steps[0]


def table_of(name: str, X: Array, names: list[str], y: Array, target: str) -> Table:
    """A table of numbers.

    name : str; X : (n_rows, n_columns); names : of the columns; y : (n_rows,); target : its name
    """
    columns = [Column(Recipe(one, NUMBER, "."), values) for one, values in zip(names, X.T)]
    return Table(name, tuple(columns), y[:, None], (target,))


def bundled_tables() -> list[Table]:
    """Three regression tasks in raw units, from the data that come with scikit-learn."""
    diabetes, wine, iris = load_diabetes(scaled=False), load_wine(), load_iris()
    names = [*wine.feature_names]
    return [
        table_of(
            "diabetes", diabetes.data, diabetes.feature_names, diabetes.target,
            "disease progression",
        ),
        table_of("wine", wine.data[:, :12], names[:12], wine.data[:, 12], "proline"),
        table_of("iris", iris.data[:, :3], iris.feature_names[:3], iris.data[:, 3], "petal width"),
    ]  # fmt: skip
