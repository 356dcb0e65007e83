"""`python -m benchmarks speed`: that all do the same work, its bars, its CSV, its picture."""

from __future__ import annotations

import csv
import math
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor

# The checkout, which holds `benchmarks`; last, so that an installed sk_backprop comes first.
sys.path.append(str(Path(__file__).parents[1]))

import benchmarks.__main__ as program
from benchmarks import files, laps, races, searches, speed
from benchmarks.laps import Pair, Setup
from benchmarks.peers import FULL_BATCH, MINI_BATCH, PEERS, Peer
from benchmarks.peers.work import Work
from benchmarks.races import Race
from benchmarks.speed import Row
from sk_backprop import BackpropRegressor

# Runs are cut short here.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

COLUMNS = [
    "row",
    "peer",
    "dtype",
    "ours_median_s",
    "peer_median_s",
    "ratio",
    "bar",
    "repeats",
    "threads",
    "note",
    "versions",
]


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    for name in ("SK_BACKPROP_DATA", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def two_races(monkeypatch):
    """Two races that take no time: ours 1 s on the whole, the peers 3 s and 1.5 s."""

    def prepare(theirs):
        def pair(setup):
            ours = [1.0, 9.0, 1.0, 1.0, 0.5, 1.0, 1.0]
            return Pair(ours.__getitem__, lambda repeat: theirs, note=lambda: "as told")

        return pair

    found = [
        Race("lbfgs-2000", "nnet", "float64", 2.0, prepare(3.0)),
        Race("lbfgs-2000", "mlp", "float64", 4.0, prepare(1.5)),
        Race("adam-50", "jax", "float32", math.nan, prepare(0.25)),
    ]
    monkeypatch.setattr(speed, "races", lambda: found)
    for name in ("nnet", "jax"):
        monkeypatch.setitem(PEERS, name, Peer(PEERS[name].label))
    return found


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(*argv):
    return program.main(["speed", *map(str, argv)])


# --- the same work ---


def small_work(dtype, solver, activation, seed=0):
    """A work whose coordinates are ours already, from given weights.

    In three batches, or all at once where we would compute mini-batches in float32.
    """
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 3))
    y = np.sin(X[:, 0]) + X[:, 1]
    if activation == "tanh":  # what we train in place of sigmoids
        X, y = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
    else:
        X, y = X / np.abs(X).max(axis=0), y / np.abs(y).max()
    sizes = (3, 4, 5, 1)
    start = (
        [rng.normal(size=shape).astype(dtype) for shape in pairwise(sizes)],
        [rng.normal(size=size).astype(dtype) for size in sizes[1:]],
    )
    return Work(
        X.astype(dtype),
        y.astype(dtype),
        (4, 5),
        n_epochs=30 if activation == "tanh" else 10,
        solver=solver,
        batch_size=60 if activation == "tanh" else 20,
        rate=0.01,
        penalty=0.1,
        activation=activation,
        precondition=activation == "tanh",
        shuffle=False,
        start=start,
    )


def flat(weights):
    return np.concatenate([array.ravel() for part in weights for array in part])


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("name", ["mlp", "torch", "torch_fused", "skorch", "jax"])
def test_peer_ends_at_our_weights(name, solver, activation):
    for module in PEERS[name].modules:
        pytest.importorskip(module)
    # Their epsilon is added before the correction of the second moment, or after it.
    tolerance = 1e-5 if solver == "adam" and name in ("torch", "torch_fused", "skorch") else 1e-12
    work = small_work(np.float64, solver, activation)
    ours, train = MINI_BATCH["ours"](work)(), MINI_BATCH[name](work)
    for _ in range(2):  # the second starts anew
        theirs = train()
        assert [W.shape for W in theirs[0]] == [W.shape for W in work.start[0]]
        np.testing.assert_allclose(flat(theirs), flat(ours), rtol=0, atol=tolerance)
    assert np.abs(flat(ours) - flat(work.start)).max() > 0.05
    without = MINI_BATCH["ours"](replace(work, penalty=0.0))()
    assert np.abs(flat(ours) - flat(without)).max() > 1e-3  # the penalty is seen here


@pytest.mark.parametrize("name", ["mlp", "torch", "torch_fused", "skorch", "jax"])
def test_peer_computes_in_float32_and_shuffles(name):
    for module in PEERS[name].modules:
        pytest.importorskip(module)
    work = replace(small_work(np.float32, "adam", "tanh"), batch_size=25)
    coefs, intercepts = MINI_BATCH[name](work)()
    assert {array.dtype for array in [*coefs, *intercepts]} == {np.dtype(np.float32)}
    ours = flat(MINI_BATCH["ours"](replace(work, penalty=0.0))())
    theirs = flat(MINI_BATCH[name](replace(work, penalty=0.0))())
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4)  # ten rows are left at the end
    shuffled = replace(work, shuffle=True, start=None)
    losses = [
        np.mean((evaluate(shuffled, MINI_BATCH[one](shuffled)()) - work.y) ** 2)
        for one in ("ours", name)
    ]
    assert max(losses) < 1.5


