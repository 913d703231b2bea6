"""The link over a board in memory: in step, out of step, and back."""

from __future__ import annotations

import asyncio
from array import array

import pytest

from lutlab_bus import (
    BusLink,
    LinkLost,
    LinkTimeout,
    ProtocolFault,
    ProtocolMismatch,
    Read,
    Status,
    StreamPort,
    Write,
)
from lutlab_bus.fake import FakeBridge, FakePort


async def opened(**changes):
    port = FakePort(FakeBridge(build_id=0xABC), **changes)
    return await BusLink.open(port, timeout_s=5), port


async def test_open_and_execute():
    link, _ = await opened()
    assert link.info.build_id == 0xABC
    write, read = await link.execute([Write(3, [1, 2, 3]), Read(3, 3)], timeout_s=1)
    assert write.ok and read.words == array("I", [1, 2, 3])
    assert link.in_step
    assert link.counters.frames == 2
    assert link.counters.resyncs == 1
    assert link.counters.bytes_sent == 9 + 21 + 9
    assert link.counters.bytes_received == 36 + 4 + 16


async def test_bus_faults_are_results():
    link, _ = await opened()
    results = await link.execute([Read(511, 2), Read(0)], timeout_s=1)
    assert [r.status for r in results] == [Status.BUS_ERROR, Status.OK]


async def test_stale_bytes_are_dropped_on_open():
    bridge = FakeBridge()
    port = FakePort(bridge)
    port.inject(b"\x00" * 1000 + b"UL" * 50)
    link = await BusLink.open(port, timeout_s=5)
    assert (await link.execute([Read(0)], timeout_s=1))[0].ok
    assert link.counters.bytes_dropped == 1100


async def test_open_waits_out_an_earlier_users_half_frame():
    bridge = FakeBridge()
    bridge.feed(bytes.fromhex("a1 00 10 00"))
    link = await BusLink.open(FakePort(bridge), timeout_s=5)
    assert (await link.execute([Read(0)], timeout_s=1))[0].ok
    assert bridge.transfers == [("r", 0)]


async def test_sync_bytes_end_a_half_frame_without_any_silence():
    bridge = FakeBridge()
    bridge.feed(bytes.fromhex("a1 00 ff 01 00 00 00 11 22 33 44"))
    link = await BusLink.open(FakePort(bridge, silence_s=1000), timeout_s=5)
    assert (await link.execute([Read(0)], timeout_s=1))[0].ok
    assert bridge.transfers == [("r", 0)]
    assert link.counters.bytes_sent == 9 + (9 + 512 * 4 + 16 + 9) + 9


async def test_a_slow_board_is_waited_for_instead_of_asked_again_and_again():
    bridge, hellos = FakeBridge(), []

    class SlowPort(FakePort):
        def write(self, data):
            hellos.append(data)
            asyncio.get_running_loop().call_later(0.25, self.inject, self.bridge.feed(data))

    link = await BusLink.open(SlowPort(bridge), timeout_s=5)
    assert len(hellos) == 2
    assert (await link.execute([Read(0)], timeout_s=1))[0].ok
    assert link.counters.bytes_dropped == 36


async def test_timeout_leaves_the_link_usable():
    link, port = await opened()
    port.on_request = lambda data: data[:5]
    with pytest.raises(LinkTimeout, match=r"1 operations not done within 0\.05 s"):
        await link.execute([Read(0)], timeout_s=0.05)
    assert not link.in_step and link.counters.timeouts == 1
    port.on_request = None
    assert (await link.execute([Read(0)], timeout_s=5))[0].ok
    assert link.counters.resyncs == 2


async def test_a_late_reply_is_not_taken_for_the_next_one():
    link, port = await opened()
    port.bridge.target[1] = 111
    port.bridge.target[2] = 222
    late = []
    port.on_reply = lambda data: late.append(data) or b""
    with pytest.raises(LinkTimeout):
        await link.execute([Read(1)], timeout_s=0.02)
    port.on_reply = None
    port.inject(late[0])
    (result,) = await link.execute([Read(2)], timeout_s=5)
    assert list(result.words) == [222]


async def test_cancellation_leaves_the_link_usable():
    link, port = await opened()
    port.on_reply = lambda data: b""
    task = asyncio.create_task(link.execute([Read(0)], timeout_s=60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    port.on_reply = None
    assert (await link.execute([Read(0)], timeout_s=5))[0].ok


@pytest.mark.parametrize("where", ["on_request", "on_reply"])
async def test_flipped_bytes_raise_and_are_recovered_from(where):
    link, port = await opened()
    flip_once = [True]

    def flip(data):
        if data and flip_once.pop():
            flip_once.append(False)
            return bytes([data[0], data[1] ^ 4]) + data[2:]
        flip_once.append(False)
        return data

    setattr(port, where, flip)
    with pytest.raises((ProtocolFault, LinkTimeout)):
        await link.execute([Write(0, [5])], timeout_s=0.05)
    assert (await link.execute([Write(0, [6])], timeout_s=5))[0].ok
    assert port.bridge.target[0] == 6
    assert port.bridge.transfers == [("w", 0)] * (2 if where == "on_reply" else 1)


async def test_a_port_that_ends_is_lost():
    link, port = await opened()
    port.on_reply = lambda data: b""
    task = asyncio.create_task(link.execute([Read(0)], timeout_s=5))
    await asyncio.sleep(0)
    port.pull_out()
    with pytest.raises(LinkLost, match="ended"):
        await task
    with pytest.raises(LinkLost, match="failed: the fake adapter"):
        await link.execute([Read(0)], timeout_s=5)


async def test_nobody_answers():
    with pytest.raises(LinkTimeout, match=r"no answer to hello within 0\.3 s"):
        await BusLink.open(FakePort(FakeBridge(), on_reply=lambda data: b""), timeout_s=0.3)


async def test_another_version():
    bridge = FakeBridge()
    bridge._info[0] += 1
    with pytest.raises(ProtocolMismatch):
        await BusLink.open(FakePort(bridge), timeout_s=1)


async def test_calls_take_turns():
    link, _ = await opened()
    batches = [link.execute([Write(i, [i] * 3), Read(i, 3)], timeout_s=5) for i in range(0, 60, 3)]
    for i, (_, read) in zip(range(0, 60, 3), await asyncio.gather(*batches), strict=True):
        assert list(read.words) == [i] * 3


async def test_a_reprogrammed_board_is_noticed_by_hello():
    link, port = await opened()
    port.bridge = FakeBridge(build_id=0xDEF)
    assert (await link.hello(timeout_s=1)).build_id == 0xDEF
    assert link.info.build_id == 0xDEF


async def test_over_asyncio_streams():
    bridge = FakeBridge(address_bits=20)

    async def serve(reader, writer):
        while data := await reader.read(65_536):
            writer.write(bridge.feed(data))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        link = await BusLink.open(StreamPort(reader, writer), timeout_s=5)
        words = array("I", range(50_000))
        results = await link.execute([Write(0, words), Read(0, 50_000)], timeout_s=20)
        assert results[1].words == words
        writer.close()
        await writer.wait_closed()
