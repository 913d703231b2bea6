"""C statements, cut into functions, whose nets become local variables where they can.

While statements are written, a net is the token `@number@`. When all are there, a net that is read in other functions
than the one that computes it becomes a byte of the state, and every other one a local variable.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

FUNCTION_LINES_MAX = 400
"""Statements in one C function: compilers need more than linear time for larger ones."""

_TOKEN = re.compile(r"@(\d+)@")


@dataclass(frozen=True, slots=True)
class Statement:
    """One C statement, without its semicolon where it defines a net.

    Attributes:
        text: the statement, or the value of the net.
        net: the net it computes, or None.
    """

    text: str
    net: int | None = None


@dataclass(slots=True)
class _Function:
    name: str
    lines: list[Statement] = field(default_factory=list)


def token(net: int) -> str:
    """How a computed net is written until its place is known."""
    return f"@{net}@"


class Writer:
    """Collects statements; `finish` gives the C text."""

    def __init__(self) -> None:
        self._functions: list[_Function] = []
        self._flow: list[_Function] = []
        self.field_count = 0

    def add(self, statements: list[Statement]) -> None:
        """Statements that run every cycle."""
        for statement in statements:
            self._room(1).lines.append(statement)

    def add_guarded(self, condition: str, statements: list[Statement]) -> None:
        """Statements that run where a condition holds; nothing else reads the nets they compute."""
        self._guard(f"if ({condition}) {{", statements)

    def add_choice(self, first: str, then: list[Statement], second: str, otherwise: list[Statement]) -> None:
        """`then` where `first` holds, or else `otherwise` where `second` does."""
        self._guard(f"if ({first}) {{", then)
        self._guard(f"else if ({second}) {{", otherwise, follow=True)

    def _guard(self, head: str, statements: list[Statement], follow: bool = False) -> None:
        body = statements
        if len(statements) > FUNCTION_LINES_MAX:
            body = [Statement(f"{self.outline(piece)}();") for piece in _pieces(statements)]
        # An "else" must follow its "if" in the same function.
        function = self._flow[-1] if follow else self._room(2 * len(body) + 4)
        function.lines += [Statement(head), *body, Statement("}")]

    def outline(self, statements: list[Statement]) -> str:
        """Put statements into a function of their own, which the caller calls; its name."""
        function = _Function(f"part{len(self._functions)}", statements)
        self._functions.append(function)
        return function.name

    def _room(self, lines: int) -> _Function:
        """The function to continue in."""
        if not self._flow or len(self._flow[-1].lines) + lines > FUNCTION_LINES_MAX:
            function = _Function(f"part{len(self._functions)}")
            self._functions.append(function)
            self._flow.append(function)
        return self._flow[-1]

    def finish(self) -> tuple[list[str], list[str]]:
        """The functions' text, and the statements that call them in order."""
        shared = self._shared()
        self.field_count = len(shared)
        places = {net: f"S.t[{index}]" for index, net in enumerate(sorted(shared))}
        text = [f"static void {function.name}(void);" for function in self._functions]
        for function in self._functions:
            text.append(f"static NOINLINE void {function.name}(void) {{")
            text += [_render(statement, places) for statement in function.lines]
            text.append("}")
        return text, [f"{function.name}();" for function in self._flow]

    def _shared(self) -> set[int]:
        """Nets that leave the function that computes them."""
        defined: dict[int, int] = {}
        read: dict[int, set[int]] = defaultdict(set)
        for index, function in enumerate(self._functions):
            for statement in function.lines:
                if statement.net is not None:
                    defined[statement.net] = index
                for match in _TOKEN.finditer(statement.text):
                    read[int(match[1])].add(index)
        return {net for net, index in defined.items() if read[net] - {index}}


def _render(statement: Statement, places: dict[int, str]) -> str:
    text = _TOKEN.sub(lambda match: places.get(int(match[1]), f"v{match[1]}"), statement.text)
    if statement.net is None:
        return f"  {text}"
    place = places.get(statement.net)
    return f"  {place} = {text};" if place else f"  u v{statement.net} = {text};"


def _pieces(statements: list[Statement]) -> list[list[Statement]]:
    return [statements[i : i + FUNCTION_LINES_MAX] for i in range(0, len(statements), FUNCTION_LINES_MAX)]
