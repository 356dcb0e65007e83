"""The Poisson loss: dispersion, evidence and trials, where counts are rare above all."""

import itertools
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from cases import slow
from likelihoods import likelihood
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import mean_poisson_deviance

from sk_backprop import BackpropRegressor
from sk_backprop._coordinates.scales import Scales
from sk_backprop._inference.evidence import Precisions, WeightGroups, reestimate
from sk_backprop._inference.laplace import Posterior
from sk_backprop._inference.objective import Objective
from sk_backprop._network.dispersion import PearsonSums
from sk_backprop._network.families import Poisson, SquaredError
from sk_backprop._network.network import Network, evaluate, lecun_bound
from sk_backprop._training import trials as _trials
from sk_backprop._training.problem import Data

# --- Pearson's statistic ---


def problem(n=40, n_outputs=2, loss="poisson"):
    rng = np.random.RandomState(0)
    network = Network((3, 4, n_outputs), "tanh", "exp" if loss == "poisson" else "identity")
    params = network.initial_parameters(rng, float, lecun_bound)
    X, w = rng.randn(n, 3), rng.uniform(0.5, 3, n)
    y = rng.poisson(1.5, (n, n_outputs)).astype(float)
    return (
        Objective(network, likelihood(loss, network), X, y, w),
        network,
        params,
        X,
        y,
        w,
    )


def fletchers(f, y, w):
    """sum w (y - f)^2 / f, divided by the mean of y / f: Fletcher 2012, by a loop."""
    squares = ratios = total = 0.0
    for fi, yi, wi in zip(f, y, w, strict=True):
        squares += wi * (yi - fi) ** 2 / fi
        ratios += wi * yi / fi
        total += wi
    return squares / (ratios / total)


def test_pearsons_statistic_of_counts_is_fletchers():
    objective, network, params, X, y, w = problem()
    f = evaluate(network, params.coefs, params.intercepts, X)
    expected = [fletchers(f[:, k], y[:, k], w) for k in range(2)]
    np.testing.assert_allclose(objective.pearson(params).value, expected, rtol=1e-12)
    np.testing.assert_allclose(objective.normal_equations(params).pearson, expected, rtol=1e-12)


def test_pearsons_statistic_of_squared_errors_is_twice_the_loss():
    objective, _, params, *_ = problem(loss="squared_error")
    for losses in (objective.losses(params), objective.normal_equations(params).loss):
        np.testing.assert_allclose(objective.pearson(params).value, 2 * losses, rtol=1e-14)
    normal = objective.normal_equations(params)
    np.testing.assert_array_equal(normal.pearson, 2 * normal.loss)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_rate_that_has_vanished_tells_the_dispersion_that_its_count_would_have(dtype):
    # A count y of mean f << y, and rows that say nothing: (y - f)^2 / f over y / f is y.
    for rate in (1e-30, 0.0):
        f, y = np.array([[rate, 1.0, 1.0]], dtype), np.array([[3.0, 1.0, 1.0]], dtype)
        sums = PearsonSums.of(*Poisson().pearson_terms(f, y), None)
        np.testing.assert_allclose(sums.value / 3, [3.0], rtol=1e-6)


def test_counts_of_zero_alone_tell_no_more_than_twice_their_rates():
    terms = Poisson().pearson_terms(np.full((1, 10), 0.2), np.zeros((1, 10)))
    sums = PearsonSums.of(*terms, None)
    np.testing.assert_allclose(sums.value / 10, [0.4])


@pytest.mark.parametrize("solver", ["lm", "lbfgs"])
@pytest.mark.parametrize("mean", [0.03, 0.3, 3.0])
def test_the_dispersion_of_counts_is_their_unit_however_rare_they_are(mean, solver):
    # y = 5 k with k Poisson has a variance of 5 times its mean.
    found = []
    for seed in range(30):
        rng = np.random.RandomState(seed)
        X, y = rng.randn(400, 2), 5.0 * rng.poisson(mean, 400)
        model = BackpropRegressor((), loss="poisson", solver=solver, alpha=1.0).fit(X, y)
        found.append(1 / model.noise_precision_[0])
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(5, abs=3 * error + 0.1)
    assert error < 0.25


def test_noise_by_rows_held_out_is_a_dispersion_without_preconditioning_too():
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (400, 2))
    y = rng.poisson(20 * np.exp(X[:, 0])).astype(float)
    model = BackpropRegressor(
        (5,), loss="poisson", solver="lbfgs", precondition=False, random_state=0
    ).fit(X, y)
    assert 1 / model.noise_precision_[0] == pytest.approx(1, rel=0.25)


# --- evidence ---


