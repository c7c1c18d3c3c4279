# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest moves to another QEMU with part of its memory plugged."""

import pytest

from testvm import GIB, MIB, Device

PAIRS = [("ours", "ours"), ("ours", "stock-tree"), ("stock-tree", "ours")]
MACHINES = ["pc-q35-10.0", "pc-q35-7.2"]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("source, target", PAIRS)
def test_precopy(boot, source, target, machine):
    """Move with memory in use, then resize both ways on the target."""
    device = Device("vm0", 4 * GIB)
    vm = boot(device, qemu=source, machine=machine)
    vm.resize_exact(vm0=GIB + 6 * MIB)
    vm.guest.hold("data", GIB)
    there = boot.twin(vm, qemu=target, machine=machine)
    vm.migrate(there)
    assert there.size("vm0") == GIB + 6 * MIB
    there.wait_exact(vm0=GIB + 6 * MIB)
    there.guest.verify("data")
    there.resize_exact(vm0=3 * GIB)
    there.guest.verify("data")
    there.guest.drop("data")
    there.resize_exact(vm0=130 * MIB)
