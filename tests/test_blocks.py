"""Sums over blocks of rows: one tree, whoever computes which part of it."""

import threading
import time
from functools import reduce
from operator import add

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from sk_backprop._blocks.blocks import Batch, RowBlocks, Sums, power_of_two, total_of, tree_sum
from sk_backprop._blocks.linalg import factorise, gram, invert_triangle


def batch(n, seed=0):
    rng = np.random.RandomState(seed)
    return Batch(rng.randn(n, 3), rng.randn(n, 1) * 10.0 ** rng.uniform(-8, 8, (n, 1)), None)


def sum_of_y(rows, block_rows, *, shared=False):
    """The sum of y over all rows, to the last bit, and how many arrays it took."""
    made = []

    def make():
        made.append(np.empty(1))
        return made[-1]

    def kernel(block, thread, total):
        total[...] = np.sum(block.y)

    def into(first, second):
        first += second

    sums = Sums(make, into)
    total = total_of(RowBlocks(rows, block_rows, shared=shared).nodes(kernel, sums), sums.add)
    return total[0], len(made)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 11, 64])
def test_tree_adds_neighbours(n):
    # Written out: parts as text, in the order in which they are added.
    def pairs(parts):
        while len(parts) > 1:
            parts = [f"({a}{b})" for a, b in zip(parts[::2], parts[1::2])] + (
                parts[-1:] if len(parts) % 2 else []
            )
        return parts[0]

    parts = [f"<{k}>" for k in range(n)]
    assert tree_sum(parts, lambda a, b: f"({a}{b})") == pairs(parts)


@pytest.mark.parametrize("n", [1, 7, 64, 1000, 4097])
@pytest.mark.parametrize("block_rows", [1, 8, 64])
def test_sums_do_not_depend_on_the_threads(n, block_rows):
    rows = batch(n)
    found = []
    for limit in (1, 2, 3, 5):
        with threadpool_limits(limit, user_api="blas"):
            found.append(sum_of_y(rows, block_rows, shared=True)[0])
    assert len(set(found)) == 1
    assert found[0] == sum_of_y(rows, block_rows)[0]
    assert found[0] == pytest.approx(rows.y.sum(), rel=1e-9)


@pytest.mark.parametrize("part", [64, 256, 1024])
def test_a_part_of_a_power_of_two_of_rows_is_a_node_of_the_tree(part):
    rows = batch(3000)
    parts = [
        sum_of_y(rows.take(slice(start, start + part)), 64)[0] for start in range(0, 3000, part)
    ]
    assert tree_sum(parts, add) == sum_of_y(rows, 64)[0]
    # Added up one after the other they differ in the last digits, so that this can fail.
    assert reduce(add, [np.sum(rows.y[k : k + 64]) for k in range(0, 3000, 64)]) != tree_sum(
        parts, add
    )


def test_few_sums_are_held_at_a_time():
    assert sum_of_y(batch(4096), 4)[1] <= 11


@pytest.mark.parametrize(("n", "expected"), [(0, 1), (1, 1), (2, 2), (3, 2), (1023, 512), (64, 64)])
def test_power_of_two(n, expected):
    assert power_of_two(n) == expected


@pytest.mark.parametrize(("allowed", "threads"), [(1, {0}), (2, {0, 1}), (3, {0, 1, 2})])
def test_as_many_threads_as_allowed_share_the_blocks(allowed, threads):
    rows, seen = batch(1000), []

    def kernel(block, thread, total):
        seen.append(thread)
        total[...] = 0

    sums = Sums(lambda: np.empty(1), lambda first, second: None)
    with threadpool_limits(allowed, user_api="blas"):
        RowBlocks(rows, 8, shared=True).nodes(kernel, sums)
        assert set(seen) == threads
        seen.clear()
        RowBlocks(rows, 8, shared=False).nodes(kernel, sums)
        assert set(seen) == {0}


