# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes the rounds: in each one every contender runs once, by turns."""

from dataclasses import dataclass

from testvm import GIB

from .machine import FAILURES
from .results import Results

MARGIN_GIB = 1.0        # of the host's memory that is left alone


@dataclass
class Step:
    """A contender's turn in one round of a part; round 0 does not count."""
    part: object
    contender: object
    round: int

    @property
    def seconds(self):
        return self.part.seconds(self.contender)

    def __str__(self):
        part, number = self.part, f"round {self.round} of {self.part.rounds}"
        if not self.round:
            number = "warming up"
        return f"{part.name}: {self.contender.name}, {number}"


def steps(part):
    """Of a part; who begins alternates."""
    for number in range(0 if part.warm_up else 1, part.rounds + 1):
        order = part.contenders if number % 2 else part.contenders[::-1]
        yield from (Step(part, contender, number) for contender in order)


def available_gib():
    """What the host can give without swapping."""
    with open("/proc/meminfo", encoding="ascii") as file:
        sizes = dict(line.split(":") for line in file)
    return (int(sizes["MemAvailable"].split()[0]) << 10) / GIB


def lacks_memory(part):
    """Why a part can't run on this host, or nothing."""
    needed = max(part.host_gib(c) for c in part.contenders) + MARGIN_GIB
    has = available_gib()
    if needed <= has:
        return ""
    return f"it needs {needed:.1f} GiB of the host, which has {has:.1f}"


class Run:
    """Takes all parts in turn; `left_out` and `failed` are texts."""

    def __init__(self, parts, screen):
        self.results = Results()
        self.left_out = []
        self.failed = []
        self._parts = parts
        self._screen = screen

    def take(self):
        total = sum(step.seconds for part in self._parts
                    for step in steps(part))
        with self._screen.progress(total):
            for part in self._parts:
                self._part(part)

    def _part(self, part):
        why = lacks_memory(part)
        if why:
            self.left_out.append(f"{part.name}, {part.gib()} GiB: {why}")
            self._screen.say(f"left out: {self.left_out[-1]}")
        for step in steps(part):
            if not why:
                self._step(step)
            self._screen.advance(step.seconds)

    def _step(self, step):
        self._screen.begin(str(step))
        try:
            findings = step.part.measure(step.contender, self._screen.say)
        except FAILURES as error:
            self._screen.say(f"failed: {step}: {error}")
            self.failed.append(f"{step}: {error}".split("\n", 1)[0])
            return
        for finding in findings:
            self.results.add(step.contender.name, step.round, finding)
