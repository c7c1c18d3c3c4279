# SPDX-License-Identifier: GPL-2.0-or-later
"""HMP as one types it: what the Tab key completes."""

import socket

import pytest

from testvm import GIB, VM, Device

PROMPT = b"(qemu) "
TAB = b"\t"


class Monitor:
    """A monitor that somebody types into."""

    def __init__(self, path):
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(60)
        self._sock.connect(path)
        self.read_until(PROMPT)

    def type(self, keys):
        self._sock.sendall(keys)

    def read_until(self, end):
        """What it shows, up to these bytes."""
        seen = b""
        while end not in seen:
            data = self._sock.recv(4096)
            assert data, seen
            seen += data
        return seen

    def close(self):
        self._sock.close()


@pytest.fixture(scope="module")
def monitor(tmp_path_factory):
    path = tmp_path_factory.mktemp("monitor") / "hmp"
    with VM("monitor", [Device("first", GIB), Device("second", GIB)],
            guest=False,
            arguments=["-monitor", f"unix:{path},server=on,wait=off"]):
        monitor = Monitor(str(path))
        yield monitor
        monitor.close()


@pytest.mark.parametrize("command", ["info virtio-mem",
                                     "memory-device-resize"])
def test_completion(monitor, command):
    """Complete the ID of a device, or show those that there are."""
    monitor.type(f"{command} f".encode() + TAB)
    monitor.read_until(b"first")
    monitor.type(b"\b" * 80 + f"{command} ".encode() + TAB)
    shown = monitor.read_until(b"second")
    assert b"first" in shown
    monitor.type(b"\b" * 80)
