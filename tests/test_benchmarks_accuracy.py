"""`python -m benchmarks accuracy`: its scores, its CSV, who is skipped, and its picture."""

from __future__ import annotations

import csv
import math
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import BayesianRidge, Ridge

# The checkout, which holds `benchmarks`; last, so that an installed sk_backprop comes first.
sys.path.append(str(Path(__file__).parents[1]))

import benchmarks.__main__ as program
from benchmarks import accuracy, files, problems, published
from benchmarks.accuracy import Competitor, Row

COLUMNS = ["problem", "split", "competitor", *accuracy.MEASURES, "seconds", "note"]


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv("SK_BACKPROP_DATA", raising=False)


@pytest.fixture
def linear(monkeypatch):
    """Linear models in the place of the competitors; returns the fits made."""
    fits = []

    def make(model):
        def made(problem):
            fits.append((problem.name, problem.split))
            return model

        return made

    models = {
        "ours": Competitor(make(BayesianRidge()), has_std=True),
        "mlp_scaled": Competitor(make(Ridge())),
    }
    monkeypatch.setattr(accuracy, "COMPETITORS", models)
    return fits


@pytest.fixture
def plane():
    """A problem of one feature."""
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(60, 1)), rng.normal(size=60)
    y = 3 * X[:, 0] + noise
    return problems.Problem("plane", 4, X[:40], y[:40], X[40:], y[40:])


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(*argv):
    return program.main(["accuracy", *map(str, argv)])


