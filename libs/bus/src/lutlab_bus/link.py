"""A link to one board over a byte stream: callers' operations in, results out, whatever happens on the line.

Calls from any number of tasks share frames: what is asked for in one turn of the event loop travels together, in the
order of asking. While somebody waits, one task reads from the port; otherwise nothing runs. A call that is cancelled or
runs out of time leaves the link in step: its reply is dropped when it comes.
"""

from __future__ import annotations

import asyncio
import secrets
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from lutlab_bus import wire
from lutlab_bus.board_info import BoardInfo
from lutlab_bus.calls import LATE, WORDS_TOGETHER_MAX, Call, WordCalls, status_of
from lutlab_bus.counters import LinkCounters
from lutlab_bus.engine import Engine, Greeting
from lutlab_bus.errors import (
    BusFault,
    InvalidOperation,
    LinkLost,
    LinkTimeout,
    ProtocolFault,
    ProtocolMismatch,
    design_fault,
)
from lutlab_bus.jobs import Job, Vector, job_of
from lutlab_bus.operations import Operation, Result, Status, Words, as_words, check_address, check_addresses

READ_BYTES = 65_536
"""Most bytes taken from the port at once."""
OPEN_TIMEOUT_S = 10.0
OPERATIONS_MAX = 1 << 16
"""Operations of one call."""
ADDRESSES = 1 << wire.ADDRESS_BITS_MAX
_STATUSES = {status.value: status for status in Status}


class SerialPort(Protocol):
    """The byte stream to a board; the agent's adapter and `asyncio` streams (`StreamPort`) fit.

    A port keeps reading in the background. The link never closes it. A failure is an `OSError`.
    """

    def write(self, data: bytes) -> None:
        """Queue bytes for sending; does not wait. The link never has more under way than the board's rings hold."""
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
        reader, writer: the two halves of one connection.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def drain(self) -> None:
        await self.writer.drain()

    async def read(self, limit_bytes: int) -> bytes:
        return await self.reader.read(limit_bytes)


