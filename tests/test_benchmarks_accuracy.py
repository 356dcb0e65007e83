"""`python -m benchmarks accuracy`: its scores, what it skips and resumes, table and picture."""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import BayesianRidge, Ridge

# The checkout, which holds `benchmarks`; last, so that an installed sk_backprop comes first.
sys.path.append(str(Path(__file__).parents[1]))

import benchmarks.__main__ as program
from benchmarks import BenchmarkError, accuracy, problems, published, table
from benchmarks.accuracy import Row
from sk_backprop import BackpropRegressor


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv("SK_BACKPROP_DATA", raising=False)


@pytest.fixture
def linear(monkeypatch):
    """Linear models in the place of the competitors; returns the fits made."""
    fits = []

    def make(model):
        return lambda problem: fits.append((problem.name, problem.split)) or model

    models = {"ours": make(BayesianRidge()), "mlp_scaled": make(Ridge())}
    monkeypatch.setattr(accuracy, "COMPETITORS", models)
    return fits


@pytest.fixture
def plane():
    """A problem of one feature."""
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(60, 1)), rng.normal(size=60)
    y = 3 * X[:, 0] + noise
    return problems.Problem("plane", 4, X[:40], y[:40], X[40:], y[40:])


def run(*argv):
    return program.main(["accuracy", *map(str, argv)])


def read(path):
    return table.read(str(path), Row)


# --- a fit and its scores ---


@pytest.mark.parametrize("nu", [np.inf, 3.0, 12.5])
def test_scores_are_those_of_scipys_distributions(nu):
    rng = np.random.default_rng(0)
    y, mean, scale = rng.normal(size=200), rng.normal(size=200), rng.uniform(0.3, 3, 200)
    distribution = stats.norm(mean, scale) if np.isinf(nu) else stats.t(nu, mean, scale)
    scores = accuracy.scores(y, mean, distribution)
    assert tuple(scores) == accuracy.MEASURES
    assert scores["rmse"] == pytest.approx(np.linalg.norm(y - mean) / np.sqrt(200))
    assert scores["log_likelihood"] == pytest.approx(distribution.logpdf(y).mean())
    for nominal in (50, 80, 95):
        low, high = distribution.interval(nominal / 100)
        assert scores[f"coverage_{nominal}"] == np.mean((low <= y) & (y <= high))
        if nominal > 50:
            wide = [
                v - u + 200 / (100 - nominal) * max(u - at, at - v, 0)
                for u, v, at in zip(low, high, y)
            ]
            assert scores[f"interval_score_{nominal}"] == pytest.approx(np.mean(wide))
    assert accuracy.scores(y, mean) == {"rmse": scores["rmse"]}


@pytest.mark.parametrize("nu", [np.inf, 3.0, 12.5])
def test_crps_is_the_integral_of_the_squared_difference_of_the_cdfs(nu):
    y, mean, scale = (
        np.array([-2.0, 0.3, 5.0]),
        np.array([0.0, 1.0, 1.0]),
        np.array([1.0, 0.5, 2.0]),
    )
    distribution = stats.norm(mean, scale) if np.isinf(nu) else stats.t(nu, mean, scale)
    for k, found in enumerate(accuracy.crps(y, distribution)):

        def square(x, step, k=k):
            return (distribution.cdf(x)[k] - step) ** 2

        below = quad(square, -np.inf, y[k], args=(0,), epsabs=1e-12)[0]
        above = quad(square, y[k], np.inf, args=(1,), epsabs=1e-12)[0]
        assert found == pytest.approx(below + above, rel=1e-6)


