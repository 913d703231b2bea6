"""What routes of jobs do, in both generations and with or without a board in their path; they say the rest."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from fastapi import Request, Response, status
from fastapi.responses import PlainTextResponse

from lutlab_api.app.asking import Request as AppRequest
from lutlab_api.app.ports import JobFilter
from lutlab_api.domain.views import Caller
from lutlab_api.web.asked import reader_of, services_of
from lutlab_api.web.models import Accepted, JobWithReport, Result
from lutlab_api.web.polling import tags_of
from lutlab_api.web.services import Services
from lutlab_api.web.uploads import read_upload
from lutlab_events.values import JobStatus, JobType

EVERYBODY = "*"


def wanted(
    caller: Caller,
    *,
    owner: str | None,
    limit: int,
    job_status: JobStatus | None,
    kind: JobType | None,
    before: UUID | None = None,
    offset: int = 0,
) -> JobFilter:
    """Which jobs to list: the caller's own, unless it asks for those of others."""
    return JobFilter(
        owner=None if owner == EVERYBODY else owner or caller.owner,
        limit=limit,
        status=job_status,
        type=kind,
        before=before,
        offset=offset,
    )


async def submit_design(
    request: Request,
    api: Services,
    asked: AppRequest,
    fpga_id: int | None = None,
    parts: Sequence[str] | None = None,
) -> Accepted:
    """Read the upload and ask for its build; on a board, if one is given.

    Args:
        parts: the names of form parts there may be; None for any.
    """
    upload = await read_upload(request, api.settings.upload_bytes_max, parts, is_admin=asked.caller.is_admin)
    return Accepted.of(await api.control.submit(asked, upload, fpga_id))


async def polled_job(request: Request, job_id: str, fpga_id: int | None = None) -> Response:
    """A job in the older generation's form, or 304; without FastAPI's dependencies, see `asked.reader_of`."""
    detail = await services_of(request).reads.detail(job_id, await reader_of(request), fpga_id)
    return tags_of(request).answer(JobWithReport.of_detail(detail).model_dump_json().encode())


async def log_of(api: Services, reader: Caller | None, job_id: str, fpga_id: int | None = None) -> PlainTextResponse:
    """A job's log as text."""
    return PlainTextResponse(await api.reads.log(job_id, reader, fpga_id))


async def result_of(api: Services, reader: Caller | None, job_id: str, fpga_id: int | None = None) -> Result:
    """How a job went."""
    return Result.of(await api.reads.result(job_id, reader, fpga_id))


async def cancel_job(api: Services, asked: AppRequest, job_id: str, fpga_id: int | None = None) -> Response:
    """Stop a job; one of a board only while it is queued."""
    await api.control.cancel(asked, job_id, fpga_id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)
