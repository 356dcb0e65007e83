"""Blocks of rows, and sums over them that do not depend on the number of threads.

Rows are cut into blocks, whose sums are added by one binary tree: block 0 to block 1, 2 to 3 and
so on, then pairs of blocks, then pairs of pairs. The number of threads decides which thread
computes a node of the tree, never the order of an addition, so that any number gives the same
digits. The number of rows in a block is a power of two: rows that come in parts of 2^m are nodes
of the same tree.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from operator import add
from typing import Any, Generic, NamedTuple, TypeVar

from sk_backprop._blocks.arrays import Array, Rows, beyond_range_is_inf, row_blocks
from sk_backprop._blocks.threads import Team, allowed_threads

T = TypeVar("T")

# Minimum number of nodes of the tree for each thread, so that the work is shared evenly: of five
# blocks, two threads would otherwise compute four and one.
_NODES_PER_THREAD = 4


class Batch(NamedTuple):
    """Some rows: X, y and weights (n_rows, 1), or None for ones."""

    X: Rows
    y: Array
    w: Array | None

    def take(self, rows: slice) -> "Batch":
        """Views of some of the rows."""
        return Batch(self.X[rows], self.y[rows], None if self.w is None else self.w[rows])


def power_of_two(n_rows: int) -> int:
    """The largest power of two that is not above `n_rows`, at least 1."""
    return 1 << (max(1, n_rows).bit_length() - 1)


class Node(NamedTuple, Generic[T]):
    """The sum over 2^height neighbouring blocks, or over fewer at the end of the rows.

    height : int; number : int, of the node among those of its height; total : the sum
    """

    height: int
    number: int
    total: T

    def holding(self, total: Any) -> "Node[Any]":
        """The same place, with another sum."""
        return Node(self.height, self.number, total)


def joined(nodes: Iterable[Node[T]], add: Callable[[T, T], T]) -> list[Node[T]]:
    """Neighbouring nodes of a tree, with pairs of siblings added up as far as they go.

    nodes : in the order of the rows; about log2 of their number are held
    add : callable of two neighbouring sums, the earlier one first; it may change its arguments
    """
    found: list[Node[T]] = []
    for node in nodes:
        while found and node.number % 2 and found[-1].height == node.height:
            total = add(found.pop().total, node.total)
            node = Node(node.height + 1, node.number // 2, total)
        found.append(node)
    return found


def total_of(nodes: Sequence[Node[T]], add: Callable[[T, T], T]) -> T:
    """The sum of a whole tree, from nodes that `joined` returned for all its rows."""
    *before, (_, _, total) = nodes
    for node in reversed(before):
        total = add(node.total, total)
    return total


def leaves(parts: Iterable[T], first: int = 0) -> Iterator[Node[T]]:
    """Sums over single blocks as nodes; `first` is the number of the first block."""
    for number, part in enumerate(parts, first):
        yield Node(0, number, part)


def tree_sum(parts: Iterable[T], add: Callable[[T, T], T]) -> T:
    """The sum of parts by a binary tree, as they come; about log2 of their number are held.

    add : as for `joined`
    """
    return total_of(joined(leaves(parts), add), add)


# Rows of a block of sums of single numbers, and at most of statistics of columns.
STATISTICS_ROWS = 2**13


def sum_nodes(values: Array, first_row: int = 0) -> list[Node[float]]:
    """The sum of values, (n_rows,), by blocks of `STATISTICS_ROWS`, as nodes of a tree.

    first_row : int, number of the first row where these are a part of others
    """
    blocks = row_blocks(len(values), STATISTICS_ROWS)
    parts = (float(values[rows].sum()) for rows in blocks)
    return joined(leaves(parts, first_row // STATISTICS_ROWS), add)


def block_sum(values: Array) -> float:
    """The sum of values, (n_rows,), by blocks of `STATISTICS_ROWS`."""
    return total_of(sum_nodes(values), add)


class Sums(Generic[T]):
    """Arrays in which sums are computed, reused for later sums.

    make : callable that returns arrays to which a sum can be written
    add : callable that adds its second argument to the first, in place
    """

    def __init__(self, make: Callable[[], T], add: Callable[[T, T], object]) -> None:
        self._make, self._add = make, add
        self._free: list[T] = []

    def new(self) -> T:
        """Arrays to write a sum to, with any values."""
        try:
            return self._free.pop()
        except IndexError:  # not checked before: another thread may take the last one meanwhile
            return self._make()

    def add(self, first: T, second: T) -> T:
        """Add the second sum to the first and return that; the second is free from then on."""
        self._add(first, second)
        self._free.append(second)
        return first

    def release(self, total: T) -> None:
        """Release the arrays of a sum for reuse."""
        self._free.append(total)


class RowBlocks:
    """Rows in blocks of one size, and sums over them.

    Parameters
    ----------
    rows : Batch
    block_rows : int, a power of two
    shared : bool, whether threads are to share the blocks
    n_threads : int, threads that share them, at most; None for as many as BLAS is allowed
    first_row : int, a multiple of `block_rows`: the number of the first row where these rows are
        a part of others
    """

    def __init__(
        self,
        rows: Batch,
        block_rows: int,
        *,
        shared: bool,
        n_threads: int | None = None,
        first_row: int = 0,
    ) -> None:
        self.rows = rows
        self.blocks = row_blocks(rows.y.shape[0], block_rows)
        if not shared:
            n_threads = 1
        elif n_threads is None:
            n_threads = allowed_threads()
        self.n_threads = min(n_threads, len(self.blocks))
        self._team = Team(self.n_threads)
        self.first = first_row // block_rows
        self._groups = _groups(len(self.blocks), self.first, self.n_threads)

    def nodes(self, kernel: Callable[[Batch, int, T], None], sums: Sums[T]) -> list[Node[T]]:
        """Sums over these rows, as nodes of the tree of all rows; beyond the range they are inf.

        Pass a sum that is no longer needed to `sums.release`.

        kernel : callable that writes the sum over a block; its arguments are the rows of the
            block, the number of the thread, and arrays of `sums` to write to
        """
        found: list[list[Node[T]]] = [[] for _ in self._groups]

        def of_block(block: slice, thread: int) -> T:
            total = sums.new()
            kernel(self.rows.take(block), thread, total)
            return total

        @beyond_range_is_inf
        def of_thread(thread: int) -> None:
            for number in range(thread, len(self._groups), self.n_threads):
                group = self._groups[number]
                parts = (of_block(block, thread) for block in self.blocks[group])
                found[number] = joined(leaves(parts, self.first + group.start), sums.add)

        self._team.run(of_thread)
        return joined((node for nodes in found for node in nodes), sums.add)


def _groups(n_blocks: int, first: int, n_threads: int) -> list[slice]:
    """Blocks grouped by node of the tree; a node is computed by one thread.

    n_blocks : int; first : int, number of the first block; n_threads : int
    """
    if n_threads == 1:
        return [slice(0, n_blocks)]
    size = power_of_two(n_blocks // (n_threads * _NODES_PER_THREAD))
    ends = range(size - first % size, n_blocks, size)
    return [slice(start, end) for start, end in pairwise([0, *ends, n_blocks])]
