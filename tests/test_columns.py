"""Kinds of columns: those that are not numbers are refused alike, in whatever container."""

import datetime
import inspect
import re
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from numpy.lib.recfunctions import structured_to_unstructured
from pyarrow.interchange import from_dataframe
from sklearn.linear_model import RidgeCV

from sk_backprop import BackpropRegressor, IntervalDisplay, PredictionDisplay
from sk_backprop._tables.kinds import Kind, columns_of
from sk_backprop._tables.refusals import REMEDIES
from sk_backprop.textbook import backprop_pass

N = 12
RNG = np.random.RandomState(0)
X = RNG.normal(size=(N, 2))
Y = X.sum(axis=1)
NAMED = pd.DataFrame(X, columns=["a", "b"])


def small(**params):
    defaults = {"hidden_layer_sizes": (2,), "solver": "lbfgs", "alpha": 1.0, "random_state": 0}
    return BackpropRegressor(**defaults | {"tol": 0.1} | params)


@pytest.fixture(scope="module")
def fitted():
    return small().fit(X, Y)


# --- one classifier: dtypes, by the libraries' own predicates ---


def kinds(data):
    return [column.kind for column in columns_of(data)]


POLARS = [
    *[pl.Int8(), pl.Int64(), pl.UInt16(), pl.UInt64(), pl.Float32(), pl.Float64()],
    *[pl.Decimal(10, 2), pl.Boolean(), pl.String(), pl.Binary(), pl.Categorical()],
    *[pl.Enum(["u", "v"]), pl.Date(), pl.Datetime("ms"), pl.Datetime("us", "UTC")],
    *[pl.Duration("ns"), pl.Time(), pl.List(pl.Int8()), pl.Array(pl.Int8(), 2)],
    *[pl.Struct({"u": pl.Int8()}), pl.Null()],
]


@pytest.mark.parametrize("dtype", POLARS, ids=str)
def test_dtypes_of_polars(dtype):
    expected = {
        "Boolean": Kind.BOOLEAN,
        "String": Kind.STRING,
        "Binary": Kind.STRING,
        "Categorical": Kind.CATEGORY,
        "Enum": Kind.CATEGORY,
        "Date": Kind.DATE,
        "Datetime": Kind.DATE,
        "Duration": Kind.DURATION,
        "Time": Kind.TIME,
        "Null": Kind.MISSING,
    }.get(dtype.base_type().__name__, Kind.NESTED if dtype.is_nested() else Kind.NUMBER)
    assert (expected is Kind.NUMBER) == dtype.is_numeric()
    assert (expected in {Kind.DATE, Kind.DURATION, Kind.TIME}) == dtype.is_temporal()
    assert kinds(pl.DataFrame({"c": pl.Series([], dtype=dtype)})) == [expected]
    assert kinds(pl.Series([], dtype=dtype)) == [expected]


ARROW = {
    Kind.NUMBER: [
        *[pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()],
        *[pa.decimal128(5, 2), pa.decimal256(40, 2)],
    ],
    Kind.BOOLEAN: [pa.bool_()],
    Kind.STRING: [pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.binary(3)],
    Kind.CATEGORY: [pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int8(), pa.binary())],
    Kind.NUMBER_CATEGORY: [pa.dictionary(pa.int8(), pa.int64())],
    Kind.DATE: [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ns", "UTC")],
    Kind.DURATION: [pa.duration("us"), pa.month_day_nano_interval()],
    Kind.TIME: [pa.time32("s"), pa.time64("ns")],
    Kind.NESTED: [
        *[pa.list_(pa.int8()), pa.large_list(pa.int8()), pa.list_(pa.int8(), 2)],
        *[pa.struct({"u": pa.int8()}), pa.map_(pa.string(), pa.int8())],
    ],
    Kind.MISSING: [pa.null()],
}


