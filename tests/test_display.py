"""What the displays draw: the numbers behind the artists, and that none of it lies outside."""

import re
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cases import every_pair, slow
from scipy.stats import norm, t
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sk_backprop import (
    BackpropRegressor,
    IntervalDisplay,
    LossCurveDisplay,
    NetworkDisplay,
    PredictionDisplay,
    RelevanceDisplay,
)
from sk_backprop._display._shared import BLUE, literal, shortened

NAMES = ["age", "weight", "dose"]


@pytest.fixture(autouse=True)
def closed():
    """Figures are closed after the test."""
    yield
    plt.close("all")


def rough(hidden, **params):
    """A network after a few iterations: these tests need a function, not a good one."""
    quick = {"solver": "lbfgs", "tol": 0.5, "n_iter_no_change": 1, "random_state": 0}
    return BackpropRegressor(hidden, **{**quick, **params})


@pytest.fixture(scope="module")
def rows():
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 2, (60, 3))
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.randn(60)
    return pd.DataFrame(X, columns=NAMES), pd.Series(y, name="yield")


@pytest.fixture(scope="module")
def model(rows):
    return rough((4,), tol=1e-3, n_iter_no_change=10).fit(*rows)


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


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
        x=[0, 1], mean=[1, 2], std=[1, 1], x_name=name, y_name=name
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
    assert legend(display) == ["training", "validation", "iteration that was kept"]
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
    assert legend(display) == ["ours, training", "theirs, training", "iteration that was kept"]
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
    assert legend(display) == ["training"]


# --- predictions ---


def test_predictions_and_their_intervals():
    y_true, y_pred, y_std = np.array([[0.0, 5.0, 2.0], [1.0, 1.0, 2.0], [1.0, 1.0, 0.5]])
    display = PredictionDisplay.from_predictions(y_true, y_pred, y_std)
    assert legend(display) == ["in the 95 % interval: 67 % of rows", "outside: 33 % of rows"]
    inside, outside = display.ax_.containers
    assert inside[0].get_xydata().tolist() == [[0, 1], [2, 2]]
    assert outside[0].get_xydata().tolist() == [[5, 1]]
    (bar,) = outside[2][0].get_segments()
    np.testing.assert_allclose(bar[:, 1], [1 - 1.959964, 1 + 1.959964], rtol=1e-6)
    plain = PredictionDisplay.from_predictions(y_true, y_pred)
    assert plain.ax_.containers[0][0].get_xydata().tolist() == [[0, 1], [5, 1], [2, 2]]
    assert plain.ax_.get_legend() is None


def test_predictions_of_an_estimator(rows, model):
    X, y = rows
    display = PredictionDisplay.from_estimator(model, X, y)
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_array_equal(display.y_pred, mean)
    np.testing.assert_array_equal(display.y_std, std)
    assert display.ax_.get_xlabel() == "yield, actual"
    process = GaussianProcessRegressor(alpha=0.1).fit(X.to_numpy(), y)
    PredictionDisplay.from_estimator(process, X.to_numpy(), y)


def test_one_of_several_targets(rows):
    X, y = rows
    both = pd.DataFrame({"yield": y, "cost": 3 - y})
    model = rough((3,)).fit(X, both)
    display = PredictionDisplay.from_estimator(model, X, both, target=1)
    np.testing.assert_array_equal(display.y_pred, model.predict(X)[:, 1])
    assert display.ax_.get_ylabel() == "cost, predicted"
    curve = IntervalDisplay.from_estimator(model, X, "age", y=both, target=1)
    np.testing.assert_array_equal(curve.y_data, both["cost"])
    with pytest.raises(ValueError, match="less than 2"):
        PredictionDisplay.from_estimator(model, X, both, target=2)


