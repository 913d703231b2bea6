"""docs/board-api-weaknesses.md names tests; they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "board-api-weaknesses.md"
WEAKNESSES = 19
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def rows() -> list[str]:
    lines = DOCUMENT.read_text().splitlines()
    return [line for line in lines if line.startswith("| ") and not line.startswith("| weakness ")]


def test_every_weakness_has_its_row_with_a_test() -> None:
    assert len(rows()) == WEAKNESSES
    for row in rows():
        assert len(row.strip("|").split(" | ")) == 3, row
        assert NAMED.search(row), row


def test_every_named_test_exists() -> None:
    for path, name in NAMED.findall(DOCUMENT.read_text()):
        tree = ast.parse((ROOT / path).read_text())
        tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        assert name in tests if name else tests | classes, f"{path}::{name}"
