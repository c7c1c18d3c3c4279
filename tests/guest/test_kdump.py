# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that crashed dumps its memory, and touches nothing unplugged."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from dumps import ElfDump
from odd import Odd, OddDevice
from test_dump import (PLUGGED, SIZE, check_pattern, extents_of_device,
                       outside_of_memory, use_with_holes)
from testvm import GIB, MIB, Device, backing, paths
from testvm.storage import disk_arguments
from testvm.vm import WARNINGS

# To dump takes long: most tests share a guest and its dump.
pytestmark = pytest.mark.xdist_group("kdump")

DISK = 4 * GIB

# Seconds for an answer: to copy a GiB with KASAN takes minutes on an idle host.
PATIENCE = 1200
CMDLINE = "memhp_default_state=online_movable crashkernel=320M"
# What is in the dump's kernel is no concern of the one that crashed.
DUMP_CMDLINE = "console=ttyS0 panic=-1 panic_on_warn=1 nr_cpus=1"


@pytest.fixture(scope="module")
def directory():
    """Where dumps are.  They are large: it goes with the last test."""
    with tempfile.TemporaryDirectory(prefix="kdump-") as name:
        yield Path(name)


def boot_to_crash(boot, disk, device):
    """A guest with this device, and with a disk for its dump: `dump`."""
    with open(disk, "xb") as file:
        file.truncate(DISK)
    vm = boot(device, cmdline=CMDLINE, files=[paths.KERNEL, paths.INITRD],
              memory=GIB, timeout=PATIENCE,
              arguments=disk_arguments(disk))
    vm.dump = disk
    return vm


def crash(vm):
    """Returns once the dump's kernel runs."""
    vm.guest.kexec_on_crash("/vmlinuz", "/initrd", DUMP_CMDLINE)
    vm.guest.crash()


@pytest.fixture(scope="module")
def crashed(boot_for_all, directory):
    """
    A guest whose dump kernel runs: memory was plugged with holes in it, and
    "data" was in use.  `plugged` are the extents that were plugged.
    """
    vm = boot_to_crash(boot_for_all, directory / "disk", Device(
        "vm0", SIZE, backend="memory-backend-memfd,share=on,reserve=off"))
    use_with_holes(vm)
    vm.plugged = plugged_extents(vm)
    crash(vm)
    yield vm
    assert not WARNINGS.search(vm.guest.dmesg())
    boot_for_all.end(vm)        # its log tells of the crash


def plugged_extents(vm):
    """From QEMU's own dump, which has exactly what is plugged."""
    path = f"{vm.directory}/before"
    vm.qmp("dump-guest-memory", paging=False, protocol=f"file:{path}")
    return extents_of_device(vm, ElfDump(path).extents)


def save(vm):
    """Returns the path of the dump, as the guest's kernel gives it."""
    vm.guest.load_kernels_own("virtio_blk")
    size = vm.guest.copy("/proc/vmcore", "/dev/vda")
    with open(vm.dump, "r+b") as file:
        file.truncate(size)
    return vm.dump


@pytest.fixture(scope="module")
def dump(crashed):
    """The path of a dump; the driver is not loaded any more."""
    crashed.guest.load("ours")
    path = save(crashed)
    crashed.guest.unload()
    return path


def check_zeroes(vm, elf):
    """What is unplugged of the memory blocks in the dump has no contents."""
    addr = vm.devices()["vm0"]["memaddr"]
    extents = extents_of_device(vm, elf.extents)
    unplugged = backing.outside(extents, vm.plugged)
    assert backing.total(unplugged) > 0
    for start, end in unplugged:
        for place in range(start, end, 2 * MIB):
            assert not any(elf.read(addr + place, 4096))


def test_kdump(crashed, dump):
    """Dump all that is plugged, leave the rest alone, and say so."""
    vm = crashed
    assert "what is unplugged is not dumped" in vm.guest.dmesg()
    elf = ElfDump(dump)
    check_pattern(vm, elf.read)
    check_zeroes(vm, elf)
    assert not outside_of_memory(vm, vm.plugged)
    assert vm.size("vm0") == PLUGGED


def test_kdump_unload(crashed):
    """Unload the driver in the dump kernel; the device keeps its memory."""
    vm = crashed
    for _ in range(2):
        vm.guest.load("ours")
        name = vm.unbind()
        vm.bind(name)
        vm.guest.unload()
    assert vm.size("vm0") == PLUGGED


def test_kdump_silent_device(boot, directory):
    """Dump the rest when a device doesn't answer, and ask it once only."""
    # More blocks than a request asks about
    size = 256 * MIB
    device = OddDevice("odd0", 0, {"block-size": size // 2048}, size)
    vm = boot_to_crash(boot, directory / "silent", device)
    odd = Odd(vm, device)
    odd.resize(size)
    crash(vm)
    odd.tell(state="none")
    vm.guest.load("ours")
    vm.guest.load_kernels_own("virtio_blk")
    # All of the device's, and a little of the boot memory below it
    last = size + 64 * MIB
    assert vm.guest.copy("/proc/vmcore", "/dev/vda", last) == last
    told = re.findall(r"no state of \d+ blocks from", vm.guest.dmesg())
    assert len(told) == 1
    boot.end(vm)


def test_makedumpfile(dump, directory):
    """Make a dump that the usual tools can read."""
    tool = shutil.which("makedumpfile", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not tool:
        pytest.skip("makedumpfile is not installed")
    subprocess.run([tool, "-c", "-d", "31", dump, directory / "small"],
                   check=True, capture_output=True)
    assert 0 < (directory / "small").stat().st_size < dump.stat().st_size
    subprocess.run([tool, "-c", "-d", "16", dump, directory / "used"],
                   check=True, capture_output=True)
    subprocess.run([tool, "--dump-dmesg", directory / "used",
                    directory / "log"], check=True, capture_output=True)
    assert "sysrq" in (directory / "log").read_text(errors="replace")


@pytest.mark.skipif(bool(paths.GUEST_KERNEL), reason="symbols of one kernel")
def test_crash(crashed, dump, tmp_path):
    """Make a dump that crash opens, with what is plugged in it."""
    vm = crashed
    address, _ = next((address, size) for address, size in vm.frames
                      if address >= vm.devices()["vm0"]["memaddr"])
    commands = tmp_path / "commands"
    commands.write_text(f"sys\nbt\nrd -p -64 {address:#x}\nquit\n")
    text = subprocess.run([paths.CRASH, "-s", "-i", commands, paths.VMLINUX,
                           dump], check=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True).stdout
    assert re.search(r"PANIC: .*sysrq triggered crash", text)
    assert "sysrq_handle_crash" in text
    word = int.from_bytes(ElfDump(dump).read(address, 8), "little")
    assert word
    assert re.search(rf"^\s*{address:x}:\s+{word:016x}\b", text, re.MULTILINE)
