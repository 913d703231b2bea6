"""Boards, jobs, logs, results and events, as the caller may see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from lutlab_api.app.auth import require_admin
from lutlab_api.app.ports import EventFilter, JobFilter, Ledger
from lutlab_api.domain.errors import Code, Conflict, Invalid, Missing, NotAllowed, job_not_found
from lutlab_api.domain.views import (
    AgentView,
    BoardView,
    Caller,
    EventView,
    Failure,
    JobDetail,
    JobView,
    SessionView,
    StoredAnswer,
)
from lutlab_events.ids import board_stream
from lutlab_events.values import TERMINAL, JobStatus, JobType


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a job went: `data` has the words of a transaction; `failure` says why it is not `ok`; `ops` are a batch's."""

    ok: bool
    data: tuple[int, ...] = ()
    failure: Failure | None = None
    ops: tuple[Result, ...] = ()


def _step(told: Mapping[str, Any]) -> Result:
    """One operation of a batch, as the view has it."""
    error = told["error"]
    failure = None if error is None else Failure(code=error["code"], message=error["message"])
    return Result(ok=told["ok"], data=tuple(told["data"]), failure=failure)


QUEUE_LISTED_MAX = 10_000


def parse_job_id(text: str) -> UUID:
    """A job's id. Raises: Missing `job_not_found`: what is no UUID names no job."""
    try:
        return UUID(text)
    except ValueError:
        raise job_not_found(text) from None


