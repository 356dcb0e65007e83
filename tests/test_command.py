"""`python -m sk_backprop`: comparisons, messages and errors."""

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
from commands import refused
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.model_selection import KFold, cross_validate
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_backprop import BackpropRegressor, __version__
from sk_backprop._command import checks, compare, contenders, evaluation, parser
from sk_backprop._command.contenders import OURS, Contender
from sk_backprop._command.evaluation import Scores
from sk_backprop._command.parser import main
from sk_backprop._command.terminal import Progress

MODELS = [
    *("BackpropRegressor", "mean", "RidgeCV", "HistGradientBoostingRegressor", "MLPRegressor"),
    "scaled",
]
TARGETS = ["disease progression", "proline", "petal width"]
SMALL = {"hidden_layer_sizes": (5,), "solver": "lm", "alpha": 2.0, "n_networks": 1}
NUMBER = r"-?(?:\d+\.?\d*(?:e[+-]\d+)?|inf|nan)"
ROW = re.compile(rf"([* ]) +(\S.*?) +({NUMBER}) \+/- ({NUMBER}) +({NUMBER}) +({NUMBER})")
HEAD = re.compile(r"  (\S.*?) +RMSE +R2 +s per fit")


def blocks(text):
    """{target: {model: (RMSE, its error, R2, seconds)}} of a report."""
    found = {}
    for line in text.splitlines():
        if head := HEAD.fullmatch(line):
            block = found.setdefault(head[1], {})
        elif row := ROW.fullmatch(line):
            block[row[2]] = tuple(float(value) for value in row.groups()[2:])
    return found


def marked(text):
    """The models that are marked as the best."""
    return [row[2] for row in map(ROW.fullmatch, text.splitlines()) if row and row[1] == "*"]


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


CONTENDERS = contenders.contenders


def with_small_networks(table, seed):
    """The competing models; ours is one small network."""
    named = CONTENDERS(table, seed)
    named[OURS].model.set_params(**SMALL)
    return named


@pytest.fixture(scope="module")
def default_job():
    """Status, stdout and stderr of the run without arguments, with small networks."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "contenders", with_small_networks)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([])
    return status, out.getvalue(), err.getvalue()


@pytest.fixture
def quick(monkeypatch):
    """Models that fit at once, for tests of what surrounds them."""
    models = {"line": LinearRegression(), "mean": DummyRegressor()}
    monkeypatch.setattr(
        compare,
        "contenders",
        lambda table, seed: {name: Contender(m, table.matrix) for name, m in models.items()},
    )
    return models


@pytest.fixture
def table():
    """30 rows: two inputs and a target that is nearly linear in them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    return np.column_stack([X, X @ [1.0, -2.0] + 0.1 * rng.normal(size=30)])


# --- the default job ---


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
        "diabetes: 442 rows, 10 columns to predict from",
        "wine: 178 rows, 12 columns to predict from",
        "iris: 150 rows, 3 columns to predict from",
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
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13)))
    assert_agrees(block["BackpropRegressor"], BackpropRegressor(**SMALL, random_state=0), X, y)
    assert_agrees(block["mean"], DummyRegressor(), X, y)
    assert_agrees(block["RidgeCV"], ridge, X, y)
    trees = HistGradientBoostingRegressor(random_state=0)
    assert_agrees(block["HistGradientBoostingRegressor"], trees, X, y)
    assert_agrees(block["MLPRegressor"], MLPRegressor(random_state=0), X, y)
    assert_agrees(block["scaled"], scaled, X, y)


@pytest.mark.slow
def test_default_job_marks_the_best_and_says_where_ours_is_not(default_job):
    out = default_job[1]
    best = [min(block, key=lambda name: block[name][0]) for block in blocks(out).values()]
    assert marked(out) == best
    said = " ".join(out.split())
    for name in best:
        assert f"{'MLPRegressor, scaled' if name == 'scaled' else name} has the lowest" in said
    assert best[2] != OURS  # of iris, trees or lines predict better


@pytest.mark.slow
def test_default_job_counts_held_out_values_in_the_intervals(default_job):
    X, y = load_iris().data[:, :3], load_iris().data[:, 3]
    covered, width = [], []
    for train, test in KFold(5, shuffle=True, random_state=0).split(X):
        model = BackpropRegressor(**SMALL, random_state=0).fit(X[train], y[train])
        low, high = model.predict_interval(X[test], 0.95).T
        covered.append(np.mean((low <= y[test]) & (y[test] <= high)))
        width.append(np.mean(high - low))
    text = " ".join(default_job[1].split())
    assert (
        f"intervals hold {100 * np.mean(covered):.1f} % of the held-out values; their mean width "
        f"is {evaluation.shown_number(np.mean(width))}."
    ) in text


