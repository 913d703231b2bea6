"""`make conformance-board`: every design of the corpus against every oracle, and a table of what agreed."""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import multiprocessing
import sys
import tempfile
import time
import traceback
from pathlib import Path

from corpus import entries, fetch_sdk
from vb_conformance import Case, Difference, Verdict, check, noise, verify
from vb_toolchain import Build

ROW = "{:24} {:>10} {:>10} {:>7} {:>9} {:>9} {:>7}"


def run(name: str, sdk: Path | None, seeds: int, cycles: int, cache: Path) -> tuple[Verdict | str, float]:
    """One entry, in a process of its own: what agreed, or what did not."""
    began = time.perf_counter()
    entry = next(each for each in entries(sdk, seeds) if each.name == name)
    with tempfile.TemporaryDirectory(prefix="lutlab-conformance-") as folder:
        try:
            outcome: Verdict | str = check(entry.write(Path(folder)), Path(folder), cache, cycles)
        except Difference as difference:
            outcome = str(difference)
        except Exception:
            outcome = traceback.format_exc()
    return outcome, time.perf_counter() - began


def run_full_chip(folder: Path, cycles: int, cache: Path) -> int:
    """The design that fills the largest chip, as `make full-chip` has built it."""
    sources = (str(folder / "full_chip.v"),)
    case = Case("full_chip", "full_chip", sources, (("tx", 1), ("leds", 4)), "lfe5um5g-85f", noise)
    print(verify(case, Build(folder, "full_chip"), cache, cycles))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=1_000_000, help="clock cycles to compare (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=12, help="how many random designs (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="designs at once (default: %(default)s)")
    parser.add_argument("--only", default="", help="only designs whose name contains this")
    parser.add_argument("--short", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--sdk", type=Path, help="the reference SDK's unpacked source; fetched if not given")
    parser.add_argument("--full-chip", type=Path, help="only the design that `make full-chip` has left in this folder")
    options = parser.parse_args()
    if options.full_chip:
        with tempfile.TemporaryDirectory(prefix="lutlab-conformance-cache-") as name:
            return run_full_chip(options.full_chip, options.cycles, Path(name))
    failed = 0
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lutlab-conformance-cache-")))
        fetched = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lutlab-conformance-sdk-")))
        sdk = options.sdk or fetch_sdk(fetched)
        pool = stack.enter_context(concurrent.futures.ProcessPoolExecutor(options.jobs, context))
        chosen = [e for e in entries(sdk, options.seeds) if options.only in e.name and not (options.short and e.long)]
        started = {
            pool.submit(run, entry.name, sdk, options.seeds, options.cycles, cache): entry.name for entry in chosen
        }
        print(ROW.format("design", "cycles", "changes", "LUTs", "registers", "settings", "time"), flush=True)
        for future in concurrent.futures.as_completed(started):
            outcome, took_s = future.result()
            if isinstance(outcome, str):
                failed += 1
                print(f"{started[future]:24} FAILED\n{outcome}", flush=True)
                continue
            v = outcome
            took = f"{took_s:.0f} s"
            print(ROW.format(started[future], v.cycles, v.changes, v.luts, v.registers, v.settings, took), flush=True)
    print(f"{len(chosen) - failed} of {len(chosen)} designs agree with every oracle")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
