"""A database without room or memory is unavailable, which is told; it is no mistake of the API's."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import asyncpg
import pytest

from lutlab_api.adapters.postgres import Postgres
from lutlab_api.domain.errors import Unavailable
from lutlab_transport.clock import SystemClock


class Pool:
    """Hands out connections that nothing can be done with."""

    def acquire(self, timeout: float) -> Any:
        return nullcontext(object())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (asyncpg.DiskFullError("could not extend file"), "no room on its disk"),
        (asyncpg.OutOfMemoryError("out of memory"), "does not answer"),
        (asyncpg.TooManyConnectionsError("sorry, too many clients already"), "does not answer"),
    ],
)
async def test_a_server_without_resources_is_unavailable(error: Exception, told: str) -> None:
    postgres = Postgres("postgresql://x", SystemClock(), connections_max=1)
    postgres._pool = Pool()  # type: ignore[assignment]

    async def work(connection: object) -> None:
        raise error

    with pytest.raises(Unavailable, match=told):
        await postgres.run(work)
