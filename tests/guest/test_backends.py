# SPDX-License-Identifier: GPL-2.0-or-later
"""The device over each kind of memory that QEMU has for it."""

import pytest

from backends import huge_device, unwatched
from testvm import GIB, MIB, Device

BACKENDS = {
    "anonymous": "memory-backend-ram",
    "anonymous shared": "memory-backend-ram,share=on",
    "not reserved": "memory-backend-ram,reserve=off",
    "bound to a node of the host":
        "memory-backend-ram,policy=bind,host-nodes=0",
    "memfd shared": "memory-backend-memfd,share=on",
    "memfd private": "memory-backend-memfd,share=off",
    "file shared": "memory-backend-file,share=on,mem-path={path}",
    "file private": "memory-backend-file,share=off,mem-path={path}",
}


def grow_and_shrink(vm, sizes=(514 * MIB, 130 * MIB)):
    """Uses memory, gives it back, and uses it again."""
    large, small = sizes
    for _ in range(2):
        vm.resize_exact(vm0=large)
        vm.guest.hold("data", large // 2)
        vm.guest.verify("data")
        vm.guest.drop("data")
        vm.resize_exact(vm0=small)
        # The host gives out huge pages, whatever a block is.
        assert vm.host_resident("vm0") <= max(small, 2 * MIB)


UNWATCHED = ("memfd private", "file shared", "file private")


@pytest.mark.parametrize("kind", BACKENDS)
def test_backend(boot, tmp_path, kind):
    """Grow, use and give back memory of this kind."""
    path = tmp_path / "memory"
    options = unwatched() if kind in UNWATCHED else {}
    vm = boot(Device("vm0", 2 * GIB, options=options,
                     backend=BACKENDS[kind].format(path=path)))
    grow_and_shrink(vm)


@pytest.mark.parametrize("block", [1 * MIB, 4 * MIB, 128 * MIB, GIB])
def test_block_size(boot, block):
    """Reach sizes in blocks that are smaller and larger than usual."""
    vm = boot(Device("vm0", 4 * GIB, block_size=block))
    grow_and_shrink(vm, (max(block, 512 * MIB) + block, block))


@pytest.mark.xdist_group("hugetlb")
def test_hugetlb(boot, hugepages):
    """Take exactly the plugged size of 2 MiB pages, and wait for more."""
    pages = hugepages(2 * MIB, 200)
    before = pages.free
    vm = boot(huge_device(GIB, "2M", prealloc="on"))
    vm.resize_exact(vm0=256 * MIB)
    assert pages.free == before - 128
    vm.guest.hold("data", 200 * MIB)
    vm.guest.verify("data")
    vm.guest.drop("data")
    vm.resize_exact(vm0=64 * MIB)
    assert pages.free == before - 32
    vm.resize("vm0", 768 * MIB)
    vm.wait_for_log("the host is busy")
    assert vm.size("vm0") <= 200 * 2 * MIB
    assert pages.free == before - vm.size("vm0") // (2 * MIB)
    pages.add(200)
    vm.wait_exact(vm0=768 * MIB)
    vm.resize_exact(vm0=0)
    assert pages.free == before + 200


@pytest.mark.xdist_group("hugetlb")
def test_gigantic_pages(boot, hugepages):
    """Resize by whole pages of 1 GiB."""
    pages = hugepages(GIB, 2)
    before = pages.free
    vm = boot(huge_device(4 * GIB, "1G", prealloc="on"))
    vm.resize_exact(vm0=2 * GIB)
    assert pages.free == before - 2
    vm.resize_exact(vm0=GIB)
    assert pages.free == before - 1
