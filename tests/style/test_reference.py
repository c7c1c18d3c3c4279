# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/reference.md and the manuals against the code that they tell of."""

import re
from pathlib import Path

import pytest

from testvm import VM

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
DRIVER = (ROOT / "docs" / "driver.md").read_text()
TREE = ROOT / "build" / "qemu-src"


def rows(heading, text=REFERENCE):
    """Names in the first column of a section's table, each with its row."""
    section = re.search(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", text,
                        re.M | re.S).group(1)
    return {name: line for line in section.splitlines()
            if line.startswith("| ") for name in
            re.findall(r"`([^`]+)`", line.split(" | ")[0])}


@pytest.fixture(scope="module")
def qemu():
    with VM("reference", guest=False) as vm:
        yield vm


def test_properties(qemu):
    """List each property of the device, and no other."""
    # As libvirt does, see what a virtio PCI device has anyhow.
    of_all = {entry["name"] for entry in qemu.qmp(
        "device-list-properties", typename="virtio-balloon-pci")}
    ours = {entry["name"] for entry in qemu.qmp(
        "device-list-properties", typename="virtio-mem-pci")} - of_all
    assert set(rows("Properties of the device")) == ours


def members(types, name, prefix=""):
    """Names of all that a type of QMP has, with those in it."""
    for member in types[name]["members"]:
        inner = member["type"].strip("[]")
        inner = types.get(inner, {"meta-type": "builtin"})
        if inner["meta-type"] == "array":
            inner = types.get(inner["element-type"], {"meta-type": "builtin"})
        if inner["meta-type"] == "object":
            yield from members(types, inner["name"], f"{member['name']}.")
        else:
            yield prefix + member["name"]


def test_query(qemu):
    """List each member of what query-virtio-mem tells, and no other."""
    types = {entry["name"]: entry for entry in qemu.qmp("query-qmp-schema")}
    answer = types[types["query-virtio-mem"]["ret-type"]]["element-type"]
    assert (set(rows("What query-virtio-mem tells"))
            == set(members(types, answer)))


@pytest.mark.parametrize("name,values", [
    ("features", "VirtioMEMFeature"), ("requests.type", "VirtioMEMRequestType"),
    ("report.result", "VirtioMEMResult"), ("map.pieces", "VirtioMEMPiece")])
def test_values(name, values):
    """Name all values that a member can have."""
    schema = (TREE / "qapi" / "machine.json").read_text()
    wanted = re.search(rf"'enum': '{values}',\s*'data': \[(.*?)\]", schema,
                       re.S).group(1)
    row = rows("What query-virtio-mem tells")[name]
    assert (re.findall(r"'([^']+)'", wanted)
            == re.findall(r"`([^`]+)`", row)[1:])


def test_events():
    """List each event of ours, and that of all memory devices."""
    schema = (TREE / "qapi" / "machine.json").read_text()
    events = set(re.findall(r"'event': '((?:MEMORY_DEVICE|VIRTIO_MEM)\w+)'",
                            schema)) - {"MEMORY_DEVICE_UNPLUG_ERROR"}
    section = re.search(r"^## Events\n(.*?)^#", REFERENCE, re.M | re.S).group(1)
    assert set(re.findall(r"^\| ([A-Z_]+) ", section, re.M)) == events


def test_trace_points():
    """List each trace point of the device."""
    code = (TREE / "hw" / "virtio" / "trace-events").read_text()
    assert (set(rows("Trace points of the device"))
            == set(re.findall(r"^(virtio_mem_\w+)\(", code, re.M)))


def test_parameters():
    """List each parameter of the driver, here and in its manuals."""
    code = (ROOT / "drivers/virtio/virtio_mem/main.c").read_text()
    names = set(re.findall(r"^module_param_named\((\w+)", code, re.M))
    manual = (ROOT / "docs/man/virtio_mem.md").read_text()
    assert set(rows("Parameters of the driver")) == names
    assert set(rows("Parameters of the module", DRIVER)) == names
    assert set(re.findall(r"^\*\*(\w+)\*\*$", manual, re.M)) == names


def test_debugfs():
    """Tell of each file in debugfs, and of each line of `status`."""
    code = (ROOT / "drivers/virtio/virtio_mem/stats.c").read_text()
    files = re.findall(r'debugfs_create_file\("(\w+)"', code)
    lines = re.findall(r'seq_printf\(seq, "(\w+): ', code)
    assert len(files) >= 5 and len(lines) >= 15
    for name in files:
        assert f"**{name}**" in DRIVER
    assert set(rows("debugfs", DRIVER)) >= set(lines)


def test_manual_of_top():
    """Tell of each option of the watcher, and of what its JSON has."""
    # pylint: disable=import-outside-toplevel
    from top.machine import Device, Machine
    manual = (ROOT / "docs/man/virtio-mem-top.md").read_text()
    code = (ROOT / "tools/top/__main__.py").read_text()
    for option in re.findall(r'"(--[a-z]+)"', code):
        assert f"**{option}**" in manual
    shown = Machine("x", "x", devices=[Device("x", 0, 0, 0, 0)]).as_json()
    for name in [*shown, *shown["devices"][0]]:
        assert f"`{name}`" in manual
