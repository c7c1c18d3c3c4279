# SPDX-License-Identifier: GPL-2.0-or-later
"""A host that can't do what the guest asks for now: the device says BUSY."""

from testvm import GIB, MIB


def boot_and_use(boot):
    """A machine that once used all it has: the host is not asked for less."""
    vm = boot()
    vm.resize_exact(vm0=GIB)
    vm.guest.hold("all", GIB + 128 * MIB)
    vm.guest.drop("all")
    return vm


def test_busy_while_shrinking(boot, host):
    """Try again until the host takes the memory back."""
    vm = boot_and_use(boot)
    host.begin("keeps-memory")
    vm.resize("vm0", 130 * MIB)
    vm.wait_for_log("the host is busy")
    assert vm.size("vm0") == GIB
    host.end("keeps-memory")
    vm.wait_exact(vm0=130 * MIB)


def test_busy_while_turning_round(boot, host):
    """Use memory again that the host did not take back."""
    vm = boot_and_use(boot)
    host.begin("keeps-memory")
    vm.resize("vm0", 0)
    vm.wait_for_log("the host is busy")
    vm.resize_exact(vm0=GIB)
    vm.guest.hold("data", GIB // 2)
    vm.guest.verify("data")
    vm.guest.drop("data")
    vm.resize("vm0", 0)
    vm.wait_for("the guest to let go of its memory",
                lambda: vm.guest.mem_total() == vm.boot_total)
    vm.resize("vm0", 514 * MIB)
    assert vm.size("vm0") == GIB
    host.end("keeps-memory")
    vm.wait_exact(vm0=514 * MIB)


def test_busy_at_start(boot, host):
    """Start with what a reboot could not unplug, once the host takes it."""
    vm = boot_and_use(boot)
    host.begin("keeps-memory")
    vm.reboot()
    assert vm.size("vm0") == GIB
    vm.load("ours")
    vm.resize("vm0", 256 * MIB)
    assert vm.size("vm0") == GIB
    host.end("keeps-memory")
    vm.wait_exact(vm0=256 * MIB)
