"""Fits of dask collections, on a cluster of two processes: the bits of a fit in memory.

What is refused, is refused with the reason and what to do; a worker may be lost at any time.
"""

import asyncio
import re
from itertools import pairwise

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cases import slow
from distributed import Client, LocalCluster
from same_fit import assert_same_fit, curve, with_warnings
from sklearn.exceptions import DataConversionWarning

from sk_backprop import BackpropRegressor

# Two parts: one for each thread.
N = 20_000
FITS = {
    "lm": {"solver": "lm", "max_iter": 2},
    "lbfgs": {"solver": "lbfgs", "alpha": 1.0, "max_iter": 6},
}


@pytest.fixture(scope="module")
def cluster():
    # Port 0 is any free one: other workers of the test run may have a cluster too.
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as one:
        yield one


@pytest.fixture
def client(cluster):
    with Client(cluster) as one:
        yield one


def network(hidden=(3,), **params):
    return BackpropRegressor(hidden, **{"random_state": 0, "n_networks": 1, **params})


LBFGS = network(**FITS["lbfgs"]).get_params()


def fitted(X, y, *, model=None, **arguments):
    """A network that was fitted for a few iterations, and its warnings."""
    model = BackpropRegressor(**LBFGS) if model is None else model
    return with_warnings(model.fit, X, y, **arguments)


