# SPDX-License-Identifier: GPL-2.0-or-later
"""A page that can't be moved for a while: how soon its memory goes after."""

import time
from dataclasses import dataclass

from testvm import GIB, VMError

from .machine import Machine
from .part import Finding, Part

WHAT = "a page pinned for 2 s, 2 GiB"
SIZE = 2 * GIB
HELD_S = 2
LIMIT_S = 60            # longer is not waited for


def check_inside(machine):
    """Raises unless the page is in the memory that is to go."""
    start = machine.vm.devices()["vm0"]["memaddr"]
    for address, size in machine.guest.frames("page"):
        if not start <= address <= start + SIZE - size:
            raise VMError(f"the page at {address:#x} is not the device's")


@dataclass(frozen=True)
class Pinned(Part):

    def gib(self):
        return SIZE // GIB

    def seconds(self, contender):
        return super().seconds(contender) + HELD_S + (
            LIMIT_S / 2 if contender.driver == "stock" else 1)

    def measure(self, contender, say):
        with Machine(contender, SIZE, say) as machine:
            machine.resize(SIZE)
            machine.guest.pin("page", 4096)
            check_inside(machine)
            machine.ask(0)
            time.sleep(HELD_S)
            machine.guest.drop("page")
            start = time.monotonic()
            machine.wait(0, limit=LIMIT_S)
            seconds = min(time.monotonic() - start, LIMIT_S)
        return [Finding(WHAT, "to target", seconds)]
