# SPDX-License-Identifier: GPL-2.0-or-later
"""What the driver leaves behind, as the kernel's leak detector sees it."""

import re

from odd import Odd, OddDevice, wait_in_guest
from testvm import GIB, MIB

DRIVER = "/sys/bus/virtio/drivers/virtio_mem"
KMEMLEAK = "/sys/kernel/debug/kmemleak"


def leaks(vm):
    """Reports of memory that nothing points to any more."""
    # What is younger than 5 s is not reported, and what a scan finds alone may
    # just have been on its way.
    for _ in range(2):
        wait_in_guest(vm, 6)
        vm.guest.write(KMEMLEAK, "scan")
    text = vm.guest.read(KMEMLEAK)
    return [report for report in re.split(r"(?=unreferenced object)", text)
            if "virtio_mem" in report]


def fail_bind(vm, name, nth):
    """Binds, with one allocation that fails."""
    vm.guest.write("/sys/kernel/debug/failslab/ignore-gfp-wait", "N")
    vm.guest.write("/sys/kernel/debug/failslab/verbose", "0")
    vm.guest.write_failing(nth, f"{DRIVER}/bind", name)
    if vm.bound():
        vm.unbind()


def test_nothing_leaks(boot):
    """Leave nothing behind after resizes, binds that fail, and unloading."""
    vm = boot(cmdline="memhp_default_state=online_movable kmemleak=on")
    vm.guest.write(KMEMLEAK, "clear")
    for _ in range(3):
        for size in (GIB, 130 * MIB, 0):
            vm.resize_exact(vm0=size)
        name = vm.unbind()
        for nth in range(1, 12):
            fail_bind(vm, name, nth)
        vm.bind(name)
    assert leaks(vm) == []
    vm.guest.unload()
    assert leaks(vm) == []
    vm.load()
    vm.resize_exact(vm0=GIB)


def test_nothing_leaks_that_was_owed(boot):
    """Leave nothing of a request behind that the device never answered."""
    vm = boot(OddDevice("odd0", 0),
              cmdline="memhp_default_state=online_movable kmemleak=on")
    device = Odd(vm, vm.configured[0])
    vm.guest.write(KMEMLEAK, "clear")
    device.tell(plug="none")
    for _ in range(3):
        device.begin_request("nb-plug", GIB)
        device.unbind()
        device.tell(requested_size=0)
        device.bind()
    assert leaks(vm) == []
    device.be_sane()
    device.resize(0)
