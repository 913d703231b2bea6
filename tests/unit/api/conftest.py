"""Fixtures of the API's unit tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from api_fakes import Lab


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
