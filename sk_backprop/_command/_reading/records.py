"""Rows of cells, under names of columns, from the text of a file."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sk_backprop._command._reading.sources import Source, decode
from sk_backprop._command.terminal import CommandError, counted, listed, quoted

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " "}
_NUMBER_LIKE = re.compile(r"[-+(]?\s*[$€£]?\s*[\d.,]*\d[\d.,]*([eE][-+]?\d+)?\s*%?\)?\s*")
_SAMPLE_ROWS = 200


class Layout(NamedTuple):
    """How a file is written, for whoever reads it again.

    n_skipped : lines before the names of the columns, or before the first row
    named : whether a line holds the names of the columns, exactly as they are used
    has_header : whether there is a line of names among the rows
    regular : whether all lines below the names are rows, but for comments
    """

    kind: str
    encoding: str = "utf-8"
    delimiter: str = ","
    comments: bool = False
    n_skipped: int = 0
    named: bool = True
    has_header: bool = True
    regular: bool = True


class Sheet(NamedTuple):
    """A table of text.

    header : names as they are written
    rows : as many cells each as there are names
    remarks : sentences on what was done to get there
    """

    name: str
    header: list[str]
    rows: list[list[str]]
    layout: Layout
    remarks: tuple[str, ...] = ()


class Records(NamedTuple):
    """Records of a text that are not blank, the line on which each begins, and its comments."""

    rows: list[list[str]]
    lines: list[int]
    comments: list[str]


def read_sheet(
    source: Source, *, encoding: str | None, delimiter: str | None, wanted: Iterable[str]
) -> Sheet:
    """The table in a text file.

    source : Source
    encoding, delimiter : str, or None to detect it
    wanted : names that a first line of column names would contain
    """
    text, encoding, remarks = decode(source, encoding)
    first, _, rest = text.partition("\n")
    if match := re.fullmatch(r'"?sep=(.)"?\s*', first):  # Excel's way to name the separator
        text, delimiter = "\n" + rest, delimiter or match[1]
    delimiter = delimiter or _detect_delimiter(text)
    try:
        records = _split(text, delimiter)
    except csv.Error as error:
        raise CommandError(f"cannot read {source.name}: {error}") from error
    if not records.rows:
        raise CommandError(f"{source.name} is empty")
    layout = Layout(source.kind, encoding, delimiter, bool(records.comments))
    return arranged(source.name, records, layout, (*source.remarks, *remarks), wanted)


def _split(text: str, delimiter: str) -> Records:
    """The records of a text; those that are blank and lines that begin with # are left out."""
    comments: list[str] = []
    n_hashes = text.count("\n#") + text.startswith("#")
    if 2 * n_hashes > text.count("\n") + 1:
        n_hashes = 0  # the first cells of most rows begin so
    lines: Iterator[str] = io.StringIO(text, newline="")
    starts = [True]
    if n_hashes:
        lines = _without_comments(lines, starts, comments)
    if delimiter == " ":
        lines = (" ".join(line.split()) for line in lines)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    rows, numbers, line = [], [], 1
    for row in reader:
        starts[0] = True
        if "".join(row).strip():
            rows.append(row)
            numbers.append(line)
        line = reader.line_num + 1
    if rows and "\n" in "".join(rows[-1]).rstrip("\n"):
        _check_closed(text, delimiter, rows[-1])
    return Records(rows, numbers, comments)


def _without_comments(
    lines: Iterable[str], starts: list[bool], comments: list[str]
) -> Iterator[str]:
    """Lines but for those that begin with # where a record begins.

    lines : iterable of str
    starts : list, [whether a record begins]
    comments : list, to which skipped lines are added
    """
    for line in lines:
        if starts[0] and line.startswith("#"):
            comments.append(line[1:].strip())
            yield "\n"  # blank, so that lines are still counted
        else:
            starts[0] = line.isspace()
            yield line


def _check_closed(text: str, delimiter: str, last: list[str]) -> None:
    """CommandError if a quotation mark that is never closed has swallowed the rest of the text.

    text : str; delimiter : str; last : cells of the last record
    """
    tail = next(cell for cell in last if "\n" in cell)
    opened = text.count("\n", 0, text.rindex(tail[:200])) + 1
    try:
        lines = text.splitlines(keepends=True)[opened - 1 :]
        list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise CommandError(
                f"line {opened}: a quotation mark is opened and never closed: "
                f"{quoted(tail.splitlines()[0])}"
            ) from error


def _detect_delimiter(text: str) -> str:
    """The character that splits most rows into the same number of cells, preferably numbers."""
    sample = text[:100_000]
    if len(sample) < len(text):
        sample = sample[: max(sample.rfind("\n"), 0)] or sample
    best, best_score = ",", (0.5, 0.0, 0)
    for delimiter in ",;\t|":
        try:
            rows = _split(sample, delimiter).rows[:_SAMPLE_ROWS]
        except (csv.Error, CommandError):
            continue
        score = _regularity(rows)
        if score > best_score:
            best, best_score = delimiter, score
    if best_score[2] == 0:
        rows = [line.split() for line in sample.splitlines() if not line.startswith("#")]
        rows = [row for row in rows if row][:_SAMPLE_ROWS]
        share, numbers, _ = _regularity(rows)
        if share > 0.9 and numbers > 0.5 and len(rows) > 2:
            return " "
    return best


