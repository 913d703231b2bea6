"""The configuration's JSON Schema, for editors and other programs."""

from __future__ import annotations

import copy
import functools
from typing import Any

from lutlab_verify.config.model import Config
from lutlab_verify.config.shape import sections

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ROUTE = "/api/v1/schemas/lutlab.yaml.json"
"""Where the API serves it."""
MEDIA_TYPE = "application/schema+json"


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `lutlab.yaml`, with every spelling that is read; the caller's to change."""
    return copy.deepcopy(_schema())


@functools.cache
def _schema() -> dict[str, Any]:
    found = Config.model_json_schema()
    _spellings(found)
    return {"$schema": DIALECT, "title": "lutlab.yaml", **{k: v for k, v in found.items() if k != "title"}}


def _spellings(found: dict[str, Any]) -> None:
    """Add other spellings of fields, and lists that may be one value."""
    for model in _models(Config):
        properties = found["$defs"].get(model.__name__, found)["properties"]
        for other, name in model.SPELLINGS.items():
            properties[other] = {**properties[name], "description": f"The same as `{name}`."}
        for name, value in properties.items():
            if "additionalProperties" in value:
                value["additionalProperties"] = {"anyOf": [{"type": ["string", "number", "null"]}, {"const": True}]}
            items = value.get("items", {})
            if value.get("type") == "array" and "$ref" not in items:
                about = {key: value.pop(key) for key in ("title", "description", "default") if key in value}
                properties[name] = {**about, "anyOf": [value, items]}


def _models(model: type[Any]) -> list[type[Any]]:
    inner = [sections(info.annotation)[0] for info in model.model_fields.values()]
    return [model, *(found for section in inner if section is not None for found in _models(section))]
