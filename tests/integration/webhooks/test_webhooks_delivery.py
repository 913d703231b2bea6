"""Delivery from a real log in Postgres, under a clock and to endpoints that the test decides about."""

from __future__ import annotations

import asyncio
import gc
import json
from asyncio import StreamReader, StreamWriter
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from lutlab_events.webhooks import Topic
from lutlab_hooks.secrets import Vault, signatures
from lutlab_webhooks.adapters import postgres
from lutlab_webhooks.adapters.postgres import PostgresStore, leading
from lutlab_webhooks.app import delivery
from lutlab_webhooks.app.delivery import Courier
from lutlab_webhooks.app.ports import Delivery, Endpoint, Reply, StoreUnavailable

START = datetime(2026, 3, 1, tzinfo=UTC)
VAULT = Vault("the operator's key")
SECRET = "a secret of more than 24 bytes"
HOUR = timedelta(hours=1)
OK = Reply(status_code=204, headers={})
DOWN = Reply(error="ConnectError: refused")


@dataclass
class Lab:
    """A log to write, a clock to set, and endpoints that answer as told."""

    pool: Any
    holder: Any
    now_: datetime = START
    answers: dict[str, Callable[[], Reply]] = field(default_factory=dict)
    heard: defaultdict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    headers: list[Mapping[str, str]] = field(default_factory=list)
    attempts: Counter[str] = field(default_factory=Counter)
    disabled: list[tuple[UUID, str]] = field(default_factory=list)
    position: int = 0

    def now(self) -> datetime:
        return self.now_

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self.attempts[url] += 1
        reply = self.answers.get(url, lambda: OK)()
        assert {**headers} == {
            **headers,
            **signatures(headers["webhook-id"], int(self.now_.timestamp()), body, [SECRET]),
        }
        if reply.status_code is not None and reply.status_code < 300:
            self.heard[url].append(json.loads(body))
            self.headers.append(headers)
        return reply

    async def disable(self, endpoint: Endpoint, code: str, message: str) -> None:
        self.disabled.append((endpoint.webhook_id, code))
        await self.pool.execute("update webhooks set state = 'disabled' where webhook_id = $1", endpoint.webhook_id)

    async def endpoint(self, url: str, **more: Any) -> UUID:
        ident = uuid4()
        values: dict[str, Any] = {
            "webhook_id": ident,
            "owner": "ada",
            "url": url,
            "topics": json.dumps([topic.value for topic in Topic]),
            "everyone": False,
            "project_id": None,
            "fpga_id": None,
            "ordered": False,
            "description": "",
            "state": "active",
            "secret_box": VAULT.seal(ident, SECRET, bytes(24)),
            "previous_box": None,
            "rotated_at": None,
            "code": None,
            "message": None,
            "start_position": self.position,
            "created_at": self.now_,
            "updated_at": self.now_,
            "version": 1,
        } | more
        places = ", ".join(f"${n + 1}" for n in range(len(values)))
        await self.pool.execute(f"insert into webhooks ({', '.join(values)}) values ({places})", *values.values())
        return ident

    async def happens(self, stream: str, kind: str, version: int, data: dict[str, Any] | None = None) -> int:
        self.position += 1
        await self.pool.execute(
            "insert into events values ($1, $2, $3, $4, $5, $6, $7, $7, 'test', 'main', $8, '\\x00')",
            self.position,
            uuid4(),
            stream,
            version,
            kind,
            json.dumps({"type": kind, **(data or {})}),
            uuid4(),
            self.now_,
        )
        return self.position

    async def failed_job(self) -> int:
        stream = f"job-{uuid4()}"
        return await self.happens(
            stream, "job.failed.v1", 2, {"code": "synthesis_failed", "message": "no", "owner": "ada"}
        )

    def courier(self) -> Courier:
        return Courier(
            store=PostgresStore(self.pool, self.holder),
            sender=self,
            disabler=self,
            vault=VAULT,
            clock=self,
            jitter=lambda: 0.5,
            disable_after=timedelta(days=4),
            attempted=Counter(),
        )

    async def work(self, courier: Courier) -> None:
        """Tick until a tick attempts nothing."""
        before = -1
        while before != sum(self.attempts.values()):
            before = sum(self.attempts.values())
            await courier.tick()
            await courier.idle()

    async def until(self, courier: Courier, end: datetime) -> None:
        """Let time go on from one due delivery to the next."""
        while True:
            await self.work(courier)
            due = await self.pool.fetchval(
                "select min(d.next_at) from webhook_deliveries d join webhooks using (webhook_id) "
                "where status = 'pending' and state = 'active' and next_at > $1",
                self.now_,
            )
            if due is None or due > end:
                self.now_ = end
                return
            self.now_ = due


