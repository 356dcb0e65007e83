"""What the displays draw: the numbers behind the artists, and that none of it lies outside."""

import sys
from itertools import pairwise

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from cases import every_pair
from displays import NAMES, fitted, legend, note, rough, table
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_backprop import (
    BackpropRegressor,
    IntervalDisplay,
    LossCurveDisplay,
    NetworkDisplay,
    PredictionDisplay,
    RelevanceDisplay,
)
from sk_backprop._display._shared import literal, shortened

pytestmark = pytest.mark.usefixtures("figures_closed")


@pytest.fixture
def rows():
    return table()


@pytest.fixture
def model():
    return fitted()


# --- all of them ---


@pytest.fixture
def draw(rows, model):
    """Each display by its name, on given axes."""
    X, y = rows
    return {
        "loss": lambda ax: LossCurveDisplay.from_estimator(model, ax=ax),
        "prediction": lambda ax: PredictionDisplay.from_estimator(model, X, y, ax=ax),
        "calibration": lambda ax: PredictionDisplay.from_estimator(
            model, X, y, kind="calibration", ax=ax
        ),
        "interval": lambda ax: IntervalDisplay.from_estimator(model, X, "dose", y=y, ax=ax),
        "network": lambda ax: NetworkDisplay.from_estimator(model, ax=ax),
        "relevance": lambda ax: RelevanceDisplay(relevance=[1, 2, 3], names=NAMES).plot(ax),
    }


KINDS = ["loss", "prediction", "calibration", "interval", "network", "relevance"]


@pytest.mark.parametrize(
    ("kind", "size", "style"),
    every_pair(KINDS, [(3.6, 2.8), (6.4, 4.8), None], ["default", "dark_background"]),
)
def test_everything_is_inside_the_figure_and_stands_out(draw, kind, style, size):
    with plt.style.context(style):
        ax = None if size is None else plt.subplots(figsize=size, layout="constrained")[1]
        display = draw[kind](ax)
    figure = display.figure_
    assert display.ax_.figure is figure
    assert ax is None or display.ax_ is ax
    figure.canvas.draw()
    whole = figure.bbox
    texts = [text for text in figure.findobj(mpl.text.Text) if text.get_text()]
    shown = [text for text in texts if text.get_visible() and text.axes is not None]
    if kind == "network":
        assert {"age", "weight", "dose", "y"} <= {text.get_text() for text in shown}
        for text in shown:  # names end within the axes, whose frame is off
            box = text.get_window_extent()
            assert whole.x0 - 1 <= box.x0 <= box.x1 <= whole.x1 + 1, text.get_text()
    else:
        box = display.ax_.get_tightbbox()
        assert whole.x0 - 1 <= box.x0 <= box.x1 <= whole.x1 + 1
        assert whole.y0 - 1 <= box.y0 <= box.y1 <= whole.y1 + 1
    background = np.array(mpl.colors.to_rgb(figure.get_facecolor()))
    for text in shown:
        assert np.abs(np.array(mpl.colors.to_rgb(text.get_color())) - background).max() > 0.5
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255
    drawn = np.abs(pixels - background).max(axis=2) > 0.3
    assert 0.005 < drawn.mean() < 0.6


NAMED = {
    "loss": lambda name, ax: LossCurveDisplay(
        names=[name, "b"],
        loss_curves=[[3, 2], [4, 2]],
        validation_loss_curves=[[4, 3], None],
        best_iters=[2, 0],
    ).plot(ax),
    "prediction": lambda name, ax: PredictionDisplay(
        y_true=[1, 2, 3], y_pred=[1, 2, 4], name=name
    ).plot(ax),
    "interval": lambda name, ax: IntervalDisplay(
        x=[0, 1], mean=[1, 2], bands={0.95: [[0, 2], [1, 3]]}, x_name=name, y_name=name
    ).plot(ax),
    "network": lambda name, ax: NetworkDisplay(
        coefs=[np.ones((2, 1))],
        intercepts=[np.ones(1)],
        input_names=[name, "b"],
        output_names=[name],
    ).plot(ax),
    "relevance": lambda name, ax: RelevanceDisplay(relevance=[1, 2], names=[name, "b"]).plot(ax),
}


def drawn(display):
    """The texts of a display as matplotlib draws them, those that are formulas marked."""
    shown = [text for text in display.figure_.findobj(mpl.text.Text) if text.get_text()]
    parsed = [text._preprocess_math(text.get_text()) for text in shown]
    return [f"formula {words}" if is_formula else words for words, is_formula in parsed]


PLAIN_NAMES = [
    *("$$", "US$ per m$", "cost ($)", "a$b$c$d", r"$\alpha$", r"\$", r"a\$b$", "$"),
    *("_a", "__", "_nolegend_", "#5 & {x}^2 ~ 10%", "", r"\alpha_{1}"),
]


