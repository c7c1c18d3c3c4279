# SPDX-License-Identifier: GPL-2.0-or-later
"""
Draws the sizes over time as an SVG: a panel per device (requested, plugged,
resident on the host) and one of the guest's MemTotal, over one time axis, with
the start of each step marked.  Follows the reader's light or dark scheme.
"""

from html import escape

from testvm import GIB

WIDTH = 900
LEFT, RIGHT = 64, 24            # margins of the panels
TOP = 94                        # room for title, legend and step numbers
HEIGHT, GAP = 150, 40           # of a panel, and below it
LINE = 18                       # of text

STYLE = """
.paper { fill: #ffffff } text { fill: #24292f; font: 13px sans-serif }
.title { font-size: 17px; font-weight: bold } .small { font-size: 12px }
.dim { fill: #57606a } .grid { stroke: #d0d7de } .axis { stroke: #57606a }
.step { stroke: #8c959f; stroke-dasharray: 2 3 }
.badge { fill: #57606a } .number { fill: #ffffff; font-size: 11px }
path { fill: none; stroke-width: 2; stroke-linejoin: round }
.plugged { stroke: #0969da } .area { fill: #0969da; fill-opacity: .15;
stroke: none } .requested { stroke: #cf222e; stroke-dasharray: 6 4 }
.resident { stroke: #1a7f37 } .guest { stroke: #8250df }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117 } text { fill: #e6edf3 }
.dim { fill: #9da7b3 } .grid { stroke: #30363d } .axis { stroke: #9da7b3 }
.step { stroke: #6e7681 } .badge { fill: #9da7b3 } .number { fill: #0d1117 }
.plugged { stroke: #58a6ff } .area { fill: #58a6ff }
.requested { stroke: #ff7b72 } .resident { stroke: #3fb950 }
.guest { stroke: #bc8cff } }
"""

LEGEND = [("requested", "requested", 130), ("plugged", "plugged", 120),
          ("resident", "resident on the host", 190),
          ("guest", "guest MemTotal", 0)]


def _text(x, y, text, style="", anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" '
            f'text-anchor="{anchor}">{escape(text)}</text>')


def _line(x1, y1, x2, y2, style):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'class="{style}"/>')


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
        parts = [_text(LEFT, self.top - 8, title, "small")]
        for gib in marks:
            y = self.y(gib * GIB)
            parts.append(_line(LEFT, y, WIDTH - RIGHT, y,
                               "axis" if gib == 0 else "grid"))
            parts.append(_text(LEFT - 8, y + 4,
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
        parts.append(_text(x + 36, 50, name, "small"))
        x += width
    return parts


def _steps(panels, results):
    """A number where each step sets the sizes, and a line in each panel."""
    parts, free = [], 0
    for number, result in enumerate(results, 1):
        x = panels[0].x(result.start)
        badge = max(x, free)        # numbers stand side by side
        free = badge + 18
        parts += [_line(x, panel.top, x, panel.top + HEIGHT, "step")
                  for panel in panels]
        parts.append(f'<circle cx="{badge:.1f}" cy="{TOP - 24}" r="8" '
                     f'class="badge"/>')
        parts.append(_text(badge, TOP - 20, str(number), "number", "middle"))
    return parts


def _time_axis(panel, y):
    parts = []
    step = _spacing(panel.end, 12, (1, 2, 5, 10, 20, 30, 60, 120))
    for seconds in range(0, int(panel.end) + 1, step):
        x = panel.x(seconds)
        parts.append(_line(x, y, x, y + 5, "axis"))
        parts.append(_text(x, y + 20, str(seconds), "small dim", "middle"))
    parts.append(_text(WIDTH - RIGHT, y + 38, "seconds since the guest is up",
                       "small dim", "end"))
    return parts


def _step_list(results, y):
    """What the numbers mean, in two columns."""
    half = -(-len(results) // 2)
    return [_text(LEFT + (WIDTH - LEFT) / 2 * (i // half),
                  y + LINE * (i % half),
                  f"{i + 1}  {result.title} ({result.seconds:.1f} s)", "small")
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
    _write(path, height, parts)


def _write(path, height, parts):
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" '
             f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
             f'height="{height}" role="img">',
             "<title>Sizes of a guest that grows and shrinks</title>",
             f"<style>{STYLE}</style>",
             f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
             _text(LEFT, 28, "A guest grows and shrinks: sizes over time",
                   "title"),
             *_legend(), *parts, "</svg>"]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
