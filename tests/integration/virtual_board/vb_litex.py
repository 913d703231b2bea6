"""A LiteX system without a processor: a Wishbone bridge on its serial line, memory, and lights, for a ULX3S.

Run as a program it builds the system in the folder it is given, with LiteX's own scripts and constraints.
"""

from __future__ import annotations

import sys

from litex.build.generic_platform import IOStandard, Pins, Subsignal
from litex.build.lattice import LatticeECP5Platform
from litex.gen import LiteXModule
from litex.soc.cores.clock import ECP5PLL
from litex.soc.cores.led import LedChaser
from litex.soc.integration.builder import Builder
from litex.soc.integration.soc_core import SoCMini
from migen import ClockDomain

CLK_HZ = 50_000_000
SYS_HZ = 75_000_000
BAUD = 1_500_000
RAM_BYTES = 0x20000000
"""Address of 4 KiB of memory."""

_IO = [
    ("clk", 0, Pins("G2"), IOStandard("LVCMOS33")),
    ("serial", 0, Subsignal("tx", Pins("L4")), Subsignal("rx", Pins("M1")), IOStandard("LVCMOS33")),
    *(("user_led", index, Pins(pin), IOStandard("LVCMOS33")) for index, pin in enumerate(("B2", "C2", "C1", "D2"))),
]


class Platform(LatticeECP5Platform):  # type: ignore[misc]  # LiteX has no types
    default_clk_name = "clk"
    default_clk_period = 1e9 / CLK_HZ

    def __init__(self) -> None:
        super().__init__("LFE5U-25F-6BG381C", _IO, toolchain="trellis")


class Clocks(LiteXModule):  # type: ignore[misc]
    def __init__(self, platform: Platform) -> None:
        self.cd_sys = ClockDomain()
        self.pll = pll = ECP5PLL()
        pll.register_clkin(platform.request("clk"), CLK_HZ)
        pll.create_clkout(self.cd_sys, SYS_HZ)


class System(SoCMini):  # type: ignore[misc]
    def __init__(self, platform: Platform) -> None:
        self.crg = Clocks(platform)
        super().__init__(platform, SYS_HZ, ident="virtual board", ident_version=False)
        self.add_uartbone(baudrate=BAUD)
        self.add_ram("scratch_ram", RAM_BYTES, 4096)
        pads = platform.request_all("user_led")
        self.leds = LedChaser(pads, SYS_HZ, period=4e-6)


def build(folder: str) -> None:
    """Build it; the bitstream is `gateware/system.bit` in the folder."""
    builder = Builder(System(Platform()), output_dir=folder, compile_software=False)
    builder.build(build_name="system", compress=True, ignoreloops=False)


if __name__ == "__main__":
    build(sys.argv[1])
