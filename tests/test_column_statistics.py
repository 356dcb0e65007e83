"""Statistics of columns: the encoding is the same to the last bit in whatever parts rows come."""

import pickle
import re
from fractions import Fraction
from functools import reduce

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_backprop import BackpropRegressor
from sk_backprop._blocks.exact import Weights
from sk_backprop._estimator.columns import decided
from sk_backprop._estimator.inputs import (
    encoded_part,
    reading_of_parts,
    statistics_of,
    training_inputs,
)
from sk_backprop._tables import distinct, encoding, statistics
from sk_backprop._tables.distinct import Repeats, keys_of_names, keys_of_numbers
from sk_backprop._tables.statistics import TableStatistics

FEW = settings(max_examples=20, deadline=None)
DAY_ZERO = pd.Timestamp("2020-01-01")
SEEDS = st.integers(0, 2**32 - 1)


# --- sums ---


def naive_sum(values, weights):
    return sum((Fraction(v) * Fraction(w) for v, w in zip(values, weights)), Fraction(0))


FINITE = st.floats(allow_nan=False, allow_infinity=False)
WEIGHTS = st.floats(0, allow_nan=False, allow_infinity=False)


@FEW
@given(st.lists(st.tuples(FINITE, WEIGHTS, st.integers(0, 2)), max_size=30))
def test_sums_are_those_of_fractions(rows):
    values, weights, groups = (np.array(column) for column in zip(*rows)) if rows else 3 * [[]]
    values, weights, groups = np.array(values), np.array(weights), np.array(groups, dtype=int)
    exact = Weights(weights, len(rows))
    assert exact.dot(values) == naive_sum(values, weights)
    assert exact.total == sum(map(Fraction, weights))
    assert Weights(None, len(rows)).dot(values) == sum(map(Fraction, values))
    naive = [sum(map(Fraction, weights[groups == group])) for group in range(3)]
    assert exact.by_group(groups, 3) == naive


MANY = 20_000  # in several blocks
SPREADS = {
    "normal": lambda rng: rng.normal(size=MANY),
    "float32": lambda rng: rng.normal(size=MANY).astype(np.float32),
    "huge": lambda rng: rng.uniform(-1, 1, MANY) * 1.7e308,
    "largest": lambda rng: np.full(MANY, np.finfo(float).max),
    "subnormal": lambda rng: rng.integers(-9, 9, MANY) * 5e-324,
    "everything": lambda rng: rng.normal(size=MANY) * 10.0 ** rng.integers(-320, 307, MANY),
}


@pytest.mark.parametrize("spread", SPREADS)
def test_sums_of_many_numbers_are_exact(spread):
    rng = np.random.default_rng(0)
    values, weights = SPREADS[spread](rng), rng.uniform(size=MANY)
    assert Weights(None, MANY).dot(values) == sum(map(Fraction, values.tolist()))
    total = naive_sum(values[:500].tolist(), weights[:500])
    assert Weights(weights[:500], 500).dot(values[:500]) == total
    integers = rng.integers(0, 9, MANY)
    repeated = Weights(None, int(integers.sum())).dot(np.repeat(values, integers))
    assert Weights(integers.astype(float), MANY).dot(values) == repeated


# --- repeated values ---


