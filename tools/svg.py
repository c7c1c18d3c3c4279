# SPDX-License-Identifier: GPL-2.0-or-later
"""What our charts are made of.  They follow a light or dark scheme."""

from html import escape

STYLE = """
.paper { fill: #ffffff } text { fill: #24292f; font: 13px sans-serif }
.title { font-size: 17px; font-weight: bold } .small { font-size: 12px }
.dim { fill: #57606a } .grid { stroke: #d0d7de } .axis { stroke: #57606a }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117 } text { fill: #e6edf3 }
.dim { fill: #9da7b3 } .grid { stroke: #30363d } .axis { stroke: #9da7b3 } }
"""


def text(x, y, words, style="", anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" '
            f'text-anchor="{anchor}">{escape(words)}</text>')


def line(x1, y1, x2, y2, style):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'class="{style}"/>')


def box(x, y, width, height, style):
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" class="{style}"/>')


def write(path, size, title, style, parts):
    """A picture of size (width, height) as a file."""
    width, height = size
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" '
             f'viewBox="0 0 {width} {height}" width="{width}" '
             f'height="{height}" role="img">',
             f"<title>{escape(title)}</title>",
             f"<style>{STYLE}{style}</style>",
             f'<rect class="paper" width="{width}" height="{height}"/>',
             *parts, "</svg>"]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
