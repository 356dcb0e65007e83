"""`python -m sk_backprop`: the default job, the user's tables, messages and errors."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_linnerud, load_wine
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_validate
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sk_backprop.__main__ as program
from sk_backprop import BackpropRegressor, __version__

MODELS = ["BackpropRegressor", "early stopping", "MLPRegressor", "scaled"]
TARGETS = ["disease progression", "proline", "worst area", "Weight", "Waist", "Pulse"]
SMALL = {"hidden_layer_sizes": (5,), "solver": "lm", "alpha": 2.0, "n_networks": 1}
NUMBER = r"-?(?:\d+\.?\d*(?:e[+-]\d+)?|inf|nan)"
ROW = re.compile(rf" +(\S.*?) +({NUMBER}) \+/- ({NUMBER}) +({NUMBER}) +({NUMBER})")
HEAD = re.compile(r"  (\S.*?) +RMSE +R2 +s per fit")


def blocks(text):
    """{target: {model: (RMSE, its error, R2, seconds)}} of a report."""
    found = {}
    for line in text.splitlines():
        if head := HEAD.fullmatch(line):
            block = found.setdefault(head[1], {})
        elif row := ROW.fullmatch(line):
            block[row[1]] = tuple(float(value) for value in row.groups()[1:])
    return found


def expected(model, X, y, *, folds=5, seed=0):
    """RMSE, its standard error and R2 by scikit-learn's own cross-validation."""
    # MLPRegressor as it comes does not converge; the report says so, and is tested for it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = cross_validate(
            model,
            X,
            y,
            cv=KFold(folds, shuffle=True, random_state=seed),
            scoring=["neg_root_mean_squared_error", "r2"],
        )
    rmse = -scores["test_neg_root_mean_squared_error"]
    return rmse.mean(), rmse.std(ddof=1) / np.sqrt(folds), scores["test_r2"].mean()


def assert_agrees(row, model, X, y, **options):
    """A row of a report holds what `expected` computes, to the digits it shows."""
    rmse, error, r2 = expected(model, X, y, **options)
    assert row[0] == pytest.approx(rmse, rel=1e-3)
    assert row[1] == pytest.approx(error, rel=0.1)
    assert row[2] == pytest.approx(r2, abs=2e-3)


def write(path, header, rows, delimiter=",", encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)
    return str(path)


COMPETING_MODELS = program.competing_models


def with_small_networks(seed):
    """The models that compete, of which ours are one small network each."""
    models = COMPETING_MODELS(seed)
    ours = [model for model in models.values() if isinstance(model, BackpropRegressor)]
    assert [model.set_params(**SMALL) for model in ours]
    return models


@pytest.fixture(scope="module")
def default_job():
    """Status, stdout and stderr of the run without arguments, with small networks."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "competing_models", with_small_networks)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = program.main([])
    return status, out.getvalue(), err.getvalue()


@pytest.fixture
def quick(monkeypatch):
    """Models that fit at once, for tests of what surrounds them."""
    models = {"line": LinearRegression(), "mean": DummyRegressor()}
    monkeypatch.setattr(program, "competing_models", lambda seed: models)
    return models


@pytest.fixture
def table():
    """30 rows: two inputs and a target that is nearly linear in them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    return np.column_stack([X, X @ [1.0, -2.0] + 0.1 * rng.normal(size=30)])


def refused(capsys, *argv):
    """The message of a command that must end with status 2, in one line under the usage."""
    with pytest.raises(SystemExit) as stopped:
        program.main([str(arg) for arg in argv])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    usage, _, message = err.partition("error: ")
    assert usage.startswith("usage: python -m sk_backprop")
    assert message.count("\n") == 1
    return message.strip()


# --- the default job ---


def test_our_models_are_the_defaults_and_those_with_early_stopping():
    models = list(program.competing_models(3).values())
    ours = [BackpropRegressor(random_state=3), BackpropRegressor(early_stopping=True)]
    ours[1].set_params(random_state=3)
    for model, expected in zip(models[:2], ours, strict=True):
        assert type(model) is BackpropRegressor
        assert model.get_params() == expected.get_params()
    assert not any(isinstance(model, BackpropRegressor) for model in models[2:])


