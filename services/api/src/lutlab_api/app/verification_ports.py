"""What the verification use cases need from the outside."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from lutlab_api.domain.verification import ProjectView, StageLine, VerificationView
from lutlab_events.verification import ProjectStatus, VerificationStatus
from lutlab_events.work import BuilderHeartbeat, StageProgress


@dataclass(frozen=True, kw_only=True)
class ProjectFilter:
    """Which projects to list.

    Attributes:
        owner: whose; None for everybody's.
        sort: `updated_at` and `created_at`, newest first, or `name`; a `-` before it turns the order round.
        name: only projects whose name contains this.
        after: only projects behind this place in the order: the value that is sorted by, and the id.
    """

    owner: str | None
    limit: int
    offset: int = 0
    status: ProjectStatus | None = None
    name: str | None = None
    sort: str = "updated_at"
    after: tuple[datetime | str, UUID] | None = None

    @property
    def column(self) -> str:
        """What is sorted by."""
        return self.sort.removeprefix("-")

    @property
    def falling(self) -> bool:
        """Whether greater values come first."""
        return (self.column != "name") != self.sort.startswith("-")


@dataclass(frozen=True, kw_only=True)
class VerificationFilter:
    """Which jobs of a project to list, newest first; with `before` only those submitted before this one."""

    project_id: UUID
    limit: int
    offset: int = 0
    status: VerificationStatus | None = None
    before: UUID | None = None


class VerificationStore(Protocol):
    """The ledger's views of verification. Every method raises `Unavailable`."""

    async def project(self, project_id: UUID) -> ProjectView | None:
        """One project, deleted ones too."""
        ...

    async def projects(self, wanted: ProjectFilter) -> tuple[Sequence[ProjectView], int]:
        """Projects that are not deleted, and how many there are in all."""
        ...

    async def verification(self, job_id: UUID) -> VerificationView | None:
        """One job."""
        ...

    async def verifications(self, wanted: VerificationFilter) -> tuple[Sequence[VerificationView], int]:
        """Jobs, newest first, and how many there are in all."""
        ...

    async def stage_seconds(self, project_id: UUID) -> Mapping[str, float]:
        """How long each stage took lately: the median, of this project's jobs or else of all."""
        ...

    async def lines(self, job_id: UUID, attempt: int, seq: int, limit: int) -> Sequence[StageLine]:
        """Pieces of a job's log from (attempt, seq) on, that one included."""
        ...

    async def last_lines(self, job_id: UUID, stage: str | None, limit: int) -> Sequence[StageLine]:
        """The newest pieces of a job's log, oldest first; of one stage if given."""
        ...


class Live(Protocol):
    """What is told now and kept nowhere."""

    def progress(self, job_id: UUID) -> StageProgress | None:
        """The latest of a job."""
        ...

    def builders(self) -> Sequence[BuilderHeartbeat]:
        """Builders heard of lately."""
        ...

    def watch(self, job_id: UUID) -> AbstractContextManager[asyncio.Event]:
        """An event that is set whenever progress of a job is told, for the time of the block."""
        ...


class Checker(Protocol):
    """Reads configurations without running anything of the user's."""

    async def check(
        self,
        files: Mapping[str, bytes],
        overrides: Mapping[str, Any],
        stages: Sequence[str],
        tools: Collection[str] | None,
    ) -> None:
        """Pass what can be carried out.

        Args:
            files: every file of the project by path; only the configuration needs its content.
            overrides: dotted path -> value.
            tools: the tools there are; None if that is not known.

        Raises:
            Invalid: `validation_error`, with the field and the nearest valid one.
            ApiError: `tool_error`: it asks for something that nobody here can do.
        """
        ...
