"""A dispatcher over memory, and what it sends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from scheduler_fakes import ManualClock, MemoryArchive, MemoryBlobs
from scheduler_verification_lab import Lab

from lutlab_events.work import Control, StageWork, Work
from lutlab_scheduler.app.carrier import Carrier
from lutlab_scheduler.app.dispatch import Dispatcher
from lutlab_scheduler.app.line import Line
from lutlab_scheduler.app.postponed import Postponed
from lutlab_scheduler.domain.policies import Due

MANIFEST = json.dumps({"a.v": {"digest": "file", "size_bytes": 1}})


class Bus:
    """Remembers what is sent."""

    def __init__(self) -> None:
        self.work: list[tuple[str, Work]] = []
        self.control_: list[Control] = []

    async def publish_work(self, subject: str, message_id: str, work: Work) -> None:
        self.work.append((message_id, work))

    async def control(self, subject: str, message: Control) -> None:
        self.control_.append(message)


class Archive(MemoryArchive):
    """Whose file sets are JSON."""

    manifest = MANIFEST

    async def get(self, digest: str) -> bytes:
        await super().get(digest)
        return self.manifest.encode() if digest == "cd" * 32 else digest.encode()


class Blobs(MemoryBlobs):
    """Whose file sets are JSON."""

    async def put(self, data: bytes) -> None:
        self.digests.add("cd" * 32 if data.startswith(b"{") else data.decode())


class Inside:
    """Remembers what the scheduler asks of itself."""

    def __init__(self) -> None:
        self.due: list[Due] = []

    async def carry_out(self, due: Due) -> None:
        self.due.append(due)


class Rig:
    """A dispatcher over memory.

    Attributes:
        told: what was written into the logs of jobs.
    """

    def __init__(self, *archived: str, postponed: Postponed | None = None) -> None:
        self.lab = Lab().with_project().with_job("lint", "formal")
        self.bus, self.inside = Bus(), Inside()
        self.archive, self.blobs = Archive(*archived), Blobs()
        self.carrier = Carrier(self.archive, self.blobs)
        self.told: list[str] = []
        parts: dict[str, Any] = {"bus": self.bus, "carrier": self.carrier, "inside": self.inside, "tell": self._tell}
        if postponed is None:
            postponed = Postponed(clock=ManualClock(), owe=self._owe, make_room=self._make_room)
        parts |= {"line": Line(ManualClock()), "postponed": postponed}
        self.dispatcher = Dispatcher(world=self.lab.world, rules=self.lab.rules, **parts)
        self.read = 0

    async def _tell(self, job: Any, line: str) -> None:
        self.told.append(line)

    async def _owe(self, number: int) -> None:
        raise AssertionError("there is room for everything")

    async def _make_room(self) -> None:
        raise AssertionError("there is room for everything")

    async def follow(self) -> Sequence[StageWork]:
        """Let the dispatcher see what happened since; the work it sent."""
        before = len(self.bus.work)
        for envelope in self.lab.log[self.read :]:
            await self.dispatcher.on_event(envelope)
        self.read = len(self.lab.log)
        return [work for _, work in self.bus.work[before:] if isinstance(work, StageWork)]
