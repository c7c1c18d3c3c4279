# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares the device with a model of it (virtio-mem-model-test.c).

27,500 random steps in all.  SEED and STEPS in the environment repeat one run.
"""

import os

import pytest

import soak

# As many as the program has configurations: consecutive seeds cover them all.
RUNS = 11


@pytest.mark.parametrize("run", [0] if os.environ.get("SEED") else range(RUNS))
def test_model(run):
    """Agree with the model after each of many random steps."""
    seed = soak.first_seed()
    if not os.environ.get("SEED"):
        seed += run - seed % RUNS
    steps = int(os.environ.get("STEPS") or soak.STEPS_PER_RUN)
    print(f"SEED={seed}")
    assert soak.compare(seed, steps)["steps"] == steps
