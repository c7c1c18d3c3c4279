# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual machine with virtio-mem devices and the test guest inside."""

import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from qemu.machine import QEMUMachine
from qemu.qmp import ExecuteError, QMPError

from . import paths
from .guest import Guest
from .migration import Migration
from .snapshot import Snapshot

MIB = 1 << 20
GIB = 1 << 30

# What a kernel prints when something is wrong with it.
WARNINGS = re.compile(
    r"WARNING:|\bBUG\b|Oops|Call Trace|Kernel panic|lockup|blocked for more"
    r"|possible recursive locking|general protection fault|Bad page state"
    r"|UBSAN:|kmemleak: \d+ new")

# However the test run ends, no QEMU outlives it.
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")

# In /proc/PID/smaps: where a mapping starts, where it ends, its resident KiB.
MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) .*\n(?:\S+: .*\n)*?"
                     r"Rss: +(\d+) kB", re.MULTILINE)

# In "info ramblock": how large a block of memory can get, and where it is.
RAM_BLOCK = re.compile(r" 0x[0-9a-f]+ 0x[0-9a-f]+ 0x([0-9a-f]+) 0x([0-9a-f]+) ")


class VMError(Exception):
    """The machine did not do what was asked for."""


@dataclass
class Device:
    """A virtio-mem device; sizes in bytes, None leaves QEMU's default."""
    id: str
    size: int
    node: int = 0
    block_size: int | None = None
    requested_size: int = 0
    options: dict = field(default_factory=dict)
    backend: str = "memory-backend-ram,reserve=off"

    def arguments(self):
        props = {"id": self.id, "memdev": f"{self.id}-mem",
                 "node": self.node, "requested-size": self.requested_size}
        if self.block_size:
            props["block-size"] = self.block_size
        props.update(self.options)
        text = ",".join(f"{key}={value}" for key, value in props.items())
        return ["-object", f"{self.backend},id={self.id}-mem,size={self.size}",
                "-device", f"virtio-mem-pci,{text}"]


def _accel():
    """
    The accelerator that ACCEL names.  With a thread for each CPU, TCG sometimes
    runs an instruction that another CPU just replaced: it forgets the old one
    before the new one is in memory (notdirty_write() in accel/tcg/cputlb.c).
    Linux replaces its own while it boots, and panics then ("Oops: int3").
    """
    accel = os.environ.get("ACCEL") or "tcg"
    return "tcg,thread=single" if accel == "tcg" else accel


