"""What the command prints: nothing from a file reaches a terminal unescaped."""

from __future__ import annotations

import sys
import textwrap
import time

WIDTH = 86
# Seconds between lines of progress where they do not overwrite each other.
PAUSE = 10.0


class CommandError(Exception):
    """What was asked for cannot be done; the message says why and what to do, in one line."""


def printable(text: str) -> str:
    """The text in one line, with control characters, which a terminal would obey, as in a repr."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shortened(text: str, most: int = 30) -> str:
    """The text in one line of at most `most` characters."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= most else f"{text[: most - 3]}..."


def quoted(text: str, most: int = 30) -> str:
    """A cell of a table as messages quote it."""
    return f"'{shortened(text, most)}'"


def listed(names: list[str], most: int = 12) -> str:
    """Names of columns, separated by commas; of many the first ones."""
    shown = ", ".join(shortened(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"


def counted(number: int, noun: str) -> str:
    """A number and its noun: 1 row, 2 rows."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def wrapped(text: str, indent: str = "  ", hanging: str = "    ") -> str:
    """A paragraph in lines of at most `WIDTH` characters.

    text : str; indent, hanging : str, before the first line and before the others
    """
    text = printable(" ".join(text.split()))
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=hanging)


def say(text: str) -> None:
    """Print, with escapes for characters that the terminal lacks or would obey."""
    text = "\n".join(map(printable, text.split("\n")))
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


class Progress:
    """One line on a terminal, overwritten by the next; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def note(self, text: str) -> None:
        """A line that is shown everywhere, as it opens or estimates a piece of work."""
        self._last = time.monotonic()
        text = printable(text)  # what the terminal lacks is escaped by stderr itself
        if sys.stderr.isatty():
            print(f"\r{text:<79.79}\r", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def update(self, text: str) -> None:
        """A line for a terminal; elsewhere it is shown if the last one was long ago."""
        if sys.stderr.isatty() or time.monotonic() - self._last >= PAUSE:
            self.note(text)

    def clear(self) -> None:
        """Wipe the line, before something is printed."""
        if sys.stderr.isatty():
            print(f"\r{'':79}\r", end="", file=sys.stderr, flush=True)
