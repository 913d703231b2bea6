"""Compile what Verilator generated into a simulator, with g++ alone.

usage: python -m lutlab_verify.inside.build_simulator JOB.json

JOB.json: `runtime` (archive of Verilator's runtime; made there if it is missing), `verilator_root`, `generated` (folder
of the C++ files, null for the runtime only), `main` (C++ file with `main`), `output`, `include`, `link` (options),
`fst`, `jobs`. Everything is compiled with the same options, so that the runtime can be kept: it takes most of the time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

RUNTIME = ("verilated", "verilated_cov", "verilated_dpi", "verilated_fst_c", "verilated_probdist", "verilated_random",
           "verilated_threads", "verilated_timing", "verilated_vcd_c", "verilated_vpi")  # fmt: skip
FLAGS = ("-std=gnu++20", "-fcoroutines", "-O1", "-DVERILATOR=1", "-DVM_COVERAGE=1", "-DVM_SC=0", "-DVM_TIMING=1",
         "-DVM_TRACE=1", "-DVM_TRACE_VCD=0", "-DVM_TRACE_SAIF=0", "-faligned-new", "-w")  # fmt: skip
SINGLE_UNIT_BYTES = 400_000
"""Generated code up to this size is compiled as one file: its headers cost more than its code."""
ERROR_LINES = 30


class CompileError(Exception):
    """g++ failed; the message is what it said."""


def run(argv: list[str]) -> None:
    """Raises: CompileError."""
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).splitlines()[:ERROR_LINES]
        raise CompileError("\n".join([f"{argv[0]} ended with status {done.returncode}", *said]))


def compile_all(sources: list[Path], folder: Path, options: list[str], jobs: int) -> list[str]:
    """Compile each source to an object in `folder`. Returns the objects."""
    folder.mkdir(parents=True, exist_ok=True)
    objects = [str(folder / f"{source.stem}.o") for source in sources]

    def one(source: Path, made: str) -> None:
        run(["g++", *FLAGS, *options, "-c", "-o", made, str(source)])

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, sources, objects))
    return objects


def main(job: dict[str, Any]) -> int:
    """Returns 1 with g++'s words on standard output if something does not compile."""
    root = Path(job["verilator_root"])
    options = [f"-I{path}" for path in (root / "include", root / "include" / "vltstd", *job["include"])]
    options.append(f"-DVM_TRACE_FST={int(job['fst'])}")
    jobs = int(job["jobs"])
    runtime = Path(job["runtime"])
    try:
        if not runtime.is_file():
            names = [name for name in RUNTIME if job["fst"] or name != "verilated_fst_c"]
            sources = [root / "include" / f"{name}.cpp" for name in names]
            objects = compile_all(sources, runtime.with_suffix(".objects"), options, jobs)
            run(["ar", "rcs", str(runtime), *objects])
        if job["generated"] is None:
            return 0
        generated = Path(job["generated"])
        sources = sorted(generated.glob("*.cpp"))
        options.append(f"-I{generated}")
        if sum(source.stat().st_size for source in sources) <= SINGLE_UNIT_BYTES:
            whole = generated / "whole.cc"
            whole.write_text("".join(f'#include "{source.name}"\n' for source in sources), encoding="ascii")
            sources = [whole]
        objects = compile_all([Path(job["main"]), *sources], generated / "objects", options, jobs)
        archive = ["-Wl,--whole-archive", str(runtime), "-Wl,--no-whole-archive"]
        libraries = ["-lz", "-lpthread", *(["-llz4"] if job["fst"] else [])]
        run(["g++", *FLAGS[:2], "-o", job["output"], *objects, *archive, *job["link"], *libraries])
    except CompileError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
