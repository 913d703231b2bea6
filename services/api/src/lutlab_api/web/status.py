"""The one place where codes become HTTP statuses, with a sentence each for the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus as H

from lutlab_api.domain.errors import Code
from lutlab_events.rejections import Rejection


@dataclass(frozen=True)
class Meaning:
    """What a code means in HTTP, and an example message for the document."""

    status: H
    example: str


MEANINGS: dict[str, Meaning] = {
    # -- who asks
    Code.MISSING_API_KEY: Meaning(H.UNAUTHORIZED, "send your API key in the X-API-Key header"),
    Code.INVALID_API_KEY: Meaning(H.UNAUTHORIZED, "this API key is not known here, or was revoked"),
    Code.ADMIN_ONLY: Meaning(H.FORBIDDEN, "only an admin's key may do this"),
    Code.API_KEY_EXPIRED: Meaning(H.UNAUTHORIZED, "this API key expired on 2026-03-04; ask for a new one"),
    Code.SCOPE_MISSING: Meaning(H.FORBIDDEN, "this needs a key with the scope 'submit'; yours has: read"),
    Code.TOO_MUCH_GRANTED: Meaning(H.FORBIDDEN, "a key cannot make one that may do more than itself"),
    Code.TOO_MANY_ATTEMPTS: Meaning(H.TOO_MANY_REQUESTS, "too many failed attempts; try again in 42 s"),
    Code.LOGIN_REFUSED: Meaning(H.UNAUTHORIZED, "GitHub does not know this token"),
    Code.LOGIN_NOT_ALLOWED: Meaning(H.FORBIDDEN, "'mallory' may not log in here"),
    Rejection.NOT_YOUR_SESSION: Meaning(H.FORBIDDEN, "board 3 is reserved by somebody else"),
    Rejection.NOT_YOUR_PROJECT: Meaning(H.FORBIDDEN, "the project belongs to somebody else"),
    Rejection.NOT_YOUR_JOB: Meaning(H.FORBIDDEN, "the job belongs to somebody else"),
    # -- what was sent
    Code.MALFORMED_BODY: Meaning(H.BAD_REQUEST, "the request body is not what its Content-Type says"),
    Code.GITHUB_LOGIN_UNSUPPORTED: Meaning(H.BAD_REQUEST, "this lab issues its own keys"),
    Code.BODY_TOO_LARGE: Meaning(H.REQUEST_ENTITY_TOO_LARGE, "the request body may have 262144 bytes"),
    Code.HEAD_TOO_LARGE: Meaning(
        H.REQUEST_HEADER_FIELDS_TOO_LARGE, "a request's line and headers may have 65536 bytes"
    ),
    Code.FILE_TOO_LARGE: Meaning(
        H.REQUEST_ENTITY_TOO_LARGE, "'design.py' has 20000000 bytes; a .py file may have 16777216"
    ),
    Code.VALIDATION_ERROR: Meaning(H.UNPROCESSABLE_ENTITY, "fpga_id 'x' is not an integer"),
    Code.MISSING_FILE: Meaning(H.UNPROCESSABLE_ENTITY, "send the design as multipart part `file`"),
    Code.EMPTY_FILE: Meaning(H.UNPROCESSABLE_ENTITY, "'design.py' is empty"),
    Code.UNSUPPORTED_SUFFIX: Meaning(
        H.UNPROCESSABLE_ENTITY, "'design.txt': send a .py (Amaranth), a .v or .sv (Verilog) or a project .zip"
    ),
    Code.BAD_ZIP: Meaning(H.UNPROCESSABLE_ENTITY, "'project.zip' has no mrg-project.json at its top"),
    Code.INVALID_SYS_CLK_FREQ: Meaning(
        H.UNPROCESSABLE_ENTITY, "sys_clk_freq 5000000 must be a frequency in Hz from 10000000 to 200000000"
    ),
    Code.INVALID_TIMING_TARGET: Meaning(H.UNPROCESSABLE_ENTITY, "timing_target_mhz -1 must be a number of MHz above 0"),
    Code.INVALID_TOP: Meaning(H.UNPROCESSABLE_ENTITY, "top '1x' is not the name of a class or module"),
    Code.INVALID_PROFILE: Meaning(H.UNPROCESSABLE_ENTITY, "profile '?' is not the name of a device profile"),
    Code.INVALID_OP: Meaning(H.UNPROCESSABLE_ENTITY, "op 3 is unknown; use 1 to write or 2 to read"),
    Code.INVALID_ADDRESS: Meaning(H.UNPROCESSABLE_ENTITY, "address 0x2 is not a multiple of 4; addresses count bytes"),
    Code.INVALID_COUNT: Meaning(H.UNPROCESSABLE_ENTITY, "count is 513; a read has 1 to 512 words"),
    Code.INVALID_DATA: Meaning(H.UNPROCESSABLE_ENTITY, "data[0] is -1; a word lies between 0 and 4294967295"),
    Code.INVALID_OPS: Meaning(H.UNPROCESSABLE_ENTITY, "ops has 300 operations; a batch has 1 to 256"),
    Code.INVALID_IDEMPOTENCY_KEY: Meaning(
        H.UNPROCESSABLE_ENTITY, "Idempotency-Key must be 1 to 200 visible ASCII characters"
    ),
    Code.INVALID_LABELS: Meaning(H.UNPROCESSABLE_ENTITY, "labels 'a b' must be words separated by commas"),
    Code.INVALID_PRIORITY: Meaning(H.UNPROCESSABLE_ENTITY, "priority 99 must be a whole number from -10 to 0"),
    Rejection.NO_SUCH_BOARD: Meaning(H.UNPROCESSABLE_ENTITY, "no board of profile lfe5u-25f has the labels fast"),
    Code.INVALID_EXPIRY: Meaning(H.UNPROCESSABLE_ENTITY, "expires_at 2020-01-01T00:00:00Z lies in the past"),
    Code.INVALID_CURSOR: Meaning(H.UNPROCESSABLE_ENTITY, "cursor 'x' was not made here; pass next_cursor as it was"),
    Code.INVALID_URL: Meaning(H.UNPROCESSABLE_ENTITY, "10.0.0.1 is not a public address"),
    Code.INVALID_SECRET: Meaning(H.UNPROCESSABLE_ENTITY, "a secret has 16 to 128 bytes; this one has 9"),
    Code.INVALID_RANGE: Meaning(H.UNPROCESSABLE_ENTITY, "after 9 must lie before until"),
    Code.ANSWER_TOO_LARGE: Meaning(
        H.UNPROCESSABLE_ENTITY, "the state of project-1 has 3000000 bytes, more than a message holds; ..."
    ),
    Rejection.UNKNOWN_PROFILE: Meaning(H.UNPROCESSABLE_ENTITY, "no device profile 'ice40'; known profiles: ..."),
    # -- what is not there
    Code.NOT_FOUND: Meaning(H.NOT_FOUND, "there is no GET /nowhere; see /docs"),
    Code.METHOD_NOT_ALLOWED: Meaning(H.METHOD_NOT_ALLOWED, "PUT is not for /fpga; see /docs"),
    Code.UPGRADE_REQUIRED: Meaning(H.UPGRADE_REQUIRED, "GET /fpga/3/stream is a WebSocket: ask for an upgrade to it"),
    Rejection.FPGA_NOT_FOUND: Meaning(H.NOT_FOUND, "there is no board 99; list the lab's boards with GET /fpga"),
    Rejection.JOB_NOT_FOUND: Meaning(H.NOT_FOUND, "there is no job 'a1b2' here; list yours with GET /jobs"),
    Rejection.NO_ACTIVE_SESSION: Meaning(H.NOT_FOUND, "board 3 has no session; it is idle"),
    Rejection.WEBHOOK_NOT_FOUND: Meaning(H.NOT_FOUND, "there is no webhook a1b2 of yours"),
    Rejection.KEY_NOT_FOUND: Meaning(H.NOT_FOUND, "there is no such key"),
    Code.SESSION_NOT_FOUND: Meaning(H.NOT_FOUND, "there is no such session; it may have ended"),
    Code.DELIVERY_NOT_FOUND: Meaning(H.NOT_FOUND, "webhook a1b2 has no delivery c3d4"),
    Code.ARTIFACT_NOT_FOUND: Meaning(H.NOT_FOUND, "job a1b2 has no 'bitstream'; it has: log"),
    Code.AGENT_NOT_FOUND: Meaning(H.NOT_FOUND, "there is no agent 'bench'"),
    Code.NO_BRIDGE: Meaning(H.NOT_FOUND, "board 3 has no TCP bridge; use its WebSocket stream"),
    Rejection.PROJECT_NOT_FOUND: Meaning(H.NOT_FOUND, "there is no project 'proj_1'; list yours"),
    # -- what is too much
    Code.RATE_LIMITED: Meaning(H.TOO_MANY_REQUESTS, "60 jobs an hour are allowed; try again in 1200 s"),
    Code.TOO_MANY_WEBSOCKETS: Meaning(H.TOO_MANY_REQUESTS, "'ada' has 10 WebSockets open; close one first"),
    Code.OVERLOADED: Meaning(H.SERVICE_UNAVAILABLE, "too many requests are under way; try again in 1 s"),
    # -- what is not possible now
    Rejection.FPGA_NOT_IDLE: Meaning(H.CONFLICT, "board 3 is reserved; pick an idle one, or POST /submit to get any"),
    Rejection.BOARD_IN_USE: Meaning(H.CONFLICT, "board 3 is idle; only a board that cannot be reached is forgotten"),
    Rejection.FPGA_NOT_RESERVED: Meaning(H.CONFLICT, "board 3 is not reserved: it is idle; submit a design first"),
    Rejection.FPGA_NOT_RESETTABLE: Meaning(H.CONFLICT, "board 3 is idle; only reserved and failed boards are reset"),
    Code.FPGA_BUSY: Meaning(H.CONFLICT, "board 3 is in use by another connection of this session; close it first"),
    Rejection.JOB_NOT_CANCELLABLE: Meaning(H.CONFLICT, "job is complete; only jobs that have not ended are cancelled"),
    Rejection.JOB_EXISTS: Meaning(H.CONFLICT, "a job with this id exists"),
    Code.JOB_NOT_COMPLETE: Meaning(H.CONFLICT, "job is running; ask again when it is complete"),
    Code.REQUEST_IN_PROGRESS: Meaning(H.CONFLICT, "a request with this Idempotency-Key is still being worked on"),
    Rejection.IDEMPOTENCY_MISMATCH: Meaning(
        H.CONFLICT, "this Idempotency-Key was used for another request; use a new one"
    ),
    Rejection.WEBHOOK_EXISTS: Meaning(H.CONFLICT, "this webhook exists"),
    Rejection.TOO_MANY_WEBHOOKS: Meaning(H.CONFLICT, "'ada' has 50 webhooks, the most there may be; delete one first"),
    Rejection.KEY_EXISTS: Meaning(H.CONFLICT, "this key exists"),
    Rejection.PROJECT_EXISTS: Meaning(H.CONFLICT, "you have a project 'uart' already; choose another name"),
    Rejection.TOO_MANY_PROJECTS: Meaning(H.CONFLICT, "'ada' has 1000 projects, the most there may be"),
    Rejection.PROJECT_FULL: Meaning(H.REQUEST_ENTITY_TOO_LARGE, "uart would have 2001 files; a project may have 2000"),
    Rejection.STORAGE_FULL: Meaning(
        H.REQUEST_ENTITY_TOO_LARGE,
        "ada has 21474836000 bytes stored, this needs 4096 more, ...",
    ),
    Rejection.NOTHING_TO_DO: Meaning(H.CONFLICT, "nothing to do"),
    # -- reports of agents, builders and timers; no HTTP request causes them
    Rejection.STALE_EPOCH: Meaning(H.CONFLICT, "the report is about an older load of the board"),
    Rejection.STALE_ATTEMPT: Meaning(H.CONFLICT, "the report is about an older attempt"),
    Rejection.STALE_INCARNATION: Meaning(H.CONFLICT, "the report is from an older agent process"),
    Rejection.NOT_DUE: Meaning(H.CONFLICT, "not due yet"),
    # -- what cannot be done here
    Code.TOOL_ERROR: Meaning(H.UNPROCESSABLE_ENTITY, "ghdl is not installed on any builder: apt install ghdl"),
    # -- what does not work just now
    Code.BOARD_REFUSED: Meaning(H.CONFLICT, "board 3 does not do that: 'led0' is no input of this design"),
    Code.BUS_ERROR: Meaning(H.BAD_GATEWAY, "the design answered the read of 1 words at 0x0 with a bus error"),
    Code.BUS_TIMEOUT: Meaning(H.BAD_GATEWAY, "ops[2]: the design did not answer the read at 0x8; does it raise ack?"),
    Code.POLL_TIMEOUT: Meaning(H.BAD_GATEWAY, "ops[1]: the value did not come within 1000 cycles"),
    Code.BOARD_LINK_FAILED: Meaning(
        H.BAD_GATEWAY, "the link to board 3 failed; the transaction may or may not have run"
    ),
    Code.BOARD_TIMEOUT: Meaning(H.GATEWAY_TIMEOUT, "board 3 did not answer within 10 s"),
    Code.BOARD_UNREACHABLE: Meaning(H.SERVICE_UNAVAILABLE, "board 3 cannot be reached: its agent is not there"),
    Rejection.OWNER_LIMIT: Meaning(H.TOO_MANY_REQUESTS, "ada has 500 open build jobs, the limit is 500"),
    Code.LOGIN_UNAVAILABLE: Meaning(H.SERVICE_UNAVAILABLE, "GitHub does not answer"),
    Code.WEBHOOKS_UNAVAILABLE: Meaning(H.SERVICE_UNAVAILABLE, "this lab delivers no webhooks"),
    Rejection.QUEUE_FULL: Meaning(H.SERVICE_UNAVAILABLE, "too many builds are queued; try again later"),
    Code.SCHEDULER_UNAVAILABLE: Meaning(H.SERVICE_UNAVAILABLE, "the scheduler did not answer within 5.0 s"),
    Rejection.UNDECIDABLE: Meaning(H.INTERNAL_SERVER_ERROR, "the scheduler failed on this request; it was set aside"),
    Code.INTERNAL_ERROR: Meaning(H.INTERNAL_SERVER_ERROR, "something is broken here; request id a1b2"),
}


def status_of(code: str) -> H:
    """The HTTP status of a code; 500 for a code that nobody declared, which a test prevents."""
    meaning = MEANINGS.get(code)
    return meaning.status if meaning else H.INTERNAL_SERVER_ERROR


CONTRACT_CODES = {
    H.BAD_REQUEST: "VALIDATION_ERROR",
    H.UNAUTHORIZED: "UNAUTHORIZED",
    H.FORBIDDEN: "FORBIDDEN",
    H.NOT_FOUND: "NOT_FOUND",
    H.CONFLICT: "CONFLICT",
    H.REQUEST_ENTITY_TOO_LARGE: "VALIDATION_ERROR",
    H.UNPROCESSABLE_ENTITY: "TOOL_ERROR",
    H.TOO_MANY_REQUESTS: "RATE_LIMITED",
    H.INTERNAL_SERVER_ERROR: "INTERNAL_ERROR",
    H.SERVICE_UNAVAILABLE: "SERVICE_UNAVAILABLE",
}
"""The codes of the verification contract, one a status; our own, finer codes are in `details.reason`."""


def contract_of(code: str) -> tuple[H, str]:
    """Status and code under the verification contract: what is wrong with a request is 400, 422 is for tools."""
    status = status_of(code)
    if status is H.UNPROCESSABLE_ENTITY and code != Code.TOOL_ERROR:
        status = H.BAD_REQUEST
    return status, CONTRACT_CODES.get(status, str(code).upper())
