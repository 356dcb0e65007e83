"""What a stream knows of its noise and of its weights: running means, as the scales grow."""

from types import SimpleNamespace

import numpy as np
import pytest
from likelihoods import likelihood

from sk_backprop._coordinates.affine import AffineMap, Coordinates
from sk_backprop._coordinates.scales import Scales
from sk_backprop._coordinates.seen_rows import SeenRows
from sk_backprop._inference.laplace import Posterior, laplace
from sk_backprop._inference.objective import Objective
from sk_backprop._inference.online import Earlier, PassErrors, StreamState, of_stream
from sk_backprop._network.dispersion import HeldOutNoise
from sk_backprop._network.families import SquaredError
from sk_backprop._network.network import Network, lecun_bound


def rows_of_weight(weight):
    """A sketch of one row that counts as much."""
    return SeenRows(np.zeros(1, np.uint64), np.array([weight]))


def problem(output="identity", n_outputs=1):
    rng = np.random.RandomState(0)
    network = Network((3, 4, n_outputs), "tanh", output)
    params = network.initial_parameters(rng, float, lecun_bound)
    X, y = rng.randn(60, 3), rng.uniform(0.1, 1, (60, n_outputs))
    loss = "poisson" if output == "exp" else "squared_error"
    return (
        network,
        params,
        Objective(network, likelihood(loss, network), X, y),
        rng.randn(5, 3),
    )


def in_unit(y_scale):
    return Coordinates(
        x_unit=np.ones(3),
        y_location=np.zeros_like(y_scale),
        y_scale=y_scale,
        likelihood=SquaredError(),
    )


def past(posterior, weight):
    """What is known of rows whose scales are those of the next."""
    same = in_unit(np.ones_like(posterior.noise))
    return Earlier(posterior, weight, weight, AffineMap(same, same))


def posterior_after(earlier, weights, objective, params, alpha, rows=None):
    """The posterior after rows that the weights see once, all of them new."""
    if rows is None:
        before = 0.0 if earlier is None else earlier.weight
        rows = rows_of_weight(before + objective.total_weight)
    stream = StreamState(0, None, earlier, False, rows, rows.weight)
    errors = PassErrors(objective)
    errors.left_out(params)
    return of_stream(stream, weights, objective, params, alpha, errors.sums)


def told_by(posterior, network, number=0, outputs=slice(None), *, at_inputs=True):
    return past(posterior, 1.0).data_precision(number, network, outputs, at_inputs=at_inputs)


def batches_of(objective, size):
    X, y = objective._rows.X, objective._rows.y
    return [(X[k : k + size], y[k : k + size]) for k in range(0, len(y), size)]


def curvature_of(posterior, network, number, outputs):
    """What rows have added to the precision, without the noise."""
    at_inputs = posterior.weights == "all"
    found = told_by(posterior, network, number, outputs, at_inputs=at_inputs)
    return found * np.mean(posterior.noise[outputs])


