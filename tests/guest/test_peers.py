# SPDX-License-Identifier: GPL-2.0-or-later
"""The 2 x 2: our device and Debian's, our driver and the kernel's own."""

import random

import pytest

from testvm import GIB, MIB, Device, paths

pytestmark = [
    pytest.mark.parametrize("qemu", ["ours", "stock"], ids="{}-device".format),
    pytest.mark.parametrize("driver", ["ours", "stock"],
                            ids="{}-driver".format),
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


def test_peers_half_way(boot, qemu, driver):
    """Turn round half way, and back again, whoever made the other half."""
    vm = boot(qemu=qemu, driver=driver)
    for first, second in ((4 * GIB, 128 * MIB), (0, 2 * GIB)):
        vm.begin_resize("vm0", first)
        vm.resize_exact(vm0=second)


def test_peers_in_use(boot, seed, qemu, driver):
    """Keep contents over five random targets, whoever made the other half."""
    rng = random.Random(seed)
    vm = boot(qemu=qemu, driver=driver)
    vm.resize_exact(vm0=2 * GIB)
    vm.guest.hold("data", GIB // 2, seed=seed)
    for _ in range(5):
        vm.resize_exact(vm0=2 * MIB * rng.randrange(350, 2048))
        vm.guest.verify("data")


def test_peers_pinned(boot, qemu, driver):
    """Get past a pinned page once it is free, whoever made the other half."""
    vm = boot(qemu=qemu, driver=driver)
    vm.resize_exact(vm0=GIB)
    vm.guest.pin("page", 65536)
    vm.resize("vm0", 0)
    vm.wait_for("the resize to begin", lambda: vm.size("vm0") < GIB)
    vm.guest.drop("page")
    vm.wait_exact(vm0=0)


def test_peers_unload(boot, qemu, driver):
    """Unload and load the module, whoever made the other half."""
    vm = boot(Device("vm0", 4 * GIB, requested_size=130 * MIB), qemu=qemu,
              driver=driver)
    vm.wait_exact(vm0=130 * MIB)
    vm.resize_exact(vm0=0)
    # The stock driver is not through before, and leaves them if it is unloaded.
    vm.wait_for("all memory blocks to go",
                lambda: not vm.device_memory_blocks())
    vm.guest.unload()
    vm.load(driver)
    vm.resize_exact(vm0=GIB)


def test_peers_left_over(boot, qemu, driver):
    """Take back what a kexec left plugged, whoever made the other half."""
    vm = boot(qemu=qemu, driver=driver, files=[paths.KERNEL, paths.INITRD])
    vm.resize_exact(vm0=GIB + 6 * MIB)
    vm.guest.kexec("/vmlinuz", "/initrd")
    assert vm.size("vm0") == GIB + 6 * MIB
    vm.load(driver)
    vm.wait_exact(vm0=GIB + 6 * MIB)
    vm.resize_exact(vm0=130 * MIB)


def test_peers_reboot(boot, qemu, driver):
    """Plug memory again after a reboot, whoever made the other half."""
    vm = boot(qemu=qemu, driver=driver)
    vm.resize_exact(vm0=GIB)
    vm.reboot()
    vm.load(driver)
    vm.wait_exact(vm0=GIB)
