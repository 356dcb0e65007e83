"""The contract of a solver, and what a run by one is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from inspect import get_annotations
from typing import Any, ClassVar, NamedTuple, Self

from sk_backprop._blocks.arrays import Array
from sk_backprop._blocks.blocks import Batch
from sk_backprop._inference.evidence import Precisions, WeightGroups
from sk_backprop._inference.objective import Objective
from sk_backprop._network.network import Network, Parameters
from sk_backprop._solvers._result import Monitor, OptimizerState, SolverResult, Status


class Prior(NamedTuple):
    """What holds the weights.

    groups : WeightGroups
    precisions : Precisions, fixed ones or those of the first steps
    n_plain_steps : int or None, steps before the evidence decides; None: it never does
    """

    groups: WeightGroups
    precisions: Precisions
    n_plain_steps: int | None = None


class StreamPass(NamedTuple):
    """What a pass over the next batch of a stream goes on from; the default is that of a fit.

    optimizer_state : OptimizerState that this solver left after the last batch; None where that
        was a fit, or by another solver
    n_seen : int, samples seen before
    from_optimum : bool, whether the weights were fitted to all rows at once before
    noise : (n_outputs,) or None, its variance, where the start is worth keeping
    before_step : to be called with the weights and each mini-batch before the step on it
    """

    optimizer_state: OptimizerState | None = None
    n_seen: int = 0
    from_optimum: bool = False
    noise: Array | None = None
    before_step: Callable[[Parameters, Batch], None] | None = None


class RunContext(NamedTuple):
    """What a run is given beside the estimator's parameters.

    prior : Prior, for solvers with `evidence` alone
    permutation : draws the order of the n rows for an epoch; None keeps it
    stream : StreamPass
    """

    prior: Prior | None = None
    permutation: Callable[[int], Array] | None = None
    stream: StreamPass = StreamPass()


class Solver(ABC):
    """Base class of solvers; its defaults are those of one on all rows, with a fixed penalty.

    A subclass defines `minimize` and `cost`, and annotates what it depends on, by name: parameters
    of the estimator (`_training.problem.Settings`) and items of `RunContext`. One entry in
    `SOLVERS` makes it known.

    Attributes
    ----------
    all_rows : bool, whether a step is by all rows at once, and not by mini-batches. Rows are then
        sorted by their values, and equal ones merged, so that their order does not matter.
    evidence : bool, whether alpha='auto' is found by the evidence, within a run. Such a solver
        follows the `prior` of its run, and its result has `precisions`.
    streams : bool, whether `partial_fit` may use it. Its `stream` must then be told of each
        mini-batch, and comes back with the `optimizer_state` of the result before.
    float64 : bool, whether it computes in float64 whatever the precision of X
    blas_threads : bool, whether more than one BLAS thread pays, for a large network
    advice : {status: what to do about it}, where that differs from `ENDINGS`
    """

    all_rows: ClassVar[bool] = True
    evidence: ClassVar[bool] = False
    streams: ClassVar[bool] = False
    float64: ClassVar[bool] = False
    blas_threads: ClassVar[bool] = False
    advice: ClassVar[Mapping[Status, str]] = {}

    # Not a dataclass: six of them would take a seventh of the time of the import.
    def __init__(self, **parameters: Any) -> None:
        """With what it depends on; what is left out has the default of the class."""
        if unknown := parameters.keys() - set(self._parameters()):
            raise TypeError(f"{type(self).__name__} does not depend on {sorted(unknown)}")
        vars(self).update(parameters)

    @classmethod
    def of(cls, settings: object, context: RunContext) -> Self:
        """The solver of a run.

        What it depends on are items of `context`, attributes of `settings`, or, where these have
        none of the name, its own defaults.
        """
        given = context._asdict()
        names = (n for n in cls._parameters() if n in given or hasattr(settings, n))
        return cls(**{n: given[n] if n in given else getattr(settings, n) for n in names})

    @classmethod
    def _parameters(cls) -> list[str]:
        """Names of what it depends on, base classes first."""
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

        n_iter : float or None, iterations that runs on some of the rows have taken
        """

    @abstractmethod
    def minimize(self, objective: Objective, theta: Array, monitor: Monitor) -> SolverResult:
        """Minimise `objective` until `monitor`, a limit or the precision ends the run.

        Parameters
        ----------
        objective : Objective, whose `network` has the layout of `theta`: ``layer_slice(k)`` is
            the part of layer k, and ``parameters(theta)`` are views of its matrices
        theta : (n_params,), the start, which stays as it is. It may be more precise than
            `objective`, which computes in its own `dtype`.
        monitor : Monitor, told when an iteration begins and ends. `Monitor.result` makes the
            result; an interrupt ends the run with the status 'interrupted'.
        """
