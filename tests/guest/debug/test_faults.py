# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the driver does when memory runs out, and when others refuse.  The kernel
is the debug one: Documentation/fault-injection of Linux tells of its files.
"""

import itertools
import random

import pytest

from odd import Odd, OddDevice
from testvm import GIB, MIB
from test_reports import causes, refused, talkative

DRIVER = "/sys/bus/virtio/drivers/virtio_mem"
DEBUGFS = "/sys/kernel/debug"
NOTIFIER = f"{DEBUGFS}/notifier-error-inject/memory/actions"
EPERM, ENOMEM, EBUSY = 1, 12, 16

# More than there are in any test
ALL = 1 << 20

# How many of the allocations of a resize fail, all of them or so many
SAMPLES = 20


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
        assert error in (0, ENOMEM, EBUSY)      # no memory, or no region
        if left:
            break
        if not error:
            vm.unbind()
    assert nth > 20
    vm.resize_exact(vm0=GIB)
    vm.resize_exact(vm0=0)


@pytest.mark.parametrize("start, target", [(0, 256 * MIB), (256 * MIB, 0),
                                           (256 * MIB, 130 * MIB)])
def test_resize(boot, seed, start, target):
    """Reach the target though an allocation on the way there failed."""
    vm = boot()
    prepare(vm)
    failing = f"/proc/{thread_of(vm)}/fail-nth"

    def resize(nth):
        """Returns how many allocations less it took; 0 if one failed."""
        vm.guest.write(failing, nth)
        vm.resize_exact(vm0=target)
        left = int(vm.guest.read(failing))
        vm.guest.write(failing, 0)
        vm.resize_exact(vm0=start)
        return left

    vm.resize_exact(vm0=start)
    count = ALL - resize(ALL)
    rng = random.Random(seed)
    for nth in rng.sample(range(1, count + 1), min(SAMPLES, count)):
        resize(nth)


def test_memory_cannot_be_added(boot):
    """Unplug again what Linux can't take, until it can."""
    vm = boot()
    fail_allocations(vm, "add_memory_driver_managed")
    vm.resize("vm0", GIB)
    vm.wait_for_log("cannot add memory")
    vm.wait_for("blocks to be unplugged", lambda: vm.size("vm0") == 0)
    end_failures(vm)
    vm.wait_exact(vm0=GIB)
    vm.resize_exact(vm0=0)


def test_request_cannot_be_queued(boot):
    """Try again when there is no memory for a request, and wait for none."""
    vm = boot(OddDevice("odd0", 0, {"queue-size": 1}))
    odd = Odd(vm, vm.configured[0])
    fail_allocations(vm, "virtio_mem_exchange")
    before = odd.requests()
    odd.tell(requested_size=GIB)
    vm.wait_for_log("too little memory is available")
    assert odd.requests() == before
    end_failures(vm)
    vm.wait_for("the memory", lambda: odd.get("size") == GIB)


def fail_allocations(vm, function):
    """From now on, those of the driver's thread in this function."""
    prepare(vm)
    vm.guest.write(f"/proc/{thread_of(vm)}/make-it-fail", "1")
    for name, value in (("task-filter", "Y"), ("times", "-1"),
                        ("stacktrace-depth", "32"), *place(vm, function),
                        ("probability", "100")):
        vm.guest.write(f"{DEBUGFS}/failslab/{name}", value)


def end_failures(vm):
    vm.guest.write(f"{DEBUGFS}/failslab/probability", "0")


def place(vm, function):
    """What names a function of the kernel, for faults in what it calls."""
    lines = [line.split() for line in
             vm.guest.read("/proc/kallsyms").splitlines()]
    address, = [int(line[0], 16) for line in lines if line[2] == function]
    end = min(start for start in (int(line[0], 16) for line in lines)
              if start > address)
    return ("require-start", address), ("require-end", end)


def inject(vm, action, error):
    vm.guest.write(f"{NOTIFIER}/{action}/error", -error)


def asked(first):
    """A command line with a notifier that is asked first, or last."""
    return ("memhp_default_state=online_movable "
            f"memory_notifier_error_inject.priority={1 if first else -1}")


@pytest.mark.parametrize("first", [True, False])
def test_onlining_refused(boot, first):
    """Try again, and say so, when another notifier refuses."""
    vm = boot(cmdline=asked(first))
    inject(vm, "MEM_GOING_ONLINE", EBUSY)
    vm.resize("vm0", GIB)
    vm.wait_for_log("Linux could not online it")
    vm.wait_for("blocks to be unplugged", lambda: vm.size("vm0") == 0)
    inject(vm, "MEM_GOING_ONLINE", 0)
    vm.wait_exact(vm0=GIB)
    vm.resize_exact(vm0=0)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("force_bbm", [0, 1])
def test_offlining_refused(boot, first, force_bbm):
    """Shrink by the block when another notifier refuses, or else wait."""
    vm = boot(cmdline=asked(first), parameters={"force_bbm": force_bbm})
    vm.resize_exact(vm0=GIB)
    inject(vm, "MEM_GOING_OFFLINE", EBUSY)
    if force_bbm:
        vm.resize("vm0", 0)
        vm.wait_for_log("memory is in use")
        assert vm.size("vm0") == GIB
    else:
        vm.resize_exact(vm0=0)
        assert len(vm.device_memory_blocks()) == 8
    inject(vm, "MEM_GOING_OFFLINE", 0)
    vm.resize_exact(vm0=128 * MIB)
    vm.resize_exact(vm0=0)
    vm.wait_for("memory blocks to go", lambda: not vm.device_memory_blocks())


def test_refused_told(boot):
    """Tell the device that another notifier refused, where that is sure."""
    vm = boot(talkative(), cmdline=asked(True), parameters={"force_bbm": 1})
    vm.resize_exact(vm0=GIB)
    inject(vm, "MEM_GOING_OFFLINE", EPERM)
    refused(vm)
    assert causes(vm) == {"refused": GIB}
    inject(vm, "MEM_GOING_OFFLINE", 0)
    vm.resize_exact(vm0=0)
