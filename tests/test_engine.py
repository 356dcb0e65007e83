"""Fits of rows in partitions on an engine have the bits of the fit of the same rows in memory.

Here on an engine without workers, whose tasks see copies of what they are given.
"""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cases import slow, slow_but
from engines import InProcess
from same_fit import assert_same_fit, curve, with_warnings
from sklearn.base import clone

from sk_backprop import BackpropRegressor
from sk_backprop._blocks.blocks import STATISTICS_ROWS, Batch
from sk_backprop._blocks.engine import reduced
from sk_backprop._coordinates.row_order import canonical_rows
from sk_backprop._coordinates.scales import MOST_IN_SAMPLE
from sk_backprop._estimator.collection_fit import Collection, fit_collection
from sk_backprop._inference.engine_sums import EngineSums, Part, WeightUnit
from sk_backprop._inference.row_sums import RowSums
from sk_backprop._network.families import LIKELIHOODS
from sk_backprop._network.network import Network
from sk_backprop._training.partitions import (
    PartitionFacts,
    RawPartition,
    facts_of,
    sorted_ranges,
)
from sk_backprop._training.problem import Data

# Three parts of whole blocks and a rest: a tree in which not all nodes are of one height.
N = 3 * STATISTICS_ROWS + 100


class Elsewhere:
    """An engine whose tasks run elsewhere, and twice, as after the loss of a worker.

    What goes in and out are pickles. Both runs have the same arguments and must give the same.
    """

    def __init__(self, n_threads=1):
        self.n_threads = n_threads

    def threads_of_task(self, n_tasks):
        return 2  # digits do not depend on it

    def submit(self, function, /, *args):
        of_task, given = pickle.loads(pickle.dumps((function, _results(args))))
        first, second = (pickle.dumps(of_task(*given)) for _ in range(2))
        assert first == second, f"{function} depends on more than its arguments, or changes them"
        return _Handle(first)

    def gather(self, handles):
        return _results(list(handles))


class _Handle:
    def __init__(self, result):
        self.result = result


def _results(value):
    """The value with results for all handles in it, also in its lists."""
    if isinstance(value, _Handle):
        return pickle.loads(value.result)
    return type(value)(map(_results, value)) if type(value) in (list, tuple) else value


def cut(values, cuts):
    """The rows of an array or a data frame in partitions that end at the given rows."""
    if values is None:
        return [None] * (len(cuts) + 1)
    of = values.iloc if hasattr(values, "iloc") else values
    return [of[start:stop] for start, stop in zip([0, *cuts], [*cuts, values.shape[0]])]


def in_partitions(engine, rows, cuts):
    """X, y and weights or None as a Collection."""
    blocks = list(zip(*(cut(values, cuts) for values in rows), strict=True))
    return Collection(engine, blocks, rows[0][:0], np.shape(rows[1]))


def fit_on(engine, model, rows, cuts, validation=None, init=(None, None)):
    """The model, fitted on an engine, and its warnings.

    rows, validation : X, y and weights or None; cuts : the rows at which partitions end
    """
    given = in_partitions(engine, rows, cuts)
    if validation is not None:
        validation = in_partitions(engine, validation, [1, 1, 100])
    messages = fit_collection(model, given, validation, init, rows)
    return model, [str(message) for message in messages]


def network(hidden=(3,), **params):
    return BackpropRegressor(hidden, **{"random_state": 0, "n_networks": 1, **params})


# --- the sums ---

BLOCK, EQUATIONS = 4, 8


def sums_of(n_rows, *, n_outputs=1, weighted=False, sparse=False):
    """Sums over rows in memory, and over the same rows in parts on an engine, in small blocks."""
    rng = np.random.default_rng(0)
    net = Network((3, 2, n_outputs), "logistic", "identity")
    X, y = rng.normal(size=(n_rows, 3)), rng.normal(size=(n_rows, n_outputs))
    X[rng.random(X.shape) < 0.4] = 0
    X = sp.csr_array(X) if sparse else X
    w = rng.uniform(0.1, 3, (n_rows, 1)) if weighted else None
    unit = None
    if weighted:
        relative = float((w / w.max()).sum())
        unit = WeightUnit(float(w.max()), relative, relative / n_rows)
    rows = Batch(X, y, None if w is None else w / unit.largest / unit.mean)
    local = RowSums(net, rows, block_rows=BLOCK, equation_rows=EQUATIONS)

    def on(engine, size):
        parts = [
            Part(Batch(X, y, w).take(slice(k, k + size)), k, min(size, n_rows - k))
            for k in range(0, n_rows, size)
        ]
        return EngineSums(engine, parts, net, rows, unit, (BLOCK, EQUATIONS))

    return net, local, on


