"""State diagrams in Mermaid from the transition tables: `python -m lutlab_scheduler.diagrams docs/architecture.md`.

The diagrams stand in the document between `<!-- generated: board -->` and `<!-- /generated -->` (or `job`, `agent`).
"""

from __future__ import annotations

import argparse
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

from lutlab_events import verification as verification_events
from lutlab_events.codec import EVENT_TYPES
from lutlab_scheduler.domain import agent, board, job, key, project, verification, webhook
from lutlab_scheduler.domain.machine import START, Table

DIAGRAMS: dict[str, tuple[Table[Any], frozenset[Any]]] = {
    "board": (board.TRANSITIONS, frozenset()),
    "job": (job.TRANSITIONS, job.ENDED),
    "agent": (agent.TRANSITIONS, frozenset()),
    "webhook": (webhook.TRANSITIONS, frozenset({webhook.WebhookState.DELETED})),
    "project": (project.TRANSITIONS, project.ENDED),
    "verification": (verification.TRANSITIONS, verification_events.ENDED),
    "key": (key.TRANSITIONS, frozenset({key.KeyState.REVOKED})),
}
MARKER = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- /generated -->)", re.DOTALL)
STORED_NAMES = {cls: name for name, cls in EVENT_TYPES.items()}


def _label(event: type) -> str:
    """An event as a diagram names it: `programming_started`."""
    return STORED_NAMES[event].split(".")[1]


def mermaid(table: Table[Any], ends: frozenset[StrEnum]) -> str:
    """A table as a Mermaid state diagram. Events that lead back to the same state are left out where they only note."""
    lines = ["stateDiagram-v2"]
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, event), targets in table.items():
        for after in targets:
            if before != after:
                source = "[*]" if before == START else str(before)
                arrows.setdefault((source, str(after)), []).append(_label(event))
    for (source, after), labels in arrows.items():
        lines.append(f"    {source} --> {after}: {', '.join(labels)}")
    lines += [f"    {end} --> [*]" for end in sorted(ends)]
    return "\n".join(lines)


def fill(text: str) -> str:
    """A document with its generated parts brought up to date."""

    def replace(match: re.Match[str]) -> str:
        table, ends = DIAGRAMS[match[2]]
        return f"{match[1]}\n```mermaid\n{mermaid(table, ends)}\n```\n\n{match[3]}"

    return MARKER.sub(replace, text)


def main() -> None:
    """Bring documents up to date, or say which are not."""
    parser = argparse.ArgumentParser(prog="python -m lutlab_scheduler.diagrams", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a document is out of date")
    parser.add_argument("document", type=Path, nargs="+")
    args = parser.parse_args()
    stale: list[Path] = []
    for path in args.document:
        text = path.read_text()
        if fill(text) != text:
            stale.append(path)
            if not args.check:
                path.write_text(fill(text))
    if args.check and stale:
        sys.exit(f"out of date: {', '.join(map(str, stale))}; run python -m lutlab_scheduler.diagrams on them")


if __name__ == "__main__":
    main()
