# SPDX-License-Identifier: GPL-2.0-or-later
"""
Shows a demo while it runs: on a terminal a line per device that updates in
place, elsewhere plain lines without escape codes.  Both have the same calls;
neither knows how the sizes come about (run.py does).
"""

import sys
import time

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.measure import Measurement
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from .units import exact, human

PLAIN_INTERVAL = 5      # seconds between lines of sizes
BAR_WIDTH = 76          # columns of a terminal that has room for bars


def on_terminal():
    """Whether lines can be updated in place."""
    console = Console()
    return sys.stdout.isatty() and not console.is_dumb_terminal


class Screen:
    """What both ways to show it share: whole lines, and the final table."""

    def __init__(self, console, devices):
        self.console = console
        self.devices = devices
        self.last = None            # the newest sample
        self.doing = ""             # what was begun and is not done
        self._note = ""
        self._since = 0

    def line(self, text=""):
        """A line as it is, however long."""
        self.console.print(text, markup=False, highlight=False,
                           soft_wrap=True)

    def begin(self, what):
        """Something starts that takes a while."""
        self.doing = what
        self._note = ""
        self._since = time.monotonic()

    def note(self, text):
        """What goes on within it now."""
        self._note = text

    def outcome(self, result):
        """How long it took, and what was found intact after it."""
        seconds = result.seconds if result else self.elapsed()
        text = f"{seconds:.1f} s"
        if result and result.verified:
            text += f", contents of {human(result.verified)} in use intact"
        return text

    def elapsed(self):
        return time.monotonic() - self._since

    def table(self, results):
        """Each step, to the byte."""
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("step")
        for heading in ("\nseconds", "guest MemTotal\n(exact bytes)",
                        "host memory\ngiven back"):
            table.add_column(heading, justify="right", no_wrap=True)
        for number, result in enumerate(results, 1):
            table.add_row(f"{number} {result.title}",
                          f"{result.seconds:.1f}", exact(result.mem_total),
                          "-" if result.given_back is None
                          else human(result.given_back))
        self.console.print(table)
        self.line("seconds: from the request until both sides have the exact "
                  "size")


class Bar:
    """How full a device is, with a mark where it is asked to be; 0 to 1."""

    def __init__(self, full, target):
        self.full = full
        self.target = target

    def __rich_measure__(self, _console, options):
        return Measurement(12, options.max_width)

    def __rich_console__(self, _console, options):
        width = options.max_width
        full, target = round(self.full * width), round(self.target * width)
        used, free, mark = "#.|" if options.ascii_only else "█░│"
        cells = [(used, "blue")] * full + [(free, "dim")] * (width - full)
        if target != full:
            cells[min(target, width - 1)] = (mark, "bold red")
        yield Text.assemble(*cells)


class Plain(Screen):
    """Lines for logs and pipes."""

    def __init__(self, devices):
        super().__init__(Console(force_terminal=False, color_system=None,
                                 width=100, file=sys.stdout), devices)
        self._shown = 0
        self._sizes_shown = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def line(self, text=""):
        print(text, flush=True)

    def begin(self, what):
        super().begin(what)
        self._shown = time.monotonic()
        self.line(f"{what} ...")

    def note(self, text):
        self.line(f"  {text}")

    def done(self, result=None):
        if self.last:
            self._sizes()
        self.line(f"  done in {self.outcome(result)}")
        self.doing = ""

    def show(self, sample):
        self.last = sample
        if time.monotonic() > self._shown + PLAIN_INTERVAL:
            self._sizes()

    def _sizes(self):
        """Prints those that are not what was printed last."""
        self._shown = time.monotonic()
        lines = []
        for device in self.devices:
            sizes = (f"  {device.id}: requested {{}}, plugged {{}}, guest node "
                     f"{device.node} {{}}, host resident {{}}")
            lines.append(sizes.format(*map(human, self.last.of(device))))
        lines.append(f"  guest MemTotal: {human(self.last.mem_total)}")
        for line in lines:
            if line not in self._sizes_shown:
                self.line(line)
        self._sizes_shown = set(lines)


class Terminal(Screen):
    """Steps scroll by; below them a line per device updates in place."""

    def __init__(self, devices):
        super().__init__(Console(), devices)
        self._live = Live(console=self.console, get_renderable=self._render,
                          refresh_per_second=10, transient=True)
        self._spinner = Spinner("line")

    def __enter__(self):
        self._live.start()
        return self

    def __exit__(self, *_):
        self._live.stop()

    def done(self, result=None):
        self.console.print(Text.assemble(
            ("ok ", "green"), f"{self.doing}  ",
            (self.outcome(result), "dim")))
        self.doing = ""

    def show(self, sample):
        self.last = sample

    def _render(self):
        parts = []
        if self.doing:
            self._spinner.update(text=Text(
                f" {self.doing}  {self.elapsed():.1f} s"))
            parts += [self._spinner, Text(f"   {self._note}", style="dim")]
        if self.last:
            parts.append(self._sizes(self.last))
        return Group(*parts)

    def _sizes(self, sample):
        """A line per device; a narrow terminal does without bars."""
        bars = self.console.width >= BAR_WIDTH
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("")
        table.add_column("\nrequested", justify="right", min_width=9)
        if bars:
            table.add_column("\nplugged", min_width=12, max_width=40, ratio=1)
        table.add_column("" if bars else "\nplugged", justify="right",
                         min_width=8)
        table.add_column("guest\nMemTotal", justify="right", min_width=9)
        table.add_column("host\nresident", justify="right", min_width=8)
        for device in self.devices:
            requested, plugged, guest, resident = sample.of(device)
            bar = Bar(plugged / device.size, requested / device.size)
            table.add_row(f"{device.id} (node {device.node})",
                          human(requested), *[bar] * bars, human(plugged),
                          human(guest), human(resident))
        table.add_section()
        table.add_row("together", "", *[""] * bars,
                      human(sum(sample.plugged.values())),
                      human(sample.mem_total),
                      human(sum(sample.resident.values())))
        return table
