"""Carry out one stage of a verification job: fetch the files, run the engine, store what it leaves, report."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from lutlab_builder.app.do_work import (
    DELIVERIES_MAX,
    HOST_FAILED,
    RETRY_WAIT_S,
    Blobs,
    Later,
    NoRoom,
    SourceMissing,
)
from lutlab_builder.app.ports import Workdirs
from lutlab_builder.app.story import Outlet, Story
from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_events.ids import digest
from lutlab_events.verification import ArtifactRef, FileRef, StageOutcome
from lutlab_events.work import StageWork
from lutlab_verify.project import Project
from lutlab_verify.stage import (
    Artifact,
    Json,
    Level,
    Stage,
    StageContext,
    StageResult,
    ToolFailed,
    Unsupported,
)
from lutlab_verify.tools import ToolMissing, Tools

log = structlog.get_logger(__name__)

FETCHES_MAX = 8
ARTIFACTS_MAX = 200
ARTIFACT_BYTES_MAX = 64 << 20
"""What a blob may have."""
STAGE_BYTES_MAX = 256 << 20
"""What the artifacts of a stage may have together; those that do not fit any more are left out."""
DETAILS_BYTES_MAX = 32 << 20
SUMMARY_BYTES_MAX = 256 << 10
"""It travels in a command, of which NATS takes a megabyte."""
REASON_CHARS_MAX = 4000
TAIL_LINES = 20
PROGRESS_EVERY_S = 0.1
INVALID = "VALIDATION_ERROR"
"""The code of a configuration's errors (`lutlab_verify.config`)."""
FOLDER_MODE = 0o755
PATH = re.compile(r"[^\x00-\x1f\x7f\\]{1,400}")


class StageReports(Protocol):
    """Commands to the scheduler about stages."""

    async def stage_started(self, work: StageWork, delivery: int) -> bool:
        """This builder took the stage; False if nobody wants it any more."""
        ...

    async def stage_completed(self, work: StageWork, outcome: StageOutcome) -> None:
        """The stage's outcome; returns once it is safe, however long that takes."""
        ...


class ToolRoom(Protocol):
    """Where tools run on files of people who are not trusted."""

    def tools(self, work: Path, sources: Path) -> AbstractAsyncContextManager[Tools]:
        """Tools for one stage: `work` is its folder, `sources` the project's files."""
        ...


class FileStore(Protocol):
    """Files of earlier stages by digest, on this host."""

    def get(self, digest: str) -> bytes | None:
        """A file, or None."""
        ...

    def put(self, digest: str, data: bytes) -> None:
        """Keep a file; older ones may be dropped for it."""
        ...


class ProjectCaches(Protocol):
    """A folder per project that lasts between jobs."""

    def folder(self, project: str) -> Path:
        """The folder, made if it is missing; older projects' may be dropped for it."""
        ...


class Live(Protocol):
    """Where progress is told to whoever listens now."""

    async def progress(self, work: StageWork, done: int, total: int, unit: str) -> None:
        """Tell it; it may be lost."""
        ...


class FilesClash(Exception):
    """Two files of a project cannot lie beside each other."""


@dataclass(frozen=True)
class Verification:
    """What knows how to verify: `load` reads a configuration, `engine` finds a stage's engine."""

    load: Callable[[Path, Json], Project]
    engine: Callable[[Stage], Callable[[StageContext], Awaitable[StageResult]]]


class StageSink:
    """Implements the engines' port `Sink`; may be called from any thread."""

    def __init__(self, story: Story[Level]) -> None:
        self._story = story
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.latest: tuple[int, int, str] | None = None
        self.news = asyncio.Event()

    def log(self, message: str, level: Level = Level.INFO) -> None:
        """See `lutlab_verify.stage.Sink.log`."""
        for line in message.splitlines() or [""]:
            self._here(self._story.line, level, line)

    def progress(self, done: int, total: int, unit: str) -> None:
        """See `lutlab_verify.stage.Sink.progress`."""
        self.latest = (done, total, unit)
        self._here(self.news.set)

    def _here(self, action: Callable[..., object], *arguments: object) -> None:
        if threading.get_ident() == self._thread:
            action(*arguments)
        else:
            self._loop.call_soon_threadsafe(action, *arguments)


