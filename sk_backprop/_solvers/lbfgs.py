"""Limited-memory BFGS on all rows at once, by scipy.

Byrd, Lu, Nocedal & Zhu 1995, SIAM J. Sci. Comput. 16, 1190-1208,
doi:10.1137/0916069.

A fit of 100 iterations to 353 rows of 10 columns (10 units, one thread) spends half of its time in
scipy's routine, a fifth in loss and gradient, and an eighth in the Python around the routine. Of 30
iterations on 50,000 rows (50 units, 370 ms) loss and gradient take 330 ms: a third of that is tanh,
a third matrix products.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import OptimizeResult
from scipy.optimize import minimize as scipy_minimize

from sk_backprop._blocks.arrays import Array, beyond_range_is_inf
from sk_backprop._inference.objective import Objective
from sk_backprop._network.network import Network
from sk_backprop._solvers._base import Solver
from sk_backprop._solvers._result import Monitor, SolverResult, Status

# Correction pairs that are kept. With fewer, rounding errors grow: of 40 noisy tables, each fitted
# with OpenBLAS's kernels for four processors, 38 agreed to 1e-6 with 60 pairs, and 28 with 20
# (tests/test_versions.py). A run to the same loss takes as long, with fewer iterations; 100 of them
# on 353 rows take 1.9 times as long, because scipy factorises a matrix of 2 x 60 rows in each.
MEMORY = 60

# Numbers stored, at most, and pairs, at least: 60 pairs of a million weights are a gigabyte.
_MOST_STORED, _LEAST_MEMORY = 600_000, 20

# Iterations of a run (50 to 500 were seen under a sensible penalty), and the cost of one per row
# and parameter: three matrix products, and passes over memory that take three times as long.
# Operations on the parameters alone cost as much as `_COST_ROWS` rows.
_ITERATIONS, _PASSES, _COST_ROWS = 300, 12, 200

# scipy's status of a run that maxiter or maxfun ended.
_LIMIT_REACHED = 1


class LBFGS(Solver):
    """L-BFGS-B of scipy, without bounds.

    scipy's own tolerances are absolute for a loss below 1, and are switched off: `Monitor` ends a
    run by a tolerance relative to the loss. The search runs in float64 whatever the precision of
    the data, in which loss and gradient are computed.

    max_iter, max_fun : int, limits on iterations, and on evaluations of loss and gradient
    memory : int, correction pairs to keep, or fewer where there are many weights
    """

    max_iter: int
    max_fun: int
    memory: int = MEMORY

    @staticmethod
    def cost(network: Network, n_samples: int, n_iter: float | None = None) -> float:
        """Cost of the usual number of iterations; `n_iter` is ignored."""
        rows = n_samples + _COST_ROWS
        return float(_ITERATIONS * _PASSES * rows * network.n_params)

    @beyond_range_is_inf
    def minimize(self, objective: Objective, theta: Array, monitor: Monitor) -> SolverResult:
        """Minimise until `monitor` sees a stall, or an iteration no longer gains anything."""
        search = _Search(objective, theta, monitor)
        params = search.params
        try:
            objective.follow_noise(params)
            while True:
                found = scipy_minimize(
                    search.loss,
                    params.flat.astype(np.float64),
                    jac=search.gradient,
                    method="L-BFGS-B",
                    callback=search.end_iteration,
                    options={
                        "maxiter": self.max_iter - monitor.n_iter,
                        "maxfun": self.max_fun - search.n_evaluations,
                        "maxcor": _affordable_memory(self.memory, theta.size),
                        "ftol": 0.0,
                        "gtol": 0.0,
                    },
                )
                out_of_evaluations = search.n_evaluations >= self.max_fun
                at_limit = monitor.n_iter >= self.max_iter or out_of_evaluations
                if at_limit or search.stopped not in (None, "converged"):
                    break
                if not objective.follow_noise(params):
                    break
                search.stopped = None
                monitor.watch_anew()
        except KeyboardInterrupt:
            return monitor.result(params, "interrupted")
        if monitor.n_iter == 0:
            progress = monitor.record(params, float(found.fun))
            if progress in ("diverged", "stopped"):
                search.stopped = progress
        ended = _end_of_search(found, out_of_evaluations=out_of_evaluations)
        return monitor.result(params, search.stopped or ended)


class _Search:
    """What scipy's routine calls, and where it is.

    params : Parameters, at the end of the last iteration
    n_evaluations : int, of loss and gradient
    stopped : Status that the monitor asked for, or None
    """

    def __init__(self, objective: Objective, theta: Array, monitor: Monitor) -> None:
        self._objective, self._monitor = objective, monitor
        self.params = objective.network.parameters(theta.copy())
        self._trial, self._grad = objective.parameters(theta), objective.parameters(theta)
        self.n_evaluations = 0
        self.stopped: Status | None = None

    def loss(self, at: Array) -> float:
        self.n_evaluations += 1
        self._monitor.begin_iteration(self.params)
        self._trial.flat[...] = at
        return self._objective.loss_gradient(self._trial, self._grad)

    def gradient(self, at: Array) -> Array:
        # scipy asks for it where it last asked for the loss. (With jac=True it caches both,
        # which takes 20 of the 110 us of an iteration.)
        return self._grad.flat.astype(np.float64)

    def end_iteration(self, intermediate_result: OptimizeResult) -> None:
        self.params.flat[...] = intermediate_result.x
        progress = self._monitor.record(self.params, float(intermediate_result.fun))
        if progress != "going":
            self.stopped = "converged" if progress == "stalled" else progress
            raise StopIteration


def _affordable_memory(memory: int, n_params: int) -> int:
    return min(memory, max(_MOST_STORED // (2 * n_params), _LEAST_MEMORY))


def _end_of_search(found: OptimizeResult, *, out_of_evaluations: bool) -> Status:
    """The status of a run that scipy ended by itself."""
    if found.status == _LIMIT_REACHED:
        return "max_fun" if out_of_evaluations else "max_iter"
    # Success, or a line search that found nothing for rounding errors: neither can be improved
    # in this precision.
    return "converged"
