"""What owners have stored: one limit, decided by the one writer, the same after every restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec
import pytest
import scheduler_given as g
from scheduler_fakes import CountingStore, ManualClock, envelope
from test_scheduler_leases import MemoryArchive, MemoryBlobs

from lutlab_events import commands as c
from lutlab_events import verification as v
from lutlab_events.envelope import Answer
from lutlab_events.ids import derived
from lutlab_scheduler.adapters.memory import MemoryDatabase
from lutlab_scheduler.app.dispatch import Carrier
from lutlab_scheduler.app.intake import Intake
from lutlab_scheduler.app.ports import AppendConflict, StoreUnavailable, Unstorable
from lutlab_scheduler.app.storage import Storage, brings, instead
from lutlab_scheduler.app.tail import Tail
from lutlab_scheduler.app.writer import Writer, recover

LIMIT = 1000
RULES = replace(g.RULES, owner_bytes_max=LIMIT, queue_jobs_max=1000)
PROJECT = derived("project")


class Desk:
    """A writer in memory, and whoever asks it."""

    def __init__(self, database: MemoryDatabase, store: CountingStore, writer: Writer, storage: Storage) -> None:
        self.database, self.store, self.writer, self.storage = database, store, writer, storage
        self._asked = 0

    async def together(self, *bodies: c.Command) -> list[Answer]:
        """Ask all at once: they are decided in one batch."""
        self._asked += 1
        batch = [envelope(body, self.name(number)) for number, body in enumerate(bodies)]
        for body in bodies:
            for name, size in brings(body).items():
                self.database.blobs.setdefault(name, bytes(size or 0))  # uploads and findings come before commands
        tickets = [await self.writer.submit(each) for each in batch]
        return [await ticket.done for ticket in tickets]

    def name(self, number: int) -> str:
        """Of a command: unique in the database, whichever desk it comes from."""
        return f"{self._asked}-{number}-{len(self.database.events)}"

    async def told(self, body: c.Command) -> Answer:
        (answer,) = await self.together(body)
        return answer

    async def counted(self, owner: str = "ada") -> int:
        """What the ledger says, and the writer's memory the same."""
        held = await self.store.held_by([owner])
        used = sum(held[owner].values())
        assert self.storage.used(owner) in (None, used)
        return used


@asynccontextmanager
async def desk(database: MemoryDatabase | None = None) -> AsyncIterator[Desk]:
    database = database or MemoryDatabase()
    store, storage = CountingStore(database), Storage()
    recovered = await recover(store)
    writer = Writer(
        store=store,
        recovered=recovered,
        tail=Tail(store, recovered.head.position),
        rules=RULES,
        clock=ManualClock(),
        storage=storage,
    )
    task = asyncio.create_task(writer.run())
    try:
        yield Desk(database, store, writer, storage)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, StoreUnavailable, AppendConflict):
            await task


def build(number: int, size: int, *, source: str | None = None, owner: str = "ada") -> c.SubmitBuild:
    name = source or f"source {number}"
    return c.SubmitBuild(
        job_id=derived("job", number), owner=owner, source_digest=name, source_bytes=size, filename="design.v"
    )


def built(number: int, size: int, name: str = "bits") -> c.ReportBuildSucceeded:
    bitstream = msgspec.structs.replace(g.bits(name), size_bytes=size)
    return c.ReportBuildSucceeded(
        job_id=derived("job", number), attempt=1, bitstream=bitstream, report={}, cached=False
    )


def create(owner: str = "ada") -> v.CreateProject:
    return v.CreateProject(project_id=PROJECT, owner=owner, name="uart", top_module="top", target_pdk="sky130")


def upload(sizes: dict[str, int], **more: Any) -> v.UploadFiles:
    files = {f"{name}.v": v.FileRef(digest=name, size_bytes=size) for name, size in sizes.items()}
    return v.UploadFiles(project_id=PROJECT, owner="ada", files=files, **more)


def verify(job_id: UUID, files_bytes: int = 1) -> v.SubmitVerification:
    return v.SubmitVerification(
        job_id=job_id,
        project_id=PROJECT,
        owner="ada",
        stages=("lint",),
        files_digest="files",
        files_bytes=files_bytes,
        seed=1,
    )


