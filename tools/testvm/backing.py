# SPDX-License-Identifier: GPL-2.0-or-later
"""
Which parts of memory take memory of the host, when it is a file: a memfd, or a
file that a backend was given.  Extents are (start, end) in bytes, in order.
"""

import errno
import os
import subprocess
from pathlib import Path


def memfd(pid, size):
    """The path of the only memfd of a process that has this size."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(link).startswith("/memfd:"):
            status = link.stat()
            found[status.st_ino] = (status.st_size, link)
    paths = [path for length, path in found.values() if length == size]
    if len(paths) != 1:
        raise LookupError(f"{len(paths)} memfds have {size} bytes")
    return paths[0]


def populated(path):
    """The extents of a file that are there; the rest are holes."""
    extents = []
    fd = os.open(path, os.O_RDONLY)
    try:
        end = 0
        while True:
            start = os.lseek(fd, end, os.SEEK_DATA)
            end = os.lseek(fd, start, os.SEEK_HOLE)
            extents.append((start, end))
    except OSError as error:
        if error.errno != errno.ENXIO:      # no more data
            raise
        return extents
    finally:
        os.close(fd)


def punch(path, extent):
    """Makes a hole of an extent, whatever is there."""
    start, end = extent
    subprocess.run(["fallocate", "--punch-hole", "--offset", str(start),
                    "--length", str(end - start), path], check=True)


def scribble(path, extent):
    """Fills an extent with what nobody has put there."""
    start, end = extent
    chunk = b"\xa5" * (1 << 20)
    fd = os.open(path, os.O_WRONLY)
    for place in range(start, end, len(chunk)):
        os.pwrite(fd, chunk[:end - place], place)
    os.close(fd)


def total(extents):
    """Bytes."""
    return sum(end - start for start, end in extents)


def merge(extents):
    """The same bytes in order, in as few extents as can be."""
    merged = []
    for start, end in sorted(extents):
        if merged and start <= merged[-1][1]:
            start, last = merged.pop()
            end = max(end, last)
        merged.append((start, end))
    return merged


def outside(extents, others):
    """What of `extents` is in none of `others`; both as merge() leaves them."""
    left = []
    for start, end in extents:
        for first, last in others:
            if last <= start or end <= first:
                continue
            if start < first:
                left.append((start, first))
            start = last
            if start >= end:
                break
        if start < end:
            left.append((start, end))
    return left
