"""Become a tool: the limits hold already, the user is an ordinary one."""

from __future__ import annotations

import os
import sys
from typing import Any

NOT_STARTED = 127


def main(request: dict[str, Any]) -> int:
    """Replace this process by the tool; returns only if that does not work."""
    params = request["params"]
    argv: list[str] = params["argv"]
    try:
        os.execve(argv[0], argv, params["environment"])  # noqa: S606 - no shell
    except OSError as error:
        sys.stderr.write(f"{argv[0]} cannot be started: {error}\n")
    return NOT_STARTED
