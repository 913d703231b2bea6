"""One design through every oracle: outputs each cycle, nextpnr's netlist, ecpunpack's configuration."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from cobs import cobs
from vb_first_difference import Suspect, Witness, first_difference, register_names
from vb_oracles import Oracle, check_luts, check_registers, configuration_differences
from vb_toolchain import DESIGNS, Build, build, pins_of, unpack, verilate, yosys, yosys_share

import lutlab_profiles
from lutlab_bus import wire
from lutlab_virtual_board.bitstream import parse
from lutlab_virtual_board.compiler import compile_now, find_gcc, find_tcc
from lutlab_virtual_board.configuration import Configuration
from lutlab_virtual_board.extract import extract, pulls
from lutlab_virtual_board.fabric import Fabric
from lutlab_virtual_board.netlist import (
    BlockRamOutput,
    Driver,
    Function,
    Net,
    Netlist,
    ProductOutput,
    RamOutput,
    RegisterOutput,
)
from lutlab_virtual_board.programming import Translator

SOC_PORTS = (("tx", 1), ("leds", 4))
CHIP_PORTS = (("o", 16),)
CHUNK_CYCLES = 50_000

Stimulus = Callable[[random.Random], Iterator[int]]
"""Levels of the serial input, one a cycle, for ever."""


@dataclass(frozen=True)
class Case:
    """One design of the corpus.

    Attributes:
        name: in reports.
        top: its top module.
        sources: Verilog files or RTLIL (`.il`); names are in `designs`, others absolute.
        ports: its outputs, and their bits.
        profile: the board model it is built for.
        stimulus: what its port rx sees; None where it has none.
        parameters: of the top module.
        bels: fixed places of cells.
        derived: has clocks that logic makes, which Verilator knows and CXXRTL does not.
        models: Verilog files with models of cells, for Verilator only.
    """

    name: str
    top: str
    sources: tuple[str, ...]
    ports: tuple[tuple[str, int], ...] = CHIP_PORTS
    profile: str = "lfe5u-25f"
    stimulus: Stimulus | None = None
    parameters: tuple[tuple[str, int | str], ...] = ()
    bels: tuple[tuple[str, str], ...] = ()
    derived: bool = False
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What agreed: cycles compared, changes of outputs among them, LUTs, registers and settings checked."""

    cycles: int
    changes: int
    luts: int
    registers: int
    settings: int


class Difference(AssertionError):
    """The board and an oracle disagree; the message names the first cell and cycle."""


def noise(source: random.Random) -> Iterator[int]:
    """Random levels that stay for one to eight cycles."""
    while True:
        level = source.getrandbits(1)
        for _ in range(source.randint(1, 8)):
            yield level


def bus_traffic(words: int, divider: int = 4) -> Stimulus:
    """A session of the bus protocol: random reads and writes, each with time to answer; some damaged and repeated."""

    def levels(source: random.Random) -> Iterator[int]:
        def send(line: bytes) -> Iterator[int]:
            for byte in line:
                for bit in (0, *(byte >> index & 1 for index in range(8)), 1):
                    yield from (bit for _ in range(divider))

        yield from (1 for _ in range(3000))
        sequence = source.randrange(wire.SEQUENCE_MODULUS)
        yield from send(bytes(1) + sealed(wire.Head.CONTROL | sequence, source.randbytes(wire.NONCE_BYTES)))
        yield from (1 for _ in range(60 * divider * 40))
        while True:
            sequence = (sequence + 1) % wire.SEQUENCE_MODULUS
            count = source.randint(1, 12)
            line = sealed(sequence, operation(source, words, count))
            if source.random() < 0.05:
                at = source.randrange(len(line) - 1)
                yield from send(line[:at] + bytes([line[at] ^ 1 or 2]) + line[at + 1 :])
                yield from (1 for _ in range(400))
            yield from send(line)
            yield from (1 for _ in range(source.randint(50, 60 * divider * count + 800)))

    return levels


def operation(source: random.Random, words: int, count: int) -> bytes:
    """A random read or write of some words."""
    kind = source.choice((wire.Kind.READ, wire.Kind.WRITE))
    fixed = wire.Op.FIXED if source.random() < 0.2 else 0
    head = struct.pack("<BHH", kind | wire.Op.COUNT | fixed, count - 1, source.randrange(words))
    return head + (source.randbytes(4 * count) if kind is wire.Kind.WRITE else b"")


def sealed(head: int, body: bytes) -> bytes:
    """A long frame as it goes over the line."""
    content = bytes([wire.Head.LONG | head, 0]) + body
    return cobs.encode(content + struct.pack("<I", crc32(content))) + bytes([wire.DELIMITER])


