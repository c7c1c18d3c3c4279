# SPDX-License-Identifier: GPL-2.0-or-later
"""
How much of its work a program of the guest gets done while the guest is
resized: it spins on one CPU, the driver works on the other.
"""

import math
import statistics
import time
from dataclasses import dataclass

from testvm import GIB

from .machine import Machine
from .part import BOOT_SECONDS, Finding, Part

GIB_SIZE = 4
WHAT = f"{GIB_SIZE} GiB"
CPU = 1
REST = "work at rest"   # a measure
REST_PERCENT = 50       # less, and it is the host that disturbs
SLICE_S = 0.01          # of guest/spin.c
IDLE_S = 3
INTERVAL = 0.01         # polls now and then only: they take time of the host
# As many slices are wanted of each way, unless it takes too long.
SLICES = 200
CYCLES = 12
LIMIT_S = 60
# Without it Linux may choose a clock that QEMU's CPUs have to queue for.
CLOCK = "tsc=reliable clocksource=tsc"


def percentile(values, percent):
    """The lowest value of which no more than so many per cent are lower."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


def during(slices, start, end):
    """Those that a time from `start` to `end`, in seconds, takes part in."""
    first, last = int(start / SLICE_S), math.ceil(end / SLICE_S)
    return slices[first:last]


def resize(machine, size):
    """The slices of a resize."""
    machine.guest.spin(CPU)
    begun = time.monotonic()
    time.sleep(5 * SLICE_S)
    start = time.monotonic()
    machine.resize(size, INTERVAL)
    end = time.monotonic()
    return during(machine.guest.end_spin(), start - begun, end - begun)


def idle(machine):
    machine.guest.spin(CPU)
    time.sleep(IDLE_S)
    return machine.guest.end_spin()


def findings(rest, slices):
    """In per cent of a usual slice of the guest at rest."""
    usual = statistics.median(rest) / 100
    found = [Finding(WHAT, REST, percentile(rest, 1) / usual)]
    for way, values in slices.items():
        found += [
            Finding(WHAT, f"work during {way}", percentile(values, 1) / usual),
            Finding(WHAT, f"work during {way}, mean",
                    statistics.mean(values) / usual)]
    return found


@dataclass(frozen=True)
class Disturbance(Part):

    def gib(self):
        return GIB_SIZE

    def seconds(self, contender):
        return BOOT_SECONDS + IDLE_S + (LIMIT_S if contender.zeroes else 10)

    def measure(self, contender, say):
        slices = {"grow": [], "shrink": []}
        with Machine(contender, GIB_SIZE * GIB, say,
                     cmdline=CLOCK) as machine:
            rest = idle(machine)
            end = time.monotonic() + LIMIT_S
            for _ in range(CYCLES):
                slices["grow"] += resize(machine, GIB_SIZE * GIB)
                machine.rest()
                slices["shrink"] += resize(machine, 0)
                machine.rest()
                enough = min(len(s) for s in slices.values()) >= SLICES
                if enough or time.monotonic() > end:
                    break
        return findings(rest, slices)