class StageService:
    """Carries out stages."""

    def __init__(
        self,
        *,
        verification: Verification,
        room: ToolRoom,
        blobs: Blobs,
        reports: StageReports,
        outlet: Callable[[StageWork, int], Outlet[Level]],
        live: Live,
        workdirs: Workdirs,
        files: FileStore,
        caches: ProjectCaches,
    ) -> None:
        """
        Args:
            outlet: where the log lines of a delivery of work go.
        """
        self._verification = verification
        self._room = room
        self._blobs = blobs
        self._reports = reports
        self._outlet = outlet
        self._live = live
        self._workdirs = workdirs
        self._files = files
        self._caches = caches

    async def handle(self, work: StageWork, delivery: int) -> Later | None:
        """Carry out work that was delivered for the `delivery`-th time (from 1); None when it is done with.

        Cancelling kills whatever runs; nothing is reported then.
        """
        if not await self._reports.stage_started(work, delivery):
            log.info("stage_unwanted", job_id=str(work.job_id), stage=work.stage, attempt=work.attempt)
            return None
        started = time.monotonic()
        folder = self._workdirs.create()  # first: if there is no room for it, no story was begun
        story = Story[Level](self._outlet(work, delivery))
        try:
            outcome = await self._outcome(work, story, folder, started)
            await story.close()
            await self._reports.stage_completed(work, outcome)
        except SourceMissing as missing:
            if delivery < DELIVERIES_MAX:
                return Later(RETRY_WAIT_S)
            await self._reports.stage_completed(work, _error(Code.SOURCE_MISSING, str(missing)))
        except FilesClash as clash:
            await self._reports.stage_completed(work, _error(INVALID, str(clash)))
        except NoRoom as full:
            await self._reports.stage_completed(work, _error(Code.TRANSIT_FULL, str(full)))
        except BuildFailure as failure:  # the sandbox does not start: another builder may have one
            if delivery < DELIVERIES_MAX:
                log.error("sandbox_failed", job_id=str(work.job_id), message=failure.message)
                return HOST_FAILED
            await self._reports.stage_completed(work, _error(failure.code, failure.message))
        finally:
            await story.abandon()
            await asyncio.to_thread(self._workdirs.remove, folder)
        return None

    async def crashed(self, work: StageWork, delivery: int, error: Exception) -> Later | None:
        """The builder itself failed on this work: try again, but not for ever."""
        if delivery < DELIVERIES_MAX:
            return HOST_FAILED
        await self._reports.stage_completed(work, _error(Code.INTERNAL_ERROR, f"the builder failed: {error!r}"))
        return None

    async def _outcome(self, work: StageWork, story: Story[Level], folder: Path, started: float) -> StageOutcome:
        sources, stage_folder = folder / "files", folder / "stage"
        stage_folder.mkdir()
        count = await self._fetch(work.files_digest, sources)
        story.line(Level.INFO, f"{work.stage} of {count} files, seed {work.seed}, attempt {work.attempt}")
        sink = StageSink(story)
        telling = asyncio.create_task(self._tell_progress(work, sink))
        try:
            async with asyncio.timeout(work.limit_s):
                outcome = await self._run(work, sink, sources, stage_folder)
        except TimeoutError:
            outcome = _error("stage_timeout", f"{work.stage} did not end within {work.limit_s:g} s")
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        seconds = round(time.monotonic() - started, 3)
        level = Level.INFO if outcome.status in ("passed", "skipped") else Level.ERROR
        why = f": {outcome.reason.splitlines()[0]}" if outcome.reason else ""
        story.line(level, f"{work.stage} {outcome.status} after {seconds:.1f} s{why}")
        log.info(
            "stage_ended",
            job_id=str(work.job_id),
            stage=work.stage,
            attempt=work.attempt,
            status=outcome.status,
            code=outcome.code,
            seconds=seconds,
        )
        return msgspec.structs.replace(outcome, seconds=seconds)

    async def _run(self, work: StageWork, sink: StageSink, sources: Path, folder: Path) -> StageOutcome:
        """Run the engine; whatever goes wrong in it is an outcome too."""
        try:
            stage = Stage(work.stage)
            run = self._verification.engine(stage)
            project = await asyncio.to_thread(self._verification.load, sources, work.config_overrides)
            async with self._room.tools(folder, sources) as tools:
                cache = await asyncio.to_thread(self._caches.folder, str(work.project_id))
                context = StageContext(
                    project=project, work=folder, tools=tools, sink=sink, seed=work.seed, cache=cache
                )
                return await self._stored(await run(context), folder)
        except (SourceMissing, NoRoom, BuildFailure, TimeoutError):
            raise
        except Exception as error:
            told = explained(error)
            if told is None:
                log.exception("engine_failed", job_id=str(work.job_id), stage=work.stage)
                told = _error(Code.INTERNAL_ERROR, f"the engine failed: {type(error).__name__}: {error}")
            return told

    async def _fetch(self, files_digest: str, sources: Path) -> int:
        """Lay out a file set; how many files it has. Raises: SourceMissing."""
        files = msgspec.json.decode(await self._blobs.get(files_digest), type=dict[str, FileRef])
        slots = asyncio.Semaphore(FETCHES_MAX)

        async def one(path: str, file: FileRef) -> None:
            async with slots:
                data = await asyncio.to_thread(self._files.get, file.digest)
                if data is None:
                    data = await self._blobs.get(file.digest)
                    await asyncio.to_thread(self._files.put, file.digest, data)
            # Not in a thread: one that is still at work when the stage is cancelled would write into a removed folder.
            _write(sources, path, data)

        sources.mkdir()
        fetched = await asyncio.gather(*(one(path, file) for path, file in files.items()), return_exceptions=True)
        for problem in fetched:
            if problem is not None:
                raise problem
        await asyncio.to_thread(_open_folders, sources)
        return len(files)

    async def _stored(self, result: StageResult, folder: Path) -> StageOutcome:
        """A result with its details and artifacts in the blob store."""
        artifacts: list[ArtifactRef] = []
        room = STAGE_BYTES_MAX
        for artifact in result.artifacts[:ARTIFACTS_MAX]:
            ref = await self._keep(artifact, folder, room)
            if ref is not None:
                artifacts.append(ref)
                room -= ref.size_bytes
        details = msgspec.json.encode(result.details)
        if len(details) > DETAILS_BYTES_MAX:
            details = msgspec.json.encode({"cut": f"the details had {len(details)} bytes, too many to keep"})
        if result.details:
            await self._blobs.put(details)
        return StageOutcome(
            status=result.status.value,
            summary=_summary(result.summary),
            details_digest=digest(details) if result.details else None,
            artifacts=tuple(artifacts),
            reason=None if result.reason is None else _reason(result.reason),
        )

    async def _keep(self, artifact: Artifact, folder: Path, room: int) -> ArtifactRef | None:
        """An artifact in the blob store; None if there is no such file, or it is too large."""
        data = await asyncio.to_thread(_read, artifact.path, folder, min(room, ARTIFACT_BYTES_MAX))
        if data is None:
            log.warning("artifact_left_out", name=artifact.name, room=room)
            return None
        await self._blobs.put(data)
        return ArtifactRef(
            name=artifact.name, digest=digest(data), size_bytes=len(data), media_type=artifact.media_type
        )

    async def _tell_progress(self, work: StageWork, sink: StageSink) -> None:
        while True:
            await sink.news.wait()
            sink.news.clear()
            if sink.latest is not None:
                await self._live.progress(work, *sink.latest)
            await asyncio.sleep(PROGRESS_EVERY_S)


