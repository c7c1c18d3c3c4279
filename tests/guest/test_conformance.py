# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the specification asks of our driver (docs/conformance.md), as a device
sees it that watches (hw/misc/virtio-mem-odd.c), or whoever owns its memory.
"""

from dataclasses import dataclass

import pytest

from odd import BASE, BLOCK, Odd, OddDevice
from test_dump import outside_of_memory, use_with_holes
from test_kdump import plugged_extents
from testvm import GIB, MIB, Device, GuestError, backing
from testvm.guest import MEMORY_DIR

HALF = 512 * MIB
MEMORY_BLOCK = 128 * MIB

# Seconds: nothing here takes long, but some of it may never come.
LIMIT = 120

SHARED = "memory-backend-memfd,share=on,reserve=off"

# Feature bits
ACPI_PXM = 1 << 0
UNPLUGGED_INACCESSIBLE = 1 << 1
PERSISTENT_SUSPEND = 1 << 2
KNOWN = ACPI_PXM | UNPLUGGED_INACCESSIBLE | PERSISTENT_SUSPEND
OF_THE_DEVICE = (1 << 24) - 1       # others belong to virtio itself
# Ours; see docs/wire-format.md
X_REPORT = 1 << 23


@pytest.fixture
def odd(boot):
    """odd(**fields of OddDevice) boots a guest that has only this device."""
    def _odd(boot_with=None, **fields):
        vm = boot(OddDevice("odd0", 0, **fields),
                  **{"timeout": LIMIT, **(boot_with or {})})
        return Odd(vm, vm.configured[0])

    return _odd


def rebind(device):
    device.unbind()
    device.bind()


def resize_exact(device, size):
    """Returns once the guest has the memory; no other device has any."""
    device.resize(size)
    device.vm.wait_for(f"MemTotal to have {size} bytes more", lambda: device.vm
                       .guest.mem_total() == device.vm.boot_total + size)


def log_since(device, before, kind):
    """Requests of a kind after the first `before`: (address, blocks)."""
    return [(address, number) for name, address, number
            in device.log()[before:] if name == kind]


# The configuration space, and what must be ignored


def test_configuration_is_only_read(odd):
    """Write to no field of the configuration in a whole life."""
    device = odd()
    device.resize(HALF)
    rebind(device)
    device.tell(unplug="error", requested_size=0)
    device.wait_for_line("odd answer")
    device.be_sane()
    device.wait_for_size(0)
    device.vm.guest.unload()
    device.vm.load()
    device.resize(BLOCK)
    assert device.get("nb-config-writes") == 0


def check_padding(device):
    """All kinds of requests, and nothing that the driver finds odd."""
    device.resize(HALF)
    rebind(device)
    for size in (GIB, 130 * MIB):
        device.resize(size)
    device.vm.wait_for("the last resize to be told", lambda: device.lines()
                       and "130 MiB plugged, as" in device.lines()[-1])
    assert {kind for kind, _, _ in device.log()} == {
        "plug", "unplug", "unplug-all", "state"}
    assert not any("odd" in line for line in device.lines())
    assert device.get("nb-wrong") == 0


def test_padding_is_ignored(boot):
    """Work the same whatever is in padding, or in fields without a use."""
    vm = boot(*[OddDevice(f"odd{place}", place, {"fill": fill,
                                                 "plugged-size": HALF})
                for place, fill in enumerate((1, 0x80, 0xff))], timeout=LIMIT)
    for configured in vm.configured:
        check_padding(Odd(vm, configured))


# Features


@pytest.mark.parametrize("negotiated", [True, False])
def test_node_id(boot, negotiated):
    """Believe the node that the device names only with its feature."""
    features = KNOWN if negotiated else KNOWN & ~ACPI_PXM
    vm = boot(*[OddDevice(f"odd{node}", node, {"features": features,
                                               "node-id": node})
                for node in (0, 1)], nodes=2)
    status = [Odd(vm, device).debugfs("status") for device in vm.configured]
    assert ["node: " in text for text in status] == [True, True]
    nodes = [int(text.split("node: ")[1].split()[0]) for text in status]
    assert (nodes == [0, 1]) == negotiated
    assert negotiated or nodes[0] == nodes[1]


def test_features(boot):
    """Accept the features that are known, and no other."""
    offers = (0, UNPLUGGED_INACCESSIBLE, KNOWN, OF_THE_DEVICE)
    vm = boot(*[OddDevice(f"odd{place}", place, {"features": offer})
                for place, offer in enumerate(offers)], timeout=LIMIT)
    for configured, offer in zip(vm.configured, offers):
        device = Odd(vm, configured)
        device.resize(BLOCK)
        accepted = device.get("driver-features") & OF_THE_DEVICE
        assert accepted == offer & (KNOWN | X_REPORT)


def test_no_sleep_without_the_feature(odd):
    """Keep the guest awake while memory is plugged that sleep might lose."""
    device = odd(options={"features": KNOWN & ~PERSISTENT_SUSPEND})
    device.resize(HALF)
    with pytest.raises(GuestError, match="not permitted"):
        device.vm.guest.write("/sys/power/state", "mem")
    device.wait_for_line("cannot suspend: memory is plugged")
    assert not device.vm.events("SUSPEND")
    device.resize(GIB)
    device.resize(0)
    device.vm.sleep()
    device.resize(BLOCK)


# Memory that is not plugged


def test_memory_in_use_is_never_unplugged_at_once(odd):
    """Ask for the state of memory in use, and keep it, when bound again."""
    device = odd()
    device.resize(HALF)
    before = len(device.log())
    rebind(device)
    device.vm.wait_for("the driver to ask",
                       lambda: log_since(device, before, "state"))
    device.resize(GIB)
    assert not log_since(device, before, "unplug-all")
    assert not log_since(device, before, "unplug")


def look_everywhere(vm, address, size):
    """Everyone in the guest who might touch memory has a look."""
    vm.guest.read_kcore(address, size)
    vm.guest.write("/proc/sys/vm/drop_caches", "3")
    vm.guest.write("/proc/sys/vm/compact_memory", "1")
    vm.guest.hold("look", 64 * MIB)
    vm.guest.drop("look")


def test_dev_mem(boot):
    """Keep /dev/mem off the whole region, plugged or not."""
    vm = boot(Device("vm0", GIB))
    if "mem" not in vm.guest.list("/dev"):
        pytest.skip("this kernel has no /dev/mem")
    address = vm.devices()["vm0"]["memaddr"]
    vm.resize_exact(vm0=256 * MIB)
    for offset in (0, GIB // 2, GIB - 4096):
        with pytest.raises(GuestError, match="not permitted"):
            vm.guest.map_devmem(address + offset)
    vm.guest.map_devmem(address + GIB)         # nothing is there


@pytest.mark.parametrize("start", [0, 130 * MIB])
def test_nothing_is_touched_before_the_answer(odd, start):
    """Leave memory alone until the device has said that it is plugged."""
    device = odd(backend=SHARED, size=256 * MIB)
    vm = device.vm
    memory = backing.memfd(vm.pid, 256 * MIB)
    device.resize(start)
    device.tell(plug="late")
    device.begin_request("nb-plug", 256 * MIB)
    _, address, number = device.log()[-1]
    look_everywhere(vm, BASE, 256 * MIB)
    asked = (address - BASE, address - BASE + number * BLOCK)
    assert not backing.outside([asked], [(0, 256 * MIB)])
    assert backing.outside([asked], backing.populated(memory)) == [asked]
    device.be_sane()
    device.wait_for_size(256 * MIB)
    vm.guest.hold("data", 256 * MIB)
    assert backing.outside([asked], backing.populated(memory)) != [asked]


@pytest.mark.parametrize("target", [128 * MIB, 226 * MIB],
                         ids=["whole", "partly"])
def test_nothing_is_touched_after_the_request(odd, target):
    """Unplug only what nobody uses any more."""
    device = odd(backend=SHARED, size=256 * MIB)
    vm = device.vm
    memory = backing.memfd(vm.pid, 256 * MIB)
    resize_exact(device, 256 * MIB)
    vm.guest.use(256 * MIB)
    vm.guest.hold("data", 100 * MIB)
    device.tell(unplug="late")
    device.begin_request("nb-unplug", target)
    _, address, number = device.log()[-1]
    asked = (address - BASE, address - BASE + number * BLOCK)
    backing.punch(memory, asked)
    vm.guest.verify("data")
    look_everywhere(vm, BASE, 256 * MIB)
    assert backing.outside([asked], backing.populated(memory)) == [asked]
    device.be_sane()
    device.wait_for_size(target)
    vm.guest.verify("data")


@pytest.mark.parametrize("inaccessible", ["on", "off"])
def test_unplugged_memory_is_left_alone(boot, inaccessible):
    """Touch no hole in what is plugged, whoever goes through all memory."""
    size = 4 * GIB
    vm = boot(Device("vm0", size, backend=SHARED, options={
        "unplugged-inaccessible": inaccessible}), memory=HALF)
    use_with_holes(vm)
    plugged = plugged_extents(vm)
    assert len(plugged) > 1
    address = vm.devices()["vm0"]["memaddr"]
    look_everywhere(vm, address, size)
    assert not outside_of_memory(vm, plugged)


def test_contents_are_not_relied_on(odd):
    """Give programs zeroes, whatever was in memory when it was plugged."""
    # Linux zeroes pages when they are freed, and not again later.
    device = odd(backend=SHARED, size=256 * MIB, boot_with={
        "cmdline": "memhp_default_state=online_movable init_on_alloc=0"
                   " init_on_free=1"})
    memory = backing.memfd(device.vm.pid, 256 * MIB)
    backing.scribble(memory, (0, 256 * MIB))
    resize_exact(device, 256 * MIB)
    device.vm.guest.check_blank(240 * MIB)
    device.resize(226 * MIB)
    _, address, number = device.log()[-1]
    backing.scribble(memory, (address - BASE,
                              address - BASE + number * BLOCK))
    resize_exact(device, 256 * MIB)
    device.vm.guest.check_blank(240 * MIB)


def test_only_what_is_of_use_is_plugged(odd):
    """Plug nothing of memory blocks that the region has only a part of."""
    start = BASE + MEMORY_BLOCK // 2
    device = odd(options={"memaddr": start})
    device.tell(requested_size=GIB)
    device.wait_for_size(GIB - MEMORY_BLOCK)
    device.wait_for_line("no room")
    device.resize(BLOCK)
    for address, number in log_since(device, 0, "plug"):
        assert address >= BASE + MEMORY_BLOCK
        assert address + number * BLOCK <= BASE + GIB
    assert device.get("nb-wrong") == 0


def test_what_cannot_be_added_is_unplugged(odd):
    """Unplug what was plugged in vain, and plug it once it is of use."""
    device = odd()
    device.vm.guest.occupy(BASE + HALF, MIB)
    before = device.get("nb-unplug")
    device.tell(requested_size=GIB)
    # All other memory blocks are free.
    device.vm.wait_for_log(f"cannot add memory at {BASE + HALF:#x}")
    device.wait_for_line("no room to add memory")
    device.wait_for_request("nb-unplug", before)
    device.check_patience()
    assert device.vm.guest.dmesg().count("cannot add memory") == 1
    device.wait_for_size(7 * MEMORY_BLOCK)
    device.vm.guest.end_occupy()
    device.wait_for_size(GIB)
    assert device.get("nb-wrong") == 0


# A new target


@dataclass
class Turn:
    """
    A resize of all, during which the answer to a request is late, after
    `after` others: meanwhile the target is changed back.  At most `more`
    requests of that kind follow, for what Linux has lost already, and no
    `work`.
    """
    kind: str
    after: int
    work: str
    more: int = 0

    @property
    def targets(self):
        return (ALL, 0) if self.kind == "plug" else (0, ALL)


ALL = 8 * GIB

# The first requests to plug are for the first chunk, then for 2 GiB each.  The
# first to unplug is for 2 GiB but a chunk, which lies elsewhere: the next one.
TURNS = {
    "first-plug": Turn("plug", 0, "add"),
    "third-plug": Turn("plug", 2, "add"),
    "first-unplug": Turn("unplug", 0, "remove", more=1),
    "third-unplug": Turn("unplug", 2, "remove"),
}


@pytest.mark.parametrize("name", TURNS)
def test_turn_at_once(odd, name):
    """Begin nothing more on the way to a target that was changed."""
    turn = TURNS[name]
    # On one CPU, whoever hears of the late answer has heard of the target.
    device = odd(size=ALL, boot_with={"cpus": 1})
    there, back = turn.targets
    device.resize(back)
    counter = f"nb-{turn.kind}"
    before = device.get(counter)
    device.tell(**{turn.kind: "late", "odd_after": turn.after,
                   "requested_size": there})
    device.wait_for_request(counter, before + turn.after)
    done, asked = device.work(turn.work), len(device.log())
    device.tell(requested_size=back)
    device.tell(**{turn.kind: "sane"})
    device.wait_for_size(back)
    assert device.work(turn.work) == done
    assert len(log_since(device, asked, turn.kind)) <= turn.more
    assert device.get("nb-wrong") == 0


def test_turn_inside_a_chunk(odd):
    """Take no more blocks of a chunk once the target was changed."""
    size = MEMORY_BLOCK
    device = odd(size=size, boot_with={"cpus": 1})
    device.resize(size)
    device.vm.guest.hold("first", 64 * MIB)
    device.vm.guest.pin("page", 65536)      # so that not all can go at once
    device.vm.guest.drop("first")
    device.tell(unplug="late")
    device.begin_request("nb-unplug", 0)
    done = device.work("take")
    assert 0 < device.get("size") <= size - 2 * BLOCK
    device.tell(requested_size=size)
    device.tell(unplug="sane")
    device.wait_for_size(size)
    assert device.work("take") == done
    assert device.get("nb-unplug") == 1


def thread_stack(device):
    """Where in the kernel the device's thread waits."""
    guest = device.vm.guest
    name = "virtio_mem/" + device.name.removeprefix("virtio")
    for pid in guest.list("/proc"):
        if pid.isdigit() and guest.read(f"/proc/{pid}/comm").strip() == name:
            return guest.read(f"/proc/{pid}/stack")
    raise LookupError(name)


