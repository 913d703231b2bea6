"""C statements, cut into functions, whose nets become local variables where they can.

While statements are written, a net is the token `@number@`. When all are there, a net that is read in other functions
than the one that computes it becomes a byte of the state, and every other one a local variable.

Some functions are blocks: they run only in the cycles in which something that they read has changed. Every piece of
state has a macro `MARK_<name>` that requests the blocks that read it, and a block requests the later ones that read a
net that it has changed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from lutlab_virtual_board import bulk, bulk_text
from lutlab_virtual_board.bulk_text import Functions, Written

FUNCTION_LINES_MAX = 400
"""Statements in one C function: compilers need more than linear time for larger ones."""

BLOCK_LINES = (8, 16)
"""Statements in one block, on one edge and on several: fewer run for nothing, but more blocks have to be looked at."""

_WORD_BITS = 64
_TESTED_TOGETHER = 8
"""Blocks that are skipped with one test where none of them is requested; a divisor of the word."""

_Name = str
"""A net's number as text."""


class Statement(NamedTuple):
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
    block: int | None = None
    watched: set[str] = field(default_factory=set)
    edge: int | None = None


Mask = dict[int, int]
"""Requested blocks: bits by word."""


def token(net: int) -> str:
    """How a computed net is written until its place is known."""
    return f"@{net}@"


