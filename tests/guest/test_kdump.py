# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that crashed dumps its memory, and touches nothing unplugged."""

import re
import shutil
import subprocess

import pytest

from dumps import ElfDump
from odd import Odd, OddDevice
from test_dump import (PLUGGED, SIZE, check_pattern, extents_of_device,
                       outside_of_memory, use_with_holes)
from testvm import GIB, MIB, Device, backing, paths
from testvm.vm import WARNINGS

DISK = 4 * GIB
CMDLINE = "memhp_default_state=online_movable crashkernel=320M"
# What is in the dump's kernel is no concern of the one that crashed.
DUMP_CMDLINE = "console=ttyS0 panic=-1 panic_on_warn=1 nr_cpus=1"


def boot_to_crash(boot, directory, device):
    """A guest with this device, and with a disk for its dump: `dump`."""
    disk = directory / "disk"
    with open(disk, "wb") as file:
        file.truncate(DISK)
    vm = boot(device, cmdline=CMDLINE, files=[paths.KERNEL, paths.INITRD],
              memory=GIB,
              arguments=["-blockdev",
                         f"driver=file,node-name=disk,filename={disk}",
                         "-device", "virtio-blk-pci,drive=disk"])
    vm.dump = disk
    return vm


def crash(vm):
    """Returns once the dump's kernel runs."""
    vm.guest.kexec_on_crash("/vmlinuz", "/initrd", DUMP_CMDLINE)
    vm.guest.crash()


@pytest.fixture
def crashed(boot, tmp_path):
    """
    A guest whose dump kernel runs: memory was plugged with holes in it, and
    "data" was in use.  `plugged` are the extents that were plugged.
    """
    vm = boot_to_crash(boot, tmp_path, Device(
        "vm0", SIZE, backend="memory-backend-memfd,share=on,reserve=off"))
    use_with_holes(vm)
    vm.plugged = plugged_extents(vm)
    crash(vm)
    yield vm
    assert not WARNINGS.search(vm.guest.dmesg())
    boot.end(vm)        # its log tells of the crash


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


def check_zeroes(vm, dump):
    """What is unplugged of the memory blocks in the dump has no contents."""
    addr = vm.devices()["vm0"]["memaddr"]
    extents = extents_of_device(vm, dump.extents)
    unplugged = backing.outside(extents, vm.plugged)
    assert backing.total(unplugged) > 0
    for start, end in unplugged:
        for place in range(start, end, 2 * MIB):
            assert not any(dump.read(addr + place, 4096))


def test_kdump(crashed):
    """Dump all that is plugged, leave the rest alone, and say so."""
    vm = crashed
    vm.guest.load("ours")
    assert "what is unplugged is not dumped" in vm.guest.dmesg()
    dump = ElfDump(save(vm))
    check_pattern(vm, dump.read)
    check_zeroes(vm, dump)
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


def test_kdump_silent_device(boot, tmp_path):
    """Dump the rest when a device doesn't answer, and ask it once only."""
    device = OddDevice("odd0", 0)
    vm = boot_to_crash(boot, tmp_path, device)
    odd = Odd(vm, device)
    odd.resize(GIB)
    crash(vm)
    odd.tell(state="none")
    vm.guest.load("ours")
    ElfDump(save(vm))
    told = re.findall(r"no state of \d+ blocks from", vm.guest.dmesg())
    assert len(told) == 1
    boot.end(vm)


def test_makedumpfile(crashed, tmp_path):
    """Make a dump that the usual tools can read."""
    tool = shutil.which("makedumpfile", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not tool:
        pytest.skip("makedumpfile is not installed")
    vm = crashed
    vm.guest.load("ours")
    path = save(vm)
    subprocess.run([tool, "-c", "-d", "31", path, tmp_path / "small"],
                   check=True, capture_output=True)
    assert 0 < (tmp_path / "small").stat().st_size < path.stat().st_size
    subprocess.run([tool, "-c", "-d", "16", path, tmp_path / "used"],
                   check=True, capture_output=True)
    subprocess.run([tool, "--dump-dmesg", tmp_path / "used",
                    tmp_path / "log"], check=True, capture_output=True)
    assert "sysrq" in (tmp_path / "log").read_text(errors="replace")


@pytest.mark.skipif(bool(paths.GUEST_KERNEL), reason="symbols of one kernel")
def test_crash(crashed, tmp_path):
    """Make a dump that crash opens, with what is plugged in it."""
    vm = crashed
    vm.guest.load("ours")
    path = save(vm)
    address, _ = next((address, size) for address, size in vm.frames
                      if address >= vm.devices()["vm0"]["memaddr"])
    commands = tmp_path / "commands"
    commands.write_text(f"sys\nbt\nrd -p -64 {address:#x}\nquit\n")
    text = subprocess.run([paths.CRASH, "-s", "-i", commands, paths.VMLINUX,
                           path], check=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True).stdout
    assert re.search(r"PANIC: .*sysrq triggered crash", text)
    assert "sysrq_handle_crash" in text
    word = int.from_bytes(ElfDump(path).read(address, 8), "little")
    assert word
    assert re.search(rf"^\s*{address:x}:\s+{word:016x}\b", text, re.MULTILINE)
