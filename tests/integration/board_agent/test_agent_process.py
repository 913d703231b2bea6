"""The agent's process against real NATS, the real loader and a board that executes real bitstreams."""

from __future__ import annotations

import asyncio
import statistics
import struct
import time
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from agent_bench import Built, Scheduler, VirtualBoard, bench, work

from lutlab.bridge import connect_bridge
from lutlab.errors import StreamFailed
from lutlab.models import BridgeWay
from lutlab_bus import Read, Write, stream
from lutlab_events import codec, ids, subjects
from lutlab_events.busmsg import BusStatus, BusVerb, Lease
from lutlab_events.commands import RegisterAgent, ReportProgramFailed, ReportProgrammed, ReportSessionUsed
from lutlab_events.values import BoardReport
from lutlab_stack.ports import free_port


def words(reply_frame: bytes) -> list[int]:
    found = stream.decode_reply(reply_frame)
    assert found is not None
    return list(found)


async def test_from_registration_to_words(tmp_path: Path, nats_url: str, built: Built, board: VirtualBoard) -> None:
    async with bench(tmp_path, nats_url, built, {"b0": board}) as b:
        register = await b.scheduler.next(RegisterAgent)
        assert register.agent_id == "bench"
        assert register.boards == (BoardReport(board_key="b0", profile="lfe5u-25f", labels=("bench",)),)
        beat = await b.scheduler.until(lambda: b.scheduler.heartbeats and b.scheduler.heartbeats[0], "heartbeat")
        assert (beat.agent_id, beat.incarnation) == ("bench", register.incarnation)
        session = uuid4()
        lease = await b.load(1, session)
        assert lease is not None
        assert b.scheduler.last.actor == "agent:bench"
        assert (await b.scheduler.exchange(lease, Write(500, [0xDEADBEEF, 7]))).frame == b"\0\0\0\0"
        assert words((await b.scheduler.exchange(lease, Read(500, 2))).frame) == [0xDEADBEEF, 7]
        beyond = await b.scheduler.exchange(lease, Read(511, 2))
        assert (beyond.status, beyond.frame) == (BusStatus.OK, stream.ERROR_REPLY)
        used = await b.scheduler.next(ReportSessionUsed)
        assert (used.session_id, used.epoch, used.fpga_id) == (session, 1, 0)
        await b.scheduler.want_registration()
        again = await b.scheduler.next(RegisterAgent)
        assert again.incarnation == register.incarnation
        assert (again.boards[0].running_build_id, again.boards[0].epoch) == (built.build_id, 1)
        _report_speed(await _latencies_us(b.scheduler, lease, 300), await _pipelined(b.scheduler, lease, 1000))
        assert b.agent.stop() == 0


async def test_raw_tcp_until_the_release(tmp_path: Path, nats_url: str, built: Built, board: VirtualBoard) -> None:
    """The shipped agent's bridge, with the SDK's end: words while the session lasts, and not one byte after it."""
    board.bridge_port = free_port()
    async with bench(tmp_path, nats_url, built, {"b0": board}) as b:
        await b.scheduler.next(RegisterAgent)
        lease = await b.load(1, uuid4())
        assert lease is not None
        told = await b.scheduler.ask(BusVerb.BRIDGE, lease)
        way = msgspec.json.decode(told.frame, type=BridgeWay)
        assert way.port == board.bridge_port
        with await asyncio.to_thread(connect_bridge, way) as sock:
            sock.settimeout(10)
            for n in range(64):
                sock.sendall(stream.encode_request(Write(400 + n, [n])) + stream.encode_request(Read(400 + n)))
            expected = b"".join(bytes(4) + struct.pack(">II", 1, n) for n in range(64))
            answer = b""
            while len(answer) < len(expected):
                answer += await asyncio.to_thread(sock.recv, 4096)
            assert answer == expected
            assert (await b.scheduler.exchange(lease, Read(1))).status is BusStatus.BUSY
            await b.load(2, None)  # the base design, as after a release
            sock.sendall(stream.encode_request(Read(0)))
            try:
                rest = await asyncio.to_thread(sock.recv, 100)
            except ConnectionResetError:
                rest = b""
            assert rest == b""
        with pytest.raises(StreamFailed, match="refused"):
            await asyncio.to_thread(connect_bridge, way)


