"""Reads a project's configuration and finds the files that it names."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lutlab_profiles import names as profile_names
from lutlab_verify.config.document import BYTES_MAX, Node, of_json, read, with_value
from lutlab_verify.config.errors import ConfigError, Problem
from lutlab_verify.config.globs import BadPattern, is_pattern, match, normal
from lutlab_verify.config.model import Config, CoverageSection, Section
from lutlab_verify.config.nearest import nearest
from lutlab_verify.config.shape import Shaped, choices, sections, shape
from lutlab_verify.project import Project

FILE_NAMES = ("lutlab.yaml", "openforge.yaml")
FILES_MAX = 10_000
OVERRIDES_MAX = 200
PROBLEMS_MAX = 50

LEFT_BEHIND = frozenset({"__pycache__", "sim_build", "obj_dir", "node_modules"})
DESIGN = frozenset({".v", ".sv", ".vhd", ".vhdl"})
TESTBENCHES = frozenset({".py", *DESIGN})
PROPERTIES = frozenset({".v", ".sv", ".sva", ".psl"})
CONSTRAINTS = frozenset({".sdc", ".lpf"})
KNOWN_PDKS = ("sky130", "gf22fdx", "ecp5")

Overrides = Mapping[str, object]
Files = Mapping[str, bytes]
Lines = Mapping[tuple[str, ...], int | None]


def parse(text: bytes | str, overrides: Overrides | None = None, *, file: str = FILE_NAMES[0]) -> Config:
    """A configuration with overrides applied.

    Args:
        text: the file's content.
        overrides: dotted paths to JSON values, e.g. `{"verification.formal.depth": 50}`; as in `config_overrides`.
        file: its name, for errors.

    Raises:
        ConfigError: something is wrong; every problem is in it.
    """
    return _parsed(text, overrides, file)[0]


def _parsed(text: bytes | str, overrides: Overrides | None, file: str) -> tuple[Config, Lines]:
    """A configuration, and the line of each of its fields."""
    root = read(text, file)
    overridden = dict(overrides or {})
    if len(overridden) > OVERRIDES_MAX:
        raise ConfigError([Problem(f"more than {OVERRIDES_MAX} overrides")], file="config_overrides")
    for path, value in overridden.items():
        root = _override(root, path, of_json(value, path))
    return _validated(root, file, overridden)


def load(root: Path | Files, overrides: Overrides | None = None) -> Project:
    """A project: its configuration and the files that it names.

    Args:
        root: the project's folder, or its files by name; then `Project.root` is `.`.
        overrides: as `parse` takes them.

    Raises:
        ConfigError: there is no configuration, or two; it is wrong; or a pattern matches nothing.
    """
    if isinstance(root, Path):
        names: Collection[str] = project_files(root)
        file = configuration_name(names)
        config, lines = _parsed(_bytes(root / file), overrides, file)
        return resolve(config, names, root, file=file, lines=lines)
    file = configuration_name(root)
    config, lines = _parsed(root[file], overrides, file)
    return resolve(config, root, Path(), file=file, lines=lines)


def _bytes(path: Path) -> bytes:
    """A file's content, no more of it than tells that it is too long."""
    with path.open("rb") as stream:
        return stream.read(BYTES_MAX + 1)


def configuration_name(names: Iterable[str]) -> str:
    """Which of a project's files is its configuration. Raises: ConfigError if none is, or two are."""
    found = sorted(set(FILE_NAMES) & set(names))
    if len(found) == 1:
        return found[0]
    if found:
        message = f"{found[0]} and {found[1]} are both there, and only one can count; delete one"
        raise ConfigError([Problem(message)], file="project")
    message = f"no {FILE_NAMES[0]} (or {FILE_NAMES[1]}) in its folder; `lutlab config init` writes one"
    raise ConfigError([Problem(message, suggestion=FILE_NAMES[0])], file="project")


def resolve(
    config: Config, names: Collection[str], root: Path, *, file: str = FILE_NAMES[0], lines: Lines | None = None
) -> Project:
    """A project from its configuration and the names of its files, relative and with `/`.

    Args:
        file, lines: the configuration's name and the lines of its fields, for errors.

    Raises:
        ConfigError: a pattern leads out of the project, or matches none of the files.
    """
    finder = _Finder(names, lines or {})
    design, verification = config.design, config.verification
    excluded = finder.excluded(design.exclude)
    sources = finder.find("design.sources", design.sources, DESIGN, leave_out=excluded)
    testbenches = finder.find("verification.simulation.testbenches", verification.simulation.testbenches, TESTBENCHES)
    properties = finder.find("verification.formal.properties", verification.formal.properties, PROPERTIES)
    includes = finder.folders("design.includes", design.includes)
    includes += finder.folders("project.include_dirs", config.project.include_dirs)
    finder.find("design.constraints", design.constraints, CONSTRAINTS)
    if config.analysis is not None and config.analysis.timing is not None:
        finder.find("analysis.timing.sdc_files", config.analysis.timing.sdc_files, CONSTRAINTS)
    if finder.problems:
        raise ConfigError(finder.problems, file=file)
    return Project(root, config, sources, testbenches, properties, tuple(dict.fromkeys(includes)))


