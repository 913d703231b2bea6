"""Loading boards: fence first, then load, then check by a hello that the right design runs, then report."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog

from lutlab_board_agent.app.ports import Bitstreams, Clock, Commands, Programmer
from lutlab_board_agent.app.serve_bus import BoardBus
from lutlab_board_agent.app.watch_board import report_lost
from lutlab_board_agent.domain.errors import LoaderFailed, SerialUnavailable
from lutlab_board_agent.domain.fencing import Verdict, begin, finish, judge
from lutlab_bus import BusFault, LinkTimeout
from lutlab_events import ids
from lutlab_events.busmsg import BusStatus
from lutlab_events.commands import ReportProgramFailed, ReportProgrammed
from lutlab_events.work import ProgramWork

log = structlog.get_logger(__name__)

LOADER_TIMEOUT_S_MAX = 120.0
"""Whatever the deadline, a loader that takes longer than this hangs."""
SERIAL_RETURN_S = 5.0
"""Some cables take the tty away while they load; it must be back after this long."""
POLL_S = 0.1
HELLO_TIMEOUT_S = 10.0
"""How long a design has to say hello after it was loaded: real ones need milliseconds, simulated ones some seconds."""
BLOB_TRIES_MAX = 10
BLOB_RETRY_S = 1.0


@dataclass(frozen=True)
class Done:
    """The work needs no more deliveries."""


@dataclass(frozen=True)
class Later:
    """Deliver the work again after `wait_s`."""

    wait_s: float


Outcome = Done | Later


class ProgramFailed(Exception):
    """The load failed for good; `code` and the message go to the ledger."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BitstreamMissing(Exception):
    """The bitstream is not in the blob store."""


class BoardGone(Exception):
    """The board is unplugged."""


class Superseded(Exception):
    """A newer load was ordered."""