def check(case: Case, folder: Path, cache: Path, cycles: int, seed: int = 1) -> Verdict:
    """Build a case and hold it against every oracle.

    Raises:
        Difference: an oracle disagrees.
    """
    built = build(
        folder, case.top, list(case.sources), case.profile, dict(case.parameters), bels=dict(case.bels), pack_raw=False
    )
    return verify(case, built, cache, cycles, seed)


def verify(case: Case, built: Build, cache: Path, cycles: int, seed: int = 1) -> Verdict:
    """Hold a case that is built against every oracle.

    Raises:
        Difference: an oracle disagrees.
    """
    profile = lutlab_profiles.get(case.profile)
    translator = Translator(profile, cache)
    database = translator.database()
    configuration = Configuration(database, parse(built.bit.read_bytes(), database.device))
    netlist = extract(configuration, profile.package, profile.pins.clk, profile.clk_hz)
    oracle = Oracle(built.path("pnr.json"))
    luts, _ = check_luts(oracle, netlist)
    registers = check_registers(oracle, netlist)
    settings, differences = configuration_differences(built, profile.device, cache, unpack(built))
    if differences:
        raise Difference(f"{case.name}: ecpunpack and the board read the configuration differently: {differences[:3]}")
    changes = _compare(case, built, translator, configuration, netlist, cycles, seed)
    return Verdict(cycles, changes, luts, registers, settings)


def _compare(
    case: Case,
    built: Build,
    translator: Translator,
    configuration: Configuration,
    netlist: Netlist,
    cycles: int,
    seed: int,
) -> int:
    profile = lutlab_profiles.get(case.profile)
    pins = pins_of(profile)
    names = [f"{port}[{bit}]" if bits > 1 else port for port, bits in case.ports for bit in range(bits)]
    observed = [pins[name] for name in names if pins[name] in netlist.outputs]
    if len(observed) != len(names):
        raise Difference(f"{case.name}: the board does not drive {set(names) - set(observed)}")
    program = translator.translate(built.bit.read_bytes(), observed).program
    compiler = find_gcc() or find_tcc()
    assert compiler is not None
    code = compile_now(compiler, program.source.encode())
    fabric = Fabric(code)
    inputs = program.inputs
    levels_of = pulls(configuration, profile.package, netlist)
    open_pins = bytes(levels_of.get(pin, 0) for pin in inputs)
    at_rx = inputs.index(profile.pins.rx) if profile.pins.rx in inputs else None
    levels = case.stimulus(random.Random(seed)) if case.stimulus else iter(lambda: 1, 0)
    changes = 0
    last = b""
    stimulus_file = built.path("stimulus")
    stimulus_file.write_bytes(bytes(next(levels) for _ in range(cycles)))
    with (
        stimulus_file.open("rb") as stimuli,
        stimulus_file.open("rb") as again,
        subprocess.Popen([simulator(built.folder, case)], stdin=again, stdout=subprocess.PIPE) as reference,
    ):
        assert reference.stdout is not None
        for start in range(0, cycles, CHUNK_CYCLES):
            count = min(CHUNK_CYCLES, cycles - start)
            stimulus = stimuli.read(count)
            wanted = reference.stdout.read(count * len(names))
            rows_in = bytearray(open_pins * count)
            if at_rx is not None:
                rows_in[at_rx :: len(inputs)] = stimulus
            got = fabric.trace(bytes(rows_in), count, len(names))
            if got != wanted:
                index = next(i for i, (mine, theirs) in enumerate(zip(got, wanted, strict=True)) if mine != theirs)
                cycle, output = start + index // len(names), names[index % len(names)]
                cell = behind(netlist, netlist.outputs[pins[output]])
                reference.kill()
                told = f"{case.name}: output {output}, driven by {cell}, differs first in cycle {cycle}"
                rows_in = bytearray(open_pins * (cycle + 1))
                if at_rx is not None:
                    rows_in[at_rx :: len(inputs)] = stimulus_file.read_bytes()[: cycle + 1]
                suspect = Suspect(code, bytes(rows_in), len(inputs), len(names))
                raise Difference(f"{told}; {_first_register(case, built, suspect, stimulus_file, cycle)}")
            rows = [wanted[i : i + len(names)] for i in range(0, len(wanted), len(names))]
            changes += sum(a != b for a, b in zip([last, *rows[:-1]], rows, strict=True))
            last = rows[-1]
    fabric.close()
    return changes