def test_calibration_counts_rows_inside_intervals():
    rng = np.random.RandomState(0)
    y_std = rng.uniform(1, 2, 50)
    y_true, y_pred = rng.randn(50), 0.3 * rng.randn(50)
    display = PredictionDisplay.from_predictions(y_true, y_pred, y_std, kind="calibration")
    for p in (0.1, 0.5, 0.95):
        low, high = norm(y_pred, y_std).interval(p)
        assert display.coverage(p) == np.mean((low <= y_true) & (y_true <= high))
    observed = display.ax_.lines[1]
    np.testing.assert_array_equal(observed.get_ydata(), display.coverage(observed.get_xdata()))


def test_intervals_are_those_of_the_t_distribution():
    rng = np.random.RandomState(0)
    X = rng.randn(12, 1)
    y = X[:, 0] + rng.randn(12)
    model = BackpropRegressor((), solver="lm", alpha=0.0).fit(X, y)
    assert model.degrees_of_freedom_ == pytest.approx([10])
    shown = PredictionDisplay.from_estimator(make_pipeline("passthrough", model), X, y)
    for p in (0.2, 0.5, 0.9):
        low, high = model.predict_interval(X, p).T
        assert shown.coverage(p) == np.mean((low <= y) & (y <= high))
    curve = IntervalDisplay.from_estimator(model, X, 0)
    low, high = model.predict_interval(np.reshape(curve.x, (-1, 1)), 0.95).T
    drawn = curve.bands_[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([drawn.min(), drawn.max()], [low.min(), high.max()])


@pytest.mark.parametrize("loss", ["poisson", "gamma", "lognormal", "student_t"])
def test_intervals_are_those_of_the_loss(loss):
    rng = np.random.RandomState(0)
    X = rng.rand(60, 1)
    y = np.exp(X[:, 0] + 0.8 * rng.randn(60)) if loss != "poisson" else rng.poisson(3 * X[:, 0])
    Y = np.column_stack([y, 2 * y])
    model = BackpropRegressor((), solver="lm", alpha=0.0, loss=loss).fit(X, Y)
    curve = IntervalDisplay.from_estimator(make_pipeline("passthrough", model), X, 0, target=1)
    low, high = model.predict_interval(np.reshape(curve.x, (-1, 1)), 0.95)[:, 1].T
    drawn = curve.bands_[0].get_paths()[0].vertices[:, 1]
    np.testing.assert_allclose([drawn.min(), drawn.max()], [low.min(), high.max()])
    shown = PredictionDisplay.from_estimator(make_pipeline(model), X, Y, target=1)
    low, high = model.predict_interval(X, 0.95)[:, 1].T
    inside, outside = shown.ax_.containers
    bars = [bar[:, 1] for bars in (inside, outside) for bar in bars[2][0].get_segments()]
    np.testing.assert_allclose(np.sort(np.ravel(bars)), np.sort(np.ravel([low, high])))
    if loss != "poisson":  # a count on an end of an interval is half inside
        for p in (0.2, 0.5, 0.9):
            low, high = model.predict_interval(X, p)[:, 1].T
            assert shown.coverage(p) == np.mean((low <= Y[:, 1]) & (Y[:, 1] <= high))


def test_the_band_holds_what_is_calibrated():
    rng = np.random.RandomState(1)
    inside = []
    for _ in range(200):
        display = PredictionDisplay(y_true=rng.randn(100), y_pred=np.zeros(100), y_std=np.ones(100))
        inside.append(abs(display.coverage(0.5) - 0.5) < 1.96 * np.sqrt(0.25 / 100))
    assert 0.9 < np.mean(inside) < 0.99
    band = display.plot(kind="calibration").ax_.collections[0].get_paths()[0].vertices
    at_half = band[np.isclose(band[:, 0], 0.5), 1]
    np.testing.assert_allclose([at_half.min(), at_half.max()], [0.402, 0.598], atol=1e-3)


@pytest.mark.parametrize("probability", [95, -0.1, np.nan, [0.5, 95]])
def test_coverage_of_what_is_no_probability_is_refused(probability):
    display = PredictionDisplay(y_true=np.zeros(3), y_pred=np.ones(3), y_std=np.ones(3))
    with pytest.raises(ValueError, match=r"probability must be in \[0, 1\], such as 0.95: "):
        display.coverage(probability)


def test_predictions_that_are_refused():
    with pytest.raises(ValueError, match=r"\['predicted_vs_actual', 'calibration'\], got 'both'"):
        PredictionDisplay.from_predictions([1.0], [1.0], kind="both")
    with pytest.raises(ValueError, match="needs y_std"):
        PredictionDisplay.from_predictions([1.0], [1.0], kind="calibration")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"y_pred": [1.0]}, "y_true has 2 values and y_pred has 1; they must agree"),
        ({"y_std": [1.0]}, "y_true has 2 values and y_std has 1; they must agree"),
        ({"y_true": ["a", "b"]}, "y_true must be numbers: .*'a'"),
        ({"y_true": [1.0, np.nan]}, "y_true has 1 values of nan or inf"),
        ({"y_pred": [[1.0], [2.0]]}, r"y_pred has shape \(2, 1\); expected \(n_samples,\)"),
    ],
)
def test_columns_that_are_refused(given, says):
    columns = {"y_true": [1.0, 2.0], "y_pred": [1.0, 2.0], "y_std": [1.0, 1.0]}
    with pytest.raises(ValueError, match=says):
        PredictionDisplay.from_predictions(**{**columns, **given})


