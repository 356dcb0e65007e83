"""Files as people have them: each is read as a person would, or refused in one line."""

from __future__ import annotations

import datetime
import gzip
import io
import lzma
import math
import zipfile
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sk_backprop._command._reading import frames
from sk_backprop._command._reading.columns import (
    CATEGORY,
    DATE,
    NUMBER,
    TIME,
    YES_NO,
    Recipe,
    as_datetimes,
    read_by_recipe,
)
from sk_backprop._command._reading.tables import Options, as_frame, load_table
from sk_backprop._command.advice import reading_lines
from sk_backprop._command.terminal import CommandError

TARGET = [1.0, 2.5, 3.0, 4.5, 5.0, 6.5, 7.0, 8.5, 9.0, 10.5, 11.0, 12.5]
N = len(TARGET)
A = [float(i * i % 11) + 0.25 for i in range(N)]
NONE = math.nan


def lines(*columns, sep=",", head="a,y", end="\n"):
    """The text of a file: a first line, and columns of cells."""
    return end.join([head, *(sep.join(map(str, row)) for row in zip(*columns)), ""])


def comma(values, form="{:.2f}"):
    return [form.format(value).replace(".", ",") for value in values]


PLAIN = lines(A, TARGET)
THOUSANDS = [f"{349 + i}.{270 + i}" for i in range(N)]
HUNDREDS = [349270.0 + 1001 * i for i in range(N)]
THREE = [value / 1000 for value in HUNDREDS]
BIG = [1234.5 + 1000 * i for i in range(N)]
DAYS = [f"2024-01-{i + 10}" for i in range(N)]
COLOURS = ["red", "blue"] * 6


def zipped(**files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("_csv", ".csv"), text)
    return data.getvalue()


