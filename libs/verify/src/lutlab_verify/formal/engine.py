"""The formal stage.

What runs: slang reads the sources, properties are lowered to plain Verilog from the syntax tree
(`lutlab_verify.inside.formal`), yosys makes the model, and a solver (yices) is asked directly about it. This is
SymbiYosys's flow (the same yosys model, bounded search, k-induction, covers) without its processes: it needs 0.5 s
where `sby` needs several, and answers per property where `sby` answers per task. The artifacts `formal.sby` and
`formal_design.il` let SymbiYosys itself do it again.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lutlab_verify.formal.replay import bench
from lutlab_verify.formal.tasks import Bounded, Inductive, Prepared, Questions, both, prepare, read_bounded, solver_argv
from lutlab_verify.formal.verdicts import Finding, Verdict, findings
from lutlab_verify.sources import (
    HEADER_SUFFIXES,
    VERILOG_SUFFIXES,
    defines,
    design_files,
    include_folders,
    refuse_vhdl,
    tool_path,
)
from lutlab_verify.stage import Artifact, Json, Level, StageContext, StageResult, StageStatus, Unsupported

RESULT = """
summary: `properties_proven`, `properties_failed`, `properties_inconclusive`, `covers_reached`, `covers_not_reached`,
`properties_vacuous`, `assumptions`, `warnings`.
details: `properties`: name, kind, file, line, verdict (proven, failed, inconclusive, assumed, covered, not_covered,
unreachable, absent), depth (steps searched, or step + 1 of a failure or cover, or the k of an induction), message,
trace and bench (names of artifacts), vacuous, text, instance; `warnings`; `engine`, `solver`, `depth`, `clock`,
`registers` (bits), `inputs` (bits).
The stage passes if every assertion is proven. One that only holds to a depth is inconclusive, and then the stage fails.
"""
FOLDER = "formal"
ARTIFACTS_MAX = 120
WARNINGS_MAX = 500
_PROPERTY = re.compile(r"\b(?:assert|assume|cover)\b")


async def run(context: StageContext) -> StageResult:
    """Carry out the stage. Raises: Unsupported, ToolFailed, ToolMissing."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    config = context.project.config.verification.formal
    refuse_vhdl(context.project, "formal")
    solvers = [(name, solver_argv(name)) for name in _solvers(config.engines)]
    prepared = await prepare(context, FOLDER, _files(context), _options(context))
    _refuse_absent(context, prepared)
    reason = _nothing_to_show(prepared)
    if reason is not None:
        context.sink.log(reason, Level.WARNING)
        return StageResult(StageStatus.SKIPPED, {}, reason=reason, seconds=loop.time() - started)
    context.sink.log(
        f"{len(prepared.properties)} properties lowered; {prepared.facts['registers']} bits of state, "
        f"{prepared.facts['inputs']} bits of input"
    )
    until = started + config.timeout_seconds
    found: list[Finding] = []
    name = ""
    for name, argv in solvers:
        context.sink.log(f"yosys model, {name}: bounded search and induction to depth {config.depth}, at once")
        bounded, inductive = await _ask(context, prepared, Questions(context, prepared, argv, until), config.depth)
        found = findings(prepared, bounded, inductive)
        if not any(one.verdict is Verdict.INCONCLUSIVE for one in found) or loop.time() >= until:
            break
    artifacts = _artifacts(context, prepared, found, config.depth)
    result = _result(context, prepared, found, name)
    return replace(result, artifacts=tuple(artifacts), seconds=loop.time() - started)


def _solvers(engines: Sequence[str]) -> list[str]:
    """Solvers of the engines, which are `smtbmc` with an optional solver, as SymbiYosys writes them."""
    names = []
    for engine in engines:
        name, *rest = engine.split()
        if name != "smtbmc" or len(rest) > 1:
            raise Unsupported(
                f"engine {engine!r}: supported are smtbmc, smtbmc yices, smtbmc z3 and smtbmc cvc5",
                field="verification.formal.engines",
            )
        names.append(rest[0] if rest else "yices")
    return list(dict.fromkeys(names)) or ["yices"]


