# SPDX-License-Identifier: GPL-2.0-or-later
"""
Our driver with devices that tell lies.  The guest lives on and does not warn,
one line tells what is wrong, and the driver is patient; once a device is sane
again, so is the driver.

Most cases have a device of their own in a guest that they share.
"""

import random
import re
from dataclasses import dataclass

import pytest

from odd import BASE, BLOCK, Odd, OddDevice, wait_in_guest
from testvm import GIB, MIB, Device, GuestError

pytestmark = pytest.mark.xdist_group("odd")

HALF = 512 * MIB

# Features 0 to 2 of the specification, and ours
WITH_REPORTS = 7 | 1 << 23

# Seconds: nothing here takes long, but some of it may never come.
LIMIT = 120

# What the driver says; it may say it in other words around them.
ODD_ANSWER = "odd answer"
NO_ANSWER = "(no|not|n't) answer"
BUSY = "host is busy"
NACK = "not possible now|refuse"
BROKEN = "broken|needs a reset|odd answer|out of range|not a head"
NEEDS_RESET = "needs a reset"

# Configurations that the driver has to refuse when it is bound: what is odd,
# and what the only line about it says.  Devices have no memory.
AREA = 64 * GIB
REFUSED = {
    "block-size-0": ({"block-size": 0}, "block size"),
    "block-size-1": ({"block-size": 1}, "block size"),
    "block-size-3-MiB": ({"block-size": 3 * MIB}, "block size"),
    "block-smaller-than-page": ({"block-size": 2048}, "block size"),
    "block-larger-than-region": ({"block-size": 2 * GIB}, "block size"),
    "block-size-2^32": ({"block-size": 1 << 32}, "block size"),
    "block-size-2^63": ({"block-size": 1 << 63}, "block size"),
    "block-size-max": ({"block-size": (1 << 64) - 1}, "block size"),
    "address-0": ({"memaddr": 0}, "in use"),
    "address-over-boot-memory": ({"memaddr": 256 * MIB}, "in use"),
    "address-beyond-physical": ({"memaddr": 1 << 52}, "outside of"),
    "address-2^63": ({"memaddr": 1 << 63}, "outside of"),
    "address-wraps": ({"memaddr": (1 << 64) - HALF}, "not possible"),
    "address-at-the-very-end": ({"memaddr": (1 << 64) - GIB}, "outside of"),
    "address-misaligned": ({"memaddr": AREA + MIB}, "address"),
    "address-of-vm0": ({"memaddr": BASE}, "overlaps"),
    "address-inside-vm0": ({"memaddr": BASE + HALF}, "overlaps"),
    "region-size-0": ({"region-size": 0}, "region of 0x0"),
    "region-no-multiple": ({"region-size": GIB + MIB}, "region size"),
    # With page tables of four levels nothing may end that high.
    "region-2^46": ({"region-size": 1 << 46},
                    r"in use|outside of \[0x0, 0x3fffffffffff\]"),
    "region-2^63": ({"region-size": 1 << 63}, "outside of"),
    "region-smaller-than-memory-block":
        ({"region-size": 64 * MIB}, "no whole, aligned memory block of 128 MiB"),
    "region-without-memory-block":
        ({"memaddr": AREA + 64 * MIB, "region-size": 128 * MIB},
         "no whole, aligned memory block of 128 MiB"),
    "no-configuration": ({"no-config": "on"}, "no configuration"),
    "no-queue": ({"queues": 0}, "queue"),
    "queue-size-3": ({"queue-size": 3}, "queue"),
    "queue-size-1-direct": ({"queue-size": 1, "indirect_desc": "off"},
                            "queue"),
}

# Configurations that are odd, but that the driver can live with.
ACCEPTED = {
    "block-size-4-GiB": {"block-size": 4 * GIB, "memaddr": BASE + 92 * GIB},
    "usable-larger-than-region": {"usable-region-size": 1 << 63},
    "no-such-node": {"node-id": 255},
    "node-max": {"node-id": 65535},
    "node-not-offered": {"features": 0, "node-id": 65535},
    "all-features": {"features": 0xfffc000000ffffff},
    "no-features": {"features": 0},
    "queue-size-1": {"queue-size": 1},
    "plugged-size-lies": {"plugged-size": 1 << 63},
}