@pytest.mark.slow
def test_default_job_reports_progress_in_few_lines(default_job):
    lines = default_job[2].splitlines()
    for name in ("diabetes", "wine", "iris"):
        estimates = [one for one in lines if one.startswith(f"{name}: first fit ")]
        assert len(estimates) == 1
        assert re.search(r"; about [\d.]+ (s|min) for all 30$", estimates[0])
    assert len(lines) < 20
    assert "  MLPRegressor: 5 of 5 fits ended with a ConvergenceWarning.\n" in default_job[1]


@pytest.mark.slow
def test_default_job_fits_a_terminal_and_ends_with_code_that_runs(default_job):
    out = default_job[1]
    assert max(map(len, out.splitlines())) <= 88
    code = textwrap.dedent(out.partition("as they are:\n\n")[2])
    assert code.startswith("from sklearn.datasets import load_diabetes\n")
    names = {}
    exec(code, names)
    assert names["mean"].shape == (5,)
    assert np.all(names["std"] > 0)


def test_bundled_tables_are_raw_and_the_target_is_not_an_input():
    tables = {table.name: table for table in contenders.bundled_tables()}
    assert np.array_equal(tables["iris"].y[:, 0], load_iris().data[:, 3])
    assert tables["diabetes"].matrix[:, 0].min() == 19  # years, not scaled
    for table in tables.values():
        assert table.y.shape == (len(table.matrix), len(table.targets))
        for target in table.y.T:
            assert not any(np.array_equal(column, target) for column in table.matrix.T)


# --- the user's own table ---


def test_our_model_is_the_default_and_takes_a_frame():
    named = CONTENDERS(contenders.bundled_tables()[2], 3)
    assert named[OURS].model.get_params() == BackpropRegressor(random_state=3).get_params()
    assert list(named[OURS].X.columns) == load_iris().feature_names[:3]
    assert [name.strip() for name in named] == MODELS


@pytest.mark.slow
def test_own_table_agrees_with_cross_validation_by_scikit_learn(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compare, "contenders", with_small_networks)
    X, y = load_diabetes(return_X_y=True, scaled=False)
    X, y = X[:60], y[:60]
    names = load_diabetes().feature_names
    path = write(tmp_path / "d.csv", [*names, "progression"], np.column_stack([X, y]).tolist())
    argv = [path, "--target", "progression", "--folds", "4", "--seed", "3"]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "4-fold cross-validation" in out
    assert "d.csv: 60 rows, 10 columns to predict from\n\n" in out
    row = blocks(out)["progression"]["BackpropRegressor"]
    assert_agrees(row, BackpropRegressor(**SMALL, random_state=3), X, y, folds=4, seed=3)


@pytest.mark.parametrize("job", [[], ["compare"]])
def test_own_table_with_several_targets(tmp_path, capsys, quick, table, job):
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    assert main([*job, path, "--target", "c", "--target", "a", "--target", "c"]) == 0
    out = capsys.readouterr().out
    assert "t.csv: 30 rows, 1 column to predict from, 2 targets in one fit" in out
    found = blocks(out)
    assert list(found) == ["c", "a"]
    assert_agrees(found["c"]["line"], LinearRegression(), table[:, [1]], table[:, 2])
    assert_agrees(found["a"]["line"], LinearRegression(), table[:, [1]], table[:, 0])


def test_baselines_take_categories_and_gaps(tmp_path):
    # Codes of levels mean nothing by themselves: those in order would mislead a line.
    from sk_backprop._command._reading.tables import load_table

    effect = {"a": 0.0, "b": 10.0, "c": 1.0}
    rows = [[k, "" if i % 9 == 4 else i, effect[k] + i] for i, k in enumerate("abc" * 20)]
    table = load_table(write(tmp_path / "t.csv", ["k", "x", "y"], rows), ["y"])
    named = CONTENDERS(table, 0)
    for name in ("RidgeCV", "MLPRegressor", "  scaled", "HistGradientBoostingRegressor"):
        with warnings.catch_warnings():
            # MLPRegressor with its defaults does not converge in 200 iterations.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = named[name].model.fit(named[name].X, table.y[:, 0])
        assert np.all(np.isfinite(model.predict(named[name].X)))
    line = named["RidgeCV"].model
    at = np.array([[0.0, 30.0], [1.0, 30.0], [2.0, 30.0]])
    levels = line.predict(at) - line.predict(at[:1])
    assert levels == pytest.approx([0, 10, 1], abs=2)


