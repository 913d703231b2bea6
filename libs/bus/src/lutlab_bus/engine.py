"""Jobs to bytes and bytes to answered jobs, without I/O or a clock: the host's half of docs/bus-protocol.md.

The engine batches the jobs that wait into frames, in their order, keeps as many frames under way as the device holds,
repeats what was lost, and believes nothing that is damaged. A shell gives it bytes and the time, and sends what `poll`
returns.

Theory, in three states: CLOSED (no session; `poll` says hello when there is a job), GREETING (a hello is unanswered),
OPEN (frames flow). A session ends only by `close` or by a new hello.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from struct import Struct

from lutlab_bus import brief, wire
from lutlab_bus.board_info import BoardInfo
from lutlab_bus.counters import LinkCounters
from lutlab_bus.flight import Flight, Part, decoded_room
from lutlab_bus.intake import Intake, Received
from lutlab_bus.jobs import Job, Owner, Small
from lutlab_bus.lines import Piece, long_line, short_line
from lutlab_bus.lone import LoneFrame

FRAME_BYTES_FIRST = 1024
"""Decoded bytes of a session's first frames; frames grow on a clean line and shrink on a noisy one."""
FRAME_BYTES_MIN = 128
FRAME_BYTES_MAX = (1 << 16) + 64
"""A block of 16,384 words and what goes with it."""
FRAMES_PER_RING = 4
"""A frame fills at most this fraction of a ring, so that others travel while one is executed."""
CLEAN_FRAMES = 8
"""So many undamaged ones in a row double the frames' size."""
LONG_FRAMES = 1000
"""Frames that carry a CRC-32 whatever their size after a sign of damage."""
RETRY_FIRST_S = 0.25
RETRY_MIN_S = 0.03
"""Below this a busy host would repeat requests for nothing; damage is mostly noticed earlier, by a NAK or a gap."""
RETRY_MAX_S = 2.0
BACKOFF_MAX = 64
HELLO_PATIENCE_S = 0.1
"""How long the first hello may go unanswered; doubles with each one, up to `RETRY_MAX_S`."""
POLL_BYTES = 8192
"""About what one `poll` returns at most, repetitions aside."""

# Plain numbers: operations on flags of an `enum` cost as much as a whole step of a frame.
_LONG = int(wire.Head.LONG)
_CONTROL = int(wire.Head.CONTROL)
_WORD_AND_STATUS = Struct("<IB")
_BRIEF_PIECE_BYTES = wire.OP_BYTES + wire.NARROW_ADDRESS_BYTES
_LONG_OVERHEAD = wire.LONG_BYTES_MIN
_LONG_SURPLUS = _LONG_OVERHEAD - wire.HEAD_BYTES - wire.CRC16_BYTES
_DELIMITER = b"\0"


class State(enum.Enum):
    """See the module."""

    CLOSED = "closed"
    GREETING = "greeting"
    OPEN = "open"


class Greeting:
    """A job that begins a new session when everything before it is done."""

    __slots__ = ("index", "owner")

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.index = 0


