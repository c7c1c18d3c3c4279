# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest moves to another QEMU with part of its memory plugged."""

import pytest

from backends import unwatched
from testvm import GIB, MIB, VM, Device, MigrationError

PAIRS = [("ours", "ours"), ("ours", "stock-tree"), ("stock-tree", "ours")]
MACHINES = ["pc-q35-10.0", "pc-q35-7.2"]
SLOW = 8 * MIB          # bytes per second: a migration does not end by itself
PLUGGED = GIB + 6 * MIB


def plug_and_fill(vm):
    """Leaves the guest with memory plugged, most of it in use."""
    vm.resize_exact(vm0=PLUGGED)
    vm.guest.hold("data", GIB)


def check_moved(vm):
    """Nothing was lost, and the device works on."""
    vm.wait_exact(vm0=PLUGGED)
    vm.guest.verify("data")
    vm.resize_exact(vm0=2 * GIB)
    vm.guest.verify("data")
    vm.guest.drop("data")
    vm.resize_exact(vm0=130 * MIB)


def multifd(vm, there):
    vm.migrate(there, "multifd")


WAYS = {"precopy": VM.migrate, "postcopy": VM.migrate_postcopy,
        "multifd": multifd}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("source, target", PAIRS)
@pytest.mark.parametrize("way", WAYS)
def test_move(boot, way, source, target, machine):
    """Move with memory in use, then resize both ways on the target."""
    vm = boot(Device("vm0", 4 * GIB), qemu=source, machine=machine)
    plug_and_fill(vm)
    there = boot.twin(vm, qemu=target)
    WAYS[way](vm, there)
    check_moved(there)


@pytest.mark.parametrize("early", ["on", "off"])
def test_postcopy_with_prealloc(boot, early):
    """Leave room for the pages that follow, where others are there at once."""
    vm = boot(Device("vm0", 4 * GIB, options={"prealloc": "on",
                                              "x-early-migration": early}))
    plug_and_fill(vm)
    there = boot.twin(vm)
    vm.migrate_postcopy(there)
    check_moved(there)


def test_resize_in_postcopy(boot):
    """Change no block until all memory has followed, and go on with it then."""
    vm = boot(Device("vm0", 4 * GIB))
    vm.resize_exact(vm0=GIB)
    vm.guest.hold("data", 700 * MIB)
    there = boot.twin(vm)
    vm.qmp("migrate-set-parameters", max_postcopy_bandwidth=SLOW)
    vm.start_postcopy(there)
    there.resize("vm0", 2 * GIB)
    there.wait_for_log("the host is busy")
    assert there.size("vm0") == GIB
    vm.qmp("migrate-set-parameters", max_postcopy_bandwidth=0)
    vm.wait_migration("completed")
    there.wait_exact(vm0=2 * GIB)
    there.guest.verify("data")


@pytest.mark.parametrize("options", [
    "prealloc=on", "dynamic-memslots=on", "x-early-migration=off",
    "prealloc=on,dynamic-memslots=on,x-early-migration=off"])
def test_options(boot, options):
    """Move with options that have to do with it."""
    values = dict(option.split("=") for option in options.split(","))
    vm = boot(Device("vm0", 4 * GIB, options=values))
    plug_and_fill(vm)
    there = boot.twin(vm)
    vm.migrate(there)
    if "prealloc" in values:
        assert there.host_resident("vm0") == PLUGGED
    check_moved(there)


def test_file(boot, tmp_path):
    """Be written to a file with a place for each page, and come back."""
    vm = boot(Device("vm0", 4 * GIB))
    plug_and_fill(vm)
    vm.save(tmp_path / "guest", "mapped-ram", "multifd")
    there = boot.twin(vm)
    vm.guest = None
    there.restore(tmp_path / "guest", "mapped-ram", "multifd")
    check_moved(there)


def test_snapshot_of_a_running_guest(boot, tmp_path):
    """Be written to a file while the guest goes on, and resizes."""
    vm = boot(Device("vm0", 4 * GIB))
    plug_and_fill(vm)
    vm.save(tmp_path / "guest", "background-snapshot")
    vm.guest.drop("data")
    vm.resize_exact(vm0=0)
    there = boot.twin(vm)
    there.restore(tmp_path / "guest")
    check_moved(there)


