# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest of one contender: booted, its driver loaded, and at rest.  resize()
takes the time.
"""

import os
import re
import tempfile
import time
from contextlib import nullcontext

from qemu.machine.machine import QEMUMachineError
from qemu.qmp import QMPError
from testvm import GIB, VM, GuestError, VMError
from testvm.storage import disk_arguments

from .disk import make_disk
from .hugepages import NoHugePages
from .monitor import Monitor

FAILURES = (VMError, GuestError, OSError, QMPError, QEMUMachineError)

CMDLINE = "memhp_default_state=online_movable"
# The guest's memory at boot: what the host needs to provide it is not what any
# driver's resize takes.
RAM = "memory-backend-ram,prealloc=on"

INTERVAL = 0.002        # seconds between looks at the size
LIMIT = 900             # seconds after which a resize is given up
BOOTS = 5               # tries until the benchmark gives up to boot a guest

REST = 0.97             # of its time the guest idles when it is at rest
REST_INTERVAL = 0.5
REST_LIMIT = 60


def accelerator():
    """
    A thread for each CPU, as any user of software emulation has it.  testvm's
    tests do without: see its _accel().
    """
    accel = os.environ.get("ACCEL") or "tcg"
    return "tcg,thread=multi" if accel == "tcg" else accel


def one_thread():
    """As accelerator(), for guests that replace code while they run."""
    return accelerator().replace("thread=multi", "thread=single")


def idle_and_all(text):
    """Ticks that all CPUs have idled, and all their ticks: /proc/stat."""
    ticks = [int(word) for word in text.split("\n", 1)[0].split()[1:]]
    return ticks[3] + ticks[4], sum(ticks)


class Machine:
    """
    Use as a context manager.  say(text) tells people what is out of the
    ordinary.  Sizes are bytes; `room` is the most to grow by.
    """

    def __init__(self, contender, room, say, *, memory=GIB, cpus=2, cmdline="",
                 arguments=(), accel=None, disk=0, huge_pages=True):
        self.contender = contender
        self.means = contender.means(room)
        self.size = room if self.means.full_at_boot else 0
        self._say = say
        self._memory = memory + self.means.boot_memory
        self._cpus = cpus
        self._cmdline = f"{CMDLINE} {contender.cmdline} {cmdline}"
        self._arguments = list(arguments)
        self._accel = accel or accelerator()
        self._disk = disk               # bytes of a file on it; 0: no disk
        self._huge_pages = huge_pages
        self._dir = None
        self._monitor = None
        self._least = None              # MemTotal with nothing added
        self._loaded = False            # or about to load a driver
        self.vm = None

    def __enter__(self):
        for _ in range(BOOTS - 1):
            try:
                return self._boot()
            except FAILURES:
                why = self._why_panicked()
                if not why:
                    raise
            self._say(f"{self.contender.name}: the guest panicked while it "
                      f"booted ({why}): booting another one")
        return self._boot()

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.vm.check_clean()
        finally:
            self._end()

    def _all_arguments(self):
        args = [*self.means.arguments, *self._arguments,
                "-qmp", f"unix:{self._dir.name}/qmp,server=on,wait=off"]
        if self._disk:
            path = f"{self._dir.name}/disk"
            make_disk(path, self._disk)
            args += disk_arguments(path, read_only=True)
        return args

    def _boot(self):
        self._loaded = False
        self._dir = tempfile.TemporaryDirectory(prefix="bench-")
        self.vm = VM(f"bench-{self.contender.name}", self.means.devices,
                     memory=self._memory, cpus=self._cpus,
                     cmdline=self._cmdline, accel=self._accel, ram=RAM,
                     arguments=self._all_arguments())
        try:
            with nullcontext() if self._huge_pages else NoHugePages():
                self.vm.start()
            self._monitor = Monitor(f"{self._dir.name}/qmp")
            self._loaded = True
            self.contender.load(self.vm)
            self.rest()
            self._least = self.guest.mem_total() - self.size
        except BaseException:
            self._end()
            raise
        return self

    def _why_panicked(self):
        """
        Why the guest did, if that was no driver's fault but that of software
        emulation: it hit a breakpoint (see testvm's _accel()), or did not get
        as far as to load one.  Else "".
        """
        console = self.vm.console
        if not self._accel.startswith("tcg") or not console.exists():
            return ""
        text = console.read_text(errors="replace")
        if "Oops: int3" in text:
            return "Oops: int3"
        panic = re.search("Kernel panic - not syncing: (.*)", text)
        return panic.group(1).strip() if panic and not self._loaded else ""

    def _end(self):
        if self._monitor:
            self._monitor.close()
            self._monitor = None
        self.vm.stop()
        self._dir.cleanup()

    @property
    def guest(self):
        return self.vm.guest

    def rest(self):
        """Returns once the guest has nothing to do any more."""
        end = time.monotonic() + REST_LIMIT
        before = idle_and_all(self.guest.read("/proc/stat"))
        while True:
            time.sleep(REST_INTERVAL)
            now = idle_and_all(self.guest.read("/proc/stat"))
            idle, ticks = now[0] - before[0], now[1] - before[1]
            if ticks and idle >= REST * ticks:
                return
            if time.monotonic() > end:
                raise VMError("the guest does not come to rest")
            before = now

    def warm_up(self):
        """
        Resizes once by a GiB, and back: software emulation translates code of
        the guest when it first runs, which takes any driver some 50 ms.
        """
        size = self.size
        self.resize(size - GIB if size else GIB)
        self.rest()
        self.resize(size)
        self.rest()

    def ask(self, size):
        self.means.ask(self.vm, size)

    def plugged(self):
        """What the guest has beyond its memory at boot, as the host counts."""
        return self.means.size(self._monitor.ask(self.means.query))

    def wait(self, size, interval=INTERVAL, limit=LIMIT):
        """Returns whether the host sees this size before the limit."""
        end = time.monotonic() + limit
        while self.plugged() != size:
            if time.monotonic() > end:
                return False
            time.sleep(interval)
        return True

    def resize(self, size, interval=INTERVAL):
        """
        Seconds from the request until the host sees the size and, if the guest
        grows, until the guest has the memory.
        """
        grows = size > self.size
        if grows:
            self.guest.watch_total(self._least + size)
        start = time.monotonic()
        self.ask(size)
        if not self.wait(size, interval):
            raise VMError(f"{self.contender.name} is at {self.plugged()} "
                          f"after {LIMIT} s, not at {size}")
        if grows:
            self.guest.await_total()
        seconds = time.monotonic() - start
        self.size = size
        return seconds
