"""Data to measure on: a folder of files, sets that come with scikit-learn, and made-up ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from sklearn import datasets
from sklearn.utils import check_random_state

Array: TypeAlias = np.ndarray[Any, Any]
RANDOM_SPLITS = 3  # of a built-in set, where the number is left open


class ProblemError(ValueError):
    """What was asked for is not there; the message says what."""


@dataclass(frozen=True)
class Problem:
    """One split of a data set. `split` is its number, which also seeds the estimator."""

    name: str
    split: int
    X_train: Array
    y_train: Array
    X_test: Array
    y_test: Array


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


def random_splits(n_samples: int, n_splits: int) -> Iterator[tuple[Array, Array]]:
    """Row numbers to train and, a quarter of them, to test on; drawn anew for each split."""
    for split in range(n_splits):
        rows = check_random_state(split).permutation(n_samples)
        yield rows[n_samples // 4 :], rows[: n_samples // 4]


def read_file(path: Path) -> tuple[Array, Array, list[tuple[Array, Array]]]:
    """X, y and the splits of a file."""
    try:
        with np.load(path) as data:
            return data["X"], data["y"], list(zip(data["train_idx"], data["test_idx"]))
    except KeyError as error:
        raise ProblemError(f"{path}: {error.args[0]}") from error


def load(
    folder: str | None = None, names: Collection[str] = (), n_splits: int | None = 3
) -> list[Problem]:
    """The first splits (or all, where there are fewer) of the sets named, or of all.

    With None they are all splits of a file, and `RANDOM_SPLITS` of a built-in set. A file
    of the folder takes the place of a built-in set of its name. A ProblemError says what
    is not there.
    """
    files = {path.stem: path for path in sorted(Path(folder).glob("*.npz"))} if folder else {}
    if folder and not files:
        why = "has no .npz file" if Path(folder).is_dir() else "does not exist"
        raise ProblemError(f"the data folder {folder} {why}")
    tables = built_in()
    known = list(dict.fromkeys([*files, *tables]))
    if unknown := [name for name in names if name not in known]:
        raise ProblemError(f"no data set {', '.join(unknown)}; there are: {', '.join(known)}")
    problems = []
    for name in dict.fromkeys(names or known):
        if name in files:
            X, y, splits = read_file(files[name])
        else:
            X, y = tables[name]
            splits = list(random_splits(len(y), n_splits or RANDOM_SPLITS))
        for i, (train, test) in enumerate(splits[:n_splits]):
            problems.append(Problem(name, i, X[train], y[train], X[test], y[test]))
    return problems