@pytest.mark.parametrize("weights", ["all", "last_layer", "none"])
@pytest.mark.parametrize(("output", "n_outputs"), [("identity", 1), ("identity", 2), ("exp", 1)])
def test_batches_at_the_same_weights_add_up_to_their_rows_at_once(weights, output, n_outputs):
    network, params, objective, _ = problem(output, n_outputs)
    at_once = posterior_after(None, weights, objective, params, 2.0)
    earlier, before = None, 0.0
    for X, y in batches_of(objective, 15):
        batch = Objective(network, objective.likelihood, X, y)
        stream = posterior_after(earlier, weights, batch, params, 2.0)
        sums = batch.pearson(params) * (1 / len(y))
        if earlier is None:  # the mean of y is theirs: n - 1 rows
            slow = mean = sums.squares * 15 / 14
            ratio = sums.ratio
        else:  # errors of new rows are noise / (1 - gamma / n)
            newest = sums.squares * (1 - earlier.posterior.n_effective / (before + 15))
            least = {"identity": 50, "exp": 300}[output]
            share = max(15 / (before + 14), 15 / least)
            mean = (1 - share) * mean + share * newest
            slow = (1 - share) * slow + share * mean
            ratio = (1 - share) * ratio + share * sums.ratio
        noise = mean / np.maximum(1 + ratio, 0.5) * np.clip(mean / slow, 0.5, 1)
        np.testing.assert_allclose(stream.noise, noise, rtol=1e-9)
        before += len(y)
        earlier = past(stream, before)
    assert (stream.factors == []) == (weights == "none")
    for number in range(len(stream.factors)):
        part = network if weights == "all" else Network((4, 1), "tanh", output)
        outputs = slice(None) if weights == "all" else slice(number, number + 1)
        found, wanted = (curvature_of(p, part, number, outputs) for p in (stream, at_once))
        # The noise of two outputs of one factor moves by two factors.
        rel = 1e-9 if n_outputs == 1 or weights != "all" else 0.2
        np.testing.assert_allclose(found, wanted, atol=rel * np.abs(wanted).max())


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("weights", ["all", "last_layer"])
def test_the_first_rows_of_a_stream_are_known_as_those_of_a_fit_but_for_free_parameters(
    weights, n_outputs
):
    network, params, objective, Xt = problem(n_outputs=n_outputs)
    stream = posterior_after(None, weights, objective, params, 2.0)
    np.testing.assert_allclose(stream.noise, 2 * objective.losses(params) / 59)
    fit = laplace(weights, objective, params, 2.0, HeldOutNoise(stream.noise, 1.0))
    np.testing.assert_allclose(
        stream.variance(network, params, Xt), fit.variance(network, params, Xt), rtol=1e-9
    )
    # gamma = tr(A^-1 (A - Lambda)): of two outputs of all weights their sum, in equal parts.
    for k, factor in enumerate(stream.factors):
        L = factor.cholesky()
        A, held = L @ L.T, np.diag(stream.prior[k])
        gamma = np.trace(np.linalg.solve(A, A - held))
        outputs = slice(None) if weights == "all" else slice(k, k + 1)
        assert stream.n_effective[outputs].sum() == pytest.approx(gamma, rel=1e-9)
    assert np.ptp(stream.n_effective) == 0 or weights == "last_layer"
    if n_outputs == 1 or weights == "last_layer":
        np.testing.assert_allclose(stream.n_effective, fit.n_effective, rtol=1e-9)


@pytest.mark.parametrize(("output", "n_rows"), [("identity", 300), ("exp", 1000)])
def test_a_stream_forgets_noise_by_rows_and_curvature_by_ten_batches(output, n_rows):
    network, params, objective, _ = problem(output)
    other = network.parameters(params.flat * 0.1)
    for size, share in ((60, 0.06), (1, 0.001)):
        batch = Objective(
            network, objective.likelihood, objective._rows.X[:size], objective._rows.y[:size]
        )
        before = posterior_after(None, "all", objective, other, 2.0)
        after = posterior_after(past(before, 1e6), "all", batch, params, 2)
        newest = posterior_after(None, "all", batch, params, 2)
        # A mean over the last rows; errors of new rows are noise / (1 - gamma / n).
        of_noise = size / n_rows
        sums = batch.pearson(params) * (1 / size)
        known = 1 - before.n_effective / (1e6 + size)
        squares = before.noise * np.maximum(1 + before.ratio, 0.5) * (1 - of_noise)
        squares += of_noise * sums.squares * known
        ratio = (1 - of_noise) * before.ratio + of_noise * sums.ratio
        np.testing.assert_allclose(after.ratio, ratio)
        np.testing.assert_allclose(after.mean, squares / np.maximum(1 + ratio, 0.5))
        told = [
            posterior.noise * told_by(posterior, network) * (1e6 + size) / n
            for posterior, n in ((before, 60), (newest, size), (after, 1e6 + size))
        ]
        scale = np.abs(told[2]).max()
        expected = (1 - share) * told[0] * 60 / 1e6 + share * told[1]
        np.testing.assert_allclose(told[2], expected, atol=1e-9 * scale)


