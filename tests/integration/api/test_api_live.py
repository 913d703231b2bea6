"""The log as server-sent events and a job over a WebSocket, through the shipped API, with its graceful stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from api_whole import ADMIN_KEY, Hands, Whole, hands, until, whole
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


@pytest.fixture(scope="module")
def lab(postgres_url: str, nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole(postgres_url, nats_url, tmp_path_factory.mktemp("live")) as lab:
        yield lab


@pytest.fixture
async def helper(lab: Whole, nats_url: str) -> AsyncIterator[Hands]:
    async with hands(nats_url) as helper:
        yield helper


@pytest.fixture
async def api(lab: Whole) -> AsyncIterator[httpx.AsyncClient]:
    async with lab.client() as client:
        yield client


async def sse(client: httpx.AsyncClient, after: int, **headers: str) -> AsyncIterator[tuple[str, int, dict[str, Any]]]:
    """Type, id and data of each event."""
    fields = {"Accept": "text/event-stream", **headers}
    async with client.stream("GET", "/api/v1/events", params={"after": after}, headers=fields, timeout=20) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        found: dict[str, str] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if line:
                found[name] = value
            elif "data" in found:
                yield found["event"], int(found.get("id", -1)), json.loads(found["data"])
                found = {}
            else:
                found = {}


async def submit(client: httpx.AsyncClient, text: bytes = b"// a design") -> str:
    answer = await client.post("/submit", files={"file": ("design.v", text)})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


async def test_followers_see_everything_once_in_order_and_no_more_than_they_may(
    lab: Whole, helper: Hands, api: httpx.AsyncClient
) -> None:
    key = (await api.post("/auth/keys", json={"owner": "stranger"})).json()["api_key"]
    helper.build_error = ("synthesis_failed", "no")
    job_id = await submit(api)
    seen: list[int] = []
    async for kind, position, data in sse(api, 0):
        seen.append(position)
        if kind == "job.failed.v1" and job_id in data["stream"]:
            break
    assert seen == list(range(1, len(seen) + 1))
    async with lab.client(key) as stranger:
        mine = await submit(stranger)
        async for kind, _, data in sse(stranger, 0):
            assert data["stream"].startswith("board-") or data["stream"] == f"job-{mine}"
            if kind == "job.failed.v1":
                break
    async for _, position, _ in sse(api, 0, **{"Last-Event-ID": "3"}):
        assert position == 4
        break
    wrong = await api.get("/api/v1/events", headers={"Accept": "text/event-stream", "Last-Event-ID": "x"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "validation_error")
    ahead = await api.get("/api/v1/events/stream?after=999999")
    assert ahead.status_code == 422 and "nobody can have heard it up to 999999" in ahead.json()["error"]["message"]
    async with lab.client(None) as nobody:
        assert (await nobody.get("/api/v1/events", headers={"Accept": "text/event-stream"})).status_code == 401
    helper.build_error = None


async def test_a_job_is_followed_from_its_first_line_and_again_from_any(
    lab: Whole, helper: Hands, api: httpx.AsyncClient
) -> None:
    helper.build_gate.clear()
    job_id = await submit(api, b"// followed")
    url = lab.url().replace("http", "ws", 1) + f"/api/v1/jobs/{job_id}/stream"
    headers = {"X-API-Key": ADMIN_KEY}
    async with connect(url, additional_headers=headers, proxy=None) as ws:
        running = [json.loads(await asyncio.wait_for(ws.recv(), 10)) for _ in range(2)]
    assert sorted(m["type"] for m in running) == ["log", "progress"]  # while the stage runs
    assert next(m for m in running if m["type"] == "log")["message"] == "yosys was here"
    helper.build_gate.set()
    async with connect(f"{url}?after={running[-1]['after']}", additional_headers=headers, proxy=None) as ws:
        rest = [json.loads(message) async for message in ws]
        assert ws.close_code == 1000
    assert [(m["type"], m["status"]) for m in rest] == [("stage_complete", "passed"), ("job_complete", "passed")]
    for path, status in ((url.replace(job_id, "x"), 404), (f"{url}?after=nonsense", 422)):
        with pytest.raises(InvalidStatus) as refused:
            await connect(path, additional_headers=headers, proxy=None)
        assert refused.value.response.status_code == status


async def test_a_stopping_api_lets_its_streams_end(lab: Whole, helper: Hands, api: httpx.AsyncClient) -> None:
    helper.build_gate.clear()
    job_id = await submit(api, b"// when it stops")
    url = lab.url().replace("http", "ws", 1) + f"/api/v1/jobs/{job_id}/stream"
    ws = await connect(url, additional_headers={"X-API-Key": ADMIN_KEY}, proxy=None)
    last: list[tuple[str, dict[str, Any]]] = []

    async def follow() -> None:
        async for kind, _, data in sse(api, 0):
            last.append((kind, data))

    following = asyncio.create_task(follow())

    async def begun() -> bool:
        return bool(last)

    await until("the first event", begun)
    assert await asyncio.to_thread(lab.apis[0].stop) == 0
    await asyncio.wait_for(following, 5)
    kind, data = last[-1]
    assert kind == "closing"
    assert data["after"] == last[-2][1]["position"]
    with pytest.raises(ConnectionClosed):
        while True:
            await asyncio.wait_for(ws.recv(), 5)
    assert ws.close_code in (1001, 1012)
    assert "Traceback" not in lab.apis[0].log.read_text()
    lab.apis[0].start()
    await asyncio.to_thread(lab.wait_ok)
    helper.build_gate.set()
