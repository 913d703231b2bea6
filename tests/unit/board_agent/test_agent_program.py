"""Loading boards: fencing, repetition, failures, supersession."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from agent_rig import ALICE, BOB, rig

from lutlab_board_agent.app import program_board
from lutlab_board_agent.app.program_board import BLOB_TRIES_MAX, Done, Later
from lutlab_board_agent.domain.errors import LoaderFailed
from lutlab_board_agent.domain.fencing import BoardMemory
from lutlab_board_agent.fake import fake_bitstream
from lutlab_bus.fake import FakeBridge
from lutlab_events.busmsg import BusStatus, BusVerb
from lutlab_events.commands import ReportBoardLost, ReportProgramFailed, ReportProgrammed


async def test_loads_checks_remembers_and_reports() -> None:
    async with rig() as r:
        assert await r.program(r.work(1)) == Done()
        assert r.commands.sent == [ReportProgrammed(fpga_id=0, epoch=1)]
        assert r.board.loads == [0xABC]
        saved = r.memories.saved["bench-0"]
        assert (saved.epoch, saved.loaded, saved.build_id, saved.session_id) == (1, True, 0xABC, ALICE)


async def test_older_epochs_are_dropped_without_a_word() -> None:
    async with rig() as r:
        await r.program(r.work(5))
        assert await r.program(r.work(4, build_id=0xDEF)) == Done()
        assert r.board.loads == [0xABC]
        assert r.commands.sent == [ReportProgrammed(fpga_id=0, epoch=5)]
        assert await r.read(0, epoch=5) == 0


async def test_repeated_work_is_reported_again_but_not_loaded_again() -> None:
    async with rig() as r:
        work = r.work(1)
        await r.program(work)
        await r.write(3, 77)
        assert await r.program(work, tries=2) == Done()
        assert r.board.loads == [0xABC]
        assert r.commands.of(ReportProgrammed) == [ReportProgrammed(fpga_id=0, epoch=1)] * 2
        assert r.commands.ids[0] == r.commands.ids[-1]
        assert await r.read(3) == 77


async def test_repeated_work_is_loaded_again_if_the_design_is_gone() -> None:
    async with rig() as r:
        work = r.work(1)
        await r.program(work)
        r.board.bridge = FakeBridge(build_id=0x666)
        assert await r.program(work, tries=2) == Done()
        assert r.board.loads == [0xABC, 0xABC]
        assert await r.read(0) == 0


async def test_repeated_work_after_a_restart_of_the_agent() -> None:
    async with rig() as r:
        work = r.work(1)
        await r.program(work)
        await r.write(3, 77)
        await r.again()
        assert r.seat.running_build_id == 0xABC
        assert await r.read(3) == 77
        await r.program(work, tries=2)
        assert r.board.loads == [0xABC]
        assert r.commands.of(ReportProgrammed) == [ReportProgrammed(fpga_id=0, epoch=1)]


async def test_the_epoch_is_durable_before_anything_is_loaded() -> None:
    async with rig() as r:
        r.host.hold.clear()
        task = asyncio.ensure_future(r.program(r.work(7)))
        await r.loading()
        assert r.memories.saved["bench-0"].epoch == 7
        assert not r.memories.saved["bench-0"].loaded
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not r.host.loading
        await r.again()
        assert await r.program(r.work(6)) == Done()
        assert r.board.loads == []


async def test_a_newer_epoch_supersedes_a_load_under_way() -> None:
    async with rig() as r:
        r.host.hold.clear()
        first = asyncio.ensure_future(r.program(r.work(1)))
        await r.loading()
        second = asyncio.ensure_future(r.program(r.work(2, build_id=0xDEF, session=BOB)))
        assert await first == Done()
        r.host.hold.set()
        assert await second == Done()
        assert r.board.loads == [0xDEF]
        assert r.commands.sent == [ReportProgrammed(fpga_id=0, epoch=2)]


async def test_a_newer_epoch_supersedes_repeated_work_that_waits_for_a_hello(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_board, "HELLO_TIMEOUT_S", 0.05)
    async with rig() as r:
        work = r.work(1)
        await r.program(work)
        r.board.mute = True
        repeated = asyncio.ensure_future(r.program(work, tries=2))
        await asyncio.sleep(0)
        newer = asyncio.ensure_future(r.program(r.work(2, build_id=0xDEF, session=BOB)))
        assert await repeated == Done()
        assert r.seat.memory.epoch == 2
        r.board.mute = False
        assert await newer == Done()
        assert r.board.loads == [0xABC, 0xDEF]
        assert r.commands.sent == [ReportProgrammed(fpga_id=0, epoch=1), ReportProgrammed(fpga_id=0, epoch=2)]


async def test_another_delivery_loads_nothing_before_the_epoch_is_durable() -> None:
    async with rig() as r:
        disk = asyncio.Event()
        save = r.memories.save

        async def slow(board_key: str, memory: BoardMemory) -> None:
            await disk.wait()
            await save(board_key, memory)

        r.memories.save = slow  # type: ignore[method-assign]
        deliveries = [asyncio.ensure_future(r.program(r.work(3), tries=tries)) for tries in (1, 2)]
        for _ in range(50):
            await asyncio.sleep(0)
        assert r.board.loads == []
        disk.set()
        assert await asyncio.gather(*deliveries) == [Done(), Done()]
        assert r.board.loads == [0xABC]


async def test_boards_are_loaded_at_the_same_time() -> None:
    async with rig(boards=2) as r:
        r.host.hold.clear()
        tasks = [asyncio.ensure_future(r.program(r.work(1, board=i))) for i in range(2)]
        await r.loading(2)
        r.host.hold.set()
        assert await asyncio.gather(*tasks) == [Done(), Done()]


async def test_the_old_session_is_cut_before_the_load() -> None:
    async with rig() as r:
        await r.program(r.work(1))
        r.board.mute = True
        waiting = [r.ask(BusVerb.EXCHANGE, b"\x02\x00\x00\x01" + bytes(7) + b"\x01") for _ in range(3)]
        await asyncio.sleep(0.01)
        line = r.board.line
        assert line is not None
        r.board.mute = False
        r.host.hold.clear()
        load = asyncio.ensure_future(r.program(r.work(2, build_id=0xDEF, session=BOB)))
        replies = await asyncio.gather(*waiting)
        assert {reply.status for reply in replies} == {BusStatus.STALE_LEASE}
        assert line.closed
        sent = len(line.sent)
        assert (await r.write(0, 1)).status is BusStatus.STALE_LEASE
        assert (await r.write(0, 1, epoch=2, session=BOB)).status is BusStatus.STALE_LEASE
        r.host.hold.set()
        await load
        assert (await r.write(0, 1)).status is BusStatus.STALE_LEASE
        assert (await r.write(0, 1, epoch=2, session=BOB)).status is BusStatus.OK
        assert len(line.sent) == sent


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"garbage", "bitstream_invalid"),
        (fake_bitstream(0xABC, device="other"), "wrong_device"),
        (fake_bitstream(0xABC, silent=True), "design_silent"),
        (fake_bitstream(0x123), "wrong_build"),
    ],
)
async def test_failures_have_codes(monkeypatch: pytest.MonkeyPatch, data: bytes, code: str) -> None:
    monkeypatch.setattr(program_board, "HELLO_TIMEOUT_S", 0.2)
    async with rig() as r:
        assert await r.program(r.work(1, data=data)) == Done()
        (report,) = r.commands.of(ReportProgramFailed)
        assert (report.fpga_id, report.epoch, report.code) == (0, 1, code)
        assert (await r.write(0, 1)).status is BusStatus.STALE_LEASE
        # The board heals with the next load.
        assert await r.program(r.work(2)) == Done()
        assert (await r.write(0, 1, epoch=2)).status is BusStatus.OK


async def test_a_bitstream_for_another_profile_is_not_even_tried() -> None:
    async with rig() as r:
        work = r.work(1)
        bitstream = msgspec.structs.replace(work.bitstream, profile="lfe5um5g-85f")
        work = msgspec.structs.replace(work, bitstream=bitstream)
        await r.program(work)
        (report,) = r.commands.of(ReportProgramFailed)
        assert report.code == "wrong_device" and "lfe5um5g-85f" in report.message
        assert r.board.loads == []


async def test_the_loaders_own_words_are_passed_on() -> None:
    async with rig() as r:
        r.host.failure = LoaderFailed("program_failed", "the device refused: CRC ERR")
        await r.program(r.work(1))
        assert r.commands.sent == [
            ReportProgramFailed(fpga_id=0, epoch=1, code="program_failed", message="the device refused: CRC ERR")
        ]


async def test_a_missing_bitstream_is_waited_for_then_given_up() -> None:
    async with rig() as r:
        work = r.work(1)
        data = r.bitstreams.blobs.pop(work.bitstream.digest)
        assert isinstance(await r.program(work, tries=1), Later)
        assert r.commands.sent == []
        r.bitstreams.put(data)
        assert await r.program(work, tries=2) == Done()
        assert r.commands.sent == [ReportProgrammed(fpga_id=0, epoch=1)]
        lost = r.work(2, build_id=5)
        r.bitstreams.blobs.clear()
        assert await r.program(lost, tries=BLOB_TRIES_MAX) == Done()
        (report,) = r.commands.of(ReportProgramFailed)
        assert report.code == "blob_missing" and lost.bitstream.digest in report.message


async def test_a_deadline_that_passed() -> None:
    async with rig() as r:
        work = r.work(1)
        r.time.seconds += 61
        await r.program(work)
        (report,) = r.commands.of(ReportProgramFailed)
        assert report.code == "deadline_passed"
        assert r.board.loads == []


async def test_a_board_this_agent_does_not_have() -> None:
    async with rig() as r:
        await r.program(r.work(1, board=7))
        (report,) = r.commands.of(ReportProgramFailed)
        assert report.code == "unknown_board" and "bench-0" in report.message


async def test_unplugged_before_and_while_loading() -> None:
    async with rig() as r:
        r.host.hold.clear()
        task = asyncio.ensure_future(r.program(r.work(1)))
        await r.loading()
        r.board.unplug()
        r.host.hold.set()
        await task
        (lost,) = r.commands.sent
        assert isinstance(lost, ReportBoardLost) and lost.fpga_id == 0 and "unplugged" in lost.message
        await r.program(r.work(2))
        assert [type(body) for body in r.commands.sent] == [ReportBoardLost] * 2


async def test_a_crash_of_the_agents_own_code_is_reported() -> None:
    async with rig() as r:

        async def broken(digest: str) -> bytes | None:
            raise RuntimeError("a defect")

        r.bitstreams.get = broken  # type: ignore[method-assign]
        await r.program(r.work(1))
        (report,) = r.commands.of(ReportProgramFailed)
        assert report.code == "agent_failed" and "a defect" in report.message
