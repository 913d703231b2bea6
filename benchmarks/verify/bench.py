"""Verification jobs through the running product beside the bare tools run by hand, in the same run.

Starts a lab of its own (or takes `--api-url`), and for each case measures, turn by turn, `--rounds` times:

- product: from POST /projects/{id}/jobs until the job is completed, as a client sees it;
- by hand: the same command lines that the stage gives to its tools, typed into a shell: no lab, no sandbox, no queue.

The first run of both is not counted: it compiles simulators and fills caches. Prints the medians and their ratio; exit
code 1 if a job takes more than 1.3 times the bare tools and half a second, or more than its limit.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lutlab import Client
from lutlab_verify.catalogue import locate
from lutlab_verify.config import load, project_files
from lutlab_verify.engines import engine
from lutlab_verify.plain_tools import PlainTools
from lutlab_verify.stage import Level, Stage, StageContext
from lutlab_verify.tools import ToolCall, ToolOutcome

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
RATIO_MAX, EXTRA_S = 1.3, 0.5
UP_TIMEOUT_S = 120.0
JOB_TIMEOUT_S = 300.0
SEED = 7


@dataclass(frozen=True)
class Case:
    """A job: an example's folder, one stage, and how long it may take on two idle cores."""

    name: str
    folder: str
    stage: Stage
    limit_s: float
    overrides: dict[str, Any] = field(default_factory=dict)


def simulation(tool: str, *, coverage: bool) -> dict[str, Any]:
    """Overrides for the UART's cocotb tests."""
    section = "verification.simulation"
    return {f"{section}.tool": tool, f"{section}.coverage": coverage, f"{section}.testbenches": ["tests/test_uart.py"]}


CASES = (
    Case("lint", "uart", Stage.LINT, 1.5),
    Case("Icarus, cocotb", "uart", Stage.SIMULATION, 5.0, simulation("icarus", coverage=False)),
    Case("Verilator, cached", "uart", Stage.SIMULATION, 8.0, simulation("verilator", coverage=True)),
    Case("formal, small", "fifo", Stage.FORMAL, 5.0),
    Case("constant time", "mlkem_butterfly", Stage.CRYPTO, 5.0),
)


