"""A board in memory, for tests of whatever sits on top of a link.

It is an independent reading of docs/bus-protocol.md: it shares constants with the engine but no code (not even COBS),
and the golden vectors run through it as well.
"""

from __future__ import annotations

import asyncio
from binascii import crc_hqx
from collections.abc import Callable, Iterator, MutableMapping
from zlib import crc32

from lutlab_bus import wire

BUFFER_BYTES_MAX = 1 << 20
"""Most reply bytes a `FakePort` holds for its reader."""
POLL_READS_MAX = 100
"""A poll with a timeout reads at most so often; time stands still in here."""


class BusErrorAt(Exception):
    """Raise it from a target's mapping to answer `err`."""


class BusSilentAt(Exception):
    """Raise it from a target's mapping to let the bus timeout strike."""


class _Cut(Exception):
    """An operation is not whole, or not one."""


class FakeBridge:
    """Request bytes in, reply bytes out.

    Args:
        target: word address to word; reading a missing word gives 0.
        address_bits, build_id, clk_hz, bus_timeout_cycles, receive_ring_bytes, reply_ring_bytes, window: what hello
            tells.

    Attributes:
        transfers: every transfer: ("r" or "w", word address).
        executed: the sequence number of every frame executed.
    """

    def __init__(
        self,
        target: MutableMapping[int, int] | None = None,
        *,
        address_bits: int = 9,
        build_id: int = 0,
        clk_hz: int = 50_000_000,
        bus_timeout_cycles: int = 65_536,
        receive_ring_bytes: int = 4096,
        reply_ring_bytes: int = 4096,
        window: int = 15,
    ) -> None:
        self.target: MutableMapping[int, int] = {} if target is None else target
        self.transfers: list[tuple[str, int]] = []
        self.executed: list[int] = []
        self._address_bits = address_bits
        self._window = window
        self._ring_bytes = receive_ring_bytes
        self.info = [
            wire.PROTOCOL_MAGIC << 16 | wire.PROTOCOL_VERSION,
            build_id,
            clk_hz,
            bus_timeout_cycles,
            4 | address_bits << 16 | 32 << 24,
            receive_ring_bytes,
            reply_ring_bytes,
            window,
        ]
        self._pending = bytearray()
        self._armed = False  # the frame before was undamaged and without LONG
        self._expected: int | None = None
        self._stored: dict[int, bytes] = {}
        self._status = wire.STATUS_OK

    def feed(self, data: bytes) -> bytes:
        """Take request bytes in any chunking; returns the replies they complete."""
        replies = b""
        for byte in data:
            if byte != wire.DELIMITER:
                self._pending.append(byte)
                if len(self._pending) == wire.BRIEF_REQUEST_BYTES and self._pending[0] & wire.BRIEF:
                    replies += self._brief(*self._pending)
                continue
            if self._pending and not self._pending[0] & wire.BRIEF:
                replies += self._frame(_unstuff(bytes(self._pending[: self._ring_bytes])))
            elif self._pending and (len(self._pending) != wire.BRIEF_REQUEST_BYTES or not self._armed):
                self._armed = False
                replies += self._nak()
            self._pending.clear()
        return replies

    def _brief(self, first: int, high: int, low: int) -> bytes:
        """Three bytes that may be a brief request."""
        difference = crc_hqx(bytes([first]), 0xFFFF) ^ wire.BRIEF_CHECK_XOR ^ (high << 8 | low)
        if difference >> 6 or not self._armed:
            self._armed = False
            return b""
        return self._request(wire.Head.CONTROL | difference, bytes([first]))

    def _frame(self, frame: bytes | None) -> bytes:
        self._armed = False
        if frame is None or not _is_whole(frame):
            return self._nak()
        head = frame[0]
        if not head & wire.Head.LONG:
            self._armed = True
            return self._request(head, frame[1:-2])
        if head & wire.Head.CONTROL:
            return self._hello(frame)
        return self._request(head, frame[2:-4])

    def _request(self, head: int, body: bytes) -> bytes:
        """A request whose turn it may be; with CONTROL in its head it is a brief one."""
        if self._expected is None:
            return b""
        sequence = head & wire.SEQUENCE_MASK
        if sequence != self._expected:
            return self._stored.get(sequence, None) or self._nak()
        self._expected = (sequence + 1) % wire.SEQUENCE_MODULUS
        self.executed.append(sequence)
        result = b"".join(self._run(body))
        reply = _brief_reply(head, result) if head & wire.Head.CONTROL else _seal(head, result)
        self._stored[sequence] = reply
        self._stored.pop((sequence - self._window) % wire.SEQUENCE_MODULUS, None)
        return reply

    def _nak(self) -> bytes:
        return b"" if self._expected is None else _seal(wire.Head.CONTROL | self._expected, b"")

    def _hello(self, frame: bytes) -> bytes:
        self._expected = (frame[0] + 1) % wire.SEQUENCE_MODULUS
        self._stored.clear()
        self._status = wire.STATUS_OK
        return _seal(frame[0], frame[2:-4] + b"".join(word.to_bytes(4, "little") for word in self.info))

    def _run(self, body: bytes) -> Iterator[bytes]:
        position = 0

        def take(size: int) -> int:
            nonlocal position
            position += size
            if position > len(body):
                raise _Cut
            return int.from_bytes(body[position - size : position], "little")

        while position < len(body):
            try:
                yield from self._operation(take)
            except _Cut:
                return

    def _operation(self, take: Callable[[int], int]) -> Iterator[bytes]:
        op = take(1)
        if op & wire.BRIEF:
            self._status = wire.STATUS_OK
            yield self._transfer(op & ~wire.BRIEF, None).to_bytes(4, "little")
            yield bytes([self._status])
            return
        if op & wire.RESERVED_MASK:
            raise _Cut
        count = take(2) + 1 if op & wire.Op.COUNT else 1
        address = take(3 if op & wire.Op.WIDE else 2)
        if not op & wire.Op.CHAIN:
            self._status = wire.STATUS_OK
        kind = op & wire.KIND_MASK
        for index in range(count):
            at = address + (0 if op & wire.Op.FIXED else index)
            if kind == wire.Kind.READ:
                yield self._transfer(at, None).to_bytes(4, "little")
            elif kind == wire.Kind.WRITE:
                self._transfer(at, take(4))
            elif kind == wire.Kind.MODIFY:
                yield from self._modify(at, take)
            else:
                yield self._poll(at, take)
        yield bytes([self._status])

    def _modify(self, at: int, take: Callable[[int], int]) -> Iterator[bytes]:
        """The word is read before its operands are looked at, and told byte by byte as the value comes."""
        word = self._transfer(at, None)
        mask, value = take(4), 0
        for index in range(4):
            value |= take(1) << 8 * index
            yield word.to_bytes(4, "little")[index : index + 1]
        self._transfer(at, word & ~mask | value & mask)

    def _poll(self, at: int, take: Callable[[int], int]) -> bytes:
        reads = POLL_READS_MAX if take(4) else 1
        word = self._transfer(at, None)
        mask, value = take(4), take(4)
        while self._status == wire.STATUS_OK and (word ^ value) & mask:
            reads -= 1
            if not reads:
                self._status = wire.STATUS_POLL_TIMEOUT
                break
            word = self._transfer(at, None)
        return word.to_bytes(4, "little")

    def _transfer(self, address: int, word: int | None) -> int:
        """One bus transfer, or none after a fault; returns the word read."""
        if self._status != wire.STATUS_OK:
            return 0
        if address >> self._address_bits:
            self._status = wire.STATUS_BUS_ERROR
            return 0
        self.transfers.append(("r" if word is None else "w", address))
        try:
            if word is None:
                return self.target.get(address, 0)
            self.target[address] = word
        except BusErrorAt:
            self._status = wire.STATUS_BUS_ERROR
        except BusSilentAt:
            self._status = wire.STATUS_BUS_TIMEOUT
        return 0


