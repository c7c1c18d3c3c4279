# SPDX-License-Identifier: GPL-2.0-or-later
"""A libvirt daemon of the tests' own, which leaves the machine's alone."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import libvirt

HERE = Path(__file__).parent

# Seconds; it takes one
START_S = 60

LIBVIRTD_CONF = """
unix_sock_dir = "{dir}"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
log_outputs = "2:file:{dir}/libvirtd.log"
host_uuid = "{uuid}"
"""

# What this machine may lack, and the tests don't need
QEMU_CONF = """
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
hugetlbfs_mount = [ {hugetlbfs} ]
"""


# Debian's libvirt does not start where this user is missing, even if root runs
# QEMU.
USERS = {"passwd": "libvirt-qemu:x:64055:64055::/nonexistent:/bin/false\n",
         "group": "libvirt-qemu:x:64055:\n"}


def silence(_context, _error):
    """libvirt prints errors besides raising them."""


def run_events():
    while True:
        libvirt.virEventRunDefaultImpl()


libvirt.registerErrorHandler(silence, None)
libvirt.virEventRegisterDefaultImpl()
threading.Thread(target=run_events, daemon=True).start()


class Daemon:
    """
    Use as a context manager; `connect()` gives a libvirt connection.  When it
    ends, or whoever started it does, so do its machines: they are in its PID
    namespace.  LIBVIRT_SYSTEM is where tools/fetch-libvirt left one that is to
    be used instead of the installed one.
    """

    def __init__(self, uuid, hugetlbfs=""):
        self._uuid = uuid
        system = os.environ.get("LIBVIRT_SYSTEM")
        self._program = ([f"{system}/usr/sbin/libvirtd", system] if system
                         else ["/usr/sbin/libvirtd"])
        self._hugetlbfs = hugetlbfs
        self._process = None
        self.directory = None

    @property
    def uri(self):
        return f"qemu+unix:///system?socket={self.directory}/libvirt-sock"

    def log(self):
        log = Path(self.directory, "libvirtd.log")
        return log.read_text(errors="replace") if log.exists() else ""

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="libvirt-")
        etc = Path(self.directory, "etc")
        etc.mkdir()
        (etc / "libvirtd.conf").write_text(LIBVIRTD_CONF.format(
            dir=self.directory, uuid=self._uuid))
        (etc / "qemu.conf").write_text(QEMU_CONF.format(
            hugetlbfs=self._hugetlbfs and f'"{self._hugetlbfs}"'))
        for file, line in USERS.items():
            Path(self.directory, file).write_text(
                Path("/etc", file).read_text() + line)
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL",
             "unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]),
             "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
             HERE / "daemon-namespace", self.directory, *self._program],
            stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            self._wait()
        except BaseException:
            self.end()
            raise
        return self

    def _wait(self):
        begin = time.monotonic()
        while not Path(self.directory, "libvirt-sock").exists():
            if self._process.poll() is not None:
                raise RuntimeError("libvirtd ended: "
                                   + self._process.stderr.read() + self.log())
            if time.monotonic() > begin + START_S:
                raise RuntimeError("libvirtd does not come: " + self.log())
            time.sleep(0.05)

    def end(self):
        self._process.kill()
        self._process.wait()
        self._process.stderr.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __exit__(self, *_):
        self.end()

    def connect(self):
        return libvirt.open(self.uri)