def all_sums(net, sums):
    """Every sum at one point, as a list of arrays."""
    likelihood = LIKELIHOODS["squared_error", "identity"]
    params = net.parameters(np.random.default_rng(1).normal(size=net.n_params))
    grad = net.parameters(np.empty(net.n_params))
    loss = sums.gradient(likelihood, params, grad)
    equations = sums.equations(likelihood, params)
    # Only the lower triangles are set.
    equations = equations._replace(curvature=np.tril(equations.curvature))
    statistics = [*sums.losses(likelihood, params), *sums.pearson(likelihood, params)]
    return [np.array(loss), grad.flat.copy(), *statistics, *equations, sums.sample(3).X]


def same(found, expected):
    dense = [[x.toarray() if sp.issparse(x) else x for x in one] for one in (found, expected)]
    return all(np.array_equal(a, b) for a, b in zip(*dense, strict=True))


@pytest.mark.parametrize("size", [8, 16, 24, 40, 200])
@pytest.mark.parametrize("kind", [{}, {"weighted": True, "n_outputs": 2}, {"sparse": True}])
def test_sums_over_parts_are_those_over_all_rows(kind, size):
    net, local, on = sums_of(157, **kind)
    assert same(all_sums(net, on(InProcess(), size)), all_sums(net, local))


def test_sums_added_in_another_order_are_others():
    # Otherwise the test above could not fail: parts that are no nodes of the tree, parts in
    # another order, and merged ones that the engine adds one after the other.
    net, local, on = sums_of(157)
    expected = all_sums(net, local)
    assert not same(all_sums(net, on(InProcess(), 12)), expected)
    sums = on(InProcess(), 8)
    sums._parts = sums._parts[::-1]
    assert not same(all_sums(net, sums)[:2], expected[:2])


@pytest.mark.parametrize("fan_in", [None, 2, 3, 8, 100])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 65])
def test_results_are_merged_in_their_order(n, fan_in):
    engine = Elsewhere()
    handles = [engine.submit(_parenthesised, [str(k)]) for k in range(n)]
    merged = reduced(engine, handles, _parenthesised, fan_in)
    assert merged.replace("(", "").replace(")", "").split() == [str(k) for k in range(n)]


def _parenthesised(parts):
    return f"({' '.join(parts)})"


# --- fits ---


def with_zeros(y, cuts):
    """Weights of all rows, those of one partition zero."""
    w = np.random.default_rng(1).uniform(0, 2, len(y))
    w[cuts[1] : cuts[2]] = 0
    return w


CUTS = (0, 1, 9000, 9001, 9001, 20_000)  # an empty partition at first and one later, two of one row
FITS = {
    "lm": {"solver": "lm", "max_iter": 5},
    "lm, penalty, two layers": {"solver": "lm", "alpha": 1.0, "hidden": (3, 2), "max_iter": 5},
    "lbfgs": {"solver": "lbfgs", "alpha": 1.0, "max_iter": 9},
    "float32": {"solver": "lbfgs", "alpha": 0.1, "max_iter": 9, "kind": "float32"},
    "sparse": {"solver": "lbfgs", "alpha": 1.0, "max_iter": 9, "kind": "sparse"},
    "two outputs, weights": {"solver": "lm", "max_iter": 4, "kind": "two", "weighted": True},
    "poisson": {"solver": "lm", "loss": "poisson", "max_iter": 5, "kind": "counts"},
    "student_t": {"solver": "lm", "loss": "student_t", "max_iter": 6, "kind": "far"},
    "without scaling": {"solver": "lbfgs", "alpha": 1.0, "precondition": False, "max_iter": 5},
    "two networks": {"solver": "lbfgs", "alpha": 1.0, "n_networks": 2, "max_iter": 5},
    "weights": {"solver": "lbfgs", "alpha": 1.0, "max_iter": 9, "weighted": True},
}


def rows_of(kind, n_rows=N):
    X, y = curve(n_rows)
    rng = np.random.default_rng(2)
    if kind == "float32":
        X = X.astype(np.float32)
    if kind == "sparse":
        X[np.abs(X) < 0.5] = 0
        X = sp.csr_array(X)
    if kind == "two":
        y = np.c_[y, X[:, 1] * 1e3]
    if kind == "counts":
        y = rng.poisson(np.exp(y / 2)).astype(float)
    if kind == "far":
        y[::997] += 1e3
    return X, y


