"""Sending a command on behalf of a caller, once per Idempotency-Key, and turning refusals into errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from lutlab_api.app.ports import Commands, Ids
from lutlab_api.domain.errors import Code, Invalid, Refused
from lutlab_api.domain.views import Caller
from lutlab_events import ids
from lutlab_events.commands import Command
from lutlab_events.envelope import Answer
from lutlab_events.rejections import Rejection

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as far as commands care.

    Attributes:
        correlation_id: shared by everything this request causes.
        action: what is asked, e.g. `POST /submit`; part of the fingerprint.
        idempotency_key: the caller's, None if it sent none.
    """

    caller: Caller
    correlation_id: UUID
    action: str
    idempotency_key: str | None = None

    def command_id(self, source: Ids) -> UUID:
        """The command's id: always the same for the same Idempotency-Key of the same owner.

        Raises:
            Invalid: the key is not 1 to 200 visible ASCII characters.
        """
        if self.idempotency_key is None:
            return source.new()
        if IDEMPOTENCY_KEY.fullmatch(self.idempotency_key) is None:
            raise Invalid(
                Code.INVALID_IDEMPOTENCY_KEY,
                f"Idempotency-Key {self.idempotency_key[:40]!r} must be 1 to 200 visible ASCII characters, e.g. a UUID",
            )
        return ids.command_id_for_key(self.caller.owner, self.idempotency_key)

    def fingerprint(self, *asked: Any) -> str:
        """SHA-256 of what is asked: the same key with another fingerprint is refused."""
        return ids.digest(msgspec.json.encode([self.action, *asked]))


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What a caller is told of a job that was accepted."""

    job_id: UUID
    fpga_id: int | None
    status: str


def job_id_of(command_id: UUID) -> UUID:
    """The id of the job a command makes."""
    return ids.derived("job", command_id)


def accepted(data: Mapping[str, Any], job_id: UUID, fpga_id: int | None) -> Accepted:
    """The scheduler's answer as told to the caller; what it leaves out is known from the request."""
    return Accepted(
        job_id=UUID(str(data.get("job_id", job_id))),
        fpga_id=data.get("fpga_id", fpga_id),
        status=str(data.get("status", "queued")),
    )


def require_same(before: str, now: str) -> None:
    """Pass the fingerprint of a repetition of the same request. Raises: Refused."""
    if before != now:
        raise Refused(
            Rejection.IDEMPOTENCY_MISMATCH, "this Idempotency-Key was used for another request; use a new one"
        )


def require_accepted(code: str, message: str, job_id: UUID | None = None) -> None:
    """Pass `ok`. Raises: Refused with the scheduler's code."""
    if code == Rejection.UNDECIDABLE:  # its message is for the lab's admins, who find it among the dead letters
        raise Refused(
            code, "the scheduler failed on this request; it was set aside for the lab's admins", job_id=job_id
        )
    if code != "ok":
        raise Refused(code, message or f"the scheduler refused: {code}", job_id=job_id)


class Asking:
    """Commands with decided answers."""

    def __init__(self, commands: Commands, ids_source: Ids, *, timeout_s: float) -> None:
        self._commands = commands
        self._ids = ids_source
        self._timeout_s = timeout_s

    def command_id(self, request: Request) -> UUID:
        """The id for the command of this request."""
        return request.command_id(self._ids)

    async def ask(self, body: Command, request: Request, *, command_id: UUID, fingerprint: str) -> Answer:
        """Send a command; its answer, if accepted.

        Raises:
            Refused: the scheduler decided against it.
            Unavailable: no answer in time; it may still be carried out.
        """
        answer = await self._commands.request(
            body,
            command_id=command_id,
            actor=request.caller.owner,
            correlation_id=request.correlation_id,
            fingerprint=fingerprint,
            timeout_s=self._timeout_s,
        )
        require_accepted(answer.code, answer.message, _job_in(answer))
        return answer


def _job_in(answer: Answer) -> UUID | None:
    """The job a refusal is about, where the scheduler names one."""
    try:
        return UUID(str(answer.data["job_id"]))
    except (KeyError, ValueError):
        return None
