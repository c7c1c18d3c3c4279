# SPDX-License-Identifier: GPL-2.0-or-later
"""Our device and our driver: does the guest follow, to the byte?"""

import random

import pytest

from testvm import GIB, MIB, Device, GuestError, kernels_own

SIZES = [GIB, 5 * GIB, 4 * GIB + 202 * MIB, 8 * GIB, 130 * MIB, 6 * MIB, 0]


def test_grow_and_shrink(boot):
    """Reach each of seven sizes in turn, and end with nothing plugged."""
    vm = boot()
    for size in SIZES:
        vm.resize_exact(vm0=size)


def test_requested_at_start(boot):
    """Plug what was requested before the guest booted."""
    vm = boot(Device("vm0", 4 * GIB, requested_size=GIB + 2 * MIB))
    vm.wait_exact(vm0=GIB + 2 * MIB)


def test_numa_nodes(boot):
    """Give each of two nodes exactly what its own device plugged."""
    vm = boot(Device("vm0", 4 * GIB, node=0), Device("vm1", 2 * GIB, node=1),
              nodes=2, driver=None)
    base = [vm.guest.node_total(node) for node in (0, 1)]
    vm.load()
    for sizes in ((GIB, 256 * MIB), (2 * MIB, 2 * GIB), (3 * GIB, 0)):
        vm.resize_exact(vm0=sizes[0], vm1=sizes[1])
        for node in (0, 1):
            assert vm.guest.node_total(node) == base[node] + sizes[node]


def test_several_devices_on_a_node(boot):
    """Resize three devices at once, each to a size of its own."""
    vm = boot(*[Device(f"vm{i}", 2 * GIB) for i in range(3)])
    vm.resize_exact(vm0=2 * GIB, vm1=130 * MIB, vm2=GIB)
    vm.resize_exact(vm0=4 * MIB, vm1=2 * GIB, vm2=0)


@pytest.mark.parametrize("first, second", [(8 * GIB, 256 * MIB),
                                           (0, 6 * GIB)])
def test_target_changed_half_way(boot, first, second):
    """Turn round when the target changes while it is being approached."""
    vm = boot()
    vm.resize_exact(vm0=4 * GIB)
    vm.resize("vm0", first)
    vm.wait_for("the resize to begin", lambda: vm.size("vm0") != 4 * GIB)
    vm.resize_exact(vm0=second)


