"""Reading configurations behind the port `Checker`: names of files matter, their contents do not."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lutlab_api.domain.errors import ApiError, Code, Invalid
from lutlab_verify.config import ConfigError, load, refuse_unsupported
from lutlab_verify.stage import Stage, Unsupported

CHECKS_MAX = 4
"""Configurations read at once."""


class ConfigChecker:
    """Implements the port `Checker`; reads in threads, since a configuration may be long."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(CHECKS_MAX)

    async def check(
        self,
        files: Mapping[str, bytes],
        overrides: Mapping[str, Any],
        stages: Sequence[str],
        tools: Collection[str] | None,
    ) -> None:
        """Pass what can be carried out. Raises: Invalid; ApiError `tool_error`."""
        async with self._slots:
            await asyncio.to_thread(_check, files, overrides, stages, tools)


def _check(
    files: Mapping[str, bytes], overrides: Mapping[str, Any], stages: Sequence[str], tools: Collection[str] | None
) -> None:
    try:
        project = load(files, overrides)
        refuse_unsupported(project.config, [Stage(stage) for stage in stages], tools)
    except ConfigError as error:
        raise Invalid(Code.VALIDATION_ERROR, str(error), details={**error.details, "file": error.file}) from error
    except Unsupported as error:
        raise ApiError(Code.TOOL_ERROR, str(error), details={"field": error.field} if error.field else {}) from error
