"""Constant time: can an observer of the outputs tell secrets apart, in any cycle?

Observable is every output of the top module that `secrets` does not name, in every clock cycle: handshakes, flags and
data alike. An output that carries a result which must depend on secrets has to be named in `secrets`; otherwise it is a
violation. Every input that `secrets` does not name is public. `public` may name inputs and outputs to say so; that
changes nothing but is checked. `secrets` may name registers inside, too.

Three tiers, each sound in what it claims:

1. taint on the flat netlist: no path from a secret to an observable output proves it;
2. two runs side by side from the same register contents, with the same public inputs and their own secrets, step by
   step: a visible difference is a violation, with the waveform of both runs;
3. invariants (Houdini): what no step can make differ between the runs; if that keeps the outputs the same, it is
   proven, for all times.

Assumed is: both runs start from the same register contents (secret registers apart); the environment's public inputs do
not depend on secrets; one clock, whose cycles are all the time there is (no analogue effects, no glitches); assumptions
among the properties hold. Verdicts: proven; violated; bounded_only (no difference up to `depth`, no proof: this is
never passed); unknown (the time limit, or assumptions that exclude each other, left nothing to say).

details: `verdict`, `tier`, `depth` (steps that were searched; 0 if there was no need), `secrets`, `public_inputs`,
`observed`, `violations` (kind, signal, file, line, step, path, message), `tainted_outputs`, `signals`,
`tainted_signals`, `branches`, `tainted_branches`, `assumptions`. Kinds are SECRET_BRANCH (a secret selects),
SECRET_INDEX (it addresses), SECRET_LOOP_BOUND (it bounds a counter), SECRET_OUTPUT (it flows to the output itself), as
far as the netlist shows; operations of varying latency are state machines in a netlist and show as one of these.
"""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lutlab_verify.crypto.area import AreaResult
from lutlab_verify.formal.tasks import FILE_BYTES_MAX, Prepared, prepare, read_bounded, solver_argv
from lutlab_verify.sources import defines, design_files, include_folders, refuse_vhdl, tool_path
from lutlab_verify.stage import Artifact, Json, StageContext, StageStatus, ToolFailed, Unsupported
from lutlab_verify.tools import Stop, ToolCall, ToolLimits, ToolOutcome

FOLDER = "constant_time"
FIELD = "verification.crypto_verification.constant_time"
TIME_S = 300.0
TAINT_S = 120.0
ASSUMPTIONS = (
    "both runs start from the same register contents, secret registers apart",
    "public inputs do not depend on secrets",
    "an observer sees every output that is not secret, once per clock cycle, and nothing else",
    "unknown and undriven values may be anything",
)


@dataclass(frozen=True)
class Question:
    """What is asked: secrets (inputs and registers), outputs that are observed, inputs that are public."""

    secrets: tuple[str, ...]
    observed: tuple[str, ...]
    public_inputs: tuple[str, ...]


@dataclass(frozen=True)
class Judgement:
    """What is known: the verdict, the tier that found it, steps that were searched, the visible difference."""

    verdict: str
    tier: str
    depth: int = 0
    difference: Json | None = None


async def run(context: StageContext) -> AreaResult:
    """Look at the design. Raises: Unsupported, ToolFailed, ToolMissing."""
    refuse_vhdl(context.project, "crypto")
    until = asyncio.get_running_loop().time() + TIME_S
    files = [tool_path(file) for file in context.project.properties]
    options: Json = {"includes": include_folders(context.project), "defines": defines(context.project)}
    all_files = list(dict.fromkeys([*design_files(context.project), *files]))
    prepared = await prepare(context, FOLDER, all_files, options)
    question = _question(context, prepared)
    taint = await _ask(context, prepared, question, {"task": "taint"}, TAINT_S)
    assert taint is not None
    _check_secrets(question, taint)
    if not taint["tainted"]:
        return _result(context, prepared, question, taint, Judgement("proven", "taint"))
    context.sink.log(f"constant_time: secrets may reach {', '.join(taint['tainted'])}; looking at two runs")
    solver = {"solver": solver_argv("yices")}
    depth = context.project.config.verification.crypto_verification.constant_time.depth
    # Outputs that no secret can reach are the same in both runs by the first tier.
    narrowed = Question(question.secrets, tuple(taint["tainted"]), question.public_inputs)
    left = max(1.0, until - asyncio.get_running_loop().time())
    search, proof = await _race(
        _ask(context, prepared, narrowed, {"task": "search", "depth": depth, **solver}, left),
        _ask(context, prepared, narrowed, {"task": "invariants", **solver}, left),
        assumed=bool(prepared.assumes),
    )
    return _result(context, prepared, question, taint, _judge(search, proof))


