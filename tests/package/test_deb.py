# SPDX-License-Identifier: GPL-2.0-or-later
"""
The Debian package, installed and purged once in a system of each suite that
versions.mk names.  One has the newest kernel whose headers Debian has.
"""

import lzma
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import root
from testvm import GIB, MIB, VM, Device, paths

TOP = Path(__file__).resolve().parents[2]
ROOTS = paths.BUILD / "fetch" / "roots"
NAME = "virtio-mem-dkms"
SUITES = re.search(r"^PACKAGE_SUITES *:= *(.*)",
                   (TOP / "versions.mk").read_text(), re.MULTILINE)[1].split()
OLD_KERNEL = "5.10.0-1-amd64"

# Where dpkg and apt remember any package
MEMORIES = ("/tmp", "/var/log", "/var/cache", "/var/lib/apt",
            "/var/lib/dpkg/*-old")


@dataclass
class Course:
    """What was seen while the package came and went."""
    kernel: str
    before: set             # what Root.files() says
    log: str                # of installing, with what the compiler said
    chosen: str             # the path of the module that would be loaded
    version: str
    early: list             # the same drivers in the early boot image
    module: bytes
    refused: int            # exit status for a kernel that is too old
    chosen_after: str
    early_after: list
    after: set


def choice(system, kernel):
    """The module that modprobe would load."""
    text = system.tell("modprobe", "--set-version", kernel, "--show-depends",
                       "virtio_mem")
    return re.search(r"insmod (\S*/virtio_mem\.ko\S*)", text).group(1)


def early_modules(system, kernel):
    """The driver's files in the early boot image."""
    text = system.tell("sh", "-c", '$(command -v lsinitramfs || echo lsinitrd)'
                       ' "/boot/initrd.img-$1"', "sh", kernel)
    return re.findall(r"(\S*/virtio_mem\.ko\S*)", text)


# Small ones, which take little time
EARLY = """
if cd /etc/initramfs-tools; then
    echo virtio_mem >>modules
    sed -i 's/^MODULES=.*/MODULES=list/; s/^COMPRESS=.*/COMPRESS=cat/' *.conf
    exec /etc/kernel/postinst.d/initramfs-tools "$1"
fi
cat >/etc/dracut.conf.d/small.conf <<END
compress=cat
dracutmodules="base kernel-modules" add_drivers="virtio_mem"
END
exec /etc/kernel/postinst.d/dracut "$1"
"""


def make_early(system, kernel):
    """Makes an early boot image that has the driver."""
    system.tell("sh", "-ec", EARLY, "sh", kernel)


def try_old_kernel(system, version):
    """The exit status of building for a kernel that is too old."""
    modules = f"/lib/modules/{OLD_KERNEL}"
    system.tell("mkdir", "-p", f"{modules}/build/include")
    done = system.run("dkms", "build", f"virtio-mem/{version}", "-k",
                      OLD_KERNEL)
    system.tell("rm", "-r", modules)
    return done.returncode


def install(system):
    """Returns what it said, the compiler included."""
    deb, = (paths.BUILD / "deb").glob(f"{NAME}_*.deb")
    system.write(f"/tmp/{NAME}.deb", deb.read_bytes())
    # As with W=1
    said = system.tell("env", "KBUILD_EXTRA_WARN=1", "apt-get", "install",
                       "-y", f"/tmp/{NAME}.deb")
    return said + system.tell(
        "sh", "-c", "cat /var/lib/dkms/virtio-mem/*/*/*/log/make.log")


def follow(system, kernel):
    """Installs and purges, and tells the course of it."""
    make_early(system, kernel)
    before = system.files(*MEMORIES)
    log = install(system)
    chosen = choice(system, kernel)
    version = system.tell("modinfo", "-F", "version", chosen).strip()
    early = early_modules(system, kernel)
    module = system.read("cat", chosen)
    refused = try_old_kernel(system, version)
    system.tell("apt-get", "purge", "-y", NAME)
    return Course(kernel, before, log, chosen, version, early, module, refused,
                  choice(system, kernel), early_modules(system, kernel),
                  system.files(*MEMORIES))


@pytest.fixture(scope="module", params=[
    pytest.param(suite, marks=pytest.mark.xdist_group(suite))
    for suite in SUITES])
def suite(request):
    """A suite of Debian; there is a system of it in ROOTS."""
    reason = root.obstacle()
    if reason:
        pytest.skip(f"no system to install packages in: {reason}")
    made = subprocess.run(
        [TOP / "tools/debian-root", ROOTS / request.param, request.param,
         paths.BUILD / "apt"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return request.param


@pytest.fixture(scope="module")
def course(suite):
    """The package's course in a system of the suite."""
    kernel, = (path.name for path in (ROOTS / suite / "lib/modules").iterdir())
    with root.Root(ROOTS / suite) as system:
        return follow(system, kernel)


def test_deb_builds(course):
    """Build for the system's kernel at installation, and hear no warning."""
    assert "  CC [M] " in course.log
    assert not re.search("warning|deprecated", course.log, re.I), course.log


def test_deb_version(course):
    """See in the module which version of the package it is of."""
    changelog = (TOP / "packaging/debian/changelog").read_text()
    assert course.version == re.search(r"\((.*)\)", changelog).group(1)


def test_deb_precedence(course):
    """Prefer the package's module to the kernel's own while installed."""
    modules = f"/lib/modules/{course.kernel}"
    assert course.chosen.startswith(f"{modules}/updates/dkms/virtio_mem.ko")
    assert course.chosen_after.startswith(
        f"{modules}/kernel/drivers/virtio/virtio_mem.ko")


def test_deb_early(course):
    """Find the same module in the early boot image as in the system."""
    assert course.early == [f"usr{course.chosen}"]
    assert course.early_after == [f"usr{course.chosen_after}"]


def test_deb_purge(course):
    """Leave no file behind, and no other than there was."""
    assert not course.after ^ course.before


def test_deb_old_kernel(course):
    """Refuse to build for a kernel older than the driver knows."""
    assert course.refused == 77


def test_deb_boot(course, suite, tmp_path, monkeypatch):
    """Grow and shrink a guest of that kernel, with the package's module."""
    module = tmp_path / "virtio_mem.ko"
    xz = course.chosen.endswith(".xz")
    module.write_bytes(lzma.decompress(course.module) if xz else course.module)
    initrd = tmp_path / "initrd"
    subprocess.run([TOP / "tools/make-initrd", initrd,
                    paths.BUILD / "guest/init", module,
                    paths.BUILD / "test-modules",
                    ROOTS / suite / "lib/modules" / course.kernel], check=True)
    monkeypatch.setattr(paths, "INITRD", initrd)
    monkeypatch.setattr(paths, "KERNEL",
                        ROOTS / suite / f"boot/vmlinuz-{course.kernel}")
    with VM(f"deb-{suite}", [Device("vm0", 4 * GIB)]) as vm:
        vm.guest.load("ours")
        before = vm.guest.mem_total()
        for size in (2 * GIB + 6 * MIB, 130 * MIB, 0):
            vm.resize_and_wait("vm0", size)
            vm.wait_for("the guest's size",
                        lambda: vm.guest.mem_total() == before + size)
