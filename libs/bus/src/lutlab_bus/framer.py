"""Operations to bytes and bytes to results, without I/O: the host's half of docs/bus-protocol.md.

A `Framer` carries one batch of operations. It cuts them into frames, hands out as many request bytes as the bridge can
hold, and takes reply bytes in any chunking. Blocks of words move as slices; no Python code runs per word.

Why nothing is ever lost: the bridge queues `Limits.queue_bytes` of requests, and the framer never has more than that
unanswered, so the queue cannot overflow however long a target stretches `ack`. The bytes of replies in flight are
bounded as well, so a port that buffers `REPLY_BYTES_MAX` while nobody reads never blocks the board.
"""

from __future__ import annotations

from array import array
from binascii import crc_hqx
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lutlab_bus import wire
from lutlab_bus.errors import InvalidOperation, ProtocolFault
from lutlab_bus.operations import Read, Result, Status, Write, to_order, zeros

OPERATIONS_MAX = 1 << 16
"""Operations of one batch."""
FRAMES_IN_FLIGHT_MAX = 128
"""Well below the 256 tags, so a reply that was lost can never be mistaken for a later one."""
REPLY_BYTES_MAX = 32_768
"""Reply bytes in flight: 27 ms at 12 Mbaud, more than a USB round trip; a port must buffer as many."""
READ_WORDS_MAX = 1024
"""Words of a read frame. A frame is answered in full even after a fault, so long frames make faults slow."""
FRAMES_PER_QUEUE = 4
"""A write frame fills at most this fraction of the queue: the next one travels while one is executed."""
Operation = Read | Write
_STATUSES = {status.value: status for status in Status}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the bridge at the other end can hold; from its hello.

    Attributes:
        queue_bytes: request bytes that may be unanswered.
        write_words_max: most words of a write frame.
    """

    queue_bytes: int
    write_words_max: int

    @property
    def write_words(self) -> int:
        """Words the framer puts into a write frame."""
        share_bytes = self.queue_bytes // FRAMES_PER_QUEUE - wire.REQUEST_OVERHEAD_BYTES
        return max(1, min(self.write_words_max, share_bytes // wire.WORD_BYTES))


@dataclass(slots=True)
class _Progress:
    """One operation: where its frames' words come from or go to."""

    operation: Operation
    words: array[int]  # little-endian: to write, or to be filled
    payload: memoryview  # the bytes of `words`
    status: Status = Status.OK


@dataclass(slots=True)
class _Flight:
    """A frame whose reply has not come yet."""

    tag: int
    request_bytes: int
    reply_bytes: int
    progress: _Progress
    target: memoryview  # where the reply's words go; empty for a write


