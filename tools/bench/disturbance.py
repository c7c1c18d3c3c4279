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
REST_S = 0.5
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


def relative(rest, slices):
    """
    Both in per cent of a usual slice at rest: what hosts have to give changes
    from second to second.
    """
    usual = statistics.median(rest) / 100
    return [[work / usual for work in values] for values in (rest, slices)]


def resize(machine, size):
    """The slices before a resize, and those of it: see relative()."""
    machine.guest.spin(CPU)
    begun = time.monotonic()
    time.sleep(REST_S)
    start = time.monotonic()
    machine.resize(size, INTERVAL)
    end = time.monotonic()
    time.sleep(SLICE_S)     # what ends the program is not of the resize
    slices = machine.guest.end_spin()
    rest = during(slices, SLICE_S, start - begun - SLICE_S)
    return relative(rest, during(slices, start - begun, end - begun))


def findings(rest, slices):
    found = [Finding(WHAT, REST, percentile(rest, 1))]
    for way, values in slices.items():
        found += [
            Finding(WHAT, f"work during {way}", percentile(values, 1)),
            Finding(WHAT, f"work during {way}, mean", statistics.mean(values))]
    return found


@dataclass(frozen=True)
class Disturbance(Part):

    def gib(self):
        return GIB_SIZE

    def seconds(self, contender):
        return BOOT_SECONDS + (LIMIT_S if contender.zeroes else 30)

    def measure(self, contender, say):
        rest, slices = [], {"grow": [], "shrink": []}
        with Machine(contender, GIB_SIZE * GIB, say,
                     cmdline=CLOCK) as machine:
            end = time.monotonic() + LIMIT_S
            for _ in range(CYCLES):
                for way, size in ("grow", GIB_SIZE * GIB), ("shrink", 0):
                    before, values = resize(machine, size)
                    rest += before
                    slices[way] += values
                    machine.rest()
                enough = min(len(s) for s in slices.values()) >= SLICES
                if enough or time.monotonic() > end:
                    break
        return findings(rest, slices)
