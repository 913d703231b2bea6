"""Fits a document to the model: unknown fields, wrong types and other spellings, each with its place.

Whether a value is in range is left to pydantic; this finds what pydantic cannot name well, and gives scalars the type
that their field has, from the text as it is written.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel

from lutlab_verify.config.document import Node
from lutlab_verify.config.errors import Problem
from lutlab_verify.config.model import Section
from lutlab_verify.config.nearest import nearest

Path = tuple[str, ...]


@dataclass
class Shaped:
    """What was found on the way: the line of every field and everything wrong."""

    lines: dict[Path, int | None] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, message: str, path: Path, line: int | None, suggestion: str | None = None) -> None:
        """Note a problem."""
        self.problems.append(Problem(message, ".".join(path), line, suggestion))


def shape(node: Node, model: type[Section], found: Shaped, path: Path = ()) -> dict[str, Any]:
    """A section's values as plain Python, for pydantic; what does not fit is noted and left out."""
    if node.is_scalar and node.scalar is None:
        return {}
    if node.entries is None:
        found.wrong(f"{_named(path)} must be a section with fields, not {_said(node)}", path, node.line)
        return {}
    values: dict[str, Any] = {}
    for key, (line, child) in node.entries.items():
        name = model.SPELLINGS.get(key, key)
        here = (*path, key)
        if name not in model.model_fields:
            _unknown(key, model, found, here, line)
        elif name in values:
            found.wrong(f"{key!r} says the same as {name!r}; keep one of them", here, line, ".".join((*path, name)))
        else:
            found.lines[(*path, name)] = line
            before = len(found.problems)
            value = _value(child, model.model_fields[name].annotation, found, (*path, name))
            if len(found.problems) == before or isinstance(value, dict):  # the rest of a section is still looked at
                values[name] = value
    return values


def _value(node: Node, annotation: Any, found: Shaped, path: Path) -> Any:
    section, others = sections(annotation)
    if section is not None and (node.entries is not None or not others):
        return shape(node, section, found, path)
    if typing.get_origin(annotation) is tuple:
        return _list(node, typing.get_args(annotation)[0], found, path)
    if typing.get_origin(annotation) is dict:
        return _mapping(node, found, path)
    wanted = kinds(annotation)
    if section is not None and not any(_fits(node, kind) for kind in wanted):
        words = [*(WORDS[kind] for kind in wanted if kind is not types.NoneType), "a section with fields"]
        found.wrong(f"{_named(path)} must be {' or '.join(words)}, not {_said(node)}", path, node.line)
        return None
    return _scalar(node, wanted, found, path)


def _list(node: Node, annotation: Any, found: Shaped, path: Path) -> tuple[Any, ...]:
    """A list; one value alone is a list of one."""
    items = node.items if node.items is not None else (node,)
    if node.entries is not None or (node.is_scalar and node.scalar is None):
        found.wrong(f"{_named(path)} must be a list, not {node.kind}", path, node.line)
        return ()
    values = []
    for at, item in enumerate(items):
        here = (*path, str(at))
        found.lines[here] = item.line
        values.append(_value(item, annotation, found, here))
    return tuple(values)


def _mapping(node: Node, found: Shaped, path: Path) -> dict[str, str]:
    """Names and texts, as of macros: nothing and `true` are a macro that is only defined."""
    if node.entries is None:
        if not (node.is_scalar and node.scalar is None):
            found.wrong(f"{_named(path)} must be a mapping of names to values, not {node.kind}", path, node.line)
        return {}
    values = {}
    for key, (line, child) in node.entries.items():
        here = (*path, key)
        found.lines[here] = line
        if not child.is_scalar:
            found.wrong(f"{_named(here)} must be one value, not {child.kind}", here, line)
        elif child.scalar is False:
            found.wrong(f"{_named(here)} is false: write 0, or leave it out if it is not to be defined", here, line)
        else:
            values[key] = "" if child.scalar is None else "1" if child.scalar is True else child.text
    return values


def _scalar(node: Node, wanted: tuple[Any, ...], found: Shaped, path: Path) -> Any:
    for kind in wanted:
        if _fits(node, kind):
            return node.text if kind is str and node.scalar is not None else node.scalar
    expected = " or ".join(WORDS[kind] for kind in wanted)
    found.wrong(f"{_named(path)} must be {expected}, not {_said(node)}", path, node.line)
    return None


def _said(node: Node) -> str:
    """A value for a person: what it is, and its text where that says more."""
    if not node.is_scalar or node.scalar is None:
        return node.kind
    return node.text if isinstance(node.scalar, bool) else f"{node.kind} {node.text[:60]!r}"


WORDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    types.NoneType: "nothing",
}


def _is(*accepted: type) -> Callable[[object], bool]:
    return lambda scalar: type(scalar) in accepted


FITS: dict[Any, Callable[[object], bool]] = {
    str: _is(str, int, float, bool),
    int: _is(int),
    float: _is(int, float),
    bool: _is(bool),
    types.NoneType: _is(types.NoneType),
}


def _fits(node: Node, kind: Any) -> bool:
    return node.is_scalar and kind in FITS and FITS[kind](node.scalar)


def _named(path: Path) -> str:
    return f"'{'.'.join(path)}'" if path else "a configuration"


def sections(annotation: Any) -> tuple[type[Section] | None, tuple[Any, ...]]:
    """The section among a field's types, and the other types."""
    section: type[Section] | None = None
    others: list[Any] = []
    for kind in _members(annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            assert issubclass(kind, Section)
            section = kind
        else:
            others.append(kind)
    return section, tuple(others)


def kinds(annotation: Any) -> tuple[Any, ...]:
    """The scalar types a field takes, the narrowest first, so that `3` is a number where both are allowed."""
    found: list[Any] = []
    for kind in _members(annotation):
        if typing.get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
            found.append(str)
        elif kind in FITS:
            found.append(kind)
    order = [types.NoneType, bool, int, float, str]
    return tuple(sorted(dict.fromkeys(found), key=order.index))


def choices(annotation: Any) -> tuple[str, ...]:
    """The words a field may have; empty if it is free."""
    for kind in _members(annotation):
        if typing.get_origin(kind) is Literal:
            return tuple(str(word) for word in typing.get_args(kind))
        if isinstance(kind, type) and issubclass(kind, Enum):
            return tuple(str(member.value) for member in kind)
    return ()


def _members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _unknown(key: str, model: type[Section], found: Shaped, path: Path, line: int | None) -> None:
    """A field that is not there: the nearest at its level, else the same name at another."""
    near = nearest(key, [*model.model_fields, *model.SPELLINGS])
    if near is not None:
        found.wrong(f"unknown field '{key}'", path, line, ".".join((*path[:-1], near)))
        return
    elsewhere = next((known for known in every_field() if known[-1] == key), None)
    if elsewhere is not None:
        found.wrong(f"unknown field '{key}' here; it belongs elsewhere", path, line, ".".join(elsewhere))
        return
    known = ", ".join(model.model_fields)
    found.wrong(f"unknown field '{key}'; known here: {known}", path, line)


def every_field(model: type[Section] | None = None, path: Path = ()) -> Iterator[Path]:
    """The path of every field of the schema, sections before their fields."""
    from lutlab_verify.config.model import Config  # noqa: PLC0415 - the root is the default, and only that

    for name, info in (model or Config).model_fields.items():
        yield (*path, name)
        section, _ = sections(info.annotation)
        if section is not None:
            yield from every_field(section, (*path, name))
