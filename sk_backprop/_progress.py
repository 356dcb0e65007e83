"""What a fit tells while it goes on: lines on the screen. `_callbacks` tells callbacks, too.

A fit tells one `Progress` of its trials and networks, and each run of a solver one `Run`,
which `Progress` gives out, of its iterations.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sk_backprop._network import Parameters
from sk_backprop._solvers._result import Monitor, Run, SolverResult
from sk_backprop._training import Problem, Settings, Trained

# Seconds between two lines, at verbose=1.
_PAUSE = 1.0

_ENDS = {
    "converged": "converged",
    "max_iter": "ended by max_iter",
    "max_fun": "ended by max_fun",
    "stopped": "stopped by a callback",
    "interrupted": "interrupted",
    "diverged": "diverged",
}


class Progress:
    """Is told of a fit, and prints lines.

    Parameters
    ----------
    verbose : int; 1 prints a line a second, and always the first iteration, what the trials
        have chosen and how the fit ended; 2 all trials, iterations and ends of runs
    n_before : int or None, for a stream: iterations that earlier batches have made

    Attributes
    ----------
    stopped : bool, whether no more runs are wanted
    n_networks : int, networks that `runs` has been asked for
    """

    stopped = False

    def __init__(self, verbose: int = 0, n_before: int | None = None) -> None:
        self.verbose, self.n_before = verbose, n_before
        self._start = time.monotonic() if verbose else 0.0
        self._last_line = -float("inf")
        self._n_trials = self._most_trials = self.n_networks = self._most_networks = 0

    # --- trials ---

    def begin_trials(self, n_candidates: int) -> None:
        """At most `n_candidates` will be tried."""
        self._most_trials = n_candidates

    def begin_trial(self) -> None:
        """A candidate is tried."""
        self._n_trials += 1

    def end_trial(self, best: Settings) -> bool:
        """It has been; `best` is the best so far. True asks to try no more."""
        if self.is_due():
            count = f"trial {self._n_trials} of at most {self._most_trials}"
            self.tell(f"{count}; best so far: {_described(best)}")
        return False

    def end_trials(self) -> None:
        """The trials are over."""

    # --- networks ---

    def begin_networks(self, settings: Settings, n_networks: int) -> None:
        """So many (more) networks will be trained."""
        if self.verbose and self._n_trials and not self._most_networks:
            self.tell(f"chosen: {_described(settings)}")
            self._last_line = -float("inf")
        self._most_networks += n_networks

    def runs(self, plain_steps: Sequence[int]) -> list[Run]:
        """What to tell of each run of the next network."""
        self.n_networks += 1
        if not self.verbose:
            return [Run() for _ in plain_steps]
        label, n_starts, width = "", len(plain_steps), len(str(self._most_networks))
        if self._most_networks > 1:
            label = f"network {self.n_networks:{width}d} of {self._most_networks}  "
        if n_starts == 1:
            return [_Lines(self, label)]
        return [_Lines(self, f"{label}start {k} of {n_starts}  ") for k in range(1, n_starts + 1)]

    def end(self, settings: Settings, problem: Problem, networks: Sequence[Trained]) -> None:
        """All networks are trained."""
        if self.verbose:
            results = [one.result for one in networks]
            if len(results) == 1:
                self.tell(_ended(results[0]))
                return
            counts = {one.status: 0 for one in results}
            for one in results:
                counts[one.status] += 1
            ends = ", ".join(f"{n} {_ENDS[status]}" for status, n in counts.items())
            steps = sum(one.n_iter for one in results)
            self.tell(f"{len(results)} networks: {ends}; {steps} iterations in all")

    # --- lines ---

    def is_due(self) -> bool:
        """Whether a line more is no flood."""
        if self.verbose != 1:
            return self.verbose > 1
        return time.monotonic() - self._last_line >= _PAUSE

    def tell(self, line: str) -> None:
        """Print a line, after the seconds since the beginning."""
        self._last_line = time.monotonic()
        # One string, newline and all: lines of several processes must not mix.
        print(f"{self._last_line - self._start:7.1f} s  {line}\n", end="", flush=True)


class _Lines(Run):
    """Prints lines of one run."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label

    def end_iteration(self, monitor: Monitor, params: Parameters) -> bool:
        if self._progress.is_due():
            n_iter = monitor.n_iter + (self._progress.n_before or 0)
            line = f"iteration {n_iter:5d}  loss {monitor.loss_curve[-1]:#11.6g}"
            if monitor.validation_scores:
                line += f"  validation loss {monitor.validation_loss_curve[-1]:#11.6g}"
                line += f"  R2 {monitor.validation_scores[-1]:9.6f}"
            if monitor.n_effective is not None:
                line += f"  gamma {monitor.n_effective:7.1f}"
            self._progress.tell(self._label + line)
        return False

    def end(self, trained: Any) -> None:
        if self._progress.verbose > 1 and self._label:
            self._progress.tell(self._label + _ended(trained.result))


def _described(settings: Settings) -> str:
    hidden = settings.network.layer_sizes[1:-1]
    alpha = "" if settings.alpha is None else f", alpha={settings.alpha:g}"
    return f"solver={settings.solver!r}, hidden_layer_sizes={hidden}{alpha}"


def _ended(result: SolverResult) -> str:
    return f"{_ENDS[result.status]} after {result.n_iter} iterations, loss {result.loss:.6g}"
