"""What is the database's trouble is told as that, and passes: no request is answered that something is broken here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from lutlab_api.adapters.postgres import Postgres
from lutlab_api.domain.errors import Unavailable
from lutlab_transport.clock import SystemClock


class Pool:
    """Gives connections out that fail."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    @asynccontextmanager
    async def acquire(self, timeout: float) -> AsyncIterator[Pool]:
        yield self

    async def fetch(self, *_: Any) -> list[Any]:
        raise self._error


@pytest.mark.parametrize(
    "kind",
    [
        asyncpg.DiskFullError,
        asyncpg.OutOfMemoryError,
        asyncpg.TooManyConnectionsError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.QueryCanceledError,
        asyncpg.AdminShutdownError,
        ConnectionResetError,
    ],
)
async def test_trouble_of_the_database_is_no_defect_of_ours(kind: type[Exception]) -> None:
    postgres = Postgres("postgresql://nowhere", SystemClock(), connections_max=1)
    postgres._pool = Pool(kind("no"))  # type: ignore[assignment]
    with pytest.raises(Unavailable):
        await postgres.put(b"an upload")
