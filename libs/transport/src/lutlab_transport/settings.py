"""What every service is told in the same words, and how it says which settings there are and which are wrong."""

from __future__ import annotations

import logging
import re
import socket
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from lutlab_events.subjects import token

Name = Annotated[str, AfterValidator(token)]
"""What may stand between dots in a subject."""


def _level(value: str) -> str:
    if value.upper() not in logging.getLevelNamesMapping():
        raise ValueError(f"{value!r} must be DEBUG, INFO, WARNING or ERROR")
    return value.upper()


class ServiceSettings(BaseSettings):
    """What every service can be told; a service's own settings derive from it, and each is an environment variable.

    A field's variable is the class' prefix and the field's name in capitals, unless the field has an alias. Its
    `description` is what `--help` says of it.
    """

    model_config = SettingsConfigDict(env_prefix="LUTLAB_", frozen=True, extra="ignore", populate_by_name=True)

    site: Name = Field(default="main", validation_alias="LUTLAB_SITE", description="the lab's name")
    nats_url: str = Field(
        default="nats://127.0.0.1:4222",
        validation_alias="LUTLAB_NATS_URL",
        description="where NATS is: one server, or several separated by commas",
    )
    nats_nkey_seed_file: Path | None = Field(
        default=None,
        validation_alias="LUTLAB_NATS_NKEY_SEED_FILE",
        description="file with the nkey seed, where NATS asks for one",
    )
    nats_token: SecretStr | None = Field(
        default=None, validation_alias="LUTLAB_NATS_TOKEN", description="NATS' token, where it asks for one"
    )
    log_level: Annotated[str, AfterValidator(_level)] = Field(
        default="INFO", validation_alias="LUTLAB_LOG_LEVEL", description="DEBUG, INFO, WARNING or ERROR"
    )
    otlp_endpoint: str = Field(
        default="",
        validation_alias="LUTLAB_OTLP_ENDPOINT",
        description="where traces go by OTLP over HTTP, e.g. http://127.0.0.1:4318; empty: none are made",
    )

    @property
    def nats_token_text(self) -> str | None:
        """NATS' token in the clear."""
        return None if self.nats_token is None else self.nats_token.get_secret_value()


class SettingsInvalid(ValueError):
    """Environment variables, or options given instead of them, that are missing or wrong; the message names each."""

    code = "settings_invalid"


S = TypeVar("S", bound=BaseSettings)


def read_settings(settings: type[S], **given: Any) -> S:
    """The settings the environment makes.

    Args:
        given: settings that were given in another way and come first, by the field's name; None where they were not.

    Raises:
        SettingsInvalid: some are missing or wrong.
    """
    try:
        return settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        variables = {name: variable for variable, (name, _) in _fields(settings).items()}
        told = [(str(problem["loc"][0]), problem["msg"]) for problem in error.errors()]
        raise SettingsInvalid("; ".join(f"{variables.get(where, where)}: {what}" for where, what in told)) from None


def variables_of(settings: type[BaseSettings]) -> dict[str, FieldInfo]:
    """The environment variables a class reads, by their names, in the order of its fields."""
    return {variable: field for variable, (_, field) in _fields(settings).items()}


def described(settings: type[BaseSettings]) -> str:
    """The environment variables a class reads, for `--help`: what each says and what holds without it."""
    lines = ["environment:"]
    for variable, field in variables_of(settings).items():
        lines += [f"  {variable}", f"      {field.description}{_without(field)}"]
    return "\n".join(lines)


def host_name(otherwise: str, chars_max: int = 64) -> str:
    """A valid `Name` from the host's: what may not stand in a subject becomes `-`; `otherwise` if nothing is left."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname()).strip("-")[:chars_max] or otherwise


def _fields(settings: type[BaseSettings]) -> dict[str, tuple[str, FieldInfo]]:
    prefix = settings.model_config.get("env_prefix", "")
    return {
        field.validation_alias if isinstance(field.validation_alias, str) else f"{prefix}{name}".upper(): (name, field)
        for name, field in settings.model_fields.items()
    }


def _without(field: FieldInfo) -> str:
    if field.is_required():
        return " (required)"
    return "" if field.default_factory is not None or field.default in (None, "") else f" (default: {field.default})"
