"""A fitted state that has been changed or cut short is an error, not another prediction."""

import copy
import io
import pickle
import warnings

import joblib
import numpy as np
import pytest

from sk_backprop import BackpropRegressor
from sk_backprop.export import to_expression, to_mlp_regressor

RNG = np.random.RandomState(0)
X = RNG.uniform(-1, 2, (60, 3))
Y = np.column_stack([np.sin(X[:, 0]) + X[:, 1], X[:, 2] ** 2]) + 0.1 * RNG.randn(60, 2)

SMALL = {"solver": "lbfgs", "alpha": 1.0, "tol": 0.5, "n_iter_no_change": 1, "random_state": 0}
MODELS = {
    "one network": {"hidden_layer_sizes": (4,)},
    "linear": {"hidden_layer_sizes": ()},
    "three deep networks": {"hidden_layer_sizes": (4, 2), "n_networks": 3},
    "last layer": {"hidden_layer_sizes": (400,)},
    "stream": {"hidden_layer_sizes": (4,), "solver": "adam"},
}


@pytest.fixture(scope="module")
def fitted():
    """Each model as a pickle."""
    models = {name: BackpropRegressor(**{**SMALL, **params}) for name, params in MODELS.items()}
    for name, model in models.items():
        for _ in range(2):
            (model.partial_fit if name == "stream" else model.fit)(X, Y)
    assert models["last layer"].uncertain_weights_ == "last_layer"
    return {name: pickle.dumps(model) for name, model in models.items()}


def setting(container, key, change):
    container[key] = change(container[key])


def with_value(value):
    """A change of one value of an array, the last."""

    def change(array):
        array = np.array(array)
        array.flat[-1] = value
        return array

    return change


def cut(array):
    return array[..., :-1]


def attribute(name, change):
    return lambda model: setattr(model, name, change(getattr(model, name)))


def in_list(name, number, change):
    return attribute(
        name, lambda old: [*old[: number % len(old)], change(old[number]), *old[number:][1:]]
    )


def in_state(*keys, change):
    def tamper(model):
        model._fit_state = container = copy.deepcopy(model._fit_state)
        for key in keys[:-1]:
            container = container[key]
        setting(container, keys[-1], change)

    return tamper


def without_state(*keys):
    def tamper(model):
        model._fit_state = container = copy.deepcopy(model._fit_state)
        for key in keys[:-1]:
            container = container[key]
        del container[keys[-1]]

    return tamper


def in_factor(change, key="units"):
    """A change of the first factor or, where it is rounded, of its units or codes."""

    def tamper(model):
        model._fit_state = copy.deepcopy(model._fit_state)
        factors = model._fit_state["posteriors"][0]["factors"]
        rounded = isinstance(factors[0], dict)
        setting(*((factors[0], key) if rounded else (factors, 0)), change)

    return tamper


def of_member(key, change):
    def tamper(model):
        model.members_ = copy.deepcopy(model.members_)
        setting(model.members_[0], key, change)

    return tamper


def in_scaler(change, name="scale_"):
    def tamper(model):
        model.scaler_ = copy.deepcopy(model.scaler_)
        setattr(model.scaler_, name, change(getattr(model.scaler_, name)))

    return tamper