@pytest.mark.parametrize("of", ["numbers", "names"])
@pytest.mark.parametrize("most", [2**14, 8])
@FEW
@given(st.lists(st.integers(0, 60), max_size=60), SEEDS)
def test_whether_values_repeat_in_any_parts(of, most, values, seed):
    keys = keys_of_numbers(values) if of == "numbers" else keys_of_names(map(str, values))
    assert len(set(keys)) == len(set(values))
    part = np.random.default_rng(seed).integers(0, 4, len(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distinct, "_MOST_KEYS", most)
        merged = reduce(Repeats.merge, [Repeats.of(keys[part == k]) for k in range(4)])
        counted = Repeats.of(*np.unique(keys, return_counts=True))
        # Of more than 8 rows, those of half of the keys are looked at, of more than 16 a quarter.
        looked_at = [int(key) for key in keys]
        while len(values) > most:
            looked_at = [key for key in looked_at if key % 2 == 0]
            looked_at, most = [key // 2 for key in looked_at], 2 * most
        naive = len(set(looked_at)) < len(looked_at)
        assert merged.found == counted.found == Repeats.of(keys).found == naive
    assert merged.n_rows == counted.n_rows == len(values)


def test_memory_of_repeats_is_bounded_and_repeats_are_found():
    values = np.random.default_rng(0).permutation(400_000).astype(float)
    parts = [Repeats.of(keys_of_numbers(part)) for part in np.split(values, 8)]
    merged = reduce(Repeats.merge, parts)
    assert not merged.found
    assert max(len(one.keys) for one in [*parts, merged]) < 1.1 * 2**14
    again = merged.merge(Repeats.of(keys_of_numbers(values[:4000])))  # one in a hundred
    assert again.found
    assert keys_of_numbers([0.0]) == keys_of_numbers([-0.0])


# --- tables in parts ---


# Objects: numbers in many parts, and strings in few.
MIXED = [1, 2.0, True, 3.5, None, 1, 2, 2, 1, 1, "2", "x"]


def some_table(rng, n_rows, n_columns=9):
    """Columns of every kind, with gaps; few different values, so that levels are at the limits."""

    def gaps(values):
        return pd.Series(values).mask(rng.uniform(size=n_rows) < rng.choice([0.0, 0.3]))

    days = rng.integers(0, 900, n_rows) + rng.integers(0, 4, n_rows) / 4
    frame = pd.DataFrame(
        {
            "number": gaps(rng.normal(size=n_rows) * 10.0 ** rng.integers(-3, 3, n_rows)),
            "count": rng.integers(0, 5, n_rows),
            "id": rng.permutation(n_rows),
            "flag": gaps(rng.uniform(size=n_rows) < 0.5).astype("boolean"),
            "city": gaps(rng.choice(list("abcdefgh"), n_rows)).astype("str"),
            "name": gaps(rng.choice(["u", "v", "None"], n_rows)).astype(object),
            "grade": gaps(rng.choice(["low", "mid", "high"], n_rows)).astype("category"),
            "rooms": gaps(rng.choice([1.0, 2.0, 3.5], n_rows)).astype("category"),
            "mixed": gaps(pd.Series([MIXED[k] for k in rng.integers(0, 12, n_rows)], dtype=object)),
            "sold": gaps(DAY_ZERO + pd.to_timedelta(days, unit="D")),
            "waited": gaps(pd.to_timedelta(rng.integers(0, 99, n_rows), unit="ms")),
            "nothing": None,
        }
    )
    return frame[list(rng.permutation(frame.columns)[:n_columns])]


def in_parts(table, rng, n_parts=5):
    """Numbers of the rows of each part, some of which have none, in any order."""
    part = rng.integers(0, n_parts, len(table))
    empty = [np.arange(0)] * int(rng.integers(0, 2))
    return [*empty, *(rng.permutation(np.flatnonzero(part == k)) for k in range(n_parts))]


def own_categories(part):
    """The categories of a part are those that occur in it, in any order, as of dask."""
    columns = [name for name in ("grade", "rooms") if name in part]
    return part.assign(**{name: part[name].cat.remove_unused_categories() for name in columns})


def by_parts(model, parts, weights):
    reading = pickle.loads(pickle.dumps(reading_of_parts(model, parts[0][:0])))
    found = [statistics_of(reading, *rows) for rows in zip(parts, weights)]
    merged = reduce(TableStatistics.merge, pickle.loads(pickle.dumps(found)))
    decision = decided(reading, merged)
    return decision, [encoded_part(decision, part) for part in parts]


def check_parts(table, weights, parts, **params):
    """Nothing but the order of the rows is other than of the whole table."""
    model, other = BackpropRegressor(**params), BackpropRegressor(**params)
    encoded, whole, messages = training_inputs(model, table, weights, streaming=False)
    take = table.iloc.__getitem__ if isinstance(table, pd.DataFrame) else table.__getitem__
    rows = [own_categories(take(part)) if hasattr(table, "iloc") else take(part) for part in parts]
    some = [None if weights is None else weights[part] for part in parts]
    decision, inputs = by_parts(other, rows, some)
    state = None if whole is None else whole.state()
    assert repr(None if whole is None else decision.encoding.state()) == repr(state)
    assert decision.messages == messages
    assert {one.dtype for one in inputs} == {encoded.dtype}
    np.testing.assert_array_equal(np.concatenate(inputs), encoded[np.concatenate(parts)])
    assert other.n_features_in_ == model.n_features_in_
    names = [list(getattr(one, "feature_names_in_", [])) for one in (model, other)]
    assert names[0] == names[1]


@FEW
@given(SEEDS, st.integers(1, 80), st.sampled_from(["ones", "zeros", "fractions", "small"]))
def test_the_encoding_is_the_same_in_any_parts(seed, n_rows, kind):
    rng = np.random.default_rng(seed)
    weights = {
        "ones": None,
        "zeros": rng.integers(0, 3, n_rows).astype(float),
        "fractions": rng.uniform(0, 3, n_rows),
        "small": rng.uniform(size=n_rows) * 10.0 ** rng.integers(-9, 0, n_rows),
    }[kind]
    table = some_table(rng, n_rows)
    check_parts(table, weights, in_parts(table, rng))


@FEW
@given(SEEDS)
def test_rows_of_zero_weight_do_not_count(seed):
    rng = np.random.default_rng(seed)
    table, weights = some_table(rng, 40), rng.integers(0, 2, 40) * rng.uniform(1, 2, 40)
    table, weights[0] = table.drop(columns="mixed", errors="ignore"), 1.0  # its kind is of all rows
    model = BackpropRegressor()
    _, expected, _ = training_inputs(
        model, table[weights > 0], weights[weights > 0], streaming=False
    )
    _, found, _ = training_inputs(model, table, weights, streaming=False)
    assert repr(found.state()) == repr(expected.state())


@FEW
@given(st.lists(st.tuples(FINITE | st.just(np.nan), st.floats(0, 1e9)), min_size=1, max_size=30))
def test_missing_numbers_are_the_mean_rounded_once(rows):
    values, weights = map(np.array, zip(*rows))
    missing, both = np.isnan(values), [list(rows), [*rows, (np.nan, 0.0)]]
    for some in both:  # a missing value of zero weight matters only where no other is known
        X, some_weights = np.array(some).T
        model = BackpropRegressor(categorical_features=[1])
        table = np.column_stack([X, np.zeros(len(X))])
        _, found, _ = training_inputs(model, table, some_weights, streaming=False)
        total = sum(map(Fraction, weights[~missing]))
        mean = naive_sum(values[~missing], weights[~missing]) / total if total else 0
        lacks = any(weights[missing] > 0) if total else bool(np.isnan(X).any())
        assert found.blocks[0][:3] == ("numbers", float(mean), lacks)


@FEW
@given(SEEDS, st.sampled_from([None, ["count", "flag"], ["id", "number"], []]))
def test_of_columns_of_numbers_too(seed, categorical):
    rng = np.random.default_rng(seed)
    table = some_table(rng, int(rng.integers(30, 60)), 12)
    names = [name for name in ("number", "count", "flag", "id") if rng.uniform() < 0.8]
    table = table[sorted({"id", *names, *(categorical or [])})].copy()
    table["flag"] = np.arange(len(table)) % 3 == 0
    if rng.uniform() < 0.3:
        table = table.fillna(0.0).astype({"id": np.float32})
    check_parts(table, None, in_parts(table, rng), categorical_features=categorical)


@FEW
@given(SEEDS, st.sampled_from([np.float64, np.float32, object]), st.booleans())
def test_of_arrays_too(seed, dtype, with_gaps):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=40), rng.integers(0, 3, 40), np.arange(40)])
    X = np.where((rng.uniform(size=X.shape) < 0.2) & with_gaps, np.nan, X).astype(dtype)
    listed = [1] if rng.uniform() < 0.5 else None
    check_parts(X, rng.uniform(size=40), in_parts(X, rng), categorical_features=listed)


