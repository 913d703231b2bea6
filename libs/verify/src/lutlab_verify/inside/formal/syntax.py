"""What is needed of slang's syntax trees: where a node stands, its text, its name for people."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import Any

from pyslang import SourceManager

from lutlab_verify.inside.formal.emit import Place
from lutlab_verify.inside.formal.refuse import Refused
from lutlab_verify.inside.places import project_path

Node = Any
"""A syntax node or token of pyslang; its classes share no useful static type."""

CONSTRUCTS = {
    "UnaryPropertyExpr": "the property operator",
    "UnarySelectPropertyExpr": "the property operator",
    "StrongWeakPropertyExpr": "the property operator",
    "SequenceRepetition": "the repetition",
    "FirstMatchSequenceExpr": "first_match",
    "ClockingSequenceExpr": "a clock inside a sequence",
    "ClockingPropertyExpr": "a clock inside a property",
    "ConditionalPropertyExpr": "if in a property",
    "CasePropertyExpr": "case in a property",
    "AcceptOnPropertyExpr": "the property operator",
    "SequenceMatchList": "assignments in a sequence",
}


def kind(node: Node) -> str:
    """The kind of a node or token, without its enumeration's name."""
    return str(node.kind).rpartition(".")[2]


def is_token(node: Node) -> bool:
    """Whether it is a token."""
    return hasattr(node, "rawText")


def tokens(node: Node) -> Iterator[Node]:
    """The tokens of a node in order."""
    if is_token(node):
        if not node.isMissing:
            yield node
        return
    for child in node:
        if child is not None:
            yield from tokens(child)


def nodes(node: Node) -> Iterator[Node]:
    """A node and all below it that are no tokens."""
    yield node
    for child in node:
        if child is not None and not is_token(child):
            yield from nodes(child)


def under(node: Node, kinds: Container[str]) -> bool:
    """Whether it stands below one of these kinds, within its procedure."""
    above = node.parent
    while above is not None and not kind(above).endswith("Block"):
        if kind(above) in kinds:
            return True
        above = above.parent
    return False


def text(node: Node) -> str:
    """A node on one line, one space between tokens."""
    return " ".join(token.rawText for token in tokens(node))


def brief(node: Node) -> str:
    """A node for a message."""
    said = re.sub(r"(?<=[(\[!~@]) | (?=[)\],;])|(?<=\w) (?=[(\[])|(?<=##) |(?<=\[ \*) ", "", text(node))
    return said if len(said) <= 80 else said[:77] + "..."


class Places:
    """Turns locations into places of the project."""

    def __init__(self, manager: SourceManager) -> None:
        self._manager = manager
        self._files: dict[object, str] = {}

    def of(self, node: Node) -> Place:
        """Where a node or token stands; what a macro makes stands where the macro is used."""
        token = node if is_token(node) else next(tokens(node), None)
        location = token.location if token is not None else node.sourceRange.start
        if self._manager.isMacroLoc(location):
            location = self._manager.getFullyExpandedLoc(location)
        buffer = location.buffer
        if buffer not in self._files:
            path = str(self._manager.getFullPath(buffer))
            inside = project_path(path)
            if inside is None:
                self._refuse_outside(buffer)
            self._files[buffer] = inside or path
        return Place(self._files[buffer], self._manager.getLineNumber(location))

    def from_macro(self, token: Node) -> bool:
        """Whether a macro made a token."""
        return bool(self._manager.isMacroLoc(token.location))

    def unsupported(self, node: Node, construct: str = "") -> Refused:
        """The refusal of a construct: names it, the file and the line."""
        place = self.of(node)
        name = construct or self._named(node)
        return Refused(
            "unsupported",
            f"{place.file}:{place.line}: {name} is not supported in properties here; supported are clocked booleans, "
            "|->, |=>, ##N, ##[m:n], $past, $rose, $fell, $stable, $changed and disable iff",
            place.file,
            place.line,
        )

    def _named(self, node: Node) -> str:
        what = CONSTRUCTS.get(kind(node), "")
        operator = next((t.rawText for t in node if t is not None and is_token(t) and not t.isMissing), "")
        if what.startswith("the ") and kind(node) != "SequenceRepetition":
            what = f"{what} `{operator}`"
        elif not what:
            what = f"`{operator}`" if operator else kind(node)
        return f"{what} (in `{brief(node)}`)"

    def _refuse_outside(self, buffer: Node) -> None:
        where = self._manager.getIncludedFrom(buffer)
        inside = project_path(str(self._manager.getFullPath(where.buffer))) if where else None
        raise Refused(
            "source",
            "a file outside of the project is included; includes are found in the project's files only",
            inside,
            self._manager.getLineNumber(where) if where else None,
        )