@pytest.mark.parametrize("fit", slow_but(["lm", "weights", "float32"], FITS))
def test_a_fit_has_the_bits_of_the_fit_in_memory(fit):
    params = dict(fit)
    X, y = rows_of(params.pop("kind", None))
    w = with_zeros(y, CUTS) if params.pop("weighted", False) else None
    hidden = params.pop("hidden", (3,))
    local, told = with_warnings(network(hidden, **params).fit, X, y, sample_weight=w)
    for n_threads in (1, 2, 3, 7):
        found = fit_on(InProcess(n_threads), network(hidden, **params), (X, y, w), CUTS)
        assert_same_fit(found[0], local)
        assert sorted(found[1]) == sorted(told)


def test_order_and_partitions_of_the_rows_do_not_matter():
    X, y = curve(N)
    X[5000:7000], y[5000:7000] = X[4999], y[4999]
    w = np.random.default_rng(3).uniform(0, 4, N)
    params = {"solver": "lbfgs", "alpha": 1.0, "max_iter": 5}
    local, _ = with_warnings(network(**params).fit, X, y, sample_weight=w)
    shuffled = np.random.default_rng(4).permutation(N)
    rows = X[shuffled], y[shuffled], w[shuffled]
    for cuts in ((), (5, 17_000), range(0, N, 2000)):
        assert_same_fit(fit_on(InProcess(2), network(**params), rows, list(cuts))[0], local)


def raw_partitions(engine, X, y, cuts):
    """Handles of X and y in partitions that end at the given rows."""
    numbers = cut(np.arange(len(y)), cuts)
    parts = zip(cut(X, cuts), cut(y[:, None], cuts), numbers, strict=True)
    return [engine.submit(RawPartition, Data(*rows), number) for *rows, number in parts]


def test_rows_that_change_when_they_are_computed_again_are_refused():
    X, y = curve(200)
    facts = facts_of(InProcess(), raw_partitions(InProcess(), X, y, [90]))
    X[17, 0] *= 2
    with pytest.raises(ValueError, match=r"have changed while they were read: .* persist"):
        sorted_ranges(InProcess(), raw_partitions(InProcess(), X, y, [90]), facts)


@pytest.mark.parametrize("n_threads", [1, 5])
def test_tasks_may_run_twice_and_elsewhere(n_threads):
    X, y = curve(N, n_features=1)
    rows, params = (X, y, np.linspace(0.5, 2, N)), {"solver": "lbfgs", "alpha": 1.0, "max_iter": 4}
    local, _ = with_warnings(network(**params).fit, *rows)
    assert_same_fit(fit_on(Elsewhere(n_threads), network(**params), rows, [9000])[0], local)
    some = tuple(values[:400] for values in rows)
    params = {"solver": "lm", "loss": "student_t", "max_iter": 3}
    local, _ = with_warnings(network(**params).fit, *some)
    assert_same_fit(fit_on(Elsewhere(n_threads), network(**params), some, [9, 100])[0], local)


# --- small tables: one part of all rows, and as many ranges as partitions ---

SMALL = (0, 1, 60, 60, 100)


def small(n_rows=150, seed=0):
    return curve(n_rows, 2, seed)


@pytest.mark.parametrize("n_rows", [60, *slow([150])])
def test_the_defaults(n_rows):
    # Below 200 rows there are no candidates of mini-batches, in memory either.
    X, y = small(n_rows)
    y[9] = 300.0
    model = BackpropRegressor(random_state=0, n_networks=2)
    local, told = with_warnings(clone(model).fit, X, y)
    assert 9 in local.outliers_
    cuts = [cut for cut in SMALL if cut < n_rows]
    found, messages = fit_on(InProcess(3), model, (X, y, None), cuts)
    assert_same_fit(found, local)
    assert messages == told


def table(n_rows=150):
    """A data frame whose categories and gaps are not the same in all rows, and its target."""
    X, y = small(n_rows)
    rng = np.random.default_rng(5)
    kinds = np.where(np.arange(n_rows) < n_rows // 2, "a", rng.choice(["b", "c"], n_rows))
    frame = pd.DataFrame(
        {
            "gaps": np.where((np.arange(n_rows) > 90) & (X[:, 0] > 0), np.nan, X[:, 0]),
            "kind": pd.Categorical(kinds),
            "text": pd.Series(rng.choice(["x", "y", "z"], n_rows), dtype=object),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, n_rows), "D"),
            "count": rng.integers(0, 9, n_rows),
            "flag": X[:, 1] > 0,
        }
    )
    return frame, y + (kinds == "b")


