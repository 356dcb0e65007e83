"""`python -m benchmarks scaling`: what it measures, its tables and its picture; rows on workers."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from engines import InProcess

# The checkout, which holds `benchmarks`; last, so that an installed sk_backprop comes first.
sys.path.append(str(Path(__file__).parents[1]))

import benchmarks.__main__ as program
from benchmarks import distributed, scaling, table
from benchmarks.scaling import Row

MB = 2**20
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def instant(monkeypatch):
    """Fits that take no time: 1 us a row, and 8 bytes of memory; on workers half as long."""

    def measure(row):
        seconds, peak = 1e-6 * row.n_samples, 8e-6 * row.n_samples
        if row.workers:
            return replace(row, seconds=seconds / 2, local_seconds=seconds)
        return replace(row, seconds=seconds, x_mb=1.0, peak_mb=peak, memory_by="guess")

    monkeypatch.setattr(scaling, "measure", measure)


def run(*argv):
    return program.main(["scaling", *map(str, argv)])


def test_data_are_of_their_kind_and_the_same_whether_mapped_or_not(tmp_path):
    X, y = scaling.data("dense", 30_000, 20, str(tmp_path))  # more than a block
    mapped, y_mapped = scaling.data("mapped", 30_000, 20, str(tmp_path))
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    assert np.array_equal(X, mapped)
    assert np.array_equal(y, y_mapped)
    assert X.std(axis=0) == pytest.approx(np.ones(20), abs=0.05)
    assert np.corrcoef(X[:, 1], y)[0, 1] > 0.5
    sparse, y = scaling.data("sparse", 500, 40, str(tmp_path))
    assert sp.issparse(sparse)
    assert sparse.nnz == 200
    assert len(y) == 500


def test_peaks_are_those_of_what_is_held_at_a_time():
    def two_after_one():  # each too large to be kept by the allocator when it is freed
        first = np.ones(70 * MB // 8)
        del first
        held = [np.ones(70 * MB // 8), np.ones(35 * MB // 8)]
        del held

    assert scaling.peak_traced(two_after_one) == pytest.approx(105, abs=1)
    if Path("/proc/self/clear_refs").exists():  # Linux
        assert scaling.peak_resident(two_after_one) == pytest.approx(105, abs=10)


@pytest.mark.slow
def test_fit_in_a_process_of_its_own_fills_a_row():
    row = Row("rows", "adam", 2000, 20, 20, 1)
    found = scaling.measure(row)
    told = {name: getattr(found, name) for name in ("seconds", "peak_mb", "memory_by")}
    assert found == replace(row, x_mb=2000 * 20 * 8 / MB, **told)
    assert 0 < found.seconds < 30
    assert 0 < found.peak_mb < 100
    failed = scaling.measure(replace(row, solver="no such solver"))
    assert failed.note == "failed: KeyError: 'no such solver'"
    assert "failed" in scaling.summarize([failed])


def test_mapped_and_sparse_tables_are_measured():
    found = scaling.fit_once("mapped", "sgd", 3000, 20, 5)
    assert found["memory_by"] == "tracemalloc"  # without the pages of the file
    assert found["x_mb"] == 3000 * 20 * 8 / MB
    assert found["x_mb"] < found["peak_mb"] < 50  # scaled, it is held once more
    found = scaling.fit_once("sparse", "lbfgs", 1000, 50, 5)
    assert found["x_mb"] == pytest.approx((500 * 12 + 1001 * 4) / MB, rel=0.5)
    assert found["seconds"] > 0


def test_run_writes_a_row_a_fit_and_ends_with_tables(tmp_path, capsys, instant):
    path = tmp_path / "rows.csv"
    assert run("--quick", "--out", path) == 0
    rows = table.read(str(path), Row)
    assert len(rows) == len(list(scaling.cases(quick=True)))
    assert {row.series for row in rows} == {*scaling.SERIES, scaling.DISTRIBUTED}
    assert max(row.n_samples for row in rows if not row.workers) == 10_000
    out, err = capsys.readouterr()
    assert err.splitlines()[0] == "rows, 1,000, lm"
    lines = out.splitlines()
    at = lines.index(scaling.SERIES["rows"][3])
    assert lines[at + 1].split() == ["1,000", "10,000", "p"]
    assert lines[at + 2].split() == ["lm", "0.001", "s", "0", "MB", "0.01", "s", "0", "MB", "1.00"]


def test_series_are_chosen_and_added_to_a_file(tmp_path, capsys, instant):
    path = tmp_path / "rows.csv"
    assert run("--quick", "--series", "hidden", "--out", path) == 0
    before = path.read_text(encoding="utf-8")
    assert run("--quick", "--series", "workers", "hidden", "--resume", "--out", path) == 0
    added = path.read_text(encoding="utf-8").removeprefix(before).splitlines()
    assert [line.split(",")[:2] for line in added] == [["workers", "lbfgs"], ["workers", "lm"]]
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "  gradient          50,000 x 20, 25 units, 2 workers: 0.025 s, 0.05 s; 0.50",
        "  normal equations  50,000 x 20, 25 units, 2 workers: 0.025 s, 0.05 s; 0.50",
    ]


@pytest.mark.parametrize("solver", distributed.EVALUATIONS)
def test_evaluation_of_rows_on_an_engine_is_that_of_the_same_rows(solver):
    near, far, settings = distributed.problems(InProcess(3), solver, (9_000, 4, 3))
    assert near.engine_rows is None
    assert len(far.engine_rows.parts) > 1
    assert sum(part.n_rows for part in far.engine_rows.parts) == 9_000
    local = distributed.evaluation(near, settings)()
    assert local[-1].shape == {"lbfgs": (19,), "lm": (19, 19)}[solver]
    assert all(map(np.array_equal, local, distributed.evaluation(far, settings)()))


@pytest.mark.slow
def test_rows_on_workers_are_measured_in_a_process_of_its_own():
    row = Row("workers", "lbfgs", 20_000, 5, 4, 1, workers=2)
    found = scaling.measure(row)
    assert found.note == ""  # the sums are the same
    assert 0 < found.local_seconds < found.seconds < 30  # so few rows take longer on workers


def test_readme_shows_what_a_large_cluster_takes_on_paper():
    def said(seconds):
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.2g} s"

    found = []
    for name, size, n in (
        ("100 million", "16 GB", 1e8),
        ("1 billion", "160 GB", 1e9),
        ("10 billion", "1.6 TB", 1e10),
        ("60 billion", "9.6 TB", 6e10),
    ):
        sorting, gradient, equations = distributed.on_paper(n).values()
        times = map(said, (sorting, gradient, equations, 300 * gradient, 60 * equations))
        found.append(f"| {' | '.join([name, size, *times])} |")
    section = README[README.index("Computed, not measured: 1,000 workers of 8 threads") :]
    assert [line for line in section.splitlines() if line.startswith("|")][2:6] == found


def test_one_task_after_the_other_is_what_few_rows_cost_on_paper():
    # One thread has one partition, one range and one part: the sum of its work and three tasks.
    found = distributed.on_paper(1e6, workers=1, threads=1)
    assert found["gradient"] == pytest.approx(0.2 + 0.001)
    assert found["equations"] == pytest.approx(7 + 0.001 * 8 / 7)
    assert found["sorting"] == pytest.approx(0.44 + 0.16 + 0.001)


def test_growth_is_the_slope_at_the_right_end():
    def row(n, seconds):
        return Row("rows", "lm", n, 20, 20, 2, seconds)

    rows = [row(1000, 5.0), row(100_000, 8.0), row(10_000, 2.0)]
    assert scaling.growth(rows) == pytest.approx(math.log10(4))
    assert math.isnan(scaling.growth(rows[:1]))
    assert math.isnan(scaling.growth([rows[0], row(10, math.nan)]))


@pytest.mark.slow
def test_picture_is_drawn_from_a_csv(tmp_path, instant, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "rows.csv"
    assert run("--out", path, "--plot", tmp_path / "all.png") == 0
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    few = [row for row in table.read(str(path), Row) if row.series == "columns"]
    with table.writing(str(path), Row) as write:
        for row in few:
            write(row)
    assert run("--from-csv", path, "--plot", tmp_path / "few.svg") == 0
    assert "<svg" in (tmp_path / "few.svg").read_text(encoding="utf-8")
    with table.writing(str(path), Row):
        pass
    assert run("--from-csv", path, "--plot", tmp_path / "no.png") == 2
    assert "there are none" in capsys.readouterr().err


def test_line_in_proportion_goes_through_the_middle_of_the_points():
    pytest.importorskip("matplotlib")
    rows = [
        Row("hidden", "sgd", 1, 1, n, 1, seconds, 1.0, 1.0) for n, seconds in ((10, 1), (1000, 4))
    ]
    *_, line = scaling.draw(rows).axes[2].get_lines()
    (x0, y0), (x1, y1) = line.get_xydata()
    assert y1 / y0 == pytest.approx(x1 / x0)
    assert math.sqrt(y0 * y1) == pytest.approx(2)


def test_guide_says_what_scaling_csv_holds():
    root = Path(__file__).parents[1]
    rows = table.read(str(root / "benchmarks" / "scaling.csv"), Row)
    million = [row for row in rows if row.n_samples == 1_000_000]
    guide = (root / "sk_backprop" / "guide.md").read_text(encoding="utf-8")
    assert "with a million rows of 20 columns" in guide
    assert max(row.peak_mb for row in million if not row.workers) < scaling.MOST_MB == 200
    few = [row.peak_mb for row in million if row.solver in ("adam", "sgd")]
    assert few == pytest.approx([100] * len(few), rel=0.1)


def test_steps_on_workers_took_little_longer_than_in_one_thread():
    root = Path(__file__).parents[1]
    rows = table.read(str(root / "benchmarks" / "scaling.csv"), Row)
    gradient, equations = (row for row in rows if row.workers)
    assert (gradient.solver, equations.solver) == ("lbfgs", "lm")
    for row in (gradient, equations):
        assert (row.n_samples, row.n_features, row.n_hidden, row.workers) == (10**6, 20, 25, 2)
        assert row.note == ""  # the sums have the same bits
    assert gradient.seconds <= 1.5 * gradient.local_seconds + 0.03
    assert equations.seconds <= 1.2 * equations.local_seconds
    text = (root / "benchmarks" / "README.md").read_text(encoding="utf-8")
    said = " ".join(text.split())
    times = [f"{row.seconds / row.local_seconds:.2f} times" for row in (gradient, equations)]
    assert f"a gradient takes {times[0]} as long as in one thread of one process" in said
    assert f"the normal equations {times[1]}" in said