def test_the_columns_are_listed_and_lines_fit_a_terminal(
    tmp_path, capsys, quick, table, monkeypatch
):
    cells = [["x" * 300, "Oslo" if i % 2 else "Rome", *row] for i, row in enumerate(table.tolist())]
    cells[3][2], cells[4][2] = "n/a", "seventy"
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t.csv", ["long " * 10, "city", "a", "b", "c"], cells)
    quick["line"] = quick.pop("mean")  # which takes no notice of gaps
    assert main(["t.csv", "--target", "c"]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if len(line) > 88] == []
    for line in [
        "  c                         target",
        "  city                      category     2 levels: Oslo, Rome",
        "  a                         number       2 missing; 1 cell unreadable, taken as",
        "  b                         number",
    ]:
        assert any(one.startswith(line) for one in out.splitlines()), line
    assert re.search(r"  long long long long\S* \S*\.\.\.  left out +it is 'xxx", out)


# --- errors ---


def test_files_refused(tmp_path, capsys):
    missing = tmp_path / "nowhere.csv"
    message = refused(capsys, missing, "--target", "y")
    assert message == f"cannot read {missing}: No such file or directory"
    assert f"cannot read {tmp_path}: " in refused(capsys, tmp_path, "--target", "y")
    message = refused(capsys, "https://example.org/t.csv", "--target", "y")
    assert message.endswith("this command reads files: download it first")


def test_requests_refused(tmp_path, capsys, table):
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    message = refused(capsys, path)
    assert message == (
        "name the column to predict with --target; the columns of t.csv are: a, b, c"
    )
    assert refused(capsys, path, "--target", "z") == "t.csv has no column z; it has: a, b, c"
    assert "do you mean a?" in refused(capsys, path, "--target", "A")
    for options in (["--target", "a"], ["--delimiter", "tab"], ["--drop", "a"]):
        assert "need a FILE" in refused(capsys, *options)
    for folds in (16, 40):
        message = refused(capsys, path, "--target", "a", "--folds", folds)
        assert message == f"--folds must be from 2 to 15 for these data, not {folds}"
    assert "--folds must be at least 2, not 1" in refused(capsys, "--folds", "1")
    assert "from 2 to 75 for these data" in refused(capsys, "--folds", "76")  # iris
    assert "--seed must be from 0 to 4294967295, not -1" in refused(capsys, "--seed", "-1")
    assert "invalid choice: 'colon'" in refused(capsys, path, "--delimiter", "colon")
    both = ["--decimal", ",", "--thousands", ","]
    assert "must differ" in refused(capsys, path, "--target", "a", *both)
    assert "t.csv has no column to predict from" in refused(
        capsys, path, "--target", "a", "--drop", "b", "--drop", "c"
    )


def test_reports_refused(tmp_path, capsys, table, monkeypatch):
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    page = ["report", path, "--target", "a", "-o"]
    assert "ends in .html" in refused(capsys, *page, tmp_path / "r.pdf")
    assert "there is no folder" in refused(capsys, *page, tmp_path / "no" / "r.html")
    (tmp_path / "r.html").mkdir()
    assert "that is a folder" in refused(capsys, *page, tmp_path / "r.html")
    two = ["--target", "b"]
    assert "one report for each" in refused(capsys, *page, tmp_path / "s.html", *two)
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    message = refused(capsys, *page, tmp_path / "s.html")
    assert message == "a report needs: python -m pip install matplotlib"


def test_a_table_too_large_for_the_memory(tmp_path, capsys, monkeypatch):
    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr("sk_backprop._command._reading.tables.load_table", fail)
    assert "too large for the memory" in refused(capsys, tmp_path, "--target", "y")


