"""What the tests of fits on an engine, and of fits on dask's workers, share."""

import warnings

import joblib
import numpy as np


def bits_of(model):
    """The fitted attributes and the whole fitted state, by name, each as a hash of its bits."""
    return {
        name: joblib.hash(_plain(value))
        for name, value in vars(model).items()
        if name.endswith("_") or name == "_fit_state"
    }


def _plain(value):
    """The value with arrays as their bytes, in one order: what a pickle would keep besides goes."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return [(str(key), _plain(one)) for key, one in value.items()]
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "__dict__"):
        return type(value).__name__, _plain(vars(value))
    return value


def assert_same_fit(model, expected):
    """Fitted attributes and state are the same to the last bit."""
    found, of_expected = bits_of(model), bits_of(expected)
    assert found.keys() == of_expected.keys()
    assert [name for name, bits in of_expected.items() if found[name] != bits] == []
    assert "coefs_" in found
    assert "_fit_state" in found


def with_warnings(function, *args, **kwargs):
    """The result of a call, and the messages of its warnings."""
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        result = function(*args, **kwargs)
    return result, [str(one.message) for one in issued]


def curve(n_rows, n_features=3, seed=0):
    """X and y of a function with noise; one row in twenty is the same as another."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features))
    y = np.sin(2 * X[:, 0]) + X[:, -1] + rng.normal(size=n_rows) / 10
    some = n_rows // 20
    X[:some], y[:some] = X[-some:], y[-some:]
    return X, y