def test_rows_at_which_training_diverged_change_nothing_that_is_known():
    network, params, objective, Xt = problem()
    known = posterior_after(None, "all", objective, params, 2.0)
    X = np.column_stack([np.full(5, np.inf), np.ones((5, 2))])
    beyond = Objective(network, SquaredError(), X, np.full((5, 1), np.inf))
    with np.errstate(all="ignore"):
        after = posterior_after(past(known, 60.0), "all", beyond, params, 2.0)
        alone = posterior_after(None, "all", beyond, params, 2.0)
    np.testing.assert_allclose(after.noise, known.noise, rtol=1e-15)
    # They count as rows, of the others' kind.
    found, expected = (p.variance(network, params, Xt) for p in (after, known))
    np.testing.assert_allclose(found, expected, rtol=0.2)
    assert np.abs(told_by(alone, network)).max() < 1e-280  # what Cholesky needed to be added


def test_the_least_noise_is_of_a_hundred_rows_at_least():
    _, params, objective, _ = problem()
    noise = posterior_after(None, "none", objective, params, 2.0).noise
    kept = {"ratio": np.zeros(1), "usual": noise / 2, "least_noise": noise / 4}
    lower = Posterior("none", [], noise / 2, np.zeros(1), [], **kept)
    for weight, least in ((99.0, None), (100.0, noise / 4)):
        stream = posterior_after(past(lower, weight), "none", objective, params, 2.0)
        np.testing.assert_array_equal(stream.least_noise, stream.usual if least is None else least)


def test_curvature_of_other_weights_or_of_rows_that_no_longer_count_is_not_known():
    _, params, objective, _ = problem()
    kinds = ("all", "last_layer", "none")
    for one in kinds:
        posterior = posterior_after(None, one, objective, params, 2.0)
        for other in kinds:
            assert past(posterior, 60.0).has_precision_of(other) == (one == other)
        assert not past(posterior, 0.0).has_precision_of(one)


