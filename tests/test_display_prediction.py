"""What the display of predictions draws: intervals, accuracy, and calibration."""

import numpy as np
import pandas as pd
import pytest
from displays import fitted, legend, note, rough, table
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline

from sk_backprop import BackpropRegressor, IntervalDisplay, PredictionDisplay

pytestmark = pytest.mark.usefixtures("figures_closed")


@pytest.fixture
def rows():
    return table()


@pytest.fixture
def model():
    return fitted()


def test_predictions_and_their_intervals():
    y_true, y_pred, y_std = np.array([[0.0, 5.0, 2.0], [1.0, 1.0, 2.0], [1.0, 1.0, 0.5]])
    display = PredictionDisplay.from_predictions(y_true, y_pred, y_std)
    assert legend(display) == ["in the 95 % interval: 67 %", "outside: 33 %"]
    inside, outside = display.points_
    assert inside.get_xydata().tolist() == [[0, 1], [2, 2]]
    assert outside.get_xydata().tolist() == [[5, 1]]
    (bar,) = display.bars_[1].get_segments()
    np.testing.assert_allclose(bar[:, 1], [1 - 1.959964, 1 + 1.959964], rtol=1e-6)
    assert inside.get_color() != outside.get_color()
    plain = PredictionDisplay.from_predictions(y_true, y_pred)
    assert plain.points_[0].get_xydata().tolist() == [[0, 1], [5, 1], [2, 2]]
    assert (plain.bars_, plain.ax_.get_legend()) == ([], None)


def bars(display):
    """Ends of the intervals that are drawn, (n_rows, 2)."""
    return np.array([bar[:, 1] for part in display.bars_ for bar in part.get_segments()])


def test_the_axes_are_equal_and_hold_everything(rows, model):
    X, y = rows
    display = PredictionDisplay.from_estimator(model, X, y)
    display.figure_.canvas.draw()
    ax = display.ax_
    assert ax.get_xlim() == ax.get_ylim()
    box = ax.get_window_extent()
    assert box.width == pytest.approx(box.height, abs=1)
    low, high = ax.get_xlim()
    intervals = model.predict_interval(X, 0.95)
    assert low < min(intervals.min(), y.min())
    assert max(intervals.max(), y.max()) < high


def test_accuracy_is_that_of_all_rows_of_which_500_are_drawn():
    rng = np.random.RandomState(0)
    y_pred = rng.uniform(0, 100, 5000)
    y_true = y_pred + 8 * rng.standard_t(4, 5000)
    display = PredictionDisplay.from_predictions(y_true, y_pred, np.full(5000, 10.0))
    rmse, r2 = root_mean_squared_error(y_true, y_pred), r2_score(y_true, y_pred)
    assert note(display) == f"RMSE {rmse:.3g}, R\u00b2 {r2:.2f}, 500 of 5,000 rows drawn"
    assert sum(len(points.get_xdata()) for points in display.points_) == 500
    assert len(bars(display)) == 500
    share = np.mean(np.abs(y_true - y_pred) > 10 * norm.ppf(0.975))
    assert legend(display)[1] == f"outside: {100 * share:.0f} %"
    drawn = np.vstack([points.get_xydata() for points in display.points_])
    pairs = set(zip(y_true, y_pred))
    assert all(tuple(point) in pairs for point in drawn)
    assert np.abs(drawn[:, 1].mean() - y_pred.mean()) < 3 * y_pred.std() / np.sqrt(500)
    constant = PredictionDisplay.from_predictions([1.0, 1.0], [1.0, 2.0])
    assert note(constant) == "RMSE 0.707"


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
    curve = IntervalDisplay.from_estimator(model, X, "age", y=both, target=1, grid_resolution=3)
    means = [model.predict(X.assign(age=value))[:, 1].mean() for value in curve.x]
    np.testing.assert_allclose(curve.mean, means)
    assert curve.ax_.get_ylabel() == "cost"
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
    np.testing.assert_allclose(np.sort(bars(shown), 0), np.sort(model.predict_interval(X, 0.95), 0))


@pytest.mark.parametrize("loss", ["poisson", "gamma", "lognormal", "student_t"])
def test_intervals_are_those_of_the_loss(loss):
    rng = np.random.RandomState(0)
    X = rng.rand(60, 1)
    y = np.exp(X[:, 0] + 0.8 * rng.randn(60)) if loss != "poisson" else rng.poisson(3 * X[:, 0])
    Y = np.column_stack([y, 2 * y])
    model = BackpropRegressor((), solver="lm", alpha=0.0, loss=loss).fit(X, Y)
    shown = PredictionDisplay.from_estimator(make_pipeline(model), X, Y, target=1)
    drawn, expected = bars(shown), model.predict_interval(X, 0.95)[:, 1]
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(expected, axis=0))
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
