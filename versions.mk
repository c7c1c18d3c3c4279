# SPDX-License-Identifier: GPL-2.0-or-later
# What the project is built on.  Versions and suites stand here and nowhere else.

# The project's own version: that of the newest entry of its Debian package.
VERSION          := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)

# QEMU: the source package of this series, from this suite.
QEMU_SERIES      := 10.0
QEMU_SUITE       := trixie

# Linux: the newest kernel of this series that the running distribution carries.
LINUX_SERIES     := 6.12

# The driver builds on kernels (KDIR) from this version on.
LINUX_MIN        := 6.1

# Test guests run these kernels of the running distribution as well.
LINUX_OTHERS     := 6.1

# The driver's Debian package is tried in systems of these suites, with the
# newest kernel of each: the oldest release that has a kernel for it, and the
# suite with the newest kernel of all.
PACKAGE_SUITES   := bookworm trixie-backports

# Dumps of a test guest are looked into with the crash of this suite: one that
# knows Linux of LINUX_SERIES.
CRASH_SUITE      := trixie

# Tests with libvirt run with the installed one, and with that of this suite.
LIBVIRT_SUITE    := bookworm-backports

# QEMU's build needs this Meson; an older distribution takes it from this suite.
MESON_MIN        := 1.5.0
MESON_SUITE      := bookworm-backports
