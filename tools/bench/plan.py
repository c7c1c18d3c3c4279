# SPDX-License-Identifier: GPL-2.0-or-later
"""All parts of the benchmark, and which a quick run has."""

from testvm import GIB

from . import contender as c
from . import pattern as p
from .count import Calls, Instructions, Requests, Touched
from .disturbance import Disturbance
from .part import Resizes
from .pinned import Pinned

ROUNDS = 3

# Linux zeroes with an instruction that QEMU emulates byte by byte, unless the
# CPU lacks it; without it there are eight bytes to each step.
NO_ERMS = ("-cpu", "max,erms=off,fsrm=off")

PAIR = (c.OURS, c.STOCK)
PAIR_I0 = (c.OURS_I0, c.STOCK_I0)
DRIVERS = (*PAIR, c.STOCK_BEST)


def timed(rounds):
    """Parts whose values are times; those that take long have fewer rounds."""
    few, fewer = max(rounds * 2 // 3, 1), max(rounds // 3, 1)
    return [
        Resizes("untouched", (*DRIVERS, *PAIR_I0, c.DIMM), rounds,
                sizes=(1, 2, 4, 8)),
        Resizes("untouched", (c.BALLOON,), fewer, sizes=(2,)),
        Resizes("used", (*DRIVERS, *PAIR_I0, c.DIMM), few, sizes=(4,),
                pattern=p.USED),
        Resizes("used", (c.BALLOON,), fewer, sizes=(2,), pattern=p.USED),
        Resizes("in-use", DRIVERS, few, sizes=(4,), pattern=p.IN_USE),
        Resizes("cache", DRIVERS, fewer, sizes=(4,), pattern=p.CACHE),
        Resizes("fragmented", DRIVERS, fewer, sizes=(4,),
                pattern=p.FRAGMENTED),
        Resizes("sprinkled", (*PAIR, *PAIR_I0), fewer, sizes=(4,),
                pattern=p.SPRINKLED),
        # Two CPUs are those of the first part.
        Resizes("cpus", PAIR, fewer, sizes=(4,), cpus=1, label=", 1 CPU"),
        Resizes("cpus", PAIR, fewer, sizes=(4,), cpus=4, label=", 4 CPUs"),
        Resizes("erms", PAIR, fewer, sizes=(4,), arguments=NO_ERMS,
                label=", no ERMS"),
        # A round takes minutes, and each boots a guest: none warms up.
        Resizes("large", PAIR_I0, few, warm_up=False, sizes=(8, 16, 64, 128),
                memory=4 * GIB, label=", large guest"),
        Pinned("pinned", PAIR, few),
        Disturbance("disturbance", PAIR, few)]


def counted(calls, requests):
    """Parts that count; once is enough."""
    once = {"rounds": 1, "warm_up": False}
    return [Requests("requests", PAIR_I0, size=requests, **once),
            Calls("calls", calls, **once),
            Instructions("instructions", calls, **once),
            Touched("touched", PAIR, **once)]


def full(rounds):
    return timed(rounds) + counted((*PAIR, *PAIR_I0), requests=8)


def quick(_rounds):
    """In three minutes: what matters most, at small sizes."""
    return [Resizes("untouched", (*PAIR, *PAIR_I0), 1, sizes=(2,)),
            Resizes("used", PAIR, 1, warm_up=False, sizes=(2,),
                    pattern=p.USED),
            *counted(PAIR_I0, requests=8)[:2]]
