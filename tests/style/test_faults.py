# SPDX-License-Identifier: GPL-2.0-or-later
"""The faults of `make mutate`, which takes hours.  That it can put them shows."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "faults"))

import driver_faults                        # noqa: E402
import faults                               # noqa: E402

PLACES = [
    *((fault, ROOT / "build/qemu-src/hw/virtio") for fault in faults.FAULTS),
    *((fault, ROOT / "drivers/virtio/virtio_mem")
      for fault in driver_faults.FAULTS)]


@pytest.mark.parametrize("fault,directory", PLACES,
                         ids=[fault.name for fault, _ in PLACES])
def test_fault_has_a_place(fault, directory):
    """Find its piece of source, just once."""
    assert (directory / fault.file).read_text().count(fault.old) == 1