def test_shared_file(boot, tmp_path):
    """Move to a QEMU that maps the same file, without sending memory."""
    backend = f"memory-backend-file,share=on,mem-path={tmp_path}/memory"
    vm = boot(Device("vm0", 4 * GIB, options=unwatched(), backend=backend))
    plug_and_fill(vm)
    there = boot.twin(vm)
    vm.migrate(there, "x-ignore-shared")
    sent = vm.qmp("query-migrate")["ram"]["transferred"]
    assert sent < GIB, "memory of the shared file was sent"
    # What the source does now is none of the guest's business.
    vm.reset()
    check_moved(there)


@pytest.mark.parametrize("size", [2 * GIB, 514 * MIB])
def test_resize_before(boot, size):
    """Finish on the target what began on the source."""
    vm = boot(Device("vm0", 4 * GIB))
    vm.resize_exact(vm0=GIB)
    there = boot.twin(vm)
    vm.begin_resize("vm0", size)
    vm.migrate(there)
    there.wait_exact(vm0=size)


@pytest.mark.parametrize("size", [2 * GIB, 514 * MIB])
def test_resize_during(boot, size):
    """Change no block during a migration, and go on with it after."""
    vm = boot(Device("vm0", 4 * GIB))
    vm.resize_exact(vm0=GIB)
    vm.guest.hold("data", 300 * MIB)
    there = boot.twin(vm)
    vm.start_migration(there, bandwidth=SLOW)
    vm.resize("vm0", size)
    vm.wait_for_log("the host is busy")
    assert vm.size("vm0") == GIB
    vm.finish_migration(there)
    there.wait_exact(vm0=size)
    there.guest.verify("data")


def test_cancel(boot):
    """Go on after a cancelled migration, resize, and move with the next."""
    vm = boot(Device("vm0", 4 * GIB))
    vm.resize_exact(vm0=GIB)
    vm.guest.hold("data", 300 * MIB)
    first = boot.twin(vm)
    vm.start_migration(first, bandwidth=SLOW)
    vm.resize("vm0", 2 * GIB)
    vm.wait_for_log("the host is busy")
    vm.cancel_migration()
    boot.end(first)
    vm.wait_exact(vm0=2 * GIB)
    vm.resize_exact(vm0=514 * MIB)
    there = boot.twin(vm)
    vm.migrate(there)
    there.wait_exact(vm0=514 * MIB)
    there.guest.verify("data")


def test_reboot_during(boot):
    """Keep what is plugged when the guest restarts during a migration."""
    vm = boot(Device("vm0", 4 * GIB))
    vm.resize_exact(vm0=GIB)
    there = boot.twin(vm)
    vm.start_migration(there, bandwidth=SLOW)
    vm.reboot()
    assert vm.size("vm0") == GIB
    vm.finish_migration(there)
    assert there.size("vm0") == GIB
    there.load("ours")
    there.wait_exact(vm0=GIB)
    there.resize_exact(vm0=130 * MIB)


@pytest.mark.parametrize("machine", MACHINES)
def test_only_plugged_blocks_travel(boot, machine):
    """Send no page of 63 GiB that are not plugged."""
    vm = boot(Device("vm0", 64 * GIB), machine=machine)
    vm.resize_exact(vm0=GIB)
    vm.guest.hold("data", 700 * MIB)
    there = boot.twin(vm)
    vm.migrate(there)
    ram = vm.qmp("query-migrate")["ram"]
    # Each page at most twice: some change while they are sent.
    assert ram["duplicate"] + ram["normal"] <= 2 * 2 * GIB // ram["page-size"]
    assert there.host_resident("vm0") <= GIB
    there.guest.verify("data")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("changed, message", [
    ({"size": 5 * GIB}, "Size mismatch: 0000:00:01.0/vm0-mem"),
    ({"block_size": 4 * MIB}, "block-size"),
    ({"node": 1}, "'node' is 0x0 on the source, but 0x1 here"),
    ({"options": {"memaddr": 0x140000000}}, "memaddr"),
], ids=["size", "block-size", "node", "address"])
def test_different_target(boot, machine, changed, message):
    """Refuse a source whose device is another one, and say what differs."""
    described = {"id": "vm0", "size": 4 * GIB}
    vm = boot(Device(**described), driver=None, guest=False, nodes=2,
              machine=machine)
    there = boot.twin(vm, devices=[Device(**(described | changed))])
    path = vm.directory + "/guest"
    vm.save(path)
    assert message in there.fails_to_restore(path)