def in_chunks(values, n_chunks):
    """A dask array of about equal chunks of rows."""
    return da.from_array(values, chunks=(-(-len(values) // n_chunks), *values.shape[1:]))


def of_blocks(blocks):
    """A dask array of blocks whose numbers of rows it does not know."""
    blocks = [np.asarray(one) for one in blocks]
    shape = (np.nan, *blocks[0].shape[1:])
    delayed = [da.from_delayed(dask.delayed(one), shape, one.dtype) for one in blocks]
    return da.concatenate(delayed, allow_unknown_chunksizes=True)


def frame_of(parts):
    """A dask data frame of partitions that need not agree."""
    delayed = [dask.delayed(one) for one in parts]
    return dd.from_delayed(delayed, meta=parts[0], verify_meta=False)


# --- bits ---


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("fit", "n_chunks"), [("lm", 3), ("lbfgs", 9), *slow([("lm", 1), ("lm", 9), ("lbfgs", 1)])]
)
def test_a_fit_has_the_bits_of_the_fit_in_memory(fit, n_chunks):
    X, y = curve(N)
    w = np.random.default_rng(1).uniform(0, 2, N)
    w[: N // 9] = 0
    local, told = fitted(X, y, model=network(**FITS[fit]), sample_weight=w)
    rows = [in_chunks(one, n_chunks) for one in (X, y, w)]
    found, messages = fitted(*rows[:2], model=network(**FITS[fit]), sample_weight=rows[2])
    assert_same_fit(found, local)
    assert messages == told
    mean, std = found.predict(rows[0], return_std=True)
    expected = local.predict(X, return_std=True)
    for one, other in zip(dask.compute(mean, std), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)


@pytest.mark.usefixtures("client")
@pytest.mark.slow
@pytest.mark.parametrize("n_chunks", [1, 3, 9])
def test_the_defaults(n_chunks):
    # Below 200 rows there are no candidates of mini-batches, in memory either.
    X, y = curve(60, 2)
    model = {"random_state": 0, "n_networks": 2}
    local, told = fitted(X, y, model=BackpropRegressor(**model))
    rows = in_chunks(X, n_chunks), in_chunks(y, n_chunks)
    found, messages = fitted(*rows, model=BackpropRegressor(**model))
    assert_same_fit(found, local)
    assert messages == told


# --- chunks ---

X, Y = curve(300)
ENDS = [0, 0, 1, 100, 100, 101, 300]  # empty chunks and chunks of one row
PIECES = list(pairwise(ENDS))
D, DY = in_chunks(X, 3), in_chunks(Y, 3)


@pytest.fixture(scope="module")
def of_rows():
    return fitted(X, Y)[0]


CHUNKS = {
    "empty": (
        da.from_array(X, chunks=(tuple(np.diff(ENDS)), 3)),
        da.from_array(Y, chunks=(tuple(np.diff(ENDS)),)),
    ),
    "columns": (da.from_array(X, chunks=(80, 2)), da.from_array(Y, chunks=80)),
    "y elsewhere": (da.from_array(X, chunks=(80, 3)), da.from_array(Y, chunks=(299, 1))),
    "unknown": (
        of_blocks([X[a:b] for a, b in PIECES]),
        of_blocks([Y[a:b] for a, b in PIECES]),
    ),
    "unknown y": (da.from_array(X, chunks=(100, 3)), of_blocks([Y[:100], Y[100:200], Y[200:]])),
    "column of y": (da.from_array(X, chunks=(80, 3)), da.from_array(Y[:, None], chunks=(80, 1))),
    "columns, unknown": (
        of_blocks([X[a:b] for a, b in PIECES]).rechunk({1: 2}),
        of_blocks([Y[a:b] for a, b in PIECES]),
    ),
    "series": (
        da.from_array(X, chunks=(100, 3)),
        dd.from_pandas(pd.Series(Y), npartitions=3),
    ),
    "sparse": (
        da.from_array(X, chunks=(80, 3)).map_blocks(sp.csr_array),
        da.from_array(Y, chunks=80),
    ),
}


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("chunks", CHUNKS)
def test_chunks_do_not_matter(of_rows, chunks):
    found, messages = fitted(*CHUNKS[chunks])
    if chunks == "sparse":
        expected, _ = fitted(sp.csr_array(X), Y)
        assert_same_fit(found, expected)
    else:
        assert_same_fit(found, of_rows)
    told = [one for one in messages if "max_iter" not in one]
    assert len(told) == (chunks == "column of y"), told


@pytest.mark.usefixtures("client")
def test_one_column_of_y_is_told_of_as_in_memory():
    model = BackpropRegressor(**{**LBFGS, "max_iter": 500})
    with pytest.warns(DataConversionWarning) as local:
        model.fit(X, Y[:, None])
    with pytest.warns(DataConversionWarning) as issued:
        model.fit(*CHUNKS["column of y"])
    said = [[str(one.message).partition(" (")[0] for one in told] for told in (issued, local)]
    assert said[0] == said[1]


def parts_of_frame():
    """A data frame in three partitions that have other categories, other gaps and other dtypes."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"number": X[:, 0], "other": X[:, 1], "whole": rng.integers(0, 9, 300)})
    frame["kind"] = pd.Categorical(np.repeat(["a", "b", "c"], 100))
    frame["text"] = pd.Series(rng.choice(["x", "y"], 300), dtype=object)
    frame.loc[150:180, "number"] = np.nan
    parts = [frame[k : k + 100].copy() for k in range(0, 300, 100)]
    for part in parts:
        part["kind"] = part["kind"].cat.remove_unused_categories()
    return frame, parts


@pytest.mark.usefixtures("client")
def test_categories_and_gaps_may_differ_between_partitions():
    frame, parts = parts_of_frame()
    parts[1]["whole"] = parts[1]["whole"].astype(np.int32)
    expected, _ = fitted(frame, Y)
    for given in (frame_of(parts), dd.from_pandas(frame, npartitions=5)):
        y = dd.from_pandas(pd.Series(Y), npartitions=given.npartitions)
        found, _ = fitted(given, y)
        np.testing.assert_array_equal(found.encode(frame), expected.encode(frame))
        assert_same_fit(found, expected)


@pytest.mark.usefixtures("client")
def test_predictions_of_the_same_data_frame():
    frame, _ = parts_of_frame()
    given, y = (dd.from_pandas(one, npartitions=3) for one in (frame, pd.Series(Y)))
    model, _ = fitted(given, y)
    expected = model.predict(frame)
    np.testing.assert_allclose(model.predict(given).compute(), expected, rtol=1e-11)
    assert model.score(given, y) == pytest.approx(model.score(frame, Y), rel=1e-12)


@pytest.mark.usefixtures("client")
def test_few_columns_of_a_wide_file(tmp_path):
    # Of y alone, dask would read several of these files as one partition.
    rng = np.random.RandomState(0)
    frame = pd.DataFrame(rng.rand(240, 40)).rename(columns=str)
    dd.from_pandas(frame, npartitions=12).to_parquet(tmp_path, write_index=False)
    read = dd.read_parquet(tmp_path)
    X, y, w = read[[str(k) for k in range(30)]], read["30"], read["31"]
    assert len(y.to_delayed()) < y.npartitions == 12
    found, _ = fitted(X, y, sample_weight=w)
    expected, _ = fitted(X.compute(), y.compute(), sample_weight=w.compute())
    assert_same_fit(found, expected)


@pytest.mark.usefixtures("client")
def test_validation_data():
    X_val, y_val = curve(150, seed=1)
    params = {**LBFGS, "early_stopping": True}
    local, _ = fitted(X, Y, model=BackpropRegressor(**params), X_val=X_val, y_val=y_val)
    rows = {"X_val": in_chunks(X_val, 2), "y_val": in_chunks(y_val, 4)}
    found, _ = fitted(D, DY, model=BackpropRegressor(**params), **rows)
    assert_same_fit(found, local)
    assert "X_val" in refused(D, DY, X_val=X_val, y_val=y_val)
    assert "X_val" in refused(X, Y, **rows)
    assert "y_val" in refused(D, DY, X_val=rows["X_val"], y_val=y_val)
    assert "y_val" in refused(D, DY, X_val=rows["X_val"])
    message = refused(D, DY, X_val=rows["X_val"][:, :2], y_val=rows["y_val"])
    assert "X_val" in message
    assert "3" in message


@pytest.mark.slow
def test_workers_with_other_kernels_are_told_of():
    environment = {"OPENBLAS_CORETYPE": "Nehalem"}
    with (
        LocalCluster(1, threads_per_worker=1, dashboard_address=":0", env=environment) as other,
        Client(other),
    ):
        _, messages = fitted(D, DY)
    assert any("kernels of BLAS" in one and "OPENBLAS_CORETYPE" in one for one in messages)


# --- refusals ---


def refused(X, y, error=ValueError, *, model=None, **arguments):
    """The message of an error, after which nothing is set."""
    model = BackpropRegressor(**LBFGS) if model is None else model
    before = dict(vars(model))
    with pytest.raises(error) as raised:
        model.fit(X, y, **arguments)
    assert vars(model) == before
    return str(raised.value)


def test_without_a_client_or_with_rows_in_memory():
    assert "Client()" in (message := refused(D, DY))
    assert "compute()" in message
    for given, name in (((X, DY), "y"), ((D, Y), "y"), ((D, list(Y)), "y")):
        message = refused(*given)
        assert name in message
        assert "compute()" in message
    assert "sample_weight" in refused(D, DY, sample_weight=np.ones(300))
    assert "requires y" in refused(D, None)
    assert "3 axes" in refused(D[:, :, None], DY)
    assert "1 axes" in refused(DY, DY)
    with pytest.raises(TypeError, match=r"partial_fit takes no dask collection"):
        network(solver="adam").partial_fit(D, DY)


@pytest.mark.usefixtures("client")
def test_parameters_that_need_all_rows_in_one_place():
    for solver in ("adam", "muon", "sgd"):
        message = refused(D, DY, model=BackpropRegressor(solver=solver))
        assert f"solver={solver!r}" in message
        assert "'lm'" in message
        assert "compute()" in message
    assert "max_iter" in refused(D, DY, model=BackpropRegressor(max_iter=-1))


@pytest.mark.usefixtures("client")
def test_rows_that_do_not_agree():
    assert "X has 300 rows and y has 299" in refused(D, DY[:299])
    assert "sample_weight has 1" in refused(D, DY, sample_weight=da.ones(1))
    sizes = of_blocks([Y[:100], Y[100:150], Y[150:]])
    # Whichever is found first.
    assert re.match(r"Partition [12]: X has 100 rows and y has 1?50;", refused(D, sizes))
    assert "3 partitions and y has 2" in refused(D, of_blocks([Y[:100], Y[100:]]))
    unknown = da.from_delayed(dask.delayed(X), (np.nan, np.nan), float)
    assert "X.compute_chunk_sizes()" in refused(unknown, of_blocks([Y]))


@pytest.mark.usefixtures("client")
def test_values_that_cannot_be_fitted_name_their_partition():
    bad = X.copy()
    bad[150, 1] = np.inf
    message = refused(in_chunks(bad, 3), DY)
    assert message.startswith("Partition 1 of X: ")
    assert "infinity" in message
    bad = Y.copy()
    bad[250] = np.nan
    assert refused(D, in_chunks(bad, 3)).startswith("Partition 2 of X: ")
    w = np.ones(300)
    w[0] = -1
    assert refused(D, DY, sample_weight=in_chunks(w, 3)).startswith("Partition 0 of X: ")
    assert "sample_weight" in refused(D, DY, sample_weight=da.zeros(300, chunks=100))
    assert "loss='poisson'" in refused(D, DY, model=network(loss="poisson", solver="lm"))
    assert "minimum of 1 is required" in refused(D[:0], DY[:0])


@pytest.mark.usefixtures("client")
def test_partitions_with_other_columns():
    _, parts = parts_of_frame()
    y = dd.from_pandas(pd.Series(Y), npartitions=3)
    renamed = [parts[0], parts[1].rename(columns={"other": "another"}), parts[2]]
    message = refused(frame_of(renamed), y)
    assert message.startswith("Partition 1 of X: ")
    assert "another" in message
    assert "other" in message
    missing = [parts[0], parts[1], parts[2].drop(columns="other")]
    assert refused(frame_of(missing), y).startswith("Partition 2 of X: ")
    parts[1]["other"] = parts[1]["other"].astype(str)
    assert "column 'other'" in refused(frame_of(parts), y)
    wide = [X[:100], np.c_[X[100:200], X[100:200]], X[200:]]
    for kind in (np.asarray, sp.csr_array):
        blocks = [da.from_delayed(dask.delayed(kind(one)), (100, 3), float) for one in wide]
        message = refused(da.concatenate(blocks), DY)
        assert message.startswith("Partition 1 of X has the shape (100, 6); expected (n_rows, 3)")
    wide = [Y[:100], np.c_[Y[100:200], Y[100:200]], Y[200:]]
    blocks = [da.from_delayed(dask.delayed(one), (100,), float) for one in wide]
    assert "Partition 1 of y has the shape (100, 2); expected (n_rows)" in refused(
        D, da.concatenate(blocks)
    )


def test_no_workers():
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty,
        Client(empty),
    ):
        assert "wait_for_workers" in refused(D, DY)


def test_an_asynchronous_client(cluster, of_rows):
    async def fit():
        async with Client(cluster.scheduler_address, asynchronous=True):
            return refused(D, DY)

    assert "asynchronous" in asyncio.run(fit())


def test_in_a_task(client, of_rows):
    def in_task():
        return fitted(D, DY)

    found, _ = client.submit(in_task).result(timeout=60)
    assert_same_fit(found, of_rows)
