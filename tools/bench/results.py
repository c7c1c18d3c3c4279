# SPDX-License-Identifier: GPL-2.0-or-later
"""
The values that were found: of a thing (`what`), a measure, a contender and a
round.  Round 0 warms up and does not count.  Ratios are taken round by round,
so that what slowed a whole round down is in both halves.
"""

import math
import statistics

UNITS = {"grow": "ms/GiB", "shrink": "ms/GiB", "to target": "s"}
MORE_IS_BETTER = ("work",)          # measures that begin with it


def unit_of(measure):
    if measure.startswith("touched"):
        return "MiB/GiB"
    if measure.startswith("work"):
        return "%"
    return UNITS.get(measure, "")


def times_as_good(ours, stock, more_is_better=False):
    """How many times as good as stock's a value of ours is."""
    if ours == stock:
        return 1.0              # none at all is as good as none
    if more_is_better:
        ours, stock = stock, ours
    return stock / ours if ours else math.inf


class Measurement:
    """All values of one measure of one thing."""

    def __init__(self, what, measure):
        self.what = what
        self.measure = measure
        self.unit = unit_of(measure)
        self.more_is_better = measure.startswith(MORE_IS_BETTER)
        self.rounds = {}                # by contender: values by round

    def add(self, who, number, value):
        self.rounds.setdefault(who, {})[number] = value

    def values(self, who):
        """By round, without what does not count."""
        return {number: value
                for number, value in self.rounds.get(who, {}).items()
                if number}

    def median(self, who):
        """None where nothing was found."""
        values = self.values(who)
        return statistics.median(values.values()) if values else None

    def ratios(self, ours, stock):
        """Of the rounds that both have."""
        mine, other = self.values(ours), self.values(stock)
        return [times_as_good(mine[n], other[n], self.more_is_better)
                for n in sorted(mine.keys() & other.keys())]

    def as_dict(self):
        return {"what": self.what, "measure": self.measure, "unit": self.unit,
                "contenders": {who: {
                    "median": self.median(who),
                    "rounds": {str(n): value for n, value in values.items()},
                } for who, values in self.rounds.items()}}


class Results:
    """Measurements, in the order in which they came."""

    def __init__(self):
        self._found = {}

    def add(self, who, number, finding):
        key = finding.what, finding.measure
        if key not in self._found:
            self._found[key] = Measurement(*key)
        self._found[key].add(who, number, finding.value)

    def get(self, what, measure):
        """None where nothing was found."""
        return self._found.get((what, measure))

    def median(self, what, measure, who):
        found = self.get(what, measure)
        return found.median(who) if found else None

    def __bool__(self):
        return bool(self._found)

    def __iter__(self):
        return iter(self._found.values())
