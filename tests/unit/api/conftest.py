"""Fixtures of the API's unit tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

import httpx
import pytest
import structlog
from api_fakes import Lab


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged; printing it, above all stack traces with their variables, would take seconds."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def lab() -> Lab:
    """A lab whose reads need a key."""
    return Lab()


@pytest.fixture
def public_lab() -> Lab:
    """A lab whose reads are public."""
    return Lab(public_reads=True)


@pytest.fixture
async def ada(lab: Lab) -> AsyncIterator[httpx.AsyncClient]:
    """A member of `lab`."""
    async with lab.client() as client:
        yield client
