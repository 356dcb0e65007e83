"""Dask collections: predictions are lazy, and those of the rows; the score is that of all rows."""

from typing import ClassVar

import cloudpickle
import dask
import dask.array as da
import dask.dataframe as dd
import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cases import slow
from distributed import Client
from sklearn.exceptions import NotFittedError, UndefinedMetricWarning
from sklearn.model_selection import GridSearchCV

from sk_backprop import BackpropRegressor, PredictionDisplay
from sk_backprop._estimator.lazy import is_collection

N = 60
METHODS = {
    "predict": {},
    "predict_interval": {"coverage": 0.8},
    "predict_quantiles": {"quantiles": [0.1, 0.5, 0.7]},
    "gradient": {},
    "leverage": {},
    "encode": {},
}


@pytest.fixture(autouse=True)
def synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


def network(**params):
    return BackpropRegressor((3,), solver="lm", random_state=0, **params)


def table(n_rows=N, seed=0):
    """Every kind of column, with missing values."""
    rng = np.random.default_rng(seed)
    number = np.where(rng.random(n_rows) < 0.2, np.nan, rng.normal(size=n_rows))
    return pd.DataFrame(
        {
            "number": number,
            "count": rng.integers(0, 9, n_rows),
            "grade": pd.Categorical(rng.choice(["low", "mid", "high"], n_rows)),
            "city": pd.Series(rng.choice(["Ulm", "Bonn"], n_rows), dtype=object),
            "sold": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 700, n_rows), "D"),
            "open": rng.random(n_rows) < 0.5,
            "rooms": pd.array(rng.integers(1, 6, n_rows), dtype="Int64"),
        }
    )


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3)) * [1, 100, 0.01]
    Y = np.c_[X[:, 0] ** 2, X[:, 1] / 100] + rng.normal(size=(N, 2)) / 10
    return X, Y


@pytest.fixture(scope="module")
def fitted(rows):
    """Networks by their number of outputs."""
    X, Y = rows
    return {1: network().fit(X, Y[:, 0]), 2: network().fit(X, Y)}


@pytest.fixture(scope="module")
def of_tables(rows):
    """Networks of mixed tables, by their number of outputs."""
    Y = rows[1]
    return {1: network().fit(table(), Y[:, 0]), 2: network().fit(table(), Y)}


def assert_same(lazy, local):
    """A dask array that knows what it will be, and is what `local` is."""
    assert isinstance(lazy, da.Array)
    found = lazy.compute()
    assert lazy.dtype == found.dtype == local.dtype
    assert lazy.ndim == local.ndim
    assert lazy.shape[1:] == local.shape[1:]
    np.testing.assert_allclose(found, local, rtol=1e-11, atol=1e-11)


# --- results are those of the rows ---


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_of_an_array(rows, fitted, method, n_outputs):
    X, call = da.from_array(rows[0], chunks=(25, 2)), getattr(fitted[n_outputs], method)
    expected = call(rows[0], **METHODS[method])
    lazy = call(X, **METHODS[method])
    assert lazy.chunks[0] == (25, 25, 10)
    assert_same(lazy, expected)
    # Of the rows that a filter leaves, dask does not know the number; none are left of one block.
    chosen = rows[0][:, 0] > 1
    chosen[25:50] = False
    filtered = call(X[da.from_array(chosen, chunks=25)], **METHODS[method])
    assert np.isnan(filtered.chunks[0]).all()
    assert_same(filtered, expected[chosen])


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_of_a_data_frame(of_tables, method, n_outputs):
    frame, call = table(), getattr(of_tables[n_outputs], method)
    collection = dd.from_pandas(frame, npartitions=4)
    lazy = call(collection, **METHODS[method])
    assert np.isnan(lazy.chunks[0]).all()
    assert len(lazy.chunks[0]) == 4
    assert_same(lazy, call(frame, **METHODS[method]))
    chosen = (frame["count"] > 2) & (frame.index > 20)
    filtered = collection[(collection["count"] > 2) & (collection.index > 20)]
    assert_same(call(filtered, **METHODS[method]), call(frame[chosen], **METHODS[method]))


