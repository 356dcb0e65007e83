"""The contract of a solver, and the context of its runs."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from inspect import get_annotations
from typing import Any, ClassVar, NamedTuple, Self

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.blocks import Batch
from sk_backprop._inference.evidence import Precisions, WeightGroups
from sk_backprop._inference.objective import Objective
from sk_backprop._network.network import Network, Parameters
from sk_backprop._solvers._result import Monitor, OptimizerState, SolverResult, Status

# Largest and smallest mini-batch, and steps of an epoch where there are few rows. An epoch of one
# step gains so little that ten of them count as a stall: with all 150 rows of friedman1 in one
# batch the R2 of 'adam' ended .034 and that of 'sgd' .19 below that of lbfgs, with batches of 25
# .016 and .06 (`test_solvers`). Below 50 rows, a single batch did as well.
_BATCH, _LEAST_BATCH, _STEPS = 200, 25, 8


class Prior(NamedTuple):
    """Gaussian prior of the weights.

    groups : WeightGroups
    precisions : Precisions, fixed ones or those of the first steps
    n_plain_steps : int, steps before the evidence sets the precisions, or None if it never does
    """

    groups: WeightGroups
    precisions: Precisions
    n_plain_steps: int | None = None


class StreamPass(NamedTuple):
    """What a pass over the next batch of a stream continues from; the defaults are those of a fit.

    optimizer_state : OptimizerState of this solver after the last batch; None after a fit, or
        after another solver
    n_seen : int, samples seen before
    from_optimum : bool, whether the weights come from a fit that ended close to an optimum
    noise : (n_outputs,), noise variance, or None where the initial weights are not worth keeping
    before_step : called with the weights and each mini-batch before the step on it
    """

    optimizer_state: OptimizerState | None = None
    n_seen: int = 0
    from_optimum: bool = False
    noise: Array | None = None
    before_step: Callable[[Parameters, Batch], None] | None = None


class RunContext(NamedTuple):
    """What a run needs in addition to the estimator's parameters.

    prior : Prior, only for solvers with `evidence`
    permutation : draws the order of the n rows for an epoch; None keeps it
    stream : StreamPass
    """

    prior: Prior | None = None
    permutation: Callable[[int], Array] | None = None
    stream: StreamPass = StreamPass()


class Solver(ABC):
    """Base class of solvers; its defaults suit one that uses all rows, with a fixed penalty.

    A subclass defines `minimize` and `cost`, and annotates what it depends on, by name: parameters
    of the estimator (`_training.problem.Settings`) and items of `RunContext`. An entry in
    `SOLVERS` registers it.

    Attributes
    ----------
    all_rows : bool, whether a step uses all rows at once, and not a mini-batch. Rows are then
        sorted by their values, and equal ones merged, so that their order does not matter.
    evidence : bool, whether alpha='auto' is determined by the evidence, within a run. Such a solver
        follows the `prior` of its run, and its result has `precisions`.
    streams : bool, whether `partial_fit` may use it. It must then call
        `stream.before_step`, and gets its last `optimizer_state` back in `stream`.
    settles : bool, whether a fit ends close to an optimum, so that a stream that continues from it
        begins with short steps
    float64 : bool, whether it computes in float64 whatever the precision of X
    advice : {status: what to do about it}, where that differs from `ENDINGS`
    usual : values of parameters of the estimator that are 'auto'; of `alpha`, where there are no
        trials. A penalty of 2 did best over 20 data sets.
    """

    all_rows: ClassVar[bool] = True
    evidence: ClassVar[bool] = False
    streams: ClassVar[bool] = False
    settles: ClassVar[bool] = True
    float64: ClassVar[bool] = False
    advice: ClassVar[Mapping[Status, str]] = {}
    usual: ClassVar[Mapping[str, Any]] = {
        "learning_rate": "constant",
        "learning_rate_init": 0.003,
        "weight_decay": 0.0,
        "alpha": 2.0,
    }

    # Not a dataclass: six of them would take a seventh of the import time.
    def __init__(self, **parameters: Any) -> None:
        """Set the parameters that are given; the others have the defaults of the class."""
        if unknown := parameters.keys() - set(self._parameters()):
            raise TypeError(f"{type(self).__name__} does not depend on {sorted(unknown)}")
        vars(self).update(parameters)

    @classmethod
    def of(cls, settings: object, context: RunContext) -> Self:
        """The solver of a run.

        Its parameters are items of `context`, attributes of `settings`, or the defaults of the
        class where neither has the name.
        """
        given = context._asdict()
        names = (n for n in cls._parameters() if n in given or hasattr(settings, n))
        return cls(**{n: given[n] if n in given else getattr(settings, n) for n in names})

    @classmethod
    @cache
    def _parameters(cls) -> list[str]:
        """Names of the parameters of the class, base classes first."""
        annotated = [get_annotations(kind) for kind in reversed(cls.__mro__)]
        return [
            name
            for names in annotated
            for name, kind in names.items()
            if not str(kind).startswith(("ClassVar", "typing.ClassVar"))
        ]

    @staticmethod
    @abstractmethod
    def cost(network: Network, n_samples: int, n_iter: float | None = None) -> float:
        """Multiply-adds of training one network; see `_training.budget`.

        network : Network; n_samples : int
        n_iter : float or None, mean iterations of the runs of a trial
        """

    @staticmethod
    def uses_blas_threads(network: Network) -> bool:
        """Whether a run uses all BLAS threads, as pays where mini-batches train a large network.

        Where all rows are used at once, threads share the rows instead.
        """
        return False

    @staticmethod
    def usual_batch_size(n_samples: int, *, streaming: bool = False) -> int:
        """What batch_size='auto' stands for: batches of equal size, as nearly as possible."""
        if streaming:
            return _BATCH
        n_steps = max(1, min(_STEPS, n_samples // _LEAST_BATCH))
        return min(_BATCH, math.ceil(n_samples / n_steps))

    @classmethod
    def usual_for(cls, n_samples: int, batch_size: int) -> Mapping[str, Any]:
        """`usual`, adapted to a fit to `n_samples` rows by mini-batches of `batch_size` rows."""
        return cls.usual

    @abstractmethod
    def minimize(self, objective: Objective, theta: Array, monitor: Monitor) -> SolverResult:
        """Minimise `objective` until `monitor`, a limit or the precision ends the run.

        Parameters
        ----------
        objective : Objective, whose `network` has the layout of `theta`: ``layer_slice(k)`` is
            the part of layer k, and ``parameters(theta)`` are views of its matrices
        theta : (n_params,), initial weights, not to be changed. They may be more precise than
            `objective`, which computes in its own `dtype`.
        monitor : Monitor, to be notified when an iteration begins and ends. `Monitor.result` makes
            the result; an interrupt ends the run with the status 'interrupted'.
        """
