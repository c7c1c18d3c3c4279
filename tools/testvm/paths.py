# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the build leaves what a virtual machine needs."""

import os
import shutil
from pathlib import Path

BUILD = Path(__file__).resolve().parents[2] / "build"
# QEMU_BUILD in the environment names another build directory of QEMU.
QEMU_BUILD = Path(os.environ.get("QEMU_BUILD", BUILD / "qemu")).resolve()
QEMU = QEMU_BUILD / "qemu-system-x86_64"
STOCK = BUILD / "qemu-stock" / "qemu-system-x86_64"
STORAGE_DAEMON = QEMU_BUILD / "storage-daemon" / "qemu-storage-daemon"
# GUEST_KERNEL in the environment names another kernel than the usual one.
GUEST_KERNEL = os.environ.get("GUEST_KERNEL", "")
HAS_DEBUG_KERNEL = GUEST_KERNEL.endswith("debug")
_GUEST = BUILD / "-".join(filter(None, ["guest", GUEST_KERNEL]))
KERNEL = _GUEST / "vmlinuz"
INITRD = _GUEST / "initrd"
# At boot, in MiB.  KASAN takes an eighth of all that is added later.
GUEST_MIB = 2304 if HAS_DEBUG_KERNEL else 1024
LOGS = BUILD / "logs"
# What looks into a dump of a guest with the usual kernel
CRASH = BUILD / "crash" / "crash"
VMLINUX = BUILD / "crash" / "vmlinux"


def kernels_own(size):
    """
    Bytes that the kernel itself may use of so many that are there for all
    purposes: with KASAN an eighth of all memory more.
    """
    return (64 << 20) + (size // 8 if HAS_DEBUG_KERNEL else 0)


def qemu(which):
    """
    The QEMU binary: "ours", "stock" (the distribution's), "stock-tree" (the
    tree that ours is built from, left as it is), or a path.
    """
    if which == "ours":
        return str(QEMU)
    if which == "stock-tree":
        return str(STOCK)
    if which == "stock":
        return shutil.which("qemu-system-x86_64",
                            path="/usr/bin:/usr/local/bin")
    return os.fspath(which)