def _unstuff(line: bytes) -> bytes | None:
    """COBS backwards, byte by byte; None if a piece ends early."""
    frame = bytearray()
    position = 0
    while position < len(line):
        code = line[position]
        piece = line[position + 1 : position + code]
        if len(piece) != code - 1:
            return None
        frame += piece
        position += code
        if code != 0xFF and position < len(line):
            frame.append(0)
    return bytes(frame)


def _stuff(frame: bytes) -> bytes:
    """COBS, as the document tells it, and the delimiter."""
    line = bytearray()
    piece = bytearray()
    for position, byte in enumerate(frame):
        if byte:
            piece.append(byte)
        if not byte or len(piece) == wire.COBS_RUN_MAX:
            line.append(len(piece) + 1)
            line += piece
            piece.clear()
            if byte and position == len(frame) - 1:
                return bytes(line) + b"\0"
    return bytes(line) + bytes([len(piece) + 1]) + bytes(piece) + b"\0"


def _is_whole(frame: bytes) -> bool:
    if len(frame) < wire.FRAME_BYTES_MIN:
        return False
    if frame[0] & wire.Head.LONG:
        return len(frame) >= wire.LONG_BYTES_MIN and crc32(frame[:-4]) == int.from_bytes(frame[-4:], "little")
    if frame[0] & wire.Head.CONTROL:
        return False  # only a NAK has such a head, and no host sends one
    return len(frame) <= wire.SHORT_BYTES_MAX and crc_hqx(frame[:-2], 0xFFFF) == int.from_bytes(frame[-2:], "big")