def test_targets_that_are_not_those_of_the_rows_are_refused(rows, model):
    X, y = rows
    for display, more in ((PredictionDisplay, {}), (IntervalDisplay, {"feature": "dose"})):
        with pytest.raises(ValueError, match=f"{len(X)} .* y has 4; they must agree"):
            display.from_estimator(model, X, y=y[:4], **more)
        with pytest.raises(ValueError, match="y has 2 targets and the estimator predicts 1"):
            display.from_estimator(model, X, y=np.column_stack([y, y]), **more)
    with pytest.raises(ValueError, match="feature 'dose' has no finite value in X"):
        IntervalDisplay.from_estimator(model, X.assign(dose=np.nan), "dose")


# --- intervals ---


@pytest.mark.parametrize("feature", ["dose", 2, -1, np.int64(2)])
def test_intervals_at_medians_and_given_values(rows, model, feature):
    X, y = rows
    display = IntervalDisplay.from_estimator(
        model, X, feature, y=y, fixed={"age": 0.5}, grid_resolution=7
    )
    x = np.linspace(X["dose"].min(), X["dose"].max(), 7)
    by_hand = pd.DataFrame({"age": 0.5, "weight": X["weight"].median(), "dose": x})
    mean, std = model.predict(by_hand, return_std=True)
    np.testing.assert_array_equal(display.line_.get_xydata(), np.column_stack([x, mean]))
    np.testing.assert_array_equal(display.std, std)
    dof = model.degrees_of_freedom_
    for band, p in zip(display.bands_, (0.95, 0.5), strict=True):
        values = band.get_paths()[0].vertices
        low, high = t(dof, mean, std * np.sqrt((dof - 2) / dof)).interval(p)
        assert values[:, 1].max() == pytest.approx(high.max(), rel=1e-6)
        assert values[:, 1].min() == pytest.approx(low.min(), rel=1e-6)
    np.testing.assert_array_equal(display.points_.get_offsets(), np.column_stack([X["dose"], y]))
    assert legend(display) == ["mean", "95 %", "50 %", "data"]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("dose", "yield")


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, np.ndarray.tolist])
def test_intervals_of_arrays(rows, kind):
    X, y = rows[0].to_numpy(), rows[1].to_numpy()
    model = rough((3,)).fit(X, y)
    display = IntervalDisplay.from_estimator(model, kind(X), 1, fixed={0: 0.5}, grid_resolution=5)
    grid = np.tile(np.median(X, axis=0), (5, 1))
    grid[:, 0], grid[:, 1] = 0.5, np.linspace(X[:, 1].min(), X[:, 1].max(), 5)
    np.testing.assert_array_equal(display.mean, model.predict(grid))
    assert display.points_ is None
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("x1", "y")


