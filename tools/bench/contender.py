# SPDX-License-Identifier: GPL-2.0-or-later
"""Who takes part: a way to resize a guest, and how its kernel is set up."""

from dataclasses import dataclass, field

from .means import Balloon, Dimm, VirtioMem

NO_INIT = "init_on_alloc=0"


@dataclass(frozen=True)
class Contender:
    """Each boots a guest of its own; `cmdline` is more of the kernel's."""
    name: str
    about: str
    means: type = VirtioMem
    driver: str | None = None           # of testvm.Guest.load()
    parameters: dict = field(default_factory=dict, hash=False)
    cmdline: str = ""
    seconds: float = 0.4                # to grow and shrink a GiB, roughly
    zeroes: bool = False                # touches all memory to take it back

    @property
    def zeroes_used(self):
        """As init_on_alloc=0 has the kernel do it."""
        return NO_INIT not in self.cmdline

    def load(self, vm):
        if self.driver:
            vm.guest.load(self.driver, **self.parameters)
        else:
            vm.guest.load_kernels_own(*self.means.modules)


OURS = Contender("ours", "our driver", driver="ours")
STOCK = Contender("stock", "the kernel's driver, as distributed",
                  driver="stock", seconds=5.2, zeroes=True)
STOCK_BEST = Contender("stock-best", "stock, init_on_alloc=0, force_bbm=1",
                       driver="stock", parameters={"force_bbm": 1},
                       cmdline=NO_INIT)
OURS_I0 = Contender("ours-i0", "ours, init_on_alloc=0", driver="ours",
                    cmdline=NO_INIT)
STOCK_I0 = Contender("stock-i0", "stock, init_on_alloc=0", driver="stock",
                     cmdline=NO_INIT)
BALLOON = Contender("balloon", "the kernel's virtio-balloon", means=Balloon,
                    seconds=12, zeroes=True)
DIMM = Contender("dimm", "a pc-dimm that is added and removed (ACPI)",
                 means=Dimm)

ALL = (OURS, STOCK, STOCK_BEST, OURS_I0, STOCK_I0, BALLOON, DIMM)
