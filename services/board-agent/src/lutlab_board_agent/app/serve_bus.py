"""Live bus traffic: who may talk to a board now, and the stream lock; exchanges then go down the board's lane."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping

import msgspec
import structlog

from lutlab_board_agent.app.bus_lane import QUEUE_EXCHANGES_MAX, BusLane
from lutlab_board_agent.app.ports import Answer, Commands, Door, Ticks
from lutlab_board_agent.app.repeats import Repeats, key_of
from lutlab_board_agent.app.seat import Seat
from lutlab_board_agent.domain import stream_lock
from lutlab_board_agent.domain.bridge import TOKEN_BYTES, Ticket
from lutlab_board_agent.domain.errors import DoorClosed, DoorRefused
from lutlab_board_agent.domain.fencing import BoardMemory, lease_refusal
from lutlab_board_agent.domain.stream_lock import StreamLock
from lutlab_board_agent.domain.usage import use_report_due
from lutlab_bus import stream
from lutlab_events.busmsg import BridgeWay, BusHeaders, BusReply, BusStatus, BusVerb, Lease
from lutlab_events.commands import ReportSessionUsed
from lutlab_events.signal_names import read_names

log = structlog.get_logger(__name__)

CARRIED = frozenset({BusVerb.EXCHANGE, BusVerb.BATCH})
"""What goes down the board's lane; a single one needs no stream of its own."""
TICKETS_MAX = 8
"""Tokens of one session, one a key; the oldest gives way."""
DOOR_REQUESTS_MAX = 4
"""Requests about pins that one board has at once."""
_SEEN = frozenset({BusVerb.PINS, BusVerb.SIGNALS})
"""What may be looked at without a session."""
_AT_THE_DOOR = _SEEN | {BusVerb.DRIVE, BusVerb.CAPTURE}
_OK = BusReply(status=BusStatus.OK)


