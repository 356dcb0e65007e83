"""Which rows a stream has seen: a sketch of fixed size, against sets of rows."""

import numpy as np
import pytest
import scipy.sparse as sp

from sk_backprop._coordinates.seen_rows import _N_KEPT, SeenRows


def table(n_rows, seed=0):
    rng = np.random.RandomState(seed)
    return rng.randn(n_rows, 3), rng.randn(n_rows, 2)


def sketch(batches):
    """The sketch after batches of (X, y) or (X, y, sample_weight)."""
    seen = None
    for X, y, *w in batches:
        batch = SeenRows.of(X, y, *(w or [None]))
        seen = batch if seen is None else seen.with_batch(batch)
    return seen


def passes(X, y, size, n_passes, seed=None):
    """Batches of several passes, each in another order if there is a seed."""
    rng = np.random.RandomState(seed)
    for _ in range(n_passes):
        order = np.arange(len(y)) if seed is None else rng.permutation(len(y))
        for k in range(0, len(y), size):
            rows = order[k : k + size]
            yield X[rows], y[rows]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_passes_in_any_order_and_batches_count_their_rows_once(size):
    X, y = table(100)
    once = sketch([(X, y)])
    again = sketch(passes(X, y, size, 3, seed=0))
    assert once.weight == again.weight == 100
    np.testing.assert_array_equal(again.hashes, once.hashes)


@pytest.mark.parametrize("n_rows", [_N_KEPT - 1, _N_KEPT, 5000, 100_000])
def test_the_number_of_distinct_rows_is_known_to_a_few_percent(n_rows):
    errors = []
    for seed in range(3):
        X, y = table(n_rows, seed)
        seen = sketch(passes(X, y, 1 + n_rows // 7, 2, seed))
        assert len(seen.hashes) == min(n_rows, _N_KEPT)
        errors.append(seen.weight / n_rows - 1)
    # The relative standard deviation is 1 / sqrt(n_kept - 2).
    most = 0.0 if n_rows < _N_KEPT else 4 / np.sqrt(_N_KEPT - 2)
    assert np.abs(errors).max() <= most


@pytest.mark.parametrize("n_rows", [60, 3000])
def test_weights_of_distinct_rows(n_rows):
    X, y = table(n_rows)
    w = np.random.RandomState(1).uniform(0.5, 3, n_rows)
    error = 0.2 if n_rows > _N_KEPT else 1e-12
    once = sketch([(X, y, w)])
    assert once.weight == pytest.approx(w.sum(), rel=error)
    # A weight of 2 is two equal rows of the batch; the next pass adds nothing.
    whole = np.where(w > 2, 2, 1)
    rows = np.repeat(np.arange(n_rows), whole)
    repeated, weighted = sketch([(X[rows], y[rows])]), sketch([(X, y, whole.astype(float))])
    assert repeated.weight == weighted.weight
    np.testing.assert_array_equal(repeated.weights, weighted.weights)
    assert sketch([(X[rows], y[rows]), (X, y)]).weight == weighted.weight
    assert sketch([(X, y), (X[rows], y[rows])]).weight == weighted.weight


def test_share_of_repeated_rows():
    X, y = table(200)
    new = X[:100], y[:100]
    assert sketch([new]).repeated == 0
    assert sketch([new, (X[100:], y[100:])]).repeated == 0
    assert sketch([new, (X[:50], y[:50])]).repeated == 1
    assert sketch([new, (X[75:125], y[75:125])]).repeated == 0.5
    weights = np.where(np.arange(50) < 25, 3.0, 1.0)
    assert sketch([new, (X[75:125], y[75:125], weights)]).repeated == 0.75
    # Another y is another row.
    assert sketch([new, (X[:50], y[:50] + 1)]).repeated == 0


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_share_of_repeated_rows_beyond_those_that_are_kept(size):
    X, y = table(12_000)
    seen = sketch(passes(X[:6000], y[:6000], 1000, 1))
    for k in range(0, 3000, size):
        seen = seen.with_batch(SeenRows.of(X[k : k + size], y[k : k + size], None))
    assert seen.repeated > 0.95
    assert seen.weight == pytest.approx(6000, rel=0.2)
    for k in range(6000, 12_000, size):
        seen = seen.with_batch(SeenRows.of(X[k : k + size], y[k : k + size], None))
    assert seen.repeated < 0.05
    assert seen.weight == pytest.approx(12_000, rel=0.2)


@pytest.mark.parametrize("n_rows", [1, 50, 2000])
def test_sparse_rows_are_those_of_the_dense_table(n_rows):
    X, y = table(n_rows)
    X[np.random.RandomState(1).uniform(size=X.shape) < 0.6] = 0
    dense = SeenRows.of(X, y, None)
    for container in (sp.csr_matrix, sp.csr_array):
        sparse = SeenRows.of(container(X), y, None)
        np.testing.assert_array_equal(sparse.hashes, dense.hashes)
        np.testing.assert_array_equal(sparse.weights, dense.weights)
    single = X.astype(np.float32)
    np.testing.assert_array_equal(
        SeenRows.of(single, y, None).hashes, SeenRows.of(single.astype(float), y, None).hashes
    )


def test_columns_are_distinguished():
    X, y = np.array([[1.0, 2.0]]), np.array([[3.0]])
    hashes = {
        int(SeenRows.of(np.array([row[:2]]), np.array([row[2:]]), None).hashes[0])
        for row in ([1.0, 2, 3], [2.0, 1, 3], [1.0, 3, 2], [3.0, 2, 1], [1.0, 2, 0], [0.0, 2, 3])
    }
    assert len(hashes) == 6
    assert int(SeenRows.of(X, y, None).hashes[0]) in hashes
