"""Verification jobs under /api/v1/jobs, beside board jobs: `job_...` ids are of verification, UUIDs of boards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from lutlab_api.app.cancelling import end
from lutlab_api.app.seats import Kind
from lutlab_api.domain.errors import ApiError, Code, Missing, NotAuthenticated
from lutlab_api.domain.verification import STAGES, VerificationView
from lutlab_api.domain.views import Caller
from lutlab_api.web import downloads
from lutlab_api.web.asked import Api, IdempotencyKey, JobId, Reading, Submitting, services_of
from lutlab_api.web.documented import ASK, JOB, READ, errors_contract
from lutlab_api.web.edge import CUT, FOLLOWS
from lutlab_api.web.looking import until_refused
from lutlab_api.web.models_verification import (
    LogEntry,
    Logs,
    LogsQuery,
    NewReport,
    Results,
    StageArtifact,
    StageArtifacts,
    Verification,
    result_of,
)
from lutlab_api.web.polling import Poll, answer_news
from lutlab_api.web.services import Services
from lutlab_events.rejections import Rejection
from lutlab_events.values import Scope as KeyScope
from lutlab_events.verification import verification_stream

NDJSON = "application/x-ndjson"
CLOSE_S = 2.0
COVERAGE = "coverage"
VERIFICATION = (*JOB, Rejection.NOT_YOUR_PROJECT)
Area = Annotated[str, Path(description="a stage, `coverage`, or an area of crypto", examples=["crypto"])]

router = APIRouter(prefix="/api/v1/jobs", tags=["verification"])


def known(caller: Caller | None) -> Caller:
    """The caller; verification is never public. Raises: NotAuthenticated."""
    if caller is None:
        raise NotAuthenticated(Code.MISSING_API_KEY, "verification is for its owners: send your API key")
    return caller


# -- shared with board jobs: called by their routes ----------------------------------------------------------


async def get_job(job_id: str, api: Services, caller: Caller | None, request: Request, poll: Poll) -> Response:
    """Where a job and its stages stand."""
    reader = known(caller)
    job = await api.verifications.get(job_id, reader)

    async def read() -> Verification:
        latest = await api.verifications.get(job_id, reader)
        return Verification.of(latest, api.verifications.live.progress(job.job_id))

    return await answer_news(
        request, poll, verification_stream(job.job_id), read, lambda found: found.completed_at is not None
    )


async def list_artifacts(job_id: str, api: Services, caller: Caller | None) -> StageArtifacts:
    """What a job's stages left so far."""
    job = await api.verifications.get(job_id, known(caller))
    return StageArtifacts(artifacts=[StageArtifact.of(job, stage, artifact) for stage, artifact in job.artifacts()])


async def download(
    job_id: str, name: str, stage: str | None, *, api: Services, caller: Caller | None, poll: Poll
) -> Response:
    """One artifact."""
    job = await api.verifications.get(job_id, known(caller))
    found = await api.verifications.download(job, name, stage)
    filename = found.artifact.name.rpartition("/")[2]
    return downloads.download(found.data, found.artifact.media_type, filename, poll)


# -- verification's own --------------------------------------------------------------------------------------


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a verification job",
    responses=errors_contract(*ASK, *VERIFICATION, Rejection.JOB_NOT_CANCELLABLE),
)
async def cancel(job_id: JobId, api: Api, asked: Submitting) -> Verification:
    """Stop a job that has not ended, in the middle of a stage if need be."""
    job = await api.verifications.cancel(asked, job_id)
    return Verification.of(job, None)


@router.get(
    "/{job_id}/logs",
    summary="Get a verification job's log",
    response_model=Logs,
    responses={
        **errors_contract(*READ, *VERIFICATION, Code.VALIDATION_ERROR, Code.TOO_MANY_WEBSOCKETS),
        200: {"content": {NDJSON: {"schema": {"type": "string"}}}, "description": "lines; with `follow`, as they come"},
    },
)
async def logs(
    job_id: JobId, api: Api, caller: Reading, query: Annotated[LogsQuery, Query()], request: Request
) -> Logs | StreamingResponse:
    """What the stages logged so far; with `follow`, one JSON object per line until the job has ended.

    A last line with `error` says why a followed log ended before its job: the database went, or the key is no longer
    good.
    """
    job = await api.verifications.get(job_id, caller)
    if not query.follow:
        lines, older = await api.verifications.logs(job.job_id, query.stage, query.tail)
        return Logs(logs=[LogEntry.of(line) for line in lines], older=older)
    return FollowedLog(_followed(api, job, query), request, caller.owner)


