# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest that goes on using what it gave back: once for each way in which a
device can protect unplugged memory.  Exit status: 0 only if the memory lasted
where nothing protects it, and nowhere else.
"""

import argparse
import logging
import sys
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from testvm import GIB, MIB, VM, Device

from . import screen
from .__main__ import FAILURES
from .units import human

MODES = {
    "off": "nothing is in its way",
    "audit": "the host looks for such memory once a second",
    "write": "the host catches each write",
    "full": "the host catches each write and each read",
}

# Kinds of violations, in the device's words and in ours
WORDS = {"writes": "writes", "reads": "reads", "found": "pages found"}

PLUGGED = 512 * MIB
EVENT = "MEMORY_DEVICE_VIOLATION"

# What the guest writes to after it gave it back, so many bytes into the region:
# so many pages, so many bytes from one to the next
PAGES = 4096
STRIDE = 64 << 10
FIRST = 256 * MIB

# Then the audit comes by as often, before it reads again.
PASSES = 2


@dataclass
class Result:
    mode: str
    grown: int              # bytes of the host when the guest has written
    kept: int               # pages that had their contents in the end
    violations: dict        # how many, by kind
    event: dict             # the first that was told, or None


def arguments():
    parser = argparse.ArgumentParser(
        prog="demo.rogue",
        description="Shows a guest that uses what it gave back.")
    parser.parse_args()


def devices():
    """One for each mode; the size tells them apart on the host."""
    return [Device(mode, GIB + number * 128 * MIB,
                   options={"unplugged-protection": mode})
            for number, mode in enumerate(MODES, 1)]


def boot(vm, show):
    show.begin("booting the guest")
    vm.start()
    vm.guest.load("ours")
    show.done()


def plug_and_unplug(vm, show):
    show.begin(f"the guest takes {human(PLUGGED)} of each of {len(MODES)} "
               f"devices, and gives them back")
    for size in (PLUGGED, 0):
        for mode in MODES:
            vm.resize(mode, size)
        for mode in MODES:
            vm.wait_for_size(mode, size)
    show.done()


def violations(vm, mode):
    info = vm.devices()[mode].get("protection", {})
    return {kind: info.get(kind, 0) for kind in WORDS}


def passes(vm, mode):
    """How often the audit has looked through all"""
    return vm.devices()[mode].get("protection", {}).get("passes", 0)


def first_event(vm, mode):
    return next((event["data"] for event in vm.events(EVENT)
                 if event["data"]["id"] == mode), None)


def misbehave(vm, mode, show):
    """What comes of the guest's writing to a device's unplugged memory."""
    show.begin(f"{mode}: {MODES[mode]}; the guest writes {PAGES} pages")
    start = vm.devices()[mode]["memaddr"] + FIRST
    vm.guest.use_physical_later(start, STRIDE, PAGES, waits=True)
    vm.wait_for("the guest to write", vm.guest.has_written_physical)
    grown = vm.host_resident(mode)
    last = passes(vm, mode) + PASSES
    vm.wait_for("the audit",
                lambda: mode == "off" or passes(vm, mode) >= last)
    vm.guest.read_physical()
    vm.wait_for("the guest to read", vm.guest.has_used_physical)
    result = Result(mode, grown, vm.guest.end_use_physical(),
                    violations(vm, mode), first_event(vm, mode))
    show.done()
    return result


def words(result):
    """What the host was told."""
    told = [f"{count} {WORDS[kind]}" for kind, count
            in result.violations.items() if count]
    return ", ".join(told) or "nothing"


def show_results(results, show):
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("protection")
    table.add_column("host memory\nafter it wrote", justify="right")
    table.add_column(f"of {PAGES} pages\nit kept", justify="right")
    table.add_column("what the host was told")
    for result in results:
        table.add_row(result.mode, human(result.grown), str(result.kept),
                      words(result))
    show.console.print(table)
    show.line("where no access is caught the host gives 2 MiB at once, not "
              "pages of 4 KiB:")
    show.line(f"{PAGES} writes, {STRIDE >> 10} KiB apart, take "
              f"{human(PAGES * STRIDE)}; audit takes that back while they go on")
    show.line("an access counts again if its page was taken back under way")
    show.line("")


def show_event(results, show):
    event = next(result.event for result in reversed(results) if result.event)
    show.line(f"the first event, {EVENT}; later ones come once a second, with "
              f"their count:")
    for key, value in event.items():
        text = f"{value:#x}" if key in ("memaddr", "block") else value
        show.line(f"  {key}: {text}")
    show.line("other actions: discard (no event), pause, shutdown; all of it is "
              "in docs/using.md")


def is_right(result):
    """Whether the mode did what it is there for."""
    if result.mode == "off":
        return result.kept == PAGES and not result.event
    return result.kept == 0 and result.event


def demonstrate(vm, show):
    with show:
        boot(vm, show)
        plug_and_unplug(vm, show)
        results = [misbehave(vm, mode, show) for mode in MODES]
        vm.check_clean()
    show_results(results, show)
    show_event(results, show)
    return all(is_right(result) for result in results)


def main():
    arguments()
    logging.getLogger("qemu").setLevel(logging.CRITICAL)    # we say it
    vm = VM("demo-rogue", devices())
    kind = screen.Terminal if screen.on_terminal() else screen.Plain
    show = kind(vm.configured)
    try:
        right = demonstrate(vm, show)
    except FAILURES as error:
        where = f' in "{show.doing}"' if show.doing else ""
        show.line(f"demo failed{where}: {error}")
        return 1
    except KeyboardInterrupt:
        show.line("demo interrupted")
        return 130
    finally:
        vm.stop()
    show.line("the memory lasted only where nothing protects it" if right else
              "this is not what protection should do")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
