# SPDX-License-Identifier: GPL-2.0-or-later
"""What the driver tells of its work, in debugfs and in the kernel's log."""

import re

import pytest

from testvm import GIB, MIB, Device

DEBUGFS = "/sys/kernel/debug/virtio_mem"
MEMORY = "/sys/devices/system/memory"


def table(vm, name):
    """Rows of a file in debugfs, by its headings."""
    device, = vm.guest.list(DEBUGFS)
    heading, *rows = vm.guest.read(f"{DEBUGFS}/{device}/{name}").splitlines()
    names = heading.split()
    return [dict(zip(names, row.split(maxsplit=len(names) - 1)))
            for row in rows]


def status(vm):
    device, = vm.guest.list(DEBUGFS)
    lines = vm.guest.read(f"{DEBUGFS}/{device}/status").splitlines()
    return dict(re.split(r":\s+", line, maxsplit=1) for line in lines)


def requests(vm, kind):
    row, = [row for row in table(vm, "requests") if row["request"] == kind]
    return {name: int(row[name]) for name in row if name != "request"}


def refused(vm, size=0):
    """Asks for less than can be, and returns once the driver gave up."""
    vm.resize("vm0", size)
    vm.wait_for("the driver to give up for now",
                lambda: "trying on" in vm.guest.dmesg())


def test_status(boot):
    """Show sizes and states, to the byte."""
    vm = boot(Device("vm0", 4 * GIB))
    vm.resize_exact(vm0=GIB + 2 * MIB)
    shown = status(vm)
    device = vm.devices()["vm0"]
    assert int(shown["address"], 0) == device["memaddr"]
    assert int(shown["region_size"]) == 4 * GIB
    assert int(shown["requested_size"]) == GIB + 2 * MIB
    assert int(shown["plugged_size"]) == GIB + 2 * MIB
    assert int(shown["block_size"]) == 2 * MIB
    assert int(shown["chunks_added"]) == 9
    assert int(shown["chunks_partly"]) == 1
    assert int(shown["chunks_absent"]) == 32 - 9
    assert int(shown["memory_blocks_online"]) == 9
    assert shown["result"] == "done"


def test_few_requests(boot):
    """Plug and unplug 8 GiB with no more than 8 requests each way."""
    vm = boot()
    vm.resize_exact(vm0=8 * GIB)
    vm.resize_exact(vm0=0)
    for kind in ("plug", "unplug"):
        asked = requests(vm, kind)
        assert 1 <= asked.pop("ack") <= 8
        assert not any(asked.values())


def test_resizes(boot):
    """Tell the last resizes, from where to where, and how they ended."""
    vm = boot()
    for size in (GIB, 256 * MIB):
        vm.resize_exact(vm0=size)
    vm.wait_for("the resize to be told",
                lambda: table(vm, "resizes")[-1]["result"] == "done")
    grown, shrunk = table(vm, "resizes")[-2:]
    assert (int(grown["from"]), int(grown["to"])) == (0, GIB)
    assert (int(shrunk["from"]), int(shrunk["to"])) == (GIB, 256 * MIB)
    assert int(shrunk["attempts"]) == 1
    assert int(shrunk["us"]) > 0


def test_work(boot):
    """Count what was added and removed, and the time it took."""
    vm = boot()
    vm.resize_exact(vm0=GIB)
    vm.resize_exact(vm0=0)
    work = {row["work"]: row for row in table(vm, "work")}
    # What nobody uses goes 512 MiB at a time, after a hole was made.
    for name, times in (("add", 8), ("remove", 3)):
        assert int(work[name]["times"]) == times
        assert int(work[name]["failed"]) == 0
        assert 0 < int(work[name]["longest_us"]) <= int(work[name]["us"])


def test_pinned_page_named(boot):
    """Name the pinned page in the way, its block and how often it was."""
    vm = boot()
    vm.resize_exact(vm0=GIB)
    vm.guest.pin("page", 65536)
    refused(vm)
    row, = table(vm, "obstacles")
    assert row["kind"] == "pinned"
    block = int(row["block"])
    address = vm.devices()["vm0"]["memaddr"]
    assert (int(row["page"], 0) - address) // (2 * MIB) == block
    assert f"such as a pinned page in block {block}" in vm.guest.dmesg()
    vm.wait_for("a retry", lambda: int(
        table(vm, "obstacles")[0]["times"]) > int(row["times"]))
    assert status(vm)["result"] == "memory is in use"
    assert int(status(vm)["next_retry_ms"]) > 0
    vm.guest.drop("page")
    vm.wait_exact(vm0=0)
    assert int(table(vm, "resizes")[-1]["attempts"]) > 1


