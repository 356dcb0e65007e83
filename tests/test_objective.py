"""The objective: its formula, its gradient, blocks of rows, and mini-batches."""

import tracemalloc

import numpy as np
import pytest
import reference
import scipy.sparse as sp
from cases import every_pair
from likelihoods import likelihood
from sklearn.metrics import mean_poisson_deviance, r2_score

from sk_backprop._blocks.arrays import row_blocks
from sk_backprop._coordinates.scales import CentredSparse
from sk_backprop._inference.objective import Objective
from sk_backprop._inference.validation import RowsInMemory, ValidationSet
from sk_backprop._network.families import Poisson, SquaredError
from sk_backprop._network.network import Network, lecun_bound, rows_per_block

LOSSES = [("squared_error", "identity"), ("squared_error", "logistic"), ("poisson", "exp")]
HIDDEN = [(), (4,), (4, 3), (3, 4, 2)]
ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]


def problem(hidden, activation, loss, output, n_outputs, *, weighted, n=7, seed=0):
    rng = np.random.RandomState(seed)
    network = Network((3, *hidden, n_outputs), activation, output)
    params = network.initial_parameters(rng, float, lecun_bound)
    X, y = rng.randn(n, 3), rng.uniform(0, 2, (n, n_outputs))
    if loss == "poisson":
        y[0] = 0  # y log y at zero
    w = rng.uniform(0.5, 3, n) if weighted else None
    return network, params, X, y, w


