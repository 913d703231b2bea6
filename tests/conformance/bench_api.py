"""`make bench-api`: 64 clients mixing status polls, submits and runs against the shipped services.

Everything shares this machine, the clients too. First each client asks again as soon as it is answered, which shows
how many requests there can be; then all together ask `PACE_RPS` times a second, which shows how long an answer takes
when the processors are not all taken. There a request counts from when it was due, so that a slow answer does not hide
that the next one was late.

`LUTLAB_BENCH_S` and `LUTLAB_BENCH_APIS` say how long and with how many API processes; `LUTLAB_BENCH_RPS_MIN` makes
fewer requests a second a failure.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import uvloop

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "integration" / "api")]

from api_whole import Hands, Whole, hands, whole  # noqa: E402 - found by the line above

CLIENTS = 64
BOARDS = 8
"""So many clients have a board and run transactions on it."""
SECONDS = float(os.environ.get("LUTLAB_BENCH_S", "10"))
APIS = int(os.environ.get("LUTLAB_BENCH_APIS", "1"))
PACE_RPS = 1600.0
RPS_MIN = float(os.environ.get("LUTLAB_BENCH_RPS_MIN", "0"))
SUBMIT_SHARE, RUN_SHARE = 0.02, 0.10
SETTINGS = {
    "LUTLAB_LIMIT_SUBMITS_PER_HOUR": "1000000",
    "LUTLAB_LIMIT_REQUESTS_PER_MINUTE": "10000000",
    "LUTLAB_QUEUE_JOBS_MAX": "100000",
    "LUTLAB_LOG_LEVEL": "WARNING",
}
BOUNDARY = "lutlab-bench"


class Client:
    """A keep-alive HTTP/1.1 connection, as cheap as can be: it shares the machine with what it measures."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1:{port}\r\nX-API-Key: {key}\r\n"

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> tuple[int, bytes]:
        entity = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n" if body else ""
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{entity}\r\n".encode() + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        lower = head.lower()
        start = lower.find(b"content-length:")
        size = int(lower[start + 15 : lower.find(b"\r\n", start)]) if start >= 0 else 0
        return status, await self._reader.readexactly(size) if size else b""

    def close(self) -> None:
        self._writer.close()


def design(number: int) -> bytes:
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="design.v"\r\n\r\n// {number}\r\n'
    return f"{part}--{BOUNDARY}--\r\n".encode()


class Load:
    """What the clients do, and how long each request took."""

    def __init__(self, seed: int, rps: float | None) -> None:
        """`rps` is what all clients together ask a second; None for as much as they can."""
        self.random = random.Random(seed)
        self.every_s = CLIENTS / rps if rps else 0.0
        self.taken: defaultdict[str, list[float]] = defaultdict(list)
        self.wrong: list[tuple[str, int, bytes]] = []
        self.until = 0.0
        self.count = 0

    async def client(self, client: Client, job_id: str, board: int | None) -> None:
        due = time.perf_counter() + self.random.random() * self.every_s
        while due < self.until:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            started = due if self.every_s else time.perf_counter()
            due = due + self.every_s if self.every_s else time.perf_counter()
            chance = self.random.random()
            if chance < SUBMIT_SHARE:
                self.count += 1
                kind = f"multipart/form-data; boundary={BOUNDARY}"
                await self._timed(started, "submit", client, "POST", "/submit", design(self.count), kind)
            elif chance < SUBMIT_SHARE + RUN_SHARE * CLIENTS / BOARDS and board is not None:
                body = b'{"op": 1, "address": 0, "data": [1, 2, 3, 4]}'
                await self._timed(started, "run", client, "POST", f"/fpga/{board}/run", body)
            elif chance < 0.75:
                await self._timed(started, "poll job", client, "GET", f"/jobs/{job_id}")
            else:
                await self._timed(started, "poll board", client, "GET", f"/fpga/{self.random.randrange(BOARDS)}")

    async def _timed(self, started: float, what: str, client: Client, *request: Any) -> None:
        status, body = await client.ask(*request)
        self.taken[what].append(time.perf_counter() - started)
        if status not in (200, 202):
            self.wrong.append((what, status, body))


