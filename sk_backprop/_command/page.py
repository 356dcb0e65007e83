"""Parts of an HTML page that needs nothing else: escaped text, tables, bars, inline pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

from sk_backprop._command.terminal import printable

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; background: #fff; }
h1 { font-size: 1.7rem; line-height: 1.25; margin-bottom: .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; border-bottom: 1px solid #ddd; }
p.small, figcaption { color: #555; font-size: .875rem; }
table { border-collapse: collapse; font-size: .9rem; width: 100%; }
th { text-align: left; font-weight: 600; border-bottom: 2px solid #ccc; }
th, td { padding: .25rem .8rem .25rem 0; vertical-align: top; overflow-wrap: anywhere; }
tr + tr td { border-top: 1px solid #eee; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.best td { font-weight: 600; background: #eef5fc; }
tr.out td { color: #777; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: 1rem; }
figure { margin: 0; max-width: 34rem; }
td:first-child { min-width: 9rem; max-width: 24rem; }
img { width: 100%; height: auto; }
.bar { background: #3b8fd0; height: .8rem; border-radius: 2px; min-width: 1px; }
td.wide { width: 55%; vertical-align: middle; }
pre { background: #f5f5f5; padding: .8rem 1rem; overflow-x: auto; font-size: .85rem; }
"""
# Nothing is fetched, whatever a page might contain.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def text(value: str) -> str:
    """Text of a page: escaped, and without control characters."""
    return html.escape("\n".join(map(printable, value.split("\n"))))


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page.

    title : str; parts : HTML
    """
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n"
        "</body>\n</html>\n"
    )


def heading(value: str, level: int = 2) -> str:
    """A heading."""
    return f"<h{level}>{text(value)}</h{level}>"


def paragraph(value: str, *, small: bool = False) -> str:
    """A paragraph, perhaps of small print."""
    return f"<p{' class=small' if small else ''}>{text(value)}</p>"


def table(
    header: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], numbers: int = 0
) -> str:
    """A table of text.

    header : names of the columns; rows : (class of the row, cells)
    numbers : how many of the last columns hold numbers
    """
    first = len(header) - numbers

    def cells(values: Sequence[str], tag: str) -> str:
        marks = [' class="number"' if j >= first else "" for j in range(len(values))]
        return "".join(f"<{tag}{m}>{text(v)}</{tag}>" for m, v in zip(marks, values))

    lines = [f"<tr>{cells(header, 'th')}</tr>"]
    lines += [f'<tr class="{kind}">{cells(values, "td")}</tr>' for kind, values in rows]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def bars(named: Iterable[tuple[str, float]]) -> str:
    """Horizontal bars of numbers from 0 on, the longest as wide as there is room."""
    pairs = list(named)
    longest = max((value for _, value in pairs), default=0) or 1
    lines = [
        f'<tr><td>{text(name)}</td><td class="number">{value:.3f}</td><td class="wide">'
        f'<div class="bar" style="width:{100 * value / longest:.1f}%"></div></td></tr>'
        for name, value in pairs
    ]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def pictures(named: Iterable[tuple[bytes, str]]) -> str:
    """Pictures side by side.

    named : (PNG, what it shows)
    """
    figures = [
        f'<figure><img alt="{text(caption)}" src="data:image/png;base64,'
        f'{base64.b64encode(png).decode()}">'
        + (f"<figcaption>{text(caption)}</figcaption>" if caption else "")
        + "</figure>"
        for png, caption in named
    ]
    return '<div class="grid">\n' + "\n".join(figures) + "\n</div>"


def code(value: str) -> str:
    """A block of code."""
    return f"<pre>{text(value)}</pre>"
