"""Data frames and missing values: what each column becomes, against encodings written by hand."""

import datetime
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_selection import SelectFromModel
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sk_backprop import BackpropRegressor

N = 60
RNG = np.random.RandomState(0)
DAY_ZERO = pd.Timestamp("2023-01-01")


def small(**params):
    defaults = {"hidden_layer_sizes": (2,), "solver": "lbfgs", "alpha": 1.0, "random_state": 0}
    return BackpropRegressor(**defaults | {"tol": 0.1} | params)


def some_rows(n_rows=N, seed=0):
    """A table of every kind of column, and a target that depends on all of them."""
    rng = np.random.RandomState(seed)
    days = rng.randint(0, 1500, n_rows) + rng.uniform(size=n_rows).round(3)
    frame = pd.DataFrame(
        {
            "size": rng.normal(50, 10, n_rows),
            "count": rng.randint(0, 9, n_rows),
            "city": rng.choice(["Bonn", "Köln", "Ulm"], n_rows),
            "grade": pd.Categorical(rng.choice(["low", "high"], n_rows), ["low", "mid", "high"]),
            "open": rng.uniform(size=n_rows) < 0.4,
            "sold": DAY_ZERO + pd.to_timedelta((days * 86400e6).round(), unit="us"),
            "waited": pd.to_timedelta(rng.randint(1, 90, n_rows), unit="s"),
        }
    )
    y = frame["size"] + 9 * (frame["city"] == "Ulm") + 3 * frame["open"] + days / 200
    return frame, y.to_numpy() + 4 * (frame["grade"] == "high") + rng.normal(size=n_rows)


FRAME, Y = some_rows()


def by_hand(frame):
    """The inputs of FRAME's columns."""
    days = (frame["sold"] - pd.Timestamp("1970-01-01")).dt.total_seconds() / 86400
    first = np.floor(
        ((FRAME["sold"] - pd.Timestamp("1970-01-01")).dt.total_seconds() / 86400).min()
    )
    one_hot = [frame["city"] == city for city in ("Bonn", "Köln", "Ulm")]
    one_hot += [frame["grade"] == grade for grade in ("high", "low")]
    angle = 2 * np.pi * days / 365.2425
    phases = [np.sin(angle), np.cos(angle)]
    waited = frame["waited"].dt.total_seconds()
    columns = [
        frame["size"],
        frame["count"],
        *one_hot,
        frame["open"],
        days - first,
        *phases,
        waited,
    ]
    return np.column_stack(columns).astype(float)


NAMES = [
    *("size", "count", "city=Bonn", "city=Köln", "city=Ulm", "grade=high", "grade=low", "open"),
    *("sold (days)", "sold (sin of year)", "sold (cos of year)", "waited"),
]


# --- what each column becomes ---


