"""Reports of verification jobs, comparison of two, and a project's trend; made by `lutlab_verify.report`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import msgspec

from lutlab_api.app.ports import Blobs
from lutlab_api.app.projects import Projects
from lutlab_api.app.verification_ports import VerificationFilter, VerificationStore
from lutlab_api.app.verifications import Verifications
from lutlab_api.domain.errors import Code, Invalid
from lutlab_api.domain.verification import ProjectView, StageView, VerificationView, shown_project
from lutlab_api.domain.views import Caller
from lutlab_events.verification import FileRef
from lutlab_verify.report import (
    ArtifactRecord,
    JobRecord,
    Rendered,
    ReportError,
    StageRecord,
    compare,
    render,
    trend,
)

SOURCES_BYTES_MAX = 2 << 20
"""Source text in a report, beside its coverage."""
RENDERS_MAX = 2
"""Reports made at once: each may take a processor for seconds, and a gigabyte."""


class Reports:
    """Makes them."""

    def __init__(
        self, store: VerificationStore, blobs: Blobs, verifications: Verifications, projects: Projects
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._verifications = verifications
        self._projects = projects
        self._slots = asyncio.Semaphore(RENDERS_MAX)

    async def render(
        self, text: str, caller: Caller, kind: str, include: Collection[str] | None, template: str | None
    ) -> Rendered:
        """A report of a job, as it stands. Raises: Missing, NotAllowed; Invalid, e.g. for a template that fails."""
        job = await self._verifications.get(text, caller)
        async with self._slots:  # what stages found may have a hundred megabytes, and be ten times as large as objects
            files = await self._files(job)
            record = await self._record(job, files)
            uploaded = {}
            if template is not None and template in files:
                data = await self._blobs.get(files[template].digest)
                uploaded = {} if data is None else {template: data}
            try:
                return await asyncio.to_thread(render, record, kind, include, template, files=uploaded)
            except ReportError as error:
                details = {"field": error.field} | ({"suggestion": error.suggestion} if error.suggestion else {})
                raise Invalid(Code.VALIDATION_ERROR, str(error), details=details) from error

    async def compare(self, before: str, after: str, caller: Caller) -> dict[str, Any]:
        """What got better and worse from one job to another. Raises: Missing, NotAllowed."""
        jobs = [await self._verifications.get(text, caller) for text in (before, after)]
        async with self._slots:
            records = [await self._record(job, {}) for job in jobs]
            found: dict[str, Any] = await asyncio.to_thread(lambda: compare(*records).to_json())
        return found

    async def trend(self, project_text: str, caller: Caller, limit: int) -> list[dict[str, Any]]:
        """The newest jobs of a project that have ended, as points of series, oldest first."""
        project = await self._projects.get(project_text, caller)
        jobs, _ = await self._store.verifications(VerificationFilter(project_id=project.project_id, limit=limit))
        return trend([_record_of(job, project, {}) for job in jobs if job.ended])

    async def _record(self, job: VerificationView, files: Mapping[str, FileRef]) -> JobRecord:
        """A job with everything its stages found, and the sources its coverage speaks of."""
        project = await self._store.project(job.project_id)
        details = {stage: await self._verifications.details(job, stage) for stage in job.stages}
        coverage = details.get("simulation", {}).get("coverage", {})
        covered = coverage.get("files", {}) if isinstance(coverage, dict) else {}
        sources: dict[str, str] = {}
        left = SOURCES_BYTES_MAX
        for path in covered:
            ref = files.get(path)
            if ref is None or ref.size_bytes > left:
                continue
            data = await self._blobs.get(ref.digest)
            if data is not None:
                left -= len(data)
                sources[path] = data.decode("utf-8", "replace")
        return _record_of(job, project, details, sources)

    async def _files(self, job: VerificationView) -> dict[str, FileRef]:
        data = await self._blobs.get(job.files_digest)
        return {} if data is None else msgspec.json.decode(data, type=dict[str, FileRef])


def _record_of(
    job: VerificationView,
    project: ProjectView | None,
    details: Mapping[str, dict[str, Any]],
    sources: Mapping[str, str] | None = None,
) -> JobRecord:
    began = job.started_at or job.submitted_at
    return JobRecord(
        job_id=job.shown,
        project_id=shown_project(job.project_id),
        project=project.name if project else "",
        status=job.status.value,
        stages=tuple(_stage_of(job, stage, details.get(stage), began) for stage in job.stages),
        submitted_at=_time(job.submitted_at),
        started_at=_time(job.started_at),
        ended_at=_time(job.completed_at),
        top_module=project.top_module if project else None,
        target_pdk=project.target_pdk if project else None,
        seed=job.seed,
        sources=dict(sources or {}),
    )


def _stage_of(job: VerificationView, stage: str, details: dict[str, Any] | None, began: datetime) -> StageRecord:
    record: StageView | None = job.record(stage)
    outcome = None if record is None else record.outcome
    if record is None or outcome is None:
        return StageRecord(stage=stage, status=job.stage_status(stage))
    if details is None:  # figures only: those of coverage stand in the summary too
        coverage = outcome.summary.get("coverage")
        details = {"coverage": coverage} if isinstance(coverage, dict) else {}
    return StageRecord(
        stage=stage,
        status=outcome.status,
        summary=outcome.summary,
        details=details,
        reason=outcome.reason,
        seconds=outcome.seconds,
        started_s=None if record.started_at is None else (record.started_at - began).total_seconds(),
        artifacts=tuple(ArtifactRecord(a.name, a.media_type, a.size_bytes) for a in outcome.artifacts),
    )


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
