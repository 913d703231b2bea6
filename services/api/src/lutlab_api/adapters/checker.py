"""Reading configurations behind the port `Checker`: names of files matter, their contents do not."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lutlab_api.domain.errors import ApiError, Code, Invalid
from lutlab_verify.engines import load
from lutlab_verify.project import Project
from lutlab_verify.stage import Unsupported

INVALID = "VALIDATION_ERROR"
"""The code of a configuration's errors."""
TOLD = ("field", "suggestion", "file", "line")
CHECKS_MAX = 4
"""Configurations read at once."""


class FolderChecker:
    """Lays the project out with empty files, and reads its configuration there."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(CHECKS_MAX)

    async def check(
        self, config_name: str, config: bytes, paths: Sequence[str], overrides: Mapping[str, Any]
    ) -> Project:
        """The project as its stages will see it, but with empty files. Raises: Invalid, ApiError `tool_error`."""
        async with self._slots:
            return await asyncio.to_thread(_check, config_name, config, paths, overrides)


def _check(config_name: str, config: bytes, paths: Sequence[str], overrides: Mapping[str, Any]) -> Project:
    with tempfile.TemporaryDirectory(prefix="lutlab-check-") as folder:
        root = Path(folder)
        for path in paths:
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        (root / config_name).write_bytes(config)
        try:
            return load(root, dict(overrides))
        except Unsupported as error:
            raise ApiError(Code.TOOL_ERROR, str(error), details=_about(error)) from error
        except Exception as error:
            if getattr(error, "code", None) != INVALID:
                raise
            raise Invalid(Code.VALIDATION_ERROR, str(error), details=_about(error)) from error


def _about(error: Exception) -> dict[str, Any]:
    found = {name: getattr(error, name, None) for name in TOLD}
    return {name: value if isinstance(value, int) else str(value) for name, value in found.items() if value is not None}