@pytest.mark.parametrize("weighted", [False, True])
def test_data_frames(weighted):
    frame, y = table()
    w = with_zeros(y, SMALL) if weighted else None
    params = {"solver": "lm", "max_iter": 4}
    local, told = with_warnings(network(**params).fit, frame, y, sample_weight=w)
    for n_threads in (1, 3):
        found, messages = fit_on(InProcess(n_threads), network(**params), (frame, y, w), SMALL)
        assert_same_fit(found, local)
        assert messages == told
    assert found.feature_names_in_.tolist() == list(frame.columns)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_partitions_of_other_dtypes(kind):
    # Values that all dtypes have, and the precision of the finest.
    X, y = small()
    X, y = np.round(X * 8), np.round(y * 8)
    params = {"solver": "lbfgs", "alpha": 1.0, "max_iter": 5}
    local, _ = with_warnings(network(**params).fit, kind(X), y)
    blocks = [
        (kind(X[:50].astype(np.float32)), y[:50].astype(np.int64), None),
        (kind(X[50:90].astype(np.int32)), y[50:90].astype(np.float32), None),
        (kind(X[90:]), y[90:], None),
    ]
    for order in ([0, 1, 2], [2, 0, 1]):
        given = Collection(InProcess(3), [blocks[k] for k in order], kind(X[:0]), y.shape)
        found = network(**params)
        fit_collection(found, given, None, (None, None), (X, y, None))
        assert_same_fit(found, local)


@pytest.mark.parametrize("weighted", [False, True])
def test_validation_rows(weighted):
    (X, y), (X_val, y_val) = curve(N), curve(9000, seed=1)
    w_val = np.linspace(1, 2, 9000) if weighted else None
    params = {"solver": "lbfgs", "alpha": 0.1, "max_iter": 15, "early_stopping": True}
    local = network(**params)
    with_warnings(local.fit, X, y, X_val=X_val, y_val=y_val, sample_weight_val=w_val)
    found, _ = fit_on(InProcess(3), network(**params), (X, y, None), CUTS, (X_val, y_val, w_val))
    assert_same_fit(found, local)
    assert len(found.validation_scores_) > 1


@pytest.mark.parametrize("kind", ["copies", "a grid"])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_that_early_stopping_sets_aside(weighted, kind):
    X, y = curve(3000)
    X[:500], y[:500] = X[500:1000], y[500:1000]  # copies stay on one side
    if kind == "a grid":  # rows whose sums are equal are in the order of the user
        X = np.random.default_rng(0).integers(0, 20, (3000, 2)).astype(float)
        y = np.sin(X.sum(axis=1))
    w = np.linspace(0, 2, len(y)) if weighted else None
    params = {"solver": "lbfgs", "alpha": 0.1, "max_iter": 15, "early_stopping": True}
    local, _ = with_warnings(network(**params).fit, X, y, sample_weight=w)
    found, _ = fit_on(InProcess(3), network(**params), (X, y, w), [0, 30, 700, 701, 2500])
    assert_same_fit(found, local)
    few = network(**params, validation_fraction=0.9)
    with pytest.raises(ValueError, match="sets 2 rows aside for validation"):
        fit_on(InProcess(), few, (X[1:3], y[1:3], None), [1])


@pytest.mark.slow
def test_early_stopping_sets_rows_of_small_collections_aside():
    X = np.random.default_rng(0).normal(size=(MOST_IN_SAMPLE + 1, 1))
    model = network(solver="lbfgs", alpha=0.1, early_stopping=True)
    with pytest.raises(ValueError, match=r"at most 200,000 different rows .* has 200,001"):
        fit_on(InProcess(), model, (X, X[:, 0], None), [90_000])


@pytest.mark.parametrize("most_pieces", [1, 20, 10_000])
def test_many_partitions_exchange_their_rows_in_two_steps(most_pieces):
    X, y = small()
    w = np.linspace(0.5, 2, len(y))
    rows = Data(X, y[:, None], w)
    ends = [0, 1, 1, 30, 31, 60, 80, 100, 110, len(y)]
    engine = InProcess(3)
    partitions = [
        RawPartition(rows.take(np.arange(*ends)), np.arange(*ends)) for ends in pairwise(ends)
    ]
    facts = PartitionFacts.merged([PartitionFacts.of(one) for one in partitions])
    found = sorted_ranges(engine, partitions, facts, most_pieces)
    data = [one.data for one in found.rows.handles if one is not None]
    assert len(data) > 3
    units = found.units
    order, weights = canonical_rows(X, units.x, rows.y / units.y, w)
    np.testing.assert_array_equal(np.concatenate([one.X for one in data]), X[order])
    np.testing.assert_array_equal(np.concatenate([one.y[:, 0] for one in data]), y[order])
    np.testing.assert_array_equal(np.concatenate([one.weights for one in data]), weights)