@pytest.mark.parametrize("kind", NAMED)
def test_names_are_drawn_as_they_are(kind):
    for name in PLAIN_NAMES:
        display = NAMED[kind](name, None)
        display.figure_.canvas.draw()
        expected = {
            "loss": f"{name}, validation" if name else "validation",
            "prediction": f"{name}, actual",
        }.get(kind, name)
        assert expected in drawn(display) or not expected
        plt.close(display.figure_)


ANY_NAMES = {
    "lines": "a\nb\r\n\tc",
    "control": "a\x1b[31mb\x00\x7f\u202e\ud800",
    "long": "long " * 100,
    "very long": "x" * 5000,
    "empty line": "\n",
    "wide": "W" * 40,
}


@pytest.mark.parametrize(("name", "kind", "size"), every_pair(ANY_NAMES, NAMED, [(3.6, 2.8), None]))
def test_names_of_any_kind_stay_in_one_line_inside_the_figure(kind, size, name):
    name = ANY_NAMES[name]
    ax = None if size is None else plt.subplots(figsize=size, layout="constrained")[1]
    display = NAMED[kind](name, ax)
    figure = display.figure_
    figure.canvas.draw()
    for text in drawn(display):
        assert text.isprintable(), text
    if name != "W" * 40 and kind != "network":  # the latter has no frame to measure
        whole, box = figure.bbox, display.ax_.get_tightbbox()
        assert whole.x0 - 1 <= box.x0 <= box.x1 <= whole.x1 + 1
        assert whole.y0 - 1 <= box.y0 <= box.y1 <= whole.y1 + 1


def test_a_long_name_keeps_its_beginning_and_its_end():
    assert shortened("country_of_origin", 17) == "country_of_origin"
    assert shortened("country_of_origin", 9) == "coun\u2026igin"
    assert shortened("country_of_origin", 8) == "coun\u2026gin"
    assert shortened("a \n\t b\x1b", 20) == "a b\\x1b"
    assert shortened(7, 20) == "7"


def test_names_are_escaped_where_latex_or_nothing_reads_them():
    name = r"50% of_{US$}^~\#&"
    with mpl.rc_context({"text.usetex": True}):
        expected = r"50\% of\_\{US\$\}\textasciicircum{}\textasciitilde{}\textbackslash{}\#\&"
        assert literal(name) == expected
    with mpl.rc_context({"text.parse_math": False}):
        assert literal(name) == name


def test_what_is_written_on_a_label_later_may_be_a_formula():
    display = NAMED["interval"]("$$", None)
    display.ax_.set(xlabel=r"$\alpha$")
    assert display.ax_.xaxis.label._preprocess_math(r"$\alpha$")[1]


@pytest.mark.parametrize("kind", KINDS)
def test_plot_draws_again_on_other_axes(draw, kind):
    display = draw[kind](None)
    first, (_, others) = display.ax_, plt.subplots(1, 2)
    assert display.plot(others[1]) is display
    assert display.ax_ is others[1] is not first
    assert not others[0].has_data()


def test_matplotlib_is_asked_for_by_plot_alone(monkeypatch):
    display = RelevanceDisplay(relevance=[1.0], names=["a"])
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"need matplotlib: .* 'sk-backprop\[plot\]'"):
        display.plot()


@pytest.mark.parametrize("cls", [LossCurveDisplay, NetworkDisplay, RelevanceDisplay])
def test_only_fitted_estimators_are_drawn(cls):
    with pytest.raises(NotFittedError):
        cls.from_estimator(rough((2,)))


# --- loss curves ---


def test_loss_curves_of_one(rows):
    X, y = rows
    stopped = rough((4,), alpha=0, early_stopping=True).fit(X, y, X_val=X, y_val=y)
    display = LossCurveDisplay.from_estimator(stopped)
    training, validation = display.lines_
    np.testing.assert_array_equal(training.get_ydata(), stopped.loss_curve_)
    np.testing.assert_array_equal(training.get_xdata(), range(1, stopped.n_iter_ + 1))
    np.testing.assert_array_equal(validation.get_ydata(), stopped.validation_loss_curve_)
    assert legend(display) == ["training, with penalty", "validation", "iteration that was kept"]
    assert display.ax_.get_ylabel() == "loss"
    dot = display.ax_.lines[2]
    best = stopped.best_iter_
    assert dot.get_xydata().tolist() == [[best, stopped.validation_loss_curve_[best - 1]]]


def test_loss_curves_of_several(rows, model):
    X, y = rows
    peer = MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, random_state=0)
    with pytest.warns(ConvergenceWarning):  # a few iterations are enough to draw
        peer.fit(X, y)
    named = {"ours": model, "theirs": make_pipeline(StandardScaler().fit(X), peer)}
    display = LossCurveDisplay.from_estimator(named)
    training = ["ours, training, with penalty", "theirs, training, with penalty"]
    assert legend(display) == [*training, "iteration that was kept"]
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), peer.loss_curve_)
    colors = [line.get_color() for line in display.lines_]
    assert colors[0] != colors[1]