def test_columns_whose_dtype_does_not_show_their_values(of_tables):
    # Strings as objects, categories that are not known before a block is computed.
    frame = table()
    with dask.config.set({"dataframe.convert-string": False}):
        collection = dd.from_pandas(frame, npartitions=3)
        collection["grade"] = collection["grade"].cat.as_unknown()
        assert collection["city"].dtype == object
    assert_same(of_tables[1].predict(collection), of_tables[1].predict(frame))


def test_columns_of_objects_that_are_numbers(rows):
    frame = pd.DataFrame(rows[0], columns=["a", "b", "c"])
    model = network().fit(frame, rows[1])
    with dask.config.set({"dataframe.convert-string": False}):
        collection = dd.from_pandas(frame.astype({"b": object}), npartitions=2)
    assert_same(model.predict(collection), model.predict(frame))


@pytest.mark.parametrize("method", METHODS)
def test_of_sparse_blocks(rows, fitted, method):
    X, call = rows[0], getattr(fitted[1], method)
    sparse = da.from_array(X, chunks=(25, 3)).map_blocks(sp.csr_matrix, meta=sp.csr_matrix((0, 0)))
    lazy = call(sparse, **METHODS[method])
    if method != "encode":
        assert_same(lazy, call(X, **METHODS[method]))
    else:
        found = sp.vstack([block.compute() for block in lazy.blocks])
        np.testing.assert_array_equal(found.toarray(), X)
        assert sp.issparse(lazy._meta)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_precision_is_that_of_the_method(rows, dtype):
    X = (10 * rows[0]).astype(np.float32)
    model = network().fit(X, rows[1])
    given = X.astype(dtype)
    lazy = da.from_array(given, chunks=20)
    for found, expected in (
        (model.predict(lazy), model.predict(given)),
        (model.gradient(lazy), model.gradient(given)),
        (model.leverage(lazy), model.leverage(given)),
    ):
        assert found.dtype == found.compute().dtype == expected.dtype
        np.testing.assert_allclose(found.compute(), expected, rtol=1e-4)
    frame = dd.from_pandas(pd.DataFrame(given, columns=["a", "b", "c"]), npartitions=2)
    named = network().fit(pd.DataFrame(X, columns=["a", "b", "c"]), rows[1])
    assert named.predict(frame).dtype == model.predict(given).dtype


class Counting(BackpropRegressor):
    """Notes the number of rows of each call."""

    calls: ClassVar[list[int]] = []

    def predict(self, X, return_std=False):
        if not is_collection(X):
            Counting.calls.append(len(X))
        return super().predict(X, return_std)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_mean_and_standard_deviation_are_computed_together(rows, fitted, n_outputs):
    X, y = rows[0], rows[1] if n_outputs == 2 else rows[1][:, 0]
    model = Counting((3,), solver="lm", random_state=0).fit(X, y)
    lazy = model.predict(da.from_array(X, chunks=25), return_std=True)
    Counting.calls.clear()
    for found, expected in zip(
        dask.compute(*lazy), fitted[n_outputs].predict(X, True), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-11)
    assert sorted(Counting.calls) == [10, 25, 25]


# --- graphs ---


def test_nothing_is_computed_before_it_is_asked_for(fitted):
    def fail(block):
        raise ArithmeticError("computed")

    X = da.zeros((50, 3), chunks=10).map_blocks(fail, dtype=float, meta=np.empty((0, 0)))
    frame = dd.from_pandas(table(), npartitions=2)
    failing = frame.map_partitions(fail, meta=frame._meta)
    lazy = [getattr(fitted[1], name)(X, **given) for name, given in METHODS.items()]
    named = network().fit(table(), np.arange(N))
    lazy += [getattr(named, name)(failing, **given) for name, given in METHODS.items()]
    for one in lazy:
        with pytest.raises(ArithmeticError, match="computed"):
            one.compute()


def test_the_estimator_is_in_the_graph_once(rows, fitted, of_tables):
    for lazy in (
        fitted[1].predict(da.from_array(rows[0], chunks=3)),
        of_tables[1].predict(dd.from_pandas(table(), npartitions=20)),
    ):
        tasks = [cloudpickle.dumps(task) for task in dict(lazy.__dask_graph__()).values()]
        assert sum(b"BackpropRegressor" in task for task in tasks) == 1
        assert len(tasks) > 20