def _brief_reply(head: int, result: bytes) -> bytes:
    """Neither the head nor the status, the last byte of `result`, is sent as such; the check knows both."""
    status = result[-1]
    check = crc_hqx(bytes([head]) + result, 0xFFFF).to_bytes(2, "big")
    line = _stuff(result[:-1] + check)
    return bytes([wire.BRIEF | status << wire.BRIEF_STATUS_SHIFT | line[0]]) + line[1:]


def _seal(head: int, body: bytes) -> bytes:
    frame = bytes([head]) + bytes(1 if head & wire.Head.LONG else 0) + body
    if head & wire.Head.LONG:
        return _stuff(frame + crc32(frame).to_bytes(4, "little"))
    return _stuff(frame + crc_hqx(frame, 0xFFFF).to_bytes(2, "big"))


class FakePort:
    """A `SerialPort` with a `FakeBridge` at its other end, on the running event loop.

    Args:
        bridge: the board.
        on_request, on_reply: change bytes on their way, for instance to lose or flip some.

    Attributes:
        lost: set it to True and the port behaves like an adapter that was pulled out.
    """

    def __init__(
        self,
        bridge: FakeBridge,
        *,
        on_request: Callable[[bytes], bytes] | None = None,
        on_reply: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.bridge = bridge
        self.on_request = on_request
        self.on_reply = on_reply
        self.lost = False
        self._buffer = bytearray()
        self._arrived = asyncio.Event()

    def write(self, data: bytes) -> None:
        """Let the bridge run the request at once."""
        if self.lost:
            raise OSError("the fake adapter was pulled out")
        self.inject(self.bridge.feed(self.on_request(data) if self.on_request else data))

    def inject(self, data: bytes) -> None:
        """Let bytes arrive at the host."""
        self._buffer += self.on_reply(data) if self.on_reply else data
        assert len(self._buffer) <= BUFFER_BYTES_MAX, "nobody reads from this port"
        if self._buffer:
            self._arrived.set()

    def pull_out(self) -> None:
        """End the port; a waiting reader sees its end."""
        self.lost = True
        self._arrived.set()

    async def drain(self) -> None:
        """Nothing waits: the bridge took everything."""

    async def read(self, limit_bytes: int) -> bytes:
        """See `SerialPort`."""
        await self._arrived.wait()
        data = bytes(self._buffer[:limit_bytes])
        del self._buffer[:limit_bytes]
        if not self._buffer and not self.lost:
            self._arrived.clear()
        return data
