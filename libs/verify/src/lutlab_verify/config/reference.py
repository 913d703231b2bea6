"""The configuration reference in docs/verification.md, made from the model: `python -m ... docs/verification.md`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from lutlab_verify.config.model import Config, Section
from lutlab_verify.config.shape import choices, kinds, sections

BEGIN, END = "<!-- reference: begin -->\n", "<!-- reference: end -->\n"
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def reference() -> str:
    """A table for each section: field, type, default, meaning."""
    return "\n".join(_tables(Config, ""))


def _tables(model: type[Section], path: str) -> Iterator[str]:
    leaves = [(name, info) for name, info in model.model_fields.items() if not _is_section(info)]
    if path and leaves:
        yield f"### `{path}`\n"
        yield f"{(model.__doc__ or '').splitlines()[0]}\n"
        yield "| field | value | default | |\n|---|---|---|---|"
        yield from (_row(name, info, model) for name, info in leaves)
        yield ""
    for name, info in model.model_fields.items():
        section = sections(info.annotation)[0] or _entry(info)
        if section is not None:
            dotted = f"{path}.{name}" if path else name
            yield from _tables(section, f"{dotted}[]" if _entry(info) else dotted)


def _is_section(info: FieldInfo) -> bool:
    """Whether a field is only ever a section; coverage, which may also be true or false, has a row as well."""
    section, others = sections(info.annotation)
    return section is not None and not [kind for kind in others if kind is not type(None)]


def _entry(info: FieldInfo) -> type[Section] | None:
    """The section that a list is made of."""
    arguments = getattr(info.annotation, "__args__", ())
    return sections(arguments[0])[0] if arguments and getattr(info.annotation, "__origin__", None) is tuple else None


def _row(name: str, info: FieldInfo, model: type[Section]) -> str:
    others = [other for other, own in model.SPELLINGS.items() if own == name]
    shown = " or ".join(f"`{one}`" for one in (name, *others))
    about = " ".join((info.description or "").split()).replace("|", "\\|")
    return f"| {shown} | {_type(info.annotation)} | {_default(info)} | {about} |"


def _type(annotation: Any) -> str:
    if getattr(annotation, "__origin__", None) is tuple:
        return f"list of {_type(annotation.__args__[0])}"
    if getattr(annotation, "__origin__", None) is dict:
        return "names to values"
    section, _ = sections(annotation)
    words = [f"`{word}`" for word in choices(annotation)] or [
        WORDS[kind] for kind in kinds(annotation) if kind in WORDS
    ]
    return ", ".join(words + (["a section"] if section else []))


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value == {}:
        return ""
    if isinstance(value, Section):
        value = value.model_dump()
    return f"`{json.dumps(value, default=str)}`" if value not in ("", ()) else ""


def update(text: str) -> str:
    """A document with the reference between its marks. Raises: ValueError if it has none."""
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    return f"{head}{BEGIN}\n{reference()}\n{END}{tail}"


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        document = Path(argument)
        document.write_text(update(document.read_text(encoding="utf-8")), encoding="utf-8")
