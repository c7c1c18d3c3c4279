# SPDX-License-Identifier: GPL-2.0-or-later
"""
Draws what growing and shrinking costs as bars, a group for each state of the
memory and size, on a scale where each mark is ten times the one before.
"""

import math

import svg

from .units import number

WIDTH = 970
TOP = 118               # room for title, legend and headings
NAMES = 200             # where the bars of the first panel begin
PANEL, GAP = 330, 90    # a panel, and beside it for the values of its bars
BAR, GROUP_GAP = 13, 10
WAYS = ("shrink", "grow")

# In the order of the legend, with its class of colour
COLOURS = {"ours": "ours", "ours-i0": "ours pale", "stock": "stock",
           "stock-i0": "stock pale", "stock-best": "best", "dimm": "dimm",
           "balloon": "balloon"}

STYLE = """
.ours { fill: #0969da } .stock { fill: #cf222e } .best { fill: #bc4c00 }
.dimm { fill: #8250df } .balloon { fill: #1a7f37 } .pale { fill-opacity: .5 }
@media (prefers-color-scheme: dark) {
.ours { fill: #58a6ff } .stock { fill: #ff7b72 } .best { fill: #f0883e }
.dimm { fill: #bc8cff } .balloon { fill: #3fb950 } }
"""


def groups(results):
    """What was resized, each with medians by way and contender."""
    found = {}
    for measurement in results:
        if measurement.measure not in WAYS or " CPU" in measurement.what:
            continue
        for who in measurement.rounds:
            value = measurement.median(who)
            if value is not None:
                ways = found.setdefault(measurement.what, {})
                ways.setdefault(measurement.measure, {})[who] = value
    return found


class Scale:
    """Powers of ten from the first below all values to the first above."""

    def __init__(self, values):
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)

    def width(self, value):
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return max(part * PANEL, 1)

    def marks(self):
        return [10.0 ** power for power in range(self.low, self.high + 1)]


def _legend():
    parts, x = [], 24
    for who, style in COLOURS.items():
        parts.append(svg.box(x, 52, 14, 12, style))
        parts.append(svg.text(x + 20, 62, who, "small"))
        x += 48 + 7 * len(who)
    parts.append(svg.text(x, 62, "i0: init_on_alloc=0", "small dim"))
    return parts


def _axes(left, way, scale, bottom):
    parts = [svg.text(left, TOP - 26, f"{way}, ms/GiB (less is better)",
                      "small")]
    for mark in scale.marks():
        x = left + scale.width(mark) if mark > scale.marks()[0] else left
        parts.append(svg.line(x, TOP - 4, x, bottom, "grid"))
        parts.append(svg.text(x, TOP - 10, number(mark), "small dim",
                              "middle"))
    return parts


def _bars(left, y, values, scale):
    parts = []
    for who in COLOURS:
        if who not in values:
            continue
        width = scale.width(values[who])
        parts.append(svg.box(left, y + 1, width, BAR - 2, COLOURS[who]))
        parts.append(svg.text(left + width + 5, y + BAR - 2,
                              f"{number(values[who])}  {who}", "value"))
        y += BAR
    return parts


def _height(ways):
    return BAR * max(len(values) for values in ways.values()) + GROUP_GAP


def draw(results, path, subtitle):
    """Writes the chart; there may be nothing to draw."""
    found = groups(results)
    if not found:
        return False
    scale = Scale([value for ways in found.values()
                   for values in ways.values() for value in values.values()])
    bottom = TOP + sum(map(_height, found.values()))
    parts = [svg.text(24, 28, "What it costs to resize a guest", "title"),
             svg.text(WIDTH - 24, 28, subtitle, "small dim", "end"),
             *_legend()]
    lefts = [NAMES + i * (PANEL + GAP) for i in range(len(WAYS))]
    for left, way in zip(lefts, WAYS):
        parts += _axes(left, way, scale, bottom)
    y = TOP
    for what, ways in found.items():
        parts.append(svg.text(NAMES - 10, y + BAR - 2, what, "value", "end"))
        for left, way in zip(lefts, WAYS):
            parts += _bars(left, y, ways.get(way, {}), scale)
        y += _height(ways)
    svg.write(path, (WIDTH, bottom + 16), "What it costs to resize a guest",
              ".value { font-size: 11px }" + STYLE, parts)
    return True
