"""Models stored by an earlier version: they load, predict what they did, and go on.

The files in `saved` are written by save_models.py. Between releases the last digits of a
prediction may change, and no more.
"""

import zipfile
from contextlib import nullcontext

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from save_models import BY_JOBLIB, BY_SKOPS, MODELS, SAVED, predictions
from sklearn.exceptions import InconsistentVersionWarning

OURS = "sk_backprop._estimator.regressor.BackpropRegressor"
FILES = sorted([f"{name}.joblib" for name in BY_JOBLIB] + [f"{name}.skops" for name in BY_SKOPS])


def by_skops(file):
    skops = pytest.importorskip("skops.io")
    assert skops.get_untrusted_types(file=file) == [OURS]
    return skops.load(file, trusted=[OURS])


def stored(file):
    """A model, and what was stored beside it."""
    with np.load(SAVED / f"{file.split('.')[0]}.npz", allow_pickle=False) as arrays:
        beside = dict(arrays)
    # MaxAbsScaler tells its version; it has been the same four arrays in all of them.
    told = nullcontext()
    if beside["sklearn"] != sklearn.__version__:
        told = pytest.warns(InconsistentVersionWarning, match="MaxAbsScaler")
    with told:
        path = SAVED / file
        model = joblib.load(path) if file.endswith(".joblib") else by_skops(path)
    return model, beside


@pytest.mark.parametrize("file", FILES)
def test_a_stored_model_predicts_what_it_did(file):
    model, beside = stored(file)
    for name, found in predictions(model, beside["X"]).items():
        expected = beside[name]
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        rtol = 1e-12 if expected.dtype == np.float64 else 1e-5
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def test_of_sparse_rows_too():
    model, beside = stored("sparse.skops")
    found = model.predict(sp.csr_matrix(beside["X"]))
    np.testing.assert_allclose(found, beside["mean"], rtol=1e-12)


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("stream")])
def test_a_stored_stream_goes_on(file):
    model, beside = stored(file)
    model.partial_fit(beside["X_batch"], beside["y_batch"])
    assert (model.t_, model.n_iter_, len(model.loss_curve_)) == (60, 3, 3)
    moved = beside["mean_after_batch"] - beside["mean"]
    # Mini-batches are computed in float32.
    error = model.predict(beside["X"]) - beside["mean_after_batch"]
    assert np.abs(error).max() < 1e-4 * np.abs(moved).max()


@pytest.mark.parametrize("file", [file for file in FILES if not file.startswith("stream")])
def test_a_stored_model_is_fitted_anew_and_its_parameters_are_known(file):
    model, _ = stored(file)
    rng = np.random.RandomState(0)
    X, y = rng.uniform(size=(30, 2)), rng.uniform(size=30)
    model.set_params(max_iter=2000, tol=0.1).fit(X, y)
    assert model.predict(X).shape == (30,)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:The networks use:UserWarning")  # of fifteen rows
@pytest.mark.parametrize("file", ["lbfgs.joblib", "lm.skops", "outputs.skops"])
def test_a_warm_start_begins_at_a_stored_model(file):
    model, beside = stored(file)
    X, y = (np.concatenate(4 * [beside[name]]) for name in ("X", "mean"))
    errors = []
    for warm in (True, False):
        model.set_params(warm_start=warm, max_iter=1).fit(X, y)
        errors.append(np.std(model.predict(X) - y))
    assert errors[0] < 0.2 * errors[1]


def test_the_files_are_all_there_and_small():
    names = {path.name for path in SAVED.iterdir()}
    assert names == {*FILES, *(f"{name}.npz" for name in MODELS)}
    sizes = [path.stat().st_size for path in SAVED.iterdir()]
    assert max(sizes) < 30_000
    assert np.mean(sizes) < 10_000


def test_a_file_is_no_more_than_data():
    for name in BY_SKOPS:
        with zipfile.ZipFile(SAVED / f"{name}.skops") as archive:
            kinds = {member.filename.rpartition(".")[2] for member in archive.infolist()}
        assert kinds <= {"json", "npy"}
