"""What a stream knows of its noise and of its weights: running means, as the scales grow."""

from dataclasses import replace

import numpy as np
import pytest

from sk_backprop._network import Network, lecun_bound
from sk_backprop._objective import Objective
from sk_backprop._posterior import Posterior, laplace, unpack_factor
from sk_backprop._scaling import Scales, carry_over
from sk_backprop._stream import Earlier, Move, StreamState, of_stream


def problem(output="identity", n_outputs=1):
    rng = np.random.RandomState(0)
    network = Network((3, 4, n_outputs), "tanh", output)
    params = network.initial_parameters(rng, float, lecun_bound)
    X, y = rng.randn(60, 3), rng.uniform(0.1, 1, (60, n_outputs))
    loss = "poisson" if output == "exp" else "squared_error"
    return network, params, Objective(network, loss, X, y), rng.randn(5, 3)


def past(posterior, weight):
    """What is known of rows whose scales are those of the next."""
    n_outputs = len(posterior.noise)
    return Earlier(posterior, weight, Move(np.ones(3), np.zeros(3), *np.ones((2, n_outputs))))


def told_by(posterior, network, number=0, outputs=slice(None), *, at_inputs=True):
    return past(posterior, 1.0).told(number, network, outputs, at_inputs=at_inputs)


def batches_of(objective, size):
    X, y = objective._X, objective._y
    return [(X[k : k + size], y[k : k + size]) for k in range(0, len(y), size)]


@pytest.mark.parametrize("weights", ["all", "last_layer", "none"])
@pytest.mark.parametrize(("output", "n_outputs"), [("identity", 1), ("identity", 2), ("exp", 1)])
def test_a_stream_of_batches_at_the_same_weights_is_known_as_their_rows_at_once(
    weights, output, n_outputs
):
    network, params, objective, Xt = problem(output, n_outputs)
    loss = "poisson" if output == "exp" else "squared_error"
    at_once = of_stream(None, weights, objective, params, 2.0)
    earlier, before = None, 0.0
    for X, y in batches_of(objective, 15):
        batch = Objective(network, loss, X, y)
        stream = of_stream(earlier, weights, batch, params, 2.0)
        before += len(y)
        earlier = past(stream, before)
    np.testing.assert_allclose(stream.noise, at_once.noise, rtol=1e-9)
    # The noise of two outputs moves by two factors.
    rel = 1e-9 if n_outputs == 1 or weights != "all" else 0.1
    np.testing.assert_allclose(
        stream.variance(network, params, Xt), at_once.variance(network, params, Xt), rtol=rel
    )
    assert (stream.factors == []) == (weights == "none")
    # Of weights that are not uncertain there is no effective number; of two outputs, one sum.
    np.testing.assert_allclose(stream.n_effective.sum(), at_once.n_effective.sum(), rtol=rel)


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("weights", ["all", "last_layer"])
def test_the_first_rows_of_a_stream_are_known_as_those_of_a_fit_but_for_free_parameters(
    weights, n_outputs
):
    network, params, objective, Xt = problem(n_outputs=n_outputs)
    stream = of_stream(None, weights, objective, params, 2.0)
    np.testing.assert_allclose(stream.noise, 2 * objective.losses(params) / 60)
    fit = laplace(weights, objective, params, 2.0, known_noise=stream.noise)
    np.testing.assert_allclose(
        stream.variance(network, params, Xt), fit.variance(network, params, Xt), rtol=1e-9
    )
    # gamma = tr(A^-1 (A - Lambda)): of two outputs of all weights their sum, in equal parts.
    for k, factor in enumerate(stream.factors):
        L = np.tril(unpack_factor(factor))
        A, held = L @ L.T, np.diag(stream.prior[k])
        gamma = np.trace(np.linalg.solve(A, A - held))
        outputs = slice(None) if weights == "all" else slice(k, k + 1)
        assert stream.n_effective[outputs].sum() == pytest.approx(gamma, rel=1e-9)
    assert np.ptp(stream.n_effective) == 0 or weights == "last_layer"
    if n_outputs == 1 or weights == "last_layer":
        np.testing.assert_allclose(stream.n_effective, fit.n_effective, rtol=1e-9)


