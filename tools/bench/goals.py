# SPDX-License-Identifier: GPL-2.0-or-later
"""What our driver is to reach, and whether it does."""

import statistics
from dataclasses import dataclass

from . import disturbance, pinned
from .units import spread, value_text

MET, MISSED, UNKNOWN = "met", "MISSED", "not measured"
BUSY = "host too busy"
NONE = "-"


@dataclass
class Row:
    """What the table shows of a goal."""
    title: str
    stock: str = NONE
    ours: str = NONE
    ratio: str = NONE
    goal: str = ""
    verdict: str = UNKNOWN

    @property
    def measured(self):
        return self.verdict != UNKNOWN


@dataclass
class Goal:
    """About one measure of a thing; `suffix` chooses ours-i0 and stock-i0."""
    title: str
    what: str
    measure: str
    limit: float
    suffix: str = ""

    @property
    def ours(self):
        return f"ours{self.suffix}"

    @property
    def stock(self):
        return f"stock{self.suffix}"

    def row(self, results):
        row = Row(self.title, goal=self.goal_text())
        found = results.get(self.what, self.measure)
        if found:
            row.stock, row.ours = (value_text(found, found.median(who))
                                   for who in (self.stock, self.ours))
            ratios = found.ratios(self.ours, self.stock)
            if ratios:
                row.ratio = spread(ratios)
            row.verdict = self.verdict(found, ratios, results)
        return row

    def verdict(self, found, ratios, results):
        met = self.met(found, ratios, results)
        return UNKNOWN if met is None else MET if met else MISSED

    def goal_text(self):
        raise NotImplementedError

    def met(self, found, ratios, results):
        """None where nobody knows."""
        raise NotImplementedError


class Faster(Goal):
    """So many times as good as stock."""

    def goal_text(self):
        return f">= {self.limit:g} x"

    def met(self, found, ratios, results):
        return statistics.median(ratios) >= self.limit if ratios else None


class Undisturbed(Faster):
    """As Faster, where the work done says something about the guest."""

    def verdict(self, found, ratios, results):
        rest = [results.median(self.what, disturbance.REST, who)
                for who in (self.ours, self.stock)]
        if None not in rest and min(rest) < disturbance.REST_PERCENT:
            return BUSY
        return super().verdict(found, ratios, results)


class AtMost(Goal):
    """A value that is small by itself."""

    def goal_text(self):
        unit = {"to target": " s", "touched, shrink": " MiB/GiB"}
        return f"<= {self.limit:g}{unit.get(self.measure, '')}"

    def met(self, found, ratios, results):
        ours = found.median(self.ours)
        return None if ours is None else ours <= self.limit


@dataclass
class Even(Goal):
    """No more than so many times what it is at another size."""
    base: str = ""

    def goal_text(self):
        return f"<= {self.limit:g} x"

    def row(self, results):
        row = super().row(results)
        times = [self._times(results, who) for who in (self.stock, self.ours)]
        row.ratio = NONE
        row.stock, row.ours = (NONE if t is None else f"{t:.2f} x"
                               for t in times)
        return row

    def met(self, found, ratios, results):
        times = self._times(results, self.ours)
        return None if times is None else times <= self.limit

    def _times(self, results, who):
        """The value, in units of the one at the other size."""
        large = results.median(self.what, self.measure, who)
        small = results.median(self.base, self.measure, who)
        return large / small if large is not None and small else None


def all_goals(used_gib=4):
    """As rows of the table; `used_gib` is what is used and freed."""
    untouched = "untouched, {} GiB".format
    large = "untouched, {} GiB, large guest".format
    goals = [Faster(f"shrink {gib} GiB, untouched", untouched(gib), "shrink",
                    50) for gib in (2, 4, 8)]
    goals += [Faster(f"the same, init_on_alloc=0, {gib} GiB", untouched(gib),
                     "shrink", 2, "-i0") for gib in (2, 4, 8)]
    goals += [Faster(f"shrink {used_gib} GiB, used and freed",
                     f"used and freed, {used_gib} GiB", "shrink", 40),
              Faster("shrink 4 GiB, 25 % in use", "25 % in use, 4 GiB",
                     "shrink", 3)]
    goals += [Faster(f"grow by {gib} GiB", untouched(gib), "grow", 1.2)
              for gib in (2, 4, 8)]
    for way, limit in (("grow", 3), ("shrink", 6)):
        goals.append(Faster(f"{way} 128 GiB, init_on_alloc=0", large(128), way,
                            limit, "-i0"))
    goals += [Even(f"{way} 128 GiB: ms/GiB against 8 GiB's", large(128), way,
                   1.3, "-i0", base=large(8)) for way in ("grow", "shrink")]
    goals += [AtMost(f"requests to {way} 8 GiB", "8 GiB",
                     f"requests, {way}", 8, "-i0")
              for way in ("grow", "shrink")]
    goals.append(AtMost("page pinned for 2 s: to target after", pinned.WHAT,
                        "to target", 2))
    goals += [Undisturbed(f"work of a busy CPU, {way} 4 GiB",
                          disturbance.WHAT, f"work during {way}", 2)
              for way in ("grow", "shrink")]
    goals.append(AtMost("host memory touched, shrink", "2 GiB",
                        "touched, shrink", 5))
    return goals
