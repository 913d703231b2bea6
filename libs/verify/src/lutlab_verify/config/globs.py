"""Patterns of file names: `*` and `?` inside one folder, `**` over any number of folders, `[a-z]`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

PATTERN_CHARS_MAX = 300
STARS_MAX = 8
"""Wildcards of one pattern; matching takes at most about the name's length to this power, so that it is bounded."""


class BadPattern(ValueError):
    """A pattern that can match nothing inside a project, or too costly to match."""


def is_pattern(text: str) -> bool:
    """Whether it has wildcards."""
    return any(sign in text for sign in "*?[")


def match(pattern: str, names: Iterable[str]) -> list[str]:
    """The names a pattern matches, sorted. Raises: BadPattern."""
    expression = _compiled(normal(pattern))
    return sorted(name for name in names if expression.fullmatch(name))


def normal(pattern: str) -> str:
    """A pattern without `./` and doubled slashes.

    Raises:
        BadPattern: absolute, leads out of the project, or too long.
    """
    if len(pattern) > PATTERN_CHARS_MAX or pattern.count("*") > STARS_MAX * 2:
        raise BadPattern(f"longer than {PATTERN_CHARS_MAX} characters or more than {STARS_MAX} wildcards")
    if "\\" in pattern or "\0" in pattern:
        raise BadPattern("folders are separated by /")
    if pattern.startswith(("/", "~")) or re.match(r"[A-Za-z]:", pattern):
        raise BadPattern("must be relative to the project's folder")
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadPattern("leads out of the project (..)")
    if not parts and pattern.strip("./"):
        raise BadPattern("names no file")
    return "/".join(parts)


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression; runs of wildcards are merged, so that no two can match the same text."""
    parts: list[str] = []
    for part in pattern.split("/"):
        if part != "**" or parts[-1:] != ["**"]:
            parts.append(part)
    wild = sum(len(re.findall(r"\*+", part)) for part in parts)
    if wild > STARS_MAX:
        raise BadPattern(f"more than {STARS_MAX} wildcards")
    text = ""
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        if part == "**":
            text += ".*" if last else "(?:[^/]+/)*"
        else:
            text += _segment(part) + ("" if last else "/")
    return re.compile(text)


def _segment(part: str) -> str:
    """One folder or file name of a pattern as a regular expression."""
    out = ""
    at = 0
    while at < len(part):
        sign = part[at]
        close = part.find("]", at + 2) if sign == "[" else -1
        if sign == "*":
            while part[at + 1 : at + 2] == "*":
                at += 1
            out += "[^/]*"
        elif sign == "?":
            out += "[^/]"
        elif close > 0:
            inside = part[at + 1 : close]
            negated = inside.startswith("!")
            chars = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside[1:] if negated else inside)
            out += f"[{'^/' if negated else ''}{chars}]"
            at = close
        else:
            out += re.escape(sign)
        at += 1
    return out
