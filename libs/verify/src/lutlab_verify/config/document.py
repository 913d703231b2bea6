"""YAML and JSON values as one small tree that knows where each value stands.

The parser's events are walked, not its values: that bounds depth, size and aliases before anything is built, and keeps
the text of every scalar, so that `version: 1.10` stays `1.10`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode

from lutlab_verify.config.errors import ConfigError, Problem

BYTES_MAX = 64 << 10
DEPTH_MAX = 12
NODES_MAX = 5_000
ALIASES_MAX = 100
TAG = "tag:yaml.org,2002:"
TAGS = frozenset({"str", "int", "float", "bool", "null", "map", "seq"})

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Node:
    """A value and where it stands.

    Attributes:
        line: from 1; None for an override.
        scalar, text: a scalar's value and how it is written.
        entries: of a mapping: key -> (line of the key, value).
        items: of a sequence.
        size: how many nodes it is made of, with aliases written out.
    """

    line: int | None = None
    scalar: Scalar = None
    text: str = ""
    entries: Mapping[str, tuple[int | None, Node]] | None = None
    items: tuple[Node, ...] | None = None
    size: int = 1

    @property
    def kind(self) -> str:
        """What it is, for a person."""
        if self.entries is not None:
            return "a mapping"
        if self.items is not None:
            return "a list"
        if self.scalar is None:
            return "nothing"
        return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[type(self.scalar)]

    @property
    def is_scalar(self) -> bool:
        """Whether it is neither a mapping nor a list."""
        return self.entries is None and self.items is None


def read(data: bytes | str, file: str) -> Node:
    """The tree of a YAML document.

    Raises:
        ConfigError: it is not YAML, or larger, deeper or more entangled than a configuration may be.
    """
    text = _decoded(data, file)
    try:
        root = _Builder(file).build(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise _wrong(f"not YAML: {said}", file, None if mark is None else mark.line + 1) from error
    except (YAMLError, ValueError, OverflowError) as error:
        raise _wrong(f"not YAML: {str(error).splitlines()[0]}", file) from error
    if root is None or (root.is_scalar and root.scalar is None):
        raise _wrong("the file is empty; `lutlab config init` writes one to begin with", file)
    return root


def of_json(value: object, where: str) -> Node:
    """The tree of a JSON value. Raises: ConfigError for anything JSON has no word for, or too much of it."""
    return _of_json(value, where, 0)


def override_of(text: str) -> tuple[str, object]:
    """An override as a command line has it, `verification.formal.depth=50`; its value is read as YAML.

    Raises:
        ConfigError: there is no `=`, or the value is not YAML.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise _override(f"{text!r} is not of the form path=value, e.g. verification.formal.depth=50", path)
    return path.strip(), to_json(read(value, "override") if value.strip() else Node(scalar="", text=""))


def to_json(node: Node) -> object:
    """A tree as JSON values."""
    if node.entries is not None:
        return {key: to_json(child) for key, (_, child) in node.entries.items()}
    if node.items is not None:
        return [to_json(item) for item in node.items]
    return node.scalar


def _of_json(value: object, where: str, depth: int) -> Node:
    if depth > DEPTH_MAX:
        raise _override(f"nested deeper than {DEPTH_MAX} levels", where)
    if isinstance(value, Mapping):
        entries = {str(key): (None, _of_json(item, where, depth + 1)) for key, item in value.items()}
        return Node(entries=entries, size=_limited(1 + sum(n.size for _, n in entries.values()), where))
    if isinstance(value, list | tuple):
        items = tuple(_of_json(item, where, depth + 1) for item in value)
        return Node(items=items, size=_limited(1 + sum(n.size for n in items), where))
    if isinstance(value, str):
        return Node(scalar=value, text=value)
    if value is None or isinstance(value, bool | int | float):
        return Node(scalar=value, text=json.dumps(value))
    raise _override(f"a {type(value).__name__} is not a JSON value", where)


def _limited(size: int, where: str) -> int:
    if size > NODES_MAX:
        raise _override(f"more than {NODES_MAX} values", where)
    return size


def _override(message: str, where: str) -> ConfigError:
    return ConfigError([Problem(message, where)], file="config_overrides")


def _wrong(message: str, file: str, line: int | None = None) -> ConfigError:
    return ConfigError([Problem(message if line is None else f"{message} (line {line})", line=line)], file=file)


def _decoded(data: bytes | str, file: str) -> str:
    size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "surrogatepass"))
    if size > BYTES_MAX:
        raise _wrong(f"{size} bytes; a configuration has at most {BYTES_MAX}", file)
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(f"not UTF-8 text (byte {error.start})", file) from error


