# SPDX-License-Identifier: GPL-2.0-or-later
"""What those share who run virtio-mem-bench (tests/qtest/)."""

import json
import os
import subprocess
from dataclasses import dataclass

from testvm import paths

BENCH = paths.QEMU_BUILD / "tests" / "qtest" / "virtio-mem-bench"
TIMEOUT_S = 600

# Larger units of each, with how many of the one before they are
SCALES = {"ns": (("µs", 1000), ("ms", 1000), ("s", 1000)),
          "ms": (("s", 1000),), "s": (), "MiB": (), "": ()}


class BenchError(Exception):
    """A part could not run."""


@dataclass
class Part:
    """A call of virtio-mem-bench, for each QEMU and round."""
    name: str
    rounds: int
    gib: int | None = None

    def __str__(self):
        return f"{self.name} {self.gib} GiB" if self.gib else self.name

    def command(self):
        return [str(BENCH), self.name] + ([str(self.gib)] if self.gib else [])


def measure(part, qemu):
    """The lines that the program prints about a part."""
    result = subprocess.run(part.command(), text=True, capture_output=True,
                            stdin=subprocess.DEVNULL, timeout=TIMEOUT_S,
                            env={**os.environ, "QTEST_QEMU_BINARY": qemu},
                            check=False)
    if result.returncode:
        raise BenchError(f"{part} with {os.path.relpath(qemu)}: status "
                         f"{result.returncode}\n{result.stdout[-2000:]}"
                         f"{result.stderr[-2000:]}")
    return [json.loads(line) for line in result.stdout.splitlines()
            if line.startswith("{")]


def human(value, unit):
    """Three digits in the largest unit that fits."""
    for larger, factor in SCALES[unit]:
        if abs(value) < factor:
            break
        value, unit = value / factor, larger
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f} {unit}".rstrip()
