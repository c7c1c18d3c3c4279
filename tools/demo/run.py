# SPDX-License-Identifier: GPL-2.0-or-later
"""
Carries out the plan on a running machine, samples sizes on both sides while
it does, and says of each step whether guest and host agree to the byte.
Shows nothing by itself: it tells a screen (screen.py) what happens.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .units import exact, human

INTERVAL = 0.1          # seconds between samples
LIMIT = 240             # seconds after which a step is given up


class DemoError(Exception):
    """A step did not end as it must."""


@dataclass
class Sample:
    """What both sides say at one time; bytes, by device or by node."""
    time: float         # seconds since the guest is up
    requested: dict     # by device
    plugged: dict       # by device, as the host counts
    resident: dict      # by device: what takes memory of the host
    nodes: dict         # by node, as the guest counts
    mem_total: int      # as the guest counts

    def of(self, device):
        """Requested, plugged, the guest's node, resident on the host."""
        return (self.requested[device.id], self.plugged[device.id],
                self.nodes[device.node], self.resident[device.id])


@dataclass
class Result:
    """How a step went; sizes in bytes."""
    title: str
    start: float        # when it began, as in Sample
    seconds: float      # from setting the sizes until all had followed
    mem_total: int      # exactly what it has to be, or there is no result
    given_back: int | None      # by the host's count; None: a growing step
    verified: int = 0   # bytes that were in use and kept their contents


class Run:
    """A demo on one machine; `samples` and `results` are its record."""

    def __init__(self, vm, screen, pause):
        self.vm = vm
        self.screen = screen
        self.samples = []
        self.results = []
        self.boot = None            # the sample before anything was plugged
        self._pause = pause         # seconds to look at what a step did
        self._clock = time.monotonic()
        self._guest_thread = ThreadPoolExecutor(1)

    def carry_out(self, plan, driver):
        """Raises DemoError when a step fails."""
        self.boot = self.sample()
        self.vm.guest.load(driver)
        self._watch(self._pause)
        for number, step in enumerate(plan, 1):
            self.screen.begin(f"{number} {step.title}")
            self._one(step)
            self.screen.done(self.results[-1])

    def _one(self, step):
        guest = self.vm.guest
        start = self._now()
        for node, size in step.touch.items():
            self._in_guest(f"the guest fills {human(size)}, and frees it",
                           guest.hold, f"touch{node}", size, 7, node)
            guest.drop(f"touch{node}")
        for node, size in step.hold.items():
            self._in_guest(f"the guest fills {human(size)}, and keeps it",
                           guest.hold, f"hold{node}", size, 11, node)
        if step.touch or step.hold:
            self._watch(self._pause)
            self.screen.note("resizing")
        result = self._resize(step, start)
        for node, size in step.hold.items():
            self._in_guest(f"the guest verifies its {human(size)}",
                           guest.verify, f"hold{node}")
            guest.drop(f"hold{node}")
            result.verified += size
        self.results.append(result)

    def _resize(self, step, begun):
        before = self.sample()
        start = self._now()
        for device, size in step.sizes.items():
            self.vm.resize(device, size)
        while self._problems(self.sample()):
            if self._now() > start + LIMIT:
                self._insist_on_agreement()
            time.sleep(INTERVAL / 4)
        seconds = self._now() - start
        self._watch(self._pause)
        after = self._insist_on_agreement()
        shrinks = any(size < before.requested[device]
                      for device, size in step.sizes.items())
        given_back = (sum(before.resident.values())
                      - sum(after.resident.values()))
        return Result(step.title, begun, seconds, after.mem_total,
                      given_back if shrinks else None)

    def _insist_on_agreement(self):
        sample = self.sample()
        problems = self._problems(sample)
        if problems:
            raise DemoError("; ".join(problems))
        return sample

    def _problems(self, sample):
        """Where a sample differs from what was asked for."""
        found = []

        def expect(what, size, computed):
            if size != computed:
                found.append(f"{what} is {exact(size)} bytes, "
                             f"not {exact(computed)}")

        grown = dict.fromkeys(sample.nodes, 0)
        for device in self.vm.configured:
            plugged = sample.plugged[device.id]
            grown[device.node] += plugged
            resident = sample.resident[device.id]
            expect(f"what is plugged of {device.id}", plugged,
                   sample.requested[device.id])
            if resident > plugged:
                found.append(f"the host keeps {exact(resident)} bytes of "
                             f"{device.id}, more than is plugged")
        for node, total in sample.nodes.items():
            expect(f"the guest's node {node}", total,
                   self.boot.nodes[node] + grown[node])
        expect("the guest's MemTotal", sample.mem_total,
               self.boot.mem_total + sum(grown.values()))
        return found

    def _in_guest(self, what, command, *args):
        """Watches the host while the guest is busy with a command."""
        self.screen.note(what)
        busy = self._guest_thread.submit(command, *args)
        while not busy.done():
            self.sample(ask_guest=False)
            time.sleep(INTERVAL)
        busy.result()
        self.sample()

    def _watch(self, seconds):
        end = self._now() + seconds
        while self._now() < end:
            self.sample()
            time.sleep(INTERVAL)

    def _now(self):
        return time.monotonic() - self._clock

    def sample(self, ask_guest=True):
        """Asks both sides; the guest's answers stay while it is busy."""
        vm = self.vm
        vm.check_alive()
        host = vm.devices()
        if ask_guest:
            nodes = {device.node: vm.guest.node_total(device.node)
                     for device in vm.configured}
            mem_total = vm.guest.mem_total()
        else:
            nodes = self.samples[-1].nodes
            mem_total = self.samples[-1].mem_total
        sample = Sample(
            self._now(),
            {name: device["requested-size"] for name, device in host.items()},
            {name: device["size"] for name, device in host.items()},
            {name: vm.host_resident(name) for name in host},
            nodes, mem_total)
        self.samples.append(sample)
        self.screen.show(sample)
        return sample