def test_mistakes_show_before_anything_slow_is_imported(tmp_path, table):
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    model = str(tmp_path / "m.joblib")
    code = textwrap.dedent(
        f"""
        import sys
        from sk_backprop._command.parser import main
        for argv in (
            ["--version"], ["--help"], ["--nonsense"], ["nowhere.csv", "--target", "y"],
            [{path!r}], [{path!r}, "--target", "z"], [{path!r}, "--target", "a", "--folds", "99"],
            ["fit", {path!r}, "--target", "a", "-o", "m.txt"], ["predict", {model!r}, {path!r}],
            ["formula", {model!r}], ["report", {path!r}, "--target", "a", "-o", "r.txt"],
        ):
            try:
                main(argv)
            except SystemExit as stopped:
                assert stopped.code == (0 if argv in (["--version"], ["--help"]) else 2), argv
            slow = {{"sklearn", "scipy", "pandas", "matplotlib", "joblib"}} & set(sys.modules)
            assert not slow, (argv, slow)
        """
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


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
    assert main([path, "--target", "c"]) == 0
    out, err = capsys.readouterr()
    assert "  stuck: 5 of 5 fits ended with a ConvergenceWarning.\n" in out
    assert "  doubtful: 5 of 5 fits warned: overflow.\n" in out
    assert "  failing: 5 of 5 fits failed: weights are not finite.\n" in out
    block = blocks(out)["c"]
    assert block["stuck"][:3] == block["doubtful"][:3] == block["mean"][:3]
    assert np.all(np.isnan(block["failing"]))
    assert re.fullmatch(r"t.csv: 25 fits\nt.csv: first fit .* for all 25\n", err)


def test_only_failures(tmp_path, capsys, quick, table):
    quick.clear()
    quick["failing"] = Troubled(ValueError("no"))
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    assert main([path, "--target", "c"]) == 0
    assert np.all(np.isnan(blocks(capsys.readouterr().out)["c"]["failing"]))


def test_interruption_stops_the_program(tmp_path, capsys, quick, table):
    quick["interrupted"] = Troubled(UserWarning("Training interrupted by user."))
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    assert main([path, "--target", "c"]) == 130
    out, err = capsys.readouterr()
    assert err.endswith("\nInterrupted.\n")
    assert blocks(out) == {}


@pytest.mark.slow
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
    X, y = table[:, :2], table[:, 2:]
    with pytest.raises(KeyboardInterrupt):
        evaluation.cross_validate({"m": Contender(model, X)}, y, KFold(2), "t", Progress())


# --- the terminal ---


def test_progress_on_a_terminal_overwrites_one_line(tmp_path, capsys, quick, table, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    path = write(tmp_path / "t.csv", ["a", "b", "c"], table.tolist())
    assert main([path, "--target", "c"]) == 0
    err = capsys.readouterr().err
    assert "\n" not in err
    shown = [line.strip() for line in err.split("\r") if line.strip()]
    assert shown[:2] == ["t.csv: 10 fits", "t.csv: fold 1 of 5, line"]
    assert re.fullmatch(r"t.csv: fold 5 of 5, mean; about [\d.]+ s left", shown[-1])
    assert len(shown) == 12  # a line for each fit, their number, and the estimate
    assert err.endswith(f"\r{' ' * 79}\r")  # wiped for the table


def test_progress_elsewhere_is_a_line_now_and_then(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("sk_backprop._command.terminal.time.monotonic", lambda: clock[0])
    progress = Progress()
    for seconds, text in zip([3.0, 9.0, 10.0, 15.0, 20.5], "abcde", strict=True):
        clock[0] = seconds
        progress.update(text)
    assert capsys.readouterr().err == "c\ne\n"


def test_characters_that_the_terminal_lacks_are_spelt_out(tmp_path, quick, table):
    path = write(tmp_path / "t.csv", ["a", "b", "price in €"], table.tolist())
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw, encoding="ascii")) as out:
        assert main([path, "--target", "price in €"]) == 0
        out.flush()
    assert b"price in \\u20ac" in raw.getvalue()


RAW = "a\x1b[2J\x1b]0;title\x07\x9b31m\n\tb\x7f\u2028\u202ec"


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
    assert main([path, "--target", RAW]) == 0
    out, err = capsys.readouterr()
    assert_harmless(out)
    assert_harmless(err.replace("\r", ""))
    assert r"\x1b[31mt.csv: 30 rows, 2 columns" in out
    assert list(blocks(out)) == [r"a\x1b[2J\x1b]0;title\x07\x9b31m b\x7f..."]
    assert len({len(line) for line in out.splitlines() if ROW.fullmatch(line)}) == 1
    assert r"left out     it is 'a\x1b[2J\x1b]0;" in out


@pytest.mark.parametrize(
    ("header", "argv"),
    [
        (["a", RAW, "c"], []),
        (["a", RAW, "c"], ["--target", "nope"]),
        (["a", "b", "c"], ["--target", RAW]),
        (["a", "b", RAW], ["--target", RAW]),  # none of its values is a number
        (["a", "b", "c"], ["--target", "a", RAW]),
        (["a", "b", "c"], ["--target", "a", "--folds", RAW]),
        (["a", "b", "c"], ["--target", "a", "--delimiter", RAW]),
    ],
)
def test_control_characters_in_what_is_refused(tmp_path, capsys, table, header, argv):
    rows = [[a, b, f"1{RAW}" if header[2] == RAW else c] for a, b, c in table.tolist()]
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
    table = contenders.table_of("t", np.ones((9, 2)), ["a", "b"], np.ones(9), "y")
    good, bad = size * rng.uniform(1, 2, (2, 5, 1)) * [[[1]], [[1e9]]]
    scores = {
        "good": Scores(good, 1 - good / size / 10, 0.1),
        "bad": Scores(bad, -bad / size * 1e9, 0.1),
    }
    text = compare.results_text(table, scores)
    block = blocks(text)["y"]
    assert block["good"][0] == pytest.approx(good.mean(), rel=1e-3)
    assert block["bad"][0] == pytest.approx(bad.mean(), rel=1e-3)
    assert len({len(line) for line in text.splitlines()}) == 1
    assert marked(text) == ["good"]


def test_errors_that_overflow_are_shown_as_they_are():
    table = contenders.table_of("t", np.ones((9, 2)), ["a", "b"], np.ones(9), "y")
    infinite = np.full((5, 1), np.inf)
    text = compare.results_text(table, {"m": Scores(infinite, -infinite, 0.1)})
    assert "inf +/- nan" in text
    assert "-inf" in text
    assert marked(text) == []


def test_the_verdict_weighs_the_difference_on_the_same_folds():
    ours = np.array([[1.0], [2.0], [3.0]])
    scores = {OURS: Scores(ours, ours, 0.1), "other": Scores(ours + 0.5, ours, 0.1)}
    assert evaluation.verdict(scores, 0) == f"{OURS} has the lowest error, 20 % below other."
    erratic = np.array([[4.0], [0.1], [2.0]])
    scores = {OURS: Scores(ours, ours, 0.1), "  scaled": Scores(erratic, ours, 0.1)}
    assert evaluation.verdict(scores, 0) == (
        f"{OURS} has the lowest error, 1.6 % below MLPRegressor, scaled, which is less than the "
        "standard error of this difference."
    )
    scores = {OURS: Scores(ours, ours, 0.1), "other": Scores(ours - 0.5, ours, 0.1)}
    assert evaluation.verdict(scores, 0) == f"other has the lowest error, 25 % below {OURS}."


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"sk_backprop {__version__}\n"


def test_help_of_the_installed_module():
    run = subprocess.run(
        [sys.executable, "-m", "sk_backprop", "--help"], capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    words = ["FILE", "--target", "--folds", "--seed", "--delimiter", "--version", "examples:"]
    for word in [*words, *parser.JOBS]:
        assert word in run.stdout
    assert max(map(len, run.stdout.splitlines())) <= 88


@pytest.mark.parametrize("job", parser.JOBS)
def test_every_job_has_help(capsys, job):
    with pytest.raises(SystemExit) as stopped:
        main([job, "--help"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m sk_backprop {job} ")


def test_every_row_is_predicted_by_the_model_that_has_not_seen_it(diabetes):
    X, y = diabetes[0][:60], diabetes[1][:60]
    folds = list(KFold(3, shuffle=True, random_state=0).split(X))
    models = [BackpropRegressor(**SMALL, random_state=0).fit(X[a], y[a]) for a, _ in folds]
    mean, std, distribution = evaluation.out_of_fold(models, [b for _, b in folds], X)
    low, high = distribution.interval(0.9)
    for model, (_, rows) in zip(models, folds):
        expected = model.predict(X[rows], return_std=True)
        np.testing.assert_array_equal((mean[rows], std[rows]), expected)
        interval = model.predict_interval(X[rows], 0.9).T
        np.testing.assert_allclose((low[rows], high[rows]), interval, rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00012345, "0.0001234"), (3.14159, "3.142"), (169800.4, "169,800"), (2.5e13, "2.5e+13")],
)
def test_widths_have_four_digits(value, text):
    assert evaluation.shown_number(value) == text