@pytest.mark.slow
def test_default_job_shows_every_model_on_every_target(default_job):
    status, out, _ = default_job
    assert status == 0
    found = blocks(out)
    assert list(found) == TARGETS
    for block in found.values():
        assert list(block) == MODELS
        for rmse, error, r2, seconds in block.values():
            assert 0 < error < rmse < 1000
            assert r2 < 1
            assert seconds >= 0
    for heading in [
        "diabetes: 442 rows, 10 columns",
        "wine: 178 rows, 12 columns",
        "breast cancer: 569 rows, 10 columns",
        "linnerud: 20 rows, 3 columns, 3 targets in one fit",
    ]:
        assert heading in out.splitlines()


@pytest.mark.slow
def test_default_job_agrees_with_cross_validation_by_scikit_learn(default_job):
    wine = load_wine().data
    X, y = wine[:, :12], wine[:, 12]
    network = MLPRegressor(max_iter=2000, random_state=0)
    scaled = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), network), transformer=StandardScaler()
    )
    block = blocks(default_job[1])["proline"]
    assert_agrees(block["BackpropRegressor"], BackpropRegressor(**SMALL, random_state=0), X, y)
    assert_agrees(block["MLPRegressor"], MLPRegressor(random_state=0), X, y)
    assert_agrees(block["scaled"], scaled, X, y)


@pytest.mark.slow
def test_default_job_shows_the_error_of_each_of_several_targets(default_job):
    X, y = load_linnerud(return_X_y=True)
    small = BackpropRegressor(**SMALL, random_state=0)
    errors = [
        np.sqrt(
            np.mean(
                (clone(small).fit(X[a], y[a]).predict(X[b]) - y[b]) ** 2,
                axis=0,
            )
        )
        for a, b in KFold(5, shuffle=True, random_state=0).split(X)
    ]
    found = blocks(default_job[1])
    shown = [found[name]["BackpropRegressor"][0] for name in ("Weight", "Waist", "Pulse")]
    assert shown == pytest.approx(np.mean(errors, axis=0), rel=1e-3)


@pytest.mark.slow
def test_default_job_notes_fits_that_did_not_converge(default_job):
    assert "  MLPRegressor: 5 of 5 fits ended with a ConvergenceWarning.\n" in default_job[1]


@pytest.mark.slow
def test_default_job_reports_progress_in_few_lines(default_job):
    assert default_job[2].splitlines() == [
        "diabetes: 20 fits",
        "wine: 20 fits",
        "breast cancer: 20 fits",
        "linnerud: 20 fits",
    ]


@pytest.mark.slow
def test_default_job_fits_a_terminal_and_ends_with_code_that_runs(default_job):
    out = default_job[1]
    assert max(map(len, out.splitlines())) <= 88
    code = textwrap.dedent(out.rpartition("\n\n")[2])
    assert code.startswith("from sk_backprop import BackpropRegressor\n")
    X, y = load_diabetes(return_X_y=True, scaled=False)
    names = {"X": X[:200], "y": y[:200], "X_new": X[200:]}
    exec(code, names)
    z = (y[200:] - names["mean"]) / names["std"]
    assert 0.7 < np.sqrt(np.mean(z**2)) < 1.4


def test_bundled_tables_are_raw_and_the_target_is_not_an_input():
    tables = {table.name: table for table in program.bundled_tables()}
    cancer = load_breast_cancer()
    assert np.array_equal(tables["breast cancer"].y[:, 0], cancer.data[:, 23])
    assert cancer.feature_names[23] == "worst area"
    assert tables["diabetes"].X[:, 0].min() == 19  # years, not scaled
    for table in tables.values():
        assert table.y.shape == (len(table.X), len(table.targets))
        for target in table.y.T:
            assert not any(np.array_equal(column, target) for column in table.X.T)


