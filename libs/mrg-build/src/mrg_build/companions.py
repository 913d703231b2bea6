"""The files a design names, so that includes, memory images and imports work as they do beside the design."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from lutlab_builder.domain.bundle import SUFFIXES
from lutlab_events.designs import ZIP_FILES_MAX

LOOKED_AT_MAX = 2000
FILE_BYTES_MAX = 4 << 20


def upload(design: Path) -> tuple[str, bytes]:
    """File name and bytes to hand to the builder: the design alone, or a project with the files it names.

    A file in the design's folder or below is taken along if its name (of a Python file, its module's name) stands in
    the design or in a file that is taken along. Verilog modules that are only instantiated are not found so.
    """
    found = _companions(design)
    if not found:
        return design.name if design.suffix == ".py" else f"design{design.suffix}", design.read_bytes()
    manifest = {"version": 1, "entrypoint": design.name, "verilog_sources": []}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mrg-project.json", json.dumps(manifest))
        for path in (design, *found):
            archive.writestr(path.relative_to(design.parent).as_posix(), path.read_bytes())
    return "project.zip", out.getvalue()


def _companions(design: Path) -> list[Path]:
    candidates = [path for path in _near(design.parent) if path != design]
    found: list[Path] = []
    texts = [design.read_text(encoding="utf-8", errors="replace")]
    while texts:
        text = texts.pop()
        for path in candidates:
            if path in found or len(found) >= ZIP_FILES_MAX - 1 or not _is_named(path, text):
                continue
            found.append(path)
            texts.append(path.read_text(encoding="utf-8", errors="replace"))
    return sorted(found)


def _is_named(path: Path, text: str) -> bool:
    if path.suffix != ".py":
        return path.name in text
    return f"import {path.stem}" in text or f"from {path.stem} import" in text


def _near(folder: Path) -> list[Path]:
    near: list[Path] = []
    folders = [folder]
    while folders and len(near) < LOOKED_AT_MAX:
        for path in sorted(folders.pop().iterdir()):
            if path.name.startswith(".") or path.is_symlink():
                continue
            if path.is_dir():
                folders.append(path)
            elif path.suffix in SUFFIXES and path.stat().st_size <= FILE_BYTES_MAX:
                near.append(path)
    return near