@FEW
@given(SEEDS)
def test_more_different_values_than_are_kept(seed):
    rng = np.random.default_rng(seed)
    days = np.sort(rng.choice(5000, 50, replace=False)) / rng.choice([1, 4, 24])
    table = pd.DataFrame(
        {
            "t": DAY_ZERO + pd.to_timedelta(days[rng.integers(0, 50, 60)], unit="D"),
            "key": rng.choice([f"k{k}" for k in range(30)], 60),
            "name": [f"n{k}" for k in rng.permutation(60)],
            "some": rng.choice(["a", "b", "None", None], 60),
        }
    )
    table.loc[0, "name"] = rng.choice(table["name"])  # the only one that repeats, or none
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "MOST_DISTINCT", int(rng.choice([20, 60])))
        patch.setattr(distinct, "_MOST_KEYS", 16)
        patch.setattr(encoding, "_MOST_LEVELS", (2, 1))
        patch.setattr(encoding, "_MOST_INPUTS", 12)
        check_parts(table, rng.integers(0, 9, 60) / 8, in_parts(table, rng))


def test_more_levels_or_dates_than_are_kept_are_not_counted(monkeypatch):
    monkeypatch.setattr(statistics, "MOST_DISTINCT", 20)
    key = np.repeat([f"k{k}" for k in range(21)], 10)
    times = DAY_ZERO + pd.to_timedelta(np.arange(210) / 2, unit="h")
    table = pd.DataFrame({"x": np.arange(210) % 7, "key": key, "t": times})
    model = BackpropRegressor()
    _, found, messages = training_inputs(model, table, None, streaming=False)
    # With a median gap of half a day, more than 20 dates would span more than these four days.
    assert found.names == ["x", "key=(other)", "t (days)", "t (sin of day)", "t (cos of day)"]
    assert len(messages) == 1
    assert re.match(r"X has more than 100,000 categories in column 'key'", messages[0])


def merged_with(*parts, **params):
    reading = reading_of_parts(BackpropRegressor(**params), parts[0][:0])
    found = [statistics_of(reading, part) for part in parts]
    both = [decided(reading, a.merge(b)) for a, b in (found, found[::-1])]
    assert repr(both[0]) == repr(both[1])
    return both[0].encoding


