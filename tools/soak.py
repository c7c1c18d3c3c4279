# SPDX-License-Identifier: GPL-2.0-or-later
"""
Compares the device with a model of it over very many random steps, in runs of
virtio-mem-model-test with one seed after the other.

usage: python3 -m soak JOBS

SEED in the environment is the first seed, STEPS the number of steps (default
1,000,000), QEMU_BUILD another build directory of QEMU.
"""

import os
import random
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from testvm import paths

BUILD = Path(os.environ.get("QEMU_BUILD") or paths.QEMU.parent).resolve()
PROGRAM = BUILD / "tests" / "qtest" / "virtio-mem-model-test"
ENVIRONMENT = {**os.environ,
               "QTEST_QEMU_BINARY": str(BUILD / "qemu-system-x86_64")}

STEPS_PER_RUN = 2500
SEEDS = 1 << 32
# A step takes a millisecond or two, one that migrates some hundred.
TIMEOUT_S = 300
COUNTS = re.compile(r"(\d+) ([a-z]+)(?=[:,\n])", re.IGNORECASE)


class Disagreement(Exception):
    """All that the run printed."""


def first_seed():
    return int(os.environ.get("SEED") or random.randrange(SEEDS))


def compare(seed, steps=STEPS_PER_RUN):
    """Returns what the run counted: steps, ACK, resizes, ..."""
    environment = {**ENVIRONMENT, "SEED": str(seed % SEEDS),
                   "STEPS": str(steps)}
    result = subprocess.run([PROGRAM, "--tap"], text=True, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            stdin=subprocess.DEVNULL, env=environment,
                            timeout=TIMEOUT_S + steps)
    summary = re.search(r"^# \d+ steps: .*\n", result.stdout, re.MULTILINE)
    if result.returncode or not summary or "\nok 1 " not in result.stdout:
        raise Disagreement(f"SEED={seed % SEEDS}: status {result.returncode}\n"
                           f"{result.stdout}")
    return Counter({what: int(number) for number, what
                    in COUNTS.findall(summary.group())})


class Progress:
    """How far it is: in place on a terminal, else a line for each tenth."""

    def __init__(self, total):
        self.total = total
        self.terminal = sys.stdout.isatty()
        self.tenth = 0

    def show(self, steps):
        text = f"  {steps:,} of {self.total:,} steps"
        if self.terminal:
            print(f"\r{text} ", end="" if steps < self.total else "\n",
                  flush=True)
        elif steps * 10 // self.total > self.tenth:
            self.tenth = steps * 10 // self.total
            print(text, flush=True)


def soak(seed, total, jobs):
    """Runs of consecutive seeds, so that they have all configurations."""
    counts = Counter()
    progress = Progress(total)
    sizes = [min(STEPS_PER_RUN, total - start)
             for start in range(0, total, STEPS_PER_RUN)]
    with ThreadPoolExecutor(jobs) as pool:
        runs = [pool.submit(compare, seed + i, size)
                for i, size in enumerate(sizes)]
        try:
            for run in as_completed(runs):
                counts += run.result()
                progress.show(counts["steps"])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return counts


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m soak JOBS")
    seed = first_seed()
    total = int(os.environ.get("STEPS") or 1_000_000)
    print(f"SEED={seed} STEPS={total}", flush=True)
    try:
        counts = soak(seed, total, int(sys.argv[1]))
    except Disagreement as found:
        sys.exit(f"\n{found}")
    print("the device and the model agree: " + ", ".join(
        f"{number:,} {what}" for what, number in counts.items()))


if __name__ == "__main__":
    main()
