"""Time beside peers that do the same work: the ratio of medians."""

from __future__ import annotations

import argparse
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy.linalg.blas import dgemm
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import scale
from threadpoolctl import threadpool_limits

from benchmarks import BenchmarkError, accuracy, drawing, problems
from benchmarks.peers import MINI_BATCH, Work
from benchmarks.problems import Problem, surface
from benchmarks.timing import Lap, environment, stopwatch, timed
from sk_backprop import BackpropRegressor

# Training by mini-batches: {name: (n_samples, n_features), and the rest of the work}; epochs for a
# lap of 0.1 to 2 s.
WORKS: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "100": ((20_000, 10), {"hidden": (100,), "batch_size": 200, "n_epochs": 20}),
    "50": ((20_000, 10), {"hidden": (50,), "batch_size": 32, "n_epochs": 10}),
    "wide": ((20_000, 50), {"hidden": (256, 256), "batch_size": 256, "n_epochs": 5}),
    "small": ((500, 8), {"hidden": (50,), "batch_size": 32, "n_epochs": 200}),
}
# {name of --rows: what it is}
ABOUT = {
    f"{solver}-{name}": f"{solver}, {n:,} x {m}, {work['hidden']}, batch {work['batch_size']}"
    for solver in ("adam", "sgd")
    for name, ((n, m), work) in WORKS.items()
} | {
    "lbfgs-50000": "lbfgs, 50,000 x 10, (50,), 30 iterations",
    "lbfgs-2000": "lbfgs, 2,000 x 8, (20,), to the peer's training loss",
    "lm-step": "lm, an iteration, 40,000 rows, 551 parameters",
    "uci": "lm, to the test error of the peer's default fit, six UCI sets",
    "predict-million": "predict, 1,000,000 x 20, (100,)",
    "predict-one": "predict, one row",
    "overhead-adam": "adam, 50 x 4, one iteration",
    "overhead-lbfgs": "lbfgs, 50 x 4, one iteration",
    "grid-search": "GridSearchCV, diabetes, lbfgs, 24 candidates, 5 folds, n_jobs=2",
}
QUICK = ("adam-small", "sgd-small", "predict-one", "overhead-adam", "overhead-lbfgs")
PEERS = {
    "mlp": "MLPRegressor",
    "mlp_scaled": "MLPRegressor, scaled",
    "torch": "PyTorch, plain loop",
    "torch_fused": "PyTorch, fused Adam",
    "jax": "JAX, lax.scan",
    "dgemm": "dgemm",
}
PACKAGES = {"torch": "torch", "torch_fused": "torch", "jax": "jax"}


@dataclass(frozen=True)
class Row:
    """Ours and a peer.

    `ratio` is the peer's median over ours: higher is better. `threads` are those of BLAS, for both.
    `note` describes the work, `versions` the programs.
    """

    row: str
    peer: str
    dtype: str
    ours_median_s: float = math.nan
    peer_median_s: float = math.nan
    ratio: float = math.nan
    repeats: int = 0
    threads: int = 1
    note: str = ""
    versions: str = ""

    @property
    def name(self) -> str:
        """What --rows calls it."""
        return self.row.split()[0]

    @property
    def label(self) -> str:
        """The peer, and what tells this row from others of its name."""
        threads = f"{self.threads} threads" if self.threads > 1 else self.dtype
        of_uci = self.row.partition(" ")[2] or ("median" if self.row == "uci" else threads)
        return f"{PEERS[self.peer]}, {of_uci}"


# Laps of ours and of the peer, and what is to be told of them.
Pair: TypeAlias = tuple[Lap, Lap, str]


class Race(NamedTuple):
    """A row to be measured.

    threads : int, of BLAS, for both; most of these matrices are too small for more than one
    """

    row: str
    peer: str
    dtype: str
    prepare: Callable[[], Pair]
    threads: int = 1


# --- what is run ---

_ALL_ITERATIONS: dict[str, Any] = {"tol": 0.0, "n_iter_no_change": np.inf}