@pytest.mark.parametrize("solver", ["lm", "lbfgs"])
def test_a_warm_start(solver):
    (X, y), (X_next, y_next) = curve(N), curve(9000, seed=1)
    params = {"solver": solver, "max_iter": 3, "warm_start": True, "n_networks": 2}
    if solver == "lbfgs":
        params["alpha"] = 1.0
    local = network(**params)
    with_warnings(local.fit, X, y)
    in_memory, far = pickle.loads(pickle.dumps(local)), network(**params)
    fit_on(InProcess(3), far, (X, y, None), CUTS)
    assert_same_fit(far, local)
    with_warnings(local.fit, X_next, y_next)
    for model in (in_memory, far):
        fit_on(InProcess(2), model, (X_next, y_next, None), [3, 8000])
        assert_same_fit(model, local)


def test_given_weights():
    X, y = curve(N, 2)
    rng = np.random.default_rng(6)
    coefs, intercepts = [rng.normal(size=(2, 3)), rng.normal(size=(3, 1))], [np.ones(3), np.ones(1)]
    init, params = (coefs, intercepts), {"solver": "lbfgs", "alpha": 1.0, "max_iter": 5}
    local = network(**params)
    with_warnings(local.fit, X, y, coefs_init=coefs, intercepts_init=intercepts)
    found, _ = fit_on(InProcess(3), network(**params), (X, y, None), CUTS, init=init)
    assert_same_fit(found, local)


MANY = {
    "student_t": {"solver": "lm", "loss": "student_t"},
    "poisson, weights": {"solver": "lm", "loss": "poisson", "kind": "counts", "weighted": True},
    "noise": {"solver": "lm", "noise": "varying"},
    "float32": {"solver": "lbfgs", "alpha": 1.0, "kind": "float32"},
}


@pytest.mark.slow
@pytest.mark.parametrize("fit", slow_but([], MANY))
def test_of_many_rows_the_same_sample_is_taken(fit):
    # Above 400,000 rows every third by rank: the noise, its tails and selection see these alone.
    params = {"max_iter": 3, **fit}
    X, y = rows_of(params.pop("kind", None), 410_000)
    w = with_zeros(y, (0, 10, 1000)) if params.pop("weighted", False) else None
    local, told = with_warnings(network((2,), **params).fit, X, y, sample_weight=w)
    found, messages = fit_on(InProcess(3), network((2,), **params), (X, y, w), [10, 100_000])
    assert_same_fit(found, local)
    assert sorted(messages) == sorted(told)


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
def test_auto_selects_among_the_candidates_that_use_all_rows(weighted, monkeypatch):
    X, y = curve(5000)
    w = with_zeros(y, (0, 100, 1500)) if weighted else None
    rows = X, y, w
    found, messages = fit_on(
        InProcess(3), BackpropRegressor(random_state=0), rows, [100, 1500, 1501]
    )
    monkeypatch.setattr(Data, "in_memory", False)  # as for rows of which no mini-batch is drawn
    local, told = with_warnings(BackpropRegressor(random_state=0).fit, X, y, sample_weight=w)
    assert_same_fit(found, local)
    assert messages == told


# --- refusals ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: X.__setitem__((70, 1), np.nan) or (X, y), None),
        (lambda X, y: X.__setitem__((70, 1), np.inf) or (X, y), r"Partition 3 of X: .*infinity"),
        (lambda X, y: y.__setitem__(70, np.nan) or (X, y), r"Partition 3 of X: .*y.* contains NaN"),
    ],
)
def test_an_error_names_the_partition(change, message):
    X, y = change(*small())
    cuts = [20, 40, 60]
    if message is None:  # missing values are values
        local, _ = with_warnings(network(solver="lm", max_iter=3).fit, X, y)
        found, _ = fit_on(InProcess(), network(solver="lm", max_iter=3), (X, y, None), cuts)
        assert_same_fit(found, local)
        return
    model = network(solver="lm")
    with pytest.raises(ValueError, match=message):
        fit_on(InProcess(), model, (X, y, None), cuts)
    assert not hasattr(model, "coefs_")
    assert not hasattr(model, "n_features_in_")
