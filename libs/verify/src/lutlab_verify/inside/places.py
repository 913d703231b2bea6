"""Paths as tools say them, turned into paths of the project."""

from __future__ import annotations

import os

SOURCES = "src"


def project_path(said: str) -> str | None:
    """A path relative to the project's root, None for files outside of it; tools may have resolved links."""
    root = os.path.realpath(SOURCES)
    real = os.path.realpath(said)
    return os.path.relpath(real, root).replace(os.sep, "/") if real.startswith(root + os.sep) else None
