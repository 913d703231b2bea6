"""The bench's design, built once, and virtual boards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_bench import Built, VirtualBoard, build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("agent-design"))


@pytest.fixture(scope="module")
def lasting_board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualBoard]:
    """A board for tests that leave it plugged in; it may run anything when a test begins."""
    board = VirtualBoard(tmp_path_factory.mktemp("lasting-board"))
    yield board
    board.stop()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[VirtualBoard]:
    """A board of one test, fresh from power-on."""
    made = VirtualBoard(tmp_path / "board")
    yield made
    made.stop()
