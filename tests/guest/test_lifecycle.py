# SPDX-License-Identifier: GPL-2.0-or-later
"""The device leaves, or the guest sleeps, at the worst moment: in a resize."""

import random
import time

import pytest

from testvm import GIB, MIB, Device, GuestError
from testvm.guest import MEMORY_DIR

# A slot with a second function, which leaves with the first.
SLOT = ["-device", "virtio-rng-pci,id=first,addr=8.0,multifunction=on"]

BOTH_WAYS = pytest.mark.parametrize(
    "first, second", [(0, 8 * GIB), (8 * GIB, 0)], ids=["grow", "shrink"])


@BOTH_WAYS
def test_unbind_in_a_resize(boot, first, second):
    """Let go of the device half way, and go on when it is back."""
    vm = boot()
    vm.resize_exact(vm0=first)
    vm.begin_resize("vm0", second)
    name = vm.unbind()
    assert not vm.bound()
    vm.bind(name)
    vm.wait_exact(vm0=second)
    vm.resize_exact(vm0=130 * MIB)


@BOTH_WAYS
def test_eject_in_a_resize(boot, first, second):
    """Lose the device half way, while ACPI holds the hotplug lock."""
    # What nobody onlines is not missed when it goes.
    vm = boot(Device("vm0", 8 * GIB, options={"addr": "8.1"}),
              Device("vm1", GIB), machine="pc", arguments=SLOT,
              cmdline="memhp_default_state=offline")
    vm.resize("vm0", first)
    vm.wait_for_size("vm0", first)
    vm.begin_resize("vm0", second)
    vm.eject("first")
    assert list(vm.devices()) == ["vm1"]
    vm.wait_for("the host to hear that vm0 is empty", lambda: (0, "vm0") in [
        (event["data"]["size"], event["data"]["id"])
        for event in vm.events("MEMORY_DEVICE_SIZE_CHANGE")])
    vm.resize("vm1", 256 * MIB)
    vm.wait_for_size("vm1", 256 * MIB)


def test_eject_what_cannot_be_given_back(boot, host):
    """Let go of device and backend all the same, and of the mapped slots."""
    vm = boot(Device("vm0", 4 * GIB, options={
        "addr": "8.1", "dynamic-memslots": "on"}), machine="pc",
              arguments=SLOT, cmdline="memhp_default_state=offline")
    vm.resize("vm0", GIB)
    vm.wait_for_size("vm0", GIB)
    host.begin("keeps-memory")
    vm.qmp("device_del", id="first")
    vm.wait_for("the device to be gone", lambda: any(
        event["data"]["path"].endswith("/vm0/virtio-backend")
        for event in vm.events("DEVICE_DELETED")))
    vm.qmp("object-del", id="vm0-mem")


@BOTH_WAYS
def test_sleep_in_a_resize(boot, first, second):
    """Sleep half way, and go on after the wake-up."""
    vm = boot()
    vm.resize_exact(vm0=first)
    vm.prepare_sleep()
    vm.begin_resize("vm0", second)
    vm.sleep()
    vm.wait_exact(vm0=second)


def test_no_hibernation_while_plugged(boot):
    """Refuse to hibernate with plugged memory, which the image would lose."""
    vm = boot()
    vm.resize_exact(vm0=GIB)
    with pytest.raises(GuestError, match="busy"):
        vm.guest.write("/sys/power/state", "disk")
    vm.wait_for_log("cannot hibernate: 1024 MiB are plugged")
    vm.resize_exact(vm0=0)


def test_hibernate_in_a_resize(boot):
    """Follow the target once the guest is back, also from a failed attempt."""
    vm = boot()
    for size in (8 * GIB, 0):
        vm.resize("vm0", size)
        with pytest.raises(GuestError):     # there is no swap space
            vm.guest.write("/sys/power/state", "disk")
        vm.wait_exact(vm0=size)


