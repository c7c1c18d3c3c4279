# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the driver does when memory runs out, and when others refuse.  The kernel
is the debug one: Documentation/fault-injection of Linux tells of its files.
"""

import itertools
import random

import pytest

from testvm import GIB, MIB

DRIVER = "/sys/bus/virtio/drivers/virtio_mem"
DEBUGFS = "/sys/kernel/debug"
NOTIFIER = f"{DEBUGFS}/notifier-error-inject/memory/actions"
ENOMEM, EBUSY = 12, 16

# How many of the allocations of a resize fail, one after the other; and about
# how many there are.
SAMPLES = 30
ALLOCATIONS = 400


def prepare(vm):
    """All that the kernel allocates may fail, and need not be told."""
    for kind in ("failslab", "fail_page_alloc"):
        vm.guest.write(f"{DEBUGFS}/{kind}/ignore-gfp-wait", "N")
        vm.guest.write(f"{DEBUGFS}/{kind}/verbose", "0")
    vm.guest.write(f"{DEBUGFS}/fail_page_alloc/ignore-gfp-highmem", "N")
    vm.guest.write(f"{DEBUGFS}/fail_page_alloc/min-order", "0")
    vm.tolerate("Call Trace")       # of vmalloc(), which tells a failure


def thread_of(vm):
    """The process ID of the driver's only thread."""
    for pid in vm.guest.list("/proc"):
        if pid.isdigit() and vm.guest.read(
                f"/proc/{pid}/comm").startswith("virtio_mem/"):
            return pid
    raise AssertionError("the driver has no thread")


def test_bind(boot):
    """Let any allocation fail that it takes to bind a device."""
    vm = boot()
    prepare(vm)
    name = vm.unbind()
    for nth in itertools.count(1):
        left, error = vm.guest.write_failing(nth, f"{DRIVER}/bind", name)
        assert (error == 0) == (vm.bound() == [name])
        assert error in (0, ENOMEM)
        if left:
            break
        if not error:
            vm.unbind()
    assert nth > 20
    vm.resize_exact(vm0=GIB)
    vm.resize_exact(vm0=0)


def test_resize(boot, seed):
    """Reach the target though an allocation on the way there failed."""
    vm = boot()
    prepare(vm)
    failing = f"/proc/{thread_of(vm)}/fail-nth"
    rng = random.Random(seed)
    failed = 0
    for nth in rng.sample(range(1, ALLOCATIONS), SAMPLES):
        for size in (256 * MIB, 0):
            vm.guest.write(failing, nth)
            vm.resize_exact(vm0=size)
            failed += vm.guest.read(failing).strip() == "0"
            vm.guest.write(failing, "0")
    assert failed > SAMPLES / 2


def test_memory_cannot_be_added(boot):
    """Unplug again what Linux can't take, until it can."""
    vm = boot()
    prepare(vm)
    vm.guest.write(f"/proc/{thread_of(vm)}/make-it-fail", "1")
    for name, value in (("task-filter", "Y"), ("times", "-1"),
                        ("stacktrace-depth", "32"), *place(vm),
                        ("probability", "100")):
        vm.guest.write(f"{DEBUGFS}/failslab/{name}", value)
    vm.resize("vm0", GIB)
    vm.wait_for_log("too little memory is available")
    vm.wait_for("blocks to be unplugged", lambda: vm.size("vm0") == 0)
    vm.guest.write(f"{DEBUGFS}/failslab/probability", "0")
    vm.wait_exact(vm0=GIB)
    vm.resize_exact(vm0=0)


def place(vm, function="add_memory_driver_managed"):
    """What names a function of the kernel, for faults in what it calls."""
    lines = [line.split() for line in
             vm.guest.read("/proc/kallsyms").splitlines()]
    address, = [int(line[0], 16) for line in lines if line[2] == function]
    end = min(start for start in (int(line[0], 16) for line in lines)
              if start > address)
    return ("require-start", address), ("require-end", end)


@pytest.mark.parametrize("priority", [1, -1])
@pytest.mark.parametrize("action, start, target, blocks", [
    ("MEM_GOING_ONLINE", 0, GIB, "offline"),
    ("MEM_GOING_OFFLINE", GIB, 0, "online")])
def test_refused_by_another(boot, action, start, target, blocks, priority):
    """Wait when another notifier refuses, asked before the driver or after."""
    vm = boot(cmdline="memhp_default_state=online_movable "
              f"memory_notifier_error_inject.priority={priority}")
    vm.resize_exact(vm0=start)
    vm.guest.write(f"{NOTIFIER}/{action}/error", str(-EBUSY))
    vm.resize("vm0", target)
    vm.wait_for_log("wait to be onlined" if target else "memory is in use")
    vm.guest.write(f"{NOTIFIER}/{action}/error", "0")
    states = vm.guest.memory_blocks()
    for number in vm.device_memory_blocks():
        assert states[number] == blocks
        if target:
            vm.guest.set_memory_block(number, "online_movable")
    vm.wait_exact(vm0=target)
    vm.resize_exact(vm0=0)
