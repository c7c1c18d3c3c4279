# SPDX-License-Identifier: GPL-2.0-or-later
"""The 2 x 2: our device and Debian's, our driver and the kernel's own."""

import random

import pytest

from testvm import GIB, MIB, Device

pytestmark = [
    pytest.mark.parametrize("qemu", ["ours", "stock"]),
    pytest.mark.parametrize("driver", ["ours", "stock"]),
]


def test_peers_grow_and_shrink(boot, qemu, driver):
    """Reach four sizes exactly, whoever made the other half."""
    vm = boot(qemu=qemu, driver=driver)
    for size in (GIB, 4 * GIB + 6 * MIB, 130 * MIB, 0):
        vm.resize_exact(vm0=size)


def test_peers_numa(boot, qemu, driver):
    """Resize a device on each of two nodes, whoever made the other half."""
    vm = boot(Device("vm0", 4 * GIB, node=0), Device("vm1", 2 * GIB, node=1),
              nodes=2, qemu=qemu, driver=None)
    base = vm.guest.node_total(1)
    vm.load(driver)
    vm.resize_exact(vm0=GIB, vm1=2 * GIB)
    assert vm.guest.node_total(1) == base + 2 * GIB
    vm.resize_exact(vm0=2 * GIB, vm1=4 * MIB)
    assert vm.guest.node_total(1) == base + 4 * MIB


def test_peers_in_use(boot, qemu, driver):
    """Keep contents over five random targets, whoever made the other half."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    vm = boot(qemu=qemu, driver=driver)
    vm.resize_exact(vm0=2 * GIB)
    vm.guest.hold("data", GIB, seed=seed)
    for _ in range(5):
        vm.resize_exact(vm0=2 * MIB * rng.randrange(700, 2048))
        vm.guest.verify("data")


def test_peers_reboot(boot, qemu, driver):
    """Plug memory again after a reboot, whoever made the other half."""
    vm = boot(qemu=qemu, driver=driver)
    vm.resize_exact(vm0=GIB)
    vm.reboot()
    vm.load(driver)
    vm.wait_exact(vm0=GIB)
