"""`fit`, `predict` and `formula`: a model in a file, and other rows of the same columns."""

from __future__ import annotations

import contextlib
import csv
import io
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from commands import refused
from sklearn.datasets import load_diabetes

from sk_backprop import BackpropRegressor
from sk_backprop._command import contenders, fit, predict, stored
from sk_backprop._command._reading import frames
from sk_backprop._command._reading.tables import Options, open_sheet
from sk_backprop._command.parser import main

NAMES = load_diabetes().feature_names
EXACT = {"rtol": 1e-6}  # of the seven digits that are written


def cells(values):
    return ";".join(str(value).replace(".", ",") for value in values)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A table with decimal commas, a model that was fitted to it, and X and y."""
    folder = tmp_path_factory.mktemp("stored")
    X, y = load_diabetes(return_X_y=True, scaled=False)
    X, y = X[:80], y[:80]
    text = "\n".join([";".join([*NAMES, "y"]), *(cells([*x, t]) for x, t in zip(X, y))])
    (folder / "t.csv").write_text(text)
    argv = ["fit", str(folder / "t.csv"), "--target", "y", "--units", "3", "--seed", "4"]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        for name in ("m.joblib", "m.skops"):
            assert main([*argv, "-o", str(folder / name)]) == 0
    assert "1 network by lm, hidden units: 3.\n" in out.getvalue()
    return folder, X, y


@pytest.fixture(scope="module")
def model(files):
    """What the stored model must be."""
    _, X, y = files
    model = BackpropRegressor((3,), n_networks=1, solver="lm", random_state=4)
    return model.fit(pd.DataFrame(X, columns=NAMES), y)


def predicted(path, delimiter=";"):
    """Header, and numbers of the last four columns, of a table that was written."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, delimiter=delimiter)
    numbers = [[float(cell.replace(",", ".")) for cell in row[-4:]] for row in rows]
    return header, np.array(numbers)


@pytest.mark.parametrize("name", ["m.joblib", "m.skops"])
def test_predictions_are_those_of_the_same_fit_in_python(files, model, capsys, name):
    folder, X, _ = files
    out = folder / "out.csv"
    argv = ["predict", folder / name, folder / "t.csv", "-o", out, "--coverage", "0.8"]
    assert main([str(arg) for arg in argv]) == 0
    header, numbers = predicted(out)
    assert header == [*NAMES, "y", "mean", "std", "low", "high"]
    frame = pd.DataFrame(X, columns=NAMES)
    mean, std = model.predict(frame, return_std=True)
    expected = np.column_stack([mean, std, model.predict_interval(frame, 0.8)])
    np.testing.assert_allclose(numbers, expected, **EXACT)
    assert "80 rows with mean, std, low and high written to" in capsys.readouterr().err


def test_other_rows_in_another_order_and_notation(files, model, capsys, monkeypatch):
    # A row that could be in either notation is read as the file of the fit was.
    folder, X, _ = files
    frame = pd.DataFrame(X, columns=NAMES)[:4].iloc[:, ::-1]
    text = frame.assign(mean="note, by hand").to_csv(index=False)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(["predict", str(folder / "m.joblib"), "-"]) == 0
    out = capsys.readouterr().out
    (folder / "stdout.csv").write_text(out)
    header, numbers = predicted(folder / "stdout.csv", ",")
    assert header == [*NAMES[::-1], "mean", "predicted mean", "std", "low", "high"]
    np.testing.assert_allclose(
        numbers[:, 0], model.predict(pd.DataFrame(X[:4], columns=NAMES)), **EXACT
    )


def test_a_number_that_could_mean_two_is_read_as_in_the_fit(files, model, capsys):
    folder, X, _ = files
    row = X[0].copy()
    row[NAMES.index("s5")] = 4.859  # "4,859": four thousand, in a table with decimal points
    text = [str(int(v)) if v == int(v) else f"{v:.3f}".replace(".", ",") for v in row]
    (folder / "one.csv").write_text("|".join(NAMES) + "\n" + "|".join(text))
    argv = ["predict", folder / "m.joblib", folder / "one.csv", "-o", folder / "one_out.csv"]
    assert main([str(arg) for arg in argv]) == 0
    _, numbers = predicted(folder / "one_out.csv", "|")
    expected = model.predict(pd.DataFrame([np.round(row, 3)], columns=NAMES))
    np.testing.assert_allclose(numbers[:, 0], expected, **EXACT)


@pytest.mark.parametrize("syntax", ["python", "c", "excel"])
def test_the_formula_is_that_of_the_fit(files, model, capsys, syntax):
    from sk_backprop.export import to_expression

    assert main(["formula", str(files[0] / "m.skops"), "--syntax", syntax]) == 0
    assert capsys.readouterr().out == to_expression(model, syntax) + "\n"


def test_names_that_no_formula_allows_are_numbered(tmp_path, capsys):
    x = np.linspace(0, 1, 20)
    rows = "\n".join(f"{a!r},{a * a!r},{1 + 2 * a - 3 * a * a!r}" for a in x.tolist())
    (tmp_path / "t.csv").write_text(f"a b,a-b,y\n{rows}")
    argv = [str(tmp_path / "t.csv"), "--target", "y", "--units", "0"]
    assert main(["fit", *argv, "-o", str(tmp_path / "m.joblib")]) == 0
    capsys.readouterr()
    assert main(["formula", str(tmp_path / "m.joblib")]) == 0
    out, err = capsys.readouterr()
    assert err == "x0 is a b; x1 is a-b\n"
    value = eval(out, {"x0": 0.5, "x1": 0.25})
    assert value == pytest.approx(1.25, abs=1e-3)


