# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/virtio-mem-top with libvirt."""

import json
import subprocess
from pathlib import Path

from domain import memory
from testvm import GIB

TOP = Path(__file__).resolve().parents[2] / "tools" / "virtio-mem-top"


def top(uri, status=0):
    """What it says of the machines."""
    done = subprocess.run([TOP, "--once", "--json", uri], capture_output=True,
                          text=True, check=False)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)["machines"]


def test_domains(define):
    """Tell of all domains, or of some."""
    machine = define(memory(4 * GIB), memory(4 * GIB, 1)).start()
    machine.resize_exact(GIB, 0)
    told, = top(machine.daemon.uri)
    first, second = told["devices"]
    assert told["name"] == "vm"
    assert (first["id"], first["size"], first["most"]) == (
        "virtiomem0", GIB, 4 * GIB)
    assert (second["node"], second["size"], second["driver"]) == (1, 0, True)
    assert told["host-memory"] > GIB // 8
    assert told["guest-memory"] == 3 * GIB
    assert top(f"{machine.daemon.uri}#vm")[0]["devices"] == told["devices"]
    missing, = top(f"{machine.daemon.uri}#web", status=1)
    assert (missing["name"], missing["error"]) == ("web", "it does not run")


def test_xml_alone(define):
    """Tell what the XML has of a QEMU that can't be asked for more."""
    machine = define(memory(4 * GIB, requested=GIB), qemu="stock-tree").start()
    machine.wait_exact(GIB)
    told, = top(machine.daemon.uri)
    device, = told["devices"]
    assert (device["size"], device["requested"], device["most"]) == (
        GIB, GIB, 4 * GIB)
    assert device["driver"] is None and device["seconds"] is None
    assert told["guest-memory"] == 3 * GIB


def test_no_daemon(tmp_path):
    """Say that there is no such daemon."""
    told, = top(f"qemu+unix:///system?socket={tmp_path}/none", status=1)
    assert "connect" in told["error"]