def found(job_id: UUID, size: int) -> v.ReportStageCompleted:
    artifact = v.ArtifactRef(name="a", digest=f"artifact {size}", size_bytes=size, media_type="text/plain")
    outcome = v.StageOutcome(status="passed", artifacts=(artifact,), details_digest="details", seconds=2.0)
    return v.ReportStageCompleted(job_id=job_id, stage="lint", attempt=1, outcome=outcome)


def codes(answers: Sequence[Answer]) -> list[str]:
    return [answer.code for answer in answers]


async def test_uploads_side_by_side_cannot_pass_the_limit_together() -> None:
    async with desk() as d:
        answers = await d.together(*[build(number, 300) for number in range(8)])
        assert codes(answers) == ["ok"] * 3 + ["storage_full"] * 5
        assert len(d.store.batches) == 1, "they were decided in one batch"
        assert await d.counted() == 900
        for told in ("ada", "900 bytes", "300 more", str(LIMIT), "delete a project", "wait"):
            assert told in answers[-1].message
        assert (await d.told(build(99, 100))).code == "ok", "what fits exactly, fits"


async def test_content_counts_once_for_an_owner_and_for_each_owner() -> None:
    async with desk() as d:
        same = [build(number, 600, source="same") for number in range(3)]
        assert codes(await d.together(*same, build(4, 600, source="same", owner="bob"))) == ["ok"] * 4
        assert (await d.counted("ada"), await d.counted("bob")) == (600, 600)
        await d.told(create())
        assert (await d.told(upload({"same": 600, "b": 100, "c": 100}))).code == "ok"
        assert await d.counted() == 800


async def test_a_size_that_a_command_does_not_say_is_looked_up() -> None:
    async with desk() as d:
        d.database.blobs["source 1"] = b"x" * 700
        assert codes(await d.together(build(1, 0), build(2, 400))) == ["ok", "storage_full"]
        assert await d.counted() == 700


async def test_what_was_replaced_or_deleted_counts_until_it_is_gone() -> None:
    async with desk() as d:
        assert codes(await d.together(create(), upload({"a": 600}), upload({"b": 300}, replace=True))) == ["ok"] * 3
        await d.told(v.DeleteProject(project_id=PROJECT, owner="ada"))
        assert (await d.told(build(1, 200))).code == "storage_full"
        assert await d.counted() == 900


async def test_after_blobs_were_deleted_the_ledger_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk() as d:
        assert (await d.told(build(1, 900))).code == "ok"
        assert (await d.told(build(2, 200))).code == "storage_full"

        async def cleared(owners: Any) -> dict[str, dict[str, int]]:
            return {owner: {} for owner in owners}

        monkeypatch.setattr(d.store, "held_by", cleared)
        assert (await d.told(build(3, 200))).code == "storage_full", "nobody said that anything was deleted"
        d.storage.forget()
        assert (await d.told(build(4, 200))).code == "ok"


async def test_an_admins_upload_counts_for_the_projects_owner() -> None:
    async with desk() as d:
        await d.told(create())
        answer = await d.told(msgspec.structs.replace(upload({"a": LIMIT + 1}), owner="root", is_admin=True))
        assert answer.code == "storage_full" and answer.message.startswith("ada has 0 bytes")


async def test_a_build_whose_bitstream_has_no_room_fails_and_says_so() -> None:
    async with desk() as d:
        await d.together(build(1, 500), build(2, 300))
        assert codes(await d.together(built(1, 150, "one"), built(2, 100, "two"))) == ["ok", "ok"]
        one, two = (d.writer.world.job(derived("job", number)) for number in (1, 2))
        assert one is not None and two is not None
        assert (one.state.value, two.state.value, two.error_code) == ("built", "failed", "storage_full")
        assert "950 bytes" in str(two.error_message) and two.bitstream is None
        assert await d.counted() == 950


