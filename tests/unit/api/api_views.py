"""The ledger's views in memory, to set by hand: boards, jobs, keys, events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from lutlab_api.app.ports import EventFilter, JobFilter, KeyFilter
from lutlab_api.domain.errors import Unavailable
from lutlab_api.domain.views import (
    AgentView,
    BoardView,
    EventView,
    JobDetail,
    JobView,
    KeyView,
    SessionView,
    StoredAnswer,
)
from lutlab_events.ids import derived, digest
from lutlab_events.values import BoardState, JobStatus, JobType, Role

T0 = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ADA, BOB, ROOT = "ada-key-0123456789", "bob-key-0123456789", "root-key-0123456789"
SESSION = UUID(int=77)


def session(owner: str = "ada", fpga_id: int = 0, ttl_s: float = 3600) -> SessionView:
    return SessionView(
        session_id=SESSION, fpga_id=fpga_id, owner=owner, created_at=T0, expires_at=T0 + timedelta(seconds=ttl_s)
    )


def board(fpga_id: int = 0, state: BoardState = BoardState.IDLE, **more: Any) -> BoardView:
    return BoardView(fpga_id=fpga_id, state=state, profile="lfe5u-25f", agent_id="agent-1", epoch=4, **more)


def reserved(fpga_id: int = 0, owner: str = "ada", **more: Any) -> BoardView:
    more = {"session": session(owner, fpga_id), "owner": owner, **more}
    return board(fpga_id, more.pop("state", BoardState.RESERVED), **more)


def job(number: int = 1, **more: Any) -> JobView:
    fields: dict[str, Any] = {
        "job_id": UUID(int=number),
        "number": number,
        "type": JobType.BUILD_AND_PROGRAM,
        "status": JobStatus.COMPLETE,
        "owner": "ada",
        "created_at": T0 + timedelta(seconds=number),
        "updated_at": T0 + timedelta(seconds=number + 60),
    }
    return JobView(**(fields | more))


@dataclass
class FakeLedger:
    """Views to set by hand."""

    tools: str | None = None
    board_views: dict[int, BoardView] = field(default_factory=dict)
    job_views: dict[UUID, JobView] = field(default_factory=dict)
    details: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    logs: dict[UUID, str] = field(default_factory=dict)
    event_views: list[EventView] = field(default_factory=list)
    agent_views: list[AgentView] = field(default_factory=list)
    key_views: dict[str, KeyView] = field(default_factory=dict)
    answers: dict[UUID, StoredAnswer] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    is_down: bool = False
    key_looks: int = 0

    def add(self, *views: BoardView | JobView) -> None:
        for view in views:
            if isinstance(view, BoardView):
                self.board_views[view.fpga_id] = view
            else:
                self.job_views[view.job_id] = view

    def add_key(self, secret: str, owner: str, role: Role = Role.MEMBER, **more: Any) -> KeyView:
        more = {"created_at": T0} | more
        view = KeyView(key_id=derived("k", secret), key_sha256=digest(secret.encode()), owner=owner, role=role, **more)
        self.key_views[view.key_sha256] = view
        return view

    def _up(self) -> None:
        if self.is_down:
            raise Unavailable("the lab's database does not answer")

    async def boards(self) -> list[BoardView]:
        self._up()
        return [self.board_views[n] for n in sorted(self.board_views)]

    async def board(self, fpga_id: int) -> BoardView | None:
        self._up()
        return self.board_views.get(fpga_id)

    async def job(self, job_id: UUID) -> JobView | None:
        self._up()
        return self.job_views.get(job_id)

    async def job_detail(self, job_id: UUID) -> JobDetail | None:
        self._up()
        view = self.job_views.get(job_id)
        return None if view is None else JobDetail(job=view, **self.details.get(job_id, {}))

    async def jobs(self, wanted: JobFilter) -> list[JobView]:
        self._up()
        found = sorted(self.job_views.values(), key=lambda j: -j.number)
        edge = self.job_views.get(wanted.before) if wanted.before else None
        before = 1 << 62 if wanted.before is None else 0 if edge is None else edge.number
        return [
            j
            for j in found
            if wanted.owner in (None, j.owner)
            and wanted.status in (None, j.public_status)
            and wanted.type in (None, j.type)
            and j.number < before
        ][wanted.offset :][: wanted.limit]

    async def count_jobs(self, wanted: JobFilter) -> int:
        return len(await self.jobs(replace(wanted, limit=1 << 30, before=None, offset=0)))

    async def queue(self, limit: int) -> list[JobView]:
        open_jobs = [j for j in self.job_views.values() if j.status in (JobStatus.QUEUED, JobStatus.RUNNING)]
        return sorted(open_jobs, key=lambda j: j.number)[:limit]

    async def agents(self) -> list[AgentView]:
        return self.agent_views

    async def get(self, digest: str) -> bytes | None:
        return self.blobs.get(digest)

    async def job_log(self, job_id: UUID) -> str:
        self._up()
        return self.logs.get(job_id, "")

    async def events(self, wanted: EventFilter) -> list[EventView]:
        self._up()
        own = {f"job-{j.job_id}" for j in self.job_views.values() if j.owner == wanted.visible_to}
        return [
            e
            for e in self.event_views
            if e.position > wanted.after
            and wanted.stream in (None, e.stream)
            and (wanted.visible_to is None or e.stream.startswith("board-") or e.stream in own)
        ][: wanted.limit]

    async def key(self, key_sha256: str) -> KeyView | None:
        self._up()
        self.key_looks += 1
        rotated = (k for k in self.key_views.values() if k.previous_sha256 == key_sha256)
        return self.key_views.get(key_sha256) or next(rotated, None)

    async def keys(self, wanted: KeyFilter) -> list[KeyView]:
        def place(at: datetime | str | None, key_id: UUID) -> tuple[float, UUID]:
            moment = at if isinstance(at, datetime) else T0
            return -moment.timestamp(), key_id

        found = [k for k in self.key_views.values() if wanted.owner in (None, k.owner)]
        found.sort(key=lambda k: place(k.created_at, k.key_id))
        if wanted.after is not None:
            found = [k for k in found if place(k.created_at, k.key_id) > place(*wanted.after)]
        return found[wanted.offset :][: wanted.limit]

    async def count_keys(self, owner: str | None) -> int:
        return sum(owner in (None, k.owner) for k in self.key_views.values())

    async def key_by_id(self, key_id: UUID) -> KeyView | None:
        return next((k for k in self.key_views.values() if k.key_id == key_id), None)

    async def are_teammates(self, owner: str, team: str) -> bool:
        return any(k.owner == owner and k.team == team and k.revoked_at is None for k in self.key_views.values())

    async def answer(self, command_id: UUID) -> StoredAnswer | None:
        self._up()
        return self.answers.get(command_id)

    async def ping(self) -> None:
        self._up()

    async def toolchain(self) -> str | None:
        self._up()
        return self.tools

    async def put(self, data: bytes) -> str:
        self._up()
        self.blobs[digest(data)] = data
        return digest(data)
