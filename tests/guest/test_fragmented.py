# SPDX-License-Identifier: GPL-2.0-or-later
"""Shrinking memory of which a little everywhere is in use."""

import pytest

from testvm import GIB, MIB, Device, kernels_own

BLOCK = 2 * MIB
SIZE = 4 * GIB

# A page of the kernel's in each of so many blocks, which can't go.
STRIDE = 40 * MIB + 4096
COUNT = SIZE // STRIDE


@pytest.mark.parametrize("policy, others", [("online_movable", 0),
                                            ("online_kernel",
                                             kernels_own(SIZE))])
def test_unmovable_pages(boot, policy, others):
    """Give back every block but those with a page that can't be moved."""
    vm = boot(Device("vm0", SIZE), cmdline=f"memhp_default_state={policy}")
    vm.resize_exact(vm0=SIZE)
    vm.guest.sprinkle(vm.devices()["vm0"]["memaddr"] + BLOCK, STRIDE, COUNT)
    vm.resize("vm0", 0)
    vm.wait_for("all but those blocks to go",
                lambda: vm.size("vm0") <= COUNT * BLOCK + others)
    assert vm.size("vm0") >= COUNT * BLOCK
    vm.wait_for("the guest to agree", lambda: vm.guest.mem_total()
                == vm.boot_total + vm.size("vm0"))
    vm.guest.end_sprinkle()
    vm.resize_exact(vm0=0 if not others else GIB)


def test_blocks_smaller_than_pageblock(boot):
    """Take back each block, though others of its pageblock are unplugged."""
    vm = boot(Device("vm0", 128 * MIB, block_size=MIB),
              cmdline="memhp_default_state=online_kernel")
    vm.resize_exact(vm0=128 * MIB)
    vm.guest.sprinkle(vm.devices()["vm0"]["memaddr"])
    for mib in range(127, 48, -1):
        vm.resize_exact(vm0=mib * MIB)
    vm.guest.end_sprinkle()
    vm.resize_exact(vm0=128 * MIB)


def test_every_64th_page(boot):
    """Give back all of what is in use here and there, and can be moved."""
    vm = boot()
    vm.resize_exact(vm0=SIZE)
    vm.guest.fragment("pages", SIZE - 256 * MIB, 64)
    vm.resize_exact(vm0=0)
    vm.guest.verify("pages")
