"""`WS /fpga/{id}/stream`: frames in, frames out, in order, several under way at once; one connection a board."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from lutlab_api.app.cancelling import end
from lutlab_api.app.leasing import bus_problem, lease_of
from lutlab_api.app.ports import Bus, Clock, Ids
from lutlab_api.app.reads import Reads
from lutlab_api.domain.errors import ApiError, Code
from lutlab_api.domain.views import Caller
from lutlab_bus.stream import ERROR_REPLY
from lutlab_events.busmsg import BusHeaders, BusReply, BusStatus, BusVerb

log = structlog.get_logger(__name__)

CLOSE_TEXT = 1003
CLOSE_KEY = 4401
CLOSE_BUSY = 4409
CLOSE_LINK_FAILED = 4502
REASON_BYTES_MAX = 123
"""What a WebSocket close frame has room for."""
OPEN_TIMEOUT_S = 5.0
Refusal = Callable[[], Awaitable[str | None]]
"""Asks why a stream may not go on, None while it may."""
CLOSE_TIMEOUT_S = 2.0
REFUSAL_TIMEOUT_S = 3.0
"""Short enough that the stream is renewed in time however long the database takes."""


class Socket(Protocol):
    """An accepted WebSocket."""

    async def receive(self) -> bytes | str | None:
        """The next message; None when the other side is gone."""
        ...

    async def send(self, frame: bytes) -> None:
        """Send one binary message."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close with a code and a reason."""
        ...


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    """Bounds of a stream.

    Attributes:
        in_flight_max: requests sent to the agent whose replies are not yet with the client.
        frame_bytes_max: longest request passed on; a longer one is answered with an error frame.
        reply_timeout_s: how long the agent may take for one request.
        keep_s: how often the agent is told that the stream is still there.
    """

    in_flight_max: int
    frame_bytes_max: int
    reply_timeout_s: float
    keep_s: float


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Why a stream ends: a close code and reason, or None where the client has already gone."""

    code: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class OpenStream:
    """A stream that may be served; `busy` where another connection has it."""

    agent_id: str
    headers: BusHeaders
    busy: str | None = None

    @property
    def fpga_id(self) -> int:
        """The board."""
        return self.headers.lease.fpga_id

    def verb(self, verb: BusVerb) -> BusHeaders:
        """Headers for another request of this stream."""
        return BusHeaders(verb=verb, lease=self.headers.lease, stream_id=self.headers.stream_id)


class Streams:
    """Opens and serves streams."""

    def __init__(self, *, reads: Reads, bus: Bus, clock: Clock, ids: Ids, limits: StreamLimits) -> None:
        self._reads = reads
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._limits = limits

    async def open(self, caller: Caller, fpga_id: int) -> OpenStream:
        """Ask the board's agent for its stream, before the WebSocket is accepted.

        Raises:
            ApiError: as for a run; the upgrade is to be refused with its HTTP status.
        """
        board = await self._reads.board(fpga_id)
        lease = lease_of(board, caller, self._clock.now())
        headers = BusHeaders(verb=BusVerb.OPEN, lease=lease, stream_id=self._ids.new().hex)
        opened = OpenStream(agent_id=board.agent_id, headers=headers)
        reply = await self._bus.request(board.agent_id, headers, b"", OPEN_TIMEOUT_S)
        problem = bus_problem(fpga_id, reply)
        if problem is None:
            return opened
        if reply.status is BusStatus.BUSY:
            return replace(opened, busy=problem.message)
        raise problem

    async def serve(self, stream: OpenStream, socket: Socket, refusal: Refusal | None = None) -> None:
        """Serve an accepted WebSocket until either side ends it.

        Args:
            refusal: asked now and then whether its client may still use the board: a key may be revoked meanwhile.
        """
        if stream.busy is not None:
            await socket.close(CLOSE_BUSY, clip(stream.busy))
            return
        bound = log.bind(fpga_id=stream.fpga_id, stream_id=stream.headers.stream_id)
        bound.info("stream_opened")
        ending = Ending()
        try:
            ending = await _Relay(stream, socket, self._bus, self._limits, refusal).run()
            if ending.code is not None:
                await socket.close(ending.code, clip(ending.reason))
        finally:
            await asyncio.shield(self._give_back(stream))
            bound.info("stream_closed", code=ending.code, reason=ending.reason)

    async def give_back(self, stream: OpenStream) -> None:
        """Let go of a stream that was opened but never served."""
        if stream.busy is None:
            await self._give_back(stream)

    async def _give_back(self, stream: OpenStream) -> None:
        with contextlib.suppress(ApiError):  # an agent that does not answer frees it by itself after STREAM_LOCK_S
            await self._bus.request(stream.agent_id, stream.verb(BusVerb.CLOSE), b"", CLOSE_TIMEOUT_S)


def clip(reason: str) -> str:
    """`reason`, as much of it as fits into a close frame."""
    return reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore")


class _Relay:
    """The three loops of a served stream: client to agent, replies to client, keep-alive. The first to end ends all."""

    def __init__(
        self, stream: OpenStream, socket: Socket, bus: Bus, limits: StreamLimits, refusal: Refusal | None
    ) -> None:
        self._refusal = refusal
        self._stream = stream
        self._socket = socket
        self._bus = bus
        self._limits = limits
        self._exchange = stream.verb(BusVerb.EXCHANGE)
        self._replies: asyncio.Queue[asyncio.Task[BusReply]] = asyncio.Queue(limits.in_flight_max)
        self._tasks: set[asyncio.Task[BusReply]] = set()

    async def run(self) -> Ending:
        """Serve until the end."""
        loops = [asyncio.create_task(loop()) for loop in (self._requests, self._answers, self._keep)]
        try:
            done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            return next(loop for loop in loops if loop in done).result()
        finally:
            await end([*loops, *self._tasks])

    async def _requests(self) -> Ending:
        """Pass requests on as they come; waits while `in_flight_max` replies are outstanding."""
        while True:
            message = await self._socket.receive()
            if message is None:
                return Ending()
            if isinstance(message, str):
                return Ending(code=CLOSE_TEXT, reason="this stream carries binary frames; a text frame was received")
            task = asyncio.create_task(self._ask(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await self._replies.put(task)

    async def _ask(self, frame: bytes) -> BusReply:
        if len(frame) > self._limits.frame_bytes_max:
            return BusReply(status=BusStatus.OK, frame=ERROR_REPLY)
        return await self._bus.request(self._stream.agent_id, self._exchange, frame, self._limits.reply_timeout_s)

    async def _answers(self) -> Ending:
        """Send replies in the order of their requests."""
        while True:
            task = await self._replies.get()
            try:
                reply = await task
            except ApiError as error:
                return _ending(error)
            problem = bus_problem(self._stream.fpga_id, reply)
            if problem is not None:
                return _ending(problem)
            await self._socket.send(reply.frame)

    async def _keep(self) -> Ending:
        """Renew the stream; notices the session's end on an idle stream too."""
        while True:
            await asyncio.sleep(self._limits.keep_s)
            try:
                headers = self._stream.verb(BusVerb.KEEP)
                reply = await self._bus.request(self._stream.agent_id, headers, b"", OPEN_TIMEOUT_S)
            except ApiError as error:
                return _ending(error)
            problem = bus_problem(self._stream.fpga_id, reply)
            if problem is not None:
                return _ending(problem)
            refused = await self._refused()
            if refused is not None:
                return Ending(code=CLOSE_KEY, reason=refused)

    async def _refused(self) -> str | None:
        """Why the client may not go on; None while it may, or while nobody tells in time."""
        if self._refusal is None:
            return None
        try:
            async with asyncio.timeout(REFUSAL_TIMEOUT_S):
                return await self._refusal()
        except TimeoutError:
            return None


def _ending(error: ApiError) -> Ending:
    code = CLOSE_BUSY if error.code == Code.FPGA_BUSY else CLOSE_LINK_FAILED
    return Ending(code=code, reason=error.message)
