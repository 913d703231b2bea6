"""A link to one board over a byte stream: opens, executes, and finds its way back after anything that goes wrong.

A link is *in step* when no request is unanswered. Whatever interrupts an exchange (a timeout, a cancelled task, a bad
reply) leaves it out of step, and the next use says hello until the reply to that very hello comes; everything before is
stale and dropped. Sync bytes before each hello but the first end whatever the bridge was in the middle of. None of this
depends on the bridge's clock, which in a simulated board is not ours.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from lutlab_bus import wire
from lutlab_bus.errors import LinkLost, LinkTimeout, ProtocolFault
from lutlab_bus.framer import Framer, Limits, Operation
from lutlab_bus.hello import HELLO_REPLY_BYTES, BoardInfo, encode_hello, find_hello, sync_bytes
from lutlab_bus.operations import Result

READ_BYTES = 65_536
"""Most bytes taken from the port at once."""
OPEN_TIMEOUT_S = 10.0
HELLO_PATIENCE_S = 0.1
"""How long the first hello may go unanswered while nothing else arrives either; doubles with each attempt."""
HELLO_PATIENCE_MAX_S = 2.0


class SerialPort(Protocol):
    """The byte stream to a board; the agent's adapter and `asyncio` streams (`StreamPort`) fit.

    A port keeps reading in the background and holds at least `framer.REPLY_BYTES_MAX` bytes for `read`. The link never
    closes it. A failure is an `OSError`.
    """

    def write(self, data: bytes) -> None:
        """Queue bytes for sending; does not wait."""
        ...

    async def drain(self) -> None:
        """Wait until there is room for more."""
        ...

    async def read(self, limit_bytes: int) -> bytes:
        """Wait for bytes: one to `limit_bytes` of them, or none if the port has ended. Cancelling it loses none."""
        ...


@dataclass(frozen=True, slots=True)
class StreamPort:
    """A `SerialPort` over a pair of asyncio streams.

    Args:
        reader: with a `limit` of at least `framer.REPLY_BYTES_MAX` / 2, as is asyncio's default.
        writer: its counterpart.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def drain(self) -> None:
        await self.writer.drain()

    async def read(self, limit_bytes: int) -> bytes:
        return await self.reader.read(limit_bytes)


@dataclass(slots=True)
class LinkCounters:
    """Totals since the link was opened.

    Attributes:
        frames: requests that were answered, hellos excluded.
        bytes_sent, bytes_received: everything on the line.
        bytes_dropped: stale or unintelligible bytes among those received.
        resyncs: times the link was brought into step, opening included.
        timeouts: calls that ran out of time.
        protocol_faults: replies that could not be right.
    """

    frames: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    bytes_dropped: int = 0
    resyncs: int = 0
    timeouts: int = 0
    protocol_faults: int = 0