def test_counts_of_zero_have_no_density_in_the_evidence():
    objective, network, params, *_, y, w = problem()
    groups = WeightGroups.of(network, per_input=False)
    precisions = Precisions(np.array([0.5, 1.0, 2.0, 0.1]), np.array([3.0, 0.7]))
    normal = objective.normal_equations(params)
    prior = precisions.weight[groups.index]
    A = sum(
        beta * (np.tril(H) + np.tril(H, -1).T)
        for beta, H in zip(precisions.noise, normal.curvature, strict=True)
    ) + np.diag(prior)
    expected = (
        -precisions.noise @ normal.loss
        - 0.5 * prior @ params.flat**2
        - 0.5 * np.linalg.slogdet(A)[1]
        + 0.5 * np.log(prior).sum()
        + 0.5 * sum(w[y[:, k] > 0].sum() * np.log(precisions.noise[k] / 2 / np.pi) for k in (0, 1))
    )
    found = reestimate(params.flat, normal, groups, precisions, w.sum())
    assert found.log_evidence == pytest.approx(expected, rel=1e-12)
    free = w.sum() - found.n_effective
    np.testing.assert_allclose(found.next.noise, free / normal.pearson, rtol=1e-5)


def test_log_evidence_of_counts_in_another_unit():
    rng = np.random.RandomState(0)
    X = rng.randn(100, 2)
    y = rng.poisson(np.exp(X[:, 0] - 1)).astype(float)
    plain, scaled = (
        BackpropRegressor((3,), loss="poisson", n_networks=1, random_state=0).fit(X, unit * y)
        for unit in (1.0, 4.0)
    )
    shift = np.count_nonzero(y) * np.log(4)
    np.testing.assert_allclose(scaled.log_evidence_, plain.log_evidence_ - shift)
    np.testing.assert_array_equal(scaled.predict(X), 4 * plain.predict(X))


@pytest.mark.parametrize("precondition", [True, False])
def test_evidence_starts_with_the_dispersion_around_the_mean(precondition):
    rng = np.random.RandomState(0)
    y = np.column_stack([rng.poisson(0.1, 50), 7 * rng.poisson(3.0, 50), np.zeros(50)])
    scales = Scales.fit(np.ones((50, 1)), y, None, precondition=precondition, likelihood=Poisson())
    ours = scales.target(y, float)[:, :2]
    np.testing.assert_allclose(scales.dispersion, [*(ours.var(axis=0) / ours.mean(axis=0)), 1.0])
    others = Scales.fit(np.ones((50, 1)), y, None, precondition=True, likelihood=SquaredError())
    np.testing.assert_array_equal(others.dispersion, np.ones(3))


# --- trials ---


def of_rates(logs):
    """What is trained, as far as it is judged: linear models that predict exp(log) anywhere."""
    network = Network((1, 1), "identity", "exp")
    posterior = Posterior("none", [], np.ones(1), np.zeros(1), [])
    return [
        SimpleNamespace(
            params=network.pack([np.zeros((1, 1))], [[log]], float), posterior=posterior
        )
        for log in logs
    ]


def judged(logs, y, n_networks, weights=None):
    network = Network((1, 1), "identity", "exp")
    settings = SimpleNamespace(likelihood=Poisson(), network=network)
    scales = SimpleNamespace(solver_network=lambda network: network)
    rows = Data(np.zeros((len(y), 1)), y[:, None], weights)
    problem = SimpleNamespace(scales=scales)
    return _trials._score(settings, problem, of_rates(logs), rows, n_networks)


@pytest.mark.slow
def test_two_networks_are_judged_as_the_many_whose_average_will_be_taken():
    rng = np.random.RandomState(0)
    y = np.tile([0.0, 1.0, 6.0, 7.0], 10)  # none so near 3 that its deviance is small
    two, many, unchanged = [], [], []
    for logs in np.log(3.0) + 0.3 * rng.randn(2000, 12):
        two.append(judged(logs[:2], y, 12).errors)
        unchanged.append(judged(logs[:2], y, 2).errors)
        many.append(40 * mean_poisson_deviance(y, np.full(40, np.exp(logs.mean()))))
    assert np.mean(two) == pytest.approx(np.mean(many), rel=0.01)
    assert np.mean(unchanged) > 1.025 * np.mean(many)


def test_the_correction_for_averaging_takes_at_most_half_of_a_deviance():
    y = np.array([0.0, 1.0, 2.0])
    found, alone = (judged([-5.0, 9.0], y, k).errors for k in (12, 2))
    assert found == pytest.approx(alone / 2)