# --- the user's own table ---


def test_own_table_agrees_with_cross_validation_by_scikit_learn(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(program, "competing_models", with_small_networks)
    X, y = load_diabetes(return_X_y=True, scaled=False)
    X, y = X[:60], y[:60]
    names = load_diabetes().feature_names
    path = write(tmp_path / "d.csv", [*names, "progression"], np.column_stack([X, y]).tolist())
    argv = [path, "--target", "progression", "--folds", "4", "--seed", "3"]
    assert program.main(argv) == 0
    out = capsys.readouterr().out
    assert "4-fold cross-validation" in out
    assert "d.csv: 60 rows, 10 columns\n\n" in out
    row = blocks(out)["progression"]["BackpropRegressor"]
    assert_agrees(row, BackpropRegressor(**SMALL, random_state=3), X, y, folds=4, seed=3)


def test_own_table_with_several_targets(tmp_path, capsys, quick, table):
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    assert program.main([path, "--target", "c", "--target", "a", "--target", "c"]) == 0
    out = capsys.readouterr().out
    assert "t.csv: 30 rows, 1 column, 2 targets in one fit" in out
    found = blocks(out)
    assert list(found) == ["c", "a"]
    assert_agrees(found["c"]["line"], LinearRegression(), table[:, [1]], table[:, 2])
    assert_agrees(found["a"]["line"], LinearRegression(), table[:, [1]], table[:, 0])


@pytest.mark.parametrize(
    ("delimiter", "encoding", "option"),
    [
        (",", "utf-8", []),
        (";", "utf-8-sig", []),
        ("\t", "utf-8", []),
        (",", "utf-8-sig", ["--delimiter", "comma"]),
        (";", "utf-8", ["--delimiter", "semicolon"]),
        ("\t", "utf-8-sig", ["--delimiter", "tab"]),
    ],
)
def test_delimiters_quotes_and_byte_order_mark(
    tmp_path, capsys, quick, table, delimiter, encoding, option
):
    header = ["größe, cm; x", 'the "b"\tone', "c"]
    path = write(tmp_path / "t.txt", header, table.tolist(), delimiter, encoding)
    assert program.main([path, "--target", header[0], *option]) == 0
    out = capsys.readouterr().out
    assert "t.txt: 30 rows, 2 columns\n\n" in out
    assert_agrees(blocks(out)[header[0]]["line"], LinearRegression(), table[:, 1:], table[:, 0])


def test_blank_lines_and_spaces_do_no_harm(tmp_path, capsys, quick, table):
    lines = ["", '"a" , b, c ', *(", ".join(map(str, row)) for row in table.tolist()), "  ", ""]
    path = tmp_path / "t.csv"
    path.write_text("\r\n\r\n".join(lines), encoding="utf-8")
    assert program.main([str(path), "--target", "c"]) == 0
    assert "t.csv: 30 rows, 2 columns\n\n" in capsys.readouterr().out


def test_columns_and_rows_left_out_are_named_and_counted(tmp_path, capsys, quick, table):
    cells = [
        [str(i), repr(a), "Oslo" if i % 2 else "Rome", repr(b), "1_000", "NA", repr(c)]
        for i, (a, b, c) in enumerate(table.tolist())
    ]
    cells[3][1], cells[4][3], cells[5][6] = "", "NaN", " n/a"
    cells[6][1], cells[6][3] = "-inf", "null"
    path = write(tmp_path / "t.csv", ["", "a", "city", "b", "code", "none", "c"], cells)
    assert program.main([path, "--target", "c"]) == 0
    out = capsys.readouterr().out
    assert "t.csv: 26 rows, 2 columns" in out
    assert (
        "Columns left out: column 1, because it has no name; city, because 'Rome' is not a number; "
        "code, because '1_000' is not a number; none, because it has no values."
    ) in " ".join(out.split())
    assert "Rows left out: 4 of 30, for a missing or infinite value." in out
    kept = np.delete(table, [3, 4, 5, 6], axis=0)
    assert_agrees(blocks(out)["c"]["line"], LinearRegression(), kept[:, :2], kept[:, 2])


# --- errors ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.csv is empty"),
        ("\n  \n", "t.csv is empty"),
        ("a,y\n", "t.csv has 0 rows; at least 10 are needed"),
        ("a,y\n" + "1,2\n" * 9, "t.csv has 9 rows; at least 10 are needed"),
        ("a,y\n" + "1,2\n" * 9 + ",3\n", "t.csv has 9 complete rows, of 10; at least 10"),
        ("a,b\n" + "1,2\n" * 10, "t.csv has no column y; the columns are: a, b"),
        ("a,b,y,b,a\n" + "1,2,3,4,5\n" * 10, "t.csv has more than one column named a, b"),
        ("a,y\n" + "1,2\n" * 5 + "\n1,2,3\n", "t.csv, line 8: 3 values for 2 columns"),
        ("a,y\n" + "1,2\n" * 5 + "1\n", "t.csv, line 7: 1 values for 2 columns"),
        ("a,y\n" + "1,2\n" * 9 + "1,2 kg\n", "target y is not numeric: '2 kg' is not a number"),
        ("a;y\n" + "1;2,5\n" * 10, "target y is not numeric: '2,5' is not a number"),
        ("a,y\n" + "1,NA\n" * 10, "target y is not numeric: it has no values"),
        ("a,y\n" + "x,2\n" * 10, "t.csv has no numeric column besides the target"),
        ("y\n" + "2\n" * 10, "t.csv has no numeric column besides the target"),
        ("a,y\n" + "1,2.5\n" * 10, "the target y is 2.5 in every row"),
        ("a,y\n" + "1" * 200_000 + ",2\n", "t.csv: field larger than field limit"),
    ],
)
def test_tables_refused(tmp_path, capsys, content, message):
    path = tmp_path / "t.csv"
    path.write_text(content, encoding="utf-8")
    assert message in refused(capsys, path, "--target", "y")


