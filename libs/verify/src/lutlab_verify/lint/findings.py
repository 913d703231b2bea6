"""Findings of several tools made into one list: merged, sorted, and with what is waived marked."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lutlab_verify.config.globs import BadPattern, match
from lutlab_verify.config.model import Waiver

ERROR, WARNING = "error", "warning"
UNSUPPORTED = "UNSUPPORTED"
"""Verilator's rule for what it does not know; of syntax it does not know it says `syntax error`."""
_SAME = {
    "LATCH": "latch",
    "UNOPTFLAT": "combinational-loop",
    "MULTIDRIVEN": "multiple-drivers",
    "ASSIGNIN": "multiple-drivers",
    "BLKANDNBLK": "multiple-drivers",
}
"""Verilator's rules that mean the same as one of the structural checks."""


@dataclass(frozen=True)
class Finding:
    """One thing a tool found.

    Attributes:
        file: relative to the project; None if it is about the design as a whole.
        line, column: from 1; None where `file` is.
        rule: the tool's name for it.
        severity: `error` or `warning`.
        message: one line.
        tool: `slang`, `verilator`, `yosys` or `lutlab`.
        waived: the waiver's reason, None if it counts.
        signals: names it is about, to recognise it in another tool's words.
        aliases: rules of other tools' findings that this one stands for; a waiver may name them too.
    """

    file: str | None
    line: int | None
    column: int | None
    rule: str
    severity: str
    message: str
    tool: str
    waived: str | None = None
    signals: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As in a result's details."""
        fields = asdict(self)
        del fields["signals"], fields["aliases"]
        return fields


def merge(slang: Sequence[Finding], verilator: Sequence[Finding], yosys: Sequence[Finding]) -> list[Finding]:
    """One list without repetitions, in the order of files and lines.

    With errors from slang, those of the other tools follow from them and are dropped. What yosys finds in the
    structure stands for a warning of Verilator about the same signal or line. Without errors from slang, what Verilator
    cannot read is no mistake of the design, and a warning.
    """
    if any(finding.severity == ERROR for finding in slang):
        verilator = [finding for finding in verilator if finding.severity != ERROR]
        yosys = []
    verilator = [_beyond(finding) for finding in verilator]
    kept = [finding for finding in verilator if not any(_same(finding, other) for other in yosys)]
    structural = [
        replace(other, aliases=tuple({finding.rule for finding in verilator if _same(finding, other)}))
        for other in yosys
    ]
    unique = {(f.file, f.line, f.column, f.rule, f.message): f for f in [*slang, *kept, *structural]}
    return sorted(unique.values(), key=lambda f: (f.file or "", f.line or 0, f.column or 0, f.rule, f.message))


def _beyond(finding: Finding) -> Finding:
    """A warning in place of an error that only says what Verilator does not know."""
    if finding.severity != ERROR or not (finding.rule == UNSUPPORTED or finding.message.startswith("syntax error")):
        return finding
    return replace(
        finding, rule=UNSUPPORTED, severity=WARNING, message=f"Verilator reads no further: {finding.message}"
    )


def _same(ours: Finding, structural: Finding) -> bool:
    if _SAME.get(ours.rule) != structural.rule:
        return False
    if (ours.file, ours.line) == (structural.file, structural.line):
        return True
    words = {word.rpartition(".")[2] for word in re.findall(r"'([^']+)'", ours.message)}
    return bool(words & set(structural.signals))


def waive(findings: Iterable[Finding], waivers: Sequence[Waiver], config_file: str) -> list[Finding]:
    """Mark what is waived; a waiver that nothing matches is a finding itself. Errors cannot be waived."""
    used: set[int] = set()
    marked = []
    for finding in findings:
        hits = [index for index, waiver in enumerate(waivers) if _matches(waiver, finding)]
        used.update(hits)
        marked.append(replace(finding, waived=waivers[hits[0]].reason) if hits else finding)
    for index, waiver in enumerate(waivers):
        if index not in used:
            where = f" in {waiver.file}" + (f" line {waiver.line}" if waiver.line else "")
            message = f"waiver {index + 1} ({waiver.rule}{where}) matches no finding; delete it, or correct it"
            marked.append(Finding(config_file, None, None, "unused-waiver", WARNING, message, "lutlab"))
    return marked


def _matches(waiver: Waiver, finding: Finding) -> bool:
    return (
        finding.severity == WARNING
        and any(fnmatch.fnmatchcase(rule, waiver.rule) for rule in (finding.rule, *finding.aliases))
        and _in_files(waiver.file, finding.file or "")
        and waiver.line in (None, finding.line)
        and (waiver.message is None or waiver.message in finding.message)
    )


def _in_files(pattern: str, file: str) -> bool:
    """Whether a waiver's pattern matches, in bounded time; one that is no pattern matches nothing, and is told."""
    try:
        return bool(match(pattern, [file]))
    except BadPattern:
        return False
