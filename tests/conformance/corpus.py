"""The corpus of designs that the virtual board is held against its oracles with."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vb_amaranth_design import kitchen
from vb_conformance import SOC_PORTS, Case, bus_traffic, noise
from vb_places import ALU_PLACES, PLACES, RESETS_PLACES
from vb_random_alu import random_alus
from vb_random_cells import cells
from vb_random_design import random_design
from vb_random_pads import pads as random_pads
from vb_random_products import products
from vb_riscv import write_program
from vb_toolchain import DESIGNS, DEVICES

from lutlab_gateware.contract import find_amaranth_target
from lutlab_gateware.emit import emit_rtlil
from lutlab_gateware.soc import Soc, VerilogTarget

SDK = "manhattan-reasoning-gym==0.1.11"
EXAMPLES = Path(__file__).parents[2] / "examples"
TOP = "lutlab_soc"
INSTANCES = ("everything.v", "instances.v")
SELECTORS = ("everything.v", "derived.v", "selectors.v")
CLASSICS = ("filter", "hash", "peripheral", "picture", "tables", "movers", "stores", "figures", "two_clock_queue")
UNUSUAL = ("odd_memories", "sudden_resets", "shared_bus", "both_edges", "wide_products", "two_readers", "crossing")
RANDOM_ALUS = 6
RANDOM_CELLS = 6
RANDOM_PADS = 4
RANDOM_PRODUCTS = 4
LARGE_PROFILE = "lfe5um5g-85f"


@dataclass(frozen=True)
class Entry:
    """A case that is written when it is its turn.

    Attributes:
        name: of the case.
        write: writes the sources into a folder and gives the case.
        long: takes minutes, so only the long form has it.
    """

    name: str
    write: Callable[[Path], Case]
    long: bool = False


def entries(sdk: Path | None, seeds: int) -> Iterator[Entry]:
    """Every entry; those of the reference SDK only where its unpacked source is given."""
    for name in ("echo_memory", "mac"):
        yield Entry(name, lambda folder, name=name: soc(folder, name, EXAMPLES / name / "design.py"))
    yield Entry("counter", lambda folder: soc(folder, "counter", EXAMPLES / "counter" / "design.v"))
    yield Entry("riscv", riscv)
    for top, sources in (("everything", ("everything.v",)), ("gsr", ("gsr.v",))):
        yield Entry(top, lambda folder, top=top, sources=sources: Case(top, top, sources))
    yield Entry("resets", lambda folder: Case("resets", "resets", INSTANCES, bels=tuple(RESETS_PLACES.items())))
    yield Entry("instances", lambda folder: Case("instances", "instances", INSTANCES, bels=tuple(PLACES.items())))
    yield Entry("derived", lambda folder: Case("derived", "derived", ("everything.v", "derived.v"), derived=True))
    yield Entry("divided", lambda folder: Case("divided", "divided", SELECTORS, derived=True))
    yield Entry("alus", lambda folder: Case("alus", "alus", ("everything.v", "alu.v"), bels=tuple(ALU_PLACES.items())))
    for seed in range(1, RANDOM_ALUS + 1):
        yield Entry(f"alus_random_{seed}", lambda folder, seed=seed: random_slices(folder, seed))
    for seed in range(1, RANDOM_CELLS + 1):
        yield Entry(f"cells_{seed}", lambda folder, seed=seed: cells(folder, seed))
    for seed in range(1, RANDOM_PADS + 1):
        yield Entry(f"random_pads_{seed}", lambda folder, seed=seed: random_pads(folder, seed))
    for seed in range(1, RANDOM_PRODUCTS + 1):
        yield Entry(f"products_{seed}", lambda folder, seed=seed: products(folder, seed))
    for top in UNUSUAL:
        yield Entry(top, lambda folder, top=top: unusual(top))
    for mode in ("NORMAL", "WRITETHROUGH", "READBEFOREWRITE"):
        yield Entry(f"mixed_widths_{mode}", lambda folder, mode=mode: unusual("mixed_widths", (("MODE", f'"{mode}"'),)))
    for top in CLASSICS:
        yield Entry(top, lambda folder, top=top: classic(top))
    yield Entry("contents", contents)
    yield Entry("kitchen", in_amaranth)
    for kind in (0, 1):
        yield Entry(f"pads_{kind}", lambda folder, kind=kind: pads(kind))
    yield Entry("buses", lambda folder: Case("buses", "buses", ("everything.v", "pads.v"), stimulus=noise))
    for seed in range(1, seeds + 1):
        yield Entry(f"random_{seed}", lambda folder, seed=seed: generated(folder, seed))
    for seed in range(1, seeds // 2 + 1):
        yield Entry(f"one_edge_{seed}", lambda folder, seed=seed: generated(folder, seed, one_edge=True))
    for index, profile in enumerate(DEVICES):
        yield Entry(f"device_{profile}", lambda folder, p=profile, n=1001 + index: generated(folder, n, p), long=True)
    if sdk:
        examples = sdk / "examples"
        yield Entry(
            "sdk_hello_wishbone", lambda folder: soc(folder, "hello", examples / "hello_wishbone" / "design.py")
        )
        yield Entry("sdk_sat_solver", lambda folder: soc(folder, "sat", examples / "sat_solver" / "design.py"))
        design = examples / "ffn_accel" / "design.py"
        yield Entry("sdk_ffn_accel", lambda folder: soc(folder, "ffn", design, LARGE_PROFILE), long=True)


def fetch_sdk(folder: Path) -> Path:
    """Download the reference SDK's source and unpack it into a folder; it is never kept in the repository."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    command = [*pip, "download", "--no-binary", ":all:", "--no-deps", "--ignore-requires-python", "-d", str(folder)]
    subprocess.run([*command, SDK], check=True, timeout=300)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def soc(folder: Path, name: str, design: Path, profile: str = "lfe5u-25f") -> Case:
    """A user's design behind the product's own bridge, under bus traffic."""
    if design.suffix == ".v":
        target, sources = VerilogTarget(name), [str(design)]
    else:
        spec = importlib.util.spec_from_file_location(f"corpus_{name}", design)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        spec.loader.exec_module(module)
        target, sources = find_amaranth_target(module), []
    text = emit_rtlil(Soc(target, divider=4, build_id=0x5EED, clk_hz=50_000_000), TOP)
    path = folder / "soc.il"
    path.write_text(text)
    return Case(name, TOP, (str(path), *sources), SOC_PORTS, profile, bus_traffic(512))


