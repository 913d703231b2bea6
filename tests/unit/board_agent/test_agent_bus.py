"""Live traffic: leases, the stream lock, batches, faults, and reports of use."""

from __future__ import annotations

import asyncio

import pytest
from agent_rig import ALICE, BOB, Rig, rig

from lutlab_board_agent.app import bus_lane, repeats
from lutlab_board_agent.app.bus_lane import BATCH_WORDS_MAX, QUEUE_EXCHANGES_MAX, QUEUED_S_MAX
from lutlab_bus import Read, Write, stream
from lutlab_bus.fake import BusErrorAt, BusSilentAt
from lutlab_events.busmsg import STREAM_LOCK_S, BusReply, BusStatus, BusVerb
from lutlab_events.commands import ReportSessionUsed

OPEN, KEEP, CLOSE, EXCHANGE = BusVerb.OPEN, BusVerb.KEEP, BusVerb.CLOSE, BusVerb.EXCHANGE


async def ready(r: Rig) -> None:
    await r.program(r.work(1))
    r.commands.sent.clear()


async def reported(r: Rig, count: int) -> list[object]:
    """What the agent told the scheduler, once it is this much; it tells beside its answers."""
    async with asyncio.timeout(5):
        while len(r.commands.sent) < count:
            r.commands.arrived.clear()
            await r.commands.arrived.wait()
    return list(r.commands.sent)


async def test_words_there_and_back() -> None:
    async with rig() as r:
        await ready(r)
        assert (await r.write(4, 1, 2, 3)).frame == b"\0\0\0\0"
        reply = await r.exchange(Read(4, 3))
        assert reply.frame.hex() == "00000003" + "00000001" + "00000002" + "00000003"


@pytest.mark.parametrize(
    "frame",
    [b"", b"\x03\0\0\1\0\0\0\0\0\0\0\1", b"\x02\0\0\1\0\0\0\2\0\0\0\1", b"\x02\0\0\1\0\0\0\0\0\0\2\1", bytes(3000)],
)
async def test_malformed_frames_get_an_error_frame_and_reach_no_board(frame: bytes) -> None:
    async with rig() as r:
        await ready(r)
        assert r.board.bridge is not None
        assert await r.exchange(frame) == BusReply(status=BusStatus.OK, frame=stream.ERROR_REPLY)
        assert r.board.bridge.transfers == []


@pytest.mark.parametrize("fault", [BusErrorAt, BusSilentAt])
async def test_faults_of_the_design_are_error_frames_in_good_replies(fault: type[Exception]) -> None:
    class Target(dict[int, int]):
        def get(self, key: int, default: object = 0) -> int:  # type: ignore[override]
            raise fault

    async with rig() as r:
        await ready(r)
        assert r.board.bridge is not None
        r.board.bridge.target = Target()
        assert await r.exchange(Read(0)) == BusReply(status=BusStatus.OK, frame=stream.ERROR_REPLY)
        assert (await r.write(0, 1)).frame == b"\0\0\0\0"


async def test_wrong_leases() -> None:
    async with rig() as r:
        await ready(r)
        for changes in ({"epoch": 0}, {"epoch": 2}, {"session": BOB}):
            reply = await r.write(0, 1, **changes)
            assert reply.status is BusStatus.STALE_LEASE and reply.message
        assert (await r.write(0, 1, board=9)).status is BusStatus.UNKNOWN_BOARD
        assert r.board.bridge is not None and r.board.bridge.transfers == []


async def test_requests_without_headers() -> None:
    async with rig() as r:
        replies: list[BusReply] = []

        async def answer(reply: BusReply) -> None:
            replies.append(reply)

        await r.service.handle(None, b"", answer)
        await r.service.handle({"Lutlab-Verb": "open"}, b"", answer)
        await r.service.handle(
            {"Lutlab-Verb": "jump", "Lutlab-Board": "0", "Lutlab-Session": str(ALICE), "Lutlab-Epoch": "1"}, b"", answer
        )
        assert [reply.status for reply in replies] == [BusStatus.BAD_REQUEST] * 3
        assert all(reply.message for reply in replies)


