# SPDX-License-Identifier: GPL-2.0-or-later
"""What our driver tells our device of a resize, with x-driver-reports."""

import pytest

from testvm import GIB, MIB, Device
from test_reasons import table

BLOCK = 2 * MIB
CAUSES = {"kernel", "pinned", "no-memory", "refused", "other"}


def talkative(size=4 * GIB, **options):
    return Device("vm0", size, options={"x-driver-reports": "on", **options})


def status(vm):
    device, = vm.qmp("query-virtio-mem")
    return device


def report(vm):
    return status(vm).get("report", {})


def causes(vm):
    """Bytes that can't be given back, by cause, without those of none."""
    told = report(vm)
    return {name: told[name] for name in CAUSES if told[name]}


def wait_for_result(vm, result, requested):
    """Returns once the driver told this of the resize."""
    def told():
        last = report(vm)
        return (last.get("result"), last.get("requested-size")) == (
            result, requested)
    vm.wait_for(f"a report of {result}", told)


def refused(vm, result="in-use"):
    """Requests nothing, which can't be had."""
    vm.resize("vm0", 0)
    wait_for_result(vm, result, 0)


def test_done(boot):
    """Tell that a target was reached, once."""
    vm = boot(talkative())
    assert "x-report" in status(vm)["features"]
    vm.resize_exact(vm0=GIB)
    wait_for_result(vm, "done", GIB)
    told = report(vm)
    assert told["attempts"] == 1 and told["retry-ms"] == 0
    assert not causes(vm) and told["not-online"] == 0
    vm.resize_exact(vm0=0)
    wait_for_result(vm, "done", 0)
    reports, = [row for row in status(vm)["requests"]
                if row["type"] == "x-report"]
    # Of nothing at first, of 1 GiB, of nothing again
    assert reports == {"type": "x-report", "ack": 3, "nack": 0, "busy": 0,
                       "error": 0}
    row, = [row for row in table(vm, "requests")
            if row["request"] == "x-report"]
    assert int(row["ack"]) == 3


def test_pinned(boot):
    """Tell of blocks with pinned pages, until those are released."""
    vm = boot(talkative())
    vm.resize_exact(vm0=GIB)
    vm.guest.pin("page", 65536)
    refused(vm)
    assert causes(vm) == {"pinned": status(vm)["size"]}
    attempts = report(vm)["attempts"]
    vm.wait_for("another attempt", lambda: report(vm)["attempts"] > attempts)
    assert report(vm)["retry-ms"] > 0
    vm.guest.drop("page")
    vm.wait_exact(vm0=0)
    wait_for_result(vm, "done", 0)
    assert not causes(vm)


def test_kernel_pages(boot):
    """Tell of each block with a page of the kernel's."""
    vm = boot(talkative(2 * GIB))
    vm.resize_exact(vm0=2 * GIB)
    vm.guest.sprinkle(vm.devices()["vm0"]["memaddr"] + GIB, 128 * MIB, 3)
    refused(vm)
    vm.wait_for("all else to be given back",
                lambda: status(vm)["size"] == 3 * BLOCK)
    vm.wait_for("a report of that", lambda: causes(vm) == {"kernel": 3 * BLOCK})
    vm.guest.end_sprinkle()
    vm.wait_exact(vm0=0)


def test_too_little_memory(boot):
    """Tell how much the guest can't do without."""
    vm = boot(talkative())
    vm.resize_exact(vm0=2 * GIB)
    vm.guest.hold("most", vm.guest.mem_total() - GIB)
    refused(vm, "no-memory")
    assert set(causes(vm)) == {"no-memory"}
    assert causes(vm)["no-memory"] <= status(vm)["size"]
    vm.guest.drop("most")
    vm.wait_exact(vm0=0)


def test_forbidden(boot):
    """Tell that the guest's administrator forbids it."""
    vm = boot(talkative(), parameters={"unplug_online": 0})
    vm.resize_exact(vm0=GIB)
    refused(vm, "forbidden")
    assert causes(vm) == {"refused": GIB}


