"""How far `lutlab-builder warm` is, from what it prints: `[2/3] compiling ecppack (why it takes time) ... 1.2 s`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_STEP = re.compile(r"^\[(?P<number>\d+)/(?P<total>\d+)\] (?P<text>.*?) \.\.\. ?(?P<outcome>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class WarmStep:
    """One step: its place from 1, what it does and why; `outcome` is empty while it runs."""

    number: int
    total: int
    text: str
    outcome: str


def last_step(printed: str) -> WarmStep | None:
    """The newest step in what was printed so far, None before the first."""
    steps = list(_STEP.finditer(printed))
    if not steps:
        return None
    step = steps[-1]
    return WarmStep(int(step["number"]), int(step["total"]), step["text"], step["outcome"].strip())
