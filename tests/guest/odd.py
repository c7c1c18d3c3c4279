# SPDX-License-Identifier: GPL-2.0-or-later
"""
Devices that tell lies (hw/misc/virtio-mem-odd.c), and what a guest with our
driver makes of them.
"""

import re
from dataclasses import dataclass, field

from testvm import GIB, MIB

BLOCK = 2 * MIB

# Where QEMU has room for the memory of such devices, with 1 GiB at boot.
BASE = 4 * GIB

# What a driver may do while it waits: in 3 seconds, a few attempts of a few
# requests.  One that does not wait sends thousands.  What is wrong it has said
# before; there may be what follows from it.
PAUSE = 3
FEW_REQUESTS = 40
FEW_LINES = 2

# Lines that begin like those of the driver.
LINUX = "probe with driver|Bad virtqueue length"


@dataclass
class OddDevice:
    """A virtio-mem-odd-pci; `place` is its number among those of a machine."""
    id: str
    place: int
    options: dict = field(default_factory=dict)
    size: int = GIB
    memory: bool = True
    backend: str = "memory-backend-ram,reserve=off"

    @property
    def slot(self):
        return f"{8 + self.place // 8:02x}.{self.place % 8}"

    @property
    def address(self):
        return BASE + self.place * GIB

    def arguments(self):
        props = {"id": self.id, "addr": self.slot, "multifunction": "on",
                 "memaddr": self.address, "block-size": BLOCK,
                 "region-size": self.size, "usable-region-size": self.size}
        backend = []
        if self.memory:
            props["memdev"] = f"{self.id}-mem"
            backend = ["-object", f"{self.backend},id={self.id}-mem,"
                                  f"size={self.size}"]
        props.update(self.options)
        text = ",".join(f"{key}={value}" for key, value in props.items())
        return [*backend, "-device", f"virtio-mem-odd-pci,{text}"]


class Odd:
    """One such device of a machine, and its lines from now on."""

    def __init__(self, vm, device, since_boot=False):
        self.vm = vm
        self.id = device.id
        self.address = device.address
        folder = f"/sys/bus/pci/devices/0000:00:{device.slot}"
        self.name, = [name for name in vm.guest.list(folder)
                      if re.fullmatch(r"virtio\d+", name)]
        self._lines_before = 0
        if not since_boot:
            self._lines_before = len(self.lines())

    def tell(self, **properties):
        """Sets properties: lies, or the truth."""
        for name, value in properties.items():
            self.vm.put(self.id, name.replace("_", "-"), value)

    def get(self, name):
        return self.vm.get(self.id, name)

    def requests(self):
        """How many came, of all types."""
        return sum(self.get(name) for name in
                   ("nb-plug", "nb-unplug", "nb-unplug-all", "nb-state"))

    def log(self):
        """All requests that came: (type, address, number of blocks)."""
        words = [line.split() for line in self.get("log").splitlines()]
        return [(kind, int(address, 0), int(number))
                for kind, address, number in words]

    def debugfs(self, name):
        """What the driver tells of the device in this file."""
        return self.vm.guest.read(f"/sys/kernel/debug/virtio_mem/{self.name}/"
                                  f"{name}")

    def status(self, name):
        """A number that the driver tells of the device."""
        found = re.search(rf"^{name}:\s+(\d+)$", self.debugfs("status"),
                          re.MULTILINE)
        return int(found[1])

    def work(self, kind):
        """How often the driver has done this work, or tried to."""
        for line in self.debugfs("work").splitlines():
            if line.split()[0] == kind:
                return int(line.split()[1])
        raise LookupError(kind)

    def lines(self):
        """What the driver said about the device, and not Linux."""
        own = re.compile(rf"virtio_mem(?: {self.name}:|: .*"
                         rf"{self.address:#x}\b).*")
        found = [own.search(line) for line in
                 self.vm.guest.dmesg().splitlines()
                 if not re.search(LINUX, line)]
        return [match[0] for match in found if match][self._lines_before:]

    def be_sane(self):
        """From now on; what is owed gets a sane answer."""
        self.tell(plug="sane", unplug="sane", unplug_all="sane", state="sane",
                  x_report="sane")

    def is_bound(self):
        return self.name in self.vm.bound()

    def unbind(self):
        self.vm.unbind(self.name)

    def bind(self):
        self.vm.bind(self.name)

    def wait_for_line(self, pattern):
        self.vm.wait_for(
            f"the driver to say '{pattern}' about {self.id}",
            lambda: any(re.search(pattern, line) for line in self.lines()))

    def wait_for_size(self, size):
        self.vm.wait_for(f"{self.id} to have {size} bytes",
                         lambda: self.get("size") == size)

    def begin_request(self, name, size):
        """
        Sets the requested size, and returns once a request is there; `name` is
        the property that counts requests of its type.
        """
        before = self.get(name)
        self.tell(requested_size=size)
        self.wait_for_request(name, before)

    def wait_for_request(self, name, before=0):
        self.vm.wait_for(f"a request that {name} counts",
                         lambda: self.get(name) > before)

    def resize(self, size):
        """To a size that a sane device and its driver reach."""
        self.tell(requested_size=size)
        self.wait_for_size(size)

    def check_patience(self):
        """The driver neither floods the device nor the log."""
        requests, lines = self.requests(), len(self.lines())
        wait_in_guest(self.vm, PAUSE)
        assert self.requests() - requests <= FEW_REQUESTS
        assert len(self.lines()) - lines <= FEW_LINES, self.lines()


def wait_in_guest(vm, seconds):
    """Of the guest's own time: it stands still when the host is slow."""
    start = vm.guest.uptime()
    vm.wait_for("time to pass", lambda: vm.guest.uptime() >= start + seconds)