def evaluate(work, weights):
    *hidden, last = zip(*weights)
    h = work.X
    for W, b in hidden:
        h = np.tanh(h @ W + b)
    return (h @ last[0] + last[1]).ravel()


@pytest.mark.filterwarnings("ignore:The networks use:UserWarning")  # of two rows
def test_ours_and_mlp_make_all_epochs_whatever_the_loss(monkeypatch):
    made = []

    def noted(fit):
        def fit_and_note(self, X, y):
            made.append(fit(self, X, y).n_iter_)
            return self

        return fit_and_note

    for model in (BackpropRegressor, MLPRegressor):
        monkeypatch.setattr(model, "fit", noted(model.fit))
    X = np.ones((20, 2))
    X[::2] = -1
    work = Work(X, X[:, 0], (2,), n_epochs=40, rate=1e-9)  # there is no progress
    for name in ("ours", "mlp"):
        train = MINI_BATCH[name](replace(work, batch_size=20))
        train()
    assert made == [40, 40]


def test_surface_is_standardised_and_the_same_at_every_call():
    X, y = laps.surface(300, 4, "float32")
    assert X.dtype == y.dtype == np.float32
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose([*X.std(axis=0), y.std()], 1, rtol=1e-5)
    assert np.array_equal(X, laps.surface(300, 4, "float32")[0])


@pytest.mark.parametrize("name", ["mlp", "nnet", "pyrenn"])
def test_peer_on_all_rows_tells_the_loss_that_it_ended_at(name):
    if why := PEERS[name].obstacle():
        pytest.skip(why)  # that program, or R, is not installed: they are no dependencies
    X, y = laps.surface(100, 2)
    # What must be left as it was is the global generator, from which pyrenn draws.
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - pyrenn's
    seconds, loss = FULL_BATCH[name](X, y, 3, 1)
    assert seconds > 0
    assert 0 < loss < 0.9  # a constant has 1
    assert FULL_BATCH[name](X, y, 3, 1)[1] == loss
    assert FULL_BATCH[name](X, y, 3, 2)[1] != loss
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002 - pyrenn's


# --- the shortest run ---


class Stub:
    """A model whose error falls with its iterations, but for those that stop early."""

    def __init__(self, seed, max_iter):
        self.n_iter_ = min(max_iter, 30 if seed < 1000 else max_iter)
        self.error = 100 - self.n_iter_


def test_shortest_run_is_found_and_failed_starts_count():
    assert searches.shortest(Stub, lambda model: model.error <= 93, 2) == ([(2, 7)], True)
    fits, found = searches.shortest(Stub, lambda model: model.error <= 60, 2)
    assert found
    assert [seed for seed, _ in fits] == [2, 1002]  # the first ended at 30 iterations
    assert fits[0][1] > 30
    assert 40 <= fits[1][1] <= 44
    fits, found = searches.shortest(Stub, lambda model: False, 0)
    assert not found
    assert len(fits) == searches.MOST_NETWORKS


def test_ours_reaches_the_loss_of_a_peer(monkeypatch):
    monkeypatch.setitem(FULL_BATCH, "mlp", lambda X, y, n_hidden, seed: (2.0, 0.5 - 0.1 * seed))
    X, y = laps.surface(80, 2)
    pair = searches.same_loss("lm", "mlp", (X, y), 3, Setup(2))
    assert pair.theirs(1) == 2.0
    assert 0 < pair.ours(0) < 2
    n_fewest = [int(n) for n in pair.note().removeprefix("iterations: ").split(", ")]
    for seed, n_iterations in enumerate(n_fewest):
        at = [
            np.mean((one_fit(X, y, seed, n).predict(X) - y) ** 2)
            for n in (n_iterations, n_iterations - 1)
            if n > 0
        ]
        assert at[0] <= 0.5 - 0.1 * seed
        assert at[1:] == [] or at[1] > 0.5 - 0.1 * seed


def one_fit(X, y, seed, max_iter):
    options = {"alpha": 0.0, "tol": 0.0, "n_iter_no_change": np.inf}
    return BackpropRegressor(
        (3,), solver="lm", max_iter=max_iter, random_state=seed, **options
    ).fit(X, y)


