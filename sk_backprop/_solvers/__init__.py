"""One algorithm per file. Each takes an objective and initial weights, and returns a
`SolverResult`; none sees X, raises a warning, or depends on the estimator.

To add a solver, write a class (`Solver`) and enter it in `SOLVERS`.
"""

from sk_backprop._solvers._base import Solver
from sk_backprop._solvers.lbfgs import LBFGS
from sk_backprop._solvers.levenberg_marquardt import LevenbergMarquardt
from sk_backprop._solvers.muon import MuonSolver
from sk_backprop._solvers.stochastic import AdamSolver, SGDSolver

# By the value of the estimator's parameter `solver`.
SOLVERS: dict[str, type[Solver]] = {
    "lm": LevenbergMarquardt,
    "lbfgs": LBFGS,
    "adam": AdamSolver,
    "muon": MuonSolver,
    "sgd": SGDSolver,
}
