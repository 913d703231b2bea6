"""A link without an event loop: for scripts, benches and tests that own a tty and do one thing after the other.

The tty's own timer bounds each read (VTIME), so a call costs one write and one read. A single word that is answered at
once takes a short way around the engine's queue; anything unusual goes through the engine, as in `BusLink`.
"""

from __future__ import annotations

import os
import secrets
import select
import termios
import time
import tty
from array import array
from binascii import crc_hqx
from collections.abc import Iterable, Sequence
from struct import Struct
from types import TracebackType
from typing import Self

from cobs import cobs

from lutlab_bus import brief, wire
from lutlab_bus.board_info import BoardInfo
from lutlab_bus.counters import LinkCounters
from lutlab_bus.engine import Engine, Greeting
from lutlab_bus.errors import BusFault, LinkLost, LinkTimeout, design_fault
from lutlab_bus.flight import line_bytes_max
from lutlab_bus.jobs import WORD_REPLY_BYTES, Job, Sliced, Small, Vector, job_of, read_piece
from lutlab_bus.lone import LoneFrame
from lutlab_bus.operations import (
    Operation,
    Read,
    Result,
    Status,
    Words,
    Write,
    as_words,
    check_address,
    check_addresses,
)
from lutlab_bus.pace import SLEEP_MIN_S, Pace
from lutlab_bus.watch import Watch
from lutlab_bus.write_guard import WriteGuard

RECEIVE_BYTES = 1 << 17
"""Bytes of a long reply that are gathered before the engine sees them."""
WORD_READ_BYTES = 256
LINES_MAX = 4096
"""Requests for one word that are kept as they go on the line: 64 for each address."""
PATIENT_REPLY_BYTES = 2048
"""Replies to everything under way, if they take no more than this, can wait in the tty until a long write is done."""
LONE_WRITE_BYTES = 4095
"""A tty takes so many at once if all before has gone, so this does not wait: drivers of serial adapters keep a page."""
LONG_WRITE_BYTES = 4096
SLIVER_BYTES = 1024
"""A line that brings no more than this at once may be a slow one; see `Pace`."""
WATCHED_BAUD_MIN = 2_000_000
"""On slower lines the bytes take longer than waking up does."""
WATCHED_BYTES = 12_288
"""Requests and replies that take no more than this on the line are looked for before sleeping until they come."""
TICK_DECISECONDS = 1
"""Longest time a read of the tty waits; deadlines and repetitions are looked at in between."""
TICK_S = TICK_DECISECONDS / 10
SLEEP_LATE_S = 0.0004
"""What a sleep may take longer than asked for."""
OPEN_TIMEOUT_S = 10.0
CALL_TIMEOUT_S = 10.0
_READ_ONE = Struct("<BBH")
_CHECK16 = Struct(">H")
_READ_ONE_REPLY = Struct("<BIBH")
_QUICK_BYTES = _READ_ONE_REPLY.size + 2  # as encoded, with the delimiter
_SHORT_REPLY_BYTES = _READ_ONE_REPLY.size
_BRIEF_BYTES = wire.BRIEF_REPLY_BYTES
_BRIEF_ADDRESSES = wire.BRIEF_ADDRESSES
_STATUS_OK = bytes((wire.STATUS_OK,))


class _Waiter:
    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open = True


