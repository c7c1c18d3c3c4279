# SPDX-License-Identifier: GPL-2.0-or-later
"""The test guest's side of the conversation: see guest/init.c."""

import re

MODULES = {"ours": "/modules/ours/virtio_mem.ko",
           "stock": "/modules/stock/virtio_mem.ko"}
STOCK_DIR = "/modules/stock"
TESTS_DIR = "/modules/tests"
PAGE_SIZE = 4096
MEMORY_DIR = "/sys/devices/system/memory"
NODE_DIR = "/sys/devices/system/node"


class GuestError(Exception):
    """The guest answered with an error, or not at all."""


class Guest:
    """
    Sends commands over a connected socket.  alive(ending) raises if QEMU died;
    `ending` says that it closed the socket, and so is about to.
    """

    def __init__(self, sock, alive, timeout):
        self._sock = sock
        self._alive = alive
        self._timeout = timeout
        self._buffer = b""

    def _receive(self, enough):
        """Reads until enough() finds what it looks for in the buffer."""
        waited = 0
        while enough() is None:
            self._sock.settimeout(1)
            try:
                data = self._sock.recv(1 << 16)
            except TimeoutError:
                data = None
                waited += 1
            if not data:
                self._alive(ending=data == b"")
            if data == b"" or waited > self._timeout:
                raise GuestError("no answer from the guest")
            if data:
                waited = 0
                self._buffer += data
        return enough()

    def _answer(self):
        end = self._receive(lambda: self._buffer.find(b"\n") + 1 or None)
        verdict, length = self._buffer[:end].split()
        total = end + int(length)
        self._receive(lambda: True if len(self._buffer) >= total else None)
        text = self._buffer[end:total].decode(errors="replace")
        self._buffer = self._buffer[total:]
        if verdict != b"ok":
            raise GuestError(text)
        return text

    def wait_ready(self):
        """Returns once the guest has booted."""
        text = self._answer()
        if text != "ready\n":
            raise GuestError(f"expected the guest to boot, got {text!r}")

    def _send(self, *words):
        line = " ".join(str(word) for word in words if word is not None)
        try:
            self._sock.sendall(line.encode() + b"\n")
        except OSError:
            self._alive(ending=True)
            raise

    def command(self, *words):
        """Runs a command of guest/init.c; returns its text."""
        self._send(*words)
        return self._answer()

    def read(self, path):
        return self.command("read", path)

    def write(self, path, text):
        self.command("write", path, text)

    def write_later(self, path, text):
        """Begins a write that may not end before something else happens."""
        self.command("write-later", path, text)

    def write_failing(self, nth, path, text):
        """
        Writes, and lets the nth allocation that this takes fail.  Returns how
        many less it took, 0 if one failed, and the errno of the write or 0.
        """
        left, error = self.command("write-failing", nth, path, text).split()
        return int(left), int(error)

    def list(self, path):
        names = self.command("list", path).split("\n")
        return sorted(n for n in names if n and not n.startswith("."))

    def dmesg(self):
        return self.command("dmesg")

    def uptime(self):
        """Seconds of the guest's own time since it booted."""
        return float(self.read("/proc/uptime").split()[0])

    def load(self, driver, **parameters):
        """Loads "ours" or the kernel's "stock" virtio_mem module."""
        options = [f"{name}={value}" for name, value in parameters.items()]
        self.command("load", MODULES[driver], *options)

    def load_kernels_own(self, *modules):
        """Loads other modules of the kernel, in their order."""
        for module in modules:
            self.command("load", f"{STOCK_DIR}/{module}.ko")

    def sprinkle(self, start, stride=PAGE_SIZE, count=1):
        """
        Has the kernel use `count` pages, a `stride` apart, from a physical
        address on: unmovable ones.  end_sprinkle() follows.
        """
        self.command("load", f"{TESTS_DIR}/sprinkle.ko", f"start={start}",
                     f"stride={stride}", f"count={count}")

    def end_sprinkle(self):
        self.command("unload", "sprinkle")

    def occupy(self, start, size):
        """Claims a range of physical addresses; end_occupy() follows."""
        self.command("load", f"{TESTS_DIR}/occupy.ko",
                     f"start={start} size={size}")

    def end_occupy(self):
        self.command("unload", "occupy")

    def use_physical(self, start, stride=PAGE_SIZE, count=1, reads=False):
        """
        Writes `count` pages, a `stride` apart, from a physical address on,
        whether the kernel may or not, and reads them; or only `reads` them.
        Returns how many had their value then.
        """
        self._load_rogue(start, stride, count, f"reads={int(reads)}")
        return self.end_use_physical()

    def use_physical_later(self, start, stride=PAGE_SIZE, count=1, waits=False):
        """
        Begins to; end_use_physical() follows when has_used_physical().  Where
        it `waits` it only writes, until read_physical() when
        has_written_physical().
        """
        self._load_rogue(start, stride, count, f"waits={int(waits)} later=1")

    def has_written_physical(self):
        return self._rogue_says("written")

    def read_physical(self):
        self.write("/sys/module/rogue/parameters/goes_on", "1")

    def _load_rogue(self, start, stride, count, options):
        self.command("load", *self._rogue(start, stride, count, options))

    def _rogue(self, start, stride, count, options):
        return (f"{TESTS_DIR}/rogue.ko",
                f"start={start} stride={stride} count={count} {options}")

    def begin_use_physical(self, start):
        """
        Writes one page, while the machine may stop before there is an answer;
        finish_use_physical() waits for that.
        """
        self._send("load", *self._rogue(start, PAGE_SIZE, 1, ""))

    def finish_use_physical(self):
        """Returns how many pages had their value: 0 or 1."""
        self._answer()
        return self.end_use_physical()

    def has_used_physical(self):
        return self._rogue_says("done")

    def _rogue_says(self, name):
        return self.read(f"/sys/module/rogue/parameters/{name}").strip() == "Y"

    def end_use_physical(self):
        """Returns how many had their value."""
        kept = int(self.read("/sys/module/rogue/parameters/kept"))
        self.command("unload", "rogue")
        return kept

    def put_code(self, address):
        """Writes code to a page of physical memory."""
        self.command("load", f"{TESTS_DIR}/window.ko")
        self.command("put-code", hex(address))

    def execute_code(self, address):
        """Executes it, after put_code(); returns whether it was still there."""
        done = self.command("execute", hex(address))
        self.command("unload", "window")
        return done == "1"

    def fetch_physical(self, disk, start, count=1):
        """Has a disk write its first pages to physical memory."""
        self.command("load", f"{TESTS_DIR}/fetch.ko",
                     f"disk={disk} start={start} count={count}")
        self.command("unload", "fetch")

    def race(self, rounds, page=0):
        """
        Plugs and unplugs a block of the only device, which must have no driver,
        while another CPU writes to a page of it.  Returns numbers: of rounds
        that it "ran", of those with "stale" contents, of "refused" requests,
        and of words next to the block that were "damaged".
        """
        self.command("load", f"{TESTS_DIR}/racer.ko",
                     f"rounds={rounds} page={page}")
        found = {name: int(self.read(f"/sys/module/racer/parameters/{name}"))
                 for name in ("ran", "stale", "refused", "damaged")}
        self.command("unload", "racer")
        return found

    def unload(self):
        self.command("unload", "virtio_mem")

    def mem_total(self):
        """MemTotal in bytes."""
        return _kib(r"MemTotal:\s+(\d+) kB", self.read("/proc/meminfo"))

    def watch_total(self, size):
        """Lets the guest look when MemTotal is `size`; await_total() follows."""
        self._send("await-total", size)

    def await_total(self):
        """Returns once MemTotal is what watch_total() was told."""
        self._answer()

    def node_total(self, node):
        """MemTotal of one NUMA node in bytes."""
        return _kib(rf"Node {node} MemTotal:\s+(\d+) kB",
                    self.read(f"{NODE_DIR}/node{node}/meminfo"))

    def hold(self, name, size, seed=1, node=None):
        """Fills memory with a pattern, and keeps it in use."""
        self.command("hold", name, size, seed, node)

    def verify(self, name):
        """Raises when held memory is not what it was filled with."""
        self.command("verify", name)

    def frames(self, name):
        """Where held memory is: (physical address, bytes) in its order."""
        lines = self.command("frames", name).splitlines()
        return [tuple(int(word, 16) for word in line.split())
                for line in lines]

    def transfer(self, kind, where, size, boundary, seed=1):
        """
        Begins I/O that goes on, `size` bytes there and back in each round:
        "disk" with a block device, "net" with a server ADDRESS:PORT that
        echoes.  Physical addresses from `boundary` on are of interest.
        """
        self.command("transfer", kind, where, size, seed, boundary)

    def transferred(self, kind):
        """
        How many rounds of transfer() went well, and in how many of them all
        memory was above the boundary.  Raises when anything was wrong.
        """
        rounds, above = self.command("transferred", kind).split()
        return int(rounds), int(above)

    def end_transfer(self, kind):
        """As transferred(), and ends it."""
        rounds, above = self.command("transfer-end", kind).split()
        return int(rounds), int(above)

    def pin(self, name, size, node=None):
        """Keeps memory in use that Linux can't move."""
        self.command("pin", name, size, node)

    def fragment(self, name, size, stride):
        """Uses memory by the page, and keeps each `stride`-th page in use."""
        self.command("fragment", name, size, stride)

    def use(self, size):
        """Fills memory, and frees it again."""
        self.command("use", size)

    def check_blank(self, size):
        """Raises when a program gets memory that is not all zeroes."""
        self.command("blank", size)

    def drop(self, name):
        """Ends hold(), fragment() or pin()."""
        self.command("drop", name)

    def mount(self, kind, device, directory):
        self.command("mount", kind, device, directory)

    def cache(self, path):
        """Reads a file, and leaves it in the page cache; its bytes."""
        return int(self.command("cache", path))

    def read_kcore(self, address, size):
        """
        Reads physical memory by way of /proc/kcore; how many bytes of it the
        kernel has as RAM.
        """
        return int(self.command("kcore", hex(address), size))

    def map_devmem(self, address):
        """Maps a page of physical memory by way of /dev/mem, without a look."""
        self.command("devmem", hex(address))

    def spin(self, cpu):
        """Begins to work on one CPU, and to count it."""
        self.command("spin", cpu)

    def end_spin(self):
        """The work done in each slice of 10 ms since spin()."""
        return [int(line) for line in self.command("spin-end").splitlines()]

    def reboot(self):
        """Returns once the guest is up again."""
        self._send("reboot")
        self.wait_ready()

    def fall_asleep(self):
        """Tells the guest to suspend to RAM; wait_awake() has to follow."""
        self._send("write", "/sys/power/state", "mem")

    def wait_awake(self):
        self._answer()

    def kexec(self, kernel, initrd):
        """Returns once another kernel runs; the devices saw no reset."""
        cmdline = self.read("/proc/cmdline").strip()
        self._send("kexec", kernel, initrd, cmdline)
        self.wait_ready()

    def kexec_on_crash(self, kernel, initrd, cmdline):
        """Gets the kernel ready that crash() starts."""
        self.command("kexec-on-crash", kernel, initrd, cmdline)

    def crash(self):
        """Returns once the kernel of kexec_on_crash() runs."""
        self._send("write", "/proc/sysrq-trigger", "c")
        self.wait_ready()

    def copy(self, source, to, last=None):
        """
        Copies a file, or its last bytes, over another one, or a disk; returns
        how many bytes that were.
        """
        size = () if last is None else (last,)
        return int(self.command("copy", source, to, *size))

    def copy_memory(self, size, rounds):
        """Seconds that each of some copies of so many bytes took."""
        text = self.command("copy-memory", size, rounds)
        return [int(line) / 1e9 for line in text.splitlines()]

    def memory_block_numbers(self):
        return [int(name[6:]) for name in self.list(MEMORY_DIR)
                if re.fullmatch(r"memory\d+", name)]

    def memory_blocks(self):
        """The states of all memory blocks, by number; none may go meanwhile."""
        return {n: self.read(f"{MEMORY_DIR}/memory{n}/state").strip()
                for n in self.memory_block_numbers()}

    def set_memory_block(self, number, state):
        """State is online, online_kernel, online_movable or offline."""
        self.write(f"{MEMORY_DIR}/memory{number}/state", state)


def _kib(pattern, text):
    return int(re.search(pattern, text).group(1)) << 10
