"""One running product for all end-to-end tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from e2e_support import Stack, release_all, running
from sdk_support import fetch_sdk


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack with two boards for all tests that leave it as they found it."""
    with running(tmp_path_factory.mktemp("e2e") / "data", "--boards", "2") as stack:
        yield stack


@pytest.fixture
def api(stack: Stack) -> Iterator[httpx.Client]:
    """The stack's API with the admin key; afterwards every board is idle again."""
    with stack.client() as client:
        yield client
        release_all(client)


@pytest.fixture(scope="session")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference SDK's source distribution, with an environment beside it; see `sdk_support`."""
    return fetch_sdk(tmp_path_factory.mktemp("sdk"))
