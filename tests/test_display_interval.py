"""What the display of intervals draws: averages over rows, bands, and partial residuals."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from displays import fitted, legend, note, rough, table
from scipy.stats import nbinom
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.inspection import partial_dependence
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sk_backprop import BackpropRegressor, IntervalDisplay
from sk_backprop._display._partial import Spread, partial_residuals

pytestmark = pytest.mark.usefixtures("figures_closed")


@pytest.fixture
def rows():
    return table()


@pytest.fixture
def model():
    return fitted()


class Known(BaseEstimator):
    """Predicts by a function of a table, with a standard deviation of 1."""

    def __init__(self, function):
        self.function = function
        self.fitted_ = True

    def fit(self, X, y):
        return self

    def predict(self, X, return_std=False):
        mean = np.asarray(self.function(X), dtype=float)
        return (mean, np.ones(len(mean))) if return_std else mean


def band(display, number):
    """Lower and upper end of a drawn band at each x."""
    n = len(display.x)
    vertices = display.bands_[number].get_paths()[0].vertices[:, 1]
    return vertices[1 : n + 1], vertices[n + 2 : 2 * n + 2][::-1]


def inside(display, probability):
    """Whether each point lies in a band, whose ends are lines from one x to the next."""
    low, high = (np.interp(display.x_data, display.x, end) for end in display.bands[probability].T)
    return (low <= display.y_data) & (display.y_data <= high)


# --- the average ---


@pytest.mark.parametrize("feature", ["dose", 2, -1, np.int64(2)])
def test_mean_and_bands_are_averages_over_the_rows(rows, model, feature):
    X, y = rows
    display = IntervalDisplay.from_estimator(model, X, feature, y=y, grid_resolution=5)
    x = np.linspace(X["dose"].min(), X["dose"].max(), 5)
    np.testing.assert_array_equal(display.line_.get_xdata(), x)
    for k, value in enumerate(x):
        there = X.assign(dose=value)
        assert display.line_.get_ydata()[k] == pytest.approx(model.predict(there).mean())
        for number, p in enumerate((0.95, 0.5)):
            low, high = model.predict_interval(there, p).mean(axis=0)
            assert display.bands[p][k] == pytest.approx([low, high])
            assert [end[k] for end in band(display, number)] == pytest.approx([low, high])
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("dose", "yield")
    assert note(display) == "other features averaged"


def test_the_mean_is_that_of_partial_dependence():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    X, y = X[:250], y[:250]
    process = GaussianProcessRegressor(alpha=0.1, normalize_y=True).fit(X, y)
    display = IntervalDisplay.from_estimator(process, X, "bmi", grid_resolution=7)
    peer = partial_dependence(
        process, X, ["bmi"], grid_resolution=7, percentiles=(0, 1), method="brute"
    )
    np.testing.assert_allclose(display.x, peer["grid_values"][0])
    np.testing.assert_allclose(display.mean, peer["average"][0])


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, np.ndarray.tolist])
def test_arrays_and_values_that_are_fixed(rows, kind):
    X, y = rows[0].to_numpy(), rows[1].to_numpy()
    model = rough((3,)).fit(X, y)
    display = IntervalDisplay.from_estimator(model, kind(X), 1, fixed={0: 0.5}, grid_resolution=5)
    for value, mean in zip(np.linspace(X[:, 1].min(), X[:, 1].max(), 5), display.mean, strict=True):
        there = np.column_stack([np.full(60, 0.5), np.full(60, value), X[:, 2]])
        assert mean == pytest.approx(model.predict(there).mean())
    assert display.points_ is None
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("x1", "y")
    assert note(display) == "x0 = 0.5; others averaged"


def test_a_slice_where_all_others_are_fixed(rows, model):
    X, y = rows
    fixed = {"age": 0.25, 1: X["weight"].median()}
    display = IntervalDisplay.from_estimator(model, X, "dose", y=y, fixed=fixed, grid_resolution=4)
    there = pd.DataFrame({"age": 0.25, "weight": X["weight"].median(), "dose": display.x})
    np.testing.assert_allclose(display.mean, model.predict(there))
    np.testing.assert_allclose(display.bands[0.95], model.predict_interval(there, 0.95))
    assert note(display) == f"age = 0.25, weight = {X['weight'].median():.4g}"


def test_no_more_than_300_rows_are_averaged_and_500_drawn():
    rng = np.random.RandomState(0)
    X, calls = rng.randn(5000, 2), []

    def second(Z):
        calls.append(len(Z))
        return Z[:, 1]

    display = IntervalDisplay.from_estimator(
        Known(second), X, 0, y=X[:, 1] + rng.randn(5000), grid_resolution=10
    )
    assert max(calls) == 3000
    assert display.mean[0] == display.mean[-1] == pytest.approx(0, abs=3 / np.sqrt(300))
    assert len(display.points_.get_offsets()) == 500
    assert legend(display)[-1] == "partial residuals, 500 of 5,000 rows drawn"


@pytest.mark.parametrize("kind", [lambda X: X, pd.DataFrame.to_numpy])
def test_missing_values_of_the_others_stay_missing(rows, kind):
    X, y = rows
    missing = X.mask(np.random.RandomState(0).uniform(size=X.shape) < 0.1)
    pipeline = make_pipeline(SimpleImputer(), rough((3,))).fit(kind(missing), y)
    display = IntervalDisplay.from_estimator(
        pipeline, kind(missing), feature=2, y=y, grid_resolution=5
    )
    x = np.linspace(missing["dose"].min(), missing["dose"].max(), 5)
    expected = [pipeline.predict(kind(missing.assign(dose=value))).mean() for value in x]
    np.testing.assert_allclose(display.mean, expected)
    known = missing["dose"].notna()
    np.testing.assert_array_equal(display.x_data, missing["dose"][known])
    assert legend(display)[-1] == f"partial residuals, {known.sum()} of 60 rows drawn"


# --- the points ---


def test_points_are_partial_residuals(rows, model):
    X, y = rows
    display = IntervalDisplay.from_estimator(model, X, "dose", y=y)
    mean, intervals = model.predict(X), model.predict_interval(X, 0.95)
    for k, value in enumerate(X["dose"]):
        averaged = np.interp(value, display.x, display.mean)
        low, high = (np.interp(value, display.x, end) for end in display.bands[0.95].T)
        scale = (high - low) / (intervals[k, 1] - intervals[k, 0])
        expected = averaged + scale * (y[k] - mean[k])
        assert np.asarray(display.points_.get_offsets()[k]) == pytest.approx([value, expected])


def test_points_of_constant_noise_are_the_average_and_the_residual():
    rng = np.random.RandomState(0)
    X, noise = rng.randn(200, 3), rng.randn(200)
    additive = Known(lambda Z: 2 * Z[:, 0] + np.exp(Z[:, 1]))
    y = additive.predict(X) + noise
    display = IntervalDisplay.from_estimator(additive, X, 0, y=y)
    np.testing.assert_allclose(display.y_data, 2 * X[:, 0] + np.exp(X[:, 1]).mean() + noise)


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "gamma", "lognormal", "student_t"])
def test_a_point_is_in_a_band_if_the_row_is_in_its_interval(loss):
    rng = np.random.RandomState(0)
    X = rng.rand(150, 2)
    mean = np.exp(2 * X[:, 0] + X[:, 1])
    y = rng.poisson(mean / 5) if loss == "poisson" else mean * rng.gamma(3, 1 / 3, 150)
    model = BackpropRegressor((), solver="lm", alpha=0.0, loss=loss).fit(X, y)
    display = IntervalDisplay.from_estimator(make_pipeline("passthrough", model), X, 0, y=y)
    of_rows = model.predict_dist(X)
    for number, p in enumerate((0.95, 0.5)):
        found = inside(display, p)
        if loss == "poisson":  # a count is inside if the middle of its probability is
            middle = of_rows.cdf(y - 1) + of_rows.pmf(y) / 2
            expected, above = np.abs(2 * middle - 1) <= p, display.y_data > 0
            np.testing.assert_array_equal(found[above], expected[above])
            assert np.all(found[~above] >= expected[~above])  # bands and points end at 0
            assert above.mean() > 0.8
        else:
            low, high = model.predict_interval(X, p).T
            np.testing.assert_array_equal(found, (low <= y) & (y <= high))
        share = f"{100 * p:g} % band: {100 * found.mean():.0f} % of points"
        assert display.bands_[number].get_label() == share


def test_ends_of_intervals_are_ends_of_bands_and_between_them_the_map_is_linear():
    of_row = np.array([[0.0, 1.0, 2.0, 3.0, 10.0]])
    averaged = np.array([[0.0, 2.0, 3.0, 5.0, 6.0], [10.0, 12.0, 13.0, 15.0, 16.0]])
    for y, expected in [
        *zip(of_row[0], averaged[0]),
        *((0.25, 0.5), (2.5, 4.0), (6.5, 5.5), (17.0, 7.0), (-1.0, -2.0)),
    ]:
        for at_row in (0.0, 0.3, 1.0):
            (found,) = partial_residuals(
                np.array([y]),
                Spread(np.zeros(1), of_row, -np.inf),
                np.array([at_row]),
                Spread(np.zeros(2), averaged, -np.inf),
                np.array([0.0, 1.0]),
            )
            assert found == pytest.approx(expected + 10 * at_row)


def test_bands_hold_as_many_points_as_they_say():
    # On held-out rows, within the binomial error of 95 %.
    X, y = load_diabetes(return_X_y=True, scaled=False, as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    model = BackpropRegressor((3,), solver="lm", random_state=0).fit(X_train, y_train)
    for feature in ("bmi", "age", "s5"):
        display = IntervalDisplay.from_estimator(
            model, X_test, feature, y=y_test, grid_resolution=20
        )
        for p in (0.5, 0.95):
            error = np.sqrt(p * (1 - p) / len(y_test))
            assert abs(inside(display, p).mean() - p) < 1.96 * error


def test_points_of_the_only_feature_are_the_data():
    rng = np.random.RandomState(0)
    X = rng.rand(80, 1)
    y = np.sin(3 * X[:, 0]) + 0.1 * rng.randn(80)
    display = IntervalDisplay.from_estimator(rough((3,)).fit(X, y), X, 0, y=y)
    np.testing.assert_allclose(display.points_.get_offsets(), np.column_stack([X, y]), atol=2e-3)
    assert legend(display)[-1] == "data"
    assert note(display) == ""


def test_counts_and_their_bands_are_not_negative():
    rng = np.random.RandomState(0)
    X = rng.rand(120, 2)
    y = rng.poisson(2 * X[:, 0] + 0.2)
    model = BackpropRegressor((), solver="lm", loss="poisson").fit(X, y)
    display = IntervalDisplay.from_estimator(model, X, 0, y=y, grid_resolution=4)
    assert min(display.bands[0.95].min(), display.y_data.min()) == 0
    # The quantile 0.75 where a count k has its probability from k - 1/2 to k + 1/2.
    distribution = model.predict_dist(np.column_stack([np.full(120, display.x[-1]), X[:, 1]]))
    assert distribution.dist.name == nbinom.name
    quantiles = []
    for row in range(120):
        k, below = 0, 0.0
        while below + distribution.pmf(k)[row] < 0.75:
            below, k = below + distribution.pmf(k)[row], k + 1
        quantiles.append(k - 0.5 + (0.75 - below) / distribution.pmf(k)[row])
    assert display.bands[0.5][-1, 1] == pytest.approx(np.mean(quantiles), rel=1e-9)


# --- columns of tables ---


def test_categories_are_points_with_bars(rows):
    X, y = rows
    site = np.where(np.arange(60) % 3, "north", "south")
    X = X.assign(site=pd.Categorical(site, ["south", "west", "north"]), old=X["age"] > 0)
    encoder = OneHotEncoder(sparse_output=False)
    columns = make_column_transformer((encoder, ["site"]), remainder="passthrough")
    pipeline = make_pipeline(columns, rough((3,))).fit(X, y)
    display = IntervalDisplay.from_estimator(pipeline, X, "site", y=y)
    labels = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert labels == display.x.tolist() == ["south", "north"]
    for k, name in enumerate(labels):
        there = X.assign(site=pd.Categorical([name] * 60, X["site"].cat.categories))
        expected = pipeline.predict(there).mean()
        assert display.line_.get_xydata()[k] == pytest.approx([k, expected])
        for bars, p in zip(display.bands_, (0.95, 0.5), strict=True):
            ends = pipeline[-1].predict_interval(columns.transform(there), p).mean(axis=0)
            drawn = [bars[k].get_y(), bars[k].get_y() + bars[k].get_height()]
            assert drawn == pytest.approx(ends)
    at = display.points_.get_offsets()[:, 0]
    assert np.array_equal(np.rint(at) == 1, site == "north")
    assert display.line_.get_linestyle() == "None"
    north = IntervalDisplay.from_estimator(
        pipeline, X, "dose", fixed={"site": "north", "old": True}, grid_resolution=3
    )
    there = X.assign(site="north", old=True, dose=X["dose"].min())
    assert north.mean[0] == pytest.approx(pipeline.predict(there).mean())
    assert note(north) == "site = north, old = True; others averaged"
    old = IntervalDisplay.from_estimator(pipeline, X, "old", y=y)
    assert [label.get_text() for label in old.ax_.get_xticklabels()] == ["False", "True"]


def test_rows_keep_the_types_of_their_columns():
    n = 30
    frame = pd.DataFrame(
        {
            "number": np.linspace(0, 1, n),
            "count": np.arange(n),
            "kind": pd.Categorical(["a", "b", "c"] * 10),
            "text": pd.Series(["x", "y"] * 15, dtype=object),
            "day": pd.date_range("2024-01-01", periods=n),
            "zone": pd.date_range("2024-01-01", periods=n, tz="Europe/Paris"),
            "flag": pd.array([True, False, None] * 10, dtype="boolean"),
        }
    )
    seen = []
    estimator = Known(lambda Z: seen.append(Z.dtypes) or Z["number"] + (Z["kind"] == "b"))
    for name in ("number", "kind", "text", "day", "zone", "flag"):
        IntervalDisplay.from_estimator(
            estimator,
            frame,
            name,
            y=frame["number"],
            fixed={"kind": "b", "flag": True},
            grid_resolution=3,
        )
    for one in seen:
        pd.testing.assert_series_equal(one, frame.dtypes)
    kinds = IntervalDisplay.from_estimator(estimator, frame, "kind")
    np.testing.assert_allclose(kinds.mean, [0.5, 1.5, 0.5])
    flags = IntervalDisplay.from_estimator(estimator, frame, "flag", y=frame["number"])
    assert flags.x.tolist() == [False, True]
    assert len(flags.y_data) == 20


def test_dates_are_dates_on_the_axis():
    days = pd.Series(pd.date_range("2024-01-01", "2024-12-31", 50), name="day")
    frame = pd.DataFrame({"day": days, "other": np.arange(50.0)})
    trend = Known(lambda Z: (Z["day"] - days[0]) / pd.Timedelta(days=1) + Z["other"])
    y = trend.predict(frame) + np.random.RandomState(0).randn(50)
    display = IntervalDisplay.from_estimator(trend, frame, "day", y=y, grid_resolution=4)
    np.testing.assert_allclose(display.mean, np.linspace(0, 365, 4) + 24.5)
    assert display.x[-1] == np.datetime64("2024-12-31")
    expected = y - np.arange(50) + 24.5
    np.testing.assert_allclose(display.y_data, expected, atol=1e-6)
    assert 0.5 < inside_of_dates(display) < 1
    display.figure_.canvas.draw()
    labels = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert {"2024", "Jul"} <= set(labels)


def inside_of_dates(display):
    """The share that the legend says of the 95 % band."""
    return float(display.bands_[0].get_label().split(": ")[1].split(" %")[0]) / 100


def test_the_most_frequent_categories_with_long_names_are_in_the_figure():
    names = [f"municipality number {k}" for k in range(40)]
    frame = pd.DataFrame({"place": np.repeat(names, np.arange(1, 41)), "size": 1.0})
    ax = plt.subplots(figsize=(3.5, 2.6), layout="constrained")[1]
    length = Known(lambda Z: Z["place"].str.len())
    display = IntervalDisplay.from_estimator(length, frame, "place", y=np.ones(820), ax=ax)
    assert sorted(display.x) == sorted(names[20:])
    display.figure_.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert min(box.y0 for box in boxes) >= -1


# --- what is refused ---


@pytest.mark.parametrize("feature", ["height", 3, -4])
def test_features_that_are_not_there(rows, model, feature):
    with pytest.raises(ValueError, match=rf"\['age', .*\] or a number below 3, got {feature!r}"):
        IntervalDisplay.from_estimator(model, rows[0], feature)
    with pytest.raises(ValueError, match=f"got {feature!r}"):
        IntervalDisplay.from_estimator(model, rows[0], "age", fixed={feature: 1.0})


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (np.nan, "has no finite value"),
        (pd.NaT, "has no date"),
        (pd.Series([None] * 60, dtype="string"), "has no value"),
    ],
    ids=["numbers", "dates", "texts"],
)
def test_a_feature_without_values_is_refused(rows, column, says):
    X = rows[0].assign(dose=column)
    with pytest.raises(ValueError, match=f"feature 'dose' {says} in X"):
        IntervalDisplay.from_estimator(Known(len), X, "dose")


def test_a_pipeline_names_the_features_that_it_saw(rows):
    X, y = rows
    pipeline = make_pipeline(StandardScaler(), rough((2,))).fit(X, y)
    display = IntervalDisplay.from_estimator(pipeline, X, 1, grid_resolution=3)
    assert display.ax_.get_xlabel() == "weight"
    of_array = IntervalDisplay.from_estimator(
        make_pipeline(StandardScaler(), rough((2,))).fit(X.to_numpy(), y), X.to_numpy(), 1
    )
    assert of_array.ax_.get_xlabel() == "x1"


@pytest.mark.parametrize("days", [0.02, 3.0, 40.0, 700.0, 1461.0, 9000.0])
def test_dates_of_any_range_have_ticks_without_a_warning(days):
    # Warnings are errors here.
    rows, y = table()
    start = pd.Timestamp("2019-01-01")
    dated = rows.assign(day=start + pd.to_timedelta(np.linspace(0, days, len(rows)), unit="D"))
    display = IntervalDisplay.from_estimator(rough((2,)).fit(dated, y), dated, "day", y=y)
    display.figure_.canvas.draw()
    assert 2 <= len(display.ax_.get_xticks()) <= 8