@dataclass
class Case:
    """
    Lies during a resize from `start` to `target`, which is reached once the
    device is sane again; `line` tells of them.  With `wrong`, they make the
    driver ask for impossible things.
    """
    lies: dict
    line: str
    start: int = 0
    target: int = HALF
    wrong: bool = False


def growing(answer, line, **arguments):
    return Case({"plug": answer}, line, **arguments)


def shrinking(answer, line, **arguments):
    return Case({"unplug": answer}, line, start=HALF, target=0, **arguments)


def once(case):
    """Sane again after one odd answer, without being told to."""
    case.lies["odd-for"] = 1
    return case


def later(case):
    """Sane at first: one request fills a gap, and the next one gets it."""
    case.lies["odd-after"] = 1
    return case


ANSWERS = {
    "plug-nack": growing("nack", NACK),
    "plug-busy": growing("busy", BUSY),
    "plug-error": growing("error", ODD_ANSWER),
    "plug-unknown": growing("unknown", ODD_ANSWER),
    "plug-empty": growing("empty", ODD_ANSWER),
    "plug-short": growing("short", ODD_ANSWER),
    "plug-none": growing("none", NO_ANSWER),
    "plug-error-once": once(growing("error", ODD_ANSWER)),
    "plug-unknown-once": once(growing("unknown", ODD_ANSWER)),
    "plug-done-error-once": once(growing("done-error", ODD_ANSWER)),
    "plug-error-later": later(growing("error", ODD_ANSWER, start=130 * MIB)),
    "plug-none-later": later(growing("none", NO_ANSWER, start=130 * MIB)),
    "unplug-nack": shrinking("nack", NACK),
    "unplug-busy": shrinking("busy", BUSY),
    "unplug-error": shrinking("error", ODD_ANSWER),
    "unplug-unknown": shrinking("unknown", ODD_ANSWER),
    "unplug-empty": shrinking("empty", ODD_ANSWER),
    "unplug-none": shrinking("none", NO_ANSWER),
    "unplug-error-once": once(shrinking("error", ODD_ANSWER)),
    "unplug-done-error-once": once(shrinking("done-error", ODD_ANSWER)),
    "state-plugged": Case({"plug": "error", "state": "plugged"}, ODD_ANSWER,
                          wrong=True),
    "state-none": Case({"plug": "error", "state": "none"}, NO_ANSWER),
}

# A sane answer, and harm to the ring that the next request meets.
RING = {"twice": BROKEN, "foreign": BROKEN, "jump": BROKEN,
        "needs-reset": NEEDS_RESET}

# At the start, with something left over; and after being bound again, with
# memory in use.
UNPLUG_ALL = {"busy": BUSY, "nack": NACK, "error": ODD_ANSWER,
              "unknown": ODD_ANSWER, "none": NO_ANSWER}
STATE = {"odd-state": ODD_ANSWER, "mixed": ODD_ANSWER, "unplugged": "is lost",
         "error": ODD_ANSWER, "busy": BUSY, "none": NO_ANSWER}


@dataclass
class Sizes:
    """
    Fields that change under the driver, from 512 MiB on; what the device has
    then; and what the driver says, if it has to.
    """
    told: dict
    size: int
    line: str | None = None


