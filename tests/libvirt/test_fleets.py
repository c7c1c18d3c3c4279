# SPDX-License-Identifier: GPL-2.0-or-later
"""What others that resize many machines send: see docs/fleet.md."""

import libvirt

from domain import memory
from testvm import GIB, MIB, VM

# KubeVirt has memory that other processes may map, and a balloon.
KUBEVIRT = "<memoryBacking><source type='memfd'/></memoryBacking>"


def test_kubevirt(define, daemons):
    """Add a device with the first growth, then resize it, and migrate it."""
    machine = define(backing=KUBEVIRT)
    machine.start()
    machine.domain.attachDeviceFlags(
        memory(4 * GIB, 0, requested=GIB), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    machine.wait_exact(GIB)
    machine.resize_exact(3 * GIB)
    machine.guest.hold("data", 2 * GIB)
    machine.migrate_to(daemons())
    machine.guest.verify("data")
    machine.guest.drop("data")
    machine.resize_exact(2 * GIB)


def boot(name, arguments):
    return VM(f"fleet-{name}", memory=GIB, arguments=[
        "-m", f"{GIB >> 20}M,slots=8,maxmem=20G", *arguments])


def test_kata():
    """Add the device over QMP once QEMU runs, without reserve=off."""
    with boot("kata", ["-device", "pcie-root-port,id=rp0"]) as vm:
        vm.qmp("object-add", qom_type="memory-backend-ram", id="virtiomem",
               size=4 * GIB)
        vm.qmp("device_add", driver="virtio-mem-pci", id="virtiomem0",
               memdev="virtiomem", bus="rp0")
        vm.guest.load("ours")
        before = vm.guest.mem_total()
        for size in (2 * GIB, 512 * MIB):
            vm.put("virtiomem0", "requested-size", size)
            vm.wait_for_size("virtiomem0", size)
            vm.wait_for("the guest to have it", lambda: (
                vm.guest.mem_total() == before + size))


def test_neon():
    """Use blocks of 8 MiB, on the command line."""
    with boot("neon", [
            "-object", f"memory-backend-ram,id=vmem0,size={4 * GIB}",
            "-device", "virtio-mem-pci,id=vm0,memdev=vmem0,block-size=8M,"
                       "requested-size=0"]) as vm:
        vm.guest.load("ours")
        before = vm.guest.mem_total()
        for size in (GIB + 8 * MIB, 0):
            vm.put("vm0", "requested-size", size)
            vm.wait_for_size("vm0", size)
            vm.wait_for("the guest to have it", lambda: (
                vm.guest.mem_total() == before + size))
