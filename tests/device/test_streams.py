# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the device makes of a migration stream that somebody has changed.  A real
stream of a machine without a guest is the start; each case changes some bytes
of the device's sections.
"""

import struct
from dataclasses import dataclass, replace

import pytest

from testvm import GIB, MIB, VM, Device

BLOCK = 2 * MIB
REGION = GIB
NB_BLOCKS = REGION // BLOCK
REQUESTED = 34 * BLOCK
USABLE = REQUESTED + 256 * MIB
TOP = 1 << 63

# Where the blocks travel: ahead of RAM, or with the rest of the device.
MACHINES = {"early": "pc-q35-10.0", "late": "pc-q35-7.2"}


@dataclass
class Fields:
    """The device's part of a stream; the bitmap as one number, block 0 first."""
    addr: int
    region: int = REGION
    block: int = BLOCK
    node: int = 0
    size: int = 0
    plugged: int = 0
    usable: int = USABLE
    requested: int = REQUESTED

    def layout(self):
        return struct.pack(">QQQI", self.addr, self.region, self.block,
                           self.node)

    def targets(self):
        return struct.pack(">QQ", self.usable, self.requested)

    def bitmap(self):
        words = self.plugged.to_bytes(NB_BLOCKS // 8, "little")
        return b"".join(words[i:i + 8][::-1] for i in range(0, len(words), 8))

    def pieces(self, when):
        """The runs of bytes that the fields are in such a stream."""
        size = struct.pack(">Q", self.size)
        if when == "early":
            return [self.layout() + size + self.bitmap(), self.targets()]
        return [self.layout() + struct.pack(">Q", self.usable) + size
                + struct.pack(">Q", self.requested) + self.bitmap()]


def plug(first, nb_blocks):
    """Fields of a stream in which these blocks are plugged."""
    return {"plugged": ((1 << nb_blocks) - 1) << first,
            "size": nb_blocks * BLOCK}


LAST_USABLE = USABLE // BLOCK - 1

FOOTER = 0x7e

# Streams that another QEMU could have sent
GOOD = {
    "nothing plugged": {},
    "first block": plug(0, 1),
    "last usable block": plug(LAST_USABLE, 1),
    "target reached": plug(3, 34),
    "more than the target": plug(0, 60),
    "all": plug(0, NB_BLOCKS) | {"usable": REGION, "requested": REGION},
    "no target": {"requested": 0},
    "usable size of others": {"usable": REQUESTED + 256 * MIB + 4096},
    "usable as small as the target": {"usable": REQUESTED},
}

# Streams that nobody may believe: what is changed, and what QEMU says
LAYOUT = {
    "addr one off": ({"addr": 1}, "memaddr"),
    "addr next block": ({"addr": BLOCK}, "memaddr"),
    "addr far": ({"addr": TOP}, "memaddr"),
    "region half": ({"region": REGION // 2}, "memdev.size"),
    "region double": ({"region": REGION * 2}, "memdev.size"),
    "region zero": ({"region": 0}, "memdev.size"),
    "region huge": ({"region": (1 << 64) - 1}, "memdev.size"),
    "block half": ({"block": BLOCK // 2}, "block-size"),
    "block double": ({"block": BLOCK * 2}, "block-size"),
    "block zero": ({"block": 0}, "block-size"),
    "block odd": ({"block": BLOCK - 1}, "block-size"),
    "block huge": ({"block": TOP}, "block-size"),
    "node other": ({"node": 1}, "node"),
    "node huge": ({"node": 0xffffffff}, "node"),
}

BLOCKS = {
    "size of a block, none plugged": ({"size": BLOCK}, "bytes are plugged"),
    "a block plugged, size 0": (plug(0, 1) | {"size": 0}, "bytes are plugged"),
    "size one block short": (plug(0, 9) | {"size": 8 * BLOCK}, "are plugged"),
    "size one block long": (plug(0, 9) | {"size": 10 * BLOCK}, "are plugged"),
    "size one byte long": (plug(0, 9) | {"size": 9 * BLOCK + 1}, "are plugged"),
    "size huge": (plug(0, 9) | {"size": (1 << 64) - BLOCK}, "are plugged"),
    "size that wraps": (plug(0, 9) | {"size": TOP + 9 * BLOCK}, "are plugged"),
    "block behind the usable ones": (plug(LAST_USABLE + 1, 1), "is plugged"),
    "last block, not usable": (plug(NB_BLOCKS - 1, 1), "is plugged"),
    "all blocks, few usable": (plug(0, NB_BLOCKS), "is plugged"),
    "block at the end of what is usable": (
        plug(REQUESTED // BLOCK, 1) | {"usable": REQUESTED}, "is plugged"),
}

TARGETS = {
    "requested beyond the region": ({"requested": REGION + BLOCK,
                                     "usable": REGION + BLOCK}, "requested"),
    "requested beyond the usable": ({"requested": USABLE + BLOCK}, "requested"),
    "requested in a block": ({"requested": REQUESTED + 1}, "requested"),
    "requested huge": ({"requested": (1 << 64) - BLOCK}, "requested"),
    "requested with the top bit": ({"requested": TOP}, "requested"),
    "usable beyond the region": ({"usable": REGION + BLOCK}, "usable"),
    "usable zero": ({"usable": 0}, "usable"),
    "usable one byte short": ({"usable": REQUESTED - 1}, "usable"),
    "usable huge": ({"usable": (1 << 64) - BLOCK}, "usable"),
}

BAD = LAYOUT | BLOCKS | TARGETS


def machine(when, name, region=REGION, options=None, **arguments):
    device = Device("vm0", region, block_size=BLOCK, requested_size=REQUESTED,
                    options=options or {})
    return VM(f"stream-{when}-{name}", [device], machine=MACHINES[when],
              memory=64 * MIB, guest=False, **arguments)


@pytest.fixture(scope="module", params=MACHINES)
def when(request):
    return request.param


def record(when, path, **arguments):
    """A stream, and the address of the device that sent it."""
    with machine(when, path.name, **arguments) as vm:
        vm.save(path)
        return path.read_bytes(), vm.devices()["vm0"]["memaddr"]


@pytest.fixture(scope="module")
def recorded(when, tmp_path_factory):
    return record(when, tmp_path_factory.mktemp("streams") / "source")


def change(stream, when, before, after):
    """The stream with other fields; they stand in it just once."""
    for old, new in zip(before.pieces(when), after.pieces(when)):
        assert stream.count(old) == 1
        stream = stream.replace(old, new)
    return stream


def write(tmp_path, when, recorded, changes):
    """A file with the recorded stream, some fields changed."""
    stream, addr = recorded
    before = Fields(addr)
    changes = dict(changes)
    if "addr" in changes:
        changes["addr"] = (addr + changes["addr"]) % (1 << 64)
    path = tmp_path / "changed"
    path.write_bytes(change(stream, when, before, replace(before, **changes)))
    return path


@pytest.mark.parametrize("name", GOOD)
def test_good(when, recorded, tmp_path, name):
    """Take a stream over, exactly."""
    path = write(tmp_path, when, recorded, GOOD[name])
    expected = replace(Fields(recorded[1]), **GOOD[name])
    with machine(when, "good", incoming=True) as vm:
        vm.restore(path)
        device = vm.devices()["vm0"]
        assert device["size"] == expected.size
        assert device["requested-size"] == expected.requested


def check_refused(when, path, message):
    """QEMU says why, and lives, with a device that makes sense."""
    with machine(when, "bad", incoming=True) as vm:
        text = vm.fails_to_restore(path)
        assert message in text, text
        device = vm.devices()["vm0"]
        assert device["requested-size"] == REQUESTED
        assert device["size"] % BLOCK == 0 and device["size"] <= REGION
        vm.resize("vm0", REGION)
        vm.resize("vm0", 0)


@pytest.mark.parametrize("name", BAD)
def test_bad(when, recorded, tmp_path, name):
    """Refuse a stream, saying what is wrong with it."""
    changes, message = BAD[name]
    check_refused(when, write(tmp_path, when, recorded, changes), message)


@pytest.mark.parametrize("cut", [1, 8, NB_BLOCKS // 8])
@pytest.mark.parametrize("more", [False, True], ids=["shorter", "longer"])
def test_bitmap_of_wrong_length(when, recorded, tmp_path, cut, more):
    """Refuse a stream whose bitmap has too few or too many bytes."""
    stream, addr = recorded
    bitmap = Fields(addr).bitmap()
    piece = next(piece for piece in Fields(addr).pieces(when)
                 if bitmap in piece)
    changed = piece + bytes(cut) if more else piece[:-cut]
    path = tmp_path / "changed"
    path.write_bytes(stream.replace(piece, changed))
    check_refused(when, path, "virtio-mem")


def test_bits_behind_the_end(when, tmp_path):
    """Refuse bits of blocks that a last, incomplete word has no blocks for."""
    region = REGION - 30 * BLOCK
    stream, addr = record(when, tmp_path / "source", region=region)
    before = Fields(addr, region=region)
    after = replace(before, **plug(NB_BLOCKS - 1, 1))
    path = tmp_path / "changed"
    path.write_bytes(change(stream, when, before, after))
    with machine(when, "bits", region=region, incoming=True) as vm:
        assert "behind the end" in vm.fails_to_restore(path)
        assert vm.size("vm0") == 0


def section(stream, name, fields):
    """Where a section of this name lies that has these fields alone."""
    end = stream.index(name) + len(name)
    # A byte tells how long its whole name is; type and number stand before.
    start = next(start for start in range(end - len(name), 0, -1)
                 if stream[start - 1] == end - start)
    fields_end = stream.index(fields, end) + len(fields)
    assert stream[fields_end] == FOOTER
    return slice(start - 1 - 5, fields_end + 5)


def test_blocks_after_the_device(tmp_path):
    """Refuse blocks that come a second time, when their sizes were checked."""
    stream, addr = record("early", tmp_path / "source")
    early = Fields(addr).pieces("early")[0]
    again = stream[section(stream, b"virtio-mem-device-early", early)]
    everything = replace(Fields(addr), **plug(0, NB_BLOCKS))
    again = again.replace(early, everything.pieces("early")[0])
    end = stream.rindex(b"\x00\x06", 0, stream.rindex(b'{"', 0, len(stream)))
    path = tmp_path / "changed"
    path.write_bytes(stream[:end] + again + stream[end:])
    with machine("early", "again", incoming=True) as vm:
        assert "once more" in vm.fails_to_restore(path)
        assert vm.size("vm0") == 0


def test_cut_off(when, recorded, tmp_path):
    """Refuse a stream that ends inside the device's part."""
    stream, addr = recorded
    path = tmp_path / "cut"
    for piece in Fields(addr).pieces(when):
        path.write_bytes(stream[:stream.index(piece) + len(piece) // 2])
        check_refused(when, path, "")
