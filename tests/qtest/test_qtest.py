# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the device's qtests (virtio-mem-*-test.c), each case as its own test.

The cases are those that qos-test lists; what each is about stands in its C
file.  QEMU_BUILD in the environment names another build directory of QEMU.
"""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("QEMU_BUILD", ROOT / "build" / "qemu")).resolve()
QOS_TEST = BUILD / "tests" / "qtest" / "qos-test"
QEMU = BUILD / "qemu-system-x86_64"

# The longest case takes some seconds; an event that never comes takes for ever.
CASE_TIMEOUT_S = 300


def qos_test(*args, qemu=QEMU, prefix=()):
    """What qos-test says when called with these arguments, and its status."""
    return subprocess.run([*prefix, QOS_TEST, *args], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, timeout=CASE_TIMEOUT_S,
                          env={**os.environ, "QTEST_QEMU_BINARY": str(qemu)})


def list_cases():
    """The paths of all cases.  Not to find any is an error, not a success."""
    for file in (QOS_TEST, QEMU):
        if not file.exists():
            raise FileNotFoundError(f"{file} is missing: run `make qemu` first")
    listing = qos_test("-l")
    # Newer GLib turns the list into comments.
    cases = sorted(line.removeprefix("# ")
                   for line in listing.stdout.splitlines()
                   if "/pci-bus/virtio-mem-pci/virtio-mem" in line)
    if listing.returncode or not cases:
        raise RuntimeError(f"{QOS_TEST} lists no virtio-mem case:\n"
                           f"{listing.stdout}")
    return cases


CASES = list_cases()
LINUX = tuple(int(part) for part in os.uname().release.split(".")[:2])


def case(name):
    """The path of the one with this name."""
    path, = (path for path in CASES if os.path.basename(path) == name)
    return path


def check_case(path, **how):
    """That the case is the only one that ran shows in the list of verdicts."""
    result = qos_test("-p", path, **how)
    verdicts = [line for line in result.stdout.splitlines()
                if line.startswith(("ok ", "not ok "))]
    passed = result.returncode == 0 and verdicts == [f"ok 1 {path}"]
    assert passed, f"status {result.returncode}\n{result.stdout}"


@pytest.mark.parametrize("path", CASES, ids=os.path.basename)
def test_qtest(path):
    # The name of the case tells what it is about, so no docstring repeats it.
    check_case(path)


@pytest.mark.parametrize("trouble", [["slow"], ["slow", "no-memory"]],
                         ids=["fill", "undo"])
@pytest.mark.parametrize("reset", ["device", "queue"])
def test_reset_waits_for_nothing(reset, trouble, host):
    """Reset the device, or its queue, while the host gets on with nothing."""
    # The case lets the host go on once it has done the reset.
    for condition in trouble:
        host.begin(condition)
    check_case(case(f"prealloc-and-a-{reset}-reset-in-the-middle"))
    assert host.says("filling")


def test_answer_does_not_wait(host):
    """Notify the guest of an answer while the host gets stuck with the next."""
    host.begin("slow")
    check_case(case("prealloc-behind-another-request"))
    assert host.says("filling")


@pytest.mark.parametrize("name", [
    "D19-unplug-finds-all-that-is-in-use",
    "D19-unplug-all-finds-all-that-is-in-use"])
@pytest.mark.parametrize("condition", ["old", "swaps", "loaded"])
def test_host_finds_all(condition, name, host):
    """Find memory in use whatever the kernel does, and in the thread as well."""
    host.begin(condition)
    check_case(case(name))


@pytest.mark.parametrize("name", [
    "listener-of-what-the-host-keeps",
    "listener-of-slots-that-the-host-keeps",
    "listener-of-large-blocks-that-the-host-keeps",
    "listener-that-can-not-map-again"])
def test_host_that_keeps_memory(name, host):
    """Tell listeners to map what could not be given back."""
    # The case lets the host keep memory, once there is a device.
    check_case(case(name))


@pytest.mark.parametrize("name", ["prealloc-waits-for-a-thread",
                                  "unplug-waits-for-a-thread"])
def test_host_without_threads(name, host):
    """Answer BUSY to what takes long as long as no thread can be had."""
    # The case lets the host have none, once there is a device.
    check_case(case(name))


@pytest.mark.parametrize("name,extents", [
    ("mappings-are-shared", 100), ("mappings-are-shared-with-others", 99)])
def test_few_mappings(name, extents, host, monkeypatch):
    """Take a quarter of the mappings that a process has, all devices."""
    host.allows_mappings(400)
    monkeypatch.setenv("TEST_MAX_EXTENTS", str(extents))
    check_case(case(name))


@pytest.mark.parametrize("name", ["a-host-without-a-page-is-no-way-out",
                                  "protection-waits-for-a-job"])
def test_host_in_protection(name, host):
    """Protect as before once the host has what it lacked."""
    # The case says when.
    check_case(case(name))


@pytest.mark.parametrize("name", ["query-counts-discards",
                                  "query-counts-what-the-host-has-not"])
def test_host_failures_count(name, host):
    """Count what the host could not do."""
    # The case says when.
    check_case(case(name))


@pytest.mark.parametrize("name", ["a-write-is-caught",
                                  "a-write-is-caught-in-memfd"])
def test_host_is_busy(name, host):
    """Catch a write although the host can't give the page at once."""
    host.begin("busy-tables")
    check_case(case(name))


