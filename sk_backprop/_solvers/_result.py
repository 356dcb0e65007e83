"""What every solver returns, and the objects that watch a run: monitor and observer."""

from typing import Any, Literal, NamedTuple

import numpy as np

from sk_backprop._blocks.arrays import Array
from sk_backprop._inference.evidence import Evidence, Precisions
from sk_backprop._inference.validation import ValidationSet
from sk_backprop._network.network import Parameters

Status = Literal["converged", "max_iter", "max_fun", "stopped", "interrupted", "diverged"]


class Ending(NamedTuple):
    """The messages for a status.

    summary : str, for a line on the screen
    warning : str or None, the message of a warning, to be formatted with `result`, `settings`,
        `solver` (its description) and `advice`
    advice : str, what to do about it, unless `Solver.advice` has an entry
    """

    summary: str
    warning: str | None = None
    advice: str = ""


_LIMIT = (
    "Training stopped at {0}={{settings.{0}}} before it converged "
    "({{solver}}, loss {{result.loss:.3g}}). {{advice}}"
)

ENDINGS: dict[Status, Ending] = {
    "converged": Ending("converged"),
    "max_iter": Ending(
        "ended by max_iter",
        _LIMIT.format("max_iter"),
        "Increase max_iter or tol, or pass early_stopping=True.",
    ),
    "max_fun": Ending("ended by max_fun", _LIMIT.format("max_fun"), "Increase max_fun."),
    "stopped": Ending("stopped by a callback"),
    "interrupted": Ending(
        "interrupted",
        "Training interrupted; the weights of iteration {result.best_iter} are kept ({solver}).",
    ),
    "diverged": Ending(
        "diverged",
        "Training diverged: the loss grew or was no longer finite after iteration "
        "{result.n_iter} ({solver}). The weights of iteration {result.best_iter}, of lowest "
        "loss, are kept. {advice}",
        "Look for extreme values in alpha and coefs_init.",
    ),
}

# What a solver needs to continue a stream as if it had not paused: arrays and numbers, by names
# private to the solver. `SolverResult` returns it, the fitted state keeps it by the solver's name,
# and `StreamPass` hands it back.
OptimizerState = dict[str, Any]


class SolverResult(NamedTuple):
    """Result of a run.

    Attributes
    ----------
    theta : (n_params,), the weights to keep
    loss : float, their training loss
    status : one of `ENDINGS`
    n_iter : int, iterations (epochs of mini-batches) completed
    best_iter : int, the iteration whose weights `theta` are; 0 is the start
    loss_curve : training loss of each iteration
    validation_loss_curve, validation_scores : the same on validation data, or None
    optimizer_state : OptimizerState of a solver for streams, or None
    precisions : final Precisions of a solver with evidence, or None
    log_evidence_curve : log evidence at the start of each iteration, nan where it was not yet
        computed, or None
    """

    theta: Array
    loss: float
    status: Status
    n_iter: int
    best_iter: int
    loss_curve: list[float]
    validation_loss_curve: list[float] | None = None
    validation_scores: list[float] | None = None
    optimizer_state: OptimizerState | None = None
    precisions: Precisions | None = None
    log_evidence_curve: list[float] | None = None


class IterationObserver:
    """Base observer of a run's iterations; ignores every event."""

    def begin_iteration(self, monitor: "Monitor", params: Parameters) -> None:
        """An iteration begins at `params`; may be called more than once."""

    def end_iteration(self, monitor: "Monitor", params: Parameters) -> bool:
        """The iteration has ended at `params` and is recorded. True asks the run to stop."""
        return False