class Fixed:
    """Intervals from 0 to 1 and from -1 to 2 for every row, and the prediction 0.5."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.full(len(X), 0.5)

    def predict_intervals(self, X):
        return np.tile([[0.0, -1.0], [1.0, 2.0]], (len(X), 1, 1))


def test_intervals_without_a_distribution_are_scored(plane, monkeypatch):
    monkeypatch.setitem(accuracy.COMPETITORS, "fixed", lambda problem: Fixed())
    y = np.array([-0.5, 0.5, 3.0])
    problem = replace(plane, X_test=np.zeros((3, plane.X_train.shape[1])), y_test=y)
    row = accuracy.measure("fixed", problem)
    assert (row.coverage_80, row.coverage_95) == (1 / 3, 2 / 3)
    # Widths 1 and 3; outside by .5 and 2, and by 1.
    assert row.interval_score_80 == pytest.approx(1 + 10 * 2.5 / 3)
    assert row.interval_score_95 == pytest.approx(3 + 40 / 3)
    assert np.isnan([row.log_likelihood, row.crps, row.coverage_50]).all()


@pytest.fixture
def line():
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(400, 1)), rng.normal(size=400)
    y = 3 * X[:, 0] + noise
    return problems.Problem("line", 4, X[:300], y[:300], X[300:], y[300:])


def test_ngboost_is_scored_by_its_distribution(line):
    ngboost = pytest.importorskip("ngboost")
    row = accuracy.measure("ngboost", line)
    model = ngboost.NGBRegressor(random_state=4, verbose=False).fit(line.X_train, line.y_train)
    found = model.pred_dist(line.X_test)
    assert row.log_likelihood == pytest.approx(found.logpdf(line.y_test).mean())
    expected = accuracy.scores(line.y_test, found.loc, stats.norm(found.loc, found.scale))
    assert {name: getattr(row, name) for name in expected} == pytest.approx(expected)


def test_conformal_intervals_are_those_of_mapie(line):
    pytest.importorskip("mapie")
    row = accuracy.measure("conformal", line)
    model = accuracy.Conformal(4).fit(line.X_train, line.y_train)
    intervals = model.predict_intervals(line.X_test)
    # Each is as wide for every row, and nearly holds its part of the rows.
    widths = intervals[:, 1] - intervals[:, 0]
    np.testing.assert_allclose(widths, np.broadcast_to(widths[0], widths.shape))
    assert row.coverage_80 == pytest.approx(0.8, abs=0.1)
    assert row.coverage_95 == pytest.approx(0.95, abs=0.05)
    assert row.interval_score_80 > widths[0, 0]
    assert row.interval_score_95 > widths[0, 1]


def test_row_equals_a_direct_computation(plane):
    row = accuracy.measure("ours", plane)
    model = BackpropRegressor(random_state=4).fit(plane.X_train, plane.y_train)
    predicted = model.predict(plane.X_test), model.predict_dist(plane.X_test)
    expected = accuracy.scores(plane.y_test, *predicted)
    assert (row.problem, row.split, row.competitor) == ("plane", 4, "ours")
    assert {name: getattr(row, name) for name in expected} == pytest.approx(expected)
    assert 0 < row.seconds < 60
    n_networks, hidden = model.n_networks_, model.hidden_layer_sizes_
    assert row.note == f"{n_networks} of {model.solver_} {hidden}, weight 1.00"


@pytest.mark.parametrize("name", ["mlp", "mlp_scaled", "hgb", "gp"])
def test_competitors_learn_a_line_without_a_warning(name, plane):
    row = accuracy.measure(name, plane)
    assert row.rmse < plane.y_test.std()
    assert math.isnan(row.log_likelihood) == math.isnan(row.coverage_95) == (name != "gp")
    again = replace(accuracy.measure(name, plane), seconds=row.seconds)
    assert repr(again) == repr(row)


def test_warnings_are_shown_but_those_about_convergence_of_competitors(plane, monkeypatch):
    class Warns(BayesianRidge):
        def fit(self, X, y):
            warnings.warn("not there yet", ConvergenceWarning, stacklevel=1)
            warnings.warn("and another", UserWarning, stacklevel=1)
            return super().fit(X, y)

    for name, number in ("ours", 2), ("mlp", 1):
        monkeypatch.setitem(accuracy.COMPETITORS, name, lambda problem: Warns())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            accuracy.measure(name, plane)
        assert len(caught) == number


def test_fit_that_fails_leaves_a_row_that_says_why(plane, linear):
    plane.y_train[0] = np.nan
    row = accuracy.measure("ours", plane)
    assert math.isnan(row.rmse)
    assert row.note.startswith("failed: ")
    assert "NaN" in row.note
    assert accuracy.summarize([row, row]).endswith("(2 failed)")


# --- all fits ---


def test_quick_run_writes_a_row_a_fit_and_ends_with_a_table(tmp_path, capsys, linear):
    path = tmp_path / "rows.csv"
    assert run("--quick", "--out", path) == 0
    rows = read(path)
    assert [(row.problem, row.split, row.competitor) for row in rows] == [
        (problem, 0, name) for problem in problems.QUICK for name in ("ours", "mlp_scaled")
    ]
    assert all(row.rmse > 0 for row in rows)
    out, err = capsys.readouterr()
    lines = out.splitlines()[-3 * len(problems.QUICK) :]
    assert [line.split()[0] for line in lines[:3]] == ["diabetes", "ours", "mlp_scaled"]
    assert err.splitlines()[0] == "diabetes, split 0: 332 x 10"


def test_resume_measures_only_what_is_not_there(tmp_path, linear):
    path = tmp_path / "rows.csv"
    argv = ["--problems", "sine", "noise", "--out", path]
    assert run(*argv, "--splits", 2, "--competitors", "ours") == 0
    before = path.read_text(encoding="utf-8")
    linear.clear()
    assert run(*argv, "--resume") == 0  # all splits, which are three of a built-in set
    assert linear.count(("sine", 0)) == 1  # mlp_scaled
    assert linear.count(("sine", 2)) == 2
    text = path.read_text(encoding="utf-8")
    assert text.startswith(before)
    assert (
        len({(r.problem, r.split, r.competitor) for r in read(path)}) == text.count("\n") - 1 == 12
    )
    linear.clear()
    assert run(*argv, "--resume") == 0
    assert linear == []
    assert path.read_text(encoding="utf-8") == text
    other = tmp_path / "new.csv"
    assert run("--quick", "--problems", "sine", "--resume", "--out", other) == 0
    assert len(read(other)) == 2


def test_whoever_cannot_run_is_skipped_with_a_message(tmp_path, linear, monkeypatch, capsys):
    monkeypatch.setattr(accuracy, "MOST_ROWS_OF_GP", 200)
    monkeypatch.setattr(accuracy, "find_spec", lambda name: None)
    for name in ("gp", "realmlp"):
        monkeypatch.setitem(accuracy.COMPETITORS, name, accuracy.COMPETITORS["ours"])
    path = tmp_path / "rows.csv"
    assert run("--problems", "diabetes", "sine", "--splits", 2, "--out", path) == 0
    names = [(row.problem, row.competitor) for row in read(path)]
    assert names.count(("diabetes", "gp")) == 0
    assert names.count(("sine", "gp")) == 2
    assert len(names) == 2 * 2 + 2 * 3
    assert [line for line in capsys.readouterr().err.splitlines() if "skipped" in line] == [
        "gp skipped: diabetes has more than 200 training rows",
        "realmlp skipped: pytabkit is not installed",
    ]


# --- the table and the picture ---


def example():
    """Two splits of a published and of another problem."""
    rows = []
    for problem in ("yacht", "sine"):
        rows += [
            Row(problem, 0, "ours", 1.0, -1.0, 0.4, 0.7, 0.9, 0.4, 2.0, 3.0, seconds=3.0),
            Row(problem, 1, "ours", 3.0, -2.0, 0.6, 0.9, 1.0, 0.6, 4.0, 5.0, seconds=5.0),
            Row(problem, 0, "mlp", 2.0, seconds=1.0),
            Row(problem, 1, "mlp", 6.0, seconds=1.0),
            Row(problem, 0, "gp", 4.0, -3.0, 0.5, 0.8, 0.95, 1.0, 2.0, 3.0, seconds=1.0),
            Row(problem, 1, "gp", 4.0, -3.0, 0.5, 0.8, 0.95, 1.0, 2.0, 3.0, seconds=1.0),
            Row(problem, 1, "hgb", note="failed: out of luck"),
        ]
    return rows


def test_table_has_means_their_standard_errors_and_the_best_published():
    lines = accuracy.summarize(example()[:7]).splitlines()
    problem, ours, mlp, _, hgb, best = lines[-6:]
    assert problem == "yacht"
    text = "ours 2 2.000 +/- 1 -1.500 +/- 0.500 0.5000 +/- 0.1 "
    text += "50.0 +/- 10.0 80.0 +/- 10.0 95.0 +/- 5.0 3.000 +/- 1 4.000 +/- 1 4.00"
    assert ours.split() == text.split()
    assert mlp.split() == ["mlp", "2", "4.000", "+/-", "2", "1.00"]
    assert hgb.split() == ["hgb", "1", "(1", "failed)"]
    assert best.split(maxsplit=3)[1:] == ["0.66", "-0.47", "(MCD 2 layers; DVI)"]


def test_published_values_without_digits_are_never_the_best():
    naval = "naval-propulsion-plant"
    assert [str(value) for value in published.RMSE[naval].values()][-3:] == [
        "0.00074",
        "0.00",
        "0.00",
    ]
    (rmse, first), (likelihood, second) = published.best(naval)
    assert (str(rmse), first, str(likelihood), second) == ("0.00074", "MCD grid", "6.29", "DVI")


def test_picture_shows_paired_comparisons_and_is_drawn_from_a_csv(tmp_path, linear, capsys):
    pytest.importorskip("matplotlib")
    errors = accuracy.beside_ours(example(), "yacht", "rmse")
    assert errors["mlp"] == (2.0, 0.0)  # twice as much on each split
    assert errors["ours"] == (1.0, 0.5)
    assert errors["gp"] == pytest.approx((2.0, 1.0))
    assert errors["MCD"][0] == pytest.approx(1.11 / 2)
    assert "hgb" not in errors
    likelihoods = accuracy.beside_ours(example(), "yacht", "log_likelihood")
    assert likelihoods["gp"] == (-1.5, 0.5)
    assert "mlp" not in likelihoods
    assert likelihoods["DVI"][0] == pytest.approx(-0.47 + 1.5)
    assert set(accuracy.beside_ours(example(), "sine", "log_likelihood")) == {"ours", "gp"}

    path = tmp_path / "rows.csv"
    with table.writing(str(path), Row) as write:
        for row in example():
            write(row)
    assert run("--from-csv", path, "--plot", tmp_path / "all.png") == 0
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    assert linear == []
    capsys.readouterr()
    argv = ["--problems", "sine", "--competitors", "ours", "--plot", tmp_path / "sine.svg"]
    assert run("--from-csv", path, *argv) == 0
    assert "<svg" in (tmp_path / "sine.svg").read_text(encoding="utf-8")
    out = capsys.readouterr().out
    assert "sine" in out
    assert "yacht" not in out
    assert "gp" not in out
    with pytest.raises(BenchmarkError, match="--plot"):
        accuracy.draw(example()[2:4])


def test_panels_of_the_picture_hold_what_was_computed():
    pytest.importorskip("matplotlib")
    panels = accuracy.draw(example()[7:]).axes  # a problem of which nothing is published
    markers = [  # error bars have two points, and so have lines across a panel
        sorted(line.get_xdata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 1)
        for axes in panels
    ]
    assert markers == [[2], [-1.5]]


def test_of_several_published_variants_the_best_is_drawn():
    pytest.importorskip("matplotlib")
    variants = ("MCD", "MCD 10x", "MCD grid", "MCD 2 layers")
    name = "Monte Carlo dropout*, best of four"
    for measure, best in (("rmse", min), ("log_likelihood", max)):
        values = accuracy.beside_ours(example(), "yacht", measure)
        (x, _) = accuracy._best(values, best)[name]
        assert x == best(values[one][0] for one in variants)
    assert {one for names in accuracy.DRAWN.values() for one in names} <= {
        *accuracy.COMPETITORS,
        *published.LOG_LIKELIHOOD["yacht"],
    }