class VM(Migration, Snapshot):
    """
    Use as a context manager: leaving it ends QEMU, and fails when the guest's
    kernel complained.  Waits end early when QEMU ends; timeouts are generous
    seconds, there to end a hopeless wait.  `ram` is a backend for the memory at
    boot, instead of QEMU's default; `files` of the host stand in the guest's
    root directory.  An `incoming` machine waits for a migration.  `accel` is
    instead of what ACCEL names.  PROTECTION is how our devices protect unplugged
    memory, unless they say so themselves.
    """

    def __init__(self, name, devices=(), *, memory=None, ram=None, nodes=1,
                 cpus=2, qemu="ours", machine="q35", guest=True, timeout=240,
                 cmdline="memhp_default_state=online_movable", arguments=(),
                 files=(), incoming=False, accel=None, cpu="max"):
        self.name = name
        self.configured = list(devices)
        self.timeout = timeout
        self.guest = None
        self._with_guest = guest
        self._nodes = nodes
        self._memory = memory or paths.GUEST_MIB << 20
        self._ram = ram
        self._cmdline = cmdline
        self._arguments = list(arguments)
        self._files = [Path(file) for file in files]
        self._incoming = incoming
        self._cpus = cpus
        self._cpu = cpu
        self._accel = accel or _accel()
        self._machine_type = machine
        self._binary = paths.qemu(qemu)
        self._protection = os.environ.get("PROTECTION") if qemu == "ours" else ""
        self._events = []
        self._tolerated = []
        paths.LOGS.mkdir(parents=True, exist_ok=True)
        self.console = paths.LOGS / f"{name}.console"
        self._machine = None
        self._dir = None

    def _memory_arguments(self):
        room = sum(max(dev.size, GIB) + GIB for dev in self.configured)
        size = f"{self._memory >> 20}M"
        if room:
            size += f",maxmem={(self._memory + room) >> 20}M"
        args = ["-m", size]
        each = self._memory // self._nodes
        for node in range(self._nodes):
            args += ["-object", f"memory-backend-ram,id=ram{node},size={each}",
                     "-numa", f"node,nodeid={node},memdev=ram{node}"
                              f",cpus={node}"]
        return args if self._nodes > 1 else args[:2] + self._ram_arguments()

    def _ram_arguments(self):
        if not self._ram:
            return []
        return ["-object", f"{self._ram},id=ram,size={self._memory}",
                "-machine", "memory-backend=ram"]

    def _guest_arguments(self):
        if not self._with_guest:
            return []
        cmdline = f"console=ttyS0 panic=-1 panic_on_warn=1 {self._cmdline}"
        return ["-kernel", str(paths.KERNEL), "-initrd", self._initrd(),
                "-append", cmdline,
                "-chardev", f"socket,id=test,path={self._dir}/test,"
                            "server=on,wait=off",
                "-device", "virtio-serial-pci",
                "-device", "virtserialport,chardev=test,name=virtio-mem.test"]

    def _initrd(self):
        """The guest's initrd; the kernel unpacks one with more files, too."""
        if not self._files:
            return str(paths.INITRD)
        more = Path(self._dir, "files")
        more.mkdir(exist_ok=True)
        for file in self._files:
            shutil.copy(file, more)
        names = "\n".join(file.name for file in self._files)
        archive = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"],
                                 cwd=more, input=names.encode(),
                                 capture_output=True, check=True).stdout
        initrd = Path(self._dir, "initrd")
        first = paths.INITRD.read_bytes()
        padding = bytes(-len(first) % 4)
        initrd.write_bytes(first + padding + archive)
        return str(initrd)

    def _qemu_arguments(self):
        args = ["-machine", self._machine_type, "-accel", self._accel,
                "-cpu", self._cpu,
                "-smp", f"{self._cpus},sockets={self._cpus}",
                "-nodefaults", "-no-reboot", "-chardev",
                f"file,id=console,path={self.console}",
                "-serial", "chardev:console"]
        args += self._memory_arguments() + self._guest_arguments()
        if self._protection:
            args += ["-global",
                     f"virtio-mem.unplugged-protection={self._protection}"]
        for device in self.configured:
            args += device.arguments()
        if self._incoming:
            args += ["-incoming", "defer"]
        return args + self._arguments

    def start(self):
        """Starts QEMU; returns once the guest has booted, if there is one."""
        self._dir = tempfile.mkdtemp(prefix="vm-")
        self._machine = QEMUMachine(self._binary, self._qemu_arguments(),
                                    wrapper=DIE_WITH_PARENT, name="qemu",
                                    qmp_timer=60, log_dir=self._dir,
                                    base_temp_dir=self._dir)
        try:
            self._machine.launch()
            if self._with_guest:
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(f"{self._dir}/test")
                self.guest = Guest(sock, self.check_alive, self.timeout)
                if not self._incoming:
                    self.guest.wait_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """
        Ends QEMU and removes its files; the console's log stays.  QEMU may end
        by itself, for what it does at its end.
        """
        try:
            self._machine.shutdown()
        except Exception:       # it is gone, one way or the other
            pass
        shutil.rmtree(self._dir, ignore_errors=True)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.check_clean()
        finally:
            self.stop()

    @property
    def directory(self):
        """Where the files of a running machine are."""
        return self._dir

    @property
    def pid(self):
        return self._machine.get_pid()

    def command_line(self):
        """QEMU's arguments, the program first, without the test's QMP."""
        return [self._binary, "-display", "none"] + self._qemu_arguments()

    def check_alive(self, ending=False):
        """
        Raises when QEMU is gone, with its last words.  `ending` says that it
        hung up, so that it may take a moment more to go.
        """
        if ending and self.pid:
            self._await_exit(10)
        if self._machine.is_running():
            return
        raise VMError(f"QEMU ended ({self._machine.exitcode()}): "
                      f"{self.stderr()}\n"
                      + self._console_tail())

    def stderr(self):
        """What QEMU has told its user."""
        return Path(self._dir, "qemu.log").read_text(errors="replace")

    def _await_exit(self, seconds):
        process = os.pidfd_open(self.pid)
        select.select([process], [], [], seconds)
        os.close(process)

    def _console_tail(self):
        """The console's last lines, and where the kernel first complained."""
        if not self.console.exists():
            return ""
        log = self.console.read_text(errors="replace")
        tail = log.splitlines()[-30:]
        found = WARNINGS.search(log)
        if found:
            tail = log[found.start():].splitlines()[:10] + ["..."] + tail
        return "\n".join(tail)

    def tolerate(self, words):
        """Makes one of the WARNINGS no reason to fail."""
        self._tolerated.append(words)

    def check_clean(self):
        """Raises when the guest's kernel warned of anything."""
        self.check_alive()
        if not self._with_guest:
            return
        log = self.console.read_text(errors="replace")
        if self.guest:
            log += self.guest.dmesg()
        for found in WARNINGS.finditer(log):
            if found[0] in self._tolerated:
                continue
            raise VMError("the guest's kernel complains:\n"
                          + log[max(0, found.start() - 200):][:2000])

    def qmp(self, command, **arguments):
        """The value that a QMP command returns; raises on an error."""
        args = {key.replace("_", "-"): value
                for key, value in arguments.items()}
        try:
            return self._machine.cmd(command, args_dict=args)
        except ExecuteError:
            raise
        except (QMPError, OSError):
            self.check_alive(ending=True)
            raise

    def hmp(self, line):
        return self.qmp("human-monitor-command", command_line=line)

    def devices(self):
        """What query-memory-devices says, by device ID."""
        return {dev["data"]["id"]: dev["data"]
                for dev in self.qmp("query-memory-devices")}

    def get(self, device, name):
        """A property of a device."""
        return self.qmp("qom-get", path=f"/machine/peripheral/{device}",
                        property=name)

    def put(self, device, name, value):
        self.qmp("qom-set", path=f"/machine/peripheral/{device}",
                 property=name, value=value)

    def resize(self, device, size):
        """Sets the requested size; the guest follows in its own time."""
        self.put(device, "requested-size", size)

    def size(self, device):
        """Plugged bytes."""
        return self.devices()[device]["size"]

    def events(self, name):
        """All events of a name since the start."""
        self._events += self._machine.get_qmp_events(wait=False)
        return [event for event in self._events if event["event"] == name]

    def wait_for(self, what, condition, timeout=None):
        """Returns once condition() is true."""
        end = time.monotonic() + (timeout or self.timeout)
        while not condition():
            self.check_alive()
            if time.monotonic() > end:
                raise VMError(f"gave up waiting for {what}\n"
                              + self._console_tail())
            time.sleep(0.05)

    def wait_for_size(self, device, size, timeout=None):
        """Returns once exactly `size` bytes are plugged."""
        seen = []

        def reached():
            seen[:] = [self.size(device)]
            return seen == [size]

        try:
            self.wait_for(f"{device} to reach {size}", reached, timeout)
        except VMError as error:
            raise VMError(f"{device} was at {seen}: {error}") from None

    def wait_for_log(self, text):
        """Returns once the guest's kernel has said it."""
        self.wait_for(f"the guest to say '{text}'",
                      lambda: text in self.console.read_text(errors="replace"))

    def prepare_sleep(self):
        """
        Returns once the guest can sleep at any moment.  In its first two
        minutes Linux 6.1 asks for the time whenever somebody wants random
        numbers, also while it wakes up: then it warns.
        """
        if paths.GUEST_KERNEL == "6.1":
            self.wait_for("the guest to be two minutes old",
                          lambda: self.guest.uptime() > 121)
            self.guest.read("/proc/sys/kernel/random/uuid")

    def sleep(self):
        """Suspends the guest to RAM, and returns once it woke up again."""
        self.prepare_sleep()
        before = len(self.events("SUSPEND"))
        self.guest.fall_asleep()
        self.wait_for("the guest to sleep",
                      lambda: self.events("SUSPEND")[before:])
        self.qmp("system_wakeup")
        self.guest.wait_awake()

    def reboot(self):
        """
        Returns once the guest has booted again.  Any other time a reboot ends
        QEMU: the guest's kernel does that when it panics.
        """
        self.qmp("set-action", reboot="reset")
        self.guest.reboot()
        self.qmp("set-action", reboot="shutdown")

    def reset(self):
        """Resets the machine from outside, and returns once that is done."""
        before = len(self.events("RESET"))
        self.qmp("set-action", reboot="reset")
        self.qmp("system_reset")
        self.wait_for("the reset", lambda: len(self.events("RESET")) > before)

    def resize_and_wait(self, device, size):
        self.resize(device, size)
        self.wait_for_size(device, size)

    def host_resident(self, device):
        """
        Bytes of a device's memory that take memory of the host.  The device's
        size tells which of QEMU's memory is its own.
        """
        size = next(d.size for d in self.configured if d.id == device)
        found = [int(address, 16) for total, address in
                 RAM_BLOCK.findall(self.hmp("info ramblock"))
                 if int(total, 16) == size]
        if len(found) != 1:
            raise VMError(f"{len(found)} RAM blocks have the size of {device}"
                          f", {size}: which one is its memory?")
        smaps = Path(f"/proc/{self.pid}/smaps").read_text(encoding="ascii")
        return sum(int(kib) << 10 for start, end, kib in MAPPING.findall(smaps)
                   if found[0] <= int(start, 16) and
                   int(end, 16) <= found[0] + size)