def constraint_files(project: Project) -> tuple[str, ...]:
    """The constraint files that the configuration names, in its order."""
    config = project.config
    patterns = config.design.constraints
    if config.analysis is not None and config.analysis.timing is not None:
        patterns += config.analysis.timing.sdc_files
    return _Finder(project_files(project.root), {}).find("", patterns, CONSTRAINTS)


def project_files(root: Path) -> list[str]:
    """The files of a folder, sorted, without hidden folders and what tools leave behind.

    Links are not followed, so that nothing outside is ever read through one.

    Raises:
        ConfigError: there are too many, or the folder does not exist.
    """
    if not root.is_dir():
        raise ConfigError([Problem(f"{root} is not a folder")], file="project")
    names: list[str] = []
    for folder, folders, files in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in LEFT_BEHIND)
        here = Path(folder)
        names += ((here / name).relative_to(root).as_posix() for name in files if not (here / name).is_symlink())
        if len(names) > FILES_MAX:
            raise ConfigError([Problem(f"more than {FILES_MAX} files in {root}")], file="project")
    return sorted(names)


class _Finder:
    """Matches patterns against a project's files and notes those that fail."""

    def __init__(self, names: Collection[str], lines: Lines) -> None:
        self._names = sorted(names)
        self._lines = lines
        self.problems: list[Problem] = []

    def find(
        self, field: str, patterns: Iterable[str], kinds: frozenset[str], *, leave_out: frozenset[str] = frozenset()
    ) -> tuple[str, ...]:
        """Files that patterns match, in the patterns' order; wildcards pass over files of other kinds."""
        found: dict[str, None] = {}
        for at, pattern in enumerate(patterns):
            here = f"{field}.{at}"
            names = self._match(pattern, here)
            if names is None:
                continue
            fitting = [name for name in names if PurePosixPath(name).suffix.lower() in kinds]
            if names and not fitting:
                listed = ", ".join(sorted(kinds))
                self._wrong(f"{pattern!r} in {field} matches only files of other kinds than {listed}", here)
            elif not names:
                near = None if is_pattern(pattern) else nearest(normal(pattern), self._names)
                self._wrong(f"{pattern!r} in {field} matches no file of the project", here, near)
            found |= dict.fromkeys(name for name in fitting if name not in leave_out)
        if not found and field == "design.sources" and not self.problems:
            self._wrong("'design.exclude' leaves no source", "design.exclude")
        return tuple(found)

    def excluded(self, patterns: Iterable[str]) -> frozenset[str]:
        """Files that `exclude` takes out; a pattern that takes out none is no error."""
        out: set[str] = set()
        for at, pattern in enumerate(patterns):
            out |= set(self._match(pattern, f"design.exclude.{at}") or [])
        return frozenset(out)

    def folders(self, field: str, patterns: Iterable[str]) -> list[str]:
        """Folders that entries name, or those of the headers that patterns match; `.` is the project's own."""
        known = {str(parent) for name in self._names for parent in PurePosixPath(name).parents}
        found: list[str] = []
        for at, pattern in enumerate(patterns):
            here = f"{field}.{at}"
            try:
                folder = normal(pattern) or "."
            except BadPattern as error:
                self._wrong(f"{pattern!r} in {field}: {error}", here)
                continue
            if folder in known:
                found.append(folder)
                continue
            names = self._match(pattern, here) or []
            if not names:
                self._wrong(f"{pattern!r} in {field} is no folder of the project", here, nearest(folder, known))
            found += dict.fromkeys(str(PurePosixPath(name).parent) for name in names)
        return found

    def _match(self, pattern: str, field: str) -> list[str] | None:
        try:
            return match(pattern, self._names)
        except BadPattern as error:
            self._wrong(f"{pattern!r} in {field.rpartition('.')[0]}: {error}", field)
            return None

    def _wrong(self, message: str, field: str, suggestion: str | None = None) -> None:
        line = self._lines.get(tuple(field.split(".")))
        self.problems.append(Problem(message, field, line, suggestion))