class DirectLink:
    """The host's end of the line to one board, for one thread. Use `open`; it is a context manager.

    Attributes:
        counters: what happened so far; single words that took the short way are in it, without their round-trip times.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.counters = LinkCounters()
        self._engine = Engine(self.counters, secrets.randbits)
        self._to_send = memoryview(b"")
        self._guard = WriteGuard(fd, TICK_S)
        self._received = bytearray(RECEIVE_BYTES)
        self._received_view = memoryview(self._received)
        self._lines: dict[int, bytes] = {}
        self._brief_lines: dict[int, bytes] = {}
        self._watch, self._long_watch = Watch(fd), Watch(fd)  # of single words, and of longer replies
        self._pace = Pace()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN | select.POLLOUT)
        set_up(fd)

    @classmethod
    def open(cls, path: str, *, baud: int | None = None, timeout_s: float = OPEN_TIMEOUT_S) -> Self:
        """Open a tty and say hello.

        Args:
            path: of a serial port or pseudo-terminal.
            baud: speed to set; without it the port keeps its own.
            timeout_s: for the hello.

        Raises:
            OSError: the tty cannot be opened. LinkTimeout, LinkLost, ProtocolMismatch: as for `BusLink.open`.
        """
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        try:
            link = cls(fd)
            if baud is not None:
                set_speed(fd, baud)
            link.hello(timeout_s)
        except BaseException:
            os.close(fd)
            raise
        return link

    def close(self) -> None:
        """Give the tty back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def info(self) -> BoardInfo:
        """What the latest hello told."""
        if self._engine.info is None:
            raise LinkLost("no hello was answered yet; open the link first")
        return self._engine.info

    def hello(self, timeout_s: float = OPEN_TIMEOUT_S) -> BoardInfo:
        """Ask the bitstream who it is; see `BusLink.hello`."""
        self._run([Greeting(waiter := _Waiter())], waiter, timeout_s)
        self._watch.worth_it = self._long_watch.worth_it = self.info.baud >= WATCHED_BAUD_MIN
        return self.info

    def execute(self, operations: Sequence[Operation], timeout_s: float = CALL_TIMEOUT_S) -> list[Result]:
        """Run operations in order; see `BusLink.execute`."""
        waiter = _Waiter()
        jobs = [job_of(waiter, index, operation) for index, operation in enumerate(operations)]
        self._run(jobs, waiter, timeout_s)
        return [Result(Status(job.status), job.words) for job in jobs]

    def read_words(self, address_words: int, count: int, timeout_s: float = CALL_TIMEOUT_S) -> array[int]:
        """Read consecutive words. Raises: DesignFault; otherwise as `execute`."""
        return self._one(Read(address_words, count), timeout_s).words

    def write_words(self, address_words: int, words: Words, timeout_s: float = CALL_TIMEOUT_S) -> None:
        """Write consecutive words. Raises: DesignFault; otherwise as `execute`."""
        self._one(Write(address_words, words), timeout_s)

    def _one(self, operation: Operation, timeout_s: float) -> Job:
        job = job_of(waiter := _Waiter(), 0, operation)
        self._carry(job, waiter, timeout_s)
        if job.status:
            raise design_fault(job.status, operation.address_words)
        return job

    def read_each(self, addresses_words: Iterable[int], timeout_s: float = CALL_TIMEOUT_S) -> Result:
        """Read words from independent addresses; see `BusLink.read_each`."""
        return self._vector(check_addresses(addresses_words, None), None, timeout_s)

    def write_each(self, addresses_words: Iterable[int], words: Words, timeout_s: float = CALL_TIMEOUT_S) -> Result:
        """Write words to independent addresses, in order; see `BusLink.write_each`."""
        values = as_words(words)
        return self._vector(check_addresses(addresses_words, values), values, timeout_s)

    def _vector(self, addresses: array[int], words: array[int] | None, timeout_s: float) -> Result:
        if not addresses:
            return Result(Status.OK)
        job = Vector(waiter := _Waiter(), addresses, words)
        self._carry(job, waiter, timeout_s)
        return Result(Status(job.status), job.words)

    def _carry(self, job: Job, waiter: _Waiter, timeout_s: float) -> None:
        """Do one job: in a frame of its own if the line is free and it fits, or else through the engine's queue."""
        engine = self._engine
        if engine.quick and isinstance(job, Sliced):
            frame = LoneFrame.of(job, engine.sequence, engine.frame_bytes)
            if frame is not None:
                self._exchange(frame, waiter, timeout_s)
                return
        self._run([job], waiter, timeout_s)

    def _exchange(self, frame: LoneFrame, waiter: _Waiter, timeout_s: float) -> None:
        """Send a frame and take its reply; whatever else comes of it is for the engine."""
        begin_s = time.monotonic()
        try:
            got = self._exchanged(frame, begin_s)
            if got < 0:
                return
            self._engine.adopt_long(frame, begin_s)
        except BaseException:
            self._abandon()
            raise
        timeout_s -= time.monotonic() - begin_s
        self._run([], waiter, timeout_s, bytes(self._received_view[:got]), adopted=1)

    def _exchanged(self, frame: LoneFrame, begin_s: float) -> int:
        """Bytes that came for a frame and are not its good reply; -1 if that came."""
        reply_line_bytes = line_bytes_max(frame.reply_bytes)
        if len(frame.line) <= LONE_WRITE_BYTES:
            try:
                os.write(self._fd, frame.line)
            except OSError as fault:
                raise _lost(fault) from fault
        else:
            self._to_send = memoryview(frame.line)
            self._write(reply_line_bytes)
            if self._to_send:
                return 0
        got = self._receive(begin_s, len(frame.line) + reply_line_bytes, frame.reply_bytes)
        if got and not self._received[got - 1] and frame.accept(self._received[: got - 1]):
            self._engine.advance_long(frame, got)
            return -1
        return got

    def _abandon(self) -> None:
        """A call was interrupted, by Ctrl-C perhaps: a new session comes before the next one.

        The engine may not know what was sent; to another frame of the same number the device would repeat its reply.
        """
        self._engine.close()
        self._to_send = memoryview(b"")

    def read_word(self, address_words: int, timeout_s: float = CALL_TIMEOUT_S) -> int:
        """Read one word.

        Raises:
            DesignFault: its subclass tells what the design did. Otherwise as `execute`.
        """
        engine = self._engine
        if not engine.quick or not 0 <= address_words <= 0xFFFF:
            check_address(address_words)
            return self._slowly(address_words, timeout_s)
        head = engine.sequence
        try:
            if address_words < _BRIEF_ADDRESSES and engine.armed and (line := self._brief_line(address_words, head)):
                return self._read_brief(address_words, head, line, timeout_s)
            line = self._lines.get(key := address_words << 6 | head) or self._line_for(key)
            return self._read_ordinary(address_words, head, line, timeout_s)
        except BusFault:
            raise
        except OSError as fault:
            self._abandon()
            raise _lost(fault) from fault
        except BaseException:
            self._abandon()
            raise

    def _asked(self, line: bytes) -> bytes:
        """Send a request for one word; what came of its reply at first, without a zero that ended one before."""
        os.write(self._fd, line)
        self._watch.wait()
        data = os.read(self._fd, WORD_READ_BYTES)
        self._watch.note()
        return data[1:] if data[:1] == b"\0" else data

    def _read_ordinary(self, address_words: int, sequence: int, line: bytes, timeout_s: float) -> int:
        """One word with an ordinary short frame."""
        data = self._asked(line)
        if (end := data.find(0)) < 0:
            data = self._rest_of(data, _QUICK_BYTES)
            end = data.find(0)
        if end == len(data) - 1:
            try:
                frame = cobs.decode(data[:end])
            except cobs.DecodeError:
                frame = b""
            if len(frame) == _SHORT_REPLY_BYTES and crc_hqx(frame, wire.CRC16_INIT) == 0:
                echoed, value, status, _ = _READ_ONE_REPLY.unpack(frame)
                if echoed == sequence and status == wire.STATUS_OK:
                    self._engine.advance(len(line), len(data))
                    return int(value)
        return self._slowly(address_words, timeout_s, data, sequence, line)

    def _read_brief(self, address_words: int, sequence: int, line: bytes, timeout_s: float) -> int:
        """One word with a brief frame; its reply is whole before the zero behind it arrives."""
        data = self._asked(line)
        if len(data) < _BRIEF_BYTES:
            data = self._rest_of(data, _BRIEF_BYTES)
        size = len(data)
        if size == _BRIEF_BYTES or (size == _BRIEF_BYTES + 1 and data[-1] == 0):
            try:
                frame = cobs.decode(brief.CODES.get(data[0], b"\0") + data[1:_BRIEF_BYTES])
            except cobs.DecodeError:
                frame = b""
            word, check = frame[:4], frame[4:]
            if len(check) == 2 and crc_hqx(word + _STATUS_OK + check, brief.HEAD_CHECKS[sequence]) == 0:
                self._engine.advance(len(line), _BRIEF_BYTES + 1)
                return int.from_bytes(word, "little")
        return self._slowly(address_words, timeout_s, data, sequence, line)

    def _slowly(
        self, address_words: int, timeout_s: float, data: bytes = b"", sequence: int = 0, line: bytes = b""
    ) -> int:
        """One word through the engine; with `line`, which was sent already, from what came back on."""
        job = Small(waiter := _Waiter(), 0, read_piece(address_words), WORD_REPLY_BYTES)
        if line:
            self._engine.adopt(sequence, line, job, time.monotonic())
            self._run([], waiter, timeout_s, data, adopted=1)
        else:
            self._run([job], waiter, timeout_s)
        if job.status:
            raise design_fault(job.status, address_words)
        return job.value

    def _brief_line(self, address_words: int, sequence: int) -> bytes:
        """The brief request, kept like the ordinary ones; none if it cannot be said."""
        key = address_words << 6 | sequence
        line = self._brief_lines.get(key)
        if line is None:  # there are 8,192 at most
            line = self._brief_lines[key] = brief.request(address_words, sequence)
        return line

    def _line_for(self, key: int) -> bytes:
        """The request that reads one word, kept for the next time: who reads a word alone mostly reads it often."""
        content = _READ_ONE.pack(key & wire.SEQUENCE_MASK, wire.Kind.READ, key >> 6)
        line: bytes = cobs.encode(content + _CHECK16.pack(crc_hqx(content, wire.CRC16_INIT))) + b"\0"
        if len(self._lines) >= LINES_MAX:
            self._lines.clear()
        self._lines[key] = line
        return line

    def _rest_of(self, data: bytes, size: int) -> bytes:
        """What follows the beginning of a one-word reply of `size` bytes; less if the line pauses."""
        baud = self._engine.baud
        for _ in range(size):
            late_s = (size - len(data)) * 10 / baud - SLEEP_LATE_S
            if late_s > SLEEP_MIN_S:
                time.sleep(late_s)  # one wake-up for most of it instead of one for each byte
            self._watch.look()
            more = os.read(self._fd, WORD_READ_BYTES)
            data += more
            if not more or 0 in more or len(data) >= size:
                break
        return data

    def _run(
        self,
        jobs: Sequence[Job | Greeting],
        waiter: _Waiter,
        timeout_s: float,
        data: bytes = b"",
        adopted: int = 0,
    ) -> None:
        """Do these jobs, and so many of the same waiter's that the engine has already; `data` came for them."""
        try:
            for job in jobs:
                self._engine.submit(job)
            self._run_until_done(len(jobs) + adopted, waiter, timeout_s, data)
        except BusFault:
            raise
        except BaseException:
            self._abandon()
            raise

    def _run_until_done(self, left: int, waiter: _Waiter, timeout_s: float, data: bytes) -> None:
        engine = self._engine
        deadline_s = (now_s := time.monotonic()) + timeout_s
        received: bytes | bytearray = data
        size = len(data)
        while left:
            if size:
                for job in engine.receive(received, now_s, size):
                    if job.owner is waiter:
                        left -= 1
                if not left:
                    break
            self._send(now_s)
            if self._to_send:
                size = self._receive_or_write(now_s)
            else:
                size = self._receive(now_s, engine.line_bytes, engine.reply_bytes_least)
            received = self._received
            now_s = time.monotonic()
            if not size and now_s >= deadline_s:
                self._give_up(timeout_s, waiter)
            if now_s >= deadline_s + TICK_S:
                self._give_up(timeout_s, waiter)
        waiter.open = False

    def _give_up(self, timeout_s: float, waiter: _Waiter) -> None:
        waiter.open = False
        self.counters.timeouts += 1
        self._engine.doubtful = self._engine.unanswered
        raise LinkTimeout(f"not done within {timeout_s:g} s; operations may or may not have run")

    def _send(self, now_s: float) -> None:
        """Write as much as the tty takes without blocking; the rest follows when it has room."""
        while not self._to_send and (data := self._engine.poll(now_s)):
            self._to_send = memoryview(data)
            self._write(self._engine.reply_bytes)
            if not self._engine.queued:
                break  # the reply is awaited as soon as can be

    def _write(self, reply_bytes: int) -> None:
        """Write what is to be sent, or some of it. `reply_bytes`: of all that is under way then, on the line."""
        if len(self._to_send) > LONG_WRITE_BYTES and reply_bytes <= PATIENT_REPLY_BYTES:
            self._write_patiently()
        else:
            self._write_some()

    def _write_some(self) -> None:
        try:
            os.set_blocking(self._fd, False)
            self._to_send = self._to_send[os.write(self._fd, self._to_send) :]
        except BlockingIOError:
            pass
        except OSError as fault:
            raise _lost(fault) from fault
        finally:
            os.set_blocking(self._fd, True)

    def _write_patiently(self) -> None:
        """Let the write itself wait for room, but no longer than a tick."""
        try:
            with self._guard:
                self._to_send = self._to_send[os.write(self._fd, self._to_send) :]
        except BlockingIOError:
            pass
        except OSError as fault:
            raise _lost(fault) from fault

    def _receive(self, now_s: float, line_bytes: int, least: int) -> int:
        """Gather bytes up to the end of a frame, if they go on arriving; how many, none after a tick without any.

        Args:
            now_s: about.
            line_bytes: of all requests and replies under way, at most.
            least: fewer bytes than that, the delimiter included, are no whole reply.
        """
        fd, buffer, view = self._fd, self._received, self._received_view
        is_soon_done = line_bytes <= WATCHED_BYTES
        try:
            if is_soon_done:
                self._long_watch.wait()
            got = size = os.readv(fd, [view])
            if size and buffer[size - 1]:
                while size >= SLIVER_BYTES and got <= least and buffer[got - 1]:  # nothing to look at but the pace
                    if is_soon_done:
                        self._long_watch.look()
                    size = os.readv(fd, [view[got:]])
                    got += size
                if size and buffer[got - 1]:
                    got = self._receive_slivers(got, size, least, now_s + TICK_S)
            if is_soon_done:
                self._long_watch.note()
        except OSError as fault:
            raise _lost(fault) from fault
        return got

    def _receive_slivers(self, got: int, size: int, least: int, end_s: float) -> int:
        """Go on where `_receive` has `got` bytes, of which the latest `size` came together."""
        fd, buffer, view, pace = self._fd, self._received, self._received_view, self._pace
        pace.begin(got)
        while time.monotonic() < end_s and got < RECEIVE_BYTES:
            if got > least and buffer.find(0, got - size, got) >= 0:
                break
            pace.nap(got, size, least - got)
            size = os.readv(fd, [view[got:]])
            got += size
            if not size or not buffer[got - 1]:
                break
        pace.end(got)
        return got

    def _receive_or_write(self, now_s: float) -> int:
        """The tty was full: write whenever it has room, until all is written, bytes arrived, or a tick has passed."""
        if self._engine.reply_bytes <= PATIENT_REPLY_BYTES:
            self._write_patiently()
            return 0
        fd, end_s = self._fd, now_s + TICK_S
        try:
            os.set_blocking(fd, False)
            while self._to_send and now_s < end_s:
                ready = self._poll.poll(TICK_DECISECONDS * 100)
                events = ready[0][1] if ready else 0
                if events & select.POLLIN:
                    return os.readv(fd, [self._received_view])
                if events & select.POLLOUT:
                    self._to_send = self._to_send[os.write(fd, self._to_send) :]
                elif events:
                    raise LinkLost("the serial port ended")
                now_s = time.monotonic()
        except BlockingIOError:
            pass
        except OSError as fault:
            raise _lost(fault) from fault
        finally:
            os.set_blocking(fd, True)
        return 0


def _lost(fault: OSError) -> LinkLost:
    return LinkLost(f"the serial port failed: {fault}")


def set_up(fd: int) -> None:
    """Make a tty raw, with reads that wait for the first byte, but no longer than a tick."""
    tty.setraw(fd)
    settings = termios.tcgetattr(fd)
    settings[6][termios.VMIN] = 0
    settings[6][termios.VTIME] = TICK_DECISECONDS
    termios.tcsetattr(fd, termios.TCSANOW, settings)
    os.set_blocking(fd, True)


def set_speed(fd: int, baud: int) -> None:
    """Set a tty's speed. Raises: ValueError: the platform has no constant for it; open the port with pyserial then."""
    speed = getattr(termios, f"B{baud}", None)
    if speed is None:
        raise ValueError(f"{baud} baud is not one of this platform's standard speeds; open the port with pyserial")
    settings = termios.tcgetattr(fd)
    settings[4] = settings[5] = speed
    termios.tcsetattr(fd, termios.TCSANOW, settings)
