"""The TCP bridge over real sockets: the stream's frames, one stream a board, and not one byte after the session."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec
import pytest
from agent_rig import ALICE, BOB, Rig, lab_board

from lutlab_board_agent.adapters import tcp_bridge
from lutlab_board_agent.adapters.tcp_bridge import CONNECTIONS_MAX, TcpBridges
from lutlab_board_agent.app.serve_bus import TICKETS_MAX
from lutlab_board_agent.domain.errors import BridgePortTaken
from lutlab_bus import Operation, Read, Write, stream
from lutlab_events.busmsg import BridgeWay, BusReply, BusStatus, BusVerb
from lutlab_stack.ports import free_port
from lutlab_transport.clock import RandomIds

OK, ERROR = b"\0\0\0\0", b"\1\0\0\0"


class FakeKeys:
    """APIs that know which keys are not good any more."""

    def __init__(self) -> None:
        self.bad: dict[str, str] = {}
        self.asked: list[str] = []

    async def refusal(self, key: str) -> str | None:
        self.asked.append(key)
        return self.bad.get(key)


class Bridged(Rig):
    """An agent whose board has a bridge."""

    def __init__(self, port: int | None) -> None:
        super().__init__()
        board = msgspec.structs.replace(lab_board(0), bridge_port=port)
        self.seat.board = board
        self.keys = FakeKeys()
        self.bridges = TcpBridges(self.buses.values(), host="127.0.0.1", ids=RandomIds(), keys=self.keys)

    async def way(self, epoch: int = 1, session: UUID = ALICE, key: str = "") -> BridgeWay:
        reply: BusReply = await self.ask(BusVerb.BRIDGE, epoch=epoch, session=session, key=key)
        assert reply.status is BusStatus.OK, reply
        return msgspec.json.decode(reply.frame, type=BridgeWay)


class Peer:
    """A client of the bridge, as anybody would write one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))
        await self.writer.drain()

    async def take(self, size: int) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """What comes until the end."""
        try:
            async with asyncio.timeout(5):
                return await self.reader.read()
        except ConnectionResetError:
            return b""

    async def ask(self, operation: Operation) -> bytes:
        await self.send(stream.encode_request(operation))
        head = await self.take(4)
        return head + await self.take(4 * (struct.unpack(">I", head)[0] & 0xFFFFFF))


@asynccontextmanager
async def bridged() -> AsyncIterator[Bridged]:
    made = Bridged(free_port())
    await made.look()
    await made.bridges.start()
    await made.program(made.work(1))
    try:
        yield made
    finally:
        await made.bridges.stop()
        await made.stop()


@asynccontextmanager
async def peer(r: Bridged, token: bytes | None = None) -> AsyncIterator[Peer]:
    port = r.seat.board.bridge_port
    assert port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        made = Peer(reader, writer)
        token = bytes.fromhex((await r.way()).token) if token is None else token
        await made.send(bytes.fromhex("10000008 00000000") + token)
        yield made
    finally:
        writer.close()


async def test_the_streams_frames_there_and_back() -> None:
    async with bridged() as r, peer(r) as p:
        assert await p.take(4) == OK
        assert await p.ask(Write(4, [1, 2, 3])) == OK
        assert (await p.ask(Read(4, 3))).hex() == "00000003" + "00000001" + "00000002" + "00000003"
        assert await p.ask(Write(7, [5, 6], fixed=True)) == OK
        assert await r.bus.seat.link.read_word(7, 5) == 6  # type: ignore[union-attr]


async def test_pipelined_requests_in_any_chunking_are_answered_in_order() -> None:
    requests = [stream.encode_request(Write(n, [n])) for n in range(100)] + [b"\x03\0\0\1\0\0\0\0\0\0\0\1"]
    requests += [stream.encode_request(Read(n)) for n in range(100)]
    async with bridged() as r, peer(r) as p:
        assert await p.take(4) == OK
        data = b"".join(requests)
        for start in range(0, len(data), 97):
            await p.send(data[start : start + 97])
            await asyncio.sleep(0)
        assert await p.take(400) == OK * 100
        assert await p.take(4) == ERROR
        assert await p.take(800) == b"".join(struct.pack(">II", 1, n) for n in range(100))
        p.writer.write_eof()
        assert await p.rest() == b""