def test_a_table_is_the_array_that_one_would_make_of_it():
    model, expected = small().fit(FRAME, Y), small().fit(by_hand(FRAME), Y)
    assert list(model.encoded_feature_names_) == NAMES
    assert model.feature_names_in_.tolist() == list(FRAME)
    assert model.n_features_in_ == 7
    new, _ = some_rows(seed=1)
    np.testing.assert_allclose(model.encode(new), by_hand(new), rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(model.predict(new), expected.predict(by_hand(new)), rtol=1e-6)
    np.testing.assert_allclose(model.scaler_.max_abs_, np.abs(by_hand(FRAME)).max(axis=0))
    assert model.coefs_[0].shape == (len(NAMES), 2)


FRAMES = {
    "pandas, by Arrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "pandas, nullable": lambda frame: frame.convert_dtypes(),
    "pandas, other categories": lambda frame: frame.astype(
        {"grade": pd.CategoricalDtype(["high", "none", "low"]), "city": "category"}
    ),
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "record batch": lambda frame: pa.RecordBatch.from_pandas(frame, preserve_index=False),
}


@pytest.mark.parametrize("library", FRAMES)
def test_the_library_and_its_dtypes_do_not_matter(library):
    model = small().fit(FRAME, Y)
    other = small().fit(FRAMES[library](FRAME), Y)
    assert list(other.encoded_feature_names_) == NAMES
    np.testing.assert_array_equal(other.predict(FRAME), model.predict(FRAME))
    np.testing.assert_array_equal(model.predict(FRAMES[library](FRAME)), model.predict(FRAME))


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_the_unit_and_the_time_zone_of_a_date_do_not_matter(unit, zone):
    frame = FRAME.assign(sold=FRAME["sold"].dt.floor("s"))
    dates = frame["sold"].dt.as_unit(unit)
    if zone:
        dates = dates.dt.tz_localize("UTC").dt.tz_convert(zone)
    other = frame.assign(sold=dates, waited=frame["waited"].dt.as_unit(unit))
    model = small().fit(frame, Y)
    np.testing.assert_allclose(model.encode(other), model.encode(frame), rtol=1e-12, atol=1e-9)
    objects = frame.assign(sold=pd.Series([date.to_pydatetime() for date in dates], dtype=object))
    np.testing.assert_allclose(model.encode(objects), model.encode(frame), rtol=1e-12, atol=1e-9)


def test_dates_without_a_time_of_day():
    dates = [datetime.date(2020, 1, 1) + datetime.timedelta(3 * day) for day in range(N)]
    of_dates = pd.DataFrame({"a": np.arange(N) % 7, "b": pd.Series(dates, dtype=object)})
    of_stamps = of_dates.assign(b=pd.to_datetime(of_dates["b"]))
    model = small().fit(of_stamps, Y)
    np.testing.assert_array_equal(model.encode(of_dates), model.encode(of_stamps))
    np.testing.assert_array_equal(model.encode(pl.DataFrame(of_dates)), model.encode(of_stamps))


PERIODS = {
    "two years of days": (2 * 365, 1.0, ["year", "week"]),
    "ten days of hours": (10 * 24, 1 / 24, ["day"]),
    "two months of six hours": (60 * 4, 0.25, ["week", "day"]),
    "ten years of months": (120, 30.44, ["year", "day"]),
    "a year of mondays": (52, 7.0, []),
    "an hour of minutes": (60, 1 / 1440, []),
}


@pytest.mark.parametrize("name", PERIODS)
def test_periods_that_dates_cover_and_are_close_enough_to_show(name):
    n_rows, step, expected = PERIODS[name]
    if name == "ten years of months":
        step, expected = 30.0, ["year"]  # at midnight: no time of day
    times = DAY_ZERO + pd.to_timedelta(np.arange(n_rows) * step, unit="D")
    frame = pd.DataFrame({"t": times, "x": RNG.normal(size=n_rows)})
    names = small().fit(frame, RNG.normal(size=n_rows)).encoded_feature_names_
    phases = [f"t ({wave} of {period})" for period in expected for wave in ("sin", "cos")]
    assert list(names) == ["t (days)", *phases, "x"]


# --- categories ---


def test_rare_and_unknown_levels_share_one_input():
    city = np.repeat(["A", "B", "C", "D"], [300, 294, 3, 3])
    frame = pd.DataFrame({"x": RNG.normal(size=600), "city": city})
    weights = np.where(city == "C", 2.0, 1.0)
    peer = OneHotEncoder(min_frequency=5, handle_unknown="infrequent_if_exist").fit(
        np.repeat(city, weights.astype(int))[:, None]
    )
    model = small().fit(frame, np.arange(600.0), weights)
    assert list(model.encoded_feature_names_) == ["x", "city=A", "city=B", "city=C", "city=(other)"]
    new = pd.DataFrame({"x": np.zeros(5), "city": ["A", "C", "D", "E", "B"]})
    expected = peer.transform(new[["city"]].to_numpy()).toarray()
    np.testing.assert_array_equal(model.encode(new)[:, 1:], expected)


@pytest.mark.parametrize(("n_columns", "most"), [(1, 128), (3, 64), (5, 32), (20, 16)])
def test_of_many_levels_the_most_frequent_have_an_input(n_columns, most):
    counts = np.arange(6, 146)
    city = np.repeat([f"c{k:03}" for k in range(140)], counts)
    peer = OneHotEncoder(max_categories=most + 1).fit(city[:, None])
    frame = pd.DataFrame({f"s{j}": city for j in range(n_columns)})
    model = small(hidden_layer_sizes=(), tol=0.9).fit(frame, np.arange(len(city)) * 0.1)
    names = [name.removeprefix("s0=") for name in model.encoded_feature_names_[: most + 1]]
    frequent = [name.removeprefix("x0_") for name in peer.get_feature_names_out()[:-1]]
    assert names == [*frequent, "(other)"]
    assert len(model.encoded_feature_names_) == n_columns * (most + 1)


def test_an_unknown_level_is_none_of_them_where_none_is_rare():
    model = small().fit(FRAME, Y)
    np.testing.assert_array_equal(model.encode(FRAME.assign(city="Rom"))[:, 2:5], 0.0)


def test_names_of_levels_do_not_depend_on_the_order_of_the_rows():
    levels = [True, 1, "1", 1.0, False, 0.0, "x"]
    for order in (levels, levels[::-1]):
        frame = pd.DataFrame({"a": pd.Series(order * 9, dtype=object)})
        names = small().fit(frame, np.arange(63.0)).encoded_feature_names_
        assert list(names) == ["a=0", "a=1", "a=False", "a=True", "a=x"]


@pytest.mark.parametrize(
    "given", [["k"], [1], (1,), [False, True, False], np.array([1]), np.array(["k"])]
)
def test_columns_that_are_named_as_categories(given):
    frame = pd.DataFrame({"x": RNG.normal(size=N), "k": np.arange(N) % 3, "s": ["u", "v"] * 30})
    expected = frame.astype({"k": "category"})
    model = small(categorical_features=given).fit(frame, Y)
    assert list(model.encoded_feature_names_) == ["x", "k=0", "k=1", "k=2", "s=u", "s=v"]
    np.testing.assert_array_equal(model.predict(frame), small().fit(expected, Y).predict(expected))
    numeric = frame[["x", "k"]]
    if np.asarray(given).dtype.kind in "iu":
        of_array = small(categorical_features=given).fit(numeric.to_numpy(), Y)
        np.testing.assert_array_equal(
            of_array.predict(numeric.to_numpy()),
            small(categorical_features=given).fit(numeric, Y).predict(numeric),
        )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["z"], "'z'.*columns of X are.*'size'"),
        ([7], r"\[7\].*from 0 to 6"),
        ([-1], r"\[-1\].*from 0 to 6"),
        ([True, False], r"shape \(2,\).*7 columns"),
    ],
)
def test_columns_that_are_not_there_cannot_be_categories(given, says):
    with pytest.raises(ValueError, match=f"^categorical_features.*{says}"):
        small(categorical_features=given).fit(FRAME, Y)