# --- products ---


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize(("n_columns", "n_rows"), [(1, 1), (3, 5), (40, 7), (101, 1024)])
def test_gram_is_the_product_in_the_lower_triangle(n_columns, n_rows, add):
    rng = np.random.RandomState(0)
    rows_t = rng.randint(-9, 9, (n_columns, n_rows)).astype(float)  # so that no sum is rounded
    before = np.asfortranarray(rng.randint(-9, 9, (n_columns, n_columns)).astype(float))
    found = before.copy(order="F")
    gram(rows_t, found, add=add)
    product = np.einsum("ir,jr->ij", rows_t, rows_t) + add * before
    np.testing.assert_array_equal(found, np.where(np.tri(n_columns, dtype=bool), product, before))


@pytest.mark.parametrize(
    "arguments",
    [
        (np.zeros((4, 3)), np.zeros((3, 3), order="F")),
        (np.zeros((3, 4)).T, np.zeros((4, 4), order="F")),
        (np.zeros((4, 3), np.float32), np.zeros((4, 4), order="F")),
        (np.zeros((4, 3)), np.zeros((4, 4), np.float32, order="F")),
        (np.zeros((4, 3)), np.zeros((4, 4))),
    ],
)
def test_gram_refuses_what_blas_would_write_elsewhere(arguments):
    with pytest.raises(ValueError, match="not as described"):
        gram(*arguments, add=False)


def product(size):
    gram(np.ones((400, size)), np.zeros((400, 400), order="F"), add=False)


def factorisation(size):
    factorise(np.asfortranarray(size * np.eye(size) + 1))


def inverse(size):
    invert_triangle(np.asfortranarray(np.eye(size)))


# Each takes some tenths of a second.
@pytest.mark.parametrize(
    ("call", "size"), [(product, 100_000), (factorisation, 3500), (inverse, 3000)]
)
def test_another_thread_runs_during_a_large_call(call, size):
    count, counts = 0, []

    def compute():
        counts.append(count)
        call(size)
        counts.append(count)

    thread = threading.Thread(target=compute)
    thread.start()
    while thread.is_alive():
        time.sleep(1e-4)
        count += 1
    before, after = counts
    assert after - before > 10


# scipy computes up to order 310.
@pytest.mark.parametrize("n", [1, 2, 131, 310, 311, 600])
def test_the_lower_triangle_is_replaced_by_its_cholesky_factor(n):
    root = np.random.RandomState(n).randn(n, 2 * n)
    A = root @ root.T
    L = np.array(np.tril(A) + np.triu(np.full_like(A, np.nan), 1), order="F")
    assert factorise(L)
    np.testing.assert_allclose(np.tril(L), np.linalg.cholesky(A), rtol=1e-9, atol=1e-11)
    assert np.isnan(L[np.triu_indices(n, 1)]).all()


@pytest.mark.parametrize("n", [2, 400])
def test_what_is_not_positive_definite_has_no_factor(n):
    assert not factorise(np.asfortranarray(np.diag(np.arange(n, 0.0, -1) - 1.5)))


@pytest.mark.parametrize("function", [factorise, invert_triangle])
@pytest.mark.parametrize(
    "matrix", [np.eye(3)[:2], np.eye(3, dtype=np.float32), np.eye(4)[::2, ::2], np.ones((2, 2))]
)
def test_matrices_that_lapack_would_read_otherwise_are_refused(function, matrix):
    with pytest.raises(ValueError, match="not as described"):
        function(matrix)


@pytest.mark.parametrize("n", [1, 2, 64, 65, 131, 300])
def test_a_triangle_is_replaced_by_its_inverse(n):
    L = np.tril(np.random.RandomState(n).randn(n, n)) / np.sqrt(n) + 2 * np.eye(n)
    inverse = np.array(L, order="F")
    invert_triangle(inverse)
    assert not np.triu(inverse, 1).any()
    np.testing.assert_allclose(inverse @ L, np.eye(n), atol=1e-13)
    np.testing.assert_allclose(L @ inverse, np.eye(n), atol=1e-13)
