# SPDX-License-Identifier: GPL-2.0-or-later
"""
Draws the sizes over time as an SVG: a panel per device (requested, plugged,
resident on the host) and one of the guest's MemTotal, over one time axis, with
the start of each step marked.  Follows the reader's light or dark scheme.
"""

import svg
from testvm import GIB

WIDTH = 900
LEFT, RIGHT = 64, 24            # margins of the panels
TOP = 94                        # room for title, legend and step numbers
HEIGHT, GAP = 150, 40           # of a panel, and below it
LINE = 18                       # of text

STYLE = """
.step { stroke: #8c959f; stroke-dasharray: 2 3 }
.badge { fill: #57606a } .number { fill: #ffffff; font-size: 11px }
path { fill: none; stroke-width: 2; stroke-linejoin: round }
.plugged { stroke: #0969da } .area { fill: #0969da; fill-opacity: .15;
stroke: none } .requested { stroke: #cf222e; stroke-dasharray: 6 4 }
.resident { stroke: #1a7f37 } .guest { stroke: #8250df }
@media (prefers-color-scheme: dark) {
.step { stroke: #6e7681 } .badge { fill: #9da7b3 } .number { fill: #0d1117 }
.plugged { stroke: #58a6ff } .area { fill: #58a6ff }
.requested { stroke: #ff7b72 } .resident { stroke: #3fb950 }
.guest { stroke: #bc8cff } }
"""

LEGEND = [("requested", "requested", 130), ("plugged", "plugged", 120),
          ("resident", "resident on the host", 190),
          ("guest", "guest MemTotal", 0)]


def _spacing(span, most, choices):
    """The smallest distance of marks that needs no more than `most`."""
    return next((c for c in choices if span / c <= most), choices[-1])


class Panel:
    """One pair of axes; `limit` is the largest size on it, in bytes."""

    def __init__(self, top, end, limit):
        self.top = top
        self.end = end                      # seconds at the right edge
        unit = _spacing(limit / GIB, 5, (1, 2, 4, 8, 16, 32, 64))
        self.unit = unit                    # GiB between marks
        self.limit = -(-limit // (unit * GIB)) * unit * GIB

    def x(self, seconds):
        return LEFT + seconds / self.end * (WIDTH - LEFT - RIGHT)

    def y(self, size):
        return self.top + HEIGHT * (1 - size / self.limit)

    def axes(self, title):
        marks = range(0, self.limit // GIB + 1, self.unit)
        parts = [svg.text(LEFT, self.top - 8, title, "small")]
        for gib in marks:
            y = self.y(gib * GIB)
            parts.append(svg.line(LEFT, y, WIDTH - RIGHT, y,
                                  "axis" if gib == 0 else "grid"))
            parts.append(svg.text(LEFT - 8, y + 4,
                                  f"{gib} GiB", "small dim", "end"))
        return parts

    def curve(self, samples, value, style, area=False):
        """A line through the samples; `area` fills what is below it."""
        points = " L".join(f"{self.x(s.time):.1f},{self.y(value(s)):.1f}"
                           for s in samples)
        parts = [f'<path d="M{points}" class="{style}"/>']
        if area:
            first, last = self.x(samples[0].time), self.x(samples[-1].time)
            base = self.y(0)
            parts.insert(0, f'<path d="M{first:.1f},{base} L{points} '
                            f'L{last:.1f},{base} Z" class="area"/>')
        return parts


def _legend():
    parts, x = [], LEFT
    for style, name, width in LEGEND:
        parts.append(f'<path d="M{x},46 h28" class="{style}"/>')
        parts.append(svg.text(x + 36, 50, name, "small"))
        x += width
    return parts


def _steps(panels, results):
    """A number where each step sets the sizes, and a line in each panel."""
    parts, free = [], 0
    for number, result in enumerate(results, 1):
        x = panels[0].x(result.start)
        badge = max(x, free)        # numbers stand side by side
        free = badge + 18
        parts += [svg.line(x, panel.top, x, panel.top + HEIGHT, "step")
                  for panel in panels]
        parts.append(f'<circle cx="{badge:.1f}" cy="{TOP - 24}" r="8" '
                     f'class="badge"/>')
        parts.append(svg.text(badge, TOP - 20, str(number), "number",
                              "middle"))
    return parts


def _time_axis(panel, y):
    parts = []
    step = _spacing(panel.end, 12, (1, 2, 5, 10, 20, 30, 60, 120))
    for seconds in range(0, int(panel.end) + 1, step):
        x = panel.x(seconds)
        parts.append(svg.line(x, y, x, y + 5, "axis"))
        parts.append(svg.text(x, y + 20, str(seconds), "small dim", "middle"))
    parts.append(svg.text(WIDTH - RIGHT, y + 38,
                          "seconds since the guest is up", "small dim", "end"))
    return parts


def _step_list(results, y):
    """What the numbers mean, in two columns."""
    half = -(-len(results) // 2)
    return [svg.text(LEFT + (WIDTH - LEFT) / 2 * (i // half),
                     y + LINE * (i % half),
                     f"{i + 1}  {result.title} ({result.seconds:.1f} s)",
                     "small")
            for i, result in enumerate(results)]


def draw(run, path):
    """Writes the chart of a run (run.py) so far."""
    end = run.samples[-1].time
    panels, parts, top = [], [], TOP + 22
    for device in run.vm.configured:
        panel = Panel(top, end, device.size)
        name = device.id
        parts += panel.axes(f"{name}, at most {device.size // GIB} GiB, "
                            f"node {device.node}")
        parts += panel.curve(run.samples, lambda s, n=name: s.plugged[n],
                             "plugged", area=True)
        parts += panel.curve(run.samples, lambda s, n=name: s.resident[n],
                             "resident")
        parts += panel.curve(run.samples, lambda s, n=name: s.requested[n],
                             "requested")
        panels.append(panel)
        top += HEIGHT + GAP
    panel = Panel(top, end, max(s.mem_total for s in run.samples))
    parts += panel.axes("guest, both nodes")
    parts += panel.curve(run.samples, lambda s: s.mem_total, "guest")
    bottom = top + HEIGHT
    parts += _steps([*panels, panel], run.results)
    parts += _time_axis(panel, bottom)
    parts += _step_list(run.results, bottom + 64)
    height = bottom + 64 + LINE * -(-len(run.results) // 2)
    heading = svg.text(LEFT, 28, "A guest grows and shrinks: sizes over time",
                       "title")
    svg.write(path, (WIDTH, height), "Sizes of a guest that grows and shrinks",
              STYLE, [heading, *_legend(), *parts])
