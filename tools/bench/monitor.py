# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP connection that costs little: a line there, and one back."""

import json
import socket

from testvm import VMError


class Monitor:
    """Connects to a QMP socket of a machine that runs."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(120)
        self._socket.connect(path)
        self._stream = self._socket.makefile("rb")
        self._stream.readline()         # the greeting
        self.ask(b'{"execute": "qmp_capabilities"}\n')

    def ask(self, line):
        """What a command returns; events are passed by."""
        self._socket.sendall(line)
        while True:
            text = self._stream.readline()
            if not text:
                raise VMError("QEMU closed its monitor")
            answer = json.loads(text)
            if "error" in answer:
                raise VMError(answer["error"]["desc"])
            if "return" in answer:
                return answer["return"]

    def close(self):
        self._stream.close()
        self._socket.close()
