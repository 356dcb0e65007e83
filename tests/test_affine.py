"""One function in other coordinates: checked by evaluating it, and by the Jacobian of the map."""

from itertools import permutations, product

import numpy as np
import pytest

from sk_backprop._coordinates.affine import (
    SAME_UNITS,
    TANH_FOR_SIGMOID,
    AffineMap,
    Coordinates,
    HiddenUnits,
    with_hidden_units,
)
from sk_backprop._network.families import LIKELIHOODS
from sk_backprop._network.network import Network, lecun_bound

N_FEATURES, N_OUTPUTS = 3, 2
OUTPUTS = ("identity", "exp", "logistic")
HIDDEN = ((), (4,), (4, 3))
KINDS = ("raw", "max_abs", "solver", "other max_abs", "other solver")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def coordinates(kind, output):
    """Raw units, those of a table, or those of a solver, of one of two tables."""
    rng = np.random.RandomState(KINDS.index(kind))
    whole = {
        "x_unit": np.ones(N_FEATURES),
        "y_location": np.zeros(N_OUTPUTS),
        "y_scale": np.ones(N_OUTPUTS),
        "likelihood": next(one for one in LIKELIHOODS.values() if one.output_activation == output),
    }
    if kind != "raw":
        whole["x_unit"] = rng.uniform(0.5, 20, N_FEATURES)
    if kind != "raw" and output != "logistic":  # whose range cannot change
        whole["y_scale"] = rng.uniform(0.5, 20, N_OUTPUTS)
    if kind != "raw" and output == "identity":
        whole["y_location"] = rng.randn(N_OUTPUTS)
    if "solver" in kind:
        whole["x_offset"] = rng.randn(N_FEATURES)
        whole["x_spread"] = rng.uniform(0.1, 1, N_FEATURES)
        whole["hidden"] = TANH_FOR_SIGMOID
    return Coordinates(**whole)


def function(where, coefs, intercepts, X):
    """y of raw X, by a network in these coordinates, one operation after the other."""
    h = X / where.x_unit
    if where.x_spread is not None:
        h = h / where.x_spread - where.x_offset
    hidden = {SAME_UNITS: sigmoid, TANH_FOR_SIGMOID: np.tanh}[where.hidden]
    for W, b in zip(coefs[:-1], intercepts[:-1], strict=True):
        h = hidden(h @ W + b)
    z = h @ coefs[-1] + intercepts[-1]
    output = {"identity": lambda z: z, "exp": np.exp, "logistic": sigmoid}
    return where.y_location + where.y_scale * output[where.likelihood.output_activation](z)


def network_of(hidden, output="identity"):
    return Network((N_FEATURES, *hidden, N_OUTPUTS), "logistic", output)


def weights_of(hidden, dtype=float):
    params = network_of(hidden).initial_parameters(np.random.RandomState(0), dtype, lecun_bound)
    return params.coefs, params.intercepts


def flat(network, weights):
    return network.pack(*weights, float).flat


def assert_same_weights(found, expected):
    for a, b in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
@pytest.mark.parametrize("output", OUTPUTS)
def test_the_function_is_the_same_in_all_coordinates(output, hidden):
    X = np.random.RandomState(1).randn(50, N_FEATURES)
    weights = weights_of(hidden)
    for kinds in permutations(KINDS, 2):
        old, new = (coordinates(kind, output) for kind in kinds)
        found = function(new, *AffineMap(old, new).weights(*weights), X)
        np.testing.assert_allclose(found, function(old, *weights, X), rtol=1e-10, err_msg=kinds)


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
@pytest.mark.parametrize("output", OUTPUTS)
def test_the_way_back_is_the_inverse(output, hidden):
    weights = weights_of(hidden)
    for kinds in permutations(KINDS, 2):
        old, new = (coordinates(kind, output) for kind in kinds)
        there = AffineMap(old, new).weights(*weights)
        assert_same_weights(AffineMap(new, old).weights(*there), weights)


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_map_is_that_by_way_of_any_other_coordinates(output, hidden):
    weights = weights_of(hidden)
    for kinds in permutations(KINDS, 3):
        a, b, c = (coordinates(kind, output) for kind in kinds)
        by_b = AffineMap(b, c).weights(*AffineMap(a, b).weights(*weights))
        assert_same_weights(AffineMap(a, c).weights(*weights), by_b)


@pytest.mark.parametrize("output", OUTPUTS)
def test_to_raw_leads_to_raw_units(output):
    weights = weights_of((4,))
    for kind in KINDS:
        old = coordinates(kind, output)
        to_raw = AffineMap(old, coordinates("raw", output))
        assert_same_weights(AffineMap.to_raw(old).weights(*weights), to_raw.weights(*weights))


def test_to_raw_divides_by_the_unit():
    coefs, intercepts = weights_of((4,))
    old = coordinates("max_abs", "identity")
    raw, _ = AffineMap.to_raw(old).weights(coefs, intercepts)
    np.testing.assert_array_equal(raw[0], coefs[0] / old.x_unit[:, None])


