"""The calls of the formal stage: read and lower the design, ask a solver. All parsing of sources happens in them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lutlab_verify.catalogue import locate
from lutlab_verify.formal.replay import Design
from lutlab_verify.stage import StageContext, ToolFailed, Unsupported
from lutlab_verify.tools import Stop, ToolCall, ToolLimits, ToolOutcome

REFUSED = 3
"""Exit status of a program that left a refusal (`lutlab_verify.inside.formal.refuse`)."""
PREPARE_S = 120.0
ERRORS_MAX = 20
EVENTS_MAX = 200_000
SOLVERS = {
    "yices": ("yices-smt2", "--incremental"),
    "z3": ("z3", "-smt2", "-in"),
    "cvc5": ("cvc5", "--incremental", "--lang=smt2", "-q"),
}
FILE_BYTES_MAX = 64 << 20
"""What a call may write into one file, and what is read of one: tools read hostile files."""
_STEP = re.compile(r"step (\d+) of (\d+)$")
_TRACE = re.compile(r"trace\d+")
_PLACE = re.compile(r"(?P<file>[^\s:]+):(?P<line>\d+): ERROR: (?P<said>.*)")

Json = dict[str, Any]
_First = TypeVar("_First")
_Second = TypeVar("_Second")


@dataclass(frozen=True)
class Instance:
    """A check of the model: its number there, its property, the instance it is in, whether it is an antecedent."""

    number: int
    property: int
    path: str
    antecedent: bool


@dataclass(frozen=True)
class Prepared:
    """A design that is ready for questions.

    Attributes:
        folder: with everything that was written, relative to the stage's.
        properties: of the sources, as `lutlab_verify.inside.formal.lower.Property` describes them.
        asserts, assumes, covers: the checks of the model.
        design: for replays.
        facts: the rest of `design.json`.
    """

    folder: str
    properties: list[Json]
    asserts: list[Instance]
    assumes: list[Instance]
    covers: list[Instance]
    design: Design
    facts: Json


@dataclass
class Bounded:
    """What a bounded search found: the steps that are through, and per number of a check (step, trace)."""

    depth: int = 0
    failed: dict[int, tuple[int, str | None]] = field(default_factory=dict)
    reached: dict[int, tuple[int, str | None]] = field(default_factory=dict)
    impossible: int | None = None
    done: bool = False
    stopped: Stop | None = None


@dataclass
class Inductive:
    """What an induction found: check -> k, asserts and unreachable covers."""

    proven: dict[int, int] = field(default_factory=dict)
    unreachable: dict[int, int] = field(default_factory=dict)
    stopped: Stop | None = None


async def both(first: Coroutine[Any, Any, _First], second: Coroutine[Any, Any, _Second]) -> tuple[_First, _Second]:
    """Two calls at once; if one fails, the other is ended and the failure is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            one, other = group.create_task(first), group.create_task(second)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return one.result(), other.result()


