# SPDX-License-Identifier: GPL-2.0-or-later
"""Sphinx makes the documentation of this: `make docs`."""

import re
from pathlib import Path

from pygments.lexers.special import TextLexer

CHANGELOG = Path(__file__).parents[1] / "packaging" / "debian" / "changelog"

project = "virtio-mem"
author = "the virtio-mem authors"
version = release = re.match(r"\S+ \((\S+)\)",
                             CHANGELOG.read_text()).group(1)

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
root_doc = "index"
nitpicky = True

# Links to headings, as in the repository's own view of these files
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
smartquotes = False                     # of options with two dashes

html_theme = "sphinx_rtd_theme"
html_title = f"virtio-mem {version}"
html_show_sphinx = False
html_copy_source = False

man_pages = [
    ("man/virtio-mem-top", "virtio-mem-top",
     "watch the memory of virtual machines", author, 1),
    ("man/virtio_mem", "virtio_mem",
     "Linux driver for memory that the hypervisor resizes", author, 4),
]


def setup(app):
    """Pictures in words stay words, where nothing draws them."""
    app.add_lexer("mermaid", TextLexer)
