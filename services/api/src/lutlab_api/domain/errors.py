"""Everything the API can answer but success, as one tree; `lutlab_api.web.status` gives each code its HTTP status."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from uuid import UUID

from lutlab_events.verification import JOB_PREFIX


class Code(StrEnum):
    """Stable codes the API itself decides on; those of the scheduler are in `lutlab_events.rejections`."""

    # -- who asks
    MISSING_API_KEY = "missing_api_key"
    INVALID_API_KEY = "invalid_api_key"
    API_KEY_EXPIRED = "api_key_expired"
    ADMIN_ONLY = "admin_only"
    SCOPE_MISSING = "scope_missing"
    TOO_MUCH_GRANTED = "too_much_granted"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    LOGIN_REFUSED = "login_refused"
    LOGIN_NOT_ALLOWED = "login_not_allowed"
    LOGIN_UNAVAILABLE = "login_unavailable"
    NOT_YOUR_SESSION = "not_your_session"
    NOT_YOUR_JOB = "not_your_job"
    # -- what was sent
    VALIDATION_ERROR = "validation_error"
    MALFORMED_BODY = "malformed_body"
    MISSING_FILE = "missing_file"
    EMPTY_FILE = "empty_file"
    UNSUPPORTED_SUFFIX = "unsupported_suffix"
    BODY_TOO_LARGE = "body_too_large"
    HEAD_TOO_LARGE = "head_too_large"
    FILE_TOO_LARGE = "file_too_large"
    BAD_ZIP = "bad_zip"
    INVALID_SYS_CLK_FREQ = "invalid_sys_clk_freq"
    INVALID_TIMING_TARGET = "invalid_timing_target"
    INVALID_TOP = "invalid_top"
    INVALID_PROFILE = "invalid_profile"
    INVALID_LABELS = "invalid_labels"
    INVALID_PRIORITY = "invalid_priority"
    INVALID_OP = "invalid_op"
    INVALID_ADDRESS = "invalid_address"
    INVALID_COUNT = "invalid_count"
    INVALID_DATA = "invalid_data"
    INVALID_OPS = "invalid_ops"
    INVALID_IDEMPOTENCY_KEY = "invalid_idempotency_key"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    REQUEST_IN_PROGRESS = "request_in_progress"
    INVALID_EXPIRY = "invalid_expiry"
    INVALID_CURSOR = "invalid_cursor"
    INVALID_URL = "invalid_url"
    INVALID_SECRET = "invalid_secret"  # noqa: S105 - a code
    INVALID_RANGE = "invalid_range"
    ANSWER_TOO_LARGE = "answer_too_large"
    GITHUB_LOGIN_UNSUPPORTED = "github_login_unsupported"
    # -- what is not there, or not so
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UPGRADE_REQUIRED = "upgrade_required"
    FPGA_NOT_FOUND = "fpga_not_found"
    FPGA_NOT_RESERVED = "fpga_not_reserved"
    FPGA_BUSY = "fpga_busy"
    JOB_NOT_FOUND = "job_not_found"
    JOB_NOT_COMPLETE = "job_not_complete"
    NO_ACTIVE_SESSION = "no_active_session"
    KEY_NOT_FOUND = "key_not_found"
    SESSION_NOT_FOUND = "session_not_found"
    ARTIFACT_NOT_FOUND = "artifact_not_found"
    DELIVERY_NOT_FOUND = "delivery_not_found"
    AGENT_NOT_FOUND = "agent_not_found"
    NO_BRIDGE = "no_bridge"
    # -- what cannot be done here
    TOOL_ERROR = "tool_error"
    # -- what is too much
    RATE_LIMITED = "rate_limited"
    TOO_MANY_WEBSOCKETS = "too_many_websockets"
    OVERLOADED = "overloaded"
    # -- what does not work just now
    BOARD_REFUSED = "board_refused"
    BUS_ERROR = "bus_error"
    BUS_TIMEOUT = "bus_timeout"
    POLL_TIMEOUT = "poll_timeout"
    BOARD_LINK_FAILED = "board_link_failed"
    BOARD_TIMEOUT = "board_timeout"
    BOARD_UNREACHABLE = "board_unreachable"
    WEBHOOKS_UNAVAILABLE = "webhooks_unavailable"
    SCHEDULER_UNAVAILABLE = "scheduler_unavailable"
    INTERNAL_ERROR = "internal_error"


RETRY_AFTER_S = 2
"""What a caller is told to wait when something does not work just now."""


class ApiError(Exception):
    """A request cannot be answered with success.

    Attributes:
        code: stable; a `Code` or a `lutlab_events.rejections.Rejection`.
        message: for a person: the offending value and the way out.
        job_id: the job this is about, if there is one.
        details: more about it for programs, e.g. the field and the nearest valid value; shown under /api/v1.
        retry_after_s: when repeating makes sense, None for the usual time of the code.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        job_id: UUID | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = str(code)
        self.message = message
        self.job_id = job_id
        self.details = dict(details or {})
        self.retry_after_s = retry_after_s


class Invalid(ApiError):
    """What was sent breaks a rule; sending it again will not help."""


class NotAuthenticated(ApiError):
    """No key, or none that is known."""


class NotAllowed(ApiError):
    """The key is good, but not for this."""


class TooMany(ApiError):
    """More than a limit allows; `retry_after_s` says when there is room again."""


class Missing(ApiError):
    """What was asked for does not exist."""


class Conflict(ApiError):
    """Not possible in the present state."""


class Refused(ApiError):
    """The scheduler decided against it; the code is one of `lutlab_events.rejections`."""


class Unavailable(ApiError):
    """The ledger, the message bus or the scheduler does not answer; safe to repeat with the same Idempotency-Key."""

    def __init__(self, message: str, *, job_id: UUID | None = None) -> None:
        super().__init__(Code.SCHEDULER_UNAVAILABLE, message, job_id=job_id)


class BoardFailure(ApiError):
    """The way to the board failed; the transaction may or may not have run, except for `board_unreachable`."""


def job_not_found(job_id: str | UUID) -> Missing:
    """The answer for a job that does not exist, or not there."""
    way_out = "list yours with GET /jobs"
    if str(job_id).startswith(JOB_PREFIX):
        way_out = "verification jobs are at /api/v1/jobs/{job_id}, with /logs, /results and /cancel below it"
    return Missing(Code.JOB_NOT_FOUND, f"there is no job {str(job_id)[:64]!r} here; {way_out}")