async def _latencies_us(scheduler: Scheduler, lease: Lease, count: int) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        reply = await scheduler.exchange(lease, Read(500))
        taken.append((time.perf_counter() - began) * 1e6)
        assert words(reply.frame) == [0xDEADBEEF]
    return taken


async def _pipelined(scheduler: Scheduler, lease: Lease, count: int) -> float:
    """Words a second with 64 requests under way."""
    room = asyncio.Semaphore(64)

    async def one() -> None:
        async with room:
            assert words((await scheduler.exchange(lease, Read(500))).frame) == [0xDEADBEEF]

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return count / (time.perf_counter() - began)


def _report_speed(taken: list[float], rate: float) -> None:
    taken.sort()
    print(
        f"one word, NATS request to board and back: median {statistics.median(taken):.0f} us, "
        f"95 % {taken[int(len(taken) * 0.95)]:.0f} us, worst {taken[-1]:.0f} us; 64 under way: {rate:.0f} words/s"
    )


async def test_stale_and_repeated_work(
    tmp_path: Path, nats_url: str, built: Built, lasting_board: VirtualBoard
) -> None:
    async with bench(tmp_path, nats_url, built, {"b0": lasting_board}) as b:
        lease = await b.load(5, uuid4())
        assert lease is not None
        first_id = b.scheduler.last.command_id
        await b.scheduler.exchange(lease, Write(9, [99]))
        ref = built.ref(b.digest)
        await b.scheduler.publish(work(ref, 4, uuid4()))
        await b.scheduler.publish(work(ref, 5, lease.session_id))
        assert await b.scheduler.next(ReportProgrammed) == ReportProgrammed(fpga_id=0, epoch=5)
        assert b.scheduler.last.command_id == first_id
        assert words((await b.scheduler.exchange(lease, Read(9))).frame) == [99]
        log = b.agent.log.read_text()
        assert "stale_work_dropped" in log and "finished_work_reported_again" in log
        info = await b.scheduler.js.consumer_info("WORK", subjects.agent_durable(b.scheduler.site, "bench"))
        assert (info.num_ack_pending, info.num_pending) == (0, 0)
        assert not [e for e in b.scheduler.commands if isinstance(e.body, ReportProgrammed | ReportProgramFailed)]


async def test_bad_bitstreams_say_why_and_the_board_heals(
    tmp_path: Path, nats_url: str, built: Built, lasting_board: VirtualBoard
) -> None:
    async with bench(tmp_path, nats_url, built, {"b0": lasting_board}) as b:
        middle = len(built.data) // 2
        damaged = (
            built.data[:middle] + bytes(x ^ 0x55 for x in built.data[middle : middle + 8]) + built.data[middle + 8 :]
        )
        cases = [
            (damaged, None, "program_failed", "checksum"),
            (b"no bitstream at all", None, "bitstream_invalid", "openFPGALoader said"),
            (built.data, 0x12345678, "wrong_build", "expected 12345678"),
        ]
        for epoch, (data, build_id, code, part) in enumerate(cases, start=1):
            ref = built.ref(await b.scheduler.put(data), build_id=build_id)
            await b.scheduler.publish(work(ref, epoch, uuid4()))
            failed = await b.scheduler.next(ReportProgramFailed)
            assert (failed.fpga_id, failed.epoch, failed.code) == (0, epoch, code)
            assert part in failed.message
        missing = built.ref("0" * 64)
        await b.scheduler.publish(work(missing, 4, uuid4()))
        lease = await b.load(5, uuid4())
        assert lease is not None
        assert (await b.scheduler.exchange(lease, Write(0, [1]))).status is BusStatus.OK
        assert list((tmp_path / "agent" / "data" / "loading").iterdir()) == []


async def test_the_bitstream_may_come_late(
    tmp_path: Path, nats_url: str, built: Built, lasting_board: VirtualBoard
) -> None:
    async with bench(tmp_path, nats_url, built, {"b0": lasting_board}) as b:
        late = built.data + b"\xff" * 64  # the same design under another digest
        await b.scheduler.publish(work(built.ref(ids.digest(late)), 1, uuid4()))
        async with asyncio.timeout(20):
            while "bitstream_missing" not in b.agent.log.read_text():  # noqa: ASYNC110 - another process's log
                await asyncio.sleep(0.05)
        await b.scheduler.put(late)
        assert await b.scheduler.next(ReportProgrammed) == ReportProgrammed(fpga_id=0, epoch=1)


