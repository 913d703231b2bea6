"""`WS /fpga/{id}/stream` through a real server and a real WebSocket client, with scripted agents."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import uvicorn
from api_fakes import ADA, BOB, ERROR_FRAME, ROOT, SESSION, FakeBus, Lab, board, reserved, session
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lutlab_api.app.limits import Rule
from lutlab_api.app.stream import clip
from lutlab_api.domain.errors import BoardFailure, Code
from lutlab_events.busmsg import BusHeaders, BusReply, BusStatus, BusVerb
from lutlab_events.ids import digest
from lutlab_events.values import BoardState, Scope

WRITE_OK = bytes(4)


def write(address: int, *words: int) -> bytes:
    return struct.pack(f">II{len(words)}I", 1 << 24 | len(words), address, *words)


def read(address: int, count: int) -> bytes:
    return struct.pack(">III", 2 << 24 | 1, address, count)


def words(reply: bytes | str) -> list[int]:
    assert isinstance(reply, bytes)
    return list(struct.unpack(f">{len(reply) // 4}I", reply)[1:])


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fails after some seconds."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not happen in time")


@asynccontextmanager
async def serving(lab: Lab) -> AsyncIterator[str]:
    """The lab's application behind uvicorn on a free port."""
    config = uvicorn.Config(
        lab.app,
        port=0,
        ws="websockets-sansio",
        ws_max_size=lab.settings.stream_message_bytes_max,
        ws_per_message_deflate=False,
        lifespan="off",
        log_level="error",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"ws://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def lab() -> Lab:
    lab = Lab(stream_keep_s=60, stream_in_flight_max=4)
    lab.ledger.add(reserved(3), board(0), reserved(4, owner="bob"))
    return lab


@pytest.fixture
async def url(lab: Lab) -> AsyncIterator[str]:
    async with serving(lab) as url:
        yield url


@asynccontextmanager
async def stream(
    url: str, fpga_id: object = 3, key: str = ADA, header: str = "X-API-Key"
) -> AsyncIterator[ClientConnection]:
    async with connect(f"{url}/fpga/{fpga_id}/stream", additional_headers={header: key}, proxy=None) as connection:
        yield connection


async def ending(connection: ClientConnection) -> tuple[int, str]:
    """Close code and reason, once the server has closed."""
    with pytest.raises(ConnectionClosed) as closed:
        async with asyncio.timeout(5):
            while True:
                await connection.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


async def freed(bus: FakeBus) -> None:
    """Wait until the agent's stream was given back."""
    await until(lambda: not bus.holder)


async def test_a_revoked_key_ends_its_streams() -> None:
    lab = Lab(stream_keep_s=0.05)
    lab.ledger.add(reserved(3))
    async with serving(lab) as url, stream(url) as ws:
        await ws.send(write(0, 42))
        assert await ws.recv() == WRITE_OK
        lab.ledger.is_down = True  # nobody can tell whether it is still good
        lab.services.authenticator.forget()
        await asyncio.sleep(0.15)
        await ws.send(write(0, 43))
        assert await ws.recv() == WRITE_OK
        lab.ledger.is_down = False
        lab.ledger.key_views.clear()
        lab.services.authenticator.forget()
        assert (await ending(ws))[0] == 4401
        await freed(lab.bus)


async def test_frames_go_through_in_order(lab: Lab, url: str) -> None:
    async with stream(url) as ws:
        await ws.send(write(0, *range(100, 612)))
        assert await ws.recv() == WRITE_OK
        for start in range(0, 512, 8):
            await ws.send(read(4 * start, 8))
        for start in range(0, 512, 8):
            assert words(await ws.recv()) == list(range(100 + start, 108 + start))
    await freed(lab.bus)
    agents, headers, _ = zip(*lab.bus.seen, strict=True)
    assert set(agents) == {"agent-1"}
    assert {h.lease for h in headers} == {headers[0].lease}
    assert (headers[0].lease.fpga_id, headers[0].lease.session_id, headers[0].lease.epoch) == (3, SESSION, 4)
    assert len({h.stream_id for h in headers}) == 1
    assert headers[0].stream_id
    verbs = lab.bus.verbs()
    assert (verbs[0], verbs[-1], set(verbs[1:-1])) == ("open", "close", {"exchange"})


async def test_requests_are_pipelined_up_to_a_bound(lab: Lab, url: str) -> None:
    lab.bus.delay_s = 0.02
    lab.bus.memory = {n: n * n for n in range(40)}
    async with stream(url) as ws:
        for n in range(40):
            await ws.send(read(4 * n, 1))
        assert [words(await ws.recv())[0] for _ in range(40)] == [n * n for n in range(40)]
    assert 2 <= lab.bus.under_way_max <= lab.settings.stream_in_flight_max + 2


async def test_replies_keep_their_order_when_the_agents_do_not(lab: Lab, url: str) -> None:
    release = asyncio.Event()

    class Unordered(FakeBus):
        async def request(self, agent_id: str, headers: BusHeaders, frame: bytes, timeout_s: float) -> BusReply:
            if frame[8:] == bytes(3) + b"\x01":
                await release.wait()
            return await super().request(agent_id, headers, frame, timeout_s)

    lab.services.streams._bus = Unordered(memory={0: 5, 1: 6})
    async with stream(url) as ws:
        await ws.send(read(0, 1))
        await ws.send(read(0, 2))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ws.recv()
        release.set()
        assert words(await ws.recv()) == [5]
        assert words(await ws.recv()) == [5, 6]


@pytest.mark.parametrize("frame", [b"", b"\1", write(0)[:7], b"\x02" * 2057, write(0, *range(600)), b"\0" * 100_000])
async def test_odd_frames_get_one_error_each(lab: Lab, url: str, frame: bytes) -> None:
    async with stream(url) as ws:
        await ws.send(frame)
        await ws.send(write(0, 1))
        assert await ws.recv() == ERROR_FRAME
        assert await ws.recv() == WRITE_OK
    assert all(len(sent) <= 2056 for _, _, sent in lab.bus.seen)


async def test_a_huge_message_ends_the_stream(lab: Lab) -> None:
    lab = Lab(stream_message_bytes_max=4096)
    lab.ledger.add(reserved(3))
    async with serving(lab) as url, stream(url) as ws:
        await ws.send(bytes(5000))
        assert (await ending(ws))[0] == 1009
        await freed(lab.bus)


async def test_text_ends_the_stream(lab: Lab, url: str) -> None:
    async with stream(url) as ws:
        await ws.send("hello")
        code, reason = await ending(ws)
        assert code == 1003
        assert "text" in reason
    await freed(lab.bus)


async def test_a_second_stream_is_accepted_then_closed(lab: Lab, url: str) -> None:
    async with stream(url) as first:
        await first.send(write(0, 1))
        assert await first.recv() == WRITE_OK
        async with stream(url) as second:
            with contextlib.suppress(ConnectionClosed):
                await second.send(write(0, 2))
            code, reason = await ending(second)
            assert code == 4409
            assert "busy" in reason
        await first.send(read(0, 1))
        assert words(await first.recv()) == [1]
    await freed(lab.bus)
    async with stream(url) as third:
        await third.send(read(0, 1))
        assert words(await third.recv()) == [1]


@pytest.mark.parametrize(
    ("reply", "code", "word"),
    [
        (BusReply(status=BusStatus.LINK_FAILED, message="cable pulled"), 4502, "cable pulled"),
        (BusReply(status=BusStatus.STALE_LEASE), 4502, "session ended"),
        (BusReply(status=BusStatus.UNKNOWN_BOARD), 4502, "board 3"),
        (BusReply(status=BusStatus.BUSY), 4409, "busy"),
        (BoardFailure(Code.BOARD_TIMEOUT, "board 3 did not answer"), 4502, "did not answer"),
        (BoardFailure(Code.BOARD_UNREACHABLE, "the agent is not there"), 4502, "not there"),
        (BusReply(status=BusStatus.LINK_FAILED, message="é" * 500), 4502, "é"),
    ],
)
async def test_what_goes_wrong_closes_with_a_reason(lab: Lab, url: str, reply: Any, code: int, word: str) -> None:
    async with stream(url) as ws:
        await ws.send(write(0, 1))
        assert await ws.recv() == WRITE_OK
        lab.bus.script = lambda headers, frame: reply if frame == read(0, 1) else None
        await ws.send(read(0, 2))
        await ws.send(read(0, 1))
        await ws.send(read(0, 3))
        assert len(words(await ws.recv())) == 2
        got, reason = await ending(ws)
        assert got == code
        assert word in reason
    await freed(lab.bus)
    assert lab.bus.verbs()[-1] == "close"


async def test_an_idle_stream_is_kept_and_notices_the_sessions_end() -> None:
    lab = Lab(stream_keep_s=0.05)
    lab.ledger.add(reserved(3))
    async with serving(lab) as url, stream(url) as ws:
        await until(lambda: lab.bus.verbs().count("keep") >= 2)
        lab.bus.script = lambda headers, frame: (
            BusReply(status=BusStatus.STALE_LEASE) if headers.verb is BusVerb.KEEP else None
        )
        code, reason = await ending(ws)
        assert code == 4502
        assert "session ended" in reason


async def test_a_client_that_vanishes_frees_the_stream(lab: Lab, url: str) -> None:
    lab.bus.delay_s = 0.1
    ws = await connect(f"{url}/fpga/3/stream", additional_headers={"X-API-Key": ADA}, proxy=None)
    await ws.send(read(0, 1))
    ws.transport.abort()
    await freed(lab.bus)


async def test_a_server_that_stops_frees_the_stream(lab: Lab) -> None:
    async with serving(lab) as url:
        ws = await connect(f"{url}/fpga/3/stream", additional_headers={"X-API-Key": ADA}, proxy=None)
        await ws.send(write(0, 1))
        assert await ws.recv() == WRITE_OK
    assert lab.bus.holder == ""
    assert (await ending(ws))[0] == 1012


async def refusal(url: str, fpga_id: object = 3, key: str = ADA, header: str = "X-API-Key") -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        async with stream(url, fpga_id, key, header):
            pass
    response = refused.value.response
    assert b'"detail"' in (response.body or b"")
    return response.status_code, (response.body or b"").decode()


async def test_refusals_before_the_upgrade(lab: Lab, url: str) -> None:
    assert (await refusal(url, key="nope"))[0] == 401
    assert (await refusal(url, header="X-Nothing"))[0] == 401
    assert (await refusal(url, fpga_id=4))[0] == 403
    assert (await refusal(url, fpga_id=9))[0] == 404
    assert (await refusal(url, fpga_id=0))[0] == 409
    assert (await refusal(url, fpga_id="x"))[0] == 422
    assert (await refusal(url, fpga_id=-1))[0] == 422
    assert (await refusal(url, fpga_id=10**9))[0] == 422
    lab.ledger.add(reserved(3, state=BoardState.LOST))
    assert (await refusal(url))[0] == 409
    lab.ledger.add(reserved(3, session=session("ada", 3, ttl_s=1)))
    lab.clock.at = session("ada", 3, ttl_s=1).expires_at + timedelta(seconds=1)
    status, body = await refusal(url)
    assert status == 409
    assert "ran out" in body
    assert lab.bus.seen == []
    lab.ledger.is_down = True
    assert (await refusal(url, key=BOB))[0] == 503


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (BusReply(status=BusStatus.STALE_LEASE), 409),
        (BusReply(status=BusStatus.LINK_FAILED, message="unplugged"), 502),
        (BusReply(status=BusStatus.UNKNOWN_BOARD), 503),
        (BoardFailure(Code.BOARD_UNREACHABLE, "gone"), 503),
        (BoardFailure(Code.BOARD_TIMEOUT, "slow"), 504),
    ],
)
async def test_agents_that_do_not_open(lab: Lab, url: str, reply: Any, status: int) -> None:
    lab.bus.script = lambda headers, frame: reply
    assert (await refusal(url))[0] == status