class Writer:
    """Collects statements; `finish` gives the C text.

    Args:
        sources: names of the pieces of state that a text reads.
        several_edges: the design has more than one clock edge.
        register_group: by a register's place its group; see `Values`.
    """

    def __init__(
        self, sources: Callable[[str], set[str]], several_edges: bool = False, register_group: Sequence[int] = ()
    ) -> None:
        self._register_group = register_group
        self._sources = sources
        self._block_lines = BLOCK_LINES[several_edges]
        self._functions: list[_Function] = []
        self._flow: list[_Function] = []
        self._blocks: list[_Function] = []
        self._edges_awaited = False
        self.field_count = 0

    @property
    def word_count(self) -> int:
        """Words that hold a bit for each block."""
        return max(1, -(-len(self._blocks) // _WORD_BITS))

    def add(self, statements: list[Statement]) -> None:
        """Statements that run every cycle."""
        for statement in statements:
            self._room(1).lines.append(statement)

    def add_blocks(self, statements: list[Statement]) -> None:
        """Statements that run where something has changed; they may be cut anywhere."""
        for start in range(0, len(statements), self._block_lines):
            self.add_block(statements[start : start + self._block_lines])

    def add_block(self, statements: list[Statement], watched: Iterable[str] = (), edge: int | None = None) -> None:
        """Statements that run together where something that they read, or that is watched for them, has changed.

        Args:
            statements: of the block.
            watched: pieces of state that it depends on besides those that it reads.
            edge: the block waits for this bit of `S.edges`.
        """
        function = _Function(f"part{len(self._functions)}", statements, len(self._blocks), set(watched), edge)
        self._edges_awaited |= edge is not None
        self._blocks.append(function)
        self._functions.append(function)
        self._flow.append(function)

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
        last = self._flow[-1] if self._flow else None
        if last is None or last.block is not None or len(last.lines) + lines > FUNCTION_LINES_MAX:
            last = _Function(f"part{len(self._functions)}")
            self._functions.append(last)
            self._flow.append(last)
        return last

    # -- text -----------------------------------------------------------------------------------------------------

    def finish(self, pieces: set[str]) -> tuple[list[str], list[str]]:
        """The functions' text, and the statements that call them in order.

        Args:
            pieces: names of all state, for the macros that request its readers.
        """
        written = self._write_in_bulk()
        if written:
            self.field_count = written.field_count
            marks = self._bulk_marks(written)
            return [*self._heads(pieces, marks), *([written.text] if written.text else [])], self._calls()
        readers, blocks = self._readers()
        self.field_count = len(readers)
        places = {net: f"S.t[{index}]" for index, net in enumerate(sorted(readers, key=int))}
        marks = self._marks()
        text = self._heads(pieces, marks)
        for function in self._functions:
            text.append(f"static NOINLINE void {function.name}(void) {{")
            if function.block is None:
                text += [_render(statement, places, {}) for statement in function.lines]
            else:
                text += _render_block(function, places, blocks)
            text.append("}")
        return text, self._calls()

    def _heads(self, pieces: set[str], marks: dict[str, Mask]) -> list[str]:
        """The macros that request the readers of state, and the functions' declarations."""
        macros = [f"#define MARK_{name} {_request(marks.get(name, {}))}" for name in sorted(pieces)]
        return [*macros, *(f"static void {function.name}(void);" for function in self._functions)]

    def _write_in_bulk(self) -> Written | None:
        """All functions; None where that is not possible."""
        lib = bulk.library()
        if lib is None:
            return None
        statements = [statement for function in self._functions for statement in function.lines]
        nets = array("i", [-1 if net is None else net for _, net in statements])
        counts = (len(function.lines) for function in self._functions)
        blocks = (-1 if function.block is None else function.block for function in self._functions)
        functions = Functions(
            texts=[text for text, _ in statements],
            nets=nets,
            first=array("i", accumulate(counts, initial=0)),
            block=array("i", blocks),
            group=array("i", self._register_group),
            net_count=1 + max(nets, default=0),
        )
        return bulk_text.write(lib, functions, self.word_count)

    def _bulk_marks(self, written: Written) -> dict[str, Mask]:
        """The same as `_marks`, of what is known of registers and what reads or watches other state."""
        found = defaultdict[str, Mask](dict, {f"q_{group}": mask for group, mask in enumerate(written.marks)})
        starts = list(accumulate((len(function.lines) for function in self._functions), initial=0))
        for index in written.asked:
            at = bisect_right(starts, index) - 1
            function = self._functions[at]
            for name in self._sources(function.lines[index - starts[at]].text):
                _add(found[name], function.block)
        for function in self._blocks:
            for name in function.watched:
                _add(found[name], function.block)
        return {name: dict(sorted(mask.items())) for name, mask in found.items()}

    def _readers(self) -> tuple[set[_Name], dict[_Name, str]]:
        """Nets that leave the function that computes them, and what requests the blocks that read each of those."""
        defined: dict[_Name, int] = {}
        read: dict[_Name, list[int]] = defaultdict(list)
        for index, function in enumerate(self._functions):
            here: set[_Name] = set()
            for text, net in function.lines:
                if net is not None:
                    defined[str(net)] = index
                if "@" in text:
                    here.update(text.split("@")[1::2])
            for name in here:
                read[name].append(index)
        shared: set[_Name] = set()
        requests: dict[_Name, str] = {}
        known: dict[tuple[int, ...], str] = {}
        for name, index in defined.items():
            others = tuple([each for each in read.get(name, ()) if each != index])
            if others:
                shared.add(name)
                request = known.get(others)
                if request is None:
                    blocks = (self._functions[each].block for each in others)
                    mask = _mask(block for block in blocks if block is not None)
                    request = known[others] = _request(mask) if mask else ""
                requests[name] = request
        return shared, requests

    def _marks(self) -> dict[str, Mask]:
        """The blocks that read each piece of state."""
        found: dict[str, set[int]] = defaultdict(set)
        for number, function in enumerate(self._blocks):
            names = set(function.watched)
            for text, _ in function.lines:
                if "S." in text:
                    names |= self._sources(text)
            for name in names:
                found[name].add(number)
        return {name: _mask(blocks) for name, blocks in found.items()}

    def _calls(self) -> list[str]:
        """Statements that call the requested blocks, and then the functions that run every cycle.

        A block only requests later ones. Tests in a row are what processors foresee best: those of a busy design are
        all taken, of an idle one hardly any.
        """
        calls = self._allowed()
        for start in range(0, len(self._blocks), _TESTED_TOGETHER):
            calls += self._requested(self._blocks[start : start + _TESTED_TOGETHER])
        done = (
            f"S.run[{word}] {f'&= ~allowed[{word}]' if self._edges_awaited else '= 0'};"
            for word in range(self.word_count)
        )
        return [*calls, *done, *(f"{function.name}();" for function in self._flow if function.block is None)]

    def _requested(self, functions: list[_Function]) -> list[str]:
        """Calls of some blocks of one word that follow each other."""
        numbers = [function.block or 0 for function in functions]
        word = numbers[0] // _WORD_BITS
        requested = f"S.run[{word}]{f' & allowed[{word}]' if self._edges_awaited else ''}"
        lines = [f"if ({requested} & {_mask(numbers)[word]:#x}UL) {{"]
        lines += [
            f"  if ({requested} & {1 << number % _WORD_BITS:#x}UL) {function.name}();"
            for number, function in zip(numbers, functions, strict=True)
        ]
        return [*lines, "}"]

    def _allowed(self) -> list[str]:
        """Statements that find out which blocks may run: those that wait for no edge, or for one that is there."""
        if not self._edges_awaited:
            return []
        found: dict[int | None, set[int]] = defaultdict(set)
        for number, function in enumerate(self._blocks):
            found[function.edge].add(number)
        free = _mask(found.pop(None, ()))
        lines = [f"allowed[{word}] = {free.get(word, 0):#x}UL;" for word in range(self.word_count)]
        for edge, blocks in sorted((edge, blocks) for edge, blocks in found.items() if edge is not None):
            more = " ".join(f"allowed[{word}] |= {bits:#x}UL;" for word, bits in sorted(_mask(blocks).items()))
            lines.append(f"if (S.edges & {1 << edge}UL) {{ {more} }}")
        return lines


def _add(mask: Mask, block: int | None) -> None:
    """Put a block among others."""
    assert block is not None
    word, bit = divmod(block, _WORD_BITS)
    mask[word] = mask.get(word, 0) | 1 << bit


def _mask(blocks: Iterable[int]) -> Mask:
    mask: Mask = {}
    for block in blocks:
        mask[block // _WORD_BITS] = mask.get(block // _WORD_BITS, 0) | 1 << block % _WORD_BITS
    return mask


def _request(mask: Mask) -> str:
    parts = [f"S.run[{word}] |= {bits:#x}UL" for word, bits in sorted(mask.items())]
    return f"({', '.join(parts)})" if parts else "((void)0)"


def _render_block(function: _Function, places: dict[_Name, str], requests: dict[_Name, str]) -> list[str]:
    """A block's statements; where nets that other blocks read have changed, those are requested."""
    lines: list[str] = []
    changes: dict[str, str] = {}
    here: dict[_Name, str] = {}
    for text, net in function.lines:
        if net is None:
            lines.append(f"  {_substitute(text, places, here)}")
            continue
        name = str(net)
        place, request = places.get(name), requests.get(name)
        value = _substitute(text, places, here)
        if place is None:
            lines.append(f"  u v{name} = {value};")
        elif not request:
            lines.append(f"  {place} = {value};")
        else:
            change = changes.get(request)
            if change is None:
                change = changes[request] = f"d{len(changes)}"
            # Later statements of the block read the local variable.
            local = here[name] = f"v{name}"
            lines.append(f"  u {local} = {value};")
            lines.append(f"  {change} |= {local} ^ {place}; {place} = {local};")
    head = [f"  u {', '.join(f'{name} = 0' for name in changes.values())};"] if changes else []
    tail = [f"  if ({name}) {request};" for request, name in changes.items()]
    return [*head, *lines, *tail]


def _substitute(text: str, places: dict[_Name, str], here: dict[_Name, str]) -> str:
    """A text with the nets' places; a local variable in `here` comes before the net's place in the state."""
    if "@" not in text:
        return text
    parts = text.split("@")
    for index in range(1, len(parts), 2):
        net = parts[index]
        parts[index] = here.get(net) or places.get(net) or f"v{net}"
    return "".join(parts)


def _render(statement: Statement, places: dict[_Name, str], here: dict[_Name, str]) -> str:
    text = _substitute(statement.text, places, here)
    if statement.net is None:
        return f"  {text}"
    place = places.get(str(statement.net))
    return f"  {place} = {text};" if place else f"  u v{statement.net} = {text};"


def _pieces(statements: list[Statement]) -> list[list[Statement]]:
    return [statements[i : i + FUNCTION_LINES_MAX] for i in range(0, len(statements), FUNCTION_LINES_MAX)]
