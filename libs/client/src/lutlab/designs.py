"""A design as it is sent: a file as it is, several files or a folder as a project's zip."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lutlab.errors import LutlabError
from lutlab_events.designs import MANIFESTS, SOURCE_BYTES_MAX, ZIP_FILES_MAX

AnyPath = str | os.PathLike[str]
Design = AnyPath | Sequence[AnyPath] | tuple[str, bytes]
"""What `Client.submit` takes."""

MANIFEST = "lutlab-project.json"
VERILOG = frozenset({".v", ".sv"})
SUFFIXES = VERILOG | {".py", ".vh", ".svh", ".mem", ".hex"}
"""What a project may hold."""


def upload(design: Design) -> tuple[str, bytes]:
    """Name and bytes of what to send.

    Args:
        design: a file; a folder with a manifest; several files, of which the first is the entrypoint; or name and
            bytes.

    Raises:
        LutlabError: these files make no project.
        OSError: one cannot be read.
    """
    if isinstance(design, tuple) and len(design) == 2 and isinstance(design[1], bytes):
        return str(design[0]), design[1]
    paths = [Path(design)] if isinstance(design, str | os.PathLike) else [Path(str(each)) for each in design]
    if not paths:
        raise LutlabError("a design has at least one file")
    path, *others = paths
    if others or path.suffix == ".sv":  # the contract takes no SystemVerilog but in a project
        return _project(paths)
    return _folder(path) if path.is_dir() else (path.name, _bytes(path))


def _bytes(path: Path) -> bytes:
    if path.stat().st_size > SOURCE_BYTES_MAX:
        raise LutlabError(f"{path} has {path.stat().st_size} bytes; a lab takes {SOURCE_BYTES_MAX}")
    return path.read_bytes()


def _project(paths: Sequence[Path]) -> tuple[str, bytes]:
    """Several files, named as seen from the first one's folder; those from elsewhere by their name alone."""
    top = paths[0].absolute().parent
    files: dict[str, Path] = {}
    for path in paths:
        if path.suffix not in SUFFIXES:
            raise LutlabError(f"{path}: a project may hold {', '.join(sorted(SUFFIXES))} files")
        place = path.absolute()
        name = place.relative_to(top).as_posix() if place.is_relative_to(top) else place.name
        if name in files:
            raise LutlabError(f"{path} and {files[name]} would both be {name} in the project: rename one")
        files[name] = path
    entrypoint, *others = files
    sources = [name for name in others if Path(name).suffix in VERILOG]
    manifest = {"version": 1, "entrypoint": entrypoint, "verilog_sources": sources}
    return _zipped(files, {MANIFEST: json.dumps(manifest)})


def _folder(folder: Path) -> tuple[str, bytes]:
    """A folder whose manifest says what is what; of the rest only what a project may hold, and nothing hidden."""
    if not any((folder / name).is_file() for name in MANIFESTS):
        raise LutlabError(f"{folder} has no {MANIFEST}: write one (docs/designs.md), or name the files, the top first")
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in found}
    wanted = {
        name: path
        for name, path in names.items()
        if (path.suffix in SUFFIXES or name in MANIFESTS) and not any(part.startswith(".") for part in name.split("/"))
    }
    return _zipped(wanted, {})


def _zipped(files: Mapping[str, Path], texts: Mapping[str, str]) -> tuple[str, bytes]:
    if len(files) + len(texts) > ZIP_FILES_MAX:
        raise LutlabError(f"these are {len(files)} files; a project has at most {ZIP_FILES_MAX - len(texts)}")
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _contents(files, texts):
            archive.writestr(
                zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED
            )  # no times: the same files, the same zip
    return "project.zip", held.getvalue()


def _contents(files: Mapping[str, Path], texts: Mapping[str, str]) -> Iterable[tuple[str, bytes]]:
    yield from ((name, text.encode()) for name, text in texts.items())
    yield from ((name, _bytes(path)) for name, path in files.items())
