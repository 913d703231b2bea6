"""The lane of one board: exchanges wait in order of arrival; what waits together travels as one batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from lutlab_board_agent.app.ports import Answer, Ticks
from lutlab_board_agent.app.seat import Seat
from lutlab_bus import BusFault, BusLink, MalformedRequest, Operation, Result, batch, stream
from lutlab_events.busmsg import BusReply, BusStatus

log = structlog.get_logger(__name__)

QUEUE_EXCHANGES_MAX = 256
"""Exchanges that may wait for one board."""
BATCH_WORDS_MAX = 2048
"""Words of one batch: enough to hide the line's latency, little enough for a slow simulated board to finish in time."""
EXECUTE_TIMEOUT_S = 10.0
"""What one batch may take; the slowest simulated design needs about 5 s for a full one."""
LINK_WAIT_S = 2.0
"""How long an exchange waits for a line that ended to be opened again."""
QUEUED_S_MAX = 10.0
"""An exchange that waited longer is not carried out: whoever asked has given up, and must not be surprised later."""


@dataclass(slots=True)
class Exchange:
    """One request and the way its answer goes.

    Attributes:
        frame: one message of the public stream, or of `lutlab_bus.batch` if `is_batch`.
        answered: makes sure that there is only one answer.
        operations: what it asks for, once decoded; none if it is malformed, and `complaint` says why.
    """

    frame: bytes
    answer: Answer
    arrived_s: float
    is_batch: bool = False
    answered: bool = False
    operations: tuple[Operation, ...] = ()
    complaint: str = ""

    def decode(self, space_words: int) -> None:
        """Look at the frame; for a target with this many words."""
        try:
            if self.is_batch:
                self.operations = tuple(batch.decode(self.frame, space_words=space_words))
            else:
                self.operations = (stream.decode_request(self.frame, space_words=space_words),)
        except MalformedRequest as error:
            self.operations, self.complaint = (), str(error)

    def reply(self, results: list[Result]) -> BusReply:
        """The answer once it was carried out."""
        if not self.is_batch:
            good = [stream.encode_reply(self.operations[0], result) for result in results]
            return BusReply(status=BusStatus.OK, frame=good[0] if good else stream.ERROR_REPLY)
        if self.complaint:
            return BusReply(status=BusStatus.BAD_REQUEST, message=f"{self.complaint}; nothing was done")
        return BusReply(status=BusStatus.OK, frame=batch.encode_results(results))


class BusLane:
    """Carries out the exchanges of one board.

    Args:
        seat: the board.
        ticks: a monotonic clock.
        used: called after each batch that worked.
    """

    def __init__(self, seat: Seat, ticks: Ticks, used: Callable[[], None]) -> None:
        self._seat = seat
        self._ticks = ticks
        self._used = used
        self._waiting: deque[Exchange] = deque()
        self._running: list[Exchange] = []
        self._wake = asyncio.Event()
        self._farewells: set[asyncio.Task[None]] = set()

    def submit(self, frame: bytes, answer: Answer, *, is_batch: bool = False) -> bool:
        """Queue an exchange; False if the queue is full, and nothing was done."""
        if len(self._waiting) >= QUEUE_EXCHANGES_MAX:
            return False
        self._waiting.append(Exchange(frame, answer, self._ticks(), is_batch))
        self._wake.set()
        return True

    def cut(self, status: BusStatus, why: str) -> None:
        """Close the line at once and answer everything under way with `status`. Nothing of it is sent after this."""
        self._seat.disconnect()
        doomed = [*self._running, *self._waiting]
        self._running = []
        self._waiting.clear()
        if doomed:
            log.info("bus_traffic_cut", board_key=self._seat.board.key, exchanges=len(doomed), why=why)
            farewell = asyncio.ensure_future(_answer_all(doomed, BusReply(status=status, message=why)))
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)

    async def run(self) -> None:
        """Work for ever; cancel it to stop."""
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            taken = self._take()
            self._running = taken
            try:
                await self._carry_out(taken)
            except Exception as error:
                # A defect must not silence the board for good: say so, and go on with the next ones.
                log.exception("bus_batch_failed", board_key=self._seat.board.key)
                await _answer_all(taken, _failed(f"the agent failed: {error!r}"))
            finally:
                self._running = []

    def _take(self) -> list[Exchange]:
        """The exchanges that travel together next, decoded; a batch travels alone, since it may take its time."""
        taken: list[Exchange] = []
        words = 0
        link = self._seat.link
        space_words = 1 << link.info.address_bits if link is not None else stream.SPACE_WORDS
        while self._waiting:
            exchange = self._waiting[0]
            exchange.decode(space_words)
            words += sum(operation.count for operation in exchange.operations)
            if taken and (words > BATCH_WORDS_MAX or exchange.is_batch or taken[0].is_batch):
                break
            if exchange.complaint:
                log.info("bus_request_malformed", board_key=self._seat.board.key, error=exchange.complaint)
            taken.append(self._waiting.popleft())
        return taken

    async def _carry_out(self, taken: list[Exchange]) -> None:
        oldest_s = self._ticks() - taken[0].arrived_s
        if oldest_s > QUEUED_S_MAX:
            # Before the first await: a cut must find every exchange either here or there.
            self._waiting.extendleft(reversed(taken[1:]))
            self._running = taken[:1]
            await _answer_all(taken[:1], _failed(f"the board was busy for {oldest_s:.1f} s; nothing was done"))
            return
        try:
            link = await self._ready_link()
            if self._running is not taken:
                return  # cut while waiting for the link: it now belongs to another load
            operations = [operation for exchange in taken for operation in exchange.operations]
            results = iter(await link.execute(operations, EXECUTE_TIMEOUT_S) if operations else ())
        except (BusFault, OSError) as fault:
            if self._running is not taken:
                return  # cut: `cut` answers
            log.warning("bus_link_failed", board_key=self._seat.board.key, error=str(fault))
            self._seat.doubt.set()
            await _answer_all(taken, _failed(f"{fault}; operations may or may not have run"))
            return
        replies = [exchange.reply([next(results) for _ in exchange.operations]) for exchange in taken]
        if self._running is not taken:
            return
        self._used()
        for exchange, reply in zip(taken, replies, strict=True):
            await _answer(exchange, reply)

    async def _ready_link(self) -> BusLink:
        """The open link. The line may have ended since its last use; the watch opens it again if the board is there."""
        if self._seat.link is None:
            self._seat.doubt.set()
            try:
                async with asyncio.timeout(LINK_WAIT_S):
                    await self._seat.linked.wait()
            except TimeoutError:
                pass
        if self._seat.link is None:
            raise SerialClosed(f"the serial line of board {self._seat.board.key} is closed and could not be opened yet")
        return self._seat.link


class SerialClosed(BusFault):
    """The line is closed just now."""

    code = "link_lost"


def _failed(message: str) -> BusReply:
    return BusReply(status=BusStatus.LINK_FAILED, message=message)


async def _answer(exchange: Exchange, reply: BusReply) -> None:
    if not exchange.answered:
        exchange.answered = True
        await exchange.answer(reply)


async def _answer_all(exchanges: list[Exchange], reply: BusReply) -> None:
    for exchange in exchanges:
        await _answer(exchange, reply)
