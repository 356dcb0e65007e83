"""`python -m benchmarks speed`: that all do the same work, what is timed, table and picture."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

# The checkout, which holds `benchmarks`; last, so that an installed sk_backprop comes first.
sys.path.append(str(Path(__file__).parents[1]))

import benchmarks.__main__ as program
from benchmarks import problems, speed, table, timing
from benchmarks.peers import MINI_BATCH, Work
from benchmarks.speed import Race, Row
from sk_backprop import BackpropRegressor

# Runs are cut short here.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv("SK_BACKPROP_DATA", raising=False)


@pytest.fixture
def instant(monkeypatch):
    """Races that take no time: ours 1 s on the whole, the peers 3 s, 1.5 s and 0.25 s."""

    def prepare(theirs):
        ours = [1.0, 9.0, 1.0, 1.0, 0.5, 1.0, 1.0]
        return lambda: (ours.__getitem__, lambda repeat: theirs, "as told")

    found = [
        Race("lbfgs-2000", "dgemm", "float64", prepare(3.0)),
        Race("lbfgs-2000", "mlp", "float64", prepare(1.5), 2),
        Race("adam-50", "jax", "float32", prepare(0.25)),
        Race("uci yacht", "mlp_scaled", "float64", prepare(3.0)),
        Race("uci kin8nm", "mlp_scaled", "float64", prepare(3.0)),
    ]
    monkeypatch.setattr(speed.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(speed, "races", lambda repeats, data: found)


def run(*argv):
    return program.main(["speed", *map(str, argv)])


def read(path):
    return table.read(str(path), Row)


# --- the same work ---


def small_work(dtype, solver, activation):
    """A work whose coordinates are ours already, from given weights.

    In three batches, or all at once where we would compute mini-batches in float32.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = np.sin(X[:, 0]) + X[:, 1]
    of_tanh = activation == "tanh"  # what we train in place of sigmoids
    if of_tanh:
        X, y = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
    else:
        X, y = X / np.abs(X).max(axis=0), y / np.abs(y).max()
    sizes = (3, 4, 5, 1)
    coefs = [rng.normal(size=shape).astype(dtype) for shape in pairwise(sizes)]
    options = {"solver": solver, "activation": activation, "precondition": of_tanh}
    return Work(
        X.astype(dtype),
        y.astype(dtype),
        (4, 5),
        n_epochs=30 if of_tanh else 10,
        batch_size=60 if of_tanh else 20,
        rate=0.01,
        penalty=0.1,
        shuffle=False,
        start=(coefs, [rng.normal(size=size).astype(dtype) for size in sizes[1:]]),
        **options,
    )


def flat(weights):
    return np.concatenate([array.ravel() for part in weights for array in part])


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
@pytest.mark.parametrize(
    ("name", "solver"),
    [("mlp", "adam"), ("mlp", "sgd"), ("torch", "adam"), ("torch_fused", "adam"), ("jax", "adam")],
)
def test_peer_ends_at_our_weights(name, solver, activation):
    if name != "mlp":
        pytest.importorskip(speed.PACKAGES[name])
    # PyTorch's epsilon is added before the correction of the second moment.
    tolerance = 1e-5 if name.startswith("torch") else 1e-12
    work = small_work(np.float64, solver, activation)
    ours, train = MINI_BATCH["ours"](work)(), MINI_BATCH[name](work)
    for _ in range(2):  # the second starts anew
        theirs = train()
        assert [W.shape for W in theirs[0]] == [W.shape for W in work.start[0]]
        np.testing.assert_allclose(flat(theirs), flat(ours), rtol=0, atol=tolerance)
    assert np.abs(flat(ours) - flat(work.start)).max() > 0.05
    without = MINI_BATCH["ours"](replace(work, penalty=0.0))()
    assert np.abs(flat(ours) - flat(without)).max() > 1e-3  # the penalty is seen here