def explained(error: BaseException) -> StageOutcome | None:
    """The outcome of a stage whose engine gave up for a reason it may give up for; None for a defect."""
    match error:
        case BaseExceptionGroup():
            return next((told for each in error.exceptions if (told := explained(each)) is not None), None)
        case Unsupported():
            where = {"field": error.field, "file": error.file, "line": error.line}
            return _error(error.code, str(error), {name: value for name, value in where.items() if value is not None})
        case ToolFailed():
            said = "\n".join(error.tail[-TAIL_LINES:])
            return _error(error.code, f"{error}\n{said}".rstrip(), {"tool": error.tool})
        case ToolMissing():
            return _error(error.code, str(error))
    if getattr(error, "code", None) == INVALID:
        return _error(INVALID, str(error))
    return None


def _error(code: str, reason: str, about: Json | None = None) -> StageOutcome:
    summary = {"error": about} if about else {}
    return StageOutcome(status="error", code=str(code), reason=_reason(reason), summary=summary)


def _reason(text: str) -> str:
    """A reason that the ledger can hold: its text has no NUL, and a reason may quote anything."""
    return text.replace("\0", "\ufffd")[:REASON_CHARS_MAX]


def _summary(summary: Json) -> Json:
    """A summary that fits into a command, whatever the project's names made of it."""
    size = len(msgspec.json.encode(summary))
    if size <= SUMMARY_BYTES_MAX:
        return summary
    return {"cut": f"the summary had {size} bytes, too many to send; the details have it all"}


def _write(root: Path, path: str, data: bytes) -> None:
    """One file of the project; its path was checked when it was uploaded, and is again. Raises: FilesClash."""
    if PATH.fullmatch(path) is None or path.startswith("/") or ".." in path.split("/"):
        raise SourceMissing(f"{path!r} is no path within a project")
    place = root / path
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise FilesClash(f"{path!r} lies in a file of the project, or is a folder of others: rename one") from error
    place.chmod(0o644)


def _open_folders(root: Path) -> None:
    """Let the tools' user look into the project's folders, whatever this process's umask is."""
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(FOLDER_MODE)


def _read(path: Path, folder: Path, bytes_max: int) -> bytes | None:
    """An ordinary file within the stage's folder, if it is not too large; links out of it lead nowhere."""
    place = path if path.is_absolute() else folder / path
    real = place.resolve()
    if not real.is_relative_to(folder.resolve()) or not real.is_file():
        return None
    return real.read_bytes() if real.stat().st_size <= bytes_max else None
