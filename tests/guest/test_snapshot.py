# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine goes back to a snapshot in which other memory was plugged."""

import pytest

from testvm import GIB, MIB, Device

PLUGGED = 514 * MIB


@pytest.mark.parametrize("later", [0, 1538 * MIB], ids=["less", "more"])
@pytest.mark.parametrize("machine, options", [
    ("pc-q35-10.0", {}), ("pc-q35-7.2", {}),
    ("pc-q35-10.0", {"dynamic-memslots": "on"}),
    ("pc-q35-7.2", {"prealloc": "on"}),
])
def test_snapshot(boot, machine, options, later):
    """Bring back which blocks were plugged, with what was in them."""
    vm = boot(Device("vm0", 4 * GIB, options=options), machine=machine)
    vm.add_snapshot_disk()
    vm.resize_exact(vm0=PLUGGED)
    vm.guest.hold("data", 300 * MIB)
    vm.save_snapshot("then")
    vm.guest.drop("data")
    vm.resize_exact(vm0=later)
    # More than fits below: the snapshot has to give memory back.
    vm.guest.hold("later", max(later - 300 * MIB, 300 * MIB), seed=2)
    vm.load_snapshot("then")
    vm.wait_exact(vm0=PLUGGED)
    vm.guest.verify("data")
    assert vm.host_resident("vm0") <= PLUGGED
    vm.resize_exact(vm0=GIB)
    vm.guest.verify("data")