def test_error_of_the_uci_row_is_that_of_the_split(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    rows = np.array([rng.permutation(80) for _ in range(2)])
    path = tmp_path / "yacht.npz"
    np.savez(path, X=X, y=X @ [1.0, 2.0], train_idx=rows[:, :60], test_idx=rows[:, 60:])
    pair = searches.same_error("yacht", Setup(3, str(tmp_path)))
    assert "not reached" not in pair.note()
    assert pair.note().count(",") == 2  # a split for each repeat; the third is the first
    assert pair.ours(2) > 0
    assert pair.theirs(2) > 0


# --- the rows and their bars ---

BARS = {
    # MLPRegressor
    **{(f"{solver}-100", "mlp", "float64"): 4 for solver in ("adam", "sgd")},
    **{(f"{solver}-50", "mlp", "float64"): 5 for solver in ("adam", "sgd")},
    **{(f"{solver}-wide", "mlp", "float64"): 2 for solver in ("adam", "sgd")},
    **{
        (f"{solver}-small", "mlp", dtype): 5.5
        for solver in ("adam", "sgd")
        for dtype in ("float32", "float64")
    },
    ("lbfgs-50000", "mlp", "float64"): 6,
    ("lbfgs-2000", "mlp", "float64"): 4,
    ("predict-million", "mlp", "float64"): 3,
    ("predict-one", "mlp", "float64"): 1.2,
    ("overhead-adam", "mlp", "float64"): 1,
    ("overhead-lbfgs", "mlp", "float64"): 1,
    ("grid-search", "mlp", "float64"): 3,
    # PyTorch
    **{(f"adam-{work}", "torch", "float32"): 3 for work in ("100", "50", "small")},
    **{(f"adam-{work}", "torch_fused", "float32"): 2 for work in ("100", "50", "small")},
    ("adam-wide", "torch", "float32"): 1.3,
    ("adam-wide", "torch_fused", "float32"): 1.3,
    # others
    ("lbfgs-2000", "nnet", "float64"): 2,
    ("lm-1000", "pyrenn", "float64"): 10,
    ("lm-step", "dgemm", "float64"): 0.625,
}


def test_rows_and_bars():
    found = races.races()
    keys = [(race.row, race.peer, race.dtype) for race in found]
    assert len({(*key, race.threads) for key, race in zip(keys, found)}) == len(keys)
    assert {race.row for race in found if race.threads == 2} == {"lbfgs-50000", "predict-million"}
    with_bar = {key: race.bar for key, race in zip(keys, found) if not math.isnan(race.bar)}
    assert with_bar == BARS
    assert races.UCI_BAR == 5
    without = {key[:2] for key in keys if key not in BARS}
    assert {key for key in without if key[1] not in ("skorch", "mlp_scaled")} == {
        ("adam-50", "jax"),
        ("lm-step", "dsyrk"),
    }
    assert [race.row for race in found if race.group == "uci"] == [
        "uci yacht",
        "uci bostonHousing",
        "uci energy",
        "uci concrete",
        "uci wine-quality-red",
        "uci kin8nm",
    ]
    assert list(dict.fromkeys(race.group for race in found)) == list(speed.ABOUT)
    assert {race.peer for race in found} == set(PEERS)
    assert set(speed.QUICK) < set(speed.ABOUT)


def test_works_of_the_table():
    assert {
        name: (n, d, rest["hidden"], rest["batch_size"])
        for name, (n, d, rest) in races.WORKS.items()
    } == {
        "100": (20_000, 10, (100,), 200),
        "50": (20_000, 10, (50,), 32),
        "wide": (20_000, 50, (256, 256), 256),
        "small": (500, 8, (50,), 32),
    }


def test_median_over_the_sets_is_what_the_bar_is_for():
    sets = [
        Row(f"uci {name}", "mlp_scaled", "float64", 1.0, ratio, ratio, repeats=5)
        for name, ratio in (("yacht", 9.0), ("energy", 2.0), ("concrete", 4.0))
    ]
    (row,) = speed.over_the_sets([*sets, Row("uciless", "mlp", "float64", ratio=100.0)])
    assert (row.row, row.ratio, row.bar, row.missed) == ("uci", 4.0, 5.0, True)
    assert row.note == "median over 3 sets"
    assert speed.over_the_sets([]) == []


# --- the measurement ---


def test_laps_are_by_turns_and_each_is_timed(monkeypatch):
    order = []
    pair = Pair(
        lambda repeat: order.append(f"ours {repeat}") or 1.0,
        lambda repeat: order.append(f"peer {repeat}") or 2.0,
        n_steps=100,
    )
    row = speed.measure(Race("r", "mlp", "float64", 3.0, lambda setup: pair), Setup(2))
    assert order == ["ours 0", "peer 0", "ours 1", "peer 1"]
    assert (row.ours_median_s, row.peer_median_s, row.ratio, row.missed) == (1.0, 2.0, 2.0, True)
    assert row.note == "us a step: 10000.0, the peer 20000.0"
    assert "sklearn" in row.versions
    assert "kernel" in row.versions
    assert not replace(row, bar=2.0).missed
    assert not replace(row, bar=math.nan).missed
    assert replace(row, ratio=math.nan).missed

    calls = []
    lap = laps.stopwatch(lambda: calls.append(time.sleep(0.01)), times=3)
    assert len(calls) == 1  # warm
    assert 0.01 <= lap(0) < 1
    assert len(calls) == 4


def test_run_writes_rows_and_ends_with_a_table(tmp_path, capsys, two_races):
    path = tmp_path / "rows.csv"
    assert run("--repeats", 5, "--out", path, "--rows", "lbfgs-2000") == 0
    rows = read(path)
    assert list(rows[0]) == COLUMNS
    assert [(r["row"], r["peer"], r["ratio"], r["bar"]) for r in rows] == [
        ("lbfgs-2000", "nnet", "3", "2"),
        ("lbfgs-2000", "mlp", "1.5", "4"),
    ]
    assert {r["note"] for r in rows} == {"as told"}
    out, err = capsys.readouterr()
    assert "threads: 1" in out
    assert err.splitlines() == ["lbfgs-2000, nnet, float64", "lbfgs-2000, mlp, float64"]
    *_, about, first, second, _, last = out.splitlines()
    assert about == f"lbfgs-2000: {speed.ABOUT['lbfgs-2000']}"
    assert first.split() == ["R", "nnet", "float64", "1", "s", "3", "s", "3.00", "2"]
    assert second.split() == ["MLPRegressor", "float64", "1", "s", "1.5", "s", "1.50", "4", "<"]
    assert last == "1 of 2 bars missed"
    assert files.read(str(path), Row) == [
        Row(**r | {n: type(getattr(Row("", "", ""), n))(r[n]) for n in COLUMNS[3:9]}) for r in rows
    ]


def test_csv_is_read_as_it_was_written(tmp_path):
    rows = [
        Row("adam-50", "jax", "float32", 0.000123456, 1.5, 12150.1, repeats=5, note="a, b"),
        Row("uci", "mlp_scaled", "float64", ratio=7.0, bar=5.0, versions="x; y"),
    ]
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([files.columns(Row), *(files.cells(row) for row in rows)])
    assert repr(files.read(str(path), Row)) == repr(rows)


def test_whoever_is_missing_is_skipped_with_a_message(tmp_path, two_races, monkeypatch, capsys):
    monkeypatch.setitem(PEERS, "jax", Peer("JAX", {"no_such_package": "none"}))
    monkeypatch.setitem(PEERS, "nnet", Peer("R nnet", r_package="nnet"))
    monkeypatch.setattr("shutil.which", lambda name: None)
    two_races += [
        Race("uci yacht", "mlp_scaled", "float64", math.nan, two_races[0].prepare),
        Race("uci kin8nm", "mlp_scaled", "float64", math.nan, two_races[0].prepare),
    ]
    path = tmp_path / "rows.csv"
    assert run("--out", path) == 0
    assert [row["peer"] for row in read(path)] == ["mlp"]
    said = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert said == [
        "nnet skipped: Rscript is not installed",
        "jax skipped: no_such_package is not installed",
        "uci skipped: it needs --data",
    ]
    (tmp_path / "kin8nm.npz").touch()
    assert run("--data", tmp_path, "--out", path, "--rows", "uci") == 0
    assert [(row["row"], row["bar"]) for row in read(path)] == [("uci kin8nm", ""), ("uci", "5")]
    assert f"uci yacht skipped: {tmp_path} has no yacht.npz" in capsys.readouterr().err


def test_peers_name_the_packages_they_need():
    assert PEERS["torch"].modules == PEERS["torch_fused"].modules == {"torch": "torch"}
    assert list(PEERS["skorch"].modules) == ["skorch", "torch"]
    assert PEERS["nnet"].r_package == "nnet"
    assert list(Peer("numpy", {"numpy": "numpy"}).versions()) == [f"numpy {np.__version__}"]


def test_settings_that_slow_blas_down_are_told(two_races, monkeypatch, capsys):
    assert run("--rows", "adam-50") == 0
    assert "Note" not in capsys.readouterr().err
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert run("--rows", "adam-50") == 0
    text = "Note: OPENBLAS_CORETYPE slow numpy down; unset them to measure time.\n"
    assert text in capsys.readouterr().err


# --- the picture ---


def test_picture_is_drawn_from_a_csv(tmp_path, two_races, capsys):
    pytest.importorskip("matplotlib")
    from benchmarks import speed_picture

    rows = [
        Row("adam-50", "mlp", "float64", 1.0, 6.0, 6.0, 5.0, 5),
        Row("adam-50", "jax", "float32", 1.0, 0.25, 0.25, math.nan, 5),
        Row("uci yacht", "mlp_scaled", "float64", 1.0, 7.0, 7.0, math.nan, 5),
        Row("uci", "mlp_scaled", "float64", ratio=4.5, bar=5.0, repeats=5),
    ]
    colors = [speed_picture.color(row) for row in rows]
    assert colors == [
        speed_picture.AT_BAR,
        speed_picture.REFERENCE,
        speed_picture.REFERENCE,
        speed_picture.MISSED,
    ]
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([files.columns(Row), *(files.cells(row) for row in rows)])
    assert run("--from-csv", path, "--plot", tmp_path / "all.png") == 0
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    assert "1 of 2 bars missed" in capsys.readouterr().out
    assert run("--from-csv", path, "--rows", "uci", "--plot", tmp_path / "uci.svg") == 0
    assert "<svg" in (tmp_path / "uci.svg").read_text(encoding="utf-8")
    assert "JAX" not in capsys.readouterr().out
    assert run("--from-csv", path, "--rows", "sgd-50", "--plot", tmp_path / "no.png") == 2
    assert "there are none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--rows", "adam-51"], "--rows"),
        (["--repeats", "4"], "4 is less than 5"),
        (["--plot", "picture.bmp"], "--plot"),
    ],
)
def test_values_refused(capsys, argv, named):
    with pytest.raises(SystemExit) as stopped:
        run(*argv)
    assert stopped.value.code == 2
    assert named in capsys.readouterr().err