class Silent:
    """Hears nothing."""

    def log(self, message: str, level: Level = Level.INFO) -> None:
        """See `lutlab_verify.stage.Sink`."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """See `lutlab_verify.stage.Sink`."""


@dataclass(frozen=True)
class Typed:
    """A command line, and when it ran."""

    argv: list[str]
    environment: dict[str, str]
    began: float
    ended: float


class Recorder(PlainTools):
    """Remembers the command lines."""

    def __init__(self, work: Path, root: Path) -> None:
        super().__init__(work, root)
        self.typed: list[Typed] = []

    async def run(self, call: ToolCall, on_line: Callable[[str], None] | None = None) -> ToolOutcome:
        """See `lutlab_verify.tools.Tools.run`."""
        located = locate(call.argv[0])
        began = time.monotonic()
        outcome = await super().run(call, on_line)
        argv = [*located.argv, *call.argv[1:]]
        environment = {**self._environment(), **located.environment, **call.environment}
        self.typed.append(Typed(argv, environment, began, time.monotonic()))
        return outcome


class ByHand:
    """The tools of a stage, run again and again as a person would."""

    def __init__(self, case: Case, scratch: Path) -> None:
        self._work = scratch / "work"
        self._scratch = scratch
        self._case = case
        self._groups: list[list[Typed]] = []

    def prepare(self) -> None:
        """Run the stage twice, so that simulators are compiled, and keep the second run's command lines."""
        root = EXAMPLES / self._case.folder
        project = load(root, self._case.overrides)
        for work in (self._scratch / "first", self._work):
            tools = Recorder(work, root)
            context = StageContext(project, work, tools, Silent(), SEED, self._scratch / "cache")
            (self._scratch / "cache").mkdir(exist_ok=True)
            result = asyncio.run(engine(self._case.stage)(context))
        print(f"# {self._case.name}: {result.status.value}, {len(tools.typed)} command lines", flush=True)
        self._groups = overlapping(tools.typed)

    def run(self) -> float:
        """Seconds for all of it; what the stage ran at once is run at once."""
        began = time.perf_counter()
        for group in self._groups:
            running = [
                subprocess.Popen(
                    typed.argv,
                    cwd=self._work,
                    env=typed.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                for typed in group
            ]
            for process in running:
                process.wait(timeout=JOB_TIMEOUT_S)
        return time.perf_counter() - began


def overlapping(typed: list[Typed]) -> list[list[Typed]]:
    """Command lines in the order they began, those that ran at once together."""
    groups: list[list[Typed]] = []
    end = 0.0
    for one in sorted(typed, key=lambda one: one.began):
        if groups and one.began < end:
            groups[-1].append(one)
        else:
            groups.append([one])
        end = max(end, one.ended)
    return groups


class Product:
    """The same through a lab."""

    def __init__(self, lab: Client, case: Case) -> None:
        self._check = lab.verification
        self._case = case
        config = load(EXAMPLES / case.folder).config.project
        name = f"bench-{case.folder.replace('_', '-')}"
        made = self._check.find(name) or self._check.create(name, config.top_module, config.target_pdk)
        self._project = made.id
        root = EXAMPLES / case.folder
        files = {path: (root / path).read_bytes() for path in project_files(root)}
        self._check.upload(self._project, files, replace=True)

    def run(self) -> tuple[float, str]:
        """Seconds from POST to completed, and the verdict."""
        began = time.perf_counter()
        job = self._check.submit(self._project, [self._case.stage.value], overrides=self._case.overrides, seed=SEED)
        ended = self._check.wait(job.job_id, timeout_s=JOB_TIMEOUT_S)
        return time.perf_counter() - began, ended.status


def measure(lab: Client, case: Case, rounds: int, scratch: Path) -> dict[str, Any]:
    """Medians of a case."""
    scratch.mkdir()
    by_hand, product = ByHand(case, scratch), Product(lab, case)
    by_hand.prepare()
    by_hand.run()
    product.run()
    bare, through, verdict = [], [], ""
    for _ in range(rounds):
        bare.append(by_hand.run())
        seconds, verdict = product.run()
        through.append(seconds)
    bare_s, product_s = statistics.median(bare), statistics.median(through)
    allowed_s = RATIO_MAX * bare_s + EXTRA_S
    return {
        "case": case.name,
        "verdict": verdict,
        "by_hand_s": round(bare_s, 3),
        "product_s": round(product_s, 3),
        "ratio": round(product_s / bare_s, 2),
        "allowed_s": round(allowed_s, 3),
        "limit_s": case.limit_s,
        "good": product_s <= allowed_s and product_s <= case.limit_s,
    }


@contextlib.contextmanager
def lab_of(api_url: str | None, api_key: str | None, scratch: Path) -> Iterator[Client]:
    """The lab that was named, or one of its own that ends with the bench."""
    if api_url is not None:
        with Client(api_url, api_key) as lab:
            yield lab
        return
    ready = scratch / "ready.json"
    argv = [str(Path(sys.executable).parent / "lutlab"), "up", "--data-dir", str(scratch / "lab"), "--port", "0"]
    argv += ["--boards", "1", "--ready-file", str(ready)]
    with (scratch / "up.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            told = wait_for(ready, process)
            with Client(told["api_url"], told["api_key"]) as lab:
                yield lab
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def wait_for(ready: Path, process: subprocess.Popen[bytes]) -> dict[str, str]:
    """What a lab says of itself once it answers."""
    deadline = time.monotonic() + UP_TIMEOUT_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the lab did not start; see {ready.parent / 'up.log'}")
        time.sleep(0.2)
    found: dict[str, str] = json.loads(ready.read_text())
    return found


def main() -> int:
    """Measure every case. Returns: the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="runs that count (5)")
    parser.add_argument("--api-url", help="a lab that runs already")
    parser.add_argument("--api-key")
    parser.add_argument("--only", help="cases whose name contains this")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(prefix="lutlab-bench-") as folder:
        scratch = Path(folder)
        with lab_of(options.api_url, options.api_key, scratch) as lab:
            for number, case in enumerate(CASES):
                if options.only is None or options.only in case.name:
                    results.append(measure(lab, case, options.rounds, scratch / f"case{number}"))
    print(f"{'case':20} {'by hand':>9} {'product':>9} {'ratio':>6} {'allowed':>9} {'limit':>7}  verdict")
    for one in results:
        times = f"{one['by_hand_s']:7.2f} s {one['product_s']:7.2f} s {one['ratio']:5.2f}x"
        mark = "" if one["good"] else "  TOO SLOW"
        print(f"{one['case']:20} {times} {one['allowed_s']:7.2f} s {one['limit_s']:5.1f} s  {one['verdict']}{mark}")
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1))
    return 0 if results and all(one["good"] for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