class BusLink:
    """The host's end of the line to one board. Use `open`; calls from several tasks take turns.

    Attributes:
        counters: what happened so far.
    """

    def __init__(self, port: SerialPort) -> None:
        self._port = port
        self._lock = asyncio.Lock()
        self._info: BoardInfo | None = None
        self._in_step = False
        # A random start makes it unlikely that an earlier user's unread hello has the tag of ours.
        self._tag = secrets.randbelow(wire.TAG_MODULUS)
        self.counters = LinkCounters()

    @classmethod
    async def open(cls, port: SerialPort, *, timeout_s: float = OPEN_TIMEOUT_S) -> Self:
        """Take over a port, drop what an earlier user left behind, and say hello.

        Raises:
            LinkTimeout: nobody answered. LinkLost: the port ended. ProtocolMismatch: another protocol version.
        """
        link = cls(port)
        await link.hello(timeout_s)
        return link

    @property
    def info(self) -> BoardInfo:
        """What the latest hello told."""
        if self._info is None:
            raise LinkLost("no hello was answered yet; open the link first")
        return self._info

    @property
    def in_step(self) -> bool:
        """No request is unanswered; if False, the next use resynchronises first."""
        return self._in_step

    async def hello(self, timeout_s: float = OPEN_TIMEOUT_S) -> BoardInfo:
        """Ask the bitstream who it is. Also the way to learn about a board that was reprogrammed.

        Raises:
            LinkTimeout, LinkLost, ProtocolMismatch: as for `open`.
        """
        try:
            async with asyncio.timeout(timeout_s), self._lock:
                return await self._synchronise()
        except TimeoutError:
            raise self._timed_out(f"no answer to hello within {timeout_s:g} s") from None

    async def execute(self, operations: Sequence[Operation], timeout_s: float) -> list[Result]:
        """Run operations in order, pipelined.

        An operation that fails on the bus does not stop the ones after it.

        Args:
            operations: at most `framer.OPERATIONS_MAX`.
            timeout_s: for everything: waiting for the link, a resync if one is due, the transfer itself.

        Returns:
            One result per operation.

        Raises:
            InvalidOperation: too many operations; nothing was sent.
            LinkTimeout, LinkLost, ProtocolFault: operations may or may not have run.
            ProtocolMismatch: see `open`; nothing was sent.
        """
        try:
            async with asyncio.timeout(timeout_s), self._lock:
                info = self.info if self._in_step else await self._synchronise()
                return await self._exchange(operations, info.limits)
        except TimeoutError:
            raise self._timed_out(f"{len(operations)} operations not done within {timeout_s:g} s") from None

    async def _exchange(self, operations: Sequence[Operation], limits: Limits) -> list[Result]:
        framer = Framer(operations, limits, self._tag)
        self._in_step = False
        try:
            while not framer.done:
                await self._send(framer.data_to_send())
                framer.receive(await self._receive())
        except ProtocolFault:
            self.counters.protocol_faults += 1
            raise
        finally:
            self._tag = framer.next_tag
            self.counters.frames += framer.frames
        self._in_step = True
        return framer.results()

    async def _synchronise(self) -> BoardInfo:
        """Say hello until the reply to the latest hello comes. The caller bounds the time."""
        self._in_step = False
        patience_s, attempt, ours = HELLO_PATIENCE_S, 0, set[int]()
        while True:
            self._tag = (self._tag + 1) % wire.TAG_MODULUS
            ours.add(self._tag)
            await self._send(sync_bytes(self._info, attempt) + encode_hello(self._tag))
            info = await self._await_hello(self._tag, ours, patience_s)
            if info is not None:
                self._tag = (self._tag + 1) % wire.TAG_MODULUS
                self._info = info
                self._in_step = True
                self.counters.resyncs += 1
                return info
            attempt += 1
            patience_s = min(2 * patience_s, HELLO_PATIENCE_MAX_S)

    async def _await_hello(self, tag: int, ours: set[int], patience_s: float) -> BoardInfo | None:
        """Read until the reply to hello `tag`, or until nothing arrived for `patience_s`.

        A reply to one of the earlier hellos tells that the board listens but is slow; then the latest will be answered
        too, and another hello would only make the wait longer.
        """
        received = bytearray()
        patience: float | None = patience_s
        while True:
            try:
                async with asyncio.timeout(patience):
                    received += await self._receive()
            except TimeoutError:
                self.counters.bytes_dropped += len(received)
                return None
            while (found := find_hello(received)) is not None:
                if found.tag == tag:
                    self.counters.bytes_dropped += len(received) - HELLO_REPLY_BYTES
                    return found.info
                if found.tag in ours:
                    patience = None
                self._drop(received, found.end)
            self._drop(received, len(received) - HELLO_REPLY_BYTES)  # a reply may have begun in what remains

    def _drop(self, received: bytearray, count: int) -> None:
        if count > 0:
            self.counters.bytes_dropped += count
            del received[:count]

    async def _send(self, data: bytes) -> None:
        if not data:
            return
        try:
            self._port.write(data)
            await self._port.drain()
        except OSError as fault:
            raise LinkLost(f"the serial port failed: {fault}") from fault
        self.counters.bytes_sent += len(data)

    async def _receive(self) -> bytes:
        try:
            data = await self._port.read(READ_BYTES)
        except OSError as fault:
            raise LinkLost(f"the serial port failed: {fault}") from fault
        if not data:
            raise LinkLost("the serial port ended")
        self.counters.bytes_received += len(data)
        return data

    def _timed_out(self, what: str) -> LinkTimeout:
        self.counters.timeouts += 1
        state = "" if self._in_step else "; the link resynchronises on its next use"
        return LinkTimeout(f"{what} ({self.counters.bytes_received} bytes received so far{state})")
