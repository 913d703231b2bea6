"""Checking the log and making the views anew."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from scheduler_lab import Lab, hands, lab_with_scheduler

from lutlab_events import commands as c
from lutlab_events.ids import derived
from lutlab_scheduler.adapters.postgres_maintenance import SchedulerRuns, maintaining
from lutlab_scheduler.app.maintenance import verify_log
from lutlab_scheduler.settings import Settings

VIEWS = {"boards": "fpga_id", "jobs": "job_id", "agents": "agent_id", "api_keys": "key_id", "profiles": "profile"}


async def snapshot(lab: Lab) -> dict[str, list[dict[str, Any]]]:
    return {
        view: [dict(row) for row in await lab.db.fetch(f"select * from {view} order by {key}")]
        for view, key in VIEWS.items()
    }


async def test_views_are_made_anew_from_the_log_alone(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        await lab.base()
        await lab.register("b0", "b1")
        await lab.ask(c.IssueKey(key_id=derived("key"), key_sha256="a" * 64, owner="ada"))
        await lab.reserve()
        await lab.submit(fpga_id=1)
        failed = await lab.submit()
        await lab.ask(c.ReportBuildFailed(job_id=failed, attempt=1, code="x", message="y", stage="pack"))
        before = await snapshot(lab)
        assert all(before.values())
        async with maintaining(lab_settings.database_url) as maintenance:
            with pytest.raises(SchedulerRuns):
                await maintenance.rebuild_views()
    async with hands(lab_settings) as lab:
        async with maintaining(lab_settings.database_url) as maintenance:
            await lab.db.execute("truncate boards, jobs, agents, api_keys, profiles")
            assert await maintenance.rebuild_views() == sum(map(len, before.values()))
        assert await snapshot(lab) == before


async def test_a_changed_log_is_found_out(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        await lab.register("b0")
        for _ in range(3):
            await lab.submit()
        async with maintaining(lab_settings.database_url) as maintenance:
            good = await verify_log(maintenance)
            assert (good.checked, good.fault) == (5, None)
            await lab.db.execute("alter table events disable trigger all")
            await lab.db.execute("update events set actor = 'eve' where position = 3")
            bad = await verify_log(maintenance)
            assert bad.checked == 2 and bad.fault is not None and "position 3" in bad.fault
            await lab.db.execute("delete from events where position = 2")
            gap = await verify_log(maintenance)
            assert gap.fault is not None and "position 2 is missing" in gap.fault


def test_the_command_line(own_database_url: str) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lutlab_scheduler", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"LUTLAB_DATABASE_URL": own_database_url},
        )

    assert "0 events checked" in run("--verify-log").stdout
    assert "0 rows written" in run("--rebuild-views").stdout
    shown = run("--help").stdout
    assert "LUTLAB_SESSION_TTL_S" in shown and "3600" in shown
    assert run("--nonsense").returncode == 2
