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


PLAN = [
    Step("grow vm0 to 4 GiB", {"vm0": 4 * GIB}),
    Step("grow both to their maximum", {"vm0": 8 * GIB, "vm1": 4 * GIB}),
    Step("shrink both, after the guest used and freed 5 GiB",
         {"vm0": 3 * GIB, "vm1": GIB},
         touch={0: 3 * GIB, 1: 2 * GIB}),
    Step("shrink vm0 to 1.5 GiB with 1 GiB of it in use",
         {"vm0": 3 * GIB // 2}, hold={0: GIB}),
    Step("grow both to odd sizes (blocks of 2 MiB)",
         {"vm0": 5 * GIB + 6 * MIB, "vm1": 2 * GIB + 74 * MIB}),
    Step("shrink both to nothing, after the guest used 2 GiB",
         {"vm0": 0, "vm1": 0}, touch={0: GIB, 1: GIB}),
]