@pytest.mark.parametrize("output", OUTPUTS)
def test_units_that_stay_change_no_digit(output):
    weights = weights_of((4, 3))
    same = coordinates("max_abs", output)
    found = AffineMap(same, same).weights(*weights)
    for a, b in zip([*found[0], *found[1]], [*weights[0], *weights[1]], strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_are_new_and_of_float64():
    coefs, intercepts = weights_of((4,), np.float32)
    before = [part.copy() for part in (*coefs, *intercepts)]
    found = AffineMap(*(coordinates(kind, "identity") for kind in KINDS[1:3]))
    found = found.weights(coefs, intercepts)
    assert {part.dtype for part in (*found[0], *found[1])} == {np.dtype(float)}
    for a, b in zip((*coefs, *intercepts), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("output", OUTPUTS)
def test_weights_of_what_has_no_unit_yet_stay(output):
    coefs, intercepts = weights_of((4,))
    old = coordinates("max_abs", output)
    new = coordinates("other max_abs", output)
    unknown = AffineMap(
        old._replace(x_known=np.array([True, False, True]), y_known=np.array([False, True])), new
    )
    found, known = unknown.weights(coefs, intercepts)[0], AffineMap(old, new)
    np.testing.assert_array_equal(found[0][1], coefs[0][1])
    np.testing.assert_array_equal(found[1][:, 0], coefs[1][:, 0])
    expected = known.weights(coefs, intercepts)[0]
    np.testing.assert_array_equal(found[0][[0, 2]], expected[0][[0, 2]])
    np.testing.assert_array_equal(found[1][:, 1], expected[1][:, 1])
    assert unknown.noise_factor[0] == 1
    assert unknown.noise_factor[1] == known.noise_factor[1]


def jacobian_of(move, network):
    """d theta' / d theta, exact to rounding, as the map is affine."""

    def moved(theta):
        params = network.parameters(theta)
        return flat(network, move.weights(params.coefs, params.intercepts))

    origin = np.zeros(network.n_params)
    return np.array([moved(origin + row) - moved(origin) for row in np.eye(len(origin))]).T


def random_precision(n_params):
    root = np.random.RandomState(0).randn(n_params, n_params)
    return root @ root.T + np.eye(n_params)


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_precision_goes_with_the_jacobian_of_the_map(output, hidden):
    network = network_of(hidden, output)
    A = random_precision(network.n_params)
    given = A.copy()
    for kinds in permutations(KINDS, 2):
        move = AffineMap(*(coordinates(kind, output) for kind in kinds))
        inverse = np.linalg.inv(jacobian_of(move, network))
        expected = inverse.T @ A @ inverse
        found = move.precision(A, network, slice(None), at_inputs=True)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_array_equal(A, given)


@pytest.mark.parametrize(("hidden", "k"), list(product(HIDDEN, range(N_OUTPUTS))), ids=str)
@pytest.mark.parametrize("output", OUTPUTS)
def test_so_does_the_precision_of_one_output_of_the_last_layer(output, hidden, k):
    network = network_of(hidden, output)
    start, _ = network.layer_slice(len(hidden))
    own = slice(start + k, None, N_OUTPUTS)  # weights to the output, and its bias
    last = Network((network.layer_sizes[-2], 1), "logistic", output)
    A = random_precision(last.n_params)
    for kinds in permutations(KINDS, 2):
        move = AffineMap(*(coordinates(kind, output) for kind in kinds))
        inverse = np.linalg.inv(jacobian_of(move, network)[own, own])
        expected = inverse.T @ A @ inverse
        found = move.precision(A, last, slice(k, k + 1), at_inputs=not hidden)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("output", OUTPUTS)
def test_noise_is_a_variance_and_of_counts_a_variance_by_the_mean(output):
    old, new = coordinates("max_abs", output), coordinates("other max_abs", output)
    noise, f = np.array([0.5, 2.0]), np.array([3.0, 0.7])

    def variance(where, noise, f):
        """Of y, for outputs f."""
        return where.y_scale**2 * noise * (f if output == "exp" else 1)

    moved = f * old.y_scale / new.y_scale
    found = variance(new, noise * AffineMap(old, new).noise_factor, moved)
    np.testing.assert_allclose(found, variance(old, noise, f), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_hidden_units_are_replaced_in_the_precision_given(hidden, dtype):
    X = np.random.RandomState(1).randn(50, N_FEATURES)
    raw = coordinates("raw", "identity")
    weights = weights_of(hidden, dtype)
    found = with_hidden_units(*weights, TANH_FOR_SIGMOID)
    assert {part.dtype for part in (*found[0], *found[1])} == {np.dtype(dtype)}
    np.testing.assert_allclose(
        function(raw._replace(hidden=TANH_FOR_SIGMOID), *found, X),
        function(raw, *weights, X),
        rtol=100 * np.finfo(dtype).eps,
        atol=10 * np.finfo(dtype).eps,
    )


def test_sigmoid_seen_from_tanh():
    # tanh(z) = 2 sigma(2 z) - 1
    assert SAME_UNITS.seen_from(TANH_FOR_SIGMOID) == HiddenUnits(2.0, 2.0, -1.0)
    assert TANH_FOR_SIGMOID.seen_from(SAME_UNITS) == TANH_FOR_SIGMOID
    assert TANH_FOR_SIGMOID.seen_from(TANH_FOR_SIGMOID) == SAME_UNITS