def test_files_refused(tmp_path, capsys):
    missing = tmp_path / "nowhere.csv"
    message = refused(capsys, missing, "--target", "y")
    assert message == f"cannot read {missing}: No such file or directory"
    assert f"cannot read {tmp_path}: " in refused(capsys, tmp_path, "--target", "y")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("größe,y\n".encode("latin-1"))
    message = refused(capsys, latin, "--target", "y")
    assert message == f"cannot read {latin}: it is not text in UTF-8"


def test_requests_refused(tmp_path, capsys, table):
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    message = refused(capsys, path)
    assert message == "name the column to predict with --target; the columns are: a, b, c"
    message = refused(capsys, path, "--target", "y", "--target", "a", "--target", "z")
    assert message == f"{path} has no column y, z; the columns are: a, b, c"
    assert refused(capsys, "--target", "a") == "--target and --delimiter need a FILE"
    assert refused(capsys, "--delimiter", "tab") == "--target and --delimiter need a FILE"
    for folds in (1, 16):
        message = refused(capsys, path, "--target", "a", "--folds", folds)
        assert message == f"--folds must be from 2 to 15 for these data, not {folds}"
    assert "from 2 to 10 for these data" in refused(capsys, "--folds", "11")  # linnerud
    assert "--seed must be from 0 to 4294967295, not -1" in refused(capsys, "--seed", "-1")
    assert "invalid choice: 'colon'" in refused(capsys, path, "--delimiter", "colon")


# --- mishaps in fits ---


class Troubled(RegressorMixin, BaseEstimator):
    """Warns, fails or is interrupted."""

    def __init__(self, trouble=None):
        self.trouble = trouble

    def fit(self, X, y):
        self.mean_ = y.mean()
        if isinstance(self.trouble, ValueError):
            raise self.trouble
        warnings.warn(self.trouble, stacklevel=2)
        warnings.warn(self.trouble, stacklevel=2)  # counts once
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