class Monitor:
    """Watches a run: curves, best weights, patience, divergence.

    A solver calls `record` after each iteration, and stops or shortens its steps if the
    answer says so. What is watched is the validation loss under early stopping, and the
    training loss otherwise; an iteration is progress if it is below ``(1 - tol)`` times the
    best so far. `n_iter_no_change` consecutive iterations without progress are a stall.

    Parameters
    ----------
    start : Parameters, the initial weights. They are kept if the run ends before its first
        iteration, or diverges under early stopping without having improved on them
    tol, n_iter_no_change : float, int or inf
    validation : ValidationSet or None
    early_stopping : bool, whether validation decides, and the best weights are kept
    observer : IterationObserver or None, notified of each iteration; it may stop the run

    Attributes
    ----------
    last_theta : (n_params,), the weights at the end of the last iteration on the curves, or at
        the start
    precisions, n_effective : those last recorded
    log_evidence_curve : list of float, nan without evidence
    """

    def __init__(
        self,
        start: Parameters,
        *,
        tol: float,
        n_iter_no_change: float,
        validation: ValidationSet | None = None,
        early_stopping: bool = False,
        observer: IterationObserver | None = None,
    ) -> None:
        self._tol, self._n_iter_no_change = tol, n_iter_no_change
        self._validation, self._early_stopping = validation, early_stopping
        self._observer = IterationObserver() if observer is None else observer
        self._best_watched = self._start_loss = np.inf
        self._best_theta, self.last_theta = start.flat.copy(), start.flat.copy()
        self._start = start
        self._best_iter = 0
        self._n_idle = 0
        self._rounding: tuple[Array, Array] | None = None
        self.loss_curve: list[float] = []
        self.validation_loss_curve: list[float] = []
        self.validation_scores: list[float] = []
        self.log_evidence_curve: list[float] = []
        self.precisions: Precisions | None = None
        self.n_effective: float | None = None

    @property
    def n_iter(self) -> int:
        return len(self.loss_curve)

    def begin_iteration(self, params: Parameters) -> None:
        """An iteration begins at `params`; may be called more than once."""
        self._observer.begin_iteration(self, params)

    def record(
        self,
        params: Parameters,
        loss: float,
        measured_at: Array | None = None,
        watched: float | None = None,
        precisions: Precisions | None = None,
        evidence: Evidence | None = None,
    ) -> Literal["going", "stalled", "stopped", "diverged"]:
        """Note one iteration that ended at `params` with training loss `loss`.

        Parameters
        ----------
        params : Parameters; loss : float
        measured_at : (n_params,), the weights that the loss belongs to, if not the
            ones at the end. A step may throw the weights far from where they were.
        watched : float, watched in place of the training loss
        precisions : of a solver with evidence; evidence : at the start of the iteration
        """
        self.precisions = precisions
        self.n_effective = None if evidence is None else float(evidence.n_effective.sum())
        if watched is None:
            watched = loss
        if self._validation is not None:
            validation_loss, score = self._validation.evaluate(params)
            if self._early_stopping:
                watched = validation_loss
        # The sum is not finite if any weight is not: one pass, no temporary.
        if not np.isfinite(watched + loss + params.flat.sum()):
            return "diverged"
        self.loss_curve.append(loss)
        self.log_evidence_curve.append(np.nan if evidence is None else evidence.log_evidence)
        self.last_theta[...] = params.flat
        if self._validation is not None:
            self.validation_loss_curve.append(validation_loss)
            self.validation_scores.append(score)
        if watched < self._best_watched * (1 - self._tol):
            self._n_idle = 0
        else:
            self._n_idle += 1
        if watched < self._best_watched:
            self._best_watched = watched
            if self._early_stopping or watched < self._start_loss:
                at_end = self._early_stopping or measured_at is None
                self._best_theta[...] = params.flat if at_end else measured_at
                self._best_iter = self.n_iter
        if self._observer.end_iteration(self, params):
            return "stopped"
        return "stalled" if self._n_idle >= self._n_iter_no_change else "going"

    def note_start(self, loss: float, precisions: Precisions | None = None) -> None:
        """Note the initial training loss: a diverged run keeps weights of no higher loss."""
        self._start_loss, self.precisions = loss, precisions

    def rounded_from(self, theta: Array) -> None:
        """Note the exact initial weights, (n_params,), if those of the run are rounded.

        The result is `theta` plus the change in float32: weights that hardly change in a batch
        of a stream are not rounded again each time.
        """
        if theta.dtype != self._best_theta.dtype:
            self._rounding = theta, theta.astype(self._best_theta.dtype).astype(theta.dtype)

    @property
    def worse_than_before(self) -> bool:
        """Whether the last training loss is more than twice the lowest.

        The noise of mini-batches is a few percent; a factor of two shows steps that are too long.
        """
        return self.loss_curve[-1] > 2 * min(self.loss_curve)

    def watch_anew(self) -> None:
        """Forget the best value: from now on another quantity is watched."""
        self._n_idle = 0
        if not self._early_stopping:
            self._best_watched = self._start_loss = np.inf

    def be_patient_again(self) -> None:
        """Start the count of iterations without progress anew."""
        self._n_idle = 0

    def result(
        self, params: Parameters, status: Status, optimizer_state: OptimizerState | None = None
    ) -> SolverResult:
        """The result of the run, with the best weights under early stopping or divergence.

        params : Parameters at the end; status : Status
        optimizer_state : OptimizerState of a solver for streams, or None
        """
        keep_best = self._early_stopping or status == "diverged" or self.n_iter == 0
        best_iter = self._best_iter if keep_best else self.n_iter
        watched, evidence = self._validation is not None, self.log_evidence_curve
        theta = self._best_theta if keep_best else params.flat
        if status == "diverged" and self._start_is_best():
            theta, best_iter = self._start.flat, 0
        if self._rounding is not None:
            exact, rounded = self._rounding
            theta = exact + (theta - rounded)
        return SolverResult(
            theta=theta,
            loss=self.loss_curve[best_iter - 1] if best_iter else np.nan,
            status=status,
            n_iter=self.n_iter,
            best_iter=best_iter,
            loss_curve=list(self.loss_curve),
            validation_loss_curve=list(self.validation_loss_curve) if watched else None,
            validation_scores=list(self.validation_scores) if watched else None,
            precisions=self.precisions,
            optimizer_state=optimizer_state,
            log_evidence_curve=list(evidence) if np.isfinite(evidence).any() else None,
        )

    def _start_is_best(self) -> bool:
        """Whether, under early stopping, no iteration was as good as the start."""
        if self._validation is None or not self._early_stopping:
            return False
        return not self._best_watched < self._validation.evaluate(self._start)[0]

    def so_far(self, params: Parameters) -> SolverResult:
        """The result if the run stopped here, at `params`: a copy that does not change."""
        result = self.result(params, "stopped")
        return result._replace(theta=result.theta.copy())
