# SPDX-License-Identifier: GPL-2.0-or-later
"""The device without a guest: what users configure, and get told."""

import os
import re
import subprocess

import pytest
from qemu.qmp import QMPError

from testvm import GIB, MIB, VM, Device, paths

BACKEND = "memory-backend-ram,id=m0,size=1G"


def refused(*arguments, memory="512M,maxmem=4G", machine="q35"):
    """What QEMU says when it refuses to start."""
    result = subprocess.run(
        [paths.qemu("ours"), "-machine", machine, "-accel", "tcg", "-S",
         "-nodefaults", "-display", "none", "-m", memory, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        check=False)
    assert result.returncode == 1, result.stderr
    return result.stderr


MISTAKES = {
    "memdev missing": ("id=vm0", "'memdev' must name a memory backend"),
    "memdev unknown": ("memdev=nobody", "nobody"),
    "node": ("memdev=m0,node=1", "'node': 1 .* nodes 0 to 0"),
    "block-size power": ("memdev=m0,block-size=3M",
                         "'block-size': 3 MiB .* power of two"),
    "block-size small": ("memdev=m0,block-size=512K",
                         "'block-size': 512 KiB .* at least 1 MiB"),
    "block-size word": ("memdev=m0,block-size=large", "large"),
    "block-size zero": ("memdev=m0,block-size=0", "'block-size': 0 bytes "),
    "block-size huge": ("memdev=m0,block-size=2G",
                        "size 1 GiB is not a multiple of 'block-size' 2 GiB"),
    "requested multiple": ("memdev=m0,requested-size=3M",
                           "'requested-size': 3 MiB is not a multiple of .* 2 MiB"),
    "requested much": ("memdev=m0,requested-size=1026M",
                       "'requested-size': 1026 MiB is more than .* 1 GiB"),
    "requested wrap": ("memdev=m0,requested-size=18446744073709551615",
                       "'requested-size': 18446744073709551615 bytes is more"),
    "memaddr": ("memdev=m0,memaddr=0x100100000",
                "'memaddr': 0x100100000 is not a multiple of"),
    "memaddr outside": ("memdev=m0,memaddr=0x200000", "0x200000"),
    "dynamic-memslots": (
        "memdev=m0,dynamic-memslots=on,unplugged-inaccessible=off",
        "'dynamic-memslots': on needs 'unplugged-inaccessible' on"),
    "dynamic-memslots auto": (
        "memdev=m0,dynamic-memslots=on,unplugged-inaccessible=auto",
        "'dynamic-memslots': on needs 'unplugged-inaccessible' on"),
    "unplugged-inaccessible": ("memdev=m0,unplugged-inaccessible=maybe",
                               "maybe"),
    "unplugged-protection": ("memdev=m0,unplugged-protection=maybe", "maybe"),
    "protection-action": ("memdev=m0,protection-action=maybe", "maybe"),
    "protection-action alone": (
        "memdev=m0,protection-action=pause",
        "'protection-action': pause needs 'unplugged-protection', which is off"),
    "protection-interval": ("memdev=m0,protection-interval=9",
                            "'protection-interval': 9 ms is not from 10 ms"),
    "protection-interval much": (
        "memdev=m0,protection-interval=4294967295",
        "'protection-interval': 4294967295 ms is not .* a day"),
    "protection-max-extents": (
        "memdev=m0,unplugged-protection=write,"
        "protection-max-extents=4294967295",
        "'protection-max-extents': 4294967295 is more than [0-9]+, which is "
        "half of the host's vm.max_map_count"),
}


@pytest.mark.parametrize("machine", ["q35", "pc"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake, machine):
    """Refuse a wrong option, naming property, value and rule."""
    options, message = MISTAKES[mistake]
    text = refused("-object", BACKEND, "-device", f"virtio-mem-pci,{options}",
                   machine=machine)
    assert re.search(message, text), text


def test_memdev_in_use():
    """Refuse a memory backend that another device has."""
    text = refused("-object", BACKEND, "-device", "virtio-mem-pci,memdev=m0",
                   "-device", "virtio-mem-pci,memdev=m0")
    assert "'memdev': memory backend 'm0' is already in use" in text


@pytest.mark.parametrize("how", ["on", "on-fault"])
def test_locked(how):
    """Refuse memory that QEMU locks, and say so."""
    text = refused("-object", BACKEND, "-device", "virtio-mem-pci,memdev=m0",
                   "-overcommit", f"mem-lock={how}")
    assert ("'memdev': memory of this backend cannot be discarded, as QEMU "
            "locks it (-overcommit mem-lock)") in text


def test_memdev_prealloc():
    """Refuse a memory backend that is preallocated."""
    text = refused("-object", f"{BACKEND},prealloc=on",
                   "-device", "virtio-mem-pci,memdev=m0")
    assert "'m0' has prealloc=on" in text


@pytest.mark.parametrize("mode", ["write", "full"])
def test_private_file_is_not_guarded(tmp_path, mode):
    """Refuse a mode that can't hold for a private mapping of a file."""
    text = refused("-object", "memory-backend-file,id=m0,size=1G,share=off,"
                   f"mem-path={tmp_path}/memory", "-device",
                   f"virtio-mem-pci,memdev=m0,unplugged-protection={mode}")
    assert (f"'unplugged-protection': {mode} is not possible for memory "
            "backend 'm0': its mapping of a file is private") in text


@pytest.mark.parametrize("mode", ["write", "full"])
def test_no_userfaultfd(host, mode):
    """Refuse a mode that the host doesn't let QEMU use, and say the way out."""
    host.begin("no-userfaultfd")
    text = refused("-object", BACKEND, "-device",
                   f"virtio-mem-pci,memdev=m0,unplugged-protection={mode}")
    assert "/dev/userfaultfd" in text and "unprivileged_userfaultfd" in text


def test_memdev_odd_size():
    """Refuse a memory backend whose size is not a multiple of a block."""
    text = refused("-object", "memory-backend-ram,id=m0,size=1025M",
                   "-device", "virtio-mem-pci,memdev=m0")
    assert "size 1025 MiB is not a multiple of 'block-size' 2 MiB" in text


@pytest.mark.parametrize("backend", [
    "memory-backend-ram", "memory-backend-memfd",
    "memory-backend-file,share=off,mem-path={path}"])
def test_memdev_keeps_memory(host, tmp_path, backend):
    """Refuse a memory backend whose memory the host does not take back."""
    host.begin("keeps-memory")
    backend = backend.format(path=tmp_path / "memory")
    text = refused("-object", f"{backend},id=m0,size=1G",
                   "-device", "virtio-mem-pci,memdev=m0")
    assert "'memdev': memory of this backend cannot be discarded" in text


def test_block_size_below_page_size():
    """Refuse blocks that are smaller than pages of the memory backend."""
    text = refused("-object", "memory-backend-memfd,id=m0,size=1G,hugetlb=on,"
                   "hugetlbsize=2M,reserve=off",
                   "-device", "virtio-mem-pci,memdev=m0,block-size=1M")
    assert "'block-size': 1 MiB is less than the memory backend's page size," \
           " 2 MiB" in text


@pytest.mark.parametrize("backend, inaccessible", [
    ("memory-backend-ram", "off"), ("memory-backend-ram,share=on", "on"),
    ("memory-backend-memfd", "on")])
def test_unplugged_inaccessible_auto(backend, inaccessible):
    """Let guests read unplugged memory where that costs the host nothing."""
    options = {"unplugged-inaccessible": "auto"}
    if inaccessible == "on":
        options["dynamic-memslots"] = "on"
    with VM("auto", [Device("vm0", GIB, options=options, backend=backend)],
            guest=False) as vm:
        assert vm.get("vm0", "unplugged-inaccessible") == inaccessible


def test_unplugged_accessible_at_a_price():
    """Warn that reads of unplugged memory will take memory of the host."""
    options = {"unplugged-inaccessible": "off"}
    with VM("warning", [Device("vm0", GIB, options=options,
                               backend="memory-backend-memfd")],
            guest=False) as vm:
        assert "reads of unplugged memory will take memory" in vm.stderr()


def test_memdev_not_writable(tmp_path):
    """Refuse a memory backend that the guest could not write to."""
    file = tmp_path / "memory"
    file.write_bytes(b"")
    os.truncate(file, GIB)
    text = refused("-object", "memory-backend-file,id=m0,size=1G,readonly=on,"
                   f"mem-path={file}", "-device", "virtio-mem-pci,memdev=m0")
    assert "'memdev': memory backend 'm0' is not RAM" in text


@pytest.mark.parametrize("told, size", [
    ("4194304", 4 * MIB), ("65536", 1 * MIB), (None, 2 * MIB),
    ("3145728", 2 * MIB), ("many", 2 * MIB)])
def test_huge_page_size(host, told, size):
    """Choose blocks by the host's huge pages, or 2 MiB without a good size."""
    host.tells_huge_page_size(told)
    with VM("huge-pages", [Device("vm0", GIB)], guest=False) as vm:
        assert vm.devices()["vm0"]["block-size"] == size


def test_no_room():
    """Refuse the device on machines without room for memory devices."""
    text = refused("-object", BACKEND, "-device", "virtio-mem-pci,memdev=m0",
                   memory="512M")
    assert "maxmem" in text


def test_addresses_overlap():
    """Refuse an address that another memory device has."""
    text = refused(
        "-object", BACKEND, "-object", "memory-backend-ram,id=m1,size=1G",
        "-device", "virtio-mem-pci,id=vm0,memdev=m0,memaddr=0x140000000",
        "-device", "virtio-mem-pci,id=vm1,memdev=m1,memaddr=0x140000000")
    assert "conflicts with memory device id='vm0'" in text


@pytest.mark.parametrize("address", ["", ",memaddr=0x140000000"])
def test_no_memory_devices(address):
    """Refuse the device, with an address, too, where it can have no place."""
    text = refused("-object", BACKEND,
                   "-device", f"virtio-mem-pci,memdev=m0{address}",
                   machine="microvm,pcie=on", memory="512M")
    assert "no place for memory devices" in text


@pytest.mark.parametrize("options, name", [
    ("id=vm0,addr=8.1", "vm0"), ("addr=8.1", "virtio-mem"),
    ("id=vm0,addr=9.0,multifunction=on", "vm0")])
def test_shared_slot(options, name):
    """Warn when the removal of something else would remove the device."""
    slot = options.partition("addr=")[2][0]
    result = subprocess.run(
        [paths.qemu("ours"), "-machine", "pc,accel=tcg", "-m", "512M,maxmem=4G",
         "-nodefaults", "-display", "none", "-S", "-monitor", "stdio",
         "-object", BACKEND, "-device", "virtio-rng-pci,addr=8.0,multifunction=on",
         "-device", f"virtio-mem-pci,memdev=m0,{options}"],
        input="quit\n", capture_output=True, text=True, timeout=120,
        check=True)
    assert f"'{name}' is one function of PCI slot {slot}" in result.stderr


@pytest.fixture(params=["q35", "pc", "pc-q35-7.2", "pc-q35-6.2"])
def vm(request):
    """A machine whose firmware runs, and no more."""
    with VM(f"options-{request.param}",
            [Device("vm0", 2 * GIB, requested_size=512 * MIB)],
            machine=request.param, guest=False) as machine:
        yield machine


def test_query(vm):
    """Show the device in QMP and HMP as it was configured."""
    device = vm.devices()["vm0"]
    assert device.pop("memaddr") % (2 * MIB) == 0
    assert device == {"id": "vm0", "memdev": "/objects/vm0-mem", "node": 0,
                      "block-size": 2 * MIB, "max-size": 2 * GIB,
                      "requested-size": 512 * MIB, "size": 0}
    text = vm.hmp("info memory-devices")
    assert f"requested-size: {512 * MIB}" in text and '"vm0"' in text


BAD_VALUES = [3 * MIB, 2 * GIB + 2 * MIB, (1 << 64) - 1, -2 * MIB, "much"]


@pytest.mark.parametrize("value", BAD_VALUES)
def test_bad_values_at_run_time(vm, value):
    """Refuse a wrong requested-size at run time, and change nothing."""
    with pytest.raises(QMPError):
        vm.put("vm0", "requested-size", value)
    assert vm.get("vm0", "requested-size") == 512 * MIB
    assert vm.devices()["vm0"]["requested-size"] == 512 * MIB


def test_good_values_at_run_time(vm):
    """Take every requested-size that fits, up to all of it."""
    for value in (0, 2 * MIB, 2 * GIB, 2 * GIB):
        vm.put("vm0", "requested-size", value)
        assert vm.get("vm0", "requested-size") == value


@pytest.mark.parametrize("name", ["block-size", "size", "memaddr", "node"])
def test_fixed_at_run_time(vm, name):
    """Refuse to change what is fixed once the device runs."""
    before = vm.get("vm0", name)
    with pytest.raises(QMPError):
        vm.put("vm0", name, 4 * MIB)
    assert vm.get("vm0", name) == before


FEATURES = ["ACPI_PXM", "PERSISTENT_SUSPEND", "UNPLUGGED_INACCESSIBLE"]


def test_feature_names():
    """Name each feature that the device offers, as the specification does."""
    with VM("features", [Device("vm0", GIB)], guest=False, nodes=2) as vm:
        status = vm.qmp("x-query-virtio-status",
                        path="/machine/peripheral/vm0/virtio-backend")
    names = [text.split(":")[0]
             for text in status["host-features"]["dev-features"]]
    assert sorted(names) == [f"VIRTIO_MEM_F_{name}" for name in FEATURES]


TRACED = ["virtio_mem_requested_size", "virtio_mem_resized_usable_region",
          "virtio_mem_discard", "virtio_mem_unplugged_all"]


def test_trace_points(tmp_path):
    """Write down what happened to sizes and to memory, when asked to."""
    log = tmp_path / "trace"
    with VM("trace", [Device("vm0", GIB)], guest=False, arguments=[
            "-trace", "virtio_mem_*", "-D", str(log)]) as vm:
        vm.resize("vm0", 512 * MIB)
        vm.reset()
        vm.wait_for("the log", lambda: all(
            name in log.read_text() for name in TRACED))
        text = log.read_text()
    assert f"old_size=0x0 new_size={512 * MIB:#x}" in text
    assert f"virtio_mem_discard offset=0x0 size={GIB:#x} ret=0" in text


RAM = {"qom_type": "memory-backend-ram"}


def hot_plug(vm, *, requested=0, backend=RAM, **options):
    vm.qmp("object-add", **backend, id="m9", size=512 * MIB)
    props = {"id": "hot", "memdev": "m9", "bus": "pci.9",
             "requested-size": requested} | options
    vm.qmp("device_add", driver="virtio-mem-pci", **props)


def reset_and_wait(vm):
    """Resets the machine, which lets go of a device that has to leave."""
    vm.reset()
    vm.wait_for("the device to go", lambda: list(vm.devices()) == ["vm0"])


@pytest.fixture
def hot_vm():
    """A machine that devices can be plugged into."""
    with VM("hotplug", [Device("vm0", GIB)], guest=False,
            arguments=["-device", "pcie-root-port,id=pci.9"]) as machine:
        yield machine


def test_hot_plug(hot_vm):
    """Add a device to a running machine, and resize it."""
    hot_plug(hot_vm)
    assert hot_vm.devices()["hot"]["max-size"] == 512 * MIB
    hot_vm.resize("hot", 64 * MIB)


def test_hot_plug_mistake(hot_vm):
    """Refuse a wrong device_add, and take the right one after it."""
    with pytest.raises(QMPError, match="'requested-size'"):
        hot_plug(hot_vm, requested=3 * MIB)
    hot_vm.qmp("object-del", id="m9")
    hot_plug(hot_vm)
    assert "hot" in hot_vm.devices()


def test_hot_unplug_requested(hot_vm):
    """Refuse to remove a device while memory is requested from it."""
    hot_plug(hot_vm, requested=2 * MIB)
    with pytest.raises(QMPError, match="'requested-size' is 2 MiB"):
        hot_vm.qmp("device_del", id="hot")


def test_hot_unplug_inaccessible(hot_vm):
    """Refuse to remove a device whose memory the guest may read."""
    hot_plug(hot_vm, unplugged_inaccessible="off")
    with pytest.raises(QMPError, match="'unplugged-inaccessible' is not on"):
        hot_vm.qmp("device_del", id="hot")


def test_resize_while_leaving(hot_vm):
    """Take no new target while the guest is asked to let go of the device."""
    hot_plug(hot_vm, **{"x-early-migration": False})
    hot_vm.qmp("device_del", id="hot")
    with pytest.raises(QMPError, match="64 MiB while the device is being unp"):
        hot_vm.resize("hot", 64 * MIB)
    hot_vm.resize("hot", 0)
    reset_and_wait(hot_vm)


def test_reset_finishes_hot_unplug(tmp_path):
    """Be removed by a system reset that has to wait for another device."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(MIB))
    disk_arguments = [
        "-device", "pcie-root-port,id=pci.9,chassis=9",
        "-blockdev", f"driver=file,filename={disk},node-name=disk",
        "-device", "virtio-blk-pci,drive=disk,id=disk0"]
    with VM("reset-hot-unplug", [Device("vm0", GIB)], guest=False,
            arguments=disk_arguments) as vm:
        hot_plug(vm)
        vm.qmp("blockdev-add", driver="null-co", node_name="slow", size=MIB,
               latency_ns=200_000_000)
        vm.qmp("blockdev-mirror", job_id="copy", device="disk", target="slow",
               sync="full", speed=65536)
        vm.qmp("device_del", id="hot")
        reset_and_wait(vm)


def test_shared_memory_survives_the_target(tmp_path):
    """Leave what a migration shares alone when the target lets the device go."""
    shared = tmp_path / "memory"
    shared.write_bytes(b"page" * (512 * MIB // 4))
    with VM("target-unplug", [Device("vm0", GIB)], guest=False, incoming=True,
            arguments=["-device", "pcie-root-port,id=pci.9"]) as vm:
        hot_plug(vm, backend={"qom_type": "memory-backend-file", "share": True,
                              "mem_path": str(shared)})
        vm.qmp("device_del", id="hot")
        reset_and_wait(vm)
    assert shared.read_bytes() == b"page" * (512 * MIB // 4)