class BoardBus:
    """The bus of one board.

    Args:
        bridge_host: where its TCP bridge listens, if the lab file gives it a port.
        door: asks boards without hardware about their pins.

    Attributes:
        seat: the board.
        lane: its exchanges; run `lane.run()` as a task.
        on_cut: called when all traffic of the session ends.
    """

    def __init__(
        self,
        seat: Seat,
        commands: Commands,
        ticks: Ticks,
        *,
        bridge_host: str = "127.0.0.1",
        door: Door | None = None,
    ) -> None:
        self.seat = seat
        self._door = door
        self._visits: set[asyncio.Task[None]] = set()
        self.on_cut: Callable[[], None] = _nobody
        self._bridge_host = bridge_host
        self._tickets: list[Ticket] = []
        self.lane = BusLane(seat, ticks, self._note_use)
        self._repeats = Repeats()
        self._commands = commands
        self._ticks = ticks
        self._lock: StreamLock | None = None
        self._use_reported_s: float | None = None
        self._use_report: asyncio.Task[None] | None = None

    def cut(self, status: BusStatus, why: str) -> None:
        """End all traffic of the session so far at once; see `BusLane.cut`."""
        self._lock = None
        self._use_reported_s = None
        if status is BusStatus.STALE_LEASE:
            self._tickets = []
        self.on_cut()
        self.lane.cut(status, why)

    async def handle(self, request: BusHeaders, frame: bytes, answer: Answer) -> None:
        """Answer a request, or queue it; waits for no exchange."""
        reply = self.submit(request, frame, answer)
        if reply is not None and reply.status is BusStatus.OK and request.verb in _AT_THE_DOOR:
            # A recording may wait for its trigger; other requests must not wait for that.
            reply = self._visit(request.verb, frame, answer)
        if reply is not None:
            await answer(reply)

    def admit(self, token: bytes) -> Ticket | None:
        """What the bridge may serve whoever shows this token under; None if it is not (or no more) valid."""
        admitting = [ticket for ticket in self._tickets if ticket.admits(token, self.seat.memory)]
        return admitting[0] if admitting else None

    def expel(self, ticket: Ticket) -> None:
        """Make a token worthless: its key is no longer good."""
        self._tickets = [each for each in self._tickets if each != ticket]

    def submit(self, request: BusHeaders, frame: bytes, answer: Answer) -> BusReply | None:
        """The immediate reply, None if the lane will answer."""
        if request.verb is BusVerb.STATS:
            return BusReply(status=BusStatus.OK, frame=json.dumps(self.seat.link_stats()).encode())
        if request.verb in _SEEN:
            return _OK
        refusal = lease_refusal(self.seat.memory, request.lease)
        if refusal is not None:
            return BusReply(status=BusStatus.STALE_LEASE, message=refusal)
        if request.verb is BusVerb.BRIDGE:
            return self._way(request.lease, request.key)
        if request.request_id and request.verb in CARRIED:
            key = key_of(request.request_id, frame)
            before = self._repeats.reply(key)
            if before is not None or self._repeats.join(key, answer):
                return before
            reply = self._begin(request, frame, self._repeats.begin(key, answer))
            if reply is not None:
                self._repeats.drop(key)
            return reply
        return self._begin(request, frame, answer)

    def _begin(self, request: BusHeaders, frame: bytes, answer: Answer) -> BusReply | None:
        if not self.seat.attached:
            return BusReply(status=BusStatus.LINK_FAILED, message="the board is unplugged; nothing was done")
        if request.verb is BusVerb.CLOSE:
            self._lock = stream_lock.drop(self._lock, request.stream_id)
            return _OK
        if request.verb in _AT_THE_DOOR:
            return _OK
        busy = self._hold(request)
        if busy is not None or request.verb not in CARRIED:
            return busy or _OK
        is_batch = request.verb is BusVerb.BATCH
        if not is_batch and len(frame) > stream.REQUEST_BYTES_MAX:
            return BusReply(status=BusStatus.OK, frame=stream.ERROR_REPLY)
        if not self.lane.submit(frame, answer, is_batch=is_batch):
            message = f"{QUEUE_EXCHANGES_MAX} exchanges already wait for this board; send fewer at once"
            return BusReply(status=BusStatus.BUSY, message=message)
        return None

    def _way(self, lease: Lease, key: str) -> BusReply:
        """Where the board's bridge is and what opens it under this lease for this key."""
        port = self.seat.board.bridge_port
        if port is None:
            message = "this board has no TCP bridge; its lab file may give it a bridge_port"
            return BusReply(status=BusStatus.NOT_OFFERED, message=message)
        ticket = next((each for each in self._tickets if (each.lease, each.key) == (lease, key)), None)
        if ticket is None:
            ticket = Ticket(secrets.token_bytes(TOKEN_BYTES), lease, key)
            others = [each for each in self._tickets if each.lease == lease]
            self._tickets = [*others[1 - TICKETS_MAX :], ticket]
        way = BridgeWay(host=self._bridge_host, port=port, token=ticket.token.hex())
        return BusReply(status=BusStatus.OK, frame=msgspec.json.encode(way))

    def _visit(self, verb: BusVerb, frame: bytes, answer: Answer) -> BusReply | None:
        if len(self._visits) >= DOOR_REQUESTS_MAX:
            return BusReply(status=BusStatus.BUSY, message=f"{DOOR_REQUESTS_MAX} requests already look at its pins")

        async def visit() -> None:
            await answer(await self._at_the_door(verb, frame))

        task = asyncio.create_task(visit())
        self._visits.add(task)
        task.add_done_callback(self._visits.discard)
        return None

    async def _at_the_door(self, verb: BusVerb, frame: bytes) -> BusReply:
        """Ask at the side door of a board without hardware."""
        if self.seat.board.control is None or self._door is None:
            message = f"board {self.seat.board.key} is real: its pins can only be seen with the eye"
            return BusReply(status=BusStatus.REFUSED, message=message)
        try:
            return BusReply(status=BusStatus.OK, frame=await self._door.ask(self.seat.board.control.path, verb, frame))
        except DoorRefused as error:
            return BusReply(status=BusStatus.REFUSED, message=str(error))
        except DoorClosed as error:
            return BusReply(status=BusStatus.LINK_FAILED, message=str(error))

    async def name_signals(self, bitstream: bytes) -> None:
        """Tell a board without hardware what the signals of its new design are called, where the build kept that."""
        if self.seat.board.control is None or self._door is None:
            return
        names = read_names(bitstream)
        if not names:
            return
        try:
            await self._door.tell_names(self.seat.board.control.path, names)
        except (DoorRefused, DoorClosed) as error:
            log.warning("names_not_told", board_key=self.seat.board.key, error=str(error))

    def _hold(self, request: BusHeaders) -> BusReply | None:
        """Take or renew the stream lock for a request; the refusal if another stream has the board."""
        now_s = self._ticks()
        if not request.stream_id:
            if request.verb not in CARRIED:
                return BusReply(status=BusStatus.BAD_REQUEST, message=f"{request.verb.value} needs a stream id")
            if stream_lock.holder(self._lock, now_s) is None:
                return None
        else:
            lock = stream_lock.touch(self._lock, request.stream_id, now_s)
            if lock is not None:
                self._lock = lock
                return None
        return BusReply(status=BusStatus.BUSY, message="another stream is open on this board; close it first")

    def _note_use(self) -> None:
        memory, now_s = self.seat.memory, self._ticks()
        if memory.session_id is None or not use_report_due(self._use_reported_s, now_s, memory.session_ttl_s):
            return
        if self._use_report is not None and not self._use_report.done():
            return  # NATS is away: the report that waits says the same
        self._use_reported_s = now_s
        self._use_report = asyncio.ensure_future(self._report_use(memory))

    async def _report_use(self, memory: BoardMemory) -> None:
        assert memory.fpga_id is not None and memory.session_id is not None
        report = ReportSessionUsed(fpga_id=memory.fpga_id, session_id=memory.session_id, epoch=memory.epoch)
        await self._commands.send(report)

    async def close(self) -> None:
        """Answer what waits, close the line, and drop a report that could not be sent."""
        self.cut(BusStatus.LINK_FAILED, "the board agent is shutting down")
        if self._use_report is not None:
            self._use_report.cancel()
            await asyncio.gather(self._use_report, return_exceptions=True)


def _nobody() -> None:
    """Nobody wants to know."""


class BusService:
    """Routes bus requests to the board they name by the ledger's number, which the agent learns with the first load."""

    def __init__(self, buses: Mapping[str, BoardBus]) -> None:
        self._buses = buses

    async def handle(self, headers: Mapping[str, str] | None, frame: bytes, answer: Answer) -> None:
        """Answer one request or see that it will be answered."""
        try:
            request = BusHeaders.from_headers(headers)
        except ValueError as error:
            await answer(BusReply(status=BusStatus.BAD_REQUEST, message=str(error)))
            return
        for bus in self._buses.values():
            if bus.seat.memory.fpga_id == request.lease.fpga_id:
                await bus.handle(request, frame, answer)
                return
        message = f"this agent has no board with number {request.lease.fpga_id}"
        await answer(BusReply(status=BusStatus.UNKNOWN_BOARD, message=message))