def test_weights_of_rows_that_judge_are_counts():
    y = np.array([0.0, 1.0, 0.0, 4.0])
    counts = np.array([3, 1, 2, 2])
    by_weight = judged([0.1, -0.2], y, 12, counts.astype(float))
    by_rows = judged([0.1, -0.2], np.repeat(y, counts), 12)
    for name in ("weight", "errors"):
        np.testing.assert_allclose(getattr(by_weight, name), getattr(by_rows, name))
    # But copies of a row, all on one side, make a judgement no more certain.
    assert by_weight.n_equivalent / by_rows.n_equivalent == pytest.approx(8**2 / 18 / 8)
    np.testing.assert_allclose(by_weight.pearson.value, by_rows.pearson.value)


@pytest.mark.parametrize("mean", [0.02, 50.0])
def test_rare_counts_judge_as_surely_as_fewer_rows(mean):
    # The deviance of a large count is a chi-square, of mean 1 and variance 2; of a rare one
    # its relative variance is larger, and its mean the less certain.
    y = np.random.RandomState(0).poisson(mean, 20_000).astype(float)
    found = judged([np.log(mean)], y, 1).n_equivalent / len(y)
    deviance = 2 * (np.where(y > 0, y * np.log(np.maximum(y, 1) / mean), 0) - y + mean)
    expected = 3 * deviance.mean() ** 2 / np.mean(deviance**2)
    assert found == pytest.approx(min(1.0, expected))
    assert found < 0.2 if mean < 1 else found > 0.95


def test_rates_beyond_the_range_are_judged_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for logs in ([1e5, 1e5], [-1e5, -1e5], [1e5, -1e5]):
            found = judged(logs, np.array([0.0, 2.0]), 12)
            assert np.isfinite(found.errors)
            assert found.errors > 1


# --- rare counts ---


def rare(n, log_mean, seed):
    rng = np.random.RandomState(seed)
    X = rng.uniform(-2, 2, (n + 3000, 3))
    mean = np.exp(0.5 * np.sin(2 * X[:, 0]) + 0.3 * X[:, 1] + log_mean)
    y = rng.poisson(mean).astype(float)
    return X[:n], y[:n], X[n:], y[n:]


def defaults_and_a_linear_model(n, log_mean, seed):
    """Of the defaults: the dispersion, the spread of new errors by their standard deviations,
    and how far the new deviance is above that of a linear model."""
    X, y, Xt, yt = rare(n, log_mean, seed)
    model = BackpropRegressor(loss="poisson", random_state=0).fit(X, y)
    linear = PoissonRegressor(alpha=1e-3).fit(X, y)
    mean, std = model.predict(Xt, return_std=True)
    above = mean_poisson_deviance(yt, mean) - mean_poisson_deviance(yt, linear.predict(Xt))
    return 1 / model.noise_precision_[0], np.std((yt - mean) / std), above


@pytest.mark.slow
@pytest.mark.parametrize(("n", "log_mean"), [(300, -4), (300, -3), (1000, -3), (1000, -2)])
def test_the_defaults_on_rare_counts_are_no_worse_than_a_linear_model(n, log_mean):
    # With n = 1000, log_mean = -3 networks were selected that predicted 1e16.
    for seed in range(2):
        dispersion, spread, above = defaults_and_a_linear_model(n, log_mean, seed)
        assert above < 0.01
        assert spread == pytest.approx(1, abs=0.2)
        assert dispersion == pytest.approx(1, abs=0.2)


def test_few_counts_among_many_zeros_are_not_predicted_exactly():
    # 16 of 300 rows, 51 parameters: rates of 1e11, with a dispersion of 1e-9.
    X, y, Xt, yt = rare(300, -3, 0)
    model = BackpropRegressor((10,), loss="poisson", random_state=0).fit(X, y)
    assert 1 / model.noise_precision_[0] == pytest.approx(1, abs=0.2)
    assert mean_poisson_deviance(yt, model.predict(Xt)) < 0.35  # of the mean of y: 0.30


def test_too_few_counts_above_0_cause_a_warning():
    X, y, *_ = rare(300, -4, 1)
    assert np.count_nonzero(y) == 4
    with pytest.warns(UserWarning, match=r"use \d effective parameters on 4 counts above 0"):
        BackpropRegressor((10,), loss="poisson", random_state=0).fit(X, y)


def test_few_counts_are_not_predicted_exactly_under_a_penalty_that_trials_select():
    # Two of 250: alpha=30 was chosen, with a dispersion of 0.016 and no warning.
    X, y = np.random.RandomState(5).uniform(-1, 1, (250, 3)), np.zeros(250)
    y[[10, 120]] = 1
    model = BackpropRegressor(loss="poisson", solver="lbfgs", random_state=0)
    with pytest.warns(UserWarning, match="on 2 counts above 0"):
        model.fit(X, y)
    assert model.alpha_ == 10_000
    assert 1 / model.noise_precision_[0] == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(model.predict(X), 0.008, rtol=0.05)


