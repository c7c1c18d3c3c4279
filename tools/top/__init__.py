# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-mem-top: watches the virtio-mem devices of many machines."""
