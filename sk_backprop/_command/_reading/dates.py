"""Dates and times of day, in the form that a whole column agrees on."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from typing import NamedTuple

_TIME = (
    r"(?:(?:T|\s+|,\s*)(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?\s*(?P<zone>Z|UTC|[-+]\d{2}:?\d{2})?)?"
)
_YEAR = r"(?P<y>\d{4}|\d{2})"
# The order of the parts, as messages and options name it.
FORMS = {
    name: re.compile(pattern + _TIME)
    for name, pattern in {
        "year-month-day": r"(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})",
        "yyyymmdd": r"(?P<y>19\d\d|20\d\d)(?P<m>[01]\d)(?P<d>[0-3]\d)",
        "day/month/year": rf"(?P<d>\d{{1,2}})(?P<s>[-/.])\s?(?P<m>\d{{1,2}})(?P=s)\s?{_YEAR}",
        "month/day/year": rf"(?P<m>\d{{1,2}})(?P<s>[-/.])\s?(?P<d>\d{{1,2}})(?P=s)\s?{_YEAR}",
        "day month year": rf"(?P<d>\d{{1,2}})\.?[-\s]*(?P<b>[^\W\d_]{{3,9}})\.?[-\s,]*{_YEAR}",
        "month day, year": r"(?P<b>[^\W\d_]{3,9})\.?\s+(?P<d>\d{1,2}),?\s+(?P<y>\d{4})",
        "year-month": r"(?P<y>\d{4})-(?P<m>\d{2})",
    }.items()
}
_MONTHS = [
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
]
_CLOCK = re.compile(
    r"(?P<H>\d{1,2}):(?P<M>[0-5]\d)(?::(?P<S>[0-5]\d))?(?:\s*(?P<half>[AaPp])[Mm])?"
)
EPOCH = datetime.datetime(1970, 1, 1)  # without a zone, as in most tables
_DAY = datetime.timedelta(days=1)


class Dates(NamedTuple):
    """What the cells of a column say as dates.

    form : one of `FORMS`
    days : {cell: days since 1970}, without cells that are not dates
    ambiguous : whether day and month could change places in every cell
    local : whether no cell has a time zone
    """

    form: str
    days: dict[str, float]
    ambiguous: bool = False
    local: bool = True


def read_date(cell: str, form: str) -> float | None:
    """Days since 1970, or None.

    cell : str, without spaces around; form : one of `FORMS`
    """
    match = FORMS[form].fullmatch(cell)
    if match is None:
        return None
    parts = match.groupdict()
    year = int(parts["y"])
    if len(parts["y"]) == 2:
        year += 2000 if year < 69 else 1900  # as POSIX reads them
    month = _month(parts)
    try:
        date = datetime.datetime(year, month, int(parts.get("d") or 1))
    except ValueError:
        return None
    hours = _hours(parts)
    return None if hours is None else (date - EPOCH) / _DAY + hours / 24


def _month(parts: dict[str, str | None]) -> int:
    if number := parts.get("m"):
        return int(number)
    name = (parts["b"] or "").lower()
    fits = [month.startswith(name) or (name == "sept" == month[:4]) for month in _MONTHS]
    return fits.index(True) + 1 if True in fits else 0


def _hours(parts: dict[str, str | None]) -> float | None:
    """Hours since midnight, in UTC where there is a time zone."""
    if parts["H"] is None:
        return 0.0
    hours = int(parts["H"])
    if half := parts.get("half"):
        hours = hours % 12 + 12 * (half in "pP")
    minutes, seconds = int(parts["M"] or 0), float(f"{parts['S'] or 0}.{parts.get('f') or 0}")
    if hours + minutes / 60 + seconds / 3600 > 24 or minutes > 59 or seconds >= 61:
        return None
    shift = 0.0
    if (zone := parts.get("zone")) and zone[0] in "+-":
        shift = float(f"{zone[0]}1") * (int(zone[1:3]) + int(zone[-2:]) / 60)
    return hours + minutes / 60 + seconds / 3600 - shift


def read_clock(cell: str) -> float | None:
    """Hours since midnight of a time such as 14:30, or None."""
    match = _CLOCK.fullmatch(cell)
    return _hours(match.groupdict()) if match else None


def _zone(cell: str, form: str) -> str | None:
    match = FORMS[form].fullmatch(cell)
    return match["zone"] if match else None


def find_dates(cells: Iterable[str], day_first: bool | None) -> Dates | None:
    """The form in which most cells are dates, or None if none of them is one.

    cells : distinct ones, without spaces around
    day_first : what other columns or the user say of 1/2/2020; None if nothing
    """
    cells = list(cells)
    found = {}
    for form in FORMS:
        if any(FORMS[form].fullmatch(cell) for cell in cells[:20]):
            read = {cell: read_date(cell, form) for cell in cells}
            found[form] = {cell: days for cell, days in read.items() if days is not None}
    if not any(found.values()):
        return None
    form = max(found, key=lambda name: len(found[name]))
    day, month = found.get("day/month/year", {}), found.get("month/day/year", {})
    if not form.startswith(("day/", "month/")) or len(day) != len(month):
        local = not any(_zone(cell, form) for cell in found[form])
        return Dates(form, found[form], local=local)
    if day == month:
        return Dates("day/month/year", day)
    # Who writes dots puts the day first; otherwise the order is a guess, to be announced.
    dots = all("." in cell.split()[0] for cell in day)
    first = (dots or bool(day_first)) if day_first is None else day_first
    form = "day/month/year" if first else "month/day/year"
    return Dates(form, found[form], ambiguous=day_first is None and not dots)
