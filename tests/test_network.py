"""The network: parameter layout, initial weights, activations, forward, prediction."""

import numpy as np
import pytest
from reference import FUNCTIONS, SLOPES, forward_row

from sk_backprop._network.network import (
    ACTIVATIONS,
    Network,
    Workspace,
    evaluate,
    forward,
    glorot_bound,
    lecun_bound,
)


def test_parameters_are_views_of_one_vector_in_the_documented_order():
    network = Network((2, 3, 1), "logistic", "identity")
    flat = np.arange(13.0)
    params = network.parameters(flat)
    assert network.n_params == 13
    np.testing.assert_array_equal(params.coefs[0], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(params.intercepts[0], [6, 7, 8])
    np.testing.assert_array_equal(params.coefs[1], [[9], [10], [11]])
    np.testing.assert_array_equal(params.intercepts[1], [12])
    params.coefs[1][...] = -1
    np.testing.assert_array_equal(flat[9:12], [-1, -1, -1])


def test_pack_copies_and_refuses_a_missing_layer():
    network = Network((1, 2, 1), "tanh", "identity")
    coefs, intercepts = [np.ones((1, 2)), np.ones((2, 1))], [np.zeros(2), np.zeros(1)]
    packed = network.pack(coefs, intercepts, np.float32)
    packed.flat[...] = 5
    assert packed.flat.dtype == np.float32
    assert coefs[0].max() == 1
    with pytest.raises(ValueError, match="zip"):
        network.pack(coefs, intercepts[:1], float)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_and_slopes(name):
    z = np.array([[-30.0, -2.0, -0.5, 0.3, 1.0, 20.0]])
    h, delta = z.copy(), np.full_like(z, 3.0)
    ACTIVATIONS[name].apply(h)
    ACTIVATIONS[name].times_slope(delta, h, np.empty_like(z))
    expected_h = [FUNCTIONS[name](value) for value in z[0]]
    expected_slope = [3 * SLOPES[name](value) for value in z[0]]
    np.testing.assert_allclose(h[0], expected_h, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(delta[0], expected_slope, rtol=1e-9, atol=1e-15)


def test_sigmoid_of_huge_sums_is_finite():
    z = np.array([[-1e300, 1e300, -1e4, 1e4]])
    ACTIVATIONS["logistic"].apply(z)
    np.testing.assert_array_equal(z, [[0, 1, 0, 1]])


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("output_activation", ["identity", "logistic", "exp"])
def test_forward_equals_a_loop_over_neurons(activation, output_activation):
    rng = np.random.RandomState(0)
    network = Network((3, 4, 2, 2), activation, output_activation)
    params = network.initial_parameters(rng, float, lecun_bound)
    X = rng.randn(5, 3)
    expected = [
        forward_row(params.coefs, params.intercepts, activation, output_activation, x)[1][-1]
        for x in X
    ]
    fast = forward(network, params, X, Workspace(network, 5, float))
    np.testing.assert_allclose(fast.T, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(
        evaluate(network, params.coefs, params.intercepts, X), expected, rtol=1e-12, atol=1e-15
    )


def test_training_pass_writes_into_the_workspace():
    network = Network((3, 4, 1), "tanh", "identity")
    params = network.initial_parameters(np.random.RandomState(0), float, lecun_bound)
    work = Workspace(network, 6, float)
    arrays = [*work.h, *work.delta, *work.scratch]
    output = forward(network, params, np.ones((6, 3)), work)
    assert output is work.h[-1]
    assert all(a is b for a, b in zip(arrays, [*work.h, *work.delta, *work.scratch]))


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (glorot_bound("logistic"), [np.sqrt(2 / 70), np.sqrt(2 / 41)]),
        (glorot_bound("tanh"), [np.sqrt(6 / 70), np.sqrt(6 / 41)]),
        (lecun_bound, [np.sqrt(3 / 30), np.sqrt(3 / 40)]),
    ],
)
def test_initial_weights_fill_their_interval(bound, expected):
    network = Network((30, 40, 1), "tanh", "identity")
    params = network.initial_parameters(np.random.RandomState(0), float, bound)
    for W, b, limit in zip(params.coefs, params.intercepts, expected, strict=True):
        assert np.abs(W).max() <= limit
        assert np.abs(b).max() <= limit
        assert np.abs(W).max() > 0.9 * limit
    # A uniform variable on (-b, b) has variance b^2 / 3.
    assert params.coefs[0].var() == pytest.approx(expected[0] ** 2 / 3, rel=0.1)


def test_initial_weights_are_the_same_numbers_in_float32():
    network = Network((3, 4, 1), "logistic", "identity")
    double = network.initial_parameters(np.random.RandomState(3), np.float64, lecun_bound)
    single = network.initial_parameters(np.random.RandomState(3), np.float32, lecun_bound)
    np.testing.assert_array_equal(single.flat, double.flat.astype(np.float32))
