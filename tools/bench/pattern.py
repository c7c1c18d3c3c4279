# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the guest did with memory before it is taken back.  The guest's kernel
prefers memory that is added (online_movable) for programs and the page cache.
"""

from dataclasses import dataclass
from typing import Callable

from testvm import GIB, MIB

HELD_PART = 4           # a quarter is in use
STRIDE = 64             # of so many pages one is in use
BLOCK = 2 * MIB         # of the device
SPRINKLE = 256 * MIB    # of so much a page of the kernel's is in use


def nothing(_vm, _size):
    """Memory that the guest never used."""


def use_and_free(vm, size):
    vm.guest.use(size)


def hold(vm, size):
    vm.guest.hold("held", size // HELD_PART)


def fragment(vm, size):
    vm.guest.fragment("fragments", size, STRIDE)


def sprinkle(vm, size):
    start = vm.devices()["vm0"]["memaddr"]
    vm.guest.sprinkle(start, SPRINKLE, size // SPRINKLE)


def cache(vm, _size):
    guest = vm.guest
    guest.load_kernels_own("virtio_blk")
    guest.mount("ext4", "/dev/vda", "/disk")
    guest.cache("/disk/file")


def verify(*names):
    """Memory that was moved is still what it was."""
    def check(guest):
        for name in names:
            guest.verify(name)
    return check


def end_sprinkle(guest):
    guest.end_sprinkle()


def nothing_left(_size):
    return 0


def sprinkled(size):
    """A block for each page."""
    return size // SPRINKLE * BLOCK


@dataclass(frozen=True)
class Pattern:
    """
    prepare(vm, size) puts the memory to use; left(size) is what can't be taken
    back then.  `used`: how much of a GiB it touches; `seconds`: how long that
    takes.
    """
    name: str
    prepare: Callable = nothing
    check: Callable = verify()
    memory: int = GIB               # at boot; what is in use must fit there
    used: float = 0
    seconds: float = 0
    disk: bool = False              # of half the size
    left: Callable = nothing_left


UNTOUCHED = Pattern("untouched")
USED = Pattern("used and freed", use_and_free, used=1, seconds=4)
IN_USE = Pattern("25 % in use", hold, verify("held"), memory=3 * GIB, used=.25,
                 seconds=1)
CACHE = Pattern("page cache", cache, memory=3 * GIB, used=.5, seconds=5,
                disk=True)
FRAGMENTED = Pattern("every 64th page in use", fragment, verify("fragments"),
                     memory=2 * GIB, used=1, seconds=5)
SPRINKLED = Pattern("kernel page in 256 MiB", sprinkle, end_sprinkle,
                    left=sprinkled)
