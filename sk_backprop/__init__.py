"""A sigmoid network trained by backpropagation, as a scikit-learn regressor.

One estimator, `BackpropRegressor`. It takes X and y as they are, in any units,
dense or sparse, scales them itself, and predicts in the units of y.

The rooms, and what each may import::

    _network     <- _objective <- _solvers/* <- _training <- _regressor <- __main__
    _network     <- _scaling, _rows <----------'   |
    _training    <- _validation <- _regressor <----'

    _network     layers of units over one flat vector: layout, initial weights,
                 forward and backward pass
    _objective   the weighted, penalised loss as a sum over row blocks; mini-batches
    _scaling     MaxAbs for X, location and scale for y, coordinates that train well,
                 and folding all of it back into the weights
    _rows        an order of rows that is theirs alone, equal ones merged
    _solvers/    one algorithm per file, and the object that watches a run
    _training    one run: raw arrays in, fitted weights and scales out
    _validation  what may be passed, and the errors for the rest
    _regressor   BackpropRegressor: parameters, the order of events, fitted attributes
    __main__     `python -m sk_backprop`: a comparison on real data, by the public API

The way of the data: raw X, y, sample_weight -> validated -> scaled -> an objective
over row blocks -> a solver moves the parameter vector -> scales are folded back ->
fitted attributes, set all at once. The numerics (`_network`, `_objective`,
`_rows`, `_solvers`, `_training`) see arrays and do not import scikit-learn.
"""

from sk_backprop._regressor import BackpropRegressor

__all__ = ["BackpropRegressor"]
__version__ = "0.1.0"
