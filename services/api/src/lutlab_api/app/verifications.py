"""Verification jobs: checked and submitted, followed, cancelled; their results, artifacts and logs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from lutlab_api.app.asking import Asking, Request, job_id_of
from lutlab_api.app.job_stream import Cursor
from lutlab_api.app.ports import Blobs
from lutlab_api.app.projects import Projects
from lutlab_api.app.verification_ports import Checker, Live, VerificationFilter, VerificationStore
from lutlab_api.domain.errors import Code, Invalid, Missing
from lutlab_api.domain.verification import (
    STAGES,
    ProjectView,
    StageLine,
    VerificationView,
    parse_verification,
)
from lutlab_api.domain.views import Caller
from lutlab_events.rejections import Rejection
from lutlab_events.verification import JOB_PREFIX, ArtifactRef, CancelVerification, FileRef, SubmitVerification
from lutlab_verify.config import FILE_NAMES

SEED_MAX = 2**31 - 1
UNKNOWN_SECONDS = {"lint": 2.0, "simulation": 20.0, "formal": 15.0, "crypto": 15.0, "synthesis": 20.0}
"""What a stage is taken to last before any did."""
PIECES_MAX = 20_000
"""Pieces of a log that are looked through for its last lines; a stage that prints all the time leaves ten a second."""
LINES_MAX = 20_000
"""Lines of a log that are told at once if nobody says how many."""


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A job that was accepted, and how long it may take."""

    job: VerificationView
    estimated_s: float


@dataclass(frozen=True, kw_only=True)
class Download:
    """An artifact with its bytes."""

    artifact: ArtifactRef
    data: bytes


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line of a job's log."""

    at: datetime
    stage: str
    level: str
    message: str


