# SPDX-License-Identifier: GPL-2.0-or-later
"""
The demo's arguments, its order of events, and its exit status: 0 only if each
step reached its exact target and the guest's kernel had nothing to complain
about; 130 when interrupted.
"""

import argparse
import logging
import os
import shutil
import signal
import sys
import time

from qemu.machine.machine import QEMUMachineError, VMLaunchFailure
from qemu.qmp import QMPError
from testvm import VM, GuestError, VMError, paths

from . import chart, command, screen, steps
from .run import DemoError, Run

FAILURES = (DemoError, GuestError, VMError, OSError, QMPError,
            QEMUMachineError)
SVG = paths.BUILD / "demo" / "sizes.svg"


def arguments():
    parser = argparse.ArgumentParser(
        prog="demo", description="Shows a guest that grows and shrinks.")
    parser.add_argument("--qemu", default="ours", metavar="WHICH",
                        help="ours, stock (the distribution's), or a path")
    parser.add_argument("--driver", default="ours", choices=["ours", "stock"],
                        help="the guest's driver")
    parser.add_argument("--plain", action="store_true",
                        help="plain lines on a terminal, too")
    parser.add_argument("--pause", type=float, default=1, metavar="SECONDS",
                        help="time to look at what a step did (default 1)")
    options = parser.parse_args()
    if options.pause < 0:
        parser.error(f"--pause {options.pause}: not less than 0")
    if not shutil.which(paths.qemu(options.qemu) or ""):
        parser.error(f"--qemu {options.qemu}: no such program")
    return options


def machine(options):
    """The guest of two nodes; the stock driver zeroes what it unplugs."""
    cmdline = "memhp_default_state=online_movable"
    if options.driver == "stock":
        cmdline += " init_on_alloc=0"
    return VM("demo", steps.devices(), memory=steps.BOOT_MEMORY,
              nodes=steps.NODES, qemu=options.qemu, cmdline=cmdline)


def hint():
    """KVM may be there, and still not work."""
    return "\nWithout ACCEL=kvm it may." if os.environ.get("ACCEL") == "kvm" \
        else ""


def boot(vm, show):
    """Says how QEMU is called, and waits until the guest is up."""
    show.line("QEMU's command line, ready to paste:\n")
    show.line(command.ready_to_paste(vm.command_line()))
    show.line(f"\n{command.HINT}\n")
    show.begin(f"booting the guest ({os.environ.get('ACCEL') or 'tcg'})")
    try:
        vm.start()
    except VMLaunchFailure as error:    # as text it repeats the command line
        output = (error.output or "").strip()
        raise DemoError(f"QEMU did not start: {output or error.__cause__}"
                        + hint()) from error
    show.done()


def show_run(run, show):
    """The table and the chart of all that happened so far."""
    if not run.results:
        return
    show.table(run.results)
    chart.draw(run, SVG)
    show.line(f"chart: {os.path.relpath(SVG)}")


def demonstrate(options, vm, show):
    """Raises one of FAILURES unless all was exact and without a warning."""
    with show:
        boot(vm, show)
    run = Run(vm, show, options.pause)
    try:
        with show:
            run.carry_out(steps.PLAN, options.driver)
            vm.check_clean()
    except (GuestError, OSError, QMPError) as error:
        raise DemoError(f"{last_words(vm) or error}{hint()}") from error
    finally:
        vm.stop()
        show_run(run, show)


def last_words(vm):
    """QEMU's, if it has ended: a connection is lost a moment before that."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        try:
            vm.check_alive()
        except VMError as error:
            return error
        time.sleep(0.1)
    return None


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    logging.getLogger("qemu").setLevel(logging.CRITICAL)    # we say it
    SVG.parent.mkdir(parents=True, exist_ok=True)
    vm = machine(options)
    for old in (SVG, vm.console):
        old.unlink(missing_ok=True)
    kind = screen.Terminal if screen.on_terminal() and not options.plain \
        else screen.Plain
    show = kind(vm.configured)
    try:
        demonstrate(options, vm, show)
    except FAILURES as error:
        where = f' in "{show.doing}"' if show.doing else ""
        show.line(f"demo failed{where}: {error}")
        if vm.console.exists():
            show.line(f"the guest's log: {os.path.relpath(vm.console)}")
        return 1
    except KeyboardInterrupt:
        show.line("demo interrupted")
        return 130
    show.line(f"{len(steps.PLAN)} steps, all exact: guest and host agree to "
              f"the byte, no kernel warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
