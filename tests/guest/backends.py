# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of the host that is not like other memory."""

import os
from pathlib import Path

import pytest

from testvm import Device

HUGEPAGES = Path("/sys/kernel/mm/hugepages")


class Hugepages:
    """Pages of one size that the host sets aside, while a test runs."""

    def __init__(self, size):
        self._directory = HUGEPAGES / f"hugepages-{size >> 10}kB"
        self._added = 0

    def _read(self, name):
        return int((self._directory / name).read_text())

    def add(self, number):
        """Skips the test where the host can't."""
        try:
            before = self._read("nr_hugepages")
            (self._directory / "nr_hugepages").write_text(str(before + number))
        except OSError as error:
            pytest.skip(f"no hugetlb pages can be set aside: {error}")
        self._added += self._read("nr_hugepages") - before
        if self._added < number:
            self.remove()
            pytest.skip(f"the host has no {number} pages like those of "
                        f"{self._directory}")

    def remove(self):
        left = self._read("nr_hugepages") - self._added
        (self._directory / "nr_hugepages").write_text(str(left))
        self._added = 0

    @property
    def free(self):
        return self._read("free_hugepages")


@pytest.fixture
def hugepages():
    """hugepages(bytes of a page, number)"""
    used = []

    def _hugepages(size, number):
        used.append(Hugepages(size))
        used[-1].add(number)
        return used[-1]

    yield _hugepages
    for pages in used:
        pages.remove()


def huge_device(size, page, **options):
    return Device("vm0", size, options=options, backend="memory-backend-memfd,"
                  f"hugetlb=on,hugetlbsize={page},share=on,reserve=off")


def unwatched():
    """
    Options of a device over memory whose accesses can't be watched: files on a
    disk, and private mappings of files.  Where PROTECTION asks for more than the
    audit, QEMU would refuse it.
    """
    wanted = os.environ.get("PROTECTION", "off")
    return {} if wanted == "off" else {"unplugged-protection": "audit"}