def test_warnings_and_failures_are_counted_and_shown(tmp_path, capsys, quick, table):
    quick["stuck"] = Troubled(ConvergenceWarning("not yet"))
    quick["doubtful"] = Troubled(RuntimeWarning("overflow."))
    quick["failing"] = Troubled(ValueError("weights are\nnot finite."))
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    assert program.main([path, "--target", "c"]) == 0
    out, err = capsys.readouterr()
    assert "  stuck: 5 of 5 fits ended with a ConvergenceWarning.\n" in out
    assert "  doubtful: 5 of 5 fits warned: overflow.\n" in out
    assert "  failing: 5 of 5 fits failed: weights are not finite.\n" in out
    block = blocks(out)["c"]
    assert block["stuck"][:3] == block["doubtful"][:3] == block["mean"][:3]
    assert np.all(np.isnan(block["failing"]))
    assert err == "t.csv: 25 fits\n"


def test_only_failures(tmp_path, capsys, quick, table):
    quick.clear()
    quick["failing"] = Troubled(ValueError("no"))
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    assert program.main([path, "--target", "c"]) == 0
    assert np.all(np.isnan(blocks(capsys.readouterr().out)["c"]["failing"]))


def test_interruption_stops_the_program(tmp_path, capsys, quick, table):
    quick["interrupted"] = Troubled(UserWarning("Training interrupted by user."))
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    assert program.main([path, "--target", "c"]) == 130
    out, err = capsys.readouterr()
    assert err.endswith("\nInterrupted.\n")
    assert blocks(out) == {}


def test_who_reads_no_further_ends_the_program_without_a_traceback(tmp_path, table):
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    command = [sys.executable, "-m", "sk_backprop", path, "--target", "c", "--folds", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.stdout.readline()
        run.stdout.close()
        assert b"Error" not in run.stderr.read()
    assert run.returncode == 1


def interrupt(*_args, **_kwargs):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("model", "target"),
    [
        (MLPRegressor(), "sklearn.neural_network.MLPRegressor._backprop"),
        (BackpropRegressor(solver="lbfgs"), "sk_backprop._solvers.lbfgs.scipy_minimize"),
        (BackpropRegressor((5,), solver="lm"), "sk_backprop._solvers.levenberg_marquardt._step"),
        (BackpropRegressor(), "sk_backprop._solvers.levenberg_marquardt._step"),
    ],
)
def test_both_networks_are_stopped_by_an_interruption(monkeypatch, table, model, target):
    monkeypatch.setattr(target, interrupt)
    data = program.Table("t", table[:, :2], table[:, 2:], ["c"])
    with pytest.raises(KeyboardInterrupt):
        program.cross_validate(model, data, KFold(2))


# --- the terminal ---


def test_progress_on_a_terminal_overwrites_one_line(tmp_path, capsys, quick, table, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    assert program.main([path, "--target", "c"]) == 0
    err = capsys.readouterr().err
    assert "\n" not in err
    shown = [line.strip() for line in err.split("\r") if line.strip()]
    assert shown[0] == "t.csv: 10 fits"
    assert shown[1] == "t.csv: LinearRegression, fold 1 of 5"
    assert shown[-1] == "t.csv: DummyRegressor, fold 5 of 5"
    assert len(shown) == 11
    assert err.endswith(f"\r{' ' * 79}\r")  # wiped for the table


def test_characters_that_the_terminal_lacks_are_spelt_out(tmp_path, quick, table):
    path = write(tmp_path / "t.csv", ["a", "b", "price in €"], table.tolist())
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw, encoding="ascii")) as out:
        assert program.main([path, "--target", "price in €"]) == 0
        out.flush()
    assert b"price in \\u20ac" in raw.getvalue()


RAW = "a\x1b[2J\x1b]0;title\x07\x9b31m\n\tb\x7f\u2028\u202ec"
SHOWN = r"a\x1b[2J\x1b]0;title\x07\x9b31m\n\tb\x7f\u2028\u202ec"


def assert_harmless(text):
    assert not [c for c in text if c != "\n" and not c.isprintable()], repr(text)


