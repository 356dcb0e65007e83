"""Rows of measurements as CSV: the fields of a dataclass are the columns."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any, TypeVar

from benchmarks import BenchmarkError

Row = TypeVar("Row")

_PARSE: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": lambda cell: float(cell or math.nan),
}


def _cell(value: Any) -> str:
    """Six digits of a float, and nothing for NaN."""
    return f"{value:.6g}".replace("nan", "") if isinstance(value, float) else str(value)


@contextmanager
def writing(path: str, kind: type[Any], append: bool = False) -> Iterator[Callable[[Any], None]]:
    """Open a CSV, and yield a function that writes a row to it at once."""
    with open(path, "a" if append else "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not append:
            writer.writerow([field.name for field in fields(kind)])

        def write(row: Any) -> None:
            writer.writerow([_cell(value) for value in asdict(row).values()])
            file.flush()

        yield write


def read(path: str, kind: type[Row]) -> list[Row]:
    """The rows of a CSV that has the columns of `kind`."""
    parse = {field.name: _PARSE[str(field.type)] for field in fields(kind)}
    with open(path, newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        if (header := next(lines, [])) != list(parse):
            raise BenchmarkError(f"{path} is not a CSV of this command: its header is {header}")
        try:
            return [
                kind(**{name: parse[name](c) for name, c in zip(parse, line, strict=True)})
                for line in lines
            ]
        except ValueError as error:
            raise BenchmarkError(f"{path}, line {lines.line_num}: {error}") from error