def test_random_targets(boot, seed):
    """Follow 20 random targets while memory in use keeps its contents."""
    rng = random.Random(seed)
    vm = boot()
    vm.resize_exact(vm0=2 * GIB)
    vm.guest.hold("data", GIB // 2, seed=seed)
    for _ in range(20):
        vm.resize_exact(vm0=2 * MIB * rng.randrange(300, 4097))
        vm.guest.verify("data")


def test_reboot(boot):
    """Plug the requested memory again after a reboot."""
    vm = boot()
    vm.resize_exact(vm0=2 * GIB)
    vm.reboot()
    assert vm.size("vm0") == 0
    # A kernel keeps some pages more or less for itself at each boot.
    assert abs(vm.guest.mem_total() - vm.boot_total) < 2 * MIB
    vm.load()
    vm.wait_exact(vm0=2 * GIB)


def test_unload_and_load(boot):
    """Unload the module when nothing is plugged, and load it again."""
    vm = boot()
    for size in (GIB, 300 * MIB):
        vm.resize_exact(vm0=size)
        vm.resize_exact(vm0=0)
        vm.guest.unload()
        vm.load()


def test_unload_in_use(boot):
    """Refuse to unload the module while memory is plugged."""
    vm = boot()
    vm.resize_exact(vm0=GIB)
    with pytest.raises(GuestError, match="busy|unavailable"):
        vm.guest.unload()
    vm.resize_exact(vm0=512 * MIB)


def test_unbind_and_bind(boot):
    """Keep memory in use over an unbind, and resize it after a bind."""
    vm = boot()
    vm.resize_exact(vm0=GIB + 6 * MIB)
    vm.guest.hold("data", GIB, seed=3)
    name = vm.unbind()
    vm.guest.verify("data")
    vm.resize("vm0", 3 * GIB)
    vm.bind(name)
    vm.wait_exact(vm0=3 * GIB)
    vm.guest.verify("data")


def test_memory_in_use(boot):
    """Keep memory in use, and reach the target once it is free."""
    vm = boot()
    vm.resize_exact(vm0=4 * GIB)
    vm.guest.hold("data", vm.boot_total + GIB, seed=7)
    vm.resize("vm0", 0)
    vm.wait_for("the driver to say why it stopped",
                lambda: "too little memory is available" in vm.guest.dmesg())
    assert GIB < vm.size("vm0") < 4 * GIB
    vm.guest.verify("data")
    vm.guest.drop("data")
    vm.wait_exact(vm0=0)


def test_pinned_page(boot):
    """Lose nothing but its own block to a pinned page, until it is free."""
    vm = boot()
    vm.resize_exact(vm0=2 * GIB)
    vm.guest.pin("page", 65536)
    vm.resize("vm0", 0)
    vm.wait_for("all but the pinned block to go",
                lambda: vm.size("vm0") <= 4 * MIB)
    assert vm.size("vm0") >= 2 * MIB
    vm.guest.drop("page")
    vm.wait_exact(vm0=0)


def test_shrink_gives_memory_back(boot):
    """Give the host back what the guest had used."""
    vm = boot()
    vm.resize_exact(vm0=2 * GIB)
    vm.guest.hold("data", GIB)
    vm.guest.drop("data")
    assert vm.host_resident("vm0") >= GIB // 2
    vm.resize_exact(vm0=0)
    assert vm.host_resident("vm0") == 0


@pytest.mark.parametrize("mib", [1, 4, 64, 128, 256])
def test_block_sizes(boot, mib):
    """Work in blocks smaller than, as large as and larger than Linux's."""
    vm = boot(Device("vm0", 4 * GIB, block_size=mib * MIB))
    for blocks in (1, 3, 4096 // mib, 2048 // mib - 1, 1, 0):
        vm.resize_exact(vm0=blocks * mib * MIB)


def test_force_bbm(boot):
    """Plug only whole memory blocks when told to."""
    vm = boot(parameters={"force_bbm": 1})
    vm.resize("vm0", GIB + 100 * MIB)
    vm.wait_exact(vm0=GIB)
    vm.wait_for_log("the rest is less than unit_size")
    vm.resize("vm0", 300 * MIB)
    vm.wait_exact(vm0=256 * MIB)
    vm.resize_exact(vm0=0)


def test_bbm_block_size(boot):
    """Plug only big blocks of the size that was given."""
    vm = boot(parameters={"force_bbm": 1, "bbm_block_size": 512 * MIB})
    vm.resize("vm0", 2 * GIB - 2 * MIB)
    vm.wait_exact(vm0=1536 * MIB)
    vm.guest.hold("data", GIB)
    vm.resize("vm0", 600 * MIB)
    vm.wait_exact(vm0=512 * MIB)
    vm.guest.verify("data")
    vm.guest.drop("data")
    vm.resize_exact(vm0=0)


@pytest.mark.parametrize("size", [3 * MIB, 64 * MIB, 384 * MIB])
def test_bad_bbm_block_size(boot, size):
    """Say what is wrong with a size of big blocks, and take the usual one."""
    vm = boot(parameters={"force_bbm": 1, "bbm_block_size": size})
    vm.wait_for_log(f"bbm_block_size {size} is not a power of two from "
                    f"{128 * MIB} on: {128 * MIB} is taken")
    vm.resize_exact(vm0=384 * MIB)


def test_unplug_online(boot):
    """Leave online memory alone as long as unplug_online is off."""
    vm = boot(parameters={"unplug_online": 0})
    vm.resize_exact(vm0=GIB)
    vm.resize("vm0", 0)
    vm.wait_for("the driver to give up for now",
                lambda: "trying on" in vm.guest.dmesg())
    assert vm.size("vm0") == GIB
    vm.guest.write("/sys/module/virtio_mem/parameters/unplug_online", "1")
    vm.wait_exact(vm0=0)


@pytest.mark.parametrize("policy", ["online_kernel", "online"])
def test_onlining_for_the_kernel(boot, policy):
    """Shrink but for the blocks that the kernel itself uses."""
    vm = boot(cmdline=f"memhp_default_state={policy}")
    size = 2 * GIB + 10 * MIB
    vm.resize_exact(vm0=size)
    vm.resize("vm0", 0)
    vm.wait_for("all but a few blocks to go",
                lambda: vm.size("vm0") <= kernels_own(size))
    vm.resize_exact(vm0=GIB)


def test_onlining_by_hand(boot):
    """Leave memory offline by policy; shrink with and without it onlined."""
    vm = boot(cmdline="memhp_default_state=offline")
    vm.resize("vm0", GIB + 10 * MIB)
    vm.wait_for_size("vm0", GIB + 10 * MIB)
    vm.wait_for("all memory to be added",
                lambda: len(vm.device_memory_blocks()) == 9)
    vm.resize("vm0", GIB + 20 * MIB)
    vm.wait_for_log("1044 MiB plugged, as requested")
    vm.wait_for_log("1044 MiB wait to be onlined")
    assert vm.guest.mem_total() == vm.boot_total
    for number in vm.device_memory_blocks():
        vm.guest.set_memory_block(number, "online_movable")
    vm.wait_exact(vm0=GIB + 20 * MIB)

    for number in vm.device_memory_blocks()[:4]:
        vm.guest.set_memory_block(number, "offline")
    vm.resize("vm0", 0)
    vm.wait_for_size("vm0", 0)
    vm.wait_for("all memory to be removed",
                lambda: not vm.device_memory_blocks())


def test_offline_and_online_partly_plugged(boot):
    """Survive off- and onlining by hand of a partly plugged memory block."""
    vm = boot()
    vm.resize_exact(vm0=GIB)
    vm.resize_exact(vm0=GIB - 30 * MIB)
    size = vm.size("vm0")
    for _ in range(2):
        blocks = vm.device_memory_blocks()
        for number in blocks:
            vm.guest.set_memory_block(number, "offline")
        assert vm.guest.mem_total() == vm.boot_total
        for number in blocks:
            vm.guest.set_memory_block(number, "online_movable")
        assert vm.guest.mem_total() == vm.boot_total + size
    vm.resize_exact(vm0=GIB + 6 * MIB)
    vm.resize_exact(vm0=0)