# --- the guard ---


def fastest(pair, n_laps=4):
    """The least seconds of ours and of the peer, by turns: noise only adds."""
    return np.min([(pair.ours(lap), pair.theirs(lap)) for lap in range(n_laps)], axis=0)


# Ratios that were seen. Each may fall to a fifth, on a busy machine or an old one.
SEEN = {"adam": 5.2, "sgd": 5.1, "lbfgs": 1.8, "predict": 2.2, "lm": 1.0}


@pytest.mark.usefixtures("timing")
@pytest.mark.parametrize("what", ["adam", "sgd", "lbfgs", "predict"])
def test_a_slowdown_by_an_order_of_magnitude_is_seen(what):
    X, y = laps.surface(400 if what in ("adam", "sgd") else 5000, 8)
    if what in ("adam", "sgd"):
        # So few units that the residuals show the noise: the fit trains no other network.
        work = Work(X, y, (8,), n_epochs=50, batch_size=32, solver=what)
        runs = [MINI_BATCH[name](work) for name in ("ours", "mlp")]
    else:
        options = {"solver": "lbfgs", "alpha": 1.0, "max_iter": 20, "random_state": 0}
        models = [
            BackpropRegressor((50,), **options).fit(X, y),
            MLPRegressor(hidden_layer_sizes=(50,), activation="logistic", **options).fit(X, y),
        ]
        given = (np.tile(X, (10, 1)),) if what == "predict" else (X, y)
        runs = [
            partial(model.predict if what == "predict" else model.fit, *given) for model in models
        ]
    ours, theirs = fastest(Pair(*(laps.stopwatch(one) for one in runs)))
    assert theirs / ours > SEEN[what] / 5


@pytest.mark.usefixtures("timing")
def test_slowdown_of_levenberg_marquardt_is_seen():
    """Its steps, beside the product of matrices of which they are made."""
    X, y = laps.surface(4000, 8)
    options = {"solver": "lm", "alpha": 1.0, "tol": 0.0, "n_iter_no_change": np.inf}
    J = np.asfortranarray(np.random.default_rng(0).normal(size=(4000, 201)))

    def fit(max_iter):
        model = BackpropRegressor((20,), max_iter=max_iter, random_state=0, **options)
        return laps.timed(lambda: model.fit(X, y))

    fit(1)
    pair = Pair(lambda _lap: (fit(8) - fit(2)) / 6, laps.stopwatch(lambda: races._dgemm(J)))
    ours, theirs = fastest(pair)
    assert theirs / ours > SEEN["lm"] / 5
