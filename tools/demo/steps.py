# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the demo does: the devices of the guest, and the steps that resize them.
A step first makes the guest use memory, if it says so, then sets the requested
sizes, and ends when everybody agrees on them.
"""

from dataclasses import dataclass, field

from testvm import GIB, MIB, Device

BOOT_MEMORY = GIB       # split evenly over the nodes
NODES = 2


def devices():
    """A device on each node; sizes are their maximum."""
    return [Device("vm0", size=8 * GIB, node=0),
            Device("vm1", size=4 * GIB, node=1)]


@dataclass
class Step:
    """
    `sizes` are the requested sizes by device, in bytes.  `touch` and `hold`
    are bytes that the guest fills before, by node: touched memory is free
    again when the resize begins (but the host still backs it), held memory
    is in use until the resize is over, and its contents are checked then.
    """
    title: str
    sizes: dict
    touch: dict = field(default_factory=dict)
    hold: dict = field(default_factory=dict)


# Linux moves used memory to another node when it takes it offline, whatever its
# policy says: while vm0 shrinks with memory in use, vm1 has room for all of it.
PLAN = [
    Step("grow vm0 to 4 GiB", {"vm0": 4 * GIB}),
    Step("grow both to their maximum", {"vm0": 8 * GIB, "vm1": 4 * GIB}),
    Step("shrink vm0 to 1 GiB after use", {"vm0": GIB}, touch={0: 2 * GIB}),
    Step("vm0 to 5126 MiB, vm1 to 1034 MiB",
         {"vm0": 5126 * MIB, "vm1": 1034 * MIB}, touch={1: 3 * GIB // 2}),
    Step("shrink vm0 to 512 MiB, 1 GiB in use", {"vm0": GIB // 2},
         hold={0: GIB}),
    Step("shrink both to nothing", {"vm0": 0, "vm1": 0}),
]
