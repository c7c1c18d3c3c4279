# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests with a booted guest share: a machine each, by name."""

import os
import random
import re

import pytest

from backends import hugepages      # noqa: F401: a fixture
from testvm import GIB, MIB, VM, Device, paths


# Of a kernel that can let things fail: `make check-debug`
collect_ignore = [] if paths.HAS_DEBUG_KERNEL else ["debug"]

DRIVER = "/sys/bus/virtio/drivers/virtio_mem"


# Without the string instructions with which Linux would clear memory: they are
# emulated byte by byte.
CPU = "max,erms=off,fsrm=off"


class Machine(VM):
    """A VM that knows how much memory its guest had at boot."""

    boot_total = None

    def bound(self):
        """The guest's names of the devices that the driver has."""
        return [name for name in self.guest.list(DRIVER)
                if name.startswith("virtio")]

    def unbind(self, name=None):
        """Takes a device, or its only one; returns what bind() wants."""
        if not name:
            name, = self.bound()
        self.guest.write(f"{DRIVER}/unbind", name)
        return name

    def bind(self, name):
        self.guest.write(f"{DRIVER}/bind", name)

    def load(self, driver="ours", **parameters):
        self.boot_total = self.guest.mem_total()
        self.guest.load(driver, **parameters)

    def eject(self, name):
        """Returns once the guest has let go of a device, and it is gone."""
        gone = len(self.events("DEVICE_DELETED"))
        self.qmp("device_del", id=name)
        self.wait_for(f"the guest to let go of {name}", lambda: name in [
            event["data"].get("device")
            for event in self.events("DEVICE_DELETED")[gone:]])

    def device_memory_blocks(self):
        """Numbers of the memory blocks that devices added."""
        start = min(dev["memaddr"] for dev in self.devices().values())
        return [number for number in self.guest.memory_block_numbers()
                if number * 128 * MIB >= start]

    def plugged(self):
        return sum(dev["size"] for dev in self.devices().values())

    def wait_exact(self, **sizes):
        """
        Waits until each device has its size, and the guest exactly the sum of
        all devices on top of what it booted with.
        """
        for device, size in sizes.items():
            self.wait_for_size(device, size)
        expected = self.boot_total + self.plugged()
        self.wait_for(f"MemTotal to be {expected}",
                      lambda: self.guest.mem_total() == expected)

    def begin_resize(self, device, size):
        """Returns once the guest has begun, half way to the size."""
        before = self.size(device)
        self.resize(device, size)
        self.wait_for("the resize to begin",
                      lambda: self.size(device) != before)

    def resize_exact(self, **sizes):
        for device, size in sizes.items():
            self.resize(device, size)
        self.wait_exact(**sizes)


@pytest.fixture
def seed():
    """Another one in each run; SEED=N repeats one."""
    value = int(os.environ.get("SEED") or random.randrange(1 << 32))
    print(f"SEED={value}")
    return value


def _booting(request):
    """
    Boots a guest: boot(*devices, driver="ours", **arguments of VM).
    boot.twin(vm, **changed) starts a machine that `vm` can migrate to;
    boot.end(vm) ends one, whatever became of it.
    """
    machines = []

    def _start(devices, arguments):
        name = re.sub(r"[^\w.-]+", "-", request.node.name)
        machine = Machine(f"{name}-{len(machines)}", devices,
                          **{"cpu": CPU, **arguments})
        machine.arguments = arguments
        machine.start()
        machines.append(machine)
        return machine

    def _twin(vm, devices=None, **changed):
        machine = _start(devices or vm.configured,
                         {**vm.arguments, "incoming": True, **changed})
        machine.boot_total = vm.boot_total
        return machine

    def _boot(*devices, driver="ours", parameters=None, **arguments):
        if not devices:
            devices = (Device("vm0", 8 * GIB),)
        if driver == "stock":
            # Its default takes 5 s per GiB; these tests are of behaviour.
            arguments["cmdline"] = (
                arguments.get("cmdline", "memhp_default_state=online_movable")
                + " init_on_alloc=0")
        if not paths.qemu(arguments.get("qemu", "ours")):
            pytest.skip("the distribution's QEMU is not installed")
        machine = _start(devices, arguments)
        if driver:
            machine.load(driver, **(parameters or {}))
        return machine

    def _end(vm):
        machines.remove(vm)
        vm.stop()

    _boot.twin = _twin
    _boot.end = _end
    yield _boot
    try:
        if not request.node.stash.get(FAILED, False):
            for machine in machines:
                machine.check_clean()
    finally:
        for machine in machines:
            machine.stop()


@pytest.fixture
def boot(request):
    """Boots guests that end with the test: see _booting()."""
    yield from _booting(request)


@pytest.fixture(scope="module")
def boot_for_all(request):
    """As boot, but the guests end with the last test of the file."""
    yield from _booting(request)


FAILED = pytest.StashKey()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.stash[FAILED] = outcome.get_result().failed
