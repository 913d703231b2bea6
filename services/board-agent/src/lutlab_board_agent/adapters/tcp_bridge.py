"""The raw TCP bridge: a port for each board that the lab file gives one, for clients that speak the stream's frames.

One connection is one stream of its board, with the same lock, lease and lane as a WebSocket's. It ends at once when the
session does: nothing is read or written from then on, and what was not sent never will be. The key that it was opened
with is asked for at the beginning and every `KEEP_S`: once that is no longer good, it ends, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable
from functools import partial
from uuid import UUID

import structlog

from lutlab_board_agent.app.ports import Ids, Keys
from lutlab_board_agent.app.serve_bus import BoardBus
from lutlab_board_agent.domain import bridge
from lutlab_board_agent.domain.bridge import Ticket
from lutlab_board_agent.domain.errors import BridgePortTaken
from lutlab_bus import stream
from lutlab_events.busmsg import STREAM_LOCK_S, BusHeaders, BusReply, BusStatus, BusVerb, Lease

log = structlog.get_logger(__name__)

CONNECTIONS_MAX = 8
"""Connections of one board, those without a token yet included; one more is closed at once."""
TOKEN_TIMEOUT_S = 5.0
IN_FLIGHT_MAX = 64
"""Requests of a connection without an answer; more are not read from its socket."""
SEND_BYTES_MAX = 1 << 18
"""Replies that a client does not take; then its requests wait."""
KEEP_S = STREAM_LOCK_S / 3
KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""A client that vanished without a word must not hold the board: it is noticed after a minute."""


