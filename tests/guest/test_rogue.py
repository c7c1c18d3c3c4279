# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that goes on using what it unplugged, or never plugged."""

import pytest

from backends import huge_device
from testvm import GIB, MIB, Device
from testvm.storage import disk_arguments

EVENT = "MEMORY_DEVICE_VIOLATION"
PAGE = 4096
PAGES = 48
SIZE = 8 * GIB
PLUGGED = GIB

# Was plugged and is no longer, wherever the driver left a hole.
UNPLUGGED = PLUGGED + 512 * MIB

# What rogue uses, as (start in the region, bytes from one page to the next)
PLACES = {
    "just-unplugged": (UNPLUGGED, 2 * MIB),
    "not-usable": (SIZE - GIB, PAGE),
    "the-last": (SIZE - PAGES * PAGE, PAGE),
}


def boot_empty(boot, mode, action="report", **arguments):
    """A guest that plugged nothing yet."""
    vm = boot(Device("vm0", SIZE, options={
        "unplugged-protection": mode, "protection-action": action,
        "protection-interval": 50}), **arguments)
    vm.base = vm.devices()["vm0"]["memaddr"]
    return vm


def boot_protected(boot, mode, action="report", **arguments):
    """A guest that plugged 2 GiB, and gave one back; "data" is in use."""
    vm = boot_empty(boot, mode, action, **arguments)
    vm.resize_exact(vm0=2 * PLUGGED)
    vm.resize_exact(vm0=PLUGGED)
    vm.guest.hold("data", 256 * MIB)
    return vm


def protection(vm):
    return vm.devices()["vm0"]["protection"]


def violations(vm):
    info = protection(vm)
    return info["writes"], info["reads"], info["found"]


def told(vm, kind):
    """How many of a kind the events stand for."""
    return sum(event["data"]["count"] for event in vm.events(EVENT)
               if event["data"]["kind"] == kind)


def use_until(vm, start, stride, count, back):
    """
    Has the guest write `count` pages, and read them once the host has all
    `back`.  Returns how many it kept.
    """
    vm.guest.use_physical_later(start, stride, count, waits=True)
    vm.wait_for("the guest to write", vm.guest.has_written_physical)
    vm.wait_for("the host to have all back", back)
    vm.guest.read_physical()
    vm.wait_for("the guest to read", vm.guest.has_used_physical)
    return vm.guest.end_use_physical()


def use_pages(vm, start=UNPLUGGED, stride=2 * MIB):
    """The same for PAGES pages, from an address in the region on."""
    resident = vm.host_resident("vm0")
    return use_until(vm, vm.base + start, stride, PAGES,
                     lambda: vm.host_resident("vm0") <= resident)


def check_end(vm, resident):
    """Nothing was gained, and nobody else lost anything."""
    vm.wait_for("the host's memory",
                lambda: vm.host_resident("vm0") <= resident)
    vm.guest.verify("data")
    vm.resize_exact(vm0=2 * PLUGGED)
    vm.resize_exact(vm0=0)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", ["write", "full"])
def test_write(boot, mode, place):
    """Catch each write of a vCPU, tell it, and let nothing last."""
    vm = boot_protected(boot, mode)
    start, stride = PLACES[place]
    resident = vm.host_resident("vm0")
    assert violations(vm) == (0, 0, 0)
    assert use_pages(vm, start, stride) == 0
    writes, reads, found = violations(vm)
    assert writes >= PAGES and found == 0
    assert (reads >= PAGES) == (mode == "full")
    vm.wait_for("the events", lambda: told(vm, "write") == writes and
                told(vm, "read") == reads)
    event = vm.events(EVENT)[0]["data"]
    assert event["kind"] == "write" and event["id"] == "vm0"
    assert event["qom-path"] == "/machine/peripheral/vm0"
    assert event["cpu-index"] in (0, 1)
    assert 0 <= event["memaddr"] - event["block"] < 2 * MIB
    assert 0 <= event["memaddr"] - vm.base - start < PAGES * stride
    check_end(vm, resident)


@pytest.mark.parametrize("kernel", ["new", "old"])
def test_audit(boot, host, kernel):
    """Find what was written, tell it, and give it back."""
    if kernel == "old":
        host.begin("old")
    vm = boot_protected(boot, "audit")
    resident = vm.host_resident("vm0")
    assert use_pages(vm) == 0
    writes, reads, found = violations(vm)
    assert writes == 0 and reads == 0 and found >= PAGES
    vm.wait_for("the events", lambda: told(vm, "found") == found)
    check_end(vm, resident)


