# SPDX-License-Identifier: GPL-2.0-or-later
"""
How the driver's benchmark judges what it found.  How fast anything is, is not
asked here.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from bench import chart, count, disturbance, pinned, run
from bench.contender import BALLOON, OURS, STOCK
from bench.goals import AtMost, Even, Faster, Undisturbed
from bench.machine import idle_and_all
from bench.part import Finding, Part, Resizes
from bench.results import Results
from bench.units import value_text

NONE = "not measured"


def results(what, measure, **values):
    """Values by contender, from round 0 on."""
    found = Results()
    add(found, what, measure, **values)
    return found


def add(found, what, measure, **values):
    for who, rounds in values.items():
        for number, value in enumerate(rounds):
            found.add(who.replace("_", "-"), number,
                      Finding(what, measure, value))


@pytest.mark.parametrize("stock, verdict", [
    ((0, 50, 60, 70), "met"), ((0, 49, 49, 70), "MISSED"),
    ((900,), NONE)])
def test_faster(stock, verdict):
    """Judge the median of the rounds' ratios, without the first round."""
    found = results("x", "shrink", ours=(900, 1, 1, 1), stock=stock)
    assert Faster("", "x", "shrink", 50).row(found).verdict == verdict


def test_ratio_by_round():
    """Compare what was measured in the same round."""
    found = results("x", "grow", ours=(1, 1, 10, 4), stock=(9, 2, 20, 4))
    assert found.get("x", "grow").ratios("ours", "stock") == [2, 2, 1]
    assert found.get("x", "grow").median("ours") == 4


def test_ratio_of_rounds_that_failed():
    """Leave out rounds that only one contender has."""
    found = results("x", "grow", ours=(1, 1, 10), stock=(9, 2, 20, 4))
    assert found.get("x", "grow").ratios("ours", "stock") == [2, 2]


def test_more_is_better():
    """Turn the ratio round where more is better; none at all is worst."""
    found = results("x", "work during grow", ours=(1, 80, 80, 0, 0),
                    stock=(1, 20, 0, 80, 0))
    ratios = found.get("x", "work during grow").ratios("ours", "stock")
    assert ratios == [4, float("inf"), 0, 1]


@pytest.mark.parametrize("rest, verdict", [(50, "met"),
                                           (49, "host too busy")])
def test_busy_host(rest, verdict):
    """Judge no disturbance where the host disturbs the guest anyway."""
    found = results("x", "work during grow", ours=(0, 80), stock=(0, 20))
    add(found, "x", "work at rest", ours=(0, 90), stock=(0, rest))
    goal = Undisturbed("", "x", "work during grow", 2)
    assert goal.row(found).verdict == verdict


@pytest.mark.parametrize("requests, verdict", [(8, "met"), (9, "MISSED")])
def test_at_most(requests, verdict):
    """Judge a value that stands alone, whatever stock's is."""
    found = results("x", "requests, grow", ours_i0=(0, requests),
                    stock_i0=(0, 8))
    goal = AtMost("", "x", "requests, grow", 8, "-i0")
    assert goal.row(found).verdict == verdict


@pytest.mark.parametrize("large, verdict", [(26, "met"), (27, "MISSED")])
def test_even(large, verdict):
    """Judge how much more a large size takes."""
    found = results("large", "grow", ours_i0=(9, large), stock_i0=(9, 80))
    goal = Even("", "large", "grow", 1.3, "-i0", base="small")
    assert goal.row(found).verdict == NONE
    add(found, "small", "grow", ours_i0=(9, 20), stock_i0=(9, 20))
    row = goal.row(found)
    assert row.verdict == verdict and row.stock == "4.00 x"


def test_given_up():
    """Say that a wait was given up, not that it ended then."""
    found = results("x", "to target", ours=(0, 1.5),
                    stock=(0, pinned.LIMIT_S)).get("x", "to target")
    assert value_text(found, found.median("ours")) == "1.50 s"
    assert value_text(found, found.median("stock")) == "> 60 s"


def test_percentile():
    """Find the value of which one in a hundred is lower."""
    assert disturbance.percentile(range(200, 0, -1), 1) == 3
    assert disturbance.percentile([7, 5], 1) == 5


def test_slices():
    """Take all slices that a resize takes part in, and no others."""
    assert disturbance.during(list(range(100)), 0.052, 0.081) == [5, 6, 7, 8]


def test_relative():
    """Tell slices in per cent of the usual one at rest."""
    assert disturbance.relative([150, 200, 200, 250], [0, 300]) == [
        [75, 100, 100, 125], [0, 150]]