def read_bounded(path: Path) -> str:
    """A file that a tool wrote. Raises: ToolFailed, if it is too large."""
    with path.open("rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise ToolFailed(f"{path.name} is larger than {FILE_BYTES_MAX} bytes", tool="yosys")
    return data.decode("utf-8", "replace")


def solver_argv(name: str) -> list[str]:
    """How to start a solver so that it takes a dialogue. Raises: Unsupported, ToolMissing."""
    known = SOLVERS.get(name)
    if known is None:
        raise Unsupported(f"solver {name!r}: supported are {', '.join(SOLVERS)}", field="verification.formal.engines")
    return [*locate(known[0]).argv, *known[1:]]


async def prepare(context: StageContext, folder: str, files: Sequence[str], options: Json) -> Prepared:
    """Read, lower, elaborate.

    Args:
        context: of the stage.
        folder: to work in, relative to the stage's.
        files: as tools see them.
        options: `includes` and `defines`.

    Raises:
        Unsupported: the design has what is not supported here; names it with file and line.
        ToolFailed: the design is wrong, or the tool could not do its work.
    """
    base = context.work / folder
    base.mkdir(parents=True, exist_ok=True)
    request = {"files": list(files), "top": context.project.top, "out": folder, **options}
    (base / "request.json").write_text(json.dumps(request), encoding="utf-8")
    argv = ["python", "-m", "lutlab_verify.inside.formal.prepare", f"{folder}/request.json"]
    outcome = await context.tools.run(ToolCall("yosys", argv, ToolLimits(wall_s=PREPARE_S, file_bytes=FILE_BYTES_MAX)))
    if outcome.exit_code == REFUSED and (base / "error.json").is_file():
        _refuse(json.loads(read_bounded(base / "error.json")))
    if outcome.exit_code != 0 or outcome.stopped is not None:
        raise _prepare_failed(base, outcome)
    return _prepared(context, folder)


def _refuse(error: Json) -> None:
    if error["kind"] == "unsupported":
        raise Unsupported(error["message"], file=error["file"], line=error["line"])
    raise ToolFailed(error["message"], tool="slang", tail=tuple(error["message"].splitlines()[:ERRORS_MAX]))


def _prepare_failed(base: Path, outcome: ToolOutcome) -> ToolFailed:
    if outcome.stopped is not None:
        return ToolFailed(f"reading the design was stopped: {outcome.stopped} limit", tool="yosys")
    log = base / "yosys.log"
    lines = read_bounded(log).splitlines() if log.is_file() else []
    errors = _in_sources(lines, base)
    for file, line, said in errors:
        if "'type' expression" in said:  # only lowering writes `type(...)`
            raise Unsupported(
                f"{file}:{line}: $past, $rose, $fell, $stable or $changed of a signal in another instance or interface "
                "is not supported; assign it to a signal of the module first",
                file=file,
                line=line,
            )
    if errors:
        words = [f"{file}:{line}: {said}" if file else said for file, line, said in errors]
        return ToolFailed("; ".join(words[:3]), tool="slang", tail=tuple(words[:ERRORS_MAX]))
    loud = [line for line in (*lines, *outcome.tail) if "ERROR" in line or "Error" in line]
    message = loud[0].removeprefix("ERROR: ") if loud else f"reading the design ended with status {outcome.exit_code}"
    return ToolFailed(message, tool="yosys", tail=(*lines, *outcome.tail)[-ERRORS_MAX:])


def _in_sources(lines: Sequence[str], base: Path) -> list[tuple[str | None, int | None, str]]:
    """The front end's errors, moved from the print to the sources: file, line, words."""
    places_file = base / "places.json"
    if not places_file.is_file():
        return []
    places = json.loads(read_bounded(places_file))
    errors: list[tuple[str | None, int | None, str]] = []
    for line in lines:
        found = _PLACE.match(line)
        if found is None:
            continue
        number = int(found["line"])
        place = places[number - 1] if 0 < number <= len(places) else None
        errors.append((place[0], place[1], found["said"]) if place else (None, None, found["said"]))
    return errors


def _prepared(context: StageContext, folder: str) -> Prepared:
    base = context.work / folder
    facts = json.loads(read_bounded(base / "design.json"))
    checks = {
        kind: [Instance(one["number"], one["property"], one["path"], one["antecedent"]) for one in found]
        for kind, found in facts["checks"].items()
    }
    design = Design(
        top=context.project.top,
        ports={name: (port["direction"], port["width"]) for name, port in facts["ports"].items()},
        clock=facts["clock"],
        edge=facts["edge"],
        variables=facts["variables"],
        constants=facts["constants"],
        text=read_bounded(base / "replay.sv"),
    )
    return Prepared(folder, facts["properties"], checks["assert"], checks["assume"], checks["cover"], design, facts)


class Questions:
    """Asks one solver about a prepared design, within a time."""

    def __init__(self, context: StageContext, prepared: Prepared, solver: Sequence[str], until: float) -> None:
        """
        Args:
            context: of the stage.
            prepared: the design.
            solver: how to start it.
            until: in the event loop's time.
        """
        self._context = context
        self._prepared = prepared
        self._solver = list(solver)
        self._until = until

    async def bounded(self, name: str, depth: int) -> Bounded:
        """Search the first `depth` steps."""
        found = Bounded()
        request = {"task": "bounded", "depth": depth, "clock": self._prepared.design.clock}
        outcome = await self._ask(name, {**request, "edge": self._prepared.design.edge}, self._heard)
        for event in self._events(name):
            match event["event"]:
                case "bounded":
                    found.depth = event["step"] + 1
                case "failed":
                    found.failed[event["number"]] = (event["step"], event["trace"])
                case "reached":
                    found.reached[event["number"]] = (event["step"], event["trace"])
                case "impossible":
                    found.impossible = event["step"]
                case "done":
                    found.done = True
        self._finished(outcome, found.done)
        found.stopped = outcome.stopped
        return found

    async def inductive(
        self, name: str, depth: int, asserts: Sequence[int], unreached: Sequence[int], known: Sequence[int] = ()
    ) -> Inductive:
        """Try to prove `asserts` and that `unreached` covers cannot be reached, `known` being proven."""
        found = Inductive()
        request = {"task": "induction", "depth": depth, "asserts": list(asserts), "unreached": list(unreached)}
        outcome = await self._ask(name, {**request, "known": list(known)})
        done = False
        for event in self._events(name):
            if event["event"] == "proven":
                found.proven.update(dict.fromkeys(event["asserts"], event["k"]))
                found.unreachable.update(dict.fromkeys(event["unreachable"], event["k"]))
            done = done or event["event"] == "done"
        self._finished(outcome, done)
        found.stopped = outcome.stopped
        return found

    def _heard(self, line: str) -> None:
        step = _STEP.match(line)
        if step is not None:
            self._context.sink.progress(int(step[1]), int(step[2]), "steps")

    async def _ask(
        self, name: str, request: Json, on_line: Callable[[str], None] | None = None
    ) -> ToolOutcome:  # fmt: skip
        folder = self._prepared.folder
        path = self._context.work / folder / f"{name}.request.json"
        shared = {"model": f"{folder}/model.smt2", "solver": self._solver, "out": folder, "name": name}
        path.write_text(json.dumps({**shared, **request}), encoding="utf-8")
        left = max(1.0, self._until - asyncio.get_running_loop().time())
        argv = ["python", "-m", "lutlab_verify.inside.formal.check", f"{folder}/{path.name}"]
        limits = ToolLimits(wall_s=left, file_bytes=FILE_BYTES_MAX)
        return await self._context.tools.run(ToolCall("yices", argv, limits), on_line)

    def _events(self, name: str) -> list[Json]:
        path = self._context.work / self._prepared.folder / f"{name}.jsonl"
        if not path.is_file():
            return []
        whole = read_bounded(path).split("\n")[:-1]  # the last line may be cut where a limit hit
        events = [json.loads(line) for line in whole[:EVENTS_MAX]]
        if not all(_TRACE.fullmatch(event["trace"]) for event in events if event.get("trace") is not None):
            raise ToolFailed("the solver's dialogue names a trace that is none", tool="yices")
        return events

    def _finished(self, outcome: ToolOutcome, done: bool) -> None:
        if not done and outcome.stopped is not Stop.TIME:
            why = f"{outcome.stopped} limit" if outcome.stopped else f"status {outcome.exit_code}"
            last = next((line for line in reversed(outcome.tail) if line.strip()), "")
            raise ToolFailed(
                f"the solver's dialogue ended early ({why}): {last}", tool="yices", tail=tuple(outcome.tail)
            )
