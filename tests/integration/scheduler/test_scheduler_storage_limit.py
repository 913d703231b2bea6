"""An owner's storage limit on real Postgres and NATS: not passed in parallel, the same after a restart and a replay."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from scheduler_lab import Lab, bitstream, lab_with_scheduler

from lutlab_api.adapters.postgres import Postgres
from lutlab_api.adapters.storage import PostgresStorage
from lutlab_events import commands as c
from lutlab_events import verification as v
from lutlab_scheduler.adapters.rebuild import rebuilding, views_named
from lutlab_scheduler.settings import Settings
from lutlab_transport.clock import SystemClock

LIMIT, SIZE, AT_ONCE = 1000, 190, 30


async def submitted(lab: Lab, number: int) -> str:
    name = await lab.upload(f"{number:{SIZE}}".encode())
    build = c.SubmitBuild(job_id=uuid4(), owner="ada", source_digest=name, source_bytes=SIZE, filename="design.v")
    return (await lab.ask(build)).code


async def used(settings: Settings) -> int:
    """As the API counts it."""
    postgres = Postgres(settings.database_url, SystemClock(), connections_max=1)
    await postgres.start()
    try:
        return (await PostgresStorage(postgres).used("ada", [])).used_bytes
    finally:
        await postgres.stop()


async def test_parallel_uploads_stop_at_the_limit_and_a_restart_and_a_replay_agree(lab_settings: Settings) -> None:
    settings = lab_settings.model_copy(update={"owner_bytes_max": LIMIT})
    async with lab_with_scheduler(settings) as lab:
        codes = await asyncio.gather(*(submitted(lab, number) for number in range(AT_ONCE)))
        assert (codes.count("ok"), codes.count("storage_full")) == (LIMIT // SIZE, AT_ONCE - LIMIT // SIZE)
        assert await used(settings) == LIMIT // SIZE * SIZE == 950
        assert (await lab.built(await lab.build_work(), b"b" * 51)).accepted
        (failed,) = await lab.db.fetch("select error_code, error_message from jobs where status = 'failed'")
        assert failed["error_code"] == "storage_full" and "950 bytes" in failed["error_message"]
        assert not await lab.db.fetchval("select count(*) from blobs where digest = $1", bitstream(b"b" * 51).digest)
        assert (await lab.built(await lab.build_work(), b"b" * 30)).accepted
        assert await used(settings) == 980
    async with lab_with_scheduler(settings) as lab:
        assert await submitted(lab, 1000) == "storage_full"
        project = uuid4()
        create = v.CreateProject(project_id=project, owner="ada", name="uart", top_module="t", target_pdk="sky130")
        assert (await lab.ask(create)).accepted
        for content, code in ((b"c" * 21, "storage_full"), (b"c" * 20, "ok")):
            ref = v.FileRef(digest=await lab.upload(content), size_bytes=len(content))
            upload = v.UploadFiles(project_id=project, owner="ada", files={"a.v": ref})
            assert (await lab.ask(upload)).code == code
        assert await used(settings) == LIMIT
    async with rebuilding(settings.database_url, views_named("all"), lambda *_: None) as rebuild:
        assert not any((await rebuild.check()).differing.values())
