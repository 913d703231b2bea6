"""What is said when a configuration is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MESSAGE_CHARS_MAX = 600


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        message: a sentence without its end, in words of the file; of a long one the beginning and the end.
        field: the dotted path, empty for the file as a whole.
        line: in the file, from 1; None where the value came from an override or is missing altogether.
        suggestion: the dotted path or the value that was probably meant.
    """

    message: str
    field: str = ""
    line: int | None = None
    suggestion: str | None = None

    def __post_init__(self) -> None:
        """What is wrong may be as long as the file; which rule it breaks stands at the end."""
        if len(self.message) > MESSAGE_CHARS_MAX:
            half = MESSAGE_CHARS_MAX // 2
            object.__setattr__(self, "message", f"{self.message[:half]} ... {self.message[-half:]}")


class ConfigError(Exception):
    """A configuration cannot be used. The first problem is the error's own; `problems` lists all that were found.

    Attributes:
        file: the file's name, `config_overrides` if the first problem is in an override.
        field, line, suggestion: as in `Problem`.
    """

    code = "VALIDATION_ERROR"

    def __init__(self, problems: Sequence[Problem], *, file: str) -> None:
        first = problems[0]
        super().__init__(f"Invalid {file}: {first.message}")
        self.file = file
        self.field = first.field
        self.line = first.line
        self.suggestion = first.suggestion
        self.problems = tuple(problems)

    @property
    def details(self) -> dict[str, Any]:
        """The contract's `error.details`: `field` and `suggestion`, and ours beside them."""
        found: dict[str, Any] = {"field": self.field, "suggestion": self.suggestion, "line": self.line}
        if len(self.problems) > 1:
            found["problems"] = [
                {"field": p.field, "line": p.line, "message": p.message, "suggestion": p.suggestion}
                for p in self.problems
            ]
        return {name: value for name, value in found.items() if value not in (None, "")}
