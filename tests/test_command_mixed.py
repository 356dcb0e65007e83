"""Tables of text, dates and gaps, from a file to a model, its predictions and a report."""

from __future__ import annotations

import base64
import html
import io
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from sk_backprop import BackpropRegressor
from sk_backprop._command import compare, contenders
from sk_backprop._command._reading.tables import as_frame, load_table
from sk_backprop._command.contenders import OURS
from sk_backprop._command.parser import main

SMALL = {"hidden_layer_sizes": (3,), "solver": "lm", "n_networks": 1}
N = 60


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A table with every kind of column, in which the town matters most."""
    rng = np.random.default_rng(0)
    towns, area = rng.choice(["Bonn", "Köln", "<b>Ulm</b>"], N), rng.uniform(40, 200, N)
    days = np.datetime64("2024-01-01") + rng.integers(0, 300, N)
    price = np.choose(np.searchsorted(["<b>Ulm</b>", "Bonn", "Köln"], towns), [0, 200, 500])
    price = price + area + rng.normal(size=N)
    frame = pd.DataFrame(
        {
            "town": np.where(rng.random(N) < 0.1, "", towns),
            "area": [f"{a:.2f} m2" if i != 7 else "unknown" for i, a in enumerate(area)],
            "garden": rng.choice(["yes", "no"], N),
            "sold": days.astype(str),
            "note $x_1$ <script>": rng.normal(size=N).round(3),
            "price": price.round(2),
        }
    )
    path = tmp_path_factory.mktemp("mixed") / "houses.csv"
    frame.to_csv(path, index=False)
    return str(path)


@pytest.fixture
def small(monkeypatch):
    """Our model, wherever the command makes one, is a small network."""
    ours = contenders.our_model

    def our_small_model(table, seed):
        return ours(table, seed).set_params(**SMALL)

    for name in ("contenders", "fit"):
        monkeypatch.setattr(f"sk_backprop._command.{name}.our_model", our_small_model)


def test_predictions_are_those_of_the_frame_in_python(path, small, tmp_path, capsys):
    model, out = str(tmp_path / "m.joblib"), str(tmp_path / "out.csv")
    assert main(["fit", path, "--target", "price", "-o", model]) == 0
    assert main(["predict", model, path, "-o", out]) == 0
    table = load_table(path, ["price"])
    X = as_frame(table)
    assert [str(kind) for kind in X.dtypes[:4]] == ["category", "float64", "bool", "datetime64[ms]"]
    same = BackpropRegressor(**SMALL, random_state=0).fit(X, table.y[:, 0])
    read = pd.read_csv(out)
    np.testing.assert_allclose(read["mean"], same.predict(X), rtol=1e-6)
    np.testing.assert_allclose(read[["low", "high"]], same.predict_interval(X), rtol=1e-6)
    assert np.corrcoef(read["mean"], table.y[:, 0])[0, 1] > 0.9


def test_a_town_that_is_new_and_a_gap_that_is_new_are_predicted(path, small, tmp_path, capsys):
    model, new = str(tmp_path / "m.skops"), tmp_path / "new.csv"
    assert main(["fit", path, "--target", "price", "-o", model]) == 0
    frame = pd.read_csv(path, dtype=str)[:3].drop(columns="price")
    frame.loc[0, "town"], frame.loc[1, "sold"], frame.loc[2, "garden"] = "Rome", "", "?"
    frame.to_csv(new, index=False)
    capsys.readouterr()
    assert main(["predict", model, str(new)]) == 0
    out, err = capsys.readouterr()
    assert np.all(np.isfinite(pd.read_csv(io.StringIO(out))[["mean", "std", "low", "high"]]))
    assert err.startswith("town: 1 cell with a level that the fit has not seen, such as 'Rome'.\n")


def test_compare_with_and_without_pandas(path, small, capsys, monkeypatch):
    errors = []
    for pandas in (True, False):
        monkeypatch.setattr(contenders, "has_pandas", lambda pandas=pandas: pandas)
        assert main([path, "--target", "price", "--folds", "3"]) == 0
        out = capsys.readouterr().out
        assert "failed" not in out
        errors.append(float(re.search(rf"{OURS} +([\d.]+) \+/-", out.split("RMSE  mean")[1])[1]))
    assert errors[0] < 100  # of a price that varies by 200
    # Codes of dates are days and not phases of the year: about the same, and not more.
    assert errors[1] < 100


def test_the_code_shown_runs_on_the_file(path, small, capsys, monkeypatch):
    monkeypatch.setattr(compare, "contenders", lambda table, seed: {})
    assert main([path, "--target", "price"]) == 0
    code = capsys.readouterr().out.partition("in Python:\n\n")[2].replace("\n  ", "\n").strip()
    names = {}
    exec(code.replace("BackpropRegressor(", f"BackpropRegressor(**{SMALL}, "), names)
    assert names["mean"].shape == names["std"].shape == (5,)
    assert np.all(names["std"] > 0)


@pytest.fixture(scope="module")
def report(path, tmp_path_factory):
    """A report on a table of names that are markup."""
    out = tmp_path_factory.mktemp("report") / "r.html"
    with pytest.MonkeyPatch.context() as patch:
        ours = contenders.our_model
        for name in ("contenders", "fit"):
            patch.setattr(
                f"sk_backprop._command.{name}.our_model",
                lambda table, seed: ours(table, seed).set_params(**SMALL),
            )
        assert main(["report", path, "--target", "price", "--folds", "3", "-o", str(out)]) == 0
    return out.read_text(encoding="utf-8")


def test_a_report_shows_the_warnings_of_its_fit(small, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": rng.permutation(60), "x": rng.normal(size=60)})
    frame["y"] = frame["x"] + 0.1 * rng.normal(size=60)
    path, out = tmp_path / "t.csv", tmp_path / "r.html"
    frame.to_csv(path, index=False)
    assert main(["report", str(path), "--target", "y", "--folds", "2", "-o", str(out)]) == 0
    said = "The fit to all rows warned: X has a different value in each row of column"
    assert said in out.read_text(encoding="utf-8")


def test_a_report_is_one_file_that_fetches_nothing(report):
    assert len(report) < 1_000_000
    assert set(re.findall(r'(?:src|href)="(.{5})', report)) == {"data:"}
    assert "url(" not in report
    assert "default-src 'none'" in report
    for png in re.findall(r'src="data:image/png;base64,([^"]+)"', report):
        assert image.imread(io.BytesIO(base64.b64decode(png))).ndim == 3


def test_nothing_from_the_table_is_markup(report):
    assert "<script" not in report
    assert "<b>" not in report
    assert html.escape("note $x_1$ <script>") in report


def test_a_report_has_every_part(report):
    headings = re.findall(r"<h\d>(.*?)</h\d>", report)
    assert headings == [
        "price in houses.csv",
        "Errors on held-out rows",
        "Predictions and error bars",
        "Importance of the columns",
        "Effects of single columns",
        "How the columns were read",
        "Training",
        "To reproduce",
    ]
    shown = dict(re.findall(r'<tr><td>([^<]*)</td><td class="number">([\d.]+)</td>', report))
    assert next(iter(shown)) == "town"
    assert sum(map(float, shown.values())) == pytest.approx(1, abs=0.005)
    assert "1 missing (1 &#x27;unknown&#x27;)" in report
    for name in ("RidgeCV", "HistGradientBoostingRegressor", "MLPRegressor, scaled"):
        assert f"<td>{name}</td>" in report
