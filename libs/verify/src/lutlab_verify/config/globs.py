"""Patterns of file names: `*` and `?` inside one folder, `**` over any number of folders, `[a-z]`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

PATTERN_CHARS_MAX = 300


class BadPattern(ValueError):
    """A pattern that can match nothing inside a project, or too long a one."""


def is_pattern(text: str) -> bool:
    """Whether it has wildcards."""
    return any(sign in text for sign in "*?[")


def match(pattern: str, names: Iterable[str]) -> list[str]:
    """The names a pattern matches, sorted. Raises: BadPattern."""
    parts = normal(pattern).split("/")
    return sorted(name for name in names if _matches(parts, name.split("/")))


def normal(pattern: str) -> str:
    """A pattern without `./` and doubled slashes.

    Raises:
        BadPattern: absolute, leads out of the project, or too long.
    """
    if len(pattern) > PATTERN_CHARS_MAX:
        raise BadPattern(f"longer than {PATTERN_CHARS_MAX} characters")
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


def _matches(pattern: list[str], name: list[str]) -> bool:
    """Whether folders and file match, part by part; at most `len(pattern) * len(name)` comparisons of parts."""
    reached = {0}  # how many parts of the name the pattern so far may have taken
    for at, part in enumerate(pattern):
        if part != "**":
            reached = {n + 1 for n in reached if n < len(name) and _part_matches(_signs(part), name[n])}
        elif reached:
            last = at == len(pattern) - 1
            reached = {len(name)} if last and min(reached) < len(name) else set(range(min(reached), len(name) + 1))
        if not reached:
            return False
    return len(name) in reached


Sign = tuple[str, str]


@functools.lru_cache(maxsize=1024)
def _signs(part: str) -> tuple[Sign, ...]:
    """A part of a pattern as signs: `*`, `?`, a set of characters (`[` or `!`), or one character (`=`)."""
    out: list[Sign] = []
    at = 0
    while at < len(part):
        sign = part[at]
        close = part.find("]", at + (3 if part.startswith("[!", at) else 2)) if sign == "[" else -1
        if sign in "*?":
            if sign != "*" or out[-1:] != [("*", "")]:
                out.append((sign, ""))
        elif close > 0:
            inside = part[at + 1 : close]
            out.append(("!", _spelled(inside[1:])) if inside.startswith("!") else ("[", _spelled(inside)))
            at = close
        else:
            out.append(("=", sign))
        at += 1
    return tuple(out)


def _spelled(inside: str) -> str:
    """The characters of a set, with ranges of ASCII written out; a range from high to low has none."""
    out = ""
    at = 0
    while at < len(inside):
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside) and inside[at + 2] <= "~":
            out += "".join(map(chr, range(ord(inside[at]), ord(inside[at + 2]) + 1)))
            at += 3
        else:
            out += inside[at]
            at += 1
    return out


def _part_matches(signs: tuple[Sign, ...], text: str) -> bool:
    """Whether one folder or file name matches.

    Only the last `*` is ever gone back to: what matched before an earlier one would match no worse for taking less.
    So the time is at most `len(signs) * len(text)`, where a regular expression's would be exponential.
    """
    at = taken = 0
    star, star_taken = -1, 0
    while taken < len(text):
        if at < len(signs) and signs[at][0] == "*":
            star, star_taken = at, taken
            at += 1
        elif at < len(signs) and _sign_matches(signs[at], text[taken]):
            at, taken = at + 1, taken + 1
        elif star >= 0:
            star_taken += 1
            at, taken = star + 1, star_taken
        else:
            return False
    return all(kind == "*" for kind, _ in signs[at:])


def _sign_matches(sign: Sign, char: str) -> bool:
    kind, chars = sign
    return kind == "?" or (char not in chars if kind == "!" else char in chars)
