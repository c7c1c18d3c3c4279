# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark runs; how fast anything is, is not asked here."""

import json
import subprocess
import sys

import pytest

from testvm import paths

TOOL = paths.BUILD.parent / "tools" / "bench-device"

# Those that take a second or two, and what must be among their results
PARTS = {
    "unplug-all": "UNPLUG_ALL, every 2nd plugged",
    "prealloc": "preallocate: longest wait for QMP",
}


@pytest.mark.parametrize("part", PARTS)
def test_bench(part, tmp_path):
    """Measure a thing once with ours and once with stock."""
    file = tmp_path / "device.json"
    result = subprocess.run(
        [sys.executable, TOOL, "--rounds", "1", "--prealloc-gib", "1",
         "--json", file, part],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    found = {entry["what"]: entry
             for entry in json.loads(file.read_text())["measurements"]}
    entry = found[PARTS[part]]
    assert entry["ours"]["median"] > 0 and entry["stock"]["median"] > 0
    assert PARTS[part] in result.stdout


def test_bench_protection(tmp_path):
    """Measure a thing once in each mode, and once with stock."""
    file = tmp_path / "protection.json"
    result = subprocess.run(
        [sys.executable, TOOL.with_name("bench-protection"), "--rounds", "1",
         "--json", file, "tables", "pass"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    found = {entry["what"]: entry["rounds"]
             for entry in json.loads(file.read_text())["measurements"]}
    assert set(found["realize: page tables"]) == {"off", "audit", "write",
                                                  "full", "stock"}
    passes = found["a pass of the audit, nothing plugged"]
    assert set(passes) == {"audit", "write", "full"}
    assert all(value > 0 for values in passes.values() for value in values)
