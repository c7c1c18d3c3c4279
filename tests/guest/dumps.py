# SPDX-License-Identifier: GPL-2.0-or-later
"""
Reads what dump-guest-memory writes.  A dump has `extents`, the guest physical
memory that is in it as (start, end) in bytes, and read(address, size).
"""

import re
import struct
import zlib

from elftools.elf.elffile import ELFFile

from testvm import backing

FLAT_HEADER = 4096      # bytes, before the first piece
FLAT_PIECE = struct.Struct(">qq")       # where it goes, and its size
ZLIB = 1


class ElfDump:
    """A core file: each segment is an extent."""

    def __init__(self, path):
        self._file = open(path, "rb")
        self._segments = [
            (seg["p_paddr"], seg["p_paddr"] + seg["p_filesz"], seg["p_offset"])
            for seg in ELFFile(self._file).iter_segments("PT_LOAD")
            if seg["p_filesz"]]
        self.extents = backing.merge((start, end)
                                     for start, end, _ in self._segments)

    def read(self, address, size):
        for start, end, offset in self._segments:
            if start <= address and address + size <= end:
                self._file.seek(offset + address - start)
                return self._file.read(size)
        raise LookupError(f"0x{address:x} is not in the dump")


class KdumpDump:
    """
    The format of the kernel's crash tools: a header, two bitmaps of all pages
    (the second one of those that are there), and a descriptor for each page.
    """

    # Its signature; the sizes in pages of a second header and both bitmaps.
    HEADER = struct.Struct("<8s4x390x22x4xIII")
    DESCRIPTOR = struct.Struct("<QIIQ")

    def __init__(self, path):
        self._file = open(path, "rb")
        signature, self._page, sub_header, bitmaps = self.HEADER.unpack(
            self._file.read(self.HEADER.size))
        assert signature == b"KDUMP   "
        bitmap = self._page * bitmaps // 2
        start = self._page * (1 + sub_header) + bitmap
        self._file.seek(start)
        bits = bin(int.from_bytes(self._file.read(bitmap), "little"))[:1:-1]
        self._runs = [run.span() for run in re.finditer("1+", bits)]
        self._descriptors = start + bitmap
        self.extents = [(first * self._page, last * self._page)
                        for first, last in self._runs]

    def _index(self, number):
        """How many pages that are there come before a page."""
        before = 0
        for first, last in self._runs:
            if first <= number < last:
                return before + number - first
            before += last - first
        raise LookupError(f"page 0x{number:x} is not in the dump")

    def _read_page(self, descriptor):
        offset, size, flags, _ = descriptor
        self._file.seek(offset)
        data = self._file.read(size)
        return zlib.decompress(data) if flags & ZLIB else data

    def read(self, address, size):
        count = size // self._page
        self._file.seek(self._descriptors + self.DESCRIPTOR.size
                        * self._index(address // self._page))
        table = self._file.read(self.DESCRIPTOR.size * count)
        return b"".join(self._read_page(descriptor) for descriptor
                        in self.DESCRIPTOR.iter_unpack(table))


def unflatten(path, to):
    """Puts the pieces of a dump that was written as a stream in their places."""
    with open(path, "rb") as stream, open(to, "wb") as file:
        assert stream.read(FLAT_HEADER).startswith(b"makedumpfile\0")
        while True:
            offset, size = FLAT_PIECE.unpack(stream.read(FLAT_PIECE.size))
            if offset < 0:
                return
            file.seek(offset)
            file.write(stream.read(size))
