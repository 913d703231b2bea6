"""What every EventStore must do, run on memory and on real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events import verification as v
from lutlab_events.envelope import Answer, CommandEnvelope, EventEnvelope, Happened
from lutlab_events.events import Event
from lutlab_events.ids import derived, event_id
from lutlab_events.values import BitstreamRef, JobType, Role
from lutlab_ledger.chain import GENESIS, chain_hash
from lutlab_scheduler.adapters import postgres_leader, postgres_shelf
from lutlab_scheduler.adapters.memory import MemoryDatabase, MemoryPositions, MemoryShelf, MemoryStore
from lutlab_scheduler.adapters.postgres import PostgresPositions, PostgresStore, log_row
from lutlab_scheduler.adapters.postgres_leader import Ledger
from lutlab_scheduler.app.ports import (
    AlreadyRecorded,
    AppendConflict,
    Batch,
    Checkpoint,
    DecidedCommand,
    EventStore,
    Head,
    Positions,
    RecordedCommand,
    Row,
    Shelf,
    StoreUnavailable,
    Unstorable,
)
from lutlab_scheduler.app.projections import project
from lutlab_scheduler.app.world import World

AT = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
KEY_ID = derived("key")
ISSUED = e.KeyIssued(key_id=KEY_ID, key_sha256="a" * 64, owner="ada ✓", role=Role.MEMBER, label='"quoted" \\ text')
REVOKED = e.KeyRevoked(key_id=KEY_ID)


class Stores:
    """Makes stores that share one database."""

    async def store(self) -> EventStore:
        raise NotImplementedError

    async def positions(self) -> Positions:
        raise NotImplementedError

    async def shelf(self) -> Shelf:
        raise NotImplementedError

    async def view(self, table: str) -> list[dict[str, Any]]:
        raise NotImplementedError

    async def blobs(self, **contents: bytes) -> None:
        raise NotImplementedError


class InMemory(Stores):
    def __init__(self) -> None:
        self._database = MemoryDatabase()

    async def store(self) -> EventStore:
        return MemoryStore(self._database)

    async def positions(self) -> Positions:
        return MemoryPositions(self._database)

    async def shelf(self) -> Shelf:
        return MemoryShelf(self._database)

    async def view(self, table: str) -> list[dict[str, Any]]:
        return list(self._database.views[table].values())

    async def blobs(self, **contents: bytes) -> None:
        self._database.blobs |= contents


class InPostgres(Stores):
    def __init__(self, pool: asyncpg.Pool, connections: list[asyncpg.Connection], url: str) -> None:
        self._pool = pool
        self._connections = connections
        self._url = url

    async def store(self) -> EventStore:
        self._connections.append(await asyncpg.connect(self._url))
        return PostgresStore(self._connections[-1], self._pool)

    async def positions(self) -> Positions:
        return PostgresPositions(self._pool, self._pool)

    async def shelf(self) -> Shelf:
        return postgres_shelf.PostgresShelf(self._pool)

    async def view(self, table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await self._pool.fetch(f"select * from {table}")]

    async def blobs(self, **contents: bytes) -> None:
        for name, data in contents.items():
            await self._pool.execute("insert into blobs values ($1, $2, $3, now())", name, len(data), data)


TABLES = (
    "commands",
    "subscriptions",
    "boards",
    "jobs",
    "agents",
    "api_keys",
    "profiles",
    "projects",
    "verifications",
    "blobs",
    "checkpoints",
)


@pytest.fixture(params=["memory", "postgres"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    if request.param == "memory":
        yield InMemory()
        return
    url = request.getfixturevalue("postgres_url")
    connections: list[asyncpg.Connection] = []
    async with asyncpg.create_pool(url, min_size=1, max_size=2) as pool:
        # The log refuses deletion, so each test gets its empty log by another route.
        for table in ("events", "commands"):
            await pool.execute(f"alter table {table} disable trigger all")
        await pool.execute(f"truncate events, {', '.join(TABLES)}")
        for table in ("events", "commands"):
            await pool.execute(f"alter table {table} enable trigger all")
        yield InPostgres(pool, connections, url)
        for connection in connections:
            await connection.close()


def command(name: str, fingerprint: str = "") -> CommandEnvelope:
    ident = derived(name)
    return CommandEnvelope(
        command_id=ident,
        body=c.RevokeKey(key_id=KEY_ID),
        actor="ada",
        site="main",
        correlation_id=ident,
        issued_at=AT,
        fingerprint=fingerprint,
    )


def batch(
    name: str, head: Head, bodies: Sequence[Event], *, stream: str = "key-1", version: int = 1, fingerprint: str = ""
) -> Batch:
    """A batch of one command with these events, the first at the given version."""
    envelope = command(name, fingerprint)
    events = [
        EventEnvelope(
            position=head.position + index + 1,
            event_id=event_id(envelope.command_id, index),
            stream=stream,
            version=version + index,
            body=body,
            causation_id=envelope.command_id,
            correlation_id=envelope.correlation_id,
            actor="ada",
            site="main",
            at=AT + timedelta(microseconds=index),
        )
        for index, body in enumerate(bodies)
    ]
    answer = Answer(command_id=envelope.command_id, code="ok", data={"n": 1}, position=head.position + 1)
    return Batch(commands=[DecidedCommand(envelope=envelope, answer=answer, received_at=AT)], events=events)


async def test_an_empty_log(stores: Stores) -> None:
    store = await stores.store()
    assert await store.head() == Head(0, GENESIS)
    assert list(await store.read(0, 10)) == []
    assert await store.live_streams() == []
    assert await store.recorded([derived("x")]) == {}


async def test_what_is_appended_is_read_back_exactly(stores: Stores) -> None:
    store = await stores.store()
    head = await store.head()
    first = batch("first", head, [ISSUED, REVOKED], fingerprint="f")
    after = await store.append(first, head)
    assert after.position == 2
    assert list(await store.read(0, 10)) == first.events
    assert list(await store.read(1, 10)) == first.events[1:]
    assert list(await store.read(0, 1)) == first.events[:1]
    assert list(await store.load(["key-1", "key-none"])) == first.events
    assert list(await store.load(["key-none"])) == []
    assert await (await stores.store()).head() == after
    assert await store.recorded([derived("first"), derived("none")]) == {
        derived("first"): RecordedCommand("f", first.commands[0].answer)
    }


async def test_a_replay_gives_what_a_fold_needs_of_every_event(stores: Stores) -> None:
    store = await stores.store()
    label = 'quotes " and \\ and \n and \x01 and \x7f and ✓ and \u2028'
    odd = msgspec.structs.replace(ISSUED, label=label)
    head = await store.append(batch("first", await store.head(), [odd, REVOKED]), await store.head())
    await store.append(batch("second", head, [ISSUED], stream='key-"2'), head)

    def needed(events: Sequence[Happened]) -> list[tuple[Any, ...]]:
        begun_by = [x.correlation_id if x.version == 1 else None for x in events]
        return [
            (x.position, x.stream, x.version, x.body, b, x.site, x.at) for x, b in zip(events, begun_by, strict=True)
        ]

    for streams in (None, ["key-1"], ['key-"2', "key-none"], ["key-none"]):
        found: list[Happened] = []
        await store.replay(found.extend, streams)
        wanted = await (store.read(0, 10) if streams is None else store.load(streams))
        assert needed(found) == needed(wanted)


async def test_a_replay_of_many_blocks_has_every_event_once(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutlab_scheduler.adapters.postgres_scan.BLOCK_BYTES", 1000)
    store = await stores.store()
    head = await store.head()
    for number in range(40):
        head = await store.append(batch(f"n{number}", head, [ISSUED, REVOKED] * 5, stream=f"key-{number}"), head)
    found: list[Happened] = []
    await store.replay(found.extend)
    assert [event.position for event in found] == list(range(1, 401))


async def test_the_hashes_are_a_chain(stores: Stores) -> None:
    store = await stores.store()
    first = batch("first", await store.head(), [ISSUED, REVOKED])
    head = await store.append(first, await store.head())
    second = batch("second", head, [ISSUED], stream="key-2")
    head = await store.append(second, head)
    expected = GENESIS
    for event in [*first.events, *second.events]:
        expected = chain_hash(expected, log_row(event))
    assert head == Head(3, expected)


async def test_a_refused_command_is_recorded_without_events(stores: Stores) -> None:
    store = await stores.store()
    head = await store.head()
    refused = batch("refused", head, [])
    assert await store.append(refused, head) == head
    assert derived("refused") in await store.recorded([derived("refused")])


async def test_of_two_writers_the_second_fails_and_nothing_of_it_is_stored(stores: Stores) -> None:
    """Both saw the same end of the log: the race of two leaders, step by step."""
    one, two = await stores.store(), await stores.store()
    seen_by_one, seen_by_two = await one.head(), await two.head()
    first = batch("first", seen_by_one, [ISSUED])
    await one.append(first, seen_by_one)
    with pytest.raises(AppendConflict):
        await two.append(batch("second", seen_by_two, [ISSUED], stream="key-2"), seen_by_two)
    assert list(await one.read(0, 10)) == first.events
    assert await two.recorded([derived("second")]) == {}


async def test_a_version_is_taken_once(stores: Stores) -> None:
    store = await stores.store()
    head = await store.append(batch("first", await store.head(), [ISSUED]), await store.head())
    with pytest.raises(AppendConflict):
        await store.append(batch("second", head, [REVOKED], version=1), head)
    assert (await store.append(batch("third", head, [REVOKED], version=2), head)).position == 2


async def test_a_command_is_recorded_once(stores: Stores) -> None:
    store = await stores.store()
    head = await store.append(batch("first", await store.head(), [ISSUED]), await store.head())
    with pytest.raises(AlreadyRecorded):
        await store.append(batch("first", head, []), head)
    with pytest.raises(AlreadyRecorded):
        await store.append(batch("first", head, [REVOKED], version=2), head)


async def test_views_are_written_with_the_events_and_replaced_whole(stores: Stores) -> None:
    store = await stores.store()
    world = World()
    head = await store.head()
    for name, bodies, version in (("first", [ISSUED], 1), ("second", [REVOKED], 2)):
        changes = batch(name, head, bodies, stream=f"key-{KEY_ID}", version=version)
        world.replay(changes.events)
        state = world.state(f"key-{KEY_ID}")
        assert state is not None
        changes.rows.append(project(state))
        head = await store.append(changes, head)
    (row,) = await stores.view("api_keys")
    assert (row["owner"], row["label"]) == (ISSUED.owner, ISSUED.label)
    assert row["revoked_at"] is not None
    assert await store.live_streams() == [f"key-{KEY_ID}"]


async def test_projects_and_jobs_live_until_they_end(stores: Stores) -> None:
    store = await stores.store()
    world = World()
    head = await store.head()
    ident = derived("verification")
    file = v.FileRef(digest="ab" * 32, size_bytes=3)
    created = v.ProjectCreated(project_id=ident, owner="ada", name="uart", top_module="t", target_pdk="sky130")
    submitted = v.VerificationSubmitted(
        job_id=ident,
        project_id=ident,
        owner="ada",
        stages=("lint",),
        files_digest="cd" * 32,
        seed=2**31 - 1,
        config_overrides={"verification.formal.depth": 3},
    )
    outcome = v.StageOutcome(status="passed", summary={"warnings": 2}, seconds=1.5)
    steps: list[tuple[str, list[Event]]] = [
        (v.project_stream(ident), [created, v.FilesUploaded(files={"a.v": file})]),
        (v.verification_stream(ident), [submitted, v.VerificationStarted(builder_id="b")]),
        (v.verification_stream(ident), [v.StageCompleted(stage="lint", attempt=1, outcome=outcome)]),
        (v.verification_stream(ident), [v.VerificationPassed(summary={"stages": {"lint": "passed"}})]),
        (v.project_stream(ident), [v.ProjectDeleted(by="ada")]),
    ]
    lived = []
    for number, (stream, bodies) in enumerate(steps):
        changes = batch(str(number), head, bodies, stream=stream, version=world.version(stream) + 1)
        world.replay(changes.events)
        state = world.state(stream)
        assert state is not None
        changes.rows.append(project(state))
        head = await store.append(changes, head)
        lived.append(sorted(stream.partition("-")[0] for stream in await store.live_streams()))
    both = ["project", "verification"]
    assert lived == [["project"], both, both, ["project"], []]
    (row,) = await stores.view("verifications")
    assert (row["status"], row["seed"]) == ("passed", 2**31 - 1)
    assert list(await store.load([v.verification_stream(ident)]))[1].body == v.VerificationStarted(builder_id="b")


async def test_what_owners_have_stored_is_what_the_log_speaks_of(stores: Stores) -> None:
    """Each content once for an owner: of builds, of every upload to a project, of what verification found."""
    store = await stores.store()
    sizes = {"source": 10, "bits": 20, "old": 30, "new": 40, "set": 50, "details": 60, "artifact": 70, "unspoken": 80}
    await stores.blobs(**{name: b"x" * size for name, size in sizes.items()})
    assert await store.sizes(["source", "set", "none"]) == {"source": 10, "set": 50}
    ident, head, world = derived("stored"), await store.head(), World()
    bits = BitstreamRef(
        digest="bits", size_bytes=20, build_key="k", build_id=1, profile="p", clk_hz=1, baud=1, address_words=1
    )
    build = e.JobSubmitted(
        job_id=ident,
        job_type=JobType.BUILD_AND_PROGRAM,
        owner="ada",
        source_digest="source",
        filename="a.v",
        profile="p",
    )
    reset = e.JobSubmitted(job_id=derived("reset"), job_type=JobType.RESET, owner="ada", fpga_id=0)
    created = v.ProjectCreated(project_id=ident, owner="ada", name="uart", top_module="t", target_pdk="sky130")
    submitted = v.VerificationSubmitted(
        job_id=ident, project_id=ident, owner="ada", stages=("lint", "formal"), files_digest="set", seed=1
    )
    artifact = v.ArtifactRef(name="a", digest="artifact", size_bytes=70, media_type="text/plain")
    outcome = v.StageOutcome(status="passed", details_digest="details", artifacts=(artifact, artifact))
    nothing = v.StageOutcome(status="skipped")
    file = v.FileRef(digest="old", size_bytes=30)
    steps: list[tuple[str, list[Event]]] = [
        (f"job-{ident}", [build, e.BuildSucceeded(attempt=1, bitstream=bits, report={}, cached=False)]),
        (f"job-{derived('reset')}", [reset]),
        (f"job-{derived('bobs')}", [msgspec.structs.replace(build, job_id=derived("bobs"), owner="bob")]),
        (v.project_stream(ident), [created, v.FilesUploaded(files={"a.v": file, "b.v": file})]),
        (
            v.project_stream(ident),
            [v.FilesUploaded(files={"a.v": v.FileRef(digest="new", size_bytes=40)}, replaced=True)],
        ),
        (v.verification_stream(ident), [submitted, v.VerificationStarted(builder_id="b")]),
        (v.verification_stream(ident), [v.StageCompleted(stage="lint", attempt=1, outcome=outcome)]),
        (v.verification_stream(ident), [v.StageCompleted(stage="formal", attempt=1, outcome=nothing)]),
        (v.project_stream(ident), [v.ProjectDeleted(by="ada")]),
    ]
    for number, (stream, bodies) in enumerate(steps):
        changes = batch(f"stored {number}", head, bodies, stream=stream, version=world.version(stream) + 1)
        world.replay(changes.events)
        state = world.state(stream)
        assert state is not None
        changes.rows.append(project(state))
        head = await store.append(changes, head)
    spoken_of = {name: size for name, size in sizes.items() if name != "unspoken"}
    assert await store.held_by(["ada", "bob", "eve"]) == {"ada": spoken_of, "bob": {"source": 10}, "eve": {}}


async def test_positions(stores: Stores) -> None:
    positions = await stores.positions()
    assert await positions.get("relay") == 0
    await positions.set("relay", 5)
    await positions.set("relay", 7)
    await positions.set("other", 1)
    assert (await positions.get("relay"), await positions.get("other")) == (7, 1)
    await positions.keep("generation", 2)
    await positions.keep("generation", 3)
    assert await positions.get("generation") == 3


@pytest.mark.parametrize(
    "row",
    [
        {"profile": "nul\0", "base": None, "updated_at": AT.isoformat()},
        {"profile": None, "base": None, "updated_at": AT.isoformat()},
        {"profile": "x", "base": None, "updated_at": "never"},
    ],
)
async def test_what_postgres_refuses_is_unstorable_and_leaves_nothing(postgres_url: str, row: dict[str, Any]) -> None:
    async with Ledger(postgres_url).lead() as leadership:
        store = leadership.store
        head = await store.head()
        poisoned = batch("poisoned", head, [ISSUED], stream="key-poisoned")
        poisoned.rows.append(Row(table="profiles", values=row))
        with pytest.raises(Unstorable):
            await store.append(poisoned, head)
        assert await store.recorded([derived("poisoned")]) == {}
        assert await store.head() == head


async def test_the_log_refuses_to_be_changed(postgres_url: str) -> None:
    async with Ledger(postgres_url).lead() as leadership:
        head = await leadership.store.head()
        changes = batch("kept", head, [ISSUED], stream="key-kept")
        await leadership.store.append(changes, head)
    connection = await asyncpg.connect(postgres_url)
    try:
        for statement in ("update events set actor = 'eve'", "delete from events", "truncate events"):
            with pytest.raises(asyncpg.RaiseError, match="append-only"):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_replay_leaves_out_what_is_known(stores: Stores) -> None:
    store = await stores.store()
    head = await store.append(batch("first", await store.head(), [ISSUED, REVOKED]), await store.head())
    await store.append(batch("second", head, [ISSUED, REVOKED], stream="key-2"), head)
    found: list[Happened] = []
    await store.replay(found.extend, ["key-1", "key-2", "key-none"], {"key-1": 1, "key-none": 5})
    assert [(event.stream, event.version) for event in found] == [("key-1", 2), ("key-2", 1), ("key-2", 2)]


async def test_checkpoints_are_found_by_the_code_that_made_them_and_not_beyond_the_log(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, shelf = await stores.store(), await stores.shelf()
    assert list(await shelf.kept()) == []
    await store.append(batch("first", await store.head(), [ISSUED, REVOKED]), await store.head())
    first, second = Checkpoint("key-1", 1, b'{"a":1}'), Checkpoint("key-1", 2, b'{"a":"2 \\u0000"}')
    ahead = Checkpoint("key-2", 1, b"{}")
    await shelf.keep([first, ahead])
    assert list(await shelf.kept()) == [first]
    await shelf.keep([second])
    assert list(await (await stores.shelf()).kept()) == [second]
    if isinstance(stores, InPostgres):
        monkeypatch.setattr(postgres_shelf, "fold_code", lambda: "another version")
        assert list(await (await stores.shelf()).kept()) == []


async def test_a_commit_waits_for_the_disk_whatever_the_database_says(postgres_url: str) -> None:
    admin = await asyncpg.connect(postgres_url)
    database = await admin.fetchval("select current_database()")
    await admin.execute(f"alter database {database} set synchronous_commit = off")
    try:
        connection = await asyncpg.connect(postgres_url)
        assert await connection.fetchval("show synchronous_commit") == "off"
        await connection.close()
        async with Ledger(postgres_url).lead() as leadership:
            for asked in (leadership.store._writer, leadership.pool):
                assert await asked.fetchval("show synchronous_commit") == "on"
    finally:
        await admin.execute(f"alter database {database} reset synchronous_commit")
        await admin.close()


async def test_a_leader_that_stands_still_is_deposed_and_one_that_does_not_is_left_alone(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_leader, "HUNG_S", 0.5)
    monkeypatch.setattr(postgres_leader, "SEEN_EVERY_S", 0.1)
    deposed = asyncio.Event()

    async def stand_by() -> None:
        async with Ledger(postgres_url).lead():
            deposed.set()

    async with Ledger(postgres_url).lead() as leadership:
        watch = asyncio.create_task(leadership.watch())
        standby = asyncio.create_task(stand_by())
        await asyncio.sleep(3 * postgres_leader.HUNG_S)
        assert not deposed.is_set() and not watch.done()
        watch.cancel()  # it hangs: its connection is there, and nothing else is heard of it
        async with asyncio.timeout(10):
            await deposed.wait()
        with pytest.raises(StoreUnavailable):
            await leadership.store.append(batch("late", Head(0, GENESIS), []), Head(0, GENESIS))
        with pytest.raises(StoreUnavailable):
            await leadership.watch()
    await standby