@pytest.mark.parametrize("token", [bytes(32), b"\xff" * 32])
async def test_a_wrong_token_opens_nothing(token: bytes) -> None:
    async with bridged() as r:
        async with peer(r, token) as before_any:
            assert await before_any.rest() == ERROR
        await r.way()
        async with peer(r, token) as p:
            await p.send(stream.encode_request(Write(0, [1])))
            assert (await p.rest())[:4] in (ERROR, b"")
        assert r.board.bridge is not None and r.board.bridge.transfers == []


@pytest.mark.parametrize(
    "start", [stream.encode_request(Write(0, [1])) + bytes(40), b"GET / HTTP/1.1\r\n\r\n" + bytes(40)]
)
async def test_without_a_token_nothing_is_carried_out(start: bytes) -> None:
    async with bridged() as r:
        await r.way()
        reader, writer = await asyncio.open_connection("127.0.0.1", r.seat.board.bridge_port)
        p = Peer(reader, writer)
        await p.send(start)
        assert (await p.rest())[:4] in (ERROR, b"")
        assert r.board.bridge is not None and r.board.bridge.transfers == []
        writer.close()


async def test_silence_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_bridge, "TOKEN_TIMEOUT_S", 0.05)
    async with bridged() as r:
        reader, writer = await asyncio.open_connection("127.0.0.1", r.seat.board.bridge_port)
        writer.write(b"\x10\0\0")
        assert await Peer(reader, writer).rest() == b""
        writer.close()


async def test_not_one_byte_after_the_session() -> None:
    """The board is loaded for somebody else: the connection ends, its token is worth nothing, and nothing is sent."""
    async with bridged() as r:
        token = bytes.fromhex((await r.way()).token)
        async with peer(r) as p:
            assert await p.take(4) == OK
            assert await p.ask(Write(1, [7])) == OK
            line = r.board.line
            assert line is not None
            r.board.mute = True  # requests under way when the session ends
            for n in range(20):
                await p.send(stream.encode_request(Read(n)))
            lane = r.bus.lane
            async with asyncio.timeout(5):
                while len(lane._waiting) + len(lane._running) < 20:  # noqa: ASYNC110 - they are on their way by TCP
                    await asyncio.sleep(0)
            r.board.mute = False
            sent = len(line.sent)
            await r.program(r.work(2, session=BOB, build_id=0xDEF))
            assert r.board.bridge is not None
            await p.send(stream.encode_request(Write(2, [9])))
            assert await p.rest() == b""
            assert len(line.sent) == sent and line.closed
            assert r.board.bridge.transfers == []
        async with peer(r, token) as late:
            assert await late.rest() == ERROR
        assert (await r.ask(BusVerb.BRIDGE, epoch=1)).status is BusStatus.STALE_LEASE
        assert (await r.way(2, BOB)).token != token.hex()
        assert r.board.bridge.transfers == []


async def test_it_ends_with_the_key_it_was_opened_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_bridge, "KEEP_S", 0.02)
    async with bridged() as r:
        tokens = {key: bytes.fromhex((await r.way(key=key)).token) for key in ("mine", "another", "")}
        assert len(set(tokens.values())) == 3
        assert (await r.way(key="mine")).token == tokens["mine"].hex()
        async with peer(r, tokens["mine"]) as p:
            assert await p.take(4) == OK
            async with asyncio.timeout(5):
                while len(r.keys.asked) < 3:  # noqa: ASYNC110 - looked at again and again, and found good
                    await asyncio.sleep(0.005)
            assert await p.ask(Write(1, [7])) == OK
            r.keys.bad["mine"] = "this API key is not known here, or was revoked"
            assert await p.rest() == b""
        assert set(r.keys.asked) == {"mine"}
        r.keys.bad.clear()  # whoever knows it is away
        async with peer(r, tokens["mine"]) as again:
            assert await again.rest() == ERROR
        r.keys.bad["another"] = "this API key was rotated"
        async with peer(r, tokens["another"]) as other:
            assert await other.rest() == ERROR
        async with peer(r, tokens[""]) as open_lab:
            assert await open_lab.take(4) == OK
            assert "" not in r.keys.asked


