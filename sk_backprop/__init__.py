"""A scikit-learn regressor that takes tables as they are, and predicts with error bars.

`BackpropRegressor` is a network of sigmoid units. X may be an array, a sparse matrix, or a data
frame with categories, dates and missing values, in any units; predictions are in the units of y:

>>> from sklearn.datasets import load_diabetes
>>> from sk_backprop import BackpropRegressor
>>> X, y = load_diabetes(return_X_y=True, scaled=False)
>>> model = BackpropRegressor(random_state=0).fit(X, y)
>>> mean, std = model.predict(X[:3], return_std=True)
>>> low, high = model.predict_interval(X[:3], coverage=0.95).T

``help(BackpropRegressor)`` describes every parameter, method and fitted attribute, and guide.md, in
the folder of this package, when to use them. `IntervalDisplay` and the other displays plot a fit,
`sk_backprop.export` exports it to other tools, `sk_backprop.textbook` shows one pass of
backpropagation with all its numbers, and ``python -m sk_backprop --help`` is the command line.

For developers, the rooms, from the lowest; each may import only from itself and from rooms listed
before it::

    _blocks       arrays, blocks of rows, sums by one tree, linear algebra, threads
        arrays          the type of arrays, rows that stay sparse, blocks of rows
        blocks          sums over blocks that do not depend on which thread computes which
        exact           sums that do not depend on the partition of the rows
        linalg          the matrix products and inverses that take most of the time of a fit
        engine          what a distributed engine must offer: tasks on rows that are elsewhere
        threads         one BLAS thread where the matrices are small; threads that share rows
    _tables       columns of tables, and the numbers that stand for them
        kinds           numbers, categories, dates, ...: by the dtypes of any library
        reading         values of columns, without the types of a library
        table           columns of known kinds, whatever holds them
        statistics, distinct    what decides how columns are encoded, from parts of the rows
        encoding        the inputs of the network that stand for each column
        refusals        columns that are refused, with errors that say what to do
    _network      layers of units, and the distribution of y around their outputs
        network         one flat vector of parameters; forward and backward pass, derivatives
        dispersion      noise estimated from residuals: Pearson's statistic
        likelihood, families    everything in which losses differ, and the losses
        averaging       several networks as one network, their average, and back
    _coordinates  units and scales
        affine          the same function in other coordinates: weights and their precision
        scales          MaxAbs for X, location and scale for y, coordinates that train well
        row_order       rows in an order by values, equal ones merged; ranks of columns
        seen_rows       rows that a stream has seen: a sketch of fixed size
    _inference    from rows to a posterior, and from the posterior to predictions
        row_sums        loss, gradient and normal equations as sums over rows, or a part of them
        engine_sums     the same sums over rows on an engine
        objective       the weighted, penalised loss; mini-batches
        validation      loss and R^2 on rows that are not trained on
        evidence        precisions of weights and noise, and the log evidence
        factors         precision of the weights as a triangular factor, exact or in less memory
        laplace         Laplace approximation of the posterior of the weights
        online          noise and posterior in a stream
        calibration     the scale of the predictive distribution and the weight of its tails
        predictive      the fitted function: mean, distribution, gradient, leverage
        consistency     checks that stored numbers are consistent
    _solvers      one algorithm per file, their registry, and the monitor that watches a run
    _training     from a checked table to fitted networks
        problem         settings, starts, and rows in the coordinates of a solver
        partitions      rows on an engine, and their order by values
        engine_rows     the problem of rows on an engine: scales, parts, and a sample in memory
        settings        what parameters that are 'auto' stand for, by solver
        initial         initial weights
        run             one run: an objective, a solver, the posterior at its end
        events          events of a fit, for observers
        ensemble        several networks from different initial weights
        budget          how many operations a fit may take
        folds           training and held-out rows, drawn over distinct rows
        trials          candidates trained on some rows and scored on others
        selection       the search among candidates
        blending        weights of two kinds of networks in their mean
        outliers        rows whose target is a gross error, to be left out
        plan            what 'auto' stands for: solver, penalty, hidden layers, networks
        fitting         select candidates of a plan, and train their networks
        calibrating     errors on rows that were left out calibrate the distribution
    _estimator    what scikit-learn's users see
        parameters, sparse, checks    validation of the arguments, with error messages
        columns         what the columns of X are encoded as
        continued       checks of fits that continue another
        inputs          X as the numbers that the network sees, from arrays and tables
        importance      how much the fitted function changes with each column
        state           the fitted state, and how an estimator stores it
        start           where a fit starts: weights given, or those of the last fit
        diagnostics     fitted attributes and warnings
        compat          names that scikit-learn has from version 1.9 on
        progress, callbacks        observers of events: progress messages, callbacks
        calls           a call of `fit` or `partial_fit`, from its arguments to attributes
        collection_fit  `fit` for rows on an engine: each look at the rows is a task
        dask_engine     that of dask: the workers of the current client
        notebook        the estimator's documentation in help() and in its HTML representation
        lazy            dask collections: a method applied to each block, when it is computed
        operands        names and expressions for the inputs of a formula
        predictor, learner, regressor    BackpropRegressor
    _display      plots, from the public API of a fitted estimator
    export        the fitted function as an MLPRegressor or a formula
    textbook      one forward and one backward pass with every number in between
    _command      `python -m sk_backprop`: tables in files, by the public API
        sources, records        bytes of a file to text, text to rows of cells
        numerals, dates         numbers and dates as people write them
        columns, tables         what each column holds; inputs and targets
        frames                  Excel and Parquet files, by pandas
        contenders, evaluation, compare     comparison with other regressors on held-out rows
        fit, stored, predict, formula       a model in a file, its predictions and its formula
        report, page                        one HTML page
        description, advice     what was done with each column; code that does the same
        parser, checks, terminal            arguments, their errors, and output to the terminal
    __main__      the entry to _command

Data flow: raw X, y, sample_weight -> checked and encoded -> a plan -> scaled -> an objective over
row blocks -> a solver minimises it -> the posterior -> weights for MaxAbs-scaled inputs -> a fitted
state -> attributes, set all at once. The rooms up to `_solvers` see arrays and do not
import scikit-learn.

Objects that pass from room to room are not changed: plain records are named tuples, others plain
classes. (A frozen dataclass adds .4 ms to the import time even without == and repr, which only
`Network` needs; a named tuple .1 ms.)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sk_backprop import export as export
    from sk_backprop import textbook as textbook
    from sk_backprop._display import (
        IntervalDisplay,
        LossCurveDisplay,
        NetworkDisplay,
        PredictionDisplay,
        RelevanceDisplay,
    )
    from sk_backprop._estimator.regressor import BackpropRegressor

__all__ = [
    "BackpropRegressor",
    "IntervalDisplay",
    "LossCurveDisplay",
    "NetworkDisplay",
    "PredictionDisplay",
    "RelevanceDisplay",
]
__version__ = "0.1.0"


# Modules that are attributes before they are imported.
_MODULES = ("export", "textbook")


def __getattr__(name: str) -> object:
    # Imported on first use: scikit-learn takes most of a second, which `python -m sk_backprop
    # --version` does not need, and a service that refits every hour draws nothing.
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name == "BackpropRegressor":
        from sk_backprop._estimator.regressor import BackpropRegressor

        return BackpropRegressor
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sk_backprop import _display

    return getattr(_display, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
