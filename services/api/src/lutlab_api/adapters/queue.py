"""The Queues port on Postgres."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from uuid import UUID

from lutlab_api.adapters.postgres import Postgres
from lutlab_api.adapters.sql import Query
from lutlab_api.domain.queue import Queue, Rival, Slot
from lutlab_events.values import BoardState

JOB = """
select number, owner, profile, labels, coalesce(priority, 0) as priority from jobs
where job_id = $1 and type = 'build_and_program' and status in ('queued', 'running') and fpga_id is null
    and pinned_fpga_id is null
"""
WAITING = """
select owner, coalesce(priority, 0) > $2 as higher, count(*) as waiting, min(number) as oldest,
    count(*) filter (where number < $3) as ahead
from jobs where type = 'build_and_program' and status in ('queued', 'running') and fpga_id is null
    and pinned_fpga_id is null and profile = $1 and coalesce(priority, 0) >= $2
group by 1, 2
"""
BOARDS = """
select labels, state, owner, session_created_at, session_expires_at from boards where profile = $1 and service is null
"""
OUT = frozenset({BoardState.LOST.value, BoardState.ERROR.value})


class PostgresQueues:
    """Implements the port `Queues`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def queue(self, job_id: UUID) -> Queue | None:
        """What counts for a waiting job; None for one that does not wait for just any board."""
        found = await self._postgres.rows(Query(JOB, (job_id,)))
        if not found:
            return None
        job = found[0]
        waiting = await self._postgres.rows(Query(WAITING, (job["profile"], job["priority"], job["number"])))
        boards = await self._postgres.rows(Query(BOARDS, (job["profile"],)))
        wanted = set(json.loads(job["labels"] or "[]"))
        fitting = [b for b in boards if b["state"] not in OUT and wanted <= set(json.loads(b["labels"]))]
        equal = {row["owner"]: row for row in waiting if not row["higher"]}
        own = equal.pop(job["owner"], None)
        return Queue(
            owner=job["owner"],
            number=job["number"],
            higher=sum(row["waiting"] for row in waiting if row["higher"]),
            own_ahead=own["ahead"] if own else 0,
            rivals={name: Rival(waiting=row["waiting"], oldest=row["oldest"]) for name, row in equal.items()},
            held=Counter(b["owner"] for b in boards if b["owner"] is not None),
            slots=[_slot(board) for board in fitting],
        )


def _slot(board: Any) -> Slot:
    return Slot(
        free=board["state"] == BoardState.IDLE.value,
        since=board["session_created_at"],
        until=board["session_expires_at"],
    )