NAN = with_value(np.nan)
# What is read by every prediction, and by those of standard deviations alone.
OF_MEAN = {
    "a unit less": in_list("coefs_", 0, cut),
    "an input less": in_list("coefs_", 0, lambda W: W[:-1]),
    "weights of one dimension": in_list("coefs_", 0, np.ravel),
    "transposed": in_list("coefs_", 0, np.transpose),
    "nan in the first weights": in_list("coefs_", 0, NAN),
    "nan in the last weights": in_list("coefs_", -1, NAN),
    "weights that are int": in_list("coefs_", 0, lambda W: W.astype(int)),
    "weights that are complex": in_list("coefs_", 0, lambda W: W.astype(complex)),
    "weights that are objects": in_list("coefs_", 0, lambda W: W.astype(object)),
    "weights that are a list": in_list("coefs_", 0, np.ndarray.tolist),
    "a layer less": attribute("coefs_", lambda old: old[1:]),
    "weights lost": attribute("coefs_", lambda old: None),
    "a bias less": in_list("intercepts_", 0, cut),
    "one bias for all": in_list("intercepts_", 0, lambda b: b[:1]),
    "biases of two dimensions": in_list("intercepts_", 0, lambda b: b[None]),
    "nan in the biases": in_list("intercepts_", 0, NAN),
    "biases of one layer less": attribute("intercepts_", lambda old: old[:-1]),
    "biases lost": lambda model: delattr(model, "intercepts_"),
    "a scale less": in_scaler(cut),
    "one scale for all": in_scaler(lambda scale: scale[:1]),
    "a scale of nan": in_scaler(NAN),
    "a scale of zero": in_scaler(with_value(0.0)),
    "a negative scale": in_scaler(with_value(-1.0)),
    "no scaler": attribute("scaler_", lambda old: None),
    "nan in y_location_": attribute("y_location_", NAN),
    "y_location_ of one target": attribute("y_location_", cut),
    "nan in y_scale_": attribute("y_scale_", NAN),
    "negative y_scale_": attribute("y_scale_", with_value(-1.0)),
    "zero y_scale_": attribute("y_scale_", with_value(0.0)),
    "y_scale_ of one target": attribute("y_scale_", cut),
    "more outputs": attribute("n_outputs_", lambda n: n + 1),
    "other layers": of_member("hidden_layer_sizes", lambda sizes: (*sizes, 7)),
    "other networks of a member": of_member("n_networks", lambda n: n + 1),
    "a member without weight": of_member("weight", lambda weight: 0.0),
    "a member with half the weight": of_member("weight", lambda weight: 0.5),
    "no members": lambda model: delattr(model, "members_"),
    "other networks": attribute("n_networks_", lambda n: n + 1),
    "another activation": in_state("activation", change=lambda name: "nope"),
    "another output": attribute("out_activation_", lambda name: None),
    "no activation": without_state("activation"),
    "no state": lambda model: delattr(model, "_fit_state"),
    "a state that is a list": attribute("_fit_state", list),
    "no output biases": without_state("output_intercepts"),
    "output biases of too many": in_state("output_intercepts", change=lambda old: [*old, old[0]]),
}
OF_STD = {
    "negative noise": in_state("posteriors", 0, "noise", change=with_value(-1e-3)),
    "noise of nan": in_state("posteriors", -1, "noise", change=NAN),
    "no noise": in_state("posteriors", 0, "noise", change=with_value(0.0)),
    "noise of one target": in_state("posteriors", 0, "noise", change=cut),
    "noise that is a number": in_state("posteriors", 0, "noise", change=lambda old: 0.5),
    "noise lost": without_state("posteriors", 0, "noise"),
    "a posterior less": in_state("posteriors", change=lambda old: old[1:]),
    "a posterior more": in_state("posteriors", change=lambda old: [*old, old[0]]),
    "posteriors lost": without_state("posteriors"),
    "nan in a factor": in_factor(NAN),
    "zero in a factor": in_factor(with_value(0.0)),
    "a factor cut short": in_factor(cut),
    "a factor of float16": in_factor(lambda array: array.astype(np.float16)),
    "no factors": in_state("posteriors", 0, "factors", change=lambda old: []),
    "other uncertain weights": in_state("posteriors", 0, "weights", change=lambda old: "some"),
    "means cut short": in_state("scales", "x_mean", change=cut),
    "a mean of nan": in_state("scales", "x_mean", change=NAN),
    "negative variance": in_state("scales", "x_var", change=with_value(-1.0)),
    "variance of nan": in_state("scales", "y_var", change=NAN),
    "negative unit": in_state("scales", "y_unit", change=with_value(-1.0)),
    "negative weight": in_state("scales", "weight", change=lambda w: -w),
    "scales lost": without_state("scales", "x_var"),
    "a largest value less": in_scaler(cut, "max_abs_"),
    "largest values of other scales": in_scaler(lambda largest: 2 * largest, "max_abs_"),
    "largest values lost": in_scaler(lambda largest: None, "max_abs_"),
}