# name: (file, what a person sees in its columns, words that the command says about it)
READ = {
    "plain": (PLAIN, {"a": A}, []),
    "byte order mark": ("\ufeff" + PLAIN, {"a": A}, []),
    "utf-16": (PLAIN.encode("utf-16"), {"a": A}, []),
    "utf-16 without a mark": (PLAIN.encode("utf-16-le"), {"a": A}, ["UTF-16-LE"]),
    "cp1252": (
        lines(["größe", "größer"] * 6, TARGET).encode("cp1252"),
        {"a": ["größe", "größer"] * 6},
        ["read as cp1252: line 2 is 'größe,1.0'"],
    ),
    "gzip": (gzip.compress(PLAIN.encode()), {"a": A}, []),
    "zip": (zipped(t_csv=PLAIN), {"a": A}, ["The table is t.csv in"]),
    "carriage returns alone": (PLAIN.replace("\n", "\r"), {"a": A}, []),
    "blank lines and spaces": (PLAIN.replace("\n", "  \r\n\r\n").replace(",", " , "), {"a": A}, []),
    "semicolons, decimal commas": (
        lines(comma(A), comma(TARGET), sep=";", head="a;y"),
        {"a": A},
        ["decimal comma"],
    ),
    "thousands among decimal commas": (
        lines(THOUSANDS, comma(TARGET), sep=";", head="a;y"),
        {"a": HUNDREDS},
        ["'349.270' is 349270"],
    ),
    "one dot in three digits, and nothing else": (
        lines(THOUSANDS, range(N), sep=";", head="a;y"),
        {"a": THREE},
        ["'349.270' is taken for 349.27; --thousands ."],
    ),
    "decimal points in one column of many with commas": (
        lines(comma(A), A, comma(TARGET), sep="\t", head="a\tb\ty"),
        {"a": A, "b": A},
        ["decimal point, unlike other columns"],
    ),
    "decimal commas in one column of many with points": (
        lines([f'"{a}"' for a in comma(A)], A, THREE, TARGET, head="a,b,c,y"),
        {"a": A, "b": A, "c": THREE},
        ["decimal comma, unlike other columns"],
    ),
    "decimal commas in quotation marks": (
        lines([f'"{a}"' for a in comma(A)], [f'"{y}"' for y in comma(TARGET)]),
        {"a": A},
        ["decimal comma"],
    ),
    "money": (
        lines([f'"$ {value:,.2f}"' for value in BIG], TARGET),
        {"a": BIG},
        ["written with '$'", "'$ 1,234.50' is 1234.5"],
    ),
    "euros behind, spaces between": (
        lines([f"{v:,.2f} €".replace(",", " ").replace(".", ",") for v in BIG], TARGET, sep=";",
              head="a;y"),
        {"a": BIG},
        ["written with '€'"],
    ),
    "percent": (lines([f"{a} %" for a in A], TARGET), {"a": A}, ["written with '%'"]),
    "units": (lines([f"{a} kg" for a in A], TARGET), {"a": A}, ["written with 'kg'"]),
    "negative in parentheses": (
        lines([f"({a})" for a in A[:6]] + A[6:], TARGET),
        {"a": [-a for a in A[:6]] + A[6:]},
        [],
    ),
    "words for missing values": (
        lines(["unknown", "-", "?", "n/a", "", "NULL", *A[6:]], TARGET),
        {"a": [NONE] * 6 + A[6:]},
        ["6 missing", "1 'unknown'", "1 '-'", "1 '?'"],
    ),
    "one bad cell": (
        lines([*A[:-1], "seventy"], TARGET),
        {"a": [*A[:-1], NONE]},
        ["1 cell unreadable, taken as missing: 'seventy'"],
    ),
    "yes and no": (lines(["yes", "No", "YES"] * 4, TARGET), {"a": [True, False, True] * 4}, []),
    "categories": (lines(COLOURS, TARGET), {"a": COLOURS}, ["2 levels: blue, red"]),
    "iso dates": (lines(DAYS, TARGET), {"a": np.array(DAYS, "M8[ms]")}, ["year-month-day"]),
    "days first, as one cell shows": (
        lines(["05/01/2024", "13/01/2024"] * 6, TARGET),
        {"a": np.array(["2024-01-05", "2024-01-13"] * 6, "M8[ms]")},
        ["day/month/year"],
    ),
    "dates that may be either": (
        lines(["05/01/2024", "06/02/2024"] * 6, TARGET),
        {"a": np.array(["2024-05-01", "2024-06-02"] * 6, "M8[ms]")},
        ["the order of '05/01/2024' is a guess: --dates dmy"],
    ),
    "dates with dots and times": (
        lines(["05.01.2024 06:30", "06.02.24 18:00"] * 6, TARGET),
        {"a": np.array(["2024-01-05T06:30", "2024-02-06T18:00"] * 6, "M8[ms]")},
        ["day/month/year"],
    ),
    "names of months": (
        lines(["5 Jan 2024", "6 March 2023"] * 6, TARGET),
        {"a": np.array(["2024-01-05", "2023-03-06"] * 6, "M8[ms]")},
        ["day month year"],
    ),
    "times of day": (
        lines(["6:30", "18:00", "7:45"] * 4, TARGET),
        {"a": [6.5, 18.0, 7.75] * 4},
        ["hours since midnight"],
    ),
    "a preamble and a last line": (
        "Export of 3 May\nall stations\n\n" + lines(A, A, TARGET, head="a,b,y") + "Source: me\n",
        {"a": A, "b": A},
        ["2 lines before the table left out", "The last line, 'Source: me'"],
    ),
    "comments": (
        "# made by hand\n" + PLAIN.replace("\n", "\n# \"checked\n", 1),
        {"a": A},
        ["2 lines of comments"],
    ),
    "names in a comment": (
        "# a y\n" + lines(A, TARGET, sep=" ").split("\n", 1)[1],
        {"a": A},
        ["1 line of comments"],
    ),
    "excel names the separator": ("sep=;\n" + lines(A, TARGET, sep=";", head="a;y"), {"a": A}, []),
    "xz": (lzma.compress(PLAIN.encode()), {"a": A}, []),
    "latin-1": (
        lines(["gr\x81n", "rot"] * 6, TARGET).encode("latin-1"),
        {"a": ["gr\x81n", "rot"] * 6},
        ["read as latin-1"],
    ),
    "utf-16, big-endian, without a mark": (PLAIN.encode("utf-16-be"), {"a": A}, ["UTF-16-BE"]),
    "twelve hours": (
        lines(["1/2/2024 12:05 AM", "13/2/2024 1:30 PM"] * 6, TARGET),
        {"a": np.array(["2024-02-01T00:05", "2024-02-13T13:30"] * 6, "M8[ms]")},
        ["day/month/year"],
    ),
    "time zones": (
        lines(["2024-01-05T06:30:15.250Z", "2024-01-05T06:30+02:00"] * 6, TARGET),
        {"a": np.array(["2024-01-05T06:30:15.250", "2024-01-05T04:30"] * 6, "M8[ms]")},
        ["year-month-day"],
    ),
    "dates of eight digits": (
        lines(["20240105", "20231231"] * 6, TARGET),
        {"a": np.array(["2024-01-05", "2023-12-31"] * 6, "M8[ms]")},
        ["yyyymmdd"],
    ),
    "numbers of eight digits": (
        lines([20249905 + i for i in range(N)], TARGET),
        {"a": [20249905.0 + i for i in range(N)]},
        ["it numbers the rows"],
    ),
    "years of two digits": (
        lines(["5.1.99", "31.12.68"] * 6, TARGET),
        {"a": np.array(["1999-01-05", "2068-12-31"] * 6, "M8[ms]")},
        ["day/month/year"],
    ),
    "days, months, and another column that shows the order": (
        lines(["1/2/2024", "3/4/2024"] * 6, ["2/13/2024", "3/4/2024"] * 6, TARGET, head="a,b,y"),
        {
            "a": np.array(["2024-01-02", "2024-03-04"] * 6, "M8[ms]"),
            "b": np.array(["2024-02-13", "2024-03-04"] * 6, "M8[ms]"),
        },
        ["month/day/year"],
    ),
    "days that are not dates": (
        lines(["31/02/2024", "32/01/2024"] * 6, TARGET),
        {"a": ["31/02/2024", "32/01/2024"] * 6},
        ["2 levels"],
    ),
    "numbers, a third replaced by words": (
        lines([1, 2, "many"] * 4, TARGET),
        {"a": ["1", "2", "many"] * 4},
        ["not taken for numbers because of texts such as 'many'"],
    ),
    "constants of every kind": (
        lines(A, [7] * N, ["2024-01-05"] * N, ["u"] * N, [""] + ["x"] * 11, TARGET,
              head="a,number,day,text,gap,y"),
        {"a": A},
        ["number: it is 7", "day: it is 2024-01-05", "text: it is 'u'", "gap: it is 'x'"],
    ),
    "bars": (lines(A, TARGET, sep="|", head="a|y"), {"a": A}, []),
    "a name for no column": (
        lines(range(N), A, TARGET, head=",a,y"),
        {"a": A},
        ["column 1: it has no name and numbers the rows"],
    ),
    "row names of R": (
        lines(range(1, N + 1), A, TARGET, head="a,y"),
        {"a": A},
        ["column 1: it has no name and numbers the rows"],
    ),
    "a separator at the end of each row": (PLAIN.replace("\n", ",\n"), {"a": A}, []),
    "the same name twice": (
        lines(A, BIG, TARGET, head="a,a,y"),
        {"a": A, "a (2)": BIG},
        ["Column 2 is called a (2)"],
    ),
    "rows that break off": (
        lines(A, TARGET, A, head="a,y,b").replace(f",{A[3]}\n", "\n", 1),
        {"a": A, "b": [*A[:3], NONE, *A[4:]]},
        ["1 row shorter than the line of names"],
    ),
    "columns of no use": (
        lines(A, ["x"] * N, [""] * N, [1, 2] + [""] * 10, [f"n{i}" for i in range(N)], TARGET,
              head="a,same,none,few,label,y"),
        {"a": A},
        ["same: it is", "none: it is empty", "few: it has only 2 values", "label: every row has"],
    ),
    "labels of digits": (
        lines(["00715", "10115"] * 6, TARGET),
        {"a": ["00715", "10115"] * 6},
        ["taken for labels because of zeros in front"],
    ),
    "row numbers that pandas has written": (
        lines(range(N), A, TARGET, head="Unnamed: 0,a,y"),
        {"a": A},
        ["Unnamed: 0: it has no name and numbers the rows"],
    ),
    "thousands in a file of commas": (
        lines([f'"{349 + i},{270 + i}"' for i in range(N)], TARGET),
        {"a": HUNDREDS},
        ["'349,270' is 349270"],
    ),
    "one comma in three digits, and nothing else": (
        lines([t.replace(".", ",") for t in THOUSANDS], range(N), sep=";", head="a;y"),
        {"a": THREE},
        ["'349,270' is taken for 349.27; --thousands ,", "as semicolons separate the columns"],
    ),
    "as many points as commas": (
        lines(comma(A), THOUSANDS, TARGET, sep=";", head="a;b;y"),
        {"a": A, "b": THREE},
        ["decimal comma, unlike other columns", "'349.270' is taken for 349.27; --thousands ."],
    ),
    "row numbers under a name": (
        lines(range(5, 5 + N), A, TARGET, head="id,a,y"),
        {"id": [float(i) for i in range(5, 5 + N)], "a": A},
        ["it numbers the rows; --drop leaves it out"],
    ),
    "rows without a target": (
        lines(A, ["", "n/a", *TARGET[2:]]),
        {"a": A[2:]},
        ["2 rows of 12 left out"],
    ),
    "the names repeated": (
        PLAIN + PLAIN,
        {"a": A + A},
        ["1 line that repeat the names"],
    ),
}  # fmt: skip

