# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture: a table of devices, each with a bar, and the node after "@"."""

import math

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

MIB = 1 << 20
GIB = 1 << 30

# Columns of a terminal that has room for long bars, and how long bars are
WIDE = 110
WIDE_BAR = 24
NARROW_BAR = 8

# What bars are made of
PLUGGED, TO_GO, TO_COME, NOTHING = "█▒░·"


def human(size):
    """A size for people, in MiB below 10 GiB, so that each block shows."""
    if size is None:
        return "-"
    if abs(size) >= 10 * GIB:
        return f"{size / GIB:.1f}G"
    return f"{round(size / MIB)}M"


def rate_of(device):
    """How fast it changes, with its sign."""
    if not device.rate:
        return ""
    return f"{'+' if device.rate > 0 else '-'}{human(abs(device.rate))}/s"


def state_of(device):
    """Whether it is where it should be, and if not, why."""
    if device.is_there:
        style, text = "green", "done"
    else:
        style, text = "yellow", device.reason or "going on"
        if device.seconds is not None:
            text += f", {device.seconds:.0f} s"
    if device.is_there and device.causes:
        style, text = "yellow", device.reason
    state = Text(text, style=style)
    if device.violations:
        state.append(f" {device.violations} violations", style="red")
    return state


def bar_of(device, width):
    """
    Of all that there can be: what is plugged and stays, what is to go, and what
    is to come.
    """
    most = max(device.most, 1)
    size = math.ceil(width * min(device.size, most) / most)
    target = math.ceil(width * min(device.requested, most) / most)
    bar = Text(PLUGGED * min(size, target), style="cyan")
    bar.append(TO_GO * (size - target), style="yellow")
    bar.append(TO_COME * (target - size), style="yellow")
    bar.append(NOTHING * (width - max(size, target)), style="dim")
    return bar


class Devices:
    """The table, as wide as there is room."""

    def __init__(self, machines):
        self._machines = sorted(machines, key=lambda entry: entry.name)

    def __rich_console__(self, console, options):
        wide = options.max_width >= WIDE
        self._bar_width = WIDE_BAR if wide else NARROW_BAR
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name, right in (("machine", False), ("guest", True),
                            ("host", True), ("device", False), ("size", True),
                            ("target", True), ("of all", False), ("", True)):
            table.add_column(name, justify="right" if right else "left",
                             no_wrap=True)
        table.add_column("state", ratio=1)
        for machine in self._machines:
            for row in self._rows(machine):
                table.add_row(*row)
        yield table

    def _rows(self, machine):
        name = Text(machine.name)
        if machine.error:
            yield name, *[""] * 7, Text(machine.error, style="red")
            return
        head = (name, human(machine.guest_memory), human(machine.host_memory))
        for device in machine.devices:
            yield (*head, Text(f"{device.id} @{device.node}"),
                   human(device.size), human(device.requested),
                   bar_of(device, self._bar_width), rate_of(device),
                   state_of(device))
            head = ("", "", "")
        if not machine.devices:
            yield *head, *[""] * 5, Text("no virtio-mem device", style="dim")


def picture(machines, when):
    """All of it; `when` is said in the first line."""
    devices = [device for machine in machines for device in machine.devices]
    waiting = sum(not device.is_there for device in devices)
    head = (f"virtio-mem  {when}  {len(machines)} machines, {len(devices)} "
            f"devices, {waiting} on their way, "
            f"{human(sum(device.size for device in devices))} plugged")
    return Group(Text(head, style="bold"), Devices(machines))