def test_intervals_through_a_pipeline_with_names_in_it(rows):
    X, y = rows
    X = X.assign(site=np.where(np.arange(60) % 3, "north", "south"), old=X["age"] > 0)
    encoder = OneHotEncoder(sparse_output=False)
    columns = make_column_transformer((encoder, ["site"]), remainder="passthrough")
    pipeline = make_pipeline(columns, rough((3,))).fit(X, y)
    at_mode = IntervalDisplay.from_estimator(pipeline, X, "dose", y=y)
    north = IntervalDisplay.from_estimator(pipeline, X, "dose", fixed={"site": "north"})
    south = IntervalDisplay.from_estimator(pipeline, X, "dose", fixed={"site": "south"})
    np.testing.assert_array_equal(at_mode.mean, north.mean)
    assert np.abs(at_mode.mean - south.mean).max() > 0


@pytest.mark.parametrize("kind", [lambda X: X, pd.DataFrame.to_numpy])
def test_intervals_beside_missing_values_are_those_of_the_others(rows, kind):
    X, y = rows
    missing = X.mask(np.random.RandomState(0).uniform(size=X.shape) < 0.1)
    pipeline = make_pipeline(SimpleImputer(), rough((3,))).fit(kind(missing), y)
    display = IntervalDisplay.from_estimator(pipeline, kind(missing), feature=2, grid_resolution=5)
    x = np.linspace(missing["dose"].min(), missing["dose"].max(), 5)
    typical = pd.DataFrame({**missing.median(), "dose": x})
    np.testing.assert_array_equal(display.x, x)
    np.testing.assert_array_equal(display.mean, pipeline.predict(kind(typical)))


@pytest.mark.parametrize("feature", ["height", 3, -4])
def test_features_that_are_not_there(rows, model, feature):
    with pytest.raises(ValueError, match=rf"\['age', .*\] or a number below 3, got {feature!r}"):
        IntervalDisplay.from_estimator(model, rows[0], feature)
    with pytest.raises(ValueError, match=f"got {feature!r}"):
        IntervalDisplay.from_estimator(model, rows[0], "age", fixed={feature: 1.0})


# --- networks ---


def test_every_weight_is_a_line_of_its_size_and_sign(rows):
    X, y = rows
    model = rough((2,)).fit(X, y)
    display = NetworkDisplay.from_estimator(model)
    blue = mpl.colors.to_rgb(BLUE)
    for W, b, lines in zip(model.coefs_, model.intercepts_, display.lines_, strict=True):
        weights = np.sort(np.abs(np.vstack([W, b])).ravel())
        widths, alpha = lines.get_linewidths(), lines.get_alpha()
        assert len(widths) == W.size + b.size
        assert np.all(np.diff(widths) >= 0)
        np.testing.assert_allclose(
            (np.array(widths) - 0.3) / (widths[-1] - 0.3), weights / weights[-1]
        )
        assert np.all(np.diff(alpha) >= 0)
        positive = [tuple(color[:3]) == blue for color in lines.get_colors()]
        assert sum(positive) == np.sum(np.vstack([W, b]) > 0)
    numbers = [t.get_text() for t in display.ax_.texts if re.fullmatch(r"-?[\d.e-]+", t.get_text())]
    everything = [*model.coefs_, *model.intercepts_]
    expected = sorted(f"{w:.3g}" for W in everything for w in W.ravel())
    assert sorted(number for number in numbers if number != "1") == expected
    # The thickest line of the first layer joins the units of its largest weight.
    start, end = display.lines_[0].get_segments()[-1]
    W = np.vstack([model.coefs_[0], model.intercepts_[0]])
    i, j = np.unravel_index(np.abs(W).argmax(), W.shape)
    names = {t.get_text(): t.get_position()[1] for t in display.ax_.texts if t.get_text() in NAMES}
    assert start[1] == pytest.approx(names[NAMES[i]]) if i < 3 else start[1] > max(names.values())
    heights = sorted({round(e[1], 6) for _, e in display.lines_[0].get_segments()}, reverse=True)
    assert round(end[1], 6) == heights[j]


