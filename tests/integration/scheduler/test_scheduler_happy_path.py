"""From submit to release over real NATS and Postgres."""

from __future__ import annotations

import json
from uuid import uuid4

from scheduler_lab import PROFILE, SOURCE, Lab, digest, hands, lab_with_scheduler, until

from lutlab_events import codec, subjects
from lutlab_events import commands as c
from lutlab_ledger.chain import GENESIS, LogRow, chain_hash
from lutlab_scheduler.settings import Settings


async def test_submit_build_program_run_release(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        await lab.base()
        boards = await lab.register("b0", "b1")
        assert {b: f["fpga_id"] for b, f in boards.items()} == {"b0": 0, "b1": 1}
        job_id = await lab.submit()
        work = await lab.build_work()
        assert (work.job_id, work.attempt, work.source_digest, work.profile) == (job_id, 1, digest(SOURCE), PROFILE)
        assert (await lab.built(work, b"bits")).accepted
        load = await lab.program_work()
        assert (load.fpga_id, load.epoch, load.bitstream.digest) == (0, 1, digest(b"bits"))
        assert (await lab.programmed(load)).accepted
        job = await lab.job(job_id, "complete")
        board = await lab.board(0, "reserved")
        assert board["session_id"] == load.session_id and board["owner"] == "ada" and board["current_job_id"] == job_id
        assert (job["fpga_id"], job["build_stage"], json.loads(job["report"])) == (0, "synthesize", {"ok": True})

        run = await lab.ask(
            c.RecordRun(
                job_id=uuid4(),
                owner="ada",
                fpga_id=0,
                session_id=load.session_id,
                op=2,
                address_bytes=4,
                count=2,
                fixed_address=False,
                data=(1, 2),
            )
        )
        assert run.accepted and run.data["status"] == "complete"

        release = await lab.ask(c.ReleaseSession(job_id=uuid4(), owner="ada", fpga_id=0))
        assert release.accepted and release.data["status"] == "queued"
        reset = await lab.program_work()
        assert (reset.epoch, reset.bitstream.digest, reset.session_id) == (2, digest(b"base design"), None)
        assert (await lab.programmed(reset)).accepted
        await lab.board(0, "idle")
        await chain_is_intact(lab)


async def chain_is_intact(lab: Lab) -> None:
    """Positions have no gaps, and every hash follows from the one before."""
    last = GENESIS
    for number, row in enumerate(await lab.db.fetch("select * from events order by position"), 1):
        assert row["position"] == number
        last = chain_hash(last, LogRow(**{name: row[name] for name in LogRow.__struct_fields__}))
        assert bytes(row["hash"]) == last


async def test_older_generation_claims_a_board_and_gets_it_back(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        await lab.base()
        await lab.register("b0", "b1")
        cancelled = await lab.submit(fpga_id=1)
        assert (await lab.board(1, "queued"))["current_job_id"] == cancelled
        work = await lab.build_work()
        assert (await lab.ask(c.CancelJob(job_id=cancelled, owner="ada", fpga_id=1))).accepted
        await lab.board(1, "idle")
        late = await lab.ask(c.ReportBuildStarted(job_id=cancelled, attempt=work.attempt, builder_id="builder-1"))
        assert late.code == "stale_attempt"

        job_id = await lab.submit(fpga_id=1)
        work = await lab.build_work()
        assert (await lab.ask(c.ReportBuildStarted(job_id=job_id, attempt=1, builder_id="builder-1"))).accepted
        await lab.board(1, "building")
        assert (await lab.built(work, b"bits")).accepted
        load = await lab.program_work()
        assert load.fpga_id == 1
        assert (await lab.programmed(load)).accepted
        await lab.board(1, "reserved")
        assert await lab.event_types("board-1") == [
            "board.registered.v1",
            "board.claimed.v1",
            "board.unclaimed.v1",
            "board.claimed.v1",
            "board.build_started.v1",
            "board.programming_started.v1",
            "board.programmed.v1",
        ]


async def test_events_are_published_in_order_and_once(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        await lab.base()
        await lab.register("b0")
        await lab.reserve()
        stored = [row["event_id"] for row in await lab.db.fetch("select event_id from events order by position")]
        js = lab.nc.jetstream()

        async def published() -> bool:
            info = await js.stream_info(subjects.EVENTS.name)
            return bool(info.state.messages >= len(stored))

        await until(published, "all events published")
    # A relay that lost its position repeats everything; the stream recognises each event by its id.
    async with hands(lab_settings) as lab:
        await lab.db.execute("update subscriptions set position = 0 where name = 'relay'")
    async with lab_with_scheduler(lab_settings) as lab:
        assert (await lab.ask(c.RevokeKey(key_id=uuid4()))).code == "key_not_found"
        await lab.register("b0", "b1")

        async def caught_up() -> bool:
            position = await lab.db.fetchval("select position from subscriptions where name = 'relay'")
            return bool(position > len(stored))

        await until(caught_up, "the relay caught up")
        sub = await lab.nc.jetstream().subscribe("evt.>", ordered_consumer=True)
        events = [codec.decode_event_envelope((await sub.next_msg(timeout=5)).data) for _ in range(len(stored) + 2)]
        assert [event.event_id for event in events[: len(stored)]] == stored
        assert [event.position for event in events] == list(range(1, len(stored) + 3))
