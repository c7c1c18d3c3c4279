# SPDX-License-Identifier: GPL-2.0-or-later
"""
Watches virtio-mem devices: sizes and targets, how fast they change, guest and host
memory, and why a resize does not end.
"""

import argparse
import asyncio
import json
import sys
import time

from rich.console import Console
from rich.live import Live

from .machine import add_rates
from .screen import picture
from .sources import source_of

EPILOG = """\
A SOURCE is a UNIX socket of QMP, or a URI of libvirt: all its domains, or those
after a "#".

  virtio-mem-top /run/vm1/qmp /run/vm2/qmp
  virtio-mem-top qemu:///system
  virtio-mem-top --once qemu:///system#web,db

QEMU lets one client at a time have a QMP socket: give it one of its own.  Why a
resize does not end is known of our QEMU only, and with x-driver-reports=on.
Exit status: 0, or 1 if --once or --json could not ask a machine.
"""


def seconds(text):
    """A number of seconds above 0."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not above 0")
    return value


def arguments(words):
    parser = argparse.ArgumentParser(
        prog="virtio-mem-top", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", metavar="SOURCE", nargs="*",
                        default=["qemu:///system"],
                        help="where machines are (default: qemu:///system)")
    parser.add_argument("--once", action="store_true",
                        help="print what there is, and end")
    parser.add_argument("--json", action="store_true",
                        help="print a line of JSON for each look, sizes in "
                             "bytes; with --once a single one")
    parser.add_argument("--interval", type=seconds, default=1,
                        metavar="SECONDS",
                        help="from one look to the next (default: 1)")
    asked = parser.parse_args(words)
    try:
        asked.sources = [source_of(word) for word in asked.sources]
    except ValueError as error:
        parser.error(str(error))
    return asked


class Watch:
    """Looks at all sources, again and again."""

    def __init__(self, sources):
        self._sources = sources
        self._last = []
        self._when = None

    async def look(self):
        """All machines, with rates since the look before."""
        lists = await asyncio.gather(*(source.look()
                                       for source in self._sources))
        now = time.monotonic()
        machines = [machine for found in lists for machine in found]
        if self._when is not None:
            add_rates(self._last, machines, now - self._when)
        self._last, self._when = machines, now
        return machines

    async def close(self):
        for source in self._sources:
            await source.close()


def clock():
    return time.strftime("%H:%M:%S")


def print_json(machines):
    print(json.dumps({"time": time.time(), "machines": [
        machine.as_json() for machine in machines]}), flush=True)


async def show(watch, asked):
    """Until it is interrupted."""
    with Live(screen=True, auto_refresh=False) as live:
        while True:
            live.update(picture(await watch.look(), clock()), refresh=True)
            await asyncio.sleep(asked.interval)


async def follow(watch, asked):
    """One line of JSON after the other."""
    while True:
        print_json(await watch.look())
        await asyncio.sleep(asked.interval)


async def once(watch, asked):
    """Returns the exit status."""
    machines = await watch.look()
    if asked.json:
        print_json(machines)
    else:
        Console().print(picture(machines, clock()))
    return int(any(machine.error for machine in machines))


async def run(asked):
    watch = Watch(asked.sources)
    try:
        if asked.once:
            return await once(watch, asked)
        await (follow if asked.json else show)(watch, asked)
    finally:
        await watch.close()


def main():
    asked = arguments(None)
    if not asked.json and not asked.once and not sys.stdout.isatty():
        sys.exit("virtio-mem-top: not a terminal: use --once or --json")
    try:
        sys.exit(asyncio.run(run(asked)))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