@pytest.mark.parametrize("name", ["mlp", "torch", "torch_fused", "jax"])
def test_peer_computes_in_float32_and_shuffles(name):
    if name != "mlp":
        pytest.importorskip(speed.PACKAGES[name])
    work = replace(small_work(np.float32, "adam", "tanh"), batch_size=25, penalty=0.0)
    ours, theirs = (MINI_BATCH[who](work)() for who in ("ours", name))
    assert {array.dtype for part in theirs for array in part} == {np.dtype(np.float32)}
    np.testing.assert_allclose(flat(theirs), flat(ours), rtol=0, atol=1e-4)  # the last: ten rows
    shuffled = replace(work, shuffle=True)
    assert np.abs(flat(MINI_BATCH[name](shuffled)()) - flat(theirs)).max() > 1e-4
    *hidden, (last, b_last) = zip(*MINI_BATCH[name](replace(shuffled, start=None))())
    h = work.X
    for W, b in hidden:
        h = np.tanh(h @ W + b)
    assert np.mean(((h @ last + b_last).ravel() - work.y) ** 2) < 1.5


# --- the shortest run ---


class Stub:
    """A model whose error falls with its iterations, but for those that stop early."""

    def __init__(self, seed, max_iter):
        self.n_iter_ = min(max_iter, 30 if seed < 1000 else max_iter)
        self.error = 100 - self.n_iter_


def test_shortest_run_is_found_and_failed_starts_count():
    assert speed.shortest(Stub, lambda model: model.error <= 93, 2) == ([(2, 7)], True)
    fits, found = speed.shortest(Stub, lambda model: model.error <= 60, 2)
    assert found
    assert [seed for seed, _ in fits] == [2, 1002]  # the first ended at 30 iterations
    assert fits[0][1] > 30
    assert 40 <= fits[1][1] <= 44
    fits, found = speed.shortest(Stub, lambda model: False, 0)
    assert not found
    assert len(fits) == speed.MOST_NETWORKS