def _mini_batches(solver: str, name: str, dtype: str, peer: str) -> Pair:
    shape, rest = WORKS[name]
    work = Work(*surface(*shape, dtype), solver=solver, **rest)
    n_steps = work.n_epochs * -(-shape[0] // work.batch_size)
    ours, theirs = (stopwatch(MINI_BATCH[who](work)) for who in ("ours", peer))
    return ours, theirs, f"{n_steps:,} steps"


def _both(hidden: tuple[int, ...], ours: dict[str, Any], **shared: Any) -> list[Any]:
    """BackpropRegressor, with parameters that it alone has, and MLPRegressor."""
    shared |= {"hidden_layer_sizes": hidden, "random_state": 0}
    return [BackpropRegressor(**shared | ours), MLPRegressor(activation="logistic", **shared)]


def _lbfgs() -> Pair:
    X, y = surface(50_000, 10)
    models = _both((50,), _ALL_ITERATIONS, solver="lbfgs", alpha=1e-4, max_iter=30, tol=0.0)
    laps = [stopwatch(partial(model.fit, X, y)) for model in models]
    return *laps, "{} iterations, the peer {}".format(*(model.n_iter_ for model in models))


def lm_steps(n_rows: int, n_features: int, n_hidden: int, first: int, last: int) -> Lap:
    """The seconds of an iteration of lm, by fits that end after `first` and after `last`."""
    X, y = surface(n_rows, n_features)

    def fit(max_iter: int) -> float:
        options = _ALL_ITERATIONS | {"alpha": 1.0, "max_iter": max_iter, "random_state": 0}
        return timed(lambda: BackpropRegressor((n_hidden,), solver="lm", **options).fit(X, y))

    fit(1)
    return lambda _repeat: (fit(last) - fit(first)) / (last - first)


def product(n_rows: int, n_params: int) -> Lap:
    """The seconds of the product J.T @ J, of which such an iteration is made."""
    J = np.asfortranarray(np.random.default_rng(0).normal(size=(n_rows, n_params)))
    return stopwatch(lambda: dgemm(1.0, J, J, trans_a=True))


def _lm_step() -> Pair:
    # 551 parameters: 9 * 50 + 50 weights into the hidden units, 50 + 1 out of them.
    return lm_steps(40_000, 9, 50, 2, 7), product(40_000, 551), ""


def _predict(n_rows: int, times: int) -> Pair:
    X = np.random.default_rng(1).normal(size=(n_rows, 20))
    models = _both((100,), {}, solver="lbfgs", max_iter=5)
    fitted = [model.fit(*surface(500, 20)) for model in models]
    return *(stopwatch(partial(model.predict, X), times) for model in fitted), ""


def _overhead(solver: str) -> Pair:
    # With alpha="auto" ours would be several fits; an iteration of adam is one step, as theirs.
    ours = {"batch_size": 50} if solver == "adam" else {}
    models = _both((20,), ours, solver=solver, alpha=1e-4, max_iter=1)
    return *(stopwatch(partial(model.fit, *surface(50, 4)), 50) for model in models), ""


def _grid_search() -> Pair:
    """A grid on the diabetes data by two processes; each stops by its own `tol`."""
    X, y = (scale(values) for values in load_diabetes(return_X_y=True))
    shapes, alphas = [(5,), (10,), (20,)], [0.01, 0.1, 1.0, 10.0]
    grid = {"hidden_layer_sizes": shapes, "alpha": alphas, "activation": ["logistic", "tanh"]}
    models = _both((20,), {}, solver="lbfgs", max_iter=200)
    searches = [GridSearchCV(model, grid, cv=5, n_jobs=2) for model in models]
    laps = [stopwatch(partial(search.fit, X, y)) for search in searches]
    return *laps, "best R2 {:.3f}, of the peer {:.3f}".format(*(s.best_score_ for s in searches))


# --- the shortest run that is good enough ---
#
# It is found beforehand, by fits of more and more iterations. What is timed are fits that stop
# there. A network that ends above what is asked for is followed by one from other weights, and
# the time of both counts.

Fit: TypeAlias = Callable[[int, int], Any]  # (seed, max_iter) -> a fitted estimator
MOST_ITERATIONS, MOST_NETWORKS = 1000, 5


def shortest(
    fit: Fit, good: Callable[[Any], bool], seed: int
) -> tuple[list[tuple[int, int]], bool]:
    """(seed, max_iter) of the fits that it takes, and whether the last one is good."""
    fits: list[tuple[int, int]] = []
    for network_seed in range(seed, seed + 1000 * MOST_NETWORKS, 1000):
        n = 1
        while n <= MOST_ITERATIONS:
            model = fit(network_seed, n)
            if good(model):
                return [*fits, (network_seed, n)], True
            if model.n_iter_ < n:
                break
            n += max(1, n // 10)  # the fewest is found to a tenth
        fits.append((network_seed, n))
    return fits, False


def _shortest_runs(
    repeats: int, fit: Fit, fit_peer: Callable[[int], Any], error: Callable[[Any, int], float]
) -> Pair:
    """Ours until its error is at or below that of a peer, with a seed for each repeat."""
    plans, missed = [], 0
    for repeat in range(repeats):
        target = error(fit_peer(repeat), repeat)
        fits, found = shortest(fit, partial(_reaches, error, repeat, target), repeat)
        plans.append(fits)
        missed += not found
    note = "iterations: " + ", ".join("+".join(str(n) for _, n in fits) for fits in plans)
    note += f"; {missed} not reached" if missed else ""

    def ours(repeat: int) -> float:
        return timed(lambda: [fit(*one) for one in plans[repeat]])

    return ours, lambda repeat: timed(lambda: fit_peer(repeat)), note


def _reaches(error: Callable[[Any, int], float], repeat: int, target: float, model: Any) -> bool:
    return error(model, repeat) <= target


def same_loss(repeats: int, n_samples: int = 2000) -> Pair:
    """Lbfgs until its training loss is at or below the one that MLPRegressor ends at.

    There is no penalty: it would be on weights of tanh in the one, of sigmoids in the other.
    """
    X, y = surface(n_samples, 8)
    options = {"solver": "lbfgs", "alpha": 0.0}

    def fit(seed: int, max_iter: int) -> Any:
        given = options | _ALL_ITERATIONS | {"max_iter": max_iter}
        return BackpropRegressor((20,), random_state=seed, **given).fit(X, y)

    def fit_peer(seed: int) -> Any:
        _, mlp = _both((20,), {}, **options)
        return mlp.set_params(random_state=seed).fit(X, y)

    def error(model: Any, _repeat: int) -> float:
        return float(np.mean((model.predict(X) - y) ** 2))

    return _shortest_runs(repeats, fit, fit_peer, error)


def same_error(repeats: int, data: str | None, name: str) -> Pair:
    """One network by lm until it predicts test rows as well as a scaled MLPRegressor.

    A split for each repeat.
    """
    splits = problems.load(data, [name], repeats)

    def split(seed: int) -> Problem:
        return splits[seed % 1000 % len(splits)]

    def fit(seed: int, max_iter: int) -> Any:
        options = {"max_iter": max_iter, "random_state": seed}
        model = BackpropRegressor((20,), solver="lm", n_networks=1, **options)
        return model.fit(split(seed).X_train, split(seed).y_train)

    def fit_peer(seed: int) -> Any:
        return accuracy.mlp_scaled(split(seed)).fit(split(seed).X_train, split(seed).y_train)

    def error(model: Any, repeat: int) -> float:
        y = split(repeat).y_test
        return float(root_mean_squared_error(y, model.predict(split(repeat).X_test)))

    return _shortest_runs(repeats, fit, fit_peer, error)


# --- all of them ---

UCI = ("yacht", "bostonHousing", "energy", "concrete", "wine-quality-red", "kin8nm")


def races(repeats: int, data: str | None) -> Iterator[Race]:
    """In the order of the table."""
    double, single = "float64", "float32"
    for solver in ("adam", "sgd"):
        for name in WORKS:
            entries = [("mlp", double)] + ([("mlp", single)] if name == "small" else [])
            if solver == "adam":
                entries += [("torch", single), ("torch_fused", single)]
                entries += [("jax", single)] if name == "50" else []
            for peer, dtype in entries:
                prepare = partial(_mini_batches, solver, name, dtype, peer)
                yield Race(f"{solver}-{name}", peer, dtype, prepare)
    for threads in (1, 2):
        yield Race("lbfgs-50000", "mlp", double, _lbfgs, threads)
    yield Race("lbfgs-2000", "mlp", double, partial(same_loss, repeats))
    yield Race("lm-step", "dgemm", double, _lm_step)
    for name in UCI:
        yield Race(f"uci {name}", "mlp_scaled", double, partial(same_error, repeats, data, name))
    for threads in (1, 2):
        yield Race("predict-million", "mlp", double, partial(_predict, 1_000_000, 1), threads)
    yield Race("predict-one", "mlp", double, partial(_predict, 1, 500))
    for solver in ("adam", "lbfgs"):
        yield Race(f"overhead-{solver}", "mlp", double, partial(_overhead, solver))
    yield Race("grid-search", "mlp", double, _grid_search)


def obstacle(race: Race, data: str | None) -> str:
    """Why it cannot be run, or ''."""
    if (os.cpu_count() or 1) < race.threads:
        return f"{race.row} with {race.threads} threads skipped: there are not so many cores"
    name, _, of_uci = race.row.partition(" ")
    if of_uci and data is None:
        return f"{name} skipped: it needs --data"
    if of_uci and not Path(str(data), f"{of_uci}.npz").is_file():
        return f"{race.row} skipped: {data} has no {of_uci}.npz"
    package = PACKAGES.get(race.peer)
    if package and find_spec(package) is None:
        return f"{race.peer} skipped: {package} is not installed"
    return ""


def measure(race: Race, repeats: int) -> Row:
    """Run it: ours, the peer, ours, the peer, ..."""
    with warnings.catch_warnings(), threadpool_limits(race.threads):
        # Runs are cut short on purpose, so that both do the same work.
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours, theirs, note = race.prepare()
        laps = [(ours(repeat), theirs(repeat)) for repeat in range(repeats)]
        versions = environment().splitlines()
    if package := PACKAGES.get(race.peer):
        versions.append(f"{package} {version(package)}")
    mine, other = (float(seconds) for seconds in np.median(laps, axis=0))
    how = repeats, race.threads, note, "; ".join(versions)
    return Row(*race[:3], mine, other, other / mine, *how)


def over_the_sets(rows: Sequence[Row]) -> list[Row]:
    """The median of the ratios of the UCI sets, as a row."""
    if not (sets := [row for row in rows if row.row.startswith("uci ")]):
        return []
    ratio, note = float(np.median([row.ratio for row in sets])), f"median over {len(sets)} sets"
    none = math.nan
    return [
        replace(sets[-1], row="uci", ours_median_s=none, peer_median_s=none, ratio=ratio, note=note)
    ]


def add_options(parser: argparse.ArgumentParser) -> None:
    problems.add_data_option(parser)
    text = f"any of {', '.join(ABOUT)} (default: all)"
    parser.add_argument("--rows", metavar="NAME", nargs="+", choices=ABOUT, help=text)
    text = "runs of ours and of a peer, by turns (default: 7, with --quick 5)"
    parser.add_argument("--repeats", metavar="N", type=problems.positive, help=text)
    text = f"{', '.join(QUICK)}, unless other options say more"
    parser.add_argument("--quick", action="store_true", help=text)


def run(args: argparse.Namespace) -> Iterator[Row]:
    """Measure the selected rows in order; print to standard error which cannot be run."""
    names = args.rows or (QUICK if args.quick else list(ABOUT))
    repeats = args.repeats or (5 if args.quick else 7)
    rows, named = [], set()
    for race in races(repeats, args.data):
        if race.row.split()[0] not in names:
            continue
        if not (why := obstacle(race, args.data)):
            print(f"{race.row}, {race.peer}, {race.dtype}", file=sys.stderr, flush=True)
            rows.append(measure(race, repeats))
            yield rows[-1]
        elif why not in named:
            print(why, file=sys.stderr, flush=True)
            named.add(why)
    yield from over_the_sets(rows)


# --- the table and the picture ---


def in_order(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """{name: its rows}, in the order of `ABOUT`; of the UCI sets the median is last.

    What an earlier version of this command has measured beside other peers is left out.
    """
    rows = [row for row in rows if row.peer in PEERS]
    groups = {name: [row for row in rows if row.name == name] for name in ABOUT}
    return {name: found for name, found in groups.items() if found}


def summarize(rows: Sequence[Row]) -> str:
    """A line for each peer."""
    lines = ["Ratio: the peer's median time over ours, higher is better.", ""]
    lines.append(f"{'':<42} {'ours':>11} {'peer':>11} {'ratio':>8}")
    for name, found in in_order(rows).items():
        lines.append(f"{name}: {ABOUT[name]}")
        for row in found:
            ours, peer = _seconds(row.ours_median_s), _seconds(row.peer_median_s)
            lines.append(f"  {row.label:<40} {ours:>11} {peer:>11} {row.ratio:>8.2f}")
    return "\n".join(line.rstrip() for line in lines)


def _seconds(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.3g} ms"


# {race: its label in the picture}, which compares it with the best-known peers.
DRAWN = {
    "adam-50": "train by Adam: 50 units, 20,000 rows, batches of 32",
    "adam-wide": "train by Adam: 256 and 256 units, 20,000 rows",
    "lbfgs-50000": "train by L-BFGS: 50 units, 50,000 rows",
    "uci": "train until the test error is that of the other (six data sets)",
    "predict-million": "predict a million rows",
    "overhead-adam": "fit 50 rows by one iteration (ours also estimates the noise)",
    "grid-search": "search over a grid: 24 settings, diabetes",
}
DRAWN_PEERS = {
    "mlp": "MLPRegressor",
    "mlp_scaled": "MLPRegressor, scaled",
    "torch_fused": "PyTorch",
    "jax": "JAX, compiled",
}


def draw(rows: Sequence[Row]) -> Any:
    """A bar for each kind of work in `DRAWN` and each peer, from 1 to the ratio."""
    rows = [row for row in rows if row.ratio > 0 and row.peer in DRAWN_PEERS]
    rows = [row for row in rows if row.row in DRAWN and (row.threads == 1 or "grid" in row.row)]
    groups = {name: [row for row in rows if row.row == name] for name in DRAWN}
    groups = {name: found for name, found in groups.items() if found}
    if not groups:
        raise BenchmarkError(f"--plot draws ratios of {', '.join(DRAWN)}, and there are none")
    n_lines = sum(len(found) + 1 for found in groups.values())
    figure = drawing.figure(8, 1.1 + 0.29 * n_lines)
    axes = figure.subplots()
    # A log axis on which all ratios, and the numbers beside them, have room.
    ratios = [row.ratio for found in groups.values() for row in found]
    low, high = min(0.5, *ratios) / 2.2, max(2.0, *ratios) * 4
    axes.set(xscale="log", xlim=(low, high), ylim=(n_lines - 0.4, -0.6))
    white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    heading: dict[str, Any] = {"fontsize": 11, "va": "center", "weight": "bold", "bbox": white}
    labels: dict[int, str] = {}
    line = 0
    for name, found in groups.items():
        axes.text(0.0, line, f" {DRAWN[name]}", **heading, transform=axes.get_yaxis_transform())
        for row in found:
            line += 1
            labels[line] = DRAWN_PEERS[row.peer]
            _bar(axes, line, row.ratio)
        line += 1
    axes.set_yticks(list(labels), list(labels.values()))
    ticks = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
    drawing.number_ticks(axes, tuple(tick for tick in ticks if low <= tick <= high))
    axes.set_xlabel(
        "\u2190 slower       time of the other / time of BackpropRegressor       faster \u2192"
    )
    axes.axvline(1.0, color="black", lw=0.9, zorder=1)
    axes.grid(axis="x", color=drawing.LIGHT, lw=0.6, zorder=0)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(labelsize=11)
    axes.xaxis.label.set_fontsize(11)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _bar(axes: Any, line: int, ratio: float) -> None:
    """A bar and what it says: how many times as fast, or slower."""
    slower = ratio < 1
    axes.barh(line, ratio - 1, left=1, height=0.72, color=drawing.COLORS[1 + slower], zorder=2)
    text = f"{1 / ratio:.2g} times slower" if slower else f"{ratio:.2g} times faster"
    place: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "fontsize": 10}
    axes.annotate(text, (max(ratio, 1.0), line), va="center_baseline", **place)