class Framer:
    """One batch of operations on its way.

    Use: send `data_to_send()`, feed what comes back to `receive()`, and again, until `done`; then take `results()`.

    Args:
        operations: executed in this order, whatever happens to the ones before; at most `OPERATIONS_MAX`.
        limits: of the bridge.
        first_tag: tag of the first frame, 0..255; go on with `next_tag` in the next batch.

    Attributes:
        next_tag: tag the next frame will get.
        frames: frames answered so far.

    Raises:
        InvalidOperation: too many operations.
    """

    def __init__(self, operations: Sequence[Operation], limits: Limits, first_tag: int = 0) -> None:
        if len(operations) > OPERATIONS_MAX:
            raise InvalidOperation(f"{len(operations)} operations in one batch; at most {OPERATIONS_MAX}")
        self._limits = limits
        self._batch = [_start(operation) for operation in operations]
        self._plan = self._frames()
        self._planned: tuple[bytes, memoryview | None, _Flight] | None = None
        self._flights: deque[_Flight] = deque()
        self._unanswered_bytes = 0
        self._expected_bytes = 0
        self._received = bytearray()
        self.next_tag = first_tag
        self.frames = 0
        self._advance()

    @property
    def done(self) -> bool:
        """Every operation has its result."""
        return self._planned is None and not self._flights

    def data_to_send(self) -> bytes:
        """Request bytes that may be sent now; empty while replies must come first."""
        parts: list[bytes | memoryview] = []
        while self._planned is not None and len(self._flights) < FRAMES_IN_FLIGHT_MAX:
            header, payload, flight = self._planned
            unanswered = self._unanswered_bytes + flight.request_bytes
            expected = self._expected_bytes + flight.reply_bytes
            if self._flights and (unanswered > self._limits.queue_bytes or expected > REPLY_BYTES_MAX):
                break
            self._unanswered_bytes, self._expected_bytes = unanswered, expected
            self._flights.append(flight)
            crc = crc_hqx(header, wire.CRC_INIT)
            parts.append(header)
            if payload is not None:
                crc = crc_hqx(payload, crc)
                parts.append(payload)
            parts.append(wire.CRC.pack(crc))
            self._advance()
        return b"".join(parts)

    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """Take reply bytes, in any chunking.

        Raises:
            ProtocolFault: they are not the replies that are due. The link is out of step, the framer useless.
        """
        received = self._received
        received += data
        position = 0
        with memoryview(received) as view:
            while self._flights:
                end = position + self._flights[0].reply_bytes
                if end > len(view):
                    break
                self._accept(view[position:end])
                position = end
        if not self._flights and position < len(received):
            # Requests are only sent by data_to_send(), so nothing can be due here.
            raise ProtocolFault(f"{len(received) - position} bytes came after the last reply")
        del received[:position]
        if self._planned is not None and self._planned[2].progress.status is not Status.OK:
            self._advance()  # the rest of an operation that failed is not sent

    def results(self) -> list[Result]:
        """One result per operation, in their order. Call it once, when `done`."""
        assert self.done, "operations are still under way"
        return [_finish(progress) for progress in self._batch]

    def _accept(self, reply: memoryview) -> None:
        """Check the reply to the oldest frame in flight and store its words."""
        flight = self._flights[0]
        if crc_hqx(reply, wire.CRC_INIT) != 0:
            raise ProtocolFault(f"a reply of {len(reply)} bytes has a bad CRC")
        if reply[0] != flight.tag:
            raise ProtocolFault(f"a reply has tag {reply[0]}, expected {flight.tag}")
        words_end = wire.TAG_BYTES + len(flight.target)
        status = _STATUSES.get(reply[words_end])
        if status is None:
            raise ProtocolFault(f"a reply has the unknown status {reply[words_end]}")
        if len(flight.target):
            flight.target[:] = reply[wire.TAG_BYTES : words_end]
        if flight.progress.status is Status.OK:
            flight.progress.status = status
        self._flights.popleft()
        self._unanswered_bytes -= flight.request_bytes
        self._expected_bytes -= flight.reply_bytes
        self.frames += 1

    def _advance(self) -> None:
        self._planned = next(self._plan, None)

    def _frames(self) -> Iterator[tuple[bytes, memoryview | None, _Flight]]:
        """Cut the batch into frames: header, payload and what to expect."""
        for progress in self._batch:
            operation = progress.operation
            is_write = isinstance(operation, Write)
            flags = wire.Op.BASE | (wire.Op.WRITE if is_write else 0) | (wire.Op.FIXED if operation.fixed else 0)
            step = self._limits.write_words if is_write else READ_WORDS_MAX
            for start in range(0, operation.count, step):
                if progress.status is not Status.OK:
                    break
                count = min(step, operation.count - start)
                tag = self.next_tag
                self.next_tag = (tag + 1) % wire.TAG_MODULUS
                header = pack_header(
                    flags | (wire.Op.CHAIN if start else 0),
                    tag,
                    count,
                    operation.address_words + (0 if operation.fixed else start),
                )
                block = progress.payload[start * wire.WORD_BYTES : (start + count) * wire.WORD_BYTES]
                yield (
                    header,
                    block if is_write else None,
                    _Flight(
                        tag,
                        wire.REQUEST_OVERHEAD_BYTES + (len(block) if is_write else 0),
                        wire.REPLY_OVERHEAD_BYTES + (0 if is_write else len(block)),
                        progress,
                        block[:0] if is_write else block,
                    ),
                )


def pack_header(op: int, tag: int, count: int, address_words: int) -> bytes:
    """The first `wire.HEADER_BYTES` bytes of a request."""
    return wire.HEADER.pack(op, tag, count - 1, address_words & 0xFFFF, address_words >> 16)


def _start(operation: Operation) -> _Progress:
    words = to_order(operation.words, "little") if isinstance(operation, Write) else zeros(operation.count)
    return _Progress(operation, words, memoryview(words).cast("B"))


def _finish(progress: _Progress) -> Result:
    progress.payload.release()  # or the caller could never resize the array
    if isinstance(progress.operation, Write):
        return Result(progress.status)
    return Result(progress.status, to_order(progress.words, "little"))
