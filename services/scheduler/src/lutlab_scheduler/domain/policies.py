"""What the scheduler does by itself: pure functions from the present state of the lab to commands.

Theory. A policy looks at *states*, not at single events: "a built job and a free board exist" rather than "a board
became free". So nothing is forgotten when a process dies between an event and its effect, replaying the log does
nothing, and it does no harm to look too often: a command's id is derived from what it is about and from the version of
the aggregate that called for it, so the same situation always gives the same command, which is carried out once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from lutlab_events import commands as c
from lutlab_events import verification as v
from lutlab_events.ids import derived
from lutlab_events.values import BoardState
from lutlab_scheduler.domain.agent import Agent, AgentState
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.job import Job
from lutlab_scheduler.domain.matching import Waiting, match
from lutlab_scheduler.domain.verification import Verification


@dataclass(frozen=True, slots=True)
class Due:
    """A command that is due now, under an id its cause decides; `correlation_id` None stands for the command's own."""

    command_id: UUID
    command: c.Command
    correlation_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Agenda:
    """What is due now, and when to look again if nothing changes before."""

    due: list[Due]
    next_at: datetime | None


def agenda(
    jobs: Iterable[Job],
    boards: Iterable[Board],
    now: datetime,
    boards_max: int | None = None,
    waiting: Waiting | None = None,
) -> Agenda:
    """Everything the lab owes at `now`: matches, retried resets, health checks, expired sessions, loads and builds.

    Args:
        boards_max: how many boards one owner may have at once; None for any number.
        waiting: the built jobs among `jobs`; then `jobs` need only hold those with a deadline.
    """
    jobs, boards = list(jobs), list(boards)
    timed: list[tuple[datetime, Due]] = []
    for board in boards:
        timed += _board_timers(board, now)
    for job in jobs:
        if job.deadline_at is not None:
            timed += _job_timers(job, now)
    due = assignments(jobs if waiting is None else waiting, boards, boards_max) + [
        what for at, what in timed if at <= now
    ]
    return Agenda(due, min((at for at, _ in timed if at > now), default=None))


def assignments(jobs: Iterable[Job] | Waiting, boards: Iterable[Board], boards_max: int | None = None) -> list[Due]:
    """A board for every built job that can have one."""
    result: list[Due] = []
    for pair in match(jobs, boards, boards_max):
        job, board = pair.job, pair.board
        command = c.AssignBoard(
            job_id=job.job_id,
            fpga_id=board.fpga_id,
            session_id=derived("session", job.job_id, board.fpga_id, board.version),
        )
        ident = derived("assign", job.job_id, job.version, board.fpga_id, board.version)
        result.append(Due(ident, command, job.correlation_id))
    return result


def _board_timers(board: Board, now: datetime) -> list[tuple[datetime, Due]]:
    """The board's timers, each with the moment it goes off."""
    result: list[tuple[datetime, Due]] = []
    fpga_id, version = board.fpga_id, board.version
    session = board.session
    if session is not None:
        expire = c.ExpireSession(fpga_id=fpga_id, session_id=session.session_id, now=now)
        result.append((session.expires_at, Due(derived("expire-session", fpga_id, version), expire)))
    if board.loading is not None and board.loading.bitstream is not None:
        deadline = c.ExpireDeadline(fpga_id=fpga_id, epoch=board.epoch, now=now)
        result.append((board.loading.deadline_at, Due(derived("expire-load", fpga_id, version), deadline)))
    if board.state is BoardState.ERROR and board.retry_at is not None:
        retry = c.RetryReset(fpga_id=fpga_id, failed_epoch=board.epoch)
        result.append((board.retry_at, Due(derived("retry-reset", fpga_id, version), retry)))
    check_at = board.absence.check_at if board.absence else None
    if check_at is not None and board.retry_at is None and board.state in {BoardState.IDLE, BoardState.ERROR}:
        check = c.CheckBoard(fpga_id=fpga_id, epoch=board.epoch, now=now)
        result.append((check_at, Due(derived("check-board", fpga_id, version), check)))
    return result


def _job_timers(job: Job, now: datetime) -> list[tuple[datetime, Due]]:
    if job.deadline_at is None:
        return []
    expire = c.ExpireBuild(job_id=job.job_id, attempt=job.attempt, now=now)
    return [(job.deadline_at, Due(derived("expire-build", job.job_id, job.version), expire, job.correlation_id))]


def stage_timers(jobs: Iterable[Verification], now: datetime) -> Agenda:
    """The stages whose time is over, and when the next one's is."""
    due: list[Due] = []
    later: list[datetime] = []
    for job in jobs:
        if job.deadline_at is None or job.stage is None:
            continue
        if job.deadline_at > now:
            later.append(job.deadline_at)
            continue
        expire = v.ExpireStage(job_id=job.job_id, stage=job.stage, attempt=job.attempt, now=now)
        due.append(Due(derived("expire-stage", job.job_id, job.version), expire, job.correlation_id))
    return Agenda(due, min(later, default=None))


def lapsed(
    agents: Iterable[Agent], seen: Mapping[str, datetime], since: datetime, now: datetime, lease: timedelta
) -> list[Due]:
    """The loss of every present agent that has not been heard of for `lease`.

    Args:
        seen: when each agent was last heard of.
        since: when listening began; an agent never heard of counts from then.
    """
    result: list[Due] = []
    for agent in agents:
        last = max(seen.get(agent.agent_id, since), since)
        if agent.state is AgentState.PRESENT and now - last > lease:
            command = c.LoseAgent(agent_id=agent.agent_id, incarnation=agent.incarnation)
            result.append(Due(derived("lose-agent", agent.agent_id, agent.version), command))
    return result
