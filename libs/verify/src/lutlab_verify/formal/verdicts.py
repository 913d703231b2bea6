"""From what the questions found to one verdict per property and instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lutlab_verify.formal.tasks import Bounded, Inductive, Instance, Prepared


class Verdict(StrEnum):
    """What is known of a property. Nothing that was only searched to some depth is `proven`."""

    PROVEN = "proven"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ASSUMED = "assumed"
    COVERED = "covered"
    NOT_COVERED = "not_covered"
    UNREACHABLE = "unreachable"
    ABSENT = "absent"
    """It stands in a module or a branch of a generate that is not part of the design."""


@dataclass
class Finding:
    """A property in an instance, with its verdict.

    Attributes:
        number: of the property.
        name: for people: its label or text, after the instance.
        kind: assert, assume, cover.
        file, line: where it stands.
        verdict: what is known.
        depth: steps that were searched, the step it fails or is reached in plus one, or the k of its induction.
        message: the verdict in words.
        trace: the stem of the trace's files, None if there is none.
        vacuous: None if it has no antecedent or that happens; else in words.
    """

    number: int
    name: str
    kind: str
    file: str
    line: int
    verdict: Verdict
    depth: int
    message: str
    trace: str | None = None
    vacuous: str | None = None
    text: str = ""
    instance: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """As JSON for the result."""
        return {
            "name": self.name, "kind": self.kind, "file": self.file, "line": self.line, "verdict": self.verdict.value,
            "depth": self.depth, "message": self.message, "trace": self.artifacts.get("trace"),
            "bench": self.artifacts.get("bench"), "vacuous": self.vacuous, "text": self.text, "instance": self.instance,
        }  # fmt: skip


_Judgement = tuple[Verdict, int, str, str | None]
"""Verdict, depth, message, stem of the trace."""


def findings(prepared: Prepared, bounded: Bounded, inductive: Inductive) -> list[Finding]:
    """All properties in the order of the sources."""
    found: list[Finding] = []
    for group, judge in (
        (prepared.asserts, _assert), (prepared.assumes, _assume), (prepared.covers, _cover),
    ):  # fmt: skip
        for key, checks in _grouped(group).items():
            facts = prepared.properties[key[0]]
            judgement = judge([check.number for check in checks], bounded, inductive)
            found.append(_finding(facts, key[1], judgement))
    for finding in found:
        if finding.kind == "assert":
            antecedents = [
                check.number
                for check in prepared.covers
                if check.antecedent and (check.property, check.path) == (finding.number, finding.instance)
            ]
            finding.vacuous = _vacuous(antecedents, bounded, inductive)
    present = {finding.number for finding in found}
    for facts in prepared.properties:
        if facts["number"] not in present:
            message = "not part of the design: its module is never instantiated, or its generate branch not taken"
            found.append(_finding(facts, "", (Verdict.ABSENT, 0, message, None)))
    return sorted(found, key=lambda one: (one.number, one.instance))


def _grouped(checks: Sequence[Instance]) -> dict[tuple[int, str], list[Instance]]:
    groups: dict[tuple[int, str], list[Instance]] = {}
    for check in checks:
        if not check.antecedent:
            groups.setdefault((check.property, check.path), []).append(check)
    return groups


def _finding(facts: dict[str, Any], path: str, judgement: _Judgement) -> Finding:
    verdict, depth, message, trace = judgement
    own = facts["label"] or facts["text"]
    return Finding(
        number=facts["number"],
        name=f"{path}.{own}" if path else own,
        kind=facts["kind"],
        file=facts["file"],
        line=facts["line"],
        verdict=verdict,
        depth=depth,
        message=message,
        trace=trace,
        text=facts["text"],
        instance=path,
    )


def _assert(numbers: list[int], bounded: Bounded, inductive: Inductive) -> _Judgement:
    failed = sorted(bounded.failed[number] for number in numbers if number in bounded.failed)
    if failed:
        step, trace = min(failed, key=lambda one: (one[0], one[1] is None))
        return Verdict.FAILED, step + 1, f"fails in step {step}", trace
    if bounded.impossible is not None:
        return _nothing_shown(bounded)
    ks = [inductive.proven[number] for number in numbers if number in inductive.proven]
    if len(ks) == len(numbers) and bounded.depth >= max(ks):
        return Verdict.PROVEN, max(ks), f"proven by induction (k = {max(ks)})", None
    why = " (time limit)" if bounded.stopped or inductive.stopped else ""
    message = f"holds in the first {bounded.depth} steps; not proven beyond{why}"
    return Verdict.INCONCLUSIVE, bounded.depth, message, None


def _nothing_shown(bounded: Bounded) -> _Judgement:
    message = f"the assumptions exclude every run of {(bounded.impossible or 0) + 1} steps, so nothing is shown"
    return Verdict.INCONCLUSIVE, bounded.depth, message, None


def _assume(_numbers: list[int], bounded: Bounded, _inductive: Inductive) -> _Judgement:
    return Verdict.ASSUMED, bounded.depth, "assumed", None


def _cover(numbers: list[int], bounded: Bounded, inductive: Inductive) -> _Judgement:
    reached = sorted(bounded.reached[number] for number in numbers if number in bounded.reached)
    if reached:
        step, trace = min(reached, key=lambda one: (one[0], one[1] is None))
        return Verdict.COVERED, step + 1, f"reached in step {step}", trace
    if bounded.impossible is not None:
        return _nothing_shown(bounded)
    if all(inductive.unreachable.get(n, bounded.depth + 1) <= bounded.depth for n in numbers):
        return Verdict.UNREACHABLE, bounded.depth, "can never be reached (proven by induction)", None
    return Verdict.NOT_COVERED, bounded.depth, f"not reached in the first {bounded.depth} steps", None


def _vacuous(antecedents: list[int], bounded: Bounded, inductive: Inductive) -> str | None:
    if not antecedents or any(number in bounded.reached for number in antecedents):
        return None
    if all(number in inductive.unreachable for number in antecedents):
        return "its antecedent can never happen (proven by induction)"
    return f"its antecedent does not happen in the first {bounded.depth} steps"