def _files(context: StageContext) -> list[str]:
    project = context.project
    for file in project.properties:
        if not file.lower().endswith(VERILOG_SUFFIXES):
            raise Unsupported(
                f"{file}: properties are read from Verilog and SystemVerilog files only (PSL is not supported)",
                field="verification.formal.properties",
                file=file,
            )
    files = [tool_path(file) for file in project.properties if not file.lower().endswith(HEADER_SUFFIXES)]
    return list(dict.fromkeys([*design_files(project), *files]))


def _options(context: StageContext) -> Json:
    return {"includes": include_folders(context.project), "defines": defines(context.project)}


def _nothing_to_show(prepared: Prepared) -> str | None:
    """Why there is nothing to prove or to reach, None if there is."""
    if prepared.asserts or any(not check.antecedent for check in prepared.covers):
        return None
    if not prepared.properties:
        return "there is no assertion, assumption or cover in the design or in verification.formal.properties"
    if prepared.assumes:
        return "there are assumptions, but no assertion and no cover to look at"
    return "no property is part of the design: their modules are never instantiated, or their branches not taken"


async def _ask(
    context: StageContext, prepared: Prepared, questions: Questions, depth: int
) -> tuple[Bounded, Inductive]:
    """Search and induction at once; an induction that leaned on what then fails is made again without it."""
    asserts = [check.number for check in prepared.asserts]
    total = len(asserts) + len(prepared.covers)
    bounded, inductive = await both(
        questions.bounded("bounded", depth), questions.inductive("induction", depth, asserts, ())
    )
    if any(number in bounded.failed for number in inductive.proven):
        good = [number for number in asserts if number not in bounded.failed]
        inductive = await questions.inductive("induction_again", depth, good, ())
    unreached = [check.number for check in prepared.covers if check.number not in bounded.reached]
    if unreached and bounded.depth > 0:
        proven = [number for number, k in inductive.proven.items() if k <= bounded.depth]
        refuted = await questions.inductive("unreachable", bounded.depth, (), unreached, proven)
        inductive.unreachable = refuted.unreachable
    context.sink.progress(total, total, "properties")
    return bounded, inductive


def _refuse_absent(context: StageContext, prepared: Prepared) -> None:
    """A property file none of whose properties is in the design is a mistake, not a success."""
    present = {check.property for check in (*prepared.asserts, *prepared.assumes, *prepared.covers)}
    for file in context.project.properties:
        own = [one for one in prepared.properties if one["file"] == file]
        line = own[0]["line"] if own else None
        if any(one["number"] in present for one in own) or not (own or _is_left_out(context, file)):
            continue
        way = "bind its module to one of the design" if own else "a header is read where another file includes it"
        raise Unsupported(
            f"{file}: none of its properties is part of the design; {way}",
            field="verification.formal.properties",
            file=file,
            line=line,
        )


def _is_left_out(context: StageContext, file: str) -> bool:
    """Whether a header has properties, of which none was read."""
    if not file.lower().endswith(HEADER_SUFFIXES):
        return False
    text = (context.project.root / file).read_text(encoding="utf-8", errors="replace")
    return _PROPERTY.search(re.sub(r"//.*|/\*[\s\S]*?\*/", "", text)) is not None


def _artifacts(context: StageContext, prepared: Prepared, found: Sequence[Finding], depth: int) -> list[Artifact]:
    base = context.work / FOLDER
    (base / "formal.sby").write_text(_sby(context, depth), encoding="utf-8")
    artifacts = [
        Artifact("formal_lowered.sv", base / "design.sv", "text/plain"),
        Artifact("formal_model.smt2", base / "model.smt2", "text/plain"),
        Artifact("formal_design.il", base / "design.il", "text/plain"),
        Artifact("formal.sby", base / "formal.sby", "text/plain"),
    ]
    names: set[str] = set()
    for one in sorted(found, key=lambda finding: finding.verdict is not Verdict.FAILED):
        if one.trace is None or len(artifacts) >= ARTIFACTS_MAX:
            continue
        stem = _unique(one, names)
        one.artifacts["trace"] = f"formal_{stem}.vcd"
        artifacts.append(Artifact(f"formal_{stem}.vcd", base / f"{one.trace}.vcd", "text/x-vcd"))
        if one.verdict is Verdict.FAILED:
            artifacts += _bench_artifact(base, prepared, one, stem)
    return artifacts


