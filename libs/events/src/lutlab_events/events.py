"""Events: what happened, in the past tense. A stored type is never renamed; a new shape is a new version, upcast."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from lutlab_events.values import (
    BitstreamRef,
    BusFailure,
    Frozen,
    JobType,
    Json,
    Role,
    RunStep,
    Scope,
    SessionEnd,
    Withdrawal,
)
from lutlab_events.verification import VerificationEvent
from lutlab_events.webhooks import WebhookEvent

# -- boards: stream `board-<fpga_id>` ------------------------------------------------------------


class BoardRegistered(Frozen, frozen=True, kw_only=True, tag="board.registered.v1"):
    """A board was seen for the first time and got its number.

    `epoch` is the newest its agent has seen: not 0 where the agent remembers more than this ledger does.
    """

    fpga_id: int
    board_key: str
    agent_id: str
    profile: str
    labels: tuple[str, ...] = ()
    epoch: int = 0


class BoardAttached(Frozen, frozen=True, kw_only=True, tag="board.attached.v1"):
    """A known board is served (again) by this agent, with what it was found running.

    `epoch` is the newest its agent has seen; `profile` and `labels` are None where they stayed the same.
    """

    agent_id: str
    running_build_id: int | None = None
    epoch: int = 0
    profile: str | None = None
    labels: tuple[str, ...] | None = None


class BoardLost(Frozen, frozen=True, kw_only=True, tag="board.lost.v1"):
    """The board cannot be reached: its agent's lease lapsed, or the agent found it unplugged."""

    agent_id: str
    reason: str


class BoardClaimed(Frozen, frozen=True, kw_only=True, tag="board.claimed.v1"):
    """An idle board was set aside for a job that is still to be built (older generation)."""

    job_id: UUID
    owner: str
    job_created_at: datetime


class BoardBuildStarted(Frozen, frozen=True, kw_only=True, tag="board.build_started.v1"):
    """The job this board is set aside for is being built."""

    job_id: UUID


class BoardUnclaimed(Frozen, frozen=True, kw_only=True, tag="board.unclaimed.v1"):
    """The job this board was set aside for ended before programming."""

    job_id: UUID
    reason: str


class ProgrammingStarted(Frozen, frozen=True, kw_only=True, tag="board.programming_started.v1"):
    """The board is being programmed for a job, under a new epoch."""

    job_id: UUID
    owner: str
    job_created_at: datetime
    session_id: UUID
    epoch: int
    bitstream: BitstreamRef
    deadline_at: datetime


class BoardProgrammed(Frozen, frozen=True, kw_only=True, tag="board.programmed.v1"):
    """The design runs and the session began."""

    job_id: UUID
    owner: str
    session_id: UUID
    epoch: int
    session_created_at: datetime
    session_expires_at: datetime


class ProgrammingFailed(Frozen, frozen=True, kw_only=True, tag="board.programming_failed.v1"):
    """The board could not be programmed."""

    job_id: UUID
    epoch: int
    code: str
    message: str


class SessionRenewed(Frozen, frozen=True, kw_only=True, tag="board.session_renewed.v1"):
    """Use of the board pushed the session's end away."""

    session_id: UUID
    expires_at: datetime


class SessionEnded(Frozen, frozen=True, kw_only=True, tag="board.session_ended.v1"):
    """The session is over; nothing it sends reaches the board any more."""

    session_id: UUID
    owner: str
    reason: SessionEnd


class ResetStarted(Frozen, frozen=True, kw_only=True, tag="board.reset_started.v1"):
    """The base design is being loaded, under a new epoch.

    `bitstream` is None while the profile's base design is not built yet; `job_id` is None where nobody asked (expiry).
    """

    epoch: int
    attempt: int
    deadline_at: datetime
    bitstream: BitstreamRef | None = None
    job_id: UUID | None = None
    job_created_at: datetime | None = None


class ResetSupplied(Frozen, frozen=True, kw_only=True, tag="board.reset_supplied.v1"):
    """The base design that a started reset waited for is there; its deadline counts from now."""

    epoch: int
    bitstream: BitstreamRef
    deadline_at: datetime


class BoardReset(Frozen, frozen=True, kw_only=True, tag="board.reset.v1"):
    """The base design runs; the board is free."""

    epoch: int


class ResetFailed(Frozen, frozen=True, kw_only=True, tag="board.reset_failed.v1"):
    """The base design could not be loaded. Retried a few times; can be asked for again for ever."""

    epoch: int
    attempt: int
    code: str
    message: str


class RestoreStarted(Frozen, frozen=True, kw_only=True, tag="board.restore_started.v1"):
    """The board came back without its session's design (power loss): it is loaded again, under a new epoch."""

    session_id: UUID
    epoch: int
    bitstream: BitstreamRef
    deadline_at: datetime


class BoardRestored(Frozen, frozen=True, kw_only=True, tag="board.restored.v1"):
    """The session's design runs again, from its initial state."""

    session_id: UUID
    epoch: int


class RestoreFailed(Frozen, frozen=True, kw_only=True, tag="board.restore_failed.v1"):
    """The session's design could not be loaded again."""

    session_id: UUID
    epoch: int
    code: str
    message: str


class BoardWithdrawn(Frozen, frozen=True, kw_only=True, tag="board.withdrawn.v1"):
    """The board gets no new jobs until it is returned. What it is doing goes on."""

    why: Withdrawal
    by: str
    reason: str