def test_work():
    """Tell the worst slices, and the mean."""
    slices = {"grow": [25] * 200, "shrink": [0, 0, 0] + [50] * 97}
    found = {finding.measure: finding.value for finding in
             disturbance.findings([75, 100, 100, 125], slices)}
    assert found == {"work at rest": 75, "work during grow": 25,
                     "work during grow, mean": 25, "work during shrink": 0,
                     "work during shrink, mean": 48.5}


def test_idle():
    """Add up idle and all ticks of the guest's CPUs."""
    assert idle_and_all("cpu  1 0 2 30 4 0 0 0 0 0\ncpu0 9 9\n") == (34, 37)


def test_requests():
    """Count requests that QEMU traced, and nothing else that it says."""
    assert count.count_requests(
        "warning: virtio_mem_plug_request\n"
        "virtio_mem_plug_request addr=0x1 nb_blocks=2\n"
        "17@1.5:virtio_mem_unplug_all_request \n"
        "virtio_mem_send_response type=0\n") == 2


def test_calls():
    """Add up the hits of functions that do the same."""
    names = [name for group in count.FUNCTIONS.values() for name in group]
    profile = "".join(f"  {name}   3   0\n" for name in names)
    assert count.count_calls(profile) == {
        "LRU drains": 3, "page drains": 6, "allocations of ranges": 3,
        "offlined blocks": 3}


def test_steps():
    """Let each contender begin every other round."""
    part = Resizes("x", (OURS, STOCK), 2, sizes=(2,))
    turns = [(step.round, step.contender.name) for step in run.steps(part)]
    assert turns == [(0, "stock"), (0, "ours"), (1, "ours"), (1, "stock"),
                     (2, "stock"), (2, "ours")]


def test_balloon_has_one_size():
    """Give a guest that has all its memory at boot one size only."""
    part = Resizes("x", (OURS, BALLOON), 1, sizes=(2, 4))
    assert part.sizes_of(OURS) == (2, 4) and part.sizes_of(BALLOON) == (2,)


class Silent:
    """A screen that nobody looks at."""

    def begin(self, what):
        pass

    def advance(self, seconds):
        pass

    def say(self, text):
        pass

    def progress(self, _seconds):
        return open(os.devnull, encoding="ascii")


@dataclass(frozen=True)
class Fails(Part):
    """A part that can't run, with one contender."""

    def measure(self, contender, say):
        if contender is STOCK:
            raise OSError("broken")
        return [Finding("x", "grow", 1)]


def test_failed():
    """Go on after a failure, and say that there was one."""
    taken = run.Run([Fails("x", (OURS, STOCK), 1)], Silent())
    taken.take()
    assert len(taken.failed) == 2 and "broken" in taken.failed[0]
    assert taken.results.median("x", "grow", "ours") == 1


def test_host_without_memory(monkeypatch):
    """Leave out what this host has no memory for, and say so."""
    monkeypatch.setattr(run, "available_gib", lambda: 5.0)
    small, large = (Resizes("x", (OURS, STOCK), 1, sizes=(gib,))
                    for gib in (2, 8))
    assert not run.lacks_memory(small)
    assert "which has 5.0" in run.lacks_memory(large)
    monkeypatch.setattr(run, "available_gib", lambda: 1.5)
    taken = run.Run([Fails("x", (OURS, STOCK), 1)], Silent())
    taken.take()
    assert len(taken.left_out) == 1
    assert not taken.failed and not taken.results


def test_chart(tmp_path):
    """Draw a bar for each median, and no picture of nothing."""
    file = tmp_path / "chart.svg"
    assert not chart.draw(Results(), file, "")
    found = results("untouched, 2 GiB", "shrink", ours=(9, 100),
                    stock=(9, 5000))
    assert chart.draw(found, file, "")
    text = file.read_text()
    assert "100  ours" in text and "5,000  stock" in text


def bench(tmp_path, *words):
    return subprocess.run(
        [sys.executable, "-m", "bench", "--rounds", "1", "--json",
         tmp_path / "driver.json", *words], env={**os.environ, "QUICK": "1"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
        check=False)


def test_unknown_part(tmp_path):
    """Refuse a part that there is not, and name those that there are."""
    result = bench(tmp_path, "nonsense")
    assert result.returncode == 2 and "untouched" in result.stderr


def test_bench(tmp_path):
    """Boot a guest of each driver and count what it does."""
    result = bench(tmp_path, "calls")
    assert result.returncode == 0, result.stdout + result.stderr
    found = {(entry["what"], entry["measure"]): entry["contenders"]
             for entry in json.loads(
                 (tmp_path / "driver.json").read_text())["measurements"]}
    blocks = found["2 GiB", "offlined blocks, shrink"]
    assert blocks["ours-i0"]["median"] == 16
    assert blocks["stock-i0"]["median"] == 16
    assert "offlined blocks, shrink" in result.stdout
