"""The API's walks with the real scheduler: both generations, failures, repetition, revocation, restarts."""

from __future__ import annotations

import asyncio
import signal
import struct
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from api_whole import WAIT_S, Hands, Whole, hands, until, whole
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

WRITE = {"op": 1, "address": 0, "data": [42]}
READ = {"op": 2, "address": 0}


@pytest.fixture(scope="module")
def lab(postgres_url: str, nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("whole")
    with whole(postgres_url, nats_url, folder, apis=2, LUTLAB_PUBLIC_READS="true", LUTLAB_COMMAND_TIMEOUT_S="2") as lab:
        yield lab


@pytest.fixture
async def helper(lab: Whole) -> AsyncIterator[Hands]:
    async with hands(lab.nats_url) as helper, lab.client() as api:
        await all_idle(api)
        yield helper
        helper.silent = helper.broken = False
        helper.build_gate.set()
        for board in (await api.get("/fpga")).json():
            if board["state"] == "reserved":
                await api.post(f"/fpga/{board['fpga_id']}/session/release")
        await all_idle(api)


@pytest.fixture
async def api(lab: Whole, helper: Hands) -> AsyncIterator[httpx.AsyncClient]:
    async with lab.client() as client:
        yield client


async def all_idle(api: httpx.AsyncClient) -> None:
    async def probe() -> bool:
        boards = (await api.get("/fpga")).json()
        return bool(boards) and {b["state"] for b in boards} == {"idle"}

    await until("all boards idle", probe)


async def ended(api: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    async def probe() -> dict[str, Any] | None:
        job: dict[str, Any] = (await api.get(f"/jobs/{job_id}")).raise_for_status().json()
        return job if job["status"] in {"complete", "failed", "cancelled"} else None

    return await until(f"the end of job {job_id}", probe)


async def submit(api: httpx.AsyncClient, route: str = "/submit", **headers: str) -> str:
    answer = await api.post(route, files={"file": ("design.v", f"// {uuid4()}".encode())}, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


async def reserve(api: httpx.AsyncClient) -> int:
    job = await ended(api, await submit(api))
    assert job["status"] == "complete", job
    return int(job["fpga_id"])


async def test_the_older_generations_walk(lab: Whole, helper: Hands, api: httpx.AsyncClient) -> None:
    helper.build_gate.clear()
    boards = (await api.get("/fpga")).json()
    assert [(b["fpga_id"], b["state"], b["owner"]) for b in boards] == [(0, "idle", None), (1, "idle", None)]
    answer = await api.post("/fpga/1/submit", files={"file": ("design.py", b"# x")}, headers={"X-Session-ID": "s"})
    assert answer.status_code == 202
    told = answer.json()
    assert (told["fpga_id"], told["status"]) == (1, "queued")
    job_id = told["job_id"]
    assert (await api.get("/fpga/1")).json()["state"] in {"queued", "building"}
    busy = await api.post("/fpga/1/submit", files={"file": ("design.py", b"# x")})
    assert (busy.status_code, busy.json()["detail"]["error"]) == (409, "fpga_not_idle")

    async def building() -> dict[str, Any] | None:
        job: dict[str, Any] = (await api.get(f"/fpga/1/jobs/{job_id}")).json()
        return job if job["build_stage"] == "synthesize" else None

    job = await until("the build being under way", building)
    assert (job["status"], job["fpga_id"]) == ("running", 1)
    assert (await api.get("/fpga/1")).json()["state"] == "building"
    early = await api.get(f"/fpga/1/jobs/{job_id}/result")
    assert (early.status_code, early.json()["detail"]["error"]) == (409, "job_not_complete")
    cancel = await api.delete(f"/fpga/1/jobs/{job_id}")
    assert (cancel.status_code, cancel.json()["detail"]["error"]) == (409, "job_not_cancellable")
    helper.build_gate.set()
    job = await ended(api, job_id)
    assert (job["status"], job["report"]["fmax_mhz"]) == ("complete", 88.5)
    board = (await api.get("/fpga/1")).json()
    assert (board["state"], board["owner"], board["current_job_id"]) == ("reserved", "admin", job_id)
    assert board["session"] == (await api.get("/fpga/1/session")).json()
    assert datetime.fromisoformat(board["session"]["expires_at"]).tzinfo is not None
    assert "yosys was here" in (await api.get(f"/fpga/1/jobs/{job_id}/logs")).text
    assert (await api.get(f"/fpga/0/jobs/{job_id}")).status_code == 404

    run = (await api.post("/fpga/1/run", json=WRITE)).json()
    assert (run["fpga_id"], run["status"]) == (1, "complete")
    assert (await api.get(f"/fpga/1/jobs/{run['job_id']}/result")).json() == {"ok": True, "data": [42]}
    run = (await api.post("/fpga/1/run", json=READ)).json()
    assert (await api.get(f"/jobs/{run['job_id']}/result")).json() == {"ok": True, "data": [42]}

    release = await api.post("/fpga/1/session/release")
    assert release.status_code == 202
    reset = await ended(api, release.json()["job_id"])
    assert (reset["type"], reset["status"], reset["fpga_id"]) == ("reset", "complete", 1)
    assert (await api.get("/fpga/1")).json()["state"] == "idle"
    for path in ("session/release", "reset"):
        again = await api.post(f"/fpga/1/{path}")
        assert again.json()["detail"]["error"] in {"no_active_session", "fpga_not_resettable"}
    late = await api.post("/fpga/1/run", json=READ)
    assert (late.status_code, late.json()["detail"]["error"]) == (409, "fpga_not_reserved")
    history = (await api.get("/api/v1/boards/1/events?limit=1000")).json()["events"]
    assert [e["version"] for e in history] == list(range(1, len(history) + 1))
    types = [e["type"] for e in history]
    assert types[-3:] == ["board.session_ended.v1", "board.reset_started.v1", "board.reset.v1"]


async def test_the_newer_generations_walk_and_the_stream(lab: Whole, helper: Hands, api: httpx.AsyncClient) -> None:
    mine = uuid4()
    job_id = await submit(api, **{"X-Request-ID": str(mine)})
    job = await ended(api, job_id)
    board = job["fpga_id"]
    details = (await api.get(f"/api/v1/jobs/{job_id}")).json()
    assert (details["correlation_id"], details["filename"]) == (str(mine), "design.v")
    assert details["bitstream"]["clk_hz"] == 50_000_000
    assert job_id in {j["job_id"] for j in (await api.get("/jobs?status=complete&type=build_and_program")).json()}
    url = lab.url().replace("http", "ws", 1) + f"/fpga/{board}/stream"
    headers = {"X-API-Key": api.headers["x-api-key"]}
    async with connect(url, additional_headers=headers, proxy=None) as ws:
        for n in range(100):
            await ws.send(struct.pack(">III", 1 << 24 | 1, 4 * n, n * n))
        for _ in range(100):
            assert await ws.recv() == bytes(4)
        await ws.send(struct.pack(">III", 2 << 24 | 1, 0, 100))
        reply = await ws.recv()
        assert isinstance(reply, bytes)
        assert list(struct.unpack(">101I", reply)) == [100, *(n * n for n in range(100))]
        async with connect(url, additional_headers=headers, proxy=None) as second:
            with pytest.raises(ConnectionClosed) as closed:
                await second.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4409
        assert (await api.post(f"/fpga/{board}/run", json=READ)).json()["detail"]["error"] == "fpga_busy"
        await api.post(f"/fpga/{board}/session/release")

        async def idle() -> bool:
            return bool((await api.get(f"/fpga/{board}")).json()["state"] == "idle")

        await until("the board being idle", idle)
        with pytest.raises(ConnectionClosed) as closed:
            await ws.send(struct.pack(">III", 2 << 24 | 1, 0, 1))
            await ws.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4502
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=headers, proxy=None)
    assert refused.value.response.status_code == 409


async def test_a_failed_build_says_why(helper: Hands, api: httpx.AsyncClient) -> None:
    helper.build_error = ("verilog_error", "design.v:3: syntax error")
    job = await ended(api, await submit(api))
    assert job["status"] == "failed"
    assert job["error"] == {"code": "verilog_error", "message": "design.v:3: syntax error", "stage": "synthesize"}

    async def logged() -> bool:
        log = (await api.get(f"/jobs/{job['job_id']}/logs")).text
        return "yosys was here" in log and log.endswith("design.v:3: syntax error\n")

    await until("the log", logged)
    assert (await api.get(f"/jobs/{job['job_id']}/result")).json()["error"]["code"] == "verilog_error"
    assert job["job_id"] in {j["job_id"] for j in (await api.get("/jobs?status=failed")).json()}


async def test_cancelling(helper: Hands, api: httpx.AsyncClient) -> None:
    helper.build_gate.clear()
    job_id = await submit(api)
    assert (await api.delete(f"/jobs/{job_id}")).status_code == 204
    assert (await api.get(f"/jobs/{job_id}")).json()["status"] == "cancelled"
    again = await api.delete(f"/jobs/{job_id}")
    assert (again.status_code, again.json()["detail"]["error"]) == (409, "job_not_cancellable")
    nobody = await api.delete(f"/jobs/{UUID(int=5)}")
    assert (nobody.status_code, nobody.json()["detail"]["error"]) == (404, "job_not_found")
    assert (await api.get(f"/jobs/{job_id}/result")).json()["detail"]["error"] == "job_not_complete"


async def test_strangers(lab: Whole, helper: Hands, api: httpx.AsyncClient) -> None:
    key = (await api.post("/auth/keys", json={"owner": "stranger"})).json()["api_key"]
    board = await reserve(api)
    job_id = (await api.get(f"/fpga/{board}")).json()["current_job_id"]
    async with lab.client(key) as stranger:
        for path, body in (("run", WRITE), ("session/release", None), ("reset", None)):
            answer = await stranger.post(f"/fpga/{board}/{path}", json=body)
            assert (answer.status_code, answer.json()["detail"]["error"]) == (403, "not_your_session")
        assert (await stranger.delete(f"/jobs/{job_id}")).json()["detail"]["error"] == "not_your_job"
        assert (await stranger.get("/jobs")).json() == []
        assert "key." not in str((await stranger.get("/api/v1/events?limit=1000")).json())
        mine = await ended(stranger, await submit(stranger))
        assert (await stranger.post(f"/fpga/{mine['fpga_id']}/run", json=WRITE)).status_code == 202
        assert len((await stranger.get("/jobs")).json()) == 2
        admins = await api.post(f"/fpga/{mine['fpga_id']}/run", json=READ)  # an admin may
        assert admins.status_code == 202, admins.text


async def test_a_revoked_key_is_worthless_everywhere_within_two_seconds(lab: Whole, api: httpx.AsyncClient) -> None:
    key = (await api.post("/auth/keys", json={"owner": "eve"})).json()["api_key"]
    async with lab.client(key, 0) as here, lab.client(key, 1) as there:
        assert (await here.get("/jobs")).status_code == (await there.get("/jobs")).status_code == 200
        assert (await here.delete("/auth/keys/me")).status_code == 204
        assert (await here.get("/jobs")).json()["detail"]["error"] == "invalid_api_key"

        async def refused() -> bool:
            return (await there.get("/jobs")).status_code == 401

        await until("revocation in the other process", refused, 2.0)


async def test_repetition(lab: Whole, helper: Hands, api: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    file = {"file": ("design.v", b"// same")}
    async with lab.client(number=1) as elsewhere:
        answers = [await client.post("/submit", files=file, headers=key) for client in (api, api, elsewhere)]
    assert [a.status_code for a in answers] == [202, 202, 202]
    assert len({a.json()["job_id"] for a in answers}) == 1
    other = await api.post("/submit", files={"file": ("design.v", b"// other")}, headers=key)
    assert (other.status_code, other.json()["detail"]["error"]) == (409, "idempotency_mismatch")
    job = await ended(api, answers[0].json()["job_id"])
    board, before = job["fpga_id"], helper.exchanges
    key = {"Idempotency-Key": str(uuid4())}
    runs = [await api.post(f"/fpga/{board}/run", json=WRITE, headers=key) for _ in range(3)]
    assert {r.text for r in runs} == {runs[0].text}
    assert runs[0].status_code == 202
    assert helper.exchanges == before + 1


async def test_a_failing_link(helper: Hands, api: httpx.AsyncClient) -> None:
    board = await reserve(api)
    helper.broken = True
    answer = await api.post(f"/fpga/{board}/run", json=WRITE)
    assert (answer.status_code, answer.json()["detail"]["error"]) == (502, "board_link_failed")
    job_id = answer.json()["detail"]["job_id"]
    job = (await api.get(f"/jobs/{job_id}")).json()
    assert (job["status"], job["type"], job["fpga_id"]) == ("failed", "run", board)
    assert "cable pulled" in job["error"]["message"]
    assert (await api.get(f"/jobs/{job_id}/result")).json()["ok"] is False


async def test_without_a_scheduler(lab: Whole, helper: Hands, api: httpx.AsyncClient) -> None:
    board = await reserve(api)
    assert lab.scheduler.stop(signal.SIGKILL) == -signal.SIGKILL
    try:
        key = {"Idempotency-Key": str(uuid4())}
        file = {"file": ("design.v", b"// during an outage")}
        answer = await api.post("/submit", files=file, headers=key)
        assert (answer.status_code, answer.json()["detail"]["error"]) == (503, "scheduler_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        run_key = {"Idempotency-Key": str(uuid4())}
        run = await api.post(f"/fpga/{board}/run", json=WRITE, headers=run_key)
        assert (run.status_code, "was carried out" in run.json()["detail"]["message"]) == (503, True)
        exchanges = helper.exchanges
        health = (await api.get("/health")).json()
        assert (health["status"], health["scheduler"], health["nats"], health["postgres"]) == (
            "degraded",
            False,
            True,
            True,
        )
        assert (await api.get("/fpga")).status_code == 200
    finally:
        lab.scheduler.start()
    lab.wait_ok()
    again = await api.post("/submit", files=file, headers=key)
    assert again.status_code == 202
    assert (await ended(api, again.json()["job_id"]))["status"] == "complete"
    run = await api.post(f"/fpga/{board}/run", json=WRITE, headers=run_key)
    assert run.status_code == 202, run.text
    assert helper.exchanges == exchanges
    jobs = (await api.get("/jobs?type=run")).json()
    assert [j["job_id"] for j in jobs].count(run.json()["job_id"]) == 1


async def test_an_api_stops_gracefully_with_a_stream_open(lab: Whole, helper: Hands, api: httpx.AsyncClient) -> None:
    board = await reserve(api)
    url = lab.url(1).replace("http", "ws", 1) + f"/fpga/{board}/stream"
    ws = await connect(url, additional_headers={"X-API-Key": api.headers["x-api-key"]}, proxy=None)
    await ws.send(struct.pack(">III", 1 << 24 | 1, 0, 7))
    assert await ws.recv() == bytes(4)
    assert helper.holders
    code = await asyncio.to_thread(lab.apis[1].stop)
    try:
        assert code == 0
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(ws.recv(), WAIT_S)
        assert not helper.holders
        assert '"event": "api_stopped"' in lab.apis[1].log.read_text()
        assert "Traceback" not in lab.apis[1].log.read_text()
    finally:
        lab.apis[1].start()
        await asyncio.to_thread(lab.wait_ok, 1)


def test_an_api_waits_for_its_servers(tmp_path: Path, postgres_url: str) -> None:
    """It serves at once, says that it is degraded, and stops cleanly with nothing there."""
    from api_whole import Service  # noqa: PLC0415

    from lutlab_stack.ports import free_port  # noqa: PLC0415

    port = free_port()
    env = {
        "LUTLAB_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/x",
        "LUTLAB_NATS_URL": "nats://127.0.0.1:9",
        "LUTLAB_BOOTSTRAP_KEY": "some-admin-key",
        "LUTLAB_API_PORT": str(port),
    }
    service = Service("lutlab-api", env, tmp_path / "api.log").start()
    try:
        told = _health(service, port)
        assert (told["status"], told["redis"], told["postgres"]) == ("degraded", False, False)
        answer = httpx.get(f"http://127.0.0.1:{port}/fpga", headers={"X-API-Key": "some-admin-key"}, timeout=10)
        assert (answer.status_code, answer.json()["detail"]["error"]) == (503, "scheduler_unavailable")
    finally:
        assert service.stop() == 0
    log = (tmp_path / "api.log").read_text()
    assert "some-admin-key" not in log
    assert "Traceback" not in log


def _health(service: Any, port: int) -> dict[str, Any]:
    for _ in range(400):
        assert service.is_running()
        try:
            told: dict[str, Any] = httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).json()
            return told
        except httpx.TransportError:
            signal.sigtimedwait([], 0.05)
    pytest.fail("the API did not serve")
