"""Bitstreams that other flows make: platforms of amaranth-boards and a LiteX system, each built by its own script."""

from __future__ import annotations

import importlib.util
import os
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from amaranth import Elaboratable, Module, Signal
from amaranth.lib import io
from amaranth_boards.ecpix5 import ECPIX545Platform
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform
from amaranth_boards.ulx3s import ULX3S_25F_Platform

import lutlab_profiles
from lutlab_profiles import DeviceProfile
from lutlab_virtual_board.compiler import compile_now, find_tcc
from lutlab_virtual_board.fabric import Fabric
from lutlab_virtual_board.programming import Translation, Translator

CYCLES = 600
_YOSYS = """#!{python}
import sys
from pyosys import libyosys as ys
script = next(argument for argument in sys.argv[1:] if argument.endswith(".ys"))
ys.run_pass("script " + script, ys.Design())
"""

_LITEX = Path(__file__).with_name("vb_litex.py")
_LITEX_BAUD = 1_500_000


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tools under the names that other flows call them by."""
    folder = tmp_path_factory.mktemp("tools")
    yosys = folder / "yosys"
    yosys.write_text(_YOSYS.format(python=sys.executable))
    yosys.chmod(yosys.stat().st_mode | stat.S_IXUSR)
    (folder / "other").symlink_to("/bin/true")
    for name in ("nextpnr-ecp5", "ecppack"):
        (folder / name).symlink_to(Path(sys.executable).with_name(f"yowasp-{name}"))
    return folder


class Lights(Elaboratable):
    """A counter on the platform's LEDs, and its serial line inverted."""

    def elaborate(self, platform):  # type: ignore[no-untyped-def]  # the platform's types are Amaranth's own
        m = Module()
        count = Signal(8)
        m.d.sync += count.eq(count + 3)
        for index in range(4):
            led = m.submodules[f"led{index}"] = io.Buffer("o", platform.request("led", index, dir="-"))
            m.d.comb += led.o.eq(count[index])
        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += tx.o.eq(~rx.i)
        return m


class Colours(Elaboratable):
    """A counter on the platform's first coloured light."""

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        count = Signal(3)
        m.d.sync += count.eq(count + 3)
        light = platform.request("rgb_led", 0, dir="-")
        for index, name in enumerate("rgb"):
            led = m.submodules[name] = io.Buffer("o", getattr(light, name))
            m.d.comb += led.o.eq(count[index])
        return m


def built_by(platform: object, design: Elaboratable, folder: Path, tools: Path, **options: str) -> bytes:
    """The bitstream that a platform's own script makes."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("yosys", "nextpnr-ecp5", "ecppack"):
            patch.setenv(name.upper().replace("-", "_"), str(tools / name))
        for name in ("OPENFPGALOADER", "OPENOCD", "DFU_UTIL", "DFU_SUFFIX"):
            patch.setenv(name, str(tools / "other"))  # asked for, and nothing they make is used
        return platform.build(design, build_dir=str(folder), **options).get("top.bit")  # type: ignore[attr-defined,no-any-return]


def columns(translation: Translation, stimulus: bytes) -> dict[str, bytes]:
    """The level of each output, a byte a cycle; `stimulus` is the serial input's."""
    program, compiler = translation.program, find_tcc()
    assert compiler is not None
    fabric = Fabric(compile_now(compiler, program.source.encode()))
    rows = fabric.trace(stimulus, CYCLES, len(program.outputs))
    fabric.close()
    return {pin: rows[index :: len(program.outputs)] for index, pin in enumerate(program.outputs)}


def check_count(counts: list[int], size: int) -> None:
    """A counter by threes, after the platform has let go of its reset."""
    start = counts.index(3)
    assert start < 100
    assert counts[start:] == [3 * (1 + cycle) % size for cycle in range(CYCLES - start)]