@pytest.mark.skipif(LINUX < (6, 7), reason="needs PAGEMAP_SCAN of Linux 6.7")
def test_host_is_not_asked(host):
    """Pass by large ranges that are empty, even if the host takes none back."""
    check_case(case("unplug-asks-no-host-for-what-is-empty"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can stop being root")
@pytest.mark.skipif(not os.path.exists("/dev/userfaultfd"),
                    reason="needs /dev/userfaultfd of Linux 6.1")
@pytest.mark.parametrize("name", [
    "a-write-is-caught", "memory-is-found", "a-write-of-the-kernel-to-memfd",
    "a-write-of-the-kernel-is-known-by-its-traces"])
def test_unprivileged(name, tmp_path):
    """Protect as a user whom /dev/userfaultfd lets in, and nothing else."""
    # A device file that nobody else sees.  The build may be out of reach.
    device = tmp_path / "userfaultfd"
    os.mknod(device, 0o020666, os.stat("/dev/userfaultfd").st_rdev)
    device.chmod(0o666)
    check_case(case(name), prefix=[
        "unshare", "--mount", "sh", "-c",
        f'mount --bind {device} /dev/userfaultfd && exec setpriv --reuid 65534 '
        '--regid 65534 --clear-groups --inh-caps=-all,+dac_read_search '
        '--ambient-caps=+dac_read_search "$0" "$@"'])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can stop being root")
@pytest.mark.parametrize("option", ["user=nobody", "chroot={}"])
@pytest.mark.parametrize("name", [
    "a-write-is-caught", "memory-is-found", "memory-is-found-in-memfd",
    "a-write-of-the-kernel-is-known-by-its-traces"])
def test_other_user(name, option, tmp_path):
    """Protect as before once QEMU has given up its rights, or most files."""
    qemu = tmp_path / QEMU.name
    qemu.write_text(f'#!/bin/sh\nexec {QEMU} "$@" '
                    f"-run-with {option.format(tmp_path)}\n")
    qemu.chmod(0o755)
    check_case(case(name), qemu=qemu)


# strace prints the ioctl() of PAGEMAP_SCAN by its number.
SYSTEM_CALLS = {"UFFDIO_REGISTER": "register", "UFFDIO_UNREGISTER": "unregister",
                "0x66, 0x10,": "scan", "MADV_DONTNEED": "discard"}


def lines_of_main_thread(trace):
    """strace outlives QEMU, for as long as it takes to write the last ones."""
    deadline = time.monotonic() + CASE_TIMEOUT_S
    while True:
        # Each begins with a number, and with spaces up to the sixth column.
        found = re.findall(r"^(\d+) +(.*)\n", trace.read_text(), re.MULTILINE)
        lines = [text for thread, text in found if thread == found[0][0]]
        if lines and lines[-1].startswith("+++ exited"):
            return lines
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.skipif(LINUX < (6, 7), reason="needs PAGEMAP_SCAN of Linux 6.7")
@pytest.mark.parametrize("mode,plug,unplug", [
    ("audit", [], ["scan"]),
    ("write", ["unregister"], ["register", "scan"]),
    ("full", ["unregister"], ["register", "scan"])])
def test_system_calls(mode, plug, unplug, tmp_path):
    """Plug and unplug 128 MiB with no more system calls than documented."""
    trace = tmp_path / "trace"
    qemu = tmp_path / QEMU.name
    qemu.write_text("#!/bin/sh\nexec strace -D -f -e trace=ioctl,madvise "
                    f'-o {trace} {QEMU} "$@"\n')
    qemu.chmod(0o755)
    check_case(case(f"few-system-calls-in-{mode}"), qemu=qemu)
    calls = [name for line in lines_of_main_thread(trace)
             for words, name in SYSTEM_CALLS.items() if words in line]
    # The first round opens the pagemap, too, and the end of the machine follows.
    expected = 3 * (plug + unplug)
    found = [calls[i:i + len(expected)] for i in range(len(calls))]
    assert expected in found, calls