async def _prepare(lab: Whole, helper: Hands) -> list[tuple[str, str, int | None]]:
    """A key, a job and perhaps a board for every client."""
    helper.build_gate.set()
    found = []
    async with lab.client() as root:
        for number in range(CLIENTS):
            answer = await root.post("/auth/keys", json={"owner": f"client-{number}"})
            found.append(answer.json()["api_key"])
    ready: list[tuple[str, str, int | None]] = []
    for number, key in enumerate(found):
        async with httpx.AsyncClient(base_url=lab.url(), headers={"X-API-Key": key}, timeout=30) as api:
            job_id = (await api.post("/submit", files={"file": ("design.v", f"// {number}".encode())})).json()["job_id"]
            job = {"fpga_id": None}
            if number < BOARDS:
                job = (await api.get(f"/api/v1/jobs/{job_id}", headers={"Prefer": "wait=20"})).json()
                assert job["fpga_id"] is not None, job
            ready.append((key, job_id, job["fpga_id"]))
    helper.build_gate.clear()
    return ready


@dataclass(frozen=True)
class Measured:
    """One load, and the processor time that it took by program."""

    load: Load
    spent_s: Counter[str]


async def _measure(lab: Whole) -> list[Measured]:
    """The same clients as fast as they can, then at a pace."""
    measured = []
    async with hands(lab.nats_url, boards=BOARDS) as helper:
        ready = await _prepare(lab, helper)
        clients = [Client(lab.ports[n % APIS], key) for n, (key, _, _) in enumerate(ready)]
        await asyncio.gather(*(client.open() for client in clients))
        for rps in (None, PACE_RPS):
            load, before_s = Load(seed=1, rps=rps), _cpu_s()
            load.until = time.perf_counter() + SECONDS
            await asyncio.gather(
                *(load.client(client, job, board) for client, (_, job, board) in zip(clients, ready, strict=True))
            )
            measured.append(Measured(load, _cpu_s() - before_s))
        for client in clients:
            client.close()
        helper.build_gate.set()
    return measured


def _cpu_s() -> Counter[str]:
    """Processor time by program, of this process and everything it started."""
    spent: Counter[str] = Counter()
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            name = "clients" if process == own else process.name()
            spent[name] += times.user + times.system
    return spent


@pytest.mark.timeout(600)
def test_load(postgres_url: str, nats_url: str, tmp_path: Path) -> None:
    with whole(postgres_url, nats_url, tmp_path, apis=APIS, **SETTINGS) as lab:
        measured = uvloop.run(_measure(lab))
    for each in measured:
        show(each)
        assert each.load.wrong == [], json.dumps([str(wrong) for wrong in each.load.wrong[:5]])
    assert sum(map(len, measured[0].load.taken.values())) / SECONDS >= RPS_MIN


def show(measured: Measured) -> None:
    """Print a load's figures."""
    taken, spent_s = measured.load.taken, measured.spent_s
    everything = [t for times in taken.values() for t in times]
    pace = f"asked for {PACE_RPS:.0f}" if measured.load.every_s else "as many as there can be"
    print(
        f"\n{len(everything) / SECONDS:.0f} requests/s ({pace}) with {APIS} API processes, {CLIENTS} clients;", end=" "
    )
    print(f"machine load {os.getloadavg()[0]:.1f}")
    print("  ms of processor time a request:", end="")
    for name, cpu_s in [*spent_s.most_common(), ("all", spent_s.total())]:
        print(f" {name} {cpu_s * 1000 / len(everything):.2f}", end="")
    print()
    for what, times in [*sorted(taken.items()), ("all", everything)]:
        ordered = sorted(times)
        p50, p99 = (1000 * ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
        print(f"  {what:10} {len(ordered):7} requests  p50 {p50:6.1f} ms  p99 {p99:6.1f} ms")
