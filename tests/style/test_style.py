# SPDX-License-Identifier: GPL-2.0-or-later
"""Both trees' conventions, and compilers that are asked for their opinion."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
QEMU_TREE = BUILD / "qemu-src"
LINUX_TREE = BUILD / "linux-src"

QEMU_FILES = sorted(str(path.relative_to(ROOT)) for pattern in
                    ("hw/**/*.c", "include/hw/**/*.h", "tests/qtest/**/*.[ch]")
                    for path in ROOT.glob(pattern))
LINUX_FILES = sorted(str(path.relative_to(ROOT)) for pattern in
                     ("drivers/**/*.[ch]", "include/uapi/**/*.h", "guest/**/*.[ch]")
                     for path in ROOT.glob(pattern))


def run(*command, **arguments):
    """Output of a command; fails the test with it when the command fails."""
    result = subprocess.run(command, capture_output=True, text=True,
                            check=False, **arguments)
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    return output


@pytest.mark.parametrize("file", QEMU_FILES)
def test_qemu_checkpatch(file):
    """Find nothing that QEMU's checkpatch would change."""
    output = run("perl", QEMU_TREE / "scripts/checkpatch.pl", "--no-tree",
                 "--terse", "--no-summary", "-f", file, cwd=ROOT)
    # It cannot know our new files' entries in MAINTAINERS.
    assert not re.search(r"ERROR|WARNING", output), output


@pytest.mark.parametrize("file", LINUX_FILES)
def test_linux_checkpatch(file):
    """Find nothing that the kernel's checkpatch would change."""
    # The kernel's own page flag functions are not in its style, and it only
    # knows those that no macro makes.
    ignored = "CAMELCASE"
    if file.endswith("compat.h"):
        # For kernels as they are, too
        ignored += ",LINUX_VERSION_CODE,CONSTANT_COMPARISON"
    if file.startswith("guest/"):
        # A program of its own: it has neither kernel types nor macros.
        ignored += ",PREFER_DEFINED_ATTRIBUTE_MACRO,PREFER_KERNEL_TYPES"
    output = run("perl", "scripts/checkpatch.pl", "--strict", "--terse",
                 "--no-summary", "--ignore", ignored, "-f", ROOT / file,
                 cwd=LINUX_TREE)
    assert not re.search(r"ERROR|WARNING|CHECK", output), output


def compile_commands():
    database = json.loads((BUILD / "qemu/compile_commands.json").read_text())
    return {os.path.relpath(entry["file"], "../qemu-src"): entry
            for entry in database}


@pytest.mark.parametrize(
    "file", [name for name in QEMU_FILES if name.startswith("hw/")])
def test_qemu_warnings(file, tmp_path):
    """Compile the device with -Wextra, and hear no warning."""
    entry = compile_commands()[file]
    command = shlex.split(entry["command"])
    command[command.index("-o") + 1] = str(tmp_path / "object.o")
    # QEMU's own headers and its callbacks' unused arguments are not for us.
    run(*command, "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter",
        "-Wno-sign-compare", "-Wno-missing-field-initializers",
        cwd=entry["directory"])


def test_linux_tree(tmp_path):
    """Build the driver inside a kernel tree, without a warning at W=1."""
    tree = LINUX_TREE
    out = tmp_path / "out"
    make = ["make", "-s", "-C", str(tree), f"O={out}"]
    run(*make, "allnoconfig")
    options = ["64BIT", "SMP", "MMU", "SPARSEMEM", "SPARSEMEM_VMEMMAP", "ACPI",
               "NUMA", "PCI", "MEMORY_HOTPLUG", "MEMORY_HOTREMOVE", "MIGRATION",
               "COMPACTION", "VIRTIO_MENU", "VIRTIO_PCI", "VIRTIO_MEM",
               "X86_64_ACPI_NUMA"]
    run(tree / "scripts/config", "--file", out / ".config",
        *[word for option in options for word in ("-e", option)])
    run(*make, "olddefconfig")
    assert "CONFIG_VIRTIO_MEM=y" in (out / ".config").read_text()
    output = run(*make, "W=1", "drivers/virtio/virtio_mem/")
    assert "virtio_mem" not in output, output


def test_no_machine_in_files():
    """Find no path of a machine and no package registry in what is tracked."""
    files = run("git", "ls-files", cwd=ROOT).split()
    wrong = re.compile(r"/(work|root|home)/|deb\.debian|//[a-z.]*debian\.org")
    found = [f"{name}:{number}: {line}" for name in files
             if name != "tests/style/test_style.py"
             for number, line in enumerate(
                 (ROOT / name).read_text(errors="replace").splitlines(), 1)
             if wrong.search(line)]
    assert not found, "\n".join(found)