REFUSED = {
    "empty": ("", "is empty"),
    "a web page": ("<!DOCTYPE html><html></html>", "is a web page, not a table; download"),
    "json": ('[{"a": 1}]', "is JSON; export the table as CSV"),
    "a binary file": (b"\x00\x01\x02\x00" * 50, "is not text; export the table"),
    "pdf": (b"%PDF-1.7", "is a PDF file; export"),
    "old excel": (b"\xd0\xcf\x11\xe0....", "save it as .xlsx or CSV"),
    "two files": (zipped(a_csv=PLAIN, b_csv=PLAIN), "holds 2 files (a.csv, b.csv): unpack it"),
    "xml": ('<?xml version="1.0"?><a/>', "is XML; export the table as CSV"),
    "a spreadsheet of LibreOffice": (
        zipped(mimetype="application/vnd.oasis.opendocument.spreadsheet"),
        "is an OpenDocument file; save it as .xlsx or CSV",
    ),
    "a damaged zip file": (zipped(t_csv=PLAIN)[:-30], "cannot read t.csv: "),
    "an endless cell": (lines(["1" * 200_000], [1]), "field larger than field limit"),
    "names and nothing else": ("a,y\n", "t.csv has 0 rows; at least 10 are needed"),
    "few rows with a target": (
        lines(A, [*TARGET[:9], "", "", ""]),
        "t.csv has 9 rows with a target, of 12; at least 10 are needed",
    ),
    "damaged": (gzip.compress(PLAIN.encode())[:-9], "a damaged archive"),
    "few rows": (lines(A[:9], TARGET), "has 9 rows; at least 10 are needed"),
    "an open quotation mark": (
        PLAIN.replace(f"\n{A[3]}", f'\n"{A[3]}', 1),
        "line 5: a quotation mark is opened and never closed",
    ),
    "too many cells": (
        PLAIN.replace(f"{A[4]},", f"{A[4]},x,"),
        "line 6: 3 values for 2 columns",
    ),
    "a text as target": (lines(A, COLOURS), "the target y holds text, such as 'red' and 'blue'"),
    "a constant target": (lines(A, [2.5] * N), "the target y cannot be predicted: it is 2.5"),
    "an empty target": (lines(A, ["NA"] * N), "the target y cannot be predicted: it is empty"),
    "another name": (lines(A, TARGET, head="a,Y "), "has no column y; do you mean Y?"),
    "only a target": ("y\n" + "\n".join(map(str, TARGET)), "has no column to predict from"),
    "the target twice": (lines(A, TARGET, TARGET, head="a,y,y"), "more than one column named y"),
}