def _bench_artifact(base: Path, prepared: Prepared, one: Finding, stem: str) -> list[Artifact]:
    steps = json.loads(read_bounded(base / f"{one.trace}.json"))[: one.depth]
    text = bench(prepared.design, one.number, f"{one.name} ({one.file}:{one.line}) {one.message}", steps)
    if text is None:
        return []
    path = base / f"replay_{stem}.sv"
    path.write_text(text, encoding="utf-8")
    one.artifacts["bench"] = f"formal_{stem}_tb.sv"
    return [Artifact(f"formal_{stem}_tb.sv", path, "text/plain")]


def _unique(one: Finding, taken: set[str]) -> str:
    stem = re.sub(r"[^A-Za-z0-9_]+", "_", one.name).strip("_")[:60] or "property"
    if stem in taken:
        stem = f"{stem}_{one.number}_{len(taken)}"
    taken.add(stem)
    return stem


def _sby(context: StageContext, depth: int) -> str:
    """What SymbiYosys needs to do it again from `formal_design.il`."""
    return (
        f"[tasks]\nprove\ncover\n\n[options]\nprove: mode prove\ncover: mode cover\ndepth {depth}\n\n"
        f"[engines]\nsmtbmc yices\n\n[script]\nread_rtlil formal_design.il\nprep -top {context.project.top}\n\n"
        "[files]\nformal_design.il\n"
    )


def _result(context: StageContext, prepared: Prepared, found: Sequence[Finding], solver: str) -> StageResult:
    def count(*verdicts: Verdict) -> int:
        return sum(one.verdict in verdicts for one in found)

    warnings = _warnings(found)[:WARNINGS_MAX]
    for one in found:
        bad = one.verdict in (Verdict.FAILED, Verdict.INCONCLUSIVE)
        context.sink.log(f"{one.file}:{one.line}: {one.name}: {one.message}", Level.ERROR if bad else Level.INFO)
    for warning in warnings:
        context.sink.log(warning["message"], Level.WARNING)
    failed, inconclusive = count(Verdict.FAILED), count(Verdict.INCONCLUSIVE)
    status, reason = _verdict(failed, inconclusive)
    summary: Json = {
        "properties_proven": count(Verdict.PROVEN),
        "properties_failed": failed,
        "properties_inconclusive": inconclusive,
        "covers_reached": count(Verdict.COVERED),
        "covers_not_reached": count(Verdict.NOT_COVERED, Verdict.UNREACHABLE),
        "properties_vacuous": sum(one.vacuous is not None for one in found),
        "assumptions": count(Verdict.ASSUMED),
        "warnings": len(warnings),
    }
    details: Json = {
        "properties": [one.facts() for one in found],
        "warnings": warnings,
        "engine": "yosys model with bounded search and k-induction (smtbmc)",
        "solver": solver,
        "depth": context.project.config.verification.formal.depth,
        "clock": prepared.facts["clock"],
        "registers": prepared.facts["registers"],
        "inputs": prepared.facts["inputs"],
    }
    return StageResult(status, summary, details, reason=reason)


def _verdict(failed: int, inconclusive: int) -> tuple[StageStatus, str | None]:
    parts = [f"{failed} failed"] * bool(failed) + [f"{inconclusive} inconclusive (not proven)"] * bool(inconclusive)
    if not parts:
        return StageStatus.PASSED, None
    return StageStatus.FAILED, f"properties: {', '.join(parts)}"


def _warnings(found: Sequence[Finding]) -> list[Json]:
    warnings = []
    for one in found:
        if one.vacuous is not None:
            warnings.append(_warning(one, "vacuous", f"{one.name} says nothing: {one.vacuous}"))
        if one.verdict in (Verdict.UNREACHABLE, Verdict.NOT_COVERED):
            warnings.append(_warning(one, "unreachable_cover", f"cover {one.name}: {one.message}"))
        if one.verdict is Verdict.ABSENT:
            warnings.append(_warning(one, "absent", f"{one.name}: {one.message}"))
    return warnings


def _warning(one: Finding, rule: str, message: str) -> Json:
    return {"rule": rule, "file": one.file, "line": one.line, "message": message}
