"""The Postgres adapter against the real schema."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from lutlab_api.adapters.postgres import Postgres
from lutlab_api.adapters.rows import log_text
from lutlab_api.adapters.verification import PostgresVerification
from lutlab_api.app.ports import EventFilter, JobFilter, KeyFilter
from lutlab_api.app.verification_ports import ProjectFilter, VerificationFilter
from lutlab_api.domain.errors import Unavailable
from lutlab_api.domain.verification import ProjectView
from lutlab_events import codec
from lutlab_events.envelope import Answer
from lutlab_events.ids import digest
from lutlab_events.values import BoardState, JobStatus, JobType, Role
from lutlab_transport.clock import SystemClock

T0 = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("alter table commands disable trigger all")  # it refuses to be emptied
    await connection.execute("truncate boards, jobs, job_logs, api_keys, commands, blobs")
    yield connection
    await connection.close()


@pytest.fixture
async def ledger(postgres_url: str, database: asyncpg.Connection) -> AsyncIterator[Postgres]:
    ledger = Postgres(postgres_url, SystemClock(), connections_max=2)
    await ledger.start()
    yield ledger
    await ledger.stop()


async def insert(database: asyncpg.Connection, table: str, **values: Any) -> None:
    marks = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    await database.execute(f"insert into {table} ({', '.join(values)}) values ({marks})", *values.values())


async def add_board(database: asyncpg.Connection, fpga_id: int, state: str, **more: Any) -> None:
    fields = {
        "fpga_id": fpga_id,
        "board_key": f"b{fpga_id}",
        "site": "main",
        "agent_id": "agent-1",
        "profile": "lfe5u-25f",
        "labels": "[]",
        "state": state,
        "epoch": 2,
        "version": 3,
        "updated_at": T0,
    }
    await insert(database, "boards", **(fields | more))


async def add_job(database: asyncpg.Connection, number: int, **more: Any) -> UUID:
    fields = {
        "job_id": UUID(int=number),
        "number": number,
        "type": "build_and_program",
        "status": "complete",
        "owner": "ada",
        "correlation_id": UUID(int=9),
        "created_at": T0,
        "updated_at": T0 + timedelta(seconds=1),
        "version": 1,
    }
    await insert(database, "jobs", **(fields | more))
    return UUID(int=number)


async def test_boards(ledger: Postgres, database: asyncpg.Connection) -> None:
    bitstream = json.dumps({"digest": "d", "address_words": 1024})
    await add_board(database, 1, "programming", owner="ada", session_id=UUID(int=5), current_job_id=UUID(int=6))
    await add_board(
        database,
        0,
        "reserved",
        owner="ada",
        session_id=UUID(int=5),
        session_created_at=T0,
        session_expires_at=T0 + timedelta(hours=1),
        bitstream=bitstream,
        labels='["fast", "left"]',
        error_code="board_lost",
        error_message="unplugged",
    )
    first, second = await ledger.boards()
    assert await ledger.board(0) == first
    assert await ledger.board(2) is None
    assert (first.fpga_id, first.state, first.address_words, first.labels) == (
        0,
        BoardState.RESERVED,
        1024,
        ("fast", "left"),
    )
    assert first.session is not None
    assert (first.session.owner, first.session.expires_at) == ("ada", T0 + timedelta(hours=1))
    assert first.error is not None
    assert (first.error.code, first.error.message) == ("board_lost", "unplugged")
    assert (second.session, second.current_job_id, second.address_words) == (None, UUID(int=6), 512)


async def test_jobs_are_listed_by_their_public_status(ledger: Postgres, database: asyncpg.Connection) -> None:
    await add_job(database, 1)
    await add_job(database, 2, status="failed", error_code="does_not_fit", error_message="no", error_stage="pack")
    await add_job(database, 3, type="run", status="failed", error_code="bus_error", result='{"ok": false, "data": []}')
    await add_job(database, 4, type="run", status="failed", error_code="board_link_failed")
    await add_job(database, 5, type="run", result='{"ok": true, "data": [1, 2]}', fpga_id=3)
    await add_job(database, 6, status="running", owner="bob", pinned_fpga_id=2, bitstream='{"digest": "d"}')

    async def numbers(**wanted: Any) -> list[int]:
        found = await ledger.jobs(JobFilter(**({"owner": None, "limit": 100} | wanted)))
        assert all(wanted.get("status") in (None, job.public_status) for job in found)
        return [job.number for job in found]

    assert await numbers() == [6, 5, 4, 3, 2, 1]
    assert await numbers(owner="bob") == [6]
    assert await numbers(status=JobStatus.COMPLETE) == [5, 3, 1]
    assert await numbers(status=JobStatus.FAILED) == [4, 2]
    assert await numbers(status=JobStatus.RUNNING) == [6]
    assert await numbers(type=JobType.RUN, limit=2) == [5, 4]
    assert await numbers(before=UUID(int=4), owner="ada") == [3, 2, 1]
    assert await numbers(before=UUID(int=99)) == []
    built = await ledger.job(UUID(int=6))
    assert built is not None
    assert (built.built, built.fpga_id, built.public_stage) == (True, 2, "wait-for-board")
    failed = await ledger.job(UUID(int=2))
    assert failed is not None
    assert failed.failure is not None
    assert (failed.failure.stage, failed.failure.message) == ("pack", "no")
    run = await ledger.job(UUID(int=5))
    assert run is not None
    assert (run.result, run.fpga_id) == ({"ok": True, "data": [1, 2]}, 3)
    assert await ledger.job(UUID(int=77)) is None


async def test_job_detail(ledger: Postgres, database: asyncpg.Connection) -> None:
    job_id = await add_job(
        database,
        1,
        report='{"fmax_mhz": 88.5, "toolchain": "pyosys 0.61"}',
        bitstream='{"digest": "d"}',
        cached=True,
        filename="design.py",
        sys_clk_hz=90_000_000,
        timing_target_mhz=95.5,
        attempt=2,
    )
    detail = await ledger.job_detail(job_id)
    assert detail is not None
    assert (detail.report, detail.bitstream, detail.cached) == (
        {"fmax_mhz": 88.5, "toolchain": "pyosys 0.61"},
        {"digest": "d"},
        True,
    )
    assert await ledger.toolchain() == "pyosys 0.61"
    assert (detail.filename, detail.sys_clk_hz, detail.timing_target_mhz) == ("design.py", 90_000_000, 95.5)
    assert (detail.attempt, detail.job.built, detail.correlation_id) == (2, True, UUID(int=9))
    assert await ledger.job_detail(UUID(int=2)) is None


async def test_logs_come_in_order(ledger: Postgres, database: asyncpg.Connection) -> None:
    job_id = UUID(int=1)
    for attempt, seq, text in ((2, 0, "again\n"), (1, 1, "two\n"), (1, 0, "one\n")):
        await insert(
            database, "job_logs", job_id=job_id, attempt=attempt, seq=seq, stage="pack", text=text, at=T0
        )  # fmt: skip
    assert await ledger.job_log(job_id) == "one\ntwo\n---- attempt 2 ----\nagain\n"
    assert await ledger.job_log(UUID(int=2)) == ""
    assert log_text([{"attempt": 1, "text": "x" * 100}], 10) == f"(the first 90 characters are left out)\n{'x' * 10}"


async def add_event(database: asyncpg.Connection, position: int, stream: str, version: int, **data: Any) -> None:
    await insert(
        database,
        "events",
        position=position,
        event_id=UUID(int=position),
        stream=stream,
        version=version,
        type=data["type"],
        data=json.dumps(data),
        causation_id=UUID(int=8),
        correlation_id=UUID(int=9),
        actor="ada",
        site="main",
        at=T0,
        hash=b"h",
    )


async def test_events(ledger: Postgres, database: asyncpg.Connection) -> None:
    mine = await add_job(database, 1)
    theirs = await add_job(database, 2, owner="bob")
    await add_event(database, 1, "key-7", 1, type="key.issued.v1", owner="ada", key_sha256="secret")
    await add_event(database, 2, f"job-{mine}", 1, type="job.submitted.v1", owner="ada")
    await add_event(database, 3, f"job-{theirs}", 1, type="job.submitted.v1", owner="bob")
    await add_event(database, 4, "board-1", 1, type="board.reset.v1", epoch=3)
    await add_event(database, 5, "board-11", 1, type="board.reset.v1", epoch=3)
    await add_event(database, 6, "board-1", 2, type="board.lost.v1", reason="x")

    async def positions(**wanted: Any) -> list[int]:
        return [e.position for e in await ledger.events(EventFilter(**({"after": 0, "limit": 100} | wanted)))]

    assert await positions() == [1, 2, 3, 4, 5, 6]
    assert await positions(stream="board-1") == [4, 6]
    assert await positions(stream="board-1", after=4) == [6]
    assert await positions(visible_to="ada") == [2, 4, 5, 6]
    assert await positions(visible_to="bob", limit=2) == [3, 4]
    (issued,) = await ledger.events(EventFilter(after=0, limit=1))
    assert (issued.type, issued.data, issued.at) == ("key.issued.v1", {"owner": "ada"}, T0)


async def test_keys_answers_and_blobs(ledger: Postgres, database: asyncpg.Connection) -> None:
    await insert(
        database, "api_keys", key_id=UUID(int=1), key_sha256="abc", owner="ada", role="admin", label="x", created_at=T0
    )
    key = await ledger.key("abc")
    assert key is not None
    assert (key.owner, key.role, key.revoked_at) == ("ada", Role.ADMIN, None)
    assert await ledger.key("abd") is None
    everybodys = KeyFilter(owner=None, limit=10)
    assert (await ledger.keys(everybodys), await ledger.count_keys(None)) == ([key], 1)
    assert await ledger.keys(KeyFilter(owner=f"no {key.owner}", limit=10)) == []
    assert await ledger.count_keys(f"no {key.owner}") == 0
    assert key.created_at is not None
    for at, last, found in (
        (key.created_at, UUID(int=0), [key]),
        (key.created_at, key.key_id, []),
        (key.created_at + timedelta(seconds=1), key.key_id, [key]),
        (key.created_at - timedelta(seconds=1), key.key_id, []),
    ):
        assert await ledger.keys(replace(everybodys, after=(at, last))) == found
    answer = Answer(command_id=UUID(int=4), code="fpga_not_idle", message="no", data={"a": 1})
    await insert(
        database,
        "commands",
        command_id=answer.command_id,
        type="X",
        actor="ada",
        site="main",
        fingerprint="f",
        code=answer.code,
        answer=codec.encode(answer).decode(),
        received_at=T0,
    )
    stored = await ledger.answer(answer.command_id)
    assert stored is not None
    assert (stored.fingerprint, stored.code, stored.message, stored.data) == ("f", "fpga_not_idle", "no", {"a": 1})
    assert await ledger.answer(UUID(int=5)) is None
    data = bytes(range(256)) * 5000
    for _ in range(2):
        assert await ledger.put(data) == digest(data)
    row = await database.fetchrow("select size_bytes, data from blobs where digest = $1", digest(data))
    assert row is not None
    assert (row["size_bytes"], bytes(row["data"])) == (len(data), data)


@pytest.mark.parametrize("sort", ["name", "-name", "created_at", "-created_at", "updated_at", "-updated_at"])
async def test_projects_are_paged_by_place(ledger: Postgres, database: asyncpg.Connection, sort: str) -> None:
    """Pages one behind the other are the whole list, also where entries are equal in what is sorted by."""
    await database.execute("truncate projects")
    names = ("b", "B-1", "a", "c-2", "c-10")
    for number, name in enumerate(names, 1):
        at = T0 + timedelta(microseconds=number // 2)
        values = {"project_id": UUID(int=9 - number), "owner": "ada", "name": name, "top_module": "t"}
        values |= {"target_pdk": "sky130", "description": "", "status": "active", "files": "{}", "version": 1}
        await insert(database, "projects", **values, created_at=at, updated_at=T0 - (at - T0))
    store = PostgresVerification(ledger)
    whole, total = await store.projects(ProjectFilter(owner="ada", limit=10, sort=sort))
    assert (len(whole), total) == (5, 5)
    wanted = ProjectFilter(owner="ada", limit=2, sort=sort)
    seen: list[ProjectView] = []
    while page := (await store.projects(wanted))[0]:
        seen += page
        wanted = replace(wanted, after=(getattr(page[-1], wanted.column), page[-1].project_id))
    assert seen == list(whole)
    keys = [getattr(project, wanted.column) for project in whole]
    if wanted.column != "name":  # whose order is the database's
        assert keys == sorted(keys, reverse=wanted.falling)


async def test_jobs_of_a_project_are_paged_by_place(ledger: Postgres, database: asyncpg.Connection) -> None:
    await database.execute("truncate verifications")
    for number in range(1, 5):
        values = {"job_id": UUID(int=number), "number": number, "project_id": UUID(int=1 + number % 4 // 3)}
        values |= {"owner": "ada", "status": "passed", "stages": '["lint"]', "records": "[]", "config_overrides": "{}"}
        values |= {"files_digest": "d", "seed": 1, "attempt": 1, "correlation_id": UUID(int=9), "version": 1}
        await insert(database, "verifications", **values, submitted_at=T0, updated_at=T0)
    store = PostgresVerification(ledger)
    for before, wanted in ((None, [4, 2, 1]), (UUID(int=4), [2, 1]), (UUID(int=1), []), (UUID(int=77), [])):
        found, total = await store.verifications(VerificationFilter(project_id=UUID(int=1), limit=9, before=before))
        assert ([job.job_id.int for job in found], total) == (wanted, 3)


async def test_a_killed_connection_is_replaced(ledger: Postgres, database: asyncpg.Connection) -> None:
    await ledger.ping()
    await database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where application_name = 'lutlab-api' and datname = current_database()"
    )
    await ledger.ping()


async def test_a_database_that_is_not_there_is_unavailable(postgres_url: str) -> None:
    for url in ("postgresql://nobody@127.0.0.1:9/x", postgres_url.rpartition("/")[0] + "/no_such_database"):
        ledger = Postgres(url, SystemClock(), connections_max=1)
        with pytest.raises(Unavailable):
            await ledger.ping()  # before it was started
        await ledger.start()
        with pytest.raises(Unavailable):
            await ledger.boards()
        await ledger.stop()