@pytest.mark.parametrize(
    ("kind", "dtype"), [(kind, dtype) for kind, dtypes in ARROW.items() for dtype in dtypes]
)
def test_types_of_arrow(kind, dtype):
    table = pa.table({"c": pa.array([], dtype)})
    assert kinds(table) == kinds(table.column(0)) == kinds(pa.array([], dtype)) == [kind]
    # And behind an extension dtype of pandas.
    assert kinds(pd.DataFrame({"c": pd.Series([], dtype=pd.ArrowDtype(dtype))})) == [kind]


PANDAS = {
    Kind.NUMBER: ["float16", "int8", "Int64", "UInt8", "Float32", pd.SparseDtype(float, 0)],
    Kind.BOOLEAN: [bool, "boolean", pd.SparseDtype(bool, False)],
    Kind.STRING: ["string"],
    Kind.CATEGORY: [
        *[pd.CategoricalDtype(["u"]), pd.CategoricalDtype([1, "u"])],
        *[pd.CategoricalDtype(pd.to_datetime(["2026-01-01"]))],
    ],
    Kind.NUMBER_CATEGORY: [pd.CategoricalDtype([1, 2]), pd.CategoricalDtype([True])],
    Kind.DATE: ["datetime64[ns]", "datetime64[s]", pd.DatetimeTZDtype("ns", "UTC")],
    Kind.DURATION: ["timedelta64[ns]"],
    Kind.PERIOD: ["period[D]", "period[M]"],
    Kind.INTERVAL: ["interval[int64, right]", "interval[datetime64[ns], left]"],
    Kind.COMPLEX: [complex],
}


@pytest.mark.parametrize(
    ("kind", "dtype"), [(kind, dtype) for kind, dtypes in PANDAS.items() for dtype in dtypes]
)
def test_dtypes_of_pandas(kind, dtype):
    series = pd.Series([], dtype=dtype)
    assert kinds(series) == kinds(pd.DataFrame({"c": series})) == [kind]


# Values as they may stand in lists and in arrays and columns of objects.
VALUES = {
    Kind.NUMBER: [1, 1.5, np.float32(2), np.int8(3), Decimal("1.5"), Fraction(1, 3), np.nan],
    Kind.BOOLEAN: [True, np.True_],
    Kind.STRING: ["m", np.str_("m"), b"m", "1.5"],
    Kind.DATE: [
        *[np.datetime64("2026-01-01", "D"), np.datetime64("NaT")],
        *[datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1), pd.Timestamp(2026, 1, 1)],
    ],
    Kind.DURATION: [np.timedelta64(1, "D"), datetime.timedelta(1), pd.Timedelta(1, "D")],
    Kind.TIME: [datetime.time(1, 2)],
    Kind.PERIOD: [pd.Period("2026-01")],
    Kind.INTERVAL: [pd.Interval(0, 1)],
    Kind.COMPLEX: [1j, np.complex64(1j)],
    Kind.NESTED: [[1, 2], (1, 2), {1}, np.ones(2)],
    Kind.MISSING: [None, pd.NA, pd.NaT],
    Kind.OTHER: [{}, object()],
}
EACH_VALUE = [
    pytest.param(kind, value, id=f"{kind.name} {type(value).__name__}")
    for kind, values in VALUES.items()
    for value in values
]


def objects(value):
    """A column of numbers, and one of the value with a number and None before it."""
    array = np.empty((N, 2), dtype=object)
    array[:, 0] = Y
    array[:, 1] = 1.0
    array[1, 1] = None
    for row in range(2, N):
        array[row, 1] = value
    return array


@pytest.mark.parametrize(("kind", "value"), EACH_VALUE)
def test_values_in_objects(kind, value):
    expected = Kind.MISSING if kind in (Kind.NUMBER, Kind.BOOLEAN) else kind
    array = objects(value)
    frame = pd.DataFrame({"a": array[:, 0], "c": pd.Series(array[:, 1], dtype=object)})
    for data in (array, frame):
        assert kinds(data) == [Kind.NUMBER, expected]
    whole = kinds(array[2:])[1]
    assert whole is kind
    assert kinds(array[2:, 1]) == [kind]


def test_every_kind_has_an_action():
    assert set(REMEDIES) == set(Kind)
    accepted = {kind for kind, remedy in REMEDIES.items() if remedy is None}
    assert accepted == {Kind.NUMBER, Kind.BOOLEAN, Kind.NUMBER_CATEGORY}