@pytest.mark.xdist_group("hugetlb")
@pytest.mark.parametrize("mode,kernel", [
    ("audit", "new"), ("audit", "old"), ("write", "new"), ("full", "new")])
def test_hugetlb(boot, host, hugepages, mode, kernel):
    """Give each page of 2 MiB back to the host's pool."""
    if kernel == "old":
        host.begin("old")
    pages = hugepages(2 * MIB, 100)
    before = pages.free
    vm = boot(huge_device(GIB, "2M", **{
        "prealloc": "on", "unplugged-protection": mode,
        "protection-interval": 50}))
    vm.resize_exact(vm0=128 * MIB)
    base = vm.devices()["vm0"]["memaddr"]
    vm.guest.hold("data", 64 * MIB)
    assert use_until(vm, base + 512 * MIB, 2 * MIB, 16,
                     lambda: pages.free == before - 64) == 0
    writes, reads, found = violations(vm)
    assert found >= 16 if mode == "audit" else writes >= 16
    assert bool(reads) == (mode == "full")
    vm.wait_for("the pool to have all back", lambda: pages.free == before - 64)
    vm.guest.verify("data")
    vm.guest.drop("data")
    vm.resize_exact(vm0=0)
    assert pages.free == before


def test_off(boot):
    """Show that without protection such a guest has the memory."""
    vm = boot_protected(boot, "off")
    resident = vm.host_resident("vm0")
    kept = vm.guest.use_physical(vm.base + UNPLUGGED, 2 * MIB, PAGES)
    assert kept == PAGES
    assert vm.host_resident("vm0") >= resident + PAGES * PAGE
    assert "protection" not in vm.devices()["vm0"]
    assert not vm.events(EVENT)


@pytest.mark.parametrize("mode", ["write", "full"])
def test_read(boot, mode):
    """Let a vCPU read zeroes, or tell of it, as the mode says."""
    vm = boot_protected(boot, mode)
    resident = vm.host_resident("vm0")
    vm.guest.use_physical(vm.base + UNPLUGGED, 2 * MIB, PAGES, reads=True)
    writes, reads, found = violations(vm)
    assert writes == 0 and found == 0
    assert reads >= PAGES if mode == "full" else reads == 0
    check_end(vm, resident)


@pytest.mark.parametrize("mode", ["write", "full"])
def test_first(boot, mode):
    """Catch what begins at the region's first byte when nothing is plugged."""
    vm = boot_empty(boot, mode)
    assert use_pages(vm, 0, PAGE) == 0
    assert violations(vm)[0] >= PAGES
    vm.wait_for("the host's memory", lambda: vm.host_resident("vm0") == 0)
    vm.resize_exact(vm0=GIB)


@pytest.mark.parametrize("mode", ["off", "audit", "write", "full"])
def test_execute(boot, mode):
    """Let no code last, and call what a vCPU fetches a read."""
    vm = boot_protected(boot, mode)
    resident = vm.host_resident("vm0")
    vm.guest.put_code(vm.base + UNPLUGGED)
    if mode != "off":
        vm.wait_for("the host's memory",
                    lambda: vm.host_resident("vm0") <= resident)
    assert vm.guest.execute_code(vm.base + UNPLUGGED) == (mode == "off")
    if mode != "off":
        writes, reads, found = violations(vm)
        assert bool(writes) == (mode in ("write", "full"))
        assert bool(reads) == (mode == "full")
        assert bool(found) == (mode == "audit")
        check_end(vm, resident)


@pytest.mark.parametrize("mode", ["off", "audit", "write", "full"])
def test_dma(boot, mode, tmp_path):
    """Catch what a disk writes, and tell that it was no vCPU."""
    disk = tmp_path / "disk"
    disk.write_bytes(b"\x42" * MIB)
    vm = boot_empty(boot, mode, arguments=disk_arguments(disk))
    vm.guest.load_kernels_own("virtio_blk")
    # Linux knows all pages of a memory block of which a part is plugged.
    vm.resize_exact(vm0=64 * MIB)
    resident = vm.host_resident("vm0")
    vm.guest.fetch_physical("/dev/vda", vm.base + 96 * MIB, PAGES)
    if mode == "off":
        assert vm.host_resident("vm0") >= resident + PAGES * PAGE
        return
    kind = "found" if mode == "audit" else "write"
    vm.wait_for("all to be told", lambda: told(vm, kind) >= PAGES)
    assert "cpu-index" not in vm.events(EVENT)[0]["data"]
    vm.wait_for("the host's memory",
                lambda: vm.host_resident("vm0") <= resident)
    vm.resize_exact(vm0=GIB)


