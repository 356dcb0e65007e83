"""Writes tests/saved: one small fitted model of each kind, and what it predicts.

``python tests/save_models.py`` trains and writes them anew. They stand for models that
users have stored, so write them anew for a release, not to make a test pass.
"""

import zipfile
from pathlib import Path

import joblib
import numpy as np
import scipy.sparse as sp
import sklearn

import sk_backprop
from sk_backprop import BackpropRegressor

SAVED = Path(__file__).parent / "saved"


def rows():
    """Sixty rows of three features in different units, and two targets of y >= 0."""
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 2, (60, 3)) * [1, 100, 0.01] + [0, 1000, 0]
    a, b, c = ((X - [0, 1000, 0]) / [1, 100, 0.01]).T
    y = np.column_stack([20 * np.sin(a) + 10 * b * c, a**2]) + 0.3 * rng.randn(60, 2)
    return X, y - y.min(axis=0)


def small(hidden=(3,), **params):
    quick = {"solver": "lbfgs", "alpha": 1.0, "tol": 1e-3, "max_iter": 2000, "random_state": 0}
    return BackpropRegressor(hidden, **{**quick, **params})


EVIDENCE = {"solver": "lm", "alpha": "auto", "n_networks": 2}


def with_missing(X):
    """X without the fifth part of a column."""
    return np.where((np.arange(len(X)) % 5 == 0)[:, None] * [False, True, False], np.nan, X)


def by_batches(model, X, y):
    for start in (0, 20):
        model.partial_fit(X[start : start + 20], y[start : start + 20])
    return model


# {name: training on X and y, of one column unless it takes both}
MODELS = {
    # Linear and noisy: the file of ten networks would be twenty times as large.
    "defaults": lambda X, y: BackpropRegressor(random_state=0).fit(
        X, X @ [10, 1, 100] + np.random.RandomState(1).randn(60)
    ),
    "lm": lambda X, y: small(**EVIDENCE).fit(X, y[:, 0]),
    "lbfgs": lambda X, y: small().fit(X, y[:, 0]),
    "adam": lambda X, y: small(solver="adam").fit(X, y[:, 0]),
    "sgd": lambda X, y: small(solver="sgd", early_stopping=True).fit(X, y[:, 0]),
    "poisson": lambda X, y: small(**EVIDENCE, loss="poisson").fit(X, y[:, 0]),
    "logistic_output": lambda X, y: small(output_activation="logistic").fit(X, y[:, 0]),
    "sparse": lambda X, y: small(alpha="auto").fit(sp.csr_matrix(X), y[:, 0]),
    "float32": lambda X, y: small().fit(X.astype(np.float32), y[:, 0]),
    "missing": lambda X, y: small().fit(with_missing(X), y[:, 0]),
    "textbook": lambda X, y: small(precondition=False).fit(X, y[:, 0]),
    "outputs": lambda X, y: small((3, 2), **EVIDENCE).fit(X, y),
    "stream_of_adam": lambda X, y: by_batches(small(solver="adam"), X, y[:, 0]),
    "stream_of_sgd": lambda X, y: by_batches(small(solver="sgd", n_networks=2), X, y[:, 0]),
}
BY_JOBLIB = {"lbfgs", "stream_of_adam"}
BY_SKOPS = set(MODELS) - {"stream_of_adam"}


def predictions(model, X):
    """What a loaded model must give again."""
    mean, std = model.predict(X, return_std=True)
    return {"mean": mean, "std": std, "gradient": model.gradient(X)}


def main():
    import skops.io

    SAVED.mkdir(exist_ok=True)
    X, y = rows()
    for name, train in MODELS.items():
        model = train(X, y)
        if name in BY_JOBLIB:
            joblib.dump(model, SAVED / f"{name}.joblib", compress=9)
        if name in BY_SKOPS:
            skops.io.dump(
                model,
                SAVED / f"{name}.skops",
                compression=zipfile.ZIP_DEFLATED,
                compresslevel=9,
            )
        X_new = X[::4, : model.n_features_in_].astype(model.coefs_[0].dtype)
        X_new = with_missing(X_new) if name == "missing" else X_new
        found = {"X": X_new, **predictions(model, X_new)}
        if name.startswith("stream"):
            batch = {"X_batch": X[40:], "y_batch": y[40:, 0]}
            model.partial_fit(*batch.values())
            found |= {**batch, "mean_after_batch": model.predict(X_new)}
        versions = {"sklearn": sklearn.__version__, "sk_backprop": sk_backprop.__version__}
        np.savez_compressed(SAVED / f"{name}.npz", **found, **versions)


if __name__ == "__main__":
    main()