def write(folder, content):
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def said(table):
    """All that is said about a table, in one text."""
    notes = [note for column in table.columns for note in column.notes]
    left_out = [f"{column.name}: {column.reason}" for column in table.left_out]
    return "\n".join([*table.remarks, *notes, *left_out])


def seen(column):
    """The values of a column as a person would write them."""
    kind = column.recipe.kind
    if kind == CATEGORY:
        return [column.levels[int(code)] for code in column.values]
    if kind == DATE:
        return as_datetimes(column.values)
    return column.values.astype(bool) if kind == YES_NO else column.values


@pytest.mark.parametrize("name", READ)
def test_a_file_is_read_as_a_person_reads_it(tmp_path, name):
    content, expected, words = READ[name]
    table = load_table(write(tmp_path, content), ["y"])
    assert [column.recipe.name for column in table.columns] == list(expected)
    for column, values in zip(table.columns, expected.values(), strict=True):
        if isinstance(values, list) and isinstance(values[0], float):
            np.testing.assert_allclose(seen(column), values, rtol=1e-12)
        else:
            np.testing.assert_array_equal(seen(column), values)
    for word in words:
        assert word in said(table)
    if not words:
        assert said(table) == ""


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_is_refused_in_one_line(tmp_path, name):
    content, message = REFUSED[name]
    with pytest.raises(CommandError) as refused:
        load_table(write(tmp_path, content), ["y"])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