class BoardReturned(Frozen, frozen=True, kw_only=True, tag="board.returned.v1"):
    """The board gets jobs again: an admin says so, or it passed its health checks."""

    by: str
    reason: str


# -- jobs: stream `job-<job_id>` -----------------------------------------------------------------


class JobSubmitted(Frozen, frozen=True, kw_only=True, tag="job.submitted.v1"):
    """A job was accepted. Build jobs carry their source; reset jobs only their board."""

    job_id: UUID
    job_type: JobType
    owner: str
    source_digest: str | None = None
    filename: str | None = None
    top: str | None = None
    sys_clk_hz: int | None = None
    timing_target_mhz: float | None = None
    fpga_id: int | None = None
    profile: str | None = None
    labels: tuple[str, ...] = ()
    priority: int = 0


class BuildStarted(Frozen, frozen=True, kw_only=True, tag="job.build_started.v1"):
    """A builder took the job."""

    attempt: int
    builder_id: str
    deadline_at: datetime


class BuildStageEntered(Frozen, frozen=True, kw_only=True, tag="job.build_stage_entered.v1"):
    """The build reached a stage."""

    attempt: int
    stage: str


class BuildSucceeded(Frozen, frozen=True, kw_only=True, tag="job.build_succeeded.v1"):
    """The bitstream exists; the job waits for a board."""

    attempt: int
    bitstream: BitstreamRef
    report: Json
    cached: bool


class BuildRetried(Frozen, frozen=True, kw_only=True, tag="job.build_retried.v1"):
    """The build starts over as a new attempt."""

    attempt: int
    reason: str


class JobBoardAssigned(Frozen, frozen=True, kw_only=True, tag="job.board_assigned.v1"):
    """The job got its board and is being carried out there."""

    fpga_id: int
    epoch: int


class JobCompleted(Frozen, frozen=True, kw_only=True, tag="job.completed.v1"):
    """The job did what was asked."""

    result: Json | None = None


class JobFailed(Frozen, frozen=True, kw_only=True, tag="job.failed.v1"):
    """The job ended without doing what was asked."""

    code: str
    message: str
    stage: str | None = None


class JobCancelled(Frozen, frozen=True, kw_only=True, tag="job.cancelled.v1"):
    """The job was called off."""

    by: str


class RunRecorded(Frozen, frozen=True, kw_only=True, tag="job.run_recorded.v1"):
    """A whole bus transaction or a batch of them, from request to outcome, as one job; see `commands.RecordRun`."""

    job_id: UUID
    owner: str
    fpga_id: int
    session_id: UUID
    op: int
    address_bytes: int
    count: int
    fixed_address: bool
    data: tuple[int, ...] = ()
    failure: BusFailure | None = None
    ops: tuple[RunStep, ...] = ()


# -- agents, keys, profiles ----------------------------------------------------------------------


class AgentRegistered(Frozen, frozen=True, kw_only=True, tag="agent.registered.v1"):
    """An agent process serves these boards."""

    agent_id: str
    incarnation: UUID
    board_keys: tuple[str, ...]


class AgentLost(Frozen, frozen=True, kw_only=True, tag="agent.lost.v1"):
    """The agent's lease lapsed."""

    agent_id: str
    incarnation: UUID


class KeyIssued(Frozen, frozen=True, kw_only=True, tag="key.issued.v1"):
    """An API key exists."""

    key_id: UUID
    key_sha256: str
    owner: str
    role: Role
    label: str = ""
    scopes: tuple[Scope, ...] | None = None
    team: str | None = None
    expires_at: datetime | None = None


class KeyRotated(Frozen, frozen=True, kw_only=True, tag="key.rotated.v1"):
    """An API key has another secret; the one before works until `previous_until`."""

    key_id: UUID
    key_sha256: str
    previous_until: datetime


class KeyRevoked(Frozen, frozen=True, kw_only=True, tag="key.revoked.v1"):
    """An API key is worthless."""

    key_id: UUID


class BaseBuilt(Frozen, frozen=True, kw_only=True, tag="profile.base_built.v1"):
    """The profile's base design exists."""

    profile: str
    bitstream: BitstreamRef


BoardEvent = (
    BoardRegistered
    | BoardAttached
    | BoardLost
    | BoardClaimed
    | BoardBuildStarted
    | BoardUnclaimed
    | ProgrammingStarted
    | BoardProgrammed
    | ProgrammingFailed
    | SessionRenewed
    | SessionEnded
    | ResetStarted
    | ResetSupplied
    | BoardReset
    | ResetFailed
    | RestoreStarted
    | BoardRestored
    | RestoreFailed
    | BoardWithdrawn
    | BoardReturned
)
JobEvent = (
    JobSubmitted
    | BuildStarted
    | BuildStageEntered
    | BuildSucceeded
    | BuildRetried
    | JobBoardAssigned
    | JobCompleted
    | JobFailed
    | JobCancelled
    | RunRecorded
)
AgentEvent = AgentRegistered | AgentLost
KeyEvent = KeyIssued | KeyRotated | KeyRevoked
ProfileEvent = BaseBuilt
Event = BoardEvent | JobEvent | AgentEvent | KeyEvent | ProfileEvent | WebhookEvent | VerificationEvent
