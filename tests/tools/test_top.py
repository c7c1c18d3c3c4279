# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/virtio-mem-top: what it shows of machines, and of those it can't ask."""

import io
import json
import os
import pty
import select
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from testvm import GIB, MIB, VM, Device
from top import machine as machines
from top import screen

TOP = Path(__file__).resolve().parents[2] / "tools" / "virtio-mem-top"


def top(*words, status=0):
    """What it prints, to stdout or stderr."""
    done = subprocess.run([TOP, *words], capture_output=True, text=True,
                          check=False, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == status, done.stderr
    return done.stderr or done.stdout


def drawn(*found, columns=80):
    """The lines of a picture."""
    console = Console(file=io.StringIO(), width=columns)
    console.print(screen.picture(found, "12:00:00"))
    return console.file.getvalue().splitlines()


def device(**values):
    """A device of 4 GiB; `size` and `requested` are what is of interest."""
    return machines.Device(**{"id": "vm0", "node": 0, "most": 4 * GIB,
                              "size": GIB, "requested": GIB, **values})


class WatchedVM(VM):
    """Has a second QMP socket, for the tool."""

    def __init__(self, name, devices, **options):
        # Its path must be short, and be known before the directory is.
        self.path = f"/tmp/{name}-{os.getpid()}.qmp"
        super().__init__(name, devices, arguments=[
            "-name", "web", "-qmp", f"unix:{self.path},server=on,wait=off"],
            **options)

    def stop(self):
        super().stop()
        Path(self.path).unlink(missing_ok=True)

    def told(self):
        """The tool's JSON of the only machine"""
        answer, = json.loads(top("--once", "--json", self.path))["machines"]
        return answer


def test_machine():
    """Tell sizes, target, memory of guest and host, and why it stopped."""
    with WatchedVM("top", [
            Device("vm0", 4 * GIB, options={
                "x-driver-reports": "on", "unplugged-protection": "audit"}),
            Device("vm1", 2 * GIB)], memory=GIB) as vm:
        idle, _ = vm.told()["devices"]
        assert (idle["driver"], idle["reason"]) == (False, "")
        vm.resize("vm0", GIB)
        waiting, _ = vm.told()["devices"]
        assert (waiting["reason"], waiting["requested"]) == ("no driver", GIB)
        vm.guest.load("ours")
        vm.wait_for_size("vm0", GIB)
        vm.resize_and_wait("vm1", 512 * MIB)
        vm.guest.pin("page", 65536)
        vm.resize("vm0", 0)
        vm.wait_for("a report", lambda: vm.told()["devices"][0]["causes"])

        told = vm.told()
        first, second = told["devices"]
        assert (told["name"], told["error"]) == ("web", None)
        assert told["guest-memory"] == GIB + vm.size("vm0") + vm.size("vm1")
        assert GIB // 8 < told["host-memory"] < 4 * GIB
        assert (first["size"], first["requested"]) == (vm.size("vm0"), 0)
        assert (first["most"], first["node"]) == (4 * GIB, 0)
        assert first["causes"] == {"pinned": first["size"]}
        assert (first["result"], first["driver"]) == ("in-use", True)
        assert first["violations"] == 0 and first["seconds"] > 0
        assert (second["id"], second["size"]) == ("vm1", 512 * MIB)
        assert second["violations"] is None and second["reason"] == ""
        text = top("--once", vm.path)
        assert "web" in text and "pinned pages" in text and "512M" in text


def test_stock():
    """Tell the sizes of a QEMU that knows no more."""
    with WatchedVM("top-stock", [Device("vm0", GIB)], qemu="stock-tree",
                   guest=False) as vm:
        vm.resize("vm0", 512 * MIB)
        told, = vm.told()["devices"]
        assert (told["size"], told["requested"]) == (0, 512 * MIB)
        assert told["driver"] is None and told["seconds"] is None
        assert "going on" in top("--once", vm.path)


def test_follow():
    """Print a line each second, with rates."""
    with WatchedVM("top-follow", [Device("vm0", 4 * GIB)]) as vm:
        vm.guest.load("ours")
        with subprocess.Popen([TOP, "--json", "--interval", "0.1", vm.path],
                              stdout=subprocess.PIPE, text=True) as tool:
            try:
                first = json.loads(tool.stdout.readline())
                vm.resize("vm0", 4 * GIB)
                rates = [first["machines"][0]["devices"][0]["rate"]]
                while not rates[-1]:
                    line = json.loads(tool.stdout.readline())
                    rates.append(line["machines"][0]["devices"][0]["rate"])
                assert rates[0] is None and rates[-1] > 0
            finally:
                tool.kill()


def test_terminal():
    """Draw on a terminal until it is interrupted."""
    with WatchedVM("top-terminal", [Device("vm0", GIB)], guest=False) as vm:
        ours, its = pty.openpty()
        with subprocess.Popen([TOP, vm.path], stdin=its, stdout=its,
                              stderr=its) as tool:
            os.close(its)
            seen = b""
            while b"vm0 @0" not in seen:
                assert select.select([ours], [], [], 60)[0]
                seen += os.read(ours, 4096)
            tool.send_signal(signal.SIGINT)
            while True:
                try:
                    if not os.read(ours, 4096):
                        break
                except OSError:         # the other end is closed
                    break
            assert tool.wait(60) == 130
        os.close(ours)
        assert vm.told()["error"] is None, "others may have the socket again"


def test_busy():
    """Say that another client has the socket, and what of the others."""
    with WatchedVM("top-busy", [Device("vm0", GIB)], guest=False) as vm:
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(vm.path)
            assert b"QMP" in other.recv(4096)
            found = json.loads(top("--once", "--json", vm.path, status=1))
            assert "another client" in found["machines"][0]["error"]


@pytest.mark.parametrize("words,text", [
    (["--once", "/nowhere"], "'/nowhere' is neither a UNIX socket nor"),
    (["--once", "--interval", "0", "qemu:///system"], "'0' is not above 0"),
    (["--once", "--interval", "soon", "qemu:///system"], "invalid"),
], ids=["no-socket", "no-interval", "no-number"])
def test_mistake(words, text):
    """Say what is wrong with an argument."""
    assert text in top(*words, status=2)


def test_dead_socket(tmp_path):
    """Say why a machine can't be asked, and go on with others."""
    path = tmp_path / "dead"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    told, = json.loads(top("--once", "--json", path, status=1))["machines"]
    assert "refused" in told["error"]


def test_no_terminal():
    """Don't draw where nobody sees it."""
    assert "not a terminal" in top("qemu:///system", status=1)


@pytest.mark.parametrize("columns,bar", [(80, 8), (120, 24)])
def test_picture_fits(columns, bar):
    """Fit the terminal, with a bar that fits as well."""
    lines = drawn(machines.Machine(
        "web", "x", guest_memory=GIB, host_memory=GIB,
        devices=[device(requested=3 * GIB, result="in-use", rate=-3.5 * MIB,
                        causes={"pinned": GIB, "kernel": MIB}, seconds=7)]),
        columns=columns)
    assert max(len(line) for line in lines) <= columns
    text = "\n".join(lines)
    assert "█" * (bar // 4) + "░" * (bar // 2) + "·" * (bar // 4) in text
    assert "-4M/s" in text and "1 on their way" in text


def test_bar_of_shrink():
    """Show what is to go."""
    assert screen.bar_of(device(size=2 * GIB, requested=0), 8).plain == "▒▒▒▒····"
    assert screen.bar_of(device(size=2 * MIB), 8).plain == "█░······"


def test_violations():
    """Count violations of all kinds."""
    shown = machines.device_of_qmp({
        "id": "vm0", "node": 0, "size": 0, "requested-size": 0,
        "max-size": GIB, "protection": {"writes": 1, "reads": 2, "found": 4}})
    assert shown.violations == 7
    text = "\n".join(drawn(machines.Machine("web", "x", devices=[shown]),
                           columns=120))
    assert "7 violations" in text


def test_not_onlined():
    """Tell of memory that the guest has and does not use."""
    shown = device(result="done", causes={"not-online": GIB})
    assert "not onlined 1024M" in screen.state_of(shown).plain
