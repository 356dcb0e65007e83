"""Long runs in one process: memory, open files and speed stay what they were.

`python tests/test_long_runs.py` makes the runs at full length, prints their figures and fails where
memory or files grow; the tests make a fifth of the batches and of the fits.
"""

import os
import pickle
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV

from sk_backprop import BackpropRegressor

N_BATCHES, N_FITS = 10_000, 1_000
MOST_MB = 5  # that the full length may take, and a fifth of it a fifth

RNG = np.random.RandomState(0)
X = RNG.uniform(-1, 1, (60, 3))
Y = np.sin(3 * X[:, 0]) + X[:, 1] + 0.1 * RNG.randn(60)

SMALL = {"hidden_layer_sizes": (3,), "tol": 0.03, "random_state": 0}
FITS = [
    BackpropRegressor(**SMALL, solver="lm", n_networks=2),
    BackpropRegressor(**SMALL, solver="lbfgs", alpha=1.0),
    BackpropRegressor(**SMALL, solver="adam", max_iter=10**4),
    BackpropRegressor(**SMALL, solver="sgd", early_stopping=True),
]


def batches(solver):
    """A function that makes a stream see one more batch, of the given number."""
    model = BackpropRegressor((5,), solver=solver, batch_size=20, random_state=0)

    def see(number):
        rows = slice(number % 3 * 20, number % 3 * 20 + 20)
        model.partial_fit(X[rows], Y[rows])
        if number % 100 == 0:
            model.predict(X, return_std=True)

    return see


def fits(number):
    """Fit one of the estimators anew."""
    model = FITS[number % len(FITS)]
    model.fit(X, Y).predict(X, return_std=True)


def resident_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def run(step, number):
    """Call `step` that often: growth in MB and in open files after the first tenth, and
    the time of the last tenth by that of the first."""
    tenth = number // 10
    seconds, marks = [], []
    for part in range(10):
        start = time.process_time()
        for k in range(tenth):
            step(part * tenth + k)
        seconds.append(time.process_time() - start)
        marks.append((resident_mb(), len(os.listdir("/proc/self/fd"))))
    (mb, files), (mb_end, files_end) = marks[0], marks[-1]
    return mb_end - mb, files_end - files, seconds[-1] / seconds[0], sum(seconds)


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="memory is read from Linux's /proc"
)


@pytest.mark.usefixtures("timing")
@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_long_stream(solver):
    megabytes, files, slower, _ = run(batches(solver), N_BATCHES // 5)
    assert megabytes < MOST_MB / 5
    assert files == 0
    assert slower < 2


@pytest.mark.slow
@pytest.mark.usefixtures("timing")
@needs_proc
def test_many_fits():
    megabytes, files, slower, _ = run(fits, N_FITS // 5)
    assert megabytes < MOST_MB / 5
    assert files == 0
    assert slower < 2


def test_a_stream_grows_by_its_curve_alone():
    model = BackpropRegressor((5,), solver="adam", batch_size=20, random_state=0)
    bytes_after = []
    for _ in range(300):
        model.partial_fit(X[:20], Y[:20])
        bytes_after.append(len(pickle.dumps(vars(model))))
    assert len(model.loss_curve_) == 300
    # Nine bytes for a float; and t_ becomes a longer integer.
    assert 900 <= bytes_after[299] - bytes_after[199] <= 905


class Counting(BackpropRegressor):
    """Keeps how often a fit has given the warning of a kind that it gave most often."""

    def fit(self, X, y):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            super().fit(X, y)
        # Of a kind: of one category, and beginning with the same words.
        kinds = Counter((one.category, str(one.message)[:20]) for one in told)
        self.most_told_ = max(kinds.values(), default=0)
        return self


def judgements(estimator, X, y):
    return {"r2": r2_score(y, estimator.predict(X)), "told": estimator.most_told_}


@pytest.mark.slow
def test_a_large_grid_gives_each_warning_once_a_fit():
    grid = [
        {"solver": ["lm"], "n_networks": [3], "max_iter": range(1, 37, 2)},
        {"solver": ["lbfgs"], "alpha": [1.0], "n_networks": [3], "max_iter": range(1, 37, 2)},
        {"solver": ["adam", "sgd"], "n_networks": [3], "max_iter": range(1, 37, 2)},
        {"solver": ["sgd"], "n_networks": [3], "learning_rate_init": np.logspace(0, 8, 20)},
        # With trials of penalties, and of shapes.
        {"solver": ["lbfgs"], "max_iter": range(1, 9, 2)},
        {"hidden_layer_sizes": ["auto"], "max_iter": range(1, 9, 2)},
    ]
    # Few rows for so many units, and an outlier: there is something to tell.
    y = Y.copy()
    y[0] = 1e3
    search = GridSearchCV(
        Counting((8,), random_state=0), grid, scoring=judgements, refit="r2", cv=2, n_jobs=2
    ).fit(X, y)
    told = search.cv_results_["split0_test_told"]
    assert len(told) == 100
    assert max(told) == 1
    assert max(search.cv_results_["split1_test_told"]) == 1
    assert np.isfinite(search.cv_results_["mean_test_r2"]).all()


if __name__ == "__main__":
    for name, step, number in [
        ("partial_fit, sgd", batches("sgd"), N_BATCHES),
        ("partial_fit, adam", batches("adam"), N_BATCHES),
        ("fit", fits, N_FITS),
    ]:
        megabytes, files, slower, seconds = run(step, number)
        print(
            f"{number:6d} {name:18s} {megabytes:+.1f} MB, {files:+d} open files, last tenth "
            f"{slower:.2f} times the first, {seconds:.0f} s"
        )
        if megabytes > MOST_MB or files > 0:
            sys.exit("grows")
