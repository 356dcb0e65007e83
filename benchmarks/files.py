"""Rows of measurements as CSV; the fields of a dataclass are the columns."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, TypeVar

from benchmarks.problems import ProblemError

Row = TypeVar("Row")

_PARSE: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": lambda cell: float(cell or math.nan),
}


def columns(kind: type[Any]) -> list[str]:
    """The header of a CSV of such rows."""
    return [field.name for field in fields(kind)]


def cells(row: Any) -> list[str]:
    """Of a line of the CSV; six digits, and nothing for NaN."""
    return [
        f"{value:.6g}".replace("nan", "") if isinstance(value, float) else str(value)
        for value in asdict(row).values()
    ]


def read(path: str, kind: type[Row]) -> list[Row]:
    """The rows of a CSV that has the columns of `kind`, as `cells` has written it."""
    parsers = [_PARSE[str(field.type)] for field in fields(kind)]
    names = columns(kind)
    with open(path, newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        if (header := next(lines, [])) != names:
            raise ProblemError(f"{path} is not a CSV of this command: its header is {header}")
        try:
            return [
                kind(**{n: parse(c) for n, parse, c in zip(names, parsers, line, strict=True)})
                for line in lines
            ]
        except ValueError as error:
            raise ProblemError(f"{path}, line {lines.line_num}: {error}") from error