def test_later_fits_do_not_change_a_graph(rows):
    X, Y = rows
    model = BackpropRegressor((3,), solver="adam", random_state=0).partial_fit(X, Y)
    expected, lazy = model.predict(X), model.predict(da.from_array(X, chunks=25))
    model.partial_fit(X, -Y)
    assert_same(lazy, expected)
    assert np.abs(model.predict(X) - expected).max() > 1e-4


def test_what_is_a_collection(rows):
    frame = dd.from_pandas(table(), npartitions=2)
    assert all(map(is_collection, (da.ones(3), da.ones((3, 2)), frame, frame["count"])))
    others = (rows[0], table(), [1], None, dask.delayed(rows[0]), frame["count"].sum())
    assert not any(map(is_collection, others))


@pytest.mark.parametrize("scheduler", ["threads", *slow(["processes"])])
def test_schedulers(rows, of_tables, fitted, scheduler):
    lazy = fitted[1].predict(da.from_array(rows[0], chunks=25), return_std=True)
    named = of_tables[1].gradient(dd.from_pandas(table(), npartitions=2))
    found = dask.compute(*lazy, named, scheduler=scheduler)
    for one, expected in zip(
        found, (*fitted[1].predict(rows[0], True), of_tables[1].gradient(table())), strict=True
    ):
        np.testing.assert_allclose(one, expected, rtol=1e-11)


# --- errors ---


def error_of(call, *args, **kwargs):
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*args, **kwargs)
    return type(caught.value), str(caught.value)


def test_columns_and_arguments_are_checked_at_once_as_for_local_rows(rows, fitted, of_tables):
    X, frame = da.from_array(rows[0], chunks=25), table()
    for name, given in METHODS.items():
        call, named = getattr(fitted[1], name), getattr(of_tables[1], name)
        assert error_of(call, X[:, :2], **given) == error_of(call, rows[0][:, :2], **given)
        assert error_of(call, X[:, 0], **given)[1].startswith("X: Expected 2D array, got 1D array")
        for other in (
            frame.drop(columns="city"),
            frame[frame.columns[::-1]],
            frame.rename(columns={"city": "town"}),
            frame.assign(sold=1.0),
        ):
            lazy = dd.from_pandas(other, npartitions=2)
            assert error_of(named, lazy, **given) == error_of(named, other, **given)
    predict = fitted[1].predict
    for wrong in ({"return_std": "yes"}, {"return_std": None}):
        assert error_of(predict, X, **wrong) == error_of(predict, rows[0], **wrong)
    assert "coverage must be" in error_of(fitted[1].predict_interval, X, coverage=2)[1]
    assert "quantiles must be" in error_of(fitted[1].predict_quantiles, X, quantiles=[0])[1]
    with pytest.raises(NotFittedError):
        network().predict(X)
    streamed = BackpropRegressor((3,), solver="adam").partial_fit(*rows)
    assert "after partial_fit" in error_of(streamed.leverage, X)[1]


def test_an_unknown_number_of_columns(rows, fitted):
    X = da.from_array(rows[0], chunks=25)
    unknown = X[:, da.from_array([True, True, True])]
    assert "X.compute_chunk_sizes()" in error_of(fitted[1].predict, unknown)[1]
    assert_same(fitted[1].predict(unknown.compute_chunk_sizes()), fitted[1].predict(rows[0]))


def test_values_are_checked_in_their_block(rows, fitted, of_tables):
    X = rows[0].copy()
    X[40, 1] = np.inf
    lazy = fitted[1].predict(da.from_array(X, chunks=25))
    assert np.isfinite(lazy.blocks[0].compute()).all()
    assert error_of(lazy.compute) == error_of(fitted[1].predict, X)
    X[40, 1] = np.nan
    lazy = fitted[1].predict(da.from_array(X, chunks=25))
    with pytest.warns(UserWarning, match="X has missing values in column 'x1'"):
        lazy.compute()
    frame = table()
    frame.loc[3, "sold"] = pd.NaT
    lazy = of_tables[1].predict(dd.from_pandas(frame, npartitions=2))
    with pytest.warns(UserWarning, match="X has missing values in column 'sold'"):
        lazy.compute()


def test_made_up_values_cause_no_warnings(rows):
    # Neither missing values where the training X had none nor numbers beyond the range.
    frame = pd.DataFrame({"a": rows[0][:, 0] * 1e-300, "b": [f"{i % 3}" for i in range(N)]})
    model = network().fit(frame, rows[1])
    with dask.config.set({"dataframe.convert-string": False}):
        lazy = model.predict(dd.from_pandas(frame.astype({"b": object}), npartitions=2))
    assert_same(lazy, model.predict(frame))


