# SPDX-License-Identifier: GPL-2.0-or-later
"""The documentation as a whole, made by Sphinx: `make docs`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("builder", ["html", "man"])
def test_documentation(builder, tmp_path):
    """Make it without a warning, of a link that leads nowhere, say."""
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q",
         "-b", builder, ROOT / "docs", tmp_path],
        capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    pages = [path.name for path in tmp_path.iterdir()]
    assert ("index.html" if builder == "html" else "virtio_mem.4") in pages


@pytest.mark.parametrize("link", sorted(set(re.findall(
    r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text()))))
def test_link_of_readme(link):
    """Find what README leads to."""
    assert (ROOT / link).exists()
