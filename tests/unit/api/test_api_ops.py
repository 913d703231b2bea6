"""`/ready` and `/metrics`."""

from __future__ import annotations

import asyncio

import pytest
from api_fakes import ADA, Lab

from lutlab_api.app.ports import MessagingHealth


async def test_ready_says_what_is_missing_and_when_it_stops() -> None:
    lab = Lab()
    async with lab.client(None) as client:
        good = await client.get("/ready")
        assert (good.status_code, good.json()["ready"]) == (200, True)

        async def away() -> MessagingHealth:
            return MessagingHealth(nats=True, scheduler=False)

        whole = lab.messaging.health
        lab.messaging.health = away  # type: ignore[method-assign]
        bad = await client.get("/ready")
        assert (bad.status_code, bad.json()["scheduler"], bad.headers["Retry-After"]) == (503, False, "2")
        lab.messaging.health = whole  # type: ignore[method-assign]
        lab.services.follower.close()
        stopping = await client.get("/ready")
        assert (stopping.status_code, stopping.json()["stopping"]) == (503, True)


async def test_load_balancers_may_ask_by_head(lab: Lab) -> None:
    async with lab.client(None) as client:
        assert [(await client.head(path)).status_code for path in ("/health", "/api/v1/health", "/ready")] == [200] * 3
        lab.services.follower.close()
        assert (await client.head("/ready")).status_code == 503


async def test_many_who_ask_at_once_cost_one_look(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking needs no key and is never refused: a flood of it must leave the database to others."""
    looks, looked, gate = 0, asyncio.Event(), asyncio.Event()

    async def ping() -> None:
        nonlocal looks
        looks += 1
        looked.set()
        await gate.wait()

    monkeypatch.setattr(lab.ledger, "ping", ping)
    async with lab.client(None) as client:
        asking = [asyncio.create_task(client.get(path)) for path in ("/health", "/ready", "/metrics") * 30]
        await looked.wait()
        await asyncio.sleep(0.05)
        gate.set()
        assert {answer.status_code for answer in await asyncio.gather(*asking)} == {200}
        assert looks == 1
        await client.get("/health")
        assert looks == 2


async def test_health_names_the_tools_of_the_newest_build(public_lab: Lab) -> None:
    async with public_lab.client(None) as client:
        assert (await client.get("/health")).json()["build_tools"] == {}
        public_lab.ledger.tools = "amaranth 0.5.8, yowasp nextpnr 0.9.1"
        public_lab.clock.seconds += 31
        assert (await client.get("/health")).json()["build_tools"] == {"amaranth": "0.5.8", "yowasp nextpnr": "0.9.1"}


async def test_metrics_count_by_route_and_not_by_what_clients_write() -> None:
    lab = Lab()
    async with lab.client(ADA) as client:
        await client.get("/jobs/0b0c0000-0000-0000-0000-000000000000")
        await client.get("/nowhere-secret-path")
        await client.request("BREW", "/fpga")
        text = (await client.get("/metrics")).text
    assert 'lutlab_http_requests_total{method="GET",route="/jobs/{job_id}",status="404"} 1.0' in text
    assert 'route="none",status="404"' in text
    assert 'method="other"' in text
    assert "nowhere" not in text
    assert "BREW" not in text
    assert 'lutlab_dependency_up{dependency="postgres"} 1.0' in text
    assert "lutlab_log_followers 0.0" in text