class TcpBridges:
    """Listens for all boards that have a port.

    Args:
        buses: all boards of this agent.
        host: address to listen at.
        ids: names for the streams.
        keys: asked whether connections may still go on.
    """

    def __init__(self, buses: Iterable[BoardBus], *, host: str, ids: Ids, keys: Keys) -> None:
        self._buses = [bus for bus in buses if bus.seat.board.bridge_port is not None]
        self._host = host
        self._ids = ids
        self._keys = keys
        self._servers: list[asyncio.Server] = []
        self._open: dict[_Connection, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Listen. Raises: BridgePortTaken."""
        for bus in self._buses:
            port = bus.seat.board.bridge_port
            try:
                server = await asyncio.start_server(
                    partial(self._connected, bus), self._host, port, limit=stream.REQUEST_BYTES_MAX
                )
            except OSError as error:
                raise BridgePortTaken(
                    f"board {bus.seat.board.key!r}: its bridge cannot listen at {self._host}:{port}: {error}; give it "
                    "another bridge_port, or none"
                ) from error
            self._servers.append(server)
            bus.on_cut = partial(self._cut, bus)
            log.info("bridge_listening", board_key=bus.seat.board.key, host=self._host, port=port)

    async def stop(self) -> None:
        """Close everything."""
        for server in self._servers:
            server.close()
        tasks = list(self._open.values())
        for connection in list(self._open):
            connection.abort()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cut(self, bus: BoardBus) -> None:
        for connection in [each for each in self._open if each.bus is bus]:
            connection.abort()

    def _connected(self, bus: BoardBus, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if sum(each.bus is bus for each in self._open) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        connection = _Connection(bus, reader, writer, self._ids.new(), self._keys)
        task = asyncio.get_running_loop().create_task(connection.run())
        self._open[connection] = task
        task.add_done_callback(lambda _: self._open.pop(connection))


class _Connection:
    """One client."""

    def __init__(
        self, bus: BoardBus, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream_id: UUID, keys: Keys
    ) -> None:
        self.bus = bus
        self._keys = keys
        self._reader = reader
        self._writer = writer
        self._stream_id = f"tcp-{stream_id.hex}"
        self._replies: asyncio.Queue[asyncio.Future[BusReply]] = asyncio.Queue(IN_FLIGHT_MAX)
        self._tasks: list[asyncio.Task[None]] = []
        self._log = log.bind(board_key=bus.seat.board.key, peer=writer.get_extra_info("peername"))

    def abort(self) -> None:
        """End it now; bytes that wait to be sent are dropped."""
        self._writer.transport.abort()
        for task in self._tasks:
            task.cancel()

    async def run(self) -> None:
        """Serve it until either side ends it. Never raises."""
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                self._set_up()
                ticket = await self._admit()
                if ticket is not None:
                    await self._serve(ticket)
        except Exception:
            self._log.exception("bridge_connection_failed")
        finally:
            self._writer.close()

    def _set_up(self) -> None:
        self._writer.transport.set_write_buffer_limits(SEND_BYTES_MAX)
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)

    async def _admit(self) -> Ticket | None:
        """Take the token and the board's stream; None, after an error frame, if either is refused."""
        async with asyncio.timeout(TOKEN_TIMEOUT_S):
            head = await self._reader.readexactly(bridge.HEAD_BYTES)
            known = head == bridge.TOKEN_HEAD
            token = await self._reader.readexactly(bridge.TOKEN_BYTES) if known else b""
        ticket = self.bus.admit(token)
        if ticket is None:
            self._log.warning("bridge_refused", why="no valid token came first")
        elif (refused := await self._refusal(ticket)) is not None:
            self._log.warning("bridge_refused", why=refused)
        elif (held := await self._ask(ticket.lease, BusVerb.OPEN)).status is BusStatus.OK:
            self._writer.write(bridge.ACCEPTED)
            return ticket
        else:
            self._log.info("bridge_refused", why=held.message)
        self._writer.write(stream.ERROR_REPLY)
        return None

    async def _refusal(self, ticket: Ticket) -> str | None:
        """Why the key that this was opened with is no longer good; the token is then worth nothing either."""
        refused = await self._keys.refusal(ticket.key) if ticket.key else None
        if refused is not None:
            self.bus.expel(ticket)
        return refused

    async def _serve(self, ticket: Ticket) -> None:
        lease = ticket.lease
        self._log.info("bridge_opened", session_id=str(lease.session_id))
        loop = asyncio.get_running_loop()
        loops = (self._requests(lease), self._answers(), self._keep(ticket))
        self._tasks = [loop.create_task(each) for each in loops]
        try:
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled() and (fault := task.exception()) is not None:
                    raise fault
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._ask(lease, BusVerb.CLOSE)
            self._log.info("bridge_closed")

    async def _requests(self, lease: Lease) -> None:
        """Pass requests on as they come, until the client ends; then its answers are waited for."""
        while True:
            try:
                head = await self._reader.readexactly(bridge.HEAD_BYTES)
                size = bridge.body_bytes(head)
                if size is None:
                    break
                frame = head + await self._reader.readexactly(size)
            except asyncio.IncompleteReadError:
                await self._replies.join()
                return
            future = self._submit(lease, BusVerb.EXCHANGE, frame)
            await self._replies.put(future)
        # Whatever follows such a head, nobody can tell where the next request begins.
        await self._replies.join()
        self._writer.write(stream.ERROR_REPLY)

    async def _answers(self) -> None:
        """Send replies in the order of their requests; anything but a reply ends the connection."""
        while True:
            reply = await (await self._replies.get())
            if reply.status is not BusStatus.OK:
                self._log.info("bridge_ended", status=reply.status.value, why=reply.message)
                self._writer.transport.abort()
                return
            self._writer.write(reply.frame)
            self._replies.task_done()
            await self._writer.drain()

    async def _keep(self, ticket: Ticket) -> None:
        """Hold the board's stream while the client says nothing; ends when the agent, or the key's API, refuses."""
        while True:
            await asyncio.sleep(KEEP_S)
            if (await self._ask(ticket.lease, BusVerb.KEEP)).status is not BusStatus.OK:
                return
            refused = await self._refusal(ticket)
            if refused is not None:
                self._log.info("bridge_ended", why=refused)
                self._writer.transport.abort()
                return

    async def _ask(self, lease: Lease, verb: BusVerb) -> BusReply:
        return await self._submit(lease, verb, b"")

    def _submit(self, lease: Lease, verb: BusVerb, frame: bytes) -> asyncio.Future[BusReply]:
        """A request under the lease of the token; every single one is checked against the board's present lease."""
        future: asyncio.Future[BusReply] = asyncio.get_running_loop().create_future()

        async def answer(reply: BusReply) -> None:
            if not future.done():
                future.set_result(reply)

        request = BusHeaders(verb=verb, lease=lease, stream_id=self._stream_id)
        now = self.bus.submit(request, frame, answer)
        if now is not None:
            future.set_result(now)
        return future
