# SPDX-License-Identifier: GPL-2.0-or-later
"""
QEMU's command line as text to paste into a shell.  It is the one the demo
uses, except that a monitor on the terminal stands for the demo's own control
socket, that a reboot does not end it, and that files stand below the current
directory where they can.
"""

import os
import re
import shlex

WIDTH = 78
SOCKET = "build/demo/guest.sock"

HINT = f"""\
To play with it by hand:
1 Paste that command.  QEMU's monitor is then on your terminal.
2 In a second terminal, in this directory, load the driver:
  tools/tell-guest {SOCKET} load /modules/ours/virtio_mem.ko
3 In the monitor: qom-set vm0 requested-size 2G
                  info memory-devices
  In the second:  tools/tell-guest {SOCKET} read /proc/meminfo
4 `quit` in the monitor ends it."""


def _options(argv):
    """Groups each option with its value; the program stands alone."""
    groups = [[argv[0]]]
    for word in argv[1:]:
        if word.startswith("-"):
            groups.append([])
        groups[-1].append(word)
    return [shlex.join(group) for group in groups]


def ready_to_paste(argv):
    """Lines that end in backslashes; as many options on each as fit."""
    here = f"{os.getcwd()}{os.sep}"
    argv = [re.sub(r"path=[^,]*/test,", f"path={SOCKET},",
                   word.replace(here, "")) for word in argv]
    argv.remove("-no-reboot")
    options = _options([*argv, "-monitor", "stdio"])
    lines = [options[0]]
    for option in options[1:]:
        if len(lines) > 1 and len(lines[-1]) + len(option) < WIDTH - 2:
            lines[-1] += f" {option}"
        else:
            lines.append(f"  {option}")
    return " \\\n".join(lines)
