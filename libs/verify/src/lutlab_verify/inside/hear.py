"""Runs a simulator, passes on what it prints, and notes what decides a verdict: errors, and its own end.

Whoever runs tools may cut what they print; a verdict must not depend on where. So this stands beside the simulator.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MARK = "lutlab: $finish"
"""What a simulator prints when it calls `$finish`; see `mark_finish`."""
ERRORS_MAX = 20
LINE_BYTES_MAX = 64 << 10
TEXT_CHARS_MAX = 500
_ERROR = re.compile(
    r"(?:(?:^|\[\d+\] )(?P<kind>ERROR|FATAL|%Error|%Fatal)[^:]*: |(?P<after>ERROR|FATAL): (?=src/))"
    r"(?P<file>\S+?):(?P<line>\d+)(?::\d+)?: ?(?P<text>.*)"
)
"""`$error` and `$fatal` of both tools. Icarus goes on in a line that `$write` left open: known by the file then."""


@dataclass(frozen=True)
class Said:
    """One `$error` or `$fatal`: where it stands, and its text."""

    fatal: bool
    file: str
    line: int
    text: str


@dataclass
class Heard:
    """What was noted.

    Attributes:
        finished: it called `$finish`.
        errors: the first of them.
    """

    finished: bool = False
    errors: list[Said] = field(default_factory=list)

    def line(self, text: str) -> str:
        """Take a line. Returns: what of it is for people."""
        if text.rstrip().endswith(MARK):
            self.finished = True
            return text.rstrip().removesuffix(MARK)
        found = _ERROR.search(text)
        if found is not None and len(self.errors) < ERRORS_MAX:
            fatal = "FATAL" in (found["kind"] or found["after"]).upper()
            self.errors.append(
                Said(fatal, found["file"], int(found["line"]), found["text"].strip()[:TEXT_CHARS_MAX] or "$error")
            )
        return text

    @classmethod
    def read(cls, value: Any) -> Heard:
        """From what `hear` wrote. Raises: KeyError, TypeError, ValueError."""
        errors = [Said(bool(e["fatal"]), str(e["file"]), int(e["line"]), str(e["text"])) for e in value["errors"]]
        return cls(bool(value["finished"]), errors)


def hear(program: Sequence[str], notes: Path) -> int:
    """Run a program; what was noted goes to `notes` as JSON when it ended. Returns: its exit status."""
    heard = Heard()
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    while raw := process.stdout.readline(LINE_BYTES_MAX):
        heard.line(raw.decode("utf-8", "replace"))
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
    code = process.wait()
    notes.unlink(missing_ok=True)
    notes.write_text(json.dumps(asdict(heard)), encoding="utf-8")
    if code < 0:  # end as it did
        with contextlib.suppress(OSError):  # nothing handles SIGKILL anyway
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code