@pytest.mark.parametrize(
    ("hidden", "activation", "losses", "n_outputs", "weighted"),
    every_pair(HIDDEN, ACTIVATIONS, LOSSES, [1, 3], [False, True]),
)
def test_loss_and_gradient_equal_a_loop_over_neurons(
    hidden, activation, losses, n_outputs, weighted
):
    loss, output = losses
    network, params, X, y, w = problem(
        hidden, activation, loss, output, n_outputs, weighted=weighted
    )
    objective = Objective(network, likelihood(loss, network), X, y, w, alpha=0.7)
    grad = objective.parameters(params.flat)
    value = objective.loss_gradient(params, grad)
    weights = np.ones(len(y)) if w is None else w
    expected, gW, gb = reference.loss_gradient(
        params.coefs, params.intercepts, activation, output, loss, X, y, weights, 0.7
    )
    assert value == pytest.approx(expected, rel=1e-12)
    for ours, theirs in zip(grad.coefs + grad.intercepts, gW + gb, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("hidden", "activation", "losses", "weighted", "sparse"),
    every_pair(HIDDEN, ACTIVATIONS, LOSSES, [False, True], [False, True]),
)
def test_gradient_equals_central_differences_in_random_directions(
    hidden, activation, losses, weighted, sparse
):
    loss, output = losses
    network, params, X, y, w = problem(hidden, activation, loss, output, 2, weighted=weighted)
    rows = CentredSparse.of(sp.csr_array(X), X.mean(axis=0), X.std(axis=0)) if sparse else X
    objective = Objective(network, likelihood(loss, network), rows, y, w, alpha=0.3)
    grad, scratch = objective.parameters(params.flat), objective.parameters(params.flat)
    objective.loss_gradient(params, grad)
    rng, step = np.random.RandomState(1), 1e-6
    for _ in range(3):
        direction = rng.randn(network.n_params)
        direction /= np.linalg.norm(direction)
        ahead = objective.loss_gradient(
            objective.parameters(params.flat + step * direction), scratch
        )
        behind = objective.loss_gradient(
            objective.parameters(params.flat - step * direction), scratch
        )
        assert grad.flat @ direction == pytest.approx((ahead - behind) / (2 * step), abs=2e-8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_row_blocks_add_up_to_the_whole(weighted, sparse):
    network, params, X, y, w = problem(
        (5,), "tanh", "squared_error", "identity", 2, weighted=weighted, n=300
    )
    rows = CentredSparse.of(sp.csr_array(X), X.mean(axis=0), X.std(axis=0)) if sparse else X
    whole = Objective(network, SquaredError(), rows, y, w, alpha=1.0)
    one = whole.parameters(params.flat)
    expected = whole.loss_gradient(params, one)
    blocked = Objective(network, SquaredError(), rows, y, w, alpha=1.0, block_rows=64)
    many = blocked.parameters(params.flat)
    assert blocked.loss_gradient(params, many) == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(many.flat, one.flat, rtol=1e-11, atol=1e-14)


def test_row_blocks_cover_all_rows_once():
    blocks = row_blocks(130, 64)
    assert [(b.start, b.stop) for b in blocks] == [(0, 64), (64, 128), (128, 130)]
    assert rows_per_block(Network((10**6, 1), "tanh", "identity"), float) == 64
    assert rows_per_block(Network((10, 50, 1), "tanh", "identity"), np.float32) % 64 == 0


def test_mini_batches_of_an_epoch_average_to_the_whole():
    # Equal batches of an epoch at fixed weights: the estimate is unbiased, with
    # weights that differ and the whole penalty in every batch.
    network, params, X, y, w = problem(
        (4,), "logistic", "squared_error", "identity", 2, weighted=True, n=60
    )
    objective = Objective(network, SquaredError(), X, y, w, alpha=2.0)
    grad = objective.parameters(params.flat)
    expected = objective.loss_gradient(params, grad)
    order = np.random.RandomState(0).permutation(60)
    batch_grad = objective.parameters(params.flat)
    losses, grads = [], []
    for batch in objective.batches(12, order):
        losses.append(objective.batch_loss_gradient(params, batch, batch_grad))
        grads.append(batch_grad.flat.copy())
    assert np.mean(losses) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(np.mean(grads, axis=0), grad.flat, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("chunk_bytes", [1, 600, 2**20])
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_are_the_rows_in_order(weighted, chunk_bytes, kind):
    network, _, X, y, w = problem(
        (4,), "logistic", "squared_error", "identity", 1, weighted=weighted, n=23
    )
    objective = Objective(network, SquaredError(), kind(X), y, w, alpha=1.0)
    order = np.random.RandomState(0).permutation(23)
    for given, expected in ((None, np.arange(23)), (order, order)):
        rows = [expected[start : start + 5] for start in range(0, 23, 5)]
        for batch, which in zip(objective.batches(5, given, chunk_bytes), rows, strict=True):
            found = batch.X if kind is np.asarray else batch.X.toarray()
            np.testing.assert_array_equal(found, X[which])
            np.testing.assert_array_equal(batch.y, y[which])
            if weighted:
                np.testing.assert_allclose(batch.w[:, 0], w[which] / w.mean())
            else:
                assert batch.w is None


def test_penalty_is_spread_over_the_weight_given():
    network, params, X, y, _ = problem(
        (4,), "tanh", "squared_error", "identity", 1, weighted=False, n=20
    )
    grad = network.parameters(np.empty(network.n_params))
    plain = Objective(network, SquaredError(), X, y).loss_gradient(params, grad)
    spread = Objective(network, SquaredError(), X, y, None, 3.0, penalty_weight=50.0)
    norm = sum(float((W**2).sum()) for W in params.coefs)
    assert spread.loss_gradient(params, grad) == pytest.approx(plain + 3.0 * norm / (2 * 50))


def test_huge_weights_do_not_overflow():
    network, params, X, y, w = problem(
        (4,), "tanh", "squared_error", "identity", 1, weighted=True, n=20
    )
    grad = network.parameters(np.empty(network.n_params))
    small = Objective(network, SquaredError(), X, y, w).loss_gradient(params, grad)
    huge = Objective(network, SquaredError(), X, y, w * 5e307).loss_gradient(params, grad)
    assert huge == pytest.approx(small, rel=1e-12)


@pytest.mark.parametrize(("loss", "output"), LOSSES)
def test_no_array_is_allocated_per_mini_batch(loss, output):
    n, batch = 40_000, 20_000
    network, params, X, y, w = problem((5,), "tanh", loss, output, 1, weighted=True, n=n)
    objective = Objective(network, likelihood(loss, network), X, y, w, alpha=1.0)
    grad = objective.parameters(params.flat)
    order = np.random.RandomState(0).permutation(n)
    for rows in objective.batches(batch, order):  # makes the workspace
        objective.batch_loss_gradient(params, rows, grad)
    tracemalloc.start()
    for rows in objective.batches(batch, order):
        objective.batch_loss_gradient(params, rows, grad)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The smallest array of a batch is 160 kB; numpy's iterators buffer up to 64 kB.
    assert peak < 100_000


@pytest.mark.parametrize("weighted", [False, True])
def test_validation_set_gives_mean_loss_and_r2(weighted):
    network, params, X, y, w = problem(
        (4,), "tanh", "squared_error", "identity", 3, weighted=weighted, n=50
    )
    loss, score = ValidationSet(
        Objective(network, SquaredError(), X, y), RowsInMemory(X, y, w)
    ).evaluate(params)
    f = np.array(
        [
            reference.forward_row(params.coefs, params.intercepts, "tanh", "identity", x)[1][-1]
            for x in X
        ]
    )
    assert score == pytest.approx(r2_score(y, f, sample_weight=w))
    expected = 0.5 * np.average(((y - f) ** 2).sum(axis=1), weights=w)
    assert loss == pytest.approx(expected)


def test_validation_loss_of_poisson_is_half_the_deviance():
    network, params, X, y, w = problem((4,), "tanh", "poisson", "exp", 1, weighted=True, n=50)
    loss, _ = ValidationSet(Objective(network, Poisson(), X, y), RowsInMemory(X, y, w)).evaluate(
        params
    )
    f = [reference.forward_row(params.coefs, params.intercepts, "tanh", "exp", x)[1][-1] for x in X]
    assert loss == pytest.approx(mean_poisson_deviance(y, f, sample_weight=w) / 2)


def test_validation_score_of_targets_that_do_not_vary_is_nan():
    network, params, X, y, _ = problem(
        (4,), "tanh", "squared_error", "identity", 1, weighted=False, n=1
    )
    loss, score = ValidationSet(
        Objective(network, SquaredError(), X, y), RowsInMemory(X, y, None)
    ).evaluate(params)
    assert np.isfinite(loss)
    assert np.isnan(score)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_weights_to_one_output_may_wait_for_the_sums(activation, sparse):
    # In a block of many rows they do, in blocks of few they do not.
    network, params, X, y, w = problem(
        (5,), activation, "squared_error", "identity", 1, weighted=True, n=300
    )
    rows = CentredSparse.of(sp.csr_array(X), X.mean(axis=0), X.std(axis=0)) if sparse else X
    whole = Objective(network, SquaredError(), rows, y, w)
    grad = whole.parameters(params.flat)
    loss = whole.loss_gradient(params, grad)
    losses, grads, few = [], [], whole.parameters(params.flat)
    for batch in whole.batches(60):
        losses.append(whole.batch_loss_gradient(params, batch, few))
        grads.append(few.flat.copy())
    assert loss == pytest.approx(np.mean(losses), rel=1e-13)
    np.testing.assert_allclose(grad.flat, np.mean(grads, axis=0), rtol=1e-11, atol=1e-14)
