"""Progress messages: what `verbose` prints during a fit."""

from __future__ import annotations

import time
from collections import Counter

from sk_backprop._network.network import Parameters
from sk_backprop._solvers._result import ENDINGS, Monitor, SolverResult
from sk_backprop._training.events import FitObserver, RunObserver
from sk_backprop._training.problem import Settings
from sk_backprop._training.run import Blend, Trained

# Seconds between two lines, at verbose=1.
_PAUSE = 1.0


def printers(verbose: int, n_before: int = 0) -> list[FitObserver]:
    """The printer for `verbose`, or none; see `Printer`."""
    return [Printer(int(verbose), n_before)] if verbose else []


class Printer(FitObserver):
    """Prints the progress of a fit.

    Parameters
    ----------
    verbose : int; 1 prints a line per second, and always the first iteration, the selected
        candidate and the end of the fit; 2 all trials, iterations and ends of runs
    n_before : int, iterations of earlier batches of a stream
    """

    def __init__(self, verbose: int, n_before: int = 0) -> None:
        self.verbose, self.n_before = verbose, n_before
        self._start = time.monotonic()
        self._last_line = -float("inf")
        self._n_trials = self._most_trials = self._most_networks = 0
        self._chosen: Settings | None = None

    def begin_trials(self, n_candidates: int) -> None:
        self._most_trials = n_candidates

    def begin_trial(self) -> None:
        self._n_trials += 1

    def end_trial(self, best: Settings) -> bool:
        if self.is_due():
            count = f"trial {self._n_trials} of at most {self._most_trials}"
            self.print_line(f"{count}; best so far: {_described(best)}")
        return False

    def begin_networks(self, settings: Settings, n_networks: int) -> None:
        if self._n_trials and settings != self._chosen:
            self._chosen = settings
            self.print_line(f"chosen: {_described(settings)}")
            self._last_line = -float("inf")
        self._most_networks += n_networks

    def begin_network(self, number: int, n_runs: int) -> list[RunObserver]:
        label, width = "", len(str(self._most_networks))
        if self._most_networks > 1:
            label = f"network {number:{width}d} of {self._most_networks}  "
        if n_runs == 1:
            return [_Lines(self, label)]
        return [_Lines(self, f"{label}start {k} of {n_runs}  ") for k in range(1, n_runs + 1)]

    def end_fit(self, blend: Blend) -> None:
        results = [one.result for one in blend.networks]
        # The end of an interrupted run is printed, but it is left out if others are complete.
        left_out = blend.interrupted and results[0].status != "interrupted"
        how = "interrupted; " if left_out else ""
        if len(results) == 1:
            self.print_line(how + _ended(results[0]))
            return
        counts = Counter(one.status for one in results)
        ends = ", ".join(f"{n} {ENDINGS[status].summary}" for status, n in counts.items())
        steps = sum(one.n_iter for one in results)
        self.print_line(f"{how}{len(results)} networks: {ends}; {steps} iterations in all")

    def is_due(self) -> bool:
        """Whether it is time for another line."""
        if self.verbose != 1:
            return self.verbose > 1
        return time.monotonic() - self._last_line >= _PAUSE

    def print_line(self, line: str) -> None:
        """Print a line that begins with the seconds since the start."""
        self._last_line = time.monotonic()
        # One string, with the newline: lines of several processes must not mix.
        print(f"{self._last_line - self._start:7.1f} s  {line}\n", end="", flush=True)


class _Lines(RunObserver):
    """Prints the progress of one run."""

    def __init__(self, printer: Printer, label: str) -> None:
        self._printer, self._label = printer, label

    def end_iteration(self, monitor: Monitor, params: Parameters) -> bool:
        if self._printer.is_due():
            n_iter = monitor.n_iter + self._printer.n_before
            line = f"iteration {n_iter:5d}  loss {monitor.loss_curve[-1]:#11.6g}"
            if monitor.validation_scores:
                line += f"  validation loss {monitor.validation_loss_curve[-1]:#11.6g}"
                line += f"  R2 {monitor.validation_scores[-1]:9.6f}"
            if monitor.n_effective is not None:
                line += f"  gamma {monitor.n_effective:7.1f}"
            self._printer.print_line(self._label + line)
        return False

    def end_run(self, trained: Trained) -> bool:
        if self._printer.verbose > 1 and self._label:
            self._printer.print_line(self._label + _ended(trained.result))
        return False


def _described(settings: Settings) -> str:
    hidden = settings.network.layer_sizes[1:-1]
    alpha = "" if settings.alpha is None else f", alpha={settings.alpha:g}"
    return f"solver={settings.solver!r}, hidden_layer_sizes={hidden}{alpha}"


def _ended(result: SolverResult) -> str:
    how = ENDINGS[result.status].summary
    return f"{how} after {result.n_iter} iterations, loss {result.loss:.6g}"
