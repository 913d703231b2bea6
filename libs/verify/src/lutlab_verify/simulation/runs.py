"""Runs of simulators: one process for a cocotb module or a test bench, watched while it prints, judged at its end."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from lutlab_verify.catalogue import locate
from lutlab_verify.inside.hear import MARK, Heard, Said
from lutlab_verify.outputs import OutputMissing, is_output, read_output
from lutlab_verify.simulation.builds import Simulator
from lutlab_verify.simulation.plan import ICARUS, Unit, UnitKind
from lutlab_verify.simulation.results import FAILED, PASSED, SKIPPED, TestResult, from_cocotb
from lutlab_verify.sources import VERILOG_SUFFIXES, tool_path
from lutlab_verify.stage import Level, StageContext, ToolFailed
from lutlab_verify.tools import SOURCES, Stop, ToolCall, ToolLimits, ToolMissing, ToolOutcome

LOG_LINES_MAX = 2000
"""Lines of one unit that reach the job's log."""
RESULTS_BYTES_MAX = 16 << 20
TAIL_LINES = 12
HEARD = "heard.json"
HEARD_BYTES_MAX = 1 << 20
STARVED, LATE = 3, 4
"""What our own `main` ends with when nothing is left to happen, and when its time is over; see bench_main.cpp."""
GRACE_S = 5.0
"""Between the time a test bench may take and the end by force, which costs the trace."""
_CRASHES = {128 + 4: "an illegal instruction", 128 + 7: "a bus error", 128 + 11: "a segmentation fault"}
_RUNNING = re.compile(r"cocotb\.regression\s+(running|skipping) (\S+) \(\d+/(\d+)\)")
_ENDED = re.compile(r"cocotb\.regression\s+(\S+) (passed|failed|skipped)\b")
_EXPECTED_END = re.compile(r"cocotb\.regression\s+\S+ passed: errored as expected \(result was SimFailure\)")
"""A test that wants the design to end the simulation, by `$fatal` say."""
_LEVEL = re.compile(r"^\s*[-\d.]+\ws\s+(DEBUG|INFO|WARNING|ERROR|CRITICAL)\s")


@dataclass(frozen=True)
class UnitRun:
    """What a run of a unit left.

    Attributes:
        tests: their results.
        trace: its waveform, relative to the stage's folder; None if it wrote none.
        coverage: Verilator's record of it.
    """

    unit: Unit
    tests: list[TestResult]
    trace: str | None
    coverage: str | None
    seconds: float


@dataclass(frozen=True)
class Session:
    """What all runs of a stage share.

    Attributes:
        seed: of every random number in them.
        traced: whether waveforms are recorded.
        on_count: hears how many of how many tests of a unit are through.
    """

    context: StageContext
    tool: str
    seed: int
    traced: bool
    on_count: Callable[[Unit, int, int], None]


class Watcher:
    """Hears a simulator's lines: passes them on to the log, counts tests, and notes what decides the verdict."""

    def __init__(self, session: Session, unit: Unit) -> None:
        self.heard = Heard()
        self.running: str | None = None
        self.ended: dict[str, str] = {}
        self.expected_end = False
        self.total = unit.tests
        self._sink, self._unit, self._on_count = session.context.sink, unit, session.on_count
        self._done = self._lines = 0

    def line(self, text: str) -> None:
        """Take a line."""
        shown = self.heard.line(text)
        if shown != text and not shown.strip():
            return
        self._lines += 1
        if self._lines <= LOG_LINES_MAX:
            level = _LEVEL.match(shown)
            name = "ERROR" if level and level[1] == "CRITICAL" else level[1] if level else "INFO"
            self._sink.log(shown, Level(name))
        elif self._lines == LOG_LINES_MAX + 1:
            self._sink.log(f"{self._unit.name}: further output is left out", Level.WARNING)
        if self._unit.kind is UnitKind.COCOTB:
            self._count(text)

    def _count(self, text: str) -> None:
        if started := _RUNNING.search(text):
            self.total = int(started[3])
            if started[1] == "running":
                self.running = started[2]
            else:
                self.ended[started[2]] = SKIPPED
                self._done += 1
            self._on_count(self._unit, self._done, self.total)
        elif ended := _ENDED.search(text):
            self.running = None
            self.expected_end = self.expected_end or _EXPECTED_END.search(text) is not None
            self.ended[ended[1]] = ended[2]
            self._done += 1
            self._on_count(self._unit, self._done, self.total)


