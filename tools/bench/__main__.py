# SPDX-License-Identifier: GPL-2.0-or-later
"""
The benchmark's arguments and exit status: 0 when all parts could run, however
fast they were; 130 when interrupted.
"""

import argparse
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

from testvm import paths

from . import chart, contender, plan
from .goals import all_goals
from .run import Run
from .screen import Screen, show
from .units import duration

JSON = paths.BUILD / "bench" / "driver.json"
NEEDED = (paths.QEMU, paths.KERNEL, paths.INITRD)


def is_quick():
    return os.environ.get("QUICK", "") not in ("", "0")


def arguments():
    parser = argparse.ArgumentParser(
        prog="bench", description="Our driver beside the stock one.",
        epilog="QUICK=1 in the environment: a few minutes, small sizes.")
    parser.add_argument("--rounds", type=int, default=plan.ROUNDS, metavar="N",
                        help="that count; parts that take long have fewer "
                        f"(default {plan.ROUNDS})")
    parser.add_argument("--json", default=JSON, metavar="FILE", type=Path,
                        help="default " + os.path.relpath(JSON))
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(
        dict.fromkeys(part.name for part in plan.full(1))))
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: not at least 1")
    every = (plan.quick if is_quick() else plan.full)(options.rounds)
    known = {part.name for part in every}
    for name in options.parts:
        if name not in known:
            parser.error(f"{name}: not one of {', '.join(sorted(known))}")
    options.plan = [part for part in every
                    if not options.parts or part.name in options.parts]
    for file in NEEDED:
        if not file.exists():
            parser.error(f"{os.path.relpath(file)} is missing: `make bench`")
    return options


def kernel():
    """The guest's, as the build names it."""
    file = paths.BUILD / "linux" / "version"
    return file.read_text(encoding="ascii").strip() if file.exists() else ""


def write_results(options, run, goals, seconds):
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({
        "kernel": kernel(), "accel": os.environ.get("ACCEL") or "tcg",
        "cpus": os.cpu_count(), "seconds": round(seconds),
        "quick": is_quick(), "rounds": options.rounds,
        "contenders": {c.name: c.about for c in contender.ALL},
        "measurements": [found.as_dict() for found in run.results],
        "goals": [vars(goal.row(run.results)) for goal in goals],
        "left out": run.left_out, "failed": run.failed,
    }, indent=1) + "\n", encoding="utf-8")


def report(options, run, screen, seconds):
    """The tables and the files; also of a run that was interrupted."""
    goals = all_goals(used_gib=2 if is_quick() else 4)
    show(screen, run.results, goals)
    write_results(options, run, goals, seconds)
    screen.say(f"{duration(seconds)}; all rounds: "
               f"{os.path.relpath(options.json)}")
    svg = options.json.with_suffix(".svg")
    if chart.draw(run.results, svg, f"medians; guest: Linux {kernel()}"):
        screen.say(f"chart: {os.path.relpath(svg)}")


def tell_omissions(run, screen):
    """Once more, after all that went by."""
    for title, texts in (("left out", run.left_out), ("failed", run.failed)):
        for text in texts:
            screen.say(f"{title}: {text}")


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    logging.getLogger("qemu").setLevel(logging.CRITICAL)    # we say it
    screen = Screen()
    run = Run(options.plan, screen)
    start = time.monotonic()
    status = 0
    try:
        run.take()
    except KeyboardInterrupt:
        screen.say("interrupted")
        status = 130
    if run.results:
        report(options, run, screen, time.monotonic() - start)
    tell_omissions(run, screen)
    return status or int(bool(run.failed))


if __name__ == "__main__":
    sys.exit(main())
