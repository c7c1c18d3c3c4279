# SPDX-License-Identifier: GPL-2.0-or-later
"""
The ways to resize a guest.  Each says what the machine needs for it, asks for
a size, and tells from the answer to a QMP command how much the guest has
beyond its memory at boot.  `room` is the most that it can have.
"""

import json

from testvm import Device


def _line(command, **arguments):
    """A QMP command as it goes over the wire."""
    return json.dumps({"execute": command,
                       "arguments": arguments}).encode() + b"\n"


class VirtioMem:
    """A virtio-mem device of ours; the contender says whose driver it has."""

    full_at_boot = False
    modules = ()
    query = _line("qom-get", path="/machine/peripheral/vm0", property="size")

    def __init__(self, room):
        self.devices = [Device("vm0", room)]
        self.boot_memory = 0            # that is needed beyond the usual
        self.arguments = []

    def ask(self, vm, size):
        vm.resize("vm0", size)

    def size(self, answer):
        return answer


class Balloon:
    """
    A guest that has all its memory from boot on.  What the balloon takes is
    not the guest's any more.
    """

    full_at_boot = True
    modules = ("virtio_balloon",)
    query = _line("query-balloon")

    def __init__(self, room):
        self.devices = []
        self.boot_memory = room
        self.arguments = ["-device", "virtio-balloon-pci,id=balloon"]
        self._least = None

    def ask(self, vm, size):
        if self._least is None:
            self._least = vm.qmp("query-balloon")["actual"] - self.boot_memory
        vm.qmp("balloon", value=self._least + size)

    def size(self, answer):
        return answer["actual"] - self._least


class Dimm:
    """A DIMM of the size that is asked for: added whole, and removed whole."""

    full_at_boot = False
    modules = ()
    query = _line("query-memory-devices")

    def __init__(self, room):
        self.devices = []
        self.boot_memory = 0
        self.arguments = ["-m", f"slots=2,maxmem={(room >> 20) + (16 << 10)}M"]

    def ask(self, vm, size):
        if not size:
            vm.qmp("device_del", id="dimm")
            return
        if any(entry["id"] == "dimm-mem" for entry in vm.qmp("query-memdev")):
            vm.qmp("object-del", id="dimm-mem")
        vm.qmp("object-add", qom_type="memory-backend-ram", id="dimm-mem",
               size=size, reserve=False)
        vm.qmp("device_add", driver="pc-dimm", id="dimm", memdev="dimm-mem")

    def size(self, answer):
        return sum(entry["data"]["size"] for entry in answer)