@dataclass
class _Open:
    """A mapping or list that has not ended yet."""

    line: int
    anchor: str | None
    entries: dict[str, tuple[int | None, Node]] | None
    items: list[Node] = field(default_factory=list)
    key: Node | None = None


class _Builder:
    """Turns a parser's events into a tree, within limits."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._yaml = YAML(typ="safe", pure=True)
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._aliases = 0
        self._nodes = 0
        self._documents = 0
        self._root: Node | None = None

    def build(self, text: str) -> Node | None:
        for event in self._yaml.parse(text):
            self._take(event, 1 if event.start_mark is None else event.start_mark.line + 1)
        return self._root

    def _take(self, event: Event, line: int) -> None:
        match event:
            case DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise _wrong("a second document begins; a configuration is one", self._file, line)
            case MappingStartEvent() | SequenceStartEvent():
                self._begin(event, line)
            case CollectionEndEvent():
                self._end()
            case AliasEvent():
                self._put(self._alias(event, line), None)
            case ScalarEvent():
                self._put(self._scalar(event, line), event.anchor)
            case _:
                pass

    def _begin(self, event: NodeEvent, line: int) -> None:
        if len(self._open) >= DEPTH_MAX:
            raise _wrong(f"nested deeper than {DEPTH_MAX} levels", self._file, line)
        self._plain(event, line)
        mapping = isinstance(event, MappingStartEvent)
        self._open.append(_Open(line, event.anchor, {} if mapping else None))

    def _end(self) -> None:
        done = self._open.pop()
        if done.entries is not None:
            size = 1 + sum(node.size for _, node in done.entries.values())
            node = Node(line=done.line, entries=done.entries, size=size)
        else:
            node = Node(line=done.line, items=tuple(done.items), size=1 + sum(item.size for item in done.items))
        self._put(node, done.anchor)

    def _alias(self, event: NodeEvent, line: int) -> Node:
        self._aliases += 1
        if self._aliases > ALIASES_MAX:
            raise _wrong(f"more than {ALIASES_MAX} aliases", self._file, line)
        node = self._anchors.get(event.anchor or "")
        if node is None:
            raise _wrong(f"alias *{event.anchor} has no anchor &{event.anchor} before it", self._file, line)
        self._count(node.size, line)
        return node

    def _count(self, nodes: int, line: int) -> None:
        self._nodes += nodes
        if self._nodes > NODES_MAX:
            raise _wrong(f"more than {NODES_MAX} values, with aliases written out", self._file, line)

    def _plain(self, event: NodeEvent, line: int) -> None:
        self._count(1, line)
        tag = getattr(event, "tag", None)
        if tag is not None and str(tag).removeprefix("!!").removeprefix(TAG) not in TAGS:
            raise _wrong(f"tag {tag} means nothing here", self._file, line)

    def _scalar(self, event: ScalarEvent, line: int) -> Node:
        self._plain(event, line)
        text = event.value
        tag = str(self._yaml.resolver.resolve(ScalarNode, text, event.implicit)).removeprefix(TAG)
        if event.tag is not None:
            tag = str(event.tag).removeprefix("!!").removeprefix(TAG)
        return Node(line=line, scalar=_value(tag, text), text=text)

    def _put(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        if parent.entries is None:
            parent.items.append(node)
        elif parent.key is None:
            if not node.is_scalar:
                raise _wrong("a key that is no text", self._file, node.line)
            parent.key = node
        else:
            self._enter(parent, parent.key, node)

    def _enter(self, parent: _Open, key: Node, node: Node) -> None:
        assert parent.entries is not None
        if key.text in parent.entries:
            first = parent.entries[key.text][0]
            raise _wrong(f"{key.text!r} is there twice, first in line {first}", self._file, key.line)
        parent.entries[key.text] = (key.line, node)
        parent.key = None


def _value(tag: str, text: str) -> Scalar:
    """A plain scalar's value, by YAML 1.2 (`on` and `yes` are text)."""
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() == "true"
    if tag == "int":
        return int(text.replace("_", ""), 0) if text.lstrip("+-")[:2].lower() in ("0x", "0o", "0b") else int(text)
    if tag == "float":
        return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    return text


def with_value(root: Node, path: Sequence[str], value: Node) -> Node:
    """The tree with another value at a path; mappings on the way are made where there are none."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if root.items is not None and head.isdecimal() and int(head) < len(root.items):
        at = int(head)
        items = (*root.items[:at], with_value(root.items[at], rest, value), *root.items[at + 1 :])
        return replace(root, items=items)
    entries = dict(root.entries or {})
    line, child = entries.get(head, (None, Node()))
    entries[head] = (line if rest else None, with_value(child, rest, value))
    return Node(line=root.line, entries=entries, size=root.size + value.size)