SIZES = {
    "requested-beyond-region": Sizes({"requested-size": 1 << 63}, GIB,
                                     "1024 MiB plugged, as requested"),
    "requested-beyond-usable":
        Sizes({"usable-region-size": 768 * MIB, "requested-size": GIB},
              768 * MIB, "no room|usable"),
    "requested-no-multiple":
        Sizes({"requested-size": 768 * MIB + MIB + 123}, 768 * MIB),
    "requested-max": Sizes({"requested-size": (1 << 64) - 1}, GIB,
                           "1024 MiB plugged, as requested"),
    # Four memory blocks are plugged: all but the second of the first five.
    "usable-shrinks": Sizes({"usable-region-size": 256 * MIB,
                             "requested-size": 0}, 384 * MIB, ODD_ANSWER),
    "usable-0": Sizes({"usable-region-size": 0, "requested-size": GIB}, HALF,
                      "no room|usable"),
    "plugged-size": Sizes({"plugged-size": (1 << 64) - 1,
                           "requested-size": 256 * MIB}, 256 * MIB),
}

# No device may change these while a driver has it: ours goes on.
CONSTANT = {"block-size": 64 * MIB, "memaddr": BASE + 88 * GIB,
            "region-size": BLOCK, "node-id": 77}

OWED = {"plug": (0, HALF), "unplug": (HALF, 0)}

# What a device says of reports, which it asked for
REPORTED = {"nack": None, "busy": None, "error": None, "unknown": None,
            "empty": None, "none": NO_ANSWER, "needs-reset": NEEDS_RESET}

# Bytes before a device keeps what it was asked for: in whole memory blocks,
# and with a gap in one.
KEPT = (0, 130 * MIB)

NAMES = ([f"answer-{name}" for name in ANSWERS]
         + [f"ring-{name}" for name in RING]
         + [f"unplug-all-{name}" for name in UNPLUG_ALL]
         + [f"state-{name}" for name in STATE]
         + [f"sizes-{name}" for name in SIZES]
         + [f"constant-{name}" for name in CONSTANT]
         + [f"rebind-{name}" for name in CONSTANT]
         + [f"owed-{name}" for name in OWED]
         + [f"kept-{start}" for start in KEPT]
         + [f"report-{answer}" for answer in REPORTED]
         + ["ack-plug", "ack-unplug", "any-time", "always-stuck", "spurious",
            "not-there", "was-reset", "flood"])


def shared_devices():
    """Those of the tests below, each at a place of its own."""
    names = NAMES + [f"accepted-{name}" for name in ACCEPTED]
    devices = {}
    for place, name in enumerate(names):
        options = ACCEPTED.get(name.removeprefix("accepted-"), {})
        if name.startswith("report-"):
            options = {"features": WITH_REPORTS}
        size = max(GIB, options.get("block-size", 0))
        devices[name] = OddDevice(f"odd{place}", place, options, size)
    return devices


@pytest.fixture(scope="module")
def guest(boot_for_all):
    """The guest that most tests share, and its devices by name."""
    devices = shared_devices()
    return boot_for_all(*devices.values(), timeout=LIMIT), devices


@pytest.fixture
def odd(guest):
    """odd(NAME) is the device of that name; the guest has to survive it."""
    vm, devices = guest
    yield lambda name: Odd(vm, devices[name])
    vm.check_clean()


# Refused devices


def boot_refused(boot):
    devices = {name: OddDevice(f"odd{place}", place, {"memaddr": AREA + place
                                                      * 8 * GIB, **options},
                               memory=False)
               for place, (name, (options, _)) in enumerate(REFUSED.items())}
    vm = boot(Device("vm0", GIB, options={"memaddr": BASE}),
              *devices.values(), timeout=LIMIT)
    return vm, devices


@pytest.fixture(scope="module")
def refused(boot_for_all):
    return boot_refused(boot_for_all)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(refused, name):
    """Refuse a device that can't be right, and say why in one line."""
    vm, devices = refused
    odd = Odd(vm, devices[name], since_boot=True)
    assert not odd.is_bound()
    odd.wait_for_line(REFUSED[name][1])
    assert len(odd.lines()) == 1, odd.lines()
    assert odd.requests() == 0


@pytest.mark.parametrize("name", REFUSED)
def test_refused_again(refused, name):
    """Refuse it in the same words when it is bound once more."""
    vm, devices = refused
    odd = Odd(vm, devices[name], since_boot=True)
    before = odd.lines()
    with pytest.raises(GuestError):
        odd.bind()
    assert odd.lines() == before + before[:1]


