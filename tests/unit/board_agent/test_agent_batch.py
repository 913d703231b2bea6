"""Batches at the agent: one bus round, each operation for itself, fenced like any traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agent_rig import BOB, Rig, rig

from lutlab_bus import Modify, Operation, Poll, Read, Result, Status, Write, batch
from lutlab_bus.fake import BusErrorAt, BusSilentAt
from lutlab_events.busmsg import BusReply, BusStatus, BusVerb
from lutlab_events.commands import ReportSessionUsed

EVERY: list[Operation] = [
    Write(4, [1, 2, 3]),
    Read(4, 3),
    Modify(5, mask=0xF, value=9),
    Poll(5, mask=0xFF, value=9, timeout_cycles=100),
    Poll(6, mask=1, value=0, timeout_cycles=0),
    Write(7, [5, 6], fixed=True),
    Read(7, 2, fixed=True),
]


class Tempered(dict[int, int]):
    """Word 9 errs and word 10 is silent."""

    def get(self, key: int, default: object = 0) -> int:  # type: ignore[override]
        if key in (9, 10):
            raise BusErrorAt if key == 9 else BusSilentAt
        return super().get(key, 0)


async def carried_out(r: Rig, operations: Sequence[Operation], **changes: object) -> list[Result]:
    reply = await r.ask(BusVerb.BATCH, batch.encode(operations), **changes)  # type: ignore[arg-type]
    assert reply.status is BusStatus.OK, reply
    return batch.decode_results(reply.frame, operations)


async def test_every_kind_in_one_bus_round() -> None:
    async with rig() as r:
        await r.program(r.work(1))
        r.commands.sent.clear()
        link = r.seat.link
        assert link is not None
        frames = link.counters.frames
        results = await carried_out(r, EVERY)
        assert [list(result.words) for result in results] == [[], [1, 2, 3], [2], [9], [3], [], [6, 6]]
        assert [result.status for result in results] == [Status.OK] * 4 + [Status.POLL_TIMEOUT] + [Status.OK] * 2
        assert link.counters.frames == frames + 1
        async with asyncio.timeout(5):  # it is told beside the answer
            while not r.commands.sent:
                r.commands.arrived.clear()
                await r.commands.arrived.wait()
        assert [type(each) for each in r.commands.sent] == [ReportSessionUsed]


async def test_one_that_fails_does_not_stop_those_behind() -> None:
    async with rig() as r:
        await r.program(r.work(1))
        assert r.board.bridge is not None
        r.board.bridge.target = Tempered()
        operations: list[Operation] = [Read(9), Read(10, 3), Modify(9, 1, 1), Write(0, [7]), Read(0)]
        results = await carried_out(r, operations)
        assert [result.status for result in results] == [
            Status.BUS_ERROR,
            Status.BUS_TIMEOUT,
            Status.BUS_ERROR,
            Status.OK,
            Status.OK,
        ]
        assert [list(result.words) for result in results] == [[], [], [], [], [7]]


async def test_batches_are_fenced_and_wait_their_turn() -> None:
    async with rig() as r:
        await r.program(r.work(1))
        message = batch.encode(EVERY)
        assert (await r.ask(BusVerb.BATCH, message, session=BOB)).status is BusStatus.STALE_LEASE
        assert (await r.ask(BusVerb.BATCH, message, epoch=2)).status is BusStatus.STALE_LEASE
        await r.ask(BusVerb.OPEN, stream_id="a")
        assert (await r.ask(BusVerb.BATCH, message)).status is BusStatus.BUSY
        await r.ask(BusVerb.CLOSE, stream_id="a")
        assert r.board.bridge is not None and r.board.bridge.transfers == []
        first, second, third = r.ask(BusVerb.EXCHANGE, Write(4, [8])), r.ask(BusVerb.BATCH, message), r.read(4)
        assert [(await first).status, (await second).status, await third] == [BusStatus.OK, BusStatus.OK, 1]


async def test_a_malformed_batch_reaches_no_board() -> None:
    async with rig() as r:
        await r.program(r.work(1))
        assert r.board.bridge is not None
        for message in (b"", b"\x01", batch.encode(EVERY)[:-1], bytes(batch.MESSAGE_BYTES_MAX + 1)):
            reply: BusReply = await r.ask(BusVerb.BATCH, message)
            assert reply.status is BusStatus.BAD_REQUEST
            assert "nothing was done" in reply.message
        assert r.board.bridge.transfers == []