def test_not_online(boot):
    """Tell how much nobody brought online, until somebody does."""
    vm = boot(talkative(), cmdline="memhp_default_state=offline")
    vm.resize_and_wait("vm0", GIB)
    wait_for_result(vm, "done", GIB)
    assert report(vm)["not-online"] == GIB
    number = vm.device_memory_blocks()[0]
    vm.guest.set_memory_block(number, "online_movable")
    vm.wait_for("a report of that",
                lambda: report(vm)["not-online"] == GIB - 128 * MIB)


def test_no_room(boot):
    """Tell that the ends of a region can't be used, and no older cause."""
    vm = boot(talkative(GIB + 64 * MIB))
    vm.resize_exact(vm0=GIB)
    vm.guest.pin("page", 65536)
    refused(vm)
    assert causes(vm)
    vm.resize("vm0", GIB + 64 * MIB)
    wait_for_result(vm, "no-room", GIB + 64 * MIB)
    assert not causes(vm)
    vm.guest.drop("page")
    vm.resize_exact(vm0=GIB)


def test_host_busy(boot, host):
    """Tell what the host itself should know."""
    vm = boot(talkative())
    vm.resize_exact(vm0=GIB)
    vm.guest.hold("all", GIB + 128 * MIB)
    vm.guest.drop("all")
    host.begin("keeps-memory")
    refused(vm, "host-busy")
    host.end("keeps-memory")
    vm.wait_exact(vm0=0)


def test_not_wanted(boot):
    """Tell nothing to a device that did not ask for it."""
    vm = boot()
    vm.resize_exact(vm0=GIB)
    vm.resize_exact(vm0=0)
    for row in status(vm)["requests"]:
        if row["type"] in ("x-report", "unknown"):
            row.pop("type")
            assert not any(row.values())


def test_event(boot):
    """Tell of a shrink that can't go on, with why, and of its end."""
    vm = boot(talkative())
    vm.resize_exact(vm0=GIB)
    wait_for_result(vm, "done", GIB)
    vm.guest.pin("page", 65536)
    refused(vm)

    def told(result):
        return any(event["data"]["report"]["result"] == result and
                   event["data"]["report"]["requested-size"] == 0
                   for event in vm.events("VIRTIO_MEM_REPORT"))

    vm.wait_for("the event", lambda: told("in-use"))
    vm.guest.drop("page")
    vm.wait_exact(vm0=0)
    vm.wait_for("the event of its end", lambda: told("done"))
    assert "its report" in vm.hmp("info virtio-mem vm0")


def test_big_blocks(boot):
    """Tell of whole big blocks, where blocks are not taken singly."""
    vm = boot(talkative(2 * GIB), parameters={"force_bbm": 1})
    vm.resize_exact(vm0=2 * GIB)
    vm.guest.sprinkle(vm.devices()["vm0"]["memaddr"] + GIB, 128 * MIB, 3)
    refused(vm)
    vm.wait_for("all else to be given back",
                lambda: status(vm)["size"] == 3 * 128 * MIB)
    vm.wait_for("a report of that",
                lambda: causes(vm) == {"kernel": 3 * 128 * MIB})


def test_migrates(boot):
    """Know on the target of a migration what the driver does not tell again."""
    vm = boot(talkative(), cmdline="memhp_default_state=offline")
    vm.resize_and_wait("vm0", GIB)
    wait_for_result(vm, "done", GIB)
    told = {**report(vm), "age-ms": 0}
    target = boot.twin(vm)
    vm.migrate(target)
    assert {**report(target), "age-ms": 0} == told
    assert told["not-online"] == GIB


def test_forgotten_by_unbind(boot):
    """Know nothing of a driver that is not there any more."""
    vm = boot(talkative())
    vm.resize_exact(vm0=GIB)
    wait_for_result(vm, "done", GIB)
    vm.unbind()
    assert not status(vm)["driver"]
    assert "report" not in status(vm)


@pytest.mark.parametrize("driver", ["stock-driver"])
def test_stock_driver(boot, driver):
    """Leave the stock driver alone, which knows nothing of it."""
    vm = boot(talkative(), driver="stock")
    vm.resize_and_wait("vm0", GIB)
    assert "x-report" not in status(vm)["features"]
    assert "report" not in status(vm)