async def run_unit(session: Session, unit: Unit, simulator: Simulator) -> UnitRun:
    """Run a unit to its end. Raises: ToolFailed, if the simulator crashes."""
    context, tool = session.context, session.tool
    section = context.project.config.verification.simulation
    folder = f"run/{unit.name}"
    watcher = Watcher(session, unit)
    own_end = tool != ICARUS and unit.kind is UnitKind.BENCH
    limits = ToolLimits(wall_s=section.timeout_seconds + GRACE_S * own_end, output_bytes=4 << 20)
    plusargs = [f"+{name}={value}" if value else f"+{name}" for name, value in section.plusargs.items()]
    argv = ["python", "-m", "lutlab_verify.inside.launch", "--cwd", folder]
    environment: dict[str, str] = {}
    if unit.kind is UnitKind.COCOTB:
        environment = cocotb_environment(unit, session.seed)
        if tool == ICARUS:
            # It gives a write in the moment of a clock edge to the processes of that very edge.
            environment["COCOTB_TRUST_INERTIAL_WRITES"] = "0"
        parent = str(PurePosixPath(tool_path(unit.file)).parent)
        argv += ["--python-path", parent, "--python-path", SOURCES]
    if tool == ICARUS:  # its exit status tells of `$fatal` only
        argv += ["--hear", HEARD]
    argv += ["--", *_simulator_argv(session, unit, simulator), *plusargs]
    outcome = await context.tools.run(ToolCall(tool, argv, limits, environment), watcher.line)
    watcher.heard = _noted(context, folder) or watcher.heard
    if outcome.exit_code in _CRASHES and outcome.stopped is None:
        words = tuple(outcome.tail[-TAIL_LINES:])
        raise ToolFailed(f"{tool} ended with {_CRASHES[outcome.exit_code]} in {unit.name}", tool=tool, tail=words)
    trace = _trace(context, folder)
    judge = _judge_cocotb if unit.kind is UnitKind.COCOTB else _judge_bench
    tests = judge(session, unit, outcome, watcher)
    record = f"{folder}/coverage.dat"
    return UnitRun(unit, tests, trace, record if is_output(context.work, record) else None, outcome.seconds)


def _noted(context: StageContext, folder: str) -> Heard | None:
    """What was noted beside the simulator; None if it was killed."""
    try:
        return Heard.read(json.loads(read_output(context.work, f"{folder}/{HEARD}", HEARD_BYTES_MAX)))
    except (OutputMissing, ValueError, KeyError, TypeError):
        return None


def _trace(context: StageContext, folder: str) -> str | None:
    """The waveform of a run: ours, or the one a test bench named itself; not one that came with the project."""
    work, root = context.work, context.project.root
    for name in ("trace.fst", "trace.vcd"):
        if is_output(work, f"{folder}/{name}"):
            return f"{folder}/{name}"
    try:
        names = sorted(entry.name for entry in os.scandir(work / folder) if entry.name.endswith((".fst", ".vcd")))
        names = [name for name in names if not (root / name).exists()]
    except OSError:
        return None
    return next((f"{folder}/{name}" for name in names if is_output(work, f"{folder}/{name}")), None)


def _simulator_argv(session: Session, unit: Unit, simulator: Simulator) -> list[str]:
    seed = session.seed
    if session.tool == ICARUS:
        argv = [*locate("vvp").argv, "-N"]
        if unit.kind is UnitKind.COCOTB:
            from cocotb_tools import config  # noqa: PLC0415 - benches run without cocotb

            argv += ["-m", str(config.lib_entry("vpi", "icarus"))]
        return [*argv, f"../../{simulator.path}", "-fst" if session.traced else "-none", f"+seed={seed}"]
    argv = [simulator.path, f"+verilator+seed+{seed}"]
    if unit.kind is UnitKind.COCOTB:
        trace = ["--trace", "--trace-file", "trace.fst"] if session.traced else []
        return [*argv, *trace, "+verilator+coverage+file+coverage.dat"]
    limit_s = session.context.project.config.verification.simulation.timeout_seconds
    untraced = [] if session.traced else ["+lutlab_untraced"]
    return [*argv, f"+seed={seed}", f"+lutlab_seconds={limit_s}", *untraced]


