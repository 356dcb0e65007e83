"""The bytes of a file, unpacked and decoded to text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import sys
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from sk_backprop._command.terminal import CommandError, counted, listed, quoted

_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",  # before UTF-16, of whose mark it is an extension
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_PACKERS = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
}
# First bytes of files that are not text: the kind of file, and what to do.
_OTHER_FORMATS = {
    b"%PDF": "a PDF file; export the table as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel file of the old kind (.xls); save it as .xlsx or CSV",
    b"\x89HDF": "an HDF5 file; export the table as CSV or Parquet",
    b"ARROW1": "a Feather file; export the table as CSV or Parquet",
    b"\x80\x04": "a pickle; export the table as CSV or Parquet",
    b"\x80\x05": "a pickle; export the table as CSV or Parquet",
    b"\x93NUMPY": "an array of numpy; export it as CSV with a line of column names",
}
_OTHER_TEXTS = {
    r"\s*(<!doctype html|<html)": "a web page, not a table; download the file that it shows",
    r"\s*<\?xml": "XML; export the table as CSV",
    r'\s*(\{\s*"|\[\s*[\[{])': "JSON; export the table as CSV",
}


class Source(NamedTuple):
    """The content of a file.

    name : for messages
    data : bytes, unpacked
    kind : 'text', 'xlsx' or 'parquet'
    remarks : what was done to get there
    """

    name: str
    data: bytes
    kind: str
    remarks: tuple[str, ...] = ()


def open_source(path: str) -> Source:
    """Read a file, or standard input if `path` is -, and unpack it."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
        raise CommandError(f"{path} is an address, and this command reads files: download it first")
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
    name = "standard input" if path == "-" else Path(path).name
    for magic, unpack in _PACKERS.items():
        if data.startswith(magic):
            try:
                data = unpack(data)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise CommandError(f"cannot read {path}: it is a damaged archive") from error
    if data.startswith(b"PK\x03\x04"):
        return _from_zip(name, data)
    if data.startswith(b"PAR1"):
        return Source(name, data, "parquet")
    for magic, what in _OTHER_FORMATS.items():
        if data.startswith(magic):
            raise CommandError(f"{path} is {what}")
    return Source(name, data, "text")


def _from_zip(name: str, data: bytes) -> Source:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.namelist()
            if "xl/workbook.xml" in members:
                return Source(name, data, "xlsx")
            if "mimetype" in members:
                raise CommandError(f"{name} is an OpenDocument file; save it as .xlsx or CSV")
            members = [m for m in members if not m.endswith("/") and "__MACOSX/" not in m]
            if len(members) != 1:
                files = f"{counted(len(members), 'file')} ({listed(members, 5)})"
                raise CommandError(f"{name} holds {files}: unpack it, and pass the one you mean")
            inner = archive.read(members[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error) as error:
        # Damaged; encrypted; compressed by a method that Python lacks; damaged within.
        raise CommandError(f"cannot read {name}: {error}") from error
    kind = "parquet" if inner.startswith(b"PAR1") else "text"
    return Source(name, inner, kind, (f"The table is {members[0]} in {name}.",))


def decode(source: Source, encoding: str | None) -> tuple[str, str, tuple[str, ...]]:
    """The text of a source, its encoding, and remarks; CommandError if it is not text, or no table.

    source : Source; encoding : str, or None to detect it
    """
    encoding, remarks = _detect(source) if encoding is None else (encoding, ())
    try:
        text = source.data.decode(encoding)
    except LookupError as error:
        raise CommandError(f"--encoding {encoding}: Python knows no encoding {encoding}") from error
    except UnicodeDecodeError as error:
        raise CommandError(
            f"cannot read {source.name}: byte {error.start + 1} is not text in {encoding}; name "
            "its encoding with --encoding"
        ) from error
    text = text.removeprefix("\ufeff")
    if "\0" in text[:10_000]:
        raise CommandError(f"{source.name} is not text; export the table as CSV, .xlsx or Parquet")
    for pattern, what in _OTHER_TEXTS.items():
        if re.match(pattern, text, re.IGNORECASE):
            raise CommandError(f"{source.name} is {what}")
    return text, encoding, remarks


def _detect(source: Source) -> tuple[str, tuple[str, ...]]:
    """The encoding of a source, and a remark if it is a guess."""
    data = source.data
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return encoding, ()
    # Western text in UTF-16 without a mark has a zero in every second byte.
    start = data[:2000]
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = start[first::2].count(0)
        if zeros > 0.8 * len(start) / 2 and not start[1 - first :: 2].count(0):
            return encoding, (f"The text is in {encoding.upper()}, without a byte order mark.",)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        guess = "latin-1" if set(data) & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "cp1252"
        line = data[: error.start].count(b"\n")
        found = quoted(data.split(b"\n")[line].decode(guess), 40)
        return guess, (
            f"The text is not UTF-8 and was read as {guess}: line {line + 1} is {found}. "
            "--encoding names another.",
        )
    return "utf-8", ()
