"""Work items for builders and agents, and the small messages around them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import field

from lutlab_events.values import BitstreamRef, Frozen, Json


class BuildWork(Frozen, frozen=True, kw_only=True, tag=True):
    """Build this source. Done again on redelivery: builders must be idempotent by build key."""

    job_id: UUID
    attempt: int
    correlation_id: UUID
    source_digest: str
    filename: str
    profile: str
    top: str | None = None
    sys_clk_hz: int | None = None
    timing_target_mhz: float | None = None


class ProgramWork(Frozen, frozen=True, kw_only=True, tag=True):
    """Load this bitstream into this board under this epoch.

    Attributes:
        session_id: whose bus traffic is allowed once it runs; None for the base design.
        session_ttl_s: the session's time to live; use is reported well within it.
    """

    fpga_id: int
    board_key: str
    epoch: int
    correlation_id: UUID
    bitstream: BitstreamRef
    deadline_at: datetime
    session_id: UUID | None = None
    session_ttl_s: float = 0.0


class StageWork(Frozen, frozen=True, kw_only=True, tag=True):
    """Carry out one stage of a verification job. Done again on redelivery.

    Attributes:
        number: the stage's place in the job, from 0.
        files_digest: the blob of the file set: JSON, path -> `FileRef`.
        seed: whatever is random derives from it.
        limit_s: how long the stage may take.
    """

    job_id: UUID
    project_id: UUID
    stage: str
    number: int
    attempt: int
    correlation_id: UUID
    files_digest: str
    seed: int
    limit_s: float
    config_overrides: Json = field(default_factory=dict)


class LogChunk(Frozen, frozen=True, kw_only=True):
    """Some lines of a job's log. (job_id, attempt, seq) is unique; seq counts from 0 without gaps.

    `level` is None for builds; a stage's lines have one of DEBUG, INFO, WARNING, ERROR.
    """

    job_id: UUID
    attempt: int
    seq: int
    stage: str
    lines: tuple[str, ...]
    at: datetime
    level: str | None = None


class StageProgress(Frozen, frozen=True, kw_only=True):
    """How far a stage is, live: nobody stores it. `done` of `total` tests, properties ... (`unit`) are through."""

    job_id: UUID
    stage: str
    attempt: int
    done: int
    total: int
    unit: str


class ToolReport(Frozen, frozen=True, kw_only=True):
    """A tool of verification, as a builder has it or not; `hint` says how to get it."""

    name: str
    available: bool
    version: str | None = None
    hint: str | None = None


class BuilderHeartbeat(Frozen, frozen=True, kw_only=True):
    """A builder is alive, with what it can run. Never enters the ledger."""

    builder_id: str
    slots: int
    busy: int
    tools: tuple[ToolReport, ...] = ()


class AgentHeartbeat(Frozen, frozen=True, kw_only=True):
    """An agent is alive. Renews its lease; never enters the ledger.

    Attributes:
        boards: the keys of the boards that are plugged in now; None from agents that do not say. Reports of loss and
            return may overtake each other on their way; where the ledger believes otherwise, the agent is asked to
            register again.
    """

    agent_id: str
    incarnation: UUID
    boards: tuple[str, ...] | None = None


class BuildCancelled(Frozen, frozen=True, kw_only=True, tag=True):
    """To builders: stop working on this job, if you are."""

    job_id: UUID


class RegistrationWanted(Frozen, frozen=True, kw_only=True, tag=True):
    """To one agent: the scheduler does not know you (any more); register again."""

    agent_id: str


Work = BuildWork | ProgramWork | StageWork
Control = BuildCancelled | RegistrationWanted