def refused(capsys, *argv):
    """The error of a command that must end with status 2, one line and nothing else."""
    assert run(*argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.strip()


# --- scores ---


def test_scores_are_those_of_scipys_normal_distribution():
    rng = np.random.default_rng(0)
    y, mean, std = rng.normal(size=200), rng.normal(size=200), rng.uniform(0.3, 3, 200)
    scores = accuracy.scores(y, mean, std)
    assert tuple(scores) == accuracy.MEASURES
    assert scores["rmse"] == pytest.approx(np.linalg.norm(y - mean) / np.sqrt(200))
    assert scores["log_likelihood"] == pytest.approx(stats.norm.logpdf(y, mean, std).mean())
    for nominal in (50, 80, 95):
        low, high = stats.norm.interval(nominal / 100, mean, std)
        assert scores[f"coverage_{nominal}"] == np.mean((low <= y) & (y <= high))
    assert accuracy.scores(y, mean) == {"rmse": scores["rmse"]}


def test_row_equals_a_direct_computation(plane):
    row = accuracy.measure("ours", plane)
    model = accuracy.BackpropRegressor(random_state=4).fit(plane.X_train, plane.y_train)
    mean, std = model.predict(plane.X_test, return_std=True)
    assert row.key == ("plane", 4, "ours")
    expected = accuracy.scores(plane.y_test, mean, std)
    assert {name: getattr(row, name) for name in expected} == pytest.approx(expected)
    assert 0.5 < row.coverage_80 <= 1
    assert 0 < row.seconds < 60
    shape = f"{model.hidden_layer_sizes_!r}, n_networks={model.n_networks_}"
    assert row.note == f"hidden_layer_sizes={shape}"


@pytest.mark.parametrize("name", ["mlp", "mlp_scaled", "hgb", "gp"])
def test_competitors_learn_a_line_without_a_warning(name, plane):
    row = accuracy.measure(name, plane)
    assert row.rmse < plane.y_test.std()
    assert math.isnan(row.log_likelihood) == (name != "gp")
    assert math.isnan(row.coverage_95) == (name != "gp")
    again = replace(row, seconds=0.0)
    assert repr(replace(accuracy.measure(name, plane), seconds=0.0)) == repr(again)


def test_warnings_are_shown_but_those_about_convergence_of_competitors(plane, monkeypatch):
    class Warns(BayesianRidge):
        def fit(self, X, y):
            warnings.warn("not there yet", ConvergenceWarning, stacklevel=1)
            warnings.warn("and another", UserWarning, stacklevel=1)
            return super().fit(X, y)

    for name, number in ("ours", 2), ("mlp", 1):
        silenced = accuracy.COMPETITORS[name].silenced
        competitor = Competitor(lambda problem: Warns(), silenced=silenced)
        monkeypatch.setitem(accuracy.COMPETITORS, name, competitor)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            accuracy.measure(name, plane)
        assert len(caught) == number


def test_fit_that_fails_leaves_a_row_that_says_why(plane, linear, capsys):
    plane.y_train[0] = np.nan
    row = accuracy.measure("ours", plane)
    assert math.isnan(row.rmse)
    assert row.note.startswith("failed: ")
    assert "NaN" in row.note
    assert accuracy.summarize([row, row]).endswith("(2 failed)")


# --- the CSV ---


def test_quick_run_writes_a_row_a_fit_and_ends_with_a_table(tmp_path, capsys, linear):
    path = tmp_path / "rows.csv"
    assert run("--quick", "--out", path) == 0
    rows = read(path)
    assert list(rows[0]) == COLUMNS
    assert [(r["problem"], r["split"], r["competitor"]) for r in rows] == [
        (problem, "0", name) for problem in program.QUICK for name in ("ours", "mlp_scaled")
    ]
    for row in rows:
        assert float(row["rmse"]) > 0
        assert (row["coverage_50"] == "") == (row["competitor"] == "mlp_scaled")
    out, err = capsys.readouterr()
    assert "sklearn" in out
    table = out.splitlines()[-3 * len(program.QUICK) :]
    assert [line.split()[0] for line in table[:3]] == ["diabetes", "ours", "mlp_scaled"]
    assert err.splitlines()[0] == "diabetes, split 0: 332 x 10"


def test_resume_measures_only_what_is_not_there(tmp_path, linear, capsys):
    path = tmp_path / "rows.csv"
    argv = ["--problems", "sine", "noise", "--out", path]
    assert run(*argv, "--splits", 2, "--competitors", "ours") == 0
    before = path.read_text(encoding="utf-8")
    linear.clear()
    assert run(*argv, "--resume") == 0  # all splits, which are three of a built-in set
    assert linear.count(("sine", 0)) == 1  # mlp_scaled
    assert linear.count(("sine", 2)) == 2
    assert path.read_text(encoding="utf-8").startswith(before)
    keys = [row.key for row in accuracy.read(str(path))]
    assert len(set(keys)) == len(keys) == 2 * 3 * 2
    text = path.read_text(encoding="utf-8")
    linear.clear()
    assert run(*argv, "--resume") == 0
    assert linear == []
    assert path.read_text(encoding="utf-8") == text
    other = tmp_path / "new.csv"
    assert run("--quick", "--problems", "sine", "--resume", "--out", other) == 0
    assert [list(row) for row in read(other)] == [COLUMNS] * 2


def test_interrupted_run_keeps_its_rows(tmp_path, linear, monkeypatch, capsys):
    def interrupted(problem):
        raise KeyboardInterrupt

    monkeypatch.setitem(accuracy.COMPETITORS, "gp", Competitor(interrupted))
    path = tmp_path / "rows.csv"
    assert run("--quick", "--competitors", "ours", "gp", "--out", path) == 130
    assert [row.competitor for row in accuracy.read(str(path))] == ["ours"]


def test_csv_is_read_as_it_was_written(tmp_path):
    rows = [
        Row("p", 0, "ours", 0.000123456, -1.5, 0.5, 0.8, 1.0, 2.0, "hidden=(3,), n=1"),
        Row("p", 1, "mlp", 1e6, seconds=0.25),
    ]
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        accuracy.run([], file, [])
        csv.writer(file).writerows(files.cells(row) for row in rows)
    assert repr(accuracy.read(str(path))) == repr(rows)


# --- who is skipped ---


def test_whoever_cannot_run_is_skipped_with_a_message(tmp_path, linear, monkeypatch, capsys):
    small = Competitor(lambda problem: Ridge(), max_samples=200)
    missing = Competitor(lambda problem: Ridge(), package="no_such_package")
    monkeypatch.setitem(accuracy.COMPETITORS, "gp", small)
    monkeypatch.setitem(accuracy.COMPETITORS, "realmlp", missing)
    path = tmp_path / "rows.csv"
    assert run("--problems", "diabetes", "sine", "--splits", 2, "--out", path) == 0
    names = [(row["problem"], row["competitor"]) for row in read(path)]
    assert names.count(("diabetes", "gp")) == 0
    assert names.count(("sine", "gp")) == 2
    assert len(names) == 2 * 2 + 2 * 3
    said = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert said == [
        "gp skipped: diabetes has more than 200 training rows",
        "realmlp skipped: no_such_package is not installed",
    ]


def test_gp_is_left_out_on_many_rows_and_realmlp_needs_pytabkit():
    assert accuracy.COMPETITORS["gp"].max_samples == 2000
    assert accuracy.COMPETITORS["realmlp"].package == "pytabkit"


# --- the table and the picture ---


def example():
    """Two splits of a published and of another problem."""
    rows = []
    for problem in ("yacht", "sine"):
        rows += [
            Row(problem, 0, "ours", 1.0, -1.0, 0.4, 0.7, 0.9, 3.0),
            Row(problem, 1, "ours", 3.0, -2.0, 0.6, 0.9, 1.0, 5.0),
            Row(problem, 0, "mlp", 2.0, seconds=1.0),
            Row(problem, 1, "mlp", 6.0, seconds=1.0),
            Row(problem, 0, "gp", 4.0, -3.0, 0.5, 0.8, 0.95, 1.0),
            Row(problem, 1, "gp", 4.0, -3.0, 0.5, 0.8, 0.95, 1.0),
            Row(problem, 1, "hgb", note="failed: out of luck"),
        ]
    return rows


def test_table_has_means_their_standard_errors_and_the_best_published():
    _, problem, ours, mlp, _, hgb, best = accuracy.summarize(example()[:7]).splitlines()
    assert problem == "yacht"
    text = "ours 2 2.000 +/- 1 -1.500 +/- 0.500 50.0 +/- 10.0 80.0 +/- 10.0 95.0 +/- 5.0 4.00"
    assert ours.split() == text.split()
    assert mlp.split() == ["mlp", "2", "4.000", "+/-", "2", "1.00"]
    assert hgb.split() == ["hgb", "1", "(1", "failed)"]
    assert best.split(maxsplit=3)[1:] == ["0.66", "-0.47", "(MCD 2 layers; DVI)"]


def test_published_tables_are_of_the_nine_sets():
    assert published.RMSE.keys() == published.LOG_LIKELIHOOD.keys()
    assert len(published.RMSE) == 9
    assert published.SHORT.keys() < published.RMSE.keys()
    for problem, row in published.RMSE.items():
        assert list(row) == [method for method in published.METHODS if method != "DVI"]
        assert tuple(published.LOG_LIKELIHOOD[problem]) == published.METHODS
    assert [str(value) for value in published.RMSE["naval-propulsion-plant"].values()][-3:] == [
        "0.00074",
        "0.00",
        "0.00",
    ]
    (rmse, first), (likelihood, second) = published.best("naval-propulsion-plant")
    assert (str(rmse), first, str(likelihood), second) == ("0.00074", "MCD grid", "6.29", "DVI")


def test_picture_shows_paired_comparisons_and_is_drawn_from_a_csv(tmp_path, linear, capsys):
    pytest.importorskip("matplotlib")
    from benchmarks import picture

    assert picture.LABELS.keys() == {"ours", "gp", "realmlp", "hgb", "mlp_scaled", "mlp"}
    groups = picture.grouped(example())
    errors = picture.errors("yacht", groups["yacht"])
    assert errors["mlp"] == (2.0, 0.0)  # twice as much on each split
    assert errors["ours"] == (1.0, 0.5)
    assert errors["gp"] == pytest.approx((2.0, 1.0))
    assert errors["MCD"][0] == pytest.approx(1.11 / 2)
    assert "hgb" not in errors
    likelihoods = picture.log_likelihoods("yacht", groups["yacht"])
    assert likelihoods["gp"] == (-1.5, 0.5)
    assert "mlp" not in likelihoods
    assert likelihoods["DVI"][0] == pytest.approx(-0.47 + 1.5)
    assert set(picture.log_likelihoods("sine", groups["sine"])) == {"ours", "gp"}
    assert picture.coverages(groups["sine"], "coverage_50")["ours"] == pytest.approx((50, 10))

    table = tmp_path / "rows.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        accuracy.run([], file, [])
        csv.writer(file).writerows(files.cells(row) for row in example())
    assert run("--from-csv", table, "--plot", tmp_path / "all.png") == 0
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    assert linear == []
    argv = ["--from-csv", table, "--problems", "sine", "--competitors", "ours", "mlp"]
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(accuracy.COMPETITORS, "mlp", Competitor(lambda problem: Ridge()))
        assert run(*argv, "--plot", tmp_path / "sine.svg") == 0
    text = (tmp_path / "sine.svg").read_text(encoding="utf-8")
    assert "<svg" in text
    out = capsys.readouterr().out
    assert "sine" in out
    assert "yacht" not in out
    assert "gp" not in out
    with pytest.raises(problems.ProblemError, match="--plot"):
        picture.grouped(example()[2:4])


# --- errors ---


def test_options_refused(tmp_path, capsys, monkeypatch):
    assert "--resume" in refused(capsys, "--quick", "--resume")
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    assert f"{path} is not a CSV of this command" in refused(capsys, "--from-csv", path)
    assert "is not a CSV" in refused(capsys, "--quick", "--resume", "--out", path)
    path.write_text(",".join(COLUMNS) + "\nsine,0,ours,1\n", encoding="utf-8")
    assert f"{path}, line 2" in refused(capsys, "--from-csv", path)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "benchmarks.picture", raising=False)
    monkeypatch.delattr("benchmarks.picture", raising=False)
    assert "--plot needs matplotlib" in refused(capsys, "--quick", "--plot", "a.png")


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--competitors", "theirs"], "--competitors"),
        (["--plot", "picture.bmp"], "--plot"),
        (["--resume", "--from-csv", "rows.csv"], "--from-csv"),
    ],
)
def test_values_refused(capsys, argv, named):
    with pytest.raises(SystemExit) as stopped:
        run(*argv)
    assert stopped.value.code == 2
    assert named in capsys.readouterr().err
