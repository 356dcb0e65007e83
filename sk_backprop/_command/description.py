"""What was done with each column of a table, in words."""

from __future__ import annotations

from sk_backprop._command._reading.columns import NUMBER
from sk_backprop._command._reading.tables import Table
from sk_backprop._command.terminal import counted, listed, shortened, wrapped

# More columns of plain numbers than this share a line.
_MOST_PLAIN = 5
_NAME_WIDTH = 24


def heading(table: Table) -> str:
    """The size of a table."""
    shared = f", {len(table.targets)} targets in one fit" if len(table.targets) > 1 else ""
    n_rows, n_columns = len(table.y), len(table.columns)
    rows, columns = counted(n_rows, "row"), counted(n_columns, "column")
    return f"{table.name}: {rows}, {columns} to predict from{shared}"


def column_rows(table: Table) -> list[tuple[str, str, str]]:
    """Name, kind and notes of every column, used or not."""
    used = [(*c.recipe[:2], "; ".join(c.notes)) for c in table.columns]
    targets = [(c.recipe.name, "target", "; ".join(c.notes)) for c in table.target_columns]
    return [*targets, *used, *((c.name, "left out", c.reason) for c in table.left_out)]


def columns_text(table: Table) -> str:
    """A short table of what each column was taken for, and remarks on the file and its rows."""
    rows = column_rows(table)
    plain = [name for name, kind, notes in rows if kind == NUMBER and not notes]
    lines = [wrapped(remark, hanging="  ") for remark in table.remarks]
    if len(plain) <= _MOST_PLAIN:
        plain = []
    shared = set(plain)
    rows = [row for row in rows if row[0] not in shared]
    width = max((len(shortened(row[0], _NAME_WIDTH)) for row in rows), default=0)
    for name, kind, notes in rows:
        start = f"  {shortened(name, _NAME_WIDTH):<{width}}  {kind:<11}  "
        lines.append(wrapped(f"{notes or ' '}", start, " " * len(start)).rstrip() or start.rstrip())
    if plain:
        start = f"  {counted(len(plain), 'column')} of numbers without gaps: "
        lines.append(wrapped(listed(plain), start, "    "))
    return "\n".join(lines)
