"""Bodies that exist under /api/v1 only."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from lutlab_api.app.artifacts import Artifact as ArtifactValue
from lutlab_api.app.audit import AuditRow
from lutlab_api.app.keys import RotatedKey as RotatedKeyValue
from lutlab_api.domain.views import AgentView, JobView
from lutlab_api.web.models import Fpga, Job, Key, Model, NewKey, Session
from lutlab_api.web.paging import Page, Strict
from lutlab_events.busmsg import BridgeWay as BridgeWayValue
from lutlab_events.values import JobStatus

GRACE_S_MAX = 7 * 86400
RECORDED = (
    "position",
    "at",
    "stream",
    "version",
    "type",
    "actor",
    "site",
    "event_id",
    "causation_id",
    "correlation_id",
    "hash",
)
"""Everything recorded about an event beside its data."""


class Recorded(Model):
    """An event with everything recorded about it."""

    position: int = Field(description="its place in the whole log, without gaps")
    at: datetime
    stream: str = Field(examples=["board-3"])
    version: int = Field(description="its place in its stream")
    type: str = Field(examples=["board.programmed.v1"])
    actor: str = Field(description="who caused it")
    site: str
    event_id: UUID
    causation_id: UUID = Field(description="the command that caused it")
    correlation_id: UUID = Field(description="shared by everything one request caused")
    hash: str = Field(description="SHA-256 over the hash before and this row, in hexadecimal")
    data: dict[str, Any]

    @staticmethod
    def of(row: AuditRow) -> Recorded:
        """From the ledger."""
        return Recorded(**{name: getattr(row, name) for name in RECORDED}, data=dict(row.data))


class Boards(Page):
    """A page of boards."""

    boards: list[Fpga]


class Sessions(Page):
    """A page of sessions."""

    sessions: list[Session]


class Jobs(Page):
    """A page of jobs, newest first."""

    jobs: list[Job]


class BridgeWay(Model):
    """Where a board's TCP bridge listens, and what opens it."""

    host: str
    port: int
    token: str = Field(description="32 bytes in hexadecimal; good while this session and your key are")

    @staticmethod
    def of(way: BridgeWayValue) -> BridgeWay:
        """From the use case."""
        return BridgeWay(host=way.host, port=way.port, token=way.token)


class QueueEntry(Model):
    """A build that has not ended."""

    place: int = Field(description="from 1: boards are given in this order")
    job_id: UUID
    owner: str
    status: JobStatus
    build_stage: str | None
    profile: str | None
    fpga_id: int | None
    created_at: datetime

    @staticmethod
    def of(place: int, job: JobView) -> QueueEntry:
        """From the ledger's view."""
        return QueueEntry(
            place=place,
            job_id=job.job_id,
            owner=job.owner,
            status=job.public_status,
            build_stage=job.public_stage,
            profile=job.profile,
            fpga_id=job.fpga_id,
            created_at=job.created_at,
        )


class Queue(Page):
    """A page of the queue, first in line first."""

    queue: list[QueueEntry]


class Artifact(Model):
    """Something to download."""

    name: str = Field(examples=["bitstream.bit"])
    media_type: str
    size_bytes: int | None = Field(description="where it is known without reading it")
    sha256: str | None = Field(description="where it is known without reading it")
    url: str

    @staticmethod
    def of(artifact: ArtifactValue, job_id: str) -> Artifact:
        """From the use case."""
        return Artifact(
            name=artifact.name,
            media_type=artifact.media_type,
            size_bytes=artifact.size_bytes,
            sha256=artifact.digest,
            url=f"/api/v1/jobs/{job_id}/artifacts/{artifact.name}",
        )


class Artifacts(Model):
    """What there is of a job."""

    artifacts: list[Artifact]


class Agent(Model):
    """A board agent: the process beside the boards."""

    agent_id: str
    site: str
    state: str = Field(description="`present` or `lost`")
    board_keys: list[str] = Field(description="its own names of its boards")
    updated_at: datetime

    @staticmethod
    def of(agent: AgentView) -> Agent:
        """From the ledger's view."""
        return Agent(
            agent_id=agent.agent_id,
            site=agent.site,
            state=agent.state,
            board_keys=list(agent.board_keys),
            updated_at=agent.updated_at,
        )


class Agents(Page):
    """A page of agents."""

    agents: list[Agent]


class Keys(Page):
    """A page of keys, newest first."""

    keys: list[Key]


class NewKeyV1(NewKey, Strict):
    """Whose key to issue."""


class Rotation(Strict):
    """How to rotate a key."""

    grace_s: int = Field(0, ge=0, le=GRACE_S_MAX, description="how long the present secret works on, in seconds")


class RotatedKey(Model):
    """A key's new secret, shown this once."""

    api_key: str
    key_id: UUID
    previous_until: datetime = Field(description="until when the secret before works")

    @staticmethod
    def of(rotated: RotatedKeyValue) -> RotatedKey:
        """From the use case."""
        return RotatedKey(api_key=rotated.secret, key_id=rotated.key_id, previous_until=rotated.previous_until)