class Reads:
    """Answers from the views.

    Args:
        public_reads: jobs, their logs and their results are readable by anybody who knows their id; without it only by
            their owner, the owner's team, and admins.
    """

    def __init__(self, ledger: Ledger, *, public_reads: bool) -> None:
        self._ledger = ledger
        self._public_reads = public_reads

    async def boards(self) -> list[BoardView]:
        """Every board."""
        return await self._ledger.boards()

    async def board(self, fpga_id: int) -> BoardView:
        """One board. Raises: Missing."""
        board = await self._ledger.board(fpga_id)
        if board is None:
            raise Missing(Code.FPGA_NOT_FOUND, f"there is no board {fpga_id}; list the lab's boards with GET /fpga")
        return board

    async def session(self, fpga_id: int) -> SessionView:
        """A board's session. Raises: Missing."""
        board = await self.board(fpga_id)
        if board.session is None:
            raise Missing(Code.NO_ACTIVE_SESSION, f"board {fpga_id} has no session; it is {board.public_state}")
        return board.session

    async def session_on(self, fpga_id: int) -> SessionView | None:
        """A board's session, None where there is none, or no such board."""
        board = await self._ledger.board(fpga_id)
        return None if board is None else board.session

    async def answer(self, command_id: UUID) -> StoredAnswer | None:
        """What this command was answered, if the scheduler has seen it."""
        return await self._ledger.answer(command_id)

    async def jobs(self, caller: Caller, wanted: JobFilter) -> list[JobView]:
        """Jobs. Raises: NotAllowed, if a member asks for those of others; Invalid, if there is no job `before`."""
        await self.check_owner(caller, wanted.owner)
        found = await self._ledger.jobs(wanted)
        if not found and wanted.before is not None and await self._ledger.job(wanted.before) is None:
            raise Invalid(Code.INVALID_CURSOR, f"there is no job {wanted.before}, so none were submitted before it")
        return found

    async def check_owner(self, caller: Caller, owner: str | None) -> None:
        """Pass whoever may read this owner's jobs; None means everybody's. Raises: NotAllowed."""
        if owner != caller.owner and not (owner and await self._are_teammates(caller, owner)):
            require_admin(caller)

    async def _are_teammates(self, caller: Caller, owner: str) -> bool:
        return caller.team is not None and await self._ledger.are_teammates(owner, caller.team)

    async def job(self, job_text: str, caller: Caller | None, fpga_id: int | None = None) -> JobView:
        """One job, on board `fpga_id` if given.

        Raises:
            Missing: there is no such job (there).
            NotAllowed: it is somebody else's, and reads are not public.
        """
        job = await self._ledger.job(parse_job_id(job_text))
        return await self._shown(job, job_text, caller, fpga_id)

    async def detail(self, job_text: str, caller: Caller | None, fpga_id: int | None = None) -> JobDetail:
        """One job with everything known about it. Raises: as `job`."""
        detail = await self._ledger.job_detail(parse_job_id(job_text))
        await self._shown(None if detail is None else detail.job, job_text, caller, fpga_id)
        assert detail is not None
        return detail

    async def _shown(self, job: JobView | None, job_text: str, caller: Caller | None, fpga_id: int | None) -> JobView:
        if job is None or (fpga_id is not None and job.fpga_id != fpga_id):
            raise job_not_found(job_text)
        if self._public_reads:
            return job
        if caller is None:
            raise NotAllowed(Code.NOT_YOUR_JOB, f"job {job.job_id} belongs to somebody else")
        await self.check_mine(job, caller)
        return job

    async def check_mine(self, job: JobView, caller: Caller) -> None:
        """Pass the owner, the owner's team and admins. Raises: NotAllowed."""
        if not await self.may_read(caller, job.owner):
            raise NotAllowed(Code.NOT_YOUR_JOB, f"job {job.job_id} belongs to somebody else")

    async def may_read(self, caller: Caller, owner: str) -> bool:
        """Whether designs of this owner are the caller's to read: the owner's, the owner's team's, and admins'."""
        return caller.is_admin or caller.owner == owner or await self._are_teammates(caller, owner)

    async def counted(self, caller: Caller, wanted: JobFilter) -> tuple[list[JobView], int]:
        """Jobs, and how many there are in all. Raises: as `jobs`."""
        found = await self.jobs(caller, wanted)
        return found, await self._ledger.count_jobs(wanted)

    async def queue(self) -> list[JobView]:
        """Builds that have not ended, oldest first."""
        return await self._ledger.queue(QUEUE_LISTED_MAX)

    async def agents(self) -> list[AgentView]:
        """Every agent."""
        return await self._ledger.agents()

    async def agent(self, agent_id: str) -> AgentView:
        """One agent. Raises: Missing."""
        for agent in await self._ledger.agents():
            if agent.agent_id == agent_id:
                return agent
        raise Missing(Code.AGENT_NOT_FOUND, f"there is no agent {agent_id[:64]!r}; list them with GET /api/v1/agents")

    async def sessions(self) -> list[SessionView]:
        """Every session, by board."""
        return [board.session for board in await self._ledger.boards() if board.session is not None]

    async def session_by_id(self, session_id: UUID) -> SessionView:
        """One session. Raises: Missing."""
        for session in await self.sessions():
            if session.session_id == session_id:
                return session
        raise Missing(Code.SESSION_NOT_FOUND, f"there is no session {session_id}; it may have ended")

    async def log(self, job_text: str, caller: Caller | None, fpga_id: int | None = None) -> str:
        """What the tools printed; a failed job's log ends with the reason. Raises: as `job`."""
        job = await self.job(job_text, caller, fpga_id)
        text = await self._ledger.job_log(job.job_id)
        if job.failure is None:
            return text
        where = f" in {job.failure.stage}" if job.failure.stage else ""
        return f"{text}\nFAILED{where}: {job.failure.code}\n{job.failure.message}\n".lstrip("\n")

    async def result(self, job_text: str, caller: Caller | None, fpga_id: int | None = None) -> Result:
        """How a job went.

        Raises:
            Conflict: `job_not_complete`: it has not ended, or was cancelled.
            Missing, NotAllowed: as `job`.
        """
        job = await self.job(job_text, caller, fpga_id)
        if job.status not in TERMINAL:
            message = f"job {job.job_id} is {job.status}; ask again when it is complete"
            raise Conflict(Code.JOB_NOT_COMPLETE, message, job_id=job.job_id)
        if job.status is JobStatus.CANCELLED:
            message = f"job {job.job_id} was cancelled and has no result"
            raise Conflict(Code.JOB_NOT_COMPLETE, message, job_id=job.job_id)
        told = (job.result or {}) if job.type is JobType.RUN else {}
        ops = tuple(_step(each) for each in told.get("ops", ()))
        if job.failure is not None:
            return Result(ok=False, failure=job.failure, ops=ops)
        return Result(ok=True, data=tuple(told.get("data", ())), ops=ops)

    async def board_events(self, fpga_id: int, after: int, limit: int) -> list[EventView]:
        """A board's history. Raises: Missing."""
        await self.board(fpga_id)
        return await self._ledger.events(EventFilter(after=after, limit=limit, stream=board_stream(fpga_id)))

    async def events(self, caller: Caller, after: int, limit: int) -> list[EventView]:
        """The log: all of it for admins; for members the boards' events and those of their own jobs."""
        visible_to = None if caller.is_admin else caller.owner
        return await self._ledger.events(EventFilter(after=after, limit=limit, visible_to=visible_to))
