"""Sparse tables with damaged arrays are refused before scipy's compiled code reads them."""

import subprocess
import sys

import joblib
import numpy as np
import pytest
import scipy.sparse as sp

from sk_backprop import BackpropRegressor, IntervalDisplay, NetworkDisplay

RNG = np.random.RandomState(0)
X = RNG.uniform(1, 2, (40, 4)) * (RNG.uniform(size=(40, 4)) < 0.6)
Y = X.sum(axis=1)
SMALL = {"hidden_layer_sizes": (2,), "solver": "adam", "alpha": 1.0, "max_iter": 20}


def with_value(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


def damaged(format, kind=sp.csr_matrix, **changes):
    """X in a sparse format, with some of its attributes replaced by those of functions."""
    table = kind(X).asformat(format)
    for name, change in changes.items():
        setattr(table, name, change(getattr(table, name)))
    return table


def damaged_lists(name, row, change):
    table = sp.lil_matrix(X)
    getattr(table, name)[row] = change(getattr(table, name)[row])
    return table


N = np.count_nonzero(X)
TOO_FAR, NEGATIVE = (lambda a: with_value(a, -1, 10**6)), (lambda a: with_value(a, -1, -5))
CASES = {
    "csr, index too large": (lambda: damaged("csr", indices=TOO_FAR), "indices", "1000000"),
    "csr, index = columns": (
        lambda: damaged("csr", indices=lambda a: with_value(a, 0, 4)),
        "indices has the value 4, outside 0 to 3",
    ),
    "csr, negative index": (lambda: damaged("csr", indices=NEGATIVE), "indices", "-5"),
    "csr array": (lambda: damaged("csr", sp.csr_array, indices=TOO_FAR), "indices", "1000000"),
    "csr, unsigned index": (
        lambda: damaged("csr", indices=lambda a: with_value(a, 0, 9).astype(np.uint64)),
        "indices has the value 9",
    ),
    "csr, 64-bit index": (
        lambda: damaged("csr", indices=lambda a: with_value(a.astype(np.int64), 0, 2**40)),
        str(2**40),
    ),
    "csr, index that is a float": (
        lambda: damaged("csr", indices=lambda a: a.astype(float)),
        "indices is not",
        "integers",
    ),
    "csr, indptr decreases": (
        lambda: damaged("csr", indptr=lambda a: with_value(a, 5, 0)),
        "indptr .* decreases",
    ),
    "csr, unsigned indptr decreases": (
        lambda: damaged("csr", indptr=lambda a: with_value(a, 5, 0).astype(np.uint32)),
        "indptr .* decreases",
    ),
    "csr, indptr is negative": (
        lambda: damaged("csr", indptr=lambda a: with_value(a, 0, -3)),
        "indptr does not begin at 0",
    ),
    "csr, indptr beyond the end": (
        lambda: damaged("csr", indptr=lambda a: with_value(a, -1, 10**7)),
        "indptr ends at 10000000",
    ),
    "csr, indptr too short": (lambda: damaged("csr", indptr=lambda a: a[:-2]), "indptr has 39"),
    "csr, values lost": (lambda: damaged("csr", data=lambda a: a[:-2]), f"data has {N - 2}"),
    "csr, indices lost": (lambda: damaged("csr", indices=lambda a: a[:-2]), f"has {N - 2}"),
    "csc, index too large": (lambda: damaged("csc", indices=TOO_FAR), "CSC", "0 to 39"),
    "csc, negative index": (lambda: damaged("csc", sp.csr_array, indices=NEGATIVE), "CSC"),
    "csc, indptr decreases": (
        lambda: damaged("csc", indptr=lambda a: with_value(a, 2, 0)),
        "indptr .* decreases",
    ),
    "coo, row too large": (lambda: damaged("coo", row=TOO_FAR), "COO", "row has", "0 to 39"),
    "coo, negative column": (lambda: damaged("coo", col=NEGATIVE), "col has", "0 to 3"),
    "coo array": (lambda: damaged("coo", sp.csr_array, col=TOO_FAR), "col has", "0 to 3"),
    "coo, values lost": (lambda: damaged("coo", data=lambda a: a[:-2]), f"data has {N - 2}"),
    "bsr, index too large": (lambda: damaged("bsr", indices=TOO_FAR), "BSR", "1000000"),
    "bsr, blocks of another size": (
        lambda: damaged("bsr", data=lambda a: np.ones((len(a), 5, 5))),
        "BSR",
        "data has shape",
    ),
    "dia, an offset lost": (lambda: damaged("dia", offsets=lambda a: a[:-1]), "offsets has shape"),
    "lil, column too large": (
        lambda: damaged_lists("rows", 0, lambda row: [*row[:-1], 99]),
        "LIL",
        "99",
    ),
    "lil, value lost": (lambda: damaged_lists("data", 0, lambda row: row[:-1]), "LIL", "data.0."),
}

CALLS = {
    "fit": lambda model, bad: model.fit(bad, Y),
    "partial_fit": lambda model, bad: model.partial_fit(bad, Y),
    "validation": lambda model, bad: model.fit(X, Y, X_val=bad, y_val=Y),
    "predict": lambda model, bad: model.predict(bad),
    "predict with std": lambda model, bad: model.predict(bad, return_std=True),
    "gradient": lambda model, bad: model.gradient(bad),
    "score": lambda model, bad: model.score(bad, Y),
    "interval": lambda model, bad: IntervalDisplay.from_estimator(model, bad, 0),
    "network": lambda model, bad: NetworkDisplay.from_estimator(model, X=bad),
}


def fitted():
    return BackpropRegressor(**SMALL, random_state=0, tol=0.5).fit(X, Y)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("case", CASES)
def test_damaged_arrays_are_refused_and_nothing_changes(case, call):
    make, *says = CASES[case]
    model = fitted()
    before = joblib.hash(vars(model))
    name = "X_val" if call == "validation" else "X"
    with pytest.raises(ValueError, match=f"^{name} is a sparse .* matrix of shape") as refused:
        CALLS[call](model, make())
    for words in says:
        assert refused.match(words)
    assert refused.match("build it again from the original data")
    assert joblib.hash(vars(model)) == before


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array])
@pytest.mark.parametrize("format", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
def test_sound_tables_of_every_format_predict_as_dense_ones(format, kind):
    model, table = fitted(), kind(X).asformat(format)
    before = joblib.hash(table.copy())
    np.testing.assert_allclose(model.predict(table), model.predict(X), rtol=1e-13)
    assert joblib.hash(table.copy()) == before
    empty = kind(X.shape).asformat(format)
    np.testing.assert_allclose(model.predict(empty), model.predict(0 * X), rtol=1e-13)


def test_values_beyond_the_end_of_indptr_are_no_fault():
    table = sp.csr_matrix(X)
    spare = sp.csr_matrix(X)
    spare.indices, spare.data = np.append(table.indices, 99), np.append(table.data, 0.0)
    model = fitted()
    np.testing.assert_array_equal(model.predict(spare), model.predict(table))


def test_a_damaged_table_does_not_end_the_process():
    script = """
import numpy as np, scipy.sparse as sp
from sk_backprop import BackpropRegressor
X = sp.random(2000, 50, density=0.1, format="csr", random_state=0)
y = np.arange(2000.0)
model = BackpropRegressor((2,), solver="lbfgs", alpha=1.0, tol=0.5).fit(X, y)
for format in ("csr", "csc"):
    bad = X.asformat(format).copy()
    bad.indices[::7] = 2**30
    for call in (model.predict, model.gradient, lambda X: model.fit(X, y)):
        try:
            call(bad)
        except ValueError as error:
            print(str(error)[:8])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["X is a s"] * 6), done.stderr


@pytest.mark.parametrize("where", ["training", "validation"])
def test_indices_that_have_changed_are_looked_at_again(where):
    # scipy keeps in the table whether its entries were sorted and distinct.
    table = sp.csr_matrix(X)
    assert table.has_canonical_format
    first = table.indptr[:-1][np.diff(table.indptr) > 1]
    table.indices[first + 1] = table.indices[first]  # two entries in one place
    dense = table.toarray()
    model = BackpropRegressor(**{**SMALL, "solver": "lbfgs"}, random_state=0, tol=0.5)
    if where == "training":
        found = [model.fit(rows, Y).predict(dense) for rows in (table, dense)]
    else:
        found = [
            model.fit(X, Y, X_val=rows, y_val=Y).validation_loss_curve_ for rows in (table, dense)
        ]
    np.testing.assert_allclose(*found, rtol=1e-6)