def riscv(folder: Path) -> Case:
    """A processor that runs a program from block RAM."""
    program = write_program(folder / "program.hex")
    path = folder / "rv32_with_program.v"
    path.write_text(f'`define PROGRAM "{program}"\n{(DESIGNS / "rv32.v").read_text()}')
    return Case("riscv", "rv32", (str(path),), stimulus=noise)


def pads(kind: int) -> Case:
    """Registers in pads."""
    return Case("pads", "pads", ("everything.v", "pads.v"), parameters=(("KIND", kind),), stimulus=noise)


def unusual(top: str, parameters: tuple[tuple[str, int | str], ...] = ()) -> Case:
    """A design of a tester's own choosing."""
    sources = ("everything.v", "pads.v", "derived.v", "unusual.v")
    return Case(top, top, sources, stimulus=noise, parameters=parameters, derived=top == "crossing")


def classic(top: str) -> Case:
    """A design of the kinds that people build first."""
    sources = ("everything.v", "derived.v", "classics.v")
    return Case(top, top, sources, stimulus=noise, derived=top == "two_clock_queue")


def contents(folder: Path) -> Case:
    """A read-only memory from a file."""
    values, path = random.Random(7), folder / "contents.hex"
    path.write_text("\n".join(f"{values.getrandbits(13):x}" for _ in range(777)))
    source = folder / "unusual_with_contents.v"
    source.write_text(f'`define CONTENTS "{path}"\n{(DESIGNS / "unusual.v").read_text()}')
    return Case("contents", "contents", ("everything.v", "pads.v", "derived.v", str(source)), stimulus=noise)


def in_amaranth(folder: Path) -> Case:
    """Memories, queues and checksums of Amaranth's library."""
    path = folder / "kitchen.il"
    path.write_text(kitchen())
    return Case("kitchen", "kitchen", (str(path),), stimulus=noise)


def random_slices(folder: Path, seed: int) -> Case:
    """ALUs of DSP blocks, wired at random."""
    text, places = random_alus(seed)
    path = folder / "chip.v"
    path.write_text(text)
    sources = ("everything.v", "alu.v", str(path))
    return Case(f"alus {seed}", "chip", sources, stimulus=noise, bels=tuple(places.items()))


def generated(folder: Path, seed: int, profile: str = "lfe5u-25f", one_edge: bool = False) -> Case:
    """A random design."""
    path = folder / "chip.v"
    path.write_text(random_design(seed, one_edge=one_edge))
    return Case(f"random {seed}", "chip", (str(path),), profile=profile, stimulus=noise)