def test_results_that_are_not_one_a_row_need_a_block(rows, fitted, of_tables):
    X, frame = da.from_array(rows[0], chunks=25), dd.from_pandas(table(), npartitions=2)
    for name in ("predict_dist", "sample_y"):
        with pytest.raises(TypeError, match=rf"{name}.*X is a dask Array.*X\.blocks\[i\]\.compute"):
            getattr(fitted[1], name)(X)
        with pytest.raises(TypeError, match=rf"{name}.*dask DataFrame.*X\.partitions\[i\]"):
            getattr(of_tables[1], name)(frame)
        getattr(of_tables[1], name)(frame.partitions[1].compute())


@pytest.mark.usefixtures("figures_closed")
def test_a_display_computes_what_it_draws(rows, fitted):
    X, y = rows[0], rows[1][:, 0]
    shown = PredictionDisplay.from_estimator(fitted[1], da.from_array(X, chunks=25), y)
    np.testing.assert_array_equal(shown.y_pred, fitted[1].predict(X))


# --- score ---


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("chunks", [25, 7])
@pytest.mark.parametrize("shift", [0, 1e5])
def test_score_of_arrays(rows, fitted, n_outputs, chunks, shift):
    X, y = rows[0], rows[1][:, 0] if n_outputs == 1 else rows[1]
    y = y * [[0.1], [10.0]][n_outputs - 1][0] + shift
    w = np.linspace(0, 3, N)
    model = network().fit(X, y) if shift else fitted[n_outputs]
    lazy_X, lazy_y = da.from_array(X, chunks=(25, 2)), da.from_array(y, chunks=chunks)
    lazy_w = da.from_array(w, chunks=20)
    found = model.score(lazy_X, lazy_y), model.score(lazy_X, lazy_y, lazy_w)
    assert all(type(one) is float for one in found)
    assert found == pytest.approx((model.score(X, y), model.score(X, y, w)), rel=1e-12, abs=1e-12)
    assert abs(found[0] - found[1]) > 1e-4
    chosen = X[:, 0] > 0.5
    chosen[25:50] = False
    of_blocks = da.from_array(chosen, chunks=25)
    few = model.score(*(a.rechunk({0: 25})[of_blocks] for a in (lazy_X, lazy_y, lazy_w)))
    assert few == pytest.approx(model.score(X[chosen], y[chosen], w[chosen]), rel=1e-12)


@pytest.mark.parametrize("targets", [["y0"], ["y0", "y1"], "y0"])
def test_score_of_data_frames(rows, of_tables, targets):
    w, Y = np.linspace(0, 3, N), rows[1]
    columns = {"y0": Y[:, 0], "y1": Y[:, 1], "w": w}
    frame = dd.from_pandas(table().assign(**columns), npartitions=4)
    model = of_tables[2 if len(targets) == 2 and isinstance(targets, list) else 1]
    local = pd.DataFrame(columns)[targets]
    found = model.score(frame[list(table())], frame[targets], frame["w"])
    assert found == pytest.approx(model.score(table(), local, w), rel=1e-12)
    # y as a dask array in the same blocks, whose sizes need not be known.
    y = frame[targets].to_dask_array()
    assert model.score(frame[list(table())], y, frame["w"]) == found


def test_score_of_targets_that_do_not_vary_and_of_few_rows(rows, fitted):
    X, lazy = rows[0], da.from_array(rows[0], chunks=25)
    constant = np.full(N, 2.0)
    assert fitted[1].score(lazy, da.from_array(constant, chunks=25)) == 0.0
    assert fitted[1].score(X, constant) == 0.0
    exact = da.from_array(fitted[1].predict(X[:1]), chunks=1)
    with pytest.warns(UndefinedMetricWarning, match="less than two samples"):
        assert np.isnan(fitted[1].score(lazy[:1], exact))
    flat = BackpropRegressor((), solver="lbfgs").fit(X, constant)
    assert flat.score(lazy, da.from_array(constant, chunks=25)) == flat.score(X, constant)
    with pytest.raises(ValueError, match="sample_weight is zero for every row"):
        fitted[1].score(lazy, lazy[:, 0], da.zeros(N, chunks=25))
    with pytest.raises(ValueError, match="X has no rows"):
        fitted[1].score(lazy[lazy[:, 0] > 1e9], lazy[:, 0][lazy[:, 0] > 1e9])