async def test_bearer_and_admin(lab: Lab, url: str) -> None:
    for key, header in ((f"Bearer {ADA}", "Authorization"), (ROOT, "X-API-Key")):
        async with stream(url, key=key, header=header) as ws:
            await ws.send(write(0, 1))
            assert await ws.recv() == WRITE_OK
        await freed(lab.bus)


async def test_a_stream_needs_the_scope_and_a_seat(lab: Lab) -> None:
    lab = Lab(websockets_max=2)
    lab.ledger.add(*(reserved(number) for number in range(3)))
    lab.ledger.add_key("reader", "ada", named_scopes=(Scope.READ,))
    lab.bus.script = lambda headers, frame: BusReply(status=BusStatus.OK)
    async with serving(lab) as url:
        status, body = await refusal(url, 0, key="reader")
        assert (status, "scope_missing" in body) == (403, True)
        async with stream(url, 0), stream(url, 1):
            status, body = await refusal(url, 2)
            assert (status, "too_many_websockets" in body) == (429, True)
        await until(lambda: not lab.shared.seats)
        async with stream(url, 2):
            assert len(lab.shared.seats) == 1


async def test_a_handshake_has_the_headers_of_every_answer(capfd: pytest.CaptureFixture[str]) -> None:
    """Accepted or refused; it counts as a request, and one with a wrong key as one failed attempt."""
    lab = Lab(limit_requests_per_minute=60, failed_attempts_max=3)
    lab.ledger.add(reserved(3), reserved(4, owner="bob"))
    told = {"x-request-id", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}

    async def answered(url: str, path: str, key: str = ADA) -> tuple[int, int]:
        headers = {"X-API-Key": key, "X-Request-ID": "mine"}
        try:
            async with connect(f"{url}{path}", additional_headers=headers, proxy=None) as ws:
                assert ws.response is not None
                found = ws.response
        except InvalidStatus as refused:
            found = refused.response
            assert b"message" in bytes(found.body or b"")
        assert told <= {name.lower() for name in found.headers}, path
        assert found.headers["X-Request-ID"] == "mine"
        return found.status_code, int(found.headers["X-RateLimit-Remaining"])

    async with serving(lab) as url:
        assert await answered(url, "/fpga/3/stream") == (101, 59)
        assert await answered(url, "/fpga/4/stream") == (403, 58)
        assert await answered(url, "/fpga/3/streem") == (404, 57)
        assert await answered(url, "/api/v1/jobs/x/stream") == (404, 56)
        assert await answered(url, f"/fpga/{'9' * 5000}/stream") == (422, 55)
        assert [(await answered(url, "/fpga/3/stream", "wrong"))[0] for _ in range(4)] == [401, 401, 401, 429]
        for _ in range(55):
            await lab.services.limiter.take(Rule("requests", 60, 60), f"key:{_key_of(lab)}")
        assert await answered(url, "/fpga/3/stream") == (429, 0)
    assert "handshake" not in capfd.readouterr().err  # uvicorn would say so of an application that left it undone


def _key_of(lab: Lab) -> object:
    return lab.ledger.key_views[digest(ADA.encode())].key_id


def test_reasons_fit_a_close_frame() -> None:
    assert clip("short") == "short"
    for reason in ("x" * 500, "é" * 500, "a" + "é" * 500):
        assert len(clip(reason).encode()) <= 123
        assert reason.startswith(clip(reason))
