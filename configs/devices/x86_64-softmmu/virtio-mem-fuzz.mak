# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the fuzzers' QEMU is made of: the device, its transport, and the one
# machine that has a place for it and that libqos can drive.

CONFIG_I440FX=y
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_MEM=y
