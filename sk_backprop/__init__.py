"""A sigmoid network trained by backpropagation, as a scikit-learn regressor.

One estimator, `BackpropRegressor`. It takes X and y as they are, in any units,
dense or sparse, scales them itself, and predicts in the units of y. The displays draw
what it has learned, `sk_backprop.export` writes it down for others, and `sk_backprop.textbook`
shows one pass of backpropagation with all its numbers.

The rooms, each with what it may import from those before it::

    _blocks       arrays, blocks of rows, sums by one tree, linear algebra, threads
        arrays          the type of arrays, rows that stay sparse, blocks of rows
        blocks          sums over blocks that do not depend on who computes which
        linalg          the products and inverses that take most of the time of a fit
        threads         one BLAS thread where the matrices are small; threads that share rows
    _network      layers of units, and the distribution of y around their outputs
        network         one flat vector of parameters; forward and backward pass, derivatives
        dispersion      the noise estimated from residuals: Pearson's statistic
        likelihood      everything in which losses differ
        averaging       several networks as the one that is their average, and back
    _coordinates  units and scales
        affine          one function in other coordinates: its weights, and their precision
        scales          MaxAbs for X, location and scale for y, coordinates that train well
        row_order       an order of rows, equal ones merged, and ranks of columns, by values
        seen_rows       which rows a stream has seen: a sketch of fixed size
    _inference    from rows to a posterior, and from a posterior to predictions
        objective       the weighted, penalised loss; mini-batches; normal equations
        evidence        precisions of weights and noise, and the log evidence
        laplace         Laplace's approximation of the posterior of the weights
        online          noise and posterior in a stream
        predictive      the fitted function: mean, standard deviation, gradient, leverage
        consistency     checks that stored numbers belong together
    _solvers      one algorithm per file, their registry, and the monitor that watches a run
    _training     from a checked table to fitted networks
        problem         settings, starts, and rows in the coordinates of a solver
        run             one run: an objective, a solver, the posterior at its end
        events          what a fit reports while it goes on
        ensemble        several networks from different initial weights
        budget          how many operations a fit may take
        folds           rows to train on and rows to judge by, drawn over distinct rows
        selection       candidates scored on held-out rows
        plan            what 'auto' stands for: solver, penalty, hidden layers, networks
    _estimator    what scikit-learn's users see
        columns, sparse, checks    what may be passed, and the errors for the rest
        state           the fitted state, and how an estimator holds it
        start           where a fit starts: weights given, or left by the last fit
        diagnostics     the fitted state of a call, and the warnings
        progress, callbacks        observers of events: lines on the screen, scikit-learn's
        notebook        the estimator's documentation in its HTML representation
        operands        what may stand for an input in a formula
        predictor, regressor       BackpropRegressor
    _display      pictures, by the public API of a fitted estimator
    export        the fitted function as an MLPRegressor or a formula
    textbook      one forward and one backward pass with every number in between
    __main__      `python -m sk_backprop`: a comparison on real data, by the public API

The way of the data: raw X, y, sample_weight -> validated -> a plan -> scaled -> an
objective over row blocks -> a solver moves the parameter vector -> the posterior is
read off -> scales are folded back -> a fitted state -> attributes, set all at once. The
numerics see arrays and do not import scikit-learn.

What is carried from room to room does not change: plain records are named tuples, others frozen
dataclasses. (One of these costs the import .4 ms even without == and repr, which none but
`Network` needs; a named tuple .1.)
"""

from typing import TYPE_CHECKING

from sk_backprop._estimator.regressor import BackpropRegressor

if TYPE_CHECKING:
    from sk_backprop._display import (
        IntervalDisplay,
        LossCurveDisplay,
        NetworkDisplay,
        PredictionDisplay,
        RelevanceDisplay,
    )

__all__ = [
    "BackpropRegressor",
    "IntervalDisplay",
    "LossCurveDisplay",
    "NetworkDisplay",
    "PredictionDisplay",
    "RelevanceDisplay",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # The displays, when first asked for: a service that refits every hour draws nothing,
    # and they are an eighth of the import.
    if name in __all__:
        from sk_backprop import _display

        return getattr(_display, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
