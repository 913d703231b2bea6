"""Jobs, under both generations' paths: `/jobs/{job_id}` and `/fpga/{fpga_id}/jobs/{job_id}`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, status
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, Field

from lutlab_api.domain.errors import Code
from lutlab_api.web import jobs
from lutlab_api.web.asked import Api, FpgaId, JobId, Reader, Reading, Submitting
from lutlab_api.web.documented import ASK, BOARD, JOB, READ, errors
from lutlab_api.web.located import Located
from lutlab_api.web.models import OWNER, Accepted, Job, JobWithReport, Result
from lutlab_api.web.polling import NOT_MODIFIED, POLLED
from lutlab_api.web.routes_boards import UPLOAD_ERRORS
from lutlab_api.web.uploads import UPLOAD_BODY
from lutlab_events.rejections import Rejection
from lutlab_events.values import JobStatus, JobType

JOBS_LISTED_DEFAULT = 1000

router = APIRouter(tags=["jobs"])


class JobsQuery(BaseModel):
    """Which jobs to list."""

    status: JobStatus | None = Field(None, description="only jobs in this status")
    type: JobType | None = Field(None, description="only jobs of this type")
    limit: int = Field(JOBS_LISTED_DEFAULT, ge=1, description="most jobs to list")
    before: UUID | None = Field(None, description="only jobs submitted before this one: the next page")
    owner: str | None = Field(
        None,
        pattern=rf"{OWNER}|^\*$",
        description="whose jobs, `*` for everybody's; those of others only for admins",
    )


@router.post(
    "/submit",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Submit a design",
    openapi_extra=UPLOAD_BODY,
    responses=errors(*ASK, *UPLOAD_ERRORS),
)
async def submit(request: Request, api: Api, asked: Submitting, location: Located) -> Accepted:
    """Build a design and program any board with it.

    The build takes no board; once it is built the job gets the first free board of its profile, by its owner's share
    and then in the order of submission, and you have that board reserved when the job is complete. Poll
    `GET /jobs/{job_id}`.
    """
    accepted = await jobs.submit_design(request, api, asked)
    location.is_job(accepted.job_id)
    return accepted


@router.get(
    "/jobs", summary="List jobs", responses=errors(*READ, Code.VALIDATION_ERROR, Code.INVALID_CURSOR, Code.ADMIN_ONLY)
)
async def list_jobs(api: Api, caller: Reading, query: Annotated[JobsQuery, Query()]) -> list[Job]:
    """Your jobs, newest first."""
    limit = min(query.limit, api.settings.jobs_listed_max)
    wanted = jobs.wanted(
        caller, owner=query.owner, limit=limit, job_status=query.status, kind=query.type, before=query.before
    )
    return [Job.of(job) for job in await api.reads.jobs(caller, wanted)]


@router.get(
    "/jobs/{job_id}",
    summary="Look at a job",
    response_model=JobWithReport,
    responses={**errors(*READ, *JOB), **NOT_MODIFIED},
    openapi_extra=POLLED,
)
async def get_job(job_id: JobId, request: Request) -> Response:
    """One job. A failed one says why in `error`; a built one has its `report`."""
    return await jobs.polled_job(request, job_id)


@router.get(
    "/fpga/{fpga_id}/jobs/{job_id}",
    summary="Look at a board's job",
    response_model=JobWithReport,
    responses={**errors(*READ, *BOARD, *JOB), **NOT_MODIFIED},
    openapi_extra=POLLED,
)
async def get_job_of_fpga(fpga_id: FpgaId, job_id: JobId, request: Request) -> Response:
    """One job of this board; a job of another board is not found here."""
    return await jobs.polled_job(request, job_id, fpga_id)


@router.get(
    "/jobs/{job_id}/logs", summary="Read a job's log", response_class=PlainTextResponse, responses=errors(*READ, *JOB)
)
async def get_logs(job_id: JobId, api: Api, reader: Reader) -> PlainTextResponse:
    """What the tools printed so far, as text; grows while the job runs. A failed job's log ends with the reason."""
    return await jobs.log_of(api, reader, job_id)


@router.get(
    "/fpga/{fpga_id}/jobs/{job_id}/logs",
    summary="Read the log of a board's job",
    response_class=PlainTextResponse,
    responses=errors(*READ, *BOARD, *JOB),
)
async def get_logs_of_fpga(fpga_id: FpgaId, job_id: JobId, api: Api, reader: Reader) -> PlainTextResponse:
    """What the tools printed so far, as text."""
    return await jobs.log_of(api, reader, job_id, fpga_id)


@router.get(
    "/jobs/{job_id}/result",
    summary="Get a job's result",
    response_model_exclude_none=True,
    responses=errors(*READ, *JOB, Code.JOB_NOT_COMPLETE),
)
async def get_result(job_id: JobId, api: Api, reader: Reader) -> Result:
    """How a job went: the words of a transaction, and for whatever failed `ok: false` and why."""
    return await jobs.result_of(api, reader, job_id)


@router.get(
    "/fpga/{fpga_id}/jobs/{job_id}/result",
    summary="Get the result of a board's job",
    response_model_exclude_none=True,
    responses=errors(*READ, *BOARD, *JOB, Code.JOB_NOT_COMPLETE),
)
async def get_result_of_fpga(fpga_id: FpgaId, job_id: JobId, api: Api, reader: Reader) -> Result:
    """How a job of this board went."""
    return await jobs.result_of(api, reader, job_id, fpga_id)


@router.delete(
    "/jobs/{job_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Cancel a job",
    responses=errors(*ASK, *JOB, Rejection.JOB_NOT_CANCELLABLE),
)
async def cancel(job_id: JobId, api: Api, asked: Submitting) -> Response:
    """Stop a job that has not ended: queued, being built, or waiting for a board."""
    return await jobs.cancel_job(api, asked, job_id)


@router.delete(
    "/fpga/{fpga_id}/jobs/{job_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Cancel a board's queued job",
    responses=errors(*ASK, *BOARD, *JOB, Rejection.JOB_NOT_CANCELLABLE),
)
async def cancel_of_fpga(fpga_id: FpgaId, job_id: JobId, api: Api, asked: Submitting) -> Response:
    """Stop a job that is still queued (older generation); the board becomes idle."""
    return await jobs.cancel_job(api, asked, job_id, fpga_id)