async def test_the_base_design_has_no_traffic() -> None:
    async with rig() as r:
        await r.program(r.work(1, session=None))
        assert (await r.write(0, 1)).status is BusStatus.STALE_LEASE


async def test_one_stream_at_a_time() -> None:
    async with rig() as r:
        await ready(r)
        assert (await r.ask(OPEN, stream_id="a")).status is BusStatus.OK
        assert (await r.ask(OPEN, stream_id="b")).status is BusStatus.BUSY
        assert (await r.write(0, 1, stream_id="b")).status is BusStatus.BUSY
        assert (await r.write(0, 1)).status is BusStatus.BUSY
        assert (await r.write(0, 1, stream_id="a")).status is BusStatus.OK
        await r.ask(CLOSE, stream_id="b")
        assert (await r.ask(OPEN, stream_id="b")).status is BusStatus.BUSY
        await r.ask(CLOSE, stream_id="a")
        assert (await r.write(0, 1)).status is BusStatus.OK
        assert (await r.ask(OPEN, stream_id="b")).status is BusStatus.OK
        assert (await r.ask(OPEN)).status is BusStatus.BAD_REQUEST


@pytest.mark.parametrize("verb", [KEEP, EXCHANGE])
async def test_every_message_renews_the_stream(verb: BusVerb) -> None:
    async with rig() as r:
        await ready(r)
        await r.ask(OPEN, stream_id="a")
        for _ in range(3):
            r.time.seconds += STREAM_LOCK_S - 1
            assert (await r.ask(verb, Read(0), stream_id="a")).status is BusStatus.OK
        assert (await r.ask(OPEN, stream_id="b")).status is BusStatus.BUSY
        r.time.seconds += STREAM_LOCK_S
        assert (await r.ask(OPEN, stream_id="b")).status is BusStatus.OK
        assert (await r.ask(verb, Read(0), stream_id="a")).status is BusStatus.BUSY


async def test_what_waits_travels_together_and_is_answered_in_order() -> None:
    async with rig() as r:
        await ready(r)
        operations = [Write(0, [7]), Read(0), b"broken", Write(0, [8]), Read(0)]
        order: list[int] = []
        futures = []
        for index, operation in enumerate(operations):
            future = r.ask(EXCHANGE, operation)
            future.add_done_callback(lambda _, index=index: order.append(index))
            futures.append(future)
        replies = await asyncio.gather(*futures)
        await asyncio.sleep(0)
        frames = [reply.frame.hex() for reply in replies]
        assert frames == ["00000000", "0000000100000007", "01000000", "00000000", "0000000100000008"]
        assert order == [0, 1, 2, 3, 4]
        link = r.seat.link
        assert link is not None and link.counters.resyncs == 1


