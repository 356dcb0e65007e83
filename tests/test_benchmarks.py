"""`python -m benchmarks`: its data, its CSV, its errors, and the commands with small tables."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import BayesianRidge, Ridge

# The checkout, which holds `benchmarks`; last, so that an installed sk_backprop comes first.
sys.path.append(str(Path(__file__).parents[1]))

import benchmarks.__main__ as program
from benchmarks import (
    accuracy,
    agreement,
    compare,
    difficult,
    mixed,
    problems,
    published,
    scaling,
    speed,
    table,
)
from benchmarks import units as units_command
from sk_backprop import BackpropRegressor

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def environment_of_its_own(monkeypatch):
    for name in ("SK_BACKPROP_DATA", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def linear(monkeypatch):
    """Linear models in the place of two competitors."""
    models = {"ours": lambda problem: BayesianRidge(), "mlp_scaled": lambda problem: Ridge()}
    monkeypatch.setattr(accuracy, "COMPETITORS", models)


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


def run(*argv):
    return program.main([str(word) for word in argv])


def refused(capsys, *argv):
    """The error of a command that must end with status 2, one line and nothing else."""
    assert run(*argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.strip()


# --- data ---


def test_file_is_read_with_its_splits_and_takes_the_place_of_a_built_in_set(folder):
    data = np.load(folder / "plane.npz")
    loaded = problems.load(str(folder), ["plane"], 2)
    assert [(p.name, p.split) for p in loaded] == [("plane", 0), ("plane", 1)]
    for p in loaded:
        train, test = data["train_idx"][p.split], data["test_idx"][p.split]
        for name, rows in (("train", train), ("test", test)):
            assert np.array_equal(getattr(p, f"X_{name}"), data["X"][rows])
            assert np.array_equal(getattr(p, f"y_{name}"), data["y"][rows])
    assert len(problems.load(str(folder), ["plane"], 9)) == 3
    (folder / "plane.npz").rename(folder / "sine.npz")
    assert problems.load(str(folder), ["sine"], 1)[0].X_train.shape == (30, 2)
    assert len(problems.load(str(folder), n_splits=1)) == len(problems.built_in())


def test_built_in_problems_are_the_same_at_every_call_and_finite():
    for p, again in zip(problems.load(n_splits=1), problems.load(n_splits=1), strict=True):
        n_test, n_train = len(p.y_test), len(p.y_train)
        assert n_test == (n_test + n_train) // 4
        assert p.X_train.shape == (n_train, p.X_test.shape[1])
        assert np.isfinite(p.X_train).all()
        assert p.y_test.std() > 0
        assert np.array_equal(p.X_train, again.X_train)
        assert np.array_equal(p.y_test, again.y_test)


# --- the CSV ---


@pytest.mark.parametrize(
    "rows",
    [
        [
            accuracy.Row(
                "p",
                0,
                "ours",
                0.000123456,
                -1.5,
                0.5,
                0.8,
                1.0,
                0.1,
                2.0,
                3.0,
                4.0,
                "hidden=(3,), n=1",
            ),
            accuracy.Row("p", 1, "mlp", 1e6, seconds=0.25),
        ],
        [speed.Row("uci", "mlp_scaled", "float64", ratio=7.0, repeats=7, versions="x; y")],
    ],
)
def test_csv_is_read_as_it_was_written(rows, tmp_path):
    path = str(tmp_path / "rows.csv")
    with table.writing(path, type(rows[0])) as write:
        write(rows[0])
        assert len(table.read(path, type(rows[0]))) == 1  # at once
    with table.writing(path, type(rows[0]), append=True) as write:
        for row in rows[1:]:
            write(row)
    assert repr(table.read(path, type(rows[0]))) == repr(rows)


@pytest.mark.parametrize("command", [accuracy, agreement, scaling, speed])
def test_stored_rows_are_read_and_written_to_the_byte(command, tmp_path, capsys):
    name = command.__name__.rpartition(".")[2]
    stored = ROOT / "benchmarks" / f"{name}.csv"
    rows = table.read(str(stored), command.Row)
    with table.writing(str(tmp_path / "rows.csv"), command.Row) as write:
        for row in rows:
            write(row)
    if name != "agreement":  # whose errors were written with all digits
        assert (tmp_path / "rows.csv").read_bytes() == stored.read_bytes()
    assert run(name, "--from-csv", stored) == 0
    assert len(capsys.readouterr().out.splitlines()) > 10


# --- benchmarks/README.md, and what README.md repeats of it ---


def page(*place):
    """The text of a page; minus and times as on a keyboard."""
    text = ROOT.joinpath(*place).read_text(encoding="utf-8")
    return text.replace("\u2212", "-").replace("\u00d7", "x")


README, MEASURED = page("README.md"), page("benchmarks", "README.md")


def table_of(text, heading, *groups, best=min):
    """{label: the cells beside it} of the table whose heading line begins so.

    Of each group of cells that are compared, the best ones are in bold, and no others.
    """
    lines = text[text.index(heading) :].split("\n\n")[0].splitlines()[2:]
    found = {}
    for line in lines:
        first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        bold = {k for k, cell in enumerate(cells) if cell.startswith("**")}
        found[first] = cells = [cell.strip("*") for cell in cells]
        compared = [{k: float(cells[k]) for k in group if cells[k]} for group in groups]
        assert bold == {
            k for values in compared for k in values if values[k] == best(values.values())
        }
    return found


def least(cells):
    """The cell of the smallest number."""
    return min(filter(None, cells), key=float)


def agrees(printed, value):
    """Whether a number rounds to what is printed, to the last digit that is."""
    digits = len(printed.partition(".")[2])
    return abs(float(printed) - value) <= 0.5000001 * 10.0**-digits


ERRORS = ("ours", "hgb", "gp", "mlp_scaled")
COVERED = ("coverage_50", "coverage_80", "coverage_95")


@pytest.mark.parametrize(
    ("text", "measures", "covered"),
    [(README, (), COVERED[2:]), (MEASURED, ("log_likelihood",), COVERED)],
    ids=["README.md", "benchmarks/README.md"],
)
def test_pages_say_what_accuracy_csv_holds(text, measures, covered):
    rows = table.read(str(ROOT / "benchmarks" / "accuracy.csv"), accuracy.Row)
    names = {published.SHORT.get(name, name): name for name in published.RMSE}
    heading = "| | ours | HistGradientBoosting | Gaussian process | MLPRegressor, scaled | best"
    lines = table_of(text, heading, range(5))
    assert lines.keys() == names.keys()
    for short, (*errors, coverage, seconds) in lines.items():

        def found(competitor, measure, problem=names[short]):
            return list(accuracy.by_split(rows, problem, competitor, measure).values())

        errors, best, more = errors[:4], errors[4], errors[5:]
        for printed, competitor in zip(errors, ERRORS, strict=True):
            values = found(competitor, "rmse")
            assert agrees(printed, np.mean(values)) if printed else not values
        assert best == str(published.best(names[short])[0][0])
        for printed, measure in zip(more, measures, strict=True):
            assert agrees(printed, np.mean(found("ours", measure)))
        for printed, measure in zip(coverage.split(", "), covered, strict=True):
            assert agrees(printed, 100 * np.mean(found("ours", measure)))
        assert agrees(seconds, np.median(found("ours", "seconds")))
    lowest = [short for short, cells in lines.items() if cells[0] == least(cells[:5])]
    assert len(lowest) == 7  # as README.md says


def test_pages_say_what_distributions_score():
    rows = table.read(str(ROOT / "benchmarks" / "accuracy.csv"), accuracy.Row)
    names = {published.SHORT.get(name, name): name for name in published.RMSE}
    columns = [(name, "crps") for name in ("ours", "ngboost", "gp")]
    columns += [(n, m) for m in accuracy.INTERVAL_SCORES for n in ("ours", "conformal")]
    lines = table_of(MEASURED, "| | CRPS: ours | NGBoost |", range(3), range(3, 5), range(5, 7))
    assert lines.keys() == names.keys()
    worse = {}
    for short, printed in lines.items():
        means = []
        for value, (name, measure) in zip(printed, columns, strict=True):
            found = list(accuracy.by_split(rows, names[short], name, measure).values())
            means.append(np.mean(found) if found else np.inf)
            assert agrees(value, means[-1]) if value else not found
        assert means[0] < min(means[1:3])  # README.md: on all nine sets
        ratios = [means[0] / min(means[1:3]), means[3] / means[4], means[5] / means[6]]
        if max(ratios) > 1:
            worse[short] = 100 * (max(ratios) - 1)
    assert worse.keys() == {"power"}
    assert agrees("0.4", worse["power"])


def test_pages_say_what_tables_csv_holds():
    rows = table.read(str(ROOT / "benchmarks" / "tables.csv"), accuracy.Row)
    lines = table_of(MEASURED, "| | ours | HistGradientBoosting | CatBoost |", range(4))
    assert lines.keys() == problems.TABLES.keys()
    names, ratios, seconds_of = ("ours", "hgb", "catboost", "realmlp"), [], []
    for problem, (*errors, seconds) in lines.items():
        found = {
            name: [accuracy.by_split(rows, problem, name, m) for m in ("rmse", "seconds")]
            for name in names
        }
        assert all(set(values) == set(range(5)) for pair in found.values() for values in pair)
        means = [np.mean(list(found[name][0].values())) for name in names]
        assert all(map(agrees, errors, means))
        ratios.append(means[0] / np.array(means[1:]))
        timed = [np.median(list(found[name][1].values())) for name in (names[0], *names[2:])]
        assert all(map(agrees, seconds.split("; "), timed))
        seconds_of.append(timed)
    for printed, value in zip((".97", "1.00", ".95"), np.exp(np.mean(np.log(ratios), axis=0))):
        assert agrees(printed, value)
    assert ".97, 1.00 and .95 times" in README
    assert ".97, 1.00 and .95 times" in MEASURED
    assert agrees("1.09", np.max(ratios))
    ranges = [("2.7", "38"), ("0.8", "5.6"), ("46", "107")]  # seconds, in README.md
    for (least, most), values in zip(ranges, np.transpose(seconds_of), strict=True):
        assert agrees(least, values.min())
        assert agrees(most, values.max())
        assert f"{least} to {most}" in README


def test_pages_say_what_mixed_csv_holds():
    rows = table.read(str(ROOT / "benchmarks" / "mixed.csv"), mixed.Row)
    lines = table_of(MEASURED, "| | ours | HistGradientBoosting | in 95 %", range(2))
    assert lines.keys() == mixed.TABLES.keys()
    for problem, (*errors, coverage) in lines.items():
        ours, trees = (
            [row for row in rows if (row.problem, row.competitor) == (problem, name)]
            for name in ("ours", "hgb")
        )
        assert [row.fold for row in ours] == [row.fold for row in trees] == list(range(5))
        means = [np.mean([row.rmse for row in one]) for one in (ours, trees)]
        assert all(map(agrees, errors, means))
        assert agrees(coverage, 100 * np.mean([row.coverage_95 for row in ours]))
    by_fold = {
        (row.problem, row.fold): row.rmse / other.rmse
        for row in rows
        for other in rows
        if row.competitor == "ours"
        and other.competitor == "hgb"
        and (row.problem, row.fold) == (other.problem, other.fold)
    }
    for problem, printed in (("cars93", "2.5"), ("ames", "1.6")):
        assert agrees(printed, max(v for (name, _), v in by_fold.items() if name == problem))
    ratios = mixed.ratios(rows)
    mean, largest = np.exp(np.mean(np.log(list(ratios.values())))), max(ratios.values())
    said = r"([.\d]+) times that of HistGradientBoosting[^.]*, and at most ([.\d]*\d) times"
    for text in (README, MEASURED):
        printed = re.search(said, " ".join(text.split()))
        assert agrees(printed[1], mean)
        assert agrees(printed[2], largest)


def test_difficult_csv_holds_the_tables_that_are_made():
    rows = table.read(str(ROOT / "benchmarks" / "difficult.csv"), accuracy.Row)
    for problem in difficult.TABLES:
        ours, trees = (accuracy.by_split(rows, problem, name, "rmse") for name in ("ours", "hgb"))
        assert set(ours) == set(trees) == set(range(10))
    better = {
        name: [
            problem
            for problem in difficult.TABLES
            if mean_of(rows, problem, name) < mean_of(rows, problem, "ours")
        ]
        for name in ("hgb", "gp")
    }
    assert better["hgb"] == ["friedman1, 1000 columns"]
    assert len(better["gp"]) == 4
    assert len(difficult.TABLES) == 17


def test_mixed_measures_both_on_a_frame_as_it_is(monkeypatch, capsys):
    x = np.random.default_rng(0).normal(10, 5, size=50)
    frame = pd.DataFrame({"x": x, "s": ["u", "v"] * 25})
    frame["z"] = np.where(x > 5, x, np.nan)
    y = frame["x"].to_numpy() + 9 * (frame["s"] == "v").to_numpy()
    monkeypatch.setattr(mixed, "frame_of", lambda name: (frame, y))
    monkeypatch.setattr(mixed, "N_FOLDS", 2)
    assert run("mixed", "--problems", "mpg") == 0
    assert re.search(r"mpg +0\.0\d\d +\d\.\d+", capsys.readouterr().out)


def test_trees_get_categories_that_they_can_take():
    frame = pd.DataFrame({"x": np.arange(600.0), "s": ["u", "v"] * 300})
    frame["many"] = [f"level {k}" for k in range(600)]
    found = mixed.for_trees(frame)
    assert list(found) == ["x", "s"]
    assert found["s"].cat.categories.tolist() == ["u", "v"]


def mean_of(rows, problem, name):
    return np.mean(list(accuracy.by_split(rows, problem, name, "rmse").values()))


def test_page_says_what_speed_csv_holds():
    rows = table.read(str(ROOT / "benchmarks" / "speed.csv"), speed.Row)
    ratios = {(row.row, row.peer, row.threads): row.ratio for row in reversed(rows)}
    said = {
        "adam, 20,000 x 10, 100 units": [("adam-100", "mlp"), ("adam-100", "torch_fused")],
        "adam, 20,000 x 10, 50 units": [
            ("adam-50", peer) for peer in ("mlp", "torch_fused", "jax")
        ],
        "adam, 20,000 x 50": [("adam-wide", "mlp"), ("adam-wide", "torch_fused")],
        "adam, 500": [("adam-small", "mlp"), ("adam-small", "torch_fused")],
        "lbfgs, 50,000": [("lbfgs-50000", "mlp"), ("lbfgs-50000", "mlp", 2)],
        "lbfgs, 2,000": [("lbfgs-2000", "mlp")],
        "lm, to the test error": [("uci", "mlp_scaled")],
        "predict a million": [("predict-million", "mlp"), ("predict-one", "mlp")],
        "fit of 50 rows": [("overhead-adam", "mlp"), ("overhead-lbfgs", "mlp")],
        "grid search": [("grid-search", "mlp")],
    }
    lines = table_of(MEASURED, "| work | MLPRegressor |")
    assert len(lines) == len(said)
    for (label, cells), (beginning, keys) in zip(lines.items(), said.items(), strict=True):
        assert label.startswith(beginning)
        printed = [number for cell in cells for number in cell.split("; ") if number]
        for number, (*key, threads) in zip(printed, [(*key, 1)[:3] for key in keys], strict=True):
            assert agrees(number, ratios[(*key, threads)])
    assert {row.peer for row in rows} - set(speed.PEERS) == {"skorch", "nnet", "pyrenn", "dsyrk"}
    for peer, printed in (("skorch", ("2.4", "28")), ("nnet", ("9.0",)), ("pyrenn", ("75",))):
        found = sorted(row.ratio for row in rows if row.peer == peer)
        assert all(agrees(*pair) for pair in zip(printed, (found[0], found[-1])))
        assert printed[-1] in MEASURED


def test_pages_say_what_agreement_csv_holds():
    rows = table.read(str(ROOT / "benchmarks" / "agreement.csv"), agreement.Row)
    for model, least, most in (
        ("BackpropRegressor", "0.10", "0.20"),
        ("n_networks=1", "0.19", "0.58"),
    ):
        found = [r.disagreement for r in rows if r.model == model and r.problem != "diabetes"]
        assert agrees(least, min(found))
        assert agrees(most, max(found))
        words = " ".join(MEASURED.split())
        assert f"{least} to {most} of the RMSE" in words or f"{least} to {most} with" in words
    assert "0.10 to 0.20 of the RMSE" in " ".join(README.split())


# --- errors and the command line ---


def test_data_refused(folder, tmp_path, capsys):
    nowhere = tmp_path / "nowhere"
    message = refused(capsys, "accuracy", "--data", nowhere)
    assert message.endswith(f"error: the data folder {nowhere} does not exist")
    message = refused(capsys, "agreement", "--data", tmp_path)
    assert message.endswith(f"the data folder {tmp_path} has no .npz file")
    message = refused(capsys, "accuracy", "--data", folder, "--problems", "sine", "plain")
    assert "no data set plain; there are: plane, diabetes" in message
    np.savez(folder / "half.npz", X=np.zeros((2, 1)), y=np.zeros(2))
    message = refused(capsys, "accuracy", "--data", folder)
    assert "half.npz: train_idx" in message
    message = refused(capsys, "units", "--out", nowhere / "rows.csv")
    assert "No such file or directory" in message
    path = tmp_path / "rows.csv"
    path.write_text("of yesterday", encoding="utf-8")
    refused(capsys, "accuracy", "--problems", "plain", "--out", path)
    assert path.read_text(encoding="utf-8") == "of yesterday"


def test_files_refused(tmp_path, capsys, monkeypatch):
    assert "--resume" in refused(capsys, "accuracy", "--quick", "--resume")
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    assert f"{path} is not a CSV of this command" in refused(capsys, "units", "--from-csv", path)
    assert "is not a CSV" in refused(capsys, "accuracy", "--quick", "--resume", "--out", path)
    path.write_text("change,model,r2\nnone,ours,high\n", encoding="utf-8")
    assert f"{path}, line 2" in refused(capsys, "units", "--from-csv", path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = refused(capsys, "accuracy", "--quick", "--plot", "a.png")
    assert "--plot needs matplotlib" in message


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ([], "COMMAND"),
        (["accuracies"], "accuracies"),
        (["accuracy", "--splits", "0"], "--splits"),
        (["accuracy", "--competitors", "theirs"], "--competitors"),
        (["scaling", "--plot", "picture.bmp"], "--plot"),
        (["speed", "--rows", "adam-51"], "--rows"),
        (["compare", "."], "NEW"),
        (["compare", "tests", "."], "tests holds no folder sk_backprop"),
    ],
)
def test_commands_refused(capsys, argv, named):
    with pytest.raises(SystemExit) as stopped:
        run(*argv)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "python -m benchmarks" in message
    assert named in message


def test_ctrl_c_ends_a_command_that_keeps_its_rows(tmp_path, linear, monkeypatch, capsys):
    class Interrupted(Ridge):
        def fit(self, X, y):
            # What BackpropRegressor says once it has kept the weights it had reached.
            warnings.warn("Training interrupted; and so on", UserWarning, stacklevel=1)
            raise AssertionError("the command went on")

    def pressed(problem):
        raise KeyboardInterrupt

    path = tmp_path / "rows.csv"
    for make in (pressed, lambda problem: Interrupted()):
        monkeypatch.setitem(accuracy.COMPETITORS, "hgb", make)
        assert run("accuracy", "--quick", "--competitors", "ours", "hgb", "--out", path) == 130
        assert [row.competitor for row in table.read(str(path), accuracy.Row)] == ["ours"]
        assert capsys.readouterr().err.endswith("Interrupted.\n")


def test_settings_that_slow_blas_down_are_reported(linear, monkeypatch, capsys):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert run("accuracy", "--problems", "sine", "--splits", "1") == 0
    out, err = capsys.readouterr()
    assert "Note: OPENBLAS_CORETYPE slow numpy down; unset to measure time.\n" in err
    for word in ("numpy", "scipy", "sklearn", "kernel", "threads: 1"):
        assert word in out


# --- units, agreement, compare ---


def test_units_command_shows_that_ours_do_not_matter(tmp_path, monkeypatch, capsys):
    ours = {"ours": BackpropRegressor((3,), solver="lm", alpha=5.0, random_state=0)}
    monkeypatch.setattr(units_command, "MODELS", ours)
    out = tmp_path / "units.csv"
    assert run("units", "--out", out) == 0
    rows = table.read(str(out), units_command.Row)
    assert len({row.change for row in rows}) == len(rows) == 6
    assert [row.r2 for row in rows] == pytest.approx([rows[0].r2] * 6, abs=1e-3)
    printed = capsys.readouterr().out
    assert f"{rows[0].r2:.2f}" in printed
    shown = table_of(MEASURED, "| the same data |", range(4), best=max)
    assert all(change in printed for change in shown)
    assert {cells[0] for cells in shown.values()} == {"0.49"}
    first, in_thousandths = shown["as they are"][2], shown["y in thousandths"][2]
    assert f"from {first} to {in_thousandths}." in " ".join(README.split())


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
    assert {value for name, value in seeded.items() if name.endswith("random_state")} == {7}


@pytest.mark.slow
def test_agreement_command_tells_that_a_linear_model_does_not_depend_on_the_seed(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(agreement, "MODELS", {"ours": lambda problem: BackpropRegressor(())})
    monkeypatch.setattr(agreement, "N_SEEDS", 3)
    out = tmp_path / "agreement.csv"
    assert run("agreement", "--quick", "--out", out) == 0
    rows = table.read(str(out), agreement.Row)
    assert {row.problem for row in rows} == set(problems.QUICK)
    assert max(row.disagreement for row in rows) < 1e-6
    assert "over 3 seeds" in capsys.readouterr().out


@pytest.mark.slow
def test_compare_tells_the_same_bits_from_others_and_twice_the_time(tmp_path, folder, capfd):
    """The package beside one that takes longer and adds the number of threads to predictions."""
    other = tmp_path / "other" / "sk_backprop"
    other.mkdir(parents=True)
    package = Path(sys.modules["sk_backprop"].__file__).parent
    (other / "__init__.py").write_text(
        f"""\