class BusLink:
    """The host's end of the line to one board. Use `open`.

    Attributes:
        counters: what happened so far.
    """

    def __init__(self, port: SerialPort, counters: LinkCounters | None = None) -> None:
        self._port = port
        self._loop = asyncio.get_running_loop()
        self.counters = LinkCounters() if counters is None else counters
        self._engine = Engine(self.counters, secrets.randbits)
        self._calls: dict[Call | WordCalls, None] = {}  # in the order of asking
        self._reader: asyncio.Task[None] | None = None
        self._gathered: WordCalls | None = None  # one-word reads of this turn of the loop, not in the engine yet
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False

    @classmethod
    async def open(
        cls, port: SerialPort, *, timeout_s: float = OPEN_TIMEOUT_S, counters: LinkCounters | None = None
    ) -> Self:
        """Take over a port, drop what an earlier user left behind, and say hello.

        Args:
            port: a fresh or a used one.
            timeout_s: for the hello.
            counters: go on counting in these.

        Raises:
            LinkTimeout: nobody answered. LinkLost: the port ended. ProtocolMismatch: another protocol version.
        """
        link = cls(port, counters)
        await link.hello(timeout_s)
        return link

    @property
    def info(self) -> BoardInfo:
        """What the latest hello told."""
        if self._engine.info is None:
            raise LinkLost("no hello was answered yet; open the link first")
        return self._engine.info

    @property
    def in_step(self) -> bool:
        """No request is unanswered."""
        return self._engine.idle and self._gathered is None

    async def hello(self, timeout_s: float = OPEN_TIMEOUT_S) -> BoardInfo:
        """Ask the bitstream who it is, after the calls before. So a host learns about a board that was reprogrammed.

        Raises:
            LinkTimeout, LinkLost, ProtocolMismatch: as for `open`.
        """
        call = self._call(1, timeout_s)
        self._submit(Greeting(call))
        await self._wait(call, lambda: f"no answer to hello within {timeout_s:g} s")
        return self.info

    async def execute(self, operations: Sequence[Operation], timeout_s: float) -> list[Result]:
        """Run operations in order, pipelined.

        An operation that fails on the bus does not stop the ones after it.

        Args:
            operations: at most `OPERATIONS_MAX`.
            timeout_s: for everything: waiting for the link, repetitions, the transfer itself.

        Returns:
            One result per operation.

        Raises:
            InvalidOperation: too many operations; nothing was sent.
            LinkTimeout, LinkLost, ProtocolFault: operations may or may not have run, none of them twice.
            ProtocolMismatch: see `open`; nothing was sent.
        """
        if len(operations) > OPERATIONS_MAX:
            raise InvalidOperation(f"{len(operations)} operations in one call; at most {OPERATIONS_MAX}")
        if not operations:
            return []
        call = self._call(len(operations), timeout_s)
        jobs = [job_of(call, index, operation) for index, operation in enumerate(operations)]
        for job in jobs:
            self._submit(job)
        await self._wait(call, lambda: f"{len(operations)} operations not done within {timeout_s:g} s")
        return [Result(_status(job.status), job.words) for job in jobs]

    async def read_word(self, address_words: int, timeout_s: float) -> int:
        """Read one word: the quick way for many tasks at once.

        Raises:
            DesignFault: its subclass tells what the design did. Otherwise as `execute`.
        """
        if not 0 <= address_words < ADDRESSES:
            check_address(address_words)
        calls = self._gathered
        if calls is None or calls.timeout_s != timeout_s or len(calls.futures) >= WORDS_TOGETHER_MAX:
            calls = self._gather(timeout_s)
        future = self._loop.create_future()
        calls.futures.append(future)
        calls.addresses.append(address_words)
        try:
            answer: int = await future
        except BaseException:
            if not calls.waiting:
                self._drop(calls)
            raise
        if answer >= 0:
            return answer
        if answer == LATE:
            raise self._timed_out(f"the read of word {address_words:#x} was not done within {timeout_s:g} s")
        raise design_fault(status_of(answer), address_words)

    async def read_each(self, addresses_words: Iterable[int], timeout_s: float) -> Result:
        """Read words from independent addresses in one call.

        Args:
            addresses_words: best an `array('I')`.
            timeout_s: for everything.

        Returns:
            The words in the order of the addresses, zeros for those that failed; the status is the first fault.

        Raises:
            As `execute`.
        """
        return await self._vector(addresses_words, None, timeout_s)

    async def write_each(self, addresses_words: Iterable[int], words: Words, timeout_s: float) -> Result:
        """Write words to independent addresses, in order, in one call; otherwise as `read_each`."""
        return await self._vector(addresses_words, as_words(words), timeout_s)

    async def _vector(self, addresses_words: Iterable[int], words: array[int] | None, timeout_s: float) -> Result:
        addresses = check_addresses(addresses_words, words)
        if not addresses:
            return Result(Status.OK)
        call = self._call(1, timeout_s)
        job = Vector(call, addresses, words)
        self._submit(job)
        await self._wait(call, lambda: f"{len(addresses)} single words not done within {timeout_s:g} s")
        return Result(_status(job.status), job.words)

    # -- waiting

    def _submit(self, job: Job | Greeting) -> None:
        """Queue a job behind everything that was asked for before."""
        if self._gathered is not None:
            self._submit_gathered()
        self._engine.submit(job)

    def _gather(self, timeout_s: float) -> WordCalls:
        """From now on one-word reads that come right one after the other are one job."""
        self._submit_gathered()
        calls = self._gathered = WordCalls(timeout_s, self._loop.time())
        self._calls[calls] = None
        self._pump_soon()
        return calls

    def _submit_gathered(self) -> None:
        calls, self._gathered = self._gathered, None
        if calls is not None and (job := calls.job()) is not None:
            self._engine.submit(job)

    def _pump_soon(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _call(self, jobs: int, timeout_s: float) -> Call:
        call = Call(self._loop.create_future(), jobs, self._loop.time() + timeout_s)
        self._calls[call] = None
        return call

    async def _wait(self, call: Call, what: Callable[[], str]) -> None:
        self._pump_soon()
        done = False
        try:
            done = await call.future
        finally:
            if not done:
                self._drop(call)
        if not done:
            raise self._timed_out(what())

    def _drop(self, call: Call | WordCalls) -> None:
        """Its task was cancelled, or its time is up."""
        call.open = False
        self._forget(call)
        if not self._calls:
            self._rest()

    def _forget(self, call: Call | WordCalls) -> None:
        self._calls.pop(call, None)
        if call is self._gathered:
            self._gathered = None  # nobody may join it any more

    def _timed_out(self, what: str) -> LinkTimeout:
        self.counters.timeouts += 1
        state = "" if self._engine.idle else "; operations may or may not have run"
        return LinkTimeout(f"{what} ({self.counters.bytes_received} bytes received so far{state})")

    def _pump(self) -> None:
        """Send what can be sent, and see that somebody reads and that time is watched."""
        self._pumping = False
        if not self._calls:
            return
        self._submit_gathered()
        now_s = self._loop.time()
        try:
            while data := self._engine.poll(now_s):
                self._port.write(data)
                if not self._engine.queued:
                    break
        except OSError as fault:
            self._fail(LinkLost(f"the serial port failed: {fault}"))
            return
        if self._reader is None:
            self._reader = self._loop.create_task(self._read())
            self._reader.add_done_callback(self._reader_ended)
        self._watch()

    async def _read(self) -> None:
        while self._calls:
            try:
                data = await self._port.read(READ_BYTES)
            except OSError as fault:
                self._fail(LinkLost(f"the serial port failed: {fault}"))
                return
            if not data:
                self._fail(LinkLost("the serial port ended"))
                return
            try:
                completed = self._engine.receive(data, self._loop.time())
            except ProtocolMismatch as fault:
                self._fail(fault)
                return
            for job in completed:
                self._complete(job)
            # Whoever was answered asks next before anything is sent, so that their requests share a frame.
            self._pump_soon()
            await asyncio.sleep(0)

    def _reader_ended(self, task: asyncio.Task[None]) -> None:
        self._reader = None
        if not task.cancelled() and (defect := task.exception()) is not None:
            self._fail(ProtocolFault(f"the link failed: {defect!r}"))
            raise defect
        if self._calls and not self._pumping:
            self._pump()

    def _complete(self, job: Job | Greeting) -> None:
        call = job.owner
        assert isinstance(call, Call | WordCalls)
        if call.open and call.answer(job):
            self._calls.pop(call, None)

    def _fail(self, fault: BusFault) -> None:
        self._engine.close()
        if isinstance(fault, ProtocolFault):
            self.counters.protocol_faults += 1
        calls, self._calls = self._calls, {}
        self._gathered = None
        for call in calls:
            call.fail(fault)

    def _watch(self) -> None:
        """See that the timer fires no later than the earliest thing that is due; it may fire for nothing."""
        due_s = min(call.deadline_s for call in self._calls)
        wake_s = self._engine.wake_s
        if wake_s is not None and wake_s < due_s:
            due_s = wake_s
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due_s, self._on_timer)

    def _rest(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reader is not None:
            self._reader.cancel()

    def _on_timer(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        for call in [call for call in self._calls if call.deadline_s <= now_s]:
            self._forget(call)
            call.late()
            if self._engine.unanswered and not self._engine.live:
                self._engine.doubtful = True
        if self._calls:
            self._pump()
        else:
            self._rest()


def _status(status: int) -> Status:
    known = _STATUSES.get(status)
    if known is None:
        raise ProtocolFault(f"a reply has the unknown status {status}")
    return known