async def test_a_stage_whose_findings_have_no_room_ends_without_a_verdict() -> None:
    fits, full = derived("fits"), derived("full")
    async with desk() as d:
        d.database.blobs["details"] = b"d" * 100
        await d.together(create(), upload({"a": 400}), verify(fits), verify(full))
        assert codes(await d.together(found(fits, 300), found(full, 200))) == ["ok", "ok"]
        good, bad = d.writer.world.verification(fits), d.writer.world.verification(full)
        assert good is not None and bad is not None
        assert (good.status, bad.status, bad.error_code) == ("passed", "failed", "storage_full")
        outcome = bad.records[0].outcome
        assert outcome is not None and (outcome.artifacts, outcome.details_digest, outcome.seconds) == ((), None, 2.0)
        assert await d.counted() == 801


async def test_a_job_needs_some_room_even_if_its_files_are_there() -> None:
    async with desk() as d:
        await d.together(create(), upload({"files": LIMIT}))
        assert (await d.told(upload({"files": LIMIT}))).code == "ok"
        assert (await d.told(verify(derived("v")))).code == "storage_full"
        assert (await d.told(build(1, LIMIT, source="files"))).code == "storage_full"


async def test_what_was_refused_for_another_reason_counts_for_nobody() -> None:
    async with desk() as d:
        await d.told(c.RegisterAgent(agent_id=g.AGENT, incarnation=derived("a"), boards=(g.report(),)))
        claims = [msgspec.structs.replace(build(number, 300), fpga_id=0) for number in range(2)]
        assert codes(await d.together(*claims)) == ["ok", "fpga_not_idle"]
        assert await d.counted() == 300
        d._asked += 1
        d.store.poison.add(derived(d.name(0)))
        d._asked -= 1
        with pytest.raises(Exception, match="the database refuses it"):
            await d.told(build(7, 300))
        assert await d.counted() == 300


async def test_a_name_that_the_ledger_cannot_hold_keeps_nobody_else_from_being_counted() -> None:
    async with desk() as d:
        ask = d.store.held_by

        async def picky(owners: Iterable[str]) -> dict[str, dict[str, int]]:
            if any("\0" in owner for owner in owners):
                raise Unstorable("nul character")
            return await ask(owners)

        d.store.held_by = picky  # type: ignore[method-assign]
        answers = await d.together(build(1, 900), build(2, 1, owner="nul\0"), build(3, 200))
        assert [answers[0].code, answers[2].code] == ["ok", "storage_full"]
        assert d.storage.used("nul\0") is None


async def test_a_restart_finds_the_same() -> None:
    database = MemoryDatabase()
    async with desk(database) as d:
        await d.together(create(), upload({"a": 200}), build(1, 300), build(2, 100, owner="bob"))
        await d.told(built(1, 50))
        before = await d.counted("ada"), await d.counted("bob")
    async with desk(database) as after:
        answers = await after.together(build(3, 451), build(4, 450), build(5, 901, owner="bob"))
        assert codes(answers) == ["storage_full", "ok", "storage_full"]
        assert (await after.counted("ada") - 450, await after.counted("bob")) == before == (550, 100)


async def test_findings_that_are_too_much_already_are_not_even_archived() -> None:
    async with desk() as d:
        await d.told(build(1, 990))
        archive, blobs = MemoryArchive(), MemoryBlobs(g.bits("bits").digest)
        carrier = Carrier(archive, blobs)
        intake = Intake(archive, blobs, carrier, lambda body: instead(body, d.writer.world, d.storage, RULES))
        prepared = await intake.prepare(envelope(built(1, 11), "report"))
        assert isinstance(prepared.body, c.ReportBuildFailed) and prepared.body.code == "storage_full"
        assert not archive.digests
        fits = envelope(built(1, 10), "another report")
        assert await intake.prepare(fits) == fits
        assert archive.digests


def test_owners_beyond_what_is_remembered_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutlab_scheduler.app.storage.BLOBS_REMEMBERED_MAX", 3)
    storage = Storage()
    storage.take_in({"ada": {"a": 1, "b": 1}})
    storage.take_in({"bob": {"c": 1}})
    assert storage.missing(["ada"]) == []
    storage.take_in({"eve": {"d": 1, "e": 1}})
    assert storage.missing(["ada", "bob", "eve"]) == ["ada", "bob"]
