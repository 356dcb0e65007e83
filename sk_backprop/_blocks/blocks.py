"""Blocks of rows, and sums over them that do not depend on the number of threads.

Rows are cut into blocks, whose sums are added by one binary tree: block 0 to block 1, 2 to 3 and
so on, then pairs of blocks, then pairs of pairs. The number of threads decides which thread
computes a node of the tree, never the order of an addition, so that any number gives the same
digits. The number of rows in a block is a power of two: rows that come in parts of 2^m are nodes
of the same tree.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from sk_backprop._blocks.arrays import Array, Rows, row_blocks
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


def tree_sum(parts: Iterable[T], add: Callable[[T, T], T]) -> T:
    """The sum of parts by a binary tree, as they come; about log2 of their number are held.

    add : callable of two neighbouring sums, the earlier one first; it may change its arguments
    """
    nodes: list[tuple[int, T]] = []  # height and sum of each, by decreasing height
    for part in parts:
        height, node = 0, part
        while nodes and nodes[-1][0] == height:
            node = add(nodes.pop()[1], node)
            height += 1
        nodes.append((height, node))
    *before, (_, total) = nodes
    for _, node in reversed(before):
        total = add(node, total)
    return total


class Sums(Generic[T]):
    """Arrays in which sums are computed, reused for later sums.

    make : callable that returns arrays to which a sum can be written
    add : callable that adds its second argument to the first, in place
    """

    def __init__(self, make: Callable[[], T], add: Callable[[T, T], None]) -> None:
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
    """

    def __init__(self, rows: Batch, block_rows: int, *, shared: bool) -> None:
        self.rows = rows
        self.blocks = row_blocks(rows.y.shape[0], block_rows)
        self.n_threads = min(allowed_threads(), len(self.blocks)) if shared else 1
        self._team = Team(self.n_threads)
        self._nodes = _nodes(self.blocks, self.n_threads)

    def sum(self, kernel: Callable[[Batch, int, T], None], sums: Sums[T]) -> T:
        """The sum over all blocks; pass it to `sums.release` when it is no longer needed.

        kernel : callable that writes the sum over a block; its arguments are the rows of the
            block, the number of the thread, and arrays of `sums` to write to
        """
        found: list[Any] = [None] * len(self._nodes)

        def of_block(block: slice, thread: int) -> T:
            total = sums.new()
            kernel(self.rows.take(block), thread, total)
            return total

        def of_thread(thread: int) -> None:
            for number in range(thread, len(self._nodes), self.n_threads):
                parts = (of_block(block, thread) for block in self._nodes[number])
                found[number] = tree_sum(parts, sums.add)

        self._team.run(of_thread)
        total: T = tree_sum(found, sums.add)
        return total


def _nodes(blocks: Sequence[slice], n_threads: int) -> list[Sequence[slice]]:
    """Blocks grouped by node of the tree; a node is computed by one thread."""
    if n_threads == 1:
        return [blocks]
    size = power_of_two(len(blocks) // (n_threads * _NODES_PER_THREAD))
    return [blocks[start : start + size] for start in range(0, len(blocks), size)]
