"""What the cells of a column hold: numbers, yes or no, categories, dates; or nothing of use."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_backprop._command._reading import dates, numerals
from sk_backprop._command.terminal import counted, quoted

Array = NDArray[np.float64]

# Kinds of columns. Times of day are numbers: hours since midnight.
NUMBER, YES_NO, CATEGORY, DATE, TIME = "number", "yes/no", "category", "date", "time of day"
_PAIRS = [
    ("false", "true"),
    ("no", "yes"),
    ("n", "y"),
    ("f", "t"),
    ("off", "on"),
    ("non", "oui"),
    ("nein", "ja"),
]
_WORDS = {word: float(i) for pair in _PAIRS for i, word in enumerate(pair)}
# At most this part of the cells, or one cell, may be unreadable among numbers or dates.
_MOST_BAD = 0.1
_FEWEST_FILLED, _LEAST_FILLED = 3, 0.05
_SAMPLE = 2000
# More levels than this, in more than half of the rows another: names or free text.
_MOST_LEVELS = 30


class Recipe(NamedTuple):
    """How cells of a column are read; enough to read other rows of it.

    kind : 'number', 'yes/no', 'category', 'date' or 'time of day'
    form : the decimal separator of numbers, the form of dates
    """

    name: str
    kind: str
    form: str = ""


class Column(NamedTuple):
    """A column that has been read.

    values : (n_rows,) numbers, 0 and 1, codes of `levels`, days since 1970, or hours; nan where
        missing
    levels : of a category
    notes : what to say about it
    plain : whether every filled cell is a number as programs write it, a date without a time zone,
        or a text
    """

    recipe: Recipe
    values: Array
    levels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    plain: bool = True

    def cells(self) -> Array | list[str | None]:
        """The values as `read_by_recipe` gives them: labels of a category, otherwise numbers."""
        if self.recipe.kind != CATEGORY:
            return self.values
        return [None if math.isnan(code) else self.levels[int(code)] for code in self.values]


class LeftOut(NamedTuple):
    """A column that is not used, and why."""

    name: str
    reason: str


class Context(NamedTuple):
    """What the whole file says about its columns.

    decimal : the separator where a column does not show its own
    shown : whether anything shows it
    forced : whether the user has named it
    day_first : of dates such as 1/2/2020; None if nothing says so
    """

    decimal: str = "."
    shown: bool = True
    forced: bool = False
    day_first: bool | None = None


def read_column(name: str, cells: Sequence[str], context: Context) -> Column | LeftOut:
    """The kind of a column and its values.

    name : of the column; cells : (n_rows,) str; context : Context
    """
    if (fast := _plain_numbers(cells, context)) is not None:
        return _checked(Column(Recipe(name, NUMBER, context.decimal), fast), len(cells))
    counts = Counter(cell.strip() for cell in cells)
    filled = {cell: n for cell, n in counts.items() if cell.lower() not in numerals.MISSING}
    numbers = {c: n for c, n in counts.items() if c.lower() not in numerals.MISSING_NUMBERS}
    if too_few := _too_few(sum(filled.values()), len(cells)):
        return LeftOut(name, too_few)
    dated = _as_dates(name, numbers, context)
    # Numbers of eight digits are dates if all of them can be.
    certain = dated and dated[1].form == "yyyymmdd" and len(dated[0]) == len(numbers)
    found = (
        _as_yes_no(name, filled)
        or (dated if certain else None)
        or _as_numbers(name, numbers, context)
        or dated
        or _as_times(name, numbers)
    )
    if found is None:
        return _as_category(name, cells, filled)
    known, recipe, notes, plain = found
    values = np.array([known.get(cell.strip(), math.nan) for cell in cells])
    words = _missing_words(counts, filled, known)
    column = Column(recipe, values, notes=tuple(notes), plain=plain and not words)
    return _checked(column, len(cells), words)


# {cell: value} of those that can be read; and the recipe, the notes and `plain` of the column.
_Found = tuple[dict[str, float], Recipe, list[str], bool] | None


def _plain_numbers(cells: Sequence[str], context: Context) -> Array | None:
    """The numbers of a column that needs no thought, which is quick; otherwise None."""
    if context.decimal != "." or context.forced:
        return None
    text = "\n".join(cells)
    if "_" in text or "," in text or ("." in text and not context.shown):
        return None
    if numerals.has_labels(text):
        return None
    try:
        values = np.fromiter(map(float, cells), dtype=float, count=len(cells))
    except ValueError:
        return None
    if not np.isfinite(values).all():
        return None
    eight = all(len(cell.strip()) == 8 for cell in cells[:20])  # perhaps dates such as 20240131
    return None if eight and len(cells) else values


def _too_few(n_filled: int, n_rows: int) -> str | None:
    if n_filled == 0:
        return "it is empty"
    if n_filled < _FEWEST_FILLED or n_filled < _LEAST_FILLED * n_rows:
        return f"it has only {counted(n_filled, 'value')} in {counted(n_rows, 'row')}"
    return None


def _checked(column: Column, n_rows: int, words: Sequence[str] = ()) -> Column | LeftOut:
    """The column, unless it is nearly empty or constant; with a note if it numbers the rows.

    column : Column; n_rows : int; words : for missing values, with their numbers
    """
    values, name = column.values, column.recipe.name
    known = values[~np.isnan(values)]
    if too_few := _too_few(len(known), n_rows):
        return LeftOut(name, too_few)
    if np.all(known == known[0]):
        return LeftOut(name, f"it is {_shown(column, known[0])} wherever it is known")
    n_missing, notes = len(values) - len(known), list(column.notes)
    if n_missing:
        written = f" ({', '.join(words)})" if words else ""
        notes.insert(0, f"{n_missing:,} missing{written}")
    if column.recipe.kind == NUMBER and is_numbering(values):
        notes.append("it numbers the rows; --drop leaves it out")
    return column._replace(notes=tuple(notes))


def _shown(column: Column, value: float) -> str:
    if column.recipe.kind == CATEGORY:
        return quoted(column.levels[int(value)])
    if column.recipe.kind == YES_NO:
        return "yes" if value else "no"
    if column.recipe.kind == DATE:
        return str(as_datetimes(np.array([value]))[0])[:10]
    return f"{value:g}"


def is_numbering(values: Array) -> bool:
    """Whether values are row numbers: integers that rise, with few of them left out."""
    steps = np.diff(values)
    whole = np.all((steps >= 1) & (steps == np.floor(steps))) and float(values[0]).is_integer()
    return bool(len(steps) > 1 and whole and values[-1] - values[0] < 1.2 * len(values))


def as_datetimes(days: Array) -> NDArray[np.datetime64]:
    """Days since 1970 as dates and times, to the millisecond; nan is NaT."""
    known = np.where(np.isnan(days), 0, days)
    moments = np.round(known * 86_400_000).astype("datetime64[ms]")
    moments[np.isnan(days)] = np.datetime64("NaT")
    return moments


def _bad_notes(counts: dict[str, int], known: dict[str, Any]) -> list[str] | None:
    """What to say about cells that cannot be read; None if they are too many."""
    bad = [cell for cell in counts if cell not in known]
    n_bad, n_all = sum(counts[cell] for cell in bad), sum(counts.values())
    if n_bad > max(1, _MOST_BAD * n_all) or n_all - n_bad < max(2, 2 * n_bad):
        return None
    if not bad:
        return []
    what = quoted(bad[0], 20) if len(bad) == 1 else f"such as {quoted(bad[0], 20)}"
    return [f"{counted(n_bad, 'cell')} unreadable, taken as missing: {what}"]


def _missing_words(
    counts: dict[str, int], filled: dict[str, int], known: dict[str, float]
) -> list[str]:
    """Words for missing values, with their numbers; the usual ones are not worth a word.

    counts : of all cells; filled : of those that are not empty; known : values of cells
    """
    words = [
        cell
        for cell in counts
        if cell not in known
        and cell.lower() in numerals.MISSING_NUMBERS
        and (cell in filled or cell in ("?", "-", "--", "."))
    ]
    return [f"{counts[word]:,} {quoted(word, 16)}" for word in words[:3]]


def _as_yes_no(name: str, counts: dict[str, int]) -> _Found:
    if {cell.lower() for cell in counts} not in map(set, _PAIRS):
        return None
    return {cell: _WORDS[cell.lower()] for cell in counts}, Recipe(name, YES_NO), [], True


def _as_numbers(name: str, counts: dict[str, int], context: Context) -> _Found:
    """The numbers of a column, if most of its cells are numbers.

    name : of the column; counts : {cell: times}; context : Context
    """
    shown = numerals.evidence(counts)
    own = None if context.forced else numerals.column_decimal(shown)
    decimal = own or context.decimal
    read = {cell: numerals.read_numeral(cell, decimal) for cell in counts}
    found = {cell: numeral for cell, numeral in read.items() if numeral is not None}
    if any(map(numerals.is_label, found)):
        return None
    units = Counter(numeral.unit for numeral in found.values())
    symbols = {unit for unit in units if numerals.is_symbol(unit)}
    if not symbols and len(units) > 1:
        symbols = {units.most_common(1)[0][0]}
    found = {c: n for c, n in found.items() if not symbols or n.unit in symbols}
    if (bad := _bad_notes(counts, found)) is None:
        return None
    used = {numeral.unit for numeral in found.values()} - {""}
    notes = _notation_notes(found, shown, decimal, context)
    notes += [f"written with {' and '.join(map(quoted, sorted(used)))}"] if used else []
    plain = not bad and decimal == context.decimal and all(n.plain for n in found.values())
    known = {cell: numeral.value for cell, numeral in found.items()}
    return known, Recipe(name, NUMBER, decimal), [*notes, *bad], plain


def _notation_notes(
    found: dict[str, numerals.Numeral],
    shown: numerals.Evidence,
    decimal: str,
    context: Context,
) -> list[str]:
    """What to say about the separators in numbers that could be read in two ways.

    found : {cell: Numeral}
    shown : what the cells say of the decimal separator
    decimal : as it was decided
    context : Context
    """
    notes, word = [], "point" if decimal == "." else "comma"
    if decimal != context.decimal:
        notes.append(f"decimal {word}, unlike other columns")
    example = next((cell for cell, numeral in found.items() if numeral.grouped), None)
    if example is not None:
        notes.append(f"thousands separators: {quoted(example, 16)} is {found[example].value:.15g}")
        return notes
    known = decimal in shown.certain or context.shown or context.forced
    if decimal in shown.either and not known:
        cell = next(c for c in found if decimal in c)
        notes.append(
            f"{quoted(cell, 16)} is taken for {found[cell].value:.15g}; --thousands {decimal} if "
            f"its {word} separates thousands"
        )
    return notes


def _as_dates(name: str, counts: dict[str, int], context: Context) -> _Found:
    """The dates of a column, if most of its cells are dates.

    name : of the column; counts : {cell: times}; context : Context
    """
    found = dates.find_dates(counts, context.day_first)
    if found is None:
        return None
    if (bad := _bad_notes(counts, found.days)) is None:
        return None
    notes = [found.form]
    if found.ambiguous:
        cell = next(iter(found.days))
        other = "mdy" if found.form.startswith("day") else "dmy"
        notes.append(f"the order of {quoted(cell, 16)} is a guess: --dates {other} for the other")
    return found.days, Recipe(name, DATE, found.form), [*notes, *bad], found.local


def _as_times(name: str, counts: dict[str, int]) -> _Found:
    read = {cell: dates.read_clock(cell) for cell in counts}
    known = {cell: value for cell, value in read.items() if value is not None}
    if (bad := _bad_notes(counts, known)) is None:
        return None
    return known, Recipe(name, TIME), ["hours since midnight", *bad], True


def _as_category(name: str, cells: Sequence[str], counts: dict[str, int]) -> Column | LeftOut:
    """A column of labels.

    name : of the column; cells : (n_rows,) str; counts : {cell: times} of those not missing
    """
    n_filled = sum(counts.values())
    if len(counts) > _MOST_LEVELS and 2 * len(counts) > n_filled:
        return LeftOut(
            name, f"it has {len(counts):,} different texts in {n_filled:,} rows, names or free text"
        )
    if len(counts) == n_filled:
        return LeftOut(name, "every row has another text in it")
    levels = tuple(sorted(counts))
    codes = {level: float(code) for code, level in enumerate(levels)}
    values = np.array([codes.get(cell.strip(), math.nan) for cell in cells])
    column = Column(Recipe(name, CATEGORY), values, levels, _level_notes(counts))
    words = Counter(text for cell in cells if (text := cell.strip()) and text not in codes)
    return _checked(column, len(cells), [f"{n:,} {quoted(w, 16)}" for w, n in words.most_common(3)])


def _level_notes(counts: dict[str, int]) -> tuple[str, ...]:
    """The levels, and a word if most of the cells are numbers."""
    often = sorted(counts, key=lambda level: (-counts[level], level))
    shown = ", ".join(quoted(level, 14)[1:-1] for level in often[:3])
    more = ", ..." if len(often) > 3 else ""
    notes = [f"{counted(len(counts), 'level')}: {shown}{more}"]
    numbers = [cell for cell in counts if numerals.read_numeral(cell, ".") is not None]
    n_numbers = sum(counts[cell] for cell in numbers)
    if any(map(numerals.is_label, numbers)):
        notes.append("taken for labels because of zeros in front")
    elif 2 * n_numbers > sum(counts.values()) and n_numbers < sum(counts.values()):
        text = next(cell for cell in often if cell not in numbers)
        notes.append(f"not taken for numbers because of texts such as {quoted(text, 16)}")
    return tuple(notes)


def read_by_recipe(recipe: Recipe, cells: Sequence[str], decimal: str) -> Array | list[str | None]:
    """Other rows of a column: numbers, nan where missing or unreadable; or labels, or None.

    recipe : Recipe; cells : (n_rows,) str; decimal : of the numbers
    """
    texts = [cell.strip() for cell in cells]
    if recipe.kind == CATEGORY:
        return [None if text.lower() in numerals.MISSING else text for text in texts]
    known = {text: _read_cell(recipe, text, decimal) for text in set(texts)}
    return np.array([known[text] for text in texts])


def _read_cell(recipe: Recipe, text: str, decimal: str) -> float:
    """The value of a cell, nan where missing or unreadable.

    recipe : Recipe, not of categories; text : of the cell; decimal : of the numbers
    """
    value: float | None
    if recipe.kind == YES_NO:
        value = _WORDS.get(text.lower())
    elif recipe.kind == TIME:
        value = dates.read_clock(text)
    elif recipe.kind == DATE:
        value = dates.read_date(text, recipe.form)
        if value is None:  # one of Excel, perhaps, which has one meaning
            value = dates.read_date(text, "year-month-day")
    else:
        numeral = numerals.read_numeral(text, decimal)
        value = None if numeral is None else numeral.value
    return math.nan if value is None else value


def file_context(
    columns: Sequence[Sequence[str]], delimiter: str, day_first: bool | None
) -> Context:
    """What the columns of a file say together.

    columns : cells of each
    delimiter : of the columns
    day_first : what the user says of dates such as 1/2/2020; None if nothing
    """
    commas = ["," in "".join(cells) for cells in columns]
    found = []
    if any(commas) or delimiter != ",":
        # Of columns without commas some cells are enough to see whether there are points.
        found = [
            numerals.evidence(dict.fromkeys(cells if comma else cells[:_SAMPLE]))
            for cells, comma in zip(columns, commas)
        ]
    decimal, shown = numerals.file_decimal(found, delimiter)
    if day_first is None:
        day_first = _day_first(columns) if decimal == "." else True
    return Context(decimal, shown, False, day_first)


def _day_first(columns: Sequence[Sequence[str]]) -> bool | None:
    """Whether a column of dates shows that days or months come first; None if none does."""
    for cells in columns:
        sample = list(dict.fromkeys(cell.strip() for cell in cells[:1000]))
        if any(dates.FORMS["day/month/year"].fullmatch(cell) for cell in sample[:20]):
            found = dates.find_dates(sample, None)
            if found and not found.ambiguous and found.form[:3] in ("day", "mon"):
                return found.form.startswith("day")
    return None
