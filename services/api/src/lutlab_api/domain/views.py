"""What the API reads from the ledger's views, and what the public sees of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from lutlab_api.domain.errors import Code
from lutlab_events.values import ROLE_SCOPES, BoardState, JobStatus, JobType, Role, Scope

PUBLIC_STATES: Mapping[BoardState, str] = {
    BoardState.IDLE: "idle",
    BoardState.QUEUED: "queued",
    BoardState.BUILDING: "building",
    BoardState.PROGRAMMING: "programming",
    BoardState.RESTORING: "programming",
    BoardState.RESETTING: "programming",
    BoardState.RESERVED: "reserved",
    BoardState.ERROR: "error",
    BoardState.LOST: "error",
}
"""The contract knows six states; ours have one of them each."""

ADDRESS_WORDS_DEFAULT = 512


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why something failed.

    Attributes:
        code: stable.
        message: with the tool's own words, where a tool failed.
        stage: the build stage, None outside of a build.
    """

    code: str
    message: str
    stage: str | None = None


@dataclass(frozen=True, kw_only=True)
class SessionView:
    """Somebody's right to a board, until `expires_at`."""

    session_id: UUID
    fpga_id: int
    owner: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class BoardView:
    """A board as the ledger has it.

    Attributes:
        address_words: the size of the loaded design's address space.
        is_away: whether it is in maintenance or quarantine and takes no jobs; `error` then says why, and an idle board
            shows as `error`, since the contract has no better word.
    """

    fpga_id: int
    state: BoardState
    profile: str
    agent_id: str
    epoch: int
    labels: tuple[str, ...] = ()
    owner: str | None = None
    session: SessionView | None = None
    current_job_id: UUID | None = None
    current_job_created_at: datetime | None = None
    address_words: int = ADDRESS_WORDS_DEFAULT
    error: Failure | None = None
    updated_at: datetime | None = None
    is_away: bool = False

    @property
    def public_state(self) -> str:
        """The contract's name of the state."""
        if self.is_away and self.state is BoardState.IDLE:
            return "error"
        return PUBLIC_STATES[self.state]

    @property
    def online(self) -> bool:
        """Whether the board can be reached."""
        return self.state is not BoardState.LOST


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job as the ledger has it.

    Attributes:
        number: its place in the queue.
        assigned_fpga_id: the board it runs on, once it has one.
        pinned_fpga_id: the board it was submitted to, for the older generation's submits.
        result: what a finished job yielded.
    """

    job_id: UUID
    number: int
    type: JobType
    status: JobStatus
    owner: str
    created_at: datetime
    updated_at: datetime
    assigned_fpga_id: int | None = None
    pinned_fpga_id: int | None = None
    profile: str | None = None
    stage: str | None = None
    built: bool = False
    failure: Failure | None = None
    result: Mapping[str, Any] | None = None

    @property
    def fpga_id(self) -> int | None:
        """The board, as soon as it is known."""
        return self.pinned_fpga_id if self.assigned_fpga_id is None else self.assigned_fpga_id

    @property
    def public_status(self) -> JobStatus:
        """The contract's status.

        A transaction that the design answered with a bus error was carried out: the job is complete, and its result
        says `ok: false` and why. The reference client reads the result only of complete jobs, so only then can it tell.
        """
        is_bus_error = self.failure is not None and self.failure.code == Code.BUS_ERROR
        return JobStatus.COMPLETE if self.type is JobType.RUN and is_bus_error else self.status

    @property
    def public_stage(self) -> str | None:
        """What a build job is doing, in words for a progress line; None unless it is running."""
        if self.type is not JobType.BUILD_AND_PROGRAM or self.status is not JobStatus.RUNNING:
            return None
        if self.assigned_fpga_id is not None:
            return "program"
        return "wait-for-board" if self.built else self.stage


@dataclass(frozen=True, kw_only=True)
class JobDetail:
    """A job with everything the ledger knows: the build report, the bitstream, what was asked."""

    job: JobView
    attempt: int = 0
    source_digest: str | None = None
    filename: str | None = None
    top: str | None = None
    sys_clk_hz: int | None = None
    timing_target_mhz: float | None = None
    bitstream: Mapping[str, Any] | None = None
    report: Mapping[str, Any] | None = None
    cached: bool | None = None
    correlation_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class KeyView:
    """An API key as the ledger has it: by its SHA-256 only.

    Attributes:
        named_scopes: what it was limited to, None for everything its role allows.
        team: whose jobs its owner may read.
        previous_sha256: of the secret before the last rotation, good until `previous_until`.
        last_used_at: to within a few seconds.
    """

    key_id: UUID
    key_sha256: str
    owner: str
    role: Role
    label: str = ""
    created_at: datetime | None = None
    revoked_at: datetime | None = None
    named_scopes: tuple[Scope, ...] | None = None
    team: str | None = None
    expires_at: datetime | None = None
    previous_sha256: str | None = None
    previous_until: datetime | None = None
    last_used_at: datetime | None = None

    @property
    def scopes(self) -> frozenset[Scope]:
        """What it is good for."""
        allowed = ROLE_SCOPES[self.role]
        return allowed if self.named_scopes is None else allowed & frozenset(self.named_scopes)


@dataclass(frozen=True, kw_only=True)
class AgentView:
    """A board agent as the ledger has it; `state` is `present` or `lost`."""

    agent_id: str
    site: str
    state: str
    board_keys: tuple[str, ...]
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class EventView:
    """A recorded event as it is shown."""

    position: int
    stream: str
    version: int
    type: str
    at: datetime
    actor: str
    correlation_id: UUID
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StoredAnswer:
    """What a command that was carried out (or refused) before was answered."""

    fingerprint: str
    code: str
    message: str
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks: the owner of a key, and what the key is good for.

    Attributes:
        key_name: names the key and its present secret to whoever asks later whether they are still good; opens nothing.
    """

    owner: str
    role: Role
    key_id: UUID
    scopes: frozenset[Scope] = frozenset(Scope)
    team: str | None = None
    expires_at: datetime | None = None
    key_name: str = ""

    @property
    def is_admin(self) -> bool:
        """Whether the caller may act for anyone."""
        return self.role is Role.ADMIN and Scope.ADMIN in self.scopes
