"""Engines for tests of fits to rows that are elsewhere."""


class InProcess:
    """The simplest `Engine`, without workers: tasks run at once, and handles are their results."""

    def __init__(self, n_threads=1):
        self.n_threads = n_threads

    def threads_of_task(self, n_tasks):
        return max(1, self.n_threads // n_tasks)

    def submit(self, function, /, *args):
        return function(*args)

    def gather(self, handles):
        return list(handles)