def test_sparse_rows_have_no_categories():
    with pytest.raises(ValueError, match=r"categorical_features.*sparse.*toarray"):
        small(categorical_features=[0]).fit(sp.csr_array(np.eye(N)), Y)
    with_missing = np.where(np.eye(N, 3) > 0, np.nan, 1.0)
    model = small().fit(with_missing, Y)
    with pytest.raises(ValueError, match=r"^X is sparse.*toarray"):
        model.predict(sp.csr_array(np.ones((2, 3))))


# --- missing values ---


def with_missing(values, share=0.3, seed=0):
    missing = np.random.RandomState(seed).uniform(size=values.shape) < share
    return np.where(missing, np.nan, values)


@pytest.mark.parametrize(
    "params",
    [
        *[{"solver": solver} for solver in ("lm", "lbfgs", "adam", "sgd", "muon")],
        {"solver": "lm", "alpha": "auto"},
        {"precondition": False},
        {"loss": "student_t", "solver": "lm"},
        {"early_stopping": True, "solver": "adam"},
        {"units_per_feature": 2},
    ],
    ids=str,
)
def test_missing_numbers_are_means_with_an_indicator(params):
    X = RNG.uniform(1, 5, size=(N, 3))
    X[:, :2] = with_missing(X[:, :2])
    y = np.column_stack([np.nansum(X, axis=1), X[:, 2]])
    peer = SimpleImputer(add_indicator=True).fit(X)
    filled = peer.transform(X)[:, [0, 3, 1, 4, 2]]  # each indicator after its column
    params = {"n_networks": 1} | params | {"tol": 0.5, "max_iter": 200}
    model, expected = small(**params).fit(X, y), small(**params).fit(filled, y)
    np.testing.assert_allclose(model.encode(X), filled, rtol=1e-12)
    np.testing.assert_allclose(model.predict(X), expected.predict(filled), rtol=1e-6, atol=1e-6)