class Verifications:
    """What callers do with verification jobs."""

    def __init__(
        self,
        *,
        asking: Asking,
        store: VerificationStore,
        blobs: Blobs,
        projects: Projects,
        checker: Checker,
        live: Live,
    ) -> None:
        self._asking = asking
        self._store = store
        self._blobs = blobs
        self._projects = projects
        self._checker = checker
        self.live = live

    # -- submitting --------------------------------------------------------------------------------

    async def submit(
        self, request: Request, project_text: str, stages: Sequence[str], overrides: Mapping[str, Any], seed: int | None
    ) -> Submitted:
        """Check the configuration, then ask for the job. With an Idempotency-Key a repetition is answered as before,
        whatever became of the project's files meanwhile.

        Raises:
            Invalid: `validation_error`: the configuration, or an override, is wrong.
            ApiError: `tool_error`: it asks for something that nobody here can do.
            Refused: `queue_full`, `owner_limit`, `storage_full`, `not_your_project` ...
            Unavailable: nobody answered.
        """
        command_id = self._asking.command_id(request)
        job_id = job_id_of(command_id)
        before = None if request.idempotency_key is None else await self._store.verification(job_id)
        if before is None:
            project = await self._projects.get(project_text, request.caller)
            project_id, manifest = project.project_id, await self._manifest(project, stages, overrides)
            files_digest, files_bytes = await self._blobs.put(manifest), len(manifest)
        else:
            project_id, files_digest, files_bytes = before.project_id, before.files_digest, 0
        body = SubmitVerification(
            job_id=job_id,
            project_id=project_id,
            owner=request.caller.owner,
            is_admin=request.caller.is_admin,
            stages=tuple(stage for stage in STAGES if stage in stages),
            files_digest=files_digest,
            files_bytes=files_bytes,
            seed=job_id.int & SEED_MAX if seed is None else seed,
            config_overrides=dict(overrides),
        )
        fingerprint = request.fingerprint(project_text, body.stages, dict(overrides), files_digest, seed)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=fingerprint)
        job = await self._store.verification(job_id)
        assert job is not None, "views are written with the events"
        known = await self._store.stage_seconds(project_id)
        return Submitted(job=job, estimated_s=sum(known.get(stage, UNKNOWN_SECONDS[stage]) for stage in job.stages))

    async def _manifest(self, project: ProjectView, stages: Sequence[str], overrides: Mapping[str, Any]) -> bytes:
        """What a job is about to run over, once that was checked. Raises: Invalid, ApiError `tool_error`, Missing."""
        files, configs = await self._file_set(project)
        await self._checker.check(dict.fromkeys(files, b"") | configs, overrides, stages, self._tools())
        return msgspec.json.encode({path: files[path] for path in sorted(files)})

    async def _file_set(self, project: ProjectView) -> tuple[dict[str, FileRef], dict[str, bytes]]:
        """The project's files, and its configuration: its own, or one made from what the project says."""
        files = dict(project.files)
        if not files:
            raise Invalid(
                Code.VALIDATION_ERROR,
                f"project {project.name!r} has no files; POST /api/v1/projects/{project.shown}/upload",
                details={"field": "files"},
            )
        configs: dict[str, bytes] = {}
        for name in FILE_NAMES:
            if name in files:
                data = await self._blobs.get(files[name].digest)
                if data is None:
                    raise Missing(Code.ARTIFACT_NOT_FOUND, f"{name} is not in the ledger's store; upload it again")
                configs[name] = data
        if not configs:
            configs[FILE_NAMES[0]] = data = default_config(project, files)
            files[FILE_NAMES[0]] = FileRef(digest=await self._blobs.put(data), size_bytes=len(data))
        return files, configs

    def _tools(self) -> frozenset[str] | None:
        """The tools that builders have between them; None while none was heard of."""
        builders = self.live.builders()
        found = frozenset(tool.name for builder in builders for tool in builder.tools if tool.available)
        return found if builders else None

    async def cancel(self, request: Request, text: str) -> VerificationView:
        """Stop a job. Raises: Missing, Refused (`job_not_cancellable`, `not_your_job`), Unavailable."""
        job_id = parse_verification(text)
        if job_id is None:
            raise _not_found(text)
        caller = request.caller
        body = CancelVerification(job_id=job_id, owner=caller.owner, is_admin=caller.is_admin)
        command_id = self._asking.command_id(request)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=request.fingerprint(text))
        return await self.get(text, caller)

    # -- reading -----------------------------------------------------------------------------------

    async def get(self, text: str, caller: Caller) -> VerificationView:
        """One job. Raises: Missing, NotAllowed."""
        job_id = parse_verification(text)
        job = None if job_id is None else await self._store.verification(job_id)
        if job is None:
            raise _not_found(text)
        await self._projects.check_readable(job.owner, caller, f"job {job.shown}")
        return job

    async def listed(
        self, project_text: str, caller: Caller, wanted: VerificationFilter
    ) -> tuple[Sequence[VerificationView], int]:
        """Jobs of a project. Raises: Missing, NotAllowed; Invalid, if there is no job `wanted.before`."""
        await self._projects.get(project_text, caller)
        found, total = await self._store.verifications(wanted)
        if not found and wanted.before is not None and await self._store.verification(wanted.before) is None:
            raise Invalid(Code.INVALID_CURSOR, "the cursor is that of another list", details={"field": "cursor"})
        return found, total

    async def details_json(self, job: VerificationView, stage: str) -> bytes:
        """Everything a stage found, as JSON; an empty object if it left nothing. Raises: Unavailable."""
        outcome = job.outcome(stage)
        if outcome is None or outcome.details_digest is None:
            return b"{}"
        return await self._blobs.get(outcome.details_digest) or b"{}"

    async def details(self, job: VerificationView, stage: str) -> dict[str, Any]:
        """The same as objects, which are many times as large. Raises: Unavailable."""
        found: dict[str, Any] = await asyncio.to_thread(msgspec.json.decode, await self.details_json(job, stage))
        return found

    async def download(self, job: VerificationView, name: str, stage: str | None) -> Download:
        """An artifact. Raises: Missing, Unavailable."""
        found = {(where, artifact.name): artifact for where, artifact in job.artifacts()}
        fitting = [artifact for (where, has), artifact in found.items() if has == name and stage in (None, where)]
        if not fitting:
            names = sorted({has for _, has in found})
            raise Missing(
                Code.ARTIFACT_NOT_FOUND,
                f"job {job.shown} has no artifact {name[:64]!r}; it has: {', '.join(names) or 'none yet'}",
                details={"field": "name", "artifacts": names},
            )
        data = await self._blobs.get(fitting[0].digest)
        if data is None:
            raise Missing(Code.ARTIFACT_NOT_FOUND, f"{name} of job {job.shown} is not in the ledger's store (any more)")
        return Download(artifact=fitting[0], data=data)

    async def logs(self, job_id: UUID, stage: str | None, tail: int | None) -> tuple[list[LogLine], bool]:
        """The last `tail` lines of a job's log, and whether there are older ones."""
        pieces = await self._store.last_lines(job_id, stage, PIECES_MAX)
        wanted = LINES_MAX if tail is None else tail
        newest: deque[list[LogLine]] = deque()
        count = 0
        for piece in reversed(pieces):
            if count > wanted:
                break
            newest.appendleft(lines_of(piece))
            count += len(newest[0])
        lines = [line for each in newest for line in each]
        return lines[max(0, count - wanted) :], count > wanted or len(pieces) == PIECES_MAX

    async def start_of_tail(self, job_id: UUID, stage: str | None, tail: int | None) -> Cursor:
        """Where to begin to follow a log so that only the last `tail` of the lines there are come first."""
        if tail is None:
            return Cursor()
        pieces = await self._store.last_lines(job_id, stage, PIECES_MAX)
        left = tail
        for piece in reversed(pieces):
            count = len(lines_of(piece))
            if count >= left:
                return Cursor(piece.attempt, piece.seq, count - left, 0)
            left -= count
        return Cursor()


def lines_of(piece: StageLine) -> list[LogLine]:
    """The lines of a piece of a log."""
    level = piece.level or "INFO"
    return [LogLine(at=piece.at, stage=piece.stage, level=level, message=line) for line in piece.text.splitlines()]


def _not_found(text: str) -> Missing:
    return Missing(
        Rejection.JOB_NOT_FOUND,
        f"there is no verification job {text[:64]!r} here; their ids begin with {JOB_PREFIX}, while a board's job has "
        "/log and /result",
    )


def default_config(project: ProjectView, paths: Collection[str]) -> bytes:
    """A configuration for a project without one: every Verilog and SystemVerilog file is a source."""
    sources = [f"**/*{suffix}" for suffix in (".v", ".sv") if any(path.endswith(suffix) for path in paths)]
    config = {
        "project": {"name": project.name, "top_module": project.top_module, "target_pdk": project.target_pdk},
        "design": {"sources": sources},
    }
    return msgspec.json.format(msgspec.json.encode(config), indent=2)
