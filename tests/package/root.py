# SPDX-License-Identifier: GPL-2.0-or-later
"""
A Debian system to try packages in.  What is done there is gone afterwards,
with its mounts, however the test run ends: all changes are in a file system in
memory, in a mount namespace of its own, which lives as long as a `cat` that
waits for the end of its input.
"""

import os
import subprocess
import tempfile
from pathlib import Path

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]

MOUNT = """
mount -t tmpfs tmpfs "$2" && mkdir "$2/upper" "$2/work" "$2/top" &&
mount -t overlay overlay "$2/top" \
    -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" &&
mount --rbind /dev "$2/top/dev" && mount -t proc proc "$2/top/proc" &&
echo $$ && exec cat
"""

# Names, what links point to, and the contents of what modprobe reads
LIST = r"""
cd / && find . -xdev '(' %s ')' -prune -o -printf '%%p %%y %%l\n'
find /lib/modules/ -name 'modules.*' -type f -exec md5sum '{}' +
"""


class RootError(Exception):
    """The system could not be set up, or a command in it failed."""


def obstacle():
    """Why no system can be set up here; None if nothing is in the way."""
    try:
        done = subprocess.run([*AS_ROOT, "unshare", "--mount", "mount", "-t",
                               "tmpfs", "tmpfs", "/mnt"], check=False,
                              capture_output=True, text=True)
    except OSError as error:            # there is no sudo
        return str(error)
    return done.stderr.strip() if done.returncode else None


class Root:
    """Use as a context manager; `lower` is what it looks like at first."""

    def __init__(self, lower):
        self._lower = Path(lower).resolve()
        self._dir = None
        self._holder = None
        self._pid = None

    def __enter__(self):
        self._dir = tempfile.TemporaryDirectory(prefix="root-")
        self._holder = subprocess.Popen(
            [*AS_ROOT, "unshare", "--mount", "sh", "-c", MOUNT, "sh",
             self._lower, self._dir.name], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._pid = self._holder.stdout.readline().strip()
        if not self._pid:
            self.__exit__()
            raise RootError("mounts failed")
        return self

    def __exit__(self, *_):
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait()
        self._dir.cleanup()

    def run(self, *command, **arguments):
        """Returns a finished command, whatever became of it."""
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                       "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
        return subprocess.run(
            [*AS_ROOT, "nsenter", f"--mount=/proc/{self._pid}/ns/mnt",
             "chroot", f"{self._dir.name}/top", *environment, *command],
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            **arguments)

    def read(self, *command, **arguments):
        """What a command prints, as bytes; fails if the command fails."""
        done = self.run(*command, **arguments)
        if done.returncode:
            raise RootError(f"{' '.join(command)}: status {done.returncode}\n"
                            + done.stdout.decode(errors="replace"))
        return done.stdout

    def tell(self, *command, **arguments):
        """The same, as text."""
        return self.read(*command, **arguments).decode()

    def write(self, path, data):
        """Writes a file."""
        self.read("sh", "-c", 'cat >"$1"', "sh", path, input=data)

    def files(self, *without):
        """A set of lines: all files, but for those below `without`."""
        names = " -o ".join(f"-path '.{path}'" for path in without)
        return set(self.tell("sh", "-c", LIST % names).splitlines())