@pytest.fixture
async def lab(postgres_url: str) -> AsyncIterator[Lab]:
    pool = await asyncpg.create_pool(postgres_url, min_size=1, max_size=4)
    for table in ("webhooks", "webhook_progress", "webhook_deliveries", "webhook_attempts"):
        await pool.execute(f"truncate {table}")
    position = await pool.fetchval("select coalesce(max(position), 0) from events")
    holder = await asyncpg.connect(postgres_url)
    yield Lab(pool=pool, holder=holder, position=position)
    await holder.close()
    await pool.close()


async def test_an_event_reaches_whoever_wants_it_once(lab: Lab) -> None:
    await lab.failed_job()
    await lab.endpoint("https://a")
    await lab.happens("agent-bench", "agent.registered.v1", 1)
    await lab.endpoint("https://b", topics='["job.completed"]')
    position = await lab.failed_job()
    courier = lab.courier()
    await lab.work(courier)
    await lab.work(lab.courier())
    (told,) = lab.heard["https://a"]
    assert (told["event"], told["position"]) == ("job.failed", position)
    assert told["summary"] == {"code": "synthesis_failed", "message": "no"}
    assert not lab.heard["https://b"]
    row = await lab.pool.fetchrow("select * from webhook_attempts")
    assert row["status_code"] == 204
    assert "ignature" not in row["request_headers"]


async def test_a_verification_job_reaches_those_who_want_its_project(lab: Lab) -> None:
    job, project = uuid4(), uuid4()
    shown = f"proj_{project.hex}"
    await lab.endpoint("https://a", project_id=shown)
    await lab.endpoint("https://b", project_id=f"proj_{uuid4().hex}")
    await lab.endpoint("https://c", owner="eve")
    await lab.pool.execute(
        "insert into verifications values ($1, $2, $3, 'ada', 'passed', '[]', null, '[]', '{}', '', 1, 1, null, null, "
        "null, null, $1, $4, null, null, $4, 1)",
        job,
        lab.position + 1,
        project,
        lab.now_,
    )
    stream = f"verification-{job}"
    await lab.happens(stream, "verification.submitted.v1", 1, {"job_id": str(job), "project_id": str(project)})
    await lab.happens(stream, "verification.completed.v1", 2, {"summary": {"tests_passed": 10}})
    await lab.work(lab.courier())
    first, last = sorted(lab.heard["https://a"], key=lambda body: int(body["position"]))
    assert (first["event"], last["event"], last["status"]) == ("job.queued", "job.completed", "passed")
    assert (last["job_id"], last["project_id"], last["owner"]) == (f"job_{job.hex}", shown, "ada")
    assert last["summary"] == {"tests_passed": 10}
    assert not lab.heard["https://b"]
    assert not lab.heard["https://c"]


async def test_the_stage_before_is_what_completed(lab: Lab) -> None:
    await lab.endpoint("https://a", topics='["stage.completed"]', everyone=True)
    stream = f"job-{uuid4()}"
    for version, stage in ((3, "elaborate"), (4, "synthesize")):
        await lab.happens(stream, "job.build_stage_entered.v1", version, {"attempt": 0, "stage": stage})
    await lab.happens(stream, "job.build_succeeded.v1", 5, {"attempt": 0})
    await lab.work(lab.courier())
    stages = sorted((told["position"], told["summary"]["stage"]) for told in lab.heard["https://a"])
    assert [stage for _, stage in stages] == ["elaborate", "synthesize"]


async def test_75_hours_without_the_endpoint_lose_nothing(lab: Lab) -> None:
    """Events every five hours, the delivery killed and started anew again and again, some attempts unrecorded."""
    await lab.endpoint("https://a")
    end = START + 75 * HOUR
    lab.answers["https://a"] = lambda: DOWN if lab.now_ < end else OK
    positions: list[int] = []
    for hour in range(0, 75, 5):
        positions += [await lab.failed_job() for _ in range(3)]
        courier = lab.courier()
        await lab.until(courier, START + (hour + 5) * HOUR)
        await courier.stop()
    assert not lab.heard["https://a"]
    assert not lab.disabled
    await lab.until(lab.courier(), end + 25 * HOUR)
    heard = [told["position"] for told in lab.heard["https://a"]]
    assert sorted(heard) == positions
    ids = {told["position"]: told["id"] for told in lab.heard["https://a"]}
    assert {(h["webhook-id"]) for h in lab.headers} == set(ids.values())
    first = await lab.pool.fetchval("select attempts from webhook_deliveries where position = $1", positions[0])
    assert 9 <= first <= 10  # the same id all along


