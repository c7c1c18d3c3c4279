# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks and network cards reach plugged memory while blocks come and go."""

import pytest

from testvm import GIB, MIB, Device, backing
from testvm.storage import StorageDaemon, disk_arguments

SIZE = 4 * GIB
DISK = 64 * MIB
DISK_BUFFER = 8 * MIB
NET_BUFFER = 2 * MIB
SHARED = "memory-backend-memfd,share=on,reserve=off"
SIZES = (GIB, 258 * MIB, 3 * GIB, 514 * MIB, 130 * MIB, GIB)

# QEMU's user network: a server that echoes is at this address.
ECHO = "10.0.2.100:7"
NETWORK = ["-netdev", f"user,id=net,restrict=on,guestfwd=tcp:{ECHO}-cmd:cat",
           "-device", "virtio-net-pci,netdev=net,id=card"]


@pytest.fixture
def daemon():
    """A process that serves a disk."""
    with StorageDaemon(DISK) as storage:
        yield storage


def memory_address(vm):
    return vm.devices()["vm0"]["memaddr"]


def begin_disk_transfer(vm):
    vm.guest.load_kernels_own("virtio_blk")
    vm.guest.transfer("disk", "/dev/vda", DISK_BUFFER, memory_address(vm))


def wait_for_transfers(vm, kind):
    """Returns after a round that began now, with all memory plugged."""
    _, before = vm.guest.transferred(kind)
    vm.wait_for(f"{kind} transfers in plugged memory",
                lambda: vm.guest.transferred(kind)[1] >= before + 2)


def check_disk(vm):
    """Transfers go well during resizes both ways, and after each."""
    vm.resize_exact(vm0=258 * MIB)
    begin_disk_transfer(vm)
    for size in SIZES:
        vm.resize_exact(vm0=size)
        wait_for_transfers(vm, "disk")
    vm.resize_exact(vm0=0)
    vm.guest.end_transfer("disk")


def test_disk(boot, tmp_path):
    """Verify a disk's DMA to plugged memory during resizes."""
    image = tmp_path / "disk"
    with open(image, "wb") as file:
        file.truncate(DISK)
    vm = boot(Device("vm0", SIZE), arguments=disk_arguments(image))
    check_disk(vm)


def test_disk_of_another_process(boot, daemon):
    """Let another process do I/O to plugged memory, and leave the rest alone."""
    vm = boot(Device("vm0", SIZE, backend=SHARED), ram=SHARED,
              arguments=daemon.arguments())
    check_disk(vm)
    assert not backing.populated(backing.memfd(vm.pid, SIZE))


def receive_buffers(vm):
    """Where the card is to put what arrives next."""
    element = vm.qmp("x-query-virtio-queue-element", queue=0,
                     path="/machine/peripheral/card/virtio-backend")
    return [desc["addr"] for desc in element["descs"]]


def test_network(boot):
    """Verify a network card's DMA to plugged memory during resizes."""
    # The kernel's own memory comes from the first zone that is not for old
    # hardware: that is all plugged memory, which is therefore not movable.
    vm = boot(Device("vm0", SIZE), arguments=NETWORK,
              cmdline="memhp_default_state=online_kernel")
    vm.resize_exact(vm0=258 * MIB)
    vm.guest.load_kernels_own("failover", "net_failover", "virtio_net")
    vm.guest.transfer("net", ECHO, NET_BUFFER, 0)
    for _ in range(3):
        vm.resize_exact(vm0=2 * GIB)
        wait_for_transfers(vm, "net")
        assert min(receive_buffers(vm)) >= memory_address(vm)
        # What the kernel uses can't go: not all of this is possible.
        vm.begin_resize("vm0", 130 * MIB)
        wait_for_transfers(vm, "net")
    vm.guest.end_transfer("net")
