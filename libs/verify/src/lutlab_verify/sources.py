"""A project's files and options as every tool takes them: paths under `src`, include folders, defines, language."""

from __future__ import annotations

from pathlib import PurePosixPath

from lutlab_verify.catalogue import installed
from lutlab_verify.config.model import Language
from lutlab_verify.project import Project
from lutlab_verify.stage import Unsupported
from lutlab_verify.tools import SOURCES

VHDL_SUFFIXES = (".vhd", ".vhdl")
HEADER_SUFFIXES = (".vh", ".svh")
VERILOG_SUFFIXES = (".v", ".sv", *HEADER_SUFFIXES)


def tool_path(file: str) -> str:
    """A project's file as a tool sees it."""
    return f"{SOURCES}/{file}"


def design_files(project: Project) -> list[str]:
    """The design's compilation units as tools see them: headers are for `include` only."""
    return [tool_path(file) for file in project.sources if not file.endswith(HEADER_SUFFIXES)]


def include_folders(project: Project) -> list[str]:
    """Folders for `include` as tools see them: those of the configuration, then the project's root."""
    folders = [SOURCES if folder in (".", "") else tool_path(folder) for folder in project.includes]
    return list(dict.fromkeys([*folders, SOURCES]))


def defines(project: Project) -> list[str]:
    """`NAME=value` of every define."""
    return [f"{name}={value}" if value else name for name, value in project.config.project.defines.items()]


def is_vhdl(file: str) -> bool:
    """Whether a file is VHDL by its name."""
    return PurePosixPath(file).suffix.lower() in VHDL_SUFFIXES


def refuse_vhdl(project: Project, stage: str) -> None:
    """Raises: Unsupported, if a design is VHDL: named is the file, and what would be needed."""
    vhdl = next((file for file in project.sources if is_vhdl(file)), None)
    language = project.config.project.language_version
    if vhdl is None and language not in (Language.VHDL93, Language.VHDL2008):
        return
    subject = f"{vhdl} is VHDL" if vhdl else f"the language is {language}"
    ghdl = "GHDL is installed here, but" if installed("ghdl") else "GHDL is not installed here (apt install ghdl), and"
    raise Unsupported(
        f"{subject}: {ghdl} the {stage} stage reads Verilog and SystemVerilog only",
        field=None if vhdl else "project.language_version",
        file=vhdl,
    )