async def test_batches_are_bounded() -> None:
    async with rig() as r:
        await ready(r)
        big = Write(0, list(range(512)))
        futures = [r.ask(EXCHANGE, big) for _ in range(3 * BATCH_WORDS_MAX // 512)]
        assert {(await f).frame for f in futures} == {b"\0\0\0\0"}


async def test_a_full_queue_refuses() -> None:
    async with rig() as r:
        await ready(r)
        r.board.mute = True
        futures = [r.ask(EXCHANGE, Read(0)) for _ in range(2 * QUEUE_EXCHANGES_MAX + 10)]
        done, _ = await asyncio.wait(futures, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        refused = done.pop().result()
        assert refused.status is BusStatus.BUSY and "256" in refused.message
        r.board.mute = False
        await r.stop()
        replies = [reply.status for reply in await asyncio.gather(*futures)]
        assert set(replies) == {BusStatus.BUSY, BusStatus.LINK_FAILED}
        assert 10 <= replies.count(BusStatus.BUSY) <= QUEUE_EXCHANGES_MAX + 10


async def test_an_exchange_that_waited_too_long_is_not_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_lane, "EXECUTE_TIMEOUT_S", 0.1)
    async with rig() as r:
        await ready(r)
        assert r.board.bridge is not None
        r.board.mute = True
        assert r.board.line is not None
        quiet = len(r.board.line.sent)
        first = r.ask(EXCHANGE, Read(1))
        async with asyncio.timeout(5):
            while len(r.board.line.sent) == quiet:  # noqa: ASYNC110 - under way, with the short deadline
                await asyncio.sleep(0)
        monkeypatch.setattr(bus_lane, "EXECUTE_TIMEOUT_S", 5)  # for those after the first
        r.board.mute = False
        late = r.ask(EXCHANGE, Write(2, [1]))
        await r.last  # it waits in the queue
        r.time.seconds += QUEUED_S_MAX + 1
        good = r.ask(EXCHANGE, Write(3, [1]))
        assert (await first).status is BusStatus.LINK_FAILED
        reply = await late
        assert reply.status is BusStatus.LINK_FAILED and "nothing was done" in reply.message
        assert (await good).status is BusStatus.OK
        assert ("w", 2) not in r.board.bridge.transfers
        assert ("w", 3) in r.board.bridge.transfers


async def test_a_silent_board_fails_the_link_and_raises_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_lane, "EXECUTE_TIMEOUT_S", 0.05)
    async with rig() as r:
        await ready(r)
        r.board.mute = True
        reply = await r.write(0, 1)
        assert reply.status is BusStatus.LINK_FAILED and "may or may not have run" in reply.message
        assert r.seat.doubt.is_set()
        r.board.mute = False
        monkeypatch.setattr(bus_lane, "EXECUTE_TIMEOUT_S", 5)
        assert (await r.write(0, 2)).status is BusStatus.OK
        assert await r.read(0) == 2


async def test_use_is_reported_now_and_then() -> None:
    async with rig() as r:
        await ready(r)
        for _ in range(5):
            await r.write(0, 1)
        assert await reported(r, 1) == [ReportSessionUsed(fpga_id=0, session_id=ALICE, epoch=1)]
        r.time.seconds += 14.9
        await r.write(0, 1)
        await asyncio.sleep(0.01)
        assert len(r.commands.sent) == 1
        r.time.seconds += 0.1
        await r.write(0, 1)
        assert len(await reported(r, 2)) == 2


async def test_refused_traffic_is_no_use() -> None:
    async with rig() as r:
        await ready(r)
        await r.write(0, 1, epoch=0)
        await r.ask(OPEN, stream_id="a")
        await asyncio.sleep(0.01)
        assert r.commands.sent == []


async def test_what_has_a_name_is_carried_out_once_and_answered_as_often_as_asked() -> None:
    async with rig() as r:
        await ready(r)
        at_once = [r.ask(EXCHANGE, Write(4, [1]), request_id="k") for _ in range(2)]
        replies = [await reply for reply in at_once]
        await r.write(4, 9)
        replies.append(await r.exchange(Write(4, [1]), request_id="k"))
        assert replies == [BusReply(status=BusStatus.OK, frame=b"\0\0\0\0")] * 3
        assert await r.read(4) == 9
        await r.exchange(Write(4, [2]), request_id="k")
        assert await r.read(4) == 2


async def test_what_was_not_begun_may_come_again_under_its_name() -> None:
    async with rig() as r:
        await ready(r)
        await r.ask(OPEN, stream_id="other")
        assert (await r.exchange(Read(0), request_id="k")).status is BusStatus.BUSY
        await r.ask(CLOSE, stream_id="other")
        assert (await r.exchange(Read(0), request_id="k")).status is BusStatus.OK


async def test_few_replies_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "REPLIES_BYTES_MAX", 20)
    async with rig() as r:
        await ready(r)
        for name in ("a", "b", "c"):
            await r.exchange(Read(0), request_id=name)  # 8 bytes each
        await r.write(0, 5)
        words = [stream.decode_reply((await r.exchange(Read(0), request_id=name)).frame) for name in ("a", "c")]
        assert [list(word or ()) for word in words] == [[5], [0]]
