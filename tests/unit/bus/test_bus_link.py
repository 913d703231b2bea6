"""The link over a board in memory: in step, out of step, and back."""

from __future__ import annotations

import asyncio
from array import array

import pytest

from lutlab_bus import (
    BusLink,
    DesignBusError,
    DesignTimeout,
    InvalidOperation,
    LinkLost,
    LinkTimeout,
    Modify,
    Poll,
    PollTimeout,
    ProtocolMismatch,
    Read,
    Status,
    StreamPort,
    Write,
)
from lutlab_bus.fake import BusErrorAt, BusSilentAt, FakeBridge, FakePort


async def opened(**changes):
    port = FakePort(FakeBridge(build_id=0xABC), **changes)
    return await BusLink.open(port, timeout_s=5), port


async def test_open_and_execute():
    link, _ = await opened()
    assert link.info.build_id == 0xABC
    write, read = await link.execute([Write(3, [1, 2, 3]), Read(3, 3)], timeout_s=1)
    assert write.ok and read.words == array("I", [1, 2, 3])
    assert link.in_step
    assert link.counters.frames == 1 and link.counters.operations == 2
    assert link.counters.resyncs == 1 and link.counters.retries == 0
    assert sum(link.counters.round_trip) == 1


async def test_bus_faults_are_results():
    link, _ = await opened()
    results = await link.execute([Read(511, 2), Read(0)], timeout_s=1)
    assert [r.status for r in results] == [Status.BUS_ERROR, Status.OK]


async def test_stale_bytes_are_dropped_on_open():
    port = FakePort(FakeBridge())
    port.inject(b"\x00" * 1000 + b"UL" * 50)
    link = await BusLink.open(port, timeout_s=5)
    assert (await link.execute([Read(0)], timeout_s=1))[0].ok
    assert (
        link.counters.crc_failures == 1 and link.counters.bytes_dropped == 101 + 43
    )  # the first answer has no delimiter before it


async def test_an_earlier_users_half_frame_is_ended_by_hello():
    bridge = FakeBridge()
    bridge.feed(bytes.fromhex("05 00 01 02"))
    link = await BusLink.open(FakePort(bridge), timeout_s=5)
    assert (await link.execute([Read(0)], timeout_s=1))[0].ok
    assert bridge.transfers == [("r", 0)]


async def test_a_slow_board_is_waited_for():
    bridge, hellos, answers = FakeBridge(), [], []

    class SlowPort(FakePort):
        def write(self, data):
            hellos.append(data)
            answers.append(self.bridge.feed(data))
            if len(hellos) > 1:  # the first answer comes when it was asked again, and that one's behind it
                while answers:
                    self.inject(answers.pop(0))

    link = await BusLink.open(SlowPort(bridge), timeout_s=5)
    assert len(hellos) == 2
    assert (await link.execute([Read(0)], timeout_s=1))[0].ok
    assert link.counters.stale == 1


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
async def test_a_flipped_bit_costs_a_repetition(where):
    link, port = await opened()
    flips = [True]

    def flip(data):
        return bytes([data[0], data[1] ^ 4]) + data[2:] if data and flips and flips.pop() else data

    setattr(port, where, flip)
    assert (await link.execute([Write(0, [5])], timeout_s=5))[0].ok
    assert port.bridge.target[0] == 5
    assert port.bridge.transfers == [("w", 0)]
    assert link.counters.retries == 1 and link.in_step


async def test_a_port_that_ends_is_lost():
    link, port = await opened()
    port.on_reply = lambda data: b""
    task = asyncio.create_task(link.execute([Read(0)], timeout_s=5))
    await asyncio.sleep(0)
    port.pull_out()
    with pytest.raises(LinkLost, match="serial port"):
        await task
    with pytest.raises(LinkLost, match="failed: the fake adapter"):
        await link.execute([Read(0)], timeout_s=5)


async def test_nobody_answers():
    with pytest.raises(LinkTimeout, match=r"no answer to hello within 0\.3 s"):
        await BusLink.open(FakePort(FakeBridge(), on_reply=lambda data: b""), timeout_s=0.3)


async def test_another_version():
    bridge = FakeBridge()
    bridge.info[0] += 1
    with pytest.raises(ProtocolMismatch):
        await BusLink.open(FakePort(bridge), timeout_s=1)


async def test_small_calls_of_many_tasks_share_frames():
    link, port = await opened()
    port.bridge.target.update({i: 1000 + i for i in range(64)})
    link.counters.frames = 0
    words = await asyncio.gather(*(link.read_word(i, timeout_s=5) for i in range(64)))
    assert words == [1000 + i for i in range(64)]
    assert link.counters.frames == 1
    assert port.bridge.transfers == [("r", i) for i in range(64)]


async def test_words_asked_for_together_get_each_their_own_answer():
    link, port = await opened()

    class Faulty(dict):
        def get(self, address, default=0):
            if address == 7:
                raise BusErrorAt
            return 100 + address

    port.bridge.target = Faulty()
    link.counters.frames = 0
    *words, wrong = await asyncio.gather(
        *(link.read_word(n, 1) for n in (3, 3, 9, 0)), link.read_word(7, 1), return_exceptions=True
    )
    assert words == [103, 103, 109, 100]
    assert isinstance(wrong, DesignBusError)
    assert (link.counters.frames, link.counters.operations) == (1, 5)