def begin_stuck_offlining(vm):
    """Someone takes memory offline that can't go, and keeps trying."""
    vm.guest.pin("page", 65536)
    plugged = [number for number, state in vm.guest.memory_blocks().items()
               if number >= 32 and state == "online"]
    for number in plugged:
        vm.guest.write_later(f"{MEMORY_DIR}/memory{number}/state", "offline")
    vm.wait_for("a page that can't go",
                lambda: "failed ret:" in vm.guest.dmesg())


def test_unbind_while_offlining_is_stuck(boot):
    """Let go of the device while its thread waits for a stuck offlining."""
    vm = boot()
    vm.resize_exact(vm0=130 * MIB)
    begin_stuck_offlining(vm)
    vm.resize("vm0", 192 * MIB)
    vm.wait_for("the driver to plug", lambda: vm.size("vm0") > 130 * MIB)
    name = vm.unbind()
    vm.guest.drop("page")
    vm.bind(name)
    vm.wait_for_size("vm0", 192 * MIB)


def test_sleep_while_offlining_is_stuck(boot):
    """Sleep while the device's thread waits for a stuck offlining."""
    vm = boot()
    vm.resize_exact(vm0=256 * MIB)
    vm.prepare_sleep()
    begin_stuck_offlining(vm)
    vm.resize("vm0", GIB)
    vm.sleep()
    vm.guest.drop("page")
    vm.wait_for_size("vm0", GIB)


def test_no_onlining_without_device(boot):
    """Refuse to bring memory online whose device has gone, and only then."""
    vm = boot(Device("vm0", GIB, options={"addr": "8.1"}), machine="pc",
              arguments=SLOT, cmdline="memhp_default_state=offline")
    vm.resize("vm0", 256 * MIB)
    vm.wait_for_size("vm0", 256 * MIB)
    vm.wait_for_log("256 MiB wait to be onlined")
    *_, first, second = sorted(vm.guest.memory_blocks())
    name = vm.unbind()
    vm.guest.set_memory_block(first, "online_movable")
    assert vm.guest.mem_total() == vm.boot_total + 128 * MIB
    vm.guest.set_memory_block(first, "offline")
    vm.bind(name)
    vm.qmp("device_del", id="first")
    vm.wait_for("the slot to be empty", lambda: not vm.devices())
    with pytest.raises(GuestError, match="No such device"):
        vm.guest.set_memory_block(second, "online_movable")


def test_unbind_any_time(boot, seed):
    """Lose no memory when the device goes and comes back at random moments."""
    rng = random.Random(seed)
    vm = boot()
    for size in (4 * GIB, 130 * MIB, 6 * GIB, 2 * GIB, 5 * GIB, 0):
        vm.resize("vm0", size)
        time.sleep(rng.uniform(0, 0.2))
        vm.bind(vm.unbind())
        vm.wait_exact(vm0=size)


def is_caught_half_way(vm):
    """
    Has the kernel use a page in the middle of the only block, and asks for its
    memory.  Says whether the first memory block was seen offline, before the
    driver gave up.
    """
    vm.guest.sprinkle(vm.devices()["vm0"]["memaddr"] + GIB)
    first = min(vm.device_memory_blocks())
    told = vm.guest.dmesg().count("trying on")
    vm.resize("vm0", 0)
    seen = []

    def ended():
        seen[:] = [vm.guest.read(f"{MEMORY_DIR}/memory{first}/state").strip()]
        return (seen == ["offline"]
                or vm.guest.dmesg().count("trying on") > told)

    vm.wait_for("the first block to go", ended)
    return seen == ["offline"]


def test_unbind_half_way(boot):
    """Bring back online what went offline before a page in the way ended it."""
    vm = boot(Device("vm0", 2 * GIB, block_size=2 * GIB))
    vm.resize_exact(vm0=2 * GIB)
    for _ in range(50):     # a busy host may look too late some times
        if is_caught_half_way(vm):
            break
        vm.guest.end_sprinkle()
        vm.resize_exact(vm0=2 * GIB)
    else:
        pytest.fail("nothing was ever seen offline")
    vm.resize("vm0", 2 * GIB)
    name = vm.unbind()
    vm.wait_for_log("in use without its device")
    vm.bind(name)
    vm.wait_exact(vm0=2 * GIB)
    vm.guest.end_sprinkle()