def test_several_targets_have_columns_of_their_own(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    frame = pd.DataFrame({"a": x, "u": 2 * x + rng.normal(size=40), "v": rng.normal(size=40)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    model, out = str(tmp_path / "m.joblib"), str(tmp_path / "out.csv")
    fit = ["fit", str(tmp_path / "t.csv"), "--target", "u", "--target", "v", "--units", "0"]
    assert main([*fit, "-o", model]) == 0
    assert main(["predict", model, str(tmp_path / "t.csv"), "-o", out]) == 0
    read = pd.read_csv(out)
    same = BackpropRegressor((), n_networks=1, solver="lm", random_state=0)
    mean, std = same.fit(frame[["a"]], frame[["u", "v"]].to_numpy()).predict(
        frame[["a"]], return_std=True
    )
    np.testing.assert_allclose(read[["mean of u", "mean of v"]], mean, rtol=1e-5)
    np.testing.assert_allclose(read[["std of u", "std of v"]], std, rtol=1e-5)


def test_without_pandas_numbers_are_enough(files, model, monkeypatch, capsys):
    folder, X, _ = files
    for module in (contenders, fit, frames, predict):
        monkeypatch.setattr(module, "has_pandas", lambda: False)
    path, out = str(folder / "t.csv"), str(folder / "no_pandas.csv")
    argv = ["fit", path, "--target", "y", "--units", "3", "--seed", "4"]
    assert main([*argv, "-o", str(folder / "n.joblib")]) == 0
    for name in ("n.joblib", "m.joblib"):  # the second was fitted to a frame
        assert main(["predict", str(folder / name), path, "-o", out]) == 0
        _, numbers = predicted(out)
        expected = model.predict(pd.DataFrame(X, columns=NAMES))
        np.testing.assert_allclose(numbers[:, 0], expected, **EXACT)
    assert "feature names" not in capsys.readouterr().err


def test_without_pandas_text_and_dates_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fit, "has_pandas", lambda: False)
    rows = [f"{'uv'[i % 2]},2024-01-{10 + i},{i}" for i in range(12)]
    (tmp_path / "t.csv").write_text("\n".join(["k,day,y", *rows]))
    argv = ["fit", str(tmp_path / "t.csv"), "--target", "y", "-o", str(tmp_path / "m.joblib")]
    with pytest.raises(SystemExit):
        main(argv)
    err = capsys.readouterr().err
    assert "columns of text and dates (k, day) need: python -m pip install pandas" in err


# --- what is refused ---


def test_models_and_tables_that_do_not_fit(files, capsys, tmp_path):
    folder, _, _ = files
    table, model = folder / "t.csv", folder / "m.joblib"
    assert "ends in .joblib or .skops" in refused(
        capsys, "fit", table, "--target", "y", "-o", "m.pkl"
    )
    missing = tmp_path / "no" / "m.joblib"
    assert "there is no folder" in refused(capsys, "fit", table, "--target", "y", "-o", missing)
    assert "No such file" in refused(capsys, "predict", tmp_path / "m.joblib", table)
    assert "No such file" in refused(capsys, "predict", model, tmp_path / "t.csv")
    assert "is not a model" in refused(capsys, "predict", table, table)
    assert "that is the table itself" in refused(capsys, "predict", model, table, "-o", table)
    other = tmp_path / "other.csv"
    other.write_text("age,sex\n1,2\n")
    message = refused(capsys, "predict", model, other)
    assert (
        message == "other.csv has no column bmi, bp, s1, s2, s3, ... (8 in all); it has: age, sex"
    )
    for coverage in ("0", "1", "95"):
        assert "between 0 and 1" in refused(capsys, "predict", model, table, "--coverage", coverage)
    assert "from 0 to 1000" in refused(
        capsys, "fit", table, "--target", "y", "-o", model, "--units", "-1"
    )


def test_a_model_too_large_for_a_formula(tmp_path, capsys):
    table = np.random.default_rng(0).normal(size=(30, 9))
    np.savetxt(tmp_path / "t.csv", table, header="a,b,c,d,e,f,g,h,y", delimiter=",", comments="")
    argv = ["fit", str(tmp_path / "t.csv"), "--target", "y", "--units", "40"]
    assert main([*argv, "-o", str(tmp_path / "m.joblib")]) == 0
    capsys.readouterr()
    message = refused(capsys, "formula", tmp_path / "m.joblib", "--syntax", "excel")
    assert message == "the model is too large for a formula; fit again with --units 3, say"


def test_objects_of_other_kinds_are_refused(tmp_path, capsys):
    joblib.dump({"model": 3}, tmp_path / "m.joblib")
    assert "is not a model that this command" in refused(capsys, "formula", tmp_path / "m.joblib")
    skops = pytest.importorskip("skops.io")
    skops.dump({"format": stored._KEY, "model": io.StringIO}, tmp_path / "m.skops")
    assert "holds objects of other kinds" in refused(capsys, "formula", tmp_path / "m.skops")


def test_cells_that_cannot_be_read_are_counted(files):
    folder, _, _ = files
    header, *rows = (folder / "t.csv").read_text().splitlines()
    rows[1:3] = [f"old;{row.partition(';')[2]}" for row in rows[1:3]]
    (folder / "bad.csv").write_text("\n".join([header, *rows]))
    sheet = open_sheet(str(folder / "bad.csv"), Options())
    values, _, notes = predict._columns(stored.load(str(folder / "m.joblib")), sheet, Options())
    assert notes == ["age: 2 cells unreadable and taken as missing, such as 'old'."]
    assert np.flatnonzero(np.isnan(values[0])).tolist() == [1, 2]
