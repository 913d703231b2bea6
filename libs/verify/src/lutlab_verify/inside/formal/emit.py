"""Prints a syntax tree after the preprocessor, and remembers for every line of the print where it comes from.

Macros are expanded and includes inlined, because a property may come out of either. Lines stay where they were
as far as that is possible, so that the print of a plain file reads like the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

REPLAY = "lutlab_replay"
"""The module of a replay's test bench, which the checks in a replayed design look into."""
PAD_LINES_MAX = 500
"""Up to so many lines without a token are kept as empty lines; a longer gap starts anew."""


@dataclass(frozen=True)
class Place:
    """A position in a source: path relative to the project, line from 1."""

    file: str
    line: int


@dataclass
class Print:
    """Text under construction."""

    lines: list[str] = field(default_factory=lambda: [""])
    places: list[Place | None] = field(default_factory=lambda: [None])
    _at: Place | None = None

    def move(self, place: Place) -> None:
        """Go to a line of a source: by empty lines where that is near, by a new line otherwise."""
        if place == self._at:
            return
        at = self._at
        gap = place.line - at.line if at is not None and at.file == place.file else 0
        if at is None and place.line <= PAD_LINES_MAX:
            gap = place.line - 1
        if not 0 <= gap <= PAD_LINES_MAX or (at is not None and gap == 0):
            gap = 1
        for left in range(gap, 0, -1):
            self._break(Place(place.file, max(1, place.line - left + 1)))
        self.places[-1] = place
        self._at = place

    def write(self, text: str, *, glued: bool = False) -> tuple[int, int]:
        """Add text without line ends, after a space unless `glued`. Returns: line and column of it, from 1."""
        line = self.lines[-1]
        if line and not glued:
            line += " "
        self.lines[-1] = line + text
        return len(self.lines), len(line) + 1

    def fresh(self) -> None:
        """A new line of the print for the same line of the source."""
        if self.lines[-1]:
            self._break(self._at)

    def text(self) -> str:
        """Everything so far."""
        return "\n".join(self.lines) + "\n"

    def _break(self, place: Place | None) -> None:
        self.lines.append("")
        self.places.append(place)
