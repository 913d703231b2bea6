"""The StorageStore port on Postgres."""

from __future__ import annotations

from collections.abc import Collection

from lutlab_api.adapters.postgres import Postgres
from lutlab_api.adapters.sql import Query
from lutlab_api.app.storage import Used
from lutlab_ledger.storage import SQL_USED


class PostgresStorage:
    """Implements the port `StorageStore`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def used(self, owner: str, digests: Collection[str]) -> Used:
        """What counts for an owner."""
        (row,) = await self._postgres.rows(Query(SQL_USED, ([owner], list(digests))))
        return Used(used_bytes=row["used_bytes"], blobs=row["blobs"], held=frozenset(row["held"]))
