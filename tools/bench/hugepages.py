# SPDX-License-Identifier: GPL-2.0-or-later
"""A host without transparent huge pages, for programs started here."""

import ctypes

PR_SET_THP_DISABLE = 41


class NoHugePages:
    """Programs that are started meanwhile get no transparent huge pages."""

    def __enter__(self):
        self._set(1)

    def __exit__(self, *_):
        self._set(0)

    @staticmethod
    def _set(value):
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_THP_DISABLE, value,
                                                   0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
