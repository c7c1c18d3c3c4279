# SPDX-License-Identifier: GPL-2.0-or-later
"""The harness itself: what lets the other tests fail when they should."""

import os
import re
import select
import subprocess
import sys

import pytest

from testvm import MIB, VM, GuestError, VMError


@pytest.fixture
def vm(request):
    """A guest that may be left in any state."""
    machine = VM(request.node.name, memory=512 * MIB)
    machine.start()
    yield machine
    machine.stop()


def test_kernel_warnings(vm):
    """See a warning in the kernel's log, and none where there is none."""
    assert "panic_on_warn=1" in vm.guest.read("/proc/cmdline")
    vm.check_clean()
    vm.guest.write("/dev/kmsg", "WARNING: of no consequence")
    vm.guest.write("/dev/kmsg", "A new message ends the one before.")
    with pytest.raises(VMError, match="WARNING: of no consequence"):
        vm.check_clean()


def test_panic(vm):
    """End every wait when the guest's kernel panics, with its last words."""
    panic = "QEMU ended(.|\n)*Kernel panic"
    with pytest.raises(VMError, match=panic):
        vm.guest.write("/proc/sysrq-trigger", "c")
    with pytest.raises(VMError, match=panic):
        vm.wait_for("nothing", lambda: False)
    with pytest.raises(VMError, match=panic):
        vm.qmp("query-status")
    with pytest.raises(VMError, match=panic):
        vm.check_clean()


def test_bad_commands(vm):
    """Answer bad commands with an error, and go on."""
    for line in ("", "nonsense", "read", "read ", "hold", "hold x 0 1",
                 "hold  4096 1", "hold x much 1", "hold x 4096 1 64",
                 f"hold {'x' * 32} 4096 1", "verify", "verify ", "verify x",
                 "drop ", "drop x", "pin x 0", "unload nothing", "load /init",
                 "kexec /init /init x"):
        with pytest.raises(GuestError):
            vm.guest.command(line)
    vm.guest.hold("x", 1 * MIB)
    with pytest.raises(GuestError, match="in use"):
        vm.guest.hold("x", 1 * MIB)
    vm.guest.verify("x")


def test_hold(vm):
    """Hold as much memory as asked for, and give it back when dropped."""
    def available():
        return int(re.search(r"MemAvailable:\s+(\d+) kB",
                             vm.guest.read("/proc/meminfo")).group(1)) << 10

    before = available()
    vm.guest.hold("data", 128 * MIB, seed=5)
    assert available() < before - 100 * MIB
    vm.guest.drop("data")
    assert available() > before - 28 * MIB


CHILD = """
import os, signal
from testvm import VM
vm = VM("orphan", guest=False)
vm.start()
print(vm.pid, flush=True)
input()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_orphans():
    """Leave no QEMU behind when the test run is killed."""
    with subprocess.Popen([sys.executable, "-c", CHILD],
                          stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as child:
        qemu = os.pidfd_open(int(child.stdout.readline()))
        assert not select.select([qemu], [], [], 0)[0], "QEMU runs"
        child.stdin.close()
        assert select.select([qemu], [], [], 120)[0], "QEMU is gone"
        os.close(qemu)