def cocotb_environment(unit: Unit, seed: int) -> dict[str, str]:
    """Variables that make a simulator load cocotb and run a module's tests. Raises: ToolMissing."""
    try:
        import find_libpython  # noqa: PLC0415 - comes with cocotb
        from cocotb_tools import config  # noqa: PLC0415 - comes with cocotb
    except ImportError as error:
        raise ToolMissing("cocotb is not installed here: pip install cocotb") from error
    library = find_libpython.find_libpython()
    if library is None:
        raise ToolMissing(
            f"{sys.executable} comes without its shared library, which cocotb needs: apt install libpython3"
        )
    return {
        "PYGPI_PYTHON_BIN": sys.executable,
        "GPI_USERS": f"{library};{config.pygpi_entry_point()}",
        "COCOTB_TEST_MODULES": PurePosixPath(unit.file).stem,
        "COCOTB_TOPLEVEL": unit.top,
        "TOPLEVEL_LANG": "verilog",
        "COCOTB_RANDOM_SEED": str(seed),
        "COCOTB_RESULTS_FILE": "results.xml",
        "COCOTB_ANSI_OUTPUT": "0",
        "COCOTB_REWRITE_ASSERTION_FILES": "",
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "GPI_LOG_LEVEL": "WARNING",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


# -- judging


def why(outcome: ToolOutcome, timeout_s: float) -> str | None:
    """Why a run did not end by itself, None if it did."""
    if outcome.stopped is Stop.TIME:
        return _late(timeout_s)
    return f"stopped: too much {outcome.stopped}" if outcome.stopped else None


def _late(timeout_s: float) -> str:
    return f"not finished after {timeout_s:g} s (verification.simulation.timeout_seconds)"


def _tail(outcome: ToolOutcome) -> str:
    return "\n".join(line for line in outcome.tail[-TAIL_LINES:] if line.strip() and line.strip() != MARK)


def _judge_bench(session: Session, unit: Unit, outcome: ToolOutcome, watcher: Watcher) -> list[TestResult]:
    context, tool, seed = session.context, session.tool, session.seed
    timeout_s = context.project.config.verification.simulation.timeout_seconds
    message = why(outcome, timeout_s)
    line = None
    if message is None and outcome.exit_code == LATE and tool != ICARUS:
        message = _late(timeout_s)
    if message is not None:
        message = f"no $finish: {message}"
    elif watcher.heard.errors:
        file, line, message = _place(watcher.heard.errors[0], unit)
        message = message if file == unit.file else f"{file}:{line}: {message}"
    elif outcome.exit_code == STARVED or (tool == ICARUS and not watcher.heard.finished and outcome.exit_code == 0):
        message = "no $finish: nothing was left to happen"
    elif outcome.exit_code:
        message = f"ended with status {outcome.exit_code}\n{_tail(outcome)}"
    status = PASSED if message is None else FAILED
    return [TestResult(unit.name, status, round(outcome.seconds, 3), seed, message, unit.file, line)]


def _place(said: Said, unit: Unit) -> tuple[str, int, str]:
    """File of the project, line and text of an error. Verilator names files by their last part alone."""
    file = said.file.removeprefix(f"{SOURCES}/")
    return unit.file if PurePosixPath(unit.file).name == file else file, said.line, said.text


def _told(said: Said, unit: Unit) -> str:
    """An error in words."""
    return "{}:{}: {}".format(*_place(said, unit))


def _judge_cocotb(session: Session, unit: Unit, outcome: ToolOutcome, watcher: Watcher) -> list[TestResult]:
    context, tool, seed = session.context, session.tool, session.seed
    timeout_s = context.project.config.verification.simulation.timeout_seconds
    tests: list[TestResult] = []
    try:
        xml = read_output(context.work, f"run/{unit.name}/results.xml", RESULTS_BYTES_MAX)
        tests = from_cocotb(xml, seed, unit.file)
    except (OutputMissing, ValueError):
        # It writes them at its end. What the log told of tests that ended before is all there is.
        tests = [
            TestResult(name, status, 0.0, seed, None if status == PASSED else "see the log", unit.file)
            for name, status in watcher.ended.items()
        ]
    message = why(outcome, timeout_s)
    if message is None and (outcome.exit_code or not tests or len(tests) < watcher.total):
        told = _told(watcher.heard.errors[0], unit) if watcher.heard.errors else _tail(outcome)
        message = f"{tool} ended with status {outcome.exit_code}\n{told}"
        told_by_cocotb = watcher.expected_end or any(test.status == FAILED for test in tests)
        if tests and len(tests) >= watcher.total and told_by_cocotb:
            message = None  # the status of a run with failed tests, or with the end that a test wanted
    said = (one for one in watcher.heard.errors if not one.fatal and one.file.endswith(VERILOG_SUFFIXES))
    complaint = next(said, None)
    if message is None and complaint is not None and all(test.status != FAILED for test in tests):
        # cocotb does not look at `$error`, after which Icarus goes on; with Verilator the run would have ended.
        message = f"$error in {_told(complaint, unit)}"
    if message is not None:
        left = watcher.total - len(tests)
        more = f"\n{left} of {watcher.total} tests have no result" if left > 1 else ""
        name = watcher.running or unit.name
        tests.append(TestResult(name, FAILED, round(outcome.seconds, 3), seed, message + more, unit.file))
    return tests


def with_trace(run: UnitRun, artifact: str | None) -> list[TestResult]:
    """The run's tests, each naming the artifact with its waveform."""
    return [replace(test, trace=artifact) for test in run.tests]
