# SPDX-License-Identifier: GPL-2.0-or-later
"""
The demo's arguments, its order of events, and its exit status: 0 only if each
step reached its exact target and the guest's kernel had nothing to complain
about; 130 when interrupted.
"""

import argparse
import os
import signal
import sys

from qemu.machine.machine import QEMUMachineError
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
    return parser.parse_args()


def machine(options):
    """The guest of two nodes; the stock driver zeroes what it unplugs."""
    cmdline = "memhp_default_state=online_movable"
    if options.driver == "stock":
        cmdline += " init_on_alloc=0"
    return VM("demo", steps.devices(), memory=steps.BOOT_MEMORY,
              nodes=steps.NODES, qemu=options.qemu, cmdline=cmdline)


def boot(vm, show):
    """Says how QEMU is called, and waits until the guest is up."""
    show.line("QEMU's command line, ready to paste:\n")
    show.line(command.ready_to_paste(vm.command_line()))
    show.line(f"\n{command.HINT}\n")
    show.begin(f"booting the guest ({os.environ.get('ACCEL') or 'tcg'})")
    vm.start()
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
    try:
        run = Run(vm, show, options.pause)
        try:
            with show:
                run.carry_out(steps.PLAN, options.driver)
                vm.check_clean()
        finally:
            show_run(run, show)
    finally:
        vm.stop()


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    SVG.parent.mkdir(parents=True, exist_ok=True)
    vm = machine(options)
    kind = screen.Terminal if screen.on_terminal() and not options.plain \
        else screen.Plain
    show = kind(vm.configured)
    try:
        demonstrate(options, vm, show)
    except FAILURES as error:
        show.line(f"demo failed: {error}\n"
                  f"the guest's log: {os.path.relpath(vm.console)}")
        return 1
    except KeyboardInterrupt:
        show.line("demo interrupted")
        return 130
    show.line(f"{len(steps.PLAN)} steps, all exact: guest and host agree to "
              f"the byte, no kernel warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