def test_weights_count_in_the_mean_and_rows_of_weight_zero_do_not():
    X = with_missing(RNG.uniform(1, 5, size=(N, 2)))
    X[:, 1] = np.where(np.arange(N) < 5, np.nan, 3.0 + X[:, 1])
    weights = RNG.randint(1, 4, N).astype(float)
    model = small().fit(X, Y, weights)
    repeated = small().fit(
        np.repeat(X, weights.astype(int), axis=0), np.repeat(Y, weights.astype(int))
    )
    np.testing.assert_allclose(model.encode(X), repeated.encode(X), rtol=1e-12)
    X = np.column_stack([np.where(np.arange(N) < 5, np.nan, 3.0 * Y), Y])
    left_out = small().fit(X, Y, (np.arange(N) >= 5).astype(float))
    assert list(left_out.encoded_feature_names_) == ["x0", "x1"]


@pytest.mark.parametrize("none", [None, pd.NA, np.nan, float("nan"), pd.NaT])
def test_all_kinds_of_missing_values_are_one(none):
    frame = FRAME.astype({"size": object, "count": object, "city": object, "open": object})
    frame["sold"], frame["waited"] = FRAME["sold"].astype(object), FRAME["waited"].astype(object)
    rows = range(0, 30, 3)
    plain = FRAME.astype({"count": float, "open": object})
    for column in ("size", "count", "city", "open", "sold", "waited"):
        frame[column] = [none if i in rows else value for i, value in enumerate(frame[column])]
        plain[column] = [None if i in rows else value for i, value in enumerate(plain[column])]
        frame[column] = frame[column].astype(object)
    model, expected = small().fit(frame, Y), small().fit(plain, Y)
    assert "city=(missing)" in model.encoded_feature_names_
    assert {"size=(missing)", "open=(missing)", "sold=(missing)"} < set(
        model.encoded_feature_names_
    )
    np.testing.assert_array_equal(model.encode(frame), expected.encode(plain))


def test_float32_stays_float32():
    X = with_missing(RNG.uniform(size=(N, 2))).astype(np.float32)
    assert small().fit(X, Y).predict(X).dtype == np.float32
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(c=["u", "v"] * 30)
    assert small().fit(frame, Y).predict(frame).dtype == np.float32
    assert small().fit(FRAME, Y).predict(FRAME).dtype == np.float64


def test_values_that_lack_only_later_are_replaced_and_warned_of():
    X = RNG.uniform(size=(N, 2))
    model, new = small().fit(X, Y), np.array([[np.nan, 0.5]])
    with pytest.warns(
        UserWarning, match="missing values in column 'x0', and had none there in fit"
    ):
        predicted = model.predict(new)
    np.testing.assert_allclose(predicted, model.predict([[X[:, 0].mean(), 0.5]]), rtol=1e-9)
    with pytest.warns(UserWarning, match="missing values in column 'x1'"):
        small().fit(X, Y, X_val=new[:, ::-1], y_val=[1.0])
    model = small().fit(FRAME, Y)
    new = FRAME[:3].assign(size=[1.0, None, 2.0], city=[None, "Ulm", "Ulm"], sold=pd.NaT)
    with pytest.warns(UserWarning, match="columns 'size', 'city', 'sold'") as caught:
        encoded = model.encode(new)
    assert len(caught) == 1
    np.testing.assert_allclose(encoded[1, 0], FRAME["size"].mean(), rtol=1e-12)
    np.testing.assert_array_equal(encoded[0, 2:5], 0.0)
    stream = small(solver="adam").partial_fit(X, Y)
    with pytest.warns(UserWarning, match="column 'x0'"):
        stream.partial_fit(np.where([[True, False]] * (X > 0.9), np.nan, X), Y)


