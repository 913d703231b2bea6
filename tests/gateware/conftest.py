"""Tests that a constructor refuses its arguments leave elaboratables behind that nobody elaborates."""

from pathlib import Path

import pytest
from amaranth._unused import MustUse
from fast_sim import build

MustUse._MustUse__silence = True


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bus device as native code; see `fast_sim`."""
    return build(tmp_path_factory.mktemp("device"))
