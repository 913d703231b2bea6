"""A version that was gone back to, on a log that the newer one wrote to: it says so and changes nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import asyncpg

from lutlab_scheduler.settings import Settings

PROGRAM = Path(sys.executable).parent / "lutlab-scheduler"
INSERT = """
insert into events values (1, gen_random_uuid(), 'board-0', 1, 'board.polished.v1', '{"type":"board.polished.v1"}',
  gen_random_uuid(), gen_random_uuid(), 'test', 'main', now(), '\\x00')
"""


async def test_an_event_of_a_newer_version_is_named_and_the_way_out(lab_settings: Settings) -> None:
    connection = await asyncpg.connect(lab_settings.database_url)
    await connection.execute(INSERT)
    own = {"LUTLAB_DATABASE_URL": lab_settings.database_url, "LUTLAB_NATS_URL": lab_settings.nats_url}
    env = {**os.environ, **own, "LUTLAB_ALLOW_UNSAFE_SYNC": "true"}
    refused = await asyncio.to_thread(
        subprocess.run, [PROGRAM], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert refused.returncode == 1
    assert "no event type 'board.polished.v1' is known" in refused.stderr
    assert "a newer version wrote it" in refused.stderr.splitlines()[-1]
    assert await connection.fetchval("select count(*) from events") == 1
    await connection.close()
