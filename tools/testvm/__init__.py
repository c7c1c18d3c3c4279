# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots the test guest in QEMU with virtio-mem devices, and talks to both."""

from .guest import Guest, GuestError
from .migration import MigrationError
from .vm import Device, VM, VMError, GIB, MIB
from . import paths
from .paths import kernels_own

__all__ = ["Device", "GIB", "Guest", "GuestError", "MIB", "MigrationError", "VM",
           "VMError", "kernels_own", "paths"]
