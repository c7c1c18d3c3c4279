# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt, as it is, with our QEMU as emulator: see docs/libvirt.md."""

import itertools
import os
import re
import select
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import libvirt
import pytest

from domain import memory
from testvm import GIB, MIB, paths


def virsh(machine, *words):
    """What virsh says."""
    done = subprocess.run(["virsh", "-q", "-c", machine.daemon.uri, *words],
                          capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


def refused(action, *words):
    """That libvirt refuses, and says all these words."""
    with pytest.raises(libvirt.libvirtError) as error:
        action()
    for word in words:
        assert word in str(error.value)


def test_version(daemons):
    """Test the libvirt that was asked for."""
    connection = daemons().connect()
    number = connection.getLibVersion()
    system = os.environ.get("LIBVIRT_SYSTEM")
    version = (Path(system).with_name("version").read_text() if system else
               subprocess.run(["virsh", "--version"], capture_output=True,
                              text=True, check=True).stdout)
    assert version.startswith(f"{number // 1000000}."
                              f"{number // 1000 % 1000}.{number % 1000}")


def test_two_devices(define):
    """Grow and shrink a device on each of two NUMA cells."""
    machine = define(memory(4 * GIB, 0, requested=GIB), memory(4 * GIB, 1))
    machine.start()
    machine.wait_exact(GIB, 0)
    nodes = [machine.guest.node_total(node) for node in (0, 1)]
    machine.resize_exact(3 * GIB, 2 * GIB + 2 * MIB)
    assert machine.guest.node_total(0) == nodes[0] + 2 * GIB
    assert machine.guest.node_total(1) == nodes[1] + 2 * GIB + 2 * MIB
    assert machine.sizes(1) == {"size": 4 * GIB, "block": 2 * MIB,
                                "requested": 2 * GIB + 2 * MIB,
                                "current": 2 * GIB + 2 * MIB}
    machine.resize_exact(512 * MIB, 0)


def test_virsh(define):
    """Resize with `virsh update-memory-device`, and see it in the XML."""
    machine = define(memory(4 * GIB, 0), memory(4 * GIB, 1)).start()
    virsh(machine, "update-memory-device", "vm", "--alias", "virtiomem0",
          "--requested-size", "2GiB")
    machine.wait_exact(2 * GIB, 0)
    virsh(machine, "update-memory-device", "vm", "--node", "1",
          "--requested-size", "1GiB")
    machine.wait_exact(2 * GIB, GIB)
    assert ("<current unit='KiB'>2097152</current>"
            in virsh(machine, "dumpxml", "vm"))
    virsh(machine, "update-memory-device", "vm", "--alias", "virtiomem0",
          "--requested-size", "0")
    machine.wait_exact(0, GIB)
    assert "virtiomem1: 1 GiB of 1 GiB requested" in virsh(
        machine, "qemu-monitor-command", "vm", "--hmp", "info virtio-mem")


def test_virsh_hears(define):
    """Hear of sizes with `virsh event`."""
    machine = define(memory(4 * GIB)).start()
    with subprocess.Popen(
            ["virsh", "-q", "-c", machine.daemon.uri, "event", "vm",
             "memory-device-size-change", "--loop"],
            text=True, stdout=subprocess.PIPE) as listener:
        try:
            # It listens when it hears of one of these.
            for size in itertools.cycle((GIB, 0)):
                machine.resize_exact(size)
                if select.select([listener.stdout], [], [], 1)[0]:
                    break
            assert "for domain 'vm'" in listener.stdout.readline()
            assert re.search("alias: virtiomem0", listener.stdout.readline())
            assert re.search(r"size: \d+", listener.stdout.readline())
        finally:
            listener.kill()


def test_virsh_adds(define, tmp_path):
    """Add and remove a device with virsh."""
    machine = define(memory(4 * GIB)).start()
    file = tmp_path / "memory.xml"
    file.write_text(memory(2 * GIB, 1))
    virsh(machine, "attach-device", "vm", file, "--live")
    virsh(machine, "update-memory-device", "vm", "--node", "1",
          "--requested-size", "1GiB")
    machine.wait_exact(0, GIB)
    machine.request(0, 1)
    machine.wait_exact(0, 0)
    virsh(machine, "detach-device-alias", "vm", "virtiomem1", "--live")
    machine.wait_for("the event", lambda: (
        "removed", "virtiomem1") in machine.events)


def test_properties(define):
    """Set a property that libvirt does not know."""
    machine = define(memory(4 * GIB), after="""
        <qemu:commandline>
          <qemu:arg value='-global'/>
          <qemu:arg value='virtio-mem.unplugged-protection=audit'/>
        </qemu:commandline>""").start()
    machine.resize_exact(GIB)
    assert "protection: audit, report" in virsh(
        machine, "qemu-monitor-command", "vm", "--hmp", "info virtio-mem")


def test_event(define):
    """Hear of each size that a device gets."""
    machine = define(memory(4 * GIB)).start()
    machine.request(GIB)
    machine.wait_for("the event of 1 GiB", lambda: (
        "size", "virtiomem0", GIB >> 10) in machine.events)
    machine.request(0)
    machine.wait_for("the event of nothing", lambda: (
        "size", "virtiomem0", 0) in machine.events)


def test_hotplug(define):
    """Add a device to a domain that runs, and take it away again."""
    machine = define(memory(4 * GIB)).start()
    device = memory(2 * GIB, 1, requested=GIB)
    machine.domain.attachDevice(device)
    # libvirt tells the backend's alias.
    machine.wait_for("the event", lambda: {
        ("added", "memvirtiomem1"), ("added", "virtiomem1")}
        & set(machine.events))
    machine.wait_exact(0, GIB)
    xml = ElementTree.tostring(machine.memory_xml(1), encoding="unicode")
    refused(lambda: machine.domain.detachDevice(xml), "plugged")
    machine.request(0, 1)
    machine.wait_exact(0, 0)
    machine.domain.detachDeviceAlias("virtiomem1")
    machine.wait_for("the event", lambda: (
        "removed", "virtiomem1") in machine.events)
    machine.resize_exact(GIB)


def use(machine):
    """A guest with memory in use, some of it in the device"""
    machine.resize_exact(2 * GIB)
    machine.guest.hold("data", GIB + 512 * MIB)


def check_used(machine):
    """It is all there, and can be resized as before."""
    machine.guest.verify("data")
    assert machine.sizes()["current"] == 2 * GIB
    machine.guest.drop("data")
    machine.resize_exact(3 * GIB)
    machine.resize_exact(0)


def test_save(define):
    """Save a domain, and restore it."""
    machine = define(memory(4 * GIB)).start()
    use(machine)
    file = f"{machine.daemon.directory}/saved"
    machine.domain.save(file)
    assert not machine.domain.isActive()
    machine.connection.restore(file)
    machine.attach_guest()
    check_used(machine)


def test_managed_save(define):
    """Have libvirt keep a domain until it is started again."""
    machine = define(memory(4 * GIB)).start()
    use(machine)
    machine.domain.managedSave()
    assert machine.domain.hasManagedSaveImage()
    machine.domain.create()
    machine.attach_guest()
    check_used(machine)


def test_migration(define, daemons):
    """Migrate a domain that runs from one daemon to another."""
    machine = define(memory(4 * GIB)).start()
    use(machine)
    machine.migrate_to(daemons())
    check_used(machine)


def test_snapshot(define, daemons):
    """Return to a snapshot with the memory of another size."""
    daemon = daemons()
    disk = f"{daemon.directory}/disk.qcow2"
    tool = Path(paths.qemu("ours")).with_name("qemu-img")
    subprocess.run([tool, "create", "-q", "-f", "qcow2", disk, "16M"],
                   check=True)
    machine = define(memory(4 * GIB), daemon=daemon, more=f"""
        <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
          <source file='{disk}'/><target dev='vda' bus='virtio'/></disk>""")
    machine.start()
    use(machine)
    snapshot = machine.domain.snapshotCreateXML("<domainsnapshot/>")
    machine.guest.drop("data")
    machine.resize_exact(512 * MIB)
    machine.domain.revertToSnapshot(snapshot)
    machine.attach_guest()
    machine.wait_exact(2 * GIB)
    check_used(machine)


def test_huge_pages(define, daemons, hugepages, tmp_path):
    """Take the device's memory from huge pages of the host."""
    pages = hugepages(2 * MIB, GIB // (2 * MIB))
    mount = tmp_path / "huge"
    mount.mkdir()
    subprocess.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none",
                    mount], check=True)
    try:
        machine = define(
            memory(GIB, source="<source><pagesize unit='MiB'>2</pagesize>"
                   "</source>"), daemon=daemons(hugetlbfs=str(mount)))
        machine.start()
        free = pages.free
        machine.resize_exact(GIB)
        machine.guest.hold("all", machine.guest.mem_total() - 512 * MIB)
        assert pages.free < free
        machine.guest.verify("all")
        machine.guest.drop("all")
        machine.resize_exact(0)
        machine.wait_for("huge pages to be free", lambda: pages.free == free)
        machine.domain.destroy()
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def test_size_refused(define):
    """Refuse a size that the device can't have, and keep the one before."""
    machine = define(memory(4 * GIB)).start()
    machine.resize_exact(GIB)
    refused(lambda: machine.request(5 * GIB), "requested", "size")
    refused(lambda: machine.request(GIB + MIB), "block")
    assert machine.sizes()["requested"] == GIB
    machine.resize_exact(2 * GIB)


@pytest.mark.parametrize("device,words", [
    (memory(GIB + 2 * MIB, block=4 * MIB), "block"),
    (memory(GIB, requested=2 * GIB), "requested"),
    (memory(GIB, requested=MIB), "requested"),
    (memory(GIB, block=3 * MIB), "block"),
    (memory(GIB, node=7), "node"),
], ids=["size", "requested-size", "requested-part", "block", "node"])
def test_device_refused(define, device, words):
    """Refuse such a device at its definition, or at the start."""
    def begin():
        define(device).domain.create()

    refused(begin, words)