def resizes_done(device):
    return sum("plugged, as requested" in line for line in device.lines())


def begin_stuck_offlining(device):
    """
    Someone takes the only memory block of a device offline, which holds the
    lock for that, and gets nowhere as long as "page" is pinned.
    """
    vm = device.vm
    number = device.address // MEMORY_BLOCK
    vm.guest.write_later(f"{MEMORY_DIR}/memory{number}/state", "offline")
    vm.wait_for("a page that can't go",
                lambda: "failed ret:" in vm.guest.dmesg())


@pytest.mark.parametrize("work, function, start, target", [
    ("add", "add_memory_driver_managed", 256 * MIB, GIB),
    ("remove", "offline_and_remove_memory", GIB, 256 * MIB)],
    ids=["add", "remove"])
def test_turn_while_a_chunk_moves(boot, work, function, start, target):
    """Finish the memory block that is under way, and begin no other."""
    vm = boot(OddDevice("odd0", 0), OddDevice("odd1", 1), timeout=LIMIT,
              cpus=1)
    device, other = [Odd(vm, configured) for configured in vm.configured]
    resize_exact(other, MEMORY_BLOCK)
    vm.guest.pin("page", 65536)
    device.resize(start)
    begin_stuck_offlining(other)
    done, told = device.work(work), resizes_done(device)
    device.tell(requested_size=target)
    vm.wait_for("the thread to wait for the lock",
                lambda: function in thread_stack(device))
    device.tell(requested_size=start)
    vm.guest.drop("page")
    vm.wait_for("the resize to be over", lambda: resizes_done(device) > told)
    assert device.get("size") == start
    assert device.work(work) == done + 1
