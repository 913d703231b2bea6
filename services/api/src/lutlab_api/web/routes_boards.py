"""Boards: look at them, submit to one, talk to one, give it back."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response, status

from lutlab_api.domain.errors import Code
from lutlab_api.web import jobs
from lutlab_api.web.asked import Api, FpgaId, Reader, Running, Submitting, reader_of, services_of
from lutlab_api.web.documented import ASK, BOARD, READ, errors
from lutlab_api.web.located import Located
from lutlab_api.web.models import Accepted, Fpga, Session
from lutlab_api.web.models_pins import CaptureBody, Pin, PinLevels, SignalShape
from lutlab_api.web.models_run import RunOrBatch
from lutlab_api.web.polling import NOT_MODIFIED, POLLED, tags_of
from lutlab_api.web.uploads import UPLOAD_BODY
from lutlab_events.rejections import Rejection

UPLOAD_ERRORS = (
    Code.MALFORMED_BODY,
    Code.BODY_TOO_LARGE,
    Code.FILE_TOO_LARGE,
    Code.MISSING_FILE,
    Code.EMPTY_FILE,
    Code.UNSUPPORTED_SUFFIX,
    Code.BAD_ZIP,
    Code.INVALID_SYS_CLK_FREQ,
    Code.INVALID_TIMING_TARGET,
    Code.INVALID_TOP,
    Code.INVALID_PROFILE,
    Rejection.UNKNOWN_PROFILE,
    Rejection.QUEUE_FULL,
    Rejection.OWNER_LIMIT,
    Rejection.STORAGE_FULL,
    Rejection.NO_SUCH_BOARD,
    Code.INVALID_LABELS,
    Code.INVALID_PRIORITY,
)
RUN_ERRORS = (
    Code.BODY_TOO_LARGE,
    Code.INVALID_OP,
    Code.INVALID_ADDRESS,
    Code.INVALID_COUNT,
    Code.INVALID_DATA,
    Code.INVALID_OPS,
    Rejection.FPGA_NOT_RESERVED,
    Rejection.NOT_YOUR_SESSION,
    Code.FPGA_BUSY,
    Code.REQUEST_IN_PROGRESS,
    Code.BOARD_LINK_FAILED,
    Code.BOARD_TIMEOUT,
    Code.BOARD_UNREACHABLE,
)

PINS_ERRORS = (Code.BOARD_REFUSED, Code.BOARD_LINK_FAILED, Code.BOARD_TIMEOUT, Code.BOARD_UNREACHABLE, Code.FPGA_BUSY)
RESERVED_ERRORS = (Rejection.FPGA_NOT_RESERVED, Rejection.NOT_YOUR_SESSION, Code.VALIDATION_ERROR)
VCD = "text/x-vcd"

router = APIRouter(prefix="/fpga", tags=["boards"])


@router.get("", summary="List the boards", responses=errors(*READ))
async def list_fpgas(api: Api, reader: Reader) -> list[Fpga]:
    """Every board of the lab, by number. Needs no key where the lab's reads are public."""
    return [Fpga.of(board) for board in await api.reads.boards()]


@router.get(
    "/{fpga_id}",
    summary="Look at a board",
    response_model=Fpga,
    responses={**errors(*READ, *BOARD), **NOT_MODIFIED},
    openapi_extra=POLLED,
)
async def get_fpga(fpga_id: FpgaId, request: Request) -> Response:
    """One board: its state, who has it, what it is doing."""
    await reader_of(request)
    board = Fpga.of(await services_of(request).reads.board(fpga_id))
    return tags_of(request).answer(board.model_dump_json().encode())


@router.post(
    "/{fpga_id}/submit",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Submit a design to one board",
    openapi_extra=UPLOAD_BODY,
    responses=errors(*ASK, *BOARD, *UPLOAD_ERRORS, Rejection.FPGA_NOT_IDLE),
)
async def submit_to_fpga(fpga_id: FpgaId, request: Request, api: Api, asked: Submitting, location: Located) -> Accepted:
    """Build a design and program this board with it (older generation).

    The board must be idle; it is set aside at once and goes `queued`, `building`, `programming`, `reserved`.
    `POST /submit` needs no idle board and queues instead.
    """
    accepted = await jobs.submit_design(request, api, asked, fpga_id)
    location.is_job(accepted.job_id, fpga_id)
    return accepted


@router.get("/{fpga_id}/pins", summary="Look at the pins", responses=errors(*READ, *BOARD, *PINS_ERRORS))
async def look_at_pins(fpga_id: FpgaId, api: Api, reader: Reader) -> list[Pin]:
    """The levels of LEDs and other pins of the design that runs. Only boards without hardware can be looked at."""
    return [Pin.model_validate(pin) for pin in await api.pins.look(fpga_id)]


