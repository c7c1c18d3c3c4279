# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest with two devices and memory in use, which gets another target every
50 ms, and is bound, rebooted and replaced by another kernel in between.

usage: python3 -m soak_driver

SEED in the environment repeats what was random, SOAK_S is how many seconds the
targets take (default 1800).  All that was in use is verified all the time; at
the end both devices have to reach a last target.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from testvm import GIB, MIB, VM, Device, paths
from testvm.vm import VMError
from testvm.guest import GuestError
from testvm.storage import disk_arguments

DRIVER = "/sys/bus/virtio/drivers/virtio_mem"
BLOCK = 2 * MIB
SIZE = 4 * GIB
PERIOD_S = 0.05
HOLDS = 6
MOST_HELD = 96 * MIB
REBINDS, REBOOTS, KEXECS = 50, 50, 20


class Holder(threading.Thread):
    """
    Keeps memory in use, and verifies it.  The guest is its own until it ends;
    what it met is raised by finish().
    """

    def __init__(self, guest, seed, held):
        super().__init__()
        self.verified = 0
        self._guest = guest
        self._rng = random.Random(seed)
        self._held = held           # names, from one such thread to the next
        self._ended = threading.Event()
        self._error = None

    def _step(self):
        name = f"held{self._rng.randrange(HOLDS)}"
        if name in self._held:
            self._guest.verify(name)
            self._guest.drop(name)
            self._held.remove(name)
            self.verified += 1
        self._guest.hold(name, self._rng.randrange(4096, MOST_HELD, 4096),
                         self._rng.randrange(1 << 32))
        self._held.add(name)

    def run(self):
        try:
            while not self._ended.is_set():
                self._step()
        except (GuestError, VMError, OSError) as error:
            self._error = error

    def finish(self):
        self._ended.set()
        self.join()
        if self._error:
            raise self._error
        return self.verified


class Soak:
    """The machine, and what was done with it so far."""

    def __init__(self, vm, rng):
        self.vm = vm
        self.rng = rng
        self.counts = Counter()
        self._held = set()

    def set_target(self):
        device = self.rng.choice(self.vm.configured)
        self.vm.resize(device.id, self.rng.randrange(0, SIZE + 1, BLOCK))
        self.counts["targets"] += 1

    def reach(self):
        """Both devices reach a target, nobody disturbs them."""
        for device in self.vm.configured:
            self.vm.resize_and_wait(device.id, GIB)
        self.counts["reached"] += 1

    def keep_resizing(self, seconds):
        holder = Holder(self.vm.guest, self.rng.random(), self._held)
        holder.start()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end and holder.is_alive():
                self.set_target()
                time.sleep(PERIOD_S)
        finally:
            self.counts["verified"] += holder.finish()

    def rebind(self):
        """A driver that comes back finds its memory again."""
        name = self.rng.choice([n for n in self.vm.guest.list(DRIVER)
                                if n.startswith("virtio")])
        self.set_target()
        self.vm.guest.write(f"{DRIVER}/unbind", name)
        self.set_target()
        self.vm.guest.write(f"{DRIVER}/bind", name)
        self.counts["rebinds"] += 1

    def reboot(self):
        self.set_target()
        self.vm.reboot()
        self.vm.guest.load("ours")
        self.counts["reboots"] += 1

    def kexec(self):
        self.vm.guest.load_kernels_own("virtio_blk")
        self.vm.guest.mount("ext4", "/dev/vda", "/disk")
        self.set_target()
        self.vm.guest.kexec("/disk/vmlinuz", "/disk/initrd")
        self.vm.guest.load("ours")
        self.counts["kexecs"] += 1


def make_disk(path):
    """With a kernel, which starts the next one from there."""
    with tempfile.TemporaryDirectory() as folder:
        for file in (paths.KERNEL, paths.INITRD):
            shutil.copy(file, Path(folder, file.name))
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", folder,
                        path, "128M"], check=True,
                       env={**os.environ,
                            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})


def repeat(soak, what, count):
    """In a few parts, each of which ends with a target that is reached."""
    for number in range(1, count + 1):
        what()
        if number % 10 == 0:
            soak.reach()
    print(f"  {what.__name__}: {count}", flush=True)


def run(soak, seconds):
    parts = 10
    for part in range(1, parts + 1):
        soak.keep_resizing(seconds / parts)
        print(f"  {part * seconds // parts} of {seconds} s", flush=True)
        soak.reach()
    repeat(soak, soak.rebind, REBINDS)
    repeat(soak, soak.reboot, REBOOTS)
    repeat(soak, soak.kexec, KEXECS)
    soak.vm.check_clean()


def main():
    seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
    seconds = int(os.environ.get("SOAK_S") or 1800)
    print(f"SEED={seed} SOAK_S={seconds}", flush=True)
    devices = [Device("vm0", SIZE), Device("vm1", SIZE)]
    disk = paths.LOGS / "soak-disk"
    make_disk(disk)
    with VM("soak", devices, arguments=disk_arguments(disk, read_only=True)) as vm:
        vm.guest.load("ours")
        soak = Soak(vm, random.Random(seed))
        try:
            run(soak, seconds)
        except (GuestError, VMError) as error:
            sys.exit(f"{error}\n{dict(soak.counts)}")
    print("the driver reached each last target: " + ", ".join(
        f"{number:,} {what}" for what, number in soak.counts.items()))


if __name__ == "__main__":
    main()
