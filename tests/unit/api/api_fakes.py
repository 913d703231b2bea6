"""A lab in memory behind the API's ports: views to set, commands to look at, a design that answers."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import msgspec
from api_hooks import FakeHooks, FakeLogSource
from api_verification import FakeVerification

from lutlab_api.adapters.checker import ConfigChecker
from lutlab_api.app.audit import AuditFilter, AuditRow, CommandFilter, CommandRow, Letter
from lutlab_api.app.ports import EventFilter, IdentityProvider, JobFilter, MessagingHealth
from lutlab_api.app.storage import Used
from lutlab_api.domain.errors import ApiError, Unavailable
from lutlab_api.domain.queue import Queue
from lutlab_api.domain.views import (
    AgentView,
    BoardView,
    EventView,
    Failure,
    JobDetail,
    JobView,
    KeyView,
    SessionView,
    StoredAnswer,
)
from lutlab_api.settings import Settings
from lutlab_api.web.application import create_app
from lutlab_api.web.routes_live import tell
from lutlab_api.web.services import Ports, wire
from lutlab_bus import LinkCounters, Modify, Operation, Poll, Result, Status, Write, batch
from lutlab_bus.operations import as_words
from lutlab_events.busmsg import BridgeWay, BusHeaders, BusReply, BusStatus, BusVerb
from lutlab_events.commands import Command, IssueKey, RecordRun, RevokeKey, RotateKey
from lutlab_events.envelope import Answer
from lutlab_events.ids import derived, digest
from lutlab_events.queries import StateAnswer, StateQuery
from lutlab_events.rejections import Rejection
from lutlab_events.values import BoardState, JobStatus, JobType, Role
from lutlab_events.verification import VerificationCommand

T0 = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ADA, BOB, ROOT = "ada-key-0123456789", "bob-key-0123456789", "root-key-0123456789"
SESSION = UUID(int=77)
ERROR_FRAME = b"\x01\0\0\0"


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

    async def keys(self, limit: int, owner: str | None = None) -> list[KeyView]:
        return [k for k in self.key_views.values() if owner in (None, k.owner)][:limit]

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


@dataclass
class FakeAudit:
    """A log, commands and letters to set by hand; remembers what was asked and posted."""

    rows: list[AuditRow] = field(default_factory=list)
    command_rows: list[CommandRow] = field(default_factory=list)
    kept: dict[UUID, Letter] = field(default_factory=dict)
    states: dict[str, StateAnswer] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    queues: dict[UUID, Queue] = field(default_factory=dict)
    posted: list[tuple[str, bytes]] = field(default_factory=list)
    is_down: bool = False

    async def audit(self, wanted: AuditFilter) -> list[AuditRow]:
        self.asked.append(wanted)
        if self.is_down:
            raise Unavailable("the lab's database does not answer")
        return [row for row in self.rows if row.position > wanted.after][: wanted.limit]

    async def commands(self, wanted: CommandFilter) -> list[CommandRow]:
        self.asked.append(wanted)
        return self.command_rows[: wanted.limit]

    async def letters(self, limit: int, *, with_replayed: bool) -> list[Letter]:
        return [x for x in self.kept.values() if with_replayed or x.replayed_at is None][:limit]

    async def letter(self, letter_id: UUID) -> Letter | None:
        return self.kept.get(letter_id)

    async def note_replayed(self, letter_id: UUID, by: str, at: datetime) -> None:
        self.kept[letter_id] = replace(self.kept[letter_id], replayed_by=by, replayed_at=at)

    async def state_at(self, query: StateQuery) -> StateAnswer:
        self.asked.append(query)
        return self.states.get(query.stream, StateAnswer(stream=query.stream))

    async def queue(self, job_id: UUID) -> Queue | None:
        return self.queues.get(job_id)

    async def publish(self, subject: str, data: bytes) -> None:
        self.posted.append((subject, data))


@dataclass(frozen=True)
class Sent:
    """A command as it was sent."""

    body: Command
    command_id: UUID
    actor: str
    correlation_id: UUID
    fingerprint: str


@dataclass
class FakeCommands:
    """A scheduler that accepts everything, or what `rejections` says; answers a repeated command id the same."""

    ledger: FakeLedger
    verification: FakeVerification
    sent: list[Sent] = field(default_factory=list)
    rejections: dict[type, Rejection] = field(default_factory=dict)
    is_down: bool = False
    swallow: int = 0
    """This many commands are taken, but not answered."""

    async def request(
        self,
        body: Command,
        *,
        command_id: UUID,
        actor: str,
        correlation_id: UUID,
        fingerprint: str,
        timeout_s: float,
    ) -> Answer:
        if self.is_down:
            raise Unavailable("the lab's message bus does not answer")
        stored = self.ledger.answers.get(command_id)
        if stored is not None and stored.fingerprint != fingerprint:
            return Answer(command_id=command_id, code=Rejection.IDEMPOTENCY_MISMATCH, message="another request")
        if stored is None:
            self.sent.append(Sent(body, command_id, actor, correlation_id, fingerprint))
            if self.swallow:
                self.swallow -= 1
                raise Unavailable("the scheduler did not answer within 5.0 s")
            stored = self._decide(body, fingerprint)
            self.ledger.answers[command_id] = stored
        return Answer(command_id=command_id, code=stored.code, message=stored.message, data=dict(stored.data))

    def _decide(self, body: Command, fingerprint: str) -> StoredAnswer:
        rejection = self.rejections.get(type(body))
        if rejection is not None:
            return StoredAnswer(fingerprint=fingerprint, code=rejection, message=f"no: {rejection}", data={})
        if isinstance(body, VerificationCommand):
            code, message, data = self.verification.decide(body)
            return StoredAnswer(fingerprint=fingerprint, code=code, message=message, data=data)
        if isinstance(body, IssueKey):
            self.ledger.key_views[body.key_sha256] = KeyView(
                key_id=body.key_id,
                key_sha256=body.key_sha256,
                owner=body.owner,
                role=body.role,
                label=body.label,
                named_scopes=body.scopes,
                team=body.team,
                expires_at=body.expires_at,
            )
        elif isinstance(body, RotateKey):
            name, view = next((n, k) for n, k in self.ledger.key_views.items() if k.key_id == body.key_id)
            del self.ledger.key_views[name]
            self.ledger.key_views[body.key_sha256] = replace(
                view, key_sha256=body.key_sha256, previous_sha256=name, previous_until=body.previous_until
            )
        elif isinstance(body, RevokeKey):
            for name, view in self.ledger.key_views.items():
                if view.key_id == body.key_id:
                    self.ledger.key_views[name] = replace(view, revoked_at=T0)
        elif isinstance(body, RecordRun):
            self.ledger.add(_run_job(body))
        data = {"job_id": str(body.job_id), "status": "queued"} if hasattr(body, "job_id") else {}
        return StoredAnswer(fingerprint=fingerprint, code="ok", message="", data=data)


def _run_job(body: RecordRun) -> JobView:
    failure = None if body.failure is None else Failure(code=body.failure.code, message=body.failure.message)
    return job(
        100,
        job_id=body.job_id,
        type=JobType.RUN,
        status=JobStatus.FAILED if failure else JobStatus.COMPLETE,
        owner=body.owner,
        assigned_fpga_id=body.fpga_id,
        failure=failure,
        result={"ok": failure is None, "data": list(body.data)} | _ops_of(body),
    )


def _ops_of(body: RecordRun) -> dict[str, Any]:
    if not body.ops:
        return {}
    told = [{"ok": step.failure is None, "data": list(step.data), "error": step.failure} for step in body.ops]
    return {
        "data": [word for step in body.ops for word in step.data],
        "ops": [each | {"error": each["error"] and msgspec.to_builtins(each["error"])} for each in told],
    }


WAY = BridgeWay(host="10.1.1.1", port=1234, token="ab" * 32)
STATS = {
    "open": True,
    "in_step": True,
    "device": None,
    "line_baud": 12_500_000,
    "latency_timer": {"found_ms": 16, "now_ms": 1, "problem": ""},
    "counters": LinkCounters(frames=7, retries=1).as_dict(),
}


SIGNALS = {"led0": 1, "count": 16}
PINS = [{"name": "led0", "pin": "B2", "way": "out", "level": 1}]


@dataclass
class FakeBus:
    """Agents with one echo memory of 512 words each; `script` may answer instead."""

    memory: dict[int, int] = field(default_factory=dict)
    seen: list[tuple[str, BusHeaders, bytes]] = field(default_factory=list)
    script: Callable[[BusHeaders, bytes], BusReply | ApiError | None] = lambda headers, frame: None
    holder: str = ""
    delay_s: float = 0.0
    under_way: int = 0
    under_way_max: int = 0

    async def request(self, agent_id: str, headers: BusHeaders, frame: bytes, timeout_s: float) -> BusReply:
        self.seen.append((agent_id, headers, frame))
        self.under_way += 1
        self.under_way_max = max(self.under_way, self.under_way_max)
        try:
            if self.delay_s and headers.verb is BusVerb.EXCHANGE:
                await asyncio.sleep(self.delay_s)
        finally:
            self.under_way -= 1
        scripted = self.script(headers, frame)
        if isinstance(scripted, ApiError):
            raise scripted
        return scripted or self._answer(headers, frame)

    def _answer(self, headers: BusHeaders, frame: bytes) -> BusReply:
        if headers.verb is BusVerb.EXCHANGE:
            return BusReply(status=BusStatus.OK, frame=self.exchange(frame))
        if headers.verb is BusVerb.BATCH:
            return BusReply(
                status=BusStatus.OK, frame=batch.encode_results([self._do(op) for op in batch.decode(frame)])
            )
        if headers.verb is BusVerb.BRIDGE:
            return BusReply(status=BusStatus.OK, frame=msgspec.json.encode(WAY))
        if headers.verb is BusVerb.STATS:
            return BusReply(status=BusStatus.OK, frame=json.dumps(STATS).encode())
        if headers.verb in (BusVerb.PINS, BusVerb.DRIVE):
            return BusReply(status=BusStatus.OK, frame=json.dumps(PINS).encode())
        if headers.verb is BusVerb.SIGNALS:
            return BusReply(status=BusStatus.OK, frame=json.dumps(SIGNALS).encode())
        if headers.verb is BusVerb.CAPTURE:
            return BusReply(status=BusStatus.OK, frame=b"$timescale 1 ps $end")
        if headers.verb is BusVerb.OPEN:
            if self.holder:
                return BusReply(status=BusStatus.BUSY)
            self.holder = headers.stream_id
        elif headers.verb is BusVerb.CLOSE and self.holder == headers.stream_id:
            self.holder = ""
        return BusReply(status=BusStatus.OK)

    def _do(self, op: Operation) -> Result:
        if isinstance(op, Write):
            for i, word in enumerate(op.words):
                self.memory[op.address_words + (0 if op.fixed else i)] = word
            return Result(Status.OK)
        at = [op.address_words + (0 if getattr(op, "fixed", False) else i) for i in range(op.count)]
        words = [self.memory.get(each, 0) for each in at]
        if isinstance(op, Modify):
            self.memory[op.address_words] = (words[0] & ~op.mask) | (op.value & op.mask)
        met = not isinstance(op, Poll) or not (words[0] ^ op.value) & op.mask
        return Result(Status.OK if met else Status.POLL_TIMEOUT, as_words(words))

    def exchange(self, frame: bytes) -> bytes:
        if len(frame) < 12:
            return ERROR_FRAME
        head, address, *words = struct.unpack(f">{len(frame) // 4}I", frame[: len(frame) // 4 * 4])
        index = address // 4
        if head >> 24 == 2:
            values = [self.memory.get(index + i, 0) for i in range(words[0])]
            return struct.pack(f">{1 + len(values)}I", len(values), *values)
        for i, word in enumerate(words):
            self.memory[index if head >> 31 else index + i] = word
        return bytes(4)

    def verbs(self) -> list[str]:
        return [headers.verb.value for _, headers, _ in self.seen]


@dataclass
class FakeShared:
    """What processes share; `is_down` makes every method fail."""

    taken: dict[str, tuple[int, int]] = field(default_factory=dict)
    seats: dict[UUID, tuple[str, datetime]] = field(default_factory=dict)
    used: dict[UUID, datetime] = field(default_factory=dict)
    takes: int = 0
    is_down: bool = False

    def _up(self) -> None:
        if self.is_down:
            raise Unavailable("the lab's database does not answer")

    async def take(self, bucket: str, window_start: int, units: int) -> int:
        self._up()
        self.takes += 1
        start, taken = self.taken.get(bucket, (window_start, 0))
        taken = taken + units if start == window_start else units
        self.taken[bucket] = (window_start, taken)
        return taken

    async def take_seat(self, owner: str, holder: UUID, *, now: datetime, until: datetime, seats_max: int) -> bool:
        self._up()
        if sum(who == owner and end > now for who, end in self.seats.values()) >= seats_max:
            return False
        self.seats[holder] = (owner, until)
        return True

    async def keep_seat(self, holder: UUID, until: datetime) -> None:
        self.seats[holder] = (self.seats[holder][0], until)

    async def free_seat(self, holder: UUID) -> None:
        self.seats.pop(holder, None)

    async def record_use(self, used: Mapping[UUID, datetime]) -> None:
        self._up()
        self.used.update(used)

    async def sweep(self, before: datetime) -> None:
        self._up()
        self.taken = {name: each for name, each in self.taken.items() if each[0] >= before.timestamp()}


@dataclass
class FakeStorage:
    """What counts for owners, to set by hand."""

    held: dict[str, dict[str, int]] = field(default_factory=dict)
    looks: int = 0

    async def used(self, owner: str, digests: Collection[str]) -> Used:
        self.looks += 1
        mine = self.held.get(owner, {})
        return Used(used_bytes=sum(mine.values()), blobs=len(mine), held=frozenset(mine) & frozenset(digests))


@dataclass
class FakeChanges:
    """News to give by hand."""

    watchers: dict[str, list[asyncio.Event]] = field(default_factory=dict)
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def watched(self, stream: str) -> None:
        """Wait until somebody watches."""
        while not self.watchers.get(stream):
            self.began.clear()
            await asyncio.wait_for(self.began.wait(), 5)

    def watch_all(self) -> AbstractContextManager[asyncio.Event]:
        return self.watch("*")

    @contextmanager
    def watch(self, stream: str) -> Iterator[asyncio.Event]:
        watcher = asyncio.Event()
        self.watchers.setdefault(stream, []).append(watcher)
        self.began.set()
        try:
            yield watcher
        finally:
            self.watchers[stream].remove(watcher)

    def happened(self, stream: str) -> None:
        for watcher in self.watchers.get(stream, []):
            watcher.set()


@dataclass
class FakeMessaging:
    """What the message bus says of itself."""

    state: MessagingHealth = field(
        default_factory=lambda: MessagingHealth(nats=True, scheduler=True, commands_waiting=0)
    )

    async def health(self) -> MessagingHealth:
        return self.state


@dataclass
class FakeClock:
    """A clock that stands still."""

    at: datetime = T0 + timedelta(minutes=1)
    seconds: float = 0.0

    def now(self) -> datetime:
        return self.at

    def __call__(self) -> float:
        return self.seconds


@dataclass
class FakeIds:
    """Ids that count."""

    count: int = 0

    def new(self) -> UUID:
        self.count += 1
        return UUID(int=self.count << 64)

    def secret(self) -> str:
        self.count += 1
        return f"secret-{self.count}"


class Lab:
    """A lab in memory with the real application in front of it."""

    def __init__(self, identities: IdentityProvider | None = None, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.shared = FakeShared()
        self.changes = FakeChanges()
        self.hooks = FakeHooks()
        self.log_source = FakeLogSource()
        self.ledger = FakeLedger()
        self.verification = FakeVerification()
        self.commands = FakeCommands(self.ledger, self.verification)
        self.bus = FakeBus()
        self.messaging = FakeMessaging()
        self.audit = FakeAudit()
        self.storage = FakeStorage()
        self.clock = FakeClock()
        self.ids = FakeIds()
        self.ledger.add_key(ADA, "ada")
        self.ledger.add_key(BOB, "bob")
        self.ledger.add_key(ROOT, "root", Role.ADMIN)
        ports = Ports(
            ledger=self.ledger,
            blobs=self.ledger,
            commands=self.commands,
            bus=self.bus,
            messaging=self.messaging,
            clock=self.clock,
            ids=self.ids,
            monotonic=self.clock,
            audit_log=self.audit,
            post=self.audit,
            queues=self.audit,
            shared=self.shared,
            changes=self.changes,
            hooks=self.hooks,
            log_source=self.log_source,
            storage=self.storage,
            verification=self.verification,
            checker=ConfigChecker(),
            live=self.verification,
            identities=identities,
        )
        self.services = wire(self.settings, ports, tell)
        self.app = create_app(self.services, self.ids)

    @asynccontextmanager
    async def client(self, key: str | None = ADA, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        if key is not None:
            headers["X-API-Key"] = key
        async with httpx.AsyncClient(transport=transport, base_url="http://lab", headers=headers) as client:
            yield client

    def last(self, kind: type) -> Any:
        """The body of the newest command of this class."""
        return next(sent.body for sent in reversed(self.commands.sent) if isinstance(sent.body, kind))


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    """Status, code and message; checks the form of the body, which is another one under /api/v1."""
    body = response.json()
    if response.request.url.path.startswith("/api/v1/"):
        error = body["error"]
        assert set(body) == {"error"}
        assert set(error) == {"code", "message", "details"}
        assert error["message"]
        return response.status_code, error["code"], error["message"]
    detail = body["detail"]
    assert set(body) == {"detail"}
    assert set(detail) <= {"error", "message", "job_id"}
    assert detail["message"]
    return response.status_code, detail["error"], detail["message"]
