"""Rate limits, their headers, overload, and what processes share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from api_fakes import ADA, BOB, FakeClock, FakeShared, Lab, error_of, job

from lutlab_api.app.limits import Limiter, Rule
from lutlab_api.web import edge, limits

FILE = {"file": ("design.v", b"module m; endmodule")}
HEADERS = {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}


async def test_the_three_headers_are_on_every_answer(lab: Lab) -> None:
    async with lab.client() as ada, lab.client(None) as nobody, lab.client("wrong") as wrong:
        answers = [
            await ada.get("/jobs"),
            await ada.get("/nowhere"),
            await ada.put("/fpga"),
            await ada.post("/fpga/0/run", json={"op": 1}),
            await ada.post("/fpga/0/run", json={"op": 1, "address": 0, "data": [0] * 200_000}),
            await nobody.get("/health"),
            await nobody.get("/jobs"),
            await nobody.get("/openapi.json"),
            await wrong.get("/jobs"),
        ]
        lab.ledger.is_down = True
        answers.append(await ada.get("/jobs"))
    assert [a.status_code for a in answers] == [200, 404, 405, 422, 413, 200, 401, 200, 401, 503]
    for answer in answers:
        assert set(answer.headers) >= HEADERS, answer.request.url
        assert int(answer.headers["X-RateLimit-Remaining"]) <= int(answer.headers["X-RateLimit-Limit"])
        assert int(answer.headers["X-RateLimit-Reset"]) > lab.clock.at.timestamp()


async def test_more_than_the_limit_is_refused_until_the_window_ends() -> None:
    lab = Lab(limit_jobs_per_hour=3)
    async with lab.client() as ada, lab.client(BOB) as bob:
        for left in (2, 1, 0):
            answer = await ada.post("/api/v1/jobs", files=FILE)
            assert (answer.status_code, answer.headers["X-RateLimit-Remaining"]) == (202, str(left))
        refused = await ada.post("/api/v1/jobs", files=FILE)
        assert error_of(refused)[:2] == (429, "rate_limited")
        assert refused.json()["error"]["details"] == {"limit": 3, "window_s": 3600}
        wait_s = int(refused.headers["Retry-After"])
        assert 0 < wait_s <= 3600
        assert (await bob.post("/api/v1/jobs", files=FILE)).status_code == 202
        assert (await ada.get("/api/v1/jobs")).status_code == 200
        lab.clock.at += timedelta(seconds=wait_s)
        assert (await ada.post("/api/v1/jobs", files=FILE)).status_code == 202
    assert len(lab.commands.sent) == 5


async def test_a_project_has_its_own_limit_by_whatever_key_of_its_owner() -> None:
    lab = Lab(limit_jobs_per_hour=2)
    lab.ledger.add_key("ada's other", "ada")
    async with lab.client() as ada, lab.client("ada's other") as other, lab.client(BOB) as bob:
        job = {"stages": ["lint"]}
        for _ in range(5):  # a stranger's tries are his own
            await bob.post("/api/v1/projects/p1/jobs", json=job)
        for client in (ada, other):
            assert (await client.post("/api/v1/projects/p1/jobs", json=job)).status_code == 404
        assert error_of(await ada.post("/api/v1/projects/p1/jobs", json=job))[:2] == (429, "RATE_LIMITED")
        assert (await ada.post("/api/v1/projects/p2/jobs", json=job)).status_code == 404


async def test_results_are_limited_by_key(lab: Lab) -> None:
    lab.ledger.add(job(1))
    async with lab.client() as ada:
        answer = await ada.get(f"/api/v1/jobs/{UUID(int=1)}/result")
        assert (answer.status_code, answer.headers["X-RateLimit-Limit"]) == (200, "300")


async def test_nobodys_requests_are_counted_by_address(lab: Lab) -> None:
    lab = Lab(limit_requests_per_minute=2)
    async with lab.client("wrong") as wrong, lab.client() as ada, lab.client(None) as nobody:
        assert (await wrong.get("/jobs")).status_code == 401
        assert (await wrong.get("/jobs")).status_code == 401
        assert error_of(await nobody.get("/jobs"))[:2] == (429, "rate_limited")
        assert (await ada.get("/jobs")).status_code == 200
        for _ in range(5):
            assert (await nobody.get("/health")).status_code == 200


def slow_boards(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Semaphore]:
    """Hold every look at the boards up until the event is set; the semaphore counts those that began."""
    gate, inside = asyncio.Event(), asyncio.Semaphore(0)
    boards = lab.ledger.boards

    async def slow() -> object:
        inside.release()
        await gate.wait()
        return await boards()

    monkeypatch.setattr(lab.ledger, "boards", slow)
    return gate, inside


async def test_overload_is_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(requests_in_flight_max=2)
    gate, inside = slow_boards(lab, monkeypatch)
    async with lab.client() as ada:
        waiting = [asyncio.create_task(ada.get("/fpga")) for _ in range(2)]
        for _ in waiting:
            await asyncio.wait_for(inside.acquire(), 5)
        refused = await ada.get("/fpga")
        assert error_of(refused)[:2] == (503, "overloaded")
        assert refused.headers["Retry-After"] == "1"
        gate.set()
        assert [(await w).status_code for w in waiting] == [200, 200]
        assert (await ada.get("/fpga")).status_code == 200


async def test_nobody_has_all_requests_at_once_to_himself(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(requests_in_flight_max=5)
    gate, inside = slow_boards(lab, monkeypatch)
    async with lab.client() as ada, lab.client(BOB) as bob:
        waiting = [asyncio.create_task(ada.get("/fpga")) for _ in range(4)]
        for _ in waiting:
            await asyncio.wait_for(inside.acquire(), 5)
        assert error_of(await ada.get("/jobs"))[:2] == (503, "overloaded")
        assert (await bob.get("/jobs")).status_code == 200
        gate.set()
        assert [(await w).status_code for w in waiting] == [200] * 4
        assert (await ada.get("/jobs")).status_code == 200


async def test_what_is_large_is_not_in_memory_for_everybody_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAVY_OF_ONE_MAX", 2)
    gate, inside = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(job_id: UUID) -> None:
        inside.release()
        await gate.wait()

    monkeypatch.setattr(lab.verification, "verification", slow)
    path = f"/api/v1/jobs/job_{UUID(int=1).hex}"
    async with lab.client() as ada, lab.client(BOB) as bob:
        waiting = [asyncio.create_task(ada.get(f"{path}/{what}")) for what in ("artifacts/trace.fst", "results/lint")]
        for _ in waiting:
            await asyncio.wait_for(inside.acquire(), 5)
        for what in ("results/lint", f"compare/job_{UUID(int=2).hex}"):
            refused = await ada.get(f"{path}/{what}")
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        waiting += [asyncio.create_task(ada.get(path)), asyncio.create_task(bob.get(f"{path}/results/lint"))]
        for _ in range(2):
            await asyncio.wait_for(inside.acquire(), 5)
        gate.set()
        assert [(await w).status_code for w in waiting] == [404] * 4
        assert (await ada.get(f"{path}/results/lint")).status_code == 404


async def test_logs_count_as_large_if_they_are(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAVY_OF_ONE_MAX", 0)
    lab.ledger.add(job(1), job(2))
    lab.ledger.logs |= {UUID(int=1): "x" * (limits.LARGE_BYTES + 1), UUID(int=2): "x" * limits.LARGE_BYTES}
    async with lab.client() as ada:
        for path in ("/jobs/{}/logs", "/api/v1/jobs/{}/log", "/api/v1/jobs/{}/artifacts/build.log"):
            refused = await ada.get(path.format(UUID(int=1)))
            assert error_of(refused)[:2] == (503, "overloaded")
            assert set(refused.headers) >= HEADERS
            assert (await ada.get(path.format(UUID(int=2)))).status_code == 200
        monkeypatch.setattr(limits, "HEAVY_OF_ONE_MAX", 1)
        for _ in range(3):
            assert len((await ada.get(f"/jobs/{UUID(int=1)}/logs")).content) == limits.LARGE_BYTES + 1


@pytest.mark.parametrize("kind", ["multipart/form-data", "Multipart/Form-Data"])
async def test_large_uploads_are_few_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(limits, "HEAVY_OF_ONE_MAX", 1)
    gate = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"--x\r\n"
        await gate.wait()
        yield b"--x--\r\n"

    form = {"Content-Type": f"{kind}; boundary=x"}
    async with lab.client() as ada:
        first = asyncio.create_task(ada.post("/submit", content=endless(), headers=form))
        await asyncio.sleep(0.05)
        large = {"file": ("design.v", bytes(limits.HEAVY_BODY_BYTES + 1))}
        assert error_of(await ada.post("/submit", files=large))[:2] == (503, "overloaded")
        assert (await ada.post("/submit", files=FILE)).status_code == 202
        gate.set()
        assert (await first).status_code == 400


async def test_a_body_that_does_not_come_ends(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "BODY_PATIENCE_S", 0.05)

    async def body(last: bytes) -> AsyncIterator[bytes]:
        yield b"{"
        if not last:
            await asyncio.Event().wait()
        yield last

    async with lab.client() as ada, lab.client(None) as nobody, asyncio.timeout(5):
        for client in (ada, nobody):
            answer = await client.post("/fpga/0/run", content=body(b""), headers={"Content-Type": "application/json"})
            assert error_of(answer)[:2] == (400, "malformed_body")
            assert answer.headers["Connection"] == "close"
        monkeypatch.setattr(edge, "BODY_PATIENCE_S", 5.0)
        answer = await ada.post("/fpga/0/run", content=body(b"}"), headers={"Content-Type": "application/json"})
        assert error_of(answer)[:2] == (422, "validation_error")


async def test_processes_together_never_pass_a_limit() -> None:
    shared, clock = FakeShared(), FakeClock()
    processes = [Limiter(shared, clock) for _ in range(4)]
    rule = Rule("jobs", 100, 60)
    grants = [await processes[n % 4].take(rule, "ada") for n in range(200)]
    granted = sum(g.allowed for g in grants)
    assert 100 - 4 * 5 <= granted <= 100
    assert shared.takes < 60


async def test_many_requests_cost_few_round_trips() -> None:
    shared = FakeShared()
    limiter = Limiter(shared, FakeClock())
    for _ in range(3000):
        assert (await limiter.take(Rule("requests", 60_000, 60), "ada")).allowed
    assert shared.takes == 1


async def test_without_the_database_a_process_counts_alone() -> None:
    shared, clock = FakeShared(is_down=True), FakeClock()
    limiter = Limiter(shared, clock)
    rule = Rule("jobs", 10, 60)
    assert sum([(await limiter.take(rule, "ada")).allowed for _ in range(20)]) == 10
    shared.is_down = False
    clock.at += timedelta(seconds=60)
    assert (await limiter.take(rule, "ada")).remaining == 9
    assert shared.takes == 1


async def test_asking_at_once_takes_one_chunk_at_a_time() -> None:
    shared = FakeShared()
    limiter = Limiter(shared, FakeClock())
    rule = Rule("jobs", 20, 60)
    grants = await asyncio.gather(*(limiter.take(rule, "ada") for _ in range(50)))
    assert sum(g.allowed for g in grants) == 20


async def test_the_key_is_looked_up_once_a_request(lab: Lab, ada: httpx.AsyncClient) -> None:
    await ada.get("/jobs")
    assert lab.ledger.key_looks == 1
    assert ADA not in str(lab.shared.taken)
