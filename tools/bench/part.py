# SPDX-License-Identifier: GPL-2.0-or-later
"""
What is measured: a part runs with each of its contenders, and each time finds
some values.  Here are the parts that resize a guest; others are in pinned.py,
disturbance.py and count.py.
"""

from dataclasses import dataclass

from testvm import GIB

from . import pattern as patterns
from .machine import Machine

BOOT_SECONDS = 7
GUEST_GIB = 1.0         # of the host: a guest that was just booted, and QEMU
MEMMAP = 1 / 64         # of the guest's memory, for as much of it


@dataclass(frozen=True)
class Finding:
    """A value of one round; results.py knows the unit of the measure."""
    what: str
    measure: str
    value: float


@dataclass(frozen=True)
class Part:
    """
    `rounds` are those that count; before them goes one that does not, if
    `warm_up`.  Several parts may have one name: people choose by it.
    """
    name: str
    contenders: tuple
    rounds: int
    warm_up: bool = True

    def gib(self):
        """The largest size."""
        return 0

    def seconds(self, contender):
        """How long a round takes, roughly, to tell how much is to be done."""
        return BOOT_SECONDS + self.gib() * contender.seconds

    def host_gib(self, contender):
        """Memory of the host that a round needs."""
        touched = 1 if contender.zeroes else 0
        return GUEST_GIB + self.gib() * (touched + MEMMAP)

    def measure(self, contender, say):
        """Findings of a round."""
        raise NotImplementedError


def per_gib(seconds, size):
    """Milliseconds per GiB."""
    return seconds * 1000 / (size / GIB)


@dataclass(frozen=True)
class Resizes(Part):
    """Grows a guest by each of the sizes (GiB), and shrinks it again."""
    sizes: tuple = ()
    pattern: patterns.Pattern = patterns.UNTOUCHED
    cpus: int = 2
    memory: int | None = None           # at boot, if not the pattern's
    arguments: tuple = ()               # QEMU's
    label: str = ""

    def gib(self):
        return max(self.sizes)

    def what(self, gib):
        return f"{self.pattern.name}, {gib} GiB{self.label}"

    def sizes_of(self, contender):
        """One that has all memory from boot on has one size only."""
        return self.sizes[:1] if contender.means.full_at_boot else self.sizes

    def seconds(self, contender):
        sizes = self.sizes_of(contender)
        return BOOT_SECONDS + contender.seconds + sum(sizes) * (
            contender.seconds + self.pattern.seconds)

    def host_gib(self, contender):
        most = max(self.sizes_of(contender))
        used = 1 if contender.zeroes else self.pattern.used
        boot = (self.memory or self.pattern.memory) / GIB
        return GUEST_GIB + most * (used + MEMMAP) + (
            boot if self.pattern.used else 0)

    def measure(self, contender, say):
        found = []
        sizes = self.sizes_of(contender)
        with Machine(contender, max(sizes) * GIB, say, cpus=self.cpus,
                     arguments=self.arguments,
                     memory=self.memory or self.pattern.memory,
                     disk=sizes[0] * GIB // 2 if self.pattern.disk else 0
                     ) as machine:
            machine.warm_up()
            for gib in sizes:
                times = self._cycle(machine, gib * GIB)
                found += [Finding(self.what(gib), way,
                                  per_gib(seconds, gib * GIB))
                          for way, seconds in times.items()]
        return found

    def _cycle(self, machine, size):
        """Seconds to grow and to shrink, in the order the means allows."""
        times = {}
        if machine.size != size:
            times["grow"] = machine.resize(size)
        self.pattern.prepare(machine.vm, size)
        machine.rest()
        times["shrink"] = machine.resize(self.pattern.left(size))
        if "grow" not in times:
            machine.rest()
            times["grow"] = machine.resize(size)
        self.pattern.check(machine.guest)
        machine.rest()
        return times