# --- what the user says about the file ---


@pytest.mark.parametrize(
    ("content", "options", "values"),
    [
        (lines(THOUSANDS, range(N), sep=";", head="a;y"), {"thousands": "."}, HUNDREDS),
        (lines(THOUSANDS, range(N), sep=";", head="a;y"), {"decimal": ","}, HUNDREDS),
        (lines(A, TARGET, sep="|", head="a|y"), {"delimiter": "|"}, A),
        (PLAIN.encode("utf-16-be"), {"encoding": "utf-16-be"}, A),
        (
            lines(["05/01/2024", "06/02/2024"] * 6, TARGET),
            {"day_first": True},
            [19727.0, 19759.0] * 6,  # 5 January and 6 February
        ),
    ],
)
def test_options_decide_what_a_file_leaves_open(tmp_path, content, options, values):
    table = load_table(write(tmp_path, content), ["y"], Options(**options))
    np.testing.assert_allclose(table.columns[0].values, values, rtol=1e-12)
    assert "--" not in said(table)  # nothing is left to guess


def test_without_names_columns_are_counted(tmp_path):
    content = PLAIN.partition("\n")[2]
    table = load_table(write(tmp_path, content), ["column 2"])
    assert [column.recipe.name for column in table.columns] == ["column 1"]
    np.testing.assert_array_equal(table.columns[0].values, A)
    assert "The first line holds numbers and no names" in said(table)
    # With a line before the table, as in a file of scikit-learn.
    path = write(tmp_path, "12 rows\n" + lines(A, A, TARGET).partition("\n")[2])
    table = load_table(path, ["column 3"])
    names = {}
    exec("\n".join(["import pandas as pd", *reading_lines(table, path)]), names)
    np.testing.assert_array_equal(names["X"], np.column_stack([A, A]))
    np.testing.assert_array_equal(names["y"], TARGET)
    # Names that are numbers are names nevertheless, if one of them is asked for.
    table = load_table(write(tmp_path, lines(A, TARGET, head="2023,2024")), ["2024"])
    assert [column.recipe.name for column in table.columns] == ["2023"]


@pytest.mark.parametrize(
    ("encoding", "message"),
    [("ascii", "is not text in ascii; name its encoding"), ("utf-99", "Python knows no encoding")],
)
def test_an_encoding_that_cannot_be(tmp_path, encoding, message):
    path = write(tmp_path, lines(["größe", "größer"] * 6, TARGET))
    with pytest.raises(CommandError, match=message):
        load_table(path, ["y"], Options(encoding=encoding))


@pytest.mark.parametrize(
    ("recipe", "texts", "values"),
    [
        (Recipe("a", NUMBER, ","), ["1.234,5", " 2", "-", "€ 3", "x"], [1234.5, 2, NONE, 3, NONE]),
        (Recipe("a", YES_NO), ["Yes", "no", "?", "ja"], [1, 0, NONE, 1]),
        (Recipe("a", TIME), ["6:30", "24:30", "noon"], [6.5, NONE, NONE]),
        # Excel has its own dates, which come in one form.
        (
            Recipe("a", DATE, "day/month/year"),
            ["2/1/1970", "1970-01-03 12:00:00", "1/32/1970"],
            [1, 2.5, NONE],
        ),
    ],
)
def test_other_rows_are_read_by_the_recipe_of_a_column(recipe, texts, values):
    np.testing.assert_array_equal(read_by_recipe(recipe, texts, ","), values)


