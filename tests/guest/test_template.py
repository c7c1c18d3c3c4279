# SPDX-License-Identifier: GPL-2.0-or-later
"""
Machines that begin where a template was stopped, with its memory in files: what
QEMU's document on VM templating describes.  Only the state of the devices is
saved; the files hold the rest.
"""

import hashlib

import pytest

from backends import unwatched
from testvm import GIB, MIB, Device, backing

SIZE = 2 * GIB
PLUGGED = 258 * MIB
MEMORY = 512 * MIB
PRIVATE = "share=off,readonly=on,rom=off"       # what a clone writes is its own


def file_backend(path, options="share=on"):
    return f"memory-backend-file,mem-path={path},{options}"


def device(backend):
    return Device("vm0", SIZE, options=unwatched(), backend=backend)


def freeze(vm, path):
    """Stops a machine and saves all but its shared memory."""
    vm.save(path, "x-ignore-shared")
    vm.guest = None


def thaw(vm, path):
    """Goes on where another machine was frozen."""
    vm.restore(path, "x-ignore-shared")


def digest(path):
    """Of what is in a file, and where; holes are nothing."""
    sums = hashlib.sha256()
    with open(path, "rb") as file:
        for start, end in backing.populated(path):
            for place in range(start, end, MIB):
                file.seek(place)
                data = file.read(min(MIB, end - place))
                if data.strip(b"\0"):
                    sums.update(b"%d:" % place + data)
    return sums.hexdigest()


@pytest.fixture
def files(tmp_path):
    """Where the template keeps its memory at boot, the device's, its state."""
    return tmp_path / "ram", tmp_path / "plugged", tmp_path / "state"


def test_go_on_with_shared_files(boot, files):
    """Find what was plugged in the files, and resize both ways."""
    ram, plugged, state = files
    vm = boot(device(file_backend(plugged)),
              memory=MEMORY, ram=file_backend(ram))
    vm.resize_exact(vm0=PLUGGED)
    vm.guest.hold("data", 128 * MIB)
    freeze(vm, state)
    assert state.stat().st_size < 64 * MIB
    there = boot.twin(vm)
    thaw(there, state)
    assert there.size("vm0") == PLUGGED
    there.guest.verify("data")
    there.resize_exact(vm0=GIB)
    there.guest.verify("data")
    there.guest.drop("data")
    there.resize_exact(vm0=130 * MIB)
    assert backing.total(backing.populated(plugged)) <= 130 * MIB


def check_clone(vm, device):
    """Resizes both ways, with memory in use."""
    vm.resize_exact(**{device: GIB})
    vm.guest.hold("more", 512 * MIB)
    vm.guest.drop("more")
    vm.resize_exact(**{device: 130 * MIB})


def test_clones_with_nothing_plugged(boot, files):
    """Resize clones of a template that left its device empty."""
    ram, _, state = files
    vm = boot(Device("vm0", SIZE), memory=MEMORY, ram=file_backend(ram))
    vm.guest.hold("data", 64 * MIB)
    freeze(vm, state)
    before = digest(ram)
    clones = [boot.twin(vm, ram=file_backend(ram, PRIVATE)) for _ in range(2)]
    for clone in clones:
        thaw(clone, state)
        clone.guest.verify("data")
    for clone in clones:
        check_clone(clone, "vm0")
        clone.guest.verify("data")
    assert digest(ram) == before


def test_clone_with_another_device(boot, files):
    """Plug a device into a clone, and resize it."""
    ram, _, state = files
    # The machine has room for memory devices of another GiB.
    vm = boot(Device("vm0", SIZE), memory=MEMORY, ram=file_backend(ram),
              arguments=["-device", "pcie-root-port,id=rp0"])
    freeze(vm, state)
    before = digest(ram)
    clone = boot.twin(vm, ram=file_backend(ram, PRIVATE))
    thaw(clone, state)
    clone.qmp("object-add", qom_type="memory-backend-ram", id="vm1-mem",
              size=GIB, reserve=False)
    clone.qmp("device_add", driver="virtio-mem-pci", id="vm1", bus="rp0",
              memdev="vm1-mem")
    check_clone(clone, "vm1")
    assert digest(ram) == before


@pytest.mark.parametrize("options", ["share=off", PRIVATE])
def test_clones_of_plugged_memory(boot, files, options):
    """Resize clones of a template that had memory plugged; its file stays."""
    ram, plugged, state = files
    vm = boot(device(file_backend(plugged)),
              memory=MEMORY, ram=file_backend(ram))
    vm.resize_exact(vm0=PLUGGED)
    vm.guest.hold("data", 128 * MIB)
    freeze(vm, state)
    before = digest(plugged)
    clone = boot.twin(vm, [device(file_backend(plugged, options))], ram=file_backend(ram, PRIVATE))
    thaw(clone, state)
    clone.guest.verify("data")
    check_clone(clone, "vm0")
    clone.guest.verify("data")
    assert clone.host_resident("vm0") <= 130 * MIB
    assert digest(plugged) == before
