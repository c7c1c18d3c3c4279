# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks of a machine: QEMU's own, and one that another process serves."""

import socket
import subprocess
import tempfile
from pathlib import Path

from . import paths
from .vm import DIE_WITH_PARENT


def disk_arguments(path, read_only=False):
    """QEMU's, for a virtio-blk disk whose contents are a file."""
    blockdev = f"driver=file,node-name=disk,filename={path}"
    if read_only:
        blockdev += ",read-only=on"
    return ["-blockdev", blockdev, "-device", "virtio-blk-pci,drive=disk"]


class StorageDaemon:
    """
    A disk that a process of its own serves to a machine, over vhost-user.  Use as a context manager around the machine that has its arguments().  The
    machine's memory must be shared.
    """

    def __init__(self, size):
        self._size = size       # bytes
        self._dir = None
        self._process = None

    @property
    def disk(self):
        """The file with what is on the disk."""
        return Path(self._dir.name, "disk")

    @property
    def pid(self):
        return self._process.pid

    def _socket(self):
        return f"{self._dir.name}/socket"

    def arguments(self):
        """QEMU's, for a machine that has the disk."""
        return ["-chardev", f"socket,id=disk,path={self._socket()}",
                "-device", "vhost-user-blk-pci,chardev=disk,num-queues=1"]

    def __enter__(self):
        self._dir = tempfile.TemporaryDirectory(prefix="storage-")
        with open(self.disk, "wb") as file:
            file.truncate(self._size)
        # It inherits a socket that listens: nobody has to wait for it.
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._socket())
            listener.listen()
            self._process = subprocess.Popen(
                [*DIE_WITH_PARENT, paths.STORAGE_DAEMON, "--blockdev",
                 f"driver=file,node-name=disk,filename={self.disk}",
                 "--export", "type=vhost-user-blk,id=disk,node-name=disk,"
                 f"writable=on,addr.type=fd,addr.str={listener.fileno()}"],
                pass_fds=[listener.fileno()])
        return self

    def __exit__(self, kind, value, trace):
        self._process.terminate()
        self._process.wait()
        self._dir.cleanup()
