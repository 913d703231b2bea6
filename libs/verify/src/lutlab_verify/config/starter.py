"""A first configuration for a folder of sources."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from lutlab_verify.config.model import Config
from lutlab_verify.stage import Stage

NAME_CHARS_MAX = 64
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_MODULE = re.compile(r"^\s*module\s+(?:automatic\s+|static\s+)?([A-Za-z_]\w*)", re.MULTILINE)
_TEST = re.compile(r"(^|[_-])(tb|test|testbench)([_-]|$)", re.IGNORECASE)


def stages_of(config: Config) -> tuple[Stage, ...]:
    """The stages that a configuration has something for, which is what `lutlab verify` asks for by default."""
    verification = config.verification
    crypto = verification.crypto_verification
    areas = (crypto.constant_time, crypto.side_channel, crypto.fips_compliance, crypto.ntt_validation)
    wanted = {
        Stage.LINT: True,
        Stage.SIMULATION: bool(verification.simulation.testbenches),
        Stage.FORMAL: bool(verification.formal.properties) or "formal" in verification.model_fields_set,
        Stage.CRYPTO: any(area.enabled for area in areas),
        Stage.SYNTHESIS: config.analysis is not None and config.analysis.timing is not None,
    }
    return tuple(stage for stage in Stage if wanted[stage])


def starter(name: str, files: Mapping[str, str], *, top: str | None = None, target: str = "sky130") -> str:
    """A configuration that `load` accepts, with comments.

    Args:
        name: what to call the project; what a name cannot have becomes a hyphen.
        files: Verilog and SystemVerilog by name with their text, and names of Python files.
        top: the top module; None for the one that no other design file instantiates.
        target: `project.target_pdk`.

    Returns:
        The YAML. With no Verilog among the files its `sources` pattern has to be filled in.
    """
    design = {n: _COMMENT.sub("", t) for n, t in files.items() if _suffix(n) in (".v", ".sv") and not _is_test(n)}
    tests = sorted(n for n in files if _is_test(n) and _suffix(n) in (".v", ".sv", ".py"))
    top = top or _top(design) or "top"
    sources = _patterns(design) or ["rtl/**/*.sv"]
    lines = [
        "# What this project is, and what is checked. All fields: docs/verification.md, or `lutlab config schema`.",
        "project:",
        f"  name: {_name(name)}",
        f"  top_module: {top}",
        f"  target_pdk: {target}",
        "",
        "design:",
        f"  sources: [{', '.join(map(_quoted, sources))}]",
        "",
        "verification:",
        "  simulation:",
        "    tool: icarus  # or verilator, which also measures line and branch coverage",
        f"    testbenches: [{', '.join(map(_quoted, _patterns(tests)))}]",
        "    coverage: true",
    ]
    if any("assert" in text for text in design.values()):
        lines += ["  formal:", "    depth: 20  # clock cycles that are looked into"]
    return "\n".join([*lines, ""])


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _is_test(name: str) -> bool:
    """Whether a file is a test bench by its name, or by a folder's."""
    path = PurePosixPath(name)
    return any(_TEST.search(part) or part in ("tests", "sim") for part in (*path.parts[:-1], path.stem))


def _patterns(names: Mapping[str, str] | list[str]) -> list[str]:
    """One pattern for each folder and kind of file, in the order of names."""
    found = {f"{PurePosixPath(name).parent}/*{PurePosixPath(name).suffix}".removeprefix("./") for name in names}
    if any(name.endswith(".py") for name in names):  # a folder of cocotb tests may hold helpers beside them
        return sorted(names)
    return sorted(found)


def _quoted(pattern: str) -> str:
    return f'"{pattern}"' if pattern.startswith("*") else pattern


def _top(design: Mapping[str, str]) -> str | None:
    """The one module that no other module names."""
    modules = [name for text in design.values() for name in _MODULE.findall(text)]
    words = re.findall(r"[A-Za-z_]\w*", " ".join(design.values()))
    free = [name for name in modules if words.count(name) - sum(other == name for other in modules) <= 0]
    return free[0] if len(free) == 1 else next(iter(modules), None)


def _name(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:NAME_CHARS_MAX]
    return name or "project"