class Engine:
    """One link's protocol state.

    Args:
        counters: counts into these.
        random_bits: a source of random numbers of so many bits, for nonces.

    Attributes:
        state: see the module.
        info: what the latest hello told.
        doubtful: somebody gave up waiting and nothing came since: the next job is preceded by a hello.
    """

    def __init__(self, counters: LinkCounters, random_bits: Callable[[int], int]) -> None:
        self.counters = counters
        self.state = State.CLOSED
        self.info: BoardInfo | None = None
        self.doubtful = False
        self._random_bits = random_bits
        self._queue: deque[Job | Greeting] = deque()
        self._out: list[bytes] = []
        self._intake = Intake()
        self._completed: list[Job | Greeting] = []
        self._retry_s = RETRY_FIRST_S
        self._round_trip_s: float | None = None
        self._round_trip_spread_s = 0.0
        self._baud = 1.0
        self._begin(0, 0)

    def _begin(self, sequence: int, nonce: int) -> None:
        """Forget everything about the session before."""
        self._flights: deque[Flight] = deque()
        self._request_bytes = 0
        self._reply_bytes = 0
        self._sequence = sequence
        self._nonce = nonce
        self._patience_s = HELLO_PATIENCE_S
        self._moved_s = 0.0
        self._backoff = 1
        self._nak: int | None = None
        self._nak_spare = 0
        self._clean = 0
        self._long = 0
        self._armed = False
        self._frame_bytes = FRAME_BYTES_FIRST
        self.doubtful = False

    @property
    def idle(self) -> bool:
        """In step: a session, and nothing under way."""
        return self.state is State.OPEN and not self._flights and not self._queue

    @property
    def quick(self) -> bool:
        """A shell may exchange one short frame of its own, number `sequence`, and then call `advance` or `adopt`."""
        is_busy = self._long or self._flights or self._queue
        return self.state is State.OPEN and not is_busy and self._intake.empty

    @property
    def frame_bytes(self) -> int:
        """Decoded bytes that the next frame, and its reply, may have."""
        assert self.info is not None
        return min(self._frame_bytes, min(self.info.receive_ring_bytes, self.info.reply_ring_bytes) // FRAMES_PER_RING)

    @property
    def armed(self) -> bool:
        """The latest frame sent had no LONG, so the device takes a brief request behind it."""
        return self._armed

    @property
    def baud(self) -> float:
        """Bits a second on the line."""
        return self._baud

    @property
    def sequence(self) -> int:
        """Number of the next frame."""
        return self._sequence

    def advance(self, sent_bytes: int, received_bytes: int) -> None:
        """Count a frame for one word that the shell sent, and whose good reply it received, by itself."""
        self._count(1, sent_bytes, received_bytes)
        self._armed = True

    def advance_long(self, frame: LoneFrame, received_bytes: int) -> None:
        """As `advance`, for a lone frame."""
        self._count(frame.operations, len(frame.line), received_bytes)
        self._armed = False
        self._grow()

    def _count(self, operations: int, sent_bytes: int, received_bytes: int) -> None:
        self._sequence = (self._sequence + 1) & wire.SEQUENCE_MASK
        counters = self.counters
        counters.frames += 1
        counters.operations += operations
        counters.bytes_sent += sent_bytes
        counters.bytes_received += received_bytes

    def adopt(self, sequence: int, line: bytes, job: Small, now_s: float) -> None:
        """Take over a frame that the shell sent by itself; its reply is to be given to `receive`."""
        self.counters.bytes_sent += len(line)
        self._armed = True
        if line[0] & wire.BRIEF:
            self._launch(self._brief_flight(line, [job], now_s))
            return
        reply_bytes = wire.HEAD_BYTES + job.reply_bytes + wire.CRC16_BYTES
        self._launch(Flight(sequence, line, [job], reply_bytes=reply_bytes, words=True, now_s=now_s))

    def adopt_long(self, frame: LoneFrame, now_s: float) -> None:
        """As `adopt`, for a lone frame."""
        self.counters.bytes_sent += len(frame.line)
        self._armed = False
        job = frame.job
        job.unanswered += 1
        part = (job, 0, job.count, frame.reply_bytes - _LONG_OVERHEAD)
        head = self._sequence | _LONG
        self._launch(Flight(head, frame.line, [part], reply_bytes=frame.reply_bytes, words=False, now_s=now_s))

    @property
    def queued(self) -> bool:
        """Jobs wait that are in no frame yet, or not wholly."""
        return bool(self._queue)

    @property
    def unanswered(self) -> bool:
        """Requests are under way."""
        return bool(self._flights) or self.state is State.GREETING

    @property
    def reply_bytes(self) -> int:
        """Bytes on the line, at most, of all unanswered replies."""
        return self._reply_bytes

    @property
    def line_bytes(self) -> int:
        """Bytes on the line, at most, of all unanswered requests and their replies."""
        return self._request_bytes + self._reply_bytes

    @property
    def reply_bytes_least(self) -> int:
        """Bytes, at least, that must arrive before the oldest request is answered."""
        return self._flights[0].reply_bytes - self._intake.line_bytes if self._flights else 0

    @property
    def live(self) -> bool:
        """Requests are under way that somebody waits for."""
        return any(flight.live for flight in self._flights)

    def submit(self, job: Job | Greeting) -> None:
        """Queue a job. Call `poll` afterwards; several jobs before one `poll` share frames."""
        self._queue.append(job)

    def close(self) -> None:
        """Forget the session, everything under way and everything queued, as after a lost line."""
        self.state = State.CLOSED
        self._queue.clear()
        self._out.clear()
        self._intake.clear()
        self._begin(0, 0)

    # -- sending

    def poll(self, now_s: float) -> bytes:
        """Bytes to send now; call it again until there are none, so that the line is busy while the next frame is made.

        Call it after `submit`, after `receive`, and at `wake_s`.
        """
        if self.state is State.OPEN and self.doubtful and self._queue and self._flights:
            self.state = State.CLOSED
        if self.state is State.CLOSED and self._queue:
            self._greet(now_s)
        elif self.state is State.GREETING and now_s >= self._moved_s + self._patience_s:
            self._patience_s = min(2 * self._patience_s, RETRY_MAX_S)
            self._moved_s = now_s
            self._out.append(_DELIMITER + self._hello)
        elif self.state is State.OPEN:
            if self._flights and now_s >= self._due_s():
                self._retry(now_s)
            self._fill(now_s)
        if not self._out:
            return b""
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self.counters.bytes_sent += len(data)
        return data

    @property
    def wake_s(self) -> float | None:
        """When `poll` has something to do although nothing arrived; None: never."""
        if self.state is State.GREETING:
            return self._moved_s + self._patience_s
        return self._due_s() if self._flights else None

    def _due_s(self) -> float:
        line_s = self.line_bytes * 10 / self._baud
        return self._moved_s + min(self._retry_s * self._backoff, RETRY_MAX_S) + line_s

    def _greet(self, now_s: float) -> None:
        sequence, nonce = self._random_bits(6), self._random_bits(32)
        self._begin((sequence + 1) % wire.SEQUENCE_MODULUS, nonce)
        self.state = State.GREETING
        self._hello_head = _LONG | _CONTROL | sequence
        self._hello = long_line(self._hello_head, [nonce.to_bytes(wire.NONCE_BYTES, "little")])
        self._moved_s = now_s
        self._out.append(_DELIMITER + self._hello)

    def _retry(self, now_s: float) -> None:
        """Nothing came for too long: the frames, the replies or a NAK were lost."""
        if not self.live:
            return  # whoever asks next begins a session or waits for these
        self._backoff = min(2 * self._backoff, BACKOFF_MAX)
        self._moved_s = now_s
        self._noise()
        self._again(0, len(self._flights))

    def _again(self, first: int, end: int) -> None:
        """Repeat the unanswered ones among these frames: byte for byte, but brief ones as ordinary ones."""
        self._armed = False
        self._out.append(_DELIMITER)
        for index in range(first, end):
            flight = self._flights[index]
            if not flight.answered:
                if flight.brief and flight.copies == 1:
                    flight.line = self._unbrief(flight)
                flight.copies += 1
                self.counters.retries += 1
                self._out.append(flight.line)

    def _noise(self) -> None:
        self._long = LONG_FRAMES
        self._clean = 0
        self._frame_bytes = max(FRAME_BYTES_MIN, self._frame_bytes // 2)

    def _fill(self, now_s: float) -> None:
        """Put queued jobs into frames as long as the device has room."""
        info = self.info
        assert info is not None
        limit_bytes = self._request_bytes + POLL_BYTES
        while self._queue and len(self._flights) < info.window and self._request_bytes < limit_bytes:
            size = self.frame_bytes
            request_room = decoded_room(info.receive_ring_bytes - 1 - self._request_bytes)
            reply_room = decoded_room(info.reply_ring_bytes - 16 - self._reply_bytes)
            if self._flights and min(request_room, reply_room) < size - size // 4:
                return
            if not self._frame(min(size, request_room), min(size, reply_room), now_s):
                return

    def _frame(self, request_room: int, reply_room: int, now_s: float) -> bool:
        """Make one frame of the jobs at the head of the queue; False if there is none to make."""
        request = reply = _LONG_OVERHEAD
        pieces: list[Piece] = []
        parts: list[Part] = []
        words = True
        queue = self._queue
        while queue:
            job = queue[0]
            if isinstance(job, Small):
                if not job.owner.open:
                    queue.popleft()
                    continue
                size = len(job.piece)
                if request + size > request_room or reply + job.reply_bytes > reply_room:
                    break
                queue.popleft()
                pieces.append(job.piece)
                parts.append(job)
                request += size
                reply += job.reply_bytes
                words = words and job.reply_bytes == _WORD_AND_STATUS.size
            elif isinstance(job, Greeting):
                if not parts:
                    self._reach_greeting(now_s)
                break
            elif not job.owner.open or job.exhausted:
                queue.popleft()
            else:
                start, before = job.position, len(pieces)
                reply_bytes = job.take(request_room - request, reply_room - reply, not parts, pieces)
                if not reply_bytes:
                    break
                job.unanswered += 1
                parts.append((job, start, job.position - start, reply_bytes))
                request += sum(map(len, pieces[before:]))
                reply += reply_bytes
                words = False
        if parts:
            self._depart(pieces, parts, request=request, reply=reply, words=words, now_s=now_s)
        return bool(parts)

    def _reach_greeting(self, now_s: float) -> None:
        if not self._queue[0].owner.open:
            self._queue.popleft()
        elif not self.live:
            self._greet(now_s)

    def _depart(
        self,
        pieces: list[Piece],
        parts: list[Part],
        *,
        request: int,
        reply: int,
        words: bool,
        now_s: float,
    ) -> None:
        """Seal a frame and send it. `request`, `reply`: decoded bytes if it is a long one."""
        head = self._sequence
        if self._long:
            self._long -= 1
            head |= _LONG
        elif max(request, reply) - _LONG_SURPLUS > wire.SHORT_BYTES_MAX:
            head |= _LONG
        elif words and self._armed and len(parts) == 1 and not self._flights:
            piece = pieces[0]
            if len(piece) == _BRIEF_PIECE_BYTES and piece[0] == piece[2] == 0 and piece[1] < wire.BRIEF_ADDRESSES:
                line = brief.request(piece[1], head)
                if line:
                    self._launch(self._brief_flight(line, parts, now_s))
                    self._out.append(line)
                    return
        self._armed = not head & _LONG
        line = long_line(head, pieces) if head & _LONG else short_line(head, pieces)
        if not head & _LONG:
            reply -= _LONG_SURPLUS
        self._launch(Flight(head, line, parts, reply_bytes=reply, words=words, now_s=now_s))
        self._out.append(line)

    def _brief_flight(self, line: bytes, parts: list[Part], now_s: float) -> Flight:
        head, reply_bytes = self._sequence | _LONG, _LONG_OVERHEAD + _WORD_AND_STATUS.size
        return Flight(head, line, parts, reply_bytes=reply_bytes, words=True, now_s=now_s, brief=True)

    def _unbrief(self, flight: Flight) -> bytes:
        """A brief request's repetition. It has a CRC-32: of all frames this is one that follows a sign of damage."""
        job = flight.parts[0]
        assert isinstance(job, Small)
        return long_line(flight.head, [job.piece])

    def _launch(self, flight: Flight) -> None:
        if not self._flights:
            self._moved_s = flight.sent_s
        self._flights.append(flight)
        self._request_bytes += flight.request_bytes
        self._reply_bytes += flight.reply_line_bytes
        self._sequence = (self._sequence + 1) & wire.SEQUENCE_MASK

    # -- receiving

    def receive(self, data: Received, now_s: float, size: int | None = None) -> list[Job | Greeting]:
        """Take bytes in any chunking, with `size` the first so many of a buffer; returns the jobs they complete.

        Raises:
            ProtocolMismatch: the answer to hello is of another version; the session is closed.
        """
        self.counters.bytes_received += len(data) if size is None else size
        for frame, line_bytes in self._intake.feed(data, size):
            if frame is None:
                self._damaged(line_bytes)
            elif not self._accept(frame, now_s):
                self.counters.bytes_dropped += line_bytes + 1
        completed, self._completed = self._completed, []
        return completed

    def _damaged(self, size: int) -> None:
        self.counters.crc_failures += 1
        self.counters.bytes_dropped += size + 1
        self._noise()

    def _accept(self, frame: bytes, now_s: float) -> bool:
        """Take an undamaged frame; False if it is not for us."""
        head = frame[0]
        if head & _CONTROL:
            if head & _LONG:
                return self._greeted(frame)
            if len(frame) != brief.REPLY_FRAME_BYTES:
                return len(frame) == wire.FRAME_BYTES_MIN and self._hear_nak(head & wire.SEQUENCE_MASK)
        flights = self._flights
        index = (head - self._sequence + len(flights)) & wire.SEQUENCE_MASK  # the oldest one is 0
        if index >= len(flights) or flights[index].answered:
            self.counters.stale += 1
            return False
        flight = flights[index]
        is_expected = head == flight.head and len(frame) == flight.reply_bytes
        if not is_expected and not (flight.brief and head & _CONTROL):
            self.counters.protocol_faults += 1
            return False
        self._land(flight, frame, now_s)
        if index:
            self._chase(index)
        while flights and flights[0].answered:
            landed = flights.popleft()
            self._request_bytes -= landed.request_bytes
            self._reply_bytes -= landed.reply_line_bytes
        return True

    def _land(self, flight: Flight, frame: bytes, now_s: float) -> None:
        """The reply to a frame: hand out its words and statuses."""
        flight.answered = True
        self.doubtful = False
        self._moved_s = now_s
        self._backoff = 1
        self.counters.frames += 1
        self.counters.operations += len(flight.parts)
        if flight.copies == 1:
            self._measure(now_s - flight.sent_s)
        self._grow()
        if frame[0] & _LONG:
            position, end = wire.HEAD_BYTES + wire.PAD_BYTES, len(frame) - wire.CRC32_BYTES
        else:
            position, end = wire.HEAD_BYTES, len(frame) - wire.CRC16_BYTES
        view = memoryview(frame)
        if flight.words:
            for part, (value, status) in zip(
                flight.parts, _WORD_AND_STATUS.iter_unpack(view[position:end]), strict=True
            ):
                part.value = value  # type: ignore[union-attr]
                part.status = status  # type: ignore[union-attr]
            self._completed += flight.parts  # type: ignore[arg-type]
            return
        for part in flight.parts:
            if isinstance(part, Small):
                if part.reply_bytes == _WORD_AND_STATUS.size:
                    part.value, part.status = _WORD_AND_STATUS.unpack_from(view, position)
                else:
                    part.status = view[position]
                position += part.reply_bytes
                self._completed.append(part)
            else:
                job, start, count, reply_bytes = part
                job.answer(view[position : position + reply_bytes], start, count)
                position += reply_bytes
                job.unanswered -= 1
                self.counters.operations += (count - 1) * job.words_are_operations
                if job.exhausted and not job.unanswered:
                    self._completed.append(job)

    def _grow(self) -> None:
        """A frame was answered undamaged: after some of them frames may be longer."""
        self._clean += 1
        if self._clean >= CLEAN_FRAMES and self._frame_bytes < (FRAME_BYTES_FIRST if self._long else FRAME_BYTES_MAX):
            self._clean = 0
            self._frame_bytes = min(2 * self._frame_bytes, FRAME_BYTES_MAX)

    def _measure(self, round_trip_s: float) -> None:
        """The time to wait before repeating, as TCP finds it (RFC 6298)."""
        self.counters.note_round_trip(round_trip_s)
        if self._round_trip_s is None:
            self._round_trip_s, self._round_trip_spread_s = round_trip_s, round_trip_s / 2
        else:
            error_s = round_trip_s - self._round_trip_s
            self._round_trip_s += error_s / 8
            self._round_trip_spread_s += (abs(error_s) - self._round_trip_spread_s) / 4
        self._retry_s = max(RETRY_MIN_S, self._round_trip_s + 4 * self._round_trip_spread_s)

    def _chase(self, index: int) -> None:
        """A reply came before those of earlier frames, so theirs were lost: the device has them in its ring."""
        flights = self._flights
        if any(not flights[i].answered and not flights[i].chased for i in range(index)):
            self._again(0, index)
            for i in range(index):
                flights[i].chased = True

    def _hear_nak(self, expected: int) -> bool:
        """The device missed frame `expected` and says so for each frame behind the gap: go back once for them all."""
        flights = self._flights
        index = (expected - self._sequence + len(flights)) & wire.SEQUENCE_MASK
        if self.state is not State.OPEN or index >= len(flights):
            self.counters.stale += 1
            return False
        self.counters.naks += 1
        if self._nak == expected and self._nak_spare > 0:
            self._nak_spare -= 1
            return True
        self._nak, self._nak_spare = expected, len(flights) - index
        self._noise()
        self._again(index, len(flights))
        return True

    def _greeted(self, frame: bytes) -> bool:
        begin = wire.HEAD_BYTES + wire.PAD_BYTES
        nonce = frame[begin : begin + wire.NONCE_BYTES]
        if (
            self.state is not State.GREETING
            or len(frame) != wire.HELLO_REPLY_BYTES
            or frame[0] != self._hello_head
            or nonce != self._nonce.to_bytes(wire.NONCE_BYTES, "little")
        ):
            self.counters.stale += 1
            return False
        self.state = State.CLOSED
        self.info = BoardInfo.decode(frame[begin + wire.NONCE_BYTES : -wire.CRC32_BYTES])
        self._baud = self.info.baud
        self.state = State.OPEN
        self.counters.resyncs += 1
        while self._queue and isinstance(self._queue[0], Greeting):
            self._completed.append(self._queue.popleft())
        return True
