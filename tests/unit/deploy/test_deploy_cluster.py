"""The shipped cluster of three NATS servers: everything is on all of them, and one of them may die."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import nats.errors
import nats.js.errors
from deploy_support import Running, cluster_text, hub_text, load_accounts, started

from lutlab_events import subjects
from lutlab_events.commands import ReportProgrammed
from lutlab_stack.ports import free_port
from lutlab_transport.clock import RandomIds, SystemClock
from lutlab_transport.commands import CommandClient
from lutlab_transport.streams import ensure_streams

accounts = load_accounts()
T = TypeVar("T")
SERVERS = 3
ANSWER_S = 2.0
ELECTION_S = 30.0
"""Usually 1 to 3 s; the machine may be busy."""


def start_cluster(stack: ExitStack, folder: Path) -> list[Running]:
    accounts.write(accounts.parse_labs("[labs.main]"), folder / "site")
    routes = [free_port() for _ in range(SERVERS)]
    servers = []
    for index in range(SERVERS):
        home = folder / f"nats-{index}"
        home.mkdir()
        shutil.copytree(folder / "site", home / "site", ignore=shutil.ignore_patterns("seeds"))
        (home / "hub.conf").write_text(hub_text(home))
        text = cluster_text(routes, index)
        servers.append(stack.enter_context(started(home, home.name, text, folder / "site" / "seeds")))
    return servers


async def in_time(attempt: Callable[[], Awaitable[T]]) -> T:
    """What JetStream answers once it has the leaders for it."""
    async with asyncio.timeout(ELECTION_S):
        while True:
            try:
                return await attempt()
            except (nats.js.errors.ServiceUnavailableError, nats.errors.Error):
                await asyncio.sleep(0.2)


async def test_a_server_may_die(tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = start_cluster(stack, tmp_path)
        everywhere = dataclasses.replace(servers[0], url=",".join(server.url for server in servers))
        async with everywhere.client("scheduler") as client:
            js = client.jetstream(timeout=ANSWER_S)
            await in_time(lambda: ensure_streams(js, replicas=SERVERS))
            for name in [spec.name for spec in subjects.STREAMS] + [f"OBJ_{subjects.BLOB_BUCKET}"]:
                info = await in_time(partial(js.stream_info, name))
                assert info.config.num_replicas == SERVERS, name
            commands = CommandClient(client, site="main", actor="test", clock=SystemClock(), ids=RandomIds())
            await commands.send(ReportProgrammed(fpga_id=1, epoch=1))

            info = await in_time(partial(js.stream_info, subjects.COMMANDS.name))
            assert info.cluster is not None
            leader = info.cluster.leader
            victim = next(server for index, server in enumerate(servers) if f"nats-{index}" == leader)
            os.kill(victim.pid, signal.SIGKILL)

            async with asyncio.timeout(ELECTION_S):
                await commands.send(ReportProgrammed(fpga_id=1, epoch=2))
            info = await in_time(partial(js.stream_info, subjects.COMMANDS.name))
            assert info.cluster is not None
            assert info.cluster.leader not in (None, leader)
            # A publish whose acknowledgement died with the leader is sent again: at least, not exactly, two.
            assert info.state.messages >= 2
