# SPDX-License-Identifier: GPL-2.0-or-later
"""A dump of the guest's memory has what is plugged, and touches nothing else."""

import struct

import pytest

from dumps import ElfDump, KdumpDump, unflatten
from testvm import GIB, MIB, Device, backing, paths

SIZE = 4 * GIB
PLUGGED = 130 * MIB
SEED = 5
PAGE = 4096
WORD = struct.Struct("<Q")


def pattern_word(index):
    """What guest/pattern.c puts there."""
    return ((SEED + index) * 0x9e3779b97f4a7c15 ^ SEED << 32) % (1 << 64)


def use_with_holes(vm):
    """Plugs PLUGGED bytes with holes, and holds "data" at vm.frames."""
    vm.resize_exact(vm0=512 * MIB)
    vm.guest.hold("first", 256 * MIB)   # so that the page is in the middle
    vm.guest.pin("page", 65536)
    vm.guest.drop("first")
    vm.resize_exact(vm0=PLUGGED)
    vm.guest.hold("data", 64 * MIB, SEED)
    vm.frames = vm.guest.frames("data")


@pytest.fixture
def vm(boot):
    """
    Stopped, with holes in what is plugged, and "data" in use at `frames`.
    Reads of the holes would take memory of the host: the memory is shared.
    """
    machine = boot(Device("vm0", SIZE, backend="memory-backend-memfd,share=on,"
                                               "reserve=off"),
                   memory=512 * MIB)
    use_with_holes(machine)
    machine.qmp("stop")
    yield machine
    machine.qmp("cont")
    machine.guest.verify("data")


def dump(vm, name, paging=False, **arguments):
    """Returns the path of a dump, once it is written."""
    path = f"{vm.directory}/{name}"
    vm.qmp("dump-guest-memory", paging=paging, protocol=f"file:{path}",
           **arguments)
    return path


def read_dump(vm, form):
    """A dump in one of QEMU's formats."""
    path = dump(vm, "dump", format=form)
    if form == "elf":
        return ElfDump(path)
    if form == "kdump-zlib":
        unflatten(path, f"{path}.flat")
        path = f"{path}.flat"
    return KdumpDump(path)


def extents_of_device(vm, extents):
    """What of the extents is the device's, from the start of its memory on."""
    addr = vm.devices()["vm0"]["memaddr"]
    clipped = [(max(start - addr, 0), min(end - addr, SIZE))
               for start, end in extents]
    return backing.merge(extent for extent in clipped if extent[0] < extent[1])


def check_pattern(vm, read):
    """The guest's data is in the dump, at the places that the guest told."""
    addr = vm.devices()["vm0"]["memaddr"]
    assert any(address >= addr for address, _ in vm.frames)
    index = 0
    for address, size in vm.frames:
        data = read(address, size)
        assert len(data) == size
        for place in range(0, size, PAGE):
            assert WORD.unpack_from(data, place)[0] == pattern_word(index)
            index += PAGE // WORD.size
    assert index * WORD.size == 64 * MIB


def check_contents(vm, dumped, extents):
    """All plugged memory is in the dump as the host has it."""
    addr = vm.devices()["vm0"]["memaddr"]
    with open(backing.memfd(vm.pid, SIZE), "rb") as memory:
        for start, end in extents:
            for place in range(start, end, 2 * MIB):
                memory.seek(place)
                assert dumped.read(addr + place, 2 * MIB) == memory.read(
                    2 * MIB), f"contents differ at 0x{place:x}"


def check_dump(vm, form):
    """
    Returns what is plugged, which is exactly what is in the dump; nothing else
    takes memory of the host.
    """
    dumped = read_dump(vm, form)
    plugged = extents_of_device(vm, dumped.extents)
    assert backing.total(plugged) == PLUGGED
    assert len(plugged) > 1     # there are holes
    assert not outside_of_memory(vm, plugged)
    check_pattern(vm, dumped.read)
    check_contents(vm, dumped, plugged)
    return plugged


def outside_of_memory(vm, plugged):
    """What takes memory of the host, and is not plugged."""
    return backing.outside(backing.populated(backing.memfd(vm.pid, SIZE)),
                           plugged)


def test_elf_dump(vm):
    """Dump exactly what is plugged."""
    check_dump(vm, "elf")


@pytest.mark.skipif(paths.HAS_DEBUG_KERNEL,
                    reason="KASAN's page tables map terabytes of zeroes")
def test_elf_dump_by_page_tables(vm):
    """Dump nothing but plugged memory when it is found by page tables."""
    plugged = check_dump(vm, "elf")
    by_page_tables = ElfDump(dump(vm, "paging", paging=True))
    extents = extents_of_device(vm, by_page_tables.extents)
    assert extents
    assert not backing.outside(extents, plugged)
    assert not outside_of_memory(vm, plugged)


def test_kdump(vm):
    """Dump exactly what is plugged, compressed, to a stream and to a file."""
    assert check_dump(vm, "kdump-zlib") == check_dump(vm, "kdump-raw-zlib")