async def _race(
    search: Coroutine[Any, Any, Json | None], proof: Coroutine[Any, Any, Json | None], *, assumed: bool
) -> tuple[Json | None, Json | None]:
    """Both tiers at once; a violation ends the proof, a proof ends the search.

    With assumptions the search goes on after a proof: it sees whether they exclude each other.
    """
    searching, proving = asyncio.ensure_future(search), asyncio.ensure_future(proof)
    try:
        await asyncio.wait({searching, proving}, return_when=asyncio.FIRST_COMPLETED)
        if searching.done() and (found := await searching) is not None and found["difference"] is not None:
            return found, None
        if proving.done() and (shown := await proving) is not None and shown["proven"] and not assumed:
            return None, shown
        return await searching, await proving
    finally:
        for task in (searching, proving):
            task.cancel()
        await asyncio.gather(searching, proving, return_exceptions=True)


def _judge(search: Json | None, proof: Json | None) -> Judgement:
    searched = search["depth"] if search else 0
    if search is not None and search["difference"] is not None:
        return Judgement("violated", "two runs", search["difference"]["step"] + 1, search["difference"])
    if search is not None and search["impossible"] is not None:
        return Judgement("unknown", "two runs", searched)
    if proof is not None and proof["proven"]:
        return Judgement("proven", "invariants", searched)
    return Judgement("bounded_only" if searched else "unknown", "two runs", searched)


def _question(context: StageContext, prepared: Prepared) -> Question:
    config = context.project.config.verification.crypto_verification.constant_time
    ports = prepared.design.ports
    if not config.secrets:
        raise Unsupported(
            f"constant time needs to know what is secret: {FIELD}.secrets is empty", field=f"{FIELD}.secrets"
        )
    for name in config.public:
        if name not in ports:
            raise Unsupported(
                f"{name!r} is no port of {context.project.top}{_near(name, ports)}", field=f"{FIELD}.public"
            )
        if name in config.secrets:
            raise Unsupported(f"{name!r} is named both as a secret and as public", field=f"{FIELD}.public")
    both_ways = next((name for name in config.secrets if ports.get(name, ("", 0))[0] == "inout"), None)
    if both_ways is not None:
        raise Unsupported(
            f"{both_ways!r} is an inout; what comes in over it would be public: make it an input and an output",
            field=f"{FIELD}.secrets",
        )
    inputs = [name for name, (direction, _) in ports.items() if direction == "input"]
    outputs = [name for name, (direction, _) in ports.items() if direction != "input"]
    observed = tuple(name for name in outputs if name not in config.secrets)
    if not observed:
        raise Unsupported("every output is named as a secret, so there is nothing to observe", field=f"{FIELD}.secrets")
    if prepared.design.clock in config.secrets:
        raise Unsupported(f"the clock {prepared.design.clock!r} cannot be a secret", field=f"{FIELD}.secrets")
    secrets = tuple(name for name in config.secrets if name not in outputs)
    public = tuple(name for name in inputs if name not in config.secrets and name != prepared.design.clock)
    return Question(secrets, observed, public)


def _check_secrets(question: Question, taint: Json) -> None:
    if taint["missing"]:
        name = taint["missing"][0]
        if name in taint["other"]:
            raise Unsupported(
                f"secret {name!r} is no input, output, or register that only clock edges change: it has an "
                "asynchronous reset, or is no register",
                field=f"{FIELD}.secrets",
            )
        raise Unsupported(
            f"secret {name!r} is no input, output or register of the design{_near(name, taint['names'])}",
            field=f"{FIELD}.secrets",
        )
    if not question.secrets:
        raise Unsupported("only outputs are named as secrets; name the inputs, too", field=f"{FIELD}.secrets")


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