def test_other_rows_of_a_category_are_labels(tmp_path):
    texts = [" red", "?", "green"]
    assert read_by_recipe(Recipe("a", CATEGORY), texts, ".") == ["red", None, "green"]


# --- code that reads the file again ---


@pytest.mark.parametrize("name", READ)
def test_the_code_shown_reads_the_same_numbers(tmp_path, name):
    content, _, _ = READ[name]
    path = write(tmp_path, content)
    if name in ("gzip", "zip", "xz"):
        path = str((tmp_path / "t.csv").rename(tmp_path / f"t.csv.{name.replace('gzip', 'gz')}"))
    table = load_table(path, ["y"])
    names = {}
    exec("\n".join(["import pandas as pd", *reading_lines(table, path)]), names)
    X, ours = names["X"], as_frame(table)
    assert list(X.columns) == list(ours.columns)
    np.testing.assert_allclose(names["y"], table.y[:, 0], rtol=1e-12)
    for column in table.columns:
        if column.recipe.kind in (DATE, NUMBER, TIME):
            if column.recipe.kind == DATE:
                read = X[column.recipe.name].to_numpy().astype("M8[ms]")
                np.testing.assert_array_equal(read, as_datetimes(column.values))
            else:
                read = X[column.recipe.name].to_numpy(float)
                np.testing.assert_allclose(read, column.values, rtol=1e-12)


# --- other formats ---


@pytest.mark.parametrize("missing", ["pandas", "pyarrow"])
def test_what_parquet_files_need_is_named(tmp_path, monkeypatch, missing):
    present = frames.find_spec
    monkeypatch.setattr(frames, "find_spec", lambda n: None if n == missing else present(n))
    with pytest.raises(CommandError, match=f"needs: python -m pip install {missing}$"):
        load_table(write(tmp_path, b"PAR1...."), ["y"])


def test_a_parquet_file_is_read_as_text_files_are(tmp_path):
    frame = pd.DataFrame(
        {
            "a": [*A[:-1], NONE],
            "precise": [1.234 + i for i in range(N)],  # three decimals, no thousands
            "when": pd.to_datetime(DAYS),
            "colour": pd.Categorical(COLOURS),
            "good": [True, False] * 6,
            "y": TARGET,
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    table = load_table(str(tmp_path / "t.parquet"), ["y"])
    values = {column.recipe.name: seen(column) for column in table.columns}
    np.testing.assert_array_equal(values["a"], frame["a"])
    np.testing.assert_array_equal(values["precise"], frame["precise"])
    np.testing.assert_array_equal(values["when"], np.array(DAYS, "M8[ms]"))
    assert values["colour"] == COLOURS
    np.testing.assert_array_equal(values["good"], frame["good"])


def test_an_excel_file_that_is_read_as_text_files_are(tmp_path, monkeypatch):
    # pandas gives what openpyxl has read: cells with types, a preamble, and no names.
    cells = [["Export", *[None] * 3], ["a", "when", "b", "y"]]
    cells += [
        [a, datetime.datetime(2024, 1, 10 + i), f"{a:.2f}".replace(".", ","), y]
        for i, (a, y) in enumerate(zip(A, TARGET))
    ]
    book = pd.DataFrame(cells, dtype=object)
    monkeypatch.setattr(frames, "find_spec", lambda name: True)
    fake = SimpleNamespace(sheet_names=["one", "two"], parse=lambda *args, **options: book)
    monkeypatch.setattr(pd, "ExcelFile", lambda data: fake)
    table = load_table(write(tmp_path, zipped(**{"xl/workbook.xml": ""})), ["y"])
    assert "The table is the first of 2 sheets." in said(table)
    np.testing.assert_array_equal(table.matrix[:, [0, 2]], np.column_stack([A, A]))
    np.testing.assert_array_equal(seen(table.columns[1]), np.array(DAYS, "M8[ms]"))
