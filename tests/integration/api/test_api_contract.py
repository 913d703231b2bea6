"""The endpoint table of the board API's contract, a test a row, against a live server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from api_whole import WAIT_S, Hands, Whole, hands, until, whole

BOARD_FIELDS = {"fpga_id", "state", "owner", "session", "current_job_id", "current_job_created_at"}
SESSION_FIELDS = {"session_id", "fpga_id", "owner", "expires_at", "created_at"}
JOB_FIELDS = {"job_id", "fpga_id", "type", "status", "created_at", "updated_at", "build_stage"}
NOBODY = "00000000-0000-0000-0000-000000000005"


@pytest.fixture(scope="module")
def lab(postgres_url: str, nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(postgres_url, nats_url, tmp_path_factory.mktemp("contract"), LUTLAB_PUBLIC_READS="true") as lab:
        yield lab


@pytest.fixture
async def helper(lab: Whole) -> AsyncIterator[Hands]:
    async with hands(lab.nats_url) as helper:
        yield helper


@pytest.fixture
async def api(lab: Whole, helper: Hands) -> AsyncIterator[httpx.AsyncClient]:
    async with lab.client() as client:
        await settle(client)
        yield client
        helper.build_gate.set()
        for board in (await client.get("/fpga")).json():
            if board["state"] == "reserved":
                await client.post(f"/fpga/{board['fpga_id']}/session/release")
        await settle(client)


@pytest.fixture
async def public(lab: Whole) -> AsyncIterator[httpx.AsyncClient]:
    async with lab.client(None) as client:
        yield client


async def settle(api: httpx.AsyncClient) -> None:
    async def idle() -> bool:
        boards = (await api.get("/fpga")).json()
        return bool(boards) and {b["state"] for b in boards} == {"idle"}

    await until("all boards idle", idle)


async def submit(api: httpx.AsyncClient, path: str = "/submit", **data: str) -> httpx.Response:
    return await api.post(path, files={"file": ("design.v", f"// {uuid4()}".encode())}, data=data)


async def over(api: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    answer = await api.get(f"/api/v1/jobs/{job_id}", headers={"Prefer": f"wait={WAIT_S:g}"})
    job: dict[str, Any] = answer.json()
    assert job["status"] in {"complete", "failed", "cancelled"}, job
    return job


async def reserve(api: httpx.AsyncClient) -> int:
    return int((await over(api, (await submit(api)).json()["job_id"]))["fpga_id"])


def refusal(answer: httpx.Response) -> tuple[int, str]:
    detail = answer.json()["detail"]
    assert isinstance(detail["message"], str)
    return answer.status_code, detail["error"]


async def test_get_health(public: httpx.AsyncClient, api: httpx.AsyncClient) -> None:
    answer = await public.get("/health")
    told = answer.json()
    assert (answer.status_code, told["status"], told["redis"]) == (200, "ok", True)


async def test_get_fpga_list(api: httpx.AsyncClient, public: httpx.AsyncClient) -> None:
    boards = (await public.get("/fpga")).json()
    assert [b["fpga_id"] for b in boards] == [0, 1]
    assert all(set(b) >= BOARD_FIELDS for b in boards)


async def test_get_fpga(api: httpx.AsyncClient, public: httpx.AsyncClient) -> None:
    assert (await public.get("/fpga/0")).json()["state"] == "idle"
    assert refusal(await public.get("/fpga/-1"))[0] == 422
    assert refusal(await public.get("/fpga/7")) == (404, "fpga_not_found")


async def test_post_submit(api: httpx.AsyncClient, public: httpx.AsyncClient) -> None:
    answer = await submit(api, sys_clk_freq="25e6", timing_target_mhz="30", top="m")
    told = answer.json()
    assert (answer.status_code, told["fpga_id"], told["status"]) == (202, None, "queued")
    assert (await over(api, told["job_id"]))["status"] == "complete"
    assert refusal(await submit(api, sys_clk_freq="5e6")) == (422, "invalid_sys_clk_freq")
    assert refusal(await api.post("/submit"))[0] == 422
    assert refusal(await submit(public)) == (401, "missing_api_key")


async def test_post_fpga_submit(api: httpx.AsyncClient) -> None:
    answer = await submit(api, "/fpga/1/submit")
    told = answer.json()
    assert (answer.status_code, told["fpga_id"], told["status"]) == (202, 1, "queued")
    assert refusal(await submit(api, "/fpga/1/submit")) == (409, "fpga_not_idle")
    assert (await over(api, told["job_id"]))["fpga_id"] == 1


async def test_post_fpga_run(api: httpx.AsyncClient) -> None:
    body = {"op": 1, "address": 8, "data": [1, 2, 3]}
    assert refusal(await api.post("/fpga/0/run", json=body)) == (409, "fpga_not_reserved")
    board = await reserve(api)
    answer = await api.post(f"/fpga/{board}/run", json=body)
    assert (answer.status_code, set(answer.json())) == (202, {"job_id", "fpga_id", "status"})
    assert refusal(await api.post(f"/fpga/{board}/run", json={"op": 3, "address": 0}))[0] == 422


async def test_a_run_is_over_when_it_is_answered(api: httpx.AsyncClient) -> None:
    board = await reserve(api)
    started = time.monotonic()
    for number in range(20):
        run = (await api.post(f"/fpga/{board}/run", json={"op": 1, "address": 0, "data": [number]})).json()
        first_look = (await api.get(f"/fpga/{board}/jobs/{run['job_id']}")).json()
        assert first_look["status"] == "complete"
    assert time.monotonic() - started < 20 * 0.5


async def test_post_fpga_reset(api: httpx.AsyncClient) -> None:
    assert refusal(await api.post("/fpga/0/reset")) == (409, "fpga_not_resettable")
    board = await reserve(api)
    answer = await api.post(f"/fpga/{board}/reset")
    assert (answer.status_code, answer.json()["fpga_id"]) == (202, board)
    job = await over(api, answer.json()["job_id"])
    assert (job["type"], job["status"]) == ("reset", "complete")


async def test_get_fpga_session(api: httpx.AsyncClient, public: httpx.AsyncClient) -> None:
    assert refusal(await public.get("/fpga/0/session")) == (404, "no_active_session")
    board = await reserve(api)
    session = (await public.get(f"/fpga/{board}/session")).json()
    assert set(session) >= SESSION_FIELDS
    created, expires = (datetime.fromisoformat(session[name]) for name in ("created_at", "expires_at"))
    assert (expires - created).total_seconds() == 3600
    assert expires.tzinfo is not None


async def test_post_fpga_session_release(api: httpx.AsyncClient) -> None:
    assert refusal(await api.post("/fpga/0/session/release")) == (404, "no_active_session")
    board = await reserve(api)
    answer = await api.post(f"/fpga/{board}/session/release")
    assert answer.status_code == 202
    assert (await over(api, answer.json()["job_id"]))["type"] == "reset"


async def test_get_jobs(api: httpx.AsyncClient, public: httpx.AsyncClient) -> None:
    job_id = (await submit(api)).json()["job_id"]
    await over(api, job_id)
    jobs = (await api.get("/jobs")).json()
    assert jobs[0]["job_id"] == job_id
    assert all(set(j) >= JOB_FIELDS for j in jobs)
    assert [j["created_at"] for j in jobs] == sorted((j["created_at"] for j in jobs), reverse=True)
    assert {j["status"] for j in (await api.get("/jobs?status=complete")).json()} == {"complete"}
    assert refusal(await public.get("/jobs"))[0] == 401


@pytest.mark.parametrize("base", ["", "/fpga/0"])
async def test_get_job(api: httpx.AsyncClient, public: httpx.AsyncClient, base: str) -> None:
    job_id = (await submit(api, "/fpga/0/submit")).json()["job_id"]
    job = (await public.get(f"{base}/jobs/{job_id}")).json()
    assert set(job) >= JOB_FIELDS
    assert datetime.fromisoformat(job["updated_at"]).tzinfo is not None
    assert refusal(await public.get(f"{base}/jobs/{NOBODY}")) == (404, "job_not_found")
    assert refusal(await public.get(f"/fpga/1/jobs/{job_id}")) == (404, "job_not_found")
    await over(api, job_id)


async def test_get_logs_while_the_build_runs(helper: Hands, api: httpx.AsyncClient, public: httpx.AsyncClient) -> None:
    helper.build_gate.clear()
    job_id = (await submit(api)).json()["job_id"]

    async def logged() -> bool:
        answer = await public.get(f"/jobs/{job_id}/logs")
        assert answer.headers["Content-Type"].startswith("text/plain")
        return "yosys was here" in answer.text

    await until("a line", logged)
    assert (await public.get(f"/jobs/{job_id}")).json()["status"] == "running"
    assert refusal(await public.get(f"/jobs/{NOBODY}/logs")) == (404, "job_not_found")
    helper.build_gate.set()
    await over(api, job_id)


async def test_get_result(helper: Hands, api: httpx.AsyncClient, public: httpx.AsyncClient) -> None:
    helper.build_gate.clear()
    job_id = (await submit(api)).json()["job_id"]
    assert refusal(await public.get(f"/jobs/{job_id}/result")) == (409, "job_not_complete")
    helper.build_gate.set()
    board = (await over(api, job_id))["fpga_id"]
    assert (await public.get(f"/jobs/{job_id}/result")).json() == {"ok": True, "data": []}
    run = (await api.post(f"/fpga/{board}/run", json={"op": 2, "address": 0, "count": 3})).json()
    assert (await public.get(f"/fpga/{board}/jobs/{run['job_id']}/result")).json() == {"ok": True, "data": [0, 0, 0]}
    assert refusal(await public.get(f"/jobs/{NOBODY}/result")) == (404, "job_not_found")


async def test_delete_job(helper: Hands, api: httpx.AsyncClient) -> None:
    helper.build_gate.clear()
    job_id = (await submit(api)).json()["job_id"]
    assert (await api.delete(f"/jobs/{job_id}")).status_code == 204
    assert refusal(await api.delete(f"/jobs/{job_id}")) == (409, "job_not_cancellable")
    assert refusal(await api.delete(f"/jobs/{NOBODY}")) == (404, "job_not_found")


async def test_delete_job_of_a_board_frees_it(helper: Hands, api: httpx.AsyncClient) -> None:
    helper.build_gate.clear()
    blocker = (await submit(api)).json()["job_id"]  # the only builder is busy with this one

    async def building() -> bool:
        return bool((await api.get(f"/jobs/{blocker}")).json()["status"] == "running")

    await until("the build under way", building)
    job_id = (await submit(api, "/fpga/1/submit")).json()["job_id"]
    assert (await api.get("/fpga/1")).json()["state"] == "queued"
    assert (await api.delete(f"/fpga/1/jobs/{job_id}")).status_code == 204
    assert (await api.get("/fpga/1")).json()["state"] == "idle"
    await api.delete(f"/jobs/{blocker}")


async def test_post_auth_github_exchange(public: httpx.AsyncClient) -> None:
    """Not offered by this lab; test_api_identities_whole.py has one that offers it."""
    answer = await public.post("/auth/github/exchange", json={"github_token": "x"})
    assert refusal(answer) == (400, "github_login_unsupported")


async def test_delete_auth_keys_me(lab: Whole, api: httpx.AsyncClient) -> None:
    key = (await api.post("/auth/keys", json={"owner": "brief"})).json()["api_key"]
    async with lab.client(key) as brief:
        assert (await brief.delete("/auth/keys/me")).is_success
        assert refusal(await brief.get("/jobs")) == (401, "invalid_api_key")


async def test_get_openapi_and_docs(public: httpx.AsyncClient) -> None:
    assert (await public.get("/openapi.json")).json()["openapi"].startswith("3.1")
    for path in ("/docs", "/redoc"):
        assert "text/html" in (await public.get(path)).headers["Content-Type"]
