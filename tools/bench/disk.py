# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk for the guest that takes no space: a file of zeros is on it."""

import os
import subprocess
from pathlib import Path

from testvm import MIB

# The file has been written, as far as the guest's file system knows.
MKE2FS_CONFIG = """\
[defaults]
base_features = sparse_super,large_file,filetype,extent
[fs_types]
bench = {{
features = huge_file,^resize_inode
inode_size = 256
inode_ratio = 4194304
reserved_ratio = 0.0
make_hugefiles = 1
hugefiles_dir = /
hugefiles_name = file
hugefiles_digits = 0
hugefiles_size = {mib}M
num_hugefiles = 1
zero_hugefiles = false
}}
"""


def make_disk(path, size):
    """A sparse image with a file of this size."""
    config = Path(f"{path}.conf")
    config.write_text(MKE2FS_CONFIG.format(mib=size // MIB), encoding="ascii")
    with open(path, "wb") as file:
        file.truncate(size + size // 16 + 64 * MIB)
    subprocess.run(["mke2fs", "-q", "-F", "-T", "bench", str(path)],
                   check=True, capture_output=True,
                   env={**os.environ, "MKE2FS_CONFIG": str(config),
                        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})