def test_score_needs_collections_that_agree(rows, fitted, of_tables):
    X, y = rows[0], rows[1][:, 0]
    lazy_X, lazy_y = da.from_array(X, chunks=25), da.from_array(y, chunks=25)
    score, frame = fitted[1].score, dd.from_pandas(table(), npartitions=2)
    for args, message in (
        ((lazy_X, y), r"X is a dask Array and y is a numpy ndarray.*chunks=X\.chunks\[0\]\) as y"),
        (
            (lazy_X, lazy_y, y),
            r"sample_weight is a numpy.*chunks=X\.chunks\[0\]\) as sample_weight",
        ),
        ((X, lazy_y), r"X is a numpy ndarray and y is a dask Array.*y\.compute\(\)"),
        ((X, y, lazy_y), r"sample_weight is a dask Array.*sample_weight\.compute\(\)"),
        ((lazy_X, None), r"y is a builtins NoneType"),
        ((lazy_X, lazy_y[:50]), "X has 60 rows and y has 50"),
        ((lazy_X, lazy_y, lazy_X), r"sample_weight has 2 axes; expected one weight per row"),
        ((lazy_X, lazy_y, lazy_y[:50]), "X has 60 rows and sample_weight has 50"),
        ((lazy_X, da.stack([lazy_y] * 2, axis=1)), "y has 2 outputs; the y of the fit had 1"),
        ((lazy_X[lazy_y > 0], lazy_y.rechunk(60)[:50]), "X has 3 partitions and y has 1"),
        (
            (lazy_X[lazy_y > 0], lazy_y),
            r"A block of X has \d+ rows and that of y has \d+; they must agree",
        ),
        ((lazy_X, da.where(lazy_y > 0, np.nan, 1.0)), "y contains NaN"),
        ((lazy_X, lazy_y.astype(str)), "y has strings"),
    ):
        with pytest.raises(ValueError, match=message):
            score(*args)
    of_lengths = r"chunks=tuple\(X\.map_partitions\(len\)\.compute\(\)\)"
    with pytest.raises(ValueError, match=of_lengths):
        of_tables[1].score(frame, y)
    in_blocks = da.from_array(y, chunks=(tuple(frame.map_partitions(len).compute()),))
    expected = of_tables[1].score(table(), y)
    assert of_tables[1].score(frame, in_blocks) == pytest.approx(expected, rel=1e-12)


# --- dask's own workers ---


@pytest.fixture
def client():
    # Port 0 is any free one: other workers of the test run may have a cluster too.
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0") as one:
        yield one


@pytest.mark.usefixtures("client")
def test_on_a_cluster(rows, fitted, of_tables):
    with dask.config.set(scheduler=None):
        X, frame = da.from_array(rows[0], chunks=25), dd.from_pandas(table(), npartitions=3)
        found = dask.compute(*fitted[1].predict(X, return_std=True), of_tables[1].encode(frame))
        expected = *fitted[1].predict(rows[0], return_std=True), of_tables[1].encode(table())
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11)
        score = fitted[1].score(X, da.from_array(rows[1][:, 0], chunks=25))
    assert score == pytest.approx(fitted[1].score(rows[0], rows[1][:, 0]), rel=1e-12)


@pytest.mark.usefixtures("client")
def test_networks_and_searches_on_a_cluster(rows):
    X, y = rows[0], rows[1][:, 0]
    expected = network(n_networks=2, alpha=1.0).fit(X, y)
    grid = {"alpha": [0.1, 10.0]}
    search = GridSearchCV(network(), grid, cv=2, error_score="raise").fit(X, y)
    with joblib.parallel_backend("dask"):
        model = network(n_networks=2, alpha=1.0, n_jobs=2).fit(X, y)
        found = GridSearchCV(network(), grid, cv=2, error_score="raise").fit(X, y)
    for ours, theirs in ((model, expected), (found.best_estimator_, search.best_estimator_)):
        for one, other in zip(ours.coefs_, theirs.coefs_, strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(
        found.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
    )
