"""Webhooks through the shipped processes: API, scheduler and delivery, to a real HTTP server; killed on the way."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "api"))

from api_whole import ADMIN_KEY, PROFILE, Hands, Service, Whole, hands, until, whole

from lutlab_stack.ports import free_port

KEY = "the operator's own key"
SECRET = "a webhook secret of enough bytes"


@dataclass
class Receiver:
    """An HTTP server that keeps what it is sent and answers as told."""

    port: int = 0
    answer: bytes = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events"

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.serve(reader, writer))
        self.serving.add(task)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        plain = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.heard.append(({name.lower(): value for name, value in plain.items()}, body))
        writer.write(self.answer)
        await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def events(self, name: str) -> list[dict[str, Any]]:
        told = [json.loads(body) for _, body in self.heard]
        return [body for body in told if body["event"] == name]


@pytest.fixture(scope="module")
def lab(postgres_url: str, nats_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("webhooks")
    settings = {"LUTLAB_WEBHOOKS_KEY": KEY, "LUTLAB_WEBHOOKS_ALLOW_NETWORKS": "127.0.0.0/8"}
    with whole(postgres_url, nats_url, folder, **settings) as lab:
        env = {"LUTLAB_DATABASE_URL": postgres_url, "LUTLAB_NATS_URL": nats_url, **settings}
        port = free_port()
        env["LUTLAB_WEBHOOKS_METRICS_PORT"] = str(port)
        lab.metrics = f"http://127.0.0.1:{port}/metrics"  # type: ignore[attr-defined]
        courier = Service("lutlab-webhooks", env, folder / "webhooks.log").start()
        lab.courier = courier  # type: ignore[attr-defined]
        try:
            yield lab
        finally:
            assert courier.stop() == 0
    for log in folder.glob("*.log"):
        text = log.read_text()
        assert SECRET not in text
        assert ADMIN_KEY not in text
        assert "Traceback" not in text, text[-3000:]
        assert "store_awaited" not in text, text[-3000:]


@pytest.fixture
async def helper(lab: Whole, nats_url: str) -> AsyncIterator[Hands]:
    async with hands(nats_url) as helper:
        yield helper


@pytest.fixture
async def api(lab: Whole) -> AsyncIterator[httpx.AsyncClient]:
    async with lab.client() as client:
        yield client


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.accept, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    yield receiver
    server.close()
    await asyncio.gather(*receiver.serving)


async def register(api: httpx.AsyncClient, receiver: Receiver, **more: Any) -> str:
    body = {"url": receiver.url, "events": ["job.queued", "job.failed", "job.completed"], "secret": SECRET, **more}
    answer = await api.post("/api/v1/webhooks", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["webhook_id"])


async def submit(api: httpx.AsyncClient) -> str:
    files = {"file": ("design.v", b"// a design")}
    answer = await api.post("/submit", files=files, data={"profile": PROFILE})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


async def test_a_job_is_told_of_and_the_delivery_may_be_killed(
    lab: Whole, helper: Hands, api: httpx.AsyncClient, receiver: Receiver
) -> None:
    ident = await register(api, receiver)
    helper.build_error = ("synthesis_failed", "no such module")
    job_id = await submit(api)

    async def failed() -> list[dict[str, Any]]:
        return receiver.events("job.failed")

    (told,) = await until("job.failed", failed)
    assert (told["job_id"], told["status"], told["project_id"]) == (job_id, "failed", None)
    assert told["summary"]["code"] == "synthesis_failed"
    headers, body = next((h, b) for h, b in receiver.heard if b'"job.failed"' in b)
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET.encode(), content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    plain = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["x-openforge-signature"] == f"sha256={plain}"

    courier: Service = lab.courier  # type: ignore[attr-defined]
    assert courier.stop(signal.SIGKILL) == -signal.SIGKILL
    jobs = [await submit(api) for _ in range(3)]
    courier.start()

    async def all_told() -> bool:
        return {j["job_id"] for j in receiver.events("job.failed")} >= set(jobs)

    await until("the jobs of the outage", all_told)

    # The log of deliveries, one more time, and a range once more.
    listed = (await api.get(f"/api/v1/webhooks/{ident}/deliveries?status=delivered")).json()["deliveries"]
    one = next(d for d in listed if d["position"] == told["position"])
    detail = (await api.get(f"/api/v1/webhooks/{ident}/deliveries/{one['delivery_id']}")).json()
    assert (detail["log"][0]["status_code"], json.loads(detail["body"])) == (204, told)
    before = len(receiver.heard)
    again = await api.post(f"/api/v1/webhooks/{ident}/deliveries/{one['delivery_id']}/redeliver")
    assert again.status_code == 202

    async def more() -> bool:
        return len(receiver.heard) > before

    await until("the delivery again", more)
    assert receiver.heard[-1][0]["webhook-id"] == headers["webhook-id"]
    assert (await api.post(f"/api/v1/webhooks/{ident}/replay", json={"after": 0})).status_code == 202

    async def replayed() -> bool:
        told = Counter(event["job_id"] for event in receiver.events("job.queued"))
        return set(told) >= {job_id, *jobs} and min(told.values()) >= 2

    await until("the replay", replayed)
    assert (await api.delete(f"/api/v1/webhooks/{ident}")).status_code == 204
    helper.build_error = None


async def test_rotation_signs_with_both(api: httpx.AsyncClient, receiver: Receiver) -> None:
    ident = await register(api, receiver)
    new = (await api.post(f"/api/v1/webhooks/{ident}/rotate")).json()["secret"]
    await api.post(f"/api/v1/webhooks/{ident}/ping")

    async def pinged() -> bool:
        return bool(receiver.events("ping"))

    await until("the ping", pinged)
    headers, body = receiver.heard[-1]
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    keys = (base64.b64decode(new.removeprefix("whsec_")), SECRET.encode())
    signed = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys]
    assert headers["webhook-signature"] == f"v1,{signed[0]} v1,{signed[1]}"
    await api.delete(f"/api/v1/webhooks/{ident}")


async def test_gone_disables_and_the_log_says_so(api: httpx.AsyncClient, receiver: Receiver) -> None:
    ident = await register(api, receiver)
    receiver.answer = b"HTTP/1.1 410 Gone\r\nContent-Length: 4\r\n\r\ngone"
    await api.post(f"/api/v1/webhooks/{ident}/ping")

    async def disabled() -> dict[str, Any] | None:
        told: dict[str, Any] = (await api.get(f"/api/v1/webhooks/{ident}")).json()
        return None if told["active"] else told

    told = await until("the end", disabled)
    assert told["disabled_code"] == "endpoint_gone"
    events = (await api.get("/api/v1/events?limit=1000")).json()["events"]
    (event,) = [e for e in events if e["stream"] == f"webhook-{ident}" and e["type"] == "webhook.disabled.v1"]
    assert event["data"]["code"] == "endpoint_gone"
    assert "secret_box" not in json.dumps(events)
    receiver.answer = Receiver.answer
    assert (await api.post(f"/api/v1/webhooks/{ident}/enable")).json()["active"] is True
    (ping,) = (await api.get(f"/api/v1/webhooks/{ident}/deliveries")).json()["deliveries"]
    detail = (await api.get(f"/api/v1/webhooks/{ident}/deliveries/{ping['delivery_id']}")).json()
    assert detail["log"][0]["response_body"] == "gone"
    await api.delete(f"/api/v1/webhooks/{ident}")


async def test_a_redirect_is_not_followed(lab: Whole, api: httpx.AsyncClient, receiver: Receiver) -> None:
    ident = await register(api, receiver)
    receiver.answer = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    await api.post(f"/api/v1/webhooks/{ident}/ping")

    async def tried() -> dict[str, Any] | None:
        (one,) = (await api.get(f"/api/v1/webhooks/{ident}/deliveries")).json()["deliveries"]
        return one if one["attempts"] else None

    one = await until("an attempt", tried)
    assert one["status"] == "pending"
    assert len(receiver.heard) == 1
    text = (await api.get(lab.metrics)).text  # type: ignore[attr-defined]
    assert 'lutlab_webhook_attempts_total{outcome="failed"}' in text
    await api.delete(f"/api/v1/webhooks/{ident}")