async def test_75_hours_without_the_delivery_lose_nothing(lab: Lab) -> None:
    await lab.endpoint("https://a")
    positions = [await lab.failed_job() for _ in range(1100)]  # more than an endpoint may owe, and than one reading
    lab.now_ += 75 * HOUR
    await lab.work(lab.courier())
    assert sorted(told["position"] for told in lab.heard["https://a"]) == positions


async def test_a_crash_between_sending_and_recording_repeats_the_same_id(lab: Lab) -> None:
    await lab.endpoint("https://a")
    await lab.failed_job()
    courier = lab.courier()
    record = courier._store.record

    async def crash(*args: Any, **more: Any) -> None:
        raise StoreUnavailable("power cut")

    courier._store.record = crash  # type: ignore[method-assign]
    await courier.tick()
    await courier.idle()
    courier._store.record = record  # type: ignore[method-assign]
    await lab.work(lab.courier())
    first, second = lab.headers
    assert first["webhook-id"] == second["webhook-id"]


async def test_what_a_deleted_endpoint_was_owed_is_forgotten_what_others_are_is_not(lab: Lab) -> None:
    deleted, owed = await lab.endpoint("https://deleted"), await lab.endpoint("https://owed")
    await lab.endpoint("https://served")
    lab.answers |= {"https://deleted": lambda: DOWN, "https://owed": lambda: DOWN}
    await lab.failed_job()
    await lab.work(lab.courier())
    await lab.pool.execute("update webhooks set state = 'deleted' where webhook_id = $1", deleted)
    store = PostgresStore(lab.pool, lab.holder)
    assert await store.forget(lab.now_) == 0
    assert await store.forget(lab.now_ + timedelta(seconds=1)) == 2
    left = await lab.pool.fetch("select webhook_id, status from webhook_deliveries")
    assert [tuple(row) for row in left] == [(owed, "pending")]


