# SPDX-License-Identifier: GPL-2.0-or-later
"""Cached files in memory that goes: dropped, or moved where they are in use."""

import os
import re
import subprocess

import pytest

from testvm import GIB, MIB, Device
from testvm.storage import disk_arguments

SIZE = 256 * MIB
FILE = "/disk/file"


@pytest.fixture
def vm(boot, tmp_path):
    """A guest with 1 GiB plugged and a file system with FILE."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "file").write_bytes(os.urandom(SIZE))
    disk = tmp_path / "disk"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", str(files), str(disk),
                    f"{2 * SIZE // MIB}M"], check=True, capture_output=True,
                   env={**os.environ,
                        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})
    machine = boot(Device("vm0", GIB), arguments=disk_arguments(
        disk, read_only=True))
    machine.guest.load_kernels_own("virtio_blk")
    machine.resize_exact(vm0=GIB)
    machine.guest.mount("ext4", "/dev/vda", "/disk")
    return machine


def moved(vm):
    """Bytes that Linux has moved since the guest booted."""
    pages = re.search(r"^pgmigrate_success (\d+)$",
                      vm.guest.read("/proc/vmstat"), re.MULTILINE)[1]
    return int(pages) * 4096


def cached(vm):
    """Bytes of files that are in memory."""
    kib = re.search(r"^Cached:\s+(\d+) kB$", vm.guest.read("/proc/meminfo"),
                    re.MULTILINE)[1]
    return int(kib) * 1024


def test_cache_is_dropped(vm):
    """Drop a file that was read once, instead of moving it."""
    vm.guest.cache(FILE)
    before = moved(vm)
    assert cached(vm) >= SIZE
    vm.resize_exact(vm0=0)
    assert moved(vm) - before < SIZE // 4
    assert cached(vm) < SIZE // 4


def test_cache_in_use_is_moved(vm):
    """Keep a file in memory that was read twice, and so is in use."""
    for _ in range(2):
        vm.guest.cache(FILE)
    before = moved(vm)
    vm.resize_exact(vm0=0)
    assert moved(vm) - before > SIZE // 4 * 3
    assert cached(vm) >= SIZE // 4 * 3
