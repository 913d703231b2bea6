"""From submit to release over real NATS and Postgres."""

from __future__ import annotations

import json
from uuid import uuid4

from scheduler_lab import PROFILE, SOURCE, digest, lab_with_scheduler

from lutlab_events import commands as c
from lutlab_ledger.chain import GENESIS, LogRow, chain_hash
from lutlab_scheduler.settings import Settings


async def test_submit_build_program_run_release(postgres_url: str, nats_url: str) -> None:
    settings = Settings(database_url=postgres_url, nats_url=nats_url)
    async with lab_with_scheduler(settings) as lab:
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
        rows = await lab.db.fetch("select * from events order by position")
        last = GENESIS
        for number, row in enumerate(rows, 1):
            assert row["position"] == number
            last = chain_hash(last, LogRow(**{k: row[k] for k in LogRow.__struct_fields__}))
            assert bytes(row["hash"]) == last