def test_unload_with_refused_devices(refused):
    """Unload and load beside refused devices; the sane one works."""
    vm, _ = refused
    vm.resize_exact(vm0=256 * MIB)
    vm.resize_exact(vm0=0)
    vm.guest.unload()
    vm.load()
    assert len(vm.bound()) == 1
    vm.resize_exact(vm0=GIB)
    vm.resize_exact(vm0=0)


def test_bind_once_it_is_sane(refused):
    """Take a device that was refused, once it is right."""
    vm, devices = refused
    odd = Odd(vm, devices["block-size-3-MiB"])
    odd.tell(block_size=BLOCK)
    odd.bind()
    assert odd.is_bound()
    odd.unbind()
    odd.tell(block_size=3 * MIB)
    with pytest.raises(GuestError):
        odd.bind()


# Odd, but not wrong


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(odd, name):
    """Work with a device that is only unusual."""
    device = odd(f"accepted-{name}")
    size = max(HALF, ACCEPTED[name].get("block-size", 0))
    assert device.is_bound()
    before = device.vm.guest.mem_total()
    device.resize(size)
    device.vm.wait_for("the guest to have the memory", lambda:
                       device.vm.guest.mem_total() == before + size)
    device.resize(0)
    assert device.get("nb-wrong") == 0
    assert device.status("usable_size") <= device.status("region_size")


# Odd answers


@pytest.mark.parametrize("name", ANSWERS)
def test_answer(odd, name):
    """Survive an odd answer, say so, and go on when the next one is sane."""
    device, case = odd(f"answer-{name}"), ANSWERS[name]
    device.resize(case.start)
    device.tell(**case.lies)
    device.tell(requested_size=case.target)
    device.wait_for_line(case.line)
    device.check_patience()
    if "odd-for" not in case.lies:
        device.be_sane()
    device.wait_for_size(case.target)
    device.resize(256 * MIB)
    device.resize(0)
    assert case.wrong or device.get("nb-wrong") == 0


@pytest.mark.parametrize("answer", REPORTED)
def test_report(odd, answer):
    """Resize as ever, whatever the device says of reports it asked for."""
    device = odd(f"report-{answer}")
    device.tell(x_report=answer)
    before = device.get("nb-x-report")
    device.resize(HALF)
    device.vm.wait_for("a report",
                       lambda: device.get("nb-x-report") > before)
    if REPORTED[answer]:
        device.wait_for_line(REPORTED[answer])
        device.be_sane()
    device.resize(256 * MIB)
    device.resize(0)
    assert device.get("nb-wrong") == 0


@pytest.mark.parametrize("answer", RING)
def test_ring(odd, answer):
    """Reset a device whose ring broke, seldom if it doesn't help, and go on."""
    device = odd(f"ring-{answer}")
    device.tell(plug=answer)
    device.resize(128 * MIB)        # one request
    # Nothing that is used from now on is an answer.
    device.tell(plug="none", requested_size=HALF)
    device.wait_for_line(RING[answer])
    device.check_patience()
    device.be_sane()
    device.wait_for_size(HALF)
    device.resize(128 * MIB)
    device.resize(0)


def test_reset_that_does_not_help(odd):
    """Reset a device that is always stuck seldom, until it works again."""
    device = odd("always-stuck")
    device.resize(HALF)
    device.tell(plug="needs-reset", state="needs-reset")
    device.tell(requested_size=GIB)
    device.wait_for_line(NEEDS_RESET)
    device.check_patience()
    device.be_sane()
    device.wait_for_size(GIB)
    device.resize(0)


def test_not_there(odd):
    """Leave a device alone that reads as taken out, and go on if it is back."""
    device = odd("not-there")
    device.resize(HALF)
    status = device.get("status")
    device.tell(status=0xff, requested_size=GIB)
    device.wait_for_line("not there")
    device.check_patience()
    assert device.get("status") == 0xff         # nobody wrote to it
    device.tell(status=status)
    device.wait_for_size(GIB)
    device.resize(0)