@pytest.mark.parametrize("of", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_column_that_lacks_all_values_later(of):
    frame = pd.DataFrame(RNG.uniform(size=(N, 2)), columns=["a", "b"])
    model, new = small().fit(frame, Y), {"a": [0.1, 0.2, 0.3], "b": [None] * 3}
    with pytest.warns(UserWarning, match="missing values in column 'b', and had none there in fit"):
        predicted = model.predict(of(new))
    expected = model.predict(pd.DataFrame(new).assign(b=frame["b"].mean()))
    np.testing.assert_allclose(predicted, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="X contains infinity"):
        model.predict(of(new | {"a": [0.1, np.inf, 0.3]}))


@pytest.mark.parametrize("of", [np.asarray, sp.csr_array])
def test_validation_rows_get_the_means_of_the_training_rows(of):
    X = np.where(RNG.uniform(size=(N, 3)) < 0.5, 0.0, 5.0)
    weights, X_val = RNG.uniform(1, 2, N), X[:9].copy()
    X_val[2, 1] = np.nan
    filled = np.where(np.isnan(X_val), np.average(X, axis=0, weights=weights), X_val)
    expected = small().fit(of(X), Y, weights, X_val=filled, y_val=Y[:9])
    with pytest.warns(UserWarning, match="missing values in column 'x1'"):
        model = small().fit(of(X), Y, weights, X_val=X_val, y_val=Y[:9])
    np.testing.assert_allclose(model.validation_scores_, expected.validation_scores_, rtol=1e-9)
    with pytest.warns(UserWarning, match="missing values in column 'x1'"):
        np.testing.assert_allclose(model.predict(X_val), model.predict(filled), rtol=1e-9)


def test_infinity_is_refused_by_column():
    with pytest.raises(ValueError, match=r"infinity.*column 'size'"):
        small().fit(FRAME.assign(size=np.inf), Y)
    with pytest.raises(ValueError, match=r"infinity.*column 'size'"):
        small().fit(FRAME, Y).predict(FRAME.assign(size=-np.inf))


def test_a_column_that_lacks_all_values_is_nothing():
    frame = FRAME[["size", "city"]]
    expected = small().fit(frame, Y)
    model = small().fit(frame.assign(none=np.nan, nothing=None), Y)
    np.testing.assert_allclose(
        model.predict(frame.assign(none=np.nan, nothing=None)), expected.predict(frame), rtol=1e-6
    )


def test_a_date_or_duration_that_lacks_all_values_in_new_rows():
    frame = FRAME[["size", "sold", "waited"]]
    model = small().fit(frame, Y)
    gone = frame[:3].assign(sold=np.nan, waited=np.nan)
    with pytest.warns(UserWarning, match="columns 'sold', 'waited'"):
        of_numbers = model.predict(gone)
    with pytest.warns(UserWarning, match="columns 'sold', 'waited'"):
        of_dates = model.predict(frame[:3].assign(sold=pd.NaT, waited=pd.NaT))
    np.testing.assert_array_equal(of_numbers, of_dates)


# --- streams, warm starts, copies ---


def test_levels_that_come_later_in_a_stream_share_an_input():
    model = small(solver="adam").partial_fit(FRAME[:30], Y[:30])
    names = list(model.encoded_feature_names_)
    assert names[2:10] == [
        *("city=Bonn", "city=Köln", "city=Ulm", "city=(other)"),
        *("grade=high", "grade=low", "grade=mid", "grade=(other)"),  # as the dtype declares
    ]
    model.partial_fit(FRAME[30:].assign(city="Rom"), Y[30:])
    assert list(model.encoded_feature_names_) == names
    np.testing.assert_array_equal(
        model.encode(FRAME[:2].assign(city="Rom"))[:, 2:6], [[0, 0, 0, 1]] * 2
    )
    assert model.coefs_[0][5].any()


def test_a_warm_start_keeps_the_encoding():
    model, later = small(warm_start=True).fit(FRAME, Y), FRAME.assign(city=["Rom", "Ulm"] * 30)
    peer = small(warm_start=True).fit(by_hand(FRAME), Y)
    model.fit(later, -Y)
    assert list(model.encoded_feature_names_) == NAMES
    np.testing.assert_allclose(
        model.predict(FRAME), peer.fit(by_hand(later), -Y).predict(by_hand(FRAME)), rtol=1e-6
    )


def test_a_fitted_model_is_stored_with_its_encoding():
    model = small().fit(FRAME, Y, X_val=FRAME[:5], y_val=Y[:5])
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.predict(FRAME), model.predict(FRAME))
    skops = pytest.importorskip("skops.io")
    (ours,) = skops.get_untrusted_types(data=skops.dumps(model))
    restored = skops.loads(skops.dumps(model), trusted=[ours])
    np.testing.assert_array_equal(restored.predict(FRAME), model.predict(FRAME))
    np.testing.assert_array_equal(clone(model).fit(FRAME, Y).predict(FRAME), model.predict(FRAME))
    search = GridSearchCV(small(), {"alpha": [0.1, 1.0]}, cv=2).fit(FRAME, Y)
    assert search.best_score_ > 0.5


