"""Boards in and out of service, for admins; where a job stands in the queue."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Response, status
from pydantic import Field

from lutlab_api.domain.errors import Code
from lutlab_api.domain.queue import Standing as StandingValue
from lutlab_api.web.asked import Api, Asked, FpgaId, JobId, Reader
from lutlab_api.web.documented import ASK, BOARD, JOB, READ, errors_v1
from lutlab_api.web.models import PRINTABLE, Model
from lutlab_events.rejections import Rejection

router = APIRouter(prefix="/api/v1", tags=["service"])


class Why(Model):
    """Why a board is taken out of service, or put back."""

    reason: str = Field("", max_length=500, pattern=PRINTABLE, examples=["the cable is being replaced"])


class Standing(Model):
    """A waiting job's place in the queue for boards."""

    position: int | None = Field(description="1: the next to get a board; null: the job does not wait in the queue")
    boards: int | None = Field(description="boards in service that could take it")
    estimated_start_at: datetime | None = Field(
        description="when its turn comes if the sessions before it end when they would end unused; null: not known"
    )

    @staticmethod
    def of(value: StandingValue | None) -> Standing:
        """From the use case."""
        if value is None:
            return Standing(position=None, boards=None, estimated_start_at=None)
        return Standing(position=value.position, boards=value.boards, estimated_start_at=value.estimated_start_at)


SERVICE = (*ASK, *BOARD, Code.ADMIN_ONLY, Rejection.NOTHING_TO_DO)


@router.post(
    "/boards/{fpga_id}/drain",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Take a board out of service",
    responses=errors_v1(*SERVICE),
)
async def drain(fpga_id: FpgaId, body: Why, api: Api, asked: Asked) -> Response:
    """Give the board no new jobs (admins only). A session on it goes on until it ends by itself."""
    await api.control.withdraw(asked, fpga_id, body.reason, kick=False)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post(
    "/boards/{fpga_id}/maintenance",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Take a board out of service at once",
    responses=errors_v1(*SERVICE),
)
async def maintenance(fpga_id: FpgaId, body: Why, api: Api, asked: Asked) -> Response:
    """As drain, but a session on the board is ended now and the base design is loaded (admins only).

    A job that is on its way to the board fails with `board_withdrawn`.
    """
    await api.control.withdraw(asked, fpga_id, body.reason, kick=True)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post(
    "/boards/{fpga_id}/return",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Put a board back into service",
    responses=errors_v1(*SERVICE),
)
async def put_back(fpga_id: FpgaId, body: Why, api: Api, asked: Asked) -> Response:
    """Give the board jobs again, whether an admin took it out or failures put it into quarantine (admins only)."""
    await api.control.put_back(asked, fpga_id, body.reason)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.delete(
    "/boards/{fpga_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Forget a board",
    responses=errors_v1(*SERVICE, Rejection.BOARD_IN_USE),
)
async def forget(fpga_id: FpgaId, api: Api, asked: Asked) -> Response:
    """Take a board that is gone for good off the list (admins only). It comes back, as itself, if it is found again."""
    await api.control.forget(asked, fpga_id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.get("/jobs/{job_id}/queue", summary="A job's place in the queue", responses=errors_v1(*READ, *JOB))
async def queue(job_id: JobId, api: Api, reader: Reader) -> Standing:
    """Where a job stands that waits for a board, under fair shares between owners, and when its turn may come."""
    job = await api.reads.job(job_id, reader)
    return Standing.of(await api.standings.of(job.job_id))