def _first_register(case: Case, built: Build, suspect: Suspect, stimulus: Path, cycle: int) -> str:
    """The first register that differs from the sources' simulation."""
    if case.derived:
        return "which register differs first is only looked for without clocks that logic makes"
    known = suspect.places()
    names = register_names(built.path("pnr.json"), known)
    drive = "top.p_rx.set<bool>(in[0]);" if case.stimulus else ""
    witness = Witness(built.folder, case.top, _reading(case), list(names.values()), drive)
    found = first_difference(suspect, witness, list(names), stimulus, cycle)
    return f"register {found}" if found else "no register differs before: look at what only the output reads"


def behind(netlist: Netlist, net: Net) -> str:
    """The cell that drives a net, logic that passes one net on aside."""
    driver: Driver | None = netlist.drivers[net]
    while isinstance(driver, Function) and len(driver.inputs) == 1:
        net = driver.inputs[0]
        driver = netlist.drivers[net]
    match driver:
        case RegisterOutput():
            return netlist.registers[driver.index].place
        case RamOutput():
            return netlist.rams[driver.index].place
        case BlockRamOutput():
            return netlist.block_rams[driver.index].place
        case ProductOutput():
            return netlist.multipliers[driver.index].place
    return netlist.names.get(net, f"net {net}")


_MAIN = """
#include "{top}.cc"
#include <cstdio>
int main() {{
  cxxrtl_design::{mangled} top;
  unsigned char in[1], out[{width}];
  top.step();
  while (fread(in, 1, 1, stdin) == 1) {{
    // The board's inputs change between a falling and a rising edge.
    top.p_clk.set<bool>(false);
    top.step();
    top.step();
    {drive}
    // The second step lets outputs follow what a reset from the pin did in the first.
    top.step();
    top.step();
    unsigned char *put = out;
    {sample}
    fwrite(out, 1, sizeof out, stdout);
    top.p_clk.set<bool>(true);
    top.step();
    top.step();
  }}
}}
"""


def _reading(case: Case) -> list[str]:
    """yosys commands that read a case's sources for CXXRTL."""
    read = [
        f"read_rtlil {source}" if source.endswith(".il") else f"read_verilog -sv -D SIMULATION {DESIGNS / source}"
        for source in case.sources
    ]
    chparam = [f"chparam -set {key} {value} {case.top}" for key, value in case.parameters]
    hierarchy = [f"hierarchy -top {case.top}", f"rename -top {case.top}"]
    return [*read, *chparam, *hierarchy, "proc", "flatten", "memory_nordff", "opt_clean"]


def simulator(folder: Path, case: Case) -> Path:
    """An independent simulation of the sources: a byte of input a cycle in, a byte for each output bit out."""
    top = case.top
    if case.derived:
        return _verilated(folder, case)
    yosys([*_reading(case), f"write_cxxrtl -g0 {top}.cc"], folder)
    sample = " ".join(
        f"{{ unsigned v = top.p_{port}.get<uint32_t>(); for (int i = 0; i < {bits}; i++) *put++ = v >> i & 1; }}"
        for port, bits in case.ports
    )
    drive = "top.p_rx.set<bool>(in[0]);" if case.stimulus else ""
    width = sum(bits for _, bits in case.ports)
    text = _MAIN.format(top=top, mangled="p_" + top.replace("_", "__"), width=width, drive=drive, sample=sample)
    (folder / f"{top}_main.cc").write_text(text)
    runtime = yosys_share() / "include" / "backends" / "cxxrtl" / "runtime"
    program = folder / f"{top}_simulation"
    command = ["g++", "-std=c++14", "-O1", "-I", str(runtime), f"{top}_main.cc", "-o", str(program)]
    subprocess.run(command, cwd=folder, check=True)
    return program


_EVENTS_MAIN = """
#include "V{top}.h"
#include <cstdio>
int main() {{
  V{top} top;
  unsigned char in[1], out[{width}];
  while (fread(in, 1, 1, stdin) == 1) {{
    top.clk = 0;
    top.eval();
    {drive}
    top.eval();
    unsigned char *put = out;
    {sample}
    fwrite(out, 1, sizeof out, stdout);
    top.clk = 1;
    top.eval();
  }}
}}
"""


def _verilated(folder: Path, case: Case) -> Path:
    sample = " ".join(
        f"for (int i = 0; i < {bits}; i++) *put++ = (unsigned long)top.{port} >> i & 1;" for port, bits in case.ports
    )
    drive = "top.rx = in[0];" if case.stimulus else ""
    width = sum(bits for _, bits in case.ports)
    main = _EVENTS_MAIN.format(top=case.top, width=width, drive=drive, sample=sample)
    options = ["-DSIMULATION", *(f"-G{key}={value}" for key, value in case.parameters)]
    options += [f"-I{Path(model).parent}" for model in case.models]
    sources = [DESIGNS / source for source in (*case.sources, *case.models)]
    return verilate(folder, case.top, sources, main, *options)
