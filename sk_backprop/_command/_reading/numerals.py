"""Numbers as people write them: decimal commas, thousands separators, currencies, percents."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

# Among numbers these cells are missing values; in text only those of `MISSING`.
MISSING = frozenset(
    {"", "na", "n/a", "nan", "null", "<na>", "#n/a", "nat", "?", "-", "--", ".", "\u2013", "\u2014"}
)
MISSING_NUMBERS = MISSING | {
    *("none", "nil", "missing", "unknown", "unk", "n.a.", "na.", "n. a.", "not available", "..."),
    *("#value!", "#div/0!", "#ref!", "#name?", "#num!", "#null!", "undefined", "tbd", "---"),
    *("inf", "+inf", "-inf", "infinity", "-infinity", "+infinity", "\u221e", "k.a.", "k. a."),
}
_SPACES = " \u00a0\u202f\u2009"
_QUOTES = "'\u2019"
_CURRENCY = r"(?:[$€£¥₹]|USD|EUR|GBP|CHF|JPY)"
_SYMBOLS = frozenset({"$", "€", "£", "¥", "₹", "USD", "EUR", "GBP", "CHF", "JPY", "%"})


def _number(decimal: str) -> re.Pattern[str]:
    thousands = re.escape({".": ",", ",": "."}[decimal]) + _SPACES + _QUOTES
    return re.compile(
        rf"(?P<open>\()?(?P<sign>[-+\u2212])?\s*(?P<before>{_CURRENCY})?\s*(?P<inner>[-+\u2212])?"
        rf"(?P<whole>[1-9]\d{{0,2}}(?P<group>[{thousands}])(?:\d{{2,3}}(?P=group))*\d{{3}}|\d*)"
        rf"(?:{re.escape(decimal)}(?P<part>\d*))?(?P<power>[eE][-+]?\d+)?"
        rf"\s*(?P<after>%|{_CURRENCY}|[^\W\d_][^\W_]{{0,4}}(?:/[^\W_]{{1,5}})?)?(?P<close>\))?"
    )


_NUMBERS = {decimal: _number(decimal) for decimal in ".,"}
# Digits with separators, after signs and symbols: what they say of the decimal separator.
_POINT = re.compile(
    r"\d*\.\d+(?:[eE][-+]?\d+)?|[1-9]\d{0,2}(?:,\d{2,3})+\.\d+|\d{1,3}(?:,\d{3}){2,}"
)
_COMMA = re.compile(r"\d*,\d+(?:[eE][-+]?\d+)?|[1-9]\d{0,2}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}")
_EITHER = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
_LABEL = re.compile(r"0\d{2,}")
_LABEL_IN_LINES = re.compile(r"^\s*0\d\d", re.MULTILINE)
_TRIM = re.compile(rf"^[-+\u2212(\s]*{_CURRENCY}?[-+\s]*|[\s%)]*{_CURRENCY}?\s*\)?$")
_SPACED = re.compile(rf"(?<=\d)[{_SPACES}{_QUOTES}](?=\d{{3}})")


class Numeral(NamedTuple):
    """One number.

    unit : or currency, or percent sign
    grouped : whether separators stand between thousands
    plain : whether it is nothing but digits, a sign, a decimal separator and a power of ten
    """

    value: float
    unit: str
    grouped: bool
    plain: bool


class Evidence(NamedTuple):
    """Points and commas that can only be decimal separators, and that may separate thousands."""

    certain: set[str]
    either: set[str]


def read_numeral(cell: str, decimal: str) -> Numeral | None:
    """The number in a cell, or None.

    cell : str, without spaces around; decimal : '.' or ','
    """
    match = _NUMBERS[decimal].fullmatch(cell)
    if match is None or not (match["whole"] or match["part"]):
        return None
    signs = f"{match['sign'] or ''}{match['inner'] or ''}"
    if len(signs) > 1 or bool(match["open"]) != bool(match["close"]):
        return None
    whole = re.sub(r"\D", "", match["whole"])
    value = float(f"{whole or 0}.{match['part'] or 0}{match['power'] or ''}")
    if not math.isfinite(value):
        return None
    negative = match["open"] or signs in ("-", "\u2212")
    unit = f"{match['before'] or ''}{match['after'] or ''}"
    plain = not (unit or match["group"] or match["open"] or signs == "\u2212")
    return Numeral(-value if negative else value, unit, bool(match["group"]), plain)


def is_symbol(unit: str) -> bool:
    """Whether a unit is a currency or a percent sign, which numbers of a column may lack."""
    return unit in _SYMBOLS or unit == ""


def is_label(cell: str) -> bool:
    """Whether digits are the name of something, such as 00715: nobody writes numbers so."""
    return _LABEL.fullmatch(cell) is not None


def has_labels(text: str) -> bool:
    """Whether a line of a text begins like a label."""
    return _LABEL_IN_LINES.search(text) is not None


def evidence(cells: Iterable[str]) -> Evidence:
    """What cells say of the decimal separator."""
    found = Evidence(set(), set())
    for cell in cells:
        if "," not in cell and "." not in cell:
            continue
        digits = _SPACED.sub("", _TRIM.sub("", cell.strip()))
        if _EITHER.fullmatch(digits):
            found.either.update({".", ","} & set(digits))
        elif _POINT.fullmatch(digits):
            found.certain.add(".")
        elif _COMMA.fullmatch(digits):
            found.certain.add(",")
    return found


def column_decimal(found: Evidence) -> str | None:
    """The decimal separator that a column shows by itself, or None."""
    return next(iter(found.certain)) if len(found.certain) == 1 else None


def file_decimal(columns: Iterable[Evidence], delimiter: str) -> tuple[str, bool]:
    """The decimal separator of a file, and whether anything shows it.

    columns : Evidence of each column; delimiter : of the columns
    """
    found = list(columns)
    votes = [column_decimal(one) for one in found]
    points, commas = votes.count("."), votes.count(",")
    if points != commas:
        return (",", True) if commas > points else (".", True)
    if points:
        return ".", False  # as many columns of either kind
    # Where semicolons separate columns, that is because numbers have commas; where commas do,
    # numbers have points.
    only_commas = {separator for one in found for separator in one.either} == {","}
    return (",", False) if delimiter == ";" and only_commas else (".", delimiter == ",")
