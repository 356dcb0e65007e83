"""`python -m benchmarks scaling`: what it measures, its CSV, its table and its picture."""

from __future__ import annotations

import csv
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

# The checkout, which holds `benchmarks`; last, so that an installed sk_backprop comes first.
sys.path.append(str(Path(__file__).parents[1]))

import benchmarks.__main__ as program
from benchmarks import files, scaling, scaling_fit
from benchmarks.scaling import Row

COLUMNS = [
    "series",
    "solver",
    "n_samples",
    "n_features",
    "n_hidden",
    "iterations",
    "seconds",
    "x_mb",
    "peak_mb",
    "memory_by",
    "note",
]
MB = 2**20


@pytest.fixture
def instant(monkeypatch):
    """Fits that take no time: 1 us a row, and 8 bytes of memory."""

    def measure(row):
        seconds, peak = 1e-6 * row.n_samples, 8e-6 * row.n_samples
        return replace(row, seconds=seconds, x_mb=1.0, peak_mb=peak, memory_by="guess")

    monkeypatch.setattr(scaling, "measure", measure)


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(*argv):
    return program.main(["scaling", *map(str, argv)])


# --- one fit ---


def test_data_are_of_their_kind_and_the_same_whether_mapped_or_not(tmp_path):
    X, y = scaling_fit.data("dense", 30_000, 20, str(tmp_path))  # more than a block
    mapped, y_mapped = scaling_fit.data("mapped", 30_000, 20, str(tmp_path))
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    assert np.array_equal(X, mapped)
    assert np.array_equal(y, y_mapped)
    assert X.std(axis=0) == pytest.approx(np.ones(20), abs=0.05)
    assert np.corrcoef(X[:, 1], y)[0, 1] > 0.5
    sparse, y = scaling_fit.data("sparse", 500, 40, str(tmp_path))
    assert sp.issparse(sparse)
    assert sparse.format == "csr"
    assert sparse.nnz == 200
    assert len(y) == 500


