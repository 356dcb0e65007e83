"""What the display of a network draws: lines, numbers, names, blocks."""

from itertools import pairwise

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cases import slow
from displays import NAMES, fitted, note, rough, table
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sk_backprop import NetworkDisplay
from sk_backprop._display._shared import BLUE, ORANGE

pytestmark = pytest.mark.usefixtures("figures_closed")


@pytest.fixture
def rows():
    return table()


@pytest.fixture
def model():
    return fitted()


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
        orange = mpl.colors.to_rgb(ORANGE)
        assert all(tuple(color[:3]) in (blue, orange) for color in lines.get_colors())
    numbers = [text.get_text() for text in display.numbers_]
    everything = [*model.coefs_, *model.intercepts_]
    expected = sorted(f"{w:.3g}" for W in everything for w in W.ravel())
    assert sorted(numbers) == expected
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
    assert note(display) == "network 2 of 2"
    assert note(NetworkDisplay.from_estimator(fitted())) == ""
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
    display = NetworkDisplay.from_estimator(pipeline, X=X)
    np.testing.assert_allclose(display.coefs[0], pipeline[-1].coefs_[0])


def drawn_names(display):
    return [text.get_text() for text in display.ax_.texts]


def test_names_of_the_last_step_of_a_pipeline(rows):
    X, y = rows
    X = X.assign(site=np.where(np.arange(60) % 3, "north", "south"))
    columns = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["site"]),
        remainder="passthrough",
        verbose_feature_names_out=False,
    )
    pipeline = make_pipeline(columns, StandardScaler(), rough((2,))).fit(X, y)
    names = drawn_names(NetworkDisplay.from_estimator(pipeline))
    assert {"site_north", "site_south", *NAMES} <= set(names)
    of_array = make_pipeline(StandardScaler(), rough((2,))).fit(X[NAMES].to_numpy(), y)
    assert {"x0", "x1", "x2"} <= set(drawn_names(NetworkDisplay.from_estimator(of_array)))


def test_names_of_encoded_inputs(rows):
    X, y = rows
    X = X.assign(site=np.where(np.arange(60) % 3, "north", "south"))
    names = drawn_names(NetworkDisplay.from_estimator(rough((2,)).fit(X, y)))
    assert {"age", "site=north", "site=south"} <= set(names)


@pytest.mark.parametrize("size", [(6.4, 4.8), (3.5, 2.6)])
@pytest.mark.parametrize("shape", [(3, 2, 1), (10, 1), (2, 3, 2, 1), (1, 7, 1)])
def test_texts_do_not_overlap(shape, size):
    rng = np.random.RandomState(0)
    ax = plt.subplots(figsize=size, layout="constrained")[1]
    display = NetworkDisplay(
        coefs=[rng.randn(m, n) for m, n in pairwise(shape)],
        intercepts=[rng.randn(n) for n in shape[1:]],
        input_names=[f"input {k}" for k in range(shape[0])],
        output_names=["y"],
        note="network 1 of 12",
    ).plot(ax)
    display.figure_.canvas.draw()
    texts = [*display.ax_.texts, *display.ax_.get_legend().get_texts()]
    boxes = [text.get_window_extent() for text in texts]
    for k, box in enumerate(boxes):
        for other, text in zip(boxes[:k], texts):
            assert not box.overlaps(other), (texts[k].get_text(), text.get_text())
    if size == (6.4, 4.8) and shape != (2, 3, 2, 1):
        assert len(display.numbers_) == sum((m + 1) * n for m, n in pairwise(shape))


def test_rounding_error_is_shown_as_zero():
    display = NetworkDisplay(
        coefs=[[[2.5], [-1e-3]]],
        intercepts=[[8.88e-16]],
        input_names=["a", "b"],
        output_names=["y"],
    ).plot()
    assert sorted(text.get_text() for text in display.numbers_) == ["-0.001", "0", "2.5"]


def test_units_for_single_features_are_a_block(rows):
    model = rough((6, 4), units_per_feature=2).fit(*rows)
    display = NetworkDisplay.from_estimator(model)
    first, second = model.coefs_[:2]
    to_blocks, to_units = display.lines_[:2]
    sizes = [np.hypot(*first[j, 2 * j : 2 * j + 2]) for j in range(3)]
    expected = sorted(size / max(sizes) for size in sizes)
    widths = np.array(to_blocks.get_linewidths())
    np.testing.assert_allclose((widths - 0.3) / (widths[-1] - 0.3), expected)
    totals = {}
    for j in range(3):
        for unit in range(second.shape[1]):
            own = second[2 * j : 2 * j + 2, unit]
            rise = sum(np.sign(first[j, 2 * j + k]) * own[k] for k in range(2))
            totals[j, unit] = np.hypot(*own) * np.sign(rise)
    values = [*totals.values(), *model.intercepts_[1]]
    widths = np.array(to_units.get_linewidths())
    np.testing.assert_allclose(
        (widths - 0.3) / (widths[-1] - 0.3), np.sort(np.abs(values)) / np.abs(values).max()
    )
    positive = [tuple(color[:3]) == mpl.colors.to_rgb(BLUE) for color in to_units.get_colors()]
    assert sum(positive) == np.sum(np.array(values) > 0)
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["positive", "negative", "2 units of a feature"]
    squares = [c for c in display.ax_.collections if len(c.get_paths()[0].vertices) < 8]
    assert [len(c.get_offsets()) for c in squares if c.get_offsets().size > 2] == [3]


def test_a_feature_of_two_values_is_a_block_of_one_unit():
    rng = np.random.RandomState(0)
    first, second = np.zeros((2, 4)), rng.normal(size=(4, 3))
    first[0, :3], first[1, 3] = rng.normal(size=3), -2.0
    display = NetworkDisplay(
        coefs=[first, second, rng.normal(size=(3, 1))],
        intercepts=[np.zeros(4), np.zeros(3), np.zeros(1)],
        input_names=["size", "open"],
        output_names=["y"],
        units_per_feature=3,
    ).plot()
    of_size = np.linalg.norm(second[:3], axis=0)
    expected = np.sort([*of_size, *np.abs(second[3])])
    widths = np.array(display.lines_[1].get_linewidths())
    np.testing.assert_allclose((widths - 0.3) / (widths[-1] - 0.3), expected / expected[-1])
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts[-1] == "up to 3 units of a feature"


@pytest.mark.parametrize(
    ("X", "says"),
    [
        (pd.DataFrame({"a": ["x"], "b": [1], "c": [2]}), "X must be numbers; leave it out"),
        (np.ones((4, 2)), r"X has shape \(4, 2\); the network has 3 inputs"),
    ],
    ids=["texts", "columns"],
)
def test_rows_that_are_no_inputs_of_the_network_are_refused(X, says, model):
    with pytest.raises(ValueError, match=says):
        NetworkDisplay.from_estimator(model, X=X)
