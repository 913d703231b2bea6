"""Many clients that never give up, and what must be true of what they were answered."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID, uuid4

from scheduler_lab import Lab, until

from lutlab_events import commands as c
from lutlab_ledger.verify import verify
from lutlab_transport.commands import CommandUnanswered

CLIENTS = 6
ASK_TIMEOUT_S = 1.0


class Load:
    """Clients that submit and cancel jobs, repeating what is not answered, and note when each was answered."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.stop = asyncio.Event()
        self.answered: list[float] = []
        self.accepted: list[UUID] = []

    async def run(self) -> None:
        digest = await self.lab.upload()
        async with asyncio.TaskGroup() as tasks:
            for number in range(CLIENTS):
                tasks.create_task(self._client(f"owner-{number}", digest))

    async def _client(self, owner: str, digest: str) -> None:
        while not self.stop.is_set():
            job_id = uuid4()
            submit = c.SubmitBuild(job_id=job_id, owner=owner, source_digest=digest, filename="design.v")
            await self._ask(submit)
            await self._ask(c.CancelJob(job_id=job_id, owner=owner))
            self.accepted.append(job_id)

    async def _ask(self, command: c.Command) -> None:
        command_id = uuid4()
        while True:
            try:
                answer = await self.lab.client.request(command, timeout_s=ASK_TIMEOUT_S, command_id=command_id)
            except CommandUnanswered:
                continue
            assert answer.accepted, answer
            self.answered.append(time.monotonic())
            return

    async def more(self, count: int) -> None:
        """Wait until so many more commands were answered."""
        enough = len(self.answered) + count

        async def check() -> bool:
            return len(self.answered) >= enough

        await until(check, f"{count} more answers", 60.0)

    async def answers_after(self, moment: float) -> float:
        """How long after `moment` the next answer came."""

        async def check() -> float | None:
            return next((at for at in reversed(self.answered) if at > moment), None)

        await until(check, "an answer")
        return min(at for at in self.answered if at > moment) - moment


async def check_everything(lab: Lab, load: Load, url: str) -> None:
    """Every acknowledged job is there once and cancelled; the chain has no gap."""
    rows = await lab.db.fetch("select stream, type from events where stream like 'job-%' order by position")
    types: dict[str, list[str]] = {}
    for row in rows:
        types.setdefault(row["stream"], []).append(row["type"])
    assert len(load.accepted) >= CLIENTS
    for job_id in load.accepted:
        assert types[f"job-{job_id}"] == ["job.submitted.v1", "job.cancelled.v1"]
    assert (await verify(url)).intact