@pytest.mark.parametrize("preconditions", [(True, True), (False, False), (True, False)], ids=str)
@pytest.mark.parametrize("weights", ["all", "last_layer", "none"])
@pytest.mark.parametrize("output", ["identity", "exp", "logistic"])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)], ids=str)
def test_what_is_known_is_the_same_in_other_units(hidden, output, weights, preconditions):
    rng = np.random.RandomState(0)
    X, y = rng.uniform(1, 2, (40, 3)), rng.uniform(1, 2, (40, 2))
    loss = "poisson" if output == "exp" else "squared_error"
    network = Network((3, *hidden, 2), "logistic", output)
    drawn = network.initial_parameters(rng, float, lecun_bound)
    old, new = (
        {"precondition": one, "likelihood": likelihood(loss, network)} for one in preconditions
    )
    old = Scales.fit(X, y, None, **old)
    new = Scales.fit(X * [1, 7, 0.1] + [0, 5, 0], y * [30, 2], None, **new, seen=old)

    to_new = AffineMap(old.max_abs_coordinates, new.max_abs_coordinates)
    carried = to_new.weights(drawn.coefs, drawn.intercepts)

    def solver_params(scales, coefs, intercepts):
        to_solver = AffineMap(scales.max_abs_coordinates, scales.solver_coordinates(network))
        return network.pack(*to_solver.weights(coefs, intercepts), float)

    def known(scales, coefs, intercepts, earlier=None, rows=slice(None)):
        params = solver_params(scales, coefs, intercepts)
        inputs, targets = scales.input(X[rows], float), scales.target(y[rows], float)
        objective = Objective(
            scales.solver_network(network), likelihood(loss, network), inputs, targets
        )
        return posterior_after(earlier, weights, objective, params, 1.0)

    before, expected = known(old, drawn.coefs, drawn.intercepts), known(new, *carried)
    move = AffineMap(old.solver_coordinates(network), new.solver_coordinates(network))
    earlier = Earlier(before, 40.0, 40.0, move)
    np.testing.assert_allclose(earlier.noise, expected.noise, rtol=1e-9)
    np.testing.assert_allclose(earlier.least_noise, expected.least_noise, rtol=1e-9)
    np.testing.assert_allclose(earlier.variance_of_new, expected.variance_of_new, rtol=1e-9)
    for name in ("mean", "slow_mean", "usual"):
        found = getattr(earlier, name).value
        np.testing.assert_allclose(found, getattr(expected, name), rtol=1e-9, err_msg=name)
    assert len(before.factors) == {"all": 1, "last_layer": 2, "none": 0}[weights]
    for number in range(len(before.factors)):
        part, outputs = new.solver_network(network), slice(None)
        if weights == "last_layer":
            part = Network((network.layer_sizes[-2], 1), "tanh", output)
            outputs = slice(number, number + 1)
        which = {"at_inputs": weights == "all" or not hidden}
        found = earlier.data_precision(number, part, outputs, **which)
        wanted = told_by(expected, part, number, outputs, **which)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9 * np.abs(wanted).max())
    # And so is what comes of it with the next rows.
    found = known(new, *carried, earlier, rows=slice(0, 9))
    # The penalty, and gamma with it, are those of the scales that they were found in.
    expected = expected._replace(n_effective=before.n_effective)
    wanted = known(new, *carried, past(expected, 40.0), rows=slice(0, 9))
    params, inputs = solver_params(new, *carried), new.input(X, float)
    solver_network = new.solver_network(network)
    np.testing.assert_allclose(
        found.variance(solver_network, params, inputs),
        wanted.variance(solver_network, params, inputs),
        rtol=1e-6,
    )


@pytest.mark.parametrize("weights", ["all", "none"])
def test_what_is_known_in_units_beyond_all_before_is_not_used(weights):
    network, params, objective, Xt = problem()
    before = posterior_after(None, weights, objective, params, 2.0)
    beyond = AffineMap(in_unit(np.full(1, 1e-300)), in_unit(np.full(1, 1e300)))
    stream = posterior_after(Earlier(before, 60.0, 60.0, beyond), weights, objective, params, 2.0)
    alone = posterior_after(None, weights, objective, params, 2.0)
    # Sixty rows replace what the first had shown; their errors are in part of the weights.
    known = 1 - before.n_effective / 120
    np.testing.assert_allclose(stream.mean, alone.noise * known * 59 / 60, rtol=1e-9)
    assert np.isfinite(stream.variance(network, params, Xt)).all()


def test_what_is_no_better_than_a_constant_need_not_be_kept():
    noise, least = np.array([0.4, 1.4]), np.array([0.1, 0.2])
    for posterior, of_constant, kept in (
        (None, np.ones(2), None),
        (Posterior("none", [], noise, noise, []), np.ones(2), noise),
        (Posterior("none", [], noise, noise, [], least_noise=least), np.ones(2), least),
        (Posterior("none", [], noise, noise, [], least_noise=least), np.full(2, 0.8), None),
        (Posterior("none", [], noise, noise, [], least_noise=least), noise, None),
    ):
        earlier = None if posterior is None else past(posterior, 9.0)
        found = StreamState(9, None, earlier, False, rows_of_weight(9.0), 9.0).noise_to_keep(
            of_constant
        )
        np.testing.assert_array_equal(found, kept)


