"""A sigmoid network trained by backpropagation, as a scikit-learn regressor.

One estimator, `BackpropRegressor`. It takes X and y as they are, in any units,
dense or sparse, scales them itself, and predicts in the units of y. The displays draw
what it has learned, `sk_backprop.export` writes it down for others, and `sk_backprop.textbook`
shows one pass of backpropagation with all its numbers.

The rooms, and what each may import::

    _network   <- _objective <- _evidence <- _posterior, _solvers/* <- _training
    _network   <- _dispersion <- _likelihood <- _objective, _scaling, _validation
    _network   <- _threads <- _blocks <- _objective, _stream, _solvers/*
    _likelihood <- _training, _trials, _plan, _fitted, _state, _start, _regressor, textbook
    _network   <- _scaling <- _rows <- _training
    _rows <- _seen_rows;  _posterior, _scaling, _seen_rows <- _stream <- _training
    _seen_rows <- _report, _start, _regressor;  _columns, _sparse <- _validation
    _cost <- _plan;  _solvers/* <- _plan, _start, _validation
    _dispersion <- _posterior, _training, _trials, _plan
    _training  <- _folds <- _trials;  _training <- _progress <- _ensemble <- _trials <- _plan
    _consistency <- _posterior, _fitted, _report
    _training  <- _fitted <- _report, and <- _validation
    _plan      <- _callbacks
    _plan, _fitted, _validation <- _start
    _fitted, _validation, _notebook <- _predictor
    _plan, _report, _callbacks, _validation, _start, _predictor <- _regressor <- __main__
    _fitted, _operands, _regressor <- export;  _display imports none of them but _sparse
    _network, _objective, _validation <- textbook

    _network     layers of units over one flat vector: layout, initial weights,
                 forward and backward pass, derivatives by weights and inputs
    _objective   the weighted, penalised loss as a sum over row blocks; mini-batches;
                 normal equations
    _dispersion  what residuals say of the noise: Pearson's statistic
    _likelihood  the distribution of y given the outputs: all in which losses differ
    _blocks      sums over blocks of rows, by one tree, whoever computes which
    _evidence    precisions of weights and noise, and the log evidence
    _posterior   Laplace's approximation: the variance of a prediction
    _scaling     MaxAbs for X, location and scale for y, coordinates that train well,
                 and folding all of it back into the weights
    _stream      what the batches before have told, in the scales of the next
    _seen_rows   which rows a stream has seen: a sketch of fixed size
    _rows        an order of rows, equal ones merged, and ranks of columns, by their values
    _solvers/    one algorithm per file, their registry, and the object that watches a run
    _training    one run: raw arrays in, fitted weights, scales and posterior out
    _events      what a fit tells while it goes on, and who listens
    _progress    an observer that prints lines on the screen
    _callbacks   an observer that tells scikit-learn's callbacks, as a tree of tasks
    _threads     one BLAS thread where the matrices are small
    _ensemble    several networks from different initial weights
    _cost        how many operations a fit may take
    _folds       rows to train on and rows to judge by, drawn over distinct rows
    _trials      rows held out judge shapes and penalties, and show the noise
    _plan        what 'auto' stands for: solver, penalty, hidden layers, number of networks
    _consistency whether the fitted state fits together
    _fitted      the fitted function: mean, standard deviation and slopes at raw X
    _state       what a fit leaves, typed, and how an estimator holds it as plain data
    _report      what is read off from trained networks: the fitted state and warnings
    _columns     kinds of columns, and which of them are numbers
    _validation  what may be passed, and the errors for the rest
    _sparse      sparse tables whose index arrays contradict their shape
    _start       where a fit starts: network asked for, weights given or left by the last fit
    _notebook    the estimator's documentation in its HTML representation
    _predictor   what a fitted regressor gives: predictions, slopes, weights for raw X
    _regressor   BackpropRegressor: parameters, the order of events, fitted attributes
    _display/    pictures, by the public API of a fitted estimator
    _operands    what may stand for an input in a formula
    export       the fitted function as an MLPRegressor or a formula
    textbook     one forward and one backward pass with every number in between
    __main__     `python -m sk_backprop`: a comparison on real data, by the public API

The way of the data: raw X, y, sample_weight -> validated -> a plan -> scaled -> an
objective over row blocks -> a solver moves the parameter vector -> the posterior is
read off -> scales are folded back -> a fitted state -> attributes, set all at once. The
numerics see arrays and do not import scikit-learn.

What is carried from room to room does not change: plain records are named tuples, others frozen
dataclasses. (One of these costs the import .4 ms even without == and repr, which none but
`Network` needs; a named tuple .1.)
"""

from typing import TYPE_CHECKING

from sk_backprop._regressor import BackpropRegressor

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