def column(values, dtype=object):
    return pd.DataFrame({"a": pd.Series(values, dtype=dtype)})


@pytest.mark.parametrize(
    ("some", "others", "expected"),
    [
        (column([1, 2.0, True] * 2), column(["x", "1"] * 2), ["a=1", "a=2", "a=True", "a=x"]),
        (column([None] * 2), column(["x"] * 2), ["a=x", "a=(missing)"]),
        (column([np.nan] * 2, float), column(["x"] * 2), ["a=x", "a=(missing)"]),
        (column([], float), column(["x"] * 2), ["a=x"]),
        (column([None] * 2), column([DAY_ZERO] * 2, None), ["a (days)", "a=(missing)"]),
        (column([np.nan] * 2, float), column([pd.Timedelta(1)], None), ["a", "a=(missing)"]),
        (column(["y"] * 2, "category"), column([None] * 2, "category"), ["a=y", "a=(missing)"]),
        (column(["y"] * 2, "category"), column(["x"] * 2, "category"), ["a=x", "a=y"]),
        (column([2] * 2, "category"), column([7] * 2, "category"), ["a=2", "a=7"]),
        (column([2, None]), column([0.5]), ["a", "a=(missing)"]),
    ],
)
def test_parts_of_different_dtypes_are_one_column(some, others, expected):
    assert merged_with(some, others).names == expected


def test_the_string_none_comes_before_missing_values(monkeypatch):
    monkeypatch.setattr(encoding, "_MOST_LEVELS", (1,))
    assert merged_with(column(["None"] * 5), column([None] * 5)).names == ["a=None", "a=(other)"]


@pytest.mark.parametrize(
    ("some", "others", "says"),
    [
        (column([DAY_ZERO], None), column(["x"]), "dates in some rows of column 'a', and strings"),
        (column([1.0], float), column(["x"]), "numbers in some rows of column 'a', and strings"),
        (column([1.0], object), column([DAY_ZERO], None), "dates in some rows.*and numbers"),
        (column([2, 3], "category"), column([1.0], float), "categories that are num.* and numbers"),
        (column(["x"]), column(["x"]).rename(columns={"a": "b"}), r"columns \['b'\] in some"),
    ],
)
def test_parts_that_are_no_column(some, others, says):
    with pytest.raises(ValueError, match=f"^X has (the )?{says}"):
        merged_with(some, others)


def test_what_is_refused_of_a_table_is_refused_of_parts():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    with pytest.raises(ValueError, match=r"^categorical_features has 'z'; the columns"):
        reading_of_parts(BackpropRegressor(categorical_features=["z"]), frame[:0])
    objects = reading_of_parts(
        BackpropRegressor(categorical_features=None), frame[:0].astype(object)
    )
    with pytest.raises(ValueError, match="strings in column 'b'"):
        statistics_of(objects, frame)
    reading = reading_of_parts(BackpropRegressor(), frame[:0])
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        decided(reading, statistics_of(reading, frame[:0]))
    infinite = frame.assign(a=np.inf)
    decision = decided(reading, statistics_of(reading, infinite))
    with pytest.raises(ValueError, match=r"infinity.*column 'a'"):
        encoded_part(decision, infinite)
    numbers = reading_of_parts(BackpropRegressor(), infinite[["a"]])
    with pytest.raises(ValueError, match="infinity"):
        statistics_of(numbers, infinite[["a"]])


def test_names_of_columns_and_libraries_do_not_matter():
    rng = np.random.default_rng(0)
    table = some_table(rng, 50, 12).drop(columns=["mixed", "nothing", "rooms"])
    check_parts(table.set_axis(range(9), axis=1), None, in_parts(table, rng))
    plain = table[["number", "count"]].set_axis([3, 4], axis=1)
    check_parts(plain, None, in_parts(table, rng))
    reading = reading_of_parts(BackpropRegressor(), table[:0])
    expected = decided(reading, statistics_of(reading, table)).encoding.state()
    parts = [pl.from_pandas(table[:20]), table[20:].convert_dtypes(dtype_backend="pyarrow")]
    merged = TableStatistics.merge(*(statistics_of(reading, part) for part in parts))
    assert repr(decided(reading, merged).encoding.state()) == repr(expected)


def test_levels_of_booleans_do_not_depend_on_other_columns():
    rng = np.random.default_rng(0)
    numbers = pd.DataFrame({"x": rng.normal(size=40), "flag": np.arange(40) % 2 == 0})
    model = BackpropRegressor(categorical_features=["flag"])
    names = {"flag=False", "flag=True"}
    for table in (numbers, numbers.assign(s="u", t="v"), numbers.astype({"flag": object})):
        _, found, _ = training_inputs(model, table, None, streaming=False)
        assert names < set(found.names)