async def test_one_stream_at_a_time(tmp_path: Path, nats_url: str, built: Built, lasting_board: VirtualBoard) -> None:
    async with bench(tmp_path, nats_url, built, {"b0": lasting_board}) as b:
        lease = await b.load(1, uuid4())
        assert lease is not None
        ask = b.scheduler.ask
        assert (await ask(BusVerb.OPEN, lease, stream_id="one")).status is BusStatus.OK
        busy = await ask(BusVerb.OPEN, lease, stream_id="two")
        assert busy.status is BusStatus.BUSY and busy.message
        assert (await ask(BusVerb.EXCHANGE, lease, Write(0, [5]), stream_id="one")).status is BusStatus.OK
        assert (await ask(BusVerb.EXCHANGE, lease, Write(0, [6]), stream_id="two")).status is BusStatus.BUSY
        await ask(BusVerb.CLOSE, lease, stream_id="one")
        assert (await ask(BusVerb.OPEN, lease, stream_id="two")).status is BusStatus.OK
        assert words((await ask(BusVerb.EXCHANGE, lease, Read(0), stream_id="two")).frame) == [5]


async def test_a_new_lease_cuts_the_old_traffic(
    tmp_path: Path, nats_url: str, built: Built, lasting_board: VirtualBoard
) -> None:
    async with bench(tmp_path, nats_url, built, {"b0": lasting_board}) as b:
        old = await b.load(1, uuid4())
        assert old is not None
        seen: list[BusStatus] = []
        stop = asyncio.Event()

        async def flood(address: int) -> None:
            while not stop.is_set():
                seen.append((await b.scheduler.exchange(old, Write(address, [0xBAD]))).status)

        floods = [asyncio.create_task(flood(address)) for address in range(16)]
        async with asyncio.timeout(20):
            while BusStatus.OK not in seen:  # noqa: ASYNC110 - the old session's traffic flows
                await asyncio.sleep(0.01)
        new = await b.load(2, uuid4())
        assert new is not None
        assert words((await b.scheduler.exchange(new, Read(0, 16))).frame) == [0] * 16
        stop.set()
        await asyncio.gather(*floods)
        assert set(seen) == {BusStatus.OK, BusStatus.STALE_LEASE}
        assert seen[-1] is BusStatus.STALE_LEASE
        first_cut = seen.index(BusStatus.STALE_LEASE)
        assert BusStatus.OK not in seen[first_cut + len(floods) :]


async def test_kill_and_restart_of_the_agent(
    tmp_path: Path, nats_url: str, built: Built, lasting_board: VirtualBoard
) -> None:
    async with bench(tmp_path, nats_url, built, {"b0": lasting_board}) as b:
        first = await b.scheduler.next(RegisterAgent)
        lease = await b.load(3, uuid4())
        assert lease is not None
        await b.scheduler.exchange(lease, Write(100, [1234]))
        b.agent.kill()
        await b.scheduler.nobody_answers(lease)
        b.agent.start()
        second = await b.scheduler.next(RegisterAgent)
        assert second.incarnation != first.incarnation
        assert (second.boards[0].running_build_id, second.boards[0].epoch) == (built.build_id, 3)
        assert words((await b.scheduler.exchange(lease, Read(100))).frame) == [1234]
        await b.scheduler.publish(work(built.ref(b.digest), 2, uuid4()))
        assert await b.load(4, None) is None
        assert (await b.scheduler.exchange(lease, Read(100))).status is BusStatus.STALE_LEASE


async def test_work_nobody_understands_is_kept_for_a_person(
    tmp_path: Path, nats_url: str, built: Built, lasting_board: VirtualBoard
) -> None:
    async with bench(tmp_path, nats_url, built, {"b0": lasting_board}) as b:
        dead = await b.scheduler.js.subscribe(subjects.dead(b.scheduler.site, "WORK"), stream="DEAD")
        await b.scheduler.js.publish(subjects.agent_work(b.scheduler.site, "bench"), b'{"type":"Dance"}')
        assert (await dead.next_msg(20)).data == b'{"type":"Dance"}'
        lost = work(built.ref("0" * 64), 1, None, key="b7", fpga_id=7)
        await b.scheduler.js.publish(subjects.agent_work(b.scheduler.site, "bench"), codec.encode(lost))
        assert (await b.scheduler.next(ReportProgramFailed)).code == "unknown_board"
