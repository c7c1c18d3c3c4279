# SPDX-License-Identifier: GPL-2.0-or-later
"""
What those who follow which memory is there, as VFIO does, are told on the
target of a migration; ram-discard-testdev listens in their place.  All else
about listeners stands in tests/qtest/virtio-mem-listener-test.c.
"""

import re

import pytest

from test_options import BACKEND, refused
from test_streams import BLOCK, GOOD, REGION, machine, write
from test_streams import recorded, when         # noqa: F401 (fixtures)

# Streams, and the extent that they have plugged
PLUGGED = {
    "nothing plugged": "",
    "first block": f"0x0+{BLOCK:#x}",
    "target reached": f"{3 * BLOCK:#x}+{34 * BLOCK:#x}",
    "all": f"0x0+{REGION:#x}",
}


def target(when, name, listener="", **options):
    """A machine that waits for a stream, with a listener to its device."""
    return machine(when, name, incoming=True, options=options, arguments=[
        "-device",
        f"ram-discard-testdev,id=listener,memdev=vm0-mem{listener}"])


def check_told(vm, name):
    """The listener knows what is plugged, and heard of it just once."""
    assert vm.get("listener", "populated") == PLUGGED[name]
    assert vm.get("listener", "replay-populated") == PLUGGED[name]
    assert vm.get("listener", "nb-wrong") == 0, vm.stderr()
    assert vm.get("listener", "nb-discard") == 0


@pytest.mark.parametrize("name", PLUGGED)
def test_listener_of_target(when, recorded, tmp_path, name):
    """Tell a listener once, on the target, of what came plugged."""
    path = write(tmp_path, when, recorded, GOOD[name])
    with target(when, "listener") as vm:
        vm.restore(path)
        check_told(vm, name)
        assert vm.get("listener", "nb-populate") == bool(PLUGGED[name])


@pytest.mark.parametrize("name", PLUGGED)
def test_mapped_listener_of_target(when, recorded, tmp_path, name):
    """Tell it once also where it comes with the slots that are plugged."""
    path = write(tmp_path, when, recorded, GOOD[name])
    with target(when, "mapped", ",mapped-only=on", **{
            "dynamic-memslots": "on", "unplugged-inaccessible": "on"}) as vm:
        vm.restore(path)
        check_told(vm, name)


def test_objecting_listener_of_target(when, recorded, tmp_path):
    """Fail a migration that a listener on the target objects to."""
    path = write(tmp_path, when, recorded, GOOD["first block"])
    with target(when, "objecting", ",refuse=0") as vm:
        assert "virtio-mem" in vm.fails_to_restore(path)
        assert vm.get("listener", "nb-populate") == 1
        assert vm.get("listener", "populated") == ""


def test_objection_at_the_start(when, recorded, tmp_path):
    """Say that somebody who begins to listen objects, and to what."""
    path = write(tmp_path, when, recorded, GOOD["first block"])
    with target(when, "start", ",listening=off,refuse=0") as vm:
        vm.restore(path)
        vm.put("listener", "listening", True)
        assert re.search("virtio-mem: a user of the memory at 0x.* cannot map"
                         " what is plugged: .*busy", vm.stderr()), vm.stderr()
        assert vm.size("vm0") == BLOCK


MISTAKES = {
    "no backend": ("id=listener", "'memdev' must name a memory backend"),
    "backend of nobody": ("memdev=m1", "no memory device.* manages it"),
    "offset": ("memdev=m0,offset=1G", "not inside 0x40000000 bytes"),
    "size": ("memdev=m0,offset=1M,size=1G", "not inside 0x40000000 bytes"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_listener_mistakes(mistake):
    """Refuse to listen to what is not there."""
    options, message = MISTAKES[mistake]
    text = refused("-object", BACKEND, "-device", "virtio-mem-pci,memdev=m0",
                   "-object", BACKEND.replace("m0", "m1"),
                   "-device", f"ram-discard-testdev,{options}")
    assert re.search(message, text), text