@pytest.mark.parametrize(("output", "n_rows"), [("identity", 100), ("exp", 1000)])
def test_a_stream_forgets_by_ten_batches_or_so_many_rows(output, n_rows):
    network, params, objective, _ = problem(output)
    other = network.parameters(params.flat * 0.1)
    for size, share in ((60, 0.06), (1, 0.001)):
        batch = Objective(network, objective.loss, objective._X[:size], objective._y[:size])
        before = of_stream(None, "all", objective, other, 2.0)
        after = of_stream(past(before, 1e6), "all", batch, params, 2)
        newest = of_stream(None, "all", batch, params, 2)
        of_noise = min(0.1, size / n_rows)
        # Pearson's statistic is a ratio, for counts alone of more than 1 in the denominator.
        below = [np.maximum(1 + one.ratio, 0.5) for one in (before, newest, after)]
        squares = (1 - of_noise) * before.noise * below[0] + of_noise * newest.noise * below[1]
        np.testing.assert_allclose(after.noise, squares / below[2])
        ratio = (1 - of_noise) * before.ratio + of_noise * newest.ratio
        np.testing.assert_allclose(after.ratio, ratio)
        told = [
            posterior.noise * told_by(posterior, network) * (1e6 + size) / n
            for posterior, n in ((before, 60), (newest, size), (after, 1e6 + size))
        ]
        scale = np.abs(told[2]).max()
        expected = (1 - share) * told[0] * 60 / 1e6 + share * told[1]
        np.testing.assert_allclose(told[2], expected, atol=1e-9 * scale)


def test_rows_at_which_training_diverged_change_nothing_that_is_known():
    network, params, objective, Xt = problem()
    known = of_stream(None, "all", objective, params, 2.0)
    X = np.column_stack([np.full(5, np.inf), np.ones((5, 2))])
    beyond = Objective(network, "squared_error", X, np.full((5, 1), np.inf))
    with np.errstate(all="ignore"):
        after = of_stream(past(known, 60.0), "all", beyond, params, 2.0)
        alone = of_stream(None, "all", beyond, params, 2.0)
    np.testing.assert_array_equal(after.noise, known.noise)
    # They count as rows, of the others' kind.
    found, expected = (p.variance(network, params, Xt) for p in (after, known))
    np.testing.assert_allclose(found, expected, rtol=0.2)
    assert np.abs(told_by(alone, network)).max() < 1e-280  # what Cholesky needed to be added


def test_the_least_noise_is_of_a_hundred_rows_at_least():
    _, params, objective, _ = problem()
    noise = of_stream(None, "none", objective, params, 2.0).noise
    lower = Posterior("none", [], noise / 2, np.zeros(1), [], np.zeros(1), noise / 4)
    for weight, least in ((99.0, None), (100.0, noise / 4)):
        stream = of_stream(past(lower, weight), "none", objective, params, 2.0)
        np.testing.assert_array_equal(stream.least_noise, stream.noise if least is None else least)


def test_curvature_of_other_weights_or_of_rows_that_no_longer_count_is_not_known():
    _, params, objective, _ = problem()
    kinds = ("all", "last_layer", "none")
    for one in kinds:
        posterior = of_stream(None, one, objective, params, 2.0)
        for other in kinds:
            assert past(posterior, 60.0).knows_curvature_of(other) == (one == other)
        assert not past(posterior, 0.0).knows_curvature_of(one)
        assert not past(replace(posterior, prior=None), 60.0).knows_curvature_of(one)


