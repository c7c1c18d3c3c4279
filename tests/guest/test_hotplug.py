# SPDX-License-Identifier: GPL-2.0-or-later
"""Our device added to and removed from a running guest with our driver."""

import contextlib
import os
from pathlib import Path

import pytest
from qemu.qmp import QMPError

from testvm import GIB, MIB, Device

ROOT_PORT = ["-device", "pcie-root-port,id=hot-bus"]
MACHINES = {"q35": {"machine": "q35", "arguments": ROOT_PORT},
            "pc": {"machine": "pc"}}


def add(vm, machine, **options):
    bus = "hot-bus" if machine == "q35" else "pci.0"
    vm.qmp("object-add", qom_type="memory-backend-ram", id="m1", size=GIB)
    vm.qmp("device_add", driver="virtio-mem-pci", id="hot", memdev="m1",
           bus=bus, **options)


def remove(vm):
    """Returns once the guest has let go of the device."""
    vm.eject("hot")
    vm.qmp("object-del", id="m1")


def pagemaps(vm):
    """How many files of this kind QEMU has open."""
    names = [os.readlink(file) for file in Path(f"/proc/{vm.pid}/fd").iterdir()]
    return sum(name.endswith("/pagemap") for name in names)


def threads(vm):
    """How many of them belong to devices, also those that are just ending."""
    count = 0
    for task in Path(f"/proc/{vm.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            count += (task / "comm").read_text() == "virtio-mem\n"
    return count


@pytest.mark.parametrize("machine", MACHINES)
def test_add_and_remove(boot, machine):
    """Use a hot-plugged device, remove it with all it had, use the next one."""
    vm = boot(Device("vm0", GIB), **MACHINES[machine])
    vm.resize_exact(vm0=256 * MIB)
    nb_pagemaps, nb_threads = pagemaps(vm), threads(vm)
    for size in (GIB, 130 * MIB):
        add(vm, machine, prealloc=True)
        vm.resize_exact(hot=size)
        # Threads that fill memory have the same name, and end.
        vm.wait_for("its thread", lambda: threads(vm) == nb_threads + 1)
        vm.resize_exact(hot=0)
        remove(vm)
        assert list(vm.devices()) == ["vm0"]
        assert pagemaps(vm) == nb_pagemaps
        vm.wait_for("no thread of it", lambda: threads(vm) == nb_threads)
    vm.resize_exact(vm0=0)


def test_remove_while_plugged(boot):
    """Refuse to remove a device while memory is plugged."""
    vm = boot(Device("vm0", GIB), **MACHINES["q35"])
    add(vm, "q35")
    vm.resize_exact(hot=512 * MIB)
    vm.guest.write("/sys/module/virtio_mem/parameters/unplug_online", "0")
    vm.resize("hot", 0)
    with pytest.raises(QMPError, match="of its memory are plugged"):
        vm.qmp("device_del", id="hot")
    vm.guest.write("/sys/module/virtio_mem/parameters/unplug_online", "1")
    vm.wait_exact(hot=0)
    remove(vm)
