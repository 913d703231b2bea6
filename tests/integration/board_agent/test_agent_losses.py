"""Boards that vanish, NATS that restarts or is wiped, and agents asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from agent_bench import AgentProcess, Built, Scheduler, VirtualBoard, bench, work

from lutlab_bus import Read, Write, stream
from lutlab_events.busmsg import BusStatus
from lutlab_events.commands import RegisterAgent, ReportBoardFound, ReportBoardLost, ReportProgrammed
from lutlab_stack import spawn
from lutlab_stack.nats import NatsServer, prepare_nats
from lutlab_stack.running import wait_ready
from lutlab_transport.connection import connect
from lutlab_transport.streams import ensure_streams


async def test_unplugged_while_it_runs_and_back_without_its_design(
    tmp_path: Path, nats_url: str, built: Built, board: VirtualBoard
) -> None:
    async with bench(tmp_path, nats_url, built, {"b0": board}) as b:
        lease = await b.load(1, uuid4())
        assert lease is not None
        board.send(signal.SIGSTOP)
        waiting = asyncio.create_task(b.scheduler.exchange(lease, Read(0)))
        await asyncio.sleep(0.1)
        board.kill()
        failed = await waiting
        assert failed.status is BusStatus.LINK_FAILED and failed.message
        lost = await b.scheduler.next(ReportBoardLost)
        assert (lost.fpga_id, lost.agent_id) == (0, "bench")
        assert (await b.scheduler.exchange(lease, Read(0))).status is BusStatus.LINK_FAILED
        board.start()
        found = await b.scheduler.next(ReportBoardFound)
        assert (found.fpga_id, found.report.running_build_id, found.report.epoch) == (0, None, 1)
        assert (await b.scheduler.exchange(lease, Read(0))).status is BusStatus.STALE_LEASE
        restored = await b.load(2, lease.session_id)
        assert restored is not None
        assert (await b.scheduler.exchange(restored, Write(0, [1]))).status is BusStatus.OK


async def test_unplugged_while_it_is_programmed(
    tmp_path: Path, nats_url: str, built: Built, board: VirtualBoard
) -> None:
    async with bench(tmp_path, nats_url, built, {"b0": board}) as b:
        await b.scheduler.next(RegisterAgent)
        board.send(signal.SIGSTOP)
        b.digest = await b.scheduler.put(built.data)
        await b.scheduler.publish(work(built.ref(b.digest), 1, uuid4()))
        async with asyncio.timeout(20):
            while not loaders(tmp_path):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        board.kill()
        lost = await b.scheduler.next(ReportBoardLost)
        assert lost.fpga_id == 0 and "unplugged" in lost.message
        board.start()
        found = await b.scheduler.next(ReportBoardFound)
        assert found.report.running_build_id is None
        assert await b.load(2, None) is None


async def test_a_missing_board_is_not_registered_and_a_hanging_one_blocks_no_other(
    tmp_path: Path, nats_url: str, built: Built, board: VirtualBoard, lasting_board: VirtualBoard
) -> None:
    board.kill()
    async with bench(tmp_path, nats_url, built, {"b0": board, "b1": lasting_board}) as b:
        assert [r.board_key for r in (await b.scheduler.next(RegisterAgent)).boards] == ["b1"]
        board.start()
        assert [r.board_key for r in (await b.scheduler.next(RegisterAgent)).boards] == ["b0", "b1"]
        board.send(signal.SIGSTOP)
        b.digest = await b.scheduler.put(built.data)
        await b.scheduler.publish(work(built.ref(b.digest), 1, uuid4(), key="b0"))
        assert await b.load(1, uuid4(), key="b1") is not None
        board.send(signal.SIGCONT)
        assert await b.scheduler.next(ReportProgrammed) == ReportProgrammed(fpga_id=0, epoch=1)


@asynccontextmanager
async def restartable_nats(folder: Path) -> AsyncIterator[tuple[NatsServer, list[subprocess.Popen[bytes]]]]:
    """A server of this test alone; the list holds its process."""
    server = prepare_nats(folder)
    processes = [_start(server, folder)]
    try:
        yield server, processes
    finally:
        spawn.stop(processes[0], server.spec())


def _start(server: NatsServer, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        process = spawn.spawn(server.spec(), log)
    wait_ready(server, process, folder / "log", 20)
    return process


async def test_nats_restarts_and_is_wiped(tmp_path: Path, built: Built, lasting_board: VirtualBoard) -> None:
    folder = tmp_path / "nats"
    async with (
        restartable_nats(folder) as (server, processes),
        bench(tmp_path, server.url, built, {"b0": lasting_board}) as b,
    ):
        lease = await b.load(1, uuid4())
        assert lease is not None
        await b.scheduler.exchange(lease, Write(5, [55]))
        for wipe in (False, True):
            spawn.stop(processes[0], server.spec())
            if wipe:
                shutil.rmtree(folder / "data")
            b.scheduler.heartbeats.clear()
            processes[0] = _start(server, folder)
            await b.scheduler.until(lambda: bool(b.scheduler.heartbeats), "heartbeat after the restart")
            reply = await b.scheduler.exchange(lease, Read(5))
            assert stream.decode_reply(reply.frame)[0] == 55  # type: ignore[index]
            if wipe:
                assert "WORK" in await ensure_streams(b.scheduler.js)
                await b.scheduler.listen()
                b.digest = ""
            lease = await b.load(lease.epoch + 1, uuid4())
            assert lease is not None
            await b.scheduler.exchange(lease, Write(5, [55]))


async def test_an_agent_may_start_before_nats_and_before_the_streams(
    tmp_path: Path, built: Built, lasting_board: VirtualBoard
) -> None:
    folder = tmp_path / "nats"
    server = prepare_nats(folder)
    agent = AgentProcess(tmp_path / "agent", server.url, "early", {"b0": lasting_board})
    try:
        async with asyncio.timeout(20):
            while "nats_error_seen" not in agent.log.read_text():  # noqa: ASYNC110 - another process's log
                await asyncio.sleep(0.05)
        async with restartable_nats(folder):
            async with asyncio.timeout(20):
                while "command_publish_retried" not in agent.log.read_text():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            nc = await connect(server.url, name="scripted scheduler")
            scheduler = Scheduler(nc, "early")
            await scheduler.start()
            register = await scheduler.next(RegisterAgent)
            assert [report.board_key for report in register.boards] == ["b0"]
            digest = await scheduler.put(built.data)
            await scheduler.publish(work(built.ref(digest), 1, None))
            assert await scheduler.next(ReportProgrammed) == ReportProgrammed(fpga_id=0, epoch=1)
            await nc.close()
            assert agent.stop() == 0
    finally:
        agent.stop()


async def test_stopping_in_the_middle_of_a_load_leaves_the_work_for_the_next_start(
    tmp_path: Path, nats_url: str, built: Built, board: VirtualBoard
) -> None:
    async with bench(tmp_path, nats_url, built, {"b0": board}) as b:
        await b.scheduler.next(RegisterAgent)
        board.send(signal.SIGSTOP)
        b.digest = await b.scheduler.put(built.data)
        await b.scheduler.publish(work(built.ref(b.digest), 1, uuid4()))
        async with asyncio.timeout(20):
            while not loaders(tmp_path):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        assert await asyncio.to_thread(b.agent.stop) == 0
        assert list((tmp_path / "agent" / "data" / "loading").iterdir()) == []
        board.send(signal.SIGCONT)
        b.agent.start()
        assert await b.scheduler.next(ReportProgrammed) == ReportProgrammed(fpga_id=0, epoch=1)


async def test_a_killed_agent_takes_its_loader_along(
    tmp_path: Path, nats_url: str, built: Built, board: VirtualBoard
) -> None:
    async with bench(tmp_path, nats_url, built, {"b0": board}) as b:
        await b.scheduler.next(RegisterAgent)
        board.send(signal.SIGSTOP)
        b.digest = await b.scheduler.put(built.data)
        await b.scheduler.publish(work(built.ref(b.digest), 1, uuid4()))
        async with asyncio.timeout(20):
            while not loaders(tmp_path):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        b.agent.kill()
        async with asyncio.timeout(5):
            while loaders(tmp_path):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        board.send(signal.SIGCONT)
        b.agent.start()
        assert await b.load(2, None) is None


def loaders(folder: Path) -> list[Path]:
    """Processes whose command line names a file in this folder's scratch folder, as a loader's does."""
    wanted = str(folder / "agent" / "data" / "loading").encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (process / "cmdline").read_bytes():
                found.append(process)
    return found