@pytest.mark.parametrize("precondition", [True, False])
@pytest.mark.parametrize("weights", ["all", "last_layer", "none"])
@pytest.mark.parametrize("output", ["identity", "exp", "logistic"])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)], ids=str)
def test_what_is_known_is_the_same_in_other_units(hidden, output, weights, precondition):
    rng = np.random.RandomState(0)
    X, y = rng.uniform(1, 2, (40, 3)), rng.uniform(1, 2, (40, 2))
    loss = "poisson" if output == "exp" else "squared_error"
    network = Network((3, *hidden, 2), "logistic", output)
    drawn = network.initial_parameters(rng, float, lecun_bound)
    options = {"precondition": precondition, "out_activation": output}
    old = Scales.fit(X, y, None, **options)
    new = Scales.fit(X * [1, 7, 0.1] + [0, 5, 0], y * [30, 2], None, **options, seen=old)

    carried = carry_over(drawn.coefs, drawn.intercepts, old, new)

    def known(scales, coefs, intercepts, earlier=None, rows=slice(None)):
        params = scales.unfold(network, coefs, intercepts, float)
        inputs, targets = scales.input(X[rows], float), scales.target(y[rows], float)
        objective = Objective(scales.solver_network(network), loss, inputs, targets)
        return of_stream(earlier, weights, objective, params, 1.0)

    before, expected = known(old, drawn.coefs, drawn.intercepts), known(new, *carried)
    earlier = Earlier(before, 40.0, Move.between(old, new))
    np.testing.assert_allclose(earlier.noise, expected.noise, rtol=1e-9)
    np.testing.assert_allclose(earlier.least_noise, expected.noise, rtol=1e-9)
    assert len(before.factors) == {"all": 1, "last_layer": 2, "none": 0}[weights]
    for number in range(len(before.factors)):
        part, outputs = new.solver_network(network), slice(None)
        if weights == "last_layer":
            part = Network((network.layer_sizes[-2], 1), "tanh", output)
            outputs = slice(number, number + 1)
        which = {"at_inputs": weights == "all" or not hidden}
        found = earlier.told(number, part, outputs, **which)
        wanted = told_by(expected, part, number, outputs, **which)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9 * np.abs(wanted).max())
    # And so is what comes of it with the next rows.
    found = known(new, *carried, earlier, rows=slice(0, 9))
    wanted = known(new, *carried, past(expected, 40.0), rows=slice(0, 9))
    params, inputs = new.unfold(network, *carried, float), new.input(X, float)
    solver_network = new.solver_network(network)
    np.testing.assert_allclose(
        found.variance(solver_network, params, inputs),
        wanted.variance(solver_network, params, inputs),
        rtol=1e-6,
    )


@pytest.mark.parametrize("weights", ["all", "none"])
def test_what_is_known_in_units_beyond_all_before_is_not_used(weights):
    network, params, objective, Xt = problem()
    before = of_stream(None, weights, objective, params, 2.0)
    beyond = Move(np.ones(3), np.zeros(3), np.zeros(1), np.zeros(1))  # y 1e300 times as large
    stream = of_stream(Earlier(before, 60.0, beyond), weights, objective, params, 2.0)
    alone = of_stream(None, weights, objective, params, 2.0)
    np.testing.assert_allclose(stream.noise, alone.noise / 2, rtol=1e-9)
    assert np.isfinite(stream.variance(network, params, Xt)).all()


def test_what_is_no_better_than_a_constant_need_not_be_kept():
    noise, least = np.array([0.4, 1.4]), np.array([0.1, 0.2])
    for posterior, of_constant, kept in (
        (None, np.ones(2), None),
        (Posterior("none", [], noise, noise), np.ones(2), noise),
        (Posterior("none", [], noise, noise, least_noise=least), np.ones(2), least),
        (Posterior("none", [], noise, noise, least_noise=least), np.full(2, 0.8), None),
        (Posterior("none", [], noise, noise, least_noise=least), noise, None),
    ):
        earlier = None if posterior is None else past(posterior, 9.0)
        found = StreamState(9, None, earlier, False).noise_to_keep(of_constant)
        np.testing.assert_array_equal(found, kept)