@pytest.mark.parametrize("batch_size", [10, 20, 40])
def test_the_first_mini_batches_give_the_mean_squared_error_of_their_rows(batch_size):
    network, params, objective, _ = problem()
    ((X, y), _) = batches_of(objective, 40)  # fewer than the window of the running mean
    first = Objective(network, objective.likelihood, X, y)
    rows = rows_of_weight(40.0)
    stream = StreamState(0, None, None, False, rows, rows.weight)
    errors = [first.batch_pearson(params, one) for one in first.batches(batch_size)]
    posterior = of_stream(stream, "all", first, params, 1.0, errors)
    # Their mean was fitted to them.
    np.testing.assert_allclose(posterior.mean, first.pearson(params).squares / 39, rtol=1e-12)


def test_rows_count_as_half_of_their_weight_at_least():
    # Their mean takes a degree of freedom: n - 1, but n / 2 where n is below 2.
    network, params, objective, _ = problem()
    X, y = objective._rows.X[:4], objective._rows.y[:4]
    rows = Objective(network, objective.likelihood, X, y, np.full(4, 0.5))
    squares = [rows.batch_pearson(params, one).squares for one in rows.batches(1)]
    one, two, three, four = (each / 0.5 for each in squares)
    expected = [2 * one, two, (two + 2 * three) / 3, (two + 2 * three) / 6 + four / 2]
    for n, mean in enumerate(expected, 1):
        errors = [rows.batch_pearson(params, one) for one in rows.batches(1)][:n]
        first = Objective(network, objective.likelihood, X[:n], y[:n], np.full(n, 0.5))
        sketch = rows_of_weight(n / 2)
        stream = StreamState(0, None, None, False, sketch, sketch.weight)
        posterior = of_stream(stream, "all", first, params, 1.0, errors)
        np.testing.assert_allclose(posterior.mean, mean, rtol=1e-12)


@pytest.mark.parametrize("repeated", [0.25, 1.0])
@pytest.mark.parametrize("weight", [15.0, 20.0])
def test_rows_that_the_weights_fit_closely_keep_the_variance_of_new_rows(repeated, weight):
    network, params, objective, _ = problem()  # 21 parameters
    first, second = (
        Objective(network, objective.likelihood, X, y) for X, y in batches_of(objective, 15)[:2]
    )
    before = posterior_after(None, "all", first, params, 1e-9)
    earlier = past(before, 15.0)
    assert earlier.free_part(network) < 0.1
    stream = StreamState(15, None, earlier, False, SimpleNamespace(repeated=repeated), weight)
    errors = [second.pearson(params)]
    after = of_stream(stream, "all", second, params, 1e-9, errors)
    noise_part = max(1 - before.n_effective[0] / weight, 0.5)
    kept = 1 - repeated + repeated * before.variance_of_new * noise_part / before.noise
    # The mean over the last 50 rows; 30 rows so far, of which one degree of freedom is gone.
    share = (1 - repeated) * 15 / 29
    mean = (1 - share) * before.mean * kept + share * errors[0].squares / 15 * noise_part
    np.testing.assert_allclose(after.mean, mean, rtol=1e-9)
    if repeated == 1:
        np.testing.assert_allclose(after.variance_of_new, before.variance_of_new, rtol=1e-9)


@pytest.mark.parametrize(("n_effective", "noise_part"), [(3.0, 0.8), (12.0, 0.5)])
def test_errors_of_new_rows_after_a_fit_are_larger_than_its_noise(n_effective, noise_part):
    posterior = Posterior("none", [], np.array([2.0]), np.array([n_effective]), [])
    np.testing.assert_allclose(past(posterior, 15.0).variance_of_new, 2.0 / noise_part)


@pytest.mark.parametrize(("output", "kept"), [("identity", 900), ("exp", 3000)])
def test_errors_of_three_windows_of_the_running_mean_are_kept(output, kept):
    network, params, objective, _ = problem(output)
    X, y = np.tile(objective._rows.X, (60, 1)), np.tile(objective._rows.y, (60, 1))
    many = Objective(network, objective.likelihood, X, y)
    errors = PassErrors(many)
    for batch in many.batches(100):
        errors.before_step(params, batch)
    assert sum(sums.weight for sums in errors.sums) == kept