@pytest.mark.slow
def test_ours_reaches_the_loss_of_a_peer():
    ours, theirs, note = speed.same_loss(2, n_samples=80)
    assert ours(0) > 0
    assert theirs(1) > 0
    X, y = problems.surface(80, 8)
    _, mlp = speed._both((20,), {}, solver="lbfgs", alpha=0.0)
    for seed, words in enumerate(note.removeprefix("iterations: ").split(", ")):
        target = np.mean((mlp.set_params(random_state=seed).fit(X, y).predict(X) - y) ** 2)
        *_, n_iterations = map(int, words.split("+"))
        network = seed + 1000 * words.count("+")
        options = {"alpha": 0.0, "tol": 0.0, "n_iter_no_change": np.inf, "random_state": network}
        at = [
            np.mean(
                (
                    BackpropRegressor((20,), solver="lbfgs", max_iter=n, **options)
                    .fit(X, y)
                    .predict(X)
                    - y
                )
                ** 2
            )
            for n in (n_iterations, n_iterations - max(1, n_iterations // 9))
        ]
        assert at[0] <= target < at[1]


def test_error_of_the_uci_row_is_that_of_the_split(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2))
    rows = np.array([rng.permutation(80) for _ in range(2)])
    path = tmp_path / "yacht.npz"
    np.savez(path, X=X, y=X @ [1.0, 2.0], train_idx=rows[:, :60], test_idx=rows[:, 60:])
    ours, theirs, note = speed.same_error(3, str(tmp_path), "yacht")
    assert "not reached" not in note
    assert note.count(",") == 2  # a split for each repeat; the third is the first
    assert ours(2) > 0
    assert theirs(2) > 0


# --- the measurement ---


def test_laps_are_by_turns_and_each_is_timed():
    order = []

    def ours(repeat):
        order.append(f"ours {repeat}")
        return 1.0

    def theirs(repeat):
        order.append(f"peer {repeat}")
        return 2.0

    race = Race("r", "mlp", "float64", lambda: (ours, theirs, ""))
    row = speed.measure(race, 2)
    assert order == ["ours 0", "peer 0", "ours 1", "peer 1"]
    assert (row.ours_median_s, row.peer_median_s, row.ratio) == (1.0, 2.0, 2.0)
    assert "sklearn" in row.versions
    assert "kernel" in row.versions

    calls = []
    lap = timing.stopwatch(lambda: calls.append(time.sleep(0.01)), times=3)
    assert len(calls) == 1  # warm
    assert 0.01 <= lap(0) < 1
    assert len(calls) == 4


@pytest.mark.slow
def test_every_race_has_its_line_in_the_table_and_prepares_two_laps():
    found = list(speed.races(1, None))
    assert list(dict.fromkeys(race.row.split()[0] for race in found)) == list(speed.ABOUT)
    assert {race.peer for race in found} == set(speed.PEERS)
    assert len({(*race[:3], race.threads) for race in found}) == len(found)
    small = [race for race in found if race.row in ("adam-small", "overhead-lbfgs", "predict-one")]
    for race in small:
        if race.peer == "mlp":
            assert speed.measure(race, 1).ratio > 0


def test_run_writes_rows_and_ends_with_a_table(tmp_path, capsys, instant):
    path = tmp_path / "rows.csv"
    assert run("--repeats", 5, "--out", path, "--rows", "lbfgs-2000") == 0
    rows = [(row.row, row.peer, row.ratio, row.note, row.threads) for row in read(path)]
    assert rows == [
        ("lbfgs-2000", "dgemm", 3.0, "as told", 1),
        ("lbfgs-2000", "mlp", 1.5, "as told", 2),
    ]
    out, err = capsys.readouterr()
    assert err.splitlines() == ["lbfgs-2000, dgemm, float64", "lbfgs-2000, mlp, float64"]
    *_, about, first, second = out.splitlines()
    assert about == f"lbfgs-2000: {speed.ABOUT['lbfgs-2000']}"
    assert first.split() == ["dgemm,", "float64", "1", "s", "3", "s", "3.00"]
    assert second.split() == ["MLPRegressor,", "2", "threads", "1", "s", "1.5", "s", "1.50"]


def test_whoever_is_missing_is_skipped_and_uci_sets_end_with_their_median(
    tmp_path, instant, monkeypatch, capsys
):
    monkeypatch.setattr(speed, "find_spec", lambda name: None)
    path = tmp_path / "rows.csv"
    assert run("--out", path) == 0
    assert [row.peer for row in read(path)] == ["dgemm", "mlp"]
    assert [line for line in capsys.readouterr().err.splitlines() if "skipped" in line] == [
        "jax skipped: jax is not installed",
        "uci skipped: it needs --data",
    ]
    (tmp_path / "kin8nm.npz").touch()
    assert run("--data", tmp_path, "--out", path, "--rows", "uci") == 0
    assert f"uci yacht skipped: {tmp_path} has no yacht.npz" in capsys.readouterr().err
    assert [(row.row, row.ratio) for row in read(path)] == [("uci kin8nm", 3), ("uci", 3)]
    sets = [
        Row(f"uci {name}", "mlp_scaled", "float64", 1.0, ratio, ratio, repeats=5)
        for name, ratio in (("yacht", 9.0), ("energy", 2.0), ("concrete", 4.0))
    ]
    (row,) = speed.over_the_sets([*sets, Row("uciless", "mlp", "float64", ratio=100.0)])
    assert (row.row, row.ratio, row.repeats) == ("uci", 4.0, 5)
    assert math.isnan(row.ours_median_s)
    assert row.note == "median over 3 sets"


def test_picture_is_drawn_from_a_csv(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    rows = [
        Row("adam-50", "mlp", "float64", 1.0, 6.0, 6.0),
        Row("adam-50", "jax", "float32", 1.0, 0.25, 0.25),
        Row("adam-50", "skorch", "float32", 1.0, 9.0, 9.0),  # of an earlier version
        Row("uci yacht", "mlp_scaled", "float64", 1.0, 7.0, 7.0),
        Row("uci", "mlp_scaled", "float64", ratio=4.5),
    ]
    (axes,) = speed.draw(rows).axes
    assert [bar.get_x() + bar.get_width() for bar in axes.patches] == [6.0, 0.25, 4.5]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["MLPRegressor", "JAX, compiled", "MLPRegressor, scaled"]
    texts = [text.get_text() for text in axes.texts]
    assert {"6 times faster", "4 times slower", "4.5 times faster"} <= set(texts)
    path = tmp_path / "rows.csv"
    with table.writing(str(path), Row) as write:
        for row in rows:
            write(row)
    assert run("--from-csv", path, "--plot", tmp_path / "all.png") == 0
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    assert "JAX" in capsys.readouterr().out
    assert run("--from-csv", path, "--rows", "uci", "--plot", tmp_path / "uci.svg") == 0
    assert "<svg" in (tmp_path / "uci.svg").read_text(encoding="utf-8")
    assert "JAX" not in capsys.readouterr().out
    assert run("--from-csv", path, "--rows", "sgd-50", "--plot", tmp_path / "no.png") == 2
    assert "there are none" in capsys.readouterr().err
