"""`python -m benchmarks`: its rows, its table, the data it reads, and its errors."""

from __future__ import annotations

import csv
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

# The checkout, which holds `benchmarks`; last, so that an installed sk_backprop comes first.
sys.path.append(str(Path(__file__).parents[1]))

import benchmarks.__main__ as program
from benchmarks import agreement, defaults, fitting, problems, units
from sk_backprop import BackpropRegressor

SMALL = {"hidden_layer_sizes": (5,), "solver": "lm", "alpha": 0.3}
COLUMNS = ["setting", "problem", "split", "rmse", "seconds", "iterations", "solver", "converged"]


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv("SK_BACKPROP_DATA", raising=False)


@pytest.fixture
def folder(tmp_path):
    """A folder with one set, of 40 rows and three splits, and an unrelated file."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    rows = np.array([rng.permutation(40) for _ in range(3)], dtype=np.int32)
    path = tmp_path / "data" / "plane.npz"
    path.parent.mkdir()
    np.savez(path, X=X, y=X @ [1.0, 2.0], train_idx=rows[:, :30], test_idx=rows[:, 30:])
    path.with_name("README.md").write_text("About plane.", encoding="utf-8")
    return path.parent


@pytest.fixture
def small_settings(monkeypatch):
    """Two settings that fit at once, for tests of what surrounds them."""
    settings = {"defaults": SMALL, "alpha=1": {**SMALL, "alpha": 1.0}}
    monkeypatch.setattr(defaults, "settings", lambda: settings)
    return settings


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def make_rows(rmse_of, seconds=1.0, converged=True):
    """Rows of {(setting, problem): RMSE of each split}."""
    return [
        defaults.Row(setting, problem, split, rmse, seconds, 5, "lbfgs", converged)
        for (setting, problem), values in rmse_of.items()
        for split, rmse in enumerate(values)
    ]


def refused(capsys, *argv):
    """The error of a command that must end with status 2, one line and nothing else."""
    assert program.main(["defaults", *map(str, argv)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.strip()


# --- the run ---


def test_quick_run_writes_a_row_a_fit_and_ends_with_a_table(tmp_path, capsys, small_settings):
    path = tmp_path / "rows.csv"
    argv = ["defaults", "--quick", "--problems", "noise", "sine", "--out", str(path)]
    assert program.main(argv) == 0
    rows, settings = read(path), small_settings
    assert list(rows[0]) == COLUMNS
    assert [(r["problem"], r["setting"]) for r in rows] == [
        (problem, setting) for problem in ("noise", "sine") for setting in settings
    ]
    assert {r["split"] for r in rows} == {"0"}
    assert {r["converged"] for r in rows} <= {"True", "False"}
    out, err = capsys.readouterr()
    lines = out.splitlines()
    for word in ("numpy", "scipy", "sklearn", "kernel", "threads"):
        assert word in out
    assert f"alpha={BackpropRegressor().alpha!r}, " in out
    table = lines[-len(settings) :]
    assert {line.split("  ")[0] for line in table} == set(settings)
    assert err.splitlines() == [
        "noise, split 0: 150 x 10",
        "sine, split 0: 150 x 1",
    ]


def test_row_equals_a_direct_computation():
    problem = problems.load(None, ["wine-proline"], 2)[1]
    row = defaults.measure("any name", SMALL, problem)
    table = load_wine().data
    rows = np.random.RandomState(1).permutation(178)
    test, train = table[rows[:44]], table[rows[44:]]
    model = BackpropRegressor(**SMALL, random_state=1).fit(train[:, :12], train[:, 12])
    rmse = np.sqrt(np.mean((model.predict(test[:, :12]) - test[:, 12]) ** 2))
    assert row.rmse == pytest.approx(rmse / np.std(test[:, 12]), rel=1e-12)
    assert (row.setting, row.problem, row.split) == ("any name", "wine-proline", 1)
    assert (row.iterations, row.solver, row.converged) == (model.n_iter_, "lm", True)
    assert 0 < row.seconds < 60


def test_fit_that_does_not_converge_is_counted_without_a_warning():
    problem = problems.load(None, ["noise"], 1)[0]
    row = defaults.measure("short", {**SMALL, "max_iter": 2}, problem)
    assert (row.iterations, row.converged) == (2, False)


@pytest.mark.usefixtures("small_settings")
def test_other_warnings_are_shown_and_ctrl_c_ends_the_run(monkeypatch, capsys):
    fit = BackpropRegressor.fit

    def warn_and_fit(self, X, y):
        warnings.warn(message, UserWarning, stacklevel=1)
        return fit(self, X, y)

    monkeypatch.setattr(BackpropRegressor, "fit", warn_and_fit)
    message = "a new sort of warning"
    with pytest.warns(UserWarning, match=message):
        defaults.measure("defaults", SMALL, problems.load(None, ["noise"], 1)[0])
    message = "Training interrupted; and so on"
    assert program.main(["defaults", "--quick"]) == 130
    assert capsys.readouterr().err.endswith("Interrupted.\n")


def test_settings_are_the_defaults_and_changes_of_them():
    settings, parameters = defaults.settings(), BackpropRegressor().get_params()
    assert settings["defaults"] == {}
    assert len({str(change) for change in settings.values()}) == len(settings)
    for name, change in settings.items():
        assert name == "defaults" or any(parameters[key] != change[key] for key in change)
        BackpropRegressor(**change)
    for name, values in defaults.GRID.items():
        assert parameters[name] in values  # else the grid no longer surrounds the default


def test_table_compares_with_the_best_setting_on_each_problem():
    rmse = {
        ("a", "p"): [1.0, 3.0],  # mean 2, the best on p
        ("b", "p"): [3.0, 5.0],  # twice that
        ("a", "q"): [0.9, 0.9],  # three times the best
        ("b", "q"): [0.3, 0.3],
    }
    rows = make_rows(rmse) + make_rows({("a", "r"): [1.0], ("b", "r"): [1.0]}, 9.0, False)
    head, *lines = defaults.summarize(rows).splitlines()
    assert head.split() == ["setting", "mean", "worst", "on", "seconds", "not", "converged"]
    b, a = (line.split() for line in lines)
    assert b == ["b", f"{2 ** (1 / 3):.3f}", "2.00", "p", "1.000", "1", "of", "5"]
    assert a == ["a", f"{3 ** (1 / 3):.3f}", "3.00", "q", "1.000", "1", "of", "5"]


# --- data ---


def test_file_is_read_with_its_splits(folder, tmp_path, monkeypatch, small_settings):
    data = np.load(folder / "plane.npz")
    loaded = problems.load(str(folder), ["plane"], 2)
    assert [(p.name, p.split) for p in loaded] == [("plane", 0), ("plane", 1)]
    for p in loaded:
        train, test = data["train_idx"][p.split], data["test_idx"][p.split]
        assert np.array_equal(p.X_train, data["X"][train])
        assert np.array_equal(p.y_train, data["y"][train])
        assert np.array_equal(p.X_test, data["X"][test])
        assert np.array_equal(p.y_test, data["y"][test])
    assert len(problems.load(str(folder), ["plane"], 9)) == 3
    monkeypatch.setenv("SK_BACKPROP_DATA", str(folder))
    path = tmp_path / "rows.csv"
    assert program.main(["defaults", "--problems", "plane", "--out", str(path)]) == 0
    assert len(read(path)) == 3 * len(small_settings)


def test_built_in_problems_are_the_same_at_every_call_and_finite():
    loaded = problems.load(n_splits=1)
    assert {p.name for p in loaded} == set(problems.built_in())
    for p, again in zip(loaded, problems.load(n_splits=1), strict=True):
        n_test, n_train = len(p.y_test), len(p.y_train)
        assert n_test == (n_test + n_train) // 4
        assert p.X_train.shape == (n_train, p.X_test.shape[1])
        assert p.y_train.shape == (n_train,)
        assert np.isfinite(p.X_train).all()
        assert p.y_test.std() > 0
        assert np.array_equal(p.X_train, again.X_train)
        assert np.array_equal(p.y_test, again.y_test)


def test_file_takes_the_place_of_a_built_in_set(folder):
    (folder / "plane.npz").rename(folder / "sine.npz")
    assert problems.load(str(folder), ["sine"], 1)[0].X_train.shape == (30, 2)
    assert len(problems.load(str(folder), n_splits=1)) == len(problems.built_in())


# --- errors ---


def test_data_refused(folder, tmp_path, capsys):
    message = refused(capsys, "--data", tmp_path / "nowhere")
    assert message.endswith(f"error: the data folder {tmp_path / 'nowhere'} does not exist")
    message = refused(capsys, "--data", tmp_path)
    assert message.endswith(f"the data folder {tmp_path} has no .npz file")
    message = refused(capsys, "--data", folder, "--problems", "sine", "plain")
    assert "no data set plain; there are: plane, diabetes" in message
    np.savez(folder / "half.npz", X=np.zeros((2, 1)), y=np.zeros(2))
    message = refused(capsys, "--data", folder)
    assert "half.npz: train_idx" in message
    message = refused(capsys, "--quick", "--out", tmp_path / "nowhere" / "rows.csv")
    assert "No such file or directory" in message


@pytest.mark.parametrize("argv", [[], ["accuracies"], ["defaults", "--splits", "0"]])
def test_commands_refused(capsys, argv):
    with pytest.raises(SystemExit) as stopped:
        program.main(argv)
    assert stopped.value.code == 2
    assert "python -m benchmarks" in capsys.readouterr().err


def test_units_command_shows_that_ours_do_not_matter(tmp_path, monkeypatch, capsys):
    ours = {"ours": BackpropRegressor((3,), solver="lm", alpha=5.0, random_state=0)}
    monkeypatch.setattr(units, "MODELS", ours)
    out = tmp_path / "units.csv"
    assert program.main(["units", "--out", str(out)]) == 0
    rows = read(out)
    assert rows[0]["change"] == "as they are"
    assert len(rows) == 6
    scores = [float(row["ours"]) for row in rows]
    assert scores == pytest.approx([scores[0]] * 6, abs=1e-3)
    assert f"{scores[0]:.2f}" in capsys.readouterr().out


# --- agreement ---


def test_disagreement_is_the_spread_over_the_error():
    y = np.array([1.0, 2.0, 3.0, 4.0])
    # Two fits, one above and one below by 1 everywhere: variance 2, mean squared error 1.
    apart, rmse = agreement.disagreement(np.array([y + 1, y - 1]), y)
    assert apart == pytest.approx(np.sqrt(2))
    assert rmse == pytest.approx(1)
    assert agreement.disagreement(np.array([y + 1, y + 1]), y) == (0.0, 1.0)


def test_seeds_reach_every_part_of_a_model():
    scaled = agreement.MODELS["MLPRegressor, scaled"](problems.load(names=["sine"])[0])
    seeded = agreement.with_seed(scaled, 7).get_params()
    seeds = {name: value for name, value in seeded.items() if name.endswith("random_state")}
    assert set(seeds.values()) == {7}


def test_agreement_command_tells_that_a_linear_model_does_not_depend_on_the_seed(
    tmp_path, monkeypatch, capsys
):
    linear = {"ours": lambda problem: BackpropRegressor(())}
    monkeypatch.setattr(agreement, "MODELS", linear)
    monkeypatch.setattr(agreement, "N_SEEDS", 3)
    out = tmp_path / "agreement.csv"
    assert program.main(["agreement", "--quick", "--out", str(out)]) == 0
    header, *rows = csv.reader(out.read_text().splitlines())
    assert header == ["problem", "split", "model", "disagreement", "rmse"]
    assert {row[0] for row in rows} == set(program.QUICK)
    assert max(float(row[3]) for row in rows) < 1e-6
    assert "over 3 seeds" in capsys.readouterr().out


# --- warnings that are expected ---


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
@pytest.mark.parametrize(
    ("model", "beginning"),
    [(BackpropRegressor, fitting.OURS_CUT_SHORT), (MLPRegressor, fitting.MLP_CUT_SHORT)],
)
def test_what_is_said_of_a_fit_cut_short_is_expected_of_that_model_alone(model, beginning, solver):
    X, y = load_wine(return_X_y=True)
    cut_short = model(hidden_layer_sizes=(3,), solver=solver, alpha=1.0, max_iter=2)
    with fitting.expecting(beginning):
        cut_short.fit(X, y)
    other = {fitting.OURS_CUT_SHORT, fitting.MLP_CUT_SHORT} - {beginning}
    with pytest.warns(ConvergenceWarning), fitting.expecting(*other):
        cut_short.fit(X, y)
