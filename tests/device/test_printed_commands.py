# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that the documents print, as one would type them."""

import json
import re
import shlex
from pathlib import Path

import pytest

import top.__main__ as top
from testvm import GIB, VM, Device

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(document):
    """Runs of indented lines, with their line ends."""
    return re.findall(r"(?:^ {4,}\S.*\n(?:^\s*\n(?= {4,}))?)+",
                      document.read_text(), re.M)


def qmp_commands(text):
    """The objects of a block that are commands."""
    decoder = json.JSONDecoder()
    for start in re.finditer(r'^ *(?=\{ "execute")', text, re.M):
        yield decoder.raw_decode(text, start.end())[0]


def hmp_commands(text):
    return re.findall(r"^ *\(qemu\) (.*)$", text, re.M)


def with_commands(find):
    """Documents in which find() finds something in a block."""
    return [document for document in DOCUMENTS
            if any(list(find(text)) for text in blocks(document))]


def name(document):
    return str(document.relative_to(ROOT))


def qemu_options(text):
    """Each QEMU command line of a block: its options but for the machine's."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.splitlines():
        options = re.findall(r"(?:^|\s)(-object|-device) (\S+)", line)
        if options:
            yield [word for pair in options for word in pair]


QMP = with_commands(qmp_commands)
HMP = with_commands(hmp_commands)
LINES = [(document, options) for document in DOCUMENTS
         for text in blocks(document) for options in qemu_options(text)]


def machine(title, devices=(), arguments=()):
    """Two nodes, no guest, and room for more memory."""
    return VM(title, devices, nodes=2, guest=False, memory=GIB,
              arguments=["-m", "1G,maxmem=200G", *arguments])


def test_there_are_some():
    """Find commands where there are known to be some."""
    assert {"README.md", "docs/using.md"} <= {name(found) for found in QMP}
    assert {"README.md", "docs/quick-start.md"} <= {name(found)
                                                    for found in HMP}
    assert len(LINES) >= 4


@pytest.mark.parametrize("document", sorted(set(QMP + HMP)), ids=name)
def test_monitor_commands(document):
    """Have QEMU take each QMP and HMP command."""
    with machine("printed", [Device("vm0", 16 * GIB)],
                 ["-device", "pcie-root-port,id=rp0"]) as vm:
        for text in blocks(document):
            for command in qmp_commands(text):
                vm.qmp(command["execute"], **{
                    key.replace("-", "_"): value for key, value
                    in command.get("arguments", {}).items()})
            for command in hmp_commands(text):
                answer = vm.hmp(command)
                assert not re.match("Error|unknown|invalid", answer), answer


@pytest.mark.parametrize("document,options", LINES, ids=[
    f"{name(document)}-{number}" for number, (document, _)
    in enumerate(LINES)])
def test_command_line(document, options):
    """Start QEMU with the options; all of them on a host of one node."""
    options = [re.sub("host-nodes=[0-9]+", "host-nodes=0", option)
               for option in options]
    with machine("printed-line", arguments=options) as vm:
        wanted = sum("virtio-mem-pci" in option for option in options)
        assert len(vm.devices()) == wanted


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_make(document):
    """Have a target for each `make`."""
    makefile = (ROOT / "Makefile").read_text()
    lines = re.findall(r"^ {4}(?:\w+=\S+ )*make (.*)$", document.read_text(),
                       re.M)
    inline = re.findall(r"`make ([a-z-]+)`", document.read_text())
    for line in [*lines, *inline]:
        line = re.sub(r"\$\([^)]*\)", "", line)
        for word in shlex.split(line, comments=True):
            assert "=" in word or re.search(
                rf"^(?:[\w-]+ )*{re.escape(word)}(?: [\w-]+)*:", makefile,
                re.M), word


def test_watcher(monkeypatch):
    """Have the watcher take each command line."""
    monkeypatch.setattr(top, "source_of", str)
    manual = (ROOT / "docs/man/virtio-mem-top.md").read_text()
    lines = re.findall(r"^ {4}virtio-mem-top (.*)$", manual, re.M)
    lines += re.findall(r"^  virtio-mem-top (.*)$", top.EPILOG, re.M)
    assert len(lines) >= 6
    for line in lines:
        assert top.arguments(shlex.split(line)).sources


def test_virsh():
    """Have a test of each virsh command."""
    text = (ROOT / "docs/libvirt.md").read_text()
    tests = (ROOT / "tests/libvirt/test_libvirt.py").read_text()
    verbs = set(re.findall(r"virsh ([a-z-]+) DOMAIN", text))
    assert len(verbs) >= 5
    for verb in verbs:
        assert f'"{verb}"' in tests, verb
