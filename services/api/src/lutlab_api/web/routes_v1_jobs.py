"""Jobs, builds and artifacts under /api/v1."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response, status
from fastapi.responses import PlainTextResponse
from pydantic import Field

from lutlab_api.app.reads import parse_job_id
from lutlab_api.domain.errors import Code
from lutlab_api.domain.verification import parse_verification
from lutlab_api.domain.views import Caller
from lutlab_api.web import downloads, jobs, routes_v1_verification
from lutlab_api.web.asked import FPGA_ID_MAX, Api, JobId, Reader, Reading, Submitting
from lutlab_api.web.documented import ASK, JOB, READ, errors_v1
from lutlab_api.web.located import Located
from lutlab_api.web.models import OWNER, Accepted, Job, JobDetails
from lutlab_api.web.models_v1 import Artifact, Artifacts, Jobs
from lutlab_api.web.models_verification import StageArtifacts, Verification
from lutlab_api.web.paging import PageQuery, Strict, cursor_of, job_before
from lutlab_api.web.polling import NOT_MODIFIED, Polled, answer_news
from lutlab_api.web.routes_boards import UPLOAD_ERRORS
from lutlab_api.web.routes_jobs import get_logs, get_result
from lutlab_api.web.services import Services
from lutlab_api.web.uploads import UPLOAD_BODY
from lutlab_events.ids import job_stream
from lutlab_events.rejections import Rejection
from lutlab_events.values import TERMINAL, JobStatus, JobType

PARTS = ("file", "top", "sys_clk_freq", "timing_target_mhz", "profile", "labels", "priority")
LISTED = (Code.VALIDATION_ERROR, Code.INVALID_CURSOR, Code.ADMIN_ONLY)
Name = Annotated[str, Path(description="as the list of artifacts names it", examples=["bitstream.bit"])]
OfStage = Annotated[str | None, Query(description="of a verification job: which stage's, where several left the name")]

router = APIRouter(prefix="/api/v1", tags=["v1 jobs"])


async def _with_turn(api: Services, details: JobDetails) -> JobDetails:
    """The same, with its place in the queue while it waits for one."""
    place = None if details.status in TERMINAL else await api.standings.of(details.job_id)
    if place is None:
        return details
    turn = {"queue_position": place.position, "estimated_start_at": place.estimated_start_at}
    return details.model_copy(update=turn)


class ListQuery(PageQuery):
    """Which jobs to list."""

    status: JobStatus | None = Field(None, description="only jobs in this status")
    owner: str | None = Field(
        None,
        pattern=rf"{OWNER}|^\*$",
        description="whose jobs, `*` for everybody's; those of others only for their team and for admins",
    )


class JobsQuery(ListQuery):
    """Which jobs to list."""

    type: JobType | None = Field(None, description="only jobs of this type")


class SubmitQuery(Strict):
    """Where a design is to run."""

    fpga_id: int | None = Field(
        None, ge=0, le=FPGA_ID_MAX, description="this board, which must be idle; left out: the first free one"
    )


async def _page(api: Services, caller: Caller, query: ListQuery, kind: JobType | None) -> Jobs:
    before = job_before(query.cursor)
    wanted = jobs.wanted(
        caller,
        owner=query.owner,
        limit=query.per_page + 1,  # one more, to know whether there is another page
        job_status=query.status,
        kind=kind,
        before=before,
        offset=query.offset if before is None else 0,
    )
    found, total = await api.reads.counted(caller, wanted)
    shown = found[: query.per_page]
    return Jobs(
        jobs=[Job.of(job) for job in shown],
        total=total,
        page=query.page,
        per_page=query.per_page,
        next_cursor=cursor_of(str(shown[-1].job_id)) if len(found) > len(shown) else None,
    )


@router.get("/jobs", summary="List jobs", responses=errors_v1(*READ, *LISTED))
async def list_jobs(api: Api, caller: Reading, query: Annotated[JobsQuery, Query()]) -> Jobs:
    """Your jobs, newest first. Jobs submitted while you page do not shift what a `cursor` gives."""
    return await _page(api, caller, query, query.type)


@router.post(
    "/jobs",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Submit a design",
    openapi_extra=UPLOAD_BODY,
    responses=errors_v1(*ASK, *UPLOAD_ERRORS, Code.VALIDATION_ERROR, Rejection.FPGA_NOT_IDLE, Rejection.FPGA_NOT_FOUND),
)
async def submit(
    request: Request, api: Api, asked: Submitting, query: Annotated[SubmitQuery, Query()], location: Located
) -> Accepted:
    """Build a design and program a board with it: the one named, or the first free one."""
    accepted = await jobs.submit_design(request, api, asked, query.fpga_id, PARTS)
    location.is_job(accepted.job_id)
    return accepted


@router.get("/builds", summary="List builds", responses=errors_v1(*READ, *LISTED))
async def list_builds(api: Api, caller: Reading, query: Annotated[ListQuery, Query()]) -> Jobs:
    """Your jobs that build a design, newest first."""
    return await _page(api, caller, query, JobType.BUILD_AND_PROGRAM)


@router.get(
    "/jobs/{job_id}",
    summary="Everything about a job",
    response_model=JobDetails | Verification,
    responses={**errors_v1(*READ, *JOB, Rejection.NOT_YOUR_PROJECT), **NOT_MODIFIED},
)
async def get_job(job_id: JobId, api: Api, reader: Reader, request: Request, poll: Polled) -> Response:
    """A job with what was asked, its full build report, its bitstream's name, and why it failed.

    Of a verification job (`job_...`): where each stage stands. Poll it with `If-None-Match`, or better: wait for news
    with `Prefer: wait=30`.
    """
    if parse_verification(job_id) is not None:
        return await routes_v1_verification.get_job(job_id, api, reader, request, poll)

    async def read() -> JobDetails:
        return await _with_turn(api, JobDetails.of_everything(await api.reads.detail(job_id, reader)))

    stream = job_stream(parse_job_id(job_id))
    return await answer_news(request, poll, stream, read, lambda job: job.status in TERMINAL)


@router.delete(
    "/jobs/{job_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Cancel a job",
    responses=errors_v1(*ASK, *JOB, Rejection.JOB_NOT_CANCELLABLE),
)
async def cancel(job_id: JobId, api: Api, asked: Submitting) -> Response:
    """Stop a job that has not ended, of either kind."""
    if parse_verification(job_id) is None:
        return await jobs.cancel_job(api, asked, job_id)
    await api.verifications.cancel(asked, job_id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


# The older generation's, with errors in the form of this one.
router.get(
    "/jobs/{job_id}/result",
    summary="Get a job's result",
    response_model_exclude_none=True,
    responses=errors_v1(*READ, *JOB, Code.JOB_NOT_COMPLETE),
)(get_result)
router.get(
    "/jobs/{job_id}/log",
    summary="Read a job's log",
    response_class=PlainTextResponse,
    responses=errors_v1(*READ, *JOB),
)(get_logs)


@router.get(
    "/jobs/{job_id}/artifacts",
    summary="List a job's artifacts",
    responses=errors_v1(*READ, *JOB, Rejection.NOT_YOUR_PROJECT),
)
async def list_artifacts(job_id: JobId, api: Api, reader: Reader) -> Artifacts | StageArtifacts:
    """What there is to download of a job so far."""
    if parse_verification(job_id) is not None:
        return await routes_v1_verification.list_artifacts(job_id, api, reader)
    found = await api.artifacts.listed(job_id, reader)
    return Artifacts(artifacts=[Artifact.of(each, str(parse_job_id(job_id))) for each in found])


@router.get(
    "/jobs/{job_id}/artifacts/{name:path}",
    summary="Download an artifact",
    response_class=Response,
    responses={
        200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}, "description": "the artifact"},
        **errors_v1(*READ, *JOB, Rejection.NOT_YOUR_PROJECT, Code.ARTIFACT_NOT_FOUND),
        **NOT_MODIFIED,
    },
)
async def download(
    job_id: JobId, name: Name, *, api: Api, reader: Reader, poll: Polled, stage: OfStage = None
) -> Response:
    """The source, the bitstream, the report or the log of a job; whatever a verification job's stages left.

    Sources and bitstreams are for their owners only.
    """
    if parse_verification(job_id) is not None:
        return await routes_v1_verification.download(job_id, name, stage, api=api, caller=reader, poll=poll)
    found = await api.artifacts.download(job_id, name, reader)
    return downloads.download(found.data, found.artifact.media_type, found.filename, poll)
