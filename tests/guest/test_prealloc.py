# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that the host has for the guest before the guest uses it."""

import threading

import pytest
from qemu.qmp import QMPError

from testvm import GIB, MIB, Device

PREALLOC = {"prealloc": "on"}
WARNING = "cannot be filled with memory of the host"


def test_prealloc(boot):
    """Take all of the plugged memory from the host, and none besides."""
    vm = boot(Device("vm0", 4 * GIB, options=PREALLOC))
    for size in (GIB, 1538 * MIB, 514 * MIB, 0):
        vm.resize_exact(vm0=size)
        assert vm.host_resident("vm0") == size


def test_prealloc_slowly(boot, host):
    """Go on with everything else while the host looks for memory."""
    vm = boot(Device("vm0", 4 * GIB, options=PREALLOC))
    host.begin("slow")
    vm.resize("vm0", GIB)
    vm.wait_for("the host to begin", lambda: host.says("filling"))
    # The guest answers through another device of the same QEMU.
    assert vm.guest.mem_total() == vm.boot_total
    assert vm.size("vm0") == 0
    vm.resize("vm0", 514 * MIB)
    host.end("slow")
    vm.wait_exact(vm0=514 * MIB)
    assert vm.host_resident("vm0") == 514 * MIB


def test_prealloc_fails(boot, host):
    """Say once that there is no memory, take none, and go on when there is."""
    vm = boot(Device("vm0", 4 * GIB, options=PREALLOC))
    vm.resize_exact(vm0=128 * MIB)
    host.begin("no-memory")
    vm.resize("vm0", GIB)
    vm.wait_for_log("the host is busy")
    assert vm.size("vm0") == 128 * MIB
    assert vm.host_resident("vm0") == 128 * MIB
    vm.resize_exact(vm0=64 * MIB)
    vm.resize("vm0", 2 * GIB)
    host.end("no-memory")
    vm.wait_exact(vm0=2 * GIB)
    assert vm.host_resident("vm0") == 2 * GIB
    assert vm.stderr().count(WARNING) == 1


def test_prealloc_keeps_the_device(boot, host):
    """Let nobody remove the device while a request is under way."""
    vm = boot(Device("vm0", 4 * GIB, options=PREALLOC), machine="pc")
    host.begin("slow")
    vm.resize("vm0", GIB)
    vm.wait_for("the host to begin", lambda: host.says("filling"))
    vm.resize("vm0", 0)
    with pytest.raises(QMPError, match="carries out a request of the guest"):
        vm.qmp("device_del", id="vm0")
    host.end("slow")
    vm.wait_exact(vm0=0)


@pytest.mark.parametrize("command, undo", [
    (("stop", {}), "cont"), (("system_reset", {}), None)],
    ids=["stop", "reset"])
def test_prealloc_interrupted(boot, host, command, undo):
    """Leave nothing half done when the machine stops or is reset."""
    vm = boot(Device("vm0", 4 * GIB, options=PREALLOC))
    vm.qmp("set-action", reboot="reset")
    host.begin("slow")
    vm.resize("vm0", GIB)
    vm.wait_for("the host to begin", lambda: host.says("filling"))
    name, arguments = command
    asker = threading.Thread(target=vm.qmp, args=(name,), kwargs=arguments)
    asker.start()
    host.end("slow")
    asker.join()
    if undo:
        # Answered, if by BUSY, and all given back: nothing goes on.
        queue = vm.qmp("x-query-virtio-queue-status", queue=0,
                       path="/machine/peripheral/vm0/virtio-backend")
        assert queue["inuse"] == 0
        assert vm.host_resident("vm0") == 0
        vm.qmp(undo)
    else:
        vm.guest.wait_ready()
        vm.load("ours")
    vm.wait_exact(vm0=GIB)
    assert vm.host_resident("vm0") == GIB


def test_prealloc_on_the_target(boot, host):
    """Refuse to take a guest over when there is no memory for it."""
    vm = boot(Device("vm0", 4 * GIB, options=PREALLOC))
    vm.resize_exact(vm0=GIB)
    path = vm.directory + "/guest"
    there = boot.twin(vm)
    vm.save(path)
    vm.guest = None
    host.begin("no-memory")
    assert "not enough memory" in there.fails_to_restore(path)
    there.guest = None