def test_peaks_are_those_of_what_is_held_at_a_time():
    def two_after_one():  # each too large to be kept by the allocator when it is freed
        first = np.ones(70 * MB // 8)
        del first
        held = [np.ones(70 * MB // 8), np.ones(35 * MB // 8)]
        del held

    assert scaling_fit.peak_traced(two_after_one) == pytest.approx(105, abs=1)
    if Path("/proc/self/clear_refs").exists():  # Linux
        assert scaling_fit.peak_resident(two_after_one) == pytest.approx(105, abs=10)


def test_fit_in_a_process_of_its_own_fills_a_row():
    row = Row("rows", "adam", 2000, 20, 20, 1)
    found = scaling.measure(row)
    assert found == replace(
        row,
        seconds=found.seconds,
        x_mb=2000 * 20 * 8 / MB,
        peak_mb=found.peak_mb,
        memory_by=found.memory_by,
    )
    assert 0 < found.seconds < 30
    assert 0 < found.peak_mb < 100


def test_mapped_file_is_measured_without_its_pages():
    found = scaling_fit.measure("mapped", "sgd", 3000, 20, 5)
    assert found["memory_by"] == "tracemalloc"
    assert found["x_mb"] == 3000 * 20 * 8 / MB
    assert found["x_mb"] < found["peak_mb"] < 50  # scaled, it is held once more
    assert set(found) < set(COLUMNS)


def test_sparse_columns_are_measured():
    found = scaling_fit.measure("sparse", "lbfgs", 1000, 50, 5)
    assert found["x_mb"] == pytest.approx((500 * 12 + 1001 * 4) / MB, rel=0.5)
    assert found["seconds"] > 0


def test_fit_that_fails_leaves_its_last_word():
    row = scaling.measure(Row("rows", "no such solver", 100, 20, 20, 1))
    assert math.isnan(row.seconds)
    assert row.note == "failed: KeyError: 'no such solver'"
    assert "failed" in scaling.summarize([row])


# --- all of them ---


def test_cases_are_the_series():
    cases = list(scaling.cases())
    for series, solver, values in (
        ("rows", "lm", [1e3, 1e4, 1e5, 1e6]),
        ("rows, mapped", "sgd", [1e3, 1e4, 1e5, 1e6]),
        ("columns", "lbfgs", [10, 100, 1000, 10_000]),
        ("columns", "lm", [10, 100]),
        ("hidden", "adam", [10, 30, 100, 300, 1000]),
        ("hidden", "lm", [10, 30, 100]),
    ):
        found = [case.x for case in cases if (case.series, case.solver) == (series, solver)]
        assert found == values
    for case in cases:
        fixed = {"n_samples": 10_000, "n_features": 20, "n_hidden": 20}
        varied = scaling.SERIES[case.series][0]
        assert all(getattr(case, name) == value for name, value in fixed.items() if name != varied)
    quick = list(scaling.cases(quick=True))
    assert max(case.n_samples for case in quick) == 10_000
    assert {case.series for case in quick} == set(scaling.SERIES) == set(scaling.ABOUT)


def test_run_writes_a_row_a_fit_and_ends_with_tables(tmp_path, capsys, instant):
    path = tmp_path / "rows.csv"
    assert run("--quick", "--out", path) == 0
    rows = read(path)
    assert list(rows[0]) == COLUMNS
    assert len(rows) == len(list(scaling.cases(quick=True)))
    out, err = capsys.readouterr()
    assert "kernel" in out
    assert err.splitlines()[0] == "rows, 1,000, lm"
    lines = out.splitlines()
    at = lines.index(scaling.ABOUT["rows"])
    assert lines[at + 1].split() == ["1,000", "10,000", "p"]
    assert lines[at + 2].split() == ["lm", "0.001", "s", "0", "MB", "0.01", "s", "0", "MB", "1.00"]
    assert repr(files.read(str(path), Row)) == repr(
        [
            Row(**r | {n: type(getattr(empty, n))(r[n]) for n in COLUMNS[2:9]})
            for empty, r in zip(scaling.cases(quick=True), rows, strict=True)
        ]
    )


def test_growth_is_the_slope_at_the_right_end():
    def row(n, seconds):
        return Row("rows", "lm", n, 20, 20, 2, seconds)

    rows = [row(1000, 5.0), row(100_000, 8.0), row(10_000, 2.0)]
    assert scaling.growth(rows) == pytest.approx(math.log10(4))
    assert math.isnan(scaling.growth(rows[:1]))
    assert math.isnan(scaling.growth([rows[0], row(10, math.nan)]))


def test_picture_is_drawn_from_a_csv(tmp_path, instant, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "rows.csv"
    assert run("--out", path) == 0
    assert run("--from-csv", path, "--plot", tmp_path / "all.png") == 0
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    assert "p: seconds grow" in capsys.readouterr().out
    few = [row for row in files.read(str(path), Row) if row.series == "columns"]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([files.columns(Row), *(files.cells(row) for row in few)])
    assert run("--from-csv", path, "--plot", tmp_path / "few.svg") == 0
    assert "<svg" in (tmp_path / "few.svg").read_text(encoding="utf-8")
    path.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    assert run("--from-csv", path, "--plot", tmp_path / "no.png") == 2
    assert "there are none" in capsys.readouterr().err


def test_json_of_a_fit_has_the_columns(monkeypatch):
    told = json.dumps({"seconds": 1.0, "x_mb": 2.0, "peak_mb": 3.0, "memory_by": "tracemalloc"})

    class Done:
        returncode, stdout = 0, told

    asked = []
    monkeypatch.setattr("subprocess.run", lambda command, **_: asked.append(command) or Done)
    row = scaling.measure(Row("columns", "sgd", 10_000, 100, 20, 1))
    assert (row.seconds, row.peak_mb, row.memory_by) == (1.0, 3.0, "tracemalloc")
    assert json.loads(asked[0][-1]) == {
        "kind": "sparse",
        "solver": "sgd",
        "n_samples": 10_000,
        "n_features": 100,
        "n_hidden": 20,
    }