def test_columns_are_what_they_were_in_fit():
    model = small().fit(FRAME, Y)
    for column, values, had in (
        ("city", 1.0, "numbers in column 'city', which had categories"),
        ("size", "large", "strings in column 'size', which had numbers"),
        ("sold", 3.0, "numbers in column 'sold', which had dates"),
        ("waited", 3, "numbers in column 'waited', which had durations"),
    ):
        with pytest.raises(ValueError, match=f"^X has {had}"):
            model.predict(FRAME.assign(**{column: values}))
    with pytest.raises(ValueError, match="order"):
        model.predict(FRAME[FRAME.columns[::-1]])
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        model.predict(FRAME[:0])


# --- identifiers ---


def test_columns_that_number_the_rows_are_warned_of_by_name():
    x = RNG.normal(size=N)
    frame = pd.DataFrame(
        {"x": x, "id": RNG.permutation(N) + 1000, "key": [f"k{i}" for i in range(N)]}
    )
    with pytest.warns(UserWarning, match="column") as caught:
        small().fit(frame, Y)
    first, second = sorted(str(one.message) for one in caught)
    assert "different value in each row of columns 'id', 'key'" in first
    assert "too few rows of each category in column 'key'" in second
    # Measurements are not: here few numbers between the smallest and the largest are there.
    small().fit(pd.DataFrame({"x": x, "price": RNG.permutation(20 * N)[:N]}), Y)
    small().fit(pd.DataFrame({"time": np.arange(N)}), Y)
    small().fit(np.column_stack([x, np.arange(N)]), Y)


# --- derivatives and importances by column ---


def test_the_gradient_is_by_the_columns_of_the_table():
    model = small(n_networks=2).fit(FRAME, Y)
    gradient = model.gradient(FRAME)
    assert gradient.shape == FRAME.shape
    assert np.isnan(gradient[:, 2:4]).all()
    for j, step in {
        0: 1e-3,
        1: 1e-3,
        5: pd.Timedelta(1e-2, "D"),
        6: pd.Timedelta(50, "ms"),
    }.items():
        name = FRAME.columns[j]
        up, down = (FRAME.assign(**{name: FRAME[name] + sign * step}) for sign in (1, -1))
        unit = {5: pd.Timedelta(1, "D"), 6: pd.Timedelta(1, "s")}.get(j, 1.0)
        slope = (model.predict(up) - model.predict(down)) / (2 * (step / unit))
        np.testing.assert_allclose(gradient[:, j], slope, rtol=1e-4, atol=1e-7)
    missing = FRAME.assign(size=np.where(np.arange(N) % 2, np.nan, FRAME["size"]))
    model = small().fit(missing, Y)
    np.testing.assert_array_equal(model.gradient(missing)[1::2, 0], 0.0)
    assert (model.gradient(missing)[::2, 0] != 0).all()


def test_importances_are_mean_slopes_times_spreads():
    X = RNG.normal(size=(N, 3)) * [1, 10, 0.1]
    y = X @ [1.0, 0.3, 0.0]
    for params in ({}, {"precondition": False}, {"solver": "lm", "n_networks": 2}):
        model = small(**params).fit(X, y)
        naive = np.mean(np.abs(model.gradient(X)), axis=0) * X.std(axis=0)
        np.testing.assert_allclose(model.feature_importances_, naive / naive.sum(), rtol=1e-6)
    linear = small(hidden_layer_sizes=(), alpha=0.0).fit(X, y)
    spreads = X.std(axis=0) * [1.0, 0.3, 0.0]
    np.testing.assert_allclose(linear.feature_importances_, spreads / spreads.sum(), atol=1e-4)


