"""`make chaos KILLS=n`: a whole lab on real processes, killed piece by piece under load, and then looked at closely.

Starts `lutlab up` and a standby scheduler beside it. Clients send commands over HTTP and over NATS, each until it is
answered; meanwhile one process after another gets a `kill -9`: API, the active and the standby scheduler (with relay
and dispatch in it), builder, board agent, NATS, Postgres, virtual boards. At the end nothing acknowledged may be
missing, nothing doubled, no board held twice, no job stuck, and the views must be what the log says.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import nats.errors

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.codec import decode_event_body
from lutlab_events.envelope import Answer
from lutlab_transport.clock import RandomIds, SystemClock
from lutlab_transport.commands import CommandClient, CommandUnanswered
from lutlab_transport.connection import connect

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
UP_TIMEOUT_S = 300.0
SETTLE_TIMEOUT_S = 120.0
DESIGN = ROOT / "examples/echo_memory/design.py"
DECIDED = {200, 201, 202, 204, 400, 404, 409, 422}
"""HTTP answers that are for good; everything else is asked again."""
OPEN = {"queued", "running"}
BETWEEN = {"programming", "resetting", "restoring", "queued", "building", "reserved"}


class Stack:
    """`lutlab up`, and a second scheduler that stands by."""

    def __init__(self, boards: int) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="lutlab-chaos-"))
        self.base.chmod(0o711)
        self.ready_file = self.base / "ready.json"
        command = ["up", "--port", "0", "--boards", str(boards), "--session-ttl", "20"]
        command += ["--data-dir", str(self.base / "data"), "--ready-file", str(self.ready_file)]
        self._output = (self.base / "up.log").open("ab")
        self.up = subprocess.Popen([BIN / "lutlab", *command], stdout=self._output, stderr=subprocess.STDOUT)
        self.standby: subprocess.Popen[bytes] | None = None

    async def ready(self) -> dict[str, Any]:
        """Wait until it serves."""
        async with asyncio.timeout(UP_TIMEOUT_S):
            while not self.ready_file.exists():
                assert self.up.poll() is None, (self.base / "up.log").read_text()[-3000:]
                await asyncio.sleep(0.2)
        return self.info()

    def info(self) -> dict[str, Any]:
        """How to reach it now."""
        found: dict[str, Any] = json.loads(self.ready_file.read_text())
        return found

    def start_standby(self) -> None:
        """Start the second scheduler (again)."""
        info = self.info()
        where = {"LUTLAB_DATABASE_URL": info["database_url"], "LUTLAB_NATS_URL": info["nats_url"]}
        with (self.base / "standby.log").open("ab") as output:
            self.standby = subprocess.Popen(
                [BIN / "lutlab-scheduler"], env={**os.environ, **where, "LUTLAB_SESSION_TTL_S": "20"}, stderr=output
            )

    def stop(self) -> None:
        """End everything."""
        if self.standby is not None:
            self.standby.kill()
            self.standby.wait()
        self.up.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.up.wait(60)
        if self.up.poll() is None:
            self.up.kill()
        self._output.close()


class Load:
    """Clients, and what they were told."""

    def __init__(self, stack: Stack, rng: random.Random) -> None:
        self._stack = stack
        self._rng = rng
        self.over = False
        self.http: dict[str, tuple[int, Any]] = {}
        self.direct: dict[UUID, Answer] = {}
        self.problems: list[str] = []
        self.jobs: list[str] = []
        self.keys: list[str] = []

    @property
    def acknowledged(self) -> int:
        """Commands that were answered for good."""
        return len(self.http) + len(self.direct)

    # -- over NATS, as the API does it ------------------------------------------------------------

    async def bulk(self, clients: int) -> None:
        """Keys by the thousand: small commands with one event each, every tenth asked twice."""
        info = self._stack.info()
        nc = await connect(info["nats_url"], name="chaos")
        sender = CommandClient(nc, site="main", actor="chaos", clock=SystemClock(), ids=RandomIds())
        await sender.start()
        try:
            await asyncio.gather(*(self._bulk_client(sender, number) for number in range(clients)))
        finally:
            await nc.close()

    async def _bulk_client(self, sender: CommandClient, number: int) -> None:
        while not self.over:
            ident = uuid4()
            body = c.IssueKey(key_id=ident, key_sha256=ident.hex * 2, owner=f"bulk{number}")
            answer = await self._until_answered(sender, body, ident)
            self.direct[ident] = answer
            if self._rng.random() < 0.1 and await self._until_answered(sender, body, ident) != answer:
                self.problems.append(f"command {ident} was answered in two ways")

    async def _until_answered(self, sender: CommandClient, body: c.Command, ident: UUID) -> Answer:
        while True:
            try:
                return await sender.request(body, timeout_s=10.0, command_id=ident)
            except (CommandUnanswered, nats.errors.Error):
                await asyncio.sleep(0.2)

    # -- over HTTP --------------------------------------------------------------------------------

    async def users(self, count: int) -> None:
        """People with designs."""
        info = self._stack.info()
        headers = {"X-API-Key": info["api_key"]}
        async with httpx.AsyncClient(base_url=info["api_url"], headers=headers, timeout=20) as client:
            await asyncio.gather(*(self._user(client) for _ in range(count)))

    async def _user(self, client: httpx.AsyncClient) -> None:
        while not self.over:
            what = self._rng.random()
            if what < 0.3:
                await self._session(client)
            elif what < 0.5 and self.jobs:
                await self._ask(client, "DELETE", f"/jobs/{self._rng.choice(self.jobs)}")
            elif what < 0.7:
                await self._ask(client, "POST", f"/fpga/{self._rng.randint(0, 3)}/reset")
            else:
                code, said = await self._ask(client, "POST", "/auth/keys", json={"owner": "ada"})
                if code in {200, 201}:
                    self.keys.append(said.get("key_id", ""))

    async def _session(self, client: httpx.AsyncClient) -> None:
        files = {"file": ("design.py", DESIGN.read_bytes())}
        code, said = await self._ask(client, "POST", "/submit", files=files)
        if code != 202:
            return
        job_id = str(said["job_id"])
        self.jobs.append(job_id)
        for _ in range(60):
            job = await self._get(client, f"/jobs/{job_id}")
            if job.get("status") not in OPEN or self.over:
                break
            await asyncio.sleep(0.5)
        else:
            return
        if job.get("status") == "complete" and job.get("fpga_id") is not None:
            board = f"/fpga/{job['fpga_id']}"
            for _ in range(self._rng.randint(1, 4)):
                await self._ask(client, "POST", f"{board}/run", json={"op": 1, "address": 16, "data": [1]}, once=True)
            if self._rng.random() < 0.8:
                await self._ask(client, "POST", f"{board}/session/release")

    async def _get(self, client: httpx.AsyncClient, path: str) -> dict[str, Any]:
        with contextlib.suppress(httpx.HTTPError, ValueError):
            found: dict[str, Any] = (await client.get(path)).json()
            return found
        return {"status": "queued"}

    async def _ask(
        self, client: httpx.AsyncClient, method: str, path: str, *, once: bool = False, **more: Any
    ) -> tuple[int, Any]:
        key = uuid4().hex
        while True:
            with contextlib.suppress(httpx.HTTPError, ValueError):
                answer = await client.request(method, path, headers={"Idempotency-Key": key}, **more)
                if answer.status_code in DECIDED:
                    said = answer.json() if answer.content else {}
                    if said.get("code") != "request_in_progress":
                        self.http[key] = (answer.status_code, said)
                        return self.http[key]
            if once:
                return 0, {}
            await asyncio.sleep(0.3)


class Killer:
    """One `kill -9` after another, each after the one before has healed."""

    def __init__(self, stack: Stack, rng: random.Random, gap_s: float) -> None:
        self._stack = stack
        self._rng = rng
        self._gap_s = gap_s
        self.killed: Counter[str] = Counter()

    async def run(self, kills: int, enough: float) -> None:
        """Kill until there were `kills`, or the clock says `enough`."""
        while self.killed.total() < kills and time.monotonic() < enough:
            await asyncio.sleep(self._gap_s * (0.5 + self._rng.random()))
            self._kill()

    def _kill(self) -> None:
        if self._stack.standby is None or self._stack.standby.poll() is not None:
            self._stack.start_standby()
        with contextlib.suppress(OSError, ValueError):
            pids: dict[str, int] = self._stack.info()["pids"]
            name = self._rng.choice(sorted({*pids, "standby"}))
            pid = self._stack.standby.pid if name == "standby" and self._stack.standby else pids.get(name)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                self.killed[name.rstrip("0123456789-")] += 1


async def settled(db: asyncpg.Pool) -> list[str]:
    """Wait until nothing is under way; what still is, if nothing has changed for `SETTLE_TIMEOUT_S`.

    Built jobs that wait for a board are served one after another: each session lasts until it expires.
    """
    left: list[str] = []
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(asyncpg.PostgresError, OSError):
            jobs = await db.fetch("select job_id, status from jobs where status = any($1::text[])", list(OPEN))
            boards = await db.fetch("select fpga_id, state from boards where state = any($1::text[])", list(BETWEEN))
            now = [f"stuck: job {r[0]} is {r[1]}" for r in jobs] + [f"stuck: fpga {r[0]} is {r[1]}" for r in boards]
            if not now:
                return []
            if len(jobs) < sum(text.startswith("stuck: job") for text in left):
                deadline = time.monotonic() + SETTLE_TIMEOUT_S
            left = now
        await asyncio.sleep(1.0)
    return left


async def check(db: asyncpg.Pool, load: Load, database_url: str) -> list[str]:
    """Everything that is wrong."""
    problems = [*load.problems, *await settled(db)]
    known = {row[0]: row[1] for row in await db.fetch("select command_id, code from commands")}
    problems += [f"lost: command {i} ({a.code})" for i, a in load.direct.items() if known.get(i) != a.code]
    keys = {row[0] for row in await db.fetch("select key_id from api_keys")}
    problems += [f"lost: key {i}" for i, a in load.direct.items() if a.accepted and i not in keys]
    problems += [f"lost: key {i} of an HTTP answer" for i in load.keys if i and UUID(i) not in keys]
    jobs = {str(row[0]) for row in await db.fetch("select job_id from jobs")}
    problems += [f"lost: job {i}" for i in load.jobs if i not in jobs]
    problems += await _log(db)
    for command in (["audit", "verify"], ["replay", "--verify"]):
        problems += _tool(command, database_url)
    return problems


async def _log(db: asyncpg.Pool) -> list[str]:
    """Positions and versions without gaps, every event once, one session per board, epochs that grow."""
    problems: list[str] = []
    count, last = await db.fetchrow("select count(*), coalesce(max(position), 0) from events")
    if count != last:
        problems.append(f"the log has {count} events and ends at {last}")
    gaps = await db.fetch("select stream from events group by stream having count(*) <> max(version)")
    problems += [f"{row[0]} has a gap" for row in gaps]
    orphans = await db.fetchval(
        "select count(*) from events e where not exists (select from commands c where c.command_id = e.causation_id)"
    )
    if orphans:
        problems.append(f"{orphans} events were caused by no recorded command")
    holder: dict[str, UUID | None] = {}
    epochs: dict[str, int] = {}
    rows = await db.fetch("select stream, type, data from events where stream like 'board-%' order by position")
    for stream, kind, data in rows:
        body = decode_event_body(kind, data)
        if isinstance(body, e.ProgrammingStarted | e.ResetStarted | e.RestoreStarted):
            if body.epoch <= epochs.get(stream, 0):
                problems.append(f"stale: {stream} goes from epoch {epochs[stream]} to {body.epoch}")
            epochs[stream] = body.epoch
        elif isinstance(body, e.BoardProgrammed):
            if holder.get(stream) or body.epoch != epochs.get(stream):
                problems.append(f"stale: {stream} is given under epoch {body.epoch} while {holder.get(stream)} has it")
            holder[stream] = body.session_id
        elif isinstance(body, e.SessionEnded):
            holder[stream] = None
    return problems


def _tool(command: list[str], database_url: str) -> list[str]:
    """The lab's own verifiers, where this version has them."""
    done = subprocess.run([BIN / "lutlab", *command, "--help"], capture_output=True, text=True, check=False)
    if done.returncode:
        return []
    environment = {**os.environ, "LUTLAB_DATABASE_URL": database_url}
    done = subprocess.run(
        [BIN / "lutlab", *command, "--database-url", database_url],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    print(f"lutlab {' '.join(command)}: {(done.stdout + done.stderr).strip()[-300:]}")
    return [] if done.returncode == 0 else [f"lutlab {' '.join(command)} ended with {done.returncode}"]


async def main_async(args: argparse.Namespace) -> int:
    """The whole run; 0 if nothing is wrong."""
    rng = random.Random(args.seed)
    stack = Stack(args.boards)
    try:
        info = await stack.ready()
        stack.start_standby()
        load, killer = Load(stack, rng), Killer(stack, rng, args.gap)
        began = time.monotonic()
        clients = [asyncio.create_task(load.bulk(args.clients)), asyncio.create_task(load.users(args.users))]
        killing = asyncio.create_task(killer.run(args.kills, began + args.seconds_max))
        while not killing.done() or (load.acknowledged < args.commands and time.monotonic() < began + args.seconds_max):
            await asyncio.wait([killing], timeout=10.0)
            print(
                f"{time.monotonic() - began:6.0f} s: {killer.killed.total()} kills, {load.acknowledged} commands",
                flush=True,
            )
            await asyncio.sleep(0 if not killing.done() else 5)
            for task in (*clients, killing):
                if task.done():
                    task.result()
        load.over = True
        await asyncio.wait(clients, timeout=120)
        problems = [f"stuck: {sum(not t.done() for t in clients)} groups of clients"] * any(
            not t.done() for t in clients
        )
        async with asyncpg.create_pool(info["database_url"], min_size=1, max_size=2) as db:
            problems += await check(db, load, info["database_url"])
            events = await db.fetchval("select count(*) from events")
        took = time.monotonic() - began
        kills = ", ".join(f"{n} {name}" for name, n in sorted(killer.killed.items()))
        print(f"{killer.killed.total()} kills ({kills}) in {took:.0f} s, seed {args.seed}")
        print(f"{load.acknowledged} acknowledged commands, {len(load.http)} of them over HTTP")
        print(f"{events} events, {len(load.jobs)} jobs")
        counts = Counter(problem.partition(":")[0] for problem in problems)
        print(
            ", ".join(f"{counts[kind]} {kind}" for kind in ("lost", "doubled", "stale", "stuck"))
            + f", {len(problems)} problems in all"
        )
        print("\n".join(problems[:40]))
        return 1 if problems else 0
    finally:
        stack.stop()
        if args.keep:
            print(f"everything is kept in {stack.base}")
        else:
            shutil.rmtree(stack.base, ignore_errors=True)


def main() -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="(%(default)s)")
    parser.add_argument("--commands", type=int, default=0, help="go on until so many are acknowledged (%(default)s)")
    parser.add_argument("--gap", type=float, default=3.0, help="seconds between kills, on average (%(default)s)")
    parser.add_argument("--seconds-max", type=float, default=7200.0, help="end after this long anyway (%(default)s)")
    parser.add_argument("--clients", type=int, default=64, help="over NATS (%(default)s)")
    parser.add_argument("--users", type=int, default=8, help="over HTTP (%(default)s)")
    parser.add_argument("--boards", type=int, default=2, help="virtual ones (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is killed when (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep data and logs")
    return asyncio.run(main_async(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
