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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
from chaos_checks import check
from chaos_load import Load, Told

BIN = Path(sys.executable).parent
UP_TIMEOUT_S = 300.0
SESSION_TTL_S = 8
UNLIMITED = {"LUTLAB_LIMIT_SUBMITS_PER_HOUR": "1000000"}


class Stack:
    """`lutlab up`, and a second scheduler that stands by."""

    def __init__(self, boards: int) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="lutlab-chaos-"))
        self.base.chmod(0o711)
        self.ready_file = self.base / "ready.json"
        command = ["up", "--port", "0", "--boards", str(boards), "--session-ttl", str(SESSION_TTL_S)]
        command += ["--data-dir", str(self.base / "data"), "--ready-file", str(self.ready_file)]
        self._output = (self.base / "up.log").open("ab")
        self.up = subprocess.Popen(
            [BIN / "lutlab", *command],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **UNLIMITED},
        )
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
        # `lutlab up` has checked the server.
        where |= {"LUTLAB_SESSION_TTL_S": str(SESSION_TTL_S), "LUTLAB_ALLOW_UNSAFE_SYNC": "true"}
        with (self.base / "standby.log").open("ab") as output:
            self.standby = subprocess.Popen(
                [BIN / "lutlab-scheduler"],
                env={**os.environ, **where, "LUTLAB_SESSION_TTL_S": str(SESSION_TTL_S)},
                stderr=output,
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


class Killer:
    """One `kill -9` after another, each after the one before has healed."""

    def __init__(self, stack: Stack, rng: random.Random, gap_s: float) -> None:
        self._stack = stack
        self._rng = rng
        self._gap_s = gap_s
        self.killed: Counter[str] = Counter()

    async def run(self, kills: int, enough: float, commands: Callable[[], float]) -> None:
        """Kill until there were `kills`, or the clock says `enough`.

        Args:
            commands: how much of the wanted load is done, from 0 to 1; the kills are spread over it.
        """
        while self.killed.total() < kills and time.monotonic() < enough:
            await asyncio.sleep(self._gap_s * (0.5 + self._rng.random()))
            if commands() * kills >= self.killed.total():
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


def _report(told: Told, killer: Killer, problems: list[str], took: float, seed: int) -> None:
    kills = ", ".join(f"{n} {name}" for name, n in sorted(killer.killed.items()))
    print(f"{killer.killed.total()} kills ({kills}) in {took:.0f} s, seed {seed}")
    print(f"{told.acknowledged} acknowledged commands: {len(told.http)} over HTTP, {len(told.direct)} over NATS")
    print("  " + ", ".join(f"{n} {kind}" for kind, n in sorted(told.kinds.items())))
    print(f"{len(told.jobs)} jobs, {len(told.runs)} runs on boards, {told.counted} writes counted there")
    counts = Counter(problem.partition(":")[0] for problem in problems)
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in ("lost", "doubled", "stale", "stuck"))
    print(f"{kinds}, {len(problems)} problems in all")
    print("\n".join(problems[:40]))


async def main_async(args: argparse.Namespace) -> int:
    """The whole run; 0 if nothing is wrong."""
    rng = random.Random(args.seed)
    stack = Stack(args.boards)
    try:
        info = await stack.ready()
        stack.start_standby()
        told = Told()
        load, killer = Load(stack.info, rng, told), Killer(stack, rng, args.gap)
        await load.build_once()
        began = time.monotonic()
        clients = [
            asyncio.create_task(load.bulk(args.clients)),
            asyncio.create_task(load.people(args.users, args.admins)),
        ]
        killing = asyncio.create_task(
            killer.run(
                args.kills, began + args.seconds_max, lambda: told.acknowledged / args.commands if args.commands else 1
            )
        )
        while not killing.done() or (told.acknowledged < args.commands and time.monotonic() < began + args.seconds_max):
            await asyncio.wait([killing], timeout=10.0)
            print(
                f"{time.monotonic() - began:6.0f} s: {killer.killed.total()} kills, {told.acknowledged} commands",
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
        print(
            f"{time.monotonic() - began:6.0f} s: the load is over; waiting until everything has come to rest",
            flush=True,
        )
        async with asyncpg.create_pool(info["database_url"], min_size=1, max_size=2) as db:
            problems += await check(db, told, info["database_url"])
            events = await db.fetchval("select count(*) from events")
            recorded = await db.fetchval("select count(*) from commands")
        _report(told, killer, problems, time.monotonic() - began, args.seed)
        print(f"{events} events of {recorded} recorded commands, those of agents, builders and timers among them")
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
    parser.add_argument("--admins", type=int, default=4, help="over HTTP (%(default)s)")
    parser.add_argument("--boards", type=int, default=2, help="virtual ones (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is killed when (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep data and logs")
    return asyncio.run(main_async(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
