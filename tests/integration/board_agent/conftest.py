"""The bench's design, built once, and virtual boards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Built, VirtualBoard, build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("agent-design"))


@pytest.fixture(scope="session")
def board_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled designs and the chip database, shared by the virtual boards of this session."""
    return tmp_path_factory.mktemp("agent-board-cache")


@pytest.fixture(scope="module")
def lasting_board(tmp_path_factory: pytest.TempPathFactory, board_cache: Path) -> Iterator[VirtualBoard]:
    """A board for tests that leave it plugged in; it may run anything when a test begins."""
    board = VirtualBoard(tmp_path_factory.mktemp("lasting-board"), board_cache)
    yield board
    board.stop()


@pytest.fixture
def board(tmp_path: Path, board_cache: Path) -> Iterator[VirtualBoard]:
    """A board of one test, fresh from power-on."""
    made = VirtualBoard(tmp_path / "board", board_cache)
    yield made
    made.stop()