@pytest.mark.parametrize(
    ("curve", "scale"),
    [([1.0, 0.5], "linear"), ([10.0, 0.5], "log"), ([1.0, 0.0], "linear"), ([], "linear")],
)
def test_the_axis_is_logarithmic_where_it_helps(curve, scale):
    display = LossCurveDisplay(
        names=[""], loss_curves=[curve], validation_loss_curves=[None], best_iters=[0]
    )
    assert display.plot().ax_.get_yscale() == scale
    assert legend(display) == ["training, with penalty"]


def test_the_curve_of_the_evidence_is_that_of_fits_that_end_earlier(rows):
    X, y = rows
    endless = {"solver": "lm", "tol": 0, "n_iter_no_change": np.inf, "noise": "constant"}
    runs = []
    for max_iter in (45, 50, 60):
        model = BackpropRegressor((3,), max_iter=max_iter, random_state=0, n_networks=1, **endless)
        with pytest.warns(ConvergenceWarning):
            runs.append(model.fit(X, y))
    curve = runs[-1].log_evidence_curve_
    assert len(curve) == 60
    assert all(type(value) is float for value in curve)
    for ended in runs[:2]:
        # At the end of one iteration, and at the start of the next.
        assert curve[ended.n_iter_] == pytest.approx(ended.log_evidence_[0], rel=1e-9)


def test_what_falls_is_drawn_where_the_evidence_changes_the_penalty(rows):
    X, y = rows
    model = BackpropRegressor((3,), solver="lm", n_networks=2, random_state=0).fit(X, y)
    display = LossCurveDisplay.from_estimator(model)
    drawn = display.lines_[0].get_ydata()
    np.testing.assert_array_equal(drawn, -np.array(model.log_evidence_curve_))
    assert len(drawn) == model.n_iter_
    known = drawn[np.isfinite(drawn)]
    assert known[-1] < known[0]
    assert (display.ax_.get_ylabel(), note(display)) == ("negative log evidence", "network 1 of 2")
    assert display.ax_.get_yscale() == "linear"
    # With validation data, it is the validation loss that decides.
    stopped = BackpropRegressor((3,), solver="lm", early_stopping=True, random_state=0).fit(X, y)
    assert LossCurveDisplay.from_estimator(stopped).ax_.get_ylabel() == "loss"
    both = LossCurveDisplay.from_estimator({"a": model, "b": fitted()})
    assert both.ax_.get_ylabel() == "loss"
    assert note(both) == "the first network of each"


# --- relevance ---


def test_relevance_from_the_bottom_to_the_top(rows):
    X, y = rows
    model = BackpropRegressor((3,), solver="lm", n_networks=2, random_state=0).fit(X, y)
    display = RelevanceDisplay.from_estimator(make_pipeline(model))
    order = np.argsort(model.input_relevance_)
    widths = [bar.get_width() for bar in display.bars_]
    np.testing.assert_array_equal(widths, model.input_relevance_[order])
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == [NAMES[j] for j in order]


def test_equal_names_are_bars_of_their_own():
    display = RelevanceDisplay(relevance=[1.0, 3.0, 2.0], names=["a", "a", "b"]).plot()
    assert [bar.get_width() for bar in display.bars_] == [1, 2, 3]


def test_importance_of_a_fit_without_relevance(rows):
    X, y = rows
    model = rough((3,)).fit(X, y)
    assert model.input_relevance_ is None
    display = RelevanceDisplay.from_estimator(make_pipeline(StandardScaler(), model))
    order = np.argsort(model.feature_importances_)
    widths = [bar.get_width() for bar in display.bars_]
    np.testing.assert_array_equal(widths, model.feature_importances_[order])
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == [NAMES[j] for j in order]
    assert display.ax_.get_xlabel() == "feature importance"


def test_importances_are_those_of_columns_and_relevance_that_of_inputs(rows):
    X, y = rows
    X = X.assign(site=np.where(np.arange(60) % 3, "north", "south"))
    for params, names in (
        ({}, [*NAMES, "site"]),
        ({"solver": "lm", "alpha": "auto"}, [*NAMES, "site=north", "site=south"]),
    ):
        display = RelevanceDisplay.from_estimator(rough((3,), **params).fit(X, y))
        assert {label.get_text() for label in display.ax_.get_yticklabels()} == set(names)


def test_bars_of_many_inputs_are_the_largest_and_their_names_do_not_overlap():
    ax = plt.subplots(figsize=(3.5, 2.6), layout="constrained")[1]
    names = [f"input {k}" for k in range(40)]
    display = RelevanceDisplay(relevance=np.arange(40), names=names).plot(ax)
    display.figure_.canvas.draw()
    labels = ax.get_yticklabels()
    n = len(labels)
    assert [label.get_text() for label in labels] == names[-n:]
    assert note(display) == f"the {n} largest of 40"
    boxes = [label.get_window_extent() for label in labels]
    assert not any(low.overlaps(high) for low, high in pairwise(boxes))