def test_one_of_several_networks(rows):
    X, y = rows
    model = rough((3, 2), n_networks=2).fit(X, y)
    display = NetworkDisplay.from_estimator(model, network=1)
    assert [W.shape for W in display.coefs] == [(3, 3), (3, 2), (2, 1)]
    means = []
    for k in (0, 1):
        one = NetworkDisplay.from_estimator(model, network=k)
        h = X.to_numpy() / model.scaler_.scale_
        for W, b in zip(one.coefs[:-1], one.intercepts[:-1]):
            h = 1 / (1 + np.exp(-(h @ W + b)))
        means.append(h @ one.coefs[-1] + one.intercepts[-1])
    average = model.y_location_ + model.y_scale_ * np.mean(means, axis=0)
    np.testing.assert_allclose(average.ravel(), model.predict(X), rtol=1e-9)
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        NetworkDisplay.from_estimator(model, network=2)


def test_weights_of_inputs_of_unit_spread(rows):
    X, y = rows
    X = X * [1e3, 1, 1e-3] + [1e4, 0, 0]
    model = rough((3,)).fit(X, y)
    expected = X.to_numpy() @ model.raw_coefs_[0] + model.raw_intercepts_[0]
    display = NetworkDisplay.from_estimator(model, X=X, output_names=["a good one"])
    u = (X - X.mean()) / X.std(ddof=0)
    np.testing.assert_allclose(
        u.to_numpy() @ display.coefs[0] + display.intercepts[0], expected, rtol=1e-6, atol=1e-9
    )
    assert "a good one" in [text.get_text() for text in display.ax_.texts]
    sparse = NetworkDisplay.from_estimator(model, X=sp.csr_matrix(X))
    np.testing.assert_array_equal(sparse.coefs[0], display.coefs[0])


@pytest.mark.parametrize(
    ("hidden", "size"),
    [
        ((), None),
        ((5, 5, 5), None),
        *slow([((2,), None), ((2,), (3.6, 2.8)), ((50,), None), ((5, 5, 5), (3.6, 2.8))]),
        *slow([((50,), (3.6, 2.8))]),
        *slow([((), (3.6, 2.8))]),
    ],
    ids=str,
)
def test_units_of_networks_of_any_size_do_not_touch(hidden, size):
    rng = np.random.RandomState(0)
    X = pd.DataFrame(rng.randn(60, 20), columns=[f"the {k}th of the inputs" for k in range(20)])
    model = rough(hidden).fit(X, rng.randn(60, 3))
    ax = None if size is None else plt.subplots(figsize=size, layout="constrained")[1]
    display = NetworkDisplay.from_estimator(model, ax=ax)
    display.figure_.canvas.draw()
    units = [c for c in display.ax_.collections if c.get_offsets().shape[1:] == (2,)]
    circles = [c for c in units if not isinstance(c, mpl.collections.LineCollection)]
    points = np.vstack([c.get_offsets() for c in circles])
    diameters = np.concatenate(
        [np.repeat(np.sqrt(c.get_sizes()), len(c.get_offsets())) for c in circles]
    )
    assert len(points) == 20 + sum(hidden) + 3 + len(hidden) + 1
    distance = np.hypot(*(points[:, None] - points).transpose(2, 0, 1))
    reach = (diameters[:, None] + diameters) / 2
    assert np.all((distance > reach) | np.eye(len(points), dtype=bool))
    whole = display.figure_.bbox
    for text in display.ax_.texts:
        box = text.get_window_extent()
        assert whole.x0 - 1 <= box.x0 <= box.x1 <= whole.x1 + 1, text.get_text()


def test_networks_of_others(rows):
    X, y = rows
    pipeline = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(3,), max_iter=5))
    with pytest.warns(ConvergenceWarning):  # a few iterations are enough to draw
        pipeline.fit(X, y)
    display = NetworkDisplay.from_estimator(pipeline, X=StandardScaler().fit_transform(X))
    np.testing.assert_allclose(display.coefs[0], pipeline[-1].coefs_[0])


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


def test_a_fit_without_relevance_is_refused(model):
    with pytest.raises(ValueError, match="needs solver='lm'"):
        RelevanceDisplay.from_estimator(model)