def test_importances_of_a_table_are_those_of_its_columns():
    model, plain = small().fit(FRAME, Y), small().fit(by_hand(FRAME), Y)
    blocks = [1, 1, 3, 2, 1, 3, 1]
    parts = np.split(plain.feature_importances_, np.cumsum(blocks)[:-1])
    np.testing.assert_allclose(
        model.feature_importances_, [part.sum() for part in parts], rtol=1e-5, atol=1e-8
    )
    assert model.feature_importances_.sum() == pytest.approx(1.0)
    assert FRAME.columns[model.feature_importances_.argmax()] == "size"


@pytest.mark.parametrize(
    "X", [sp.random(N, 4, density=0.5, format="csr", random_state=0), np.ones((N, 2))]
)
def test_importances_of_sparse_and_constant_columns(X):
    for model in (small().fit(X, Y), small(solver="adam").partial_fit(X, Y)):
        assert model.feature_importances_.shape == (X.shape[1],)
        assert model.feature_importances_.sum() == pytest.approx(float(sp.issparse(X)))


def test_importances_select_features():
    X = np.column_stack([Y, RNG.normal(size=(N, 3))])
    selected = make_pipeline(SelectFromModel(small()), small()).fit(X, Y)
    assert selected[0].get_support().tolist() == [True, False, False, False]


# --- how good it is ---


def houses(n_rows, seed):
    """Prices that depend on area, rooms, year, city, garage and date; an identifier, a constant."""
    rng = np.random.default_rng(seed)
    area, year = rng.uniform(30, 200, n_rows), rng.integers(1900, 2021, n_rows)
    rooms = np.maximum(1, np.round(area / 28 + rng.normal(0, 0.7, n_rows)))
    city = rng.choice(["Köln", "Berlin", "Ulm", "Jena"], n_rows)
    factor = pd.Series(city).map({"Köln": 1.3, "Berlin": 1.5, "Ulm": 1.0, "Jena": 0.8})
    garage, days = rng.random(n_rows) < 0.4, rng.integers(0, 1461, n_rows)
    price = (1800 * area + 9000 * rooms + 350 * (year - 1900)) * factor.to_numpy()
    price += 15_000 * garage + 20 * days + rng.normal(0, 20_000, n_rows)
    sold = pd.Timestamp("2019-01-01") + pd.to_timedelta(days, unit="D")
    frame = pd.DataFrame({"id": np.arange(n_rows), "area": area, "rooms": rooms, "year": year})
    return frame.assign(city=city, garage=garage, sold=sold, country="DE"), price


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:X has a different value in each row of column 'id'")
def test_prices_of_houses_are_predicted_better_than_by_trees():
    frame, price = houses(300, seed=3)
    of_trees = frame.assign(sold=(frame["sold"] - frame["sold"].min()).dt.days)
    of_trees = of_trees.astype({"city": "category", "country": "category"})
    folds = KFold(5, shuffle=True, random_state=0)
    ours = cross_val_score(BackpropRegressor(random_state=0), frame, price, cv=folds)
    peer = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0)
    assert ours.mean() >= 0.97
    assert ours.mean() > cross_val_score(peer, of_trees, price, cv=folds).mean()


@pytest.mark.slow
@pytest.mark.parametrize(("by_value", "most"), [(0.0, 0.9), (0.4, 1.0)])
def test_missing_values_cost_less_than_with_trees(by_value, most):
    errors = []
    for seed in (7, 8):
        rng = np.random.default_rng(seed)
        X, y = make_friedman1(1500, random_state=seed, noise=1.0)
        share = by_value * X if by_value else np.full(X.shape, 0.2)  # of larger values more
        missing = rng.random(X.shape) < share
        missing[:, [1, *range(4, 10)]] = False
        X[missing] = np.nan
        for model in (
            BackpropRegressor(random_state=0),
            HistGradientBoostingRegressor(random_state=0),
        ):
            predicted = model.fit(X[:500], y[:500]).predict(X[500:])
            errors.append(np.sqrt(np.mean((predicted - y[500:]) ** 2)))
    assert sum(errors[::2]) < most * sum(errors[1::2])
