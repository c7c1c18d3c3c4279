# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests with libvirt share: daemons, and domains in them."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "guest"))

import domain as domains                    # noqa: E402
from backends import hugepages              # noqa: E402, F401: a fixture
from daemon import Daemon                   # noqa: E402

UUIDS = ("8b1e2f2c-2d0f-4cf3-8a4e-0f7f4d3f9a01",
         "8b1e2f2c-2d0f-4cf3-8a4e-0f7f4d3f9a02")


@pytest.fixture
def daemons():
    """Starts daemons: daemons() is another one, as if of another host."""
    running = []

    def _start(**options):
        daemon = Daemon(UUIDS[len(running)], **options)
        daemon.__enter__()
        running.append(daemon)
        return daemon

    yield _start
    for daemon in running:
        daemon.end()


@pytest.fixture
def define(daemons):
    """
    Defines domains: define(*devices, **options of Domain), in a daemon of
    their own unless `daemon` is one.
    """
    defined = []

    def _define(*devices, daemon=None, **options):
        machine = domains.Domain(daemon or daemons(), *devices, **options)
        defined.append(machine)
        return machine

    yield _define
    for machine in defined:
        if machine.guest:
            machine.check_clean()
