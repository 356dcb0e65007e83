"""What the display of a network draws: lines, numbers, names, blocks."""

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


