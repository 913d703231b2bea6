"""Verilator's runtime, compiled once: by `make tools` for everyone, otherwise by the first job of a project."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from lutlab_verify.catalogue import Located, locate, lz4_folder, tool_version, tools_folder
from lutlab_verify.inside import build_simulator

ARCHIVE = "libverilated.a"


def has_fst() -> bool:
    """Whether simulators from Verilator can write FST: lz4's header is here."""
    return lz4_folder() is not None


def key() -> str:
    """Names a runtime by what goes into it."""
    parts = [tool_version("verilator"), tool_version("g++"), build_simulator.FLAGS, build_simulator.RUNTIME, has_fst()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def prebuilt() -> Path | None:
    """The runtime that `make tools` made, None if there is none that fits."""
    archive = tools_folder() / f"verilator-{key()}" / ARCHIVE
    return archive if archive.is_file() else None


def build_job(runtime: str, **more: Any) -> dict[str, Any]:
    """A job for `inside.build_simulator`; without `generated` only the runtime is built."""
    verilator: Located = locate("verilator")
    lz4 = lz4_folder()
    own = lz4 is not None and not lz4.is_relative_to("/usr")
    libraries = [str(path) for path in sorted((lz4 / "lib").glob("*-linux-gnu"))] if lz4 and own else []
    job: dict[str, Any] = {
        "runtime": runtime,
        "verilator_root": verilator.environment.get("VERILATOR_ROOT") or "/usr/share/verilator",
        "fst": lz4 is not None,
        "generated": None,
        "include": [str(lz4 / "include")] if lz4 and own else [],
        "jobs": os.cpu_count() or 1,
    }
    link = [f"-L{library}" for library in libraries]
    return {**job, **more, "link": [*link, *more.get("link", [])]}
