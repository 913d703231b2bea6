"""What the pages refer to exists: files, headings, variables, commands with their options, targets of make."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from lutlab.cli import app
from lutlab_board_agent.domain.loader import LoaderCode
from lutlab_builder.domain.errors import Code
from lutlab_stack import settings_page
from lutlab_transport.settings import variables

REPO = Path(__file__).parents[3]
PAGES = sorted(
    REPO / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=REPO, capture_output=True, text=True, check=True,
    ).stdout.split()
)  # fmt: skip
TEXTS = {path.relative_to(REPO): path.read_text() for path in PAGES if path.exists()}
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
KNOWN = {variable for kind in settings_page.PROGRAMS.values() for variable, _ in variables(kind)}
KNOWN |= set(re.findall(r"LUTLAB_[A-Z_]+", " ".join(cells[0] for cells in settings_page.OTHERS)))
IN_PAGES_ONLY = {
    "LUTLAB_URL", "LUTLAB_KEY",  # of the tours
    "LUTLAB_ALL_BOARDS", "LUTLAB_SIM_FRAMES",  # of tests
}  # fmt: skip
LUTLAB = get_command(app)
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (REPO / "Makefile").read_text(), re.MULTILINE))


def prose(text: str) -> str:
    return FENCE.sub("", text)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", prose(path.read_text()), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def code(text: str) -> Iterator[str]:
    """Every line of code, and all code within sentences."""
    for block in FENCE.finditer(text):
        if block[2] not in ("python", "toml", "json", "mermaid", "yaml"):
            yield from block[3].replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", prose(text))
    yield from re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("page", TEXTS, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(TEXTS[page])):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (REPO / page).parent / name if name else REPO / page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("page", TEXTS, ids=str)
def test_variables_files_and_targets_exist(page: Path) -> None:
    named = set(re.findall(r"\bLUTLAB_[A-Z0-9_]*[A-Z0-9]\b", TEXTS[page]))
    assert not {name for name in named - KNOWN - IN_PAGES_ONLY if not any(known.startswith(name) for known in KNOWN)}
    for piece in code(TEXTS[page]):
        if re.fullmatch(r"(deploy|docs|examples|libs|services|tests|benchmarks|gateware)/[\w./-]+(::\w+)?", piece):
            place = piece.partition("::")[0]
            assert "NAME" in place or (REPO / place).exists() or (REPO / page.parent / place).exists(), piece
        for target in re.findall(r"^(?:[A-Z]+=\S+ )*make ([a-z][a-z-]*)", piece):
            assert target in TARGETS, piece


def commands(text: str) -> Iterator[list[str]]:
    """Each call of `lutlab` in a page, without what is before and behind it."""
    for line in code(text):
        for call in re.findall(r"(?:^|[\s($]|bin/)(?<!install )lutlab ((?:[\w-]|\.\.\.)[^|;&)]*)", line):
            try:
                yield shlex.split(call, comments=True)
            except ValueError:  # a quote that goes on in the next line
                yield call.replace('"', " ").split()


@pytest.mark.parametrize("page", TEXTS, ids=str)
def test_commands_and_their_options_exist(page: Path) -> None:
    for words in commands(TEXTS[page]):
        command: Any = LUTLAB
        while words and not words[0].startswith("-") and (below := getattr(command, "commands", {})):
            word = words.pop(0)
            assert word in below or not word.isalpha(), f"lutlab has no command {word!r}"
            command = below.get(word, command)
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert given <= known | {"--help"}, f"lutlab {command.name} has no {given - known}"


@pytest.mark.parametrize("page", TEXTS, ids=str)
def test_rows_of_a_table_have_as_many_cells_as_its_head(page: Path) -> None:
    head = 0
    for line in prose(TEXTS[page]).splitlines():
        cells = len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", line))) if line.startswith("|") else 0
        assert not head or not cells or cells == head, line
        head = cells


def test_every_reason_of_a_failed_build_or_load_is_explained() -> None:
    for page, codes in (("designs", Code), ("boards", LoaderCode)):
        text = (REPO / "docs" / f"{page}.md").read_text()
        assert not [code.value for code in codes if f"`{code.value}`" not in text], page


def test_the_settings_page_is_what_the_services_read() -> None:
    written = (REPO / "docs" / "settings.md").read_text()
    assert written == settings_page.page(), "python -m lutlab_stack.settings_page > docs/settings.md"