def test_kernel_page_named(boot):
    """Name a page of the kernel's own that is in the way."""
    vm = boot()
    vm.resize_exact(vm0=2 * GIB)
    address = vm.devices()["vm0"]["memaddr"] + GIB + 8192
    vm.guest.sprinkle(address)
    refused(vm)
    row, = table(vm, "obstacles")
    assert int(row["page"], 0) == address
    assert row["kind"] == "kernel"
    assert int(row["block"]) == GIB // (2 * MIB)
    vm.guest.end_sprinkle()
    vm.wait_exact(vm0=0)


def test_broken_page_goes_too(boot):
    """Take a broken page back with its memory block, whatever the zone."""
    vm = boot(Device("vm0", 2 * GIB),
              cmdline="memhp_default_state=online_kernel")
    if "hard_offline_page" not in vm.guest.list(MEMORY):
        pytest.skip("this kernel does without CONFIG_MEMORY_FAILURE")
    vm.resize_exact(vm0=2 * GIB)
    # Linux begins to use memory at its start.
    last = vm.devices()["vm0"]["memaddr"] + 2 * GIB - 128 * MIB
    vm.guest.write(f"{MEMORY}/hard_offline_page", f"{last + 64 * MIB:#x}")
    vm.resize("vm0", GIB)
    vm.wait_for("the shrink", lambda: vm.size("vm0") == GIB)
    assert last // (128 * MIB) not in vm.guest.memory_block_numbers()


@pytest.mark.parametrize("policy", ["online_kernel", "online_movable"])
def test_kernel_pages_not_tried(boot, policy):
    """Try to move nothing out of memory that the kernel itself uses."""
    vm = boot(Device("vm0", 2 * GIB),
              cmdline=f"memhp_default_state={policy}")
    vm.resize_exact(vm0=2 * GIB)
    # One in each memory block: none can go as a whole.
    vm.guest.sprinkle(vm.devices()["vm0"]["memaddr"], 128 * MIB, 16)
    refused(vm)
    kinds = {row["kind"] for row in table(vm, "obstacles")}
    assert kinds and kinds <= {"slab", "page-table", "kernel", "reserved"}
    assert {row["work"]: row["times"] for row in table(vm, "work")}[
        "remove"] == "0"
    assert "page dumped because" not in vm.guest.dmesg()


def test_unplug_online_named(boot):
    """Say that the parameter unplug_online stands in the way."""
    vm = boot(parameters={"unplug_online": 0})
    vm.resize_exact(vm0=GIB)
    refused(vm)
    assert status(vm)["result"] == "unplug_online forbids it"


def test_ends_named(boot):
    """Say that the ends of the region can't be used."""
    vm = boot(Device("vm0", GIB + 64 * MIB))
    vm.resize("vm0", GIB + 64 * MIB)
    vm.wait_for_log("1024 MiB plugged of 1088 MiB requested: no room to add "
                    "memory (-28), 64 MiB at its ends fill no memory block")
    vm.resize_exact(vm0=GIB)


def test_busy_host_named(boot, host):
    """Count the BUSY answers of a host that keeps the memory."""
    vm = boot()
    vm.resize_exact(vm0=GIB)
    vm.guest.hold("all", GIB + 128 * MIB)
    vm.guest.drop("all")
    host.begin("keeps-memory")
    refused(vm)
    assert status(vm)["result"] == "the host is busy"
    assert requests(vm, "unplug")["busy"] >= 1
    host.end("keeps-memory")
    vm.wait_exact(vm0=0)


@pytest.mark.parametrize("count", [1, 40])
def test_nothing_shown_without_device(boot, count):
    """Show a device while it is bound, whoever reads at the time."""
    vm = boot()
    for _ in range(count):
        assert len(vm.guest.list(DEBUGFS)) == 1
        name = vm.unbind()
        assert vm.guest.list(DEBUGFS) == []
        vm.bind(name)
    vm.guest.unload()
    assert "virtio_mem" not in vm.guest.list("/sys/kernel/debug")
    vm.load()


def test_one_line_a_resize(boot):
    """Write one line for each resize that is done, none for blocks."""
    vm = boot()
    vm.wait_for_log("0 MiB plugged, as requested")
    before = vm.guest.dmesg().count("virtio_mem virtio")
    for size_mib in (4096, 1024):
        vm.resize_exact(vm0=size_mib * MIB)
        vm.wait_for_log(f"{size_mib} MiB plugged, as requested")
    assert vm.guest.dmesg().count("virtio_mem virtio") == before + 2
