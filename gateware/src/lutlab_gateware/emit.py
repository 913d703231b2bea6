"""Turn an SoC into what the tools read: RTLIL or Verilog, and a constraint file. Output depends on the inputs only."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

from amaranth.back import rtlil

from lutlab_gateware.pll import format_mhz
from lutlab_gateware.soc import Panel, Soc
from lutlab_profiles import DeviceProfile

YOSYS_TIMEOUT_S = 120
_IO_TYPE = "LVCMOS33"
_TO_VERILOG = """
from pyosys import libyosys
design = libyosys.Design()
for command in ("read_rtlil soc.il", "proc", "memory_collect", "write_verilog -noattr soc.v"):
    libyosys.run_pass(command, design)
"""


def emit_rtlil(soc: Soc, name: str = "top") -> str:
    """The SoC as RTLIL: deterministic, no source paths, no times.

    Args:
        soc: not elaborated before; Amaranth elaborates a design once.
        name: of the top module. Modules below are called `<name>.<...>`, which no Verilog module can clash with.

    Returns:
        Text for yosys `read_rtlil`. Ports: those of the SoC. A `VerilogTarget`'s module stays a black box.
    """
    text: str = rtlil.convert(soc, name=name, ports=soc.ports, emit_src=False)
    return text


def emit_verilog(soc: Soc, name: str = "top") -> str:
    """The SoC as Verilog, written by yosys from `emit_rtlil`; for simulators and for reading. Builds read the RTLIL.

    Yosys numbers its internal names by process, so each call runs a fresh one: same SoC, same text.

    Raises:
        subprocess.CalledProcessError: yosys failed; its output is in `stderr`.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "soc.il").write_text(emit_rtlil(soc, name))
        subprocess.run(
            [sys.executable, "-c", _TO_VERILOG],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=YOSYS_TIMEOUT_S,
        )
        return (Path(folder) / "soc.v").read_text()


def panel_of(profile: DeviceProfile) -> Panel:
    """A board model's LEDs, buttons and switches."""
    pins = profile.pins
    return Panel(
        leds=len(pins.leds),
        buttons=len(pins.buttons),
        switches=len(pins.switches),
        leds_inverted=pins.leds_inverted,
        buttons_inverted=pins.buttons_inverted,
    )


def lpf(profile: DeviceProfile, clk_hz: int, *, timing_hz: int | None = None) -> str:
    """The constraint file for a profile's pins.

    Args:
        profile: pins and oscillator.
        clk_hz: the design's clock. If it differs from the oscillator the design has a PLL, and nextpnr derives the
            design's clock from the pin's.
        timing_hz: what the design's clock shall be timed for, if not `clk_hz`.

    Returns:
        LPF text: LOCATE and IOBUF for each pin, FREQUENCY for the oscillator's.
    """
    pins = {"clk": profile.pins.clk, "rx": profile.pins.rx, "tx": profile.pins.tx}
    released = "UP" if profile.pins.buttons_inverted else "DOWN"
    pulls = {"rx": "UP"}  # an unplugged line idles
    for group, pull in (("leds", ""), ("buttons", released), ("switches", "DOWN")):
        sites = getattr(profile.pins, group)
        # The tools call the only bit of a port by the port's name.
        ports = [f"{group}[{i}]" for i in range(len(sites))] if len(sites) > 1 else [group]
        pins |= dict(zip(ports, sites, strict=False))
        pulls |= dict.fromkeys(ports, pull)
    lines = []
    for port, site in pins.items():
        io_type = profile.pins.io_types.get(site, _IO_TYPE)
        mode = f" PULLMODE={pulls[port]}" if pulls.get(port) and io_type == _IO_TYPE else ""
        lines.append(f'LOCATE COMP "{port}" SITE "{site}";')
        lines.append(f'IOBUF PORT "{port}" IO_TYPE={io_type}{mode};')
    pin_hz = Fraction(profile.clk_hz * (timing_hz or clk_hz), clk_hz)
    lines.append(f'FREQUENCY PORT "clk" {format_mhz(pin_hz)} MHZ;')
    return "\n".join(lines) + "\n"