class ProgramService:
    """Carries out program work, for different boards at once, for one board in order of arrival."""

    def __init__(
        self,
        buses: Mapping[str, BoardBus],
        *,
        site: str,
        agent_id: str,
        programmer: Programmer,
        bitstreams: Bitstreams,
        commands: Commands,
        clock: Clock,
    ) -> None:
        self._buses = buses
        self._site = site
        self._agent_id = agent_id
        self._programmer = programmer
        self._bitstreams = bitstreams
        self._commands = commands
        self._clock = clock

    async def handle(self, work: ProgramWork, *, tries: int) -> Outcome:
        """Carry out one delivery of work. `tries` counts its deliveries from 1. Fences before it waits for its turn."""
        bus = self._buses.get(work.board_key)
        if bus is None:
            known = ", ".join(sorted(self._buses)) or "none"
            await self._report_failed(
                work, "unknown_board", f"agent {self._agent_id} has no board {work.board_key!r}; it has: {known}"
            )
            return Done()
        seat = bus.seat
        if judge(seat.memory, work) is Verdict.NEW:
            bus.cut(BusStatus.STALE_LEASE, f"the board is being loaded under epoch {work.epoch}")
            if seat.loading is not None:
                seat.loading.cancel()
            await seat.remember(begin(work))
        async with seat.wheel:
            return await self._carry_out(bus, work, tries)

    async def _carry_out(self, bus: BoardBus, work: ProgramWork, tries: int) -> Outcome:
        seat = bus.seat
        verdict = judge(seat.memory, work)
        logger = log.bind(board_key=work.board_key, epoch=work.epoch, correlation_id=str(work.correlation_id))
        if verdict is Verdict.STALE:
            logger.warning("stale_work_dropped", newest_epoch=seat.memory.epoch, tries=tries)
            return Done()
        if verdict is Verdict.FINISHED and await self._still_runs(bus):
            logger.info("finished_work_reported_again", tries=tries)
            await self._report_programmed(work)
            return Done()
        seat.loading = asyncio.create_task(self._load(bus, work))
        try:
            await seat.loading
        except (asyncio.CancelledError, Superseded):
            if judge(seat.memory, work) is not Verdict.STALE:
                raise  # the agent stops; the work will be delivered again
            logger.info("load_superseded", newest_epoch=seat.memory.epoch)
            return Done()
        except BitstreamMissing as error:
            if tries < BLOB_TRIES_MAX:
                logger.warning("bitstream_missing", digest=work.bitstream.digest, tries=tries)
                return Later(BLOB_RETRY_S)
            await self._report_failed(work, "blob_missing", str(error))
            return Done()
        except ProgramFailed as error:
            logger.warning("load_failed", code=error.code, error=str(error))
            await self._report_failed(work, error.code, str(error))
            return Done()
        except BoardGone as error:
            logger.warning("board_lost_while_loading", error=str(error))
            await report_lost(bus, self._commands, self._agent_id, str(error))
            return Done()
        except Exception as error:
            logger.exception("load_crashed")
            await self._report_failed(work, "agent_failed", f"the board agent failed: {error!r}; its log has more")
            return Done()
        finally:
            seat.loading = None
        logger.info("board_loaded", build_id=work.bitstream.build_id, session_id=str(work.session_id), tries=tries)
        await self._report_programmed(work)
        return Done()

    async def _still_runs(self, bus: BoardBus) -> bool:
        """Whether the design that was loaded before still answers; says hello without disturbing traffic."""
        seat = bus.seat
        if not seat.attached:
            return False
        try:
            if seat.link is None:
                await seat.connect(HELLO_TIMEOUT_S)
            else:
                seat.running_build_id = (await seat.link.hello(HELLO_TIMEOUT_S)).build_id
        except (SerialUnavailable, BusFault):
            return False
        return seat.runs_as_remembered

    async def _load(self, bus: BoardBus, work: ProgramWork) -> None:
        """Load and check. Raises: ProgramFailed, BitstreamMissing, BoardGone, Superseded."""
        seat = bus.seat
        if judge(seat.memory, work) is Verdict.STALE:
            raise Superseded  # while it was asked whether the design still runs
        # Also on redelivery of unfinished work: no traffic may ride on a half-loaded device.
        bus.cut(BusStatus.STALE_LEASE, f"the board is being loaded under epoch {work.epoch}")
        if seat.memory.loaded or seat.memory.digest != work.bitstream.digest:
            await seat.remember(begin(work))
        await seat.make_durable()  # another delivery of this work may still be saving its epoch
        if work.bitstream.profile != seat.board.profile:
            raise ProgramFailed(
                "wrong_device",
                f"the bitstream is for profile {work.bitstream.profile}, but board {seat.board.key} is a "
                f"{seat.board.profile}",
            )
        if not seat.present:
            raise BoardGone(f"{seat.board.serial.path} is gone: the board is unplugged")
        bitstream = await self._bitstreams.get(work.bitstream.digest)
        if bitstream is None:
            raise BitstreamMissing(f"bitstream {work.bitstream.digest} is not in the blob store")
        try:
            await self._programmer.load(seat.board.cable, bitstream, timeout_s=self._time_left_s(work))
            await self._check(bus, work)
            await bus.name_signals(bitstream)
        except LoaderFailed as error:
            if not seat.present:
                raise BoardGone(f"the board was unplugged while it was loaded: {error}") from error
            raise ProgramFailed(error.code, str(error)) from error
        if judge(seat.memory, work) is Verdict.STALE:
            raise Superseded
        await seat.remember(finish(seat.memory))
        seat.attached = True

    def _time_left_s(self, work: ProgramWork) -> float:
        left_s = (work.deadline_at - self._clock.now()).total_seconds()
        if left_s <= 0:
            raise ProgramFailed(
                "deadline_passed",
                f"the work's deadline passed {-left_s:.0f} s ago by this host's clock; "
                "check that clocks agree if this repeats",
            )
        return min(left_s, LOADER_TIMEOUT_S_MAX)

    async def _check(self, bus: BoardBus, work: ProgramWork) -> None:
        """Open the line and see that the design answers, under its own name."""
        seat = bus.seat
        await self._await_line(bus)
        try:
            info = await seat.connect(HELLO_TIMEOUT_S)
        except SerialUnavailable as error:
            if not seat.present:
                raise BoardGone(str(error)) from error
            raise ProgramFailed(error.code, str(error)) from error
        except BusFault as error:
            if not seat.present:
                raise BoardGone(f"the board was unplugged after it was loaded: {error}") from error
            code = "design_silent" if isinstance(error, LinkTimeout) else error.code
            raise ProgramFailed(
                code, f"the loaded design did not say hello on {seat.board.serial.path}: {error}"
            ) from error
        if info.build_id != work.bitstream.build_id:
            seat.disconnect()
            raise ProgramFailed(
                "wrong_build",
                f"the loaded design says build {info.build_id:08x}, expected {work.bitstream.build_id:08x}; "
                f"is {seat.board.serial.path} the serial line of the board that the cable programs?",
            )

    async def _await_line(self, bus: BoardBus) -> None:
        """Some cables take the tty away while they load."""
        try:
            async with asyncio.timeout(SERIAL_RETURN_S):
                while not bus.seat.present:  # noqa: ASYNC110 - a file system has no event for this
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise BoardGone(f"{bus.seat.board.serial.path} was gone after the load") from None

    async def _report_programmed(self, work: ProgramWork) -> None:
        await self._commands.send(
            ReportProgrammed(fpga_id=work.fpga_id, epoch=work.epoch),
            command_id=self._report_id("programmed", work),
            correlation_id=work.correlation_id,
        )

    async def _report_failed(self, work: ProgramWork, code: str, message: str) -> None:
        await self._commands.send(
            ReportProgramFailed(fpga_id=work.fpga_id, epoch=work.epoch, code=code, message=message),
            command_id=self._report_id("program-failed", work),
            correlation_id=work.correlation_id,
        )

    def _report_id(self, what: str, work: ProgramWork) -> UUID:
        return ids.derived(what, self._site, work.board_key, work.epoch)