@pytest.mark.parametrize("mean", [0.02, 0.2])
def test_counts_of_pure_noise_have_their_dispersion_under_a_penalty_that_trials_choose(mean):
    for seed in range(3):
        rng = np.random.RandomState(seed)
        X, y = rng.uniform(-1, 1, (500, 3)), rng.poisson(mean, 500).astype(float)
        model = BackpropRegressor(loss="poisson", solver="lbfgs", random_state=0).fit(X, y)
        assert 1 / model.noise_precision_[0] == pytest.approx(1, abs=0.25)
        assert model.predict(X).max() < 3 * y.mean()


@pytest.mark.parametrize("solver", ["lm", "lbfgs"])
def test_few_counts_cause_a_warning_under_a_fixed_penalty(solver):
    rng = np.random.RandomState(0)
    X, y = rng.uniform(-1, 1, (300, 3)), rng.poisson(0.02, 300).astype(float)
    with pytest.warns(UserWarning, match=r"effective parameters on \d counts above 0"):
        BackpropRegressor((5,), loss="poisson", solver=solver, alpha=1.0, random_state=0).fit(X, y)


@pytest.mark.parametrize("size", [1, 10, 300])
def test_the_dispersion_of_a_stream_does_not_depend_on_its_batches(size):
    # Corrected batch by batch, it was 0.14 by rows and 0.53 by tens.
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (2500, 3))
    y = rng.poisson(0.05 * np.exp(X[:, 0])).astype(float)
    model = BackpropRegressor((3,), loss="poisson", n_networks=1, random_state=0)
    model.fit(X[:1000], y[:1000]).set_params(solver="adam", learning_rate_init=1e-9)
    for k in range(1000, 2500 if size > 1 else 1600, size):
        model.partial_fit(X[k : k + size], y[k : k + size])
    assert 1 / model.noise_precision_[0] == pytest.approx(1, abs=0.2)


def stream_of_counts(mean, batch, rate, momentum, n_rows=1500):
    """A stream by sgd: its largest prediction by the largest rate, its deviance, a constant's."""
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (n_rows + 1000, 3))
    f = mean * np.exp(X[:, 0] - X[:, 1] ** 2)
    y, new = rng.poisson(f).astype(float), slice(n_rows, None)
    options = {"learning_rate_init": rate, "momentum": momentum, "random_state": 0}
    model, largest = BackpropRegressor((10,), solver="sgd", loss="poisson", **options), 0.0
    for k in range(0, n_rows, batch):
        model.partial_fit(X[k : k + batch], y[k : k + batch])
        if k % 200 == 0:
            largest = max(largest, model.predict(X[new]).max() / f.max())
    constant = np.full(1000, y[:n_rows].mean())
    deviances = [mean_poisson_deviance(y[new], p) for p in (model.predict(X[new]), constant)]
    return largest, *deviances


@pytest.mark.parametrize(
    ("mean", "batch", "rate", "momentum"),
    [
        (0.05, 10, 0.1, 0.9),
        *slow([(0.05, 1, 0.01, 0.9), (1, 1, 0.1, 0), (0.05, 10, 0.1, 0)]),
    ],
)
def test_steps_by_rare_counts_do_not_throw_the_function_away(mean, batch, rate, momentum):
    # It became 1e20 and more times too large, where no row of a batch showed it.
    largest, deviance, of_constant = stream_of_counts(mean, batch, rate, momentum)
    assert largest < 20
    assert deviance < 1.7 * of_constant


def print_defaults():
    """Tables of many sizes and rates."""
    # Part of the script, not a test: the tables with few counts above 0, for which fit warns of
    # too many effective parameters, are among those it prints.
    warnings.filterwarnings("ignore", "The networks use", UserWarning)
    for n, log_mean in itertools.product((300, 1000, 3000), range(-4, 4)):
        found = np.array([defaults_and_a_linear_model(n, log_mean, seed) for seed in range(2)])
        dispersion, spread, above = found.T.round(3).tolist()
        print(
            f"{n:4d} rows, mean {np.exp(log_mean):6.3f}: dispersion {dispersion}, errors {spread} "
            f"standard deviations, deviance above a linear model's {above}",
            flush=True,
        )


def print_streams():
    """Streams by sgd."""
    for mean, batch, rate, momentum in itertools.product(
        (0.05, 1, 20, 1000), (1, 10, 100), (0.001, 0.01, 0.1), (0, 0.9)
    ):
        found = stream_of_counts(mean, batch, rate, momentum, n_rows=3000)
        print(
            f"mean {mean:<5} batch {batch:<4} rate {rate:<6} momentum {momentum:<4} largest "
            "prediction by rate {:.2g}, deviance {:.4g} (constant {:.4g})".format(*found)
        )


if __name__ == "__main__":
    print_streams()
    print_defaults()