# -- overrides and checks --------------------------------------------------------------------------


def _override(root: Node, dotted: str, value: Node) -> Node:
    path = dotted.split(".")
    if not all(path) or len(path) > 12:
        problem = Problem(f"{dotted!r} is no dotted path such as verification.formal.depth", dotted)
        raise ConfigError([problem], file="config_overrides")
    if path[:3] == ["verification", "simulation", "coverage"] and len(path) > 3:
        root = _long_coverage(root, path[:3])
    return with_value(root, path, value)


def _long_coverage(root: Node, path: list[str]) -> Node:
    """Coverage in its long form, so that an override of one kind leaves the others as the short form has them."""
    node = root
    for part in path:
        if node.entries is None or part not in node.entries:
            return root
        node = node.entries[part][1]
    if not isinstance(node.scalar, bool):
        return root
    return with_value(root, path, of_json(CoverageSection.of(node.scalar).model_dump(), ".".join(path)))


def _validated(root: Node, file: str, overrides: Overrides) -> tuple[Config, Lines]:
    """The model of a tree, and its fields' lines. Raises: ConfigError."""
    found = Shaped()
    values = shape(root, Config, found)
    config: Config | None = None
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        # A field left out for what is wrong in it must not also be called missing.
        known = [f"{problem.field}." for problem in found.problems]
        more = (_problem(e, found) for e in error.errors())
        found.problems += [p for p in more if not any(field.startswith(f"{p.field}.") for field in known)]
    if config is not None:
        found.problems += _pdk(config, found)
    if found.problems or config is None:
        problems = sorted(found.problems, key=lambda p: (p.line is None, p.line or 0))[:PROBLEMS_MAX]
        raise ConfigError(problems, file=_named(problems[0], overrides, file))
    return config, found.lines


def _named(problem: Problem, overrides: Overrides, file: str) -> str:
    """Where a problem comes from: the file, or an override of this field, of one around it, or of one inside it."""
    if problem.line is not None:
        return file
    field = f"{problem.field}."
    related = any(field.startswith(f"{path}.") or path.startswith(field) for path in overrides)
    return "config_overrides" if related else file


def _pdk(config: Config, found: Shaped) -> list[Problem]:
    """A target that is one letter off a known one; any other name is a process that we have no model of."""
    target, known = config.project.target_pdk, (*KNOWN_PDKS, *profile_names())
    near = nearest(target, known)
    if target in known or near is None:
        return []
    line = found.lines.get(("project", "target_pdk"))
    message = f"'project.target_pdk' is {target!r}, which is nothing known here"
    return [Problem(message, "project.target_pdk", line, near)]


def _problem(error: ErrorDetails, found: Shaped) -> Problem:
    """One of pydantic's errors in our words."""
    path = tuple(str(part) for part in error["loc"])
    line = _line(path, found)
    field, value = ".".join(path), error["input"]
    match error["type"]:
        case "missing":
            return Problem(f"required field '{field}' is missing", field, line)
        case "literal_error" | "enum":
            words = choices(_annotation(path))
            near = nearest(str(value), words)
            return Problem(f"'{field}' is {value!r}, not one of {', '.join(words)}", field, line, near)
        case "string_pattern_mismatch":
            rule = _description(path).rstrip(".")
            return Problem(f"'{field}' cannot be {value!r}: {rule[:1].lower()}{rule[1:]}", field, line)
        case "value_error":
            return Problem(f"'{field}' cannot be {value!r}: {error['ctx']['error']}", field, line)
        case _:
            said = error["msg"][:1].lower() + error["msg"][1:]
            return Problem(f"'{field}' is {_short(value)}: {said}", field, line)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _line(path: tuple[str, ...], found: Shaped) -> int | None:
    """The line of a field, or of the section around one that is missing."""
    while path:
        if path in found.lines:
            return found.lines[path]
        path = path[:-1]
    return None


def _annotation(path: tuple[str, ...]) -> Any:
    return _field(path)[0]


def _description(path: tuple[str, ...]) -> str:
    return _field(path)[1]


def _field(path: tuple[str, ...]) -> tuple[Any, str]:
    """A field's type (of one entry, for a list) and its sentence."""
    model: type[Section] = Config
    annotation: Any = Config
    text = ""
    for part in path:
        if part.isdecimal():
            annotation = annotation.__args__[0]
        else:
            info = model.model_fields[part]
            annotation, text = info.annotation, info.description or ""
        section, _ = sections(annotation)
        model = section or model
    return annotation, text
