"""What can go wrong when talking to a lab."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lutlab.models import Failure

NO_CODE = "http_error"
"""Of an answer that is none of the lab's."""


class LutlabError(Exception):
    """Base of every error of the client. `code` is stable."""

    code = "lutlab_error"


class NotConfigured(LutlabError):
    """No lab is named, or no key where one is needed."""

    code = "not_configured"


class Unreachable(LutlabError):
    """The lab does not answer."""

    code = "unreachable"


class Refused(LutlabError):
    """The lab answered with an error.

    Attributes:
        code: the lab's stable code, e.g. `fpga_not_idle`.
        status: the HTTP status.
        message: the lab's sentence.
        retry_after_s: when the lab says that trying again may help, and after how long.
        details: what else it said, e.g. the `field` of a configuration that is wrong.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int,
        retry_after_s: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.retry_after_s = retry_after_s
        self.details = dict(details or {})


class JobFailed(LutlabError):
    """A job that was waited for failed or was cancelled.

    Attributes:
        job_id: which; `Client.logs` has what its tools said.
        failure: why: its `code`, `message` and `stage`; None of a job that was cancelled.
    """

    code = "job_failed"

    def __init__(self, message: str, *, job_id: str = "", failure: Failure | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.failure = failure


class TimedOut(LutlabError):
    """Something that was waited for did not happen in time; it may still happen."""

    code = "timed_out"


class StreamFailed(LutlabError):
    """The stream to a board could not be opened, or broke; the last operation may or may not have run."""

    code = "stream_failed"


def refusal(status: int, body: bytes, *, retry_after: str = "") -> Refused:
    """The error in an answer of the lab, whatever its form.

    Args:
        status: the HTTP status.
        body: the answer's.
        retry_after: that header of it.
    """
    details: dict[str, Any] = {}
    try:
        told = json.loads(body)
        if "error" in told:  # under /api/v1
            code, message = str(told["error"]["code"]), str(told["error"]["message"])
            details = dict(told["error"].get("details") or {})
        else:
            code, message = str(told["detail"]["error"]), str(told["detail"]["message"])
    except (ValueError, KeyError, TypeError):
        code, message = NO_CODE, f"HTTP {status}: {body[:200].decode(errors='replace')}"
    retry_after_s = float(retry_after) if retry_after.isdecimal() else None
    return Refused(code, message, status=status, retry_after_s=retry_after_s, details=details)
