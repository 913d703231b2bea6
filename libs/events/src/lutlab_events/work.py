"""Work items for builders and agents, and the small messages around them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from lutlab_events.values import BitstreamRef, Frozen


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


class LogChunk(Frozen, frozen=True, kw_only=True):
    """Some lines of a job's log. (job_id, attempt, seq) is unique; seq counts from 0 without gaps."""

    job_id: UUID
    attempt: int
    seq: int
    stage: str
    lines: tuple[str, ...]
    at: datetime


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


Work = BuildWork | ProgramWork
Control = BuildCancelled | RegistrationWanted
