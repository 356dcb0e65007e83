"""scikit-learn's own checks of an estimator, on every kind of configuration.

All the checks of all the configurations are slow; those that are not hold a configuration of
every solver, each kind of stopping and of coordinates.
"""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_backprop import BackpropRegressor

QUICK = [
    BackpropRegressor((5,), solver="lm", n_networks=2, early_stopping=True),
    BackpropRegressor((), solver="lbfgs", alpha=2.0),
    BackpropRegressor((20,), solver="lbfgs", alpha=2.0, precondition=False),
    BackpropRegressor(
        # With a lower rate it stays on its first plateau from some initial weights; so below.
        (50,),
        solver="sgd",
        precondition=False,
        learning_rate_init=0.05,
        alpha=0.001,
    ),
    BackpropRegressor((20,), solver="adam", alpha=2.0, early_stopping=True),
]
# A covering set: every value of each setting, and every solver with each loss, with several layers
# and, if it takes all rows at once, with several networks.
SLOW = [
    BackpropRegressor(),
    BackpropRegressor((5, 5), solver="lm", alpha="auto", n_networks=2, weight_groups="layer"),
    BackpropRegressor((5,), solver="lm", alpha=0.1),
    BackpropRegressor((5,), solver="lm", loss="student_t", n_networks=1, noise="constant"),
    BackpropRegressor((20,), solver="lbfgs", alpha=2.0, n_networks=3, activation="tanh"),
    BackpropRegressor((5, 5), solver="lbfgs", alpha=2.0, activation="relu", early_stopping=True),
    BackpropRegressor((20,), solver="lbfgs", alpha=2.0, activation="identity", loss="student_t"),
    BackpropRegressor(
        (20,),
        solver="sgd",
        alpha=2.0,
        learning_rate="adaptive",
        nesterovs_momentum=False,
        max_iter=100,
    ),
    BackpropRegressor((20, 10), solver="adam", alpha=2.0, loss="student_t", max_iter=100),
    BackpropRegressor(
        (20,), solver="adam", alpha=2.0, precondition=False, shuffle=False, learning_rate_init=0.03
    ),
]
# Not here: loss="poisson" and output_activation="logistic". They need y >= 0, and
# scikit-learn's multi-output check feeds negative y whatever the estimator's tags say.


pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:The networks use:UserWarning"),  # data of eleven rows
]


@parametrize_with_checks(QUICK)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(SLOW)
def test_scikit_learn_checks_of_other_settings(estimator, check):
    check(estimator)
