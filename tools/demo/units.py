# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes in bytes, written for people: in MiB and GiB, or to the byte."""

from testvm import GIB, MIB


def human(size):
    """Two decimals of a GiB, or whole MiB; not for claims of exactness."""
    if abs(size) >= GIB:
        return f"{size / GIB:.2f} GiB"
    return f"{round(size / MIB)} MiB"


def exact(size):
    """All bytes, in groups of three digits."""
    return f"{size:,}"