@pytest.mark.parametrize("mode,page,rounds", [("write", 0, 10000),
                                              ("full", 511, 1000)])
def test_race(boot, mode, page, rounds):
    """Unplug without a moment in which another CPU could keep a page."""
    # One that runs each CPU in a thread of its own; the second one comes late,
    # as Linux must not replace instructions that it runs (see testvm/vm.py).
    vm = boot(Device("vm0", SIZE, block_size=2 * MIB, requested_size=64 * MIB,
                     options={"unplugged-protection": mode,
                              "protection-interval": 10}),
              driver=None, accel="tcg,thread=multi", cmdline="maxcpus=1")
    vm.guest.write("/sys/devices/system/cpu/cpu1/online", "1")
    assert vm.guest.race(rounds, page) == {
        "ran": rounds, "stale": 0, "refused": 0, "damaged": 0}
    writes, _, found = violations(vm)
    # In most rounds it wrote in time.
    assert writes > rounds / 2 and found == 0
    vm.wait_for("the host's memory",
                lambda: vm.host_resident("vm0") <= 4 * MIB)


def test_discard(boot):
    """Let nothing last, and tell nobody."""
    vm = boot_protected(boot, "write", "discard")
    resident = vm.host_resident("vm0")
    assert use_pages(vm) == 0
    assert violations(vm)[0] >= PAGES
    check_end(vm, resident)
    assert not vm.events(EVENT)


def test_shutdown(boot):
    """End the machine, and say why."""
    vm = boot_protected(boot, "write", "shutdown", arguments=["-no-shutdown"])
    vm.guest.begin_use_physical(vm.base + UNPLUGGED)
    vm.wait_for("the end", lambda: vm.events("SHUTDOWN"))
    assert vm.events("SHUTDOWN")[0]["data"]["reason"] == "host-error"
    assert vm.events(EVENT)[0]["data"]["action"] == "shutdown"
    boot.end(vm)


def test_pause(boot):
    """Stop the machine at the access, and let it go on when told to."""
    vm = boot_protected(boot, "write", "pause")
    resident = vm.host_resident("vm0")
    vm.guest.begin_use_physical(vm.base + UNPLUGGED)
    vm.wait_for("the stop", lambda: vm.events("STOP"))
    assert vm.qmp("query-status")["status"] == "paused"
    writes, reads, found = violations(vm)
    assert writes and not reads and not found
    vm.qmp("cont")
    assert vm.guest.finish_use_physical() == 0
    check_end(vm, resident)


def check_protected(vm):
    """Waits until the guard is back, and sees that it catches what it should."""
    vm.wait_for("the guard",
                lambda: protection(vm)["guarded"] == SIZE - PLUGGED)
    before = violations(vm)[0]
    assert use_pages(vm) == 0
    assert violations(vm)[0] >= before + PAGES
    vm.guest.verify("data")


def test_snapshot(boot, tmp_path):
    """Step aside for a snapshot of the running guest, and come back."""
    vm = boot_protected(boot, "full")
    vm.save(tmp_path / "guest", "background-snapshot")
    check_protected(vm)
    there = boot.twin(vm)
    there.base = vm.base
    there.restore(tmp_path / "guest")
    check_protected(there)


def test_postcopy(boot):
    """Begin on the target when all of its memory has come."""
    vm = boot_protected(boot, "full")
    there = boot.twin(vm)
    there.base = vm.base
    vm.migrate_postcopy(there)
    check_protected(there)


def test_storm(boot):
    """Bear a guest that never stops, without memory, and without many words."""
    vm = boot_protected(boot, "write")
    resident = vm.host_resident("vm0")
    vm.guest.use_physical_later(vm.base + UNPLUGGED, PAGE, 8000)
    vm.wait_for("the storm", lambda: violations(vm)[0] > 100)
    while not vm.guest.has_used_physical():
        assert vm.host_resident("vm0") <= resident + MIB
    assert vm.guest.end_use_physical() <= 1
    writes, _, found = violations(vm)
    vm.wait_for("the events", lambda: told(vm, "write") == writes)
    assert found == 0
    assert len(vm.events(EVENT)) < writes / 100
    assert vm.stderr().count("unplugged memory") == 1
    check_end(vm, resident)
