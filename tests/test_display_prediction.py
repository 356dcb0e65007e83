"""What the display of predictions draws: intervals, accuracy, and calibration."""

IMPORTS


@pytest.fixture(autouse=True)
def closed():
    """Figures are closed after the test."""
    yield
    plt.close("all")


@pytest.fixture
def rows():
    return table()


@pytest.fixture
def model():
    return fitted()


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