# --- errors name the argument, the column, the dtype and the remedy ---

DATES = np.datetime64("2026-01-01", "D") + np.arange(N)
COLUMNS = {
    "dates": pl.Series(DATES, dtype=pl.Date),
    "times stamped": pl.Series(DATES.astype("M8[us]")),
    "durations": pl.Series((DATES - DATES[0]).astype("m8[us]")),
    "times of day": pl.Series([datetime.time(hour) for hour in range(N)]),
    "categories": pl.Series(list("mf") * (N // 2), dtype=pl.Categorical()),
    "levels": pl.Series(list("mf") * (N // 2), dtype=pl.Enum(["m", "f"])),
    "strings": pl.Series(list("mf") * (N // 2)),
    "digits": pl.Series(list("12") * (N // 2)),
    "lists": pl.Series([[1, 2]] * N),
    "structures": pl.Series([{"u": 1}] * N),
}
SAYS = {
    "dates": ("dates", "dtype [Dd]ate|object", "total_seconds"),
    "times stamped": ("dates", "[Dd]atetime|timestamp|object", "total_seconds"),
    "durations": ("durations", "[Dd]uration|timedelta|object", "total_seconds"),
    "times of day": ("times of day", "[Tt]ime|object", "midnight"),
    "categories": ("categories|strings", "'m'", "data frame.*categorical_features"),
    "levels": ("categories|strings", "'m'", "data frame.*categorical_features"),
    "strings": ("strings", "'m'", "data frame.*float"),
    "digits": ("strings", "'1'", "data frame.*float"),
    "lists": ("lists", "[Ll]ist|object", "column of its own"),
    "structures": ("structures|objects", "[Ss]truct|object", "column of its own|real number"),
}
# What X may have if it is a table, always or if it may have categories.
NOT_REFUSED = {"dates", "times stamped", "durations"}
CATEGORIES = {"categories", "levels", "strings", "digits"}
CONTAINERS = {
    "polars": lambda frame: frame,
    "pyarrow": lambda frame: frame.to_arrow(),
    "record batch": lambda frame: frame.to_arrow().to_batches()[0],
    "pandas": lambda frame: frame.to_pandas(),
    "pandas by pyarrow": lambda frame: frame.to_pandas(use_pyarrow_extension_array=True),
    "objects": lambda frame: np.array([*frame.iter_rows(), [None] * 3], dtype=object)[:-1],
    "lists": lambda frame: [list(row) for row in frame.iter_rows()],
}


def all_of(*patterns):
    return "(?s)" + "".join(f"(?=.*(?:{pattern}))" for pattern in patterns)


def with_column(column):
    return pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "c d": column})


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_is_not_numeric_is_refused_by_name(column, container):
    table = CONTAINERS[container](with_column(COLUMNS[column]))
    numeric = np.column_stack([X, Y])
    fitted = small().fit(numeric, Y)
    is_array = container in ("objects", "lists")
    if (column, container) == ("lists", "lists"):
        says = ("^X", "inhomogeneous")  # numpy does not make an array of it
    else:
        where = "column 2" if is_array else "column 'c d'"
        says = ("^X has", where, "must be numeric", *SAYS[column])
    calls = [lambda: backprop_pass(table, Y, [np.ones((3, 1))], [np.ones(1)])]
    if is_array or column not in NOT_REFUSED:
        given = {} if is_array or column not in CATEGORIES else {"categorical_features": None}
        calls += [
            lambda: small(**given).fit(table, Y),
            lambda: small(solver="adam", **given).partial_fit(table, Y),
        ]
    for call in calls:
        with pytest.raises((ValueError, TypeError), match=all_of(*says)):
            call()
    if not is_array and column in NOT_REFUSED | CATEGORIES:
        says = ("^X has", "column 'c d'", SAYS[column][0], "had numbers in fit")
    for use in (fitted.predict, fitted.gradient, lambda table: fitted.score(table, Y)):
        with pytest.raises((ValueError, TypeError), match=all_of(*says)):
            use(table)
    with pytest.raises((ValueError, TypeError), match=r"^X_val\b"):
        small().fit(numeric, Y, X_val=table, y_val=Y)


@pytest.mark.parametrize(
    "of", [lambda s: s, pl.Series.to_list, pl.Series.to_arrow, pl.Series.to_pandas]
)
@pytest.mark.parametrize("column", COLUMNS)
def test_targets_and_weights_that_are_not_numeric_are_refused(fitted, column, of):
    values = of(COLUMNS[column])
    if (column, of) == ("lists", pl.Series.to_list):
        return  # two outputs: numbers
    says = ("must be numeric", SAYS[column][0])
    for name, call in {
        "y": lambda: small().fit(X, values),
        "y_val": lambda: small().fit(X, Y, X_val=X, y_val=values),
        "sample_weight": lambda: small().fit(X, Y, values),
        "sample_weight_val": lambda: small().fit(X, Y, X_val=X, y_val=Y, sample_weight_val=values),
        "y ": lambda: fitted.score(X, values),
        "sample_weight ": lambda: fitted.score(X, Y, values),
        "y  ": lambda: backprop_pass(X, values, [np.ones((2, 1))], [np.ones(1)]),
        "y   ": lambda: small(solver="adam").partial_fit(X, values),
    }.items():
        with pytest.raises((ValueError, TypeError), match=all_of(f"^{name.strip()} has", *says)):
            call()


REFUSED_VALUES = [param for param in EACH_VALUE if REMEDIES[param.values[0]]]
IN_TABLES = {Kind.CATEGORY, Kind.STRING, Kind.DATE, Kind.DURATION}


@pytest.mark.parametrize(("kind", "value"), REFUSED_VALUES)
def test_objects_that_are_not_numbers_are_refused_by_column(fitted, kind, value):
    array = objects(value)[2:]
    frame = pd.DataFrame({"a": array[:, 0], "c": pd.Series(array[:, 1], dtype=object)})
    for data, label in ((array, "1"), (frame, "'c'")):
        says = all_of("^X has", kind.value, f"column {label} ", re.escape(str(REMEDIES[kind])))
        calls = [lambda rows=data: small().fit(rows, Y[2:]), lambda d=data: fitted.predict(d)]
        if kind is Kind.MISSING or (data is frame and kind in IN_TABLES):
            calls = []
        for call in calls:
            with pytest.raises((ValueError, TypeError), match=says):
                call()
    for name, call in {
        "y": lambda: small().fit(X[2:], array[:, 1]),
        "sample_weight": lambda: small().fit(X[2:], Y[2:], array[:, 1]),
    }.items():
        with pytest.raises((ValueError, TypeError), match=all_of(f"^{name} has", kind.value)):
            call()


@pytest.mark.parametrize("unit", ["D", "s", "ns"])
@pytest.mark.parametrize("of", [np.asarray, list, lambda dates: np.array(list(dates), object)])
def test_a_unit_of_time_cannot_change_predictions(of, unit):
    dates = DATES.astype(f"M8[{unit}]")
    for times in (of(dates), of(dates - dates[0])):
        for call in (
            lambda times=times: small().fit(np.reshape(times, (-1, 1)), Y),
            lambda times=times: small().fit([[time] for time in times], Y),
            lambda times=times: small().fit(X, times),
        ):
            with pytest.raises(ValueError, match=r"^[Xy] has (dates|durations)"):
                call()


def test_several_columns_are_named_but_not_all_of_many():
    wide = pd.DataFrame({f"s{i}": ["u"] * N for i in range(9)} | {"t": DATES, "x": Y})
    says = "columns 's0', 's1', 's2', 's3', 's4' and 4 more "
    with pytest.raises(ValueError, match=says):
        small(categorical_features=None).fit(wide, Y)
    with pytest.raises(ValueError, match=r"X has strings in columns 's0', 's1' \(dtype"):
        small(categorical_features=None).fit(wide[["x", "s0", "t", "s1"]], Y)


def test_long_examples_are_cut():
    with pytest.raises(ValueError, match=r"such as 'u{59}\.\.\.\)"):
        small().fit(X, ["u" * 10_000] * N)


# --- tables ---


def tables(frame):
    """A data frame of pandas in other containers."""
    return {
        "pandas": frame,
        "polars": pl.from_pandas(frame),
        "pyarrow": pa.Table.from_pandas(frame),
        "record batch": pa.RecordBatch.from_pandas(frame),
        "dask": Delayed(frame),
    }


class Delayed:
    """What dask's collections have: a graph, `compute`, `columns` and `dtypes` of series too."""

    def __init__(self, data):
        self._data = data
        self.columns, self.dtypes = pd.Index(["a"]), data.dtypes

    def __dask_graph__(self):
        return {}

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._data, dtype=dtype)

    def compute(self):
        return self._data


@pytest.mark.parametrize("name", tables(NAMED))
def test_a_table_is_its_array_with_names(name):
    table, expected = tables(NAMED)[name], small().fit(X, Y)
    model = small().fit(table, Y, X_val=table, y_val=Y)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(model.predict(table), expected.predict(X))
    np.testing.assert_array_equal(model.gradient(table), expected.gradient(X))
    assert model.score(table, Y) == expected.score(X, Y)
    stream = small(solver="adam").partial_fit(table, Y)
    assert stream.feature_names_in_.tolist() == ["a", "b"]


@pytest.mark.parametrize("name", tables(NAMED))
def test_predict_and_validation_check_the_names_of_a_table(name):
    model = small().fit(tables(NAMED)[name], Y)
    for use in (model.predict, lambda table: model.fit(NAMED, Y, X_val=table, y_val=Y)):
        with pytest.raises(ValueError, match=all_of("names", "order")):
            use(tables(NAMED[["b", "a"]])[name])
        with pytest.raises(ValueError, match=all_of("names", r"\bz\b", r"\bb\b")):
            use(tables(NAMED.rename(columns={"b": "z"}))[name])


def test_pyarrow_tables_as_with_ridge():
    table = pa.Table.from_pandas(NAMED)
    np.testing.assert_array_equal(
        small().fit(table, Y).feature_names_in_, RidgeCV().fit(table, Y).feature_names_in_
    )


@pytest.mark.parametrize("name", tables(NAMED))
def test_numbers_of_every_type_in_a_table(name):
    frame = pd.DataFrame(
        {
            "whole": np.arange(N),
            "small": np.arange(N, dtype=np.uint8),
            "single": X[:, 0].astype(np.float32),
            "yes": Y > 0,
            "exact": [Decimal(i) / 4 for i in range(N)],
        }
    )
    plain = frame.astype(float).to_numpy()
    model = small().fit(tables(frame)[name], Y)
    assert model.feature_names_in_.tolist() == list(frame)
    np.testing.assert_array_equal(
        model.predict(tables(frame)[name]), small().fit(plain, Y).predict(plain)
    )


@pytest.mark.parametrize(
    "of",
    [
        pl.Series,
        pa.array,
        lambda v: pa.chunked_array([v]),
        pd.Series,
        lambda v: Delayed(pd.Series(v)),
    ],
    ids=["polars", "pyarrow array", "pyarrow chunked", "pandas", "dask"],
)
def test_targets_and_weights_of_other_libraries(of):
    w = np.arange(1.0, N + 1)
    expected = small().fit(X, Y, w)
    model = small().fit(X, of(Y), of(w), X_val=X, y_val=of(Y), sample_weight_val=of(w))
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))
    assert model.score(X, of(Y), of(w)) == expected.score(X, Y, w)


def test_categories_that_are_numbers_may_be_taken_as_numbers():
    frame = NAMED.assign(c=pd.Categorical([1, 2, 4] * 4))
    plain = frame.astype(float).to_numpy()
    expected = small().fit(plain, Y).predict(plain)
    for table in (frame, pa.Table.from_pandas(frame)):
        model = small(categorical_features=None).fit(table, Y)
        np.testing.assert_array_equal(model.predict(table), expected)


@pytest.mark.parametrize("field", ["columns", "dtypes", "schema", "u"])
def test_records_are_refused_whatever_their_fields_are_called(field):
    records = np.rec.fromarrays(X.T, names=[field, "v"])
    for data in (records, np.asarray(records), list(np.asarray(records))):
        with pytest.raises(
            ValueError, match=all_of("^X has records", "structured_to_unstructured")
        ):
            small().fit(data, Y)
    unstructured = structured_to_unstructured(np.asarray(records))
    np.testing.assert_array_equal(
        small().fit(unstructured, Y).predict(X), small().fit(X, Y).predict(X)
    )


class Odd:
    """An array whose attributes have the names of a table's."""

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def __array__(self, dtype=None, copy=None):
        return np.array(X, dtype=dtype)


@pytest.mark.parametrize(
    "odd",
    [
        Odd(columns=3, dtypes=None),
        Odd(columns="ab", dtypes="cd"),
        Odd(columns=lambda: None, dtypes=lambda: None),
        Odd(columns=["a", "b"]),
        Odd(columns=["a", "b"], dtypes=[np.dtype(float)]),
        Odd(dtypes={"a": np.dtype(float)}, schema="public"),
        Odd(schema=Odd(names=["a", "b"], types=None)),
        Odd(dtype="date"),
        Odd(dtype=object()),
        Odd(type="date"),
        Odd(iloc=None),
    ],
)
def test_an_attribute_alone_does_not_make_a_table(odd):
    np.testing.assert_array_equal(small().fit(odd, Y).predict(X), small().fit(X, Y).predict(X))


class OnlyArrow:
    def __arrow_c_stream__(self, requested_schema=None):
        return pa.Table.from_pandas(NAMED).__arrow_c_stream__(requested_schema)


class OnlyInterchange:
    def __dataframe__(self, nan_as_null=False, allow_copy=True):
        return pa.Table.from_pandas(NAMED).__dataframe__(nan_as_null, allow_copy)


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (pl.from_pandas(NAMED).lazy(), r"{}\.collect\(\)"),
        (OnlyArrow(), r"OnlyArrow.*pyarrow\.table\({}\)"),
        (OnlyInterchange(), r"OnlyInterchange.*pyarrow\.interchange\.from_dataframe\({}\)"),
        ({"a": [1.0], "b": [2.0]}, "dict.*table of pandas, polars or pyarrow"),
        (iter([[1.0, 2.0]]), "iterator.*Pass an array"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_that_numpy_cannot_read_are_refused_with_advice(fitted, data, advice):
    for name, call in {
        "X": lambda: small().fit(data, Y),
        "X ": lambda: fitted.predict(data),
        "y": lambda: small().fit(X, data),
        "sample_weight": lambda: small().fit(X, Y, data),
        "X_val": lambda: small().fit(X, Y, X_val=data, y_val=Y),
    }.items():
        name = name.strip()
        with pytest.raises(TypeError, match=f"^{name} is .*{advice.format(name)}"):
            call()


def test_following_the_advice_for_other_tables_works():
    for table in (pa.table(OnlyArrow()), from_dataframe(OnlyInterchange())):
        assert small().fit(table, Y).feature_names_in_.tolist() == ["a", "b"]


def test_sparse_matrices_and_their_kinds_are_as_before():
    dense = np.where(np.abs(X) > 0.5, X, 0)
    expected = small().fit(dense, Y).predict(dense)
    for sparse in (sp.csr_array(dense), sp.coo_matrix(dense)):
        np.testing.assert_allclose(small().fit(sparse, Y).predict(sparse), expected, rtol=1e-9)
    with pytest.raises(ValueError, match="Complex"):
        small().fit(sp.csr_array(dense * 1j), Y)


# --- masked values ---

COEFS, INTERCEPTS = [np.ones((2, 2)), np.ones((2, 1))], [np.ones(2), np.ones(1)]


@pytest.mark.parametrize("name", ["coefs_init", "intercepts_init"])
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize(
    ("of", "says"),
    [
        (lambda W: np.ma.masked_array(W, np.arange(W.size).reshape(W.shape) == 0), "masked"),
        (lambda W: np.full(W.shape, "2026-01-01", "M8[D]"), "dates"),
        (lambda W: np.full(W.shape, np.timedelta64(1, "D")).astype(object), "durations"),
        (lambda W: np.full(W.shape, "1"), "strings"),
    ],
    ids=["masked", "dates", "durations", "strings"],
)
def test_initial_weights_are_numbers(name, layer, of, says):
    given = {"coefs_init": list(COEFS), "intercepts_init": list(INTERCEPTS)}
    given[name][layer] = of(given[name][layer])
    with pytest.raises(ValueError, match=all_of(rf"{name}\[{layer}\]", says, r"\(2,")):
        small().fit(X, Y, **given)
    arguments = {name.removesuffix("_init"): arrays for name, arrays in given.items()}
    with pytest.raises(ValueError, match=all_of(rf"\b{name[:-5]}\[{layer}\]", says)):
        backprop_pass(X, Y, **arguments)


def test_initial_weights_may_come_from_an_iterator():
    expected = small().fit(X, Y, coefs_init=COEFS, intercepts_init=INTERCEPTS)
    given = small().fit(X, Y, coefs_init=COEFS, intercepts_init=iter(INTERCEPTS))
    np.testing.assert_array_equal(given.predict(X), expected.predict(X))


def test_masked_rows_in_a_list(fitted):
    rows = [np.ma.masked_array(row, [False, row[0] > 0]) for row in X]
    n_masked = int(np.sum(X[:, 0] > 0))
    for call in (lambda: small().fit(rows, Y), lambda: fitted.predict(rows)):
        with pytest.raises(ValueError, match=f"^X has masked arrays in it, with {n_masked} values"):
            call()
    with pytest.raises(ValueError, match=r"^y has masked\b"):
        small().fit(X, [np.ma.masked, *Y[1:]])
    masked = np.ma.masked_array(Y, Y > 0)
    for name, call in {
        "y": lambda: fitted.score(X, masked),
        "sample_weight": lambda: fitted.score(X, Y, masked),
    }.items():
        with pytest.raises(ValueError, match=f"^{name} is a masked array"):
            call()


def test_masked_layer_sizes():
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        small(hidden_layer_sizes=np.ma.masked_array([2, 3], [False, True])).fit(X, Y)


# --- pictures of tables ---


@pytest.mark.parametrize("name", sorted(set(tables(NAMED)) - {"dask"}))
def test_a_curve_along_a_column_of_any_table(name):
    model, table = small().fit(NAMED, Y), tables(NAMED)[name]
    curve = IntervalDisplay.from_estimator(model, table, "b", y=Y, grid_resolution=5)
    expected = IntervalDisplay.from_estimator(model, NAMED, "b", y=Y, grid_resolution=5)
    np.testing.assert_array_equal(curve.mean, expected.mean)
    assert curve.x_name == "b"


def test_pictures_do_not_take_dates_for_numbers(fitted):
    with pytest.raises(ValueError, match=r"^y must be numbers.*dates"):
        PredictionDisplay.from_estimator(fitted, X, DATES)


# --- names in errors ---


def test_errors_name_the_class_that_users_know(fitted):
    for name in ("predict", "gradient", "score", "fit", "partial_fit"):
        method = inspect.unwrap(getattr(BackpropRegressor, name))
        assert method.__qualname__ == f"BackpropRegressor.{name}"
        assert method.__module__ == "sk_backprop._estimator.regressor"
        with pytest.raises(TypeError, match=rf"^BackpropRegressor\.{name}\(\).*'colour'"):
            getattr(small(solver="adam"), name)(X, colour="red")
    with pytest.raises(TypeError, match=r"^BackpropRegressor\.predict\(\).*'return_cov'"):
        fitted.predict(X, return_cov=True)


def test_arrays_and_lists_are_classified_without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kinds(X) == kinds(X.tolist()) == [Kind.NUMBER]
        assert kinds(X.astype(object)) == [Kind.NUMBER] * 2