async def _ask(context: StageContext, prepared: Prepared, question: Question, task: Json, wall_s: float) -> Json | None:
    """One tier's answer; what is known when time is up, None if that is nothing."""
    base = context.work / prepared.folder
    request = {
        "folder": prepared.folder,
        "clock": prepared.design.clock,
        "edge": prepared.design.edge,
        "secrets": question.secrets,
        "observed": question.observed,
        **task,
    }
    path = base / f"timing_{task['task']}.request.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    argv = ["python", "-m", "lutlab_verify.inside.timing.ask", f"{prepared.folder}/{path.name}"]
    outcome = await context.tools.run(ToolCall("yices", argv, ToolLimits(wall_s=wall_s, file_bytes=FILE_BYTES_MAX)))
    answer = base / f"timing_{task['task']}.json"
    if outcome.exit_code != 0 and outcome.stopped is not Stop.TIME:
        raise _failed(task["task"], outcome)
    try:
        found: Json = json.loads(read_bounded(answer))
    except (OSError, ValueError):  # stopped before or while it wrote
        return None
    return found


def _failed(task: str, outcome: ToolOutcome) -> ToolFailed:
    why = f"{outcome.stopped} limit" if outcome.stopped else f"status {outcome.exit_code}"
    last = next((line for line in reversed(outcome.tail) if line.strip()), "")
    return ToolFailed(f"constant time ({task}) ended early ({why}): {last}", tool="yices", tail=tuple(outcome.tail))


def _result(
    context: StageContext, prepared: Prepared, question: Question, taint: Json, judgement: Judgement
) -> AreaResult:  # fmt: skip
    verdict, depth, difference = judgement.verdict, judgement.depth, judgement.difference
    violations = _violations(taint, difference)
    status = StageStatus.PASSED if verdict == "proven" else StageStatus.FAILED
    summary: Json = {"verdict": verdict, "violations": len(violations), "depth": depth}
    reason = _reason(verdict, depth, violations)
    if reason:
        summary["reason"] = reason
    assumes = [one for one in prepared.properties if one["kind"] == "assume"]
    details: Json = {
        "verdict": verdict,
        "tier": judgement.tier,
        "depth": depth,
        "secrets": list(question.secrets),
        "public_inputs": list(question.public_inputs),
        "observed": list(question.observed),
        "violations": violations,
        "tainted_outputs": [{"signal": name, "path": taint["paths"].get(name, [])} for name in taint["tainted"]],
        **{key: taint[key] for key in ("signals", "tainted_signals", "branches", "tainted_branches")},
        "assumptions": [*ASSUMPTIONS, *(f"{one['file']}:{one['line']}: {one['text']}" for one in assumes)],
    }
    report = context.work / FOLDER / "constant_time.json"
    report.write_text(json.dumps(details, indent=1), encoding="utf-8")
    artifacts = [Artifact("constant_time.json", report, "application/json")]
    if difference is not None:
        artifacts.append(Artifact("constant_time.vcd", context.work / FOLDER / "timing.vcd", "text/x-vcd"))
    return AreaResult(status, summary, details, tuple(artifacts))


def _violations(taint: Json, difference: Json | None) -> list[Json]:
    violations = []
    for name in difference["outputs"] if difference else ():
        path: Sequence[Json] = taint["paths"].get(name, [])
        end = path[-1] if path else {"file": None, "line": None}
        step = difference["step"] if difference else 0
        start = path[0]["signal"] if path else "a secret"
        message = f"{name} differs in step {step} between two runs that differ in secrets only ({start} reaches it)"
        violations.append(
            {"kind": taint["kinds"].get(name, "SECRET_OUTPUT"), "signal": name, "file": end["file"], "line":
             end["line"], "step": step, "path": list(path), "message": message}
        )  # fmt: skip
    return violations


def _reason(verdict: str, depth: int, violations: Sequence[Json]) -> str | None:
    match verdict:
        case "violated":
            hint = "; if it carries a result, name it in secrets" if violations[0]["kind"] == "SECRET_OUTPUT" else ""
            return f"{violations[0]['message']}{hint}"
        case "bounded_only":
            return f"no difference in the first {depth} steps, but nothing is proven beyond"
        case "unknown":
            return "nothing could be shown: the time limit was reached, or the assumptions exclude every run"
    return None
