"""Time beside peers that do the same work, against bars: the ratio of medians."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import environment, files
from benchmarks.fitting import MLP_CUT_SHORT, OURS_CUT_SHORT, expecting
from benchmarks.laps import Setup
from benchmarks.peers import PEERS
from benchmarks.races import UCI_BAR, Race, races

LEAST_REPEATS = 5

# {name of --rows: what it is}
ABOUT = {
    "adam-100": "adam, 20,000 x 10, (100,), batch 200",
    "adam-50": "adam, 20,000 x 10, (50,), batch 32",
    "adam-wide": "adam, 20,000 x 50, (256, 256), batch 256",
    "adam-small": "adam, 500 x 8, (50,), batch 32",
    "sgd-100": "sgd, 20,000 x 10, (100,), batch 200",
    "sgd-50": "sgd, 20,000 x 10, (50,), batch 32",
    "sgd-wide": "sgd, 20,000 x 50, (256, 256), batch 256",
    "sgd-small": "sgd, 500 x 8, (50,), batch 32",
    "lbfgs-50000": "lbfgs, 50,000 x 10, (50,), 30 iterations",
    "lbfgs-2000": "lbfgs, 2,000 x 8, (20,), to the peer's training loss",
    "lm-1000": "lm, 1,000 x 8, (10,), to the peer's training loss",
    "lm-step": "lm, an iteration, 40,000 rows, 551 parameters",
    "uci": "lm, to the test error of the peer's default fit, six UCI sets",
    "predict-million": "predict, 1,000,000 x 20, (100,)",
    "predict-one": "predict, one row",
    "overhead-adam": "adam, 50 x 4, one iteration",
    "overhead-lbfgs": "lbfgs, 50 x 4, one iteration",
    "grid-search": "GridSearchCV, diabetes, lbfgs, 24 candidates, 5 folds, n_jobs=2",
}
QUICK = ("adam-small", "sgd-small", "predict-one", "overhead-adam", "overhead-lbfgs")


@dataclass(frozen=True)
class Row:
    """Ours and a peer; the fields are the columns of the CSV, where NaN is an empty cell.

    `ratio` is the peer's median over ours: higher is better. Without `bar` the row is for
    reference. `threads` are those of BLAS, for both. `note` tells what was done, `versions`
    who did it.
    """

    row: str
    peer: str
    dtype: str
    ours_median_s: float = math.nan
    peer_median_s: float = math.nan
    ratio: float = math.nan
    bar: float = math.nan
    repeats: int = 0
    threads: int = 1
    note: str = ""
    versions: str = ""

    @property
    def which(self) -> str:
        """What tells it from others of its name, beside peer and precision."""
        threads = f"{self.threads} threads" if self.threads > 1 else ""
        return self.row.partition(" ")[2] or threads

    @property
    def missed(self) -> bool:
        """Whether there is a bar, and the ratio is not at or past it."""
        return not math.isnan(self.bar) and not self.ratio >= self.bar


def measure(race: Race, setup: Setup) -> Row:
    """Run it: ours, the peer, ours, the peer, ..."""
    with expecting(OURS_CUT_SHORT, MLP_CUT_SHORT), threadpool_limits(race.threads):
        pair = race.prepare(setup)
        laps = [(pair.ours(repeat), pair.theirs(repeat)) for repeat in range(setup.repeats)]
        told = (environment.versions(), *environment.blas(), *PEERS[race.peer].versions())
        note = pair.note()
    ours, theirs = (float(seconds) for seconds in np.median(laps, axis=0))
    if pair.n_steps:
        steps = (f"{1e6 * seconds / pair.n_steps:.1f}" for seconds in (ours, theirs))
        note = "us a step: {}, the peer {}".format(*steps)
    return Row(
        race.row,
        race.peer,
        race.dtype,
        ours,
        theirs,
        theirs / ours,
        race.bar,
        setup.repeats,
        race.threads,
        note,
        "; ".join(told),
    )


def over_the_sets(rows: Iterable[Row]) -> list[Row]:
    """The row that the bar of the UCI sets is for: the median of their ratios."""
    sets = [row for row in rows if row.row.startswith("uci ")]
    if not sets:
        return []
    ratio = float(np.median([row.ratio for row in sets]))
    last, note = sets[-1], f"median over {len(sets)} sets"
    return [
        Row(
            "uci",
            last.peer,
            last.dtype,
            ratio=ratio,
            bar=UCI_BAR,
            repeats=last.repeats,
            note=note,
            versions=last.versions,
        )
    ]


def run(out: TextIO, setup: Setup, names: Collection[str]) -> list[Row]:
    """The subcommand: measure the rows named, in order; each goes to `out` at once.

    Whatever cannot be run is left out, and standard error says why.
    """
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(files.columns(Row))
    rows: list[Row] = []
    told = set()

    def add(row: Row) -> None:
        rows.append(row)
        writer.writerow(files.cells(row))
        out.flush()

    for race in races():
        if race.group not in names:
            continue
        if why := race.obstacle(setup):
            if why not in told:
                print(why, file=sys.stderr, flush=True)
            told.add(why)
            continue
        print(f"{race.row}, {race.peer}, {race.dtype}", file=sys.stderr, flush=True)
        add(measure(race, setup))
    for row in over_the_sets(rows):
        add(row)
    return rows


def select(rows: Iterable[Row], names: Collection[str]) -> list[Row]:
    """The rows that --rows names."""
    return [row for row in rows if row.row.split()[0] in names]


def in_order(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """(name, its rows), in the order of `ABOUT`; of the UCI sets the median is last."""
    return [
        (name, found)
        for name in ABOUT
        if (found := [row for row in rows if row.row.split()[0] == name])
    ]


LEGEND = """\
Ratio: the peer's median time over ours, higher is better; "<" marks a bar that is missed.
Rows without a bar are for reference."""


def summarize(rows: Sequence[Row]) -> str:
    """A table, with a line for each peer."""
    lines = [_LINE.format("", "peer", "", "ours", "peer", "ratio", "bar", "")]
    for name, found in in_order(rows):
        lines.append(f"{name}: {ABOUT[name]}")
        for row in found:
            cells = [row.which, PEERS[row.peer].label, row.dtype]
            cells += [_seconds(row.ours_median_s), _seconds(row.peer_median_s)]
            cells += [f"{row.ratio:.2f}", f"{row.bar:.4g}".replace("nan", "")]
            lines.append(_LINE.format(*cells, "<" if row.missed else ""))
    missed = sum(row.missed for row in rows)
    of = sum(not math.isnan(row.bar) for row in rows)
    return "\n".join([*(line.rstrip() for line in lines), "", f"{missed} of {of} bars missed"])


_LINE = "  {:<16} {:<20} {:<8} {:>11} {:>11} {:>8} {:>6} {}"


def _seconds(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.3g} ms"