@pytest.mark.parametrize("terminal", [False, True])
def test_control_characters_of_a_table_are_not_sent_to_the_terminal(
    tmp_path, capsys, quick, table, terminal, monkeypatch
):
    quick["failing"] = Troubled(ValueError(f"no {RAW}"))
    quick["doubtful"] = Troubled(UserWarning(f"hm {RAW}"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    cells = [[*row, RAW, "x"] for row in table.tolist()]
    path = write(tmp_path / "\x1b[31mt.csv", [f"{RAW}1", "b", RAW, f"{RAW}3", ""], cells)
    assert program.main([path, "--target", RAW]) == 0
    out, err = capsys.readouterr()
    assert_harmless(out)
    assert_harmless(err.replace("\r", ""))
    assert r"\x1b[31mt.csv: 30 rows, 2 columns" in out
    assert list(blocks(out)) == [SHOWN]
    assert len({len(line) for line in out.splitlines() if ROW.fullmatch(line)}) == 1
    assert rf"{SHOWN}3, because 'a\x1b[2J" in " ".join(out.split())


@pytest.mark.parametrize(
    ("header", "argv"),
    [
        (["a", RAW, "c"], []),
        (["a", RAW, "c"], ["--target", "nope"]),
        (["a", "b", "c"], ["--target", RAW]),
        (["a", RAW, RAW], ["--target", "a"]),
        (["a", "b", RAW], ["--target", RAW]),  # its first value is none
        (["a", "b", "c"], ["--target", "a", RAW]),
        (["a", "b", "c"], ["--target", "a", "--folds", RAW]),
        (["a", "b", "c"], ["--target", "a", "--delimiter", RAW]),
    ],
)
def test_control_characters_in_what_is_refused(tmp_path, capsys, table, header, argv):
    rows = [[*table[0][:2], f"1{RAW}"], *table.tolist()] if header[2] == RAW else table.tolist()
    path = write(tmp_path / "\x1b[31mt.csv", header, rows)
    message = refused(capsys, path, *argv)
    assert_harmless(message)
    assert r"\x1b" in message


def test_control_characters_in_the_name_of_a_file_that_is_missing(tmp_path, capsys):
    message = refused(capsys, tmp_path / "\x1b[31mt\udcff.csv", "--target", "y")
    assert message == (rf"cannot read {tmp_path}/\x1b[31mt\udcff.csv: No such file or directory")


@pytest.mark.parametrize("size", [1e-12, 1e-3, 1.0, 1e3, 1e9, 1e15])
def test_numbers_of_any_size_stay_in_their_columns(size):
    rng = np.random.default_rng(0)
    table = program.Table("t", np.ones((9, 2)), np.ones((9, 1)), ["y"])
    good, bad = size * rng.uniform(1, 2, (2, 5, 1)) * [[[1]], [[1e9]]]
    scores = {
        "good": program.Scores(good, 1 - good / size / 10, 0.1, []),
        "bad": program.Scores(bad, -bad / size * 1e9, 0.1, []),
    }
    text = program.format_table(table, scores)
    block = blocks(text)["y"]
    assert block["good"][0] == pytest.approx(good.mean(), rel=1e-3)
    assert block["bad"][0] == pytest.approx(bad.mean(), rel=1e-3)
    assert len({len(line) for line in text.splitlines()[2:]}) == 1


def test_errors_that_overflow_are_shown_as_they_are():
    table = program.Table("t", np.ones((9, 2)), np.ones((9, 1)), ["y"])
    infinite = np.full((5, 1), np.inf)
    text = program.format_table(table, {"m": program.Scores(infinite, -infinite, 0.1, [])})
    assert "inf +/- nan" in text
    assert "-inf" in text


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        program.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"sk_backprop {__version__}\n"


def test_help_of_the_installed_module():
    run = subprocess.run(
        [sys.executable, "-m", "sk_backprop", "--help"], capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    for word in ["FILE", "--target", "--folds", "--seed", "--delimiter", "--version", "examples:"]:
        assert word in run.stdout
