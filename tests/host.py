# SPDX-License-Identifier: GPL-2.0-or-later
"""A host in trouble, for the QEMUs of a test: what host.c does to them."""

import subprocess
from pathlib import Path

import pytest


class Host:
    """Conditions that host.c lets a QEMU's host be in, by name."""

    def __init__(self, directory):
        self._directory = directory

    def begin(self, condition):
        (self._directory / condition).touch()

    def end(self, condition):
        (self._directory / condition).unlink()

    def tells_huge_page_size(self, text):
        """Bytes, as the kernel would write them; None: it has no such file."""
        self._replace("hpage_pmd_size", text)

    def allows_mappings(self, count):
        """How many mappings a process may have"""
        self._replace("max_map_count", str(count))

    def _replace(self, name, text):
        file = self._directory / name
        file.symlink_to(f"{name}.text")
        if text is not None:
            file.write_text(text)

    def says(self, name):
        return (self._directory / name).exists()


@pytest.fixture
def host(tmp_path, monkeypatch):
    """The host of the QEMUs that are started from now on."""
    library = tmp_path / "host.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o",
                    library, Path(__file__).with_name("host.c"), "-ldl"],
                   check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("TEST_HOST", str(tmp_path))
    return Host(tmp_path)
