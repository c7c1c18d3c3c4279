# SPDX-License-Identifier: GPL-2.0-or-later
"""
Where machines are found: QMP sockets, and libvirt.  look() returns a list of
Machine, and never fails: what can't be asked says so in `error`.
"""

import asyncio
import json
import os
import socket
import struct
from pathlib import Path
from xml.etree import ElementTree

from qemu.qmp import ExecuteError, QMPClient, QMPError

from .machine import Device, Machine, device_of_qmp

# Seconds that a machine has to answer.  A QMP socket that another client has
# keeps others waiting for ever.
PATIENCE_S = 3


def resident(pid):
    """Bytes of the host that a process has, or None."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    return None


class QmpSource:
    """A machine behind a UNIX socket of QMP."""

    def __init__(self, path):
        self.path = path
        self._client = None
        self._pid = None
        self._name = Path(path).name

    async def look(self):
        """A list of one machine."""
        machine = Machine(self._name, self.path)
        try:
            await asyncio.wait_for(self._fill(machine), PATIENCE_S)
        except asyncio.TimeoutError:
            machine.error = (f"no answer in {PATIENCE_S} s: maybe another "
                             f"client has the socket")
            await self.close()
        except (OSError, QMPError) as error:
            machine.error = str(error)
            await self.close()
        return [machine]

    async def _connect(self):
        if self._client:
            return
        self._pid = peer_pid(self.path)
        client = QMPClient("virtio-mem-top")
        await client.connect(self.path)
        self._client = client
        name = (await client.execute("query-name")).get("name")
        self._name = name or self._name

    async def _fill(self, machine):
        await self._connect()
        machine.name = self._name
        machine.devices = await self._devices()
        summary = await self._client.execute("query-memory-size-summary")
        machine.guest_memory = (summary["base-memory"]
                                + summary.get("plugged-memory", 0))
        machine.host_memory = resident(self._pid)

    async def _devices(self):
        try:
            rows = await self._client.execute("query-virtio-mem")
        except ExecuteError:            # it is not ours
            answer = await self._client.execute("query-memory-devices")
            rows = [row["data"] for row in answer if row["type"] == "virtio-mem"]
        return [device_of_qmp(row) for row in rows]

    async def close(self):
        """Lets others have the socket."""
        client, self._client = self._client, None
        if client:
            try:
                await client.disconnect()
            except (OSError, QMPError):
                pass


def peer_pid(path):
    """Who listens on a UNIX socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(path)
        size = struct.calcsize("3i")
        peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return struct.unpack("3i", peer)[0]


class LibvirtSource:
    """All domains of a libvirt daemon that run, or some of them."""

    def __init__(self, uri, names=()):
        self.uri = uri
        self.names = list(names)
        self._connection = None

    async def look(self):
        """A list of machines; libvirt's calls wait, so in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._look)

    def _look(self):
        # Only who watches domains needs libvirt.
        import libvirt      # pylint: disable=import-outside-toplevel
        libvirt.registerErrorHandler(lambda *_: None, None)
        try:
            if not self._connection:
                self._connection = libvirt.open(self.uri)
            domains = self._connection.listAllDomains(
                libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            machines = [self._machine(domain) for domain in domains
                        if not self.names or domain.name() in self.names]
        except libvirt.libvirtError as error:
            self._connection = None
            return [Machine(self.uri, self.uri, error=str(error))]
        missing = set(self.names) - {machine.name for machine in machines}
        return machines + [Machine(name, self.uri, error="it does not run")
                           for name in sorted(missing)]

    def _machine(self, domain):
        import libvirt      # pylint: disable=import-outside-toplevel
        machine = Machine(domain.name(), self.uri)
        try:
            stats = domain.memoryStats()
            machine.host_memory = stats.get("rss", 0) << 10 or None
            tree = ElementTree.fromstring(domain.XMLDesc())
            machine.devices = self._ask_qemu(domain) or self._read_xml(tree)
            # Only with NUMA cells a domain has such devices.
            cells = tree.findall("cpu/numa/cell")
            machine.guest_memory = sum(
                int(cell.get("memory")) << 10 for cell in cells) + sum(
                device.size for device in machine.devices) or None
        except libvirt.libvirtError as error:
            machine.error = str(error)
        return machine

    @staticmethod
    def _ask_qemu(domain):
        """Devices, or None if that is not our QEMU, or may not be asked."""
        import libvirt              # pylint: disable=import-outside-toplevel
        import libvirt_qemu         # pylint: disable=import-outside-toplevel
        try:
            answer = libvirt_qemu.qemuMonitorCommand(
                domain, json.dumps({"execute": "query-virtio-mem"}), 0)
        except libvirt.libvirtError:
            return None
        rows = json.loads(answer).get("return")
        return rows and [device_of_qmp(row) for row in rows]

    @staticmethod
    def _read_xml(tree):
        devices = []
        for memory in tree.findall("devices/memory[@model='virtio-mem']"):
            target = memory.find("target")

            def size(name, target=target):
                return int(target.findtext(name) or 0) << 10

            devices.append(Device(
                id=memory.find("alias").get("name"),
                node=int(target.findtext("node") or 0), size=size("current"),
                requested=size("requested"), most=size("size")))
        return devices

    async def close(self):
        """Lets go of the connection."""
        if self._connection:
            self._connection.close()
            self._connection = None


def source_of(word):
    """
    Of an argument: a UNIX socket, or libvirt's URI with domains after a "#".
    Raises ValueError for anything else.
    """
    if "://" in word or ":///" in word:
        uri, _, names = word.partition("#")
        return LibvirtSource(uri, [name for name in names.split(",") if name])
    if os.path.exists(word) and Path(word).is_socket():
        return QmpSource(word)
    raise ValueError(f"'{word}' is neither a UNIX socket nor a URI of libvirt")
