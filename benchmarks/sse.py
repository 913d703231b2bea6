"""1,000 followers of the log over server-sent events: each must see every event once, in order.

Starts its own Postgres, NATS, scheduler and API (embedded), makes events by issuing keys, and prints what it measured.
`python benchmarks/sse.py [followers] [events]`; exit code 1 if a follower missed, repeated or reordered anything.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil

from lutlab_ledger.migrate import migrate
from lutlab_stack.nats import prepare_nats
from lutlab_stack.postgres import prepare_postgres, remove_postgres
from lutlab_stack.running import running

KEY = "the-key-of-the-bench"
BIN = Path(sys.executable).parent
CONNECTING_MAX = 50


async def follow(port: int, events: int, gate: asyncio.Semaphore, ready: asyncio.Queue[int]) -> tuple[list[int], float]:
    """The positions one follower saw, and when it saw the last."""
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nX-API-Key: {KEY}\r\n\r\n"
        writer.write(head.encode())
        status = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in status.split(b"\r\n")[0] + b" ", status
    ready.put_nowait(1)
    seen: list[int] = []
    buffer = b""
    while len(seen) < events:
        data = await reader.read(1 << 16)
        assert data, "the server ended the stream"
        buffer += data
        *lines, buffer = buffer.split(b"\n")
        seen += [int(line[4:]) for line in lines if line.startswith(b"id: ")]
    last = time.perf_counter()
    writer.close()
    return seen, last


async def drive(port: int, followers: int, events: int) -> bool:
    """Connect everybody, make events, compare."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": KEY}, timeout=30) as api:
        while True:
            try:
                if (await api.get("/health")).json()["status"] == "ok" and (await api.get("/jobs")).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
        known = len((await api.get("/api/v1/events?limit=1000")).json()["events"])
        gate, ready = asyncio.Semaphore(CONNECTING_MAX), asyncio.Queue[int]()
        started = time.perf_counter()
        tasks = [asyncio.create_task(follow(port, known + events, gate, ready)) for _ in range(followers)]
        for _ in range(followers):
            await ready.get()
        connected = time.perf_counter()
        for number in range(events):
            answer = await api.post("/auth/keys", json={"owner": f"owner-{number}"})
            assert answer.status_code == 201, answer.text
        made = time.perf_counter()
        results = await asyncio.wait_for(asyncio.gather(*tasks), 120)
    expected = list(range(1, known + events + 1))
    wrong = sum(seen[: len(expected)] != expected for seen, _ in results)
    lag = max(last for _, last in results) - made
    print(
        f"{followers} followers connected in {connected - started:.2f} s; {events} events made in "
        f"{made - connected:.2f} s ({followers * events / (made - connected):.0f} deliveries/s); the last follower had "
        f"the last event {lag * 1000:.0f} ms after it was made; {wrong} followers saw anything missing, "
        "twice or out of order"
    )
    return wrong == 0


def main() -> None:
    """Start everything, drive it, stop it."""
    followers, events = (int(n) for n in (*sys.argv[1:3], 1000, 200)[:2]) if len(sys.argv) > 2 else (1000, 200)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * followers + 1000)), hard))
    folder = Path(tempfile.mkdtemp(prefix="lutlab-bench-"))
    folder.chmod(0o711)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(remove_postgres, folder / "postgres")
        cluster = prepare_postgres(folder / "postgres", settings={"fsync": "off"})
        stack.enter_context(running(cluster, folder / "postgres.log"))
        server = prepare_nats(folder / "nats")
        stack.enter_context(running(server, folder / "nats.log"))
        asyncio.run(migrate(cluster.url()))
        env = {
            **os.environ,
            "LUTLAB_DATABASE_URL": cluster.url(),
            "LUTLAB_NATS_URL": server.url,
            "LUTLAB_NATS_MONITOR_URL": server.monitor_url,
            "LUTLAB_BOOTSTRAP_KEY": KEY,
            "LUTLAB_API_PORT": str(port),
            "LUTLAB_LOG_LEVEL": "WARNING",
        }
        for name in ("lutlab-scheduler", "lutlab-api"):
            process = subprocess.Popen([BIN / name], env=env)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        good = asyncio.run(drive(port, followers, events))
        times = psutil.Process(process.pid).cpu_times()
        spent_us = (times.user + times.system) * 1e6 / (followers * events)
        print(f"the API took {spent_us:.0f} us of processor time a delivery, its start and the connecting included")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
