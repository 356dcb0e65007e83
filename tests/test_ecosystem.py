"""In the company of scikit-learn, pandas and joblib, on the data sets that come with it."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
import sklearn
from cases import slow
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_linnerud
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - the import enables it
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    ParameterGrid,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sk_backprop import BackpropRegressor

PARAMS = {
    "hidden_layer_sizes": (5,),
    "solver": "lbfgs",
    "alpha": 10.0,
    "max_iter": 1000,
    "tol": 1e-4,
    "n_iter_no_change": 10,
    "random_state": 0,
}
FOLDS = KFold(3, shuffle=True, random_state=0)


def network(**params):
    return BackpropRegressor(**{**PARAMS, **params})


def manual_scores(estimator, X, y, sample_weight=None):
    """R^2 of each fold, by direct fits and the formula."""
    w = np.ones(len(y)) if sample_weight is None else sample_weight
    scores = []
    for train, test in FOLDS.split(X):
        fitted = clone(estimator).fit(
            X[train], y[train], sample_weight=None if sample_weight is None else w[train]
        )
        residual = y[test] - fitted.predict(X[test])
        spread = y[test] - np.average(y[test], weights=w[test])
        scores.append(1 - np.sum(w[test] * residual**2) / np.sum(w[test] * spread**2))
    return np.array(scores)


@pytest.fixture(scope="module")
def frame():
    """Diabetes as a data frame, with sex a column of names."""
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    return X.assign(sex=np.where(X["sex"] == 1, "one", "two")), y


@pytest.fixture(scope="module")
def weights(diabetes):
    """Weights that favour patients of high score."""
    return 0.1 + (diabetes[1] > 150)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


# --- pandas and pipelines ---


def preprocessing():
    return ColumnTransformer(
        [("sex", OneHotEncoder(sparse_output=False), ["sex"])], remainder="passthrough"
    )


def test_pipeline_with_a_categorical_column(frame):
    X, y = frame
    pipeline = make_pipeline(preprocessing(), network())
    by_hand = np.column_stack([X["sex"] == "one", X["sex"] == "two", X.drop(columns="sex")])
    direct = network().fit(by_hand.astype(float), y)
    np.testing.assert_array_equal(
        pipeline.fit(X, y).predict(X), direct.predict(by_hand.astype(float))
    )
    score = cross_val_score(pipeline, X, y, cv=FOLDS).mean()
    chance = cross_val_score(DummyRegressor(), X, y, cv=FOLDS).mean()
    linear = cross_val_score(make_pipeline(preprocessing(), Ridge()), X, y, cv=FOLDS).mean()
    assert score > chance + 0.4
    assert score > linear - 0.05


def test_pandas_output_within_a_pipeline(frame):
    X, y = frame
    pipeline = make_pipeline(preprocessing(), StandardScaler(), network())
    plain = clone(pipeline).fit(X, y)
    assert not hasattr(plain[-1], "feature_names_in_")
    pipeline.set_output(transform="pandas").fit(X, y)
    names = ["sex__sex_one", "sex__sex_two"]
    names += [f"remainder__{name}" for name in X.columns if name != "sex"]
    assert pipeline[-1].feature_names_in_.tolist() == names
    assert pipeline[-1].n_features_in_ == 11
    # Not bit for bit: StandardScaler's mean depends on the order in memory.
    np.testing.assert_allclose(pipeline.predict(X), plain.predict(X), rtol=1e-9)


def test_data_frames_give_what_arrays_give():
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    of_frame = network().fit(X, y)
    of_array = network().fit(X.to_numpy(), y.to_numpy())
    assert of_frame.feature_names_in_.tolist() == X.columns.tolist()
    assert not hasattr(of_array, "feature_names_in_")
    np.testing.assert_array_equal(of_frame.predict(X), of_array.predict(X.to_numpy()))
    mixed = X.astype({"age": int, "sex": "category", "bmi": "float32", "s6": "Float64"})
    single = X.assign(bmi=X["bmi"].astype("float32"))
    np.testing.assert_allclose(
        network(categorical_features=None).fit(mixed, y).predict(mixed),
        network().fit(single, y).predict(single),
    )


@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_two_targets_of_a_data_frame(solver):
    X, Y = load_linnerud(return_X_y=True, as_frame=True)
    fitted = network(solver=solver, alpha=0.1).fit(X, Y)
    prediction = fitted.predict(X)
    assert prediction.shape == Y.shape
    np.testing.assert_array_equal(
        prediction, clone(fitted).fit(X.to_numpy(), Y.to_numpy()).predict(X.to_numpy())
    )
    scores = [r2_score(Y[name], prediction[:, i]) for i, name in enumerate(Y.columns)]
    assert fitted.score(X, Y) == pytest.approx(np.mean(scores), rel=1e-12)
    assert min(scores) > 0.1  # the mean of every target would have 0


# --- model selection ---


def test_cross_val_score(diabetes):
    X, y = diabetes
    scores = cross_val_score(network(), X, y, cv=FOLDS)
    np.testing.assert_allclose(scores, manual_scores(network(), X, y), rtol=1e-12)
    chance = cross_val_score(DummyRegressor(), X, y, cv=FOLDS)
    assert np.all(scores > chance + 0.4)


def test_cross_validate_returns_estimators(diabetes):
    X, y = diabetes
    result = cross_validate(
        network(), X, y, cv=FOLDS, return_estimator=True, scoring=("r2", "neg_mean_absolute_error")
    )
    for (train, test), fitted, r2, mae in zip(
        FOLDS.split(X),
        result["estimator"],
        result["test_r2"],
        -result["test_neg_mean_absolute_error"],
        strict=True,
    ):
        direct = network().fit(X[train], y[train])
        np.testing.assert_array_equal(fitted.predict(X), direct.predict(X))
        assert r2 == pytest.approx(fitted.score(X[test], y[test]), rel=1e-12)
        assert mae == pytest.approx(np.abs(y[test] - direct.predict(X[test])).mean(), rel=1e-12)


def test_grid_search(diabetes):
    X, y = diabetes
    grid = {"alpha": [10.0, 1e6], "hidden_layer_sizes": [(5,), 3, [4, 3]]}
    search = GridSearchCV(network(), grid, cv=FOLDS, error_score="raise").fit(X, y)
    expected = [manual_scores(network(**p), X, y).mean() for p in ParameterGrid(grid)]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected, rtol=1e-12)
    assert search.best_params_ == ParameterGrid(grid)[int(np.argmax(expected))]
    assert search.best_params_["alpha"] == 10  # the other allows a constant at most
    direct = network(**search.best_params_).fit(X, y)
    np.testing.assert_array_equal(search.predict(X), direct.predict(X))


def test_every_parameter_name_of_mlp_regressor_in_a_grid(diabetes):
    X, y = diabetes
    theirs = MLPRegressor().get_params()
    assert set(theirs) <= set(BackpropRegressor().get_params())
    base = network(tol=0.5, n_iter_no_change=1)  # stops early, with any solver
    grid = [{name: [value]} for name, value in theirs.items()]
    search = GridSearchCV(base, grid, cv=FOLDS, error_score="raise", refit=False).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == len(theirs)
    for (name, value), score in zip(theirs.items(), scores, strict=True):
        if name != "random_state":
            direct = clone(base).set_params(**{name: value})
            assert score == pytest.approx(manual_scores(direct, X, y).mean(), rel=1e-12), name


def test_halving_grid_search(diabetes):
    X, y = diabetes
    grid = {"net__alpha": [1e6, 10.0, 1e5], "net__activation": ["relu", "logistic"]}
    pipeline = Pipeline([("scale", StandardScaler()), ("net", network())])
    search = HalvingGridSearchCV(
        pipeline, grid, cv=3, min_resources=100, factor=2, random_state=0, error_score="raise"
    ).fit(X, y)
    assert search.n_resources_ == [100, 200, 400]
    assert search.best_params_["net__alpha"] == 10
    last = pd.DataFrame(search.cv_results_).query("iter == 2")
    assert search.best_score_ == last["mean_test_score"].max()
    assert search.best_score_ > 0.4
    direct = clone(pipeline).set_params(**search.best_params_).fit(X, y)
    np.testing.assert_array_equal(search.predict(X), direct.predict(X))


@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_two_processes_find_what_one_finds(diabetes, solver):
    X, y = diabetes
    grid = {"alpha": [1.0, 10.0], "activation": ["logistic", "relu"]}
    one, two = (
        GridSearchCV(
            network(solver=solver), grid, cv=FOLDS, n_jobs=n_jobs, error_score="raise"
        ).fit(X, y)
        for n_jobs in (1, 2)
    )
    for fold in range(3):
        name = f"split{fold}_test_score"
        np.testing.assert_allclose(one.cv_results_[name], two.cv_results_[name], rtol=1e-9)
    assert len(set(one.cv_results_["mean_test_score"])) == 4
    np.testing.assert_array_equal(one.predict(X), two.predict(X))


def test_learning_curve(diabetes):
    X, y = diabetes
    sizes, train_scores, test_scores = learning_curve(
        network(), X, y, cv=FOLDS, train_sizes=[40, 280], error_score="raise"
    )
    assert sizes.tolist() == [40, 280]
    for fold, (train, test) in enumerate(FOLDS.split(X)):
        for i, size in enumerate(sizes):
            rows = train[:size]
            direct = network().fit(X[rows], y[rows])
            assert train_scores[i, fold] == pytest.approx(direct.score(X[rows], y[rows]), rel=1e-12)
            assert test_scores[i, fold] == pytest.approx(direct.score(X[test], y[test]), rel=1e-12)
    gap = (train_scores - test_scores).mean(axis=1)
    assert gap[1] < gap[0]


def test_learning_curve_by_partial_fit(diabetes):
    X, y = diabetes
    stream = network(solver="adam", learning_rate_init=0.01, batch_size=10)
    _, _, test_scores = learning_curve(
        stream, X, y, cv=FOLDS, train_sizes=[90, 180, 270], exploit_incremental_learning=True
    )
    for fold, (train, test) in enumerate(FOLDS.split(X)):
        direct = clone(stream)
        for i in range(3):
            rows = train[90 * i : 90 * (i + 1)]
            direct.partial_fit(X[rows], y[rows])
            assert test_scores[i, fold] == pytest.approx(direct.score(X[test], y[test]), rel=1e-12)


# --- estimators of estimators ---


def test_transformed_target(diabetes):
    X, y = diabetes
    wrapped = TransformedTargetRegressor(network(), func=np.log, inverse_func=np.exp).fit(X, y)
    expected = np.exp(network().fit(X, np.log(y)).predict(X))
    np.testing.assert_allclose(wrapped.predict(X), expected, rtol=1e-13)
    assert wrapped.score(X, y) > 0.4


@pytest.mark.parametrize(
    ("params", "n_estimators"),
    [
        ({}, 30),
        *slow(
            [({"hidden_layer_sizes": (3,), "solver": "lm", "alpha": "auto", "n_networks": 1}, 20)]
        ),
    ],
    ids=["lbfgs", "evidence"],
)
def test_bagging(diabetes, params, n_estimators):
    X, y = diabetes
    base = network(**params)
    bag = BaggingRegressor(base, n_estimators=n_estimators, oob_score=True, random_state=0)
    bag.fit(X, y)
    each = np.array([fitted.predict(X) for fitted in bag.estimators_])
    np.testing.assert_allclose(bag.predict(X), each.mean(axis=0), rtol=1e-12)
    left_out = np.ones_like(each, dtype=bool)
    for i, rows in enumerate(bag.estimators_samples_):
        left_out[i, rows] = False
    out_of_bag = np.sum(each * left_out, axis=0) / left_out.sum(axis=0)
    assert bag.oob_score_ == pytest.approx(r2_score(y, out_of_bag), rel=1e-12)
    assert bag.oob_score_ > 0.4
    # As many networks as there are seeds and samples, each fitted to its own.
    assert len({fitted.loss_ for fitted in bag.estimators_}) == n_estimators
    for fitted, rows in zip(bag.estimators_[:3], bag.estimators_samples_):
        direct = clone(fitted).fit(X[rows], y[rows])
        # Rows drawn again, or weighted by how often: the same fit.
        np.testing.assert_array_equal(direct.predict(X), fitted.predict(X))


def test_stacking(diabetes):
    X, y = diabetes
    stack = StackingRegressor(
        [("net", network()), ("ridge", Ridge())], final_estimator=LinearRegression(), cv=FOLDS
    ).fit(X, y)
    features = np.column_stack(
        [cross_val_predict(estimator, X, y, cv=FOLDS) for estimator in (network(), Ridge())]
    )
    final = LinearRegression().fit(features, y)
    np.testing.assert_allclose(stack.final_estimator_.coef_, final.coef_, rtol=1e-9)
    whole = np.column_stack([network().fit(X, y).predict(X), Ridge().fit(X, y).predict(X)])
    np.testing.assert_allclose(stack.predict(X), final.predict(whole), rtol=1e-9)


def test_multi_output_regressor_is_one_network_a_target():
    X, Y = load_linnerud(return_X_y=True)
    wrapped = MultiOutputRegressor(network()).fit(X, Y)
    expected = [network().fit(X, y).predict(X) for y in Y.T]
    np.testing.assert_array_equal(wrapped.predict(X), np.column_stack(expected))


# --- inspection ---


def test_permutation_importance():
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X = X.assign(constant=7.0)
    fitted = network().fit(X, y)
    found = permutation_importance(fitted, X, y, n_repeats=5, random_state=0)
    assert found.importances[-1].tolist() == [0] * 5
    # Body mass and the logarithm of triglycerides (Efron et al. 2004, section 1).
    assert set(X.columns[np.argsort(found.importances_mean)[-2:]]) == {"bmi", "s5"}
    rng = np.random.RandomState(1)
    drops = []
    for _ in range(20):
        shuffled = X.assign(bmi=rng.permutation(X["bmi"]))
        drops.append(fitted.score(X, y) - fitted.score(shuffled, y))
    at = X.columns.get_loc("bmi")
    assert found.importances_mean[at] == pytest.approx(np.mean(drops), abs=4 * np.std(drops))


def test_partial_dependence_display():
    matplotlib.use("Agg")
    from matplotlib import pyplot

    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    fitted = network().fit(X, y)
    display = PartialDependenceDisplay.from_estimator(fitted, X, ["bmi", "s5"], grid_resolution=9)
    for name, line in zip(["bmi", "s5"], display.lines_.ravel(), strict=True):
        grid, average = line.get_data()
        assert len(grid) == 9
        expected = [fitted.predict(X.assign(**{name: value})).mean() for value in grid]
        np.testing.assert_allclose(average, expected, rtol=1e-12)
        assert average[-1] > average[0] + 30  # both are known to raise the score
    pyplot.close(display.figure_)


# --- weights and validation data, by way of metadata routing ---


def test_weights_in_score(diabetes, weights):
    X, y = diabetes
    fitted = network().fit(X, y)
    residual, spread = y - fitted.predict(X), y - np.average(y, weights=weights)
    expected = 1 - np.sum(weights * residual**2) / np.sum(weights * spread**2)
    assert fitted.score(X, y, sample_weight=weights) == pytest.approx(expected, rel=1e-12)
    assert abs(expected - fitted.score(X, y)) > 0.01
    X, Y = load_linnerud(return_X_y=True)
    w = np.arange(1.0, 21)
    fitted = network().fit(X, Y)
    expected = np.mean(
        [r2_score(Y[:, i], fitted.predict(X)[:, i], sample_weight=w) for i in (0, 1, 2)]
    )
    assert fitted.score(X, Y, sample_weight=w) == pytest.approx(expected, rel=1e-12)


def test_weights_by_the_step_name(diabetes, weights):
    X, y = diabetes
    pipeline = make_pipeline(StandardScaler(), network())
    pipeline.fit(X, y, backpropregressor__sample_weight=weights)
    scaled = StandardScaler().fit_transform(X)
    direct = network().fit(scaled, y, weights)
    np.testing.assert_array_equal(pipeline.predict(X), direct.predict(scaled))


@pytest.mark.usefixtures("routing")
def test_weights_through_a_pipeline(diabetes, weights):
    X, y = diabetes
    net = network().set_fit_request(sample_weight=True)
    pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), net)
    weighted = clone(pipeline).fit(X, y, sample_weight=weights).predict(X)
    scaled = StandardScaler().fit_transform(X)
    direct = network().fit(scaled, y, weights)
    np.testing.assert_array_equal(weighted, direct.predict(scaled))
    # Patients of high score weigh eleven times the others.
    assert weighted.mean() > clone(pipeline).fit(X, y).predict(X).mean() + 20


@pytest.mark.usefixtures("routing")
def test_weights_through_cross_validate(diabetes, weights):
    X, y = diabetes
    net = network().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    result = cross_validate(
        net, X, y, cv=FOLDS, params={"sample_weight": weights}, error_score="raise"
    )
    expected = manual_scores(network(), X, y, weights)
    np.testing.assert_allclose(result["test_score"], expected, rtol=1e-12)
    assert np.all(np.abs(expected - manual_scores(network(), X, y)) > 0.01)


@pytest.mark.usefixtures("routing")
def test_weights_through_grid_search(diabetes, weights):
    X, y = diabetes
    net = network().set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
    search = GridSearchCV(net, {"alpha": [10.0, 1e6]}, cv=FOLDS, error_score="raise")
    search.fit(X, y, sample_weight=weights)
    direct = network(alpha=search.best_params_["alpha"]).fit(X, y, weights)
    np.testing.assert_array_equal(search.predict(X), direct.predict(X))


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_validation_data_through_a_pipeline(diabetes, solver):
    X, y = diabetes
    stopping = network(solver=solver, alpha=0.0, early_stopping=True)
    net = clone(stopping).set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
    pipeline = Pipeline([("scale", StandardScaler()), ("net", net)], transform_input=["X_val"])
    w = np.linspace(1, 2, 142)
    pipeline.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:], sample_weight_val=w)
    scaler = StandardScaler().fit(X[:300])
    train, validation = scaler.transform(X[:300]), scaler.transform(X[300:])
    direct = stopping.fit(train, y[:300], X_val=validation, y_val=y[300:], sample_weight_val=w)
    fitted = pipeline[-1]
    assert fitted.validation_scores_ == direct.validation_scores_
    assert fitted.validation_loss_curve_ == direct.validation_loss_curve_
    np.testing.assert_array_equal(pipeline.predict(X), direct.predict(scaler.transform(X)))
    # It stopped where these very data are predicted best.
    best = direct.score(validation, y[300:], sample_weight=w)
    assert best == pytest.approx(max(fitted.validation_scores_), abs=1e-9)
    assert fitted.best_validation_score_ == pytest.approx(best, abs=1e-9)
    assert fitted.best_iter_ < fitted.n_iter_


# --- copies ---


def test_clone(diabetes):
    X, y = diabetes
    fitted = network().fit(X, y)
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    assert set(vars(copied)) == set(fitted.get_params())
    with pytest.raises(NotFittedError):
        copied.predict(X)
    np.testing.assert_array_equal(copied.fit(X, y).predict(X), fitted.predict(X))
    assert copied.coefs_[0] is not fitted.coefs_[0]
