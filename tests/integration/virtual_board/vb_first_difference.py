"""Where two simulations of one design part: the first register that differs, and when.

nextpnr's netlist tells which register of the chip holds which bit of the sources; an independent simulation with all
its signals in reach is then sampled beside the board, first coarsely, and in the span of the difference every cycle.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from vb_oracles import Oracle
from vb_toolchain import yosys

from lutlab_virtual_board.fabric import Fabric

COARSE_CYCLES = 1000

_MAIN = """
#include "{top}_all.cc"
#include <cstdio>
#include <cstdlib>
#include <set>
#include <vector>
int main(int, char **argv) {{
  cxxrtl_design::{mangled} top;
  cxxrtl::debug_items items;
  top.debug_info(&items, nullptr, "");
  std::vector<std::pair<uint32_t *, unsigned>> bits;
  std::set<cxxrtl::debug_outline *> outlines; // wires that are computed when they are looked at
  {{
    FILE *names = fopen(argv[1], "r");
    char name[4096]; unsigned bit;
    while (fscanf(names, "%u %4095[^\\n]", &bit, name) == 2) {{
      if (!items.count(name)) {{ bits.push_back({{nullptr, 0}}); continue; }}
      const auto &item = items[name];
      if (item.outline) outlines.insert(static_cast<cxxrtl::debug_outline *>(item.outline));
      unsigned at = bit - item.lsb_at;
      bits.push_back({{item.curr + at / 32, at % 32}});
    }}
    fclose(names);
  }}
  long first = atol(argv[2]), last = atol(argv[3]), every = atol(argv[4]);
  std::vector<unsigned char> row(bits.size());
  unsigned char in[1];
  top.step();
  for (long cycle = 0; cycle <= last && fread(in, 1, 1, stdin) == 1; cycle++) {{
    top.p_clk.set<bool>(false);
    top.step();
    top.step();
    {drive}
    top.step();
    if (cycle >= first && (cycle - first) % every == 0) {{
      for (auto outline : outlines) outline->eval();
      for (size_t i = 0; i < bits.size(); i++) row[i] = bits[i].first ? *bits[i].first >> bits[i].second & 1 : 2;
      fwrite(row.data(), 1, row.size(), stdout);
    }}
    top.p_clk.set<bool>(true);
    top.step();
    top.step();
  }}
}}
"""


def register_names(pnr: Path, known: list[str]) -> dict[str, tuple[str, int]]:
    """For registers by their place the signal of the sources, as CXXRTL calls it, and its bit."""
    module = next(iter(json.loads(pnr.read_text())["modules"].values()))
    named: dict[int, tuple[str, int]] = {}
    for name, net in module["netnames"].items():
        match = re.fullmatch(r"(.+?)(?:\[(\d+)\])?", name)
        if match and "$" not in name and len(net["bits"]) == 1:
            named.setdefault(net["bits"][0], (match[1].replace(".", " "), int(match[2] or 0)))
    found: dict[str, tuple[str, int]] = {}
    for cell in module["cells"].values():
        place = Oracle.place(cell)
        if cell["type"] == "TRELLIS_FF" and place and cell["connections"]["Q"][0] in named:
            (x, y), index = place
            found[f"R{y}C{x} SLICE{'ABCD'[index // 2]} register {index % 2}"] = named[cell["connections"]["Q"][0]]
    return {place: found[place] for place in known if place in found}


class Witness:
    """A simulation of the sources whose registers can be read.

    Args:
        folder: of the build.
        top: module.
        read: yosys commands that read and prepare the sources.
        names: signals and bits to read.
        drive: C++ that sets the inputs from `in`.
    """

    def __init__(self, folder: Path, top: str, read: list[str], names: list[tuple[str, int]], drive: str) -> None:
        yosys([*read, f"write_cxxrtl -g4 {top}_all.cc"], folder)
        self._names = folder / f"{top}_names"
        self._names.write_text("".join(f"{bit} {name}\n" for name, bit in names))
        self._width = len(names)
        mangled = "p_" + top.replace("_", "__")
        (folder / f"{top}_all_main.cc").write_text(_MAIN.format(top=top, mangled=mangled, drive=drive))
        spec = importlib.util.find_spec("pyosys")
        assert spec is not None and spec.origin is not None
        runtime = Path(spec.origin).parent / "share" / "include" / "backends" / "cxxrtl" / "runtime"
        self._program = folder / f"{top}_witness"
        command = ["g++", "-std=c++14", "-O1", "-I", str(runtime), f"{top}_all_main.cc", "-o", str(self._program)]
        subprocess.run(command, cwd=folder, check=True)

    def rows(self, stimulus: Path, first: int, last: int, every: int) -> Iterator[bytes]:
        """The registers' values before the rising edge of some cycles."""
        command = [self._program, self._names, *map(str, (first, last, every))]
        with stimulus.open("rb") as levels, subprocess.Popen(command, stdin=levels, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            while row := process.stdout.read(self._width):
                yield row


class Suspect:
    """The board's own execution, whose registers can be read.

    Args:
        code: the compiled design.
        rows: its inputs, one row a cycle.
        width: bytes in a row.
        outputs: of the design.
    """

    def __init__(self, code: bytes, rows: bytes, width: int, outputs: int) -> None:
        self._code, self._rows, self._width, self._outputs = code, rows, width, outputs

    def places(self) -> list[str]:
        """Its registers."""
        fabric = Fabric(self._code)
        names = [name for name, (kind, _) in fabric.signals().items() if kind == 2]
        fabric.close()
        return names

    def run(self, places: list[str], first: int, last: int, every: int) -> Iterator[bytes]:
        """The same as `Witness.rows`."""
        fabric = Fabric(self._code)
        signals = fabric.signals()
        at = 0
        for cycle in range(first, last + 1, every):
            fabric.trace(self._rows[at * self._width : cycle * self._width], cycle - at, self._outputs)
            at = cycle
            yield bytes(fabric.level(signals[place]) for place in places)
        fabric.close()


def first_difference(suspect: Suspect, witness: Witness, places: list[str], stimulus: Path, last: int) -> str | None:
    """The first register that differs, with its cycle; None if all that can be compared agree until `last`."""
    # Synthesis keeps some registers inverted, to give them the value they start with.
    start = [next(iter(run)) for run in (suspect.run(places, 0, 0, 1), witness.rows(stimulus, 0, 0, 1))]
    inverted = bytes(mine ^ theirs & 1 if theirs != 2 else 0 for mine, theirs in zip(*start, strict=True))
    first, every = 0, COARSE_CYCLES
    for step in (COARSE_CYCLES, 1):
        every = step
        rows = zip(suspect.run(places, first, last, every), witness.rows(stimulus, first, last, every), strict=False)
        found = ((number, _unlike(mine, theirs, inverted)) for number, (mine, theirs) in enumerate(rows))
        wrong = next(((number, index) for number, index in found if index is not None), None)
        if wrong is None and step == 1:
            return None
        if wrong is None:
            first = last - last % every
            continue
        number, index = wrong
        if step == 1:
            return f"{places[index]} differs first, in cycle {first + number}"
        first, last = max(0, first + (number - 1) * every), first + number * every
    return None


def _unlike(mine: bytes, theirs: bytes, inverted: bytes) -> int | None:
    """The first position where two rows differ; signals that the simulation does not have (2) aside."""
    rows = enumerate(zip(mine, theirs, inverted, strict=True))
    return next((i for i, (a, b, flip) in rows if b != 2 and a ^ flip != b), None)
