"""Why a design cannot be taken as it is. The engine turns these into its own errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EXIT_REFUSED = 3
"""Exit status of a program here that left a refusal in its error file."""


class Refused(Exception):
    """The sources ask for what is not supported (`unsupported`), or are wrong (`source`).

    Attributes:
        kind: `unsupported` or `source`.
        file, line: where, as far as it is known.
    """

    def __init__(self, kind: str, message: str, file: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.file = file
        self.line = line

    def write(self, path: Path) -> None:
        """Leave it for the engine."""
        facts: dict[str, Any] = {"kind": self.kind, "message": str(self), "file": self.file, "line": self.line}
        path.write_text(json.dumps(facts), encoding="utf-8")