async def test_an_endpoint_that_hangs_delays_nobody(lab: Lab) -> None:
    release = asyncio.Event()
    await lab.endpoint("https://dead")
    await lab.endpoint("https://alive")
    plain = lab.send

    async def send(url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if url == "https://dead":
            lab.attempts[url] += 1
            await release.wait()
            return DOWN
        return await plain(url, headers, body)

    lab.send = send  # type: ignore[method-assign]
    courier = lab.courier()
    for _ in range(40):
        await lab.failed_job()
    async with asyncio.timeout(30):
        while len(lab.heard["https://alive"]) < 40 or lab.attempts["https://dead"] < delivery.SLOTS:
            await courier.tick()
            await asyncio.sleep(0.005)
    await courier.tick()
    assert len(lab.heard["https://alive"]) == 40
    assert lab.attempts["https://dead"] == delivery.SLOTS
    release.set()
    await courier.idle()


async def test_what_ends_while_the_store_is_asked_is_not_sent_twice(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await lab.endpoint("https://alive")
    courier = lab.courier()
    due = PostgresStore.due

    async def slow(store: PostgresStore, *arguments: Any) -> Sequence[Delivery]:
        answer = await due(store, *arguments)
        await courier.idle()
        return answer

    monkeypatch.setattr(PostgresStore, "due", slow)
    await lab.failed_job()
    for _ in range(3):
        await courier.tick()
    await courier.idle()
    assert len(lab.heard["https://alive"]) == 1


async def test_ordered_endpoints_get_a_subject_strictly_in_order(lab: Lab) -> None:
    await lab.endpoint("https://a", ordered=True)
    calls = iter([DOWN, DOWN])
    lab.answers["https://a"] = lambda: next(calls, OK)
    one, two = f"job-{uuid4()}", f"job-{uuid4()}"
    for version, kind in enumerate(("job.submitted.v1", "job.build_started.v1", "job.failed.v1"), 1):
        for stream in (one, two):
            await lab.happens(stream, kind, version, {"owner": "ada", "code": "c", "message": "m"})
    courier = lab.courier()
    await lab.work(courier)
    assert lab.attempts["https://a"] == 2  # the first of either subject; what follows waits
    await lab.until(courier, START + HOUR)
    for stream in (one, two):
        told = [t["event"] for t in lab.heard["https://a"] if stream.endswith(t["job_id"])]
        assert told == ["job.queued", "job.started", "job.failed"]


async def test_gone_disables_and_days_of_failure_do(lab: Lab) -> None:
    gone = await lab.endpoint("https://gone")
    broken = await lab.endpoint("https://broken")
    lab.answers = {"https://gone": lambda: Reply(status_code=410, headers={}), "https://broken": lambda: DOWN}
    courier = lab.courier()
    for hour in range(0, 100, 10):
        await lab.failed_job()
        await lab.until(courier, START + (hour + 10) * HOUR)
    assert lab.disabled == [(gone, "endpoint_gone"), (broken, "endpoint_failed")]
    assert lab.attempts["https://gone"] <= delivery.SLOTS
    before = lab.attempts["https://broken"]
    await lab.failed_job()
    lab.answers.clear()
    await lab.until(courier, lab.now_ + HOUR)
    assert lab.attempts["https://broken"] == before
    await lab.pool.execute("update webhooks set state = 'active' where webhook_id = $1", broken)
    await lab.until(courier, lab.now_ + HOUR)
    assert lab.position in {told["position"] for told in lab.heard["https://broken"]}  # what happened meanwhile


async def test_retry_after_is_kept_to(lab: Lab) -> None:
    await lab.endpoint("https://a")
    busy = iter([Reply(status_code=429, headers={"retry-after": "600"})])
    lab.answers["https://a"] = lambda: next(busy, OK)
    await lab.failed_job()
    courier = lab.courier()
    await lab.until(courier, START + timedelta(seconds=599))
    assert not lab.heard["https://a"]
    await lab.until(courier, START + timedelta(seconds=601))
    assert len(lab.heard["https://a"]) == 1


async def test_a_range_is_replayed_under_the_same_ids(lab: Lab) -> None:
    ident = await lab.endpoint("https://a")
    positions = [await lab.failed_job() for _ in range(5)]
    courier = lab.courier()
    await lab.work(courier)
    await lab.pool.execute("delete from webhook_deliveries where position = $1", positions[2])
    await lab.pool.execute(
        "update webhook_progress set replay_position = $2, replay_until = $3 where webhook_id = $1",
        ident,
        positions[0],
        positions[3],
    )
    await lab.work(courier)
    ids = defaultdict(set)
    for told in lab.heard["https://a"]:
        ids[told["position"]].add(told["id"])
    assert [len(ids[p]) for p in positions] == [1] * 5
    assert Counter(told["position"] for told in lab.heard["https://a"]) == Counter(positions + positions[1:4])
    assert await lab.pool.fetchval("select replay_position is null from webhook_progress") is True


async def test_only_one_process_delivers(postgres_url: str) -> None:
    async with leading(postgres_url) as store:
        second = leading(postgres_url)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(second.__aenter__(), 0.3)
        assert await store.endpoints(START, 10) is not None


async def test_who_lost_the_lock_without_a_word_delivers_no_more(
    postgres_url: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network was away: Postgres gave the lock back, and what it said of that did not arrive."""
    monkeypatch.setattr(postgres, "TIMEOUT_S", 0.3)
    parts = urlsplit(postgres_url)
    lines: list[bool] = []

    async def carry(source: StreamReader, to: StreamWriter, line: int) -> None:
        while data := await source.read(65536):
            if lines[line]:
                to.write(data)
        to.close()

    async def forward(client: StreamReader, client_out: StreamWriter) -> None:
        line = len(lines)
        lines.append(True)
        there, there_out = await asyncio.open_connection(parts.hostname, parts.port)
        await asyncio.gather(carry(client, there_out, line), carry(there, client_out, line), return_exceptions=True)

    proxy = await asyncio.start_server(forward, "127.0.0.1", 0)
    through = postgres_url.replace(f":{parts.port}/", f":{proxy.sockets[0].getsockname()[1]}/")
    async with proxy, leading(through) as store:
        assert await store.endpoints(START, 10) == []
        lines[0] = False
        held = "select pid from pg_locks where locktype = 'advisory' and objid = $1"
        pid = await lab.pool.fetchval(held, postgres.LOCK)
        idle = await lab.pool.fetchval("select pg_terminate_backend($1)", pid)
        assert idle
        async with leading(postgres_url):  # another process has the lock by now
            assert await store.read(0, 1) is not None, "the network is back"
            with pytest.raises(StoreUnavailable):
                await store.endpoints(START, 10)


async def test_postgres_soon_notices_that_a_host_vanished(postgres_url: str) -> None:
    async with leading(postgres_url) as store:
        assert await store._holder.fetchval("show tcp_keepalives_idle") == "5"


async def test_a_connection_that_is_just_given_back_is_no_error_at_the_end(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[dict[str, Any]] = []
    loop, entered, gate = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    reset = asyncpg.Connection.reset

    async def slow(connection: asyncpg.Connection, *, timeout: float | None = None) -> None:
        entered.set()
        await gate.wait()
        await reset(connection, timeout=timeout)

    monkeypatch.setattr(asyncpg.Connection, "reset", slow)
    async with leading(postgres_url) as store:
        asking = asyncio.create_task(store.read(0, 10))
        await entered.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        loop.call_later(0.05, gate.set)
    await gate.wait()
    for _ in range(10):
        await asyncio.sleep(0.01)  # what was left alone would end now
    gc.collect()
    assert complaints == []
