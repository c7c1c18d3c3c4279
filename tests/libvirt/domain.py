# SPDX-License-Identifier: GPL-2.0-or-later
"""A domain of libvirt with virtio-mem devices and the test guest inside."""

import re
import socket
import time
from pathlib import Path
from xml.etree import ElementTree

import libvirt

from testvm import MIB, paths
from testvm.guest import Guest
from testvm.vm import WARNINGS

# Seconds that end a hopeless wait
TIMEOUT_S = 240

XML = """
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <memory unit='GiB'>2</memory>
  <maxMemory slots='16' unit='GiB'>{most}</maxMemory>
  {backing}
  <vcpu>2</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 panic=-1 panic_on_warn=1
      memhp_default_state=online_movable</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'>
    <feature policy='disable' name='erms'/>
    <feature policy='disable' name='fsrm'/>
    <numa>
      <cell id='0' cpus='0' memory='1' unit='GiB'/>
      <cell id='1' cpus='1' memory='1' unit='GiB'/>
    </numa>
  </cpu>
  <devices>
    <emulator>{emulator}</emulator>
    <controller type='usb' model='none'/>
    <controller type='pci' model='pcie-root'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <serial type='file'><source path='{directory}/console'/></serial>
    <channel type='unix'>
      <source mode='bind' path='{directory}/guest'/>
      <target type='virtio' name='virtio-mem.test'/>
    </channel>
    <memballoon model='none'/>
    {devices}
  </devices>
  {after}
</domain>
"""


def memory(size, node=0, requested=0, block=2 * MIB, source=""):
    """A virtio-mem device; sizes in bytes."""
    return f"""
    <memory model='virtio-mem'>
      {source}
      <target>
        <size unit='b'>{size}</size>
        <node>{node}</node>
        <block unit='b'>{block}</block>
        <requested unit='b'>{requested}</requested>
      </target>
    </memory>"""


class Domain:
    """
    A running domain.  `connection` is that of the daemon that has it now; its
    `directory` has the guest's channel and console.
    """

    def __init__(self, daemon, *devices, name="vm", backing="", more="",
                 after="", qemu="ours"):
        self.daemon = daemon
        self.connection = daemon.connect()
        self.name = name
        self.guest = None
        self.boot_total = None
        self.xml = XML.format(
            name=name, most=2 + 8 * max(len(devices), 1), backing=backing,
            kernel=paths.KERNEL, initrd=paths.INITRD,
            emulator=paths.qemu(qemu), directory=daemon.directory,
            devices="".join(devices) + more, after=after)
        self._domain = self.connection.defineXML(self.xml)
        self.events = []
        self._listen()

    def _listen(self):
        """Keeps what libvirt tells of the domain: kind, and what it says."""
        for kind, event in (
                ("size", libvirt.VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE),
                ("added", libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED),
                ("removed", libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED)):
            self.connection.domainEventRegisterAny(
                self._domain, event, lambda *told: self.events.append(
                    (told[-1], *told[2:-1])), kind)

    @property
    def domain(self):
        return self._domain

    def start(self, driver="ours"):
        """Returns once the guest has booted, and its driver is loaded."""
        self._domain.create()
        self.attach_guest()
        self.guest.wait_ready()
        self.boot_total = self.guest.mem_total()
        self.guest.load(driver)
        return self

    def attach_guest(self):
        """Talks to the guest of a domain that was started anew."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(f"{self.daemon.directory}/guest")
        self.guest = Guest(sock, self._check_alive, TIMEOUT_S)

    def _check_alive(self, ending=False):
        if ending or not self._domain.isActive():
            log = Path(self.daemon.directory, "log", "qemu", f"{self.name}.log")
            raise RuntimeError(f"the domain ended: {log.read_text()[-2000:]}")

    def migrate_to(self, daemon):
        """Returns once the domain runs there."""
        xml = self._domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE)
        self._domain.migrateToURI3(
            daemon.uri, {
                libvirt.VIR_MIGRATE_PARAM_URI:
                    f"unix://{daemon.directory}/migration",
                libvirt.VIR_MIGRATE_PARAM_DEST_XML:
                    xml.replace(self.daemon.directory, daemon.directory)},
            libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER)
        assert not self._domain.isActive()
        self.daemon = daemon
        self.connection = daemon.connect()
        self._domain = self.connection.lookupByName(self.name)
        self.attach_guest()

    def wait_for(self, what, condition):
        begin = time.monotonic()
        while not condition():
            self._check_alive()
            if time.monotonic() > begin + TIMEOUT_S:
                raise TimeoutError(f"waited for {what}")
            time.sleep(0.05)

    def memory_xml(self, number=0):
        """What the domain's XML says now of a device."""
        tree = ElementTree.fromstring(self._domain.XMLDesc())
        return tree.findall("devices/memory")[number]

    def sizes(self, number=0):
        """Bytes, by the name of the element."""
        target = self.memory_xml(number).find("target")
        return {tag: int(target.find(tag).text) << 10
                for tag in ("size", "block", "requested", "current")}

    def request(self, size, number=0):
        """As `virsh update-memory-device` does."""
        device = self.memory_xml(number)
        device.find("target/requested").text = str(size >> 10)
        self._domain.updateDeviceFlags(
            ElementTree.tostring(device, encoding="unicode"),
            libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def wait_exact(self, *sizes):
        """
        Waits until each device has its size, as libvirt knows it, and the guest
        exactly that on top of what it booted with.
        """
        for number, size in enumerate(sizes):
            self.wait_for(f"device {number} to have {size} bytes",
                          lambda: self.sizes(number)["current"] == size)
        expected = self.boot_total + sum(sizes)
        self.wait_for(f"MemTotal to be {expected}",
                      lambda: self.guest.mem_total() == expected)

    def resize_exact(self, *sizes):
        for number, size in enumerate(sizes):
            self.request(size, number)
        self.wait_exact(*sizes)

    def check_clean(self):
        """The guest's kernel never complained."""
        console = Path(self.daemon.directory, "console").read_text(
            errors="replace")
        assert not WARNINGS.search(console), console[-3000:]
