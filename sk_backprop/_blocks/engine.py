"""Tasks on rows that are elsewhere: what a distributed engine must offer.

An engine runs pure functions where their arguments are. Handles stand for results that stay there;
a task may have handles, and lists of handles, among its arguments. Which worker runs a task, and
how often if workers are lost, is the engine's own affair: results do not depend on it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

# Tasks of one sum over all rows, at most: each takes a scheduler about a millisecond. Where there
# are more threads, several share the rows of a task.
MOST_TASKS = 1000


class Engine(Protocol):
    """A distributed engine.

    n_threads : int, of all workers together
    """

    n_threads: int

    def threads_of_task(self, n_tasks: int) -> int:
        """Number of threads that each of `n_tasks` tasks at a time may use, at least 1."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """A handle for the result of a call of `function`, whose arguments may be handles."""

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        """The results that handles stand for; raises what their tasks have raised."""


def reduced(
    engine: Engine,
    handles: Sequence[Any],
    merge: Callable[[list[Any]], T],
    fan_in: int | None = None,
) -> T:
    """The results of tasks, merged into one.

    Parameters
    ----------
    engine : Engine
    handles : of the results, in the order of the rows
    merge : callable of a list of neighbouring results, which it must not change
    fan_in : int, number of results that a task merges, or None to gather them all
    """
    while fan_in is not None and len(handles) > fan_in:
        groups = [list(handles[k : k + fan_in]) for k in range(0, len(handles), fan_in)]
        handles = [engine.submit(merge, group) for group in groups]
    return merge(engine.gather(handles))