class FollowedLog(StreamingResponse):
    """Lines until the job has ended or the key is no longer good, to at most as many clients of an owner as may have
    WebSockets."""

    media_type = NDJSON

    def __init__(self, content: AsyncIterator[bytes], request: Request, owner: str) -> None:
        super().__init__(content, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._request = request
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end. Raises: TooMany, before anything was sent."""
        async with services_of(self._request).seats.seat(self._owner, Kind.LOG):
            scope[FOLLOWS]()
            sending = asyncio.create_task(super().__call__(scope, receive, send))
            looking = asyncio.create_task(until_refused(self._request, KeyScope.READ))
            try:
                await asyncio.wait({sending, looking}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    return sending.result()
                await end([sending])  # in the middle of nothing: what it sends, it sends whole
                await self._say_why(looking.result(), scope, send)
            finally:
                await end([sending, looking])

    async def _say_why(self, refused: ApiError, scope: Scope, send: Send) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await send({"type": "http.response.body", "body": _line_of(refused)})
        except TimeoutError:  # whoever takes no lines does not take the reason either
            if CUT in scope:
                scope[CUT]()


async def _followed(api: Services, job: VerificationView, query: LogsQuery) -> AsyncIterator[bytes]:
    """Lines of a log as they come, after the last `tail` of those that are there."""
    start = await api.verifications.start_of_tail(job.job_id, query.stage, query.tail)
    try:
        async for told in api.verification_streams.follow(job.job_id, start):
            if told["type"] != "log" or query.stage not in (None, told["stage"]):
                continue
            entry = {name: told[name] for name in ("timestamp", "stage", "level", "message")}
            yield json.dumps(entry, separators=(",", ":")).encode() + b"\n"
    except ApiError as error:
        yield _line_of(error)


def _line_of(error: ApiError) -> bytes:
    return json.dumps({"error": {"code": error.code, "message": error.message}}).encode() + b"\n"


@router.get("/{job_id}/results", summary="Get all results", responses=errors_contract(*READ, *VERIFICATION))
async def results(job_id: JobId, api: Api, caller: Reading) -> Results:
    """What each stage found; while the job runs, of the stages that are through."""
    return Results.of(await api.verifications.get(job_id, caller))


@router.get(
    "/{job_id}/results/{area}",
    summary="Get everything about one area",
    response_model=dict[str, Any],
    responses=errors_contract(*READ, *VERIFICATION, Code.ARTIFACT_NOT_FOUND),
)
async def results_of(job_id: JobId, area: Area, api: Api, caller: Reading) -> Response:
    """A stage's result with its findings, tests, properties; coverage by file and line; an area of crypto."""
    job = await api.verifications.get(job_id, caller)
    head = {"job_id": job.shown, "area": area}
    if area in job.stages:
        raw = msgspec.Raw(await api.verifications.details_json(job, area))
        return _json({**head, **result_of(job, area), "details": raw})
    if area == COVERAGE and "simulation" in job.stages:
        details = await api.verifications.details(job, "simulation")
        if COVERAGE in details:
            return _json({**head, **details[COVERAGE]})
    found = result_of(job, "crypto") if "crypto" in job.stages else {}
    if isinstance(found.get(area), dict):
        details = await api.verifications.details(job, "crypto")
        return _json({**head, **found[area], "details": details.get(area, {})})
    has = [stage for stage in STAGES if stage in job.stages]
    raise Missing(
        Code.ARTIFACT_NOT_FOUND,
        f"job {job.shown} has no results about {area[:64]!r} (yet); it has: {', '.join(has)}",
        details={"field": "area", "areas": has},
    )


def _json(body: dict[str, Any]) -> Response:
    """JSON by the fast way: details may have megabytes."""
    return Response(msgspec.json.encode(body), media_type="application/json")


@router.post(
    "/{job_id}/reports",
    summary="Generate a report",
    response_class=Response,
    responses={
        200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}, "description": "the report"},
        **errors_contract(*READ, *VERIFICATION, Code.VALIDATION_ERROR, Code.MALFORMED_BODY),
    },
)
async def report(
    job_id: JobId, wanted: NewReport, api: Api, caller: Reading, idempotency_key: IdempotencyKey = None
) -> Response:
    """A report of the job as it stands: one self-contained HTML page, JSON, SARIF, JUnit or Markdown.

    It changes nothing, so that asking again is safe with and without an Idempotency-Key.
    """
    made = await api.reports.render(job_id, caller, wanted.format, wanted.include, wanted.template)
    return Response(made.body, media_type=made.media_type, headers=downloads.headers_of(made.filename))


@router.get(
    "/{job_id}/compare/{other_id}",
    summary="Compare two jobs",
    responses=errors_contract(*READ, *VERIFICATION),
)
async def compare(
    job_id: JobId,
    other_id: Annotated[str, Path(description="the later job")],
    api: Api,
    caller: Reading,
) -> dict[str, Any]:
    """What got better and what got worse from the first job to the other."""
    return await api.reports.compare(job_id, other_id, caller)
