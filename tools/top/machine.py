# SPDX-License-Identifier: GPL-2.0-or-later
"""
What is known of a machine and its devices at a moment.  Sizes are bytes; None
is what the source can't tell, such as a QEMU that is not ours.
"""

from dataclasses import asdict, dataclass, field

# Why a target is not reached, in the order in which it matters
CAUSES = {
    "kernel": "kernel pages",
    "pinned": "pinned pages",
    "no-memory": "no memory to move to",
    "refused": "offlining refused",
    "other": "in use",
    "not-online": "not onlined",
}


@dataclass
class Device:
    """A virtio-mem device."""
    id: str
    node: int
    size: int                           # plugged
    requested: int
    most: int                           # the backend's
    driver: bool | None = None          # whether the guest has one
    seconds: float | None = None        # of the last resize, up to now
    violations: int | None = None       # None as well without protection
    result: str | None = None           # of the driver's last report
    causes: dict = field(default_factory=dict)      # bytes, by CAUSES
    rate: float | None = None           # bytes a second since the last look

    @property
    def is_there(self):
        """Whether the target is reached."""
        return self.size == self.requested

    @property
    def reason(self):
        """Why not, in words; empty where nobody knows."""
        if self.driver is False and not self.is_there:
            return "no driver"
        words = [f"{CAUSES[name]} {size >> 20}M"
                 for name, size in self.causes.items()]
        if not words and self.result not in (None, "done"):
            words = [self.result]
        return ", ".join(words)


@dataclass
class Machine:
    """A machine, or why nothing is known of it."""
    name: str
    source: str
    error: str | None = None
    guest_memory: int | None = None     # at boot and plugged
    host_memory: int | None = None      # resident, of the QEMU process
    devices: list = field(default_factory=list)

    def as_json(self):
        """Keys as in QMP."""
        values = asdict(self)
        for device, row in zip(self.devices, values["devices"]):
            row["reason"] = device.reason
        return _dashes(values)


def _dashes(value):
    if isinstance(value, dict):
        return {key.replace("_", "-"): _dashes(entry)
                for key, entry in value.items()}
    if isinstance(value, list):
        return [_dashes(entry) for entry in value]
    return value


def device_of_qmp(info):
    """Of a row of query-virtio-mem, or of query-memory-devices."""
    protection = info.get("protection")
    report = info.get("report", {})
    return Device(
        id=info.get("id") or info.get("qom-path", "?"), node=info["node"],
        size=info["size"], requested=info["requested-size"],
        most=info["max-size"], driver=info.get("driver"),
        seconds=info["resize"]["ms"] / 1000 if "resize" in info else None,
        violations=protection and sum(protection[kind] for kind in
                                      ("writes", "reads", "found")),
        result=report.get("result"),
        causes={name: report[name] for name in CAUSES if report.get(name)})


def add_rates(before, now, seconds):
    """Of devices that were there before; `seconds` lie in between."""
    sizes = {(machine.name, device.id): device.size
             for machine in before for device in machine.devices}
    for machine in now:
        for device in machine.devices:
            old = sizes.get((machine.name, device.id))
            if old is not None and seconds > 0:
                device.rate = (device.size - old) / seconds
