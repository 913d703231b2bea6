"""Settings from environment variables: read with one readable sentence for each mistake, and explained in `--help`."""

from __future__ import annotations

import logging
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import nkeys
from pydantic import AfterValidator, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from lutlab_events import subjects

S = TypeVar("S", bound=BaseSettings)

EXIT_USAGE = 2
NATS_SCHEMES = ("nats", "tls", "ws", "wss")
COLUMNS_MAX = 100
INDENT = " " * 6
SECRET = re.compile(r"SecretStr|SecretBytes")


def _known_level(value: str) -> str:
    if value.upper() not in logging.getLevelNamesMapping():
        raise ValueError(f"{value!r} is none of DEBUG, INFO, WARNING, ERROR")
    return value.upper()


LogLevel = Annotated[str, AfterValidator(_known_level)]
"""The name of a log level, in capitals."""


def _servers(value: str) -> str:
    for part in value.split(","):
        scheme, separator, rest = part.strip().rpartition("://")
        if separator and scheme not in NATS_SCHEMES:
            raise ValueError(f"{scheme}:// is no way to NATS: {', '.join(f'{known}://' for known in NATS_SCHEMES)}")
        try:
            host = urlsplit(f"nats://{rest}")
            if not host.hostname or host.port == 0:
                raise ValueError
        except ValueError:
            raise ValueError("each server is nats://HOST:PORT, several are separated by commas") from None
    return value


def _database(value: str) -> str:
    if not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("a database is postgresql://USER:PASSWORD@HOST:PORT/NAME")
    return value


Site = Annotated[str, AfterValidator(subjects.token)]
"""The lab's name, looked at when a service starts: it stands in every subject."""
NatsUrl = Annotated[str, AfterValidator(_servers)]
DatabaseUrl = Annotated[str, AfterValidator(_database)]


def _readable_seed(path: Path) -> Path:
    try:
        nkeys.from_seed(bytearray(path.read_bytes().strip()))
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except (nkeys.NkeysError, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} holds no nkey seed; deploy/nats/accounts.py writes one for each client"
        ) from error
    return path


SeedFile = Annotated[Path, AfterValidator(_readable_seed)]
"""A file with an nkey seed, looked at when a service starts: a wrong one would only show as logins that fail."""


def variables(kind: type[BaseSettings]) -> Iterator[tuple[str, FieldInfo]]:
    """The environment variable of each field."""
    prefix = kind.model_config.get("env_prefix", "")
    for name, field in kind.model_fields.items():
        alias = field.validation_alias
        yield (alias if isinstance(alias, str) else f"{prefix}{name}".upper()), field


def default_of(field: FieldInfo) -> str:
    """What is used where the variable is not set, in words."""
    if field.is_required():
        return "must be set"
    value = field.get_default(call_default_factory=True)
    if value is None or value == "":
        return "not set"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def explained(kind: type[BaseSettings]) -> str:
    """Every variable with what it means and its default, as the end of a `--help`."""
    columns = min(shutil.get_terminal_size().columns, COLUMNS_MAX)
    lines = ["environment:"]
    for variable, field in variables(kind):
        text = f"{field.description} ({default_of(field)})"
        wrapped = textwrap.wrap(text, columns, initial_indent=INDENT, subsequent_indent=INDENT, break_long_words=False)
        lines += [f"  {variable}", *wrapped]
    return "\n".join(lines)


def mistakes(kind: type[BaseSettings], error: ValidationError) -> str:
    """Which variables are missing or wrong, with their values unless they are secret."""
    fields = dict(zip(kind.model_fields, variables(kind), strict=True))
    by_place = fields | {variable: (variable, field) for variable, field in fields.values()}
    return "; ".join(_mistake(*by_place[str(item["loc"][0])], item) for item in error.errors())


def _mistake(variable: str, field: FieldInfo, item: Any) -> str:
    if item["type"] == "missing":
        return f"{variable} is not set: {field.description}"
    message, value = str(item["msg"]).removeprefix("Value error, "), repr(item["input"])
    # A URL may have a password in it.
    named = value in message or SECRET.search(str(field.annotation)) or variable.endswith("_URL")
    return f"{variable}{'' if named else f'={value}'}: {message}"


def read(kind: type[S], program: str, **given: Any) -> S:
    """The settings of a program; `given` comes before the environment.

    Raises:
        SystemExit: something is missing or wrong; it was said on standard error.
    """
    try:
        return kind(**given)
    except ValidationError as error:
        sys.stderr.write(f"{program}: {mistakes(kind, error)}\n")
        raise SystemExit(EXIT_USAGE) from None