def _regularity(rows: list[list[str]]) -> tuple[float, float, int]:
    """Share of rows with the usual number of cells, share of numbers among cells, that number."""
    if not rows:
        return 0.0, 0.0, 0
    width, times = Counter(map(len, rows)).most_common(1)[0]
    if width < 2:
        return 0.0, 0.0, 0
    cells = [cell for row in rows for cell in row if cell]
    numbers = sum(1 for cell in cells if _NUMBER_LIKE.fullmatch(cell))
    return round(times / len(rows), 1), round(numbers / max(len(cells), 1), 2), width


def arranged(
    name: str,
    records: Records,
    layout: Layout,
    remarks: tuple[str, ...],
    wanted: Iterable[str],
) -> Sheet:
    """Records as a table: which one names the columns, and what does not belong to it.

    name : of the file
    records : Records
    layout : Layout
    remarks : so far
    wanted : names that a first line of column names would contain
    """
    rows, lines, comments = records
    said = list(remarks)
    if comments:
        said.append(f"{counted(len(comments), 'line')} of comments (#) left out.")
    width = Counter(map(_filled_width, rows[:5000])).most_common(1)[0][0]
    start = _first_full(rows, width)
    if start:
        said.append(
            f"{counted(start, 'line')} before the table left out, beginning with "
            f"{quoted(' '.join(rows[0]))}."
        )
    header, body = _header(rows[start:], comments, layout.delimiter, set(wanted))
    has_header = len(body) < len(rows) - start
    named = has_header and header == rows[start]
    if not any(header):
        header = [f"column {i + 1}" for i in range(max(map(len, body)))]
        said.append(
            "The first line holds numbers and no names: the columns are called column 1, column 2 "
            "and so on."
        )
    n_before = len(body)
    header, body, more = _rectangle(name, header, body, lines[len(rows) - len(body) :])
    layout = layout._replace(
        n_skipped=lines[start] - 1,
        named=named,
        has_header=has_header,
        regular=len(body) == n_before,
    )
    return Sheet(name, header, body, layout, (*said, *more))


def _filled_width(row: list[str]) -> int:
    """Number of cells up to the last one that is filled."""
    n = len(row)
    while n and not row[n - 1].strip():
        n -= 1
    return n


def _first_full(rows: list[list[str]], width: int) -> int:
    """The index of the first row that has nearly as many cells as most rows."""
    if width < 2:
        return 0
    for i, row in enumerate(rows):
        filled = sum(bool(cell.strip()) for cell in row)
        if len(row) >= width - 1 and filled >= min(2, width - 1):
            return i
    return 0


def _header(
    rows: list[list[str]], comments: list[str], delimiter: str, wanted: set[str]
) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, empty if there are none, and the rows below them.

    rows : from the first one that is full; comments : without #; delimiter : str
    wanted : names that a line of names would contain
    """
    first = [cell.strip() for cell in rows[0]]
    if not wanted & set(first) and any(map(_NUMBER_LIKE.fullmatch, first)):
        # Names may stand in a comment above the rows, as numpy's savetxt writes them.
        for comment in comments[-1:]:
            (names, *_) = _split(comment, delimiter).rows or [[]]
            if len(names) == len(first) and len(names) > 1:
                return [cell.strip() for cell in names], rows
        if all(_NUMBER_LIKE.fullmatch(cell) for cell in first if cell):
            return [], rows
    return first, rows[1:]


def _rectangle(
    name: str, header: list[str], rows: list[list[str]], lines: list[int]
) -> tuple[list[str], list[list[str]], list[str]]:
    """Header and rows of one length, and remarks on what that took.

    name : of the file; header : names; rows : cells; lines : the line of each row
    """
    said: list[str] = []
    repeats = [
        row[0].strip() == header[0] and [cell.strip() for cell in row] == header for row in rows
    ]
    if any(repeats):
        said.append(f"{counted(sum(repeats), 'line')} that repeat the names left out.")
        kept = [(row, line) for row, line, repeat in zip(rows, lines, repeats) if not repeat]
        rows, lines = [row for row, _ in kept], [line for _, line in kept]
    while rows and len(header) > 2 and _filled_width(rows[-1]) == 1:
        said.append(
            f"The last line, {quoted(rows[-1][0])}, is not a row of the table and is left out."
        )
        rows = rows[:-1]
    width = max(map(len, rows), default=len(header))
    if width > len(header):
        if all(len(row) == len(header) + 1 and row[-1].strip() for row in rows):
            header = ["", *header]  # R names rows and not their column
        elif all(_filled_width(row) <= len(header) for row in rows):
            rows = [row[: len(header)] for row in rows]
        else:
            i = next(i for i, row in enumerate(rows) if _filled_width(row) > len(header))
            raise CommandError(
                f"{name}, line {lines[i]}: {counted(_filled_width(rows[i]), 'value')} for "
                f"{counted(len(header), 'column')} ({listed(header, 3)}); put quotation marks "
                "around a value that contains the separator, or name it with --delimiter"
            )
    if short := [i for i, row in enumerate(rows) if len(row) < len(header)]:
        said.append(
            f"{counted(len(short), 'row')} shorter than the line of names: what they lack is "
            f"missing (line {lines[short[0]]} is the first)."
        )
    n = len(header)
    rows = [row if len(row) == n else row + [""] * (n - len(row)) for row in rows]
    return header, rows, said