async def test_words_and_writes_keep_the_order_of_asking():
    link, port = await opened()
    calls = [link.read_word(5, 1), link.execute([Write(5, [1])], 1), link.read_word(5, 1), link.read_word(6, 1)]
    first, _, second, _ = await asyncio.gather(*calls)
    assert (first, second) == (0, 1)
    assert port.bridge.transfers == [("r", 5), ("w", 5), ("r", 5), ("r", 6)]


async def test_words_with_different_time_limits():
    link, port = await opened()
    port.on_reply = lambda data: b""
    short, long = (asyncio.create_task(link.read_word(1, limit_s)) for limit_s in (0.05, 20))
    with pytest.raises(LinkTimeout, match=r"word 0x1 was not done within 0\.05 s"):
        await short
    assert not long.done()
    port.on_reply = None
    assert await long == 0


async def test_who_gives_up_before_sending_is_not_sent_and_stops_nobody():
    link, port = await opened()
    tasks = [asyncio.create_task(link.read_word(n, 1)) for n in range(3)]
    asyncio.get_running_loop().call_soon(tasks[1].cancel)  # they have asked by then; nothing was sent
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [answers[0], answers[2]] == [0, 0] and isinstance(answers[1], asyncio.CancelledError)
    assert port.bridge.transfers == [("r", 0), ("r", 2)]


async def test_who_gives_up_one_after_the_other_leaves_the_last_one_its_answer():
    link, port = await opened()
    port.on_reply = lambda data: b""
    tasks = [asyncio.create_task(link.read_word(n, 20)) for n in range(3)]
    asyncio.get_running_loop().call_soon(tasks[0].cancel)
    await asyncio.wait(tasks[:1])
    tasks[1].cancel()
    await asyncio.wait(tasks[:2])
    port.on_reply = None
    assert await tasks[2] == 0


async def test_after_all_gave_up_before_sending_the_next_one_is_answered():
    link, port = await opened()
    for count in (1, 3):
        tasks = [asyncio.create_task(link.read_word(n, 1)) for n in range(count)]
        for task in tasks:
            asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await link.read_word(9, 1) == 0
    assert port.bridge.transfers == [("r", 9), ("r", 9)]


async def test_a_lost_line_ends_all_that_asked_together():
    link, port = await opened()
    port.on_reply = lambda data: b""
    tasks = [asyncio.create_task(link.read_word(n, 5)) for n in range(3)]
    await asyncio.sleep(0)
    port.pull_out()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(answer, LinkLost) for answer in answers)


async def test_design_faults_are_typed_in_one_word_calls():
    link, port = await opened()

    class Tempered(dict):
        def get(self, address, default=0):
            raise BusSilentAt if address else BusErrorAt

    port.bridge.target = Tempered()
    with pytest.raises(DesignBusError, match="word 0x0"):
        await link.read_word(0, timeout_s=1)
    with pytest.raises(DesignTimeout):
        await link.read_word(1, timeout_s=1)
    (polled,) = await link.execute([Poll(512, 1, 1, 5)], timeout_s=1)
    with pytest.raises(DesignBusError):
        polled.check()
    port.bridge.target = {}
    (polled,) = await link.execute([Poll(5, 1, 1, 5)], timeout_s=1)
    with pytest.raises(PollTimeout):
        polled.check()
    assert link.in_step


async def test_modify_and_poll():
    link, port = await opened()
    port.bridge.target[7] = 0xAABBCCDD
    modified, polled = await link.execute([Modify(7, 0xFF00, 0x1234), Poll(7, 0xFF00, 0x1200, 10)], timeout_s=1)
    assert list(modified.words) == [0xAABBCCDD] and list(polled.words) == [0xAABB12DD]


async def test_vectors():
    link, _ = await opened()
    addresses = array("I", [(i * 37) % 512 for i in range(512)])
    words = array("I", [i * 0x01010101 & 0xFFFFFFFF for i in range(512)])
    assert (await link.write_each(addresses, words, timeout_s=5)).ok
    assert (await link.read_each(addresses, timeout_s=5)).words == words
    failed = await link.read_each([1, 600, 2], timeout_s=5)
    assert failed.status is Status.BUS_ERROR and failed.words[1] == 0 and failed.words[2] == words[addresses.index(2)]
    with pytest.raises(InvalidOperation):
        await link.read_each([1 << 24], timeout_s=1)
    assert (await link.read_each([], timeout_s=1)).words == array("I")


async def test_a_call_that_gives_up_disturbs_no_other():
    """The board is mute for a while; the call with the short deadline ends, the patient one gets its answer."""
    link, port = await opened()
    port.on_reply = lambda data: b""
    patient = asyncio.create_task(link.execute([Write(1, [42]), Read(1)], timeout_s=20))
    with pytest.raises(LinkTimeout):
        await link.read_word(2, timeout_s=0.05)
    port.on_reply = None
    assert list((await patient)[1].words) == [42]
    assert link.counters.resyncs == 1 and port.bridge.transfers.count(("w", 1)) == 1


async def test_nothing_runs_while_nobody_waits():
    link, port = await opened()
    await link.read_word(1, timeout_s=1)
    port.on_reply = lambda data: b""
    task = asyncio.create_task(link.read_word(1, timeout_s=60))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


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