async def test_tokens_of_a_session_are_bounded() -> None:
    async with bridged() as r:
        tokens = [bytes.fromhex((await r.way(key=f"key {n}")).token) for n in range(TICKETS_MAX + 1)]
        for token, answer in ((tokens[0], ERROR), (tokens[1], OK)):
            async with peer(r, token) as p:
                assert await p.take(4) == answer


async def test_one_stream_a_board_whoever_has_it() -> None:
    async with bridged() as r:
        async with peer(r) as first:
            assert await first.take(4) == OK
            async with peer(r) as second:
                assert await second.rest() == ERROR
            assert (await r.ask(BusVerb.OPEN, stream_id="a")).status is BusStatus.BUSY
            assert await first.ask(Write(0, [1])) == OK
        async with asyncio.timeout(5):
            while (await r.ask(BusVerb.OPEN, stream_id="a")).status is BusStatus.BUSY:  # noqa: ASYNC110 - gone, not noticed
                await asyncio.sleep(0.005)
        assert (await r.ask(BusVerb.KEEP, stream_id="a")).status is BusStatus.OK
        async with peer(r) as third:
            assert await third.rest() == ERROR


async def test_a_frame_longer_than_any_ends_it_after_the_answers() -> None:
    async with bridged() as r, peer(r) as p:
        assert await p.take(4) == OK
        await p.send(stream.encode_request(Write(0, [1])), b"\x01\0\x02\x01\0\0\0\0" + bytes(2052))
        assert (await p.rest())[:8] == OK + ERROR


async def test_an_unplugged_board_ends_it_and_the_token_stays_good() -> None:
    async with bridged() as r:
        r.watch()
        token = bytes.fromhex((await r.way()).token)
        async with peer(r) as p:
            assert await p.take(4) == OK
            bridge = r.board.bridge
            r.board.unplug()
            assert await p.rest() == b""
            r.board.bridge, r.board.present = bridge, True
            r.seat.doubt.set()
            async with asyncio.timeout(5):
                await r.seat.linked.wait()
        async with peer(r, token) as again:
            assert await again.take(4) == OK


async def test_connections_are_bounded() -> None:
    async with bridged() as r:
        opened = [await asyncio.open_connection("127.0.0.1", r.seat.board.bridge_port) for _ in range(CONNECTIONS_MAX)]
        async with asyncio.timeout(5):
            while len(r.bridges._open) < CONNECTIONS_MAX:  # noqa: ASYNC110 - the kernel has them; the bridge accepts them
                await asyncio.sleep(0)
        reader, writer = await asyncio.open_connection("127.0.0.1", r.seat.board.bridge_port)
        assert await Peer(reader, writer).rest() == b""
        for each in (writer, *(w for _, w in opened)):
            each.close()


async def test_it_is_off_unless_the_lab_file_gives_a_port() -> None:
    r = Bridged(None)
    await r.look()
    await r.bridges.start()
    await r.program(r.work(1))
    reply = await r.ask(BusVerb.BRIDGE)
    assert reply.status is BusStatus.NOT_OFFERED and "bridge_port" in reply.message
    assert r.bridges._servers == []
    await r.stop()


async def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        r = Bridged(taken.getsockname()[1])
        with pytest.raises(BridgePortTaken, match=f"127.0.0.1:{taken.getsockname()[1]}"):
            await r.bridges.start()
        await r.stop()
