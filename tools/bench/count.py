# SPDX-License-Identifier: GPL-2.0-or-later
"""
What does not depend on how fast the machine is: requests on the queue, what
Linux had to do, the guest's instructions, memory that the host had to give.
Each is counted in a run of its own, as counting takes time.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from testvm import GIB, MIB

from .machine import Machine, one_thread
from .part import Finding, Part

PAGE = 4096
TRACING = "/sys/kernel/debug/tracing"

REQUEST = re.compile(r"^(?:\S+[@:])?virtio_mem_\w+_request\b", re.MULTILINE)

# Functions of Linux 6.12; offlining drains with another one than the rest.
FUNCTIONS = {
    "LRU drains": ("lru_cache_disable",),
    "page drains": ("drain_all_pages", "__drain_all_pages"),
    "allocations of ranges": ("alloc_contig_range_noprof",),
    "offlined blocks": ("offline_pages",),
}


@dataclass(frozen=True)
class Count(Part):
    """Grows and shrinks once by `size` GiB, and counts both."""
    size: int = 2

    def gib(self):
        return self.size

    def seconds(self, contender):
        return 1.5 * super().seconds(contender)

    def options(self):
        """Of the machine."""
        return {}

    def prepare(self, machine):
        """Before anything is resized."""

    def count(self, machine):
        """What was counted so far, by measure."""
        raise NotImplementedError

    def what(self):
        return f"{self.size} GiB"

    def measure(self, contender, say):
        found = []
        with Machine(contender, self.size * GIB, say,
                     **self.options()) as machine:
            self.prepare(machine)
            for way, size in (("grow", self.size * GIB), ("shrink", 0)):
                before = self.count(machine)
                machine.resize(size)
                machine.rest()      # the driver may have more to do
                after = self.count(machine)
                found += [Finding(self.what(), f"{name}, {way}",
                                  after[name] - before[name])
                          for name in after]
        return found


@dataclass(frozen=True)
class Requests(Count):
    """On the queue, as QEMU's device traces them."""

    def options(self):
        return {"arguments": ["-trace", "virtio_mem_*_request"]}

    def count(self, machine):
        return {"requests": count_requests(machine.vm.stderr())}


def count_requests(log):
    """Those that QEMU has traced; it may have said other things as well."""
    return len(REQUEST.findall(log))


@dataclass(frozen=True)
class Calls(Count):
    """Of functions in the guest's kernel."""

    def options(self):
        return {"accel": one_thread()}      # a probe replaces code

    def prepare(self, machine):
        for names in FUNCTIONS.values():
            for name in names:
                machine.guest.write(f"{TRACING}/kprobe_events",
                                    f"p:bench/{name} {name}")
        machine.guest.write(f"{TRACING}/events/bench/enable", "1")

    def count(self, machine):
        return count_calls(machine.guest.read(f"{TRACING}/kprobe_profile"))


def count_calls(profile):
    """By what they are for; each line has a probe's name, hits and misses."""
    words = map(str.split, profile.splitlines())
    hits = {name: int(number) for name, number, _misses in words}
    return {what: sum(hits[name] for name in names)
            for what, names in FUNCTIONS.items()}


@dataclass(frozen=True)
class Instructions(Count):
    """QEMU counts them when it records, which it can for one CPU only."""

    def options(self):
        return {"cpus": 1, "accel": "tcg,thread=single", "arguments": [
            "-icount", "shift=0,rr=record,rrfile=/dev/null"]}

    def count(self, machine):
        return {"million instructions":
                machine.vm.qmp("query-replay")["icount"] / 1e6}


@dataclass(frozen=True)
class Touched(Count):
    """
    Memory of the host, by the page faults of QEMU, without huge pages; and the
    faults of a guest that does nothing for the same time.
    """

    def seconds(self, contender):
        return 2 * super().seconds(contender)

    def options(self):
        return {"huge_pages": False}

    def measure(self, contender, say):
        with Machine(contender, self.size * GIB, say,
                     **self.options()) as machine:
            machine.resize(self.size * GIB)
            machine.rest()
            shrink, seconds = faults_of(machine, lambda: machine.resize(0))
            idle, _ = faults_of(machine, lambda: time.sleep(seconds))
        return [Finding(self.what(), name, faults * PAGE / MIB / self.size)
                for name, faults in (("touched, shrink", shrink),
                                     ("touched, idle", idle))]


def faults_of(machine, action):
    """Faults until the guest is at rest after it, and how long it took."""
    before, start = minor_faults(machine.vm.pid), time.monotonic()
    action()
    seconds = time.monotonic() - start
    machine.rest()
    return minor_faults(machine.vm.pid) - before, seconds


def minor_faults(pid):
    """Of all threads of a process."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    return int(stat.rpartition(")")[2].split()[7])