def refused(call):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"^The fitted state of the estimator") as error:
            call()
    assert error.match("fit again, or load the model again")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("tampering", OF_MEAN)
def test_a_state_that_was_changed_is_refused_by_every_prediction(fitted, name, tampering):
    model = pickle.loads(fitted[name])
    OF_MEAN[tampering](model)
    if tampering == "weights lost":  # not fitted, by scikit-learn's rule, would be no attribute
        assert model.coefs_ is None
    for n_rows in (1, 60):
        refused(lambda n=n_rows: model.predict(X[:n]))
        refused(lambda n=n_rows: model.predict(X[:n], return_std=True))
        # No slope depends on the constant of the output.
        if tampering != "nan in y_location_" and (tampering, name) != (
            "nan in the biases",
            "linear",
        ):
            refused(lambda n=n_rows: model.gradient(X[:n]))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("tampering", OF_STD)
def test_a_state_that_was_changed_is_refused_by_standard_deviations(fitted, name, tampering):
    model = pickle.loads(fitted[name])
    mean = model.predict(X)
    OF_STD[tampering](model)
    np.testing.assert_array_equal(model.predict(X), mean)
    for n_rows in (1, 60):
        refused(lambda n=n_rows: model.predict(X[:n], return_std=True))


@pytest.mark.parametrize(
    "tamper",
    [
        in_factor(cut, "codes"),
        in_factor(lambda codes: codes[None], "codes"),
        in_factor(lambda codes: codes.astype(float), "codes"),
        in_factor(lambda codes: codes.astype(np.int8), "codes"),
        in_state("posteriors", 0, "factors", 0, change=lambda old: {"units": old["units"]}),
        in_state("posteriors", 0, "factors", 0, change=lambda old: list(old)),
    ],
)
def test_codes_of_a_rounded_factor_that_were_changed_are_refused(fitted, tamper):
    model = pickle.loads(fitted["last layer"])
    tamper(model)
    refused(lambda: model.predict(X, return_std=True))


@pytest.mark.parametrize("tampering", ["a unit less", "one bias for all", "a negative scale"])
@pytest.mark.parametrize("name", MODELS)
def test_what_else_reads_the_state_refuses_it(fitted, name, tampering):
    model = pickle.loads(fitted[name])
    OF_MEAN[tampering](model)
    before = joblib.hash(vars(model))
    refused(lambda: model.raw_coefs_)
    refused(lambda: model.raw_intercepts_)
    refused(lambda: to_mlp_regressor(model))
    refused(lambda: to_expression(model, max_length=10**6))
    refused(lambda: model.set_params(warm_start=True).fit(X, Y))
    model.set_params(warm_start=False, solver="adam")
    refused(lambda: model.partial_fit(X, Y))
    model.set_params(solver=pickle.loads(fitted[name]).solver)
    assert joblib.hash(vars(model)) == before


@pytest.mark.parametrize("name", MODELS)
def test_a_stored_model_that_was_not_changed_is_accepted(fitted, name):
    model = pickle.load(io.BytesIO(fitted[name]))
    for n_rows in (1, 60):
        assert all(np.isfinite(part).all() for part in model.predict(X[:n_rows], True))


def test_the_bias_of_an_average_is_that_of_its_networks(fitted):
    model = pickle.loads(fitted["three deep networks"])
    in_state("output_intercepts", -1, change=lambda b: b + 0.01)(model)
    refused(lambda: model.predict(X, return_std=True))


def test_results_beyond_the_range_of_float_are_no_fault_of_the_state(fitted):
    model = pickle.loads(fitted["linear"])
    with pytest.warns(RuntimeWarning, match="beyond the range"):
        assert not np.isfinite(model.predict([[1.7e308, 1.7e308, -1.7e308]])).all()