@pytest.mark.parametrize("options", ["", "--compress --freq 62.0 --spimode qspi --bootaddr 0x100000 --background"])
def test_a_platform_of_amaranth_boards(tmp_path: Path, cache: Path, tools: Path, options: str) -> None:
    # How the flash is read, and where the next image lies in it, stands in the stream, and changes nothing here.
    stream = built_by(ULX3S_25F_Platform(), Lights(), tmp_path / "build", tools, ecppack_opts=options)
    profile = lutlab_profiles.get("lfe5u-25f")
    pins = profile.pins
    translation = Translator(profile, cache).translate(stream)
    stimulus = bytes(cycle // 7 & 1 for cycle in range(CYCLES))
    assert translation.program.inputs == [pins.rx]
    column = columns(translation, stimulus)
    assert column[pins.tx] == bytes(1 - level for level in stimulus)
    check_count([sum(column[pins.leds[bit]][cycle] << bit for bit in range(4)) for cycle in range(CYCLES)], 16)


def other_board(name: str, package: str, clk: str, clk_hz: int, lights: tuple[str, ...]) -> DeviceProfile:
    """A board with another package than this lab's models."""
    profile = lutlab_profiles.get(name)
    # Its serial line is not used; any two pins of the package do.
    pins = msgspec.structs.replace(profile.pins, clk=clk, rx=lights[0], tx=lights[1], leds=lights)
    return msgspec.structs.replace(profile, package=package, clk_hz=clk_hz, pins=pins)


@pytest.mark.parametrize(
    ("platform", "profile"),
    [
        (OrangeCrabR0_2_25FPlatform, other_board("lfe5u-25f", "CSFBGA285", "A9", 48_000_000, ("K4", "M3", "J3"))),
        (ECPIX545Platform, other_board("lfe5um5g-45f", "CABGA554", "K23", 100_000_000, ("T23", "R21", "T22"))),
    ],
    ids=["orangecrab", "ecpix5"],
)
def test_boards_with_other_packages(
    tmp_path: Path, cache: Path, tools: Path, platform: type, profile: DeviceProfile
) -> None:
    stream = built_by(platform(), Colours(), tmp_path / "build", tools, ecppack_opts="--compress --freq 38.8")
    translation = Translator(profile, cache).translate(stream)
    # A reset button that nobody presses, on the one that has it.
    column = columns(translation, bytes([1]) * CYCLES * len(translation.program.inputs))
    # The lights are on while their pins are low.
    levels = [column[pin] for pin in profile.pins.leds]
    check_count([sum((1 - level[cycle]) << bit for bit, level in enumerate(levels)) for cycle in range(CYCLES)], 8)


class LitexBus:
    """LiteX's Wishbone bridge: a command, a count of words, a word address, and words."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        fabric.set_baud(_LITEX_BAUD)

    def write(self, address: int, *words: int) -> None:
        """Write words from a byte address on."""
        self._send(1, address, words, len(words))

    def read(self, address: int, count: int) -> list[int]:
        """Read words from a byte address on."""
        self._send(2, address, (), count)
        answer = b""
        for _ in range(100):
            self.fabric.run(10_000)
            answer += self.fabric.pull()
            if len(answer) == 4 * count:
                break
        return [int.from_bytes(answer[at : at + 4], "big") for at in range(0, len(answer), 4)]

    def _send(self, command: int, address: int, words: tuple[int, ...], count: int) -> None:
        data = b"".join(word.to_bytes(4, "big") for word in words)
        self.fabric.push(bytes([command, count]) + (address // 4).to_bytes(4, "big") + data)


@pytest.mark.skipif(importlib.util.find_spec("litex") is None, reason="LiteX is not installed: pip install litex")
def test_a_litex_system(tmp_path: Path, cache: Path, tools: Path) -> None:
    path = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, _LITEX, str(tmp_path)]
    subprocess.run(command, check=True, env=os.environ | path, cwd=tmp_path, capture_output=True)
    profile = lutlab_profiles.get("lfe5u-25f")
    translation = Translator(profile, cache).translate((tmp_path / "gateware" / "system.bit").read_bytes())
    compiler = find_tcc()
    assert compiler is not None
    fabric = Fabric(compile_now(compiler, translation.program.source.encode()))
    assert fabric.clock_hz == 75_000_000  # of its PLL, from 50 MHz
    bus = LitexBus(fabric)
    fabric.run(2000)
    assert bus.read(0x4, 1) == [0x12345678]  # what LiteX's scratch register holds after a reset
    bus.write(0x4, 0xDEADBEEF)
    bus.write(0x20000010, 1, 2, 3, 0xCAFEF00D)
    assert bus.read(0x4, 1) == [0xDEADBEEF]
    assert bus.read(0x20000010, 4) == [1, 2, 3, 0xCAFEF00D]
    text = "".join(chr(word & 0xFF) for word in bus.read(0x800, 13))
    assert text == "virtual board"
    fabric.close()
    # One light more, or less, whenever its timer has counted from 37 to zero.
    column = columns(translation, bytes([1]) * CYCLES)
    lights = [tuple(column[pin][cycle] for pin in profile.pins.leds) for cycle in range(CYCLES)]
    changes = [cycle for cycle in range(1, CYCLES) if lights[cycle] != lights[cycle - 1]]
    assert {b - a for a, b in pairwise(changes)} == {38}
    for cycle in changes:
        last = lights[cycle - 1]
        assert lights[cycle] == (1 - last[-1], *last[:-1])