@router.get(
    "/{fpga_id}/signals",
    summary="Name what can be recorded",
    responses=errors(*READ, *BOARD, *PINS_ERRORS, Rejection.NOT_YOUR_SESSION),
)
async def name_signals(fpga_id: FpgaId, api: Api, reader: Reader) -> list[SignalShape]:
    """Pins, the design's own signals as far as registers hold them, and registers by their place. Of somebody's design
    only its owner, the owner's team and admins are told.
    """
    found = await api.pins.signals(reader, fpga_id)
    return [SignalShape(name=name, bits=bits) for name, bits in found.items()]


@router.put("/{fpga_id}/pins", summary="Set pins", responses=errors(*ASK, *BOARD, *PINS_ERRORS, *RESERVED_ERRORS))
async def set_pins(fpga_id: FpgaId, body: PinLevels, api: Api, asked: Running) -> list[Pin]:
    """Press buttons and set switches of a board you have reserved; they stay until the next bitstream."""
    return [Pin.model_validate(pin) for pin in await api.pins.drive(asked.caller, fpga_id, body.pins)]


@router.post(
    "/{fpga_id}/capture",
    summary="Record signals",
    response_class=Response,
    responses={
        **errors(*ASK, *BOARD, *PINS_ERRORS, *RESERVED_ERRORS),
        200: {"content": {VCD: {"schema": {"type": "string"}}}, "description": "a value change dump (IEEE 1364)"},
    },
)
async def capture(fpga_id: FpgaId, body: CaptureBody, api: Api, asked: Running) -> Response:
    """What signals of the design do over some clock cycles on a board you have reserved, as a VCD.

    The design goes on meanwhile, and so does its bus: a trigger can wait for what you do next.
    """
    wanted = body.model_dump(exclude_none=True)
    return Response(await api.pins.capture(asked.caller, fpga_id, wanted), media_type=VCD)


@router.post(
    "/{fpga_id}/run",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Run a bus transaction or a batch",
    responses=errors(*ASK, *BOARD, *RUN_ERRORS),
)
async def run(fpga_id: FpgaId, body: RunOrBatch, api: Api, asked: Running, location: Located) -> Accepted:
    """Read or write words of the design on a board you have reserved, or do several such things in one bus round.

    The transaction has been carried out when this answers: the job is already over and
    `GET /fpga/{fpga_id}/jobs/{job_id}/result` has its words. If the design answered with a bus error, the job is
    `complete` and its result says `ok: false` and why. If the way to the board failed, this answers 502 or 504 with the
    id of the failed job, or 503 `board_unreachable` if certainly nothing was run.

    A batch (`ops`) also takes modify, poll and fixed-address reads. It is one job; its result has `ops` with how each
    operation went. One that failed does not stop those behind it.
    """
    accepted = Accepted.of(await api.run.run(asked, fpga_id, body.wanted()))
    location.is_job(accepted.job_id, fpga_id)
    return accepted


@router.post(
    "/{fpga_id}/reset",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Reset a board",
    responses=errors(*ASK, *BOARD, Rejection.FPGA_NOT_RESETTABLE, Rejection.NOT_YOUR_SESSION),
)
async def reset(fpga_id: FpgaId, api: Api, asked: Running, location: Located) -> Accepted:
    """Load the lab's base design into a reserved or failed board and make it idle; ends the session on it."""
    accepted = Accepted.of(await api.control.reset(asked, fpga_id))
    location.is_job(accepted.job_id, fpga_id)
    return accepted


@router.get(
    "/{fpga_id}/session",
    summary="Look at a board's session",
    responses=errors(*READ, *BOARD, Rejection.NO_ACTIVE_SESSION),
)
async def get_session(fpga_id: FpgaId, api: Api, reader: Reader) -> Session:
    """Who has the board and until when; use renews it."""
    return Session.of(await api.reads.session(fpga_id))


@router.post(
    "/{fpga_id}/session/release",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Give a board back",
    responses=errors(*ASK, *BOARD, Rejection.NO_ACTIVE_SESSION, Rejection.NOT_YOUR_SESSION),
)
async def release(fpga_id: FpgaId, api: Api, asked: Running, location: Located) -> Accepted:
    """End your session; the board is reset (that is the job answered here) and then idle for others."""
    accepted = Accepted.of(await api.control.release(asked, fpga_id))
    location.is_job(accepted.job_id, fpga_id)
    return accepted
