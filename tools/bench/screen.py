# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows what is under way, and the tables at the end."""

from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (BarColumn, Progress, TextColumn,
                           TimeElapsedColumn, TimeRemainingColumn)
from rich.table import Table
from rich.text import Text

from demo.screen import on_terminal

from . import contender as contenders
from .goals import MET, MISSED
from .units import spread, value_text

PLAIN_WIDTH = 120
PAIR, PAIR_I0 = ("ours", "stock"), ("ours-i0", "stock-i0")
WAYS = ("shrink", "grow")           # in this order
ORDER = [contender.name for contender in contenders.ALL]


class Screen:
    """On a terminal a line that updates in place; elsewhere plain lines."""

    def __init__(self):
        self._terminal = on_terminal()
        self.console = Console(width=None if self._terminal else PLAIN_WIDTH,
                               force_terminal=self._terminal)
        self._progress = None
        self._task = None

    @contextmanager
    def progress(self, seconds):
        columns = (TextColumn("{task.description}"), BarColumn(),
                   TimeElapsedColumn(), TextColumn("left"),
                   TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True,
                      speed_estimate_period=3600,
                      disable=not self._terminal) as self._progress:
            self._task = self._progress.add_task("", total=seconds)
            yield

    def begin(self, what):
        self._progress.update(self._task, description=what)
        if not self._terminal:
            print(what, flush=True)

    def advance(self, seconds):
        self._progress.advance(self._task, seconds)

    def say(self, text):
        """A line that stays."""
        self.console.print(Text(text))

    def table(self, title, headings, rows):
        table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title,
                      title_justify="left", title_style="bold")
        table.add_column(headings[0])
        for heading in headings[1:]:
            table.add_column(heading, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        self.console.print(table)


def is_timed(found):
    return found.measure in WAYS


def found_row(found, names, unit):
    """A column for each contender, and how our driver compares."""
    ratios = found.ratios(*PAIR) or found.ratios(*PAIR_I0)
    cells = [value_text(found, found.median(name)) for name in names]
    if not unit:
        cells = [cell.removesuffix(f" {found.unit}") for cell in cells]
    return [f"{found.measure}: {found.what}", *cells,
            spread(ratios) if ratios else ""]


def show_found(screen, title, found, unit):
    """A table of some measurements; none of nothing."""
    have = {name for entry in found for name in entry.rounds}
    names = [name for name in ORDER if name in have]
    if found:
        screen.table(title, ["", *names, "ratio"],
                     [found_row(entry, names, unit) for entry in found])


def goal_cells(row):
    styles = {MET: "green", MISSED: "bold red"}
    return [row.title, row.stock, row.ours, row.ratio, row.goal,
            Text(row.verdict, style=styles.get(row.verdict, "dim"))]


def show(screen, results, goals):
    """All that was found, and the goals."""
    found = sorted(results, key=lambda entry: WAYS.index(entry.measure)
                   if is_timed(entry) else len(WAYS))
    show_found(screen, "What a GiB takes: medians of ms/GiB",
               list(filter(is_timed, found)), unit=False)
    show_found(screen, "Waits, work, and counts",
               [entry for entry in found if not is_timed(entry)], unit=True)
    rows = [goal.row(results) for goal in goals]
    screen.table("Goals",
                 ["work", "stock", "ours", "ratio", "goal", "verdict"],
                 [goal_cells(row) for row in rows if row.measured])
    missing = [row.title for row in rows if not row.measured]
    if missing:
        screen.say("Not measured: " + "; ".join(missing) + ".")
