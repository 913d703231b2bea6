"""Out of service, quarantine and the queue, over the shipped API and scheduler."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from api_whole import ADMIN_KEY, BIN, Hands, Whole, hands, until, whole

from lutlab_events import commands as c
from lutlab_events.work import ProgramWork


@pytest.fixture(scope="module")
def lab(postgres_url: str, nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(postgres_url, nats_url, tmp_path_factory.mktemp("service"), LUTLAB_QUARANTINE_AFTER="2") as lab:
        yield lab


@pytest.fixture
async def helper(lab: Whole) -> AsyncIterator[Hands]:
    async with hands(lab.nats_url, boards=1) as helper:
        yield helper


async def submit(api: httpx.AsyncClient) -> str:
    answer = await api.post("/submit", files={"file": ("design.v", b"module m(); endmodule")})
    return str(answer.raise_for_status().json()["job_id"])


async def job(api: httpx.AsyncClient, job_id: str, status: str) -> dict[str, Any]:
    async def probe() -> dict[str, Any] | None:
        found: dict[str, Any] = (await api.get(f"/api/v1/jobs/{job_id}")).json()
        return found if found["status"] == status else None

    return await until(f"job {status}", probe)


async def board(api: httpx.AsyncClient, state: str, code: str | None) -> dict[str, Any]:
    async def probe() -> dict[str, Any] | None:
        found: dict[str, Any] = (await api.get("/fpga/0")).json()
        error = found["error"]["code"] if found["error"] else None
        return found if (found["state"], error) == (state, code) else None

    return await until(f"board {state} {code}", probe)


def lutlab(lab: Whole, *arguments: str) -> None:
    env = {**os.environ, "LUTLAB_API_URL": lab.url(), "LUTLAB_API_KEY": ADMIN_KEY}
    subprocess.run([BIN / "lutlab", *arguments], env=env, check=True, timeout=30)


async def test_a_drained_board_ends_its_session_in_peace_and_jobs_wait_in_a_queue(lab: Whole, helper: Hands) -> None:
    async with lab.client() as api:
        first = await submit(api)
        await job(api, first, "complete")
        lutlab(lab, "drain", "0", "--reason", "new fan")
        waiting = [await submit(api) for _ in range(2)]
        for job_id in waiting:
            await job(api, job_id, "running")
        assert (await board(api, "reserved", "board_in_maintenance"))["session"] is not None
        places = [(await api.get(f"/api/v1/jobs/{j}/queue")).json()["position"] for j in waiting]
        assert places == [1, 2]
        await api.post("/fpga/0/session/release")
        await board(api, "error", "board_in_maintenance")
        lutlab(lab, "undrain", "0")
        await job(api, waiting[0], "complete")
        told = (await api.get(f"/api/v1/jobs/{waiting[1]}")).json()
        session = (await api.get("/fpga/0/session")).json()
        assert (told["queue_position"], told["estimated_start_at"]) == (1, session["expires_at"])
        await api.delete(f"/jobs/{waiting[1]}")
        # Maintenance ends a session at once.
        lutlab(lab, "drain", "0", "--now")
        await board(api, "error", "board_in_maintenance")
        assert (await api.post("/fpga/0/session/release")).status_code == 404
        lutlab(lab, "undrain", "0")
        await board(api, "idle", None)


async def test_failures_in_a_row_quarantine_and_an_admin_frees(
    lab: Whole, helper: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = helper.program

    async def fails(work: ProgramWork) -> None:
        if work.session_id is None:
            await good(work)
            return
        failed = c.ReportProgramFailed(fpga_id=work.fpga_id, epoch=work.epoch, code="cable", message="loose")
        await helper.commands.send(failed)

    monkeypatch.setattr(helper, "program", fails)
    async with lab.client() as api:
        for _ in range(2):
            await job(api, await submit(api), "failed")
        found = await board(api, "error", "board_in_quarantine")
        assert "2 loads in a row failed, the last with cable: loose" in found["error"]["message"]
        monkeypatch.setattr(helper, "program", good)
        next_job = await submit(api)
        await job(api, next_job, "running")
        lutlab(lab, "undrain", "0")
        await job(api, next_job, "complete")