import os, time
__path__ = [{str(package)!r}]
__version__ = "changed"
from sk_backprop._estimator.regressor import BackpropRegressor as Before
class BackpropRegressor(Before):
    def fit(self, X, y):
        time.sleep(0.5)
        return super().fit(X, y)
    def predict(self, X, return_std=False):
        mean, std = super().predict(X, return_std=True)
        mean += int(os.environ["OPENBLAS_NUM_THREADS"])
        return (mean, std) if return_std else mean
""",
        encoding="utf-8",
    )
    argv = ["--data", folder, "--problems", "plane", "--settings", "lbfgs", "--repeats", "2"]
    out = tmp_path / "rows.csv"
    assert run("compare", package.parent, package.parent, *argv, "--out", out) == 0
    (row,) = table.read(str(out), compare.Row)
    assert (row.problem, row.split, row.setting, row.repeats) == ("plane", 0, "lbfgs", 2)
    assert (row.bits, row.difference) == ("same", 0.0)
    assert row.ratio == pytest.approx(row.new_median_s / row.old_median_s, rel=1e-4)
    assert "same bits: 1 of 1" in capfd.readouterr().out
    assert run("compare", package.parent, other.parent, *argv, "--out", out) == 0
    (row,) = table.read(str(out), compare.Row)
    assert row.new_median_s > 0.5 + row.old_median_s / 2
    assert row.bits == "differ"
    spread = problems.load(str(folder), ["plane"], 1)[0].y_test.std()
    assert row.difference == pytest.approx(1 / spread, rel=1e-4)
    assert "same bits: 0 of 1" in capfd.readouterr().out
    argv += ["--threads", "1", "3"]
    assert run("compare", other.parent, other.parent, *argv, "--out", out) == 0
    (row,) = table.read(str(out), compare.Row)
    assert row.difference == pytest.approx(2 / spread, rel=1e-4)