def test_reset_by_others(odd):
    """Set a device up again that somebody else reset."""
    device = odd("was-reset")
    device.resize(HALF)
    device.tell(plug="busy", requested_size=GIB)
    device.wait_for_line(BUSY)
    device.tell(status=0)
    device.wait_for_line("reset it")
    device.be_sane()
    device.wait_for_size(GIB)
    device.resize(0)


def test_log_is_not_filled(odd):
    """Write no more than 60 lines a minute, whatever a device does."""
    device = odd("flood")
    uptime = device.vm.guest.uptime
    begin = uptime()
    device.tell(usable_region_size=0)
    for number in range(200):
        size = HALF + number % 2 * HALF
        device.tell(requested_size=size)
        device.vm.wait_for("the driver to see it", lambda: re.search(
            rf"^requested_size:\s+{size}$", device.debugfs("status"),
            re.MULTILINE))
    assert len(device.lines()) <= 60 * (1 + (uptime() - begin) // 60)
    device.tell(usable_region_size=GIB)
    device.resize(0)


def test_plug_that_did_nothing(odd):
    """Use what an ACK promised, and let go of it when it turns out a lie."""
    device = odd("ack-plug")
    device.tell(plug="ack")
    device.begin_request("nb-plug", HALF)
    device.check_patience()
    device.tell(plug="sane", requested_size=0)
    device.wait_for_line(ODD_ANSWER)
    device.check_patience()
    device.resize(HALF)
    device.resize(0)


def test_unplug_that_did_nothing(odd):
    """Plug anew what an UNPLUG left plugged, whatever its ACK said."""
    device = odd("ack-unplug")
    device.resize(HALF)
    device.tell(unplug="ack")
    device.begin_request("nb-unplug", 0)
    device.check_patience()
    assert device.get("size") == HALF
    device.tell(unplug="sane", requested_size=GIB)
    device.wait_for_line(ODD_ANSWER)
    device.wait_for_size(GIB)
    device.resize(0)


@pytest.mark.parametrize("start", KEPT)
def test_plugged_is_kept(odd, start):
    """Use what is plugged against all word, and can't be unplugged."""
    device = odd(f"kept-{start}")
    before = device.vm.guest.mem_total()
    device.resize(start)
    device.tell(plug="done-error", unplug="nack", requested_size=HALF)
    device.vm.wait_for("the guest to have the memory", lambda:
                       device.vm.guest.mem_total() == before + HALF)
    assert device.get("size") == HALF
    device.be_sane()
    device.resize(0)
    assert device.get("nb-wrong") == 0


def test_spurious_interrupt(odd):
    """Stay patient when the device tells of changes that are none."""
    def next_retry():
        return int(re.search(r"^next_retry_ms:\s+(\d+)$",
                             device.debugfs("status"), re.MULTILINE)[1])

    device = odd("spurious")
    device.tell(plug="busy", requested_size=HALF)
    device.vm.wait_for("retries to be rare", lambda: next_retry() > 1500)
    requests = device.requests()
    device.tell(node_id=1)
    device.vm.wait_for("one more attempt",
                       lambda: device.requests() > requests)
    wait_in_guest(device.vm, 0.5)
    assert next_retry() > 1500
    device.be_sane()
    device.wait_for_size(HALF)
    device.resize(0)


@pytest.mark.parametrize("answer", UNPLUG_ALL)
def test_unplug_all(odd, answer):
    """Begin once the device has unplugged what was left over."""
    device = odd(f"unplug-all-{answer}")
    device.unbind()
    device.tell(unplug_all=answer, plugged_size=64 * MIB,
                requested_size=HALF)
    device.bind()
    device.wait_for_line(UNPLUG_ALL[answer])
    device.check_patience()
    assert device.get("nb-plug") == 0
    device.be_sane()
    device.wait_for_size(HALF)
    device.resize(0)
    assert device.get("nb-wrong") == 0


@pytest.mark.parametrize("answer", STATE)
def test_state(odd, answer):
    """Find out which blocks are plugged once the device tells."""
    device = odd(f"state-{answer}")
    device.resize(HALF)
    device.unbind()
    device.tell(state=answer)
    device.bind()
    device.wait_for_line(STATE[answer])
    device.check_patience()
    device.be_sane()
    device.resize(GIB)
    device.resize(0)


@pytest.mark.parametrize("request_type", OWED)
def test_unbind_while_owed(odd, request_type):
    """Let go of a device that owes an answer, and take it again."""
    device = odd(f"owed-{request_type}")
    start, target = OWED[request_type]
    device.resize(start)
    device.tell(**{request_type: "none"})
    device.begin_request(f"nb-{request_type}", target)
    device.unbind()
    assert not device.is_bound()
    # Whoever still waited for the answer would look for it now.
    wait_in_guest(device.vm, 2)
    device.be_sane()
    device.bind()
    device.wait_for_size(target)
    device.resize(0)
    assert device.get("nb-wrong") == 0


# Odd configurations at run time


@pytest.mark.parametrize("name", SIZES)
def test_sizes(odd, name):
    """Do what is possible when a device changes its sizes in an odd way."""
    device, case = odd(f"sizes-{name}"), SIZES[name]
    device.resize(HALF)
    device.tell(**case.told)
    device.wait_for_size(case.size)
    if case.line:
        device.wait_for_line(case.line)
    device.check_patience()
    assert device.get("size") == case.size
    device.tell(usable_region_size=GIB)
    device.resize(128 * MIB)
    device.resize(0)


@pytest.mark.parametrize("field_name", CONSTANT)
def test_constant_field_changes(odd, field_name):
    """Go on with what a device said first, whatever it says now."""
    device = odd(f"constant-{field_name}")
    device.resize(HALF)
    device.tell(**{field_name: CONSTANT[field_name]})
    device.resize(GIB)
    device.resize(0)
    device.check_patience()
    assert device.get("nb-wrong") == 0


@pytest.mark.parametrize("field_name", CONSTANT)
def test_constant_field_changed_while_unbound(odd, field_name):
    """Refuse a device that is no longer the one whose memory is in use."""
    device = odd(f"rebind-{field_name}")
    truth = device.get(field_name)
    device.resize(HALF)
    device.unbind()
    device.tell(**{field_name: CONSTANT[field_name]})
    if field_name == "node-id":
        device.bind()       # the memory is where it is
        device.unbind()
    else:
        with pytest.raises(GuestError):
            device.bind()
        assert not device.is_bound()
    device.tell(**{field_name: truth})
    device.bind()
    device.resize(GIB)
    device.resize(0)
    assert device.get("nb-wrong") == 0


def test_fields_change_any_time(odd, seed):
    """Reach the target exactly after fields took random values for a while."""
    rng = random.Random(seed)
    device = odd("any-time")
    truth = {name: device.get(name) for name in
             ("block-size", "memaddr", "region-size", "usable-region-size",
              "node-id")}
    for _ in range(60):
        name = rng.choice([*truth, "requested-size", "plugged-size"])
        device.tell(**{name: rng.choice([0, 1, 3 * MIB, HALF, GIB, 1 << 63,
                                         rng.randrange(1 << 64)])})
    device.tell(**truth)
    device.resize(HALF)
    device.resize(0)


# In guests of their own


def test_big_block_half_online(boot):
    """Let no page come online whose memory block is offline."""
    vm = boot(OddDevice("odd0", 0), cmdline="memhp_default_state=offline")
    device = Odd(vm, vm.configured[0])
    device.tell(plug="done-error", state="error", requested_size=128 * MIB)
    device.wait_for_size(128 * MIB)
    vm.guest.unload()
    # The next driver finds it out in the midst of a big block.
    device.tell(plug="sane", state="none", unplug="nack", plugged_size=0,
                requested_size=HALF)
    before = device.get("nb-state")
    vm.load(force_bbm=1, bbm_block_size=HALF)
    device.wait_for_request("nb-state", before)
    device.tell(plug="busy")
    device.tell(state="sane")
    first = BASE // (128 * MIB)
    vm.wait_for("Linux to know the big block",
                lambda: first in vm.guest.memory_block_numbers())
    vm.guest.set_memory_block(first, "online_movable")
    assert vm.guest.mem_total() == vm.boot_total + 128 * MIB
    device.tell(plug="sane")
    device.wait_for_size(HALF)
    for number in range(first + 1, first + 4):
        vm.guest.set_memory_block(number, "online_movable")
    assert vm.guest.mem_total() == vm.boot_total + HALF
    device.be_sane()
    device.resize(0)


def test_no_sleep_while_not_there(boot):
    """Refuse to sleep while a device is taken out: to reset it would hang."""
    vm = boot(OddDevice("odd0", 0))
    device = Odd(vm, vm.configured[0])
    device.resize(HALF)
    status = device.get("status")
    device.tell(status=0xff)
    device.wait_for_line("not there")
    with pytest.raises(GuestError):
        vm.guest.write("/sys/power/state", "mem")
    device.wait_for_line("cannot suspend")
    device.tell(status=status)
    device.resize(0)


def test_no_sleep_when_the_device_has_more(boot):
    """Refuse to sleep when only the device says that memory is plugged."""
    vm = boot(OddDevice("odd0", 0, {"features": 0}))
    device = Odd(vm, vm.configured[0])
    device.resize(HALF)
    device.resize(0)
    device.wait_for_line(" 0 MiB plugged, as requested")
    device.tell(plugged_size=HALF)
    with pytest.raises(GuestError, match="not permitted"):
        vm.guest.write("/sys/power/state", "mem")
    device.wait_for_line("cannot suspend: memory is plugged")


def test_no_hibernation_in_doubt(boot):
    """Refuse to hibernate when the device may have memory plugged."""
    vm = boot(OddDevice("odd0", 0))
    device = Odd(vm, vm.configured[0])
    device.resize(128 * MIB)
    device.tell(unplug="error", requested_size=0)
    device.wait_for_line(ODD_ANSWER)
    assert vm.guest.mem_total() == vm.boot_total
    with pytest.raises(GuestError, match="busy"):
        vm.guest.write("/sys/power/state", "disk")
    device.wait_for_line("cannot hibernate: 0 MiB .*, perhaps more")
    device.be_sane()
    device.wait_for_size(0)


def boot_owing(boot):
    """A guest whose device owes an answer to a PLUG; its name is odd0."""
    vm = boot(OddDevice("odd0", 16), timeout=LIMIT)
    device = Odd(vm, vm.configured[0])
    device.resize(256 * MIB)
    device.tell(plug="none")
    device.begin_request("nb-plug", GIB)
    return vm, device


def test_device_goes_while_it_owes(boot):
    """Lose a device that owes an answer, and unload the driver."""
    vm = boot(OddDevice("odd0", 16), machine="pc")
    device = Odd(vm, vm.configured[0])
    device.tell(plug="none")
    device.begin_request("nb-plug", HALF)
    vm.eject("odd0")
    assert not vm.bound()
    vm.guest.unload()


def boot_offline(boot):
    """A guest with 512 MiB that are offline."""
    place = OddDevice("odd0", 16)
    vm = boot(place, machine="pc", cmdline="memhp_default_state=offline")
    device = Odd(vm, place)
    device.resize(HALF)
    device.wait_for_line("as requested")
    return vm, place, device


def boot_and_eject(boot, online=()):
    """
    Such a guest, but for memory blocks with these numbers within the device,
    after that has gone.
    """
    vm, place, _ = boot_offline(boot)
    for number in online:
        vm.guest.set_memory_block(place.address // (128 * MIB) + number,
                                  "online_movable")
    vm.eject("odd0")
    return vm, place


def test_smaller_device_in_its_place(boot):
    """Online nothing that is not usable any more, and count it no longer."""
    vm, place = boot_and_eject(boot)
    usable = 256 * MIB
    vm.hmp(f"device_add {place.arguments()[-1]},state=none,"
           f"usable-region-size={usable},requested-size={usable}")
    vm.wait_for("the new device", vm.bound)
    device = Odd(vm, place)
    device.wait_for_request("nb-state")
    device.be_sane()
    device.wait_for_size(usable)
    device.wait_for_line("256 MiB plugged, as requested")
    first = place.address // (128 * MIB)
    assert [number for number in vm.guest.memory_block_numbers()
            if number >= first] == [first, first + 1]
    assert not any("lost" in line for line in device.lines())
    assert device.get("nb-wrong") == 0


def test_another_device_in_its_place(boot):
    """Online nothing until a device that came back told what it has."""
    vm, place = boot_and_eject(boot)
    number = place.address // (128 * MIB)
    vm.hmp(f"device_add {place.arguments()[-1]},state=none")
    vm.wait_for("the new device", vm.bound)
    device = Odd(vm, place)
    device.wait_for_request("nb-state")
    with pytest.raises(GuestError, match="No such device"):
        vm.guest.set_memory_block(number, "online_movable")
    device.be_sane()
    vm.wait_for("Linux to forget the memory", lambda: number not in
                vm.guest.memory_block_numbers())
    device.resize(HALF)
    device.wait_for_line("512 MiB wait to be onlined")
    vm.guest.set_memory_block(number, "online_movable")
    assert not any("lost" in line for line in device.lines())
    assert device.get("nb-wrong") == 0


@pytest.mark.parametrize("target", (0, HALF))
def test_lost_while_online(boot, target):
    """Go on without what a device lost in use, or plug it again."""
    vm, place = boot_and_eject(boot, online=(0,))
    vm.hmp(f"device_add {place.arguments()[-1]},state=none")
    vm.wait_for("the new device", vm.bound)
    device = Odd(vm, place)
    device.wait_for_request("nb-state")
    device.tell(requested_size=target)
    device.be_sane()
    device.wait_for_line("lost")
    device.wait_for_line(f"{target // MIB} MiB plugged, as requested")
    assert device.get("size") == target
    numbers = [number for number in vm.guest.memory_block_numbers()
               if number >= place.address // (128 * MIB)]
    assert len(numbers) == target // (128 * MIB)
    device.resize(GIB)
    device.wait_for_line("1024 MiB plugged, as requested")
    assert device.get("nb-wrong") == 0


def test_lost_before_it_was_unplugged(boot):
    """Don't add memory that was lost before the device took it back."""
    vm, place, device = boot_offline(boot)
    device.tell(unplug="busy", requested_size=256 * MIB)
    device.wait_for_line("host is busy")
    vm.eject("odd0")
    vm.hmp(f"device_add {place.arguments()[-1]},requested-size={256 * MIB}")
    vm.wait_for("the new device", vm.bound)
    device = Odd(vm, place, since_boot=True)
    device.wait_for_size(256 * MIB)
    device.wait_for_line("256 MiB plugged, as requested")
    assert device.work("add") == 4
    assert device.get("nb-wrong") == 0


def test_reboot_while_it_owes(boot):
    """Reboot with an answer still owed, and begin anew."""
    vm, device = boot_owing(boot)
    vm.reboot()
    device.be_sane()
    vm.load()
    device.resize(HALF)
    device.resize(0)
    assert device.get("nb-wrong") == 0


def test_unload_after_odd_answers(boot):
    """Unload the driver of a device that gave odd answers to the end."""
    vm = boot(OddDevice("odd0", 0), OddDevice("odd1", 1))
    for device, answer in zip(vm.configured, ("error", "none")):
        device = Odd(vm, device)
        device.tell(plug=answer)
        device.begin_request("nb-plug", HALF)
    wait_in_guest(vm, 1)
    vm.guest.unload()
    assert "virtio_mem" not in vm.guest.read("/proc/modules")
